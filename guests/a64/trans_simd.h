/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * trans_simd.h: what the translators of floating point and Advanced SIMD share.
 *
 * Conventions: lane = log2 bytes of an element; width = log2 bytes of a result
 * (4: Q form, 3: D form, below: scalar). Vector IR operations compute all
 * lanes; simd_put() zeroes what lies above the width.
 */
#ifndef GRAFT_A64_TRANS_SIMD_H
#define GRAFT_A64_TRANS_SIMD_H

#include "graft/softfp.h"
#include "guests/a64/a64.h"

#include "a64_decode.h"

/* desc of the helpers in helper_simd.c */
#define SIMD_DESC(lane, n, flags) ((uint32_t)((lane) | (n) << 4 | (flags) << 12))
#define SIMD_UNSIGNED 1
#define SIMD_ROUND 2
#define SIMD_SATURATE 4
#define SIMD_SUBTRACT 8
typedef void simd_fn(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc);
simd_fn simd_shift, simd_sqdmulh, simd_sqrdmlah, simd_suqadd, simd_clz, simd_cls, simd_pmul, simd_pmull, simd_urecpe,
    simd_ursqrte;
simd_fn simd_sha1c, simd_sha1p, simd_sha1m, simd_sha1su1, simd_sha256h, simd_sha256h2, simd_sha256su0, simd_sha256su1;
/* The same with the x86 SHA extensions; simd_host_sha(): does the host have them? (helper_crypto_ni.c) */
simd_fn simd_ni_sha1c, simd_ni_sha1p, simd_ni_sha1m, simd_ni_sha256h, simd_ni_sha256h2, simd_ni_sha256su0,
    simd_ni_sha256su1;
bool simd_host_sha(void);

/* --- building blocks (trans_simd.c) ----------------------------------------------------------- */
static inline irv vop2(struct a64_trans *t, enum ir_op op, unsigned lane, irv a, irv b) {
    return ir_vop2(t->b, op, lane, a, b, 0);
}
static inline irv vop1(struct a64_trans *t, enum ir_op op, unsigned lane, irv a, unsigned n) {
    return ir_vop1(t->b, op, lane, a, n);
}
static inline irv vext(struct a64_trans *t, irv a, irv b, unsigned bytes) {
    return bytes ? ir_vop2(t->b, IR_VEXT, 0, a, b, bytes) : a;
}
static inline irv vbsl(struct a64_trans *t, irv mask, irv yes, irv no) {
    return ir_vop3(t->b, IR_VBSL, 0, mask, yes, no, 0);
}
static inline irv vzero(struct a64_trans *t) { return ir_vconst(t->b, 0, 0); }
/* simd_const(): value in every lane. */
irv simd_const(struct a64_trans *t, unsigned lane, uint64_t value);
/* simd_put(): to a register, zero above width. */
void simd_put(struct a64_trans *t, unsigned rd, irv v, unsigned width);
/* simd_put_half(): the low 64 bits of v to the lower half (upper half zero) or, with upper, to the upper half. */
void simd_put_half(struct a64_trans *t, unsigned rd, irv v, bool upper);
/* simd_qc(): FPSR.QC if diff is not 0 within width. */
void simd_qc(struct a64_trans *t, irv diff, unsigned width);
/* simd_upper(): the upper half of v in the lower one. */
static inline irv simd_upper(struct a64_trans *t, irv v) { return vext(t, v, v, 8); }
/* simd_join(): the lower halves of a and b. */
static inline irv simd_join(struct a64_trans *t, irv a, irv b) { return vop2(t, IR_VZIP1, 3, a, b); }
/* simd_widen(): the low half's elements of size lane, extended to twice the size. */
static inline irv simd_widen(struct a64_trans *t, bool u, unsigned lane, irv v) {
    return vop1(t, u ? IR_VUXTL : IR_VSXTL, lane, v, 0);
}
/* simd_mull(): products of the elements of size lane in the low halves. */
irv simd_mull(struct a64_trans *t, bool u, unsigned lane, irv a, irv b);
/* simd_addlp(): adjacent elements added to twice the size. */
irv simd_addlp(struct a64_trans *t, bool u, unsigned lane, irv v);
/* simd_narrow_sat(): elements of size lane + 1 saturated to size lane, in the low half; *diff: what saturation changed.
 * from_u, to_u: signedness of source and result. */
irv simd_narrow_sat(struct a64_trans *t, unsigned lane, irv v, bool from_u, bool to_u, irv *diff);
/* simd_sqdmull(): doubling long multiply of the low halves, with the accumulation of SQDMLAL (op 1) and SQDMLSL (op 2)
 * on acc, else 0; *diff as above. */
irv simd_sqdmull(struct a64_trans *t, unsigned lane, irv a, irv b, unsigned op, irv acc, irv *diff);
/* simd_mla(): floating-point or integer multiply families by vector, shared with the by-element forms. */
irv simd_fneg(struct a64_trans *t, unsigned lane, irv v);
irv simd_fabs(struct a64_trans *t, unsigned lane, irv v);
/* simd_fp(): a floating-point IR operation on n lanes with rounding, flags and fraction bits. */
irv simd_fp(struct a64_trans *t, enum ir_op op, unsigned lane, unsigned n, irv a, irv b, irv c);
irv simd_fpx(struct a64_trans *t, enum ir_op op, unsigned lane, unsigned n, irv a, enum ir_round round, unsigned flags,
             unsigned fbits);
/* Element moves out of and into general registers use this too: log2 size of imm5, 4 if reserved. */
static inline unsigned simd_imm5_lane(unsigned imm5) { return imm5 & 15 ? (unsigned)__builtin_ctz(imm5) : 4; }

#endif
