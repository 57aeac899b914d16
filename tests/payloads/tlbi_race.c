/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * tlbi_race.c: one CPU takes pages away from others that access them without pause. After its TLBI and DSB nothing that
 * an old translation allowed may happen any more: no load may see what was written to the page's old memory later, no
 * store may reach it.
 */
/* options: smp=3 */
#include "payload.h"

#define VA 0x10000000000ul
#define BLOCK_VA (VA + 0x40000000ul)
#define FRAME(n) (0x44000000ul + (n) * 0x200000ul)
#define CPUS 3
#define WORDS 512
#define SPREAD 16ul      /* pages of a block that are accessed, */
#define STRIDE 0x20000ul /* so far from each other */
#define ROUNDS 60
#define POISON 0xdeaddeaddeaddeadul
#define FRESH 0x1111111111111111ul
#define PATIENCE 300

static volatile uint64_t target; /* what the others access, */
static volatile uint64_t pages;  /* and how many pages of it */
static volatile bool stop;
static volatile unsigned running;
static volatile uint64_t seen_poison;
static volatile unsigned loads[CPUS]; /* that found something */

/* --- the others ------------------------------------------------------------------------------- */
/* Their accesses are one instruction each, or a pair whose second half then fails. */
static void skip(struct frame *f, unsigned vector) {
    (void)vector;
    f->elr += 4;
}

static uint64_t load(uint64_t va) {
    uint64_t v = 0;
    __asm__ volatile("ldr %0, [%1]" : "+r"(v) : "r"(va) : "memory");
    return v;
}

static uint64_t load_pair(uint64_t va) {
    uint64_t v = 0, w = 0;
    __asm__ volatile("ldp %0, %1, [%2]" : "+r"(v), "+r"(w) : "r"(va) : "memory");
    return w == POISON ? w : v;
}

static void store(uint64_t va, uint64_t v) { __asm__ volatile("str %0, [%1]" : : "r"(v), "r"(va) : "memory"); }

static void store_pair(uint64_t va, uint64_t v) { __asm__ volatile("stp %0, %0, [%1]" : : "r"(v), "r"(va) : "memory"); }

static uint64_t add(uint64_t va) {
    register uint64_t at __asm__("x0") = va, one __asm__("x1") = 1, old __asm__("x2") = 0;
    __asm__ volatile(".inst 0xf8210002" : "+r"(old) : "r"(at), "r"(one) : "memory"); /* ldadd x1, x2, [x0] */
    return old;
}

static uint64_t add_exclusively(uint64_t va) {
    uint64_t v = 0;
    uint32_t failed = 1;
    __asm__ volatile("ldxr %0, [%2]\nadd %0, %0, #1\nstxr %w1, %0, [%2]\nsub %0, %0, #1"
                     : "+&r"(v), "+&r"(failed)
                     : "r"(va)
                     : "memory");
    return v;
}

static uint64_t access(unsigned how, uint64_t va, uint64_t value) {
    switch (how % 6) {
    case 0: return load(va);
    case 1: return load_pair(va);
    case 2: store(va, value); return 0;
    case 3: store_pair(va, value); return 0;
    case 4: return add(va);
    default: return add_exclusively(va);
    }
}

static void hammer(void *arg) {
    unsigned cpu = (unsigned)(uint64_t)arg;
    uint64_t seed = cpu * 0x9e3779b97f4a7c15ul;
    mmu_on();
    __atomic_fetch_add(&running, 1, __ATOMIC_SEQ_CST);
    while (!stop) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t page = target + (seed >> 10 & (pages - 1)) * STRIDE;
        uint64_t va = page + (seed >> 20 & (WORDS / 2 - 1)) * 16, got = access((unsigned)(seed >> 40), va, cpu);
        if (got == POISON)
            seen_poison = va;
        loads[cpu] += got != 0;
    }
    dsb();
    __atomic_fetch_sub(&running, 1, __ATOMIC_SEQ_CST);
}

static void start_all(uint64_t va) {
    mmu_on();
    exception_handler = skip;
    target = va;
    stop = false;
    seen_poison = 0;
    memset((void *)loads, 0, sizeof(loads));
    dsb();
    for (uint64_t i = 1; i < CPUS; i++)
        CHECK_EQ(cpu_start((unsigned)i, hammer, (void *)i), 0);
    while (running != CPUS - 1)
        ;
}

