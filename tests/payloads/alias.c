/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* alias.c: the same code at several virtual addresses: what it computes from its own, faults in it, links between its
 * pages, and its being changed through one of them. */
#include "payload.h"

#define ALIASES 6
#define ALIAS(n) (0x10100000000ul + (n) * 0x2340005000ul)
#define NOWHERE 0x7000000000ul
#define RESULTS 12

/* x0: results. The page behind it has far_part. */
SNIPPET(near_part, "mov x9, x0\n"
                   "mov x10, x30\n"
                   "near_adr: adr x1, near_literal\n"
                   "str x1, [x9]\n"
                   ".inst 0xb0000002\n" /* adrp x2, the next page */
                   "add x2, x2, #0x128\n"
                   "str x2, [x9, #8]\n"
                   "bl 1f\n"
                   "near_back: str x30, [x9, #16]\n"
                   "ldr x3, near_literal\n"
                   "ldrsw x4, near_literal + 4\n"
                   "ldr d5, near_literal\n"
                   "stp x3, x4, [x9, #24]\n"
                   "str d5, [x9, #40]\n"
                   "cbz xzr, 2f\n"
                   "brk #1\n"
                   "1: str x30, [x9, #48]\n"
                   "adr x30, near_back\n"
                   "ret\n"
                   "2: tbz x3, #0, 3f\n"
                   "tbnz x3, #1, 3f\n"
                   "cbnz x9, 4f\n"
                   "3: brk #2\n"
                   "4: bl near_part + 4096\n"
                   "str x0, [x9, #56]\n"
                   "adr x6, 5f\n"
                   "br x6\n"
                   "brk #3\n"
                   "5: mov x7, #0x7000000000\n"
                   "near_fault: ldr x8, [x7]\n"
                   "near_change: mov x8, #1\n"
                   "str x8, [x9, #64]\n"
                   "add x6, x6, #8\n"
                   "cmp x6, x9\n"
                   "cset x8, eq\n"
                   "str x8, [x9, #72]\n"
                   "ret x10\n"
                   ".balign 8\n"
                   "near_literal: .quad 0x8765432112345679");
SNIPPET(far_part, "adr x0, far_part\n"
                  "adrp x1, far_part\n"
                  "stp x1, x30, [x9, #80]\n"
                  "ret");
extern const uint32_t near_back[], near_fault[], near_change[], near_literal[];

static uint64_t off(const uint32_t *label) { return 4 * (uint64_t)(label - near_part); }

static void run(uint64_t at, uint64_t *result) {
    caught = 0;
    exception_handler = catch_and_skip;
    ((void (*)(uint64_t *))at)(result);
    exception_handler = NULL;
}

static void check(uint64_t at, uint64_t change) {
    uint64_t r[RESULTS] = {0};
    run(at, r);
    CHECK_EQ(r[0], at + off(near_literal));
    CHECK_EQ(r[1], at + 4096 + 0x128);
    CHECK_EQ(r[2], at + off(near_back));
    CHECK_EQ(r[3], 0x8765432112345679ul);
    CHECK_EQ(r[4], 0xffffffff87654321ul);
    CHECK_EQ(r[5], r[3]);
    CHECK_EQ(r[6], at + off(near_back));
    CHECK_EQ(r[7], at + 4096);
    CHECK_EQ(r[8], change);
    CHECK_EQ(r[9], 0);
    CHECK_EQ(r[10], at + 4096);
    CHECK_EQ(r[11] & 0xfff, r[11] - at);
    CHECK_EQ(caught, 1);
    CHECK_EQ(caught_frame.elr, at + off(near_fault)); /* as it was when the fault came */
    CHECK_EQ(caught_frame.far, NOWHERE);
}

static void make(uint32_t *page) {
    memcpy(page, near_part, 512);
    memcpy(page + 1024, far_part, 64);
    code_sync(page, 8192);
}

static uint32_t *two_pages(void) {
    uint32_t *a = page_alloc(), *b = page_alloc();
    CHECK_EQ((uint64_t)b, (uint64_t)a + 4096);
    make(a);
    return a;
}

static void map(unsigned n, const uint32_t *page) {
    for (unsigned i = 0; i < 2; i++)
        mmu_map(mmu_root0(), ALIAS(n) + 4096 * i, (uint64_t)page + 4096 * i, PTE_RW);
    tlbi_va(ALIAS(n));
    tlbi_va(ALIAS(n) + 4096);
}

static uint32_t *page;

static void test_all_alike(void) {
    mmu_on();
    page = two_pages();
    for (unsigned n = 0; n < ALIASES; n++)
        map(n, page);
    for (unsigned round = 0; round < 40; round++)
        for (unsigned n = 0; n < ALIASES; n++)
            check(ALIAS((n * 5 + round) % ALIASES), 1);
}

/* Through one address, and run at the others; at some of them for the first time. */
static void test_changes(void) {
    for (unsigned round = 2; round < 60; round++) {
        uint32_t *at = (uint32_t *)(ALIAS(round * 7 % ALIASES) + off(near_change));
        *at = 0xd2800008u | round << 5; /* mov x8, #round */
        code_sync(at, 4);
        for (unsigned n = round % 3; n < ALIASES; n++)
            check(ALIAS(n), round);
    }
}

/* An address that leads to other pages, which hold the same code, or nearly. */
static void test_moves_on(void) {
    uint32_t *other = two_pages();
    for (unsigned round = 0; round < 20; round++) {
        map(2, other);
        check(ALIAS(2), 1);
        check(ALIAS(3), 59);
        map(2, page);
        check(ALIAS(2), 59);
        mmu_entry(mmu_root0(), ALIAS(4) + 4096)[0] = (uint64_t)other + 4096 + PTE_RW; /* the far part alone */
        tlbi_va(ALIAS(4) + 4096);
        check(ALIAS(4), 59);
        map(4, page);
    }
}

TESTS({"all_alike", test_all_alike}, {"changes", test_changes}, {"moves_on", test_moves_on});
