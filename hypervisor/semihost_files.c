/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * semihost_files.c: the folder in which the guest's semihosting calls may open files (--semihosting-files). The kernel
 * keeps them in there (openat2(), RESOLVE_BENEATH), whatever names and links say, and so does Landlock in the sandbox.
 * All functions give -errno if they fail.
 */
#include "hypervisor/semihost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_BYTES 2048

static struct {
    int fd;
    bool readonly;
} folder = {.fd = -1};

static int beneath(const char *name, int flags) {
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    how.mode = flags & O_CREAT ? 0666 : 0;
    int fd = (int)syscall(SYS_openat2, folder.fd, name, &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

bool semihost_folder_open(const struct options *o, char err[ERR_BYTES]) {
    const char *dir = o->semihosting_files;
    if (!dir)
        return true;
    folder.readonly = o->semihosting_readonly;
    folder.fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = folder.fd < 0 ? -errno : beneath(".", O_PATH);
    if (fd >= 0)
        return close(fd), true;
    snprintf(err, ERR_BYTES, "%s: %s", dir, strerror(-fd));
    return false;
}

void semihost_folder_close(void) {
    if (folder.fd >= 0)
        close(folder.fd);
    folder.fd = -1;
}

int semihost_folder(bool *readonly) {
    *readonly = folder.readonly;
    return folder.fd;
}

/* Modes as of fopen(): r, r+, w, w+, a, a+, each followed by the same with b. What is no file is opened without waiting
 * for it, and closed again. */
int semihost_file_open(const char *name, unsigned mode) {
    static const int flags[] = {O_RDONLY,
                                O_RDWR,
                                O_WRONLY | O_CREAT | O_TRUNC,
                                O_RDWR | O_CREAT | O_TRUNC,
                                O_WRONLY | O_CREAT | O_APPEND,
                                O_RDWR | O_CREAT | O_APPEND};
    struct stat st;
    if (folder.fd < 0)
        return -EACCES;
    if (mode >= 2 && folder.readonly)
        return -EROFS;
    int fd = beneath(name, flags[mode / 2] | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fd;
    int error = fstat(fd, &st) ? errno : S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? EISDIR : EACCES;
    if (error)
        close(fd);
    return error ? -error : fd;
}

/* The folder that a name is in, and the name there, which links do not matter to. */
static int parent_of(const char *name, const char **last) {
    char path[NAME_BYTES + 2];
    const char *slash = strrchr(name, '/');
    *last = slash ? slash + 1 : name;
    if (folder.fd < 0)
        return -EACCES;
    if (folder.readonly)
        return -EROFS;
    if (!**last || !strcmp(*last, ".") || !strcmp(*last, ".."))
        return -EINVAL;
    int len = snprintf(path, sizeof(path), "%.*s", slash ? (int)(slash - name) + 1 : 1, slash ? name : ".");
    return len < (int)sizeof(path) ? beneath(path, O_PATH | O_DIRECTORY) : -ENAMETOOLONG;
}

int semihost_file_remove(const char *name) {
    const char *last;
    int fd = parent_of(name, &last);
    if (fd < 0)
        return fd;
    int error = unlinkat(fd, last, 0) ? errno : 0;
    close(fd);
    return -error;
}

int semihost_file_rename(const char *from, const char *to) {
    const char *last[2];
    int fd[2] = {parent_of(from, &last[0]), parent_of(to, &last[1])};
    int error = fd[0] < 0 ? -fd[0] : fd[1] < 0 ? -fd[1] : renameat(fd[0], last[0], fd[1], last[1]) ? errno : 0;
    for (unsigned i = 0; i < 2; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    return -error;
}