static void stop_all(void) {
    stop = true;
    dsb();
    for (unsigned i = 1; i < CPUS; i++) { /* until they are off */
        while (psci(0xc4000004, i, 0, 0) != 1)
            ;
        CHECK(loads[i] > 0);
    }
    CHECK_EQ(running, 0);
    exception_handler = NULL;
    CHECK_EQ(seen_poison, 0);
}

/* --- the one ---------------------------------------------------------------------------------- */
static void invalidate(unsigned how, uint64_t va) {
    uint64_t arg = va >> 12 & 0xffffffffffful;
    dsb();
    switch (how % 4) {
    case 0: __asm__ volatile("tlbi vae1is, %0" : : "r"(arg) : "memory"); break;
    case 1: __asm__ volatile("tlbi vaale1is, %0" : : "r"(arg) : "memory"); break;
    case 2: __asm__ volatile("tlbi aside1is, %0" : : "r"(0ul) : "memory"); break;
    default: __asm__ volatile("tlbi vmalle1is" : : : "memory"); break;
    }
    dsb();
    isb();
}

static volatile uint64_t *page_at(uint64_t frame, uint64_t n) { return (volatile uint64_t *)(frame + n * STRIDE); }

static void fill(uint64_t frame, uint64_t value) {
    for (uint64_t n = 0; n < pages; n++)
        for (unsigned i = 0; i < WORDS; i++)
            page_at(frame, n)[i] = value;
    dsb();
}

static void must_stay(uint64_t frame, const uint64_t *words, uint64_t value) {
    for (unsigned turn = 0; turn < PATIENCE; turn++)
        for (unsigned i = turn % 7; i < WORDS; i += 7)
            if (page_at(frame, turn % pages)[i] != (words ? words[i] : value)) {
                CHECK_EQ(page_at(frame, turn % pages)[i], words ? words[i] : value);
                return;
            }
}

static uint64_t attributes(bool is_block) { return is_block ? (PTE_RW | PTE_NG) & ~2ul : PTE_RW | PTE_NG; }

/* The page, or block, moves from one frame to another and back; before it comes again, what it left is poisoned. Any
 * address in a block is one by which it is invalidated, whichever pages of it were accessed. */
static void move(uint64_t va, uint64_t *entry, bool is_block) {
    for (uint64_t n = 0; n < ROUNDS; n++) {
        uint64_t old = FRAME(n % 2), new = FRAME(1 - n % 2);
        fill(new, FRESH);
        *entry = 0;
        invalidate((unsigned)n / 2, is_block ? va + STRIDE / 2 + n * 4096 : va);
        fill(old, POISON);
        must_stay(old, NULL, POISON);
        *entry = new | attributes(is_block);
        dsb();
        isb();
        must_stay(old, NULL, POISON);
    }
}

static void test_page(void) {
    mmu_on();
    pages = 1;
    fill(FRAME(0), FRESH);
    mmu_map(mmu_root0(), VA, FRAME(0), attributes(false));
    isb();
    start_all(VA);
    move(VA, mmu_entry(mmu_root0(), VA), false);
    stop_all();
}

static void test_block(void) {
    mmu_on();
    pages = SPREAD;
    fill(FRAME(0), FRESH);
    mmu_block(mmu_root0(), BLOCK_VA, FRAME(0), attributes(true));
    isb();
    start_all(BLOCK_VA);
    move(BLOCK_VA, mmu_entry_at(mmu_root0(), BLOCK_VA, 2), true);
    stop_all();
}

/* The page can only be read any more: what is in there stays as it is. */
static void test_read_only(void) {
    static uint64_t words[WORDS];
    mmu_on();
    uint64_t va = VA + 4096, frame = FRAME(2), *entry;
    pages = 1;
    fill(frame, FRESH);
    mmu_map(mmu_root0(), va, frame, attributes(false));
    isb();
    entry = mmu_entry(mmu_root0(), va);
    start_all(va);
    for (unsigned n = 0; n < ROUNDS; n++) {
        *entry = frame | attributes(false) | PTE_AP_RO;
        invalidate(n, va);
        for (unsigned i = 0; i < WORDS; i++)
            words[i] = ((volatile uint64_t *)frame)[i];
        must_stay(frame, words, 0);
        *entry = frame | attributes(false);
        invalidate(n + 1, va);
    }
    stop_all();
}

TESTS({"page", test_page}, {"block", test_block}, {"read_only", test_read_only});
