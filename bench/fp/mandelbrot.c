/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* mandelbrot - iteration counts of the Mandelbrot set in double and in single precision. */

#include "bench.h"

enum { SIZE = 420, LIMIT = 200 };

#define ITERATE(type)                                                                                                  \
    static int iterate_##type(type cr, type ci) {                                                                      \
        type zr = 0, zi = 0;                                                                                           \
        int n = 0;                                                                                                     \
        for (; n < LIMIT && zr * zr + zi * zi <= 4; n++) {                                                             \
            type t = zr * zr - zi * zi + cr;                                                                           \
            zi = 2 * zr * zi + ci;                                                                                     \
            zr = t;                                                                                                    \
        }                                                                                                              \
        return n;                                                                                                      \
    }

ITERATE(double)
ITERATE(float)

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
            sum = bench_mix(sum, (uint64_t)iterate_double(3.0 * x / SIZE - 2.0, 2.0 * y / SIZE - 1.0));
            sum = bench_mix(sum, (uint64_t)iterate_float(3.0f * (float)x / SIZE - 2.0f, 2.0f * (float)y / SIZE - 1.0f));
        }
    bench_end("mandelbrot", sum);
    return 0;
}
