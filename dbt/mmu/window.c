/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * window.c: the window strategy: guest pages are host pages of this vCPU's own page
 * tables, in 512 GiB windows of the lower canonical half. docs/internals.md has the
 * picture.
 *
 * A view holds `delta` by the low nine bits of the region number (va >> 39); an
 * access goes to va + delta. For any other region with the same nine bits the sum is
 * not canonical, so a delta can never be applied to the wrong region: it faults. The
 * probe has two forms of the same length. The predicted one compares the region with
 * an immediate and loads that region's delta from a constant place (the load does not
 * wait for the address); miss() rewrites its immediates, and after a few rounds turns
 * it into the table form, which indexes the table with the region and compares nothing.
 *
 * A host fault costs as much as a hundred accesses in C. A probe therefore starts with a
 * prediction that never holds, so that it looks its page up among those used last (recent.h),
 * and goes to C for the others. When C has seen it often enough on pages that are mapped, it
 * gets its real prediction, and it loses it again, for longer each time, when it faults
 * repeatedly. C maps a page once it is touched often. So code that touches each page a few
 * times (clearing, copying, fixmaps) never faults.
 *
 * Even slots 2 .. 252 are windows, odd ones are guards. Slot 255 is never mapped: that
 * is where a delta points to while its region has no window. The sum of an address and
 * a displacement of less than 2 GiB stays inside the window or its guards.
 *
 * Invalidation of a whole space re-reads the guest's tables for what is mapped now
 * (resync()) rather than throwing it away: a fault costs as much as a hundred walks.
 * Windows of spaces that are not current wait for that until they are used again.
 *
 * A window is found by the root of its tables, not by ASID: a kernel that gives itself
 * and its processes different ASIDs over the same tables shares it. An ASID that has
 * no view attached to the window may expect to see newer tables, so attaching the
 * first one is another occasion for resync().
 */
#include "dbt/mmu/recent.h"
#include "dbt/mmu/window_probe.h"

#define WINDOWS 126
#define NULL_SLOT UINT64_C(255)
#define HUGE_SHIFT 21
#define HUGE_SIZE BIT(HUGE_SHIFT)
#define TABLE_ENTRIES 512u
#define AROUND_PAGES 16u    /* neighbours that one fault fills, where the guest's table is not linear */
#define LINEAR_PAGES 16u    /* a run that long is recorded by its 2 MiB chunk */
#define RESYNC_TABLES 1024u /* a window with more is dropped instead */
#define FLUSH_LIST 16
#define FLUSH_READ_ONLY UINT64_C(1) /* bits of an address in it: all that the host may know of the page is read-only */
#define FLUSH_HUGE UINT64_C(2)      /* it may know a 2 MiB page there */
#define EVICT_AT_ONCE 8             /* windows: their tables are free only after a flush */
#define HEAT_PAGES 1024
#define HEAT_MAP 96 /* accesses in C after which a page is mapped */
#define FICKLE 4    /* times that a page was unmapped after which it is lent rather than mapped */
#define LOANS 128
#define LOAN_SLOT UINT64_C(254)
#define LOAN_SHIFT 19 /* from one page to the next, so that what is near one does not reach another */
#define LOANS_IN_TABLE (HUGE_SIZE >> LOAN_SHIFT)
#define LOAN_REACH 0x10000 /* twice what emitted code takes for near */

enum pte {
    PTE_P = 1,
    PTE_W = 2,
    PTE_U = 4,
    PTE_A = 0x20,
    PTE_D = 0x40,
    PTE_PS = 0x80,
    PTE_BLOCK = 0x200 /* ours: see clear_va() */
};
#define PTE_ADDR UINT64_C(0x000ffffffffff000)
#define PTE_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define PTE_LEAF (PTE_P | PTE_U | PTE_A | PTE_D)

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

/* Where a RAM page, or a 2 MiB chunk of RAM, is mapped writable. May be out of date: checked when used. */
struct rmap {
    uint32_t key, next;
    uint64_t host;
};
#define RMAP_CHUNK 0x80000000u
#define RMAP_HASH_BITS 14

struct window_state {
    struct window win[WINDOWS];
    uint64_t *pml4;
    uint64_t flush[FLUSH_LIST];
    unsigned flushes;
    bool flush_all, dead;
    struct window_probes probes;
    uint8_t heat[HEAT_PAGES]; /* accesses in C since a page was mapped or unmapped */
    struct recent recent;
    uint8_t unmapped[HEAT_PAGES]; /* how often a page was unmapped that had been mapped for less than that */
    /* Loans: pages at places of their own, known only to the rest of a block and to the recent pages. They need no flush
     * when the guest unmaps them: nobody knows the place any more. */
    uint64_t *loan_table[LOANS / LOANS_IN_TABLE], *loan_pd;
    uint64_t loan_pte[LOANS];
    unsigned loans;
    struct rmap *rmap;
    uint32_t rmap_used, rmap_max, rmap_free;
    uint32_t rmap_head[1 << RMAP_HASH_BITS];
};

/* Behind struct view. */
struct window_view {
    uint64_t delta[REGION_HASH];
    struct recent_view recent;
};

static struct window_state *state_of(struct cpu *cpu) { return mmu_of(cpu)->strategy; }
static struct window_view *deltas(struct view *v) { return (struct window_view *)(v + 1); }
static const struct recent_view *recent_of(const struct view *v) {
    return &((const struct window_view *)(v + 1))->recent;
}
static uint64_t slot_of(const struct window_state *st, const struct window *w) {
    return 2 + 2 * (uint64_t)(w - st->win);
}
/* Canonical addresses land in the null slot: a #PF. (The #GP that others give is dearer on hosts that emulate it.)
 * NULL_DELTA is set in these alone: a probe may look at it before it faults for nothing. */
static uint64_t null_delta(uint32_t region) {
    int32_t canonical = (int32_t)(region % REGION_HASH) - (region % REGION_HASH < REGION_HASH / 2 ? 0 : REGION_HASH);
    return (NULL_SLOT - (uint64_t)(int64_t)canonical) << REGION_SHIFT | NULL_DELTA;
}
static uint64_t live_delta(const struct window_state *st, const struct window *w) {
    return (slot_of(st, w) - w->region) << REGION_SHIFT;
}
static uint64_t host_of(const struct window_state *st, const struct window *w, uint64_t va) {
    return slot_of(st, w) << REGION_SHIFT | (va & MASK(REGION_SHIFT));
}
static unsigned index_at(uint64_t va, unsigned shift) { return (unsigned)(va >> shift) & (TABLE_ENTRIES - 1); }
static uint64_t ram_offset(const struct cpu *cpu, uint64_t pa) { return pa - cpu->boot->ram_gpa; }
static uint64_t ram_host_pa(const struct cpu *cpu, uint64_t pa) { return cpu->boot->ram_pa + ram_offset(cpu, pa); }

