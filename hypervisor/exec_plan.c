/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * exec_plan.c: finds the root, the kernel and its modules for a command, and says what the agent has to mount.
 *
 * The root is the lower layer of an overlay whose upper one is in the guest's memory, so that a command changes nothing
 * but the folders that it is given to write.
 */
#include "graft/agent.h"
#include "graft/board.h"
#include "hypervisor/exec.h"
#include "hypervisor/loader.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOWER "/lower"
#define UPPER "/upper"
#define ROOT "/new"
#define RDONLY 1 /* Linux' flags of mount(), as the guest has them */
#define NOSUID_NODEV 6
#define NAMESERVER "nameserver 10.0.2.3\n" /* libslirp's */

static bool wrong(char err[ERR_BYTES], const char *what, const char *why) {
    snprintf(err, ERR_BYTES, "exec: %.100s%s: %.130s", what, strlen(what) > 100 ? "..." : "", why);
    return false;
}

/* A text, malloc'ed; NULL without memory. */
__attribute__((format(printf, 1, 2))) static char *make(const char *fmt, ...) {
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : text;
}

/* --- frames ----------------------------------------------------------------------------------- */
static void append(struct frames *f, const void *data, size_t len) {
    if (f->len + len > f->room) {
        size_t room = 2 * (f->len + len) + 256;
        uint8_t *p = realloc(f->data, room);
        f->failed |= !p;
        if (!p)
            return;
        f->data = p;
        f->room = room;
    }
    if (len)
        memcpy(f->data + f->len, data, len);
    f->len += len;
}

void frames_begin(struct frames *f, uint32_t type) {
    struct agent_frame head = {type, 0};
    f->last = f->len;
    append(f, &head, sizeof(head));
}

void frames_put(struct frames *f, const void *data, size_t len) {
    struct agent_frame head;
    append(f, data, len);
    if (f->failed)
        return;
    memcpy(&head, f->data + f->last, sizeof(head));
    head.bytes += (uint32_t)len;
    memcpy(f->data + f->last, &head, sizeof(head));
}

void frames_copy(struct frames *f, const struct frames *from) { append(f, from->data, from->len); }

void frames_number(struct frames *f, uint32_t n) { frames_put(f, &n, sizeof(n)); }

void frames_text(struct frames *f, const char *text) { frames_put(f, text, strlen(text) + 1); }

void frames_add(struct frames *f, uint32_t type, const void *data, size_t len) {
    frames_begin(f, type);
    frames_put(f, data, len);
}

static void say_text(struct frames *f, uint32_t type, const char *text) {
    frames_begin(f, type);
    frames_text(f, text);
}

static void say_texts(struct frames *f, uint32_t type, const char *one, const char *two) {
    say_text(f, type, one);
    frames_text(f, two);
}

static void say_mount(struct frames *f, const char *type, const char *source, const char *target, uint32_t flags,
                      const char *data) {
    frames_begin(f, AGENT_MOUNT);
    frames_number(f, flags);
    frames_text(f, type);
    frames_text(f, source);
    frames_text(f, target);
    frames_text(f, data);
}

/* --- where things are ------------------------------------------------------------------------- */
char *exec_cache(const char *below) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/')
        return make("%s/graft/%s", cache, below);
    return home && *home ? make("%s/.cache/graft/%s", home, below) : NULL;
}

static bool is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* The last name in a folder that begins so, by the numbers in it; malloc'ed, NULL: there is none. */
static const char *wanted_prefix;
static int begins_so(const struct dirent *e) { return !strncmp(e->d_name, wanted_prefix, strlen(wanted_prefix)); }

