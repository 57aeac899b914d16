/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* opt_fold.c: local simplification of one integer or flags operation, from its operands' definitions. */
#include "ir_priv.h"
#include "opt_fold.h"

/* --- rewriting in place ----------------------------------------------------------------------- */
static irv make_const(struct ir_inst *i, uint64_t imm) {
    *i = ir_make(ir_head(IR_CONST, i->type, 0, 0, 0, 0, 0), 0, 0, 0, imm & ir_type_mask(i->type));
    return 0;
}

static irv make_unary(struct ir_block *b, struct ir_inst *i, enum ir_op op, irv a) {
    *i = ir_make(ir_head(op, i->type, 0, 0, 0, 0, a), 0, 0, 0, 0);
    return ir_fold(b, i);
}

static irv make_binary(struct ir_block *b, struct ir_inst *i, enum ir_op op, irv a, irv c) {
    *i = ir_make(ir_head(op, i->type, 0, 0, 0, 0, a), c, 0, 0, 0);
    return ir_fold(b, i);
}

/* A value for a helper instruction, 0 if there is no room for it. */
static irv add_const(struct ir_block *b, unsigned type, uint64_t imm) {
    return b->count < b->priv.room ? ir_const(b, (enum ir_type)type, imm) : 0;
}

static irv add_unary(struct ir_block *b, enum ir_op op, unsigned type, irv a) {
    struct ir_inst i = ir_make(ir_head(op, type, 0, 0, 0, 0, a), 0, 0, 0, 0);
    if (b->count >= b->priv.room)
        return 0;
    irv v = ir_fold(b, &i);
    if (v)
        return v;
    return b->count < b->priv.room ? ir_emit(b, &i) : 0;
}

static irv make_shift(struct ir_block *b, struct ir_inst *i, enum ir_op op, irv a, unsigned amount) {
    irv c = add_const(b, i->type, amount);
    return c ? make_binary(b, i, op, a, c) : 0;
}

/* --- what is known of a value ----------------------------------------------------------------- */
static bool is_const(const struct ir_block *b, irv v, uint64_t imm) {
    return b->inst[v].op == IR_CONST && b->inst[v].imm == imm;
}

static bool is_bool(const struct ir_block *b, irv v) { return b->inst[v].op == IR_CMP || b->inst[v].op == IR_COND; }

/* bits_used(): all bits of v from this one up are zero (not exact; 64 if nothing is known). */
static unsigned bits_used(const struct ir_block *b, irv v) {
    const struct ir_inst *i = &b->inst[v];
    switch (i->op) {
    case IR_CONST: return i->imm == 0 ? 0 : 64 - (unsigned)__builtin_clzll(i->imm);
    case IR_CMP:
    case IR_COND: return 1;
    case IR_ZEXT8: return 8;
    case IR_ZEXT16: return 16;
    case IR_ZEXT32: return bits_used(b, i->a);
    case IR_CLZ: return 7;
    case IR_UBFX: return i->n;
    case IR_AND: return b->inst[i->b].op == IR_CONST ? bits_used(b, i->b) : i->type == IR_I32 ? 32 : 64;
    case IR_SHR:
        if (b->inst[i->b].op == IR_CONST) {
            unsigned width = i->type == IR_I32 ? 32 : 64;
            return width - ((unsigned)b->inst[i->b].imm & (width - 1));
        }
        break;
    case IR_LD:
        if (!(i->flags & IR_MEM_SEXT) && i->lane < 3)
            return 8u << i->lane;
        break;
    case IR_VGET:
    case IR_ATOMIC:
    case IR_CAS: return 8u << i->lane;
    default: break;
    }
    return i->type == IR_I32 ? 32 : 64;
}

/* Are the upper half's bits of v (I64) those of bit 31? */
static bool is_sext32(const struct ir_block *b, irv v) {
    const struct ir_inst *i = &b->inst[v];
    switch (i->op) {
    case IR_CONST: return (uint64_t)(int64_t)(int32_t)i->imm == i->imm;
    case IR_SEXT8:
    case IR_SEXT16:
    case IR_SEXT32: return true;
    case IR_LD: return i->lane < 2 || (i->lane == 2 && i->flags & IR_MEM_SEXT);
    default: return bits_used(b, v) < 32;
    }
}

