/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * window.c: the window strategy: guest pages are host pages of this vCPU's own page tables (windows.h).
 *
 * A host fault costs as much as a hundred accesses in C. A probe therefore starts with a prediction that never holds,
 * so that it looks its page up among those used last (recent.h), and goes to C for the others. When C has seen it often
 * enough on pages that are mapped, it gets its real prediction, and it loses it again, for longer each time, when it
 * faults repeatedly (window_probe.h). C maps a page once it is touched often. So code that touches each page a few
 * times (clearing, copying, fixmaps) never faults.
 */
#include "dbt/mmu/loans.h"

#define HEAT_MAP 96 /* accesses in C after which a page is mapped */
/* The same of a page that comes and goes, where a fault costs about that many (an estimate). */
#define HEAT_MAP_RING3 16

/* An access that uses another's probe and faults so often in so many ticks, as it writes to pages that are mapped to be
 * read, or goes on into the next page, has a probe of its own from then on; in hot code, where that costs more, only if
 * it is a matter of fewer ticks. */
#define APART_FAULTS 8
#define APART_TICKS (UINT64_C(1) << 26)
#define APART_TICKS_HOT (UINT64_C(1) << 22)
#define APART_INSNS 1024

struct window_state {
    struct windows windows;
    struct window_probes probes;
    struct loans loans;
    struct apart { /* by hash of their pc */
        uint64_t pc, since;
        uint32_t faults;
        enum apart_when { APART_NEVER, APART_COLD, APART_ALWAYS } when;
    } apart[APART_INSNS];
    unsigned aparts; /* those that are, ever */
};

/* Behind struct view. */
struct window_view {
    uint64_t delta[REGION_HASH];
    struct recent_view recent;
};

_Static_assert(sizeof(((struct window_view *)0)->delta) == PAGE_SIZE, "what is shown of it");

static struct window_state *state_of(struct cpu *cpu) { return mmu_of(cpu)->strategy; }
static struct recent_view *recent_of(struct view *v) { return &((struct window_view *)(v + 1))->recent; }

/* --- filling ---------------------------------------------------------------------------------- */
/* Is the page touched often enough to be mapped, rather than served in C? A probe that had to fault has decided
 * that. */
static bool page_is_hot(const struct cpu *cpu, struct windows *ws, struct view *v, const struct mmu_slow *s) {
    if (s->guess)
        return !rt_has_ring3(cpu) && *heat_sought(&ws->heat, s->va) >= SOUGHT;
    uint8_t *touched = &ws->heat.touched[heat_index(s->va)], *unmapped = &ws->heat.unmapped[heat_index(s->va)];
    if (rt_has_ring3(cpu)) { /* a flush is an instruction there */
        if (!s->fill_now && *unmapped >= FICKLE) {
            if (++*touched < HEAT_MAP_RING3)
                return false;
            *unmapped = FICKLE - 1;
        }
        *touched = 0;
        return true;
    }
    if (s->unpredicted && (!s->fill_now || *unmapped >= FICKLE) && !recent_used_up(&ws->recent, recent_of(v), s->va) &&
        ++*touched < HEAT_MAP)
        return false;
    if (s->unpredicted && *unmapped >= FICKLE)
        *unmapped = 0; /* it stays longer now */
    *touched = 0;
    return true;
}

/* Remembers the page for probes without a prediction; win: NULL if it is not mapped there. */
static void note(struct cpu *cpu, struct view *v, const struct window *win, const struct mmu_slow *s,
                 const struct walk *w, bool write) {
    struct windows *ws = windows_of(cpu);
    uint64_t pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    uint64_t lent = s->lent.index;
    uint64_t delta = win    ? window_delta(ws, win)
                     : lent ? lent
                            : cpu->boot->ram_va + ram_offset(cpu, pa) - ALIGN_DOWN(s->va, PAGE_SIZE);
    recent_note(&ws->recent, recent_of(v), s->va, w, page_key(cpu, pa), delta, win || lent,
                win ? RECENT_SAMPLE : RECENT_HEAT, write && !page_is_watched(cpu, pa));
}

