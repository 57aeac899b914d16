/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* vsock.c: see vsock.h. */
#define _GNU_SOURCE /* accept4() */
#include "devices/vsock.h"

#include "graft/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_PORT (1u << 30) /* of the host, for connections that it makes */
#define LAST_PORT (UINT32_MAX >> 1)
#define GREETING 32 /* bytes; "CONNECT 4294967295\n" has 19 */
/* for the guest to accept, or for a host that has no room for another */
#define ANSWER_NS (UINT64_C(20) * 1000000000)
#define AGAIN_NS (UINT64_C(10) * 1000000) /* until it is asked again */
#define REFUSALS 64                       /* that wait to be sent: then no more is taken from the guest */
#define OTHER_FILES 32                    /* descriptors that are not connections */
#define EVENTS 64                         /* in a turn */
#define LISTENER VSOCK_CONNECTIONS        /* its number among the connections */

enum state {
    FREE,
    GREETED,    /* someone on the host has connected, and has not said to which port */
    ASKED,      /* the guest was asked for it */
    CONNECTING, /* the guest has asked, and the socket on the host has no room yet */
    OPEN,
    DRAINING, /* the guest knows it no more: what it has sent is still written */
};
/* Packets that a connection has to send, apart from data. */
#define OWES_REQUEST BIT(0)
#define OWES_RESPONSE BIT(1)
#define OWES_CREDIT BIT(2)
#define OWES_SHUTDOWN BIT(3)

struct connection {
    enum state state;
    int fd;
    uint32_t watched; /* events, 0: it is not in the epoll set */
    uint32_t guest_port, host_port;
    uint32_t sent, guest_taken, guest_room; /* to the guest; what it said of that */
    uint32_t received, taken,
        told_taken; /* from the guest; taken: by the host's socket; told_taken: as far as the guest knows */
    uint32_t guest_shut, host_shut; /* VSOCK_NO_RECEIVE, VSOCK_NO_SEND */
    uint32_t owes;
    uint64_t until;    /* ASKED, CONNECTING */
    uint8_t *kept;     /* VSOCK_BUFFER bytes, those from the guest that wait; NULL: none do */
    uint32_t at, len;  /* of them */
    uint32_t greeting; /* bytes of line[] */
    char line[GREETING];
};

/* What is answered with VSOCK_RST. */
struct refusal {
    uint64_t cid; /* that the guest took for ours */
    uint32_t guest_port, host_port;
    uint16_t type;
};

struct vsock {
    struct connection connection[VSOCK_CONNECTIONS];
    unsigned top, most; /* the first that was never used; how many there may be */
    unsigned used;
    int listener, epoll;
    bool listening;
    uint32_t cid, life, next_port;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    bool (*send)(void *arg, const void *packet, size_t len);
    void *arg;
    struct refusal refusal[REFUSALS + VSOCK_CONNECTIONS]; /* each connection may end, too, while they wait */
    unsigned refusals;
    size_t held; /* bytes of out that send() did not take */
    struct vsock_packet out;
};

/* --- packets for the guest -------------------------------------------------------------------- */
static bool flush(struct vsock *v) {
    if (v->held && v->send(v->arg, &v->out, v->held))
        v->held = 0;
    return !v->held;
}

/* v->out has len bytes of data. Nothing may be held. */
static void emit(struct vsock *v, struct connection *c, enum vsock_op op, uint32_t flags, uint32_t len) {
    v->out.life = v->life;
    v->out.header = (struct vsock_header){.from_cid = VSOCK_HOST,
                                          .to_cid = v->cid,
                                          .from_port = c->host_port,
                                          .to_port = c->guest_port,
                                          .len = len,
                                          .type = VSOCK_STREAM,
                                          .op = (uint16_t)op,
                                          .flags = flags,
                                          .room = VSOCK_BUFFER,
                                          .taken = c->taken};
    v->held = offsetof(struct vsock_packet, data) + len;
    c->told_taken = c->taken;
    c->owes &= ~OWES_CREDIT;
    flush(v);
}