/* --- finding entries ------------------------------------------------------------------------------------------- */
static uint64_t *pde_find(struct cpu *cpu, const struct window *w, uint64_t va) {
    if (!w->pdpt || !(w->pdpt[index_at(va, 30)] & PTE_P))
        return NULL;
    uint64_t *pd = rt_pt_at(cpu, w->pdpt[index_at(va, 30)] & PTE_ADDR);
    return pd[index_at(va, 21)] & PTE_P ? &pd[index_at(va, 21)] : NULL;
}

static struct window *window_at(struct window_state *st, uint64_t host) {
    uint64_t slot = host >> REGION_SHIFT;
    struct window *w = &st->win[(slot - 2) / 2];
    return w->state == WINDOW_LIVE || w->state == WINDOW_STALE ? w : NULL;
}

/* --- flushes --------------------------------------------------------------------------------------------------- */
/* known: FLUSH_READ_ONLY, FLUSH_HUGE or 0 */
static void flush_later(struct window_state *st, uint64_t host, uint64_t known) {
    uint64_t entry = ALIGN_DOWN(host, PAGE_SIZE) | known;
    for (unsigned i = 0; i < st->flushes; i++) {
        if ((st->flush[i] ^ entry) < PAGE_SIZE) {
            st->flush[i] = (st->flush[i] & (entry | FLUSH_HUGE)) | (known & FLUSH_HUGE);
            return;
        }
    }
    if (st->flushes < FLUSH_LIST)
        st->flush[st->flushes++] = entry;
    else
        st->flush_all = true;
}

static bool remap(struct cpu *cpu, const struct window *w, uint64_t pde, uint64_t *pte, uint64_t host);

/* A host that shadows our tables looks at them again when it must not write to a page that it knows as read-only. That is
 * cheaper than a flush, and the page is about to be written to: it was copied on write. */
static bool is_touched(struct cpu *cpu, const struct window *w, uint64_t host) {
    struct window_state *st = state_of(cpu);
    const uint64_t *pde = host & FLUSH_READ_ONLY ? pde_find(cpu, w, host) : NULL;
    if (!pde || *pde & PTE_PS)
        return false;
    for (unsigned i = 0; i < st->flushes; i++)
        if (st->flush[i] & FLUSH_HUGE && (st->flush[i] ^ host) < HUGE_SIZE)
            return false;
    uint64_t *pte = &rt_pt_at(cpu, *pde & PTE_ADDR)[index_at(host, PAGE_SHIFT)];
    if (!*pte && !remap(cpu, w, *pde, pte, host))
        return false;
    if (!(*pte & PTE_W) || !rt_touch(cpu, ALIGN_DOWN(host, PAGE_SIZE)))
        return false;
    STAT(cpu, flush_touches)++;
    return true;
}

/* What is left waits until the vCPU enters that regime. */
static void hide(struct cpu *cpu, uint8_t regimes) {
    struct mmu_state *m = mmu_of(cpu);
    uint8_t changed = m->hidden ^ regimes;
    m->hidden = regimes;
    for (unsigned r = 0; changed >> r; r++)
        if (changed >> r & 1)
            view_show(cpu, r);
}

/* Flushes what is pending of the pages of some regimes, a bit each. */
static void flush_regimes(struct cpu *cpu, uint8_t regimes) {
    struct window_state *st = state_of(cpu);
    uint64_t now[FLUSH_LIST], later[FLUSH_LIST];
    unsigned count = 0, left = 0;
    uint8_t hidden = 0;
    if (st->flush_all) {
        rt_flush_all(cpu);
        st->flushes = 0;
        st->flush_all = false;
    }
    for (unsigned i = 0; i < st->flushes; i++) {
        uint64_t host = st->flush[i];
        const struct window *w = window_at(st, host);
        if (!w) /* dropped: bury() flushes everything before its place is used again */
            continue;
        if (!(regimes >> w->regime & 1)) {
            hidden |= (uint8_t)(1u << w->regime);
            later[left++] = host;
        } else if (!is_touched(cpu, w, host)) {
            now[count++] = ALIGN_DOWN(host, PAGE_SIZE);
        }
    }
    if (count)
        rt_flush_pages(cpu, now, count);
    memcpy(st->flush, later, left * sizeof(later[0]));
    st->flushes = left;
    hide(cpu, hidden);
}

/* Pages of other regimes than the current one can be reached by unprivileged accesses alone, which go through cpu->views[]:
 * those views are hidden until the vCPU enters the regime. So an exception costs one flush at most, when it returns. */
static void window_sync(struct cpu *cpu) { flush_regimes(cpu, (uint8_t)(1u << cpu->regime)); }

static void free_tables(struct cpu *cpu, uint64_t *table, unsigned level) {
    for (unsigned i = 0; level > 1 && i < TABLE_ENTRIES; i++)
        if (table[i] & PTE_P && !(table[i] & PTE_PS))
            free_tables(cpu, rt_pt_at(cpu, table[i] & PTE_ADDR), level - 1);
    rt_pt_free(cpu, table);
}

/* Makes dead windows and their tables free. */
static void bury(struct cpu *cpu) {
    struct window_state *st = state_of(cpu);
    st->flush_all = true;
    window_sync(cpu);
    st->dead = false;
    for (unsigned i = 0; i < WINDOWS; i++) {
        struct window *w = &st->win[i];
        if (w->state == WINDOW_DEAD) {
            if (w->pdpt)
                free_tables(cpu, w->pdpt, 3);
            *w = (struct window){.state = WINDOW_FREE};
        }
    }
}

/* --- where pages are mapped writable ----------------------------------------------------------------------------- */
static uint32_t *rmap_bucket(struct window_state *st, uint32_t key) {
    return &st->rmap_head[key * 0x9e3779b1u >> (32 - RMAP_HASH_BITS)];
}
static uint32_t page_key(const struct cpu *cpu, uint64_t pa) { return (uint32_t)(ram_offset(cpu, pa) >> PAGE_SHIFT); }
static uint32_t chunk_key(const struct cpu *cpu, uint64_t pa) {
    return (uint32_t)(ram_offset(cpu, pa) >> HUGE_SHIFT) | RMAP_CHUNK;
}

/* The caller has made sure of room: see rmap_reserve(). */
static void rmap_add(struct window_state *st, uint32_t key, uint64_t host) {
    uint32_t *head = rmap_bucket(st, key), n;
    for (uint32_t i = *head; i; i = st->rmap[i].next)
        if (st->rmap[i].key == key && st->rmap[i].host == host)
            return;
    if (st->rmap_free) {
        n = st->rmap_free;
        st->rmap_free = st->rmap[n].next;
    } else {
        n = st->rmap_used++;
    }
    st->rmap[n] = (struct rmap){key, *head, host};
    *head = n;
}

