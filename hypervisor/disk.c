/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * disk.c: the files behind the guest's disks. All are opened once, before there is a machine, and stay open when it
 * resets. Raw images are read and written as they are; for others, and for snapshots, there is a process
 * (disk_server.c), which locks them.
 *
 * They are locked as QEMU does it, so that each keeps the other away: a read lock on byte 100 + n of the file means
 * that its holder has permission n, one on byte 200 + n that it does not share permission n. Whoever opens an image
 * takes its locks first and looks for contrary ones after, so of two at once at least one notices.
 */
#include "devices/nbd.h"
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
    const struct drive *drive;
    bool guessed; /* it was found to be raw */
    const char *format;
    int fd; /* -1: the server alone has it */
    struct nbd *server;
    dev_t device;
    ino_t inode;
};
static struct disk disks[OPTIONS_MAX_DRIVES];
static unsigned disk_count;

static bool wrong(char err[ERR_BYTES], const char *path, const char *why) {
    snprintf(err, ERR_BYTES, "%.100s%s: %.140s", path, strlen(path) > 100 ? "..." : "", why);
    return false;
}

/* --- the format ------------------------------------------------------------------------------- */
/* The formats that have their mark at the end, as a raw image would look otherwise. */
static const char *footer_of(int fd, off_t size) {
    uint8_t footer[FOOTER_BYTES];
    if (size < FOOTER_BYTES || pread(fd, footer, FOOTER_BYTES, size - FOOTER_BYTES) != FOOTER_BYTES)
        return NULL;
    if (!memcmp(footer, "conectix", 8))
        return "a VHD disk";
    return memcmp(footer, "koly", 4) ? NULL : "a DMG disk";
}

/* The format that is not raw; NULL: it is raw. False: nobody can tell. */
static bool look_at_format(int fd, const char *path, const char **what, char err[ERR_BYTES]) {
    uint8_t head[4096];
    struct stat st;
    ssize_t n = pread(fd, head, sizeof(head), 0);
    if (n < 0 || fstat(fd, &st))
        return wrong(err, path, strerror(errno));
    const struct loader_kind *k = loader_kind(head, (size_t)n);
    *what = k && k->use == LOADER_DISK_FILE ? k->what : footer_of(fd, S_ISREG(st.st_mode) ? st.st_size : 0);
    return true;
}

static bool refuse(const char *path, const char *what, const char *only, char err[ERR_BYTES]) {
    char why[ERR_BYTES];
    snprintf(why, sizeof(why), "%s: only %s supported (qemu-img convert -O raw makes one)", what, only);
    return wrong(err, path, why);
}

static bool is_raw(int fd, const char *path, char err[ERR_BYTES]) {
    const char *what;
    return look_at_format(fd, path, &what, err) && (!what || refuse(path, what, "a raw image is", err));
}

/* What a guest writes to a raw disk can make it look like qcow2, which can have any file of this host behind it. */
static bool find_format(struct disk *d, enum drive_format *format, char err[ERR_BYTES]) {
    const char *what, *path = d->drive->path;
    *format = d->drive->format;
    if (*format != DRIVE_FORMAT_FOUND)
        return true;
    if (!look_at_format(d->fd, path, &what, err))
        return false;
    *format = what ? DRIVE_QCOW2 : DRIVE_RAW;
    d->guessed = !what;
    if (what && strcmp(what, "a qcow2 disk"))
        return refuse(path, what, "raw and qcow2 images are", err);
    if (what)
        log_printf("graft: %s looks like a qcow2 disk, and is taken for one. If that is right, say so: format=qcow2\n",
                   path);
    return true;
}

/* --- locks ------------------------------------------------------------------------------------ */
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

/* Everyone reads; nobody but us may write or change the size, whether we do or not. A file system without locks has
 * none. */
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

/* --- opening ---------------------------------------------------------------------------------- */
static bool is_shared(const struct drive *d) { return d->readonly || d->snapshot; }

static const struct disk *same_disk(const struct disk *d) {
    for (const struct disk *other = disks; other < disks + disk_count; other++)
        if (other->device == d->device && other->inode == d->inode)
            return other;
    return NULL;
}

