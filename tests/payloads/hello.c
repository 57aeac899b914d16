/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* hello.c: the smallest payload: exceptions work, the MMU turns on, the machine powers off. */
#include "payload.h"

static void test_svc(void) {
    exception_handler = catch_and_skip;
    caught = 0;
    __asm__ volatile("svc #42" : : : "memory");
    CHECK_EQ(caught, 1);
    CHECK_EQ(EC(caught_frame.esr), 0x15);
    CHECK_EQ(ISS(caught_frame.esr), 42);
}

static void test_mmu(void) {
    volatile uint64_t word = 1;
    mmu_on();
    word += 41;
    CHECK_EQ(word, 42);
    CHECK_EQ(read_sysreg(sctlr_el1) & 1, 1);
}

TESTS({"svc", test_svc}, {"mmu", test_mmu});
