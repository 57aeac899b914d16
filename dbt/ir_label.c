/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ir_label.c: loops with branches inside. A conditional exit that leads forward to an instruction of the same block
 * goes to a LABEL in front of it, if the block also branches to its own start, so that all of the loop is one block. So
 * does one that leads to code behind the loop's end which goes on to the next round, too (an "aside"): the block has
 * that behind the way out. A block is built without labels first, which shows where exits lead to, and then again.
 */
#include "graft/cpu.h"
#include "ir_priv.h"

bool ir_is_label(const struct ir_block *b, uint64_t pc) {
    for (unsigned k = 0; k < b->labels; k++)
        if (b->label[k] == pc)
            return true;
    return false;
}

/* The pc of the last INSN; one below the block's own if there is none. */
static uint64_t last_pc(const struct ir_block *b) {
    for (unsigned v = b->count - 1u; v; v--)
        if (b->inst[v].op == IR_INSN)
            return b->inst[v].imm;
    return b->pc - 1;
}
bool ir_label_is_ahead(const struct ir_block *b, uint64_t pc) { return ir_is_label(b, pc) && pc > last_pc(b); }

void ir_label(struct ir_block *b, uint64_t pc) {
    struct ir_inst i = {.op = IR_LABEL, .imm = pc};
    if (ir_is_label(b, pc))
        ir_forward(b, &i);
}

/* The instruction at pc, after v; 0: the block has none. */
static irv insn_at(const struct ir_block *b, unsigned v, uint64_t pc) {
    for (unsigned k = v + 1; k < b->count; k++)
        if (b->inst[k].op == IR_INSN && b->inst[k].imm == pc)
            return (irv)k;
    return 0;
}
/* An exit that always leaves ends a block. So as long as there are no labels, those that do not are of this kind. */
static irv always(struct ir_block *b) {
    return b->labels ? ir_const(b, IR_I32, 1) : ir_get(b, IR_I32, offsetof(struct cpu, flags_insn));
}
static bool is_always(const struct ir_block *b, const struct ir_inst *exit) {
    const struct ir_inst *cond = &b->inst[exit->a];
    return cond->op == IR_GET && cond->imm == offsetof(struct cpu, flags_insn);
}
/* Does the block, without labels, go on from v to its own start? simply: with no call, which no loop has (loop.c). */
static bool comes_back(const struct ir_block *b, irv v, bool simply) {
    for (unsigned k = v; k && k < b->count; k++) {
        const struct ir_inst *i = &b->inst[k];
        if (simply && (i->op == IR_CALL || i->op == IR_CALLV))
            return false;
        if ((i->op != IR_EXIT_IF && i->op != IR_GOTO) || i->flags & IR_EXIT_FAULT)
            continue;
        if (i->imm == b->pc)
            return true;
        if (i->op == IR_EXIT_IF && is_always(b, i) && !(k = insn_at(b, k, i->imm)))
            return false;
    }
    return false;
}
/* The first exit to the block's start; its end, if there is none. */
static irv first_way_back(const struct ir_block *b) {
    irv v = 1;
    while (v < b->count && !ir_goes_back(b, &b->inst[v]))
        v++;
    return v;
}
/* The labels for the block, if it is a loop: for branches inside, and for asides, which are behind the first way back.
 */
static void find_labels(struct ir_block *b, bool branches, bool asides) {
    const irv way_back = first_way_back(b);
    for (irv v = 1; way_back < b->count && v < b->count && b->labels < IR_MAX_LABELS; v++) {
        const struct ir_inst *i = &b->inst[v];
        if (i->op != IR_EXIT_IF || i->flags & IR_EXIT_FAULT || ir_is_label(b, i->imm))
            continue;
        const irv target = insn_at(b, v, i->imm);
        const bool aside = target > way_back;
        if ((aside ? asides : branches) && comes_back(b, target, aside))
            b->label[b->labels++] = i->imm;
    }
}
void ir_block_again(struct ir_block *b, bool branches, bool asides) {
    find_labels(b, branches, asides);
    const unsigned labels = b->labels;
    ir_block_reset(b, b->pc, b->mode);
    b->labels = (uint16_t)labels;
    b->flags = labels ? IR_BLOCK_LONG : 0;
}

/* Does an exit of the block lead to pc? */
static bool is_led_to(const struct ir_block *b, uint64_t pc) {
    for (unsigned v = 1; v < b->count; v++)
        if (b->inst[v].op == IR_EXIT_IF && b->inst[v].imm == pc)
            return true;
    return false;
}
irv ir_branch_over(struct ir_block *b, uint64_t next, uint64_t target) {
    if (!(b->flags & IR_BLOCK_LONG) || !is_led_to(b, next))
        return 0;
    if (b->labels && (!ir_is_label(b, next) || !ir_label_is_ahead(b, target)))
        return 0;
    ir_exit_if(b, always(b), target);
    return b->overflow ? 0 : b->count - 1u;
}

uint64_t ir_aside(const struct ir_block *b, uint64_t pc, uint64_t limit) {
    uint64_t next = limit;
    for (unsigned v = 1; b->flags & IR_BLOCK_LONG && v < b->count; v++) {
        const struct ir_inst *i = &b->inst[v];
        if (i->op == IR_EXIT_IF && !(i->flags & IR_EXIT_FAULT) && i->imm > pc && i->imm < next &&
            (!b->labels || ir_is_label(b, i->imm)))
            next = i->imm;
    }
    return next < limit ? next : 0;
}
irv ir_step_aside(struct ir_block *b, uint64_t target) {
    ir_exit_if(b, always(b), target);
    return b->overflow ? 0 : b->count - 1u;
}
