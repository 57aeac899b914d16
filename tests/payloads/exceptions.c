/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* exceptions.c: synchronous exceptions from EL0 and EL1: syndrome, return address, PSTATE, preserved registers. */
#include "payload.h"

#define NZCV_ALL 0xf0000000u
#define IL (1ul << 25)
#define ESR(ec, iss) ((uint64_t)(ec) << 26 | IL | (iss))
#define ESR_UNKNOWN ESR(0, 0)
#define SCTLR_A (1ul << 1)
#define SCTLR_SA (1ul << 3)
#define SCTLR_SA0 (1ul << 4)
#define SCTLR_UMA (1ul << 9)
#define SCTLR_DZE (1ul << 14)
#define SCTLR_UCT (1ul << 15)
#define SCTLR_NTWI (1ul << 16)
#define SCTLR_SPAN (1ul << 23)
#define SCTLR_UCI (1ul << 26)
#define FPEN(n) ((uint64_t)(n) << 20)

static struct context c;

static const uint32_t levels[] = {PSTATE_EL0, PSTATE_EL1T, PSTATE_EL1H};

/* at(): where code is reachable for that level. */
static const void *at(uint32_t pstate, const void *code) {
    return (pstate & 12) == 0 && (read_sysreg(sctlr_el1) & 1) ? USER(code) : code;
}

static void set_sctlr(uint64_t v) {
    write_sysreg(sctlr_el1, v);
    isb();
}

static void start_mmu(void) {
    mmu_on();
    mmu_user_alias();
}

/* one(): runs code at a level and checks its first exception, which leaves every register as it was. */
static void one_at(int line, uint32_t pstate, const uint32_t *code, unsigned vector, uint64_t esr, unsigned offset) {
    const void *pc = at(pstate, code);
    run_code(&c, pstate, pc, 0x1111, 0x2222, 0x3333, 0x4444);
    context_expect_at(__FILE__, line, &c, vector, esr, (uint64_t)pc + offset, pstate);
    context_check_at(__FILE__, line, &c, 0);
}
#define one(pstate, code, esr, offset) one_at(__LINE__, pstate, code, VEC_OF(pstate), esr, offset)

/* --- instructions that generate exceptions ---------------------------------------------------- */

SNIPPET(svc_0, "svc #0");
SNIPPET(svc_ffff, "svc #0xffff");
SNIPPET(brk_0, "brk #0");
SNIPPET(brk_1234, "brk #0x1234");
SNIPPET(hvc_0, "hvc #0");
SNIPPET(smc_0, "smc #0");
SNIPPET(hlt_0, "hlt #0");
SNIPPET(eret_insn, "eret");

static void test_generating(void) {
    for (unsigned i = 0; i < ARRAY_LEN(levels); i++) {
        for (unsigned flags = 0; flags < 16; flags += 5) {
            uint32_t p = levels[i] | flags << 28;
            one(p, svc_0, ESR(0x15, 0), 4);
            one(p, svc_ffff, ESR(0x15, 0xffff), 4);
            one(p, brk_0, ESR(0x3c, 0), 0);
            one(p, brk_1234, ESR(0x3c, 0x1234), 0);
            one(p, smc_0, ESR_UNKNOWN, 0);
            one(p, hlt_0, ESR_UNKNOWN, 0);
        }
    }
    one(PSTATE_EL0, hvc_0, ESR_UNKNOWN, 0);
    one(PSTATE_EL0, eret_insn, ESR_UNKNOWN, 0);
}

static void test_undefined(void) {
    static const uint32_t words[] = {
        0x00000000,
        0x00001234,
        0xffffffff,
        0x02000000,
        0x64000000 | 0x80000000,
        0x1ea02000 /* FMOV, ftype 10 */,
        0x0e208800 | 0x00c00000, /* CMEQ-like with a reserved size */
        0xd4a00001,              /* DCPS1 */
        0xd6bf03e0,              /* DRPS */
        0xd5033f1f | 0x000000e0, /* no such barrier form */
        0x9ac00000,              /* two-source data processing, opcode 0: SUBP needs FEAT_MTE; opcode 1 below */
        0x1ac00400,
        0x38a0d000 | 0x04000000, /* atomic with V = 1 */
    };
    static uint32_t code[2] __attribute__((aligned(16)));
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        if (words[i] == 0x9ac00000 && (read_sysreg(id_aa64pfr1_el1) >> 8 & 15))
            continue;
        if (words[i] == 0x0e208800 + 0x00c00000)
            continue;
        code[0] = words[i];
        code[1] = 0xd4200000;
        code_sync(code, sizeof(code));
        for (unsigned l = 0; l < ARRAY_LEN(levels); l++) {
            one(levels[l], code, ESR_UNKNOWN, 0);
            if (c.out.esr != ESR_UNKNOWN) {
                print_hex(words[i]);
                print(" is the word\n");
            }
        }
    }
}

/* --- PSTATE ----------------------------------------------------------------------------------- */

static void test_eret_pstate(void) {
    for (unsigned l = 0; l < ARRAY_LEN(levels); l++) {
        for (unsigned bit = 28; bit < 32; bit++)
            one(levels[l] | 1u << bit, svc_0, ESR(0x15, 0), 4);
        for (unsigned daif = 0; daif < 16; daif++)
            one((levels[l] & 15) | daif << 6, svc_0, ESR(0x15, 0), 4);
        one(levels[l] | PSTATE_PAN | NZCV_ALL, svc_0, ESR(0x15, 0), 4);
    }
}

