/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * direct.c: the strategy for hosts whose addresses have 57 bits and that run the engine in ring 0 (ABI_LAYOUT_RING0):
 * the guest's addresses are the host's. It is another way into the tables of `window` (window.c, windows.h): a window's
 * table is entered once more into the roots of its views, where the guest's own addresses lead (rt_root_top()). So an
 * access of the current regime needs no probe. One that faults is tried again once its page is mapped, which the fault
 * handler does.
 *
 * Some cannot be served that way: addresses with a tag or that lead nowhere, devices, pages with code that are written
 * to, pages that the guest keeps unmapping. An instruction that came to such a place twice is translated again, with
 * the probe that `window` would have there, and that learns what it learns there. So have accesses of other regimes
 * from the start: LDTR and STTR go through the windows of EL0. And so have all accesses while the guest has something
 * where the engine and the windows are (VM_DIRECT_ENTRY), which a guest with addresses of 57 bits can.
 */
#include "dbt/mmu/windows.h"
#include "graft/vm.h"

#define INSNS (1u << 16) /* accounts of instructions, by hash of their pc: some have one in common */
#define INSN_FAULTS 2
#define PAGES 1024 /* with an account, by hash of their address */
/* A page with more faults than that, in that many ticks, is not mapped for the rest of them. */
#define PAGE_FAULTS 8
#define PAGE_TICKS (UINT64_C(1) << 23)

struct direct {
    uint8_t faults[INSNS]; /* of an instruction, up to INSN_FAULTS: from then on it has a probe */
    unsigned probed;       /* accounts with so many */
    struct page {
        uint64_t va, since; /* ticks */
        uint32_t faults;
    } page[PAGES];
    const uint8_t *at; /* of the last fault */
    bool usual;  /* it says nothing about the instruction: the guest has to map the page, or there was code in it */
    bool probes; /* all accesses have one: see direct_look() */
};

