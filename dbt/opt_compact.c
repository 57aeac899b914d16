/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * opt_compact.c: the last pass. Closes the gaps that NOPs left, and moves a
 * condition with one consumer down to just before it, so that the backend can
 * fuse the two; not over anything that would make it keep two sets of flags.
 * A PUT of flags that an exit does not need moves behind it.
 */
#include "ir_priv.h"

#define MAX_HELD 4
#define LOOK_AHEAD 16

/* Conditions taken out and not yet placed. */
struct held {
    unsigned count;
    irv old[MAX_HELD];
    struct ir_inst inst[MAX_HELD];
};

/* Does the host code of an operation leave the host's flags alone (or nearly always)? */
static bool keeps_host_flags(unsigned op) {
    switch (op) {
    case IR_CONST:
    case IR_PC:
    case IR_VCONST:
    case IR_GET:
    case IR_INSN:
    case IR_NOP:
    case IR_TRUNC:
    case IR_ZEXT8:
    case IR_ZEXT16:
    case IR_ZEXT32:
    case IR_SEXT8:
    case IR_SEXT16:
    case IR_SEXT32:
    case IR_NOT: return true;
    default: return false;
    }
}

/* i is not moved yet; v is where compaction is: values before it are at their new places. */
static bool touches_flags(const struct ir_block *b, const struct ir_inst *i, unsigned v) {
    if (i->op == IR_PUT)
        return b->inst[i->a < v ? b->priv.map[i->a] : i->a].type == IR_FLAGS;
    return (i->op >= IR_ADD_FLAGS && i->op <= IR_COND) || i->op == IR_FCMP_FLAGS;
}

/* May the condition at v wait for its consumer? */
static bool may_sink(const struct ir_block *b, unsigned v, unsigned count) {
    bool cond = b->inst[v].op == IR_COND;
    for (unsigned k = v + 1; k < count && k <= v + LOOK_AHEAD; k++) {
        const struct ir_inst *i = &b->inst[k];
        if (i->a == v && (i->op == IR_SELECT || i->op == IR_EXIT_IF))
            return k != v + 1;
        if (i->a == v || i->b == v || i->c == v || touches_flags(b, i, v) || ir_op_is[i->op] & IR_IS_EXIT)
            return false;
        if (cond && !keeps_host_flags(i->op) && i->op != IR_PUT)
            return false;
    }
    return false;
}

/* May the PUT of flags at v wait until after the next conditional exit, whose target does not need it? They have to be
 * known there, though: see ir.h. */
static bool may_follow_exit(const struct ir_block *b, unsigned v, unsigned count) {
    uint32_t sources = b->inst[v].aux;
    for (unsigned k = v + 1; k < count && k <= v + LOOK_AHEAD; k++) {
        const struct ir_inst *i = &b->inst[k];
        if (i->op == IR_EXIT_IF)
            return i->flags & IR_EXIT_FLAGS_DEAD && sources && !(sources & i->aux);
        if (ir_op_is[i->op] & (IR_IS_MEMORY | IR_IS_STATE | IR_IS_EXIT) || (i->op == IR_GET && i->type == IR_FLAGS) ||
            (i->op == IR_PUT && (touches_flags(b, i, v) || sources >> i->imm / 8 % 32 & 1))) {
            return false;
        }
    }
    return false;
}

static void place(struct ir_block *b, unsigned old, const struct ir_inst *i) {
    struct ir_inst renamed = ir_renamed(i, b->priv.map);
    b->priv.map[old] = b->count;
    b->priv.uses[b->count] = b->priv.uses[old];
    b->inst[b->count++] = renamed;
}

/* Places the held condition that is operand a of *i. */
static void release(struct ir_block *b, struct held *h, irv a) {
    for (unsigned k = 0; k < h->count; k++) {
        if (h->old[k] == a) {
            place(b, a, &h->inst[k]);
            b->priv.uses[b->count - 1] = 1; /* as it was: where that was said another value's may be by now */
            h->count--;
            h->old[k] = h->old[h->count];
            h->inst[k] = h->inst[h->count];
            return;
        }
    }
}

/* Takes a condition out, if it may wait. */
static bool hold(struct ir_block *b, struct held *h, unsigned v, unsigned count) {
    if (b->priv.uses[v] != 1 || h->count == MAX_HELD || !may_sink(b, v, count))
        return false;
    h->old[h->count] = (irv)v;
    h->inst[h->count++] = b->inst[v];
    return true;
}

static bool puts_lazy_flags(const struct ir_block *b, const struct ir_inst *i) {
    return b->flags & IR_BLOCK_LAZY_FLAGS && b->inst[b->priv.map[i->a]].type == IR_FLAGS;
}

void opt_compact(struct ir_block *b) {
    struct held held;
    struct ir_inst put = {.op = IR_NOP}; /* of flags, to follow the next exit */
    unsigned count = b->count;
    uint32_t insn = 0, put_insn = 0;
    held.count = 0;
    b->count = 1;
    for (unsigned v = 1; v < count; v++) {
        struct ir_inst *i = &b->inst[v];
        bool behind = false;
        switch (i->op) {
        case IR_NOP: continue;
        case IR_INSN: insn = i->aux; break;
        case IR_COND:
        case IR_CMP:
            if (hold(b, &held, v, count))
                continue;
            break;
        case IR_PUT:
            if (!puts_lazy_flags(b, i) || !may_follow_exit(b, v, count))
                break;
            put = *i;
            put_insn = insn;
            continue;
        case IR_EXIT_IF:
            behind = put.op == IR_PUT;
            if (behind) {
                i->flags |= IR_EXIT_FLAGS_LATER;
                i->aux = put_insn;
            }
            break;
        default: break;
        }
        if (held.count)
            release(b, &held, i->a);
        place(b, v, i);
        if (behind) {
            place(b, v, &put);
            put.op = IR_NOP;
        }
    }
    b->priv.counted = true;
}
