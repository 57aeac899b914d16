/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* tlb.c: what a TLB in software could get wrong: pages that fall on one place, accesses off one base on two pages, TLBI
 * of one address of a block, more changes of address spaces than it has names for. */
#include "paging.h"

#define VA TEST_VA
#define USER_RW (PTE_RW | PTE_AP_EL0 | PTE_PXN)
#define FAR_APART 0x1000000ul /* and multiples: a likely reach of the table */
#define STREAMS 7
#define BLOCK 0x200000ul

static void use(uint64_t *table, uint64_t asid) {
    write_sysreg(ttbr0_el1, (uint64_t)table | asid << 48);
    isb();
}

/* --- pages that fall on one place ------------------------------------------------------------- */
static __attribute__((noinline)) void triad(volatile uint64_t *to, volatile uint64_t *a, volatile uint64_t *b) {
    for (unsigned i = 0; i < 512; i++)
        to[i] = a[i] + 3 * b[i];
}

static void test_streams(void) {
    volatile uint64_t *at[STREAMS];
    uint64_t *ram[STREAMS], want[STREAMS];
    for (unsigned i = 0; i < STREAMS; i++) {
        ram[i] = page_alloc();
        at[i] = (volatile uint64_t *)(VA + FAR_APART * (i + 1));
        mmu_map(root, (uint64_t)at[i], (uint64_t)ram[i], PTE_RW);
        for (unsigned k = 0; k < 512; k++)
            ram[i][k] = i + 1;
        want[i] = i + 1;
    }
    isb();
    for (unsigned n = 0; n < 300; n++) {
        unsigned to = n % STREAMS, a = (n / 3 + 1) % STREAMS, b = (n * 5 + 2) % STREAMS;
        triad(at[to], at[a], at[b]);
        if (to != a && to != b) {
            want[to] = want[a] + 3 * want[b];
        } else {
            for (unsigned k = 1; k < 512; k++)
                ram[to][k] = ram[to][0];
            want[to] = ram[to][0];
        }
        for (unsigned k = 0; k < 512; k += 73)
            CHECK_EQ(ram[to][k], want[to]);
        if (n % 50 == 49) { /* they go one by one */
            for (unsigned i = 0; i < STREAMS; i++) {
                uint64_t *e = mmu_entry(root, (uint64_t)at[i]), old = *e;
                set_pte(e, 0, (uint64_t)at[i]);
                try(PSTATE_EL1T, READ, (uint64_t)at[i], FSC_TRANSLATION(3));
                *e = old;
                dsb();
                isb();
                CHECK_EQ(*at[i], want[i]);
            }
        }
    }
}

/* --- accesses off one base -------------------------------------------------------------------- */
struct record {
    uint64_t a;
    uint32_t b, c;
    uint16_t d[4];
    uint8_t e[8];
    uint64_t f[20];
};

static __attribute__((noinline)) uint64_t work(volatile struct record *r, uint64_t n) {
    r->a += n;
    r->b = r->c + (uint32_t)n;
    r->c = r->d[1];
    r->d[3] = (uint16_t)(r->e[7] + r->d[0]);
    r->e[1] = (uint8_t)n;
    r->f[19] = r->f[0] ^ n;
    r->f[0] = r->a + r->f[19];
    return r->f[7] + r->b + r->e[1];
}

static void test_straddle(void) {
    uint64_t va = VA + 0x20000;
    mmu_map(root, va, (uint64_t)page, PTE_RW);
    mmu_map(root, va + 4096, (uint64_t)page2, PTE_RW);
    isb();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned off = 4096 - 2 * sizeof(struct record); off < 4096 + 16; off += 8) {
            struct record model;
            uint8_t *bytes = (uint8_t *)&model;
            volatile struct record *r = (volatile struct record *)(va + off);
            for (unsigned i = 0; i < sizeof(model); i++) {
                bytes[i] = (uint8_t)(i * 7 + off + round);
                (off + i < 4096 ? page : page2)[(off + i) & 4095] = bytes[i];
            }
            for (unsigned n = 1; n < 6; n++)
                CHECK_EQ(work(r, n * 0x10001), work(&model, n * 0x10001));
            for (unsigned i = 0; i < sizeof(model); i++)
                CHECK_EQ((off + i < 4096 ? page : page2)[(off + i) & 4095], bytes[i]);
        }
    }
}

/* Aborts in the middle: what comes before has happened, and FAR is of the access, not of the base. */
SNIPPET(g_mixed, "ldr x1, [x0]\nldr x2, [x0, #16]\nstr x3, [x0, #8]\nldr x3, [x0, #24]\nstr x1, [x0, #24]");
static void mixed(uint32_t pstate, unsigned off, uint64_t second, int fault_at, unsigned fsc) {
    static const uint8_t disp[] = {0, 16, 8, 24, 24}, write[] = {0, 0, 1, 0, 1};
    uint64_t va = VA + 0x30000, base = va + off;
    *(uint64_t *)(page + off) = 100;
    set_pte(mmu_entry(root, va + 4096), second, va + 4096);
    for (unsigned n = 0; n < 3; n++) { /* the first look is not like the later ones */
        run_code(&c, pstate, at(pstate, g_mixed), base, 1, 2, 3);
        if (fault_at < 0) {
            CHECK_EQ(c.out.esr, ESR_DONE);
            CHECK_EQ(c.out.x[1], 100);
            continue;
        }
        unsigned ec = 0x25 - ((pstate & 12) == 0);
        CHECK_EQ(c.out.esr, ESR(ec, (write[fault_at] ? 0x40 : 0) | fsc));
        CHECK_EQ(c.out.far, base + disp[fault_at]);
        CHECK_EQ(c.out.elr, (uint64_t)at(pstate, g_mixed) + 4 * (unsigned)fault_at);
        CHECK_EQ(c.out.x[1], fault_at > 0 ? 100 : 1);
        if (fault_at > 2)
            CHECK_EQ(*(uint64_t *)((off + 8 < 4096 ? page : page2) + ((off + 8) & 4095)), 3);
    }
}

