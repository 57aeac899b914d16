/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pmu.c: the performance counters (Zihpm; volume II, 3.1.10) with their filters and interrupt (Sscofpmf), and the calls
 * of the SBI for them. A cycle is a tick of the host's TSC; none pass while the hart waits for an interrupt. What else
 * they count: graft/pmu.h.
 *
 * Of mhpmcounter3 to 31 there are the first six; the others are 0. An event has the number that the SBI has for it.
 * mcycle and minstret are of a clock and always run (csr.c).
 */
#include "guests/rv64/csr.h"

#define EVENT_OF BIT(63)
#define EVENT_M BIT(62) /* not counted in machine mode */
#define EVENT_S BIT(61)
#define EVENT_U BIT(60)
#define EVENT_CODE MASK(20)
#define FIRST 3u
#define COUNTERS (MASK(RV64_HPMS) << FIRST) /* in mcountinhibit, scountovf, masks of the SBI */
#define NEVER (UINT64_C(1) << 56)           /* ticks; what lies further ahead is not waited for */

enum { CYCLES = 1, INSTRUCTIONS = 2, BRANCHES = 5, LOADS = 0x10000, STORES = 0x10002 };

static uint32_t raws_of(uint64_t event) {
    switch (event & EVENT_CODE) {
    case INSTRUCTIONS: return RV64_RAW(INSNS);
    case BRANCHES: return RV64_RAW(BRANCHES);
    case LOADS: return RV64_RAW(LOADS);
    case STORES: return RV64_RAW(STORES);
    default: return 0;
    }
}

static bool is_cycles(uint64_t event) { return (event & EVENT_CODE) == CYCLES; }

/* Events that there are not read as none. */
static uint64_t legal(uint64_t event) {
    bool known = raws_of(event) || is_cycles(event);
    return (event & (EVENT_OF | EVENT_M | EVENT_S | EVENT_U)) | (known ? event & EVENT_CODE : 0);
}

/* --- counting --------------------------------------------------------------------------------- */

static bool counts(const struct rv64_pmu *p, unsigned n) {
    return !(p->inhibit >> (FIRST + n) & 1) && p->event[n] & EVENT_CODE;
}

static bool counts_at(const struct rv64_pmu *p, unsigned n, enum rv64_privilege level) {
    uint64_t off = level == RV64_PRIV_M ? EVENT_M : level == RV64_PRIV_S ? EVENT_S : EVENT_U;
    return counts(p, n) && !(p->event[n] & off);
}

/* An overflow is news once: until software clears OF. */
static void add(struct rv64_cpu *c, unsigned n, uint64_t delta) {
    struct rv64_pmu *p = &c->pmu;
    p->value[n] += delta;
    if (LIKELY(p->value[n] >= delta) || p->event[n] & EVENT_OF)
        return;
    p->event[n] |= EVENT_OF;
    c->mip |= BIT(IRQ_OVERFLOW);
    rv64_check_interrupts(&c->c);
}

void rv64_pmu_sync(struct rv64_cpu *c) {
    struct pmu_growth g = pmu_grow(&c->pmu.seen, &c->counts, rt_ticks());
    enum rv64_privilege level = rv64_privilege(&c->c);
    for (unsigned n = 0; n < RV64_HPMS; n++)
        if (counts_at(&c->pmu, n, level))
            add(c, n, is_cycles(c->pmu.event[n]) ? g.ticks : pmu_sum(&g, raws_of(c->pmu.event[n])));
}

static uint32_t needs_at(const struct rv64_pmu *p, enum rv64_privilege level) {
    uint32_t needs = 0;
    for (unsigned n = 0; n < RV64_HPMS; n++)
        if (counts_at(p, n, level))
            needs |= raws_of(p->event[n]);
    return needs ? needs | RV64_RAW(INSNS) : 0;
}

