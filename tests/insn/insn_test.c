/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * insn_test.c: executes cases in our world and compares what came out with the records of the reference.
 *
 *     insn_test interp|opt|jit|jit-minimum CASES RECORDS [UNDEFINED]
 *
 * interp executes the IR as the translator made it, opt after the optimiser, jit as host code, jit-minimum as code for
 * the oldest host that will do. One line for each difference on stdout; exit status 1 if there was one. With UNDEFINED,
 * cases that are undefined here but not in the reference are written there instead of being reported: the caller asks
 * an older core about them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "a64_decode.h"
#include "graft/softfp.h"
#include "graft/codegen.h"
#include "insn_test.h"

static enum { INTERP, OPT, JIT, JIT_MINIMUM } backend;
static FILE *undefined_file;
static unsigned long differences;

static void die(const char *what) {
    perror(what);
    exit(2);
}

/* --- one case in our world -------------------------------------------------------------------- */

static uint64_t slot_of(unsigned long position) { return INSN_CODE + position % INSN_SLOTS * INSN_SLOT_BYTES; }

static void set_state(const struct istate *s) {
    struct a64_cpu *c = world.cpu;
    memcpy(c->x, s->x, sizeof s->x);
    c->x[31] = s->sp;
    c->nzcv = ir_flags_pack((uint32_t)s->nzcv);
    memcpy(c->v, s->v, sizeof c->v);
    c->c.excl_addr = ~UINT64_C(0);
    c->c.fp.fpcr = (uint32_t)s->fpcr;
    c->c.fp.fpsr = (uint32_t)s->fpsr & 0x9f;
    c->c.fp.qc = (v128){.u64 = {s->fpsr >> 27 & 1, 0}};
    fp_set_rounding(&c->c);
}

static uint64_t end_of(const struct icase *c, uint64_t slot) { return slot + INSN_SLOT_FIRST + 4 * c->count; }

static void get_state(struct istate *s, uint64_t end) {
    struct a64_cpu *c = world.cpu;
    memcpy(s->x, c->x, sizeof s->x);
    s->sp = c->x[31];
    a64_flags_settle(&world.cpu->c);
    s->nzcv = ir_flags_unpack(c->nzcv);
    memcpy(s->v, c->v, sizeof c->v);
    s->fpcr = c->c.fp.fpcr;
    s->fpsr = c->c.fp.fpsr | (c->c.fp.qc.u64[0] | c->c.fp.qc.u64[1] ? 1u << 27 : 0);
    s->exit = c->pc == end + 4 ? 1 : 0;
}

/* check(): the IR must be right after every pass. */
static void check(const char *pass) {
    char err[200];
    if (ir_verify(world.block, err, sizeof err)) {
        printf("the IR of %08x ... is wrong after %s: %s\n", *(const uint32_t *)world.block->pc, pass, err);
        differences++;
    }
}

static void translate(const uint32_t *words, unsigned count, uint64_t pc, uint32_t mode) {
    ir_block_reset(world.block, pc, mode);
    if (count > 1 && words[0] & 1) { /* if it is a loop, with all that is in it; others as they come */
        world.block->flags = IR_BLOCK_LONG;
        a64_translate(world.block, &world.cpu->c, words, 4 * count, count);
        ir_block_again(world.block, true, true);
    }
    a64_translate(world.block, &world.cpu->c, words, 4 * count, count);
    world.branches += world.block->labels != 0;
    check("translation");
    if (backend == INTERP)
        return;
    ir_optimise(world.block);
    check("optimisation");
}

/* Every eighth case has its accesses done by calls, as for watchpoints. */
static uint32_t mode_of(const struct icase *c) {
    bool called = (c->insn[0] >> 5 & 7) == 3;
    return (called ? A64_MODE_WATCH : 0) | A64_EL0 | A64_MODE_SA |
           (world.cpu->c.fp.fpcr >> 24 & 1 ? A64_MODE_SOFTFP : 0) | (c->flags & INSN_ALIGNED ? A64_MODE_ALIGN : 0);
}

