/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* timer.c: the generic timers: counters, compare registers, interrupts, WFI. It also runs with GICv3 (see
 * timer_v3.c). */
#include "gic.h"

#define ENABLE 1u
#define IMASK 2u
#define ISTATUS 4u
#define RTC_BASE 0x09010000ul
#define CODE_DONE_ESR 0xf2007777ul

static struct context c;
static uint64_t frequency;

#define TIMERS(X) X(v) X(p)
#define now(t)                                                                                                         \
    ({                                                                                                                 \
        isb();                                                                                                         \
        read_sysreg(cnt##t##ct_el0);                                                                                   \
    })
#define unmask() __asm__ volatile("msr daifclr, #2" : : : "memory")
#define mask() __asm__ volatile("msr daifset, #2" : : : "memory")

static void stop_timers(void) {
    write_sysreg(cntv_ctl_el0, 0);
    write_sysreg(cntp_ctl_el0, 0);
    isb();
}

static void test_counter(void) {
    frequency = read_sysreg(cntfrq_el0);
    if (!on_qemu()) /* QEMU's max counts at 1 GHz */
        CHECK_EQ(frequency, 62500000);
    uint64_t last = now(v), last_p = now(p);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t v = read_sysreg(cntvct_el0), p = read_sysreg(cntpct_el0);
        if (v < last || p < last_p) {
            CHECK(v >= last);
            CHECK(p >= last_p);
            break;
        }
        last = v;
        last_p = p;
    }
    uint64_t v = now(v), p = now(p);
    CHECK(p - v < frequency / 10); /* CNTVOFF is 0 */
}

/* The counter before and after the moment at which the PL031 went on to its second: whoever was preempted in between
   only knows that moment less well. */
struct moment {
    uint64_t after, before;
    uint32_t second;
};

static struct moment next_second(void) {
    struct moment m = {.after = now(v)};
    uint32_t from = mmio_read32(RTC_BASE);
    for (;;) {
        uint64_t t = now(v);
        m.second = mmio_read32(RTC_BASE);
        if (m.second != from)
            break;
        m.after = t;
    }
    m.before = now(v);
    return m;
}

/* Against the seconds of the PL031, to a tenth. */
static void test_rate(void) {
    struct moment first = next_second(), last = next_second();
    uint64_t expected = (last.second - first.second) * frequency;
    CHECK(last.after - first.before <= expected * 11 / 10);
    CHECK(last.before - first.after >= expected * 9 / 10);
}

