/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * trans_fp.c: floating point. The environment of the IR's operations is cpu->fp, Arm's: with default NaNs and tininess after
 * rounding it computes what RISC-V asks for. An operation whose rounding mode is not that of frm goes to softfp.
 */
#include "graft/softfp.h"
#include "guests/rv64/rv64.h"

#include "rv64_decode.h"

#define NAN_S UINT64_C(0x7fc00000)
#define NAN_D UINT64_C(0x7ff8000000000000)
#define BOX UINT64_C(0xffffffff00000000)
#define RM_DYN 7
#define ROUND_NONE 8 /* no valid rounding mode */

/* frm and rm (20.2) as the IR has them. */
static const uint8_t rounds[8] = {IR_RN_EVEN, IR_RN_ZERO, IR_RN_DOWN, IR_RN_UP,
                                  IR_RN_AWAY, ROUND_NONE, ROUND_NONE, ROUND_NONE};

/* --- fcsr ----------------------------------------------------------------------------------------- */

/* The order of the flags is the reverse of Arm's: NX UF OF DZ NV from bit 0 up. */
static uint32_t reverse_flags(uint32_t f) {
    return (f & 1) << 4 | (f & 2) << 2 | (f & 4) | (f & 8) >> 2 | (f & 16) >> 4;
}

uint32_t rv64_fflags(struct cpu *cpu) {
    fp_sync(cpu);
    return reverse_flags(cpu->fp.fpsr);
}

void rv64_fcsr_set(struct cpu *cpu, uint32_t fflags, uint32_t frm) {
    unsigned round = rounds[frm & 7];
    rv64(cpu)->frm = frm & 7;
    cpu->fp.fpsr = reverse_flags(fflags & 31);
    cpu->fp.fpcr = FP_DEFAULT_NAN | FP_TINY_AFTER |
                   (round < 4             ? FP_ROUND(round)
                    : round == IR_RN_AWAY ? FP_TIES_AWAY
                                          : 0);
    fp_set_rounding(cpu);
}

/* --- registers ------------------------------------------------------------------------------------ */

/* A bitwise operation of all 128 bits. */
static irv bits(struct rv64_trans *t, enum ir_op op, irv a, irv b) { return ir_vop2(t->b, op, 0, a, b, 0); }

static irv get_raw(struct rv64_trans *t, unsigned n) { return ir_get(t->b, IR_V128, RV64_F(n)); }

/* get_f(): an operand; a single-precision one that is not NaN-boxed is the canonical NaN (21.2). */
static irv get_f(struct rv64_trans *t, unsigned n, unsigned lane) {
    struct ir_block *b = t->b;
    irv v = get_raw(t, n);
    if (lane == 3 || t->boxed >> n & 1)
        return v; /* what is above its lane does not matter to what takes it */
    irv raw = ir_vop1(b, IR_VGET, 3, v, 0);
    irv boxed = ir_cmp(b, IR_CMP_UGE, raw, rv64_imm(t, BOX));
    return ir_vop1(b, IR_VFROM, 2, ir_select(b, boxed, raw, rv64_imm(t, NAN_S)), 0);
}

static void mark_dirty(struct rv64_trans *t) {
    if (!t->dirty)
        ir_put(t->b, RV64_SSTATUS, ir_op2i(t->b, IR_OR, ir_get(t->b, IR_I32, RV64_SSTATUS), 3u << 13));
    t->dirty = true;
}

/* put_f(): v has zeros above its lane. */
static void put_f(struct rv64_trans *t, unsigned n, unsigned lane, irv v) {
    if (lane == 2)
        v = bits(t, IR_VOR, v, ir_vconst(t->b, BOX, 0));
    ir_put(t->b, RV64_F(n), v);
    t->boxed = lane == 2 ? t->boxed | 1u << n : t->boxed & ~(1u << n);
    mark_dirty(t);
}

/* usable(): may floating point be used here, and is rm a rounding mode? */
static bool fp_on(const struct rv64_trans *t) { return !(t->mode & RV64_MODE_FP_OFF); }

static unsigned round_of(const struct rv64_trans *t, unsigned rm) {
    return rounds[rm == RM_DYN ? RV64_MODE_FRM(t->mode) : rm];
}

static bool usable(const struct rv64_trans *t, unsigned rm) { return fp_on(t) && round_of(t, rm) != ROUND_NONE; }

/* --- arithmetic ----------------------------------------------------------------------------------- */

