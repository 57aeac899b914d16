/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * trans_ldst_multi.c: LD1 to LD4 and ST1 to ST4: structures of vector elements.
 *
 * Whole structures move in 16-byte pieces and are (de)interleaved in registers.
 */
#include "guests/a64/a64.h"

#include "a64_decode.h"

struct multi {
    struct a64_trans *t;
    unsigned rt, count; /* first register and how many */
    unsigned lane;      /* log2 bytes of an element */
    unsigned bytes;     /* of each register: 8 or 16 */
    irv base;
};

static unsigned reg(const struct multi *m, unsigned i) { return (m->rt + i) & 31; }

/* --- pieces of memory ------------------------------------------------------------------------- */

/* Alignment is checked once for all pieces, by the first one. */
static unsigned piece_flags(const struct multi *m, unsigned at) {
    return IR_MEM_ELEMENTS(m->lane) | (at ? 0 : a64_mem_flags(m->t));
}

static irv load_bytes(const struct multi *m, unsigned at, unsigned bytes) {
    return ir_ld(m->t->b, IR_V128, bytes == 16 ? 4 : 3, m->base, (int32_t)at, a64_trans_regime(m->t),
                 piece_flags(m, at));
}

static void store_bytes(const struct multi *m, unsigned at, unsigned bytes, irv v) {
    ir_st(m->t->b, bytes == 16 ? 4 : 3, m->base, (int32_t)at, v, a64_trans_regime(m->t), piece_flags(m, at));
}

/* load_pieces(): the whole structure as 16-byte pieces, the last one possibly of 8 bytes. */
static unsigned load_pieces(const struct multi *m, irv piece[4]) {
    unsigned total = m->count * m->bytes, n = 0;
    for (unsigned at = 0; at < total; at += 16)
        piece[n++] = load_bytes(m, at, total - at >= 16 ? 16 : 8);
    return n;
}

static void store_pieces(const struct multi *m, const irv *piece) {
    unsigned total = m->count * m->bytes;
    for (unsigned at = 0; at < total; at += 16)
        store_bytes(m, at, total - at >= 16 ? 16 : 8, piece[at / 16]);
}

/* --- interleaving ----------------------------------------------------------------------------- */

/* gather(): the vector whose byte i is byte from[i] of the concatenated sources (0xff: zero). */
static irv gather(struct ir_block *b, const irv *source, unsigned sources, const uint8_t from[16]) {
    irv result = 0;
    for (unsigned s = 0; s < sources; s++) {
        uint8_t index[16];
        uint64_t half[2];
        bool any = false;
        for (unsigned i = 0; i < 16; i++) {
            bool here = from[i] != 0xff && from[i] / 16 == s;
            index[i] = here ? from[i] % 16 : 0xff;
            any |= here;
        }
        if (!any)
            continue;
        __builtin_memcpy(half, index, 16);
        irv part = ir_vop2(b, IR_VTBL, 0, source[s], ir_vconst(b, half[0], half[1]), 0);
        result = result ? ir_vop2(b, IR_VOR, 0, result, part, 0) : part;
    }
    return result;
}

static irv op2(const struct multi *m, enum ir_op op, irv a, irv b) { return ir_vop2(m->t->b, op, m->lane, a, b, 0); }

static void deinterleave3(const struct multi *m, const irv *piece, unsigned pieces, irv *v) {
    for (unsigned r = 0; r < 3; r++) {
        uint8_t from[16];
        for (unsigned i = 0; i < 16; i++) {
            unsigned element = i >> m->lane, byte = i & ((1u << m->lane) - 1);
            from[i] = i < m->bytes ? (uint8_t)(((element * 3 + r) << m->lane) + byte) : 0xff;
        }
        v[r] = gather(m->t->b, piece, pieces, from);
    }
}

static void interleave3(const struct multi *m, const irv *v, irv *piece) {
    for (unsigned p = 0; 16 * p < 3 * m->bytes; p++) {
        uint8_t from[16];
        for (unsigned i = 0; i < 16; i++) {
            unsigned at = 16 * p + i, element = at >> m->lane, byte = at & ((1u << m->lane) - 1);
            from[i] = at < 3 * m->bytes ? (uint8_t)(16 * (element % 3) + (element / 3 << m->lane) + byte) : 0xff;
        }
        piece[p] = gather(m->t->b, v, 3, from);
    }
}

