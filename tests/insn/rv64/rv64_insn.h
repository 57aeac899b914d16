/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * rv64_insn.h: what both worlds of the RISC-V instruction tests share: the program that runs under qemu-riscv64
 * (rv64_guest.c) and the one that runs our translation (rv64_test.c). Cases are those of tests/insn/insn.h. x3 and x4
 * are the harness's: no case uses them.
 */
#ifndef GRAFT_TESTS_RV64_INSN_H
#define GRAFT_TESTS_RV64_INSN_H

#include "tests/insn/insn.h"

#define RV64_SLOT_FIRST 0

struct rv64_state {
    uint64_t x[32], f[32];
    uint64_t fcsr;
    uint64_t exit; /* 0 fell through, 1 branched */
};
struct rv64_record {
    struct rv64_state s;
    uint64_t fault;  /* enum ifault */
    uint64_t offset; /* of the faulting instruction in the slot */
    uint64_t memory; /* hash of the window */
};

/* Half precision: zeros, subnormal numbers, infinities and NaNs as often as others. */
static inline uint64_t rv64_half(uint64_t *s) {
    uint64_t r = insn_random(s), exponent = r >> 32 & 3 ? r >> 10 & 31 : r >> 33 & 31 & -(r >> 40 & 1);
    if (!(r >> 41 & 7))
        exponent = 31;
    return (r & 0x8000) | exponent << 10 | (r >> 44 & 3 ? r & 0x3ff : r >> 46 & 1 ? 0 : 0x200);
}

static inline uint64_t rv64_float(uint64_t *s) {
    uint64_t r = insn_random(s);
    switch (r & 7) {
    case 0:
    case 1:
    case 2: return insn_double(s);
    case 3: return insn_random(s);
    case 4:
    case 5: return ~UINT64_C(0xffff) | rv64_half(s);
    default: return UINT64_C(0xffffffff00000000) | insn_float(s);
    }
}

static inline void rv64_initial_state(const struct icase *c, struct rv64_state *st) {
    uint64_t s = c->seed;
    st->x[0] = 0;
    for (int i = 1; i < 32; i++)
        st->x[i] = insn_integer(&s);
    for (int i = 0; i < 32; i++)
        st->f[i] = rv64_float(&s);
    uint64_t r = insn_random(&s);
    st->fcsr = (r & 3) ? 0 : (r >> 8 & 63) < 60 ? (r >> 16) % 5 << 5 : (r >> 16 & 7) << 5;
    st->fcsr |= (r >> 32 & 3) ? 0 : r >> 40 & 31;
    st->exit = 0;
    for (int i = 0; i < INSN_OVERRIDES; i++)
        if (c->reg[i] < 32)
            st->x[c->reg[i]] = c->value[i];
    st->x[3] = st->x[4] = 0;
}

#endif
