/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* watchpoints.c: random settings and accesses against a model of the Arm ARM's, byte by byte; priorities; changes. */
#include "debug.h"

static struct context c;
static const uint32_t levels[] = {PSTATE_EL0, PSTATE_EL1T & ~PSTATE_D, PSTATE_EL1H & ~PSTATE_D};
#define EACH_LEVEL(l) for (unsigned l = 0; l < ARRAY_LEN(levels); l++)

/* --- the registers ---------------------------------------------------------------------------- */
#define MAX_WATCHES 4
static unsigned watches;
static uint64_t wvr[MAX_WATCHES], wcr[MAX_WATCHES], linked_context; /* DBGBVR5: what links lead to */

#define E 1ul
#define PAC(n) ((uint64_t)(n) << 1)
#define LSC(n) ((uint64_t)(n) << 3)
#define BAS(n) ((uint64_t)(n) << 5)
#define SSC(n) ((uint64_t)(n) << 14)
#define LBN(n) ((uint64_t)(n) << 16)
#define WT (1ul << 20)
#define MASK(n) ((uint64_t)(n) << 24)
#define ALL (E | PAC(3) | LSC(3) | BAS(255))
#define LINKED_CONTEXT (E | 3ul << 1 | 15ul << 5 | 3ul << 20) /* a breakpoint's control */