/* deinterleave(): pieces of memory to registers. */
static void deinterleave(const struct multi *m, const irv *p, unsigned pieces, irv *v) {
    bool full = m->bytes == 16;
    if (m->count == 3) {
        deinterleave3(m, p, pieces, v);
        return;
    }
    if (m->count == 2) {
        v[0] = op2(m, IR_VUZP1, p[0], p[full ? 1 : 0]);
        v[1] = op2(m, IR_VUZP2, p[0], p[full ? 1 : 0]);
    } else {
        irv even0 = op2(m, IR_VUZP1, p[0], p[1]), odd0 = op2(m, IR_VUZP2, p[0], p[1]);
        irv even1 = full ? op2(m, IR_VUZP1, p[2], p[3]) : even0, odd1 = full ? op2(m, IR_VUZP2, p[2], p[3]) : odd0;
        v[0] = op2(m, IR_VUZP1, even0, even1);
        v[1] = op2(m, IR_VUZP1, odd0, odd1);
        v[2] = op2(m, IR_VUZP2, even0, even1);
        v[3] = op2(m, IR_VUZP2, odd0, odd1);
    }
    for (unsigned i = 0; !full && i < m->count; i++)
        v[i] = ir_vop1(m->t->b, IR_VLOW, 3, v[i], 0);
}

/* interleave(): registers to pieces of memory. */
static void interleave(const struct multi *m, const irv *v, irv *p) {
    bool full = m->bytes == 16;
    if (m->count == 3) {
        interleave3(m, v, p);
    } else if (m->count == 2) {
        p[0] = op2(m, IR_VZIP1, v[0], v[1]);
        p[1] = full ? op2(m, IR_VZIP2, v[0], v[1]) : 0;
    } else {
        irv even = op2(m, IR_VZIP1, v[0], v[2]), odd = op2(m, IR_VZIP1, v[1], v[3]);
        p[0] = op2(m, IR_VZIP1, even, odd);
        p[1] = op2(m, IR_VZIP2, even, odd);
        if (full) {
            even = op2(m, IR_VZIP2, v[0], v[2]), odd = op2(m, IR_VZIP2, v[1], v[3]);
            p[2] = op2(m, IR_VZIP1, even, odd);
            p[3] = op2(m, IR_VZIP2, even, odd);
        }
    }
}

/* --- multiple structures ---------------------------------------------------------------------- */

static void load_multiple(const struct multi *m, bool structure) {
    irv v[4], piece[4];
    if (structure) {
        unsigned pieces = load_pieces(m, piece);
        deinterleave(m, piece, pieces, v);
    } else {
        for (unsigned i = 0; i < m->count; i++)
            v[i] = load_bytes(m, i * m->bytes, m->bytes);
    }
    for (unsigned i = 0; i < m->count; i++)
        a64_put_v(m->t, reg(m, i), v[i]);
}

static void store_multiple(const struct multi *m, bool structure) {
    irv v[4] = {0}, piece[4] = {0};
    for (unsigned i = 0; i < m->count; i++)
        v[i] = a64_get_v(m->t, reg(m, i));
    if (structure) {
        interleave(m, v, piece);
        store_pieces(m, piece);
    } else {
        for (unsigned i = 0; i < m->count; i++)
            store_bytes(m, i * m->bytes, m->bytes, v[i]);
    }
}

/* post_index(): rm = 31 stands for the size of the access. */
static void post_index(const struct multi *m, unsigned rn, unsigned rm, unsigned bytes) {
    struct ir_block *b = m->t->b;
    if (rm == 31)
        a64_writeback(m->t, rn, ir_op2i(b, IR_ADD, m->base, bytes), bytes);
    else
        a64_put_sp(m->t, rn, ir_op2(b, IR_ADD, m->base, a64_get_x(m->t, rm, true)));
}

