/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* main.c: the program graft, and how it ends. */
#include "hypervisor/boot.h"
#include "hypervisor/code_cache.h"
#include "hypervisor/control.h"
#include "hypervisor/exec.h"
#include "hypervisor/firmware.h"
#include "hypervisor/gdb.h"
#include "hypervisor/helper.h"
#include "hypervisor/monitor.h"
#include "hypervisor/sandbox.h"
#include "hypervisor/semihost.h"
#include "hypervisor/snapshot.h"
#include "hypervisor/vmcore.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* The exit status. Also in the manual page. */
enum {
    STATUS_OK,     /* the guest powered off, or the user ended it by a key */
    STATUS_FAILED, /* the user's files or the host do not allow it */
    STATUS_USAGE,
    STATUS_BROKEN,        /* Graft itself failed */
    STATUS_TIMEOUT = 124, /* as of timeout(1) */
    STATUS_SIGNAL = 128,  /* + its number */
    STATUS_PANICKED = 255,
};

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
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is one that cannot be written */
    /* In the background, the terminal is not read: a guest does not stop for that (chardev.c). */
    signal(SIGTTIN, SIG_IGN);
}

/* How a run ends that the user has ended: by a key (0), by a signal, or by --timeout, which comes as one. */
static bool timed;
static int stopped_status(int signal) {
    if (signal == SIGALRM && timed)
        return STATUS_TIMEOUT;
    return signal ? STATUS_SIGNAL + signal : STATUS_OK;
}

/* Until there is a machine a signal just ends the program; from then on they go to supervise(). */
static void on_early(int number) { _exit(stopped_status(number)); }

static void set_early(void) {
    static const int early[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM};
    struct sigaction end = {.sa_handler = on_early}, old;
    for (unsigned i = 0; i < ARRAY_LEN(early); i++)
        if (!sigaction(early[i], NULL, &old) && old.sa_handler != SIG_IGN)
            sigaction(early[i], &end, NULL);
}

static void set_timeout(double seconds) {
    struct itimerval t = {.it_value = {.tv_sec = (time_t)seconds}};
    t.it_value.tv_usec = (suseconds_t)((seconds - (double)t.it_value.tv_sec) * 1e6);
    if (!t.it_value.tv_sec && !t.it_value.tv_usec)
        t.it_value.tv_usec = 1;
    struct sigaction end = {.sa_handler = on_early};
    timed = true;
    sigaction(SIGALRM, &end, NULL); /* it may have been ignored */
    setitimer(ITIMER_REAL, &t, NULL);
}

/* All that a run has open from its beginning to its end, whatever the machine does. */
struct run {
    const struct options *options;
    struct boot_files files;
    struct snapshot *resume;
    struct snapshot_target save;
    struct output stats, profile;
    struct chardev *serial, *console;
    struct exec_plan plan; /* of graft exec */
    struct exec_kept kept;
    struct exec *exec;
};

static int state_status(const struct machine *m, enum machine_state state) {
    if (m->refused)
        return STATUS_FAILED;
    switch (state) {
    case MACHINE_BROKEN: return STATUS_BROKEN;
    case MACHINE_STOPPED: return stopped_status(supervise_signal());
    case MACHINE_PANICKED: return STATUS_PANICKED;
    default: return m->panic.found ? STATUS_PANICKED : m->exit_status;
    }
}

