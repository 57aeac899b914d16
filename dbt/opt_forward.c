/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * opt_forward.c: what is known of guest state and of values while a block is built: GETs take the value that is known to be
 * in the state, operations are folded, equal ones are merged, PUTs that change nothing go.
 *
 * A block whose instructions were not added by ir_add_inst() is rebuilt in place by the same function. The old instructions
 * are moved up a little first and writing never overtakes reading: folding may use the gap between the two for helper
 * instructions.
 */
#include "graft/cpu.h"
#include "ir_priv.h"

#define GAP 32
_Static_assert(ABI_CPU_BYTES / 8 <= UINT16_MAX + 1, "ir_known.granule");

/* --- guest state -------------------------------------------------------------------------------- */
static inline struct ir_known *known_slot(struct ir_block *b, uint32_t granule) {
    return &b->priv.known[granule % ARRAY_LEN(b->priv.known)];
}

static inline const struct ir_known *known_at(struct ir_block *b, uint64_t offset) {
    const struct ir_known *k = known_slot(b, (uint32_t)(offset / 8));
    return k->value && k->granule == offset / 8 && k->epoch == b->priv.epoch ? k : NULL;
}

static void known_forget(struct ir_block *b) {
    if (++b->priv.epoch == 0) {
        memset(b->priv.known, 0, sizeof(b->priv.known));
        b->priv.epoch = 1;
    }
}

void ir_forward_reset(struct ir_block *b) {
    known_forget(b);
    b->priv.fp_floor = 0;
}

static void known_set(struct ir_block *b, uint64_t offset, irv v, unsigned type) {
    uint32_t granule = (uint32_t)(offset / 8);
    struct ir_known k = {.granule = (uint16_t)granule, .value = v, .epoch = b->priv.epoch, .type = (uint8_t)type};
    if (type == IR_V128) {
        *known_slot(b, granule) = k;
        k.granule++;
        k.sub = 1;
        *known_slot(b, granule + 1) = k;
        return;
    }
    k.sub = (uint8_t)(offset & 7);
    *known_slot(b, granule) = k;
}

static void known_drop(struct ir_block *b, uint64_t offset, uint64_t bytes) {
    for (uint64_t g = offset / 8; g <= (offset + bytes - 1) / 8; g++) {
        struct ir_known *k = known_slot(b, (uint32_t)g);
        if (k->granule == g)
            k->value = 0;
    }
}

static bool known_is(struct ir_block *b, uint64_t offset, unsigned type, irv v) {
    const struct ir_known *k = known_at(b, offset);
    if (!k || k->type != type || k->value != v || k->sub != (type == IR_V128 ? 0 : (offset & 7)))
        return false;
    if (type == IR_V128) {
        const struct ir_known *hi = known_at(b, offset + 8);
        return hi && hi->type == IR_V128 && hi->value == v && hi->sub == 1;
    }
    return true;
}

/* A GET of known bytes: returns the value, or rewrites *i to compute it, or records what this GET gives. */
static irv forward_get(struct ir_block *b, struct ir_inst *i) {
    const struct ir_known *k = known_at(b, i->imm);
    if (k) {
        if (known_is(b, i->imm, i->type, k->value))
            return k->value;
        if (i->type == IR_I32 && k->type == IR_I64 && (i->imm & 7) == 0) {
            *i = ir_make(ir_head(IR_TRUNC, IR_I32, 0, 0, 0, 0, k->value), 0, 0, 0, 0);
            return 0;
        }
        if (i->type == IR_I64 && k->type == IR_V128) {
            *i = ir_make(ir_head(IR_VGET, IR_I64, 3, k->sub, 0, 0, k->value), 0, 0, 0, 0);
            return 0;
        }
        if (ir_type_bytes(i->type) < ir_type_bytes(k->type))
            return 0; /* a wider value stays known */
    }
    known_set(b, i->imm, b->count, i->type);
    return 0;
}

/* A PUT: false if the state holds that value already. */
static bool forward_put(struct ir_block *b, const struct ir_inst *i) {
    unsigned type = b->inst[i->a].type;
    if (known_is(b, i->imm, type, i->a))
        return false;
    if (i->imm - offsetof(struct cpu, fp) < sizeof(struct fp_env))
        b->priv.fp_floor = b->count; /* status may have been cleared: operations before it count no longer */
    known_set(b, i->imm, i->a, type);
    return true;
}

/* What memory accesses and calls do to known state. */
static void forward_effects(struct ir_block *b, const struct ir_inst *i) {
    if (i->op == IR_STX) {
        known_drop(b, offsetof(struct cpu, excl_addr), 8);
    } else if (i->op == IR_CALL && !ir_is_pure(i)) {
        known_forget(b);
        b->priv.fp_floor = b->count;
    } else if (ir_sets_fp_status(i->op)) {
        known_drop(b, offsetof(struct cpu, fp), sizeof(struct fp_env));
    }
}

/* --- common subexpressions ------------------------------------------------------------------------ */
/* Conditions are not merged: one next to each consumer costs less than a bool kept in a register. */
static bool may_merge(const struct ir_inst *i) { return i->op != IR_COND && i->op != IR_CMP; }

