/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* spectral - the spectral norm of an infinite matrix: divisions and conversions from integers. */

#include "bench.h"

enum { N = 500, ROUNDS = 36 };

static double element(int i, int j) { return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1); }

static void multiply(const double *v, double *out, bool transposed) {
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int j = 0; j < N; j++)
            sum += (transposed ? element(j, i) : element(i, j)) * v[j];
        out[i] = sum;
    }
}

int main(void) {
    static double u[N], v[N], t[N];
    double vbv = 0, vv = 0;
    for (int i = 0; i < N; i++)
        u[i] = 1;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        multiply(u, t, false);
        multiply(t, v, true);
        multiply(v, t, false);
        multiply(t, u, true);
    }
    for (int i = 0; i < N; i++) {
        vbv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    bench_end("spectral", bench_mix_double(0, __builtin_sqrt(vbv / vv)));
    return 0;
}
