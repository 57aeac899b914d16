/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* recent.c: see recent.h. */
#include "dbt/mmu/recent.h"
#include "dbt/mmu/mmu_emit.h"

#define ENTRY_SHIFT 6 /* log2 sizeof(struct recent_page) */

static struct recent_page *page_of(struct recent *r, uint64_t va) {
    return &r->page[(va >> PAGE_SHIFT) % RECENT_PAGES];
}
static uint64_t tag_of(const struct recent_view *v, uint64_t va) { return ALIGN_DOWN(va, PAGE_SIZE) | v->id; }

void recent_clear(struct recent *r) {
    for (unsigned i = 0; i < RECENT_PAGES; i++)
        for (unsigned use = 0; use < RECENT_USES; use++)
            r->page[i].tag[use] = 0;
    r->big = 0;
}

/* What the view's memory has seen as another view must not be found by this one. */
void recent_view_init(struct recent *r, struct recent_view *v) {
    if (!v->id)
        v->id = ++r->last_id;
    v->table = r->page;
    for (unsigned i = 0; i < RECENT_PAGES; i++)
        if ((r->page[i].tag[RECENT_READ] & PAGE_MASK) == v->id)
            for (unsigned use = 0; use < RECENT_USES; use++)
                r->page[i].tag[use] = 0;
}

bool recent_is_mapped(struct recent *r, const struct recent_view *v, uint64_t va, bool write) {
    const struct recent_page *e = page_of(r, va);
    return e->tag[write ? RECENT_WRITE : RECENT_READ] == tag_of(v, va) && e->mapped;
}

bool recent_used_up(struct recent *r, const struct recent_view *v, uint64_t va) {
    const struct recent_page *e = page_of(r, va);
    return e->tag[RECENT_READ] == tag_of(v, va) && !e->left;
}

void recent_note(struct recent *r, const struct recent_view *v, uint64_t va, const struct walk *w, uint32_t ram_page,
                 uint64_t delta, bool mapped, uint32_t left, bool writable) {
    struct recent_page *e = page_of(r, va);
    uint64_t tag = tag_of(v, va);
    if (e->tag[RECENT_READ] != tag || e->delta != delta || e->ram_page != ram_page)
        *e = (struct recent_page){.tag = {[RECENT_READ] = tag, [RECENT_STORES] = mapped ? tag : 0},
                                  .mapped = mapped,
                                  .delta = delta,
                                  .left = left,
                                  .ram_page = ram_page};
    if (!e->left)
        e->left = left;
    e->shift = w->page_shift;
    r->big |= big_bit(va, w->page_shift);
    if (writable)
        e->tag[RECENT_WRITE] = e->tag[RECENT_STORES] = tag;
}

static void forget(struct recent_page *e, uint64_t va) {
    uint64_t differ = (e->tag[RECENT_READ] ^ va) << 8 >> 8; /* a tag's top byte is not compared */
    if (differ >> (e->shift > PAGE_SHIFT ? e->shift : PAGE_SHIFT))
        return;
    for (unsigned use = 0; use < RECENT_USES; use++)
        e->tag[use] = 0;
}
void recent_forget(struct recent *r, uint64_t va) {
    if (!big_has(r->big, va)) {
        forget(page_of(r, va), va);
        return;
    }
    r->big = 0;
    for (unsigned i = 0; i < RECENT_PAGES; i++) {
        forget(&r->page[i], va);
        if (r->page[i].tag[RECENT_READ])
            r->big |= big_bit(r->page[i].tag[RECENT_READ], r->page[i].shift);
    }
}

void recent_protect(struct recent *r, uint32_t ram_page) {
    for (unsigned i = 0; i < RECENT_PAGES; i++)
        if (r->page[i].ram_page == ram_page)
            r->page[i].tag[RECENT_WRITE] = r->page[i].tag[RECENT_STORES] = 0;
}

/* --- emitted code ----------------------------------------------------------------------------- */
static unsigned thunk_index(bool current, unsigned use, unsigned t0, unsigned t1) {
    return (current ? 0u : RECENT_USES << 6) | use << 6 | t0 << 3 | t1;
}
_Static_assert(MMU_THUNKS >= RECENT_USES << 7, "see thunk_index()");

