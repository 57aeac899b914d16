/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* particles - single-precision particles in a box: comparisons, minimum and maximum, conversions, square roots. */

#include "bench.h"

enum { COUNT = 2000, STEPS = 3200 };

static struct {
    float x, y, vx, vy;
} p[COUNT];

int main(void) {
    uint64_t seed = 41, sum = 0;
    unsigned cells[256] = {0};
    for (int i = 0; i < COUNT; i++) {
        p[i].x = (float)(bench_random(&seed) >> 8) / 16777216.0f;
        p[i].y = (float)(bench_random(&seed) >> 8) / 16777216.0f;
        p[i].vx = (float)(bench_random(&seed) >> 8) / 16777216.0f - 0.5f;
        p[i].vy = (float)(bench_random(&seed) >> 8) / 16777216.0f - 0.5f;
    }
    bench_begin();
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < COUNT; i++) {
            float dx = 0.5f - p[i].x, dy = 0.5f - p[i].y;
            float r = __builtin_sqrtf(dx * dx + dy * dy) + 0.05f;
            p[i].vx = (p[i].vx + dx / r * 0.001f) * 0.9995f;
            p[i].vy = (p[i].vy + dy / r * 0.001f - 0.0001f) * 0.9995f;
            p[i].x += p[i].vx * 0.01f;
            p[i].y += p[i].vy * 0.01f;
            if (p[i].x < 0 || p[i].x > 1)
                p[i].vx = -p[i].vx;
            if (p[i].y < 0 || p[i].y > 1)
                p[i].vy = -p[i].vy;
            p[i].x = p[i].x < 0 ? 0 : p[i].x > 1 ? 1 : p[i].x;
            p[i].y = p[i].y < 0 ? 0 : p[i].y > 1 ? 1 : p[i].y;
            cells[(int)(p[i].x * 15.99f) * 16 + (int)(p[i].y * 15.99f)]++;
        }
    for (int i = 0; i < 256; i++)
        sum = bench_mix(sum, cells[i]);
    for (int i = 0; i < COUNT; i++)
        sum = bench_mix_double(sum, p[i].x);
    bench_end("particles", sum);
    return 0;
}