static char *last_name(const char *dir, const char *prefix) {
    struct dirent **list;
    char *last = NULL;
    wanted_prefix = prefix;
    int n = scandir(dir, &list, begins_so, versionsort);
    for (int i = 0; i < n; i++) {
        if (i == n - 1 && list[i]->d_name[0] != '.')
            last = strdup(list[i]->d_name);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return last;
}

/* --- the root --------------------------------------------------------------------------------- */
/* Without --root it is the only one that there is. */
static char *only_root(char err[ERR_BYTES]) {
    char *dir = exec_cache("roots"), *name = dir ? last_name(dir, "") : NULL, *root = NULL;
    struct dirent **list = NULL;
    wanted_prefix = "";
    int n = dir ? scandir(dir, &list, begins_so, versionsort) : 0, count = 0;
    for (int i = 0; i < n; i++) {
        count += list[i]->d_name[0] != '.';
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    if (count == 1 && name)
        root = make("%s/%s", dir, name);
    else
        wrong(err, "which root?",
              count ? "there are several: --root NAME, as 'graft root list' has them"
                    : "'graft root add NAME' makes one; or --root DIR");
    free(name);
    free(dir);
    return root;
}

/* --root NAME, DIR or IMAGE. */
static char *find_root(const char *given, char err[ERR_BYTES]) {
    if (!given)
        return only_root(err);
    char *below = strchr(given, '/') ? NULL : make("roots/%s", given), *named = below ? exec_cache(below) : NULL, *root;
    free(below);
    if (named && *given != '.' && is_folder(named))
        return named;
    free(named);
    root = realpath(given, NULL);
    if (!root)
        wrong(err, given, errno == ENOENT ? "no such root, folder or image ('graft root list')" : strerror(errno));
    return root;
}

/* A file of a root, links followed as the guest would. */
static int open_in(const char *root, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT};
    int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
    if (dir >= 0)
        close(dir);
    return fd;
}

/* e_machine of an open program, which is closed. EM_NONE: it is none. */
static unsigned machine_of_open(int fd) {
    Elf64_Ehdr h;
    ssize_t n = fd < 0 ? -1 : read(fd, &h, sizeof(h));
    if (fd >= 0)
        close(fd);
    return n == sizeof(h) && !memcmp(h.e_ident, ELFMAG, SELFMAG) ? h.e_machine : EM_NONE;
}

/* e_machine of the programs of a root; EM_NONE: it has none that is known. */
static unsigned machine_of(const char *root) {
    static const char *const programs[] = {"bin/sh", "usr/bin/env", "sbin/init", "bin/busybox", "usr/bin/bash", "init"};
    for (unsigned i = 0; i < ARRAY_LEN(programs); i++) {
        unsigned machine = machine_of_open(open_in(root, programs[i]));
        if (machine != EM_NONE)
            return machine;
    }
    return EM_NONE;
}

/* What the root's programs are for, or, if they do not tell, what --guest says. */
static const struct board *guest_for(unsigned machine, const struct options *o) {
    const struct board *const *b = boards;
    if (machine == EM_NONE)
        return o->board ? o->board : *b;
    while (*b && machine != (*b)->elf_machine)
        b++;
    return *b;
}

static bool choose_guest(struct exec_plan *p, struct options *o, char err[ERR_BYTES]) {
    unsigned machine = p->image ? EM_NONE : machine_of(p->root);
    char why[ERR_BYTES];
    const char *name = loader_machine(machine);
    p->guest = guest_for(machine, o);
    if (!p->guest)
        snprintf(why, sizeof(why), "the root is for %s; guests are for aarch64 or riscv64",
                 name ? name : "another processor");
    else if (p->guest->agent == p->guest->agent_end)
        snprintf(why, sizeof(why), "this graft was built without a compiler for what it needs in guests of %s",
                 p->guest->target);
    else if (o->board && o->board != p->guest)
        snprintf(why, sizeof(why), "the root is for %s, and --guest is %s", p->guest->target, o->board->name);
    else
        return o->board = p->guest, true;
    return wrong(err, p->root, why);
}

static bool choose_root(struct exec_plan *p, struct options *o, char err[ERR_BYTES]) {
    struct stat st;
    char *tree;
    p->root = find_root(o->root, err);
    if (!p->root)
        return false;
    if (stat(p->root, &st))
        return wrong(err, p->root, strerror(errno));
    p->image = !S_ISDIR(st.st_mode);
    /* One of ours has its kernel beside it. */
    if (!p->image && (tree = make("%s/tree", p->root)) && is_folder(tree)) {
        free(p->root);
        p->root = tree;
    }
    return choose_guest(p, o, err);
}

/* --- the kernel ------------------------------------------------------------------------------- */
/* The newest vmlinuz-VERSION, or vmlinux-VERSION, below boot, with lib/modules/VERSION below lib. */
static bool kernel_in(struct exec_plan *p, const char *boot, const char *lib) {
    char *name = last_name(boot, "vmlinuz-");
    if (!name && !(name = last_name(boot, "vmlinux-")))
        return false;
    p->kernel = make("%s/%s", boot, name);
    p->modules = make("%s/modules/%s", lib, name + strlen("vmlinuz-"));
    free(name);
    return p->kernel && p->modules;
}

/* --kernel: its modules are where its version says, if its name has one. */
static void own_kernel(struct exec_plan *p, const char *kernel) {
    const char *name = strrchr(kernel, '/');
    name = name ? name + 1 : kernel;
    p->kernel = strdup(kernel);
    if (!strncmp(name, "vmlinuz-", 8)) {
        p->modules = make("%s/lib/modules/%s", p->root, name + 8);
        if (p->modules && !is_folder(p->modules)) {
            free(p->modules);
            p->modules = make("%.*s/modules/%s", (int)(name - kernel), kernel, name + 8);
        }
    }
}

/* Any root of ours for that processor has a kernel that will do. */
static bool borrowed_kernel(struct exec_plan *p) {
    char *roots = exec_cache("roots");
    DIR *d = roots ? opendir(roots) : NULL;
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        char *tree = make("%s/%s/tree", roots, e->d_name), *boot = make("%s/%s/kernel", roots, e->d_name);
        if (e->d_name[0] != '.' && tree && boot && machine_of(tree) == p->guest->elf_machine)
            found = kernel_in(p, boot, boot);
        free(tree);
        free(boot);
    }
    if (d)
        closedir(d);
    free(roots);
    return found;
}

