/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_walk.c: translation tables made by hand, walked in every regime; AT; the identity of address spaces. */
#include "world.h"

#include <stdlib.h>

#define TABLE(n) (WORLD_RAM + 0x1000 * (n))
#define VALID 3u
#define BLOCK 1u
#define AF BIT(10)
#define AP_EL0 BIT(6)
#define AP_RO BIT(7)
#define NG BIT(11)
#define PXN BIT(53)
#define UXN BIT(54)
#define ATTR(n) ((uint64_t)(n) << 2)
#define NORMAL ATTR(1)
#define PA 0x40200000ull

static void entry(unsigned table, unsigned index, uint64_t value) {
    ((uint64_t *)(world.ram + 0x1000 * table))[index] = value;
}

static struct walk walk(uint64_t va, enum mmu_access access, unsigned regime) {
    struct walk w;
    a64_walk(world_cpu(0), va, access, regime, &w);
    return w;
}

static uint32_t fault(uint64_t va, enum mmu_access access, unsigned regime) {
    struct walk w = walk(va, access, regime);
    return w.fault ? A64_WALK_FSC(w.fault) : 0xff;
}

/* 48-bit halves: tables 0-3 for the lower, 4-7 for the upper half. */
static void start(void) {
    world_start(1, 3, ABI_CPU_MAX);
    struct a64_sysregs *s = &world.cpu[0]->sys;
    s->tcr_el1 = 16 | 16 << 16 | 2ull << 30 | 5ull << 32 | BIT(36);
    s->mair_el1 = 0xff00; /* 0: Device-nGnRnE, 1: Normal */
    s->ttbr0_el1 = TABLE(0);
    s->ttbr1_el1 = TABLE(4);
    s->sctlr_el1 |= SCTLR_M;
    for (unsigned half = 0; half < 8; half += 4)
        for (unsigned level = 0; level < 3; level++)
            entry(half + level, half ? 511 : 0, TABLE(half + level + 1) | VALID);
}

static void test_levels(void) {
    start();
    entry(3, 5, PA | VALID | AF | NORMAL | NG);
    entry(2, 1, PA | BLOCK | AF | NORMAL);
    entry(1, 1, 0x40000000 | BLOCK | AF);
    struct walk w = walk(0x5678, MMU_READ, A64_EL1);
    CHECK_EQ(w.fault, 0);
    CHECK_EQ(w.pa.v, PA + 0x678);
    CHECK(w.page_shift == 12 && !w.global && !w.device && w.index == 5 && w.table == (uint64_t *)(world.ram + 0x3000));
    w = walk(0x212345, MMU_READ, A64_EL1);
    CHECK(w.fault == 0 && w.pa.v == PA + 0x12345 && w.page_shift == 21 && w.global && !w.table);
    w = walk(0x40000010, MMU_READ, A64_EL1);
    CHECK(w.fault == 0 && w.pa.v == 0x40000010 && w.page_shift == 30 && w.device);
    CHECK_EQ(fault(0x6000, MMU_READ, A64_EL1), FSC_TRANSLATION | 3);
    CHECK_EQ(fault(0x400000, MMU_READ, A64_EL1), FSC_TRANSLATION | 2);
    CHECK_EQ(fault(0x80000000, MMU_READ, A64_EL1), FSC_TRANSLATION | 1);
    CHECK_EQ(fault(BIT(40), MMU_READ, A64_EL1), FSC_TRANSLATION | 0);
    entry(0, 1, PA | BLOCK | AF); /* no blocks at level 0, none at level 3 */
    CHECK_EQ(fault(BIT(39), MMU_READ, A64_EL1), FSC_TRANSLATION | 0);
    entry(3, 6, PA | BLOCK | AF);
    CHECK_EQ(fault(0x6000, MMU_READ, A64_EL1), FSC_TRANSLATION | 3);
    entry(3, 6, PA | VALID);
    CHECK_EQ(fault(0x6000, MMU_READ, A64_EL1), FSC_ACCESS_FLAG | 3);
}

