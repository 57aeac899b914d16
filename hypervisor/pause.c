/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* pause.c: see pause.h. */
#include "hypervisor/monitor.h"

#include <errno.h>
#include <time.h>

#define ANSWER_SECONDS 2 /* what an order takes at most; an engine that has failed takes for ever */

void pause_init(struct machine *m) {
    pthread_mutex_init(&m->pause.lock, NULL);
    pthread_cond_init(&m->pause.go, NULL);
}

void pause_free(struct machine *m) {
    pthread_cond_destroy(&m->pause.go);
    pthread_mutex_destroy(&m->pause.lock);
}

/* The lock is held, here and in what follows. */
static bool is_running(const struct machine *m) { return m->state == MACHINE_RUNNING && !m->force; }

static bool is_wanted(const struct machine *m) { return (m->pause.work || m->pause.held) && is_running(m); }

static bool all_stand(const struct machine *m) { return m->pause.standing == m->vcpu_count; }

static void tell_all(struct machine *m) {
    for (unsigned i = 0; i < m->vcpu_count; i++)
        machine_pend(m, i, ABI_PEND_PAUSE);
    events_wake(m);
}

bool pause_request(struct machine *m, pause_work *work, void *arg) {
    struct pause *p = &m->pause;
    pthread_mutex_lock(&p->lock);
    bool ok = !p->work && m->state == MACHINE_RUNNING;
    if (ok) {
        p->work = work;
        p->arg = arg;
    }
    pthread_mutex_unlock(&p->lock);
    if (ok)
        tell_all(m);
    return ok;
}

void pause_changed(struct machine *m, unsigned vcpu) { m->pause.cpu[vcpu].changed = true; }

void pause_hold(struct machine *m) {
    pthread_mutex_lock(&m->pause.lock);
    m->pause.held = true;
    pthread_mutex_unlock(&m->pause.lock);
    tell_all(m);
}

void pause_wake(struct machine *m) {
    pthread_mutex_lock(&m->pause.lock);
    pthread_cond_broadcast(&m->pause.go);
    pthread_mutex_unlock(&m->pause.lock);
}

uint64_t pause_tsc(struct machine *m) {
    pthread_mutex_lock(&m->pause.lock);
    uint64_t tsc = m->pause.told ? m->pause.since : run_tsc();
    pthread_mutex_unlock(&m->pause.lock);
    return tsc;
}

/* The guest's counters go on where they stood. */
static void let_time_pass(struct machine *m) {
    struct pause *p = &m->pause;
    if (!p->told)
        return;
    m->boot->tsc_base += run_tsc() - p->since;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        machine_pend(m, i, ABI_PEND_TIMER);
}

void pause_go(struct machine *m, uint32_t run, uint32_t step) {
    struct pause *p = &m->pause;
    pthread_mutex_lock(&p->lock);
    let_time_pass(m);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        p->cpu[i].why = ABI_HELD_ASKED;
        p->cpu[i].step = step >> i & 1;
        p->cpu[i].stays = !((run | step) >> i & 1);
    }
    p->went |= p->told;
    p->held = p->told = false;
    pthread_cond_broadcast(&p->go);
    pthread_mutex_unlock(&p->lock);
    events_wake(m);
}

void pause_continue(struct machine *m) { pause_go(m, ~0u, 0); }

bool pause_is_held(struct machine *m) {
    pthread_mutex_lock(&m->pause.lock);
    bool held = m->pause.held && all_stand(m);
    pthread_mutex_unlock(&m->pause.lock);
    return held;
}

bool pause_is_wanted(struct machine *m) {
    pthread_mutex_lock(&m->pause.lock);
    bool wanted = m->pause.held;
    pthread_mutex_unlock(&m->pause.lock);
    return wanted;
}

void pause_listen(struct machine *m, void (*held)(struct machine *m, bool held, void *arg), void *arg) {
    struct pause_listener *l = m->pause.listener;
    while (l->held && l < m->pause.listener + PAUSE_LISTENERS - 1)
        l++;
    *l = (struct pause_listener){held, arg};
}

/* --- what debuggers ask ----------------------------------------------------------------------- */
enum abi_held pause_why(struct machine *m, unsigned vcpu, uint64_t *va, uint64_t *number) {
    pthread_mutex_lock(&m->pause.lock);
    const struct pause_cpu *c = &m->pause.cpu[vcpu];
    enum abi_held why = c->why;
    *va = c->va;
    *number = c->number;
    pthread_mutex_unlock(&m->pause.lock);
    return why;
}

