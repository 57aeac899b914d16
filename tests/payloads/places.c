/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* places.c: loops that run for long in one part of the address space, and then leave it: 512 GiB are one part to Graft.
 * Each part has other data; pages are missing on the way, have come from elsewhere since the last time, or are a
 * device's. */
#include "payload.h"

#define PART 0x8000000000ul
#define PAGES 64ul /* on either side of the border */
#define STEP 64ul
#define WORDS (2 * PAGES * 4096 / STEP)
#define FAR_STEP (1ul << 29)
#define FAR_PAGES 160ul

SNIPPET(sum_up,
        "mov x9, #0\n1: ldr x8, [x0]\nadd x9, x9, x8\nadd x0, x0, #64\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");
SNIPPET(sum_down,
        "mov x9, #0\n1: ldr x8, [x0]\nadd x9, x9, x8\nsub x0, x0, #64\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");
/* By an index, from two bases. */
SNIPPET(sum_both, "mov x9, #0\nmov x10, #0\n1: ldr x8, [x0, x10]\nldr x7, [x2, x10]\nadd x9, x9, x8\neor x9, x9, x7\n"
                  "add x10, x10, #64\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");
/* From three, of which the first and the last are one: more than may each be in a part of their own. */
SNIPPET(
    sum_three,
    "mov x9, #0\nmov x10, #0\nmov x3, x0\n1: ldr x8, [x0, x10]\nldr x7, [x2, x10]\nldr x6, [x3, x10]\n"
    "add x9, x9, x8\neor x9, x9, x7\nadd x9, x9, x6\nadd x10, x10, #64\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");
SNIPPET(add_to,
        "mov x10, #0\n1: ldr x8, [x0, x10]\nadd x8, x8, #1\nstr x8, [x0, x10]\nadd x10, x10, #64\nsub x1, x1, #1\n"
        "cbnz x1, 1b\nmov x0, x10\nret");
/* 512 MiB at a time. */
SNIPPET(sum_far, "mov x9, #0\nmov x10, #0\n1: ldr x8, [x0, x10, lsl #3]\nadd x9, x9, x8\n"
                 ".rept 8\nadd x10, x10, #0x800, lsl #12\n.endr\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");
/* 32 GiB at a time. */
SNIPPET(sum_giant, "mov x9, #0\nmov x10, #0\n1: ldr x8, [x0, x10, lsl #3]\nadd x9, x9, x8\nmovz x11, #1, lsl #32\n"
                   "add x10, x10, x11\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");
/* An index of 32 bits, which is anything: from a table. */
SNIPPET(sum_table,
        "mov x9, #0\n1: ldr w8, [x2], #4\nldr x7, [x0, w8, uxtw #3]\nadd x9, x9, x7\nsub x1, x1, #1\ncbnz x1, 1b\n"
        "mov x0, x9\nret");
/* Registers enough that none is left. */
SNIPPET(sum_many,
        "mov x9, #0\n1: ldp x3, x4, [x0]\nldp x5, x6, [x0, #16]\nldp x7, x8, [x0, #32]\nldp x10, x11, [x2]\n"
        "ldp x12, x13, [x2, #16]\nadd x9, x9, x3\neor x9, x9, x4\nadd x9, x9, x5\neor x9, x9, x6\nadd x9, x9, x7\n"
        "eor x9, x9, x8\nadd x9, x9, x10\neor x9, x9, x11\nadd x9, x9, x12\neor x9, x9, x13\nadd x0, x0, #64\n"
        "add x2, x2, #64\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");
/* Through pointers: each part of the address space may be another one. */
SNIPPET(sum_strewn,
        "mov x9, #0\n1: ldr x8, [x2], #8\nldr x7, [x8]\nldr x6, [x8, #16]\nadd x6, x6, #1\nstr x6, [x8, #16]\n"
        "add x9, x9, x7\nsub x1, x1, #1\ncbnz x1, 1b\nmov x0, x9\nret");

