/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * profile.c: where the processors spend their time (--profile). A timer of each vCPU's thread interrupts KVM_RUN; the
 * instruction pointer found then is one sample. Samples in the engine are counted by function, those in translated code
 * by address (perf-PID.map of -d perf names the blocks). Only for engines in a VM: elsewhere perf does the same.
 */
#include "hypervisor/monitor.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
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

static void on_signal(int number) { (void)number; }

void profile_start(struct vcpu *v) {
    struct sigaction act = {.sa_handler = on_signal};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PROFILE_SIGNAL};
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

/* The symbol of the engine's image that pc is in or behind: assembly has no sizes. NULL outside of the image. */
static const char *engine_symbol(uint64_t pc) {
    const Elf64_Ehdr *e = (const Elf64_Ehdr *)engine_image;
    const Elf64_Shdr *sh = (const Elf64_Shdr *)(engine_image + e->e_shoff);
    const char *found = NULL;
    uint64_t best = 0;
    for (unsigned i = 0; pc - ABI_VA_ENGINE < engine_image_size() && i < e->e_shnum; i++) {
        if (sh[i].sh_type != SHT_SYMTAB)
            continue;
        const Elf64_Sym *sym = (const Elf64_Sym *)(engine_image + sh[i].sh_offset);
        const char *names = (const char *)engine_image + sh[sh[i].sh_link].sh_offset;
        for (size_t n = 0; n < sh[i].sh_size / sizeof(*sym); n++) {
            if (ELF64_ST_TYPE(sym[n].st_info) <= STT_FUNC && names[sym[n].st_name] && sym[n].st_value <= pc &&
                sym[n].st_value >= best) {
                best = sym[n].st_value;
                found = names + sym[n].st_name;
            }
        }
    }
    return found;
}

static void name_of(const struct machine *m, uint64_t pc, char name[64]) {
    const char *symbol = m->vm->in_vm ? engine_symbol(pc) : NULL;
    uint64_t offset = pc - m->arena_va;
    bool code = false;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        code |= offset - m->layout.code[i] < m->layout.code_size;
    if (symbol)
        snprintf(name, 64, "%s", symbol);
    else
        snprintf(name, 64, "%s %" PRIx64, code ? "code" : "other", pc);
}

static size_t collect(struct machine *m, struct line *line, uint64_t *total) {
    size_t lines = 0;
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        const struct profile *p = m->vcpu[i].profile;
        for (unsigned s = 0; p && s < PROFILE_SLOTS; s++) {
            char name[64];
            size_t n = 0;
            if (!p->slot[s].count)
                continue;
            name_of(m, p->slot[s].pc, name);
            while (n < lines && strcmp(line[n].name, name))
                n++;
            if (n == lines)
                strcpy(line[lines++].name, name);
            line[n].count += p->slot[s].count;
            *total += p->slot[s].count;
        }
    }
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

int profile_write(struct machine *m, const char *path, char err[ERR_BYTES]) {
    uint64_t total = 0;
    FILE *f = fopen(path, "w");
    struct line *line = calloc((size_t)PROFILE_SLOTS * m->vcpu_count, sizeof(*line));
    bool ok = f && line;
    if (ok) {
        size_t lines = collect(m, line, &total);
        qsort(line, lines, sizeof(*line), by_count);
        print(f, line, lines, total);
        ok = !ferror(f);
    }
    if (f && fclose(f))
        ok = false;
    if (!ok)
        snprintf(err, ERR_BYTES, "%s: %s", path, strerror(errno));
    free(line);
    return ok ? 0 : -1;
}