bool pause_ask(struct machine *m, unsigned vcpu, enum abi_order order, uint64_t what, uint64_t value[2]) {
    struct pause *p = &m->pause;
    struct pause_cpu *c = &p->cpu[vcpu];
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_SECONDS;
    pthread_mutex_lock(&p->lock);
    bool can = c->stands && !c->ordered && (is_wanted(m) || (c->stays && is_running(m)));
    if (can) {
        c->order = order;
        c->what = what;
        c->value[0] = value[0];
        c->value[1] = value[1];
        c->ordered = true;
        c->answered = false;
        pthread_cond_broadcast(&p->go);
    }
    while (can && !c->answered && is_running(m) && !error)
        error = pthread_cond_timedwait(&p->go, &p->lock, &until);
    bool ok = can && c->answered && c->ok;
    value[0] = c->value[0];
    value[1] = c->value[1];
    pthread_mutex_unlock(&p->lock);
    return ok;
}

/* --- in a vCPU's thread ----------------------------------------------------------------------- */
/* What the engine says is believed no further than a guest. */
static void take_why(struct machine *m, struct vcpu *v) {
    struct pause_cpu *c = &m->pause.cpu[v->index];
    uint64_t why = run_arg(v->abi, 0);
    if (why == ABI_HELD_DONE) {
        c->value[0] = run_arg(v->abi, 1);
        c->value[1] = run_arg(v->abi, 2);
        c->ok = run_arg(v->abi, 3) == 1;
        c->answered = true;
        pthread_cond_broadcast(&m->pause.go);
        return;
    }
    c->why = why <= ABI_HELD_WRITE ? (enum abi_held)why : ABI_HELD_ASKED;
    c->va = run_arg(v->abi, 1);
    c->number = run_arg(v->abi, 2);
    if (c->why != ABI_HELD_ASKED && is_running(m)) {
        m->pause.held = true;
        tell_all(m);
    }
}

static void stand(struct machine *m, struct pause_cpu *c) {
    struct pause *p = &m->pause;
    if (!c->stands)
        p->standing++;
    c->stands = true;
    if (all_stand(m) && is_wanted(m))
        events_wake(m);
    while ((is_wanted(m) || (c->stays && is_running(m))) && !c->ordered)
        pthread_cond_wait(&p->go, &p->lock);
}

/* Who leaves does so under the lock, as who counts looks under it: nobody is counted who is about to go. */
void pause_stand(struct machine *m, struct vcpu *v) {
    struct pause *p = &m->pause;
    struct pause_cpu *c = &p->cpu[v->index];
    pthread_mutex_lock(&p->lock);
    take_why(m, v);
    stand(m, c);
    v->abi->ret[0] = 0;
    if (c->ordered) {
        v->abi->ret[1] = c->order;
        v->abi->arg[3] = c->what;
        v->abi->arg[4] = c->value[0];
        v->abi->arg[5] = c->value[1];
    } else {
        v->abi->ret[0] = c->changed;
        c->changed = false;
        v->abi->ret[1] = c->step ? ABI_ORDER_STEP : ABI_ORDER_RUN;
        c->step = c->stands = false;
        p->standing--;
        if (!is_wanted(m)) /* it was asked while it stood here */
            atomic_fetch_and(&v->abi->pending, ~(uint32_t)ABI_PEND_PAUSE);
    }
    c->ordered = false;
    pthread_mutex_unlock(&p->lock);
}

/* --- in the devices' thread ------------------------------------------------------------------- */
/* What there is to do now; NULL: nothing, or not everyone stands still. */
static pause_work *work_now(struct machine *m) {
    struct pause *p = &m->pause;
    pthread_mutex_lock(&p->lock);
    pause_work *work = all_stand(m) && is_wanted(m) ? p->work : NULL;
    pthread_mutex_unlock(&p->lock);
    return work;
}

static void do_work(struct machine *m) {
    struct pause *p = &m->pause;
    pause_work *work = work_now(m);
    p->again = false;
    if (!work)
        return;
    machine_drain_posted(m);
    enum pause_result result = work(m, p->arg);
    p->again = result == PAUSE_AGAIN;
    if (p->again)
        return;
    pthread_mutex_lock(&p->lock);
    p->work = NULL;
    p->held |= result == PAUSE_HOLD;
    pthread_cond_broadcast(&p->go);
    pthread_mutex_unlock(&p->lock);
}

static void tell(struct machine *m, bool held) {
    for (const struct pause_listener *l = m->pause.listener; l < m->pause.listener + PAUSE_LISTENERS; l++)
        if (l->held)
            l->held(m, held, l->arg);
}

static void tell_listeners(struct machine *m) {
    struct pause *p = &m->pause;
    pthread_mutex_lock(&p->lock);
    bool went = p->went, held = p->held && !p->told && all_stand(m) && is_running(m);
    p->went = false;
    if (held) {
        p->told = true;
        p->since = run_tsc();
    }
    pthread_mutex_unlock(&p->lock);
    if (went)
        tell(m, false);
    if (held)
        tell(m, true);
}

void pause_serve(struct machine *m) {
    do_work(m);
    tell_listeners(m);
}

bool pause_again(struct machine *m) { return m->pause.again; }
