/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * emit_fp.c: floating point by the host's SSE unit, with Arm's results.
 *
 * MXCSR holds the guest's rounding mode and collects its status flags. The host
 * differs from Arm in the NaN that an operation returns, and in when a result
 * counts as tiny: if it is so after rounding (Arm: before). That matters to the
 * status alone, and only if the result was rounded up to the smallest normal number:
 * one below is tiny for both. So the host computes, the result is checked, and a
 * NaN or, where rounding can happen there, plus or minus the smallest normal
 * number goes to a stub that calls softfp on the operands. What the host has put
 * into MXCSR by then is a part of what softfp adds to FPSR.
 *
 * A scalar result has above it what the first operand has: zeros, as it is to be, if
 * that is a scalar, too. Else the upper part of its register is left dirty (struct
 * value): most consumers do not look at it.
 */
#include "dbt/x86/emit_fp.h"

#define K(field) asm_mem_rip(&cg->k->field)
#define VMOVQ ASM_OP(2, 1, 0x7e)
#define VXORPS ASM_OP(0, 1, 0x57)
#define VANDPS ASM_OP(0, 1, 0x54)
#define VORPS ASM_OP(0, 1, 0x56)
enum { PRED_EQ = 0, PRED_UNORD = 3, PRED_EQ_UQ = 8, PRED_GE_OS = 13, PRED_GT_OS = 14 };

/* Prefix of an operation on n lanes: packed or scalar, single or double. */
static unsigned prefix(unsigned lane, unsigned n) { return n == 1 ? (lane == 3 ? 3 : 2) : lane == 3; }
static uint32_t fp_op(unsigned opcode, unsigned lane, unsigned n) { return ASM_OP(prefix(lane, n), 1, opcode); }
uint32_t fp_ucomis(unsigned lane) { return ASM_OP(lane == 3, 1, 0x2e); }
static unsigned fp_bytes(const struct ir_inst *in) { return 1u << in->lane; }
static void rr(struct codegen *cg, uint32_t op, unsigned d, unsigned x, unsigned y) { asm_vex_rr(&cg->a, op, d, x, y); }

/* Lanes that the host does at once, and the others of the register not at all. */
bool fp_supported(const struct codegen *cg, const struct ir_inst *in) {
    if (cg->b->flags & IR_BLOCK_SOFTFP)
        return false;
    return in->lane == 2 ? in->n == 1 || in->n == 2 || in->n == 4 : in->lane == 3 && (in->n == 1 || in->n == 2);
}
static bool partial(const struct ir_inst *in) { return in->lane == 2 && in->n == 2; }

static uint32_t desc_of(const struct codegen *cg, const struct ir_inst *in) {
    unsigned lane = in->op == IR_VFWIDEN ? 2 : in->op == IR_VFNARROW ? 3 : in->lane;
    bool rounding =
        in->op == IR_VFRINT || in->op == IR_VFTOS || in->op == IR_VFTOU || in->op == IR_FTOS || in->op == IR_FTOU;
    bool int64 = in->type == IR_I64 || inst_of(cg, in->a)->type == IR_I64;
    return FP_DESC(lane, in->n, rounding ? in->cc : IR_RN_CURRENT, in->flags, in->aux & 255, int64);
}

/* --- softfp only
 * --------------------------------------------------------------------------------------------------- */
static struct asm_mem vscratch(unsigned n) { return cpu_mem(offsetof(struct cpu, vscratch) + 16 * n); }
/* An argument of the next call_helper(). Ring 0 takes no pointer from ring 3, but knows which arguments these are. */
static void vscratch_arg(struct codegen *cg, unsigned reg, unsigned n) {
    cg->scratch_arg[reg == ASM_RSI ? 0 : 1] = (uint8_t)(n + 1);
    if (!cg->ring3)
        asm_lea(&cg->a, true, reg, vscratch(n));
}

