/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gic_tests.h: the tests that GICv2 and GICv3 share. Included by gicv2.c and gicv3.c, which define the three below. */
#ifndef PAYLOAD_GIC_TESTS_H
#define PAYLOAD_GIC_TESTS_H

#include "gic.h"

static unsigned running_priority(void);
static void set_binary_point_8_1(void); /* only bit 7 of a priority preempts */
static void set_eoi_mode(bool split);
static void deactivate(uint32_t iar);
static uint32_t highest_pending(void);
static void set_interface(bool on);

#define SPI_A 60u
#define SPI_B 61u
#define SPI_C 93u
#define SGI 3u
#define PPI 20u
#define ID(iar) ((iar) & 1023)
#define unmask() __asm__ volatile("msr daifclr, #2\nisb" : : : "memory")
#define mask() __asm__ volatile("msr daifset, #2" : : : "memory")

static void setup(void) {
    mask();
    exception_handler = NULL;
    gic_init();
    for (unsigned id = SPI_A; id <= SPI_C; id += id == SPI_B ? SPI_C - SPI_B : 1) {
        gic_route(id, 0);
        gic_set_edge(id, true);
        gic_set_priority(id, 0x80);
    }
}

static void test_idle(void) {
    setup();
    CHECK_EQ(gic_ack(), INTID_NONE);
    CHECK_EQ(highest_pending(), INTID_NONE);
    CHECK_EQ(running_priority(), 0xff);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    gic_eoi(INTID_NONE);
    CHECK_EQ(gic_ack(), INTID_NONE);
}

/* One interrupt through all its states. */
static void check_states(unsigned id) {
    CHECK(!gic_is_pending(id));
    gic_set_pending(id, true);
    CHECK(gic_is_pending(id));
    CHECK(!gic_is_active(id));
    CHECK(!gic_is_enabled(id));
    CHECK_EQ(highest_pending(), INTID_NONE);
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_enable(id);
    CHECK(gic_is_enabled(id));
    CHECK_EQ(highest_pending(), id);
    CHECK_EQ(read_sysreg(isr_el1), 0x80);
    uint32_t iar = gic_ack();
    CHECK_EQ(iar, id);
    CHECK(!gic_is_pending(id));
    CHECK(gic_is_active(id));
    CHECK_EQ(read_sysreg(isr_el1), 0);
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_set_pending(id, true); /* active and pending */
    CHECK(gic_is_pending(id));
    CHECK(gic_is_active(id));
    CHECK_EQ(gic_ack(), INTID_NONE);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    gic_eoi(iar);
    CHECK(gic_is_pending(id));
    CHECK(!gic_is_active(id));
    CHECK_EQ(gic_ack(), id);
    gic_eoi(iar);
    CHECK(!gic_is_active(id));
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_set_pending(id, true);
    gic_set_pending(id, false);
    CHECK(!gic_is_pending(id));
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_set_pending(id, true);
    gic_disable(id);
    CHECK_EQ(gic_ack(), INTID_NONE);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    gic_set_pending(id, false);
    /* active by hand */
    gic_enable(id);
    gic_set_active(id, true);
    gic_set_pending(id, true);
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_set_active(id, false);
    CHECK_EQ(gic_ack(), id);
    gic_eoi(id);
    gic_disable(id);
}

static void test_edge(void) {
    setup();
    check_states(SPI_A);
    check_states(SPI_C);
}

static void test_level(void) {
    setup();
    gic_set_edge(SPI_A, false);
    check_states(SPI_A);
}

static void test_switches(void) {
    setup();
    gic_enable(SPI_A);
    gic_set_pending(SPI_A, true);
    uint32_t ctlr = gicd(GICD_CTLR);
    gicd_set(GICD_CTLR, ctlr & ~3u);
    CHECK_EQ(gic_ack(), INTID_NONE);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    gicd_set(GICD_CTLR, ctlr);
    CHECK_EQ(read_sysreg(isr_el1), 0x80);
    set_interface(false);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    set_interface(true);
    CHECK_EQ(read_sysreg(isr_el1), 0x80);
    CHECK_EQ(gic_ack(), SPI_A);
    gic_eoi(SPI_A);
}

/* --- priorities ------------------------------------------------------------------------------- */

