/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* tlbi.c: TLB maintenance, address spaces and ASIDs: what was unmapped, remapped or restricted is so after TLBI and
 * DSB. */
#include "payload.h"

#define IL (1ul << 25)
#define ESR(ec, iss) ((uint64_t)(ec) << 26 | IL | (iss))
#define ESR_DONE ESR(0x3c, 0x7777)
#define TRANSLATION 7u
#define PERMISSION 15u
#define ACCESS_FLAG 11u
#define VA 0x10000000000ul
#define BLOCK_VA (VA + 0x40000000ul)
#define HIGH_VA 0xffff800000000000ul
#define USER_RW (PTE_RW | PTE_AP_EL0 | PTE_PXN)
#define SPACES 4

static struct context c;
static uint64_t *roots[SPACES];
static uint8_t *pages[SPACES + 2];

static void use(unsigned space, unsigned asid) {
    write_sysreg(ttbr0_el1, (uint64_t)roots[space] | (uint64_t)asid << 48);
    isb();
}

static void start(void) {
    mmu_on();
    mmu_user_alias();
    roots[0] = mmu_root0();
    for (unsigned i = 1; i < SPACES; i++) {
        roots[i] = mmu_new_root();
        roots[i][0] = roots[0][0];
        roots[i][1] = roots[0][1];
    }
    for (unsigned i = 0; i < ARRAY_LEN(pages); i++) {
        pages[i] = page_alloc();
        *(uint64_t *)pages[i] = 0x1000 + i;
    }
    for (uint64_t off = 0; off < 0x200000; off += 4096) {
        *(uint64_t *)(0x44000000 + off) = off + 1;
        *(uint64_t *)(0x44200000 + off) = off + 2;
    }
    use(0, 1);
    tlbi_all();
}

SNIPPET(code_read, "ldr x1, [x0]");
SNIPPET(code_write, "str x1, [x0]");

/* access(): at EL0 or EL1, read or write; the ESR. */
static uint64_t access(bool user, bool write, uint64_t va) {
    const uint32_t *code = write ? code_write : code_read;
    run_code(&c, user ? PSTATE_EL0 : PSTATE_EL1T, user ? USER(code) : code, va, 0x77, 0, 0);
    if (c.out.esr != ESR_DONE)
        CHECK_EQ(c.out.far, va);
    return c.out.esr;
}
static uint64_t abort_esr(bool user, bool write, unsigned fsc) {
    return ESR(user ? 0x24 : 0x25, (write ? 0x40 : 0) | fsc);
}

/* --- every form ------------------------------------------------------------------------------- */