/* An equal earlier operation, 0 if none; remembers that *i comes next. */
static irv find_equal(struct ir_block *b, const struct ir_inst *i) {
    struct ir_words x = ir_words_of(i), y;
    uint64_t imm = i->op == IR_PC ? x.w[2] - b->pc : x.w[2]; /* so that what collides does so at any pc */
    uint64_t h = (x.w[0] * UINT64_C(0x9e3779b97f4a7c15)) ^ (x.w[1] * UINT64_C(0xc2b2ae3d27d4eb4f)) ^
                 (imm * UINT64_C(0x165667b19e3779f9));
    irv *slot = &b->priv.equal[(h ^ h >> 32) >> 16 & (ARRAY_LEN(b->priv.equal) - 1)];
    irv v = *slot;
    if (v < b->count) {
        y = ir_words_of(&b->inst[v]);
        if (x.w[0] == y.w[0] && x.w[1] == y.w[1] && x.w[2] == y.w[2] &&
            (!ir_sets_fp_status(i->op) || v >= b->priv.fp_floor))
            return v;
    }
    *slot = b->count;
    return 0;
}

/* --- flags next to their arithmetic ------------------------------------------------------------------ */
static bool same_operation(const struct ir_inst *op, const struct ir_inst *flags) {
    switch (flags->op) {
    case IR_ADD_FLAGS: return op->op == IR_ADD && op->a == flags->a && op->b == flags->b;
    case IR_SUB_FLAGS: return op->op == IR_SUB && op->a == flags->a && op->b == flags->b;
    case IR_ADC_FLAGS: return op->op == IR_ADC && op->a == flags->a && op->b == flags->b && op->c == flags->c;
    case IR_SBC_FLAGS: return op->op == IR_SBC && op->a == flags->a && op->b == flags->b && op->c == flags->c;
    default: return false;
    }
}

/* append_flags(): appends a flags operation, moved up to its arithmetic if only PUTs and INSNs lie between. */
static irv append_flags(struct ir_block *b, const struct ir_inst *i) {
    unsigned at = b->count;
    while (at > 1 && b->count - at < 4 && (b->inst[at - 1].op == IR_PUT || b->inst[at - 1].op == IR_INSN))
        at--;
    bool match = i->op == IR_LOGIC_FLAGS ? at - 1 == i->a : same_operation(&b->inst[at - 1], i);
    if (!match || at == b->count)
        return ir_emit(b, i);
    for (unsigned k = b->count; k > at; k--)
        b->inst[k] = b->inst[k - 1];
    b->inst[at] = *i;
    b->count++;
    return (irv)at;
}

/* --- one instruction -------------------------------------------------------------------------------------- */
/* An exit: not if its condition never holds. If it always does, it ends the block: see cut(). */
static irv forward_exit(struct ir_block *b, const struct ir_inst *i) {
    bool known = b->inst[i->a].op == IR_CONST;
    unsigned at = b->count;
    if (known && b->inst[i->a].imm == 0)
        return 0;
    ir_emit(b, i);
    if (known && !i->b && b->count > at && !b->priv.ends)
        b->priv.ends = (uint16_t)at;
    return 0;
}

/* A pure operation: an existing value that it equals, or 0. */
static inline irv forward_pure(struct ir_block *b, struct ir_inst *i) {
    irv v = i->op == IR_CALL ? 0 : ir_fold(b, i);
    if (v)
        return v;
    if (i->op == IR_CONST)
        return ir_const(b, (enum ir_type)i->type, i->imm);
    return may_merge(i) ? find_equal(b, i) : 0;
}

/* What is none of the most frequent operations; apart, so that those need no stack. */
static __attribute__((noinline)) irv forward_other(struct ir_block *b, struct ir_inst *i) {
    if (i->op == IR_EXIT_IF)
        return forward_exit(b, i);
    if (ir_is_pure(i)) {
        irv v = forward_pure(b, i);
        if (v)
            return v;
    }
    forward_effects(b, i);
    return ir_is_flags_op(i->op) ? append_flags(b, i) : ir_emit(b, i);
}

irv ir_forward(struct ir_block *b, struct ir_inst *i) {
    if (UNLIKELY(b->overflow))
        return ir_emit(b, i); /* operands may be dummies: nothing to learn from them */
    switch (i->op) {
    case IR_INSN:
    case IR_LD:
    case IR_ST: return ir_emit(b, i);
    case IR_CONST: return ir_const(b, (enum ir_type)i->type, i->imm);
    case IR_PUT: return forward_put(b, i) ? ir_emit(b, i) : 0;
    case IR_GET: {
        irv v = forward_get(b, i);
        return v ? v : i->op == IR_GET ? ir_emit(b, i) : forward_other(b, i);
    }
    default: return forward_other(b, i);
    }
}

/* --- the pass -------------------------------------------------------------------------------------------- */
/* What follows an exit that always leaves is not reached. */
static void cut(struct ir_block *b) {
    if (LIKELY(!b->priv.ends))
        return;
    struct ir_inst *i = &b->inst[b->priv.ends];
    *i = (struct ir_inst){.op = IR_GOTO, .flags = i->flags, .imm = i->imm};
    b->count = b->priv.ends + 1;
    b->priv.ends = 0;
}

void opt_forward(struct ir_block *b) {
    cut(b);
    if (!b->priv.raw)
        return;
    unsigned count = b->count, gap = count + GAP <= IR_LIMIT ? GAP : 0;
    irv *map = b->priv.map;
    ir_forward_reset(b);
    b->count = 1;
    map[0] = 0;
    memmove(&b->inst[1 + gap], &b->inst[1], (count - 1u) * sizeof(b->inst[0]));
    for (unsigned v = 1; v < count; v++) {
        if (b->inst[v + gap].op == IR_NOP)
            continue;
        struct ir_inst i = ir_renamed(&b->inst[v + gap], map);
        b->priv.room = (uint16_t)(v + gap);
        map[v] = ir_forward(b, &i);
        if (i.op == IR_GOTO || b->priv.ends)
            break;
    }
    cut(b);
    b->priv.room = IR_LIMIT;
    b->priv.raw = false;
}
