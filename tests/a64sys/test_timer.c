/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_timer.c: the counter, timer interrupts, and which deadlines ring the doorbell. */
#include "world.h"

#define CTL A64_SYSREG(3, 3, 14, 3, 1)
#define CVAL A64_SYSREG(3, 3, 14, 3, 2)
#define TVAL A64_SYSREG(3, 3, 14, 3, 0)
#define P_CTL A64_SYSREG(3, 3, 14, 2, 1)
#define P_CVAL A64_SYSREG(3, 3, 14, 2, 2)
#define SECOND A64_CNTFRQ

static uint64_t deadline(void) { return world_cpu(0)->abi.timer_deadline; }

static void test_deadlines(void) {
    uint64_t now = a64_timer_count(world_cpu(0)), never = ~UINT64_C(0);
    CHECK_EQ(deadline(), never);
    world_msr(0, CVAL, now + 10 * SECOND);
    CHECK_EQ(deadline(), never);
    world_msr(0, CTL, 1);
    uint64_t first = deadline(), ideal = world.boot.tsc_base + (now + 10 * SECOND) * 40; /* 2.5 GHz / 62.5 MHz */
    CHECK(first >= ideal && first <= ideal + 4);
    CHECK_EQ(world.doorbells, 1);
    a64_timer_update(world_cpu(0)); /* the same deadline again */
    CHECK(deadline() == first && world.doorbells == 1);
    world_msr(0, P_CVAL, now + 5 * SECOND);
    world_msr(0, P_CTL, 1);
    CHECK(deadline() < first && world.doorbells == 2);
    world_msr(0, P_CTL, 3); /* masked: later again, no doorbell */
    CHECK(deadline() == first && world.doorbells == 2);
    world_cpu(0)->shared->timer_armed = 0;
    a64_guest.service(world_cpu(0), ABI_PEND_TIMER); /* it fired early: tell it again */
    CHECK(deadline() == first && world.doorbells == 3);
    world_msr(0, CTL, 3);
    CHECK(deadline() == never);
    world_msr(0, CVAL, now + 10 * SECOND - 50);
    world_msr(0, CTL, 1); /* the monitor expects it, a microsecond late */
    CHECK(deadline() < first && world.doorbells == 3);
    world_msr(0, CVAL, now + 10 * SECOND - 500);
    CHECK(deadline() < first && world.doorbells == 4);
    world_msr(0, TVAL, (uint32_t)-5);
    CHECK_EQ(world_mrs(0, CTL), 5); /* ISTATUS */
    CHECK(deadline() == never);
    CHECK((int32_t)world_mrs(0, TVAL) < -4);
    world_msr(0, CVAL, never);
    CHECK_EQ(world_mrs(0, CTL), 1);
    CHECK_EQ(deadline(), never);
}

static void test_interrupt(void) {
    world_start(1, 2, ABI_CPU_MAX);
    world_io_write(0, 0x08000000, 4, 1);
    world_io_write(0, 0x08000100, 4, BIT(27));
    world_io_write(0, 0x08010004, 4, 0xff);
    world_io_write(0, 0x08010000, 4, 1);
    world_msr(0, TVAL, 0);
    world_msr(0, CTL, 1);
    struct a64_cpu *c = world.cpu[0];
    CHECK(c->irq);
    c->daif = 0;
    c->pc = 0x5000;
    a64_guest.service(&c->c, ABI_PEND_IRQ);
    CHECK(c->sys.elr_el1 == 0x5000 && c->pc == 0x280);
    CHECK_EQ(world_io_read(0, 0x0801000c, 4), 27);
    CHECK(!c->irq);
    world_io_write(0, 0x08010010, 4, 27);
    CHECK(c->irq); /* still high */
    world_msr(0, CTL, 3);
    CHECK(!c->irq);
}

void test_timer(void) {
    world_start(1, 2, ABI_CPU_MAX);
    test_deadlines();
    uint64_t last = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t now = a64_timer_count(world_cpu(0));
        CHECK(now >= last);
        last = now;
    }
    test_interrupt();
}
