/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* raytrace - spheres over a chequered floor with shadows and reflections, single precision. */

#include "bench.h"

enum { WIDTH = 320, HEIGHT = 240, SPHERES = 8, BOUNCES = 3 };

typedef struct {
    float x, y, z;
} vec;

static struct {
    vec centre;
    float square, reflect, colour;
} spheres[SPHERES];

static vec add(vec a, vec b) { return (vec){a.x + b.x, a.y + b.y, a.z + b.z}; }
static vec sub(vec a, vec b) { return (vec){a.x - b.x, a.y - b.y, a.z - b.z}; }
static vec scale(vec a, float f) { return (vec){a.x * f, a.y * f, a.z * f}; }
static float dot(vec a, vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static vec unit(vec a) { return scale(a, 1 / __builtin_sqrtf(dot(a, a))); }

static int nearest(vec from, vec way, float *distance) {
    int hit = -1;
    *distance = 1e9f;
    for (int i = 0; i < SPHERES; i++) {
        vec to = sub(spheres[i].centre, from);
        float b = dot(to, way), d = b * b - dot(to, to) + spheres[i].square;
        if (d < 0)
            continue;
        float root = __builtin_sqrtf(d), t = b - root > 1e-3f ? b - root : b + root;
        if (t > 1e-3f && t < *distance) {
            *distance = t;
            hit = i;
        }
    }
    if (way.y < -1e-3f && -(from.y + 1) / way.y < *distance && from.y > -1) {
        *distance = -(from.y + 1) / way.y;
        hit = SPHERES;
    }
    return hit;
}

static float shade(vec from, vec way, int bounces) {
    const vec light = {0.48f, 0.8f, -0.36f};
    float distance, other;
    int hit = nearest(from, way, &distance);
    if (hit < 0)
        return 0.3f + 0.5f * way.y;
    vec at = add(from, scale(way, distance)), normal = {0, 1, 0};
    float colour = ((int)(at.x + 1000) + (int)(at.z + 1000)) & 1 ? 0.9f : 0.2f, reflect = 0.2f;
    if (hit < SPHERES) {
        normal = unit(sub(at, spheres[hit].centre));
        colour = spheres[hit].colour;
        reflect = spheres[hit].reflect;
    }
    float lit = dot(normal, light);
    if (lit < 0 || nearest(add(at, scale(normal, 1e-2f)), light, &other) >= 0)
        lit = 0;
    float result = colour * (0.15f + 0.85f * lit);
    if (bounces && reflect > 0) {
        vec mirrored = sub(way, scale(normal, 2 * dot(way, normal)));
        result = result * (1 - reflect) + reflect * shade(add(at, scale(normal, 1e-2f)), mirrored, bounces - 1);
    }
    return result;
}

int main(void) {
    uint64_t seed = 19, sum = 0;
    for (int i = 0; i < SPHERES; i++) {
        float r = 0.3f + (float)(bench_random(&seed) % 100) / 100;
        float x = (float)(bench_random(&seed) % 600) / 100 - 3, z = 3 + (float)(bench_random(&seed) % 500) / 100;
        spheres[i].centre = (vec){x, r - 1, z};
        spheres[i].square = r * r;
        spheres[i].reflect = (float)(bench_random(&seed) % 80) / 100;
        spheres[i].colour = 0.3f + (float)(bench_random(&seed) % 70) / 100;
    }
    bench_begin();
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int sample = 0; sample < 4; sample++) {
                float dx = (float)(sample & 1) * 0.5f, dy = (float)(sample >> 1) * 0.5f;
                vec way = {((float)x + dx - WIDTH / 2) / HEIGHT, (HEIGHT / 2 - (float)y - dy) / HEIGHT, 1};
                float v = shade((vec){0, 0.5f, -2}, unit(way), BOUNCES);
                sum = bench_mix(sum, (uint64_t)(int64_t)(v * 255));
            }
    bench_end("raytrace", sum);
    return 0;
}
