/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* transcendental - exponentials, logarithms and sines of our own by series and Newton's method, in double precision. */

#include "bench.h"

enum { COUNT = 1200000 };

static double power_of_two(int n) {
    uint64_t bits = (uint64_t)(1023 + n) << 52;
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static double exponential(double x) {
    int n = (int)(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
    double r = x - n * 0.6931471805599453, term = 1, sum = 1;
    for (int i = 1; i < 14; i++) {
        term *= r / i;
        sum += term;
    }
    return sum * power_of_two(n);
}

static double logarithm(double v) {
    double y = v < 1 ? -0.5 : 1;
    for (int i = 0; i < 5; i++) {
        double e = exponential(y);
        y += 2 * (v - e) / (v + e);
    }
    return y;
}

static double sine(double x) {
    double turns = __builtin_floor(x * 0.15915494309189535 + 0.5), r = x - turns * 6.283185307179586;
    double square = r * r, p = -1.0 / 39916800;
    p = p * square + 1.0 / 362880;
    p = p * square - 1.0 / 5040;
    p = p * square + 1.0 / 120;
    p = p * square - 1.0 / 6;
    return r + r * square * p;
}

int main(void) {
    uint64_t seed = 33, sum = 0;
    double total = 0;
    bench_begin();
    for (int i = 0; i < COUNT; i++) {
        double x = (int32_t)bench_random(&seed) / 134217728.0;
        total += sine(x) + exponential(x * 0.25);
        if (i % 8 == 0)
            total += logarithm(1.5 + x * x);
        if (i % 64 == 0)
            sum = bench_mix_double(sum, total);
    }
    bench_end("transcendental", bench_mix_double(sum, total));
    return 0;
}
