/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* inet.h: numbers in network order, and the Internet checksum (RFC 1071): fold(sum(..., sum(...))). */
#ifndef TESTS_INET_H
#define TESTS_INET_H

#include <stdint.h>

static inline void put16(uint8_t *p, unsigned v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16), put16(p + 2, v & 0xffff); }
static inline unsigned get16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }

static inline uint32_t sum(const uint8_t *p, unsigned len, uint32_t from) {
    for (unsigned i = 0; i + 1 < len; i += 2)
        from += get16(p + i);
    return len & 1 ? from + ((uint32_t)p[len - 1] << 8) : from;
}

static inline unsigned fold(uint32_t s) {
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return ~s & 0xffff;
}

#endif
