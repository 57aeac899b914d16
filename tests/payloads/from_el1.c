/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * from_el1.c: what a kernel does to the memory of EL0: LDTR and STTR, exclusives and atomic operations on TTBR0, from
 * EL1 with and without PAN and from EL0, before and after the page is unmapped, replaced or restricted, in this space
 * or in another.
 */
#include "paging.h"

#define VA (TEST_VA + 0x100000)
#define PLAIN (PTE_RW | PTE_NG | PTE_UXN | PTE_PXN)
#define USER_RW (PLAIN | PTE_AP_EL0)

static uint64_t *other_root;

static void use(uint64_t *r, uint64_t asid) {
    write_sysreg(ttbr0_el1, (uint64_t)r | asid << 48);
    isb();
}

#define TLBI(name, op)                                                                                                 \
    static void name(uint64_t va, uint64_t asid) {                                                                     \
        __asm__ volatile("dsb ish\n" op "\ndsb ish\nisb" : : "r"(va >> 12 | asid << 48), "r"(asid << 48) : "memory");  \
    }
TLBI(vae1, "tlbi vae1, %0")
TLBI(vale1is, "tlbi vale1is, %0")
TLBI(vaae1is, "tlbi vaae1is, %0")
TLBI(aside1is, "tlbi aside1is, %1")
TLBI(vmalle1, "tlbi vmalle1")
static void (*const forget[])(uint64_t va, uint64_t asid) = {vae1, vale1is, vaae1is, aside1is, vmalle1};

static void begin(void) {
    start();
    if (!other_root) {
        other_root = mmu_new_root();
        for (unsigned i = 0; i < 512; i++)
            other_root[i] = i == VA >> 39 ? 0 : root[i];
    }
    mmu_map(root, VA, (uint64_t)page, USER_RW);
    use(root, 1);
    tlbi_all();
}

/* --- LDTR and STTR ---------------------------------------------------------------------------- */
/* x1 times: reads the word at x0, writes that and one more behind it. */
SNIPPET(unprivileged, "1: ldtr x5, [x0]\nadd x5, x5, #1\nsttr x5, [x0, #8]\nsubs x1, x1, #1\nb.ne 1b");
#define OFTEN 300ul

static void check_run(uint32_t pstate, uint64_t times) {
    uint64_t *to = (uint64_t *)(*mmu_entry(root, VA) & 0xfffffffff000);
    to[0] += 5;
    to[1] = 0;
    run_code(&c, pstate, at(pstate, unprivileged), VA, times, 0, 0);
    CHECK_EQ(c.out.esr, ESR_DONE);
    CHECK_EQ(to[1], to[0] + 1);
}

static void check_abort(uint32_t pstate, uint64_t far, unsigned iss) {
    run_code(&c, pstate, at(pstate, unprivileged), VA, 1, 0, 0);
    CHECK_EQ(c.out.esr, ESR(pstate & 12 ? 0x25 : 0x24, iss));
    CHECK_EQ(c.out.far, far);
}

static const uint32_t states[] = {PSTATE_EL1T, PSTATE_EL1H | PSTATE_PAN, PSTATE_EL0};
#define EACH_STATE(s) for (unsigned s = 0; s < ARRAY_LEN(states); s++)
#define EACH_FORM(f) for (unsigned f = 0; f < ARRAY_LEN(forget); f++)
#define WNR 0x40u

static void test_unprivileged(void) {
    begin();
    EACH_STATE(s) EACH_FORM(f) {
        uint32_t pstate = states[s];
        uint64_t *e = mmu_entry(root, VA);
        check_run(pstate, OFTEN);
        *e = 0;
        forget[f](VA, 1);
        check_abort(pstate, VA, FSC_TRANSLATION(3));
        *e = (uint64_t)page2 | USER_RW;
        dsb();
        isb();
        check_run(pstate, OFTEN);
        *e |= PTE_AP_RO;
        forget[f](VA, 1);
        check_abort(pstate, VA + 8, WNR | FSC_PERMISSION(3));
        *e = (uint64_t)page2 | PLAIN; /* EL1's alone */
        forget[f](VA, 1);
        check_abort(pstate, VA, FSC_PERMISSION(3));
        CHECK_EQ(*(volatile uint64_t *)VA, *(uint64_t *)page2);
        *e = (uint64_t)page | USER_RW;
        forget[f](VA, 1);
    }
}

/* The page changes while its space is away. */
static void test_other_space(void) {
    begin();
    EACH_STATE(s) EACH_FORM(f) {
        uint64_t *e = mmu_entry(root, VA);
        check_run(states[s], OFTEN);
        use(other_root, 2);
        run_code(&c, states[s], at(states[s], unprivileged), VA, 1, 0, 0);
        CHECK_EQ(c.out.esr, ESR(states[s] & 12 ? 0x25 : 0x24, FSC_TRANSLATION(0)));
        *e = f & 1 ? 0 : (uint64_t)page2 | USER_RW;
        if (forget[f] == vmalle1) /* of this processor, all spaces */
            vmalle1(VA, 0);
        else
            forget[f](VA, 1);
        use(root, 1);
        if (f & 1)
            check_abort(states[s], VA, FSC_TRANSLATION(3));
        else
            check_run(states[s], OFTEN);
        *e = (uint64_t)page | USER_RW;
        forget[f](VA, 1);
    }
}

