/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* crossing.c: accesses across pages, write-back forms that fault, external aborts: FAR and every register. */
#include "paging.h"

/* --- accesses across pages, write-back -------------------------------------------------------- */

/* clang-format off */
#define X_FORMS(X) \
    X(x_ldrh, "ldrh w1, [x0]", 2, 0) X(x_ldr_w, "ldr w1, [x0]", 4, 0) X(x_ldr_x, "ldr x1, [x0]", 8, 0) \
    X(x_ldrsw, "ldrsw x1, [x0], #4", 4, 0) X(x_ldr_post, "ldr x1, [x0], #8", 8, 0) \
    X(x_ldr_pre, "ldr x1, [x0, #0]!", 8, 0) X(x_ldr_q, "ldr q1, [x0], #16", 16, 0) \
    X(x_ldp_x, "ldp x1, x2, [x0]", 16, 0) X(x_ldp_w, "ldp w1, w2, [x0], #8", 8, 0) \
    X(x_ldp_base, "ldp x0, x1, [x0]", 16, 0) X(x_ldp_base2, "ldp x1, x0, [x0]", 16, 0) \
    X(x_ldpsw, "ldpsw x1, x2, [x0, #0]!", 8, 0) X(x_ldp_q, "ldp q1, q2, [x0], #32", 32, 0) \
    X(x_ldr_self, "ldr x0, [x0]", 8, 0) X(x_ldnp, "ldnp x1, x2, [x0]", 16, 0) X(x_ldtr, "ldtr x1, [x0]", 8, 0) \
    X(x_strh, "strh w1, [x0], #2", 2, 1) X(x_str_w, "str w1, [x0, #0]!", 4, 1) \
    X(x_str_x, "str x1, [x0], #8", 8, 1) X(x_str_q, "str q1, [x0], #16", 16, 1) \
    X(x_stp_x, "stp x1, x2, [x0], #16", 16, 1) X(x_stp_w, "stp w1, w2, [x0, #0]!", 8, 1) \
    X(x_stp_q, "stp q1, q2, [x0], #32", 32, 1) X(x_stp_d, "stp d1, d2, [x0], #16", 16, 1) \
    X(x_stnp, "stnp x1, x2, [x0]", 16, 1) X(x_sttr, "sttr x1, [x0]", 8, 1) \
    X(x_ld1, "ld1 {v1.16b}, [x0], #16", 16, 0) X(x_ld1x4, "ld1 {v1.16b-v4.16b}, [x0], x3", 64, 0) \
    X(x_ld4, "ld4 {v1.8h-v4.8h}, [x0], #64", 64, 0) X(x_st1, "st1 {v1.2d}, [x0], #16", 16, 1) \
    X(x_st1x3, "st1 {v1.4s-v3.4s}, [x0], #48", 48, 1) X(x_st3, "st3 {v1.8b-v3.8b}, [x0], #24", 24, 1) \
    X(x_ld1_lane, "ld1 {v1.d}[1], [x0], #8", 8, 0) X(x_st2_lane, "st2 {v1.s, v2.s}[2], [x0], #8", 8, 1)
/* clang-format on */
#define X_SNIPPET(name, text, size, write) SNIPPET(name, text);
#define X_ROW(name, text, size, write) {name, size, write},
X_FORMS(X_SNIPPET)
static const struct {
    const uint32_t *code;
    uint8_t size, write;
} forms[] = {X_FORMS(X_ROW)};

static void test_crossing(void) {
    uint64_t va = TEST_VA + 0x10000;
    mmu_map(root, va, (uint64_t)page, PTE_RW | PTE_AP_EL0 | PTE_PXN);
    mmu_map(root, va + 4096, (uint64_t)page2, PTE_RW | PTE_AP_EL0 | PTE_PXN);
    uint64_t *first = mmu_entry(root, va), *second = mmu_entry(root, va + 4096), ok1 = *first, ok2 = *second;
    static const uint32_t states[] = {PSTATE_EL0, PSTATE_EL1T};
    for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
        for (unsigned s = 0; s < 2; s++) {
            const void *pc = at(states[s], forms[i].code);
            for (unsigned over = 1; over < forms[i].size; over += forms[i].size > 8 ? 3 : 1) {
                uint64_t a = va + 4096 - forms[i].size + over;
                /* none, second page unmapped, first unmapped, second without access flag, second read-only */
                for (unsigned how = 0; how < 5; how++) {
                    set_pte(first, how == 2 ? 0 : ok1, va);
                    set_pte(second,
                            how == 1   ? 0
                            : how == 3 ? ok2 & ~PTE_AF
                            : how == 4 ? ok2 | PTE_AP_RO
                                       : ok2,
                            va + 4096);
                    run_code(&c, states[s], pc, a, 0x1111, 0x2222, 64);
                    unsigned fsc = how == 3 ? FSC_ACCESS(3) : how == 4 ? FSC_PERMISSION(3) : FSC_TRANSLATION(3);
                    if (how == 0 || (how == 4 && !forms[i].write)) {
                        CHECK_EQ(c.out.esr, ESR_DONE);
                        continue;
                    }
                    context_expect(&c, VEC_OF(states[s]), ESR(0x25 - !s, (forms[i].write ? 0x40 : 0) | fsc),
                                   (uint64_t)pc, states[s]);
                    CHECK_EQ(c.out.far, how == 2 ? a : va + 4096);
                    context_check(&c, 0);
                }
            }
        }
    }
    set_pte(first, ok1, va);
    set_pte(second, ok2, va + 4096);
}

