/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_virtqueue.c: a hostile driver against the virtio transport, virtqueues and devices. The input is a program: a
 * byte that picks an action, then its operands. Guest RAM is 64 KiB in a heap block of exactly that size, so that ASan
 * sees a step outside it. Disks have their threads; another one may change eight bytes of RAM all the time, so that what is
 * read twice differs.
 */
#define _GNU_SOURCE
#include "graft/device.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RAM_GPA UINT64_C(0x40000000)
#define RAM_BYTES 65536u
#define DISK_BYTES ((1 << 20) + 100)
#define MAX_INPUT 4096

struct machine {
    uint8_t *ram;
    _Atomic uint32_t isr;
    uint64_t rung;
    pthread_mutex_t lock;
    pthread_t racer;
    bool racing;
    _Atomic bool stop_racing;
    uint64_t *race_at, race_value;
};

struct input {
    const uint8_t *at, *end;
};

static uint64_t take(struct input *in, unsigned bytes) {
    uint64_t v = 0;
    if ((size_t)(in->end - in->at) < bytes) {
        in->at = in->end;
        return 0;
    }
    memcpy(&v, in->at, bytes);
    in->at += bytes;
    return v;
}

/* --- the machine's services ------------------------------------------------------------------ */

const void *guest_ram(struct machine *m, uint64_t gpa, uint64_t len) {
    if (gpa < RAM_GPA || len > RAM_BYTES || gpa - RAM_GPA > RAM_BYTES - len)
        return NULL;
    return m->ram + (gpa - RAM_GPA);
}
void *guest_ram_write_begin(struct machine *m, uint64_t gpa, uint64_t len) {
    return (void *)(uintptr_t)guest_ram(m, gpa, len);
}
void guest_ram_write_end(struct machine *m, uint64_t gpa, uint64_t len) {
    if (!guest_ram(m, gpa, len))
        abort();
}
int disk_open(const char *path, bool readonly, char err[256]) { return open(path, readonly ? O_RDONLY : O_RDWR); }
void machine_virtio_interrupt(struct device *d, uint32_t bits) { d->machine->isr |= bits; }
uint32_t machine_virtio_status(struct device *d) { return d->machine->isr; }
void machine_virtio_ack(struct device *d, uint32_t bits) { d->machine->isr &= ~bits; }
void machine_ring(struct device *d, unsigned queue) { d->machine->rung |= BIT(queue); }
void device_lock(struct machine *m) { pthread_mutex_lock(&m->lock); }
void device_unlock(struct machine *m) { pthread_mutex_unlock(&m->lock); }
struct thread {
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
};
static void *run_thread(void *arg) {
    struct thread *t = arg;
    t->fn(t->arg);
    return NULL;
}
struct thread *thread_start(enum thread_kind kind, const char *name, void (*fn)(void *arg), void *arg) {
    struct thread *t = malloc(sizeof(*t));
    *t = (struct thread){.fn = fn, .arg = arg};
    if (pthread_create(&t->id, NULL, run_thread, t))
        abort();
    return t;
}
void thread_join(struct thread *t) {
    pthread_join(t->id, NULL);
    free(t);
}
void event_own_bell(struct device *d, int fd) {}
void events_wake(struct machine *m) {}
void log_printf(const char *fmt, ...) {}
uint64_t event_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
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

/* --- the driver ------------------------------------------------------------------------------------ */

static void setup_queue(struct device *d, struct input *in) {
    static const uint16_t address_reg[3] = {0x080, 0x090, 0x0a0};
    d->ops->write(d, 0x030, take(in, 1) & 3, 4);
    d->ops->write(d, 0x038, 1u << (take(in, 1) % 9), 4);
    for (unsigned i = 0; i < 3; i++)
        d->ops->write(d, address_reg[i], RAM_GPA + (take(in, 2) & 0xfffe), 4);
    d->ops->write(d, 0x044, 1, 4);
}

static void negotiate(struct device *d, struct input *in) {
    d->ops->write(d, 0x070, 0, 4);
    d->ops->write(d, 0x070, 3, 4);
    for (unsigned word = 0; word < 2; word++) {
        d->ops->write(d, 0x014, word, 4);
        d->ops->write(d, 0x024, word, 4);
        d->ops->write(d, 0x020, d->ops->read(d, 0x010, 4) & (word ? ~0u : (uint32_t)take(in, 4)), 4);
    }
    d->ops->write(d, 0x070, 15, 4);
}

static void write_ram(struct machine *m, struct input *in) {
    uint16_t at = (uint16_t)take(in, 2);
    unsigned len = (unsigned)take(in, 1) % 33;
    for (unsigned i = 0; i < len; i++)
        m->ram[(uint16_t)(at + i)] = (uint8_t)take(in, 1);
}

static void write_descriptor(struct machine *m, struct input *in) {
    uint64_t at = (uint16_t)take(in, 2) & 0xfff0u, address = RAM_GPA + take(in, 2);
    uint32_t len = (uint32_t)take(in, 2);
    uint16_t flags = (uint16_t)take(in, 1), next = (uint16_t)take(in, 1);
    memcpy(m->ram + at, &address, 8);
    memcpy(m->ram + at + 8, &len, 4);
    memcpy(m->ram + at + 12, &flags, 2);
    memcpy(m->ram + at + 14, &next, 2);
}

/* RAM that changes under the device: eight bytes are the one thing, then the other. */
__attribute__((no_sanitize("address"))) static void *race_main(void *arg) {
    struct machine *m = arg;
    uint64_t value = *m->race_at;
    while (!m->stop_racing) {
        __atomic_store_n(m->race_at, value ^ m->race_value, __ATOMIC_RELAXED);
        __atomic_store_n(m->race_at, value, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void start_race(struct machine *m, struct input *in) {
    uint64_t *at = (uint64_t *)(m->ram + (take(in, 2) & 0xfff8)), value = take(in, 4);
    if (m->racing)
        return;
    m->race_at = at;
    m->race_value = value << 32 | value;
    m->racing = pthread_create(&m->racer, NULL, race_main, m) == 0;
}

static void act(struct machine *m, struct device *d, struct input *in) {
    uint64_t a;
    switch (take(in, 1) % 9) {
    case 8:
        if (console_ready)
            console_ready(console_arg);
        break;
    case 7: start_race(m, in); break;
    case 0: setup_queue(d, in); break;
    case 1: negotiate(d, in); break;
    case 2: write_ram(m, in); break;
    case 3: write_descriptor(m, in); break;
    case 4: d->ops->notify(d, take(in, 1)); break;
    case 5:
        a = take(in, 2) & 0x1fc;
        d->ops->write(d, a, take(in, 4), 4);
        break;
    default: a = take(in, 2) & 0x1ff; d->ops->read(d, a & ~UINT64_C(7), 1u << (a & 3));
    }
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
    struct machine m = {.ram = calloc(1, RAM_BYTES), .lock = PTHREAD_MUTEX_INITIALIZER};
    struct input in = {data, data + size};
    struct device *d;
    unsigned type = (unsigned)take(&in, 1) % 4;
    console_ready = NULL;
    console_calls = 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
    if (type < 2)
        d = virtio_blk_create(&m, 0x0a000000, 16, 0, path, type == 1, err);
    else
        d = type == 2 ? virtio_console_create(&m, 0x0a000000, 16, 0, NULL) : virtio_rng_create(&m, 0x0a000000, 16, 0);
    if (!m.ram || !d)
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
    m.stop_racing = true;
    if (m.racing)
        pthread_join(m.racer, NULL);
    pthread_mutex_destroy(&m.lock);
    free(m.ram);
    return 0;
}
