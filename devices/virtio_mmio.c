/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_mmio.c: the MMIO transport, version 2 (Virtio 1.2, section 4.2.2) or, as legacy, 1 (section 4.2.4).
 * InterruptStatus, InterruptACK and QueueNotify are normally served by the
 * engine without an exit; the cases here are for accesses that reach the monitor.
 */
#include "devices/virtio.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAGIC = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    GUEST_PAGE_SIZE = 0x028, /* legacy */
    QUEUE_SEL = 0x030,
    QUEUE_NUM_MAX = 0x034,
    QUEUE_NUM = 0x038,
    QUEUE_ALIGN = 0x03c, /* legacy */
    QUEUE_PFN = 0x040,   /* legacy */
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC_LOW = 0x080,
    QUEUE_DESC_HIGH = 0x084,
    QUEUE_DRIVER_LOW = 0x090,
    QUEUE_DRIVER_HIGH = 0x094,
    QUEUE_DEVICE_LOW = 0x0a0,
    QUEUE_DEVICE_HIGH = 0x0a4,
    SHM_LEN_LOW = 0x0b0,
    SHM_LEN_HIGH = 0x0b4,
    CONFIG_GENERATION = 0x0fc,
    CONFIG = 0x100,
};
#define STATUS_FEATURES_OK 8
#define STATUS_DRIVER_OK 4
#define STATUS_NEEDS_RESET 64
#define MAGIC_VALUE 0x74726976  /* "virt" */
#define VENDOR_VALUE 0x554d4551 /* "QEMU": drivers look at it, and this is QEMU's board */

static struct virtio *virtio_of(struct device *d) { return CONTAINER_OF(d, struct virtio, dev); }

static struct virtq *selected(struct virtio *v) {
    return v->queue_sel < v->type->queues ? &v->queue[v->queue_sel] : NULL;
}

/* Requests that were popped before are no one's any more, and no thread writes to guest RAM for them. */
static void stop_queue(struct virtio *v, struct virtq *q) {
    q->ready = false;
    q->life++;
    if (v->type->quiesce)
        v->type->quiesce(v);
}

bool virtio_is_live(const struct virtio *v) {
    return v->status & STATUS_DRIVER_OK && !(v->status & STATUS_NEEDS_RESET);
}

void virtio_broken(struct virtio *v) {
    v->status |= STATUS_NEEDS_RESET;
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        stop_queue(v, &v->queue[i]);
    virtio_config_changed(v);
}

void virtio_config_changed(struct virtio *v) {
    v->config_generation++;
    if (v->status & STATUS_DRIVER_OK)
        machine_virtio_interrupt(&v->dev, 2);
}

#define LEGACY_ALIGN 4096 /* of a queue, until a driver says otherwise */

static void virtio_reset(struct device *d) {
    struct virtio *v = virtio_of(d);
    v->status = 0;
    v->features = 0;
    v->device_features_sel = v->driver_features_sel = v->queue_sel = 0;
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        struct virtq *q = &v->queue[i];
        stop_queue(v, q);
        *q = (struct virtq){.life = q->life, .legacy_align = LEGACY_ALIGN};
    }
    machine_virtio_ack(d, ~0u);
}

static void queue_notify(struct virtio *v, uint64_t queue) {
    if (queue < v->type->queues && virtio_is_live(v))
        v->type->notify(v, (unsigned)queue);
}

static void virtio_notify(struct device *d, uint64_t queues) {
    struct virtio *v = virtio_of(d);
    for (unsigned q = 0; q < v->type->queues; q++)
        if (queues >> q & 1)
            queue_notify(v, q);
}

static uint64_t config_read(const struct virtio *v, uint64_t offset, unsigned bytes) {
    uint64_t value = UINT64_MAX; /* behind its end, as on QEMU */
    if (offset + bytes <= v->config_bytes)
        memcpy(&value, v->config + offset, bytes);
    return value;
}

static uint32_t queue_max(const struct virtio *v) { return v->type->queue_max ? v->type->queue_max : VIRTQ_MAX_SIZE; }

static bool is_queue_size(const struct virtio *v, uint32_t n) { return n && n <= queue_max(v) && (n & (n - 1)) == 0; }

/* A live queue stays as it is, and a device that needs a reset has none. */
static void set_ready(struct virtio *v, struct virtq *q, bool ready) {
    if (!ready) {
        stop_queue(v, q);
    } else if (!q->ready && is_queue_size(v, q->num) && !(v->status & STATUS_NEEDS_RESET)) {
        q->next_avail = q->next_used = 0, q->signalled_valid = false;
        q->ready = true;
    }
}

/* --- the legacy layout: one piece of memory for each queue, of which the driver says the page number --- */
/* Virtio 1.2, section 2.7.2 */
static void legacy_place(struct virtq *q, uint64_t gpa) {
    q->desc = gpa;
    q->avail = gpa + 16ull * q->num;
    q->used = ALIGN_UP(q->avail + 2ull * (3 + q->num), q->legacy_align);
}