void fp_soft_vector(struct codegen *cg, const struct ir_inst *in, fp_fn *fn) {
    irv arg[3] = {in->a, in->b, in->c};
    flags_clobber(cg);
    for (unsigned k = 0; k < 3; k++) {
        if (arg[k]) {
            asm_vmov_mr(&cg->a, vscratch(k + 1), use_v(cg, arg[k]));
            cg->locked = 0;
        }
    }
    done(cg);
    spill_temps(cg);
    asm_mov_ri(&cg->a, ASM_RSI, desc_of(cg, in));
    call_helper(cg, cg->callv, (const void *)(uintptr_t)fn);
    asm_vmov_rm(&cg->a, xmm(def(cg, NO_REG)), vscratch(0));
}
void fp_soft_to_int(struct codegen *cg, const struct ir_inst *in, const void *fn) {
    flags_clobber(cg);
    asm_vmov_mr(&cg->a, vscratch(1), use_v(cg, in->a));
    cg->locked = 0;
    done(cg);
    spill_temps(cg);
    vscratch_arg(cg, ASM_RSI, 1);
    asm_mov_ri(&cg->a, ASM_RDX, desc_of(cg, in));
    call_helper(cg, cg->call_pure, fn);
    cg->locked |= BIT(ASM_RAX);
    unsigned d = def(cg, ASM_RAX);
    asm_mov_rr(&cg->a, in->type == IR_I64, d, ASM_RAX);
}
void fp_soft_from_int(struct codegen *cg, const struct ir_inst *in, const void *fn) {
    flags_clobber(cg);
    use_as(cg, in->a, ASM_RDX);
    cg->locked = 0;
    done(cg);
    spill_temps(cg); /* RDX keeps the argument */
    vscratch_arg(cg, ASM_RSI, 0);
    asm_mov_ri(&cg->a, ASM_RCX, desc_of(cg, in));
    call_helper(cg, cg->call_pure, fn);
    asm_vmov_rm(&cg->a, xmm(def(cg, NO_REG)), vscratch(0));
}

/* --- stubs
 * --------------------------------------------------------------------------------------------------------- */
struct stub *fp_stub(struct codegen *cg, const struct ir_inst *in, const void *fn) {
    struct stub *s = stub_new(cg, STUB_FP);
    s->rec.pc = slow_function(fn);
    s->rec.desc = desc_of(cg, in);
    s->rec.base = NO_REG;
    s->vector = true;
    s->lane = in->op == IR_VFNARROW ? 2 : in->op == IR_VFWIDEN ? 3 : in->lane;
    s->n = in->n;
    if (in->n > 1)
        s->mask = (uint8_t)scratch(cg, GPR_CLASS);
    return s;
}
void fp_end(struct codegen *cg, struct stub *s, unsigned dst) {
    s->rec.dst = (uint8_t)dst;
    s->back = asm_pos(&cg->a);
}

/* --- checks of a result; scratch registers first, so that nothing is spilled behind the operation
 * ------------------------ */
static void fail_if_any(struct codegen *cg, struct stub *s, unsigned t) {
    rr(cg, ASM_OP(s->lane == 3, 1, 0x50), s->mask, 0, t); /* vmovmskps, vmovmskpd */
    asm_test_rr(&cg->a, false, s->mask, s->mask);
    asm_jcc(&cg->a, ASM_NE, &s->slow);
}
void fp_check_nan(struct codegen *cg, struct stub *s, unsigned d, unsigned t) {
    struct asm_buf *a = &cg->a;
    if (s->n == 1) {
        rr(cg, fp_ucomis(s->lane), d, 0, d);
        asm_jcc(a, ASM_P, &s->slow);
    } else {
        if (d > 15) {
            asm_vmov_rr(a, t, d);
            d = t;
        }
        asm_vex_rri(a, fp_op(0xc2, s->lane, s->n), t, d, d, PRED_UNORD);
        fail_if_any(cg, s, t);
    }
}
void fp_check_result(struct codegen *cg, struct stub *s, unsigned d, unsigned t) {
    struct asm_buf *a = &cg->a;
    asm_vex_rm(a, VANDPS, t, d, s->lane == 3 ? K(abs64) : K(abs32));
    if (s->n == 1) {
        asm_vex_rm(a, fp_ucomis(s->lane), t, 0, s->lane == 3 ? K(min64) : K(min32));
        asm_jcc(a, ASM_E, &s->slow); /* equal or unordered */
        return;
    }
    asm_vex_rmi(a, fp_op(0xc2, s->lane, s->n), t, t, s->lane == 3 ? K(min64) : K(min32), PRED_EQ_UQ);
    fail_if_any(cg, s, t);
}

/* --- operands
 * ------------------------------------------------------------------------------------------------------------ */
/* An operand: of a scalar the low bytes; of two singles with the upper half cleared, as it takes part in the
 * operation. */
