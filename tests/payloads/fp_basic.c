/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fp_basic.c: floating point through the whole system: FPCR modes, FPSR flags, NaNs, conversions, and state across
 * traps. */
#include "payload.h"

#define DN (1ul << 25)
#define FZ (1ul << 24)
#define RM(n) ((uint64_t)(n) << 22) /* 0 nearest, 1 up, 2 down, 3 zero */
#define IOC 1u
#define DZC 2u
#define OFC 4u
#define UFC 8u
#define IXC 0x10u
#define IDC 0x80u
#define QC (1u << 27)

#define ONE 0x3ff0000000000000ul
#define INF 0x7ff0000000000000ul
#define MAX 0x7feffffffffffffful
#define QNAN 0x7ff8000000001234ul
#define SNAN 0x7ff0000000005678ul
#define SNAN_QUIET 0x7ff8000000005678ul
#define DEFAULT_NAN 0x7ff8000000000000ul
#define NEG 0x8000000000000000ul
#define TINY 0x0010000000000000ul /* smallest normal number */
#define HALF_ULP 0x3ca0000000000000ul

/* OP2(), OP1(), OP3(): one instruction on doubles; the flags it leaves are in `flags`. */
static uint64_t flags;
#define OPERATION(name, n)                                                                                             \
    static __attribute__((noinline)) uint64_t name(uint64_t fpcr, uint64_t a, uint64_t b, uint64_t c) {                \
        uint64_t result, fpsr;                                                                                         \
        __asm__ volatile("msr fpcr, %5\nmsr fpsr, xzr\nfmov d1, %2\nfmov d2, %3\nfmov d3, %4\n" n                      \
                         "\nfmov %0, d0\nmrs %1, fpsr\nmsr fpcr, xzr"                                                  \
                         : "=&r"(result), "=&r"(fpsr)                                                                  \
                         : "r"(a), "r"(b), "r"(c), "r"(fpcr)                                                           \
                         : "x9", "cc", "memory");                                                                      \
        flags = fpsr;                                                                                                  \
        return result;                                                                                                 \
    }
OPERATION(fadd, "fadd d0, d1, d2")
OPERATION(fsub, "fsub d0, d1, d2")
OPERATION(fmul, "fmul d0, d1, d2")
OPERATION(fdiv, "fdiv d0, d1, d2")
OPERATION(fsqrt, "fsqrt d0, d1")
OPERATION(fmadd, "fmadd d0, d1, d2, d3")
OPERATION(fmax, "fmax d0, d1, d2")
OPERATION(fmin, "fmin d0, d1, d2")
OPERATION(fmaxnm, "fmaxnm d0, d1, d2")
OPERATION(fmulx, "fmulx d0, d1, d2")
OPERATION(fcvt_s, "fcvt s0, d1")
OPERATION(fcvt_from_s, "fcvt d0, s1")
OPERATION(fcvt_h, "fcvt h0, d1")
OPERATION(fcvtzs_w, "fcvtzs w9, d1\nfmov d0, x9")
OPERATION(fcvtzu_x, "fcvtzu x9, d1\nfmov d0, x9")
OPERATION(fcvtns_x, "fcvtns x9, d1\nfmov d0, x9")
OPERATION(fcvtas_x, "fcvtas x9, d1\nfmov d0, x9")
OPERATION(scvtf_s, "fmov x9, d1\nscvtf s0, x9")
OPERATION(ucvtf_d, "fmov x9, d1\nucvtf d0, x9")
OPERATION(frinti, "frinti d0, d1")
OPERATION(frintx, "frintx d0, d1")
OPERATION(fcmp, "fcmp d1, d2\nmrs x9, nzcv\nfmov d0, x9")
OPERATION(fcmpe, "fcmpe d1, d2\nmrs x9, nzcv\nfmov d0, x9")
OPERATION(frecpe, "frecpe d0, d1")
OPERATION(frsqrte, "frsqrte d0, d1")
OPERATION(frecps, "frecps d0, d1, d2")
OPERATION(sqadd, "sqadd v0.8b, v1.8b, v2.8b")
OPERATION(fadd_s, "fadd s0, s1, s2")
OPERATION(fadd_2s, "fadd v0.2s, v1.2s, v2.2s")
OPERATION(fneg, "fneg d0, d1")
OPERATION(fabs, "fabs d0, d1")

