/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* windows.c: which window is whose, what becomes of it when the guest invalidates, flushes. See windows.h. */
#include "dbt/mmu/windows.h"

#define EVICT_AT_ONCE 8 /* windows: their tables are free only after a flush */
/* Accesses in C for which a region without a window gets one from the same space: what that costs. */
#define REFUSED_FLAT 512
#define REFUSED_RING3 64

/* Addresses of the region land in the null slot: a #PF. (The #GP that others give is dearer on hosts that emulate it.)
 * NULL_DELTA is set in these alone: a probe may look at it before it faults for nothing. */
static uint64_t null_delta(const struct windows *ws, uint32_t region) {
    return ws->base + ((ws->null_slot - region) << REGION_SHIFT | NULL_DELTA);
}

/* The region of 48-bit addresses that has that index, as far as one has. */
static uint32_t narrow_region(const struct cpu *cpu, uint32_t index) {
    return index < REGION_HASH / 2 ? index : index - REGION_HASH + cpu->guest->wide_va;
}

struct window *window_at(struct windows *ws, uint64_t host) {
    uint64_t slot = (host - ws->base) >> REGION_SHIFT;
    unsigned n = slot < ARRAY_LEN(ws->window_of_slot) ? ws->window_of_slot[slot] : 0;
    struct window *w = n ? &ws->win[n - 1] : NULL;
    return w && (w->state == WINDOW_LIVE || w->state == WINDOW_STALE) ? w : NULL;
}

/* A host that shadows our tables looks at them again when it must not write to a page that it knows as read-only. That
 * is cheaper than a flush, and the page is about to be written to: it was copied on write. */
