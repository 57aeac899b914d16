/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fw_cfg.c: QEMU's firmware configuration device, by its registers and by DMA. */
/* options: compare=1 files=1 */
#include "payload.h"

#define BASE 0x09020000ul
#define DATA BASE
#define SELECT (BASE + 8)
#define DMA (BASE + 16)
enum { SIGNATURE = 0, ID = 1, CPUS = 5, DIRECTORY = 0x19, FILES = 0x20 };
enum { D_ERROR = 1, D_READ = 2, D_SKIP = 4, D_SELECT = 8, D_WRITE = 16 };

static uint32_t be32(uint32_t v) { return __builtin_bswap32(v); }
static void select(uint16_t key) { *(volatile uint16_t *)SELECT = __builtin_bswap16(key); }
static uint8_t byte(void) { return *(volatile uint8_t *)DATA; }

static volatile struct {
    uint32_t control, len;
    uint64_t address;
} dma __attribute__((aligned(16)));
static uint8_t buffer[4096] __attribute__((aligned(4096)));

/* run_dma(): the control word when it has ended. */
static uint32_t run_dma(uint32_t control, void *p, uint32_t len, bool halves) {
    uint64_t at = (uint64_t)&dma;
    dma.control = be32(control);
    dma.len = be32(len);
    dma.address = __builtin_bswap64((uint64_t)p);
    dsb();
    if (halves) {
        mmio_write32(DMA, be32((uint32_t)(at >> 32)));
        mmio_write32(DMA + 4, be32((uint32_t)at));
    } else {
        *(volatile uint64_t *)DMA = __builtin_bswap64(at);
    }
    dsb();
    return be32(dma.control);
}

static void test_signature(void) {
    select(SIGNATURE);
    CHECK_EQ(byte(), 'Q');
    CHECK_EQ(byte(), 'E');
    CHECK_EQ(byte(), 'M');
    CHECK_EQ(byte(), 'U');
    CHECK_EQ(byte(), 0);
    select(SIGNATURE);
    CHECK_EQ(mmio_read32(DATA), 0x554d4551);
    CHECK_EQ(mmio_read32(DATA), 0);
    select(SIGNATURE);
    CHECK_EQ(*(volatile uint16_t *)DATA, 0x4551);
    CHECK_EQ(*(volatile uint16_t *)DATA, 0x554d);
    select(SIGNATURE);
    CHECK_EQ(*(volatile uint64_t *)DATA, 0x554d4551);
    select(ID);
    CHECK_EQ(mmio_read32(DATA), 3);
    select(CPUS);
    CHECK_EQ(*(volatile uint16_t *)DATA, 1);
    CHECK_EQ(*(volatile uint64_t *)DMA, 0x47464320554d4551); /* "QEMU CFG" */
    CHECK_EQ(mmio_read32(DMA + 4), 0x47464320);
    CHECK_EQ(*(volatile uint8_t *)(DMA + 5), 'C');
    select(0x7fff);
    CHECK_EQ(mmio_read32(DATA), 0);
    *(volatile uint32_t *)DATA = 1; /* no effect */
}

