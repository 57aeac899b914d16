/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * share.c: the processes that serve shared folders: virtiofsd, one for each. They are started before there is a machine
 * and stay when it resets; each ends when its connection does.
 *
 * virtiofsd shuts itself into the folder, for which it has to be root somewhere. A user who is not gets a user
 * namespace in which he is, and in which there is nobody else: all files belong to him.
 */
#include "devices/vhost_user.h"
#include "hypervisor/exec.h"
#include "hypervisor/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* QEMU had one written in C; that of today is written in Rust. */
enum kind { KIND_C, KIND_RUST };
struct server {
    const char *path;
    enum kind kind;
};
/* Ways to be shut in, best first. */
static const struct way {
    bool any_user; /* else for root alone */
    bool user_namespace;
    bool rust_only;
    const char *sandbox;
} ways[] = {
    {.sandbox = "namespace"},
    {.sandbox = "chroot"}, /* in containers */
    {.any_user = true, .user_namespace = true, .sandbox = "namespace"},
    {.any_user = true, .user_namespace = true, .sandbox = "chroot"},
    {.any_user = true, .rust_only = true, .sandbox = "none"},
};
static struct server server;
static struct share {
    char *dir;
    unsigned way; /* the next one to be tried */
    pid_t pid;    /* 0, -1: none */
    int connection, log;
    struct vhost_user *backend; /* NULL: it has not answered yet */
} shares[OPTIONS_MAX_SHARES];
static unsigned share_count;

static bool wrong(char err[ERR_BYTES], const char *what, const char *why) {
    snprintf(err, ERR_BYTES, "--share: %.120s: %.120s", what, why);
    return false;
}

