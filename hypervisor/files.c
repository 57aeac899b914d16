/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* files.c: whole files in and out. */
#include "hypervisor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_all(struct file *f, int fd, const char *path, uint64_t max, char err[ERR_BYTES]) {
    size_t room = 0;
    for (;;) {
        if (f->len == room) {
            room = room ? room * 2 : 1 << 20;
            uint8_t *p = realloc(f->data, room);
            if (!p) {
                snprintf(err, ERR_BYTES, "%s: out of memory", path);
                return false;
            }
            f->data = p;
        }
        ssize_t n = read(fd, f->data + f->len, room - f->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            snprintf(err, ERR_BYTES, "%s: %s", path, strerror(errno));
            return false;
        }
        if (n == 0)
            return true;
        f->len += (size_t)n;
        if (f->len > max) {
            snprintf(err, ERR_BYTES, "%s: larger than the guest's memory", path);
            return false;
        }
    }
}

bool file_read(struct file *f, const char *path, uint64_t max, char err[ERR_BYTES]) {
    *f = (struct file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(err, ERR_BYTES, "%s: %s", path, strerror(errno));
        return false;
    }
    bool ok = read_all(f, fd, path, max, err);
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
    if (!ok)
        snprintf(err, ERR_BYTES, "%s: %s", path, strerror(errno));
    return ok;
}

void file_free(struct file *f) {
    free(f->data);
    *f = (struct file){0};
}
