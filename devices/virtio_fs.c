/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_fs.c: file system device (Virtio 1.2, section 5.11) whose requests another process carries out (vhost_user.h).
 *
 * Of FUSE it knows the heads of requests and answers: to refuse what would change a folder that is shared to be read
 * only, to answer when there is nobody who does, and for the flags of open(), which do not have the same numbers on all
 * processors.
 */
#include "devices/vhost_user.h"
#include "devices/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TAG_BYTES 36
/* A driver makes no request of more segments than a queue has entries. */
#define QUEUE_MAX 128
#define REQUESTS 1 /* the queue whose answers are waited for; 0 is for those without */

/* FUSE (the kernel's <linux/fuse.h>) */
enum {
    OP_LOOKUP = 1,
    OP_FORGET = 2,
    OP_GETATTR = 3,
    OP_SETATTR = 4,
    OP_READLINK = 5,
    OP_SYMLINK = 6,
    OP_MKNOD = 8,
    OP_MKDIR = 9,
    OP_UNLINK = 10,
    OP_RMDIR = 11,
    OP_RENAME = 12,
    OP_LINK = 13,
    OP_OPEN = 14,
    OP_READ = 15,
    OP_WRITE = 16,
    OP_STATFS = 17,
    OP_RELEASE = 18,
    OP_FSYNC = 20,
    OP_SETXATTR = 21,
    OP_GETXATTR = 22,
    OP_LISTXATTR = 23,
    OP_REMOVEXATTR = 24,
    OP_FLUSH = 25,
    OP_INIT = 26,
    OP_OPENDIR = 27,
    OP_READDIR = 28,
    OP_RELEASEDIR = 29,
    OP_FSYNCDIR = 30,
    OP_GETLK = 31,
    OP_SETLK = 32,
    OP_SETLKW = 33,
    OP_ACCESS = 34,
    OP_CREATE = 35,
    OP_INTERRUPT = 36,
    OP_DESTROY = 38,
    OP_BATCH_FORGET = 42,
    OP_FALLOCATE = 43,
    OP_READDIRPLUS = 44,
    OP_RENAME2 = 45,
    OP_LSEEK = 46,
    OP_COPY_FILE_RANGE = 47,
    OP_SYNCFS = 50,
    OP_TMPFILE = 51,
    OP_STATX = 52,
};
#define OPS(n) (UINT64_C(1) << (n))
#define OPS_READING                                                                                                    \
    (OPS(OP_LOOKUP) | OPS(OP_FORGET) | OPS(OP_GETATTR) | OPS(OP_READLINK) | OPS(OP_OPEN) | OPS(OP_READ) |              \
     OPS(OP_STATFS) | OPS(OP_RELEASE) | OPS(OP_FSYNC) | OPS(OP_GETXATTR) | OPS(OP_LISTXATTR) | OPS(OP_FLUSH) |         \
     OPS(OP_INIT) | OPS(OP_OPENDIR) | OPS(OP_READDIR) | OPS(OP_RELEASEDIR) | OPS(OP_FSYNCDIR) | OPS(OP_GETLK) |        \
     OPS(OP_SETLK) | OPS(OP_SETLKW) | OPS(OP_ACCESS) | OPS(OP_INTERRUPT) | OPS(OP_DESTROY) | OPS(OP_BATCH_FORGET) |    \
     OPS(OP_READDIRPLUS) | OPS(OP_LSEEK) | OPS(OP_SYNCFS) | OPS(OP_STATX))
#define OPS_WRITING                                                                                                    \
    (OPS(OP_SETATTR) | OPS(OP_SYMLINK) | OPS(OP_MKNOD) | OPS(OP_MKDIR) | OPS(OP_UNLINK) | OPS(OP_RMDIR) |              \
     OPS(OP_RENAME) | OPS(OP_LINK) | OPS(OP_WRITE) | OPS(OP_SETXATTR) | OPS(OP_REMOVEXATTR) | OPS(OP_CREATE) |         \
     OPS(OP_FALLOCATE) | OPS(OP_RENAME2) | OPS(OP_COPY_FILE_RANGE) | OPS(OP_TMPFILE))
#define OPS_WITH_FLAGS (OPS(OP_OPEN) | OPS(OP_OPENDIR) | OPS(OP_CREATE))
/* Flags of open() that have the same numbers on every processor. The rest is the guest kernel's own affair: O_DIRECT,
 * O_DIRECTORY, O_NOFOLLOW, O_LARGEFILE and O_TMPFILE, which here would be one another. And O_NOATIME, which overlayfs
 * always asks for and only the owner of a file gets. */
#define FLAGS_COMMON 06037777u
#define FLAGS_WRITING (3u | 01000u | 0100u) /* O_WRONLY and O_RDWR, O_TRUNC, O_CREAT */

struct head {
    uint32_t len, op;
    uint64_t unique, node;
    uint32_t uid, gid, pid, padding;
    uint32_t flags; /* of OPS_WITH_FLAGS: where their own part begins */
};
#define HEAD_BYTES 40
struct answer {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};

