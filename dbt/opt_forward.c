/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * opt_forward.c: the forward pass. Rebuilds the block in place: GETs take the
 * value that is known to be in the state, operations are folded again with
 * what that made known, equal ones are merged, PUTs that change nothing go.
 *
 * The old instructions are moved up a little first and writing never overtakes
 * reading: folding may use the gap between the two for helper instructions.
 */
#include "graft/cpu.h"
#include "ir_priv.h"

#define KNOWN_SLOTS 128
#define GAP 32

/* What 8 bytes of guest state hold: a value put there or got from there. */
struct known {
    uint32_t granule; /* offset / 8 */
    irv value;        /* 0: nothing known */
    uint8_t type;
    uint8_t sub; /* V128: which half; 4-byte types: the byte in the granule */
};

struct forward {
    struct ir_block *b;
    unsigned fp_floor; /* FP operations before this index saw another FP status: not merged with later ones */
    struct known known[KNOWN_SLOTS];
};

/* --- guest state -------------------------------------------------------------------------------- */
static inline struct known *known_slot(struct forward *f, uint32_t granule) { return &f->known[granule % KNOWN_SLOTS]; }

static const struct known *known_at(struct forward *f, uint64_t offset) {
    const struct known *k = known_slot(f, (uint32_t)(offset / 8));
    return k->value && k->granule == offset / 8 ? k : NULL;
}

static void known_set(struct forward *f, uint64_t offset, irv v, unsigned type) {
    uint32_t granule = (uint32_t)(offset / 8);
    struct known k = {.granule = granule, .value = v, .type = (uint8_t)type};
    if (type == IR_V128) {
        *known_slot(f, granule) = k;
        k.granule++;
        k.sub = 1;
        *known_slot(f, granule + 1) = k;
        return;
    }
    k.sub = (uint8_t)(offset & 7);
    *known_slot(f, granule) = k;
}

static void known_drop(struct forward *f, uint64_t offset, uint64_t bytes) {
    for (uint64_t g = offset / 8; g <= (offset + bytes - 1) / 8; g++) {
        struct known *k = known_slot(f, (uint32_t)g);
        if (k->granule == g)
            k->value = 0;
    }
}

static bool known_is(struct forward *f, uint64_t offset, unsigned type, irv v) {
    const struct known *k = known_at(f, offset);
    if (!k || k->type != type || k->value != v || k->sub != (type == IR_V128 ? 0 : (offset & 7)))
        return false;
    if (type == IR_V128) {
        const struct known *hi = known_at(f, offset + 8);
        return hi && hi->type == IR_V128 && hi->value == v && hi->sub == 1;
    }
    return true;
}

