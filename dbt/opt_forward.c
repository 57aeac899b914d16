/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * opt_forward.c: what is known of guest state and of values while a block is built: GETs take the value that is known
 * to be in the state, operations are folded, equal ones are merged, PUTs that change nothing go.
 *
 * A block whose instructions were not added by ir_add_inst() is rebuilt in place by the same function. The old
 * instructions are moved up a little first and writing never overtakes reading: folding may use the gap between the two
 * for helper instructions.
 */
#include "graft/cpu.h"
#include "ir_priv.h"

#define GAP 32
_Static_assert(ABI_CPU_BYTES / 8 <= UINT16_MAX + 1, "ir_known.key");

/* --- guest state ------------------------------------------------------------------------------ */
static inline struct ir_known *known_slot(struct ir_block *b, uint32_t granule) {
    return &b->priv.known[granule % ARRAY_LEN(b->priv.known)];
}

static inline uint32_t known_key(const struct ir_block *b, uint32_t granule) { return granule << 16 | b->priv.epoch; }

static inline const struct ir_known *known_at(struct ir_block *b, uint64_t offset) {
    const uint32_t granule = (uint32_t)(offset / 8);
    const struct ir_known *k = known_slot(b, granule);
    return k->key == known_key(b, granule) ? k : NULL;
}

static void known_forget(struct ir_block *b) {
    if (++b->priv.epoch == 0) {
        memset(b->priv.known, 0, sizeof(b->priv.known));
        b->priv.epoch = 1;
    }
}

void ir_forward_reset(struct ir_block *b) {
    known_forget(b);
    b->priv.fp_floor = b->priv.floor = 0;
}

static void known_set(struct ir_block *b, uint64_t offset, irv v, unsigned type) {
    uint32_t granule = (uint32_t)(offset / 8);
    struct ir_known k = {.key = known_key(b, granule), .value = v, .type = (uint8_t)type};
    if (type == IR_V128) {
        *known_slot(b, granule) = k;
        k.key = known_key(b, granule + 1);
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
        if (k->key >> 16 == g)
            k->key = 0;
    }
}

/* The value of that type that the bytes at offset hold, of which *k is known; 0: none. */
static inline irv known_value(struct ir_block *b, const struct ir_known *k, uint64_t offset, unsigned type) {
    if (!k || k->type != type || k->sub != (type == IR_V128 ? 0 : (offset & 7)))
        return 0;
    if (UNLIKELY(type == IR_V128)) {
        const struct ir_known *hi = known_at(b, offset + 8);
        return hi && hi->type == IR_V128 && hi->value == k->value && hi->sub == 1 ? k->value : 0;
    }
    return k->value;
}

/* A GET of bytes of which something else is known: rewrites *i to compute it, or records what this GET gives. */
static __attribute__((noinline)) void forward_get(struct ir_block *b, const struct ir_known *k, struct ir_inst *i) {
    if (k) {
        if (i->type == IR_I32 && k->type == IR_I64 && (i->imm & 7) == 0) {
            *i = ir_make(ir_head(IR_TRUNC, IR_I32, 0, 0, 0, 0, k->value), 0, 0, 0, 0);
            return;
        }
        if (i->type == IR_I64 && k->type == IR_V128) {
            *i = ir_make(ir_head(IR_VGET, IR_I64, 3, k->sub, 0, 0, k->value), 0, 0, 0, 0);
            return;
        }
        if (ir_type_bytes(i->type) < ir_type_bytes(k->type))
            return; /* a wider value stays known */
    }
    known_set(b, i->imm, b->count, i->type);
}

/* A PUT: false if the state holds that value already. */
static inline bool forward_put(struct ir_block *b, uint64_t offset, irv v) {
    unsigned type = b->inst[v].type;
    if (known_value(b, known_at(b, offset), offset, type) == v)
        return false;
    if (offset - offsetof(struct cpu, fp) < sizeof(struct fp_env))
        b->priv.fp_floor = b->count; /* status may have been cleared: operations before it count no longer */
    known_set(b, offset, v, type);
    return true;
}

