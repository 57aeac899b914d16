/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_exceptions.c: exception entry and return, stack pointer banks, system register access rights and traps. */
#include "world.h"

#define VBAR UINT64_C(0x40001000)
#define SYS(i) (world.cpu[i]->sys)

static void at_el0(void) {
    world_start(1, 2, ABI_CPU_MAX);
    struct a64_cpu *c = world.cpu[0];
    c->x[31] = 0x1111; /* SP_EL1 */
    c->sys.vbar_el1 = VBAR;
    c->sys.sp_el0 = 0x2222;
    c->sys.elr_el1 = 0x1000;
    c->sys.spsr_el1 = 0x60000000;
    a64_helper_eret(&c->c, 0, 0, 0);
    CHECK(c->el == 0 && c->x[31] == 0x2222 && c->pc == 0x1000 && c->daif == 0 && c->sys.sp_el1 == 0x1111);
    CHECK_EQ(ir_flags_unpack(c->nzcv), 0x60000000);
    CHECK_EQ(c->c.regime, A64_EL0);
}

static void test_entry(void) {
    at_el0();
    struct a64_cpu *c = world.cpu[0];
    CHECK(RAISES(a64_helper_exception(&c->c, A64_ESR(A64_EC_SVC, 7), 4, 0)));
    CHECK_EQ(c->pc, VBAR + 0x400);
    CHECK_EQ(c->sys.elr_el1, 0x1004);
    CHECK_EQ(c->sys.spsr_el1, 0x60000000);
    CHECK_EQ(c->sys.esr_el1, 0x56000007);
    CHECK(c->el == 1 && c->spsel == 1 && c->daif == 0x3c0 && c->x[31] == 0x1111 && c->sys.sp_el0 == 0x2222);
    CHECK_EQ(c->pan, 0); /* SCTLR_EL1.SPAN was 1 at reset */
    c->sys.sctlr_el1 &= ~SCTLR_SPAN;
    c->pc = 0x2000;
    CHECK(RAISES(a64_helper_undefined(&c->c, 0, 0, 0)));
    CHECK_EQ(c->pc, VBAR + 0x200);
    CHECK_EQ(c->sys.spsr_el1, 0x600003c5);
    CHECK_EQ(c->sys.esr_el1, 0x02000000);
    CHECK_EQ(c->pan, 1);
    CHECK_EQ(c->c.regime, A64_EL1_PAN);
    a64_helper_msr_imm(&c->c, 005, 0, 0); /* SPSel = 0 */
    CHECK(c->x[31] == 0x2222 && c->sys.sp_el1 == 0x1111);
    a64_take_exception(&c->c, 0x80, 0, 0x3000);
    CHECK_EQ(c->pc, VBAR + 0x080);
    CHECK_EQ(c->sys.spsr_el1, 0x604003c4);
    CHECK_EQ(c->sys.esr_el1, 0x02000000); /* an interrupt leaves it */
    struct walk w = {.fault = A64_WALK_FAULT | FSC_PERMISSION | 2};
    CHECK(RAISES(a64_mem_abort(&c->c, 0xdead, MMU_WRITE, &w, 0)));
    CHECK_EQ(c->sys.esr_el1, 0x25u << 26 | BIT(25) | BIT(6) | 0x0e);
    CHECK_EQ(c->sys.far_el1, 0xdead);
    at_el0();
    CHECK(RAISES(a64_mem_abort(&world.cpu[0]->c, 0xdead, MMU_FETCH, &w, 0)));
    CHECK_EQ(SYS(0).esr_el1, 0x20u << 26 | BIT(25) | 0x0e);
    at_el0();
    CHECK(RAISES(a64_align_fault(&world.cpu[0]->c, 0xdead, MMU_READ)));
    CHECK_EQ(SYS(0).esr_el1, 0x24u << 26 | BIT(25) | 0x21);
}

