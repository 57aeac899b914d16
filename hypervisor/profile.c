/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * profile.c: where the processors spend their time (--profile). A timer of each vCPU's thread interrupts KVM_RUN, or the
 * engine itself where it runs in this process; the instruction pointer found then is one sample. Samples in the engine
 * and, in the process, in the monitor and its libraries are counted by function, those in translated code by address
 * (perf-PID.map of -d perf names the blocks). A vCPU that waits for an interrupt is not sampled.
 */
#include "hypervisor/monitor.h"

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
struct profile {
    struct slot slot[PROFILE_SLOTS]; /* by hash of pc */
    uint64_t samples, lost;
    timer_t timer;
};

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

void profile_sample(struct vcpu *v, uint64_t pc) {
    struct profile *p = v->profile;
    uint64_t h = pc * UINT64_C(0x9e3779b97f4a7c15) >> 48;
    p->samples++;
    for (unsigned i = 0; i < 64; i++) {
        struct slot *s = &p->slot[(h + i) % PROFILE_SLOTS];
        if (s->count && s->pc != pc)
            continue;
        s->pc = pc;
        s->count++;
        return;
    }
    p->lost++;
}

void profile_stop(struct vcpu *v) {
    if (v->profile)
        timer_delete(v->profile->timer);
}

void profile_free(struct vcpu *v) {
    free(v->profile);
    v->profile = NULL;
}

/* --- the report ------------------------------------------------------------------------------------------------- */
struct line {
    char name[64];
    uint64_t count;
};
static int by_count(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->name, y->name);
}

/* The symbol that pc, an address as the linker gave them, is in or behind: assembly has no sizes. NULL: there is none. */
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

static void name_of(const struct machine *m, const struct self *self, uint64_t pc, char name[64]) {
    const char *symbol = NULL;
    Dl_info dl = {0};
    if (in_code(m, pc)) {
        snprintf(name, 64, "code %" PRIx64, pc);
        return;
    }
    if (m->vm->in_vm && pc - ABI_VA_ENGINE < engine_image_size())
        symbol = symbol_at(engine_image, pc);
    else if (!m->vm->in_vm && self->elf && pc >= self->base && pc < self->end)
        symbol = symbol_at(self->elf, pc - self->base);
    else if (!m->vm->in_vm && dladdr((void *)pc, &dl)) /* a library: it shows what it exports */
        symbol = dl.dli_sname ? dl.dli_sname : dl.dli_fname;
    if (symbol)
        snprintf(name, 64, "%.63s", symbol);
    else
        snprintf(name, 64, "other %" PRIx64, pc);
}

static size_t collect(struct machine *m, struct line *line, uint64_t *total) {
    struct self self = {0};
    size_t lines = 0;
    self_open(&self);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        const struct profile *p = m->vcpu[i].profile;
        for (unsigned s = 0; p && s < PROFILE_SLOTS; s++) {
            char name[64];
            size_t n = 0;
            if (!p->slot[s].count)
                continue;
            name_of(m, &self, p->slot[s].pc, name);
            while (n < lines && strcmp(line[n].name, name))
                n++;
            if (n == lines)
                strcpy(line[lines++].name, name);
            line[n].count += p->slot[s].count;
            *total += p->slot[s].count;
        }
    }
    self_close(&self);
    return lines;
}

static void print(FILE *f, const struct line *line, size_t lines, uint64_t total) {
    uint64_t code = 0;
    double each = total ? 100.0 / (double)total : 0;
    for (size_t i = 0; i < lines; i++)
        code += strncmp(line[i].name, "code ", 5) ? 0 : line[i].count;
    fprintf(f, "# %" PRIu64 " samples, %d each second; %.1f %% in translated code\n", total, PROFILE_HZ,
            each * (double)code);
    for (size_t i = 0; i < lines; i++)
        fprintf(f, "%8" PRIu64 " %6.2f %%  %s\n", line[i].count, each * (double)line[i].count, line[i].name);
}

int profile_write(struct machine *m, struct output *to, char err[ERR_BYTES]) {
    uint64_t total = 0;
    struct line *line = calloc((size_t)PROFILE_SLOTS * m->vcpu_count, sizeof(*line));
    bool ok = line != NULL;
    if (ok) {
        size_t lines = collect(m, line, &total);
        qsort(line, lines, sizeof(*line), by_count);
        print(to->stream, line, lines, total);
    } else {
        snprintf(err, ERR_BYTES, "profile: out of memory");
    }
    free(line);
    return output_close(to, err) && ok ? 0 : -1;
}
