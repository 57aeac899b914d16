/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * flash.c: the two flash banks of QEMU's virt: commands, generated sequences of them, reading by every kind of access,
 * and code that runs in flash and is programmed anew. What is printed has to be what it is on QEMU.
 */
/* options: compare=1 flash=1 */
#include "payload.h"

#define BANK_BYTES 0x4000000ul
#define BLOCK 0x40000ul
#define BUFFER 2048u
#define FIRST (on_qemu() ? 1u : 0u) /* QEMU can only write to a bank that has a file */

static uint32_t both(uint32_t v) { return v | v << 16; }

static void command(unsigned bank, uint64_t off, uint32_t cmd);
static void read_array(unsigned bank) { command(bank, 0, 0xff); }

static uint64_t seed = 1;
static uint32_t random(void) {
    seed = seed * 6364136223846793005ul + 1442695040888963407ul;
    return (uint32_t)(seed >> 33);
}

static void print_value(const char *what, uint64_t v) {
    print(what);
    print(" ");
    print_hex(v);
    print("\n");
}

/* The bank address 0 is a null pointer to the compiler: all accesses go through one of these. */
static uint64_t load(uint64_t a, unsigned bytes) {
    uint64_t v;
    switch (bytes) {
    case 1: __asm__ volatile("ldrb %w0, [%1]" : "=r"(v) : "r"(a) : "memory"); break;
    case 2: __asm__ volatile("ldrh %w0, [%1]" : "=r"(v) : "r"(a) : "memory"); break;
    case 4: __asm__ volatile("ldr %w0, [%1]" : "=r"(v) : "r"(a) : "memory"); break;
    default: __asm__ volatile("ldr %0, [%1]" : "=r"(v) : "r"(a) : "memory"); break;
    }
    return v;
}
static void store(uint64_t a, uint64_t v, unsigned bytes) {
    switch (bytes) {
    case 1: __asm__ volatile("strb %w0, [%1]" : : "r"(v), "r"(a) : "memory"); break;
    case 2: __asm__ volatile("strh %w0, [%1]" : : "r"(v), "r"(a) : "memory"); break;
    case 4: __asm__ volatile("str %w0, [%1]" : : "r"(v), "r"(a) : "memory"); break;
    default: __asm__ volatile("str %0, [%1]" : : "r"(v), "r"(a) : "memory"); break;
    }
}
static uint64_t at(unsigned bank, uint64_t off) { return bank * BANK_BYTES + off; }
static void command(unsigned bank, uint64_t off, uint32_t cmd) { store(at(bank, off), both(cmd), 4); }
static uint32_t get(unsigned bank, uint64_t off) { return (uint32_t)load(at(bank, off), 4); }

static void test_erased(void) {
    for (unsigned bank = FIRST; bank < 2; bank++) {
        for (uint64_t off = 0; off < BANK_BYTES; off += 0x123457ul & ~7ul)
            CHECK_EQ(load(at(bank, off), 8), ~0ul);
        CHECK_EQ(load(at(bank, BANK_BYTES - 8), 8), ~0ul);
    }
}

static void test_identity(void) {
    for (unsigned bank = 0; bank < 2; bank++) {
        command(bank, 0x55 * 4, 0x98);
        for (unsigned i = 0; i < 0x60; i++)
            print_value("query", get(bank, i * 4));
        CHECK_EQ(load(at(bank, 0x10 * 4), 1), 'Q');
        CHECK_EQ(load(at(bank, 0x10 * 4), 8), (uint64_t)both('R') << 32 | both('Q'));
        read_array(bank);
        command(bank, 0, 0x90);
        for (unsigned i = 0; i < 8; i++)
            print_value("id", get(bank, i * 4));
        read_array(bank);
        CHECK_EQ(get(bank, 0), bank < FIRST ? 0 : ~0u);
    }
}

static void program(unsigned bank, uint64_t off, uint32_t v) {
    command(bank, off, 0x40);
    store(at(bank, off), v, 4);
    CHECK_EQ(get(bank, off) & both(0x80), both(0x80));
    read_array(bank);
}

static void erase(unsigned bank, uint64_t off) {
    command(bank, off, 0x20);
    command(bank, off, 0xd0);
    CHECK_EQ(get(bank, off) & both(0x80), both(0x80));
    read_array(bank);
}

static void test_program(void) {
    for (unsigned bank = FIRST; bank < 2; bank++) {
        for (unsigned i = 0; i < 64; i++)
            program(bank, BLOCK + 4 * i, 0x01010101u * i + bank);
        for (unsigned i = 0; i < 64; i++)
            CHECK_EQ(get(bank, BLOCK + 4 * i), 0x01010101u * i + bank);
        CHECK_EQ(get(bank, BLOCK - 4), ~0u);
        program(bank, 2 * BLOCK, 0x12345678);
        erase(bank, BLOCK);
        for (unsigned i = 0; i < 64; i++)
            CHECK_EQ(get(bank, BLOCK + 4 * i), ~0u);
        CHECK_EQ(get(bank, 2 * BLOCK), 0x12345678);
        erase(bank, 2 * BLOCK + 0x1000);
        CHECK_EQ(get(bank, 2 * BLOCK), ~0u);
    }
}

