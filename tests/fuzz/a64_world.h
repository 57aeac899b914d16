/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * a64_world.h: what the fuzzers of the guests' system sides share, one file of each includes it: the machine without an
 * engine of tests/a64sys, with little RAM, and the input as a program. WORLD_RV64: that of RISC-V.
 */
#ifndef FUZZ_A64_WORLD_H
#define FUZZ_A64_WORLD_H

#define WORLD_RAM_BYTES 65536u
#include "tests/a64sys/world.c"
#include "tests/fuzz/input.h"

#define MAX_INPUT 2048

/* A machine as the first byte wants it, all of whose processors run. The input is a program, and goes on with what a
 * generator makes of it: a new machine costs as much as a few hundred actions. */
static struct input fuzz_start(const uint8_t *data, size_t size) {
    static uint8_t program[2 * MAX_INPUT];
    uint64_t x = UINT64_C(0x9e3779b97f4a7c15);
    memcpy(program, data, size);
    for (size_t i = 0; i < size; i++)
        x = (x ^ data[i]) * UINT64_C(0x100000001b3);
    for (size_t i = size; i < sizeof(program); i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        program[i] = (uint8_t)(x >> 32);
    }
    unsigned how = data[0];
    world_start(1 + how % WORLD_CPUS, how & 64 ? 2 : 3, how & 128 ? ABI_CPU_CORE : ABI_CPU_MAX);
    for (unsigned i = 0; i < world.boot.vcpu_count; i++)
        world.cpu[i]->power.state = ENGINE_POWER_ON;
    return (struct input){program + 1, program + sizeof(program)};
}

static world_guest_cpu *fuzz_cpu(struct input *in) { return world.cpu[take(in, 1) % world.boot.vcpu_count]; }

/* Numbers that matter more often than others: few bits, all bits, small ones. */
static uint64_t fuzz_value(struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    switch (how & 7) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return BIT(how >> 3) | BIT(how >> 2 & 63);
    case 3: return take(in, 1);
    case 4: return WORLD_RAM + (take(in, 2) & 0xffff);
    case 5: return ~take(in, 3);
    case 6: return take(in, 4);
    default: return take(in, 8);
    }
}

static void must(bool holds) {
    if (!holds || world.failures)
        abort();
}

#endif
