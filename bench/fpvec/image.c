/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* image - integer vector code: blending, box blur and thresholds on 8-bit pixels, sums of absolute differences. */

#include "bench.h"

enum { WIDTH = 512, HEIGHT = 256, ROUNDS = 200 };

static uint8_t a[HEIGHT][WIDTH], b[HEIGHT][WIDTH], out[HEIGHT][WIDTH];

__attribute__((noinline)) static void blend(unsigned alpha) {
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            out[y][x] = (uint8_t)((a[y][x] * alpha + b[y][x] * (256 - alpha) + 128) >> 8);
}

__attribute__((noinline)) static void blur(uint8_t (*restrict to)[WIDTH], uint8_t (*restrict from)[WIDTH]) {
    for (int y = 1; y < HEIGHT - 1; y++)
        for (int x = 1; x < WIDTH - 1; x++)
            to[y][x] =
                (uint8_t)((from[y - 1][x] + from[y + 1][x] + from[y][x - 1] + from[y][x + 1] + 4 * from[y][x]) / 8);
}

__attribute__((noinline)) static unsigned differences(void) {
    unsigned sum = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            sum += (unsigned)abs(a[y][x] - out[y][x]);
    return sum;
}

__attribute__((noinline)) static void threshold(uint8_t level) {
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            b[y][x] = out[y][x] > level ? (uint8_t)(255 - a[y][x]) : out[y][x];
}

int main(void) {
    uint64_t seed = 23, sum = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            a[y][x] = (uint8_t)bench_random(&seed);
            b[y][x] = (uint8_t)(x ^ y);
        }
    bench_begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        blend(round * 4 & 255);
        sum = bench_mix(sum, differences());
        threshold((uint8_t)(round * 3));
        blur(a, b);
    }
    bench_end("image", sum);
    return 0;
}
