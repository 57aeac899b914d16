/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * debug.c: self-hosted debug (Arm ARM D2): software step, breakpoints, watchpoints, the OS locks.
 *
 * Nothing of it is looked at while nothing is armed. What is armed is in the mode, so armed code is other blocks:
 *  - a block of a step is one instruction and goes back to the dispatcher, which calls a64_executed();
 *  - with breakpoints enabled the translator asks a64_breaks_at() about each instruction; where one may match, the
 *    block calls a64_helper_breakpoint(), which looks at the registers again. The mode has a number for what the
 *    translator was told, so that switching between programs that are debugged and ones that are not brings no new
 *    translations;
 *  - with watchpoints enabled all accesses are calls, and C shows each to a64_watch() between translation and access.
 *
 * Without EL2 and EL3, HMC and SSC other than 0 are reserved; they act as on QEMU: HMC is ignored, and so is SSC but
 * for 2, which is Secure state. So do MASK with a BAS that is not all ones (BAS is ignored), MASK of 1 and 2 (never
 * matches), bytes of BAS after the first run of ones (ignored) and bits of an address that MASK covers (ignored).
 */
#include "system.h"

#define MDSCR_SS BIT(0)
#define MDSCR_KDE BIT(13)
#define MDSCR_MDE BIT(15)
#define OSLSR_OSLK BIT(1)

#define STEP_ISV BIT(24)
#define STEP_EX BIT(6)
#define FSC_DEBUG 0x22u

/* Fields that DBGBCR and DBGWCR have in the same places. */
#define CR_E BIT(0)
#define CR_LINKED BIT(20)                                      /* BT<0>, WT */
static unsigned cr_levels(uint64_t cr) { return cr >> 1 & 3; } /* PMC, PAC: bit 0 EL1, bit 1 EL0 */
static unsigned cr_lbn(uint64_t cr) { return cr >> 16 & 15; }
static bool cr_other_state(uint64_t cr) { return (cr >> 14 & 3) == 2; }

/* DBGBCR.BT without its bit 0 */
#define BT_ADDRESS 0u
#define BT_CONTEXT 2u
static unsigned bt_of(uint64_t bcr) { return bcr >> 20 & 14; }

static unsigned breakpoints(const struct a64_cpu *c) { return (unsigned)a64_bits(c->sys.id_dfr0, 12, 4) + 1; }
static unsigned watchpoints(const struct a64_cpu *c) { return (unsigned)a64_bits(c->sys.id_dfr0, 20, 4) + 1; }
/* The last ones can compare with CONTEXTIDR_EL1. */
static bool context_aware(const struct a64_cpu *c, unsigned n) {
    return n < breakpoints(c) && n >= breakpoints(c) - 1 - a64_bits(c->sys.id_dfr0, 28, 4);
}

/* Levels of a control register as a set of exception levels. */
static uint32_t els_of(uint64_t cr) { return (cr_levels(cr) >> 1 & 1) | (cr_levels(cr) & 1) << 1; }

/* --- matching --------------------------------------------------------------------------------- */

static bool context_matches(const struct a64_cpu *c, unsigned n) {
    return (uint32_t)c->sys.dbgbvr[n] == (uint32_t)c->sys.contextidr_el1;
}

/* StateMatch(): at EL0 (or as if there) or EL1, and the breakpoint that this one is linked to. */
static bool state_matches(const struct a64_cpu *c, uint64_t cr, unsigned el) {
    unsigned lbn = cr_lbn(cr);
    if (!(cr & CR_E) || !(els_of(cr) >> el & 1) || cr_other_state(cr))
        return false;
    if (!(cr & CR_LINKED))
        return true;
    uint64_t to = c->sys.dbgbcr[lbn];
    return context_aware(c, lbn) && to & CR_E && to & CR_LINKED && bt_of(to) == BT_CONTEXT && context_matches(c, lbn);
}

/* Do addresses differ in a bit that is compared? With TBI the tag is not. */
static uint64_t compared_bits(const struct a64_cpu *c, uint64_t va) {
    return c->sys.tcr_el1 >> (va >> 55 & 1 ? 38 : 37) & 1 ? MASK(56) : ~UINT64_C(0);
}