/* An ASID goes on to another space, which has something else there. */
static void test_reuse(void) {
    begin();
    mmu_map(other_root, VA, (uint64_t)page2, USER_RW);
    for (unsigned n = 0; n < 40; n++) {
        uint64_t *r = n & 1 ? other_root : root;
        aside1is(0, 3);
        use(r, 3);
        ((uint64_t *)page)[0] = n;
        ((uint64_t *)page2)[0] = 1000 + n;
        run_code(&c, states[n % 3], at(states[n % 3], unprivileged), VA, 1 + n, 0, 0);
        CHECK_EQ(c.out.esr, ESR_DONE);
        CHECK_EQ(((uint64_t *)(n & 1 ? page2 : page))[1], (n & 1 ? 1000 : 0) + n + 1);
    }
    *mmu_entry(other_root, VA) = 0;
    use(root, 1);
    tlbi_all();
}

/* --- exclusives, atomic operations ------------------------------------------------------------ */
#define LOOP(body) "1: " body "\nsubs x1, x1, #1\nb.ne 1b"
SNIPPET(add_exclusive, LOOP("2: ldxr x5, [x0]\nadd x5, x5, #1\nstxr w6, x5, [x0]\ncbnz w6, 2b"));
SNIPPET(add_ordered, LOOP("2: ldaxr x5, [x0]\nadd x5, x5, #1\nstlxr w6, x5, [x0]\ncbnz w6, 2b"));
SNIPPET(add_pair, LOOP("2: ldxp x5, x7, [x0]\nadd x5, x5, #1\nstxp w6, x5, x7, [x0]\ncbnz w6, 2b"));
SNIPPET(add_atomic, LOOP("mov x6, #1\nldadd x6, x5, [x0]"));
SNIPPET(add_unread, LOOP("mov x6, #1\nstadd x6, [x0]"));
SNIPPET(add_cas, LOOP("2: ldr x5, [x0]\nmov x6, x5\nadd x7, x5, #1\ncas x6, x7, [x0]\ncmp x6, x5\nb.ne 2b"));
SNIPPET(add_swap, LOOP("ldar x5, [x0]\nadd x6, x5, #1\nswpal x6, x5, [x0]"));
static const uint32_t *const adders[] = {add_exclusive, add_ordered, add_pair, add_atomic,
                                         add_unread,    add_cas,     add_swap};

static void check_adds(uint32_t pstate, const uint32_t *code, uint8_t *to) {
    uint64_t was = *(uint64_t *)to;
    run_code(&c, pstate, at(pstate, code), VA, OFTEN, 0, 0);
    CHECK_EQ(c.out.esr, ESR_DONE);
    CHECK_EQ(*(uint64_t *)to, was + OFTEN);
}

/* Which of read and write an atomic operation reports is not what this is about. */
static void check_refused(uint32_t pstate, const uint32_t *code, unsigned fsc) {
    run_code(&c, pstate, at(pstate, code), VA, 1, 0, 0);
    CHECK_EQ(c.out.esr & ~(uint64_t)WNR, ESR(pstate & 12 ? 0x25 : 0x24, fsc));
    CHECK_EQ(c.out.far, VA);
}

static void test_atomic(void) {
    static const uint32_t levels[] = {PSTATE_EL1T, PSTATE_EL1H, PSTATE_EL0};
    begin();
    for (unsigned s = 0; s < 3; s++) {
        for (unsigned i = 0; i < ARRAY_LEN(adders); i++) {
            uint64_t *e = mmu_entry(root, VA);
            check_adds(levels[s], adders[i], page);
            if (levels[s] & 12)
                check_refused(levels[s] | PSTATE_PAN, adders[i], FSC_PERMISSION(3));
            *e = 0;
            forget[i % ARRAY_LEN(forget)](VA, 1);
            check_refused(levels[s], adders[i], FSC_TRANSLATION(3));
            *e = (uint64_t)page2 | USER_RW;
            dsb();
            isb();
            check_adds(levels[s], adders[i], page2);
            *e = (uint64_t)page2 | PLAIN;
            forget[i % ARRAY_LEN(forget)](VA, 1);
            if (levels[s] & 12)
                check_adds(levels[s], adders[i], page2);
            else
                check_refused(levels[s], adders[i], FSC_PERMISSION(3));
            *e = (uint64_t)page | USER_RW;
            forget[i % ARRAY_LEN(forget)](VA, 1);
        }
    }
}

TESTS({"unprivileged", test_unprivileged}, {"other space", test_other_space}, {"reuse", test_reuse},
      {"atomic", test_atomic});
