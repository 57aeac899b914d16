/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_system.c: exception generation, hints, barriers, system registers and system operations. */
#include "guests/a64/a64.h"

#include "a64_decode.h"

IR_HELPER(a64_helper_eret, IR_HELPER_STATE);
IR_HELPER(a64_helper_hvc, IR_HELPER_STATE);
IR_HELPER(a64_helper_semihost, IR_HELPER_STATE);
IR_HELPER(a64_helper_wfi, IR_HELPER_STATE);
IR_HELPER(a64_helper_mrs, IR_HELPER_STATE);
IR_HELPER(a64_helper_msr, IR_HELPER_STATE);
IR_HELPER(a64_helper_sys, IR_HELPER_STATE);
IR_HELPER(a64_helper_msr_imm, IR_HELPER_STATE);
IR_HELPER(a64_helper_barrier, IR_HELPER_STATE);
IR_HELPER(a64_helper_check, IR_HELPER_STATE);

#define KEY_NZCV A64_SYSREG(3, 3, 4, 2, 0)
#define KEY_DAIF A64_SYSREG(3, 3, 4, 2, 1)
#define KEY_FPCR A64_SYSREG(3, 3, 4, 4, 0)
#define KEY_FPSR A64_SYSREG(3, 3, 4, 4, 1)
#define KEY_SPSEL A64_SYSREG(3, 0, 4, 2, 0)
#define KEY_CURRENTEL A64_SYSREG(3, 0, 4, 2, 2)
#define KEY_DC_ZVA A64_SYSREG(1, 3, 7, 4, 1)

static irv imm64(struct a64_trans *t, uint64_t v) { return ir_const(t->b, IR_I64, v); }

static bool at_el1(const struct a64_trans *t) { return A64_MODE_EL(t->mode) == 1; }

/* --- exceptions ------------------------------------------------------------------------------- */

bool trans_SVC(struct a64_trans *t, const struct arg_SVC *a) {
    a64_emit_raise(t, A64_ESR(A64_EC_SVC, a->imm), 4);
    return true;
}

bool trans_BRK(struct a64_trans *t, const struct arg_BRK *a) {
    a64_emit_raise(t, A64_ESR(A64_EC_BRK, a->imm), 0);
    return true;
}

bool trans_HLT(struct a64_trans *t, const struct arg_HLT *a) {
    if (a->imm != A64_SEMIHOST_HLT || !at_el1(t))
        return false;
    ir_call(t->b, IR_NONE, &helper_a64_helper_semihost, imm64(t, t->insn), 0, 0);
    a64_end(t);
    return true;
}

bool trans_HVC(struct a64_trans *t, const struct arg_HVC *a) {
    if (!at_el1(t))
        return false;
    ir_call(t->b, IR_NONE, &helper_a64_helper_hvc, imm64(t, a->imm), 0, 0);
    a64_end(t);
    return true;
}

bool trans_ERET(struct a64_trans *t, const struct arg_ERET *a) {
    if (!at_el1(t))
        return false;
    a64_retire(t);
    ir_call(t->b, IR_NONE, &helper_a64_helper_eret, 0, 0, 0);
    ir_exit(t->b);
    t->done = true;
    return true;
}

/* --- hints and barriers ----------------------------------------------------------------------- */

/* All but WFI are NOPs. WFE may be one too: an event may be registered at any time. */
bool trans_HINT(struct a64_trans *t, const struct arg_HINT *a) {
    if (a->CRm == 0 && a->op2 == 3) {
        /* The helper wants the pc of the next instruction in the state: that is what an INSN says. */
        ir_insn_pc(t->b, t->pc + 4, t->insn);
        ir_call(t->b, IR_NONE, &helper_a64_helper_wfi, 0, 0, 0);
        a64_end(t);
    }
    return true;
}

bool trans_CLREX(struct a64_trans *t, const struct arg_CLREX *a) {
    ir_put(t->b, offsetof(struct cpu, excl_addr), imm64(t, ~UINT64_C(0)));
    return true;
}

bool trans_DMB(struct a64_trans *t, const struct arg_DMB *a) {
    static const enum ir_fence kinds[4] = {IR_FENCE_FULL, IR_FENCE_LOAD, IR_FENCE_STORE, IR_FENCE_FULL};
    ir_fence(t->b, kinds[a->CRm & 3]);
    return true;
}