/* run(): from the first instruction until the pc leaves the instructions of the case. */
static void run(const struct icase *c, uint64_t slot, struct irecord *out) {
    uint64_t first = slot + INSN_SLOT_FIRST, end = end_of(c, slot);
    struct a64_cpu *cpu = world.cpu;
    world.kind = IFAULT_NONE;
    cpu->pc = first;
    if (setjmp(world.fault) == 0) {
        while (cpu->pc >= first && cpu->pc < end) {
            if (cpu->pc & 3)
                world_raise(IFAULT_ALIGN);
            cpu->c.exit_site = 0;
            if (cpu->c.flags_insn) /* as the dispatcher does */
                a64_flags_settle(&cpu->c);
            unsigned skip = (unsigned)(cpu->pc - first) / 4;
            translate(c->insn + skip, c->count - skip, cpu->pc, mode_of(c));
            if (backend >= JIT)
                jit_run();
            else
                ir_interpret(world.block, &cpu->c);
            if (cpu->c.exit_site == CODE_EXIT_FAULT) /* SP */
                world_raise(IFAULT_ALIGN);
        }
        if (cpu->pc != end && cpu->pc != end + 4)
            world.kind = IFAULT_OTHER;
    }
    /* Flags that could be computed later are, every other time. */
    if (c->count == 1 && !world.kind && a64_flags_sources(c->insn[0]) && c->insn[0] >> 16 & 1) {
        cpu->nzcv = ~cpu->nzcv;
        cpu->c.flags_insn = c->insn[0];
    }
    out->fault = world.kind;
    out->offset = world.kind ? cpu->pc - slot : 0;
    fp_sync(&cpu->c);
}