static void test_crossing_data(void) {
    uint64_t va = TEST_VA + 0x10000; /* two pages that are not neighbours in memory, swapped against each other */
    set_pte(mmu_entry(root, va), (uint64_t)page2 | PTE_RW, va);
    set_pte(mmu_entry(root, va + 4096), (uint64_t)page | PTE_RW, va + 4096);
    for (unsigned i = 0; i < 64; i++) {
        page2[4096 - 64 + i] = (uint8_t)(0x80 + i);
        page[i] = (uint8_t)(0xc0 + i);
    }
    for (unsigned off = 1; off < 8; off++) {
        uint64_t a = va + 4096 - off, want = 0, got, got2;
        for (unsigned i = 0; i < 8; i++)
            want |= (uint64_t)(0xc0 - off + i) << 8 * i;
        __asm__ volatile("ldr %0, [%1]" : "=r"(got) : "r"(a) : "memory");
        CHECK_EQ(got, want);
        __asm__ volatile("ldp %0, %1, [%2, #-8]" : "=r"(got2), "=r"(got) : "r"(a) : "memory");
        CHECK_EQ(got, want);
        CHECK_EQ(got2, want - 0x0808080808080808ul);
        __asm__ volatile("str %0, [%1]" : : "r"(~want), "r"(a) : "memory");
        for (unsigned i = 0; i < 8; i++) {
            uint8_t *b = i < off ? &page2[4096 - off + i] : &page[i - off];
            CHECK_EQ(*b, (uint8_t)~(0xc0 - off + i));
            *b = (uint8_t)(0xc0 - off + i);
        }
    }
    for (unsigned i = 0; i < 1024; i++)
        ((uint32_t *)page)[i] = ((uint32_t *)page2)[i] = BRK_DONE;
    code_sync(page, 4096);
    code_sync(page2, 4096);
}

/* Loops that copy across pages: with loads and stores of each size, alone, in pairs, indexed, and among others of what
 * they have just stored. */
#define STREAM 1024u
#define STREAM_FORMS(X)                                                                                                \
    X(stream_h, "ldrh w3, [%1], #2", "strh w3, [%0], #2")                                                              \
    X(stream_w, "ldr w3, [%1], #4", "str w3, [%0], #4")                                                                \
    X(stream_x, "ldr x3, [%1], #8", "str x3, [%0], #8")                                                                \
    X(stream_s, "ldr s0, [%1], #4", "str s0, [%0], #4")                                                                \
    X(stream_d, "ldr d0, [%1], #8", "str d0, [%0], #8")                                                                \
    X(stream_q, "ldr q0, [%1], #16", "str q0, [%0], #16")                                                              \
    X(stream_pair_w, "ldp w3, w4, [%1], #8", "stp w3, w4, [%0], #8")                                                   \
    X(stream_pair_x, "ldp x3, x4, [%1], #16", "stp x3, x4, [%0], #16")                                                 \
    X(stream_pair_q, "ldp q0, q1, [%1], #32", "stp q0, q1, [%0], #32")                                                 \
    X(stream_two, "ldr q0, [%1], #16", "str d0, [%0], #8\nmov d1, v0.d[1]\nstr d1, [%0], #8")                          \
    X(stream_indexed, "sub x3, %1, %4\nldr x4, [%4, x3]", "add %1, %1, #8\nstr x4, [%3, x3]")                          \
    X(stream_again, "ldr x3, [%1], #8\nstr x3, [%0]\nldr w4, [%0, #4]\nldrh w3, [%0, #2]",                             \
      "strh w3, [%0, #2]\nstr w4, [%0, #4]\nldr x3, [%0]\nstr x3, [%0], #8")                                           \
    X(stream_label, "ldrb w3, [%1], #1\nadd %0, %0, #1\ntbz w3, #1, 2f\nnop\n2:", "sturb w3, [%0, #-1]")               \
    X(stream_aside, "ldrb w3, [%1], #1\ntbz w3, #0, 2f\nstrb w3, [%0], #1\ncmp %1, %2\nb.ne 1b\nb 3f\n2:",             \
      "add %0, %0, #1\nsturb w3, [%0, #-1]")                                                                           \
    X(stream_asides,                                                                                                   \
      "sub x3, %1, %4\nldrb w4, [%4, x3]\ntbnz w4, #1, 2f\nadd %1, %1, #1\ntbnz w4, #2, 4f\nstrb w4, [%3, x3]\n"       \
      "cmp %1, %2\nb.ne 1b\nb 3f\n4:\nstrb w4, [%3, x3]\ncmp %1, %2\nb.ne 1b\nb 3f\n2:",                               \
      "strb w4, [%3, x3]\nadd %1, %1, #1")
