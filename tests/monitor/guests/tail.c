/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* tail.c: a disk of 1,000,000 bytes of 'x' has 1954 sectors, the last of which the file has 64 bytes of. Then discard
 * and write-zeroes: the host looks at what they did to the file. */
#include "virtq.h"

static struct queue q __attribute__((aligned(4096)));
static uint8_t data[1024] __attribute__((aligned(4096)));
static struct vdev disk;
static struct {
    uint64_t sector;
    uint32_t sectors, flags;
} range;

static void check_bytes(unsigned from, unsigned to, uint8_t value) {
    for (unsigned i = from; i < to; i++)
        if (data[i] != value) {
            CHECK_EQ(data[i], value);
            return;
        }
}

static void test_read(void) {
    CHECK(v_find(&disk, ID_BLOCK));
    v_start(&disk, F_ALL_BLK);
    v_queue(&disk, 0, &q);
    v_live(&disk);
    CHECK_EQ(v_get(&disk, V_CONFIG), 1954);
    memset(data, 0xee, sizeof(data));
    CHECK_EQ(blk_do(&disk, &q, T_IN, 1953, data, 512), 0);
    check_bytes(0, 64, 'x');
    check_bytes(64, 512, 0);
    CHECK_EQ(blk_do(&disk, &q, T_IN, 1952, data, 1024), 0);
    check_bytes(0, 576, 'x');
    check_bytes(576, 1024, 0);
    CHECK_EQ(blk_do(&disk, &q, T_IN, 1954, data, 512), 1);
    CHECK_EQ(blk_do(&disk, &q, T_IN, 1953, data, 1024), 1);
    print("read\n");
}

static void test_ranges(void) {
    range.sector = 256; /* 128 KiB to 256 KiB */
    range.sectors = 256;
    CHECK_EQ(blk_do(&disk, &q, T_DISCARD, 0, &range, sizeof(range)), 0);
    range.sector = 512;
    CHECK_EQ(blk_do(&disk, &q, T_WRITE_ZEROES, 0, &range, sizeof(range)), 0);
    range.sector = 1024;
    range.flags = 1;
    CHECK_EQ(blk_do(&disk, &q, T_WRITE_ZEROES, 0, &range, sizeof(range)), 0);
    for (unsigned at = 256; at < 1280; at += at == 767 ? 257 : 1) {
        memset(data, 0xee, 512);
        CHECK_EQ(blk_do(&disk, &q, T_IN, at, data, 512), 0);
        check_bytes(0, 512, 0);
    }
    CHECK_EQ(blk_do(&disk, &q, T_IN, 255, data, 512), 0);
    check_bytes(0, 512, 'x');
    CHECK_EQ(blk_do(&disk, &q, T_IN, 1280, data, 512), 0);
    check_bytes(0, 512, 'x');
}

static void test_write(void) {
    memset(data, 'y', 512);
    CHECK_EQ(blk_do(&disk, &q, T_OUT, 1953, data, 512), 0);
    memset(data, 0, 512);
    CHECK_EQ(blk_do(&disk, &q, T_IN, 1953, data, 512), 0);
    check_bytes(0, 512, 'y');
}

TESTS({"read", test_read}, {"ranges", test_ranges}, {"write", test_write});
