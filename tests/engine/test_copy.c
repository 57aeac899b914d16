/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_copy.c: a block that is copied for another pc is, byte by byte, with its links and faults, what a translation
 * for that pc at that place is. That holds while the block that it is a copy of is linked, and a copy for which one
 * thing was not changed is found.
 *
 * usage: test-copy GUEST [SEED [ROUNDS [FILE]]]
 * Each round is a page of code and the blocks in it: random, or what FILE has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/engine.h"
#include "guests/a64/a64.h"
#include "image.h"
#include "machine.h"
#include "random.h"

#define RAM_BYTES (64ull << 20)
#define WORDS (PAGE_SIZE / 4)
#define BLOCKS 48 /* of a page */

static struct abi_boot boot;
static unsigned long rounds = 300;
static FILE *file;
static int status = 1;
static unsigned long copied, refused, caught;

/* --- code ------------------------------------------------------------------------------------- */
struct shape {
    uint32_t code, mask; /* the mask's bits are random */
};
static const struct shape a64_shapes[] = {
    {0x10000000, 0x60ffffff}, /* ADR */
    {0x90000000, 0x60ffffff}, /* ADRP */
    {0x91000000, 0x003fffff}, /* ADD, immediate */
    {0xd1000000, 0x003fffff}, /* SUB, immediate */
    {0x94000000, 0x03ffffff}, /* BL */
    {0x14000000, 0x03ffffff}, /* B */
    {0x54000000, 0x00ffffef}, /* B.cond */
    {0xb4000000, 0x01ffffff}, /* CBZ, CBNZ */
    {0x36000000, 0x81ffffff}, /* TBZ, TBNZ */
    {0x54000000, 0x0000010f}, /* B.cond, near by */
    {0xd65f0000, 0x000003e0}, /* RET */
    {0xd63f0000, 0x000003e0}, /* BLR */
    {0x58000000, 0x40ffffff}, /* LDR, literal */
    {0x1c000000, 0xc0ffffff}, /* the same, vector */
    {0xeb00001f, 0x001f03ff}, /* CMP */
    {0xab000000, 0x001f03ff}, /* ADDS */
    {0x9a800000, 0x001ff3ff}, /* CSEL */
    {0xf9400000, 0x003fffff}, /* LDR */
    {0xa9bf03e0, 0x00007c1f}, /* STP off SP */
    {0xc8007c00, 0x001f03ff}, /* STXR */
    {0x4e20d400, 0x001f03ff}, /* FADD, vector */
    {0x1e602000, 0x001f03e0}, /* FCMP */
    {0x1e220000, 0x000103ff}, /* SCVTF, FCVTZS and others */
    {0xdac00000, 0x00000fff}, /* RBIT and others */
    {0xd4000001, 0x001fffe0}, /* SVC */
    {0xd53bd040, 0x0000001f}, /* MRS TPIDR_EL0 */
};
static const struct shape rv64_shapes[] = {
    {0x00000017, 0xffffff80}, /* AUIPC */
    {0x00000013, 0xffff8f80}, /* ADDI */
    {0x0000006f, 0xffffff80}, /* JAL */
    {0x00000067, 0xffff8f80}, /* JALR */
    {0x00000063, 0xffffff80}, /* branches */
    {0x00003003, 0xffff8f80}, /* LD */
    {0x00003023, 0xffff8f80}, /* SD */
    {0x00000033, 0x01ffff80}, /* ADD */
    {0x02007053, 0x01ffff80}, /* FADD.D */
    {0x00100073, 0x00000000}, /* EBREAK */
    {0x00000073, 0x00000000}, /* ECALL */
    {0x00010001, 0xfffcfffc}, /* two compressed ones */
};

static uint32_t instruction(bool a64) {
    const struct shape *s = a64 ? a64_shapes : rv64_shapes;
    unsigned i = (unsigned)rnd(a64 ? ARRAY_LEN(a64_shapes) : ARRAY_LEN(rv64_shapes));
    uint32_t bits = (uint32_t)rnd(UINT64_C(1) << 40);
    return rnd(24) ? s[i].code | (bits & s[i].mask) : bits;
}

static bool fill(uint32_t *page, bool a64) {
    if (file)
        return fread(page, 1, PAGE_SIZE, file) == PAGE_SIZE;
    for (unsigned i = 0; i < WORDS; i++)
        page[i] = instruction(a64);
    return true;
}

/* --- comparison ------------------------------------------------------------------------------- */
static struct image copy, fresh;

static bool fail(const struct block *b, const char *what) {
    fprintf(stderr, "FAIL: the copy of %llx for %llx has other %s\n", (unsigned long long)b->pc,
            (unsigned long long)copy.block.pc, what);
    return false;
}

/* A copy with one move left out has to be another. */
static bool is_caught(struct cpu *cpu, struct block *from, uint64_t pc, const void *words) {
    struct engine *e = engine_of(cpu);
    struct cache *c = &e->cache;
    unsigned n = (from + 1 < &c->block[c->blocks] ? from[1].first_move : c->moves) - from->first_move;
    uint16_t *move = &c->move[from->first_move + rnd(n)], was = *move;
    *move = (uint16_t)(c->move[from->first_move] == was && n > 1 ? c->move[from->first_move + 1]
                                                                 : c->move[from->first_move]);
    if (n == 1)
        return true;
    image_scribble(e);
    struct block *b = translate_block(cpu, pc, from->pa, words);
    image_save(&copy, c, b);
    image_take_back(e, b);
    *move = was;
    caught++;
    return image_difference(&copy, &fresh) != NULL;
}

