/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* smp.c: two CPUs: atomics, ordering, TLBI and IC broadcasts, interrupts between them. smp_v3.c is the same with
 * GICv3. */
/* options: smp=2 */
#include "gic.h"

#define AFFINITY_INFO 0xc4000004u
#define CPU_ON64 0xc4000003u
#define ALREADY_ON (-4)
#define ON_PENDING (-5)
#define VA 0x10000000000ul
#define ESR_DONE 0xf2007777ul
#define PAD __attribute__((aligned(128)))

static uint64_t frequency;
#define ticks() read_sysreg(cntvct_el0)

/* --- a task for CPU 1 ------------------------------------------------------------------------- */

static void (*volatile task)(void);
static volatile unsigned task_done;

static void run_task(void *arg) {
    (void)arg;
    mmu_on();
    task();
    dsb();
    task_done = 1;
}

static bool wait_for(volatile unsigned *v, unsigned value, const char *what) {
    uint64_t end = ticks() + 30 * frequency;
    while (*v != value) {
        if (ticks() > end) {
            print("FAIL waits for ");
            print(what);
            print("\nFAILED\n");
            power_off();
        }
    }
    dsb();
    return true;
}

static void begin(void (*f)(void)) {
    task = f;
    task_done = 0;
    dsb();
    CHECK_EQ(cpu_start(1, run_task, NULL), 0);
}

static void finish(void) {
    wait_for(&task_done, 1, "the task");
    uint64_t end = ticks() + 5 * frequency;
    while (psci(AFFINITY_INFO, 1, 0, 0) != 1 && ticks() < end)
        ;
    CHECK_EQ(psci(AFFINITY_INFO, 1, 0, 0), 1);
}

/* meet(): both CPUs come here before either goes on. */
static volatile unsigned arrived[2] PAD;
static void meet(unsigned cpu) {
    dsb();
    arrived[cpu]++;
    dsb();
    while ((int)(arrived[!cpu] - arrived[cpu]) < 0)
        ;
    dsb();
}

static void reset_meet(void) {
    arrived[0] = arrived[1] = 0;
    dsb();
}

static void start(void) {
    frequency = read_sysreg(cntfrq_el0);
    mmu_on();
    mmu_user_alias();
}

/* --- power ------------------------------------------------------------------------------------ */

static volatile unsigned on_count;
static void count_me(void) { on_count++; }
static void test_cycles(void) {
    on_count = 0;
    for (unsigned i = 0; i < 50; i++) {
        begin(count_me);
        finish();
    }
    CHECK_EQ(on_count, 50);
}

static volatile unsigned go;
static void wait_go(void) {
    while (!go)
        ;
}

static void test_already_on(void) {
    go = 0;
    begin(wait_go);
    /* QEMU forgets a CPU_ON that it has not carried out yet, and would take the second one. */
    while (on_qemu() && psci(AFFINITY_INFO, 1, 0, 0) != 0)
        ;
    int64_t status = psci(CPU_ON64, 1, 0x40080000, 0), state;
    CHECK(status == ALREADY_ON || status == ON_PENDING);
    while ((state = psci(AFFINITY_INFO, 1, 0, 0)) == 2)
        ;
    CHECK_EQ(state, 0);
    CHECK_EQ(psci(CPU_ON64, 1, 0x40080000, 0), ALREADY_ON);
    go = 1;
    finish();
}

/* --- atomics ---------------------------------------------------------------------------------- */

enum { ROUNDS = 100000 };
static struct {
    __attribute__((aligned(16))) uint64_t pair[2];
    uint64_t ex64, lse64, cas64, swp_lock, locked;
    uint32_t ex32, lse32;
    uint16_t ex16, lse16;
    uint8_t bytes[8], lse8;
} PAD shared_words;

