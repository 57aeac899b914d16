/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* getpid - the cheapest system call, and clock_gettime as a system call. */

#include "sys.h"

int main(void) {
    pid_t self = getpid();
    struct timespec t;
    uint64_t sum = 0;
    bench_begin();
    for (int i = 0; i < 400000; i++)
        sum += syscall(SYS_getpid) == self;
    for (int i = 0; i < 100000; i++)
        sum += syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t) == 0;
    bench_end("getpid", sum);
    return 0;
}
