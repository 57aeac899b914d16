/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* pages - one access on each page of a working set, in order and scattered: pages SIZE ROUNDS. */

#include "bench.h"

int main(int argc, char **argv) {
    if (argc != 3)
        bench_fail("usage: pages SIZE ROUNDS");
    char *unit;
    size_t size = strtoul(argv[1], &unit, 10) << (*unit == 'M' ? 20 : 10), pages = size / 4096;
    int rounds = atoi(argv[2]);
    uint64_t sum = 0;
    uint8_t *memory = bench_alloc(size);
    for (size_t i = 0; i < pages; i++)
        memory[i * 4096 + (i * 64 & 4095)] = (uint8_t)i;
    bench_begin();
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < pages; i++)
            sum += memory[i * 4096 + (i * 64 & 4095)];
        for (size_t i = 0, at = 0; i < pages; i++, at = (at * 5 + 12345) & (pages - 1))
            memory[at * 4096 + (at * 64 & 4095)] += (uint8_t)i;
    }
    for (size_t i = 0; i < pages; i++)
        sum = bench_mix(sum, memory[i * 4096 + (i * 64 & 4095)]);
    char name[40];
    snprintf(name, sizeof name, "pages-%s", argv[1]);
    bench_end(name, sum);
    return 0;
}
