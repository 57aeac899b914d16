/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* exec_initrd.c: the initial RAM disk of graft exec: the agent, and the kernel modules that it needs, as a cpio
 * archive. */
#include "hypervisor/exec.h"
#include "hypervisor/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MODULE (32u << 20)
#define MAX_TABLE (16u << 20)
#define MAX_MODULES 64

struct archive {
    struct file *file;
    size_t room;
    unsigned inode;
    bool failed;
};

/* --- cpio (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst) ----------- */
static void put(struct archive *a, const void *data, size_t len) {
    struct file *f = a->file;
    if (f->len + len + 4 > a->room) {
        size_t room = 2 * (f->len + len) + 4096;
        uint8_t *p = realloc(f->data, room);
        a->failed |= !p;
        if (!p)
            return;
        f->data = p;
        a->room = room;
    }
    memcpy(f->data + f->len, data, len);
    f->len += len;
}

static void pad(struct archive *a) {
    if (a->file->len % 4)
        put(a, "\0\0\0", 4 - a->file->len % 4);
}

static void add(struct archive *a, const char *name, unsigned mode, const void *data, size_t len) {
    char head[111];
    snprintf(head, sizeof(head), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++a->inode, mode, 0u, 0u,
             1u, 0u, (unsigned)len, 0u, 0u, 0u, 0u, (unsigned)strlen(name) + 1, 0u);
    put(a, head, 110);
    put(a, name, strlen(name) + 1);
    pad(a);
    if (len)
        put(a, data, len);
    pad(a);
}

/* --- modules: modules.dep has lines 'FILE: FILE...', what a module needs behind it, last what is to be loaded first
 * --- */
struct modules {
    const char *dir;
    char *table;
    char *wanted[MAX_MODULES]; /* files, in the order to load them in */
    unsigned count;
};

/* Is this the file of a module of that name? In names - and _ are the same. */
static bool is_module(const char *path, size_t len, const char *name) {
    const char *base = path;
    for (size_t i = 0; i < len; i++)
        if (path[i] == '/')
            base = path + i + 1;
    for (; *name; name++, base++)
        if (base >= path + len || (*base == '-' ? '_' : *base) != (*name == '-' ? '_' : *name))
            return false;
    return (size_t)(path + len - base) >= 3 && !memcmp(base, ".ko", 3);
}

static void want_file(struct modules *m, const char *path, size_t len) {
    for (unsigned i = 0; i < m->count; i++)
        if (strlen(m->wanted[i]) == len && !memcmp(m->wanted[i], path, len))
            return;
    char *copy = m->count < MAX_MODULES ? strndup(path, len) : NULL;
    if (copy)
        m->wanted[m->count++] = copy;
}

static void want_line(struct modules *m, const char *line, size_t len) {
    size_t own = strcspn(line, ":"), end = len;
    for (size_t at = len; at > own + 1; at--) { /* words, from the last on */
        if (line[at - 1] != ' ')
            continue;
        if (end > at)
            want_file(m, line + at, end - at);
        end = at - 1;
    }
    want_file(m, line, own);
}

/* One that is not there is part of the kernel, or will be missed. */
static void want(struct modules *m, const char *name) {
    for (const char *line = m->table; line && *line;) {
        size_t len = strcspn(line, "\n"), own = strcspn(line, ":");
        if (own < len && is_module(line, own, name)) {
            want_line(m, line, len);
            return;
        }
        line += len + (line[len] == '\n');
    }
}

/* Modules go in unpacked, so that any kernel can load them. */
static bool read_module(struct file *f, const char *path, char err[ERR_BYTES]) {
    uint8_t *out;
    size_t len;
    char why[LOADER_ERR_BYTES];
    if (!file_read(f, path, MAX_MODULE, NULL, NULL, err))
        return false;
    const char *packing = loader_packing(f->data, f->len);
    if (!packing)
        return true;
    if (loader_decompress(packing, f->data, f->len, MAX_MODULE, &out, &len, why)) {
        snprintf(err, ERR_BYTES, "%.120s: %.120s", path, why);
        file_free(f);
        return false;
    }
    file_free(f);
    *f = (struct file){out, len};
    return true;
}

static bool add_module(struct archive *a, struct file *list, const struct modules *m, unsigned n, char err[ERR_BYTES]) {
    char path[4096], name[32], line[32];
    struct file f;
    snprintf(path, sizeof(path), "%s/%s", m->dir, m->wanted[n]);
    if (!read_module(&f, path, err))
        return false;
    snprintf(name, sizeof(name), "modules/%02u.ko", n);
    add(a, name, 0100644, f.data, f.len);
    file_free(&f);
    struct archive lines = {.file = list, .room = list->len}; /* grows each time: they are few */
    put(&lines, line, (size_t)snprintf(line, sizeof(line), "%02u.ko\n", n));
    return !lines.failed;
}

static bool read_table(struct modules *m, char err[ERR_BYTES]) {
    char path[4096];
    struct file f;
    snprintf(path, sizeof(path), "%s/modules.dep", m->dir);
    if (!file_read(&f, path, MAX_TABLE, NULL, NULL, err))
        return false;
    m->table = f.data ? strndup((char *)f.data, f.len) : NULL;
    file_free(&f);
    return m->table != NULL;
}

static bool add_modules(struct archive *a, const struct exec_plan *p, char err[ERR_BYTES]) {
    static const char *const names[] = {"virtio_mmio", "virtio_console", "virtiofs", "overlay", "virtio_net"};
    static const char *const for_image[] = {"virtio_blk", "crc32c_generic", "ext4"};
    struct modules m = {.dir = p->modules};
    struct file list = {0};
    bool ok = read_table(&m, err);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        want(&m, names[i]);
    for (unsigned i = 0; p->image && i < ARRAY_LEN(for_image); i++)
        want(&m, for_image[i]);
    for (unsigned i = 0; ok && i < m.count; i++)
        ok = add_module(a, &list, &m, i, err);
    if (ok)
        add(a, "modules/list", 0100644, list.data, list.len);
    file_free(&list);
    for (unsigned i = 0; i < m.count; i++)
        free(m.wanted[i]);
    free(m.table);
    return ok;
}

bool exec_initrd(struct file *f, const struct exec_plan *p, char err[ERR_BYTES]) {
    struct archive a = {.file = f};
    *f = (struct file){0};
    add(&a, "dev", 040755, NULL, 0);
    add(&a, "modules", 040755, NULL, 0);
    add(&a, "init", 0100755, p->guest->agent, (size_t)(p->guest->agent_end - p->guest->agent));
    if (p->modules && !add_modules(&a, p, err))
        return false;
    add(&a, "TRAILER!!!", 0, NULL, 0);
    if (a.failed)
        snprintf(err, ERR_BYTES, "out of memory");
    return !a.failed;
}
