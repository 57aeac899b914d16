/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_simd_shift.c: Advanced SIMD shifts by immediate, vector and scalar. */
#include "guests/a64/trans_simd.h"

struct shift {
    struct a64_trans *t;
    bool u, scalar, q;
    unsigned opcode, lane, right, left, width, rd; /* right: 1 .. bits, left: 0 .. bits - 1 */
};

/* A right shift of v, rounded to nearest or not. */
static irv shift_right(const struct shift *s, unsigned lane, bool u, irv v, bool round) {
    enum ir_op shr = u ? IR_VSHRI : IR_VSARI;
    irv r = vop1(s->t, shr, lane, v, s->right);
    if (round) { /* the last bit shifted out */
        irv last = vop1(s->t, IR_VSHRI, lane, v, s->right - 1);
        r = vop2(s->t, IR_VADD, lane, r, vop2(s->t, IR_VAND, 0, last, simd_const(s->t, lane, 1)));
    }
    return r;
}

/* SRI, SLI: keep what the shifted value does not cover. */
static irv insert(const struct shift *s, irv v) {
    struct a64_trans *t = s->t;
    unsigned bits = 8u << s->lane;
    bool right = s->opcode == 0x08;
    uint64_t covered = right ? MASK(bits - s->right) : MASK(bits) & ~MASK(s->left);
    irv moved = right ? vop1(t, IR_VSHRI, s->lane, v, s->right) : vop1(t, IR_VSHLI, s->lane, v, s->left);
    return vbsl(t, simd_const(t, s->lane, covered), moved, a64_get_v(t, s->rd));
}

/* SQSHLU, SQSHL, UQSHL: saturate where shifting back does not restore the value. */
static irv shift_left_saturating(const struct shift *s, irv v) {
    struct a64_trans *t = s->t;
    unsigned lane = s->lane, bits = 8u << lane;
    bool to_u = s->u;
    irv source = s->opcode == 0x0c ? vop2(t, IR_VSMAX, lane, v, vzero(t)) : v;
    irv r = vop1(t, IR_VSHLI, lane, source, s->left);
    irv fits = vop2(t, IR_VCMPEQ, lane, vop1(t, to_u ? IR_VSHRI : IR_VSARI, lane, r, s->left), source);
    irv lost = vop1(t, IR_VNOT, 0, fits, 0);
    simd_qc(t, s->opcode == 0x0c ? vop2(t, IR_VOR, 0, lost, vop2(t, IR_VXOR, 0, source, v)) : lost, s->width);
    if (to_u)
        return vop2(t, IR_VOR, 0, r, lost);
    irv limit = vop2(t, IR_VXOR, 0, vop1(t, IR_VSARI, lane, v, bits - 1), simd_const(t, lane, MASK(bits - 1)));
    return vbsl(t, fits, r, limit);
}

static bool same_size_valid(const struct shift *s) {
    switch (s->opcode) {
    case 0x00:
    case 0x02:
    case 0x04:
    case 0x06:
    case 0x0a: return !s->scalar || s->lane == 3;
    case 0x08: return s->u && (!s->scalar || s->lane == 3);
    case 0x0c: return s->u;
    case 0x0e: return true;
    default: return false;
    }
}

static irv same_size(const struct shift *s, irv v) {
    irv r;
    switch (s->opcode) {
    case 0x00:
    case 0x04: return shift_right(s, s->lane, s->u, v, s->opcode & 4);
    case 0x02:
    case 0x06:
        r = shift_right(s, s->lane, s->u, v, s->opcode & 4);
        return vop2(s->t, IR_VADD, s->lane, a64_get_v(s->t, s->rd), r);
    case 0x08: return insert(s, v);
    case 0x0a: return s->u ? insert(s, v) : vop1(s->t, IR_VSHLI, s->lane, v, s->left);
    default: return shift_left_saturating(s, v);
    }
}

