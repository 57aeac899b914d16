/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * mmu_int.h: what the memory code shares with itself: contexts (an address-space
 * pair and its views), and a small cache of guest walks for accesses from C.
 * Knows no host: what emits code includes mmu_emit.h.
 */
#ifndef DBT_MMU_INT_H
#define DBT_MMU_INT_H

#include "dbt/engine.h"

#define VIEW_BLOOM_WORDS 64
#define VIEW_USED 92
/* What the engine keeps with each view; translated code knows only the view. */
struct view_slot {
    uint64_t bloom[VIEW_BLOOM_WORDS]; /* pages whose code is in the jump cache */
    uint32_t mode;                    /* all of the jump cache is of this mode */
    bool tagged; /* some of that code is in the lower half, or its translation belongs to an ASID */
    struct context *context;
    struct rt_root root;      /* view.root leads here, if the view has one */
    bool victims;             /* jump_victim is not empty */
    uint32_t uses;            /* entries set since the jump cache was empty */
    uint16_t used[VIEW_USED]; /* the first of them */
    struct view view;
};
_Static_assert(offsetof(struct view_slot, view) % 64 == 0, "views start cache lines");
static inline struct view_slot *view_slot(struct view *v) { return CONTAINER_OF(v, struct view_slot, view); }

/* A pair of address spaces that was current at some time, and its view for each regime (NULL: not needed so far). */
struct context {
    struct mmu_space lo, hi;
    struct view *view[REGIMES]; /* memory stays with the context when it is recycled */
    uint8_t made;               /* bit per regime: the view is set up */
    bool used;
    uint32_t id; /* never reused */
    uint64_t stamp;
};
#define CONTEXTS 64
#define CONTEXT_HASH 128

/* One remembered walk. */
struct walk_entry {
    uint64_t tag; /* va page | regime | WALK_VALID */
    uint32_t context;
    uint8_t *host; /* of the page, NULL if it is not memory */
    bool rom;      /* it is in flash */
    struct walk w; /* pa is the page's */
};
#define WALK_VALID 0x800
#define WALK_ENTRIES 256

#define BLOOM_BITS 32768
struct mmu_state {
    struct context context[CONTEXTS];
    unsigned contexts; /* that fit in the heap */
    struct context *current;
    struct view *view;          /* that GS points to */
    struct view *last[REGIMES]; /* the one with code before it, by regime */
    struct view_slot *null;     /* the view of regimes that the current context has not used */
    uint8_t hash[CONTEXT_HASH]; /* context number + 1, a hint */
    uint32_t next_id;
    uint64_t clock;
    size_t view_bytes;
    bool sync_wanted; /* a downgrade must take effect before translated code runs again */
    uint8_t hidden;   /* bit per regime: cpu->views[] leads to no pages of it until the next flush */
    /* For mmu_retry(): the last access that aborted. The access itself (struct mmu_slow) has ended when the guest
     * returns from the exception that it raised. */
    struct {
        uint64_t pc, va; /* pc ~0: none */
        enum mmu_access access;
        uint8_t regime;
        bool asked; /* it had asked the host's tables: its probe has a prediction */
    } retry;
    uint64_t walks_big; /* by hash of their 2 MiB and 1 GiB: remembered walks of mappings larger than a page */
    struct walk_entry walk[WALK_ENTRIES];
    uint64_t bloom[BLOOM_BITS / 64]; /* union over all views */
    uint32_t bloom_count;
    struct soft_state *soft; /* soft.c, of strategies that have a software TLB */
    struct windows *windows; /* windows.h, of strategies that have them */
    uint32_t deltas_at;      /* offset of a view's deltas in the strategy's part of it */
    struct direct *direct;   /* direct.c */
    void *strategy;          /* the strategy's own state */
};
static inline struct mmu_state *mmu_of(const struct cpu *cpu) { return cpu->engine->mmu; }

/* Mappings larger than a page, as a set of 64 bits by hash: is one at va among them? False is certain. */
static inline uint64_t big_bit(uint64_t va, unsigned shift) {
    uint64_t block = va << 8 >> 8 >> (shift < 30 ? 21 : 30);
    return shift <= PAGE_SHIFT ? 0 : shift > 30 ? ~UINT64_C(0) : BIT(block * UINT64_C(0x9e3779b97f4a7c15) >> 58);
}
static inline bool big_has(uint64_t set, uint64_t va) { return set & (big_bit(va, 21) | big_bit(va, 30)); }

#define MMU_VA_BITS(va) ((va) << 8 >> 20) /* bits 55..12, the part of an address that TLBI compares */

/* view_for(): the current context's view of that regime, set up if need be; NULL if the heap is full. */
struct view *view_for(struct cpu *cpu, unsigned regime);
/* view_empty_victims(): of the view's jump cache. */
void view_empty_victims(struct view *v);
/* view_show(): sets cpu->views[regime]: that view if it is set up and not hidden. */
void view_show(struct cpu *cpu, unsigned regime);
/* view_each(): calls fn for every view that is set up. */
void view_each(struct cpu *cpu, void (*fn)(struct cpu *cpu, struct view *v, void *arg), void *arg);
/* context_forget(): drops all contexts but the current one, or only those of an ASID (any = false). */
void context_forget(struct cpu *cpu, bool any, uint32_t asid);
/* context_unmake(): the views of that ASID's contexts but the current one are set up again when they are next used, if
 * ever: most likely the process is gone. */
void context_unmake(struct cpu *cpu, uint32_t asid);
/* walks_forget(): the remembered walks that inv covers. */
void walks_forget(struct mmu_state *m, const struct mmu_inval *inv);

static inline bool space_equal(struct mmu_space a, struct mmu_space b) { return a.root == b.root && a.asid == b.asid; }

/* mmu_fault_done(): the access that a host fault began, if one did (cpu->fault_ticks), is done, raises the guest's
 * exception or starts again. cause: what the fault was for, one of host_faults_*. */
void mmu_fault_done(struct cpu *cpu, enum abi_stat cause);

extern const struct mmu_ops mmu_process_ops, mmu_window_ops, mmu_soft_ops, mmu_direct_ops;

#endif
