/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* machine_pmu.c: the performance counters as machine mode has them: exact counts of known code, filters by privilege,
 * overflow and its interrupt. QEMU counts no instructions without -icount. options: machine=1 only=graft */
#include "rv64_payload.h"

#define OF (1ul << 63)
#define NOT_M (1ul << 62)
#define NOT_S (1ul << 61)
#define NOT_U (1ul << 60)
#define LCOFI (1ul << 13)
#define MPP_S (1ul << 11)
#define COUNTERS 0x1f8ul
enum { CYCLES = 1, INSTS = 2, BRANCHES = 5, LOADS = 0x10000, STORES = 0x10002 };

/* Per round 12 instructions; 3 that load, 3 that store, the AMO among both; 4 branches. */
#define WORK_ROUNDS 1000ul
extern const char work[];
__asm__(".text\n.balign 4\nwork:\n"
        " li a2, 1000\n"
        "1: ld a3, 0(a0)\n"
        " fld fa0, 0(a0)\n"
        " sd a3, 16(a0)\n"
        " fsd fa0, 24(a0)\n"
        " amoadd.d a3, zero, (a0)\n"
        " beqz a0, 1b\n"
        " j 2f\n"
        " nop\n"
        "2: la a4, 3f\n" /* two */
        " jr a4\n"
        " nop\n"
        "3: addi a2, a2, -1\n"
        " bnez a2, 1b\n"
        " ecall\n");
static uint64_t cells[8];

#define SET(n)                                                                                                         \
    csr_write(mhpmevent##n, event);                                                                                    \
    csr_write(mhpmcounter##n, value);                                                                                  \
    break;
static void set_counter(unsigned n, uint64_t event, uint64_t value) {
    switch (n) {
    case 3: SET(3)
    case 4: SET(4)
    case 5: SET(5)
    case 6: SET(6)
    case 7: SET(7)
    default: SET(8)
    }
}

static void off(void) {
    csr_write(mcountinhibit, ~0ul);
    for (unsigned n = 3; n <= 8; n++)
        set_counter(n, 0, 0);
    csr_clear(mip, LCOFI);
    csr_write(mie, 0);
}

static void do_work(uint64_t mode) {
    static char stack[256] __attribute__((aligned(16)));
    lower_mode = mode;
    enter_user(work, (uint64_t)stack + sizeof stack, (uint64_t)cells, 0);
}

static void allow_all(void) {
    csr_write(pmpaddr7, ~0ul >> 10);
    csr_write(pmpcfg0, (uint64_t)(3 << 3 | 7) << 56);
    csr_write(medeleg, 0);
    csr_write(mideleg, 0);
    csr_set(mstatus, FS);
}

static void registers(void) {
    allow_all();
    off();
    CHECK_EQ(csr_read(mcountinhibit), COUNTERS);
    csr_write(mhpmevent3, ~0ul);
    CHECK_EQ(csr_read(mhpmevent3), OF | NOT_M | NOT_S | NOT_U); /* there is no such event */
    csr_write(mhpmevent3, BRANCHES);
    CHECK_EQ(csr_read(mhpmevent3), BRANCHES);
    csr_write(mhpmcounter3, 0x123456789abcdef0);
    CHECK_EQ(csr_read(mhpmcounter3), 0x123456789abcdef0);
    CHECK_EQ(csr_read(hpmcounter3), 0x123456789abcdef0);
    csr_write(mhpmcounter9, 1);
    csr_write(mhpmevent31, INSTS);
    CHECK_EQ(csr_read(mhpmcounter9), 0);
    CHECK_EQ(csr_read(mhpmevent31), 0);
}

/* In user mode and in supervisor mode, with the counters that are not to count there beside them. */
static void known_code(void) {
    static const uint64_t modes[] = {0, MPP_S}, others[] = {NOT_U, NOT_S};
    allow_all();
    for (unsigned i = 0; i < 2; i++) {
        off();
        set_counter(3, INSTS | NOT_M, 0);
        set_counter(4, BRANCHES | NOT_M, 0);
        set_counter(5, LOADS | NOT_M, 0);
        set_counter(6, STORES | NOT_M, 0);
        set_counter(7, INSTS | NOT_M | others[i], 0);
        set_counter(8, CYCLES | NOT_M, 0);
        csr_write(mcountinhibit, 0);
        do_work(modes[i]);
        csr_write(mcountinhibit, ~0ul);
        /* li is one instruction; the ECALL is not done. */
        CHECK_EQ(csr_read(mhpmcounter3), 1 + WORK_ROUNDS * 12);
        CHECK_EQ(csr_read(mhpmcounter4), WORK_ROUNDS * 4);
        CHECK_EQ(csr_read(mhpmcounter5), WORK_ROUNDS * 3);
        CHECK_EQ(csr_read(mhpmcounter6), WORK_ROUNDS * 3);
        CHECK_EQ(csr_read(mhpmcounter7), 0);
        CHECK(csr_read(mhpmcounter8) != 0);
    }
    uint64_t before = csr_read(mhpmcounter3);
    do_work(0);
    CHECK_EQ(csr_read(mhpmcounter3), before);
}

/* The interrupt comes while the code runs that overflows the counter, within some dozens of instructions; once. */
static void overflow(void) {
    allow_all();
    off();
    set_counter(4, INSTS | NOT_M, -(uint64_t)6000);
    csr_write(mie, LCOFI);
    csr_write(mcountinhibit, 0);
    uint64_t count = trap.count;
    do_work(0);
    csr_write(mcountinhibit, ~0ul);
    CHECK_EQ(trap.count, count + 1); /* it ends the code in user mode */
    CHECK_EQ(trap.cause, INTERRUPT | 13);
    CHECK(csr_read(mhpmcounter4) < 200);
    CHECK_EQ(csr_read(mhpmevent4), OF | NOT_M | INSTS);
    CHECK_EQ(csr_read(scountovf), 1 << 4);
    CHECK_EQ(csr_read(mip) & LCOFI, LCOFI);
    csr_clear(mip, LCOFI);
    CHECK_EQ(csr_read(mip) & LCOFI, 0);
    /* Not again, as OF is set. */
    csr_write(mhpmcounter4, -(uint64_t)6000);
    csr_write(mie, LCOFI);
    csr_write(mcountinhibit, 0);
    do_work(0);
    csr_write(mcountinhibit, ~0ul);
    CHECK_EQ(trap.cause, 8);
    CHECK_EQ(csr_read(mip) & LCOFI, 0);
    off();
    CHECK_EQ(csr_read(scountovf), 0);
}

/* A counter of cycles overflows by itself. */
static void cycles(void) {
    allow_all();
    off();
    set_counter(5, CYCLES, -(uint64_t)100000);
    csr_write(mcountinhibit, 0);
    while (!(csr_read(mip) & LCOFI))
        ;
    CHECK_EQ(csr_read(scountovf), 1 << 5);
    off();
    set_counter(5, CYCLES | NOT_M, -(uint64_t)100000000);
    csr_write(mie, LCOFI);
    csr_write(mcountinhibit, 0);
    do
        do_work(0);
    while (trap.cause != (INTERRUPT | 13));
    CHECK_EQ(csr_read(mhpmevent5) >> 63, 1);
    off();
}

TESTS({"registers", registers}, {"known_code", known_code}, {"overflow", overflow}, {"cycles", cycles});
