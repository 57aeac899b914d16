/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* loans.c: see loans.h. */
#include "dbt/mmu/loans.h"

static void loans_end(struct cpu *cpu, struct loans *l) {
    struct windows *ws = windows_of(cpu);
    for (unsigned i = 0; i < l->count; i++)
        l->table[i / LOANS_IN_TABLE][index_at((uint64_t)i << LOAN_SHIFT, PAGE_SHIFT)] = 0;
    l->count = 0;
    ws->pages.flush_all = true;
    recent_clear(&ws->recent);
}

static uint64_t *loan_entry(struct cpu *cpu, struct loans *l, unsigned n) {
    uint64_t **table = &l->table[n / LOANS_IN_TABLE], pa;
    if (!l->pd) {
        uint64_t *pdpt = pages_below(cpu, &windows_of(cpu)->pages.pml4[l->slot]);
        l->pd = pdpt ? pages_below(cpu, pdpt) : NULL;
        if (!l->pd)
            return NULL;
    }
    if (!*table) {
        *table = rt_pt_alloc(cpu, &pa);
        if (!*table)
            return NULL;
        l->pd[n / LOANS_IN_TABLE] = pa | PTE_TABLE;
    }
    return &(*table)[index_at((uint64_t)n << LOAN_SHIFT, PAGE_SHIFT)];
}

void loans_lend(struct cpu *cpu, struct loans *l, struct mmu_slow *s, uint64_t pa, bool write) {
    uint64_t pte = ram_host_pa(cpu, pa) | PTE_LEAF | (write ? PTE_W : 0);
    unsigned n = l->count;
    while (n > 0 && l->count - n < 8 && l->pte[n - 1] != pte)
        n--;
    if (n > 0 && l->pte[n - 1] == pte) {
        n--;
    } else {
        if (l->count == LOANS)
            loans_end(cpu, l); /* who fills flushes */
        n = l->count;
        uint64_t *entry = loan_entry(cpu, l, n);
        if (!entry)
            return;
        *entry = l->pte[n] = pte;
        l->count++;
    }
    s->lent.va = ALIGN_DOWN(s->va, PAGE_SIZE);
    s->lent.index = (l->slot << REGION_SHIFT | (uint64_t)n << LOAN_SHIFT) - s->lent.va;
}

void loans_protect(struct cpu *cpu, struct loans *l, uint64_t pa) {
    for (unsigned i = 0; i < l->count; i++) {
        if ((l->pte[i] & PTE_ADDR) == ram_host_pa(cpu, pa) && l->pte[i] & PTE_W) {
            loans_end(cpu, l);
            return;
        }
    }
}