static void rmap_remove(struct window_state *st, uint32_t *at) {
    uint32_t n = *at;
    *at = st->rmap[n].next;
    st->rmap[n].next = st->rmap_free;
    st->rmap_free = n;
}

/* --- windows ------------------------------------------------------------------------------------------------------- */
static bool is_attached(struct window_state *st, struct view *v, const struct window *w) {
    return deltas(v)->delta[w->region % REGION_HASH] == live_delta(st, w);
}

static void detach_from(struct cpu *cpu, struct view *v, void *arg) {
    const struct window *w = arg;
    if (is_attached(state_of(cpu), v, w))
        deltas(v)->delta[w->region % REGION_HASH] = null_delta(w->region);
}

/* No view leads to the window any more; its contents stay. */
static void detach(struct cpu *cpu, struct window *w) {
    view_each(cpu, detach_from, w);
    recent_clear(&state_of(cpu)->recent);
}

static void drop(struct cpu *cpu, struct window *w) {
    struct window_state *st = state_of(cpu);
    detach(cpu, w);
    st->pml4[slot_of(st, w)] = 0;
    w->state = WINDOW_DEAD;
    st->dead = true;
}

static void drop_all(struct cpu *cpu) {
    struct window_state *st = state_of(cpu);
    for (unsigned i = 0; i < WINDOWS; i++)
        if (st->win[i].state == WINDOW_LIVE || st->win[i].state == WINDOW_STALE)
            drop(cpu, &st->win[i]);
    bury(cpu);
    memset(st->rmap_head, 0, sizeof(st->rmap_head));
    st->rmap_used = 1;
    st->rmap_free = 0;
}

static bool has_root(const struct context *c, const struct window *w) {
    return (w->hi ? c->hi.root : c->lo.root) == w->root;
}

/* When was the window's space current last? ~0: it is now. */
static uint64_t last_use(struct cpu *cpu, const struct window *w) {
    struct mmu_state *m = mmu_of(cpu);
    uint64_t last = 0;
    if (has_root(m->current, w))
        return ~UINT64_C(0);
    for (unsigned i = 0; i < m->contexts; i++) {
        const struct context *c = &m->context[i];
        if (c->used && has_root(c, w) && c->stamp > last)
            last = c->stamp;
    }
    return last;
}

/* The window that was used longest ago, NULL if there is none but keep. */
static struct window *oldest(struct cpu *cpu, const struct window *keep) {
    struct window_state *st = state_of(cpu);
    struct window *victim = NULL;
    uint64_t least = 0;
    for (unsigned i = 0; i < WINDOWS; i++) {
        struct window *w = &st->win[i];
        if (w == keep || (w->state != WINDOW_LIVE && w->state != WINDOW_STALE))
            continue;
        uint64_t last = last_use(cpu, w);
        if (!victim || last < least) {
            victim = w;
            least = last;
        }
    }
    return victim;
}

/* Drops some windows and flushes. False if there are none but keep. The current space's go only if there are no others. */
static bool evict(struct cpu *cpu, const struct window *keep) {
    struct window_state *st = state_of(cpu);
    struct window *victim = oldest(cpu, keep);
    for (unsigned i = 0; victim && i < EVICT_AT_ONCE; i++) {
        drop(cpu, victim);
        victim = oldest(cpu, keep);
        if (victim && has_root(mmu_of(cpu)->current, victim))
            break;
    }
    bool any = st->dead;
    if (any)
        bury(cpu);
    return any;
}

static void resync(struct cpu *cpu, struct window *w);

/* May the contents be wrong for an ASID that has not used the window so far? */
static bool belongs_to_asids(const struct window *w) { return !w->hi || w->has_nonglobal; }

static struct window *window_find(struct cpu *cpu, uint64_t root, unsigned regime, uint32_t region) {
    struct window_state *st = state_of(cpu);
    for (unsigned i = 0; i < WINDOWS; i++) {
        struct window *w = &st->win[i];
        if (w->region == region && w->regime == regime && w->root == root &&
            (w->state == WINDOW_LIVE || w->state == WINDOW_STALE))
            return w;
    }
    return NULL;
}

static struct window *window_new(struct cpu *cpu, uint64_t root, unsigned regime, uint32_t region, bool hi) {
    struct window_state *st = state_of(cpu);
    for (unsigned tries = 0; tries < 2; tries++) {
        for (unsigned i = 0; i < WINDOWS; i++) {
            struct window *w = &st->win[i];
            if (w->state != WINDOW_FREE)
                continue;
            *w = (struct window){
                .root = root, .region = region, .regime = (uint8_t)regime, .hi = hi, .state = WINDOW_LIVE};
            return w;
        }
        if (st->dead)
            bury(cpu);
        else if (!evict(cpu, NULL))
            break;
    }
    return NULL;
}

/* A window for a new space in place of another's: its tables are where the new one needs them, and often the same pages are
 * there: resync() finds out. First come those whose space was invalidated while it was not current, and has not been since:
 * most likely the process is gone. When all windows are in use it is the one that was used longest ago. */
static struct window *window_heir(struct cpu *cpu, uint64_t root, unsigned regime, uint32_t region) {
    struct window_state *st = state_of(cpu);
    struct window *heir = NULL;
    uint64_t least = ~UINT64_C(0);
    bool full = !st->dead;
    for (unsigned i = 0; i < WINDOWS; i++) {
        struct window *w = &st->win[i];
        full &= w->state != WINDOW_FREE;
        if (w->state != WINDOW_STALE || w->region != region || w->regime != regime || w->hi || w->giant)
            continue;
        w->root = root;
        return w;
    }
    for (unsigned i = 0; full && i < WINDOWS; i++) {
        struct window *w = &st->win[i];
        bool fits = w->state == WINDOW_LIVE && w->region == region && w->regime == regime && !w->hi && !w->giant;
        uint64_t last = fits ? last_use(cpu, w) : least;
        if (last < least) {
            heir = w;
            least = last;
        }
    }
    if (!heir)
        return NULL;
    detach(cpu, heir);
    heir->state = WINDOW_STALE;
    heir->root = root;
    return heir;
}

/* Does a view of that ASID use the window? Then its contents are what that ASID may see. */
static bool asid_attached(struct cpu *cpu, const struct window *w, uint32_t asid) {
    struct mmu_state *m = mmu_of(cpu);
    for (unsigned i = 0; i < m->contexts; i++) {
        const struct context *c = &m->context[i];
        for (unsigned r = 0; c->lo.asid == asid && c->made >> r; r++)
            if (c->made >> r & 1 && is_attached(state_of(cpu), c->view[r], w))
                return true;
    }
    return false;
}

