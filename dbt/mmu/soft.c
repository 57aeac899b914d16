/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * soft.c: the software TLB strategy: a direct-mapped table of (tags, addend) per
 * view, resized by its use rate when it is emptied and when it thrashes, with a
 * small victim table behind it (Tong et al., TACO 2014). A tag is the page address;
 * the probe compares the address of the access's last byte, cut to its page, so
 * that an access which crosses a page misses.
 */
#include "dbt/mmu/mmu_emit.h"

#define SOFT_SHIFT_MIN 8 /* log2 entries */
#define SOFT_SHIFT_MAX 13
#define SOFT_VICTIMS 8
#define SOFT_NONE (~UINT64_C(0))

struct soft_entry {
    uint64_t tag_read, tag_write; /* SOFT_NONE: not allowed */
    uint64_t addend;              /* host address - guest address */
    uint64_t pad;
};
_Static_assert(sizeof(struct soft_entry) == 32, "the probe scales by 32");
#define SOFT_ENTRY_SHIFT 5

/* Behind struct view. */
struct soft_view {
    uint64_t mask;            /* (entries - 1) * 32; read by the probe */
    struct soft_entry *table; /* read by the probe */
    unsigned shift;           /* log2 entries; 0: the shared empty table */
    uint32_t used, evicted;   /* since the last flush */
    unsigned next_victim;
    bool big; /* holds pages of larger guest mappings */
    struct soft_entry victim[SOFT_VICTIMS];
};

struct soft_state {
    struct soft_entry empty; /* table of views that hold nothing yet */
    uint8_t *writable;       /* bit per RAM page: some table may have a write tag for it */
};

static struct soft_view *soft_of(struct view *v) { return (struct soft_view *)(v + 1); }
static struct soft_state *state_of(struct cpu *cpu) { return mmu_of(cpu)->soft; }
static struct soft_entry *slot(struct soft_view *s, uint64_t va) {
    return (struct soft_entry *)((char *)s->table + (va >> (PAGE_SHIFT - SOFT_ENTRY_SHIFT) & s->mask));
}

static const struct soft_entry nothing = {SOFT_NONE, SOFT_NONE, 0, 0};

static void soft_init(struct cpu *cpu) {
    struct heap *h = &engine_of(cpu)->heap;
    struct soft_state *st = heap_take(h, sizeof(*st));
    if (!st || !(st->writable = heap_take(h, (cpu->boot->ram_size >> PAGE_SHIFT) / 8 + 1)))
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    st->empty = nothing;
    mmu_of(cpu)->soft = st;
}

static size_t soft_view_bytes(void) { return sizeof(struct soft_view); }

static void release_table(struct cpu *cpu, struct soft_view *s) {
    if (s->shift)
        heap_put(&engine_of(cpu)->heap, s->table, s->shift + SOFT_ENTRY_SHIFT);
    s->shift = 0;
    s->mask = 0;
    s->table = &state_of(cpu)->empty;
}

static void clear_table(struct soft_view *s) {
    if (s->shift)
        for (size_t i = 0; i < (size_t)1 << s->shift; i++)
            s->table[i] = nothing;
    for (unsigned i = 0; i < SOFT_VICTIMS; i++)
        s->victim[i] = nothing;
    s->used = s->evicted = 0;
    s->big = false;
}

/* Gives the view a table of 1 << shift entries if there is memory for it; all entries are lost. */
static void resize(struct cpu *cpu, struct soft_view *s, unsigned shift) {
    struct soft_entry *table = shift == s->shift ? NULL : heap_get(&engine_of(cpu)->heap, shift + SOFT_ENTRY_SHIFT);
    if (table) {
        release_table(cpu, s);
        s->table = table;
        s->shift = shift;
        s->mask = (((uint64_t)1 << shift) - 1) << SOFT_ENTRY_SHIFT;
    }
    clear_table(s);
}

/* Called for memory that was zero or belonged to another view of this strategy. */
static void soft_view_init(struct cpu *cpu, struct view *v) {
    struct soft_view *s = soft_of(v);
    release_table(cpu, s);
    clear_table(s);
}

