/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * disk_server.c: qemu-nbd, for images that are not raw and for those whose changes are thrown away. What such an image
 * says, and what that leads to, is read in that process alone, which can write to nothing but the image
 * (sandbox.c). */
#include "devices/nbd.h"
#include "hypervisor/helper.h"
#include "hypervisor/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The child. The name is a path from the root on, as others may be taken for a protocol. */
static _Noreturn void run_server(const char *program, const struct drive *d, const char *format, const char *path,
                                 bool sandbox) {
    char pid[16], how[32];
    const char *args[12] = {program, "--discard=unmap"};
    unsigned n = 2;
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    snprintf(how, sizeof(how), "--format=%s", format);
    setenv("LISTEN_PID", pid, 1); /* it finds HELPER_LISTEN_FD by these, as by systemd */
    setenv("LISTEN_FDS", "1", 1);
    /* A request's memory would be mapped and unmapped each time from 128 KiB on, which takes ten times as long as the
     * request itself. */
    setenv("MALLOC_MMAP_THRESHOLD_", "33554432", 0);
    setenv("MALLOC_TRIM_THRESHOLD_", "134217728", 0);
    args[n++] = how;
    args[n++] = d->snapshot ? "--snapshot" : "--cache=writeback";
    args[n++] = "--shared=8";
    if (d->readonly)
        args[n++] = "--read-only";
    args[n++] = path;
    _Static_assert(NBD_CONNECTIONS == 8, "--shared");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sandbox)
        sandbox_enter_disk(path, !d->readonly && !d->snapshot, d->snapshot && !d->readonly);
    execv(program, (char *const *)(uintptr_t)args);
    dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
    _exit(127);
}

static void close_all(const int *fd, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (fd[i] >= 0)
            close(fd[i]);
}

struct nbd *disk_server_start(const struct drive *d, const char *format, bool sandbox, char why[ERR_BYTES]) {
    static const char *const paths[] = {"/usr/bin/qemu-nbd", "/usr/local/bin/qemu-nbd", NULL};
    const char *program = helper_find("GRAFT_QEMU_NBD", paths);
    char path[PATH_MAX];
    int listener, log, connection[NBD_CONNECTIONS] = {[0 ... NBD_CONNECTIONS - 1] = -1};
    if (!program) {
        snprintf(why, ERR_BYTES, "qemu-nbd is not installed (Debian: package qemu-utils)");
        return NULL;
    }
    bool ok = realpath(d->path, path) && helper_sockets(&listener, connection, NBD_CONNECTIONS);
    pid_t pid = ok ? helper_fork(listener, &log) : -1;
    if (pid == 0)
        run_server(program, d, format, path, sandbox);
    if (pid < 0) {
        snprintf(why, ERR_BYTES, "qemu-nbd: %s", strerror(errno));
        close_all(connection, NBD_CONNECTIONS);
        return NULL;
    }
    struct nbd *n = nbd_open(connection, d->path, why);
    if (n)
        close(log);
    else
        helper_failed(pid, log, why);
    return n;
}
