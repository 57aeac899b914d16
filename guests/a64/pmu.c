/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pmu.c: the performance monitors, PMUv3 (Arm ARM D7): a cycle counter, six event counters, filters by exception level,
 * overflow interrupt. A cycle is a tick of the host's TSC; none pass while the PE waits for an interrupt.
 *
 * What else there is to count, translated code counts (graft/pmu.h), each instruction when it is done, so one that
 * raises an exception is not counted. What the raw counts have grown by goes to the counters in a64_pmu_sync().
 *
 * PMCEID0_EL0 and PMCEID1_EL0 name the events that count something; there are no caches, TLBs or predictions here that
 * would be a processor's.
 */
#include "system.h"

#define PMCR_E BIT(0)
#define PMCR_P BIT(1)
#define PMCR_C BIT(2)
#define PMCR_D BIT(3)
#define PMCR_LC BIT(6)
#define PMCR_STORED (PMCR_E | PMCR_D | BIT(4) | BIT(5) | PMCR_LC) /* X and DP do nothing here */
#define PMCR_N_SHIFT 11
#define PMCR_A72 UINT64_C(0x41020000) /* IMP, IDCODE */

#define TYPE_P BIT(31)
#define TYPE_U BIT(30)
#define TYPE_EVENT MASK(10)

#define CYCLES BIT(31)
#define COUNTERS (CYCLES | MASK(A64_PMU_COUNTERS))
#define PMSELR_CYCLES 31u
#define PPI_PMU 23
#define NEVER (UINT64_C(1) << 56) /* ticks; what lies further ahead is not waited for */

#define RAW(name) (1u << A64_RAW_##name)

/* The events, and the raw counts that they are the sum of. */
enum {
    SW_INCR = 0x00,
    LD_RETIRED = 0x06,
    ST_RETIRED = 0x07,
    INST_RETIRED = 0x08,
    PC_WRITE_RETIRED = 0x0c,
    BR_IMMED_RETIRED = 0x0d,
    BR_RETURN_RETIRED = 0x0e,
    CPU_CYCLES = 0x11,
    MEM_ACCESS = 0x13,
    CHAIN = 0x1e,
    BR_RETIRED = 0x21,
};
static const uint8_t events[] = {
    SW_INCR,          LD_RETIRED,       ST_RETIRED,        INST_RETIRED, A64_PMU_EXC_TAKEN, A64_PMU_EXC_RETURN,
    PC_WRITE_RETIRED, BR_IMMED_RETIRED, BR_RETURN_RETIRED, CPU_CYCLES,   MEM_ACCESS,        CHAIN,
    BR_RETIRED,
};

static uint32_t raws_of(uint64_t type) {
    switch (type & TYPE_EVENT) {
    case LD_RETIRED: return RAW(LOADS);
    case ST_RETIRED: return RAW(STORES);
    case INST_RETIRED: return RAW(INSNS);
    case PC_WRITE_RETIRED: return RAW(TAKEN);
    case BR_IMMED_RETIRED: return RAW(IMMEDIATE);
    case BR_RETURN_RETIRED: return RAW(RETURNS);
    case MEM_ACCESS: return RAW(LOADS) | RAW(STORES);
    case BR_RETIRED: return RAW(BRANCHES);
    default: return 0;
    }
}

/* --- counting --------------------------------------------------------------------------------- */

/* Does a counter with that filter count at that exception level? */
static bool counts_at(uint64_t type, unsigned el) { return !(type & (el ? TYPE_P : TYPE_U)); }

static bool enabled(const struct a64_pmu *p, uint64_t counter) { return p->pmcr & PMCR_E && p->enabled & counter; }

static void add(struct a64_pmu *p, unsigned n, uint64_t delta, unsigned el) {
    uint64_t v = p->value[n] + delta;
    p->value[n] = (uint32_t)v;
    if (LIKELY(!(v >> 32)))
        return;
    p->overflow |= BIT(n);
    if (n % 2 == 0 && (p->type[n + 1] & TYPE_EVENT) == CHAIN && enabled(p, BIT(n + 1)) && counts_at(p->type[n + 1], el))
        add(p, n + 1, v >> 32, el);
}