static struct direct *direct_of(const struct cpu *cpu) { return mmu_of(cpu)->direct; }
static uint8_t *faults_of(const struct cpu *cpu, uint64_t pc) {
    return &direct_of(cpu)->faults[(pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> 48];
}
static struct page *page_at(const struct cpu *cpu, uint64_t va) {
    return &direct_of(cpu)->page[(va >> PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}
_Static_assert(INSNS == 1 << 16 && PAGES == 1 << 10, "the hashes above");

/* --- faults ----------------------------------------------------------------------------------- */
/* Is the page unmapped more often than it is worth? */
static bool page_comes_and_goes(struct cpu *cpu, uint64_t va) {
    struct page *p = page_at(cpu, va);
    uint64_t page = ALIGN_DOWN(va, PAGE_SIZE), now = rt_ticks();
    if (p->va != page || now - p->since > PAGE_TICKS)
        *p = (struct page){.va = page, .since = now};
    return ++p->faults > PAGE_FAULTS;
}

/* The window that the guest's own address leads to, NULL if there is none. */
static const struct window *window_behind(struct cpu *cpu, uint64_t va) {
    struct windows *ws = windows_of(cpu);
    struct view *v = mmu_of(cpu)->view;
    const struct window *w = window_at(ws, va + view_deltas(cpu, v)[region_index(cpu, region_of(va))]);
    const uint64_t *top = rt_root_top(cpu, v->root, va, false);
    return w && top && w->region == region_of(va) && top[w->region % REGION_HASH] == ws->pages.pml4[window_slot(ws, w)]
               ? w
               : NULL;
}

static bool is_direct(const struct cpu *cpu, uint64_t va) { return region_is_direct(windows_of(cpu), region_of(va)); }

/* May the page be mapped? If not, the access goes to C. */
static bool may_map(struct cpu *cpu, uint64_t va, enum mmu_access access, struct walk *w) {
    struct direct *d = direct_of(cpu);
    d->usual = false;
    if (!is_direct(cpu, va))
        return false;
    if (!mem_probe(cpu, va, access, cpu->regime, w)) {
        d->usual = true;
        return false;
    }
    if (w->device || !pa_is_memory(cpu, w->pa.v) || page_comes_and_goes(cpu, va))
        return false;
    d->usual = access == MMU_WRITE && pa_is_ram(cpu, w->pa.v) && !page_writable(cpu, w->pa.v, false);
    return !d->usual && window_can_map(cpu, access, w);
}

static bool direct_fault(struct cpu *cpu, const uint8_t *at, uint64_t va, bool write) {
    enum mmu_access access = write ? MMU_WRITE : MMU_READ;
    struct mmu_slow s = {.va = va, .desc = MMU_DESC(0, cpu->regime, 0), .cause = ABI_STAT_host_faults_fill};
    struct walk w;
    direct_of(cpu)->at = at;
    if (!may_map(cpu, va, access, &w))
        return false;
    mmu_window_ops.fill(cpu, &s, access, &w);
    const struct window *win = window_behind(cpu, va);
    if (!win || !window_mapped(cpu, win, va, ALIGN_DOWN(w.pa.v, PAGE_SIZE), write))
        return false;
    mmu_fault_done(cpu, s.cause);
    return true;
}

static void note_fault(struct direct *d, uint8_t *faults) {
    if (*faults == INSN_FAULTS || ++*faults < INSN_FAULTS || ++d->probed <= INSNS / 4)
        return;
    memset(d->faults, 0, sizeof(d->faults)); /* too many others would be taken for some */
    d->probed = 0;
}

/* Once it has faulted often enough its block is translated again, with a probe for it; and so is each other block that
 * it is in. */
static void insn_faulted(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    struct direct *d = direct_of(cpu);
    uint8_t *faults = faults_of(cpu, guest_pc(cpu));
    note_fault(d, faults);
    if (*faults < INSN_FAULTS)
        return;
    struct block *b = cache_block_at(e, d->at);
    if (b && b->valid)
        cache_drop_block(e, b);
}

static void direct_miss(struct cpu *cpu, struct mmu_slow *s) {
    if (s->site)
        mmu_window_ops.miss(cpu, s);
    else if (!direct_of(cpu)->usual)
        insn_faulted(cpu);
}

/* What the handler would not map is left to C: the instruction gets a probe if it comes again. */
static void direct_fill(struct cpu *cpu, struct mmu_slow *s, enum mmu_access access, const struct walk *w) {
    if (s->site || s->fill_now || !is_direct(cpu, s->va) || direct_of(cpu)->usual)
        mmu_window_ops.fill(cpu, s, access, w);
}

/* --- what is the guest's and the engine's ----------------------------------------------------- */
/* Whenever the guest may have put something there: after a change of tables, and as it says that it has changed
 * them. */
static void direct_look(struct cpu *cpu) {
    bool probes = cpu->guest->translates && cpu->guest->translates(cpu, VM_DIRECT_VA);
    if (UNLIKELY(probes && !direct_of(cpu)->probes))
        engine_code_flush(cpu);
    direct_of(cpu)->probes = probes;
}

static void direct_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    windows_invalidate(cpu, inv);
    direct_look(cpu);
}

/* --- what emitted code needs ------------------------------------------------------------------ */
static bool direct_no_probe(const struct cpu *cpu, const struct mmu_probe *p) {
    return p->current && !direct_of(cpu)->probes && is_direct(cpu, p->pc) && *faults_of(cpu, p->pc) < INSN_FAULTS;
}

static void direct_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    if (direct_no_probe(cpu, p))
        window_probe_none(a, cpu, p);
    else
        window_probe_emit(a, cpu, p);
}

/* A probe that expects one region's addresses, and has come to one of another's: that may be direct. */
static void direct_emit_retry(struct asm_buf *a, const uint8_t *const *thunk, const struct mmu_probe *p,
                              struct asm_label *access) {
    (void)thunk;
    window_probe_retry(a, p, access);
}

/* A copy would be without the probe that an instruction has earned here, and would go slow for ever. */
static bool direct_same_probes(const struct cpu *cpu, uint64_t pc, unsigned bytes) {
    for (uint64_t at = pc; at < pc + bytes; at += 2)
        if (*faults_of(cpu, at) >= INSN_FAULTS)
            return false;
    return true;
}

static uint64_t direct_nearby(struct cpu *cpu, const struct mmu_slow *s, uint64_t va, unsigned regime) {
    return mmu_window_ops.nearby(cpu, s, va, regime);
}

/* --- the rest is window's --------------------------------------------------------------------- */
static void direct_init(struct cpu *cpu) {
    mmu_window_ops.init(cpu);
    mmu_of(cpu)->direct = heap_take(&engine_of(cpu)->heap, sizeof(struct direct));
    if (!mmu_of(cpu)->direct)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    windows_of(cpu)->direct = true;
    windows_of(cpu)->direct_bits = cpu->guest->wide_va ? 56 : 48;
}

static size_t direct_view_bytes(void) { return mmu_window_ops.view_bytes(); }
static void direct_view_init(struct cpu *cpu, struct view *v) { mmu_window_ops.view_init(cpu, v); }
static void direct_protect(struct cpu *cpu, struct gpa page) { mmu_window_ops.protect(cpu, page); }

const struct mmu_ops mmu_direct_ops = {
    .name = "direct",
    .about = "guest pages are host pages, at the guest's own addresses",
    .needs_paging = true,
    .needs_ring3 = true,
    .init = direct_init,
    .view_bytes = direct_view_bytes,
    .shown_bytes = PAGE_SIZE,
    .other_at = 0, /* the deltas, as `window` has them */
    .view_init = direct_view_init,
    .fill = direct_fill,
    .miss = direct_miss,
    .fault = direct_fault,
    .invalidate = direct_invalidate,
    .entered = direct_look,
    .sync = windows_sync,
    .protect = direct_protect,
    .emit_probe = direct_emit_probe,
    .emit_retry = direct_emit_retry,
    .no_probe = direct_no_probe,
    .same_probes = direct_same_probes,
    .nearby = direct_nearby,
};
