/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_gic.c: scenarios on both versions: level and edge, priorities and preemption, SGIs, targets, end of interrupt
 * modes. */
#include "world.h"

#define DIST UINT64_C(0x08000000)
#define CPUIF UINT64_C(0x08010000)
#define REDIST UINT64_C(0x080a0000)
#define ICC(crn, crm, op2) A64_SYSREG(3, 0, crn, crm, op2)
#define PMR ICC(4, 6, 0)
#define IAR1 ICC(12, 12, 0)
#define EOIR1 ICC(12, 12, 1)
#define RPR ICC(12, 11, 3)

static bool irq(unsigned i) {
    a64_gic_update(world_cpu(i));
    return world.cpu[i]->irq;
}

static void raise_spi(unsigned id, bool level) {
    uint32_t bit = 1u << (id % 32);
    if (level) {
        world.shared.spi_level[id / 32 - 1] |= bit;
        world.shared.spi_rose[id / 32 - 1] |= bit;
    } else {
        world.shared.spi_level[id / 32 - 1] &= ~bit;
    }
}

/* --- GICv2 ------------------------------------------------------------------------------------ */

static void start_v2(void) {
    world_start(2, 2, ABI_CPU_MAX);
    for (unsigned i = 0; i < 2; i++) {
        world.cpu[i]->power.state = ENGINE_POWER_ON;
        world_io_write(i, CPUIF + 4, 4, 0xf0);
        world_io_write(i, CPUIF, 4, 1);
    }
    world_io_write(0, DIST, 4, 1);
    world.kicked = 0;
}

static uint64_t iar(unsigned i) { return world_io_read(i, CPUIF + 0xc, 4); }
static void eoir(unsigned i, uint64_t id) { world_io_write(i, CPUIF + 0x10, 4, id); }
static void enable(unsigned id, uint8_t priority, uint8_t targets) {
    world_io_write(0, DIST + 0x400 + id, 1, priority);
    world_io_write(0, DIST + 0x800 + id, 1, targets);
    world_io_write(0, DIST + 0x100 + id / 32 * 4, 4, BIT(id % 32));
}

static void test_v2_basics(void) {
    start_v2();
    CHECK_EQ(world_io_read(0, DIST + 4, 4), 1 << 5 | 8);
    CHECK_EQ(world_io_read(1, DIST + 0x800, 4), 0x02020202);
    CHECK_EQ(world_io_read(0, DIST + 0x100, 4), 0xffff);
    CHECK_EQ(iar(0), 1023);
    raise_spi(33, true);
    CHECK(!irq(0));
    enable(33, 0xa0, 1);
    CHECK(irq(0) && !irq(1));
    CHECK_EQ(world_io_read(0, DIST + 0x204, 4), 2); /* pending */
    CHECK_EQ(iar(0), 33);
    CHECK(!irq(0));
    CHECK_EQ(world_io_read(0, CPUIF + 0x14, 4), 0xa0); /* running priority */
    CHECK_EQ(world_io_read(0, DIST + 0x304, 4), 2);    /* active */
    eoir(0, 33);
    CHECK(irq(0)); /* the level is still high */
    CHECK_EQ(iar(0), 33);
    raise_spi(33, false);
    eoir(0, 33);
    CHECK(!irq(0));
    CHECK_EQ(world_io_read(0, CPUIF + 0x14, 4), 0xff);
    /* edge: latched once, whatever the level does after */
    world_io_write(0, DIST + 0xc08, 4, 2 << 2);
    raise_spi(33, true);
    CHECK(irq(0));
    CHECK_EQ(iar(0), 33);
    eoir(0, 33);
    CHECK(!irq(0));
    /* virtio slot 0: SPI 16 */
    enable(48, 0xa0, 1);
    world.shared.virtio_isr[0] = 1;
    CHECK(irq(0));
    CHECK_EQ(iar(0), 48);
    world.shared.virtio_isr[0] = 0;
    eoir(0, 48);
    CHECK(!irq(0));
}

