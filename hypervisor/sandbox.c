/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * sandbox.c: takes from the process what it does not need while a guest runs: the user root, files, and the system
 * calls that the threads of a kind do not make. A call that is not allowed ends the process.
 */
#include "hypervisor/sandbox.h"
#include "hypervisor/helper.h"
#include "hypervisor/semihost.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define NOBODY 65534

/* What was found out on the way in. */
static struct {
    bool wanted, entered, rwx, ptys, clients;
    bool network;     /* this is the process that has it */
    bool local;       /* and it connects to Unix sockets */
    bool stays;       /* and this one stays the user that it is */
    bool helpers;     /* their end is waited for */
    bool semihosting; /* the guest may open files in a folder */
    bool user, files; /* of what the host has, this worked */
    _Atomic bool filters_fail;
} sandbox;

/* --- descriptors ------------------------------------------------------------------------------ */
#define INHERITED_MAX 4096
static int inherited[INHERITED_MAX];
static unsigned inherited_count;

void sandbox_note(void) {
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d)) && inherited_count < INHERITED_MAX;) {
        int fd = atoi(e->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(d))
            inherited[inherited_count++] = fd;
    }
    closedir(d);
}

void sandbox_forget_inherited(void) { inherited_count = 0; }

/* By now files have been opened, also those that were named by such a descriptor (/dev/fd/63). */
static void close_inherited(void) {
    while (inherited_count) {
        unsigned fd = (unsigned)inherited[--inherited_count];
        close_range(fd, fd, 0);
    }
}

/* --- the user --------------------------------------------------------------------------------- */
/* There is no other thread. Where root cannot become someone else, as in a user namespace of its own, it keeps no
 * capability but those. */
static bool leave_root(uint32_t capabilities) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {
        {.effective = capabilities, .permitted = capabilities}};
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* root alone can: no_new_privs makes it the same for others */
    bool user = sandbox.stays || geteuid() != 0 ||
                (!setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) && !setresuid(NOBODY, NOBODY, NOBODY));
    return !syscall(SYS_capset, &head, kept) && user;
}

/* --- files ------------------------------------------------------------------------------------ */
/* Linux' uapi/linux/landlock.h: that of a distribution may be too old to know all rights. */
struct landlock_ruleset {
    uint64_t fs, net, scoped;
};
struct landlock_path {
    uint64_t fs;
    int32_t fd;
} __attribute__((packed));
enum { LANDLOCK_CREATE = 444, LANDLOCK_ADD = 445, LANDLOCK_RESTRICT = 446 };
#define LANDLOCK_VERSION 1u
#define LANDLOCK_PATH 1
#define LANDLOCK_EXECUTE BIT(0)
#define LANDLOCK_WRITE_FILE BIT(1)
#define LANDLOCK_READ_FILE BIT(2)
#define LANDLOCK_READ_DIR BIT(3)
#define LANDLOCK_REMOVE_FILE BIT(5)
#define LANDLOCK_MAKE_REG BIT(8)
#define LANDLOCK_REFER BIT(13)
#define LANDLOCK_TRUNCATE BIT(14)
#define LANDLOCK_IOCTL_DEV BIT(15)

/* All rights that a version of Landlock knows are taken. */
static struct landlock_ruleset all_rights(long version) {
    struct landlock_ruleset r = {.fs = BIT(13) - 1};
    if (version >= 2)
        r.fs |= BIT(13);
    if (version >= 3)
        r.fs |= BIT(14);
    if (version >= 5)
        r.fs |= LANDLOCK_IOCTL_DEV;
    if (version >= 4 && !sandbox.network)
        r.net = 3; /* TCP */
    if (version >= 6)
        r.scoped = 3; /* abstract sockets, signals */
    return r;
}

static void allow_below(int rules, int fd, uint64_t rights) {
    struct landlock_path p = {.fs = rights, .fd = fd};
    syscall(LANDLOCK_ADD, rules, LANDLOCK_PATH, &p, 0);
}

static void allow_path(int rules, const char *path, uint64_t rights) {
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return;
    allow_below(rules, fd, rights);
    close(fd);
}

/* Files that the guest may open, make, remove and rename. */
static void allow_semihosting(int rules, uint64_t all) {
    bool readonly;
    int fd = semihost_folder(&readonly);
    uint64_t change =
        LANDLOCK_WRITE_FILE | LANDLOCK_REMOVE_FILE | LANDLOCK_MAKE_REG | LANDLOCK_REFER | LANDLOCK_TRUNCATE;
    if (fd >= 0)
        allow_below(rules, fd, all & (LANDLOCK_READ_FILE | (readonly ? 0 : change)));
}

