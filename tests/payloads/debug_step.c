/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* debug_step.c: software step: its state machine at EL0 and EL1, its syndrome, and what completes a step. */
#include "debug.h"

static struct context c;

/* The levels to step, with debug exceptions enabled there. */
static const uint32_t levels[] = {PSTATE_EL0, PSTATE_EL1T & ~PSTATE_D, PSTATE_EL1H & ~PSTATE_D};
#define EACH_LEVEL(l) for (unsigned l = 0; l < ARRAY_LEN(levels); l++)

static uint64_t cell[8] __attribute__((aligned(64)));

static void enter(uint32_t pstate, uint64_t pc) {
    run_code(&c, pstate, (const void *)pc, at_level(pstate, cell), 0, 3, 4);
}

static void expect_at(int line, uint32_t pstate, uint64_t esr, uint64_t elr, uint32_t spsr) {
    context_expect_at(__FILE__, line, &c, VEC_OF(pstate), esr, elr, spsr);
}
#define expect(...) expect_at(__LINE__, __VA_ARGS__)

/* --- one instruction -------------------------------------------------------------------------- */

SNIPPET(s_nop, "nop");
SNIPPET(s_b, "b 1f\nnop\n1:");
SNIPPET(s_b_taken, "cbz x1, 1f\nnop\n1:");
SNIPPET(s_b_not, "cbnz x1, 1f\nnop\n1:");
SNIPPET(s_cond, "b.ne 1f\nnop\n1:");
SNIPPET(s_bl, "bl 1f\nnop\n1:");
SNIPPET(s_far, "b s_target");
SNIPPET(s_ldr, "ldr x5, [x0]");
SNIPPET(s_str, "str x2, [x0, #8]");
SNIPPET(s_ldp, "ldp x5, x6, [x0], #16");
SNIPPET(s_ldxr, "ldxr x5, [x0]");
SNIPPET(s_ldaxr, "ldaxrb w5, [x0]");
SNIPPET(s_ldxp, "ldaxp x5, x6, [x0]");
SNIPPET(s_stxr, "stxr w5, x2, [x0]");
SNIPPET(s_ldar, "ldar x5, [x0]");
SNIPPET(s_cas, "cas x5, x2, [x0]");
SNIPPET(s_casp, "casp w4, w5, w2, w3, [x0]");
SNIPPET(s_wfe, "wfe");
SNIPPET(s_isb, "isb");
SNIPPET(s_dsb, "dsb sy");
SNIPPET(s_mrs, "mrs x5, tpidr_el0");
SNIPPET(s_fp, "fadd d0, d1, d2");
SNIPPET(s_clrex, "clrex");
__asm__(".pushsection .text.far, \"ax\"\n.balign 4096\ns_target:\nbrk #0x7777\n.popsection");
extern const uint32_t s_target[];

static const struct {
    const uint32_t *code;
    uint8_t next;    /* words from there to the next instruction; 0: s_target */
    bool ex;         /* a load-exclusive */
    uint32_t except; /* registers that it changes */
} singles[] = {
    {s_nop, 1, false, 0},        {s_b, 2, false, 0},
    {s_b_taken, 2, false, 0},    {s_b_not, 1, false, 0},
    {s_cond, 2, false, 0},       {s_bl, 2, false, 1u << 30},
    {s_far, 0, false, 0},        {s_ldr, 1, false, 1u << 5},
    {s_str, 1, false, 0},        {s_ldp, 1, false, 1 | 3u << 5},
    {s_ldxr, 1, true, 1u << 5},  {s_ldaxr, 1, true, 1u << 5},
    {s_ldxp, 1, true, 3u << 5},  {s_stxr, 1, false, 1u << 5},
    {s_ldar, 1, false, 1u << 5}, {s_cas, 1, false, 1u << 5},
    {s_casp, 1, false, 3u << 4}, {s_wfe, 1, false, 0},
    {s_isb, 1, false, 0},        {s_dsb, 1, false, 0},
    {s_mrs, 1, false, 1u << 5},  {s_fp, 1, false, 0},
    {s_clrex, 1, false, 0},
};