/* An edge that is over before anyone looks: pending once if the interrupt is edge-triggered, nothing if it is not. */
static void test_short_edges(void) {
    start_v2();
    enable(33, 0xa0, 1);
    enable(34, 0xa0, 1);
    world_io_write(0, DIST + 0xc08, 4, 2 << 2); /* 33 is edge-triggered */
    for (unsigned id = 33; id < 35; id++) {
        raise_spi(id, true);
        raise_spi(id, false);
    }
    CHECK(irq(0));
    CHECK_EQ(world_io_read(0, DIST + 0x204, 4), 2);
    CHECK_EQ(iar(0), 33);
    CHECK_EQ(iar(0), 1023);
    /* one that comes while it is active waits for its end */
    raise_spi(33, true);
    raise_spi(33, false);
    CHECK(!irq(0));
    eoir(0, 33);
    CHECK_EQ(iar(0), 33);
    eoir(0, 33);
    CHECK(!irq(0));
    /* a fall and a rise between two looks: the level has not changed */
    raise_spi(33, true);
    CHECK_EQ(iar(0), 33);
    eoir(0, 33);
    raise_spi(33, false);
    raise_spi(33, true);
    CHECK_EQ(iar(0), 33);
    eoir(0, 33);
    CHECK_EQ(iar(0), 1023);
    /* for another PE */
    enable(35, 0xa0, 2);
    world_io_write(0, DIST + 0xc08, 4, 2 << 2 | 2 << 6);
    world.kicked = 0;
    raise_spi(35, true);
    raise_spi(35, false);
    CHECK(!irq(0) && world.kicked & 2 && irq(1));
    CHECK_EQ(iar(1), 35);
    /* virtio slot 0, acknowledged by a driver that polls; then one that is not */
    enable(48, 0xa0, 1);
    world_io_write(0, DIST + 0xc0c, 4, 2);
    world.shared.spi_rose[0] |= BIT(16);
    CHECK_EQ(iar(0), 48);
    eoir(0, 48);
    world.shared.virtio_isr[0] = 1;
    world.shared.spi_rose[0] |= BIT(16);
    CHECK_EQ(iar(0), 48);
    eoir(0, 48);
    CHECK_EQ(iar(0), 1023);
}

static void test_v2_priorities(void) {
    start_v2();
    enable(40, 0x80, 1);
    enable(41, 0x40, 1);
    enable(42, 0xf0, 1); /* not below the mask */
    raise_spi(42, true);
    CHECK(!irq(0));
    raise_spi(40, true);
    CHECK_EQ(iar(0), 40);
    raise_spi(41, true);
    CHECK(irq(0)); /* preempts */
    CHECK_EQ(world_io_read(0, CPUIF + 0x18, 4), 41);
    CHECK_EQ(iar(0), 41);
    CHECK_EQ(world_io_read(0, CPUIF + 0x14, 4), 0x40);
    raise_spi(41, false);
    raise_spi(40, false);
    eoir(0, 41);
    CHECK_EQ(world_io_read(0, CPUIF + 0x14, 4), 0x80);
    eoir(0, 40);
    world_io_write(0, CPUIF + 8, 4, 7); /* BPR 7: no preemption at all */
    raise_spi(40, true);
    CHECK_EQ(iar(0), 40);
    raise_spi(40, false);
    raise_spi(41, true);
    CHECK(!irq(0));
    eoir(0, 40);
    CHECK(irq(0));
    /* EOImode 1: priority drop, then deactivate */
    world_io_write(0, CPUIF, 4, 1 | 1 << 9);
    CHECK_EQ(iar(0), 41);
    eoir(0, 41);
    CHECK_EQ(world_io_read(0, CPUIF + 0x14, 4), 0xff);
    CHECK(!irq(0));
    world_io_write(0, CPUIF + 0x1000, 4, 41);
    CHECK(irq(0));
}