static void allow_reading(int rules, const char *path) { allow_path(rules, path, LANDLOCK_READ_FILE); }

/* The name server's address, which the network of the guest follows; the file is replaced when it changes. */
static void allow_resolver(int rules) {
    char path[PATH_MAX];
    if (!realpath("/etc/resolv.conf", path))
        return;
    char *end = strrchr(path, '/');
    if (strncmp(path, "/etc/", 5) && end > path)
        *end = 0;
    allow_reading(rules, path);
}

/* Rules that allow nothing; -1. */
static int new_rules(long version) {
    if (version < 1)
        return -1;
    struct landlock_ruleset r = all_rights(version);
    size_t size = version >= 6 ? sizeof(r) : version >= 4 ? 2 * sizeof(r.fs) : sizeof(r.fs);
    return (int)syscall(LANDLOCK_CREATE, &r, size, 0);
}

static bool leave_files(void) {
    long version = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION);
    int rules = new_rules(version);
    if (rules < 0)
        return false;
    if (sandbox.ptys) /* the other end of a console, by TIOCGPTPEER; no name can be opened to be written to */
        allow_path(rules, "/dev/pts",
                   all_rights(version).fs & (LANDLOCK_READ_FILE | LANDLOCK_WRITE_FILE | LANDLOCK_IOCTL_DEV));
    if (sandbox.semihosting)
        allow_semihosting(rules, all_rights(version).fs);
    if (sandbox.network) {
        allow_reading(rules, "/dev/urandom");
        allow_resolver(rules);
    }
    bool ok = !syscall(LANDLOCK_RESTRICT, rules, 0);
    close(rules);
    return ok;
}

/* --- system calls ----------------------------------------------------------------------------- */
#define KIND(name) THREADS(THREAD_##name)
#define ALL                                                                                                            \
    (KIND(MAIN) | KIND(DEVICES) | KIND(VCPU) | KIND(DISK) | KIND(CONSOLE) | KIND(EXEC) | KIND(MEMORY) |                \
     KIND(NETWORK) | KIND(VSOCK))
#define CALL(name) SCMP_SYS(name)

/* A thread has the filters of the one that started it, too. So the devices' allows what any thread may that it
 * starts. */
static bool may(unsigned kinds, enum thread_kind kind) {
    return kinds >> kind & 1 ||
           (kind == THREAD_DEVICES && kinds & (KIND(VCPU) | KIND(DISK) | KIND(CONSOLE) | KIND(EXEC) | KIND(MEMORY)));
}