#define SET(n)                                                                                                         \
    case n:                                                                                                            \
        write_sysreg(dbgwcr##n##_el1, 0);                                                                              \
        write_sysreg(dbgwvr##n##_el1, value);                                                                          \
        write_sysreg(dbgwcr##n##_el1, control);                                                                        \
        break;

static void set_watch(unsigned n, uint64_t value, uint64_t control) {
    switch (n) { SET(0) SET(1) SET(2) SET(3) default : break; }
    wvr[n] = value & ~3ul;
    wcr[n] = control;
    isb();
}

static uint8_t pages[3 * 4096] __attribute__((aligned(4096)));
#define MIDDLE (pages + 4096)

static void start(void) {
    debug_start();
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) | 1ul << 26 | 1ul << 14); /* UCI, DZE */
    watches = (unsigned)(read_sysreg(id_aa64dfr0_el1) >> 20 & 15) + 1;
    CHECK_EQ(watches, MAX_WATCHES);
    for (unsigned n = 0; n < watches; n++)
        set_watch(n, 0, 0);
    write_sysreg(dbgbvr5_el1, 7);
    write_sysreg(dbgbcr5_el1, LINKED_CONTEXT);
    linked_context = 7;
    set_mdscr(MDSCR_MDE | MDSCR_KDE);
}

/* --- the model -------------------------------------------------------------------------------- */
/* The first run of ones: what else is set is ignored. */
static unsigned run_of(unsigned bas) {
    unsigned from = bas & -bas;
    return bas & ~(bas + from);
}

static bool byte_matches(unsigned n, uint64_t va) {
    unsigned bottom = wvr[n] & 4 ? 2 : 3, mask = wcr[n] >> 24 & 31, bas = wcr[n] >> 5 & 255;
    if (mask == 1 || mask == 2)
        return false;
    if (mask)
        return va >> mask == wvr[n] >> mask;
    return va >> bottom == wvr[n] >> bottom && run_of(bottom == 2 ? bas & 15 : bas) >> (va & ((1u << bottom) - 1)) & 1;
}

static bool state_matches(unsigned n, bool user) {
    if (!(wcr[n] & E) || !(wcr[n] >> 1 & (user ? 2 : 1)) || (wcr[n] >> 14 & 3) == 2)
        return false;
    return !(wcr[n] & WT) || ((wcr[n] >> 16 & 15) == 5 && linked_context == (uint32_t)read_sysreg(contextidr_el1));
}

/* Does watchpoint n match an access? *far: the first byte that does. */
static bool matches(unsigned n, uint64_t va, unsigned bytes, bool write, bool user, uint64_t *far) {
    if (!state_matches(n, user) || !(wcr[n] >> (write ? 4 : 3) & 1))
        return false;
    for (*far = va; *far < va + bytes; ++*far)
        if (byte_matches(n, *far))
            return true;
    return false;
}

/* --- accesses --------------------------------------------------------------------------------- */
#define LOAD 1
#define STORE 2
#define ALIGNED 4
#define USER_LIKE 8
#define LINE 16 /* of the whole line that the address is in */
#define ACCESS(name, text) SNIPPET(name, "nop\n" text)
ACCESS(a_ldrb, "ldrb w5, [x0]");
ACCESS(a_ldrsh, "ldrsh w5, [x0]");
ACCESS(a_ldr, "ldr w5, [x0], #4");
ACCESS(a_ldrx, "ldr x5, [x0]");
ACCESS(a_ldrsw, "ldrsw x5, [x2, x3, lsl #2]");
ACCESS(a_ldrq, "ldr q5, [x0]");
ACCESS(a_ldrd, "ldr d5, [x0]");
ACCESS(a_ldp, "ldp x5, x6, [x0, #-16]!");
ACCESS(a_ldpw, "ldpsw x5, x6, [x0]");
ACCESS(a_ldpq, "ldp q5, q6, [x0]");
ACCESS(a_strb, "strb w5, [x0]");
ACCESS(a_strh, "strh w5, [x0, #2]!");
ACCESS(a_str, "str w5, [x0]");
ACCESS(a_strx, "str xzr, [x0]");
ACCESS(a_strq, "str q5, [x0]");
ACCESS(a_strs, "str s5, [x0]");
ACCESS(a_stp, "stp x5, x6, [x0]");
ACCESS(a_stpq, "stp q5, q6, [x0]");
ACCESS(a_ld1, "ld1 {v4.16b-v7.16b}, [x0]");
ACCESS(a_st1, "st1 {v4.16b-v5.16b}, [x0]");
ACCESS(a_ld3, "ld3 {v4.8b-v6.8b}, [x0]");
ACCESS(a_st1b, "st1 {v4.b}[3], [x0]");
ACCESS(a_ld1r, "ld1r {v4.2d}, [x0]");
ACCESS(a_ldxr, "ldxr x5, [x0]");
ACCESS(a_ldar, "ldar w5, [x0]");
ACCESS(a_stlr, "stlr x5, [x0]");
ACCESS(a_ldxp, "ldxp x5, x6, [x0]");
ACCESS(a_ldadd, "ldadd x5, x6, [x0]");
ACCESS(a_swpb, "swpb w5, w6, [x0]");
ACCESS(a_cas, "cas x5, x6, [x0]");
ACCESS(a_casp, "casp x6, x7, x8, x9, [x0]");
ACCESS(a_ldtr, "ldtr x5, [x0]");
ACCESS(a_sttrb, "sttrb w5, [x0]");
ACCESS(a_zva, "dc zva, x0");
ACCESS(a_prfm, "prfm pldl1keep, [x0]");
ACCESS(a_cvac, "dc cvac, x0");
ACCESS(a_ivau, "ic ivau, x0");

static const struct {
    const uint32_t *code;
    uint8_t kind, bytes, step; /* step: of one element, where one is 16 bytes or more in all */
    int8_t offset;             /* from x0 */
} accesses[] = {
    {a_ldrb, LOAD, 1, 0, 0},
    {a_ldrsh, LOAD, 2, 0, 0},
    {a_ldr, LOAD, 4, 0, 0},
    {a_ldrx, LOAD, 8, 0, 0},
    {a_ldrsw, LOAD, 4, 0, 0},
    {a_ldrq, LOAD, 16, 0, 0},
    {a_ldrd, LOAD, 8, 0, 0},
    {a_ldp, LOAD, 16, 8, -16},
    {a_ldpw, LOAD, 8, 4, 0},
    {a_ldpq, LOAD, 32, 16, 0},
    {a_strb, STORE, 1, 0, 0},
    {a_strh, STORE, 2, 0, 2},
    {a_str, STORE, 4, 0, 0},
    {a_strx, STORE, 8, 0, 0},
    {a_strq, STORE, 16, 0, 0},
    {a_strs, STORE, 4, 0, 0},
    {a_stp, STORE, 16, 8, 0},
    {a_stpq, STORE, 32, 16, 0},
    {a_ld1, LOAD, 64, 16, 0},
    {a_st1, STORE, 32, 16, 0},
    {a_ld3, LOAD, 24, 8, 0},
    {a_st1b, STORE, 1, 0, 0},
    {a_ld1r, LOAD, 8, 0, 0},
    {a_ldxr, LOAD | ALIGNED, 8, 0, 0},
    {a_ldar, LOAD | ALIGNED, 4, 0, 0},
    {a_stlr, STORE | ALIGNED, 8, 0, 0},
    {a_ldxp, LOAD | ALIGNED, 16, 0, 0},
    {a_ldadd, LOAD | STORE | ALIGNED, 8, 0, 0},
    {a_swpb, LOAD | STORE | ALIGNED, 1, 0, 0},
    {a_cas, LOAD | STORE | ALIGNED, 8, 0, 0},
    {a_casp, LOAD | STORE | ALIGNED, 16, 0, 0},
    {a_ldtr, LOAD | USER_LIKE, 8, 0, 0},
    {a_sttrb, STORE | USER_LIKE, 1, 0, 0},
    {a_zva, STORE | LINE, 64, 0, 0},
    {a_prfm, 0, 8, 0, 0},
    {a_cvac, 0, 64, 0, 0},
    {a_ivau, 0, 64, 0, 0},
};

/* What access i at va hits, and whether far is an address that it may report: that of the first watched byte. */
struct verdict {
    bool load, store;
};
static struct verdict judge(unsigned i, uint64_t va, bool user, uint64_t far, bool *far_right) {
    struct verdict v = {false, false};
    unsigned bytes = accesses[i].bytes, step = accesses[i].step ? accesses[i].step : bytes;
    uint64_t first;
    *far_right = false;
    for (unsigned n = 0; n < watches; n++) {
        bool load = accesses[i].kind & LOAD && matches(n, va, bytes, false, user, &first);
        bool store = accesses[i].kind & STORE && matches(n, va, bytes, true, user, &first);
        v.load |= load;
        v.store |= store;
        for (unsigned at = 0; (load || store) && at < bytes; at += step)
            if (matches(n, va + at, step, store, user, &first) && far == first)
                *far_right = true;
    }
    return v;
}

static void one_access(unsigned i, uint32_t pstate, uint64_t va) {
    uint64_t pc = at_level(pstate, accesses[i].code), start_of = va + (uint64_t)(int64_t)accesses[i].offset;
    bool user = !(pstate & 12) || accesses[i].kind & USER_LIKE, far_right;
    if (accesses[i].kind & LINE)
        start_of &= ~63ul;
    run_code(&c, pstate, (const void *)pc, va, 0, va & 3, va >> 2);
    struct verdict v = judge(i, start_of, user, c.out.far, &far_right);
    if (!v.load && !v.store) {
        CHECK_EQ(c.out.esr, ESR_DONE);
        return;
    }
    unsigned wnr = v.load ? 0 : WNR;
    if (on_qemu()) { /* its WnR may be that of an earlier hit; its DC ZVA looks at the address as given first */
        c.out.esr = (c.out.esr & ~(uint64_t)WNR) | wnr;
        far_right |= (accesses[i].kind & LINE) != 0;
    }
    context_expect(&c, VEC_OF(pstate), WATCH_ESR(pstate, wnr), pc + 4, pstate);
    context_check(&c, 0);
    if (!far_right)
        test_fail(__FILE__, __LINE__, "FAR_EL1 of an access at", c.out.far, start_of);
}

/* --- random settings -------------------------------------------------------------------------- */
static void random_watch(unsigned n, uint64_t near) {
    static const uint8_t masks[] = {1, 2, 3, 3, 4, 5, 6, 7, 12, 13, 30};
    uint64_t control = (rnd(4) ? E : 0) | PAC(rnd(8) ? 3 : rnd(4)) | LSC(rnd(4) ? 3 : rnd(4));
    if (rnd(4) == 0) {
        control |= BAS(255) | MASK(masks[rnd(ARRAY_LEN(masks))]);
    } else {
        unsigned bytes = 1 + (unsigned)rnd(8);
        control |= BAS(((1u << bytes) - 1) << rnd(9 - bytes) & 255);
        if (rnd(16) == 0)
            control ^= BAS(rnd(256));
    }
    if (rnd(16) == 0)
        control |= SSC(rnd(4));
    if (rnd(6) == 0)
        control |= WT | LBN(rnd(3) ? 5 : rnd(8));
    set_watch(n, near - 16 + rnd(48), control);
}

static void test_random(void) {
    start();
    for (unsigned round = 0; round < 800; round++) {
        uint32_t pstate = levels[rnd(ARRAY_LEN(levels))];
        uint8_t *place = rnd(3) ? MIDDLE + 1024 + rnd(64) : MIDDLE + 4096 - 20 + rnd(40);
        uint64_t space = pstate & 12 && rnd(4) ? 0 : USER_BASE;
        /* QEMU gets into a muddle with several: hits of one are taken for another's. */
        for (unsigned n = 0; n < (on_qemu() ? 1 : watches); n++)
            if (rnd(2))
                random_watch(n, (uint64_t)place + (rnd(8) ? space : space ^ USER_BASE));
        write_sysreg(contextidr_el1, 6 + rnd(2));
        isb();
        for (unsigned k = 0; k < 6; k++) {
            unsigned i = (unsigned)rnd(ARRAY_LEN(accesses));
            uint64_t va =
                (uint64_t)place + (accesses[i].kind & USER_LIKE || !(pstate & 12) ? USER_BASE : space) + rnd(24) - 12;
            if (accesses[i].kind & ALIGNED)
                va &= -(uint64_t)accesses[i].bytes;
            /* EL1 does not reach what EL0 may, but for LDTR and STTR, if PAN is set; it is clear here. */
            one_access(i, pstate, va);
        }
    }
    write_sysreg(contextidr_el1, 0);
}

/* Each access alone, exactly its first and last byte watched, and the ones beside them. */
static void test_edges(void) {
    start();
    EACH_LEVEL(l) {
        for (unsigned i = 0; i < ARRAY_LEN(accesses); i++) {
            uint32_t pstate = levels[l];
            bool user = !(pstate & 12) || accesses[i].kind & USER_LIKE;
            uint64_t va = (uint64_t)MIDDLE + 2048 + (user ? USER_BASE : 0),
                     first = va + (uint64_t)(int64_t)accesses[i].offset;
            const int at[] = {-1, 0, accesses[i].bytes - 1, accesses[i].bytes};
            for (unsigned k = 0; k < ARRAY_LEN(at); k++) {
                uint64_t byte = first + (uint64_t)(int64_t)at[k];
                set_watch(0, byte & ~7ul, E | PAC(3) | LSC(3) | BAS(1u << (byte & 7)));
                one_access(i, pstate, va);
                CHECK_EQ(c.out.esr != ESR_DONE, accesses[i].kind & (LOAD | STORE) && (k == 1 || k == 2));
                if (k == 1 && c.out.esr != ESR_DONE && !(on_qemu() && accesses[i].kind & LINE))
                    CHECK_EQ(c.out.far, byte);
            }
        }
    }
}

/* What is not done is not done: neither the store nor the write-back, and memory keeps its value. */
SNIPPET(w_store, "stp x2, x3, [x0], #16");
SNIPPET(w_zva, "dc zva, x0");
static void test_nothing_done(void) {
    start();
    EACH_LEVEL(l) {
        uint64_t *words = (uint64_t *)(void *)(MIDDLE + 512);
        for (unsigned i = 0; i < 8; i++)
            words[i] = i + 1;
        set_watch(0, at_level(levels[l], words), ALL);
        run_code(&c, levels[l], (const void *)at_level(levels[l], w_store), at_level(levels[l], words), 0, 99, 99);
        context_expect(&c, VEC_OF(levels[l]), WATCH_ESR(levels[l], WNR), at_level(levels[l], w_store), levels[l]);
        context_check(&c, 0);
        CHECK_EQ(words[0], 1);
        set_watch(0, at_level(levels[l], words + 7), ALL);
        run_code(&c, levels[l], (const void *)at_level(levels[l], w_zva), at_level(levels[l], words) + 5, 0, 0, 0);
        context_expect(&c, VEC_OF(levels[l]), WATCH_ESR(levels[l], WNR), at_level(levels[l], w_zva), levels[l]);
        CHECK_EQ(c.out.far, at_level(levels[l], words + 7));
        CHECK_EQ(words[0], 1);
        CHECK_EQ(words[7], 8);
    }
}

/* --- priorities, masks ------------------------------------------------------------------------ */
SNIPPET(w_ldr, "ldr x5, [x0]");
SNIPPET(w_ldar, "ldar x5, [x0]");
SNIPPET(w_ldrsp, "ldr x5, [sp]");

static void test_priorities(void) {
    start();
    EACH_LEVEL(l) {
        uint32_t pstate = levels[l];
        /* a translation or alignment fault comes first */
        set_watch(0, 0x123456780000ul, ALL);
        run_code(&c, pstate, (const void *)at_level(pstate, w_ldr), 0x123456780000ul, 0, 0, 0);
        CHECK_EQ(EC(c.out.esr), pstate & 12 ? 0x25 : 0x24);
        uint64_t va = at_level(pstate, MIDDLE);
        set_watch(0, va, ALL | MASK(12));
        run_code(&c, pstate, (const void *)at_level(pstate, w_ldar), va + 12, 0, 0, 0);
        CHECK_EQ(c.out.esr, ESR(pstate & 12 ? 0x25 : 0x24, 0x21 | (on_qemu() ? c.out.esr & WNR : 0)));
        /* a breakpoint before that; a step's exception stays for later */
        write_sysreg(dbgbvr0_el1, at_level(pstate, w_ldr));
        write_sysreg(dbgbcr0_el1, E | PAC(3) | BAS(15));
        isb();
        run_code(&c, pstate, (const void *)at_level(pstate, w_ldr), va, 0, 0, 0);
        CHECK_EQ(c.out.esr, BREAK_ESR(pstate));
        write_sysreg(dbgbcr0_el1, 0);
        set_mdscr(MDSCR_MDE | MDSCR_KDE | MDSCR_SS);
        run_code(&c, pstate | PSTATE_SS, (const void *)at_level(pstate, w_ldr), va, 0, 0, 0);
        context_expect(&c, VEC_OF(pstate), WATCH_ESR(pstate, 0), at_level(pstate, w_ldr), pstate | PSTATE_SS);
        set_watch(0, 0, 0);
        run_code(&c, pstate | PSTATE_SS, (const void *)at_level(pstate, w_ldr), va, 0, 0, 0);
        context_expect(&c, VEC_OF(pstate), STEP_ESR(pstate, STEP_ISV), at_level(pstate, w_ldr) + 4, pstate);
        set_mdscr(MDSCR_MDE | MDSCR_KDE);
    }
}

static void test_masks(void) {
    start();
    for (unsigned n = 0; n < 2; n++)
        set_watch(n, (uint64_t)MIDDLE + (n ? USER_BASE : 0), ALL);
    for (unsigned how = 0; how < 4; how++) {
        if (how == 3 && on_qemu())
            continue; /* which looks at the wrong bit of OSLSR_EL1 */
        set_mdscr(how == 1 ? MDSCR_MDE : how == 2 ? MDSCR_KDE : MDSCR_MDE | MDSCR_KDE);
        write_sysreg(oslar_el1, how == 3);
        isb();
        EACH_LEVEL(l) {
            uint32_t pstate = levels[l] | (how == 0 ? PSTATE_D : 0);
            run_code(&c, pstate, (const void *)at_level(pstate, w_ldr), at_level(pstate, MIDDLE), 0, 0, 0);
            CHECK_EQ(c.out.esr, l == 0 && how < 2 ? WATCH_ESR(pstate, 0) : ESR_DONE);
        }
        write_sysreg(oslar_el1, 0);
    }
}

/* With TBI a tag does not hide an access, and is in FAR. */
static void test_tags(void) {
    start();
    if (on_qemu())
        return; /* it compares the tag */
    uint64_t tcr = read_sysreg(tcr_el1), va = at_level(PSTATE_EL0, MIDDLE) + 8;
    write_sysreg(tcr_el1, tcr | 1ul << 37);
    isb();
    set_watch(0, va, E | PAC(3) | LSC(3) | BAS(4));
    run_code(&c, PSTATE_EL0, (const void *)at_level(PSTATE_EL0, w_ldr), va | 0x5aul << 56, 0, 0, 0);
    CHECK_EQ(c.out.esr, WATCH_ESR(PSTATE_EL0, 0));
    CHECK_EQ(c.out.far << 8 >> 8, va + 2);
    write_sysreg(tcr_el1, tcr);
    isb();
}

/* DC IVAC counts as a store to its line here (that is IMPLEMENTATION DEFINED), and reports the address that it was
 * given. */
SNIPPET(w_ivac, "dc ivac, x0");
static void test_maintenance(void) {
    const uint32_t pstate = PSTATE_EL1H & ~PSTATE_D;
    start();
    if (on_qemu())
        return; /* there it does not */
    set_watch(0, (uint64_t)MIDDLE + 64 + 8, ALL);
    run_code(&c, pstate, w_ivac, (uint64_t)MIDDLE + 64 + 50, 0, 0, 0);
    CHECK_EQ(c.out.esr, WATCH_ESR(pstate, WNR | 1u << 8));
    CHECK_EQ(c.out.far, (uint64_t)MIDDLE + 64 + 50);
    run_code(&c, pstate, w_ivac, (uint64_t)MIDDLE + 63, 0, 0, 0);
    CHECK_EQ(c.out.esr, ESR_DONE);
}

/* --- code that is hot ------------------------------------------------------------------------- */
SNIPPET(walk, "1: ldr x5, [x0], #8\n"
              "add x6, x6, x5\n"
              "str x6, [x0, #4096]\n"
              "subs x1, x1, #1\n"
              "b.ne 1b");
static void test_hot(void) {
    start();
    for (unsigned round = 0; round < 100; round++) {
        uint32_t pstate = levels[rnd(ARRAY_LEN(levels))];
        uint64_t pc = at_level(pstate, walk), base = at_level(pstate, pages);
        unsigned word = (unsigned)rnd(256);
        bool armed = rnd(2), store = rnd(2);
        set_watch(3, base + 8 * word + (store ? 4096 + 8 : 0),
                  (armed ? E : 0) | PAC(3) | LSC(store ? 2 : 1) | BAS(255));
        run_code(&c, pstate, (const void *)pc, base, 256, 0, 0);
        if (!armed) {
            CHECK_EQ(c.out.esr, ESR_DONE);
            continue;
        }
        CHECK_EQ(c.out.esr, WATCH_ESR(pstate, store ? WNR : 0));
        CHECK_EQ(c.out.far, base + 8 * word + (store ? 4096 + 8 : 0));
        CHECK_EQ(c.out.x[1], 256 - word);
        CHECK_EQ(c.out.elr, pc + (store ? 8 : 0));
    }
}

TESTS({"random", test_random}, {"edges", test_edges}, {"nothing done", test_nothing_done},
      {"priorities", test_priorities}, {"masks", test_masks}, {"tags", test_tags}, {"maintenance", test_maintenance},
      {"hot", test_hot});
