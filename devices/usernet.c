/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* usernet.c: see usernet.h. */
#include "devices/usernet.h"
#include "devices/ipfrag.h"
#include "graft/device.h"

#include <arpa/inet.h>
#include <errno.h>
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

#define NS_PER_MS UINT64_C(1000000)
#define MOST_FLOWS 1000          /* TCP connections, and as many of all others */
#define OTHER_FDS 128            /* descriptors that are not the network's */
#define EXPIRE_MS 240000         /* libslirp's SO_EXPIRE */
#define SAY_EVERY_NS 10000000000 /* 10 s */

enum kind { STREAMS, DATAGRAMS, KINDS };

/* A socket of slirp's. */
struct flow {
    bool open;
    enum kind kind;
    uint64_t since_ms;        /* slirp's clock when it began */
    uint32_t wanted, watched; /* EPOLL*: what slirp wants to hear of, and what it is watched for */
    uint32_t revents;         /* what happened, in this round */
};

/* A timer of slirp's. */
struct net_timer {
    struct net_timer *next;
    uint64_t at; /* event_now_ns(), 0: not set */
    SlirpTimerCb cb;
    void *opaque;
};

struct usernet {
    Slirp *slirp;
    void (*frame)(void *arg, const void *buf, size_t len);
    void *arg;
    struct net_timer *timers;
    uint64_t look_at; /* when slirp wants to look at its sockets again, 0: never */
    bool incomplete;  /* slirp lacks a timer that it wanted */
    struct ipfrag fragments;

    int epoll;         /* watches the sockets */
    struct flow *flow; /* by descriptor */
    int room;
    unsigned flows[KINDS], most; /* open, and how many of a kind there may be */
    uint64_t said_at[KINDS];
    uint64_t ahead_ms; /* slirp's clock is put forward by that */
    uint64_t poll_ms;  /* slirp's clock at its last look */
};

static uint32_t shed(struct usernet *n);

/* --- flows: slirp's sockets ------------------------------------------------------------------- */
static bool is_stream(int fd) {
    int type = 0;
    socklen_t len = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static struct flow *flow_of(struct usernet *n, int fd) {
    return fd >= 0 && fd < n->room && n->flow[fd].open ? &n->flow[fd] : NULL;
}

static bool make_room(struct usernet *n, int fd) {
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
    struct usernet *n = opaque;
    if (fd < 0 || !make_room(n, fd))
        return;
    enum kind kind = is_stream(fd) ? STREAMS : DATAGRAMS;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    n->flow[fd] = (struct flow){.open = true, .kind = kind, .since_ms = n->poll_ms};
    n->flows[kind]++;
}

static void unwatch(struct usernet *n, int fd, struct flow *f) {
    if (f->watched)
        epoll_ctl(n->epoll, EPOLL_CTL_DEL, fd, NULL);
    f->watched = 0;
}

/* slirp is about to close fd: it must leave the epoll set now, the number may be reused. */
static void cb_unregister_fd(int fd, void *opaque) {
    struct usernet *n = opaque;
    struct flow *f = flow_of(n, fd);
    if (!f)
        return;
    unwatch(n, fd, f);
    n->flows[f->kind]--;
    f->open = false;
    f->revents = 0;
}

/* --- slirp's descriptors and timers ----------------------------------------------------------- */
static uint32_t to_epoll(int events) {
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0);
}

