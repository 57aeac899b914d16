/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* paging.c: translation and permission checks of the stage 1 MMU, and the faults they raise. */
#include "paging.h"

/* --- permissions ------------------------------------------------------------------------------ */

static bool allowed(enum op op, bool user, bool pan, bool wxn, unsigned ap, bool uxn, bool pxn) {
    bool el0 = ap & 1, ro = ap & 2;
    if (op == LDTR || op == STTR) {
        user = true;
        op = op == LDTR ? READ : WRITE;
    }
    if (op == EXEC)
        return user ? !uxn && !(wxn && el0 && !ro) : !pxn && !(el0 && !ro) && !(wxn && !ro);
    if (user ? !el0 : pan && el0)
        return false;
    return op == READ || !ro;
}

/* check_all(): every access from every level to a page with these (effective) permissions. */
static void check_all(int line, uint64_t va, unsigned level, bool wxn, unsigned ap, bool uxn, bool pxn) {
    static const uint32_t states[] = {PSTATE_EL0, PSTATE_EL0 | PSTATE_PAN, PSTATE_EL1T, PSTATE_EL1T | PSTATE_PAN};
    for (unsigned s = 0; s < ARRAY_LEN(states); s++) {
        for (enum op op = READ; op < OPS; op++) {
            bool ok = allowed(op, (states[s] & 12) == 0, states[s] & PSTATE_PAN, wxn, ap, uxn, pxn);
            try_at(line, states[s], op, va, ok ? NO_FAULT : FSC_PERMISSION(level));
        }
    }
}

static uint64_t perm_bits(unsigned ap, unsigned uxn, unsigned pxn) {
    return (uint64_t)ap << 6 | (uint64_t)uxn << 54 | (uint64_t)pxn << 53;
}

static void test_permissions(void) {
    uint64_t *e = mmu_entry(root, TEST_VA);
    for (unsigned wxn = 0; wxn < 2; wxn++) {
        write_sysreg(sctlr_el1, SCTLR_ON | (wxn ? SCTLR_WXN : 0));
        isb();
        tlbi_all();
        for (unsigned i = 0; i < 16; i++) {
            set_pte(e, (uint64_t)page | PTE_RW | perm_bits(i & 3, i >> 2 & 1, i >> 3), TEST_VA);
            check_all(__LINE__, TEST_VA, 3, wxn, i & 3, i >> 2 & 1, i >> 3);
        }
    }
    write_sysreg(sctlr_el1, SCTLR_ON);
    isb();
    tlbi_all();
    set_pte(e, (uint64_t)page | PTE_RW, TEST_VA);
}

static void test_table_attributes(void) {
    for (unsigned level = 0; level < 3; level++) {
        uint64_t *table = mmu_entry_at(root, TEST_VA, level);
        uint64_t old = *table;
        for (unsigned page_ap = 0; page_ap < 4; page_ap++) {
            set_pte(mmu_entry(root, TEST_VA), (uint64_t)page | PTE_RW | (uint64_t)page_ap << 6, TEST_VA);
            for (unsigned i = 0; i < 16; i++) {
                unsigned apt = i & 3, xnt = i >> 2 & 1, pxnt = i >> 3;
                *table = old | (uint64_t)apt << 61 | (uint64_t)xnt << 60 | (uint64_t)pxnt << 59;
                tlbi_all();
                unsigned ap = page_ap;
                if (apt & 1)
                    ap &= ~1u;
                if (apt & 2)
                    ap |= 2;
                check_all(__LINE__, TEST_VA, 3, false, ap, xnt, pxnt);
            }
        }
        *table = old;
        tlbi_all();
    }
    set_pte(mmu_entry(root, TEST_VA), (uint64_t)page | PTE_RW, TEST_VA);
}

/* --- translation, access flag and address size faults ----------------------------------------- */