unsigned fp_operand(struct codegen *cg, const struct ir_inst *in, irv v) {
    if (in->n == 1)
        return xmm(use_low(cg, v, fp_bytes(in)));
    if (!partial(in))
        return use_v(cg, v);
    unsigned x = xmm(use_low(cg, v, 8)), t = scratch_x(cg);
    rr(cg, VMOVQ, t, 0, x);
    return t;
}
/* The first operand, of which the result may have what is above its lane. */
static unsigned first_operand(struct codegen *cg, const struct ir_inst *in) {
    return in->flags & IR_FP_MERGE ? use_v(cg, in->a) : fp_operand(cg, in, in->a);
}
/* Is v zero from that byte up, in its register, too? The host copies what is above a scalar from the first operand. */
static bool zero_from(const struct codegen *cg, irv v, unsigned bytes) {
    const struct ir_inst *in = inst_of(cg, v);
    if (cg->v[v].dirty)
        return false;
    if (in->op == IR_VCONST) {
        const v128 *c = &cg->b->vconst[in->aux];
        return !c->u64[1] && (bytes == 8 || !(c->u64[0] >> 32));
    }
    if (in->op == IR_LD || in->op == IR_VFROM || in->op == IR_VLOW)
        return 1u << in->lane <= bytes;
    if (in->op >= IR_VFADD && in->op <= IR_VFMA && in->flags & IR_FP_MERGE)
        return zero_from(cg, in->a, bytes);
    return (in->op >= IR_VFADD && in->op <= IR_VUTOF && (unsigned)in->n << in->lane <= bytes) ||
           ((in->op == IR_STOF || in->op == IR_UTOF) && 1u << in->lane <= bytes) ||
           (in->op == IR_VFWIDEN && in->n == 1 && bytes == 8) || (in->op == IR_VFNARROW && 4u * in->n <= bytes);
}
bool fp_clean(const struct codegen *cg, const struct ir_inst *in, irv v) {
    return in->n > 1 || zero_from(cg, v, fp_bytes(in));
}
/* The same of an operation's own first operand. */
static bool first_clean(const struct codegen *cg, const struct ir_inst *in) {
    return in->flags & IR_FP_MERGE || fp_clean(cg, in, in->a);
}
/* A result may have to be looked at for being tiny. */
static bool may_be_tiny(const struct codegen *cg, bool tiny) { return tiny && !(cg->b->flags & IR_BLOCK_TINY_AFTER); }
/* The result's register: not an operand's. A dirty one is not computed in a pin: the PUT's copy cleans it. */
unsigned fp_result(struct codegen *cg, const struct ir_inst *in, bool clean) {
    done(cg);
    if (!clean) {
        cg->v[cg->at].dirty = (uint8_t)fp_bytes(in);
        cg->v[cg->at].target = NO_REG;
    }
    return def_fresh_v(cg);
}

/* --- operations that are checked together ----------------------------------------------------- */
/* An unchecked result is used by other operations, and put to the guest's registers, as if it were right. The check
 * comes before anything else looks at it: then softfp does all of them again in their order. */
