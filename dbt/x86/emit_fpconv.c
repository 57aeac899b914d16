/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* emit_fpconv.c: floating-point rounding and conversions. */
#include "dbt/x86/emit_fp.h"

#define CVTT 0x2c /* to an integer register, truncating */
#define CVT 0x2d  /* rounding as MXCSR says */

/* --- rounding --------------------------------------------------------------------------------- */
/* The immediate of VROUND for a rounding; -1: not the host's. */
static int host_round(unsigned cc) {
    static const int8_t imm[] = {[IR_RN_EVEN] = 0,  [IR_RN_UP] = 2,      [IR_RN_DOWN] = 1, [IR_RN_ZERO] = 3,
                                 [IR_RN_AWAY] = -1, [IR_RN_CURRENT] = 4, [IR_RN_ODD] = -1};
    return cc < ARRAY_LEN(imm) ? imm[cc] : -1;
}
#define ROUND_QUIET 8 /* no inexact status */
static void vround(struct codegen *cg, unsigned lane, unsigned n, unsigned d, unsigned x, int imm) {
    asm_vex_rri(&cg->a, ASM_OP(1, 3, (n == 1 ? 0x0a : 0x08) + (lane == 3)), d, n == 1 ? x : 0, x, (unsigned)imm);
}
void emit_VFRINT(struct codegen *cg, const struct ir_inst *in) {
    int imm = host_round(in->cc);
    if (!fp_supported(cg, in) || imm < 0) {
        fp_soft_vector(cg, in, fp_rint);
        return;
    }
    flags_clobber(cg);
    unsigned x = fp_operand(cg, in, in->a), t = in->n > 1 ? scratch_x(cg) : 0;
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fp_rint);
    s->rec.base = (uint8_t)XMM(x);
    unsigned d = fp_result(cg, in, fp_clean(cg, in, in->a));
    vround(cg, in->lane, in->n, d, x, imm | (in->flags & IR_FP_EXACT ? 0 : ROUND_QUIET));
    fp_check_nan(cg, s, d, t);
    fp_end(cg, s, XMM(d));
}

/* --- to integers ------------------------------------------------------------------------------ */
static uint32_t cvt(unsigned opcode, unsigned lane, bool w) {
    return ASM_OP(lane == 3 ? 3 : 2, 1, opcode) | (w ? ASM_W : 0);
}
static bool scalar_supported(const struct codegen *cg, const struct ir_inst *in) {
    return !(cg->b->flags & IR_BLOCK_SOFTFP) && in->lane >= 2 && !(in->aux & 255) && host_round(in->cc) >= 0;
}

/* x as an integer of the width w in d, or to the stub. t: for the rounded value. Inexact is signalled only by a
 * conversion that succeeds, so the rounding is done quietly first and again, for its status, at the end. */