static void add_cycles(struct a64_pmu *p, uint64_t ticks) {
    bool divided = p->pmcr & PMCR_D && !(p->pmcr & PMCR_LC);
    uint64_t before = p->cycles;
    if (divided)
        ticks += p->cycles_rest;
    p->cycles_rest = divided ? ticks % 64 : 0;
    p->cycles += divided ? ticks / 64 : ticks;
    if (p->pmcr & PMCR_LC ? p->cycles < before : p->cycles >> 32 != before >> 32)
        p->overflow |= CYCLES;
}

static void set_line(struct cpu *cpu) {
    const struct a64_pmu *p = &a64(cpu)->pmu;
    a64_gic_set_ppi(cpu, PPI_PMU, p->pmcr & PMCR_E && p->overflow & p->interrupts);
    a64_gic_update(cpu);
    a64_check_interrupts(a64(cpu));
}

/* Raises the line itself, whoever calls it: what sees an overflow of cycles may be an exception that comes between the
 * deadline and the news of it, and the next look would find nothing that had changed. */
void a64_pmu_sync(struct a64_cpu *c) {
    struct a64_pmu *p = &c->pmu;
    uint64_t before = p->overflow;
    struct pmu_growth g = pmu_grow(&p->seen, &c->counts, rt_ticks());
    if (enabled(p, CYCLES) && counts_at(p->cycle_filter, c->el))
        add_cycles(p, g.ticks);
    for (unsigned n = 0; n < A64_PMU_COUNTERS; n++) {
        if (!enabled(p, BIT(n)) || !counts_at(p->type[n], c->el))
            continue;
        add(p, n, (p->type[n] & TYPE_EVENT) == CPU_CYCLES ? g.ticks : pmu_sum(&g, raws_of(p->type[n])), c->el);
    }
    if (UNLIKELY(p->overflow != before))
        set_line(&c->c);
}

/* Something happened that C counts, at the current exception level. */
static void count_event(struct a64_cpu *c, uint64_t counters, unsigned event) {
    struct a64_pmu *p = &c->pmu;
    for (unsigned n = 0; n < A64_PMU_COUNTERS; n++)
        if (counters >> n & 1 && (p->type[n] & TYPE_EVENT) == event && enabled(p, BIT(n)) &&
            counts_at(p->type[n], c->el))
            add(p, n, 1, c->el);
}

void a64_pmu_event(struct a64_cpu *c, unsigned event) {
    uint64_t before = c->pmu.overflow;
    count_event(c, COUNTERS, event);
    if (UNLIKELY(c->pmu.overflow != before))
        a64_pmu_update(&c->c);
}

/* --- what depends on the registers ------------------------------------------------------------ */

/* What blocks at that exception level have to count. */
static uint32_t needs_at(const struct a64_pmu *p, unsigned el) {
    uint32_t needs = 0;
    for (unsigned n = 0; n < A64_PMU_COUNTERS; n++)
        if (enabled(p, BIT(n)) && counts_at(p->type[n], el))
            needs |= raws_of(p->type[n]);
    return needs ? needs | RAW(INSNS) : 0;
}

/* Instructions until a counter may overflow. */
static uint64_t insns_left(const struct a64_pmu *p) {
    uint64_t left = ~UINT64_C(0) >> 1;
    for (unsigned n = 0; n < A64_PMU_COUNTERS; n++) {
        uint64_t insns = pmu_insns_left(BIT(32) - p->value[n], enabled(p, BIT(n)) ? raws_of(p->type[n]) : 0);
        left = insns < left ? insns : left;
    }
    return left;
}

