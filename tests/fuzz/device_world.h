/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * device_world.h: what the fuzzers of devices share, one file of each includes it: a machine with 64 KiB of RAM in a
 * heap block of exactly that size, so that ASan sees a step outside it; the services that devices ask of it; the input
 * as a program; and the actions of a hostile driver.
 */
#ifndef FUZZ_DEVICE_WORLD_H
#define FUZZ_DEVICE_WORLD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "graft/device.h"
#include "tests/fuzz/input.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RAM_BYTES 65536u
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
    bool legacy;
};

#include "tests/fuzz/guest_ram.h"

/* --- the machine's services ------------------------------------------------------------------- */
void machine_virtio_interrupt(struct device *d, uint32_t bits) { d->machine->isr |= bits; }
bool machine_virtio_legacy(const struct machine *m) { return m->legacy; }
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
static uint64_t clock_ahead; /* the fuzzer's own time */
uint64_t event_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec + clock_ahead;
}
/* --- the driver ------------------------------------------------------------------------------- */

static void setup_queue(struct device *d, struct input *in) {
    static const uint16_t address_reg[3] = {0x080, 0x090, 0x0a0};
    d->ops->write(d, 0x030, take(in, 1) & 3, 4);
    d->ops->write(d, 0x038, 1u << (take(in, 1) % 9), 4);
    if (d->machine->legacy) {
        d->ops->write(d, 0x028, 1u << (take(in, 1) & 15), 4);
        d->ops->write(d, 0x03c, 1u << (take(in, 1) & 15), 4);
        d->ops->write(d, 0x040, (uint32_t)((RAM_GPA + take(in, 2)) >> (take(in, 1) & 15)), 4);
        return;
    }
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

/* common_act(): what every driver can do; false if the action is another one. */
#define COMMON_ACTIONS 8
static bool common_act(struct machine *m, struct device *d, unsigned action, struct input *in) {
    uint64_t a;
    switch (action) {
    case 0: setup_queue(d, in); return true;
    case 1: negotiate(d, in); return true;
    case 2: write_ram(m, in); return true;
    case 3: write_descriptor(m, in); return true;
    case 4: d->ops->notify(d, take(in, 1)); return true;
    case 5:
        a = take(in, 2) & 0x1fc;
        d->ops->write(d, a, take(in, 4), 4);
        return true;
    case 6:
        a = take(in, 2) & 0x1ff;
        d->ops->read(d, a & ~UINT64_C(7), 1u << (a & 3));
        return true;
    case 7: start_race(m, in); return true;
    default: return false;
    }
}

static void world_start(struct machine *m) {
    *m = (struct machine){.ram = calloc(1, RAM_BYTES), .lock = PTHREAD_MUTEX_INITIALIZER};
    if (!m->ram)
        abort();
}

static void world_end(struct machine *m) {
    m->stop_racing = true;
    if (m->racing)
        pthread_join(m->racer, NULL);
    pthread_mutex_destroy(&m->lock);
    free(m->ram);
}

#endif
