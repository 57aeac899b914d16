/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * analyse.c: the backward pass over a block: the next use of each value at each
 * point, operations that are not used, operations that their only consumer emits
 * (fused), results that may be computed in the pinned register they are PUT to, and
 * which memory accesses one probe may serve.
 */
#include "dbt/x86/backend.h"

/* A group of accesses that are behind the current instruction. */
struct open_group {
    irv root; /* 0: none */
    uint8_t regime;
    int64_t low, high; /* from root */
    bool write;
    uint8_t count;
};
#define OPEN_GROUPS 6

struct analysis {
    struct codegen *cg;
    irv pending[NREGS]; /* the value that a later PUT moves to the pin, while its definition may do it */
    regset some;        /* pins that have one */
    struct open_group group[OPEN_GROUPS];
    unsigned next_group;
};

/* What an operation needs to be looked at for, besides what ir_op_is says. */
enum look {
    LOOK_UNUSED = 1, /* it may go if nothing uses it */
    LOOK_STATE = 2,  /* what it does to pins and groups: see() */
    LOOK_FUSED = 4,  /* it may emit an operand: fusible() */
    LOOK_SILENT = 8, /* it emits nothing, and has no operands */
    LOOK_NOTHING = 16,
};
static const uint8_t look_at[IR_OP_COUNT] = {
    [IR_NOP] = LOOK_NOTHING,        [IR_INSN] = LOOK_NOTHING,      [IR_CONST] = LOOK_SILENT,
    [IR_PC] = LOOK_SILENT,          [IR_VCONST] = LOOK_SILENT,     [IR_GET] = LOOK_UNUSED | LOOK_STATE,
    [IR_PUT] = LOOK_STATE,          [IR_CALL] = LOOK_UNUSED,       [IR_CALLV] = LOOK_STATE,
    [IR_EXIT_IF] = LOOK_FUSED,      [IR_CMP] = LOOK_FUSED,         [IR_SELECT] = LOOK_FUSED,
    [IR_FLAGS_SELECT] = LOOK_FUSED, [IR_LOGIC_FLAGS] = LOOK_FUSED, [IR_ADD] = LOOK_FUSED,
    [IR_LABEL] = LOOK_STATE,
};

static bool removable(const struct ir_inst *in) {
    return in->op != IR_CALL || ((const struct ir_helper *)(uintptr_t)in->imm)->kind == IR_HELPER_PURE;
}

/* Values begin in no place; their uses in all are known if the optimiser has counted them. */
static void begin_values(struct codegen *cg) {
    const struct ir_block *b = cg->b;
    const struct value nowhere = {.reg = NO_REG, .target = NO_REG, .slot = -1, .home = -1};
    const unsigned count = b->count;
    if (LIKELY(b->priv.counted)) {
        for (unsigned i = 0; i < count; i++) {
            struct value v = nowhere;
            v.uses = b->priv.uses[i] < UINT8_MAX ? (uint8_t)b->priv.uses[i] : UINT8_MAX;
            cg->v[i] = v;
        }
        return;
    }
    for (unsigned i = 0; i < count; i++)
        cg->v[i] = nowhere;
    for (unsigned i = 1; i < b->count; i++) {
        const struct ir_inst *in = &b->inst[i];
        const irv operand[] = {in->a, in->b, in->c};
        for (unsigned k = 0; k < ARRAY_LEN(operand); k++)
            cg->v[operand[k]].uses += cg->v[operand[k]].uses != UINT8_MAX;
    }
}

static inline void record_one(struct codegen *cg, unsigned inst, unsigned k, irv v, unsigned at) {
    cg->next_use[inst][k] = cg->v[v].next_use;
    cg->v[v].next_use = (uint16_t)at;
}
/* Notes that the instruction `inst` reads its operands at `at`; what is noted for none takes no jump to avoid. */
static inline void record(struct codegen *cg, unsigned inst, unsigned at) {
    const struct ir_inst *in = &cg->b->inst[inst];
    record_one(cg, inst, 2, in->c, at);
    record_one(cg, inst, 1, in->b, at);
    record_one(cg, inst, 0, in->a, at);
}