static bool choose_kernel(struct exec_plan *p, const char *given, char err[ERR_BYTES]) {
    char *boot = make("%s/boot", p->root), *lib = make("%s/lib", p->root), *beside = make("%s/../kernel", p->root);
    bool found = true;
    if (given)
        own_kernel(p, given);
    else
        found = kernel_in(p, beside, beside) || kernel_in(p, boot, lib) || borrowed_kernel(p);
    free(boot);
    free(lib);
    free(beside);
    if (!found)
        return wrong(err, p->root, "no kernel in it, and none of a root that 'graft root add' made: --kernel FILE");
    if (p->modules && !is_folder(p->modules)) {
        free(p->modules);
        p->modules = NULL;
    }
    return true;
}

/* --- folders ---------------------------------------------------------------------------------- */
/* A folder that is shared at the same path is not to hide what the root is made of. */
static bool hides_root(const char *path) {
    static const char *const own[] = {"/",    "/bin",  "/boot", "/dev", "/etc", "/lib",     "/lib64",   "/proc",
                                      "/run", "/sbin", "/sys",  "/usr", "/var", "/usr/bin", "/usr/lib", "/usr/sbin"};
    for (unsigned i = 0; i < ARRAY_LEN(own); i++)
        if (!strcmp(path, own[i]))
            return true;
    return false;
}

static bool add_share(struct options *o, const char *tag, const char *dir, bool readonly, char err[ERR_BYTES]) {
    unsigned n = o->shares;
    if (n == OPTIONS_MAX_SHARES)
        return wrong(err, dir, "too many folders");
    o->share[n].tag = strdup(tag);
    o->share[n].dir = strdup(dir);
    o->share[n].readonly = readonly;
    o->shares++;
    return o->share[n].tag && o->share[n].dir;
}

/* The folders that the guest is to have at their own paths. */
struct folders {
    struct {
        char *path;
        bool readonly;
    } at[OPTIONS_MAX_SHARES + 1];
    unsigned count;
};

/* The first that says what a folder is decides. Those above others come first, as they are mounted first. */
static bool add_folder(struct folders *f, const char *given, bool readonly, char err[ERR_BYTES]) {
    char *path = realpath(given, NULL);
    unsigned at = 0;
    if (!path)
        return wrong(err, given, strerror(errno));
    bool ok = is_folder(path) ? !hides_root(path) || wrong(err, path, "this folder would hide what the root has there")
                              : wrong(err, given, strerror(ENOTDIR));
    bool known = false;
    for (unsigned i = 0; i < f->count; i++)
        known |= !strcmp(f->at[i].path, path);
    if (known || !ok) {
        free(path);
        return ok;
    }
    while (at < f->count && strlen(f->at[at].path) <= strlen(path))
        at++;
    memmove(&f->at[at + 1], &f->at[at], (f->count - at) * sizeof(f->at[0]));
    f->at[at].path = path;
    f->at[at].readonly = readonly;
    f->count++;
    return true;
}

