/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_net.c: network device (Virtio 1.2, section 5.1) on libslirp's user
 * network, as QEMU's -netdev user: 10.0.2.0/24, host 10.0.2.2, DNS 10.0.2.3, DHCP from 10.0.2.15; fec0::/64, host fec0::2,
 * DNS fec0::3. There may be MOST_FLOWS TCP connections, and as many flows of other kinds (for slirp, all that
 * comes from one UDP port of the guest is one), or fewer if the host gives fewer descriptors. Then the one that was idle for longest goes.
 */
#include "devices/ipfrag.h"
#include "devices/virtio.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#define F_MAC BIT(5)
#define F_STATUS BIT(16)
#define NET_HEADER 12        /* struct virtio_net_hdr with num_buffers */
#define NET_HEADER_LEGACY 10 /* and without */
#define MAX_FRAME 65536
#define NS_PER_MS UINT64_C(1000000)
#define MOST_FLOWS 1000          /* TCP connections, and as many of all others */
#define OTHER_FDS 128            /* descriptors that are not the network's */
#define EXPIRE_MS 240000         /* libslirp's SO_EXPIRE */
#define SAY_EVERY_NS 10000000000 /* 10 s */

enum { QUEUE_RX, QUEUE_TX };

enum kind { STREAMS, DATAGRAMS, KINDS };

/* A socket of slirp's. */
struct flow {
    bool open;
    enum kind kind;
    uint64_t since_ms;        /* slirp's clock when it began */
    uint32_t wanted, watched; /* EPOLL*: what slirp wants to hear of, and what it is watched for */
    uint32_t revents;         /* what happened, in this round */
};

struct net {
    struct virtio v;
    Slirp *slirp;
    struct event_timer timer;
    bool incomplete; /* slirp lacks a timer that it wanted */
    struct ipfrag fragments;
    bool received; /* frames came since the guest was last told */

    int epoll; /* watches the sockets, and is watched by the event loop */
    struct event_fd *event;
    struct flow *flow; /* by descriptor */
    int room;
    unsigned flows[KINDS], most; /* open, and how many of a kind there may be */
    uint64_t said_at[KINDS];
    uint64_t ahead_ms; /* slirp's clock is put forward by that */
    uint64_t poll_ms;  /* slirp's clock at its last look */
};

struct net_timer {
    struct event_timer event;
    SlirpTimerCb cb;
    void *opaque;
    struct net *net;
};

static void net_rearm(struct net *n);
static uint32_t shed(struct net *n);

static struct net *net_of(struct virtio *v) { return CONTAINER_OF(v, struct net, v); }

/* --- frames ------------------------------------------------------------------------------------ */
static size_t net_header(const struct net *n) {
    return virtio_has(&n->v, VIRTIO_F_VERSION_1) ? NET_HEADER : NET_HEADER_LEGACY;
}

/* To the guest. A frame that finds no buffer is dropped: the protocols above retransmit. */
static ssize_t net_receive(const void *buf, size_t len, void *opaque) {
    struct net *n = opaque;
    struct virtq *q = &n->v.queue[QUEUE_RX];
    struct virtq_request r;
    uint8_t header[NET_HEADER] = {[10] = 1};
    size_t header_bytes = net_header(n);
    if (!virtio_is_live(&n->v) || virtq_pop(&n->v, q, &r) != 1)
        return (ssize_t)len;
    if (r.in_bytes < header_bytes + len) {
        virtq_push(&n->v, q, r.head, 0);
    } else {
        virtq_write(&n->v, &r, 0, header, header_bytes);
        virtq_write(&n->v, &r, header_bytes, buf, len);
        virtq_push(&n->v, q, r.head, (uint32_t)(header_bytes + len));
    }
    n->received = true;
    return (ssize_t)len;
}

