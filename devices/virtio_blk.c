/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_blk.c: block device (Virtio 1.2, section 5.2) on a raw image file or a
 * block device of the host. A request is carried out at once, in the event
 * thread, straight between guest RAM and the file.
 */
#define _GNU_SOURCE
#include "devices/virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512u
#define F_SEG_MAX BIT(2)
#define F_RO BIT(5)
#define F_BLK_SIZE BIT(6)
#define F_FLUSH BIT(9)
#define F_DISCARD BIT(13)
#define F_WRITE_ZEROES BIT(14)
#define SEG_MAX (VIRTQ_MAX_SEGMENTS - 2)
#define MAX_RANGE_SECTORS 0x200000u /* of one discard or write-zeroes: 1 GiB */

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

struct blk {
    struct virtio v;
    int fd;
    bool readonly, dirty; /* dirty: written since the last flush */
    uint64_t sectors;
    char id[20];
};

struct blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};
struct blk_range {
    uint64_t sector;
    uint32_t sectors, flags;
};

static struct blk *blk_of(struct virtio *v) { return CONTAINER_OF(v, struct blk, v); }

static bool in_range(const struct blk *b, uint64_t sector, uint64_t bytes) {
    return bytes % SECTOR == 0 && sector <= b->sectors && bytes / SECTOR <= b->sectors - sector;
}

/* The data part of a request as host memory: the out segments without the header, or the in segments without the status. */
static int map_data(struct blk *b, const struct virtq_request *r, bool in, struct iovec *iov) {
    const struct virtq_segment *s = in ? r->in : r->out;
    uint64_t skip = in ? 0 : sizeof(struct blk_header), left = in ? r->in_bytes - 1 : r->out_bytes - skip;
    unsigned count = in ? r->in_count : r->out_count;
    int n = 0;
    for (unsigned i = 0; i < count && left; i++) {
        if (skip >= s[i].len) {
            skip -= s[i].len;
            continue;
        }
        uint64_t gpa = s[i].gpa + skip, len = s[i].len - skip < left ? s[i].len - skip : left;
        void *p = in ? guest_ram_write_begin(b->v.dev.machine, gpa, len)
                     : (void *)(uintptr_t)guest_ram(b->v.dev.machine, gpa, len);
        if (!p)
            return -1;
        iov[n++] = (struct iovec){p, len};
        left -= len;
        skip = 0;
    }
    return n;
}

static void unmap_in(struct blk *b, const struct virtq_request *r) {
    for (unsigned i = 0; i < r->in_count; i++)
        guest_ram_write_end(b->v.dev.machine, r->in[i].gpa, r->in[i].len);
}

static void advance(struct iovec **iov, int *n, size_t done) {
    while (*n && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++, (*n)--;
    }
    if (*n) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

static bool transfer(int fd, bool in, struct iovec *iov, int n, uint64_t offset) {
    while (n > 0) {
        ssize_t done = in ? preadv(fd, iov, n, (off_t)offset) : pwritev(fd, iov, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) /* reading past a file that someone truncated is an error, too */
            return false;
        offset += (uint64_t)done;
        advance(&iov, &n, (size_t)done);
    }
    return true;
}

static uint8_t do_io(struct blk *b, const struct virtq_request *r, const struct blk_header *h, bool in) {
    struct iovec iov[VIRTQ_MAX_SEGMENTS];
    uint64_t bytes = in ? r->in_bytes - 1 : r->out_bytes - sizeof(*h);
    if (!in && b->readonly)
        return S_IOERR;
    if (!in_range(b, h->sector, bytes))
        return S_IOERR;
    int n = map_data(b, r, in, iov);
    if (n < 0)
        return S_IOERR;
    b->dirty |= !in;
    bool ok = transfer(b->fd, in, iov, n, h->sector * SECTOR);
    if (in)
        unmap_in(b, r);
    return ok ? S_OK : S_IOERR;
}

static uint8_t do_flush(struct blk *b) {
    if (!b->dirty)
        return S_OK;
    if (fdatasync(b->fd) < 0)
        return S_IOERR;
    b->dirty = false;
    return S_OK;
}

/* Zeroes written by hand, where the file system cannot punch or zero a range. */
static bool write_zeroes(struct blk *b, uint64_t offset, uint64_t bytes) {
    static const uint8_t zero[65536];
    while (bytes) {
        size_t len = bytes < sizeof(zero) ? bytes : sizeof(zero);
        struct iovec iov = {(void *)(uintptr_t)zero, len};
        if (!transfer(b->fd, false, &iov, 1, offset))
            return false;
        offset += len;
        bytes -= len;
    }
    return true;
}

static uint8_t do_ranges(struct blk *b, const struct virtq_request *r, bool zero) {
    uint64_t bytes = r->out_bytes - sizeof(struct blk_header);
    if (b->readonly)
        return S_IOERR;
    if (bytes == 0 || bytes % sizeof(struct blk_range) || bytes / sizeof(struct blk_range) > 1)
        return S_UNSUPP; /* max_*_seg is 1 */
    struct blk_range range;
    virtq_read(&b->v, r, sizeof(struct blk_header), &range, sizeof(range));
    if (range.flags & ~(zero ? 1u : 0u))
        return S_UNSUPP;
    if (range.sectors > MAX_RANGE_SECTORS || !in_range(b, range.sector, (uint64_t)range.sectors * SECTOR))
        return S_IOERR;
    off_t offset = (off_t)(range.sector * SECTOR), len = (off_t)range.sectors * SECTOR;
    if (len == 0)
        return S_OK;
    b->dirty = true;
    bool punched = fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len) == 0;
    if (punched || !zero) /* a discard is advice */
        return S_OK;
    return write_zeroes(b, (uint64_t)offset, (uint64_t)len) ? S_OK : S_IOERR;
}

