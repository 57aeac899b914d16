/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * slow.c: to be preloaded: a disk that takes its time, and says on stderr when it begins to. SLOW_SYNC_MS: for each
 * fdatasync(). SLOW_IO_MS: for each read at an offset, and for the first write; the second takes half as long, and so
 * on. No read can be had without waiting.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void take_time(const char *name, const char *what, int divisor) {
    const char *ms = getenv(name);
    if (!ms)
        return;
    if (write(STDERR_FILENO, what, strlen(what)) < 0)
        abort();
    poll(NULL, 0, atoi(ms) / divisor);
}

int fdatasync(int fd) {
    take_time("SLOW_SYNC_MS", "slow: sync\n", 1);
    return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset) {
    take_time("SLOW_IO_MS", "slow: read\n", 1);
    return syscall(SYS_pread64, fd, buf, len, offset);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags) {
    if (getenv("SLOW_IO_MS")) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_preadv2, fd, iov, n, offset, 0, flags);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset) {
    take_time("SLOW_IO_MS", "slow: read\n", 1);
    return syscall(SYS_preadv, fd, iov, n, offset, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset) {
    static _Atomic int writes;
    take_time("SLOW_IO_MS", "slow: write\n", ++writes);
    return syscall(SYS_pwritev, fd, iov, n, offset, 0);
}