static void emit_refusal(struct vsock *v) {
    const struct refusal *r = &v->refusal[--v->refusals];
    v->out.life = v->life;
    v->out.header = (struct vsock_header){.from_cid = r->cid,
                                          .to_cid = v->cid,
                                          .from_port = r->host_port,
                                          .to_port = r->guest_port,
                                          .type = r->type,
                                          .op = VSOCK_RST};
    v->held = offsetof(struct vsock_packet, data);
    flush(v);
}

static void refuse(struct vsock *v, const struct refusal *r) {
    if (v->refusals < ARRAY_LEN(v->refusal))
        v->refusal[v->refusals++] = *r;
}

static void pay(struct vsock *v, struct connection *c) {
    if (c->owes & OWES_REQUEST) {
        c->owes &= ~OWES_REQUEST;
        emit(v, c, VSOCK_REQUEST, 0, 0);
    } else if (c->owes & OWES_RESPONSE) {
        c->owes &= ~OWES_RESPONSE;
        emit(v, c, VSOCK_RESPONSE, 0, 0);
    } else if (c->owes & OWES_SHUTDOWN) {
        c->owes &= ~OWES_SHUTDOWN;
        emit(v, c, VSOCK_SHUTDOWN, c->host_shut, 0);
    } else {
        emit(v, c, VSOCK_CREDIT_UPDATE, 0, 0);
    }
}

/* --- connections ------------------------------------------------------------------------------ */
static struct connection *find(struct vsock *v, uint32_t guest_port, uint32_t host_port) {
    for (unsigned i = 0; i < v->top; i++) {
        struct connection *c = &v->connection[i];
        bool known = c->state == ASKED || c->state == CONNECTING || c->state == OPEN;
        if (known && c->guest_port == guest_port && c->host_port == host_port)
            return c;
    }
    return NULL;
}

/* NULL: there may be no more. */
static struct connection *new_connection(struct vsock *v, enum state state, int fd) {
    unsigned i = 0;
    if (v->used == v->most)
        return NULL;
    while (i < v->top && v->connection[i].state != FREE)
        i++;
    v->top += i == v->top;
    v->used++;
    v->connection[i] = (struct connection){.state = state, .fd = fd};
    return &v->connection[i];
}

static void forget_kept(struct connection *c) {
    free(c->kept);
    c->kept = NULL;
    c->at = c->len = 0;
}

static void end(struct vsock *v, struct connection *c) {
    if (c->fd >= 0)
        close(c->fd); /* which takes it out of the epoll set */
    forget_kept(c);
    *c = (struct connection){.fd = -1};
    v->used--;
}

/* It ends, and the guest is told. */
static void break_off(struct vsock *v, struct connection *c) {
    refuse(v, &(struct refusal){VSOCK_HOST, c->guest_port, c->host_port, VSOCK_STREAM});
    end(v, c);
}

static uint32_t credit(const struct connection *c) {
    uint32_t under_way = c->sent - c->guest_taken;
    return under_way < c->guest_room ? c->guest_room - under_way : 0;
}

static uint32_t wanted_events(const struct connection *c) {
    uint32_t events = c->len ? EPOLLOUT : 0;
    bool reads = c->state == OPEN && !(c->host_shut & VSOCK_NO_SEND) && !(c->guest_shut & VSOCK_NO_RECEIVE) &&
                 !(c->owes & OWES_RESPONSE) && credit(c);
    return events | (reads || c->state == GREETED ? EPOLLIN : 0);
}

/* One that waits for nothing is out of the set: there an end of the other side would be reported for ever. */
static void watch(struct vsock *v, struct connection *c) {
    uint32_t events = c->state == FREE ? c->watched : wanted_events(c);
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)(c - v->connection)};
    if (events == c->watched)
        return;
    epoll_ctl(v->epoll, !events ? EPOLL_CTL_DEL : c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e);
    c->watched = events;
}

static void listen_on(struct vsock *v, bool on) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = LISTENER};
    if (v->listening != on && v->listener >= 0)
        epoll_ctl(v->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, v->listener, &e);
    v->listening = on;
}

/* --- from the guest to the host --------------------------------------------------------------- */
/* The guest hears of room when there was little left. */
static void count_taken(struct connection *c, uint32_t bytes) {
    c->taken += bytes;
    if (c->state == OPEN && c->taken != c->told_taken && c->received - c->told_taken > VSOCK_BUFFER / 2)
        c->owes |= OWES_CREDIT;
}

