/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* lu - solving linear equations: LU decomposition with pivoting, then substitution. */

#include "bench.h"

enum { N = 200, ROUNDS = 16 };

static double m[N][N], x[N];

static void decompose_and_solve(void) {
    for (int k = 0; k < N; k++) {
        int pivot = k;
        for (int i = k + 1; i < N; i++)
            if (__builtin_fabs(m[i][k]) > __builtin_fabs(m[pivot][k]))
                pivot = i;
        for (int j = 0; pivot != k && j < N; j++) {
            double t = m[k][j];
            m[k][j] = m[pivot][j];
            m[pivot][j] = t;
        }
        double t = x[k];
        x[k] = x[pivot];
        x[pivot] = t;
        for (int i = k + 1; i < N; i++) {
            double factor = m[i][k] / m[k][k];
            for (int j = k; j < N; j++)
                m[i][j] -= factor * m[k][j];
            x[i] -= factor * x[k];
        }
    }
    for (int i = N; i-- > 0;) {
        for (int j = i + 1; j < N; j++)
            x[i] -= m[i][j] * x[j];
        x[i] /= m[i][i];
    }
}

int main(void) {
    uint64_t seed = 21, sum = 0;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++)
                m[i][j] = bench_random(&seed) / 4294967296.0 - 0.5;
            x[i] = i;
        }
        decompose_and_solve();
        for (int i = 0; i < N; i++)
            sum = bench_mix_double(sum, x[i]);
    }
    bench_end("lu", sum);
    return 0;
}
