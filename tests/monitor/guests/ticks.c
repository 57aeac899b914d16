/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ticks.c: a flush takes seconds: how many timer interrupts come meanwhile, and how many device registers can be read?
 * Then a read while the next flush is under way. Says `during the flush: N ticks, M registers`. */
#include "virtq.h"

#define TICK_HZ 100

static struct queue q __attribute__((aligned(4096)));
static uint8_t data[4096] __attribute__((aligned(4096)));
static struct vdev disk;
static volatile unsigned ticks, registers;

static void arm(void) {
    write_sysreg(cntv_cval_el0, now() + read_sysreg(cntfrq_el0) / TICK_HZ);
    isb();
}

static void on_irq(struct frame *f, unsigned vector) {
    (void)f, (void)vector;
    uint32_t iar = gic_ack();
    if ((iar & 1023) == PPI_VTIMER) {
        ticks++;
        registers += v_get(&disk, V_DEVICE_ID) == ID_BLOCK;
        arm();
    }
    if ((iar & 1023) < 1020)
        gic_eoi(iar);
}

static void test_ticks(void) {
    mmu_on();
    gic_init();
    exception_handler = on_irq;
    gic_enable(PPI_VTIMER);
    CHECK(v_find(&disk, ID_BLOCK));
    v_start(&disk, F_ALL_BLK);
    v_queue(&disk, 0, &q);
    v_live(&disk);
    memset(data, 0x5a, sizeof(data));
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 8, data, sizeof(data)), 0);
    arm();
    write_sysreg(cntv_ctl_el0, 1);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
    ticks = registers = 0;
    CHECK_EQ(blk_do(&disk, &q, T_FLUSH, 0, NULL, 0), 0);
    unsigned t = ticks, r = registers;
    __asm__ volatile("msr daifset, #2" : : : "memory");
    print("during the flush: ");
    print_dec(t);
    print(" ticks, ");
    print_dec(r);
    print(" registers\n");
}

/* The read is offered after the flush and is done before it. */
static void test_overtake(void) {
    uint16_t used = q_used(&q);
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 8, data, sizeof(data)), 0);
    blk_offer(&q, 1, T_FLUSH, 0, NULL, 0);
    v_set(&disk, V_NOTIFY, 0);
    delay_us(100000);
    blk_offer(&q, 2, T_IN, 8, data, sizeof(data));
    v_set(&disk, V_NOTIFY, 0);
    CHECK(q_wait(&q, (uint16_t)(used + 3), 60));
    CHECK_EQ(q.used.ring[(uint16_t)(used + 1) % NUM].id, 6);
    CHECK_EQ(q.used.ring[(uint16_t)(used + 2) % NUM].id, 3);
    CHECK_EQ(blk_place[1].status, 0);
    CHECK_EQ(blk_place[2].status, 0);
}

TESTS({"ticks", test_ticks}, {"overtake", test_overtake});