static uint8_t execute(struct blk *b, const struct virtq_request *r, const struct blk_header *h) {
    switch (h->type) {
    case T_IN: return do_io(b, r, h, true);
    case T_OUT: return do_io(b, r, h, false);
    case T_FLUSH: return do_flush(b);
    case T_GET_ID: return virtq_write(&b->v, r, 0, b->id, sizeof(b->id)) ? S_OK : S_IOERR;
    case T_DISCARD: return do_ranges(b, r, false);
    case T_WRITE_ZEROES: return do_ranges(b, r, true);
    default: return S_UNSUPP;
    }
}

static void blk_notify(struct virtio *v, unsigned queue) {
    struct blk *b = blk_of(v);
    struct virtq *q = &v->queue[queue];
    struct virtq_request r;
    while (virtq_pop(v, q, &r) == 1) {
        struct blk_header h;
        if (r.in_bytes < 1 || virtq_read(v, &r, 0, &h, sizeof(h)) != sizeof(h)) {
            virtio_broken(v); /* no room for a header or a status: there is no way to answer */
            return;
        }
        uint8_t status = execute(b, &r, &h);
        virtq_write(v, &r, r.in_bytes - 1, &status, 1);
        virtq_push(v, q, r.head, (uint32_t)r.in_bytes);
    }
    virtq_interrupt(v, q);
}

static void blk_destroy(struct virtio *v) {
    struct blk *b = blk_of(v);
    if (do_flush(b) != S_OK)
        fprintf(stderr, "graft: %s: flushing the disk failed: %s\n", b->id, strerror(errno));
    close(b->fd);
    free(b);
}

static bool image_size(int fd, uint64_t *bytes, char err[256], const char *path) {
    struct stat st;
    if (fstat(fd, &st) < 0) {
        snprintf(err, 256, "%.180s: %s", path, strerror(errno));
        return false;
    }
    if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, bytes) == 0)
        return true;
    if (!S_ISREG(st.st_mode)) {
        snprintf(err, 256, "%s: not a file or block device", path);
        return false;
    }
    *bytes = (uint64_t)st.st_size;
    return true;
}

static void fill_config(struct blk *b) {
    uint8_t *c = b->v.config;
    uint32_t seg_max = SEG_MAX, blk_size = SECTOR, range = MAX_RANGE_SECTORS, one = 1;
    memcpy(c + 0, &b->sectors, 8);
    memcpy(c + 12, &seg_max, 4);
    memcpy(c + 20, &blk_size, 4);
    memcpy(c + 36, &range, 4); /* max_discard_sectors, max_discard_seg, discard_sector_alignment */
    memcpy(c + 40, &one, 4);
    memcpy(c + 44, &one, 4);
    memcpy(c + 48, &range, 4); /* max_write_zeroes_sectors, max_write_zeroes_seg */
    memcpy(c + 52, &one, 4);
    c[56] = 1; /* write_zeroes_may_unmap */
    b->v.config_bytes = 60;
}

struct device *virtio_blk_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, const char *path,
                                 bool readonly, char err[256]) {
    static const struct virtio_type type = {.name = "blk",
                                            .device_id = VIRTIO_ID_BLOCK,
                                            .queues = 1,
                                            .features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH,
                                            .notify = blk_notify,
                                            .destroy = blk_destroy};
    uint64_t bytes = 0;
    int fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0) {
        snprintf(err, 256, "%.180s: %s", path, strerror(errno));
        return NULL;
    }
    struct blk *b = image_size(fd, &bytes, err, path) ? calloc(1, sizeof(*b)) : NULL;
    if (!b) {
        close(fd);
        return NULL;
    }
    b->fd = fd;
    b->readonly = readonly;
    b->sectors = bytes / SECTOR;
    snprintf(b->id, sizeof(b->id), "graft-disk%d", slot);
    virtio_init(&b->v, &type, m, gpa, spi, slot);
    b->v.features_offered |= readonly ? F_RO : F_DISCARD | F_WRITE_ZEROES;
    fill_config(b);
    return &b->v.dev;
}