struct job {
    struct virtq_request r;
    uint64_t unique;
    bool waiting; /* the guest waits for the answer: not if its queue has stopped, or the request is none of its */
};

struct fs {
    struct virtio v;
    struct vhost_user *backend;
    bool readonly, gone; /* gone: the other process has ended */
    bool mounted;        /* it has an INIT behind it */
    struct event_fd *answers, *end;
    struct job job[VHOST_QUEUES][VHOST_SLOTS];
};

static struct fs *fs_of(struct virtio *v) { return CONTAINER_OF(v, struct fs, v); }

static uint64_t op_bit(uint32_t op) { return op < 64 ? OPS(op) : 0; }

/* --- a request on its way --------------------------------------------------------------------- */
/* The pieces of a request: the first of the guest's segments as they are, since there is a head in each, and the rest
 * in one. Returns how many. */
static unsigned pieces(const struct virtq_segment *s, unsigned count, uint64_t total, unsigned most, uint32_t *bytes) {
    unsigned n = 0;
    for (; n < count && n + 1 < most; n++) {
        bytes[n] = s[n].len;
        total -= s[n].len;
    }
    if (n < count)
        bytes[n++] = (uint32_t)total;
    return n;
}

static void submit(struct fs *f, unsigned queue, unsigned slot, const struct virtq_request *r) {
    uint32_t bytes[VHOST_PIECES];
    unsigned out = pieces(r->out, r->out_count, r->out_bytes, 3, bytes);
    unsigned in = pieces(r->in, r->in_count, r->in_bytes, 2, bytes + out);
    vhost_user_submit(f->backend, queue, slot, bytes, out, in);
}

/* The head is ours to look at and to change: a copy goes to where the other process sees it. Returns 0, or why it is
 * refused. */
static int check(struct fs *f, uint8_t *memory, uint64_t bytes) {
    struct head h = {0};
    memcpy(&h, memory, bytes < sizeof(h) ? bytes : sizeof(h));
    if (bytes < HEAD_BYTES)
        return EINVAL;
    if (op_bit(h.op) & OPS_WITH_FLAGS) {
        if (bytes < sizeof(h))
            return EINVAL;
        h.flags &= FLAGS_COMMON;
    }
    if (f->readonly && (op_bit(h.op) & OPS_WRITING || (h.op == OP_OPEN && h.flags & FLAGS_WRITING)))
        return EROFS;
    if (f->readonly && !(op_bit(h.op) & OPS_READING)) /* ioctl() above all: it may write, and drivers do without */
        return ENOSYS;
    memcpy(memory, &h, bytes < sizeof(h) ? bytes : sizeof(h));
    f->mounted = h.op == OP_INIT || (f->mounted && h.op != OP_DESTROY);
    return f->gone ? ENOTCONN : 0;
}

static void push(struct fs *f, unsigned queue, const struct job *j, uint32_t written) {
    virtq_push(&f->v, &f->v.queue[queue], j->r.head, written);
}

/* Answers a request without the other process. */
static void refuse(struct fs *f, unsigned queue, const struct job *j, int error) {
    struct answer a = {.len = sizeof(a), .error = -error, .unique = j->unique};
    push(f, queue, j, j->r.in_bytes < sizeof(a) ? 0 : (uint32_t)virtq_write(&f->v, &j->r, 0, &a, sizeof(a)));
}

static void forward(struct fs *f, unsigned queue, unsigned slot) {
    struct job *j = &f->job[queue][slot];
    uint8_t *memory = vhost_user_memory(f->backend, queue, slot);
    struct head h = {0};
    int error = E2BIG;
    virtq_read(&f->v, &j->r, 0, &h, sizeof(h));
    j->unique = h.unique;
    if (j->r.out_bytes + j->r.in_bytes <= VHOST_SLOT_BYTES) {
        virtq_read(&f->v, &j->r, 0, memory, j->r.out_bytes);
        error = check(f, memory, j->r.out_bytes);
    }
    if (!error) {
        j->waiting = true;
        submit(f, queue, slot, &j->r);
        return;
    }
    vhost_user_give(f->backend, queue, slot);
    refuse(f, queue, j, error);
}

static void fs_notify(struct virtio *v, unsigned queue) {
    struct fs *f = fs_of(v);
    struct virtq_turn turn = {0};
    int slot;
    while ((slot = vhost_user_take(f->backend, queue)) >= 0) {
        if (virtq_next(v, queue, &turn, &f->job[queue][slot].r) != 1) {
            vhost_user_give(f->backend, queue, (unsigned)slot);
            break;
        }
        forward(f, queue, (unsigned)slot);
    }
    virtq_interrupt(v, &v->queue[queue]); /* for what was refused */
}

/* The other process is to forget the mount of a driver that is gone. The answer is no one's. */
static void unmount(struct fs *f) {
    struct head h = {.len = HEAD_BYTES, .op = OP_DESTROY, .unique = UINT64_MAX};
    struct virtq_request r = {
        .out_count = 1, .in_count = 1, .out_bytes = HEAD_BYTES, .in_bytes = sizeof(struct answer)};
    int slot = f->mounted && !f->gone ? vhost_user_take(f->backend, REQUESTS) : -1;
    f->mounted = false;
    if (slot < 0)
        return;
    r.out[0].len = HEAD_BYTES;
    r.in[0].len = sizeof(struct answer);
    memcpy(vhost_user_memory(f->backend, REQUESTS, (unsigned)slot), &h, HEAD_BYTES);
    f->job[REQUESTS][slot].waiting = false;
    submit(f, REQUESTS, (unsigned)slot, &r);
}