void fp_note(struct codegen *cg, struct stub *s) {
    s->call = (uint16_t)cg->fp_calls;
    s->calls = (uint16_t)cg->fp_ops;
    for (unsigned i = 0; i < cg->fp_ops; i++)
        cg->fp_call[cg->fp_calls++] = cg->fp_op[i].rec;
}
static void fp_defer(struct codegen *cg, const struct ir_inst *in, fp_fn *fn, bool tiny, const unsigned op[3],
                     unsigned d) {
    struct fp_op *f = &cg->fp_op[cg->fp_ops++];
    *f = (struct fp_op){.rec = {.kind = STUB_FP,
                                .pc = slow_function((const void *)(uintptr_t)fn),
                                .desc = desc_of(cg, in),
                                .dst = (uint8_t)XMM(d)},
                        .lane = in->lane,
                        .n = in->n,
                        .tiny = tiny};
    uint8_t *reg[3] = {&f->rec.base, &f->rec.value, &f->rec.value2};
    for (unsigned k = 0; k < 3; k++) {
        *reg[k] = op[k] == NO_REG ? NO_REG : (uint8_t)XMM(op[k]);
        if (op[k] != NO_REG)
            cg->held |= BIT(XMM(op[k]));
    }
    for (unsigned i = 0; i + 1 < cg->fp_ops; i++) {
        struct fp_op *e = &cg->fp_op[i];
        unsigned r = e->rec.dst;
        e->covered |= r == f->rec.base || r == f->rec.value || r == f->rec.value2;
    }
    cg->held |= BIT(XMM(d));
    cg->unchecked |= BIT(XMM(d));
}
/* A free temporary that the checks have no use for. */
static unsigned high_temp(const struct codegen *cg) {
    regset free = cg->xmm_temps & XMM_HIGH_TEMPS & ~cg->busy & ~cg->held & ~cg->locked;
    return free ? (unsigned)__builtin_ctzll(free) : NO_REG;
}
/* The register for the result; operands in it (in->a, b, c are done) move away. */
static unsigned fp_result_late(struct codegen *cg, const struct ir_inst *in, bool clean, unsigned op[3]) {
    done(cg);
    if (!clean) {
        cg->v[cg->at].dirty = (uint8_t)fp_bytes(in);
        cg->v[cg->at].target = NO_REG;
    }
    unsigned pin = cg->v[cg->at].target;
    if (pin != NO_REG && !cg->reg_head[pin] && (cg->held | cg->locked) >> pin & 1) {
        unsigned t = xmm(scratch(cg, high_temp(cg) == NO_REG ? XMM_CLASS : BIT(high_temp(cg))));
        asm_vmov_rr(&cg->a, t, xmm(pin));
        for (unsigned k = 0; k < 3; k++)
            op[k] = op[k] == xmm(pin) ? t : op[k];
        if (cg->held >> pin & 1)
            held_renamed(cg, pin, XMM(t));
        cg->locked &= ~BIT(pin);
    }
    if (cg->v[cg->at].target != NO_REG && cg->locked >> cg->v[cg->at].target & 1)
        cg->v[cg->at].target = NO_REG;
    return xmm(def(cg, high_temp(cg)));
}

static bool is_deferred(const struct codegen *cg, const struct ir_inst *in) {
    return !partial(in) && cg->fp_ops < MAX_FP_OPS && cg->fp_calls < MAX_FP_CALLS - 2 * MAX_FP_OPS &&
           fp_supported(cg, in);
}
static bool unchecked_value(const struct codegen *cg, irv v) {
    return v && cg->v[v].reg != NO_REG && cg->unchecked >> cg->v[v].reg & 1;
}
/* Temporaries below XMM16 that a scalar operation may take, and one for the check. */
static unsigned temps_needed(const struct codegen *cg, const struct ir_inst *in) {
    const irv op[3] = {in->a, in->b, in->c};
    regset high = cg->xmm_temps & XMM_HIGH_TEMPS & ~cg->held & ~cg->busy;
    unsigned n = (high & (high - 1) ? 1u : 3u) + (in->n > 1); /* two of several lanes */
    for (unsigned k = 0; k < 3; k++) {
        unsigned reg = op[k] ? cg->v[op[k]].reg : XMM(8);
        n += reg == NO_REG || BIT(reg) & XMM_LOW_TEMPS & ~cg->held;
    }
    return n;
}
static bool put_may_wait(const struct codegen *cg, const struct ir_inst *in) {
    const struct value *val = &cg->v[in->a];
    unsigned type = inst_of(cg, in->a)->type, pin = pin_at(cg, in->imm);
    if (type == IR_FLAGS)
        return false;
    if (type != IR_V128)
        return pin == NO_REG || pin < 16;
    return !unchecked_value(cg, in->a) || val->reg == pin ||
           (pin != NO_REG && BIT(val->reg) & cg->xmm_temps); /* the copy is the only one then */
}
bool fp_may_wait(const struct codegen *cg, const struct ir_inst *in) {
    unsigned free = 0;
    for (regset m = XMM_LOW_TEMPS & ~cg->held; m; m &= m - 1)
        free++;
    if (free < 3)
        return false;
    switch (in->op) {
    case IR_INSN:
    case IR_CONST:
    case IR_PC:
    case IR_VCONST: return true;
    case IR_LD: return cg->fp_calls < MAX_FP_CALLS - 2 * MAX_FP_OPS;
    case IR_ST: return cg->fp_calls < MAX_FP_CALLS - 2 * MAX_FP_OPS && !unchecked_value(cg, in->b);
    case IR_GET: {
        unsigned pin = pin_at(cg, in->imm);
        return pin == NO_REG || in->type == IR_V128 || !(cg->unchecked >> pin & 1);
    }
    case IR_PUT: return put_may_wait(cg, in);
    case IR_VFADD:
    case IR_VFSUB:
    case IR_VFMUL:
    case IR_VFDIV:
    case IR_VFSQRT:
    case IR_VFMA: /* of one format: half a NaN that is not right yet may be a number to signal something for */
        return is_deferred(cg, in) && in->lane == cg->fp_op[0].lane && in->n == cg->fp_op[0].n &&
               free >= temps_needed(cg, in);
    default: return in->op >= IR_ADD && in->op <= IR_EXTR;
    }
}

