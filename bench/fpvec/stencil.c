/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* stencil - five-point relaxation of a grid of floats. */

#include "bench.h"

enum { N = 384, STEPS = 300 };

static float grid[2][N][N];

__attribute__((noinline)) static void relax(float (*restrict to)[N], float (*restrict from)[N]) {
    for (int y = 1; y < N - 1; y++)
        for (int x = 1; x < N - 1; x++)
            to[y][x] = 0.2f * (from[y][x] + from[y - 1][x] + from[y + 1][x] + from[y][x - 1] + from[y][x + 1]);
}

int main(void) {
    uint64_t sum = 0;
    for (int i = 0; i < N; i++)
        grid[0][0][i] = grid[1][0][i] = grid[0][i][0] = grid[1][i][0] = 100;
    bench_begin();
    for (int step = 0; step < STEPS; step += 2) {
        relax(grid[1], grid[0]);
        relax(grid[0], grid[1]);
    }
    for (int y = 0; y < N; y += 3)
        for (int x = 0; x < N; x += 5)
            sum = bench_mix_double(sum, grid[0][y][x]);
    bench_end("stencil", sum);
    return 0;
}
