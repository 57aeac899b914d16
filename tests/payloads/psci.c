/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* psci.c: PSCI calls through HVC that need no second CPU to run (smp.c has those that do). */
/* options: smp=2 */
#include "gic.h"

#define PSCI(n) (0x84000000u | (n))
#define PSCI64(n) (0xc4000000u | (n))
enum {
    VERSION = 0,
    CPU_SUSPEND = 1,
    CPU_OFF = 2,
    CPU_ON = 3,
    AFFINITY_INFO = 4,
    MIGRATE_INFO_TYPE = 6,
    SYSTEM_OFF = 8,
    SYSTEM_RESET = 9,
    FEATURES = 10
};
#define NOT_SUPPORTED (-1)
#define INVALID_PARAMETERS (-2)
#define ALREADY_ON (-4)

SNIPPET(hvc, "hvc #0");
SNIPPET(smc, "smc #0");
static struct context c;

/* call(): like psci(), and every register but x0 must be as before. */
static int64_t call(uint32_t function, uint64_t a, uint64_t b, uint64_t d) {
    run_code(&c, PSTATE_EL1T | 0x90000000, hvc, function, a, b, d);
    context_expect(&c, VEC_SYNC_SP0, 0xf2007777, (uint64_t)hvc + 4, PSTATE_EL1T | 0x90000000);
    context_check(&c, 1);
    return (int64_t)c.out.x[0];
}

static void test_version(void) {
    int64_t v = call(PSCI(VERSION), 0, 0, 0);
    CHECK_EQ(v >> 16, 1);
    CHECK_EQ(call(PSCI(MIGRATE_INFO_TYPE), 0, 0, 0), 2); /* no trusted OS, or none that minds */
}

static void test_features(void) {
    static const uint32_t there[] = {PSCI(VERSION),       PSCI(CPU_SUSPEND),     PSCI64(CPU_SUSPEND),
                                     PSCI(CPU_OFF),       PSCI(CPU_ON),          PSCI64(CPU_ON),
                                     PSCI(AFFINITY_INFO), PSCI64(AFFINITY_INFO), PSCI(MIGRATE_INFO_TYPE),
                                     PSCI(SYSTEM_OFF),    PSCI(SYSTEM_RESET),    PSCI(FEATURES)};
    for (unsigned i = 0; i < ARRAY_LEN(there); i++)
        CHECK_EQ(call(PSCI(FEATURES), there[i], 0, 0), 0);
    static const uint32_t not_there[] = {PSCI(31), PSCI64(0x30), 0x12345678, 0, 0x84000100};
    for (unsigned i = 0; i < ARRAY_LEN(not_there); i++)
        CHECK_EQ(call(PSCI(FEATURES), not_there[i], 0, 0), NOT_SUPPORTED);
}

static void test_affinity(void) {
    static const uint32_t forms[] = {PSCI(AFFINITY_INFO), PSCI64(AFFINITY_INFO)};
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(call(forms[i], 0, 0, 0), 0);
        CHECK_EQ(call(forms[i], 1, 0, 0), 1);
        CHECK_EQ(call(forms[i], 2, 0, 0), INVALID_PARAMETERS);
        CHECK_EQ(call(forms[i], 0x100, 0, 0), INVALID_PARAMETERS);
    }
    CHECK_EQ(call(PSCI64(AFFINITY_INFO), 1ul << 32, 0, 0), INVALID_PARAMETERS);
}

static void test_cpu_on_errors(void) {
    static const uint32_t forms[] = {PSCI(CPU_ON), PSCI64(CPU_ON)};
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(call(forms[i], 0, 0x40080000, 0), ALREADY_ON);
        CHECK_EQ(call(forms[i], 2, 0x40080000, 0), INVALID_PARAMETERS);
        CHECK_EQ(call(forms[i], 0x101, 0x40080000, 0), INVALID_PARAMETERS);
    }
}

static void test_unknown(void) {
    static const uint32_t unknown[] = {0,          1,          0x80000001, 0x84000030, 0xc4000031,
                                       0x86000000, 0xdeadbeef, 0xffffffff, 0x84001234};
    for (unsigned i = 0; i < ARRAY_LEN(unknown); i++)
        CHECK_EQ(call(unknown[i], 1, 2, 3), NOT_SUPPORTED);
}

static void test_suspend(void) {
    gic_init();
    gic_enable(PPI_VTIMER);
    uint64_t due = read_sysreg(cntvct_el0) + read_sysreg(cntfrq_el0) / 100;
    write_sysreg(cntv_cval_el0, due);
    write_sysreg(cntv_ctl_el0, 1);
    isb();
    unsigned times = 0;
    while (!(read_sysreg(cntv_ctl_el0) & 4)) {
        CHECK_EQ(call(PSCI64(CPU_SUSPEND), 0, 0x40080000, 0), 0);
        times++;
    }
    isb();
    CHECK(read_sysreg(cntvct_el0) >= due);
    CHECK(times < 1000);
    write_sysreg(cntv_ctl_el0, 0);
}

static void test_other_levels(void) {
    run_code(&c, PSTATE_EL0, hvc, PSCI(VERSION), 0, 0, 0);
    context_expect(&c, VEC_SYNC_LOWER, 0x02000000, (uint64_t)hvc, PSTATE_EL0);
    context_check(&c, 0);
    run_code(&c, PSTATE_EL1T, smc, PSCI(VERSION), 0, 0, 0);
    context_expect(&c, VEC_SYNC_SP0, 0x02000000, (uint64_t)smc, PSTATE_EL1T);
    context_check(&c, 0);
}

/* A CPU starts with the MMU off, at EL1h with everything masked, and its argument in x0. */
static volatile uint64_t seen[8];
static void look_around(void *arg) {
    seen[0] = (uint64_t)arg;
    seen[1] = read_sysreg(currentel);
    seen[2] = read_sysreg(daif);
    seen[3] = read_sysreg(sctlr_el1);
    seen[4] = read_sysreg(mpidr_el1);
    seen[5] = read_sysreg(spsel);
    dsb();
    seen[6] = 1;
}

static void test_cpu_on(void) {
    for (unsigned n = 0; n < 20; n++) {
        memset((void *)seen, 0, sizeof(seen));
        CHECK_EQ(cpu_start(1, look_around, (void *)(0x1234ul + n)), 0);
        while (!seen[6])
            ;
        CHECK_EQ(seen[0], 0x1234 + n);
        CHECK_EQ(seen[1], 4);
        CHECK_EQ(seen[2], 0x3c0);
        CHECK_EQ(seen[3] & 0x1005, 0);
        CHECK_EQ(seen[4] & 0xff00ffffff, 1);
        CHECK_EQ(seen[5], 1);
        uint64_t end = read_sysreg(cntvct_el0) + read_sysreg(cntfrq_el0);
        while (call(PSCI64(AFFINITY_INFO), 1, 0, 0) != 1 && read_sysreg(cntvct_el0) < end)
            ;
        CHECK_EQ(call(PSCI64(AFFINITY_INFO), 1, 0, 0), 1);
    }
}

TESTS({"version", test_version}, {"features", test_features}, {"affinity", test_affinity},
      {"cpu_on errors", test_cpu_on_errors}, {"unknown", test_unknown}, {"suspend", test_suspend},
      {"other levels", test_other_levels}, {"cpu_on", test_cpu_on}, {"affinity again", test_affinity});
