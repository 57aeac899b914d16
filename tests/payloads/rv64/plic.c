/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* plic.c: the interrupt controller: priorities, thresholds, enable bits, claims and completions, with the UART (empty
 * transmitter) and the RTC (alarm) as sources. */
#include "rv64_payload.h"

#define PLIC 0x0c000000ul
#define PRIORITY(source) (PLIC + 4 * (source))
#define PENDING(source) (PLIC + 0x1000 + (source) / 32 * 4)
#define ENABLE(context) (PLIC + 0x2000 + 0x80 * (context))
#define THRESHOLD(context) (PLIC + 0x200000 + 0x1000 * (context))
#define CLAIM(context) (THRESHOLD(context) + 4)
#define UART 0x10000000ul
#define RTC 0x101000ul
enum { UART_SOURCE = 10, RTC_SOURCE = 11 };
#define BOTH (1u << UART_SOURCE | 1u << RTC_SOURCE)
#define SEIP (1ul << 9)

static uint32_t get(uint64_t at) { return *(volatile uint32_t *)at; }
static void put(uint64_t at, uint32_t v) { *(volatile uint32_t *)at = v; }
static void uart_raise(bool up) { *(volatile uint8_t *)(UART + 1) = up ? 2 : 0; }
static void rtc_raise(bool up) {
    put(RTC + 0x10, up); /* enabled */
    if (up) {            /* an alarm in the past */
        put(RTC + 0x0c, 0);
        put(RTC + 0x08, 1);
    } else {
        put(RTC + 0x1c, 1);
    }
}

/* context: that of this hart's S-mode, found by trying them: OpenSBI starts on any hart. */
static unsigned context(void) {
    unsigned hart = 0;
    while (sbi_call(SBI_HSM, 2, hart, 0, 0, 0, 0).value != 0)
        hart++;
    return 2 * hart + 1;
}

/* Nothing is raised, pending, or enabled. */
static void clear(unsigned c) {
    uart_raise(false);
    rtc_raise(false);
    put(ENABLE(c), BOTH);
    put(PRIORITY(UART_SOURCE), 1);
    put(PRIORITY(RTC_SOURCE), 1);
    put(THRESHOLD(c), 0);
    for (uint32_t source = get(CLAIM(c)); source; source = get(CLAIM(c)))
        put(CLAIM(c), source);
    put(ENABLE(c), 0);
    csr_write(sie, 0);
}

static void registers(void) {
    unsigned c = context();
    clear(c);
    for (uint32_t source = 1; source < 96; source++) {
        put(PRIORITY(source), source);
        CHECK_EQ(get(PRIORITY(source)), source & 7);
        put(PRIORITY(source), 0);
    }
    put(PRIORITY(0), 7);
    CHECK_EQ(get(PRIORITY(0)), 0);
    put(THRESHOLD(c), 5);
    CHECK_EQ(get(THRESHOLD(c)), 5);
    put(THRESHOLD(c), 0);
    for (unsigned word = 0; word < 3; word++) {
        put(ENABLE(c) + 4 * word, ~0u);
        CHECK_EQ(get(ENABLE(c) + 4 * word) | 1, ~0u);
        put(ENABLE(c) + 4 * word, 0);
        CHECK_EQ(get(ENABLE(c) + 4 * word), 0);
    }
    CHECK_EQ(get(CLAIM(c)), 0);
}

static bool is_pending(unsigned source) { return get(PENDING(source)) >> source % 32 & 1; }

/* An interrupt needs a line, an enable bit, and a priority above the threshold. */
static void conditions(void) {
    unsigned c = context();
    clear(c);
    CHECK(!is_pending(UART_SOURCE));
    uart_raise(true);
    CHECK(is_pending(UART_SOURCE));
    for (unsigned i = 0; i < 8; i++) {
        uint32_t priority = i & 1 ? 3 : 0, threshold = i & 2 ? 3 : 2;
        put(PRIORITY(UART_SOURCE), priority);
        put(THRESHOLD(c), threshold);
        put(ENABLE(c), i & 4 ? 1u << UART_SOURCE : 0);
        CHECK_EQ(csr_read(sip) & SEIP, priority > threshold && i & 4 ? SEIP : 0);
    }
    clear(c);
}

