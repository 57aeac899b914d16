/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* snapshot.c: a machine whose vCPUs stand still (pause.h), to a file and back. */
#include "graft/guest.h"
#include "hypervisor/boot.h"
#include "hypervisor/ram_file.h"
#include "hypervisor/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The guest's counters: how far they are, in ticks of the host's TSC, and how many of those a second has. */
struct snapshot_clock {
    uint64_t ticks, hz;
};
static const struct state_field clock_table[] = {STATE(struct snapshot_clock, ticks), STATE(struct snapshot_clock, hz),
                                                 STATE_END};

/* Lines to the interrupt controller, where the guest wants them, and writes to devices that are still to be carried
 * out. */
static const struct state_field shared_table[] = {
    STATE(struct abi_shared, spi_level),   STATE(struct abi_shared, spi_rose),
    STATE(struct abi_shared, spi_target),  STATE(struct abi_shared, virtio_isr),
    STATE(struct abi_shared, posted_head), STATE(struct abi_shared, posted_tail),
    STATE(struct abi_shared, posted),      STATE_END,
};

/* What the guest has open by semihosting; `at` is a place in the features, or nothing. A file is closed when it is
 * resumed. */
static const struct state_field file_table[] = {STATE_MAX(struct semihost_file, kind, 4, SEMIHOST_FILE),
                                                STATE_MAX(struct semihost_file, at, 4, SEMIHOST_FEATURE_BYTES),
                                                STATE_END};

static const struct guest_ops *guest_of(const struct machine *m) { return guest_table[m->boot->guest]; }

/* What its vCPUs share: the engine has said where. */
static void *shared_of(struct machine *m, const struct state_field *table) {
    uint64_t bytes = 0;
    for (const struct state_field *f = table; f->name; f++)
        bytes = f->offset + f->bytes > bytes ? f->offset + f->bytes : bytes;
    return (void *)(uintptr_t)machine_engine_ptr(m, *(volatile uint64_t *)&m->shared->guest_va, bytes);
}

static void name_of(const struct device *d, char name[64]) {
    snprintf(name, 64, "%s@%llx", d->ops->name, (unsigned long long)d->gpa);
}

static void cpu_name(const struct machine *m, unsigned i, char name[64]) {
    snprintf(name, 64, "%s.%u", m->board->guest, i);
}

/* --- saving: the state ------------------------------------------------------------------------ */
static void note_disk(struct snapshot_disk *to, const char *path, bool readonly) {
    char err[ERR_BYTES];
    struct stat st;
    struct disk_source source = {.fd = -1};
    int fd = disk_open(path, readonly, &source, err) ? source.fd : -1;
    if (strlen(path) < sizeof(to->path))
        strcpy(to->path, path);
    to->readonly = readonly;
    if (fd < 0 || fstat(fd, &st))
        return;
    to->bytes = (uint64_t)st.st_size;
    to->seconds = (uint64_t)st.st_mtim.tv_sec;
    to->nanoseconds = (uint64_t)st.st_mtim.tv_nsec;
    close(fd);
}

static bool put_config(struct state_out *out, const struct machine *m, const char *key) {
    const struct options *o = m->options;
    struct snapshot_config *c = calloc(1, sizeof(*c));
    if (!c)
        return false;
    snprintf(c->graft, sizeof(c->graft), "%s", GRAFT_VERSION);
    snprintf(c->board, sizeof(c->board), "%s", m->board->name);
    snprintf(c->key, sizeof(c->key), "%s", key ? key : "");
    c->created = (uint64_t)time(NULL);
    c->memory = m->ram_size;
    c->smp = o->smp;
    c->gic = o->gic;
    c->cpu = o->cpu;
    c->legacy = o->virtio_legacy;
    c->semihosting = o->semihosting;
    c->net = o->net_kind != NET_NONE;
    c->console = m->console != NULL;
    c->drives = o->drives;
    c->shares = o->shares;
    c->vsock = o->vsock_cid;
    c->balloon = o->balloon;
    for (unsigned i = 0; i < o->drives; i++)
        note_disk(&c->disk[i], o->drive[i].path, o->drive[i].readonly);
    for (unsigned i = 0; i < o->shares; i++)
        snprintf(c->tag[i], sizeof(c->tag[i]), "%s", o->share[i].tag);
    state_save(out, "config", snapshot_config_table, c);
    free(c);
    return true;
}

