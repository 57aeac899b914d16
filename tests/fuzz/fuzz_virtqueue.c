/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_virtqueue.c: a hostile driver against the virtio transport, virtqueues and devices. The input is a program: a
 * byte that picks an action, then its operands. Guest RAM is 64 KiB in a heap block of exactly that size, so that ASan
 * sees a step outside it.
 */
#define _GNU_SOURCE
#include "graft/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_GPA UINT64_C(0x40000000)
#define RAM_BYTES 65536u
#define DISK_BYTES (1 << 20)
#define MAX_INPUT 4096

struct machine {
    uint8_t *ram;
    uint32_t isr;
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
void machine_virtio_interrupt(struct device *d, uint32_t bits) { d->machine->isr |= bits; }
uint32_t machine_virtio_status(struct device *d) { return d->machine->isr; }
void machine_virtio_ack(struct device *d, uint32_t bits) { d->machine->isr &= ~bits; }
size_t chardev_write(struct chardev *c, const void *buf, size_t len) {
    static volatile uint8_t sink;
    (void)c;
    for (size_t i = 0; i < len; i++)
        sink ^= ((const uint8_t *)buf)[i];
    return len;
}

static size_t (*console_input)(void *arg, const uint8_t *buf, size_t len);
static void *console_arg;
void chardev_listen(struct chardev *c, size_t (*input)(void *arg, const uint8_t *buf, size_t len), void *arg) {
    (void)c;
    console_input = input;
    console_arg = arg;
}
void chardev_more(struct chardev *c) {
    (void)c;
    console_input(console_arg, (const uint8_t *)"typed", 5);
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

static void act(struct machine *m, struct device *d, struct input *in) {
    uint64_t a;
    switch (take(in, 1) % 7) {
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
    struct machine m = {.ram = calloc(1, RAM_BYTES)};
    struct input in = {data, data + size};
    struct device *d;
    unsigned type = (unsigned)take(&in, 1) % 4;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
    if (type < 2)
        d = virtio_blk_create(&m, 0x0a000000, 16, 0, path, type == 1, err);
    else
        d = type == 2 ? virtio_console_create(&m, 0x0a000000, 16, 0, NULL) : virtio_rng_create(&m, 0x0a000000, 16, 0);
    if (!m.ram || !d)
        abort();
    while (in.at < in.end)
        act(&m, d, &in);
    d->ops->destroy(d);
    free(m.ram);
    return 0;
}
