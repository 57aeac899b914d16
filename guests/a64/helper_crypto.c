/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* helper_crypto.c: the SHA1 and SHA256 instructions. a: destination register, b: Rn, c: Rm. */
#include "guests/a64/trans_simd.h"

static uint32_t rol(uint32_t x, unsigned n) { return x << n | x >> (32 - n); }

static uint32_t ror(uint32_t x, unsigned n) { return rol(x, 32 - n); }

/* --- SHA1 ------------------------------------------------------------------------------------- */
static uint32_t choose(uint32_t x, uint32_t y, uint32_t z) { return ((y ^ z) & x) ^ z; }

static uint32_t parity(uint32_t x, uint32_t y, uint32_t z) { return x ^ y ^ z; }

static uint32_t majority(uint32_t x, uint32_t y, uint32_t z) { return (x & y) | ((x | y) & z); }

/* Four rounds; b holds e in element 0, c the schedule. */
#define SHA1_ROUNDS(name, f)                                                                                           \
    void name(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {                \
        v128 x = *a;                                                                                                   \
        uint32_t y = b->u32[0];                                                                                        \
        for (unsigned i = 0; i < 4; i++) {                                                                             \
            uint32_t t = y + rol(x.u32[0], 5) + f(x.u32[1], x.u32[2], x.u32[3]) + c->u32[i];                           \
            y = x.u32[3];                                                                                              \
            x.u32[3] = x.u32[2];                                                                                       \
            x.u32[2] = rol(x.u32[1], 30);                                                                              \
            x.u32[1] = x.u32[0];                                                                                       \
            x.u32[0] = t;                                                                                              \
        }                                                                                                              \
        *res = x;                                                                                                      \
    }
SHA1_ROUNDS(simd_sha1c, choose)
SHA1_ROUNDS(simd_sha1p, parity)
SHA1_ROUNDS(simd_sha1m, majority)

void simd_sha1su1(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 r;
    for (unsigned i = 0; i < 3; i++)
        r.u32[i] = rol(a->u32[i] ^ b->u32[i + 1], 1);
    r.u32[3] = rol(a->u32[3] ^ r.u32[0], 1);
    *res = r;
}

/* --- SHA256 ----------------------------------------------------------------------------------- */
/* Four rounds on abcd, efgh. */
static void sha256_rounds(v128 *x, v128 *y, const v128 *w) {
    for (unsigned i = 0; i < 4; i++) {
        uint32_t s1 = ror(y->u32[0], 6) ^ ror(y->u32[0], 11) ^ ror(y->u32[0], 25);
        uint32_t s0 = ror(x->u32[0], 2) ^ ror(x->u32[0], 13) ^ ror(x->u32[0], 22);
        uint32_t t = y->u32[3] + s1 + choose(y->u32[0], y->u32[1], y->u32[2]) + w->u32[i];
        uint32_t d = x->u32[3] + t, top = t + s0 + majority(x->u32[0], x->u32[1], x->u32[2]);
        for (unsigned k = 3; k > 0; k--) {
            x->u32[k] = x->u32[k - 1];
            y->u32[k] = y->u32[k - 1];
        }
        x->u32[0] = top;
        y->u32[0] = d;
    }
}

void simd_sha256h(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 x = *a, y = *b, w = *c;
    sha256_rounds(&x, &y, &w);
    *res = x;
}

void simd_sha256h2(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 x = *b, y = *a, w = *c;
    sha256_rounds(&x, &y, &w);
    *res = y;
}

static uint32_t sigma0(uint32_t x) { return ror(x, 7) ^ ror(x, 18) ^ x >> 3; }

static uint32_t sigma1(uint32_t x) { return ror(x, 17) ^ ror(x, 19) ^ x >> 10; }

void simd_sha256su0(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 r;
    for (unsigned i = 0; i < 4; i++)
        r.u32[i] = a->u32[i] + sigma0(i < 3 ? a->u32[i + 1] : b->u32[0]);
    *res = r;
}

void simd_sha256su1(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 r;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t before = i < 2 ? c->u32[i + 2] : r.u32[i - 2];
        r.u32[i] = a->u32[i] + sigma1(before) + (i < 3 ? b->u32[i + 1] : c->u32[0]);
    }
    *res = r;
}
