/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_sysregs.c: any sequence of MRS, MSR, system instructions, exceptions, returns and PSCI calls, on up to four
 * processors, at EL1 and EL0. Each ends in the next instruction or in an exception, and the state is one that the
 * architecture knows.
 */
#include "tests/fuzz/a64_world.h"

#include "graft/softfp.h"

static uint32_t any_key(struct input *in) { return (uint32_t)take(in, 2) | 2u << 14; } /* op0 2 or 3 */

/* Those of timers, translation, debugging and PSTATE are more worth trying than the rest of the space. */
static uint32_t key(struct input *in) {
    static const uint16_t crn[] = {1, 2, 4, 5, 6, 10, 12, 13, 14};
    unsigned how = (unsigned)take(in, 1);
    if (how < 64)
        return any_key(in);
    unsigned op1 = how & 1 ? 0 : 3, op0 = how & 30 ? 3 : 2;
    return A64_SYSREG(op0, op1, crn[(how >> 1) % 9], take(in, 1) & 15, take(in, 1) & 7);
}

static uint32_t insn_of(uint32_t k, bool read) { return 0xd5000000u | (uint32_t)read << 21 | k << 5; }

static void move_to_register(struct cpu *c, struct input *in) {
    uint32_t k = key(in);
    uint64_t value = fuzz_value(in);
    (void)RAISES(a64_helper_msr(c, k, value, insn_of(k, false)));
}

/* What is read twice with nothing in between is the same, but for clocks. */
static void move_from_register(struct cpu *c, struct input *in) {
    uint32_t k = key(in);
    volatile uint64_t first = 0, second = 0;
    if (RAISES(first = a64_helper_mrs(c, k, insn_of(k, true), 0)))
        return;
    must(!RAISES(second = a64_helper_mrs(c, k, insn_of(k, true), 0)));
    bool clock = (k >> 7 & 15) == 14, gic = (k >> 7 & 15) == 12;
    must(clock || gic || first == second);
}

static void plain_register(struct cpu *c, struct input *in) {
    uint32_t k = key(in);
    size_t offset = a64_sysreg_offset(k, a64(c)->el, take(in, 1) & 1);
    must(offset <= sizeof(struct a64_cpu) - 8);
}

static void system_instruction(struct cpu *c, struct input *in) {
    static const uint8_t crm[] = {0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 14};
    unsigned how = (unsigned)take(in, 1);
    uint32_t k = A64_SYSREG(1, how & 1 ? 3 : 0, how & 2 ? 7 : 8, crm[take(in, 1) % 11], how >> 2 & 7);
    uint64_t value = fuzz_value(in);
    (void)RAISES(a64_helper_sys(c, k, value, insn_of(k, false)));
}

static void immediate(struct cpu *c, struct input *in) {
    uint64_t how = take(in, 1);
    (void)RAISES(a64_helper_msr_imm(c, how >> 1 & 077, how >> 4, 0xd500401f));
}

static void exception(struct cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    if (how & 1)
        a64_take_exception(c, 0x80u * (how >> 1 & 3), (uint32_t)take(in, 4), fuzz_value(in));
    else if (a64(c)->el == 1)
        (void)RAISES(a64_helper_eret(c, 0, 0, 0));
}

static void call_firmware(struct cpu *c, struct input *in) {
    static const uint32_t functions[] = {0x84000000, 0xc4000001, 0x84000002, 0xc4000003, 0xc4000004, 0x84000005,
                                         0x84000006, 0x84000008, 0x84000009, 0x8400000a, 0x80000000, 0x80000001};
    unsigned how = (unsigned)take(in, 1);
    a64(c)->x[0] = how < 200 ? functions[how % 12] : fuzz_value(in);
    for (unsigned i = 1; i < 4; i++)
        a64(c)->x[i] = fuzz_value(in);
    if (a64(c)->el == 1)
        (void)RAISES(a64_psci_call(c));
}

static void translate(struct cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    uint64_t va = fuzz_value(in);
    struct walk w = {.fault = 0};
    a64_walk(c, va, (enum mmu_access)(how % 3), how >> 2 & 1 ? A64_EL1 : A64_EL0, &w);
    must(w.fault || w.pa.v < BIT(48));
}

static void interrupts(struct cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    if (how & 1)
        world.shared.spi_level[how >> 5] ^= (uint32_t)take(in, 4);
    if (how & 2)
        a64_timer_update(c);
    a64_gic_update(c);
    (void)RAISES(a64_helper_check(c, 0, 0, 0));
}

static void check(struct a64_cpu *c) {
    uint32_t mode = a64_guest.mode(&c->c);
    must(c->el <= 1 && c->spsel <= 1 && c->pan <= 1 && !(c->daif & ~DAIF_MASK) && A64_MODE_EL(mode) == c->el);
    must(A64_MODE_REGIME(mode) <= 2 && (A64_MODE_REGIME(mode) == 0) == (c->el == 0));
    must(a64_pstate(c) == a64_pstate(c));
}

static void act(struct cpu *c, struct input *in) {
    switch (take(in, 1) % 10) {
    case 0:
    case 1: move_to_register(c, in); break;
    case 2: move_from_register(c, in); break;
    case 3: system_instruction(c, in); break;
    case 4: immediate(c, in); break;
    case 5: exception(c, in); break;
    case 6: call_firmware(c, in); break;
    case 7: translate(c, in); break;
    case 8: plain_register(c, in); break;
    default: interrupts(c, in); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > MAX_INPUT)
        return 0;
    struct input in = fuzz_start(data, size);
    for (unsigned i = 0; i < WORLD_RAM_BYTES; i += 8) /* tables, some of them valid, that lead to each other */
        *(uint64_t *)(world.ram + i) = WORLD_RAM + (i * 40503u & 0xf000) + (i / 8 % 3 ? 0x703 : 0x701) + (i & 0xc0);
    while (in.at < in.end) {
        struct a64_cpu *c = fuzz_cpu(&in);
        act(&c->c, &in);
        check(c);
    }
    return 0;
}