static void test_aborts(void) {
    static const uint32_t states[] = {PSTATE_EL0, PSTATE_EL1T};
    uint64_t va = VA + 0x30000;
    mmu_map(root, va, (uint64_t)page, USER_RW);
    mmu_map(root, va + 4096, (uint64_t)page2, USER_RW);
    isb();
    uint64_t ok = *mmu_entry(root, va + 4096);
    for (unsigned s = 0; s < 2; s++) {
        for (unsigned n = 0; n < 3; n++) {
            mixed(states[s], 4096 - 8, ok, -1, 0);
            mixed(states[s], 4096 - 8, 0, 1, FSC_TRANSLATION(3));
            mixed(states[s], 4096 - 24, 0, 3, FSC_TRANSLATION(3));
            mixed(states[s], 4096 - 24, ok | PTE_AP_RO, 4, FSC_PERMISSION(3));
            mixed(states[s], 4096 - 8, ok | PTE_AP_RO, 2, FSC_PERMISSION(3));
            mixed(states[s], 4096 - 32, 0, -1, 0);
            mixed(states[s], 64, ok, -1, 0);
        }
    }
    /* Loads and stores off one base on a page that may only be read. */
    set_pte(mmu_entry(root, va), *mmu_entry(root, va) | PTE_AP_RO, va);
    for (unsigned s = 0; s < 2; s++)
        mixed(states[s], 64, ok, 2, FSC_PERMISSION(3));
}

/* Stores off one base with loads, to a page whose code has run. */
static __attribute__((noinline)) uint64_t patch(volatile uint32_t *code, uint32_t word) {
    uint32_t sum = code[0] + code[2];
    code[1] = word;
    return sum + code[3];
}
static void test_code(void) {
    uint32_t *code = page_alloc();
    code[0] = 0xd503201f; /* nop */
    code[2] = 0xd65f03c0; /* ret */
    for (unsigned n = 0; n < 300; n++) {
        patch(code, 0x52800000u | n << 5); /* mov w0, #n */
        code_sync(code, 16);
        CHECK_EQ(((uint64_t (*)(void))(uintptr_t)code)(), n);
    }
}

/* --- blocks ----------------------------------------------------------------------------------- */
static void test_blocks(void) {
    uint64_t va = VA + GIB, first = 0x44000000, second = 0x44200000;
    for (uint64_t off = 0; off < BLOCK; off += 4096) {
        *(uint64_t *)(first + off) = off + 1;
        *(uint64_t *)(second + off) = off + 2;
    }
    mmu_map(root, va, (uint64_t)page, PTE_RW); /* makes the tables */
    mmu_map(root, va - 4096, (uint64_t)page, PTE_RW);
    mmu_map(root, va + BLOCK, (uint64_t)page2, PTE_RW);
    *(uint64_t *)page = 5;
    *(uint64_t *)page2 = 6;
    uint64_t *l2 = mmu_entry_at(root, va, 2);
    for (unsigned n = 0; n < 40; n++) {
        uint64_t at_one = va + n * 4096ul * 13 % BLOCK;
        *l2 = 0;
        tlbi_va(at_one);
        *l2 = (n & 1 ? second : first) | (PTE_RW & ~2ul);
        dsb();
        isb();
        for (uint64_t off = 0; off < BLOCK; off += 4096)
            CHECK_EQ(*(volatile uint64_t *)(va + off), off + 1 + (n & 1));
        CHECK_EQ(*(volatile uint64_t *)(va - 4096), 5);
        CHECK_EQ(*(volatile uint64_t *)(va + BLOCK), 6);
    }
    *l2 = 0;
    tlbi_va(va);
    for (uint64_t off = 0; off < BLOCK; off += 0x11000)
        try(PSTATE_EL1T, READ, va + off, FSC_TRANSLATION(2));
}

/* --- many changes of address spaces ----------------------------------------------------------- */
static void test_many_spaces(void) {
    enum { SPACES = 3 };
    uint64_t *roots[SPACES], va = VA + 0x40000;
    uint8_t *ram[SPACES];
    for (unsigned i = 0; i < SPACES; i++) {
        roots[i] = mmu_new_root();
        roots[i][0] = root[0];
        roots[i][1] = root[1];
        ram[i] = page_alloc();
        *(uint64_t *)ram[i] = 1000 * i;
        mmu_map(roots[i], va, (uint64_t)ram[i], PTE_RW | PTE_NG);
    }
    isb();
    for (unsigned n = 0; n < 13000; n++) {
        unsigned i = n % 100 == 99 ? 2 : n & 1; /* the last one is seldom used, and keeps what it has */
        use(roots[i], 1 + i);
        uint64_t value = *(volatile uint64_t *)va;
        CHECK_EQ(value, *(uint64_t *)ram[i]);
        *(volatile uint64_t *)va = value + 1;
        if (i < 2)
            __asm__ volatile("dsb ish\ntlbi aside1, %0\ndsb ish\nisb" : : "r"((1ul + i) << 48) : "memory");
    }
    use(root, 0);
    CHECK_EQ(*(uint64_t *)ram[2], 2000 + 130);
    CHECK_EQ(*(uint64_t *)ram[0], 6500);
    CHECK_EQ(*(uint64_t *)ram[1], 1000 + 6500 - 130);
}

TESTS({"start", start}, {"streams", test_streams}, {"straddle", test_straddle}, {"aborts", test_aborts},
      {"code", test_code}, {"blocks", test_blocks}, {"many spaces", test_many_spaces});
