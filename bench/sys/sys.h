/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* sys.h - what the system call benchmarks share. */

#ifndef SYS_H
#define SYS_H

#include "bench.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static inline long checked(long result, const char *what) {
    if (result < 0)
        bench_fail(what);
    return result;
}

/* Waits for a child that has to end with this status. */
static inline void reap(pid_t child, int wanted) {
    int status;
    checked(waitpid(child, &status, 0), "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted)
        bench_fail("status of the child");
}

#endif
