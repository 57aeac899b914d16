/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* sysregs.c: system registers: what reads at EL1, what sticks, what the ID registers promise, what is undefined. */
#include "gic.h"

#define ESR_UNKNOWN 0x02000000ul
#define ESR_DONE 0xf2007777ul
#define FIELD(v, low) ((v) >> (low) & 15)

static struct context c;

/* --- generated accesses: mrs x0, <key>; brk and msr <key>, x0; brk ---------------------------- */

static uint32_t code[2] __attribute__((aligned(16)));
#define KEY(op0, op1, crn, crm, op2) ((op0) << 19 | (op1) << 16 | (crn) << 12 | (crm) << 8 | (op2) << 5)

static uint64_t run_access(uint32_t pstate, bool read, uint32_t key, uint64_t value) {
    code[0] = (read ? 0xd5200000u : 0xd5000000u) | key;
    code[1] = 0xd42eeee0;
    code_sync(code, 8);
    bool user = !(pstate & 12) && (read_sysreg(sctlr_el1) & 1);
    run_code(&c, pstate, user ? USER(code) : code, value, 1, 2, 3);
    CHECK_EQ(c.out.elr & ~USER_BASE, (uint64_t)code + (c.out.esr == ESR_DONE ? 4 : 0));
    context_check(&c, read && c.out.esr == ESR_DONE ? 1 : 0);
    return c.out.esr;
}

static void name_key(uint32_t key) {
    print("  S");
    print_dec(key >> 19 & 3);
    print("_");
    print_dec(key >> 16 & 7);
    print("_C");
    print_dec(key >> 12 & 15);
    print("_C");
    print_dec(key >> 8 & 15);
    print("_");
    print_dec(key >> 5 & 7);
    print(" ESR ");
    print_hex(c.out.esr);
    print("\n");
}

/* --- reset ------------------------------------------------------------------------------------ */

static void test_reset(void) {
    CHECK_EQ(read_sysreg(currentel), 4);
    CHECK_EQ(read_sysreg(daif), 0x3c0);
    CHECK_EQ(read_sysreg(spsel), 1);
    CHECK_EQ(read_sysreg(S3_0_C4_C2_3), 0);
    CHECK_EQ(read_sysreg(sctlr_el1) & 0x1005, 0);
    CHECK_EQ(read_sysreg(cntv_ctl_el0) & 3, 0);
    CHECK_EQ(read_sysreg(cntp_ctl_el0) & 3, 0);
    CHECK_EQ(read_sysreg(mdscr_el1), 0);
    CHECK_EQ(read_sysreg(oslsr_el1), 0xa); /* the OS lock is set */
    write_sysreg(oslar_el1, 0);
    CHECK_EQ(read_sysreg(oslsr_el1), 8);
    write_sysreg(oslar_el1, 1);
    CHECK_EQ(read_sysreg(oslsr_el1), 0xa);
    write_sysreg(oslar_el1, 0);
    CHECK_EQ(read_sysreg(isr_el1), 0);
    CHECK_EQ(read_sysreg(mpidr_el1) & 0xff80ffffff, 0x80000000);
    CHECK_EQ(read_sysreg(fpcr), 0);
}

/* --- what Linux reads ------------------------------------------------------------------------- */

