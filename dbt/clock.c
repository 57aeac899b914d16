/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* clock.c: counters of the guest, computed from the host's TSC, and the deadline that the monitor wakes a vCPU for. */
#include "dbt/engine.h"

#define NEVER (UINT64_C(1) << 50) /* counts: 208 days at 62.5 MHz; what lies further ahead is not waited for */

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

void engine_clock_init(struct cpu *cpu, struct engine_clock *k, uint32_t hz) {
    uint64_t tsc_hz = cpu->boot->tsc_hz;
    k->mult = tsc_hz > hz ? divide_shifted(hz, tsc_hz) : ~UINT64_C(0);
    k->ticks = tsc_hz > hz ? tsc_hz / hz : 1;
    k->ticks_frac = tsc_hz > hz ? divide_shifted(tsc_hz % hz, hz) : 0;
    __atomic_store_n((uint64_t *)&cpu->abi.timer_deadline, ~UINT64_C(0), __ATOMIC_RELEASE);
}

uint64_t engine_clock_count(const struct cpu *cpu, const struct engine_clock *k) {
    uint64_t tsc = rt_ticks(), base = cpu->boot->tsc_base;
    return tsc > base ? (uint64_t)((unsigned __int128)(tsc - base) * k->mult >> 64) : 0;
}

uint64_t engine_clock_tsc(const struct cpu *cpu, const struct engine_clock *k, uint64_t now, uint64_t count) {
    if (count > now && count - now >= NEVER)
        return ~UINT64_C(0);
    return cpu->boot->tsc_base + count * k->ticks + (uint64_t)((unsigned __int128)count * k->ticks_frac >> 64) + 2;
}

/* The monitor looks at the deadlines when its timer fires. It has to be told only of one that is due before that (give
 * or take two microseconds): the doorbell wakes a thread, which takes tens of them. */
void engine_deadline(struct cpu *cpu, uint64_t deadline, bool rearm) {
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