static bool multiple(struct a64_trans *t, const struct arg_LDST_multi *a, bool post, unsigned rm) {
    /* Registers by opcode, and whether they hold structures. */
    static const uint8_t counts[16] = {[0] = 4, [2] = 4, [4] = 3, [6] = 3, [7] = 1, [8] = 2, [10] = 2};
    unsigned count = counts[a->opcode];
    bool structure = a->opcode == 0 || a->opcode == 4 || a->opcode == 8;
    if (!count || (structure && a->size == 3 && !a->Q))
        return false;
    if (!a64_fp_access(t))
        return true;
    struct multi m = {t, a->rt, count, a->size, a->Q ? 16 : 8, a64_base(t, a->rn)};
    if (a->L)
        load_multiple(&m, structure);
    else
        store_multiple(&m, structure);
    if (post)
        post_index(&m, a->rn, rm, count * m.bytes);
    return true;
}

bool trans_LDST_multi(struct a64_trans *t, const struct arg_LDST_multi *a) { return multiple(t, a, false, 0); }

bool trans_LDST_multi_post(struct a64_trans *t, const struct arg_LDST_multi_post *a) {
    struct arg_LDST_multi m = {a->Q, a->L, a->opcode, a->size, a->rn, a->rt};
    return multiple(t, &m, true, a->rm);
}

/* --- single structures ------------------------------------------------------------------------ */

/* lane_of(): size and index of the element; false if unallocated. */
static bool lane_of(const struct arg_LDST_single *a, unsigned *lane, unsigned *index) {
    unsigned all = a->Q << 3 | a->S << 2 | a->size;
    *lane = a->opcode >> 1;
    switch (*lane) {
    case 0: *index = all; return true;
    case 1: *index = all >> 1; return (a->size & 1) == 0;
    default:
        if (a->size & 2)
            return false;
        if (a->size == 0) {
            *index = all >> 2;
            return true;
        }
        *lane = 3;
        *index = a->Q;
        return a->S == 0;
    }
}

static void load_replicate(const struct multi *m) {
    struct ir_block *b = m->t->b;
    irv v[4];
    for (unsigned i = 0; i < m->count; i++)
        v[i] = ir_ld(b, IR_I64, m->lane, m->base, (int32_t)(i << m->lane), a64_trans_regime(m->t), a64_mem_flags(m->t));
    for (unsigned i = 0; i < m->count; i++) {
        irv all = ir_vop1(b, IR_VDUP, m->lane, v[i], 0);
        a64_put_v(m->t, reg(m, i), m->bytes == 16 ? all : ir_vop1(b, IR_VLOW, 3, all, 0));
    }
}

static void access_lane(const struct multi *m, bool load, unsigned index) {
    struct ir_block *b = m->t->b;
    unsigned regime = a64_trans_regime(m->t), flags = a64_mem_flags(m->t);
    irv v[4];
    for (unsigned i = 0; i < m->count; i++) {
        int32_t disp = (int32_t)(i << m->lane);
        if (load) {
            v[i] = ir_ld(b, IR_I64, m->lane, m->base, disp, regime, flags);
        } else {
            irv element = ir_vop1(b, IR_VGET, m->lane, a64_get_v(m->t, reg(m, i)), index);
            ir_st(b, m->lane, m->base, disp, element, regime, flags);
        }
    }
    for (unsigned i = 0; load && i < m->count; i++)
        a64_put_v(m->t, reg(m, i), ir_vop2(b, IR_VINS, m->lane, a64_get_v(m->t, reg(m, i)), v[i], index));
}

static bool single(struct a64_trans *t, const struct arg_LDST_single *a, bool post, unsigned rm) {
    unsigned count = ((a->opcode & 1) << 1 | a->R) + 1, lane, index = 0;
    bool replicate = a->opcode >> 1 == 3;
    if (replicate) {
        lane = a->size;
        if (!a->L || a->S)
            return false;
    } else if (!lane_of(a, &lane, &index)) {
        return false;
    }
    if (!a64_fp_access(t))
        return true;
    struct multi m = {t, a->rt, count, lane, a->Q ? 16 : 8, a64_base(t, a->rn)};
    if (replicate)
        load_replicate(&m);
    else
        access_lane(&m, a->L, index);
    if (post)
        post_index(&m, a->rn, rm, count << lane);
    return true;
}

bool trans_LDST_single(struct a64_trans *t, const struct arg_LDST_single *a) { return single(t, a, false, 0); }

bool trans_LDST_single_post(struct a64_trans *t, const struct arg_LDST_single_post *a) {
    struct arg_LDST_single s = {a->Q, a->L, a->R, a->opcode, a->S, a->size, a->rn, a->rt};
    return single(t, &s, true, a->rm);
}
