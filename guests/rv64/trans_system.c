/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_system.c: exceptions, CSRs, privileged instructions. */
#include "guests/rv64/system.h"

#include "rv64_decode.h"

IR_HELPER(rv64_helper_sret, IR_HELPER_STATE);
IR_HELPER(rv64_helper_mret, IR_HELPER_STATE);
IR_HELPER(rv64_helper_ecall, IR_HELPER_STATE);
IR_HELPER(rv64_helper_ebreak, IR_HELPER_STATE);
IR_HELPER(rv64_helper_wfi, IR_HELPER_STATE);
IR_HELPER(rv64_helper_csr, IR_HELPER_STATE);
IR_HELPER(rv64_helper_status, IR_HELPER_STATE);
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
    t->retired = true; /* as after an exception */
    rv64_end(t);
    return true;
}

bool trans_EBREAK(struct rv64_trans *t, const struct arg_EBREAK *a) {
    uint64_t offset = t->pc & PAGE_MASK;
    if (rv64_in_u(t) || t->len != 4 || offset < 4 || offset + 8 > PAGE_SIZE) {
        t->b->flags |= IR_BLOCK_FIXED;
        rv64_emit_raise(t, RV64_BREAKPOINT, t->pc);
        return true;
    }
    ir_call(t->b, IR_NONE, &helper_rv64_helper_ebreak, 0, 0, 0);
    t->retired = true;
    rv64_end(t);
    return true;
}