static void test_return(void) {
    world_start(1, 2, ABI_CPU_MAX);
    struct a64_cpu *c = world.cpu[0];
    static const uint32_t illegal[] = {0x10, 0x1f, 0x8, 0x9, 0xc, 0xd, 0x1, 0x2, 0x3};
    for (size_t i = 0; i < ARRAY_LEN(illegal); i++) {
        c->il = 0;
        c->sys.spsr_el1 = illegal[i] | 0xf0000000;
        c->sys.elr_el1 = 0x4000;
        a64_helper_eret(&c->c, 0, 0, 0);
        CHECK(c->il == 1 && c->el == 1 && c->spsel == 1 && c->pc == 0x4000 && c->daif == 0);
        CHECK_EQ(ir_flags_unpack(c->nzcv), 0xf0000000);
        CHECK(a64_guest.mode(&c->c) & A64_MODE_IL);
    }
    CHECK(RAISES(a64_helper_exception(&c->c, A64_ESR(A64_EC_IL, 0), 0, 0)));
    CHECK(c->il == 0 && c->sys.spsr_el1 >> 20 & 1);
    c->sys.vbar_el1 = VBAR;
    c->sys.spsr_el1 = 0;
    c->sys.elr_el1 = 0x4002; /* misaligned: PC alignment fault, from EL0 */
    a64_helper_eret(&c->c, 0, 0, 0);
    CHECK(c->el == 0 && c->pc == 0x4002);
    CHECK(RAISES(a64_guest.pc_fault(&c->c)));
    CHECK(c->el == 1 && c->pc == VBAR + 0x400 && c->sys.far_el1 == 0x4002 && c->sys.elr_el1 == 0x4002);
    CHECK_EQ(c->sys.esr_el1, 0x22u << 26 | BIT(25));
    /* TBI1: the tag of a kernel address goes */
    c->sys.tcr_el1 = BIT(38);
    c->sys.spsr_el1 = 5;
    c->sys.elr_el1 = 0x12ff000000001000;
    a64_helper_eret(&c->c, 0, 0, 0);
    CHECK_EQ(c->pc, 0xffff000000001000);
}

#define KEY(op0, op1, crn, crm, op2) A64_SYSREG(op0, op1, crn, crm, op2)
static uint32_t mrs_insn(uint32_t key, unsigned rt) {
    return 0xd5300000u | (key >> 14 & 1) << 19 | (key >> 11 & 7) << 16 | (key >> 7 & 15) << 12 | (key >> 3 & 15) << 8 |
           (key & 7) << 5 | rt;
}

/* EC of what an MRS at EL0 raises, ~0 if nothing. */
static uint32_t el0_mrs(uint32_t key, uint64_t sctlr, uint64_t cntkctl) {
    at_el0();
    SYS(0).sctlr_el1 |= sctlr;
    SYS(0).cntkctl_el1 = cntkctl;
    if (!RAISES(a64_helper_mrs(world_cpu(0), key, mrs_insn(key, 3), 0)))
        return ~0u;
    return (uint32_t)SYS(0).esr_el1;
}