#define EXCLUSIVE(ld, st, w, p)                                                                                        \
    do {                                                                                                               \
        uint64_t v_;                                                                                                   \
        uint32_t f_;                                                                                                   \
        __asm__ volatile("1: " ld " %" w "0, [%2]\nadd %0, %0, #1\n" st " %w1, %" w "0, [%2]\ncbnz %w1, 1b"            \
                         : "=&r"(v_), "=&r"(f_)                                                                        \
                         : "r"(p)                                                                                      \
                         : "memory");                                                                                  \
    } while (0)

static void count_atomically(unsigned cpu) {
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t one = 1, old, new;
        uint32_t fail;
        EXCLUSIVE("ldxr", "stxr", "", &shared_words.ex64);
        EXCLUSIVE("ldaxr", "stlxr", "w", &shared_words.ex32);
        EXCLUSIVE("ldxrh", "stlxrh", "w", &shared_words.ex16);
        EXCLUSIVE("ldaxrb", "stxrb", "w", &shared_words.bytes[3]);
        shared_words.bytes[cpu ? 2 : 4]++; /* neighbours, one writer each */
        __asm__ volatile("ldadd %0, xzr, [%1]" : : "r"(one), "r"(&shared_words.lse64) : "memory");
        __asm__ volatile("ldaddal %w0, %w2, [%1]" : : "r"(one), "r"(&shared_words.lse32), "r"(0) : "memory");
        __asm__ volatile("ldaddah %w0, %w2, [%1]" : : "r"(one), "r"(&shared_words.lse16), "r"(0) : "memory");
        __asm__ volatile("staddb %w0, [%1]" : : "r"(one), "r"(&shared_words.lse8) : "memory");
        old = *(volatile uint64_t *)&shared_words.cas64;
        for (;;) {
            uint64_t seen = old;
            new = old + 1;
            __asm__ volatile("casal %0, %1, [%2]" : "+r"(seen) : "r"(new), "r"(&shared_words.cas64) : "memory");
            if (seen == old)
                break;
            old = seen;
        }
        do /* a lock by SWP */
            __asm__ volatile("swpa %1, %0, [%2]" : "=r"(old) : "r"(one), "r"(&shared_words.swp_lock) : "memory");
        while (old);
        shared_words.locked++;
        __asm__ volatile("stlr xzr, [%0]" : : "r"(&shared_words.swp_lock) : "memory");
        __asm__ volatile("1: ldxp %0, %1, [%3]\nadd %0, %0, #1\nsub %1, %1, #1\nstxp %w2, %0, %1, [%3]\ncbnz %w2, 1b"
                         : "=&r"(old), "=&r"(new), "=&r"(fail)
                         : "r"(shared_words.pair)
                         : "memory");
        register uint64_t a __asm__("x4"), b __asm__("x5"), c __asm__("x6"), d __asm__("x7");
        uint64_t was_a, was_b;
        do {
            a = was_a = *(volatile uint64_t *)&shared_words.pair[0];
            b = was_b = *(volatile uint64_t *)&shared_words.pair[1];
            c = a + 1;
            d = b - 1;
            __asm__ volatile("caspal %0, %1, %2, %3, [%4]"
                             : "+r"(a), "+r"(b)
                             : "r"(c), "r"(d), "r"(shared_words.pair)
                             : "memory");
        } while (a != was_a || b != was_b);
    }
}
static void count_on_1(void) {
    meet(1);
    count_atomically(1);
}

static void test_atomics(void) {
    memset(&shared_words, 0, sizeof(shared_words));
    reset_meet();
    begin(count_on_1);
    meet(0);
    count_atomically(0);
    finish();
    CHECK_EQ(shared_words.ex64, 2 * ROUNDS);
    CHECK_EQ(shared_words.ex32, 2 * ROUNDS);
    CHECK_EQ(shared_words.ex16, (uint16_t)(2 * ROUNDS));
    CHECK_EQ(shared_words.bytes[3], (uint8_t)(2 * ROUNDS));
    CHECK_EQ(shared_words.bytes[2], (uint8_t)ROUNDS);
    CHECK_EQ(shared_words.bytes[4], (uint8_t)ROUNDS);
    CHECK_EQ(shared_words.lse64, 2 * ROUNDS);
    CHECK_EQ(shared_words.lse32, 2 * ROUNDS);
    CHECK_EQ(shared_words.lse16, (uint16_t)(2 * ROUNDS));
    CHECK_EQ(shared_words.lse8, (uint8_t)(2 * ROUNDS));
    CHECK_EQ(shared_words.cas64, 2 * ROUNDS);
    CHECK_EQ(shared_words.locked, 2 * ROUNDS);
    CHECK_EQ(shared_words.pair[0], 4 * ROUNDS);
    CHECK_EQ(shared_words.pair[1], -4 * ROUNDS);
}

