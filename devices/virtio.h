/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio.h: what the virtio devices share: the MMIO transport (virtio_mmio.c,
 * Virtio 1.2 section 4.2) and split virtqueues (virtqueue.c, section 2.7).
 *
 * Everything in guest memory is hostile: rings are read once, with bounds
 * checks; a broken ring sets DEVICE_NEEDS_RESET and stops the device. A driver
 * may add buffers for as long as a device takes them: in the event thread it
 * takes them in turns (virtq_next()), and others have theirs in between.
 */
#ifndef GRAFT_VIRTIO_H
#define GRAFT_VIRTIO_H

#include "graft/device.h"

#define VIRTIO_MAX_QUEUES 4
#define VIRTQ_MAX_SIZE 256
#define VIRTQ_MAX_SEGMENTS 130 /* data segments of one request: seg_max 128 + header + status */
#define VIRTIO_CONFIG_BYTES 64
#define VIRTQ_TURN_REQUESTS 64
#define VIRTQ_TURN_BYTES (256u << 10)

#define VIRTIO_ID_NET 1
#define VIRTIO_ID_BLOCK 2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG 4
#define VIRTIO_ID_BALLOON 5
#define VIRTIO_ID_VSOCK 19
#define VIRTIO_ID_FS 26

#define VIRTIO_F_ANY_LAYOUT BIT(27)
#define VIRTIO_F_INDIRECT_DESC BIT(28)
#define VIRTIO_F_EVENT_IDX BIT(29)
#define VIRTIO_F_VERSION_1 BIT(32)

struct virtio;

/* A device type: what differs between block, net, ... */
struct virtio_type {
    const char *name;
    uint32_t device_id;
    unsigned queues;
    uint16_t queue_max;                               /* entries of a queue; 0: VIRTQ_MAX_SIZE */
    uint64_t features;                                /* beside VERSION_1 or ANY_LAYOUT, INDIRECT_DESC and EVENT_IDX */
    void (*notify)(struct virtio *v, unsigned queue); /* the driver made buffers available */
    /* config_write(): by the driver, in a vCPU's thread; NULL: the configuration is not written to. */
    void (*config_write)(struct virtio *v, uint64_t offset, uint64_t value, unsigned bytes);
    /* quiesce(): queues were stopped: when it returns no thread of the device writes to guest RAM for requests of
     * before. Must not wait for long. NULL: the device has no threads. */
    void (*quiesce)(struct virtio *v);
    /* Of snapshots, as device_ops has them; the structure begins with struct virtio. NULL: there is no more than that
     * has. */
    const struct state_field *state;
    int (*ready)(struct virtio *v, char err[256]);
    bool (*loaded)(struct virtio *v);
    bool (*finish)(struct virtio *v); /* device_ops.finish; NULL: nothing to do */
    void (*destroy)(struct virtio *v);
};

struct virtq {
    uint64_t desc, avail, used; /* guest-physical */
    uint16_t num;               /* power of two, 1 .. VIRTQ_MAX_SIZE */
    bool ready;
    _Atomic uint32_t life; /* counts how often it was stopped or started: requests of another life are no one's */
    uint16_t next_avail, next_used, signalled_used;
    bool signalled_valid;
    uint32_t legacy_align; /* legacy: of the used ring */
};

struct virtio {
    struct device dev;
    const struct virtio_type *type;
    uint8_t config[VIRTIO_CONFIG_BYTES];
    unsigned config_bytes;
    uint32_t config_generation;
    uint32_t device_features_sel, driver_features_sel, queue_sel, status;
    bool legacy;                         /* version 1 of the transport: Virtio 0.9.5 */
    unsigned legacy_page_shift;          /* what it counts page numbers in */
    uint64_t features_offered, features; /* offered by the device, accepted by the driver */
    struct virtq queue[VIRTIO_MAX_QUEUES];
};

struct virtq_segment {
    uint64_t gpa;
    uint32_t len; /* guest_ram(gpa, len) was checked */
};
/* A request: first the segments the device reads, then those that it writes. */
struct virtq_request {
    uint16_t head;
    uint32_t life; /* of its queue when it was popped */
    unsigned out_count, in_count;
    uint64_t out_bytes, in_bytes;
    struct virtq_segment out[VIRTQ_MAX_SEGMENTS], in[VIRTQ_MAX_SEGMENTS];
};

/* virtio_init(): fills v->dev and makes the device ready to be added to the bus. */
void virtio_init(struct virtio *v, const struct virtio_type *type, struct machine *m, uint64_t gpa, unsigned spi,
                 int slot);
/* virtio_is_live(): may the device use its queues? */
bool virtio_is_live(const struct virtio *v);
/* virtio_config_changed(): config was altered: tells the driver. */
void virtio_config_changed(struct virtio *v);
/* virtio_broken(): the driver broke the protocol: DEVICE_NEEDS_RESET. */
void virtio_broken(struct virtio *v);
static inline bool virtio_has(const struct virtio *v, uint64_t feature) { return (v->features & feature) != 0; }

/* virtq_pop(): the next available request. Returns 1, 0 if there is none, -1 after virtio_broken(). */
int virtq_pop(struct virtio *v, struct virtq *q, struct virtq_request *r);
/* virtq_next(): virtq_pop() for work in the event thread: returns 0, too, when the turn is over, and then rings the
 * bell, so that the device is notified again after all others. A turn starts as {0}. */
struct virtq_turn {
    unsigned requests;
    uint64_t bytes;
};
int virtq_next(struct virtio *v, unsigned queue, struct virtq_turn *t, struct virtq_request *r);
/* virtq_push(): the request is done, written bytes were stored into its in segments. */
void virtq_push(struct virtio *v, struct virtq *q, uint16_t head, uint32_t written);
/* virtq_unpop(): gives the request just popped back. */
void virtq_unpop(struct virtq *q);
/* virtq_interrupt(): after a batch of pushes: interrupts the driver if it asked for that. */
void virtq_interrupt(struct virtio *v, struct virtq *q);
/* virtq_read(), virtq_write(): copy from the out / to the in segments at a byte offset; return bytes copied. */
size_t virtq_read(struct virtio *v, const struct virtq_request *r, uint64_t offset, void *buf, size_t len);
size_t virtq_write(struct virtio *v, const struct virtq_request *r, uint64_t offset, const void *buf, size_t len);

#endif
