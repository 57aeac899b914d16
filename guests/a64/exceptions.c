/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* exceptions.c: exception entry and return at EL0/EL1 (Arm ARM D1.10, D1.11, AArch64.TakeException,
 * AArch64.ExceptionReturn). */
#include "system.h"

#define SPSR_PAN BIT(22)
#define SPSR_IL BIT(20)

uint32_t a64_pstate(struct a64_cpu *c) {
    a64_flags_settle(&c->c);
    return ir_flags_unpack(c->nzcv) | c->pan << 22 | c->debug.ss << 21 | c->il << 20 | (c->daif & DAIF_MASK) |
           c->el << 2 | (c->el ? c->spsel : 0);
}

static uint64_t *sp_bank(struct a64_cpu *c) { return c->el && c->spsel ? &c->sys.sp_el1 : &c->sys.sp_el0; }

void a64_set_el(struct a64_cpu *c, unsigned el, unsigned spsel) {
    *sp_bank(c) = c->x[31];
    c->el = el;
    c->spsel = spsel;
    c->x[31] = *sp_bank(c);
}

/* Recomputes the access regime if EL or PAN changed it; most exceptions inside EL1 change nothing. */
static void regime_changed(struct cpu *cpu) {
    const struct a64_cpu *c = a64(cpu);
    unsigned regime = c->el == 0 ? A64_EL0 : c->pan ? A64_EL1_PAN : A64_EL1;
    if (regime != cpu->regime)
        mmu_context_changed(cpu);
}

void a64_take_exception(struct cpu *cpu, unsigned vector, uint32_t esr, uint64_t return_pc) {
    struct a64_cpu *c = a64(cpu);
    unsigned group = c->el == 0 ? 0x400 : c->spsel ? 0x200 : 0x000;
    if (UNLIKELY(c->pmu.on))
        a64_pmu_sync(c);
    c->sys.spsr_el1 = a64_pstate(c);
    c->sys.elr_el1 = return_pc;
    if (vector == 0x000 || vector == 0x180)
        c->sys.esr_el1 = esr;
    if (vector == 0x000 || vector == 0x180)
        STAT(cpu, exceptions)++;
    else
        STAT(cpu, interrupts)++;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_INT))
        rt_log(cpu, ABI_LOG_INT, "exception vector %x esr %x far %llx from el%u pc %llx\n", group + vector, esr,
               (unsigned long long)c->sys.far_el1, c->el, (unsigned long long)return_pc);
    a64_set_el(c, 1, 1);
    if (UNLIKELY(c->pmu.on))
        a64_pmu_event(c, A64_PMU_EXC_TAKEN);
    if (c->has_pan && !(c->sys.sctlr_el1 & SCTLR_SPAN))
        c->pan = 1;
    c->daif = DAIF_MASK;
    c->il = 0;
    c->debug.ss = c->debug.step_iss = 0;
    c->pc = a64_branch_addr(c, (c->sys.vbar_el1 & ~UINT64_C(0x7ff)) + group + vector);
    regime_changed(cpu);
}

void a64_raise(struct cpu *cpu, unsigned ec, uint32_t iss) {
    a64_take_exception(cpu, 0, A64_ESR(ec, iss), a64(cpu)->pc);
    engine_unwind(cpu);
}

void a64_raise_undefined(struct cpu *cpu, uint32_t insn, const char *what) {
    struct a64_cpu *c = a64(cpu);
    STAT(cpu, helper_undefined)++;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_UNIMP))
        rt_log(cpu, ABI_LOG_UNIMP, "undefined %s %x at el%u pc %llx\n", what, insn, c->el, (unsigned long long)c->pc);
    a64_raise(cpu, A64_EC_UNKNOWN, 0);
}

void a64_raise_data_abort(struct cpu *cpu, uint64_t va, uint32_t iss) {
    struct a64_cpu *c = a64(cpu);
    c->sys.far_el1 = va;
    a64_raise(cpu, c->el == 0 ? A64_EC_DABT_LOWER : A64_EC_DABT, iss);
}

