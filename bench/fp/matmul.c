/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* matmul - multiplication of square matrices of doubles, the textbook's three loops. */

#include "bench.h"

enum { N = 192, ROUNDS = 5 };

static double a[N][N], b[N][N], c[N][N];

int main(void) {
    uint64_t seed = 9, sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = bench_random(&seed) / 4294967296.0 - 0.5;
            b[i][j] = bench_random(&seed) / 4294967296.0 - 0.5;
        }
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double s = 0;
                for (int k = 0; k < N; k++)
                    s += a[i][k] * b[k][j];
                c[i][j] = s;
            }
        memcpy(a, c, sizeof a);
    }
    for (int i = 0; i < N; i += 5)
        for (int j = 0; j < N; j += 7)
            sum = bench_mix_double(sum, c[i][j]);
    bench_end("matmul", sum);
    return 0;
}
