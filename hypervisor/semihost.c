/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* semihost.c: what the guest's semihosting calls get from this host: a console, clocks, an exit status, and files if
 * they are allowed. Numbers and text come from the engine, and are trusted no further than a guest. See
 * graft/semihost.h. */
#include "hypervisor/semihost.h"

#include "graft/semihost.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FAILED (~UINT64_C(0))
#define PAUSE_NS 1000000 /* until a console that nobody reads or types at is looked at again */
#define MODES 12u
#define MAX_NAME 2048

static const uint8_t features[SEMIHOST_FEATURE_BYTES] = {'S', 'H', 'F', 'B',
                                                         SEMIHOST_EXT_EXIT_EXTENDED | SEMIHOST_EXT_STDOUT_STDERR};

/* Of what is open. Whoever has it may wait for a disk; the device lock is only taken for the console, within it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What the vCPU asks for, each number read once. */
struct request {
    struct machine *m;
    struct abi_vcpu *abi;
    uint64_t op, arg[3];
    uint64_t error; /* out */
};

static uint64_t fail(struct request *r, int error) {
    r->error = r->m->semihost.error = (uint32_t)error;
    return FAILED;
}
static uint64_t try_again(struct request *r) {
    r->error = SEMIHOST_AGAIN;
    return 0;
}

static struct semihost_file *file_of(struct request *r) {
    struct semihost *s = &r->m->semihost;
    uint64_t n = r->arg[0] - 1;
    return n < SEMIHOST_FILES && s->file[n].kind != SEMIHOST_CLOSED ? &s->file[n] : NULL;
}

/* A name of the engine's, of len bytes at text; false: it is none. */
static bool take_name(const char *text, uint64_t len, char name[MAX_NAME]) {
    if (len >= MAX_NAME)
        return false;
    memcpy(name, text, len);
    name[len] = 0;
    return strlen(name) == len;
}

/* --- files ------------------------------------------------------------------------------------ */
/* arg0 mode, arg1 bytes of the name. ":tt" is the console: modes from 0 read, from 4 and 8 write. */
static struct semihost_file *new_file(struct request *r, uint64_t *handle) {
    struct semihost *s = &r->m->semihost;
    for (*handle = 1; *handle <= SEMIHOST_FILES; ++*handle)
        if (s->file[*handle - 1].kind == SEMIHOST_CLOSED)
            return &s->file[*handle - 1];
    return NULL;
}

static uint64_t handle_open(struct request *r) {
    uint64_t mode = r->arg[0], handle;
    char name[MAX_NAME];
    if (mode >= MODES || !take_name(r->abi->text, r->arg[1], name))
        return fail(r, EINVAL);
    struct semihost_file *f = new_file(r, &handle), new = {.kind = SEMIHOST_FILE};
    if (!f)
        return fail(r, EMFILE);
    if (!strcmp(name, ":tt"))
        new.kind = mode < 4 ? SEMIHOST_INPUT : SEMIHOST_OUTPUT;
    else if (!strcmp(name, ":semihosting-features") && mode < 4)
        new.kind = SEMIHOST_FEATURES;
    else if ((new.fd = semihost_file_open(name, (unsigned)mode)) < 0)
        return fail(r, -new.fd);
    *f = new;
    return handle;
}

static uint64_t console_write(struct request *r, uint64_t len) {
    if (len > sizeof(r->abi->text))
        return fail(r, EINVAL);
    char text[sizeof(r->abi->text)]; /* the engine could change what is looked at twice */
    memcpy(text, r->abi->text, len);
    size_t taken = 0;
    machine_lock(r->m);
    machine_drain_posted(r->m);
    if (!machine_has_posted(r->m)) { /* what the guest wrote to the serial port comes first */
        taken = chardev_write(r->m->serial, text, len);
        chardev_flush(r->m->serial);
    }
    machine_unlock(r->m);
    return taken || !len ? taken : try_again(r);
}

