/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * disk.c: the files behind the guest's disks. All are opened once, before there is a machine, and stay open when it resets.
 *
 * They are locked as QEMU does it, so that each keeps the other away: a read lock on byte 100 + n of the file means that its
 * holder has permission n, one on byte 200 + n that it does not share permission n. Whoever opens an image takes its locks
 * first and looks for contrary ones after, so of two at once at least one notices.
 */
#include "hypervisor/loader.h"
#include "hypervisor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_HELD 100
#define LOCK_NOT_SHARED 200
enum permission { PERMISSION_READ, PERMISSION_WRITE, PERMISSION_RESIZE = 3 };
#define FOOTER_BYTES 512

struct disk {
    const char *path;
    bool readonly;
    int fd;
    dev_t device;
    ino_t inode;
};
static struct disk disks[OPTIONS_MAX_DRIVES];
static unsigned disk_count;

static bool wrong(char err[ERR_BYTES], const char *path, const char *why) {
    snprintf(err, ERR_BYTES, "%.100s%s: %.140s", path, strlen(path) > 100 ? "..." : "", why);
    return false;
}

/* --- the format --------------------------------------------------------------------------------------------- */
/* The formats that have their mark at the end, as a raw image would look otherwise. */
static const char *footer_of(int fd, off_t size) {
    uint8_t footer[FOOTER_BYTES];
    if (size < FOOTER_BYTES || pread(fd, footer, FOOTER_BYTES, size - FOOTER_BYTES) != FOOTER_BYTES)
        return NULL;
    if (!memcmp(footer, "conectix", 8))
        return "a VHD disk";
    return memcmp(footer, "koly", 4) ? NULL : "a DMG disk";
}

static bool is_raw(int fd, const char *path, char err[ERR_BYTES]) {
    uint8_t head[4096];
    struct stat st;
    ssize_t n = pread(fd, head, sizeof(head), 0);
    if (n < 0 || fstat(fd, &st))
        return wrong(err, path, strerror(errno));
    const struct loader_kind *k = loader_kind(head, (size_t)n);
    const char *what = k && k->use == LOADER_DISK_FILE ? k->what : footer_of(fd, S_ISREG(st.st_mode) ? st.st_size : 0);
    char why[ERR_BYTES];
    if (!what)
        return true;
    snprintf(why, sizeof(why), "%s: only raw images are supported (qemu-img convert -O raw makes one)", what);
    return wrong(err, path, why);
}

/* --- locks ---------------------------------------------------------------------------------------------------- */
static struct flock at_byte(short type, off_t byte) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

static bool lock(int fd, off_t byte) {
    struct flock l = at_byte(F_RDLCK, byte);
    return !fcntl(fd, F_OFD_SETLK, &l);
}

static bool is_locked(int fd, off_t byte) {
    struct flock l = at_byte(F_WRLCK, byte);
    return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

/* Everyone reads; nobody but us may write or change the size, whether we do or not. A file system without locks has none. */
static bool take_locks(int fd, const char *path, bool readonly, char err[ERR_BYTES]) {
    bool may_write = !readonly;
    if (!lock(fd, LOCK_HELD + PERMISSION_READ) || (may_write && !lock(fd, LOCK_HELD + PERMISSION_WRITE)) ||
        !lock(fd, LOCK_NOT_SHARED + PERMISSION_WRITE) || !lock(fd, LOCK_NOT_SHARED + PERMISSION_RESIZE))
        return true;
    if (is_locked(fd, LOCK_HELD + PERMISSION_WRITE) || is_locked(fd, LOCK_HELD + PERMISSION_RESIZE))
        return wrong(err, path, "another run, of Graft or QEMU, writes to this image");
    if (is_locked(fd, LOCK_NOT_SHARED + PERMISSION_READ) ||
        (may_write && is_locked(fd, LOCK_NOT_SHARED + PERMISSION_WRITE)))
        return wrong(err, path,
                     "another run, of Graft or QEMU, uses this image; only with ,ro for both can they share it");
    return true;
}

bool disk_claim(int fd, const char *path, bool readonly, char err[ERR_BYTES]) {
    return is_raw(fd, path, err) && take_locks(fd, path, readonly, err);
}

/* --- opening -------------------------------------------------------------------------------------------------- */
static const struct disk *same_disk(const struct disk *d) {
    for (const struct disk *other = disks; other < disks + disk_count; other++)
        if (other->device == d->device && other->inode == d->inode)
            return other;
    return NULL;
}

static bool judge(struct disk *d, char err[ERR_BYTES]) {
    struct stat st;
    char why[ERR_BYTES];
    if (fstat(d->fd, &st))
        return wrong(err, d->path, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return wrong(err, d->path, S_ISDIR(st.st_mode) ? strerror(EISDIR) : "not a file or block device");
    d->device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    d->inode = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
    const struct disk *other = same_disk(d);
    if (other && !(other->readonly && d->readonly)) {
        snprintf(why, sizeof(why), "this disk is given twice (as %.80s, too); only with ,ro for both", other->path);
        return wrong(err, d->path, why);
    }
    return other || disk_claim(d->fd, d->path, d->readonly, err);
}

bool disks_add(const char *path, bool readonly, char err[ERR_BYTES]) {
    struct disk *d = &disks[disk_count];
    if (disk_count == ARRAY_LEN(disks))
        return wrong(err, path, "too many disks");
    /* O_NONBLOCK: a FIFO is no disk, but is known as one only when it is open. */
    *d = (struct disk){path, readonly, open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK), 0, 0};
    if (d->fd < 0) {
        bool writing = !readonly && (errno == EACCES || errno == EROFS) && !access(path, R_OK);
        return wrong(err, path, writing ? "may not be written to (,ro only reads it)" : strerror(errno));
    }
    if (!judge(d, err)) {
        close(d->fd);
        return false;
    }
    fcntl(d->fd, F_SETFL, fcntl(d->fd, F_GETFL) & ~O_NONBLOCK);
    disk_count++;
    return true;
}

bool disks_open(const struct options *o, char err[ERR_BYTES]) {
    for (unsigned i = 0; i < o->drives; i++)
        if (!disks_add(o->drive[i].path, o->drive[i].readonly, err))
            return false;
    return true;
}

void disks_close(void) {
    while (disk_count)
        close(disks[--disk_count].fd);
}

bool disks_have(int fd) {
    struct stat st;
    struct disk d;
    if (fstat(fd, &st))
        return false;
    d.device = st.st_dev;
    d.inode = st.st_ino;
    return same_disk(&d) != NULL;
}

int disk_open(const char *path, bool readonly, char err[ERR_BYTES]) {
    for (const struct disk *d = disks; d < disks + disk_count; d++) {
        if (strcmp(d->path, path) || d->readonly != readonly)
            continue;
        int fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            wrong(err, path, strerror(errno));
        return fd;
    }
    wrong(err, path, "not opened");
    return -1;
}
