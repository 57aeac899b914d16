/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_simd_same.c: Advanced SIMD three registers of the same type, vector and scalar, and SQRDMLAH/SQRDMLSH. */
#include "guests/a64/trans_simd.h"

IR_HELPER(simd_shift, IR_HELPER_PURE);
IR_HELPER(simd_sqdmulh, IR_HELPER_PURE);
IR_HELPER(simd_sqrdmlah, IR_HELPER_PURE);
IR_HELPER(simd_pmul, IR_HELPER_PURE);
IR_HELPER(fp_mulx, IR_HELPER_PURE);
IR_HELPER(fp_recps, IR_HELPER_PURE);
IR_HELPER(fp_rsqrts, IR_HELPER_PURE);

/* One instruction: operands, element size, number of elements computed, result width. */
struct same {
    struct a64_trans *t;
    bool u;
    unsigned lane, n, width, rd;
    irv a, b;
};

static irv op(const struct same *s, enum ir_op o, irv a, irv b) { return vop2(s->t, o, s->lane, a, b); }

/* --- integers --------------------------------------------------------------------------------- */
/* Halving: a + b = 2 (a & b) + (a ^ b) = 2 (a | b) - (a ^ b); a - b = (a ^ b) - 2 (~a & b). Exact, whatever the
 * sign. */
static irv halving(const struct same *s, bool subtract, bool round) {
    if (s->u && round && s->lane < 2)
        return op(s, IR_VAVGU, s->a, s->b);
    irv half = vop1(s->t, s->u ? IR_VSHRI : IR_VSARI, s->lane, op(s, IR_VXOR, s->a, s->b), 1);
    if (subtract)
        return op(s, IR_VSUB, half, op(s, IR_VANDN, s->b, s->a));
    return round ? op(s, IR_VSUB, op(s, IR_VOR, s->a, s->b), half) : op(s, IR_VADD, op(s, IR_VAND, s->a, s->b), half);
}

static irv saturating(const struct same *s, bool subtract) {
    enum ir_op o = subtract ? (s->u ? IR_VUQSUB : IR_VSQSUB) : (s->u ? IR_VUQADD : IR_VSQADD);
    irv r = op(s, o, s->a, s->b), plain = op(s, subtract ? IR_VSUB : IR_VADD, s->a, s->b);
    simd_qc(s->t, op(s, IR_VXOR, r, plain), s->width);
    return r;
}

static irv logic(const struct same *s, unsigned size) {
    irv d;
    if (!s->u) {
        switch (size) {
        case 0: return op(s, IR_VAND, s->a, s->b);
        case 1: return op(s, IR_VANDN, s->a, s->b);
        case 2: /* also MOV */ return s->a == s->b ? s->a : op(s, IR_VOR, s->a, s->b);
        default: return op(s, IR_VOR, s->a, vop1(s->t, IR_VNOT, 0, s->b, 0));
        }
    }
    if (size == 0)
        return s->a == s->b ? vzero(s->t) : op(s, IR_VXOR, s->a, s->b);
    d = a64_get_v(s->t, s->rd);
    return size == 1 ? vbsl(s->t, d, s->a, s->b) : size == 2 ? vbsl(s->t, s->b, s->a, d) : vbsl(s->t, s->b, d, s->a);
}

static irv abs_diff(const struct same *s) {
    return op(s, IR_VSUB, op(s, s->u ? IR_VUMAX : IR_VSMAX, s->a, s->b), op(s, s->u ? IR_VUMIN : IR_VSMIN, s->a, s->b));
}

/* Even and odd elements of the concatenation b:a, in *x and *y. */
static void pairs(const struct same *s, irv *x, irv *y) {
    irv a = s->a, b = s->b;
    if (s->width == 3)
        a = b = simd_join(s->t, a, b);
    *x = op(s, IR_VUZP1, a, b);
    *y = op(s, IR_VUZP2, a, b);
}

static irv pairwise(const struct same *s, enum ir_op o) {
    irv x, y;
    pairs(s, &x, &y);
    return op(s, o, x, y);
}

static irv call(const struct same *s, const struct ir_helper *h, unsigned flags) {
    return ir_callv(s->t->b, h, s->a, s->b, 0, SIMD_DESC(s->lane, s->n, flags));
}

static irv call_fp(const struct same *s, const struct ir_helper *h) {
    return ir_callv(s->t->b, h, s->a, s->b, 0, FP_DESC(s->lane, s->n, 0, 0, 0, 0));
}

static irv accumulate(const struct same *s, enum ir_op o, irv v) { return op(s, o, a64_get_v(s->t, s->rd), v); }