/* Whole calls, and who may make them. */
static const struct call {
    unsigned kinds;
    int number;
} calls[] = {
    /* memory and files that are there, time, the C library's needs */
    {ALL, CALL(read)},
    {ALL, CALL(write)},
    {ALL, CALL(writev)},
    {ALL, CALL(lseek)},
    {ALL, CALL(close)},
    {ALL, CALL(fstat)},
    {ALL, CALL(poll)},
    {ALL, CALL(munmap)},
    {ALL, CALL(mremap)},
    {ALL, CALL(madvise)},
    {ALL, CALL(brk)},
    {ALL, CALL(futex)},
    {ALL, CALL(sched_yield)},
    {ALL, CALL(sched_getaffinity)},
    {ALL, CALL(getpid)},
    {ALL, CALL(gettid)},
    {ALL, CALL(getrandom)},
    {ALL, CALL(sysinfo)}, /* qsort() */
    {ALL, CALL(clock_gettime)},
    {ALL, CALL(clock_nanosleep)},
    {ALL, CALL(gettimeofday)},
    {ALL, CALL(time)},
    {ALL, CALL(rt_sigaction)},
    {ALL, CALL(rt_sigprocmask)},
    {ALL, CALL(rt_sigreturn)},
    {ALL, CALL(restart_syscall)},
    {ALL, CALL(set_robust_list)},
    {ALL, CALL(rseq)},
    {ALL, CALL(exit)},
    {ALL, CALL(exit_group)},
    {ALL, CALL(getpgrp)}, /* whichever thread dies puts the terminal back (main.c) */
    {KIND(MAIN), CALL(close_range)},
    /* new lives of the machine, the event loop */
    {KIND(DEVICES), CALL(seccomp)}, /* threads that it starts add their own filters */
    {KIND(DEVICES) | KIND(NETWORK) | KIND(VSOCK), CALL(epoll_create1)},
    {KIND(DEVICES) | KIND(NETWORK) | KIND(VSOCK), CALL(epoll_ctl)},
    {KIND(DEVICES) | KIND(NETWORK) | KIND(VSOCK), CALL(epoll_wait)},
    {KIND(DEVICES), CALL(eventfd2)},
    {KIND(DEVICES), CALL(timerfd_create)},
    {KIND(DEVICES), CALL(timerfd_settime)},
    {KIND(DEVICES), CALL(memfd_create)},
    {KIND(DEVICES), CALL(fstatfs)},
    {KIND(DEVICES), CALL(flock)}, /* a snapshot */
    /* flash */
    {KIND(VCPU) | KIND(DISK), CALL(pread64)},
    {KIND(VCPU) | KIND(DISK), CALL(pwrite64)},
    /* --profile, and the look at where translated code is; what of RAM is there */
    {KIND(VCPU), CALL(timer_create)},
    {KIND(VCPU), CALL(timer_settime)},
    {KIND(VCPU), CALL(timer_delete)},
    {KIND(VCPU), CALL(mincore)},
    /* a disk's end is the devices' work */
    {KIND(DISK), CALL(readv)}, /* what serves an image answers (devices/nbd.c) */
    {KIND(DISK), CALL(preadv)},
    {KIND(DISK), CALL(preadv2)},
    {KIND(DISK), CALL(pwritev)},
    {KIND(DISK), CALL(fdatasync)},
    {KIND(DISK), CALL(fallocate)},
    {KIND(DISK), CALL(ftruncate)}, /* of a file in memory, by the devices */
    {KIND(DISK), CALL(wait4)},     /* thread.c: the process that such a thread is */
    {KIND(DISK), CALL(getppid)},
    /* connections of the guest's to sockets of the host, and the other way (devices/vsock.c) */
    {KIND(VSOCK), CALL(accept4)},
    {KIND(VSOCK), CALL(connect)},
    {KIND(VSOCK), CALL(shutdown)},
    {KIND(VSOCK), CALL(sendto)},
    {KIND(VSOCK), CALL(recvfrom)},
};

/* For the network of the guest. */
static const int sockets[] = {
    CALL(bind),        CALL(connect),     CALL(listen),     CALL(accept),     CALL(accept4),
    CALL(shutdown),    CALL(sendto),      CALL(sendmsg),    CALL(recvfrom),   CALL(recvmsg),
    CALL(getsockname), CALL(getpeername), CALL(setsockopt), CALL(getsockopt),
};

/* ioctl() by request. Those of KVM are in vm_kvm.c. */
static const struct vm_request requests[] = {
    {ALL, TCGETS},
    {ALL, TCSETS},
    {ALL, TIOCGPGRP},
    {KIND(MAIN) | KIND(CONSOLE) | KIND(EXEC), TIOCGWINSZ},
    {KIND(DEVICES), TIOCGPTPEER},
    {KIND(DEVICES) | KIND(NETWORK), FIONREAD},
    {KIND(NETWORK), FIONBIO},
    {KIND(DEVICES), _IOR(0x12, 114, size_t)}, /* BLKGETSIZE64 */
};

/* Rules that could not be added are counted: a filter that lacks one would kill. */
struct filter {
    scmp_filter_ctx ctx;
    unsigned wrong;
};

static void allow(struct filter *f, int number) {
    f->wrong += seccomp_rule_add(f->ctx, SCMP_ACT_ALLOW, number, 0) != 0;
}

/* refuse(): an error instead of the end of the process, where libraries then do without. */
static void refuse(struct filter *f, int number, int error) {
    f->wrong += seccomp_rule_add(f->ctx, SCMP_ACT_ERRNO(error), number, 0) != 0;
}

/* allow_if(): where argument n, as far as mask goes, has that value. */
static void allow_if(struct filter *f, int number, unsigned n, uint64_t mask, uint64_t value) {
    struct scmp_arg_cmp cmp = SCMP_CMP64(n, SCMP_CMP_MASKED_EQ, mask, value);
    f->wrong += seccomp_rule_add_array(f->ctx, SCMP_ACT_ALLOW, number, 1, &cmp) != 0;
}

/* The devices' thread makes the caches for translated code, which are nowhere writable and executable, unless the user
 * wants them so. */
