/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virtio_console.c: console device with one port (Virtio 1.2, section 5.3): queue 0 receives, queue 1 transmits. */
#include "devices/virtio.h"

#include <stdlib.h>

enum { QUEUE_RX, QUEUE_TX };

struct console {
    struct virtio v;
    struct chardev *chardev;
};

static struct console *console_of(struct virtio *v) { return CONTAINER_OF(v, struct console, v); }

static void transmit(struct console *c) {
    struct virtq *q = &c->v.queue[QUEUE_TX];
    struct virtq_request r;
    while (virtq_pop(&c->v, q, &r) == 1) {
        uint8_t buf[4096];
        size_t n;
        for (uint64_t done = 0; (n = virtq_read(&c->v, &r, done, buf, sizeof(buf))) != 0; done += n)
            chardev_write(c->chardev, buf, n);
        virtq_push(&c->v, q, r.head, 0);
    }
    virtq_interrupt(&c->v, q);
}

static size_t console_input(void *arg, const uint8_t *buf, size_t len) {
    struct console *c = arg;
    struct virtq *q = &c->v.queue[QUEUE_RX];
    struct virtq_request r;
    size_t taken = 0;
    while (taken < len && virtq_pop(&c->v, q, &r) == 1) {
        size_t n = virtq_write(&c->v, &r, 0, buf + taken, len - taken);
        virtq_push(&c->v, q, r.head, (uint32_t)n);
        taken += n;
    }
    if (taken)
        virtq_interrupt(&c->v, q);
    return taken;
}

static void console_notify(struct virtio *v, unsigned queue) {
    struct console *c = console_of(v);
    if (queue == QUEUE_TX)
        transmit(c);
    else
        chardev_more(c->chardev);
}

static void console_destroy(struct virtio *v) { free(console_of(v)); }

struct device *virtio_console_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, struct chardev *chardev) {
    static const struct virtio_type type = {.name = "console",
                                            .device_id = VIRTIO_ID_CONSOLE,
                                            .queues = 2,
                                            .notify = console_notify,
                                            .destroy = console_destroy};
    struct console *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    virtio_init(&c->v, &type, m, gpa, spi, slot);
    c->v.config_bytes = 12; /* cols, rows, max_nr_ports, emerg_wr: none of their features is offered */
    c->chardev = chardev;
    chardev_listen(chardev, console_input, c);
    return &c->v.dev;
}
