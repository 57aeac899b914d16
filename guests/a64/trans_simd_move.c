/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_simd_move.c: Advanced SIMD copy, permute, extract, table lookup and modified immediate. */
#include "guests/a64/trans_simd.h"

/* --- copy ------------------------------------------------------------------------------------- */
static void dup_element(struct a64_trans *t, unsigned lane, unsigned index, unsigned rn, unsigned rd, bool q) {
    simd_put(t, rd, vop1(t, IR_VDUPLANE, lane, a64_get_v(t, rn), index), q ? 4 : 3);
}

/* SMOV, UMOV. */
static void move_to_general(struct a64_trans *t, bool sign, bool x, unsigned lane, unsigned index, unsigned rn,
                            unsigned rd) {
    irv v = vop1(t, IR_VGET, lane, a64_get_v(t, rn), index);
    if (sign) {
        v = x && lane < 2 ? v : ir_op1(t->b, IR_TRUNC, v); /* SEXT32 takes a 32-bit value */
        v = ir_op1(t->b, lane == 0 ? IR_SEXT8 : lane == 1 ? IR_SEXT16 : IR_SEXT32, v);
    }
    a64_put_x(t, rd, v);
}

static void insert(struct a64_trans *t, unsigned lane, unsigned index, irv value, unsigned rd) {
    a64_put_v(t, rd, ir_vop2(t->b, IR_VINS, lane, a64_get_v(t, rd), value, index));
}

bool trans_VCOPY(struct a64_trans *t, const struct arg_VCOPY *a) {
    unsigned lane = simd_imm5_lane(a->imm5), index = a->imm5 >> (lane + 1);
    bool q = a->q, ok;
    enum { DUP_E = 0, DUP_G = 1, INS_G = 3, SMOV = 5, UMOV = 7 };
    if (lane > 3)
        return false;
    if (a->op) {
        ok = q;
    } else {
        switch (a->imm4) {
        case DUP_E:
        case DUP_G: ok = q || lane < 3; break;
        case INS_G: ok = q; break;
        case SMOV: ok = lane < (q ? 3 : 2); break;
        case UMOV: ok = q == (lane == 3); break;
        default: ok = false;
        }
    }
    if (!ok)
        return false;
    if (!a64_fp_access(t))
        return true;
    if (a->op && lane == 3 && index == 1 && !(a->imm4 & 8)) /* INS Vd.D[1], Vn.D[0] puts two vectors together */
        simd_put_half(t, a->rd, a64_get_v(t, a->rn), true);
    else if (a->op) /* INS (element) */
        insert(t, lane, index, vop1(t, IR_VGET, lane, a64_get_v(t, a->rn), a->imm4 >> lane), a->rd);
    else if (a->imm4 == DUP_E)
        dup_element(t, lane, index, a->rn, a->rd, q);
    else if (a->imm4 == DUP_G)
        simd_put(t, a->rd, vop1(t, IR_VDUP, lane, a64_get_x(t, a->rn, true), 0), q ? 4 : 3);
    else if (a->imm4 == INS_G)
        insert(t, lane, index, a64_get_x(t, a->rn, true), a->rd);
    else
        move_to_general(t, a->imm4 == SMOV, q, lane, index, a->rn, a->rd);
    return true;
}

bool trans_SCOPY(struct a64_trans *t, const struct arg_SCOPY *a) {
    unsigned lane = simd_imm5_lane(a->imm5), index = a->imm5 >> (lane + 1);
    if (lane > 3)
        return false;
    if (a64_fp_access(t)) {
        irv v = a64_get_v(t, a->rn);
        a64_put_v(t, a->rd, vop1(t, IR_VLOW, lane, vext(t, v, v, index << lane), 0));
    }
    return true;
}

/* --- permute, extract ------------------------------------------------------------------------- */
bool trans_VPERMUTE(struct a64_trans *t, const struct arg_VPERMUTE *a) {
    static const uint8_t ops[8] = {0, IR_VUZP1, IR_VTRN1, IR_VZIP1, 0, IR_VUZP2, IR_VTRN2, IR_VZIP2};
    enum ir_op op = ops[a->opcode];
    if (!op || (a->size == 3 && !a->q))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv n = a64_get_v(t, a->rn), m = a64_get_v(t, a->rm), r;
    if (a->q || op == IR_VTRN1 || op == IR_VTRN2 || op == IR_VZIP1) {
        r = vop2(t, op, a->size, n, m);
    } else if (op == IR_VZIP2) {
        r = simd_upper(t, vop2(t, IR_VZIP1, a->size, n, m));
    } else {
        irv both = simd_join(t, n, m);
        r = vop2(t, op, a->size, both, both);
    }
    simd_put(t, a->rd, r, a->q ? 4 : 3);
    return true;
}

