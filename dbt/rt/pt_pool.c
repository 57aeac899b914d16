/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pt_pool.c: page-table pages of this vCPU.
 *
 * The pool (abi_boot.pt_pool_*) is cut into equal slices, one per vCPU. A slice
 * starts with the stack of its free pages: kept apart, so that freeing a page
 * does not write to what the host may still watch as a page table.
 */
#include "graft/rt.h"

struct pt_slice {
    uint64_t init;  /* the fields below are valid */
    uint64_t first; /* number of the first page that may be handed out */
    uint64_t next, end;
    uint64_t free_count;
    uint32_t free[];
};

static struct pt_slice *slice_of(struct cpu *cpu) {
    const struct abi_boot *boot = cpu->boot;
    uint64_t bytes = ALIGN_DOWN(boot->pt_pool_size / boot->vcpu_count, PAGE_SIZE);
    struct pt_slice *s = (struct pt_slice *)(boot->pt_pool_va + cpu->index * bytes);
    if (UNLIKELY(!s->init)) {
        s->end = bytes >> PAGE_SHIFT;
        s->next = s->first = ALIGN_UP(sizeof(*s) + s->end * sizeof(s->free[0]), PAGE_SIZE) >> PAGE_SHIFT;
        s->init = 1;
    }
    return s;
}

uint64_t *rt_pt_alloc(struct cpu *cpu, uint64_t *pa) {
    struct pt_slice *s = slice_of(cpu);
    uint64_t n;
    if (s->free_count)
        n = s->free[--s->free_count];
    else if (s->next < s->end)
        n = s->next++;
    else
        return NULL;
    uint64_t *page = (uint64_t *)((uint64_t)s + (n << PAGE_SHIFT));
    /* Write no more than is needed: the host may still shadow a recycled page. */
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*page); i++)
        if (page[i])
            page[i] = 0;
    *pa = (uint64_t)page - cpu->boot->pt_pool_va + cpu->boot->pt_pool_pa;
    return page;
}

void rt_pt_free(struct cpu *cpu, uint64_t *page) {
    struct pt_slice *s = slice_of(cpu);
    s->free[s->free_count++] = (uint32_t)(((uint64_t)page - (uint64_t)s) >> PAGE_SHIFT);
}

uint64_t *rt_pt_at(struct cpu *cpu, uint64_t pa) {
    return (uint64_t *)(pa - cpu->boot->pt_pool_pa + cpu->boot->pt_pool_va);
}

uint64_t *rt_pml4(struct cpu *cpu) { return (uint64_t *)cpu->boot->pml4_va[cpu->index]; }
