/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_simd_wide.c: Advanced SIMD three registers of different types, and multiplication by an element. */
#include "guests/a64/trans_simd.h"

IR_HELPER(simd_pmull, IR_HELPER_PURE);
IR_HELPER(simd_sqdmulh, IR_HELPER_PURE);
IR_HELPER(simd_sqrdmlah, IR_HELPER_PURE);
IR_HELPER(fp_mulx, IR_HELPER_PURE);

/* --- different types -------------------------------------------------------------------------- */
enum { ADDL, ADDW, SUBL, SUBW, ADDHN, ABAL, SUBHN, ABDL, MLAL, SQDMLAL, MLSL, SQDMLSL, MULL, SQDMULL, PMULL };

static bool diff_valid(bool u, unsigned opcode, unsigned size) {
    switch (opcode) {
    case SQDMLAL:
    case SQDMLSL:
    case SQDMULL: return !u && (size == 1 || size == 2);
    case PMULL: return !u && (size == 0 || size == 3);
    case 15: return false;
    default: return size < 3;
    }
}

/* ADDHN, RADDHN, SUBHN, RSUBHN: the high half of each sum. */
static irv high_narrow(struct a64_trans *t, bool round, enum ir_op op, unsigned lane, irv a, irv b) {
    unsigned bits = 8u << lane;
    irv sum = vop2(t, op, lane + 1, a, b);
    if (round)
        sum = vop2(t, IR_VADD, lane + 1, sum, simd_const(t, lane + 1, BIT(bits - 1)));
    return vop1(t, IR_VNARROW, lane + 1, vop1(t, IR_VSHRI, lane + 1, sum, bits), 0);
}

static irv abs_diff_long(struct a64_trans *t, bool u, unsigned lane, irv a, irv b) {
    irv x = simd_widen(t, u, lane, a), y = simd_widen(t, u, lane, b);
    return vop2(t, IR_VSUB, lane + 1, vop2(t, IR_VSMAX, lane + 1, x, y), vop2(t, IR_VSMIN, lane + 1, x, y));
}

/* The long forms (all but ADDHN, SUBHN): a, b are the halves in use; wide: the whole first operand. */
static irv long_form(struct a64_trans *t, bool u, unsigned opcode, unsigned lane, irv a, irv b, irv wide, unsigned rd) {
    unsigned to = lane + 1;
    irv diff, r;
    switch (opcode) {
    case ADDL:
    case SUBL:
        return vop2(t, opcode == ADDL ? IR_VADD : IR_VSUB, to, simd_widen(t, u, lane, a), simd_widen(t, u, lane, b));
    case ADDW:
    case SUBW: return vop2(t, opcode == ADDW ? IR_VADD : IR_VSUB, to, wide, simd_widen(t, u, lane, b));
    case ABAL: return vop2(t, IR_VADD, to, a64_get_v(t, rd), abs_diff_long(t, u, lane, a, b));
    case ABDL: return abs_diff_long(t, u, lane, a, b);
    case MLAL: return vop2(t, IR_VADD, to, a64_get_v(t, rd), simd_mull(t, u, lane, a, b));
    case MLSL: return vop2(t, IR_VSUB, to, a64_get_v(t, rd), simd_mull(t, u, lane, a, b));
    case MULL: return simd_mull(t, u, lane, a, b);
    case PMULL:
        return lane == 3 ? vop2(t, IR_VPMULL, 3, a, b)
                         : ir_callv(t->b, &helper_simd_pmull, a, b, 0, SIMD_DESC(0, 8, 0));
    default:
        r = simd_sqdmull(t, lane, a, b, opcode == SQDMULL ? 0 : opcode == SQDMLAL ? 1 : 2, a64_get_v(t, rd), &diff);
        simd_qc(t, diff, 4);
        return r;
    }
}