/* A GET of known bytes: returns the value, or rewrites *i to compute it, or records what this GET gives. */
static irv forward_get(struct forward *f, struct ir_inst *i) {
    const struct known *k = known_at(f, i->imm);
    if (k) {
        if (known_is(f, i->imm, i->type, k->value))
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
    known_set(f, i->imm, f->b->count, i->type);
    return 0;
}

/* A PUT: false if the state holds that value already. */
static bool forward_put(struct forward *f, const struct ir_inst *i) {
    unsigned type = f->b->inst[i->a].type;
    if (known_is(f, i->imm, type, i->a))
        return false;
    if (i->imm - offsetof(struct cpu, fp) < sizeof(struct fp_env))
        f->fp_floor = f->b->count; /* status may have been cleared: operations before it count no longer */
    known_set(f, i->imm, i->a, type);
    return true;
}

/* What memory accesses and calls do to known state. */
static void forward_effects(struct forward *f, const struct ir_inst *i) {
    if (i->op == IR_STX) {
        known_drop(f, offsetof(struct cpu, excl_addr), 8);
    } else if (i->op == IR_CALL && !ir_is_pure(i)) {
        memset(f->known, 0, sizeof(f->known));
        f->fp_floor = f->b->count;
    } else if (ir_sets_fp_status(i->op)) {
        known_drop(f, offsetof(struct cpu, fp), sizeof(struct fp_env));
    }
}

/* --- common subexpressions ------------------------------------------------------------------------ */
/* Conditions are not merged: one next to each consumer costs less than a bool kept in a register. */
static bool may_merge(const struct ir_inst *i) { return i->op != IR_COND && i->op != IR_CMP; }

/* An equal earlier operation, 0 if none; remembers that *i comes next. */
static irv find_equal(struct forward *f, const struct ir_inst *i) {
    struct ir_words x = ir_words_of(i), y;
    uint64_t h = (x.w[0] * UINT64_C(0x9e3779b97f4a7c15)) ^ (x.w[1] * UINT64_C(0xc2b2ae3d27d4eb4f)) ^
                 (x.w[2] * UINT64_C(0x165667b19e3779f9));
    irv *slot = &f->b->priv.equal[(h ^ h >> 32) >> 16 & (ARRAY_LEN(f->b->priv.equal) - 1)];
    irv v = *slot;
    if (v < f->b->count) {
        y = ir_words_of(&f->b->inst[v]);
        if (x.w[0] == y.w[0] && x.w[1] == y.w[1] && x.w[2] == y.w[2] && (!ir_sets_fp_status(i->op) || v >= f->fp_floor))
            return v;
    }
    *slot = f->b->count;
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

/* emit(): ir_append() without its checks: what is written never overtakes what is read. */
static inline irv emit(struct ir_block *b, const struct ir_inst *i) {
    irv v = b->count++;
    b->inst[v] = *i;
    return i->type == IR_NONE ? 0 : v;
}

/* append_flags(): appends a flags operation, moved up to its arithmetic if only PUTs and INSNs lie between. */
static irv append_flags(struct ir_block *b, const struct ir_inst *i) {
    unsigned at = b->count;
    while (at > 1 && b->count - at < 4 && (b->inst[at - 1].op == IR_PUT || b->inst[at - 1].op == IR_INSN))
        at--;
    bool match = i->op == IR_LOGIC_FLAGS ? at - 1 == i->a : same_operation(&b->inst[at - 1], i);
    if (!match || at == b->count)
        return emit(b, i);
    for (unsigned k = b->count; k > at; k--)
        b->inst[k] = b->inst[k - 1];
    b->inst[at] = *i;
    b->count++;
    return (irv)at;
}

/* --- the pass -------------------------------------------------------------------------------------------- */
/* One instruction, operands renamed already. Returns its value, 0 if none. */
static inline irv forward_one(struct forward *f, struct ir_inst *i) {
    struct ir_block *b = f->b;
    switch (i->op) {
    case IR_INSN:
    case IR_LD:
    case IR_ST: return emit(b, i);
    case IR_CONST: return ir_const(b, (enum ir_type)i->type, i->imm);
    case IR_PUT: return forward_put(f, i) ? emit(b, i) : 0;
    case IR_GET: {
        irv v = forward_get(f, i);
        if (v)
            return v;
        if (i->op == IR_GET)
            return emit(b, i);
        break;
    }
    case IR_EXIT_IF:
        if (b->inst[i->a].op != IR_CONST)
            break;
        if (b->inst[i->a].imm == 0)
            return 0;
        if (i->b)
            break;
        *i = (struct ir_inst){.op = IR_GOTO, .flags = i->flags, .imm = i->imm};
        break;
    default: break;
    }
    if (ir_is_pure(i)) {
        irv v = i->op == IR_CALL ? 0 : ir_fold(b, i);
        if (v)
            return v;
        if (i->op == IR_CONST)
            return ir_const(b, (enum ir_type)i->type, i->imm);
        if (may_merge(i)) {
            v = find_equal(f, i);
            if (v)
                return v;
        }
    }
    forward_effects(f, i);
    return ir_is_flags_op(i->op) ? append_flags(b, i) : emit(b, i);
}

void opt_forward(struct ir_block *b) {
    struct forward f;
    unsigned count = b->count, gap = count + GAP <= IR_LIMIT ? GAP : 0;
    irv *map = b->priv.map;
    memset(&f, 0, sizeof(f));
    f.b = b;
    b->count = 1;
    map[0] = 0;
    memmove(&b->inst[1 + gap], &b->inst[1], (count - 1u) * sizeof(b->inst[0]));
    for (unsigned v = 1; v < count; v++) {
        if (b->inst[v + gap].op == IR_NOP)
            continue;
        struct ir_inst i = ir_renamed(&b->inst[v + gap], map);
        b->priv.room = (uint16_t)(v + gap);
        map[v] = forward_one(&f, &i);
        if (i.op == IR_GOTO)
            break; /* the end, or an EXIT_IF that always leaves */
    }
    b->priv.room = IR_LIMIT;
}
