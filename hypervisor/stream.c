/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* stream.c: see stream.h. */
#include "hypervisor/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 4096
#define MUCH (1u << 20)      /* bytes that are not taken: nothing more is read */
#define TOO_MUCH (16u << 20) /* the client is gone for us */

struct stream {
    const struct stream_ops *ops;
    void *arg;
    struct machine *machine;
    int listener;                                   /* -1: stdio */
    int in, out;                                    /* -1: nobody is connected */
    bool greeted;                                   /* ops->opened() was called */
    struct event_fd *listening, *reading, *writing; /* writing: with stdio alone, which is two descriptors */
    uint8_t *kept;                                  /* not taken yet */
    size_t kept_len, kept_room;
};

/* --- opening ---------------------------------------------------------------------------------- */
struct place {
    bool tcp, remote;
    char host[64], port[8];
    const char *path;
};

static bool parse_tcp(const char *s, struct place *p) {
    size_t len = strlen(s);
    p->remote = len > 7 && !strcmp(s + len - 7, ",remote");
    len -= p->remote ? 7 : 0;
    const char *colon = memrchr(s, ':', len);
    size_t host = colon ? (size_t)(colon - s) : 0, port = colon ? len - host - 1 : 0;
    if (!colon || !port || port > 5 || host >= sizeof(p->host) || strspn(colon + 1, "0123456789") != port ||
        strtoul(colon + 1, NULL, 10) > 65535)
        return false;
    bool brackets = host > 1 && s[0] == '[' && s[host - 1] == ']'; /* [::1] */
    snprintf(p->host, sizeof(p->host), "%.*s", (int)(brackets ? host - 2 : host), s + brackets);
    snprintf(p->port, sizeof(p->port), "%.*s", (int)port, colon + 1);
    if (!host)
        strcpy(p->host, "127.0.0.1");
    return true;
}

static bool parse(const char *spec, struct place *p) {
    *p = (struct place){.tcp = !strncmp(spec, "tcp:", 4)};
    if (p->tcp)
        return parse_tcp(spec + 4, p);
    p->path = spec + 5;
    return !strncmp(spec, "unix:", 5) && *p->path && strlen(p->path) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

bool stream_is_right(const char *spec, bool stdio) {
    struct place p;
    return (stdio && !strcmp(spec, "stdio")) || parse(spec, &p);
}

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static void say_port(int fd, const char *option) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a;
    socklen_t len = sizeof(a);
    if (!getsockname(fd, &a.any, &len))
        log_printf("graft: %s: at port %u\n", option,
                   ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port));
}

