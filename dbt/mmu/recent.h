/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * recent.h: the pages that were used last, for probes without a prediction: a small table that maps a page of a view to
 * what has to be added to an address in it. Such a probe costs some nanoseconds, an access in C a hundred, a host fault
 * thousands; so code that runs a few times, on pages that are touched a few times, needs neither of the latter two.
 *
 * An entry leads to the page in its window, or where it is lent, or else to the page in the engine's own mapping of
 * RAM. It is right for that page alone, so a probe that others are hoisted to has to find all that they access in one.
 */
#ifndef DBT_MMU_RECENT_H
#define DBT_MMU_RECENT_H

#include "dbt/mmu/mmu_int.h"

#define RECENT_PAGES 128
#define RECENT_SAMPLE                                                                                                  \
    64 /* of a page that is mapped, one look-up in so many goes to C, which may give the probe a prediction */
#define RECENT_HEAT 512 /* another one after that many: the page is worth mapping */

/* RECENT_STORES: loads that stores are hoisted to, which do the right thing or fault. */
enum recent_use { RECENT_READ, RECENT_WRITE, RECENT_STORES, RECENT_USES };

struct recent_page {
    uint64_t tag[RECENT_USES]; /* page address + view id, 0: not for that use */
    uint64_t delta;
    uint32_t left;     /* look-ups until the next one goes to C */
    uint32_t ram_page; /* number of the page in RAM */
    uint8_t shift;     /* log2 bytes of the guest's mapping */
    bool mapped;       /* in a window, or lent */
    uint8_t pad[22];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct recent_page) == 64, "shifts of a page number make an offset");

struct recent {
    struct recent_page page[RECENT_PAGES];
    uint32_t last_id;
    uint64_t big; /* mappings larger than a page: see big_has() */
};

/* In each view: what emitted code reads. The id is its memory's for ever; it takes the place of an address's low
 * bits. */
struct recent_view {
    struct recent_page *table;
    uint64_t id;
};
_Static_assert(CONTEXTS < PAGE_SIZE / REGIMES - 1, "each view's id fits below a page's address");

/* recent_view_init(): of a view that was set up just now, in memory that was zero before its first time. */
void recent_view_init(struct recent *r, struct recent_view *v);
/* recent_note(): an access of C's to va was allowed by w and has been done. mapped: delta is of a window, or a loan.
 * left: the next look-up but so many goes to C. */
void recent_note(struct recent *r, const struct recent_view *v, uint64_t va, const struct walk *w, uint32_t ram_page,
                 uint64_t delta, bool mapped, uint32_t left, bool writable);
/* recent_is_mapped(): is va's page known to be mapped, or lent; and, with write, for stores? */
bool recent_is_mapped(struct recent *r, const struct recent_view *v, uint64_t va, bool write);
/* recent_used_up(): has va's page been looked up so often that it is worth mapping? */
bool recent_used_up(struct recent *r, const struct recent_view *v, uint64_t va);
void recent_clear(struct recent *r);
/* recent_forget(): the entries for va in any view. */
void recent_forget(struct recent *r, uint64_t va);
/* recent_protect(): no entry leads to a write to that page any more, except through a window. */
void recent_protect(struct recent *r, uint32_t ram_page);

/* recent_emit_thunks(): view_disp: of the struct recent_view from the GS base. */
void recent_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk, int32_t view_disp);
/* recent_emit(): behind a failed probe: goes to access with the index register set, or on. */
void recent_emit(struct asm_buf *a, const uint8_t *const *thunk, const struct mmu_probe *p, struct asm_label *access);

#endif
