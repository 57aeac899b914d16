/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * views.c: contexts and views. A context is a pair of address spaces (lower and
 * upper half) that was current at some time; it has a view for each regime that
 * was used in it. Changing context is a hash look-up; the least recently used
 * context is recycled. Regimes that the current context has not used share an
 * empty view, in which every access misses.
 */
#include "dbt/mmu/mmu_int.h"

/* A kernel is the same in every process: a new view takes over the jump cache of the view of its regime that was used
 * last, if nothing in there depends on the lower half. */
static bool is_live(struct view *v) {
    const struct context *c = v ? view_slot(v)->context : NULL;
    return c && c->made >> v->regime & 1 && c->view[v->regime] == v;
}
static bool inherit(const struct cpu *cpu, struct view *v) {
    struct mmu_state *m = mmu_of(cpu);
    struct view *from = m->last[v->regime];
    const struct view_slot *s = from ? view_slot(from) : NULL;
    if (rt_has_ring3(cpu) && v->regime == 0) /* what a process has in there is no other's business */
        return false;
    if (!is_live(from) || from == v || !from->has_code || s->tagged || !space_equal(from->hi, v->hi))
        return false;
    memcpy(v->jump_cache, from->jump_cache, sizeof(v->jump_cache));
    memcpy(v->jump_victim, from->jump_victim, sizeof(v->jump_victim));
    memcpy(v->code_page, from->code_page, sizeof(v->code_page));
    view_slot(v)->victims = s->victims;
    memcpy(view_slot(v)->bloom, s->bloom, sizeof(s->bloom));
    view_slot(v)->mode = s->mode;
    view_slot(v)->tagged = false;
    view_slot(v)->uses = VIEW_USED + 1;
    v->has_code = 1;
    return true;
}

static void view_clear(struct cpu *cpu, struct view *v, struct context *c, unsigned regime) {
    struct view_slot *s = view_slot(v);
    s->context = c;
    v->regime = regime;
    v->lo = c ? c->lo : (struct mmu_space){0, 0};
    v->hi = c ? c->hi : (struct mmu_space){0, 0};
    if (inherit(cpu, v))
        return;
    memset(s->bloom, 0, sizeof(s->bloom));
    s->mode = ~0u;
    s->tagged = false;
    s->uses = 0;
    for (unsigned i = 0; i < ARRAY_LEN(v->jump_cache); i++)
        v->jump_cache[i].pc = JUMP_CACHE_EMPTY(i);
    view_empty_victims(v);
    memset(v->code_page, 0, sizeof(v->code_page));
    v->has_code = 0;
}

/* --- memory ----------------------------------------------------------------------------------- */
/* Where a view is found from RBP, struct cpu is mapped in front of it, and RBP points there: see cpu.view_disp. */
static size_t beside_bytes(const struct cpu *cpu) {
    return cpu->view_disp ? ALIGN_UP(cpu->guest->cpu_size, PAGE_SIZE) : 0;
}

int32_t view_disp(const struct cpu *cpu) {
    if (rt_has_gs())
        return 0;
    return (int32_t)(ALIGN_UP(cpu->guest->cpu_size, PAGE_SIZE) + offsetof(struct view_slot, view)) - CODEGEN_BIAS;
}

/* Bytes of the heap that a view takes. */
static size_t view_room(const struct cpu *cpu) {
    size_t beside = beside_bytes(cpu), bytes = mmu_of(cpu)->view_bytes;
    return beside ? beside + bytes + PAGE_SIZE : rt_has_ring3(cpu) ? ALIGN_UP(bytes, PAGE_SIZE) + PAGE_SIZE : bytes;
}

/* Zeroed memory for a view, NULL if there is none. Views that are shown to ring 3 start a page. */
static struct view_slot *view_take(struct cpu *cpu) {
    size_t beside = beside_bytes(cpu);
    char *p = heap_take(&engine_of(cpu)->heap, view_room(cpu));
    if (p && rt_has_ring3(cpu))
        return view_slot((struct view *)ALIGN_UP((uintptr_t)p + offsetof(struct view_slot, view), PAGE_SIZE));
    if (!p || !beside)
        return (struct view_slot *)p;
    p = (char *)ALIGN_UP((uintptr_t)p, PAGE_SIZE);
    if (!rt_map_cpu(cpu, p, beside))
        rt_panic(cpu, "this host does not map memory twice");
    return (struct view_slot *)(p + beside);
}

