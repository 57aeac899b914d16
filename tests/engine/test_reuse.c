/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_reuse.c: a block that is copied from an earlier run's, in another process with the code area and the engine at
 * other addresses, for the same pc or another, is byte by byte what a translation at that place is. An entry in which a
 * byte was changed is not used.
 *
 * usage: test-reuse GUEST give|take FILE [SEED [ROUNDS]]
 * give: translates random code, and writes the entries to FILE. take: translates the same code with them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/engine.h"
#include "graft/code_entry.h"
#include "guests/a64/a64.h"
#include "image.h"
#include "machine.h"
#include "random.h"

#define RAM_BYTES (64ull << 20)
#define WORDS (PAGE_SIZE / 4)
#define BLOCKS 48 /* of a page */
#define FILE_MAX (64u << 20)

static struct abi_boot boot;
static unsigned long rounds = 100;
static int status = 1;
static bool give, is_a64;
static FILE *file;
static uint8_t *entries;
static size_t bytes;
static unsigned long reused, translated;

/* Half of it random, half of it code that is likely to have a pc, a helper or softfp in it. */
static uint32_t instruction(void) {
    static const uint32_t known[2][12] = {{0x90000000, 0x10000000, 0x94000000, 0x54000000, 0x1e602800, 0x4e61d400,
                                           0xf9400000, 0xb9000000, 0xd65f03c0, 0x1e624000, 0x9e780000, 0xd4000001},
                                          {0x00000017, 0x0000006f, 0x00000063, 0x00003003, 0x00003023, 0x02007053,
                                           0x00000013, 0x00000067, 0x12007053, 0x00000073, 0x1a007053, 0xc2007053}};
    const uint32_t bits = (uint32_t)rnd(UINT64_C(1) << 32);
    return rnd(2) ? bits : known[!is_a64][rnd(12)] | (is_a64 ? bits & 0x001f03ff : bits & 0x00ff8f80);
}

static uint64_t place(unsigned i) {
    static const uint64_t base[] = {0x0000aaaa00000000, 0xffff800008000000, 0x0000000000400000, 0x0000ffff80000000};
    return base[i % ARRAY_LEN(base)];
}

/* --- comparison ------------------------------------------------------------------------------- */
static struct image one, other;

/* There is no block left that could be copied. */
static void take_back(struct engine *e, struct block *last) {
    struct cache *c = &e->cache;
    image_take_back(e, last);
    memset(c->same, 0, ((size_t)c->hash_mask + 1) * sizeof(*c->same));
}

static bool take(struct cpu *cpu, uint64_t pc, uint64_t pa, const uint32_t *words) {
    struct engine *e = engine_of(cpu);
    const uint64_t before = STAT(cpu, blocks_reused);
    image_scribble(e);
    struct block *b = translate_block(cpu, pc, pa, words);
    if (STAT(cpu, blocks_reused) == before) {
        translated++;
        take_back(e, b);
        return true;
    }
    reused++;
    image_save(&one, &e->cache, b);
    take_back(e, b);
    struct reuse *reuse = e->reuse;
    e->reuse = NULL;
    b = translate_block(cpu, pc, pa, words);
    e->reuse = reuse;
    image_save(&other, &e->cache, b);
    take_back(e, b);
    const char *what = image_difference(&one, &other);
    if (what)
        fprintf(stderr, "FAIL: the block for %llx has other %s than a translation\n", (unsigned long long)pc, what);
    return !what;
}

/* --- rounds ----------------------------------------------------------------------------------- */
static bool round_of(struct cpu *cpu, unsigned n) {
    struct engine *e = engine_of(cpu);
    uint32_t *page = (uint32_t *)(uintptr_t)boot.ram_va + (1 + rnd(1000)) * WORDS;
    const uint64_t pa = RAM_GPA + ((uintptr_t)page - boot.ram_va), there = place(n) + (rnd(1 << 16) << PAGE_SHIFT);
    struct block *first = NULL;
    cache_flush(e);
    for (unsigned i = 0; i < WORDS; i++)
        page[i] = instruction();
    for (unsigned i = 0; i < BLOCKS; i++) {
        const uint64_t at = rnd(WORDS) * 4, elsewhere = i % 2 && place(n) > UINT32_MAX ? rnd(1 << 16) << PAGE_SHIFT : 0;
        if (!give && !take(cpu, there + elsewhere + at, pa + at, page + at / 4))
            return false;
        if (!give || cache_find(e, pa + at, there + at, e->mode))
            continue;
        struct block *b = translate_block(cpu, there + at, pa + at, page + at / 4);
        for (unsigned k = 0; first && k < b->links; k++) /* they are given as if they were not linked */
            codegen_link(&(struct code_link){.site = e->cache.code + e->cache.link[b->first_link + k].site,
                                             .write = e->cache.code + e->cache.link[b->first_link + k].site +
                                                      e->cache.code_to_write},
                         e->cache.code + first->entry);
        first = first ? first : b;
    }
    return true;
}

