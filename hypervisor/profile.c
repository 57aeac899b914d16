/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * profile.c: where the processors spend their time (--profile). A timer of each vCPU's thread interrupts KVM_RUN, or
 * the engine itself where it runs in this process; the instruction pointer found then is one sample. Samples in the
 * engine and, in the process, in the monitor and its libraries are counted by function, those in translated code by
 * address (perf-PID.map of -d perf names the blocks), or, with --symbols, by the guest's function. A vCPU that waits
 * for an interrupt is not sampled.
 */
#include "hypervisor/monitor.h"
#include "hypervisor/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define PROFILE_HZ 2000
#define PROFILE_SLOTS (1u << 16)
#define PROFILE_SIGNAL SIGPROF

struct slot {
    uint64_t pc, count;
};
struct table {
    struct slot slot[PROFILE_SLOTS]; /* by hash of pc */
    uint64_t lost;
};
/* Where a block of translated code lies, and which guest code it is. */
struct placed {
    uint64_t host, bytes, guest_pc;
};
#define PLACED_MAX (1u << 22)
struct profile {
    struct table host, guest; /* guest: what blocks, by their guest_pc, had that are not there any more */
    struct placed *placed;    /* in ascending order of host */
    size_t placed_count, placed_room;
    timer_t timer;
};

static struct symbols symbols; /* count is 0 without --symbols */

/* In a VM the signal only has to end KVM_RUN, which tells where it was. */
static void on_signal(int number, siginfo_t *info, void *context) {
    struct vcpu *v = info->si_value.sival_ptr;
    if (!v->machine->vm->in_vm && !atomic_load(&v->abi->idle))
        profile_sample(v, (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
}

void profile_start(struct vcpu *v) {
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PROFILE_SIGNAL, .sigev_value.sival_ptr = v};
    struct itimerspec every = {.it_interval.tv_nsec = 1000000000 / PROFILE_HZ, .it_value.tv_nsec = 1};
    if (!v->machine->options->profile || !(v->profile = calloc(1, sizeof(*v->profile))))
        return;
    sigaction(PROFILE_SIGNAL, &act, NULL);
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &v->profile->timer) || timer_settime(v->profile->timer, 0, &every, NULL))
        log_printf("graft: --profile: no timer: %s\n", strerror(errno));
}

static void count(struct table *t, uint64_t pc, uint64_t samples) {
    uint64_t h = pc * UINT64_C(0x9e3779b97f4a7c15) >> 48;
    for (unsigned i = 0; i < 64; i++) {
        struct slot *s = &t->slot[(h + i) % PROFILE_SLOTS];
        if (s->count && s->pc != pc)
            continue;
        s->pc = pc;
        s->count += samples;
        return;
    }
    t->lost += samples;
}

void profile_sample(struct vcpu *v, uint64_t pc) { count(&v->profile->host, pc, 1); }

/* --- translated code, by what it was translated from ------------------------------------------ */
static const struct placed *placed_at(const struct profile *p, uint64_t pc) {
    size_t from = 0, to = p->placed_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (p->placed[middle].host <= pc)
            from = middle + 1;
        else
            to = middle;
    }
    return from && pc - p->placed[from - 1].host < p->placed[from - 1].bytes ? &p->placed[from - 1] : NULL;
}

/* What has been found in blocks until now is theirs, whatever takes their place. */
static void settle(struct profile *p) {
    for (unsigned i = 0; i < PROFILE_SLOTS; i++) {
        struct slot *s = &p->host.slot[i];
        const struct placed *b = s->count ? placed_at(p, s->pc) : NULL;
        if (!b)
            continue;
        count(&p->guest, b->guest_pc, s->count);
        s->count = 0;
    }
    p->placed_count = 0;
}