static bool is_touched(struct cpu *cpu, const struct window *w, uint64_t host) {
    struct windows *ws = windows_of(cpu);
    const uint64_t *pde = host & FLUSH_READ_ONLY ? pages_find(cpu, w->pdpt, host) : NULL;
    if (!pde || *pde & PTE_PS)
        return false;
    for (unsigned i = 0; i < ws->pages.flushes; i++)
        if (ws->pages.flush[i] & FLUSH_HUGE && (ws->pages.flush[i] ^ host) < HUGE_SIZE)
            return false;
    uint64_t *pte = &rt_pt_at(cpu, *pde & PTE_ADDR)[index_at(host, PAGE_SHIFT)];
    if (!*pte && !window_remap(cpu, w, *pde, pte, host))
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

void windows_flush(struct cpu *cpu, uint8_t regimes) {
    struct windows *ws = windows_of(cpu);
    uint64_t now[FLUSH_LIST], later[FLUSH_LIST];
    unsigned count = 0, left = 0;
    uint8_t hidden = 0;
    if (ws->pages.flush_all) {
        rt_flush_all(cpu);
        ws->pages.flushes = 0;
        ws->pages.flush_all = false;
    }
    for (unsigned i = 0; i < ws->pages.flushes; i++) {
        uint64_t host = ws->pages.flush[i], guest;
        const struct window *w = window_at(ws, host);
        if (!w) /* dropped: windows_bury() flushes everything before its place is used again */
            continue;
        if (!(regimes >> w->regime & 1)) {
            hidden |= (uint8_t)(1u << w->regime);
            later[left++] = host;
        } else if (!is_touched(cpu, w, host)) {
            now[count++] = ALIGN_DOWN(host, PAGE_SIZE) | (host & FLUSH_HUGE);
            guest = window_guest(w, host);
            if (window_is_direct(ws, w))
                rt_flush_pages(cpu, &guest, 1);
        }
    }
    if (count)
        rt_flush_pages(cpu, now, count);
    memcpy(ws->pages.flush, later, left * sizeof(later[0]));
    ws->pages.flushes = left;
    hide(cpu, hidden);
}

/* Pages of other regimes than the current one can be reached by unprivileged accesses alone, which go through
 * cpu->views[]: those views are hidden until the vCPU enters the regime. So an exception costs one flush at most, when
 * it returns. */
void windows_sync(struct cpu *cpu) { windows_flush(cpu, (uint8_t)(1u << cpu->regime)); }

/* Makes dead windows and their tables free. */
static void windows_bury(struct cpu *cpu) {
    struct windows *ws = windows_of(cpu);
    ws->pages.flush_all = true;
    windows_sync(cpu);
    ws->dead = false;
    for (unsigned i = 0; i < ws->count; i++) {
        struct window *w = &ws->win[i];
        if (w->state == WINDOW_DEAD) {
            if (w->pdpt)
                pages_free(cpu, w->pdpt, 3);
            *w = (struct window){.state = WINDOW_FREE};
        }
    }
}

static bool is_attached(struct cpu *cpu, struct view *v, const struct window *w) {
    const struct windows *ws = windows_of(cpu);
    return view_deltas(cpu, v)[region_index(cpu, w->region)] == window_delta(ws, w);
}

/* An entry of a root. What the processor may remember of the current one's entries has to go before translated code
 * runs again. */
static void root_set(struct cpu *cpu, struct view *v, uint64_t *at, uint64_t entry) {
    if (*at && *at != entry) {
        v->root->changed = true;
        windows_of(cpu)->pages.flush_all |= v == mmu_of(cpu)->view;
    }
    *at = entry;
}

/* Code of the other regimes does unprivileged accesses by regime 0's deltas, so their roots lead to its windows, too.
 * The guest's own addresses lead to windows of the view's own regime alone. */
static void publish_in(struct cpu *cpu, struct view *v, void *arg) {
    const struct windows *ws = windows_of(cpu);
    const struct window *w = arg;
    const struct context *c = view_slot(v)->context;
    uint64_t slot = window_slot(ws, w);
    bool own = is_attached(cpu, v, w), other = c->made & 1 && is_attached(cpu, c->view[0], w);
    uint64_t entry = ws->pages.pml4[slot];
    root_set(cpu, v, &v->root->pml4[slot], own || other ? entry : 0);
    if (!window_is_direct(ws, w))
        return;
    uint64_t *top = rt_root_top(cpu, v->root, (uint64_t)w->region << REGION_SHIFT, own && entry);
    uint64_t *at = top ? &top[w->region % REGION_HASH] : NULL;
    if (at && (own || *at == entry)) /* else it is another window's */
        root_set(cpu, v, at, own ? entry : 0);
}

void window_publish(struct cpu *cpu, struct window *w) {
    if (rt_has_ring3(cpu))
        view_each(cpu, publish_in, w);
}

/* The same after a change of the view's deltas, on which no roots but those of its context depend. */
static void publish_near(struct cpu *cpu, struct view *v, struct window *w) {
    const struct context *c = view_slot(v)->context;
    for (unsigned r = 0; rt_has_ring3(cpu) && c && c->made >> r; r++)
        if (c->made >> r & 1)
            publish_in(cpu, c->view[r], w);
}

static void detach_from(struct cpu *cpu, struct view *v, void *arg) {
    const struct windows *ws = windows_of(cpu);
    const struct window *w = arg;
    if (is_attached(cpu, v, w))
        view_deltas(cpu, v)[region_index(cpu, w->region)] = null_delta(ws, w->region);
}

void window_detach(struct cpu *cpu, struct window *w) {
    view_each(cpu, detach_from, w);
    window_publish(cpu, w);
    recent_clear(&windows_of(cpu)->recent);
}

void window_drop(struct cpu *cpu, struct window *w) {
    struct windows *ws = windows_of(cpu);
    window_detach(cpu, w);
    ws->pages.pml4[window_slot(ws, w)] = 0;
    w->state = WINDOW_DEAD;
    ws->dead = true;
}

void windows_drop_all(struct cpu *cpu) {
    struct windows *ws = windows_of(cpu);
    for (unsigned i = 0; i < ws->count; i++)
        if (ws->win[i].state == WINDOW_LIVE || ws->win[i].state == WINDOW_STALE)
            window_drop(cpu, &ws->win[i]);
    windows_bury(cpu);
    rmap_clear(&ws->rmap);
}

bool window_has_root(const struct context *c, const struct window *w) {
    return (w->hi ? c->hi.root : c->lo.root) == w->root;
}

/* When was the window's space current last? ~0: it is now. */
static uint64_t last_use(struct cpu *cpu, const struct window *w) {
    struct mmu_state *m = mmu_of(cpu);
    uint64_t last = 0;
    if (window_has_root(m->current, w))
        return ~UINT64_C(0);
    for (unsigned i = 0; i < m->contexts; i++) {
        const struct context *c = &m->context[i];
        if (c->used && window_has_root(c, w) && c->stamp > last)
            last = c->stamp;
    }
    return last;
}

/* The window that was used longest ago, NULL if there is none but keep. Those of the current space, of which nobody
 * knows which are used, go by turns. */
static struct window *oldest(struct cpu *cpu, const struct window *keep) {
    struct windows *ws = windows_of(cpu);
    struct window *victim = NULL;
    uint64_t least = 0;
    for (unsigned i = 1; i <= ws->count; i++) {
        struct window *w = &ws->win[(ws->hand + i) % ws->count];
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

/* The current space's go only if there are no others. */
bool windows_evict(struct cpu *cpu, const struct window *keep) {
    struct windows *ws = windows_of(cpu);
    struct window *victim = oldest(cpu, keep);
    for (unsigned i = 0; victim && i < EVICT_AT_ONCE; i++) {
        window_drop(cpu, victim);
        ws->hand = (unsigned)(victim - ws->win);
        victim = oldest(cpu, keep);
        if (victim && window_has_root(mmu_of(cpu)->current, victim))
            break;
    }
    bool any = ws->dead;
    if (any)
        windows_bury(cpu);
    return any;
}

/* May the contents be wrong for an ASID that has not used the window so far? */
static bool belongs_to_asids(const struct window *w) { return !w->hi || w->has_nonglobal; }

static struct window *window_find(struct cpu *cpu, uint64_t root, unsigned regime, uint32_t region) {
    struct windows *ws = windows_of(cpu);
    for (unsigned i = 0; i < ws->ever; i++) {
        struct window *w = &ws->win[i];
        if (w->region == region && w->regime == regime && w->root == root &&
            (w->state == WINDOW_LIVE || w->state == WINDOW_STALE))
            return w;
    }
    return NULL;
}

/* A process whose memory is strewn over more regions than there are windows (V8 puts its heap at random places) would
 * have each access drop a window that the next one needs: with its tables, and a flush of everything. There an access
 * in C is cheaper, until a region has had as many of these as its window costs. */
static bool is_refused(struct cpu *cpu, uint32_t region) {
    struct windows *ws = windows_of(cpu);
    uint16_t *refused = &ws->refused[region_index(cpu, region)];
    bool room = ws->dead || ws->ever < ws->count;
    for (unsigned i = 0; i < ws->ever && !room; i++)
        room = ws->win[i].state == WINDOW_FREE || !window_has_root(mmu_of(cpu)->current, &ws->win[i]);
    if (room || ++*refused >= (rt_has_ring3(cpu) ? REFUSED_RING3 : REFUSED_FLAT))
        *refused = 0;
    return *refused != 0;
}

static struct window *window_new(struct cpu *cpu, uint64_t root, unsigned regime, uint32_t region, bool hi) {
    struct windows *ws = windows_of(cpu);
    for (unsigned tries = 0; tries < 2; tries++) {
        for (unsigned i = 0; i < ws->count; i++) {
            struct window *w = &ws->win[i];
            if (w->state != WINDOW_FREE)
                continue;
            *w = (struct window){
                .root = root, .region = region, .regime = (uint8_t)regime, .hi = hi, .state = WINDOW_LIVE};
            ws->ever = i < ws->ever ? ws->ever : i + 1;
            return w;
        }
        if (ws->dead)
            windows_bury(cpu);
        else if (!windows_evict(cpu, NULL))
            break;
    }
    return NULL;
}

/* A window for a new space in place of another's: its tables are where the new one needs them, and often the same pages
 * are there: window_resync() finds out. First come those whose space was invalidated while it was not current, and has
 * not been since: most likely the process is gone. When all windows are in use it is the one that was used longest
 * ago. */
static struct window *window_heir(struct cpu *cpu, uint64_t root, unsigned regime, uint32_t region) {
    struct windows *ws = windows_of(cpu);
    struct window *heir = NULL;
    uint64_t least = ~UINT64_C(0);
    bool full = !ws->dead;
    for (unsigned i = 0; i < ws->count; i++) {
        struct window *w = &ws->win[i];
        full &= w->state != WINDOW_FREE;
        if (w->state != WINDOW_STALE || w->region != region || w->regime != regime || w->hi || w->giant)
            continue;
        w->root = root;
        return w;
    }
    for (unsigned i = 0; full && i < ws->count; i++) {
        struct window *w = &ws->win[i];
        bool fits = w->state == WINDOW_LIVE && w->region == region && w->regime == regime && !w->hi && !w->giant;
        uint64_t last = fits ? last_use(cpu, w) : least;
        if (last < least) {
            heir = w;
            least = last;
        }
    }
    if (!heir)
        return NULL;
    window_detach(cpu, heir);
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
            if (c->made >> r & 1 && is_attached(cpu, c->view[r], w))
                return true;
    }
    return false;
}

/* Another window that the view led to is not kept up to date for it any more. */
void window_attach(struct cpu *cpu, struct view *v, struct window *w) {
    struct windows *ws = windows_of(cpu);
    uint64_t *delta = &view_deltas(cpu, v)[region_index(cpu, w->region)], was = *delta;
    *delta = window_delta(ws, w);
    if (was == *delta)
        return;
    if (!(was & NULL_DELTA))
        recent_clear(&ws->recent);
    for (unsigned i = 0; i < ws->count && rt_has_ring3(cpu); i++)
        if (region_index(cpu, ws->win[i].region) == region_index(cpu, w->region))
            publish_near(cpu, v, &ws->win[i]);
}

/* The window that the view leads va to already. What is attached is live and kept up to date for the view. */
static struct window *window_attached(struct cpu *cpu, struct view *v, uint64_t va) {
    uint64_t delta = view_deltas(cpu, v)[region_index(cpu, region_of(va))];
    struct window *w = delta & NULL_DELTA ? NULL : window_at(windows_of(cpu), va + delta);
    return w && w->state == WINDOW_LIVE && w->region == region_of(va) ? w : NULL;
}

struct window *window_for(struct cpu *cpu, struct view *v, uint64_t va) {
    struct window *attached = window_attached(cpu, v, va);
    if (LIKELY(attached != NULL))
        return attached;
    uint32_t region = region_of(va);
    bool hi = cpu->guest->is_hi(va);
    uint64_t root = hi ? v->hi.root : v->lo.root;
    struct window *w = window_find(cpu, root, v->regime, region);
    if (!w && !hi)
        w = window_heir(cpu, root, v->regime, region);
    if (w && (w->state == WINDOW_STALE || (belongs_to_asids(w) && !asid_attached(cpu, w, v->lo.asid)))) {
        window_resync(cpu, w);
        if (w->state != WINDOW_LIVE)
            w = NULL;
        windows_sync(cpu);
    }
    if (!w && !is_refused(cpu, region))
        w = window_new(cpu, root, v->regime, region, hi);
    if (w)
        window_attach(cpu, v, w);
    return w;
}

/* One TLBI by address covers the whole guest mapping there: more than a page if that is a block. */
static void clear_va(struct cpu *cpu, struct window *w, uint64_t *pde, uint64_t va) {
    struct windows *ws = windows_of(cpu);
    uint64_t host = window_host(ws, w, va);
    if (w->giant) {
        window_drop(cpu, w);
        return;
    }
    if (*pde & PTE_PS) {
        pages_set(&ws->pages, pde, 0, host);
        return;
    }
    uint64_t *table = rt_pt_at(cpu, *pde & PTE_ADDR);
    if (*pde & PTE_BLOCK) {
        pages_clear_table(&ws->pages, table, ALIGN_DOWN(host, HUGE_SIZE));
        *pde &= ~(uint64_t)PTE_BLOCK;
    } else if (table[index_at(va, PAGE_SHIFT)]) {
        uint8_t *unmapped = &ws->heat.unmapped[heat_index(va)];
        *unmapped += *unmapped < FICKLE;
        heat_lost(&ws->heat, va);
        pages_set(&ws->pages, &table[index_at(va, PAGE_SHIFT)], 0, ALIGN_DOWN(host, PAGE_SIZE));
    }
}

static void invalidate_space(struct cpu *cpu, struct window *w) {
    struct mmu_state *m = mmu_of(cpu);
    if (w->state != WINDOW_LIVE)
        return;
    if (window_has_root(m->current, w)) {
        window_resync(cpu, w);
    } else {
        window_detach(cpu, w);
        w->state = WINDOW_STALE;
    }
}

bool window_is_hit(struct cpu *cpu, const struct window *w, const struct mmu_inval *inv) {
    switch (inv->kind) {
    case MMU_INVAL_VA:
    case MMU_INVAL_ALL: return true;
    case MMU_INVAL_VA_ASID: return w->hi || w->has_global || asid_attached(cpu, w, inv->asid);
    default: return belongs_to_asids(w) && asid_attached(cpu, w, inv->asid);
    }
}

void windows_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    struct windows *ws = windows_of(cpu);
    bool by_va = inv->kind == MMU_INVAL_VA || inv->kind == MMU_INVAL_VA_ASID;
    if (by_va) {
        ws->heat.touched[heat_index(inv->va)] = 0;
        recent_forget(&ws->recent, inv->va);
    } else {
        recent_clear(&ws->recent);
    }
    for (unsigned i = 0; i < ws->ever; i++) {
        struct window *w = &ws->win[i];
        if (w->state != WINDOW_LIVE && w->state != WINDOW_STALE)
            continue;
        if (by_va) {
            /* Tags are ignored: bits 55..39. What no view of the ASID uses is looked at again before one does. */
            if ((w->region ^ region_of(inv->va)) & MASK(17))
                continue;
            uint64_t *pde = pages_find(cpu, w->pdpt, inv->va);
            if ((pde || w->giant) && window_is_hit(cpu, w, inv))
                clear_va(cpu, w, pde, inv->va);
        } else if (window_is_hit(cpu, w, inv)) {
            invalidate_space(cpu, w);
        }
    }
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_CHECK))
        windows_check(cpu, inv);
}