#define FORM(op)                                                                                                       \
    static void op(uint64_t arg) { __asm__ volatile("dsb sy\ntlbi " #op ", %0\ndsb sy\nisb" : : "r"(arg) : "memory"); }
#define FORM0(op)                                                                                                      \
    static void op(uint64_t arg) {                                                                                     \
        (void)arg;                                                                                                     \
        __asm__ volatile("dsb sy\ntlbi " #op "\ndsb sy\nisb" : : : "memory");                                          \
    }
FORM0(vmalle1)
FORM0(vmalle1is)
/* clang-format off */
FORM(vae1) FORM(vae1is) FORM(vale1) FORM(vale1is) FORM(vaae1) FORM(vaae1is) FORM(vaale1) FORM(vaale1is)
FORM(aside1) FORM(aside1is)
    /* clang-format on */

    enum {
        BY_VA = 1,
        BY_ASID = 2,
        TABLES = 4
    };
static const struct {
    const char *name;
    void (*run)(uint64_t arg);
    unsigned kind; /* what its argument names; TABLES: also takes cached table entries */
} forms[] = {
    {"vmalle1", vmalle1, TABLES},
    {"vmalle1is", vmalle1is, TABLES},
    {"vae1", vae1, BY_VA | BY_ASID | TABLES},
    {"vae1is", vae1is, BY_VA | BY_ASID | TABLES},
    {"vale1", vale1, BY_VA | BY_ASID},
    {"vale1is", vale1is, BY_VA | BY_ASID},
    {"vaae1", vaae1, BY_VA | TABLES},
    {"vaae1is", vaae1is, BY_VA | TABLES},
    {"vaale1", vaale1, BY_VA},
    {"vaale1is", vaale1is, BY_VA},
    {"aside1", aside1, BY_ASID | TABLES},
    {"aside1is", aside1is, BY_ASID | TABLES},
};

static void tlbi(unsigned form, uint64_t va, unsigned asid) {
    uint64_t arg = forms[form].kind & BY_VA ? va >> 12 & 0xffffffffffful : 0;
    forms[form].run(arg | (forms[form].kind & BY_ASID ? (uint64_t)asid << 48 : 0));
}

static void name_form(unsigned form, unsigned before) {
    (void)before;
    print("  form ");
    print(forms[form].name);
    print("\n");
}

/* one_form(): the life of one entry (page or block) under one TLBI form. */
static bool one_form(unsigned form, uint64_t va, uint64_t *e, uint64_t pa1, uint64_t pa2, uint64_t attrs,
                     unsigned level, unsigned asid) {
    unsigned tr = 4 + level, ap = 12 + level, af = 8 + level;
    bool ok = true;
#define WANT(x, y)                                                                                                     \
    do {                                                                                                               \
        uint64_t a_ = (x), b_ = (y);                                                                                   \
        CHECK_EQ(a_, b_);                                                                                              \
        ok &= a_ == b_;                                                                                                \
    } while (0)
    for (unsigned user = 0; user < 2; user++) {
        *e = pa1 | attrs;
        tlbi(form, va, asid);
        WANT(access(user, false, va), ESR_DONE);
        WANT(c.out.x[1], *(uint64_t *)(pa1 + (va & 0x1ff000 & (level == 2 ? ~0ul : 0))));
        *e = 0;
        tlbi(form, va, asid);
        WANT(access(user, false, va), abort_esr(user, false, tr));
        WANT(access(user, true, va), abort_esr(user, true, tr));
        *e = pa2 | attrs; /* an invalid entry is never cached */
        dsb();
        isb();
        WANT(access(user, false, va), ESR_DONE);
        WANT(c.out.x[1], *(uint64_t *)(pa2 + (va & 0x1ff000 & (level == 2 ? ~0ul : 0))));
        WANT(access(user, true, va + 8), ESR_DONE);
        *e = pa2 | attrs | PTE_AP_RO;
        tlbi(form, va, asid);
        WANT(access(user, true, va + 8), abort_esr(user, true, ap));
        WANT(access(user, false, va), ESR_DONE);
        *e = pa2 | attrs;
        tlbi(form, va, asid);
        WANT(access(user, true, va + 8), ESR_DONE);
        *e = (pa2 | attrs) & ~PTE_AF;
        tlbi(form, va, asid);
        WANT(access(user, false, va), abort_esr(user, false, af));
        *e = pa2 | (attrs & ~PTE_AP_EL0);
        tlbi(form, va, asid);
        WANT(access(true, false, va), abort_esr(true, false, ap));
        WANT(access(false, true, va + 8), ESR_DONE);
    }
#undef WANT
    return ok;
}

static void test_forms(void) {
    for (unsigned form = 0; form < ARRAY_LEN(forms); form++) {
        for (unsigned global = 0; global < 2; global++) {
            if (global && (forms[form].kind & (BY_ASID | BY_VA)) == BY_ASID)
                continue; /* ASIDE1 leaves global entries */
            use(0, 1);
            mmu_map(roots[0], VA, (uint64_t)pages[0], PTE_PAGE);
            *mmu_entry(roots[0], VA) = 0;
            uint64_t ng = global ? 0 : PTE_NG;
            bool ok =
                one_form(form, VA, mmu_entry(roots[0], VA), (uint64_t)pages[0], (uint64_t)pages[1], USER_RW | ng, 3, 1);
            uint64_t *l2 = mmu_entry_at(roots[0], BLOCK_VA, 2);
            if (!l2) {
                mmu_map(roots[0], BLOCK_VA, 0, 0);
                l2 = mmu_entry_at(roots[0], BLOCK_VA, 2);
            }
            *l2 = 0;
            tlbi(form, BLOCK_VA, 1);
            for (uint64_t off = 0; off < 0x200000; off += 0xff000) {
                ok &= one_form(form, BLOCK_VA + off, l2, 0x44000000, 0x44200000, (USER_RW & ~2ul) | ng, 2, 1);
                *l2 = 0;
                tlbi(form, BLOCK_VA + off, 1);
            }
            if (!global || (forms[form].kind & BY_VA))
                *mmu_entry(roots[0], VA) = 0;
            tlbi_all();
            if (!ok)
                name_form(form, global);
        }
    }
}

/* A table entry replaced: forms that are not for the last level only drop what was cached under it. */
static void test_tables(void) {
    uint64_t va = VA + 0x80000000ul;
    for (unsigned form = 0; form < ARRAY_LEN(forms); form++) {
        if (!(forms[form].kind & TABLES))
            continue;
        mmu_map(roots[0], va, (uint64_t)pages[0], USER_RW | PTE_NG);
        tlbi_all();
        uint64_t *l2 = mmu_entry_at(roots[0], va, 2), old = *l2;
        uint64_t *other = page_alloc();
        other[0] = (uint64_t)pages[1] | USER_RW | PTE_NG;
        for (unsigned user = 0; user < 2; user++) {
            CHECK_EQ(access(user, false, va), ESR_DONE);
            CHECK_EQ(c.out.x[1], 0x1000);
            *l2 = 0;
            tlbi(form, va, 1);
            CHECK_EQ(access(user, false, va), abort_esr(user, false, 6));
            *l2 = (uint64_t)other | 3;
            dsb();
            isb();
            CHECK_EQ(access(user, false, va), ESR_DONE);
            CHECK_EQ(c.out.x[1], 0x1001);
            *l2 = 0;
            tlbi(form, va, 1);
            *l2 = old;
            dsb();
            isb();
        }
    }
}

/* --- address spaces --------------------------------------------------------------------------- */

static void test_switching(void) {
    for (unsigned i = 0; i < SPACES; i++)
        mmu_map(roots[i], VA, (uint64_t)pages[i], USER_RW | PTE_NG);
    for (unsigned i = 0; i < SPACES; i++)
        *(uint64_t *)pages[i] = 0;
    tlbi_all();
    for (unsigned n = 0; n < 1000; n++) {
        unsigned space = n * 7 / 3 % SPACES;
        use(space, 10 + space);
        if (n % 3 == 0) { /* from EL0 */
            CHECK_EQ(access(true, false, VA), ESR_DONE);
            CHECK_EQ(c.out.x[1] >> 32, *(uint64_t *)pages[space] >> 32);
            *(volatile uint64_t *)VA += 1;
        } else {
            *(volatile uint64_t *)VA += 1;
        }
        CHECK_EQ(*(volatile uint64_t *)VA, *(volatile uint64_t *)pages[space]);
    }
    CHECK_EQ(*(uint64_t *)pages[0] + *(uint64_t *)pages[1] + *(uint64_t *)pages[2] + *(uint64_t *)pages[3], 1000);
    use(0, 1);
    for (unsigned i = 0; i < ARRAY_LEN(pages); i++)
        *(uint64_t *)pages[i] = 0x1000 + i;
}

/* An ASID that passes from one space to another after TLBI ASIDE1; the other ASIDs keep what they have. */
static void test_asid_reuse(void) {
    for (unsigned n = 0; n < 50; n++) {
        unsigned space = n % SPACES;
        if (n & 1)
            aside1is(5ul << 48);
        else
            aside1(5ul << 48);
        use(space, 5);
        CHECK_EQ(*(volatile uint64_t *)VA, 0x1000 + space);
        CHECK_EQ(access(true, false, VA), ESR_DONE);
        CHECK_EQ(c.out.x[1], 0x1000 + space);
        use((space + 1) % SPACES, 20 + (space + 1) % SPACES);
        CHECK_EQ(*(volatile uint64_t *)VA, 0x1000 + (space + 1) % SPACES);
    }
    use(0, 1);
}

/* VAAE1 takes the address from all ASIDs, VAE1 from its own. */
static void test_asid_scope(void) {
    for (unsigned how = 0; how < 4; how++) {
        for (unsigned i = 0; i < SPACES; i++) {
            use(i, 30 + i);
            CHECK_EQ(*(volatile uint64_t *)VA, 0x1000 + i);
        }
        for (unsigned i = 0; i < SPACES; i++)
            *mmu_entry(roots[i], VA) = (uint64_t)pages[SPACES] | USER_RW | PTE_NG;
        if (how == 0) {
            vaae1(VA >> 12);
        } else if (how == 1) {
            vaale1is(VA >> 12);
        } else {
            for (unsigned i = 0; i < SPACES; i++)
                if (how == 2)
                    vae1(VA >> 12 | (30ul + i) << 48);
                else
                    vale1is(VA >> 12 | (30ul + i) << 48);
        }
        for (unsigned i = 0; i < SPACES; i++) {
            use(i, 30 + i);
            CHECK_EQ(*(volatile uint64_t *)VA, 0x1000 + SPACES);
            *mmu_entry(roots[i], VA) = (uint64_t)pages[i] | USER_RW | PTE_NG;
        }
        tlbi_all();
    }
    use(0, 1);
}

/* TCR_EL1.A1: the ASID comes from TTBR1_EL1. */
static void test_asid_in_ttbr1(void) {
    tlbi_all();
    for (unsigned n = 0; n < 40; n++) {
        unsigned space = n % SPACES;
        /* with both changing, the order matters: the kernel's own entries are global, so only VA can mix, and is not
         * used */
        write_sysreg(tcr_el1, TCR_ON | 1ul << 22);
        write_sysreg(ttbr1_el1, (uint64_t)mmu_root1() | (uint64_t)(40 + space) << 48);
        write_sysreg(ttbr0_el1, roots[space]);
        isb();
        CHECK_EQ(*(volatile uint64_t *)VA, 0x1000 + space);
        CHECK_EQ(access(true, false, VA), ESR_DONE);
        CHECK_EQ(c.out.x[1], 0x1000 + space);
    }
    write_sysreg(ttbr1_el1, mmu_root1());
    use(0, 1);
    write_sysreg(tcr_el1, TCR_ON);
    isb();
    tlbi_all();
}

/* TTBR1: non-global entries belong to the ASID, too; global ones serve all. */
static void test_high_half(void) {
    uint64_t *other = mmu_new_root();
    mmu_map(mmu_root1(), HIGH_VA, (uint64_t)pages[4], PTE_RW);
    mmu_map(other, HIGH_VA, (uint64_t)pages[5], PTE_RW);
    isb();
    for (unsigned n = 0; n < 20; n++) {
        use(n % SPACES, 50 + n % SPACES);
        CHECK_EQ(*(volatile uint64_t *)HIGH_VA, 0x1004);
    }
    for (unsigned n = 0; n < 20; n++) {
        write_sysreg(ttbr1_el1, n & 1 ? mmu_root1() : other);
        tlbi_all();
        CHECK_EQ(*(volatile uint64_t *)HIGH_VA, n & 1 ? 0x1004 : 0x1005);
        CHECK_EQ(access(false, true, HIGH_VA + 8), ESR_DONE);
        CHECK_EQ(access(true, false, HIGH_VA), abort_esr(true, false, PERMISSION));
    }
    uint64_t *e = mmu_entry(mmu_root1(), HIGH_VA);
    *e = 0;
    vaae1is(HIGH_VA >> 12 & 0xffffffffffful);
    CHECK_EQ(access(false, false, HIGH_VA), abort_esr(false, false, TRANSLATION));
    *e = (uint64_t)pages[4] | PTE_RW;
    dsb();
    CHECK_EQ(*(volatile uint64_t *)HIGH_VA, 0x1004);
    use(0, 1);
}

/* --- code ------------------------------------------------------------------------------------- */

#define MOV_W0(n) (0x52800000u | (uint32_t)(n) << 5)
#define RET 0xd65f03c0u
#define BR_X1 0xd61f0020u
#define BRK_DONE 0xd42eeee0u
#define CODE_VA (VA + 0x100000)

static uint64_t call(uint64_t va) { return ((uint64_t (*)(void))va)(); }

static void put_code(uint8_t *page, unsigned value) {
    uint32_t *w = (uint32_t *)page;
    w[64] = MOV_W0(value);
    w[65] = RET;
    w[80] = MOV_W0(value + 100); /* for EL0: mov, brk */
    w[81] = BRK_DONE;
    code_sync(w, 4096);
}

static void test_code_remap(void) {
    put_code(pages[0], 7);
    put_code(pages[1], 8);
    mmu_map(roots[0], CODE_VA, (uint64_t)pages[0], PTE_RW);
    isb();
    uint64_t *e = mmu_entry(roots[0], CODE_VA);
    for (unsigned form = 0; form < ARRAY_LEN(forms); form++) {
        if ((forms[form].kind & (BY_ASID | BY_VA)) == BY_ASID)
            continue;
        for (unsigned n = 0; n < 10; n++) {
            *e = 0;
            tlbi(form, CODE_VA, 1);
            run_code(&c, PSTATE_EL1T, (void *)(CODE_VA + 256), 0, 0, 0, 0);
            context_expect(&c, VEC_SYNC_SP0, ESR(0x21, TRANSLATION), CODE_VA + 256, PSTATE_EL1T);
            *e = (uint64_t)pages[n & 1] | PTE_RW;
            dsb();
            isb();
            CHECK_EQ(call(CODE_VA + 256), 7 + (n & 1));
            CHECK_EQ(call(CODE_VA + 256), 7 + (n & 1));
            *e |= PTE_PXN;
            tlbi(form, CODE_VA, 1);
            run_code(&c, PSTATE_EL1T, (void *)(CODE_VA + 256), 0, 0, 0, 0);
            context_expect(&c, VEC_SYNC_SP0, ESR(0x21, PERMISSION), CODE_VA + 256, PSTATE_EL1T);
        }
    }
}

/* The same address holds other code in each space; the caller is the same code, in a page all of them share. */
static void test_code_spaces(void) {
    for (unsigned i = 0; i < SPACES; i++) {
        put_code(pages[i], 20 + i);
        mmu_map(roots[i], CODE_VA, (uint64_t)pages[i], PTE_RW | PTE_NG);
        mmu_map(roots[i], CODE_VA + 4096, (uint64_t)pages[i], PTE_RW | PTE_AP_EL0 | PTE_AP_RO | PTE_NG);
        uint32_t *jump = (uint32_t *)pages[SPACES];
        jump[0] = BR_X1;
        mmu_map(roots[i], CODE_VA + 8192, (uint64_t)jump, PTE_RW | PTE_AP_EL0 | PTE_AP_RO);
    }
    code_sync(pages[SPACES], 4);
    tlbi_all();
    for (unsigned n = 0; n < 1000; n++) {
        unsigned space = n * 5 / 2 % SPACES;
        use(space, 60 + space);
        CHECK_EQ(call(CODE_VA + 256), 20 + space);
        run_code(&c, PSTATE_EL0, (void *)(CODE_VA + 8192), 0, CODE_VA + 4096 + 320, 0, 0);
        CHECK_EQ(c.out.x[0], 120 + space);
        CHECK_EQ(c.out.elr, CODE_VA + 4096 + 324);
    }
    use(0, 1);
}

/* --- many ------------------------------------------------------------------------------------- */

static void test_many_pages(void) {
    enum { N = 1024 };
    uint64_t base = VA + 0xc0000000ul, pa = 0x45000000;
    for (unsigned i = 0; i < N; i++)
        mmu_map(roots[0], base + 4096ul * i, pa + 4096ul * i, USER_RW | (i & 1 ? PTE_NG : 0));
    isb();
    for (unsigned i = 0; i < N; i++)
        *(volatile uint64_t *)(base + 4096ul * i) = i;
    for (unsigned i = 0; i < N; i += 3) {
        *mmu_entry(roots[0], base + 4096ul * i) = 0;
        if (i & 1)
            vale1is((base + 4096ul * i) >> 12 | 1ul << 48);
        else
            vae1((base + 4096ul * i) >> 12 | 1ul << 48);
    }
    for (unsigned i = 0; i < N; i++) {
        uint64_t a = base + 4096ul * i;
        CHECK_EQ(access(i & 2, false, a), i % 3 ? ESR_DONE : abort_esr(i & 2, false, TRANSLATION));
        if (i % 3)
            CHECK_EQ(c.out.x[1], i);
        CHECK_EQ(*(volatile uint64_t *)(pa + 4096ul * i), i);
    }
    for (unsigned i = 0; i < N; i++)
        *mmu_entry(roots[0], base + 4096ul * i) = 0;
    tlbi_all();
    for (unsigned i = 0; i < N; i++)
        CHECK_EQ(access(i & 2, true, base + 4096ul * i), abort_esr(i & 2, true, TRANSLATION));
}

/* Pages spread over many 512 GiB regions, each behind its own level 0 entry, in two spaces. */
static void test_many_regions(void) {
    enum { N = 60 };
    for (unsigned s = 0; s < 2; s++)
        for (unsigned i = 0; i < N; i++) {
            uint64_t va = (uint64_t)(8 + i * 4 + s) << 39 | (uint64_t)i << 21;
            mmu_map(roots[s], va, 0x46000000ul + 4096 * (i + N * s), PTE_RW | PTE_NG | PTE_AP_EL0);
        }
    tlbi_all();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned s = 0; s < 2; s++) {
            use(s, 70 + s);
            for (unsigned i = 0; i < N; i++) {
                uint64_t va = (uint64_t)(8 + i * 4 + s) << 39 | (uint64_t)i << 21;
                if (round)
                    CHECK_EQ(*(volatile uint64_t *)va, i * 100 + s + round - 1);
                *(volatile uint64_t *)va = i * 100 + s + round;
                CHECK_EQ(access(true, false, va), ESR_DONE);
                CHECK_EQ(c.out.x[1], i * 100 + s + round);
                CHECK_EQ(access(false, false, va ^ 1ul << 39), abort_esr(false, false, 4));
            }
        }
        if (round == 1)
            aside1is(71ul << 48);
    }
    use(0, 1);
    tlbi_all();
}

/* A page-table entry written through the very mapping it describes, and tables in pages that are mapped more than
 * once. */
static void test_tables_mapped_twice(void) {
    uint64_t va = VA + 0x200000, window = VA + 0x210000;
    mmu_map(roots[0], va, (uint64_t)pages[0], PTE_RW);
    uint64_t table = *mmu_entry_at(roots[0], va, 2) & 0xfffffffff000;
    mmu_map(roots[0], window, table, PTE_RW);
    tlbi_all();
    *(uint64_t *)pages[0] = 0x1000;
    *(uint64_t *)pages[1] = 0x1001;
    for (unsigned n = 0; n < 100; n++) {
        CHECK_EQ(*(volatile uint64_t *)va, 0x1000 + (n & 1));
        ((volatile uint64_t *)window)[va >> 12 & 511] = (uint64_t)pages[~n & 1] | PTE_RW;
        vaale1is(va >> 12);
    }
}

TESTS({"start", start}, {"forms", test_forms}, {"tables", test_tables}, {"switching", test_switching},
      {"asid reuse", test_asid_reuse}, {"asid scope", test_asid_scope}, {"asid in ttbr1", test_asid_in_ttbr1},
      {"high half", test_high_half}, {"code remap", test_code_remap}, {"code spaces", test_code_spaces},
      {"many pages", test_many_pages}, {"many regions", test_many_regions},
      {"tables mapped twice", test_tables_mapped_twice});
