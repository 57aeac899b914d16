/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * bench_translate.c: translation alone, without a guest: the code of a program, cut into blocks as a run of it would
 * find them, is translated by the engine in this process. scripts/bench-translate runs it.
 *
 * usage: engine-translate FILE [INSTRUCTIONS]
 * FILE: an ELF program or library for AArch64 or RISC-V, or an arm64 kernel Image. At most that many instructions of it
 * (100000).
 *
 * Prints a name and a number a line: blocks, insns, ir (operations, optimised), bytes (host code), links, faults,
 * digest (of the code: equal ones are of equal code, nearly certainly), then nanoseconds for each guest instruction:
 * whole, of translate_block(); decode, forward, ..., of its phases, which are measured in another pass, less what
 * reading the clock takes. Exit status 0: measured; 1: no code found, or a failure; 2: wrong usage.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/x86/backend.h"
#include "guests/a64/a64.h"
#include "guests/rv64/rv64.h"
#include "machine.h"
#include "dbt/engine.h"

#define RAM_BYTES (512ull << 20)
#define MAX_INSNS 128 /* of a block: translate.c's */
#define MAX_SEGMENTS 8
#define IMAGE_MAGIC 0x644d5241u /* "ARM\x64", at offset 56: Linux, Documentation/arm64/booting.rst */
#define IMAGE_VA UINT64_C(0xffff800008000000)
#define IMAGE_TEXT 0x10000 /* what is before it is no code, nearly */

/* A piece of code, where it is in RAM, and what is known of each of its half-words. */
enum { STARTS = 1 /* a block does there */, COVERED = 2 /* one has it */ };
struct segment {
    uint64_t va, pa, bytes;
    uint8_t *seen;
};
static struct segment segment[MAX_SEGMENTS];
static unsigned segments;
static uint64_t limit = 100000;

static struct abi_boot boot;
static int status = 1;

static _Noreturn void fail(const char *file, const char *why) {
    fprintf(stderr, "engine-translate: %s: %s\n", file, why);
    exit(1);
}

/* --- the program ------------------------------------------------------------------------------ */
static uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    long size;
    if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 64)
        fail(path, f ? "too short for a program" : "cannot be opened");
    rewind(f);
    uint8_t *data = malloc((size_t)size);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
        fail(path, "cannot be read");
    fclose(f);
    *bytes = (size_t)size;
    return data;
}

static void add_segment(const char *path, uint64_t va, const uint8_t *code, uint64_t bytes) {
    static uint64_t used;
    uint64_t pa = RAM_GPA + used + (va & PAGE_MASK);
    if (segments == MAX_SEGMENTS || bytes > RAM_BYTES || pa + bytes + PAGE_SIZE > RAM_GPA + RAM_BYTES)
        fail(path, "too large");
    memcpy((uint8_t *)(uintptr_t)boot.ram_va + (pa - RAM_GPA), code, bytes);
    used = ALIGN_UP(pa + bytes - RAM_GPA, PAGE_SIZE) + PAGE_SIZE;
    segment[segments++] = (struct segment){va, pa, bytes, calloc(bytes / 2 + 1, 1)};
}

static const char *load_elf(const char *path, const uint8_t *file, size_t bytes) {
    Elf64_Ehdr h;
    memcpy(&h, file, sizeof(h));
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || (h.e_machine != EM_AARCH64 && h.e_machine != EM_RISCV))
        fail(path, "not for AArch64 or RISC-V");
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        if (h.e_phoff > bytes || (i + 1) * sizeof(p) > bytes - h.e_phoff)
            fail(path, "cut off");
        memcpy(&p, file + h.e_phoff + i * sizeof(p), sizeof(p));
        if (p.p_type != PT_LOAD || !(p.p_flags & PF_X))
            continue;
        if (p.p_offset > bytes || p.p_filesz > bytes - p.p_offset)
            fail(path, "cut off");
        add_segment(path, p.p_vaddr, file + p.p_offset, p.p_filesz);
    }
    return h.e_machine == EM_AARCH64 ? "a64" : "rv64";
}

/* The name of the guest whose code it is. */
static const char *load(const char *path) {
    size_t bytes;
    uint8_t *file = read_file(path, &bytes);
    const char *guest = "a64";
    uint32_t magic;
    memcpy(&magic, file + 56, sizeof(magic));
    if (!memcmp(file, ELFMAG, SELFMAG) && bytes >= sizeof(Elf64_Ehdr))
        guest = load_elf(path, file, bytes);
    else if (magic == IMAGE_MAGIC && bytes > IMAGE_TEXT)
        add_segment(path, IMAGE_VA + IMAGE_TEXT, file + IMAGE_TEXT, bytes - IMAGE_TEXT);
    else
        fail(path, "neither ELF nor a kernel Image");
    free(file);
    return guest;
}