static void test_single(void) {
    debug_start();
    set_mdscr(MDSCR_SS | MDSCR_KDE);
    for (unsigned round = 0; round < 3; round++) {
        EACH_LEVEL(l) {
            for (unsigned i = 0; i < ARRAY_LEN(singles); i++) {
                uint32_t pstate = levels[l];
                uint64_t pc = at_level(pstate, singles[i].code);
                uint64_t next = singles[i].next ? pc + 4 * singles[i].next : at_level(pstate, s_target);
                enter(pstate | PSTATE_SS, pc);
                expect(pstate, STEP_ESR(pstate, STEP_ISV | (singles[i].ex ? STEP_EX : 0)), next, pstate);
                context_check(&c, singles[i].except);
            }
        }
    }
    set_mdscr(0);
}

/* PSTATE.SS = 0 where step is active: nothing is executed. */
static void test_pending(void) {
    debug_start();
    set_mdscr(MDSCR_SS | MDSCR_KDE);
    EACH_LEVEL(l) {
        uint64_t pc = at_level(levels[l], s_ldxr);
        enter(levels[l], pc);
        expect(levels[l], STEP_ESR(levels[l], 0), pc, levels[l]);
        context_check(&c, 0);
        /* even at a misaligned pc, or one without code, where QEMU reports that */
        enter(levels[l], pc + 2);
        expect(levels[l], STEP_ESR(levels[l], 0), pc + 2, levels[l]);
        if (on_qemu())
            continue;
        enter(levels[l], 0x123456780000ul);
        expect(levels[l], STEP_ESR(levels[l], 0), 0x123456780000ul, levels[l]);
    }
    set_mdscr(0);
}

/* Where step is not active, SPSR.SS means nothing. */
static void test_inactive(void) {
    static const struct {
        uint64_t mdscr;
        uint32_t pstate;
        bool lock;
    } ways[] = {
        {0, PSTATE_EL0, false},
        {MDSCR_KDE | MDSCR_MDE, PSTATE_EL1T & ~PSTATE_D, false},
        {MDSCR_SS, PSTATE_EL1T & ~PSTATE_D, false}, /* no KDE */
        {MDSCR_SS | MDSCR_KDE, PSTATE_EL1T, false}, /* masked by D */
        {MDSCR_SS, PSTATE_EL0, true},
        {MDSCR_SS | MDSCR_KDE, PSTATE_EL1H & ~PSTATE_D, true},
    };
    debug_start();
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        if (ways[i].lock && on_qemu())
            continue; /* which looks at the wrong bit of OSLSR_EL1 */
        set_mdscr(ways[i].mdscr);
        write_sysreg(oslar_el1, ways[i].lock);
        isb();
        for (unsigned ss = 0; ss < 2; ss++) {
            uint64_t pc = at_level(ways[i].pstate, s_b);
            enter(ways[i].pstate | (ss ? PSTATE_SS : 0), pc);
            expect(ways[i].pstate, ESR_DONE, pc + 8, ways[i].pstate);
        }
        write_sysreg(oslar_el1, 0);
    }
    set_mdscr(0);
}

/* --- exceptions in a step --------------------------------------------------------------------- */

SNIPPET(x_svc, "svc #7");
SNIPPET(x_brk, "brk #7");
SNIPPET(x_udf, ".inst 0");
SNIPPET(x_fault, "ldr x5, [x2]");
SNIPPET(x_align, "ldar x5, [x2]");
SNIPPET(x_sp, "ldr x5, [sp]");
SNIPPET(x_pc, "br x2");

