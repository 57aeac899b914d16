/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* nbody - five bodies under gravity, double precision with a square root and a division for each pair. */

#include "bench.h"

enum { BODIES = 5, STEPS = 400000 };

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static struct body bodies[BODIES] = {
    {0, 0, 0, 0, 0, 0, 39.47},
    {4.84, -1.16, -0.10, 0.606, 2.81, -0.02, 0.0377},
    {8.34, 4.12, -0.40, -1.01, 1.82, 0.008, 0.0113},
    {12.89, -15.11, -0.22, 1.08, 0.868, -0.010, 0.0017},
    {15.37, -25.92, 0.18, 0.979, 0.594, -0.034, 0.0020},
};

static void step(double dt) {
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double square = dx * dx + dy * dy + dz * dz;
            double force = dt / (square * __builtin_sqrt(square));
            a->vx -= dx * b->mass * force;
            a->vy -= dy * b->mass * force;
            a->vz -= dz * b->mass * force;
            b->vx += dx * a->mass * force;
            b->vy += dy * a->mass * force;
            b->vz += dz * a->mass * force;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    for (int i = 0; i < STEPS; i++)
        step(0.01);
    for (int i = 0; i < BODIES; i++)
        sum = bench_mix_double(bench_mix_double(bench_mix_double(sum, bodies[i].x), bodies[i].y), bodies[i].vz);
    bench_end("nbody", sum);
    return 0;
}