#define STREAM_LOOP(name, load, store)                                                                                 \
    static void name(uint64_t to, uint64_t from) {                                                                     \
        uint64_t to0 = to, from0 = from;                                                                               \
        __asm__ volatile("1: " load "\n" store "\ncmp %1, %2\nb.ne 1b\n3:"                                             \
                         : "+&r"(to), "+&r"(from)                                                                      \
                         : "r"(from + STREAM), "r"(to0), "r"(from0)                                                    \
                         : "x3", "x4", "v0", "v1", "cc", "memory");                                                    \
    }
STREAM_FORMS(STREAM_LOOP)
#define STREAM_ROW(name, load, store) name,
static void (*const stream[])(uint64_t to, uint64_t from) = {STREAM_FORMS(STREAM_ROW)};

static void check_stream(unsigned n, uint64_t to, uint64_t from) {
    static uint8_t seed;
    volatile uint8_t *out = (uint8_t *)to, *in = (uint8_t *)from;
    seed++;
    for (unsigned i = 0; i < STREAM; i++)
        in[i] = (uint8_t)(i * 7 + (i >> 8) * 5 + seed);
    for (unsigned i = 0; i < STREAM + 64; i++)
        out[i - 32ul] = 0xee;
    stream[n](to, from);
    unsigned wrong = 0;
    for (unsigned i = 0; i < STREAM + 64; i++) {
        unsigned at = i - 32;
        wrong += out[i - 32ul] != (at < STREAM ? (uint8_t)(at * 7 + (at >> 8) * 5 + seed) : 0xee);
    }
    CHECK_EQ(wrong, 0);
}

static void test_streams(void) {
    const uint64_t va = TEST_VA + 0x40000, to = va + 4096 - STREAM / 2, from = to + 0x10000;
    for (unsigned i = 0; i < 2; i++) { /* later addresses have earlier pages */
        mmu_map(root, va + 4096 - 4096 * i, (uint64_t)page_alloc(), PTE_RW);
        mmu_map(root, va + 0x11000 - 4096 * i, (uint64_t)page_alloc(), PTE_RW);
    }
    for (unsigned n = 0; n < ARRAY_LEN(stream); n++) {
        for (unsigned off = 0; off < 17; off++) {
            if (off % 5 == 4)
                tlbi_all();
            check_stream(n, to + off * 7 % 17, from + off);
        }
    }
}

/* Code that runs off the end of a page; prefetches that never fault; stores of other kinds. */
SNIPPET(prefetch, "prfm pldl1keep, [x0]\nprfm pstl1keep, [x0]\nprfm plil1keep, [x0]\nadd x1, x0, #1");
SNIPPET(zva, "dc zva, x0");
SNIPPET(rmw_add, "ldadd x1, x2, [x0]");
SNIPPET(rmw_swp, "swp x1, x2, [x0]");
SNIPPET(stxr_ro, "ldxr x1, [x0]\nstxr w2, x1, [x0]");

