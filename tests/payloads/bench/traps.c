/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* traps.c: synchronous exceptions and interrupts, with the library's handler, which saves and restores all
 * registers. */
#include "gic.h"
#include "micro.h"

enum { COUNT = 100000 };
static volatile uint64_t seen;

static void on_abort(struct frame *f, unsigned vector) {
    (void)vector;
    seen++;
    f->elr = EC(f->esr) == 0x21 ? f->x[30] : f->elr + 4;
}

static void on_interrupt(struct frame *f, unsigned vector) {
    (void)f;
    (void)vector;
    uint32_t iar = gic_ack();
    if ((iar & 1023) == PPI_VTIMER)
        write_sysreg(cntv_ctl_el0, 0);
    gic_eoi(iar);
    seen++;
}

#define MEASURE(name, title, handler, ...)                                                                             \
    static void name(void) {                                                                                           \
        seen = caught = 0;                                                                                             \
        exception_handler = handler;                                                                                   \
        micro_begin();                                                                                                 \
        for (unsigned i = 0; i < COUNT; i++)                                                                           \
            __VA_ARGS__;                                                                                               \
        micro_end(title, seen + caught);                                                                               \
        CHECK_EQ(seen + caught, COUNT);                                                                                \
    }

MEASURE(svc, "trap-svc", catch_and_skip, __asm__ volatile("svc #0" : : : "memory"))
MEASURE(undefined, "trap-undefined", catch_and_skip, __asm__ volatile(".word 0" : : : "memory"))
MEASURE(data_abort, "trap-data-abort", on_abort, __asm__ volatile("ldr x9, [%0]" : : "r"(MICRO_VA) : "x9", "memory"))
MEASURE(instruction_abort, "trap-instruction-abort", on_abort,
        __asm__ volatile("blr %0" : : "r"(MICRO_VA) : "x30", "memory"))
MEASURE(sgi, "interrupt-sgi", on_interrupt, {
    uint64_t before = seen;
    gic_send_sgi(1, 0);
    while (seen == before)
        ;
})
MEASURE(timer, "interrupt-timer", on_interrupt, {
    uint64_t before = seen;
    write_sysreg(cntv_tval_el0, 0);
    write_sysreg(cntv_ctl_el0, 1);
    while (seen == before)
        ;
})

/* EL0 calls EL1 in a loop. The first SVC, from EL1, goes to EL0; EL0's BRK goes back to behind it. */
SNIPPET(user_code, "1: svc #0\nsub x0, x0, #1\ncbnz x0, 1b");

static void on_user(struct frame *f, unsigned vector) {
    static uint64_t back, back_state;
    if (vector == VEC_SYNC) {
        back = f->elr;
        back_state = f->spsr;
        f->elr = (uint64_t)USER(user_code);
        f->spsr = PSTATE_EL0;
    } else if (EC(f->esr) == 0x15) {
        seen++;
    } else {
        f->elr = back;
        f->spsr = back_state;
    }
}

static void round_trip(void) {
    mmu_user_alias();
    seen = 0;
    exception_handler = on_user;
    register uint64_t x0 __asm__("x0") = COUNT;
    micro_begin();
    __asm__ volatile("svc #0" : "+r"(x0) : : "memory");
    micro_end("trap-el0-svc", seen);
    CHECK_EQ(seen, COUNT);
}

static void on(void) {
    mmu_on();
    gic_init();
    gic_enable(1);
    gic_enable(PPI_VTIMER);
    gic_set_mask(0xff);
    micro_begin();
}

static void interrupts_on(void) { __asm__ volatile("msr daifclr, #2" : : : "memory"); }
static void interrupts_off(void) { __asm__ volatile("msr daifset, #2" : : : "memory"); }

TESTS({"on", on}, {"svc", svc}, {"undefined", undefined}, {"data-abort", data_abort},
      {"instruction-abort", instruction_abort}, {"round-trip", round_trip}, {"unmask", interrupts_on}, {"sgi", sgi},
      {"timer", timer}, {"mask", interrupts_off});
