/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* forge.c: makes the beginning of its disk that of a qcow2 image, in one segment and in two, and says with which
 * status. Another sector may begin so, and the first may hold anything else. */
#include "virtq.h"

static struct queue q __attribute__((aligned(4096)));
static uint8_t data[1024] __attribute__((aligned(4096)));
static struct vdev disk;

static unsigned in_two_segments(void) {
    uint16_t used = q_used(&q);
    blk_offer(&q, 0, T_OUT, 0, data, 3);
    q.desc[1].next = 3;
    q_desc(q.desc, 3, data + 3, 1024 - 3, D_NEXT);
    q.desc[3].next = 2;
    v_set(&disk, V_NOTIFY, 0);
    return q_wait(&q, (uint16_t)(used + 1), 60) ? blk_place[0].status : 0xfe;
}

static void say(const char *what, unsigned status) {
    print(what);
    print_dec(status);
    print("\n");
}

static void test_forge(void) {
    static const uint8_t header[] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    CHECK(v_find(&disk, ID_BLOCK));
    v_start(&disk, F_ALL_BLK);
    v_queue(&disk, 0, &q);
    v_live(&disk);
    memset(data, 'a', sizeof(data));
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 0, data, 1024), 0);
    memcpy(data, header, sizeof(header));
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 1, data, 512), 0);
    say("forged: ", blk_do(&disk, &q, T_OUT, 0, data, 512));
    say("in two: ", in_two_segments());
    CHECK_EQ(blk_do(&disk, &q, T_FLUSH, 0, NULL, 0), 0);
}

TESTS({"forge", test_forge});
