/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* radixsort - least significant digit radix sort of 64-bit keys, and a binary heap sort of 32-bit ones. */

#include "bench.h"

enum { COUNT = 1 << 19, HEAP_COUNT = 1 << 17, ROUNDS = 6 };

static void radix(uint64_t *keys, uint64_t *other) {
    for (int shift = 0; shift < 64; shift += 8) {
        size_t start[257] = {0};
        for (size_t i = 0; i < COUNT; i++)
            start[(keys[i] >> shift & 255) + 1]++;
        for (int d = 0; d < 256; d++)
            start[d + 1] += start[d];
        for (size_t i = 0; i < COUNT; i++)
            other[start[keys[i] >> shift & 255]++] = keys[i];
        uint64_t *t = keys;
        keys = other;
        other = t;
    }
}

static void sift(uint32_t *heap, size_t root, size_t count) {
    uint32_t v = heap[root];
    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && heap[child + 1] > heap[child])
            child++;
        if (heap[child] <= v)
            break;
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = v;
}

static void heapsort32(uint32_t *a, size_t count) {
    for (size_t i = count / 2; i-- > 0;)
        sift(a, i, count);
    for (size_t i = count; i-- > 1;) {
        uint32_t t = a[0];
        a[0] = a[i];
        a[i] = t;
        sift(a, 0, i);
    }
}

int main(void) {
    uint64_t *keys = bench_alloc(COUNT * sizeof *keys), *other = bench_alloc(COUNT * sizeof *other);
    uint32_t *heap = bench_alloc(HEAP_COUNT * sizeof *heap);
    uint64_t sum = 0, seed = 5;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < COUNT; i++)
            keys[i] = (uint64_t)bench_random(&seed) << 32 | bench_random(&seed);
        radix(keys, other);
        for (size_t i = 0; i < HEAP_COUNT; i++)
            heap[i] = bench_random(&seed);
        heapsort32(heap, HEAP_COUNT);
        for (size_t i = 1; i < COUNT; i++)
            if (keys[i - 1] > keys[i])
                bench_fail("radix sort");
        for (size_t i = 1; i < HEAP_COUNT; i++)
            if (heap[i - 1] > heap[i])
                bench_fail("heap sort");
        sum = bench_mix(bench_mix(sum, keys[COUNT / 3]), heap[HEAP_COUNT / 3]);
    }
    bench_end("radixsort", sum);
    return 0;
}
