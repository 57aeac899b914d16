/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * flags.c: NZCV that is not stored because the code that follows overwrites it before it reads it.
 *
 * Should something else ask for it meanwhile (an exception, an interrupt), it is computed again from the instruction
 * that set it, whose encoding is in cpu->flags_insn, and the registers. So these must not have changed: flags_sources()
 * says which they are, and a64_flags_dead() which of them the code at an exit changes. Where they do change, it may be
 * computed from operands that were saved (ir_flags_saved()).
 */
#include "guests/a64/a64.h"

#define LOOK_AHEAD 10 /* instructions looked at to see whether flags are dead at an exit */
/* At one that goes back to the block's start: all of a loop, which would store its flags in each round. */
#define LOOK_AROUND 48

static unsigned field_rd(uint32_t insn) { return insn & 31; }
static unsigned field_rn(uint32_t insn) { return insn >> 5 & 31; }
static unsigned field_rm(uint32_t insn) { return insn >> 16 & 31; }
static uint32_t reg_bit(unsigned n) { return n == 31 ? 0 : 1u << n; }

/* --- what sets flags -------------------------------------------------------------------------- */
static bool sum_imm(uint32_t insn) { return (insn & 0x3f800000) == 0x31000000; }
static bool sum_reg(uint32_t insn) { return (insn & 0x3f200000) == 0x2b000000; }
static bool logic_imm(uint32_t insn) { return (insn & 0x7f800000) == 0x72000000; }
static bool logic_reg(uint32_t insn) { return (insn & 0x7f000000) == 0x6a000000; }

/* Sets of registers are by offset in the state, as the optimiser has them. */
static uint32_t by_offset(uint32_t regs) {
    unsigned n = A64_X(0) / 8 % 32;
    return n ? regs << n | regs >> (32 - n) : regs;
}

uint32_t a64_flags_sources(uint32_t insn) {
    unsigned rd = field_rd(insn), rn = field_rn(insn), rm = field_rm(insn);
    uint32_t regs = 0;
    if (sum_imm(insn))
        regs = 1u << rn; /* 31 is SP */
    else if (sum_reg(insn))
        regs = rd == rm && rd != 31 ? 0 /* lost */ : reg_bit(rn) | reg_bit(rm);
    else if (logic_imm(insn))
        regs = rd == 31 ? reg_bit(rn) : reg_bit(rd); /* of the result alone */
    else if (logic_reg(insn))
        regs = rd == 31 ? reg_bit(rn) | reg_bit(rm) : reg_bit(rd);
    return by_offset(regs);
}

bool a64_bit_mask(bool sf, unsigned n, unsigned imms, unsigned immr, uint64_t *mask) {
    unsigned sizes = n << 6 | (~imms & 63);
    if (sizes < 2)
        return false;
    unsigned len = 31 - (unsigned)__builtin_clz(sizes); /* log2 of the element size */
    unsigned size = 1u << len;
    unsigned s = imms & (size - 1), r = immr & (size - 1);
    if (s == size - 1)
        return false;
    uint64_t element = MASK(s + 1);
    if (r)
        element = (element >> r | element << (size - r)) & MASK(size);
    for (; size < 64; size *= 2)
        element |= element << size;
    *mask = sf ? element : (uint32_t)element;
    return true;
}

/* --- computing them later --------------------------------------------------------------------- */
static uint64_t x(const struct a64_cpu *c, unsigned n) { return n == 31 ? 0 : c->x[n]; }

static uint64_t shifted(const struct a64_cpu *c, uint32_t insn, unsigned width) {
    uint64_t v = x(c, field_rm(insn)) & MASK(width);
    unsigned n = insn >> 10 & 63;
    if (!n)
        return v;
    switch (insn >> 22 & 3) {
    case 0: return v << n & MASK(width);
    case 1: return v >> n;
    case 2: return (uint64_t)((int64_t)(v << (64 - width)) >> (64 - width) >> n) & MASK(width);
    default: return (v >> n | v << (width - n)) & MASK(width);
    }
}

static uint32_t nz(uint64_t v, unsigned width) {
    return (uint32_t)(v >> (width - 1) & 1) << 31 | (uint32_t)((v & MASK(width)) == 0) << 30;
}

