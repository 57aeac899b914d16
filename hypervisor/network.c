/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * network.c: the process that has the network, with nothing but sockets (sandbox.c): the user network itself, or, as
 * its standard input, what frames of the guest go to: an interface of the host, or passt, whose are a stream of them,
 * each behind its length in network order. It is made before there is a machine and stays when that resets; it ends
 * with this process, or when its channel does.
 *
 * The channel is a pair of sockets of packets: each is an Ethernet frame of the guest's, or some for it. One of a byte
 * asks for a new network, and is answered by such a one: did that work? If not, the next one says why.
 */
#include "devices/usernet.h"
#include "hypervisor/helper.h"
#include "hypervisor/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATIENCE_MS 10000 /* for a new network */
#define TURN 64           /* frames */
#define FULL_MS 100       /* that a frame waits for the guest, and all behind it */

static int channel = -1; /* our end of it */

/* --- in that process -------------------------------------------------------------------------- */
/* Frames for the guest go in batches: each behind its length, 4 bytes. */
static const struct options *options;
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
    if (len < ETH_HLEN || len > USERNET_FRAME) /* the device takes that for a mistake of this process */
        return;
    if (batched + sizeof(head) + len > sizeof(batch))
        flush(*(const int *)arg);
    memcpy(batch + batched, &head, sizeof(head));
    memcpy(batch + batched + sizeof(head), frame, len);
    batched += sizeof(head) + len;
}

static void send_packet(int fd, const void *buf, size_t len) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    while (write(fd, buf, len) < 0 && (errno == EAGAIN || errno == EINTR))
        poll(&p, 1, -1);
}

static void answer(int fd, const char *error) {
    uint8_t failed = error != NULL;
    send_packet(fd, &failed, 1);
    if (error)
        send_packet(fd, error, strlen(error) + 1);
}

/* --- outside: an interface, or passt ---------------------------------------------------------- */
static struct {
    bool exists, ended;
    uint8_t in[sizeof(uint32_t) + USERNET_FRAME]; /* of passt's stream */
    size_t len;
} outside;

static void end_outside(const char *why) {
    if (!outside.ended)
        log_printf("graft: network: %s: frames are lost from now on\n", why);
    outside.ended = true;
}

/* An interface that is down takes no frame; a queue that is full takes it later. */
static void put_in_tap(const void *frame, size_t len) {
    while (write(STDIN_FILENO, frame, len) < 0 && errno == EINTR)
        continue;
}

/* All of it, or the stream is worth nothing any more. */
static void put_in_stream(const void *frame, size_t len) {
    uint32_t head = htonl((uint32_t)len);
    struct iovec iov[] = {{&head, sizeof(head)}, {(void *)(uintptr_t)frame, len}};
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLOUT};
    for (unsigned i = 0; i < ARRAY_LEN(iov);) {
        ssize_t n = writev(STDIN_FILENO, iov + i, (int)(ARRAY_LEN(iov) - i));
        if (n < 0 && (errno == EINTR || (errno == EAGAIN && poll(&p, 1, PATIENCE_MS) > 0)))
            continue;
        if (n < 0) {
            end_outside("passt takes no more");
            return;
        }
        for (; i < ARRAY_LEN(iov) && (size_t)n >= iov[i].iov_len; i++)
            n -= (ssize_t)iov[i].iov_len;
        if (i < ARRAY_LEN(iov))
            iov[i] = (struct iovec){(char *)iov[i].iov_base + n, iov[i].iov_len - (size_t)n};
    }
}

static void take_from_tap(int *fd) {
    static uint8_t frame[USERNET_FRAME];
    ssize_t len = 0;
    for (unsigned i = 0; i < TURN && (len = read(STDIN_FILENO, frame, sizeof(frame))) > 0; i++)
        to_guest(fd, frame, (size_t)len);
    if (len < 0 && errno != EAGAIN && errno != EINTR)
        end_outside("the interface is gone");
}

static void take_from_stream(int *fd) {
    const size_t room = outside.len < sizeof(outside.in) ? sizeof(outside.in) - outside.len : 0;
    ssize_t got = read(STDIN_FILENO, outside.in + outside.len, room);
    size_t at = 0;
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        end_outside("passt has ended");
    outside.len += got > 0 ? (size_t)got : 0;
    for (uint32_t len; outside.len - at >= sizeof(len); at += sizeof(len) + len) {
        memcpy(&len, outside.in + at, sizeof(len));
        len = ntohl(len);
        if (len > USERNET_FRAME) {
            end_outside("passt sends what is no frame");
            return;
        }
        if (outside.len - at - sizeof(len) < len)
            break;
        to_guest(fd, outside.in + at + sizeof(len), len);
    }
    outside.len -= at;
    memmove(outside.in, outside.in + at, outside.len);
}

/* --- the guest's side ------------------------------------------------------------------------- */
static void take_frame(struct usernet *n, const void *frame, size_t len) {
    if (n)
        usernet_input(n, frame, len);
    else if (outside.exists && !outside.ended)
        (options->net_kind == NET_TAP ? put_in_tap : put_in_stream)(frame, len);
}

