/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* reset.c: the disk is reset while reads and writes wait for the host. What was asked for before must not reach memory
 * after that, nor undo what is written after it. Every read and write takes its time here: see slow.c. */
#include "virtq.h"

static struct queue q __attribute__((aligned(4096)));
static uint8_t before[65536] __attribute__((aligned(4096))), after[65536] __attribute__((aligned(4096)));
static struct vdev disk;

static void open_disk(void) {
    v_start(&disk, F_ALL_BLK);
    v_queue(&disk, 0, &q);
    v_live(&disk);
}

static bool all(const volatile uint8_t *p, unsigned n, uint8_t value) {
    for (unsigned i = 0; i < n; i++)
        if (p[i] != value)
            return false;
    return true;
}

static void test_read(void) {
    mmu_on();
    CHECK(v_find(&disk, ID_BLOCK));
    open_disk();
    memset(before, 0x11, sizeof(before));
    blk_offer(&q, 0, T_IN, 0, before, sizeof(before));
    v_set(&disk, V_NOTIFY, 0);
    delay_us(200000);
    v_set(&disk, V_STATUS, 0);
    memset(before, 0x22, sizeof(before));
    memset(&q, 0x33, sizeof(q));
    blk_place[0].status = 0x44;
    delay_us(2000000);
    CHECK(all(before, sizeof(before), 0x22));
    CHECK(all((uint8_t *)&q, sizeof(q), 0x33));
    CHECK_EQ(blk_place[0].status, 0x44);
    open_disk();
    CHECK_EQ(blk_do(&disk, &q, T_IN, 0, after, sizeof(after)), 0);
    CHECK(!all(after, sizeof(after), 0));
}

/* A write of before the reset, then one of after it to the same place: the later one is what is read. */
static void test_write(void) {
    memset(before, 0x55, sizeof(before));
    memset(after, 0x66, sizeof(after));
    blk_offer(&q, 0, T_OUT, 128, before, sizeof(before));
    v_set(&disk, V_NOTIFY, 0);
    delay_us(200000);
    open_disk();
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 128, after, sizeof(after)), 0);
    delay_us(2000000);
    memset(after, 0, sizeof(after));
    CHECK_EQ(blk_do(&disk, &q, T_IN, 128, after, sizeof(after)), 0);
    CHECK(all(after, sizeof(after), 0x66));
}

TESTS({"read", test_read}, {"write", test_write});
