/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * trans_fp.c: floating point. The environment of the IR's operations is cpu->fp, Arm's: with default NaNs and tininess
 * after rounding it computes what RISC-V asks for. An operation whose rounding mode is not that of frm, or that the IR
 * does not have, goes to softfp; so does all arithmetic of half precision.
 */
#include "graft/softfp.h"
#include "guests/rv64/rv64.h"

#include "rv64_decode.h"

#define RM_DYN 7
#define ROUND_NONE 8 /* no valid rounding mode */

/* frm and rm (20.2) as the IR has them. */
static const uint8_t rounds[8] = {IR_RN_EVEN, IR_RN_ZERO, IR_RN_DOWN, IR_RN_UP,
                                  IR_RN_AWAY, ROUND_NONE, ROUND_NONE, ROUND_NONE};

/* Formats by lane, which is the logarithm of their bytes. */
enum { H = 1, S, D };
static const uint8_t fraction_bits[] = {[H] = 10, [S] = 23, [D] = 52}, exponent_bits[] = {[H] = 5, [S] = 8, [D] = 11};

static unsigned lane_of(unsigned fmt) {
    static const uint8_t lanes[4] = {S, D, H, 0};
    return lanes[fmt];
}
static uint64_t infinity(unsigned lane) { return MASK(exponent_bits[lane]) << fraction_bits[lane]; }
static uint64_t canonical_nan(unsigned lane) { return infinity(lane) | BIT(fraction_bits[lane] - 1); }
/* The bits above a narrow value in its register. */
static uint64_t box(unsigned lane) { return lane == D ? 0 : ~MASK(8u << lane); }

/* --- fcsr ------------------------------------------------------------------------------------- */

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

/* --- registers -------------------------------------------------------------------------------- */

/* A bitwise operation of all 128 bits. */
static irv bits(struct rv64_trans *t, enum ir_op op, irv a, irv b) { return ir_vop2(t->b, op, 0, a, b, 0); }

static irv get_raw(struct rv64_trans *t, unsigned n) { return ir_get(t->b, IR_V128, RV64_F(n)); }

/* A boxed single, or the canonical NaN, without leaving the vector registers. */
static irv get_single(struct rv64_trans *t, irv v) {
    struct ir_block *b = t->b;
    struct ir_inst above = {.op = IR_VDUPLANE, .type = IR_V128, .lane = S, .n = 1, .a = v};
    irv boxed = ir_vop2(b, IR_VCMPEQ, S, ir_add_inst(b, &above), ir_vconst(b, ~UINT64_C(0), ~UINT64_C(0)), 0);
    return ir_vop3(b, IR_VBSL, 0, boxed, v, ir_vconst(b, canonical_nan(S) | box(S), 0), 0);
}

/* Singles that a block begins with are boxed in nearly all programs: it looks once at all that it is going to read, and
 * if one is not, goes on in a mode of code that looks at each (until the next trap). */
void rv64_check_boxed(struct rv64_trans *t, uint32_t regs) {
    struct ir_block *b = t->b;
    irv all = 0;
    for (uint32_t left = regs; left; left &= left - 1) {
        irv v = get_raw(t, (unsigned)__builtin_ctz(left));
        all = all ? bits(t, IR_VAND, all, v) : v;
    }
    irv high = ir_op1(b, IR_TRUNC, ir_vop1(b, IR_VGET, S, all, 1));
    ir_fault_if(b, ir_cmp(b, IR_CMP_NE, high, ir_const(b, IR_I32, ~UINT32_C(0))), t->pc);
    t->boxed[S - H] = regs;
}