/* --- the program ------------------------------------------------------------------------------ */
/* What a program says when it is asked for its version. */
static bool ask_version(const char *path, char *text, size_t room) {
    int out[2];
    if (pipe2(out, O_CLOEXEC))
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        execl(path, path, "--version", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    size_t len = 0;
    ssize_t n;
    while (pid > 0 && len + 1 < room && (n = read(out[0], text + len, room - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = 0;
    close(out[0]);
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Asking takes as long as all else that a run does before its guest: the answer is kept in the user's cache. */
static void describe(char text[ERR_BYTES], const struct server *s, const struct stat *st) {
    snprintf(text, ERR_BYTES, "%.128s %llx:%llx %lld %lld.%09ld %s\n", s->path, (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino, (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
             s->kind == KIND_C ? "C" : "Rust");
}

static bool recall(struct server *s, const struct stat *st) {
    char text[ERR_BYTES], kept[ERR_BYTES] = "", *path = exec_cache("virtiofsd");
    FILE *f = path ? fopen(path, "re") : NULL;
    bool known = false;
    if (f && fgets(kept, sizeof(kept), f))
        for (s->kind = KIND_C; !known && s->kind <= KIND_RUST; s->kind += !known) {
            describe(text, s, st);
            known = !strcmp(text, kept);
        }
    if (f)
        fclose(f);
    free(path);
    return known;
}

/* Where the cache has no folder yet, it is asked again. */
static void remember(const struct server *s, const struct stat *st) {
    char text[ERR_BYTES], *path = exec_cache("virtiofsd");
    FILE *f = path ? fopen(path, "we") : NULL;
    describe(text, s, st);
    if (f) {
        fputs(text, f);
        fclose(f);
    }
    free(path);
}

static bool choose_server(struct server *s, char err[ERR_BYTES]) {
    static const char *const paths[] = {"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd",
                                        "/usr/bin/virtiofsd", NULL};
    char text[256];
    struct stat st;
    s->path = helper_find("GRAFT_VIRTIOFSD", paths);
    if (!s->path)
        return wrong(err, "virtiofsd", "not installed (Debian: package virtiofsd, in Debian 12 qemu-system-common)");
    if (!stat(s->path, &st) && recall(s, &st))
        return true;
    if (!ask_version(s->path, text, sizeof(text)))
        return wrong(err, s->path, "cannot be run");
    s->kind = strstr(text, "virtiofsd version") ? KIND_C : KIND_RUST;
    remember(s, &st);
    return true;
}

/* --- the child -------------------------------------------------------------------------------- */
static bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool become_root(void) {
    char users[40], groups[40];
    snprintf(users, sizeof(users), "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)getegid());
    return !unshare(CLONE_NEWUSER) && put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", users) &&
           put("/proc/self/gid_map", groups);
}

/* Each folder and file that the guest knows costs a descriptor. */
static void raise_limit(void) {
    struct rlimit l;
    if (!getrlimit(RLIMIT_NOFILE, &l)) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

static void exec_c(const char *path, const char *dir, const char *sandbox) {
    char source[2 * PATH_MAX + 16], mode[32], *to = source + sprintf(source, "source=");
    snprintf(mode, sizeof(mode), "sandbox=%s", sandbox);
    for (; *dir; *to++ = *dir++)
        if (*dir == ',' || *dir == '\\') /* would end it */
            *to++ = '\\';
    *to = 0;
    execl(path, path, "-f", "--fd=3", "--rlimit-nofile=0", "-o", "log_level=err", "-o", mode, "-o", source,
          (char *)NULL);
}

static void exec_rust(const char *path, const char *dir, const char *sandbox) {
    execl(path, path, "--fd=3", "--rlimit-nofile=0", "--log-level=error", "--sandbox", sandbox, "--shared-dir", dir,
          (char *)NULL);
}

static _Noreturn void run_server(const struct server *s, const struct way *w, const char *dir) {
    raise_limit();
    if (w->user_namespace && !become_root()) {
        dprintf(STDERR_FILENO, "this host lets users make no namespaces of their own\n");
        _exit(1);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (s->kind == KIND_C)
        exec_c(s->path, dir, w->sandbox);
    else
        exec_rust(s->path, dir, w->sandbox);
    _exit(127);
}

/* --- starting --------------------------------------------------------------------------------- */
/* False: no such process could be made, or there is no other way. */
static bool launch(struct share *share) {
    int listener;
    bool root = geteuid() == 0;
    while (share->way < ARRAY_LEN(ways)) {
        const struct way *w = &ways[share->way++];
        if ((!w->any_user && !root) || (w->rust_only && server.kind != KIND_RUST))
            continue;
        share->pid = helper_sockets(&listener, &share->connection, 1) ? helper_fork(listener, &share->log) : -1;
        if (share->pid == 0)
            run_server(&server, w, share->dir);
        return share->pid > 0;
    }
    return false;
}

/* Whether it could shut itself in is seen when it answers. */
static bool finish(struct share *share, char err[ERR_BYTES]) {
    char why[ERR_BYTES] = "cannot be started";
    while (share->pid > 0) {
        share->backend = vhost_user_open(share->connection, why);
        share->connection = -1;
        if (share->backend) {
            close(share->log); /* what it says later nobody would read: it only loses that */
            return true;
        }
        helper_failed(share->pid, share->log, why);
        share->pid = 0;
        launch(share);
    }
    return wrong(err, server.path, why);
}

bool shares_start(const struct options *o, char err[ERR_BYTES]) {
    struct stat st;
    if (o->shares && !choose_server(&server, err))
        return false;
    for (unsigned i = 0; i < o->shares; i++) {
        struct share *share = &shares[share_count];
        *share = (struct share){.connection = -1, .dir = realpath(o->share[i].dir, NULL)};
        if (!share->dir || stat(share->dir, &st))
            return wrong(err, o->share[i].dir, strerror(errno));
        share_count++;
        if (!S_ISDIR(st.st_mode))
            return wrong(err, o->share[i].dir, strerror(ENOTDIR));
        launch(share);
    }
    return true;
}

bool shares_open(char err[ERR_BYTES]) {
    for (unsigned i = 0; i < share_count; i++)
        if (!finish(&shares[i], err))
            return false;
    return true;
}

struct vhost_user *share_backend(unsigned n) { return shares[n].backend; }

void shares_close(void) {
    for (unsigned i = 0; i < share_count; i++) {
        if (shares[i].backend)
            vhost_user_close(shares[i].backend);
        if (shares[i].connection >= 0)
            close(shares[i].connection);
        free(shares[i].dir);
    }
    share_count = 0;
}
