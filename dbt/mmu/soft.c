/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * soft.c: the software TLB strategy: one table for each vCPU. An entry's tags are a page's
 * number and, above it, the id of the view that may use it, so a view is emptied by giving it another id: no
 * change of address space, exception level or ASID touches an entry.
 *
 * A probe looks at one entry. Its page may also be in the same place of one of the other ways, which are looked at out
 * of line, so streams that fall on one place do not throw each other out. The first way is not the same for all views:
 * each starts at one of a few places of the table, so that programs which are loaded at one address do not fall on the
 * same entries.
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
#include "dbt/mmu/mmu_emit.h"

#define SOFT_SETS 16384u /* that an address chooses between */
#define SOFT_PLACES 4u   /* where a view may start */
#define SOFT_PLACE_STEP (SOFT_SETS / SOFT_PLACES)
#define SOFT_ENTRIES (SOFT_SETS + (SOFT_PLACES - 1) * SOFT_PLACE_STEP)
#define SOFT_WAYS 4u
#define SOFT_IDS 4096u /* they are above a page's number */
#define SOFT_ID_SHIFT (64 - PAGE_SHIFT)
#define SOFT_NULL_ID 1u          /* of the view that holds nothing; 0 is in no tag */
#define SOFT_SHARED 8u           /* ids that several views use */
#define SOFT_SAMPLE 64u          /* look-ups that an entry in another way serves before C moves it to the first */
#define SOFT_BLOCKS 1024         /* counters of entries of large guest mappings, by hash of the mapping */
#define WRITTEN_PAGES (1u << 17) /* pages of RAM with write tags: some more than there are entries */
#define WRITTEN_PLACES 4u        /* of such a page that are known; if there are more, all entries are looked at */
#define WRITTEN_ANYWHERE 0xffff
#define SLOTS_SHORT 96u /* slots for probes of up to SHORT_BYTES that read; as many for those that write */
#define SLOTS_LONG 32u  /* the same for longer ones, up to LONG_BYTES; they are behind the short ones */
#define SLOTS (2 * SLOTS_SHORT + 2 * SLOTS_LONG)
#define SHORT_BYTES 16
#define LONG_BYTES 256
#define SLOT_WANDER 8 /* what a look-up for a slot costs of the budget; one of the page next to its last costs 1 */
/* The budget between two samples: with less, loops over several short arrays lose their slots. */
#define SLOT_BUDGET (65536 * SLOT_WANDER)
#define SLOT_STEP 64     /* beyond it: one in so many finds an instruction that wanders */
#define WANDERERS 16384u /* bits, by hash of the pc */

struct soft_entry {
    uint64_t tag[2]; /* by enum mmu_access, MMU_READ and MMU_WRITE: see make_tag(); 0: not allowed */
    uint64_t addend; /* host address - guest address */
    uint32_t left;   /* look-ups until the next one goes to C */
    uint8_t shift;   /* log2 bytes of the guest's mapping */
};
_Static_assert(sizeof(struct soft_entry) == 32 && MMU_READ == 0 && MMU_WRITE == 1, "the probe knows");
#define SOFT_ENTRY_SHIFT 5

/* The ways of a set are in different sets of the host's caches. */
struct soft_way {
    struct soft_entry entry[SOFT_ENTRIES];
    uint8_t pad[192];
};

/* The page that some probes of hot code used last. */
struct soft_slot {
    uint64_t page;
    uint64_t room; /* offsets in it from which a probe may go on: the page's size less the bytes of the largest, or 0:
                      empty */
    uint64_t addend;
    uint64_t last; /* page that it was missed for when C saw it last */
};

/* Behind struct view. */
struct soft_view {
    struct soft_entry *table; /* read by the probe: the view's place in the first way */
    uint64_t id;              /* read by the probe: shifted to its place in a tag */
    bool shared;
    uint32_t slots_used; /* set by translated code: some slot may not be empty */
    int32_t budget;      /* counted down by translated code: look-ups for slots */
    uint64_t epoch;      /* that the slots are of: see slots_renew() */
    struct soft_slot slot[SLOTS];
};

