/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_system.c: exceptions, CSRs, privileged instructions. */
#include "guests/rv64/system.h"

#include "rv64_decode.h"

IR_HELPER(rv64_helper_sret, IR_HELPER_STATE);
IR_HELPER(rv64_helper_mret, IR_HELPER_STATE);
IR_HELPER(rv64_helper_ecall, IR_HELPER_STATE);
IR_HELPER(rv64_helper_wfi, IR_HELPER_STATE);
IR_HELPER(rv64_helper_csr, IR_HELPER_STATE);
IR_HELPER(rv64_helper_check, IR_HELPER_STATE);
IR_HELPER(rv64_helper_sfence, IR_HELPER_STATE);
IR_HELPER(rv64_helper_fence_i, IR_HELPER_STATE);

/* at_next(): what follows finds the next instruction's pc in the state. */
static void at_next(struct rv64_trans *t) { ir_insn_pc(t->b, t->pc + t->len, t->encoding); }

bool trans_ECALL(struct rv64_trans *t, const struct arg_ECALL *a) {
    if (rv64_trans_privilege(t) != RV64_PRIV_S) {
        rv64_emit_raise(t, rv64_in_u(t) ? RV64_ECALL_U : RV64_ECALL_M, 0);
        return true;
    }
    at_next(t);
    ir_call(t->b, IR_NONE, &helper_rv64_helper_ecall, 0, 0, 0);
    rv64_end(t);
    return true;
}

bool trans_EBREAK(struct rv64_trans *t, const struct arg_EBREAK *a) {
    rv64_emit_raise(t, RV64_BREAKPOINT, t->pc);
    return true;
}

static bool go_back(struct rv64_trans *t, const struct ir_helper *helper, enum rv64_privilege least) {
    if (rv64_trans_privilege(t) < least)
        return false;
    ir_call(t->b, IR_NONE, helper, rv64_imm(t, t->encoding), 0, 0);
    ir_exit(t->b);
    t->done = true;
    return true;
}

bool trans_SRET(struct rv64_trans *t, const struct arg_SRET *a) {
    return go_back(t, &helper_rv64_helper_sret, RV64_PRIV_S);
}

bool trans_MRET(struct rv64_trans *t, const struct arg_MRET *a) {
    return go_back(t, &helper_rv64_helper_mret, RV64_PRIV_M);
}

bool trans_WFI(struct rv64_trans *t, const struct arg_WFI *a) {
    if (rv64_in_u(t)) /* it does not end in a bounded time */
        return false;
    at_next(t);
    ir_call(t->b, IR_NONE, &helper_rv64_helper_wfi, rv64_imm(t, t->encoding), rv64_imm(t, t->len), 0);
    rv64_end(t);
    return true;
}

/* A wait for a reservation set may end at any time (Zawrs). */
bool trans_WRS(struct rv64_trans *t, const struct arg_WRS *a) { return true; }

static bool sfence(struct rv64_trans *t, unsigned rs1, unsigned rs2) {
    if (rv64_in_u(t))
        return false;
    uint32_t desc = (t->encoding & ~3u) | (rs1 ? 1 : 0) | (rs2 ? 2 : 0);
    ir_call(t->b, IR_NONE, &helper_rv64_helper_sfence, rv64_get(t, rs1), rv64_get(t, rs2), rv64_imm(t, desc));
    rv64_end(t);
    return true;
}

bool trans_SFENCE_VMA(struct rv64_trans *t, const struct arg_SFENCE_VMA *a) { return sfence(t, a->rs1, a->rs2); }

/* Svinval: an invalidation that is complete at once is one that is complete at its fence. */
bool trans_SINVAL_VMA(struct rv64_trans *t, const struct arg_SINVAL_VMA *a) { return sfence(t, a->rs1, a->rs2); }