static uint32_t flags_of_sum(const struct a64_cpu *c, uint32_t insn, unsigned width) {
    unsigned rd = field_rd(insn), rn = field_rn(insn);
    bool sub = insn >> 30 & 1, imm = sum_imm(insn);
    uint64_t b = imm ? (uint64_t)(insn >> 10 & 0xfff) << (insn >> 22 & 1 ? 12 : 0) : shifted(c, insn, width);
    uint64_t a = imm ? c->x[rn] : x(c, rn);
    if (rd == rn && rd != 31) /* it holds the result now */
        a = sub ? a + b : a - b;
    a &= MASK(width);
    uint64_t r = (sub ? a - b : a + b) & MASK(width);
    uint64_t overflow = sub ? (a ^ b) & (a ^ r) : ~(a ^ b) & (a ^ r);
    return nz(r, width) | (uint32_t)(sub ? a >= b : r < a) << 29 | (uint32_t)(overflow >> (width - 1) & 1) << 28;
}

static uint64_t logic_result(const struct a64_cpu *c, uint32_t insn, unsigned width) {
    uint64_t mask;
    if (field_rd(insn) != 31)
        return x(c, field_rd(insn));
    if (logic_reg(insn)) {
        mask = shifted(c, insn, width);
        return x(c, field_rn(insn)) & (insn >> 21 & 1 ? ~mask : mask);
    }
    return a64_bit_mask(width == 64, insn >> 22 & 1, insn >> 10 & 63, insn >> 16 & 63, &mask)
               ? x(c, field_rn(insn)) & mask
               : 0;
}

void a64_flags_settle(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    uint32_t insn = cpu->flags_insn;
    unsigned width = insn >> 31 ? 64 : 32;
    if (LIKELY(!insn))
        return;
    cpu->flags_insn = 0;
    if (insn < IR_FLAGS_CODES) {
        c->nzcv = ir_flags_pack(ir_flags_saved(insn, cpu->flags_operand[0], cpu->flags_operand[1]));
        return;
    }
    c->nzcv = ir_flags_pack(sum_imm(insn) || sum_reg(insn) ? flags_of_sum(c, insn, width)
                                                           : nz(logic_result(c, insn, width), width));
}

/* --- what code does with flags ---------------------------------------------------------------- */
enum use {
    KEEPS,
    KEEPS_MAY_FAULT,
    WRITES,
    FORKS, /* CBZ, TBZ: keeps them, both ways */
    OTHER, /* reads them, or who knows */
};

static bool is_nop(uint32_t insn) { return insn == 0xd503201f || (insn & 0xffffff3f) == 0xd503241f /* BTI */; }

static enum use use_reg(uint32_t insn) {
    switch (insn >> 24 & 31) {
    case 0x0a: /* logical */ return (insn >> 29 & 3) == 3 ? WRITES : KEEPS;
    case 0x0b: /* add, subtract */ return insn >> 29 & 1 ? WRITES : KEEPS;
    case 0x1a: /* one and two sources; the others read flags */ return (insn >> 21 & 7) == 6 ? KEEPS : OTHER;
    default: /* three sources */ return KEEPS;
    }
}

static enum use use_fp(uint32_t insn) {
    if ((insn & 0x5f200000) != 0x1e200000 || (insn & 0xc00) == 0x800)
        return KEEPS;
    if ((insn & 0xffa0fc07) == 0x1e202000) /* FCMP, FCMPE */
        return WRITES;
    return insn & 0x400 ? OTHER /* FCCMP, FCSEL */ : KEEPS;
}

static enum use use_of(uint32_t insn, bool fp_traps) {
    unsigned group = insn >> 25 & 15;
    if ((group & 14) == 8)
        return sum_imm(insn) || logic_imm(insn) ? WRITES : KEEPS;
    if ((group & 5) == 4)
        return KEEPS_MAY_FAULT; /* loads and stores */
    if ((group & 7) == 5)
        return use_reg(insn);
    if ((group & 7) == 7)
        return fp_traps ? OTHER : use_fp(insn);
    if ((insn & 0x7c000000) == 0x34000000)
        return FORKS;
    return is_nop(insn) ? KEEPS : OTHER;
}