/* Where an exception goes to, PSTATE is EL1h with DAIF set; PAN is set if SCTLR_EL1.SPAN is 0. */
static uint64_t seen_daif, seen_spsel, seen_pan, seen_el, seen_flags;
static void look_at_pstate(struct frame *f, unsigned vector) {
    (void)f;
    caught_vector = vector;
    seen_flags = read_sysreg(nzcv);
    seen_daif = read_sysreg(daif);
    seen_spsel = read_sysreg(spsel);
    seen_pan = read_sysreg(S3_0_C4_C2_3);
    seen_el = read_sysreg(currentel);
}

static void test_entry_pstate(void) {
    exception_handler = look_at_pstate;
    for (unsigned span = 0; span < 2; span++) {
        set_sctlr((read_sysreg(sctlr_el1) & ~SCTLR_SPAN) | (span ? SCTLR_SPAN : 0));
        for (unsigned pan = 0; pan < 2; pan++) {
            write_sysreg(S3_0_C4_C2_3, pan ? PSTATE_PAN : 0);
            __asm__ volatile("msr daifclr, #15\nsvc #0\nmsr daifset, #15" : : : "memory");
            CHECK_EQ(caught_vector, VEC_SYNC);
            CHECK_EQ(seen_daif, 0x3c0);
            CHECK_EQ(seen_spsel, 1);
            CHECK_EQ(seen_el, 4);
            CHECK_EQ(seen_pan, pan || !span ? PSTATE_PAN : 0);
            CHECK_EQ(read_sysreg(S3_0_C4_C2_3), pan ? PSTATE_PAN : 0);
        }
    }
    write_sysreg(S3_0_C4_C2_3, 0);
}

SNIPPET(read_el, "mrs x0, currentel\nmrs x1, spsel\nmrs x2, daif\nmrs x3, nzcv");
SNIPPET(daif_moves, "msr daifclr, #15\nmrs x0, daif\nmsr daifset, #5\nmrs x1, daif\nmsr daifclr, #4\nmrs x2, daif\n"
                    "mov x4, #0x200\nmsr daif, x4\nmrs x3, daif\nmov x4, #-1\nmsr daif, x4\nmrs x4, daif");
SNIPPET(nzcv_moves, "mov x4, #-1\nmsr nzcv, x4\nmrs x0, nzcv\nmov x4, #0x60000000\nmsr nzcv, x4\nmrs x1, nzcv\n"
                    "cmp xzr, xzr\nmrs x2, nzcv\nmov x5, #1\ncmp xzr, x5\nmrs x3, nzcv");
SNIPPET(spsel_moves, "mov x2, sp\nmrs x0, spsel\nmsr spsel, #1\nmrs x1, spsel\nmrs x3, sp_el0\nmov x4, #0x1230\n"
                     "msr sp_el0, x4\nmsr spsel, #0\nmov x5, sp\nmov x6, #1\nmsr spsel, x6\nmrs x6, spsel\n"
                     "msr spsel, #0\nmov sp, x2");
SNIPPET(sp_el0_undefined, "mrs x0, sp_el0");
SNIPPET(pan_moves, "msr S0_0_C4_C1_4, xzr\nmrs x0, S3_0_C4_C2_3\nmsr S0_0_C4_C0_4, xzr\nmrs x1, S3_0_C4_C2_3");

static void test_pstate_moves(void) {
    run_code(&c, PSTATE_EL1T | 0x50000000, read_el, 0, 0, 0, 0);
    CHECK_EQ(c.out.x[0], 4);
    CHECK_EQ(c.out.x[1], 0);
    CHECK_EQ(c.out.x[2], 0x3c0);
    CHECK_EQ(c.out.x[3], 0x50000000);
    run_code(&c, PSTATE_EL1H, read_el, 0, 0, 0, 0);
    CHECK_EQ(c.out.x[1], 1);
    run_code(&c, PSTATE_EL1H, daif_moves, 0, 0, 0, 0);
    CHECK_EQ(c.out.x[0], 0);
    CHECK_EQ(c.out.x[1], 0x140);
    CHECK_EQ(c.out.x[2], 0x040);
    CHECK_EQ(c.out.x[3], 0x200);
    CHECK_EQ(c.out.x[4], 0x3c0);
    CHECK_EQ(c.out.spsr & 0x3cf, 0x3c5);
    for (unsigned l = 0; l < ARRAY_LEN(levels); l++) {
        run_code(&c, levels[l], at(levels[l], nzcv_moves), 0, 0, 0, 0);
        CHECK_EQ(c.out.x[0], 0xf0000000);
        CHECK_EQ(c.out.x[1], 0x60000000);
        CHECK_EQ(c.out.x[2], 0x60000000);
        CHECK_EQ(c.out.x[3], 0x80000000);
        CHECK_EQ(c.out.spsr & 0xf0000000, 0x80000000);
    }
    run_code(&c, PSTATE_EL1T, spsel_moves, 0, 0, 0, 0);
    context_expect(&c, VEC_SYNC_SP0, ESR(0x3c, 0x7777), (uint64_t)spsel_moves + 56, PSTATE_EL1T);
    CHECK_EQ(c.out.x[0], 0);
    CHECK_EQ(c.out.x[1], 1);
    CHECK_EQ(c.out.x[3], c.in.sp);
    CHECK_EQ(c.out.x[5], 0x1230);
    CHECK_EQ(c.out.x[6], 1);
    one(PSTATE_EL1T, sp_el0_undefined, ESR_UNKNOWN, 0);
    one(PSTATE_EL0, sp_el0_undefined, ESR_UNKNOWN, 0);
    run_code(&c, PSTATE_EL1H, sp_el0_undefined, 0, 0, 0, 0);
    CHECK_EQ(c.out.x[0], c.in.sp);
}

