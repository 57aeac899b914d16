/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* smc.c: code that changes: with cache maintenance and without, through other mappings, by every kind of store. */
#include "payload.h"

#define ESR(ec, iss) ((uint64_t)(ec) << 26 | 1ul << 25 | (iss))
#define ESR_DONE ESR(0x3c, 0x7777)
#define BRK_DONE 0xd42eeee0u
#define MOV_W0(n) (0x52800000u | (uint32_t)(n) << 5)
#define ADD_W0(n) (0x11000000u | (uint32_t)(n) << 10) /* add w0, w0, #n */
#define RET 0xd65f03c0u
#define NOP 0xd503201fu
#define ISB 0xd5033fdfu
#define VA_WRITE 0x10000000000ul /* the page pair: writable here */
#define VA_EXEC 0x10000010000ul  /* read-only and executable here */
#define VA_EXEC2 0x10040000000ul
#define SCTLR_UCI (1ul << 26)
#define SCTLR_UCT (1ul << 15)

static struct context c;
static uint8_t *pages; /* two, side by side */

static uint64_t call(const void *p) { return ((uint64_t (*)(uint64_t))p)(0); }

static void start(void) {
    mmu_on();
    mmu_user_alias();
    pages = page_alloc();
    uint8_t *next = page_alloc();
    CHECK_EQ(next, pages + 4096);
    for (unsigned i = 0; i < 2; i++) {
        mmu_map(mmu_root0(), VA_WRITE + 4096 * i, (uint64_t)pages + 4096 * i, PTE_RW | PTE_UXN | PTE_PXN);
        mmu_map(mmu_root0(), VA_EXEC + 4096 * i, (uint64_t)pages + 4096 * i, PTE_RW | PTE_AP_RO);
        mmu_map(mmu_root0(), VA_EXEC2 + 4096 * i, (uint64_t)pages + 4096 * i, PTE_RW | PTE_AP_RO);
    }
    isb();
}

static void write_code(volatile uint32_t *at, unsigned value) {
    at[0] = MOV_W0(value);
    at[1] = RET;
}

static void test_jit(void) {
    for (unsigned n = 0; n < 1000; n++) {
        write_code((uint32_t *)pages, n);
        code_sync(pages, 8);
        CHECK_EQ(call(pages), n);
    }
}

/* What the architecture does not promise and guests rely on all the same: stores to code are seen after an ISB. */
static void test_without_maintenance(void) {
    for (unsigned n = 0; n < 1000; n++) {
        write_code((uint32_t *)pages, n ^ 0x5555);
        dsb();
        isb();
        CHECK_EQ(call(pages), n ^ 0x5555);
    }
    for (unsigned n = 0; n < 200; n++) {
        write_code((uint32_t *)VA_WRITE + 16, n);
        dsb();
        isb();
        CHECK_EQ(call((uint32_t *)VA_EXEC + 16), n);
        CHECK_EQ(call((uint32_t *)VA_EXEC2 + 16), n);
        CHECK_EQ(call((uint32_t *)pages + 16), n);
    }
}

static void test_aliases(void) {
    static const char *const how[] = {"exec address", "write address", "all"};
    for (unsigned n = 0; n < 300; n++) {
        unsigned h = n % ARRAY_LEN(how);
        write_code((uint32_t *)VA_WRITE, n);
        __asm__ volatile("dc cvau, %0\ndsb ish" : : "r"(VA_WRITE) : "memory");
        if (h == 0)
            __asm__ volatile("ic ivau, %0\nic ivau, %1\ndsb ish\nisb" : : "r"(VA_EXEC), "r"(VA_EXEC2) : "memory");
        else if (h == 1)
            __asm__ volatile("ic ivau, %0\ndsb ish\nisb" : : "r"(VA_WRITE) : "memory");
        else if (n & 1)
            __asm__ volatile("ic ialluis\ndsb ish\nisb" : : : "memory");
        else
            __asm__ volatile("ic iallu\ndsb ish\nisb" : : : "memory");
        CHECK_EQ(call((void *)VA_EXEC), n);
        CHECK_EQ(call((void *)VA_EXEC2), n);
        CHECK_EQ(call(pages), n);
    }
    run_code(&c, PSTATE_EL1T, (void *)VA_WRITE, 0, 0, 0, 0);
    CHECK_EQ(c.out.esr, ESR(0x21, 15));
}

