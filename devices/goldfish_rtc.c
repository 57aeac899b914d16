/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* goldfish_rtc.c: the real-time clock of Android's emulator, as QEMU has it: nanoseconds since 1970, with an alarm. */
#include "graft/device.h"

#include <stdlib.h>
#include <time.h>

enum {
    RTC_TIME_LOW = 0x00, /* reading it keeps the high half for the next read */
    RTC_TIME_HIGH = 0x04,
    RTC_ALARM_LOW = 0x08, /* writing it sets the alarm */
    RTC_ALARM_HIGH = 0x0c,
    RTC_IRQ_ENABLED = 0x10,
    RTC_CLEAR_ALARM = 0x14,
    RTC_ALARM_STATUS = 0x18,
    RTC_CLEAR_INTERRUPT = 0x1c,
    RTC_BYTES = 0x24
};
#define NS_PER_S UINT64_C(1000000000)

struct rtc {
    struct device dev;
    struct event_timer timer;
    uint64_t offset; /* guest's time minus host's, modulo 2^64 */
    uint64_t alarm;
    uint32_t time_high;
    bool armed, pending, enabled;
};

static struct rtc *rtc_of(struct device *d) { return CONTAINER_OF(d, struct rtc, dev); }

static uint64_t host_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t rtc_now(const struct rtc *r) { return host_now() + r->offset; }

static void update(struct rtc *r) { machine_set_irq(&r->dev, r->pending && r->enabled); }

static void ring(void *arg) {
    struct rtc *r = arg;
    r->armed = false;
    r->pending = true;
    update(r);
}

static void set_alarm(struct rtc *r) {
    uint64_t now = rtc_now(r);
    r->armed = true;
    if (r->alarm <= now) {
        ring(r);
        return;
    }
    uint64_t ns = r->alarm - now, at = event_now_ns();
    event_set_timer(&r->timer, at + ns < at ? UINT64_MAX : at + ns);
}

static void clear_alarm(struct rtc *r) {
    r->armed = false;
    event_set_timer(&r->timer, 0);
}

static uint64_t rtc_read(struct device *d, uint64_t offset, unsigned bytes) {
    struct rtc *r = rtc_of(d);
    uint64_t now;
    switch (offset) {
    case RTC_TIME_LOW:
        now = rtc_now(r);
        r->time_high = (uint32_t)(now >> 32);
        return (uint32_t)now;
    case RTC_TIME_HIGH: return r->time_high;
    case RTC_ALARM_LOW: return (uint32_t)r->alarm;
    case RTC_ALARM_HIGH: return r->alarm >> 32;
    case RTC_IRQ_ENABLED: return r->enabled;
    case RTC_ALARM_STATUS: return r->armed;
    default: return 0;
    }
}

static void rtc_write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    struct rtc *r = rtc_of(d);
    uint64_t now = rtc_now(r), v = (uint32_t)value;
    switch (offset) {
    case RTC_TIME_LOW: r->offset += ((now & ~MASK(32)) | v) - now; break;
    case RTC_TIME_HIGH: r->offset += (v << 32 | (now & MASK(32))) - now; break;
    case RTC_ALARM_LOW:
        r->alarm = (r->alarm & ~MASK(32)) | v;
        set_alarm(r);
        break;
    case RTC_ALARM_HIGH: r->alarm = v << 32 | (r->alarm & MASK(32)); break;
    case RTC_IRQ_ENABLED: r->enabled = v & 1; break;
    case RTC_CLEAR_ALARM: clear_alarm(r); break;
    case RTC_CLEAR_INTERRUPT: r->pending = false; break;
    default: return;
    }
    update(r);
}

static const struct state_field rtc_state[] = {
    STATE(struct rtc, offset),
    STATE(struct rtc, alarm),
    STATE(struct rtc, time_high),
    STATE_BOOL(struct rtc, armed),
    STATE_BOOL(struct rtc, pending),
    STATE_BOOL(struct rtc, enabled),
    STATE_END,
};

static bool rtc_loaded(struct device *d) {
    if (rtc_of(d)->armed)
        set_alarm(rtc_of(d));
    return true;
}

static void rtc_destroy(struct device *d) {
    struct rtc *r = rtc_of(d);
    event_del_timer(&r->timer);
    free(r);
}

static const struct device_ops rtc_ops = {.name = "goldfish-rtc",
                                          .read = rtc_read,
                                          .write = rtc_write,
                                          .refused_below = 4,
                                          .state = rtc_state,
                                          .loaded = rtc_loaded,
                                          .destroy = rtc_destroy};

struct device *goldfish_rtc_create(struct machine *m, uint64_t gpa, unsigned irq) {
    struct rtc *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->dev =
        (struct device){.ops = &rtc_ops, .machine = m, .gpa = gpa, .size = RTC_BYTES, .spi = irq, .virtio_slot = -1};
    event_add_timer(m, &r->timer, ring, r);
    return &r->dev;
}