/* t0 |= the id of the current view, or of regime 0's; the flags and t1 stay or go. */
static void emit_id(struct asm_buf *a, bool current, unsigned t0, unsigned t1, int32_t view_disp) {
    const int32_t disp = view_disp + (int32_t)offsetof(struct recent_view, id);
    if (current) {
        asm_alu_rm(a, ASM_OR, true, t0, asm_mem_view(disp));
        return;
    }
    asm_push(a, t1);
    asm_mov_rm(a, true, t1, mmu_views_mem(0));
    asm_alu_rm(a, ASM_OR, true, t0, asm_mem(t1, disp));
    asm_pop(a, t1);
}

/* t0: the address, t1: that of the access's last byte. Returns with ZF set and delta in t1, or with ZF clear. */
static void emit_thunk(struct asm_buf *a, const struct cpu *cpu, bool current, unsigned use, unsigned t0, unsigned t1,
                       int32_t view_disp) {
    asm_alu_rr(a, ASM_XOR, true, t1, t0);
    asm_alu_ri(a, ASM_CMP, true, t1, PAGE_MASK);
    uint32_t crosses = asm_jcc_short(a, ASM_A);
    asm_alu_ri(a, ASM_AND, true, t0, -(int32_t)PAGE_SIZE);
    asm_mov_rr(a, false, t1, t0);
    asm_shift_ri(a, ASM_SHR, false, t1, PAGE_SHIFT - ENTRY_SHIFT);
    asm_alu_ri(a, ASM_AND, false, t1, (RECENT_PAGES - 1) << ENTRY_SHIFT);
    asm_alu_rm(a, ASM_ADD, true, t1, asm_mem_view(view_disp + (int32_t)offsetof(struct recent_view, table)));
    emit_id(a, current, t0, t1, view_disp);
    asm_alu_rm(a, ASM_CMP, true, t0, asm_mem(t1, (int32_t)offsetof(struct recent_page, tag) + 8 * (int32_t)use));
    uint32_t other = asm_jcc_short(a, ASM_NE);
    asm_alu_mi(a, ASM_SUB, false, asm_mem(t1, (int32_t)offsetof(struct recent_page, left)), 1);
    uint32_t used_up = asm_jcc_short(a, ASM_E);
    mmu_emit_count(a, cpu, ABI_STAT_checks_recent);
    asm_mov_rm(a, true, t1, asm_mem(t1, (int32_t)offsetof(struct recent_page, delta)));
    asm_alu_rr(a, ASM_CMP, true, t0, t0);
    asm_ret(a);
    asm_bind_short(a, used_up);
    asm_test_rr(a, true, ASM_RSP, ASM_RSP); /* ZF clear */
    asm_bind_short(a, crosses);
    asm_bind_short(a, other);
    asm_ret(a);
}

void recent_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk, int32_t view_disp) {
    static const uint8_t temps[] = {ASM_RAX, ASM_RCX, ASM_RDX, ASM_RSI, ASM_RDI};
    for (unsigned n = 0; n < 2 * RECENT_USES; n++) {
        const bool current = n < RECENT_USES;
        for (unsigned i = 0; i < ARRAY_LEN(temps); i++) {
            for (unsigned k = 0; k < ARRAY_LEN(temps); k++) {
                if (i == k)
                    continue;
                thunk[thunk_index(current, n % RECENT_USES, temps[i], temps[k])] = a->p;
                emit_thunk(a, cpu, current, n % RECENT_USES, temps[i], temps[k], view_disp);
            }
        }
    }
}

void recent_emit(struct asm_buf *a, const uint8_t *const *thunk, const struct mmu_probe *p, struct asm_label *access) {
    const int32_t last = p->high - p->low - 1;
    if (p->low)
        asm_lea(a, true, p->tmp0, asm_mem(p->base, p->low));
    else
        asm_mov_rr(a, true, p->tmp0, p->base);
    if (last)
        asm_lea(a, true, p->tmp1, asm_mem(p->tmp0, last));
    else
        asm_mov_rr(a, true, p->tmp1, p->tmp0);
    const unsigned use = !p->write ? RECENT_READ : p->loads ? RECENT_STORES : RECENT_WRITE;
    asm_call(a, thunk[thunk_index(p->current, use, p->tmp0, p->tmp1)]);
    asm_jcc(a, ASM_E, access);
}
