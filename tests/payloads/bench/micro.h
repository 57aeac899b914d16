/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * micro.h: what the bare-metal benchmarks share. Each measures one mechanism many times and prints, as the programs in
 * bench/ do, `NAME checksum=HEX time_ns=N total_ns=N`. scripts/compare builds and runs them (suite micro).
 */
#ifndef MICRO_H
#define MICRO_H

#include "payload.h"

#define SCRATCH 0x44000000ul /* 64 MiB of RAM that no payload uses: readable, writable, executable, in 2 MiB blocks */
#define MICRO_VA 0x10000000000ul

static uint64_t micro_started, micro_begun;

static inline uint64_t micro_ticks(void) {
    isb();
    uint64_t t = read_sysreg(cntvct_el0);
    isb();
    return t;
}

static inline void micro_number(uint64_t ticks) {
    uint64_t hz = read_sysreg(cntfrq_el0);
    print_dec(ticks / hz * 1000000000 + ticks % hz * 1000000000 / hz);
}

static inline void micro_begin(void) {
    micro_begun = micro_ticks();
    if (!micro_started)
        micro_started = micro_begun;
}

static inline void micro_end(const char *name, uint64_t checksum) {
    uint64_t now = micro_ticks();
    static char hex[17];
    for (unsigned i = 0; i < 16; i++)
        hex[i] = "0123456789abcdef"[checksum >> (60 - 4 * i) & 15];
    print(name);
    print(" checksum=");
    print(hex);
    print(" time_ns=");
    micro_number(now - micro_begun);
    print(" total_ns=");
    micro_number(now - micro_started);
    print("\n");
}

/* --- instructions for generated code ---------------------------------------------------------- */
#define ADD_X0_1 0x91000400u
#define SUBS_X1_1 0xf1000421u
#define RET 0xd65f03c0u
#define BR_X2 0xd61f0040u
#define BRANCH(bytes) (0x14000000u | ((uint32_t)((int64_t)(bytes) >> 2) & 0x3ffffffu))
#define BRANCH_NE(bytes) (0x54000001u | ((uint32_t)((int64_t)(bytes) >> 2) & 0x7ffffu) << 5)
#define LDR_X2_LITERAL(bytes) (0x58000002u | ((uint32_t)((int64_t)(bytes) >> 2) & 0x7ffffu) << 5)

static inline uint64_t micro_call(const void *code, uint64_t x0, uint64_t x1) {
    return ((uint64_t (*)(uint64_t, uint64_t))code)(x0, x1);
}

#endif