/* Makes the view lead to the window. Another one that it led to is not kept up to date for it any more. */
static void attach(struct window_state *st, struct view *v, const struct window *w) {
    uint64_t *delta = &deltas(v)->delta[w->region % REGION_HASH];
    if (*delta != live_delta(st, w) && *delta != null_delta(w->region))
        recent_clear(&st->recent);
    *delta = live_delta(st, w);
}

/* The live window for va in that view; sets the view's delta. NULL: none to be had. */
static struct window *window_for(struct cpu *cpu, struct view *v, uint64_t va) {
    struct window_state *st = state_of(cpu);
    uint32_t region = region_of(va);
    bool hi = cpu->guest->is_hi(va);
    uint64_t root = hi ? v->hi.root : v->lo.root;
    struct window *w = window_find(cpu, root, v->regime, region);
    if (!w && !hi)
        w = window_heir(cpu, root, v->regime, region);
    if (w && (w->state == WINDOW_STALE || (belongs_to_asids(w) && !asid_attached(cpu, w, v->lo.asid)))) {
        resync(cpu, w);
        if (w->state != WINDOW_LIVE)
            w = NULL;
        window_sync(cpu);
    }
    if (!w)
        w = window_new(cpu, root, v->regime, region, hi);
    if (w)
        attach(st, v, w);
    return w;
}

/* --- host page tables --------------------------------------------------------------------------------------------- */
static uint64_t *table_below(struct cpu *cpu, uint64_t *entry) {
    uint64_t pa;
    if (*entry & PTE_P)
        return rt_pt_at(cpu, *entry & PTE_ADDR);
    uint64_t *table = rt_pt_alloc(cpu, &pa);
    if (table)
        *entry = pa | PTE_TABLE;
    return table;
}

/* The page-directory entry for va, NULL if there is no memory for the tables. */
static uint64_t *pde_make(struct cpu *cpu, struct window *w, uint64_t va) {
    struct window_state *st = state_of(cpu);
    if (!w->pdpt) {
        uint64_t pa;
        w->pdpt = rt_pt_alloc(cpu, &pa);
        if (!w->pdpt)
            return NULL;
        st->pml4[slot_of(st, w)] = pa | PTE_TABLE;
    }
    uint64_t *pd = table_below(cpu, &w->pdpt[index_at(va, 30)]);
    return pd ? &pd[index_at(va, 21)] : NULL;
}

/* Writes a leaf entry; a downgrade is flushed later. */
static void entry_set(struct window_state *st, uint64_t *entry, uint64_t value, uint64_t host) {
    uint64_t old = *entry;
    if (old == value)
        return;
    *entry = value;
    if (old & PTE_P && ((old ^ value) & ~(uint64_t)(PTE_W | PTE_BLOCK) || (old & PTE_W && !(value & PTE_W))))
        flush_later(st, host, old & PTE_PS ? FLUSH_HUGE : old & PTE_W ? 0 : FLUSH_READ_ONLY);
}

/* May the page at pa be mapped writable when a write to it was just done (wrote), or on occasion of something else? */
static bool writable(struct cpu *cpu, uint64_t pa, bool wrote) {
    uint8_t code = *code_bits_at(engine_of(cpu), pa);
    return wrote ? !(code >> cpu->index & 1) : !code;
}

static bool chunk_has_code(struct cpu *cpu, uint64_t pa) {
    const _Atomic uint8_t *bits = code_bits_at(engine_of(cpu), pa);
    for (unsigned i = 0; i < TABLE_ENTRIES; i += 8) {
        uint64_t eight;
        memcpy(&eight, (const uint8_t *)bits + i, 8);
        if (eight)
            return true;
    }
    return false;
}

/* Turns a 2 MiB entry into a table of pages, those with code read-only. */
static void split(struct cpu *cpu, uint64_t *pde, uint64_t host) {
    struct window_state *st = state_of(cpu);
    uint64_t old = *pde, table_pa, base = old & PTE_ADDR & ~(HUGE_SIZE - 1);
    uint64_t pa = base - cpu->boot->ram_pa + cpu->boot->ram_gpa;
    uint64_t *table = rt_pt_alloc(cpu, &table_pa);
    if (!table) {
        entry_set(st, pde, 0, host);
        return;
    }
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t offset = (uint64_t)i << PAGE_SHIFT;
        uint64_t w = old & PTE_W && writable(cpu, pa + offset, false) ? PTE_W : 0;
        table[i] = (base + offset) | PTE_LEAF | w;
    }
    *pde = table_pa | PTE_TABLE | (old & PTE_BLOCK);
    flush_later(st, host, FLUSH_HUGE);
}

static uint8_t *heat_of(struct window_state *st, uint64_t va) {
    return &st->heat[(uint32_t)(va >> PAGE_SHIFT) * 0x9e3779b1u >> 22];
}

static bool kind_is_new(const struct window *win, const struct walk *w, bool block);

/* Maps a page that was unmapped again, if it may be written to now. */
static bool remap(struct cpu *cpu, const struct window *win, uint64_t pde, uint64_t *pte, uint64_t host) {
    struct window_state *st = state_of(cpu);
    struct walk w = {.fault = 0};
    uint64_t va = (uint64_t)win->region << REGION_SHIFT | (host & MASK(REGION_SHIFT) & ~PAGE_MASK);
    if (!has_root(mmu_of(cpu)->current, win) || st->rmap_max - st->rmap_used < TABLE_ENTRIES)
        return false;
    cpu->guest->walk(cpu, va, MMU_WRITE, win->regime, &w);
    if (w.fault || w.device || !w.read || kind_is_new(win, &w, pde & PTE_BLOCK) || !pa_is_ram(cpu, w.pa.v) ||
        !writable(cpu, w.pa.v, false))
        return false;
    *pte = ram_host_pa(cpu, ALIGN_DOWN(w.pa.v, PAGE_SIZE)) | PTE_LEAF | PTE_W;
    rmap_add(st, page_key(cpu, w.pa.v), ALIGN_DOWN(host, PAGE_SIZE));
    return true;
}

/* How many of the n entries at p map one page after the other, the first being as said? */
__attribute__((target("avx2"))) static unsigned linear(const uint64_t *p, unsigned n, uint64_t first) {
    typedef uint64_t four __attribute__((vector_size(32), aligned(8), may_alias));
    four want = {first, first + PAGE_SIZE, first + 2 * PAGE_SIZE, first + 3 * PAGE_SIZE};
    unsigned i = 0;
    for (; i + 16 <= n; i += 16, want += 16 * PAGE_SIZE) {
        const volatile four *at = (const volatile four *)&p[i];
        four differ = (at[0] ^ want) | (at[1] ^ (want + 4 * PAGE_SIZE)) | (at[2] ^ (want + 8 * PAGE_SIZE)) |
                      (at[3] ^ (want + 12 * PAGE_SIZE));
        if (differ[0] | differ[1] | differ[2] | differ[3])
            break;
    }
    while (i < n && p[i] == first + ((uint64_t)i << PAGE_SHIFT))
        i++;
    return i;
}