bool trans_SFENCE_W(struct rv64_trans *t, const struct arg_SFENCE_W *a) {
    if (rv64_in_u(t))
        return false;
    ir_fence(t->b, IR_FENCE_FULL);
    return true;
}

bool trans_SFENCE_IR(struct rv64_trans *t, const struct arg_SFENCE_IR *a) { return !rv64_in_u(t); }

bool trans_FENCE_I(struct rv64_trans *t, const struct arg_FENCE_I *a) {
    ir_call(t->b, IR_NONE, &helper_rv64_helper_fence_i, 0, 0, 0);
    rv64_end(t);
    return true;
}

/* --- CSRs ----------------------------------------------------------------------------------------- */

/* Registers of S-mode and M-mode that hold any value, and matter to nothing before they are used. */
static size_t plain_register(unsigned csr) {
    switch (csr) {
    case RV64_CSR_SSCRATCH: return offsetof(struct rv64_cpu, sscratch);
    case RV64_CSR_SCAUSE: return offsetof(struct rv64_cpu, scause);
    case RV64_CSR_STVAL: return offsetof(struct rv64_cpu, stval);
    case RV64_CSR_MSCRATCH: return offsetof(struct rv64_cpu, mscratch);
    case RV64_CSR_MCAUSE: return offsetof(struct rv64_cpu, mcause);
    case RV64_CSR_MTVAL: return offsetof(struct rv64_cpu, mtval);
    default: return 0;
    }
}

enum { CSRRW = 1, CSRRS, CSRRC };

static irv combine(struct rv64_trans *t, unsigned op, irv old, irv operand) {
    return op == CSRRW ? operand : ir_op2(t->b, op == CSRRS ? IR_OR : IR_ANDN, old, operand);
}

/* SIE set or cleared by an immediate: what kernels do most. */
static void interrupt_enable(struct rv64_trans *t, unsigned op) {
    struct ir_block *b = t->b;
    irv old = ir_get(b, IR_I64, RV64_MSTATUS);
    ir_put(b, RV64_MSTATUS, combine(t, op, old, rv64_imm(t, SSTATUS_SIE)));
    if (op != CSRRS)
        return;
    irv pending = ir_op2(b, IR_AND, ir_get(b, IR_I64, offsetof(struct rv64_cpu, mip)),
                         ir_get(b, IR_I64, offsetof(struct rv64_cpu, mie)));
    ir_exit_if(b, ir_cmp(b, IR_CMP_EQ, pending, rv64_imm(t, 0)), t->pc + t->len);
    at_next(t);
    ir_call(b, IR_NONE, &helper_rv64_helper_check, 0, 0, 0);
    rv64_end(t);
}

bool trans_CSR(struct rv64_trans *t, const struct arg_CSR *a) {
    struct ir_block *b = t->b;
    bool writes = a->op == CSRRW || a->rs1;
    size_t plain = rv64_trans_privilege(t) < (a->csr >> 8 & 3) ? 0 : plain_register(a->csr);
    irv operand = a->imm ? rv64_imm(t, a->rs1) : rv64_get(t, a->rs1);
    if (plain) {
        irv old = ir_get(b, IR_I64, plain);
        if (writes)
            ir_put(b, plain, combine(t, a->op, old, operand));
        rv64_put(t, a->rd, old);
        return true;
    }
    if (!rv64_in_u(t) && a->csr == RV64_CSR_SSTATUS && a->op != CSRRW && a->imm && a->rs1 == SSTATUS_SIE && !a->rd) {
        interrupt_enable(t, a->op);
        return true;
    }
    /* What a call computes is put before the block is left, and an exception in it leaves rd alone. */
    irv old = ir_call(b, IR_I64, &helper_rv64_helper_csr, rv64_imm(t, RV64_CSR_DESC(a->csr, a->op, writes, a->imm)),
                      operand, rv64_imm(t, t->encoding));
    rv64_put(t, a->rd, old);
    if (writes)
        rv64_end(t);
    return true;
}
