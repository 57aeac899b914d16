/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* pmu.c: the SBI's calls for performance counters, as a kernel uses them: finding, configuring, starting and stopping
 * counters. QEMU counts no instructions without -icount. options: only=graft */
#include "rv64_payload.h"

#define SBI_PMU 0x504d55
#define COUNTERS 0x1f8ul
enum { COUNT, INFO, CONFIGURE, START, STOP, FIRMWARE_READ };
enum { SKIP_MATCH = 1, CLEAR_VALUE = 2, AUTO_START = 4, NOT_S = 64 };
enum { NOT_SUPPORTED = -2, INVALID_PARAM = -3, ALREADY_STARTED = -7, ALREADY_STOPPED = -8 };
enum { CYCLES = 1, INSTS = 2, CACHE_MISSES = 4, RAW = 0x20000 };
#define LCOFI (1ul << 13)

static struct sbi pmu(uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4) {
    return sbi_call(SBI_PMU, function, a0, a1, a2, a3, a4);
}
static int64_t start(uint64_t mask, uint64_t flags, uint64_t value) {
    return pmu(START, 0, mask, flags, value, 0).error;
}
static int64_t stop(uint64_t mask, uint64_t flags) { return pmu(STOP, 0, mask, flags, 0, 0).error; }

/* 1000 rounds of two instructions. */
static __attribute__((noinline)) void work(void) {
    uint64_t n = 1000;
    __asm__ volatile("1: addi %0, %0, -1\n bnez %0, 1b" : "+r"(n));
}

static void counters(void) {
    stop(COUNTERS, 1);
    CHECK_EQ(sbi_call(0x10, 3, SBI_PMU, 0, 0, 0, 0).value, 1);
    CHECK_EQ(pmu(COUNT, 0, 0, 0, 0, 0).value, 9);
    for (unsigned n = 0; n < 12; n++) {
        struct sbi info = pmu(INFO, n, 0, 0, 0, 0);
        CHECK_EQ(info.error, COUNTERS >> n & 1 ? 0 : INVALID_PARAM);
        if (!info.error)
            CHECK_EQ(info.value, (0xc00 + n) | 63 << 12);
    }
    CHECK_EQ(pmu(FIRMWARE_READ, 3, 0, 0, 0, 0).error, INVALID_PARAM);
    CHECK_EQ(pmu(9, 0, 0, 0, 0, 0).error, NOT_SUPPORTED);
}

static void configuring(void) {
    stop(COUNTERS, 1);
    CHECK_EQ(pmu(CONFIGURE, 0, COUNTERS, 0, CACHE_MISSES, 0).error, NOT_SUPPORTED);
    CHECK_EQ(pmu(CONFIGURE, 0, 7, 0, INSTS, 0).error, NOT_SUPPORTED);
    for (unsigned n = 3; n <= 8; n++) /* each goes to the next that is free */
        CHECK_EQ(pmu(CONFIGURE, 0, COUNTERS, CLEAR_VALUE, INSTS, 0).value, n);
    CHECK_EQ(pmu(CONFIGURE, 0, COUNTERS, 0, INSTS, 0).error, NOT_SUPPORTED);
    CHECK_EQ(pmu(CONFIGURE, 0, 1 << 5, SKIP_MATCH, CYCLES, 0).value, 5);
    CHECK_EQ(stop(1 << 6, 1), ALREADY_STOPPED);
    CHECK_EQ(pmu(CONFIGURE, 2, COUNTERS >> 2, 0, RAW, INSTS).value, 6);
    CHECK_EQ(start(1 << 6, 0, 0), 0);
    CHECK_EQ(start(1 << 6, 0, 0), ALREADY_STARTED);
    CHECK_EQ(stop(1 << 6, 0), 0);
    CHECK_EQ(stop(1 << 9, 0), INVALID_PARAM);
    CHECK_EQ(start(1 << 2, 0, 0), INVALID_PARAM);
    stop(COUNTERS, 1);
    CHECK_EQ(start(1 << 3, 0, 0), INVALID_PARAM);
}

static void counting(void) {
    stop(COUNTERS, 1);
    CHECK_EQ(pmu(CONFIGURE, 0, 1 << 3, CLEAR_VALUE | AUTO_START, INSTS, 0).error, 0);
    CHECK_EQ(pmu(CONFIGURE, 0, 1 << 4, CLEAR_VALUE | AUTO_START | NOT_S, INSTS, 0).error, 0);
    uint64_t from = csr_read(hpmcounter3);
    work();
    uint64_t n = csr_read(hpmcounter3) - from;
    CHECK(n >= 2000 && n < 2010);
    CHECK_EQ(csr_read(hpmcounter4), 0);
    stop(1 << 3, 0);
    from = csr_read(hpmcounter3);
    work();
    CHECK_EQ(csr_read(hpmcounter3), from);
    stop(COUNTERS, 1);
}

/* The overflow is an interrupt of S-mode's, which says in scountovf of whom it is. */
static void sampling(void) {
    stop(COUNTERS, 1);
    csr_clear(sip, LCOFI);
    CHECK_EQ(pmu(CONFIGURE, 0, 1 << 7, 0, INSTS, 0).value, 7);
    uint64_t count = trap.count;
    csr_set(sie, LCOFI);
    csr_set(sstatus, SIE);
    CHECK_EQ(start(1 << 7, 1, -(uint64_t)1000), 0);
    work();
    csr_clear(sstatus, SIE);
    CHECK_EQ(trap.count, count + 1);
    CHECK_EQ(trap.cause, INTERRUPT | 13);
    CHECK(trap.epc >= (uint64_t)work && trap.epc < (uint64_t)work + 64);
    CHECK_EQ(csr_read(scountovf), 1 << 7);
    stop(1 << 7, 0);
    csr_clear(sip, LCOFI);
    CHECK_EQ(start(1 << 7, 1, -(uint64_t)1000000000), 0); /* forgets the overflow */
    CHECK_EQ(csr_read(scountovf), 0);
    CHECK_EQ(csr_read(sip) & LCOFI, 0);
    stop(COUNTERS, 1);
    csr_clear(sie, LCOFI);
}

TESTS({"counters", counters}, {"configuring", configuring}, {"counting", counting}, {"sampling", sampling});