/* --- code that writes the instructions after it ----------------------------------------------- */

/* x0: the word at `1:`, x1: what to write; runs it. Copied to a writable page. */
SNIPPET(next_isb, "str w1, [x0]\nisb\n1: mov w2, #1\nnop");
SNIPPET(next_full, "str w1, [x0]\ndc cvau, x0\ndsb ish\nic ivau, x0\ndsb ish\nisb\n1: mov w2, #1\nnop");
SNIPPET(next_far, "str w1, [x0]\ndsb sy\nisb\nb 2f\nnop\nnop\n1: mov w2, #1\nbrk #0x7777\n2: b 1b");
/* a loop that patches itself: x3 rounds, sums in x2 */
SNIPPET(self_loop, "mov x2, #0\nadr x0, 1f\nldr w1, 1f\n2: isb\n1: add x2, x2, #1\nadd w1, w1, #0x400\nstr w1, [x0]\n"
                   "subs x3, x3, #1\nb.ne 2b");

static void copy_code(void *to, const uint32_t *from, unsigned words) {
    memcpy(to, from, words * 4);
    code_sync(to, words * 4);
}

static void test_next_instruction(void) {
    static const struct {
        const uint32_t *code;
        unsigned words, target;
    } forms[] = {{next_isb, 5, 2}, {next_full, 9, 6}, {next_far, 10, 6}};
    write_sysreg(sctlr_el1, SCTLR_ON | SCTLR_UCI | SCTLR_UCT);
    isb();
    for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
        for (unsigned user = 0; user < 2; user++) {
            uint8_t *at = user ? USER(pages) : pages;
            copy_code(pages, forms[i].code, forms[i].words);
            for (unsigned n = 0; n < 50; n++) {
                uint32_t word = MOV_W0(n) | 2;
                run_code(&c, user ? PSTATE_EL0 : PSTATE_EL1T, at, (uint64_t)(at + 4 * forms[i].target), word, 77, 0);
                CHECK_EQ(c.out.esr, ESR_DONE);
                CHECK_EQ(c.out.x[2], n);
            }
        }
    }
    write_sysreg(sctlr_el1, SCTLR_ON);
    isb();
}

static void test_self_loop(void) {
    for (unsigned user = 0; user < 2; user++) {
        copy_code(pages, self_loop, 12);
        run_code(&c, user ? PSTATE_EL0 : PSTATE_EL1T, user ? USER(pages) : pages, 0, 0, 0, 200);
        CHECK_EQ(c.out.esr, ESR_DONE);
        CHECK_EQ(c.out.x[2], 200 * 201 / 2);
    }
}

/* --- every kind of store ---------------------------------------------------------------------- */