/* A store by the other CPU between LDXR and STXR makes the STXR fail. */
static volatile uint64_t contended PAD;
static volatile unsigned stage PAD;
static void store_between(void) {
    for (unsigned i = 0; i < 1000; i++) {
        while (stage != 2 * i + 1)
            ;
        contended = 1000 + i;
        dsb();
        stage = 2 * i + 2;
    }
}

static void test_exclusive_monitor(void) {
    stage = 0;
    begin(store_between);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t old, failed, t;
        __asm__ volatile(
            "ldxr %0, [%3]\nstr %w5, [%4]\ndsb sy\n1: ldr %w2, [%4]\ncmp %w2, %w6\nb.ne 1b\nstxr %w1, xzr, [%3]"
            : "=&r"(old), "=&r"(failed), "=&r"(t)
            : "r"(&contended), "r"(&stage), "r"(2 * i + 1), "r"(2 * i + 2)
            : "memory", "cc");
        CHECK_EQ(failed & 1, 1);
        CHECK_EQ(contended, 1000 + i);
    }
    finish();
    __asm__ volatile("clrex" : : : "memory");
}

/* --- ordering --------------------------------------------------------------------------------- */

enum { LITMUS = 20000 };
static volatile uint64_t data PAD, flag PAD, x_word PAD, y_word PAD;
static volatile uint64_t seen_x[2] PAD;

static void mp_writer(void) {
    for (uint64_t i = 1; i <= LITMUS; i++) {
        data = i;
        if (i & 1)
            __asm__ volatile("stlr %0, [%1]" : : "r"(i), "r"(&flag) : "memory");
        else
            __asm__ volatile("dmb ishst\nstr %0, [%1]" : : "r"(i), "r"(&flag) : "memory");
        if (i % 64 == 0)
            while (x_word < i - 32)
                ;
    }
}

static void test_message_passing(void) {
    data = flag = x_word = 0;
    begin(mp_writer);
    uint64_t f = 0, d = 0, last = 0;
    unsigned wrong = 0;
    while (f < LITMUS) {
        __asm__ volatile("ldar %0, [%2]\nldr %1, [%3]" : "=&r"(f), "=&r"(d) : "r"(&flag), "r"(&data) : "memory");
        wrong += d < f || f < last;
        last = f;
        __asm__ volatile("ldr %0, [%2]\ndmb ishld\nldr %1, [%3]"
                         : "=&r"(f), "=&r"(d)
                         : "r"(&flag), "r"(&data)
                         : "memory");
        wrong += d < f || f < last;
        last = f;
        x_word = f;
    }
    CHECK_EQ(wrong, 0);
    finish();
}

#define SB_ROUND(cpu, mine, other, how)                                                                                \
    do {                                                                                                               \
        uint64_t got_;                                                                                                 \
        if (how)                                                                                                       \
            __asm__ volatile("str %1, [%2]\ndmb sy\nldr %0, [%3]"                                                      \
                             : "=&r"(got_)                                                                             \
                             : "r"(1ul), "r"(&mine), "r"(&other)                                                       \
                             : "memory");                                                                              \
        else                                                                                                           \
            __asm__ volatile("stlr %1, [%2]\nldar %0, [%3]"                                                            \
                             : "=&r"(got_)                                                                             \
                             : "r"(1ul), "r"(&mine), "r"(&other)                                                       \
                             : "memory");                                                                              \
        seen_x[cpu] = got_;                                                                                            \
    } while (0)