/* The access is served in C; or by a loan, if it has to have a host address. */
static void serve(struct cpu *cpu, struct view *v, struct mmu_slow *s, enum mmu_access access, const struct walk *w) {
    bool write = access == MMU_WRITE;
    uint64_t pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    if (rt_has_ring3(cpu)) /* which sees neither loans nor recent pages */
        return;
    if (s->fill_now)
        loans_lend(cpu, &state_of(cpu)->loans, s, pa, w->write && page_writable(cpu, pa, write));
    note(cpu, v, NULL, s, w, write);
}

/* One try; false: evict something and try again. */
static bool fill_in(struct cpu *cpu, struct window *win, struct view *v, struct mmu_slow *s, enum mmu_access access,
                    const struct walk *w) {
    struct window_state *st = state_of(cpu);
    bool write = access == MMU_WRITE;
    uint64_t pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    if (window_mapped(cpu, win, s->va, pa, write)) {
        window_probe_credit(cpu, &st->probes, s);
    } else if (!page_is_hot(cpu, &st->windows, v, s)) {
        serve(cpu, v, s, access, w);
        return true;
    } else if (!window_map(cpu, win, v, s->va, access, w)) {
        return false;
    } else if (rt_has_ring3(cpu)) {
        window_probe_credit(cpu, &st->probes, s);
    } else if (cpu->fault_ticks && !s->unpredicted) {
        heat_found(&st->windows.heat, s->va);
    }
    if (!rt_has_ring3(cpu))
        note(cpu, v, win, s, w, write);
    return true;
}

static void window_fill(struct cpu *cpu, struct mmu_slow *s, enum mmu_access access, const struct walk *w) {
    struct windows *ws = windows_of(cpu);
    unsigned regime = MMU_DESC_REGIME(s->desc);
    struct view *v = view_for(cpu, regime);
    if (!v || !window_can_map(cpu, access, w))
        return;
    if (rmap_room(&ws->rmap) < 2 * TABLE_ENTRIES)
        windows_drop_all(cpu);
    if (regime != cpu->regime && mmu_of(cpu)->hidden >> regime & 1) /* or the next access would come here, too */
        windows_flush(cpu, (uint8_t)(1u << cpu->regime | 1u << regime));
    for (unsigned tries = 0; tries < 2; tries++) {
        struct window *win = window_for(cpu, v, s->va);
        if (!win)
            serve(cpu, v, s, access, w);
        if (!win || fill_in(cpu, win, v, s, access, w) || !windows_evict(cpu, win))
            break;
    }
    if (ws->pages.flush_all || ws->pages.flushes)
        windows_sync(cpu);
}

static void window_protect(struct cpu *cpu, struct gpa page) {
    struct windows *ws = windows_of(cpu);
    recent_protect(&ws->recent, page_key(cpu, page.v));
    loans_protect(cpu, &state_of(cpu)->loans, page.v);
    windows_protect(cpu, page);
}

/* --- accesses that other probes serve --------------------------------------------------------- */
static struct apart *apart_at(struct window_state *st, uint64_t pc) {
    return &st->apart[(uint32_t)(pc >> 1) * 0x9e3779b1u >> 22];
}
_Static_assert(APART_INSNS == 1 << 10, "the hash above");

static bool window_apart(const struct cpu *cpu, uint64_t pc) {
    struct window_state *st = mmu_of(cpu)->strategy;
    const struct apart *a = apart_at(st, pc);
    return UNLIKELY(st->aparts) && a->pc == pc && a->when > (engine_of(cpu)->hot ? APART_COLD : APART_NEVER);
}

static bool faults_often(struct apart *a, uint64_t now) {
    if (now - a->since > (a->when == APART_NEVER ? APART_TICKS : APART_TICKS_HOT)) {
        a->since = now;
        a->faults = 0;
    }
    return ++a->faults == APART_FAULTS;
}

static void window_hoisted(struct cpu *cpu, struct mmu_slow *s) {
    struct window_state *st = state_of(cpu);
    const uint64_t pc = guest_pc(cpu), now = rt_ticks();
    struct apart *a = apart_at(st, pc);
    if (rt_has_ring3(cpu))
        return;
    if (a->pc != pc) {
        st->aparts -= a->when != APART_NEVER;
        *a = (struct apart){.pc = pc, .since = now};
    }
    if (a->when == APART_ALWAYS || !faults_often(a, now))
        return;
    st->aparts += a->when == APART_NEVER;
    a->when++;
    a->faults = 0;
    struct block *b = cache_block_at(engine_of(cpu), s->site);
    if (b && b->valid)
        cache_drop_block(engine_of(cpu), b);
}

