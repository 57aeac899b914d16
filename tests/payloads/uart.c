/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* uart.c: the PL011 and the PL031 of QEMU's virt. */
#include "gic.h"

#define RTC_BASE 0x09010000ul
enum {
    DR = 0,
    RSR = 4,
    FR = 0x18,
    ILPR = 0x20,
    IBRD = 0x24,
    FBRD = 0x28,
    LCRH = 0x2c,
    CR = 0x30,
    IFLS = 0x34,
    IMSC = 0x38,
    RIS = 0x3c,
    MIS = 0x40,
    ICR = 0x44,
    DMACR = 0x48,
    IDS = 0xfe0
};
enum {
    RTC_DR = 0,
    RTC_MR = 4,
    RTC_LR = 8,
    RTC_CR = 0xc,
    RTC_IMSC = 0x10,
    RTC_RIS = 0x14,
    RTC_MIS = 0x18,
    RTC_ICR = 0x1c
};
#define INT_RX 0x10u
#define INT_TX 0x20u
#define INT_RT 0x40u
#define CR_ON 0x301u
#define CR_LBE 0x80u
#define LCRH_FEN 0x10u
#define FR_RXFE 0x10u
#define FR_TXFF 0x20u
#define FR_RXFF 0x40u
#define FR_TXFE 0x80u

static uint32_t uart(unsigned off) { return mmio_read32(UART_BASE + off); }
static void uart_set(unsigned off, uint32_t v) { mmio_write32(UART_BASE + off, v); }
static uint32_t rtc(unsigned off) { return mmio_read32(RTC_BASE + off); }
static void rtc_set(unsigned off, uint32_t v) { mmio_write32(RTC_BASE + off, v); }

/* First of all: nothing has been written but what print() does not (it has not run yet). */
static void test_reset(void) {
    CHECK_EQ(uart(FR), FR_TXFE | FR_RXFE);
    CHECK_EQ(uart(CR), 0x300);
    CHECK_EQ(uart(IFLS), 0x12);
    CHECK_EQ(uart(IMSC), 0);
    CHECK_EQ(uart(LCRH), 0);
    CHECK_EQ(uart(IBRD), 0);
    CHECK_EQ(uart(FBRD), 0);
    CHECK_EQ(uart(MIS), 0);
    CHECK_EQ(uart(DMACR), 0);
    CHECK_EQ(uart(RSR), 0);
}