static void test_mask(void) {
    setup();
    gic_enable(SPI_A);
    gic_set_pending(SPI_A, true);
    static const struct {
        uint8_t priority, pmr, signalled;
    } cases[] = {{0x80, 0x80, 0}, {0x80, 0x88, 1}, {0x78, 0x80, 1}, {0x80, 0, 0},
                 {0, 0x08, 1},    {0, 0, 0},       {0xf0, 0xf0, 0}, {0xe8, 0xf0, 1}};
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        gic_set_priority(SPI_A, cases[i].priority);
        gic_set_mask(cases[i].pmr);
        CHECK_EQ(read_sysreg(isr_el1), cases[i].signalled ? 0x80 : 0);
        if (!cases[i].signalled)
            CHECK_EQ(gic_ack(), INTID_NONE);
    }
    gic_set_mask(0xf0);
    gic_set_pending(SPI_A, false);
}

static void test_order(void) {
    setup();
    static const unsigned ids[] = {SPI_C, SPI_B, SPI_A};
    for (unsigned i = 0; i < 3; i++) {
        gic_enable(ids[i]);
        gic_set_pending(ids[i], true);
    }
    CHECK_EQ(gic_ack(), SPI_A); /* equal priorities: the lowest number */
    CHECK_EQ(running_priority(), 0x80);
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_eoi(SPI_A);
    CHECK_EQ(running_priority(), 0xff);
    gic_set_priority(SPI_C, 0x40);
    CHECK_EQ(highest_pending(), SPI_C);
    CHECK_EQ(gic_ack(), SPI_C);
    CHECK_EQ(running_priority(), 0x40);
    gic_eoi(SPI_C);
    CHECK_EQ(gic_ack(), SPI_B);
    gic_eoi(SPI_B);
    CHECK_EQ(gic_ack(), INTID_NONE);
}

static void test_nesting(void) {
    setup();
    gic_enable(SPI_A);
    gic_enable(SPI_B);
    gic_enable(SPI_C);
    gic_set_priority(SPI_A, 0xc0);
    gic_set_priority(SPI_B, 0x80);
    gic_set_priority(SPI_C, 0x40);
    gic_set_pending(SPI_A, true);
    CHECK_EQ(gic_ack(), SPI_A);
    gic_set_pending(SPI_C, true);
    CHECK_EQ(gic_ack(), SPI_C);
    CHECK_EQ(running_priority(), 0x40);
    gic_set_pending(SPI_B, true);
    CHECK_EQ(gic_ack(), INTID_NONE); /* 0x80 does not preempt 0x40 */
    gic_eoi(SPI_C);
    CHECK_EQ(running_priority(), 0xc0);
    CHECK_EQ(gic_ack(), SPI_B);
    CHECK_EQ(running_priority(), 0x80);
    gic_eoi(SPI_B);
    CHECK_EQ(running_priority(), 0xc0);
    gic_eoi(SPI_A);
    CHECK_EQ(running_priority(), 0xff);
}

static void test_binary_point(void) {
    setup();
    set_binary_point_8_1();
    gic_enable(SPI_A);
    gic_enable(SPI_B);
    gic_enable(SPI_C);
    gic_set_priority(SPI_A, 0xc0);
    gic_set_priority(SPI_B, 0x80); /* in the same group */
    gic_set_priority(SPI_C, 0x40);
    gic_set_pending(SPI_A, true);
    CHECK_EQ(gic_ack(), SPI_A);
    gic_set_pending(SPI_B, true);
    CHECK_EQ(gic_ack(), INTID_NONE);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    gic_set_pending(SPI_C, true);
    CHECK_EQ(gic_ack(), SPI_C);
    gic_eoi(SPI_C);
    CHECK_EQ(gic_ack(), INTID_NONE);
    gic_eoi(SPI_A);
    CHECK_EQ(gic_ack(), SPI_B);
    gic_eoi(SPI_B);
}

static void test_eoi_mode(void) {
    setup();
    set_eoi_mode(true);
    gic_enable(SPI_A);
    gic_set_pending(SPI_A, true);
    uint32_t iar = gic_ack();
    CHECK_EQ(iar, SPI_A);
    gic_eoi(iar);
    CHECK_EQ(running_priority(), 0xff);
    CHECK(gic_is_active(SPI_A));
    gic_set_pending(SPI_A, true);
    CHECK_EQ(gic_ack(), INTID_NONE);
    deactivate(iar);
    CHECK(!gic_is_active(SPI_A));
    CHECK_EQ(gic_ack(), SPI_A);
    gic_eoi(iar);
    deactivate(iar);
    set_eoi_mode(false);
    CHECK_EQ(gic_ack(), INTID_NONE);
}

