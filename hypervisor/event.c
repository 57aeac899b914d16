/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * event.c: the event loop of the devices' thread: file descriptors, timers, the
 * engine's doorbells and timer deadlines, and the end of the machine.
 */
#include "hypervisor/monitor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define STOP_NS 2000000000ull /* a vCPU that has not stopped by then is made to */

struct event_fd {
    struct events *events;
    int fd;
    event_fn *fn;
    void *arg;
    bool dead;
    struct event_fd *next; /* in the list of all, or of the dead */
};

enum bell { BELL_VIRTIO, BELL_TIMER, BELL_POSTED, BELL_WAKE, BELL_AHEAD /* ahead.c waits for it */, BELLS };
struct events {
    struct machine *machine;
    int epoll;
    int bell[BELLS];                /* eventfds: the doorbells by kind, and events_wake() */
    int own_bell[ABI_VIRTIO_SLOTS]; /* and those of devices with a bell of their own, else -1 */
    int timer_fd;                   /* of event_timers */
    int guest_timer_fd;             /* of the engine's deadlines */
    uint64_t guest_armed;           /* TSC value that guest_timer_fd is set to, ~0 if it is not */
    uint64_t passed[ABI_MAX_VCPUS],
        expected[ABI_MAX_VCPUS]; /* the last deadline that passed, and when the next one may be */
    uint64_t stop_at;            /* monotonic ns, 0 while running */
    struct event_fd *dead;
    struct event_timer *timers;
    struct event_fd *fds;
};

uint64_t event_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void set_timer_fd(int fd, uint64_t at_ns) {
    struct itimerspec ts = {
        .it_value = {.tv_sec = (time_t)(at_ns / 1000000000), .tv_nsec = (long)(at_ns % 1000000000)}};
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &ts, NULL);
}

static void drain_fd(int fd) {
    uint64_t count;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
}

/* Timers and descriptors are the devices' thread's own. */
static void expect_devices(void) { thread_expect(THREADS(THREAD_DEVICES), "change what is waited for"); }

/* --- for devices ------------------------------------------------------------------------------ */
struct event_fd *event_add_fd(struct machine *m, int fd, uint32_t events, event_fn *fn, void *arg) {
    struct events *ev = m->events;
    struct event_fd *e = calloc(1, sizeof(*e));
    struct epoll_event ee = {.events = events, .data.ptr = e};
    expect_devices();
    if (!e)
        return NULL;
    *e = (struct event_fd){.events = ev, .fd = fd, .fn = fn, .arg = arg, .next = ev->fds};
    if (epoll_ctl(ev->epoll, EPOLL_CTL_ADD, fd, &ee)) {
        free(e);
        return NULL;
    }
    ev->fds = e;
    return e;
}

void event_mod_fd(struct event_fd *e, uint32_t events) {
    struct epoll_event ee = {.events = events, .data.ptr = e};
    expect_devices();
    epoll_ctl(e->events->epoll, EPOLL_CTL_MOD, e->fd, &ee);
}

/* Freed by the loop: it may be holding an event for it. */
void event_del_fd(struct event_fd *e) {
    struct events *ev = e->events;
    struct event_fd **p = &ev->fds;
    expect_devices();
    epoll_ctl(ev->epoll, EPOLL_CTL_DEL, e->fd, NULL);
    while (*p != e)
        p = &(*p)->next;
    *p = e->next;
    e->dead = true;
    e->next = ev->dead;
    ev->dead = e;
}

static void free_dead(struct events *ev) {
    while (ev->dead) {
        struct event_fd *e = ev->dead;
        ev->dead = e->next;
        free(e);
    }
}

static void rearm(struct events *ev) {
    uint64_t first = 0;
    for (struct event_timer *t = ev->timers; t; t = t->next)
        if (t->at && (!first || t->at < first))
            first = t->at;
    set_timer_fd(ev->timer_fd, first);
}

void event_add_timer(struct machine *m, struct event_timer *t, void (*fn)(void *arg), void *arg) {
    *t = (struct event_timer){.events = m->events, .fn = fn, .arg = arg, .next = m->events->timers};
    m->events->timers = t;
}

void event_set_timer(struct event_timer *t, uint64_t monotonic_ns) {
    t->at = monotonic_ns;
    if (thread_kind() == THREAD_VCPU) /* which makes no system calls for devices, but rings */
        events_wake(t->events->machine);
    else
        rearm(t->events);
}

