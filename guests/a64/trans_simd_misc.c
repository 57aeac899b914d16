/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_simd_misc.c: Advanced SIMD two-register miscellaneous, across lanes and scalar pairwise. */
#include "guests/a64/trans_simd.h"

IR_HELPER(simd_suqadd, IR_HELPER_PURE);
IR_HELPER(simd_clz, IR_HELPER_PURE);
IR_HELPER(simd_cls, IR_HELPER_PURE);
IR_HELPER(simd_urecpe, IR_HELPER_PURE);
IR_HELPER(simd_ursqrte, IR_HELPER_PURE);
IR_HELPER(fp_recpe, IR_HELPER_PURE);
IR_HELPER(fp_rsqrte, IR_HELPER_PURE);
IR_HELPER(fp_recpx, IR_HELPER_PURE);
IR_HELPER(fp_widen, IR_HELPER_PURE);
IR_HELPER(fp_narrow, IR_HELPER_PURE);

/* --- integers, same size ---------------------------------------------------------------------- */
/* Looks both nibbles of each byte up in two tables; combine: ADD or OR of the two. */
static irv nibbles(struct a64_trans *t, irv v, irv low_table, irv high_table, enum ir_op combine) {
    irv mask = simd_const(t, 0, 15);
    irv low = vop2(t, IR_VAND, 0, v, mask), high = vop1(t, IR_VSHRI, 0, v, 4);
    return vop2(t, combine, 0, vop2(t, IR_VTBL, 0, low_table, low), vop2(t, IR_VTBL, 0, high_table, high));
}

static irv count_bits(struct a64_trans *t, irv v) {
    irv table = ir_vconst(t->b, UINT64_C(0x0302020102010100), UINT64_C(0x0403030203020201));
    return nibbles(t, v, table, table, IR_VADD);
}

static irv reverse_bits(struct a64_trans *t, irv v) {
    irv low = ir_vconst(t->b, UINT64_C(0xe060a020c0408000), UINT64_C(0xf070b030d0509010));
    irv high = ir_vconst(t->b, UINT64_C(0x0e060a020c040800), UINT64_C(0x0f070b030d050901));
    return nibbles(t, v, low, high, IR_VOR);
}

/* SQABS, SQNEG: only the most negative number saturates, to its complement. */
static irv saturating_abs(struct a64_trans *t, bool negate, unsigned lane, irv v, unsigned width) {
    irv worst = vop2(t, IR_VCMPEQ, lane, v, simd_const(t, lane, BIT((8u << lane) - 1)));
    simd_qc(t, worst, width);
    return vop2(t, IR_VXOR, 0, vop1(t, negate ? IR_VNEG : IR_VABS, lane, v, 0), worst);
}

/* Opcode and size of the integer forms with one result per element. */
static bool integer_valid(bool u, unsigned opcode, unsigned size, bool scalar) {
    switch (opcode) {
    case 0x00: return !scalar && size < (u ? 2 : 3);
    case 0x01: return !scalar && !u && size == 0;
    case 0x02:
    case 0x04:
    case 0x06: return !scalar && size < 3;
    case 0x03:
    case 0x07: return true;
    case 0x05: return !scalar && size < (u ? 2 : 1);
    case 0x08:
    case 0x09:
    case 0x0b: return !scalar || size == 3;
    case 0x0a: return !u && (!scalar || size == 3);
    default: return false;
    }
}

static irv compare_zero(struct a64_trans *t, bool u, unsigned opcode, unsigned lane, irv v) {
    irv zero = vzero(t);
    switch (opcode) {
    case 0x08: return vop2(t, u ? IR_VCMPGE : IR_VCMPGT, lane, v, zero);
    case 0x09: return u ? vop2(t, IR_VCMPGE, lane, zero, v) : vop2(t, IR_VCMPEQ, lane, v, zero);
    default: return vop2(t, IR_VCMPGT, lane, zero, v);
    }
}

