/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* pl061.c: Arm's PrimeCell GPIO (DDI 0190), whose inputs are the board's keys: line 3 is the power key, as on QEMU's
 * virt. */
#include "graft/device.h"

#include <stdlib.h>

#define PRESSED_NS 10000000 /* how long a key is held down */

enum {
    DIR = 0x400,
    IS = 0x404,
    IBE = 0x408,
    IEV = 0x40c,
    IE = 0x410,
    RIS = 0x414,
    MIS = 0x418,
    IC = 0x41c,
    AFSEL = 0x420
};
#define DATA_END 0x400
#define ID 0xfe0

struct pl061 {
    struct device d;
    struct event_timer release;
    uint8_t in, out, dir, is, ibe, iev, ie, latched, afsel;
};
static struct pl061 *pl061(struct device *d) { return CONTAINER_OF(d, struct pl061, d); }

static uint8_t lines(const struct pl061 *p) { return (uint8_t)((p->out & p->dir) | (p->in & ~p->dir)); }

/* Level-sensitive lines (IS) ask as long as they are what IEV says; the others since an edge, until IC. */
static uint8_t raw(const struct pl061 *p) {
    return (uint8_t)((p->latched & ~p->is) | (~(lines(p) ^ p->iev) & p->is & ~p->dir));
}

static void update(struct pl061 *p) { machine_set_irq(&p->d, raw(p) & p->ie); }

static void set_lines(struct pl061 *p, uint8_t before) {
    uint8_t now = lines(p), changed = (uint8_t)((now ^ before) & ~p->dir);
    p->latched |= changed & (uint8_t)(p->ibe | ~(now ^ p->iev));
    update(p);
}

static uint64_t read(struct device *d, uint64_t offset, unsigned bytes) {
    static const uint8_t id[] = {0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
    const struct pl061 *p = pl061(d);
    if (offset < DATA_END) /* the address says which lines */
        return lines(p) & offset >> 2;
    if (offset >= ID)
        return id[(offset - ID) >> 2 & 7];
    switch (offset) {
    case DIR: return p->dir;
    case IS: return p->is;
    case IBE: return p->ibe;
    case IEV: return p->iev;
    case IE: return p->ie;
    case RIS: return raw(p);
    case MIS: return raw(p) & p->ie;
    case AFSEL: return p->afsel;
    default: return 0;
    }
}

static void write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    struct pl061 *p = pl061(d);
    uint8_t v = (uint8_t)value, before = lines(p), mask = (uint8_t)(offset >> 2);
    if (offset < DATA_END)
        p->out = (uint8_t)((p->out & ~(mask & p->dir)) | (v & mask & p->dir));
    switch (offset) {
    case DIR: p->dir = v; break;
    case IS: p->is = v; break;
    case IBE: p->ibe = v; break;
    case IEV: p->iev = v; break;
    case IE: p->ie = v; break;
    case IC: p->latched &= (uint8_t)~v; break;
    case AFSEL: p->afsel = v; break;
    default: break;
    }
    set_lines(p, before);
}

static void set_key(struct pl061 *p, bool down) {
    uint8_t before = lines(p);
    p->in = down ? p->in | PL061_POWER : p->in & (uint8_t)~PL061_POWER;
    set_lines(p, before);
}

static void on_release(void *arg) { set_key(arg, false); }

void pl061_press(struct device *d) {
    struct pl061 *p = pl061(d);
    set_key(p, true);
    event_set_timer(&p->release, event_now_ns() + PRESSED_NS);
}

static const struct state_field state[] = {
    STATE(struct pl061, in),    STATE(struct pl061, out),
    STATE(struct pl061, dir),   STATE(struct pl061, is),
    STATE(struct pl061, ibe),   STATE(struct pl061, iev),
    STATE(struct pl061, ie),    STATE(struct pl061, latched),
    STATE(struct pl061, afsel), STATE_END,
};

/* Who was pressing the key lets it go. */
static bool loaded(struct device *d) {
    struct pl061 *p = pl061(d);
    if (p->in & PL061_POWER)
        event_set_timer(&p->release, event_now_ns() + PRESSED_NS);
    update(p);
    return true;
}

static void destroy(struct device *d) {
    event_del_timer(&pl061(d)->release);
    free(pl061(d));
}

static const struct device_ops ops = {
    .name = "pl061", .read = read, .write = write, .state = state, .loaded = loaded, .destroy = destroy};

struct device *pl061_create(struct machine *m, uint64_t gpa, unsigned spi) {
    struct pl061 *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->d = (struct device){.ops = &ops, .machine = m, .gpa = gpa, .size = 0x1000, .spi = spi, .virtio_slot = -1};
    event_add_timer(m, &p->release, on_release, p);
    return &p->d;
}
