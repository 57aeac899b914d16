/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* state.c: what of an AArch64 PE, and of the interrupt controller, is state (graft/state.h), and what follows from
 * it. */
#include "gic.h"

const struct state_field a64_state[] = {
    CPU_STATE(struct a64_cpu),
    STATE_RANGE(struct a64_cpu, x, counts),
    STATE_DERIVED(struct a64_cpu, counts),
    STATE_DERIVED(struct a64_cpu, rest_of_page),
    STATE_RANGE(struct a64_cpu, sys, sys.midr),
    STATE_RANGE_ROW(struct a64_cpu, sys.midr, sys.dbgbvr, SAME), /* ID registers: what the processor is */
    STATE_RANGE(struct a64_cpu, sys.dbgbvr, sys.zero),
    STATE_MAX(struct a64_cpu, sys.zero, 8, 0),
    STATE_SAME(struct a64_cpu, sys.id_regs32),
    STATE(struct a64_cpu, daif),
    STATE_DERIVED(struct a64_cpu, irq),
    STATE_DERIVED(struct a64_cpu, fiq),
    STATE_MAX(struct a64_cpu, el, 4, 1),
    STATE_MAX(struct a64_cpu, spsel, 4, 1),
    STATE_MAX(struct a64_cpu, pan, 4, 1),
    STATE_MAX(struct a64_cpu, il, 4, 1),
    STATE_MAX(struct a64_cpu, power.state, 4, ENGINE_POWER_PENDING),
    STATE(struct a64_cpu, power.pc),
    STATE(struct a64_cpu, power.arg),
    STATE_DERIVED(struct a64_cpu, cpuif),
    STATE_DERIVED(struct a64_cpu, space),
    STATE_DERIVED(struct a64_cpu, clock),
    STATE_SAME(struct a64_cpu, has_pan),
    STATE_RANGE_ROW(struct a64_cpu, debug, debug.ss, DERIVED),
    STATE_MAX(struct a64_cpu, debug.ss, 4, 1),
    STATE(struct a64_cpu, debug.step_iss),
    STATE_RANGE_ROW(struct a64_cpu, pmu, pmu.value, DERIVED),
    STATE_MAX(struct a64_cpu, pmu.value, 8, MASK(32)),
    STATE(struct a64_cpu, pmu.type),
    STATE(struct a64_cpu, pmu.cycles),
    STATE(struct a64_cpu, pmu.cycles_rest),
    STATE(struct a64_cpu, pmu.cycle_filter),
    STATE(struct a64_cpu, pmu.pmcr),
    STATE(struct a64_cpu, pmu.enabled),
    STATE(struct a64_cpu, pmu.overflow),
    STATE(struct a64_cpu, pmu.interrupts),
    STATE(struct a64_cpu, pmu.user),
    STATE_MAX(struct a64_cpu, pmu.select, 8, 31),
    STATE_END,
};

#define PE(n)                                                                                                          \
    STATE(struct gic, pe[n].priv), STATE(struct gic, pe[n].priority), STATE(struct gic, pe[n].sgi_from),               \
        STATE(struct gic, pe[n].spi_here), STATE_BOOL(struct gic, pe[n].asleep),                                       \
        STATE_BOOL(struct gic, pe[n].enabled), STATE_BOOL(struct gic, pe[n].common_bpr),                               \
        STATE_BOOL(struct gic, pe[n].split_eoi), STATE_BOOL(struct gic, pe[n].fiq_enabled),                            \
        STATE_BOOL(struct gic, pe[n].ack_all), STATE(struct gic, pe[n].pmr), STATE_MAX(struct gic, pe[n].bpr, 1, 7),   \
        STATE(struct gic, pe[n].apr)

const struct state_field a64_shared_state[] = {
    STATE_DERIVED(struct gic, lock),
    STATE_SAME(struct gic, version),
    STATE_SAME(struct gic, cpus),
    STATE_RANGE_ROW(struct gic, prio_shift, enabled, DERIVED),
    STATE_BOOL(struct gic, enabled),
    STATE(struct gic, spi),
    STATE(struct gic, priority),
    STATE(struct gic, target),
    STATE(struct gic, route),
    PE(0),
    PE(1),
    PE(2),
    PE(3),
    PE(4),
    PE(5),
    PE(6),
    PE(7),
    STATE_END,
};
_Static_assert(ABI_MAX_VCPUS == 8, "each PE has its rows");

void a64_collect(struct cpu *cpu) {
    if (a64(cpu)->pmu.on)
        a64_pmu_sync(a64(cpu));
}

void a64_changed(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    c->daif &= DAIF_MASK;
    a64_debug_changed(c);
    a64_controls_changed(c);
    a64_pmu_resume(c);
    a64_pmu_update(cpu);
    mmu_context_changed(cpu);
    a64_timer_update(cpu);
}