void a64_pmu_update(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    struct a64_pmu *p = &c->pmu;
    p->on = enabled(p, COUNTERS);
    for (unsigned el = 0; el < 2; el++)
        p->needs[el] = needs_at(p, el);
    c->counts.limit = c->counts.raw[A64_RAW_INSNS] + insns_left(p);
    set_line(cpu);
}

bool a64_pmu_at_limit(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    if (!c->pmu.on || c->counts.raw[A64_RAW_INSNS] < c->counts.limit)
        return false;
    a64_pmu_sync(c);
    a64_pmu_update(cpu);
    return true;
}

/* Ticks until a counter of cycles overflows whose interrupt is wanted, if it counts all the time. */
static uint64_t ticks_left(const struct a64_pmu *p) {
    uint64_t left = NEVER;
    for (unsigned n = 0; n < A64_PMU_COUNTERS; n++)
        if (enabled(p, BIT(n)) && p->interrupts >> n & 1 && (p->type[n] & TYPE_EVENT) == CPU_CYCLES &&
            BIT(32) - p->value[n] < left)
            left = BIT(32) - p->value[n];
    if (enabled(p, CYCLES) && p->interrupts & CYCLES) {
        uint64_t room = p->pmcr & PMCR_LC ? -p->cycles : BIT(32) - (uint32_t)p->cycles;
        bool divided = p->pmcr & PMCR_D && !(p->pmcr & PMCR_LC);
        if (room && room < left)
            left = divided ? room * 64 : room;
    }
    return left;
}

uint64_t a64_pmu_deadline(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    struct a64_pmu *p = &c->pmu;
    if (LIKELY(!p->on))
        return ~UINT64_C(0);
    a64_pmu_sync(c);
    uint64_t left = p->seen.stopped ? NEVER : ticks_left(p);
    return left < NEVER ? p->seen.ticks + left : ~UINT64_C(0);
}

void a64_pmu_stop(struct cpu *cpu, bool stop) {
    struct a64_cpu *c = a64(cpu);
    a64_pmu_sync(c);
    c->pmu.seen.stopped = stop;
}

void a64_pmu_reset(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    struct a64_pmu *p = &c->pmu;
    memset(p, 0, sizeof *p);
    c->counts = (struct pmu_counts){.limit = ~UINT64_C(0)};
    p->seen.ticks = rt_ticks();
}

void a64_pmu_resume(struct a64_cpu *c) {
    pmu_restart(&c->pmu.seen, &c->counts, rt_ticks());
    c->pmu.seen.stopped = false;
}

/* --- registers -------------------------------------------------------------------------------- */

/* before(), after(): a register is accessed. */
static struct a64_pmu *before(struct a64_cpu *c) {
    struct a64_pmu *p = &c->pmu;
    if (p->on)
        a64_pmu_sync(c);
    else /* an instruction that disabled them was in a block that counted it */
        pmu_restart(&p->seen, &c->counts, rt_ticks());
    return p;
}

static void after(struct a64_cpu *c) {
    a64_pmu_update(&c->c);
    a64_timer_update(&c->c);
}

static uint64_t identity(const struct a64_cpu *c) { return c->c.boot->cpu_model == ABI_CPU_CORE ? PMCR_A72 : 0; }

static uint64_t read_pmcr(struct a64_cpu *c) { return identity(c) | A64_PMU_COUNTERS << PMCR_N_SHIFT | c->pmu.pmcr; }

static void write_pmcr(struct a64_cpu *c, uint64_t value) {
    struct a64_pmu *p = before(c);
    if (value & PMCR_P)
        memset(p->value, 0, sizeof p->value);
    if (value & PMCR_C)
        p->cycles = p->cycles_rest = 0;
    p->pmcr = value & PMCR_STORED;
    after(c);
}

static void change(struct a64_cpu *c, uint64_t *reg, uint64_t set, uint64_t clear) {
    before(c);
    *reg = (*reg | (set & COUNTERS)) & ~clear;
    after(c);
}