/* get_f(): an operand; a narrow one that is not NaN-boxed is the canonical NaN (21.2). A single comes boxed. */
static irv get_f(struct rv64_trans *t, unsigned n, unsigned lane) {
    struct ir_block *b = t->b;
    irv v = get_raw(t, n);
    if (lane == D || t->boxed[lane - H] >> n & 1)
        return v; /* what is above its lane does not matter to what takes it */
    if (lane == S && t->assume_boxed) {
        t->assumed |= 1u << n;
        t->boxed[S - H] |= 1u << n;
        return v;
    }
    if (lane == S)
        return t->single[n] ? t->single[n] : (t->single[n] = get_single(t, v));
    irv raw = ir_vop1(b, IR_VGET, 3, v, 0);
    irv boxed = ir_cmp(b, IR_CMP_UGE, raw, rv64_imm(t, box(lane)));
    return ir_vop1(b, IR_VFROM, lane, ir_select(b, boxed, raw, rv64_imm(t, canonical_nan(lane))), 0);
}

static void mark_dirty(struct rv64_trans *t) {
    if (!t->dirty && rv64_in_u(t))
        ir_put(t->b, offsetof(struct rv64_cpu, dirty), ir_const(t->b, IR_I32, 1));
    else if (!t->dirty)
        ir_put(t->b, RV64_SSTATUS, ir_op2i(t->b, IR_OR, ir_get(t->b, IR_I32, RV64_SSTATUS), 3u << 13));
    t->dirty = true;
}

/* put_boxed(): v is as its register is to be. put_f(): v has zeros above its lane. */
static void put_boxed(struct rv64_trans *t, unsigned n, unsigned lane, irv v) {
    ir_put(t->b, RV64_F(n), v);
    t->single[n] = 0;
    for (unsigned i = H; i < D; i++) /* a boxed half is a boxed single, too */
        t->boxed[i - H] = lane <= i ? t->boxed[i - H] | 1u << n : t->boxed[i - H] & ~(1u << n);
    mark_dirty(t);
}

static void put_f(struct rv64_trans *t, unsigned n, unsigned lane, irv v) {
    put_boxed(t, n, lane, lane == D ? v : bits(t, IR_VOR, v, ir_vconst(t->b, box(lane), 0)));
}

/* usable(): may floating point be used here, and is rm a rounding mode? */
static bool fp_on(const struct rv64_trans *t) { return !(t->mode & RV64_MODE_FP_OFF); }

static unsigned round_of(const struct rv64_trans *t, unsigned rm) {
    return rounds[rm == RM_DYN ? RV64_MODE_FRM(t->mode) : rm];
}

static bool usable(const struct rv64_trans *t, unsigned rm) { return fp_on(t) && round_of(t, rm) != ROUND_NONE; }

/* --- arithmetic ------------------------------------------------------------------------------- */

enum soft_op {
    S_ADD,
    S_SUB,
    S_MUL,
    S_DIV,
    S_SQRT,
    S_FMA,
    S_NARROW, /* FP_EXACT in the flags: by two steps */
    S_WIDEN,
    S_RINT,
    S_MIN,
    S_MAX,
    S_EQ,
    S_GE,
    S_GT,
    S_FROM_S, /* integers are in the low 64 bits */
    S_FROM_U,
    S_TO_S,
    S_TO_U,
    S_QUIET_LE,
    S_QUIET_LT,
    S_MODULAR
};
#define SOFT_OP(desc) ((desc) >> 25)

/* What the environment is while an operation of that rounding mode is done. */
static uint32_t fpcr_of(unsigned round) {
    return FP_DEFAULT_NAN | FP_TINY_AFTER | (round < 4 ? FP_ROUND(round) : FP_TIES_AWAY);
}

/* FCVTMOD.W.D (Zfa): the flags are those of a conversion that saturates, the result is the low 32 bits of the
 * integer. */
static uint64_t modular(struct cpu *cpu, const v128 *a, uint32_t desc) {
    uint64_t v = a->u64[0], fraction = (v & MASK(52)) | BIT(52);
    int shift = (int)(v >> 52 & MASK(11)) - 1023 - 52;
    fp_scalar_to_s(cpu, a, desc);
    if (shift > 31 || shift < -52) /* multiples of 2^32, infinities and NaNs; less than 1 */
        return 0;
    uint64_t whole = shift < 0 ? fraction >> -shift : fraction << shift;
    return v >> 63 ? -whole : whole;
}