/* One life of the machine, from power on to power off or reset. again: this is not the first; and is there another? */
static int run_once(struct run *run, bool *again) {
    const struct options *o = run->options;
    char err[ERR_BYTES];
    struct machine *m = machine_create(o, &run->files, run->serial, run->console, err);
    bool first = !*again;
    *again = false;
    if (!m)
        return complain(err);
    if (first && (!o->command || o->verbose))
        machine_announce(m);
    if (first && o->pause)
        pause_hold(m);
    supervise_machine(m);
    enum machine_state state = machine_run(m);
    supervise_machine(NULL);
    code_cache_end(m);
    int status = state_status(m, state);
    bool back = state == MACHINE_RESET && m->goes_back;
    *again = back || (state == MACHINE_RESET && !o->no_reboot && (o->kernel || !o->resume));
    run->files.resume = back ? run->files.origin : NULL; /* a reset starts the kernel */
    if (state == MACHINE_RESET && !o->no_reboot && !*again)
        log_printf("graft: the machine resets, and there is no KERNEL that it could start\n");
    if (run->profile.stream && !*again && profile_write(m, &run->profile, err))
        status = complain(err);
    if (run->stats.stream && !*again && stats_write(m, &run->stats, err))
        status = complain(err);
    machine_destroy(m);
    if (!*again)
        control_ended(state);
    return status;
}

static void close_consoles(struct run *run) {
    if (run->serial)
        chardev_close(run->serial);
    if (run->console)
        chardev_close(run->console);
    run->serial = run->console = NULL;
}

/* The devices' thread. */
static int run_machine(void *arg) {
    struct run *run = arg;
    char err[ERR_BYTES];
    bool again = false;
    int status = STATUS_FAILED;
    sandbox_report();
    log_start();
    if (chardev_start(run->serial) && (!run->console || chardev_start(run->console)) &&
        (!run->exec || exec_start(run->exec))) {
        do {
            status = run_once(run, &again);
        } while (again);
    } else {
        snprintf(err, sizeof(err), "cannot start a thread: %s", strerror(errno));
        complain(err);
    }
    if (run->exec) {
        status = exec_end(run->exec, run->console, status);
        run->console = NULL;
    }
    gdb_ended(status);
    close_consoles(run);
    log_finish();
    return status;
}

/* The command of graft exec is at the other end of a virtio console. */
static bool open_exec(struct run *run, char err[ERR_BYTES]) {
    int fd;
    return (run->exec = exec_open(&run->plan, &run->kept, &fd, err)) &&
           (run->console = chardev_open_socket("agent", fd, err));
}

static bool open_consoles(struct run *run, char err[ERR_BYTES]) {
    const struct options *o = run->options;
    if (!(run->serial = chardev_open("serial", o->serial, err)))
        return false;
    if (o->command)
        return open_exec(run, err);
    return !o->console || (run->console = chardev_open("console", o->console, err));
}

static bool open_outputs(struct run *run, char err[ERR_BYTES]) {
    const struct options *o = run->options;
    return log_open(o, err) && vmcore_open(o, err) && (!o->symbols || symbols_open(o->symbols, err)) &&
           (!o->stats || output_open(&run->stats, o->stats, err)) &&
           (!o->profile || profile_open(&run->profile, o->profile, err));
}

static bool open_snapshots(struct run *run, struct options *o, char err[ERR_BYTES]) {
    run->save.quit = o->save_quit;
    if (o->resume && (!(run->resume = snapshot_open(o->resume, err)) || !snapshot_options(run->resume, o, err)))
        return false;
    return true;
}

/* After the disks, none of which it may be. */
static bool open_save(struct run *run, const struct options *o, char err[ERR_BYTES]) {
    run->files.resume = run->kept.snapshot ? run->kept.snapshot : run->resume;
    run->files.origin = run->resume;
    if (run->kept.save)
        run->files.save = &run->kept.target;
    if (!o->save)
        return true;
    run->files.save = &run->save;
    return snapshot_target_open(&run->save, o->save, err);
}

/* Who begins with a guest that has booted needs no kernel, nor what that begins with. */
static bool plan_exec(struct run *run, struct options *o, char err[ERR_BYTES]) {
    if (!exec_plan(&run->plan, o, err))
        return false;
    exec_kept_open(&run->kept, &run->plan, o);
    if (run->kept.snapshot)
        o->kernel = NULL;
    return true;
}

