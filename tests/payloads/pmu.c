/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* pmu.c: the performance monitors: exact counts of known code, filters, overflow and its interrupt, access from EL0.
 * QEMU counts no instructions without -icount. */
/* options: only=graft */
#include "debug.h"
#include "gic.h"

static struct context c;

#define PMCR_E 1ul
#define PMCR_P 2ul
#define PMCR_C 4ul
#define PMCR_LC 64ul
#define P (1ul << 31)
#define U (1ul << 30)
#define CYCLES (1ul << 31)
#define PPI 23

enum {
    SW_INCR,
    LD = 6,
    ST,
    INSTS,
    EXC_TAKEN,
    EXC_RETURN,
    PC_WRITE = 0xc,
    IMMED,
    RETURNS,
    CPU_CYCLES = 0x11,
    MEM = 0x13,
    CHAIN = 0x1e,
    BRANCHES = 0x21
};

#define TYPE(n)                                                                                                        \
    case n:                                                                                                            \
        write_sysreg(pmevtyper##n##_el0, type);                                                                        \
        write_sysreg(pmevcntr##n##_el0, value);                                                                        \
        break;
static void set_counter(unsigned n, uint64_t type, uint64_t value) {
    switch (n) { TYPE(0) TYPE(1) TYPE(2) TYPE(3) TYPE(4) TYPE(5) default : break; }
}

static uint64_t counter(unsigned n) {
    write_sysreg(pmselr_el0, n);
    isb();
    return read_sysreg(pmxevcntr_el0);
}

static void off(void) {
    write_sysreg(pmcr_el0, PMCR_P | PMCR_C);
    write_sysreg(pmcntenclr_el0, ~0ul);
    write_sysreg(pmintenclr_el1, ~0ul);
    write_sysreg(pmovsclr_el0, ~0ul);
    write_sysreg(pmuserenr_el0, 0);
    write_sysreg(pmccfiltr_el0, 0);
    isb();
}

static void on(uint64_t counters) {
    write_sysreg(pmcntenset_el0, counters);
    write_sysreg(pmcr_el0, PMCR_E | PMCR_LC);
    isb();
}

static const uint32_t levels[] = {PSTATE_EL0, PSTATE_EL1T, PSTATE_EL1H};
#define EACH_LEVEL(l) for (unsigned l = 0; l < ARRAY_LEN(levels); l++)

/* --- counts of known code --------------------------------------------------------------------- */
/* Per round 16 instructions, and a NOP in every other; 3 that load and 3 that store, the LDADD among both. */
SNIPPET(work, "1: ldr x5, [x0]\n"
              "ldp x5, x6, [x0]\n"
              "str x5, [x0, #16]\n"
              "stp x5, x6, [x0, #16]\n"
              "ldadd x5, x6, [x0]\n"
              "prfm pldl1keep, [x0]\n"
              "tbz x1, #0, 2f\n"
              "nop\n"
              "2: bl 3f\n"
              "b 4f\n"
              "nop\n"
              "4: cbz x0, 1b\n"
              "adr x7, 5f\n"
              "br x7\n"
              "nop\n"
              "5: subs x1, x1, #1\n"
              "b.ne 1b\n"
              "svc #0\n"
              "3: add x3, x3, #1\n"
              "ret");
#define ROUNDS 1000ul
static uint64_t cells[8];

static const struct {
    uint8_t event;
    uint64_t count; /* in ROUNDS rounds */
} counts[] = {
    {INSTS, ROUNDS * 16 + ROUNDS / 2},
    {LD, ROUNDS * 3},
    {ST, ROUNDS * 3},
    {MEM, ROUNDS * 6},
    {BRANCHES, ROUNDS * 7},
    {IMMED, ROUNDS * 5},
    {RETURNS, ROUNDS},
    {PC_WRITE, ROUNDS * 5 + ROUNDS / 2},
};

static void do_work(uint32_t pstate, uint64_t rounds) {
    run_code(&c, pstate, (const void *)at_level(pstate, work), at_level(pstate, cells), rounds, 0, 0);
    CHECK_EQ(c.out.esr, ESR(0x15, 0));
}

/* Counters 2 to 4 count that event while `work` runs: at that level only, at the other only, nowhere. */
static __attribute__((noinline)) void count_once(uint32_t pstate, unsigned event, uint64_t rounds, uint64_t got[3]) {
    uint64_t other = pstate & 12 ? P : U, own = pstate & 12 ? U : P;
    off();
    set_counter(2, event | own, 5);
    set_counter(3, event | other, 0);
    set_counter(4, event | P | U, 0);
    on(7 << 2);
    do_work(pstate, rounds);
    write_sysreg(pmcr_el0, 0);
    isb();
    for (unsigned i = 0; i < 3; i++)
        got[i] = counter(2 + i);
    CHECK_EQ(read_sysreg(pmovsclr_el0), 0);
    do_work(pstate, rounds);
    CHECK_EQ(counter(2), got[0]);
}

static void test_counts(void) {
    debug_start();
    CHECK_EQ(read_sysreg(id_aa64dfr0_el1) >> 8 & 15, 1);
    CHECK_EQ(read_sysreg(pmcr_el0) >> 11 & 31, 6);
    for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
        unsigned event = counts[i].event;
        CHECK(event < 32 ? read_sysreg(pmceid0_el0) >> event & 1 : read_sysreg(pmceid1_el0) >> (event - 32) & 1);
        EACH_LEVEL(l) {
            /* what leads there and back is the same both times */
            uint64_t one[3], more[3];
            count_once(levels[l], event, 1, one);
            count_once(levels[l], event, 1 + ROUNDS, more);
            CHECK_EQ(more[0] - one[0], counts[i].count);
            CHECK_EQ(more[1], one[1]);
            CHECK_EQ(more[2], 0);
        }
    }
    /* exactly, with nothing but EL0 */
    off();
    set_counter(0, INSTS | P, 0);
    on(1);
    do_work(PSTATE_EL0, ROUNDS);
    CHECK_EQ(counter(0), counts[0].count + 1); /* the SVC is done, too */
    off();
}

/* An instruction that raises an exception is not done; what was done before it in its block is. */
SNIPPET(faults, "nop\nnop\nldr x5, [x0]\nnop");
SNIPPET(undefined, "nop\nb 1f\nnop\n1: .inst 0");
static void test_exceptions(void) {
    debug_start();
    off();
    set_counter(0, INSTS | P, 0);
    set_counter(1, LD | P, 0);
    set_counter(2, EXC_TAKEN, 0);
    set_counter(3, EXC_RETURN, 0);
    on(15);
    for (unsigned round = 1; round < 10; round++) {
        run_code(&c, PSTATE_EL0, (const void *)at_level(0, faults), 0x123456780000ul, 0, 0, 0);
        CHECK_EQ(EC(c.out.esr), 0x24);
        CHECK_EQ(counter(0), 4 * round - 2);
        run_code(&c, PSTATE_EL0, (const void *)at_level(0, undefined), 0, 0, 0, 0);
        CHECK_EQ(c.out.esr, ESR(0, 0));
        run_code(&c, PSTATE_EL0, (const void *)(at_level(0, undefined) + 2), 0, 0, 0, 0);
        run_code(&c, PSTATE_EL0 | PSTATE_IL, (const void *)at_level(0, undefined), 0, 0, 0, 0);
        CHECK_EQ(counter(0), 4 * round);
        CHECK_EQ(counter(1), 0);
        CHECK_EQ(counter(2), 4 * round);
        CHECK_EQ(counter(3), 8 * round); /* to EL0, and back from the exception */
    }
    off();
}

/* Stepped code counts as well. */
static void test_stepped(void) {
    debug_start();
    off();
    set_counter(0, INSTS | P, 0);
    on(1);
    set_mdscr(MDSCR_SS);
    run_code(&c, PSTATE_EL0 | PSTATE_SS, (const void *)at_level(0, faults), 0, 0, 0, 0);
    CHECK_EQ(c.out.esr, STEP_ESR(PSTATE_EL0, STEP_ISV));
    CHECK_EQ(counter(0), 1);
    set_mdscr(0);
    off();
}

static void test_sw_incr(void) {
    debug_start();
    off();
    set_counter(0, SW_INCR, 0xfffffffe);
    set_counter(1, CHAIN, 7);
    set_counter(2, SW_INCR | P, 0);
    set_counter(5, INSTS, 0);
    on(0x27);
    for (unsigned i = 0; i < 5; i++)
        write_sysreg(pmswinc_el0, 0x3f);
    CHECK_EQ(counter(0), 3);
    CHECK_EQ(counter(1), 8);
    CHECK_EQ(counter(2), 0);
    CHECK_EQ(read_sysreg(pmovsset_el0), 1);
    write_sysreg(pmovsset_el0, 4);
    CHECK_EQ(read_sysreg(pmovsclr_el0), 5);
    write_sysreg(pmovsclr_el0, 1);
    CHECK_EQ(read_sysreg(pmovsset_el0), 4);
    write_sysreg(pmcr_el0, PMCR_E | PMCR_P);
    CHECK_EQ(counter(0) | counter(1), 0);
    off();
}

/* --- cycles ----------------------------------------------------------------------------------- */
static void test_cycles(void) {
    debug_start();
    off();
    write_sysreg(pmccntr_el0, 0);
    set_counter(0, CPU_CYCLES, 0);
    set_counter(1, CPU_CYCLES | P, 0);
    on(CYCLES | 3);
    do_work(PSTATE_EL0, ROUNDS);
    uint64_t cycles = read_sysreg(pmccntr_el0), user = counter(1);
    CHECK(cycles > 0 && user > 0 && user < cycles);
    CHECK(counter(0) > user);
    do_work(PSTATE_EL1H, ROUNDS);
    CHECK_EQ(counter(1), user);
    CHECK(read_sysreg(pmccntr_el0) > cycles);
    write_sysreg(pmccfiltr_el0, P); /* nothing at EL1 */
    isb();
    cycles = read_sysreg(pmccntr_el0);
    do_work(PSTATE_EL1H, ROUNDS);
    CHECK_EQ(read_sysreg(pmccntr_el0), cycles);
    /* 32 bits without PMCR.LC, all 64 with it */
    write_sysreg(pmccfiltr_el0, 0);
    write_sysreg(pmccntr_el0, 0xfffffff0);
    do_work(PSTATE_EL1H, ROUNDS);
    CHECK_EQ(read_sysreg(pmovsset_el0) & CYCLES, 0);
    CHECK(read_sysreg(pmccntr_el0) >> 32 != 0);
    write_sysreg(pmccntr_el0, ~0ul - 16);
    do_work(PSTATE_EL1H, ROUNDS);
    CHECK_EQ(read_sysreg(pmovsset_el0) & CYCLES, CYCLES);
    write_sysreg(pmovsclr_el0, CYCLES);
    write_sysreg(pmcr_el0, PMCR_E);
    write_sysreg(pmccntr_el0, 0xfffffff0);
    do_work(PSTATE_EL1H, ROUNDS);
    CHECK_EQ(read_sysreg(pmovsset_el0) & CYCLES, CYCLES);
    off();
}

/* --- overflow interrupts ---------------------------------------------------------------------- */
static volatile unsigned interrupts, enough; /* after so many there are no more */
static volatile uint64_t period, overflowed;

static void on_irq(struct frame *f, unsigned vector) {
    (void)f;
    (void)vector;
    unsigned id = gic_ack() & 1023;
    if (id != PPI)
        test_fail(__FILE__, __LINE__, "interrupt", id, PPI);
    overflowed |= read_sysreg(pmovsset_el0);
    if (++interrupts == enough)
        write_sysreg(pmintenclr_el1, ~0ul);
    /* In this order: cycles are time, so on a busy host the next overflow may come before the next instruction. */
    write_sysreg(pmovsclr_el0, ~0ul);
    write_sysreg(pmevcntr0_el0, -period & 0xffffffff);
    write_sysreg(pmccntr_el0, -period);
    isb();
    gic_eoi(id);
}

static void spin(uint64_t n) { __asm__ volatile("1: subs %0, %0, #1\nb.ne 1b" : "+r"(n) : : "cc"); }

static void test_interrupt(void) {
    debug_start();
    off();
    gic_init();
    gic_enable(PPI);
    exception_handler = on_irq;
    __asm__ volatile("msr daifclr, #2");
    /* one for each period of instructions, within what its handler takes */
    period = 10000;
    interrupts = enough = 0;
    overflowed = 0;
    set_counter(0, INSTS, -period & 0xffffffff);
    write_sysreg(pmintenset_el1, 1);
    on(1);
    spin(500000);
    write_sysreg(pmcr_el0, 0);
    isb();
    CHECK_EQ(overflowed, 1);
    CHECK(interrupts >= 80 && interrupts <= 110);
    /* without the enable bit, none; with it, the one that was due */
    write_sysreg(pmintenclr_el1, ~0ul);
    interrupts = 0;
    on(1);
    spin(50000);
    CHECK_EQ(interrupts, 0);
    CHECK_EQ(read_sysreg(pmovsset_el0), 1);
    write_sysreg(pmintenset_el1, 1);
    isb();
    CHECK_EQ(interrupts, 1);
    /* cycles: by the clock */
    off();
    interrupts = 0;
    enough = 5; /* on a slow host one comes after the other, and nothing else would ever run */
    overflowed = 0;
    period = 2000000;
    write_sysreg(pmccntr_el0, -period);
    write_sysreg(pmintenset_el1, CYCLES);
    on(CYCLES);
    while (interrupts < enough)
        spin(1000);
    CHECK_EQ(overflowed, CYCLES);
    __asm__ volatile("msr daifset, #2");
    off();
}

/* An exception, or its return, may be the first to see that a counter has overflowed, before the timer does. */
static void irq_or_svc(struct frame *f, unsigned vector) {
    if ((vector & 3) != 0)
        on_irq(f, vector);
}

static void test_seen_first(void) {
    debug_start();
    off();
    gic_init();
    gic_enable(PPI);
    exception_handler = irq_or_svc;
    enough = 1;
    __asm__ volatile("msr daifclr, #2");
    for (period = 1000; period < 60000; period += 177) {
        interrupts = 0;
        write_sysreg(pmccntr_el0, -period);
        write_sysreg(pmintenset_el1, CYCLES);
        on(CYCLES);
        while (!interrupts)
            __asm__ volatile("svc #0" : : : "memory");
        off();
        CHECK_EQ(interrupts, 1);
    }
    __asm__ volatile("msr daifset, #2");
}

/* --- EL0 -------------------------------------------------------------------------------------- */
SNIPPET(u_cycles, "mrs x5, pmccntr_el0");
SNIPPET(u_cycles_w, "msr pmccntr_el0, x5");
SNIPPET(u_count, "mrs x5, pmevcntr3_el0");
SNIPPET(u_count_x, "mrs x5, pmxevcntr_el0");
SNIPPET(u_count_w, "msr pmevcntr3_el0, x5");
SNIPPET(u_select, "msr pmselr_el0, x1");
SNIPPET(u_swinc, "msr pmswinc_el0, x1");
SNIPPET(u_pmcr, "mrs x5, pmcr_el0");
SNIPPET(u_type, "mrs x5, pmevtyper0_el0");
SNIPPET(u_userenr, "mrs x5, pmuserenr_el0");
SNIPPET(u_userenr_w, "msr pmuserenr_el0, x1");
SNIPPET(u_intenset, "mrs x5, pmintenset_el1");

enum { EN = 1, SW = 2, CR = 4, ER = 8, ALWAYS = 16, UNDEFINED = 32 };
static void test_user(void) {
    static const struct {
        const uint32_t *code;
        uint8_t bits;
    } accesses[] = {
        {u_cycles, EN | CR}, {u_cycles_w, EN},    {u_count, EN | ER},       {u_count_x, EN | ER},
        {u_count_w, EN},     {u_select, EN | ER}, {u_swinc, EN | SW},       {u_pmcr, EN},
        {u_type, EN},        {u_userenr, ALWAYS}, {u_userenr_w, UNDEFINED}, {u_intenset, UNDEFINED},
    };
    debug_start();
    off();
    for (unsigned user = 0; user < 16; user++) {
        write_sysreg(pmuserenr_el0, user);
        isb();
        for (unsigned i = 0; i < ARRAY_LEN(accesses); i++) {
            unsigned bits = accesses[i].bits;
            run_code(&c, PSTATE_EL0, (const void *)at_level(0, accesses[i].code), 0, 0, 0, 0);
            if (bits == UNDEFINED)
                CHECK_EQ(c.out.esr, ESR(0, 0));
            else if (bits & (user | ALWAYS))
                CHECK_EQ(c.out.esr, ESR_DONE);
            else
                CHECK_EQ(EC(c.out.esr), 0x18);
        }
    }
    off();
}

TESTS({"counts", test_counts}, {"exceptions", test_exceptions}, {"stepped", test_stepped},
      {"software increment", test_sw_incr}, {"cycles", test_cycles}, {"interrupt", test_interrupt},
      {"seen first", test_seen_first}, {"el0", test_user});