static void sb_on_1(void) {
    for (unsigned i = 0;; i++) {
        meet(1);
        if (stage)
            break;
        SB_ROUND(1, y_word, x_word, i & 1);
        meet(1);
    }
}

static void test_store_buffering(void) {
    reset_meet();
    x_word = y_word = 0;
    stage = 0;
    begin(sb_on_1);
    unsigned wrong[2] = {0, 0};
    uint64_t end = ticks() + 3 * frequency; /* a meeting is slow where the CPUs share a core */
    for (unsigned i = 0; !stage; i++) {
        stage = i == LITMUS || ticks() > end;
        meet(0);
        if (stage)
            break;
        SB_ROUND(0, x_word, y_word, i & 1);
        meet(0);
        wrong[i & 1] += seen_x[0] == 0 && seen_x[1] == 0;
        x_word = y_word = 0;
    }
    if (!on_qemu()) /* QEMU lets an LDAR pass an STLR */
        CHECK_EQ(wrong[0], 0);
    CHECK_EQ(wrong[1], 0);
    finish();
}

/* --- TLB maintenance -------------------------------------------------------------------------- */

/* x0: page, x1: flag. Reads until it faults, or the flag was set before a read that did not. */
SNIPPET(read_until_fault, "1: ldar w3, [x1]\nldr x2, [x0]\ncbz w3, 1b");
SNIPPET(write_until_fault, "1: ldar w3, [x1]\nstr x2, [x0, #8]\ncbz w3, 1b");
/* the same until the value changes */
SNIPPET(read_until_set, "1: ldar w3, [x1]\nldr x2, [x0]\ncbz w3, 1b\n");
static struct context c1;
static volatile unsigned unmapped PAD;
static volatile unsigned spin_user, spin_kind;

enum { TLBI_ROUNDS = 60 };
static void spin_on_page(void) {
    static const uint32_t *const codes[] = {read_until_fault, write_until_fault, read_until_set};
    for (unsigned i = 0; i < TLBI_ROUNDS; i++) {
        meet(1);
        const void *code = codes[spin_kind];
        run_code(&c1, spin_user ? PSTATE_EL0 : PSTATE_EL1T, spin_user ? USER(code) : code, VA,
                 (uint64_t)(spin_user ? USER(&unmapped) : (void *)&unmapped), 0, 0);
        meet(1);
    }
}

static void test_tlbi(void) {
    uint64_t *root = mmu_root0(), *page = page_alloc(), *other = page_alloc();
    reset_meet();
    mmu_map(root, VA, 0, 0);
    uint64_t *e = mmu_entry(root, VA);
    begin(spin_on_page);
    for (unsigned i = 0; i < TLBI_ROUNDS; i++) {
        unsigned form = i % 6;
        uint64_t attrs = PTE_RW | PTE_AP_EL0 | (form > 2 ? PTE_NG : 0);
        *page = 0x1111;
        *other = 0x2222;
        *e = (uint64_t)page | attrs;
        unmapped = 0;
        spin_user = i / 2 & 1;
        spin_kind = i % 3;
        meet(0);
        delay_us(i % 7 * 100);
        *e = spin_kind == 0 ? 0 : spin_kind == 1 ? *e | PTE_AP_RO : (uint64_t)other | attrs;
        dsb();
        switch (form) {
        case 0: __asm__ volatile("tlbi vmalle1is" : : : "memory"); break;
        case 1: __asm__ volatile("tlbi vaae1is, %0" : : "r"(VA >> 12) : "memory"); break;
        case 2: __asm__ volatile("tlbi vaale1is, %0" : : "r"(VA >> 12) : "memory"); break;
        case 3: __asm__ volatile("tlbi vae1is, %0" : : "r"(VA >> 12) : "memory"); break;
        case 4: __asm__ volatile("tlbi vale1is, %0" : : "r"(VA >> 12) : "memory"); break;
        default: __asm__ volatile("tlbi aside1is, xzr" : : : "memory"); break;
        }
        dsb();
        *page = 0xdead;
        page[1] = 0xbeef; /* a write of CPU 1 now would overwrite it */
        __asm__ volatile("stlr %w0, [%1]" : : "r"(1), "r"(&unmapped) : "memory");
        meet(0);
        if (spin_kind < 2) {
            CHECK_EQ(c1.out.esr, (spin_user ? 0x92000000ul : 0x96000000ul) | (spin_kind ? 0x4f : 7));
            CHECK_EQ(c1.out.far, VA + 8 * spin_kind);
            CHECK_EQ(c1.out.elr & ~USER_BASE, (uint64_t)(spin_kind ? write_until_fault : read_until_fault) + 4);
            CHECK_EQ(page[1], 0xbeef);
            if (spin_kind == 0)
                CHECK(c1.out.x[2] != 0xdead);
        } else {
            CHECK_EQ(c1.out.esr, ESR_DONE);
            CHECK_EQ(c1.out.x[2], 0x2222);
        }
    }
    finish();
    *e = 0;
    tlbi_va(VA);
}