/* Every width at every offset: which are aborts? */
static void test_refused(void) {
    for (unsigned off = 0; off < 32; off++) {
        for (unsigned size = 0; size < 8; size++) {
            uint64_t a = BASE + off, v = 0;
            bool write = size >= 4;
            unsigned bytes = 1u << (size & 3);
            if (off & (bytes - 1) || (write && off >= 16 && off < 24))
                continue;
            caught = 0;
            exception_handler = catch_and_skip;
            switch (size) {
            case 0: __asm__ volatile("ldrb %w0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            case 1: __asm__ volatile("ldrh %w0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            case 2: __asm__ volatile("ldr %w0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            case 3: __asm__ volatile("ldr %0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            case 4: __asm__ volatile("strb %w0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            case 5: __asm__ volatile("strh %w0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            case 6: __asm__ volatile("str %w0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            default: __asm__ volatile("str %0, [%1]" : "+r"(v) : "r"(a) : "memory"); break;
            }
            exception_handler = NULL;
            print(write ? "write " : "read ");
            print_dec(bytes);
            print(" at ");
            print_dec(off);
            print(caught ? " aborts\n" : " is taken\n");
        }
    }
}

static uint16_t find(const char *name, uint32_t *size) {
    select(DIRECTORY);
    uint32_t count = be32(mmio_read32(DATA));
    CHECK(count < 100);
    for (uint32_t n = 0; n < count; n++) {
        uint32_t bytes = be32(mmio_read32(DATA));
        uint16_t key = __builtin_bswap16(*(volatile uint16_t *)DATA);
        char text[57] = {0};
        byte(), byte();
        for (unsigned i = 0; i < 56; i++)
            text[i] = (char)byte();
        CHECK_EQ(key, FILES + n);
        unsigned i = 0;
        while (text[i] && text[i] == name[i])
            i++;
        if (text[i] == name[i]) {
            *size = bytes;
            return key;
        }
    }
    return 0;
}

static void test_files(void) {
    uint32_t size;
    uint16_t key = find("opt/test/string", &size);
    CHECK(key);
    CHECK_EQ(size, 5);
    select(key);
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(byte(), "hello"[i]);
    key = find("etc/boot-fail-wait", &size);
    CHECK(key);
    CHECK_EQ(size, 4);
    select(key);
    CHECK_EQ(mmio_read32(DATA), ~0u);
    CHECK(find("bootorder", &size));
    CHECK_EQ(size, 0);
    CHECK(!find("opt/test/none", &size));
}

static void test_dma(void) {
    uint32_t size;
    uint16_t key = find("opt/test/string", &size);
    for (unsigned halves = 0; halves < 2; halves++) {
        memset(buffer, 0xee, 64);
        CHECK_EQ(run_dma((uint32_t)key << 16 | D_SELECT | D_READ, buffer, 8, halves), 0);
        for (unsigned i = 0; i < 8; i++)
            CHECK_EQ(buffer[i], i < 5 ? "hello"[i] : 0);
        CHECK_EQ(buffer[8], 0xee);
    }
    CHECK_EQ(run_dma((uint32_t)key << 16 | D_SELECT, NULL, 0, false), 0);
    CHECK_EQ(run_dma(D_SKIP, NULL, 2, false), 0);
    CHECK_EQ(run_dma(D_READ, buffer, 2, false), 0);
    CHECK_EQ(buffer[0], 'l');
    CHECK_EQ(run_dma(D_SKIP, NULL, 100, false), 0);
    CHECK_EQ(run_dma(D_READ, buffer, 2, false), 0);
    CHECK_EQ(buffer[0], 0);
    CHECK_EQ(run_dma((uint32_t)key << 16 | D_SELECT | D_WRITE, buffer, 2, false) & D_ERROR,
             D_ERROR); /* not to be written */
    CHECK_EQ(run_dma((uint32_t)key << 16 | D_SELECT | D_READ, (void *)0x0b000000ul, 2, false) & D_ERROR, D_ERROR);
    CHECK_EQ(run_dma((uint32_t)DIRECTORY << 16 | D_SELECT | D_READ, buffer, 4, false), 0);
    CHECK(buffer[3] >= 3);
}

/* DMA writes over code that has run. */
static void test_dma_code(void) {
    static uint32_t code[1024] __attribute__((aligned(4096)));
    uint32_t size;
    uint16_t key = find("opt/test/code", &size);
    CHECK_EQ(size, 8);
    for (unsigned n = 0; n < 3; n++) {
        code[0] = 0x52800000u | n << 5; /* mov w0, #n */
        code[1] = 0xd65f03c0;
        code_sync(code, 8);
        CHECK_EQ(((uint64_t (*)(void))code)(), n);
        CHECK_EQ(run_dma((uint32_t)key << 16 | D_SELECT | D_READ, code, 8, false), 0);
        code_sync(code, 8);
        CHECK_EQ(((uint64_t (*)(void))code)(), 1789);
    }
}

TESTS({"signature", test_signature}, {"refused", test_refused}, {"files", test_files}, {"dma", test_dma},
      {"dma code", test_dma_code});
