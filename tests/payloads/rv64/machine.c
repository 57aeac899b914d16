/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* machine.c: machine mode: delegation, MRET, MPRV, what it keeps S-mode from, Svadu, PMP, CLINT. options: machine=1 */
#include "rv64_payload.h"

#define MIE (1ul << 3)
#define MPIE (1ul << 7)
#define MPP (3ul << 11)
#define MPP_S (1ul << 11)
#define MPRV (1ul << 17)
#define TVM (1ul << 20)
#define TW (1ul << 21)
#define TSR (1ul << 22)
#define VA 0x1000000000ul /* above what paging_on() maps */
#define CLINT 0x02000000ul
#define PMP_NAPOT (3 << 3)
#define PMP_TOR (1 << 3)
#define CAUSE_ECALL_S 9
#define CAUSE_ECALL_M 11
#define PMPCFG0_BYTE(n) ((uint64_t)0xff << 8 * (n))

/* Code for lower modes, which ends with a trap: its last instruction, if no other. */
#define LOWER(name, code)                                                                                              \
    extern const char name[];                                                                                          \
    __asm__(".text\n.balign 4\n" #name ":\n" code "\n ecall\n")
LOWER(lower_call, "nop");
LOWER(lower_load, "ld a0, 0(a0)");
LOWER(lower_store, "sd a1, 0(a0)");
LOWER(lower_jump, "jr a0");
LOWER(lower_satp, "csrr a0, satp");
LOWER(lower_fence, "sfence.vma");
LOWER(lower_sret, "csrw sepc, a0\n sret");
LOWER(lower_wfi, "wfi");
LOWER(lower_time, "csrr a0, time");
LOWER(lower_stimecmp, "csrr a0, 0x14d");
LOWER(lower_zero, ".word 0x0045200f" /* cbo.zero (a0) */);
LOWER(lower_mstatus, "csrr a0, mstatus");
LOWER(lower_mret, "mret");

static uint64_t lower(uint64_t mode, const char *code, uint64_t a0) {
    static char stack[256] __attribute__((aligned(16)));
    lower_mode = mode;
    return enter_user(code, (uint64_t)stack + sizeof stack, a0, 77);
}
/* What ended it. */
static uint64_t ends(uint64_t mode, const char *code, uint64_t a0) {
    lower(mode, code, a0);
    return trap.cause;
}

static void allow_all(void) {
    csr_write(pmpaddr7, ~0ul >> 10);
    csr_write(pmpcfg0, (uint64_t)(PMP_NAPOT | 7) << 56);
    csr_write(medeleg, 0);
    csr_write(mideleg, 0);
}

static void registers(void) {
    allow_all();
    CHECK_EQ(csr_read(mhartid), 0);
    CHECK_EQ(csr_read(misa) & ~(1ul << ('H' - 'A')), 2ul << 62 | 0x14112d);
    csr_write(medeleg, ~0ul);
    CHECK_EQ(csr_read(medeleg) & 0xf3ff, 0xb3ff); /* bits 11 and 10: QEMU's own */
    csr_write(mideleg, ~0ul);
    CHECK_EQ(csr_read(mideleg) & 0xaaa & 0x222, 0x222);
    csr_write(medeleg, 0);
    csr_write(mideleg, 0);
    csr_set(mstatus, MPP);
    CHECK_EQ(csr_read(mstatus) & MPP, MPP);
    csr_clear(mstatus, MPP);
    CHECK_EQ(csr_read(mstatus) & MPP, 0);
    csr_write(mepc, 0x1234567a);
    CHECK_EQ(csr_read(mepc), 0x1234567a);
    csr_write(mscratch, 0x123456789abcdef);
    CHECK_EQ(csr_read(mscratch), 0x123456789abcdef);
    csr_write(mscratch, 0);
    EXPECT(csr_read(0x7c0), CAUSE_ILLEGAL, trap.tval);
    EXPECT(csr_write(mhartid, 0), CAUSE_ILLEGAL, trap.tval);
    EXPECT(csr_read(0x3a1), CAUSE_ILLEGAL, trap.tval); /* pmpcfg1 is of RV32 */
    EXPECT(__asm__ volatile("ecall" : : : "memory"), CAUSE_ECALL_M, 0);
    CHECK_EQ(trap.status & MPP, MPP);
    uint64_t count = csr_read(mcycle);
    CHECK(csr_read(mcycle) > count);
}

static void levels(void) {
    allow_all();
    CHECK_EQ(ends(MPP_S, lower_call, 0), CAUSE_ECALL_S);
    CHECK_EQ(trap.status & MPP, MPP_S);
    CHECK_EQ(trap.epc, lower_call + 2);
    CHECK_EQ(ends(0, lower_call, 0), CAUSE_ECALL_U);
    CHECK_EQ(trap.status & MPP, 0);
    CHECK_EQ(ends(MPP_S, lower_mstatus, 0), CAUSE_ILLEGAL);
    CHECK_EQ(ends(MPP_S, lower_mret, 0), CAUSE_ILLEGAL);
    CHECK_EQ(ends(0, lower_satp, 0), CAUSE_ILLEGAL);
    /* MRET clears MPRV on its way down. */
    csr_set(mstatus, MPRV);
    lower(0, lower_call, 0);
    CHECK_EQ(trap.status & MPRV, 0);
}

/* An illegal instruction of user mode goes to S-mode, whose handler calls. */
static void delegation(void) {
    allow_all();
    csr_write(medeleg, 1 << CAUSE_ILLEGAL);
    csr_write(stvec, lower_call);
    CHECK_EQ(ends(0, lower_mret, 0), CAUSE_ECALL_S);
    CHECK_EQ(csr_read(scause), CAUSE_ILLEGAL);
    CHECK_EQ(csr_read(sepc), lower_mret);
    CHECK_EQ(csr_read(sstatus) & SPP, 0);
    CHECK_EQ(ends(MPP_S, lower_mret, 0), CAUSE_ECALL_S);
    CHECK_EQ(csr_read(sstatus) & SPP, SPP);
    /* Never to a lower mode than where it is raised. */
    EXPECT(__asm__ volatile(".word 0xffffffff" : : : "memory"), CAUSE_ILLEGAL, 0xffffffff);
    /* An interrupt of S-mode's: not in machine mode, at once below it. */
    csr_write(mideleg, 2);
    csr_write(mie, 2);
    csr_set(mip, 2);
    csr_set(mstatus, MIE);
    CHECK_EQ(csr_read(mip) & 2, 2);
    CHECK_EQ(ends(0, lower_load, 0), CAUSE_ECALL_S);
    CHECK_EQ(csr_read(scause), INTERRUPT | 1);
    csr_clear(mip, 2);
    CHECK_EQ(csr_read(mip) & 2, 0);
    csr_clear(mstatus, MIE);
}

static void forbidden(void) {
    allow_all();
    static const struct {
        uint64_t bit;
        const char *code;
    } each[] = {{TVM, lower_satp}, {TVM, lower_fence}, {TSR, lower_sret}, {TW, lower_wfi}};
    csr_write(mie, 1 << 5);
    csr_write(mideleg, 1 << 5);
    csr_write(menvcfg, 0);
    csr_write(stvec, lower_call);
    csr_set(mip, 1 << 5); /* ends a WFI */
    for (unsigned i = 0; i < ARRAY_LEN(each); i++) {
        CHECK(ends(MPP_S, each[i].code, (uint64_t)lower_call) != CAUSE_ILLEGAL);
        csr_set(mstatus, each[i].bit);
        CHECK_EQ(ends(MPP_S, each[i].code, (uint64_t)lower_call), CAUSE_ILLEGAL);
        CHECK_EQ(trap.status & each[i].bit, each[i].bit);
        csr_clear(mstatus, each[i].bit);
    }
    csr_clear(mip, 1 << 5);
    csr_write(mie, 0);
    csr_write(mcounteren, 0);
    CHECK_EQ(ends(MPP_S, lower_time, 0), CAUSE_ILLEGAL);
    csr_write(mcounteren, 2);
    csr_write(scounteren, 0);
    CHECK_EQ(ends(MPP_S, lower_time, 0), CAUSE_ECALL_S);
    CHECK_EQ(ends(0, lower_time, 0), CAUSE_ILLEGAL);
    CHECK_EQ(ends(MPP_S, lower_stimecmp, 0), CAUSE_ILLEGAL);
    csr_write(menvcfg, 1ul << 63);
    CHECK_EQ(ends(MPP_S, lower_stimecmp, 0), CAUSE_ECALL_S);
    csr_write(menvcfg, 0);
    uint64_t *page = page_alloc();
    page[8] = 1;
    CHECK_EQ(ends(MPP_S, lower_zero, (uint64_t)&page[9]), CAUSE_ILLEGAL);
    csr_write(menvcfg, 1 << 7);
    CHECK_EQ(ends(MPP_S, lower_zero, (uint64_t)&page[9]), CAUSE_ECALL_S);
    CHECK_EQ(page[8], 0);
}

static void modify_privilege(void) {
    allow_all();
    uint64_t *page = page_alloc(), v = 0;
    page[0] = 55;
    CHECK(paging_on(3));
    map_page(VA, (uint64_t)page, PTE_RWX);
    EXPECT(v = *(volatile uint64_t *)VA, CAUSE_LOAD_ACCESS, VA); /* machine mode has no page tables */
    csr_clear(mstatus, MPP);
    csr_set(mstatus, MPP_S | MPRV);
    v = *(volatile uint64_t *)VA;
    csr_clear(mstatus, MPRV);
    CHECK_EQ(v, 55);
    uint64_t count = trap.count, cause, tval;
    csr_clear(mstatus, MPP);
    csr_set(mstatus, MPRV); /* as user mode: it may not */
    __asm__ volatile("ld %0, 0(%1)" : "+r"(v) : "r"(VA) : "memory");
    csr_clear(mstatus, MPRV);
    cause = trap.cause, tval = trap.tval;
    CHECK_EQ(trap.count, count + 1);
    CHECK_EQ(cause, CAUSE_LOAD_PAGE);
    CHECK_EQ(tval, VA);
    EXPECT(v = *(volatile uint64_t *)VA, CAUSE_LOAD_ACCESS, VA);
    paging_off();
}

static uint64_t napot(uint64_t base, uint64_t size) { return base >> 2 | (size / 8 - 1); }

static void protection(void) {
    uint64_t *page = page_alloc(), *next = page_alloc();
    page[0] = 0x8082;
    allow_all();
    for (unsigned may = 0; may < 8; may++) {
        if ((may & 3) == 2) /* reserved */
            continue;
        csr_write(pmpaddr0, napot((uint64_t)page, 4096));
        csr_clear(pmpcfg0, PMPCFG0_BYTE(0));
        csr_set(pmpcfg0, PMP_NAPOT | may);
        CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)page), may & 1 ? CAUSE_ECALL_S : CAUSE_LOAD_ACCESS);
        CHECK_EQ(ends(0, lower_load, (uint64_t)page + 8), may & 1 ? CAUSE_ECALL_U : CAUSE_LOAD_ACCESS);
        CHECK_EQ(ends(MPP_S, lower_store, (uint64_t)page + 64), may & 2 ? CAUSE_ECALL_S : CAUSE_STORE_ACCESS);
        page[0] = 0x00000073; /* ecall */
        __asm__ volatile("fence.i" : : : "memory");
        CHECK_EQ(ends(MPP_S, lower_jump, (uint64_t)page), may & 4 ? CAUSE_ECALL_S : CAUSE_INSN_ACCESS);
        CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)next), CAUSE_ECALL_S); /* what lies beside it */
        CHECK_EQ(*(volatile uint64_t *)page, 0x73);                       /* machine mode is free */
    }
    /* A range: from the entry below. */
    csr_write(pmpaddr1, (uint64_t)page >> 2);
    csr_write(pmpaddr2, (uint64_t)next >> 2);
    csr_write(pmpcfg0, (uint64_t)(PMP_NAPOT | 7) << 56 | PMP_TOR << 16);
    CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)page + 4088), CAUSE_LOAD_ACCESS);
    CHECK_EQ(trap.tval, page + 511);
    CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)next), CAUSE_ECALL_S);
    CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)page - 8), CAUSE_ECALL_S);
    /* No entry: no access but machine mode's. */
    csr_write(pmpcfg0, 0);
    CHECK_EQ(ends(MPP_S, lower_call, 0), CAUSE_INSN_ACCESS);
    allow_all();
}

