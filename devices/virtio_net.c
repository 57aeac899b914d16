/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_net.c: network device (Virtio 1.2, section 5.1). What is behind it is another process (usernet.h): frames come
 * and go as the packets of a socket. Where the guest has no buffers, or the other side does not read, frames wait in
 * there, and then are lost.
 */
#include "devices/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define F_MAC BIT(5)
#define F_STATUS BIT(16)
#define NET_HEADER 12        /* struct virtio_net_hdr with num_buffers */
#define NET_HEADER_LEGACY 10 /* and without */
#define FRAME_MIN 14         /* an Ethernet header */
#define FRAME_MAX 65536
#define HEAD sizeof(uint32_t)

enum { QUEUE_RX, QUEUE_TX };

struct net {
    struct virtio v;
    int channel;
    struct event_fd *event; /* NULL: nobody is at the other end any more */
    bool starved;           /* the guest has no buffers: the channel is not read */
    size_t held;            /* bytes of frame[] that the channel did not take yet */
    uint8_t frame[FRAME_MAX];
    size_t in_at, in_len; /* what is left of the packet that was read: frames, each behind its length */
    uint8_t in[HEAD + FRAME_MAX];
};

static struct net *net_of(struct virtio *v) { return CONTAINER_OF(v, struct net, v); }

static size_t net_header(const struct net *n) {
    return virtio_has(&n->v, VIRTIO_F_VERSION_1) ? NET_HEADER : NET_HEADER_LEGACY;
}

static void watch(struct net *n) {
    if (n->event)
        event_mod_fd(n->event, (n->starved ? 0 : EPOLLIN) | (n->held ? EPOLLOUT : 0));
}

static void lose(struct net *n) {
    if (n->event)
        event_del_fd(n->event);
    n->event = NULL;
    n->held = 0;
    log_printf("graft: network: its process has ended\n");
}

/* --- to the guest ----------------------------------------------------------------------------- */
/* The next packet; false: there is none now. */
static bool read_packet(struct net *n) {
    ssize_t len;
    do
        len = read(n->channel, n->in, sizeof(n->in));
    while (len < 0 && errno == EINTR);
    if (len == 0 || (len < 0 && errno != EAGAIN))
        lose(n);
    n->in_at = 0;
    n->in_len = len > 0 ? (size_t)len : 0;
    return len > 0;
}

/* The next frame, in n->in; 0: there is none now. The other process is not trusted: if a length is wrong it is done
 * with. */
static size_t next_frame(struct net *n, const uint8_t **frame) {
    uint32_t len = 0;
    if (n->in_at == n->in_len && !read_packet(n))
        return 0;
    size_t left = n->in_len - n->in_at;
    if (left >= HEAD)
        memcpy(&len, n->in + n->in_at, HEAD);
    if (len < FRAME_MIN || len > left - HEAD) {
        n->in_at = n->in_len;
        lose(n);
        return 0;
    }
    *frame = n->in + n->in_at + HEAD;
    n->in_at += HEAD + len;
    return len;
}

static void put_frame(struct net *n, const struct virtq_request *r, const uint8_t *frame, size_t len) {
    static const uint8_t header[NET_HEADER] = {[10] = 1};
    size_t header_bytes = net_header(n), all = header_bytes + len;
    if (r->in_bytes >= all) {
        virtq_write(&n->v, r, 0, header, header_bytes);
        virtq_write(&n->v, r, header_bytes, frame, len);
    }
    virtq_push(&n->v, &n->v.queue[QUEUE_RX], r->head, r->in_bytes >= all ? (uint32_t)all : 0);
}

static void net_receive(struct net *n) {
    const uint8_t *frame;
    struct virtq *q = &n->v.queue[QUEUE_RX];
    struct virtq_request r;
    struct virtq_turn turn = {0};
    size_t len;
    int got = 0;
    while (n->event && (got = virtq_next(&n->v, QUEUE_RX, &turn, &r)) == 1) {
        if (!(len = next_frame(n, &frame))) {
            virtq_unpop(q);
            break;
        }
        put_frame(n, &r, frame, len);
    }
    n->starved = got == 0 && turn.requests < VIRTQ_TURN_REQUESTS && turn.bytes < VIRTQ_TURN_BYTES;
    virtq_interrupt(&n->v, q);
}

/* Nobody listens yet, or any more. */
static void drop_frames(struct net *n) {
    for (unsigned i = 0; i < VIRTQ_TURN_REQUESTS && n->event && read_packet(n); i++)
        continue;
    n->in_len = n->in_at = 0;
}

/* --- from the guest --------------------------------------------------------------------------- */
/* False: the channel is full. */
static bool send_held(struct net *n) {
    while (n->held && n->event)
        if (write(n->channel, n->frame, n->held) >= 0 || errno == EMSGSIZE || errno == ENOBUFS)
            n->held = 0;
        else if (errno == EAGAIN)
            return false;
        else if (errno != EINTR)
            lose(n);
    return true;
}

static void net_transmit(struct net *n) {
    struct virtq *q = &n->v.queue[QUEUE_TX];
    struct virtq_request r;
    struct virtq_turn turn = {0};
    while (send_held(n) && virtq_next(&n->v, QUEUE_TX, &turn, &r) == 1) {
        size_t header = net_header(n), len = virtq_read(&n->v, &r, header, n->frame, FRAME_MAX);
        bool whole = len >= FRAME_MIN && r.out_bytes - header <= FRAME_MAX;
        n->held = whole && n->event ? len : 0;
        virtq_push(&n->v, q, r.head, 0);
    }
    virtq_interrupt(&n->v, q);
}

static void net_notify(struct virtio *v, unsigned queue) {
    struct net *n = net_of(v);
    if (queue == QUEUE_TX)
        net_transmit(n);
    if (queue == QUEUE_RX || n->starved)
        net_receive(n);
    watch(n);
}

static void on_channel(void *arg, uint32_t events) {
    struct net *n = arg;
    bool live = virtio_is_live(&n->v);
    if (events & EPOLLOUT && live)
        net_transmit(n);
    else if (events & EPOLLOUT)
        n->held = 0;
    if (n->event && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (live && !(n->starved && events & EPOLLHUP))
            net_receive(n);
        else
            drop_frames(n);
    }
    watch(n);
}

/* --- creation --------------------------------------------------------------------------------- */
static void net_destroy(struct virtio *v) {
    struct net *n = net_of(v);
    if (n->event)
        event_del_fd(n->event);
    free(n);
}

struct device *virtio_net_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, char err[256]) {
    static const struct virtio_type type = {.name = "net",
                                            .device_id = VIRTIO_ID_NET,
                                            .queues = 2,
                                            .features = F_MAC | F_STATUS,
                                            .notify = net_notify,
                                            .destroy = net_destroy};
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    int channel = network_begin(err);
    struct net *n = channel < 0 ? NULL : calloc(1, sizeof(*n));
    if (!n) {
        if (channel >= 0)
            snprintf(err, 256, "network: out of memory");
        return NULL;
    }
    virtio_init(&n->v, &type, m, gpa, spi, slot);
    memcpy(n->v.config, mac, sizeof(mac));
    n->v.config[6] = 1; /* VIRTIO_NET_S_LINK_UP */
    n->v.config_bytes = 8;
    n->channel = channel;
    n->event = event_add_fd(m, channel, EPOLLIN, on_channel, n);
    if (n->event)
        return &n->v.dev;
    snprintf(err, 256, "network: out of memory or descriptors");
    net_destroy(&n->v);
    return NULL;
}