/* Goes to the stub unless both registers hold results that are right. */
static void check_pair(struct codegen *cg, struct stub *s, unsigned x, unsigned y, unsigned t, unsigned g) {
    struct asm_buf *a = &cg->a;
    bool dbl = s->lane == 3;
    if (dbl)
        rr(cg, ASM_OP(1, 1, 0x14), t, x, y); /* vunpcklpd */
    else                                     /* vinsertps: nothing of what is above them, which might signal */
        asm_vex_rri(a, ASM_OP(1, 3, 0x21), t, x, y, 0x1c);
    asm_vex_rm(a, VANDPS, t, t, dbl ? K(abs64) : K(abs32));
    asm_vex_rmi(a, ASM_OP(dbl, 1, 0xc2), t, t, dbl ? K(min64) : K(min32), PRED_EQ_UQ);
    rr(cg, ASM_OP(dbl, 1, 0x50), g, 0, t); /* vmovmskps, vmovmskpd */
    asm_test_ri(a, false, g, 3);
    asm_jcc(a, ASM_NE, &s->slow);
}
static void check_scalars(struct codegen *cg, struct stub *s, unsigned t, unsigned g) {
    unsigned tiny = NO_REG, nan = NO_REG; /* waiting for a partner */
    for (unsigned i = 0; i < cg->fp_ops; i++) {
        const struct fp_op *f = &cg->fp_op[i];
        unsigned d = xmm(f->rec.dst);
        unsigned *other = f->tiny ? &tiny : &nan;
        if (f->covered && !f->tiny)
            continue;
        if (*other == NO_REG) {
            *other = d;
            continue;
        }
        if (f->tiny) {
            check_pair(cg, s, *other, d, t, g);
        } else {
            rr(cg, fp_ucomis(s->lane), *other, 0, d);
            asm_jcc(&cg->a, ASM_P, &s->slow);
        }
        *other = NO_REG;
    }
    if (tiny != NO_REG && nan != NO_REG)
        check_pair(cg, s, tiny, nan, t, g);
    else if (tiny != NO_REG)
        fp_check_result(cg, s, tiny, t);
    else if (nan != NO_REG)
        fp_check_nan(cg, s, nan, t);
}
/* t, or after the first time t together with u, has the lanes that are wrong: of one result ... */
static void mark_wrong(struct codegen *cg, const struct stub *s, unsigned d, unsigned t, unsigned u, bool first) {
    unsigned r = first ? t : u;
    asm_vex_rm(&cg->a, VANDPS, r, d, s->lane == 3 ? K(abs64) : K(abs32));
    asm_vex_rmi(&cg->a, fp_op(0xc2, s->lane, s->n), r, r, s->lane == 3 ? K(min64) : K(min32), PRED_EQ_UQ);
    if (!first)
        rr(cg, VORPS, t, t, u);
}
/* ... or, NaNs only, of two that have no more than one register without a VEX encoding. */
static void mark_nans(struct codegen *cg, const struct stub *s, unsigned x, unsigned y, unsigned t, unsigned u,
                      bool first) {
    unsigned r = first ? t : u, high = x > 15 ? x : y;
    if (high > 15) {
        asm_vmov_rr(&cg->a, r, high);
        x = x == high ? r : x;
        y = y == high ? r : y;
    }
    asm_vex_rri(&cg->a, fp_op(0xc2, s->lane, s->n), r, x, y, PRED_UNORD);
    if (!first)
        rr(cg, VORPS, t, t, u);
}
static void check_vectors(struct codegen *cg, struct stub *s, unsigned t, unsigned g) {
    unsigned u = scratch_x(cg), nan = NO_REG; /* waits for a partner */
    bool first = true;
    for (unsigned i = 0; i < cg->fp_ops; i++) {
        const struct fp_op *f = &cg->fp_op[i];
        unsigned d = xmm(f->rec.dst);
        if (f->covered && !f->tiny)
            continue;
        if (f->tiny || (nan != NO_REG && nan > 15 && d > 15)) {
            mark_wrong(cg, s, d, t, u, first);
        } else if (nan == NO_REG) {
            nan = d;
            continue;
        } else {
            mark_nans(cg, s, nan, d, t, u, first);
            nan = NO_REG;
        }
        first = false;
    }
    if (nan != NO_REG)
        mark_nans(cg, s, nan, nan, t, u, first);
    s->mask = (uint8_t)g;
    fail_if_any(cg, s, t);
}
void fp_flush(struct codegen *cg) {
    regset locked = cg->locked;
    flags_clobber(cg);
    struct stub *s = stub_new(cg, STUB_FP_GROUP);
    s->lane = cg->fp_op[0].lane;
    s->n = cg->fp_op[0].n;
    unsigned t = scratch_x(cg), g = cg->fp_ops > 1 || s->n > 1 ? scratch(cg, GPR_CLASS) : 0;
    fp_note(cg, s);
    (s->n == 1 ? check_scalars : check_vectors)(cg, s, t, g);
    s->back = asm_pos(&cg->a);
    cg->locked = locked;
    cg->held = cg->unchecked = 0;
    cg->fp_ops = 0;
}