/* clang-format off */
#define STORES(X) \
    X(s_strb, "strb w1, [x0]\nlsr w1, w1, #8\nstrb w1, [x0, #1]\nlsr w1, w1, #8\n" \
      "strb w1, [x0, #2]\nlsr w1, w1, #8\nstrb w1, [x0, #3]") \
    X(s_strh, "strh w1, [x0]\nlsr w1, w1, #16\nstrh w1, [x0, #2]") X(s_str, "str w1, [x0], #4") \
    X(s_strx, "ldr w2, [x0, #4]\norr x1, x1, x2, lsl #32\nstr x1, [x0]") \
    X(s_stp, "ldr w2, [x0, #4]\nstp w1, w2, [x0]") X(s_stlr, "stlr w1, [x0]") \
    X(s_stur, "add x0, x0, #3\nstur w1, [x0, #-3]") X(s_sttr, "sttr w1, [x0]") \
    X(s_stxr, "1: ldxr w2, [x0]\nstxr w3, w1, [x0]\ncbnz w3, 1b") X(s_swp, "swpal w1, w2, [x0]") \
    X(s_cas, "ldr w2, [x0]\ncasal w2, w1, [x0]") X(s_ldadd, "ldr w2, [x0]\nsub w2, w1, w2\nldadd w2, w3, [x0]") \
    X(s_vec, "ldr q0, [x0]\nmov v0.s[0], w1\nstr q0, [x0]") X(s_st1, "fmov s0, w1\nst1 {v0.s}[0], [x0]") \
    X(s_stps, "ldr s1, [x0, #4]\nfmov s0, w1\nstp s0, s1, [x0]") \
    X(s_unaligned, "ldr x2, [x0, #-3]\nbfi x2, x1, #24, #32\nstr x2, [x0, #-3]") \
    X(s_stxp, "1: ldxp w2, w3, [x0]\nstxp w4, w1, w3, [x0]\ncbnz w4, 1b")
/* clang-format on */
#define STORE_SNIPPET(name, text) SNIPPET(name, text);
#define STORE_ROW(name, text) name,
STORES(STORE_SNIPPET)
static const uint32_t *const stores[] = {STORES(STORE_ROW)};

static void test_stores(void) {
    for (unsigned i = 0; i < ARRAY_LEN(stores); i++) {
        for (unsigned user = 0; user < 2; user++) {
            if (stores[i] == s_sttr && !user)
                continue;
            for (unsigned at = 0; at < 4096; at += 4096 - 16) {
                /* also at the very start of a page: unaligned stores cross into it */
                uint8_t *p = pages + 4096 * (at == 0) + at;
                write_code((uint32_t *)p, 9);
                code_sync(p, 8);
                for (unsigned n = 0; n < 20; n++) {
                    run_code(&c, user ? PSTATE_EL0 : PSTATE_EL1T, user ? USER(stores[i]) : stores[i],
                             (uint64_t)(user ? USER(p) : p), MOV_W0(n), 0, 0);
                    CHECK_EQ(c.out.esr, ESR_DONE);
                    uint64_t got = call(p);
                    CHECK_EQ(got, n);
                    if (got != n) {
                        print("  store form ");
                        print_dec(i);
                        print("\n");
                        return;
                    }
                }
            }
        }
    }
    /* DC ZVA over code makes it undefined instructions */
    write_code((uint32_t *)pages, 1);
    code_sync(pages, 8);
    CHECK_EQ(call(pages), 1);
    __asm__ volatile("dc zva, %0\ndsb sy\nisb" : : "r"(pages) : "memory");
    run_code(&c, PSTATE_EL1T, pages, 0, 0, 0, 0);
    context_expect(&c, VEC_SYNC_SP0, ESR(0, 0), (uint64_t)pages, PSTATE_EL1T);
}

/* --- data next to code ------------------------------------------------------------------------ */

static void test_data_with_code(void) {
    volatile uint64_t *counter = (uint64_t *)(pages + 2048);
    *counter = 0;
    write_code((uint32_t *)pages, 5);
    code_sync(pages, 8);
    uint64_t sum = 0;
    for (unsigned n = 0; n < 20000; n++) {
        ++*counter;
        sum += call(pages);
        if (n % 1000 == 999) {
            write_code((uint32_t *)pages, n / 1000);
            code_sync(pages, 8);
            sum += call(pages);
        }
    }
    CHECK_EQ(*counter, 20000);
    /* 1000 calls of 5, then 1000 each of 0 .. 18; and one of 0 .. 19 */
    CHECK_EQ(sum, 5000 + 1000 * (18 * 19 / 2) + 19 * 20 / 2);
}

