/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* rt_user.c: runtime services of the engine in a process, and its host faults. Host paging is in paging.c. */
#define _GNU_SOURCE /* mremap() */
#include "dbt/rt/user/user.h"
#include "graft/codegen.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define HWCAP2_FSGSBASE_BIT 2ul
#define MXCSR_DEFAULT 0x1f80u

static struct {
    rt_user_monitor *monitor;
    rt_user_doorbell *doorbell;
    void *ctx;
} embedder;

bool rt_user_without_gs;

/* Where a call that does not return ends this thread's rt_user_run(). */
static _Thread_local jmp_buf leave;

void rt_user_set_monitor(rt_user_monitor *monitor, rt_user_doorbell *doorbell, void *ctx) {
    embedder.monitor = monitor;
    embedder.doorbell = doorbell;
    embedder.ctx = ctx;
}

/* --- host faults ------------------------------------------------------------------------------ */
static _Thread_local struct cpu *running; /* the vCPU that this thread is */
static struct sigaction chained[2];       /* what SIGSEGV and SIGBUS did before us */
#define PAGE_FAULT_WRITE 2                /* of the error code: Intel SDM, volume 3, section 4.7 */

/* Not ours: as if we were not here. */
static void pass_on(int signal, siginfo_t *info, void *context) {
    const struct sigaction *old = &chained[signal == SIGBUS];
    if (old->sa_flags & SA_SIGINFO)
        old->sa_sigaction(signal, info, context);
    else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN)
        old->sa_handler(signal);
    else
        sigaction(signal, old, NULL); /* the access faults again */
}

/* Reads a byte at RDI; 1 if it faulted. Not in a function of C: a compiler may make two of one, but not of these
 * labels. */
__asm__(".text\n"
        "rt_user_read:\n\t"
        "xorl %eax, %eax\n"
        ".globl rt_user_try_access\n"
        "rt_user_try_access:\n\t"
        "testb $0, (%rdi)\n\t"
        "ret\n"
        ".globl rt_user_try_failed\n"
        "rt_user_try_failed:\n\t"
        "movl $1, %eax\n\t"
        "ret\n");
extern const uint8_t rt_user_try_access[], rt_user_try_failed[];
bool rt_user_read(uint64_t at);
bool rt_user_try(uint64_t at) { return running && rt_user_read(at); }

/* An access of translated code goes on if the tables allow it by now, else at its stub. */
static void on_fault(int signal, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *pc = (const uint8_t *)regs[REG_RIP];
    const uint8_t *stub = running && running->engine ? engine_fault_stub(running, pc) : NULL;
    if (running && pc == rt_user_try_access) {
        regs[REG_RIP] = (greg_t)rt_user_try_failed;
        return;
    }
    if (!stub) {
        pass_on(signal, info, context);
        return;
    }
    STAT(running, host_faults)++;
    if (rt_user_fault(running, (uint64_t)info->si_addr, regs[REG_ERR] & PAGE_FAULT_WRITE))
        return;
    running->fault_ticks = rt_ticks();
    regs[REG_RIP] = (greg_t)stub;
}

static void catch_faults(void) {
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &act, &chained[0]);
    sigaction(SIGBUS, &act, &chained[1]);
}

/* --- samples ---------------------------------------------------------------------------------- */
#define SAMPLE_SIGNAL SIGUSR2
#define SAMPLE_NS 2000000 /* of processor time; a host without finer timers rounds it up to its tick */
static _Thread_local timer_t sampler;
static _Thread_local bool sampling;

static void on_sample(int signal, siginfo_t *info, void *context) {
    struct cpu *cpu = running;
    uint64_t pc = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (!cpu || pc - cpu->boot->code_va[cpu->index] >= cpu->boot->code_size)
        return;
    cpu->sample_pc = pc;
    __atomic_fetch_or((uint32_t *)&cpu->abi.pending, ABI_PEND_SAMPLE, __ATOMIC_SEQ_CST);
}

bool rt_sample_start(struct cpu *cpu) {
    struct sigaction act = {.sa_sigaction = on_sample, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SAMPLE_SIGNAL};
    struct itimerspec every = {.it_interval.tv_nsec = SAMPLE_NS, .it_value.tv_nsec = SAMPLE_NS};
    sigfillset(&act.sa_mask); /* a profiler's samples, which often come at the same tick, are of what it interrupts */
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (sigaction(SAMPLE_SIGNAL, &act, NULL) || timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &sampler))
        return false;
    sampling = !timer_settime(sampler, 0, &every, NULL);
    return sampling;
}

static void sample_end(void) {
    if (sampling)
        timer_delete(sampler);
    sampling = false;
}

enum abi_call rt_user_run(const struct abi_boot *boot, unsigned vcpu) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct cpu *cpu = (struct cpu *)(uintptr_t)boot->vcpu_va[vcpu];
    pthread_once(&once, catch_faults);
    running = cpu;
    int call = setjmp(leave);
    if (!call)
        engine_main(boot, vcpu);
    sample_end();
    running = NULL;
    rt_user_paging_end(cpu);
    uint32_t mxcsr = MXCSR_DEFAULT;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    return (enum abi_call)call;
}

void rt_call(struct cpu *cpu, enum abi_call call) {
    cpu->abi.call = call;
    embedder.monitor(embedder.ctx, cpu->index, &cpu->abi);
    switch (call) {
    case ABI_CALL_POWEROFF:
    case ABI_CALL_RESET:
    case ABI_CALL_STOPPED:
    case ABI_CALL_PANIC: longjmp(leave, (int)call);
    default: break;
    }
}

void rt_doorbell(struct cpu *cpu, unsigned n) {
    STAT(cpu, doorbells)++;
    if (embedder.doorbell)
        embedder.doorbell(embedder.ctx, n);
}

#define PAUSES 100 /* as long as a system call takes, or some */
void rt_yield(struct cpu *cpu, unsigned turn) {
    if (turn < PAUSES)
        __builtin_ia32_pause();
    else
        sched_yield();
}

/* What a process may do is what the kernel says: the instruction may work, and its effect be lost at the next
 * switch. */
bool rt_has_gs(void) { return (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) && !rt_user_without_gs; }

void rt_set_view(struct view *v) { __asm__ volatile("wrgsbase %0" : : "r"(v) : "memory"); }

/* An old size of 0 duplicates a shared mapping. */
bool rt_map_cpu(struct cpu *cpu, void *at, size_t bytes) {
    if (mremap(cpu, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at)
        return false;
    madvise(at, bytes, MADV_POPULATE_WRITE); /* or each page costs a fault */
    return true;
}

bool rt_keeps_high_vectors(void) { return false; }