/* The first entry from i on that is not 0. */
static unsigned next_entry(const uint64_t *table, unsigned i) {
    while (i < TABLE_ENTRIES && i % 8 && !table[i])
        i++;
    for (const uint64_t *p = &table[i]; i < TABLE_ENTRIES && !(i % 8); i += 8, p += 8)
        if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7])
            break;
    while (i < TABLE_ENTRIES && !table[i])
        i++;
    return i;
}

/* --- filling ----------------------------------------------------------------------------------------------------------- */
/* Pages around an access that the guest maps linearly, with the same attributes: [first, first + count) of its 2 MiB. */
struct run {
    unsigned first, count;
    uint64_t pa; /* of first */
    bool block;  /* of a guest block mapping */
};

static struct run run_of(const struct cpu *cpu, uint64_t va, const struct walk *w) {
    unsigned at = index_at(va, PAGE_SHIFT), lo = at, hi = at + 1;
    uint64_t page = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    bool block = w->page_shift >= HUGE_SHIFT;
    if (block) {
        lo = 0;
        hi = TABLE_ENTRIES;
    } else if (w->table && w->index == at) {
        uint64_t e = w->entry;
        if (linear(w->table, at, e - ((uint64_t)at << PAGE_SHIFT)) == at)
            lo = 0;
        while (lo > 0 &&
               __atomic_load_n(&w->table[lo - 1], __ATOMIC_RELAXED) == e - ((uint64_t)(at - lo + 1) << PAGE_SHIFT))
            lo--;
        hi += linear(&w->table[hi], TABLE_ENTRIES - hi, e + PAGE_SIZE);
    }
    uint64_t first = page - ((uint64_t)(at - lo) << PAGE_SHIFT);
    if (!ram_ptr(cpu, GPA(first), (uint64_t)(hi - lo) << PAGE_SHIFT)) /* reaches over the end of RAM */
        return (struct run){at, 1, page, block};
    return (struct run){lo, hi - lo, first, block};
}

static bool run_is_huge(struct cpu *cpu, const struct run *r) {
    return r->count == TABLE_ENTRIES && !(r->pa & (HUGE_SIZE - 1)) && !(ram_host_pa(cpu, r->pa) & (HUGE_SIZE - 1)) &&
           !chunk_has_code(cpu, r->pa);
}

static void map_run(struct cpu *cpu, struct window *win, uint64_t *table, uint64_t va, const struct run *r, bool write,
                    bool wrote) {
    struct window_state *st = state_of(cpu);
    uint64_t chunk = ALIGN_DOWN(va, HUGE_SIZE), host = host_of(st, win, chunk);
    bool linear = r->count >= LINEAR_PAGES && !((r->pa - ((uint64_t)r->first << PAGE_SHIFT)) & (HUGE_SIZE - 1));
    bool any = false;
    for (unsigned i = 0; i < r->count; i++) {
        uint64_t offset = (uint64_t)(r->first + i) << PAGE_SHIFT, pa = r->pa + ((uint64_t)i << PAGE_SHIFT);
        bool w = write && writable(cpu, pa, wrote && chunk + offset == ALIGN_DOWN(va, PAGE_SIZE));
        any |= w;
        if (table[r->first + i] == (ram_host_pa(cpu, pa) | PTE_LEAF | (w ? PTE_W : 0)))
            continue;
        entry_set(st, &table[r->first + i], ram_host_pa(cpu, pa) | PTE_LEAF | (w ? PTE_W : 0), host + offset);
        if (w && !linear)
            rmap_add(st, page_key(cpu, pa), host + offset);
        STAT(cpu, fills_around) += chunk + offset != ALIGN_DOWN(va, PAGE_SIZE);
    }
    if (any && linear)
        rmap_add(st, chunk_key(cpu, r->pa), host);
}

/* Neighbours in the same 64 KiB that are not mapped yet, by a walk each. */
static void map_around(struct cpu *cpu, struct window *win, uint64_t *table, uint64_t va, const struct walk *w) {
    struct window_state *st = state_of(cpu);
    uint64_t start = ALIGN_DOWN(va, AROUND_PAGES * PAGE_SIZE);
    for (unsigned i = 0; i < AROUND_PAGES; i++) {
        uint64_t at = start + ((uint64_t)i << PAGE_SHIFT);
        uint64_t *pte = &table[index_at(at, PAGE_SHIFT)];
        struct walk n = {.fault = 0};
        if (*pte & PTE_P || (w->table && !w->table[index_at(at, PAGE_SHIFT)]))
            continue;
        cpu->guest->walk(cpu, at, MMU_READ, win->regime, &n);
        uint64_t pa = ALIGN_DOWN(n.pa.v, PAGE_SIZE);
        if (n.fault || n.device || !n.read || n.global != w->global || !pa_is_ram(cpu, pa))
            continue;
        bool write = n.write && writable(cpu, pa, false);
        *pte = ram_host_pa(cpu, pa) | PTE_LEAF | (write ? PTE_W : 0);
        if (write)
            rmap_add(st, page_key(cpu, pa), host_of(st, win, at));
        STAT(cpu, fills_around)++;
    }
}

/* Is the access possible already? */
static bool mapped(struct cpu *cpu, const struct window *win, uint64_t va, uint64_t pa, bool write) {
    uint64_t *pde = pde_find(cpu, win, va), e, want = ram_host_pa(cpu, pa);
    if (!pde)
        return false;
    if (*pde & PTE_PS) {
        e = *pde;
        want &= ~(HUGE_SIZE - 1);
    } else {
        e = rt_pt_at(cpu, *pde & PTE_ADDR)[index_at(va, PAGE_SHIFT)];
    }
    return e & PTE_P && (e & PTE_ADDR) == want && (e & PTE_W || !write);
}

