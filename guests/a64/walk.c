/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * walk.c: stage 1 translation of the EL1&0 regime (Arm ARM D5, VMSAv8-64),
 * 4 KiB granule. A TG0 or TG1 that asks for another granule is treated as 4 KiB,
 * as D13 (TCR_EL1) permits for a granule that ID_AA64MMFR0_EL1 says is not there.
 */
#include "system.h"

/* TCR_EL1, by half of the address space */
#define TCR_TSZ(tcr, hi) ((unsigned)((tcr) >> ((hi) ? 16 : 0)) & 63)
#define TCR_EPD(tcr, hi) ((tcr) >> ((hi) ? 23 : 7) & 1)
#define TCR_TBI(tcr, hi) ((tcr) >> ((hi) ? 38 : 37) & 1)
#define TCR_E0PD(tcr, hi) ((tcr) >> ((hi) ? 56 : 55) & 1)
#define TCR_IPS(tcr) ((unsigned)((tcr) >> 32) & 7)
#define TCR_A1 BIT(22)
#define TCR_AS BIT(36)

#define DESC_VALID 1u
#define DESC_TABLE 2u
#define DESC_AF BIT(10)
#define DESC_NG BIT(11)
#define DESC_PXN BIT(53)
#define DESC_UXN BIT(54)
#define DESC_ADDR (MASK(48) & ~PAGE_MASK)
#define DESC_PXN_TABLE BIT(59)
#define DESC_UXN_TABLE BIT(60)
#define DESC_AP_TABLE_NO_EL0 BIT(61)
#define DESC_AP_TABLE_NO_WRITE BIT(62)

static const uint8_t pa_bits[8] = {32, 36, 40, 42, 44, 48, 48, 48};

/* Output address size of this PE, and of this translation: the smaller of TCR_EL1.IPS and what the PE implements. */
static unsigned implemented_bits(const struct a64_cpu *c) { return pa_bits[c->sys.id_mmfr0 & 7]; }

static unsigned output_bits(const struct a64_cpu *c) {
    unsigned ips = pa_bits[TCR_IPS(c->sys.tcr_el1)], most = implemented_bits(c);
    return ips < most ? ips : most;
}

/* Size of the input address: T0SZ and T1SZ outside of 16 .. 39 behave as the nearest value in range. */
static unsigned input_bits(uint64_t tcr, bool hi) {
    unsigned tsz = TCR_TSZ(tcr, hi);
    return 64 - (tsz < 16 ? 16 : tsz > 39 ? 39 : tsz);
}

/* The level of the first table, and the bits of TTBR that say where it is: it starts at a multiple of its size. */
static unsigned first_level(unsigned bits) { return 4 - (bits - 4) / 9; }
static unsigned first_width(unsigned bits) { return bits - (12 + 9 * (3 - first_level(bits))); }
static uint64_t table_mask(unsigned bits) { return MASK(48) & ~MASK(first_width(bits) + 3); }

/* Are the bits of va above the input address all equal to bit 55 (up to the tag, where TBI ignores it)? */
static bool va_in_range(uint64_t va, unsigned bits, bool tbi) {
    unsigned top = tbi ? 56 : 64;
    uint64_t mask = MASK(top) & ~MASK(bits);
    return (va & mask) == (va >> 55 & 1 ? mask : 0);
}

static void walk_fault(struct walk *w, enum a64_fsc fsc, unsigned level) {
    w->fault = A64_WALK_FAULT | fsc | level;
    w->level = (uint8_t)level;
}

static bool access_allowed(const struct walk *w, enum mmu_access access) {
    return access == MMU_READ ? w->read : access == MMU_WRITE ? w->write : w->exec;
}

/* Is an attribute of MAIR_EL1 a kind of Device memory? */
static bool is_device(uint8_t mair) { return (mair & 0xf0) == 0; }

/* SCTLR_EL1.M = 0: flat. Data accesses are Device-nGnRnE; what that means for them is the alignment check, which the
 * mode key asks of every access while the MMU is off, so RAM needs no slow path on top of it. */