static int from_epoll(uint32_t events) {
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

/* slirp says nothing of the sockets of forwards when it makes them; they stay as long as it does. */
static int add_poll(int fd, int events, void *opaque) {
    if (!flow_of(opaque, fd))
        cb_register_fd(fd, opaque);
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

static void watch(struct usernet *n, int fd, struct flow *f) {
    struct epoll_event e = {.events = f->wanted, .data.fd = fd};
    if (!f->wanted)
        unwatch(n, fd, f); /* even then it would be told of a hang-up, again and again */
    else if (f->wanted != f->watched && epoll_ctl(n->epoll, f->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) == 0)
        f->watched = f->wanted;
}

static uint64_t slirp_ns(const struct usernet *n) { return event_now_ns() + n->ahead_ms * NS_PER_MS; }

/* slirp looks at its sockets and timers. ready: those that epoll named; else at none, but the clock goes on. */
static void look(struct usernet *n, bool ready) {
    n->poll_ms = slirp_ns(n) / NS_PER_MS;
    slirp_pollfds_poll(n->slirp, !ready, get_revents, n);
    for (int fd = 0; fd < n->room; fd++)
        n->flow[fd].revents = 0;
}

/* Asks slirp what to watch next, and for how long. */
static uint32_t fill(struct usernet *n) {
    uint32_t timeout_ms = UINT32_MAX;
    for (int fd = 0; fd < n->room; fd++)
        n->flow[fd].wanted = 0;
    slirp_pollfds_fill(n->slirp, &timeout_ms, add_poll, n);
    return timeout_ms;
}

/* After each entry into slirp. */
static void rearm(struct usernet *n) {
    uint32_t timeout_ms = fill(n);
    if (n->flows[STREAMS] > n->most || n->flows[DATAGRAMS] > n->most)
        timeout_ms = shed(n);
    for (int fd = 0; fd < n->room; fd++)
        if (n->flow[fd].open)
            watch(n, fd, &n->flow[fd]);
    n->look_at = timeout_ms == UINT32_MAX ? 0 : event_now_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1;
}

int usernet_fd(const struct usernet *n) { return n->epoll; }

uint64_t usernet_due(const struct usernet *n) {
    uint64_t first = n->look_at;
    for (const struct net_timer *t = n->timers; t; t = t->next)
        if (t->at && (!first || t->at < first))
            first = t->at;
    return first;
}

/* A callback may add, set and delete timers: look for one due timer at a time. */
static void run_timers(struct usernet *n) {
    uint64_t now = event_now_ns();
    for (struct net_timer *t = n->timers; t;) {
        if (t->at && t->at <= now) {
            t->at = 0;
            t->cb(t->opaque);
            t = n->timers;
        } else {
            t = t->next;
        }
    }
}

void usernet_serve(struct usernet *n) {
    struct epoll_event ready[64];
    int count = epoll_wait(n->epoll, ready, ARRAY_LEN(ready), 0);
    for (int i = 0; i < count; i++) {
        struct flow *f = flow_of(n, ready[i].data.fd);
        if (f)
            f->revents = ready[i].events;
    }
    run_timers(n);
    look(n, true);
    rearm(n);
}

void usernet_input(struct usernet *n, const void *frame, size_t len) {
    const uint8_t *whole = len && len <= USERNET_FRAME ? ipfrag_take(&n->fragments, frame, &len) : NULL;
    if (whole)
        slirp_input(n->slirp, whole, (int)len);
}

void usernet_settle(struct usernet *n) { rearm(n); }

static ssize_t cb_send(const void *buf, size_t len, void *opaque) {
    struct usernet *n = opaque;
    n->frame(n->arg, buf, len);
    return (ssize_t)len;
}

static void *cb_timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque) {
    struct usernet *n = opaque;
    struct net_timer *t = calloc(1, sizeof(*t));
    if (!t) {
        n->incomplete = true;
        return NULL;
    }
    *t = (struct net_timer){.cb = cb, .opaque = cb_opaque, .next = n->timers};
    n->timers = t;
    return t;
}

static void cb_timer_free(void *timer, void *opaque) {
    struct usernet *n = opaque;
    struct net_timer **p = &n->timers;
    while (*p && *p != timer)
        p = &(*p)->next;
    if (*p)
        *p = (*p)->next;
    free(timer);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque) {
    struct net_timer *t = timer;
    struct usernet *n = opaque;
    int64_t at = expire_ms - (int64_t)n->ahead_ms;
    if (t)
        t->at = at <= 0 ? 1 : (uint64_t)at * NS_PER_MS;
}

static int64_t cb_clock(void *opaque) { return (int64_t)slirp_ns(opaque); }

static void cb_guest_error(const char *msg, void *opaque) {
    (void)msg, (void)opaque; /* the guest's own mistake: nothing to do on our side */
}

static void cb_notify(void *opaque) { (void)opaque; /* every entry into slirp is followed by rearm() */ }

/* --- too many flows ---------------------------------------------------------------------------------------------
 * slirp itself has no limit and no call to end a flow. A TCP connection is ended by disconnecting its socket, which
 * slirp then finds broken and resets. Others it forgets when they were not used for EXPIRE_MS of its clock: that is put
 * forward until the oldest are. */
static void say_so(struct usernet *n, enum kind kind) {
    uint64_t now = event_now_ns();
    if (n->said_at[kind] && now < n->said_at[kind] + SAY_EVERY_NS)
        return;
    n->said_at[kind] = now;
    log_printf("graft: network: more than %u %s at once: the oldest idle ones are dropped\n", n->most,
               kind == STREAMS ? "TCP connections" : "UDP and ping flows");
}

/* How long nothing came or went, in ms; -1 if slirp would not notice its end now. */
static int64_t idle_ms(const struct usernet *n, int fd, const struct flow *f) {
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

static void shed_stream(struct usernet *n) {
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
static void shed_datagrams(struct usernet *n) {
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

static uint32_t shed(struct usernet *n) {
    if (n->flows[STREAMS] > n->most)
        shed_stream(n);
    if (n->flows[DATAGRAMS] > n->most)
        shed_datagrams(n);
    return fill(n);
}

static const SlirpCb callbacks = {
    .send_packet = cb_send,
    .guest_error = cb_guest_error,
    .clock_get_ns = cb_clock,
    .timer_new = cb_timer_new,
    .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_register_fd,
    .unregister_poll_fd = cb_unregister_fd,
    .notify = cb_notify,
};

/* --- creation --------------------------------------------------------------------------------- */
void usernet_destroy(struct usernet *n) {
    if (n->slirp)
        slirp_cleanup(n->slirp);
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

static void fill_config(SlirpConfig *c, const struct usernet_options *o) {
    *c = (SlirpConfig){.version = 1,
                       .restricted = o->restricted,
                       .in_enabled = !o->no_ipv4,
                       .in6_enabled = !o->no_ipv6,
                       .vprefix_len = 64};
    inet_pton(AF_INET, "10.0.2.0", &c->vnetwork);
    inet_pton(AF_INET, "255.255.255.0", &c->vnetmask);
    inet_pton(AF_INET, "10.0.2.2", &c->vhost);
    inet_pton(AF_INET, "10.0.2.15", &c->vdhcp_start);
    inet_pton(AF_INET, "10.0.2.3", &c->vnameserver);
    inet_pton(AF_INET6, "fec0::", &c->vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &c->vhost6);
    inet_pton(AF_INET6, "fec0::3", &c->vnameserver6);
}

static bool add_forward(struct usernet *n, const struct usernet_forward *f, char err[256]) {
    struct in_addr host = {f->host}, guest = {f->guest};
    if (!slirp_add_hostfwd(n->slirp, f->udp, host, f->host_port, guest, f->guest_port))
        return true;
    snprintf(err, 256, "hostfwd: %s port %u of this host: %s", f->udp ? "UDP" : "TCP", f->host_port, strerror(errno));
    return false;
}

static bool add_forwards(struct usernet *n, const struct usernet_options *o, char err[256]) {
    for (unsigned i = 0; i < o->forwards; i++)
        if (!add_forward(n, &o->forward[i], err))
            return false;
    return true;
}

static bool add_services(struct usernet *n, const struct usernet_options *o, char err[256]) {
    for (unsigned i = 0; i < o->services; i++) {
        const struct usernet_service *s = &o->service[i];
        struct in_addr server = {s->server};
        if (slirp_add_unix(n->slirp, s->path, &server, s->port)) {
            snprintf(err, 256, "guestfwd: port %u of an address that is not free in 10.0.2.0/24", s->port);
            return false;
        }
    }
    return true;
}

struct usernet *usernet_create(const struct usernet_options *o, void (*frame)(void *arg, const void *buf, size_t len),
                               void *arg, char err[256]) {
    SlirpConfig config;
    struct usernet *n = calloc(1, sizeof(*n));
    if (!n) {
        snprintf(err, 256, "network: out of memory");
        return NULL;
    }
    n->frame = frame;
    n->arg = arg;
    fill_config(&config, o);
    n->most = most_flows();
    n->poll_ms = event_now_ns() / NS_PER_MS;
    n->epoll = epoll_create1(EPOLL_CLOEXEC);
    n->slirp = n->epoll < 0 ? NULL : slirp_new(&config, &callbacks, n);
    if (!n->slirp || n->incomplete) {
        snprintf(err, 256,
                 n->slirp || n->epoll < 0 ? "network: out of memory or descriptors"
                                          : "network: libslirp could not be started");
        usernet_destroy(n);
        return NULL;
    }
    if (!add_forwards(n, o, err) || !add_services(n, o, err)) {
        usernet_destroy(n);
        return NULL;
    }
    rearm(n);
    return n;
}