/* Maps va and what goes with it. False: no memory for the tables. */
static bool map(struct cpu *cpu, struct window *win, uint64_t va, enum mmu_access access, const struct walk *w) {
    struct window_state *st = state_of(cpu);
    uint64_t *pde = pde_make(cpu, win, va), host = host_of(st, win, ALIGN_DOWN(va, HUGE_SIZE));
    struct run r = run_of(cpu, va, w);
    uint64_t block = r.block ? PTE_BLOCK : 0;
    if (!pde)
        return false;
    if (*pde & PTE_PS && *pde & PTE_P)
        entry_set(st, pde, 0, host); /* not what the guest has there now */
    if (!(*pde & PTE_P) && run_is_huge(cpu, &r)) {
        *pde = ram_host_pa(cpu, r.pa) | PTE_LEAF | PTE_PS | block | (w->write ? PTE_W : 0);
        if (w->write)
            rmap_add(st, chunk_key(cpu, r.pa), host);
        STAT(cpu, fills_huge)++;
        return true;
    }
    uint64_t *table = table_below(cpu, pde);
    if (!table)
        return false;
    if (block & ~*pde) /* the host may watch its directories: no write without need */
        *pde |= block;
    map_run(cpu, win, table, va, &r, w->write, access == MMU_WRITE);
    if (r.count < AROUND_PAGES && !r.block)
        map_around(cpu, win, table, va, w);
    return true;
}

/* --- loans ----------------------------------------------------------------------------------------------------------- */
static void loans_end(struct cpu *cpu) {
    struct window_state *st = state_of(cpu);
    for (unsigned i = 0; i < st->loans; i++)
        st->loan_table[i / LOANS_IN_TABLE][index_at((uint64_t)i << LOAN_SHIFT, PAGE_SHIFT)] = 0;
    st->loans = 0;
    st->flush_all = true;
    recent_clear(&st->recent);
}

static uint64_t *loan_entry(struct cpu *cpu, unsigned n) {
    struct window_state *st = state_of(cpu);
    uint64_t **table = &st->loan_table[n / LOANS_IN_TABLE], pa;
    if (!st->loan_pd) {
        uint64_t *pdpt = table_below(cpu, &st->pml4[LOAN_SLOT]);
        st->loan_pd = pdpt ? table_below(cpu, pdpt) : NULL;
        if (!st->loan_pd)
            return NULL;
    }
    if (!*table) {
        *table = rt_pt_alloc(cpu, &pa);
        if (!*table)
            return NULL;
        st->loan_pd[n / LOANS_IN_TABLE] = pa | PTE_TABLE;
    }
    return &(*table)[index_at((uint64_t)n << LOAN_SHIFT, PAGE_SHIFT)];
}

/* Lets the emitted code behind the slow access use the page without mapping it in a window. */
static void lend(struct cpu *cpu, struct mmu_slow *s, uint64_t pa, bool write) {
    struct window_state *st = state_of(cpu);
    uint64_t pte = ram_host_pa(cpu, pa) | PTE_LEAF | (write ? PTE_W : 0);
    unsigned n = st->loans;
    while (n > 0 && st->loans - n < 8 && st->loan_pte[n - 1] != pte)
        n--;
    if (n > 0 && st->loan_pte[n - 1] == pte) {
        n--;
    } else {
        if (st->loans == LOANS)
            loans_end(cpu); /* window_fill() flushes */
        n = st->loans;
        uint64_t *entry = loan_entry(cpu, n);
        if (!entry)
            return;
        *entry = st->loan_pte[n] = pte;
        st->loans++;
    }
    s->lent.va = ALIGN_DOWN(s->va, PAGE_SIZE);
    s->lent.index = (LOAN_SLOT << REGION_SHIFT | (uint64_t)n << LOAN_SHIFT) - s->lent.va;
}

static void loans_protect(struct cpu *cpu, uint64_t pa) {
    struct window_state *st = state_of(cpu);
    for (unsigned i = 0; i < st->loans; i++) {
        if ((st->loan_pte[i] & PTE_ADDR) == ram_host_pa(cpu, pa) && st->loan_pte[i] & PTE_W) {
            loans_end(cpu);
            return;
        }
    }
}

/* Is the page touched often enough to be mapped, rather than served in C? A probe that had to fault has decided that. */
static bool page_is_hot(struct window_state *st, const struct view *v, const struct mmu_slow *s) {
    uint8_t *heat = heat_of(st, s->va);
    uint8_t *unmapped = &st->unmapped[heat - st->heat];
    if (s->unpredicted && (!s->fill_now || *unmapped >= FICKLE) && !recent_used_up(&st->recent, recent_of(v), s->va) &&
        ++*heat < HEAT_MAP)
        return false;
    if (s->unpredicted && *unmapped >= FICKLE)
        *unmapped = 0; /* it stays longer now */
    *heat = 0;
    return true;
}

/* Remembers the page for probes without a prediction; win: NULL if it is not mapped there. */
static void note(struct cpu *cpu, struct view *v, const struct window *win, const struct mmu_slow *s,
                 const struct walk *w, bool write) {
    struct window_state *st = state_of(cpu);
    uint64_t pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    uint64_t lent = s->lent.index;
    uint64_t delta = win    ? live_delta(st, win)
                     : lent ? lent
                            : cpu->boot->ram_va + ram_offset(cpu, pa) - ALIGN_DOWN(s->va, PAGE_SIZE);
    recent_note(&st->recent, recent_of(v), s->va, w, page_key(cpu, pa), delta, win || lent,
                win ? RECENT_SAMPLE : RECENT_HEAT, write && !*code_bits_at(engine_of(cpu), pa));
}

static void window_fill(struct cpu *cpu, struct mmu_slow *s, enum mmu_access access, const struct walk *w) {
    struct window_state *st = state_of(cpu);
    unsigned regime = MMU_DESC_REGIME(s->desc);
    uint64_t va = s->va, pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    struct view *v = view_for(cpu, regime);
    if (!v || w->device || !w->read || !pa_is_ram(cpu, pa))
        return;
    /* A page that keeps its code through this write stays read-only. */
    bool write = access == MMU_WRITE;
    if (write && !writable(cpu, pa, true))
        return;
    if (st->rmap_max - st->rmap_used < 2 * TABLE_ENTRIES)
        drop_all(cpu);
    if (regime != cpu->regime && mmu_of(cpu)->hidden >> regime & 1) /* or the next access would come here, too */
        flush_regimes(cpu, (uint8_t)(1u << cpu->regime | 1u << regime));
    for (unsigned tries = 0; tries < 2; tries++) {
        struct window *win = window_for(cpu, v, va);
        if (!win)
            break;
        if (mapped(cpu, win, va, pa, write)) {
            window_probe_credit(cpu, &st->probes, s);
            note(cpu, v, win, s, w, write);
            break;
        }
        if (!page_is_hot(st, v, s)) {
            if (s->fill_now)
                lend(cpu, s, pa, w->write && writable(cpu, pa, write));
            note(cpu, v, NULL, s, w, write);
            break;
        }
        win->has_global |= !win->hi && w->global;
        if (win->hi && !w->global && !win->has_nonglobal) {
            win->has_nonglobal = true; /* from now on each ASID has to ask */
            detach(cpu, win);
            deltas(v)->delta[win->region % REGION_HASH] = live_delta(st, win);
        }
        win->giant |= w->page_shift > HUGE_SHIFT;
        if (map(cpu, win, va, access, w)) {
            STAT(cpu, fills)++;
            note(cpu, v, win, s, w, write);
            break;
        }
        if (!evict(cpu, win))
            break;
    }
    if (st->flush_all || st->flushes)
        window_sync(cpu);
}

