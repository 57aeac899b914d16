/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_virtqueue.c: a hostile driver against the virtio transport, virtqueues and devices, a disk with an image of its
 * own. The input is a program: a byte that picks an action, then its operands. Disks have their threads; another one
 * may change eight bytes of RAM all the time, so that what is read twice differs.
 */
#include "tests/fuzz/device_world.h"

#define DISK_BYTES ((1 << 20) + 100)

bool disk_open(const char *path, bool readonly, struct disk_source *s, char err[256]) {
    *s = (struct disk_source){.fd = open(path, readonly ? O_RDONLY : O_RDWR), .guessed = true};
    return s->fd >= 0;
}
/* Every other read has to wait for the disk. */
ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags) {
    static _Atomic unsigned calls;
    if (calls++ & 1) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_preadv, fd, iov, n, offset, 0);
}
/* A console with room for its output now and then, and someone who types. */
static void (*console_ready)(void *arg);
static void *console_arg;
static unsigned console_calls;
void chardev_listen(struct chardev *c, void (*ready)(void *arg), void *arg) {
    console_ready = ready;
    console_arg = arg;
}
size_t chardev_room(struct chardev *c) { return console_calls++ % 4 * 100; }
size_t chardev_write(struct chardev *c, const void *buf, size_t len) {
    static volatile uint8_t sink;
    for (size_t i = 0; i < len; i++)
        sink ^= ((const uint8_t *)buf)[i];
    return len;
}
size_t chardev_read(struct chardev *c, void *buf, size_t len) {
    size_t n = console_calls++ % 6;
    if (n > len)
        n = len;
    memset(buf, 't', n);
    return n;
}
bool chardev_has_size(const struct chardev *c) { return true; }
void chardev_size(const struct chardev *c, uint16_t *columns, uint16_t *rows) {
    *columns = 80;
    *rows = (uint16_t)(console_calls / 16);
}

static void act(struct machine *m, struct device *d, struct input *in) {
    unsigned action = (unsigned)take(in, 1) % (COMMON_ACTIONS + 1);
    if (!common_act(m, d, action, in) && console_ready)
        console_ready(console_arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int disk = -1;
    char err[256], path[64];
    if (size < 1 || size > MAX_INPUT)
        return 0;
    if (disk < 0) {
        disk = memfd_create("disk", 0);
        if (disk < 0 || ftruncate(disk, DISK_BYTES) < 0)
            abort();
    }
    struct machine m;
    struct input in = {data, data + size};
    world_start(&m);
    struct device *d;
    unsigned type = (unsigned)take(&in, 1);
    m.legacy = type & 4;
    bool balloon = type & 8;
    type %= 4;
    console_ready = NULL;
    console_calls = 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
    if (balloon)
        d = virtio_balloon_create(&m, 0x0a000000, 16, 0);
    else if (type < 2)
        d = virtio_blk_create(&m, 0x0a000000, 16, 0, path, type == 1, err);
    else
        d = type == 2 ? virtio_console_create(&m, 0x0a000000, 16, 0, NULL) : virtio_rng_create(&m, 0x0a000000, 16, 0);
    if (!d)
        abort();
    while (in.at < in.end) {
        device_lock(&m);
        act(&m, d, &in);
        uint64_t rung = m.rung;
        m.rung = 0;
        if (rung)
            d->ops->notify(d, rung);
        device_unlock(&m);
    }
    if (size & 1) { /* a machine that stops, and one that is given up */
        bool done;
        do {
            device_lock(&m);
            done = !d->ops->finish || d->ops->finish(d);
            device_unlock(&m);
        } while (!done);
    }
    d->ops->destroy(d);
    world_end(&m);
    return 0;
}
