/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * code_cache.c: see code_cache.h. All that is ever opened by name is opened before the sandbox: the files that are
 * there, and a new one, under a lock as long as its run lives. What a run leaves behind without a head, the next one
 * removes; so does it with files whose entries another one has.
 */
#include "hypervisor/code_cache.h"
#include "graft/host.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define FILE_MAX_BYTES (224 * MIB)
#define LOAD_MAX_BYTES (256 * MIB)
#define ALL_MAX_BYTES (1024 * MIB) /* of all files in the folder */
#define GIVEN_MAX_BYTES MIB        /* by the engine at once */
#define OUT_BYTES MIB
#define WORTH_IT 256     /* a file has at least a part of what there was that is so large */
#define FOLDER_FILES 512 /* more than that are not looked at */

/* A file that is there. */
struct found {
    char name[64];
    int fd;
    bool locked; /* by the run that makes it */
    uint64_t disk_bytes;
    int64_t used; /* seconds since 1970 */
    struct code_cache_head head;
    struct code_cache_index *index; /* NULL: it is not used */
};

/* What is written. */
struct made {
    int fd;                 /* -1: nothing */
    uint64_t id, at, begun; /* at: bytes behind the head so far, in `out` or before */
    uint8_t *out;
    size_t out_used;
    struct code_cache_index *index;
    uint32_t count, room;
    uint64_t *ids, ids_mask; /* a hash table of those in the index */
    bool failed;
};

static struct {
    bool on, merge;
    pthread_mutex_t lock; /* of made: vCPUs add to it */
    struct machine_place place;
    uint64_t key[2];
    struct found file[CODE_CACHE_FILES]; /* those that are used, the newest first */
    unsigned files;
    uint64_t entries, bytes; /* in all of them */
    struct made made;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER, .made.fd = -1};

/* --- the key ---------------------------------------------------------------------------------- */
/* What of this program's file is code and constants, among which is the engine for the VM. */
static uint64_t hash_program(const uint8_t *file, uint64_t bytes) {
    const Elf64_Ehdr *e = (const Elf64_Ehdr *)file;
    uint64_t h = 0;
    if (bytes < sizeof(*e) || e->e_phoff > bytes || (bytes - e->e_phoff) / sizeof(Elf64_Phdr) < e->e_phnum)
        return 0;
    const Elf64_Phdr *p = (const Elf64_Phdr *)(file + e->e_phoff);
    for (unsigned i = 0; i < e->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_offset <= bytes && p[i].p_filesz <= bytes - p[i].p_offset)
            h = hash_bytes(h, file + p[i].p_offset, p[i].p_filesz);
    return h;
}

static uint64_t hash_build(void) {
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint64_t h = 0;
    void *file =
        fd >= 0 && !fstat(fd, &st) ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (file != MAP_FAILED) {
        h = hash_program(file, (uint64_t)st.st_size);
        munmap(file, (size_t)st.st_size);
    }
    if (fd >= 0)
        close(fd);
    return h;
}

/* The engine looks at what is left: code_entry.engine. */
static bool make_key(const struct options *o) {
    uint64_t what[8] = {hash_build(), cache.place.in_vm, cache.place.mmu, cache.place.layout,
                        o->cpu,       o->smp > 1,        o->count};
    uint64_t features = 0;
    for (unsigned i = 0; i < HOST_FEATURES; i++)
        features |= (uint64_t)host_has((enum host_feature)i) << i;
    what[7] = features;
    for (unsigned i = 0; i < 2; i++)
        cache.key[i] = hash_bytes(hash_bytes(i, what, sizeof(what)), cache.place.guest, strlen(cache.place.guest));
    return what[0] != 0;
}

/* --- the folder ------------------------------------------------------------------------------- */
static void refuse(const char *dir, const char *why) {
    log_printf("graft: --cache %.180s: %s: this run has no cache\n", dir, why);
}

static bool is_owners(const struct stat *st) { return st->st_uid == geteuid() && !(st->st_mode & 022); }