static void test_ranges(void) {
    start();
    struct a64_sysregs *s = &world.cpu[0]->sys;
    entry(3, 5, PA | VALID | AF);
    entry(7, 0, PA | VALID | AF);
    CHECK_EQ(fault(BIT(48) | 0x5000, MMU_READ, A64_EL1), FSC_TRANSLATION);
    CHECK_EQ(fault(BIT(60) | 0x5000, MMU_READ, A64_EL1), FSC_TRANSLATION);
    uint64_t high = 0xffffffffffe00000;
    CHECK_EQ(fault(high, MMU_READ, A64_EL1), 0xff);
    CHECK_EQ(fault(high & ~BIT(60), MMU_READ, A64_EL1), FSC_TRANSLATION);
    s->tcr_el1 |= BIT(37) | BIT(38); /* TBI */
    CHECK_EQ(fault(BIT(60) | 0x5000, MMU_READ, A64_EL1), 0xff);
    CHECK_EQ(fault(high & ~BIT(60), MMU_READ, A64_EL1), 0xff);
    s->tcr_el1 |= BIT(56); /* E0PD1 */
    CHECK_EQ(fault(high, MMU_READ, A64_EL0), FSC_TRANSLATION);
    CHECK_EQ(fault(high, MMU_READ, A64_EL1), 0xff);
    s->tcr_el1 |= BIT(7); /* EPD0 */
    CHECK_EQ(fault(0x5000, MMU_READ, A64_EL1), FSC_TRANSLATION);
    CHECK_EQ(fault(high, MMU_READ, A64_EL1), 0xff);
    /* 39 bits: starts at level 1; 25 bits: at level 2 with 16 entries in a table that is not page-aligned */
    s->tcr_el1 = 25 | 5ull << 32;
    s->ttbr0_el1 = TABLE(1);
    CHECK_EQ(fault(0x5000, MMU_READ, A64_EL1), 0xff);
    CHECK_EQ(fault(BIT(39), MMU_READ, A64_EL1), FSC_TRANSLATION);
    s->tcr_el1 = 39 | 5ull << 32;
    entry(8, 16, TABLE(3) | VALID);
    s->ttbr0_el1 = TABLE(8) + 128;
    CHECK_EQ(walk(0x5678, MMU_READ, A64_EL1).pa.v, PA + 0x678);
    CHECK_EQ(fault(BIT(25), MMU_READ, A64_EL1), FSC_TRANSLATION);
    /* output addresses: IPS 32 bits */
    s->tcr_el1 = 16;
    s->ttbr0_el1 = TABLE(0);
    entry(3, 6, BIT(36) | VALID | AF);
    CHECK_EQ(fault(0x6000, MMU_READ, A64_EL1), FSC_ADDRESS_SIZE | 3);
    entry(2, 3, BIT(36) | VALID);
    CHECK_EQ(fault(0x600000, MMU_READ, A64_EL1), FSC_ADDRESS_SIZE | 2);
    entry(2, 4, 0x10000000 | VALID); /* a table where no RAM is */
    CHECK_EQ(fault(0x800000, MMU_READ, A64_EL1), FSC_EXTERNAL_WALK | 3);
    s->ttbr0_el1 = BIT(36);
    CHECK_EQ(fault(0x5000, MMU_READ, A64_EL1), FSC_ADDRESS_SIZE);
    CHECK(walk(0x5000, MMU_READ, A64_EL1).fault != 0);
}

struct permission {
    uint64_t leaf, table;
    const char *el0, *el1, *pan; /* of r w x */
};

static void test_permissions(void) {
    static const struct permission rows[] = {
        {0, 0, "x", "rwx", "rwx"},
        {AP_EL0, 0, "rwx", "rw", ""},
        {AP_RO, 0, "x", "rx", "rx"},
        {AP_EL0 | AP_RO, 0, "rx", "rx", "x"},
        {AP_EL0 | UXN, 0, "rw", "rw", ""},
        {PXN | UXN, 0, "", "rw", "rw"},
        {AP_EL0 | AP_RO | PXN, 0, "rx", "r", ""},
        {AP_EL0, BIT(61), "x", "rwx", "rwx"},
        {AP_EL0, BIT(62), "rx", "rx", "x"},
        {AP_EL0 | AP_RO, BIT(60), "r", "rx", "x"},
        {0, BIT(59), "x", "rw", "rw"},
    };
    static const char letters[] = "rwx";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        start();
        entry(2, 0, TABLE(3) | VALID | rows[i].table);
        entry(3, 5, PA | VALID | AF | NORMAL | rows[i].leaf);
        const char *want[3] = {rows[i].el0, rows[i].el1, rows[i].pan};
        for (unsigned regime = 0; regime < 3; regime++) {
            for (unsigned access = MMU_READ; access <= MMU_FETCH; access++) {
                bool may = false;
                for (const char *p = want[regime]; *p; p++)
                    may |= *p == letters[access];
                uint32_t f = fault(0x5000, access, regime);
                if (f != (may ? 0xffu : FSC_PERMISSION | 3u)) {
                    fprintf(stderr, "row %zu regime %u access %u: %x\n", i, regime, access, f);
                    world.failures++;
                }
            }
        }
    }
    start(); /* WXN */
    world.cpu[0]->sys.sctlr_el1 |= SCTLR_WXN;
    entry(3, 5, PA | VALID | AF);
    CHECK_EQ(fault(0x5000, MMU_FETCH, A64_EL1), FSC_PERMISSION | 3);
    entry(3, 5, PA | VALID | AF | AP_RO);
    CHECK_EQ(fault(0x5000, MMU_FETCH, A64_EL1), 0xff);
}

