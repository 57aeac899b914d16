/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * exceptions.c: traps and the return from them (volume II, chapters 3 and 10). Without firmware of the guest's, the
 * machine level is the engine, which delegates everything but calls from S-mode (sbi.c).
 */
#include "guests/rv64/system.h"

static unsigned regime_of(uint64_t status, enum rv64_privilege p) {
    return p == RV64_PRIV_U ? RV64_U : p == RV64_PRIV_M ? RV64_M : status & SSTATUS_SUM ? RV64_S_SUM : RV64_S;
}

unsigned rv64_data_regime(const struct cpu *cpu) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    if (LIKELY(cpu->regime != RV64_M || !(c->mstatus & MSTATUS_MPRV)))
        return cpu->regime;
    return regime_of(c->sstatus, MSTATUS_MPP_OF(c->mstatus));
}

void rv64_set_privilege(struct cpu *cpu, enum rv64_privilege p) {
    struct rv64_cpu *c = rv64(cpu);
    unsigned regime = regime_of(c->sstatus, p);
    if (regime == cpu->regime && regime != RV64_M) /* machine mode's loads may be another one's, or no longer */
        return;
    cpu->regime = regime;
    mmu_context_changed(cpu);
}

static const char *privilege_name(enum rv64_privilege p) {
    return p == RV64_PRIV_U ? "u" : p == RV64_PRIV_S ? "s" : "m";
}

static uint64_t vector(uint64_t tvec, uint64_t cause) {
    return (tvec & ~UINT64_C(3)) + (cause & RV64_INTERRUPT && tvec & 1 ? 4 * (cause & MASK(6)) : 0);
}

static void trap_to_s(struct rv64_cpu *c, enum rv64_privilege from, uint64_t cause, uint64_t tval) {
    uint64_t was = c->sstatus, status = was & ~(SSTATUS_SPIE | SSTATUS_SPP | SSTATUS_SIE);
    c->sstatus = status | (was & SSTATUS_SIE ? SSTATUS_SPIE : 0) | (from == RV64_PRIV_S ? SSTATUS_SPP : 0);
    c->sepc = c->pc;
    c->scause = cause;
    c->stval = tval;
    c->pc = vector(c->stvec, cause);
}

static void trap_to_m(struct rv64_cpu *c, enum rv64_privilege from, uint64_t cause, uint64_t tval) {
    uint64_t status = c->mstatus & ~(MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MIE);
    status |= (c->mstatus & MSTATUS_MIE ? MSTATUS_MPIE : 0) | (uint64_t)from << MSTATUS_MPP_SHIFT;
    c->mstatus = status;
    c->mepc = c->pc;
    c->mcause = cause;
    c->mtval = tval;
    c->pc = vector(c->mtvec, cause);
}

void rv64_take_trap(struct cpu *cpu, uint64_t cause, uint64_t tval) {
    struct rv64_cpu *c = rv64(cpu);
    enum rv64_privilege from = rv64_privilege(cpu);
    uint64_t delegated = cause & RV64_INTERRUPT ? c->mideleg : c->medeleg;
    if (UNLIKELY(c->pmu.on))
        rv64_pmu_sync(c);
    rv64_fp_settle(c);
    bool m = from == RV64_PRIV_M || !(delegated >> (cause & MASK(6)) & 1);
    if (cause & RV64_INTERRUPT)
        STAT(cpu, interrupts)++;
    else
        STAT(cpu, exceptions)++;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_INT))
        rt_log(cpu, ABI_LOG_INT, "trap cause %llx tval %llx from %s pc %llx\n", (unsigned long long)cause,
               (unsigned long long)tval, privilege_name(from), (unsigned long long)c->pc);
    (m ? trap_to_m : trap_to_s)(c, from, cause, tval);
    cpu->excl_addr = ~UINT64_C(0);
    c->unboxed = false;
    rv64_set_privilege(cpu, m ? RV64_PRIV_M : RV64_PRIV_S);
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

/* A jump went to an odd address, whose lowest bit it ignores: translated code leaves that to here. */
void rv64_pc_fault(struct cpu *cpu) {
    rv64(cpu)->pc &= ~UINT64_C(1);
    engine_unwind(cpu);
}

/* A block looked at what counters have, or found a single that is not NaN-boxed: from now on code looks at each. */
void rv64_exit_fault(struct cpu *cpu) {
    if (!rv64_pmu_at_limit(rv64(cpu)))
        rv64(cpu)->unboxed = true;
}

/* Others are not for code to ask for. */
uint64_t rv64_helper_raise(struct cpu *cpu, uint64_t cause, uint64_t tval, uint64_t c) {
    if (cause == RV64_BREAKPOINT || cause == RV64_ECALL_U + (unsigned)rv64_privilege(cpu))
        rv64_raise(cpu, cause, tval);
    rv64_illegal(cpu, tval);
}

/* Back to the pc and the level that a trap came from. */
static uint64_t go_back(struct cpu *cpu, uint64_t pc, enum rv64_privilege to) {
    if (UNLIKELY(rv64(cpu)->pmu.on))
        rv64_pmu_sync(rv64(cpu));
    rv64(cpu)->pc = pc;
    cpu->excl_addr = ~UINT64_C(0);
    if (to != RV64_PRIV_M)
        rv64(cpu)->mstatus &= ~MSTATUS_MPRV;
    rv64_set_privilege(cpu, to);
    mmu_retry(cpu, pc);
    rv64_check_interrupts(cpu);
    return 0;
}

uint64_t rv64_helper_sret(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t unused) {
    struct rv64_cpu *c = rv64(cpu);
    uint64_t was = c->sstatus;
    if (c->mstatus & MSTATUS_TSR && rv64_privilege(cpu) == RV64_PRIV_S)
        rv64_illegal(cpu, insn);
    enum rv64_privilege to = was & SSTATUS_SPP ? RV64_PRIV_S : RV64_PRIV_U;
    c->sstatus = (was & ~(SSTATUS_SPP | SSTATUS_SIE)) | SSTATUS_SPIE | (was & SSTATUS_SPIE ? SSTATUS_SIE : 0);
    return go_back(cpu, c->sepc, to);
}

uint64_t rv64_helper_mret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t unused) {
    struct rv64_cpu *c = rv64(cpu);
    enum rv64_privilege to = MSTATUS_MPP_OF(c->mstatus);
    uint64_t status = c->mstatus & ~(MSTATUS_MPP | MSTATUS_MIE);
    c->mstatus = status | MSTATUS_MPIE | (c->mstatus & MSTATUS_MPIE ? MSTATUS_MIE : 0);
    return go_back(cpu, c->mepc, to);
}

uint64_t rv64_helper_status(struct cpu *cpu, uint64_t old, uint64_t b, uint64_t c) {
    if ((old ^ rv64(cpu)->sstatus) & SSTATUS_MXR)
        mmu_context_changed(cpu);
    rv64_set_privilege(cpu, rv64_privilege(cpu));
    engine_mode_changed(cpu);
    rv64_check_interrupts(cpu);
    return 0;
}

uint64_t rv64_helper_fp(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c) {
    if (UNLIKELY(!(rv64(cpu)->sstatus & SSTATUS_FS)))
        rv64_illegal(cpu, insn);
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
