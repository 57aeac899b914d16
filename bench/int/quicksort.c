/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* quicksort - quicksort of our own with insertion sort for small parts, and the C library's qsort(). */

#include "bench.h"

enum { COUNT = 1 << 20, LIBRARY_COUNT = 1 << 18 };

static void insertion(int32_t *a, long low, long high) {
    for (long i = low + 1; i <= high; i++) {
        int32_t v = a[i];
        long j = i - 1;
        for (; j >= low && a[j] > v; j--)
            a[j + 1] = a[j];
        a[j + 1] = v;
    }
}

static void quicksort(int32_t *a, long low, long high) {
    while (high - low > 16) {
        int32_t x = a[low], y = a[(low + high) / 2], z = a[high];
        int32_t pivot = x < y ? (y < z ? y : x < z ? z : x) : (x < z ? x : y < z ? z : y);
        long i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot)
                i++;
            while (a[j] > pivot)
                j--;
            if (i <= j) {
                int32_t t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (j - low < high - i) {
            quicksort(a, low, j);
            low = i;
        } else {
            quicksort(a, i, high);
            high = j;
        }
    }
    insertion(a, low, high);
}

static int compare(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void fill(int32_t *a, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++)
        a[i] = (int32_t)bench_random(&seed);
}

static uint64_t check(const int32_t *a, size_t count, uint64_t sum) {
    for (size_t i = 1; i < count; i++)
        if (a[i - 1] > a[i])
            bench_fail("not sorted");
    for (size_t i = 0; i < count; i += 97)
        sum = bench_mix(sum, (uint32_t)a[i]);
    return sum;
}

int main(void) {
    int32_t *a = bench_alloc(COUNT * sizeof *a);
    uint64_t sum = 0;
    bench_begin();
    for (int round = 0; round < 3; round++) {
        fill(a, COUNT, (uint64_t)round);
        quicksort(a, 0, COUNT - 1);
        sum = check(a, COUNT, sum);
        fill(a, LIBRARY_COUNT, (uint64_t)round + 7);
        qsort(a, LIBRARY_COUNT, sizeof *a, compare);
        sum = check(a, LIBRARY_COUNT, sum);
    }
    bench_end("quicksort", sum);
    return 0;
}