/* Instruction or data abort with a fault status code. */
static _Noreturn void raise_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, uint32_t fsc) {
    struct a64_cpu *c = a64(cpu);
    if (access != MMU_FETCH)
        a64_raise_data_abort(cpu, va, fsc | (access == MMU_WRITE ? ISS_WNR : 0));
    c->sys.far_el1 = va;
    a64_raise(cpu, c->el == 0 ? A64_EC_IABT_LOWER : A64_EC_IABT, fsc);
}

void a64_mem_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, const struct walk *w, unsigned flags) {
    raise_abort(cpu, va, access, A64_WALK_FSC(w->fault));
}

void a64_align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access) {
    raise_abort(cpu, va, access, FSC_ALIGNMENT);
}

void a64_external_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, struct gpa pa) {
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_GUEST))
        rt_log(cpu, ABI_LOG_GUEST, "nothing at physical address %llx\n", (unsigned long long)pa.v);
    raise_abort(cpu, va, access, FSC_EXTERNAL);
}

uint64_t a64_branch_addr(const struct a64_cpu *c, uint64_t va) {
    bool hi = va >> 55 & 1;
    if (!(c->sys.tcr_el1 >> (hi ? 38 : 37) & 1)) /* TBI1, TBI0 */
        return va;
    return hi ? va | ~MASK(56) : va & MASK(56);
}

void a64_pc_fault(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    c->pc = a64_branch_addr(c, c->pc);
    c->sys.far_el1 = c->pc;
    a64_raise(cpu, A64_EC_PC_ALIGN, 0);
}

void a64_exit_fault(struct cpu *cpu) {
    if (a64_pmu_at_limit(cpu))
        return;
    if (a64(cpu)->x[31] & 15)
        a64_raise(cpu, A64_EC_SP_ALIGN, 0);
}

uint64_t a64_helper_undefined(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c) {
    a64_raise_undefined(cpu, (uint32_t)insn, "instruction");
}

uint64_t a64_helper_exception(struct cpu *cpu, uint64_t esr, uint64_t pc_offset, uint64_t c) {
    if (pc_offset) /* the instruction is done: SSAdvance() */
        a64(cpu)->debug.ss = 0;
    a64_take_exception(cpu, 0, (uint32_t)esr, a64(cpu)->pc + pc_offset);
    engine_unwind(cpu);
}

/* IllegalExceptionReturn() where only EL0 and EL1 in AArch64 state exist: anything but EL0t, EL1t and EL1h. */
static bool illegal_return(uint32_t spsr) {
    unsigned m = spsr & 31;
    return m != 0 && m != 4 && m != 5;
}

uint64_t a64_helper_eret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t unused) {
    struct a64_cpu *c = a64(cpu);
    if (c->el == 0)
        a64_raise_undefined(cpu, 0xd69f03e0, "ERET");
    uint32_t spsr = (uint32_t)c->sys.spsr_el1;
    uint64_t pc = c->sys.elr_el1;
    if (UNLIKELY(c->pmu.on)) {
        a64_pmu_sync(c);
        a64_pmu_event(c, A64_PMU_EXC_RETURN);
    }
    bool steps = UNLIKELY(c->debug.armed & A64_ARMED_STEP) && !a64_debug_enabled(c);
    if (UNLIKELY(illegal_return(spsr))) {
        c->il = 1;
    } else {
        c->il = spsr >> 20 & 1;
        a64_set_el(c, spsr >> 2 & 1, spsr & 1);
    }
    c->nzcv = ir_flags_pack(spsr);
    cpu->flags_insn = 0;
    c->daif = spsr & DAIF_MASK;
    if (c->has_pan)
        c->pan = spsr >> 22 & 1;
    cpu->excl_addr = ~UINT64_C(0);
    c->debug.ss = steps && a64_debug_enabled(c) ? spsr >> 21 & 1 : 0; /* DebugExceptionReturnSS() */
    c->debug.step_iss = 0;
    regime_changed(cpu);
    c->pc = a64_branch_addr(c, pc); /* misaligned: the dispatcher calls a64_pc_fault() */
    mmu_retry(cpu, pc);
    a64_check_interrupts(c);
    return 0;
}
