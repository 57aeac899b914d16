/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virtio_console.c: console device with one port (Virtio 1.2, section 5.3): queue 0 receives, queue 1 transmits. */
#include "devices/virtio.h"

#include <stdlib.h>
#include <string.h>

#define F_SIZE BIT(0)
#define COPY_BYTES 4096

enum { QUEUE_RX, QUEUE_TX };

struct console {
    struct virtio v;
    struct chardev *chardev;
    /* Bytes of the first available request that were taken while there is no room for the rest, and the life of its
     * queue: */
    uint64_t sent;
    uint32_t life;
    uint32_t told[2]; /* lives of the queues, the last time that the size was told of at their first notification */
};

static struct console *console_of(struct virtio *v) { return CONTAINER_OF(v, struct console, v); }

/* Takes what there is room for, but not too much at a time. */
static void take(struct console *c, const struct virtq_request *r) {
    uint8_t buf[COPY_BYTES];
    size_t n;
    for (size_t sum = 0; sum < VIRTQ_TURN_BYTES; sum += n) {
        size_t room = chardev_room(c->chardev);
        n = virtq_read(&c->v, r, c->sent, buf, room < sizeof(buf) ? room : sizeof(buf));
        if (!n)
            return;
        c->sent += chardev_write(c->chardev, buf, n);
    }
    machine_ring(&c->v.dev, QUEUE_TX);
}

/* A request stays available until all of it is taken: its buffers are the guest's sign that the output is stuck. */
static void transmit(struct console *c) {
    struct virtq *q = &c->v.queue[QUEUE_TX];
    struct virtq_request r;
    struct virtq_turn turn = {0};
    while (virtq_next(&c->v, QUEUE_TX, &turn, &r) == 1) {
        if (c->life != r.life)
            c->sent = 0;
        c->life = r.life;
        take(c, &r);
        if (c->sent < r.out_bytes) {
            virtq_unpop(q);
            break;
        }
        c->sent = 0;
        virtq_push(&c->v, q, r.head, 0);
    }
    virtq_interrupt(&c->v, q);
}

/* A buffer is used for what there is to be read, and stays available if that is nothing. */
static void receive(struct console *c) {
    struct virtq *q = &c->v.queue[QUEUE_RX];
    struct virtq_request r;
    struct virtq_turn turn = {0};
    uint8_t buf[COPY_BYTES];
    while (virtq_next(&c->v, QUEUE_RX, &turn, &r) == 1) {
        size_t n = chardev_read(c->chardev, buf, r.in_bytes < sizeof(buf) ? r.in_bytes : sizeof(buf));
        if (!n && r.in_bytes) {
            virtq_unpop(q);
            break;
        }
        virtq_push(&c->v, q, r.head, (uint32_t)virtq_write(&c->v, &r, 0, buf, n));
    }
    virtq_interrupt(&c->v, q);
}

static void look_at_size(struct console *c) {
    uint16_t size[2];
    chardev_size(c->chardev, &size[0], &size[1]);
    if (!memcmp(c->v.config, size, sizeof(size)))
        return;
    memcpy(c->v.config, size, sizeof(size));
    if (virtio_has(&c->v, F_SIZE))
        virtio_config_changed(&c->v);
}

static void console_ready(void *arg) {
    struct console *c = arg;
    look_at_size(c);
    if (!virtio_is_live(&c->v))
        return;
    receive(c);
    transmit(c);
}

/* Linux reads the size only when it is told that it has changed, and by the first notification of one queue it may have
 * no console yet to tell. */
static void tell_size(struct console *c, unsigned queue) {
    uint32_t life = c->v.queue[queue].life + 1; /* it starts with 0 */
    if (virtio_has(&c->v, F_SIZE) && c->told[queue] != life)
        virtio_config_changed(&c->v);
    c->told[queue] = life;
}

static void console_notify(struct virtio *v, unsigned queue) {
    struct console *c = console_of(v);
    tell_size(c, queue);
    if (queue == QUEUE_TX)
        transmit(c);
    else
        receive(c);
}

static const struct state_field console_state[] = {STATE(struct console, sent), STATE_END};

static int console_is_ready(struct virtio *v, char err[256]) {
    struct console *c = console_of(v);
    if (c->life != v->queue[QUEUE_TX].life)
        c->sent = 0;
    return 1;
}

static bool console_loaded(struct virtio *v) {
    struct console *c = console_of(v);
    c->life = v->queue[QUEUE_TX].life;
    return true;
}

static void console_destroy(struct virtio *v) { free(console_of(v)); }

struct device *virtio_console_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, struct chardev *chardev) {
    static const struct virtio_type type = {.name = "console",
                                            .device_id = VIRTIO_ID_CONSOLE,
                                            .queues = 2,
                                            .notify = console_notify,
                                            .state = console_state,
                                            .ready = console_is_ready,
                                            .loaded = console_loaded,
                                            .destroy = console_destroy};
    struct console *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    virtio_init(&c->v, &type, m, gpa, spi, slot);
    if (chardev_has_size(chardev))
        c->v.features_offered |= F_SIZE;
    c->v.config_bytes =
        12; /* cols, rows, max_nr_ports, emerg_wr: of these only the first two have a feature that is offered */
    c->chardev = chardev;
    look_at_size(c);
    chardev_listen(chardev, console_ready, c);
    return &c->v.dev;
}