static void walk_off(struct cpu *cpu, uint64_t va, enum mmu_access access, struct walk *w, struct a64_attrs *attrs) {
    const struct a64_cpu *c = a64(cpu);
    uint64_t pa = a64_branch_addr(c, va); /* without the tag */
    w->pa = GPA(pa & MASK(48));
    w->page_shift = 30;
    w->read = w->write = w->exec = true;
    w->global = true;
    w->device = access != MMU_FETCH && !ram_ptr(cpu, w->pa, 1);
    attrs->mair = 0;
    attrs->shareability = 2;
    if (pa >> implemented_bits(c))
        walk_fault(w, FSC_ADDRESS_SIZE, 0);
}

/* Permissions of a leaf descriptor in a regime; table: the attributes that the tables above it impose. */
static void leaf_permissions(const struct a64_cpu *c, uint64_t desc, uint64_t table, unsigned regime, struct walk *w) {
    bool el0 = desc >> 6 & 1, writable = !(desc >> 7 & 1);
    bool wxn = c->sys.sctlr_el1 & SCTLR_WXN;
    if (table & DESC_AP_TABLE_NO_EL0)
        el0 = false;
    if (table & DESC_AP_TABLE_NO_WRITE)
        writable = false;
    if (regime == A64_EL0) {
        w->read = el0;
        w->write = el0 && writable;
        w->exec = !(desc & DESC_UXN) && !(table & DESC_UXN_TABLE) && !(wxn && w->write);
        return;
    }
    bool pan = regime == A64_EL1_PAN && el0;
    w->read = !pan;
    w->write = writable && !pan;
    /* What EL0 can write, EL1 never executes. */
    w->exec = !(desc & DESC_PXN) && !(table & DESC_PXN_TABLE) && !(el0 && writable) && !(wxn && writable);
}

static void walk_leaf(const struct a64_cpu *c, uint64_t va, enum mmu_access access, unsigned regime, uint64_t desc,
                      uint64_t tables, unsigned level, struct walk *w, struct a64_attrs *attrs) {
    unsigned shift = 12 + 9 * (3 - level);
    uint64_t base = desc & DESC_ADDR & ~MASK(shift);
    if (base >> output_bits(c)) {
        walk_fault(w, FSC_ADDRESS_SIZE, level);
        return;
    }
    w->pa = GPA(base | (va & MASK(shift)));
    w->page_shift = (uint8_t)shift;
    w->level = (uint8_t)level;
    attrs->mair = (uint8_t)(c->sys.mair_el1 >> 8 * (desc >> 2 & 7));
    attrs->shareability = desc >> 8 & 3;
    w->device = is_device(attrs->mair);
    w->global = !(desc & DESC_NG);
    leaf_permissions(c, desc, tables, regime, w);
    if (!(desc & DESC_AF))
        walk_fault(w, FSC_ACCESS_FLAG, level);
    else if (!access_allowed(w, access))
        walk_fault(w, FSC_PERMISSION, level);
}

void a64_walk_attrs(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w,
                    struct a64_attrs *attrs) {
    const struct a64_cpu *c = a64(cpu);
    *w = (struct walk){0};
    *attrs = (struct a64_attrs){0};
    if (!(c->sys.sctlr_el1 & SCTLR_M)) {
        walk_off(cpu, va, access, w, attrs);
        return;
    }
    bool hi = va >> 55 & 1;
    uint64_t tcr = c->sys.tcr_el1;
    unsigned bits = input_bits(tcr, hi), level = first_level(bits);
    bool denied = TCR_EPD(tcr, hi) || (regime == A64_EL0 && TCR_E0PD(tcr, hi));
    if (denied || !va_in_range(va, bits, TCR_TBI(tcr, hi))) {
        walk_fault(w, FSC_TRANSLATION, 0);
        return;
    }
    uint64_t table = (hi ? c->sys.ttbr1_el1 : c->sys.ttbr0_el1) & table_mask(bits);
    uint64_t tables = 0;
    if (table >> output_bits(c)) {
        walk_fault(w, FSC_ADDRESS_SIZE, 0);
        return;
    }
    for (unsigned width = first_width(bits);; width = 9, level++) {
        unsigned index = (unsigned)a64_bits(va, 12 + 9 * (3 - level), width);
        const uint64_t *entries = ram_ptr(cpu, GPA(table), UINT64_C(8) << width);
        if (!entries) {
            walk_fault(w, FSC_EXTERNAL_WALK, level);
            return;
        }
        /* Another vCPU may be writing the entry: read it once, whole. */
        uint64_t desc = __atomic_load_n(&entries[index], __ATOMIC_ACQUIRE);
        bool page = level == 3;
        if (!(desc & DESC_VALID) || (page && !(desc & DESC_TABLE)) || (level == 0 && !(desc & DESC_TABLE))) {
            walk_fault(w, FSC_TRANSLATION, level);
            return;
        }
        if (page || !(desc & DESC_TABLE)) {
            if (page) {
                w->table = entries;
                w->index = (uint16_t)index;
                w->entry = desc;
            }
            walk_leaf(c, va, access, regime, desc, tables, level, w, attrs);
            return;
        }
        tables |= desc & (DESC_PXN_TABLE | DESC_UXN_TABLE | DESC_AP_TABLE_NO_EL0 | DESC_AP_TABLE_NO_WRITE);
        table = desc & DESC_ADDR;
        if (table >> output_bits(c)) {
            walk_fault(w, FSC_ADDRESS_SIZE, level);
            return;
        }
    }
}