static void test_v2_sgis(void) {
    start_v2();
    world_io_write(0, DIST + 0xf00, 4, 2 << 16 | 5); /* from 0 to 1 */
    CHECK_EQ(world.kicked, 2);
    world_io_write(1, DIST + 0xf00, 4, 2 << 24 | 5); /* from 1 to itself */
    CHECK(irq(1) && !irq(0));
    CHECK_EQ(world_io_read(1, DIST + 0xf15, 1), 3);
    CHECK_EQ(iar(1), 5);
    CHECK(!irq(1)); /* active: the other source waits */
    eoir(1, 5);
    CHECK_EQ(iar(1), 5 | 1 << 10);
    eoir(1, 5 | 1 << 10);
    CHECK_EQ(iar(1), 1023);
    world_io_write(1, DIST + 0xf00, 4, 1 << 24 | 7); /* all others */
    CHECK(irq(0) && !irq(1));
}

static void test_v2_targets(void) {
    start_v2();
    enable(50, 0xa0, 2);
    CHECK_EQ(world.shared.spi_target[18], 1);
    raise_spi(50, true);
    CHECK(!irq(0));
    CHECK(world.kicked & 2);
    CHECK(irq(1));
    world_io_write(0, DIST + 0x800 + 50, 1, 1);
    CHECK_EQ(world.shared.spi_target[18], 0);
    CHECK(irq(0) && !irq(1));
    /* group 1 with AckCtl = 0 reads as 1022; AIAR acknowledges it */
    world_io_write(0, DIST + 0x84, 4, BIT(18));
    world_io_write(0, DIST, 4, 3);
    world_io_write(0, CPUIF, 4, 3);
    CHECK_EQ(iar(0), 1022);
    CHECK_EQ(world_io_read(0, CPUIF + 0x20, 4), 50);
    world_io_write(0, CPUIF + 0x24, 4, 50);
    /* group 0 as FIQ */
    world_io_write(0, DIST + 0x84, 4, 0);
    world_io_write(0, CPUIF, 4, 1 | 1 << 3);
    CHECK(!irq(0) && world.cpu[0]->fiq);
}

/* --- GICv3 ------------------------------------------------------------------------------------ */

static void start_v3(void) {
    world_start(2, 3, ABI_CPU_MAX);
    world_io_write(0, DIST, 4, 3);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t base = REDIST + 0x20000 * i;
        world.cpu[i]->power.state = ENGINE_POWER_ON;
        CHECK_EQ(world_io_read(i, base + 0x14, 4), 6);
        world_io_write(i, base + 0x14, 4, 0);
        CHECK_EQ(world_io_read(i, base + 0x14, 4), 0);
        world_io_write(i, base + 0x10080, 4, ~0u); /* group 1 */
        world_io_write(i, base + 0x10100, 4, 0xffff);
        world_msr(i, PMR, 0xf0);
        world_msr(i, ICC(12, 12, 7), 1);
    }
    for (unsigned word = 1; word < 9; word++)
        world_io_write(0, DIST + 0x80 + 4 * word, 4, ~0u);
    world.kicked = 0;
}

