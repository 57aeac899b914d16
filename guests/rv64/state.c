/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* state.c: what of a hart is state (graft/state.h), and what follows from it. The PLIC's is in plic.c. */
#include "guests/rv64/system.h"

const struct state_field rv64_state[] = {
    CPU_STATE(struct rv64_cpu),
    STATE_MAX(struct rv64_cpu, c.regime, 4, RV64_M),
    STATE_RANGE(struct rv64_cpu, x, counts),
    STATE_DERIVED(struct rv64_cpu, counts),
    STATE_MAX(struct rv64_cpu, frm, 4, 7),
    STATE_DERIVED(struct rv64_cpu, dirty),
    STATE_RANGE(struct rv64_cpu, sstatus, due),
    STATE_DERIVED(struct rv64_cpu, due),
    STATE_RANGE(struct rv64_cpu, mscratch, mtval),
    STATE(struct rv64_cpu, mtval),
    STATE_RANGE(struct rv64_cpu, mstatus, pmp.used),
    STATE_MAX(struct rv64_cpu, pmp.used, 4, RV64_PMPS),
    STATE_DERIVED(struct rv64_cpu, unboxed),
    STATE(struct rv64_cpu, pmu.value),
    STATE(struct rv64_cpu, pmu.event),
    STATE(struct rv64_cpu, pmu.inhibit),
    STATE_DERIVED(struct rv64_cpu, pmu.seen),
    STATE_DERIVED(struct rv64_cpu, pmu.needs),
    STATE_DERIVED(struct rv64_cpu, pmu.on),
    STATE(struct rv64_cpu, mip),
    STATE(struct rv64_cpu, mip_set),
    STATE(struct rv64_cpu, mtimecmp),
    STATE_MAX(struct rv64_cpu, ipi, 4, 1),
    STATE_MAX(struct rv64_cpu, msip, 4, 1),
    STATE_MAX(struct rv64_cpu, power.state, 4, ENGINE_POWER_PENDING),
    STATE(struct rv64_cpu, power.pc),
    STATE(struct rv64_cpu, power.arg),
    STATE_DERIVED(struct rv64_cpu, clock),
    STATE_DERIVED(struct rv64_cpu, halves),
    STATE_END,
};

void rv64_collect(struct cpu *cpu) {
    rv64_fp_settle(rv64(cpu));
    if (rv64(cpu)->pmu.on)
        rv64_pmu_sync(rv64(cpu));
}

void rv64_changed(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    c->x[0] = 0;
    c->pc &= ~UINT64_C(1);
    c->dirty = 0;
    rv64_set_privilege(cpu, rv64_privilege(cpu));
    rv64_table_changed(cpu);
    rv64_pmu_resume(c);
    rv64_interrupts_update(cpu);
}
