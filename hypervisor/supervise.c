/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * supervise.c: the main thread while a machine runs. It waits for signals and for the end and does nothing else, so
 * that it always answers: what has not ended in time after the user asked for it is left behind.
 */
#include "hypervisor/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define GRACE_NS UINT64_C(350000000) /* to stop, to flush and to clean up, once the user has asked for the end */

/* Lock: of what follows. It is held for moments, and never in a call that may block. */
static struct {
    pthread_mutex_t lock;
    struct machine *machine; /* that there is now */
    bool stopping, ended;
    int signal; /* that asked for the end, 0: none did */
    uint64_t leave_at;
    int bell; /* eventfd: something of this has changed */
    int (*body)(void *arg);
    void *arg;
    int status;
} s = {.lock = PTHREAD_MUTEX_INITIALIZER, .bell = -1};

static void ring(void) {
    uint64_t one = 1;
    while (write(s.bell, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

static void clear_bell(void) {
    uint64_t count;
    while (read(s.bell, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
}

void supervise_machine(struct machine *m) {
    pthread_mutex_lock(&s.lock);
    s.machine = m;
    if (m && s.stopping)
        machine_stop(m, MACHINE_STOPPED);
    pthread_mutex_unlock(&s.lock);
}

void supervise_stop(int signal) {
    pthread_mutex_lock(&s.lock);
    if (!s.stopping) {
        s.stopping = true;
        s.signal = signal;
        s.leave_at = event_now_ns() + GRACE_NS;
    }
    if (s.machine)
        machine_stop(s.machine, MACHINE_STOPPED);
    pthread_mutex_unlock(&s.lock);
    ring();
}

void supervise_save(void) {
    pthread_mutex_lock(&s.lock);
    if (s.machine)
        save_now(s.machine);
    pthread_mutex_unlock(&s.lock);
}

bool supervise_stopping(void) {
    pthread_mutex_lock(&s.lock);
    bool stopping = s.stopping;
    pthread_mutex_unlock(&s.lock);
    return stopping;
}

uint64_t supervise_leave_at(void) {
    pthread_mutex_lock(&s.lock);
    uint64_t at = s.stopping ? s.leave_at : 0;
    pthread_mutex_unlock(&s.lock);
    return at;
}

int supervise_signal(void) {
    pthread_mutex_lock(&s.lock);
    int signal = s.signal;
    pthread_mutex_unlock(&s.lock);
    return signal;
}

static void run_body(void *arg) {
    int status = s.body(s.arg);
    pthread_mutex_lock(&s.lock);
    s.status = status;
    s.ended = true;
    pthread_mutex_unlock(&s.lock);
    ring();
}

/* The signals that are for the machine. SIGHUP is not if it was ignored: nohup. */
static int open_signals(void) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGCONT, SIGWINCH};
    sigset_t set;
    struct sigaction old;
    sigemptyset(&set);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] != SIGHUP || sigaction(SIGHUP, NULL, &old) || old.sa_handler != SIG_IGN)
            sigaddset(&set, all[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool (*_Atomic signals_taken)(int signal);

void supervise_signals(bool (*taken)(int signal)) { atomic_store(&signals_taken, taken); }

static void take_signal(int fd) {
    struct signalfd_siginfo info;
    bool (*taken)(int signal) = atomic_load(&signals_taken);
    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo != SIGCONT && taken && taken((int)info.ssi_signo))
        return;
    if (info.ssi_signo == SIGCONT)
        chardev_raw(); /* a shell may have changed the terminal meanwhile */
    else if (info.ssi_signo == SIGWINCH)
        chardev_resized();
    else
        supervise_stop((int)info.ssi_signo);
}

/* When to look again at the latest, for poll(); 0: now is the time to leave. */
static int patience_ms(void) {
    uint64_t now = event_now_ns();
    pthread_mutex_lock(&s.lock);
    int ms = !s.stopping ? -1 : now >= s.leave_at ? 0 : (int)((s.leave_at - now) / 1000000 + 1);
    pthread_mutex_unlock(&s.lock);
    return ms;
}

static bool has_ended(void) {
    pthread_mutex_lock(&s.lock);
    bool ended = s.ended;
    pthread_mutex_unlock(&s.lock);
    return ended;
}

/* Threads may still be at work, and some of them not to be had out of it: nothing here may wait for one. */
static _Noreturn void leave(int (*stopped)(int signal)) {
    chardev_restore();
    close_range(0, ~0u,
                0); /* a disk's thread may still be there, and have what others wait for the end of (thread.c) */
    _exit(stopped(supervise_signal()));
}

/* What is still to be waited for is processes of its own. */
static void let_signals_end(void) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        sigaddset(&set, all[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int supervise(int (*body)(void *arg), void *arg, int (*stopped)(int signal)) {
    int signals = open_signals(), patience;
    s.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s.body = body;
    s.arg = arg;
    struct thread *thread = signals < 0 || s.bell < 0 ? NULL : thread_start(THREAD_DEVICES, "devices", run_body, NULL);
    if (!thread) {
        fprintf(stderr, "graft: cannot start a thread: %s\n", strerror(errno));
        return -1;
    }
    thread_is(THREAD_MAIN);
    sandbox_thread(THREAD_MAIN);
    while (!has_ended()) {
        struct pollfd p[] = {{.fd = signals, .events = POLLIN}, {.fd = s.bell, .events = POLLIN}};
        if ((patience = patience_ms()) == 0)
            leave(stopped);
        if (poll(p, ARRAY_LEN(p), patience) <= 0)
            continue;
        if (p[0].revents)
            take_signal(signals);
        if (p[1].revents)
            clear_bell();
    }
    thread_join(thread);
    let_signals_end();
    return s.status;
}