void event_del_timer(struct event_timer *t) {
    struct event_timer **p = &t->events->timers;
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    rearm(t->events);
}

/* A callback may add, set and delete timers: look for one due timer at a time. */
static void run_timers(struct events *ev) {
    uint64_t now = event_now_ns();
    for (struct event_timer *t = ev->timers; t;) {
        if (t->at && t->at <= now) {
            t->at = 0;
            t->fn(t->arg);
            t = ev->timers;
        } else {
            t = t->next;
        }
    }
    rearm(ev);
}

/* --- the engine's timers ---------------------------------------------------------------------- */
/* A guest's deadlines are periodic more often than not: the timer is set to the next one before the guest asks for it,
 * which saves the doorbell. */
static void note_passed(struct machine *m, unsigned vcpu, uint64_t deadline) {
    struct events *ev = m->events;
    uint64_t period = deadline - ev->passed[vcpu];
    if (deadline == ev->passed[vcpu])
        return;
    ev->passed[vcpu] = deadline;
    ev->expected[vcpu] = period > m->tsc_hz / 10000 && period < m->tsc_hz / 20 ? deadline + period : ~UINT64_C(0);
}

/* Sets ABI_PEND_TIMER where a deadline has passed. Returns when the next one may pass. */
static uint64_t look_at_deadlines(struct machine *m, uint64_t now) {
    uint64_t first = ~UINT64_C(0);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        struct abi_vcpu *abi = m->vcpu[i].abi;
        uint64_t deadline = atomic_load(&abi->timer_deadline), expected;
        if (deadline <= now) {
            note_passed(m, i, deadline);
            if (!(atomic_load(&abi->pending) & ABI_PEND_TIMER))
                machine_pend(m, i, ABI_PEND_TIMER);
        }
        expected = m->events->expected[i];
        if (deadline <= now || deadline == ~UINT64_C(0)) /* none so far */
            deadline = expected > now ? expected : ~UINT64_C(0);
        first = deadline < first ? deadline : first;
    }
    return first;
}

static void guest_timers(struct machine *m) {
    struct events *ev = m->events;
    uint64_t now = run_tsc(), first = look_at_deadlines(m, now), again;
    /* The engine stores its deadline before it looks at timer_armed. */
    for (;; first = again) {
        atomic_store(&m->shared->timer_armed, first == ~UINT64_C(0) ? 0 : first);
        again = look_at_deadlines(m, now);
        if (again >= first)
            break;
    }
    if (first == ev->guest_armed)
        return;
    ev->guest_armed = first;
    double ns = first == ~UINT64_C(0) ? 1e18 : (double)(first - now) * 1e9 / (double)m->tsc_hz;
    set_timer_fd(ev->guest_timer_fd, ns < 1e17 ? event_now_ns() + (uint64_t)ns : 0);
}

/* --- doorbells -------------------------------------------------------------------------------- */
static enum bell bell_of(unsigned n) {
    switch (n) {
    case ABI_DB_TIMER: return BELL_TIMER;
    case ABI_DB_POSTED: return BELL_POSTED;
    case ABI_DB_AHEAD: return BELL_AHEAD;
    default: return BELL_VIRTIO;
    }
}

