/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* vhost_user.c: the messages of vhost-user, and split rings (Virtio 1.2, section 2.7) from the driver's side. */
#define _GNU_SOURCE /* memfd_create() */
#include "devices/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define RING_NUM (VHOST_SLOTS * VHOST_PIECES) /* a slot has its own descriptors */
#define RING_BYTES 16384
#define AVAIL_OFFSET 8192 /* behind the descriptors */
#define USED_OFFSET 12288
#define QUEUE_BYTES (RING_BYTES + VHOST_SLOTS * VHOST_SLOT_BYTES)
#define SHARED_GPA UINT64_C(0x100000000) /* where the other process believes the file to be */
#define PATIENCE_S 5

_Static_assert(RING_NUM * 16 <= AVAIL_OFFSET && 6 + RING_NUM * 2 <= USED_OFFSET - AVAIL_OFFSET &&
                   6 + RING_NUM * 8 <= RING_BYTES - USED_OFFSET,
               "the parts of a ring have room");

enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    SET_VRING_ENABLE = 18,
};
#define MESSAGE_VERSION 1u
#define MESSAGE_REPLY 4u
#define F_VERSION_1 BIT(32)
#define F_PROTOCOL_FEATURES BIT(30)
#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define USED_F_NO_NOTIFY 1

struct message {
    uint32_t request, flags, bytes;
    union {
        uint64_t number;
        struct {
            uint32_t index, value;
        } vring;
        struct {
            uint32_t index, flags;
            uint64_t desc, used, avail, log;
        } address;
        struct {
            uint32_t count, padding;
            uint64_t gpa, size, user, offset;
        } memory;
    } u;
} __attribute__((packed));
#define MESSAGE_HEAD offsetof(struct message, u)

struct desc {
    uint64_t gpa;
    uint32_t len;
    uint16_t flags, next;
};
struct avail {
    uint16_t flags;
    _Atomic uint16_t index;
    uint16_t ring[RING_NUM];
};
struct used {
    _Atomic uint16_t flags, index;
    struct {
        uint32_t id, len;
    } ring[RING_NUM];
};

struct queue {
    struct desc *desc;
    struct avail *avail;
    struct used *used;
    uint16_t submitted, answered; /* counted like the rings' own indices, which the other side can write to */
    uint32_t taken, sent;         /* bit masks of slots: had by someone; not answered yet */
    int kick;
};

struct vhost_user {
    int socket, file, bell;
    uint8_t *shared;
    struct queue queue[VHOST_QUEUES];
};

/* --- messages --------------------------------------------------------------------------------- */
static bool send_message(struct vhost_user *u, const struct message *m, int fd) {
    union { /* aligned for its head */
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)m, MESSAGE_HEAD + m->bytes};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = sizeof(control.bytes);
        control.head =
            (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    }
    ssize_t n;
    do
        n = sendmsg(u->socket, &h, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)iov.iov_len;
}

static bool send_number(struct vhost_user *u, uint32_t request, uint64_t number, int fd) {
    struct message m = {.request = request, .flags = MESSAGE_VERSION, .bytes = 8, .u.number = number};
    return send_message(u, &m, fd);
}

static bool send_vring(struct vhost_user *u, uint32_t request, uint32_t index, uint32_t value) {
    struct message m = {
        .request = request, .flags = MESSAGE_VERSION, .bytes = sizeof(m.u.vring), .u.vring = {index, value}};
    return send_message(u, &m, -1);
}

