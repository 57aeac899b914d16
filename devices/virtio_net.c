/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_net.c: network device (Virtio 1.2, section 5.1) on libslirp's user
 * network: 10.0.2.0/24, host 10.0.2.2, DNS 10.0.2.3, DHCP from 10.0.2.15, as
 * QEMU's -netdev user.
 */
#include "devices/virtio.h"

#include <arpa/inet.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/types.h>

#define F_MAC BIT(5)
#define F_STATUS BIT(16)
#define NET_HEADER 12 /* struct virtio_net_hdr with num_buffers */
#define MAX_FRAME 65536
#define MAX_FDS 64
#define NS_PER_MS 1000000

enum { QUEUE_RX, QUEUE_TX };

/* One descriptor that slirp asked to watch, for this round. */
struct watch {
    int fd;
    uint32_t events, revents;
    struct event_fd *event;
    bool wanted;
    struct net *net;
};

struct net {
    struct virtio v;
    Slirp *slirp;
    struct event_timer timer;
    bool incomplete; /* slirp lacks a timer that it wanted */
    struct watch watch[MAX_FDS];
};

struct net_timer {
    struct event_timer event;
    SlirpTimerCb cb;
    void *opaque;
    struct net *net;
};

static void net_poll(struct net *n);
static void net_rearm(struct net *n);

static struct net *net_of(struct virtio *v) { return CONTAINER_OF(v, struct net, v); }

/* --- frames ------------------------------------------------------------------------------------ */

/* To the guest. A frame that finds no buffer is dropped: the protocols above retransmit. */
static ssize_t net_receive(const void *buf, size_t len, void *opaque) {
    struct net *n = opaque;
    struct virtq *q = &n->v.queue[QUEUE_RX];
    struct virtq_request r;
    uint8_t header[NET_HEADER] = {[10] = 1};
    if (virtq_pop(&n->v, q, &r) != 1)
        return (ssize_t)len;
    if (r.in_bytes < NET_HEADER + len) {
        virtq_push(&n->v, q, r.head, 0);
    } else {
        virtq_write(&n->v, &r, 0, header, sizeof(header));
        virtq_write(&n->v, &r, sizeof(header), buf, len);
        virtq_push(&n->v, q, r.head, (uint32_t)(NET_HEADER + len));
    }
    virtq_interrupt(&n->v, q);
    return (ssize_t)len;
}

static void net_transmit(struct net *n) {
    struct virtq *q = &n->v.queue[QUEUE_TX];
    static uint8_t frame[MAX_FRAME]; /* devices run under one lock */
    struct virtq_request r;
    struct virtq_turn turn = {0};
    while (virtq_next(&n->v, QUEUE_TX, &turn, &r) == 1) {
        size_t len = virtq_read(&n->v, &r, NET_HEADER, frame, sizeof(frame));
        if (len && r.out_bytes - NET_HEADER <= sizeof(frame))
            slirp_input(n->slirp, frame, (int)len);
        virtq_push(&n->v, q, r.head, 0);
    }
    virtq_interrupt(&n->v, q);
}

static void net_notify(struct virtio *v, unsigned queue) {
    struct net *n = net_of(v);
    if (queue == QUEUE_TX)
        net_transmit(n);
    net_rearm(n);
}

/* --- slirp's descriptors and timers in the event loop ---------------------------------------------- */

static uint32_t to_epoll(int events) {
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0);
}

