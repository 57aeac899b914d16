/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* hash.h: a sum of bytes, against damage and for tables; not cryptographic. */
#ifndef GRAFT_HASH_H
#define GRAFT_HASH_H

#include "graft/base.h"

/* hash_bytes(): four lanes, as a multiplication takes its time. */
static inline uint64_t hash_bytes(uint64_t seed, const void *data, size_t bytes) {
    const uint8_t *p = data;
    uint64_t lane[4] = {seed, seed + 1, seed + 2, seed + 3}, word, prime = UINT64_C(0x9e3779b97f4a7c15);
    for (; bytes >= sizeof(lane); bytes -= sizeof(lane), p += sizeof(lane))
        for (unsigned i = 0; i < 4; i++) {
            __builtin_memcpy(&word, p + 8 * i, 8);
            lane[i] = (lane[i] ^ word) * prime;
            lane[i] ^= lane[i] >> 29;
        }
    for (; bytes >= 8; bytes -= 8, p += 8) {
        __builtin_memcpy(&word, p, 8);
        lane[0] = (lane[0] ^ word) * prime;
        lane[0] ^= lane[0] >> 29;
    }
    for (; bytes; bytes--, p++)
        lane[0] = (lane[0] ^ *p) * prime;
    for (unsigned i = 1; i < 4; i++)
        lane[0] = (lane[0] ^ lane[i]) * prime ^ lane[0] >> 31;
    return lane[0];
}

#endif
