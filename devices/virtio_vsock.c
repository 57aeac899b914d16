/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_vsock.c: socket device (Virtio 1.2, section 5.10). Connections are the business of another process (vsock.h):
 * packets come and go as those of a socket. Each life of the device, from one reset to the next, has a number, which
 * the process is told of first; packets of another are no one's.
 */
#include "devices/virtio.h"
#include "devices/vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define F_STREAM BIT(0)
#define EVENT_TRANSPORT_RESET 0
#define HEADER sizeof(struct vsock_header)

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT };

struct vsock_device {
    struct virtio v;
    int channel;
    struct event_fd *event; /* NULL: nobody is at the other end any more */
    uint32_t life;
    bool untold;  /* the other process does not know of this life yet */
    bool resumed; /* the guest believes in connections of another run */
    bool starved; /* the guest has no buffers: the channel is not read */
    bool waits;   /* the channel is full */
    size_t held;  /* bytes of out[] that the channel did not take yet */
    uint8_t out[HEADER + VSOCK_DATA];
    uint32_t at;     /* of the data of in, the guest has what is before */
    bool unfinished; /* in holds a packet that the guest does not have all of */
    struct vsock_packet in;
};

static uint32_t lives; /* all machines of this process have the same channel */

static struct vsock_device *vsock_of(struct virtio *v) { return CONTAINER_OF(v, struct vsock_device, v); }

static void watch(struct vsock_device *d) {
    if (d->event)
        event_mod_fd(d->event, (d->starved ? 0 : EPOLLIN) | (d->waits ? EPOLLOUT : 0));
}

static void lose(struct vsock_device *d) {
    if (d->event)
        event_del_fd(d->event);
    d->event = NULL;
    d->held = 0;
    d->unfinished = d->waits = false;
    log_printf("graft: vsock: its process has ended\n");
}

static void new_life(struct vsock_device *d) {
    d->life = ++lives;
    d->untold = true;
    d->held = 0;
    d->unfinished = d->starved = false;
}

/* --- from the guest --------------------------------------------------------------------------- */
/* False: the channel is full. */
static bool put_in_channel(struct vsock_device *d, const void *packet, size_t len) {
    while (d->event && write(d->channel, packet, len) < 0) {
        if (errno == EAGAIN || errno == ENOBUFS)
            return !(d->waits = true);
        if (errno != EINTR)
            lose(d);
    }
    return true;
}

static bool send_held(struct vsock_device *d) {
    if (d->untold)
        d->untold = !put_in_channel(d, &d->life, sizeof(d->life));
    if (!d->untold && d->held && put_in_channel(d, d->out, d->held))
        d->held = 0;
    d->waits = d->untold || d->held;
    return !d->waits;
}

static void vsock_transmit(struct vsock_device *d) {
    struct virtq *q = &d->v.queue[QUEUE_TX];
    struct virtq_request r;
    struct virtq_turn turn = {0};
    while (send_held(d) && virtq_next(&d->v, QUEUE_TX, &turn, &r) == 1) {
        size_t len = virtq_read(&d->v, &r, 0, d->out, sizeof(d->out));
        bool whole = len >= HEADER && r.out_bytes == len;
        d->held = whole && d->event ? len : 0;
        virtq_push(&d->v, q, r.head, 0);
    }
    virtq_interrupt(&d->v, q);
}

/* --- to the guest ----------------------------------------------------------------------------- */
/* Another packet; false: there is none now. The other process is not trusted: if a length is wrong it is done with. */
static bool read_packet(struct vsock_device *d) {
    while (d->event && !d->unfinished) {
        ssize_t len = read(d->channel, &d->in, sizeof(d->in));
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && errno == EAGAIN)
            return false;
        if (len < (ssize_t)offsetof(struct vsock_packet, data) ||
            d->in.header.len != (size_t)len - offsetof(struct vsock_packet, data))
            lose(d);
        d->unfinished = d->event && d->in.life == d->life;
        d->at = 0;
    }
    return d->unfinished;
}

/* What of the packet there is room for, as a packet. */
static void put_piece(struct vsock_device *d, const struct virtq_request *r) {
    struct vsock_header h = d->in.header;
    uint64_t room = r->in_bytes > HEADER ? r->in_bytes - HEADER : 0;
    uint32_t left = h.len - d->at;
    if (r->in_bytes < HEADER || (left && !room)) {
        virtio_broken(&d->v);
        return;
    }
    h.len = left < room ? left : (uint32_t)room;
    virtq_write(&d->v, r, 0, &h, HEADER);
    virtq_write(&d->v, r, HEADER, d->in.data + d->at, h.len);
    virtq_push(&d->v, &d->v.queue[QUEUE_RX], r->head, (uint32_t)HEADER + h.len);
    d->at += h.len;
    d->unfinished = d->at < d->in.header.len;
}