bool trans_V3DIFF(struct a64_trans *t, const struct arg_V3DIFF *a) {
    bool narrow = a->opcode == ADDHN || a->opcode == SUBHN;
    if (!diff_valid(a->u, a->opcode, a->size))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv n = a64_get_v(t, a->rn), m = a64_get_v(t, a->rm);
    if (narrow) {
        simd_put_half(t, a->rd, high_narrow(t, a->u, a->opcode == ADDHN ? IR_VADD : IR_VSUB, a->size, n, m), a->q);
        return true;
    }
    irv x = a->q ? simd_upper(t, n) : n, y = a->q ? simd_upper(t, m) : m;
    a64_put_v(t, a->rd, long_form(t, a->u, a->opcode, a->size, x, y, n, a->rd));
    return true;
}

static void scalar_sqdmull(struct a64_trans *t, unsigned lane, unsigned op, irv n, irv m, unsigned rd) {
    irv diff, r = simd_sqdmull(t, lane, n, m, op, a64_get_v(t, rd), &diff);
    simd_qc(t, diff, lane + 1);
    simd_put(t, rd, r, lane + 1);
}

bool trans_S3DIFF(struct a64_trans *t, const struct arg_S3DIFF *a) {
    if ((a->opcode != SQDMLAL && a->opcode != SQDMLSL && a->opcode != SQDMULL) || (a->size != 1 && a->size != 2))
        return false;
    if (a64_fp_access(t)) {
        scalar_sqdmull(t, a->size,
                       a->opcode == SQDMULL   ? 0
                       : a->opcode == SQDMLAL ? 1
                                              : 2,
                       a64_get_v(t, a->rn), a64_get_v(t, a->rm), a->rd);
    }
    return true;
}

/* --- by element: key = u, opcode -------------------------------------------------------------- */
struct element {
    unsigned lane, reg, index;
};

static bool element_of(struct element *e, unsigned size, unsigned l, unsigned m, unsigned rm, unsigned h) {
    *e = (struct element){size, m << 4 | rm, h};
    switch (size) {
    case 1:
        e->reg = rm;
        e->index = h << 2 | l << 1 | m;
        return true;
    case 2: e->index = h << 1 | l; return true;
    case 3: return l == 0;
    default: return false;
    }
}

#define KEY(u, opcode) ((u) << 4 | (opcode))

static bool is_fp(unsigned opcode) { return opcode == 1 || opcode == 5 || opcode == 9; }

static bool elem_valid(unsigned key, unsigned size, bool scalar) {
    switch (key) {
    case KEY(0, 1): /* FMLA, FMLS, FMUL, FMULX */
    case KEY(0, 5):
    case KEY(0, 9):
    case KEY(1, 9): return size >= 2;
    case KEY(0, 3): /* SQDMLAL, SQDMLSL, SQDMULL, SQDMULH, SQRDMULH, SQRDMLAH, SQRDMLSH */
    case KEY(0, 7):
    case KEY(0, 11):
    case KEY(0, 12):
    case KEY(0, 13):
    case KEY(1, 13):
    case KEY(1, 15): return size == 1 || size == 2;
    case KEY(0, 8): /* MUL, MLA, MLS, long forms */
    case KEY(1, 0):
    case KEY(1, 4):
    case KEY(0, 2):
    case KEY(1, 2):
    case KEY(0, 6):
    case KEY(1, 6):
    case KEY(0, 10):
    case KEY(1, 10): return !scalar && (size == 1 || size == 2);
    default: return false;
    }
}

static irv elem_fp(struct a64_trans *t, unsigned key, unsigned lane, unsigned n, irv x, irv y, unsigned rd) {
    switch (key) {
    case KEY(0, 1): return simd_fp(t, IR_VFMA, lane, n, a64_get_v(t, rd), x, y);
    case KEY(0, 5): return simd_fp(t, IR_VFMA, lane, n, a64_get_v(t, rd), simd_fneg(t, lane, x), y);
    case KEY(0, 9): return simd_fp(t, IR_VFMUL, lane, n, x, y, 0);
    default: return ir_callv(t->b, &helper_fp_mulx, x, y, 0, FP_DESC(lane, n, 0, 0, 0, 0));
    }
}

