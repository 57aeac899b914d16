/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * windows.h: guest pages as host pages, in 512 GiB windows of the host's address space: what the strategies `window`
 * and `process` share. docs/internals.md has the picture.
 *
 * A view holds a delta by the low nine bits of the region number (va >> 39), to which the other bits are added if the
 * guest's addresses may have more than 48 (region_index()); an access goes to va + delta. For any other region with the
 * same index the sum is not canonical, so a delta can never be applied to the wrong region: it faults. (Two regions
 * have one index if their difference, and the carry that it gives to the upper bits, which is -1, 0 or 1 and of its
 * sign, are 0 together modulo 512: a difference of 511 or more.) Which slots of 512 GiB are windows says
 * abi_boot.window_slots; their neighbours and abi_boot.null_slot are never mapped. The null slot is where a delta
 * points to while its region has no window. The sum of an address and a displacement of less than 2 GiB stays inside
 * the window or its guards.
 *
 * Invalidation of a whole space re-reads the guest's tables for what is mapped now (resync.c) rather than throwing it
 * away: a fault costs as much as a hundred walks. Windows of spaces that are not current wait for that until they are
 * used again.
 *
 * A window is found by the root of its tables, not by ASID: a kernel that gives itself and its processes different
 * ASIDs over the same tables shares it. An ASID that has no view attached to the window may expect to see newer tables,
 * so attaching the first one is another occasion to re-read them.
 */
#ifndef DBT_MMU_WINDOWS_H
#define DBT_MMU_WINDOWS_H

#include "dbt/mmu/recent.h"
#include "dbt/mmu/rmap.h"
#include "dbt/mmu/window_probe.h"

#define WINDOWS_MAX 128

enum window_state_kind {
    WINDOW_FREE,
    WINDOW_LIVE,
    WINDOW_STALE /* resync before use */,
    WINDOW_DEAD /* free after a flush */
};
struct window {
    uint64_t root; /* mmu_space.root */
    uint32_t region;
    uint8_t regime, state;
    bool hi;
    bool has_global;    /* lower half: holds entries of all ASIDs */
    bool has_nonglobal; /* upper half: holds entries that are tagged with an ASID */
    bool giant;         /* holds parts of a guest block larger than 2 MiB */
    uint64_t *pdpt;
};

/* How pages are used, by hash of their address. */
#define HEAT_PAGES 16384
#define HEAT_CHUNKS 256
#define FICKLE 4 /* times that a page was unmapped after which it is better not mapped */
#define SOUGHT 4 /* of a chunk's pages: from then on a page is mapped before an access asks for it */
#define SOUGHT_MAX 15
struct heat {
    uint8_t sought[HEAT_CHUNKS];  /* by 2 MiB: pages mapped at a fault count for two, those unmapped against it */
    uint8_t touched[HEAT_PAGES];  /* accesses in C since a page was mapped or unmapped */
    uint8_t unmapped[HEAT_PAGES]; /* how often a page was unmapped, up to FICKLE */
};
static inline unsigned heat_index(uint64_t va) { return (uint32_t)(va >> PAGE_SHIFT) * 0x9e3779b1u >> 18; }
static inline uint8_t *heat_sought(struct heat *h, uint64_t va) {
    return &h->sought[(uint32_t)(va >> HUGE_SHIFT) * 0x9e3779b1u >> 24];
}
/* heat_found(), heat_lost(): a page was mapped because an access had faulted; a page was unmapped. */
static inline void heat_found(struct heat *h, uint64_t va) {
    uint8_t *n = heat_sought(h, va);
    *n += *n < SOUGHT_MAX - 1 ? 2 : 0;
}
static inline void heat_lost(struct heat *h, uint64_t va) {
    uint8_t *n = heat_sought(h, va);
    *n -= *n > 0;
}

/* The first part of the strategy's state. */
struct windows {
    struct window win[WINDOWS_MAX];
    uint8_t slot[WINDOWS_MAX];   /* of each window: its host addresses are slot << 39 and up */
    uint8_t window_of_slot[256]; /* number of the window + 1, 0: none */
    uint64_t base;               /* abi_boot.windows_va: where slot 0 begins */
    bool direct;                 /* the guest's own addresses lead to the same pages (direct.c) ... */
    unsigned direct_bits;        /* ... if all bits from that one on are equal */
    unsigned count;
    unsigned ever;                 /* no window from that one on has been in use */
    unsigned hand;                 /* the last window that was dropped to make room */
    uint16_t refused[REGION_HASH]; /* accesses in C to regions that got no window, by region_index() */
    uint64_t null_slot;
    unsigned run_max; /* pages of a lower half that are mapped together, if the guest maps them linearly: 16 .. 512, a
                         power of 2 */
    bool cut_huge;    /* that holds for 2 MiB that could be one host page, too */
    bool dead;        /* some windows are WINDOW_DEAD */
    struct pages pages;
    struct rmap rmap;
    struct heat heat;
    struct recent recent; /* knows host addresses: forgets them when a view is led elsewhere */
};
static inline struct windows *windows_of(const struct cpu *cpu) { return mmu_of(cpu)->windows; }
/* view_deltas(): of a view, by region_index(). */
static inline uint64_t *view_deltas(const struct cpu *cpu, struct view *v) {
    return (uint64_t *)((char *)(v + 1) + mmu_of(cpu)->deltas_at);
}

