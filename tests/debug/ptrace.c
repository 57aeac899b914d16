/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ptrace.c: what a debugger in the guest needs of Linux: single step, hardware breakpoints and watchpoints, BRK, and
 * perf's own breakpoints, over which the kernel steps by itself. Prints a line for each, as tests/linux/check.sh
 * does. */
#include "check.h"

#include <elf.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <asm/ptrace.h>
#include <unistd.h>

#define BREAKS 6
#define WATCHES 4
#define ENABLE 1u
#define TYPE_EXECUTE 0u
#define TYPE_STORE 2u
#define CONTROL(bytes, type) ((unsigned)(bytes) << 5 | (type) << 3 | ENABLE)

/* --- a child to be traced --------------------------------------------------------------------- */
extern const unsigned nops[], nops_end[], exclusive[], steps[];
__asm__(".text\n.balign 16\n.global nops, nops_end, steps, exclusive\n"
        "nops: .rept 20\nnop\n.endr\n"
        "nops_end: brk #0x123\n"
        "steps: mov x0, #3\n"
        "1: subs x0, x0, #1\n"
        "b.ne 1b\n"
        "mov x8, #172\n" /* getpid */
        "svc #0\n"
        "bl 2f\n"
        "brk #1\n"
        "2: ret\n"
        "exclusive: ldxr x1, [x0]\n"
        "add x1, x1, #1\n"
        "stxr w2, x1, [x0]\n"
        "brk #2\n");

static volatile unsigned char var[96] __attribute__((aligned(32)));

static pid_t spawn(void (*run)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        if (run)
            run();
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "no stop at start: %x", status);
    return pid;
}

static void reap(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static struct user_pt_regs regs_of(pid_t pid) {
    struct user_pt_regs r;
    struct iovec io = {&r, sizeof r};
    memset(&r, 0, sizeof r);
    EXPECT(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) == 0, "PTRACE_GETREGSET");
    return r;
}

static void go_to(pid_t pid, const unsigned *code, unsigned long x0) {
    struct user_pt_regs r = regs_of(pid);
    struct iovec io = {&r, sizeof r};
    r.pc = (unsigned long)code;
    r.regs[0] = x0;
    EXPECT(ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io) == 0, "PTRACE_SETREGSET");
}

/* Goes on until the next stop; the address that SIGTRAP is for, or 0 if it is not SIGTRAP. */
static unsigned long go_on(pid_t pid, int how) {
    int status;
    siginfo_t info;
    ptrace(how, pid, NULL, NULL);
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
        return 0;
    memset(&info, 0, sizeof info);
    ptrace(PTRACE_GETSIGINFO, pid, NULL, &info);
    return (unsigned long)info.si_addr;
}

static unsigned slots(pid_t pid, int which) {
    struct user_hwdebug_state state;
    struct iovec io = {&state, sizeof state};
    memset(&state, 0, sizeof state);
    if (ptrace(PTRACE_GETREGSET, pid, which, &io))
        return 0;
    return state.dbg_info & 0xff;
}

static void arm(pid_t pid, int which, unsigned slot, unsigned long address, unsigned control) {
    struct user_hwdebug_state state;
    size_t bytes = offsetof(struct user_hwdebug_state, dbg_regs) + (slot + 1) * sizeof state.dbg_regs[0];
    struct iovec io = {&state, bytes};
    memset(&state, 0, sizeof state);
    EXPECT(ptrace(PTRACE_GETREGSET, pid, which, &io) == 0, "reading %x", which);
    io.iov_len = bytes;
    state.dbg_regs[slot].addr = address;
    state.dbg_regs[slot].ctrl = control;
    EXPECT(ptrace(PTRACE_SETREGSET, pid, which, &io) == 0, "writing %x, slot %u", which, slot);
}

/* --- single step, BRK ------------------------------------------------------------------------- */
static void check_step(void) {
    pid_t pid = spawn(NULL);
    go_to(pid, nops, 0);
    for (unsigned i = 1; i <= 20; i++) {
        unsigned long at = go_on(pid, PTRACE_SINGLESTEP);
        EXPECT(at == (unsigned long)(nops + i), "step %u is at %lx, not %p", i, at, (const void *)(nops + i));
    }
    unsigned long at = go_on(pid, PTRACE_CONT);
    EXPECT(at == (unsigned long)nops_end, "BRK at %lx", at);
    /* A loop, a system call, which is reported at its exit, too, and a call: 1 + 3 * 2 + 1 + 2 + 1 + 1 to the BRK. */
    go_to(pid, steps, 0);
    for (unsigned i = 1; i <= 12; i++)
        at = go_on(pid, PTRACE_SINGLESTEP);
    EXPECT(at == (unsigned long)(steps + 6), "twelve steps end at %lx, not %p", at, (const void *)(steps + 6));
    EXPECT(regs_of(pid).regs[0] == (unsigned long)pid, "the system call that was stepped gave %llx",
           (unsigned long long)regs_of(pid).regs[0]);
    /* The exception of a step opens the exclusive monitor. */
    go_to(pid, exclusive, (unsigned long)var);
    for (unsigned i = 0; i < 3; i++)
        at = go_on(pid, PTRACE_SINGLESTEP);
    EXPECT(at == (unsigned long)(exclusive + 3) && regs_of(pid).regs[2] == 1, "STXR stepped: at %lx, status %llu", at,
           (unsigned long long)regs_of(pid).regs[2]);
    reap(pid);
    report("step");
}