static bool single(const struct codegen *cg, irv v, unsigned op) {
    return v && cg->v[v].uses == 1 && cg->b->inst[v].op == op;
}
static bool tests_bit(const struct codegen *cg, irv v) { return single(cg, v, IR_UBFX) && cg->b->inst[v].n == 1; }

/* A shift that an address can have. */
static bool scaled(const struct codegen *cg, irv v) {
    const struct ir_inst *in = &cg->b->inst[v];
    return single(cg, v, IR_SHL) && is_const(cg, in->b) && cg->b->inst[in->b].imm - 1 < 3;
}

/* The operand of instruction i that i shall emit itself, or 0. */
static irv fusible(const struct codegen *cg, const struct ir_inst *in) {
    const struct ir_inst *inst = cg->b->inst;
    int32_t imm;
    switch (in->op) {
    case IR_CMP:
        if (in->cc <= IR_CMP_NE && is_const(cg, in->b) && inst[in->b].imm == 0 &&
            (tests_bit(cg, in->a) || single(cg, in->a, IR_AND))) {
            return in->a;
        }
        break;
    case IR_EXIT_IF:
    case IR_SELECT:
    case IR_FLAGS_SELECT:
        if (tests_bit(cg, in->a) || single(cg, in->a, IR_AND))
            return in->a;
        break;
    case IR_LOGIC_FLAGS:
        if (single(cg, in->a, IR_AND))
            return in->a;
        break;
    case IR_ADD:
        if (scaled(cg, in->b) && in->a != in->b)
            return in->b;
        if (scaled(cg, in->a) && const_imm32(cg, in->b, in->type == IR_I64, &imm))
            return in->a;
        break;
    default: break;
    }
    return 0;
}

static void forget(struct analysis *an, unsigned pin) {
    if (an->some >> pin & 1) {
        an->cg->v[an->pending[pin]].target = NO_REG;
        an->some &= ~BIT(pin);
    }
}
static void forget_all(struct analysis *an) {
    for (regset m = an->some; m; m &= m - 1)
        forget(an, (unsigned)__builtin_ctzll(m));
}

static void see_put(struct analysis *an, const struct ir_inst *in) {
    struct codegen *cg = an->cg;
    unsigned pin = pin_at(cg, in->imm);
    if (pin == NO_REG)
        return;
    forget(an, pin);
    if (cg->v[in->a].target != NO_REG)
        forget(an, cg->v[in->a].target);
    if ((int32_t)in->imm == cg->pin_offset[pin] && inst_of(cg, in->a)->type == (pin < 16 ? IR_I64 : IR_V128)) {
        an->pending[pin] = in->a;
        an->some |= BIT(pin);
        cg->v[in->a].target = (uint8_t)pin;
    }
}

/* The definition of v: its target, if any, stays. A widening whose operand ends here passes the wish on. */
static void see_definition(struct analysis *an, unsigned i) {
    struct codegen *cg = an->cg;
    const struct ir_inst *in = &cg->b->inst[i];
    unsigned pin = cg->v[i].target;
    an->some &= ~BIT(pin);
    if (in->op == IR_ZEXT32 && cg->v[in->a].target == NO_REG) {
        an->pending[pin] = in->a;
        an->some |= BIT(pin);
        cg->v[in->a].target = (uint8_t)pin;
    }
}

/* --- groups of accesses ----------------------------------------------------------------------- */
irv address_root(const struct codegen *cg, const struct ir_inst *in, int64_t *offset) {
    irv v = in->a;
    *offset = in->op == IR_LD || in->op == IR_ST ? (int32_t)in->imm : 0;
    for (;;) {
        const struct ir_inst *at = inst_of(cg, v);
        if (at->op != IR_ADD || at->type != IR_I64 || !is_const(cg, at->b))
            return v;
        *offset += (int64_t)inst_of(cg, at->b)->imm;
        v = at->a;
    }
}