static struct usernet *renew(struct usernet *n, int *fd) {
    char err[ERR_BYTES];
    if (outside.exists) { /* the same as before */
        batched = 0;
        answer(*fd, NULL);
        return NULL;
    }
    if (n)
        usernet_destroy(n);
    batched = 0;
    n = usernet_create(&options->net, to_guest, fd, err);
    answer(*fd, n ? NULL : err);
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
        else if (len > 0)
            take_frame(n, frame, (size_t)len);
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

static int other_fd(const struct usernet *n) {
    return n ? usernet_fd(n) : outside.exists && !outside.ended ? STDIN_FILENO : -1;
}

static _Noreturn void serve(int fd) {
    struct usernet *n = NULL;
    for (;;) {
        struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = other_fd(n), .events = POLLIN}};
        int ready = poll(p, ARRAY_LEN(p), patience_ms(n));
        if (ready > 0 && p[0].revents)
            n = take(n, &fd);
        if (n && (ready == 0 || p[1].revents))
            usernet_serve(n);
        else if (!n && ready > 0 && p[1].revents)
            (options->net_kind == NET_TAP ? take_from_tap : take_from_stream)(&fd);
        flush(fd);
    }
}

static _Noreturn void be_network(int fd, int other, const struct options *o) {
    helper_be("graft-net", fd, other);
    outside.exists = other >= 0;
    options = o;
    if (o->sandbox)
        sandbox_enter_network(o->net.services > 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of the user takes it back */
    serve(fd);
}

/* --- in this one ------------------------------------------------------------------------------ */
static int open_tap(const char *name, char err[ERR_BYTES]) {
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    if (fd < 0)
        snprintf(err, ERR_BYTES, "--net tap: /dev/net/tun: %s", strerror(errno));
    if (fd < 0 || !ioctl(fd, TUNSETIFF, &r))
        return fd;
    snprintf(err, ERR_BYTES, "--net tap: %s: %s", name, strerror(errno));
    close(fd);
    return -1;
}

static int open_passt(char err[ERR_BYTES]) {
    static const char *const paths[] = {"/usr/bin/passt", "/usr/local/bin/passt", NULL};
    const char *program = helper_find("GRAFT_PASST", paths);
    int ends[2], log = -1;
    if (!program || access(program, X_OK)) {
        snprintf(err, ERR_BYTES, "--net passt: %.180s",
                 program ? program : "passt is not installed (Debian: package passt)");
        return -1;
    }
    pid_t passt = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) ? -1 : helper_fork(ends[1], &log);
    if (passt == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, program, "--foreground", "--quiet", "--fd", "3", (char *)NULL);
        _exit(127);
    }
    if (passt < 0) {
        snprintf(err, ERR_BYTES, "--net passt: %s", strerror(errno));
        return -1;
    }
    close(log);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return ends[0];
}

bool network_open(const struct options *o, char err[ERR_BYTES]) {
    int ends[2], other = -1;
    if (o->net_kind == NET_NONE)
        return true;
    if (o->net_kind != NET_USER && (other = o->net_kind == NET_TAP ? open_tap(o->tap, err) : open_passt(err)) < 0)
        return false;
    pid_t pid = helper_channel(ends) ? fork() : -1;
    if (pid == 0) {
        close(ends[0]);
        be_network(ends[1], other, o);
    }
    if (other >= 0)
        close(other);
    if (pid < 0) {
        snprintf(err, ERR_BYTES, "network: no process for it: %s", strerror(errno));
        return false;
    }
    helper_note(pid);
    close(ends[1]);
    channel = ends[0];
    return true;
}

void network_close(void) {
    if (channel >= 0)
        close(channel);
    channel = -1;
}

/* A packet of len bytes at most; 0: none comes, in time. */
static size_t wait_packet(void *buf, size_t len) {
    struct pollfd p = {.fd = channel, .events = POLLIN};
    ssize_t n = channel >= 0 && poll(&p, 1, PATIENCE_MS) > 0 ? read(channel, buf, len) : 0;
    return n > 0 ? (size_t)n : 0;
}

int network_begin(char err[256]) {
    static uint8_t frame[USERNET_FRAME];
    struct pollfd p = {.fd = channel, .events = POLLOUT};
    uint8_t wish = 0;
    size_t len;
    while (channel >= 0 && write(channel, &wish, 1) < 0 && (errno == EAGAIN || errno == EINTR) &&
           poll(&p, 1, PATIENCE_MS) > 0)
        continue;
    do /* what is left of an old network comes before the answer */
        len = wait_packet(frame, sizeof(frame));
    while (len > 1);
    if (len == 1 && !frame[0])
        return channel;
    len = len ? wait_packet(frame, 256) : 0;
    snprintf(err, 256, "%.*s", len ? (int)len : 256, len ? (const char *)frame : "network: it could not be started");
    return -1;
}
