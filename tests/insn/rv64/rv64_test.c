/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * rv64_test.c: executes cases in our world and compares what came out with the records of the reference.
 *
 *     rv64_test interp|opt|jit|jit-minimum CASES RECORDS
 *
 * As insn_test.c does for AArch64. One line for each difference on stdout; exit status 1 if there was one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "graft/codegen.h"
#include "graft/softfp.h"
#include "rv64_decode.h"
#include "rv64_insn.h"
#include "tests/insn/insn_test.h"

extern const struct guest_ops rv64_guest;
static enum { INTERP, OPT, JIT, JIT_MINIMUM } backend;
static unsigned long differences;

static void die(const char *what) {
    perror(what);
    exit(2);
}

/* --- one case in our world -------------------------------------------------------------------- */

static void set_state(const struct rv64_state *s) {
    struct rv64_cpu *c = world.cpu;
    memcpy(c->x, s->x, sizeof c->x);
    for (unsigned i = 0; i < 32; i++)
        c->f[i] = (v128){.u64 = {s->f[i], 0}};
    c->c.excl_addr = ~UINT64_C(0);
    c->sstatus = 3u << 13;
    rv64_fcsr_set(&c->c, s->fcsr & 31, (uint32_t)s->fcsr >> 5);
}

static void get_state(struct rv64_state *s, uint64_t end) {
    struct rv64_cpu *c = world.cpu;
    memcpy(s->x, c->x, sizeof s->x);
    for (unsigned i = 0; i < 32; i++)
        s->f[i] = c->f[i].u64[0];
    s->fcsr = c->frm << 5 | rv64_fflags(&c->c);
    s->exit = c->pc == end + 4;
}

/* check(): the IR must be right after every pass. */
static void check(const char *pass) {
    char err[200];
    if (ir_verify(world.block, err, sizeof err)) {
        printf("the IR of %08x ... is wrong after %s: %s\n", *(const uint32_t *)world.block->pc, pass, err);
        differences++;
    }
}

static void translate(uint64_t pc, uint64_t end) {
    uint32_t mode = RV64_U | world.cpu->frm << RV64_MODE_FRM_SHIFT | (world.cpu->unboxed ? RV64_MODE_UNBOXED : 0);
    ir_block_reset(world.block, pc, mode);
    world.block->flags = IR_BLOCK_LONG;
    rv64_translate(world.block, &world.cpu->c, (const void *)pc, (unsigned)(end - pc), 64);
    ir_block_again(world.block, true, true); /* if it is a loop, with all that is in it */
    rv64_translate(world.block, &world.cpu->c, (const void *)pc, (unsigned)(end - pc), 64);
    check("translation");
    if (backend == INTERP)
        return;
    ir_optimise(world.block);
    check("optimisation");
}

static uint64_t slot_of(unsigned long position) { return INSN_CODE + position % INSN_SLOTS * INSN_SLOT_BYTES; }