static int from_epoll(uint32_t events) {
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static void watch_event(void *arg, uint32_t events) {
    struct watch *w = arg;
    w->revents = events;
    net_poll(w->net);
}

static int add_poll(int fd, int events, void *opaque) {
    struct net *n = opaque;
    struct watch *free_slot = NULL;
    for (struct watch *w = n->watch; w < n->watch + MAX_FDS; w++) {
        if (w->event && w->fd == fd) {
            w->events |= to_epoll(events);
            w->wanted = true;
            return (int)(w - n->watch);
        }
        if (!w->event && !w->wanted && !free_slot)
            free_slot = w;
    }
    if (!free_slot)
        return -1;
    *free_slot = (struct watch){.fd = fd, .events = to_epoll(events), .wanted = true, .net = n};
    free_slot->event = event_add_fd(n->v.dev.machine, fd, 0, watch_event, free_slot);
    return (int)(free_slot - n->watch);
}

static int get_revents(int index, void *opaque) {
    struct net *n = opaque;
    return index >= 0 ? from_epoll(n->watch[index].revents) : 0;
}

/* Asks slirp what to watch next and for how long. */
static void net_rearm(struct net *n) {
    uint32_t timeout_ms = UINT32_MAX;
    for (struct watch *w = n->watch; w < n->watch + MAX_FDS; w++)
        w->wanted = false, w->events = 0;
    slirp_pollfds_fill(n->slirp, &timeout_ms, add_poll, n);
    for (struct watch *w = n->watch; w < n->watch + MAX_FDS; w++) {
        if (w->event && w->wanted) {
            event_mod_fd(w->event, w->events);
        } else if (w->event) {
            event_del_fd(w->event);
            w->event = NULL;
        }
    }
    event_set_timer(&n->timer, timeout_ms == UINT32_MAX ? 0 : event_now_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1);
}

static void net_poll(struct net *n) {
    slirp_pollfds_poll(n->slirp, 0, get_revents, n);
    for (struct watch *w = n->watch; w < n->watch + MAX_FDS; w++)
        w->revents = 0;
    net_rearm(n);
}

static void net_timeout(void *arg) { net_poll(arg); }

static void slirp_timer_fired(void *arg) {
    struct net_timer *t = arg;
    t->cb(t->opaque);
    net_rearm(t->net);
}

static void *cb_timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque) {
    struct net *n = opaque;
    struct net_timer *t = calloc(1, sizeof(*t));
    if (!t) {
        n->incomplete = true;
        return NULL;
    }
    *t = (struct net_timer){.cb = cb, .opaque = cb_opaque, .net = n};
    event_add_timer(n->v.dev.machine, &t->event, slirp_timer_fired, t);
    return t;
}

static void cb_timer_free(void *timer, void *opaque) {
    struct net_timer *t = timer;
    (void)opaque;
    if (t)
        event_del_timer(&t->event);
    free(t);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque) {
    struct net_timer *t = timer;
    (void)opaque;
    if (t)
        event_set_timer(&t->event, expire_ms <= 0 ? 1 : (uint64_t)expire_ms * NS_PER_MS);
}

static int64_t cb_clock(void *opaque) {
    (void)opaque;
    return (int64_t)event_now_ns();
}

static void cb_guest_error(const char *msg, void *opaque) {
    (void)msg, (void)opaque; /* the guest's own mistake: nothing to do on our side */
}

static void cb_register_fd(int fd, void *opaque) { (void)fd, (void)opaque; /* net_rearm() finds it */ }

/* slirp is about to close fd: it must leave the epoll set now, the number may be reused. */
static void cb_unregister_fd(int fd, void *opaque) {
    struct net *n = opaque;
    for (struct watch *w = n->watch; w < n->watch + MAX_FDS; w++) {
        if (w->event && w->fd == fd) {
            event_del_fd(w->event);
            w->event = NULL;
            w->revents = 0;
        }
    }
}

static void cb_notify(void *opaque) { (void)opaque; /* every entry into slirp is followed by net_rearm() */ }

static const SlirpCb callbacks = {
    .send_packet = net_receive,
    .guest_error = cb_guest_error,
    .clock_get_ns = cb_clock,
    .timer_new = cb_timer_new,
    .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_register_fd,
    .unregister_poll_fd = cb_unregister_fd,
    .notify = cb_notify,
};

static void net_destroy(struct virtio *v) {
    struct net *n = net_of(v);
    slirp_cleanup(n->slirp);
    event_del_timer(&n->timer);
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
    SlirpConfig config = {.version = 1, .in_enabled = true};
    struct net *n = calloc(1, sizeof(*n));
    if (!n) {
        snprintf(err, 256, "network: out of memory");
        return NULL;
    }
    virtio_init(&n->v, &type, m, gpa, spi, slot);
    memcpy(n->v.config, mac, sizeof(mac));
    n->v.config[6] = 1; /* VIRTIO_NET_S_LINK_UP */
    n->v.config_bytes = 8;
    inet_pton(AF_INET, "10.0.2.0", &config.vnetwork);
    inet_pton(AF_INET, "255.255.255.0", &config.vnetmask);
    inet_pton(AF_INET, "10.0.2.2", &config.vhost);
    inet_pton(AF_INET, "10.0.2.15", &config.vdhcp_start);
    inet_pton(AF_INET, "10.0.2.3", &config.vnameserver);
    event_add_timer(m, &n->timer, net_timeout, n);
    n->slirp = slirp_new(&config, &callbacks, n);
    if (!n->slirp || n->incomplete) {
        snprintf(err, 256, n->slirp ? "network: out of memory" : "network: libslirp could not be started");
        if (n->slirp)
            slirp_cleanup(n->slirp);
        event_del_timer(&n->timer);
        free(n);
        return NULL;
    }
    net_rearm(n);
    return &n->v.dev;
}
