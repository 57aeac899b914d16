/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtq.h: a small virtio driver for guests that try the monitor's patience. Everything is polled; the
 * descriptors and rings are the guest's to misuse.
 */
#ifndef GUEST_VIRTQ_H
#define GUEST_VIRTQ_H

#include "gic.h"

enum {
    V_DEVICE_ID = 8,
    V_DEVICE_FEATURES = 0x10,
    V_DEVICE_SEL = 0x14,
    V_DRIVER_FEATURES = 0x20,
    V_DRIVER_SEL = 0x24,
    V_QUEUE_SEL = 0x30,
    V_QUEUE_NUM = 0x38,
    V_QUEUE_READY = 0x44,
    V_NOTIFY = 0x50,
    V_STATUS = 0x70,
    V_DESC = 0x80,
    V_AVAIL = 0x90,
    V_USED = 0xa0,
    V_CONFIG = 0x100
};
enum { ID_NET = 1, ID_BLOCK = 2, ID_RNG = 4 };
#define D_NEXT 1
#define D_WRITE 2
#define D_INDIRECT 4
#define F_INDIRECT (1ul << 28)
#define F_SIZE_MAX (1ul << 1)
#define F_ALL_BLK (F_SIZE_MAX | 1ul << 2 | 1ul << 6 | 1ul << 9 | 1ul << 13 | 1ul << 14 | F_INDIRECT)
#define NUM 256

#include "virtq_layout.h"

struct vdev {
    uint64_t base;
    uint64_t features;
};

static inline uint32_t v_get(const struct vdev *v, unsigned off) { return mmio_read32(v->base + off); }
static inline void v_set(const struct vdev *v, unsigned off, uint32_t value) { mmio_write32(v->base + off, value); }
static inline uint64_t now(void) {
    isb();
    return read_sysreg(cntvct_el0);
}

/* v_find(): the first device of that kind. */
static inline bool v_find(struct vdev *v, unsigned id) {
    for (unsigned slot = 0; slot < 32; slot++) {
        v->base = 0x0a000000ul + 0x200ul * slot;
        if (v_get(v, V_DEVICE_ID) == id)
            return true;
    }
    print("FAIL no such device\n");
    return false;
}

static inline void v_start(struct vdev *v, uint64_t want) {
    v_set(v, V_STATUS, 0);
    v_set(v, V_STATUS, 3);
    v_set(v, V_DEVICE_SEL, 0);
    v->features = v_get(v, V_DEVICE_FEATURES) & want;
    v_set(v, V_DRIVER_SEL, 0);
    v_set(v, V_DRIVER_FEATURES, (uint32_t)v->features);
    v_set(v, V_DRIVER_SEL, 1);
    v_set(v, V_DRIVER_FEATURES, 1); /* version 1 */
    v_set(v, V_STATUS, 11);
}

static inline void v_queue(struct vdev *v, unsigned n, struct queue *q) {
    const volatile void *part[3] = {q->desc, &q->avail, &q->used};
    memset(q, 0, sizeof(*q));
    v_set(v, V_QUEUE_SEL, n);
    v_set(v, V_QUEUE_NUM, NUM);
    for (unsigned i = 0; i < 3; i++) {
        v_set(v, V_DESC + 16 * i, (uint32_t)(uint64_t)part[i]);
        v_set(v, V_DESC + 16 * i + 4, (uint32_t)((uint64_t)part[i] >> 32));
    }
    v_set(v, V_QUEUE_READY, 1);
}

static inline void v_live(struct vdev *v) { v_set(v, V_STATUS, 15); }

static inline void q_desc(struct desc *d, unsigned i, const volatile void *p, uint32_t len, unsigned flags) {
    d[i] = (struct desc){(uint64_t)p, len, (uint16_t)flags, (uint16_t)(i + 1)};
}

static inline void q_offer(struct queue *q, unsigned head) {
    q->avail.ring[q->avail.idx % NUM] = (uint16_t)head;
    dsb();
    *(volatile uint16_t *)&q->avail.idx = (uint16_t)(q->avail.idx + 1);
    dsb();
}

static inline uint16_t q_used(struct queue *q) {
    uint16_t idx = *(volatile uint16_t *)&q->used.idx;
    dsb();
    return idx;
}

static inline bool q_wait(struct queue *q, uint16_t idx, unsigned seconds) {
    uint64_t end = now() + seconds * read_sysreg(cntfrq_el0);
    while (q_used(q) != idx)
        if (now() > end)
            return false;
    return true;
}

/* --- the disk: several requests, each with a place of its own --------------------------------- */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
#define PLACES 8
static struct {
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    volatile uint8_t status;
} blk_place[PLACES];

/* blk_offer(): with data of len bytes at p, if there are any, in one segment. */
static inline void blk_offer(struct queue *q, unsigned place, unsigned type, uint64_t sector, volatile void *p,
                             uint32_t len) {
    unsigned d = 3 * place;
    blk_place[place].header.type = type;
    blk_place[place].header.sector = sector;
    blk_place[place].status = 0xff;
    q_desc(q->desc, d, &blk_place[place].header, 16, D_NEXT);
    if (len)
        q_desc(q->desc, d + 1, p, len, D_NEXT | (type == T_IN ? D_WRITE : 0));
    else
        q->desc[d].next = (uint16_t)(d + 2);
    q_desc(q->desc, d + 2, &blk_place[place].status, 1, D_WRITE);
    q_offer(q, d);
}

/* blk_do(): one request, waited for. Its status, 0xfe if it does not end. */
static inline unsigned blk_do(struct vdev *v, struct queue *q, unsigned type, uint64_t sector, volatile void *p,
                              uint32_t len) {
    uint16_t used = q_used(q);
    blk_offer(q, 0, type, sector, p, len);
    v_set(v, V_NOTIFY, 0);
    return q_wait(q, (uint16_t)(used + 1), 60) ? blk_place[0].status : 0xfe;
}

#endif
