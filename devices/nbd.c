/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* nbd.c: see nbd.h. */
#include "devices/nbd.h"
#include "graft/device.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER_MAGIC UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define OPTION_MAGIC UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC 0x67446698u
#define FIXED_NEWSTYLE 1u /* of both sides */
#define NO_ZEROES 2u
#define OPTION_EXPORT_NAME 1u
#define NO_HOLE 2u       /* of a request: the zeroes are to have room */
#define HELLO_SECONDS 20 /* for the server to open the image */
#define HAS_FLUSH 4u     /* of the export */

enum command { CMD_READ, CMD_WRITE, CMD_DISCONNECT, CMD_FLUSH, CMD_TRIM, CMD_WRITE_ZEROES = 6 };

/* All numbers are big-endian. */
struct request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t len;
} __attribute__((packed));
struct reply {
    uint32_t magic, error;
    uint64_t cookie;
} __attribute__((packed));

struct nbd {
    char name[64];
    uint64_t bytes;
    bool can_flush;
    _Atomic bool broken;
    int fd[NBD_CONNECTIONS];
    uint64_t cookie[NBD_CONNECTIONS]; /* of the last request */
    bool busy[NBD_CONNECTIONS];
    pthread_mutex_t lock; /* of busy */
    pthread_cond_t free;
};

/* --- bytes ------------------------------------------------------------------------------------ */
/* What there is, at least one byte; 0: there will be none. */
static size_t receive_some(int fd, struct iovec *iov, int count) {
    ssize_t n;
    do
        n = readv(fd, iov, count);
    while (n < 0 && errno == EINTR);
    if (!n)
        errno = ECONNRESET;
    return n > 0 ? (size_t)n : 0;
}

