/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pages.h: host pages of a vCPU as windows use them: entries in the form of x86 page tables, and what of them the host
 * may still remember. In the VM these are the vCPU's own page tables; in a process the runtime keeps the kernel's
 * mappings in line with them (rt.h: rt_pt_*, rt_map_pages(), rt_flush_pages()). Nothing in here knows the difference.
 *
 * Terms: PTE, PDE, PDPT as in the Intel SDM, volume 3, section 4.5. "host": an address in the engine's address
 * space. */
#ifndef DBT_MMU_PAGES_H
#define DBT_MMU_PAGES_H

#include "dbt/mmu/mmu_int.h"

#define HUGE_SHIFT 21
#define HUGE_SIZE BIT(HUGE_SHIFT)
#define TABLE_ENTRIES 512u

enum pte {
    PTE_P = 1,
    PTE_W = 2,
    PTE_U = 4,
    PTE_A = 0x20,
    PTE_D = 0x40,
    PTE_PS = 0x80,
    PTE_BLOCK = 0x200 /* ours, in a PDE: the table holds pages of a guest block */
};
#define PTE_ADDR UINT64_C(0x000ffffffffff000)
#define PTE_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define PTE_NX BIT(63)
#define PTE_LEAF (PTE_P | PTE_U | PTE_A | PTE_D | PTE_NX) /* the guest's code is not the host's */

#define FLUSH_LIST 16
/* bits of an address in it: all that the host may know of the page is read-only */
#define FLUSH_READ_ONLY UINT64_C(1)
#define FLUSH_HUGE RT_FLUSH_HUGE /* it may know a 2 MiB page there */

struct pages {
    uint64_t *pml4;
    uint64_t flush[FLUSH_LIST]; /* downgrades that the host has not been told of */
    unsigned flushes;
    bool flush_all;
};

static inline unsigned index_at(uint64_t va, unsigned shift) { return (unsigned)(va >> shift) & (TABLE_ENTRIES - 1); }
/* ram_host_pa(): what an entry for the page of RAM or flash at guest-physical pa holds. */
static inline uint64_t ram_host_pa(const struct cpu *cpu, uint64_t pa) {
    return cpu->boot->ram_pa + ram_offset(cpu, pa);
}

/* pages_find(): the PDE for va (its low 39 bits count) below a PDPT, NULL if there is none or it is empty. */
uint64_t *pages_find(struct cpu *cpu, uint64_t *pdpt, uint64_t va);
/* pages_below(): the table that a non-leaf entry leads to; made if there is none. NULL: no memory. */
uint64_t *pages_below(struct cpu *cpu, uint64_t *entry);
/* pages_free(): a table of that level (1: of PTEs) and all below it. */
void pages_free(struct cpu *cpu, uint64_t *table, unsigned level);
/* pages_set(): writes the leaf entry of host; a downgrade is noted for a flush. */
void pages_set(struct pages *p, uint64_t *entry, uint64_t value, uint64_t host);
/* pages_clear_table(): all entries of a table of PTEs, the first of which is host's. */
void pages_clear_table(struct pages *p, uint64_t *table, uint64_t host);
/* pages_flush_later(): known: FLUSH_READ_ONLY, FLUSH_HUGE or 0. */
void pages_flush_later(struct pages *p, uint64_t host, uint64_t known);
/* pages_linear(): how many of the n entries at p map one page after the other, the first being as said? step: from one
 * page's entry to the next one's; PAGE_SIZE in the host's tables. */
unsigned pages_linear(const uint64_t *p, unsigned n, uint64_t first, uint64_t step);
/* pages_next(): the first entry from i on that is not 0; TABLE_ENTRIES if there is none. */
unsigned pages_next(const uint64_t *table, unsigned i);

#endif
