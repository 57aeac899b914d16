/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* mmu.c: the list of strategies, invalidation (what every strategy needs of it) and write protection of code. */
#include "dbt/mmu/mmu_int.h"

#define MMU(NAME, name, help, manual) [ABI_MMU_##NAME] = &mmu_##name##_ops,
const struct mmu_ops *const mmu_strategies[] = {
#include "dbt/mmu/mmu.def"
};
#undef MMU

/* --- jump caches ------------------------------------------------------------------------------ */
/* Three keys for the page of a pc: itself, and the 2 MiB and 1 GiB blocks for code in large mappings. */
static uint32_t bloom_hash(uint64_t va, unsigned shift) {
    uint64_t key = ((va << 8 >> 8) >> shift) * 4 + (shift == 12 ? 1 : shift == 21 ? 2 : 3);
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}
/* The filter of all views and that of one use different bits of the hash. */
static unsigned bloom_all(uint32_t hash) { return hash % BLOOM_BITS; }
static unsigned bloom_one(uint32_t hash) { return hash / BLOOM_BITS % (VIEW_BLOOM_WORDS * 64); }
static void bloom_add(struct mmu_state *m, struct view_slot *s, uint32_t hash) {
    unsigned all = bloom_all(hash), one = bloom_one(hash);
    m->bloom_count += !(m->bloom[all / 64] & BIT(all % 64));
    m->bloom[all / 64] |= BIT(all % 64);
    s->bloom[one / 64] |= BIT(one % 64);
}
static bool bloom_has(const struct mmu_state *m, uint32_t hash) {
    return m->bloom[bloom_all(hash) / 64] >> bloom_all(hash) % 64 & 1;
}
static bool bloom_view_has(const struct view_slot *s, uint32_t hash) {
    return s->bloom[bloom_one(hash) / 64] >> bloom_one(hash) % 64 & 1;
}

void view_empty_victims(struct view *v) {
    for (unsigned i = 0; i < ARRAY_LEN(v->jump_victim); i++)
        v->jump_victim[i].pc = JUMP_VICTIM_EMPTY(i);
    view_slot(v)->victims = false;
}

static void jump_cache_empty(struct view *v) {
    if (!v->has_code)
        return;
    struct view_slot *s = view_slot(v);
    if (s->victims)
        view_empty_victims(v);
    for (unsigned i = 0; s->uses <= VIEW_USED && i < s->uses; i++)
        v->jump_cache[s->used[i]].pc = JUMP_CACHE_EMPTY(s->used[i]);
    for (unsigned i = 0; s->uses > VIEW_USED && i < ARRAY_LEN(v->jump_cache); i++)
        v->jump_cache[i].pc = JUMP_CACHE_EMPTY(i);
    memset(v->code_page, 0, sizeof(v->code_page));
    v->has_code = 0;
    s->tagged = false;
    s->uses = 0;
    memset(s->bloom, 0, sizeof(s->bloom));
}
static void clear_one(struct cpu *cpu, struct view *v, void *arg) { jump_cache_empty(v); }

void mmu_jump_cache_clear(struct cpu *cpu) {
    struct mmu_state *m = mmu_of(cpu);
    if (!m->bloom_count)
        return;
    view_each(cpu, clear_one, NULL);
    memset(m->bloom, 0, sizeof(m->bloom));
    m->bloom_count = 0;
}

/* Notes that the current view leads to code at pc, which was looked up just now. */
static void note_code(struct cpu *cpu, uint64_t pc) {
    struct mmu_state *m = mmu_of(cpu);
    struct view_slot *s = view_slot(m->view);
    if (m->bloom_count > BLOOM_BITS / 8) /* a hit costs a search, so it should mean something */
        mmu_jump_cache_clear(cpu);
    const struct walk_entry *e = &m->walk[(pc >> PAGE_SHIFT) % WALK_ENTRIES];
    unsigned shift = e->w.page_shift; /* the look-up that led here has just remembered it */
    bloom_add(m, s, bloom_hash(pc, 12));
    if (shift > 12)
        bloom_add(m, s, bloom_hash(pc, shift <= 21 ? 21 : 30));
    s->tagged |= !e->w.global || !cpu->guest->is_hi(pc);
    m->view->has_code = 1;
}

