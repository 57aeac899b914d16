/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_ahead.c: what the monitor is told of memory that is used next: all of a table that is filled, from either end,
 * in pieces that follow each other, before it is used; RAM in the direction in which it is given out, each part once;
 * and a ring of the bell whenever it may be asleep.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dbt/engine.h"
#include "dbt/rt/user/rt_user.h"

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("FAIL line %d: %s\n", __LINE__, #condition);                                                        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define PIECE AHEAD_BYTES
static struct cpu cpu;
static struct abi_shared shared;
static struct abi_boot boot;
static unsigned rings;

static void on_doorbell(void *ctx, unsigned n) {
    EXPECT(n == ABI_DB_AHEAD);
    rings++;
}

/* The next entry of the ring, as the monitor reads it. */
static struct abi_range next(void) {
    EXPECT(cpu.abi.ahead_tail != cpu.abi.ahead_head);
    return cpu.abi.ahead[cpu.abi.ahead_tail++ % ABI_AHEAD_ENTRIES];
}
static bool silent(void) { return cpu.abi.ahead_tail == cpu.abi.ahead_head; }

/* Filled in odd steps, from an address on no border: told at each moment is what is used, and half a piece more. */
static void test_up(void) {
    const uintptr_t start = 5 * PIECE + 0x1234, bytes = 7 * PIECE / 2;
    struct ahead a = ahead_of((void *)start, bytes);
    uintptr_t told = start;
    for (uintptr_t used = start; used <= start + bytes; used += 4096 * 3 + 16) {
        ahead_up(&cpu, &a, (void *)used);
        while (!silent()) {
            struct abi_range r = next();
            EXPECT(r.va == told && r.bytes && r.bytes <= PIECE);
            EXPECT((r.va + r.bytes) % PIECE == 0 || r.va + r.bytes == start + bytes);
            told += r.bytes;
        }
        EXPECT(told == start + bytes || (told >= used + PIECE / 2 && told <= used + 3 * PIECE / 2));
    }
    EXPECT(told == start + bytes);
}

static void test_down(void) {
    const uintptr_t end = 3 * PIECE, start = end + 9 * PIECE / 4;
    struct ahead a = {start, end};
    uintptr_t told = start;
    for (uintptr_t used = start; used > end; used -= 4096) {
        ahead_down(&cpu, &a, (void *)used);
        while (!silent()) {
            struct abi_range r = next();
            EXPECT(r.bytes && r.bytes <= PIECE && r.va + r.bytes == told && r.va >= end);
            told = r.va;
        }
        EXPECT(told == end || (told <= used - PIECE / 2 && told + 3 * PIECE / 2 >= used));
    }
    EXPECT(told == end);
}

static void use(uint64_t piece) { ahead_ram(&cpu, GPA(boot.ram_gpa + piece * PIECE + 0x5000)); }

static void expect_ram(uint64_t piece) {
    struct abi_range r = next();
    EXPECT(r.va == boot.ram_va + piece * PIECE && r.bytes == PIECE && silent());
}

static void test_ram(void) {
    boot = (struct abi_boot){.ram_gpa = 0x40000000, .ram_va = 0x1000000000, .ram_size = 20 * PIECE + PIECE / 2};
    use(3);
    EXPECT(silent()); /* which way it will go is not known */
    use(4);
    expect_ram(5);
    use(4);
    EXPECT(silent());
    use(5);
    expect_ram(6);
    use(19);
    EXPECT(silent());
    use(18);
    expect_ram(17);
    use(17);
    expect_ram(16);
    use(20); /* not whole: the end of RAM */
    EXPECT(silent());
    use(7); /* nothing is next to it: 6 was only expected */
    EXPECT(silent());
    use(6);
    EXPECT(silent()); /* what is behind it is used */
    use(1);
    use(0);
    EXPECT(silent()); /* there is nothing below */
    use(2);
    EXPECT(silent());
}

/* It is rung for the first entry after all had been read, and for no other. */
static void test_bell(void) {
    struct ahead a = {PIECE, 100 * PIECE};
    unsigned before = rings;
    for (unsigned i = 0; i < 5; i++)
        ahead_more(&cpu, &a);
    EXPECT(rings == before + 1);
    next();
    ahead_more(&cpu, &a);
    EXPECT(rings == before + 1);
    while (!silent())
        next();
    ahead_more(&cpu, &a);
    EXPECT(rings == before + 2 && next().va == 7 * PIECE);
}

int main(void) {
    rt_user_set_monitor(NULL, on_doorbell, NULL);
    cpu.boot = &boot;
    cpu.shared = &shared;
    test_up();
    test_down();
    test_ram();
    test_bell();
    printf("ALL PASS\n");
    return 0;
}
