/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * check.c: `-d check`: is what windows map what the guest's tables say? Looked at after each TLBI, of all that it was
 * to bring in line. With one vCPU alone: another one may be about to write to those tables.
 */
#include "dbt/mmu/windows.h"

static void check_page(struct cpu *cpu, const struct window *win, uint64_t pte, uint64_t va) {
    struct walk w = {.fault = 0};
    if (!(pte & PTE_P))
        return;
    cpu->guest->walk(cpu, va, MMU_READ, win->regime, &w);
    bool same = !w.fault && w.read && !w.device && (pte & PTE_ADDR) == ram_host_pa(cpu, ALIGN_DOWN(w.pa.v, PAGE_SIZE));
    if (!same || (pte & PTE_W && !w.write))
        rt_panic(cpu, "regime %u: %llx is mapped by %llx, but the guest's tables say %llx, write %u, fault %x",
                 win->regime, (unsigned long long)va, (unsigned long long)pte, (unsigned long long)w.pa.v, w.write,
                 w.fault);
    STAT(cpu, pages_checked)++;
}

/* The 2 MiB around va, or its page alone. */
static void check_directory(struct cpu *cpu, const struct window *win, uint64_t pde, uint64_t va, bool all) {
    uint64_t first = all ? ALIGN_DOWN(va, HUGE_SIZE) : va;
    if (!(pde & PTE_P))
        return;
    for (uint64_t at = first; at < first + (all ? HUGE_SIZE : 1); at += PAGE_SIZE) {
        uint64_t offset = (uint64_t)index_at(at, PAGE_SHIFT) << PAGE_SHIFT;
        uint64_t pte = pde & PTE_PS ? pde + offset : rt_pt_at(cpu, pde & PTE_ADDR)[index_at(at, PAGE_SHIFT)];
        check_page(cpu, win, pte, at);
    }
}

static void check_window(struct cpu *cpu, const struct window *win) {
    for (unsigned i = win->pdpt ? 0 : TABLE_ENTRIES; i < TABLE_ENTRIES; i++) {
        if (!(win->pdpt[i] & PTE_P))
            continue;
        const uint64_t *pd = rt_pt_at(cpu, win->pdpt[i] & PTE_ADDR);
        for (unsigned k = 0; k < TABLE_ENTRIES; k++)
            check_directory(cpu, win, pd[k], window_guest(win, (uint64_t)i << 30 | (uint64_t)k << HUGE_SHIFT), true);
    }
}

/* Does the guest's own address lead to the window in views that lead to it, and to nothing else in others? */
static void check_root(struct cpu *cpu, struct view *v, void *arg) {
    const struct windows *ws = windows_of(cpu);
    const struct window *w = arg;
    const uint64_t *top = rt_root_top(cpu, v->root, (uint64_t)w->region << REGION_SHIFT, false);
    uint64_t entry = top ? top[w->region % REGION_HASH] : 0, table = ws->pages.pml4[window_slot(ws, w)];
    bool own = view_deltas(cpu, v)[region_index(cpu, w->region)] == window_delta(ws, w);
    if (own && top ? entry != table : table && entry == table)
        rt_panic(cpu, "region %x: a root has %llx, its window %llx", w->region, (unsigned long long)entry,
                 (unsigned long long)table);
}

void windows_check(struct cpu *cpu, const struct mmu_inval *inv) {
    struct windows *ws = windows_of(cpu);
    bool by_va = inv->kind == MMU_INVAL_VA || inv->kind == MMU_INVAL_VA_ASID;
    for (unsigned i = 0; i < ws->count && cpu->boot->vcpu_count == 1; i++) {
        struct window *w = &ws->win[i];
        if (w->state == WINDOW_LIVE && window_is_direct(ws, w))
            view_each(cpu, check_root, w);
        if (w->state != WINDOW_LIVE || !window_has_root(mmu_of(cpu)->current, w))
            continue;
        uint64_t *pde = by_va ? pages_find(cpu, w->pdpt, inv->va) : NULL;
        if (pde && !((w->region ^ region_of(inv->va)) & MASK(17)) && window_is_hit(cpu, w, inv))
            check_directory(cpu, w, *pde, window_guest(w, inv->va), false);
        else if (!by_va && window_is_hit(cpu, w, inv))
            check_window(cpu, w);
    }
}