bool trans_VEXTRACT(struct a64_trans *t, const struct arg_VEXTRACT *a) {
    if (!a->q && a->imm > 7)
        return false;
    if (a64_fp_access(t)) {
        irv n = a64_get_v(t, a->rn), m = a64_get_v(t, a->rm);
        if (!a->q)
            n = m = simd_join(t, n, m);
        simd_put(t, a->rd, vext(t, n, m, a->imm), a->q ? 4 : 3);
    }
    return true;
}

/* --- table lookup ----------------------------------------------------------------------------- */
bool trans_VTABLE(struct a64_trans *t, const struct arg_VTABLE *a) {
    if (!a64_fp_access(t))
        return true;
    /* Each register serves the indexes that fall into it after its own base is subtracted; all others give 0. */
    irv index = a64_get_v(t, a->rm), r = 0;
    for (unsigned i = 0; i <= a->len; i++) {
        irv local = i ? vop2(t, IR_VSUB, 0, index, simd_const(t, 0, 16 * i)) : index;
        irv part = vop2(t, IR_VTBL, 0, a64_get_v(t, (a->rn + i) & 31), local);
        r = r ? vop2(t, IR_VOR, 0, r, part) : part;
    }
    if (a->extend) { /* TBX */
        irv outside = vop2(t, IR_VCMPHI, 0, index, simd_const(t, 0, 16 * a->len + 15));
        r = vbsl(t, outside, a64_get_v(t, a->rd), r);
    }
    simd_put(t, a->rd, r, a->q ? 4 : 3);
    return true;
}

/* --- modified immediate ----------------------------------------------------------------------- */
static uint64_t repeat(uint64_t v, unsigned bits) {
    for (; bits < 64; bits *= 2)
        v |= v << bits;
    return v;
}

/* AdvSIMDExpandImm() */
static uint64_t expand_imm(bool op, unsigned cmode, uint64_t imm) {
    uint64_t r = 0;
    switch (cmode >> 1) {
    case 0:
    case 1:
    case 2:
    case 3: return repeat(imm << 8 * (cmode >> 1), 32);
    case 4:
    case 5: return repeat(imm << 8 * (cmode >> 1 & 1), 16);
    case 6: return repeat(cmode & 1 ? imm << 16 | 0xffff : imm << 8 | 0xff, 32);
    default: break;
    }
    if (cmode == 14 && !op)
        return repeat(imm, 8);
    if (cmode == 14) {
        for (unsigned i = 0; i < 8; i++)
            r |= imm >> i & 1 ? UINT64_C(255) << 8 * i : 0;
        return r;
    }
    uint64_t sign = imm >> 7, b = imm >> 6 & 1, rest = imm & 63;
    return op ? sign << 63 | (b ^ 1) << 62 | (b ? 255ull : 0) << 54 | rest << 48
              : repeat(sign << 31 | (b ^ 1) << 30 | (b ? 31ull : 0) << 25 | rest << 19, 32);
}

bool trans_VMODIMM(struct a64_trans *t, const struct arg_VMODIMM *a) {
    bool op = a->op, logic = a->cmode < 12 && (a->cmode & 1);
    if (a->cmode == 15 && op && !a->q)
        return false;
    if (!a64_fp_access(t))
        return true;
    uint64_t imm = expand_imm(op, a->cmode, a->imm);
    if (logic) { /* ORR, BIC */
        irv v = ir_vconst(t->b, imm, imm);
        simd_put(t, a->rd, vop2(t, op ? IR_VANDN : IR_VOR, 0, a64_get_v(t, a->rd), v), a->q ? 4 : 3);
    } else {
        imm = op && a->cmode < 14 ? ~imm : imm;
        a64_put_v(t, a->rd, ir_vconst(t->b, imm, a->q ? imm : 0));
    }
    return true;
}