/* Same-size integer forms; results above n elements are dropped by the caller or zero. */
static irv elem_same(struct a64_trans *t, unsigned key, unsigned lane, unsigned n, irv x, irv y, unsigned rd) {
    switch (key) {
    case KEY(0, 8): return vop2(t, IR_VMUL, lane, x, y);
    case KEY(1, 0): return vop2(t, IR_VADD, lane, a64_get_v(t, rd), vop2(t, IR_VMUL, lane, x, y));
    case KEY(1, 4): return vop2(t, IR_VSUB, lane, a64_get_v(t, rd), vop2(t, IR_VMUL, lane, x, y));
    case KEY(0, 12):
    case KEY(0, 13):
        return ir_callv(t->b, &helper_simd_sqdmulh, x, y, 0, SIMD_DESC(lane, n, key == KEY(0, 13) ? SIMD_ROUND : 0));
    default: /* SQRDMLAH, SQRDMLSH */
        return ir_callv(t->b, &helper_simd_sqrdmlah, x, y, a64_get_v(t, rd),
                        SIMD_DESC(lane, n, key == KEY(1, 15) ? SIMD_SUBTRACT : 0));
    }
}

static bool is_long(unsigned opcode) { return opcode < 12 && opcode != 0 && opcode != 4 && opcode != 8; }

/* The opcode among the three-different forms of a long by-element opcode: MLAL, SQDMLAL, MLSL, SQDMLSL, MULL,
 * SQDMULL. */
static unsigned long_opcode(unsigned opcode) {
    static const uint8_t map[12] = {[2] = MLAL, [3] = SQDMLAL, [6] = MLSL, [7] = SQDMLSL, [10] = MULL, [11] = SQDMULL};
    return map[opcode];
}

bool trans_VELEM(struct a64_trans *t, const struct arg_VELEM *a) {
    struct element e;
    bool fp = is_fp(a->opcode), q = a->q;
    unsigned key = KEY(a->u, a->opcode);
    if (!elem_valid(key, a->size, false) || !element_of(&e, a->size, a->l, a->m, a->rm, a->h) || (!q && e.lane == 3))
        return false;
    if (!a64_fp_access(t))
        return true;
    unsigned n = (q ? 16u : 8u) >> e.lane;
    irv x = a64_get_v(t, a->rn), y = vop1(t, IR_VDUPLANE, e.lane, a64_get_v(t, e.reg), e.index);
    if (fp) {
        a64_put_v(t, a->rd, elem_fp(t, key, e.lane, n, x, y, a->rd));
    } else if (is_long(a->opcode)) {
        x = q ? simd_upper(t, x) : x;
        a64_put_v(t, a->rd, long_form(t, a->u, long_opcode(a->opcode), e.lane, x, y, x, a->rd));
    } else {
        simd_put(t, a->rd, elem_same(t, key, e.lane, n, x, y, a->rd), q ? 4 : 3);
    }
    return true;
}

bool trans_SELEM(struct a64_trans *t, const struct arg_SELEM *a) {
    struct element e;
    unsigned key = KEY(a->u, a->opcode);
    if (!elem_valid(key, a->size, true) || !element_of(&e, a->size, a->l, a->m, a->rm, a->h))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv x = a64_get_v(t, a->rn), y = vop1(t, IR_VDUPLANE, e.lane, a64_get_v(t, e.reg), e.index);
    if (is_fp(a->opcode))
        a64_put_v(t, a->rd, elem_fp(t, key, e.lane, 1, x, y, a->rd));
    else if (is_long(a->opcode))
        scalar_sqdmull(t, e.lane, a->opcode == 11 ? 0 : a->opcode == 3 ? 1 : 2, x, y, a->rd);
    else
        a64_put_v(t, a->rd, elem_same(t, key, e.lane, 1, x, y, a->rd));
    return true;
}