static void test_translation_faults(void) {
    check_fault(__LINE__, TEST_VA + 0x8000000000, FSC_TRANSLATION(0));
    check_fault(__LINE__, TEST_VA + GIB, FSC_TRANSLATION(1));
    check_fault(__LINE__, TEST_VA + 0x200000, FSC_TRANSLATION(2));
    check_fault(__LINE__, TEST_VA + 0x1000, FSC_TRANSLATION(3));
    check_fault(__LINE__, TEST_VA + 0x1ff8, FSC_TRANSLATION(3));
    check_fault(__LINE__, 0xffff800000000000ul, FSC_TRANSLATION(0));
    check_fault(__LINE__, 0x0001000000000000ul, FSC_TRANSLATION(0));
    check_fault(__LINE__, 0x7fff000000000000ul, FSC_TRANSLATION(0));
    check_fault(__LINE__, 0xfffe000000000000ul, FSC_TRANSLATION(0));
    uint64_t *l3 = mmu_entry(root, TEST_VA), old = *l3;
    set_pte(l3, old & ~2ul, TEST_VA); /* reserved at level 3 */
    check_fault(__LINE__, TEST_VA, FSC_TRANSLATION(3));
    set_pte(l3, old & ~1ul, TEST_VA);
    check_fault(__LINE__, TEST_VA, FSC_TRANSLATION(3));
    set_pte(l3, old, TEST_VA);
    uint64_t *l0 = mmu_entry_at(root, TEST_VA, 0), old0 = *l0;
    *l0 = 0x40000000 | (PTE_RW & ~2ul); /* no blocks at level 0 */
    tlbi_all();
    check_fault(__LINE__, TEST_VA, FSC_TRANSLATION(0));
    *l0 = old0;
    tlbi_all();
    try(PSTATE_EL1T, READ, TEST_VA, NO_FAULT);
}

static void test_access_flag(void) {
    uint64_t *l3 = mmu_entry(root, TEST_VA), old = *l3;
    set_pte(l3, old & ~PTE_AF, TEST_VA);
    check_fault(__LINE__, TEST_VA, FSC_ACCESS(3));
    set_pte(l3, (old & ~PTE_AF) | PTE_AP_RO | PTE_UXN | PTE_PXN, TEST_VA); /* comes before permissions */
    check_fault(__LINE__, TEST_VA, FSC_ACCESS(3));
    set_pte(l3, old | PTE_AP_EL0 | PTE_AP_RO, TEST_VA);
    try(PSTATE_EL0, READ, TEST_VA, NO_FAULT);
    try(PSTATE_EL0, WRITE, TEST_VA, FSC_PERMISSION(3));
    set_pte(l3, old, TEST_VA);
    uint64_t *l2 = mmu_entry_at(root, TEST_VA + 0x200000, 2);
    *l2 = 0x40000000 | (PTE_RW & ~2ul & ~PTE_AF);
    tlbi_all();
    check_fault(__LINE__, TEST_VA + 0x200000, FSC_ACCESS(2));
    *l2 = 0;
    uint64_t *l1 = mmu_entry_at(root, TEST_VA + GIB, 1);
    *l1 = 0x40000000 | (PTE_RW & ~2ul & ~PTE_AF);
    tlbi_all();
    check_fault(__LINE__, TEST_VA + GIB + 0x12345678, FSC_ACCESS(1));
    *l1 = 0;
    tlbi_all();
}

static void test_address_size(void) {
    uint64_t *l3 = mmu_entry(root, TEST_VA), old = *l3;
    set_tcr(TCR_ON & ~(7ul << 32)); /* IPS: 32 bits */
    set_pte(l3, old | 0x100000000ul, TEST_VA);
    check_fault(__LINE__, TEST_VA, FSC_SIZE(3));
    set_pte(l3, old, TEST_VA);
    for (unsigned level = 0; level < 3; level++) {
        uint64_t *e = mmu_entry_at(root, TEST_VA, level), table = *e;
        *e |= 1ul << 47;
        tlbi_all();
        check_fault(__LINE__, TEST_VA, FSC_SIZE(level));
        *e = table;
        tlbi_all();
    }
    uint64_t *l2 = mmu_entry_at(root, TEST_VA + 0x200000, 2);
    *l2 = 0x1040000000 | (PTE_RW & ~2ul);
    tlbi_all();
    check_fault(__LINE__, TEST_VA + 0x200000, FSC_SIZE(2));
    *l2 = 0;
    write_sysreg(ttbr1_el1, 1ul << 40);
    tlbi_all();
    check_fault(__LINE__, 0xffff800000000000ul, FSC_SIZE(0));
    write_sysreg(ttbr1_el1, mmu_root1());
    set_tcr(TCR_ON);
    try(PSTATE_EL1T, READ, TEST_VA, NO_FAULT);
}

