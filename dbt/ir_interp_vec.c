/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir_interp_vec.c: the value of vector operations other than floating point, lane by lane. */
#include "ir_priv.h"

static uint64_t lane_get(const v128 *v, unsigned lane, unsigned k) {
    switch (lane) {
    case 0: return v->u8[k];
    case 1: return v->u16[k];
    case 2: return v->u32[k];
    default: return v->u64[k];
    }
}

static int64_t lane_signed(const v128 *v, unsigned lane, unsigned k) {
    unsigned shift = 64 - (8u << lane);
    return (int64_t)(lane_get(v, lane, k) << shift) >> shift;
}

static void lane_set(v128 *v, unsigned lane, unsigned k, uint64_t x) {
    switch (lane) {
    case 0: v->u8[k] = (uint8_t)x; break;
    case 1: v->u16[k] = (uint16_t)x; break;
    case 2: v->u32[k] = (uint32_t)x; break;
    default: v->u64[k] = x; break;
    }
}

static uint64_t saturate_signed(__int128 x, unsigned bits) {
    __int128 max = ((__int128)1 << (bits - 1)) - 1, min = -max - 1;
    return (uint64_t)(int64_t)(x > max ? max : x < min ? min : x);
}

static uint64_t saturate_unsigned(__int128 x, unsigned bits) {
    __int128 max = ((__int128)1 << bits) - 1;
    return (uint64_t)(x > max ? max : x < 0 ? 0 : x);
}

/* One lane of an operation of two vectors: ux, uy unsigned, sx, sy signed. */
static uint64_t binary_lane(unsigned op, unsigned lane, uint64_t ux, uint64_t uy, int64_t sx, int64_t sy) {
    unsigned bits = 8u << lane;
    switch (op) {
    case IR_VADD: return ux + uy;
    case IR_VSUB: return ux - uy;
    case IR_VMUL: return ux * uy;
    case IR_VCMPEQ: return ux == uy ? ~UINT64_C(0) : 0;
    case IR_VCMPGT: return sx > sy ? ~UINT64_C(0) : 0;
    case IR_VCMPGE: return sx >= sy ? ~UINT64_C(0) : 0;
    case IR_VCMPHI: return ux > uy ? ~UINT64_C(0) : 0;
    case IR_VCMPHS: return ux >= uy ? ~UINT64_C(0) : 0;
    case IR_VSMAX: return sx > sy ? ux : uy;
    case IR_VSMIN: return sx < sy ? ux : uy;
    case IR_VUMAX: return ux > uy ? ux : uy;
    case IR_VUMIN: return ux < uy ? ux : uy;
    case IR_VSQADD: return saturate_signed((__int128)sx + sy, bits);
    case IR_VSQSUB: return saturate_signed((__int128)sx - sy, bits);
    case IR_VUQADD: return saturate_unsigned((__int128)ux + uy, bits);
    case IR_VUQSUB: return saturate_unsigned((__int128)ux - uy, bits);
    default: /* VAVGU */ return (ux + uy + 1) >> 1;
    }
}

static void eval_binary(const struct ir_inst *i, v128 *r, const v128 *a, const v128 *b) {
    unsigned lane = i->lane;
    for (unsigned k = 0; k < 16u >> lane; k++) {
        lane_set(r, lane, k,
                 binary_lane(i->op, lane, lane_get(a, lane, k), lane_get(b, lane, k), lane_signed(a, lane, k),
                             lane_signed(b, lane, k)));
    }
}

static void eval_unary(const struct ir_inst *i, v128 *r, const v128 *a) {
    unsigned lane = i->lane, bits = 8u << lane, n = i->n;
    for (unsigned k = 0; k < 16u >> lane; k++) {
        uint64_t x = lane_get(a, lane, k);
        int64_t s = lane_signed(a, lane, k);
        switch (i->op) {
        case IR_VNEG: x = 0 - x; break;
        case IR_VABS: x = s < 0 ? 0 - x : x; break;
        case IR_VSHLI: x <<= n; break;
        case IR_VSHRI: x = n >= bits ? 0 : x >> n; break;
        default: /* VSARI */ x = (uint64_t)(s >> (n >= 64 ? 63 : n)); break;
        }
        lane_set(r, lane, k, x);
    }
}