/* ERET to a state that is none: PSTATE.IL is set, the exception level stays, the next instruction raises EC 0x0e. */
static void test_illegal_return(void) {
    static const uint32_t modes[] = {0x2, 0x3, 0x6, 0x7, 0x8, 0x9, 0xc, 0xd, 0x1};
    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        for (unsigned flags = 0; flags < 16; flags += 3) {
            uint32_t p = modes[i] | 0x3c0 | flags << 28;
            run_code(&c, p, svc_0, 0, 0, 0, 0);
            context_expect(&c, VEC_SYNC, ESR(0x0e, 0), (uint64_t)svc_0, PSTATE_IL | PSTATE_EL1H | flags << 28);
            context_check(&c, 0);
        }
    }
    for (unsigned l = 0; l < ARRAY_LEN(levels); l++)
        one(levels[l] | PSTATE_IL, svc_0, ESR(0x0e, 0), 0);
}

/* --- alignment of PC and SP ------------------------------------------------------------------- */

SNIPPET(branch_x0, "br x0");
SNIPPET(call_x0, "blr x0");
SNIPPET(ret_x0, "ret x0");
SNIPPET(sp_load, "ldr x5, [sp, #16]");

/* What comes first at a misaligned pc: the fault for that, not one of the instruction that lies around it (an access by
 * a misaligned SP), nor one of its page, nor of PSTATE.IL. */
static void test_pc_alignment_first(void) {
    uint64_t sctlr = read_sysreg(sctlr_el1);
    set_sctlr(sctlr | SCTLR_SA | SCTLR_SA0);
    for (unsigned l = 0; l < 2; l++) {
        uint32_t *code = page_alloc();
        const uint64_t places[] = {(uint64_t)at(levels[l], sp_load), (uint64_t)at(levels[l], code), 0x123456780000ul};
        code[0] = svc_0[0];
        code_sync(code, 4);
        for (unsigned round = 0; round < 4; round++) {
            /* QEMU looks for the page first; with the MMU off there is none that is missing. */
            for (unsigned i = 0; i < ARRAY_LEN(places) - (on_qemu() || !(sctlr & 1)); i++) {
                context_init(&c, levels[l] | (round & 1 ? PSTATE_IL : 0), places[i] + 2);
                c.in.sp += round & 2 ? 8 : 0;
                context_run(&c);
                context_expect(&c, VEC_OF(levels[l]), ESR(0x22, 0), places[i] + 2, c.in.spsr);
                CHECK_EQ(c.out.far, places[i] + 2);
                /* A byte that is stored there is no business of that pc, but of the instruction. */
                code[0] = round & 1 ? brk_0[0] : svc_0[0];
                ((volatile uint8_t *)code)[0] ^= 0x20; /* SVC #1, BRK #1 */
                code_sync(code, 4);
                run_code(&c, levels[l], at(levels[l], code), 0, 0, 0, 0);
                CHECK_EQ(c.out.esr, ESR(round & 1 ? 0x3c : 0x15, 1));
            }
        }
    }
    set_sctlr(sctlr);
}

static void test_pc_alignment(void) {
    static const uint32_t *const branches[] = {branch_x0, call_x0, ret_x0};
    for (unsigned l = 0; l < ARRAY_LEN(levels); l++) {
        const void *pc = at(levels[l], svc_0);
        for (unsigned off = 1; off < 4; off++) {
            run_code(&c, levels[l], (const char *)pc + off, 0, 0, 0, 0);
            context_expect(&c, VEC_OF(levels[l]), ESR(0x22, 0), (uint64_t)pc + off, levels[l]);
            CHECK_EQ(c.out.far, (uint64_t)pc + off);
            context_check(&c, 0);
            for (unsigned i = 0; i < ARRAY_LEN(branches); i++) {
                const void *from = at(levels[l], branches[i]);
                run_code(&c, levels[l], from, (uint64_t)pc + off, 0, 0, 0);
                context_expect(&c, VEC_OF(levels[l]), ESR(0x22, 0), (uint64_t)pc + off, levels[l]);
                CHECK_EQ(c.out.far, (uint64_t)pc + off);
                context_check(&c, i == 1 ? 1u << 30 : 0);
                if (i == 1)
                    CHECK_EQ(c.out.x[30], (uint64_t)from + 4);
            }
        }
    }
}

