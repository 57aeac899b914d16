/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/*
 * chase - dependent loads over a working set: chase SIZE STEPS, sizes with K or M.
 *
 * The 64-byte lines form one cycle in the order of a full-period linear congruential generator, so that no prefetcher
 * follows and the set-up is a single sequential pass.
 */

#include "bench.h"

int main(int argc, char **argv) {
    if (argc != 3)
        bench_fail("usage: chase SIZE STEPS");
    char *unit;
    size_t size = strtoul(argv[1], &unit, 10) << (*unit == 'M' ? 20 : 10), lines = size / 64;
    uint64_t steps = strtoull(argv[2], NULL, 10);
    struct line {
        struct line *next;
        uint64_t index, unused[6];
    } *memory = bench_alloc(size + 64);
    memory = (struct line *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    /* multiplier = 1 modulo 4 and an odd increment: full period for a power of two. */
    uint64_t multiplier = 0x5851f42d4c957f2du, increment = (lines / 3) | 1;
    for (size_t i = 0; i < lines; i++) {
        memory[i].index = i;
        memory[i].next = &memory[(i * multiplier + increment) & (lines - 1)];
    }
    struct line *at = memory;
    for (size_t i = 0; i < lines && i < 4096; i++)
        at = at->next;
    bench_begin();
    for (uint64_t i = 0; i < steps; i += 8)
        at = at->next->next->next->next->next->next->next->next;
    char name[40];
    snprintf(name, sizeof name, "chase-%s", argv[1]);
    bench_end(name, bench_mix(lines, at->index));
    return 0;
}
