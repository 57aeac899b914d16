/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* random.h: numbers for tests that are one file; rng, which must not be 0, is the seed. */
#ifndef GRAFT_TESTS_RANDOM_H
#define GRAFT_TESTS_RANDOM_H

#include <stdint.h>

static uint64_t rng;

/* Below n (xorshift64). */
static inline uint64_t rnd(uint64_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % n;
}

#endif