/* The folder, locked; -1. */
static int open_folder(const char *dir) {
    struct stat st;
    mkdir(dir, 0700);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        refuse(dir, strerror(errno));
    else if (!is_owners(&st))
        refuse(dir, "it belongs to somebody else, or others may write to it");
    else if (flock(fd, LOCK_EX))
        refuse(dir, strerror(errno));
    else
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool transfer(int fd, bool writes, char *buf, size_t bytes, uint64_t at) {
    while (bytes) {
        ssize_t n = writes ? pwrite(fd, buf, bytes, (off_t)at) : pread(fd, buf, bytes, (off_t)at);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        if (n > 0) {
            buf += n;
            at += (size_t)n;
            bytes -= (size_t)n;
        }
    }
    return true;
}
static bool read_all(int fd, void *to, size_t bytes, uint64_t at) { return transfer(fd, false, to, bytes, at); }
static bool write_all(int fd, void *from, size_t bytes, uint64_t at) { return transfer(fd, true, from, bytes, at); }

static bool is_name(const char *name) { return strlen(name) == 49 && strspn(name, "0123456789abcdef-") == 49; }

static void name_prefix(char prefix[40]) {
    snprintf(prefix, 40, "%016llx%016llx-", (unsigned long long)cache.key[0], (unsigned long long)cache.key[1]);
}

static void forget(struct found *f) {
    if (f->fd >= 0)
        close(f->fd);
    free(f->index);
    f->fd = -1;
    f->index = NULL;
}

/* Opens a file of the folder and reads its head, all zeros if it has none. False: it is none of ours, or not the
 * owner's alone. */
static bool look_at(int folder, const char *name, struct found *f) {
    struct stat st;
    *f = (struct found){.fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
    if (f->fd < 0 || fstat(f->fd, &st) || !S_ISREG(st.st_mode) || !is_owners(&st)) {
        forget(f);
        return false;
    }
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->locked = flock(f->fd, LOCK_EX | LOCK_NB) != 0;
    flock(f->fd, LOCK_UN); /* who opens the folder next is to find the same */
    f->disk_bytes = (uint64_t)st.st_blocks * 512;
    f->used = st.st_mtime;
    struct code_cache_head h;
    if (read_all(f->fd, &h, sizeof(h), 0) && code_cache_head_is_right(&h, h.key, (uint64_t)st.st_size))
        f->head = h;
    return true;
}

static bool read_index(struct found *f) {
    const struct code_cache_head *h = &f->head;
    const size_t bytes = h->count * sizeof(*f->index);
    f->index = malloc(bytes ? bytes : 1);
    if (f->index && read_all(f->fd, f->index, bytes, CODE_CACHE_HEAD_BYTES + h->bytes) &&
        code_cache_index_is_right(h, f->index))
        return true;
    free(f->index);
    f->index = NULL;
    return false;
}

/* Is what it has in another one, too? */
static bool is_merged(const struct found *f, const struct found *all, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < CODE_CACHE_FILES && all[i].fd >= 0; k++)
            if (all[i].head.merged[k] == f->head.id)
                return true;
    return false;
}

static void drop(int folder, struct found *f) {
    if (!f->locked)
        unlinkat(folder, f->name, 0);
    forget(f);
}

static int newer(const void *a, const void *b) {
    uint64_t x = ((const struct found *)a)->head.created, y = ((const struct found *)b)->head.created;
    return x < y ? 1 : x > y ? -1 : 0;
}

static bool is_key(const struct found *f) {
    return f->head.id && f->head.key[0] == cache.key[0] && f->head.key[1] == cache.key[1];
}

/* Of the file only so many bytes are used. */
static void shorten(struct found *f, uint64_t bytes) {
    struct code_cache_head *h = &f->head;
    if (h->bytes <= bytes)
        return;
    h->bytes = bytes;
    while (h->count && ((uint64_t)f->index[h->count - 1].at + 1) * CODE_ENTRY_ALIGN > bytes)
        h->count--;
}

/* Takes the newest files of the key, as much as there may be. */
static void choose(int folder, struct found *all, unsigned count) {
    qsort(all, count, sizeof(*all), newer);
    for (unsigned i = 0; i < count; i++) {
        struct found *f = &all[i];
        if (f->fd < 0 || !is_key(f))
            continue;
        if (cache.files == CODE_CACHE_FILES || cache.bytes == LOAD_MAX_BYTES)
            break;
        if (!read_index(f)) {
            drop(folder, f);
            continue;
        }
        shorten(f, LOAD_MAX_BYTES - cache.bytes);
        futimens(f->fd, NULL); /* it has been used */
        cache.entries += f->head.count;
        cache.bytes += f->head.bytes;
        cache.file[cache.files++] = *f;
        f->fd = -1;
        f->index = NULL;
    }
    cache.merge = cache.files == CODE_CACHE_FILES || cache.bytes == LOAD_MAX_BYTES;
}

/* Removes files that were used longest ago, until the others take no more than they may. */
static void make_room(int folder, struct found *all, unsigned count) {
    uint64_t sum = cache.bytes + FILE_MAX_BYTES;
    for (unsigned i = 0; i < count; i++)
        sum += all[i].fd >= 0 ? all[i].disk_bytes : 0;
    while (sum > ALL_MAX_BYTES) {
        struct found *oldest = NULL;
        for (unsigned i = 0; i < count; i++)
            if (all[i].fd >= 0 && !all[i].locked && (!oldest || all[i].used < oldest->used))
                oldest = &all[i];
        if (!oldest)
            return;
        sum -= oldest->disk_bytes;
        drop(folder, oldest);
    }
}

static unsigned look_around(int folder, struct found *all) {
    unsigned count = 0;
    int copy = dup(folder);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    for (const struct dirent *e; d && count < FOLDER_FILES && (e = readdir(d));)
        if (is_name(e->d_name) && look_at(folder, e->d_name, &all[count]))
            count++;
    if (d)
        closedir(d);
    return count;
}

static void open_files(int folder) {
    struct found *all = calloc(FOLDER_FILES, sizeof(*all));
    unsigned count = all ? look_around(folder, all) : 0;
    for (unsigned i = 0; i < count; i++)
        if (!all[i].locked && (!all[i].head.id || is_merged(&all[i], all, count)))
            drop(folder, &all[i]);
    choose(folder, all, count);
    make_room(folder, all, count);
    for (unsigned i = 0; i < count; i++)
        forget(&all[i]);
    free(all);
}

static void make_file(int folder) {
    struct made *f = &cache.made;
    struct timespec now;
    char prefix[40], name[64];
    clock_gettime(CLOCK_REALTIME, &now);
    f->begun = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    f->id = hash_bytes(f->begun, &(uint64_t){(uint64_t)getpid()}, sizeof(uint64_t)) | 1;
    name_prefix(prefix);
    snprintf(name, sizeof(name), "%s%016llx", prefix, (unsigned long long)f->id);
    f->fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd >= 0)
        flock(f->fd, LOCK_EX | LOCK_NB);
    f->out = malloc(OUT_BYTES);
    f->failed = f->fd < 0 || !f->out;
}