void mmu_jump_cache_set(struct cpu *cpu, uint64_t pc, const uint8_t *host) {
    note_code(cpu, pc);
    struct view *v = mmu_of(cpu)->view;
    struct view_slot *s = view_slot(v);
    unsigned at = jump_cache_index(pc);
    if (s->uses < VIEW_USED)
        s->used[s->uses] = (uint16_t)at;
    s->uses++;
    struct jump_cache_entry old = v->jump_cache[at];
    if (old.pc != JUMP_CACHE_EMPTY(at) && old.pc != pc) {
        v->jump_victim[jump_victim_index(old.pc)] = old;
        s->victims = true;
    }
    v->jump_cache[at] = (struct jump_cache_entry){pc, (void *)(uintptr_t)host};
}

void mmu_code_page_set(struct cpu *cpu, uint64_t pc, uint32_t number) {
    note_code(cpu, pc);
    mmu_of(cpu)->view->code_page[code_page_index(pc)] = number;
}

static void drop_pc(struct cpu *cpu, struct view *v, void *arg) {
    uint64_t pc = *(const uint64_t *)arg;
    if (!bloom_view_has(view_slot(v), bloom_hash(pc, 12)))
        return;
    struct jump_cache_entry *e = &v->jump_cache[jump_cache_index(pc)];
    if (e->pc == pc)
        e->pc = JUMP_CACHE_EMPTY(jump_cache_index(pc));
    e = &v->jump_victim[jump_victim_index(pc)];
    if (e->pc == pc)
        e->pc = JUMP_VICTIM_EMPTY(jump_victim_index(pc));
}
void mmu_jump_cache_drop(struct cpu *cpu, uint64_t pc) {
    if (bloom_has(mmu_of(cpu), bloom_hash(pc, 12)))
        view_each(cpu, drop_pc, &pc);
}

#define PAGE_INSNS ((unsigned)PAGE_SIZE / 4)
_Static_assert(PAGE_INSNS <= 1u << JUMP_CACHE_BITS && JUMP_CACHE_FOLD < PAGE_SHIFT, "see drop_page()");
static void drop_page(struct cpu *cpu, struct view *v, void *arg) {
    uint64_t va = *(const uint64_t *)arg;
    const struct view_slot *s = view_slot(v);
    if (!v->has_code || (!s->tagged && !cpu->guest->is_hi(va)) || !bloom_view_has(s, bloom_hash(va, 12)))
        return;
    /* The bits of a pc above its place in the page decide about the index's upper bits, and permute the others. */
    unsigned first = jump_cache_index(va) & ~(PAGE_INSNS - 1);
    for (unsigned i = first; i < first + PAGE_INSNS; i++)
        if (MMU_VA_BITS(v->jump_cache[i].pc) == MMU_VA_BITS(va))
            v->jump_cache[i].pc = JUMP_CACHE_EMPTY(i);
    for (unsigned i = 0; s->victims && i < ARRAY_LEN(v->jump_victim); i++)
        if (MMU_VA_BITS(v->jump_victim[i].pc) == MMU_VA_BITS(va))
            v->jump_victim[i].pc = JUMP_VICTIM_EMPTY(i);
    v->code_page[code_page_index(va)] = CODE_PAGE_NONE;
}
static void drop_asid(struct cpu *cpu, struct view *v, void *arg) {
    uint32_t asid = *(const uint32_t *)arg;
    if (view_slot(v)->tagged && (v->lo.asid == asid || v->hi.asid == asid))
        jump_cache_empty(v);
}

/* Links inside a page survive; what leads out of it is the jump cache, links that check code_page, and the return
 * stack. */