static void flush_view(struct cpu *cpu, struct view *v) {
    struct soft_view *s = soft_of(v);
    if (!s->shift)
        return;
    uint32_t entries = 1u << s->shift;
    unsigned shift = s->shift;
    if (s->used > entries - entries / 4 && shift < SOFT_SHIFT_MAX)
        shift++;
    else if (s->used < entries / 4 && shift > SOFT_SHIFT_MIN)
        shift--;
    resize(cpu, s, shift);
}

/* --- filling ------------------------------------------------------------------------------------------------- */
static void soft_fill(struct cpu *cpu, struct mmu_slow *slow, enum mmu_access access, const struct walk *w) {
    uint64_t va = slow->va;
    struct view *v = view_for(cpu, MMU_DESC_REGIME(slow->desc));
    uint64_t page = ALIGN_DOWN(va, PAGE_SIZE), pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    void *host = ram_ptr(cpu, GPA(pa), PAGE_SIZE);
    if (!v || !host || w->device)
        return;
    struct soft_view *s = soft_of(v);
    if (!s->shift)
        resize(cpu, s, SOFT_SHIFT_MIN);
    else if (s->evicted > 2u << s->shift && s->shift < SOFT_SHIFT_MAX)
        resize(cpu, s, s->shift + 1);
    if (!s->shift)
        return;
    struct soft_entry *e = slot(s, va);
    if (e->tag_read != page && e->tag_write != page) {
        if (e->tag_read == SOFT_NONE && e->tag_write == SOFT_NONE) {
            s->used++;
        } else {
            s->victim[s->next_victim++ % SOFT_VICTIMS] = *e;
            s->evicted++;
        }
    }
    /* A first write to a page with anyone's code has to be seen: see code_before_write(). */
    uint8_t code = *code_bits_at(engine_of(cpu), pa);
    bool write = w->write && (access == MMU_WRITE ? !(code >> cpu->index & 1) : !code);
    *e = (struct soft_entry){w->read ? page : SOFT_NONE, write ? page : SOFT_NONE, (uintptr_t)host - page, 0};
    if (write) {
        uint64_t n = (pa - cpu->boot->ram_gpa) >> PAGE_SHIFT;
        state_of(cpu)->writable[n / 8] |= (uint8_t)(1u << n % 8);
    }
    s->big |= w->page_shift > PAGE_SHIFT;
    STAT(cpu, fills)++;
}

/* A page that was pushed out recently goes back to its place. */
static void soft_miss(struct cpu *cpu, struct mmu_slow *slow) {
    uint64_t va = slow->va;
    struct soft_view *s = soft_of(cpu->views[MMU_DESC_REGIME(slow->desc)]);
    uint64_t page = ALIGN_DOWN(va, PAGE_SIZE);
    if (!s->shift)
        return;
    for (unsigned i = 0; i < SOFT_VICTIMS; i++) {
        struct soft_entry *o = &s->victim[i], *e = slot(s, va);
        if (o->tag_read != page && o->tag_write != page)
            continue;
        if (e->tag_read == page || e->tag_write == page) { /* it is back already, this one is old */
            *o = nothing;
            return;
        }
        struct soft_entry t = *e;
        *e = *o;
        *o = t;
        s->evicted++;
        return;
    }
}

/* --- invalidation ---------------------------------------------------------------------------------------------- */
static bool entry_is(const struct soft_entry *e, uint64_t va) {
    return (e->tag_read != SOFT_NONE && MMU_VA_BITS(e->tag_read) == MMU_VA_BITS(va)) ||
           (e->tag_write != SOFT_NONE && MMU_VA_BITS(e->tag_write) == MMU_VA_BITS(va));
}

static void drop_va(struct cpu *cpu, struct view *v, void *arg) {
    struct soft_view *s = soft_of(v);
    uint64_t va = *(const uint64_t *)arg;
    if (!s->shift)
        return;
    if (s->big) { /* one TLBI covers a whole block, whose pages are anywhere in the table */
        flush_view(cpu, v);
        return;
    }
    if (entry_is(slot(s, va), va))
        *slot(s, va) = nothing;
    for (unsigned i = 0; i < SOFT_VICTIMS; i++)
        if (entry_is(&s->victim[i], va))
            s->victim[i] = nothing;
}