static void net_transmit(struct net *n) {
    struct virtq *q = &n->v.queue[QUEUE_TX];
    static uint8_t frame[MAX_FRAME]; /* devices run under one lock */
    struct virtq_request r;
    struct virtq_turn turn = {0};
    while (virtq_next(&n->v, QUEUE_TX, &turn, &r) == 1) {
        size_t header = net_header(n), len = virtq_read(&n->v, &r, header, frame, sizeof(frame));
        const uint8_t *whole = NULL;
        if (len && r.out_bytes - header <= sizeof(frame))
            whole = ipfrag_take(&n->fragments, frame, &len);
        if (whole)
            slirp_input(n->slirp, whole, (int)len);
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

/* --- flows: slirp's sockets ---------------------------------------------------------------------------------- */
static bool is_stream(int fd) {
    int type = 0;
    socklen_t len = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static struct flow *flow_of(struct net *n, int fd) {
    return fd >= 0 && fd < n->room && n->flow[fd].open ? &n->flow[fd] : NULL;
}

static bool make_room(struct net *n, int fd) {
    int room = n->room ? n->room : 64;
    while (room <= fd)
        room *= 2;
    if (room == n->room)
        return true;
    struct flow *p = realloc(n->flow, (size_t)room * sizeof(*p));
    if (!p)
        return false;
    memset(p + n->room, 0, (size_t)(room - n->room) * sizeof(*p));
    n->flow = p;
    n->room = room;
    return true;
}

/* A new socket. Nothing may wait for it: slirp leaves some of them blocking. */
static void cb_register_fd(int fd, void *opaque) {
    struct net *n = opaque;
    if (fd < 0 || !make_room(n, fd))
        return;
    enum kind kind = is_stream(fd) ? STREAMS : DATAGRAMS;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    n->flow[fd] = (struct flow){.open = true, .kind = kind, .since_ms = n->poll_ms};
    n->flows[kind]++;
}

static void unwatch(struct net *n, int fd, struct flow *f) {
    if (f->watched)
        epoll_ctl(n->epoll, EPOLL_CTL_DEL, fd, NULL);
    f->watched = 0;
}

/* slirp is about to close fd: it must leave the epoll set now, the number may be reused. */
static void cb_unregister_fd(int fd, void *opaque) {
    struct net *n = opaque;
    struct flow *f = flow_of(n, fd);
    if (!f)
        return;
    unwatch(n, fd, f);
    n->flows[f->kind]--;
    f->open = false;
    f->revents = 0;
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

static int add_poll(int fd, int events, void *opaque) {
    struct flow *f = flow_of(opaque, fd);
    if (!f)
        return -1;
    f->wanted |= to_epoll(events);
    return fd;
}

static int get_revents(int fd, void *opaque) {
    struct flow *f = flow_of(opaque, fd);
    return f ? from_epoll(f->revents) : 0;
}

static void watch(struct net *n, int fd, struct flow *f) {
    struct epoll_event e = {.events = f->wanted, .data.fd = fd};
    if (!f->wanted)
        unwatch(n, fd, f); /* even then it would be told of a hang-up, again and again */
    else if (f->wanted != f->watched && epoll_ctl(n->epoll, f->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) == 0)
        f->watched = f->wanted;
}

static uint64_t slirp_ns(const struct net *n) { return event_now_ns() + n->ahead_ms * NS_PER_MS; }

/* slirp looks at its sockets and timers. ready: those that epoll named; else at none, but the clock goes on. */
static void look(struct net *n, bool ready) {
    n->poll_ms = slirp_ns(n) / NS_PER_MS;
    slirp_pollfds_poll(n->slirp, !ready, get_revents, n);
    for (int fd = 0; fd < n->room; fd++)
        n->flow[fd].revents = 0;
}

/* Asks slirp what to watch next, and for how long. */
static uint32_t fill(struct net *n) {
    uint32_t timeout_ms = UINT32_MAX;
    for (int fd = 0; fd < n->room; fd++)
        n->flow[fd].wanted = 0;
    slirp_pollfds_fill(n->slirp, &timeout_ms, add_poll, n);
    return timeout_ms;
}

/* After each entry into slirp. */
static void net_rearm(struct net *n) {
    uint32_t timeout_ms = fill(n);
    if (n->flows[STREAMS] > n->most || n->flows[DATAGRAMS] > n->most)
        timeout_ms = shed(n);
    for (int fd = 0; fd < n->room; fd++)
        if (n->flow[fd].open)
            watch(n, fd, &n->flow[fd]);
    event_set_timer(&n->timer, timeout_ms == UINT32_MAX ? 0 : event_now_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1);
    if (n->received)
        virtq_interrupt(&n->v, &n->v.queue[QUEUE_RX]);
    n->received = false;
}

static void net_poll(struct net *n) {
    look(n, true);
    net_rearm(n);
}

static void on_sockets(void *arg, uint32_t events) {
    struct net *n = arg;
    struct epoll_event ready[64];
    int count = epoll_wait(n->epoll, ready, ARRAY_LEN(ready), 0);
    for (int i = 0; i < count; i++) {
        struct flow *f = flow_of(n, ready[i].data.fd);
        if (f)
            f->revents = ready[i].events;
    }
    net_poll(n);
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
    struct net *n = opaque;
    int64_t at = expire_ms - (int64_t)n->ahead_ms;
    if (t)
        event_set_timer(&t->event, at <= 0 ? 1 : (uint64_t)at * NS_PER_MS);
}

static int64_t cb_clock(void *opaque) { return (int64_t)slirp_ns(opaque); }

static void cb_guest_error(const char *msg, void *opaque) {
    (void)msg, (void)opaque; /* the guest's own mistake: nothing to do on our side */
}

static void cb_notify(void *opaque) { (void)opaque; /* every entry into slirp is followed by net_rearm() */ }

/* --- too many flows ---------------------------------------------------------------------------------------------
 * slirp itself has no limit and no call to end a flow. A TCP connection is ended by disconnecting its socket, which slirp then finds broken
 * and resets. Others it forgets when they were not used for EXPIRE_MS of its clock: that is put forward until the oldest are. */
static void say_so(struct net *n, enum kind kind) {
    uint64_t now = event_now_ns();
    if (n->said_at[kind] && now < n->said_at[kind] + SAY_EVERY_NS)
        return;
    n->said_at[kind] = now;
    log_printf("graft: network: more than %u %s at once: the oldest idle ones are dropped\n", n->most,
               kind == STREAMS ? "TCP connections" : "UDP and ping flows");
}

/* How long nothing came or went, in ms; -1 if slirp would not notice its end now. */
static int64_t idle_ms(const struct net *n, int fd, const struct flow *f) {
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    int64_t age = (int64_t)(n->poll_ms - f->since_ms);
    if (!f->open || f->kind != STREAMS || !f->wanted || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
        info.tcpi_state == TCP_LISTEN)
        return -1;
    int64_t idle =
        info.tcpi_last_data_sent < info.tcpi_last_data_recv ? info.tcpi_last_data_sent : info.tcpi_last_data_recv;
    return idle < age ? idle : age;
}

static void shed_stream(struct net *n) {
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    int oldest = -1;
    int64_t idle, most = -1;
    for (int fd = 0; fd < n->room; fd++)
        if ((idle = idle_ms(n, fd, &n->flow[fd])) > most)
            most = idle, oldest = fd;
    if (oldest < 0 || connect(oldest, &none, sizeof(none)) < 0)
        return;
    n->flow[oldest].revents = EPOLLHUP;
    look(n, true);
    say_so(n, STREAMS);
}

static int compare_ms(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Quarter by quarter, in the order in which they began: those that were used since then stay. */
static void shed_datagrams(struct net *n) {
    uint64_t *since = malloc(n->flows[DATAGRAMS] * sizeof(*since));
    unsigned count = 0, before = n->flows[DATAGRAMS];
    for (int fd = 0; since && fd < n->room; fd++)
        if (n->flow[fd].open && n->flow[fd].kind == DATAGRAMS)
            since[count++] = n->flow[fd].since_ms;
    if (since)
        qsort(since, count, sizeof(*since), compare_ms);
    for (unsigned quarter = 1; count && quarter <= 4 && n->flows[DATAGRAMS] == before; quarter++) {
        uint64_t now = slirp_ns(n) / NS_PER_MS, at = since[quarter * (count - 1) / 4] + EXPIRE_MS;
        n->ahead_ms += at > now ? at - now : 0;
        look(n, false);
        fill(n);
    }
    free(since);
    say_so(n, DATAGRAMS);
}

static uint32_t shed(struct net *n) {
    if (n->flows[STREAMS] > n->most)
        shed_stream(n);
    if (n->flows[DATAGRAMS] > n->most)
        shed_datagrams(n);
    return fill(n);
}

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
    if (n->slirp)
        slirp_cleanup(n->slirp);
    event_del_timer(&n->timer);
    if (n->event)
        event_del_fd(n->event);
    if (n->epoll >= 0)
        close(n->epoll);
    free(n->flow);
    ipfrag_free(&n->fragments);
    free(n);
}

/* As many descriptors as the host allows, and so how many flows of a kind there may be. */
static unsigned most_flows(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 64;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t half = limit.rlim_cur > OTHER_FDS + 16 ? (limit.rlim_cur - OTHER_FDS) / 2 : 8;
    return half < MOST_FLOWS ? (unsigned)half : MOST_FLOWS;
}

static void fill_config(SlirpConfig *c) {
    *c = (SlirpConfig){.version = 1, .in_enabled = true, .in6_enabled = true, .vprefix_len = 64};
    inet_pton(AF_INET, "10.0.2.0", &c->vnetwork);
    inet_pton(AF_INET, "255.255.255.0", &c->vnetmask);
    inet_pton(AF_INET, "10.0.2.2", &c->vhost);
    inet_pton(AF_INET, "10.0.2.15", &c->vdhcp_start);
    inet_pton(AF_INET, "10.0.2.3", &c->vnameserver);
    inet_pton(AF_INET6, "fec0::", &c->vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &c->vhost6);
    inet_pton(AF_INET6, "fec0::3", &c->vnameserver6);
}

struct device *virtio_net_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, char err[256]) {
    static const struct virtio_type type = {.name = "net",
                                            .device_id = VIRTIO_ID_NET,
                                            .queues = 2,
                                            .features = F_MAC | F_STATUS,
                                            .notify = net_notify,
                                            .destroy = net_destroy};
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    SlirpConfig config;
    struct net *n = calloc(1, sizeof(*n));
    if (!n) {
        snprintf(err, 256, "network: out of memory");
        return NULL;
    }
    virtio_init(&n->v, &type, m, gpa, spi, slot);
    memcpy(n->v.config, mac, sizeof(mac));
    n->v.config[6] = 1; /* VIRTIO_NET_S_LINK_UP */
    n->v.config_bytes = 8;
    fill_config(&config);
    n->most = most_flows();
    n->poll_ms = event_now_ns() / NS_PER_MS;
    n->epoll = epoll_create1(EPOLL_CLOEXEC);
    n->event = n->epoll < 0 ? NULL : event_add_fd(m, n->epoll, EPOLLIN, on_sockets, n);
    event_add_timer(m, &n->timer, net_timeout, n);
    n->slirp = n->event ? slirp_new(&config, &callbacks, n) : NULL;
    if (!n->slirp || n->incomplete) {
        snprintf(err, 256,
                 n->slirp || !n->event ? "network: out of memory or descriptors"
                                       : "network: libslirp could not be started");
        net_destroy(&n->v);
        return NULL;
    }
    net_rearm(n);
    return &n->v.dev;
}