/* clang-format off */
#define READS(X) \
    X(midr_el1) X(mpidr_el1) X(revidr_el1) X(aidr_el1) X(ctr_el0) X(dczid_el0) X(clidr_el1) X(csselr_el1) \
    X(ccsidr_el1) X(id_aa64pfr0_el1) X(id_aa64pfr1_el1) X(id_aa64dfr0_el1) X(id_aa64dfr1_el1) \
    X(id_aa64isar0_el1) X(id_aa64isar1_el1) X(id_aa64mmfr0_el1) X(id_aa64mmfr1_el1) X(id_aa64mmfr2_el1) \
    X(id_aa64afr0_el1) X(id_aa64afr1_el1) X(id_pfr0_el1) X(id_pfr1_el1) X(id_dfr0_el1) X(id_mmfr0_el1) \
    X(id_mmfr3_el1) X(id_isar0_el1) X(id_isar5_el1) X(mvfr0_el1) X(mvfr1_el1) X(mvfr2_el1) X(sctlr_el1) \
    X(actlr_el1) X(cpacr_el1) X(ttbr0_el1) X(ttbr1_el1) X(tcr_el1) X(mair_el1) X(amair_el1) X(afsr0_el1) \
    X(afsr1_el1) X(esr_el1) X(far_el1) X(par_el1) X(vbar_el1) X(isr_el1) X(contextidr_el1) X(elr_el1) \
    X(spsr_el1) X(sp_el0) X(tpidr_el0) X(tpidrro_el0) X(tpidr_el1) X(cntkctl_el1) X(cntfrq_el0) X(cntvct_el0) \
    X(cntpct_el0) X(cntv_ctl_el0) X(cntv_cval_el0) X(cntv_tval_el0) X(cntp_ctl_el0) X(cntp_cval_el0) \
    X(cntp_tval_el0) X(mdscr_el1) X(oslsr_el1) X(osdlr_el1) X(dbgbvr0_el1) X(dbgbcr0_el1) X(dbgwvr0_el1) \
    X(dbgwcr0_el1) X(mdccsr_el0) X(mdrar_el1) X(nzcv) X(daif) X(currentel) X(spsel) X(fpcr) X(fpsr) X(rvbar_el1) \
    X(S3_0_C0_C4_4) X(S3_0_C0_C6_2) X(S3_0_C0_C7_3)
