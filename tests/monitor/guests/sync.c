/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* sync.c: writes, says so, and writes and flushes for ever: for whoever wants to stop it in the middle. */
#include "virtq.h"

static struct queue q __attribute__((aligned(4096)));
static uint8_t data[4096] __attribute__((aligned(4096)));

static void test_sync(void) {
    struct vdev disk;
    CHECK(v_find(&disk, ID_BLOCK));
    v_start(&disk, F_ALL_BLK);
    v_queue(&disk, 0, &q);
    v_live(&disk);
    memset(data, 'w', sizeof(data));
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 8, data, sizeof(data)), 0);
    print("written\n");
    for (;;) {
        blk_do(&disk, &q, T_FLUSH, 0, NULL, 0);
        blk_do(&disk, &q, T_OUT, 8, data, sizeof(data));
    }
}

TESTS({"sync", test_sync});
