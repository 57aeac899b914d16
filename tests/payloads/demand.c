/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * demand.c: pages that are mapped when they are asked for, and copied when they are written to, as a kernel does: each
 * access is done once, on the right page. run-at-most counts how often that took a host fault.
 */
#include "paging.h"

#define VA (TEST_VA + 0x200000)
#define PAGES 128u
#define ROUNDS 8u
#define PLAIN (PTE_RW | PTE_NG | PTE_UXN | PTE_PXN | PTE_AP_EL0)

static uint8_t pool[PAGES][4096] __attribute__((aligned(4096)));
static unsigned given;

/* The page of a translation fault is a new one, that of a permission fault a copy. */
static void give(struct frame *f, unsigned vector) {
    uint64_t va = f->far & ~0xffful, *e = mmu_entry(root, va);
    const unsigned fsc = (unsigned)f->esr & 0x3c;
    CHECK(va - VA < PAGES * 4096ul && EC(f->esr) == 0x25 && (fsc == FSC_TRANSLATION(0) || fsc == FSC_PERMISSION(0)));
    uint64_t *to = (uint64_t *)pool[(va - VA) / 4096], *from = fsc == FSC_PERMISSION(0) ? (uint64_t *)page : NULL;
    for (unsigned i = 0; i < 512; i++)
        to[i] = from ? from[i] : 0;
    *e = 0;
    tlbi_va(va);
    *e = (uint64_t)to | PLAIN;
    dsb();
    given++;
    (void)vector;
}

static void begin(void) {
    root = mmu_root0();
    if (!page) {
        mmu_on();
        root = mmu_root0();
        page = page_alloc();
        for (unsigned i = 0; i < 512; i++)
            ((uint64_t *)page)[i] = 1000 + i;
    }
}

static void map_all(uint64_t entry) {
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t va = VA + 4096ul * i, *e = mmu_entry(root, va);
        if (!e)
            mmu_map(root, va, (uint64_t)page, 0);
        *mmu_entry(root, va) = 0;
        tlbi_va(va);
        *mmu_entry(root, va) = entry;
    }
    dsb();
    isb();
    given = 0;
    exception_handler = give;
}

static uint64_t run(const uint32_t *code, uint64_t a, uint64_t b) {
    return ((uint64_t (*)(uint64_t, uint64_t))(uintptr_t)code)(a, b);
}

/* Copies a word: the pages are known from then on, and need not be mapped. */
SNIPPET(one_word, "ldr x2, [x0]\nstr x2, [x1]\nret");
/* x1 pages from x0 on: adds 7 to a word of each. */
SNIPPET(add_seven, "1: ldr x5, [x0, #24]\nadd x5, x5, #7\nstr x5, [x0, #24]\nadd x0, x0, #4096\n"
                   "subs x1, x1, #1\nb.ne 1b\nret");
/* x1 times 16 bytes, each time as a kernel writes them to a process; the first eight are in the page before. */
SNIPPET(to_user, "mov x6, #1\n1: sttr x6, [x0]\nadd x7, x6, #1\nsttr x7, [x0, #8]\nadd x0, x0, #16\nadd x6, x6, #2\n"
                 "subs x1, x1, #1\nb.ne 1b\nret");

static void test_copied_on_write(void) {
    begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t word;
        map_all((uint64_t)page | PLAIN | PTE_AP_RO);
        for (unsigned i = 0; i < PAGES && round % 2 == 0; i++)
            run(one_word, VA + 4096ul * i, (uint64_t)&word);
        run(add_seven, VA, PAGES);
        CHECK_EQ(given, PAGES);
        for (unsigned i = 0; i < PAGES; i++)
            for (unsigned k = 0; k < 512; k++)
                CHECK_EQ(((uint64_t *)pool[i])[k], 1000 + k + (k == 3 ? 7 : 0));
        CHECK_EQ(((uint64_t *)page)[3], 1003);
    }
}

static void test_given_to_user(void) {
    begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        map_all(0);
        run(to_user, VA + 8, (PAGES * 4096 - 16) / 16);
        CHECK_EQ(given, PAGES);
        for (unsigned i = 1; i < PAGES * 512 - 1; i++)
            CHECK_EQ(((uint64_t *)pool)[i], i);
    }
}

/* Three words from x0 on: the sum of the first and twice the second, and x1 goes to the third. */
SNIPPET(three_words, "ldr x5, [x0]\nldr x6, [x0, #8]\nstr x1, [x0, #16]\nadd x0, x5, x6, lsl #1\nret");

static uint64_t *word_at(uint64_t va) { return (uint64_t *)(pool[PAGES - 1 - (va - VA) / 4096] + va % 4096); }

/* What is next to a page is another one than in memory: accesses that share a probe may not share its page. */
static void test_neighbours(void) {
    begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        map_all(0);
        for (unsigned i = 0; i < PAGES; i++)
            *mmu_entry(root, VA + 4096ul * i) = (uint64_t)pool[PAGES - 1 - i] | PLAIN;
        dsb();
        for (unsigned i = 0; i < PAGES * 512; i++)
            ((uint64_t *)pool)[i] = i;
        for (uint64_t va = VA + 4064; va + 4096 < VA + PAGES * 4096ul; va += va % 4096 == 4088 ? 4072 : 8) {
            const uint64_t want = *word_at(va) + 2 * *word_at(va + 8);
            run(one_word, va, va);
            CHECK_EQ(run(three_words, va, va + round), want);
            CHECK_EQ(*word_at(va + 16), va + round);
        }
    }
}

TESTS({"neighbours", test_neighbours}, {"copied-on-write", test_copied_on_write},
      {"given-to-user", test_given_to_user});
