/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* traps.c: exceptions and interrupts in S-mode and user mode, CSRs, and what SBI answers. */
#include "rv64_payload.h"

#define NOWHERE 0x18000000ul /* no device is there */

static void illegal(void) {
    extern char at_illegal[], at_short[];
    EXPECT(__asm__ volatile("at_illegal: .word 0xffffffff" : : : "memory"), CAUSE_ILLEGAL, 0xffffffff);
    CHECK_EQ(trap.epc, at_illegal);
    CHECK((trap.status & SPP) != 0);
    EXPECT(__asm__ volatile("at_short: .2byte 0" : : : "memory"), CAUSE_ILLEGAL, 0);
    CHECK_EQ(trap.epc, at_short);
    EXPECT(csr_write(0xc00, 0), CAUSE_ILLEGAL, trap.tval);                     /* cycle is read-only */
    EXPECT(csr_read(0x7c0), CAUSE_ILLEGAL, trap.tval);                         /* nobody's */
    EXPECT(csr_read(mstatus), CAUSE_ILLEGAL, trap.tval);                       /* M-mode's */
    EXPECT(__asm__ volatile("mret" : : : "memory"), CAUSE_ILLEGAL, trap.tval); /* QEMU leaves it */
}

static void breakpoint(void) {
    EXPECT(__asm__ volatile("ebreak" : : : "memory"), CAUSE_BREAKPOINT, trap.epc);
    EXPECT(__asm__ volatile("c.ebreak" : : : "memory"), CAUSE_BREAKPOINT, trap.epc);
}

static void access_faults(void) {
    EXPECT((void)*(volatile uint64_t *)NOWHERE, CAUSE_LOAD_ACCESS, NOWHERE);
    EXPECT(*(volatile uint32_t *)(NOWHERE + 4) = 1, CAUSE_STORE_ACCESS, NOWHERE + 4);
    uint64_t count = trap.count;
    __asm__ volatile("la t0, 1f\n la t1, resume\n sd t0, 0(t1)\n jalr %0\n1:"
                     :
                     : "r"(NOWHERE)
                     : "t0", "t1", "ra", "memory");
    CHECK_EQ(trap.count, count + 1);
    CHECK_EQ(trap.cause, CAUSE_INSN_ACCESS);
    CHECK_EQ(trap.tval, NOWHERE);
}

/* Plain accesses may be misaligned, atomic ones may not. QEMU calls an AMO a load then. */
static void misaligned(void) {
    static uint64_t words[3] = {0x1716151413121110, 0x2726252423222120, 0};
    uint64_t v, at = (uint64_t)words + 1, amo = on_opensbi() ? CAUSE_LOAD_MISALIGNED : CAUSE_STORE_MISALIGNED;
    memcpy(&v, (void *)at, 8);
    CHECK_EQ(*(volatile uint64_t *)at, v);
    *(volatile uint32_t *)(at + 5) = 0xaabbccdd;
    CHECK_EQ(*(volatile uint32_t *)(at + 5), 0xaabbccdd);
    EXPECT(__asm__ volatile("amoadd.d %0, zero, (%1)" : "=r"(v) : "r"(at) : "memory"), amo, at);
    EXPECT(__asm__ volatile("amoswap.w %0, zero, (%1)" : "=r"(v) : "r"(at + 1) : "memory"), amo, at + 1);
    EXPECT(__asm__ volatile("lr.d %0, (%1)" : "=r"(v) : "r"(at) : "memory"), CAUSE_LOAD_MISALIGNED, at);
}

static uint64_t sc_after(bool store_between) {
    static volatile uint64_t word = 5;
    uint64_t old, failed;
    if (store_between)
        __asm__ volatile("lr.d %0, (%2)\n addi %0, %0, 1\n sd %0, (%2)\n sc.d %1, %0, (%2)"
                         : "=&r"(old), "=&r"(failed)
                         : "r"(&word)
                         : "memory");
    else
        __asm__ volatile("lr.d %0, (%2)\n addi %0, %0, 1\n sc.d %1, %0, (%2)"
                         : "=&r"(old), "=&r"(failed)
                         : "r"(&word)
                         : "memory");
    return failed;
}

static void reservations(void) {
    static volatile uint32_t word = 1;
    uint64_t failed;
    CHECK_EQ(sc_after(false), 0);
    CHECK(sc_after(true) <= 1);
    __asm__ volatile("sc.w %0, zero, (%1)" : "=r"(failed) : "r"(&word) : "memory"); /* without a reservation */
    CHECK_EQ(failed, 1);
    CHECK_EQ(word, 1);
}

static void registers(void) {
    csr_write(sepc, 0x80001236);
    CHECK_EQ(csr_read(sepc), 0x80001236);
    csr_write(sscratch, 0x123456789abcdef0);
    CHECK_EQ(csr_read(sscratch), 0x123456789abcdef0);
    csr_write(sscratch, 0);
    csr_write(scause, 5);
    CHECK_EQ(csr_read(scause), 5);
    uint64_t satp = csr_read(satp);
    csr_write(satp, 5ul << 60); /* reserved: no effect */
    CHECK_EQ(csr_read(satp), satp);
    csr_set(sstatus, SUM | MXR);
    CHECK_EQ(csr_read(sstatus) & (SUM | MXR), SUM | MXR);
    csr_clear(sstatus, SUM | MXR);
    CHECK_EQ(csr_read(sstatus) & (SUM | MXR), 0);
    CHECK_EQ(csr_read(sstatus) >> 32 & 3, 2); /* UXL */
}