static irv integer(struct a64_trans *t, bool u, unsigned opcode, unsigned size, unsigned width, unsigned rd, irv v) {
    unsigned n = width < 3 || (width == 3 && size == 3) ? 1 : (1u << width) >> size;
    switch (opcode) {
    case 0x00: return vop1(t, IR_VREV, size, v, u ? 2 : 3);
    case 0x01: return vop1(t, IR_VREV, 0, v, 1);
    case 0x02: return simd_addlp(t, u, size, v);
    case 0x03:
        return ir_callv(t->b, &helper_simd_suqadd, v, a64_get_v(t, rd), 0, SIMD_DESC(size, n, u ? SIMD_UNSIGNED : 0));
    case 0x04: return ir_callv(t->b, u ? &helper_simd_clz : &helper_simd_cls, v, 0, 0, SIMD_DESC(size, n, 0));
    case 0x05: return !u ? count_bits(t, v) : size ? reverse_bits(t, v) : vop1(t, IR_VNOT, 0, v, 0);
    case 0x06: return vop2(t, IR_VADD, size + 1, a64_get_v(t, rd), simd_addlp(t, u, size, v));
    case 0x07: return saturating_abs(t, u, size, v, width);
    case 0x0b: return vop1(t, u ? IR_VNEG : IR_VABS, size, v, 0);
    default: return compare_zero(t, u, opcode, size, v);
    }
}

/* --- narrowing and widening ------------------------------------------------------------------- */
/* XTN, SQXTUN, SQXTN, UQXTN. width: 3, or lane for the scalar forms. */
static irv narrow(struct a64_trans *t, bool u, unsigned opcode, unsigned lane, bool scalar, irv v) {
    if (opcode == 0x12 && !u)
        return vop1(t, IR_VNARROW, lane + 1, v, 0);
    irv diff;
    irv r = simd_narrow_sat(t, lane, v, opcode == 0x14 && u, u, &diff);
    simd_qc(t, diff, scalar ? lane + 1 : 4);
    return r;
}

static bool narrow_widen(struct a64_trans *t, bool q, bool u, unsigned opcode, unsigned size, unsigned rn,
                         unsigned rd) {
    if (size == 3 || (opcode == 0x13 && !u))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv v = a64_get_v(t, rn);
    if (opcode == 0x13) { /* SHLL */
        v = simd_widen(t, true, size, q ? simd_upper(t, v) : v);
        a64_put_v(t, rd, vop1(t, IR_VSHLI, size + 1, v, 8u << size));
    } else {
        simd_put_half(t, rd, narrow(t, u, opcode, size, false, v), q);
    }
    return true;
}

/* FCVTN, FCVTXN, FCVTL: sz = 1 between double and single, 0 between single and half. */
static bool fp_narrow_widen(struct a64_trans *t, bool q, bool u, unsigned opcode, unsigned sz, unsigned rn,
                            unsigned rd) {
    if (u && (opcode == 0x17 || !sz))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv v = a64_get_v(t, rn), r;
    if (opcode == 0x17) {
        v = q ? simd_upper(t, v) : v;
        r = sz ? simd_fp(t, IR_VFWIDEN, 2, 2, v, 0, 0)
               : ir_callv(t->b, &helper_fp_widen, v, 0, 0, FP_DESC(1, 4, IR_RN_CURRENT, 0, 0, 0));
        a64_put_v(t, rd, r);
        return true;
    }
    r = sz && !u ? simd_fp(t, IR_VFNARROW, 3, 2, v, 0, 0)
                 : ir_callv(t->b, &helper_fp_narrow, v, 0, 0,
                            FP_DESC(2 + sz, 4 >> sz, u ? IR_RN_ODD : IR_RN_CURRENT, 0, 0, 0));
    simd_put_half(t, rd, r, q);
    return true;
}

/* --- floating point: key = u, size<1>, opcode ------------------------------------------------- */
#define KEY(u, a, opcode) ((u) << 6 | (a) << 5 | (opcode))