/* --- integer operations ----------------------------------------------------------------------- */
/* What is off the pc by a constant is off it by another with one added; not by any, see codegen.h. */
static bool fold_pc(const struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *pc = &b->inst[i->a], *by = &b->inst[i->b];
    if (pc->op != IR_PC || by->op != IR_CONST)
        return false;
    uint64_t value = i->op == IR_ADD ? pc->imm + by->imm : pc->imm - by->imm;
    if (value - b->pc + IR_PC_NEAR > 2 * IR_PC_NEAR)
        return false;
    *i = ir_make(ir_head(IR_PC, IR_I64, 0, 0, 0, 0, 0), 0, 0, 0, value);
    return true;
}

/* If left and right are x << n and x >> width - n: x, and how far to the right it is rotated; else 0. */
static irv rotated(const struct ir_block *b, irv left, irv right, unsigned *amount) {
    const struct ir_inst *l = &b->inst[left], *r = &b->inst[right];
    unsigned width = l->type == IR_I32 ? 32 : 64;
    if (l->op != IR_SHL || r->op != IR_SHR || l->a != r->a || b->inst[l->b].op != IR_CONST ||
        b->inst[r->b].op != IR_CONST)
        return 0;
    *amount = (unsigned)b->inst[r->b].imm;
    return b->inst[l->b].imm - 1 < width - 1 && b->inst[l->b].imm + *amount == width ? l->a : 0;
}

/* OR, XOR or ADD of the two: a rotation, for guests without such an instruction. RISC-V's halves of one of 32 bits are
 * extended first, of which the left one alone may be negative. */
static irv fold_rotation(struct ir_block *b, struct ir_inst *i) {
    irv x = i->a, y = i->b;
    unsigned amount;
    bool extended = b->inst[x].op == IR_SEXT32 && b->inst[y].op == IR_SEXT32;
    if (extended) {
        x = b->inst[x].a;
        y = b->inst[y].a;
    }
    irv v = rotated(b, x, y, &amount);
    if (!v)
        v = rotated(b, y, x, &amount);
    if (!v || b->count + 2 > b->priv.room)
        return 0;
    if (!extended)
        return make_shift(b, i, IR_ROR, v, amount);
    irv k = add_const(b, IR_I32, amount);
    struct ir_inst ror = ir_make(ir_head(IR_ROR, IR_I32, 0, 0, 0, 0, v), k, 0, 0, 0);
    return make_unary(b, i, IR_SEXT32, ir_emit(b, &ror));
}

static irv fold_add_sub(struct ir_block *b, struct ir_inst *i) {
    if (is_const(b, i->b, 0))
        return i->a;
    if (fold_pc(b, i))
        return 0;
    if (i->op == IR_ADD)
        return fold_rotation(b, i);
    if (i->op == IR_SUB) {
        if (i->a == i->b)
            return make_const(i, 0);
        if (is_const(b, i->a, 0))
            return make_unary(b, i, IR_NEG, i->b);
    }
    return 0;
}

static irv fold_mul_div(struct ir_block *b, struct ir_inst *i) {
    if (b->inst[i->b].op != IR_CONST)
        return 0;
    uint64_t k = b->inst[i->b].imm;
    bool power = k != 0 && (k & (k - 1)) == 0;
    unsigned log2 = power ? (unsigned)__builtin_ctzll(k) : 0;
    if (k == 0)
        return make_const(i, 0);
    switch (i->op) {
    case IR_MUL: return k == 1 ? i->a : power ? make_shift(b, i, IR_SHL, i->a, log2) : 0;
    case IR_UDIV: return k == 1 ? i->a : power ? make_shift(b, i, IR_SHR, i->a, log2) : 0;
    case IR_MULHU: return k == 1 ? make_const(i, 0) : power ? make_shift(b, i, IR_SHR, i->a, 64 - log2) : 0;
    case IR_SDIV: return k == 1 ? i->a : 0;
    default: return 0;
    }
}

