/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* files.c: whole files in and out. */
#include "hypervisor/buffer.h"
#include "hypervisor/loader.h"
#include "hypervisor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Message about a file: of a long name only so much that the reason still fits. */
static bool wrong(char err[ERR_BYTES], const char *path, const char *why) {
    snprintf(err, ERR_BYTES, "%.180s%s: %s", path, strlen(path) > 180 ? "..." : "", why);
    return false;
}

/* What a file's size says before it is read; max if it says nothing. */
static uint64_t size_of(int fd, uint64_t max) {
    struct stat st;
    return !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size >= 0 ? (uint64_t)st.st_size : max;
}

/* Up to the end, or until there are `most` bytes. size: how many there are likely to be. */
static bool read_some(struct file *f, int fd, const char *path, uint64_t size, uint64_t most, char err[ERR_BYTES]) {
    size_t room = f->len;
    while (f->len < most) {
        if (f->len == room) {
            room = room < size && size < most ? size + 1 : room ? room * 2 : LOADER_HEAD; /* 1: to see the end */
            uint8_t *p = buffer_grow(f->data, f->len, room);
            if (!p)
                return wrong(err, path, "out of memory");
            f->data = p;
        }
        ssize_t n = read(fd, f->data + f->len, room - f->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wrong(err, path, strerror(errno));
        if (n == 0)
            return true;
        f->len += (size_t)n;
    }
    return true;
}

/* The head first: a file that is the wrong one may be large. */
static bool read_all(struct file *f, int fd, const char *path, uint64_t max, file_look *look, void *arg,
                     char err[ERR_BYTES]) {
    if (look && (!read_some(f, fd, path, 0, LOADER_HEAD, err) || !look(f, path, arg, err)))
        return false;
    const uint64_t size = size_of(fd, max);
    const bool fits = size <= max;
    if (fits && !read_some(f, fd, path, size < max ? size : 0, max + 1, err))
        return false;
    return (fits && f->len <= max) || wrong(err, path, "larger than the guest's memory");
}

bool file_read(struct file *f, const char *path, uint64_t max, file_look *look, void *arg, char err[ERR_BYTES]) {
    *f = (struct file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return wrong(err, path, strerror(errno));
    bool ok = read_all(f, fd, path, max, look, arg, err);
    close(fd);
    if (!ok)
        file_free(f);
    return ok;
}

bool file_write(const char *path, const void *data, size_t len, char err[ERR_BYTES]) {
    FILE *f = fopen(path, "we");
    bool ok = f && fwrite(data, 1, len, f) == len;
    if (f && fclose(f))
        ok = false;
    return ok || wrong(err, path, strerror(errno));
}

bool output_open(struct output *to, const char *path, char err[ERR_BYTES]) {
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    *to = (struct output){.path = path};
    if (fd < 0 || fstat(fd, &st))
        return wrong(err, path, strerror(errno));
    if (disks_have(fd)) {
        close(fd);
        return wrong(err, path, "this is a disk of the guest");
    }
    if ((S_ISREG(st.st_mode) && ftruncate(fd, 0)) || !(to->stream = fdopen(fd, "w"))) {
        wrong(err, path, strerror(errno));
        close(fd);
    }
    return to->stream != NULL;
}

bool output_close(struct output *to, char err[ERR_BYTES]) {
    bool failed = to->stream && ferror(to->stream);
    failed |= to->stream && fclose(to->stream);
    to->stream = NULL;
    return !failed || wrong(err, to->path, strerror(errno));
}

void file_free(struct file *f) {
    free(f->data);
    *f = (struct file){0};
}