/* --- arithmetic
 * ------------------------------------------------------------------------------------------------------------ */
static void binary_late(struct codegen *cg, const struct ir_inst *in, unsigned opcode, bool tiny, fp_fn *fn) {
    if (!cg->held)
        flags_clobber(cg);
    unsigned op[3] = {first_operand(cg, in), fp_operand(cg, in, in->b), NO_REG};
    bool clean = first_clean(cg, in), swap = false;
    if (!clean && opcode <= 0x59) /* add and multiply commute, but for NaNs, and these are softfp's */
        swap = clean = fp_clean(cg, in, in->b);
    unsigned d = fp_result_late(cg, in, clean, op);
    rr(cg, fp_op(opcode, in->lane, in->n), d, op[swap], op[!swap]);
    fp_defer(cg, in, fn, tiny, op, d);
}
static void binary(struct codegen *cg, const struct ir_inst *in, unsigned opcode, bool rounds, fp_fn *fn) {
    bool tiny = may_be_tiny(cg, rounds);
    if (!fp_supported(cg, in)) {
        fp_soft_vector(cg, in, fn);
        return;
    }
    if (is_deferred(cg, in)) {
        binary_late(cg, in, opcode, tiny, fn);
        return;
    }
    flags_clobber(cg);
    unsigned x = first_operand(cg, in), y = fp_operand(cg, in, in->b), t = tiny || in->n > 1 ? scratch_x(cg) : 0;
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fn);
    s->rec.base = (uint8_t)XMM(x);
    s->rec.value = (uint8_t)XMM(y);
    unsigned d = fp_result(cg, in, first_clean(cg, in));
    if (opcode == 0x5e && partial(in)) { /* 0 / 1 in the upper half: 0, and no status */
        asm_vex_rm(&cg->a, VORPS, d, y, K(one32hi));
        rr(cg, fp_op(opcode, in->lane, in->n), d, x, d);
    } else {
        rr(cg, fp_op(opcode, in->lane, in->n), d, x, y);
    }
    if (opcode == 0x5c && partial(in)) /* 0 - 0 in the upper half is -0 when rounding down */
        rr(cg, VMOVQ, d, 0, d);
    (tiny ? fp_check_result : fp_check_nan)(cg, s, d, t);
    fp_end(cg, s, XMM(d));
}
void emit_VFADD(struct codegen *cg, const struct ir_inst *in) { binary(cg, in, 0x58, false, fp_add); }
void emit_VFSUB(struct codegen *cg, const struct ir_inst *in) { binary(cg, in, 0x5c, false, fp_sub); }
void emit_VFMUL(struct codegen *cg, const struct ir_inst *in) { binary(cg, in, 0x59, true, fp_mul); }
void emit_VFDIV(struct codegen *cg, const struct ir_inst *in) { binary(cg, in, 0x5e, true, fp_div); }