/* LE, LT (Zfa): NZCV has N for less, Z for equal. */
static uint64_t quiet_order(struct cpu *cpu, const v128 *a, const v128 *b, uint32_t desc) {
    return (fp_compare(cpu, a, b, desc) & (SOFT_OP(desc) == S_QUIET_LE ? 3u << 30 : 1u << 31)) != 0;
}

/* The operation in the desc's high bits, with the rounding mode in it. */
static void rv64_fp_soft(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    static fp_fn *const fns[] = {fp_add,   fp_sub,  fp_mul, fp_div, fp_sqrt,  fp_fma,   fp_narrow,
                                 fp_widen, fp_rint, fp_min, fp_max, fp_cmpeq, fp_cmpge, fp_cmpgt};
    uint32_t fpcr = cpu->fp.fpcr;
    cpu->fp.fpcr = fpcr_of(desc >> 8 & 15);
    v128 r = {.u64 = {0, 0}};
    switch (SOFT_OP(desc)) {
    case S_FROM_S: fp_scalar_from_s(cpu, &r, a->u64[0], desc); break;
    case S_FROM_U: fp_scalar_from_u(cpu, &r, a->u64[0], desc); break;
    case S_TO_S: r.u64[0] = fp_scalar_to_s(cpu, a, desc); break;
    case S_TO_U: r.u64[0] = fp_scalar_to_u(cpu, a, desc); break;
    case S_QUIET_LE:
    case S_QUIET_LT: r.u64[0] = quiet_order(cpu, a, b, desc); break;
    case S_MODULAR: r.u64[0] = modular(cpu, a, desc); break;
    default: fns[SOFT_OP(desc)](cpu, &r, a, b, c, desc); break;
    }
    *res = r;
    cpu->fp.fpcr = fpcr;
}
IR_HELPER(rv64_fp_soft, IR_HELPER_PURE);

static irv soft(struct rv64_trans *t, enum soft_op op, unsigned lane, unsigned round, unsigned flags, bool int64, irv a,
                irv b, irv c) {
    return ir_callv(t->b, &helper_rv64_fp_soft, a, b, c, FP_DESC(lane, 1, round, flags, 0, int64) | (uint32_t)op << 25);
}

static irv fp_inst(struct rv64_trans *t, enum ir_op op, unsigned lane, irv a, irv b, irv c) {
    uint8_t flags = op <= IR_VFMA ? IR_FP_MERGE : 0;
    struct ir_inst i = {
        .op = (uint8_t)op, .type = IR_V128, .lane = (uint8_t)lane, .n = 1, .flags = flags, .a = a, .b = b, .c = c};
    return ir_add_inst(t->b, &i);
}

/* Does the IR have operations of that format that round as rm says? */
static bool is_native(const struct rv64_trans *t, unsigned lane, unsigned rm) {
    return lane != H && round_of(t, rm) == rounds[RV64_MODE_FRM(t->mode)];
}

/* put_rounded(): the result of an operation that rounds as rm says. a is a register's value: so is the result, but for
 * its lane. */
static void put_rounded(struct rv64_trans *t, unsigned rd, enum ir_op op, enum soft_op soft_op, unsigned lane,
                        unsigned rm, irv a, irv b, irv c) {
    if (is_native(t, lane, rm))
        put_boxed(t, rd, lane, fp_inst(t, op, lane, a, b, c));
    else
        put_f(t, rd, lane, soft(t, soft_op, lane, round_of(t, rm), 0, false, a, b, c));
}

static bool arithmetic(struct rv64_trans *t, enum ir_op op, enum soft_op soft_op, unsigned lane, unsigned rm,
                       unsigned rd, unsigned rs1, unsigned rs2) {
    if (!usable(t, rm))
        return false;
    irv x = get_f(t, rs1, lane), y = op == IR_VFSQRT ? 0 : get_f(t, rs2, lane);
    put_rounded(t, rd, op, soft_op, lane, rm, x, y, 0);
    return true;
}

