/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * sys.h: Linux without a C library, for processors whose system calls are numbered as in the kernel's
 * asm-generic/unistd.h: all that are younger than ten years. What differs is how one is made, and how a program starts:
 * a few lines for each processor.
 */
#ifndef AGENT_SYS_H
#define AGENT_SYS_H

#include <stddef.h>
#include <stdint.h>

/* sys_call(): the result, or -errno. */
#if defined(__aarch64__)
static inline long sys_call(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                     x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return x0;
}
#define SYS_START "mov x29, xzr\n mov x30, xzr\n bl agent_main\n"
#elif defined(__riscv)
static inline long sys_call(long n, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c,
                     a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
#define SYS_START "li ra, 0\n call agent_main\n"
#else
#error "no system calls for this processor"
#endif

enum {
    SYS_DUP3 = 24,
    SYS_FCNTL = 25,
    SYS_IOCTL = 29,
    SYS_MKDIRAT = 34,
    SYS_SYMLINKAT = 36,
    SYS_MOUNT = 40,
    SYS_CHDIR = 49,
    SYS_CHROOT = 51,
    SYS_OPENAT = 56,
    SYS_CLOSE = 57,
    SYS_PIPE2 = 59,
    SYS_READ = 63,
    SYS_WRITE = 64,
    SYS_PPOLL = 73,
    SYS_SIGNALFD4 = 74,
    SYS_SYNC = 81,
    SYS_EXIT_GROUP = 94,
    SYS_NANOSLEEP = 101,
    SYS_CLOCK_SETTIME = 112,
    SYS_KILL = 129,
    SYS_SIGACTION = 134,
    SYS_SIGPROCMASK = 135,
    SYS_REBOOT = 142,
    SYS_SETSID = 157,
    SYS_SETHOSTNAME = 161,
    SYS_SOCKET = 198,
    SYS_CLONE = 220,
    SYS_EXECVE = 221,
    SYS_MMAP = 222,
    SYS_WAIT4 = 260,
    SYS_FINIT_MODULE = 273,
};

#define CALL_6(n, a, b, c, d, e, f, ...) sys_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(...) CALL_6(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

enum { E_NOENT = 2, E_INTR = 4, E_AGAIN = 11, E_NOMEM = 12, E_ACCES = 13, E_EXIST = 17, E_PROTO = 71 };
#define AT_CWD (-100)
enum {
    O_READ = 0,
    O_WRITE = 1,
    O_BOTH = 2,
    O_CREATE = 0100,
    O_NO_TERMINAL = 0400,
    O_TRUNCATE = 01000,
    O_NO_WAIT = 04000,
    O_CLOSE = 02000000
};
enum { SIGNAL_KILL = 9, SIGNAL_CHILD = 17, SIGNALS = 64 };

#endif
