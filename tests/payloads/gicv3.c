/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gicv3.c: GICv3 distributor, redistributors and system register interface of QEMU's virt (one security state). */
/* options: gic=3 smp=2 */
#include "gic_tests.h"

static unsigned running_priority(void) { return (unsigned)read_sysreg(icc_rpr_el1); }
static void set_binary_point_8_1(void) {
    write_sysreg(icc_bpr1_el1, 7);
    isb();
}
static void set_eoi_mode(bool split) {
    write_sysreg(icc_ctlr_el1, split ? 2 : 0);
    isb();
}
static void deactivate(uint32_t iar) {
    write_sysreg(icc_dir_el1, iar);
    isb();
}
static uint32_t highest_pending(void) { return (uint32_t)read_sysreg(icc_hppir1_el1); }
static void set_interface(bool on) {
    write_sysreg(icc_igrpen1_el1, on);
    isb();
}

static void test_reset(void) {
    CHECK_EQ(gicd(GICD_CTLR), 0x50); /* DS, ARE */
    /* 288 interrupts, Aff3 routing, no 1-of-N, one security state */
    CHECK_EQ(gicd(GICD_TYPER) & 0x0300041f, 0x03000008);
    CHECK_EQ(gicd(GICD_IIDR), 0x43b);
    CHECK_EQ(gicd(GICD_PIDR2_V3), 0x3b);
    CHECK_EQ(gicd(0xfff0), 0x0d);
    CHECK_EQ(gicd(0xfffc), 0xb1);
    for (unsigned word = 0; word < 9; word++) {
        CHECK_EQ(gicd(GICD_IGROUPR + 4 * word), 0);
        CHECK_EQ(gicd(GICD_ISENABLER + 4 * word), 0);
        CHECK_EQ(gicd(GICD_ISPENDR + 4 * word), 0);
        CHECK_EQ(gicd(GICD_ISACTIVER + 4 * word), 0);
        CHECK_EQ(gicd(GICD_ICFGR + 8 * word), 0);
    }
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        uint64_t r = GICR_BASE + GICR_STRIDE * cpu;
        CHECK_EQ(mmio_read32(r + GICR_IIDR), 0x43b);
        CHECK_EQ(mmio_read32(r + GICR_TYPER) & 0x00ffff10, cpu << 8 | (cpu ? 0x10 : 0)); /* processor number, Last */
        CHECK_EQ(mmio_read32(r + GICR_TYPER + 4), cpu);                                  /* affinity */
        CHECK_EQ(*(volatile uint64_t *)(r + GICR_TYPER) >> 32, cpu);
        CHECK_EQ(mmio_read32(r + GICR_WAKER), 6);
        CHECK_EQ(mmio_read32(r + 0xffe8), 0x3b);
        CHECK_EQ(mmio_read32(r + GICR_SGI + GICD_IGROUPR), 0);
        CHECK_EQ(mmio_read32(r + GICR_SGI + GICD_ISENABLER), 0);
        CHECK_EQ(mmio_read32(r + GICR_SGI + GICD_ICFGR), 0xaaaaaaaa);
    }
    CHECK_EQ(read_sysreg(icc_sre_el1), 7);
    CHECK_EQ(read_sysreg(icc_ctlr_el1) & 3, 0);
    CHECK_EQ(read_sysreg(icc_ctlr_el1) >> 8 & 7, 4); /* 5 priority bits */
    CHECK_EQ(read_sysreg(icc_pmr_el1), 0);
    CHECK_EQ(read_sysreg(icc_bpr0_el1), 2);
    CHECK_EQ(read_sysreg(icc_bpr1_el1), 3);
    CHECK_EQ(read_sysreg(icc_igrpen0_el1), 0);
    CHECK_EQ(read_sysreg(icc_igrpen1_el1), 0);
    CHECK_EQ(read_sysreg(icc_rpr_el1), 0xff);
    CHECK_EQ(read_sysreg(icc_ap0r0_el1), 0);
    CHECK_EQ(read_sysreg(icc_ap1r0_el1), 0);
}

static void test_waker(void) {
    uint64_t waker = GICR_BASE + GICR_WAKER;
    mmio_write32(waker, 0);
    CHECK_EQ(mmio_read32(waker), 0);
    mmio_write32(waker, 2);
    CHECK_EQ(mmio_read32(waker), 6);
    mmio_write32(waker, 0);
    CHECK_EQ(mmio_read32(waker), 0);
}