static bool go_back(struct rv64_trans *t, const struct ir_helper *helper, enum rv64_privilege least) {
    if (rv64_trans_privilege(t) < least)
        return false;
    rv64_retire(t); /* at the level that it is left for another one */
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

/* --- CSRs ------------------------------------------------------------------------------------- */

enum { CSRRW = 1, CSRRS, CSRRC };

/* Registers of S-mode and M-mode that matter to nothing before they are used, and which of their bits can be
 * written. */
static size_t plain_register(unsigned csr, uint64_t *writable) {
    *writable = ~UINT64_C(0);
    switch (csr) {
    case RV64_CSR_SSCRATCH: return offsetof(struct rv64_cpu, sscratch);
    case RV64_CSR_SCAUSE: return offsetof(struct rv64_cpu, scause);
    case RV64_CSR_STVAL: return offsetof(struct rv64_cpu, stval);
    case RV64_CSR_MSCRATCH: return offsetof(struct rv64_cpu, mscratch);
    case RV64_CSR_MCAUSE: return offsetof(struct rv64_cpu, mcause);
    case RV64_CSR_MTVAL: return offsetof(struct rv64_cpu, mtval);
    case RV64_CSR_SEPC: *writable = ~UINT64_C(1); return offsetof(struct rv64_cpu, sepc);
    case RV64_CSR_MEPC: *writable = ~UINT64_C(1); return offsetof(struct rv64_cpu, mepc);
    default: return 0;
    }
}

/* The register's next value: its writable bits as the instruction says, the others as they are. */
static irv combine(struct rv64_trans *t, unsigned op, irv old, irv operand, uint64_t writable) {
    struct ir_block *b = t->b;
    irv bits = ir_op2i(b, IR_AND, operand, writable);
    if (op == CSRRC)
        return ir_op2(b, IR_ANDN, old, bits);
    return ir_op2(b, IR_OR, op == CSRRS ? old : ir_op2i(b, IR_AND, old, ~writable), bits);
}

/* sstatus as it reads: what cannot be written follows from the rest. */
static irv status_seen(struct rv64_trans *t, irv status) {
    struct ir_block *b = t->b;
    irv fs = ir_op2i(b, IR_AND, status, SSTATUS_FS);
    irv dirty = ir_cmp(b, IR_CMP_EQ, fs, rv64_imm(t, SSTATUS_FS));
    irv sd = ir_op2i(b, IR_SHL, ir_op1(b, IR_ZEXT32, dirty), 63);
    return ir_op2(b, IR_OR, ir_op2i(b, IR_OR, status, SSTATUS_UXL), sd);
}

/*
 * A kernel writes sstatus on each of its ways in and out, and to keep interrupts off for a while. Most of that changes
 * nothing that a translation or the view depends on: the block goes on with the next one. No interrupt can become due
 * by clearing bits.
 */
static void write_status(struct rv64_trans *t, const struct arg_CSR *a, irv old, irv operand) {
    struct ir_block *b = t->b;
    irv now = combine(t, a->op, old, operand, SSTATUS_WRITABLE);
    ir_put(b, RV64_SSTATUS, now);
    t->fp_known = t->dirty = false;
    if (a->op == CSRRC && a->imm) /* the low five bits have nothing but SIE */
        return;
    irv matters = ir_op2i(b, IR_AND, ir_op2(b, IR_XOR, old, now), SSTATUS_SUM | SSTATUS_MXR);
    if (a->op != CSRRC) {
        irv pending = ir_get(b, IR_I64, offsetof(struct rv64_cpu, due));
        matters = a->imm ? pending : ir_op2(b, IR_OR, matters, pending);
    }
    rv64_retire(t);
    ir_exit_if(b, ir_cmp(b, IR_CMP_EQ, matters, rv64_imm(t, 0)), t->pc + t->len);
    at_next(t);
    ir_call(b, IR_NONE, &helper_rv64_helper_status, old, 0, 0);
    /* SUM: a kernel is about to copy to or from a user's memory, or has done so. */
    ir_goto_reg(b, ir_pc(b, t->pc + t->len), IR_JUMP_PLAIN);
    t->done = true;
}

/* Accrued exceptions and the rounding mode: only of the latter there are translations. */
static void end_unless_rounding_is_the_same(struct rv64_trans *t) {
    struct ir_block *b = t->b;
    irv frm = ir_get(b, IR_I32, offsetof(struct rv64_cpu, frm));
    rv64_retire(t);
    ir_exit_if(b, ir_cmp(b, IR_CMP_EQ, frm, ir_const(b, IR_I32, RV64_MODE_FRM(t->mode))), t->pc + t->len);
    rv64_end(t);
}

static void other_register(struct rv64_trans *t, const struct arg_CSR *a, bool writes, irv operand) {
    /* What a call computes is put before the block is left, and an exception in it leaves rd alone. */
    irv desc = rv64_imm(t, RV64_CSR_DESC(a->csr, a->op, writes, a->imm));
    rv64_put(t, a->rd, ir_call(t->b, IR_I64, &helper_rv64_helper_csr, desc, operand, rv64_imm(t, t->encoding)));
    if (!writes || a->csr == RV64_CSR_FFLAGS)
        return;
    if (a->csr == RV64_CSR_FRM || a->csr == RV64_CSR_FCSR)
        end_unless_rounding_is_the_same(t);
    else
        rv64_end(t);
}

bool trans_CSR(struct rv64_trans *t, const struct arg_CSR *a) {
    struct ir_block *b = t->b;
    bool writes = a->op == CSRRW || a->rs1;
    enum rv64_privilege privilege = rv64_trans_privilege(t);
    uint64_t writable;
    size_t plain = privilege < (a->csr >> 8 & 3) ? 0 : plain_register(a->csr, &writable);
    irv operand = a->imm ? rv64_imm(t, a->rs1) : rv64_get(t, a->rs1);
    if (plain) {
        irv old = ir_get(b, IR_I64, plain);
        if (writes)
            ir_put(b, plain, combine(t, a->op, old, operand, writable));
        rv64_put(t, a->rd, old);
    } else if (privilege == RV64_PRIV_S && a->csr == RV64_CSR_SSTATUS) {
        irv old = ir_get(b, IR_I64, RV64_SSTATUS);
        rv64_put(t, a->rd, status_seen(t, old));
        if (writes)
            write_status(t, a, old, operand);
    } else {
        other_register(t, a, writes, operand);
    }
    return true;
}
