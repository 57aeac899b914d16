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

static bool too_large(char err[ERR_BYTES], const char *path) {
    return wrong(err, path, "larger than the guest's memory");
}

static bool read_rest(struct file *f, int fd, const char *path, uint64_t max, char err[ERR_BYTES]) {
    const uint64_t size = size_of(fd, max);
    if (size > max || !read_some(f, fd, path, size < max ? size : 0, max + 1, err))
        return size > max ? too_large(err, path) : false;
    return f->len <= max || too_large(err, path);
}

/* The head first: a file that is the wrong one may be large. */
static bool read_head(struct file *f, int fd, const char *path, file_look *look, void *arg, char err[ERR_BYTES]) {
    return read_some(f, fd, path, 0, LOADER_HEAD, err) && (!look || look(f, path, arg, err));
}

static int open_to_read(const char *path, char err[ERR_BYTES]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        wrong(err, path, strerror(errno));
    return fd;
}

bool file_read(struct file *f, const char *path, uint64_t max, file_look *look, void *arg, char err[ERR_BYTES]) {
    *f = (struct file){0};
    int fd = open_to_read(path, err);
    if (fd < 0)
        return false;
    bool ok = (!look || read_head(f, fd, path, look, arg, err)) && read_rest(f, fd, path, max, err);
    close(fd);
    if (!ok)
        file_free(f);
    return ok;
}

/* --- what a machine starts with --------------------------------------------------------------- */
/* Is there more of it than the head, which can be read at any time? */
static bool is_regular(int fd, const struct file *head, uint64_t *size) {
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= (off_t)head->len)
        return false;
    *size = (uint64_t)st.st_size;
    return true;
}

static bool read_boot_file(struct boot_file *in, const char *path, uint64_t max, boot_file_keep *keep, file_look *look,
                           void *arg, char err[ERR_BYTES]) {
    if (!read_head(&in->file, in->fd, path, look, arg, err))
        return false;
    if (keep && keep(&in->file) && is_regular(in->fd, &in->file, &in->len))
        return in->len <= max || too_large(err, path);
    bool ok = read_rest(&in->file, in->fd, path, max, err);
    in->len = in->file.len;
    close(in->fd);
    in->fd = -1;
    return ok;
}

bool boot_file_read(struct boot_file *in, const char *path, uint64_t max, boot_file_keep *keep, file_look *look,
                    void *arg, char err[ERR_BYTES]) {
    *in = (struct boot_file){.fd = open_to_read(path, err)};
    if (in->fd < 0)
        return false;
    bool ok = read_boot_file(in, path, max, keep, look, arg, err);
    if (!ok)
        boot_file_free(in);
    return ok;
}

void boot_file_free(struct boot_file *in) {
    file_free(&in->file);
    if (in->fd >= 0)
        close(in->fd);
    *in = (struct boot_file){.fd = -1};
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