static void test_blocks(void) {
    uint64_t *l2 = mmu_entry_at(root, TEST_VA + 0x400000, 2), *l1 = mmu_entry_at(root, TEST_VA + 2 * GIB, 1);
    uint64_t pa = (uint64_t)page2, big = TEST_VA + 0x400000 + (pa & 0x1fffff),
             huge = TEST_VA + 2 * GIB + (pa & (GIB - 1));
    *l2 = (pa & ~0x1ffffful) | (PTE_RW & ~2ul);
    *l1 = (pa & ~(GIB - 1)) | (PTE_RW & ~2ul);
    dsb();
    for (unsigned i = 0; i < 64; i++) {
        *(volatile uint64_t *)(big + 8 * i) = i * 0x123456789ul;
        CHECK_EQ(*(volatile uint64_t *)(huge + 8 * i), i * 0x123456789ul);
        CHECK_EQ(((volatile uint64_t *)page2)[i], i * 0x123456789ul);
        *(volatile uint8_t *)(huge + 8 * i) = 0x5a;
        CHECK_EQ(*(volatile uint8_t *)(big + 8 * i), 0x5a);
    }
    /* permissions of blocks, at their first and last page */
    for (unsigned i = 0; i < 16; i++) {
        *l2 = (pa & ~0x1ffffful) | (PTE_RW & ~2ul) | perm_bits(i & 3, i >> 2 & 1, i >> 3);
        *l1 = (pa & ~(GIB - 1)) | (PTE_RW & ~2ul) | perm_bits(i & 3, i >> 2 & 1, i >> 3);
        tlbi_all();
        ((volatile uint32_t *)page2)[0] = BRK_DONE;
        code_sync(page2, 4);
        check_all(__LINE__, big, 2, false, i & 3, i >> 2 & 1, i >> 3);
        check_all(__LINE__, huge, 1, false, i & 3, i >> 2 & 1, i >> 3);
    }
    *l2 = *l1 = 0;
    tlbi_all();
    check_fault(__LINE__, big, FSC_TRANSLATION(2));
    check_fault(__LINE__, huge, FSC_TRANSLATION(1));
    for (unsigned i = 0; i < 1024; i++)
        ((uint32_t *)page2)[i] = BRK_DONE;
    code_sync(page2, 4096);
}

/* --- sizes of the address space, EPD, TBI ----------------------------------------------------- */

static void test_t1sz(void) {
    for (unsigned tsz = 16; tsz <= 39; tsz++) {
        unsigned bits = 64 - tsz, level = 3 - (bits - 12 - 1) / 9;
        uint64_t low = -(1ul << bits), high = -4096ul;
        uint64_t *top = mmu_new_root();
        /* mmu_map() builds four levels; the walk starts at `level`, with the table of that level */
        mmu_map(top, low, (uint64_t)page, PTE_RW);
        mmu_map(top, high, (uint64_t)page2, PTE_RW);
        uint64_t *t = top;
        for (unsigned l = 0; l < level; l++)
            t = (uint64_t *)(*mmu_entry_at(top, high, l) & 0xfffffffff000);
        /* a table of fewer entries: those of the highest addresses come first in it */
        unsigned entries = 1u << (bits - (12 + 9 * (3 - level)));
        uint64_t *start_table = page_alloc();
        for (unsigned i = 0; i < entries; i++)
            start_table[i] = t[512 - entries + i];
        write_sysreg(ttbr1_el1, start_table);
        set_tcr((TCR_ON & ~(63ul << 16)) | (uint64_t)tsz << 16);
        *(volatile uint32_t *)low = BRK_DONE;
        CHECK_EQ(*(volatile uint32_t *)high, BRK_DONE);
        try(PSTATE_EL1T, EXEC, low, NO_FAULT);
        try(PSTATE_EL1T, EXEC, high, NO_FAULT);
        try(PSTATE_EL1T, READ, high, NO_FAULT);
        if (tsz > 16)
            check_fault(__LINE__, low - 8, FSC_TRANSLATION(0));
        check_fault(__LINE__, 0xff00000000000000ul, FSC_TRANSLATION(0));
    }
    write_sysreg(ttbr1_el1, mmu_root1());
    set_tcr(TCR_ON);
}

/* With the MMU off in between: the code would have to run from cached translations otherwise. */
static void set_lower(const uint64_t *table, uint64_t tcr) {
    uint64_t sctlr = read_sysreg(sctlr_el1);
    write_sysreg(sctlr_el1, sctlr & ~1ul);
    isb();
    write_sysreg(ttbr0_el1, table);
    set_tcr(tcr);
    write_sysreg(sctlr_el1, sctlr);
    isb();
}