static uint64_t *data; /* PAGES on either side, of different words */
static const uint64_t border[] = {PART, 3 * PART, 5 * PART};

static uint64_t run(const uint32_t *code, uint64_t a, uint64_t n, uint64_t b) {
    return ((uint64_t (*)(uint64_t, uint64_t, uint64_t))(uintptr_t)code)(a, n, b);
}
static uint64_t word(uint64_t i) { return data[i * (STEP / 8)]; }

static void tlbi(uint64_t va) {
    __asm__ volatile("dsb ish\ntlbi vaae1is, %0\ndsb ish\nisb" : : "r"(va >> 12) : "memory");
}
/* The data from a border's lower side on, those of the n-th border some pages later than those of the one before. */
static uint64_t map_around(uint64_t at, uint64_t first) {
    uint64_t va = at - PAGES * 4096;
    for (uint64_t i = 0; i < 2 * PAGES; i++)
        mmu_map(mmu_root0(), va + i * 4096, (uint64_t)data + (i + first) % (2 * PAGES) * 4096, PTE_RW);
    dsb();
    isb();
    return va;
}
static uint64_t sum_of(uint64_t from, uint64_t n) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += word((from + i) % WORDS);
    return sum;
}

static void begin(void) {
    mmu_on();
    if (!data) {
        data = page_alloc();
        for (unsigned i = 1; i < 2 * PAGES; i++)
            page_alloc(); /* they follow */
    }
    for (uint64_t i = 0; i < 2 * PAGES * 512; i++)
        data[i] = i * 0x9e3779b97f4a7c15ul;
}

static void test_borders(void) {
    begin();
    uint64_t va[ARRAY_LEN(border)];
    for (unsigned k = 0; k < ARRAY_LEN(border); k++)
        va[k] = map_around(border[k], 5 * k);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned k = 0; k < ARRAY_LEN(border); k++) {
            const uint64_t from = 5 * k * 4096 / STEP;
            CHECK_EQ(run(sum_up, va[k], WORDS, 0), sum_of(0, WORDS));
            CHECK_EQ(run(sum_up, va[k], WORDS / 2 + 3, 0), sum_of(from, WORDS / 2 + 3));
            CHECK_EQ(run(sum_down, va[k] + (WORDS - 1) * STEP, WORDS - 7, 0), sum_of(from + 7, WORDS - 7));
            uint64_t both = 0, many = 0;
            for (uint64_t i = 0; i < WORDS; i++) {
                const uint64_t *a = &data[(from + i) % WORDS * (STEP / 8)],
                               *b = &data[(10 * 4096 / STEP + i) % WORDS * (STEP / 8)];
                both = (both + *a) ^ *b;
                many = (((((many + a[0]) ^ a[1]) + a[2]) ^ a[3]) + a[4]) ^ a[5];
                many = (((many + b[0]) ^ b[1]) + b[2]) ^ b[3];
            }
            CHECK_EQ(run(sum_both, va[k], WORDS, va[2]), both);
            CHECK_EQ(run(sum_many, va[k], WORDS, va[2]), many);
        }
    }
    for (unsigned round = 0; round < 4; round++) {
        uint64_t before = sum_of(0, WORDS);
        CHECK_EQ(run(add_to, va[round % 3], WORDS, 0), WORDS * STEP);
        CHECK_EQ(sum_of(0, WORDS), before + WORDS);
    }
}

/* Compiled with all three in one part; then they are in two. Where Graft has these parts next to each other in the
 * order of their first use, the third one by what is right for the first is the second. */