static void test_access(void) {
    CHECK(a64_sysregs_sorted());
    CHECK_EQ(el0_mrs(KEY(3, 0, 0, 0, 0), 0, 0), 0x02000000); /* MIDR_EL1 */
    CHECK_EQ(el0_mrs(KEY(3, 0, 0, 4, 0), 0, 0), 0x02000000); /* ID_AA64PFR0_EL1 */
    CHECK_EQ(el0_mrs(KEY(3, 3, 13, 0, 2), 0, 0), ~0u);       /* TPIDR_EL0 */
    CHECK_EQ(el0_mrs(KEY(3, 3, 0, 0, 1), 0, 0), 0x62000000u | 3 << 20 | 1 << 17 | 3 << 14 | 3 << 5 | 1); /* CTR_EL0 */
    CHECK_EQ(el0_mrs(KEY(3, 3, 0, 0, 1), SCTLR_UCT, 0), ~0u);
    CHECK_EQ(el0_mrs(KEY(3, 3, 14, 0, 2), 0, 1) >> 26, 0x18); /* CNTVCT_EL0 */
    CHECK_EQ(el0_mrs(KEY(3, 3, 14, 0, 2), 0, 2), ~0u);
    CHECK_EQ(el0_mrs(KEY(3, 3, 14, 0, 0), 0, 2), ~0u); /* CNTFRQ_EL0 */
    CHECK_EQ(el0_mrs(KEY(3, 3, 14, 3, 1), 0, BIT(9)) >> 26, 0x18);
    CHECK_EQ(el0_mrs(KEY(3, 3, 14, 3, 1), 0, BIT(8)), ~0u);
    CHECK_EQ(el0_mrs(KEY(3, 3, 4, 2, 1), 0, 0) >> 26, 0x18); /* DAIF */
    CHECK_EQ(el0_mrs(KEY(3, 3, 4, 2, 1), SCTLR_UMA, 0), ~0u);
    CHECK_EQ(el0_mrs(KEY(3, 3, 4, 4, 0), 0, 0), 0x07u << 26 | BIT(25) | 1 << 24 | 0xe << 20); /* FPCR, FP off */
    CHECK_EQ(el0_mrs(KEY(3, 3, 13, 0, 7), SCTLR_TSCXT, 0) >> 26, 0x18);                       /* SCXTNUM_EL0 */
    CHECK_EQ(el0_mrs(KEY(3, 3, 9, 13, 0), 0, 0) >> 26, 0x18);                                 /* PMCCNTR_EL0 */
    at_el0();
    CHECK(RAISES(
        a64_helper_sys(world_cpu(0), KEY(1, 3, 7, 11, 1), WORLD_RAM, mrs_insn(KEY(3, 3, 7, 11, 1), 2) & ~(1u << 21))));
    CHECK_EQ(SYS(0).esr_el1 >> 26, 0x18);
    at_el0();
    SYS(0).sctlr_el1 &= ~SCTLR_NTWI;
    world.cpu[0]->pc = 0x1004;
    CHECK(RAISES(a64_helper_wfi(world_cpu(0), 0, 0, 0)));
    CHECK(SYS(0).esr_el1 == 0x07e00000u && SYS(0).elr_el1 == 0x1000);
}

static void test_registers(void) {
    world_start(2, 3, ABI_CPU_MAX);
    CHECK_EQ(world_mrs(1, KEY(3, 0, 0, 0, 5)), 0x80000001);
    CHECK_EQ(world_mrs(0, KEY(3, 0, 0, 4, 0)), 0x1300000001000011);
    CHECK_EQ(world_mrs(0, KEY(3, 0, 0, 6, 0)), 0x10211120);
    CHECK_EQ(world_mrs(0, KEY(3, 0, 0, 7, 1)), 0x100000);
    CHECK_EQ(world_mrs(0, KEY(3, 0, 0, 3, 7)), 0); /* reserved */
    CHECK_EQ(world_mrs(0, KEY(3, 0, 4, 2, 2)), 4); /* CurrentEL */
    world_msr(0, KEY(3, 0, 12, 0, 0), 0x40000fff);
    CHECK_EQ(world_mrs(0, KEY(3, 0, 12, 0, 0)), 0x40000800);
}