static void test_exceptions(void) {
    debug_start();
    set_mdscr(MDSCR_SS | MDSCR_KDE);
    EACH_LEVEL(l) {
        uint32_t pstate = levels[l];
        /* SVC completes the step; what faults has not done anything. */
        enter(pstate | PSTATE_SS, at_level(pstate, x_svc));
        expect(pstate, ESR(0x15, 7), at_level(pstate, x_svc) + 4, pstate);
        enter(pstate | PSTATE_SS, at_level(pstate, x_brk));
        expect(pstate, ESR(0x3c, 7), at_level(pstate, x_brk), pstate | PSTATE_SS);
        enter(pstate | PSTATE_SS, at_level(pstate, x_udf));
        expect(pstate, ESR(0, 0), at_level(pstate, x_udf), pstate | PSTATE_SS);
        enter(pstate | PSTATE_SS, at_level(pstate, x_fault)); /* x2 = 3: unmapped */
        CHECK_EQ(EC(c.out.esr), pstate & 12 ? 0x25 : 0x24);
        CHECK_EQ(c.out.far, 3);
        CHECK_EQ(c.out.spsr & PSTATE_SS, PSTATE_SS);
        enter(pstate | PSTATE_SS | PSTATE_IL, at_level(pstate, s_nop));
        expect(pstate, ESR(0x0e, 0), at_level(pstate, s_nop), pstate | PSTATE_SS | PSTATE_IL);
        /* A branch to a misaligned pc is a step; the exception for it comes after that of the step. */
        enter(pstate | PSTATE_SS, at_level(pstate, x_pc));
        expect(pstate, STEP_ESR(pstate, STEP_ISV), 3, pstate);
        enter(pstate | PSTATE_SS, at_level(pstate, s_nop) + 2);
        expect(pstate, ESR(0x22, 0), at_level(pstate, s_nop) + 2, pstate | PSTATE_SS);
    }
    /* A misaligned SP: the access does not complete the step. */
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) | 3ul << 3);
    isb();
    for (unsigned l = 0; l < 2 && !on_qemu() /* which has no such check */; l++) {
        context_init(&c, levels[l] | PSTATE_SS, at_level(levels[l], x_sp));
        c.in.sp += 8;
        context_run(&c);
        expect(levels[l], ESR(0x26, 0), at_level(levels[l], x_sp), levels[l] | PSTATE_SS);
    }
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) & ~(3ul << 3));
    set_mdscr(0);
}

/* --- steps that change what decides about stepping -------------------------------------------- */

SNIPPET(p_eret, "eret");
SNIPPET(p_set_d, "msr daifset, #8\nnop");
SNIPPET(p_clear_d, "nop\nmsr daifclr, #8\nnop");
SNIPPET(p_write_d, "nop\nmsr daif, xzr\nnop");
SNIPPET(p_mdscr, "msr mdscr_el1, x1\nisb\nnop");
SNIPPET(p_set_i, "msr daifset, #2\nnop");

static void test_state_changes(void) {
    const uint32_t el1 = PSTATE_EL1H & ~PSTATE_D;
    debug_start();
    set_mdscr(MDSCR_SS | MDSCR_KDE);
    /* An ERET that is stepped, and so does not look at SPSR.SS. ELR and SPSR are those it was entered with. */
    enter(el1 | PSTATE_SS, (uint64_t)p_eret);
    expect(el1, STEP_ESR(el1, STEP_ISV), (uint64_t)p_eret, el1);
    /* Step masks itself: the next instructions run until D is clear again. */
    if (!on_qemu()) { /* which asks before the instruction */
        enter(el1 | PSTATE_SS, (uint64_t)p_set_d);
        expect(el1, ESR_DONE, (uint64_t)p_set_d + 8, el1 | PSTATE_D);
    }
    enter(PSTATE_EL1H, (uint64_t)p_clear_d); /* becomes active and pending: before the NOP */
    expect(el1, STEP_ESR(el1, 0), (uint64_t)p_clear_d + 8, el1);
    enter(PSTATE_EL1H, (uint64_t)p_write_d);
    expect(el1, STEP_ESR(el1, 0), (uint64_t)p_write_d + 8, 5);
    enter((el1 & ~0x80u) | PSTATE_SS, (uint64_t)p_set_i);
    expect(el1, STEP_ESR(el1, STEP_ISV), (uint64_t)p_set_i + 4, el1);
    /* MDSCR_EL1.SS: with the ISB at the latest. */
    set_mdscr(MDSCR_KDE);
    run_code(&c, el1, p_mdscr, 0, MDSCR_SS | MDSCR_KDE, 0, 0);
    CHECK_EQ(c.out.esr, STEP_ESR(el1, 0));
    CHECK(c.out.elr == (uint64_t)p_mdscr + 4 || c.out.elr == (uint64_t)p_mdscr + 8);
    set_mdscr(MDSCR_KDE | MDSCR_SS);
    run_code(&c, el1 | PSTATE_SS, p_mdscr, 0, MDSCR_KDE, 0, 0);
    CHECK(c.out.esr == ESR_DONE || (c.out.esr == STEP_ESR(el1, STEP_ISV) && c.out.elr == (uint64_t)p_mdscr + 4));
    set_mdscr(0);
}