static void test_buffer(void) {
    unsigned bank = 1, words = 100;
    uint64_t off = 5 * BLOCK + 3 * BUFFER;
    command(bank, off, 0xe8);
    CHECK_EQ(get(bank, off) & both(0x80), both(0x80));
    command(bank, off, words - 1);
    for (unsigned i = 0; i < words; i++)
        store(at(bank, off + 4 * i), 0xa0000000u + i, 4);
    command(bank, off, 0xd0);
    print_value("buffered", get(bank, off));
    read_array(bank);
    for (unsigned i = 0; i < words; i++)
        CHECK_EQ(get(bank, off + 4 * i), 0xa0000000u + i);
    CHECK_EQ(get(bank, off + 4 * words), ~0u);
    erase(bank, off);
}

/* The status and contents after whatever is written. Commands that QEMU carries out before they are confirmed are left
 * out. */
static void test_random(void) {
    static const uint8_t commands[] = {0x10, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98,
                                       0xe8, 0xff, 0xf0, 0xd0, 0x01, 0x00, 0x33};
    unsigned bank = 1;
    uint64_t base = 7 * BLOCK, sum = 0;
    for (unsigned n = 0; n < 4000; n++) {
        uint64_t off = base + (random() & 63) * 4;
        bool write = random() & 1;
        unsigned bytes = 1u << random() % (write ? 3 : 4);
        off &= ~(uint64_t)(bytes - 1);
        if (write) {
            uint32_t v = random() % 4 ? both(commands[random() % ARRAY_LEN(commands)]) : random() & 0x00ff00ff;
            store(at(bank, off), v, bytes);
        } else {
            uint64_t v = load(at(bank, off), bytes);
            sum = sum * 31 + v;
            if (n % 8 == 0)
                print_value("random", v);
        }
    }
    print_value("sum", sum);
    for (unsigned i = 0; i < 300; i++) /* so many words at most that it may wait for */
        command(bank, 0, 0xff);
    command(bank, 0, 0x50);
    for (unsigned i = 0; i < 64; i++)
        print_value("left", get(bank, base + 4 * i));
    command(bank, 0, 0x50);
    erase(bank, base);
}

/* Loads near a command in the same code: they have to see what the command did. */
static void test_same_block(void) {
    uint64_t a = at(1, 9 * BLOCK), before, status, after, again, id;
    for (unsigned n = 0; n < 300; n++) {
        __asm__ volatile("ldr %w0, [%5]\n"
                         "str %w6, [%5]\n"
                         "ldr %w1, [%5]\n"
                         "ldr %w4, [%5, #64]\n"
                         "str %w7, [%5]\n"
                         "ldr %w2, [%5]\n"
                         "ldr %w3, [%5, #64]\n"
                         : "=&r"(before), "=&r"(status), "=&r"(after), "=&r"(again), "=&r"(id)
                         : "r"(a), "r"(both(0x70)), "r"(both(0xff))
                         : "memory");
        CHECK_EQ(before, ~0u);
        CHECK_EQ(status, both(0x80));
        CHECK_EQ(id, both(0x80));
        CHECK_EQ(after, ~0u);
        CHECK_EQ(again, ~0u);
    }
}

/* With pages for it, at an address of its own. */
static void test_paged(void) {
    mmu_on();
    uint64_t va = 0x40000000000ul;
    for (uint64_t off = 0; off < 2 * BLOCK; off += 4096)
        mmu_map(mmu_root0(), va + off, at(1, 11 * BLOCK + off), PTE_RW | PTE_UXN | PTE_PXN);
    tlbi_all();
    for (unsigned n = 0; n < 20; n++) {
        uint64_t a = va + n * 4096 + 4 * n;
        for (unsigned i = 0; i < 50; i++)
            CHECK_EQ(load(a, 4), ~0u);
        store(a, both(0x40), 4);
        store(a, n, 4);
        CHECK_EQ(load(a + 8, 4) & both(0x80), both(0x80));
        store(a, both(0xff), 4);
        CHECK_EQ(load(a, 4), n);
        CHECK_EQ(load(va + 4094, 4), ~0u); /* over the border of two pages */
    }
    mmu_off();
    erase(1, 11 * BLOCK);
}

/* Code in flash: run, programmed anew, run again (which QEMU does not notice). */
static void test_code(void) {
    uint64_t a = at(1, 13 * BLOCK);
    for (unsigned n = 0; n < (on_qemu() ? 1 : 20); n++) {
        program(1, 13 * BLOCK, 0x52800000u | n << 5); /* mov w0, #n */
        program(1, 13 * BLOCK + 4, 0xd65f03c0);
        code_sync((void *)a, 8);
        for (unsigned i = 0; i < 3; i++)
            CHECK_EQ(((uint64_t (*)(void))a)(), n);
        erase(1, 13 * BLOCK);
    }
}

TESTS({"erased", test_erased}, {"identity", test_identity}, {"program", test_program}, {"buffer", test_buffer},
      {"random", test_random}, {"same block", test_same_block}, {"paged", test_paged}, {"code", test_code});