void emit_VFSQRT(struct codegen *cg, const struct ir_inst *in) {
    if (!fp_supported(cg, in)) {
        fp_soft_vector(cg, in, fp_sqrt);
        return;
    }
    if (!cg->held)
        flags_clobber(cg);
    if (is_deferred(cg, in)) {
        unsigned op[3] = {first_operand(cg, in), NO_REG, NO_REG};
        unsigned d = fp_result_late(cg, in, first_clean(cg, in), op);
        rr(cg, fp_op(0x51, in->lane, in->n), d, in->n == 1 ? op[0] : 0, op[0]);
        fp_defer(cg, in, fp_sqrt, false, op, d);
        return;
    }
    unsigned x = first_operand(cg, in), t = in->n > 1 ? scratch_x(cg) : 0;
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fp_sqrt);
    s->rec.base = (uint8_t)XMM(x);
    unsigned d = fp_result(cg, in, first_clean(cg, in));
    rr(cg, fp_op(0x51, in->lane, in->n), d, in->n == 1 ? x : 0, x);
    fp_check_nan(cg, s, d, t);
    fp_end(cg, s, XMM(d));
}

/* d = x + y * z. A factor that is zero above, if the addend is not, is the operand whose upper part the result gets. */
static void fma_emit(struct codegen *cg, const struct ir_inst *in, unsigned d, const unsigned op[3], bool factor,
                     bool copy) {
    uint32_t opcode = ASM_OP(1, 2, in->n == 1 ? 0xb9 : 0xb8) | (in->lane == 3 ? ASM_W : 0); /* vfmadd231: d + y * z */
    if (copy) /* else that operand is in d, too */
        asm_vmov_rr(&cg->a, d, op[factor]);
    rr(cg, factor ? opcode - 0x10 : opcode, d, op[1 + factor], op[factor ? 0 : 2]); /* vfmadd213: z * d + x */
}
void emit_VFMA(struct codegen *cg, const struct ir_inst *in) {
    if (!fp_supported(cg, in)) {
        fp_soft_vector(cg, in, fp_fma);
        return;
    }
    if (!cg->held)
        flags_clobber(cg);
    unsigned op[3] = {first_operand(cg, in), fp_operand(cg, in, in->b), fp_operand(cg, in, in->c)};
    bool clean = first_clean(cg, in), factor = !clean && fp_clean(cg, in, in->b);
    if (is_deferred(cg, in)) {
        unsigned first = op[factor], d = fp_result_late(cg, in, clean || factor, op);
        fma_emit(cg, in, d, op, factor, d != first);
        fp_defer(cg, in, fp_fma, may_be_tiny(cg, true), op, d);
        return;
    }
    unsigned t = scratch_x(cg);
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fp_fma);
    s->rec.base = (uint8_t)XMM(op[0]);
    s->rec.value = (uint8_t)XMM(op[1]);
    s->rec.value2 = (uint8_t)XMM(op[2]);
    unsigned d = fp_result(cg, in, clean || factor);
    fma_emit(cg, in, d, op, factor, true);
    fp_check_result(cg, s, d, t);
    fp_end(cg, s, XMM(d));
}

/* MAX and MIN: the host returns its second operand if they are equal; of zeros, AND (OR) of both gives Arm's sign. */
static void min_max(struct codegen *cg, const struct ir_inst *in, unsigned opcode, fp_fn *fn) {
    if (!fp_supported(cg, in)) {
        fp_soft_vector(cg, in, fn);
        return;
    }
    flags_clobber(cg);
    unsigned x = fp_operand(cg, in, in->a), y = fp_operand(cg, in, in->b), t = scratch_x(cg);
    if (in->n > 1) {
        x = low_x(cg, x);
        y = low_x(cg, y);
    }
    struct stub *s = fp_stub(cg, in, (const void *)(uintptr_t)fn);
    s->rec.base = (uint8_t)XMM(x);
    s->rec.value = (uint8_t)XMM(y);
    unsigned d = fp_result(cg, in, fp_clean(cg, in, in->a) && fp_clean(cg, in, in->b));
    if (in->n == 1) { /* before the operation, which would signal quiet NaNs */
        rr(cg, fp_ucomis(in->lane), x, 0, y);
        asm_jcc(&cg->a, ASM_P, &s->slow);
    } else {
        asm_vex_rri(&cg->a, fp_op(0xc2, in->lane, in->n), t, x, y, PRED_UNORD);
        fail_if_any(cg, s, t);
    }
    rr(cg, fp_op(opcode, in->lane, in->n), d, x, y);
    rr(cg, fp_op(opcode, in->lane, in->n), t, y, x);
    rr(cg, opcode == 0x5f ? VANDPS : VORPS, d, d, t);
    fp_end(cg, s, XMM(d));
}
void emit_VFMAX(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, 0x5f, fp_max); }
void emit_VFMIN(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, 0x5d, fp_min); }
void emit_VFMAXNM(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, 0x5f, fp_maxnm); }
void emit_VFMINNM(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, 0x5d, fp_minnm); }

