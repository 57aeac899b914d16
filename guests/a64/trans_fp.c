/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_fp.c: scalar floating point. */
#include "guests/a64/trans_simd.h"

IR_HELPER(fp_widen, IR_HELPER_PURE);
IR_HELPER(fp_narrow, IR_HELPER_PURE);

/* Lane of ftype 0 (single) or 1 (double); 0 if it is neither. */
static unsigned type_lane(unsigned ftype) { return ftype < 2 ? 2 + ftype : 0; }

/* --- one source ------------------------------------------------------------------------------- */
/* FCVT between half, single and double. */
static bool convert(struct a64_trans *t, unsigned from, unsigned to, unsigned rn, unsigned rd) {
    if (from == to || !from)
        return false;
    if (!a64_fp_access(t))
        return true;
    irv v = a64_get_v(t, rn), r;
    if (from == 2 && to == 3) {
        r = simd_fp(t, IR_VFWIDEN, 2, 1, v, 0, 0);
    } else if (from == 3 && to == 2) {
        r = simd_fp(t, IR_VFNARROW, 3, 1, v, 0, 0);
    } else {
        unsigned skip = from + to == 4 ? IR_FP_EXACT : 0; /* half and double */
        r = ir_callv(t->b, from < to ? &helper_fp_widen : &helper_fp_narrow, v, 0, 0,
                     FP_DESC(from, 1, IR_RN_CURRENT, skip, 0, 0));
    }
    a64_put_v(t, rd, r);
    return true;
}

static irv dp1(struct a64_trans *t, unsigned opcode, unsigned lane, irv v) {
    switch (opcode) {
    case 0: return vop1(t, IR_VLOW, lane, v, 0);
    case 1: return vop2(t, IR_VAND, 0, v, ir_vconst(t->b, MASK((8u << lane) - 1), 0));
    case 2: return vop1(t, IR_VLOW, lane, simd_fneg(t, lane, v), 0);
    case 3: return simd_fp(t, IR_VFSQRT, lane, 1, v, 0, 0);
    case 8: /* FRINTN, P, M, Z, A */
    case 9:
    case 10:
    case 11:
    case 12: return simd_fpx(t, IR_VFRINT, lane, 1, v, (enum ir_round)(opcode - 8), 0, 0);
    default: /* FRINTX, FRINTI */
        return simd_fpx(t, IR_VFRINT, lane, 1, v, IR_RN_CURRENT, opcode == 14 ? IR_FP_EXACT : 0, 0);
    }
}

bool trans_FP_DP1(struct a64_trans *t, const struct arg_FP_DP1 *a) {
    unsigned lane = type_lane(a->ftype);
    if (a->opcode == 4 || a->opcode == 5 || a->opcode == 7)
        return convert(t, a->ftype == 3 ? 1 : lane, a->opcode == 7 ? 1 : a->opcode - 2, a->rn, a->rd);
    if (!lane || a->opcode > 15 || a->opcode == 6 || a->opcode == 13)
        return false;
    if (a64_fp_access(t))
        a64_put_v(t, a->rd, dp1(t, a->opcode, lane, a64_get_v(t, a->rn)));
    return true;
}

/* --- two and three sources -------------------------------------------------------------------- */
bool trans_FP_DP2(struct a64_trans *t, const struct arg_FP_DP2 *a) {
    static const uint8_t ops[] = {IR_VFMUL, IR_VFDIV,   IR_VFADD,   IR_VFSUB, IR_VFMAX,
                                  IR_VFMIN, IR_VFMAXNM, IR_VFMINNM, IR_VFMUL};
    unsigned lane = type_lane(a->ftype);
    if (!lane || a->opcode >= ARRAY_LEN(ops))
        return false;
    if (a64_fp_access(t)) {
        irv r = simd_fp(t, ops[a->opcode], lane, 1, a64_get_v(t, a->rn), a64_get_v(t, a->rm), 0);
        if (a->opcode == 8) /* FNMUL */
            r = vop2(t, IR_VXOR, 0, r, ir_vconst(t->b, BIT((8u << lane) - 1), 0));
        a64_put_v(t, a->rd, r);
    }
    return true;
}