void a64_walk(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w) {
    struct a64_attrs attrs;
    a64_walk_attrs(cpu, va, access, regime, w, &attrs);
}

/* --- the identity of an address space --------------------------------------------------------- */

/* space.root holds all that a translation depends on, beside the ASID: bits 47..4 say where the first table is (the
 * smallest has two entries), the others hold the controls. Of MAIR_EL1 that is which of its eight attributes are Device
 * memory. */
#define ROOT_WXN(x) ((uint64_t)(x) << 0)
#define ROOT_EPD(x) ((uint64_t)(x) << 1)
#define ROOT_E0PD(x) ((uint64_t)(x) << 2)
#define ROOT_TBI(x) ((uint64_t)(x) << 3)
#define ROOT_BITS(x) ((uint64_t)(x) << 48)   /* 5 bits: input address bits - 25 */
#define ROOT_IPS(x) ((uint64_t)(x) << 53)    /* 3 bits */
#define ROOT_DEVICE(x) ((uint64_t)(x) << 56) /* 8 bits */
#define ROOT_MMU_OFF ROOT_BITS(31)           /* no input address is that large; but for TBI, nothing else matters */

static struct a64_space_key space_key(const struct a64_cpu *c, bool hi) {
    uint64_t tcr = c->sys.tcr_el1;
    unsigned bits = input_bits(tcr, hi), device = 0;
    for (unsigned i = 0; i < 8; i++)
        device |= (unsigned)is_device((uint8_t)(c->sys.mair_el1 >> 8 * i)) << i;
    return (struct a64_space_key){
        .controls = ROOT_WXN((c->sys.sctlr_el1 & SCTLR_WXN) != 0) | ROOT_EPD(TCR_EPD(tcr, hi)) |
                    ROOT_E0PD(TCR_E0PD(tcr, hi)) | ROOT_TBI(TCR_TBI(tcr, hi)) | ROOT_BITS(bits - 25) |
                    ROOT_IPS(TCR_IPS(tcr)) | ROOT_DEVICE(device),
        .table = table_mask(bits),
    };
}

void a64_controls_changed(struct a64_cpu *c) {
    c->space[false] = space_key(c, false);
    c->space[true] = space_key(c, true);
}

struct mmu_space a64_space(struct cpu *cpu, bool hi, unsigned regime) {
    const struct a64_cpu *c = a64(cpu);
    if (!(c->sys.sctlr_el1 & SCTLR_M))
        return (struct mmu_space){ROOT_MMU_OFF | ROOT_TBI(TCR_TBI(c->sys.tcr_el1, hi)), 0};
    uint64_t ttbr = hi ? c->sys.ttbr1_el1 : c->sys.ttbr0_el1;
    uint64_t root = (ttbr & c->space[hi].table) | c->space[hi].controls;
    if (hi)
        return (struct mmu_space){root, 0};
    uint64_t asid = (c->sys.tcr_el1 & TCR_A1 ? c->sys.ttbr1_el1 : ttbr) >> 48;
    return (struct mmu_space){root, (uint32_t)(c->sys.tcr_el1 & TCR_AS ? asid : asid & 0xff)};
}