static void to_signed(struct codegen *cg, struct stub *s, const struct ir_inst *in, bool w, unsigned d, unsigned x,
                      unsigned t) {
    struct asm_buf *a = &cg->a;
    bool direct = in->cc == IR_RN_ZERO || in->cc == IR_RN_CURRENT;
    if (!direct)
        vround(cg, in->lane, 1, t, x, host_round(in->cc) | ROUND_QUIET);
    asm_vex_rr(a, cvt(in->cc == IR_RN_CURRENT ? CVT : CVTT, in->lane, w), d, 0, direct ? x : t);
    asm_alu_ri(a, ASM_CMP, w, d, 1); /* overflows for the indefinite integer only */
    asm_jcc(a, ASM_O, &s->slow);
    if (!direct)
        vround(cg, in->lane, 1, t, x, host_round(in->cc));
}
static void to_unsigned(struct codegen *cg, struct stub *s, const struct ir_inst *in, bool w, unsigned d, unsigned x,
                        unsigned t) {
    struct asm_buf *a = &cg->a;
    unsigned from = x;
    bool dbl = in->lane == 3;
    if (in->cc != IR_RN_ZERO) {
        vround(cg, in->lane, 1, t, x, host_round(in->cc) | ROUND_QUIET);
        from = t;
    }
    asm_vex_rm(a, fp_ucomis(in->lane), from, 0, dbl ? asm_mem_rip(&cg->k->minus1) : asm_mem_rip(&cg->k->minus1f));
    asm_jcc(a, ASM_BE, &s->slow);
    const void *limit = w     ? (dbl ? (const void *)&cg->k->two63 : &cg->k->two63f)
                        : dbl ? (const void *)&cg->k->two32
                              : &cg->k->two32f;
    asm_vex_rm(a, fp_ucomis(in->lane), from, 0, asm_mem_rip(limit));
    asm_jcc(a, ASM_AE, &s->slow);
    asm_vex_rr(a, cvt(CVTT, in->lane, true), d, 0, from);
    if (from == t)
        vround(cg, in->lane, 1, t, x, host_round(in->cc));
}
static void to_int(struct codegen *cg, const struct ir_inst *in, bool is_signed, const void *fn) {
    if (!scalar_supported(cg, in)) {
        fp_soft_to_int(cg, in, fn);
        return;
    }
    flags_clobber(cg);
    unsigned x = xmm(use_low(cg, in->a, 1u << in->lane)), t = scratch_x(cg);
    struct stub *s = fp_stub(cg, in, fn);
    s->rec.base = (uint8_t)XMM(x);
    s->rec.flags = in->type == IR_I64 ? 0 : SLOW_32;
    done(cg);
    unsigned d = def(cg, NO_REG);
    (is_signed ? to_signed : to_unsigned)(cg, s, in, in->type == IR_I64, d, x, t);
    fp_end(cg, s, d);
}
void emit_FTOS(struct codegen *cg, const struct ir_inst *in) {
    to_int(cg, in, true, (const void *)(uintptr_t)fp_scalar_to_s);
}
void emit_FTOU(struct codegen *cg, const struct ir_inst *in) {
    to_int(cg, in, false, (const void *)(uintptr_t)fp_scalar_to_u);
}

/* One lane, through a general register. */
static void lane_to_int(struct codegen *cg, const struct ir_inst *in, bool is_signed, fp_fn *fn) {
    flags_clobber(cg);
    bool w = in->lane == 3;
    unsigned x = xmm(use_low(cg, in->a, 1u << in->lane)), t = scratch_x(cg), g = scratch(cg, GPR_CLASS);
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fn);
    s->rec.base = (uint8_t)XMM(x);
    done(cg);
    unsigned d = def_fresh_v(cg);
    (is_signed ? to_signed : to_unsigned)(cg, s, in, w, g, x, t);
    asm_vex_rr(&cg->a, FP_VMOVD | (w ? ASM_W : 0), d, 0, g);
    fp_end(cg, s, XMM(d));
}
/* Several lanes: the host's signed single conversion, or AVX-512. Wrong lanes are all `bad`. */
static void lanes_to_int(struct codegen *cg, const struct ir_inst *in, bool is_signed, fp_fn *fn) {
    bool dbl = in->lane == 3, avx512 = dbl || !is_signed;
    if (avx512 && !cg->features.avx512) {
        fp_soft_vector(cg, in, fn);
        return;
    }
    flags_clobber(cg);
    unsigned x = fp_operand(cg, in, in->a), t = scratch_x(cg), m = scratch_x(cg);
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fn);
    s->rec.base = (uint8_t)XMM(x);
    unsigned d = fp_result(cg, in, true), from = x, low = d;
    if (in->cc != IR_RN_ZERO) { /* values that have a fraction are in range of integers this wide, or negative */
        vround(cg, in->lane, in->n, t, x, host_round(in->cc) | ROUND_QUIET);
        from = t;
    }
    if (!avx512) {
        asm_vex_rr(&cg->a, ASM_OP(2, 1, 0x5b), d, 0, from);
    } else {
        asm_evex_rr(&cg->a,
                    is_signed ? ASM_OP(1, 1, 0x7a) | ASM_W
                    : dbl     ? ASM_OP(1, 1, 0x78) | ASM_W
                              : ASM_OP(0, 1, 0x78),
                    d, 0, from);
    }
    if (d > 15) { /* the comparison has a VEX form only */
        low = t;
        asm_vmov_rr(&cg->a, low, d);
    }
    if (is_signed) {
        asm_vex_rm(&cg->a, dbl ? ASM_OP(1, 2, 0x29) : ASM_OP(1, 1, 0x76), m, low,
                   dbl ? asm_mem_rip(&cg->k->sign64) : asm_mem_rip(&cg->k->sign32));
    } else {
        asm_vex_rr(&cg->a, ASM_OP(1, 1, 0x76), m, m, m);
        asm_vex_rr(&cg->a, dbl ? ASM_OP(1, 2, 0x29) : ASM_OP(1, 1, 0x76), m, low, m);
    }
    asm_vex_rr(&cg->a, ASM_OP(1, 2, 0x17), m, 0, m); /* vptest */
    asm_jcc(&cg->a, ASM_NE, &s->slow);
    if (from == t)
        vround(cg, in->lane, in->n, t, x, host_round(in->cc));
    fp_end(cg, s, XMM(d));
}
static void vector_to_int(struct codegen *cg, const struct ir_inst *in, bool is_signed, fp_fn *fn) {
    if (!fp_supported(cg, in) || in->aux & 255 || host_round(in->cc) < 0)
        fp_soft_vector(cg, in, fn);
    else if (in->n == 1)
        lane_to_int(cg, in, is_signed, fn);
    else
        lanes_to_int(cg, in, is_signed, fn);
}
void emit_VFTOS(struct codegen *cg, const struct ir_inst *in) { vector_to_int(cg, in, true, fp_to_s); }
void emit_VFTOU(struct codegen *cg, const struct ir_inst *in) { vector_to_int(cg, in, false, fp_to_u); }