void code_cache_open(const struct options *o, const struct machine_place *place) {
    if (!o->cache)
        return;
    cache.place = *place;
    if (place->layout == ABI_LAYOUT_RING0) {
        refuse(o->cache, "under --layout ring0 code is good for one run");
        return;
    }
    int folder = make_key(o) ? open_folder(o->cache) : -1;
    if (folder < 0)
        return;
    open_files(folder);
    make_file(folder);
    if (cache.made.failed)
        log_printf("graft: --cache %.180s: %s: nothing is added to it\n", o->cache, strerror(errno));
    cache.on = true;
    close(folder);
}

/* --- to the engine ---------------------------------------------------------------------------- */
static bool is_for(const struct machine *m) {
    return cache.on && !m->probe && m->vm->in_vm == cache.place.in_vm && m->mmu == cache.place.mmu &&
           m->layout_kind == cache.place.layout;
}

static uint64_t table_slots(void) {
    uint64_t n = 2;
    while (n < 2 * cache.entries)
        n *= 2;
    return n;
}

uint64_t code_cache_bytes(const struct machine *m) {
    return is_for(m) ? table_slots() * sizeof(struct code_slot) + cache.bytes : 0;
}

void code_cache_load(struct machine *m) {
    struct abi_boot *b = m->boot;
    const uint64_t table_bytes = table_slots() * sizeof(struct code_slot);
    if (!is_for(m))
        return;
    b->reuse = cache.merge ? ABI_REUSE_ALL : ABI_REUSE_NEW;
    struct code_slot *table = (struct code_slot *)(m->arena + m->layout.reuse);
    uint8_t *entries = (uint8_t *)table + table_bytes;
    uint64_t at = 0;
    for (unsigned i = 0; i < cache.files; at += cache.file[i++].head.bytes) {
        const struct found *f = &cache.file[i];
        if (read_all(f->fd, entries + at, f->head.bytes, CODE_CACHE_HEAD_BYTES))
            code_cache_table(table, table_slots() - 1, &f->head, f->index, at);
    }
    b->reuse_table = m->arena_va + m->layout.reuse;
    b->reuse_mask = table_slots() - 1;
    b->reuse_va = b->reuse_table + table_bytes;
    b->reuse_bytes = cache.bytes;
}

/* --- from the engine -------------------------------------------------------------------------- */
static void write_out(struct made *f) {
    f->failed |= !write_all(f->fd, f->out, f->out_used, CODE_CACHE_HEAD_BYTES + f->at - f->out_used);
    f->out_used = 0;
}

/* The slot of that id, or the one where it would be. */
static uint64_t *slot_of(struct made *f, uint64_t id) {
    uint64_t n = id & f->ids_mask;
    while (f->ids[n] && f->ids[n] != id)
        n = (n + 1) & f->ids_mask;
    return &f->ids[n];
}