/* The pc is that of *from, elsewhere. */
static bool check(struct cpu *cpu, struct block *from, uint64_t pc, const void *words) {
    struct engine *e = engine_of(cpu);
    struct cache *c = &e->cache;
    uint64_t before = STAT(cpu, blocks_copied);
    const uint32_t same = (uint32_t)(from - c->block);
    image_scribble(e);
    struct block *b = translate_block(cpu, pc, from->pa, words);
    if (STAT(cpu, blocks_copied) == before) {
        refused++;
        image_take_back(e, b);
        return true;
    }
    copied++;
    image_save(&copy, c, b);
    image_take_back(e, b);
    from->valid = false; /* now there is nothing to be copied */
    b = translate_block(cpu, pc, from->pa, words);
    image_save(&fresh, c, b);
    image_take_back(e, b);
    from->valid = true;
    for (unsigned i = 0; i <= c->hash_mask; i++) /* the one that was taken back is not to be copied */
        if (c->same[i] >= c->blocks)
            c->same[i] = same;
    const char *what = image_difference(&copy, &fresh);
    if (what)
        return fail(from, what);
    return is_caught(cpu, from, pc, words) || fail(from, "moves, and nothing was noticed");
}

/* --- rounds ----------------------------------------------------------------------------------- */
/* Where it is mapped: what a user has, or a kernel; some of it where code is not copied. */
static uint64_t place(void) {
    static const uint64_t base[] = {0x0000aaaa00000000, 0x0000ffff80000000, 0x0000555500000000,
                                    0xffff800008000000, 0xffffffff80000000, 0x0000000000400000};
    return base[rnd(64) ? rnd(4) : rnd(ARRAY_LEN(base))] + (rnd(1 << 16) << PAGE_SHIFT);
}

static bool round_of(struct cpu *cpu, bool a64) {
    struct engine *e = engine_of(cpu);
    uint32_t *page = (uint32_t *)(uintptr_t)boot.ram_va + (1 + rnd(1000)) * WORDS;
    uint64_t pa = RAM_GPA + ((uintptr_t)page - boot.ram_va);
    cache_flush(e);
    if (!fill(page, a64))
        return false;
    uint64_t one = place(), other = place();
    struct block *first = NULL;
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint64_t at = rnd(WORDS) * 4;
        if (cache_find(e, pa + at, one + at, e->mode))
            continue;
        struct block *b = translate_block(cpu, one + at, pa + at, page + at / 4);
        for (unsigned k = 0; first && k < b->links; k++) /* links of both kinds, to whatever */
            codegen_link(&(struct code_link){.site = e->cache.code + e->cache.link[b->first_link + k].site,
                                             .write = e->cache.code + e->cache.link[b->first_link + k].site +
                                                      e->cache.code_to_write},
                         e->cache.code + first->entry);
        first = first ? first : b;
        if (!check(cpu, b, other + at, page + at / 4)) {
            status = 1;
            return false;
        }
    }
    return true;
}

/* The vCPU's first call, since it was to stop before it has begun: the engine is ready. */
static void monitor(void *ctx, unsigned vcpu, struct abi_vcpu *abi) {
    struct cpu *cpu = (struct cpu *)(uintptr_t)boot.vcpu_va[vcpu];
    const bool a64 = !strcmp(ctx, "a64");
    if (abi->call == ABI_CALL_LOG || abi->call == ABI_CALL_PANIC)
        fwrite((const char *)(uintptr_t)abi->arg[0], 1, abi->arg[1], stderr);
    if (abi->call != ABI_CALL_STOPPED)
        return;
    engine_of(cpu)->mode = a64 ? A64_EL0 | A64_MODE_SA | A64_MODE_ZVA : 0;
    status = 0;
    for (unsigned long i = 0; i < rounds && round_of(cpu, a64); i++) {
    }
}

int main(int argc, char **argv) {
    if (argc < 2 || (strcmp(argv[1], "a64") && strcmp(argv[1], "rv64"))) {
        fprintf(stderr, "usage: %s a64|rv64 [SEED [ROUNDS [FILE]]]\n", argv[0]);
        return 2;
    }
    rng = argc > 2 ? strtoull(argv[2], NULL, 0) * 2 + 1 : 1;
    rounds = argc > 3 ? strtoul(argv[3], NULL, 0) : rounds;
    file = argc > 4 ? fopen(argv[4], "rb") : NULL;
    boot = (struct abi_boot){
        .vcpu_count = 1, .mmu = ABI_MMU_SOFT, .gic_version = 2, .ram_size = RAM_BYTES, .entry_pc = RAM_GPA};
    machine_memory(&boot);
    while (boot.guest < guest_count && strcmp(guest_table[boot.guest]->name, argv[1]))
        boot.guest++;
    ((struct abi_vcpu *)(uintptr_t)boot.vcpu_va[0])->pending = ABI_PEND_STOP;
    rt_user_set_monitor(monitor, NULL, argv[1]);
    rt_user_run(&boot, 0);
    if (!status && (copied < refused || !caught)) {
        fprintf(stderr, "FAIL: %lu blocks were copied, %lu were not\n", copied, refused);
        return 1;
    }
    if (!status)
        printf("ok: %lu copies are what translations are, %lu were not to be made\n", copied, refused);
    return status;
}