bool trans_FADD(struct rv64_trans *t, const struct arg_FADD *a) {
    return arithmetic(t, a->sub ? IR_VFSUB : IR_VFADD, a->sub ? S_SUB : S_ADD, lane_of(a->fmt), a->rm, a->rd, a->rs1,
                      a->rs2);
}

bool trans_FMUL(struct rv64_trans *t, const struct arg_FMUL *a) {
    return arithmetic(t, IR_VFMUL, S_MUL, lane_of(a->fmt), a->rm, a->rd, a->rs1, a->rs2);
}

bool trans_FDIV(struct rv64_trans *t, const struct arg_FDIV *a) {
    return arithmetic(t, IR_VFDIV, S_DIV, lane_of(a->fmt), a->rm, a->rd, a->rs1, a->rs2);
}

bool trans_FSQRT(struct rv64_trans *t, const struct arg_FSQRT *a) {
    return arithmetic(t, IR_VFSQRT, S_SQRT, lane_of(a->fmt), a->rm, a->rd, a->rs1, 0);
}

static irv sign_of(struct rv64_trans *t, unsigned lane) { return ir_vconst(t->b, BIT((8u << lane) - 1), 0); }

static irv negate(struct rv64_trans *t, unsigned lane, irv v) { return bits(t, IR_VXOR, v, sign_of(t, lane)); }

bool trans_FMADD(struct rv64_trans *t, const struct arg_FMADD *a) {
    unsigned lane = lane_of(a->fmt);
    if (!usable(t, a->rm))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane), z = get_f(t, a->rs3, lane);
    x = a->neg ? negate(t, lane, x) : x;
    /* FNMSUB negates the product alone, FNMADD the product and the addend, FMSUB the addend. */
    z = a->sub ? negate(t, lane, z) : z;
    put_rounded(t, a->rd, IR_VFMA, S_FMA, lane, a->rm, z, x, y);
    return true;
}

bool trans_FSGNJ(struct rv64_trans *t, const struct arg_FSGNJ *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane), sign = sign_of(t, lane), r;
    if (a->rs1 == a->rs2) { /* FMV, FNEG, FABS */
        r = a->kind == 0 ? x : bits(t, a->kind == 1 ? IR_VXOR : IR_VANDN, x, sign);
    } else if (a->kind == 2) {
        r = bits(t, IR_VXOR, x, bits(t, IR_VAND, y, sign));
    } else {
        y = a->kind ? negate(t, lane, y) : y;
        r = bits(t, IR_VOR, bits(t, IR_VANDN, x, sign), bits(t, IR_VAND, y, sign));
    }
    if (lane == H) /* of which get_f() gives the lane alone */
        put_f(t, a->rd, lane, r);
    else
        put_boxed(t, a->rd, lane, r);
    return true;
}

/* FMIN, FMAX (21.6): a NaN counts as the number that never wins, and a signalling one is an invalid operation as
 * well. */
static uint64_t quiet(struct cpu *cpu, uint64_t v, unsigned lane) {
    uint64_t magnitude = v & MASK((8u << lane) - 1);
    bool signalling = magnitude > infinity(lane) && magnitude < canonical_nan(lane);
    cpu->fp.fpsr |= signalling;
    return signalling ? canonical_nan(lane) : v;
}
static void rv64_fp_minmax(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = desc & 15;
    v128 x = {.u64 = {quiet(cpu, a->u64[0], lane), 0}}, y = {.u64 = {quiet(cpu, b->u64[0], lane), 0}};
    (desc >> 12 & 1 ? fp_maxnm : fp_minnm)(cpu, res, &x, &y, c, desc & ~(UINT32_C(15) << 12));
}
IR_HELPER(rv64_fp_minmax, IR_HELPER_PURE);