bool trans_FP_DP3(struct a64_trans *t, const struct arg_FP_DP3 *a) {
    unsigned lane = type_lane(a->ftype);
    if (!lane)
        return false;
    if (!a64_fp_access(t))
        return true;
    irv acc = a64_get_v(t, a->ra), n = a64_get_v(t, a->rn);
    acc = a->o1 ? simd_fneg(t, lane, acc) : acc;
    n = a->o1 != a->o0 ? simd_fneg(t, lane, n) : n;
    a64_put_v(t, a->rd, simd_fp(t, IR_VFMA, lane, 1, acc, n, a64_get_v(t, a->rm)));
    return true;
}

/* --- compare, select, immediate --------------------------------------------------------------- */
static irv compare(struct a64_trans *t, unsigned lane, irv x, irv y, bool signal) {
    struct ir_inst i = {.op = IR_FCMP_FLAGS,
                        .type = IR_FLAGS,
                        .lane = (uint8_t)lane,
                        .n = 1,
                        .flags = signal ? IR_FP_SIGNAL : 0,
                        .a = x,
                        .b = y};
    return ir_add_inst(t->b, &i);
}

bool trans_FP_CMP(struct a64_trans *t, const struct arg_FP_CMP *a) {
    unsigned lane = type_lane(a->ftype);
    if (!lane)
        return false;
    if (a64_fp_access(t)) {
        irv y = a->zero ? vzero(t) : a64_get_v(t, a->rm);
        a64_put_nzcv(t, compare(t, lane, a64_get_v(t, a->rn), y, a->signal));
    }
    return true;
}

bool trans_FP_CCMP(struct a64_trans *t, const struct arg_FP_CCMP *a) {
    unsigned lane = type_lane(a->ftype);
    if (!lane)
        return false;
    if (!a64_fp_access(t))
        return true;
    irv x = a64_get_v(t, a->rn), y = a64_get_v(t, a->rm);
    if (a->cond >= IR_AL) {
        a64_put_nzcv(t, compare(t, lane, x, y, a->signal));
        return true;
    }
    /* When the condition fails nothing is compared, so nothing may be signalled: compare zeros then. */
    irv cond = ir_cond(t->b, (enum ir_cond)a->cond, ir_get(t->b, IR_FLAGS, A64_NZCV));
    irv mask = vop1(t, IR_VDUP, 3, ir_op1(t->b, IR_NEG, ir_op1(t->b, IR_ZEXT32, cond)), 0);
    irv flags = compare(t, lane, vop2(t, IR_VAND, 0, x, mask), vop2(t, IR_VAND, 0, y, mask), a->signal);
    a64_put_nzcv(t, ir_flags_select(t->b, cond, flags, a->nzcv));
    return true;
}

bool trans_FP_CSEL(struct a64_trans *t, const struct arg_FP_CSEL *a) {
    unsigned lane = type_lane(a->ftype);
    if (!lane)
        return false;
    if (!a64_fp_access(t))
        return true;
    irv n = a64_get_v(t, a->rn);
    if (a->cond >= IR_AL) {
        a64_put_v(t, a->rd, vop1(t, IR_VLOW, lane, n, 0));
        return true;
    }
    irv yes = vop1(t, IR_VGET, lane, n, 0), no = vop1(t, IR_VGET, lane, a64_get_v(t, a->rm), 0);
    irv cond = ir_cond(t->b, (enum ir_cond)a->cond, ir_get(t->b, IR_FLAGS, A64_NZCV));
    a64_put_v(t, a->rd, vop1(t, IR_VFROM, lane, ir_select(t->b, cond, yes, no), 0));
    return true;
}

