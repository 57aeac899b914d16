/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * sockets.c: the guest's side of scripts/test-vsock: connections to the host and from it. The host (peer.py) answers at
 * port 1000 with what it is sent, at 1001 with the sum of that when it has all of it, and at 1002 it reads slowly;
 * nobody is at 1999. It connects to our port 2000, where we send back what comes, and says at 2001 that it is
 * through. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define HOST 2
#define BYTES (6u << 20)
#define MANY 200

static uint32_t next(uint32_t *state) { return *state = *state * 1664525 + 1013904223; }

static int check(const char *name, int ok) {
    printf("CHECK %s %s\n", name, ok ? "ok" : "FAIL");
    return ok;
}

/* Linux gives up after two seconds, in which a busy host may not have got to it. */
static int reach(unsigned port) {
    struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = HOST, .svm_port = port};
    struct timeval patience = {.tv_sec = 100};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience, sizeof(patience));
    if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int listen_at(unsigned port) {
    struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    return fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 64) ? fd : -1;
}

static int put_all(int fd, const uint8_t *data, size_t len) {
    for (ssize_t n; len; data += n, len -= (size_t)n)
        if ((n = write(fd, data, len)) <= 0)
            return 0;
    return 1;
}

static uint8_t *make_data(uint32_t seed, size_t len) {
    uint8_t *data = malloc(len);
    for (size_t i = 0; data && i < len; i++)
        data[i] = (uint8_t)(next(&seed) >> 24);
    return data;
}

static int our_cid(void) {
    unsigned cid = 0;
    int fd = open("/dev/vsock", O_RDONLY);
    return fd >= 0 && !ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) ? (int)cid : -1;
}

/* All of it comes back while it is sent, in pieces of many sizes. */
static int echo(unsigned port, size_t len, uint32_t seed) {
    static uint8_t in[70000];
    uint8_t *data = make_data(seed, len);
    int fd = reach(port), ok = fd >= 0 && data;
    size_t sent = 0, got = 0;
    while (ok && got < len) {
        struct pollfd p = {.fd = fd, .events = POLLIN | (sent < len ? POLLOUT : 0)};
        ok = poll(&p, 1, 30000) > 0;
        if (ok && p.revents & POLLOUT) {
            size_t piece = next(&seed) % 100000 + 1;
            ssize_t n = send(fd, data + sent, piece < len - sent ? piece : len - sent, MSG_DONTWAIT);
            ok = n > 0 || (n < 0 && errno == EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
            if (sent == len)
                shutdown(fd, SHUT_WR);
        }
        if (ok && p.revents & POLLIN) {
            ssize_t n = recv(fd, in, sizeof(in), MSG_DONTWAIT);
            ok = n > 0 && got + (size_t)n <= len && !memcmp(in, data + got, (size_t)n);
            got += n > 0 ? (size_t)n : 0;
        }
    }
    ok = ok && read(fd, in, 1) == 0;
    close(fd);
    free(data);
    return ok;
}

/* The sum comes after our end of it, through the other half of the connection. */
static int half_closed(unsigned port, size_t len) {
    uint8_t *data = make_data(7, len);
    uint32_t sum = 0, theirs = 0;
    int fd = reach(port);
    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + data[i];
    int ok = fd >= 0 && put_all(fd, data, len) && !shutdown(fd, SHUT_WR) &&
             recv(fd, &theirs, sizeof(theirs), MSG_WAITALL) == sizeof(theirs) && read(fd, &theirs, 0) == 0;
    close(fd);
    free(data);
    return ok && theirs == sum;
}

static int refused(unsigned port) { return reach(port) < 0 && errno == ECONNRESET; }

static int many(unsigned port) {
    static int fd[MANY];
    uint32_t value, back;
    int ok = 1;
    for (unsigned i = 0; i < MANY; i++)
        ok &= (fd[i] = reach(port)) >= 0;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            value = i * 1000 + round;
            ok &= write(fd[i], &value, sizeof(value)) == sizeof(value);
        }
        for (unsigned i = 0; i < MANY; i++)
            ok &= recv(fd[i], &back, sizeof(back), MSG_WAITALL) == sizeof(back) && back == i * 1000 + round;
    }
    for (unsigned i = 0; i < MANY; i++)
        close(fd[i]);
    return ok;
}

/* The machine is saved meanwhile, and goes on in another process: the connection is gone, and new ones can be made. */
static int resumed(unsigned port) {
    char byte = 'x';
    int fd = reach(port), ok = fd >= 0 && write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1;
    printf("SAVE NOW\n");
    ok = ok && read(fd, &byte, 1) < 0 && (errno == ECONNRESET || errno == ENOTCONN);
    close(fd);
    return ok && echo(port, 100000, 3);
}

/* One after the other: each has to leave nothing behind. */
static int again(unsigned port) {
    int ok = 1;
    for (unsigned i = 0; ok && i < 3000; i++) {
        int fd = reach(port);
        ok = fd >= 0;
        close(fd);
    }
    return ok;
}

/* What comes at the port goes back there, until somebody comes to the other port. */
static int serve(unsigned port, unsigned end) {
    static uint8_t data[65536];
    struct pollfd p[] = {{.fd = listen_at(port), .events = POLLIN}, {.fd = listen_at(end), .events = POLLIN}};
    if (p[0].fd < 0 || p[1].fd < 0)
        return 0;
    while (poll(p, 2, 120000) > 0 && !p[1].revents) {
        int fd = accept(p[0].fd, NULL, NULL);
        if (fork())
            close(fd);
        else {
            ssize_t n;
            while ((n = read(fd, data, sizeof(data))) > 0 && put_all(fd, data, (size_t)n))
                continue;
            _exit(0);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
    }
    return p[1].revents != 0;
}

int main(int argc, char **argv) {
    int ok = check("cid", argc > 1 && our_cid() == atoi(argv[1]));
    setbuf(stdout, NULL);
    ok &= check("echo", echo(1000, BYTES, 1));
    ok &= check("half-closed", half_closed(1001, BYTES));
    ok &= check("slow-reader", half_closed(1002, 1u << 20));
    ok &= check("refused", refused(1999));
    ok &= check("many", many(1000));
    ok &= check("resumed", resumed(1000));
    ok &= check("again", again(1000));
    ok &= check("after", echo(1000, 100000, 2));
    ok &= check("from-host", serve(2000, 2001));
    return !ok;
}