static bool fp_valid(unsigned key, unsigned lane, bool scalar) {
    switch (key) {
    case KEY(0, 0, 0x18): /* FRINTN, FRINTM, FRINTP, FRINTZ, FRINTA, FRINTX, FRINTI, FABS, FNEG, FSQRT */
    case KEY(0, 0, 0x19):
    case KEY(0, 1, 0x18):
    case KEY(0, 1, 0x19):
    case KEY(1, 0, 0x18):
    case KEY(1, 0, 0x19):
    case KEY(1, 1, 0x19):
    case KEY(0, 1, 0x0f):
    case KEY(1, 1, 0x0f):
    case KEY(1, 1, 0x1f): return !scalar;
    case KEY(0, 1, 0x1c): /* URECPE, URSQRTE */
    case KEY(1, 1, 0x1c): return !scalar && lane == 2;
    case KEY(0, 1, 0x1f): /* FRECPX */ return scalar;
    case KEY(0, 0, 0x1a): /* FCVTxS, FCVTxU, SCVTF, UCVTF, comparisons with zero, FRECPE, FRSQRTE */
    case KEY(1, 0, 0x1a):
    case KEY(0, 0, 0x1b):
    case KEY(1, 0, 0x1b):
    case KEY(0, 0, 0x1c):
    case KEY(1, 0, 0x1c):
    case KEY(0, 0, 0x1d):
    case KEY(1, 0, 0x1d):
    case KEY(0, 1, 0x0c):
    case KEY(1, 1, 0x0c):
    case KEY(0, 1, 0x0d):
    case KEY(1, 1, 0x0d):
    case KEY(0, 1, 0x0e):
    case KEY(0, 1, 0x1a):
    case KEY(1, 1, 0x1a):
    case KEY(0, 1, 0x1b):
    case KEY(1, 1, 0x1b):
    case KEY(0, 1, 0x1d):
    case KEY(1, 1, 0x1d): return true;
    default: return false;
    }
}

static irv fp_compare_zero(struct a64_trans *t, unsigned key, unsigned lane, unsigned n, irv v) {
    irv zero = vzero(t);
    switch (key) {
    case KEY(0, 1, 0x0c): return simd_fp(t, IR_VFCMPGT, lane, n, v, zero, 0);
    case KEY(1, 1, 0x0c): return simd_fp(t, IR_VFCMPGE, lane, n, v, zero, 0);
    case KEY(0, 1, 0x0d): return simd_fp(t, IR_VFCMPEQ, lane, n, v, zero, 0);
    case KEY(1, 1, 0x0d): return simd_fp(t, IR_VFCMPGE, lane, n, zero, v, 0);
    default: return simd_fp(t, IR_VFCMPGT, lane, n, zero, v, 0);
    }
}

static irv round_or_convert(struct a64_trans *t, unsigned key, unsigned lane, unsigned n, irv v) {
    bool u = key >> 6, a = key >> 5 & 1;
    switch (key & 31) {
    case 0x18: /* FRINTN, FRINTP, FRINTA */
        return simd_fpx(t, IR_VFRINT, lane, n, v, u ? IR_RN_AWAY : a ? IR_RN_UP : IR_RN_EVEN, 0, 0);
    case 0x19: /* FRINTM, FRINTZ; FRINTX, FRINTI */
        if (u)
            return simd_fpx(t, IR_VFRINT, lane, n, v, IR_RN_CURRENT, a ? 0 : IR_FP_EXACT, 0);
        return simd_fpx(t, IR_VFRINT, lane, n, v, a ? IR_RN_ZERO : IR_RN_DOWN, 0, 0);
    case 0x1a: /* FCVTN, FCVTP */
        return simd_fpx(t, u ? IR_VFTOU : IR_VFTOS, lane, n, v, a ? IR_RN_UP : IR_RN_EVEN, 0, 0);
    case 0x1b: /* FCVTM, FCVTZ */
        return simd_fpx(t, u ? IR_VFTOU : IR_VFTOS, lane, n, v, a ? IR_RN_ZERO : IR_RN_DOWN, 0, 0);
    case 0x1c: /* FCVTA */ return simd_fpx(t, u ? IR_VFTOU : IR_VFTOS, lane, n, v, IR_RN_AWAY, 0, 0);
    default: /* SCVTF, UCVTF */ return simd_fpx(t, u ? IR_VUTOF : IR_VSTOF, lane, n, v, 0, 0, 0);
    }
}

