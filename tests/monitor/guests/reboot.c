/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* reboot.c: asks for a write and a flush and resets the machine without waiting for either: what was under way is on
 * the disk before the machine is there again. The disk's first sector counts the lives. */
#include "virtq.h"

static struct queue q __attribute__((aligned(4096)));
static uint8_t life[512] __attribute__((aligned(512))), data[512] __attribute__((aligned(512)));

static void test_reboot(void) {
    struct vdev disk;
    CHECK(v_find(&disk, ID_BLOCK));
    v_start(&disk, F_ALL_BLK);
    v_queue(&disk, 0, &q);
    v_live(&disk);
    CHECK_EQ(blk_do(&disk, &q, T_IN, 0, life, 512), 0);
    CHECK_EQ(blk_do(&disk, &q, T_IN, 8, data, 512), 0);
    CHECK_EQ(data[0], life[0] ? 'n' : 0);
    if (life[0])
        return;
    life[0] = 1;
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 0, life, 512), 0);
    memset(data, 'n', 512);
    blk_offer(&q, 1, T_FLUSH, 0, NULL, 0);
    blk_offer(&q, 2, T_OUT, 8, data, 512);
    v_set(&disk, V_NOTIFY, 0); /* most of the time it is not done yet as the machine is reset */
    psci(0x84000009u, 0, 0, 0);
}

TESTS({"reboot", test_reboot});
