/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* paging.c: flushes of the host TLB. */
#include "dbt/rt/vm/ring3.h"

#define PML4_UPPER 256
enum { SHADOWED_YES = 1, SHADOWED_NO };

bool rt_has_paging(void) { return true; }

/* Flat: ring 0 flushes for us (trap.S): one page, four, eight or everything. It tells them apart by the flags of a
 * comparison with 2: carry, none, parity (of 3), zero. */
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
    for (; rt_has_ring3(cpu) && count; count--, host_va++)
        __asm__ volatile("invlpg (%0)" : : "r"(ALIGN_DOWN(*host_va, PAGE_SIZE)) : "memory");
    while (count) {
        uint64_t page[FLUSH_AT_ONCE];
        unsigned n = count < FLUSH_AT_ONCE ? count : FLUSH_AT_ONCE;
        for (unsigned i = 0; i < FLUSH_AT_ONCE; i++)
            page[i] = ALIGN_DOWN(host_va[i < n ? i : 0], PAGE_SIZE);
        flush(n == 1 ? FLUSH_ONE : n <= 4 ? FLUSH_FOUR : FLUSH_EIGHT, page);
        host_va += n;
        count -= n;
    }
}

/* Does the host go by these page tables at each fault? Those that shadow them do; they have no upper half for ring 3
 * either. */
bool vm_touch(uint64_t va);
static bool is_shadowed(struct cpu *cpu) {
    static uint8_t shadowed[ABI_MAX_VCPUS]; /* 0: not known so far */
    uint8_t *s = &shadowed[cpu->index];
    if (UNLIKELY(!*s)) {
        const uint64_t upper = UINT64_C(0xffff800000000000);
        uint64_t *slot = &rt_pml4(cpu)[PML4_UPPER];
        *slot = rt_pml4(cpu)[0];
        *s = vm_touch(upper + (uint64_t)cpu) ? SHADOWED_NO : SHADOWED_YES;
        *slot = 0;
        rt_flush_all(cpu);
    }
    return *s == SHADOWED_YES;
}

bool rt_touch(struct cpu *cpu, uint64_t host_va) { return !rt_has_ring3(cpu) && is_shadowed(cpu) && vm_touch(host_va); }

/* The processor, or the host that shadows these tables, looks for itself. */
void rt_map_pages(struct cpu *cpu, uint64_t host_va, unsigned count) {}

void rt_flush_all(struct cpu *cpu) {
    static const uint64_t none[FLUSH_AT_ONCE];
    STAT(cpu, flush_host_all)++;
    if (rt_has_ring3(cpu))
        vm_set_cr3(vm_cr3());
    else
        flush(FLUSH_ALL, none);
}