enum static_op { S_ADD, S_SUB, S_MUL, S_DIV, S_SQRT, S_FMA, S_NARROW, S_FROM_S, S_FROM_U };

/* What the environment is while an operation of that rounding mode is done. */
static uint32_t fpcr_of(unsigned round) {
    return FP_DEFAULT_NAN | FP_TINY_AFTER | (round < 4 ? FP_ROUND(round) : FP_TIES_AWAY);
}

/* The operation in the desc's flags, with the rounding mode in it. Integers come in a's low 64 bits. */
static void rv64_fp_static(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    static fp_fn *const fns[] = {fp_add, fp_sub, fp_mul, fp_div, fp_sqrt, fp_fma, fp_narrow};
    uint32_t fpcr = cpu->fp.fpcr, op = desc >> 12 & 15;
    cpu->fp.fpcr = fpcr_of(desc >> 8 & 15);
    desc &= ~(UINT32_C(15) << 12);
    if (op == S_FROM_S)
        fp_scalar_from_s(cpu, res, a->u64[0], desc);
    else if (op == S_FROM_U)
        fp_scalar_from_u(cpu, res, a->u64[0], desc);
    else
        fns[op](cpu, res, a, b, c, desc);
    cpu->fp.fpcr = fpcr;
}
IR_HELPER(rv64_fp_static, IR_HELPER_PURE);

static irv fp_inst(struct rv64_trans *t, enum ir_op op, unsigned lane, irv a, irv b, irv c) {
    struct ir_inst i = {.op = (uint8_t)op, .type = IR_V128, .lane = (uint8_t)lane, .n = 1, .a = a, .b = b, .c = c};
    return ir_add_inst(t->b, &i);
}

/* rounded(): an operation that rounds as rm says. */
static irv rounded(struct rv64_trans *t, enum ir_op op, enum static_op soft, unsigned lane, unsigned rm, irv a, irv b,
                   irv c) {
    unsigned round = round_of(t, rm);
    if (round == rounds[RV64_MODE_FRM(t->mode)])
        return fp_inst(t, op, lane, a, b, c);
    return ir_callv(t->b, &helper_rv64_fp_static, a, b, c, FP_DESC(lane, 1, round, soft, 0, 0));
}

static bool arithmetic(struct rv64_trans *t, enum ir_op op, enum static_op soft, unsigned lane, unsigned rm,
                       unsigned rd, unsigned rs1, unsigned rs2) {
    if (!usable(t, rm))
        return false;
    irv x = get_f(t, rs1, lane), y = op == IR_VFSQRT ? 0 : get_f(t, rs2, lane);
    put_f(t, rd, lane, rounded(t, op, soft, lane, rm, x, y, 0));
    return true;
}

bool trans_FADD(struct rv64_trans *t, const struct arg_FADD *a) {
    return arithmetic(t, a->sub ? IR_VFSUB : IR_VFADD, a->sub ? S_SUB : S_ADD, 2 + a->fmt, a->rm, a->rd, a->rs1,
                      a->rs2);
}

bool trans_FMUL(struct rv64_trans *t, const struct arg_FMUL *a) {
    return arithmetic(t, IR_VFMUL, S_MUL, 2 + a->fmt, a->rm, a->rd, a->rs1, a->rs2);
}

bool trans_FDIV(struct rv64_trans *t, const struct arg_FDIV *a) {
    return arithmetic(t, IR_VFDIV, S_DIV, 2 + a->fmt, a->rm, a->rd, a->rs1, a->rs2);
}

bool trans_FSQRT(struct rv64_trans *t, const struct arg_FSQRT *a) {
    return arithmetic(t, IR_VFSQRT, S_SQRT, 2 + a->fmt, a->rm, a->rd, a->rs1, 0);
}

static irv sign_of(struct rv64_trans *t, unsigned lane) { return ir_vconst(t->b, BIT((8u << lane) - 1), 0); }

static irv negate(struct rv64_trans *t, unsigned lane, irv v) { return bits(t, IR_VXOR, v, sign_of(t, lane)); }

bool trans_FMADD(struct rv64_trans *t, const struct arg_FMADD *a) {
    unsigned lane = 2 + a->fmt;
    if (!usable(t, a->rm))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane), z = get_f(t, a->rs3, lane);
    x = a->neg ? negate(t, lane, x) : x;
    /* FNMSUB negates the product alone, FNMADD the product and the addend, FMSUB the addend. */
    z = a->sub ? negate(t, lane, z) : z;
    put_f(t, a->rd, lane, rounded(t, IR_VFMA, S_FMA, lane, a->rm, z, x, y));
    return true;
}