/* --- invalidation -------------------------------------------------------------------------------------------------------- */
static void clear_table(struct window_state *st, uint64_t *table, uint64_t host) {
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        entry_set(st, &table[i], 0, host + ((uint64_t)i << PAGE_SHIFT));
}

/* One TLBI by address covers the whole guest mapping there: more than a page if that is a block. */
static void clear_va(struct cpu *cpu, struct window *w, uint64_t *pde, uint64_t va) {
    struct window_state *st = state_of(cpu);
    uint64_t host = host_of(st, w, va);
    if (w->giant) {
        drop(cpu, w);
        return;
    }
    if (*pde & PTE_PS) {
        entry_set(st, pde, 0, host);
        return;
    }
    uint64_t *table = rt_pt_at(cpu, *pde & PTE_ADDR);
    if (*pde & PTE_BLOCK) {
        clear_table(st, table, ALIGN_DOWN(host, HUGE_SIZE));
        *pde &= ~(uint64_t)PTE_BLOCK;
    } else if (table[index_at(va, PAGE_SHIFT)]) {
        uint8_t *unmapped = &st->unmapped[heat_of(st, va) - st->heat];
        *unmapped += *unmapped < FICKLE;
        entry_set(st, &table[index_at(va, PAGE_SHIFT)], 0, ALIGN_DOWN(host, PAGE_SIZE));
    }
}

/* What the guest's tables say now about one page of a window: the entry it should have, at most what it has. */
static uint64_t entry_now(struct cpu *cpu, const struct walk *w, uint64_t pa, uint64_t old) {
    if (w->fault || w->device || !w->read || !pa_is_ram(cpu, pa) || (old & PTE_ADDR) != ram_host_pa(cpu, pa))
        return 0;
    return w->write ? old : old & ~(uint64_t)PTE_W;
}

/* A mapping of the same page, but of another kind than the window is prepared for, has to be filled anew: a TLBI must reach
 * all of it (block: of a guest block, as the page-directory entry says). */
static bool kind_is_new(const struct window *win, const struct walk *w, bool block) {
    return (w->page_shift >= HUGE_SHIFT && !block) || (w->page_shift > HUGE_SHIFT && !win->giant) ||
           (win->hi ? !w->global && !win->has_nonglobal : w->global && !win->has_global);
}

/* Where entry i of the guest's table leads, if it differs from the one that was walked in its address alone. */
static bool walked_alike(const struct walk *w, unsigned i, uint64_t *pa) {
    const uint64_t address = MASK(48) & ~PAGE_MASK;
    uint64_t differ = w->table ? __atomic_load_n(&w->table[i], __ATOMIC_RELAXED) ^ w->entry : ~UINT64_C(0);
    *pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE) ^ differ;
    return !(differ & ~address);
}

static void resync_entry(struct cpu *cpu, uint64_t *pte, uint64_t pa, uint64_t host, const struct walk *w, bool ok) {
    struct window_state *st = state_of(cpu);
    uint64_t value = 0, old = *pte;
    if (ok && !w->fault && !w->device && w->read && pa_is_ram(cpu, pa)) {
        bool same = (old & PTE_ADDR) == ram_host_pa(cpu, pa), had = same && old & PTE_W;
        bool write = w->write && (had || (st->rmap_max - st->rmap_used > TABLE_ENTRIES && writable(cpu, pa, false)));
        value = ram_host_pa(cpu, pa) | PTE_LEAF | (write ? PTE_W : 0);
        if (write && !had)
            rmap_add(st, page_key(cpu, pa), host);
    }
    entry_set(st, pte, value, host);
}

static void resync_table(struct cpu *cpu, struct window *win, uint64_t pde, uint64_t va) {
    struct window_state *st = state_of(cpu);
    uint64_t *table = rt_pt_at(cpu, pde & PTE_ADDR), pa;
    struct walk w = {.fault = 0};
    for (unsigned i = next_entry(table, 0), skip; i < TABLE_ENTRIES; i = next_entry(table, i + skip)) {
        skip = 1;
        if (!walked_alike(&w, i, &pa)) {
            w = (struct walk){.fault = 0};
            cpu->guest->walk(cpu, va + ((uint64_t)i << PAGE_SHIFT), MMU_READ, win->regime, &w);
            w.table = w.fault || w.index != i ? NULL : w.table;
            pa = ALIGN_DOWN(w.pa.v, PAGE_SIZE);
        }
        resync_entry(cpu, &table[i], pa, host_of(st, win, va) + ((uint64_t)i << PAGE_SHIFT), &w,
                     !kind_is_new(win, &w, pde & PTE_BLOCK));
        unsigned alike = w.table                      ? linear(&w.table[i], TABLE_ENTRIES - i, w.table[i])
                         : w.page_shift >= HUGE_SHIFT ? TABLE_ENTRIES - i
                                                      : 1;
        if (table[i] && alike > 1)
            skip = linear(&table[i], alike, table[i]);
    }
}

static void resync_huge(struct cpu *cpu, struct window *win, uint64_t *pde, uint64_t va) {
    struct window_state *st = state_of(cpu);
    struct walk w = {.fault = 0};
    cpu->guest->walk(cpu, va, MMU_READ, win->regime, &w);
    uint64_t value = entry_now(cpu, &w, ALIGN_DOWN(w.pa.v, PAGE_SIZE), *pde);
    if (value && (run_of(cpu, va, &w).count < TABLE_ENTRIES || kind_is_new(win, &w, true)))
        value = 0;
    entry_set(st, pde, value, host_of(st, win, va));
}

/* Brings what is mapped in line with the guest's tables, which must be those of the current context. */
static void resync(struct cpu *cpu, struct window *w) {
    uint64_t base = (uint64_t)w->region << REGION_SHIFT;
    unsigned tables = 0;
    w->state = WINDOW_LIVE;
    for (unsigned i = w->pdpt ? next_entry(w->pdpt, 0) : TABLE_ENTRIES; i < TABLE_ENTRIES;
         i = next_entry(w->pdpt, i + 1)) {
        uint64_t *pd = rt_pt_at(cpu, w->pdpt[i] & PTE_ADDR);
        for (unsigned j = next_entry(pd, 0); j < TABLE_ENTRIES; j = next_entry(pd, j + 1)) {
            uint64_t va = base + ((uint64_t)i << 30) + ((uint64_t)j << HUGE_SHIFT);
            if (pd[j] & PTE_PS)
                resync_huge(cpu, w, &pd[j], va);
            else
                resync_table(cpu, w, pd[j], va);
            if (++tables > RESYNC_TABLES) { /* not worth it */
                drop(cpu, w);
                return;
            }
        }
    }
}

