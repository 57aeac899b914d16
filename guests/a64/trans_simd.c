/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_simd.c: building blocks of the Advanced SIMD translators. */
#include "guests/a64/trans_simd.h"

irv simd_const(struct a64_trans *t, unsigned lane, uint64_t value) {
    unsigned bits = 8u << lane;
    value &= MASK(bits);
    for (; bits < 64; bits *= 2)
        value |= value << bits;
    return ir_vconst(t->b, value, value);
}

static irv low(struct a64_trans *t, irv v, unsigned width) { return width < 4 ? vop1(t, IR_VLOW, width, v, 0) : v; }

void simd_put(struct a64_trans *t, unsigned rd, irv v, unsigned width) { a64_put_v(t, rd, low(t, v, width)); }

void simd_put_half(struct a64_trans *t, unsigned rd, irv v, bool upper) {
    a64_put_v(t, rd, upper ? simd_join(t, a64_get_v(t, rd), v) : low(t, v, 3));
}

void simd_qc(struct a64_trans *t, irv diff, unsigned width) {
    size_t offset = offsetof(struct cpu, fp) + offsetof(struct fp_env, qc);
    ir_put(t->b, offset, vop2(t, IR_VOR, 0, ir_get(t->b, IR_V128, offset), low(t, diff, width)));
}

irv simd_mull(struct a64_trans *t, bool u, unsigned lane, irv a, irv b) {
    irv x = simd_widen(t, u, lane, a), y = simd_widen(t, u, lane, b);
    return lane == 2 ? vop2(t, u ? IR_VMULLU : IR_VMULLS, 0, x, y) : vop2(t, IR_VMUL, lane + 1, x, y);
}

irv simd_addlp(struct a64_trans *t, bool u, unsigned lane, irv v) {
    unsigned bits = 8u << lane;
    enum ir_op shr = u ? IR_VSHRI : IR_VSARI;
    irv odd = vop1(t, shr, lane + 1, v, bits);
    irv even = u ? vop2(t, IR_VAND, 0, v, simd_const(t, lane + 1, MASK(bits)))
                 : vop1(t, shr, lane + 1, vop1(t, IR_VSHLI, lane + 1, v, bits), bits);
    return vop2(t, IR_VADD, lane + 1, even, odd);
}

irv simd_narrow_sat(struct a64_trans *t, unsigned lane, irv v, bool from_u, bool to_u, irv *diff) {
    unsigned bits = 8u << lane, wide = lane + 1;
    irv r;
    if (from_u) {
        r = vop2(t, IR_VUMIN, wide, v, simd_const(t, wide, MASK(bits)));
    } else {
        r = vop2(t, IR_VSMIN, wide, v, simd_const(t, wide, to_u ? MASK(bits) : MASK(bits - 1)));
        r = vop2(t, IR_VSMAX, wide, r, simd_const(t, wide, to_u ? 0 : ~MASK(bits - 1)));
    }
    *diff = vop2(t, IR_VXOR, 0, r, v);
    return vop1(t, IR_VNARROW, wide, r, 0);
}

irv simd_sqdmull(struct a64_trans *t, unsigned lane, irv a, irv b, unsigned op, irv acc, irv *diff) {
    irv p = simd_mull(t, false, lane, a, b);
    irv twice = vop2(t, IR_VSQADD, lane + 1, p, p);
    *diff = vop2(t, IR_VXOR, 0, twice, vop2(t, IR_VADD, lane + 1, p, p));
    if (!op)
        return twice;
    irv r = vop2(t, op == 1 ? IR_VSQADD : IR_VSQSUB, lane + 1, acc, twice);
    irv plain = vop2(t, op == 1 ? IR_VADD : IR_VSUB, lane + 1, acc, twice);
    *diff = vop2(t, IR_VOR, 0, *diff, vop2(t, IR_VXOR, 0, r, plain));
    return r;
}

irv simd_fneg(struct a64_trans *t, unsigned lane, irv v) {
    return vop2(t, IR_VXOR, 0, v, simd_const(t, lane, BIT((8u << lane) - 1)));
}

irv simd_fabs(struct a64_trans *t, unsigned lane, irv v) {
    return vop2(t, IR_VAND, 0, v, simd_const(t, lane, MASK((8u << lane) - 1)));
}

irv simd_fp(struct a64_trans *t, enum ir_op op, unsigned lane, unsigned n, irv a, irv b, irv c) {
    return c   ? ir_vop3(t->b, op, lane, a, b, c, n)
           : b ? ir_vop2(t->b, op, lane, a, b, n)
               : ir_vop1(t->b, op, lane, a, n);
}

irv simd_fpx(struct a64_trans *t, enum ir_op op, unsigned lane, unsigned n, irv a, enum ir_round round, unsigned flags,
             unsigned fbits) {
    struct ir_inst i = {.op = op,
                        .type = IR_V128,
                        .lane = (uint8_t)lane,
                        .n = (uint8_t)n,
                        .cc = (uint8_t)round,
                        .flags = (uint8_t)flags,
                        .a = a,
                        .aux = fbits};
    return ir_add_inst(t->b, &i);
}
