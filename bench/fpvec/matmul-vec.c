/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* matmul-vec - multiplication of square float matrices with the inner loop along rows, as compilers vectorise it. */

#include "bench.h"

enum { N = 256, ROUNDS = 6 };

static float a[N][N], b[N][N], c[N][N];

int main(void) {
    uint64_t seed = 9, sum = 0;
    /* Small integers: no operation rounds, so that fused multiply-add gives the same result. */
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (float)(bench_random(&seed) % 64);
            b[i][j] = (float)(bench_random(&seed) % 64) - 32;
        }
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        memset(c, 0, sizeof c);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++) {
                float f = a[i][k];
                for (int j = 0; j < N; j++)
                    c[i][j] += f * b[k][j];
            }
        for (int i = 0; i < N; i++)
            sum = bench_mix(sum, (uint64_t)(int64_t)c[i][(i * 7 + round) % N]);
        a[round][round]++;
    }
    bench_end("matmul-vec", sum);
    return 0;
}