static void run_case(const struct icase *c, unsigned long position, struct rv64_record *out) {
    uint64_t first = slot_of(position), end = first + 4 * c->count;
    struct rv64_cpu *cpu = world.cpu;
    struct rv64_state initial;
    rv64_initial_state(c, &initial);
    if (c->flags & INSN_MEMORY)
        insn_fill_window(c);
    set_state(&initial);
    world.kind = IFAULT_NONE;
    cpu->pc = first;
    cpu->unboxed = false;
    if (setjmp(world.fault) == 0) {
        while (cpu->pc >= first && cpu->pc < end) {
            cpu->c.exit_site = 0;
            translate(cpu->pc, end);
            if (backend >= JIT)
                jit_run();
            else
                ir_interpret(world.block, &cpu->c);
            cpu->unboxed |= cpu->c.exit_site == CODE_EXIT_FAULT;
            cpu->pc &= ~UINT64_C(1); /* as the guest's pc_fault() does */
        }
        if (cpu->pc != end && cpu->pc != end + 4)
            world.kind = IFAULT_OTHER;
    }
    out->fault = world.kind;
    out->offset = world.kind ? cpu->pc - first : 0;
    fp_sync(&cpu->c);
    get_state(&out->s, end);
    out->memory = c->flags & INSN_MEMORY ? insn_hash_window() : 0;
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool differs(char *text, size_t len, const char *name, int n, uint64_t ours, uint64_t reference) {
    if (ours != reference)
        snprintf(text, len, "%s%d is %016llx, not %016llx", name, n, (unsigned long long)ours,
                 (unsigned long long)reference);
    return ours != reference;
}

static bool state_differs(char *text, size_t len, const struct rv64_state *a, const struct rv64_state *b) {
    for (int i = 0; i < 32; i++)
        if (differs(text, len, "x", i, a->x[i], b->x[i]) || differs(text, len, "f", i, a->f[i], b->f[i]))
            return true;
    return differs(text, len, "fcsr", 0, a->fcsr, b->fcsr) || differs(text, len, "branch taken", 0, a->exit, b->exit);
}

static const char *name_of(uint32_t encoding) {
    uint32_t insn = (encoding & 3) == 3 ? encoding : rv64_expand((uint16_t)encoding);
    return rv64_rows[rv64_decode(insn)].name;
}

static void compare(const struct icase *c, unsigned long position, const struct rv64_record *ours,
                    const struct rv64_record *reference) {
    static const char *const faults[] = {"no fault", "illegal", "an abort", "an alignment fault", "another exception"};
    char text[200];
    if (ours->fault != reference->fault)
        snprintf(text, sizeof text, "%s, not %s", faults[ours->fault], faults[reference->fault]);
    else if (!differs(text, sizeof text, "fault offset", 0, ours->offset, reference->offset) &&
             !state_differs(text, sizeof text, &ours->s, &reference->s) &&
             !differs(text, sizeof text, "memory", 0, ours->memory, reference->memory))
        return;
    uint32_t last = c->insn[c->count - 1];
    printf("%s %08x (case %lu): %s\n", name_of(last), last, position, text);
    if (++differences > 40)
        return;
    struct rv64_state s;
    rv64_initial_state(c, &s);
    for (unsigned i = 0; i + 1 < c->count; i++)
        printf("    after %s %08x\n", name_of(c->insn[i]), c->insn[i]);
    const unsigned regs[] = {last >> 7 & 31, last >> 15 & 31, last >> 20 & 31, last >> 27};
    printf("    fcsr %llx\n", (unsigned long long)s.fcsr);
    for (int i = 0; i < 4; i++)
        printf("    x%-2u %016llx  f%-2u %016llx\n", regs[i], (unsigned long long)s.x[regs[i]], regs[i],
               (unsigned long long)s.f[regs[i]]);
}

static void map(uint64_t at, size_t bytes) {
    if (mmap((void *)at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
        (void *)at)
        die("mmap");
}

int main(int argc, char **argv) {
    static const char *const names[] = {"interp", "opt", "jit", "jit-minimum"};
    if (argc != 4) {
        fprintf(stderr, "usage: rv64_test interp|opt|jit|jit-minimum CASES RECORDS\n");
        return 2;
    }
    while (strcmp(argv[1], names[backend]))
        if (++backend > JIT_MINIMUM)
            return 2;
    FILE *cases = fopen(argv[2], "rb"), *records = fopen(argv[3], "rb");
    if (!cases || !records)
        die("cases or records");
    map(INSN_CODE, INSN_CODE_BYTES);
    map(INSN_SCRATCH, INSN_SCRATCH_BYTES);
    world.cpu = aligned_alloc(4096, ABI_CPU_BYTES);
    memset(world.cpu, 0, ABI_CPU_BYTES);
    world.block = malloc(sizeof *world.block);
    world.cpu->c.guest = &rv64_guest;
    if (backend >= JIT)
        jit_init(backend == JIT_MINIMUM);
    struct icase c;
    struct rv64_record reference, ours;
    unsigned long count = 0;
    for (; fread(&c, sizeof c, 1, cases) == 1; count++) {
        if (c.count == 0 || c.count > INSN_MAX)
            return 2;
        if (fread(&reference, sizeof reference, 1, records) != 1) {
            printf("the reference stopped at case %lu: %08x\n", count, c.insn[0]);
            return 1;
        }
        memcpy((void *)slot_of(count), c.insn, 4 * c.count);
        run_case(&c, count, &ours);
        compare(&c, count, &ours, &reference);
    }
    printf("%lu cases, %lu differences\n", count, differences);
    return differences != 0;
}
