/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_mem.c: loads and stores of integer registers, load-reserved and store-conditional, atomic memory operations. */
#include "guests/rv64/system.h"

#include "rv64_decode.h"

#define EXCL_ADDR offsetof(struct cpu, excl_addr)
#define EXCL_VAL offsetof(struct cpu, excl_val)

bool trans_LOAD(struct rv64_trans *t, const struct arg_LOAD *a) {
    bool zero_extended = a->size & 4;
    int32_t disp = (int32_t)rv64_imm_i(t->insn);
    rv64_put(t, a->rd,
             ir_ld(t->b, IR_I64, a->size & 3, rv64_get(t, a->rs1), disp, rv64_trans_regime(t),
                   zero_extended ? 0 : IR_MEM_SEXT));
    return true;
}

bool trans_STORE(struct rv64_trans *t, const struct arg_STORE *a) {
    int32_t disp = (int32_t)rv64_imm_s(t->insn);
    ir_st(t->b, a->size, rv64_get(t, a->rs1), disp, rv64_get(t, a->rs2), rv64_trans_regime(t), 0);
    return true;
}

/* --- A ---------------------------------------------------------------------------------------- */

static unsigned order(bool acquire, bool release) {
    return IR_MEM_ALIGN | (acquire ? IR_MEM_ACQUIRE : 0) | (release ? IR_MEM_RELEASE : 0);
}

/* put_old(): what was in memory, of 4 or 8 bytes. */
static void put_old(struct rv64_trans *t, unsigned rd, bool d, irv old) {
    rv64_put(t, rd, d ? old : ir_op1(t->b, IR_TRUNC, old));
}

/* The reservation is the address and the value read. */
bool trans_LR(struct rv64_trans *t, const struct arg_LR *a) {
    struct ir_block *b = t->b;
    irv base = rv64_get(t, a->rs1);
    irv v = ir_ld(b, IR_I64, 2 + a->d, base, 0, rv64_trans_regime(t), order(a->aq, false));
    ir_put(b, EXCL_ADDR, base);
    ir_put(b, EXCL_VAL, v);
    put_old(t, a->rd, a->d, v);
    return true;
}

bool trans_SC(struct rv64_trans *t, const struct arg_SC *a) {
    irv failed =
        ir_stx(t->b, 2 + a->d, rv64_get(t, a->rs1), rv64_get(t, a->rs2), rv64_trans_regime(t), order(a->aq, a->rl));
    rv64_put(t, a->rd, ir_op1(t->b, IR_ZEXT32, failed));
    return true;
}

static bool amo(struct rv64_trans *t, enum ir_atomic kind, bool d, bool aq, bool rl, unsigned rd, unsigned rs1, irv v) {
    put_old(t, rd, d, ir_atomic(t->b, kind, 2 + d, rv64_get(t, rs1), v, rv64_trans_regime(t), order(aq, rl)));
    return true;
}

#define ROW_AMO(name, kind)                                                                                            \
    bool trans_##name(struct rv64_trans *t, const struct arg_##name *a) {                                              \
        return amo(t, kind, a->d, a->aq, a->rl, a->rd, a->rs1, rv64_get(t, a->rs2));                                   \
    }
ROW_AMO(AMOSWAP, IR_ATOMIC_SWP)
ROW_AMO(AMOADD, IR_ATOMIC_ADD)
ROW_AMO(AMOXOR, IR_ATOMIC_XOR)
ROW_AMO(AMOOR, IR_ATOMIC_OR)

bool trans_AMOAND(struct rv64_trans *t, const struct arg_AMOAND *a) {
    irv clear = ir_op1(t->b, IR_NOT, rv64_get(t, a->rs2));
    return amo(t, IR_ATOMIC_CLR, a->d, a->aq, a->rl, a->rd, a->rs1, clear);
}

bool trans_AMOMINMAX(struct rv64_trans *t, const struct arg_AMOMINMAX *a) {
    static const enum ir_atomic kinds[2][2] = {{IR_ATOMIC_SMIN, IR_ATOMIC_SMAX}, {IR_ATOMIC_UMIN, IR_ATOMIC_UMAX}};
    return amo(t, kinds[a->u][a->max], a->d, a->aq, a->rl, a->rd, a->rs1, rv64_get(t, a->rs2));
}

/* --- Zacas ------------------------------------------------------------------------------------ */

bool trans_AMOCAS(struct rv64_trans *t, const struct arg_AMOCAS *a) {
    irv expected = rv64_get(t, a->rd), value = rv64_get(t, a->rs2);
    irv old = ir_cas(t->b, 2 + a->d, rv64_get(t, a->rs1), expected, value, rv64_trans_regime(t), order(a->aq, a->rl));
    put_old(t, a->rd, a->d, old);
    return true;
}

/* A pair of registers; that of x0 reads as 0 as a whole. */
static void read_pair(const struct rv64_cpu *c, unsigned n, uint64_t v[2]) {
    v[0] = rv64_x(c, n);
    v[1] = n ? c->x[n + 1] : 0;
}

#define CAS_DESC(rd, rs2) ((rd) | (rs2) << 5)
static uint64_t rv64_helper_cas_16(struct cpu *cpu, uint64_t va, uint64_t desc, uint64_t unused) {
    struct rv64_cpu *c = rv64(cpu);
    unsigned rd = desc & 30;
    struct mem_rmw r = {.kind = MEM_RMW_CAS, .size = 4, .regime = rv64_data_regime(cpu)};
    if (va & 15)
        cpu->guest->align_fault(cpu, va, MMU_WRITE);
    read_pair(c, rd, r.old.u64);
    read_pair(c, desc >> 5 & 30, r.value.u64);
    mem_rmw(cpu, va, &r);
    if (rd) {
        c->x[rd] = r.old.u64[0];
        c->x[rd + 1] = r.old.u64[1];
    }
    return 0;
}
IR_HELPER(rv64_helper_cas_16, IR_HELPER_STATE);

bool trans_AMOCAS_Q(struct rv64_trans *t, const struct arg_AMOCAS_Q *a) {
    if ((a->rd | a->rs2) & 1)
        return false;
    ir_call(t->b, IR_NONE, &helper_rv64_helper_cas_16, rv64_get(t, a->rs1), rv64_imm(t, CAS_DESC(a->rd, a->rs2)), 0);
    return true;
}

/* --- cache blocks: Zicbom, Zicboz (Zicbop's are ORI to x0) ------------------------------------ */
IR_HELPER(rv64_helper_cbo, IR_HELPER_STATE);

bool trans_CBO(struct rv64_trans *t, const struct arg_CBO *a) {
    ir_call(t->b, IR_NONE, &helper_rv64_helper_cbo, rv64_get(t, a->rs1), rv64_imm(t, a->op), rv64_imm(t, t->encoding));
    return true;
}

/* --- fences ----------------------------------------------------------------------------------- */

bool trans_FENCE(struct rv64_trans *t, const struct arg_FENCE *a) {
    enum { W = 1, R = 2, O = 4, I = 8, TSO = 8 };
    /* Writes before reads is the one order that a fence of another kind does not keep; PAUSE has no successors. */
    bool full = a->pred & (W | O) && a->succ & (R | I) && a->fm != TSO;
    ir_fence(t->b, full ? IR_FENCE_FULL : IR_FENCE_LOAD);
    return true;
}
