/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* mmu.c: page tables for payloads (VMSAv8-64, 4 KiB granule, 48-bit addresses). */
#include "payload.h"

#define POOL_PAGES 512
#define INDEX(va, level) ((va) >> (39 - 9 * (level)) & 511)
#define ADDRESS(pte) ((pte) & 0x0000fffffffff000ul)
#define BLOCK_BYTES 0x200000ul

static uint8_t pool[POOL_PAGES][4096] __attribute__((aligned(4096)));
static unsigned pool_used;
extern uint8_t __data_start[];
static uint64_t *root0, *root1;

void *page_alloc(void) {
    if (pool_used == POOL_PAGES) {
        print("FAIL out of pages\nFAILED\n");
        power_off();
    }
    memset(pool[pool_used], 0, 4096);
    return pool[pool_used++];
}

uint64_t *mmu_new_root(void) { return page_alloc(); }

static uint64_t *table_at(uint64_t *root, uint64_t va, unsigned level, bool create) {
    uint64_t *table = root;
    for (unsigned l = 0; l < level; l++) {
        uint64_t *e = &table[INDEX(va, l)];
        if ((*e & 3) != 3) {
            if (!create)
                return NULL;
            *e = (uint64_t)page_alloc() | 3;
        }
        table = (uint64_t *)ADDRESS(*e);
    }
    return table;
}

void mmu_map(uint64_t *root, uint64_t va, uint64_t pa, uint64_t attrs) {
    table_at(root, va, 3, true)[INDEX(va, 3)] = pa | attrs;
    dsb();
}

void mmu_block(uint64_t *root, uint64_t va, uint64_t pa, uint64_t attrs) {
    table_at(root, va, 2, true)[INDEX(va, 2)] = pa | (attrs & ~2ul);
    dsb();
}

uint64_t *mmu_entry(uint64_t *root, uint64_t va) {
    uint64_t *l2 = table_at(root, va, 2, false);
    if (!l2)
        return NULL;
    uint64_t e = l2[INDEX(va, 2)];
    if ((e & 3) == 1)
        return &l2[INDEX(va, 2)];
    if ((e & 3) != 3)
        return NULL;
    return (uint64_t *)ADDRESS(e) + INDEX(va, 3);
}

uint64_t *mmu_entry_at(uint64_t *root, uint64_t va, unsigned level) {
    uint64_t *table = table_at(root, va, level, false);
    return table ? &table[INDEX(va, level)] : NULL;
}

uint64_t *mmu_root0(void) { return root0; }

uint64_t *mmu_root1(void) { return root1; }

/* map_ram(): 64 blocks at va, but the first, which holds the payload, in pages: its code is read-only. */
static void map_ram(uint64_t va, uint64_t attrs) {
    for (uint64_t a = RAM_BASE; a < RAM_BASE + BLOCK_BYTES; a += 4096) {
        bool code = a >= RAM_BASE + 0x80000 && a < (uint64_t)__data_start;
        mmu_map(root0, va + a, a, code ? attrs | PTE_AP_RO : attrs);
    }
    for (uint64_t a = RAM_BASE + BLOCK_BYTES; a < RAM_BASE + 64 * BLOCK_BYTES; a += BLOCK_BYTES)
        mmu_block(root0, va + a, a, attrs);
}

void mmu_on(void) {
    if (!root0) {
        root0 = mmu_new_root();
        root1 = mmu_new_root();
        for (uint64_t a = 0x08000000; a < 0x10000000; a += BLOCK_BYTES)
            mmu_block(root0, a, a, PTE_RW | PTE_UXN | PTE_PXN | PTE_ATTR_DEVICE);
        map_ram(0, PTE_RW);
    }
    write_sysreg(mair_el1, 0x00ff); /* 0: normal write-back, 1: Device-nGnRnE */
    write_sysreg(tcr_el1, TCR_ON);
    write_sysreg(ttbr0_el1, root0);
    write_sysreg(ttbr1_el1, root1);
    tlbi_all();
    write_sysreg(sctlr_el1, SCTLR_ON);
    isb();
}

void mmu_user_alias(void) {
    map_ram(USER_BASE, PTE_RW | PTE_AP_EL0 | PTE_PXN);
    isb();
}

void mmu_off(void) {
    write_sysreg(sctlr_el1, SCTLR_OFF);
    isb();
    tlbi_all();
}