/* TLBI and DSB finish whatever the other CPU does: wait for interrupts, spin with them masked, be off. */
static volatile unsigned release;
static void sleep_until_release(void) {
    gic_init();
    gic_enable(1);
    while (!release)
        __asm__ volatile("wfi" : : : "memory");
    uint32_t iar;
    do /* it may have woken for something else, between the word and the interrupt */
        iar = gic_ack();
    while ((iar & 1023) != 1);
    gic_eoi(iar);
}
static void spin_until_release(void) {
    __asm__ volatile("1: ldr w2, [%0]\ncbz w2, 1b" : : "r"(&release) : "x2", "memory");
}

static void test_tlbi_idle(void) {
    gic_init();
    for (unsigned how = 0; how < 3; how++) {
        release = 0;
        if (how < 2)
            begin(how ? spin_until_release : sleep_until_release);
        delay_us(20000);
        uint64_t from = ticks();
        for (unsigned i = 0; i < 500; i++)
            tlbi_all();
        CHECK(ticks() - from < 20 * frequency);
        release = 1;
        dsb();
        if (how == 0)
            gic_send_sgi(1, 1);
        if (how < 2)
            finish();
    }
}

/* --- code ------------------------------------------------------------------------------------- */

#define MOV_W0(n) (0x52800000u | (uint32_t)(n) << 5)
static volatile uint64_t version PAD;
static volatile unsigned stale;
static uint32_t *code_page;

static void call_code(void) {
    uint64_t v;
    do {
        __asm__ volatile("ldar %0, [%1]" : "=r"(v) : "r"(&version) : "memory");
        isb();
        uint64_t got = ((uint64_t (*)(void))code_page)();
        if (got < v)
            stale++;
    } while (v < 1000);
}

static void test_code(void) {
    code_page = page_alloc();
    code_page[0] = MOV_W0(0);
    code_page[1] = 0xd65f03c0;
    code_sync(code_page, 8);
    version = 0;
    stale = 0;
    begin(call_code);
    for (uint64_t n = 1; n <= 1000; n++) {
        code_page[0] = MOV_W0(n);
        __asm__ volatile("dc cvau, %0\ndsb ish\nic ivau, %0\ndsb ish\nisb" : : "r"(code_page) : "memory");
        __asm__ volatile("stlr %0, [%1]" : : "r"(n), "r"(&version) : "memory");
        if (n % 50 == 0)
            delay_us(200);
    }
    finish();
    if (!on_qemu()) /* where IC does nothing, and a store may slip in while its page is translated */
        CHECK_EQ(stale, 0);
}

/* --- interrupts ------------------------------------------------------------------------------- */