/* --- from integers ---------------------------------------------------------------------------- */
static void vxor_self(struct codegen *cg, unsigned d) { asm_vex_rr(&cg->a, ASM_OP(0, 1, 0x57), d, d, d); }

void emit_STOF(struct codegen *cg, const struct ir_inst *in) {
    if (cg->b->flags & IR_BLOCK_SOFTFP || in->lane < 2 || in->aux & 255) {
        fp_soft_from_int(cg, in, (const void *)(uintptr_t)fp_scalar_from_s);
        return;
    }
    unsigned x = use(cg, in->a);
    bool w = inst_of(cg, in->a)->type == IR_I64;
    done(cg);
    unsigned d = def_v(cg, NO_REG);
    vxor_self(cg, d);
    asm_vex_rr(&cg->a, cvt(0x2a, in->lane, w), d, d, x);
}
void emit_UTOF(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    if (cg->b->flags & IR_BLOCK_SOFTFP || in->lane < 2 || in->aux & 255) {
        fp_soft_from_int(cg, in, (const void *)(uintptr_t)fp_scalar_from_u);
        return;
    }
    flags_clobber(cg);
    unsigned x = use(cg, in->a);
    if (inst_of(cg, in->a)->type == IR_I32) {
        unsigned t = scratch(cg, GPR_CLASS);
        asm_mov_rr(a, false, t, x);
        done(cg);
        unsigned d = def_v(cg, NO_REG);
        vxor_self(cg, d);
        asm_vex_rr(a, cvt(0x2a, in->lane, true), d, d, t);
        return;
    }
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fp_scalar_from_u);
    s->rec.base = (uint8_t)x;
    done(cg);
    unsigned d = def_v(cg, NO_REG);
    vxor_self(cg, d);
    asm_test_rr(a, true, x, x);
    asm_jcc(a, ASM_S, &s->slow);
    asm_vex_rr(a, cvt(0x2a, in->lane, true), d, d, x);
    fp_end(cg, s, XMM(d));
}

