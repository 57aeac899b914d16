/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * walk.c: Sv39, Sv48 and Sv57 (volume II, 10.3 to 10.6) with Svade: a page whose A bit is clear, or D bit when it is
 * written, faults; unless machine mode has turned Svadu on, and the walk sets them. Svnapot has pages of 64 KiB;
 * Svpbmt's memory types change nothing that a guest could see here.
 */
#include "guests/rv64/system.h"

#define PTE_V BIT(0)
#define PTE_R BIT(1)
#define PTE_W BIT(2)
#define PTE_X BIT(3)
#define PTE_U BIT(4)
#define PTE_G BIT(5)
#define PTE_A BIT(6)
#define PTE_D BIT(7)
#define PTE_PPN(pte) ((pte) >> 10 & MASK(44))
#define PTE_RESERVED (MASK(7) << 54) /* of leaves; Svpbmt has bits 62..61 */
#define PTE_PBMT(pte) ((unsigned)((pte) >> 61) & 3)
#define PTE_N BIT(63)
#define PA_BITS 56

static void fault(struct walk *w, enum rv64_fault kind) { w->fault = kind; }

static bool allowed(const struct walk *w, enum mmu_access access) {
    return access == MMU_READ ? w->read : access == MMU_WRITE ? w->write : w->exec;
}

static void walk_bare(struct cpu *cpu, uint64_t va, struct walk *w) {
    w->pa = GPA(va);
    w->page_shift = 30;
    w->read = w->write = w->exec = w->global = true;
    if (va >> PA_BITS)
        fault(w, RV64_FAULT_ACCESS);
}

/* What the memory itself allows, if it is firmware of the guest's that says so. */
static void protect(struct cpu *cpu, enum mmu_access access, unsigned regime, struct walk *w) {
    if (LIKELY(!rv64_firmware(cpu)) || w->fault)
        return;
    rv64_pmp_check(rv64(cpu), regime, w);
    if (!allowed(w, access))
        fault(w, RV64_FAULT_ACCESS);
}

/* Permissions of a leaf in a regime, those that A and D keep back left out. */
static void permissions(const struct rv64_cpu *c, uint64_t pte, unsigned regime, struct walk *w) {
    bool user = pte & PTE_U;
    bool data = regime == RV64_U ? user : !user || regime == RV64_S_SUM;
    bool readable = pte & PTE_R || (c->sstatus & SSTATUS_MXR && pte & PTE_X);
    w->read = data && readable;
    w->write = data && pte & PTE_W && pte & PTE_D;
    w->exec = pte & PTE_X && user == (regime == RV64_U);
}

/* Svpbmt has three types, which machine mode may forbid. */
static bool bad_memory_type(const struct rv64_cpu *c, uint64_t pte) {
    return PTE_PBMT(pte) == 3 || (PTE_PBMT(pte) && !(c->menvcfg & ENVCFG_PBMTE));
}

static void leaf(const struct rv64_cpu *c, uint64_t va, enum mmu_access access, unsigned regime, uint64_t pte,
                 unsigned level, struct walk *w) {
    unsigned shift = PAGE_SHIFT + 9 * level;
    uint64_t base = PTE_PPN(pte) << PAGE_SHIFT;
    /* Svnapot: one of sixteen pages that lie together. Each of their entries has to be invalidated: it is a small
     * page. */
    if (pte & PTE_N && level == 0 && (PTE_PPN(pte) & 15) == 8) {
        base = (base & ~MASK(PAGE_SHIFT + 4)) | (va & MASK(PAGE_SHIFT + 4) & ~PAGE_MASK);
        pte &= ~PTE_N;
    }
    if (pte & (PTE_RESERVED | PTE_N) || bad_memory_type(c, pte) || base & MASK(shift) || !(pte & PTE_A)) {
        fault(w, RV64_FAULT_PAGE);
        return;
    }
    w->pa = GPA(base | (va & MASK(shift)));
    w->page_shift = (uint8_t)(shift > 39 ? 39 : shift);
    w->level = (uint8_t)level;
    permissions(c, pte, regime, w);
    if (!allowed(w, access))
        fault(w, RV64_FAULT_PAGE);
}

static bool may_touch_table(struct cpu *cpu, uint64_t table, bool write) {
    return !rv64_firmware(cpu) || rv64_pmp_allows_table(rv64(cpu), table, write);
}

/* Svadu: a leaf as an access makes it, if it is allowed. */
static uint64_t touched(const struct rv64_cpu *c, uint64_t pte, enum mmu_access access) {
    if (!(c->menvcfg & ENVCFG_ADUE))
        return pte;
    return pte | PTE_A | (access == MMU_WRITE && pte & PTE_W ? PTE_D : 0);
}

