/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest.c: what ring3.c takes the processor away from: EL1 and EL0 in turn, for ever. EL0 has a page of code and one of
 * data, which says that it is the one. */
#include "payload.h"

#define USER_CODE 0x10000000000ul
#define USER_DATA 0x10000001000ul
#define ROUNDS 3000000ul
#define MAGIC 0x20534920454e4f20ul

SNIPPET(user_loop,
        "1: ldr x2, [x0, #16]\n add x2, x2, #1\n str x2, [x0, #16]\n fadd d0, d0, d1\n subs x1, x1, #1\n b.ne 1b");

static volatile uint64_t kernel_word;

static void go_on(struct frame *f, unsigned vector) {
    (void)vector;
    f->elr += 4; /* whatever it was: some of it is not of its own doing */
}

static void forever(void) {
    static struct context c;
    mmu_on();
    uint64_t *data = page_alloc();
    data[0] = MAGIC;
    data[1] = ~MAGIC;
    uint64_t code = (uint64_t)user_loop;
    mmu_map(mmu_root0(), USER_CODE, code & ~4095ul, PTE_RW | PTE_AP_EL0 | PTE_AP_RO | PTE_PXN);
    mmu_map(mmu_root0(), USER_DATA, (uint64_t)data, PTE_RW | PTE_AP_EL0 | PTE_PXN | PTE_UXN);
    isb();
    write_sysreg(cpacr_el1, 3ul << 20);
    exception_handler = go_on;
    for (;;) {
        run_code(&c, PSTATE_EL0, (void *)(USER_CODE + (code & 4095)), USER_DATA, ROUNDS, 0, 0);
        for (uint64_t i = 0; i < ROUNDS; i++)
            kernel_word++;
    }
}

TESTS({"forever", forever});