/* FMINM, FMAXM (Zfa): any NaN makes the result one. */
bool trans_FMINMAXM(struct rv64_trans *t, const struct arg_FMINMAXM *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane);
    put_f(t, a->rd, lane,
          lane == H ? soft(t, a->max ? S_MAX : S_MIN, lane, IR_RN_EVEN, 0, false, x, y, 0)
                    : fp_inst(t, a->max ? IR_VFMAX : IR_VFMIN, lane, x, y, 0));
    return true;
}

bool trans_FMINMAX(struct rv64_trans *t, const struct arg_FMINMAX *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane);
    put_f(t, a->rd, lane, ir_callv(t->b, &helper_rv64_fp_minmax, x, y, 0, FP_DESC(lane, 1, 0, a->max, 0, 0)));
    return true;
}

/* --- comparison and classification ------------------------------------------------------------ */

/* FLE, FLT, FEQ; the former two signal on any NaN. */
static irv compare(struct rv64_trans *t, unsigned kind, unsigned lane, irv x, irv y) {
    static const enum ir_cond conditions[3] = {IR_LS, IR_MI, IR_EQ};
    static const enum soft_op soft_ops[3] = {S_GE, S_GT, S_EQ};
    struct ir_inst i = {.op = IR_FCMP_FLAGS,
                        .type = IR_FLAGS,
                        .lane = (uint8_t)lane,
                        .n = 1,
                        .flags = kind == 2 ? 0 : IR_FP_SIGNAL,
                        .a = x,
                        .b = y};
    if (lane != H)
        return ir_op1(t->b, IR_ZEXT32, ir_cond(t->b, conditions[kind], ir_add_inst(t->b, &i)));
    irv mask = soft(t, soft_ops[kind], lane, IR_RN_EVEN, 0, false, y, x, 0);
    return ir_op2i(t->b, IR_AND, ir_vop1(t->b, IR_VGET, 3, mask, 0), 1);
}

bool trans_FCMP(struct rv64_trans *t, const struct arg_FCMP *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    irv x = get_f(t, a->rs1, lane), y = get_f(t, a->rs2, lane);
    rv64_put(t, a->rd, compare(t, a->kind, lane, x, y));
    mark_dirty(t);
    return true;
}

bool trans_FCMPQ(struct rv64_trans *t, const struct arg_FCMPQ *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    irv r = soft(t, a->lt ? S_QUIET_LT : S_QUIET_LE, lane, IR_RN_EVEN, 0, false, get_f(t, a->rs1, lane),
                 get_f(t, a->rs2, lane), 0);
    rv64_put(t, a->rd, ir_vop1(t->b, IR_VGET, 3, r, 0));
    mark_dirty(t);
    return true;
}

static uint64_t rv64_helper_fclass(struct cpu *cpu, uint64_t v, uint64_t lane, uint64_t c) {
    unsigned fraction = fraction_bits[lane], width = exponent_bits[lane];
    uint64_t exponent = v >> fraction & MASK(width), rest = v & MASK(fraction);
    bool sign = v >> (fraction + width) & 1;
    if (exponent == MASK(width) && rest)
        return rest >> (fraction - 1) ? BIT(9) : BIT(8);
    unsigned kind = exponent == MASK(width) ? 0 : exponent ? 1 : rest ? 2 : 3; /* infinity, normal, subnormal, zero */
    return BIT(sign ? kind : 7 - kind);
}
IR_HELPER(rv64_helper_fclass, IR_HELPER_PURE);

bool trans_FCLASS(struct rv64_trans *t, const struct arg_FCLASS *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    irv v = ir_vop1(t->b, IR_VGET, lane, get_f(t, a->rs1, lane), 0);
    rv64_put(t, a->rd, ir_call(t->b, IR_I64, &helper_rv64_helper_fclass, v, rv64_imm(t, lane), 0));
    return true;
}

/* --- conversion ------------------------------------------------------------------------------- */