static void soft_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    struct context *c = mmu_of(cpu)->current;
    if (inv->kind == MMU_INVAL_VA || inv->kind == MMU_INVAL_VA_ASID) {
        uint64_t va = inv->va; /* in all address spaces: it may be a global entry */
        view_each(cpu, drop_va, &va);
        return;
    }
    bool any = inv->kind == MMU_INVAL_ALL;
    context_forget(cpu, any, inv->asid);
    if (!c || (!any && c->lo.asid != inv->asid && c->hi.asid != inv->asid))
        return;
    for (unsigned r = 0; r < REGIMES; r++)
        if (c->made >> r & 1)
            flush_view(cpu, c->view[r]);
}

static void soft_sync(struct cpu *cpu) {}

static void revoke(struct soft_entry *e, uint64_t host) {
    if (e->tag_write != SOFT_NONE && e->tag_write + e->addend == host)
        e->tag_write = SOFT_NONE;
}
static void protect_view(struct cpu *cpu, struct view *v, void *arg) {
    struct soft_view *s = soft_of(v);
    uint64_t host = *(const uint64_t *)arg;
    for (size_t i = 0; s->shift && i < (size_t)1 << s->shift; i++)
        revoke(&s->table[i], host);
    for (unsigned i = 0; i < SOFT_VICTIMS; i++)
        revoke(&s->victim[i], host);
}

static void soft_protect(struct cpu *cpu, struct gpa page) {
    uint64_t n = (page.v - cpu->boot->ram_gpa) >> PAGE_SHIFT;
    uint8_t *bits = &state_of(cpu)->writable[n / 8], mask = (uint8_t)(1u << n % 8);
    uint64_t host = (uintptr_t)ram_ptr(cpu, page, PAGE_SIZE);
    if (!(*bits & mask))
        return;
    view_each(cpu, protect_view, &host);
    *bits &= (uint8_t)~mask;
}

/* --- the probe ----------------------------------------------------------------------------------------------------- */
static struct asm_mem soft_field(const struct mmu_probe *p, size_t offset) {
    int32_t disp = (int32_t)(sizeof(struct view) + offset);
    return p->current ? asm_mem_view(disp) : asm_mem(p->tmp1, disp);
}

static void soft_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    int32_t last = p->disp + (int32_t)(1u << p->size) - 1;
    if (!p->current)
        asm_mov_rm(a, true, p->tmp1, mmu_views_mem(p->regime));
    /* tmp0 = the entry */
    if (p->disp)
        asm_lea(a, true, p->tmp0, asm_mem(p->base, p->disp));
    else
        asm_mov_rr(a, true, p->tmp0, p->base);
    asm_shift_ri(a, ASM_SHR, true, p->tmp0, PAGE_SHIFT - SOFT_ENTRY_SHIFT);
    asm_alu_rm(a, ASM_AND, true, p->tmp0, soft_field(p, offsetof(struct soft_view, mask)));
    asm_alu_rm(a, ASM_ADD, true, p->tmp0, soft_field(p, offsetof(struct soft_view, table)));
    /* tmp1 = the page of the last byte, or for checked alignment of the first, with the low bits that must be 0 */
    asm_lea(a, true, p->tmp1, asm_mem(p->base, p->align ? p->disp : last));
    asm_alu_ri(a, ASM_AND, true, p->tmp1, -(int32_t)PAGE_SIZE | (p->align ? (1 << p->size) - 1 : 0));
    size_t tag = p->write ? offsetof(struct soft_entry, tag_write) : offsetof(struct soft_entry, tag_read);
    asm_alu_rm(a, ASM_CMP, true, p->tmp1, asm_mem(p->tmp0, (int32_t)tag));
    p->site = asm_pos(a);
    asm_jcc(a, ASM_NE, p->slow);
    mmu_emit_count(a, cpu, ABI_STAT_tlb_hits);
    asm_mov_rm(a, true, p->tmp0, asm_mem(p->tmp0, (int32_t)offsetof(struct soft_entry, addend)));
    p->index = p->tmp0;
    p->covers_nearby = false;
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
    .protect = soft_protect,
    .emit_probe = soft_emit_probe,
};