/* Without the timer, which would count meanwhile. */
static void settle_in_thread(struct profile *p) {
    sigset_t timer, before;
    sigemptyset(&timer);
    sigaddset(&timer, PROFILE_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &timer, &before);
    settle(p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Code is placed upwards until the cache is emptied. */
void profile_block(struct vcpu *v, uint64_t host, uint64_t bytes, uint64_t guest_pc) {
    struct profile *p = v->profile;
    if (!p || !symbols.count)
        return;
    const struct placed *last = p->placed_count ? &p->placed[p->placed_count - 1] : NULL;
    if (last && host < last->host + last->bytes)
        settle_in_thread(p);
    if (p->placed_count == p->placed_room) {
        size_t room = p->placed_room ? 2 * p->placed_room : 4096;
        struct placed *more = room <= PLACED_MAX ? realloc(p->placed, room * sizeof(*more)) : NULL;
        if (!more)
            return;
        p->placed = more;
        p->placed_room = room;
    }
    p->placed[p->placed_count++] = (struct placed){host, bytes, guest_pc};
}

void profile_stop(struct vcpu *v) {
    if (v->profile)
        timer_delete(v->profile->timer);
}

void profile_free(struct vcpu *v) {
    if (v->profile)
        free(v->profile->placed);
    free(v->profile);
    v->profile = NULL;
}

/* --- the report ------------------------------------------------------------------------------- */
enum kind { ENGINE, GUEST, CODE, OTHER };
static const char *const kinds[] = {"engine", "guest", "code", "other"};

struct line {
    enum kind kind;
    char name[64];
    uint64_t count;
};
struct report {
    struct line *line;
    size_t lines;
    uint64_t total, lost;
};

static int by_count(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->name, y->name);
}

/* The symbol that pc, an address as the linker gave them, is in or behind: assembly has no sizes. NULL: there is
 * none. */
static const char *symbol_at(const uint8_t *elf, uint64_t pc) {
    const Elf64_Ehdr *e = (const Elf64_Ehdr *)elf;
    const Elf64_Shdr *sh = (const Elf64_Shdr *)(elf + e->e_shoff);
    const char *found = NULL;
    uint64_t best = 0;
    for (unsigned i = 0; i < e->e_shnum; i++) {
        if (sh[i].sh_type != SHT_SYMTAB)
            continue;
        const Elf64_Sym *sym = (const Elf64_Sym *)(elf + sh[i].sh_offset);
        const char *names = (const char *)elf + sh[sh[i].sh_link].sh_offset;
        for (size_t n = 0; n < sh[i].sh_size / sizeof(*sym); n++) {
            if (ELF64_ST_TYPE(sym[n].st_info) <= STT_FUNC && sym[n].st_shndx != SHN_UNDEF && names[sym[n].st_name] &&
                sym[n].st_value <= pc && sym[n].st_value >= best) {
                best = sym[n].st_value;
                found = names + sym[n].st_name;
            }
        }
    }
    return found;
}

/* This program as a file, for its symbols. */
struct self {
    const uint8_t *elf; /* NULL: it cannot be read */
    size_t size;
    uint64_t base, end; /* where it is loaded */
};

static int self_fd = -1;

bool profile_open(struct output *to, const char *path, char err[ERR_BYTES]) {
    self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    return output_open(to, path, err);
}

/* Of a kernel with all that debuggers want only its symbols are read. */
bool symbols_open(const char *path, char err[ERR_BYTES]) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && !fstat(fd, &st);
    if (ok && S_ISDIR(st.st_mode)) {
        ok = false;
        errno = EISDIR;
    }
    size_t len = ok ? (size_t)st.st_size : 0;
    void *data = ok && len ? mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) : NULL;
    const char *wrong = !ok || data == MAP_FAILED ? strerror(errno) : symbols_parse(&symbols, data, len);
    if (wrong)
        snprintf(err, ERR_BYTES, "--symbols: %.140s: %s", path, wrong);
    if (data && data != MAP_FAILED)
        munmap(data, len);
    if (fd >= 0)
        close(fd);
    return !wrong;
}

const char *symbols_name(uint64_t va) {
    const struct symbol *found = symbols_find(&symbols, va);
    return found ? found->name : NULL;
}

static int find_self(struct dl_phdr_info *info, size_t size, void *arg) {
    struct self *self = arg;
    self->base = info->dlpi_addr;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD)
            self->end = self->base + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
    return 1; /* the program itself comes first */
}

static void self_open(struct self *self) {
    struct stat st;
    dl_iterate_phdr(find_self, self);
    if (self_fd >= 0 && !fstat(self_fd, &st)) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, self_fd, 0);
        self->size = (size_t)st.st_size;
        self->elf = p == MAP_FAILED ? NULL : p;
    }
}

static void self_close(struct self *self) {
    if (self->elf)
        munmap((void *)self->elf, self->size);
}

static bool in_code(const struct machine *m, uint64_t pc) {
    bool code = false;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        code |= pc - m->arena_va - m->layout.code[i] < m->layout.code_size;
    return code;
}