static void ring(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

int events_doorbell_fd(struct machine *m, unsigned n) {
    struct events *ev = m->events;
    bool own = n < ABI_VIRTIO_SLOTS && ev->own_bell[n] >= 0;
    return own ? ev->own_bell[n] : ev->bell[bell_of(n)];
}

void events_doorbell(struct machine *m, unsigned n) { ring(events_doorbell_fd(m, n)); }

void events_wake(struct machine *m) { ring(m->events->bell[BELL_WAKE]); }

void event_own_bell(struct device *d, int fd) {
    d->machine->events->own_bell[d->virtio_slot] = fd;
    d->own_bell = true;
}

static void on_wake(void *arg, uint32_t events) {
    struct machine *m = arg;
    drain_fd(m->events->bell[BELL_WAKE]);
    rearm(m->events);
}

static void on_virtio(void *arg, uint32_t events) {
    struct machine *m = arg;
    drain_fd(m->events->bell[BELL_VIRTIO]);
    machine_drain_posted(m);
    machine_notify(m);
}

static void on_posted(void *arg, uint32_t events) {
    struct machine *m = arg;
    drain_fd(m->events->bell[BELL_POSTED]);
    machine_drain_posted(m);
}

static void on_timer_bell(void *arg, uint32_t events) {
    struct machine *m = arg;
    drain_fd(m->events->bell[BELL_TIMER]);
    guest_timers(m);
}

static void on_guest_timer(void *arg, uint32_t events) {
    struct machine *m = arg;
    drain_fd(m->events->guest_timer_fd);
    m->events->guest_armed = ~UINT64_C(0);
    atomic_store(&m->shared->timer_armed, 0);
    guest_timers(m);
}

static void on_timer(void *arg, uint32_t events) {
    struct machine *m = arg;
    drain_fd(m->events->timer_fd);
    run_timers(m->events);
}

/* --- the loop --------------------------------------------------------------------------------- */
static bool add_own(struct machine *m, int fd, event_fn *fn, void *arg) {
    return fd >= 0 && event_add_fd(m, fd, EPOLLIN, fn, arg);
}

static bool open_all(struct machine *m, struct events *ev) {
    ev->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < BELLS; i++)
        ev->bell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ev->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    ev->guest_timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return ev->epoll >= 0 && add_own(m, ev->bell[BELL_VIRTIO], on_virtio, m) &&
           add_own(m, ev->bell[BELL_TIMER], on_timer_bell, m) && add_own(m, ev->bell[BELL_POSTED], on_posted, m) &&
           add_own(m, ev->bell[BELL_WAKE], on_wake, m) && add_own(m, ev->timer_fd, on_timer, m) &&
           add_own(m, ev->guest_timer_fd, on_guest_timer, m);
}

struct events *events_create(struct machine *m) {
    struct events *ev = calloc(1, sizeof(*ev));
    if (!ev)
        return NULL;
    *ev = (struct events){.machine = m,
                          .epoll = -1,
                          .bell = {-1, -1, -1, -1, -1},
                          .timer_fd = -1,
                          .guest_timer_fd = -1,
                          .guest_armed = ~UINT64_C(0)};
    for (unsigned i = 0; i < ABI_VIRTIO_SLOTS; i++)
        ev->own_bell[i] = -1;
    m->events = ev;
    if (open_all(m, ev))
        return ev;
    events_destroy(ev);
    m->events = NULL;
    return NULL;
}

void events_destroy(struct events *ev) {
    while (ev->fds)
        event_del_fd(ev->fds);
    free_dead(ev);
    const int others[] = {ev->timer_fd, ev->guest_timer_fd, ev->epoll};
    for (unsigned i = 0; i < BELLS; i++)
        if (ev->bell[i] >= 0)
            close(ev->bell[i]);
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        if (others[i] >= 0)
            close(others[i]);
    free(ev);
}

/* What the guest wrote last may wait for a reader of its console. */
static bool is_written(const struct machine *m) {
    return m->state == MACHINE_STOPPED || m->state == MACHINE_BROKEN || !machine_has_posted(m);
}

/* finished(): has every vCPU's thread ended, and every device what it was doing? Makes vCPUs leave that do not by
 * themselves. */
static bool finished(struct machine *m) {
    struct events *ev = m->events;
    bool all = true;
    if (m->state == MACHINE_RUNNING)
        return false;
    if (m->state == MACHINE_PANICKED && m->options->on_panic == PANIC_PAUSE && !supervise_stopping())
        return false;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        all = all && (m->vcpu[i].done || !m->vcpu[i].thread);
    if (all)
        return (is_written(m) || supervise_stopping()) && machine_finish(m);
    uint64_t now = event_now_ns();
    if (!ev->stop_at)
        ev->stop_at = now + STOP_NS;
    if (now < ev->stop_at)
        return false;
    m->force = true;
    pause_wake(m);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        run_wake(m->vcpu[i].abi);
        if (m->vcpu[i].thread && !m->vcpu[i].done)
            thread_kick(m->vcpu[i].thread);
    }
    return false;
}

static int patience_ms(struct machine *m) { return m->state != MACHINE_RUNNING ? 100 : pause_again(m) ? 1 : -1; }

void events_loop(struct machine *m) {
    struct events *ev = m->events;
    struct epoll_event ready[16];
    while (!finished(m)) {
        int n = epoll_wait(ev->epoll, ready, ARRAY_LEN(ready), patience_ms(m));
        machine_lock(m);
        for (int i = 0; i < n; i++) {
            struct event_fd *e = ready[i].data.ptr;
            if (!e->dead)
                e->fn(e->arg, ready[i].events);
        }
        free_dead(ev);
        pause_serve(m);
        machine_unlock(m);
    }
}