/* Is there an integer instruction with this opcode and element size? Scalar: the subset that has scalar forms. */
static bool integer_valid(bool u, unsigned opcode, unsigned size, bool scalar) {
    switch (opcode) {
    case 0x01:
    case 0x05:
    case 0x09:
    case 0x0b: return true;
    case 0x06:
    case 0x07:
    case 0x08:
    case 0x0a:
    case 0x10:
    case 0x11: return !scalar || size == 3;
    case 0x16: return size == 1 || size == 2;
    case 0x03: return !scalar;
    case 0x17: return !scalar && !u;
    case 0x13: return !scalar && (u ? size == 0 : size < 3);
    default: return !scalar && size < 3;
    }
}

static irv shift_by_register(const struct same *s, unsigned opcode) {
    return call(s, &helper_simd_shift,
                (s->u ? SIMD_UNSIGNED : 0) | (opcode & 2 ? SIMD_ROUND : 0) | (opcode & 1 ? SIMD_SATURATE : 0));
}

static irv integer(const struct same *s, unsigned opcode) {
    bool u = s->u;
    switch (opcode) {
    case 0x00:
    case 0x02:
    case 0x04: return halving(s, opcode == 4, opcode == 2);
    case 0x01:
    case 0x05: return saturating(s, opcode == 5);
    case 0x06: return op(s, u ? IR_VCMPHI : IR_VCMPGT, s->a, s->b);
    case 0x07: return op(s, u ? IR_VCMPHS : IR_VCMPGE, s->a, s->b);
    case 0x08:
    case 0x09:
    case 0x0a:
    case 0x0b: return shift_by_register(s, opcode);
    case 0x0c: return op(s, u ? IR_VUMAX : IR_VSMAX, s->a, s->b);
    case 0x0d: return op(s, u ? IR_VUMIN : IR_VSMIN, s->a, s->b);
    case 0x0e: return abs_diff(s);
    case 0x0f: return accumulate(s, IR_VADD, abs_diff(s));
    case 0x10: return op(s, u ? IR_VSUB : IR_VADD, s->a, s->b);
    case 0x11:
        return u ? op(s, IR_VCMPEQ, s->a, s->b)
                 : vop1(s->t, IR_VNOT, 0, op(s, IR_VCMPEQ, op(s, IR_VAND, s->a, s->b), vzero(s->t)), 0);
    case 0x12: return accumulate(s, u ? IR_VSUB : IR_VADD, op(s, IR_VMUL, s->a, s->b));
    case 0x13: return u ? call(s, &helper_simd_pmul, 0) : op(s, IR_VMUL, s->a, s->b);
    case 0x14: return pairwise(s, u ? IR_VUMAX : IR_VSMAX);
    case 0x15: return pairwise(s, u ? IR_VUMIN : IR_VSMIN);
    case 0x16: return call(s, &helper_simd_sqdmulh, u ? SIMD_ROUND : 0);
    default: /* 0x17 */ return pairwise(s, IR_VADD);
    }
}

/* --- floating point: key = u, size<1>, opcode<2:0> -------------------------------------------- */
#define KEY(u, a, opcode) ((u) << 4 | (a) << 3 | ((opcode) & 7))

static bool fp_valid(unsigned key, bool scalar) {
    switch (key) {
    case KEY(0, 0, 3): /* FMULX, FCMEQ, FRECPS, FRSQRTS, FCMGE, FACGE, FABD, FCMGT, FACGT */
    case KEY(0, 0, 4):
    case KEY(0, 0, 7):
    case KEY(0, 1, 7):
    case KEY(1, 0, 4):
    case KEY(1, 0, 5):
    case KEY(1, 1, 2):
    case KEY(1, 1, 4):
    case KEY(1, 1, 5): return true;
    case KEY(0, 0, 5): /* FMLAL and relatives, and what is not allocated */
    case KEY(0, 1, 5):
    case KEY(1, 0, 1):
    case KEY(1, 1, 1):
    case KEY(0, 1, 3):
    case KEY(0, 1, 4):
    case KEY(1, 1, 3):
    case KEY(1, 1, 7): return false;
    default: return !scalar;
    }
}

static irv fop(const struct same *s, enum ir_op o) { return simd_fp(s->t, o, s->lane, s->n, s->a, s->b, 0); }

static irv fp_pairwise(const struct same *s, enum ir_op o) {
    irv x, y;
    pairs(s, &x, &y);
    return simd_fp(s->t, o, s->lane, s->n, x, y, 0);
}

static irv fp_absolute_compare(const struct same *s, enum ir_op o) {
    return simd_fp(s->t, o, s->lane, s->n, simd_fabs(s->t, s->lane, s->a), simd_fabs(s->t, s->lane, s->b), 0);
}