static void test_off(void) {
    world_start(1, 3, ABI_CPU_MAX);
    CHECK_EQ(walk(WORLD_RAM + 0x123, MMU_READ, A64_EL1).pa.v, WORLD_RAM + 0x123);
    CHECK(!walk(WORLD_RAM, MMU_READ, A64_EL1).device);
    CHECK(walk(0x09000000, MMU_READ, A64_EL1).device);
    CHECK_EQ(fault(BIT(40), MMU_READ, A64_EL1), FSC_ADDRESS_SIZE);
    CHECK(a64_guest.mode(world_cpu(0)) & A64_MODE_ALIGN);
    CHECK(a64_space(world_cpu(0), false, A64_EL1).root == a64_space(world_cpu(0), true, A64_EL1).root);
}

static void test_at(void) {
    start();
    entry(3, 5, PA | VALID | AF | NORMAL | AP_RO | 3u << 8);
    a64_helper_sys(world_cpu(0), A64_SYSREG(1, 0, 7, 8, 0), 0x5678, 0);
    CHECK_EQ(world.cpu[0]->sys.par_el1, 0xff00000000000000ull | PA | BIT(11) | BIT(9) | 3u << 7);
    a64_helper_sys(world_cpu(0), A64_SYSREG(1, 0, 7, 8, 1), 0x5678, 0); /* write */
    CHECK_EQ(world.cpu[0]->sys.par_el1, BIT(11) | (FSC_PERMISSION | 3) << 1 | 1);
    a64_helper_sys(world_cpu(0), A64_SYSREG(1, 0, 7, 8, 2), 0x5678, 0); /* EL0 */
    CHECK_EQ(world.cpu[0]->sys.par_el1, BIT(11) | (FSC_PERMISSION | 3) << 1 | 1);
    /* DC CVAU of an unmapped address: a data abort with CM and WnR */
    CHECK(RAISES(a64_helper_sys(world_cpu(0), A64_SYSREG(1, 3, 7, 11, 1), 0x6008, 0)));
    CHECK_EQ(world.cpu[0]->sys.esr_el1, 0x25u << 26 | BIT(25) | BIT(8) | BIT(6) | FSC_TRANSLATION | 3);
    CHECK_EQ(world.cpu[0]->sys.far_el1, 0x6008);
    world.has_code = true;
    a64_helper_sys(world_cpu(0), A64_SYSREG(1, 3, 7, 5, 1), 0x5008, 0); /* IC IVAU */
    CHECK(world.code_writes == 1 && world.broadcasts == 1);
}

static void test_spaces(void) {
    start();
    struct cpu *cpu = world_cpu(0);
    a64_controls_changed(world.cpu[0]);
    struct mmu_space a = a64_space(cpu, false, A64_EL1), b;
    world_msr(0, A64_SYSREG(3, 0, 2, 0, 0), TABLE(0) | 7ull << 48 | 1);
    b = a64_space(cpu, false, A64_EL1);
    CHECK(b.root == a.root && a.asid == 0 && b.asid == 7);
    world_msr(0, A64_SYSREG(3, 0, 2, 0, 0), TABLE(1));
    CHECK(a64_space(cpu, false, A64_EL1).root != a.root);
    world_msr(0, A64_SYSREG(3, 0, 2, 0, 0), TABLE(0));
    CHECK(a64_space(cpu, false, A64_EL1).root == a.root);
    world_msr(0, A64_SYSREG(3, 0, 2, 0, 2), world.cpu[0]->sys.tcr_el1 | BIT(37));
    CHECK(a64_space(cpu, false, A64_EL1).root != a.root);
    world_msr(0, A64_SYSREG(3, 0, 2, 0, 2), world.cpu[0]->sys.tcr_el1 | BIT(22)); /* A1: the ASID is TTBR1's */
    world_msr(0, A64_SYSREG(3, 0, 2, 0, 1), TABLE(4) | 0x1234ull << 48);
    CHECK_EQ(a64_space(cpu, false, A64_EL1).asid, 0x1234);
    CHECK_EQ(a64_space(cpu, true, A64_EL1).asid, 0);
}