static irv floating(struct a64_trans *t, unsigned key, unsigned lane, unsigned n, irv v) {
    uint32_t desc = FP_DESC(lane, n, 0, 0, 0, 0);
    switch (key) {
    case KEY(0, 1, 0x0c):
    case KEY(1, 1, 0x0c):
    case KEY(0, 1, 0x0d):
    case KEY(1, 1, 0x0d):
    case KEY(0, 1, 0x0e): return fp_compare_zero(t, key, lane, n, v);
    case KEY(0, 1, 0x0f): return simd_fabs(t, lane, v);
    case KEY(1, 1, 0x0f): return simd_fneg(t, lane, v);
    case KEY(1, 1, 0x1f): return simd_fp(t, IR_VFSQRT, lane, n, v, 0, 0);
    case KEY(0, 1, 0x1c): return ir_callv(t->b, &helper_simd_urecpe, v, 0, 0, SIMD_DESC(2, n, 0));
    case KEY(1, 1, 0x1c): return ir_callv(t->b, &helper_simd_ursqrte, v, 0, 0, SIMD_DESC(2, n, 0));
    case KEY(0, 1, 0x1d): return ir_callv(t->b, &helper_fp_recpe, v, 0, 0, desc);
    case KEY(1, 1, 0x1d): return ir_callv(t->b, &helper_fp_rsqrte, v, 0, 0, desc);
    case KEY(0, 1, 0x1f): return ir_callv(t->b, &helper_fp_recpx, v, 0, 0, desc);
    default: return round_or_convert(t, key, lane, n, v);
    }
}

/* --- rows ------------------------------------------------------------------------------------- */
static bool misc_fp(struct a64_trans *t, bool scalar, bool q, bool u, unsigned opcode, unsigned size, unsigned rn,
                    unsigned rd) {
    unsigned lane = 2 + (size & 1), key = KEY(u, size >> 1, opcode);
    if (!fp_valid(key, lane, scalar) || (!scalar && !q && lane == 3))
        return false;
    if (a64_fp_access(t)) {
        unsigned n = scalar ? 1 : (q ? 16u : 8u) >> lane;
        irv r = floating(t, key, lane, n, a64_get_v(t, rn));
        bool whole = opcode == 0x0f; /* FABS, FNEG compute all lanes */
        simd_put(t, rd, r, whole && !q ? 3 : 4);
    }
    return true;
}

bool trans_V2MISC(struct a64_trans *t, const struct arg_V2MISC *a) {
    bool q = a->q, u = a->u;
    if (a->opcode >= 0x12 && a->opcode <= 0x14)
        return narrow_widen(t, q, u, a->opcode, a->size, a->rn, a->rd);
    if (a->size < 2 && (a->opcode == 0x16 || a->opcode == 0x17))
        return fp_narrow_widen(t, q, u, a->opcode, a->size, a->rn, a->rd);
    if (a->opcode >= 0x0c)
        return misc_fp(t, false, q, u, a->opcode, a->size, a->rn, a->rd);
    if (!integer_valid(u, a->opcode, a->size, false) || (a->size == 3 && !q))
        return false;
    if (a64_fp_access(t))
        simd_put(t, a->rd, integer(t, u, a->opcode, a->size, q ? 4 : 3, a->rd, a64_get_v(t, a->rn)), q ? 4 : 3);
    return true;
}

/* Scalar SQXTUN, SQXTN, UQXTN, FCVTXN. */
static bool scalar_narrow(struct a64_trans *t, bool u, unsigned opcode, unsigned size, unsigned rn, unsigned rd) {
    bool fp = opcode == 0x16;
    if (fp ? !u || size != 1 : size == 3 || (opcode == 0x12 && !u))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv v = a64_get_v(t, rn);
    if (fp)
        a64_put_v(t, rd, ir_callv(t->b, &helper_fp_narrow, v, 0, 0, FP_DESC(3, 1, IR_RN_ODD, 0, 0, 0)));
    else
        simd_put(t, rd, narrow(t, u, opcode, size, true, v), size);
    return true;
}