static void test_more_registers(void) {
    world_start(2, 3, ABI_CPU_MAX);
    CHECK(RAISES(world_msr(0, KEY(3, 3, 4, 4, 0), 0))); /* FPCR while CPACR_EL1.FPEN = 0 */
    CHECK_EQ(SYS(0).esr_el1 >> 26, 7);
    world_msr(0, KEY(3, 0, 1, 0, 2), 3 << 20);
    world_msr(0, KEY(3, 3, 4, 4, 0), ~0ull);
    CHECK_EQ(world_mrs(0, KEY(3, 3, 4, 4, 0)), 0x07c00000);
    CHECK(a64_guest.mode(world_cpu(0)) & A64_MODE_SOFTFP);
    world_msr(0, KEY(3, 3, 4, 4, 1), ~0ull);
    CHECK_EQ(world_mrs(0, KEY(3, 3, 4, 4, 1)), 0x0800009f);
    CHECK(RAISES(world_mrs(0, KEY(3, 3, 14, 8, 6)))); /* PMEVCNTR6_EL0: six counters */
    CHECK(!RAISES(world_mrs(0, KEY(3, 3, 14, 8, 5))));
    CHECK(RAISES(world_mrs(0, KEY(3, 4, 1, 1, 0))));    /* HCR_EL2 */
    CHECK(RAISES(world_msr(0, KEY(3, 0, 0, 0, 0), 1))); /* MIDR_EL1 is read-only */
    CHECK(RAISES(world_mrs(0, KEY(2, 0, 0, 6, 4))));    /* DBGBVR6: six breakpoints */
    CHECK(!RAISES(world_mrs(0, KEY(2, 0, 0, 5, 4))));
    CHECK_EQ(a64_sysreg_offset(KEY(3, 3, 13, 0, 2), 0, true), offsetof(struct a64_cpu, sys.tpidr_el0));
    CHECK_EQ(a64_sysreg_offset(KEY(3, 3, 13, 0, 3), 0, true), 0);
    CHECK_EQ(a64_sysreg_offset(KEY(3, 0, 4, 1, 0), 1, true), offsetof(struct a64_cpu, sys.sp_el0));
    CHECK_EQ(a64_sysreg_offset(KEY(3, 0, 2, 0, 0), 1, true), 0);
    CHECK_EQ(a64_sysreg_offset(KEY(3, 0, 2, 0, 0), 1, false), offsetof(struct a64_cpu, sys.ttbr0_el1));
    world_start(1, 2, ABI_CPU_CORE);
    CHECK_EQ(world_mrs(0, KEY(3, 0, 0, 0, 0)), 0x410fd083);
    CHECK_EQ(world_mrs(0, KEY(3, 0, 0, 1, 4)), 0x10201105); /* ID_MMFR0_EL1 */
    CHECK(RAISES(world_mrs(0, KEY(3, 0, 4, 2, 3))));        /* PAN */
    CHECK(!RAISES(world_mrs(0, KEY(3, 1, 11, 0, 2))));
    CHECK(RAISES(world_mrs(0, KEY(3, 0, 12, 12, 0)))); /* ICC_IAR1_EL1 with GICv2 */
}

static void test_masking(void) {
    world_start(1, 2, ABI_CPU_MAX);
    struct a64_cpu *c = world.cpu[0];
    c->irq = true;
    c->pc = 0x1000;
    CHECK(!RAISES(a64_helper_msr_imm(&c->c, 037, 4, 0))); /* SError unmasked only */
    CHECK_EQ(c->c.abi.pending, 0);
    CHECK(RAISES(a64_helper_msr_imm(&c->c, 037, 2, 0)));
    CHECK(c->pc == 0x1004 && c->daif == 0x240 && (c->c.abi.pending & ABI_PEND_IRQ));
    c->c.abi.pending = 0;
    a64_helper_msr_imm(&c->c, 036, 15, 0);
    CHECK_EQ(c->daif, 0x3c0);
    c->sys.spsr_el1 = 5;
    a64_helper_eret(&c->c, 0, 0, 0);
    CHECK(c->c.abi.pending & ABI_PEND_IRQ);
}

/* While nothing is armed, blocks are those of a guest that has never heard of it (tests/golden has their code): they
 * are found by their mode. */