static bool receive(struct vhost_user *u, void *buf, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = recv(u->socket, (char *)buf + done, len - done, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* A question whose answer is a number. It has also been understood that way what was said before. */
static bool ask(struct vhost_user *u, uint32_t request, uint64_t *answer) {
    struct message m = {.request = request, .flags = MESSAGE_VERSION};
    if (!send_message(u, &m, -1) || !receive(u, &m, MESSAGE_HEAD))
        return false;
    if (m.request != request || !(m.flags & MESSAGE_REPLY) || m.bytes != 8 || !receive(u, &m.u.number, 8))
        return false;
    *answer = m.u.number;
    return true;
}

static uint64_t user_address(const void *p) { return (uint64_t)(uintptr_t)p; }

static bool announce_memory(struct vhost_user *u) {
    struct message m = {
        .request = SET_MEM_TABLE, .flags = MESSAGE_VERSION, .bytes = sizeof(m.u.memory), .u.memory = {.count = 1}};
    m.u.memory.gpa = SHARED_GPA;
    m.u.memory.size = VHOST_QUEUES * QUEUE_BYTES;
    m.u.memory.user = user_address(u->shared);
    return send_message(u, &m, u->file);
}

static bool start_queue(struct vhost_user *u, unsigned n) {
    struct queue *q = &u->queue[n];
    struct message m = {
        .request = SET_VRING_ADDR, .flags = MESSAGE_VERSION, .bytes = sizeof(m.u.address), .u.address = {.index = n}};
    m.u.address.desc = user_address(q->desc);
    m.u.address.avail = user_address(q->avail);
    m.u.address.used = user_address(q->used);
    return send_vring(u, SET_VRING_NUM, n, RING_NUM) && send_vring(u, SET_VRING_BASE, n, 0) &&
           send_message(u, &m, -1) && send_number(u, SET_VRING_CALL, n, u->bell) &&
           send_number(u, SET_VRING_KICK, n, q->kick);
}

static bool start(struct vhost_user *u) {
    uint64_t offered = 0, protocol = 0;
    struct message owner = {.request = SET_OWNER, .flags = MESSAGE_VERSION};
    if (!ask(u, GET_FEATURES, &offered) || !(offered & F_VERSION_1))
        return false;
    bool ok = send_message(u, &owner, -1);
    if (offered & F_PROTOCOL_FEATURES) /* none is needed, but then queues start disabled */
        ok = ok && ask(u, GET_PROTOCOL_FEATURES, &protocol) && send_number(u, SET_PROTOCOL_FEATURES, 0, -1);
    ok = ok && send_number(u, SET_FEATURES, F_VERSION_1 | (offered & F_PROTOCOL_FEATURES), -1) && announce_memory(u);
    for (unsigned n = 0; ok && n < VHOST_QUEUES; n++)
        ok = start_queue(u, n);
    for (unsigned n = 0; ok && offered & F_PROTOCOL_FEATURES && n < VHOST_QUEUES; n++)
        ok = send_vring(u, SET_VRING_ENABLE, n, 1);
    return ok && ask(u, GET_FEATURES, &offered);
}

/* --- opening and closing ---------------------------------------------------------------------- */
static bool make_shared(struct vhost_user *u) {
    size_t bytes = VHOST_QUEUES * QUEUE_BYTES;
    u->file = memfd_create("vhost-user", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (u->file < 0 || ftruncate(u->file, (off_t)bytes) ||
        fcntl(u->file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) /* nobody takes it from under us */
        return false;
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, u->file, 0);
    if (p == MAP_FAILED)
        return false;
    u->shared = p;
    for (unsigned n = 0; n < VHOST_QUEUES; n++) {
        struct queue *q = &u->queue[n];
        uint8_t *ring = p + n * QUEUE_BYTES;
        q->desc = (struct desc *)ring;
        q->avail = (struct avail *)(ring + AVAIL_OFFSET);
        q->used = (struct used *)(ring + USED_OFFSET);
        if ((q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
            return false;
    }
    return (u->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0;
}

struct vhost_user *vhost_user_open(int fd, char err[256]) {
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct vhost_user *u = calloc(1, sizeof(*u));
    if (!u) {
        snprintf(err, 256, "out of memory");
        close(fd);
        return NULL;
    }
    u->socket = fd;
    u->file = u->bell = -1;
    for (unsigned n = 0; n < VHOST_QUEUES; n++)
        u->queue[n].kick = -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (!make_shared(u))
        snprintf(err, 256, "no memory to share: %s", strerror(errno));
    else if (!start(u))
        snprintf(err, 256, "it does not answer as vhost-user has it");
    else
        return u;
    vhost_user_close(u);
    return NULL;
}

void vhost_user_close(struct vhost_user *u) {
    int fds[] = {u->socket, u->file, u->bell};
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    for (unsigned n = 0; n < VHOST_QUEUES; n++)
        if (u->queue[n].kick >= 0)
            close(u->queue[n].kick);
    if (u->shared)
        munmap(u->shared, VHOST_QUEUES * QUEUE_BYTES);
    free(u);
}

int vhost_user_socket(const struct vhost_user *u) { return u->socket; }

int vhost_user_bell(const struct vhost_user *u) { return u->bell; }

/* --- requests --------------------------------------------------------------------------------- */
int vhost_user_take(struct vhost_user *u, unsigned queue) {
    struct queue *q = &u->queue[queue];
    uint32_t left = ~q->taken;
    int slot = left ? __builtin_ctz(left) : -1;
    if (left)
        q->taken |= 1u << slot;
    return slot;
}

void vhost_user_give(struct vhost_user *u, unsigned queue, unsigned slot) { u->queue[queue].taken &= ~(1u << slot); }

static uint64_t slot_offset(unsigned queue, unsigned slot) {
    return queue * QUEUE_BYTES + RING_BYTES + (uint64_t)slot * VHOST_SLOT_BYTES;
}

uint8_t *vhost_user_memory(struct vhost_user *u, unsigned queue, unsigned slot) {
    return u->shared + slot_offset(queue, slot);
}

static void kick(struct queue *q) {
    uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    if (!(atomic_load(&q->used->flags) & USED_F_NO_NOTIFY) && write(q->kick, &one, sizeof(one)) < 0)
        return; /* it has been kicked very often, and will come */
}

void vhost_user_submit(struct vhost_user *u, unsigned queue, unsigned slot, const uint32_t *bytes, unsigned out,
                       unsigned in) {
    struct queue *q = &u->queue[queue];
    unsigned first = slot * VHOST_PIECES, count = out + in;
    uint64_t gpa = SHARED_GPA + slot_offset(queue, slot);
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = (i < out ? 0 : DESC_F_WRITE) | (i + 1 < count ? DESC_F_NEXT : 0);
        q->desc[first + i] =
            (struct desc){.gpa = gpa, .len = bytes[i], .flags = flags, .next = (uint16_t)(first + i + 1)};
        gpa += bytes[i];
    }
    q->avail->ring[q->submitted % RING_NUM] = (uint16_t)first;
    q->sent |= 1u << slot;
    atomic_store(&q->avail->index, ++q->submitted);
    kick(q);
}

int vhost_user_answer(struct vhost_user *u, unsigned queue, uint32_t *written) {
    struct queue *q = &u->queue[queue];
    while (atomic_load(&q->used->index) != q->answered) {
        unsigned at = q->answered++ % RING_NUM;
        uint32_t id = __atomic_load_n(&q->used->ring[at].id, __ATOMIC_RELAXED), slot = id / VHOST_PIECES;
        *written = __atomic_load_n(&q->used->ring[at].len, __ATOMIC_RELAXED);
        if (id % VHOST_PIECES || slot >= VHOST_SLOTS || !(q->sent >> slot & 1))
            continue; /* nobody asked for that */
        q->sent &= ~(1u << slot);
        return (int)slot;
    }
    return -1;
}