/* After a change of the registers or an overflow: what blocks count. */
static void update(struct rv64_cpu *c) {
    struct rv64_pmu *p = &c->pmu;
    uint64_t left = ~UINT64_C(0) >> 1;
    p->on = false;
    for (unsigned n = 0; n < RV64_HPMS; n++) {
        uint64_t insns = counts(p, n) ? pmu_insns_left(-p->value[n], raws_of(p->event[n])) : left;
        p->on |= counts(p, n);
        left = insns && insns < left ? insns : left; /* at 0 there is the whole way to go */
    }
    for (unsigned level = RV64_PRIV_U; level <= RV64_PRIV_M; level++)
        p->needs[level] = needs_at(p, (enum rv64_privilege)level);
    c->counts.limit = c->counts.raw[PMU_INSNS] + left;
}

bool rv64_pmu_at_limit(struct rv64_cpu *c) {
    if (!c->pmu.on || c->counts.raw[PMU_INSNS] < c->counts.limit)
        return false;
    rv64_pmu_sync(c);
    update(c);
    return true;
}

uint64_t rv64_pmu_deadline(struct rv64_cpu *c) {
    struct rv64_pmu *p = &c->pmu;
    uint64_t left = NEVER;
    if (LIKELY(!p->on))
        return ~UINT64_C(0);
    rv64_pmu_sync(c);
    for (unsigned n = 0; n < RV64_HPMS && !p->seen.stopped; n++)
        if (counts(p, n) && is_cycles(p->event[n]) && !(p->event[n] & EVENT_OF) && -p->value[n] - 1 < left)
            left = -p->value[n];
    return left < NEVER ? p->seen.ticks + left : ~UINT64_C(0);
}

void rv64_pmu_stop(struct rv64_cpu *c, bool stop) {
    rv64_pmu_sync(c);
    c->pmu.seen.stopped = stop;
}

void rv64_pmu_resume(struct rv64_cpu *c) {
    pmu_restart(&c->pmu.seen, &c->counts, rt_ticks());
    c->pmu.seen.stopped = false;
    for (unsigned n = 0; n < RV64_HPMS; n++)
        c->pmu.event[n] = legal(c->pmu.event[n]);
    update(c);
}

void rv64_pmu_reset(struct rv64_cpu *c) {
    memset(&c->pmu, 0, sizeof c->pmu);
    memset(&c->counts, 0, sizeof c->counts);
    rv64_pmu_resume(c);
}

/* --- registers -------------------------------------------------------------------------------- */

/* before(), after(): a register is accessed. An instruction that stops all counters was in a block that counted it. */
static struct rv64_pmu *before(struct rv64_cpu *c) {
    if (c->pmu.on)
        rv64_pmu_sync(c);
    else
        pmu_restart(&c->pmu.seen, &c->counts, rt_ticks());
    return &c->pmu;
}

static void after(struct rv64_cpu *c) {
    update(c);
    rv64_timer_update(&c->c, false);
}

uint64_t rv64_pmu_value(struct rv64_cpu *c, unsigned n) {
    return n - FIRST < RV64_HPMS ? before(c)->value[n - FIRST] : 0;
}

uint64_t rv64_pmu_event(struct rv64_cpu *c, unsigned n) {
    return n - FIRST < RV64_HPMS ? before(c)->event[n - FIRST] : 0;
}

uint64_t rv64_pmu_overflown(struct rv64_cpu *c) {
    const struct rv64_pmu *p = before(c);
    uint64_t set = 0;
    for (unsigned n = 0; n < RV64_HPMS; n++)
        set |= (p->event[n] & EVENT_OF) >> 63 << (FIRST + n);
    return set;
}

void rv64_pmu_set_value(struct rv64_cpu *c, unsigned n, uint64_t value) {
    if (n - FIRST < RV64_HPMS)
        before(c)->value[n - FIRST] = value;
    after(c);
}

void rv64_pmu_set_event(struct rv64_cpu *c, unsigned n, uint64_t event) {
    if (n - FIRST < RV64_HPMS)
        before(c)->event[n - FIRST] = legal(event);
    after(c);
}

void rv64_pmu_set_inhibit(struct rv64_cpu *c, uint64_t inhibit) {
    before(c)->inhibit = inhibit & COUNTERS;
    after(c);
}