static void test_nothing_armed(void) {
    static const struct {
        uint32_t key;
        uint64_t armed, not_armed;
    } each[] = {
        {KEY(2, 0, 0, 0, 5), 0x1e7, 0},         /* DBGBCR0: all levels */
        {KEY(2, 0, 0, 0, 7), 0x1fff, 0},        /* DBGWCR0 */
        {KEY(2, 0, 0, 2, 2), 0xa001, 0xa000},   /* MDSCR: a step */
        {KEY(3, 3, 9, 12, 1), 1, ~UINT64_C(0)}, /* PMCNTENSET: what it counts is in PMEVTYPER0 */
    };
    world_start(1, 2, ABI_CPU_CORE);
    struct cpu *c = world_cpu(0);
    uint32_t mode = a64_guest.mode(c);
    world_msr(0, KEY(2, 0, 1, 0, 4), 0); /* OSLAR */
    world_msr(0, KEY(2, 0, 0, 2, 2), 0xa000);
    world_msr(0, KEY(3, 3, 14, 12, 0), 8); /* INST_RETIRED */
    world_msr(0, KEY(3, 3, 9, 12, 0), 1);
    CHECK_EQ(a64_guest.mode(c), mode);
    CHECK_EQ(c->watch, 0);
    a64(c)->daif = 0;
    mode = a64_guest.mode(c);
    for (size_t i = 0; i < ARRAY_LEN(each); i++) {
        bool counter = each[i].not_armed == ~UINT64_C(0);
        world_msr(0, each[i].key, each[i].armed);
        CHECK(a64_guest.mode(c) != mode);
        world_msr(0, counter ? KEY(3, 3, 9, 12, 2) : each[i].key, counter ? 1 : each[i].not_armed);
        CHECK_EQ(a64_guest.mode(c), mode);
        CHECK_EQ(c->watch, 0);
    }
}

static void test_psci(void) {
    world_start(2, 3, ABI_CPU_MAX);
    struct a64_cpu *c = world.cpu[0], *o = world.cpu[1];
    const uint64_t calls[][5] = {
        {0x84000000, 0, 0, 0, 0x10001},
        {0x8400000a, 0xc4000003, 0, 0, 0},
        {0x8400000a, 0x84000005, 0, 0, ~0ull},
        {0xc4000004, 1, 0, 0, 1},
        {0xc4000003, 9, 0x40000000, 0, -2ull},
        {0xc4000003, 0, 0x40000000, 0, -4ull},
        {0xc4000003, 1, 0x40200000, 42, 0},
        {0xc4000003, 1, 0x40200000, 42, -5ull},
        {0xc4000004, 1, 0, 0, 2},
        {0x84000006, 0, 0, 0, 2},
        {0x80000000, 0, 0, 0, 0x10001},
        {0x80000001, 0x80008000, 0, 0, ~0ull},
        {0x86000000, 0, 0, 0, ~0ull},
    };
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        for (unsigned k = 0; k < 4; k++)
            c->x[k] = calls[i][k];
        a64_helper_hvc(&c->c, 0, 0, 0);
        CHECK_EQ(c->x[0], calls[i][4]);
    }
    CHECK_EQ(world.kicked, 2);
    a64_guest.service(&o->c, ABI_PEND_IRQ);
    CHECK(o->power.state == ENGINE_POWER_ON && o->pc == 0x40200000 && o->x[0] == 42 && o->el == 1);
    o->x[0] = 0x84000002; /* CPU_OFF */
    CHECK(RAISES(a64_helper_hvc(&o->c, 0, 0, 0)));
    CHECK_EQ(o->power.state, ENGINE_POWER_OFF);
    CHECK(RAISES(a64_guest.service(&o->c, ABI_PEND_IRQ)));
    CHECK(world.waits == 1 && (o->c.abi.pending & ABI_PEND_IRQ));
    c->x[0] = 0x84000008;
    a64_helper_hvc(&c->c, 0, 0, 0);
    CHECK_EQ(world.calls, ABI_CALL_POWEROFF);
}

void test_exceptions(void) {
    test_entry();
    test_return();
    test_access();
    test_registers();
    test_more_registers();
    test_masking();
    test_nothing_armed();
    test_psci();
}