static void vsock_receive(struct vsock_device *d) {
    struct virtq *q = &d->v.queue[QUEUE_RX];
    struct virtq_request r;
    struct virtq_turn turn = {0};
    int got = 0;
    while (d->event && (got = virtq_next(&d->v, QUEUE_RX, &turn, &r)) == 1) {
        if (!read_packet(d)) {
            virtq_unpop(q);
            break;
        }
        put_piece(d, &r);
    }
    d->starved = got == 0 && turn.requests < VIRTQ_TURN_REQUESTS && turn.bytes < VIRTQ_TURN_BYTES;
    virtq_interrupt(&d->v, q);
}

/* Nobody listens yet, or any more. */
static void drop_packets(struct vsock_device *d) {
    for (unsigned i = 0; i < VIRTQ_TURN_REQUESTS && read_packet(d); i++)
        d->unfinished = false;
}

/* --- events ----------------------------------------------------------------------------------- */
static void send_event(struct vsock_device *d) {
    static const uint32_t event = EVENT_TRANSPORT_RESET;
    struct virtq *q = &d->v.queue[QUEUE_EVENT];
    struct virtq_request r;
    if (!d->resumed || virtq_pop(&d->v, q, &r) != 1)
        return;
    d->resumed = false;
    virtq_push(&d->v, q, r.head, (uint32_t)virtq_write(&d->v, &r, 0, &event, sizeof(event)));
    virtq_interrupt(&d->v, q);
}

static void vsock_notify(struct virtio *v, unsigned queue) {
    struct vsock_device *d = vsock_of(v);
    if (queue == QUEUE_EVENT)
        send_event(d);
    if (queue == QUEUE_TX)
        vsock_transmit(d);
    if (queue == QUEUE_RX || d->starved)
        vsock_receive(d);
    send_held(d);
    watch(d);
}

static void on_channel(void *arg, uint32_t events) {
    struct vsock_device *d = arg;
    bool live = virtio_is_live(&d->v);
    if (events & EPOLLOUT && live)
        vsock_transmit(d);
    send_held(d);
    if (d->event && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (live && !(d->starved && events & EPOLLHUP))
            vsock_receive(d);
        else
            drop_packets(d);
    }
    watch(d);
}

/* In a vCPU's thread, which makes no system calls for devices: the other process hears of it later. */
static void vsock_quiesce(struct virtio *v) { new_life(vsock_of(v)); }

/* The connections of the guest that was saved are gone. */
static bool vsock_loaded(struct virtio *v) {
    struct vsock_device *d = vsock_of(v);
    d->resumed = virtio_is_live(v);
    machine_ring(&v->dev, QUEUE_EVENT);
    machine_ring(&v->dev, QUEUE_TX);
    machine_ring(&v->dev, QUEUE_RX);
    return true;
}

/* --- creation --------------------------------------------------------------------------------- */
static void vsock_device_destroy(struct virtio *v) {
    struct vsock_device *d = vsock_of(v);
    if (d->event)
        event_del_fd(d->event);
    free(d);
}

struct device *virtio_vsock_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, uint32_t cid, int channel,
                                   char err[256]) {
    static const struct virtio_type type = {.name = "vsock",
                                            .device_id = VIRTIO_ID_VSOCK,
                                            .queues = 3,
                                            .features = F_STREAM,
                                            .notify = vsock_notify,
                                            .quiesce = vsock_quiesce,
                                            .loaded = vsock_loaded,
                                            .destroy = vsock_device_destroy};
    struct vsock_device *d = calloc(1, sizeof(*d));
    if (d) {
        virtio_init(&d->v, &type, m, gpa, spi, slot);
        memcpy(d->v.config, &cid, sizeof(cid));
        d->v.config_bytes = 8;
        d->channel = channel;
        d->event = event_add_fd(m, channel, EPOLLIN, on_channel, d);
    }
    if (d && d->event) {
        new_life(d);
        send_held(d);
        watch(d);
        return &d->v.dev;
    }
    snprintf(err, 256, "vsock: out of memory or descriptors");
    free(d);
    return NULL;
}
