/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* pages.c: see pages.h. */
#include "dbt/mmu/pages.h"

uint64_t *pages_find(struct cpu *cpu, uint64_t *pdpt, uint64_t va) {
    if (!pdpt || !(pdpt[index_at(va, 30)] & PTE_P))
        return NULL;
    uint64_t *pd = rt_pt_at(cpu, pdpt[index_at(va, 30)] & PTE_ADDR);
    return pd[index_at(va, 21)] & PTE_P ? &pd[index_at(va, 21)] : NULL;
}

void pages_flush_later(struct pages *p, uint64_t host, uint64_t known) {
    uint64_t entry = ALIGN_DOWN(host, PAGE_SIZE) | known;
    for (unsigned i = 0; i < p->flushes; i++) {
        if ((p->flush[i] ^ entry) < PAGE_SIZE) {
            p->flush[i] = (p->flush[i] & (entry | FLUSH_HUGE)) | (known & FLUSH_HUGE);
            return;
        }
    }
    if (p->flushes < FLUSH_LIST)
        p->flush[p->flushes++] = entry;
    else
        p->flush_all = true;
}

void pages_free(struct cpu *cpu, uint64_t *table, unsigned level) {
    for (unsigned i = 0; level > 1 && i < TABLE_ENTRIES; i++)
        if (table[i] & PTE_P && !(table[i] & PTE_PS))
            pages_free(cpu, rt_pt_at(cpu, table[i] & PTE_ADDR), level - 1);
    rt_pt_free(cpu, table);
}

uint64_t *pages_below(struct cpu *cpu, uint64_t *entry) {
    uint64_t pa;
    if (*entry & PTE_P)
        return rt_pt_at(cpu, *entry & PTE_ADDR);
    uint64_t *table = rt_pt_alloc(cpu, &pa);
    if (table)
        *entry = pa | PTE_TABLE;
    return table;
}

void pages_set(struct pages *p, uint64_t *entry, uint64_t value, uint64_t host) {
    uint64_t old = *entry;
    if (old == value)
        return;
    *entry = value;
    if (old & PTE_P && ((old ^ value) & ~(uint64_t)(PTE_W | PTE_BLOCK) || (old & PTE_W && !(value & PTE_W))))
        pages_flush_later(p, host, old & PTE_PS ? FLUSH_HUGE : old & PTE_W ? 0 : FLUSH_READ_ONLY);
}

__attribute__((target("avx2"))) unsigned pages_linear(const uint64_t *p, unsigned n, uint64_t first, uint64_t step) {
    typedef uint64_t four __attribute__((vector_size(32), aligned(8), may_alias));
    four want = {first, first + step, first + 2 * step, first + 3 * step};
    unsigned i = 0;
    for (; i + 16 <= n; i += 16, want += 16 * step) {
        const volatile four *at = (const volatile four *)&p[i];
        four differ =
            (at[0] ^ want) | (at[1] ^ (want + 4 * step)) | (at[2] ^ (want + 8 * step)) | (at[3] ^ (want + 12 * step));
        if (differ[0] | differ[1] | differ[2] | differ[3])
            break;
    }
    while (i < n && p[i] == first + i * step)
        i++;
    return i;
}

unsigned pages_next(const uint64_t *table, unsigned i) {
    while (i < TABLE_ENTRIES && i % 8 && !table[i])
        i++;
    for (const uint64_t *p = &table[i]; i < TABLE_ENTRIES && !(i % 8); i += 8, p += 8)
        if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7])
            break;
    while (i < TABLE_ENTRIES && !table[i])
        i++;
    return i;
}

void pages_clear_table(struct pages *p, uint64_t *table, uint64_t host) {
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        pages_set(p, &table[i], 0, host + ((uint64_t)i << PAGE_SHIFT));
}