/* --- blocks ----------------------------------------------------------------------------------- */
struct start {
    uint64_t pc, pa;
};
static struct start *list;
static unsigned count, room;

static const void *host_at(const struct start *s) { return (const void *)(uintptr_t)(boot.ram_va + (s->pa - RAM_GPA)); }

static struct segment *segment_of(uint64_t pc) {
    for (unsigned i = 0; i < segments; i++)
        if (pc - segment[i].va < segment[i].bytes)
            return &segment[i];
    return NULL;
}

/* False: not in the program, a block starts there already, or it may need the next page. */
static bool new_start(uint64_t pc, struct start *s) {
    struct segment *g = segment_of(pc);
    uint64_t at = g ? pc - g->va : 0;
    if (!g || g->seen[at / 2] & STARTS || (pc & PAGE_MASK) > PAGE_SIZE - 4)
        return false;
    g->seen[at / 2] |= STARTS;
    *s = (struct start){pc, g->pa + at};
    return true;
}

static struct block *block_of(struct cpu *cpu, const struct start *s) {
    struct block *b = translate_block(cpu, s->pc, s->pa, host_at(s));
    if (!b) {
        cache_flush(engine_of(cpu));
        b = translate_block(cpu, s->pc, s->pa, host_at(s));
    }
    return b;
}

static void note(const struct start *s) {
    if (count == room) {
        room = room ? 2 * room : 4096;
        list = realloc(list, room * sizeof(*list));
        if (!list)
            fail("blocks", "no memory");
    }
    list[count++] = *s;
}

static struct {
    uint64_t insns, ir, bytes, links, faults, digest;
} sum;

static void hash(uint64_t v) { sum.digest = (sum.digest ^ v) * UINT64_C(0x100000001b3); }

/* Of what does not depend on where this program is: host code that calls functions does. */
static void digest(const struct engine *e) {
    const struct ir_block *b = e->ir;
    const struct code_out *out = e->out;
    bool calls = false;
    for (unsigned i = 1; i < b->count; i++)
        calls |= b->inst[i].op == IR_CALL || b->inst[i].op == IR_CALLV || b->inst[i].op >= IR_VFADD;
    hash((uint64_t)(out->end - out->start) | (uint64_t)out->links << 32);
    for (unsigned i = 0; i < out->faults; i++)
        hash(out->fault[i].at | (uint64_t)out->fault[i].stub << 32);
    for (const uint8_t *p = out->start; !calls && p < out->end; p++)
        hash(*p);
    for (const uint8_t *p = out->records - out->record_bytes; !calls && p < out->records; p++)
        hash(p[e->cpu->code_to_write]);
}

static void count_block(const struct engine *e) {
    sum.insns += e->ir->insns;
    for (unsigned i = 1; i < e->ir->count; i++)
        sum.ir += e->ir->inst[i].op != IR_INSN && e->ir->inst[i].op != IR_NOP;
    sum.bytes += (uint64_t)(e->out->end - e->out->start);
    sum.links += e->out->links;
    sum.faults += e->out->faults;
    digest(e);
}

static void cover(const struct start *s, uint64_t bytes) {
    struct segment *g = segment_of(s->pc);
    for (uint64_t at = s->pc - g->va, end = at + bytes; at < end && at < g->bytes; at += 2)
        g->seen[at / 2] |= COVERED;
}

/* The block at pc and all that its exits lead to, depth first. */
static void follow(struct cpu *cpu, uint64_t pc) {
    static uint64_t stack[1 << 16];
    const struct engine *e = engine_of(cpu);
    unsigned depth = 0;
    stack[depth++] = pc;
    while (depth && sum.insns < limit) {
        struct start s;
        if (!new_start(stack[--depth], &s) || !block_of(cpu, &s))
            continue;
        note(&s);
        cover(&s, e->ir->guest_bytes);
        count_block(e);
        for (unsigned i = 0; i < e->out->links && depth < ARRAY_LEN(stack); i++)
            stack[depth++] = e->out->link[i].target_pc;
    }
}

/* Finds the blocks of the program: those that others lead to, and for the rest one behind the other. */
static void find_blocks(struct cpu *cpu) {
    uint64_t step = cpu->guest->pc_align + 1;
    for (unsigned i = 0; i < segments; i++)
        for (uint64_t at = 0; at + 4 <= segment[i].bytes; at += step)
            if (!(segment[i].seen[at / 2] & COVERED))
                follow(cpu, segment[i].va + at);
}

/* --- times ------------------------------------------------------------------------------------ */
enum { DECODE, PASS };
#define MAX_PHASES 12
static const char *phase_name[MAX_PHASES] = {[DECODE] = "decode"};
static uint64_t phase_ticks[MAX_PHASES];
static unsigned phases;

static uint64_t clock_cost(void) {
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t from = rt_ticks(), ticks = rt_ticks() - from;
        least = ticks < least ? ticks : least;
    }
    return least;
}