static void put_device(struct state_out *out, const struct device *d) {
    char name[64];
    name_of(d, name);
    if (d->ops->state)
        state_save(out, name, d->ops->state, d);
    if (d->more_state)
        state_save(out, name, d->more_state, d);
}

static bool put_machine(struct state_out *out, struct machine *m) {
    const struct guest_ops *guest = guest_of(m);
    const void *shared = shared_of(m, guest->shared_state);
    struct snapshot_clock clock = {.ticks = pause_tsc(m) - m->boot->tsc_base, .hz = m->tsc_hz};
    char name[64];
    if (!shared)
        return false;
    state_save(out, "clock", clock_table, &clock);
    state_save(out, "lines", shared_table, m->shared);
    for (unsigned i = 0; i < SEMIHOST_FILES; i++)
        state_save(out, "semihosting", file_table, &m->semihost.file[i]);
    for (unsigned i = 0; i < m->device_count; i++)
        put_device(out, m->device[i]);
    state_save(out, "interrupts", guest->shared_state, shared);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        cpu_name(m, i, name);
        state_save(out, name, guest->state, m->vcpu[i].abi);
    }
    return true;
}

/* --- saving: memory --------------------------------------------------------------------------- */
_Static_assert(SNAPSHOT_CHUNK == RAM_PIECE, "what is not there is found out by pieces");

struct saving {
    struct machine *m;
    const struct snapshot_target *target;
    uint64_t at; /* where the next chunk goes */
    uint64_t sum;
    uint32_t *chunk, chunks;
};

static bool put_ram(struct saving *s) {
    struct machine *m = s->m;
    for (uint64_t offset = 0; offset < m->ram_size; offset += SNAPSHOT_CHUNK) {
        bool any = false;
        if (!ram_file_has_data(m, s->target->pages, offset))
            continue;
        if (!ram_file_put(s->target->fd, m->ram + offset, s->at, &any))
            return false;
        if (!any)
            continue;
        s->sum = snapshot_sum(s->sum, m->ram + offset, SNAPSHOT_CHUNK);
        s->chunk[s->chunks++] = (uint32_t)(offset / SNAPSHOT_CHUNK);
        s->at += SNAPSHOT_CHUNK;
    }
    return true;
}

/* --- saving: the file ------------------------------------------------------------------------- */
static bool put_head(const struct saving *s, const struct state_out *state) {
    struct snapshot_head h = {.magic = {'G', 'R', 'A', 'F', 'T', 'S', 'N', 'P'},
                              .version = SNAPSHOT_VERSION,
                              .head_bytes = sizeof(h),
                              .state_at = s->at,
                              .state_bytes = state->len,
                              .state_sum = snapshot_sum(0, state->data, state->len),
                              .ram_at = PAGE_SIZE,
                              .ram_sum = s->sum,
                              .chunks = s->chunks,
                              .chunk_bytes = SNAPSHOT_CHUNK};
    h.head_sum = snapshot_sum(0, &h, offsetof(struct snapshot_head, head_sum));
    return ram_file_write(s->target->fd, state->data, state->len, s->at) &&
           ram_file_write(s->target->fd, &h, sizeof(h), 0);
}

static bool save(struct machine *m, const struct snapshot_target *t, char err[ERR_BYTES]) {
    struct saving s = {.m = m, .target = t, .at = PAGE_SIZE};
    struct state_out state = {0};
    s.chunk = calloc(m->ram_size / SNAPSHOT_CHUNK + 1, 4);
    bool ok = s.chunk && !ftruncate(t->fd, 0) && put_ram(&s) && !ftruncate(t->fd, (off_t)s.at);
    if (!ok) {
        snprintf(err, ERR_BYTES, "%s", strerror(errno));
    } else {
        const struct state_field chunks[] = {{"chunks", 0, s.chunks * 4, STATE_KIND_SAVED, 0, 0}, STATE_END};
        ok = put_config(&state, m, t->key);
        state_save(&state, "memory", chunks, s.chunk);
        ok = ok && put_machine(&state, m) && !state.failed && put_head(&s, &state);
        if (!ok)
            snprintf(err, ERR_BYTES, "%s", state.failed ? "out of memory" : strerror(errno));
    }
    if (!ok && ftruncate(t->fd, 0))
        snprintf(err, ERR_BYTES, "%s", strerror(errno));
    free(s.chunk);
    free(state.data);
    return ok;
}

