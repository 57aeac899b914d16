/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* giant.c: requests of sizes that nobody means: chains of 128 segments of 1 GiB, ranges of 63 GiB, on a sparse disk of
 * 64 GiB. They are refused; those within the limits that the disk states are done. Needs 2 GiB of memory. */
#include "virtq.h"

#define GIB (1u << 30)
#define SEGMENTS 128

static struct queue q __attribute__((aligned(4096)));
static struct desc table[SEGMENTS + 2] __attribute__((aligned(16)));
static struct vdev disk;
static struct {
    uint64_t sector;
    uint32_t sectors, flags;
} range;

static unsigned chain(unsigned segments, uint32_t bytes) {
    uint16_t used = q_used(&q);
    blk_place[0].header.type = T_IN;
    blk_place[0].header.sector = 0;
    blk_place[0].status = 0xff;
    q_desc(table, 0, &blk_place[0].header, 16, D_NEXT);
    for (unsigned i = 0; i < segments; i++)
        q_desc(table, 1 + i, (void *)(RAM_BASE + GIB), bytes, D_NEXT | D_WRITE);
    q_desc(table, 1 + segments, &blk_place[0].status, 1, D_WRITE);
    q_desc(q.desc, 0, table, (uint32_t)sizeof(struct desc) * (segments + 2), D_INDIRECT);
    q_offer(&q, 0);
    v_set(&disk, V_NOTIFY, 0);
    return q_wait(&q, (uint16_t)(used + 1), 60) ? blk_place[0].status : 0xfe;
}

static void open_disk(uint64_t features) {
    v_start(&disk, features);
    v_queue(&disk, 0, &q);
    v_live(&disk);
}

static void test_limits(void) {
    mmu_on();
    CHECK(v_find(&disk, ID_BLOCK));
    open_disk(F_ALL_BLK);
    CHECK(disk.features & F_SIZE_MAX);
    uint32_t size_max = v_get(&disk, V_CONFIG + 8), seg_max = v_get(&disk, V_CONFIG + 12);
    CHECK(size_max >= 65536 && size_max <= 16u << 20);
    CHECK_EQ(seg_max, SEGMENTS);
    CHECK_EQ(chain(1, size_max), 0);
    CHECK_EQ(chain(8, size_max), 0);
    CHECK_EQ(chain(1, size_max + 512), 1);
    CHECK_EQ(chain(SEGMENTS, GIB), 1);
}

/* A driver that knows nothing of size_max may send large segments, up to what a request may have. */
static void test_no_size_max(void) {
    open_disk(F_ALL_BLK & ~F_SIZE_MAX);
    CHECK_EQ(chain(1, 64u << 20), 0);
    for (unsigned i = 0; i < 200; i++)
        CHECK_EQ(chain(SEGMENTS, GIB), 1);
}

static void test_ranges(void) {
    open_disk(F_ALL_BLK);
    uint32_t discard = v_get(&disk, V_CONFIG + 36), zeroes = v_get(&disk, V_CONFIG + 48);
    CHECK_EQ(v_get(&disk, V_CONFIG + 40), 1);
    CHECK_EQ(v_get(&disk, V_CONFIG + 52), 1);
    CHECK(discard && discard <= GIB / 512 && zeroes && zeroes <= GIB / 512);
    range.sectors = discard;
    CHECK_EQ(blk_do(&disk, &q, T_DISCARD, 0, &range, sizeof(range)), 0);
    range.sectors = zeroes;
    CHECK_EQ(blk_do(&disk, &q, T_WRITE_ZEROES, 0, &range, sizeof(range)), 0);
    range.sectors = discard + 8;
    CHECK_EQ(blk_do(&disk, &q, T_DISCARD, 0, &range, sizeof(range)), 1);
    range.sectors = 63 * (GIB / 512);
    CHECK_EQ(blk_do(&disk, &q, T_WRITE_ZEROES, 0, &range, sizeof(range)), 1);
}

TESTS({"limits", test_limits}, {"no size_max", test_no_size_max}, {"ranges", test_ranges});
