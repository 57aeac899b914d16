/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * soft.c: the software TLB strategy. Each view has a table of its own, which a probe looks at: its entries say which
 * page they are for, nothing else. Behind these first tables is a second one, of all views of a vCPU, with several ways
 * and room for more pages; it is looked at out of line, and what is found there is copied to the first. An entry's tags
 * there are a page's number and, above it, the id of the view that may use it, so a view is emptied by giving it
 * another id (and emptying what there is in its first table): no change of address space, exception level or ASID
 * touches an entry. What is in a first table is in the second as well.
 *
 * The first way of the second table is not the same for all views: each starts at one of a few places, so that programs
 * which are loaded at one address do not fall on the same entries.
 *
 * Hot code (hot.c) has a shorter way: an instruction that was last somewhere in a page will be there again. Each probe
 * of it has a slot in the view, with that page and its addend, which nothing has to be computed for: the address of the
 * access does not wait for a look-up. The table is asked out of line, and fills the slot. Instructions whose pages
 * change all the time lose by it; a view's budget of look-ups between two samples finds them, and their blocks are
 * translated again without it. Those that go on from a page to the next cost it little: they have used all of a page.
 *
 * Views of one upper half and regime share an id for as long as they hold nothing but global pages of that half: a
 * kernel's pages survive in every process what happens to processes.
 */
#include "dbt/mmu/soft.h"

#define SOFT_NULL_ID 1u /* of the view that holds nothing; 0 is in no tag */
#define WRITTEN_ANYWHERE 0xffff
/* The budget between two samples: with less, loops over several short arrays lose their slots. */
#define SLOT_BUDGET (65536 * SLOT_WANDER)
#define SLOT_STEP 64 /* beyond it: one in so many finds an instruction that wanders */

static unsigned set_of(uint64_t va) { return (unsigned)(va >> PAGE_SHIFT) % SOFT_SETS; }
/* Where the mapping of that size at va is counted: by hash, but what is in one half does not get in the other's way. */
static uint32_t *blocks_at(struct soft_state *st, uint64_t va, unsigned shift) {
    if (shift > 30)
        return &st->giant;
    uint64_t hash = (va << 8 >> 8 >> shift) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return &st->blocks[shift > 21][hash % (SOFT_BLOCKS / 2) + (va >> 55 & 1) * (SOFT_BLOCKS / 2)];
}
static uint64_t make_tag(const struct soft_view *s, uint64_t va) { return va >> PAGE_SHIFT | s->id; }
static bool is_tag(uint64_t tag) { return tag >> SOFT_ID_SHIFT; }
/* One of an entry's tags, 0 if it has none. */
static uint64_t tag_of(const struct soft_entry *e) {
    return is_tag(e->tag[MMU_READ]) ? e->tag[MMU_READ] : is_tag(e->tag[MMU_WRITE]) ? e->tag[MMU_WRITE] : 0;
}
static uint64_t page_of(uint64_t tag) { return tag << PAGE_SHIFT; }

static void soft_init(struct cpu *cpu) {
    struct soft_state *st = heap_take(&engine_of(cpu)->heap, sizeof(*st));
    if (!st)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    st->next_id = SOFT_NULL_ID;
    mmu_of(cpu)->soft = st;
    rt_sample_start(cpu); /* without it there are no slots */
}

/* --- slots ------------------------------------------------------------------------------------ */
static void slots_clear(struct soft_view *s, uint64_t epoch) {
    for (unsigned i = 0; s->slots_used && i < SLOTS; i++)
        s->slot[i].room = 0;
    s->slots_used = 0;
    s->epoch = epoch;
}
/* Brings the slots of the current context's views up to date. Those of others wait until they are current. */
static void slots_renew(struct cpu *cpu) {
    const struct context *c = mmu_of(cpu)->current;
    struct soft_state *st = soft_state_of(cpu);
    for (unsigned r = 0; c && c->made >> r; r++)
        if (c->made >> r & 1 && soft_of(c->view[r])->epoch != st->epoch)
            slots_clear(soft_of(c->view[r]), st->epoch);
}
/* Something that a slot may hold is not so any more. */
static void slots_forget(struct cpu *cpu) {
    soft_state_of(cpu)->epoch++;
    slots_renew(cpu);
}

