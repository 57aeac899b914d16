/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* nqueens - all solutions of the queens problem, once with bit masks and once with arrays. */

#include "bench.h"

__attribute__((noinline)) static uint64_t by_masks(unsigned all, unsigned columns, unsigned left, unsigned right) {
    uint64_t found = 0;
    if (columns == all)
        return 1;
    for (unsigned free = all & ~(columns | left | right); free;) {
        unsigned bit = free & -free;
        free ^= bit;
        found += by_masks(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return found;
}

static uint8_t row_of[16];

__attribute__((noinline)) static uint64_t by_arrays(int column, int n, uint64_t *sum) {
    uint64_t found = 0;
    if (column == n) {
        for (int i = 0; i < n; i++)
            *sum = *sum * 31 + row_of[i];
        return 1;
    }
    for (int row = 0; row < n; row++) {
        int i = 0;
        while (i < column && row_of[i] != row && abs(row_of[i] - row) != column - i)
            i++;
        if (i == column) {
            row_of[column] = (uint8_t)row;
            found += by_arrays(column + 1, n, sum);
        }
    }
    return found;
}

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    uint64_t masks = by_masks((1u << 13) - 1, 0, 0, 0), arrays = by_arrays(0, 11, &sum);
    bench_end("nqueens", bench_mix(bench_mix(sum, masks), arrays));
    return 0;
}
