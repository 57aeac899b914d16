/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * guest_linux.h: what the reference programs need of Linux, without libc, whatever processor they are for. Who includes
 * it has syscall6() and the numbers SYS_READ, SYS_WRITE, SYS_EXIT and SYS_MMAP.
 */
#ifndef INSN_GUEST_LINUX_H
#define INSN_GUEST_LINUX_H

static void fail(long code) {
    for (;;)
        syscall6(SYS_EXIT, code, 0, 0, 0, 0, 0);
}

static long read_all(void *p, long bytes) {
    long got = 0, n;
    while (got < bytes && (n = syscall6(SYS_READ, 0, (long)p + got, bytes - got, 0, 0, 0)) > 0)
        got += n;
    return got;
}

static void write_all(const void *p, long bytes) {
    for (long done = 0, n; done < bytes; done += n)
        if ((n = syscall6(SYS_WRITE, 1, (long)p + done, bytes - done, 0, 0, 0)) <= 0)
            fail(3);
}

/* The compiler may call these. */
void *memset(void *p, int c, unsigned long n) {
    for (volatile char *q = p; n--;)
        *q++ = (char)c;
    return p;
}

void *memcpy(void *to, const void *from, unsigned long n) {
    volatile char *t = to;
    for (const volatile char *f = from; n--;)
        *t++ = *f++;
    return to;
}

static void map(uint64_t at, long bytes) {
    if (syscall6(SYS_MMAP, (long)at, bytes, 7, 0x32 /* private, fixed, anonymous */, -1, 0) != (long)at)
        fail(2);
}

#endif
