/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* thread.c: the kinds of threads that the monitor has (docs/internals.md, "Threads"). */
#include "hypervisor/monitor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

static const char *const names[] = {
    [THREAD_ANY] = "any",   [THREAD_MAIN] = "main", [THREAD_DEVICES] = "devices",
    [THREAD_VCPU] = "vCPU", [THREAD_DISK] = "disk", [THREAD_CONSOLE] = "console",
};
static _Thread_local enum thread_kind own_kind;

struct thread {
    pthread_t id;
    enum thread_kind kind;
    char name[16];
    void (*fn)(void *arg);
    void *arg;
};

static void *run(void *arg) {
    struct thread *t = arg;
    own_kind = t->kind;
    prctl(PR_SET_NAME, t->name);
    t->fn(t->arg);
    return NULL;
}

struct thread *thread_start(enum thread_kind kind, const char *name, void (*fn)(void *arg), void *arg) {
    struct thread *t = malloc(sizeof(*t));
    if (!t)
        return NULL;
    *t = (struct thread){.kind = kind, .fn = fn, .arg = arg};
    snprintf(t->name, sizeof(t->name), "%s", name);
    if (!pthread_create(&t->id, NULL, run, t))
        return t;
    free(t);
    return NULL;
}

void thread_kick(struct thread *t) { pthread_kill(t->id, SIGUSR1); }

void thread_join(struct thread *t) {
    pthread_join(t->id, NULL);
    free(t);
}

void thread_is(enum thread_kind kind) { own_kind = kind; }

enum thread_kind thread_kind(void) { return own_kind; }

void thread_expect(unsigned kinds, const char *what) {
    if (own_kind == THREAD_ANY || kinds >> own_kind & 1)
        return;
    fprintf(stderr, "graft: a thread of the kind \"%s\" must not %s\n", names[own_kind], what);
    abort();
}