static void test_interface_registers(void) {
    setup();
    write_sysreg(icc_pmr_el1, 0xff);
    CHECK_EQ(read_sysreg(icc_pmr_el1), 0xf8);
    static const uint8_t bpr0[] = {2, 2, 2, 3, 4, 5, 6, 7}, bpr1[] = {3, 3, 3, 3, 4, 5, 6, 7};
    for (unsigned i = 0; i < 8; i++) {
        write_sysreg(icc_bpr0_el1, i);
        write_sysreg(icc_bpr1_el1, i);
        CHECK_EQ(read_sysreg(icc_bpr0_el1), bpr0[i]);
        CHECK_EQ(read_sysreg(icc_bpr1_el1), bpr1[i]);
        write_sysreg(icc_ctlr_el1, 1); /* CBPR: group 1 uses BPR0 */
        CHECK_EQ(read_sysreg(icc_bpr1_el1), bpr0[i] < 7 ? bpr0[i] + 1 : 7);
        write_sysreg(icc_ctlr_el1, 0);
    }
    write_sysreg(icc_sre_el1, 0);
    CHECK_EQ(read_sysreg(icc_sre_el1), 7);
    write_sysreg(icc_igrpen1_el1, ~0ul);
    CHECK_EQ(read_sysreg(icc_igrpen1_el1), 1);
    write_sysreg(icc_ctlr_el1, ~0ul);
    CHECK_EQ(read_sysreg(icc_ctlr_el1) & 3, 3);
    gicd_set(GICD_CTLR, 0);
    CHECK_EQ(gicd(GICD_CTLR), 0x50);
    gicd_set(GICD_CTLR, ~0u);
    CHECK_EQ(gicd(GICD_CTLR), 0x53);
    gicd_set(GICD_TYPER, 0);
    CHECK_EQ(gicd(GICD_TYPER) & 31, 8);
}

static void test_routing(void) {
    setup();
    for (unsigned id = 32; id < 288; id++) {
        volatile uint64_t *r = (volatile uint64_t *)(GICD_BASE + GICD_IROUTER + 8 * id);
        *r = id & 1;
        CHECK_EQ(*r, id & 1);
        CHECK_EQ(mmio_read32((uint64_t)r), id & 1);
        *r = 0;
    }
    gic_enable(SPI_A);
    gic_route(SPI_A, 1);
    gic_set_pending(SPI_A, true);
    CHECK_EQ(gic_ack(), INTID_NONE); /* goes to the other CPU */
    gic_route(SPI_A, 0);
    CHECK_EQ(gic_ack(), SPI_A);
    gic_eoi(SPI_A);
    /* the legacy registers are not there with affinity routing */
    gicd_set(GICD_ITARGETSR + 40, ~0u);
    CHECK_EQ(gicd(GICD_ITARGETSR + 40), 0);
    CHECK_EQ(gicd(GICD_ISENABLER), 0);
    gicd_set(GICD_ISENABLER, ~0u);
    CHECK_EQ(gicd(GICD_ISENABLER), 0);
}

/* Group 0 goes out as FIQ, through the ICC_*0 registers. */
static void test_group0(void) {
    setup();
    write_sysreg(icc_igrpen0_el1, 1);
    isb();
    mmio_write32(gic_reg(SPI_A, GICD_IGROUPR, 1), mmio_read32(gic_reg(SPI_A, GICD_IGROUPR, 1)) & ~(1u << (SPI_A & 31)));
    gic_enable(SPI_A);
    gic_set_pending(SPI_A, true);
    CHECK_EQ(read_sysreg(isr_el1), 0x40);
    CHECK_EQ(gic_ack(), INTID_NONE);
    CHECK_EQ(highest_pending(), INTID_NONE);
    CHECK_EQ(read_sysreg(icc_hppir0_el1), SPI_A);
    run_code(&gc, PSTATE_EL1H & ~0x40u, idle_loop, 1, 2, 3, 4);
    CHECK_EQ(gc.vector, VEC_FIQ);
    CHECK_EQ(read_sysreg(icc_iar0_el1), SPI_A);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    write_sysreg(icc_eoir0_el1, SPI_A);
    isb();
    CHECK(!gic_is_active(SPI_A));
    write_sysreg(icc_igrpen0_el1, 0);
    isb();
}

static void test_sgi_targets(void) {
    setup();
    mmio_write32(GICR_BASE + GICR_STRIDE + GICR_SGI + GICD_IGROUPR, ~0u);
    gic_enable(4);
    write_sysreg(icc_sgi1r_el1, 4ul << 24); /* to nobody */
    isb();
    CHECK_EQ(gic_ack(), INTID_NONE);
    write_sysreg(icc_sgi1r_el1, 4ul << 24 | 1ul << 40); /* to all others */
    isb();
    CHECK_EQ(gic_ack(), INTID_NONE);
    write_sysreg(icc_sgi1r_el1, 4ul << 24 | 1 | 1ul << 16); /* Aff1 = 1: no such CPU */
    isb();
    CHECK_EQ(gic_ack(), INTID_NONE);
    write_sysreg(icc_sgi1r_el1, 4ul << 24 | 3);
    isb();
    CHECK_EQ(gic_ack(), 4);
    gic_eoi(4);
    /* it waits in CPU 1's redistributor */
    CHECK_EQ(mmio_read32(GICR_BASE + GICR_STRIDE + GICR_SGI + GICD_ISPENDR), 1u << 4);
}

TESTS({"reset", test_reset}, {"waker", test_waker}, COMMON_GIC_TESTS, {"interface registers", test_interface_registers},
      {"routing", test_routing}, {"group 0", test_group0}, {"sgi targets", test_sgi_targets});