void mmu_init(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    struct mmu_state *m = heap_take(&e->heap, sizeof(*m));
    if (!m)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    e->mmu = m;
    m->view_bytes = ALIGN_UP(sizeof(struct view_slot) + e->ops->view_bytes(), 64);
    e->ops->init(cpu);
    m->null = view_take(cpu);
    m->contexts = (unsigned)(heap_left(&e->heap) / 2 / (3 * view_room(cpu)));
    if (!m->null || m->contexts < 2)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    if (m->contexts > CONTEXTS)
        m->contexts = CONTEXTS;
    view_clear(cpu, &m->null->view, NULL, 0);
    e->ops->view_init(cpu, &m->null->view);
    for (unsigned i = 0; i < REGIMES; i++) {
        cpu->views[i] = &m->null->view;
        cpu->shown[i] = rt_has_ring3(cpu) ? rt_shown_view(cpu, true, e->ops->other_at) : cpu->views[i];
    }
    m->view = &m->null->view;
    cache_forget_returns(cpu);
}

/* Memory for a view: new, or that of the context which was left longest ago. */
static struct view *view_memory(struct cpu *cpu, struct context *c) {
    struct mmu_state *m = mmu_of(cpu);
    struct view_slot *s = view_take(cpu);
    if (s)
        return &s->view;
    struct context *victim = NULL;
    struct view **best = NULL;
    for (unsigned i = 0; i < m->contexts; i++) {
        struct context *o = &m->context[i];
        for (unsigned r = 0; r < REGIMES && o != c; r++) {
            if (o->view[r] && (!victim || o->stamp < victim->stamp)) {
                victim = o;
                best = &o->view[r];
            }
        }
    }
    if (!victim)
        return NULL;
    struct view *v = *best;
    *best = NULL;
    victim->used = false;
    victim->made = 0;
    return v;
}

void view_show(struct cpu *cpu, unsigned regime) {
    const struct mmu_state *m = mmu_of(cpu);
    bool visible = m->current->made >> regime & 1 && !(m->hidden >> regime & 1);
    cpu->views[regime] = visible ? m->current->view[regime] : &m->null->view;
    cpu->shown[regime] = rt_has_ring3(cpu) ? rt_shown_view(cpu, !visible || regime != 0, engine_of(cpu)->ops->other_at)
                                           : cpu->views[regime];
}

/* --- what ring 3 sees ------------------------------------------------------------------------- */
/* Unprivileged accesses need what that regime's view has; its own code sees that with the rest of it. Accesses
 * of other regimes, which only firmware of a guest's does (RISC-V's MPRV), all go to C. */
static void show_other(struct cpu *cpu, const struct context *c, unsigned regime) {
    size_t at = sizeof(struct view) + engine_of(cpu)->ops->other_at;
    const char *none = (const char *)&mmu_of(cpu)->null->view, *other = (const char *)c->view[0];
    rt_root_other(&view_slot(c->view[regime])->root, c->made & 1 ? other + at : NULL, none + at);
}

static void view_show_ring3(struct cpu *cpu, struct context *c, unsigned regime) {
    struct view *v = c->view[regime];
    v->root = &view_slot(v)->root;
    if (!rt_root_make(cpu, v->root, regime))
        rt_panic(cpu, "no memory for page tables");
    rt_root_view(v->root, v, engine_of(cpu)->ops->shown_bytes);
    for (unsigned r = 1; r < REGIMES; r++)
        if (r == regime || (regime == 0 && c->made >> r & 1))
            show_other(cpu, c, r);
}

struct view *view_for(struct cpu *cpu, unsigned regime) {
    struct mmu_state *m = mmu_of(cpu);
    struct context *c = m->current;
    if (LIKELY(c->made >> regime & 1))
        return c->view[regime];
    if (!c->view[regime])
        c->view[regime] = view_memory(cpu, c);
    struct view *v = c->view[regime];
    if (!v)
        return NULL;
    view_clear(cpu, v, c, regime);
    c->made |= (uint8_t)(1u << regime);
    if (rt_has_ring3(cpu))
        view_show_ring3(cpu, c, regime);
    engine_of(cpu)->ops->view_init(cpu, v);
    view_show(cpu, regime);
    return v;
}