/* What memory accesses and calls do to known state. */
static void forward_effects(struct ir_block *b, const struct ir_inst *i) {
    if (i->op == IR_STX) {
        known_drop(b, offsetof(struct cpu, excl_addr), 8);
    } else if (i->op == IR_CALL) {
        known_forget(b);
        b->priv.fp_floor = b->count;
    } else if (i->op == IR_LABEL) {
        known_forget(b);
        b->priv.fp_floor = b->priv.floor = b->count;
    }
}

/* --- common subexpressions -------------------------------------------------------------------- */
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
    if (v < b->count && v >= b->priv.floor) {
        y = ir_words_of(&b->inst[v]);
        if (x.w[0] == y.w[0] && x.w[1] == y.w[1] && x.w[2] == y.w[2] &&
            (!ir_sets_fp_status(i->op) || v >= b->priv.fp_floor))
            return v;
    }
    *slot = b->count;
    return 0;
}

/* --- flags next to their arithmetic ----------------------------------------------------------- */
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

/* --- one instruction -------------------------------------------------------------------------- */
/* An exit: not if its condition never holds. If it always does, it ends the block, unless that goes on at a label: see
 * cut(). */
static irv forward_exit(struct ir_block *b, const struct ir_inst *i) {
    bool known = b->inst[i->a].op == IR_CONST;
    unsigned at = b->count;
    if (known && b->inst[i->a].imm == 0)
        return 0;
    ir_emit(b, i);
    if (known && !i->b && !b->labels && b->count > at && !b->priv.ends)
        b->priv.ends = (uint16_t)at;
    return 0;
}

/* A pure operation. */
static irv forward_pure(struct ir_block *b, struct ir_inst *i) {
    irv v = i->op == IR_CALL ? 0 : ir_fold(b, i);
    if (v)
        return v;
    if (i->op == IR_CONST)
        return ir_const(b, (enum ir_type)i->type, i->imm);
    v = may_merge(i) ? find_equal(b, i) : 0;
    if (v)
        return v;
    if (ir_sets_fp_status(i->op))
        known_drop(b, offsetof(struct cpu, fp), sizeof(struct fp_env));
    return ir_is_flags_op(i->op) ? append_flags(b, i) : ir_emit(b, i);
}

static irv forward_other(struct ir_block *b, struct ir_inst *i) {
    if (i->op == IR_EXIT_IF)
        return forward_exit(b, i);
    forward_effects(b, i);
    return ir_emit(b, i);
}

/* After an overflow operands may be dummies: nothing to learn from them. */
irv ir_forward(struct ir_block *b, struct ir_inst *i) {
    if (UNLIKELY(b->overflow))
        return ir_emit(b, i);
    switch (i->op) {
    case IR_INSN:
    case IR_LD:
    case IR_ST: return ir_emit(b, i);
    case IR_CONST: return ir_const(b, (enum ir_type)i->type, i->imm);
    case IR_PUT: return forward_put(b, i->imm, i->a) ? ir_emit(b, i) : 0;
    case IR_GET: return ir_get(b, (enum ir_type)i->type, i->imm);
    default: return ir_is_pure(i) ? forward_pure(b, i) : forward_other(b, i);
    }
}

irv ir_get(struct ir_block *b, enum ir_type t, size_t offset) {
    const struct ir_known *k = known_at(b, offset);
    irv v = UNLIKELY(b->overflow) ? 0 : known_value(b, k, offset, t);
    if (v)
        return v;
    struct ir_inst i = ir_make(ir_head(IR_GET, t, 0, 0, 0, 0, 0), 0, 0, 0, offset);
    if (LIKELY(!b->overflow))
        forward_get(b, k, &i);
    return i.op == IR_GET ? ir_emit(b, &i) : forward_pure(b, &i);
}

void ir_put(struct ir_block *b, size_t offset, irv v) {
    if (LIKELY(!b->overflow) && !forward_put(b, offset, v))
        return;
    struct ir_inst i = ir_make(ir_head(IR_PUT, IR_NONE, 0, 0, 0, 0, v), 0, 0, 0, offset);
    ir_emit(b, &i);
}

/* --- the pass --------------------------------------------------------------------------------- */
/* What follows an exit that always leaves is not reached. */
static void cut(struct ir_block *b) {
    if (LIKELY(!b->priv.ends))
        return;
    struct ir_inst *i = &b->inst[b->priv.ends];
    *i = (struct ir_inst){.op = IR_GOTO, .flags = i->flags, .aux = i->aux, .imm = i->imm};
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