static void test_three(void) {
    static const uint64_t part[] = {60 * PART, 64 * PART, 62 * PART};
    uint64_t va[ARRAY_LEN(part)], *root = mmu_root0();
    begin();
    for (unsigned k = 0; k < ARRAY_LEN(part); k++) { /* the tables are those of the borders' lower sides */
        const uint64_t from = map_around(border[k], 5 * k);
        va[k] = part[k] + from % PART;
        *mmu_entry_at(root, va[k], 0) = *mmu_entry_at(root, from, 0);
        dsb();
        isb();
        CHECK_EQ(run(sum_up, va[k], WORDS / 2, 0), sum_of(5 * k * 4096 / STEP, WORDS / 2));
    }
    for (unsigned round = 0; round < 12; round++) {
        const unsigned k = round < 6 ? 0 : round % 3, other = round < 6 ? 0 : (round + 2) % 3;
        uint64_t three = 0;
        for (uint64_t i = 0; i < WORDS / 2 - 1; i++) {
            const uint64_t a = word((5 * k * 4096 / STEP + i) % WORDS), b = word((5 * other * 4096 / STEP + i) % WORDS);
            three = ((three + a) ^ b) + a;
        }
        CHECK_EQ(run(sum_three, va[k], WORDS / 2 - 1, va[other]), three);
    }
}

/* In steps so long that they leave no page in between. */
static void test_far(void) {
    begin();
    uint64_t sum = 0, va = 8 * PART - FAR_PAGES / 2 * FAR_STEP;
    for (uint64_t i = 0; i < FAR_PAGES; i++) {
        mmu_map(mmu_root0(), va + i * FAR_STEP, (uint64_t)data + i % PAGES * 4096, PTE_RW);
        sum += data[i % PAGES * 512];
    }
    dsb();
    isb();
    for (unsigned round = 0; round < 5; round++)
        CHECK_EQ(run(sum_far, va, FAR_PAGES, 0), sum);
}

/* Some rounds in one part until nothing is looked at there any more, and then through three, each with other data at
 * the same places. */
static void test_giant(void) {
    begin();
    const uint64_t step = 1ul << 35, in_part = PART / step, va = 10 * PART + 0x5000;
    uint64_t sum[4] = {0};
    for (uint64_t i = 0; i < 3 * in_part; i++) {
        mmu_map(mmu_root0(), va + i * step, (uint64_t)data + i * 4096, PTE_RW);
        sum[i / in_part] += data[i * 512];
    }
    dsb();
    isb();
    for (unsigned round = 0; round < 1000; round++)
        CHECK_EQ(run(sum_giant, va, in_part, 0), sum[0]);
    CHECK_EQ(run(sum_giant, va, 3 * in_part, 0), sum[0] + sum[1] + sum[2]);
    CHECK_EQ(run(sum_giant, va + in_part * step, 2 * in_part, 0), sum[1] + sum[2]);
}

/* An index that leads over the border and back. */
static void test_table(void) {
    begin();
    uint64_t va = map_around(PART, 0), sum = 0;
    uint32_t *index = page_alloc();
    for (unsigned i = 0; i < 1024; i++) {
        uint64_t n = i < 512 ? i * 7 % 512 : (i * 0x9e3779b9ul >> 7) % WORDS;
        index[i] = (uint32_t)(n * (STEP / 8));
        sum += word(n);
    }
    for (unsigned round = 0; round < 5; round++)
        CHECK_EQ(run(sum_table, va, 1024, (uint64_t)index), sum);
}