static bool make_initrd(struct run *run, char err[ERR_BYTES]) {
    struct boot_file *in = &run->files.initrd;
    if (run->kept.snapshot)
        return true;
    if (!exec_initrd(&in->file, &run->plan, err))
        return false;
    in->len = in->file.len;
    return true;
}

/* All that a run ever opens by name. */
static bool open_all(struct run *run, struct options *o, char err[ERR_BYTES]) {
    if ((o->command && !plan_exec(run, o, err)) || !open_snapshots(run, o, err) || !boot_read(&run->files, o, err) ||
        (o->command && !make_initrd(run, err)))
        return false;
    return o->dry_run || (shares_start(o, err) && disks_open(o, err) && open_save(run, o, err) &&
                          firmware_open(o, run->files.board, err) && open_outputs(run, err) && network_open(o, err) &&
                          vsock_open(o, err) && open_consoles(run, err) && gdb_open(o, err) && control_open(o, err) &&
                          semihost_folder_open(o, err));
}

static void close_all(struct run *run) {
    close_consoles(run);
    boot_free(&run->files);
    firmware_close();
    disks_close();
    network_close();
    vsock_close();
    shares_close();
    semihost_folder_close();
    helpers_end();
    exec_plan_free(&run->plan);
    exec_kept_close(&run->kept);
    snapshot_close(run->resume);
    snapshot_target_close(&run->save);
}

/* What serves folders gets ready while the machine is looked at. */
static int run_opened(struct run *run, struct options *o, int failed) {
    char err[ERR_BYTES];
    struct machine_place place = machine_look(o, run->files.board);
    if (!shares_open(err)) {
        complain(err);
        return failed;
    }
    code_cache_open(o, &place);
    if (o->sandbox) {
        helpers_watch();
        sandbox_enter(o);
    }
    return supervise(run_machine, run, stopped_status);
}

static int run_main(struct options *o) {
    char err[ERR_BYTES];
    if (o->dump_dtb)
        return boot_dump_dtb(o, err) ? STATUS_OK : complain(err);
    sandbox_note();
    set_signals();
    set_early();
    atexit(chardev_restore);
    struct run run = {.options = o, .save = {.fd = -1, .pages = -1}, .kept = {.target = {.fd = -1, .pages = -1}}};
    int status = o->command ? EXEC_FAILED : STATUS_FAILED;
    if (o->timeout > 0)
        set_timeout(o->timeout);
    if (!open_all(&run, o, err)) {
        complain(err);
    } else if (o->dry_run) {
        exec_dry_run(&run.plan, &run.kept, o);
        status = STATUS_OK;
    } else {
        status = run_opened(&run, o, status);
    }
    if (status == STATUS_OK && o->save_quit && !run.save.saved)
        status = complain("the guest had ended before it was saved");
    close_all(&run);
    return status < 0 ? STATUS_BROKEN : status;
}

/* Descriptors 0 to 2 that are closed, as after >&-, would be given to the next file that is opened: a log, a disk. */
static void fill_standard(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            _exit(STATUS_FAILED);
}

static int graft_main(int argc, char **argv) {
    struct options o;
    int status = STATUS_OK;
    switch (options_parse(&o, argc, argv)) {
    case COMMAND_RUN:
    case COMMAND_EXEC: status = run_main(&o); break;
    case COMMAND_SNAPSHOT: status = snapshot_main(o.command); break;
    case COMMAND_ROOT: status = root_main(o.command); break;
    case COMMAND_INFO: status = info_main(&o); break;
    case COMMAND_BAD: status = argc > 1 && !strcmp(argv[1], "exec") ? EXEC_FAILED : STATUS_USAGE; break;
    case COMMAND_DONE: break;
    }
    options_free(&o);
    return status;
}

/* Little is done before there is room for it. */
int main(int argc, char **argv) {
    fill_standard();
    int status = thread_with_stack(graft_main, argc, argv);
    return status < 0 ? complain("there is no memory for a stack") : status;
}
