/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* opt_fold_vec.c: local simplification of one vector operation. Floating point is left alone: it may set status. */
#include "opt_fold.h"

/* Rewrites *i to a vector constant, if there is room for one more. */
static irv make_vconst(struct ir_block *b, struct ir_inst *i, uint64_t lo, uint64_t hi) {
    int slot = ir_vconst_slot(b, lo, hi);
    if (slot >= 0)
        *i = (struct ir_inst){.op = IR_VCONST, .type = IR_V128, .aux = (uint32_t)slot};
    return 0;
}

/* All bytes of v from this one up are zero (16 if nothing is known). */
static unsigned bytes_used(const struct ir_block *b, irv v) {
    const struct ir_inst *i = &b->inst[v];
    if (i->op == IR_VFROM || i->op == IR_VLOW || i->op == IR_LD)
        return 1u << i->lane;
    if (i->op >= IR_VFADD && i->op <= IR_VFMA && i->flags & IR_FP_MERGE)
        return 16;
    if (i->op >= IR_VFADD && i->op <= IR_VUTOF)
        return (unsigned)i->n << i->lane;
    return i->op == IR_VNARROW ? 8 : 16;
}

/* A splat or a zero-extended lane of a constant. */
static irv fold_from_const(struct ir_block *b, struct ir_inst *i) {
    v128 r = {{0}}, none = {{0}};
    ir_eval_vec(i, &r, &none, &none, &none, b->inst[i->a].imm);
    return make_vconst(b, i, r.u64[0], r.u64[1]);
}

static irv fold_vfrom(struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *a = &b->inst[i->a];
    if (a->op == IR_CONST)
        return fold_from_const(b, i);
    if (a->op == IR_VGET && a->n == 0 && a->lane == i->lane) {
        *i = (struct ir_inst){.op = IR_VLOW, .type = IR_V128, .lane = i->lane, .a = a->a};
        return opt_fold_vector(b, i);
    }
    return 0;
}

static irv fold_vget(struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *a = &b->inst[i->a];
    if (a->op == IR_VFROM && i->n == 0 && a->lane == 3 && i->lane == 3)
        return a->a;
    if (a->op == IR_VCONST) {
        v128 r = {{0}}, v = b->vconst[a->aux];
        ir_eval_vec(i, &r, &v, &v, &v, 0);
        *i = (struct ir_inst){.op = IR_CONST, .type = IR_I64, .imm = r.u64[0]};
    }
    return 0;
}

irv opt_fold_vector(struct ir_block *b, struct ir_inst *i) {
    switch (i->op) {
    case IR_VAND:
    case IR_VOR:
    case IR_VSMAX:
    case IR_VSMIN:
    case IR_VUMAX:
    case IR_VUMIN: return i->a == i->b ? i->a : 0;
    case IR_VXOR:
    case IR_VANDN:
    case IR_VSUB: return i->a == i->b ? make_vconst(b, i, 0, 0) : 0;
    case IR_VCMPEQ: return i->a == i->b ? make_vconst(b, i, ~UINT64_C(0), ~UINT64_C(0)) : 0;
    case IR_VBSL: return i->b == i->c ? i->b : 0;
    case IR_VNOT: return b->inst[i->a].op == IR_VNOT ? b->inst[i->a].a : 0;
    case IR_VSHLI:
    case IR_VSHRI:
    case IR_VSARI:
    case IR_VEXT: return i->n == 0 ? i->a : 0;
    case IR_VLOW: return bytes_used(b, i->a) <= 1u << i->lane ? i->a : 0;
    case IR_VFROM: return fold_vfrom(b, i);
    case IR_VDUP: return b->inst[i->a].op == IR_CONST ? fold_from_const(b, i) : 0;
    case IR_VGET: return fold_vget(b, i);
    default: return 0;
    }
}