/* --- and back --------------------------------------------------------------------------------- */
static bool is_current(struct fs *f, unsigned queue, const struct job *j) {
    return j->waiting && virtio_is_live(&f->v) && f->v.queue[queue].life == j->r.life;
}

static void complete(struct fs *f, unsigned queue, unsigned slot, uint32_t written) {
    struct job *j = &f->job[queue][slot];
    const uint8_t *memory = vhost_user_memory(f->backend, queue, slot);
    if (is_current(f, queue, j)) {
        uint64_t len = written < j->r.in_bytes ? written : j->r.in_bytes;
        push(f, queue, j, (uint32_t)virtq_write(&f->v, &j->r, 0, memory + j->r.out_bytes, len));
    }
    j->waiting = false;
    vhost_user_give(f->backend, queue, slot);
}

static void take_answers(struct fs *f, unsigned queue) {
    uint32_t written;
    int slot;
    bool any = false;
    while ((slot = vhost_user_answer(f->backend, queue, &written)) >= 0) {
        complete(f, queue, (unsigned)slot, written);
        any = true;
    }
    if (any && virtio_is_live(&f->v))
        fs_notify(&f->v, queue); /* those that there was no slot for; and it interrupts */
}

static void on_answers(void *arg, uint32_t events) {
    struct fs *f = arg;
    uint64_t count;
    while (read(vhost_user_bell(f->backend), &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
    for (unsigned queue = 0; queue < VHOST_QUEUES; queue++)
        take_answers(f, queue);
    events_wake(f->v.dev.machine); /* for fs_finish() */
}

/* The other process has ended: nothing waits for it any more. */
static void on_end(void *arg, uint32_t events) {
    struct fs *f = arg;
    event_del_fd(f->end);
    f->end = NULL;
    f->gone = true;
    log_printf("graft: share %.*s: virtiofsd has ended: the guest gets errors from now on\n", TAG_BYTES,
               (const char *)f->v.config);
    for (unsigned queue = 0; queue < VHOST_QUEUES; queue++) {
        for (unsigned slot = 0; slot < VHOST_SLOTS; slot++) {
            struct job *j = &f->job[queue][slot];
            if (is_current(f, queue, j))
                refuse(f, queue, j, ENOTCONN);
            j->waiting = false;
        }
        virtq_interrupt(&f->v, &f->v.queue[queue]);
    }
    events_wake(f->v.dev.machine);
}

/* --- the device ------------------------------------------------------------------------------- */
static void fs_quiesce(struct virtio *v) { unmount(fs_of(v)); }

/* What a driver knows of files, the process that is there when the snapshot is loaded does not. */
static int fs_ready(struct virtio *v, char err[256]) {
    if (!fs_of(v)->mounted)
        return 1;
    snprintf(err, 256, "the guest has mounted the shared folder %.*s", TAG_BYTES, (const char *)v->config);
    return -1;
}

static bool fs_finish(struct virtio *v) {
    struct fs *f = fs_of(v);
    for (unsigned i = 0; i < VHOST_QUEUES * VHOST_SLOTS; i++)
        if (f->job[i / VHOST_SLOTS][i % VHOST_SLOTS].waiting)
            return false;
    return true;
}

static void fs_destroy(struct virtio *v) {
    struct fs *f = fs_of(v);
    unmount(f);
    if (f->answers)
        event_del_fd(f->answers);
    if (f->end)
        event_del_fd(f->end);
    free(f);
}

struct device *virtio_fs_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, struct vhost_user *backend,
                                const char *tag, bool readonly) {
    static const struct virtio_type type = {.name = "fs",
                                            .device_id = VIRTIO_ID_FS,
                                            .queues = VHOST_QUEUES,
                                            .queue_max = QUEUE_MAX,
                                            .notify = fs_notify,
                                            .quiesce = fs_quiesce,
                                            .ready = fs_ready,
                                            .finish = fs_finish,
                                            .destroy = fs_destroy};
    struct fs *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    virtio_init(&f->v, &type, m, gpa, spi, slot);
    f->backend = backend;
    f->readonly = readonly;
    size_t len = strlen(tag);
    memcpy(f->v.config, tag, len < TAG_BYTES ? len : TAG_BYTES);
    f->v.config[TAG_BYTES] = VHOST_QUEUES - 1; /* num_request_queues */
    f->v.config_bytes = TAG_BYTES + 4;
    f->answers = event_add_fd(m, vhost_user_bell(backend), EPOLLIN, on_answers, f);
    f->end = event_add_fd(m, vhost_user_socket(backend), EPOLLIN, on_end, f);
    if (f->answers && f->end)
        return &f->v.dev;
    fs_destroy(&f->v);
    return NULL;
}