static bool share_folder(struct exec_plan *p, struct options *o, const char *path, bool readonly, char err[ERR_BYTES]) {
    char tag[16], *target = make("%s%s", ROOT, path);
    snprintf(tag, sizeof(tag), "folder%u", o->shares);
    bool ok = target && add_share(o, tag, path, readonly, err);
    if (ok)
        say_mount(&p->setup, "virtiofs", tag, target, readonly ? RDONLY : 0, "");
    free(target);
    return ok;
}

static bool mount_root(struct exec_plan *p, struct options *o, char err[ERR_BYTES]) {
    struct frames *f = &p->setup;
    if (p->image) {
        o->drive[0] = (struct drive){
            .path = strdup(p->root), .readonly = !o->root_writable, .format = DRIVE_RAW /* it has an ext4 */};
        o->drives = 1;
    } else if (!add_share(o, "root", p->root, !o->root_writable, err)) {
        return false;
    }
    const char *type = p->image ? "ext4" : "virtiofs", *source = p->image ? "/dev/vda" : "root";
    if (o->root_writable) {
        say_mount(f, type, source, ROOT, 0, "");
        return true;
    }
    say_mount(f, type, source, LOWER, RDONLY, "");
    say_mount(f, "tmpfs", "upper", UPPER, 0, "mode=755");
    say_text(f, AGENT_FOLDER, UPPER "/data");
    say_text(f, AGENT_FOLDER, UPPER "/work");
    say_mount(f, "overlay", "root", ROOT, 0, "lowerdir=" LOWER ",upperdir=" UPPER "/data,workdir=" UPPER "/work");
    return true;
}

static void mount_own(struct exec_plan *p) {
    static const struct {
        const char *type, *target, *data;
        uint32_t flags;
    } own[] = {{"proc", "/proc", "", NOSUID_NODEV},
               {"sysfs", "/sys", "", NOSUID_NODEV},
               {"devtmpfs", "/dev", "", 0},
               {"devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", 0},
               {"tmpfs", "/dev/shm", "mode=1777", NOSUID_NODEV},
               {"tmpfs", "/run", "mode=755", NOSUID_NODEV},
               {"tmpfs", "/tmp", "mode=1777", NOSUID_NODEV}};
    static const char *const links[][2] = {{"/dev/fd", "/proc/self/fd"},
                                           {"/dev/stdin", "/proc/self/fd/0"},
                                           {"/dev/stdout", "/proc/self/fd/1"},
                                           {"/dev/stderr", "/proc/self/fd/2"}};
    char path[64];
    for (unsigned i = 0; i < ARRAY_LEN(own); i++) {
        snprintf(path, sizeof(path), ROOT "%s", own[i].target);
        say_mount(&p->setup, own[i].type, own[i].type, path, own[i].flags, own[i].data);
    }
    for (unsigned i = 0; i < ARRAY_LEN(links); i++) {
        snprintf(path, sizeof(path), ROOT "%s", links[i][0]);
        say_texts(&p->setup, AGENT_LINK, path, links[i][1]);
    }
}

/* A program of the host's that is for the guest, as those that `go test` makes: its folder is there to read, if none
 * that is there has it. */
