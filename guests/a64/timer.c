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
#define NEVER (UINT64_C(1) << 50) /* counts: 208 days; what lies further ahead is not waited for */

/* hi:0 / divisor for hi < divisor: 64 steps of long division, at start only (there is no libgcc in the engine). */
static uint64_t divide_shifted(uint64_t hi, uint64_t divisor) {
    uint64_t quotient = 0;
    for (int i = 0; i < 64; i++) {
        bool carry = hi >> 63;
        hi <<= 1;
        quotient <<= 1;
        if (carry || hi >= divisor) {
            hi -= divisor;
            quotient |= 1;
        }
    }
    return quotient;
}

void a64_timer_init(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    uint64_t hz = cpu->boot->tsc_hz;
    c->timer_mult = hz > A64_CNTFRQ ? divide_shifted(A64_CNTFRQ, hz) : ~UINT64_C(0);
    c->timer_ticks = hz > A64_CNTFRQ ? hz / A64_CNTFRQ : 1;
    c->timer_ticks_frac = hz > A64_CNTFRQ ? divide_shifted(hz % A64_CNTFRQ, A64_CNTFRQ) : 0;
    __atomic_store_n((uint64_t *)&cpu->abi.timer_deadline, ~UINT64_C(0), __ATOMIC_RELEASE);
}

static uint64_t count_at(const struct a64_cpu *c, uint64_t tsc) {
    uint64_t base = c->c.boot->tsc_base;
    return tsc > base ? (uint64_t)((unsigned __int128)(tsc - base) * c->timer_mult >> 64) : 0;
}

uint64_t a64_timer_count(struct cpu *cpu) { return count_at(a64(cpu), rt_ticks()); }

/* The first TSC value at which the counter has reached cval. A function of cval alone, so that looking twice at one
 * event gives one deadline and rings no doorbell. */
static uint64_t tsc_of(const struct a64_cpu *c, uint64_t cval) {
    return c->c.boot->tsc_base + cval * c->timer_ticks +
           (uint64_t)((unsigned __int128)cval * c->timer_ticks_frac >> 64) + 2;
}

/* One timer: its interrupt line now, and the TSC value of its next event (~0: none). */
static uint64_t timer_state(const struct a64_cpu *c, uint64_t ctl, uint64_t cval, uint64_t count, bool *level) {
    bool on = (ctl & (CTL_ENABLE | CTL_IMASK)) == CTL_ENABLE;
    *level = on && count >= cval;
    return on && count < cval && cval - count < NEVER ? tsc_of(c, cval) : ~UINT64_C(0);
}

/* The monitor looks at the deadlines when its timer fires. It has to be told only of one that is due before that (give or
 * take two microseconds): the doorbell wakes a thread, which takes tens of them. rearm: it has seen this deadline pass. */
static void publish_deadline(struct cpu *cpu, uint64_t deadline, bool rearm) {
    uint64_t before = __atomic_load_n((uint64_t *)&cpu->abi.timer_deadline, __ATOMIC_RELAXED);
    if (deadline == before && !rearm)
        return;
    /* It stores timer_armed before it looks at the deadlines for the last time. */
    __atomic_store_n((uint64_t *)&cpu->abi.timer_deadline, deadline, __ATOMIC_SEQ_CST);
    uint64_t armed = __atomic_load_n((uint64_t *)&cpu->shared->timer_armed, __ATOMIC_SEQ_CST);
    uint64_t slack = cpu->boot->tsc_hz >> 19;
    if (deadline != ~UINT64_C(0) && (!armed || deadline < armed - slack))
        rt_doorbell(cpu, ABI_DB_TIMER);
}

static void timer_evaluate(struct cpu *cpu, bool rearm) {
    struct a64_cpu *c = a64(cpu);
    uint64_t count = a64_timer_count(cpu);
    bool v, p;
    uint64_t next = timer_state(c, c->sys.cntv_ctl, c->sys.cntv_cval, count, &v);
    uint64_t next_p = timer_state(c, c->sys.cntp_ctl, c->sys.cntp_cval, count, &p);
    a64_gic_set_ppi(cpu, PPI_VIRTUAL, v);
    a64_gic_set_ppi(cpu, PPI_PHYSICAL, p);
    publish_deadline(cpu, next < next_p ? next : next_p, rearm);
    a64_gic_update(cpu);
}

void a64_timer_update(struct cpu *cpu) { timer_evaluate(cpu, false); }

void a64_timer_expired(struct cpu *cpu) { timer_evaluate(cpu, true); }

/* --- CNT*_EL0 accesses: is set for the physical timer, clear for the virtual one ----------------------------- */

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