SNIPPET(sp_ldr, "ldr x0, [sp]");
SNIPPET(sp_str_pre, "str x0, [sp, #-16]!");
SNIPPET(sp_ldp_post, "ldp x0, x1, [sp], #16");
SNIPPET(sp_ldrb, "ldrb w0, [sp, #1]");
SNIPPET(sp_ldxr, "ldxr x0, [sp]");
SNIPPET(sp_ldr_reg, "ldr x0, [sp, x1]");
SNIPPET(sp_ld1, "ld1 {v0.16b}, [sp]");
SNIPPET(sp_cas, "cas x0, x1, [sp]");
SNIPPET(sp_add, "add sp, sp, #3\nsub sp, sp, #3\nmov x0, sp");

static void test_sp_alignment(void) {
    static const uint32_t *const forms[] = {sp_ldr,  sp_str_pre, sp_ldp_post, sp_ldrb,
                                            sp_ldxr, sp_ldr_reg, sp_ld1,      sp_cas};
    uint64_t sctlr = read_sysreg(sctlr_el1);
    for (unsigned on = 0; on < 4; on++) {
        set_sctlr((sctlr & ~(SCTLR_SA | SCTLR_SA0)) | (on & 1 ? SCTLR_SA0 : 0) | (on & 2 ? SCTLR_SA : 0));
        for (unsigned l = 0; l < 2; l++) {
            for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
                for (unsigned off = 1; off < 16; off += 7) {
                    const void *pc = at(levels[l], forms[i]);
                    if (!(on & 1u << l) && (i == 4 || i == 7))
                        continue; /* would be a plain alignment fault */
                    context_init(&c, levels[l], (uint64_t)pc);
                    c.in.sp -= 1024 + off;
                    c.in.x[1] = 0;
                    context_run(&c);
                    if (on & 1u << l && on_qemu())
                        continue; /* QEMU does not check */
                    if (on & 1u << l) {
                        context_expect(&c, VEC_OF(levels[l]), ESR(0x26, 0), (uint64_t)pc, levels[l]);
                        context_check(&c, 0);
                    } else {
                        context_expect(&c, VEC_OF(levels[l]), ESR(0x3c, 0x7777), (uint64_t)pc + 4, levels[l]);
                    }
                }
            }
            run_code(&c, levels[l], at(levels[l], sp_add), 0, 0, 0, 0);
            CHECK_EQ(EC(c.out.esr), 0x3c);
            CHECK_EQ(c.out.x[0], c.in.sp);
        }
    }
    set_sctlr(sctlr);
}

/* --- traps ------------------------------------------------------------------------------------ */

SNIPPET(fp_fmov, "fmov d0, x0");
SNIPPET(fp_add, "add v0.4s, v1.4s, v2.4s");
SNIPPET(fp_ldr, "ldr q0, [sp]");
SNIPPET(fp_stp, "stp d0, d1, [sp, #-16]!");
SNIPPET(fp_ld1, "ld1 {v0.4s}, [sp]");
SNIPPET(fp_fpcr, "mrs x0, fpcr");
SNIPPET(fp_fpsr, "msr fpsr, xzr");
SNIPPET(fp_fadd, "fadd s0, s1, s2");
SNIPPET(fp_literal, "ldr d0, .");
SNIPPET(fp_crypto, ".inst 0x4e284820");

static void test_fp_trap(void) {
    static const uint32_t *const forms[] = {fp_fmov, fp_add,  fp_ldr,  fp_stp,     fp_ld1,
                                            fp_fpcr, fp_fpsr, fp_fadd, fp_literal, fp_crypto};
    for (unsigned fpen = 0; fpen < 4; fpen++) {
        write_sysreg(cpacr_el1, FPEN(fpen));
        isb();
        for (unsigned l = 0; l < ARRAY_LEN(levels); l++) {
            bool trapped = fpen == 0 || fpen == 2 || (fpen == 1 && l == 0);
            for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
                const void *pc = at(levels[l], forms[i]);
                context_init(&c, levels[l], (uint64_t)pc);
                c.in.sp -= 512;
                context_run(&c);
                context_expect(&c, VEC_OF(levels[l]), trapped ? ESR(0x07, 0x1e00000) : ESR(0x3c, 0x7777),
                               (uint64_t)pc + (trapped ? 0 : 4), levels[l]);
                context_check(&c, trapped ? 0 : i == 3 ? 1u << 31 : i == 5);
            }
        }
    }
    write_sysreg(cpacr_el1, FPEN(3));
    isb();
}

#define SYS_ISS(op0, op1, crn, crm, op2, rt, read)                                                                     \
    ((uint32_t)((op0) << 20 | (op2) << 17 | (op1) << 14 | (crn) << 10 | (rt) << 5 | (crm) << 1 | (read)))
#define TRAP(name, text) SNIPPET(name, text)
TRAP(t_daif_r, "mrs x9, daif");
TRAP(t_daif_w, "msr daif, x7");
TRAP(t_daifset, "msr daifset, #3");
TRAP(t_daifclr, "msr daifclr, #8");
TRAP(t_ctr, "mrs x30, ctr_el0");
TRAP(t_cvau, "dc cvau, x0");
TRAP(t_cvac, "dc cvac, x1");
TRAP(t_civac, "dc civac, x2");
TRAP(t_ivau, "ic ivau, x3");
TRAP(t_zva, "dc zva, x4");
TRAP(t_cntvct, "mrs x5, cntvct_el0");
TRAP(t_cntpct, "mrs x6, cntpct_el0");
TRAP(t_cntfrq, "mrs x7, cntfrq_el0");
TRAP(t_cntv_ctl, "mrs x8, cntv_ctl_el0");
TRAP(t_cntv_cval_w, "msr cntv_cval_el0, x8");
TRAP(t_cntp_tval, "mrs xzr, cntp_tval_el0");

