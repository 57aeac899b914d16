/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * refill.c: the second CPU gives a device one buffer after another, always before the device is through with the last:
 * the first CPU has to get at device registers all the same. The queue is that of the first of network, disk and
 * entropy that there is. The last test says `refilling` and goes on with it until it is stopped.
 */
#include "virtq.h"

#define LOOKS 500
#define BYTES 65536 /* of a buffer: the device takes longer over it than it takes to offer one more */

static struct queue rx __attribute__((aligned(4096))), q __attribute__((aligned(4096)));
static uint8_t data[BYTES] __attribute__((aligned(4096)));
static struct vdev device;
static unsigned which;
static volatile unsigned stop, offered;

static void refill(void *arg) {
    (void)arg;
    for (unsigned i = 0; !stop; i++) {
        /* always full, but never more than that */
        while ((uint16_t)(q.avail.idx - q_used(&q)) >= NUM / 4)
            if (stop)
                return;
        q_offer(&q, i % (NUM / 4) * 4);
        offered++;
        if (i % 1024 == 0 || (uint16_t)(q.avail.idx - q_used(&q)) < 2)
            v_set(&device, V_NOTIFY, which);
    }
}

static void fill_descriptors(unsigned id) {
    for (unsigned i = 0; i < NUM; i += 4) {
        if (id == ID_RNG) {
            q_desc(q.desc, i, data, BYTES, D_WRITE);
        } else if (id == ID_NET) {
            q_desc(q.desc, i, data, BYTES, 0);
        } else {
            q_desc(q.desc, i, &blk_place[0].header, 16, D_NEXT);
            q_desc(q.desc, i + 1, data, BYTES, D_NEXT | D_WRITE);
            q_desc(q.desc, i + 2, (uint8_t *)&blk_place[0].status, 1, D_WRITE);
        }
    }
}

static void open_queue(unsigned id) {
    v_start(&device, F_ALL_BLK & ~F_SIZE_MAX & (id == ID_BLOCK ? ~0ul : 0));
    if (id == ID_NET)
        v_queue(&device, 0, &rx);
    which = id == ID_NET;
    v_queue(&device, which, &q);
    fill_descriptors(id);
    v_live(&device);
}

static void try(unsigned id) {
    stop = offered = 0;
    open_queue(id);
    CHECK_EQ(cpu_start(1, refill, NULL), 0);
    while (offered < NUM)
        ;
    unsigned right = 0;
    for (unsigned i = 0; i < LOOKS; i++)
        right += v_get(&device, V_DEVICE_ID) == id && v_get(&device, V_STATUS) == 15;
    CHECK_EQ(right, LOOKS);
    stop = 1;
    dsb();
    while (psci(0xc4000004u, 1, 0, 0) != 1)
        ;
    v_set(&device, V_STATUS, 0);
}

static void test_registers(void) {
    static const unsigned ids[] = {ID_RNG, ID_BLOCK, ID_NET};
    mmu_on();
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
        if (v_find(&device, ids[i]))
            try(ids[i]);
}

static void test_for_ever(void) {
    CHECK(v_find(&device, ID_RNG));
    stop = offered = 0;
    open_queue(ID_RNG);
    CHECK_EQ(cpu_start(1, refill, NULL), 0);
    while (offered < NUM)
        ;
    print("refilling\n");
    for (;;)
        v_get(&device, V_STATUS);
}

TESTS({"registers", test_registers}, {"for ever", test_for_ever});
