/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* snapshot_file.c: what a snapshot's file has in it, and whether it can be loaded here. */
#include "hypervisor/snapshot.h"
#include "graft/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "GRAFTSNP"
#define STATE_MAX_BYTES (4u << 20)
#define MEMORY_MAX (UINT64_C(64) << 30)

#define CONFIG(field) STATE(struct snapshot_config, field)
#define CONFIG_MAX(field, max) STATE_MAX(struct snapshot_config, field, 4, max)
#define DISK(n)                                                                                                        \
    CONFIG(disk[n].path), CONFIG(disk[n].bytes), CONFIG(disk[n].seconds), CONFIG(disk[n].nanoseconds),                 \
        CONFIG_MAX(disk[n].readonly, 1)
const struct state_field snapshot_config_table[] = {
    CONFIG(graft),
    CONFIG(board),
    CONFIG(key),
    CONFIG(created),
    STATE_MAX(struct snapshot_config, memory, 8, MEMORY_MAX),
    CONFIG_MAX(smp, ABI_MAX_VCPUS),
    CONFIG_MAX(gic, 3),
    CONFIG_MAX(cpu, ABI_CPU_CORE),
    CONFIG_MAX(legacy, 1),
    CONFIG_MAX(semihosting, 1),
    CONFIG_MAX(net, 1),
    CONFIG_MAX(console, 1),
    CONFIG_MAX(drives, OPTIONS_MAX_DRIVES),
    CONFIG_MAX(shares, OPTIONS_MAX_SHARES),
    CONFIG(vsock),
    CONFIG_MAX(balloon, 1),
    CONFIG(tag),
    DISK(0),
    DISK(1),
    DISK(2),
    DISK(3),
    DISK(4),
    DISK(5),
    DISK(6),
    DISK(7),
    DISK(8),
    DISK(9),
    DISK(10),
    DISK(11),
    DISK(12),
    DISK(13),
    DISK(14),
    DISK(15),
    STATE_END,
};
_Static_assert(OPTIONS_MAX_DRIVES == 16, "each disk has its rows");

static bool wrong(char err[ERR_BYTES], const char *why) {
    snprintf(err, ERR_BYTES, "%s", why);
    return false;
}

uint64_t snapshot_sum(uint64_t seed, const void *data, size_t bytes) { return hash_bytes(seed, data, bytes); }

/* [at, at + bytes) inside the file, without overflow. */
static bool inside(uint64_t at, uint64_t bytes, uint64_t file_bytes) {
    return at <= file_bytes && bytes <= file_bytes - at;
}

bool snapshot_check_head(const struct snapshot_head *h, uint64_t file_bytes, char err[ERR_BYTES]) {
    if (file_bytes < sizeof(*h) || memcmp(h->magic, MAGIC, sizeof(h->magic)))
        return wrong(err, "no snapshot, or one that was not written to its end");
    if (h->version != SNAPSHOT_VERSION || h->head_bytes != sizeof(*h) || h->chunk_bytes != SNAPSHOT_CHUNK) {
        snprintf(err, ERR_BYTES, "a snapshot of another version of Graft: its format is %u, here it is %u", h->version,
                 SNAPSHOT_VERSION);
        return false;
    }
    if (h->head_sum != snapshot_sum(0, h, offsetof(struct snapshot_head, head_sum)))
        return wrong(err, "the snapshot is damaged: the head's checksum is wrong");
    if (h->state_bytes > STATE_MAX_BYTES || !inside(h->state_at, h->state_bytes, file_bytes) ||
        h->chunks > MEMORY_MAX / SNAPSHOT_CHUNK || h->ram_at & PAGE_MASK ||
        !inside(h->ram_at, (uint64_t)h->chunks * SNAPSHOT_CHUNK, file_bytes))
        return wrong(err, "the snapshot is damaged: it is shorter than it says");
    return true;
}

static bool has_end(const char *text, size_t bytes) { return memchr(text, 0, bytes) != NULL; }

