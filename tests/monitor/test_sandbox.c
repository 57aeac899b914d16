/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_sandbox.c: what the threads of each kind must not do any more (hypervisor/sandbox.c). Each call is made in a
 * process of its own, in a thread of that kind, as it is in a run: it has to end the process with SIGSYS. And some must
 * work.
 */
#include "hypervisor/sandbox.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KINDS                                                                                                          \
    (1u << THREAD_MAIN | 1u << THREAD_DEVICES | 1u << THREAD_VCPU | 1u << THREAD_DISK | 1u << THREAD_CONSOLE |         \
     1u << THREAD_EXEC | 1u << THREAD_MEMORY | 1u << THREAD_NETWORK | 1u << THREAD_VSOCK)
#define ONLY(name) (1u << THREAD_##name)
#define BUT(names) (KINDS & ~(names))

struct attempt {
    const char *what;
    unsigned kinds; /* that must die of it */
    long number, arg[6];
};
static char text[] = "/etc/passwd", *argv[] = {text, NULL};
static uint64_t room[64];
#define P(pointer) (long)(uintptr_t)(pointer)
static const struct attempt attempts[] = {
    {"execve", KINDS, SYS_execve, {P(text), P(argv), P(argv)}},
    {"execveat", KINDS, SYS_execveat, {AT_FDCWD, P(text), P(argv), P(argv)}},
    {"fork", KINDS, SYS_fork, {0}},
    {"vfork", KINDS, SYS_vfork, {0}},
    {"a process", KINDS, SYS_clone, {SIGCHLD}},
    {"a process that shares memory", KINDS, SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD}},
    {"a process like a disk's", BUT(ONLY(DEVICES) | ONLY(DISK)), SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES}},
    {"a thread", BUT(ONLY(DEVICES) | ONLY(DISK)), SYS_clone, {CLONE_THREAD}},
    {"a thread in a world of its own", KINDS, SYS_clone, {CLONE_THREAD | CLONE_NEWNET}},
    {"open", KINDS, SYS_open, {P(text), O_RDONLY}},
    {"openat", BUT(ONLY(NETWORK)), SYS_openat, {AT_FDCWD, P(text), O_RDONLY}},
    {"openat2", KINDS, SYS_openat2, {AT_FDCWD, P(text), P(room), 24}},
    {"open_by_handle_at", KINDS, SYS_open_by_handle_at, {AT_FDCWD, P(room), O_RDONLY}},
    {"stat", KINDS, SYS_stat, {P(text), P(room)}},
    {"a device file", KINDS, SYS_mknod, {P(text), 0600 | S_IFCHR, 0}},
    {"openat to write", KINDS, SYS_openat, {AT_FDCWD, P(text), O_WRONLY}},
    {"openat to create", KINDS, SYS_openat, {AT_FDCWD, P(text), O_CREAT, 0600}},
    {"creat", KINDS, SYS_creat, {P(text), 0600}},
    {"unlink", KINDS, SYS_unlink, {P(text)}},
    {"rename", KINDS, SYS_rename, {P(text), P(text)}},
    {"link", KINDS, SYS_link, {P(text), P(text)}},
    {"symlink", KINDS, SYS_symlink, {P(text), P(text)}},
    {"mkdir", KINDS, SYS_mkdir, {P(text), 0700}},
    {"chmod", KINDS, SYS_chmod, {P(text), 0777}},
    {"chown", KINDS, SYS_chown, {P(text), 0, 0}},
    {"chroot", KINDS, SYS_chroot, {P(text)}},
    {"mount", KINDS, SYS_mount, {0}},
    {"unshare", KINDS, SYS_unshare, {CLONE_NEWUSER}},
    {"setns", KINDS, SYS_setns, {-1, 0}},
    {"ptrace", KINDS, SYS_ptrace, {PTRACE_TRACEME}},
    {"process_vm_readv", KINDS, SYS_process_vm_readv, {1}},
    {"kill", KINDS, SYS_kill, {1, 0}},
    {"tgkill of another", KINDS, SYS_tgkill, {1, 1, 0}},
    {"tkill", KINDS, SYS_tkill, {1, 0}},
    {"setuid", KINDS, SYS_setuid, {0}},
    {"setresuid to root", KINDS, SYS_setresuid, {0, 0, 0}},
    {"capset", KINDS, SYS_capset, {0}},
    {"a socket", BUT(ONLY(NETWORK)), SYS_socket, {AF_INET, SOCK_STREAM, 0}},
    {"a packet socket", KINDS, SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
    {"a local socket", BUT(ONLY(VSOCK)), SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
    {"netlink", KINDS, SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
    {"connect", BUT(ONLY(NETWORK) | ONLY(VSOCK)), SYS_connect, {-1, P(room), 16}},
    {"socketpair", KINDS, SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, P(room)}},
    {"bpf", KINDS, SYS_bpf, {BPF_PROG_LOAD, P(room), 0}},
    {"perf_event_open", KINDS, SYS_perf_event_open, {P(room), 0, -1, -1, 0}},
    {"io_uring_setup", KINDS, SYS_io_uring_setup, {1, P(room)}},
    {"keyctl", KINDS, SYS_keyctl, {0}},
    {"userfaultfd", KINDS, SYS_userfaultfd, {0}},
    {"init_module", KINDS, SYS_init_module, {0}},
    {"personality", KINDS, SYS_personality, {0}},
    {"prlimit64", KINDS, SYS_prlimit64, {0, RLIMIT_CORE, P(room), 0}},
    {"dumpable again", KINDS, SYS_prctl, {PR_SET_DUMPABLE, 1}},
    {"ioctl TIOCSTI", KINDS, SYS_ioctl, {0, 0x5412, P(text)}},
    {"ioctl TIOCSTI, with more bits", KINDS, SYS_ioctl, {0, 0x100005412, P(text)}},
    {"ioctl KVM_CREATE_VM", BUT(ONLY(DEVICES)), SYS_ioctl, {-1, 0xae01, 0}},
    {"mmap to execute",
     BUT(ONLY(DEVICES)),
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
    {"mprotect to execute", BUT(ONLY(DEVICES)), SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}},
    {"mmap to write and execute",
     KINDS,
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
    {"mprotect to write and execute", KINDS, SYS_mprotect, {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC}},
    {"pkey_mprotect", KINDS, SYS_pkey_mprotect, {0, 4096, PROT_EXEC, 0}},
    {"memfd_create", BUT(ONLY(DEVICES)), SYS_memfd_create, {P("m"), 0}},
    {"fdatasync", BUT(ONLY(DEVICES) | ONLY(DISK)), SYS_fdatasync, {-1}},
    {"fallocate", BUT(ONLY(DEVICES) | ONLY(DISK)), SYS_fallocate, {-1, 0, 0, 0}},
    {"a filter", BUT(ONLY(DEVICES)), SYS_seccomp, {1, 0, 0}},
    {"TIOCGPTPEER", BUT(ONLY(DEVICES)), SYS_ioctl, {0, TIOCGPTPEER, 0}},
    {"epoll_create1", BUT(ONLY(DEVICES) | ONLY(NETWORK) | ONLY(VSOCK)), SYS_epoll_create1, {0}},
    {"reboot", KINDS, SYS_reboot, {0, 0, 0, 0}},
    {"a call that does not exist", KINDS, 4095, {0}},
};
static const char *const kind_names[] = {
    [THREAD_MAIN] = "main",       [THREAD_DEVICES] = "devices", [THREAD_VCPU] = "vCPU",
    [THREAD_DISK] = "disk",       [THREAD_CONSOLE] = "console", [THREAD_EXEC] = "exec",
    [THREAD_NETWORK] = "network", [THREAD_VSOCK] = "vsock",     [THREAD_MEMORY] = "memory"};

/* In a process that is like a run, in a thread of that kind. Exit status 0: fn has returned. */
static struct {
    enum thread_kind kind;
    void (*fn)(const void *arg);
    const void *arg;
} child;

static void in_thread(void *arg) { child.fn(child.arg); }

static void in_devices(void *arg) {
    if (child.kind == THREAD_DEVICES)
        child.fn(child.arg);
    else if (child.kind != THREAD_MAIN)
        thread_join(thread_start(child.kind, "child", in_thread, NULL));
}

static const struct options alone = {.vm = VM_INPROC};

static void be_a_run(void) {
    sandbox_note();
    if (child.kind == THREAD_NETWORK) { /* a process of its own */
        sandbox_enter_network(false);
        child.fn(child.arg);
        _exit(0);
    }
    if (child.kind == THREAD_VSOCK) { /* and another */
        sandbox_enter_vsock();
        child.fn(child.arg);
        _exit(0);
    }
    sandbox_enter(&alone);
    struct thread *t = thread_start(THREAD_DEVICES, "devices", in_devices, NULL);
    if (child.kind == THREAD_MAIN) {
        thread_is(THREAD_MAIN);
        sandbox_thread(THREAD_MAIN);
        child.fn(child.arg);
    }
    thread_join(t);
    _exit(0);
}

static int status_of(enum thread_kind kind, void (*fn)(const void *arg), const void *arg) {
    int status;
    child.kind = kind;
    child.fn = fn;
    child.arg = arg;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid)
        be_a_run();
    if (waitpid(pid, &status, 0) != pid)
        abort();
    return status;
}

/* A disk's thread is a process of its own, whose end this one follows (thread.c). */
static bool was_killed(enum thread_kind kind, int status) {
    return WIFSIGNALED(status) && WTERMSIG(status) == (kind == THREAD_DISK ? SIGABRT : SIGSYS);
}

static void attempt(const void *arg) {
    const struct attempt *a = arg;
    syscall(a->number, a->arg[0], a->arg[1], a->arg[2], a->arg[3], a->arg[4], a->arg[5]);
}

START_TEST(calls_that_must_die) {
    const struct attempt *a = &attempts[_i];
    for (enum thread_kind kind = 0; kind < ARRAY_LEN(kind_names); kind++) {
        if (!kind_names[kind] || !(a->kinds >> kind & 1))
            continue;
        int status = status_of(kind, attempt, a);
        ck_assert_msg(was_killed(kind, status), "%s in a thread of the kind %s: status %x", a->what, kind_names[kind],
                      (unsigned)status);
    }
}
END_TEST

static void kept(const void *arg) {
    uint64_t count = 1;
    void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(malloc(1 << 22));
    if (write(*(const int *)arg, &count, sizeof(count)) != sizeof(count) || p == MAP_FAILED ||
        madvise(p, 4096, MADV_DONTNEED) || (child.kind != THREAD_DISK && raise(SIGURG)))
        _exit(1);
}

START_TEST(what_is_left) {
    int null = open("/dev/null", O_WRONLY);
    /* Descriptors that the process was started with are not for it: dup2() gives this one a number that is kept. */
    ck_assert_int_eq(dup2(null, STDIN_FILENO), STDIN_FILENO);
    static const int to = STDIN_FILENO;
    for (enum thread_kind kind = 0; kind < ARRAY_LEN(kind_names); kind++)
        if (kind_names[kind])
            ck_assert_msg(status_of(kind, kept, &to) == 0, "a thread of the kind %s", kind_names[kind]);
}
END_TEST

/* A file that everybody may read is not there any more, and the resolver's is. root is someone else. */
static void look_around(const void *arg) {
    if (fcntl(*(const int *)arg, F_GETFD) >= 0)
        _exit(4);
    if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
        _exit(1);
    if (open("/etc/resolv.conf", O_RDONLY) < 0 && errno != ENOENT)
        _exit(2);
    if (socket(AF_INET, SOCK_DGRAM, 0) < 0)
        _exit(3);
}

START_TEST(files) {
    int inherited = open("/etc/passwd", O_RDONLY);
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1) {
        printf("SKIP: this host has no Landlock\n");
        return;
    }
    ck_assert_int_eq(status_of(THREAD_NETWORK, look_around, &inherited), 0);
    close(inherited);
}
END_TEST