static uint64_t clock_is;
static void lap(unsigned phase) {
    uint64_t now = rt_ticks();
    phase_ticks[phase] += now - clock_is;
    clock_is = rt_ticks();
}

/* What translate_block() does, step by step. */
static void measure_block(struct cpu *cpu, const struct start *s) {
    struct engine *e = engine_of(cpu);
    struct cache *c = &e->cache;
    unsigned n = PASS;
    if (!cache_room(e))
        cache_flush(e);
    clock_is = rt_ticks();
    ir_block_reset(e->ir, s->pc, e->mode);
    e->ir->before = (uint32_t)(s->pc & PAGE_MASK);
    e->guest->translate(e->ir, cpu, host_at(s), (unsigned)(PAGE_SIZE - (s->pc & PAGE_MASK)), MAX_INSNS);
    lap(DECODE);
    for (const struct ir_pass *p = ir_passes; p->run; p++) {
        p->run(e->ir);
        lap(n++);
    }
    if (codegen_compile(e->cg, cpu, e->ir, c->code + c->code_used, c->records_used - c->code_used, e->out))
        return;
    lap(n++);
    cache_add(e, e->ir, s->pa, e->out);
    lap(n);
}

static double ns(uint64_t ticks) { return (double)ticks * 1e9 / (double)boot.tsc_hz / (double)sum.insns; }

static void measure(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    uint64_t cost = clock_cost();
    phases = PASS;
    for (const struct ir_pass *p = ir_passes; p->run && phases < MAX_PHASES - 2; p++)
        phase_name[phases++] = p->name;
    phase_name[phases++] = "emit";
    phase_name[phases++] = "insert";
    cache_flush(e);
    uint64_t from = rt_ticks();
    for (unsigned i = 0; i < count; i++)
        block_of(cpu, &list[i]);
    printf("whole %.2f\n", ns(rt_ticks() - from));
    cache_flush(e);
    for (unsigned i = 0; i < count; i++)
        measure_block(cpu, &list[i]);
    for (unsigned i = 0; i < phases; i++) {
        uint64_t own = phase_ticks[i], clock = cost * count;
        printf("%s %.2f\n", phase_name[i], ns(own > clock ? own - clock : 0));
    }
}

/* --- the engine ------------------------------------------------------------------------------- */
/* Programs run at the lowest level, kernels in the upper half at the next one. */
static uint32_t mode_for(const char *guest) {
    if (strcmp(guest, "a64"))
        return 0;
    return segment[0].va >> 63 ? A64_EL1 | 1u << 2 | A64_MODE_SA | A64_MODE_SPSEL
                               : A64_EL0 | A64_MODE_SA | A64_MODE_ZVA;
}

/* The vCPU's first call, since it was to stop before it has begun: the engine is ready. */
static void monitor(void *ctx, unsigned vcpu, struct abi_vcpu *abi) {
    struct cpu *cpu = (struct cpu *)(uintptr_t)boot.vcpu_va[vcpu];
    if (abi->call == ABI_CALL_LOG || abi->call == ABI_CALL_PANIC)
        fwrite((const char *)(uintptr_t)abi->arg[0], 1, abi->arg[1], stderr);
    if (abi->call != ABI_CALL_STOPPED)
        return;
    engine_of(cpu)->mode = mode_for(ctx);
    find_blocks(cpu);
    if (!sum.insns)
        return;
    printf("blocks %u\ninsns %llu\nir %llu\nbytes %llu\nlinks %llu\nfaults %llu\ndigest %016llx\n", count,
           (unsigned long long)sum.insns, (unsigned long long)sum.ir, (unsigned long long)sum.bytes,
           (unsigned long long)sum.links, (unsigned long long)sum.faults, (unsigned long long)sum.digest);
    measure(cpu);
    status = 0;
}

int main(int argc, char **argv) {
    if (argc > 2)
        limit = strtoull(argv[2], NULL, 0);
    if (argc < 2 || argc > 3 || !limit) {
        fprintf(stderr, "usage: %s FILE [INSTRUCTIONS]\n", argv[0]);
        return 2;
    }
    boot = (struct abi_boot){
        .vcpu_count = 1, .mmu = ABI_MMU_SOFT, .gic_version = 2, .ram_size = RAM_BYTES, .entry_pc = RAM_GPA};
    machine_memory(&boot);
    const char *guest = load(argv[1]);
    boot.guest = machine_guest(guest);
    ((struct abi_vcpu *)(uintptr_t)boot.vcpu_va[0])->pending = ABI_PEND_STOP;
    rt_user_set_monitor(monitor, NULL, (void *)(uintptr_t)guest);
    rt_user_run(&boot, 0);
    if (status)
        fail(argv[1], "no code was translated");
    return 0;
}
