/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* breakpoints.c: hardware breakpoints: random settings against a model of the Arm ARM's, links, priorities, changes. */
#include "debug.h"

static struct context c;
static const uint32_t levels[] = {PSTATE_EL0, PSTATE_EL1T & ~PSTATE_D, PSTATE_EL1H & ~PSTATE_D};
#define EACH_LEVEL(l) for (unsigned l = 0; l < ARRAY_LEN(levels); l++)

/* --- the registers ---------------------------------------------------------------------------- */
#define MAX_BREAKS 6
static unsigned breaks; /* that there are */
static uint64_t bvr[MAX_BREAKS], bcr[MAX_BREAKS];

#define E 1ul
#define PMC(n) ((uint64_t)(n) << 1)
#define BAS(n) ((uint64_t)(n) << 5)
#define SSC(n) ((uint64_t)(n) << 14)
#define LBN(n) ((uint64_t)(n) << 16)
#define BT(n) ((uint64_t)(n) << 20)
#define BT_ADDRESS 0
#define BT_LINKED_ADDRESS 1
#define BT_CONTEXT 2
#define BT_LINKED_CONTEXT 3
#define BOTH PMC(3)

#define SET(n)                                                                                                         \
    case n:                                                                                                            \
        write_sysreg(dbgbcr##n##_el1, 0);                                                                              \
        write_sysreg(dbgbvr##n##_el1, value);                                                                          \
        write_sysreg(dbgbcr##n##_el1, control);                                                                        \
        break;

static void set_break(unsigned n, uint64_t value, uint64_t control) {
    switch (n) { SET(0) SET(1) SET(2) SET(3) SET(4) SET(5) default : break; }
    bvr[n] = value;
    bcr[n] = control;
    isb();
}

static void start(void) {
    debug_start();
    breaks = (unsigned)(read_sysreg(id_aa64dfr0_el1) >> 12 & 15) + 1;
    CHECK_EQ(breaks, MAX_BREAKS);
    for (unsigned n = 0; n < breaks; n++)
        set_break(n, 0, 0);
    set_mdscr(MDSCR_MDE | MDSCR_KDE);
}

/* --- the model -------------------------------------------------------------------------------- */
static bool aware(unsigned n) { return n < breaks && n >= breaks - 1 - (read_sysreg(id_aa64dfr0_el1) >> 28 & 15); }

static bool context_is(unsigned n) { return (uint32_t)bvr[n] == (uint32_t)read_sysreg(contextidr_el1); }

static bool matches(unsigned n, uint64_t pc, uint32_t pstate) {
    unsigned bt = bcr[n] >> 20 & 15, lbn = bcr[n] >> 16 & 15, pmc = bcr[n] >> 1 & 3;
    if (!(bcr[n] & E) || !(pmc & (pstate & 12 ? 1 : 2)) || (bcr[n] >> 14 & 3) == 2)
        return false;
    switch (bt) {
    case BT_LINKED_ADDRESS:
        if (!aware(lbn) || !(bcr[lbn] & E) || (bcr[lbn] >> 20 & 15) != BT_LINKED_CONTEXT || !context_is(lbn))
            return false;
        /* fall through */
    case BT_ADDRESS: return bcr[n] & BAS(1) && (bvr[n] & ~3ul) == pc;
    case BT_CONTEXT: return !on_qemu() /* which has none */ && aware(n) && context_is(n);
    default: return false;
    }
}

/* The first of those addresses where a breakpoint matches, 0 if there is none. */
static uint64_t first_match(uint64_t pc, unsigned words, uint32_t pstate) {
    for (unsigned i = 0; i < words; i++)
        for (unsigned n = 0; n < breaks; n++)
            if (matches(n, pc + 4 * i, pstate))
                return pc + 4 * i;
    return 0;
}

/* --- random settings -------------------------------------------------------------------------- */
SNIPPET(line, "nop\nadd x5, x5, #1\nnop\ncmp x5, x1\ncset w6, eq\nnop\nldr x7, [x0]\nstr x7, "
              "[x0]\nnop\nnop\nnop\nisb\nnop\nnop\nnop");
#define LINE_WORDS 16 /* the BRK at its end included */

static uint64_t cell;

static void run_line_at(int number, uint32_t pstate) {
    uint64_t pc = at_level(pstate, line), want = first_match(pc, LINE_WORDS, pstate);
    run_code(&c, pstate, (const void *)pc, at_level(pstate, &cell), 0, 0, 0);
    if (want)
        context_expect_at(__FILE__, number, &c, VEC_OF(pstate), BREAK_ESR(pstate), want, c.out.spsr);
    else
        context_expect_at(__FILE__, number, &c, VEC_OF(pstate), ESR_DONE, pc + 4 * (LINE_WORDS - 1), c.out.spsr);
}
#define run_line(pstate) run_line_at(__LINE__, pstate)

static void random_break(unsigned n) {
    static const uint8_t bas[] = {15, 15, 15, 3, 12, 0};
    uint64_t control = (rnd(4) ? E : 0) | PMC(rnd(4)) | BAS(bas[rnd(ARRAY_LEN(bas))]) | LBN(rnd(breaks));
    if (rnd(8) == 0)
        control |= SSC(rnd(4));
    unsigned type = aware(n) && rnd(2) ? BT_LINKED_CONTEXT : (unsigned)rnd(2);
    if (aware(n) && rnd(20) == 0)
        type = BT_CONTEXT;
    uint64_t where = (uint64_t)(line + rnd(LINE_WORDS)) + (rnd(2) ? USER_BASE : 0) + (rnd(8) ? 0 : rnd(4));
    if (type >= BT_CONTEXT)
        where = rnd(3) | (rnd(4) ? 0 : 0x100000000ul);
    set_break(n, where, control | BT(type));
}

static void test_random(void) {
    start();
    for (unsigned round = 0; round < 1500; round++) {
        random_break((unsigned)rnd(breaks));
        if (rnd(4) == 0)
            write_sysreg(contextidr_el1, rnd(3));
        isb();
        run_line(levels[rnd(ARRAY_LEN(levels))]);
        if (rnd(3) == 0)
            run_line(levels[rnd(ARRAY_LEN(levels))]);
    }
    write_sysreg(contextidr_el1, 0);
}

/* --- what is armed when ----------------------------------------------------------------------- */
static void test_masks(void) {
    start();
    set_break(2, (uint64_t)(line + 4) + USER_BASE, E | BOTH | BAS(15));
    set_break(3, (uint64_t)(line + 4), E | BOTH | BAS(15));
    EACH_LEVEL(l) run_line(levels[l]);
    /* D masks them at EL1 alone; so does KDE = 0. MDE = 0 and the OS lock mask all. */
    for (unsigned how = 0; how < 5; how++) {
        if (how == 3 && on_qemu())
            continue; /* which looks at the wrong bit of OSLSR_EL1 */
        if (how == 4 && (on_qemu() || (read_sysreg(id_aa64dfr0_el1) >> 36 & 15) != 0))
            continue; /* no double lock */
        set_mdscr(how == 1 ? MDSCR_MDE : how == 2 ? MDSCR_KDE : MDSCR_MDE | MDSCR_KDE);
        write_sysreg(oslar_el1, how == 3);
        if (how == 4)
            write_sysreg(osdlr_el1, 1);
        isb();
        EACH_LEVEL(l) {
            uint32_t pstate = levels[l] | PSTATE_D;
            uint64_t pc = at_level(pstate, line);
            run_code(&c, how ? levels[l] : pstate, (const void *)pc, at_level(pstate, &cell), 0, 0, 0);
            bool fires = l == 0 && how < 2;
            CHECK_EQ(c.out.esr, fires ? BREAK_ESR(pstate) : ESR_DONE);
            CHECK_EQ(c.out.elr, pc + (fires ? 16 : 4 * (LINE_WORDS - 1)));
        }
        write_sysreg(oslar_el1, 0);
        if (how == 4)
            write_sysreg(osdlr_el1, 0);
    }
}

/* Code that unmasks them meets the next one. */
SNIPPET(unmask, "nop\nmsr daifclr, #8\nnop\nmsr daifset, #8\nnop\nmsr daif, x1\nnop");
static void test_unmask(void) {
    start();
    for (unsigned i = 0; i < 8; i++) {
        set_break(1, (uint64_t)(unmask + i), E | BOTH | BAS(15));
        for (unsigned round = 0; round < 3; round++) {
            run_code(&c, PSTATE_EL1H, unmask, 0, 0x1c0, 0, 0);
            bool open = i == 2 || i == 3 || i >= 6;
            CHECK_EQ(c.out.esr, open ? BREAK_ESR(PSTATE_EL1H) : ESR_DONE);
            CHECK_EQ(c.out.elr, (uint64_t)(unmask + (open ? i : 7)));
        }
    }
}

/* --- priorities ------------------------------------------------------------------------------- */
SNIPPET(udf, ".inst 0");
SNIPPET(svc, "svc #1");
SNIPPET(brk, "brk #1");
SNIPPET(stepped, "nop\nnop");

static void test_priorities(void) {
    static const uint32_t *const code[] = {udf, svc, brk, stepped};
    start();
    EACH_LEVEL(l) {
        uint32_t pstate = levels[l];
        for (unsigned i = 0; i < ARRAY_LEN(code); i++) {
            uint64_t pc = at_level(pstate, code[i]);
            set_break(0, pc, E | BOTH | BAS(15));
            for (unsigned il = 0; il < 2; il++) {
                run_code(&c, pstate | (il ? PSTATE_IL : 0), (const void *)pc, 0, 0, 0, 0);
                context_expect(&c, VEC_OF(pstate), BREAK_ESR(pstate), pc, pstate | (il ? PSTATE_IL : 0));
                if (on_qemu())
                    break; /* it has them the other way round */
            }
        }
        /* A misaligned pc and one without code come first. */
        uint64_t pc = at_level(pstate, stepped);
        run_code(&c, pstate, (const void *)(pc + 2), 0, 0, 0, 0);
        context_expect(&c, VEC_OF(pstate), ESR(0x22, 0), pc + 2, pstate);
        set_break(0, 0x123456780000ul, E | BOTH | BAS(15));
        run_code(&c, pstate, (const void *)0x123456780000ul, 0, 0, 0, 0);
        if (!on_qemu())
            CHECK_EQ(EC(c.out.esr), pstate & 12 ? 0x21 : 0x20);
        /* A step to a breakpoint: first the exception of the step, then, with the next step, the breakpoint's. */
        set_break(0, pc + 4, E | BOTH | BAS(15));
        set_mdscr(MDSCR_MDE | MDSCR_KDE | MDSCR_SS);
        run_code(&c, pstate | PSTATE_SS, (const void *)pc, 0, 0, 0, 0);
        context_expect(&c, VEC_OF(pstate), STEP_ESR(pstate, STEP_ISV), pc + 4, pstate);
        run_code(&c, pstate | PSTATE_SS, (const void *)(pc + 4), 0, 0, 0, 0);
        context_expect(&c, VEC_OF(pstate), BREAK_ESR(pstate), pc + 4, pstate | PSTATE_SS);
        set_break(0, 0, 0);
        run_code(&c, pstate | PSTATE_SS, (const void *)(pc + 4), 0, 0, 0, 0);
        context_expect(&c, VEC_OF(pstate), STEP_ESR(pstate, STEP_ISV), pc + 8, pstate);
        set_mdscr(MDSCR_MDE | MDSCR_KDE);
    }
}

/* --- code that is hot ------------------------------------------------------------------------- */
SNIPPET(loop, "1: add x5, x5, #1\n"
              "tbz x5, #0, 2f\n"
              "bl 3f\n"
              "2: subs x1, x1, #1\n"
              "b.ne 1b\n"
              "brk #0x7777\n"
              "3: add x6, x6, #1\n"
              "ret");

/* Breakpoints come and go in code that was and is run without them, more sets of them than are remembered. */
static void test_hot(void) {
    start();
    for (unsigned round = 0; round < 400; round++) {
        uint32_t pstate = levels[rnd(ARRAY_LEN(levels))];
        uint64_t pc = at_level(pstate, loop);
        unsigned at = (unsigned)rnd(8);
        bool armed = rnd(3) != 0;
        set_break(5, pc + 4 * at, (armed ? E : 0) | BOTH | BAS(15));
        context_init(&c, pstate, pc);
        c.in.x[1] = 50;
        c.in.x[5] = 0;
        context_run(&c);
        CHECK_EQ(c.out.esr, armed ? BREAK_ESR(pstate) : ESR_DONE);
        CHECK_EQ(c.out.elr, pc + 4 * (armed ? at : 5));
        if (!armed)
            CHECK_EQ(c.out.x[5], 50);
    }
}

/* A write at EL1 counts for what follows the ISB, in the same piece of code. */
SNIPPET(arms, "mov x6, #10\n"
              "1: msr dbgbvr0_el1, x0\nmsr dbgbcr0_el1, x1\nisb\n"
              "2: nop\n"
              "add x5, x5, #1\n"
              "msr dbgbcr0_el1, xzr\nisb\n"
              "subs x6, x6, #1\n"
              "b.ne 1b");
static void test_arms_itself(void) {
    start();
    const uint32_t pstate = PSTATE_EL1H & ~PSTATE_D;
    for (unsigned round = 0; round < 20; round++) {
        bool armed = round % 3 == 1;
        run_code(&c, pstate, arms, (uint64_t)(arms + 5), (armed ? E : 0) | BOTH | BAS(15), 0, 0);
        CHECK_EQ(c.out.esr, armed ? BREAK_ESR(pstate) : ESR_DONE);
        CHECK_EQ(c.out.elr, (uint64_t)(arms + (armed ? 5 : 10)));
        write_sysreg(dbgbcr0_el1, 0);
        isb();
    }
}

TESTS({"random", test_random}, {"masks", test_masks}, {"unmask", test_unmask}, {"priorities", test_priorities},
      {"hot", test_hot}, {"arms itself", test_arms_itself});