static void allow_memory(struct filter *f, enum thread_kind kind) {
    const int both[] = {CALL(mmap), CALL(mprotect)};
    for (unsigned i = 0; i < ARRAY_LEN(both); i++) {
        if (kind == THREAD_DEVICES && sandbox.rwx) {
            allow(f, both[i]);
            continue;
        }
        allow_if(f, both[i], 2, PROT_EXEC, 0);
        if (kind == THREAD_DEVICES)
            allow_if(f, both[i], 2, PROT_WRITE | PROT_EXEC, PROT_EXEC);
    }
}

/* Threads, and the processes that disks' threads are (thread.c). What clone3() asks for cannot be seen; the C library
 * then takes the other. */
static void allow_threads(struct filter *f) {
    const uint64_t worlds =
        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    allow_if(f, CALL(clone), 0, CLONE_THREAD | worlds, CLONE_THREAD);
    allow_if(f, CALL(clone), 0, UINT32_MAX, CLONE_VM | CLONE_FS | CLONE_FILES);
    refuse(f, CALL(clone3), ENOSYS);
}

static void allow_requests(struct filter *f, enum thread_kind kind, const struct vm_request *r, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (may(r[i].kinds, kind))
            allow_if(f, CALL(ioctl), 1, UINT32_MAX, (uint32_t)r[i].request);
}

static void allow_each(struct filter *f, int number, unsigned n, const uint64_t *values, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        allow_if(f, number, n, UINT32_MAX, values[i]);
}

/* semihost_files.c. What they lead to is Landlock's to say. */
static void allow_files(struct filter *f) {
    static const int all[] = {CALL(openat2), CALL(unlinkat), CALL(renameat)};
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        allow(f, all[i]);
}

static void allow_parts(struct filter *f, enum thread_kind kind) {
    static const uint64_t names[] = {PR_SET_NAME, PR_SET_TIMERSLACK, PR_SET_PDEATHSIG, 0x53564d41 /* PR_SET_VMA */};
    static const uint64_t flags[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};
    allow_each(f, CALL(prctl), 0, names, ARRAY_LEN(names));
    allow_each(f, CALL(fcntl), 1, flags, ARRAY_LEN(flags));
    allow_requests(f, kind, vm_kvm_requests, vm_kvm_request_count);
    allow_requests(f, kind, requests, ARRAY_LEN(requests));
    allow_if(f, CALL(newfstatat), 3, AT_EMPTY_PATH, AT_EMPTY_PATH); /* the C library's fstat() */
    allow_if(f, CALL(tgkill), 0, UINT32_MAX, (uint32_t)getpid());
    allow_memory(f, kind);
    if (sandbox.semihosting && may(KIND(VCPU), kind))
        allow_files(f);
    if (kind == THREAD_MAIN && sandbox.helpers) { /* their end */
        allow(f, CALL(wait4));
        refuse(f, CALL(kill), EPERM);
    }
    if (kind == THREAD_DEVICES && sandbox.clients) /* of --gdb and --control, which wait at a socket that is open */
        allow(f, CALL(accept4));
    if (kind == THREAD_DEVICES || kind == THREAD_DISK)
        allow_threads(f);
}

/* libslirp looks up the host's name servers, wants random numbers, and limits of files; names of network interfaces are
 * of no use to it. */
static void allow_network(struct filter *f) {
    static const uint64_t families[] = {AF_INET, AF_INET6};
    for (unsigned i = 0; i < ARRAY_LEN(sockets); i++)
        allow(f, sockets[i]);
    allow_each(f, CALL(socket), 0, families, ARRAY_LEN(families));
    allow(f, CALL(newfstatat));
    allow(f, CALL(uname));
    allow_if(f, CALL(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC, 0);
    allow_if(f, CALL(prlimit64), 1, UINT32_MAX, RLIMIT_NOFILE);
}

static bool load_filter(enum thread_kind kind) {
    struct filter f = {.ctx = seccomp_init(SCMP_ACT_KILL_PROCESS)};
    if (!f.ctx)
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++)
        if (may(calls[i].kinds, kind))
            allow(&f, calls[i].number);
    allow_parts(&f, kind);
    if (kind == THREAD_NETWORK)
        allow_network(&f);
    if (kind == THREAD_VSOCK || (kind == THREAD_NETWORK && sandbox.local))
        allow_if(&f, CALL(socket), 0, UINT32_MAX, AF_UNIX);
    seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_NNP, 0); /* it is set */
    seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_SSB, 1); /* old kernels slow a filtered thread's own code down otherwise */
    seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree */
    bool ok = !f.wrong && !seccomp_load(f.ctx);
    seccomp_release(f.ctx);
    return ok;
}