static irv fold_and(struct ir_block *b, struct ir_inst *i) {
    if (i->a == i->b)
        return i->a;
    if (b->inst[i->b].op != IR_CONST)
        return 0;
    uint64_t k = b->inst[i->b].imm;
    if (k == 0)
        return make_const(i, 0);
    /* A low mask that covers all that may be set. */
    if ((k & (k + 1)) == 0 && bits_used(b, i->a) <= 64 - (unsigned)__builtin_clzll(k))
        return i->a;
    if (k == 0xff)
        return make_unary(b, i, IR_ZEXT8, i->a);
    return k == 0xffff ? make_unary(b, i, IR_ZEXT16, i->a) : 0;
}

static irv fold_logic(struct ir_block *b, struct ir_inst *i) {
    uint64_t ones = ir_type_mask(i->type);
    if (i->op == IR_AND)
        return fold_and(b, i);
    if (i->a == i->b)
        return i->op == IR_OR ? i->a : make_const(i, 0);
    if (is_const(b, i->b, 0))
        return i->a;
    if (is_const(b, i->b, ones))
        return i->op == IR_OR ? i->b : i->op == IR_XOR ? make_unary(b, i, IR_NOT, i->a) : make_const(i, 0);
    if (i->op == IR_ANDN) {
        if (is_const(b, i->a, 0))
            return i->a;
        if (is_const(b, i->a, ones))
            return make_unary(b, i, IR_NOT, i->b);
        if (b->inst[i->b].op == IR_CONST) {
            irv k = add_const(b, i->type, ~b->inst[i->b].imm);
            return k ? make_binary(b, i, IR_AND, i->a, k) : 0;
        }
        return 0;
    }
    return fold_rotation(b, i);
}

/* (x << left) >> right is a field of x, or its low half in another place. */
static irv fold_shift_pair(struct ir_block *b, struct ir_inst *i, unsigned width) {
    const struct ir_inst *inner = &b->inst[i->a];
    if (i->op == IR_SHL || i->op == IR_ROR || inner->op != IR_SHL || b->inst[inner->b].op != IR_CONST)
        return 0;
    unsigned left = (unsigned)b->inst[inner->b].imm & (width - 1), right = (unsigned)b->inst[i->b].imm & (width - 1);
    bool is_signed = i->op == IR_SAR;
    if (right >= left) {
        *i = (struct ir_inst){.op = is_signed ? IR_SBFX : IR_UBFX,
                              .type = i->type,
                              .lane = (uint8_t)(right - left),
                              .n = (uint8_t)(width - right),
                              .a = inner->a};
        return ir_fold(b, i);
    }
    if (left != 32)
        return 0;
    irv low = add_unary(b, IR_TRUNC, IR_I32, inner->a);
    irv wide = low ? add_unary(b, is_signed ? IR_SEXT32 : IR_ZEXT32, IR_I64, low) : 0;
    return wide ? make_shift(b, i, IR_SHL, wide, left - right) : 0;
}

static irv fold_shift(struct ir_block *b, struct ir_inst *i) {
    unsigned width = i->type == IR_I32 ? 32 : 64;
    if (b->inst[i->b].op == IR_CONST) {
        if ((b->inst[i->b].imm & (width - 1)) == 0)
            return i->a;
        irv v = fold_shift_pair(b, i, width);
        if (v)
            return v;
    }
    return is_const(b, i->a, 0) ? i->a : 0;
}

static irv fold_not_neg(struct ir_block *b, struct ir_inst *i) {
    return b->inst[i->a].op == i->op ? b->inst[i->a].a : 0;
}

static irv fold_zext32(struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *a = &b->inst[i->a];
    return a->op == IR_TRUNC && bits_used(b, a->a) <= 32 ? a->a : 0;
}

static irv fold_sext32(struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *a = &b->inst[i->a];
    return a->op == IR_TRUNC && is_sext32(b, a->a) ? a->a : 0;
}