/* barrier(): completes what TLBI instructions left, which is rare: the usual way goes straight on to the next block. */
static void barrier(struct a64_trans *t) {
    struct ir_block *b = t->b;
    a64_retire(t);
    irv left = ir_get(b, IR_I32, offsetof(struct cpu, tlbi_pending));
    ir_exit_if(b, ir_cmp(b, IR_CMP_EQ, left, ir_const(b, IR_I32, 0)), t->pc + 4);
    ir_call(b, IR_NONE, &helper_a64_helper_barrier, 0, 0, 0);
    a64_end(t);
}

bool trans_DSB(struct a64_trans *t, const struct arg_DSB *a) {
    ir_fence(t->b, IR_FENCE_FULL);
    barrier(t);
    return true;
}

bool trans_ISB(struct a64_trans *t, const struct arg_ISB *a) {
    barrier(t);
    return true;
}

/* --- PSTATE ----------------------------------------------------------------------------------- */

/* unmask(): the end of an instruction that may have unmasked interrupts, DAIF being written: only if an interrupt line
 * is up does the helper look, which unwinds if the interrupt is due. */
static void unmask(struct a64_trans *t, const struct ir_helper *helper, irv a, irv b_) {
    struct ir_block *b = t->b;
    a64_retire(t);
    if (t->mode & A64_MODE_D) {
        ir_call(b, IR_NONE, &helper_a64_helper_check, 0, 0, 0);
        a64_end(t);
        return;
    }
    _Static_assert(offsetof(struct a64_cpu, fiq) == offsetof(struct a64_cpu, irq) + 1, "read together");
    irv lines = ir_op1(b, IR_ZEXT16, ir_get(b, IR_I32, offsetof(struct a64_cpu, irq)));
    ir_exit_if(b, ir_cmp(b, IR_CMP_EQ, lines, ir_const(b, IR_I32, 0)), t->pc + 4);
    ir_call(b, IR_NONE, helper, a, b_, imm64(t, t->insn));
    a64_end(t);
}

bool trans_MSR_imm(struct a64_trans *t, const struct arg_MSR_imm *a) {
    struct ir_block *b = t->b;
    unsigned op = a->op1 << 3 | a->op2;
    if (op != 005 && op != 004 && op != 036 && op != 037) /* SPSel, PAN, DAIFSet, DAIFClr */
        return false;
    if (op == 036 && at_el1(t)) {
        irv daif = ir_get(b, IR_I32, A64_DAIF);
        ir_put(b, A64_DAIF, ir_op2i(b, IR_OR, daif, a->CRm << 6));
        if (t->mode & A64_MODE_D)
            a64_end(t);
        return true;
    }
    if (op == 037 && at_el1(t)) {
        irv daif = ir_get(b, IR_I32, A64_DAIF);
        ir_put(b, A64_DAIF, ir_op2i(b, IR_AND, daif, 0x3c0 & ~(a->CRm << 6)));
        unmask(t, &helper_a64_helper_msr_imm, imm64(t, op), imm64(t, a->CRm));
        return true;
    }
    ir_call(b, IR_NONE, &helper_a64_helper_msr_imm, imm64(t, op), imm64(t, a->CRm), imm64(t, t->insn));
    a64_end(t);
    return true;
}

/* --- system registers ------------------------------------------------------------------------- */

/* register_offset(): a64_sysreg_offset(), but for SP_EL0, which is elsewhere while it is in use. */
static size_t register_offset(const struct a64_trans *t, uint32_t key, bool write) {
    if (key == A64_SYSREG(3, 0, 4, 1, 0) && !(t->mode & A64_MODE_SPSEL))
        return 0;
    return a64_sysreg_offset(key, A64_MODE_EL(t->mode), write);
}