bool trans_FSGNJ(struct rv64_trans *t, const struct arg_FSGNJ *a) {
    unsigned lane = 2 + a->fmt;
    if (!fp_on(t))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane), sign = sign_of(t, lane), r;
    if (a->kind == 2) {
        r = bits(t, IR_VXOR, x, bits(t, IR_VAND, y, sign));
    } else {
        y = a->kind ? negate(t, lane, y) : y;
        r = bits(t, IR_VOR, bits(t, IR_VANDN, x, sign), bits(t, IR_VAND, y, sign));
    }
    put_f(t, a->rd, lane, r);
    return true;
}

/* FMIN, FMAX (21.6): a NaN counts as the number that never wins, and a signalling one is an invalid operation as well. */
static uint64_t quiet(struct cpu *cpu, uint64_t v, unsigned lane) {
    bool s = lane == 2 ? (v & 0x7fc00000) == 0x7f800000 && v & 0x3fffff
                       : (v & NAN_D) == UINT64_C(0x7ff0000000000000) && v & MASK(51);
    cpu->fp.fpsr |= s;
    return s ? (lane == 2 ? NAN_S : NAN_D) : v;
}
static void rv64_fp_minmax(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = desc & 15;
    v128 x = {.u64 = {quiet(cpu, a->u64[0], lane), 0}}, y = {.u64 = {quiet(cpu, b->u64[0], lane), 0}};
    (desc >> 12 & 1 ? fp_maxnm : fp_minnm)(cpu, res, &x, &y, c, desc & ~(UINT32_C(15) << 12));
}
IR_HELPER(rv64_fp_minmax, IR_HELPER_PURE);

bool trans_FMINMAX(struct rv64_trans *t, const struct arg_FMINMAX *a) {
    unsigned lane = 2 + a->fmt;
    if (!fp_on(t))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane);
    put_f(t, a->rd, lane, ir_callv(t->b, &helper_rv64_fp_minmax, x, y, 0, FP_DESC(lane, 1, 0, a->max, 0, 0)));
    return true;
}

/* --- comparison and classification ------------------------------------------------------------------ */

bool trans_FCMP(struct rv64_trans *t, const struct arg_FCMP *a) {
    static const enum ir_op ops[3] = {IR_VFCMPGE, IR_VFCMPGT, IR_VFCMPEQ};
    unsigned lane = 2 + a->fmt;
    if (!fp_on(t))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane);
    irv mask = fp_inst(t, ops[a->kind], lane, y, x, 0);
    rv64_put(t, a->rd, ir_op2i(t->b, IR_AND, ir_vop1(t->b, IR_VGET, 3, mask, 0), 1));
    mark_dirty(t);
    return true;
}

static uint64_t rv64_helper_fclass(struct cpu *cpu, uint64_t v, uint64_t lane, uint64_t c) {
    unsigned fraction = lane == 2 ? 23 : 52, width = lane == 2 ? 8 : 11;
    uint64_t exponent = v >> fraction & MASK(width), rest = v & MASK(fraction);
    bool sign = v >> (fraction + width) & 1;
    if (exponent == MASK(width) && rest)
        return rest >> (fraction - 1) ? BIT(9) : BIT(8);
    unsigned kind = exponent == MASK(width) ? 0 : exponent ? 1 : rest ? 2 : 3; /* infinity, normal, subnormal, zero */
    return BIT(sign ? kind : 7 - kind);
}
IR_HELPER(rv64_helper_fclass, IR_HELPER_PURE);

bool trans_FCLASS(struct rv64_trans *t, const struct arg_FCLASS *a) {
    unsigned lane = 2 + a->fmt;
    if (!fp_on(t))
        return false;
    irv v = ir_vop1(t->b, IR_VGET, lane, get_f(t, a->rs1, lane), 0);
    rv64_put(t, a->rd, ir_call(t->b, IR_I64, &helper_rv64_helper_fclass, v, rv64_imm(t, lane), 0));
    return true;
}

/* --- conversion ----------------------------------------------------------------------------------- */