static irv floating(const struct same *s, unsigned key) {
    switch (key) {
    case KEY(0, 0, 0): return fop(s, IR_VFMAXNM);
    case KEY(0, 1, 0): return fop(s, IR_VFMINNM);
    case KEY(0, 0, 1): return simd_fp(s->t, IR_VFMA, s->lane, s->n, a64_get_v(s->t, s->rd), s->a, s->b);
    case KEY(0, 1, 1):
        return simd_fp(s->t, IR_VFMA, s->lane, s->n, a64_get_v(s->t, s->rd), simd_fneg(s->t, s->lane, s->a), s->b);
    case KEY(0, 0, 2): return fop(s, IR_VFADD);
    case KEY(0, 1, 2): return fop(s, IR_VFSUB);
    case KEY(0, 0, 3): return call_fp(s, &helper_fp_mulx);
    case KEY(0, 0, 4): return fop(s, IR_VFCMPEQ);
    case KEY(0, 0, 6): return fop(s, IR_VFMAX);
    case KEY(0, 1, 6): return fop(s, IR_VFMIN);
    case KEY(0, 0, 7): return call_fp(s, &helper_fp_recps);
    case KEY(0, 1, 7): return call_fp(s, &helper_fp_rsqrts);
    case KEY(1, 0, 0): return fp_pairwise(s, IR_VFMAXNM);
    case KEY(1, 1, 0): return fp_pairwise(s, IR_VFMINNM);
    case KEY(1, 0, 2): return fp_pairwise(s, IR_VFADD);
    case KEY(1, 1, 2): /* FABD */ return simd_fabs(s->t, s->lane, fop(s, IR_VFSUB));
    case KEY(1, 0, 3): return fop(s, IR_VFMUL);
    case KEY(1, 0, 4): return fop(s, IR_VFCMPGE);
    case KEY(1, 1, 4): return fop(s, IR_VFCMPGT);
    case KEY(1, 0, 5): return fp_absolute_compare(s, IR_VFCMPGE);
    case KEY(1, 1, 5): return fp_absolute_compare(s, IR_VFCMPGT);
    case KEY(1, 0, 6): return fp_pairwise(s, IR_VFMAX);
    case KEY(1, 1, 6): return fp_pairwise(s, IR_VFMIN);
    default: /* KEY(1, 0, 7) */ return fop(s, IR_VFDIV);
    }
}

/* --- rows ------------------------------------------------------------------------------------- */
static bool same(struct a64_trans *t, bool scalar, bool q, bool u, unsigned size, unsigned opcode, unsigned rm,
                 unsigned rn, unsigned rd) {
    bool fp = opcode >= 0x18, logical = opcode == 3;
    struct same s = {.t = t, .u = u, .lane = fp ? 2 + (size & 1) : size, .rd = rd};
    unsigned key = KEY(u, size >> 1, opcode);
    if (fp ? !fp_valid(key, scalar) : !integer_valid(u, opcode, size, scalar))
        return false;
    if (!scalar && !q && s.lane == 3 && !logical)
        return false;
    if (!a64_fp_access(t))
        return true;
    s.width = scalar ? s.lane : q ? 4 : 3;
    s.n = scalar ? 1 : (q ? 16u : 8u) >> s.lane;
    s.a = a64_get_v(t, rn);
    s.b = rm == rn ? s.a : a64_get_v(t, rm);
    if (fp)
        a64_put_v(t, rd, floating(&s, key));
    else
        simd_put(t, rd, logical ? logic(&s, size) : integer(&s, opcode), s.width);
    return true;
}

bool trans_V3SAME(struct a64_trans *t, const struct arg_V3SAME *a) {
    return same(t, false, a->q, a->u, a->size, a->opcode, a->rm, a->rn, a->rd);
}

bool trans_S3SAME(struct a64_trans *t, const struct arg_S3SAME *a) {
    return same(t, true, false, a->u, a->size, a->opcode, a->rm, a->rn, a->rd);
}

static bool rdm(struct a64_trans *t, bool scalar, bool q, unsigned lane, bool sub, unsigned rm, unsigned rn,
                unsigned rd) {
    if (lane != 1 && lane != 2)
        return false;
    if (a64_fp_access(t)) {
        unsigned n = scalar ? 1 : (q ? 16u : 8u) >> lane;
        a64_put_v(t, rd,
                  ir_callv(t->b, &helper_simd_sqrdmlah, a64_get_v(t, rn), a64_get_v(t, rm), a64_get_v(t, rd),
                           SIMD_DESC(lane, n, sub ? SIMD_SUBTRACT : 0)));
    }
    return true;
}

bool trans_VRDM(struct a64_trans *t, const struct arg_VRDM *a) {
    return rdm(t, false, a->q, a->size, a->sub, a->rm, a->rn, a->rd);
}

bool trans_SRDM(struct a64_trans *t, const struct arg_SRDM *a) {
    return rdm(t, true, false, a->size, a->sub, a->rm, a->rn, a->rd);
}