/* --- whole programs --------------------------------------------------------------------------- */

SNIPPET(program, "mov x1, #5\n"
                 "1: bl 3f\n"
                 "ldp x5, x6, [x0]\n"
                 "add x5, x5, x6, lsr #7\n"
                 "stp x6, x5, [x0]\n"
                 "tbz x1, #0, 2f\n"
                 "eor x6, x6, x5\n"
                 "2: subs x1, x1, #1\n"
                 "b.ne 1b\n"
                 "adr x7, 4f\n"
                 "br x7\n"
                 "3: swp x5, x8, [x0]\n"
                 "stp x29, x30, [sp, #-16]!\n"
                 "cmp x8, x6\n"
                 "csel x9, x8, x6, hi\n"
                 "ldp x29, x30, [sp], #16\n"
                 "ret\n"
                 "4: fmov d0, x5\n"
                 "fmov x10, d0\n"
                 "rbit x10, x10");

/* A program stepped ends as one that runs, after as many steps as it has instructions. */
static void test_program(void) {
    debug_start();
    for (unsigned l = 0; l < 2; l++) { /* the stack of EL1h is that of the handler, too */
        static struct frame want;
        uint64_t pc = at_level(levels[l], program);
        unsigned steps = 0;
        cell[0] = 0x123456789abcdef0;
        cell[1] = 0xfedcba9876543210;
        set_mdscr(0);
        enter(levels[l], pc);
        CHECK_EQ(c.out.esr, ESR_DONE);
        want = c.out;
        cell[0] = 0x123456789abcdef0;
        cell[1] = 0xfedcba9876543210;
        set_mdscr(MDSCR_SS | MDSCR_KDE);
        context_init(&c, levels[l] | PSTATE_SS, pc);
        c.in.x[0] = at_level(levels[l], cell);
        c.in.x[1] = 0;
        c.in.x[2] = 3;
        c.in.x[3] = 4;
        for (;; steps++) {
            context_run(&c);
            if (c.out.esr != STEP_ESR(levels[l], STEP_ISV) || steps > 1000)
                break;
            CHECK_EQ(c.out.spsr & PSTATE_SS, 0);
            c.in = c.out;
            c.in.spsr |= PSTATE_SS;
        }
        CHECK_EQ(c.out.esr, ESR_DONE);
        CHECK_EQ(c.out.elr, want.elr);
        CHECK_EQ(c.out.spsr & ~(uint64_t)(PSTATE_SS | SPSR_IGNORED), want.spsr & ~(uint64_t)SPSR_IGNORED);
        for (unsigned i = 0; i < 31; i++)
            CHECK_EQ(c.out.x[i], want.x[i]);
        CHECK_EQ(c.out.sp, want.sp);
        CHECK_EQ(steps, 1 + 5 * 13 + 3 + 5); /* the EOR is left out twice */
    }
    set_mdscr(0);
}

/* Code that steps over a store to itself. */
static void test_self_modifying(void) {
    uint32_t *code;
    debug_start();
    code = page_alloc();
    code[0] = 0xb9000802; /* str w2, [x0, #8] */
    code[1] = 0xd503201f;
    code[2] = 0xd4200000; /* brk #0 */
    code[3] = 0xd42eeee0; /* brk #0x7777 */
    code_sync(code, 16);
    set_mdscr(MDSCR_SS | MDSCR_KDE);
    const uint32_t el1 = PSTATE_EL1H & ~PSTATE_D;
    run_code(&c, el1 | PSTATE_SS, code, (uint64_t)code, 0, 0xd503201f, 0);
    expect(el1, STEP_ESR(el1, STEP_ISV), (uint64_t)code + 4, el1);
    code_sync(code, 16);
    run_code(&c, el1 | PSTATE_SS, code + 2, (uint64_t)code, 0, 0xd503201f, 0);
    expect(el1, STEP_ESR(el1, STEP_ISV), (uint64_t)code + 12, el1);
    set_mdscr(0);
}

TESTS({"one instruction", test_single}, {"pending", test_pending}, {"not active", test_inactive},
      {"exceptions", test_exceptions}, {"state changes", test_state_changes}, {"program", test_program},
      {"self-modifying", test_self_modifying});
