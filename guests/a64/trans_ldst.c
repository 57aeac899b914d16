/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * trans_ldst.c: loads and stores of one register or a pair, general-purpose and vector.
 *
 * All accesses come before the first PUT, so that a fault finds the registers as they were. Where a load's target is
 * also its written-back base, the base wins.
 */
#include "guests/a64/a64.h"

#include "a64_decode.h"

enum ldst_index { UNSCALED, POST, OFFSET, PRE };

static int64_t sext(uint32_t imm, unsigned bits) { return (int64_t)((uint64_t)imm << (64 - bits)) >> (64 - bits); }

/* --- one general-purpose register ------------------------------------------------------------- */

/* access(): the load or store of size and opc (0 store, 1 load, 2 signed to 64 bits, 3 signed to 32); what rt gets. */
static irv access(struct a64_trans *t, unsigned size, unsigned opc, irv base, int64_t disp, unsigned rt,
                  unsigned regime) {
    unsigned flags = a64_mem_flags(t);
    if (opc == 0) {
        ir_st(t->b, size, base, (int32_t)disp, a64_get_x(t, rt, true), regime, flags);
        return 0;
    }
    if (opc >= 2)
        flags |= IR_MEM_SEXT;
    return ir_ld(t->b, opc == 3 ? IR_I32 : IR_I64, size, base, (int32_t)disp, regime, flags);
}

static bool indexed(struct a64_trans *t, unsigned size, unsigned opc, unsigned rn, unsigned rt, int64_t offset,
                    enum ldst_index idx) {
    irv base = a64_base(t, rn);
    irv v = access(t, size, opc, base, idx == POST ? 0 : offset, rt, a64_trans_regime(t));
    if (v)
        a64_put_x(t, rt, v);
    if (idx == POST || idx == PRE)
        a64_writeback(t, rn, ir_op2i(t->b, IR_ADD, base, (uint64_t)offset), offset);
    return true;
}

bool trans_LDST_unscaled(struct a64_trans *t, const struct arg_LDST_unscaled *a) {
    return indexed(t, a->size, a->opc, a->rn, a->rt, sext(a->imm, 9), UNSCALED);
}

bool trans_LDST_post(struct a64_trans *t, const struct arg_LDST_post *a) {
    return indexed(t, a->size, a->opc, a->rn, a->rt, sext(a->imm, 9), POST);
}

bool trans_LDST_pre(struct a64_trans *t, const struct arg_LDST_pre *a) {
    return indexed(t, a->size, a->opc, a->rn, a->rt, sext(a->imm, 9), PRE);
}

bool trans_LDST_uimm(struct a64_trans *t, const struct arg_LDST_uimm *a) {
    return indexed(t, a->size, a->opc, a->rn, a->rt, (int64_t)a->imm << a->size, OFFSET);
}

bool trans_LDST_unpriv(struct a64_trans *t, const struct arg_LDST_unpriv *a) {
    irv base = a64_base(t, a->rn);
    irv v = access(t, a->size, a->opc, base, sext(a->imm, 9), a->rt, A64_EL0);
    if (v)
        a64_put_x(t, a->rt, v);
    return true;
}

/* register_address(): base + index, an X register or an extended W register (sx: signed). */
static irv register_address(struct a64_trans *t, irv base, unsigned rm, bool x, bool sx, unsigned shift) {
    struct ir_block *b = t->b;
    irv index = x ? a64_get_x(t, rm, true) : ir_op1(b, sx ? IR_SEXT32 : IR_ZEXT32, a64_get_x(t, rm, false));
    if (shift)
        index = ir_op2i(b, IR_SHL, index, shift);
    return ir_op2(b, IR_ADD, base, index);
}

bool trans_LDST_reg(struct a64_trans *t, const struct arg_LDST_reg *a) {
    irv base = a64_base(t, a->rn);
    irv address = register_address(t, base, a->rm, a->xr, a->sx, a->S ? a->size : 0);
    irv v = access(t, a->size, a->opc, address, 0, a->rt, a64_trans_regime(t));
    if (v)
        a64_put_x(t, a->rt, v);
    return true;
}

bool trans_LDR_lit(struct a64_trans *t, const struct arg_LDR_lit *a) {
    static const uint8_t sizes[3] = {2, 3, 2};
    irv address = ir_pc(t->b, t->pc + 4 * (uint64_t)sext(a->imm, 19));
    a64_put_x(t, a->rt, access(t, sizes[a->opc], a->opc == 2 ? 2 : 1, address, 0, a->rt, a64_trans_regime(t)));
    return true;
}

/* Prefetches cannot fault and are hints. */
bool trans_PRFM_lit(struct a64_trans *t, const struct arg_PRFM_lit *a) { return true; }

bool trans_PRFM_unscaled(struct a64_trans *t, const struct arg_PRFM_unscaled *a) { return true; }

bool trans_PRFM_uimm(struct a64_trans *t, const struct arg_PRFM_uimm *a) { return true; }

bool trans_PRFM_reg(struct a64_trans *t, const struct arg_PRFM_reg *a) { return true; }

/* --- one vector register ---------------------------------------------------------------------- */