static void invalidate_space(struct cpu *cpu, struct window *w) {
    struct mmu_state *m = mmu_of(cpu);
    if (w->state != WINDOW_LIVE)
        return;
    if (has_root(m->current, w)) {
        resync(cpu, w);
    } else {
        detach(cpu, w);
        w->state = WINDOW_STALE;
    }
}

static void window_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    struct window_state *st = state_of(cpu);
    bool by_va = inv->kind == MMU_INVAL_VA || inv->kind == MMU_INVAL_VA_ASID;
    if (by_va) {
        *heat_of(st, inv->va) = 0;
        recent_forget(&st->recent, inv->va);
    } else {
        recent_clear(&st->recent);
    }
    for (unsigned i = 0; i < WINDOWS; i++) {
        struct window *w = &st->win[i];
        if (w->state != WINDOW_LIVE && w->state != WINDOW_STALE)
            continue;
        if (by_va) {
            /* Tags are ignored: bits 55..39. What no view of the ASID uses is looked at again before one does. */
            if ((w->region ^ region_of(inv->va)) & MASK(17))
                continue;
            uint64_t *pde = pde_find(cpu, w, inv->va);
            if ((pde || w->giant) &&
                (inv->kind == MMU_INVAL_VA || w->hi || w->has_global || asid_attached(cpu, w, inv->asid)))
                clear_va(cpu, w, pde, inv->va);
        } else if (inv->kind == MMU_INVAL_ALL || (belongs_to_asids(w) && asid_attached(cpu, w, inv->asid))) {
            invalidate_space(cpu, w);
        }
    }
}

static void protect_at(struct cpu *cpu, uint64_t host, uint64_t pa) {
    struct window_state *st = state_of(cpu);
    struct window *w = window_at(st, host);
    uint64_t *pde = w ? pde_find(cpu, w, host) : NULL;
    if (!pde)
        return;
    if (*pde & PTE_PS) {
        if (*pde & PTE_W && (*pde & PTE_ADDR & ~(HUGE_SIZE - 1)) == ALIGN_DOWN(ram_host_pa(cpu, pa), HUGE_SIZE))
            split(cpu, pde, host);
        return;
    }
    uint64_t *pte = &rt_pt_at(cpu, *pde & PTE_ADDR)[index_at(host, PAGE_SHIFT)];
    if (*pte & PTE_P && (*pte & PTE_ADDR) == ram_host_pa(cpu, pa))
        entry_set(st, pte, *pte & ~(uint64_t)PTE_W, host);
}

static void window_protect(struct cpu *cpu, struct gpa page) {
    struct window_state *st = state_of(cpu);
    uint32_t key = page_key(cpu, page.v);
    recent_protect(&st->recent, key);
    for (uint32_t *at = rmap_bucket(st, key); *at;) {
        struct rmap *r = &st->rmap[*at];
        if (r->key != key) {
            at = &r->next;
            continue;
        }
        protect_at(cpu, r->host, page.v);
        rmap_remove(st, at);
    }
    key = chunk_key(cpu, page.v);
    for (uint32_t i = *rmap_bucket(st, key); i; i = st->rmap[i].next)
        if (st->rmap[i].key == key)
            protect_at(cpu, st->rmap[i].host | (page.v & (HUGE_SIZE - 1)), page.v);
    loans_protect(cpu, page.v);
    if (st->flushes || st->flush_all)
        mmu_of(cpu)->sync_wanted = true;
}

/* --- views and start-up ------------------------------------------------------------------------------------------------------- */
static size_t window_view_bytes(void) { return sizeof(struct window_view); }

static void window_view_init(struct cpu *cpu, struct view *v) {
    struct window_state *st = state_of(cpu);
    for (unsigned i = 0; i < REGION_HASH; i++)
        deltas(v)->delta[i] = null_delta(i);
    recent_view_init(&st->recent, &deltas(v)->recent);
    for (unsigned i = 0; i < WINDOWS && view_slot(v)->context; i++) {
        const struct window *w = &st->win[i];
        if (w->state == WINDOW_LIVE && w->regime == v->regime && has_root(view_slot(v)->context, w) &&
            (!belongs_to_asids(w) || asid_attached(cpu, w, v->lo.asid)))
            deltas(v)->delta[w->region % REGION_HASH] = live_delta(st, w);
    }
}

static void window_init(struct cpu *cpu) {
    struct heap *h = &engine_of(cpu)->heap;
    struct window_state *st = heap_take(h, sizeof(*st));
    /* Half of RAM can be mapped page by page and writable before everything is dropped and begins anew. */
    uint64_t entries = (cpu->boot->ram_size >> PAGE_SHIFT) / 2 + 8 * TABLE_ENTRIES;
    if (entries > heap_left(h) / 4 / sizeof(struct rmap))
        entries = heap_left(h) / 4 / sizeof(struct rmap);
    if (!st || entries < 4 * TABLE_ENTRIES || !(st->rmap = heap_take(h, entries * sizeof(struct rmap))))
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    st->rmap_max = (uint32_t)entries;
    st->rmap_used = 1;
    st->pml4 = rt_pml4(cpu);
    mmu_of(cpu)->strategy = st;
}

/* --- what emitted code needs ------------------------------------------------------------------------------------ */
#define RECENT_DISP (DELTA_DISP + (int32_t)offsetof(struct window_view, recent))
static void window_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk) {
    recent_emit_thunks(a, cpu, thunk, RECENT_DISP);
}

static void window_miss(struct cpu *cpu, struct mmu_slow *s) { window_probe_miss(cpu, &state_of(cpu)->probes, s); }

static uint64_t window_nearby(struct cpu *cpu, const struct mmu_slow *s, uint64_t va, unsigned regime) {
    if (UNLIKELY(s->lent.index) && MMU_DESC_REGIME(s->desc) == regime && va - s->lent.va + LOAN_REACH < 2 * LOAN_REACH)
        return s->lent.index;
    return deltas(cpu->views[regime])->delta[region_of(va) % REGION_HASH];
}

const struct mmu_ops mmu_window_ops = {
    .name = "window",
    .about = "guest pages are host pages, in windows of the host's address space",
    .needs_paging = true,
    .init = window_init,
    .view_bytes = window_view_bytes,
    .view_init = window_view_init,
    .fill = window_fill,
    .miss = window_miss,
    .invalidate = window_invalidate,
    .sync = window_sync,
    .protect = window_protect,
    .emit_probe = window_probe_emit,
    .emit_retry = recent_emit,
    .emit_thunks = window_emit_thunks,
    .nearby = window_nearby,
};