bool trans_FCVT_FF(struct rv64_trans *t, const struct arg_FCVT_FF *a) {
    unsigned from = lane_of(a->from), to = lane_of(a->fmt), round = round_of(t, a->rm);
    if (!usable(t, a->rm))
        return false;
    irv v = get_f(t, a->rs1, from), r;
    if (from == S && to == D)
        r = fp_inst(t, IR_VFWIDEN, S, v, 0, 0);
    else if (from == D && to == S)
        r = is_native(t, D, a->rm) ? fp_inst(t, IR_VFNARROW, D, v, 0, 0)
                                   : soft(t, S_NARROW, D, round, 0, false, v, 0, 0);
    else
        r = soft(t, from < to ? S_WIDEN : S_NARROW, from, round, from + to == H + D ? IR_FP_EXACT : 0, false, v, 0, 0);
    put_f(t, a->rd, to, r);
    return true;
}

/* An integer of 32 or 64 bits; the IR's is 0 for a NaN. */
static irv to_integer(struct rv64_trans *t, unsigned lane, bool l, bool u, unsigned round, irv v) {
    struct ir_block *b = t->b;
    if (lane == H) {
        irv r = ir_vop1(b, IR_VGET, 3, soft(t, u ? S_TO_U : S_TO_S, lane, round, 0, l, v, 0, 0), 0);
        return l ? r : ir_op1(b, IR_TRUNC, r);
    }
    struct ir_inst i = {.op = u ? IR_FTOU : IR_FTOS,
                        .type = l ? IR_I64 : IR_I32,
                        .lane = (uint8_t)lane,
                        .n = 1,
                        .cc = (uint8_t)round,
                        .a = v};
    return ir_add_inst(b, &i);
}

/* To an integer (21.7): of a NaN the largest. */
bool trans_FCVT_IF(struct rv64_trans *t, const struct arg_FCVT_IF *a) {
    struct ir_block *b = t->b;
    unsigned lane = lane_of(a->fmt);
    if (!usable(t, a->rm))
        return false;
    irv v = get_f(t, a->rs1, lane), r = to_integer(t, lane, a->l, a->u, round_of(t, a->rm), v);
    uint64_t most = MASK((a->l ? 64 : 32) - !a->u);
    irv raw = ir_op2i(b, IR_AND, ir_vop1(b, IR_VGET, lane, v, 0), MASK((8u << lane) - 1));
    irv nan = ir_cmp(b, IR_CMP_UGT, raw, rv64_imm(t, infinity(lane)));
    rv64_put(t, a->rd, ir_select(b, nan, ir_const(b, a->l ? IR_I64 : IR_I32, most), r));
    mark_dirty(t);
    return true;
}

bool trans_FCVT_FI(struct rv64_trans *t, const struct arg_FCVT_FI *a) {
    struct ir_block *b = t->b;
    unsigned lane = lane_of(a->fmt), round = round_of(t, a->rm);
    if (!usable(t, a->rm))
        return false;
    irv x = a->l ? rv64_get(t, a->rs1) : rv64_get_w(t, a->rs1), r;
    if (lane != H && (round == rounds[RV64_MODE_FRM(t->mode)] || (lane == D && !a->l))) {
        struct ir_inst i = {.op = a->u ? IR_UTOF : IR_STOF, .type = IR_V128, .lane = (uint8_t)lane, .n = 1, .a = x};
        r = ir_add_inst(b, &i);
    } else {
        irv from = ir_vop1(b, IR_VFROM, 3, a->l ? x : ir_op1(b, a->u ? IR_ZEXT32 : IR_SEXT32, x), 0);
        r = soft(t, a->u ? S_FROM_U : S_FROM_S, lane, round, 0, true, from, 0, 0);
    }
    put_f(t, a->rd, lane, r);
    return true;
}