static void eval_logic(unsigned op, v128 *r, const v128 *a, const v128 *b, const v128 *c) {
    for (unsigned k = 0; k < 2; k++) {
        uint64_t x = a->u64[k], y = b->u64[k], z = c->u64[k];
        switch (op) {
        case IR_VAND: r->u64[k] = x & y; break;
        case IR_VOR: r->u64[k] = x | y; break;
        case IR_VXOR: r->u64[k] = x ^ y; break;
        case IR_VANDN: r->u64[k] = x & ~y; break;
        case IR_VNOT: r->u64[k] = ~x; break;
        default: /* VBSL */ r->u64[k] = (x & y) | (~x & z); break;
        }
    }
}

/* --- permutations ----------------------------------------------------------------------------- */
static void eval_permute(const struct ir_inst *i, v128 *r, const v128 *a, const v128 *b) {
    unsigned lane = i->lane, lanes = 16u >> lane, half = lanes / 2;
    for (unsigned k = 0; k < lanes; k++) {
        uint64_t x;
        unsigned pair = k & ~1u;
        switch (i->op) {
        case IR_VZIP1: x = lane_get(k & 1 ? b : a, lane, k / 2); break;
        case IR_VZIP2: x = lane_get(k & 1 ? b : a, lane, half + k / 2); break;
        case IR_VUZP1: x = lane_get(k < half ? a : b, lane, 2 * (k % half)); break;
        case IR_VUZP2: x = lane_get(k < half ? a : b, lane, 2 * (k % half) + 1); break;
        case IR_VTRN1: x = lane_get(k & 1 ? b : a, lane, pair); break;
        case IR_VTRN2: x = lane_get(k & 1 ? b : a, lane, pair + 1); break;
        default: { /* VREV */
            unsigned group = (1u << i->n) >> lane;
            x = lane_get(a, lane, k ^ (group - 1));
            break;
        }
        }
        lane_set(r, lane, k, x);
    }
}

static void eval_bytes(const struct ir_inst *i, v128 *r, const v128 *a, const v128 *b) {
    for (unsigned k = 0; k < 16; k++) {
        if (i->op == IR_VEXT) {
            unsigned from = k + (i->n & 15);
            r->u8[k] = from < 16 ? a->u8[from] : b->u8[from - 16];
        } else { /* VTBL */
            r->u8[k] = b->u8[k] < 16 ? a->u8[b->u8[k]] : 0;
        }
    }
}

/* --- moves between lanes, and changes of width ------------------------------------------------ */
static void eval_move(const struct ir_inst *i, v128 *r, const v128 *a, uint64_t x) {
    unsigned lane = i->lane, lanes = 16u >> lane, n = i->n % lanes;
    switch (i->op) {
    case IR_VDUP:
    case IR_VDUPLANE:
        for (unsigned k = 0; k < lanes; k++)
            lane_set(r, lane, k, i->op == IR_VDUP ? x : lane_get(a, lane, n));
        break;
    case IR_VFROM: lane_set(r, lane, 0, x); break;
    case IR_VINS:
        *r = *a;
        lane_set(r, lane, n, x);
        break;
    case IR_VGET: r->u64[0] = lane_get(a, lane, n); break;
    default: /* VLOW */ lane_set(r, lane, 0, lane_get(a, lane, 0)); break;
    }
}

static void eval_width(const struct ir_inst *i, v128 *r, const v128 *a) {
    unsigned lane = i->lane;
    if (i->op == IR_VNARROW) {
        for (unsigned k = 0; k < 16u >> lane; k++)
            lane_set(r, lane - 1u, k, lane_get(a, lane, k));
        return;
    }
    for (unsigned k = 0; k < 8u >> lane; k++)
        lane_set(r, lane + 1u, k, i->op == IR_VSXTL ? (uint64_t)lane_signed(a, lane, k) : lane_get(a, lane, k));
}