static uint64_t read_event_ids(unsigned first) {
    uint64_t ids = 0;
    for (unsigned i = 0; i < ARRAY_LEN(events); i++)
        if (events[i] / 32 == first / 32)
            ids |= BIT(events[i] % 32);
    return ids;
}

static uint64_t read_counter(struct a64_cpu *c, unsigned n) { return n < A64_PMU_COUNTERS ? before(c)->value[n] : 0; }

static void write_counter(struct a64_cpu *c, unsigned n, uint64_t value) {
    if (n < A64_PMU_COUNTERS)
        before(c)->value[n] = (uint32_t)value;
    after(c);
}

static uint64_t read_type(struct a64_cpu *c, unsigned n) {
    return n == PMSELR_CYCLES ? c->pmu.cycle_filter : n < A64_PMU_COUNTERS ? c->pmu.type[n] : 0;
}

static void write_type(struct a64_cpu *c, unsigned n, uint64_t value) {
    struct a64_pmu *p = before(c);
    if (n == PMSELR_CYCLES)
        p->cycle_filter = value & (TYPE_P | TYPE_U);
    else if (n < A64_PMU_COUNTERS)
        p->type[n] = value & (TYPE_P | TYPE_U | TYPE_EVENT);
    after(c);
}

uint64_t a64_pmu_read(struct a64_cpu *c, unsigned reg) {
    switch (reg) {
    case A64_PMCR: return read_pmcr(c);
    case A64_PMCNTENSET:
    case A64_PMCNTENCLR: return c->pmu.enabled;
    case A64_PMOVSSET:
    case A64_PMOVSCLR: return before(c)->overflow;
    case A64_PMINTENSET:
    case A64_PMINTENCLR: return c->pmu.interrupts;
    case A64_PMSELR: return c->pmu.select;
    case A64_PMCEID0: return read_event_ids(0);
    case A64_PMCEID1: return read_event_ids(32);
    case A64_PMCCNTR: return before(c)->cycles;
    case A64_PMXEVTYPER: return read_type(c, c->pmu.select);
    case A64_PMXEVCNTR: return read_counter(c, c->pmu.select);
    case A64_PMUSERENR: return c->pmu.user;
    case A64_PMCCFILTR: return read_type(c, PMSELR_CYCLES);
    default: break;
    }
    unsigned n = reg % A64_PMU_COUNTERS;
    return reg >= A64_PMEVTYPER0 ? read_type(c, n) : read_counter(c, n);
}

void a64_pmu_write(struct a64_cpu *c, unsigned reg, uint64_t value) {
    struct a64_pmu *p = &c->pmu;
    switch (reg) {
    case A64_PMCR: write_pmcr(c, value); return;
    case A64_PMCNTENSET: change(c, &p->enabled, value, 0); return;
    case A64_PMCNTENCLR: change(c, &p->enabled, 0, value); return;
    case A64_PMOVSSET: change(c, &p->overflow, value, 0); return;
    case A64_PMOVSCLR: change(c, &p->overflow, 0, value); return;
    case A64_PMINTENSET: change(c, &p->interrupts, value, 0); return;
    case A64_PMINTENCLR: change(c, &p->interrupts, 0, value); return;
    case A64_PMSELR: p->select = value & 31; return;
    case A64_PMUSERENR: p->user = value & 15; return;
    case A64_PMSWINC:
        before(c);
        count_event(c, value, SW_INCR);
        after(c);
        return;
    case A64_PMCCNTR:
        before(c)->cycles = value;
        after(c);
        return;
    case A64_PMXEVTYPER: write_type(c, (unsigned)p->select, value); return;
    case A64_PMXEVCNTR: write_counter(c, (unsigned)p->select, value); return;
    case A64_PMCCFILTR: write_type(c, PMSELR_CYCLES, value); return;
    default: break;
    }
    unsigned n = reg % A64_PMU_COUNTERS;
    if (reg >= A64_PMEVTYPER0)
        write_type(c, n, value);
    else
        write_counter(c, n, value);
}
