/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * exceptions.c: traps to S-mode and the return from them (volume II, chapter 10). The machine level is the engine, which
 * delegates everything but calls from S-mode (sbi.c).
 */
#include "guests/rv64/system.h"

static unsigned regime_of(uint64_t sstatus, bool s) {
    return !s ? RV64_U : sstatus & SSTATUS_SUM ? RV64_S_SUM : RV64_S;
}

void rv64_set_privilege(struct cpu *cpu, bool s) {
    struct rv64_cpu *c = rv64(cpu);
    unsigned regime = regime_of(c->sstatus, s);
    if (regime == cpu->regime)
        return;
    cpu->regime = regime;
    mmu_context_changed(cpu);
}

void rv64_take_trap(struct cpu *cpu, uint64_t cause, uint64_t tval) {
    struct rv64_cpu *c = rv64(cpu);
    bool interrupt = cause & RV64_INTERRUPT, s = rv64_in_s(cpu);
    if (interrupt)
        STAT(cpu, interrupts)++;
    else
        STAT(cpu, exceptions)++;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_INT))
        rt_log(cpu, ABI_LOG_INT, "trap cause %llx tval %llx from %s pc %llx\n", (unsigned long long)cause,
               (unsigned long long)tval, s ? "s" : "u", (unsigned long long)c->pc);
    uint64_t status = c->sstatus & ~(SSTATUS_SPIE | SSTATUS_SPP | SSTATUS_SIE);
    status |= (c->sstatus & SSTATUS_SIE ? SSTATUS_SPIE : 0) | (s ? SSTATUS_SPP : 0);
    c->sstatus = status;
    c->sepc = c->pc;
    c->scause = cause;
    c->stval = tval;
    c->pc = (c->stvec & ~UINT64_C(3)) + (interrupt && c->stvec & 1 ? 4 * (cause & MASK(6)) : 0);
    cpu->excl_addr = ~UINT64_C(0);
    rv64_set_privilege(cpu, true);
}

void rv64_raise(struct cpu *cpu, uint64_t cause, uint64_t tval) {
    rv64_take_trap(cpu, cause, tval);
    engine_unwind(cpu);
}

void rv64_illegal(struct cpu *cpu, uint64_t insn) {
    STAT(cpu, helper_undefined)++;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_UNIMP))
        rt_log(cpu, ABI_LOG_UNIMP, "illegal instruction %llx at pc %llx\n", (unsigned long long)insn,
               (unsigned long long)rv64(cpu)->pc);
    rv64_raise(cpu, RV64_ILLEGAL, insn);
}

static unsigned by_access(enum mmu_access access, unsigned fetch, unsigned load, unsigned store) {
    return access == MMU_FETCH ? fetch : access == MMU_READ ? load : store;
}

void rv64_mem_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, const struct walk *w, unsigned flags) {
    if (w->fault == RV64_FAULT_ACCESS)
        rv64_raise(cpu, by_access(access, RV64_INSN_ACCESS, RV64_LOAD_ACCESS, RV64_STORE_ACCESS), va);
    rv64_raise(cpu, by_access(access, RV64_INSN_PAGE, RV64_LOAD_PAGE, RV64_STORE_PAGE), va);
}

void rv64_align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access) {
    rv64_raise(cpu, by_access(access, RV64_INSN_MISALIGNED, RV64_LOAD_MISALIGNED, RV64_STORE_MISALIGNED), va);
}

void rv64_external_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, struct gpa pa) {
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_GUEST))
        rt_log(cpu, ABI_LOG_GUEST, "nothing at physical address %llx\n", (unsigned long long)pa.v);
    rv64_raise(cpu, by_access(access, RV64_INSN_ACCESS, RV64_LOAD_ACCESS, RV64_STORE_ACCESS), va);
}

/* Not reached: no pc is odd, since jumps and sepc drop that bit. */
void rv64_pc_fault(struct cpu *cpu) { rv64_raise(cpu, RV64_INSN_MISALIGNED, rv64(cpu)->pc); }

uint64_t rv64_helper_raise(struct cpu *cpu, uint64_t cause, uint64_t tval, uint64_t c) {
    if (cause == RV64_ILLEGAL)
        rv64_illegal(cpu, tval);
    rv64_raise(cpu, cause, tval);
}

uint64_t rv64_helper_sret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t unused) {
    struct rv64_cpu *c = rv64(cpu);
    bool s = c->sstatus & SSTATUS_SPP;
    uint64_t status = c->sstatus & ~(SSTATUS_SPP | SSTATUS_SIE);
    c->sstatus = status | SSTATUS_SPIE | (c->sstatus & SSTATUS_SPIE ? SSTATUS_SIE : 0);
    c->pc = c->sepc;
    cpu->excl_addr = ~UINT64_C(0);
    rv64_set_privilege(cpu, s);
    mmu_retry(cpu, c->pc);
    rv64_check_interrupts(cpu);
    return 0;
}

uint64_t rv64_helper_crossing(struct cpu *cpu, uint64_t pc, uint64_t half, uint64_t c) {
    struct gpa pa;
    const uint8_t *p = mem_fetch(cpu, pc + 2, &pa);
    if (LIKELY((p[0] | (uint64_t)p[1] << 8) == half))
        return 0;
    mem_fetch(cpu, pc, &pa);
    engine_code_written(cpu, pa, 2);
    engine_unwind(cpu);
}