struct soft_state {
    struct soft_way way[SOFT_WAYS];
    uint32_t next_id;
    struct {
        struct mmu_space hi;
        uint32_t regime, id; /* id 0: unused */
    } shared[SOFT_SHARED];
    unsigned next_shared;
    uint32_t blocks[2][SOFT_BLOCKS]; /* entries of guest mappings of 2 MiB, and of 1 GiB: see blocks_at() */
    uint32_t giant;                  /* of larger ones */
    unsigned next_slot[2][2];        /* by whether it is long, and writes */
    uint64_t epoch;
    uint64_t wanderer[WANDERERS / 64];
    unsigned wanderers;
    struct written {
        uint32_t page;                  /* of RAM, and 1; 0: unused */
        uint16_t place[WRITTEN_PLACES]; /* where write tags for it may be: 1 + the place in each way, or 0; or the
                                           first is WRITTEN_ANYWHERE */
    } written[WRITTEN_PAGES];           /* a page that is not here has no write tags */
};

static struct soft_view *soft_of(struct view *v) { return (struct soft_view *)(v + 1); }
static struct soft_state *state_of(struct cpu *cpu) { return mmu_of(cpu)->soft; }
static unsigned set_of(uint64_t va) { return (unsigned)(va >> PAGE_SHIFT) % SOFT_SETS; }
/* Where the mapping of that size at va is counted: by hash, but what is in one half does not get in the other's way. */
static uint32_t *blocks_at(struct soft_state *st, uint64_t va, unsigned shift) {
    if (shift > 30)
        return &st->giant;
    uint64_t hash = (va << 8 >> 8 >> shift) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return &st->blocks[shift > 21][hash % (SOFT_BLOCKS / 2) + (va >> 55 & 1) * (SOFT_BLOCKS / 2)];
}
static uint64_t make_tag(const struct soft_view *s, uint64_t va) { return va >> PAGE_SHIFT | s->id; }
static uint64_t tag_of(const struct soft_entry *e) { return e->tag[MMU_READ] | e->tag[MMU_WRITE]; }
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
    struct soft_state *st = state_of(cpu);
    for (unsigned r = 0; c && c->made >> r; r++)
        if (c->made >> r & 1 && soft_of(c->view[r])->epoch != st->epoch)
            slots_clear(soft_of(c->view[r]), st->epoch);
}
/* Something that a slot may hold is not so any more. */
static void slots_forget(struct cpu *cpu) {
    state_of(cpu)->epoch++;
    slots_renew(cpu);
}

