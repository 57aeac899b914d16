/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* interrupts.c: programs that are interrupted hundreds of times, while every register is trashed meanwhile, end as if
 * they had not been: what an interrupt saves is the whole state, wherever it hits. */
#include "gic.h"

#define ESR_DONE 0xf2007777ul
#define WANTED_IRQS 300

static struct context c;
static uint64_t vectors[64], trash[64], memory[512] __attribute__((aligned(4096)));

#define EACH_PAIR(op, base)                                                                                            \
    op " q0, q1, [" base "]\n" op " q2, q3, [" base ", #32]\n" op " q4, q5, [" base ", #64]\n" op " q6, q7, [" base    \
       ", #96]\n" op " q8, q9, [" base ", #128]\n" op " q10, q11, [" base ", #160]\n" op " q12, q13, [" base           \
       ", #192]\n" op " q14, q15, [" base ", #224]\n" op " q16, q17, [" base ", #256]\n" op " q18, q19, [" base        \
       ", #288]\n" op " q20, q21, [" base ", #320]\n" op " q22, q23, [" base ", #352]\n" op " q24, q25, [" base        \
       ", #384]\n" op " q26, q27, [" base ", #416]\n" op " q28, q29, [" base ", #448]\n" op " q30, q31, [" base        \
       ", #480]\n"
static void vectors_load(const uint64_t *from) { __asm__ volatile(EACH_PAIR("ldp", "%0") : : "r"(from) : "memory"); }
static void vectors_save(uint64_t *to) { __asm__ volatile(EACH_PAIR("stp", "%0") : : "r"(to) : "memory"); }

/* x0: rounds, x1: 4 KiB of memory. All registers take part, and flags go from one round into the next. */
SNIPPET(integer,
        "1: adcs x2, x2, x3\nadcs x3, x3, x4\nsbcs x4, x4, x5\neor x5, x5, x6, ror #7\nmadd x6, x7, x8, x6\n"
        "umulh x7, x6, x9\nadc x8, x8, xzr\ncsel x9, x10, x11, cs\ncsinc x10, x11, x9, mi\nccmp x10, x2, #5, vc\n"
        "rbit x11, x12\nextr x12, x13, x14, #21\nbfi x13, x2, #11, #17\nclz x14, x15\nadd x15, x15, x14, lsl #3\n"
        "sub w16, w15, w16\nsxtw x17, w16\nror x18, x18, x17\nands x19, x18, x20\nb.eq 2f\nadd x20, x20, #1\n"
        "2: add x21, x21, x22, uxtb #2\nsmulh x22, x21, x23\neon x23, x23, x24\n.inst 0x9ad75f18\n"
        "udiv x25, x26, x24\nadd x26, x26, x25\nmvn x27, x27\nadcs x28, x28, x27\norr x29, x29, x28, lsr #60\n"
        "sub x30, x30, x29\nsub x0, x0, #1\ncbnz x0, 1b");
SNIPPET(
    vector,
    "1: fmul d0, d1, d2\nfadd d1, d1, d31\nadd v3.4s, v3.4s, v4.4s\nmla v4.8h, v5.8h, v6.8h\neor v5.16b, v5.16b, "
    "v3.16b\n"
    "ext v6.16b, v6.16b, v7.16b, #5\nzip1 v7.4s, v8.4s, v9.4s\nfcvtzs x2, d1\nscvtf d8, x2\nuzp2 v9.16b, v10.16b, "
    "v11.16b\n"
    "sqadd v10.2d, v10.2d, v12.2d\ntbl v11.16b, {v12.16b}, v13.16b\nushl v12.4s, v13.4s, v14.4s\nsub v13.2d, v13.2d, "
    "v15.2d\n"
    "addv b14, v14.16b\npmull v15.8h, v16.8b, v17.8b\nrev64 v16.8h, v17.8h\nmvn v17.16b, v18.16b\numov x3, v17.d[1]\n"
    "ins v18.d[0], x3\ncmgt v19.4s, v20.4s, v21.4s\nfadd v20.2d, v20.2d, v31.2d\nfsub v21.4s, v21.4s, v22.4s\n"
    "bsl v22.16b, v23.16b, v24.16b\nxtn v23.4h, v24.4s\nsmull v24.4s, v25.4h, v26.4h\nssra v25.8h, v26.8h, #3\n"
    "trn1 v26.8h, v27.8h, v28.8h\nbit v27.16b, v28.16b, v29.16b\nadd v28.16b, v28.16b, v30.16b\nmul v29.4s, v29.4s, "
    "v28.4s\n"
    "sub v30.8h, v30.8h, v29.8h\nsub x0, x0, #1\ncbnz x0, 1b");
