/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * asid-switch.c: what a change of the address space costs, against the pages used in each. A bare-metal guest of
 * scripts/experiment, built with -DPAGES=N.
 *
 * Four address spaces, each with tables and an ASID of its own, map the same physical pages in an order that nothing
 * can merge. "switching" goes round them and touches PAGES pages after every switch, "staying" touches as many without
 * a switch; the difference is the cost, and since the pages are the same, the data caches have no part in it. Each
 * begins with rounds that are not measured: an emulator may wait for the hundredth touch before it maps a page.
 */
#include "../../tests/payloads/bench/micro.h"

#ifndef PAGES
#define PAGES 64
#endif
#define USER_RW (PTE_RW | PTE_AP_EL0 | PTE_NG)
enum { SPACES = 4, WARM_UP = 100, SCRATCH_PAGES = 16384, WANTED = 1000000 / PAGES };
enum { COUNT = WANTED > 40000 ? 40000 : WANTED < 200 ? 200 : WANTED };

static uint64_t *roots[SPACES];

static void on(void) {
    mmu_on();
    for (uint64_t s = 0; s < SPACES; s++) {
        roots[s] = mmu_new_root();
        memcpy(roots[s], mmu_root0(), 4096);
        for (uint64_t p = 0; p < PAGES; p++)
            mmu_map(roots[s], MICRO_VA + p * 4096, SCRATCH + (p * 37 + 11) % SCRATCH_PAGES * 4096, USER_RW);
    }
    dsb();
}

static void use(uint64_t s) {
    write_sysreg(ttbr0_el1, (uint64_t)roots[s] | (s + 1) << 48);
    isb();
}

static uint64_t touch(void) {
    uint64_t sum = 0;
    for (uint64_t p = 0; p < PAGES; p++)
        sum += *(volatile uint64_t *)(MICRO_VA + p * 4096 + (p * 64 & 0xfc0));
    return sum + 1;
}

static void rounds(const char *name, bool switching) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < WARM_UP * SPACES; i++, touch())
        use(switching ? i % SPACES : 0);
    micro_begin();
    for (unsigned i = 0; i < COUNT; i++) {
        if (switching)
            use(i % SPACES);
        sum += touch();
    }
    micro_end(name, sum);
}

static void staying(void) { rounds("staying", false); }
static void switching(void) {
    rounds("switching", true);
    print("switches=");
    print_dec(COUNT);
    print("\n");
}

TESTS({"on", on}, {"staying", staying}, {"switching", switching});