bool trans_MRS(struct a64_trans *t, const struct arg_MRS *a) {
    struct ir_block *b = t->b;
    uint32_t key = A64_SYSREG(2 + a->o0, a->op1, a->CRn, a->CRm, a->op2);
    if ((key == KEY_FPCR || key == KEY_FPSR) && !a64_fp_access(t))
        return true;
    size_t offset = register_offset(t, key, false);
    irv v;
    if (key == KEY_NZCV)
        v = ir_op1(b, IR_ZEXT32, ir_op1(b, IR_FLAGS_TO, ir_get(b, IR_FLAGS, A64_NZCV)));
    else if (key == KEY_FPCR)
        v = ir_op1(b, IR_ZEXT32, ir_get(b, IR_I32, offsetof(struct cpu, fp.fpcr)));
    else if (key == KEY_DAIF && at_el1(t))
        v = ir_op1(b, IR_ZEXT32, ir_get(b, IR_I32, A64_DAIF));
    else if (key == KEY_CURRENTEL && at_el1(t))
        v = imm64(t, 1 << 2);
    else if (key == KEY_SPSEL && at_el1(t))
        v = imm64(t, t->mode & A64_MODE_SPSEL ? 1 : 0);
    else if (offset)
        v = ir_get(b, IR_I64, offset);
    else
        v = ir_call(b, IR_I64, &helper_a64_helper_mrs, imm64(t, key), imm64(t, t->insn), 0);
    a64_put_x(t, a->rt, v);
    return true;
}

/* Timers, interrupt controller: writing them changes nothing that a translation or the view depends on. */
static bool keeps_context(uint32_t key) {
    unsigned op0 = key >> 14, op1 = key >> 11 & 7, crn = key >> 7 & 15, crm = key >> 3 & 15;
    bool timer = op0 == 3 && op1 == 3 && crn == 14 && crm < 8;
    bool controller = op0 == 3 && op1 == 0 && ((crn == 12 && crm >= 8) || (crn == 4 && crm == 6));
    return timer || controller || key == KEY_FPSR;
}

bool trans_MSR(struct a64_trans *t, const struct arg_MSR *a) {
    struct ir_block *b = t->b;
    uint32_t key = A64_SYSREG(2 + a->o0, a->op1, a->CRn, a->CRm, a->op2);
    if ((key == KEY_FPCR || key == KEY_FPSR) && !a64_fp_access(t))
        return true;
    size_t offset = register_offset(t, key, true);
    irv v = a64_get_x(t, a->rt, true);
    if (key == KEY_NZCV) {
        a64_put_nzcv(t, ir_op1(b, IR_FLAGS_FROM, ir_op1(b, IR_TRUNC, v)));
    } else if (key == KEY_DAIF && at_el1(t)) {
        ir_put(b, A64_DAIF, ir_op2i(b, IR_AND, ir_op1(b, IR_TRUNC, v), 0x3c0));
        unmask(t, &helper_a64_helper_msr, imm64(t, key), v);
    } else if (offset) {
        ir_put(b, offset, v);
    } else {
        ir_call(b, IR_NONE, &helper_a64_helper_msr, imm64(t, key), v, imm64(t, t->insn));
        if (!keeps_context(key))
            a64_end(t);
    }
    return true;
}

/* DC ZVA: 64 bytes, as DCZID_EL0 says. */
static void zero_line(struct a64_trans *t, irv address) {
    struct ir_block *b = t->b;
    irv line = ir_op2i(b, IR_AND, address, ~UINT64_C(63)), zero = ir_vconst(b, 0, 0);
    for (int disp = 0; disp < 64; disp += 16)
        ir_st(b, 4, line, disp, zero, a64_trans_regime(t), 0);
}

bool trans_SYS(struct a64_trans *t, const struct arg_SYS *a) {
    uint32_t key = A64_SYSREG(1, a->op1, a->CRn, a->CRm, a->op2);
    /* With the MMU off memory is Device and DC ZVA an alignment fault: left to the helper. */
    if (key == KEY_DC_ZVA && (at_el1(t) || (t->mode & A64_MODE_ZVA)) &&
        !(t->mode & (A64_MODE_ALIGN | A64_MODE_WATCH))) {
        zero_line(t, a64_get_x(t, a->rt, true));
        return true;
    }
    /* Instruction cache maintenance may throw this very block away: by address that is rare, and the helper knows. */
    bool code = a->CRn == 7 && (a->CRm == 1 || a->CRm == 5), one_line = code && a->op2 == 1;
    irv value = a64_get_x(t, a->rt, true), insn = imm64(t, t->insn);
    irv leave = ir_call(t->b, one_line ? IR_I64 : IR_NONE, &helper_a64_helper_sys, imm64(t, key), value, insn);
    a64_retire(t);
    if (one_line)
        ir_exit_if(t->b, ir_cmp(t->b, IR_CMP_NE, leave, imm64(t, 0)), t->pc + 4);
    else if (code)
        a64_end(t);
    return true;
}
