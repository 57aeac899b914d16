/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* run.c: threads of vCPUs, and the calls that the engine makes. */
#include "hypervisor/code_cache.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DUMP_MAX (1u << 20) /* bytes of code; a block has less */

uint64_t run_tsc(void) {
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

uint64_t run_tsc_hz(void) {
    uint64_t ns = event_now_ns(), tsc = run_tsc(), now;
    do {
        now = event_now_ns();
    } while (now - ns < 50000000);
    return (uint64_t)((double)(run_tsc() - tsc) * 1e9 / (double)(now - ns));
}

void run_wake(struct abi_vcpu *abi) { syscall(SYS_futex, &abi->pending, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

/* Sleeps until pending is not 0 or the TSC reaches deadline. */
static void sleep_until(struct machine *m, struct abi_vcpu *abi, uint64_t deadline, uint64_t now) {
    struct timespec ts, *timeout = NULL;
    double ns = (double)(deadline - now) * 1e9 / (double)m->tsc_hz;
    if (deadline != ~UINT64_C(0) && ns < 1e17) {
        uint64_t at = event_now_ns() + (uint64_t)ns;
        ts = (struct timespec){.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
        timeout = &ts;
    }
    /* FUTEX_WAIT_BITSET: an absolute CLOCK_MONOTONIC time. Returns at once if pending is not 0 any more. */
    syscall(SYS_futex, &abi->pending, FUTEX_WAIT_BITSET_PRIVATE, 0, timeout, NULL, FUTEX_BITSET_MATCH_ANY);
}

void run_pause(struct machine *m, struct abi_vcpu *abi, uint64_t ns) {
    uint64_t deadline = atomic_load(&abi->timer_deadline), now = run_tsc();
    uint64_t end = now + (uint64_t)((double)ns * (double)m->tsc_hz / 1e9);
    atomic_store(&abi->idle, 1);
    if (!atomic_load(&abi->pending) && deadline > now)
        sleep_until(m, abi, deadline < end ? deadline : end, now);
    atomic_store(&abi->idle, 0);
}

static void call_wait(struct machine *m, struct abi_vcpu *abi) {
    /* idle is set before pending is looked at; who sets pending looks at idle after. */
    atomic_store(&abi->idle, 1);
    while (!m->force && !atomic_load(&abi->pending)) {
        uint64_t deadline = atomic_load(&abi->timer_deadline), now = run_tsc();
        if (deadline <= now) {
            atomic_fetch_or(&abi->pending, ABI_PEND_TIMER);
            break;
        }
        sleep_until(m, abi, deadline, now);
    }
    atomic_store(&abi->idle, 0);
}

uint64_t run_arg(struct abi_vcpu *abi, unsigned n) { return *(volatile uint64_t *)&abi->arg[n]; }

static void call_mmio(struct machine *m, struct abi_vcpu *abi, bool write) {
    uint64_t gpa = run_arg(abi, 0), bytes = run_arg(abi, 1), value = 0;
    bool ok = bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
    if (ok)
        ok = write ? machine_write(m, gpa, (unsigned)bytes, run_arg(abi, 2))
                   : machine_read(m, gpa, (unsigned)bytes, &value);
    abi->ret[0] = value;
    abi->ret[1] = !ok;
}

static void call_text(struct machine *m, struct abi_vcpu *abi, const char *prefix) {
    uint64_t bytes = run_arg(abi, 1);
    const char *text = machine_engine_ptr(m, run_arg(abi, 0), bytes);
    if (prefix)
        log_printf("%s", prefix);
    if (text)
        log_text(text, bytes);
}

/* A copy is disassembled: the engine could change what is read twice. */
static void call_dump(struct machine *m, struct abi_vcpu *abi) {
    uint64_t at = run_arg(abi, 0), bytes = run_arg(abi, 1);
    const uint8_t *code = machine_engine_ptr(m, at, bytes);
    bool guest = run_arg(abi, 2) == 1, wanted = m->options->log_topics & (ABI_LOG_IN | ABI_LOG_OUT);
    uint8_t *copy = wanted && code && bytes <= DUMP_MAX ? malloc(bytes) : NULL;
    if (copy) {
        memcpy(copy, code, bytes);
        log_disassemble(copy, bytes, guest ? run_arg(abi, 3) : at, guest ? m->board->elf_machine : EM_X86_64);
    }
    free(copy);
}

static void call_perfmap(struct machine *m, struct vcpu *v) {
    uint64_t host = run_arg(v->abi, 0), bytes = run_arg(v->abi, 1), pc = run_arg(v->abi, 2);
    if (m->options->log_topics & ABI_LOG_PERF)
        log_perf(host, bytes, pc);
    if (host - m->arena_va - m->layout.code[v->index] < m->layout.code_size)
        profile_block(v, host, bytes, pc);
}

static void call_kick(struct machine *m, uint64_t vcpu) {
    if (vcpu < m->vcpu_count)
        run_wake(m->vcpu[vcpu].abi);
}

bool run_call(struct machine *m, struct vcpu *v) {
    struct abi_vcpu *abi = v->abi;
    uint32_t call = *(volatile uint32_t *)&abi->call;
    v->calls[call % ARRAY_LEN(v->calls)]++;
    switch (call) {
    case ABI_CALL_MMIO_READ: call_mmio(m, abi, false); return true;
    case ABI_CALL_MMIO_WRITE: call_mmio(m, abi, true); return true;
    case ABI_CALL_WAIT: call_wait(m, abi); return !m->force;
    case ABI_CALL_KICK: call_kick(m, run_arg(abi, 0)); return true;
    case ABI_CALL_YIELD: sched_yield(); return true;
    case ABI_CALL_SEMIHOST: return semihost_call(m, abi);
    case ABI_CALL_PAUSED: pause_stand(m, v); return !m->force;
    case ABI_CALL_LOG: call_text(m, abi, NULL); return true;
    case ABI_CALL_DUMP: call_dump(m, abi); return true;
    case ABI_CALL_PERFMAP: call_perfmap(m, v); return true;
    case ABI_CALL_REUSE: code_cache_add(m, abi); return true;
    case ABI_CALL_POWEROFF: machine_stop(m, MACHINE_POWEROFF); return false;
    case ABI_CALL_RESET: panic_reset(m); return false;
    case ABI_CALL_STOPPED:
        if (m->probe)
            machine_stop(m, MACHINE_STOPPED);
        return false;
    case ABI_CALL_PANIC:
        if (!m->probe) /* whoever asked says what that means */
            call_text(m, abi, "graft: ");
        machine_stop(m, MACHINE_BROKEN);
        return false;
    default:
        log_printf("graft: vCPU %u: the engine made an unknown call, %u\n", v->index, call);
        machine_stop(m, MACHINE_BROKEN);
        return false;
    }
}

void run_vcpu_thread(void *arg) {
    struct vcpu *v = arg;
    struct machine *m = v->machine;
    struct timespec ts;
    atomic_store(&v->tid, (int)syscall(SYS_gettid));
    prctl(PR_SET_TIMERSLACK, 1);
    profile_start(v);
    m->vm->run(m, v);
    profile_stop(v);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    v->cpu_ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
    /* A vCPU that ends for any other reason than a stop ends the machine. */
    machine_stop(m, MACHINE_BROKEN);
    v->done = true;
    events_wake(m);
}