/* 1: all devices may be saved; 0: not yet; -1: never. */
static int devices_ready(struct machine *m, char err[ERR_BYTES]) {
    int all = 1;
    if (disks_are_served()) { /* nobody here knows when what it wrote is in the file */
        snprintf(err, ERR_BYTES, "it has a disk that qemu-nbd serves (qcow2, or with ,snapshot)");
        return -1;
    }
    for (unsigned i = 0; i < m->device_count; i++) {
        struct device *d = m->device[i];
        int ready = d->ops->ready ? d->ops->ready(d, err) : 1;
        if (ready < 0)
            return ready;
        all &= ready;
    }
    return all;
}

/* What was saved before may be the memory of a machine that runs by now: its file must not be written then. */
static bool save_locked(struct machine *m, const struct snapshot_target *t, char err[ERR_BYTES]) {
    if (flock(t->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
        snprintf(err, ERR_BYTES, "a machine runs from what was saved there before");
        return false;
    }
    bool ok = save(m, t, err);
    flock(t->fd, LOCK_SH | LOCK_NB);
    return ok;
}

enum pause_result snapshot_save(struct machine *m, void *arg) {
    struct snapshot_target *t = arg;
    char err[ERR_BYTES] = "";
    int ready = devices_ready(m, err);
    if (!ready)
        return PAUSE_AGAIN;
    bool ok = ready > 0 && save_locked(m, t, err);
    t->saved |= ok;
    if (!ok && !t->quiet)
        log_printf("graft: %.100s: the machine could not be saved: %.120s\n", t->path, err);
    if (t->quit && !ok)
        m->refused = true;
    if (t->quit)
        machine_stop(m, MACHINE_STOPPED);
    if (t->done)
        t->done(t->arg, ok ? NULL : err);
    return PAUSE_OVER;
}

/* A new file under that name: an old one may be the memory of a machine that runs. -1: for errno. */
static int open_new(const char *path) {
    struct stat st;
    int fd = -1;
    for (unsigned tries = 0; fd < 0 && tries < 3; tries++) {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST || (fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK)) < 0)
            continue;
        bool empty = !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size == 0;
        bool may_go = S_ISREG(st.st_mode) && !disks_have(fd) && !flock(fd, LOCK_SH | LOCK_NB);
        if (empty && may_go && !flock(fd, LOCK_EX | LOCK_NB))
            return fd;
        close(fd);
        fd = -1;
        errno = EBUSY;
        if (!may_go || unlink(path))
            break;
    }
    if (fd >= 0)
        flock(fd, LOCK_EX | LOCK_NB);
    return fd;
}

bool snapshot_target_open(struct snapshot_target *t, const char *path, char err[ERR_BYTES]) {
    t->path = path;
    t->pages = ram_file_pages();
    if ((t->fd = open_new(path)) >= 0)
        return true;
    snprintf(err, ERR_BYTES, "%.160s: %.80s", path, strerror(errno));
    return false;
}

void snapshot_target_close(struct snapshot_target *t) {
    if (t->fd >= 0)
        close(t->fd);
    if (t->pages >= 0)
        close(t->pages);
    t->fd = t->pages = -1;
}