/* --- start-up --------------------------------------------------------------------------------- */
void windows_view_init(struct cpu *cpu, struct view *v) {
    struct windows *ws = windows_of(cpu);
    uint64_t *delta = view_deltas(cpu, v);
    for (unsigned i = 0; i < REGION_HASH; i++)
        delta[i] = null_delta(ws, narrow_region(cpu, i));
    for (unsigned i = 0; i < ws->count && view_slot(v)->context; i++) {
        struct window *w = &ws->win[i];
        if (w->state == WINDOW_LIVE && w->regime == v->regime && window_has_root(view_slot(v)->context, w) &&
            (!belongs_to_asids(w) || asid_attached(cpu, w, v->lo.asid)))
            delta[region_index(cpu, w->region)] = window_delta(ws, w);
    }
    for (unsigned i = 0; i < ws->count; i++)
        publish_near(cpu, v, &ws->win[i]);
}

void windows_init(struct cpu *cpu, struct windows *ws, uint64_t entries) {
    const uint64_t *slots = cpu->boot->window_slots[cpu->index];
    for (unsigned slot = 0; slot < 256 && ws->count < WINDOWS_MAX; slot++) {
        if (!(slots[slot / 64] >> slot % 64 & 1))
            continue;
        ws->slot[ws->count++] = (uint8_t)slot;
        ws->window_of_slot[slot] = (uint8_t)ws->count;
    }
    if (!ws->count || !rmap_init(&ws->rmap, &engine_of(cpu)->heap, entries))
        rt_panic(cpu, "vCPU %u has no room for windows", cpu->index);
    ws->null_slot = cpu->boot->null_slot;
    ws->base = cpu->boot->windows_va;
    ws->run_max = TABLE_ENTRIES;
    ws->pages.pml4 = rt_pml4(cpu);
    mmu_of(cpu)->windows = ws;
}