static irv fold_trunc(struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *a = &b->inst[i->a];
    return a->op == IR_ZEXT32 || a->op == IR_SEXT32 ? a->a : 0;
}

static irv fold_bitfield(struct ir_block *b, struct ir_inst *i) {
    unsigned width = i->type == IR_I32 ? 32 : 64, lo = i->lane, len = i->n;
    bool is_signed = i->op == IR_SBFX;
    if (len == width)
        return i->a;
    if (lo + len == width)
        return make_shift(b, i, is_signed ? IR_SAR : IR_SHR, i->a, lo);
    if (lo != 0)
        return 0;
    if (!is_signed && bits_used(b, i->a) <= len)
        return i->a;
    if (len == 8)
        return make_unary(b, i, is_signed ? IR_SEXT8 : IR_ZEXT8, i->a);
    if (len == 16)
        return make_unary(b, i, is_signed ? IR_SEXT16 : IR_ZEXT16, i->a);
    if (len == 32) {
        irv low = add_unary(b, IR_TRUNC, IR_I32, i->a);
        return low ? make_unary(b, i, is_signed ? IR_SEXT32 : IR_ZEXT32, low) : 0;
    }
    return 0;
}

static irv fold_bfi(struct ir_block *b, struct ir_inst *i) {
    unsigned width = i->type == IR_I32 ? 32 : 64, lo = i->lane, len = i->n;
    if (len == width)
        return i->b;
    if (!is_const(b, i->a, 0))
        return 0;
    if (lo == 0) {
        *i = (struct ir_inst){.op = IR_UBFX, .type = i->type, .n = (uint8_t)len, .a = i->b};
        return ir_fold(b, i);
    }
    return lo + len == width ? make_shift(b, i, IR_SHL, i->b, lo) : 0;
}

static irv fold_extr(struct ir_block *b, struct ir_inst *i) {
    if (i->n == 0)
        return i->b;
    if (i->a == i->b)
        return make_shift(b, i, IR_ROR, i->a, i->n);
    return is_const(b, i->a, 0) ? make_shift(b, i, IR_SHR, i->b, i->n) : 0;
}

/* An addition or subtraction with carry whose carry is known to do nothing. */
static irv fold_carry(struct ir_block *b, struct ir_inst *i) {
    switch (i->op) {
    case IR_ADC: return is_const(b, i->c, 0) ? make_binary(b, i, IR_ADD, i->a, i->b) : 0;
    case IR_SBC: return is_const(b, i->c, 1) ? make_binary(b, i, IR_SUB, i->a, i->b) : 0;
    case IR_ADC_FLAGS: return is_const(b, i->c, 0) ? make_binary(b, i, IR_ADD_FLAGS, i->a, i->b) : 0;
    default: return is_const(b, i->c, 1) ? make_binary(b, i, IR_SUB_FLAGS, i->a, i->b) : 0;
    }
}

/* --- comparisons and selections --------------------------------------------------------------- */
static const uint8_t swapped_cmp[] = {IR_CMP_EQ,  IR_CMP_NE,  IR_CMP_UGT, IR_CMP_ULE, IR_CMP_UGE,
                                      IR_CMP_ULT, IR_CMP_SGT, IR_CMP_SLE, IR_CMP_SGE, IR_CMP_SLT};

/* The opposite of a bool, as an instruction that is not appended yet: both encodings pair opposites in bit 0. */
static struct ir_inst inverted(const struct ir_inst *cond) {
    struct ir_inst i = *cond;
    i.cc ^= 1;
    return i;
}
static bool can_invert(const struct ir_block *b, irv v) {
    return is_bool(b, v) && !(b->inst[v].op == IR_COND && b->inst[v].cc >= IR_AL);
}