/* --- all of it -------------------------------------------------------------------------------- */
static bool is_pty(const char *spec) { return spec && !strcmp(spec, "pty"); }

static void enter(void) {
    struct rlimit none = {0};
    close_inherited();
    mallopt(M_ARENA_MAX,
            1); /* with more the C library opens files in /proc and /sys, in whatever thread, to manage them */
    setrlimit(RLIMIT_CORE, &none); /* the memory of a guest is no one else's */
    seccomp_api_get();             /* looks at what the kernel has, while there is one thread */
    sandbox.user = leave_root(0);
    sandbox.entered = !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sandbox.files = sandbox.entered && leave_files();
}

void sandbox_enter_network(bool local) {
    sandbox.network = true;
    sandbox.local = local;
    enter();
    sandbox_thread(THREAD_NETWORK);
}

void sandbox_enter_vsock(void) {
    sandbox.stays = true;
    enter();
    sandbox_thread(THREAD_VSOCK);
}

void sandbox_enter_watcher(void) {
    static const int all[] = {CALL(poll), CALL(kill), CALL(restart_syscall), CALL(clock_gettime), CALL(exit_group)};
    struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    sandbox.stays = true;
    leave_root(geteuid() == 0 ? CAP_TO_MASK(CAP_KILL) : 0);
    struct filter f = {.ctx = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? NULL : seccomp_init(SCMP_ACT_KILL_PROCESS)};
    for (unsigned i = 0; f.ctx && i < ARRAY_LEN(all); i++)
        allow(&f, all[i]);
    if (f.ctx && !f.wrong)
        seccomp_load(f.ctx);
}

/* It reads what it likes, as what is behind an image can be anywhere. */
static bool leave_disk_files(const char *image, bool write, bool temporary) {
    long version = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION);
    const char *folder = getenv("TMPDIR");
    int rules = new_rules(version);
    if (rules < 0)
        return false;
    uint64_t file =
        all_rights(version).fs & (LANDLOCK_READ_FILE | LANDLOCK_WRITE_FILE | LANDLOCK_TRUNCATE | LANDLOCK_IOCTL_DEV);
    allow_path(rules, "/", LANDLOCK_EXECUTE | LANDLOCK_READ_FILE | LANDLOCK_READ_DIR);
    allow_path(rules, "/dev/null", file); /* on which qemu-nbd tries whether there are locks */
    allow_path(rules, image, write ? file : file & ~(LANDLOCK_WRITE_FILE | LANDLOCK_TRUNCATE));
    if (temporary)
        allow_path(rules, folder ? folder : "/var/tmp", file | LANDLOCK_REMOVE_FILE | LANDLOCK_MAKE_REG);
    bool ok = !syscall(LANDLOCK_RESTRICT, rules, 0);
    close(rules);
    return ok;
}

void sandbox_enter_disk(const char *image, bool write, bool temporary) {
    struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        leave_disk_files(image, write, temporary); /* the run itself says what this host lacks */
}

void sandbox_enter(const struct options *o) {
    char why[ERR_BYTES];
    sandbox.wanted = true;
    sandbox.helpers = helpers_are_awaited();
    sandbox.rwx = o->code == CODE_RWX;
    sandbox.clients = o->gdb || o->control;
    sandbox.ptys = is_pty(o->serial) || is_pty(o->console);
    sandbox.semihosting = sandbox.stays = o->semihosting_files;
    if (o->vm != VM_INPROC)
        vm_kvm_usable(why); /* opens it */
    vm_inproc_open();
    enter();
}

void sandbox_thread(enum thread_kind kind) {
    if (sandbox.entered && !load_filter(kind))
        sandbox.filters_fail = true;
}

void sandbox_report(void) {
    const char *lacks[3];
    unsigned n = 0;
    if (!sandbox.user)
        lacks[n++] = "another user than root";
    if (!sandbox.files)
        lacks[n++] = "Landlock";
    if (!sandbox.entered || sandbox.filters_fail)
        lacks[n++] = "seccomp";
    if (sandbox.wanted && n)
        log_printf("graft: --sandbox: this host does not let the run have %s%s%s%s%s\n", lacks[0], n > 1 ? ", " : "",
                   n > 1 ? lacks[1] : "", n > 2 ? ", " : "", n > 2 ? lacks[2] : "");
}
