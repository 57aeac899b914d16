/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir_priv.h: what the files that implement ir.h share among themselves. */
#ifndef GRAFT_IR_PRIV_H
#define GRAFT_IR_PRIV_H

#include "graft/ir.h"
#include "graft/rt.h"

/* The last slots of ir_block.inst hold one dummy value of each type, which stand for what did not fit; before them is a
 * reserve that only ends of blocks may use, so that a translator can always close the block. */
#define IR_DUMMY_BASE (IR_MAX_INSTS - 8)
#define IR_END_LIMIT IR_DUMMY_BASE
#define IR_LIMIT (IR_END_LIMIT - 24)

/* Operations from VFADD on, and CALLV, may set floating-point status: they are never removed. */
#define SETS_FP_STATUS(op) ((op) >= IR_VFADD || (op) == IR_CALLV)
static inline bool ir_sets_fp_status(unsigned op) { return SETS_FP_STATUS(op); }
static inline bool ir_is_flags_op(unsigned op) { return op >= IR_ADD_FLAGS && op <= IR_LOGIC_FLAGS; }
static inline const struct ir_helper *ir_helper_of(const struct ir_inst *i) {
    return (const struct ir_helper *)(uintptr_t)i->imm;
}
/* ir_is_pure(): may be removed when unused (unless ir_sets_fp_status()) and merged with an equal one. */
static inline bool ir_is_pure(const struct ir_inst *i) {
    return ir_op_is[i->op] & IR_IS_PURE || (i->op == IR_CALL && ir_helper_of(i)->kind == IR_HELPER_PURE);
}
static inline unsigned ir_type_bytes(unsigned type) {
    return type == IR_V128 ? 16 : type == IR_I64 ? 8 : type == IR_NONE ? 0 : 4;
}
static inline uint64_t ir_type_mask(unsigned type) { return type == IR_I32 ? 0xffffffffu : ~UINT64_C(0); }

/* Instructions are made, renamed and copied by words of 8 bytes: reading as a whole what was just written in parts
 * makes the processor wait for its store buffer, which was a sixth of the time that a translation takes. */
struct ir_words {
    uint64_t w[3];
};
_Static_assert(sizeof(struct ir_inst) == sizeof(struct ir_words) && offsetof(struct ir_inst, a) == 6 &&
                   offsetof(struct ir_inst, b) == 8 && offsetof(struct ir_inst, aux) == 12 &&
                   offsetof(struct ir_inst, imm) == 16,
               "see below");
static inline struct ir_words ir_words_of(const struct ir_inst *i) {
    struct ir_words x;
    __builtin_memcpy(&x, i, sizeof(x));
    return x;
}
static inline struct ir_inst ir_of_words(uint64_t w0, uint64_t w1, uint64_t w2) {
    struct ir_words x = {{w0, w1, w2}};
    struct ir_inst i;
    __builtin_memcpy(&i, &x, sizeof(i));
    return i;
}
/* ir_make(): ir_head() has the first six fields and a. */
static inline uint64_t ir_head(unsigned op, unsigned type, unsigned lane, unsigned n, unsigned cc, unsigned flags,
                               irv a) {
    return op | type << 8 | lane << 16 | (uint64_t)n << 24 | (uint64_t)cc << 32 | (uint64_t)flags << 40 |
           (uint64_t)a << 48;
}
static inline struct ir_inst ir_make(uint64_t head, irv b, irv c, uint32_t aux, uint64_t imm) {
    return ir_of_words(head, b | (uint32_t)c << 16 | (uint64_t)aux << 32, imm);
}
/* ir_renamed(): *i with other names for its operands. */
static inline struct ir_inst ir_renamed(const struct ir_inst *i, const irv *map) {
    struct ir_words x = ir_words_of(i);
    uint64_t a = map[x.w[0] >> 48], b = map[x.w[1] & 0xffff], c = map[x.w[1] >> 16 & 0xffff];
    return ir_of_words((x.w[0] & MASK(48)) | a << 48, (x.w[1] & ~MASK(32)) | b | c << 16, x.w[2]);
}

/* ir_emit(): puts *i at the end as it is: for what is simplified already. ir_emit_late(): the same in the reserve. */
irv ir_emit_late(struct ir_block *b, const struct ir_inst *i);
static inline irv ir_emit(struct ir_block *b, const struct ir_inst *i) {
    if (UNLIKELY(b->count >= IR_LIMIT))
        return ir_emit_late(b, i);
    b->inst[b->count++] = *i;
    return i->type == IR_NONE ? 0 : b->count - 1;
}
/* ir_label(): the LABEL of the instruction at pc, if it has one. ir_label_is_ahead(): is that of a later one, and has
 * it one (dbt/ir_label.c)? */
void ir_label(struct ir_block *b, uint64_t pc);
bool ir_label_is_ahead(const struct ir_block *b, uint64_t pc);
/* ir_append(): the same for what is not: opt_forward() is to look at the block. */
irv ir_append(struct ir_block *b, const struct ir_inst *i);
/* ir_forward(): ir_add_inst(), which may change *i. ir_forward_reset(): nothing is known of the state
 * (dbt/opt_forward.c). */
irv ir_forward(struct ir_block *b, struct ir_inst *i);
void ir_forward_reset(struct ir_block *b);
/* ir_vconst_slot(): index of a vector constant in b->vconst, -1 when the table is full. */
int ir_vconst_slot(struct ir_block *b, uint64_t lo, uint64_t hi);
/* ir_eval(): value of an integer or flags operation (dbt/ir_eval.c). t: type of operand a (SELECT: of the result).
 * A FLAGS value is NZCV in bits 31..28. */
uint64_t ir_eval(const struct ir_inst *i, unsigned t, uint64_t a, uint64_t b, uint64_t c);
bool ir_eval_cond(unsigned cond, uint32_t nzcv);
/* ir_eval_vec(): value of a vector operation that is not floating point (dbt/ir_interp_vec.c). x: integer operand. */
void ir_eval_vec(const struct ir_inst *i, v128 *r, const v128 *a, const v128 *b, const v128 *c, uint64_t x);

/* ir_fold(): simplifies *i, about to be appended to b. Returns the existing value that it equals, or 0; then *i,
 * perhaps rewritten, is to be appended. May append helper instructions below b->priv.room (dbt/opt_fold.c). */
irv ir_fold(struct ir_block *b, struct ir_inst *i);

/* Passes, in the order in which ir_optimise() runs them. */
void opt_forward(
    struct ir_block *b); /* what ir_add_inst() does, for blocks that were not made by it (dbt/opt_forward.c) */
void opt_dead(struct ir_block *b); /* dead PUTs and values become NOPs (dbt/opt_dead.c); fills priv.uses */

#endif