/* Tables that S-mode may not read, and a small region in a large page. */
static void protected_tables(void) {
    allow_all();
    uint64_t *page = page_alloc();
    CHECK(paging_on(3));
    map_page(VA, (uint64_t)page, PTE_RWX);
    CHECK_EQ(ends(MPP_S, lower_load, VA), CAUSE_ECALL_S);
    CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)page), CAUSE_ECALL_S); /* the same page in one of 1 GiB */
    csr_write(pmpaddr0, napot((uint64_t)page, 4096));
    csr_set(pmpcfg0, PMP_NAPOT);
    sfence();
    CHECK_EQ(ends(MPP_S, lower_load, VA), CAUSE_LOAD_ACCESS);
    CHECK_EQ(trap.tval, VA);
    CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)page + 16), CAUSE_LOAD_ACCESS);
    CHECK_EQ(ends(MPP_S, lower_load, (uint64_t)page + 4096), CAUSE_ECALL_S);
    csr_write(pmpaddr0, napot((csr_read(satp) & 0xfffffffffff) << 12, 4096));
    sfence();
    CHECK_EQ(ends(MPP_S, lower_load, VA), CAUSE_INSN_ACCESS); /* not even its code */
    paging_off();
    allow_all();
}

static void timer_and_software_interrupt(void) {
    volatile uint64_t *compare = (volatile uint64_t *)(CLINT + 0x4000), *time = (volatile uint64_t *)(CLINT + 0xbff8);
    volatile uint32_t *msip = (volatile uint32_t *)CLINT;
    allow_all();
    *compare = ~0ul;
    CHECK_EQ(csr_read(mip) & (1 << 7 | 1 << 3), 0);
    uint64_t count = trap.count, start = *time;
    csr_write(mie, 1 << 7);
    csr_set(mstatus, MIE);
    *compare = start + 10000;
    while (trap.count == count)
        __asm__ volatile("wfi");
    CHECK_EQ(trap.cause, INTERRUPT | 7);
    CHECK(*time >= start + 10000);
    CHECK_EQ(csr_read(mip) & 1 << 7, 1 << 7);
    *compare = ~0ul;
    CHECK_EQ(csr_read(mip) & 1 << 7, 0);
    csr_write(mie, 1 << 3);
    *msip = 1;
    for (unsigned i = 0; i < 100 && trap.count == count + 1; i++)
        __asm__ volatile("nop");
    CHECK_EQ(trap.count, count + 2);
    CHECK_EQ(trap.cause, INTERRUPT | 3);
    CHECK_EQ(*msip, 1);
    *msip = 0;
    CHECK_EQ(csr_read(mip) & 1 << 3, 0);
    csr_clear(mstatus, MIE);
}