/* The vCPU's first call, since it was to stop before it has begun: the engine is ready. */
static void monitor(void *ctx, unsigned vcpu, struct abi_vcpu *abi) {
    struct cpu *cpu = (struct cpu *)(uintptr_t)boot.vcpu_va[vcpu];
    if (abi->call == ABI_CALL_LOG || abi->call == ABI_CALL_PANIC)
        fwrite((const char *)(uintptr_t)abi->arg[0], 1, abi->arg[1], stderr);
    if (abi->call == ABI_CALL_REUSE && give) {
        fwrite((const void *)(uintptr_t)abi->arg[0], 1, abi->arg[1], file);
        abi->ret[0] = 0;
    }
    if (abi->call != ABI_CALL_STOPPED)
        return;
    engine_of(cpu)->mode = is_a64 ? A64_EL0 | A64_MODE_SA | A64_MODE_ZVA : 0;
    status = engine_of(cpu)->reuse ? 0 : 77;
    for (unsigned i = 0; i < rounds && !status; i++)
        status = !round_of(cpu, i);
    cache_flush(engine_of(cpu));
}

/* --- entries ---------------------------------------------------------------------------------- */
/* A table of all entries in memory; every hundredth has one byte changed, and is not to be used. */
static void enter_all(void) {
    const uint64_t mask = (1 << 18) - 1;
    struct code_slot *table = calloc(mask + 1, sizeof(*table));
    unsigned n = 0;
    for (size_t at = 0; at < bytes;) {
        struct code_entry *x = (struct code_entry *)(entries + at);
        const uint32_t size = x->bytes;
        uint64_t i = x->key & mask;
        while (table[i].at)
            i = (i + 1) & mask;
        table[i] = (struct code_slot){x->key, (uint32_t)(at / CODE_ENTRY_ALIGN) | CODE_SLOT_USED};
        if (++n % 100 == 0)
            entries[at + 8 + (n * 7919u) % (size - 8)] ^= (uint8_t)(1 + n % 255);
        at += size;
    }
    boot.reuse_va = (uintptr_t)entries;
    boot.reuse_bytes = bytes;
    boot.reuse_table = (uintptr_t)table;
    boot.reuse_mask = mask;
}

static bool open_file(const char *name) {
    file = fopen(name, give ? "wb" : "rb");
    if (!file)
        return false;
    if (give)
        return true;
    entries = malloc(FILE_MAX);
    bytes = fread(entries, 1, FILE_MAX, file);
    enter_all();
    return bytes != 0;
}

int main(int argc, char **argv) {
    give = argc > 2 && !strcmp(argv[2], "give");
    is_a64 = argc > 1 && !strcmp(argv[1], "a64");
    if (argc < 4 || !open_file(argv[3])) {
        fprintf(stderr, "usage: %s a64|rv64 give|take FILE [SEED [ROUNDS]]\n", argv[0]);
        return 2;
    }
    rng = argc > 4 ? strtoull(argv[4], NULL, 0) * 2 + 1 : 1;
    rounds = argc > 5 ? strtoul(argv[5], NULL, 0) : rounds;
    boot.vcpu_count = 1;
    boot.mmu = ABI_MMU_SOFT;
    boot.gic_version = 2;
    boot.ram_size = RAM_BYTES;
    boot.entry_pc = RAM_GPA;
    boot.reuse = ABI_REUSE_NEW;
    machine_memory(&boot);
    while (boot.guest < guest_count && strcmp(guest_table[boot.guest]->name, argv[1]))
        boot.guest++;
    ((struct abi_vcpu *)(uintptr_t)boot.vcpu_va[0])->pending = ABI_PEND_STOP;
    rt_user_set_monitor(monitor, NULL, NULL);
    rt_user_run(&boot, 0);
    fclose(file);
    if (status == 77)
        printf("SKIP: the code area is too far from the engine\n");
    if (!status && !give && reused < 2 * translated) {
        fprintf(stderr, "FAIL: %lu blocks were reused, %lu were not\n", reused, translated);
        return 1;
    }
    if (!status && !give)
        printf("ok: %lu blocks are what translations are, %lu had to be translated\n", reused, translated);
    return status;
}
