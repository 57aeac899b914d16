/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_atomic.c: exclusives, acquire and release, and the Large System Extensions. All must be naturally aligned. */
#include "guests/a64/a64.h"

#include "a64_decode.h"

#define EXCL_ADDR offsetof(struct cpu, excl_addr)
#define EXCL_VAL(n) (offsetof(struct cpu, excl_val) + 8 * (size_t)(n))

static unsigned order(bool acquire, bool release) {
    return IR_MEM_ALIGN | (acquire ? IR_MEM_ACQUIRE : 0) | (release ? IR_MEM_RELEASE : 0);
}

/* --- exclusives: the monitor is the address and the value read -------------------------------- */

bool trans_LDXR(struct a64_trans *t, const struct arg_LDXR *a) {
    struct ir_block *b = t->b;
    irv base = a64_base(t, a->rn);
    irv v = ir_ld(b, IR_I64, a->size, base, 0, a64_trans_regime(t), order(a->o0, false));
    ir_put(b, EXCL_ADDR, base);
    ir_put(b, EXCL_VAL(0), v);
    a64_put_x(t, a->rt, v);
    return true;
}

bool trans_STXR(struct a64_trans *t, const struct arg_STXR *a) {
    irv base = a64_base(t, a->rn);
    irv failed = ir_stx(t->b, a->size, base, a64_get_x(t, a->rt, true), a64_trans_regime(t), order(false, a->o0));
    a64_put_x(t, a->rs, ir_op1(t->b, IR_ZEXT32, failed));
    return true;
}

bool trans_LDXP(struct a64_trans *t, const struct arg_LDXP *a) {
    struct ir_block *b = t->b;
    irv base = a64_base(t, a->rn);
    unsigned flags = order(a->o0, false);
    irv lo, hi;
    if (a->sz) {
        irv pair = ir_ld(b, IR_V128, 4, base, 0, a64_trans_regime(t), flags);
        lo = ir_vop1(b, IR_VGET, 3, pair, 0);
        hi = ir_vop1(b, IR_VGET, 3, pair, 1);
        ir_put(b, EXCL_VAL(1), hi);
        ir_put(b, EXCL_VAL(0), lo);
    } else {
        irv pair = ir_ld(b, IR_I64, 3, base, 0, a64_trans_regime(t), flags);
        lo = ir_op1(b, IR_TRUNC, pair);
        hi = ir_op2i(b, IR_SHR, pair, 32);
        ir_put(b, EXCL_VAL(0), pair);
    }
    ir_put(b, EXCL_ADDR, base);
    a64_put_x(t, a->rt, lo);
    a64_put_x(t, a->rt2, hi);
    return true;
}

/* Store-exclusive of 16 bytes: 0 if stored, else 1. */
static uint64_t a64_helper_stxp(struct cpu *cpu, uint64_t va, uint64_t lo, uint64_t hi) {
    bool armed = cpu->excl_addr == va;
    if (va & 15)
        cpu->guest->align_fault(cpu, va, MMU_WRITE);
    cpu->excl_addr = ~UINT64_C(0);
    if (!armed)
        return 1;
    struct mem_rmw r = {.kind = MEM_RMW_EXCLUSIVE,
                        .size = 4,
                        .regime = cpu->regime,
                        .old = {.u64 = {cpu->excl_val[0], cpu->excl_val[1]}},
                        .value = {.u64 = {lo, hi}}};
    return !mem_rmw(cpu, va, &r);
}
IR_HELPER(a64_helper_stxp, IR_HELPER_STATE);

bool trans_STXP(struct a64_trans *t, const struct arg_STXP *a) {
    struct ir_block *b = t->b;
    irv base = a64_base(t, a->rn);
    irv failed;
    if (a->sz) {
        irv lo = a64_get_x(t, a->rt, true), hi = a64_get_x(t, a->rt2, true);
        failed = ir_call(b, IR_I64, &helper_a64_helper_stxp, base, lo, hi);
    } else {
        irv pair = ir_bitfield(b, IR_BFI, a64_get_x(t, a->rt, true), a64_get_x(t, a->rt2, true), 32, 32);
        failed = ir_op1(b, IR_ZEXT32, ir_stx(b, 3, base, pair, a64_trans_regime(t), order(false, a->o0)));
    }
    a64_put_x(t, a->rs, failed);
    return true;
}

/* --- acquire and release ---------------------------------------------------------------------- */