static uint64_t *wanderer_at(struct soft_state *st, uint64_t pc, unsigned *bit) {
    unsigned n = (unsigned)((pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % WANDERERS;
    *bit = n % 64;
    return &st->wanderer[n / 64];
}
bool soft_wanders(struct soft_state *st, uint64_t pc) {
    unsigned bit;
    return *wanderer_at(st, pc, &bit) >> bit & 1;
}
static void note_wanderer(struct soft_state *st, uint64_t pc) {
    unsigned bit;
    uint64_t *word = wanderer_at(st, pc, &bit);
    if (++st->wanderers > WANDERERS / 4) { /* too many others would be taken for some */
        memset(st->wanderer, 0, sizeof(st->wanderer));
        st->wanderers = 1;
    }
    *word |= BIT(bit);
}

/* --- first tables ----------------------------------------------------------------------------- */
static void first_forbid(struct soft_first *f, unsigned set, enum mmu_access access) {
    f->page[access] = FIRST_NONE(set);
}
static void first_clear(struct soft_view *s) {
    for (unsigned i = 0; i < FIRST_CHUNKS; i++) {
        if (s->filled[i * SOFT_VIEWS])
            memset(&s->first[i * FIRST_CHUNK], 0, FIRST_CHUNK * sizeof(s->first[0]));
        s->filled[i * SOFT_VIEWS] = 0;
    }
    first_forbid(&s->first[0], 0, MMU_READ);
    first_forbid(&s->first[0], 0, MMU_WRITE);
}
static void first_fill(struct soft_view *s, uint64_t va, const struct soft_entry *e) {
    unsigned set = first_set(va);
    s->first[set] =
        (struct soft_first){.page = {page_of(e->tag[MMU_READ]), page_of(e->tag[MMU_WRITE])}, .addend = e->addend};
    s->filled[set / FIRST_CHUNK * SOFT_VIEWS] = 1;
}
/* The next view from *n on whose first table may have something in that set; NULL: none has. */
static struct soft_view *first_next(const struct soft_state *st, unsigned set, unsigned *n) {
    const uint8_t *filled = st->filled[set / FIRST_CHUNK];
    uint64_t eight;
    for (; *n < st->views; ++*n) {
        memcpy(&eight, &filled[*n & ~7u], sizeof(eight));
        if (!eight)
            *n |= 7;
        else if (filled[*n])
            return st->view[(*n)++];
    }
    return NULL;
}
static void first_drop_page(struct soft_view *s, uint64_t page) {
    const unsigned set = first_set(page);
    for (unsigned k = MMU_READ; k <= MMU_WRITE; k++)
        if (s->first[set].page[k] == page)
            first_forbid(&s->first[set], set, (enum mmu_access)k);
}
/* What has that tag goes from the first tables that may have it. */
static void first_drop(struct soft_state *st, uint64_t tag) {
    struct soft_view *s = st->owner[tag >> SOFT_ID_SHIFT];
    if (s) {
        if (!((s->id ^ tag) >> SOFT_ID_SHIFT)) /* else it has been emptied since */
            first_drop_page(s, page_of(tag));
        return;
    }
    for (unsigned n = 0; (s = first_next(st, first_set(page_of(tag)), &n));)
        first_drop_page(s, page_of(tag));
}
/* No first table lets anything write to the page of RAM at host by way of that set. */
static void first_revoke(struct soft_state *st, unsigned set, uint64_t host) {
    struct soft_view *s;
    for (unsigned n = 0; (s = first_next(st, set, &n));)
        if (s->first[set].page[MMU_WRITE] + s->first[set].addend == host)
            first_forbid(&s->first[set], set, MMU_WRITE);
}
/* A view that is set up for the first time. */
static void view_add(struct soft_state *st, struct soft_view *s) {
    _Static_assert(REGIMES * CONTEXTS + 1 <= SOFT_VIEWS, "one of each context, and that of none");
    s->filled = &st->filled[0][st->views];
    s->seam = (uint8_t *)s->joined + SEAM_BYTES;
    st->view[st->views++] = s;
}

/* --- ids -------------------------------------------------------------------------------------- */
static size_t soft_view_bytes(void) { return sizeof(struct soft_view); }

static void set_id(struct soft_state *st, struct soft_view *s, uint32_t id, bool shared) {
    s->id = (uint64_t)id << SOFT_ID_SHIFT;
    st->owner[id] = shared ? NULL : s;
    s->shared = shared;
    s->table = &st->way[0].entry[id % SOFT_PLACES * SOFT_PLACE_STEP];
}

static void renew(struct cpu *cpu, struct view *v, void *arg);

/* An id that no entry and no view has. */
static uint32_t new_id(struct cpu *cpu) {
    struct soft_state *st = soft_state_of(cpu);
    if (st->next_id == SOFT_IDS - 1) {
        memset(st->way, 0, sizeof(st->way));
        memset(st->blocks, 0, sizeof(st->blocks));
        st->giant = 0;
        memset(st->shared, 0, sizeof(st->shared));
        st->next_id = SOFT_NULL_ID;
        view_each(cpu, renew, NULL);
    }
    return ++st->next_id;
}

/* The id that views of that upper half and regime share. */
static uint32_t shared_id(struct cpu *cpu, const struct view *v) {
    struct soft_state *st = soft_state_of(cpu);
    for (unsigned i = 0; i < SOFT_SHARED; i++)
        if (st->shared[i].id && st->shared[i].regime == v->regime && space_equal(st->shared[i].hi, v->hi))
            return st->shared[i].id;
    uint32_t id = new_id(cpu);
    unsigned n = st->next_shared++ % SOFT_SHARED;
    st->shared[n].hi = v->hi;
    st->shared[n].regime = v->regime;
    st->shared[n].id = id;
    return id;
}

static void soft_view_init(struct cpu *cpu, struct view *v) {
    bool null = v == &mmu_of(cpu)->null->view;
    if (!soft_of(v)->filled)
        view_add(soft_state_of(cpu), soft_of(v));
    first_clear(soft_of(v));
    set_id(soft_state_of(cpu), soft_of(v), null ? SOFT_NULL_ID : shared_id(cpu, v), !null);
    slots_clear(soft_of(v), soft_state_of(cpu)->epoch);
    soft_of(v)->budget = SLOT_BUDGET;
}
static void renew(struct cpu *cpu, struct view *v, void *arg) { soft_view_init(cpu, v); }

/* --- entries ---------------------------------------------------------------------------------- */
static void count_block(struct soft_state *st, const struct soft_entry *e, int by) {
    if (UNLIKELY(e->shift > PAGE_SHIFT))
        *blocks_at(st, page_of(tag_of(e)), e->shift) += (uint32_t)by;
}
static void drop(struct soft_state *st, struct soft_entry *e) {
    if (tag_of(e)) {
        first_drop(st, tag_of(e));
        count_block(st, e, -1);
    }
    e->tag[MMU_READ] = e->tag[MMU_WRITE] = 0;
}

/* The entry at that place for that page becomes the first; the others move on. */
static struct soft_entry *place(struct soft_state *st, const struct soft_view *s, unsigned at, uint64_t va) {
    uint64_t tag = make_tag(s, va);
    unsigned k = 0;
    while (k < SOFT_WAYS - 1 && tag_of(&st->way[k].entry[at]) != tag)
        k++;
    drop(st, &st->way[k].entry[at]);
    for (; k; k--)
        st->way[k].entry[at] = st->way[k - 1].entry[at];
    return &st->way[0].entry[at];
}

/* --- write tags by page of RAM ---------------------------------------------------------------- */
static bool writes_to(const struct soft_entry *e, uint64_t host) {
    return is_tag(e->tag[MMU_WRITE]) && page_of(e->tag[MMU_WRITE]) + e->addend == host;
}
static bool place_writes_to(const struct soft_state *st, unsigned at, uint64_t host) {
    for (unsigned k = 0; k < SOFT_WAYS; k++)
        if (writes_to(&st->way[k].entry[at], host))
            return true;
    return false;
}
static void revoke(struct soft_state *st, unsigned first, unsigned count, uint64_t host) {
    for (unsigned k = 0; k < SOFT_WAYS; k++)
        for (unsigned i = first; i < first + count; i++)
            if (writes_to(&st->way[k].entry[i], host)) {
                st->way[k].entry[i].tag[MMU_WRITE] = SOFT_NO_TAG(i);
                first_revoke(st, i % FIRST_SETS, host);
            }
}
/* The page has no write tags any more. */
static void forget_written(struct cpu *cpu, struct written *w) {
    struct soft_state *st = soft_state_of(cpu);
    const uint64_t host = cpu->boot->ram_va + ((uint64_t)(w->page - 1) << PAGE_SHIFT);
    if (w->place[0] == WRITTEN_ANYWHERE)
        revoke(st, 0, SOFT_ENTRIES, host);
    else
        for (unsigned i = 0; i < WRITTEN_PLACES; i++)
            if (w->place[i])
                revoke(st, w->place[i] - 1u, 1, host);
    *w = (struct written){0};
}
static struct written *written_at(struct cpu *cpu, uint64_t pa, uint32_t *page) {
    *page = 1 + (uint32_t)((pa - cpu->boot->ram_gpa) >> PAGE_SHIFT);
    return &soft_state_of(cpu)->written[*page % WRITTEN_PAGES];
}
/* A write tag for the page of RAM is about to be at that place. */
static void note_written(struct cpu *cpu, uint64_t pa, unsigned at) {
    const uint64_t host = (uintptr_t)ram_ptr(cpu, GPA(pa), PAGE_SIZE);
    uint16_t *unused = NULL;
    uint32_t page;
    struct written *w = written_at(cpu, pa, &page);
    if (w->page && w->page != page)
        forget_written(cpu, w);
    w->page = page;
    if (w->place[0] == WRITTEN_ANYWHERE)
        return;
    for (unsigned i = 0; i < WRITTEN_PLACES; i++) {
        if (w->place[i] == 1 + at)
            return;
        if (!unused && (!w->place[i] || !place_writes_to(soft_state_of(cpu), w->place[i] - 1u, host)))
            unused = &w->place[i];
    }
    if (unused)
        *unused = (uint16_t)(1 + at);
    else
        w->place[0] = WRITTEN_ANYWHERE;
}

static void soft_fill(struct cpu *cpu, struct mmu_slow *slow, enum mmu_access access, const struct walk *w) {
    uint64_t va = slow->va, page = ALIGN_DOWN(va, PAGE_SIZE), pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    struct view *v = view_for(cpu, MMU_DESC_REGIME(slow->desc));
    void *host = ram_ptr(cpu, GPA(pa), PAGE_SIZE);
    if (!v || !host || w->device)
        return;
    struct soft_state *st = soft_state_of(cpu);
    struct soft_view *s = soft_of(v);
    if (s->shared && !(w->global && cpu->guest->is_hi(va)))
        set_id(st, s, new_id(cpu), false);
    /* A first write to a page with anyone's code has to be seen: see code_before_write(). */
    uint8_t code = *code_bits_at(engine_of(cpu), pa);
    bool write = w->write && pa_is_ram(cpu, pa) && (access == MMU_WRITE ? !(code >> cpu->index & 1) : !code);
    unsigned at = (unsigned)(s->table - st->way[0].entry) + set_of(va);
    if (write)
        note_written(cpu, pa, at);
    struct soft_entry *e = place(st, s, at, va);
    uint64_t tag = make_tag(s, va), none = SOFT_NO_TAG(at);
    *e = (struct soft_entry){.tag = {[MMU_READ] = w->read ? tag : none, [MMU_WRITE] = write ? tag : none},
                             .addend = (uintptr_t)host - page,
                             .shift = w->page_shift};
    if (tag_of(e))
        count_block(st, e, 1);
    first_fill(s, va, e);
    STAT(cpu, fills)++;
}

/* Does who missed the slot go on from page to page? Then the next page is near, and the one that C saw last is left
 * behind. */
static bool goes_on(struct soft_slot *slot, uint64_t va) {
    uint64_t page = va >> PAGE_SHIFT, passed = page - slot->last + SLOT_STEP / 4;
    slot->last = page;
    return va - slot->page + PAGE_SIZE < 3 * PAGE_SIZE && passed > SLOT_STEP / 2;
}

/* A view that has used up its budget: the instruction that came here looks up its pages more often than others. If it
 * does so because it goes on from page to page, it keeps its slot. */
static void soft_miss(struct cpu *cpu, struct mmu_slow *slow) {
    struct soft_view *s = soft_of(mmu_of(cpu)->view);
    struct engine *e = engine_of(cpu);
    struct block *b = s->budget < 0 && slow->site ? cache_block_at(e, slow->site) : NULL;
    struct soft_slot *slot = b && b->valid ? soft_slot_at(cpu, s, slow->site) : NULL;
    if (!slot)
        return;
    s->budget += SLOT_STEP * SLOT_WANDER;
    if (goes_on(slot, slow->va))
        return;
    if (soft_wanders(soft_state_of(cpu),
                     guest_pc(cpu))) { /* the second time: by now the block's others are known, too */
        cache_drop_block(e, b);
        return;
    }
    note_wanderer(soft_state_of(cpu), guest_pc(cpu));
    STAT(cpu, slots_lost)++;
}

static void soft_sampled(struct cpu *cpu, uint64_t pc) { soft_of(mmu_of(cpu)->view)->budget = SLOT_BUDGET; }

/* --- invalidation ----------------------------------------------------------------------------- */
/* The entries for va, of pages of their own. */
static void drop_va(struct soft_state *st, uint64_t va) {
    for (unsigned k = 0; k < SOFT_WAYS; k++) {
        for (unsigned p = 0; p < SOFT_PLACES; p++) {
            struct soft_entry *e = &st->way[k].entry[p * SOFT_PLACE_STEP + set_of(va)];
            if (tag_of(e) && !((page_of(tag_of(e)) ^ va) << 8 >> 8 >> e->shift))
                drop(st, e);
        }
    }
}

/* All views get ids that no entry has. */
static void forget_all(struct cpu *cpu) {
    memset(soft_state_of(cpu)->shared, 0, sizeof(soft_state_of(cpu)->shared));
    view_each(cpu, renew, NULL);
}

static void soft_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    struct context *c = mmu_of(cpu)->current;
    struct soft_state *st = soft_state_of(cpu);
    slots_forget(cpu);
    if (inv->kind == MMU_INVAL_VA || inv->kind == MMU_INVAL_VA_ASID) {
        if (UNLIKELY(st->giant || *blocks_at(st, inv->va, 30) || *blocks_at(st, inv->va, 21)))
            forget_all(
                cpu); /* its pages may be anywhere: to look for them takes longer than to fill what is used again */
        else
            drop_va(st, inv->va); /* in all address spaces: it may be a global entry */
        return;
    }
    bool any = inv->kind == MMU_INVAL_ALL;
    context_forget(cpu, any, inv->asid);
    if (any)
        memset(st->shared, 0, sizeof(st->shared));
    if (!c || (!any && c->lo.asid != inv->asid && c->hi.asid != inv->asid))
        return;
    for (unsigned r = 0; r < REGIMES; r++) /* what is shared is global */
        if (c->made >> r & 1 && (any || !soft_of(c->view[r])->shared))
            soft_view_init(cpu, c->view[r]);
}

static void soft_sync(struct cpu *cpu) {}

static void soft_protect(struct cpu *cpu, struct gpa pa) {
    uint32_t page;
    struct written *w = written_at(cpu, pa.v, &page);
    slots_forget(cpu);
    if (w->page == page)
        forget_written(cpu, w);
}

const struct mmu_ops mmu_soft_ops = {
    .name = "soft",
    .about = "a software TLB, looked up before each access",
    .init = soft_init,
    .view_bytes = soft_view_bytes,
    .view_init = soft_view_init,
    .fill = soft_fill,
    .miss = soft_miss,
    .invalidate = soft_invalidate,
    .sync = soft_sync,
    .entered = slots_renew,
    .sampled = soft_sampled,
    .protect = soft_protect,
    .emit_probe = soft_emit_probe,
    .emit_find = soft_emit_find,
    .emit_finish = soft_emit_finish,
    .emit_span = soft_emit_span,
    .emit_thunks = soft_emit_thunks,
};