/* What the socket takes; -1: its other side is gone. */
static ssize_t put(struct connection *c, const void *data, size_t len) {
    ssize_t n;
    do
        n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

static bool keep(struct connection *c, const uint8_t *data, uint32_t len) {
    if (!c->kept && !(c->kept = malloc(VSOCK_BUFFER)))
        return false;
    if (c->at + c->len + len > VSOCK_BUFFER) {
        memmove(c->kept, c->kept + c->at, c->len);
        c->at = 0;
    }
    memcpy(c->kept + c->at + c->len, data, len);
    c->len += len;
    return true;
}

static void take_data(struct vsock *v, struct connection *c, const uint8_t *data, uint32_t len) {
    ssize_t n = 0;
    bool right = !(c->guest_shut & VSOCK_NO_SEND) && len <= VSOCK_BUFFER - (c->received - c->taken);
    c->received += right ? len : 0;
    if (right && len && !c->len)
        n = put(c, data, len);
    if (!right || n < 0 || (n < len && !keep(c, data + n, len - (uint32_t)n)))
        break_off(v, c);
    else
        count_taken(c, (uint32_t)n);
}

/* The guest sends no more, and all of it was written. */
static void shut(struct connection *c) {
    if (!c->len && c->guest_shut & VSOCK_NO_SEND)
        shutdown(c->fd, SHUT_WR);
}

/* What the guest has sent is written before the socket is closed. */
static void guest_is_gone(struct vsock *v, struct connection *c) {
    if (c->state != OPEN || !c->len) {
        end(v, c);
        return;
    }
    c->state = DRAINING;
    c->owes = 0;
}

static void guest_shuts(struct vsock *v, struct connection *c, uint32_t flags) {
    c->guest_shut |= flags & (VSOCK_NO_RECEIVE | VSOCK_NO_SEND);
    if (c->guest_shut != (VSOCK_NO_RECEIVE | VSOCK_NO_SEND)) {
        shut(c);
        return;
    }
    refuse(v, &(struct refusal){VSOCK_HOST, c->guest_port, c->host_port, VSOCK_STREAM});
    guest_is_gone(v, c);
}

static void drain(struct vsock *v, struct connection *c) {
    ssize_t n = put(c, c->kept + c->at, c->len);
    if (n < 0) {
        (c->state == DRAINING ? end : break_off)(v, c);
        return;
    }
    c->at += (uint32_t)n;
    c->len -= (uint32_t)n;
    count_taken(c, (uint32_t)n);
    if (c->len)
        return;
    forget_kept(c);
    if (c->state == DRAINING)
        end(v, c);
    else
        shut(c);
}

/* --- the guest connects ----------------------------------------------------------------------- */
/* A socket that has no room for another connection is asked again. */
static void connect_host(struct vsock *v, struct connection *c) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", v->path, c->host_port);
    if (n < (int)sizeof(a.sun_path) && !connect(c->fd, (const struct sockaddr *)&a, sizeof(a))) {
        c->state = OPEN;
        c->owes = OWES_RESPONSE;
    } else if (errno != EAGAIN || event_now_ns() >= c->until) {
        break_off(v, c);
    }
}

static void guest_connects(struct vsock *v, const struct vsock_header *h, const struct refusal *no) {
    int fd = v->used < v->most ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    struct connection *c = fd < 0 ? NULL : new_connection(v, CONNECTING, fd);
    if (!c) {
        refuse(v, no);
        return;
    }
    c->guest_port = h->from_port;
    c->host_port = h->to_port;
    c->guest_room = h->room;
    c->guest_taken = h->taken;
    c->until = event_now_ns() + ANSWER_NS;
    connect_host(v, c);
    watch(v, c);
}

/* --- the host connects ------------------------------------------------------------------------ */
static void accept_one(struct vsock *v) {
    int fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct connection *c = fd < 0 ? NULL : new_connection(v, GREETED, fd);
    if (c)
        watch(v, c);
    else if (fd >= 0)
        close(fd);
}