static inline uint64_t window_slot(const struct windows *ws, const struct window *w) { return ws->slot[w - ws->win]; }
static inline uint64_t window_delta(const struct windows *ws, const struct window *w) {
    return ws->base + ((window_slot(ws, w) - w->region) << REGION_SHIFT);
}
static inline uint64_t window_host(const struct windows *ws, const struct window *w, uint64_t va) {
    return ws->base | window_slot(ws, w) << REGION_SHIFT | (va & MASK(REGION_SHIFT));
}
/* window_guest(): the guest's address of a host address in the window. */
static inline uint64_t window_guest(const struct window *w, uint64_t host) {
    return (uint64_t)w->region << REGION_SHIFT | (host & MASK(REGION_SHIFT));
}
/* windows_lack(): has the current view no window for that region, and was it refused one? */
static inline bool windows_lack(const struct cpu *cpu, uint32_t region) {
    uint32_t index = region_index(cpu, region);
    return windows_of(cpu)->refused[index] && view_deltas(cpu, mmu_of(cpu)->view)[index] & NULL_DELTA;
}
/* region_is_direct(): may the guest's own addresses lead to pages of that region? Not with a tag, and not where the
 * engine and the windows are. */
static inline bool region_is_direct(const struct windows *ws, uint32_t region) {
    uint32_t above = region >> (ws->direct_bits - REGION_SHIFT);
    return (above == 0 || above == MASK(64 - ws->direct_bits)) &&
           region / REGION_HASH != (ws->base >> REGION_SHIFT) / REGION_HASH;
}
/* window_is_direct(): do they lead to its pages, in roots of views that lead to the window and have the room? */
static inline bool window_is_direct(const struct windows *ws, const struct window *w) {
    return ws->direct && region_is_direct(ws, w->region);
}

/* --- windows.c -------------------------------------------------------------------------------- */
/* windows_init(): ws is zeroed; entries: pages of RAM that can be mapped writable one by one before all is dropped. */
void windows_init(struct cpu *cpu, struct windows *ws, uint64_t entries);
/* windows_view_init(): the deltas of a view that was set up just now. */
void windows_view_init(struct cpu *cpu, struct view *v);
/* window_at(): the window that a host address is in, NULL if there is none in use. */
struct window *window_at(struct windows *ws, uint64_t host);
/* window_for(): the live window for va in that view; sets the view's delta. NULL: none to be had; or all are in use by
 * this very space, and there have not been enough accesses to that region yet to take another one's. */
struct window *window_for(struct cpu *cpu, struct view *v, uint64_t va);
/* window_publish(): the roots of views that have their own lead to the window if the views do. After its PML4 entry
 * changed. */
void window_publish(struct cpu *cpu, struct window *w);
/* window_attach(): the view leads to the window. */
void window_attach(struct cpu *cpu, struct view *v, struct window *w);
/* window_detach(): no view leads to the window any more; its contents stay. */
void window_detach(struct cpu *cpu, struct window *w);
void window_drop(struct cpu *cpu, struct window *w);
void windows_drop_all(struct cpu *cpu);
/* windows_evict(): drops some windows and flushes. False if there are none but keep. */
bool windows_evict(struct cpu *cpu, const struct window *keep);
/* window_has_root(): does the window belong to that context? */
bool window_has_root(const struct context *c, const struct window *w);
/* windows_flush(): what is pending of the pages of some regimes, a bit each. windows_sync(): of the current regime;
 * what is left is hidden until the vCPU enters its regime. */
void windows_flush(struct cpu *cpu, uint8_t regimes);
void windows_sync(struct cpu *cpu);
void windows_invalidate(struct cpu *cpu, const struct mmu_inval *inv);
/* window_is_hit(): may the invalidation concern what the window holds, if its address does? */
bool window_is_hit(struct cpu *cpu, const struct window *w, const struct mmu_inval *inv);

/* --- check.c ---------------------------------------------------------------------------------- */
/* windows_check(): panics if windows of the current spaces map anything that inv was to take away. */
void windows_check(struct cpu *cpu, const struct mmu_inval *inv);

/* --- windows_map.c ---------------------------------------------------------------------------- */
/* Pages around an access that the guest maps linearly, with the same attributes: [first, first + count) of its 2
 * MiB. */
struct run {
    unsigned first, count;
    uint64_t pa; /* of first */
    bool block;  /* of a guest block mapping */
};
struct run run_of(const struct cpu *cpu, uint64_t va, const struct walk *w);
/* page_writable(): may the page at pa be mapped writable when a write to it was just done (wrote), or on occasion of
 * something else? */
bool page_writable(struct cpu *cpu, uint64_t pa, bool wrote);
/* window_can_map(): is what the walk found something that an access like that may have mapped? */
bool window_can_map(struct cpu *cpu, enum mmu_access access, const struct walk *w);
/* window_mapped(): is the access possible already? */
bool window_mapped(struct cpu *cpu, const struct window *win, uint64_t va, uint64_t pa, bool write);
/* window_map(): maps va in the window that v leads it to, and what goes with it. False: no memory for the tables. */
bool window_map(struct cpu *cpu, struct window *win, struct view *v, uint64_t va, enum mmu_access access,
                const struct walk *w);
/* windows_protect(): no window lets anyone write to that page of RAM any more. */
void windows_protect(struct cpu *cpu, struct gpa page);

/* --- resync.c --------------------------------------------------------------------------------- */
/* window_kind_is_new(): a mapping of the same page, but of another kind than the window is prepared for, has to be
 * filled anew: a TLBI must reach all of it (block: of a guest block, as the page-directory entry says). */
bool window_kind_is_new(const struct window *win, const struct walk *w, bool block);
/* window_resync(): brings what is mapped in line with the guest's tables, which must be those of the current context.
 * The window is dropped if that is not worth it. */
void window_resync(struct cpu *cpu, struct window *w);
/* window_remap(): maps a page that was unmapped again, if it may be written to now. */
bool window_remap(struct cpu *cpu, const struct window *win, uint64_t pde, uint64_t *pte, uint64_t host);

#endif