static irv fold_cmp(struct ir_block *b, struct ir_inst *i) {
    if (i->a == i->b) {
        struct ir_inst same = {.op = IR_CMP, .type = IR_I32, .cc = i->cc};
        return make_const(i, ir_eval(&same, IR_I64, 0, 0, 0));
    }
    if (!is_const(b, i->b, 0))
        return 0;
    switch (i->cc) {
    case IR_CMP_ULT: return make_const(i, 0);
    case IR_CMP_UGE: return make_const(i, 1);
    case IR_CMP_ULE: i->cc = IR_CMP_EQ; break;
    case IR_CMP_UGT: i->cc = IR_CMP_NE; break;
    default: break;
    }
    irv base = b->inst[i->a].op == IR_ZEXT32 && is_bool(b, b->inst[i->a].a) ? b->inst[i->a].a : i->a;
    if (i->cc == IR_CMP_NE && is_bool(b, base))
        return base;
    if (i->cc == IR_CMP_EQ && can_invert(b, base))
        *i = inverted(&b->inst[base]);
    return 0;
}

/* A choice between 0, 1 and all ones is arithmetic on the condition. */
static irv fold_select_consts(struct ir_block *b, struct ir_inst *i) {
    uint64_t yes = b->inst[i->b].imm, no = b->inst[i->c].imm, ones = ir_type_mask(i->type);
    bool straight = no == 0 && (yes == 1 || yes == ones), opposite = yes == 0 && (no == 1 || no == ones);
    if (!(straight && is_bool(b, i->a)) && !(opposite && can_invert(b, i->a)))
        return 0;
    bool negate = (straight ? yes : no) == ones;
    struct ir_inst cond = straight ? b->inst[i->a] : inverted(&b->inst[i->a]);
    if (i->type == IR_I32 && !negate) {
        if (straight)
            return i->a;
        *i = cond;
        return 0;
    }
    if (b->count + 2 > b->priv.room)
        return 0;
    irv v = straight ? i->a : ir_emit(b, &cond);
    if (i->type == IR_I64 && negate)
        v = add_unary(b, IR_ZEXT32, IR_I64, v);
    return make_unary(b, i, negate ? IR_NEG : IR_ZEXT32, v);
}

/* CC ? x : x + 1 adds the carry. */
static irv fold_select_carry(struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *cond = &b->inst[i->a], *sum = &b->inst[i->c];
    if (cond->op != IR_COND || cond->cc != IR_CC || sum->op != IR_ADD || sum->a != i->b || !is_const(b, sum->b, 1) ||
        b->count + 2 > b->priv.room) {
        return 0;
    }
    struct ir_inst carry = inverted(cond);
    irv zero = add_const(b, i->type, 0);
    *i = (struct ir_inst){.op = IR_ADC, .type = i->type, .a = i->b, .b = zero, .c = ir_emit(b, &carry)};
    return 0;
}

static irv fold_select(struct ir_block *b, struct ir_inst *i) {
    if (i->b == i->c)
        return i->b;
    if (b->inst[i->a].op == IR_CONST)
        return b->inst[i->a].imm ? i->b : i->c;
    if (b->inst[i->b].op == IR_CONST && b->inst[i->c].op == IR_CONST)
        return fold_select_consts(b, i);
    return fold_select_carry(b, i);
}

/* --- flags ------------------------------------------------------------------------------------ */
/* Are these flags known? Then *nzcv is set. */
static bool known_flags(const struct ir_block *b, irv v, uint32_t *nzcv) {
    const struct ir_inst *f = &b->inst[v], *a = &b->inst[f->a];
    if (f->op < IR_ADD_FLAGS || f->op > IR_FLAGS_FROM || a->op != IR_CONST || (f->b && b->inst[f->b].op != IR_CONST) ||
        (f->c && b->inst[f->c].op != IR_CONST)) {
        return false;
    }
    *nzcv = (uint32_t)ir_eval(f, a->type, a->imm, b->inst[f->b].imm, b->inst[f->c].imm);
    return true;
}