/* More parts than Graft has windows, of one space: in turn, a few often, and at random. What is in them changes. */
#define STREWN 220u
#define STREWN_FIRST 20
#define CHAINS 4u
#define POINTERS 512u
static uint64_t strewn(unsigned n) { return (STREWN_FIRST + n) * PART + 0x3000; }
static void test_strewn(void) {
    begin();
    uint64_t *pointer = page_alloc(), *root = mmu_root0(), moved = 0;
    for (unsigned k = 0; k < CHAINS; k++)
        mmu_map(root, strewn(k), (uint64_t)data + k * 4096, PTE_RW);
    for (unsigned n = CHAINS; n < STREWN; n++) /* they have tables in common */
        *mmu_entry_at(root, strewn(n), 0) = *mmu_entry_at(root, strewn(n % CHAINS), 0);
    dsb();
    isb();
    for (unsigned round = 0; round < 200; round++) {
        uint64_t sum = 0, more[CHAINS] = {0}, had[CHAINS];
        for (unsigned i = 0; i < POINTERS; i++) {
            unsigned hash = (unsigned)((i + round * POINTERS) * 0x9e3779b97f4a7c15ul >> 40);
            unsigned n = (round % 3 == 0 ? i : round % 3 == 1 ? i % 9 * 20 : hash) % STREWN;
            pointer[i] = strewn(n);
            sum += data[(n % CHAINS + moved) * 512];
            more[n % CHAINS]++;
        }
        for (unsigned k = 0; k < CHAINS; k++)
            had[k] = data[(k + moved) * 512 + 2];
        CHECK_EQ(run(sum_strewn, 0, POINTERS, (uint64_t)pointer), sum);
        for (unsigned k = 0; k < CHAINS; k++)
            CHECK_EQ(data[(k + moved) * 512 + 2], had[k] + more[k]);
        if (round % 20 != 19)
            continue;
        moved += CHAINS;
        for (unsigned k = 0; k < CHAINS; k++)
            mmu_map(root, strewn(k), (uint64_t)data + (k + moved) * 4096, PTE_RW);
        __asm__ volatile("dsb ish\ntlbi vmalle1is\ndsb ish\nisb" : : : "memory");
    }
}

/* --- pages that are not there ----------------------------------------------------------------- */
static unsigned faults;
static uint64_t fault_first, fault_base;
static void map_it(struct frame *f, unsigned vector) {
    uint64_t page = f->far & ~4095ul;
    CHECK_EQ(vector, VEC_SYNC);
    CHECK_EQ(EC(f->esr), 0x25);
    CHECK(f->far - fault_base < 2 * PAGES * 4096);
    mmu_map(mmu_root0(), page, (uint64_t)data + ((page - fault_base) / 4096 + fault_first) % (2 * PAGES) * 4096,
            PTE_RW);
    dsb();
    isb();
    faults++;
}
static void test_missing(void) {
    begin();
    uint64_t va = map_around(PART, 0);
    fault_base = va;
    for (unsigned round = 0; round < 12; round++) {
        unsigned gone = 0;
        fault_first = round; /* what comes is not what was there */
        for (uint64_t i = round % 3; i < 2 * PAGES; i += 1 + round % 5, gone++) {
            *mmu_entry(mmu_root0(), va + i * 4096) = 0;
            tlbi(va + i * 4096);
        }
        uint64_t sum = 0;
        for (uint64_t i = 0; i < 2 * PAGES; i++) {
            bool was_gone = i >= round % 3 && (i - round % 3) % (1 + round % 5) == 0;
            if (!was_gone) { /* as in the round before, or the first */
                *mmu_entry(mmu_root0(), va + i * 4096) = 0;
                tlbi(va + i * 4096);
                mmu_map(mmu_root0(), va + i * 4096, (uint64_t)data + (i + round) % (2 * PAGES) * 4096, PTE_RW);
            }
            sum += sum_of((i + round) % (2 * PAGES) * 4096 / STEP, 4096 / STEP);
        }
        dsb();
        isb();
        faults = 0;
        exception_handler = map_it;
        CHECK_EQ(round % 2 ? run(sum_down, va + (WORDS - 1) * STEP, WORDS, 0) : run(sum_up, va, WORDS, 0), sum);
        exception_handler = NULL;
        CHECK_EQ(faults, gone);
    }
}

TESTS({"borders", test_borders}, {"three", test_three}, {"far", test_far}, {"giant", test_giant}, {"table", test_table},
      {"strewn", test_strewn}, {"missing", test_missing});