static bool breakpoint_matches(const struct a64_cpu *c, unsigned n) {
    uint64_t bcr = c->sys.dbgbcr[n];
    if (!state_matches(c, bcr, c->el))
        return false;
    if (bt_of(bcr) == BT_CONTEXT)
        return !(bcr & CR_LINKED) && context_aware(c, n) && context_matches(c, n);
    return bt_of(bcr) == BT_ADDRESS && bcr & BIT(5) /* BAS */ &&
           !((c->sys.dbgbvr[n] ^ c->pc) & compared_bits(c, c->pc) & ~UINT64_C(3));
}

uint64_t a64_helper_breakpoint(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t unused) {
    struct a64_cpu *c = a64(cpu);
    for (unsigned n = 0; n < breakpoints(c); n++)
        if (breakpoint_matches(c, n))
            a64_raise(cpu, c->el == 0 ? A64_EC_BREAKPOINT_LOWER : A64_EC_BREAKPOINT, FSC_DEBUG);
    return 0;
}

/* The bytes that a watchpoint is for; false: none. */
static bool watched(uint64_t wvr, uint64_t wcr, uint64_t *start, uint64_t *bytes) {
    unsigned mask = wcr >> 24 & 31, bas = wcr >> 5 & 255;
    *bytes = UINT64_C(1) << mask;
    *start = wvr & ~(*bytes - 1);
    if (mask)
        return mask > 2;
    if (wvr & 4) /* the deprecated form: a word */
        bas &= 15;
    if (!bas)
        return false;
    unsigned first = (unsigned)__builtin_ctz(bas);
    *start = wvr + first;
    *bytes = (unsigned)__builtin_ctz(~(bas >> first));
    return true;
}

/* Does watchpoint n match an access? *far: its first byte there. */
static bool watchpoint_matches(const struct a64_cpu *c, unsigned n, uint64_t va, uint64_t bytes, bool write,
                               unsigned el, uint64_t *far) {
    uint64_t wcr = c->sys.dbgwcr[n], bits = compared_bits(c, va), start, length;
    if (!(wcr >> (write ? 4 : 3) & 1) || !state_matches(c, wcr, el) || !watched(c->sys.dbgwvr[n], wcr, &start, &length))
        return false;
    uint64_t ahead = (start - va) & bits, behind = (va - start) & bits;
    *far = ahead < bytes ? va + ahead : va;
    return ahead < bytes || behind < length;
}

/* access: MMU_READ or MMU_WRITE. cm: cache maintenance, which reports its own address. */
static void watch(struct cpu *cpu, uint64_t va, uint64_t bytes, bool write, unsigned regime, const uint64_t *cm) {
    struct a64_cpu *c = a64(cpu);
    uint64_t far;
    if (!(c->debug.armed & A64_ARMED_WATCH) || !a64_debug_enabled(c))
        return;
    for (unsigned n = 0; n < watchpoints(c); n++) {
        if (!watchpoint_matches(c, n, va, bytes, write, regime == A64_EL0 ? 0 : 1, &far))
            continue;
        c->sys.far_el1 = cm ? *cm : far;
        a64_raise(cpu, c->el == 0 ? A64_EC_WATCHPOINT_LOWER : A64_EC_WATCHPOINT,
                  FSC_DEBUG | (write ? (uint32_t)ISS_WNR : 0) | (cm ? (uint32_t)ISS_CM : 0));
    }
}

void a64_watch(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access, unsigned regime) {
    watch(cpu, va, bytes, access == MMU_WRITE, regime, NULL);
}

void a64_watch_maintenance(struct cpu *cpu, uint64_t va, unsigned bytes, unsigned regime) {
    watch(cpu, va & ~(uint64_t)(bytes - 1), bytes, true, regime, &va);
}

/* --- what the translator is told -------------------------------------------------------------- */

static bool set_equal(const struct a64_break_set *a, const struct a64_break_set *b) { return !memcmp(a, b, sizeof *a); }

/* What the enabled breakpoints ask of translations. */
static struct a64_break_set breaks_now(const struct a64_cpu *c) {
    struct a64_break_set set;
    memset(&set, 0, sizeof set);
    for (unsigned n = 0; n < breakpoints(c); n++) {
        uint64_t bcr = c->sys.dbgbcr[n];
        uint32_t els = bcr & CR_E ? els_of(bcr) : 0;
        if (bt_of(bcr) == BT_ADDRESS && els)
            set.at[n] = (c->sys.dbgbvr[n] & MASK(56) & ~UINT64_C(3)) | els;
        else if (bt_of(bcr) == BT_CONTEXT && !(bcr & CR_LINKED))
            set.every |= els;
        else
            continue;
        set.els |= els;
    }
    return set;
}