/* At least one byte; 0 if no more will ever come. */
static uint64_t console_read(struct request *r, uint64_t len) {
    if (len > sizeof(r->abi->text))
        return fail(r, EINVAL);
    machine_lock(r->m);
    size_t got = chardev_read(r->m->serial, r->abi->text, len);
    bool ended = !got && chardev_ended(r->m->serial);
    machine_unlock(r->m);
    return got || !len || ended ? got : try_again(r);
}

/* The specification has no result for the end of the console: this one is no byte. */
static uint64_t read_char(struct request *r) {
    uint64_t got = console_read(r, 1);
    return got == 1 ? (uint8_t)r->abi->text[0] : r->error ? got : FAILED;
}

/* What a system call for a file gave. */
static uint64_t outcome(struct request *r, int64_t result) { return result < 0 ? fail(r, errno) : (uint64_t)result; }

static uint64_t handle_write(struct request *r) {
    const struct semihost_file *f = file_of(r);
    if (f && f->kind == SEMIHOST_FILE && r->arg[1] <= sizeof(r->abi->text))
        return outcome(r, write(f->fd, r->abi->text, r->arg[1]));
    return f && f->kind == SEMIHOST_OUTPUT ? console_write(r, r->arg[1]) : fail(r, EBADF);
}

static uint64_t handle_read(struct request *r) {
    struct semihost_file *f = file_of(r);
    if (f && f->kind == SEMIHOST_INPUT)
        return console_read(r, r->arg[1]);
    if (f && f->kind == SEMIHOST_FILE && r->arg[1] <= sizeof(r->abi->text))
        return outcome(r, read(f->fd, r->abi->text, r->arg[1]));
    if (!f || f->kind != SEMIHOST_FEATURES)
        return fail(r, EBADF);
    uint64_t left = sizeof(features) - f->at, n = r->arg[1] < left ? r->arg[1] : left;
    memcpy(r->abi->text, features + f->at, n);
    f->at += (uint32_t)n;
    return n;
}

static uint64_t handle_seek(struct request *r) {
    struct semihost_file *f = file_of(r);
    if (f && f->kind == SEMIHOST_FILE)
        return outcome(r, lseek(f->fd, (off_t)r->arg[1], SEEK_SET)) == FAILED ? FAILED : 0;
    if (!f || f->kind != SEMIHOST_FEATURES || r->arg[1] > sizeof(features))
        return fail(r, f ? EINVAL : EBADF);
    f->at = (uint32_t)r->arg[1];
    return 0;
}

static void close_file(struct semihost_file *f) {
    if (f->kind == SEMIHOST_FILE)
        close(f->fd);
    f->kind = SEMIHOST_CLOSED;
}

void semihost_close(struct machine *m) {
    for (unsigned i = 0; i < SEMIHOST_FILES; i++)
        close_file(&m->semihost.file[i]);
}

static uint64_t handle_close(struct request *r) {
    struct semihost_file *f = file_of(r);
    if (!f)
        return fail(r, EBADF);
    close_file(f);
    return 0;
}

static uint64_t handle_length(struct request *r) {
    const struct semihost_file *f = file_of(r);
    if (!f)
        return fail(r, EBADF);
    struct stat st;
    if (f->kind == SEMIHOST_FILE)
        return fstat(f->fd, &st) ? fail(r, errno) : (uint64_t)st.st_size;
    return f->kind == SEMIHOST_FEATURES ? sizeof(features) : 0;
}

static uint64_t handle_is_tty(struct request *r) {
    const struct semihost_file *f = file_of(r);
    return f ? f->kind == SEMIHOST_INPUT || f->kind == SEMIHOST_OUTPUT : fail(r, EBADF);
}