/* Lane 0 only, through a general register. */
static void lane_from_int(struct codegen *cg, const struct ir_inst *in, bool is_signed, fp_fn *fn) {
    struct asm_buf *a = &cg->a;
    bool w = in->lane == 3;
    flags_clobber(cg);
    unsigned x = xmm(use_low(cg, in->a, 1u << in->lane)), g = scratch(cg, GPR_CLASS);
    struct stub *s = w && !is_signed ? fp_stub(cg, in, (const void *)(uintptr_t)fn) : NULL;
    done(cg);
    unsigned d = def_fresh_v(cg);
    asm_vex_rr(a, FP_VMOVD_TO | (w ? ASM_W : 0), x, 0, g);
    vxor_self(cg, d);
    if (s) {
        s->rec.base = (uint8_t)XMM(x);
        asm_test_rr(a, true, g, g);
        asm_jcc(a, ASM_S, &s->slow);
    }
    asm_vex_rr(a, cvt(0x2a, in->lane, w || !is_signed), d, d, g);
    if (s)
        fp_end(cg, s, XMM(d));
}
static void vector_from_int(struct codegen *cg, const struct ir_inst *in, bool is_signed, fp_fn *fn) {
    bool dbl = in->lane == 3, avx512 = dbl || !is_signed;
    if (!fp_supported(cg, in) || in->aux & 255 || (in->n > 1 && avx512 && !cg->features.avx512)) {
        fp_soft_vector(cg, in, fn);
        return;
    }
    if (in->n == 1) {
        lane_from_int(cg, in, is_signed, fn);
        return;
    }
    unsigned x = fp_operand(cg, in, in->a), d = fp_result(cg, in, true);
    if (!avx512) {
        asm_vex_rr(&cg->a, ASM_OP(0, 1, 0x5b), d, 0, x);
    } else {
        asm_evex_rr(&cg->a,
                    is_signed ? ASM_OP(2, 1, 0xe6) | ASM_W
                    : dbl     ? ASM_OP(2, 1, 0x7a) | ASM_W
                              : ASM_OP(3, 1, 0x7a),
                    d, 0, x);
    }
}
void emit_VSTOF(struct codegen *cg, const struct ir_inst *in) { vector_from_int(cg, in, true, fp_from_s); }
void emit_VUTOF(struct codegen *cg, const struct ir_inst *in) { vector_from_int(cg, in, false, fp_from_u); }

/* --- between formats -------------------------------------------------------------------------- */
static bool format_supported(const struct codegen *cg, const struct ir_inst *in) {
    return !(cg->b->flags & IR_BLOCK_SOFTFP) && (in->n == 1 || in->n == 2);
}
static unsigned format_result(struct codegen *cg, const struct ir_inst *in, unsigned bytes) {
    bool clean = in->op == IR_VFWIDEN && fp_clean(cg, in, in->a);
    done(cg);
    if (in->n == 1 && !clean) {
        cg->v[cg->at].dirty = (uint8_t)bytes;
        cg->v[cg->at].target = NO_REG;
    }
    return def_fresh_v(cg);
}
void emit_VFWIDEN(struct codegen *cg, const struct ir_inst *in) {
    if (!format_supported(cg, in)) {
        fp_soft_vector(cg, in, fp_widen);
        return;
    }
    flags_clobber(cg);
    unsigned x = xmm(use_low(cg, in->a, 4u * in->n)), t = in->n > 1 ? scratch_x(cg) : 0;
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fp_widen);
    s->rec.base = (uint8_t)XMM(x);
    unsigned d = format_result(cg, in, 8);
    asm_vex_rr(&cg->a, ASM_OP(in->n == 1 ? 2 : 0, 1, 0x5a), d, in->n == 1 ? x : 0, x);
    fp_check_nan(cg, s, d, t);
    fp_end(cg, s, XMM(d));
}
void emit_VFNARROW(struct codegen *cg, const struct ir_inst *in) {
    if (!format_supported(cg, in)) {
        fp_soft_vector(cg, in, fp_narrow);
        return;
    }
    flags_clobber(cg);
    unsigned x = xmm(use_low(cg, in->a, 8u * in->n));
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fp_narrow);
    s->rec.base = (uint8_t)XMM(x);
    unsigned t = scratch_x(cg);
    unsigned d = format_result(cg, in, 4);
    asm_vex_rr(&cg->a, ASM_OP(in->n == 1 ? 3 : 1, 1, 0x5a), d, in->n == 1 ? x : 0, x);
    fp_check_result(cg, s, d, t);
    fp_end(cg, s, XMM(d));
}
