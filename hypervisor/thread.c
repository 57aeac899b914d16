/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* thread.c: the kinds of threads that the monitor has (docs/internals.md, "Threads"). */
#include "hypervisor/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static const char *const names[] = {
    [THREAD_ANY] = "any",     [THREAD_MAIN] = "main",     [THREAD_DEVICES] = "devices",
    [THREAD_VCPU] = "vCPU",   [THREAD_DISK] = "disk",     [THREAD_CONSOLE] = "console",
    [THREAD_EXEC] = "exec",   [THREAD_MEMORY] = "memory", [THREAD_NETWORK] = "network",
    [THREAD_VSOCK] = "vsock",
};
static _Thread_local enum thread_kind own_kind;

struct thread {
    pthread_t id;
    enum thread_kind kind, starter;
    char name[16];
    void (*fn)(void *arg);
    void *arg;
    pid_t process; /* the one that a disk's thread is apart from */
};

/* --- disks' threads, apart ------------------------------------------------------------------------------------------
 * A thread that the kernel does not let out of a system call (its file system is frozen, its disk is gone) keeps its
 * process from ending, killed or not. So what is to run in a disk's thread runs in a process of its own, which shares
 * all memory and descriptors with this one, and the thread's storage, too: the thread does nothing but wait for it, and
 * does that without libc, so that errno and all the like are the other's alone. When this process ends, that one is
 * killed, and is gone as soon as the kernel lets it.
 */
#define APART_STACK (512u << 10)

static int run_apart(void *arg) {
    struct thread *t = arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == t->process)
        t->fn(t->arg);
    return 0;
}

static void wait_for(long pid) {
    long result;
    int status = 0;
    do {
        register long options __asm__("r10") = 0;
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"((long)SYS_wait4), "D"(pid), "S"(&status), "d"((long)__WALL), "r"(options)
                         : "rcx", "r11", "memory");
    } while (result == -EINTR);
    if (WIFSIGNALED(status)) /* it crashed, and so has this one */
        abort();
}

/* False if there can be no such process. */
static bool ran_apart(struct thread *t) {
    uint8_t *stack = mmap(NULL, APART_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return false;
    t->process = getpid();
    mprotect(stack, 4096, PROT_NONE);
    int pid = clone(run_apart, stack + APART_STACK, CLONE_VM | CLONE_FS | CLONE_FILES, t);
    if (pid > 0)
        wait_for(pid);
    munmap(stack, APART_STACK);
    return pid > 0;
}

/* The sanitizers know no such processes. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define APART 0
#else
#define APART 1
#endif

static void *run(void *arg) {
    struct thread *t = arg;
    own_kind = t->kind;
    prctl(PR_SET_NAME, t->name);
    if (t->starter != t->kind) /* it has the filter of the one that started it */
        sandbox_thread(t->kind);
    if (!APART || t->kind != THREAD_DISK || !ran_apart(t))
        t->fn(t->arg);
    return NULL;
}

/* --- stacks ---------------------------------------------------------------------------------------------------------
 * As large as the threads need, whatever `ulimit -s` says: that is about the first thread's, and by default also about
 * the others'.
 */
#define STACK_BYTES (2u << 20)

static bool create(struct thread *t) {
    pthread_attr_t attr;
    if (pthread_attr_init(&attr))
        return false;
    int error = pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (!error)
        error = pthread_create(&t->id, &attr, run, t);
    pthread_attr_destroy(&attr);
    errno = error;
    return !error;
}

static struct {
    ucontext_t first, own;
    int (*fn)(int argc, char **argv);
    int argc, result;
    char **argv;
} begun;

static void begin(void) { begun.result = begun.fn(begun.argc, begun.argv); }

int thread_with_stack(int (*fn)(int argc, char **argv), int argc, char **argv) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) || limit.rlim_cur >= STACK_BYTES)
        return fn(argc, argv);
    limit.rlim_cur = limit.rlim_max < STACK_BYTES ? limit.rlim_max : STACK_BYTES;
    if (limit.rlim_cur == STACK_BYTES && !setrlimit(RLIMIT_STACK, &limit))
        return fn(argc, argv);
    uint8_t *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE) || getcontext(&begun.own))
        return -1;
    begun.fn = fn;
    begun.argc = argc;
    begun.argv = argv;
    begun.own.uc_stack.ss_sp = stack;
    begun.own.uc_stack.ss_size = STACK_BYTES;
    begun.own.uc_link = &begun.first;
    makecontext(&begun.own, begin, 0);
    return swapcontext(&begun.first, &begun.own) ? -1 : begun.result;
}

/* --- all of them ------------------------------------------------------------------------------ */
struct thread *thread_start(enum thread_kind kind, const char *name, void (*fn)(void *arg), void *arg) {
    struct thread *t = malloc(sizeof(*t));
    if (!t)
        return NULL;
    *t = (struct thread){.kind = kind, .starter = own_kind, .fn = fn, .arg = arg};
    snprintf(t->name, sizeof(t->name), "%s", name);
    if (create(t))
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