static void name_host(const struct machine *m, const struct self *self, uint64_t pc, struct line *l) {
    const char *symbol = NULL;
    Dl_info dl = {0};
    l->kind = in_code(m, pc) ? CODE : ENGINE;
    if (l->kind == CODE)
        ;
    else if (m->vm->in_vm && pc - m->arena_va < engine_image_size())
        symbol = symbol_at(engine_image, pc - m->vm_base);
    else if (!m->vm->in_vm && self->elf && pc >= self->base && pc < self->end)
        symbol = symbol_at(self->elf, pc - self->base);
    else if (!m->vm->in_vm && dladdr((void *)pc, &dl)) /* a library: it shows what it exports */
        symbol = dl.dli_sname ? dl.dli_sname : dl.dli_fname;
    if (symbol) {
        snprintf(l->name, sizeof(l->name), "%.63s", symbol);
        return;
    }
    l->kind = l->kind == CODE ? CODE : OTHER;
    snprintf(l->name, sizeof(l->name), "%s %" PRIx64, kinds[l->kind], pc);
}

static void name_guest(uint64_t pc, struct line *l) {
    const char *symbol = symbols_name(pc);
    l->kind = GUEST;
    if (symbol)
        snprintf(l->name, sizeof(l->name), "guest %.57s", symbol);
    else
        snprintf(l->name, sizeof(l->name), "guest %" PRIx64, pc);
}

static void add_line(struct report *r, const struct line *new) {
    size_t n = 0;
    while (n < r->lines && strcmp(r->line[n].name, new->name))
        n++;
    if (n == r->lines)
        r->line[r->lines++] = *new;
    else
        r->line[n].count += new->count;
    r->total += new->count;
}

static void collect(struct machine *m, struct report *r) {
    struct self self = {0};
    self_open(&self);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        struct profile *p = m->vcpu[i].profile;
        if (!p)
            continue;
        settle(p);
        r->lost += p->host.lost + p->guest.lost;
        for (unsigned s = 0; s < PROFILE_SLOTS; s++) {
            struct line host = {.count = p->host.slot[s].count}, guest = {.count = p->guest.slot[s].count};
            if (host.count) {
                name_host(m, &self, p->host.slot[s].pc, &host);
                add_line(r, &host);
            }
            if (guest.count) {
                name_guest(p->guest.slot[s].pc, &guest);
                add_line(r, &guest);
            }
        }
    }
    self_close(&self);
}

static void print(FILE *f, const struct report *r) {
    uint64_t code = 0;
    double each = r->total ? 100.0 / (double)r->total : 0;
    for (const struct line *l = r->line; l < r->line + r->lines; l++)
        code += l->kind == CODE || l->kind == GUEST ? l->count : 0;
    fprintf(f, "# %" PRIu64 " samples, %d each second; %.1f %% in translated code\n", r->total, PROFILE_HZ,
            each * (double)code);
    if (r->lost)
        fprintf(f, "# %" PRIu64 " more for whose addresses there was no room\n", r->lost);
    for (const struct line *l = r->line; l < r->line + r->lines; l++)
        fprintf(f, "%8" PRIu64 " %6.2f %%  %s\n", l->count, each * (double)l->count, l->name);
}

/* Stacks of two, as programs that draw flame graphs take them ("folded"). */
static void print_folded(FILE *f, const struct report *r) {
    for (const struct line *l = r->line; l < r->line + r->lines; l++) {
        const char *kind = kinds[l->kind];
        size_t prefix = l->kind == ENGINE ? 0 : strlen(kind) + 1; /* their names begin with it */
        fprintf(f, "%s;%s %" PRIu64 "\n", kind, l->name + prefix, l->count);
    }
}

int profile_write(struct machine *m, struct output *to, char err[ERR_BYTES]) {
    struct report r = {.line = calloc((size_t)2 * PROFILE_SLOTS * m->vcpu_count, sizeof(*r.line))};
    bool ok = r.line != NULL;
    if (ok) {
        collect(m, &r);
        qsort(r.line, r.lines, sizeof(*r.line), by_count);
        (m->options->folded ? print_folded : print)(to->stream, &r);
    } else {
        snprintf(err, ERR_BYTES, "profile: out of memory");
    }
    free(r.line);
    return output_close(to, err) && ok ? 0 : -1;
}