static const struct {
    const uint32_t *code;
    uint32_t iss;
    uint8_t group; /* 0: UMA, 1: UCT, 2: UCI, 3: DZE, 4: CNTKCTL */
    uint32_t changed;
} traps[] = {
    {t_daif_r, SYS_ISS(3, 3, 4, 2, 1, 9, 1), 0, 1u << 9},  {t_daif_w, SYS_ISS(3, 3, 4, 2, 1, 7, 0), 0, 0},
    {t_daifset, SYS_ISS(0, 3, 4, 3, 6, 31, 0), 0, 0},      {t_daifclr, SYS_ISS(0, 3, 4, 8, 7, 31, 0), 0, 0},
    {t_ctr, SYS_ISS(3, 3, 0, 0, 1, 30, 1), 1, 1u << 30},   {t_cvau, SYS_ISS(1, 3, 7, 11, 1, 0, 0), 2, 0},
    {t_cvac, SYS_ISS(1, 3, 7, 10, 1, 1, 0), 2, 0},         {t_civac, SYS_ISS(1, 3, 7, 14, 1, 2, 0), 2, 0},
    {t_ivau, SYS_ISS(1, 3, 7, 5, 1, 3, 0), 2, 0},          {t_zva, SYS_ISS(1, 3, 7, 4, 1, 4, 0), 3, 0},
    {t_cntvct, SYS_ISS(3, 3, 14, 0, 2, 5, 1), 4, 1u << 5}, {t_cntpct, SYS_ISS(3, 3, 14, 0, 1, 6, 1), 4, 1u << 6},
    {t_cntfrq, SYS_ISS(3, 3, 14, 0, 0, 7, 1), 4, 1u << 7}, {t_cntv_ctl, SYS_ISS(3, 3, 14, 3, 1, 8, 1), 4, 1u << 8},
    {t_cntv_cval_w, SYS_ISS(3, 3, 14, 3, 2, 8, 0), 4, 0},  {t_cntp_tval, SYS_ISS(3, 3, 14, 2, 0, 31, 1), 4, 0},
};

static void test_sysreg_trap(void) {
    static const uint64_t enables[] = {SCTLR_UMA, SCTLR_UCT, SCTLR_UCI, SCTLR_DZE};
    static uint8_t line[512] __attribute__((aligned(256)));
    uint64_t sctlr = read_sysreg(sctlr_el1);
    for (unsigned on = 0; on < 2; on++) {
        for (unsigned i = 0; i < ARRAY_LEN(traps); i++) {
            if (traps[i].group < 4)
                set_sctlr(on ? sctlr | enables[traps[i].group] : sctlr & ~enables[traps[i].group]);
            else
                write_sysreg(cntkctl_el1, on ? 0x303 : 0);
            isb();
            const void *pc = at(PSTATE_EL0, traps[i].code);
            context_init(&c, PSTATE_EL0, (uint64_t)pc);
            for (unsigned r = 0; r < 5; r++)
                c.in.x[r] = (uint64_t)at(PSTATE_EL0, line);
            context_run(&c);
            if (on) {
                context_check(&c, traps[i].changed);
                CHECK_EQ(c.out.esr, ESR(0x3c, 0x7777));
                CHECK_EQ(c.out.elr, (uint64_t)pc + 4);
            } else {
                context_check(&c, 0);
                if (on_qemu() && (traps[i].iss >> 20 & 3) == 0)
                    continue; /* QEMU swaps op1 and op2 for MSR (immediate) */
                context_expect(&c, VEC_SYNC_LOWER, ESR(0x18, traps[i].iss), (uint64_t)pc, PSTATE_EL0);
            }
        }
        set_sctlr(sctlr);
    }
    write_sysreg(cntkctl_el1, 0);
}

SNIPPET(u_sctlr, "mrs x0, sctlr_el1");
SNIPPET(u_vbar, "msr vbar_el1, x0");
SNIPPET(u_tpidrro, "msr tpidrro_el0, x0");
SNIPPET(u_tlbi, "tlbi vmalle1");
SNIPPET(u_ivac, "dc ivac, x0");
SNIPPET(u_at, "at s1e1r, x0");
SNIPPET(u_spsel, "msr spsel, #1");
SNIPPET(u_pan, "msr S0_0_C4_C1_4, xzr");
SNIPPET(u_elr, "mrs x0, elr_el1");
SNIPPET(u_currentel, "mrs x0, currentel");
SNIPPET(u_midr_w, "msr S3_0_C0_C0_0, x0");
SNIPPET(u_unknown, "mrs x0, S3_7_C15_C15_7");
SNIPPET(u_el2, "mrs x0, hcr_el2");
SNIPPET(u_el3, "msr scr_el3, x0");
SNIPPET(tpidr, "msr tpidr_el0, x1\nmrs x0, tpidr_el0\nmrs x2, tpidrro_el0");
SNIPPET(wfi, "wfi");

