/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * helper_simd.c: Advanced SIMD operations that have no IR operation of their
 * own. desc: SIMD_DESC(); elements above n are zero in the result.
 * Saturation sets cpu->fp.qc.
 */
#include "guests/a64/trans_simd.h"

#define LANE(d) ((d) & 15)
#define COUNT(d) ((d) >> 4 & 31)
#define FLAGS(d) ((d) >> 12)

static uint64_t lane_u(const v128 *v, unsigned lane, unsigned i) {
    switch (lane) {
    case 0: return v->u8[i & 15];
    case 1: return v->u16[i & 7];
    case 2: return v->u32[i & 3];
    default: return v->u64[i & 1];
    }
}

static int64_t lane_s(const v128 *v, unsigned lane, unsigned i) {
    unsigned up = 64 - (8u << lane);
    return (int64_t)(lane_u(v, lane, i) << up) >> up;
}

static void set_lane(v128 *v, unsigned lane, unsigned i, uint64_t x) {
    switch (lane) {
    case 0: v->u8[i & 15] = (uint8_t)x; break;
    case 1: v->u16[i & 7] = (uint16_t)x; break;
    case 2: v->u32[i & 3] = (uint32_t)x; break;
    default: v->u64[i & 1] = x; break;
    }
}

static void saturated(struct cpu *cpu) { cpu->fp.qc.u64[0] |= 1; }

/* A 128-bit value as a signed or unsigned element of that many bits. */
static uint64_t saturate(struct cpu *cpu, __int128 x, unsigned bits, bool u) {
    __int128 max = u ? (__int128)MASK(bits) : (__int128)MASK(bits - 1), min = u ? 0 : -max - 1;
    if (x > max || x < min) {
        saturated(cpu);
        x = x > max ? max : min;
    }
    return (uint64_t)x;
}

/* --- shifts by register: [S|U][Q][R]SHL ------------------------------------------------------- */
static __int128 far_out(__int128 x) {
    __int128 big = (__int128)1 << 100;
    return x > 0 ? big : x < 0 ? -big : 0;
}

static uint64_t shift_one(struct cpu *cpu, int64_t sx, uint64_t ux, int shift, unsigned bits, unsigned flags) {
    bool u = flags & SIMD_UNSIGNED;
    __int128 x = u ? (__int128)ux : (__int128)sx;
    if (!(flags & (SIMD_ROUND | SIMD_SATURATE)) && shift < 0 && shift > -64) /* USHL and SSHL, the common ones */
        return u ? ux >> -shift : (uint64_t)(sx >> -shift);
    if (shift >= 0) {
        if (flags & SIMD_SATURATE) /* far out only zero stays what it is */
            return shift < 64 ? saturate(cpu, x * ((__int128)1 << shift), bits, u) : saturate(cpu, far_out(x), bits, u);
        return shift >= (int)bits ? 0 : ux << shift;
    }
    unsigned right = -shift > 120 ? 120 : (unsigned)-shift;
    if (flags & SIMD_ROUND)
        x += (__int128)1 << (right - 1);
    return (uint64_t)(x >> right);
}

void simd_shift(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = LANE(desc);
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++) {
        int shift = (int8_t)lane_u(b, lane, i);
        set_lane(&r, lane, i, shift_one(cpu, lane_s(a, lane, i), lane_u(a, lane, i), shift, 8u << lane, FLAGS(desc)));
    }
    *res = r;
}

/* --- saturating arithmetic -------------------------------------------------------------------- */
void simd_sqdmulh(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = LANE(desc), bits = 8u << lane;
    int64_t round = FLAGS(desc) & SIMD_ROUND ? (int64_t)BIT(bits - 1) : 0;
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++) {
        __int128 x = (__int128)2 * lane_s(a, lane, i) * lane_s(b, lane, i) + round;
        set_lane(&r, lane, i, saturate(cpu, x >> bits, bits, false));
    }
    *res = r;
}

void simd_sqrdmlah(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = LANE(desc), bits = 8u << lane;
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++) {
        __int128 x = (__int128)2 * lane_s(a, lane, i) * lane_s(b, lane, i);
        x = ((__int128)lane_s(c, lane, i) * ((__int128)1 << bits)) + (FLAGS(desc) & SIMD_SUBTRACT ? -x : x) +
            (int64_t)BIT(bits - 1);
        set_lane(&r, lane, i, saturate(cpu, x >> bits, bits, false));
    }
    *res = r;
}

/* SUQADD (signed b += unsigned a), USQADD (SIMD_UNSIGNED: unsigned b += signed a). */
void simd_suqadd(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = LANE(desc);
    bool u = FLAGS(desc) & SIMD_UNSIGNED;
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++) {
        __int128 x =
            u ? (__int128)lane_u(b, lane, i) + lane_s(a, lane, i) : (__int128)lane_s(b, lane, i) + lane_u(a, lane, i);
        set_lane(&r, lane, i, saturate(cpu, x, 8u << lane, u));
    }
    *res = r;
}

/* --- bit counts ------------------------------------------------------------------------------- */
static unsigned leading_zeros(uint64_t x, unsigned bits) {
    return x ? (unsigned)__builtin_clzll(x) - (64 - bits) : bits;
}

void simd_clz(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = LANE(desc);
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++)
        set_lane(&r, lane, i, leading_zeros(lane_u(a, lane, i), 8u << lane));
    *res = r;
}

void simd_cls(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = LANE(desc), bits = 8u << lane;
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++) {
        int64_t x = lane_s(a, lane, i);
        set_lane(&r, lane, i, leading_zeros((uint64_t)(x < 0 ? ~x : x), bits) - 1);
    }
    *res = r;
}

/* --- polynomials over {0, 1} ------------------------------------------------------------------ */
static unsigned polynomial(unsigned a, unsigned b) {
    unsigned r = 0;
    for (unsigned i = 0; i < 8; i++)
        r ^= b >> i & 1 ? a << i : 0;
    return r;
}

void simd_pmul(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++)
        r.u8[i & 15] = (uint8_t)polynomial(a->u8[i & 15], b->u8[i & 15]);
    *res = r;
}

void simd_pmull(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 r;
    for (unsigned i = 0; i < 8; i++)
        r.u16[i] = (uint16_t)polynomial(a->u8[i], b->u8[i]);
    *res = r;
}

/* --- UnsignedRecipEstimate(), UnsignedRSqrtEstimate() ----------------------------------------- */
void simd_urecpe(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++) {
        uint32_t x = a->u32[i & 3], d = (x >> 23) * 2 + 1;
        r.u32[i & 3] = x >> 31 ? (((1u << 19) / d + 1) / 2) << 23 : ~0u;
    }
    *res = r;
}

void simd_ursqrte(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < COUNT(desc); i++) {
        uint32_t x = a->u32[i & 3], e = 512;
        if (x >> 30) {
            uint32_t s = x >> 23;
            s = s < 256 ? s * 2 + 1 : ((s >> 1 << 1) + 1) * 2;
            while (s * (e + 1) * (e + 1) < 1u << 28)
                e++;
            r.u32[i & 3] = (e + 1) / 2 << 23;
        } else {
            r.u32[i & 3] = ~0u;
        }
    }
    *res = r;
}