/* --- the SBI's extension: a counter has the number of its register among all of them ---------- */

static int64_t counter_info(unsigned n, uint64_t *value) {
    if (n - FIRST >= RV64_HPMS)
        return SBI_INVALID_PARAM;
    *value = (RV64_CSR_CYCLE + n) | 63u << 12; /* the register's number, its width less 1 */
    return SBI_SUCCESS;
}

/* What counter_config_matching() has in flags. */
#define CONFIG_SKIP_MATCH BIT(0)
#define CONFIG_CLEAR_VALUE BIT(1)
#define CONFIG_AUTO_START BIT(2)
#define CONFIG_NOT_U BIT(5)
#define CONFIG_NOT_S BIT(6)
#define CONFIG_NOT_M BIT(7)
#define EVENT_RAW 0x20000u /* the event is in another argument */

static int64_t configure(struct rv64_cpu *c, uint64_t mask, uint64_t flags, uint64_t event, uint64_t data,
                         uint64_t *value) {
    struct rv64_pmu *p = before(c);
    event = legal(event == EVENT_RAW ? data & EVENT_CODE : event & EVENT_CODE);
    for (unsigned n = 0; n < RV64_HPMS; n++) {
        bool free = flags & CONFIG_SKIP_MATCH || !(p->event[n] & EVENT_CODE);
        if (!event || !free || !(mask >> (FIRST + n) & 1))
            continue;
        p->event[n] = event | (flags & CONFIG_NOT_U ? EVENT_U : 0) | (flags & CONFIG_NOT_S ? EVENT_S : 0) |
                      (flags & CONFIG_NOT_M ? EVENT_M : 0);
        p->value[n] = flags & CONFIG_CLEAR_VALUE ? 0 : p->value[n];
        p->inhibit = flags & CONFIG_AUTO_START ? p->inhibit & ~BIT(FIRST + n) : p->inhibit | BIT(FIRST + n);
        *value = FIRST + n;
        after(c);
        return SBI_SUCCESS;
    }
    return SBI_NOT_SUPPORTED;
}

/* Starts or stops a set of counters: an error if one of them is no counter, or all have been so already. */
static int64_t change(struct rv64_cpu *c, uint64_t mask, bool start, uint64_t flags, uint64_t initial) {
    struct rv64_pmu *p = before(c);
    bool changed = false;
    if (!mask || mask & ~COUNTERS)
        return SBI_INVALID_PARAM;
    for (unsigned n = 0; n < RV64_HPMS; n++) {
        uint64_t bit = BIT(FIRST + n);
        if (!(mask & bit))
            continue;
        if (start && !(p->event[n] & EVENT_CODE))
            return SBI_INVALID_PARAM;
        changed |= !(p->inhibit & bit) != start;
        p->inhibit = start ? p->inhibit & ~bit : p->inhibit | bit;
        if (start)
            p->event[n] &= ~EVENT_OF;
        if (start && flags & 1) /* there is a value to begin with */
            p->value[n] = initial;
        if (!start && flags & 1) /* the counter is free again */
            p->event[n] = 0;
    }
    after(c);
    return changed ? SBI_SUCCESS : start ? SBI_ALREADY_STARTED : SBI_ALREADY_STOPPED;
}

int64_t rv64_pmu_call(struct rv64_cpu *c, uint64_t function, const uint64_t *a, uint64_t *value) {
    uint64_t mask = a[0] == ~UINT64_C(0) ? COUNTERS : a[0] < 64 ? a[1] << a[0] : 0;
    switch (function) {
    case 0: *value = FIRST + RV64_HPMS; return SBI_SUCCESS;
    case 1: return counter_info((unsigned)(a[0] < 64 ? a[0] : 64), value);
    case 2: return configure(c, mask, a[2], a[3], a[4], value);
    case 3: return change(c, mask, true, a[2], a[3]);
    case 4: return change(c, mask, false, a[2], 0);
    case 5:
    case 6: return SBI_INVALID_PARAM; /* firmware's own counters: there are none */
    default: return SBI_NOT_SUPPORTED;
    }
}
