/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* bench.h - what every benchmark program shares: its clock, its checksum and its one line of output. */

#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t bench_process_start, bench_work_start;

static inline uint64_t bench_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((constructor)) static void bench_note_start(void) { bench_process_start = bench_work_start = bench_ns(); }

/*
 * What comes before this call is not part of time_ns, only of total_ns. The division leaves the "inexact" status set,
 * as it soon is in any program: QEMU computes on the host's unit only from then on, and one that happens to use exact
 * values alone would show a cost that real programs do not see.
 */
static inline void bench_begin(void) {
    volatile double one = 1, three = 3;
    one /= three;
    bench_work_start = bench_ns();
}

static inline void bench_end(const char *name, uint64_t checksum) {
    uint64_t now = bench_ns();
    printf("%s checksum=%016llx time_ns=%llu total_ns=%llu\n", name, (unsigned long long)checksum,
           (unsigned long long)(now - bench_work_start), (unsigned long long)(now - bench_process_start));
}

static inline void bench_fail(const char *what) {
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

static inline void *bench_alloc(size_t size) {
    void *p = malloc(size);
    if (!p)
        bench_fail("malloc");
    return p;
}

static inline uint64_t bench_mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static inline uint64_t bench_mix_double(uint64_t hash, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bench_mix(hash, bits);
}

static inline uint32_t bench_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* Text that compresses about as well as prose: words drawn from a small skewed vocabulary. */
static inline void bench_text(uint8_t *out, size_t size, uint64_t seed) {
    size_t at = 0;
    while (at < size) {
        uint32_t r = bench_random(&seed);
        uint32_t word = (r & 255) * (r >> 8 & 255) >> 6;
        uint64_t letters = word * 0x2545f4914f6cdd1du + 0x9e37;
        unsigned length = 2 + (unsigned)(letters >> 60) % 8;
        for (unsigned i = 0; i < length && at < size; i++, letters >>= 5)
            out[at++] = (uint8_t)('a' + (letters & 31) % 26);
        if (at < size)
            out[at++] = (r >> 16 & 15) == 0 ? '\n' : ' ';
    }
}

#endif