static bool add_program(struct exec_plan *p, const struct options *o, struct folders *f, char err[ERR_BYTES]) {
    const char *program = o->command[0], *slash = strrchr(program, '/');
    if (*program != '/' || slash == program ||
        machine_of_open(open(program, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) != p->guest->elf_machine)
        return true;
    char *given = make("%.*s", (int)(slash - program), program), *path = given ? realpath(given, NULL) : NULL;
    bool wanted = path && !strcmp(given, path) && !hides_root(path);
    for (unsigned i = 0; wanted && i < f->count; i++) {
        size_t len = strlen(f->at[i].path);
        wanted = strncmp(path, f->at[i].path, len) || (path[len] && path[len] != '/');
    }
    bool ok = !wanted || add_folder(f, path, true, err);
    free(path);
    free(given);
    return ok;
}

static bool mount_folders(struct exec_plan *p, struct options *o, char err[ERR_BYTES]) {
    struct folders f = {0};
    char *cwd = getcwd(NULL, 0);
    bool ok = cwd || wrong(err, "the current folder", strerror(errno));
    for (unsigned i = 0; ok && i < o->folders; i++)
        ok = add_folder(&f, o->folder[i].path, o->folder[i].readonly, err);
    if (ok && strcmp(cwd, "/"))
        ok = add_folder(&f, cwd, false, err);
    ok = ok && add_program(p, o, &f, err);
    for (unsigned i = 0; i < f.count; i++) {
        ok = ok && share_folder(p, o, f.at[i].path, f.at[i].readonly, err);
        free(f.at[i].path);
    }
    if (ok)
        say_text(&p->setup, AGENT_CWD, cwd);
    free(cwd);
    return ok;
}

/* --- the command ------------------------------------------------------------------------------ */
static void say_environment(struct frames *f, const struct options *o) {
    const char *term = getenv("TERM");
    char text[128];
    say_text(f, AGENT_ENV, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    say_text(f, AGENT_ENV, "HOME=/root");
    if (term && strlen(term) < 100) {
        snprintf(text, sizeof(text), "TERM=%s", term);
        say_text(f, AGENT_ENV, text);
    }
    for (unsigned i = 0; i < o->envs; i++) {
        const char *here = strchr(o->env[i], '=') ? NULL : getenv(o->env[i]);
        if (strchr(o->env[i], '='))
            say_text(f, AGENT_ENV, o->env[i]);
        if (!here)
            continue;
        frames_begin(f, AGENT_ENV);
        frames_put(f, o->env[i], strlen(o->env[i]));
        frames_put(f, "=", 1);
        frames_text(f, here);
    }
}

static void say_net(struct frames *f, bool net) {
    uint32_t address[3] = {inet_addr("10.0.2.15"), inet_addr("255.255.255.0"), inet_addr("10.0.2.2")};
    frames_add(f, AGENT_NET, address, net ? sizeof(address) : 0);
}

static bool say_command(struct frames *f, const struct options *o, char err[ERR_BYTES]) {
    for (char **word = o->command; *word; word++) {
        if (strlen(*word) >= AGENT_MAX_BYTES - 1)
            return wrong(err, *word, strerror(E2BIG));
        say_text(f, AGENT_ARG, *word);
    }
    return true;
}

static bool say_all(struct exec_plan *p, struct options *o, char err[ERR_BYTES]) {
    struct frames *f = &p->setup;
    if (!mount_root(p, o, err))
        return false;
    mount_own(p);
    if (!mount_folders(p, o, err))
        return false;
    say_text(f, AGENT_ROOT, ROOT);
    say_texts(f, AGENT_FILE, "/proc/sys/kernel/hostname", "graft");
    say_net(f, o->net_kind == NET_USER);
    if (o->net_kind == NET_USER && !o->root_writable)
        say_texts(f, AGENT_FILE, "/etc/resolv.conf", NAMESERVER);
    say_environment(f, o);
    return say_command(f, o, err);
}

bool exec_plan(struct exec_plan *p, struct options *o, char err[ERR_BYTES]) {
    *p = (struct exec_plan){0};
    err[0] = 0;
    bool ok = choose_root(p, o, err) && choose_kernel(p, o->kernel, err) && say_all(p, o, err);
    p->append = make("%s panic=0%s%s", o->verbose ? "" : "quiet", o->append ? " " : "", o->append ? o->append : "");
    if ((!ok && !err[0]) || p->setup.failed || !p->append)
        return wrong(err, "graft", "out of memory");
    if (!ok)
        return false;
    o->kernel = p->kernel;
    o->append = p->append;
    o->serial = o->verbose ? "stderr" : "none";
    o->no_reboot = true;
    return true;
}

void exec_plan_free(struct exec_plan *p) {
    free(p->root);
    free(p->kernel);
    free(p->modules);
    free(p->append);
    free(p->setup.data);
}

void exec_dry_run(const struct exec_plan *p, const struct exec_kept *k, const struct options *o) {
    printf("guest    %s\nroot     %s (%s)\nkernel   %s\nmodules  %s\n", p->guest->target, p->root,
           o->root_writable ? "changes stay" : "changes are forgotten", p->kernel, p->modules ? p->modules : "none");
    printf("machine  --memory %lluM --smp %u --net %s --append '%s'\n", (unsigned long long)(o->memory >> 20), o->smp,
           o->net_kind == NET_USER ? "user" : "none", p->append);
    printf("start    %s%s\n",
           k->snapshot ? "resumed from "
           : k->path   ? "booted, and kept in "
                       : "booted",
           k->path ? k->path : "");
    for (unsigned i = !p->image; i < o->shares; i++)
        printf("folder   %s (%s)\n", o->share[i].dir, o->share[i].readonly ? "to read" : "to read and write");
    printf("command ");
    for (char **word = o->command; *word; word++)
        printf(" %s", *word);
    puts("");
}
