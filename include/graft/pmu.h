/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pmu.h: what the guests' performance monitors have in common. Translated code counts what instructions do, in blocks
 * whose mode says what of it is wanted: raw counts, which only grow. What they, and the host's TSC, have grown by goes
 * to the guest's counters whenever the privilege changes or a register is accessed. Each such block looks first whether
 * a limit is reached, before which no counter can overflow.
 */
#ifndef GRAFT_PMU_H
#define GRAFT_PMU_H

#include "graft/ir.h"

#define PMU_RAWS 7u
#define PMU_INSNS 0u /* the raw count of instructions; what the others are is the guest's matter */

/* What translated code counts, of instructions that are done. */
struct pmu_counts {
    uint64_t raw[PMU_RAWS];
    uint64_t limit; /* at so many instructions blocks leave for guest_ops.exit_fault() */
};
/* The raw counts and the TSC, as they are in the counters. */
struct pmu_seen {
    uint64_t raw[PMU_RAWS], ticks;
    bool stopped; /* no ticks are counted: waiting for an interrupt */
};
struct pmu_growth {
    uint64_t raw[PMU_RAWS], ticks;
};

/* pmu_restart(): counters begin to count now. pmu_grow(): what has come since the last time. */
static inline void pmu_restart(struct pmu_seen *s, const struct pmu_counts *c, uint64_t now) {
    for (unsigned i = 0; i < PMU_RAWS; i++)
        s->raw[i] = c->raw[i];
    s->ticks = now;
}
static inline struct pmu_growth pmu_grow(struct pmu_seen *s, const struct pmu_counts *c, uint64_t now) {
    struct pmu_growth g = {.ticks = s->stopped ? 0 : now - s->ticks};
    for (unsigned i = 0; i < PMU_RAWS; i++)
        g.raw[i] = c->raw[i] - s->raw[i];
    pmu_restart(s, c, now);
    return g;
}
/* pmu_sum(): of the raw counts in a set. */
static inline uint64_t pmu_sum(const struct pmu_growth *g, uint32_t raws) {
    uint64_t sum = 0;
    for (; raws; raws &= raws - 1)
        sum += g->raw[__builtin_ctz(raws)];
    return sum;
}
/* pmu_insns_left(): instructions until a counter of those raw counts may overflow that has so much room: at most two of
 * its events come of each. */
static inline uint64_t pmu_insns_left(uint64_t room, uint32_t raws) {
    if (!raws)
        return ~UINT64_C(0) >> 1;
    return raws & (raws - 1) ? (room + 1) / 2 : room;
}

/* Code that counts: of a set of raw counts, one more each; in front of a block, the look at the limit. counts: where
 * struct pmu_counts is in struct cpu. */
static inline void pmu_emit_count(struct ir_block *b, size_t counts, uint32_t raws) {
    for (; raws; raws &= raws - 1)
        ir_count(b, counts + offsetof(struct pmu_counts, raw) + 8 * (size_t)__builtin_ctz(raws));
}
static inline void pmu_emit_limit(struct ir_block *b, size_t counts, uint64_t pc) {
    irv done = ir_get(b, IR_I64, counts + offsetof(struct pmu_counts, raw[PMU_INSNS]));
    irv limit = ir_get(b, IR_I64, counts + offsetof(struct pmu_counts, limit));
    ir_fault_if(b, ir_cmp(b, IR_CMP_UGE, done, limit), pc);
}

#endif