static bool receive(int fd, void *buf, size_t len) {
    for (uint8_t *p = buf; len;) {
        size_t n = receive_some(fd, &(struct iovec){p, len}, 1);
        if (!n)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

/* Uses iov up. */
static bool send_all(int fd, struct iovec *iov, int count) {
    while (count) {
        ssize_t n = writev(fd, iov, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        for (; count && (size_t)n >= iov->iov_len; iov++, count--)
            n -= (ssize_t)iov->iov_len;
        if (count)
            *iov = (struct iovec){(char *)iov->iov_base + n, iov->iov_len - (size_t)n};
    }
    return true;
}

static bool send_bytes(int fd, const void *buf, size_t len) {
    struct iovec iov = {(void *)(uintptr_t)buf, len};
    return send_all(fd, &iov, 1);
}

/* --- the beginning ---------------------------------------------------------------------------- */
static bool shake_hands(int fd, uint64_t *bytes, uint16_t *flags) {
    struct {
        uint64_t magic, option;
        uint16_t flags;
    } __attribute__((packed)) hello;
    struct {
        uint32_t flags;
        uint64_t magic;
        uint32_t option, len;
    } __attribute__((packed)) choice = {htobe32(FIXED_NEWSTYLE | NO_ZEROES), htobe64(OPTION_MAGIC),
                                        htobe32(OPTION_EXPORT_NAME), 0};
    struct {
        uint64_t bytes;
        uint16_t flags;
    } __attribute__((packed)) export;
    if (!receive(fd, &hello, sizeof(hello)))
        return false;
    errno = EPROTO;
    if (be64toh(hello.magic) != SERVER_MAGIC || be64toh(hello.option) != OPTION_MAGIC ||
        (~be16toh(hello.flags) & (FIXED_NEWSTYLE | NO_ZEROES)))
        return false;
    if (!send_bytes(fd, &choice, sizeof(choice)) || !receive(fd, &export, sizeof(export)))
        return false;
    *bytes = be64toh(export.bytes);
    *flags = be16toh(export.flags);
    return true;
}

/* Nothing waits for ever for a server that is not there yet. */
static bool open_one(struct nbd *n, unsigned i) {
    struct timeval limit = {.tv_sec = HELLO_SECONDS}, none = {0};
    uint64_t bytes;
    uint16_t flags;
    setsockopt(n->fd[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (!shake_hands(n->fd[i], &bytes, &flags))
        return false;
    setsockopt(n->fd[i], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
    if (i && bytes != n->bytes)
        return errno = EPROTO, false;
    n->bytes = bytes;
    n->can_flush = flags & HAS_FLUSH;
    return true;
}

struct nbd *nbd_open(const int fd[NBD_CONNECTIONS], const char *name, char err[256]) {
    struct nbd *n = calloc(1, sizeof(*n));
    if (!n) {
        snprintf(err, 256, "out of memory");
        for (unsigned i = 0; i < NBD_CONNECTIONS; i++)
            close(fd[i]);
        return NULL;
    }
    snprintf(n->name, sizeof(n->name), "%s", name);
    memcpy(n->fd, fd, sizeof(n->fd));
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->free, NULL);
    for (unsigned i = 0; i < NBD_CONNECTIONS; i++) {
        if (open_one(n, i))
            continue;
        snprintf(err, 256, "%s", strerror(errno));
        n->broken = true;
        nbd_close(n);
        return NULL;
    }
    return n;
}

void nbd_close(struct nbd *n) {
    struct request leave = {.magic = htobe32(REQUEST_MAGIC), .type = htobe16(CMD_DISCONNECT)};
    for (unsigned i = 0; i < NBD_CONNECTIONS; i++) {
        if (!n->broken)
            send_bytes(n->fd[i], &leave, sizeof(leave));
        close(n->fd[i]);
    }
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->free);
    free(n);
}

uint64_t nbd_bytes(const struct nbd *n) { return n->bytes; }

/* --- requests --------------------------------------------------------------------------------- */
static unsigned take_connection(struct nbd *n) {
    unsigned i = 0;
    pthread_mutex_lock(&n->lock);
    for (;; pthread_cond_wait(&n->free, &n->lock)) {
        for (i = 0; i < NBD_CONNECTIONS && n->busy[i]; i++)
            continue;
        if (i < NBD_CONNECTIONS)
            break;
    }
    n->busy[i] = true;
    pthread_mutex_unlock(&n->lock);
    return i;
}

static void give_connection(struct nbd *n, unsigned i) {
    pthread_mutex_lock(&n->lock);
    n->busy[i] = false;
    pthread_cond_signal(&n->free);
    pthread_mutex_unlock(&n->lock);
}

/* The reply to the request that was sent last: its data, if it is one for data, go to buf. False: it is none. */
static bool take_reply(struct nbd *n, unsigned i, void *buf, size_t len, uint32_t *error) {
    struct reply r;
    struct iovec iov[] = {{&r, sizeof(r)}, {buf, buf ? len : 0}};
    size_t got = receive_some(n->fd[i], iov, buf ? 2 : 1);
    if (!got || (got < sizeof(r) && !receive(n->fd[i], (uint8_t *)&r + got, sizeof(r) - got)))
        return false;
    got = got < sizeof(r) ? 0 : got - sizeof(r);
    errno = EPROTO;
    if (be32toh(r.magic) != REPLY_MAGIC || be64toh(r.cookie) != n->cookie[i])
        return false;
    *error = be32toh(r.error);
    if (*error) /* has no data */
        return !got;
    return !buf || receive(n->fd[i], (uint8_t *)buf + got, len - got);
}

/* iov[0] is room for the request itself; what is behind it goes with it. */
static bool ask(struct nbd *n, struct request *q, struct iovec *iov, int count, void *buf, size_t len) {
    unsigned i = take_connection(n);
    uint32_t error = 0;
    q->magic = htobe32(REQUEST_MAGIC);
    q->cookie = htobe64(++n->cookie[i]);
    iov[0] = (struct iovec){q, sizeof(*q)};
    bool ok = !n->broken && send_all(n->fd[i], iov, count) && take_reply(n, i, buf, len, &error);
    int why = errno;
    give_connection(n, i);
    if (!ok && !atomic_exchange(&n->broken, true))
        log_printf("graft: %s: what serves this disk is gone: %s\n", n->name, strerror(why));
    errno = ok ? (int)error : EIO; /* the numbers of the protocol are those of Linux */
    return ok && !error;
}

static bool command(struct nbd *n, enum command type, unsigned flags, uint64_t offset, uint64_t len) {
    struct request q = {.type = htobe16((uint16_t)type),
                        .flags = htobe16((uint16_t)flags),
                        .offset = htobe64(offset),
                        .len = htobe32((uint32_t)len)};
    struct iovec iov[1];
    return ask(n, &q, iov, 1, NULL, 0);
}

bool nbd_read(struct nbd *n, void *buf, size_t len, uint64_t offset) {
    struct request q = {.type = htobe16(CMD_READ), .offset = htobe64(offset), .len = htobe32((uint32_t)len)};
    struct iovec iov[1];
    return ask(n, &q, iov, 1, buf, len);
}

bool nbd_write(struct nbd *n, const struct iovec *iov, int count, uint64_t offset) {
    struct iovec all[1 + NBD_MAX_SEGMENTS];
    uint64_t len = 0;
    if (count > NBD_MAX_SEGMENTS)
        return errno = EINVAL, false;
    for (int i = 0; i < count; i++) {
        all[1 + i] = iov[i];
        len += iov[i].iov_len;
    }
    struct request q = {.type = htobe16(CMD_WRITE), .offset = htobe64(offset), .len = htobe32((uint32_t)len)};
    return ask(n, &q, all, 1 + count, NULL, 0);
}

bool nbd_flush(struct nbd *n) { return !n->can_flush || command(n, CMD_FLUSH, 0, 0, 0); }

bool nbd_trim(struct nbd *n, uint64_t offset, uint64_t len) { return command(n, CMD_TRIM, 0, offset, len); }

bool nbd_zero(struct nbd *n, uint64_t offset, uint64_t len, bool unmap) {
    return command(n, CMD_WRITE_ZEROES, unmap ? 0 : NO_HOLE, offset, len);
}