/* Code whose own data is in its page, as literal pools and stacks on executable pages are. */
SNIPPET(own_data,
        "adr x0, 3f\nmov x1, #0\n1: ldr x2, [x0]\nadd x2, x2, #1\nstr x2, [x0]\nadd x1, x1, #1\ncmp x1, x3\nb.ne 1b\n"
        "ldr x0, [x0]\nbrk #0x7777\n.balign 8\n3: .quad 0");

static void test_own_data(void) {
    for (unsigned user = 0; user < 2; user++) {
        copy_code(pages, own_data, 14);
        run_code(&c, user ? PSTATE_EL0 : PSTATE_EL1T, user ? USER(pages) : pages, 0, 0, 0, 5000);
        CHECK_EQ(c.out.x[0], 5000);
        CHECK_EQ(c.out.x[1], 5000);
    }
}

/* A run of code over two pages; single words of either are changed while the rest stays. */
static void test_two_pages(void) {
    uint32_t *w = (uint32_t *)(pages + 4096) - 64;
    for (unsigned i = 0; i < 127; i++)
        w[i] = ADD_W0(1);
    w[127] = RET;
    code_sync(w, 512);
    CHECK_EQ(call(w), 127);
    uint64_t want = 127;
    for (unsigned n = 0; n < 400; n++) {
        unsigned i = n * 37 % 127, now = n % 9;
        want -= w[i] >> 10 & 0xfff;
        want += now;
        w[i] = ADD_W0(now);
        if (n & 1) {
            code_sync(&w[i], 4);
        } else {
            dsb();
            isb();
        }
        CHECK_EQ(call(w), want);
    }
}

/* Many small functions in a page that call each other and are rewritten one by one. */
#define BL(from, to) (0x94000000u | (((uint32_t)((to) - (from))) & 0x3ffffff))
static void test_call_chain(void) {
    uint32_t *w = (uint32_t *)pages;
    /* function i at word 16 * i: str lr; add; bl function i + 1; ldr lr; ret */
    for (unsigned i = 0; i < 60; i++) {
        uint32_t *f = w + 16 * i;
        f[0] = 0xf81f0ffeu; /* str x30, [sp, #-16]! */
        f[1] = ADD_W0(1);
        f[2] = i < 59 ? BL(16 * i + 2, 16 * (i + 1)) : NOP;
        f[3] = 0xf84107feu; /* ldr x30, [sp], #16 */
        f[4] = RET;
    }
    code_sync(w, 4096);
    CHECK_EQ(call(w), 60);
    uint64_t want = 60;
    for (unsigned n = 0; n < 300; n++) {
        unsigned i = n * 13 % 60, value = n & 7;
        want = want + value - (w[16 * i + 1] >> 10 & 0xfff);
        w[16 * i + 1] = ADD_W0(value);
        code_sync(&w[16 * i + 1], 4);
        CHECK_EQ(call(w), want);
    }
}

/* Memory that was code becomes data that is written a lot, and code again. */
static void test_reuse(void) {
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 8; i++)
            write_code((uint32_t *)pages + 32 * i, round * 8 + i);
        code_sync(pages, 4096);
        for (unsigned i = 0; i < 8; i++)
            CHECK_EQ(call((uint32_t *)pages + 32 * i), round * 8 + i);
        for (unsigned i = 0; i < 2000; i++)
            ((volatile uint64_t *)pages)[i % 512] = i * 0x100000001ul;
        for (unsigned i = 0; i < 512; i++)
            CHECK_EQ(((uint64_t *)pages)[i], (i + (i < 2000 % 512 ? 1536u : 1024u)) * 0x100000001ul);
    }
}

TESTS({"start", start}, {"jit", test_jit}, {"without maintenance", test_without_maintenance}, {"aliases", test_aliases},
      {"next instruction", test_next_instruction}, {"self loop", test_self_loop}, {"stores", test_stores},
      {"data with code", test_data_with_code}, {"own data", test_own_data}, {"two pages", test_two_pages},
      {"call chain", test_call_chain}, {"reuse", test_reuse});