static uint64_t *wanderer_at(struct soft_state *st, uint64_t pc, unsigned *bit) {
    unsigned n = (unsigned)((pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % WANDERERS;
    *bit = n % 64;
    return &st->wanderer[n / 64];
}
static bool wanders(struct soft_state *st, uint64_t pc) {
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

/* --- ids -------------------------------------------------------------------------------------- */
static size_t soft_view_bytes(void) { return sizeof(struct soft_view); }

static void set_id(struct soft_state *st, struct soft_view *s, uint32_t id, bool shared) {
    s->id = (uint64_t)id << SOFT_ID_SHIFT;
    s->shared = shared;
    s->table = &st->way[0].entry[id % SOFT_PLACES * SOFT_PLACE_STEP];
}

static void renew(struct cpu *cpu, struct view *v, void *arg);

/* An id that no entry and no view has. */
static uint32_t new_id(struct cpu *cpu) {
    struct soft_state *st = state_of(cpu);
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
    struct soft_state *st = state_of(cpu);
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
    set_id(state_of(cpu), soft_of(v), null ? SOFT_NULL_ID : shared_id(cpu, v), !null);
    slots_clear(soft_of(v), state_of(cpu)->epoch);
    soft_of(v)->budget = SLOT_BUDGET;
}
static void renew(struct cpu *cpu, struct view *v, void *arg) { soft_view_init(cpu, v); }

/* --- entries ---------------------------------------------------------------------------------- */
static void count_block(struct soft_state *st, const struct soft_entry *e, int by) {
    if (UNLIKELY(e->shift > PAGE_SHIFT))
        *blocks_at(st, page_of(tag_of(e)), e->shift) += (uint32_t)by;
}
static void drop(struct soft_state *st, struct soft_entry *e) {
    if (tag_of(e))
        count_block(st, e, -1);
    e->tag[MMU_READ] = e->tag[MMU_WRITE] = 0;
}

/* The entry at that place for that page becomes the first; the others move on. */
static struct soft_entry *place(struct soft_state *st, const struct soft_view *s, unsigned at, uint64_t va) {
    uint64_t tag = make_tag(s, va);
    unsigned k = 0;
    while (k < SOFT_WAYS - 1 && tag_of(&st->way[k].entry[at]) != tag)
        k++;
    drop(st, &st->way[k].entry[at]);
    for (; k; k--) {
        st->way[k].entry[at] = st->way[k - 1].entry[at];
        st->way[k].entry[at].left = SOFT_SAMPLE;
    }
    return &st->way[0].entry[at];
}

/* --- write tags by page of RAM ---------------------------------------------------------------- */
static bool writes_to(const struct soft_entry *e, uint64_t host) {
    return e->tag[MMU_WRITE] && page_of(e->tag[MMU_WRITE]) + e->addend == host;
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
            if (writes_to(&st->way[k].entry[i], host))
                st->way[k].entry[i].tag[MMU_WRITE] = 0;
}
/* The page has no write tags any more. */
static void forget_written(struct cpu *cpu, struct written *w) {
    struct soft_state *st = state_of(cpu);
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
    return &state_of(cpu)->written[*page % WRITTEN_PAGES];
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
        if (!unused && (!w->place[i] || !place_writes_to(state_of(cpu), w->place[i] - 1u, host)))
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
    struct soft_state *st = state_of(cpu);
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
    uint64_t tag = make_tag(s, va);
    *e = (struct soft_entry){.tag = {[MMU_READ] = w->read ? tag : 0, [MMU_WRITE] = write ? tag : 0},
                             .addend = (uintptr_t)host - page,
                             .shift = w->page_shift};
    if (tag_of(e))
        count_block(st, e, 1);
    STAT(cpu, fills)++;
}

#define VIEW_DISP(field) ((int32_t)(sizeof(struct view) + offsetof(struct soft_view, field)))
#define SLOT_DISP(n, field)                                                                                            \
    (VIEW_DISP(slot) + (int32_t)((n) * sizeof(struct soft_slot) + offsetof(struct soft_slot, field)))
#define OP_JAE 0x83 /* its second byte */
/* The slot of the probe whose site that is, NULL if it has none: its jump follows the comparison with a slot's room. */
static struct soft_slot *slot_at(const struct cpu *cpu, struct soft_view *s, const uint8_t *site) {
    int32_t disp;
    if (site[1] != OP_JAE)
        return NULL;
    memcpy(&disp, site - sizeof(disp), sizeof(disp));
    return &s->slot[(uint32_t)(disp - cpu->view_disp - SLOT_DISP(0, room)) / sizeof(struct soft_slot)];
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
    struct soft_slot *slot = b && b->valid ? slot_at(cpu, s, slow->site) : NULL;
    if (!slot)
        return;
    s->budget += SLOT_STEP * SLOT_WANDER;
    if (goes_on(slot, slow->va))
        return;
    if (wanders(state_of(cpu), guest_pc(cpu))) { /* the second time: by now the block's others are known, too */
        cache_drop_block(e, b);
        return;
    }
    note_wanderer(state_of(cpu), guest_pc(cpu));
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
    memset(state_of(cpu)->shared, 0, sizeof(state_of(cpu)->shared));
    view_each(cpu, renew, NULL);
}

static void soft_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    struct context *c = mmu_of(cpu)->current;
    struct soft_state *st = state_of(cpu);
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

/* --- emitted code ----------------------------------------------------------------------------- */
enum { OP_ADD = 0x03, OP_OR = 0x0b, OP_CMP = 0x3b, OP_MOV = 0x8b, OP_LEA = 0x8d };
#define INDEX_SHIFT (PAGE_SHIFT - SOFT_ENTRY_SHIFT)
#define INDEX_MASK ((int32_t)((SOFT_SETS - 1) << SOFT_ENTRY_SHIFT))
#define TAG_DISP(write) ((int32_t)(offsetof(struct soft_entry, tag) + 8 * (size_t)(write)))

/* A field of the current view; nobody rewrites these instructions, so they are as short as can be. */
static struct asm_mem view_mem(const struct asm_buf *a, int32_t disp) {
    return a->view_disp ? asm_mem(ASM_RBP, a->view_disp + disp) : asm_mem_view(disp);
}

/* --- the same by asm_line(): they are emitted for each access. t0, t1: temporaries, which are below 8 --- */
/* op t, [base + disp], of 64 bits */
static inline uint8_t *put_rm(uint8_t *p, unsigned op, unsigned t, unsigned base, int32_t disp) {
    unsigned n;
    uint64_t bits = asm_base_form(op, 8, t, base, disp, &n);
    return asm_put(p, bits, n);
}
/* op t, a field of the current view: see view_mem() */
static inline uint8_t *put_view(const struct asm_buf *a, uint8_t *p, unsigned op, unsigned t, int32_t disp) {
    if (a->view_disp)
        return put_rm(p, op, t, ASM_RBP, a->view_disp + disp);
    p = asm_put(p, 0x4865 | op << 16 | (t << 3 | 4) << 24 | (uint64_t)0x25 << 32, 5);
    return asm_put(p, (uint32_t)disp, 4);
}
/* t = base + disp */
static inline uint8_t *put_address(uint8_t *p, unsigned t, unsigned base, int32_t disp) {
    if (disp)
        return put_rm(p, OP_LEA, t, base, disp);
    return asm_put(p, 0x48u | base >> 3 | OP_MOV << 8 | (0xc0 | t << 3 | (base & 7)) << 16, t == base ? 0 : 3);
}
/* t = the page of base + disp */
static inline uint8_t *put_page(uint8_t *p, unsigned t, unsigned base, int32_t disp) {
    return asm_put(put_address(p, t, base, disp), 0xe8c148 | t << 16 | PAGE_SHIFT << 24, 4); /* shr */
}
/* t0 = the place in its way of the entry for base + low */
static inline uint8_t *put_index(uint8_t *p, unsigned t0, unsigned base, int32_t low) {
    unsigned n;
    if (low) {
        uint64_t bits = asm_base_form(OP_LEA, 0, t0, base, low, &n);
        p = asm_put(p, bits, n);
        p = asm_put(p, 0xe8c1 | t0 << 8 | INDEX_SHIFT << 16, 3); /* shr */
    } else {
        uint64_t bits = 0xf0fbe3c4u ^ (base & 8) << 10; /* rorx */
        p = asm_put(p, bits | (uint64_t)(0xc0 | t0 << 3 | (base & 7)) << 32 | (uint64_t)INDEX_SHIFT << 40, 6);
    }
    return asm_put(p, 0xe081 | t0 << 8 | (uint64_t)INDEX_MASK << 16, 6); /* and */
}

/* reg = base + disp */
static void emit_address(struct asm_buf *a, unsigned reg, unsigned base, int32_t disp) {
    if (disp)
        asm_lea(a, true, reg, asm_mem(base, disp));
    else if (reg != base)
        asm_mov_rr(a, true, reg, base);
}
static void emit_align(struct asm_buf *a, const struct mmu_probe *p) {
    int32_t low = (1 << p->size) - 1;
    if (!p->align || !low)
        return;
    emit_address(a, p->tmp0, p->base, p->disp);
    asm_test_ri(a, false, p->tmp0, low);
    asm_jcc(a, ASM_NE, p->slow);
}

/* A slot + 1 for the probe, or 0: it is none of hot code, or its pages change too often. */
static unsigned slot_for(struct cpu *cpu, const struct mmu_probe *p) {
    struct soft_state *st = state_of(cpu);
    bool is_long = p->high - p->low > SHORT_BYTES;
    if (!engine_of(cpu)->hot || !p->current || p->high - p->low > LONG_BYTES || wanders(st, p->pc))
        return 0;
    STAT(cpu, slots_given)++;
    unsigned count = is_long ? SLOTS_LONG : SLOTS_SHORT, n = st->next_slot[is_long][p->write]++ % count;
    return 1 + (is_long ? 2 * SLOTS_SHORT : 0) + p->write * count + n;
}

static bool slot_is_long(unsigned n) { return n >= 2 * SLOTS_SHORT; }
static bool slot_writes(unsigned n) { return slot_is_long(n) ? n >= 2 * SLOTS_SHORT + SLOTS_LONG : n >= SLOTS_SHORT; }

static void emit_slot_probe(struct asm_buf *a, struct mmu_probe *p) {
    unsigned n = p->slot - 1;
    emit_address(a, p->tmp1, p->base, p->low);
    asm_alu_rm(a, ASM_SUB, true, p->tmp1, view_mem(a, SLOT_DISP(n, page)));
    asm_alu_rm(a, ASM_CMP, true, p->tmp1, view_mem(a, SLOT_DISP(n, room)));
    p->site = asm_pos(a);
    asm_jcc(a, ASM_AE, p->slow);
    asm_mov_rm(a, true, p->tmp0, view_mem(a, SLOT_DISP(n, addend)));
}
/* tmp0 is the addend for the page of base + low. */
static void emit_slot_fill(struct asm_buf *a, const struct mmu_probe *p) {
    unsigned n = p->slot - 1;
    asm_mov_mr(a, true, view_mem(a, SLOT_DISP(n, addend)), p->tmp0);
    emit_address(a, p->tmp1, p->base, p->low);
    asm_alu_ri(a, ASM_AND, true, p->tmp1, ~(int32_t)PAGE_MASK);
    asm_alu_rm(a, ASM_SUB, true, p->tmp1, view_mem(a, SLOT_DISP(n, page)));
    asm_alu_mr(a, ASM_ADD, true, view_mem(a, SLOT_DISP(n, page)), p->tmp1);
    asm_alu_ri(a, ASM_ADD, true, p->tmp1, (int32_t)PAGE_SIZE);
    asm_alu_ri(a, ASM_CMP, true, p->tmp1, 2 * (int32_t)PAGE_SIZE);
    uint32_t wandered = asm_jcc_short(a, ASM_A);
    asm_alu_mi(a, ASM_ADD, false, view_mem(a, VIEW_DISP(budget)), SLOT_WANDER - 1);
    asm_bind_short(a, wandered);
    asm_mov_mi(a, true, view_mem(a, SLOT_DISP(n, room)),
               (int32_t)PAGE_SIZE + 1 - (slot_is_long(n) ? LONG_BYTES : SHORT_BYTES));
    asm_mov_mi(a, false, view_mem(a, VIEW_DISP(slots_used)), 1);
}

/* Up to the comparison of the tag. If the page of the last byte is not that of the first, it is not looked for where it
 * could be. */
static void emit_current(struct asm_buf *a, const struct mmu_probe *p) {
    const unsigned t0 = p->tmp0 & 7, t1 = p->tmp1 & 7;
    uint8_t *at = put_index(asm_line(a), t0, p->base, p->low);
    at = put_view(a, at, OP_ADD, t0, VIEW_DISP(table));
    at = put_page(at, t1, p->base, p->high - 1);
    at = put_view(a, at, OP_OR, t1, VIEW_DISP(id));
    asm_line_end(a, put_rm(at, OP_CMP, t1, t0, TAG_DISP(p->write)));
}
static void emit_other(struct asm_buf *a, const struct mmu_probe *p) {
    const unsigned t0 = p->tmp0 & 7, t1 = p->tmp1 & 7;
    asm_line_end(a, put_page(asm_line(a), t1, p->base, p->high - 1));
    asm_mov_rm(a, true, t0, mmu_views_mem(p->regime));
    asm_alu_rm(a, ASM_OR, true, t1, asm_mem(t0, VIEW_DISP(id)));
    asm_mov_rm(a, true, t0, asm_mem(t0, VIEW_DISP(table)));
    asm_line_end(a, put_index(asm_line(a), p->tmp2 & 7, p->base, p->low));
    asm_alu_rr(a, ASM_ADD, true, t0, p->tmp2);
    asm_alu_rm(a, ASM_CMP, true, t1, asm_mem(t0, TAG_DISP(p->write)));
}

static void soft_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    emit_align(a, p);
    p->index = p->tmp0;
    p->covers_range = true;
    p->slot = (uint16_t)slot_for(cpu->self, p);
    if (p->slot) {
        emit_slot_probe(a, p);
        mmu_emit_count(a, cpu, ABI_STAT_tlb_hits);
        return;
    }
    if (p->current)
        emit_current(a, p);
    else
        emit_other(a, p);
    p->site = asm_pos(a);
    asm_jcc(a, ASM_NE, p->slow);
    mmu_emit_count(a, cpu, ABI_STAT_tlb_hits);
    const unsigned t0 = p->tmp0 & 7;
    asm_line_end(a, put_rm(asm_line(a), OP_MOV, t0, t0, (int32_t)offsetof(struct soft_entry, addend)));
}

/* Thunks, by temporaries, what for and, as views are found in two ways, whose. */
/* the one regime that code of others looks up out of line: unprivileged accesses of a kernel */
#define FIND_REGIME 0u
enum find_for { FIND_OTHERS, FIND_CURRENT, FIND_SLOT, FINDS };
static unsigned thunk_index(enum find_for what, bool write, unsigned t0, unsigned t1) {
    return (unsigned)what << 7 | (unsigned)write << 6 | t0 << 3 | t1;
}
_Static_assert(MMU_THUNKS >= FINDS << 7, "see thunk_index()");

/* t0: the address of the first byte, t1: that of the last. Returns with ZF set and the addend in t0, or with ZF
 * clear. */
static void emit_thunk(struct asm_buf *a, const struct cpu *cpu, enum find_for what, bool write, unsigned t0,
                       unsigned t1) {
    bool current = what != FIND_OTHERS;
    unsigned view = t0 != ASM_RAX && t1 != ASM_RAX ? ASM_RAX : t0 != ASM_RCX && t1 != ASM_RCX ? ASM_RCX : ASM_RDX;
    struct asm_label hit = {0}, found = {0};
    uint32_t spent = 0;
    if (what == FIND_SLOT) {
        asm_alu_mi(a, ASM_SUB, false, view_mem(a, VIEW_DISP(budget)), SLOT_WANDER);
        spent = asm_jcc_short(a, ASM_S);
    }
    asm_alu_rr(a, ASM_XOR, true, t1, t0);
    asm_alu_ri(a, ASM_CMP, true, t1, PAGE_MASK);
    uint32_t crosses = asm_jcc_short(a, ASM_A);
    asm_mov_rr(a, false, t1, t0);
    asm_shift_ri(a, ASM_SHR, false, t1, INDEX_SHIFT);
    asm_alu_ri(a, ASM_AND, false, t1, INDEX_MASK);
    asm_shift_ri(a, ASM_SHR, true, t0, PAGE_SHIFT);
    if (!current) {
        asm_push(a, view);
        asm_mov_rm(a, true, view, mmu_views_mem(FIND_REGIME));
    }
    asm_alu_rm(a, ASM_ADD, true, t1, current ? view_mem(a, VIEW_DISP(table)) : asm_mem(view, VIEW_DISP(table)));
    asm_alu_rm(a, ASM_OR, true, t0, current ? view_mem(a, VIEW_DISP(id)) : asm_mem(view, VIEW_DISP(id)));
    if (!current)
        asm_pop(a, view);
    asm_alu_rm(a, ASM_CMP, true, t0, asm_mem(t1, TAG_DISP(write)));
    asm_jcc(a, ASM_E, &found);
    for (unsigned k = 1; k < SOFT_WAYS; k++) {
        asm_alu_ri(a, ASM_ADD, true, t1, (int32_t)sizeof(struct soft_way));
        asm_alu_rm(a, ASM_CMP, true, t0, asm_mem(t1, TAG_DISP(write)));
        asm_jcc(a, ASM_E, &hit);
    }
    asm_bind_short(a, crosses);
    if (spent)
        asm_bind_short(a, spent);
    asm_ret(a);
    asm_bind(a, &hit);
    asm_alu_mi(a, ASM_SUB, false, asm_mem(t1, (int32_t)offsetof(struct soft_entry, left)), 1);
    uint32_t used_up = asm_jcc_short(a, ASM_E);
    asm_bind(a, &found);
    mmu_emit_count(a, cpu, ABI_STAT_tlb_finds);
    asm_mov_rm(a, true, t0, asm_mem(t1, (int32_t)offsetof(struct soft_entry, addend)));
    asm_alu_rr(a, ASM_CMP, true, t0, t0);
    asm_ret(a);
    asm_bind_short(a, used_up);
    asm_alu_mi(a, ASM_ADD, false, asm_mem(t1, (int32_t)offsetof(struct soft_entry, left)),
               1); /* ZF clear; until C sees it */
    asm_ret(a);
}

static void soft_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk) {
    static const uint8_t temps[] = {ASM_RAX, ASM_RCX, ASM_RDX, ASM_RSI, ASM_RDI};
    for (unsigned kind = 0; kind < 2 * FINDS; kind++) {
        for (unsigned i = 0; i < ARRAY_LEN(temps); i++) {
            for (unsigned k = 0; k < ARRAY_LEN(temps); k++) {
                if (i == k)
                    continue;
                thunk[thunk_index((enum find_for)(kind / 2), kind & 1, temps[i], temps[k])] = a->p;
                emit_thunk(a, cpu, (enum find_for)(kind / 2), kind & 1, temps[i], temps[k]);
            }
        }
    }
}

static void soft_emit_find(struct asm_buf *a, const uint8_t *const *thunk, struct mmu_probe *p) {
    p->index = p->tmp0;
    if (!p->current && p->regime != FIND_REGIME) {
        asm_jmp(a, p->slow);
        return;
    }
    emit_align(a, p);
    uint8_t *at = put_address(asm_line(a), p->tmp1 & 7, p->base, p->high - 1);
    asm_line_end(a, put_address(at, p->tmp0 & 7, p->base, p->low));
    asm_call(a, thunk[thunk_index(p->slot      ? FIND_SLOT
                                  : p->current ? FIND_CURRENT
                                               : FIND_OTHERS,
                                  p->write, p->tmp0, p->tmp1)]);
    asm_jcc(a, ASM_NE, p->slow);
    if (p->slot &&
        (p->write || !slot_writes(p->slot - 1u))) /* a load alone does not tell where its group's stores may */
        emit_slot_fill(a, p);
}

static void soft_emit_span(struct asm_buf *a, const uint8_t *const *thunk, bool write, unsigned first, unsigned last,
                           struct asm_label *miss) {
    asm_call(a, thunk[thunk_index(FIND_CURRENT, write, first, last)]);
    asm_jcc(a, ASM_NE, miss);
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
    .emit_span = soft_emit_span,
    .emit_thunks = soft_emit_thunks,
};
