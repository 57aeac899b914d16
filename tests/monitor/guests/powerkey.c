/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* powerkey.c: waits for the power key, by the GPIO's interrupt status, and goes. Its time is its counter's: it says how
 * long a second was. */
#include "payload.h"

#define GPIO 0x09030000ul
#define POWER 8u
#define IBE 0x408
#define IE 0x410
#define RIS 0x414
#define MIS 0x418
#define IC 0x41c

static uint32_t get(unsigned off) { return mmio_read32(GPIO + off); }
static void set(unsigned off, uint32_t v) { mmio_write32(GPIO + off, v); }

static void test_ids(void) {
    static const uint8_t id[8] = {0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(get(0xfe0 + 4 * i), id[i]);
}

/* An output is read as it was written, by the bits of the address. */
static void test_outputs(void) {
    set(0x400, 0xf0);
    set(0x3fc, 0xa5);
    CHECK_EQ(get(0x3fc) & 0xf0, 0xa0);
    set(0x0c0 << 2 & 0x3fc, 0x00);
    CHECK_EQ(get(0x3fc) & 0xf0, 0x20);
    CHECK_EQ(get(0x010 << 2), 0);
    CHECK_EQ(get(0x020 << 2), 0x20);
    set(0x400, 0);
}

static void test_key(void) {
    CHECK_EQ(get(0x3fc) & POWER, 0);
    set(IC, 0xff);
    set(IBE, POWER);
    CHECK_EQ(get(RIS), 0);
    print("waiting\n");
    while (!(get(RIS) & POWER))
        ;
    CHECK_EQ(get(MIS), 0);
    set(IE, POWER);
    CHECK_EQ(get(MIS), POWER);
    while (get(0x3fc) & POWER)
        ;
    set(IC, POWER);
    CHECK_EQ(get(RIS), 0);
}

TESTS({"ids", test_ids}, {"outputs", test_outputs}, {"key", test_key});
