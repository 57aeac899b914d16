/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* pl031.c: Arm PrimeCell real-time clock (DDI 0224): wall-clock seconds with an alarm. */
#include "graft/device.h"

#include <stdlib.h>
#include <time.h>

enum {
    RTC_DR = 0x00,
    RTC_MR = 0x04,
    RTC_LR = 0x08,
    RTC_CR = 0x0c,
    RTC_IMSC = 0x10,
    RTC_RIS = 0x14,
    RTC_MIS = 0x18,
    RTC_ICR = 0x1c,
    RTC_PERIPH_ID0 = 0xfe0
};
#define NS_PER_S UINT64_C(1000000000)

struct pl031 {
    struct device dev;
    struct event_timer alarm;
    uint32_t offset; /* guest seconds minus host seconds, modulo 2^32 */
    uint32_t mr, lr, imsc, ris;
    bool armed; /* the alarm is still to come */
};

static const uint8_t peripheral_id[8] = {0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

static struct pl031 *pl031_of(struct device *d) { return CONTAINER_OF(d, struct pl031, dev); }

static uint32_t pl031_now(const struct pl031 *r) { return (uint32_t)time(NULL) + r->offset; }

static void pl031_update(struct pl031 *r) { machine_set_irq(&r->dev, (r->ris & r->imsc) != 0); }

static void set_alarm(struct pl031 *r) {
    uint32_t seconds = r->mr - pl031_now(r);
    r->armed = seconds != 0;
    if (seconds == 0) {
        r->ris = 1;
        pl031_update(r);
        return;
    }
    event_set_timer(&r->alarm, event_now_ns() + seconds * NS_PER_S);
}

static void pl031_alarm(void *arg) {
    struct pl031 *r = arg;
    r->armed = false;
    r->ris = 1;
    pl031_update(r);
}

static uint64_t pl031_read(struct device *d, uint64_t offset, unsigned bytes) {
    struct pl031 *r = pl031_of(d);
    (void)bytes;
    if (offset >= RTC_PERIPH_ID0)
        return peripheral_id[(offset - RTC_PERIPH_ID0) / 4];
    switch (offset) {
    case RTC_DR: return pl031_now(r);
    case RTC_MR: return r->mr;
    case RTC_LR: return r->lr;
    case RTC_CR: return 1; /* always running */
    case RTC_IMSC: return r->imsc;
    case RTC_RIS: return r->ris;
    case RTC_MIS: return r->ris & r->imsc;
    default: return 0;
    }
}

static void pl031_write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    struct pl031 *r = pl031_of(d);
    uint32_t v = (uint32_t)value;
    (void)bytes;
    switch (offset) {
    case RTC_MR:
        r->mr = v;
        set_alarm(r);
        break;
    case RTC_LR:
        r->offset += v - pl031_now(r);
        r->lr = v;
        set_alarm(r);
        break;
    case RTC_IMSC: r->imsc = v & 1; break;
    case RTC_ICR: r->ris &= ~v; break;
    default: return;
    }
    pl031_update(r);
}

static void pl031_reset(struct device *d) {
    struct pl031 *r = pl031_of(d);
    r->mr = r->lr = r->imsc = r->ris = r->offset = 0;
    r->armed = false;
    event_set_timer(&r->alarm, 0);
    pl031_update(r);
}

static const struct state_field pl031_state[] = {
    STATE(struct pl031, offset),
    STATE(struct pl031, mr),
    STATE(struct pl031, lr),
    STATE(struct pl031, imsc),
    STATE(struct pl031, ris),
    STATE_BOOL(struct pl031, armed),
    STATE_END,
};

/* The clock has gone on: an alarm of the last 68 years is due now. */
static bool pl031_loaded(struct device *d) {
    struct pl031 *r = pl031_of(d);
    if (r->armed && r->mr - pl031_now(r) > INT32_MAX)
        pl031_alarm(r);
    else if (r->armed)
        set_alarm(r);
    return true;
}

static void pl031_destroy(struct device *d) {
    struct pl031 *r = pl031_of(d);
    event_del_timer(&r->alarm);
    free(r);
}

static const struct device_ops pl031_ops = {
    .name = "pl031",
    .read = pl031_read,
    .write = pl031_write,
    .state = pl031_state,
    .loaded = pl031_loaded,
    .destroy = pl031_destroy,
};

struct device *pl031_create(struct machine *m, uint64_t gpa, unsigned spi) {
    struct pl031 *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->dev =
        (struct device){.ops = &pl031_ops, .machine = m, .gpa = gpa, .size = 0x1000, .spi = spi, .virtio_slot = -1};
    event_add_timer(m, &r->alarm, pl031_alarm, r);
    pl031_reset(&r->dev);
    return &r->dev;
}
