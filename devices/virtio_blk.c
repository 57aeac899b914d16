/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_blk.c: block device (Virtio 1.2, section 5.2) on an image (image.h).
 *
 * A disk has threads of its own. One of them leads: it hears the doorbell, takes requests from the queue, and carries
 * out at once, straight between guest RAM and the host's page cache, what does not have to wait for a disk. Before it
 * begins what may have to, it hands the lead to another thread, so that many requests can wait at the same time.
 *
 * The driver may reset the device, or stop its queue, in the middle of all that. Nothing of a life that is over reaches
 * guest RAM after the register access that ended it: direct reads are short and under b->dma, which blk_quiesce()
 * takes; reads that wait do so in a buffer of the thread's. And no request of a new life is taken before the last one
 * of the old is through, so that a write that was under way then cannot undo one that was asked for later.
 */
#define _GNU_SOURCE
#include "devices/image.h"
#include "devices/virtio.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SECTOR IMAGE_SECTOR
#define F_SIZE_MAX BIT(1)
#define F_SEG_MAX BIT(2)
#define F_RO BIT(5)
#define F_BLK_SIZE BIT(6)
#define F_FLUSH BIT(9)
#define F_DISCARD BIT(13)
#define F_WRITE_ZEROES BIT(14)
#define SEG_MAX (VIRTQ_MAX_SEGMENTS - 2)
#define SIZE_MAX_BYTES (8u << 20)   /* of a segment, for drivers that accept the limit */
#define MAX_DATA (1u << 30)         /* of a request, for all: SEG_MAX segments of SIZE_MAX_BYTES */
#define MAX_RANGE_SECTORS 0x200000u /* of one discard or write-zeroes: 1 GiB */
#define PIECE (1u << 20)            /* bytes that are moved in one go */
#define MAX_WORKERS 8               /* and so the requests that can wait for the host at the same time */
#define SLOW_NS 2000000             /* a write that takes longer waits for something */
#define QUIET_REQUESTS 32           /* so many are done, if there are more to do, before the driver hears of them */

_Static_assert((uint64_t)SEG_MAX *SIZE_MAX_BYTES == MAX_DATA, "what is advertised is what is taken");

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

struct blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};
struct blk_range {
    uint64_t sector;
    uint32_t sectors, flags;
};

struct blk {
    struct virtio v;
    struct image *image;
    bool readonly;
    uint64_t sectors;
    char id[20];
    int bell;

    /* Under the device lock: */
    unsigned in_flight; /* requests that were popped and are not done, all of life */
    uint32_t life;
    unsigned unsignalled; /* pushed since the last virtq_interrupt() */
    struct disk_counts counts;
    bool finishing, finished;

    pthread_mutex_t lead; /* had by the thread that leads */
    pthread_mutex_t dma;  /* had while a read goes straight to guest RAM */
    struct thread *worker[MAX_WORKERS];
    unsigned workers;           /* started; only the leader starts one */
    _Atomic unsigned followers; /* those that wait for the lead */
    _Atomic bool ending;
    _Atomic bool writes_wait; /* the last write took long */
};

/* A request, while a thread is at it. */
struct job {
    struct virtq_request r;
    struct blk_header h;
    struct blk_range range; /* T_DISCARD, T_WRITE_ZEROES */
    struct iovec iov[VIRTQ_MAX_SEGMENTS];
    int iovs;
    uint64_t offset, bytes, done; /* in the image; of data; moved so far */
    uint8_t status;
    uint8_t *room; /* PIECE bytes of the thread's, from its first read that waits on */
};

static struct blk *blk_of(struct virtio *v) { return CONTAINER_OF(v, struct blk, v); }

