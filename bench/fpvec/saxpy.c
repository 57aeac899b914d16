/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* saxpy - vector updates, dot products, and clamping over arrays of floats and doubles that fit the caches. */

#include "bench.h"

enum { N = 8192, ROUNDS = 4000 };

static float x[N], y[N];
static double u[N], v[N];

__attribute__((noinline)) static void saxpy(float a) {
    for (int i = 0; i < N; i++)
        y[i] = a * x[i] + y[i];
}

__attribute__((noinline)) static void daxpy(double a) {
    for (int i = 0; i < N; i++)
        v[i] = a * u[i] + v[i];
}

__attribute__((noinline)) static void clamp(float low, float high) {
    for (int i = 0; i < N; i++) {
        float t = y[i];
        t = t < low ? low : t;
        y[i] = t > high ? high : t;
    }
}

int main(void) {
    uint64_t seed = 15, sum = 0;
    for (int i = 0; i < N; i++) {
        x[i] = (float)(bench_random(&seed) % 32) - 16;
        u[i] = bench_random(&seed) % 1024;
        y[i] = (float)i;
    }
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        saxpy((float)(round % 9 - 4));
        daxpy(round % 5 - 2);
        if (round % 4 == 0)
            clamp(-30000, 30000);
    }
    for (int i = 0; i < N; i++)
        sum = bench_mix(bench_mix(sum, (uint64_t)(int64_t)y[i]), (uint64_t)(int64_t)v[i]);
    bench_end("saxpy", sum);
    return 0;
}