/* Is it allocated? The usual ones are known to be; what is not can raise an exception, as a load can. */
static bool certain(uint32_t insn) {
    bool sf = insn >> 31, n = insn >> 22 & 1;
    unsigned opc = insn >> 29 & 3, immr = insn >> 16 & 63, imms = insn >> 10 & 63;
    uint64_t mask;
    switch (insn >> 23 & 63) {
    case 0x20:
    case 0x21:
    case 0x22: /* ADR, ADRP, ADD and SUB (immediate) */ return true;
    case 0x24: /* AND, ORR, EOR (immediate) */ return (sf || !n) && a64_bit_mask(sf, n, imms, immr, &mask);
    case 0x25: /* MOVN, MOVZ, MOVK */ return opc != 1 && (sf || !(insn >> 22 & 1));
    case 0x26: /* bit fields */ return opc != 3 && sf == n && (sf || (immr < 32 && imms < 32));
    case 0x14:
    case 0x15: /* logical (shifted register) */ return sf || imms < 32;
    case 0x16:
    case 0x17: /* ADD and SUB (shifted register) */
        return !(insn >> 21 & 1) && (insn >> 22 & 3) != 3 && (sf || imms < 32);
    default: return false;
    }
}

/* Registers that a load or store writes, or more. */
static uint32_t written_by_access(uint32_t insn) {
    unsigned rt = field_rd(insn), rn = field_rn(insn);
    bool vector = insn >> 26 & 1;
    if ((insn & 0x3a000000) == 0x28000000) { /* pairs */
        uint32_t regs = insn >> 23 & 1 ? 1u << rn : 0;
        return vector || !(insn >> 22 & 1) ? regs : regs | reg_bit(rt) | reg_bit(insn >> 10 & 31);
    }
    if ((insn & 0x3a000000) == 0x38000000 && (insn >> 24 & 1 || !(insn >> 21 & 1) || (insn >> 10 & 3) == 2)) {
        uint32_t regs = !(insn >> 24 & 1) && !(insn >> 21 & 1) && insn >> 10 & 1 ? 1u << rn : 0;
        return vector || !(insn >> 22 & 3) ? regs : regs | reg_bit(rt);
    }
    return 1u << rt | 1u << rn | 1u << (insn >> 10 & 31) | 1u << field_rm(insn);
}

static uint32_t written_by(uint32_t insn) {
    unsigned group = insn >> 25 & 15;
    bool to_int =
        (insn & 0x5f20fc00) == 0x1e200000 || (insn & 0x5f200000) == 0x1e000000 || (insn & 0xbfe08400) == 0x0e000400;
    if ((group & 5) == 4)
        return written_by_access(insn);
    return (group & 7) == 7 && !to_int ? 0 : 1u << field_rd(insn);
}

/* A look at the code at an exit. */
struct look {
    struct a64_trans *t;
    unsigned left;    /* instructions it may look at */
    uint32_t changed; /* registers that are not what they were at some place where flags may be asked for */
};

static uint32_t fetch(struct look *l, uint64_t pc) {
    struct a64_trans *t = l->t;
    uint32_t insn;
    __builtin_memcpy(&insn, (const char *)t->words + (int64_t)(pc - t->b->pc), sizeof insn);
    t->watch_lo = pc < t->watch_lo ? pc : t->watch_lo;
    t->watch_hi = pc + 4 > t->watch_hi ? pc + 4 : t->watch_hi;
    return insn;
}

static bool dead_at(struct look *l, uint64_t pc, uint32_t written) {
    const uint64_t first = l->t->b->pc - l->t->b->before;
    for (; l->left && pc - first < l->t->limit - first; pc += 4) {
        uint32_t insn = fetch(l, pc);
        enum use use = use_of(insn, l->t->mode & A64_MODE_FP_TRAP);
        l->left--;
        if (use == WRITES || use == OTHER)
            return use == WRITES;
        if (use != KEEPS || (written && !certain(insn)))
            l->changed |= written;
        if (use == FORKS) {
            bool tbz = insn >> 25 & 1;
            int64_t offset = (int64_t)((uint64_t)insn << (tbz ? 45 : 40)) >> (tbz ? 50 : 45);
            if (!dead_at(l, pc + 4 * (uint64_t)offset, written))
                return false;
        } else {
            written |= written_by(insn);
        }
    }
    return false;
}

bool a64_flags_dead(struct a64_trans *t, uint64_t pc, uint32_t *changed) {
    struct look l = {.t = t, .left = pc == t->b->pc ? LOOK_AROUND : LOOK_AHEAD};
    if (!(t->b->flags & IR_BLOCK_LAZY_FLAGS) || pc & 3 || !dead_at(&l, pc, 0))
        return false;
    *changed = by_offset(l.changed);
    return true;
}