/* A copy would be without the probe that an instruction has earned here. */
static bool window_same_probes(const struct cpu *cpu, uint64_t pc, unsigned bytes) {
    const struct window_state *st = mmu_of(cpu)->strategy;
    for (uint64_t at = pc; st->aparts && at < pc + bytes; at += 2)
        if (window_apart(cpu, at))
            return false;
    return true;
}

/* --- views and start-up ----------------------------------------------------------------------- */
static size_t window_view_bytes(void) { return sizeof(struct window_view); }

static void window_view_init(struct cpu *cpu, struct view *v) {
    windows_view_init(cpu, v);
    recent_view_init(&windows_of(cpu)->recent, recent_of(v));
}

static void window_init(struct cpu *cpu) {
    struct window_state *st = heap_take(&engine_of(cpu)->heap, sizeof(*st));
    if (!st)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    mmu_of(cpu)->strategy = st;
    /* Half of RAM can be mapped page by page and writable before everything is dropped and begins anew. */
    windows_init(cpu, &st->windows, (cpu->boot->ram_size >> PAGE_SHIFT) / 2 + 8 * TABLE_ENTRIES);
    st->loans.slot = cpu->boot->loan_slot[cpu->index];
}

/* --- what emitted code needs ------------------------------------------------------------------ */
#define RECENT_DISP ((int32_t)(sizeof(struct view) + offsetof(struct window_view, recent)))
static void window_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk) {
    recent_emit_thunks(a, cpu, thunk, RECENT_DISP);
}

/* The prediction that a probe begins with: where it is about to come, if its page is known to be mapped. */
static void window_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    struct view *v = mmu_of(cpu)->view;
    const uint64_t va = p->hint + (uint64_t)(int64_t)p->disp;
    if (p->hint && (!p->current || !recent_is_mapped(&windows_of(cpu)->recent, recent_of(v), va, p->write)))
        p->hint = 0;
    window_probe_emit(a, cpu, p);
}

static void window_miss(struct cpu *cpu, struct mmu_slow *s) { window_probe_miss(cpu, &state_of(cpu)->probes, s); }

static uint64_t window_nearby(struct cpu *cpu, const struct mmu_slow *s, uint64_t va, unsigned regime) {
    const struct windows *ws = windows_of(cpu);
    if (UNLIKELY(s->lent.index) && MMU_DESC_REGIME(s->desc) == regime && va - s->lent.va + LOAN_REACH < 2 * LOAN_REACH)
        return s->lent.index;
    uint64_t delta = view_deltas(cpu, cpu->views[regime])[region_index(cpu, region_of(va))];
    if (ws->direct && (va + delta - ws->base) >> (REGION_SHIFT + 8)) /* another region's, and somewhere all the same */
        return ws->base + (ws->null_slot << REGION_SHIFT) - ALIGN_DOWN(va, BIT(REGION_SHIFT));
    return delta;
}

const struct mmu_ops mmu_window_ops = {
    .name = "window",
    .about = "guest pages are host pages, in windows of the host's address space",
    .needs_paging = true,
    .init = window_init,
    .view_bytes = window_view_bytes,
    .shown_bytes = PAGE_SIZE,
    .other_at = offsetof(struct window_view, delta),
    .view_init = window_view_init,
    .fill = window_fill,
    .miss = window_miss,
    .hoisted = window_hoisted,
    .apart = window_apart,
    .same_probes = window_same_probes,
    .invalidate = windows_invalidate,
    .sync = windows_sync,
    .protect = window_protect,
    .wants_hint = true,
    .emit_probe = window_emit_probe,
    .emit_retry = recent_emit,
    .retries_other = true,
    .emit_thunks = window_emit_thunks,
    .nearby = window_nearby,
    .place = window_place,
    .place_index = window_place_index,
    .emit_place_number = window_place_number,
    .emit_place = window_place_emit,
    .emit_place_wanted = window_place_wanted,
};
