/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* interrupts.c: what is pending at a hart: software interrupts from others, the timer (Sstc), the PLIC. */
#include "guests/rv64/system.h"

uint64_t rv64_time(struct cpu *cpu) { return engine_clock_count(cpu, &rv64(cpu)->clock); }

void rv64_timer_update(struct cpu *cpu, bool expired) {
    struct rv64_cpu *c = rv64(cpu);
    uint64_t now = rv64_time(cpu);
    bool due = now >= c->stimecmp;
    c->mip = due ? c->mip | BIT(IRQ_TIMER) : c->mip & ~BIT(IRQ_TIMER);
    engine_deadline(cpu, due ? ~UINT64_C(0) : engine_clock_tsc(cpu, &c->clock, now, c->stimecmp), expired);
}

void rv64_interrupts_update(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    c->mip &= ~(BIT(IRQ_SOFT) | BIT(IRQ_EXTERNAL));
    if (__atomic_load_n(&c->ipi, __ATOMIC_SEQ_CST))
        c->mip |= BIT(IRQ_SOFT);
    if (rv64_plic_pending(cpu))
        c->mip |= BIT(IRQ_EXTERNAL);
    rv64_timer_update(cpu, false);
}

unsigned rv64_interrupt_due(const struct cpu *cpu) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    uint64_t due = c->mip & c->sie;
    if (!due || (rv64_in_s(cpu) && !(c->sstatus & SSTATUS_SIE)))
        return 0;
    return due & BIT(IRQ_EXTERNAL) ? IRQ_EXTERNAL : due & BIT(IRQ_SOFT) ? IRQ_SOFT : IRQ_TIMER;
}

void rv64_check_interrupts(struct cpu *cpu) {
    if (UNLIKELY(rv64_interrupt_due(cpu)))
        __atomic_fetch_or((uint32_t *)&cpu->abi.pending, ABI_PEND_IRQ, __ATOMIC_SEQ_CST);
}

void rv64_send_ipi(struct cpu *cpu, struct rv64_cpu *to) {
    __atomic_store_n(&to->ipi, 1, __ATOMIC_SEQ_CST);
    engine_kick(cpu, &to->c, ABI_PEND_IRQ);
}

uint64_t rv64_helper_check(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) {
    rv64_check_interrupts(cpu);
    return 0;
}

/* The pc is past the WFI already. It ends by any interrupt that sie has, whether SIE is set or not. */
uint64_t rv64_helper_wfi(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t unused) {
    struct rv64_cpu *c = rv64(cpu);
    rv64_interrupts_update(cpu);
    if (!(c->mip & c->sie)) {
        engine_wait(cpu);
        rv64_interrupts_update(cpu);
    }
    rv64_check_interrupts(cpu);
    return 0;
}
