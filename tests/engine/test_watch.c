/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_watch.c: a translation depends on no code but what its block says: all the rest of the page is changed, and the
 * translation of the same pc has to stay what it was. A write to code that a block does not name leaves it as it is.
 *
 * usage: test-watch [SEED [ROUNDS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/a64/a64.h"
#include "random.h"

#define PAGE UINT64_C(0xffff000000400000)
#define WORDS (PAGE_SIZE / 4)

/* Code as it comes: what sets and reads flags, branches near by, accesses through SP. The mask's bits are random. */
static uint32_t instruction(void) {
    static const struct {
        uint32_t code, mask;
    } shape[] = {
        {0xeb00001f, 0x001f03e0}, /* CMP */
        {0xab000000, 0x001f03ff}, /* ADDS */
        {0xf1000400, 0x000003ff}, /* SUBS, immediate */
        {0x8b000000, 0x001f03ff}, /* ADD */
        {0xd2800000, 0x001fffff}, /* MOVZ */
        {0x54000000, 0x000003ef}, /* B.cond */
        {0xb4000000, 0x000001ff}, /* CBZ */
        {0x14000000, 0x0000001f}, /* B */
        {0xf9400000, 0x000003ff}, /* LDR */
        {0xf94003e0, 0x0000001f}, /* LDR off SP */
        {0xa9bf03e0, 0x00007c1f}, /* STP off SP */
        {0x9a800000, 0x001ff3ff}, /* CSEL */
        {0xd61f0000, 0x000003e0}, /* BR */
        {0x4e20d400, 0x001f03ff}, /* FADD, vector */
    };
    unsigned i = (unsigned)rnd(ARRAY_LEN(shape));
    return rnd(24) ? shape[i].code | ((uint32_t)rng & shape[i].mask) : (uint32_t)(rng >> 16);
}

static void translate(struct ir_block *b, const struct cpu *cpu, const uint32_t *page, uint64_t pc, uint32_t mode,
                      unsigned max) {
    const uint64_t offset = pc & PAGE_MASK;
    const unsigned count = (unsigned)(PAGE_SIZE - offset) / 4;
    ir_block_reset(b, pc, mode);
    b->before = (uint32_t)offset;
    a64_guest.translate(b, cpu, page + offset / 4, 4 * (count ? count : 1), max);
}

static bool same(const struct ir_block *a, const struct ir_block *b) {
    return a->count == b->count && a->flags == b->flags && a->insns == b->insns && a->guest_bytes == b->guest_bytes &&
           a->watch_before == b->watch_before && a->watch_bytes == b->watch_bytes && a->vconsts == b->vconsts &&
           !memcmp(a->inst, b->inst, a->count * sizeof(a->inst[0])) &&
           !memcmp(a->vconst, b->vconst, a->vconsts * sizeof(a->vconst[0]));
}

/* Does the block name the byte at that offset in its page? As cache_add() has it. */
static bool is_watched(const struct ir_block *b, uint64_t offset) {
    uint64_t at = b->pc & PAGE_MASK, bytes = b->watch_bytes ? b->watch_bytes : b->guest_bytes;
    return offset >= at - b->watch_before && offset < at + bytes;
}

int main(int argc, char **argv) {
    static struct ir_block first, again;
    static uint32_t page[WORDS];
    static struct a64_cpu cpu;
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 20000, wide = 0;
    rng = argc > 1 ? strtoull(argv[1], NULL, 0) * 2 + 1 : 1;
    for (unsigned long round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < WORDS; i++)
            page[i] = instruction();
        uint64_t pc = PAGE + 4 * rnd(WORDS);
        const uint32_t mode = A64_EL1 | 1u << 2 | (rnd(4) ? A64_MODE_SA : 0);
        const unsigned max = rnd(8) ? 64 : 1;
        translate(&first, &cpu.c, page, pc, mode, max);
        const uint64_t at = pc & PAGE_MASK;
        if (first.watch_before > at || at + first.watch_bytes > PAGE_SIZE) {
            fprintf(stderr, "FAIL in round %lu: pc %llx watches more than its page\n", round, (unsigned long long)pc);
            return 1;
        }
        for (uint64_t i = 0; i < PAGE_SIZE; i++)
            if (!is_watched(&first, i))
                ((uint8_t *)page)[i] = (uint8_t)rnd(256);
        translate(&again, &cpu.c, page, pc, mode, max);
        if (!same(&first, &again)) {
            fprintf(stderr,
                    "FAIL in round %lu: the translation of %llx depends on more than %u bytes before and %u from it\n",
                    round, (unsigned long long)pc, first.watch_before, first.watch_bytes);
            return 1;
        }
        wide += first.watch_before || first.watch_bytes > first.guest_bytes;
    }
    if (!wide) {
        fprintf(stderr, "FAIL: no block depends on more than its own code\n");
        return 1;
    }
    printf("ok: %lu blocks, %lu depend on more than their own code\n", rounds, wide);
    return 0;
}