static void floating_point(void) {
    double d = 2;
    csr_clear(sstatus, FS);
    EXPECT(__asm__ volatile("fadd.d f0, f0, f0" : : : "memory"), CAUSE_ILLEGAL, 0x02007053);
    EXPECT(csr_read(fcsr), CAUSE_ILLEGAL, trap.tval);
    csr_set(sstatus, 1ul << 13); /* Initial */
    CHECK_EQ(csr_read(sstatus) >> 63, 0);
    __asm__ volatile("fadd.d %0, %0, %0" : "+f"(d));
    CHECK_EQ(csr_read(sstatus) & FS, FS); /* Dirty */
    CHECK_EQ(csr_read(sstatus) >> 63, 1);
    csr_write(fcsr, 5 << 5); /* no rounding mode */
    EXPECT(__asm__ volatile("fadd.d f0, f0, f0" : : : "memory"), CAUSE_ILLEGAL, 0x02007053);
    csr_write(fcsr, 0);
    CHECK(d == 4);
}

/* --- user mode -------------------------------------------------------------------------------- */
#define USER __attribute__((naked, aligned(4)))
static USER void user_call(void) { __asm__("add a0, a0, a1\n ecall"); }
static USER void user_csr(void) { __asm__("csrr a0, sstatus"); }
static USER void user_sret(void) { __asm__("sret"); }
static USER void user_wfi(void) { __asm__("sfence.vma"); }
static USER void user_time(void) { __asm__("rdtime a0\n ecall"); }

static void user(void) {
    CHECK_EQ(enter_user(user_call, 0, 40, 2), 42);
    CHECK_EQ(trap.cause, CAUSE_ECALL_U);
    CHECK_EQ(trap.status & SPP, 0);
    CHECK_EQ(trap.epc, (uint64_t)user_call + ((*(uint16_t *)user_call & 3) == 3 ? 4 : 2));
    enter_user(user_csr, 0, 0, 0);
    CHECK_EQ(trap.cause, CAUSE_ILLEGAL);
    enter_user(user_sret, 0, 0, 0);
    CHECK_EQ(trap.cause, CAUSE_ILLEGAL);
    enter_user(user_wfi, 0, 0, 0);
    CHECK_EQ(trap.cause, CAUSE_ILLEGAL);
    csr_write(scounteren, 7);
    uint64_t before = csr_read(time), at = enter_user(user_time, 0, 0, 0);
    CHECK_EQ(trap.cause, CAUSE_ECALL_U);
    CHECK(at >= before && at <= csr_read(time));
}

/* --- interrupts ------------------------------------------------------------------------------- */
static void software_interrupt(void) {
    uint64_t count = trap.count;
    csr_write(sie, 2);
    csr_set(sip, 2);
    CHECK_EQ(csr_read(sip) & 2, 2);
    CHECK_EQ(trap.count, count); /* sstatus.SIE is clear */
    csr_set(sstatus, SIE);
    CHECK_EQ(trap.count, count + 1);
    CHECK_EQ(trap.cause, INTERRUPT | 1);
    csr_clear(sstatus, SIE);
    csr_clear(sip, 2);
    CHECK_EQ(csr_read(sip) & 2, 0);
}

static void firmware(void) {
    CHECK(sbi_call(0x10, 0, 0, 0, 0, 0, 0).value >= 2ul << 24);
    static const uint64_t extensions[] = {SBI_TIME, SBI_IPI, SBI_RFENCE, SBI_HSM, SBI_SRST, SBI_DBCN};
    for (unsigned i = 0; i < ARRAY_LEN(extensions); i++)
        CHECK_EQ(sbi_call(0x10, 3, extensions[i], 0, 0, 0, 0).value, 1);
    CHECK_EQ(sbi_call(0x10, 3, 0x12345678, 0, 0, 0, 0).value, 0);
    CHECK_EQ(sbi_call(0x12345678, 0, 0, 0, 0, 0, 0).error, -2);
    CHECK_EQ(sbi_call(SBI_HSM, 2, 0, 0, 0, 0, 0).value, 0);   /* this hart is started */
    CHECK_EQ(sbi_call(SBI_HSM, 2, 77, 0, 0, 0, 0).error, -3); /* no such hart */
    CHECK_EQ(sbi_call(SBI_HSM, 0, 0, (uint64_t)firmware, 0, 0, 0).error, -6);
    static const char text[] = "# a line by DBCN\n";
    struct sbi r = sbi_call(SBI_DBCN, 0, sizeof(text) - 1, (uint64_t)text, 0, 0, 0);
    CHECK_EQ(r.error, 0);
    CHECK_EQ(r.value, sizeof(text) - 1);
}

TESTS({"illegal", illegal}, {"breakpoint", breakpoint}, {"access_faults", access_faults}, {"misaligned", misaligned},
      {"reservations", reservations}, {"registers", registers}, {"floating_point", floating_point}, {"user", user},
      {"software_interrupt", software_interrupt}, {"firmware", firmware});