static void test_ids(void) {
    static const uint8_t uart_ids[] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
    static const uint8_t rtc_ids[] = {0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
    for (unsigned i = 0; i < 8; i++) {
        CHECK_EQ(uart(IDS + 4 * i), uart_ids[i]);
        CHECK_EQ(rtc(IDS + 4 * i), rtc_ids[i]);
    }
}

static void test_registers(void) {
    static const struct {
        uint16_t off;
        uint32_t mask;
    } regs[] = {{IBRD, 0xffff}, {FBRD, 0x3f}};
    for (unsigned i = 0; i < ARRAY_LEN(regs); i++) {
        uart_set(regs[i].off, 0x1234 & regs[i].mask);
        CHECK_EQ(uart(regs[i].off), 0x1234 & regs[i].mask);
        uart_set(regs[i].off, 0);
    }
    uart_set(LCRH, 0x70);
    CHECK_EQ(uart(LCRH), 0x70);
    uart_set(FR, 0); /* read-only */
    CHECK_EQ(uart(FR), FR_TXFE | FR_RXFE);
    uart_set(IDS, 0);
    CHECK_EQ(uart(IDS), 0x11);
    uart_set(CR, CR_ON);
    CHECK_EQ(uart(CR), CR_ON);
}

static void test_transmit(void) {
    gic_init();
    gic_enable(SPI_UART);
    uart_set(IMSC, 0);
    uart_set(ICR, 0x7ff);
    CHECK_EQ(uart(RIS) & INT_TX, 0);
    print("\n");
    CHECK_EQ(uart(RIS) & INT_TX, INT_TX);
    CHECK_EQ(uart(MIS), 0);
    CHECK(!gic_is_pending(SPI_UART));
    CHECK_EQ(uart(FR) & (FR_TXFF | FR_TXFE), FR_TXFE);
    uart_set(IMSC, INT_TX);
    CHECK_EQ(uart(MIS), INT_TX);
    CHECK(gic_is_pending(SPI_UART));
    uint32_t iar = gic_ack();
    CHECK_EQ(iar & 1023, SPI_UART);
    gic_eoi(iar);
    CHECK(gic_is_pending(SPI_UART)); /* a level */
    uart_set(ICR, INT_TX);
    CHECK_EQ(uart(MIS), 0);
    CHECK(!gic_is_pending(SPI_UART));
    CHECK_EQ(gic_ack() & 1023, INTID_NONE);
    print("\n");
    uint64_t end = read_sysreg(cntvct_el0) + read_sysreg(cntfrq_el0);
    while (!gic_is_pending(SPI_UART) && read_sysreg(cntvct_el0) < end) /* a write may be posted */
        ;
    CHECK(gic_is_pending(SPI_UART));
    uart_set(IMSC, 0);
    CHECK(!gic_is_pending(SPI_UART));
}

static volatile unsigned irqs;
static void on_irq(struct frame *f, unsigned vector) {
    (void)f;
    (void)vector;
    uint32_t iar = gic_ack();
    if ((iar & 1023) == SPI_UART) {
        irqs++;
        uart_set(ICR, INT_TX);
    } else if ((iar & 1023) == SPI_RTC) {
        irqs++;
        rtc_set(RTC_ICR, 1);
    }
    gic_eoi(iar);
}

static void test_transmit_irq(void) {
    exception_handler = on_irq;
    irqs = 0;
    uart_set(ICR, 0x7ff);
    uart_set(IMSC, INT_TX);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
    for (unsigned i = 1; i <= 100; i++) {
        uart_set(DR, i % 50 ? ' ' : '\n');
        uint64_t end = read_sysreg(cntvct_el0) + read_sysreg(cntfrq_el0);
        while (irqs < i && read_sysreg(cntvct_el0) < end)
            ;
    }
    CHECK_EQ(irqs, 100);
    __asm__ volatile("msr daifset, #2" : : : "memory");
    uart_set(IMSC, 0);
}

/* eventually(): sending takes time, on hardware and where writes to DR are posted. */
#define eventually(c)                                                                                                  \
    ({                                                                                                                 \
        uint64_t end_ = read_sysreg(cntvct_el0) + read_sysreg(cntfrq_el0);                                             \
        while (!(c) && read_sysreg(cntvct_el0) < end_)                                                                 \
            ;                                                                                                          \
        (c) != 0;                                                                                                      \
    })

/* What is sent in loop-back mode is received. Nothing may be printed meanwhile, so what is seen is kept for later. */
static bool rx_full(bool full) { return eventually((uart(FR) & (FR_RXFE | FR_RXFF)) == (full ? FR_RXFF : FR_RXFE)); }

static void test_loopback(void) {
    bool ok[12 + 18];
    uint8_t got[16 + 3 + 10];
    unsigned n = 0, k = 0;
    gic_set_edge(SPI_UART, false);
    uart_set(LCRH, 0x60);
    uart_set(CR, CR_ON | CR_LBE);
    uart_set(ICR, 0x7ff);
    uart_set(DR, 'a');
    ok[n++] = rx_full(true); /* without FIFO there is room for one */
    ok[n++] = uart(RIS) & INT_RX;
    got[k++] = (uint8_t)uart(DR);
    ok[n++] = rx_full(false);
    ok[n++] = !(uart(RIS) & INT_RX);
    *(volatile uint8_t *)(UART_BASE + DR) = 'b';
    ok[n++] = rx_full(true);
    got[k++] = *(volatile uint8_t *)(UART_BASE + DR);
    *(volatile uint16_t *)(UART_BASE + DR) = 'c';
    ok[n++] = rx_full(true);
    got[k++] = (uint8_t)*(volatile uint16_t *)(UART_BASE + DR);
    uart_set(LCRH, 0x60 | LCRH_FEN);
    for (unsigned i = 0; i < 16; i++)
        uart_set(DR, 'd' + i);
    ok[n++] = rx_full(true);
    for (unsigned i = 0; i < 16; i++)
        got[k++] = (uint8_t)uart(DR);
    ok[n++] = rx_full(false);
    uart_set(ICR, 0x7ff);
    uart_set(IMSC, INT_RX);
    ok[n++] = !gic_is_pending(SPI_UART);
    for (unsigned i = 0; i < 8; i++) { /* whatever UARTIFLS says, as on QEMU: one byte is enough */
        uart_set(DR, 't' + i);
        ok[n++] = eventually(gic_is_pending(SPI_UART));
        got[k++] = (uint8_t)uart(DR);
        ok[n++] = eventually(!gic_is_pending(SPI_UART));
    }
    uart_set(DR, 't' + 8);
    uart_set(DR, 't' + 9);
    ok[n++] = eventually(gic_is_pending(SPI_UART));
    got[k++] = (uint8_t)uart(DR);
    ok[n++] = gic_is_pending(SPI_UART); /* until the last one is read */
    got[k++] = (uint8_t)uart(DR);
    ok[n++] = eventually(!gic_is_pending(SPI_UART));
    uart_set(IMSC, 0);
    uart_set(CR, CR_ON);
    print("\n");
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(ok[i] ? i : 100 + i, i);
    for (unsigned i = 0; i < k; i++)
        CHECK_EQ(got[i], 'a' + i);
}

static void test_rtc(void) {
    uint32_t now = rtc(RTC_DR);
    CHECK(now > 1700000000u && now < 4100000000u);
    CHECK_EQ(rtc(RTC_CR), 1);
    CHECK_EQ(rtc(RTC_MIS), 0);
    rtc_set(RTC_LR, 1000000);
    CHECK(rtc(RTC_DR) - 1000000u <= 1);
    CHECK_EQ(rtc(RTC_LR), 1000000);
    exception_handler = on_irq;
    irqs = 0;
    gic_enable(SPI_RTC);
    rtc_set(RTC_ICR, 1);
    rtc_set(RTC_IMSC, 1);
    CHECK_EQ(rtc(RTC_IMSC), 1);
    uint32_t at = rtc(RTC_DR) + 2;
    rtc_set(RTC_MR, at);
    CHECK_EQ(rtc(RTC_MR), at);
    CHECK_EQ(rtc(RTC_RIS), 0);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
    uint64_t end = read_sysreg(cntvct_el0) + 5 * read_sysreg(cntfrq_el0);
    while (!irqs && read_sysreg(cntvct_el0) < end)
        ;
    CHECK_EQ(irqs, 1);
    CHECK(rtc(RTC_DR) + 1 >= at && rtc(RTC_DR) <= at + 1);
    CHECK_EQ(rtc(RTC_RIS), 0);
    __asm__ volatile("msr daifset, #2" : : : "memory");
    rtc_set(RTC_IMSC, 0);
}

TESTS({"reset", test_reset}, {"ids", test_ids}, {"registers", test_registers}, {"transmit", test_transmit},
      {"transmit irq", test_transmit_irq}, {"loopback", test_loopback}, {"rtc", test_rtc});
