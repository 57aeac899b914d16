/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vsock.c: the process that has the guest's connections to Unix sockets of this host (devices/vsock.h), with nothing
 * but these (sandbox.c). It is made before there is a machine and stays when that resets; it ends with this process, or
 * when its channel does. The channel is what virtio_vsock_create() wants.
 */
#include "devices/vsock.h"
#include "hypervisor/helper.h"
#include "hypervisor/sandbox.h"
#include "hypervisor/stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define BACKLOG 128
#define TURN 64 /* packets */

static int channel = -1; /* our end of it */

/* --- in that process -------------------------------------------------------------------------- */
static bool send_packet(void *arg, const void *packet, size_t len) {
    ssize_t n;
    do
        n = write(*(const int *)arg, packet, len);
    while (n < 0 && errno == EINTR);
    return n >= 0 ||
           (errno != EAGAIN && errno != ENOBUFS); /* that the machine has ended is seen when its packets are */
}

/* Packets of the guest's, and lives of the device. */
static void take(struct vsock *v, int fd) {
    static uint8_t packet[sizeof(struct vsock_header) + VSOCK_DATA];
    uint32_t life;
    ssize_t len = -1;
    for (unsigned i = 0; i < TURN && vsock_takes_input(v) && (len = read(fd, packet, sizeof(packet))) > 0; i++)
        if (len == sizeof(life)) {
            memcpy(&life, packet, sizeof(life));
            vsock_reset(v, life);
        } else {
            vsock_input(v, packet, (size_t)len);
        }
    if (len == 0 || (len < 0 && errno == ECONNRESET))
        _exit(0);
}

static _Noreturn void serve(struct vsock *v, int fd) {
    for (;;) {
        bool held = vsock_is_held(v);
        struct pollfd p[] = {{.fd = fd, .events = (vsock_takes_input(v) ? POLLIN : 0) | (held ? POLLOUT : 0)},
                             {.fd = held ? -1 : vsock_fd(v), .events = POLLIN}};
        if (poll(p, ARRAY_LEN(p), vsock_patience(v)) > 0 && p[0].revents & (POLLIN | POLLHUP | POLLERR))
            take(v, fd);
        if (p[0].revents & POLLHUP)
            _exit(0);
        vsock_serve(v);
    }
}

static void raise_limit(void) {
    struct rlimit l;
    if (!getrlimit(RLIMIT_NOFILE, &l)) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

static _Noreturn void be_vsock(int fd, int listener, const struct options *o) {
    helper_be("graft-vsock", fd, listener);
    raise_limit();
    struct vsock *v = vsock_create(STDIN_FILENO, o->vsock, o->vsock_cid, send_packet, &fd);
    if (o->sandbox)
        sandbox_enter_vsock();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!v) {
        log_printf("graft: --vsock: out of memory or descriptors\n");
        _exit(1);
    }
    serve(v, fd);
}

/* --- in this one ------------------------------------------------------------------------------ */
bool vsock_open(const struct options *o, char err[ERR_BYTES]) {
    int ends[2], listener;
    if (!o->vsock)
        return true;
    if ((listener = stream_listen_unix(o->vsock, BACKLOG, "--vsock", err)) < 0)
        return false;
    pid_t pid = helper_channel(ends) ? fork() : -1;
    if (pid == 0) {
        close(ends[0]);
        be_vsock(ends[1], listener, o);
    }
    close(listener);
    if (pid < 0) {
        snprintf(err, ERR_BYTES, "--vsock: no process for it: %s", strerror(errno));
        return false;
    }
    helper_note(pid);
    close(ends[1]);
    channel = ends[0];
    return true;
}

int vsock_channel(void) { return channel; }

void vsock_close(void) {
    if (channel >= 0)
        close(channel);
    channel = -1;
}