void view_each(struct cpu *cpu, void (*fn)(struct cpu *cpu, struct view *v, void *arg), void *arg) {
    struct mmu_state *m = mmu_of(cpu);
    for (unsigned i = 0; i < m->contexts; i++) {
        struct context *c = &m->context[i];
        for (unsigned r = 0; c->made >> r; r++)
            if (c->made >> r & 1)
                fn(cpu, c->view[r], arg);
    }
}

void context_forget(struct cpu *cpu, bool any, uint32_t asid) {
    struct mmu_state *m = mmu_of(cpu);
    for (unsigned i = 0; i < m->contexts; i++) {
        struct context *c = &m->context[i];
        if (c != m->current && c->used && (any || c->lo.asid == asid || c->hi.asid == asid)) {
            c->used = false;
            c->made = 0;
        }
    }
}

void context_unmake(struct cpu *cpu, uint32_t asid) {
    struct mmu_state *m = mmu_of(cpu);
    for (unsigned i = 0; i < m->contexts; i++) {
        struct context *c = &m->context[i];
        if (c != m->current && (c->lo.asid == asid || c->hi.asid == asid))
            c->made = 0;
    }
}

static struct context *context_find(struct mmu_state *m, struct mmu_space lo, struct mmu_space hi) {
    uint64_t key =
        (lo.root ^ (uint64_t)lo.asid << 48 ^ hi.root << 7 ^ (uint64_t)hi.asid << 20) * UINT64_C(0x9e3779b97f4a7c15);
    uint8_t *hint = &m->hash[key >> 57];
    struct context *victim = NULL;
    if (*hint) {
        struct context *c = &m->context[*hint - 1];
        if (c->used && space_equal(c->lo, lo) && space_equal(c->hi, hi))
            return c;
    }
    for (unsigned i = 0; i < m->contexts; i++) {
        struct context *c = &m->context[i];
        if (c->used && space_equal(c->lo, lo) && space_equal(c->hi, hi)) {
            *hint = (uint8_t)(i + 1);
            return c;
        }
        if (c == m->current)
            continue;
        if (!victim || (victim->used && (!c->used || c->stamp < victim->stamp)))
            victim = c;
    }
    victim->used = true;
    victim->made = 0;
    victim->lo = lo;
    victim->hi = hi;
    victim->id = ++m->next_id;
    *hint = (uint8_t)(victim - m->context + 1);
    return victim;
}

/* The current view is about to be left. Some views are only passed through: they have not much that is worth taking
 * over. */
static void remember_last(struct mmu_state *m) {
    struct view **last = &m->last[m->view->regime];
    bool better = !is_live(*last) || view_slot(*last)->tagged || !space_equal((*last)->hi, m->view->hi) ||
                  view_slot(m->view)->uses >= view_slot(*last)->uses;
    if (m->view->has_code && !view_slot(m->view)->tagged && better)
        *last = m->view;
}

void mmu_context_changed(struct cpu *cpu) {
    struct mmu_state *m = mmu_of(cpu);
    struct context *c = m->current;
    unsigned regime = cpu->guest->mode(cpu) & (REGIMES - 1);
    struct mmu_space lo = cpu->guest->space(cpu, false, regime), hi = cpu->guest->space(cpu, true, regime);
    if (!c || !space_equal(c->lo, lo) || !space_equal(c->hi, hi)) {
        if (c)
            c->stamp = ++m->clock;
        m->current = context_find(m, lo, hi);
        m->current->stamp = ++m->clock;
        c = m->current;
        for (unsigned r = 0; r < REGIMES; r++)
            view_show(cpu, r);
        if (engine_of(cpu)->ops->entered)
            engine_of(cpu)->ops->entered(cpu);
    }
    /* The rest of a block that left its level (ERET) runs where it began: it has its stack there. */
    bool later = rt_has_ring3(cpu) && engine_of(cpu)->in_code &&
                 guest_level(cpu->guest, m->view->regime) != guest_level(cpu->guest, regime);
    cpu->regime = regime;
    struct view *v = view_for(cpu, regime);
    if (!v)
        rt_panic(cpu, "no memory for a view");
    if (v == m->view)
        return;
    remember_last(m);
    m->sync_wanted |= m->hidden >> regime & 1;
    m->view = v;
    if (!later) /* codegen_enter() does it, too */
        cpu_set_view(cpu, v);
    cache_forget_returns(cpu);
    STAT(cpu, view_switches)++;
}
