/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* tracer - a recursive ray tracer with planes, spheres and boxes, shadows, mirrors and glass. */

#include "bench.h"

#include <math.h>

enum { WIDTH = 160, HEIGHT = 120, DEPTH = 4, OBJECTS = 14 };
enum shape { SPHERE, PLANE, BOX };

struct vec {
    double x, y, z;
};
struct object {
    enum shape shape;
    struct vec at, size; /* a plane's normal, a box's half widths */
    double radius, mirror, glass;
    struct vec colour;
    bool chequered;
};

static struct object objects[OBJECTS];
static const struct vec light = {4, 7, -5};

static struct vec add(struct vec a, struct vec b) { return (struct vec){a.x + b.x, a.y + b.y, a.z + b.z}; }
static struct vec sub(struct vec a, struct vec b) { return (struct vec){a.x - b.x, a.y - b.y, a.z - b.z}; }
static struct vec scale(struct vec a, double k) { return (struct vec){a.x * k, a.y * k, a.z * k}; }
static double dot(struct vec a, struct vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static struct vec unit(struct vec a) { return scale(a, 1 / sqrt(dot(a, a))); }

static double hit_sphere(const struct object *o, struct vec from, struct vec way) {
    struct vec to = sub(o->at, from);
    double b = dot(to, way), d = b * b - dot(to, to) + o->radius * o->radius;
    if (d < 0)
        return 0;
    d = sqrt(d);
    return b - d > 1e-6 ? b - d : b + d > 1e-6 ? b + d : 0;
}
static double hit_plane(const struct object *o, struct vec from, struct vec way) {
    double n = dot(o->size, way);
    if (n > -1e-9 && n < 1e-9)
        return 0;
    double t = dot(sub(o->at, from), o->size) / n;
    return t > 1e-6 ? t : 0;
}
static bool slab(double from, double way, double low, double high, double *near, double *far) {
    if (way == 0)
        return from >= low && from <= high;
    double a = (low - from) / way, b = (high - from) / way;
    if (a > b) {
        double c = a;
        a = b;
        b = c;
    }
    if (a > *near)
        *near = a;
    if (b < *far)
        *far = b;
    return *near <= *far;
}
static double hit_box(const struct object *o, struct vec from, struct vec way) {
    double near = -1e30, far = 1e30;
    struct vec low = sub(o->at, o->size), high = add(o->at, o->size);
    if (!slab(from.x, way.x, low.x, high.x, &near, &far) || !slab(from.y, way.y, low.y, high.y, &near, &far) ||
        !slab(from.z, way.z, low.z, high.z, &near, &far))
        return 0;
    return near > 1e-6 ? near : far > 1e-6 ? far : 0;
}
static double hit(const struct object *o, struct vec from, struct vec way) {
    switch (o->shape) {
    case SPHERE: return hit_sphere(o, from, way);
    case PLANE: return hit_plane(o, from, way);
    default: return hit_box(o, from, way);
    }
}
static struct vec normal(const struct object *o, struct vec p) {
    struct vec d = sub(p, o->at);
    if (o->shape == SPHERE)
        return unit(d);
    if (o->shape == PLANE)
        return o->size;
    double x = fabs(d.x / o->size.x), y = fabs(d.y / o->size.y), z = fabs(d.z / o->size.z);
    if (x > y && x > z)
        return (struct vec){d.x < 0 ? -1 : 1, 0, 0};
    if (y > z)
        return (struct vec){0, d.y < 0 ? -1 : 1, 0};
    return (struct vec){0, 0, d.z < 0 ? -1 : 1};
}

static const struct object *nearest(struct vec from, struct vec way, double *distance) {
    const struct object *best = NULL;
    for (int i = 0; i < OBJECTS; i++) {
        double t = hit(&objects[i], from, way);
        if (t > 0 && (!best || t < *distance)) {
            best = &objects[i];
            *distance = t;
        }
    }
    return best;
}
static bool shadowed(struct vec p, struct vec way, double distance) {
    for (int i = 0; i < OBJECTS; i++) {
        double t = objects[i].glass > 0 ? 0 : hit(&objects[i], p, way);
        if (t > 0 && t < distance)
            return true;
    }
    return false;
}

static struct vec trace(struct vec from, struct vec way, int depth) {
    double t = 0;
    const struct object *o = nearest(from, way, &t);
    if (!o)
        return (struct vec){0.2, 0.3 + 0.2 * way.y, 0.5 + 0.3 * way.y};
    struct vec p = add(from, scale(way, t)), n = normal(o, p), colour = o->colour;
    bool inside = dot(n, way) > 0;
    if (inside)
        n = scale(n, -1);
    if (o->chequered && ((int64_t)(p.x + 4096) + (int64_t)(p.z + 4096)) & 1)
        colour = scale(colour, 0.3);
    struct vec to = sub(light, p);
    double far = sqrt(dot(to, to)), shine = dot(n, to) / far;
    struct vec lit = scale(colour, 0.15);
    if (shine > 0 && !shadowed(p, scale(to, 1 / far), far))
        lit = add(lit, scale(colour, shine));
    if (depth == DEPTH)
        return lit;
    if (o->glass > 0) {
        double eta = inside ? 1.5 : 1 / 1.5, c = -dot(n, way), k = 1 - eta * eta * (1 - c * c);
        if (k > 0)
            lit = add(scale(lit, 1 - o->glass),
                      scale(trace(p, unit(add(scale(way, eta), scale(n, eta * c - sqrt(k)))), depth + 1), o->glass));
    }
    if (o->mirror > 0)
        lit =
            add(scale(lit, 1 - o->mirror), scale(trace(p, sub(way, scale(n, 2 * dot(n, way))), depth + 1), o->mirror));
    return lit;
}

static void make_scene(void) {
    uint64_t seed = 77;
    objects[0] = (struct object){PLANE, {0, -1, 0}, {0, 1, 0}, 0, 0.1, 0, {0.8, 0.8, 0.7}, true};
    for (int i = 1; i < OBJECTS; i++) {
        double r = 0.3 + bench_random(&seed) % 100 * 0.004;
        struct object *o = &objects[i];
        o->shape = i % 3 ? SPHERE : BOX;
        o->at = (struct vec){bench_random(&seed) % 800 * 0.01 - 4, r - 1, bench_random(&seed) % 700 * 0.01 + 1};
        o->size = (struct vec){r, r, r * 0.7};
        o->radius = r;
        o->mirror = i % 4 == 1 ? 0.6 : 0.05;
        o->glass = i % 5 == 2 ? 0.8 : 0;
        o->colour = (struct vec){bench_random(&seed) % 100 * 0.01, bench_random(&seed) % 100 * 0.01, 0.4};
    }
}
static unsigned level(double v) { return v < 0 ? 0 : v >= 1 ? 255 : (unsigned)(v * 255); }

int main(void) {
    uint64_t sum = 0;
    make_scene();
    bench_begin();
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++) {
            struct vec way = unit((struct vec){(x - WIDTH / 2) * 0.01, (HEIGHT / 2 - y) * 0.01, 1});
            struct vec c = trace((struct vec){0, 0.6, -4}, way, 0);
            sum = bench_mix(sum, level(c.x) << 16 | level(c.y) << 8 | level(c.z));
        }
    }
    bench_end("tracer", sum);
    return 0;
}
