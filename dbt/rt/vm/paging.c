/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * paging.c: page-table pages of this vCPU, and flushes of the host TLB.
 *
 * The pool (abi_boot.pt_pool_*) is cut into equal slices, one per vCPU. A slice
 * starts with the stack of its free pages: kept apart, so that freeing a page
 * does not write to what the host may still watch as a page table.
 */
#include "graft/rt.h"

#define PML4_UPPER 256
enum { SHADOWED_YES = 1, SHADOWED_NO };

struct pt_slice {
    uint64_t init;  /* the fields below are valid */
    uint64_t first; /* number of the first page that may be handed out */
    uint64_t next, end;
    uint64_t free_count;
    uint64_t shadowed; /* 0: not known so far */
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

bool rt_has_paging(void) { return true; }

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

/* Ring 0 flushes for us (trap.S): one page, four, eight or everything. It tells them apart by the flags of a comparison
 * with 2: carry, none, parity (of 3), zero. */
enum flush { FLUSH_ONE = 1, FLUSH_ALL = 2, FLUSH_FOUR = 3, FLUSH_EIGHT = 5 };
#define FLUSH_AT_ONCE 8

static void flush(enum flush kind, const uint64_t page[FLUSH_AT_ONCE]) {
    register uint64_t r8 __asm__("r8") = page[5];
    register uint64_t r9 __asm__("r9") = page[6];
    register uint64_t r10 __asm__("r10") = page[7];
    uint64_t rax = page[0];
    __asm__ volatile("cmpl $2, %[kind]\n\tint3"
                     : "+a"(rax)
                     : "c"(page[1]), "d"(page[2]), "S"(page[3]), "D"(page[4]), "r"(r8), "r"(r9),
                       "r"(r10), [kind] "r"(kind)
                     : "memory", "cc");
}

void rt_flush_pages(struct cpu *cpu, const uint64_t *host_va, unsigned count) {
    STAT(cpu, flush_host_page) += count;
    while (count) {
        uint64_t page[FLUSH_AT_ONCE];
        unsigned n = count < FLUSH_AT_ONCE ? count : FLUSH_AT_ONCE;
        for (unsigned i = 0; i < FLUSH_AT_ONCE; i++)
            page[i] = host_va[i < n ? i : 0];
        flush(n == 1 ? FLUSH_ONE : n <= 4 ? FLUSH_FOUR : FLUSH_EIGHT, page);
        host_va += n;
        count -= n;
    }
}

/* Does the host go by these page tables at each fault? Those that shadow them do; they have no upper half for ring 3 either. */
bool vm_touch(uint64_t va);
static bool is_shadowed(struct cpu *cpu) {
    struct pt_slice *s = slice_of(cpu);
    if (UNLIKELY(!s->shadowed)) {
        const uint64_t upper = UINT64_C(0xffff800000000000);
        uint64_t *slot = &rt_pml4(cpu)[PML4_UPPER];
        *slot = rt_pml4(cpu)[0];
        s->shadowed = vm_touch(upper + (uint64_t)cpu) ? SHADOWED_NO : SHADOWED_YES;
        *slot = 0;
        rt_flush_all(cpu);
    }
    return s->shadowed == SHADOWED_YES;
}

bool rt_touch(struct cpu *cpu, uint64_t host_va) { return is_shadowed(cpu) && vm_touch(host_va); }

void rt_flush_all(struct cpu *cpu) {
    static const uint64_t none[FLUSH_AT_ONCE];
    STAT(cpu, flush_host_all)++;
    flush(FLUSH_ALL, none);
}