static void test_sysreg_undefined(void) {
    static const uint32_t *const user[] = {u_sctlr, u_vbar, u_tpidrro,   u_tlbi,   u_ivac,    u_at,  u_spsel,
                                           u_pan,   u_elr,  u_currentel, u_midr_w, u_unknown, u_el2, u_el3};
    static const uint32_t *const kernel[] = {u_midr_w, u_unknown, u_el2, u_el3};
    for (unsigned i = 0; i < ARRAY_LEN(user); i++)
        one(PSTATE_EL0, user[i], ESR_UNKNOWN, 0);
    for (unsigned i = 0; i < ARRAY_LEN(kernel); i++)
        one(PSTATE_EL1H, kernel[i], ESR_UNKNOWN, 0);
    write_sysreg(tpidrro_el0, 0x77);
    run_code(&c, PSTATE_EL0, at(PSTATE_EL0, tpidr), 0, 0x12345678, 0, 0);
    CHECK_EQ(c.out.x[0], 0x12345678);
    CHECK_EQ(c.out.x[2], 0x77);
    uint64_t sctlr = read_sysreg(sctlr_el1);
    set_sctlr(sctlr & ~SCTLR_NTWI);
    one(PSTATE_EL0, wfi, ESR(0x01, 0x1e00000), 0);
    set_sctlr(sctlr);
}

/* --- alignment of data ------------------------------------------------------------------------ */

SNIPPET(a_ldr, "ldr x5, [x0]");
SNIPPET(a_ldrh, "ldrsh x5, [x0]");
SNIPPET(a_str, "str w5, [x0]");
SNIPPET(a_ldp, "ldp x5, x6, [x0]");
SNIPPET(a_stp, "stp w5, w6, [x0], #8");
SNIPPET(a_ldr_pre, "ldr x5, [x0, #0]!");
SNIPPET(a_ldrq, "ldr q0, [x0]");
SNIPPET(a_ld1, "ld1 {v0.2d}, [x0]");
SNIPPET(a_ld1b, "ld1 {v0.16b}, [x0]");
SNIPPET(a_ldrb, "ldrb w5, [x0]");
SNIPPET(a_ldxr, "ldxr x5, [x0]");
SNIPPET(a_ldaxr, "ldaxr w5, [x0]");
SNIPPET(a_ldxp, "ldxp x5, x6, [x0]");
SNIPPET(a_ldar, "ldar x5, [x0]");
SNIPPET(a_stlr, "stlr x5, [x0]");
SNIPPET(a_ldadd, "ldadd x5, x6, [x0]");
SNIPPET(a_swp, "swpal w5, w6, [x0]");
SNIPPET(a_cas, "cas x5, x6, [x0]");
SNIPPET(a_casp, "casp x6, x7, x8, x9, [x0]");

enum { A_PLAIN = 1, A_ATOMIC = 2, A_NEVER = 4, A_WRITE = 8 };
static const struct {
    const uint32_t *code;
    uint8_t kind, off; /* off: misaligned, and crossing 16 bytes for the atomic ones (FEAT_LSE2) */
} aligned[] = {
    {a_ldr, A_PLAIN, 4},     {a_ldrh, A_PLAIN, 1},          {a_str, A_PLAIN | A_WRITE, 2},
    {a_ldp, A_PLAIN, 4},     {a_stp, A_PLAIN | A_WRITE, 1}, {a_ldr_pre, A_PLAIN, 7},
    {a_ldrq, A_PLAIN, 8},    {a_ld1, A_PLAIN, 4},           {a_ld1b, A_NEVER, 3},
    {a_ldrb, A_NEVER, 1},    {a_ldxr, A_ATOMIC, 12},        {a_ldaxr, A_ATOMIC, 13},
    {a_ldxp, A_ATOMIC, 8},   {a_ldar, A_ATOMIC, 12},        {a_stlr, A_ATOMIC | A_WRITE, 9},
    {a_ldadd, A_ATOMIC, 12}, {a_swp, A_ATOMIC, 14},         {a_cas, A_ATOMIC, 9},
    {a_casp, A_ATOMIC, 8},
};
static uint8_t bytes[4096] __attribute__((aligned(4096)));

/* check_alignment(): every form at every level, on the given memory; strict: plain accesses fault, too. */
static void check_alignment(int line, uint64_t address, bool strict) {
    for (unsigned l = 0; l < ARRAY_LEN(levels); l++) {
        for (unsigned i = 0; i < ARRAY_LEN(aligned); i++) {
            const void *pc = at(levels[l], aligned[i].code);
            uint64_t a = address + ((levels[l] & 12) || !(read_sysreg(sctlr_el1) & 1) ? 0 : USER_BASE) + aligned[i].off;
            run_code(&c, levels[l], pc, a, 0, 0, 0);
            bool faults = (aligned[i].kind & A_ATOMIC) || ((aligned[i].kind & A_PLAIN) && strict);
            if (!faults) {
                CHECK_EQ(c.out.esr, ESR(0x3c, 0x7777));
                continue;
            }
            if (on_qemu() && (aligned[i].kind & (A_ATOMIC | A_WRITE)) == A_ATOMIC)
                c.out.esr &= ~0x40ul; /* QEMU says write for what reads first */
            context_expect_at(__FILE__, line, &c, VEC_OF(levels[l]),
                              ESR(l ? 0x25 : 0x24, (aligned[i].kind & A_WRITE ? 0x40 : 0) | 0x21), (uint64_t)pc,
                              levels[l]);
            if (c.out.far != a)
                test_fail(__FILE__, line, "FAR_EL1", c.out.far, a);
            context_check_at(__FILE__, line, &c, 0);
        }
    }
}