#define IS(expression, value, raised)                                                                                  \
    do {                                                                                                               \
        CHECK_EQ(expression, value);                                                                                   \
        CHECK_EQ(flags, raised);                                                                                       \
    } while (0)

static void test_rounding(void) {
    static const uint64_t up[] = {ONE, ONE + 1, ONE, ONE}; /* 1 + half an ulp, by mode */
    static const uint64_t down[] = {NEG | ONE, NEG | ONE, NEG | (ONE + 1), NEG | ONE};
    static const uint64_t third[] = {0x3fd5555555555555, 0x3fd5555555555556, 0x3fd5555555555555, 0x3fd5555555555555};
    static const uint64_t overflow[] = {INF, INF, MAX, MAX};
    /* of 2.5 */
    static const uint64_t rint[] = {0x4000000000000000, 0x4008000000000000, 0x4000000000000000, 0x4000000000000000};
    for (unsigned m = 0; m < 4; m++) {
        IS(fadd(RM(m), ONE, HALF_ULP, 0), up[m], IXC);
        IS(fadd(RM(m), NEG | ONE, NEG | HALF_ULP, 0), down[m], IXC);
        IS(fdiv(RM(m), ONE, 0x4008000000000000, 0), third[m], IXC);
        IS(fmul(RM(m), MAX, 0x4000000000000000, 0), overflow[m], OFC | IXC);
        IS(fadd(RM(m), ONE, NEG | ONE, 0), m == 2 ? NEG : 0, 0);
        IS(frinti(RM(m), 0x4004000000000000, 0, 0), rint[m], 0);
        IS(frintx(RM(m), 0x4004000000000000, 0, 0), rint[m], IXC);
        IS(fsqrt(RM(m), 0x4000000000000000, 0, 0), m == 1 ? 0x3ff6a09e667f3bcd : 0x3ff6a09e667f3bcd - (m > 1), IXC);
    }
}

static void test_specials(void) {
    IS(fdiv(0, ONE, 0, 0), INF, DZC);
    IS(fdiv(0, ONE, NEG, 0), NEG | INF, DZC);
    IS(fdiv(0, 0, 0, 0), DEFAULT_NAN, IOC);
    IS(fsub(0, INF, INF, 0), DEFAULT_NAN, IOC);
    IS(fmul(0, INF, 0, 0), DEFAULT_NAN, IOC);
    IS(fmulx(0, INF, NEG, 0), NEG | 0x4000000000000000, 0);
    IS(fsqrt(0, NEG | ONE, 0, 0), DEFAULT_NAN, IOC);
    IS(fsqrt(0, NEG, 0, 0), NEG, 0);
    IS(fadd(0, QNAN, ONE, 0), QNAN, 0);
    IS(fadd(0, ONE, NEG | QNAN, 0), NEG | QNAN, 0);
    IS(fadd(0, QNAN, QNAN + 1, 0), QNAN, 0);
    IS(fadd(0, QNAN, SNAN, 0), SNAN_QUIET, IOC);
    IS(fadd(0, SNAN + 1, SNAN, 0), SNAN_QUIET + 1, IOC);
    IS(fadd(DN, QNAN, ONE, 0), DEFAULT_NAN, 0);
    IS(fadd(DN, SNAN, ONE, 0), DEFAULT_NAN, IOC);
    IS(fmadd(0, INF, 0, QNAN), DEFAULT_NAN, IOC);
    IS(fmadd(0, QNAN, QNAN + 1, QNAN + 2), QNAN + 2, 0); /* the addend comes first */
    /* one rounding */
    IS(fmadd(0, 0x3ff0000000000001, 0x3ff0000000000001, NEG | 0x3ff0000000000002), 0x3970000000000000, 0);
    IS(fmax(0, 0, NEG, 0), 0, 0);
    IS(fmin(0, 0, NEG, 0), NEG, 0);
    IS(fmax(0, QNAN, ONE, 0), QNAN, 0);
    IS(fmaxnm(0, QNAN, ONE, 0), ONE, 0);
    IS(fmaxnm(0, SNAN, ONE, 0), SNAN_QUIET, IOC);
    IS(fneg(0, SNAN, 0, 0), NEG | SNAN, 0);
    IS(fabs(0, NEG | SNAN, 0, 0), SNAN, 0);
    IS(frecpe(0, 0, 0, 0), INF, DZC);
    IS(frecpe(0, ONE, 0, 0), 0x3feff00000000000, 0);
    IS(frsqrte(0, 0x4010000000000000, 0, 0), 0x3fdff00000000000, 0);
    IS(frsqrte(0, NEG | ONE, 0, 0), DEFAULT_NAN, IOC);
    IS(frecps(0, INF, 0, 0), 0x4000000000000000, 0);
}