static volatile unsigned sgis[2], sgi_errors, other_irqs[2];
static void on_irq(struct frame *f, unsigned vector) {
    (void)f;
    unsigned cpu = read_sysreg(mpidr_el1) & 1;
    uint32_t iar = gic_ack();
    if (vector != VEC_IRQ) {
        sgi_errors++;
        return;
    }
    if ((iar & 1023) == 7) {
        sgis[cpu]++;
        if (!gic_is_v3() && (iar >> 10 & 7) != !cpu)
            sgi_errors++;
    } else if ((iar & 1023) == PPI_VTIMER) {
        other_irqs[cpu]++;
        write_sysreg(cntv_ctl_el0, 0);
        isb();
    } else if ((iar & 1023) == 60) {
        other_irqs[cpu]++;
    } else {
        sgi_errors++;
    }
    gic_eoi(iar);
    gic_eoi(INTID_NONE);
}

enum { PINGS = 1000 };
static void pong(void) {
    gic_init();
    gic_enable(7);
    meet(1);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
    for (unsigned i = 0; i < PINGS; i++) {
        if (i & 1)
            SLEEP_WHILE(sgis[1] <= i);
        while (sgis[1] <= i)
            ;
        gic_send_sgi(7, 0);
    }
    __asm__ volatile("msr daifset, #2" : : : "memory");
}

static void test_sgi(void) {
    exception_handler = on_irq;
    sgis[0] = sgis[1] = sgi_errors = 0;
    reset_meet();
    gic_init();
    gic_enable(7);
    begin(pong);
    meet(0);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
    for (unsigned i = 0; i < PINGS; i++) {
        gic_send_sgi(7, 1);
        if (i & 2)
            SLEEP_WHILE(sgis[0] <= i);
        while (sgis[0] <= i)
            ;
    }
    finish();
    __asm__ volatile("msr daifset, #2" : : : "memory");
    CHECK_EQ(sgis[0], PINGS);
    CHECK_EQ(sgis[1], PINGS);
    CHECK_EQ(sgi_errors, 0);
}

/* CPU 1 sleeps; its own timer wakes it, and an SPI that is routed to it. */
static void sleep_for_irqs(void) {
    gic_init();
    gic_enable(PPI_VTIMER);
    meet(1);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
    for (unsigned i = 0; i < 10; i++) {
        write_sysreg(cntv_tval_el0, frequency / 1000);
        write_sysreg(cntv_ctl_el0, 1);
        isb();
        SLEEP_WHILE(other_irqs[1] <= i);
    }
    meet(1);
    SLEEP_WHILE(other_irqs[1] < 30);
    __asm__ volatile("msr daifset, #2" : : : "memory");
}

static void test_wake(void) {
    exception_handler = on_irq;
    other_irqs[0] = other_irqs[1] = sgi_errors = 0;
    reset_meet();
    gic_init();
    gic_set_edge(60, true);
    gic_route(60, 1);
    gic_enable(60);
    begin(sleep_for_irqs);
    meet(0);
    meet(0);
    for (unsigned i = 10; i < 30; i++) {
        CHECK_EQ(other_irqs[1], i);
        gic_set_pending(60, true);
        uint64_t end = ticks() + 5 * frequency;
        while (other_irqs[1] == i && ticks() < end)
            ;
    }
    CHECK_EQ(other_irqs[0], 0);
    CHECK_EQ(sgi_errors, 0);
    finish();
}

/* WFE and SEV: a CPU that waits for an event does not sleep for ever. */
static void wait_event(void) {
    while (!release)
        __asm__ volatile("wfe" : : : "memory");
}
static void test_event(void) {
    release = 0;
    begin(wait_event);
    delay_us(10000);
    release = 1;
    __asm__ volatile("dsb sy\nsev" : : : "memory");
    finish();
}

TESTS({"start", start}, {"cycles", test_cycles}, {"already on", test_already_on}, {"atomics", test_atomics},
      {"exclusive monitor", test_exclusive_monitor}, {"message passing", test_message_passing},
      {"store buffering", test_store_buffering}, {"tlbi", test_tlbi}, {"tlbi idle", test_tlbi_idle},
      {"code", test_code}, {"sgi", test_sgi}, {"wake", test_wake}, {"event", test_event});