static void run_case(const struct icase *c, unsigned long position, struct irecord *out) {
    uint64_t slot = slot_of(position);
    struct istate initial;
    insn_initial_state(c, &initial);
    if (c->flags & INSN_MEMORY)
        insn_fill_window(c);
    set_state(&initial);
    run(c, slot, out);
    get_state(&out->s, end_of(c, slot));
    out->memory = c->flags & INSN_MEMORY ? insn_hash_window() : 0;
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool differs(char *text, size_t len, const char *name, int n, uint64_t ours, uint64_t reference) {
    if (ours == reference)
        return false;
    char full[32];
    snprintf(full, sizeof full, n < 0 ? "%s" : "%s%d", name, n);
    snprintf(text, len, "%s is %016llx, not %016llx", full, (unsigned long long)ours, (unsigned long long)reference);
    return true;
}

static bool state_differs(char *text, size_t len, const struct istate *a, const struct istate *b) {
    for (int i = 0; i < 31; i++)
        if (differs(text, len, "x", i, a->x[i], b->x[i]))
            return true;
    for (int i = 0; i < 64; i++)
        if (differs(text, len, i & 1 ? "high half of v" : "low half of v", i / 2, a->v[i / 2][i & 1],
                    b->v[i / 2][i & 1]))
            return true;
    return differs(text, len, "sp", -1, a->sp, b->sp) || differs(text, len, "nzcv", -1, a->nzcv, b->nzcv) ||
           differs(text, len, "fpsr", -1, a->fpsr, b->fpsr) || differs(text, len, "fpcr", -1, a->fpcr, b->fpcr) ||
           differs(text, len, "branch taken", -1, a->exit, b->exit);
}

/* What the fields of the instruction's registers held, for the report. */
static void describe_inputs(const struct icase *c) {
    struct istate s;
    uint32_t insn = c->insn[c->count - 1];
    unsigned rn = insn >> 5 & 31, rm = insn >> 16 & 31, rd = insn & 31, ra = insn >> 10 & 31;
    insn_initial_state(c, &s);
    printf("    nzcv %08llx fpcr %08llx fpsr %08llx\n", (unsigned long long)s.nzcv, (unsigned long long)s.fpcr,
           (unsigned long long)s.fpsr);
    const unsigned regs[] = {rd, rn, rm, ra};
    for (int i = 0; i < 4; i++)
        printf("    x%-2u %016llx  v%-2u %016llx%016llx\n", regs[i],
               (unsigned long long)(regs[i] < 31 ? s.x[regs[i]] : s.sp), regs[i], (unsigned long long)s.v[regs[i]][1],
               (unsigned long long)s.v[regs[i]][0]);
}

static void compare(const struct icase *c, unsigned long position, const struct irecord *ours,
                    const struct irecord *reference) {
    static const char *const faults[] = {"no fault", "undefined", "an abort", "an alignment fault",
                                         "another exception"};
    char text[200];
    struct irecord expected = *reference;
    if (reference->fault == IFAULT_ABORT && c->count <= 2) {
        /* The reference may have loaded some of the registers; ours has to be precise. */
        struct istate initial;
        insn_initial_state(c, &initial);
        if (c->insn[0] == 0xd503201f)
            expected.s = initial;
        else
            memcpy(expected.s.v, initial.v, sizeof initial.v);
    }
    reference = &expected;
    if (ours->fault == IFAULT_UNDEFINED && reference->fault != IFAULT_UNDEFINED && undefined_file) {
        if (fwrite(c, sizeof *c, 1, undefined_file) != 1)
            die("undefined file");
        return;
    }
    if (ours->fault != reference->fault)
        snprintf(text, sizeof text, "%s, not %s", faults[ours->fault], faults[reference->fault]);
    else if (!differs(text, sizeof text, "fault offset", -1, ours->offset, reference->offset) &&
             !state_differs(text, sizeof text, &ours->s, &reference->s) &&
             !differs(text, sizeof text, "memory", -1, ours->memory, reference->memory))
        return;
    differences++;
    uint32_t last = c->insn[c->count - 1];
    printf("%s %08x (case %lu): %s\n", a64_rows[a64_decode(last)].name, last, position, text);
    for (unsigned i = 0; i + 1 < c->count; i++)
        if (c->insn[i] != 0xd503201f)
            printf("    after %s %08x\n", a64_rows[a64_decode(c->insn[i])].name, c->insn[i]);
    if (differences <= 50)
        describe_inputs(c);
}

static void map(uint64_t at, size_t bytes) {
    if (mmap((void *)at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
        (void *)at)
        die("mmap");
}

static void write_code(const struct icase *c, unsigned long position) {
    memcpy((void *)(slot_of(position) + INSN_SLOT_FIRST), c->insn, 4 * c->count);
}

int main(int argc, char **argv) {
    static const char *const names[] = {"interp", "opt", "jit", "jit-minimum"};
    if (argc < 4) {
        fprintf(stderr, "usage: insn_test interp|opt|jit|jit-minimum CASES RECORDS [UNDEFINED]\n");
        return 2;
    }
    while (strcmp(argv[1], names[backend]))
        if (++backend > JIT_MINIMUM)
            return 2;
    FILE *cases = fopen(argv[2], "rb"), *records = fopen(argv[3], "rb");
    if (!cases || !records)
        die("cases or records");
    if (argc > 4 && !(undefined_file = fopen(argv[4], "wb")))
        die(argv[4]);
    map(INSN_CODE, INSN_CODE_BYTES);
    map(INSN_SCRATCH, INSN_SCRATCH_BYTES);
    world.cpu = aligned_alloc(4096, ABI_CPU_BYTES);
    memset(world.cpu, 0, ABI_CPU_BYTES);
    world.block = malloc(sizeof *world.block);
    world.cpu->c.guest = &a64_guest;
    if (backend >= JIT)
        jit_init(backend == JIT_MINIMUM);
    struct icase c;
    struct irecord reference, ours;
    unsigned long count = 0;
    for (; fread(&c, sizeof c, 1, cases) == 1; count++) {
        if (c.count == 0 || c.count > INSN_MAX)
            return 2;
        if (fread(&reference, sizeof reference, 1, records) != 1) {
            printf("the reference stopped at case %lu: %08x\n", count, c.insn[0]);
            return 1;
        }
        write_code(&c, count);
        run_case(&c, count, &ours);
        compare(&c, count, &ours, &reference);
    }
    printf("%lu cases, %lu differences, %lu blocks as loops, %lu with branches inside\n", count, differences,
           world.loops, world.branches);
    return differences != 0;
}