static int listen_tcp(const struct place *p, const char *option, char err[ERR_BYTES]) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE}, *found;
    int error = getaddrinfo(p->host, p->port, &hints, &found), one = 1;
    if (error) {
        snprintf(err, ERR_BYTES, "%s: %s: %s", option, p->host, gai_strerror(error));
        return -1;
    }
    int fd = -1;
    if (!p->remote && !is_loopback(found->ai_addr)) {
        snprintf(err, ERR_BYTES,
                 "%s: %s is not this host alone: whoever connects owns the guest; if that is what you want: %s", option,
                 p->host, "tcp:HOST:PORT,remote");
    } else {
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* connections inherit it */
        if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 1)) {
            snprintf(err, ERR_BYTES, "%s: %s:%s: %s", option, p->host, p->port, strerror(errno));
            if (fd >= 0)
                close(fd);
            fd = -1;
        } else if (!strtoul(p->port, NULL, 10)) {
            say_port(fd, option);
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* What a run has left that was killed, or could not remove it any more (sandbox.c). */
static void remove_dead_socket(const struct sockaddr_un *a) {
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* a live one may have no room for us */
    if (!lstat(a->sun_path, &st) && S_ISSOCK(st.st_mode) && fd >= 0 &&
        connect(fd, (const struct sockaddr *)a, sizeof(*a)) && errno == ECONNREFUSED)
        unlink(a->sun_path);
    if (fd >= 0)
        close(fd);
}

int stream_listen_unix(const char *path, int backlog, const char *option, char err[ERR_BYTES]) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    remove_dead_socket(&a);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool ok = fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a));
    umask(before);
    if (ok && !listen(fd, backlog))
        return fd;
    snprintf(err, ERR_BYTES, "%s: %.180s: %s", option, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Files and /dev/null would always be ready, and cannot be waited for. */
static bool can_wait_for(int fd) {
    struct epoll_event event = {.events = EPOLLIN};
    int set = epoll_create1(EPOLL_CLOEXEC);
    bool can = set >= 0 && !epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    if (set >= 0)
        close(set);
    return can;
}

static bool take_stdio(struct stream *s, const char *option, char err[ERR_BYTES]) {
    if (!can_wait_for(STDIN_FILENO) || !can_wait_for(STDOUT_FILENO)) {
        snprintf(err, ERR_BYTES, "%s: stdio is for pipes: standard input or output is a file, /dev/null or closed",
                 option);
        return false;
    }
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
    s->in = 0;
    s->out = 1;
    return true;
}

struct stream *stream_open(const char *option, const char *spec, const struct stream_ops *ops, void *arg,
                           char err[ERR_BYTES]) {
    struct stream *s = calloc(1, sizeof(*s));
    struct place p;
    bool ok;
    if (!s) {
        snprintf(err, ERR_BYTES, "out of memory");
        return NULL;
    }
    *s = (struct stream){.ops = ops, .arg = arg, .listener = -1, .in = -1, .out = -1};
    if (!strcmp(spec, "stdio"))
        ok = take_stdio(s, option, err);
    else if ((ok = parse(spec, &p)))
        ok = (s->listener = p.tcp ? listen_tcp(&p, option, err) : stream_listen_unix(p.path, 1, option, err)) >= 0;
    if (ok)
        return s;
    free(s);
    return NULL;
}

/* --- a client --------------------------------------------------------------------------------- */
static void forget(struct event_fd **e) {
    if (*e)
        event_del_fd(*e);
    *e = NULL;
}

static void watch(struct stream *s);

static void end(struct stream *s) {
    forget(&s->reading);
    forget(&s->writing);
    if (s->listener >= 0 && s->in >= 0)
        close(s->in);
    s->in = s->out = -1;
    s->kept_len = 0;
    watch(s);
}

static void lost(struct stream *s) {
    end(s);
    s->ops->closed(s->arg);
}

/* False: there is nobody any more. */
static bool flush(struct stream *s) {
    size_t at = 0;
    while (at < s->kept_len) {
        ssize_t n = write(s->out, s->kept + at, s->kept_len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    if (at)
        memmove(s->kept, s->kept + at, s->kept_len - at);
    s->kept_len -= at;
    return s->kept_len < TOO_MUCH;
}

static void on_ready(void *arg, uint32_t events) {
    struct stream *s = arg;
    uint8_t buf[READ_BYTES];
    if (s->in < 0)
        return;
    if (!flush(s)) {
        lost(s);
        return;
    }
    bool readable = s->kept_len < MUCH && events & (EPOLLIN | EPOLLHUP | EPOLLERR);
    ssize_t n = readable ? read(s->in, buf, sizeof(buf)) : -1;
    bool later = readable && n < 0 && (errno == EAGAIN || errno == EINTR);
    if (n > 0)
        s->ops->data(s->arg, buf, (size_t)n);
    else if (!later && (readable || events & (EPOLLHUP | EPOLLERR)))
        lost(s);
    watch(s);
}

static void on_writable(void *arg, uint32_t events) { on_ready(arg, 0); }

static void greet(struct stream *s) {
    s->greeted = true;
    watch(s);
    s->ops->opened(s->arg);
}

static void on_client(void *arg, uint32_t events) {
    struct stream *s = arg;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    s->in = s->out = fd;
    greet(s);
}

/* What is waited for follows from who is there: others wait to be accepted until the client has gone. */
static void watch(struct stream *s) {
    if (!s->machine)
        return;
    if (s->in < 0) {
        if (!s->listening && s->listener >= 0)
            s->listening = event_add_fd(s->machine, s->listener, EPOLLIN, on_client, s);
        return;
    }
    forget(&s->listening);
    uint32_t in = s->kept_len < MUCH ? EPOLLIN : 0, out = s->kept_len ? EPOLLOUT : 0;
    bool one = s->in == s->out;
    if (!s->reading)
        s->reading = event_add_fd(s->machine, s->in, 0, on_ready, s);
    if (s->reading)
        event_mod_fd(s->reading, in | (one ? out : 0));
    if (!one && out && !s->writing)
        s->writing = event_add_fd(s->machine, s->out, out, on_writable, s);
    if (!one && !out)
        forget(&s->writing);
}

bool stream_attach(struct stream *s, struct machine *m) {
    if (!m) {
        forget(&s->listening);
        forget(&s->reading);
        forget(&s->writing);
    }
    s->machine = m;
    if (m && s->in >= 0 && !s->greeted)
        greet(s);
    watch(s);
    return !m || s->listening || s->reading || (s->listener < 0 && s->in < 0);
}

void stream_write(struct stream *s, const void *data, size_t len) {
    bool waits = s->kept_len; /* who sends single bytes would have us try to write for each */
    if (s->out < 0)
        return;
    if (s->kept_room - s->kept_len < len) {
        size_t room = (s->kept_len + len) * 2;
        uint8_t *more = s->kept_len + len < TOO_MUCH + MUCH ? realloc(s->kept, room) : NULL;
        if (!more)
            return; /* the next event ends it */
        s->kept = more;
        s->kept_room = room;
    }
    memcpy(s->kept + s->kept_len, data, len);
    s->kept_len += len;
    if (!waits && flush(s))
        watch(s);
}

void stream_hang_up(struct stream *s) {
    if (s->out >= 0)
        flush(s);
    end(s);
}

void stream_close(struct stream *s) {
    stream_hang_up(s);
    if (s->listener >= 0)
        close(s->listener);
    free(s->kept);
    free(s);
}
