/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * timer.c: the generic timer (Arm ARM D11): EL1 physical and virtual timer of each PE, on one counter of 62.5 MHz that
 * is computed from the host's TSC. CNTVOFF is 0. The event stream is not generated: WFE never sleeps.
 */
#include "system.h"

#define CTL_ENABLE 1u
#define CTL_IMASK 2u
#define PPI_VIRTUAL 27
#define PPI_PHYSICAL 30

void a64_timer_init(struct cpu *cpu) { engine_clock_init(cpu, &a64(cpu)->clock, A64_CNTFRQ); }

uint64_t a64_timer_count(struct cpu *cpu) { return engine_clock_count(cpu, &a64(cpu)->clock); }

/* One timer: its interrupt line now, and the TSC value of its next event (~0: none). */
static uint64_t timer_state(const struct a64_cpu *c, uint64_t ctl, uint64_t cval, uint64_t count, bool *level) {
    bool on = (ctl & (CTL_ENABLE | CTL_IMASK)) == CTL_ENABLE;
    *level = on && count >= cval;
    return on && count < cval ? engine_clock_tsc(&c->c, &c->clock, count, cval) : ~UINT64_C(0);
}

static void timer_evaluate(struct cpu *cpu, bool rearm) {
    struct a64_cpu *c = a64(cpu);
    uint64_t count = a64_timer_count(cpu);
    bool v, p;
    uint64_t next = timer_state(c, c->sys.cntv_ctl, c->sys.cntv_cval, count, &v);
    uint64_t next_p = timer_state(c, c->sys.cntp_ctl, c->sys.cntp_cval, count, &p);
    a64_gic_set_ppi(cpu, PPI_VIRTUAL, v);
    a64_gic_set_ppi(cpu, PPI_PHYSICAL, p);
    uint64_t next_pmu = a64_pmu_deadline(cpu);
    next = next < next_p ? next : next_p;
    engine_deadline(cpu, next < next_pmu ? next : next_pmu, rearm);
    a64_gic_update(cpu);
}

void a64_timer_update(struct cpu *cpu) { timer_evaluate(cpu, false); }

void a64_timer_expired(struct cpu *cpu) { timer_evaluate(cpu, true); }

/* --- CNT*_EL0 accesses: is set for the physical timer, clear for the virtual one -------------- */

static uint64_t *ctl_of(struct a64_cpu *c, bool physical) { return physical ? &c->sys.cntp_ctl : &c->sys.cntv_ctl; }

static uint64_t *cval_of(struct a64_cpu *c, bool physical) { return physical ? &c->sys.cntp_cval : &c->sys.cntv_cval; }

uint64_t a64_timer_read(struct cpu *cpu, enum a64_timer_reg reg, bool physical) {
    struct a64_cpu *c = a64(cpu);
    uint64_t count = a64_timer_count(cpu), ctl = *ctl_of(c, physical), cval = *cval_of(c, physical);
    switch (reg) {
    case A64_TIMER_CTL: return ctl | (ctl & CTL_ENABLE && count >= cval ? 4 : 0); /* ISTATUS */
    case A64_TIMER_CVAL: return cval;
    default: return (uint32_t)(cval - count);
    }
}

void a64_timer_write(struct cpu *cpu, enum a64_timer_reg reg, bool physical, uint64_t value) {
    struct a64_cpu *c = a64(cpu);
    if (reg == A64_TIMER_CTL)
        *ctl_of(c, physical) = value & (CTL_ENABLE | CTL_IMASK);
    else if (reg == A64_TIMER_CVAL)
        *cval_of(c, physical) = value;
    else
        *cval_of(c, physical) = a64_timer_count(cpu) + (uint64_t)(int64_t)(int32_t)value;
    a64_timer_update(cpu);
}