static uint32_t legacy_pfn(const struct virtio *v, const struct virtq *q) {
    return q->ready ? (uint32_t)(q->desc >> v->legacy_page_shift) : 0;
}

static void legacy_write(struct virtio *v, struct virtq *q, uint64_t offset, uint32_t value) {
    switch (offset) {
    case GUEST_PAGE_SIZE:
        if (value && !(value & (value - 1)))
            v->legacy_page_shift = (unsigned)__builtin_ctz(value);
        break;
    case QUEUE_ALIGN:
        if (q && !q->ready && value && !(value & (value - 1)))
            q->legacy_align = value;
        break;
    case QUEUE_PFN:
        if (q && value && !q->ready)
            legacy_place(q, (uint64_t)value << v->legacy_page_shift);
        if (q)
            set_ready(v, q, value != 0);
        break;
    case QUEUE_NUM:
        if (q && !q->ready)
            q->num = is_queue_size(v, value) ? (uint16_t)value : 0;
        break;
    default: break;
    }
}

/* --- registers -------------------------------------------------------------------------------- */
static uint64_t virtio_read(struct device *d, uint64_t offset, unsigned bytes) {
    struct virtio *v = virtio_of(d);
    struct virtq *q = selected(v);
    if (offset >= CONFIG)
        return config_read(v, offset - CONFIG, bytes);
    if (bytes != 4)
        return 0;
    switch (offset) {
    case MAGIC: return MAGIC_VALUE;
    case VERSION: return v->legacy ? 1 : 2;
    case DEVICE_ID: return v->type->device_id;
    case VENDOR_ID: return VENDOR_VALUE;
    case DEVICE_FEATURES:
        return v->device_features_sel < 2 ? (uint32_t)(v->features_offered >> 32 * v->device_features_sel) : 0;
    case QUEUE_NUM_MAX: return q ? queue_max(v) : 0;
    case QUEUE_READY: return !v->legacy && q && q->ready;
    case QUEUE_PFN: return v->legacy && q ? legacy_pfn(v, q) : 0;
    case SHM_LEN_LOW:
    case SHM_LEN_HIGH: return UINT32_MAX; /* there is none */
    case INTERRUPT_STATUS: return machine_virtio_status(d);
    case STATUS: return v->status;
    case CONFIG_GENERATION: return v->legacy ? 0 : v->config_generation;
    default: return 0;
    }
}

static void set_low(uint64_t *reg, uint32_t value) { *reg = (*reg & ~UINT64_C(0xffffffff)) | value; }

static void set_high(uint64_t *reg, uint32_t value) { *reg = (*reg & UINT64_C(0xffffffff)) | (uint64_t)value << 32; }

static void queue_write(struct virtio *v, struct virtq *q, uint64_t offset, uint32_t value) {
    if (offset == QUEUE_READY) {
        set_ready(v, q, value & 1);
        return;
    }
    if (q->ready) /* the driver must not move a live queue */
        return;
    switch (offset) {
    case QUEUE_NUM: q->num = is_queue_size(v, value) ? (uint16_t)value : 0; break;
    case QUEUE_DESC_LOW: set_low(&q->desc, value); break;
    case QUEUE_DESC_HIGH: set_high(&q->desc, value); break;
    case QUEUE_DRIVER_LOW: set_low(&q->avail, value); break;
    case QUEUE_DRIVER_HIGH: set_high(&q->avail, value); break;
    case QUEUE_DEVICE_LOW: set_low(&q->used, value); break;
    case QUEUE_DEVICE_HIGH: set_high(&q->used, value); break;
    default: break;
    }
}

static void status_write(struct virtio *v, uint32_t value) {
    if (value == 0) {
        virtio_reset(&v->dev);
        return;
    }
    /* FEATURES_OK is refused without VERSION_1, and for features that were not offered. Legacy drivers do not ask. */
    if (!v->legacy && value & STATUS_FEATURES_OK &&
        (!virtio_has(v, VIRTIO_F_VERSION_1) || v->features & ~v->features_offered))
        value &= ~(uint32_t)STATUS_FEATURES_OK;
    v->status = (value & 0xff) | (v->status & STATUS_NEEDS_RESET);
}

static void features_write(struct virtio *v, uint32_t value) {
    if (v->legacy && v->driver_features_sel == 0)
        v->features = value & v->features_offered;
    if (v->legacy || v->status & STATUS_FEATURES_OK || v->driver_features_sel > 1)
        return;
    if (v->driver_features_sel)
        set_high(&v->features, value);
    else
        set_low(&v->features, value);
}

