/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gicv2.c: GICv2 distributor and CPU interface of QEMU's virt. */
/* options: gic=2 smp=2 */
#include "gic_tests.h"

static unsigned running_priority(void) { return gicc(GICC_RPR); }
static void set_binary_point_8_1(void) { gicc_set(GICC_BPR, 6); }
static void set_eoi_mode(bool split) { gicc_set(GICC_CTLR, split ? 0x201 : 1); }
static void deactivate(uint32_t iar) { gicc_set(GICC_DIR, iar); }
static uint32_t highest_pending(void) { return gicc(GICC_HPPIR); }
static void set_interface(bool on) { gicc_set(GICC_CTLR, on); }

/* Before anything is written. */
static void test_reset(void) {
    CHECK_EQ(gicd(GICD_CTLR), 0);
    CHECK_EQ(gicd(GICD_TYPER), 0x28); /* 288 interrupts, 2 CPUs */
    CHECK_EQ(gicd(GICD_IIDR), 0x43b);
    CHECK_EQ(gicd(0x0c), 0);
    CHECK_EQ(gicd(GICD_ISENABLER), 0xffff); /* SGIs are always enabled */
    CHECK_EQ(gicd(GICD_ICENABLER), 0xffff);
    for (unsigned word = 1; word < 9; word++) {
        CHECK_EQ(gicd(GICD_ISENABLER + 4 * word), 0);
        CHECK_EQ(gicd(GICD_ISPENDR + 4 * word), 0);
        CHECK_EQ(gicd(GICD_ISACTIVER + 4 * word), 0);
        CHECK_EQ(gicd(GICD_ICFGR + 8 * word), 0);
    }
    for (unsigned id = 0; id < 288; id += 4) {
        CHECK_EQ(gicd(GICD_IPRIORITYR + id), 0);
        CHECK_EQ(gicd(GICD_ITARGETSR + id), id < 32 ? 0x01010101 : 0);
    }
    CHECK_EQ(gicd(GICD_PIDR2), 0x2b);
    CHECK_EQ(gicd(0xff0), 0x0d);
    CHECK_EQ(gicd(0xff4), 0xf0);
    CHECK_EQ(gicd(0xff8), 0x05);
    CHECK_EQ(gicd(0xffc), 0xb1);
    CHECK_EQ(gicc(GICC_CTLR), 0);
    CHECK_EQ(gicc(GICC_PMR), 0);
    CHECK_EQ(gicc(GICC_BPR), 0);
    CHECK_EQ(gicc(GICC_IAR), INTID_NONE);
    CHECK_EQ(gicc(GICC_RPR), 0xff);
    CHECK_EQ(gicc(GICC_HPPIR), INTID_NONE);
    CHECK_EQ(gicc(GICC_IIDR), 0x2043b);
}

static void test_targets(void) {
    setup();
    volatile uint8_t *bytes = (volatile uint8_t *)(GICD_BASE + GICD_ITARGETSR);
    for (unsigned id = 32; id < 288; id++)
        bytes[id] = (uint8_t)(id & 3);
    for (unsigned id = 32; id < 288; id++)
        CHECK_EQ(bytes[id], id & 3);
    gicd_set(GICD_ITARGETSR, 0x02020202); /* SGIs and PPIs: read-only, this CPU */
    CHECK_EQ(gicd(GICD_ITARGETSR), 0x01010101);
    /* an interrupt for another CPU, or none, is not ours */
    gic_enable(SPI_A);
    gic_set_pending(SPI_A, true);
    CHECK_EQ(gic_ack(), INTID_NONE);
    bytes[SPI_A] = 2;
    gic_set_pending(SPI_A, false);
    gic_set_pending(SPI_A, true);
    CHECK_EQ(gic_ack(), INTID_NONE);
    bytes[SPI_A] = 0;
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_set_pending(SPI_A, false);
    bytes[SPI_A] = 3;
    gic_set_pending(SPI_A, true);
    CHECK_EQ(gic_ack(), SPI_A);
    gic_eoi(SPI_A);
}

static void test_interface_registers(void) {
    setup();
    gicc_set(GICC_PMR, 0xff);
    CHECK_EQ(gicc(GICC_PMR), 0xff);
    gicc_set(GICC_PMR, 0x1f0);
    CHECK_EQ(gicc(GICC_PMR), 0xf0);
    for (unsigned i = 0; i < 8; i++) {
        gicc_set(GICC_BPR, i);
        CHECK_EQ(gicc(GICC_BPR), i);
    }
    gicc_set(GICC_BPR, 0);
    gicd_set(GICD_CTLR, 0);
    CHECK_EQ(gicd(GICD_CTLR), 0);
    gicd_set(GICD_CTLR, 1);
    CHECK_EQ(gicd(GICD_CTLR), 1);
    gicd_set(GICD_TYPER, ~0u);
    CHECK_EQ(gicd(GICD_TYPER), 0x28);
}

/* SGIs carry their sender; the pending bits are per sender. */
static void test_sgi_registers(void) {
    setup();
    gicd_set(GICD_SGIR, 2u << 24 | 5); /* to myself */
    CHECK_EQ(mmio_read32(GICD_BASE + GICD_SPENDSGIR + 4), 0x0100);
    CHECK_EQ(gic_ack(), 5);
    CHECK_EQ(mmio_read32(GICD_BASE + GICD_SPENDSGIR + 4), 0);
    gic_eoi(5);
    gicd_set(GICD_SGIR, 1u << 24 | 5); /* to all others */
    CHECK_EQ(gic_ack(), INTID_NONE);
    ((volatile uint8_t *)(GICD_BASE + GICD_SPENDSGIR))[6] = 2; /* as if from CPU 1 */
    CHECK_EQ(((volatile uint8_t *)(GICD_BASE + GICD_CPENDSGIR))[6], 2);
    uint32_t iar = gic_ack();
    CHECK_EQ(iar, 1 << 10 | 6);
    gic_eoi(iar);
    ((volatile uint8_t *)(GICD_BASE + GICD_SPENDSGIR))[6] = 3; /* from both: two interrupts */
    iar = gic_ack();
    CHECK_EQ(ID(iar), 6);
    CHECK_EQ(ID(highest_pending()), INTID_NONE);
    gic_eoi(iar);
    uint32_t second = gic_ack();
    CHECK_EQ(second ^ iar, 1 << 10);
    gic_eoi(second);
    CHECK_EQ(gic_ack(), INTID_NONE);
    ((volatile uint8_t *)(GICD_BASE + GICD_SPENDSGIR))[6] = 3;
    ((volatile uint8_t *)(GICD_BASE + GICD_CPENDSGIR))[6] = 3;
    CHECK_EQ(gic_ack(), INTID_NONE);
    gicd_set(GICD_ICENABLER, 0xffff); /* cannot be disabled */
    CHECK_EQ(gicd(GICD_ISENABLER) & 0xffff, 0xffff);
}

TESTS({"reset", test_reset}, COMMON_GIC_TESTS, {"targets", test_targets},
      {"interface registers", test_interface_registers}, {"sgi registers", test_sgi_registers});