static irv fold_flags(struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *a = &b->inst[i->a];
    uint32_t nzcv;
    switch (i->op) {
    case IR_FLAGS_FROM: return a->op == IR_FLAGS_TO ? a->a : 0;
    case IR_FLAGS_TO:
        if (known_flags(b, i->a, &nzcv))
            return make_const(i, nzcv);
        if (a->op == IR_FLAGS_FROM) {
            irv mask = add_const(b, IR_I32, 0xf0000000u);
            return mask ? make_binary(b, i, IR_AND, b->inst[i->a].a, mask) : 0;
        }
        return 0;
    case IR_FLAGS_SELECT:
        if (a->op == IR_CONST && a->imm)
            return i->b;
        if (a->op == IR_CONST) {
            irv k = add_const(b, IR_I32, (i->imm & 15) << 28);
            return k ? make_unary(b, i, IR_FLAGS_FROM, k) : 0;
        }
        return 0;
    default: /* COND */
        if (i->cc >= IR_AL)
            return make_const(i, 1);
        if (known_flags(b, i->a, &nzcv))
            return make_const(i, ir_eval_cond(i->cc, nzcv));
        return 0;
    }
}

/* --- all -------------------------------------------------------------------------------------- */
static bool is_commutative(unsigned op) {
    return op == IR_ADD || op == IR_MUL || op == IR_MULHU || op == IR_MULHS || op == IR_AND || op == IR_OR ||
           op == IR_XOR || op == IR_ADD_FLAGS || op == IR_ADC || op == IR_ADC_FLAGS;
}

/* All operands constant, and the result an integer. */
static bool fold_constants(const struct ir_block *b, struct ir_inst *i) {
    const struct ir_inst *x = &b->inst[i->a], *y = &b->inst[i->b], *z = &b->inst[i->c];
    if (x->op != IR_CONST || (i->b && y->op != IR_CONST) || (i->c && z->op != IR_CONST) || i->op >= IR_ADD_FLAGS)
        return false;
    make_const(i, ir_eval(i, x->type, x->imm, y->imm, z->imm));
    return true;
}

static irv fold_op(struct ir_block *b, struct ir_inst *i) {
    switch (i->op) {
    case IR_ADD:
    case IR_SUB: return fold_add_sub(b, i);
    case IR_MUL:
    case IR_MULHU:
    case IR_MULHS:
    case IR_UDIV:
    case IR_SDIV: return fold_mul_div(b, i);
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_ANDN: return fold_logic(b, i);
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROR: return fold_shift(b, i);
    case IR_NOT:
    case IR_NEG: return fold_not_neg(b, i);
    case IR_ZEXT8: return bits_used(b, i->a) <= 8 ? i->a : 0;
    case IR_ZEXT16: return bits_used(b, i->a) <= 16 ? i->a : 0;
    case IR_ZEXT32: return fold_zext32(b, i);
    case IR_SEXT32: return fold_sext32(b, i);
    case IR_TRUNC: return fold_trunc(b, i);
    case IR_UBFX:
    case IR_SBFX: return fold_bitfield(b, i);
    case IR_BFI: return fold_bfi(b, i);
    case IR_EXTR: return fold_extr(b, i);
    case IR_ADC:
    case IR_SBC:
    case IR_ADC_FLAGS:
    case IR_SBC_FLAGS: return fold_carry(b, i);
    case IR_CMP: return fold_cmp(b, i);
    case IR_SELECT: return fold_select(b, i);
    case IR_FLAGS_FROM:
    case IR_FLAGS_TO:
    case IR_FLAGS_SELECT:
    case IR_COND: return fold_flags(b, i);
    default: return 0;
    }
}

irv ir_fold(struct ir_block *b, struct ir_inst *i) {
    if (i->op >= IR_VAND)
        return opt_fold_vector(b, i);
    if (i->a && b->inst[i->a].op == IR_CONST) {
        if (i->op <= IR_CMP && fold_constants(b, i))
            return 0;
        if (b->inst[i->b].op != IR_CONST && i->b) {
            if (is_commutative(i->op)) {
                irv k = i->a;
                i->a = i->b;
                i->b = k;
            } else if (i->op == IR_CMP) {
                irv k = i->a;
                i->a = i->b;
                i->b = k;
                i->cc = swapped_cmp[i->cc];
            }
        }
    }
    return fold_op(b, i);
}