static bool config_is_right(const struct snapshot_config *c) {
    bool ok = has_end(c->graft, sizeof(c->graft)) && has_end(c->board, sizeof(c->board)) &&
              has_end(c->key, sizeof(c->key)) && c->smp && c->gic >= 2 && c->memory >= SNAPSHOT_CHUNK &&
              c->memory % SNAPSHOT_CHUNK == 0;
    for (unsigned i = 0; i < OPTIONS_MAX_SHARES; i++)
        ok = ok && has_end(c->tag[i], sizeof(c->tag[i]));
    for (unsigned i = 0; i < OPTIONS_MAX_DRIVES; i++)
        ok = ok && has_end(c->disk[i].path, sizeof(c->disk[i].path));
    return ok;
}

/* The numbers rise, and are of chunks that the memory has. */
static bool chunks_are_right(const struct snapshot *s) {
    uint64_t most = s->config.memory / SNAPSHOT_CHUNK;
    for (uint32_t i = 0; i < s->head.chunks; i++)
        if (s->chunk[i] >= most || (i && s->chunk[i] <= s->chunk[i - 1]))
            return false;
    return true;
}

bool snapshot_parse(struct snapshot *s, char err[ERR_BYTES]) {
    const struct snapshot_head *h = &s->head;
    struct state_in *i = &s->rest;
    const struct state_field chunks[] = {{"chunks", 0, h->chunks * 4, STATE_KIND_SAVED, 0, 0}, STATE_END};
    *i = (struct state_in){s->state, s->state + h->state_bytes};
    if (h->state_sum != snapshot_sum(0, s->state, h->state_bytes))
        return wrong(err, "the snapshot is damaged: a checksum is wrong");
    s->chunk = calloc(h->chunks + 1, 4);
    if (!s->chunk)
        return wrong(err, "out of memory");
    if (!state_load(i, "config", snapshot_config_table, &s->config, err) ||
        !state_load(i, "memory", chunks, s->chunk, err))
        return false;
    return (config_is_right(&s->config) && chunks_are_right(s)) || wrong(err, "the snapshot says what cannot be");
}

/* --- opening ---------------------------------------------------------------------------------- */
bool snapshot_read(const struct snapshot *s, void *to, uint64_t at, size_t bytes) {
    ssize_t n;
    for (size_t done = 0; done < bytes; done += (size_t)n)
        if ((n = pread(s->fd, (uint8_t *)to + done, bytes - done, (off_t)(at + done))) <= 0)
            return false;
    return true;
}

