/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * network.c: the process that has the user network, with nothing but sockets (sandbox.c). It is made before there is a machine and stays when
 * that resets; it ends with this process, or when its channel does.
 *
 * The channel is a pair of sockets of packets: each is an Ethernet frame of the guest's, or some for it. One of a byte asks for a new network, and is answered by such a one:
 * did that work?
 */
#include "devices/usernet.h"
#include "hypervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNEL_BYTES (4 << 20) /* as far as the host allows */
#define PATIENCE_MS 10000       /* for a new network */
#define TURN 64                 /* frames */
#define FULL_MS 100             /* that a frame waits for the guest, and all behind it */

static int channel = -1; /* our end of it */

/* --- in that process -------------------------------------------------------------------------------------------- */
/* Frames for the guest go in batches: each behind its length, 4 bytes. */
static uint8_t batch[sizeof(uint32_t) + USERNET_FRAME];
static size_t batched;

/* Where there is no room for a while, frames are lost until there is: the protocols above retransmit. */
static void flush(int fd) {
    static bool losing;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    size_t len = batched;
    batched = 0;
    while (len && write(fd, batch, len) < 0) {
        if (errno == EAGAIN && (losing || poll(&p, 1, FULL_MS) <= 0)) {
            losing = true;
            return;
        }
        if (errno != EAGAIN && errno != EINTR)
            return;
    }
    losing = losing && !len;
}

static void to_guest(void *arg, const void *frame, size_t len) {
    uint32_t head = (uint32_t)len;
    if (len > USERNET_FRAME)
        return;
    if (batched + sizeof(head) + len > sizeof(batch))
        flush(*(const int *)arg);
    memcpy(batch + batched, &head, sizeof(head));
    memcpy(batch + batched + sizeof(head), frame, len);
    batched += sizeof(head) + len;
}

static void answer(int fd, uint8_t failed) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    while (write(fd, &failed, 1) < 0 && (errno == EAGAIN || errno == EINTR))
        poll(&p, 1, -1);
}

static struct usernet *renew(struct usernet *n, int *fd) {
    char err[ERR_BYTES];
    if (n)
        usernet_destroy(n);
    batched = 0;
    n = usernet_create(to_guest, fd, err);
    if (!n)
        log_printf("graft: %s\n", err);
    answer(*fd, !n);
    return n;
}

/* Frames, and wishes for a new network. */
static struct usernet *take(struct usernet *n, int *fd) {
    static uint8_t frame[USERNET_FRAME];
    ssize_t len;
    for (unsigned i = 0; i < TURN && (len = read(*fd, frame, sizeof(frame))) != 0; i++) {
        if (len < 0 && errno != EINTR)
            break;
        if (len == 1)
            n = renew(n, fd);
        else if (len > 0 && n)
            usernet_input(n, frame, (size_t)len);
    }
    if (len == 0)
        _exit(0);
    if (n)
        usernet_settle(n);
    return n;
}

/* For poll(); -1: for ever. */
static int patience_ms(const struct usernet *n) {
    uint64_t due = n ? usernet_due(n) : 0, now = event_now_ns();
    if (!due)
        return -1;
    return due <= now ? 0 : (due - now) / 1000000 < 3600000 ? (int)((due - now) / 1000000 + 1) : 3600000;
}

static _Noreturn void serve(int fd) {
    struct usernet *n = NULL;
    for (;;) {
        struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = n ? usernet_fd(n) : -1, .events = POLLIN}};
        int ready = poll(p, ARRAY_LEN(p), patience_ms(n));
        if (ready > 0 && p[0].revents)
            n = take(n, &fd);
        if (n && (ready == 0 || p[1].revents))
            usernet_serve(n);
        flush(fd);
    }
}

/* Signals of the terminal are for the machine; what it reads and writes is none of this one's business. */
static _Noreturn void be_network(int fd, const struct options *o) {
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE};
    for (unsigned i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_NAME, "graft-net");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    log_keep(fd);
    if (o->sandbox)
        sandbox_enter_network();
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of the user takes it back */
    serve(fd);
}

/* --- in this one --------------------------------------------------------------------------------------------------- */
static bool make_channel(int ends[2]) {
    int bytes = CHANNEL_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
        return false;
    for (unsigned i = 0; i < 2; i++)
        if (setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
            setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    return true;
}

bool network_open(const struct options *o, char err[ERR_BYTES]) {
    int ends[2];
    if (!o->net_user)
        return true;
    pid_t pid = make_channel(ends) ? fork() : -1;
    if (pid == 0) {
        close(ends[0]);
        be_network(ends[1], o);
    }
    if (pid < 0) {
        snprintf(err, ERR_BYTES, "network: no process for it: %s", strerror(errno));
        return false;
    }
    close(ends[1]);
    channel = ends[0];
    return true;
}

void network_close(void) {
    if (channel >= 0)
        close(channel);
    channel = -1;
}

int network_begin(char err[256]) {
    static uint8_t frame[USERNET_FRAME];
    struct pollfd p = {.fd = channel, .events = POLLOUT};
    uint8_t wish = 0;
    ssize_t len = -1;
    while (channel >= 0 && write(channel, &wish, 1) < 0 && (errno == EAGAIN || errno == EINTR) &&
           poll(&p, 1, PATIENCE_MS) > 0)
        continue;
    p.events = POLLIN; /* what is left of an old network comes before the answer */
    while (channel >= 0 && len != 1 && len != 0 && poll(&p, 1, PATIENCE_MS) > 0)
        len = read(channel, frame, sizeof(frame));
    if (len == 1 && !frame[0])
        return channel;
    snprintf(err, 256, "network: it could not be started");
    return -1;
}