/* The number of that set; one that was used before has its translations still. */
static uint32_t set_number(struct a64_cpu *c, const struct a64_break_set *set) {
    struct a64_debug *d = &c->debug;
    for (uint32_t i = 1; i < A64_BREAK_SETS; i++)
        if (set_equal(&d->sets[i], set))
            return i;
    do
        d->next_set = d->next_set % (A64_BREAK_SETS - 1) + 1;
    while (d->next_set == d->set);
    if (d->sets[d->next_set].els)
        engine_code_drop_modes(&c->c, A64_MODE_BREAKS(~0u) << A64_MODE_BREAKS_SHIFT,
                               d->next_set << A64_MODE_BREAKS_SHIFT);
    d->sets[d->next_set] = *set;
    return d->next_set;
}

static bool any_watchpoint(const struct a64_cpu *c) {
    for (unsigned n = 0; n < watchpoints(c); n++)
        if (c->sys.dbgwcr[n] & CR_E)
            return true;
    return false;
}

void a64_debug_changed(struct a64_cpu *c) {
    struct a64_debug *d = &c->debug;
    uint64_t mdscr = c->sys.mdscr_el1;
    bool locked = c->sys.oslsr_el1 & OSLSR_OSLK || c->sys.osdlr_el1 & 1;
    uint32_t armed = 0, set = 0;
    if (mdscr & MDSCR_SS)
        armed |= A64_ARMED_STEP;
    if (mdscr & MDSCR_MDE && any_watchpoint(c))
        armed |= A64_ARMED_WATCH;
    if (mdscr & MDSCR_MDE && !locked) {
        struct a64_break_set now = breaks_now(c);
        if (now.els) {
            set = set_number(c, &now);
            armed |= A64_ARMED_BREAK;
        }
    }
    if (locked)
        armed = 0;
    if (armed && mdscr & MDSCR_KDE)
        armed |= A64_ARMED_EL1;
    d->armed = armed;
    d->set = set;
    c->c.watch = (c->c.watch & ~(uint32_t)CPU_WATCH_GUEST) | (armed & A64_ARMED_WATCH ? (uint32_t)CPU_WATCH_GUEST : 0);
    a64_check_interrupts(c);
}

uint32_t a64_debug_mode(const struct a64_cpu *c) {
    const struct a64_debug *d = &c->debug;
    uint32_t mode = c->el && d->armed & A64_ARMED_EL1 ? A64_MODE_D : 0;
    if (!a64_debug_enabled(c))
        return mode;
    if (d->armed & A64_ARMED_STEP && d->ss)
        mode |= A64_MODE_STEP;
    if (d->armed & A64_ARMED_BREAK && d->sets[d->set].els >> c->el & 1)
        mode |= d->set << A64_MODE_BREAKS_SHIFT;
    if (d->armed & A64_ARMED_WATCH)
        mode |= A64_MODE_WATCH;
    return mode;
}

bool a64_breaks_at(const struct a64_cpu *c, uint32_t mode, uint64_t pc, bool first) {
    const struct a64_break_set *set = &c->debug.sets[A64_MODE_BREAKS(mode)];
    unsigned el = A64_MODE_EL(mode);
    if (first && set->every >> el & 1)
        return true;
    for (unsigned n = 0; n < A64_BREAKPOINTS; n++)
        if (set->at[n] >> el & 1 && !((set->at[n] ^ pc) & MASK(56) & ~UINT64_C(3)))
            return true;
    return false;
}

/* --- software step ---------------------------------------------------------------------------- */

/* A load-exclusive, or a pair of them (the same bits but for the size are CASP). */
static bool loads_exclusive(uint32_t insn) {
    return (insn & 0x3fc00000) == 0x08400000 && (!(insn & BIT(21)) || insn >> 31);
}

void a64_executed(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    c->debug.ss = 0;
    if (!a64_step_due(c))
        return;
    c->debug.step_iss = (uint32_t)(STEP_ISV | (loads_exclusive(c->step_insn) ? STEP_EX : 0));
    a64_check_interrupts(c);
}

void a64_take_step(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    uint32_t iss = c->debug.step_iss | FSC_DEBUG;
    a64_take_exception(cpu, 0, A64_ESR(c->el == 0 ? A64_EC_STEP_LOWER : A64_EC_STEP, iss), c->pc);
}

uint64_t a64_helper_check(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) {
    a64_check_interrupts(a64(cpu));
    return 0;
}