bool trans_S2MISC(struct a64_trans *t, const struct arg_S2MISC *a) {
    if (a->opcode == 0x12 || a->opcode == 0x14 || a->opcode == 0x16)
        return scalar_narrow(t, a->u, a->opcode, a->size, a->rn, a->rd);
    if (a->opcode >= 0x0c)
        return misc_fp(t, true, true, a->u, a->opcode, a->size, a->rn, a->rd);
    if (!integer_valid(a->u, a->opcode, a->size, true))
        return false;
    if (a64_fp_access(t))
        simd_put(t, a->rd, integer(t, a->u, a->opcode, a->size, a->size, a->rd, a64_get_v(t, a->rn)), a->size);
    return true;
}

/* --- across lanes ----------------------------------------------------------------------------- */
/* Folds halves onto each other until one element of size lane is left; bytes: how many take part. */
static irv fold(struct a64_trans *t, enum ir_op op, unsigned lane, unsigned bytes, irv v) {
    for (unsigned half = bytes / 2; half >= 1u << lane; half /= 2)
        v = vop2(t, op, lane, v, vext(t, v, v, half));
    return vop1(t, IR_VLOW, lane, v, 0);
}

/* Reduce(): pairs of neighbours first. */
static irv fp_fold(struct a64_trans *t, enum ir_op op, irv v) {
    irv pairs = simd_fp(t, op, 2, 2, vop2(t, IR_VUZP1, 2, v, v), vop2(t, IR_VUZP2, 2, v, v), 0);
    return simd_fp(t, op, 2, 1, pairs, vext(t, pairs, pairs, 4), 0);
}

bool trans_VACROSS(struct a64_trans *t, const struct arg_VACROSS *a) {
    bool fp = a->opcode == 0x0c || a->opcode == 0x0f, u = a->u, q = a->q;
    bool known = fp || a->opcode == 0x03 || a->opcode == 0x0a || a->opcode == 0x1a || (a->opcode == 0x1b && !u);
    if (!known || (fp ? !u || !q || (a->size & 1) : a->size == 3 || (a->size == 2 && !q)))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv v = a64_get_v(t, a->rn);
    unsigned bytes = q ? 16 : 8;
    bool min = a->size >> 1;
    switch (a->opcode) {
    case 0x03: v = fold(t, IR_VADD, a->size + 1, bytes, simd_addlp(t, u, a->size, v)); break;
    case 0x0a: v = fold(t, u ? IR_VUMAX : IR_VSMAX, a->size, bytes, v); break;
    case 0x1a: v = fold(t, u ? IR_VUMIN : IR_VSMIN, a->size, bytes, v); break;
    case 0x1b: v = fold(t, IR_VADD, a->size, bytes, v); break;
    case 0x0c: v = fp_fold(t, min ? IR_VFMINNM : IR_VFMAXNM, v); break;
    default: v = fp_fold(t, min ? IR_VFMIN : IR_VFMAX, v); break;
    }
    a64_put_v(t, a->rd, v);
    return true;
}

bool trans_SPAIR(struct a64_trans *t, const struct arg_SPAIR *a) {
    bool min = a->size >> 1, add = a->opcode == 0x1b;
    unsigned lane = add ? 3 : 2 + (a->size & 1);
    enum ir_op op;
    switch (a->opcode) {
    case 0x1b: op = IR_VADD; break;
    case 0x0c: op = min ? IR_VFMINNM : IR_VFMAXNM; break;
    case 0x0d: op = min ? IR_NOP : IR_VFADD; break;
    case 0x0f: op = min ? IR_VFMIN : IR_VFMAX; break;
    default: op = IR_NOP;
    }
    if (op == IR_NOP || (add ? a->u || a->size != 3 : !a->u))
        return false;
    if (a64_fp_access(t)) {
        irv v = a64_get_v(t, a->rn), second = vext(t, v, v, 1u << lane);
        a64_put_v(t, a->rd,
                  add ? vop1(t, IR_VLOW, 3, vop2(t, op, 3, v, second), 0) : simd_fp(t, op, lane, 1, v, second, 0));
    }
    return true;
}