bool trans_FCVTMOD(struct rv64_trans *t, const struct arg_FCVTMOD *a) {
    if (!fp_on(t))
        return false;
    irv r = soft(t, S_MODULAR, D, IR_RN_ZERO, 0, false, get_f(t, a->rs1, D), 0, 0);
    rv64_put(t, a->rd, ir_op1(t->b, IR_TRUNC, ir_vop1(t->b, IR_VGET, 3, r, 0)));
    mark_dirty(t);
    return true;
}

/* FROUND, FROUNDNX (Zfa) */
bool trans_FROUND(struct rv64_trans *t, const struct arg_FROUND *a) {
    unsigned lane = lane_of(a->fmt), flags = a->nx ? IR_FP_EXACT : 0;
    if (!usable(t, a->rm))
        return false;
    irv r = soft(t, S_RINT, lane, round_of(t, a->rm), flags, false, get_f(t, a->rs1, lane), 0, 0);
    put_f(t, a->rd, lane, r);
    return true;
}

/* --- moves, loads and stores ------------------------------------------------------------------ */

bool trans_FMV_X(struct rv64_trans *t, const struct arg_FMV_X *a) {
    if (!fp_on(t))
        return false;
    unsigned lane = lane_of(a->fmt);
    irv v = ir_vop1(t->b, IR_VGET, lane, get_raw(t, a->rs1), 0);
    rv64_put(t, a->rd, lane == D ? v : lane == S ? ir_op1(t->b, IR_TRUNC, v) : ir_op1(t->b, IR_SEXT16, v));
    return true;
}

bool trans_FMV_F(struct rv64_trans *t, const struct arg_FMV_F *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    put_f(t, a->rd, lane, ir_vop1(t->b, IR_VFROM, lane, rv64_get(t, a->rs1), 0));
    return true;
}

/* FLI (Zfa): 1.m * 2^e with two bits of m; a half has the smaller ones as subnormal numbers, and no 2^16. */
static uint64_t constant(unsigned lane, unsigned index) {
    static const int8_t e[] = {0,  0, -16, -15, -8, -7, -4, -3, -2, -2, -2, -2, -1, -1, -1,
                               -1, 0, 0,   0,   0,  1,  1,  1,  2,  3,  4,  7,  8,  15, 16};
    static const uint8_t m[] = {[9] = 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, [29] = 0};
    unsigned fraction = fraction_bits[lane];
    int bias = (int)MASK(exponent_bits[lane] - 1), biased = bias + e[index % 30];
    if (index >= 30)
        return index == 30 ? infinity(lane) : canonical_nan(lane);
    if (index == 1)
        return BIT(fraction);
    if (biased > 2 * bias)
        return infinity(lane);
    if (biased <= 0)
        return BIT((int)fraction + biased - 1);
    return (index == 0 ? BIT((8u << lane) - 1) : 0) | (uint64_t)biased << fraction |
           (uint64_t)m[index] << (fraction - 2);
}

bool trans_FLI(struct rv64_trans *t, const struct arg_FLI *a) {
    unsigned lane = lane_of(a->fmt);
    if (!fp_on(t))
        return false;
    put_f(t, a->rd, lane, ir_vconst(t->b, constant(lane, a->rs1), 0));
    return true;
}

bool trans_FLOAD(struct rv64_trans *t, const struct arg_FLOAD *a) {
    if (!fp_on(t))
        return false;
    int32_t disp = (int32_t)rv64_imm_i(t->insn);
    put_f(t, a->rd, a->size, ir_ld(t->b, IR_V128, a->size, rv64_get(t, a->rs1), disp, rv64_trans_regime(t), 0));
    return true;
}

bool trans_FSTORE(struct rv64_trans *t, const struct arg_FSTORE *a) {
    if (!fp_on(t))
        return false;
    int32_t disp = (int32_t)rv64_imm_s(t->insn);
    ir_st(t->b, a->size, rv64_get(t, a->rs1), disp, get_raw(t, a->rs2), rv64_trans_regime(t), 0);
    return true;
}