static void test_denormals(void) {
    IS(fmul(0, TINY, 0x3fe0000000000000, 0), TINY >> 1, 0);
    IS(fmul(0, TINY + 1, 0x3fe0000000000000, 0), TINY >> 1, UFC | IXC);
    IS(fadd(0, 1, 1, 0), 2, 0);
    IS(fmul(FZ, TINY, 0x3fe0000000000000, 0), 0, UFC);
    IS(fmul(FZ, NEG | TINY, 0x3fe0000000000000, 0), NEG, UFC);
    IS(fadd(FZ, 1, ONE, 0), ONE, IDC);
    IS(fadd(FZ, 1, 1, 0), 0, IDC);
    IS(fmax(FZ, 1, NEG | 1, 0), 0, IDC);
    IS(fcmp(FZ, 1, 0, 0), 0x60000000, IDC);
    IS(fcvt_s(0, 0x36a0000000000000, 0, 0), 1, 0); /* 2^-149 */
    IS(fcvt_s(FZ, 0x36a0000000000000, 0, 0), 0, UFC);
    IS(fcvtzs_w(FZ, 1, 0, 0), 0, IDC);
    IS(fcvtzs_w(0, 1, 0, 0), 0, IXC);
}

static void test_conversions(void) {
    IS(fcvtzs_w(0, 0x41e0000000000000, 0, 0), 0x7fffffff, IOC); /* 2^31 */
    IS(fcvtzs_w(0, 0xc1e0000000000000, 0, 0), 0x80000000, 0);
    IS(fcvtzs_w(0, QNAN, 0, 0), 0, IOC);
    IS(fcvtzs_w(0, NEG | INF, 0, 0), 0x80000000, IOC);
    IS(fcvtzs_w(0, 0xbfffff0000000000, 0, 0), 0xffffffff, IXC); /* -1.99 */
    IS(fcvtzu_x(0, NEG | ONE, 0, 0), 0, IOC);
    IS(fcvtzu_x(0, 0x43efffffffffffff, 0, 0), 0xfffffffffffff800, 0);
    IS(fcvtzu_x(0, 0x43f0000000000000, 0, 0), ~0ul, IOC);
    IS(fcvtns_x(0, 0x4004000000000000, 0, 0), 2, IXC); /* 2.5 */
    IS(fcvtas_x(0, 0x4004000000000000, 0, 0), 3, IXC);
    IS(fcvtas_x(0, 0xc004000000000000, 0, 0), -3ul, IXC);
    IS(fcvtns_x(0, 0x43e0000000000000, 0, 0), 0x7fffffffffffffff, IOC);
    IS(ucvtf_d(0, ~0ul, 0, 0), 0x43f0000000000000, IXC);
    IS(ucvtf_d(RM(3), ~0ul, 0, 0), 0x43efffffffffffff, IXC);
    IS(scvtf_s(RM(1), 0x1000001, 0, 0), 0x4b800001, IXC);
    IS(scvtf_s(0, NEG, 0, 0), 0xdf000000, 0);
    IS(fcvt_s(0, SNAN, 0, 0), 0x7fc00000, IOC);
    IS(fcvt_from_s(0, 0x7fa12345, 0, 0), 0x7ffc2468a0000000, IOC);
    IS(fcvt_h(0, 0x40effc0000000000, 0, 0), 0x7bff, 0);
    IS(fcvt_h(0, 0x40effe0000000000, 0, 0), 0x7c00, OFC | IXC);
    IS(fcvt_h(0, 0x3ff0000000000000, 0, 0), 0x3c00, 0);
    IS(fcmp(0, ONE, QNAN, 0), 0x30000000, 0);
    IS(fcmp(0, ONE, SNAN, 0), 0x30000000, IOC);
    IS(fcmpe(0, ONE, QNAN, 0), 0x30000000, IOC);
    IS(fcmp(0, ONE, ONE, 0), 0x60000000, 0);
    IS(fcmp(0, NEG | ONE, ONE, 0), 0x80000000, 0);
    IS(fcmp(0, INF, ONE, 0), 0x20000000, 0);
    IS(fcmp(0, 0, NEG, 0), 0x60000000, 0);
}