bool trans_LDAR(struct a64_trans *t, const struct arg_LDAR *a) {
    irv base = a64_base(t, a->rn);
    a64_put_x(t, a->rt, ir_ld(t->b, IR_I64, a->size, base, 0, a64_trans_regime(t), order(true, false)));
    return true;
}

bool trans_STLR(struct a64_trans *t, const struct arg_STLR *a) {
    irv base = a64_base(t, a->rn);
    ir_st(t->b, a->size, base, 0, a64_get_x(t, a->rt, true), a64_trans_regime(t), order(false, true));
    return true;
}

/* --- Large System Extensions ------------------------------------------------------------------ */

bool trans_LDOP(struct a64_trans *t, const struct arg_LDOP *a) {
    static const enum ir_atomic kinds[8] = {IR_ATOMIC_ADD,  IR_ATOMIC_CLR,  IR_ATOMIC_XOR,  IR_ATOMIC_OR,
                                            IR_ATOMIC_SMAX, IR_ATOMIC_SMIN, IR_ATOMIC_UMAX, IR_ATOMIC_UMIN};
    irv base = a64_base(t, a->rn);
    irv v = a64_get_x(t, a->rs, true);
    irv old = ir_atomic(t->b, kinds[a->opc], a->size, base, v, a64_trans_regime(t), order(a->A, a->R));
    a64_put_x(t, a->rt, old);
    return true;
}

bool trans_SWP(struct a64_trans *t, const struct arg_SWP *a) {
    irv base = a64_base(t, a->rn);
    irv v = a64_get_x(t, a->rs, true);
    irv old = ir_atomic(t->b, IR_ATOMIC_SWP, a->size, base, v, a64_trans_regime(t), order(a->A, a->R));
    a64_put_x(t, a->rt, old);
    return true;
}

bool trans_CAS(struct a64_trans *t, const struct arg_CAS *a) {
    irv base = a64_base(t, a->rn);
    irv expected = a64_get_x(t, a->rs, true), value = a64_get_x(t, a->rt, true);
    a64_put_x(t, a->rs, ir_cas(t->b, a->size, base, expected, value, a64_trans_regime(t), order(a->L, a->o0)));
    return true;
}

static uint64_t read_x(const struct cpu *cpu, unsigned n) { return n == 31 ? 0 : ((const struct a64_cpu *)cpu)->x[n]; }

static void write_x(struct cpu *cpu, unsigned n, uint64_t v) {
    if (n != 31)
        a64(cpu)->x[n] = v;
}

/* CASP of 16 bytes; registers: rs in bits 4..0, rt in bits 12..8. */
static uint64_t a64_helper_casp(struct cpu *cpu, uint64_t va, uint64_t registers, uint64_t c) {
    unsigned rs = registers & 31, rt = registers >> 8 & 31;
    if (va & 15)
        cpu->guest->align_fault(cpu, va, MMU_READ);
    struct mem_rmw r = {.kind = MEM_RMW_CAS,
                        .size = 4,
                        .regime = cpu->regime,
                        .old = {.u64 = {read_x(cpu, rs), read_x(cpu, rs + 1)}},
                        .value = {.u64 = {read_x(cpu, rt), read_x(cpu, rt + 1)}}};
    mem_rmw(cpu, va, &r);
    write_x(cpu, rs, r.old.u64[0]);
    write_x(cpu, rs + 1, r.old.u64[1]);
    return 0;
}
IR_HELPER(a64_helper_casp, IR_HELPER_STATE);

bool trans_CASP(struct a64_trans *t, const struct arg_CASP *a) {
    struct ir_block *b = t->b;
    if ((a->rs | a->rt) & 1)
        return false;
    irv base = a64_base(t, a->rn);
    if (a->sz) {
        ir_call(b, IR_NONE, &helper_a64_helper_casp, base, ir_const(b, IR_I64, a->rs | a->rt << 8), 0);
        return true;
    }
    irv expected = ir_bitfield(b, IR_BFI, a64_get_x(t, a->rs, true), a64_get_x(t, a->rs + 1, true), 32, 32);
    irv value = ir_bitfield(b, IR_BFI, a64_get_x(t, a->rt, true), a64_get_x(t, a->rt + 1, true), 32, 32);
    irv old = ir_cas(b, 3, base, expected, value, a64_trans_regime(t), order(a->L, a->o0));
    a64_put_x(t, a->rs, ir_op1(b, IR_TRUNC, old));
    a64_put_x(t, a->rs + 1, ir_op2i(b, IR_SHR, old, 32));
    return true;
}