SNIPPET(stores,
        "mov x9, x1\nmov x10, #0\n1: and x2, x10, #0xff0\nadd x3, x9, x2\nldp x4, x5, [x3]\nadd x4, x4, x10\neor x5, "
        "x5, x4\n"
        "stp x4, x5, [x3]\n2: ldxr x6, [x9]\nadd x6, x6, #1\nstxr w7, x6, [x9]\ncbnz w7, 2b\nldadd x10, x8, [x9]\n"
        "str x8, [x9, #8]\nldr w8, [x9, #5]\nstrb w8, [x9, #3000]\nadd x10, x10, #48\nsub x0, x0, #1\ncbnz x0, 1b");
SNIPPET(calls, "mov x9, #1\n1: bl 3f\nadr x2, 4f\nblr x2\nmov x3, x0\nbl 5f\nsub x0, x0, #1\ncbnz x0, 1b\nb 6f\n"
               "3: add x9, x9, x9, lsl #3\nret\n4: stp x30, x9, [sp, #-16]!\nbl 3b\nbl 3b\nldp x30, x10, [sp], "
               "#16\neor x9, x9, x10\nret\n"
               "5: tbz x3, #0, 7f\nadr x4, 3b\nbr x4\n7: add x9, x9, #5\nret\n6: nop");
/* Loops of few registers, most of which have no host register of their own elsewhere. */
SNIPPET(loop_integer,
        "mov x9, x1\nmov x10, #0\nmov x22, x0\n1: and x11, x10, #0xff8\nldr x12, [x9, x11]\nadd x12, x12, x10\n"
        "eor x13, x13, x12\nstr x13, [x9, x11]\nadds x14, x14, x13\nadc x15, x15, x14\nadd x10, x10, #24\n"
        "sub x22, x22, #1\ncbnz x22, 1b");
SNIPPET(loop_vector,
        "mov x9, x1\nadd x10, x1, #4096\nmov x22, x0\n1: ldr q24, [x9], #16\nldr d8, [x9, #-8]\nfmul d8, d8, d31\n"
        "fadd d9, d9, d8\nfmla v25.2d, v24.2d, v26.2d\neor v10.16b, v10.16b, v25.16b\ncmp x9, x10\n"
        "csel x9, x1, x9, eq\nstr d9, [x9]\nsubs x22, x22, #1\nb.ne 1b");
/* Flags meet where branches do. */
SNIPPET(loop_branches,
        "mov x9, x1\nmov x10, #0\nmov x22, x0\n1: ldr x12, [x9, x10]\ntst x12, #6\nb.eq 3f\nadd x13, x13, x12\n"
        "str x13, [x9, x10]\ntbz x12, #3, 2f\neor x14, x14, x13\nb 4f\n2: adds x15, x15, x13\n3: adc x16, x16, x15\n"
        "4: csel x17, x13, x14, cs\nadd x18, x18, x17\nadd x10, x10, #8\nand x10, x10, #0xff8\nsubs x22, x22, #1\n"
        "b.ne 1b");
static const struct {
    const uint32_t *code;
    uint32_t rounds;
} programs[] = {{integer, 100000},      {vector, 100000},      {stores, 100000},       {calls, 200000},
                {loop_integer, 200000}, {loop_vector, 200000}, {loop_branches, 200000}};

