/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_branch.c: branches. */
#include "guests/a64/a64.h"

#include "a64_decode.h"

/* target(): pc plus a signed word offset of that many bits. */
static uint64_t target(const struct a64_trans *t, uint32_t imm, unsigned bits) {
    return t->pc + (uint64_t)((int64_t)((uint64_t)imm << (64 - bits)) >> (62 - bits));
}

bool trans_B(struct a64_trans *t, const struct arg_B *a) {
    a64_branch(t, target(t, a->imm, 26));
    return true;
}

static void put_link(struct a64_trans *t) {
    a64_put_x(t, 30, ir_pc(t->b, t->pc + 4));
    ir_ras_push(t->b, t->pc + 4);
}

bool trans_BL(struct a64_trans *t, const struct arg_BL *a) {
    put_link(t);
    a64_goto(t, target(t, a->imm, 26));
    return true;
}

bool trans_CBZ(struct a64_trans *t, const struct arg_CBZ *a) {
    irv v = a64_get_x(t, a->rt, a->sf);
    irv zero = ir_const(t->b, a->sf ? IR_I64 : IR_I32, 0);
    a64_branch_if(t, ir_cmp(t->b, a->op ? IR_CMP_NE : IR_CMP_EQ, v, zero), target(t, a->imm, 19));
    return true;
}

bool trans_TBZ(struct a64_trans *t, const struct arg_TBZ *a) {
    irv bit = ir_op2i(t->b, IR_AND, a64_get_x(t, a->rt, a->b5), BIT(a->b40 + 32 * a->b5));
    irv zero = ir_const(t->b, a->b5 ? IR_I64 : IR_I32, 0);
    a64_branch_if(t, ir_cmp(t->b, a->op ? IR_CMP_NE : IR_CMP_EQ, bit, zero), target(t, a->imm, 14));
    return true;
}

bool trans_B_cond(struct a64_trans *t, const struct arg_B_cond *a) {
    if (a->cond >= IR_AL)
        a64_branch(t, target(t, a->imm, 19));
    else
        a64_branch_if(t, ir_cond(t->b, a->cond, ir_get(t->b, IR_FLAGS, A64_NZCV)), target(t, a->imm, 19));
    return true;
}

bool trans_BR(struct a64_trans *t, const struct arg_BR *a) {
    a64_retire(t);
    ir_goto_reg(t->b, a64_get_x(t, a->rn, true), IR_JUMP_PLAIN);
    t->done = true;
    return true;
}

bool trans_BLR(struct a64_trans *t, const struct arg_BLR *a) {
    irv to = a64_get_x(t, a->rn, true);
    put_link(t);
    a64_retire(t);
    ir_goto_reg(t->b, to, IR_JUMP_CALL);
    t->done = true;
    return true;
}

bool trans_RET(struct a64_trans *t, const struct arg_RET *a) {
    a64_retire(t);
    ir_goto_reg(t->b, a64_get_x(t, a->rn, true), IR_JUMP_RET);
    t->done = true;
    return true;
}