static void test_data_alignment(void) {
    uint64_t sctlr = read_sysreg(sctlr_el1);
    check_alignment(__LINE__, (uint64_t)bytes, false);
    set_sctlr(sctlr | SCTLR_A);
    check_alignment(__LINE__, (uint64_t)bytes, true);
    set_sctlr(sctlr);
}

static void test_mmu_off_alignment(void) { check_alignment(__LINE__, (uint64_t)bytes, true); }

static void test_device_alignment(void) {
    uint64_t va = 0x10000000000ul;
    mmu_map(mmu_root0(), va, (uint64_t)bytes, PTE_RW | PTE_ATTR_DEVICE);
    mmu_map(mmu_root0(), va + USER_BASE, (uint64_t)bytes, PTE_RW | PTE_ATTR_DEVICE | PTE_AP_EL0);
    isb();
    for (unsigned i = 0; i < ARRAY_LEN(aligned); i++) {
        if (aligned[i].kind & (A_NEVER | A_ATOMIC))
            continue;
        if (on_qemu())
            continue; /* with FEAT_LSE2 it does not check */
        run_code(&c, PSTATE_EL1H, aligned[i].code, va + aligned[i].off, 0, 0, 0);
        context_expect(&c, VEC_SYNC, ESR(0x25, (aligned[i].kind & A_WRITE ? 0x40 : 0) | 0x21),
                       (uint64_t)aligned[i].code, PSTATE_EL1H);
        CHECK_EQ(c.out.far, va + aligned[i].off);
        context_check(&c, 0);
        run_code(&c, PSTATE_EL0, USER(aligned[i].code), va + USER_BASE + aligned[i].off, 0, 0, 0);
        CHECK_EQ(c.out.esr, ESR(0x24, (aligned[i].kind & A_WRITE ? 0x40 : 0) | 0x21));
        run_code(&c, PSTATE_EL1H, aligned[i].code, va, 0, 0, 0);
        CHECK_EQ(c.out.esr, ESR(0x3c, 0x7777));
    }
}

/* --- state ------------------------------------------------------------------------------------ */

static uint64_t vector_in[64], vector_out[64];
#define EACH_PAIR(op, base)                                                                                            \
    op " q0, q1, [" base "]\n" op " q2, q3, [" base ", #32]\n" op " q4, q5, [" base ", #64]\n" op " q6, q7, [" base    \
       ", #96]\n" op " q8, q9, [" base ", #128]\n" op " q10, q11, [" base ", #160]\n" op " q12, q13, [" base           \
       ", #192]\n" op " q14, q15, [" base ", #224]\n" op " q16, q17, [" base ", #256]\n" op " q18, q19, [" base        \
       ", #288]\n" op " q20, q21, [" base ", #320]\n" op " q22, q23, [" base ", #352]\n" op " q24, q25, [" base        \
       ", #384]\n" op " q26, q27, [" base ", #416]\n" op " q28, q29, [" base ", #448]\n" op " q30, q31, [" base        \
       ", #480]\n"
SNIPPET(load_all_and_fault, EACH_PAIR("ldp", "x0") "msr fpcr, x1\nmsr fpsr, x2\nldr x5, [x3]");
SNIPPET(store_all, EACH_PAIR("stp", "x0") "mrs x1, fpcr\nmrs x2, fpsr");

static void test_vectors_preserved(void) {
    for (unsigned i = 0; i < 64; i++)
        vector_in[i] = 0x9e3779b97f4a7c15ul * (i + 1);
    for (unsigned l = 0; l < ARRAY_LEN(levels); l++) {
        memset(vector_out, 0, sizeof(vector_out));
        run_code(&c, levels[l], at(levels[l], load_all_and_fault), (uint64_t)at(levels[l], vector_in), 0x02c00000,
                 0x0800009f, 0xffff000000000000ul);
        CHECK_EQ(EC(c.out.esr), l ? 0x25 : 0x24);
        one(levels[l], svc_0, ESR(0x15, 0), 4);
        one(levels[l], brk_0, ESR(0x3c, 0), 0);
        unsigned other = (l + 1) % ARRAY_LEN(levels);
        run_code(&c, levels[other], at(levels[other], store_all), (uint64_t)at(levels[other], vector_out), 0, 0, 0);
        CHECK_EQ(c.out.x[1], 0x02c00000);
        CHECK_EQ(c.out.x[2], 0x0800009f);
        for (unsigned i = 0; i < 64; i++)
            CHECK_EQ(vector_out[i], vector_in[i]);
    }
    __asm__ volatile("msr fpcr, xzr\nmsr fpsr, xzr");
}