/* --- hardware breakpoints --------------------------------------------------------------------- */
static void check_breakpoints(void) {
    pid_t pid = spawn(NULL);
    unsigned count = slots(pid, NT_ARM_HW_BREAK);
    EXPECT(count == BREAKS, "%u breakpoints", count);
    for (unsigned slot = 0; slot < count; slot++)
        arm(pid, NT_ARM_HW_BREAK, slot, (unsigned long)(nops + 3 * slot + 1), CONTROL(15, TYPE_EXECUTE));
    for (unsigned round = 0; round < 3; round++) {
        go_to(pid, nops, 0);
        for (unsigned slot = 0; slot < count; slot++) {
            unsigned long at = go_on(pid, PTRACE_CONT), want = (unsigned long)(nops + 3 * slot + 1);
            EXPECT(at == want, "breakpoint %u at %lx, not %lx", slot, at, want);
            /* over it: one step, then the next breakpoint */
            arm(pid, NT_ARM_HW_BREAK, slot, want, CONTROL(15, TYPE_EXECUTE) & ~ENABLE);
            at = go_on(pid, PTRACE_SINGLESTEP);
            EXPECT(at == want + 4, "a step from breakpoint %u ends at %lx", slot, at);
            arm(pid, NT_ARM_HW_BREAK, slot, want, CONTROL(15, TYPE_EXECUTE));
        }
        unsigned long at = go_on(pid, PTRACE_CONT);
        EXPECT(at == (unsigned long)nops_end, "behind all breakpoints: %lx", at);
    }
    reap(pid);
    report("breakpoints");
}

/* --- watchpoints ------------------------------------------------------------------------------ */
static int write_size, write_at;

static void write_var(void) {
    volatile void *p = &var[32 + write_at];
    switch (write_size) {
    case 1: *(volatile unsigned char *)p = 47; break;
    case 2: *(volatile unsigned short *)p = 47; break;
    case 4: *(volatile unsigned *)p = 47; break;
    case 8: *(volatile unsigned long *)p = 47; break;
    case 16: __asm__ volatile("stp x29, x30, [%0]" : : "r"(p) : "memory"); break;
    default: __asm__ volatile("stp q29, q30, [%0]" : : "r"(p) : "memory"); break;
    }
}

/* Does a write meet a watchpoint of that size? */
static void check_write(int size, int watched, int write, int watch) {
    write_size = size;
    write_at = write;
    pid_t pid = spawn(write_var);
    unsigned long address = (unsigned long)&var[32 + watch];
    arm(pid, NT_ARM_HW_WATCH, 0, address & ~7ul, CONTROL(((1u << watched) - 1) << (address & 7) & 255, TYPE_STORE));
    unsigned long at = go_on(pid, PTRACE_CONT), want = write > watch ? (unsigned long)&var[32 + write] : address;
    if (write == watch || (write < watch && write + size > watch) || (watch < write && watch + watched > write))
        EXPECT(at == want, "%d bytes at %d, watched %d: trap at %lx, not %lx", size, write, watch, at, want);
    else
        EXPECT(at == 0, "%d bytes at %d, watched %d: trap at %lx", size, write, watch, at);
    reap(pid);
}

static void check_watchpoints(void) {
    pid_t pid = spawn(NULL);
    unsigned count = slots(pid, NT_ARM_HW_WATCH);
    EXPECT(count == WATCHES, "%u watchpoints", count);
    reap(pid);
    for (int size = 1; size <= 32; size *= 2) {
        for (int write = 0; write <= 32; write += size)
            for (int watch = write - size; watch <= write + size; watch += size)
                check_write(size, size < 8 ? size : 8, write, watch);
        check_write(size, 8, -size, -8);
    }
    report("watchpoints");
}

/* --- breakpoints of perf: the kernel steps over them itself ----------------------------------- */
static int perf_breakpoint(unsigned type, const volatile void *address, unsigned long bytes) {
    struct perf_event_attr attr = {.type = PERF_TYPE_BREAKPOINT,
                                   .size = sizeof attr,
                                   .bp_type = type,
                                   .bp_addr = (unsigned long)address,
                                   .bp_len = bytes,
                                   .sample_period = 1,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static __attribute__((noinline)) void called(void) { __asm__ volatile("" : : : "memory"); }

static void check_perf(void) {
    int writes = perf_breakpoint(HW_BREAKPOINT_W, &var[8], 8);
    int calls = perf_breakpoint(HW_BREAKPOINT_X, (const volatile void *)(unsigned long)called, sizeof(long));
    unsigned long long n = 0;
    for (unsigned i = 0; i < 100; i++) {
        var[8 + i % 8] = (unsigned char)i;
        called();
        var[16] = 1;
    }
    EXPECT(writes >= 0 && read(writes, &n, sizeof n) == sizeof n && n == 100, "%llu of 100 writes", n);
    EXPECT(calls >= 0 && read(calls, &n, sizeof n) == sizeof n && n == 100, "%llu of 100 calls", n);
    close(writes);
    close(calls);
    report("perf-breakpoints");
}

int main(void) {
    check_step();
    check_breakpoints();
    check_watchpoints();
    check_perf();
    puts("CHECK done");
    return 0;
}
