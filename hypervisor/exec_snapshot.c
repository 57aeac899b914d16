/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * exec_snapshot.c: guests of graft exec that have booted, kept for later runs.
 *
 * One is saved when its agent says hello: it has mounted nothing then, and knows neither root nor command. So it does
 * for all runs with the same kernel, modules, machine and Graft: these make the key, and a file's name is the key's
 * sum. A file is made under its own name and under a lock, with its head written last (snapshot.h): whoever finds one
 * without a head, and nobody who writes it, makes it again.
 */
#include "graft/host.h"
#include "hypervisor/exec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "snapshots"
#define ALL_MAX_BYTES (UINT64_C(2) << 30) /* of all that are kept, on the disk */

/* --- the key ---------------------------------------------------------------------------------- */
struct key {
    char *text;
    size_t room, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct key *k, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(k->text + k->len, k->room - k->len, fmt, ap);
    va_end(ap);
    k->len += n < 0 ? k->room : (size_t)n;
    if (k->len > k->room - 1)
        k->len = k->room - 1;
}

/* A file is known by where it is and when it was changed: reading it would take as long as booting it does. */
static bool add_file(struct key *k, const char *what, const char *path) {
    struct stat st;
    if (stat(path, &st))
        return false;
    add(k, "%s %llx:%llx %lld %lld.%09ld\n", what, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
        (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    return true;
}

static bool add_modules(struct key *k, const struct exec_plan *p) {
    char path[4096];
    if (!p->modules)
        return true;
    return snprintf(path, sizeof(path), "%s/modules.dep", p->modules) < (int)sizeof(path) &&
           add_file(k, "modules", path);
}

static bool make_key(char *text, size_t room, const struct exec_plan *p, const struct options *o) {
    struct key k = {.text = text, .room = room};
    if (!add_file(&k, "graft", "/proc/self/exe") || !add_file(&k, "kernel", p->kernel) || !add_modules(&k, p))
        return false;
    add(&k, "%s %lluM %u %u gic %u cpu %u\n", p->guest->target, (unsigned long long)(o->memory >> 20), o->smp,
        o->net_kind, o->gic, o->cpu);
    for (unsigned i = 0; i < o->shares; i++)
        add(&k, "%s ", o->share[i].tag);
    for (unsigned i = 0; i < HOST_FEATURES; i++)
        add(&k, "%u", host_has((enum host_feature)i));
    add(&k, "\n%s", p->append);
    return k.len < room - 1; /* else there may have been more */
}

/* --- the folder ------------------------------------------------------------------------------- */
static char *make_folder(void) {
    char *dir = exec_cache(FOLDER), *slash;
    if (!dir)
        return NULL;
    for (slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(dir, 0700);
        *slash = '/';
    }
    if (!mkdir(dir, 0700) || errno == EEXIST)
        return dir;
    free(dir);
    return NULL;
}

/* Removes those that were used longest ago, until the others take no more than they may. The lock is that of who makes
 * a new one: one that is in use stays there for who has it open. */
static void make_room(const char *dir) {
    for (;;) {
        DIR *d = opendir(dir);
        char oldest[256] = "";
        time_t when = 0;
        uint64_t sum = 0;
        for (const struct dirent *e; d && (e = readdir(d));) {
            struct stat st;
            if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
                continue;
            sum += (uint64_t)st.st_blocks * 512;
            if (!*oldest || st.st_mtime < when) {
                snprintf(oldest, sizeof(oldest), "%s", e->d_name);
                when = st.st_mtime;
            }
        }
        bool less = sum > ALL_MAX_BYTES && *oldest && d && !unlinkat(dirfd(d), oldest, 0);
        if (d)
            closedir(d);
        if (!less)
            return;
    }
}

/* --- opening ---------------------------------------------------------------------------------- */
/* A file that only its owner may touch. */
static bool is_ours(int fd) {
    struct stat st;
    return !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

static struct snapshot *open_kept(const char *path, const char *key) {
    char err[ERR_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && !is_ours(fd)) {
        close(fd);
        fd = -1;
    }
    struct snapshot *s = fd < 0 ? NULL : snapshot_open_fd(fd, err);
    if (s && !strcmp(s->config.key, key)) {
        futimens(s->fd, NULL); /* it has been used */
        return s;
    }
    snapshot_close(s);
    return NULL;
}

/* Nobody else makes it at the same time. */
static bool open_new(struct exec_kept *k, const char *dir) {
    char err[ERR_BYTES];
    make_room(dir);
    k->target = (struct snapshot_target){.fd = -1, .pages = -1, .key = k->key, .quiet = true};
    if (snapshot_target_open(&k->target, k->path, err) && is_ours(k->target.fd))
        return true;
    snapshot_target_close(&k->target);
    return false;
}

void exec_kept_open(struct exec_kept *k, const struct exec_plan *p, struct options *o) {
    *k = (struct exec_kept){.target = {.fd = -1, .pages = -1}};
    /* Of a disk the guest has read the beginning when it has booted. */
    char *dir = o->cold || o->verbose || o->drives ? NULL : make_folder();
    char err[ERR_BYTES];
    if (!dir || !make_key(k->key, sizeof(k->key), p, o)) {
        free(dir);
        return;
    }
    unsigned long long name = snapshot_sum(0, k->key, strlen(k->key));
    if (asprintf(&k->path, "%s/%s-%016llx", dir, p->guest->target, name) < 0)
        k->path = NULL;
    if (k->path && (k->snapshot = open_kept(k->path, k->key)) && !snapshot_options(k->snapshot, o, err)) {
        snapshot_close(k->snapshot);
        k->snapshot = NULL;
    }
    k->save = k->path && !k->snapshot && !o->dry_run && open_new(k, dir);
    free(dir);
}

void exec_kept_close(struct exec_kept *k) {
    snapshot_close(k->snapshot);
    snapshot_target_close(&k->target);
    free(k->path);
    *k = (struct exec_kept){.target = {.fd = -1, .pages = -1}};
}
