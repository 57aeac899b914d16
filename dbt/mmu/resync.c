/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* resync.c: what is mapped, brought in line with the guest's tables. See windows.h. */
#include "dbt/mmu/windows.h"

#define RESYNC_TABLES 1024u /* a window with more is dropped instead */

bool window_remap(struct cpu *cpu, const struct window *win, uint64_t pde, uint64_t *pte, uint64_t host) {
    struct windows *ws = windows_of(cpu);
    struct walk w = {.fault = 0};
    uint64_t va = (uint64_t)win->region << REGION_SHIFT | (host & MASK(REGION_SHIFT) & ~PAGE_MASK);
    if (!window_has_root(mmu_of(cpu)->current, win) || rmap_room(&ws->rmap) < TABLE_ENTRIES)
        return false;
    cpu->guest->walk(cpu, va, MMU_READ, win->regime, &w); /* a walk to write may leave a mark in the guest's tables */
    if (w.fault || w.device || !w.write || window_kind_is_new(win, &w, pde & PTE_BLOCK) || !pa_is_memory(cpu, w.pa.v) ||
        !page_writable(cpu, w.pa.v, false))
        return false;
    *pte = ram_host_pa(cpu, ALIGN_DOWN(w.pa.v, PAGE_SIZE)) | PTE_LEAF | PTE_W;
    rmap_add(&ws->rmap, page_key(cpu, w.pa.v), ALIGN_DOWN(host, PAGE_SIZE));
    return true;
}

/* What the guest's tables say now about one page of a window: the entry it should have, at most what it has. */
static uint64_t entry_now(struct cpu *cpu, const struct walk *w, uint64_t pa, uint64_t old) {
    if (w->fault || w->device || !w->read || !pa_is_memory(cpu, pa) || (old & PTE_ADDR) != ram_host_pa(cpu, pa))
        return 0;
    return w->write ? old : old & ~(uint64_t)PTE_W;
}

bool window_kind_is_new(const struct window *win, const struct walk *w, bool block) {
    return (w->page_shift >= HUGE_SHIFT && !block) || (w->page_shift > HUGE_SHIFT && !win->giant) ||
           (win->hi ? !w->global && !win->has_nonglobal : w->global && !win->has_global);
}

/* Where entry i of the guest's table leads, if it differs from the one that was walked in its page's number alone. */
static bool walked_alike(const struct cpu *cpu, const struct walk *w, unsigned i, uint64_t *pa) {
    unsigned shift = cpu->guest->entry_page_shift;
    uint64_t differ = w->table ? __atomic_load_n(&w->table[i], __ATOMIC_RELAXED) ^ w->entry : ~UINT64_C(0);
    *pa = ALIGN_DOWN(w->pa.v, PAGE_SIZE) ^ (differ >> shift << PAGE_SHIFT);
    return !(differ & ~(MASK(cpu->guest->entry_page_bits) << shift));
}

static void resync_entry(struct cpu *cpu, const struct window *win, uint64_t *pte, uint64_t pa, uint64_t host,
                         const struct walk *w, bool ok) {
    struct windows *ws = windows_of(cpu);
    uint64_t value = 0, old = *pte;
    if (ok && !w->fault && !w->device && w->read && pa_is_memory(cpu, pa)) {
        bool same = (old & PTE_ADDR) == ram_host_pa(cpu, pa), had = same && old & PTE_W;
        bool write = w->write && (had || (rmap_room(&ws->rmap) > TABLE_ENTRIES && page_writable(cpu, pa, false)));
        value = ram_host_pa(cpu, pa) | PTE_LEAF | (write ? PTE_W : 0);
        if (write && !had)
            rmap_add(&ws->rmap, page_key(cpu, pa), host);
    }
    if (!value)
        heat_lost(&ws->heat, window_guest(win, host));
    pages_set(&ws->pages, pte, value, host);
}

static void resync_table(struct cpu *cpu, struct window *win, uint64_t pde, uint64_t va) {
    struct windows *ws = windows_of(cpu);
    uint64_t *table = rt_pt_at(cpu, pde & PTE_ADDR), pa;
    struct walk w = {.fault = 0};
    for (unsigned i = pages_next(table, 0), skip; i < TABLE_ENTRIES; i = pages_next(table, i + skip)) {
        skip = 1;
        if (!walked_alike(cpu, &w, i, &pa)) {
            w = (struct walk){.fault = 0};
            cpu->guest->walk(cpu, va + ((uint64_t)i << PAGE_SHIFT), MMU_READ, win->regime, &w);
            w.table = w.fault || w.index != i ? NULL : w.table;
            pa = ALIGN_DOWN(w.pa.v, PAGE_SIZE);
        }
        resync_entry(cpu, win, &table[i], pa, window_host(ws, win, va) + ((uint64_t)i << PAGE_SHIFT), &w,
                     !window_kind_is_new(win, &w, pde & PTE_BLOCK));
        unsigned alike = w.page_shift >= HUGE_SHIFT ? TABLE_ENTRIES - i : 1;
        if (w.table)
            alike = pages_linear(&w.table[i], TABLE_ENTRIES - i, w.table[i], BIT(cpu->guest->entry_page_shift));
        if (table[i] && alike > 1)
            skip = pages_linear(&table[i], alike, table[i], PAGE_SIZE);
    }
}

static void resync_huge(struct cpu *cpu, struct window *win, uint64_t *pde, uint64_t va) {
    struct windows *ws = windows_of(cpu);
    struct walk w = {.fault = 0};
    cpu->guest->walk(cpu, va, MMU_READ, win->regime, &w);
    uint64_t value = entry_now(cpu, &w, ALIGN_DOWN(w.pa.v, PAGE_SIZE), *pde);
    if (value && (run_of(cpu, va, &w).count < TABLE_ENTRIES || window_kind_is_new(win, &w, true)))
        value = 0;
    pages_set(&ws->pages, pde, value, window_host(ws, win, va));
}

void window_resync(struct cpu *cpu, struct window *w) {
    uint64_t base = (uint64_t)w->region << REGION_SHIFT;
    unsigned tables = 0;
    w->state = WINDOW_LIVE;
    for (unsigned i = w->pdpt ? pages_next(w->pdpt, 0) : TABLE_ENTRIES; i < TABLE_ENTRIES;
         i = pages_next(w->pdpt, i + 1)) {
        uint64_t *pd = rt_pt_at(cpu, w->pdpt[i] & PTE_ADDR);
        for (unsigned j = pages_next(pd, 0); j < TABLE_ENTRIES; j = pages_next(pd, j + 1)) {
            uint64_t va = base + ((uint64_t)i << 30) + ((uint64_t)j << HUGE_SHIFT);
            if (pd[j] & PTE_PS)
                resync_huge(cpu, w, &pd[j], va);
            else
                resync_table(cpu, w, pd[j], va);
            if (++tables > RESYNC_TABLES) { /* not worth it */
                window_drop(cpu, w);
                return;
            }
        }
    }
}
