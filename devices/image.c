/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* image.c: raw image files, block devices, and what is served (image.h). */
#define _GNU_SOURCE
#include "devices/image.h"
#include "devices/nbd.h"
#include "graft/device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

struct image {
    int fd;
    struct nbd *server; /* then there is no fd */
    bool guessed;
    uint64_t bytes; /* of the file when it was opened */
    bool in_memory; /* the file is in no disk's file system: reading does not wait */
    pthread_mutex_t flushing;
    _Atomic bool dirty; /* written since the last flush began */
};

static bool size_of(int fd, uint64_t *bytes, const char *path, char err[256]) {
    struct stat st;
    if (fstat(fd, &st) < 0) {
        snprintf(err, 256, "%.180s: %s", path, strerror(errno));
        return false;
    }
    if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, bytes) == 0)
        return true;
    if (!S_ISREG(st.st_mode)) {
        snprintf(err, 256, "%.180s: not a file or block device", path);
        return false;
    }
    *bytes = (uint64_t)st.st_size;
    return true;
}

struct image *image_open(const char *path, bool readonly, char err[256]) {
    struct statfs fs;
    struct disk_source s;
    uint64_t bytes = 0;
    if (!disk_open(path, readonly, &s, err))
        return NULL;
    if (s.server)
        bytes = nbd_bytes(s.server);
    struct image *f = s.server || size_of(s.fd, &bytes, path, err) ? calloc(1, sizeof(*f)) : NULL;
    if (!f) {
        if (s.fd >= 0)
            close(s.fd);
        return NULL;
    }
    f->fd = s.fd;
    f->server = s.server;
    f->guessed = s.guessed;
    f->bytes = bytes;
    f->in_memory = !s.server && fstatfs(s.fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    pthread_mutex_init(&f->flushing, NULL);
    return f;
}

void image_close(struct image *f) {
    if (f->fd >= 0)
        close(f->fd);
    pthread_mutex_destroy(&f->flushing);
    free(f);
}

uint64_t image_sectors(const struct image *f) { return f->bytes / IMAGE_SECTOR + (f->bytes % IMAGE_SECTOR != 0); }

size_t image_read_now(struct image *f, const struct iovec *iov, int n, uint64_t offset) {
    if (f->server)
        return 0;
    ssize_t done = preadv2(f->fd, iov, n, (off_t)offset, RWF_NOWAIT);
    if (done < 0 && errno == EOPNOTSUPP && f->in_memory)
        done = preadv(f->fd, iov, n, (off_t)offset);
    return done > 0 ? (size_t)done : 0;
}

bool image_read(struct image *f, void *buf, size_t len, uint64_t offset) {
    uint8_t *p = buf;
    if (f->server)
        return nbd_read(f->server, buf, len, offset);
    while (len) {
        ssize_t done = pread(f->fd, p, len, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done == 0 && offset >= f->bytes) { /* the rest of the last sector */
            memset(p, 0, len);
            return true;
        }
        if (done <= 0) /* a file that someone truncated is an error, too */
            return false;
        p += done;
        offset += (uint64_t)done;
        len -= (size_t)done;
    }
    return true;
}

static size_t iov_bytes(const struct iovec *iov, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

/* What is left of iov behind its first bytes. Returns how many entries that takes. */
static int iov_rest(struct iovec *rest, const struct iovec *iov, int n, size_t skip) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        size_t cut = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        skip -= cut;
        if (cut < iov[i].iov_len)
            rest[count++] = (struct iovec){(char *)iov[i].iov_base + cut, iov[i].iov_len - cut};
    }
    return count;
}

static bool write_all(struct image *f, const struct iovec *iov, int n, uint64_t offset) {
    struct iovec rest[IOV_MAX];
    if (f->server)
        return nbd_write(f->server, iov, n, offset);
    size_t total = iov_bytes(iov, n), done = 0;
    while (done < total) {
        ssize_t now = done ? pwritev(f->fd, rest, iov_rest(rest, iov, n, done), (off_t)(offset + done))
                           : pwritev(f->fd, iov, n, (off_t)offset);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0)
            return false;
        done += (size_t)now;
    }
    return true;
}