/* The last: it stays so until the machine is reset. */
static void locked(void) {
    uint64_t *page = page_alloc();
    allow_all();
    csr_write(pmpaddr0, napot((uint64_t)page, 4096));
    csr_set(pmpcfg0, 0x80 | PMP_NAPOT | 1);
    CHECK_EQ(*(volatile uint64_t *)page, 0);
    EXPECT(*(volatile uint64_t *)page = 1, CAUSE_STORE_ACCESS, page);
    csr_write(pmpaddr0, 0);
    csr_clear(pmpcfg0, PMPCFG0_BYTE(0));
    CHECK_EQ(csr_read(pmpcfg0) & 0xff, 0x80 | PMP_NAPOT | 1);
    EXPECT(*(volatile uint64_t *)(page + 511) = 1, CAUSE_STORE_ACCESS, page + 511);
    *(volatile uint64_t *)(page + 512) = 1;
}

#define ADUE (1ul << 61)

/* Svadu: where machine mode turns it on, accesses of lower modes set A, and stores D. */
static void hardware_updates(void) {
    static uint64_t data[512] __attribute__((aligned(4096)));
    allow_all();
    csr_write(medeleg, 0);
    CHECK(paging_on(3));
    csr_set(0x30a, ADUE);
    CHECK_EQ(csr_read(0x30a) & ADUE, ADUE);
    for (unsigned round = 0; round < 50; round++) {
        volatile uint64_t *e = map_page(VA, (uint64_t)data, PTE_V | PTE_R | (round & 1 ? PTE_W : 0));
        CHECK_EQ(ends(MPP_S, lower_load, VA), CAUSE_ECALL_S);
        CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A);
        CHECK_EQ(ends(MPP_S, lower_store, VA + 8), round & 1 ? CAUSE_ECALL_S : CAUSE_STORE_PAGE);
        CHECK_EQ(*e & (PTE_A | PTE_D), round & 1 ? PTE_A | PTE_D : PTE_A);
    }
    volatile uint64_t *e = map_page(VA, (uint64_t)data, PTE_V | PTE_R | PTE_W);
    CHECK_EQ(ends(MPP_S, lower_store, VA + 8), CAUSE_ECALL_S);
    CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A | PTE_D);
    csr_clear(0x30a, ADUE);
    *e = (uint64_t)data >> 12 << 10 | PTE_V | PTE_R | PTE_W;
    sfence();
    CHECK_EQ(ends(MPP_S, lower_load, VA), CAUSE_LOAD_PAGE);
    CHECK_EQ(*e & (PTE_A | PTE_D), 0);
    paging_off();
}

TESTS({"registers", registers}, {"levels", levels}, {"delegation", delegation}, {"forbidden", forbidden},
      {"modify_privilege", modify_privilege}, {"protection", protection}, {"protected_tables", protected_tables},
      {"timer_and_software_interrupt", timer_and_software_interrupt}, {"locked", locked},
      {"hardware_updates", hardware_updates});