static void forget_jumps(struct cpu *cpu, const struct mmu_inval *inv) {
    struct mmu_state *m = mmu_of(cpu);
    uint64_t va = inv->va;
    switch (inv->kind) {
    case MMU_INVAL_ALL:
        mmu_jump_cache_clear(cpu);
        cache_forget_returns(cpu);
        break;
    case MMU_INVAL_ASID: {
        uint32_t asid = inv->asid;
        view_each(cpu, drop_asid, &asid);
        cache_forget_returns(cpu);
        break;
    }
    case MMU_INVAL_VA:
    case MMU_INVAL_VA_ASID:
        if (bloom_has(m, bloom_hash(va, 21)) || bloom_has(m, bloom_hash(va, 30))) {
            mmu_jump_cache_clear(cpu);
            cache_forget_returns(cpu);
        } else if (bloom_has(m, bloom_hash(va, 12))) {
            view_each(cpu, drop_page, &va);
        }
        for (unsigned i = 0; i < RAS_ENTRIES; i++) {
            if (MMU_VA_BITS(cpu->ras[i].pc) >> 18 == MMU_VA_BITS(va) >> 18) { /* the same 1 GiB */
                cache_forget_returns(cpu);
                break;
            }
        }
        break;
    }
}

void mmu_enter_mode(struct cpu *cpu, uint32_t mode) {
    struct view_slot *s = view_slot(mmu_of(cpu)->view);
    if (UNLIKELY(s->mode != mode)) {
        jump_cache_empty(&s->view);
        s->mode = mode;
    }
}

/* --- invalidation ----------------------------------------------------------------------------- */
void mmu_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    struct mmu_state *m = mmu_of(cpu);
    if (inv->kind == MMU_INVAL_ALL)
        STAT(cpu, tlbi_all)++;
    else if (inv->kind == MMU_INVAL_ASID)
        STAT(cpu, tlbi_asid)++;
    else
        STAT(cpu, tlbi_va)++;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_MMU))
        rt_log(cpu, ABI_LOG_MMU, "invalidate kind %u va %llx asid %x\n", inv->kind, (unsigned long long)inv->va,
               inv->asid);
    walks_forget(m, inv);
    forget_jumps(cpu, inv);
    engine_of(cpu)->ops->invalidate(cpu, inv);
    if (inv->kind == MMU_INVAL_ASID)
        context_unmake(cpu, inv->asid);
    cpu->tlbi_pending |= PENDING_OWN;
}

void mmu_sync(struct cpu *cpu) {
    mmu_of(cpu)->sync_wanted = false;
    engine_of(cpu)->ops->sync(cpu);
    cpu->tlbi_pending &= ~(uint32_t)PENDING_OWN;
}

/*
 * Writes of other vCPUs to the page: with writers that say so when they are done, it is enough to see the first one.
 * Where the reader fences, it has to hear of each write before: the others give up what lets them write unseen, and
 * have done with what they are writing just now, before this vCPU looks at the code. Their next write is in its mailbox
 * when it fences.
 */
static void protect_from_others(struct cpu *cpu, struct gpa page) {
    uint32_t pending = cpu->tlbi_pending;
    engine_broadcast(cpu, &(struct engine_request){.kind = ENGINE_REQ_PROTECT, .pa = page});
    engine_broadcast_wait(cpu);
    cpu->tlbi_pending = pending;
}

void mmu_protect_code(struct cpu *cpu, struct gpa page) {
    struct engine *e = engine_of(cpu);
    uint8_t own = (uint8_t)(1u << cpu->index);
    for (;;) {
        uint8_t old = __atomic_fetch_or((uint8_t *)code_bits_at(e, page.v), own, __ATOMIC_SEQ_CST);
        if (old & own || !pa_is_ram(cpu, page.v)) /* nothing else is ever writable */
            return;
        e->ops->protect(cpu, page);
        if (!cpu->guest->reader_fences || cpu->boot->vcpu_count == 1)
            return;
        protect_from_others(cpu, page); /* which may serve somebody's write to this very page: it has no code then */
    }
}