/* The first sector, which is looked at where the guest cannot change it any more, and then the rest. */
static bool write_guarded(struct image *f, const struct iovec *iov, int n) {
    static const char qcow2[] = {'Q', 'F', 'I', (char)0xfb};
    uint8_t first[IMAGE_SECTOR];
    struct iovec rest[IOV_MAX], own = {first, 0};
    for (int i = 0; i < n && own.iov_len < sizeof(first); i++) {
        size_t room = sizeof(first) - own.iov_len, len = iov[i].iov_len < room ? iov[i].iov_len : room;
        memcpy(first + own.iov_len, iov[i].iov_base, len);
        own.iov_len += len;
    }
    if (own.iov_len >= sizeof(qcow2) && !memcmp(first, qcow2, sizeof(qcow2))) {
        log_printf("graft: a guest that makes its raw disk look like qcow2 may not write that (format=raw lets it)\n");
        return errno = EPERM, false;
    }
    int left = iov_rest(rest, iov, n, own.iov_len);
    return write_all(f, &own, 1, 0) && (!left || write_all(f, rest, left, own.iov_len));
}

bool image_write(struct image *f, const struct iovec *iov, int n, uint64_t offset) {
    bool ok = f->guessed && !offset ? write_guarded(f, iov, n) : write_all(f, iov, n, offset);
    atomic_store(&f->dirty, true); /* after it: a flush that began meanwhile need not have seen it */
    return ok;
}

static bool sync_all(struct image *f) { return f->server ? nbd_flush(f->server) : fdatasync(f->fd) == 0; }

/* One at a time: who finds nothing to do must not say so before it is on the disk. */
bool image_flush(struct image *f) {
    bool ok = true;
    pthread_mutex_lock(&f->flushing);
    if (atomic_exchange(&f->dirty, false) && !sync_all(f)) {
        atomic_store(&f->dirty, true);
        ok = false;
    }
    pthread_mutex_unlock(&f->flushing);
    return ok;
}

bool image_is_clean(struct image *f) {
    if (atomic_load(&f->dirty) || pthread_mutex_trylock(&f->flushing))
        return false;
    bool clean = !atomic_load(&f->dirty);
    pthread_mutex_unlock(&f->flushing);
    return clean;
}

static bool allocate(struct image *f, int mode, uint64_t offset, uint64_t len) {
    while (fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) < 0)
        if (errno != EINTR)
            return false;
    return true;
}

void image_discard(struct image *f, uint64_t offset, uint64_t len) {
    if (f->server)
        nbd_trim(f->server, offset, len);
    else
        allocate(f, FALLOC_FL_PUNCH_HOLE, offset, len);
    atomic_store(&f->dirty, true);
}

/* Zeroes written by hand, where the file system cannot make a range of them. */
static bool write_zeroes(struct image *f, uint64_t offset, uint64_t len) {
    static const uint8_t zero[65536];
    while (len) {
        struct iovec iov = {(void *)(uintptr_t)zero, len < sizeof(zero) ? len : sizeof(zero)};
        if (!write_all(f, &iov, 1, offset))
            return false;
        offset += iov.iov_len;
        len -= iov.iov_len;
    }
    return true;
}

static bool zero_file(struct image *f, uint64_t offset, uint64_t len, bool unmap) {
    return (unmap && allocate(f, FALLOC_FL_PUNCH_HOLE, offset, len)) ||
           allocate(f, FALLOC_FL_ZERO_RANGE, offset, len) || write_zeroes(f, offset, len);
}

bool image_zero(struct image *f, uint64_t offset, uint64_t len, bool unmap) {
    bool ok = f->server ? nbd_zero(f->server, offset, len, unmap) : zero_file(f, offset, len, unmap);
    atomic_store(&f->dirty, true);
    return ok;
}