#define REGISTER_TEST(t)                                                                                               \
    static void test_registers_##t(void) {                                                                             \
        write_sysreg(cnt##t##_ctl_el0, 0);                                                                             \
        write_sysreg(cnt##t##_cval_el0, 0x123456789abcdef0);                                                           \
        isb();                                                                                                         \
        CHECK_EQ(read_sysreg(cnt##t##_cval_el0), 0x123456789abcdef0);                                                  \
        CHECK_EQ(read_sysreg(cnt##t##_ctl_el0), 0);                                                                    \
        write_sysreg(cnt##t##_ctl_el0, ~0ul);                                                                          \
        isb();                                                                                                         \
        CHECK_EQ(read_sysreg(cnt##t##_ctl_el0), ENABLE | IMASK);                                                       \
        write_sysreg(cnt##t##_cval_el0, 0);                                                                            \
        isb();                                                                                                         \
        CHECK_EQ(read_sysreg(cnt##t##_ctl_el0), ENABLE | IMASK | ISTATUS);                                             \
        write_sysreg(cnt##t##_ctl_el0, IMASK);                                                                         \
        isb();                                                                                                         \
        CHECK_EQ(read_sysreg(cnt##t##_ctl_el0), IMASK);                                                                \
        write_sysreg(cnt##t##_cval_el0, ~0ul);                                                                         \
        write_sysreg(cnt##t##_ctl_el0, ENABLE);                                                                        \
        isb();                                                                                                         \
        CHECK_EQ(read_sysreg(cnt##t##_ctl_el0), ENABLE);                                                               \
        write_sysreg(cnt##t##_ctl_el0, IMASK | ENABLE);                                                                \
        for (unsigned i = 0; i < 4; i++) {                                                                             \
            static const int32_t values[] = {1000000000, 0, -1, -100000};                                              \
            uint64_t before = now(t);                                                                                  \
            write_sysreg(cnt##t##_tval_el0, (uint32_t)values[i]);                                                      \
            uint64_t after = now(t), cval = read_sysreg(cnt##t##_cval_el0);                                            \
            CHECK(cval - before - (uint64_t)(int64_t)values[i] <= after - before);                                     \
            uint64_t from = now(t);                                                                                    \
            uint32_t tval = (uint32_t)read_sysreg(cnt##t##_tval_el0);                                                  \
            uint64_t to = now(t);                                                                                      \
            CHECK_EQ(read_sysreg(cnt##t##_tval_el0) >> 32, 0);                                                         \
            CHECK((uint32_t)((uint32_t)(cval - from) - tval) <= to - from);                                            \
            CHECK_EQ(read_sysreg(cnt##t##_ctl_el0) & ISTATUS, values[i] > 0 ? 0 : ISTATUS);                            \
        }                                                                                                              \
        /* becomes due, not before its time */                                                                         \
        for (unsigned i = 0; i < 20; i++) {                                                                            \
            uint64_t due = now(t) + frequency / 2000;                                                                  \
            write_sysreg(cnt##t##_cval_el0, due);                                                                      \
            isb();                                                                                                     \
            while (!(read_sysreg(cnt##t##_ctl_el0) & ISTATUS))                                                         \
                if (now(t) > due + frequency)                                                                          \
                    break;                                                                                             \
            CHECK(now(t) >= due);                                                                                      \
            CHECK(now(t) < due + frequency);                                                                           \
            CHECK_EQ(read_sysreg(cnt##t##_ctl_el0), ENABLE | IMASK | ISTATUS);                                         \
        }                                                                                                              \
        stop_timers();                                                                                                 \
    }
TIMERS(REGISTER_TEST)

/* --- interrupts ------------------------------------------------------------------------------- */

static volatile unsigned irqs[32], irq_vector, irq_other;
static volatile uint64_t irq_time, irq_elr, irq_spsr, period;

static void on_irq(struct frame *f, unsigned vector) {
    uint32_t iar = gic_ack();
    unsigned id = iar & 1023;
    irq_vector = vector;
    irq_elr = f->elr;
    irq_spsr = f->spsr;
    irq_time = now(v);
    if (id != PPI_VTIMER && id != PPI_PTIMER) {
        irq_other++;
    } else {
        irqs[id]++;
        if (period && id == PPI_VTIMER)
            write_sysreg(cntv_cval_el0, read_sysreg(cntv_cval_el0) + period);
        else if (id == PPI_VTIMER)
            write_sysreg(cntv_ctl_el0, ENABLE | IMASK);
        else
            write_sysreg(cntp_ctl_el0, ENABLE | IMASK);
        isb();
    }
    if (id < 1020)
        gic_eoi(iar);
}

static void start_irqs(void) {
    gic_init();
    gic_enable(PPI_VTIMER);
    gic_enable(PPI_PTIMER);
    exception_handler = on_irq;
    memset((void *)irqs, 0, sizeof(irqs));
    irq_other = 0;
    period = 0;
}

static bool wait_irqs(unsigned id, unsigned count, unsigned ms) {
    uint64_t end = now(v) + frequency / 1000 * ms;
    while (irqs[id] < count)
        if (now(v) > end)
            return false;
    return true;
}

static void test_irq(void) {
    start_irqs();
    unmask();
    for (unsigned n = 0; n < 10; n++) {
        uint64_t due = now(v) + frequency / 1000;
        write_sysreg(cntv_cval_el0, due);
        write_sysreg(cntv_ctl_el0, ENABLE);
        isb();
        CHECK(wait_irqs(PPI_VTIMER, n + 1, 1000));
        CHECK(irq_time >= due);
        CHECK_EQ(irq_vector, VEC_IRQ);
        CHECK_EQ(irq_spsr & 0x3cf, 0x345);
        due = now(p) + frequency / 1000;
        write_sysreg(cntp_tval_el0, frequency / 1000);
        write_sysreg(cntp_ctl_el0, ENABLE);
        isb();
        CHECK(wait_irqs(PPI_PTIMER, n + 1, 1000));
    }
    delay_us(3000);
    CHECK_EQ(irqs[PPI_VTIMER], 10);
    CHECK_EQ(irqs[PPI_PTIMER], 10);
    CHECK_EQ(irq_other, 0);
    /* IMASK off again while it is due: at once */
    write_sysreg(cntv_ctl_el0, ENABLE);
    isb();
    CHECK(wait_irqs(PPI_VTIMER, 11, 1000));
    mask();
    stop_timers();
}

/* The line follows ENABLE, IMASK and the comparison: it is a level. */
static void test_level(void) {
    start_irqs();
    mask();
    write_sysreg(cntv_cval_el0, 0);
    write_sysreg(cntv_ctl_el0, ENABLE);
    isb();
    CHECK(gic_is_pending(PPI_VTIMER));
    write_sysreg(cntv_ctl_el0, ENABLE | IMASK);
    isb();
    CHECK(!gic_is_pending(PPI_VTIMER));
    write_sysreg(cntv_ctl_el0, ENABLE);
    isb();
    CHECK(gic_is_pending(PPI_VTIMER));
    write_sysreg(cntv_cval_el0, ~0ul);
    isb();
    CHECK(!gic_is_pending(PPI_VTIMER));
    write_sysreg(cntv_tval_el0, 0);
    isb();
    CHECK(gic_is_pending(PPI_VTIMER));
    uint32_t iar = gic_ack();
    CHECK_EQ(iar & 1023, PPI_VTIMER);
    CHECK(gic_is_active(PPI_VTIMER));
    CHECK_EQ(gic_ack() & 1023, INTID_NONE); /* active and pending: not signalled */
    gic_eoi(iar);
    CHECK_EQ(gic_ack() & 1023, PPI_VTIMER); /* the line is still up */
    write_sysreg(cntv_ctl_el0, 0);
    isb();
    gic_eoi(iar);
    CHECK_EQ(gic_ack() & 1023, INTID_NONE);
    CHECK(!gic_is_active(PPI_VTIMER));
    CHECK(!gic_is_pending(PPI_VTIMER));
    stop_timers();
}

/* Straight-line waiting at every level is interrupted, even a branch to itself. */
SNIPPET(spin, "b .");
SNIPPET(spin_long, "1: add x1, x1, #1\ncbnz x1, 1b");
SNIPPET(spin_indirect, "adr x1, 1f\n1: br x1");
SNIPPET(spin_unmask, "msr daifclr, #2\n1: add x1, x1, #1\nb 1b");

static void test_spin(void) {
    static const uint32_t states[] = {PSTATE_EL0 & ~0x80u, PSTATE_EL1T & ~0x80u, PSTATE_EL1H & ~0x80u};
    static const uint32_t *const codes[] = {spin, spin_long, spin_indirect};
    static const unsigned vectors[] = {9, 1, 5};
    start_irqs();
    for (unsigned s = 0; s < ARRAY_LEN(states); s++) {
        for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
            write_sysreg(cntv_tval_el0, frequency / 1000);
            write_sysreg(cntv_ctl_el0, ENABLE);
            run_code(&c, states[s], s ? codes[i] : USER(codes[i]), 0, 1, 2, 3);
            CHECK_EQ(c.vector, vectors[s]);
            CHECK((c.out.elr & ~USER_BASE) - (uint64_t)codes[i] <= 4);
            CHECK_EQ(c.out.spsr & ~(uint64_t)SPSR_IGNORED & ~0xf0000000ul, states[s]);
            context_check(&c, i ? 2 : 0);
            write_sysreg(cntv_ctl_el0, 0);
            isb();
            uint32_t iar = gic_ack();
            CHECK_EQ(iar == INTID_NONE || (iar & 1023) == PPI_VTIMER, 1);
            if (iar != INTID_NONE)
                gic_eoi(iar);
        }
    }
    write_sysreg(cntv_tval_el0, 0); /* already due: the ERET, or the MSR, lets it in */
    write_sysreg(cntv_ctl_el0, ENABLE);
    isb();
    run_code(&c, PSTATE_EL0 & ~0x80u, USER(spin_long), 0, 1, 2, 3);
    CHECK_EQ(c.vector, 9);
    CHECK_EQ(c.out.elr, (uint64_t)USER(spin_long));
    context_check(&c, 0);
    run_code(&c, PSTATE_EL1T, spin_unmask, 0, 1, 2, 3);
    CHECK_EQ(c.vector, 1);
    CHECK_EQ(c.out.elr, (uint64_t)spin_unmask + 4);
    stop_timers();
}

/* A computation under a shower of interrupts comes out the same. */
static __attribute__((noipa)) uint64_t compute(unsigned rounds) {
    uint64_t a = 1, b = 2, h = 0xcbf29ce484222325;
    for (unsigned i = 0; i < rounds; i++) {
        a = a * 6364136223846793005ul + 1442695040888963407ul;
        b ^= a >> 17;
        if ((a ^ b) & 64)
            h = (h ^ a) * 0x100000001b3;
        else
            h -= b << 3;
    }
    return h;
}

static void test_shower(void) {
    enum { ROUNDS = 2000000 };
    mask();
    uint64_t want = compute(ROUNDS);
    start_irqs();
    period = frequency / 20000;
    write_sysreg(cntv_cval_el0, now(v) + period);
    write_sysreg(cntv_ctl_el0, ENABLE);
    unmask();
    unsigned times = 0;
    while (irqs[PPI_VTIMER] < 300 && times < 1000) {
        CHECK_EQ(compute(ROUNDS / 20), compute(ROUNDS / 20));
        times++;
    }
    CHECK_EQ(compute(ROUNDS), want);
    mask();
    stop_timers();
    CHECK(irqs[PPI_VTIMER] >= 300);
    CHECK_EQ(irq_other, 0);
}

static void test_wfi(void) {
    start_irqs();
    for (unsigned masked = 0; masked < 2; masked++) {
        for (unsigned n = 0; n < 10; n++) {
            unsigned before = irqs[PPI_VTIMER];
            uint64_t due = now(v) + frequency / 200;
            write_sysreg(cntv_cval_el0, due);
            write_sysreg(cntv_ctl_el0, ENABLE);
            isb();
            /* WFI may end early; Linux loops, too */
            unsigned wakes = 0;
            if (masked)
                for (; !(read_sysreg(cntv_ctl_el0) & ISTATUS); wakes++)
                    __asm__ volatile("wfi" : : : "memory");
            else
                SLEEP_WHILE(irqs[PPI_VTIMER] == before && ++wakes);
            CHECK(now(v) >= due);
            CHECK(now(v) < due + frequency);
            CHECK(wakes < 1000);
            if (masked)
                CHECK_EQ(irqs[PPI_VTIMER], before);
            mask();
            stop_timers();
        }
    }
    CHECK_EQ(irqs[PPI_VTIMER], 10);
    /* a pending interrupt: WFI does not wait at all */
    write_sysreg(cntv_cval_el0, 0);
    write_sysreg(cntv_ctl_el0, ENABLE);
    isb();
    uint64_t from = now(v);
    for (unsigned i = 0; i < 100; i++)
        __asm__ volatile("wfi\nyield\nsevl\nwfe" : : : "memory");
    CHECK(now(v) - from < frequency);
    stop_timers();
}

/* A deadline moved closer, and farther, while waiting. */
static void test_moved(void) {
    start_irqs();
    unmask();
    write_sysreg(cntv_cval_el0, now(v) + 100 * frequency);
    write_sysreg(cntv_ctl_el0, ENABLE);
    isb();
    delay_us(1000);
    uint64_t due = now(v) + frequency / 1000;
    write_sysreg(cntv_cval_el0, due);
    isb();
    SLEEP_WHILE(irqs[PPI_VTIMER] == 0 && now(v) < due + frequency);
    CHECK_EQ(irqs[PPI_VTIMER], 1);
    write_sysreg(cntv_cval_el0, now(v) + frequency / 1000);
    write_sysreg(cntv_ctl_el0, ENABLE);
    write_sysreg(cntv_cval_el0, now(v) + frequency / 100);
    uint64_t set = now(v);
    isb();
    CHECK(wait_irqs(PPI_VTIMER, 2, 1000));
    CHECK(irq_time - set > frequency / 200);
    mask();
    stop_timers();
}

static void start(void) {
    mmu_on();
    mmu_user_alias();
}

TESTS({"counter", test_counter}, {"rate", test_rate}, {"start", start}, {"cntv registers", test_registers_v},
      {"cntp registers", test_registers_p}, {"irq", test_irq}, {"level", test_level}, {"spin", test_spin},
      {"shower", test_shower}, {"wfi", test_wfi}, {"moved", test_moved});