static void test_t0sz(void) {
    uint64_t *l1 = (uint64_t *)(root[0] & 0xfffffffff000);
    for (unsigned tsz = 16; tsz <= 33; tsz++) {
        set_lower(tsz < 25 ? root : l1, (TCR_ON & ~63ul) | tsz);
        uint64_t end = 1ul << (64 - tsz);
        try(PSTATE_EL1T, READ, (uint64_t)page, NO_FAULT);
        try(PSTATE_EL1T, READ, end, FSC_TRANSLATION(0));
        try(PSTATE_EL1T, WRITE, end | (uint64_t)page, FSC_TRANSLATION(0));
        try(PSTATE_EL1T, EXEC, end | (uint64_t)page, FSC_TRANSLATION(0));
        set_lower(root, TCR_ON);
    }
    try(PSTATE_EL1T, READ, TEST_VA, NO_FAULT);
}

/* EPD0 takes away everything below: the code, with vectors of its own, runs from TTBR1. */
__asm__(".pushsection .text.epd0, \"ax\"\n.balign 4096\nepd0_page:\n"
        "mov x5, lr\nmrs x6, vbar_el1\nadr x7, epd0_page\nmsr vbar_el1, x7\nmsr tcr_el1, x0\nisb\n"
        "tlbi vmalle1\ndsb sy\nisb\nldr x9, [x1]\n"
        "msr vbar_el1, x6\nisb\nmov x0, x3\nmov x1, x4\nmov lr, x5\nret\n"
        ".org epd0_page + 0x200\n"
        "mrs x3, esr_el1\nmrs x4, far_el1\nmsr tcr_el1, x2\nisb\ntlbi vmalle1\ndsb sy\nisb\n"
        "mrs x8, elr_el1\nadd x8, x8, #4\nmsr elr_el1, x8\neret\n"
        ".org epd0_page + 0x1000\n.popsection");
extern uint8_t epd0_page[];

static void test_epd(void) {
    uint64_t va = 0xffffff8000000000ul;
    mmu_map(mmu_root1(), va, (uint64_t)epd0_page, PTE_RW);
    mmu_map(mmu_root1(), va + 4096, (uint64_t)page, PTE_RW);
    isb();
    try(PSTATE_EL1T, READ, va + 4096, NO_FAULT);
    set_tcr(TCR_ON | 1ul << 23); /* EPD1 */
    check_fault(__LINE__, va + 4096, FSC_TRANSLATION(0));
    set_tcr(TCR_ON);
    if (read_sysreg(id_aa64mmfr2_el1) >> 60) { /* E0PD1: the same for EL0 only */
        set_pte(mmu_entry(mmu_root1(), va + 4096), (uint64_t)page | PTE_RW | PTE_AP_EL0, va + 4096);
        try(PSTATE_EL0, READ, va + 4096, NO_FAULT);
        set_tcr(TCR_ON | 1ul << 56);
        for (enum op op = READ; op < OPS; op++)
            try(PSTATE_EL0, op, va + 4096, FSC_TRANSLATION(0));
        try(PSTATE_EL1T, READ, va + 4096, NO_FAULT);
        try(PSTATE_EL1T, WRITE, va + 4096, NO_FAULT);
        try(PSTATE_EL1T, LDTR, va + 4096, FSC_TRANSLATION(0));
        set_tcr(TCR_ON);
        try(PSTATE_EL0, READ, va + 4096, NO_FAULT);
    }
    register uint64_t x0 __asm__("x0") = TCR_ON | 1ul << 7;
    register uint64_t x1 __asm__("x1") = (uint64_t)page;
    register uint64_t x2 __asm__("x2") = TCR_ON;
    register uint64_t x3 __asm__("x3") = va;
    uint64_t daif = read_sysreg(daif);
    __asm__ volatile("msr daifset, #15\nblr x3\nmsr daif, %4"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
                     : "r"(daif)
                     : "x4", "x5", "x6", "x7", "x8", "x9", "x30", "memory");
    CHECK_EQ(x0, ESR(0x25, FSC_TRANSLATION(0)));
    CHECK_EQ(x1, (uint64_t)page);
}