static void test_v3_basics(void) {
    start_v3();
    CHECK_EQ(world_io_read(0, DIST, 4), 0x53);
    CHECK_EQ(world_io_read(0, DIST + 0xffe8, 4), 0x3b);
    CHECK_EQ(world_io_read(0, REDIST + 8, 8), 0);
    CHECK_EQ(world_io_read(0, REDIST + 0x20008, 8), 1ull << 32 | 1 << 8 | 1 << 4);
    CHECK_EQ(world_io_read(0, DIST + 0x100, 4), 0); /* private: in the redistributor */
    CHECK_EQ(world_mrs(0, ICC(12, 12, 4)) >> 8 & 7, 4);
    CHECK_EQ(world_mrs(0, ICC(12, 12, 5)), 7);
    world_io_write(0, DIST + 0x104, 4, 2);
    raise_spi(33, true);
    CHECK(irq(0) && !irq(1));
    CHECK_EQ(world_mrs(0, ICC(12, 8, 0)), 1023); /* not group 0 */
    CHECK_EQ(world_mrs(0, IAR1), 33);
    CHECK(!irq(0));
    CHECK_EQ(world_mrs(0, RPR), 0);
    raise_spi(33, false);
    world_msr(0, EOIR1, 33);
    CHECK_EQ(world_mrs(0, RPR), 0xff);
    world_io_write(0, DIST + 0x6000 + 8 * 33, 8, 1); /* route to PE 1 */
    raise_spi(33, true);
    CHECK(!irq(0) && irq(1));
    CHECK_EQ(world.shared.spi_target[1], 1);
    world_io_write(0, DIST + 0x84, 4, 0); /* group 0: FIQ, if enabled */
    CHECK(!irq(1) && !world.cpu[1]->fiq);
    world_msr(1, ICC(12, 12, 6), 1);
    CHECK(world.cpu[1]->fiq);
    CHECK_EQ(world_mrs(1, ICC(12, 8, 0)), 33);
    CHECK(!a64_gic_read(world_cpu(0), GPA(REDIST + 0x40000), 4, &(uint64_t){0}));
}

static void test_v3_sgis(void) {
    start_v3();
    world_msr(0, ICC(12, 11, 5), 5ull << 24 | 2);
    CHECK_EQ(world.kicked, 2);
    CHECK(irq(1) && !irq(0));
    CHECK_EQ(world_mrs(1, IAR1), 5);
    world_msr(1, EOIR1, 5);
    CHECK(!irq(1));
    world_msr(0, ICC(12, 11, 5), 5ull << 24 | 1ull << 40); /* all but itself */
    CHECK(irq(1) && !irq(0));
    world_msr(0, ICC(12, 11, 5), 6ull << 24 | 1ull << 16 | 1); /* another cluster */
    CHECK(!irq(0));
    world_msr(0, ICC(12, 11, 7), 6ull << 24 | 1); /* as group 0: it is group 1 here */
    CHECK(!irq(0));
    world_msr(0, ICC(12, 11, 5), 6ull << 24 | 1);
    CHECK(irq(0));
    CHECK_EQ(world_mrs(0, ICC(12, 12, 2)), 6);
}

static void test_v3_priorities(void) {
    start_v3();
    world_io_write(0, DIST + 0x104, 4, 0xff00);
    world_io_write(0, DIST + 0x428, 8, 0);
    world_io_write(0, DIST + 0x428, 4, 0xf8a7a040);
    CHECK_EQ(world_io_read(0, DIST + 0x428, 4), 0xf8a0a040); /* 5 bits */
    raise_spi(41, true);
    CHECK_EQ(world_mrs(0, IAR1), 41);
    raise_spi(42, true);
    CHECK(!irq(0)); /* equal */
    raise_spi(40, true);
    CHECK_EQ(world_mrs(0, IAR1), 40);
    raise_spi(40, false);
    world_msr(0, EOIR1, 40);
    CHECK_EQ(world_mrs(0, RPR), 0xa0);
    raise_spi(41, false);
    world_msr(0, EOIR1, 41);
    CHECK(irq(0));
    world_msr(0, PMR, 0xa0);
    CHECK(!irq(0));
    CHECK_EQ(world_mrs(0, IAR1), 1023);
    world_msr(0, ICC(12, 12, 3), 0);
    CHECK_EQ(world_mrs(0, ICC(12, 12, 3)), 3); /* least BPR1 */
}

void test_gic(void) {
    test_v2_basics();
    test_short_edges();
    test_v2_priorities();
    test_v2_sgis();
    test_v2_targets();
    test_v3_basics();
    test_v3_sgis();
    test_v3_priorities();
}