static void eval_multiply(const struct ir_inst *i, v128 *r, const v128 *a, const v128 *b) {
    switch (i->op) {
    case IR_VMULLU:
        for (unsigned k = 0; k < 2; k++)
            r->u64[k] = (uint64_t)a->u32[2 * k] * b->u32[2 * k];
        break;
    case IR_VMULLS:
        for (unsigned k = 0; k < 2; k++)
            r->u64[k] = (uint64_t)((int64_t)a->s32[2 * k] * b->s32[2 * k]);
        break;
    default: /* VPMULL */
        for (unsigned k = 0; k < 64; k++) {
            if (b->u64[0] >> k & 1) {
                r->u64[0] ^= a->u64[0] << k;
                r->u64[1] ^= k ? a->u64[0] >> (64 - k) : 0;
            }
        }
        break;
    }
}

/* --- AES, by its definition in GF(2^8) -------------------------------------------------------- */
static uint8_t gf_mul(uint8_t x, uint8_t y) {
    uint8_t r = 0;
    for (; y; y >>= 1) {
        r ^= y & 1 ? x : 0;
        x = (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1b : 0));
    }
    return r;
}

static uint8_t rotate_left8(uint8_t x, unsigned n) { return (uint8_t)(x << n | x >> (8 - n)); }

/* x^254, the inverse. */
static uint8_t gf_inverse(uint8_t x) {
    uint8_t r = 1;
    for (unsigned k = 0; k < 7; k++) {
        x = gf_mul(x, x);
        r = gf_mul(r, x);
    }
    return r;
}

static uint8_t aes_sub(uint8_t x, bool inverse) {
    if (inverse)
        return gf_inverse((uint8_t)(rotate_left8(x, 1) ^ rotate_left8(x, 3) ^ rotate_left8(x, 6) ^ 0x05));
    uint8_t s = gf_inverse(x);
    return (uint8_t)(s ^ rotate_left8(s, 1) ^ rotate_left8(s, 2) ^ rotate_left8(s, 3) ^ rotate_left8(s, 4) ^ 0x63);
}

static void eval_aes(unsigned op, v128 *r, const v128 *a) {
    static const uint8_t forward[4] = {2, 3, 1, 1}, backward[4] = {14, 11, 13, 9};
    for (unsigned k = 0; k < 16; k++) {
        unsigned row = k & 3, column = k / 4;
        if (op == IR_VAESE || op == IR_VAESD) {
            unsigned from = op == IR_VAESE ? column + row : column - row;
            r->u8[k] = aes_sub(a->u8[4 * (from & 3) + row], op == IR_VAESD);
            continue;
        }
        const uint8_t *factor = op == IR_VAESMC ? forward : backward;
        uint8_t sum = 0;
        for (unsigned m = 0; m < 4; m++)
            sum ^= gf_mul(a->u8[4 * column + m], factor[(m - row) & 3]);
        r->u8[k] = sum;
    }
}

void ir_eval_vec(const struct ir_inst *i, v128 *r, const v128 *a, const v128 *b, const v128 *c, uint64_t x) {
    switch (i->op) {
    case IR_VAND ... IR_VBSL: eval_logic(i->op, r, a, b, c); break;
    case IR_VNEG:
    case IR_VABS:
    case IR_VSHLI ... IR_VSARI: eval_unary(i, r, a); break;
    case IR_VEXT:
    case IR_VTBL: eval_bytes(i, r, a, b); break;
    case IR_VZIP1 ... IR_VREV: eval_permute(i, r, a, b); break;
    case IR_VDUP ... IR_VLOW: eval_move(i, r, a, x); break;
    case IR_VNARROW ... IR_VUXTL: eval_width(i, r, a); break;
    case IR_VMULLU ... IR_VPMULL: eval_multiply(i, r, a, b); break;
    case IR_VAESE ... IR_VAESIMC: eval_aes(i->op, r, a); break;
    default: eval_binary(i, r, a, b); break;
    }
}