bool trans_FP_IMM(struct a64_trans *t, const struct arg_FP_IMM *a) {
    unsigned lane = type_lane(a->ftype);
    if (!lane)
        return false;
    /* VFPExpandImm(): sign, not(b) b...b cd, efgh 0... */
    uint64_t sign = a->imm >> 7, b = a->imm >> 6 & 1, rest = a->imm & 63;
    uint64_t v = lane == 2 ? sign << 31 | (b ^ 1) << 30 | (b ? 31ull : 0) << 25 | rest << 19
                           : sign << 63 | (b ^ 1) << 62 | (b ? 255ull : 0) << 54 | rest << 48;
    if (a64_fp_access(t))
        a64_put_v(t, a->rd, ir_vconst(t->b, v, 0));
    return true;
}

/* --- integers and fixed point ----------------------------------------------------------------- */
static void to_int(struct a64_trans *t, bool is_signed, unsigned lane, bool sf, enum ir_round round, unsigned fbits,
                   unsigned rn, unsigned rd) {
    struct ir_inst i = {.op = is_signed ? IR_FTOS : IR_FTOU,
                        .type = sf ? IR_I64 : IR_I32,
                        .lane = (uint8_t)lane,
                        .n = 1,
                        .cc = (uint8_t)round,
                        .a = a64_get_v(t, rn),
                        .aux = fbits};
    a64_put_x(t, rd, ir_add_inst(t->b, &i));
}

static void from_int(struct a64_trans *t, bool is_signed, unsigned lane, bool sf, unsigned fbits, unsigned rn,
                     unsigned rd) {
    struct ir_inst i = {.op = is_signed ? IR_STOF : IR_UTOF,
                        .type = IR_V128,
                        .lane = (uint8_t)lane,
                        .n = 1,
                        .a = a64_get_x(t, rn, sf),
                        .aux = fbits};
    a64_put_v(t, rd, ir_add_inst(t->b, &i));
}

/* FMOV between the register files; half: the upper half of a vector register. */
static void move(struct a64_trans *t, bool to_general, unsigned lane, bool half, unsigned rn, unsigned rd) {
    if (to_general)
        a64_put_x(t, rd, vop1(t, IR_VGET, lane, a64_get_v(t, rn), half));
    else if (half)
        a64_put_v(t, rd, ir_vop2(t->b, IR_VINS, 3, a64_get_v(t, rd), a64_get_x(t, rn, true), 1));
    else
        a64_put_v(t, rd, vop1(t, IR_VFROM, lane, a64_get_x(t, rn, true), 0));
}

bool trans_FP_INT(struct a64_trans *t, const struct arg_FP_INT *a) {
    unsigned lane = type_lane(a->ftype);
    bool is_signed = !(a->opcode & 1), half = a->sf && a->ftype == 2 && a->rmode == 1;
    if (a->opcode >= 6) {
        if (!half && (a->rmode || !lane || a->sf != a->ftype))
            return false;
        if (a64_fp_access(t))
            move(t, a->opcode == 6, half ? 3 : lane, half, a->rn, a->rd);
        return true;
    }
    if (!lane || (a->opcode >= 2 && a->rmode))
        return false;
    if (!a64_fp_access(t))
        return true;
    if (a->opcode == 2 || a->opcode == 3)
        from_int(t, is_signed, lane, a->sf, 0, a->rn, a->rd);
    else
        to_int(t, is_signed, lane, a->sf, a->opcode >= 4 ? IR_RN_AWAY : (enum ir_round)a->rmode, 0, a->rn, a->rd);
    return true;
}

bool trans_FP_FIX(struct a64_trans *t, const struct arg_FP_FIX *a) {
    unsigned lane = type_lane(a->ftype), fbits = 64 - a->scale;
    bool from = a->rmode == 0 && (a->opcode == 2 || a->opcode == 3), to = a->rmode == 3 && a->opcode < 2;
    if (!lane || (!from && !to) || (!a->sf && fbits > 32))
        return false;
    if (!a64_fp_access(t))
        return true;
    if (from)
        from_int(t, !(a->opcode & 1), lane, a->sf, fbits, a->rn, a->rd);
    else
        to_int(t, !(a->opcode & 1), lane, a->sf, IR_RN_ZERO, fbits, a->rn, a->rd);
    return true;
}