/* --- comparison
 * -------------------------------------------------------------------------------------------------------------- */
static void compare(struct codegen *cg, const struct ir_inst *in, unsigned pred, fp_fn *fn) {
    if (!fp_supported(cg, in)) {
        fp_soft_vector(cg, in, fn);
        return;
    }
    unsigned x = low_x(cg, fp_operand(cg, in, in->a)), y = low_x(cg, fp_operand(cg, in, in->b));
    bool clean = fp_clean(cg, in, in->a);
    if (cg->v[cg->at].target >= XMM(16))
        cg->v[cg->at].target = NO_REG;
    unsigned d = fp_result(cg, in, clean), t = d < 16 ? d : scratch_x(cg); /* VCMPPS has a VEX form only */
    asm_vex_rri(&cg->a, fp_op(0xc2, in->lane, in->n), t, x, y, pred);
    if (partial(in)) /* 0 == 0 and 0 >= 0 in the upper half */
        rr(cg, VMOVQ, d, 0, t);
    else if (t != d)
        asm_vmov_rr(&cg->a, d, t);
}
void emit_VFCMPEQ(struct codegen *cg, const struct ir_inst *in) { compare(cg, in, PRED_EQ, fp_cmpeq); }
void emit_VFCMPGE(struct codegen *cg, const struct ir_inst *in) { compare(cg, in, PRED_GE_OS, fp_cmpge); }
void emit_VFCMPGT(struct codegen *cg, const struct ir_inst *in) { compare(cg, in, PRED_GT_OS, fp_cmpgt); }

/* Does a consumer want a condition that only the swapped comparison has? */
static bool wants_swap(const struct codegen *cg) {
    for (unsigned j = cg->at + 1, left = 16; j < cg->b->count && left; j++, left--) {
        const struct ir_inst *in = &cg->b->inst[j];
        if (in->op == IR_COND && in->a == cg->at) {
            return in->cc == IR_MI || in->cc == IR_PL || in->cc == IR_LS || in->cc == IR_HI || in->cc == IR_CS ||
                   in->cc == IR_CC;
        }
    }
    return false;
}
void emit_FCMP_FLAGS(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    flags_clobber(cg);
    if (cg->b->flags & IR_BLOCK_SOFTFP || in->lane < 2) {
        asm_vmov_mr(a, vscratch(1), use_v(cg, in->a));
        asm_vmov_mr(a, vscratch(2), use_v(cg, in->b));
        cg->locked = 0;
        done(cg);
        spill_temps(cg);
        vscratch_arg(cg, ASM_RSI, 1);
        vscratch_arg(cg, ASM_RDX, 2);
        asm_mov_ri(a, ASM_RCX, desc_of(cg, in));
        call_helper(cg, cg->call_pure, (const void *)(uintptr_t)fp_compare);
        asm_shift_ri(a, ASM_SHR, false, ASM_RAX, 28);
        asm_mov_ri(a, ASM_RCX, IR_FLAG_N | IR_FLAG_Z | IR_FLAG_C | IR_FLAG_V);
        asm_vex_rr(a, ASM_OP(3, 2, 0xf5), ASM_RAX, ASM_RAX, ASM_RCX); /* pdep */
        def_in(cg, (irv)cg->at, ASM_RAX);
        return;
    }
    unsigned x = xmm(use_low(cg, in->a, fp_bytes(in))), y = xmm(use_low(cg, in->b, fp_bytes(in)));
    bool swap = wants_swap(cg);
    done(cg);
    rr(cg, fp_ucomis(in->lane) + (in->flags & IR_FP_SIGNAL ? 1 : 0), swap ? y : x, 0, swap ? x : y); /* 2F: vcomis */
    flags_set(cg, (irv)cg->at, swap ? FLAGS_FCMP_SWAPPED : FLAGS_FCMP);
}