static void test_vectors(void) {
    IS(sqadd(0, 0x7f01807f00000000, 0x0101ff0100000000, 0), 0x7f02807f00000000, QC);
    IS(fadd_s(0, 0xffffffff3f800000, 0xffffffff3f800000, 0), 0x40000000, 0); /* the upper part is cleared */
    IS(fadd_2s(0, 0x3f80000000000000, 0x3f8000007f800001, 0), 0x400000007fc00001, IOC);
    IS(fadd_2s(FZ, 0x0000000100000001, 0x3f8000007fc00000, 0), 0x3f8000007fc00000, IDC);
}

/* Flags add up until they are cleared, over exceptions and changes of level. */
SNIPPET(divide_el0, "fmov d1, #1.0\nmovi d2, #0\nfdiv d0, d1, d2");
SNIPPET(inexact_el1, "fmov d1, #1.0\nfmov d2, #3.0\nfdiv d0, d1, d2");
static struct context c;

static void test_cumulative(void) {
    mmu_on();
    mmu_user_alias();
    write_sysreg(fpsr, 0);
    run_code(&c, PSTATE_EL0, USER(divide_el0), 0, 0, 0, 0);
    CHECK_EQ(read_sysreg(fpsr), DZC);
    run_code(&c, PSTATE_EL1T, inexact_el1, 0, 0, 0, 0);
    CHECK_EQ(read_sysreg(fpsr), DZC | IXC);
    write_sysreg(fpsr, QC);
    run_code(&c, PSTATE_EL0, USER(divide_el0), 0, 0, 0, 0);
    CHECK_EQ(read_sysreg(fpsr), DZC | QC);
    write_sysreg(fpcr, RM(1)); /* the mode is the same for all levels */
    uint64_t d0;
    run_code(&c, PSTATE_EL0, USER(inexact_el1), 0, 0, 0, 0);
    __asm__ volatile("fmov %0, d0" : "=r"(d0));
    CHECK_EQ(d0, 0x3fd5555555555556);
    write_sysreg(fpcr, 0);
    run_code(&c, PSTATE_EL0, USER(inexact_el1), 0, 0, 0, 0);
    __asm__ volatile("fmov %0, d0" : "=r"(d0));
    CHECK_EQ(d0, 0x3fd5555555555555);
}

/* FPCR changes inside a straight run of code take effect at once. */
static void test_mode_changes(void) {
    uint64_t r[4];
    for (unsigned n = 0; n < 100; n++) {
        __asm__ volatile("fmov d1, #1.0\nfmov d2, #3.0\n"
                         "msr fpcr, %4\nfdiv d0, d1, d2\nfmov %0, d0\n"
                         "msr fpcr, %5\nfdiv d0, d1, d2\nfmov %1, d0\n"
                         "msr fpcr, %6\nfdiv d0, d1, d2\nfmov %2, d0\n"
                         "msr fpcr, %7\nfdiv d0, d1, d2\nfmov %3, d0\nmsr fpcr, xzr"
                         : "=&r"(r[0]), "=&r"(r[1]), "=&r"(r[2]), "=&r"(r[3])
                         : "r"(RM(0)), "r"(RM(1)), "r"(RM(2) | FZ), "r"(RM(1) | DN));
        CHECK_EQ(r[0], 0x3fd5555555555555);
        CHECK_EQ(r[1], 0x3fd5555555555556);
        CHECK_EQ(r[2], 0x3fd5555555555555);
        CHECK_EQ(r[3], 0x3fd5555555555556);
    }
}

TESTS({"rounding", test_rounding}, {"specials", test_specials}, {"denormals", test_denormals},
      {"conversions", test_conversions}, {"vectors", test_vectors}, {"cumulative", test_cumulative},
      {"mode changes", test_mode_changes});
