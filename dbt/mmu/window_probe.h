/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * window_probe.h: the check that emitted code makes before an access under the window strategy, and how it is rewritten
 * in place as the engine learns what the probe meets. window.c says what a region and a delta are.
 */
#ifndef DBT_MMU_WINDOW_PROBE_H
#define DBT_MMU_WINDOW_PROBE_H

#include "dbt/mmu/mmu_int.h"

#define REGION_SHIFT 39
#define REGION_HASH 512
#define NULL_DELTA 1 /* bit of a delta that leads nowhere */
#define WINDOW_PROBES 8192

/* What is known of probes, by hash. Those that share an entry share its counters: the worst of that is a decision that
 * comes early or late, while taking turns with an entry could put it off for ever. */
struct window_probes {
    struct site {
        uint16_t used; /* accesses in C since a probe last got a prediction */
        uint8_t misses, faults, lost;
    } site[WINDOW_PROBES];
};

/* window_delta_disp(): of a view's deltas, from the view. */
static inline int32_t window_delta_disp(const struct cpu *cpu) {
    return (int32_t)(sizeof(struct view) + mmu_of(cpu)->deltas_at);
}
static inline uint32_t region_of(uint64_t va) { return (uint32_t)(va >> REGION_SHIFT); }
/* region_index(): of a region's delta, in a view's. Where addresses may have more than 48 bits, a kernel spreads its
 * own over regions of which many end in the same nine bits. */
static inline uint32_t region_index(const struct cpu *cpu, uint32_t region) {
    return (region + (cpu->guest->wide_va ? region >> 9 : 0)) % REGION_HASH;
}

/* window_probe_none(): no probe: the guest's address is the host's. Only whether it is aligned is looked at, if it has
 * to be. */
void window_probe_none(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p);
/* window_probe_retry(): as mmu_ops.emit_retry(), where the guest's address may be the host's: there the access is
 * tried, unless the probe p has no prediction as yet. */
void window_probe_retry(struct asm_buf *a, const struct mmu_probe *p, struct asm_label *access);
/* window_probe_emit(): mmu_ops.emit_probe. */
void window_probe_emit(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p);
/* mmu_ops.place and what is emitted for it: a place is a region. */
uint64_t window_place(const struct cpu *cpu, uint64_t va);
uint64_t window_place_index(const struct cpu *cpu, uint64_t number);
void window_place_number(struct asm_buf *a, unsigned reg);
void window_place_emit(struct asm_buf *a, const struct cpu *cpu, unsigned reg, struct asm_label *other);
void window_place_wanted(struct asm_buf *a, const uint8_t *site, struct asm_label *other);
/* window_probe_miss(): the probe at slow->site failed, or the access behind it faulted. Sets slow->unpredicted. */
void window_probe_miss(struct cpu *cpu, struct window_probes *probes, struct mmu_slow *slow);
/* window_probe_credit(): the access found its page mapped: a probe without a prediction comes closer to one. */
void window_probe_credit(struct cpu *cpu, struct window_probes *probes, const struct mmu_slow *slow);

#endif
