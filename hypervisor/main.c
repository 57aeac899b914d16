/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* main.c: the program graft. Exit status: 0 fine, 1 the user's files or host forbid it, 2 usage, 3 Graft failed. */
#include "hypervisor/boot.h"
#include "hypervisor/monitor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_OK, STATUS_FAILED, STATUS_USAGE, STATUS_BROKEN };

static int complain(const char *err) {
    fprintf(stderr, "graft: %s\n", err);
    return STATUS_FAILED;
}

/* The terminal must not stay raw, whatever happens. The handler is reset when it runs: raising again is fatal. */
static void on_fatal(int number) {
    chardev_restore();
    raise(number);
}

/* Makes system calls of a vCPU's thread return. */
static void on_kick(int number) {}

/* Signals that stop a machine go to the main thread (supervise.c). */
static void set_signals(void) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    struct sigaction kick = {.sa_handler = on_kick},
                     crash = {.sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_NODEFER};
    for (unsigned i = 0; i < ARRAY_LEN(fatal); i++)
        sigaction(fatal[i], &crash, NULL);
    sigaction(SIGUSR1, &kick, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* One life of the machine, from power on to power off or reset. state: how the last one ended, and how this one did. */
static int run_once(const struct options *o, const struct boot_files *files, struct chardev *serial,
                    struct chardev *console, enum machine_state *state) {
    char err[ERR_BYTES];
    struct machine *m = machine_create(o, files, serial, console, err);
    int status = STATUS_OK;
    bool first = *state != MACHINE_RESET;
    *state = MACHINE_BROKEN;
    if (!m)
        return complain(err);
    if (first)
        machine_announce(m);
    supervise_machine(m);
    *state = machine_run(m);
    supervise_machine(NULL);
    if (*state == MACHINE_BROKEN)
        status = STATUS_BROKEN;
    if (o->profile && *state != MACHINE_RESET && profile_write(m, o->profile, err))
        status = complain(err);
    if (o->stats && *state != MACHINE_RESET && stats_write(m, o->stats, err))
        status = complain(err);
    machine_destroy(m);
    return status;
}

struct run {
    const struct options *options;
    struct boot_files files;
};

static int run_machine(void *arg) {
    const struct run *run = arg;
    const struct options *o = run->options;
    char err[ERR_BYTES];
    struct chardev *serial, *console = NULL;
    enum machine_state state = MACHINE_BROKEN;
    int status;
    if (o->log_file && !log_open(o->log_file, err))
        return complain(err);
    if (!(serial = chardev_open("serial", o->serial, err)) ||
        (o->console && !(console = chardev_open("console", o->console, err)))) {
        if (serial)
            chardev_close(serial);
        return complain(err);
    }
    do {
        status = run_once(o, &run->files, serial, console, &state);
    } while (state == MACHINE_RESET);
    chardev_close(serial);
    if (console)
        chardev_close(console);
    log_finish();
    return status;
}

/* How a run ends that the user has ended, by a signal or by a key (0). */
static int stopped_status(int signal) { return STATUS_OK; }

static int run_main(struct options *o) {
    char err[ERR_BYTES];
    if (o->dump_dtb)
        return boot_dump_dtb(o, err) ? STATUS_OK : complain(err);
    set_signals();
    atexit(chardev_restore);
    struct run run = {.options = o};
    int status = STATUS_FAILED;
    if (!boot_read(&run.files, o, err) || !disks_open(o, err))
        complain(err);
    else
        status = supervise(run_machine, &run, stopped_status);
    boot_free(&run.files);
    disks_close();
    return status < 0 ? STATUS_BROKEN : status;
}

/* Descriptors 0 to 2 that are closed, as after >&-, would be given to the next file that is opened: a log, a disk. */
static void fill_standard(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            _exit(STATUS_FAILED);
}

int main(int argc, char **argv) {
    struct options o;
    int status = STATUS_OK;
    fill_standard();
    switch (options_parse(&o, argc, argv)) {
    case COMMAND_RUN: status = run_main(&o); break;
    case COMMAND_INFO: status = info_main(&o); break;
    case COMMAND_BAD: status = STATUS_USAGE; break;
    case COMMAND_DONE: break;
    }
    options_free(&o);
    return status;
}