static void virtio_write(struct device *d, uint64_t offset, uint64_t value64, unsigned bytes) {
    struct virtio *v = virtio_of(d);
    struct virtq *q = selected(v);
    uint32_t value = (uint32_t)value64;
    if (offset >= CONFIG && v->type->config_write)
        v->type->config_write(v, offset - CONFIG, value64, bytes);
    if (bytes != 4 || offset >= CONFIG)
        return;
    switch (offset) {
    case DEVICE_FEATURES_SEL: v->device_features_sel = value; break;
    case DRIVER_FEATURES_SEL: v->driver_features_sel = value; break;
    case DRIVER_FEATURES: features_write(v, value); break;
    case QUEUE_SEL: v->queue_sel = value; break;
    case QUEUE_NOTIFY: /* its work is done in the threads where the doorbells ring */
        if (value < v->type->queues)
            machine_ring(d, value);
        break;
    case INTERRUPT_ACK: machine_virtio_ack(d, value); break;
    case STATUS: status_write(v, value); break;
    default:
        if (v->legacy)
            legacy_write(v, q, offset, value);
        else if (q)
            queue_write(v, q, offset, value);
    }
}

/* --- snapshots -------------------------------------------------------------------------------- */
#define QUEUE(n)                                                                                                       \
    STATE(struct virtio, queue[n].desc), STATE(struct virtio, queue[n].avail), STATE(struct virtio, queue[n].used),    \
        STATE_MAX(struct virtio, queue[n].num, 2, VIRTQ_MAX_SIZE), STATE_BOOL(struct virtio, queue[n].ready),          \
        STATE(struct virtio, queue[n].next_avail), STATE(struct virtio, queue[n].next_used),                           \
        STATE(struct virtio, queue[n].signalled_used), STATE_BOOL(struct virtio, queue[n].signalled_valid),            \
        STATE(struct virtio, queue[n].legacy_align)

static const struct state_field virtio_state[] = {
    STATE(struct virtio, config_generation),
    STATE(struct virtio, device_features_sel),
    STATE(struct virtio, driver_features_sel),
    STATE(struct virtio, queue_sel),
    STATE_MAX(struct virtio, status, 4, 0xff),
    STATE_SAME(struct virtio, legacy),
    STATE_MAX(struct virtio, legacy_page_shift, 4, 31),
    STATE(struct virtio, features),
    QUEUE(0),
    QUEUE(1),
    QUEUE(2),
    QUEUE(3),
    STATE_END,
};
_Static_assert(VIRTIO_MAX_QUEUES == 4, "each queue has its rows");

static int virtio_ready(struct device *d, char err[256]) {
    struct virtio *v = virtio_of(d);
    return v->type->ready ? v->type->ready(v, err) : 1;
}

static bool virtio_loaded(struct device *d) {
    struct virtio *v = virtio_of(d);
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        if (v->queue[i].ready && (i >= v->type->queues || !is_queue_size(v, v->queue[i].num)))
            return false;
    return !v->type->loaded || v->type->loaded(v);
}

static bool virtio_finish(struct device *d) {
    struct virtio *v = virtio_of(d);
    return !v->type->finish || v->type->finish(v);
}

static void virtio_destroy(struct device *d) {
    struct virtio *v = virtio_of(d);
    v->type->destroy(v);
}

void virtio_init(struct virtio *v, const struct virtio_type *type, struct machine *m, uint64_t gpa, unsigned spi,
                 int slot) {
    static const struct device_ops ops = {
        .name = "virtio-mmio",
        .read = virtio_read,
        .write = virtio_write,
        .notify = virtio_notify,
        .finish = virtio_finish,
        .state = virtio_state,
        .ready = virtio_ready,
        .loaded = virtio_loaded,
        .destroy = virtio_destroy,
    };
    v->dev = (struct device){.ops = &ops, .machine = m, .gpa = gpa, .size = 0x200, .spi = spi, .virtio_slot = slot};
    v->dev.more_state = type->state;
    v->type = type;
    v->legacy = machine_virtio_legacy(m);
    v->features_offered = type->features | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
                          (v->legacy ? VIRTIO_F_ANY_LAYOUT : VIRTIO_F_VERSION_1);
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        v->queue[i].legacy_align = LEGACY_ALIGN;
}

/* --- an empty slot: the transport is there, DeviceID is 0 ------------------------------------- */
static uint64_t empty_read(struct device *d, uint64_t offset, unsigned bytes) {
    (void)bytes;
    switch (offset) {
    case MAGIC: return MAGIC_VALUE;
    case VERSION: return machine_virtio_legacy(d->machine) ? 1 : 2;
    case VENDOR_ID: return VENDOR_VALUE;
    default: return 0;
    }
}

static void empty_write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    (void)d, (void)offset, (void)value, (void)bytes;
}

static void empty_destroy(struct device *d) { free(d); }

struct device *virtio_empty_create(struct machine *m, uint64_t gpa, unsigned spi, int slot) {
    static const struct device_ops ops = {
        .name = "virtio-mmio", .read = empty_read, .write = empty_write, .destroy = empty_destroy};
    struct device *d = calloc(1, sizeof(*d));
    if (d)
        *d = (struct device){.ops = &ops, .machine = m, .gpa = gpa, .size = 0x200, .spi = spi, .virtio_slot = slot};
    return d;
}