static void access_v(struct a64_trans *t, bool load, unsigned size, irv base, int64_t disp, unsigned rt) {
    unsigned regime = a64_trans_regime(t), flags = a64_mem_flags(t);
    if (load)
        a64_put_v(t, rt, ir_ld(t->b, IR_V128, size, base, (int32_t)disp, regime, flags));
    else
        ir_st(t->b, size, base, (int32_t)disp, a64_get_v(t, rt), regime, flags);
}

static bool indexed_v(struct a64_trans *t, unsigned size, bool load, unsigned rn, unsigned rt, int64_t offset,
                      enum ldst_index idx) {
    if (!a64_fp_access(t))
        return true;
    irv base = a64_base(t, rn);
    access_v(t, load, size, base, idx == POST ? 0 : offset, rt);
    if (idx == POST || idx == PRE)
        a64_writeback(t, rn, ir_op2i(t->b, IR_ADD, base, (uint64_t)offset), offset);
    return true;
}

bool trans_LDST_unscaled_v(struct a64_trans *t, const struct arg_LDST_unscaled_v *a) {
    return indexed_v(t, a->q << 2 | a->size, a->L, a->rn, a->rt, sext(a->imm, 9), UNSCALED);
}

bool trans_LDST_post_v(struct a64_trans *t, const struct arg_LDST_post_v *a) {
    return indexed_v(t, a->q << 2 | a->size, a->L, a->rn, a->rt, sext(a->imm, 9), POST);
}

bool trans_LDST_pre_v(struct a64_trans *t, const struct arg_LDST_pre_v *a) {
    return indexed_v(t, a->q << 2 | a->size, a->L, a->rn, a->rt, sext(a->imm, 9), PRE);
}

bool trans_LDST_uimm_v(struct a64_trans *t, const struct arg_LDST_uimm_v *a) {
    unsigned size = a->q << 2 | a->size;
    return indexed_v(t, size, a->L, a->rn, a->rt, (int64_t)a->imm << size, OFFSET);
}

bool trans_LDST_reg_v(struct a64_trans *t, const struct arg_LDST_reg_v *a) {
    if (!a64_fp_access(t))
        return true;
    unsigned size = a->q << 2 | a->size;
    irv base = a64_base(t, a->rn);
    access_v(t, a->L, size, register_address(t, base, a->rm, a->xr, a->sx, a->S ? size : 0), 0, a->rt);
    return true;
}

bool trans_LDR_lit_v(struct a64_trans *t, const struct arg_LDR_lit_v *a) {
    if (!a64_fp_access(t))
        return true;
    access_v(t, true, 2 + a->opc, ir_pc(t->b, t->pc + 4 * (uint64_t)sext(a->imm, 19)), 0, a->rt);
    return true;
}

/* --- pairs ------------------------------------------------------------------------------------ */

bool trans_LDSTP(struct a64_trans *t, const struct arg_LDSTP *a) {
    struct ir_block *b = t->b;
    unsigned size = a->opc == 2 ? 3 : 2, regime = a64_trans_regime(t);
    unsigned flags = a64_mem_flags(t) | (a->opc == 1 ? IR_MEM_SEXT : 0);
    int64_t offset = sext(a->imm, 7) * (1 << size);
    int32_t disp = a->idx == POST ? 0 : (int32_t)offset, step = 1 << size;
    irv base = a64_base(t, a->rn);
    if (a->L) {
        irv first = ir_ld(b, IR_I64, size, base, disp, regime, flags);
        irv second = ir_ld(b, IR_I64, size, base, disp + step, regime, flags);
        a64_put_x(t, a->rt, first);
        a64_put_x(t, a->rt2, second);
    } else {
        irv first = a64_get_x(t, a->rt, true), second = a64_get_x(t, a->rt2, true);
        ir_st(b, size, base, disp, first, regime, flags);
        ir_st(b, size, base, disp + step, second, regime, flags);
    }
    if (a->idx & 1)
        a64_writeback(t, a->rn, ir_op2i(b, IR_ADD, base, (uint64_t)offset), offset);
    return true;
}

bool trans_LDSTP_v(struct a64_trans *t, const struct arg_LDSTP_v *a) {
    struct ir_block *b = t->b;
    if (!a64_fp_access(t))
        return true;
    unsigned size = 2 + a->opc, regime = a64_trans_regime(t), flags = a64_mem_flags(t);
    int64_t offset = sext(a->imm, 7) * (1 << size);
    int32_t disp = a->idx == POST ? 0 : (int32_t)offset, step = 1 << size;
    irv base = a64_base(t, a->rn);
    if (a->L) {
        irv first = ir_ld(b, IR_V128, size, base, disp, regime, flags);
        irv second = ir_ld(b, IR_V128, size, base, disp + step, regime, flags);
        a64_put_v(t, a->rt, first);
        a64_put_v(t, a->rt2, second);
    } else {
        irv first = a64_get_v(t, a->rt), second = a64_get_v(t, a->rt2);
        ir_st(b, size, base, disp, first, regime, flags);
        ir_st(b, size, base, disp + step, second, regime, flags);
    }
    if (a->idx & 1)
        a64_writeback(t, a->rn, ir_op2i(b, IR_ADD, base, (uint64_t)offset), offset);
    return true;
}
