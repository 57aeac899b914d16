/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* insn_random.c: random words executed at EL0, in runs, and at EL1, one by one, for ten seconds. Nothing a guest
 * executes may end the monitor or hang it; the payload itself must come through, too. */
/* options: only=graft */
#include "gic.h"

#define SANDBOX 0x10000000000ul /* nothing else is mapped for EL0, nor within 512 GiB of it */
#define CODE (SANDBOX + 0x10000)
#define DATA (SANDBOX + 0x20000)
#define DATA_PAGES 16
#define BRK_DONE 0xd42eeee0u
#define SECONDS_EACH 5

static struct context c;
static uint32_t *code_page;
static uint64_t seed = 0x853c49e6748fea9b;
static uint64_t ran, done, undefined, faulted, interrupted, other;

static uint64_t next(void) { /* xorshift64* */
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1d;
}

static void start(void) {
    mmu_on();
    gic_init();
    gic_enable(PPI_VTIMER);
    code_page = page_alloc();
    for (unsigned i = 0; i < DATA_PAGES; i++)
        mmu_map(mmu_root0(), DATA + 4096 * i, (uint64_t)page_alloc(),
                PTE_RW | PTE_AP_EL0 | PTE_PXN | (i & 1 ? PTE_UXN : 0));
    mmu_map(mmu_root0(), CODE, 0, 0);
    isb();
}

/* A register: a place in the sandbox, a small number, or anything; never an address of the payload or a device. */
static uint64_t random_register(void) {
    uint64_t r = next();
    switch (r & 7) {
    case 0: return r >> 52;
    case 1: return -(r >> 52);
    case 2: return r >> 3;
    case 3: return r | 1ul << 63;
    case 4: return CODE + (r >> 52);
    default: return DATA + 0x4000 + ((r >> 40 & 0x7fff) & (r & 8 ? ~15ul : ~0ul));
    }
}

static uint32_t random_word(void) {
    uint64_t r = next();
    uint32_t w = (uint32_t)(r >> 16);
    switch (r & 15) {
    case 0: return 0xd5000000 | (w & 0x3fffff);                         /* system */
    case 1: return (w & 0xc03fffff) | 0x38000000 | (w >> 8 & 0x200000); /* loads and stores */
    case 2: return (w & 0x9fffffff) | 0x0e000000;                       /* vectors */
    case 3: return (w & 0xff3fffff) | 0x08000000;                       /* exclusives */
    default: return w;
    }
}

static void account(void) {
    ran++;
    unsigned ec = EC(c.out.esr);
    if ((c.vector & 3) == 1)
        interrupted++;
    else if (ec == 0x3c)
        done++;
    else if (ec == 0)
        undefined++;
    else if (ec >= 0x20 && ec <= 0x26)
        faulted++;
    else
        other++;
}

/* run(): enters with random registers; a timer interrupt ends what does not end by itself. */
static void run(uint32_t pstate, uint64_t pc) {
    context_init(&c, pstate, pc);
    for (unsigned i = 0; i < 31; i++)
        c.in.x[i] = random_register();
    c.in.sp = DATA + 0x8000;
    c.in.spsr |= (uint32_t)next() & 0xf0000000;
    write_sysreg(cntv_tval_el0, read_sysreg(cntfrq_el0) / 5000);
    write_sysreg(cntv_ctl_el0, 1);
    isb();
    context_run(&c);
    account();
    write_sysreg(cntv_ctl_el0, 0);
    isb();
    if ((c.vector & 3) == 1) {
        uint32_t iar = gic_ack();
        if ((iar & 1023) < 1020)
            gic_eoi(iar);
    }
}

static void report(const char *what) {
    print(what);
    const uint64_t counts[] = {ran, done, undefined, faulted, interrupted, other};
    static const char *const names[] = {" runs, ",   " to the end, ",  " undefined, ",
                                        " aborts, ", " interrupted, ", " other\n"};
    for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
        print_dec(counts[i]);
        print(names[i]);
    }
    ran = done = undefined = faulted = interrupted = other = 0;
}

/* After the deadline, and not before something of each kind ran, however slow the machine is. */
static bool enough(uint64_t end) { return read_sysreg(cntvct_el0) >= end && ran > 100 && done && undefined; }

static uint64_t deadline(void) { return read_sysreg(cntvct_el0) + SECONDS_EACH * read_sysreg(cntfrq_el0); }

static void test_el0(void) {
    *mmu_entry(mmu_root0(), CODE) = (uint64_t)code_page | PTE_RW | PTE_AP_EL0 | PTE_PXN;
    tlbi_all();
    for (uint64_t end = deadline(); !enough(end);) {
        unsigned length = 1 + next() % 32, at = next() % 900;
        for (unsigned i = 0; i < length; i++)
            code_page[at + i] = random_word();
        code_page[at + length] = BRK_DONE;
        code_sync(code_page + at, 4 * length + 4);
        write_sysreg(cpacr_el1, next() & 15 ? 3 << 20 : 0);
        run(PSTATE_EL0 & ~0x3c0u, CODE + 4 * at);
    }
    write_sysreg(cpacr_el1, 3 << 20);
    isb();
    report("  EL0: ");
}

/* System register writes are fuzz_regs.c's; from here they would only unmap the payload. */
static bool harmless(uint32_t w) { return (w & 0xfff00000) != 0xd5100000; }

static void test_el1(void) {
    *mmu_entry(mmu_root0(), CODE) = (uint64_t)code_page | PTE_RW | PTE_AP_RO;
    tlbi_all();
    for (unsigned i = 0; i < 1024; i++)
        code_page[i] = BRK_DONE;
    code_sync(code_page, 4096);
    for (uint64_t end = deadline(); !enough(end);) {
        uint32_t w = random_word();
        unsigned at = next() % 1023;
        if (!harmless(w))
            continue;
        code_page[at] = w;
        code_sync(code_page + at, 4);
        write_sysreg(cpacr_el1, next() & 15 ? 3 << 20 : 0);
        run((next() & 1 ? PSTATE_EL1T : PSTATE_EL1T | PSTATE_PAN) & ~0x3c0u, CODE + 4 * at);
        code_page[at] = BRK_DONE;
        code_sync(code_page + at, 4);
    }
    write_sysreg(cpacr_el1, 3 << 20);
    isb();
    report("  EL1: ");
}

/* Everything still works. */
static void test_after(void) {
    exception_handler = catch_and_skip;
    caught = 0;
    __asm__ volatile("svc #1" : : : "memory");
    CHECK_EQ(caught, 1);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 1000; i++)
        sum += i * i;
    CHECK_EQ(sum, 332833500);
    CHECK_EQ(read_sysreg(sctlr_el1), SCTLR_ON);
    CHECK_EQ(read_sysreg(ttbr0_el1), (uint64_t)mmu_root0());
}

TESTS({"start", start}, {"el0", test_el0}, {"el1", test_el1}, {"after", test_after});