/* --- narrowing: SHRN RSHRN SQSHRUN SQRSHRUN (16, 17), SQSHRN UQSHRN SQRSHRN UQRSHRN (18, 19) --- */
static bool narrowing(const struct shift *s, unsigned rn) {
    struct a64_trans *t = s->t;
    bool plain = s->opcode < 0x12 && !s->u;
    if (s->lane == 3 || (s->scalar && plain))
        return false;
    if (!a64_fp_access(t))
        return true;
    bool from_u = s->opcode >= 0x12 && s->u, round = s->opcode & 1;
    irv v = shift_right(s, s->lane + 1, from_u || plain, a64_get_v(t, rn), round), diff, r;
    if (plain) {
        r = vop1(t, IR_VNARROW, s->lane + 1, v, 0);
    } else {
        r = simd_narrow_sat(t, s->lane, v, from_u, s->u, &diff);
        simd_qc(t, diff, s->scalar ? s->lane + 1 : 4);
    }
    if (s->scalar)
        simd_put(t, s->rd, r, s->lane);
    else
        simd_put_half(t, s->rd, r, s->q);
    return true;
}

static bool lengthening(const struct shift *s, unsigned rn) {
    struct a64_trans *t = s->t;
    if (s->lane == 3 || s->scalar)
        return false;
    if (a64_fp_access(t)) {
        irv v = a64_get_v(t, rn);
        v = simd_widen(t, s->u, s->lane, s->q ? simd_upper(t, v) : v);
        a64_put_v(t, s->rd, s->left ? vop1(t, IR_VSHLI, s->lane + 1, v, s->left) : v);
    }
    return true;
}

/* SCVTF, UCVTF, FCVTZS, FCVTZU with fraction bits. */
static bool fixed_point(const struct shift *s, unsigned rn) {
    struct a64_trans *t = s->t;
    bool from = s->opcode == 0x1c;
    if (s->lane < 2)
        return false;
    if (a64_fp_access(t)) {
        enum ir_op op = from ? (s->u ? IR_VUTOF : IR_VSTOF) : (s->u ? IR_VFTOU : IR_VFTOS);
        unsigned n = s->scalar ? 1 : (s->q ? 16u : 8u) >> s->lane;
        a64_put_v(t, s->rd, simd_fpx(t, op, s->lane, n, a64_get_v(t, rn), from ? 0 : IR_RN_ZERO, 0, s->right));
    }
    return true;
}

static bool shift(struct shift *s, unsigned immh, unsigned immb, unsigned rn) {
    unsigned imm = immh << 3 | immb;
    s->lane = 31 - (unsigned)__builtin_clz(immh);
    s->right = (16u << s->lane) - imm;
    s->left = imm - (8u << s->lane);
    s->width = s->scalar ? s->lane : s->q ? 4 : 3;
    if (s->opcode >= 0x10 && s->opcode <= 0x13)
        return narrowing(s, rn);
    if (s->opcode == 0x14)
        return lengthening(s, rn);
    if (!s->scalar && !s->q && s->lane == 3)
        return false;
    if (s->opcode == 0x1c || s->opcode == 0x1f)
        return fixed_point(s, rn);
    if (!same_size_valid(s))
        return false;
    if (a64_fp_access(s->t))
        simd_put(s->t, s->rd, same_size(s, a64_get_v(s->t, rn)), s->width);
    return true;
}

bool trans_VSHIMM(struct a64_trans *t, const struct arg_VSHIMM *a) {
    struct shift s = {.t = t, .u = a->u, .q = a->q, .opcode = a->opcode, .rd = a->rd};
    return shift(&s, a->immh, a->immb, a->rn);
}

bool trans_SSHIMM(struct a64_trans *t, const struct arg_SSHIMM *a) {
    struct shift s = {.t = t, .u = a->u, .scalar = true, .opcode = a->opcode, .rd = a->rd};
    return shift(&s, a->immh, a->immb, a->rn);
}