/* One name, or two, one behind the other: of arg0 and arg1 bytes. */
static uint64_t handle_names(struct request *r) {
    char name[2][MAX_NAME];
    bool two = r->op == SYS_RENAME;
    uint64_t first = r->arg[0], second = two ? r->arg[1] : 0, room = sizeof(r->abi->text);
    if (first > room || second > room - first || !take_name(r->abi->text, first, name[0]) ||
        !take_name(r->abi->text + first, second, name[1]))
        return fail(r, EINVAL);
    int result = two ? semihost_file_rename(name[0], name[1]) : semihost_file_remove(name[0]);
    return result < 0 ? fail(r, -result) : 0;
}

/* arg0: its number. The name is one in the folder, if there is one. */
static uint64_t temporary_name(struct request *r) {
    bool readonly;
    if (r->arg[0] > 255 || semihost_folder(&readonly) < 0)
        return fail(r, r->arg[0] > 255 ? EINVAL : EACCES);
    return (uint64_t)snprintf(r->abi->text, sizeof(r->abi->text), "graft-%02x.tmp", (unsigned)r->arg[0]);
}

/* --- the rest --------------------------------------------------------------------------------- */
/* As QEMU: the kernel's file and what --append says. */
static uint64_t command_line(struct request *r) {
    const struct options *o = r->m->options;
    char text[sizeof(r->abi->text)];
    int len = snprintf(text, sizeof(text), "%s%s%s", o->kernel ? o->kernel : "", o->append ? " " : "",
                       o->append ? o->append : "");
    if (len < 0 || (size_t)len >= sizeof(text))
        return fail(r, E2BIG);
    memcpy(r->abi->text, text, (size_t)len + 1);
    return (uint64_t)len;
}

static uint64_t elapsed_ns(const struct request *r) {
    return (uint64_t)((double)(run_tsc() - r->m->boot->tsc_base) * 1e9 / (double)r->m->tsc_hz);
}

static uint64_t answer(struct request *r) {
    switch (r->op) {
    case SYS_OPEN: return handle_open(r);
    case SYS_CLOSE: return handle_close(r);
    case SYS_WRITEC: return console_write(r, r->arg[1]);
    case SYS_WRITE: return handle_write(r);
    case SYS_READ: return handle_read(r);
    case SYS_READC: return read_char(r);
    case SYS_ISTTY: return handle_is_tty(r);
    case SYS_SEEK: return handle_seek(r);
    case SYS_FLEN: return handle_length(r);
    case SYS_CLOCK: return elapsed_ns(r) / 10000000;
    case SYS_TIME: return (uint64_t)time(NULL);
    case SYS_ERRNO: return r->m->semihost.error;
    case SYS_GET_CMDLINE: return command_line(r);
    case SYS_ELAPSED: return elapsed_ns(r);
    case SYS_TICKFREQ: return 1000000000;
    case SYS_REMOVE:
    case SYS_RENAME: return handle_names(r);
    case SYS_TMPNAM: return temporary_name(r);
    case SYS_SYSTEM: return fail(r, EACCES);
    default: return fail(r, ENOSYS);
    }
}

bool semihost_call(struct machine *m, struct abi_vcpu *abi) {
    struct request r = {.m = m, .abi = abi, .op = run_arg(abi, 0)};
    for (unsigned i = 0; i < ARRAY_LEN(r.arg); i++)
        r.arg[i] = run_arg(abi, i + 1);
    if (m->options->semihosting && (r.op == SYS_EXIT || r.op == SYS_EXIT_EXTENDED)) {
        machine_exit(m, r.arg[0] == ADP_STOPPED_APPLICATION_EXIT ? (uint8_t)r.arg[1] : 1);
        return false;
    }
    pthread_mutex_lock(&lock);
    abi->ret[0] = m->options->semihosting ? answer(&r) : fail(&r, ENOSYS);
    pthread_mutex_unlock(&lock);
    if (r.error == SEMIHOST_AGAIN)
        run_pause(m, abi, PAUSE_NS);
    abi->ret[1] = r.error;
    return true;
}
