/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* random.h: numbers for guests that try what nobody thought of, always the same ones (xorshift64*), and values of kinds
 * that devices may mind. */
#ifndef PAYLOAD_RANDOM_H
#define PAYLOAD_RANDOM_H

#include <stdint.h>

static uint64_t random_seed = 0xda3e39cb94b95bdb;
static uint64_t next(void) {
    random_seed ^= random_seed >> 12;
    random_seed ^= random_seed << 25;
    random_seed ^= random_seed >> 27;
    return random_seed * 0x2545f4914f6cdd1d;
}

static uint64_t random_value(void) {
    uint64_t r = next();
    switch (r & 7) {
    case 0: return 0;
    case 1: return ~0ul;
    case 2: return 1ul << (r >> 3 & 63);
    case 3: return r >> 54;
    case 4: return (uint32_t)(r >> 3);
    default: return next();
    }
}

#endif
