/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pmp.c: physical memory protection (volume II, 3.7): 16 entries with a grain of 4 KiB (G = 10), so that a page is
 * allowed or not as a whole; regions of 4 bytes (NA4) cannot be selected then.
 */
#include "guests/rv64/system.h"

enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_LOCKED = 0x80 };
#define PMP_ALL (PMP_R | PMP_W | PMP_X)
#define PMP_MODE(cfg) ((cfg) >> 3 & 3)
enum { OFF, TOR, NA4, NAPOT };
#define PMP_WRITABLE (PMP_ALL | 3 << 3 | PMP_LOCKED)
#define ADDR_BITS 54
#define GRAIN 10
#define TABLE_SHIFT (PAGE_SHIFT + 9)

static unsigned entry_of(unsigned csr) { return csr - RV64_CSR_PMPADDR0; }

static uint64_t read_addr(const struct rv64_pmp *p, unsigned i) {
    return PMP_MODE(p->cfg[i]) == NAPOT ? p->addr[i] | MASK(GRAIN - 1) : p->addr[i] & ~MASK(GRAIN);
}

uint64_t rv64_pmp_read(const struct rv64_cpu *c, unsigned csr) {
    uint64_t v = 0;
    if (csr >= RV64_CSR_PMPADDR0)
        return read_addr(&c->pmp, entry_of(csr));
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)c->pmp.cfg[4 * (csr - RV64_CSR_PMPCFG0) + i] << 8 * i;
    return v;
}

/* Locked, or the lower end of a range that is. */
static bool addr_locked(const struct rv64_pmp *p, unsigned i) {
    bool below = i + 1 < RV64_PMPS && p->cfg[i + 1] & PMP_LOCKED && PMP_MODE(p->cfg[i + 1]) == TOR;
    return p->cfg[i] & PMP_LOCKED || below;
}

static void write_cfg(struct rv64_pmp *p, unsigned i, unsigned v) {
    if (p->cfg[i] & PMP_LOCKED)
        return;
    v &= PMP_WRITABLE;
    if (PMP_MODE(v) == NA4)
        v = (v & ~(3u << 3)) | (p->cfg[i] & 3u << 3);
    if (!(v & PMP_R)) /* writable alone is reserved */
        v &= ~(unsigned)PMP_W;
    p->cfg[i] = (uint8_t)v;
}

void rv64_pmp_write(struct cpu *cpu, unsigned csr, uint64_t value) {
    struct rv64_pmp *p = &rv64(cpu)->pmp;
    if (csr < RV64_CSR_PMPADDR0)
        for (unsigned i = 0; i < 8; i++)
            write_cfg(p, 4 * (csr - RV64_CSR_PMPCFG0) + i, value >> 8 * i & 0xff);
    else if (!addr_locked(p, entry_of(csr)))
        p->addr[entry_of(csr)] = value & MASK(ADDR_BITS);
    p->used = 0;
    for (unsigned i = 0; i < RV64_PMPS; i++)
        if (PMP_MODE(p->cfg[i]) != OFF)
            p->used = i + 1;
    mmu_invalidate(cpu, &(struct mmu_inval){.kind = MMU_INVAL_ALL});
    mmu_sync(cpu);
}

/* The region of an entry that is not off. */
static void region_of(const struct rv64_pmp *p, unsigned i, uint64_t *first, uint64_t *end) {
    uint64_t addr = read_addr(p, i);
    if (PMP_MODE(p->cfg[i]) == TOR) {
        *first = i ? (p->addr[i - 1] & ~MASK(GRAIN)) << 2 : 0;
        *end = addr << 2;
    } else {
        unsigned ones = (unsigned)__builtin_ctzll(~addr);
        *first = (addr & ~MASK(ones)) << 2;
        *end = *first + (UINT64_C(8) << ones);
    }
}

/* What a mode may do in the block of 1 << *shift bytes that pa is in; *shift becomes that of a page if not everywhere
 * in it the same entry decides. Entries that are not locked do not bind machine mode. */
static unsigned allowed(const struct rv64_pmp *p, uint64_t pa, bool m, uint8_t *shift) {
    uint64_t page = pa & ~PAGE_MASK, block = pa & ~MASK(*shift), block_end = block + BIT(*shift), first, end;
    for (unsigned i = 0; i < p->used; i++) {
        if (PMP_MODE(p->cfg[i]) == OFF)
            continue;
        region_of(p, i, &first, &end);
        if (first < block_end && end > block && (first > block || end < block_end))
            *shift = PAGE_SHIFT;
        if (page >= first && page < end)
            return m && !(p->cfg[i] & PMP_LOCKED) ? PMP_ALL : p->cfg[i] & PMP_ALL;
    }
    return m ? PMP_ALL : 0;
}

void rv64_pmp_check(const struct rv64_cpu *c, unsigned regime, struct walk *w) {
    /* A mapping is taken for one with its neighbours of the same table. */
    uint8_t block = w->page_shift > TABLE_SHIFT ? w->page_shift : TABLE_SHIFT, shift = block;
    unsigned may = allowed(&c->pmp, w->pa.v, regime == RV64_M, &shift);
    w->read &= (may & PMP_R) != 0;
    w->write &= (may & PMP_W) != 0;
    w->exec &= (may & PMP_X) != 0;
    if (shift != block) {
        w->page_shift = PAGE_SHIFT;
        w->table = NULL;
    }
}

bool rv64_pmp_allows_table(const struct rv64_cpu *c, uint64_t pa, bool write) {
    uint8_t shift = PAGE_SHIFT;
    return allowed(&c->pmp, pa, false, &shift) & (write ? PMP_W : PMP_R);
}