/* Line name of /proc/self/status. */
static long status_line(const char *name, int base) {
    char line[256];
    long value = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, name, strlen(name)))
            value = strtol(line + strlen(name), NULL, base);
    if (f)
        fclose(f);
    return value;
}

START_TEST(user) {
    int status;
    pid_t pid = fork();
    if (!pid) { /* no filter yet, but Landlock */
        struct rlimit core;
        sandbox_note();
        sandbox_enter(&alone);
        getrlimit(RLIMIT_CORE, &core);
        _exit(geteuid() == 0 || getegid() == 0 || getgroups(0, NULL) != 0 ? 1
              : prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1               ? 2
              : core.rlim_max                                             ? 3
              : prctl(PR_CAPBSET_READ, 0, 0, 0, 0) != 0                   ? 4
                                                                          : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (geteuid() == 0 && status_line("CapEff:", 16) & 1 << 7) /* CAP_SETUID: else nothing can be given up */
        ck_assert_int_eq(status, 0);
}
END_TEST

/* What a host lacks is left out, one line says so, and the threads run. */
static void nothing(const void *arg) {}
static void report(const void *arg) { sandbox_report(); }

START_TEST(a_host_without_both) {
    struct scmp_arg_cmp any = {.arg = 0, .op = SCMP_CMP_GE, .datum_a = 0};
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    int calls[] = {SCMP_SYS(landlock_create_ruleset), SCMP_SYS(seccomp)}, ends[2];
    char said[256] = "";
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++)
        ck_assert(!seccomp_rule_add_array(f, SCMP_ACT_ERRNO(ENOSYS), calls[i], 1, &any));
    ck_assert(!seccomp_load(f) && !pipe(ends));
    dup2(ends[1], STDERR_FILENO);
    for (enum thread_kind kind = 0; kind < ARRAY_LEN(kind_names); kind++)
        if (kind_names[kind])
            ck_assert_int_eq(status_of(kind, kind == THREAD_DEVICES ? report : nothing, NULL), 0);
    ck_assert(read(ends[0], said, sizeof(said) - 1) > 0);
    const char *of_both = strstr(said, "Landlock, seccomp\n");
    ck_assert_msg(of_both && !of_both[strlen("Landlock, seccomp\n")], "%s", said);
}
END_TEST

static bool has_filters(void) {
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

int main(void) {
    Suite *s = suite_create("sandbox");
    TCase *t = tcase_create("sandbox");
    if (!has_filters()) {
        printf("SKIP: this host has no seccomp filters\n");
        return 77;
    }
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 100);
    tcase_add_loop_test(t, calls_that_must_die, 0, ARRAY_LEN(attempts));
    tcase_add_test(t, what_is_left);
    tcase_add_test(t, files);
    tcase_add_test(t, user);
    tcase_add_test(t, a_host_without_both);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
