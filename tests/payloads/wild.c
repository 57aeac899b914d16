/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * wild.c: addresses that lead nowhere, or that must not lead where a host's address of the same value would: every kind
 * of pattern in bits 63..48, tags, the ends of both halves, and all of an empty address space. Each is tried by
 * instructions that have just been at an address that is mapped.
 */
#include "paging.h"

#define LOW 0x123456789000ul /* mapped there, and at the same place of the upper half */
#define HIGH (0xfffful << 48 | LOW)
#define LOW_MARK 0x10a10a10a1ul
#define HIGH_MARK 0x2412412412ul
#define TBI0 (1ul << 37)
#define TBI1 (1ul << 38)

static const uint32_t states[] = {PSTATE_EL0, PSTATE_EL1T, PSTATE_EL1H};
#define EACH_STATE(s) for (unsigned s = 0; s < ARRAY_LEN(states); s++)

static void map_marks(void) {
    start();
    mmu_map(root, LOW, (uint64_t)page, PTE_RW | PTE_AP_EL0 | PTE_UXN | PTE_PXN);
    mmu_map(mmu_root1(), HIGH, (uint64_t)page2, PTE_RW | PTE_AP_EL0 | PTE_UXN | PTE_PXN);
    isb();
    *(uint64_t *)page = LOW_MARK;
    *(uint64_t *)page2 = HIGH_MARK;
}

/* Which page such an address leads to, NULL: to none (Arm ARM D8.2, D8.5: bit 55 chooses the half). */
static uint64_t *page_of(uint64_t va, uint64_t tbi) {
    bool high = va >> 55 & 1;
    unsigned bits = (unsigned)(tbi & (high ? TBI1 : TBI0) ? va >> 48 & 0xff : va >> 48);
    unsigned all = tbi & (high ? TBI1 : TBI0) ? 0xff : 0xffff;
    return bits != (high ? all : 0) ? NULL : (uint64_t *)(high ? page2 : page);
}

static void check_pattern(uint32_t pstate, uint64_t va, uint64_t tbi) {
    uint64_t *to = page_of(va, tbi), was = to ? *to : 0;
    if (!to) {
        try(pstate, READ, va, FSC_TRANSLATION(0));
        try(pstate, WRITE, va, FSC_TRANSLATION(0));
        return;
    }
    run_code(&c, pstate, at(pstate, op_code[READ]), va, 0, 0, 0);
    CHECK_EQ(c.out.esr, ESR_DONE);
    CHECK_EQ(c.out.x[1], was);
    run_code(&c, pstate, at(pstate, op_code[WRITE]), va, was + 1, 0, 0);
    CHECK_EQ(c.out.esr, ESR_DONE);
    CHECK_EQ(*to, was + 1);
    *to = was;
}

/* Each byte of the two with all values, the other with those that matter. */
static const uint8_t edges[] = {0, 0xff, 1, 0x7f, 0x80, 0xfe};
static void test_patterns(void) {
    map_marks();
    for (unsigned how = 0; how < 4; how++) {
        uint64_t tbi = (how & 1 ? TBI0 : 0) | (how & 2 ? TBI1 : 0);
        set_tcr(TCR_ON | tbi);
        for (unsigned i = 0; i < 256 * ARRAY_LEN(edges); i++) {
            uint64_t edge = edges[i / 256], any = i & 255;
            uint32_t pstate = states[i % ARRAY_LEN(states)];
            check_pattern(pstate, LOW | edge << 56 | any << 48, tbi);
            check_pattern(pstate, LOW | any << 56 | edge << 48, tbi);
        }
    }
    set_tcr(TCR_ON);
}

/* One instruction goes from address to address, and meets the one that is wrong as the last. */
SNIPPET(walk, "1: ldr x5, [x0], #8\nldr x6, [x5, #8]\nadd x3, x3, x6\nsubs x1, x1, #1\nb.ne 1b");
#define STEPS 64u
static uint64_t path[STEPS];
static void test_walks(void) {
    map_marks();
    set_tcr(TCR_ON | TBI0 | TBI1);
    ((uint64_t *)page)[1] = LOW_MARK;
    ((uint64_t *)page2)[1] = HIGH_MARK;
    for (unsigned n = 0; n < 300; n++) {
        uint32_t pstate = states[n % 3];
        uint64_t sum = 0, wrong = (n & 1 ? LOW : HIGH) ^ 1ul << (48 + n / 3 % 7) ^ (uint64_t)(n & 0xff) << 56;
        for (unsigned i = 0; i < STEPS - 1; i++) {
            bool high = (n + i) / (1 + n % 5) & 1, tag = n % 7 > 3;
            path[i] = high ? HIGH : LOW;
            path[i] ^= tag ? (uint64_t)(n + i) << 56 : 0;
            sum += high ? HIGH_MARK : LOW_MARK;
        }
        path[STEPS - 1] = wrong;
        run_code(&c, pstate, at(pstate, walk), (uint64_t)at(pstate, path), STEPS, 0, 0);
        CHECK_EQ(c.out.esr, ESR(pstate & 12 ? 0x25 : 0x24, FSC_TRANSLATION(0)));
        CHECK_EQ(c.out.far, wrong + 8);
        CHECK_EQ(c.out.x[1], 1);
        CHECK_EQ(c.out.x[3], sum);
    }
    set_tcr(TCR_ON);
}