/* Room for one more entry in the index and the table of ids. */
static bool grow(struct made *f) {
    if (f->count < f->room)
        return true;
    uint32_t room = f->room ? 2 * f->room : 4096;
    struct code_cache_index *index = realloc(f->index, room * sizeof(*index));
    uint64_t *ids = index ? calloc(2 * (size_t)room, sizeof(*ids)) : NULL;
    f->index = index ? index : f->index;
    if (!ids)
        return false;
    free(f->ids);
    f->ids = ids;
    f->ids_mask = 2 * (uint64_t)room - 1;
    f->room = room;
    for (uint32_t i = 0; i < f->count; i++)
        *slot_of(f, f->index[i].id) = f->index[i].id;
    return true;
}

/* Adds the entry that begins at `from`, unless there is one for the same. Its size, 0: there is none in so many bytes.
 * The engine may write there meanwhile, which is for the engine to see that reads it. */
static uint32_t add(struct made *f, const uint8_t *from, uint64_t left) {
    struct code_entry x;
    if (left < sizeof(x))
        return 0;
    memcpy(&x, from, sizeof(x));
    if (x.bytes < sizeof(x) || x.bytes % CODE_ENTRY_ALIGN || x.bytes > left || x.bytes > OUT_BYTES)
        return 0;
    f->failed |= !grow(f);
    if (f->failed || !x.id || *slot_of(f, x.id) == x.id || f->at + x.bytes > FILE_MAX_BYTES)
        return x.bytes;
    if (f->out_used + x.bytes > OUT_BYTES)
        write_out(f);
    memcpy(f->out + f->out_used, from, x.bytes);
    *slot_of(f, x.id) = x.id;
    f->index[f->count++] = (struct code_cache_index){x.key, (uint32_t)(f->at / CODE_ENTRY_ALIGN), x.id};
    f->out_used += x.bytes;
    f->at += x.bytes;
    return x.bytes;
}

void code_cache_add(struct machine *m, struct abi_vcpu *abi) {
    struct made *f = &cache.made;
    uint64_t bytes = run_arg(abi, 1);
    const uint8_t *from = bytes <= GIVEN_MAX_BYTES ? machine_engine_ptr(m, run_arg(abi, 0), bytes) : NULL;
    pthread_mutex_lock(&cache.lock);
    while (cache.on && from && !f->failed) {
        uint32_t n = add(f, from, bytes);
        if (!n)
            break;
        from += n;
        bytes -= n;
    }
    abi->ret[0] = !cache.on || f->failed || f->at >= FILE_MAX_BYTES;
    pthread_mutex_unlock(&cache.lock);
}

/* What earlier runs have, the newest first, as far as there is room: what this one did not use is not lost at once. */
static void merge(struct machine *m, struct made *f, struct code_cache_head *h) {
    const uint8_t *entries = m->arena + m->layout.reuse + table_slots() * sizeof(struct code_slot);
    for (unsigned i = 0; i < cache.files; i++) {
        const struct found *from = &cache.file[i];
        for (uint32_t k = 0; k < from->head.count; k++) {
            uint64_t at = (uint64_t)from->index[k].at * CODE_ENTRY_ALIGN;
            add(f, entries + at, from->head.bytes - at);
        }
        entries += from->head.bytes;
        h->merged[i] = from->head.id;
    }
}

void code_cache_end(struct machine *m) {
    struct made *f = &cache.made;
    struct code_cache_head h = {.version = CODE_CACHE_VERSION, .id = f->id, .created = f->begun};
    if (!is_for(m) || f->failed || f->count <= cache.entries / WORTH_IT)
        return;
    if (cache.merge)
        merge(m, f, &h);
    write_out(f);
    memcpy(h.magic, "GRAFTCOD", sizeof(h.magic));
    memcpy(h.key, cache.key, sizeof(h.key));
    h.count = f->count;
    h.bytes = f->at;
    h.index_sum = hash_bytes(0, f->index, f->count * sizeof(*f->index));
    h.sum = hash_bytes(0, &h, offsetof(struct code_cache_head, sum));
    const size_t index_bytes = f->count * sizeof(*f->index);
    if (f->failed || !write_all(f->fd, f->index, index_bytes, CODE_CACHE_HEAD_BYTES + f->at) ||
        !write_all(f->fd, &h, sizeof(h), 0))
        f->failed = true;
    f->at += ALIGN_UP(index_bytes, CODE_ENTRY_ALIGN); /* of a machine that was reset more may follow */
}