/* --- loading: memory -------------------------------------------------------------------------- */
bool snapshot_map(struct machine *m, struct snapshot *s, char err[ERR_BYTES]) {
    bool ok = m->ram_size == s->config.memory;
    for (uint32_t i = 0, past; ok && i < s->head.chunks; i = past) {
        for (past = i + 1; past < s->head.chunks && s->chunk[past] == s->chunk[past - 1] + 1;)
            past++;
        uint8_t *to = m->ram + (uint64_t)s->chunk[i] * SNAPSHOT_CHUNK;
        uint64_t bytes = (uint64_t)(past - i) * SNAPSHOT_CHUNK, at = s->head.ram_at + (uint64_t)i * SNAPSHOT_CHUNK;
        if (m->ram_fd >= 0) /* memory that is shared, which a mapping of the file cannot be */
            ok = snapshot_read(s, to, at, bytes);
        else
            ok = mmap(to, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, s->fd, (off_t)at) !=
                 MAP_FAILED;
    }
    m->mapped_ram = m->ram_fd < 0;
    if (!ok)
        snprintf(err, ERR_BYTES, "the snapshot's memory cannot be had: %s", strerror(errno));
    return ok;
}

/* --- loading: the state ----------------------------------------------------------------------- */
static bool load_device(struct state_in *in, struct device *d, char err[ERR_BYTES]) {
    char name[64];
    name_of(d, name);
    return (!d->ops->state || state_load(in, name, d->ops->state, d, err)) &&
           (!d->more_state || state_load(in, name, d->more_state, d, err));
}

static bool load_cpus(struct machine *m, struct state_in *in, char err[ERR_BYTES]) {
    const struct guest_ops *guest = guest_of(m);
    void *shared = shared_of(m, guest->shared_state);
    char name[64];
    if (!shared || !state_load(in, "interrupts", guest->shared_state, shared, err))
        return false;
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        cpu_name(m, i, name);
        if (!state_load(in, name, guest->state, m->vcpu[i].abi, err))
            return false;
        pause_changed(m, i);
        machine_pend(m, i, ABI_PEND_IRQ | ABI_PEND_TIMER);
    }
    return true;
}

/* The counters go on where they stood. */
static void start_clock(struct machine *m, const struct snapshot_clock *c) {
    double ticks = (double)c->ticks * ((double)m->tsc_hz / (double)(c->hz ? c->hz : 1));
    uint64_t own = c->hz == m->tsc_hz ? c->ticks : ticks < 9e18 ? (uint64_t)ticks : 0;
    m->boot->tsc_base = run_tsc() - own;
}

static bool load_machine(struct machine *m, struct snapshot *s, char err[ERR_BYTES]) {
    struct state_in rest = s->rest, *in = &rest; /* it may be loaded again */
    struct snapshot_clock clock;
    if (!state_load(in, "clock", clock_table, &clock, err) || !state_load(in, "lines", shared_table, m->shared, err))
        return false;
    for (unsigned i = 0; i < SEMIHOST_FILES; i++) {
        struct semihost_file *f = &m->semihost.file[i];
        if (!state_load(in, "semihosting", file_table, f, err))
            return false;
        f->kind = f->kind == SEMIHOST_FILE ? SEMIHOST_CLOSED : f->kind;
    }
    for (unsigned i = 0; i < m->device_count; i++)
        if (!load_device(in, m->device[i], err))
            return false;
    if (!load_cpus(m, in, err))
        return false;
    start_clock(m, &clock);
    for (unsigned i = 0; i < m->device_count; i++) {
        struct device *d = m->device[i];
        if (d->ops->loaded && !d->ops->loaded(d)) {
            snprintf(err, ERR_BYTES, "%s: it cannot have such a state", d->ops->name);
            return false;
        }
        for (unsigned q = 0; d->virtio_slot >= 0 && q < 4; q++)
            machine_ring(d, q); /* the driver may have told the device before it was saved */
    }
    return true;
}

enum pause_result snapshot_load(struct machine *m, void *arg) {
    char err[ERR_BYTES] = "";
    struct snapshot *s = arg;
    machine_take_input(m);
    bool ok = load_machine(m, s, err);
    save_set_timer(m);
    if (!ok) {
        log_printf("graft: --resume: %s\n", err);
        m->refused = true;
        machine_stop(m, MACHINE_BROKEN);
    }
    if (s->done)
        s->done(s->arg, ok ? NULL : err);
    return PAUSE_OVER;
}