/* Registers and flags that change right before a fault are exact at it, and nothing after it has happened. */
SNIPPET(changes,
        "add x1, x1, #1\nadds x2, x2, x1\nmov x3, x2\nsub x4, x4, #5\nmul x5, x4, x3\neor x6, x5, x4, lsl #3\n"
        "add x7, x6, w5, sxtw\nmov x8, #8\nmov x9, #9\nmov x10, x8\nmov x11, x9\nadd x12, x10, x11\nadd x13, x12, x12\n"
        "add x14, x13, x12\nneg x15, x14\nmvn x16, x15\nrbit x17, x16\nrev x18, x17\nclz x19, x18\nadd x20, x19, #1\n"
        "add x21, x20, #1\nadd x22, x21, #1\nadd x23, x22, #1\nadd x24, x23, #1\nadd x25, x24, #1\nadd x26, x25, #1\n"
        "add x27, x26, #1\nadd x28, x27, #1\nadd x29, x28, #1\nadd x30, x29, #1\nadd sp, sp, #32\n"
        "subs xzr, x20, x21\nldr x28, [x0]\nadds x1, x1, #7\nmov x20, #0\nadds x21, x21, #1");

static void test_exact_state(void) {
    for (unsigned l = 0; l < ARRAY_LEN(levels) - 1; l++) {
        const void *pc = at(levels[l], changes);
        context_init(&c, levels[l], (uint64_t)pc);
        c.in.x[0] = 0xffff123456789000ul;
        c.in.x[1] = 41;
        c.in.x[2] = 100;
        c.in.x[4] = 12;
        struct context want = c;
        uint64_t *x = want.in.x;
        x[1] = 42, x[2] = 142, x[3] = 142, x[4] = 7, x[5] = 994, x[6] = 994 ^ 56, x[7] = x[6] + 994, x[8] = 8, x[9] = 9;
        x[10] = 8, x[11] = 9, x[12] = 17, x[13] = 34, x[14] = 51, x[15] = -51ul, x[16] = 50;
        x[17] = 0x4c00000000000000ul, x[18] = 0x4c, x[19] = 57;
        for (unsigned i = 20; i < 31; i++)
            x[i] = x[i - 1] + 1;
        want.in.sp += 32;
        context_run(&c);
        want.out = c.out;
        want.vector = c.vector;
        context_expect(&c, VEC_OF(levels[l]), ESR(l ? 0x25 : 0x24, 4), (uint64_t)pc + 4 * 32, levels[l] | 0x80000000);
        CHECK_EQ(c.out.far, 0xffff123456789000ul);
        context_check(&want, 0);
    }
}

/* Flags at a fault in the second round of a loop, which sets them again before it reads them. */
SNIPPET(loop_and_fault, "1: ldr x5, [x0]\nadd x0, x0, x2\nsubs x1, x1, #1\nb.ne 1b");
SNIPPET(loop_and_fault_anew, "1: add x1, x1, #3\nldr x5, [x0]\nadd x0, x0, x2\nsubs x1, x1, #1\nb.ne 1b");
/* The same behind a branch inside, and in what one skips in the first round. */
SNIPPET(loop_and_fault_behind, "1: tbnz x1, #0, 2f\nadd x0, x0, x2\n2: ldr x5, [x0]\nsubs x1, x1, #1\nb.ne 1b");
SNIPPET(loop_and_fault_inside, "1: tbnz x1, #0, 2f\nldr x5, [x0, x2]\n2: subs x1, x1, #1\nb.ne 1b");

static void one_loop(uint64_t level, bool lower, const void *pc, unsigned offset, uint64_t count) {
    context_init(&c, level, (uint64_t)pc);
    c.in.x[0] = (uint64_t)at(level, vector_in);
    c.in.x[1] = count;
    c.in.x[2] = 0xffff123456789000ul - c.in.x[0];
    context_run(&c);
    context_expect(&c, VEC_OF(level), ESR(lower ? 0x24 : 0x25, 4), (uint64_t)pc + offset, level | 0xa0000000);
}

static void test_exact_flags(void) {
    for (unsigned l = 0; l < ARRAY_LEN(levels) - 1; l++) {
        for (unsigned i = 0; i < 40; i++) { /* linked and not */
            one_loop(levels[l], !l, at(levels[l], loop_and_fault), 0, -4ul);
            one_loop(levels[l], !l, at(levels[l], loop_and_fault_anew), 4, -7ul);
            one_loop(levels[l], !l, at(levels[l], loop_and_fault_behind), 8, -3ul);
            one_loop(levels[l], !l, at(levels[l], loop_and_fault_inside), 4, -3ul);
        }
    }
}

TESTS({"generating", test_generating}, {"eret pstate", test_eret_pstate}, {"illegal return", test_illegal_return},
      {"pc alignment", test_pc_alignment}, {"fp trap", test_fp_trap}, {"mmu off: alignment", test_mmu_off_alignment},
      {"mmu off: sysreg trap", test_sysreg_trap}, {"mmu on", start_mmu}, {"generating again", test_generating},
      {"undefined", test_undefined}, {"eret pstate again", test_eret_pstate}, {"entry pstate", test_entry_pstate},
      {"pstate moves", test_pstate_moves}, {"illegal return again", test_illegal_return},
      {"pc alignment again", test_pc_alignment}, {"pc alignment first", test_pc_alignment_first},
      {"sp alignment", test_sp_alignment}, {"fp trap again", test_fp_trap}, {"sysreg trap", test_sysreg_trap},
      {"sysreg undefined", test_sysreg_undefined}, {"data alignment", test_data_alignment},
      {"device alignment", test_device_alignment}, {"vectors preserved", test_vectors_preserved},
      {"exact state", test_exact_state}, {"exact flags", test_exact_flags});