static void ring(struct blk *b) {
    uint64_t one = 1;
    while (write(b->bell, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

/* --- what a request asks for: under the device lock ------------------------------------------- */
static bool in_range(const struct blk *b, uint64_t sector, uint64_t bytes) {
    return bytes % SECTOR == 0 && sector <= b->sectors && bytes / SECTOR <= b->sectors - sector;
}

/* The data part of a request as host memory: the out segments without the header, or the in segments without the
 * status. */
static bool map_data(struct blk *b, struct job *j, bool in) {
    const struct virtq_segment *s = in ? j->r.in : j->r.out;
    uint64_t skip = in ? 0 : sizeof(struct blk_header), left = j->bytes;
    unsigned count = in ? j->r.in_count : j->r.out_count;
    bool limited = virtio_has(&b->v, F_SIZE_MAX);
    for (unsigned i = 0; i < count && left; i++) {
        if (skip >= s[i].len) {
            skip -= s[i].len;
            continue;
        }
        uint64_t gpa = s[i].gpa + skip, len = s[i].len - skip < left ? s[i].len - skip : left;
        void *p = in ? guest_ram_write_begin(b->v.dev.machine, gpa, len)
                     : (void *)(uintptr_t)guest_ram(b->v.dev.machine, gpa, len);
        if (!p || (limited && len > SIZE_MAX_BYTES))
            return false;
        j->iov[j->iovs++] = (struct iovec){p, len};
        left -= len;
        skip = 0;
    }
    return true;
}

static uint8_t check_io(struct blk *b, struct job *j, bool in) {
    j->bytes = in ? j->r.in_bytes - 1 : j->r.out_bytes - sizeof(j->h);
    if ((!in && b->readonly) || j->bytes > MAX_DATA || !in_range(b, j->h.sector, j->bytes) || !map_data(b, j, in))
        return S_IOERR;
    j->offset = j->h.sector * SECTOR;
    return S_OK;
}

static uint8_t check_range(struct blk *b, struct job *j, bool zero) {
    if (b->readonly)
        return S_IOERR;
    if (j->r.out_bytes != sizeof(j->h) + sizeof(j->range)) /* max_*_seg is 1 */
        return S_UNSUPP;
    virtq_read(&b->v, &j->r, sizeof(j->h), &j->range, sizeof(j->range));
    if (j->range.flags & ~(zero ? 1u : 0u))
        return S_UNSUPP;
    j->offset = j->range.sector * SECTOR;
    j->bytes = (uint64_t)j->range.sectors * SECTOR;
    return j->range.sectors <= MAX_RANGE_SECTORS && in_range(b, j->range.sector, j->bytes) ? S_OK : S_IOERR;
}

/* Everything in guest RAM that is not data is read here, and once. */
static uint8_t check(struct blk *b, struct job *j) {
    switch (j->h.type) {
    case T_IN: return check_io(b, j, true);
    case T_OUT: return check_io(b, j, false);
    case T_FLUSH: return S_OK;
    case T_GET_ID: return virtq_write(&b->v, &j->r, 0, b->id, sizeof(b->id)) ? S_OK : S_IOERR;
    case T_DISCARD: return check_range(b, j, false);
    case T_WRITE_ZEROES: return check_range(b, j, true);
    default: return S_UNSUPP;
    }
}

/* The next request: false if there is none now. */
static bool take(struct blk *b, struct job *j) {
    struct virtq *q = &b->v.queue[0];
    if (!virtio_is_live(&b->v) || (b->in_flight && b->life != q->life))
        return false;
    if (virtq_pop(&b->v, q, &j->r) != 1)
        return false;
    if (j->r.in_bytes < 1 || virtq_read(&b->v, &j->r, 0, &j->h, sizeof(j->h)) != sizeof(j->h)) {
        virtio_broken(&b->v); /* no room for a header or a status: there is no way to answer */
        return false;
    }
    b->life = q->life;
    b->in_flight++;
    j->iovs = 0;
    j->offset = j->bytes = j->done = 0;
    j->status = check(b, j);
    return true;
}

static void interrupt(struct blk *b) {
    if (b->unsignalled)
        virtq_interrupt(&b->v, &b->v.queue[0]);
    b->unsignalled = 0;
}

static bool is_current(struct blk *b, const struct job *j) { return b->v.queue[0].life == j->r.life; }

static void count(struct disk_counts *c, const struct job *j) {
    bool ok = j->status == S_OK;
    c->failed += !ok;
    c->flushes += ok && j->h.type == T_FLUSH;
    c->reads += ok && j->h.type == T_IN;
    c->writes += ok && j->h.type == T_OUT;
    c->read_bytes += ok && j->h.type == T_IN ? j->bytes : 0;
    c->written_bytes += ok && j->h.type == T_OUT ? j->bytes : 0;
}

static void complete(struct blk *b, struct job *j) {
    struct virtq *q = &b->v.queue[0];
    count(&b->counts, j);
    for (unsigned i = 0; j->h.type == T_IN && i < j->r.in_count; i++)
        guest_ram_write_end(b->v.dev.machine, j->r.in[i].gpa, j->r.in[i].len);
    if (is_current(b, j)) {
        virtq_write(&b->v, &j->r, j->r.in_bytes - 1, &j->status, 1);
        virtq_push(&b->v, q, j->r.head, (uint32_t)j->r.in_bytes);
        b->unsignalled++;
    }
    if (--b->in_flight == 0 && (b->finishing || !is_current(b, j)))
        ring(b); /* the leader may be waiting for that */
}

/* --- doing it: without the device lock -------------------------------------------------------- */
/* The next bytes of a job's data, as many as are moved in one go. */
static int piece(const struct job *j, struct iovec *iov) {
    uint64_t skip = j->done, room = PIECE;
    int n = 0;
    for (int i = 0; i < j->iovs && room; i++) {
        if (skip >= j->iov[i].iov_len) {
            skip -= j->iov[i].iov_len;
            continue;
        }
        size_t len = j->iov[i].iov_len - skip < room ? j->iov[i].iov_len - skip : room;
        iov[n++] = (struct iovec){(char *)j->iov[i].iov_base + skip, len};
        room -= len;
        skip = 0;
    }
    return n;
}

static bool is_over(struct blk *b, const struct job *j) { return b->ending || !is_current(b, j); }

/* What is in the page cache, straight to guest RAM. True if that was all. */
static bool read_now(struct blk *b, struct job *j) {
    size_t got = 1;
    while (got && j->done < j->bytes && !b->ending) {
        struct iovec iov[VIRTQ_MAX_SEGMENTS];
        int n = piece(j, iov);
        pthread_mutex_lock(&b->dma);
        got = is_current(b, j) ? image_read_now(b->image, iov, n, j->offset + j->done) : 0;
        pthread_mutex_unlock(&b->dma);
        j->done += got;
    }
    return j->done == j->bytes;
}

static void copy_to(const struct iovec *iov, int n, const uint8_t *from) {
    for (int i = 0; i < n; i++) {
        memcpy(iov[i].iov_base, from, iov[i].iov_len);
        from += iov[i].iov_len;
    }
}

/* The thread keeps the room: giving it back after each read would have all its pages faulted in anew by the next. */
static bool read_waiting(struct blk *b, struct job *j) {
    if (!j->room)
        j->room = malloc(PIECE);
    bool ok = j->room != NULL;
    while (ok && j->done < j->bytes && !is_over(b, j)) {
        struct iovec iov[VIRTQ_MAX_SEGMENTS];
        int n = piece(j, iov);
        uint64_t len = j->bytes - j->done < PIECE ? j->bytes - j->done : PIECE;
        ok = image_read(b->image, j->room, len, j->offset + j->done);
        pthread_mutex_lock(&b->dma);
        if (ok && is_current(b, j))
            copy_to(iov, n, j->room);
        pthread_mutex_unlock(&b->dma);
        j->done += len;
    }
    return ok;
}

static bool write_data(struct blk *b, struct job *j) {
    uint64_t start = event_now_ns();
    bool ok = true;
    while (ok && j->done < j->bytes && !is_over(b, j)) {
        struct iovec iov[VIRTQ_MAX_SEGMENTS];
        int n = piece(j, iov);
        ok = image_write(b->image, iov, n, j->offset + j->done);
        j->done += j->bytes - j->done < PIECE ? j->bytes - j->done : PIECE;
    }
    b->writes_wait = event_now_ns() - start > SLOW_NS * (1 + j->bytes / PIECE);
    return ok;
}

/* What needs no waiting, in the thread that leads. False if there is more to do. */
static bool quick(struct blk *b, struct job *j) {
    if (j->status != S_OK)
        return true;
    switch (j->h.type) {
    case T_IN: return read_now(b, j);
    case T_OUT:
        if (b->writes_wait)
            return false;
        j->status = write_data(b, j) ? S_OK : S_IOERR;
        return true;
    case T_FLUSH: return image_is_clean(b->image);
    case T_DISCARD:
    case T_WRITE_ZEROES: return j->bytes == 0;
    default: return true;
    }
}

static void slow(struct blk *b, struct job *j) {
    bool ok = true;
    switch (j->h.type) {
    case T_IN: ok = read_waiting(b, j); break;
    case T_OUT: ok = write_data(b, j); break;
    case T_FLUSH: ok = image_flush(b->image); break;
    case T_DISCARD: image_discard(b->image, j->offset, j->bytes); break;
    case T_WRITE_ZEROES: ok = image_zero(b->image, j->offset, j->bytes, j->range.flags & 1); break;
    default: break;
    }
    j->status = ok ? S_OK : S_IOERR;
}

/* --- threads ---------------------------------------------------------------------------------- */
static void worker_main(void *arg);

static bool start_worker(struct blk *b) {
    struct thread *t = thread_start(THREAD_DISK, b->id + strlen("graft-"), worker_main, b);
    if (t)
        b->worker[b->workers++] = t;
    return t != NULL;
}

/* Another thread leads from now on; if there is none to be had, when this one is back. */
static void step_back(struct blk *b) {
    if (!b->followers && b->workers < MAX_WORKERS)
        start_worker(b);
    pthread_mutex_unlock(&b->lead);
}

static void step_forward(struct blk *b) {
    b->followers++;
    pthread_mutex_lock(&b->lead);
    b->followers--;
}

/* Nothing is under way any more: the last of what was written goes to the disk. */
static void finish(struct blk *b) {
    bool ok = image_flush(b->image);
    if (!ok)
        log_printf("graft: %s: flushing the disk failed: %s\n", b->id, strerror(errno));
    device_lock(b->v.dev.machine);
    b->finished = true;
    device_unlock(b->v.dev.machine);
    events_wake(b->v.dev.machine);
}

/* One look at the queue, under one hold of the lock: hands in what is done and takes what is next. */
static bool turn(struct blk *b, struct job *j, bool done, bool *to_finish) {
    struct machine *m = b->v.dev.machine;
    device_lock(m);
    if (done)
        complete(b, j);
    bool got = take(b, j);
    if (!got || b->unsignalled >= QUIET_REQUESTS)
        interrupt(b);
    *to_finish = !got && b->finishing && !b->finished && !b->in_flight;
    device_unlock(m);
    return got;
}

static void do_slowly(struct blk *b, struct job *j) {
    struct machine *m = b->v.dev.machine;
    device_lock(m);
    interrupt(b);
    device_unlock(m);
    step_back(b);
    slow(b, j);
    device_lock(m);
    complete(b, j);
    interrupt(b);
    device_unlock(m);
    step_forward(b);
}

static void wait_for_bell(struct blk *b) {
    uint64_t count;
    while (read(b->bell, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
}

static void worker_main(void *arg) {
    struct blk *b = arg;
    struct job *j = calloc(1, sizeof(*j));
    bool done = false, to_finish;
    step_forward(b);
    while (j && !b->ending) {
        bool got = turn(b, j, done, &to_finish);
        done = got && quick(b, j);
        if (got && !done)
            do_slowly(b, j);
        else if (to_finish)
            finish(b);
        else if (!got)
            wait_for_bell(b);
    }
    pthread_mutex_unlock(&b->lead);
    if (j)
        free(j->room);
    free(j);
}

/* --- the device ------------------------------------------------------------------------------- */
static void blk_notify(struct virtio *v, unsigned queue) { ring(blk_of(v)); }

static void blk_quiesce(struct virtio *v) {
    struct blk *b = blk_of(v);
    pthread_mutex_lock(&b->dma);
    pthread_mutex_unlock(&b->dma);
}

/* What is in the queue stays there; what was taken from it is brought to its end. */
static int blk_ready(struct virtio *v, char err[256]) { return !blk_of(v)->in_flight; }

static bool blk_finish(struct virtio *v) {
    struct blk *b = blk_of(v);
    if (!b->finishing)
        ring(b);
    b->finishing = true;
    return b->finished;
}

static void blk_destroy(struct virtio *v) {
    struct blk *b = blk_of(v);
    b->ending = true;
    ring(b);
    pthread_mutex_lock(&b->lead); /* nobody starts threads any more */
    pthread_mutex_unlock(&b->lead);
    for (unsigned i = 0; i < b->workers; i++)
        thread_join(b->worker[i]);
    if (!b->finished && !image_flush(b->image))
        log_printf("graft: %s: flushing the disk failed: %s\n", b->id, strerror(errno));
    image_close(b->image);
    close(b->bell);
    pthread_mutex_destroy(&b->lead);
    pthread_mutex_destroy(&b->dma);
    free(b);
}

static void fill_config(struct blk *b) {
    uint8_t *c = b->v.config;
    uint32_t size_max = SIZE_MAX_BYTES, seg_max = SEG_MAX, blk_size = SECTOR, range = MAX_RANGE_SECTORS, one = 1;
    memcpy(c + 0, &b->sectors, 8);
    memcpy(c + 8, &size_max, 4);
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

struct disk_counts virtio_blk_counts(const struct device *d) {
    const struct virtio *v = CONTAINER_OF(d, const struct virtio, dev);
    return CONTAINER_OF(v, const struct blk, v)->counts;
}

struct device *virtio_blk_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, const char *path,
                                 bool readonly, char err[256]) {
    static const struct virtio_type type = {.name = "blk",
                                            .device_id = VIRTIO_ID_BLOCK,
                                            .queues = 1,
                                            .features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH,
                                            .notify = blk_notify,
                                            .quiesce = blk_quiesce,
                                            .ready = blk_ready,
                                            .finish = blk_finish,
                                            .destroy = blk_destroy};
    struct image *image = image_open(path, readonly, err);
    struct blk *b = image ? calloc(1, sizeof(*b)) : NULL;
    if (!b) {
        if (image)
            image_close(image);
        return NULL;
    }
    b->image = image;
    b->readonly = readonly;
    b->sectors = image_sectors(image);
    b->bell = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&b->lead, NULL);
    pthread_mutex_init(&b->dma, NULL);
    snprintf(b->id, sizeof(b->id), "graft-disk%d", slot);
    virtio_init(&b->v, &type, m, gpa, spi, slot);
    b->v.features_offered |= readonly ? F_RO : F_DISCARD | F_WRITE_ZEROES;
    fill_config(b);
    if (b->bell < 0 || !start_worker(b)) {
        snprintf(err, 256, "%.180s: cannot start a thread for the disk", path);
        blk_destroy(&b->v);
        return NULL;
    }
    event_own_bell(&b->v.dev, b->bell);
    return &b->v.dev;
}