/* clang-format on */
#define READ(r)                                                                                                        \
    {                                                                                                                  \
        caught = 0;                                                                                                    \
        (void)read_sysreg(r);                                                                                          \
        if (caught)                                                                                                    \
            test_fail(__FILE__, __LINE__, "mrs " #r, caught_frame.esr, 0);                                             \
    }

static void test_reads(void) {
    exception_handler = catch_and_skip;
    READS(READ)
    caught = 0;
    /* the whole ID space reads, zero where nothing is defined */
    for (unsigned crm = 1; crm < 8; crm++)
        for (unsigned op2 = 0; op2 < 8; op2++)
            if (run_access(PSTATE_EL1H, true, KEY(3, 0, 0, crm, op2), 0) != ESR_DONE) {
                CHECK_EQ(c.out.esr, ESR_DONE);
                name_key(KEY(3, 0, 0, crm, op2));
            }
}

/* --- what sticks ------------------------------------------------------------------------------ */

#define STICKS(r, mask)                                                                                                \
    {                                                                                                                  \
        uint64_t old_ = read_sysreg(r);                                                                                \
        static const uint64_t patterns_[] = {~0ul, 0xaaaaaaaaaaaaaaaa, 0x123456789abcdef0, 0};                         \
        for (unsigned i_ = 0; i_ < ARRAY_LEN(patterns_); i_++) {                                                       \
            write_sysreg(r, patterns_[i_] & (mask));                                                                   \
            isb();                                                                                                     \
            uint64_t got_ = read_sysreg(r);                                                                            \
            if (got_ != (patterns_[i_] & (mask)))                                                                      \
                test_fail(__FILE__, __LINE__, #r, got_, patterns_[i_] & (mask));                                       \
        }                                                                                                              \
        write_sysreg(r, old_);                                                                                         \
        isb();                                                                                                         \
    }

static void test_sticks(void) {
    uint64_t all = ~0ul;
    STICKS(tpidr_el0, all)
    STICKS(tpidrro_el0, all)
    STICKS(sp_el0, all)
    STICKS(far_el1, all)
    STICKS(elr_el1, all)
    STICKS(mair_el1, all)
    STICKS(cntv_cval_el0, all)
    STICKS(cntp_cval_el0, all)
    STICKS(contextidr_el1, 0xffffffff)
    STICKS(esr_el1, 0xffffffff)
    STICKS(spsr_el1, 0xf03003df)
    STICKS(ttbr0_el1, 0xfffffffffffffffe & ~0xffful)
    STICKS(ttbr1_el1, 0xfffffffffffffffe & ~0xffful)
    STICKS(par_el1, 0xff00fffffffff001)
    STICKS(cntkctl_el1, 0x3ff)
    STICKS(cpacr_el1, 3ul << 20)
    STICKS(mdscr_el1, 1ul << 12 | 1ul << 15)
    STICKS(csselr_el1, 7)
    STICKS(dbgbvr0_el1, 0x0000fffffffffffc)
    STICKS(dbgwvr0_el1, 0x0000fffffffffffc)
    uint64_t vbar = read_sysreg(vbar_el1);
    write_sysreg(vbar_el1, 0xffff123456789800);
    CHECK_EQ(read_sysreg(vbar_el1), 0xffff123456789800);
    write_sysreg(vbar_el1, vbar);
    isb();
    static const uint64_t tcrs[] = {TCR_ON, TCR_ON | 3ul << 37, 0x00000034b5193519, 0};
    for (unsigned i = 0; i < ARRAY_LEN(tcrs); i++) {
        write_sysreg(tcr_el1, tcrs[i]);
        CHECK_EQ(read_sysreg(tcr_el1), tcrs[i]);
    }
    static const uint64_t sctlrs[] = {SCTLR_OFF, SCTLR_OFF | 1 << 2, SCTLR_OFF | 1 << 12, 0x34f4d9b8 & ~1ul};
    for (unsigned i = 0; i < ARRAY_LEN(sctlrs); i++) {
        write_sysreg(sctlr_el1, sctlrs[i]);
        isb();
        CHECK_EQ(read_sysreg(sctlr_el1), sctlrs[i]);
    }
    write_sysreg(sctlr_el1, SCTLR_OFF);
    isb();
    __asm__ volatile("msr nzcv, %0" : : "r"(~0ul));
    CHECK_EQ(read_sysreg(nzcv), 0xf0000000);
    write_sysreg(fpsr, ~0ul);
    CHECK_EQ(read_sysreg(fpsr) & 0x0800009f, 0x0800009f);
    write_sysreg(fpsr, 0);
    CHECK_EQ(read_sysreg(fpsr), 0);
    write_sysreg(fpcr, 0x07c00000);
    CHECK_EQ(read_sysreg(fpcr), 0x07c00000);
    write_sysreg(fpcr, 0x00009f00); /* trapped exceptions are not supported */
    CHECK_EQ(read_sysreg(fpcr), 0);
}

/* --- ID registers ----------------------------------------------------------------------------- */

static void test_ids(void) {
    uint64_t pfr0 = read_sysreg(id_aa64pfr0_el1), isar0 = read_sysreg(id_aa64isar0_el1),
             mmfr0 = read_sysreg(id_aa64mmfr0_el1);
    uint64_t ctr = read_sysreg(ctr_el0);
    CHECK(FIELD(pfr0, 0) >= 1);
    CHECK(FIELD(pfr0, 4) >= 1);
    CHECK_EQ(FIELD(pfr0, 8), 0); /* no EL2, no EL3 */
    CHECK_EQ(FIELD(pfr0, 12), 0);
    CHECK(FIELD(pfr0, 16) != 15);
    CHECK_EQ(FIELD(pfr0, 16), FIELD(pfr0, 20));
    CHECK(FIELD(pfr0, 60) >= 1); /* CSV3 */
    CHECK_EQ(FIELD(isar0, 4), 2);
    CHECK_EQ(FIELD(isar0, 8), 1);
    CHECK(FIELD(isar0, 12) >= 1);
    CHECK_EQ(FIELD(isar0, 16), 1);
    CHECK_EQ(FIELD(isar0, 20), 2);
    CHECK_EQ(FIELD(isar0, 28), 1);
    CHECK_EQ(FIELD(mmfr0, 4), 2);                         /* 16-bit ASIDs */
    CHECK(FIELD(mmfr0, 28) < 8);                          /* 4 KiB granule */
    CHECK(FIELD(read_sysreg(id_aa64mmfr1_el1), 20) >= 1); /* PAN */
    CHECK_EQ(ctr >> 31, 1);
    CHECK_EQ(ctr >> 28 & 3, on_qemu() ? ctr >> 28 & 3 : 0); /* IDC, DIC */
    CHECK((ctr & 15) >= 2);
    CHECK((ctr >> 16 & 15) >= 2);
    CHECK_EQ(read_sysreg(dczid_el0) & 15, 4); /* 64 bytes */
    CHECK_EQ(FIELD(read_sysreg(id_aa64dfr0_el1), 0) >= 6, 1);
    if (on_qemu())
        return;
    /* nothing that this machine cannot do */
    CHECK_EQ(isar0 & ~0x10211120ul & ~(1ul << 28), 0);
    CHECK_EQ(read_sysreg(id_aa64isar1_el1), 0);
    CHECK_EQ(read_sysreg(S3_0_C0_C6_2), 0);
    CHECK_EQ(read_sysreg(id_aa64pfr1_el1), 0);
    CHECK_EQ(read_sysreg(S3_0_C0_C4_4), 0); /* SVE */
    CHECK_EQ(FIELD(pfr0, 32), 0);
    CHECK_EQ(FIELD(read_sysreg(id_aa64mmfr1_el1), 0), 0); /* no hardware access flag */
    CHECK_EQ(FIELD(read_sysreg(id_aa64dfr0_el1), 8), 1);  /* PMUv3 */
    CHECK_EQ(FIELD(mmfr0, 24), 15);                       /* no 64 KiB, no 16 KiB granule */
    CHECK_EQ(FIELD(mmfr0, 20), 0);
}

static void test_caches(void) {
    uint64_t clidr = read_sysreg(clidr_el1);
    for (unsigned level = 0; level < 7; level++) {
        unsigned type = clidr >> 3 * level & 7;
        for (unsigned insn = 0; insn < 2; insn++) {
            if (type == 0 || (insn && type == 4) || (insn && !(type & 1)) || (!insn && type == 1))
                continue;
            write_sysreg(csselr_el1, level << 1 | insn);
            isb();
            uint64_t ccsidr = read_sysreg(ccsidr_el1);
            CHECK(ccsidr != 0);
            CHECK((ccsidr & 7) + 4 >= 4 && (ccsidr & 7) + 4 <= 8);
        }
    }
    write_sysreg(csselr_el1, 0);
}

/* --- what is not there ------------------------------------------------------------------------ */

static bool counts_as_undefined(uint64_t esr) {
    /* QEMU's max has FEAT_IDST, SVE and SME with traps of their own */
    return esr == ESR_UNKNOWN || (on_qemu() && (EC(esr) == 0x18 || EC(esr) == 0x19 || EC(esr) == 0x1d));
}

/* EL1 reads everything: an encoding either gives a value or is undefined, and those of EL2 and EL3 are undefined. */
static void test_scan_el1(void) {
    exception_handler = NULL;
    unsigned readable = 0, wrong = 0;
    for (uint32_t op0 = 2; op0 < 4; op0++)
        for (uint32_t key = KEY(op0, 0, 0, 0, 0); key < KEY(op0 + 1, 0, 0, 0, 0); key += 32) {
            uint64_t esr = run_access(PSTATE_EL1H, true, key, 0);
            uint32_t op1 = key >> 16 & 7;
            readable += esr == ESR_DONE;
            bool ok = esr == ESR_DONE || counts_as_undefined(esr);
            if (op0 == 3 && op1 >= 4)
                ok = counts_as_undefined(esr);
            if (!ok && wrong++ < 20) {
                CHECK(ok);
                name_key(key);
            }
        }
    CHECK(readable > 80);
    CHECK_EQ(wrong, 0);
}

/* EL0 reads nothing of EL1; what it may read has op1 = 3. */
static void test_scan_el0(void) {
    unsigned wrong = 0;
    for (uint32_t key = KEY(3, 0, 0, 0, 0); key < KEY(4, 0, 0, 0, 0); key += 32) {
        uint64_t esr = run_access(PSTATE_EL0, true, key, 0);
        uint32_t op1 = key >> 16 & 7;
        bool trapped = counts_as_undefined(esr) || EC(esr) == 0x18;
        if (op1 == 3 ? !trapped && esr != ESR_DONE : !trapped) {
            if (wrong++ < 20) {
                CHECK_EQ(esr, ESR_UNKNOWN);
                name_key(key);
            }
        }
    }
    /* and writes nothing */
    for (uint32_t key = KEY(3, 0, 0, 0, 0); key < KEY(4, 0, 0, 0, 0); key += 32) {
        if ((key >> 16 & 7) == 3)
            continue;
        uint64_t esr = run_access(PSTATE_EL0, false, key, ~0ul);
        if (!counts_as_undefined(esr) && EC(esr) != 0x18 && wrong++ < 20) {
            CHECK_EQ(esr, ESR_UNKNOWN);
            name_key(key);
        }
    }
    CHECK_EQ(wrong, 0);
}

/* Read-only registers cannot be written, write-only ones not be read. */
static void test_directions(void) {
    static const uint32_t read_only[] = {
        KEY(3, 0, 0, 0, 0) /* MIDR */,    KEY(3, 0, 0, 0, 5) /* MPIDR */,   KEY(3, 0, 0, 4, 0) /* ID_AA64PFR0 */,
        KEY(3, 0, 12, 1, 0) /* ISR */,    KEY(3, 3, 0, 0, 1) /* CTR */,     KEY(3, 3, 0, 0, 7) /* DCZID */,
        KEY(3, 3, 14, 0, 2) /* CNTVCT */, KEY(3, 3, 14, 0, 1) /* CNTPCT */, KEY(3, 0, 4, 2, 2) /* CurrentEL */,
        KEY(2, 0, 1, 1, 4) /* OSLSR */,   KEY(3, 1, 0, 0, 1) /* CLIDR */,   KEY(3, 1, 0, 0, 0) /* CCSIDR */};
    for (unsigned i = 0; i < ARRAY_LEN(read_only); i++) {
        CHECK_EQ(run_access(PSTATE_EL1H, true, read_only[i], 0), ESR_DONE);
        CHECK_EQ(run_access(PSTATE_EL1H, false, read_only[i], 0), ESR_UNKNOWN);
    }
    CHECK_EQ(run_access(PSTATE_EL1H, true, KEY(2, 0, 1, 0, 4), 0), ESR_UNKNOWN); /* OSLAR */
    /* SYS instructions: known ones work, unknown ones are undefined */
    CHECK_EQ(run_access(PSTATE_EL1H, false, KEY(1, 0, 8, 7, 0), 0), ESR_DONE);    /* TLBI VMALLE1 */
    CHECK_EQ(run_access(PSTATE_EL1H, false, KEY(1, 4, 8, 7, 0), 0), ESR_UNKNOWN); /* TLBI ALLE2 */
    CHECK_EQ(run_access(PSTATE_EL1H, false, KEY(1, 6, 8, 7, 0), 0), ESR_UNKNOWN); /* TLBI ALLE3 */
    CHECK_EQ(run_access(PSTATE_EL1H, false, KEY(1, 0, 7, 9, 7), 0), ESR_UNKNOWN);
    CHECK_EQ(run_access(PSTATE_EL1H, true, KEY(1, 0, 7, 15, 7), 0), ESR_UNKNOWN); /* SYSL */
}

static void start(void) {
    mmu_on();
    mmu_user_alias();
}

TESTS({"reset", test_reset}, {"reads", test_reads}, {"sticks", test_sticks}, {"ids", test_ids}, {"caches", test_caches},
      {"directions", test_directions}, {"scan el1", test_scan_el1}, {"start", start}, {"scan el0", test_scan_el0});