static void test_misc(void) {
    uint64_t va = TEST_VA + 0x20000, *e;
    mmu_map(root, va, (uint64_t)page2, PTE_RW);
    ((uint32_t *)page2)[1023] = 0xd503201f;
    code_sync(page2 + 4092, 4);
    run_code(&c, PSTATE_EL1T, (void *)(va + 4092), 0, 0, 0, 0);
    context_expect(&c, VEC_SYNC_SP0, ESR(0x21, FSC_TRANSLATION(3)), va + 4096, PSTATE_EL1T);
    CHECK_EQ(c.out.far, va + 4096);
    run_code(&c, PSTATE_EL1T, prefetch, 0xffff123400000000, 0, 0, 0);
    CHECK_EQ(c.out.esr, ESR_DONE);
    CHECK_EQ(c.out.x[1], 0xffff123400000001);
    e = mmu_entry(root, va);
    set_pte(e, *e | PTE_AP_RO, va);
    run_code(&c, PSTATE_EL1T, zva, va + 64, 0, 0, 0);
    context_expect(&c, VEC_SYNC_SP0, ESR(0x25, 0x40 | FSC_PERMISSION(3)), (uint64_t)zva, PSTATE_EL1T);
    CHECK_EQ(c.out.far, va + 64);
    run_code(&c, PSTATE_EL1T, zva, va + 4096, 0, 0, 0);
    CHECK_EQ(c.out.esr, ESR(0x25, 0x40 | FSC_TRANSLATION(3)));
    run_code(&c, PSTATE_EL1T, stxr_ro, va, 0, 0, 0);
    context_expect(&c, VEC_SYNC_SP0, ESR(0x25, 0x40 | FSC_PERMISSION(3)), (uint64_t)stxr_ro + 4, PSTATE_EL1T);
    static const uint32_t *const rmw[] = {rmw_add, rmw_swp};
    for (unsigned i = 0; i < ARRAY_LEN(rmw); i++) {
        run_code(&c, PSTATE_EL1T, rmw[i], va, 1, 2, 3);
        context_expect(&c, VEC_SYNC_SP0, ESR(0x25, 0x40 | FSC_PERMISSION(3)), (uint64_t)rmw[i], PSTATE_EL1T);
        context_check(&c, 0);
        run_code(&c, PSTATE_EL1T, rmw[i], va + 4096, 1, 2, 3); /* a read would fault, too: not a write */
        context_expect(&c, VEC_SYNC_SP0, ESR(0x25, FSC_TRANSLATION(3)), (uint64_t)rmw[i], PSTATE_EL1T);
        CHECK_EQ(c.out.far, va + 4096);
        context_check(&c, 0);
    }
    ((uint32_t *)page2)[1023] = BRK_DONE;
    code_sync(page2 + 4092, 4);
}

/* --- external aborts, AT ---------------------------------------------------------------------- */

SNIPPET(ext_ldrb, "ldrb w1, [x0]");
SNIPPET(ext_ldp, "ldp x1, x2, [x0], #16");
SNIPPET(ext_stp, "stp x1, x2, [x0, #-16]!");
SNIPPET(ext_ldrq, "ldr q0, [x0]");
SNIPPET(ext_strh, "strh w1, [x0], #2");

static void test_external_abort(void) {
    uint64_t va = TEST_VA + 0x30000;
    for (unsigned normal = 0; normal < 2; normal++) {
        mmu_map(root, va, UNBACKED_PA, PTE_RW | (normal ? PTE_ATTR_NORMAL : PTE_ATTR_DEVICE));
        tlbi_all();
        try(PSTATE_EL1T, READ, va, FSC_EXTERNAL);
        try(PSTATE_EL1T, WRITE, va + 8, FSC_EXTERNAL);
        try(PSTATE_EL1T, EXEC, va, FSC_EXTERNAL);
        static const struct {
            const uint32_t *code;
            unsigned write;
        } more[] = {{ext_ldrb, 0}, {ext_ldp, 0}, {ext_stp, 1}, {ext_ldrq, 0}, {ext_strh, 1}};
        for (unsigned i = 0; i < ARRAY_LEN(more); i++) {
            run_code(&c, PSTATE_EL1T, more[i].code, va + 64, 1, 2, 3);
            context_expect(&c, VEC_SYNC_SP0, ESR(0x25, (more[i].write ? 0x40 : 0) | FSC_EXTERNAL),
                           (uint64_t)more[i].code, PSTATE_EL1T);
            CHECK_EQ(c.out.far, va + (i == 2 ? 48 : 64));
            context_check(&c, 0);
        }
    }
    for (unsigned level = 0; level < 3; level++) { /* a table where nothing is */
        uint64_t *e = mmu_entry_at(root, TEST_VA, level), old = *e;
        *e = UNBACKED_PA | 3;
        tlbi_all();
        check_fault(__LINE__, TEST_VA, FSC_EXTERNAL_WALK(level + 1));
        *e = old;
        tlbi_all();
    }
    mmu_off();
    try(PSTATE_EL1T, READ, UNBACKED_PA, FSC_EXTERNAL);
    try(PSTATE_EL1T, WRITE, UNBACKED_PA, FSC_EXTERNAL);
    try(PSTATE_EL1T, EXEC, UNBACKED_PA, FSC_EXTERNAL);
    mmu_on();
}

TESTS({"start", start}, {"crossing", test_crossing}, {"crossing data", test_crossing_data}, {"streams", test_streams},
      {"misc", test_misc}, {"external abort", test_external_abort});
