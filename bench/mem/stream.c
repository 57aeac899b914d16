/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* stream - copy, scale and sum of 64-bit words in order over a working set: stream SIZE TOTAL-MEGABYTES. */

#include "bench.h"

__attribute__((noinline)) static void copy(uint64_t *to, const uint64_t *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] * 3 + 1;
}

__attribute__((noinline)) static uint64_t total(const uint64_t *from, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += from[i];
    return sum;
}

int main(int argc, char **argv) {
    if (argc != 3)
        bench_fail("usage: stream SIZE MEGABYTES");
    char *unit;
    size_t size = strtoul(argv[1], &unit, 10) << (*unit == 'M' ? 20 : 10), n = size / 2 / sizeof(uint64_t);
    size_t rounds = (strtoul(argv[2], NULL, 10) << 20) / size;
    uint64_t *a = bench_alloc(size / 2), *b = bench_alloc(size / 2), sum = 0;
    for (size_t i = 0; i < n; i++) {
        a[i] = i;
        b[i] = 0;
    }
    bench_begin();
    for (size_t round = 0; round < rounds; round++) {
        copy(b, a, n);
        sum = bench_mix(sum, total(b, n));
        memcpy(a, b, size / 2);
    }
    char name[40];
    snprintf(name, sizeof name, "stream-%s", argv[1]);
    bench_end(name, sum);
    return 0;
}