static bool parse_port(const char *line, uint32_t *port) {
    static const char word[] = "CONNECT ";
    const char *digits = line + strlen(word);
    char *after;
    if (strncmp(line, word, strlen(word)) || *digits < '0' || *digits > '9')
        return false;
    unsigned long long n = strtoull(digits, &after, 10);
    *port = (uint32_t)n;
    return n <= UINT32_MAX && *after == '\n';
}

static uint32_t free_port(struct vsock *v) {
    bool taken;
    do {
        v->next_port = v->next_port < LAST_PORT ? v->next_port + 1 : FIRST_PORT;
        taken = false;
        for (unsigned i = 0; i < v->top && !taken; i++)
            taken = v->connection[i].state != FREE && v->connection[i].host_port == v->next_port;
    } while (taken);
    return v->next_port;
}

/* No further than to the end of the line: what is behind that is for the guest. */
static void read_greeting(struct vsock *v, struct connection *c) {
    ssize_t n = recv(c->fd, c->line + c->greeting, GREETING - 1 - c->greeting, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    const char *newline = n > 0 ? memchr(c->line + c->greeting, '\n', (size_t)n) : NULL;
    if (newline)
        n = newline + 1 - (c->line + c->greeting);
    if (n <= 0 || recv(c->fd, c->line + c->greeting, (size_t)n, 0) != n) {
        end(v, c);
        return;
    }
    c->greeting += (uint32_t)n;
    c->line[c->greeting] = 0;
    if (!newline && c->greeting < GREETING - 1)
        return;
    if (!newline || !parse_port(c->line, &c->guest_port)) {
        end(v, c);
        return;
    }
    c->host_port = free_port(v);
    c->state = ASKED;
    c->owes = OWES_REQUEST;
    c->until = event_now_ns() + ANSWER_NS;
}

static void guest_accepts(struct vsock *v, struct connection *c) {
    char text[32];
    int len = snprintf(text, sizeof(text), "OK %u\n", c->host_port);
    c->state = OPEN;
    if (put(c, text, (size_t)len) != len)
        break_off(v, c);
}

/* --- from the host to the guest --------------------------------------------------------------- */
/* Nothing may be held. */
static void read_host(struct vsock *v, struct connection *c, bool hung_up) {
    uint32_t room = credit(c);
    ssize_t n = recv(c->fd, v->out.data, room < VSOCK_DATA ? room : VSOCK_DATA, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        c->sent += (uint32_t)n;
        emit(v, c, VSOCK_RW, 0, (uint32_t)n);
        return;
    }
    c->host_shut = hung_up || n < 0 ? VSOCK_NO_SEND | VSOCK_NO_RECEIVE : VSOCK_NO_SEND;
    c->owes |= OWES_SHUTDOWN;
}

/* --- what is to be done ----------------------------------------------------------------------- */
static void serve_connection(struct vsock *v, struct connection *c, uint32_t events) {
    if (c->len && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        drain(v, c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && wanted_events(c) & EPOLLIN) {
        if (c->state == GREETED)
            read_greeting(v, c);
        else if (!v->held)
            read_host(v, c, events & EPOLLHUP);
    }
    watch(v, c);
}

static void run_out(struct vsock *v, struct connection *c, uint64_t now) {
    if (c->state == CONNECTING)
        connect_host(v, c);
    else if (c->state == ASKED && now >= c->until)
        break_off(v, c);
    watch(v, c);
}

/* Time, and what is owed. */
static void settle(struct vsock *v) {
    uint64_t now = event_now_ns();
    for (unsigned i = 0; i < v->top; i++) {
        struct connection *c = &v->connection[i];
        if (c->state == CONNECTING || c->state == ASKED)
            run_out(v, c, now);
        while (c->owes && flush(v))
            pay(v, c);
        watch(v, c);
    }
    while (v->refusals && flush(v))
        emit_refusal(v);
    listen_on(v, v->used < v->most && v->refusals < REFUSALS);
}

void vsock_serve(struct vsock *v) {
    struct epoll_event e[EVENTS];
    int n = flush(v) ? epoll_wait(v->epoll, e, EVENTS, 0) : 0;
    for (int i = 0; i < n; i++)
        if (e[i].data.u32 == LISTENER)
            accept_one(v);
        else
            serve_connection(v, &v->connection[e[i].data.u32], e[i].events);
    settle(v);
}

int vsock_fd(const struct vsock *v) { return v->epoll; }

bool vsock_is_held(const struct vsock *v) { return v->held; }

bool vsock_takes_input(const struct vsock *v) { return v->refusals < REFUSALS; }

int vsock_patience(const struct vsock *v) {
    uint64_t now = event_now_ns(), next = UINT64_MAX;
    for (unsigned i = 0; i < v->top; i++) {
        const struct connection *c = &v->connection[i];
        uint64_t at = c->state == CONNECTING ? now + AGAIN_NS : c->state == ASKED ? c->until : UINT64_MAX;
        next = at < next ? at : next;
    }
    return next == UINT64_MAX ? -1 : next <= now ? 0 : (int)((next - now) / 1000000 + 1);
}

/* --- packets of the guest --------------------------------------------------------------------- */
static void take(struct vsock *v, struct connection *c, const struct vsock_header *h, const uint8_t *data) {
    c->guest_room = h->room;
    c->guest_taken = h->taken;
    switch (h->op) {
    case VSOCK_RESPONSE:
        if (c->state == ASKED && !(c->owes & OWES_REQUEST))
            guest_accepts(v, c);
        else
            break_off(v, c);
        break;
    case VSOCK_RST: guest_is_gone(v, c); break;
    case VSOCK_CREDIT_UPDATE: break;
    case VSOCK_CREDIT_REQUEST: c->owes |= c->state == OPEN ? OWES_CREDIT : 0; break;
    default:
        if (c->state == OPEN && h->op == VSOCK_SHUTDOWN)
            guest_shuts(v, c, h->flags);
        else if (c->state == OPEN && h->op == VSOCK_RW)
            take_data(v, c, data, h->len);
        else
            break_off(v, c);
    }
    watch(v, c);
}

void vsock_input(struct vsock *v, const void *packet, size_t len) {
    struct vsock_header h;
    if (len < sizeof(h) || !vsock_takes_input(v))
        return;
    memcpy(&h, packet, sizeof(h));
    struct refusal no = {h.to_cid, h.from_port, h.to_port, h.type};
    if (h.len != len - sizeof(h) || h.len > VSOCK_DATA || h.from_cid != v->cid)
        return;
    bool ours = h.to_cid == VSOCK_HOST && h.type == VSOCK_STREAM;
    struct connection *c = ours ? find(v, h.from_port, h.to_port) : NULL;
    if (c)
        take(v, c, &h, (const uint8_t *)packet + sizeof(h));
    else if (ours && h.op == VSOCK_REQUEST)
        guest_connects(v, &h, &no);
    else if (h.op != VSOCK_RST)
        refuse(v, &no);
}

void vsock_reset(struct vsock *v, uint32_t life) {
    v->life = life;
    v->refusals = 0;
    v->held = 0;
    for (unsigned i = 0; i < v->top; i++) {
        struct connection *c = &v->connection[i];
        if (c->state == ASKED || c->state == CONNECTING || c->state == OPEN)
            guest_is_gone(v, c);
        watch(v, c);
    }
}

/* --- creation --------------------------------------------------------------------------------- */
static unsigned most_connections(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= VSOCK_CONNECTIONS + OTHER_FILES)
        return VSOCK_CONNECTIONS;
    return l.rlim_cur > OTHER_FILES ? (unsigned)l.rlim_cur - OTHER_FILES : 1;
}

struct vsock *vsock_create(int listener, const char *path, uint32_t cid,
                           bool (*send)(void *arg, const void *packet, size_t len), void *arg) {
    struct vsock *v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    v->most = most_connections();
    v->listener = listener;
    v->cid = cid;
    v->send = send;
    v->arg = arg;
    v->next_port = FIRST_PORT;
    v->epoll = epoll_create1(EPOLL_CLOEXEC);
    snprintf(v->path, sizeof(v->path), "%s", path);
    if (v->epoll < 0) {
        free(v);
        return NULL;
    }
    listen_on(v, true);
    return v;
}

void vsock_destroy(struct vsock *v) {
    for (unsigned i = 0; i < v->top; i++)
        if (v->connection[i].state != FREE)
            end(v, &v->connection[i]);
    close(v->epoll);
    free(v);
}