bool trans_FCVT_FF(struct rv64_trans *t, const struct arg_FCVT_FF *a) {
    unsigned from = 2 + a->from, to = 2 + a->fmt;
    if (!usable(t, a->rm))
        return false;
    irv v = get_f(t, a->rs1, from);
    put_f(t, a->rd, to,
          to == 3 ? fp_inst(t, IR_VFWIDEN, 2, v, 0, 0) : rounded(t, IR_VFNARROW, S_NARROW, 3, a->rm, v, 0, 0));
    return true;
}

/* To an integer (21.7): the IR's is 0 for a NaN, where this wants the largest number. */
bool trans_FCVT_IF(struct rv64_trans *t, const struct arg_FCVT_IF *a) {
    struct ir_block *b = t->b;
    unsigned lane = 2 + a->fmt;
    if (!usable(t, a->rm))
        return false;
    enum ir_type type = a->l ? IR_I64 : IR_I32;
    irv v = get_f(t, a->rs1, lane);
    struct ir_inst i = {.op = a->u ? IR_FTOU : IR_FTOS,
                        .type = (uint8_t)type,
                        .lane = (uint8_t)lane,
                        .n = 1,
                        .cc = (uint8_t)round_of(t, a->rm),
                        .a = v};
    irv r = ir_add_inst(b, &i);
    uint64_t most = MASK((a->l ? 64 : 32) - !a->u);
    irv raw = ir_op2i(b, IR_AND, ir_vop1(b, IR_VGET, lane, v, 0), MASK((8u << lane) - 1));
    irv nan = ir_cmp(b, IR_CMP_UGT, raw, rv64_imm(t, lane == 2 ? UINT64_C(0x7f800000) : UINT64_C(0x7ff0000000000000)));
    rv64_put(t, a->rd, ir_select(b, nan, ir_const(b, type, most), r));
    mark_dirty(t);
    return true;
}

bool trans_FCVT_FI(struct rv64_trans *t, const struct arg_FCVT_FI *a) {
    struct ir_block *b = t->b;
    unsigned lane = 2 + a->fmt, round = round_of(t, a->rm);
    if (!usable(t, a->rm))
        return false;
    irv x = a->l ? rv64_get(t, a->rs1) : rv64_get_w(t, a->rs1), r;
    if (round == rounds[RV64_MODE_FRM(t->mode)] || (lane == 3 && !a->l)) {
        struct ir_inst i = {.op = a->u ? IR_UTOF : IR_STOF, .type = IR_V128, .lane = (uint8_t)lane, .n = 1, .a = x};
        r = ir_add_inst(b, &i);
    } else {
        irv from = ir_vop1(b, IR_VFROM, 3, a->l ? x : ir_op1(b, a->u ? IR_ZEXT32 : IR_SEXT32, x), 0);
        r = ir_callv(b, &helper_rv64_fp_static, from, 0, 0, FP_DESC(lane, 1, round, a->u ? S_FROM_U : S_FROM_S, 0, 1));
    }
    put_f(t, a->rd, lane, r);
    return true;
}

/* --- moves, loads and stores ------------------------------------------------------------------------ */

bool trans_FMV_X(struct rv64_trans *t, const struct arg_FMV_X *a) {
    if (!fp_on(t))
        return false;
    irv v = ir_vop1(t->b, IR_VGET, 3, get_raw(t, a->rs1), 0);
    rv64_put(t, a->rd, a->fmt ? v : ir_op1(t->b, IR_TRUNC, v));
    return true;
}

bool trans_FMV_F(struct rv64_trans *t, const struct arg_FMV_F *a) {
    unsigned lane = 2 + a->fmt;
    if (!fp_on(t))
        return false;
    put_f(t, a->rd, lane, ir_vop1(t->b, IR_VFROM, lane, rv64_get(t, a->rs1), 0));
    return true;
}

bool trans_FLOAD(struct rv64_trans *t, const struct arg_FLOAD *a) {
    unsigned lane = 2 + a->d;
    if (!fp_on(t))
        return false;
    int32_t disp = (int32_t)rv64_imm_i(t->insn);
    put_f(t, a->rd, lane, ir_ld(t->b, IR_V128, lane, rv64_get(t, a->rs1), disp, rv64_trans_regime(t), 0));
    return true;
}

bool trans_FSTORE(struct rv64_trans *t, const struct arg_FSTORE *a) {
    if (!fp_on(t))
        return false;
    int32_t disp = (int32_t)rv64_imm_s(t->insn);
    ir_st(t->b, 2 + a->d, rv64_get(t, a->rs1), disp, get_raw(t, a->rs2), rv64_trans_regime(t), 0);
    return true;
}
