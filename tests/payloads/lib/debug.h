/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* debug.h: what the payloads about self-hosted debug share. */
#ifndef DEBUG_H
#define DEBUG_H

#include "payload.h"

#define IL (1ul << 25)
#define ESR(ec, iss) ((uint64_t)(ec) << 26 | IL | (iss))
#define ESR_DONE ESR(0x3c, 0x7777)
#define MDSCR_SS (1ul << 0)
#define MDSCR_KDE (1ul << 13)
#define MDSCR_MDE (1ul << 15)
#define PSTATE_D 0x200u
#define WNR (1u << 6)
#define STEP_EX (1u << 6)
#define STEP_ISV (1u << 24)
#define FSC_DEBUG 0x22u

/* ESR of a debug exception from that level: ec is that of a lower level's. */
#define DEBUG_ESR(pstate, ec, iss) ESR((ec) + ((pstate) & 12 ? 1 : 0), FSC_DEBUG | (iss))
#define STEP_ESR(pstate, iss) DEBUG_ESR(pstate, 0x32, iss)
#define BREAK_ESR(pstate) DEBUG_ESR(pstate, 0x30, 0)
#define WATCH_ESR(pstate, iss) DEBUG_ESR(pstate, 0x34, iss)

static inline void set_mdscr(uint64_t v) {
    write_sysreg(mdscr_el1, v);
    isb();
}

/* Where code and data are reachable for that level. */
static inline uint64_t at_level(uint32_t pstate, const void *p) { return (uint64_t)p + (pstate & 12 ? 0 : USER_BASE); }

/* debug_start(): the MMU on, an alias for EL0, the OS lock open. */
static inline void debug_start(void) {
    mmu_on();
    mmu_user_alias();
    write_sysreg(oslar_el1, 0);
    set_mdscr(0);
}

/* Xorshift: the same numbers everywhere. */
static uint64_t random_state = 0x9e3779b97f4a7c15ul;
static inline uint64_t rnd(uint64_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

#endif