static bool judge(struct disk *d, char err[ERR_BYTES]) {
    struct stat st;
    char why[ERR_BYTES];
    const char *path = d->drive->path;
    if (fstat(d->fd, &st))
        return wrong(err, path, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return wrong(err, path, S_ISDIR(st.st_mode) ? strerror(EISDIR) : "not a file or block device");
    d->device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    d->inode = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
    const struct disk *other = same_disk(d);
    if (!other || (is_shared(other->drive) && is_shared(d->drive)))
        return true;
    snprintf(why, sizeof(why), "this disk is given twice (as %.80s, too); only with ,ro for both", other->drive->path);
    return wrong(err, path, why);
}

static bool serve(struct disk *d, bool sandbox, char err[ERR_BYTES]) {
    char why[ERR_BYTES];
    if (!is_shared(d->drive)) { /* else it is locked here, so that nobody writes to what is only read */
        close(d->fd);
        d->fd = -1;
    } else if (!take_locks(d->fd, d->drive->path, true, err)) {
        return false;
    }
    d->server = disk_server_start(d->drive, d->format, sandbox, why);
    return d->server || wrong(err, d->drive->path, why);
}

/* Raw, and as it is: a read-only snapshot is none. */
static bool use(struct disk *d, const struct disk *other, char err[ERR_BYTES]) {
    fcntl(d->fd, F_SETFL, fcntl(d->fd, F_GETFL) & ~O_NONBLOCK);
    return (other && other->fd >= 0) || take_locks(d->fd, d->drive->path, d->drive->readonly, err);
}

static bool prepare(struct disk *d, bool sandbox, char err[ERR_BYTES]) {
    enum drive_format format;
    if (!judge(d, err) || !find_format(d, &format, err))
        return false;
    d->format = format == DRIVE_QCOW2 ? "qcow2" : "raw";
    if (format == DRIVE_RAW && (d->drive->readonly || !d->drive->snapshot))
        return use(d, same_disk(d), err);
    return serve(d, sandbox, err);
}

static bool add(const struct drive *drive, bool sandbox, char err[ERR_BYTES]) {
    struct disk *d = &disks[disk_count];
    /* O_NONBLOCK: a FIFO is no disk, but is known as one only when it is open. */
    int mode = is_shared(drive) ? O_RDONLY : O_RDWR;
    *d = (struct disk){.drive = drive, .fd = open(drive->path, mode | O_CLOEXEC | O_NONBLOCK)};
    if (d->fd < 0) {
        bool writing = mode == O_RDWR && (errno == EACCES || errno == EROFS) && !access(drive->path, R_OK);
        return wrong(err, drive->path, writing ? "may not be written to (,ro only reads it)" : strerror(errno));
    }
    if (!prepare(d, sandbox, err)) {
        if (d->fd >= 0)
            close(d->fd);
        return false;
    }
    disk_count++;
    return true;
}

bool disks_open(const struct options *o, char err[ERR_BYTES]) {
    for (unsigned i = 0; i < o->drives; i++)
        if (!add(&o->drive[i], o->sandbox, err))
            return false;
    return true;
}

void disks_close(void) {
    while (disk_count) {
        struct disk *d = &disks[--disk_count];
        if (d->server)
            nbd_close(d->server);
        if (d->fd >= 0)
            close(d->fd);
    }
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

bool disks_are_served(void) {
    for (unsigned i = 0; i < disk_count; i++)
        if (disks[i].server)
            return true;
    return false;
}

const char *disks_format(unsigned n) { return disks[n].format; }

bool disk_open(const char *path, bool readonly, struct disk_source *s, char err[ERR_BYTES]) {
    for (const struct disk *d = disks; d < disks + disk_count; d++) {
        if (strcmp(d->drive->path, path) || d->drive->readonly != readonly)
            continue;
        *s = (struct disk_source){d->server ? -1 : fcntl(d->fd, F_DUPFD_CLOEXEC, 0), d->server, d->guessed};
        return d->server || s->fd >= 0 || wrong(err, path, strerror(errno));
    }
    return wrong(err, path, "not opened");
}