/* --- delivery --------------------------------------------------------------------------------- */

static volatile unsigned depth, deepest, order_count;
static volatile unsigned order[16];

static void nested_irq(struct frame *f, unsigned vector) {
    (void)f;
    CHECK_EQ(vector, VEC_IRQ);
    uint32_t iar = gic_ack();
    if (ID(iar) == INTID_NONE)
        return;
    if (++depth > deepest)
        deepest = depth;
    order[order_count++ & 15] = ID(iar);
    if (ID(iar) == SPI_A)
        gic_set_pending(SPI_C, true); /* preempts */
    if (ID(iar) == SPI_C)
        gic_set_pending(SPI_B, true); /* waits */
    uint64_t elr = read_sysreg(elr_el1), spsr = read_sysreg(spsr_el1);
    unmask();
    for (volatile unsigned i = 0; i < 1000; i++)
        ;
    mask();
    write_sysreg(elr_el1, elr);
    write_sysreg(spsr_el1, spsr);
    order[order_count++ & 15] = ID(iar) | 0x1000;
    depth--;
    gic_eoi(iar);
}

static void test_preemption(void) {
    setup();
    exception_handler = nested_irq;
    depth = deepest = order_count = 0;
    gic_enable(SPI_A);
    gic_enable(SPI_B);
    gic_enable(SPI_C);
    gic_set_priority(SPI_C, 0x40);
    gic_set_pending(SPI_A, true);
    CHECK_EQ(order_count, 0);
    unmask();
    delay_us(1000);
    mask();
    CHECK_EQ(order_count, 6);
    CHECK_EQ(deepest, 2);
    CHECK_EQ(order[0], SPI_A);
    CHECK_EQ(order[1], SPI_C);
    CHECK_EQ(order[2], SPI_C | 0x1000);
    CHECK_EQ(order[3], SPI_A | 0x1000);
    CHECK_EQ(order[4], SPI_B);
    CHECK_EQ(order[5], SPI_B | 0x1000);
}

SNIPPET(idle_loop, "b .");
static struct context gc;

/* To EL0 and EL1; at once when the ERET unmasks; not at all when it was withdrawn. */
static void test_delivery(void) {
    static const uint32_t states[] = {PSTATE_EL0 & ~0x80u, PSTATE_EL1T & ~0x80u, PSTATE_EL1H & ~0x80u};
    static const unsigned vectors[] = {9, 1, 5};
    static const uint32_t sources[] = {SPI_A, SGI, PPI};
    setup();
    for (unsigned s = 0; s < ARRAY_LEN(states); s++) {
        for (unsigned i = 0; i < ARRAY_LEN(sources); i++) {
            gic_enable(sources[i]);
            if (sources[i] == SGI)
                gic_send_sgi(SGI, 0);
            else
                gic_set_pending(sources[i], true);
            run_code(&gc, states[s], idle_loop, 1, 2, 3, 4);
            CHECK_EQ(gc.vector, vectors[s]);
            CHECK_EQ(gc.out.elr, (uint64_t)idle_loop);
            CHECK_EQ(gc.out.spsr & ~(uint64_t)SPSR_IGNORED, states[s]);
            context_check(&gc, 0);
            CHECK_EQ(ID(gic_ack()), sources[i]);
            gic_eoi(sources[i]);
            gic_disable(sources[i]);
        }
    }
    caught = 0;
    exception_handler = catch_and_skip;
    gic_enable(SPI_A);
    gic_set_pending(SPI_A, true);
    gic_set_pending(SPI_A, false);
    unmask();
    delay_us(100);
    mask();
    CHECK_EQ(caught, 0);
}

/* A pending interrupt ends WFI, masked or not. */
static void test_wfi(void) {
    setup();
    gic_enable(SPI_A);
    gic_set_pending(SPI_A, true);
    for (unsigned i = 0; i < 10; i++)
        __asm__ volatile("wfi" : : : "memory");
    CHECK_EQ(gic_ack(), SPI_A);
    gic_eoi(SPI_A);
}