/* A leaf's G, or that of a table above it: the mapping is of all address spaces. */
static void walk_tables(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w) {
    const struct rv64_cpu *c = rv64(cpu);
    unsigned mode = SATP_MODE(c->satp);
    unsigned levels = mode - SATP_SV39 + 3, bits = PAGE_SHIFT + 9 * levels;
    if ((uint64_t)rv64_sext(va, bits) != va) {
        fault(w, RV64_FAULT_PAGE);
        return;
    }
    uint64_t table = SATP_PPN(c->satp) << PAGE_SHIFT;
    for (unsigned level = levels; level-- > 0;) {
        uint64_t *entries = ram_ptr(cpu, GPA(table), PAGE_SIZE);
        if (!entries || !may_touch_table(cpu, table, false)) {
            fault(w, RV64_FAULT_ACCESS);
            return;
        }
        /* Another vCPU may be writing the entry: read it once, whole. */
        uint64_t *at = &entries[va >> (PAGE_SHIFT + 9 * level) & MASK(9)], pte = __atomic_load_n(at, __ATOMIC_ACQUIRE);
        if (!(pte & PTE_V) || (!(pte & PTE_R) && pte & PTE_W))
            break;
        w->global |= (pte & PTE_G) != 0;
        if (pte & (PTE_R | PTE_X)) {
            uint64_t now = touched(c, pte, access);
            if (level == 0 && !(pte & PTE_N)) {
                w->table = entries;
                w->index = (uint16_t)(va >> PAGE_SHIFT & MASK(9));
                w->entry = now;
            }
            leaf(c, va, access, regime, now, level, w);
            if (now == pte || w->fault)
                return;
            if (!may_touch_table(cpu, table, true)) {
                fault(w, RV64_FAULT_ACCESS);
                return;
            }
            if (__atomic_compare_exchange_n(at, &pte, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                return;
            level++; /* somebody else was there: look again */
            continue;
        }
        if (pte & (PTE_RESERVED | PTE_N | BIT(61) | BIT(62) | PTE_A | PTE_D | PTE_U))
            break;
        table = PTE_PPN(pte) << PAGE_SHIFT;
    }
    fault(w, RV64_FAULT_PAGE);
}

void rv64_walk(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w) {
    *w = (struct walk){0};
    if (regime == RV64_M || SATP_MODE(rv64(cpu)->satp) == SATP_BARE)
        walk_bare(cpu, va, w);
    else
        walk_tables(cpu, va, access, regime, w);
    protect(cpu, access, regime, w);
}

/* Sv57 alone has such addresses: an entry of the root table for each 2^48. */
bool rv64_translates(const struct cpu *cpu, uint64_t va) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    const uint64_t *table = ram_ptr(cpu, GPA(SATP_PPN(c->satp) << PAGE_SHIFT), PAGE_SIZE);
    return SATP_MODE(c->satp) == SATP_SV57 && table &&
           __atomic_load_n(&table[va >> 48 & MASK(9)], __ATOMIC_ACQUIRE) & PTE_V;
}

/* The number of an upper half with these entries. Two tables with equal ones lead to the same tables below, so what is
 * known of the one holds for the other: one satp makes every process its own upper half, which is the kernel's in all
 * of them. */
static uint64_t half_id(struct rv64_halves *h, const uint64_t *entries) {
    for (unsigned i = 0; i < RV64_HALVES; i++)
        if (h->id[i] && !memcmp(h->entries[i], entries, sizeof h->entries[i]))
            return h->id[i];
    unsigned at = h->next++ % RV64_HALVES;
    memcpy(h->entries[at], entries, sizeof h->entries[at]);
    return h->id[at] = ++h->last & MASK(43);
}

void rv64_table_changed(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    const uint64_t *table = ram_ptr(cpu, GPA(SATP_PPN(c->satp) << PAGE_SHIFT), PAGE_SIZE);
    c->halves.current = SATP_MODE(c->satp) == SATP_BARE || !table ? 0 : half_id(&c->halves, table + 256);
    mmu_context_changed(cpu);
}

/* All that a translation depends on, but the ASID: the root's page number in bits 43..0 (of the upper half its number),
 * mode in 63..60, MXR in bit 44; bit 45: machine mode, which has other views of what it looks at with MPRV; bit 46: of
 * its own. */
struct mmu_space rv64_space(struct cpu *cpu, bool hi, unsigned regime) {
    const struct rv64_cpu *c = rv64(cpu);
    uint64_t controls = regime == RV64_M ? BIT(45) : 0;
    if (regime == RV64_M && rv64_data_regime(cpu) == RV64_M)
        return (struct mmu_space){BIT(46), 0};
    if (SATP_MODE(c->satp) == SATP_BARE)
        return (struct mmu_space){controls, 0};
    controls |= (uint64_t)SATP_MODE(c->satp) << 60 | (c->sstatus & SSTATUS_MXR ? BIT(44) : 0);
    if (hi)
        return (struct mmu_space){c->halves.current | controls, 0};
    return (struct mmu_space){SATP_PPN(c->satp) | controls, SATP_ASID(c->satp)};
}