static struct open_group *group_of(struct analysis *an, irv root, unsigned regime) {
    for (unsigned i = 0; i < OPEN_GROUPS; i++)
        if (an->group[i].root == root && an->group[i].regime == regime)
            return &an->group[i];
    struct open_group *g = &an->group[an->next_group++ % OPEN_GROUPS];
    g->root = 0;
    return g;
}
static void see_access(struct analysis *an, unsigned i) {
    const struct ir_inst *in = &an->cg->b->inst[i];
    int64_t at, end;
    irv root = address_root(an->cg, in, &at);
    end = at + (1 << in->lane);
    struct open_group *g = group_of(an, root, in->cc), one = {root, in->cc, at, end, in->op == IR_ST, 1};
    int64_t low = g->low < at ? g->low : at, high = g->high > end ? g->high : end;
    if (g->root && high - low <= GROUP_BYTES && g->count < UINT8_MAX)
        *g = (struct open_group){root, in->cc, low, high, g->write || one.write, (uint8_t)(g->count + 1)};
    else
        *g = one;
    an->cg->group[i] =
        (struct group){(int16_t)(g->low - at), (int16_t)(g->high - at), g->write, (uint8_t)(g->count - 1)};
}
/* What lies between the accesses of a group. Loads from pages that may not be written go on to where a store might not
 * follow. */
static void see_exit(struct analysis *an) {
    for (unsigned i = 0; i < OPEN_GROUPS; i++)
        if (an->group[i].root && an->group[i].write)
            an->group[i].root = 0;
}
static void close_groups(struct analysis *an) {
    for (unsigned i = 0; i < OPEN_GROUPS; i++)
        an->group[i].root = 0;
}

/* An access of a span: it never faults. */
static bool is_sure(const struct codegen *cg, unsigned i, unsigned is) {
    return cg->steady.on && cg->steady.spans && is & IR_IS_MEMORY && i < cg->steady.end;
}
/* What an operation that is neither dead nor fused does to pins, and to groups. */
static inline void see(struct analysis *an, unsigned i, unsigned is) {
    const struct ir_inst *in = &an->cg->b->inst[i];
    if (is & (IR_IS_MEMORY | IR_IS_STATE | IR_IS_EXIT) && !UNLIKELY(is_sure(an->cg, i, is))) {
        forget_all(an);
        if (is & IR_IS_EXIT)
            see_exit(an);
    }
    switch (in->op) {
    case IR_PUT: see_put(an, in); break;
    case IR_GET: {
        unsigned pin = pin_at(an->cg, in->imm);
        if (pin != NO_REG)
            forget(an, pin);
        break;
    }
    case IR_LD:
    case IR_ST:
        if (!(in->flags & IR_MEM_ALIGN))
            see_access(an, i);
        break;
    case IR_LABEL:
        forget_all(an);
        close_groups(an);
        break;
    case IR_CALL:
    case IR_CALLV:
    case IR_STX: close_groups(an); break;
    default: break;
    }
}

void analyse_block(struct codegen *cg) {
    struct analysis an;
    const struct ir_inst *in = &cg->b->inst[cg->b->count];
    struct value *val = &cg->v[cg->b->count];
    an.cg = cg;
    an.some = 0;
    an.next_group = 0;
    close_groups(&an);
    begin_values(cg);
    for (unsigned i = cg->b->count; i-- > 1;) {
        in--;
        val--;
        const unsigned look = look_at[in->op], is = ir_op_is[in->op];
        if (look & LOOK_NOTHING || val->flags & V_FUSED)
            continue;
        if (!val->next_use && (look & LOOK_UNUSED || is & IR_IS_FREE) && removable(in)) {
            val->flags |= V_DEAD;
            continue;
        }
        if (val->target != NO_REG)
            see_definition(&an, i);
        if (look & LOOK_SILENT) {
            val->flags |= V_SILENT;
            continue;
        }
        if (look & LOOK_STATE || is & (IR_IS_MEMORY | IR_IS_STATE | IR_IS_EXIT))
            see(&an, i, is);
        irv fused = look & LOOK_FUSED ? fusible(cg, in) : 0;
        if (UNLIKELY(fused)) {
            cg->v[fused].flags |= V_FUSED;
            val->flags |= V_FUSES;
            record(cg, fused, i);
        }
        record(cg, i, i);
    }
}