/* No table says anything of these: not one of them may be the engine's, or another space's. */
static void test_hidden(void) {
    static const uint64_t offsets[] = {0, 0xff8, 0x1000, 0x200008, 0x40080000, 0x7ffffff000, 0x7ffffffff8};
    start();
    for (unsigned region = 2; region < 512; region++) {
        uint64_t base = (uint64_t)region << 39 | (region & 256 ? 0xfffful << 48 : 0);
        if (region == TEST_VA >> 39 || region == LOW >> 39)
            continue;
        for (unsigned i = 0; i < ARRAY_LEN(offsets); i++) {
            uint32_t pstate = states[(region + i) % 3];
            try(pstate, READ, base + offsets[i], FSC_TRANSLATION(0));
            try(pstate, WRITE, base + offsets[i], FSC_TRANSLATION(0));
        }
    }
    /* as a displacement, from where something is */
    for (unsigned s = 0; s < 3; s++)
        try(states[s], LDTR, 0x7000000000ul, FSC_TRANSLATION(1));
}

/* --- the ends of the halves ------------------------------------------------------------------- */
SNIPPET(below, "ldur x1, [x0, #-8]\nldp x2, x3, [x0, #-16]\nstur x1, [x0, #-8]");
SNIPPET(above, "ldr x1, [x0, #4088]\nldr x2, [x0, #4096]");
SNIPPET(load, "ldr x1, [x0]");
SNIPPET(load_pair, "ldp x1, x2, [x0]");
SNIPPET(load_q, "ldr q0, [x0]");
SNIPPET(load_w, "ldr w1, [x0]");
static const struct {
    const uint32_t *code;
    unsigned bytes;
} loads[] = {{load, 8}, {load_pair, 16}, {load_q, 16}, {load_w, 4}};

#define LOW_END (1ul << 48)
#define HIGH_START (0xfffful << 48)

static void check_load(unsigned which, uint32_t pstate, uint64_t va, uint64_t far) {
    run_code(&c, pstate, at(pstate, loads[which].code), va, 0, 0, 0);
    if (!far) {
        CHECK_EQ(c.out.esr, ESR_DONE);
        return;
    }
    CHECK_EQ(c.out.esr, ESR(pstate & 12 ? 0x25 : 0x24, FSC_TRANSLATION(0)));
    CHECK_EQ(c.out.far, far);
}

static void test_ends(void) {
    start();
    uint64_t attrs = PTE_RW | PTE_AP_EL0 | PTE_UXN | PTE_PXN;
    mmu_map(root, LOW_END - 4096, (uint64_t)page, attrs);
    mmu_map(mmu_root1(), HIGH_START, (uint64_t)page2, attrs);
    mmu_map(mmu_root1(), -4096ul, (uint64_t)page, attrs);
    isb();
    EACH_STATE(s) {
        for (unsigned i = 0; i < ARRAY_LEN(loads); i++) {
            unsigned bytes = loads[i].bytes;
            for (unsigned round = 0; round < 4; round++) {
                check_load(i, states[s], LOW_END - bytes, 0);
                check_load(i, states[s], -(uint64_t)bytes, 0);
                check_load(i, states[s], HIGH_START, 0);
                for (unsigned over = 1; over < bytes; over += 3) {
                    check_load(i, states[s], LOW_END - bytes + over, LOW_END);
                    check_load(i, states[s], HIGH_START - over, HIGH_START - over);
                }
            }
        }
        /* the base is outside, the access is not, and the other way round */
        uint64_t last = *(uint64_t *)(page + 4088);
        run_code(&c, states[s], at(states[s], below), LOW_END, 0, 0, 0);
        CHECK_EQ(c.out.esr, ESR_DONE);
        CHECK_EQ(c.out.x[3], last);
        run_code(&c, states[s], at(states[s], below), 0, 0, 0, 0); /* from 0 down to the end of the upper half */
        CHECK_EQ(c.out.esr, ESR_DONE);
        CHECK_EQ(c.out.x[1], last);
        run_code(&c, states[s], at(states[s], below), HIGH_START, 0, 0, 0);
        CHECK_EQ(c.out.far, HIGH_START - 8);
        run_code(&c, states[s], at(states[s], above), LOW_END - 4096, 0, 0, 0);
        CHECK_EQ(c.out.far, LOW_END);
        CHECK_EQ(c.out.x[1], last);
        run_code(&c, states[s], at(states[s], above), HIGH_START - 4088, 0, 0, 0);
        CHECK_EQ(c.out.x[1], *(uint64_t *)page2);
    }
}

TESTS({"patterns", test_patterns}, {"walks", test_walks}, {"hidden", test_hidden}, {"ends", test_ends});