static void test_tbi(void) {
    uint64_t tag = 0xa5ul << 56, high = 0xffff900000000000ul;
    mmu_map(mmu_root1(), high, (uint64_t)page, PTE_RW | PTE_AP_EL0);
    mmu_map(root, TEST_VA + 0x5000, (uint64_t)page, PTE_RW | PTE_AP_EL0);
    uint64_t low = TEST_VA + 0x5000;
    isb();
    check_fault(__LINE__, low | tag, FSC_TRANSLATION(0));
    check_fault(__LINE__, (high & ~(0xfful << 56)) | tag, FSC_TRANSLATION(0));
    set_tcr(TCR_ON | 3ul << 37);
    uint64_t tagged[] = {low | tag, low | 0xfful << 56, (high & ~(0xfful << 56)) | tag, high & ~(0xfful << 56), low,
                         high};
    for (unsigned i = 0; i < ARRAY_LEN(tagged); i++) {
        for (enum op op = READ; op < OPS; op++)
            if (op != EXEC) {
                try(PSTATE_EL0, op, tagged[i], NO_FAULT);
                try(PSTATE_EL1T, op, tagged[i], NO_FAULT);
            }
        run_code(&c, PSTATE_EL0, (void *)tagged[i], 0, 0, 0, 0); /* the tag goes when the PC is set */
        context_expect(&c, VEC_SYNC_LOWER, ESR_DONE, i < 2 || i == 4 ? low : high, PSTATE_EL0);
    }
    /* FAR keeps the tag */
    try(PSTATE_EL1T, READ, (TEST_VA + 0x6000) | tag, FSC_TRANSLATION(3));
    try(PSTATE_EL0, WRITE, TEST_VA | tag, FSC_PERMISSION(3));
    run_code(&c, PSTATE_EL1T, (void *)((TEST_VA + 0x6000) | tag), 0, 0, 0, 0);
    context_expect(&c, VEC_SYNC_SP0, ESR(0x21, FSC_TRANSLATION(3)), TEST_VA + 0x6000, PSTATE_EL1T);
    CHECK_EQ(c.out.far, TEST_VA + 0x6000);
    set_tcr(TCR_ON | 1ul << 38); /* TBI1 only */
    check_fault(__LINE__, low | tag, FSC_TRANSLATION(0));
    try(PSTATE_EL0, READ, tagged[2], NO_FAULT);
    set_tcr(TCR_ON);
}

/* --- AT --------------------------------------------------------------------------------------- */

#define AT_PAR(form, va)                                                                                               \
    ({                                                                                                                 \
        __asm__ volatile("at " form ", %0\nisb" : : "r"(va) : "memory");                                               \
        read_sysreg(par_el1);                                                                                          \
    })
static void test_at(void) {
    uint64_t *e = mmu_entry(root, TEST_VA);
    uint64_t ok = (uint64_t)page | 0xfful << 56 | 1ul << 11 | 3ul << 7, ns = 1ul << 9;
    for (unsigned ap = 0; ap < 4; ap++) {
        set_pte(e, (uint64_t)page | PTE_RW | (uint64_t)ap << 6, TEST_VA);
        uint64_t bad = 1 | FSC_PERMISSION(3) << 1 | 1ul << 11;
        CHECK_EQ(AT_PAR("s1e1r", TEST_VA) & ~ns, ok);
        CHECK_EQ(AT_PAR("s1e1w", TEST_VA + 0x123) & ~ns, ap & 2 ? bad : ok);
        CHECK_EQ(AT_PAR("s1e0r", TEST_VA) & ~ns, ap & 1 ? ok : bad);
        CHECK_EQ(AT_PAR("s1e0w", TEST_VA) & ~ns, ap == 1 ? ok : bad);
    }
    set_pte(e, (uint64_t)page | PTE_RW | PTE_ATTR_DEVICE, TEST_VA);
    CHECK_EQ(AT_PAR("s1e1r", TEST_VA) & ~ns & ~(3ul << 7), (uint64_t)page | 1ul << 11);
    set_pte(e, ((uint64_t)page | PTE_RW) & ~PTE_AF, TEST_VA);
    CHECK_EQ(AT_PAR("s1e1r", TEST_VA), 1 | FSC_ACCESS(3) << 1 | 1ul << 11);
    CHECK_EQ(AT_PAR("s1e0w", TEST_VA + 0x1000), 1 | FSC_TRANSLATION(3) << 1 | 1ul << 11);
    CHECK_EQ(AT_PAR("s1e1w", 0xffff900000001000), 1 | FSC_TRANSLATION(3) << 1 | 1ul << 11);
    CHECK_EQ(AT_PAR("s1e1r", 0xfff0000000000000), 1 | FSC_TRANSLATION(0) << 1 | 1ul << 11);
    set_pte(e, (uint64_t)page | PTE_RW, TEST_VA);
    mmu_off();
    CHECK_EQ(AT_PAR("s1e1r", 0x40001234ul) & 0xfffffffff001, 0x40001000);
    mmu_on();
}

TESTS({"start", start}, {"permissions", test_permissions}, {"table attributes", test_table_attributes},
      {"translation faults", test_translation_faults}, {"access flag", test_access_flag},
      {"address size", test_address_size}, {"blocks", test_blocks}, {"t1sz", test_t1sz}, {"t0sz", test_t0sz},
      {"epd", test_epd}, {"tbi", test_tbi}, {"at", test_at});