static bool read_all(struct snapshot *s, char err[ERR_BYTES]) {
    struct stat st;
    if (flock(s->fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK)
        return wrong(err, "it is being written");
    if (fstat(s->fd, &st))
        return wrong(err, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return wrong(err, "no file");
    uint64_t bytes = (uint64_t)st.st_size;
    if (bytes >= sizeof(s->head) && !snapshot_read(s, &s->head, 0, sizeof(s->head)))
        return wrong(err, "it cannot be read");
    if (!snapshot_check_head(&s->head, bytes, err))
        return false;
    if (!(s->state = malloc(s->head.state_bytes + 1)))
        return wrong(err, "out of memory");
    return (snapshot_read(s, s->state, s->head.state_at, s->head.state_bytes) || wrong(err, "it cannot be read")) &&
           snapshot_parse(s, err);
}

struct snapshot *snapshot_open_fd(int fd, char err[ERR_BYTES]) {
    struct snapshot *s = calloc(1, sizeof(*s));
    if (!s) {
        close(fd);
        wrong(err, "out of memory");
        return NULL;
    }
    s->fd = fd;
    if (read_all(s, err))
        return s;
    snapshot_close(s);
    return NULL;
}

struct snapshot *snapshot_open(const char *path, char err[ERR_BYTES]) {
    char why[ERR_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct snapshot *s = fd < 0 ? NULL : snapshot_open_fd(fd, why);
    if (fd < 0)
        wrong(why, strerror(errno));
    if (!s)
        snprintf(err, ERR_BYTES, "%.100s%s: %.150s", path, strlen(path) > 100 ? "..." : "", why);
    return s;
}

void snapshot_close(struct snapshot *s) {
    if (!s)
        return;
    close(s->fd);
    free(s->state);
    free(s->chunk);
    free(s);
}

/* --- what a run of it needs ------------------------------------------------------------------- */
static bool other(char err[ERR_BYTES], const char *option, const char *is) {
    snprintf(err, ERR_BYTES, "--resume: the machine that was saved has %s %.60s, which cannot be changed", option, is);
    return false;
}

const struct board *board_named(const char *name) {
    const struct board *const *b = boards;
    while (*b && strcmp((*b)->name, name))
        b++;
    return *b;
}

/* Disks are where they were, unless the user says otherwise, and as they were. */
static bool disk_options(const struct snapshot_config *c, struct options *o, char err[ERR_BYTES]) {
    char count[16];
    snprintf(count, sizeof(count), "%u", c->drives);
    if (o->drives && o->drives != c->drives)
        return other(err, "another number of --drive:", count);
    for (unsigned i = 0; i < c->drives; i++) {
        const struct snapshot_disk *d = &c->disk[i];
        struct stat st;
        if (i >= o->drives) {
            o->drive[i].path = strdup(d->path);
            o->drive[i].readonly = d->readonly;
            o->drives = i + 1;
        }
        const char *path = o->drive[i].path;
        if (!path || !*path)
            return wrong(err, "--resume: where the disks are is not known: --drive FILE for each");
        if (o->drive[i].readonly != d->readonly)
            return other(err, "--drive", d->readonly ? "with ,ro" : "without ,ro");
        if (stat(path, &st)) {
            snprintf(err, ERR_BYTES, "%.100s: %s", path, strerror(errno));
            return false;
        }
        if ((S_ISREG(st.st_mode) && ((uint64_t)st.st_size != d->bytes || (uint64_t)st.st_mtim.tv_sec != d->seconds ||
                                     (uint64_t)st.st_mtim.tv_nsec != d->nanoseconds))) {
            snprintf(err, ERR_BYTES, "%.100s: this disk has been changed since the machine was saved", path);
            return false;
        }
    }
    return true;
}

static bool share_options(const struct snapshot_config *c, const struct options *o, char err[ERR_BYTES]) {
    bool same = o->shares == c->shares; /* in their order */
    for (unsigned i = 0; same && i < c->shares; i++)
        same = !strcmp(o->share[i].tag, c->tag[i]);
    return same || other(err, "other shared folders; first", c->shares ? c->tag[0] : "none");
}

bool snapshot_options(struct snapshot *s, struct options *o, char err[ERR_BYTES]) {
    const struct snapshot_config *c = &s->config;
    char text[32];
    const struct board *board = board_named(c->board);
    if (!board)
        return other(err, "--guest", c->board);
    if (o->board && o->board != board)
        return other(err, "--guest", c->board);
    snprintf(text, sizeof(text), "%lluM", (unsigned long long)(c->memory >> 20));
    if (o->memory_given && o->memory != c->memory)
        return other(err, "--memory", text);
    snprintf(text, sizeof(text), "%u", c->smp);
    if (o->smp_given && o->smp != c->smp)
        return other(err, "--smp", text);
    snprintf(text, sizeof(text), "%u", c->gic);
    if (o->gic_given && o->gic != c->gic)
        return other(err, "--gic", text);
    if (o->core && strcmp(o->core, board_cpu(board, c->cpu)))
        return other(err, "--cpu", board_cpu(board, c->cpu));
    if (!c->console != !o->console && !o->command)
        return other(err, "--console:", c->console ? "yes" : "no");
    snprintf(text, sizeof(text), "%u", c->vsock);
    if (o->vsock_cid != c->vsock)
        return other(err, "--vsock", c->vsock ? text : "none");
    if (o->balloon && !c->balloon)
        return other(err, "--balloon:", "no");
    if (o->net_kind != NET_NONE && !c->net)
        return other(err, "--net", "none");
    o->board = board;
    o->memory = c->memory;
    o->smp = c->smp;
    o->gic = c->gic;
    o->cpu = (enum abi_cpu_model)c->cpu;
    o->virtio_legacy = c->legacy;
    o->semihosting = c->semihosting;
    o->balloon = c->balloon;
    if (c->net && o->net_kind == NET_NONE) /* which network the card is on may be another */
        o->net_kind = NET_USER;
    return disk_options(c, o, err) && share_options(c, o, err);
}
