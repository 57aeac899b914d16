/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * good_driver.h: a driver that does everything right, to begin with, of a device that has a queue to the guest and one
 * from it; and the one descriptor that the device watches.
 */
#ifndef FUZZ_GOOD_DRIVER_H
#define FUZZ_GOOD_DRIVER_H

#include "tests/fuzz/device_world.h"

#include <poll.h>
#include <sys/epoll.h>

#define NUM 16u
#define RX_RING 0x0000u /* descriptors, then the available ring, then the used one, 256 bytes each */
#define TX_RING 0x0400u
#define RX_BUFFER 0x1000u
#define TX_BUFFER 0x9000u
#define BUFFER 2048u

/* --- events ----------------------------------------------------------------------------------- */
struct event_fd {
    int fd;
    uint32_t events;
    event_fn *fn;
    void *arg;
};
static struct event_fd watched;

struct event_fd *event_add_fd(struct machine *m, int fd, uint32_t events, event_fn *fn, void *arg) {
    watched = (struct event_fd){fd, events, fn, arg};
    return &watched;
}
void event_mod_fd(struct event_fd *e, uint32_t events) { e->events = events; }
void event_del_fd(struct event_fd *e) { e->fd = -1; }

/* elsewhere(): what is another process where no fuzzer is. It and the device have something for each other several
 * times. */
static void run_events(struct machine *m, struct device *d, void (*elsewhere)(void)) {
    for (unsigned round = 0; round < 3; round++) {
        elsewhere();
        struct pollfd p = {.fd = watched.fd, .events = (short)watched.events}; /* EPOLLIN is POLLIN, and so on */
        if (poll(&p, 1, 0) > 0)
            watched.fn(watched.arg, (uint32_t)p.revents);
        uint64_t rung = m->rung;
        m->rung = 0;
        if (rung)
            d->ops->notify(d, rung);
    }
}

/* --- the driver ------------------------------------------------------------------------------- */
static uint16_t tx_index, rx_index, rx_used;

static void put_descriptor(struct machine *m, unsigned ring, unsigned i, unsigned at, uint32_t len, uint16_t flags) {
    uint64_t address = RAM_GPA + at;
    memcpy(m->ram + ring + 16 * i, &address, 8);
    memcpy(m->ram + ring + 16 * i + 8, &len, 4);
    memcpy(m->ram + ring + 16 * i + 12, &flags, 2);
}

static void offer(struct machine *m, unsigned ring, uint16_t *index, unsigned i) {
    uint16_t head = (uint16_t)i;
    memcpy(m->ram + ring + 0x100 + 4 + 2 * (*index % NUM), &head, 2);
    ++*index;
    memcpy(m->ram + ring + 0x100 + 2, index, 2);
}

static void live_queue(struct device *d, unsigned n, unsigned ring) {
    d->ops->write(d, 0x030, n, 4);
    d->ops->write(d, 0x038, NUM, 4);
    for (unsigned i = 0; i < 3; i++)
        d->ops->write(d, 0x080 + 16 * i, RAM_GPA + ring + 0x100 * i, 4);
    d->ops->write(d, 0x044, 1, 4);
}

static void bring_up(struct machine *m, struct device *d) {
    static const uint8_t status[] = {0, 3, 11};
    for (unsigned i = 0; i < sizeof(status); i++) {
        d->ops->write(d, 0x024, 1, 4);
        d->ops->write(d, 0x020, 1, 4);
        d->ops->write(d, 0x070, status[i], 4);
    }
    memset(m->ram, 0, RX_BUFFER);
    tx_index = rx_index = rx_used = 0;
    live_queue(d, 0, RX_RING);
    live_queue(d, 1, TX_RING);
    d->ops->write(d, 0x070, 15, 4);
    for (unsigned i = 0; i < NUM; i++) {
        put_descriptor(m, RX_RING, i, RX_BUFFER + BUFFER * i, BUFFER, 2);
        offer(m, RX_RING, &rx_index, i);
    }
}

/* What is in the next buffer for the device goes to it. */
static uint8_t *next_buffer(struct machine *m) { return m->ram + TX_BUFFER + BUFFER * (tx_index % NUM % 8); }

static void send_buffer(struct machine *m, struct device *d, unsigned len) {
    unsigned i = tx_index % NUM;
    put_descriptor(m, TX_RING, i, TX_BUFFER + BUFFER * (i % 8), len, 0);
    offer(m, TX_RING, &tx_index, i);
    d->ops->notify(d, 2);
}

#endif