static void test_sgi(void) {
    setup();
    for (unsigned id = 0; id < 16; id++) {
        gic_enable(id);
        CHECK(gic_is_enabled(id));
        gic_send_sgi(id, 0);
        gic_send_sgi(id, 0); /* the second is merged */
        CHECK(gic_is_pending(id));
        CHECK_EQ(gic_ack(), id);
        CHECK(!gic_is_pending(id));
        CHECK(gic_is_active(id));
        gic_eoi(id);
        CHECK_EQ(gic_ack(), INTID_NONE);
    }
    for (unsigned id = 15; id < 16; id--)
        gic_send_sgi(id, 0);
    gic_set_priority(9, 0x20);
    CHECK_EQ(gic_ack(), 9);
    gic_eoi(9);
    for (unsigned id = 0; id < 16; id++) {
        if (id == 9)
            continue;
        CHECK_EQ(gic_ack(), id);
        gic_eoi(id);
    }
    CHECK_EQ(gic_ack(), INTID_NONE);
}

/* --- registers -------------------------------------------------------------------------------- */

static void test_bit_registers(void) {
    setup();
    static const unsigned sets[] = {GICD_ISENABLER, GICD_ISPENDR, GICD_ISACTIVER};
    gicd_set(GICD_CTLR, gicd(GICD_CTLR) & ~3u);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned word = 1; word < 9; word++) {
            unsigned set = sets[i] + 4 * word, clear = set + 0x80;
            gicd_set(set, 0xa5a5a5a5);
            CHECK_EQ(gicd(set), 0xa5a5a5a5);
            CHECK_EQ(gicd(clear), 0xa5a5a5a5);
            gicd_set(set, 0x0f000000);
            CHECK_EQ(gicd(set), 0xafa5a5a5);
            gicd_set(clear, 0xffff0000);
            CHECK_EQ(gicd(set), 0x0000a5a5);
            gicd_set(set, 0);
            gicd_set(clear, 0);
            CHECK_EQ(gicd(clear), 0x0000a5a5);
            gicd_set(clear, ~0u);
            CHECK_EQ(gicd(set), 0);
        }
        CHECK_EQ(gicd(sets[i] + 4 * 20), 0); /* no such interrupts */
        gicd_set(sets[i] + 4 * 20, ~0u);
        CHECK_EQ(gicd(sets[i] + 4 * 20), 0);
    }
    gicd_set(GICD_CTLR, gicd(GICD_CTLR) | 3);
}

static void test_priority_registers(void) {
    setup();
    volatile uint8_t *bytes = (volatile uint8_t *)(GICD_BASE + GICD_IPRIORITYR);
    for (unsigned id = 32; id < 288; id++)
        bytes[id] = (uint8_t)(id * 8);
    for (unsigned id = 32; id < 288; id++)
        CHECK_EQ(bytes[id], (uint8_t)(id * 8));
    for (unsigned id = 32; id < 288; id += 4)
        CHECK_EQ(gicd(GICD_IPRIORITYR + id), (uint32_t)(id * 8 & 0xff) * 0x01010101u + 0x18100800u);
    gicd_set(GICD_IPRIORITYR + 40, 0x10203040);
    CHECK_EQ(bytes[40], 0x40);
    CHECK_EQ(bytes[43], 0x10);
    CHECK_EQ(gicd(GICD_IPRIORITYR + 288), 0);
    gicd_set(GICD_IPRIORITYR + 288, ~0u);
    CHECK_EQ(gicd(GICD_IPRIORITYR + 288), 0);
}

static void test_config_registers(void) {
    setup();
    for (unsigned word = 2; word < 18; word++) {
        gicd_set(GICD_ICFGR + 4 * word, ~0u);
        CHECK_EQ(gicd(GICD_ICFGR + 4 * word), 0xaaaaaaaa);
        gicd_set(GICD_ICFGR + 4 * word, 0);
        CHECK_EQ(gicd(GICD_ICFGR + 4 * word), 0);
    }
    CHECK_EQ(gicd(GICD_ICFGR + 4 * 18), 0);
    CHECK_EQ(mmio_read32(gic_reg(0, GICD_ICFGR, 2)), 0xaaaaaaaa);
}

#define COMMON_GIC_TESTS                                                                                               \
    {"idle", test_idle}, {"edge", test_edge}, {"level", test_level}, {"switches", test_switches}, {"mask", test_mask}, \
        {"order", test_order}, {"nesting", test_nesting}, {"binary point", test_binary_point},                         \
        {"eoi mode", test_eoi_mode}, {"preemption", test_preemption}, {"delivery", test_delivery}, {"wfi", test_wfi},  \
        {"sgi", test_sgi}, {"bit registers", test_bit_registers}, {"priority registers", test_priority_registers}, {   \
        "config registers", test_config_registers                                                                      \
    }

#endif