static void order(void) {
    unsigned c = context();
    clear(c);
    uart_raise(true);
    rtc_raise(true);
    put(ENABLE(c), BOTH);
    put(PRIORITY(UART_SOURCE), 1);
    put(PRIORITY(RTC_SOURCE), 2);
    CHECK_EQ(get(CLAIM(c)), RTC_SOURCE);
    CHECK(!is_pending(RTC_SOURCE));
    CHECK_EQ(get(CLAIM(c)), UART_SOURCE);
    CHECK_EQ(get(CLAIM(c)), 0); /* what is claimed is not pending until it is completed */
    CHECK_EQ(csr_read(sip) & SEIP, 0);
    put(CLAIM(c), 63); /* nobody has it */
    CHECK_EQ(get(CLAIM(c)), 0);
    rtc_raise(false);
    put(CLAIM(c), RTC_SOURCE);
    CHECK_EQ(get(CLAIM(c)), 0);
    put(CLAIM(c), UART_SOURCE);
    if (!on_opensbi()) /* the line is still up: QEMU waits for an edge */
        CHECK_EQ(get(CLAIM(c)), UART_SOURCE);
    uart_raise(false);
    put(CLAIM(c), UART_SOURCE);
    clear(c);
    put(ENABLE(c), BOTH); /* equal priorities: the lower number */
    uart_raise(true);
    rtc_raise(true);
    CHECK_EQ(get(CLAIM(c)), UART_SOURCE);
    CHECK_EQ(get(CLAIM(c)), RTC_SOURCE);
    uart_raise(false);
    rtc_raise(false);
    put(CLAIM(c), UART_SOURCE);
    put(CLAIM(c), RTC_SOURCE);
    clear(c);
}

static unsigned claimed_once(unsigned c) {
    unsigned source = get(CLAIM(c));
    CHECK(!is_pending(source ? source : UART_SOURCE));
    put(CLAIM(c), source);
    CHECK_EQ(get(CLAIM(c)), 0);
    return source;
}

/* What has risen is pending until it is claimed, also if the line has fallen: while nobody may claim it, and while
 * another claim is open. */
static void latched(void) {
    unsigned c = context();
    clear(c);
    uart_raise(true);
    uart_raise(false);
    CHECK(is_pending(UART_SOURCE));
    put(ENABLE(c), BOTH);
    put(THRESHOLD(c), 7);
    put(THRESHOLD(c), 0);
    CHECK_EQ(csr_read(sip) & SEIP, SEIP);
    CHECK_EQ(claimed_once(c), UART_SOURCE);
    rtc_raise(true);
    rtc_raise(false);
    CHECK(is_pending(RTC_SOURCE));
    CHECK_EQ(claimed_once(c), RTC_SOURCE);
    rtc_raise(true);
    CHECK_EQ(get(CLAIM(c)), RTC_SOURCE);
    rtc_raise(false);
    CHECK(!is_pending(RTC_SOURCE));
    rtc_raise(true);
    rtc_raise(false);
    CHECK(is_pending(RTC_SOURCE));
    CHECK_EQ(get(CLAIM(c)), 0);
    put(CLAIM(c), RTC_SOURCE);
    CHECK_EQ(claimed_once(c), RTC_SOURCE);
    put(PENDING(0), BOTH); /* read-only */
    CHECK_EQ(get(PENDING(0)), 0);
    clear(c);
}

static void trap_taken(void) {
    unsigned c = context();
    clear(c);
    put(PRIORITY(RTC_SOURCE), 7);
    put(ENABLE(c), BOTH);
    csr_write(sie, SEIP);
    csr_set(sstatus, SIE);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t count = trap.count;
        rtc_raise(true);
        while (trap.count == count)
            __asm__ volatile("wfi" : : : "memory");
        CHECK_EQ(trap.cause, INTERRUPT | 9);
        CHECK_EQ(get(CLAIM(c)), RTC_SOURCE);
        rtc_raise(false);
        put(CLAIM(c), RTC_SOURCE);
        csr_write(sie, SEIP);
        CHECK_EQ(trap.count, count + 1);
    }
    csr_clear(sstatus, SIE);
    clear(c);
}

TESTS({"registers", registers}, {"conditions", conditions}, {"order", order}, {"latched", latched},
      {"trap_taken", trap_taken});