static void prepare(unsigned program, uint32_t pstate) {
    bool user = !(pstate & 12);
    for (unsigned i = 0; i < 64; i++)
        vectors[i] = 0x3ff123456789abcdul * (2 * i + 1);
    vectors[62] = vectors[63] = 0x3ff0000000000000;
    vectors_load(vectors);
    for (unsigned i = 0; i < 512; i++)
        memory[i] = i * 0x9e3779b97f4a7c15ul;
    const void *code = programs[program].code;
    context_init(&c, pstate, (uint64_t)(user ? USER(code) : code));
    c.in.x[0] = programs[program].rounds;
    c.in.x[1] = (uint64_t)(user ? USER(memory) : memory);
    c.in.sp -= 256;
}

static unsigned irqs;
static void run_interrupted(void) {
    for (;;) {
        context_run(&c);
        if ((c.vector & 3) != 1)
            return;
        uint64_t saved[64], fpsr = read_sysreg(fpsr);
        vectors_save(saved);
        vectors_load(trash);
        __asm__ volatile("cmp xzr, xzr\nfdiv d0, d1, d2" : : : "cc");
        write_sysreg(fpsr, fpsr);
        uint32_t iar = gic_ack();
        irqs += (iar & 1023) == PPI_VTIMER;
        write_sysreg(cntv_tval_el0, read_sysreg(cntfrq_el0) / 20000 + irqs % 64);
        isb();
        if ((iar & 1023) < 1020)
            gic_eoi(iar);
        vectors_load(saved);
        c.in = c.out;
    }
}

static void check(uint32_t pstate) {
    static uint64_t want_vectors[64], want_memory[512];
    for (unsigned p = 0; p < ARRAY_LEN(programs); p++) {
        write_sysreg(cntv_ctl_el0, 0);
        isb();
        write_sysreg(fpsr, 0);
        prepare(p, pstate);
        context_run(&c);
        struct frame want = c.out;
        uint64_t want_fpsr = read_sysreg(fpsr);
        vectors_save(want_vectors);
        memcpy(want_memory, memory, sizeof(memory));
        CHECK_EQ(want.esr, ESR_DONE);
        irqs = 0;
        uint64_t end = read_sysreg(cntvct_el0) + 10 * read_sysreg(cntfrq_el0); /* a busy host delivers fewer */
        while (irqs < WANTED_IRQS && read_sysreg(cntvct_el0) < end) {
            prepare(p, pstate & ~0x80u);
            write_sysreg(fpsr, 0);
            write_sysreg(cntv_tval_el0, 1000);
            write_sysreg(cntv_ctl_el0, 1);
            run_interrupted();
            write_sysreg(cntv_ctl_el0, 0);
            uint64_t now_fpsr = read_sysreg(fpsr), now_vectors[64];
            vectors_save(now_vectors);
            unsigned wrong = 0;
            for (unsigned i = 0; i < 31; i++)
                wrong += c.out.x[i] != want.x[i];
            for (unsigned i = 0; i < 64; i++)
                wrong += now_vectors[i] != want_vectors[i];
            for (unsigned i = 0; i < 512; i++)
                wrong += memory[i] != want_memory[i];
            CHECK_EQ(wrong, 0);
            CHECK_EQ(c.out.sp, want.sp);
            CHECK_EQ(c.out.elr, want.elr);
            CHECK_EQ(c.out.esr, ESR_DONE);
            CHECK_EQ(c.out.spsr & 0xf0000000, want.spsr & 0xf0000000);
            CHECK_EQ(now_fpsr, want_fpsr);
            if (wrong)
                break;
        }
        CHECK(irqs >= WANTED_IRQS / 10);
    }
}

static void start(void) {
    mmu_on();
    mmu_user_alias();
    gic_init();
    gic_enable(PPI_VTIMER);
    for (unsigned i = 0; i < 64; i++)
        trash[i] = ~0ul - i;
}
static void test_el0(void) { check(PSTATE_EL0); }
static void test_el1(void) { check(PSTATE_EL1T); }

TESTS({"start", start}, {"el0", test_el0}, {"el1", test_el1});
