/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* interrupts.c: what is pending at a hart: software interrupts from others, the timers (Sstc, CLINT), the PLIC. */
#include "guests/rv64/system.h"

uint64_t rv64_time(struct cpu *cpu) { return engine_clock_count(cpu, &rv64(cpu)->clock); }

static void compare(struct rv64_cpu *c, unsigned irq, uint64_t now, uint64_t at, uint64_t *next) {
    bool due = now >= at;
    c->mip = due ? c->mip | BIT(irq) : c->mip & ~BIT(irq);
    if (!due && at < *next)
        *next = at;
}

void rv64_timer_update(struct cpu *cpu, bool expired) {
    struct rv64_cpu *c = rv64(cpu);
    uint64_t now = rv64_time(cpu), next = ~UINT64_C(0);
    if (c->menvcfg & ENVCFG_STCE)
        compare(c, IRQ_TIMER, now, c->stimecmp, &next);
    else
        c->mip = (c->mip & ~BIT(IRQ_TIMER)) | (c->mip_set & BIT(IRQ_TIMER));
    if (rv64_firmware(cpu))
        compare(c, IRQ_M_TIMER, now, __atomic_load_n(&c->mtimecmp, __ATOMIC_SEQ_CST), &next);
    uint64_t due = next == ~UINT64_C(0) ? next : engine_clock_tsc(cpu, &c->clock, now, next),
             pmu = rv64_pmu_deadline(c);
    engine_deadline(cpu, due < pmu ? due : pmu, expired);
    c->due = c->mip & c->mie;
}

void rv64_interrupts_update(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    c->mip &= ~(BIT(IRQ_SOFT) | BIT(IRQ_EXTERNAL) | BIT(IRQ_M_SOFT) | BIT(IRQ_M_EXTERNAL));
    if (__atomic_load_n(&c->ipi, __ATOMIC_SEQ_CST))
        c->mip |= BIT(IRQ_SOFT);
    if (c->mip_set & BIT(IRQ_EXTERNAL) || rv64_plic_pending(cpu, true))
        c->mip |= BIT(IRQ_EXTERNAL);
    if (rv64_firmware(cpu)) {
        if (__atomic_load_n(&c->msip, __ATOMIC_SEQ_CST))
            c->mip |= BIT(IRQ_M_SOFT);
        if (rv64_plic_pending(cpu, false))
            c->mip |= BIT(IRQ_M_EXTERNAL);
    }
    rv64_timer_update(cpu, false);
}

static unsigned first_of(uint64_t due) {
    static const uint8_t order[] = {IRQ_M_EXTERNAL, IRQ_M_SOFT, IRQ_M_TIMER, IRQ_EXTERNAL,
                                    IRQ_SOFT,       IRQ_TIMER,  IRQ_OVERFLOW};
    for (unsigned i = 0; i < sizeof order; i++)
        if (due & BIT(order[i]))
            return order[i];
    return 0;
}

/* What is not delegated comes first: it is machine mode's. A mode's own interrupts need its enable bit, those of a
 * lower one do not reach it (3.1.9). */
unsigned rv64_interrupt_due(const struct cpu *cpu) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    uint64_t due = c->mip & c->mie;
    if (LIKELY(!due))
        return 0;
    enum rv64_privilege p = rv64_privilege(cpu);
    unsigned first = p < RV64_PRIV_M || c->mstatus & MSTATUS_MIE ? first_of(due & ~c->mideleg) : 0;
    if (!first && (p < RV64_PRIV_S || (p == RV64_PRIV_S && c->sstatus & SSTATUS_SIE)))
        first = first_of(due & c->mideleg);
    return first;
}

void rv64_check_interrupts(struct cpu *cpu) {
    rv64(cpu)->due = rv64(cpu)->mip & rv64(cpu)->mie;
    if (UNLIKELY(rv64_interrupt_due(cpu)))
        __atomic_fetch_or((uint32_t *)&cpu->abi.pending, ABI_PEND_IRQ, __ATOMIC_SEQ_CST);
}

void rv64_send_ipi(struct cpu *cpu, struct rv64_cpu *to) {
    __atomic_store_n(&to->ipi, 1, __ATOMIC_SEQ_CST);
    engine_kick(cpu, &to->c, ABI_PEND_IRQ);
}

/* The pc is past the WFI already. It ends by any interrupt that mie has, whether interrupts are enabled or not. */
uint64_t rv64_helper_wfi(struct cpu *cpu, uint64_t insn, uint64_t len, uint64_t unused) {
    struct rv64_cpu *c = rv64(cpu);
    if (c->mstatus & MSTATUS_TW && rv64_privilege(cpu) == RV64_PRIV_S) {
        c->pc -= len;
        rv64_illegal(cpu, insn);
    }
    rv64_interrupts_update(cpu);
    if (!(c->mip & c->mie)) {
        if (UNLIKELY(c->pmu.on))
            rv64_pmu_stop(c, true);
        engine_wait(cpu);
        if (UNLIKELY(c->pmu.on))
            rv64_pmu_stop(c, false);
        rv64_interrupts_update(cpu);
    }
    rv64_check_interrupts(cpu);
    return 0;
}
