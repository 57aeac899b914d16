/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ir_label.c: loops with branches inside. A conditional exit that leads forward to an instruction of the same block
 * goes to a LABEL in front of it, if the block also branches to its own start, so that all of the loop is one block. A
 * block is built without labels first, which shows where exits lead to, and then again.
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

/* Has the block an instruction at pc, after v? */
static bool has_insn(const struct ir_block *b, irv v, uint64_t pc) {
    for (unsigned k = v + 1u; k < b->count; k++)
        if (b->inst[k].op == IR_INSN && b->inst[k].imm == pc)
            return true;
    return false;
}
/* The labels for the block, if it is a loop. */
static unsigned find_labels(struct ir_block *b) {
    bool loops = false;
    for (unsigned v = 1; v < b->count; v++) {
        const struct ir_inst *i = &b->inst[v];
        if ((i->op != IR_EXIT_IF && i->op != IR_GOTO) || i->flags & IR_EXIT_FAULT)
            continue;
        loops |= i->imm == b->pc;
        if (i->op == IR_EXIT_IF && b->labels < IR_MAX_LABELS && !ir_is_label(b, i->imm) && has_insn(b, (irv)v, i->imm))
            b->label[b->labels++] = i->imm;
    }
    return loops ? b->labels : 0;
}
void ir_block_again(struct ir_block *b) {
    const unsigned labels = find_labels(b);
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
    /* Without labels yet an exit that always leaves would end the block. */
    irv cond = b->labels ? ir_const(b, IR_I32, 1) : ir_get(b, IR_I32, offsetof(struct cpu, flags_insn));
    ir_exit_if(b, cond, target);
    return b->overflow ? 0 : b->count - 1u;
}