static uint64_t root_with(uint64_t tcr, uint64_t mair, bool wxn) {
    struct a64_sysregs *s = &world.cpu[0]->sys;
    s->tcr_el1 = tcr;
    s->mair_el1 = mair;
    s->sctlr_el1 = wxn ? s->sctlr_el1 | SCTLR_WXN : s->sctlr_el1 & ~SCTLR_WXN;
    a64_controls_changed(world.cpu[0]);
    return a64_space(world_cpu(0), false, A64_EL1).root;
}

static int compare_roots(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* No two sets of controls that translate differently are one address space. */
static void test_controls(void) {
    enum { SIZES = 24, DEVICES = 256, FLAGS = 64, COUNT = SIZES * DEVICES * FLAGS };
    uint64_t *root = malloc(COUNT * sizeof(*root));
    unsigned n = 0, same = 0;
    start();
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned size = i % SIZES, device = i / SIZES % DEVICES, flags = i / SIZES / DEVICES;
        uint64_t tcr = (size + 16) | (flags & 1) << 7 | (uint64_t)(flags >> 1 & 1) << 37 | BIT(36), mair = 0;
        tcr |= (uint64_t)(flags >> 2 & 1) << 55 | (uint64_t)(flags >> 4) << 32;
        for (unsigned k = 0; k < 8; k++)
            mair |= (uint64_t)(device >> k & 1 ? 4 : 0x44) << 8 * k;
        root[n++] = root_with(tcr, mair, flags >> 3 & 1);
    }
    qsort(root, n, sizeof(*root), compare_roots);
    for (unsigned i = 1; i < n; i++)
        same += root[i] == root[i - 1];
    CHECK_EQ(same, 0);
    free(root);
    /* Other kinds of Normal and of Device memory translate alike, and so do sizes out of range. */
    CHECK_EQ(root_with(16, 0xff04, false), root_with(16, 0x4400, false));
    CHECK_EQ(root_with(16, 0xff, false), root_with(0, 0xff, false));
    /* A table of two entries is 16 bytes long; the bits of TTBR below that do not count. */
    uint64_t table = root_with(33, 0xff, false);
    world.cpu[0]->sys.ttbr0_el1 = TABLE(0) | 0xe;
    CHECK_EQ(a64_space(world_cpu(0), false, A64_EL1).root, table);
    world.cpu[0]->sys.ttbr0_el1 = TABLE(0) | 0x10;
    CHECK(a64_space(world_cpu(0), false, A64_EL1).root != table);
}

static void test_tlbi(void) {
    start();
    a64_helper_sys(world_cpu(0), A64_SYSREG(1, 0, 8, 7, 1), 0x1234ull << 48 | 0x80000000123, 0);
    CHECK(world.inval.kind == MMU_INVAL_VA_ASID && world.broadcasts == 0);
    CHECK_EQ(world.inval.va, 0xff80000000123000);
    CHECK_EQ(world.inval.asid, 0x1234);
    CHECK(world_cpu(0)->tlbi_pending);
    a64_helper_sys(world_cpu(0), A64_SYSREG(1, 0, 8, 3, 0), 0, 0);
    CHECK(world.inval.kind == MMU_INVAL_ALL && world.broadcasts == 1);
    a64_helper_barrier(world_cpu(0), 0, 0, 0);
    CHECK(!world_cpu(0)->tlbi_pending);
    CHECK(RAISES(a64_helper_sys(world_cpu(0), A64_SYSREG(1, 4, 8, 3, 0), 0, 0))); /* EL2's */
}

void test_walk(void) {
    test_levels();
    test_ranges();
    test_permissions();
    test_off();
    test_at();
    test_spaces();
    test_controls();
    test_tlbi();
}
