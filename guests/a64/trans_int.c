/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_int.c: data processing on general-purpose registers. */
#include "guests/a64/a64.h"

#include "a64_decode.h"

static enum ir_type type_of(bool sf) { return sf ? IR_I64 : IR_I32; }

/* --- adding and subtracting ------------------------------------------------------------------- */

/* put_sum(): the common end of ADD, ADDS, SUB and SUBS. Without flags rd may be SP if the form says so. */
static void put_sum(struct a64_trans *t, bool sub, bool flags, unsigned rd, bool rd_sp, irv a, irv b) {
    irv f = 0;
    if (flags)
        f = ir_op2(t->b, sub ? IR_SUB_FLAGS : IR_ADD_FLAGS, a, b);
    if (!flags || rd != 31) {
        irv sum = ir_op2(t->b, sub ? IR_SUB : IR_ADD, a, b);
        if (rd_sp && !flags)
            a64_put_sp(t, rd, sum);
        else
            a64_put_x(t, rd, sum);
    }
    if (flags)
        a64_put_flags(t, f);
}

bool trans_ADDSUB_imm(struct a64_trans *t, const struct arg_ADDSUB_imm *a) {
    uint64_t imm = (uint64_t)a->imm << (a->sh ? 12 : 0);
    irv rn = a64_get_sp(t, a->rn, a->sf);
    bool aligned = t->sp_aligned && a->rn == 31 && a->sf && imm % 16 == 0;
    if (imm == 0 && !a->S)
        a64_put_sp(t, a->rd, rn);
    else
        put_sum(t, a->op, a->S, a->rd, true, rn, ir_const(t->b, type_of(a->sf), imm));
    if (a->rd == 31 && !a->S)
        t->sp_aligned = aligned;
    return true;
}

static irv shifted(struct a64_trans *t, irv v, unsigned kind, unsigned amount) {
    static const enum ir_op ops[4] = {IR_SHL, IR_SHR, IR_SAR, IR_ROR};
    return amount ? ir_op2i(t->b, ops[kind], v, amount) : v;
}

bool trans_ADDSUB_reg(struct a64_trans *t, const struct arg_ADDSUB_reg *a) {
    if (!a->sf && a->imm >= 32)
        return false;
    irv rn = a64_get_x(t, a->rn, a->sf);
    irv rm = shifted(t, a64_get_x(t, a->rm, a->sf), a->shift, a->imm);
    put_sum(t, a->op, a->S, a->rd, false, rn, rm);
    return true;
}

/* extended(): ExtendReg() of the architecture. */
static irv extended(struct a64_trans *t, unsigned rm, unsigned option, unsigned shift, bool sf) {
    struct ir_block *b = t->b;
    irv v;
    if (sf && (option & 3) == 2) {
        v = ir_op1(b, option & 4 ? IR_SEXT32 : IR_ZEXT32, a64_get_x(t, rm, false));
    } else {
        v = a64_get_x(t, rm, sf);
        if ((option & 3) == 0)
            v = ir_op1(b, option & 4 ? IR_SEXT8 : IR_ZEXT8, v);
        else if ((option & 3) == 1)
            v = ir_op1(b, option & 4 ? IR_SEXT16 : IR_ZEXT16, v);
    }
    return shift ? ir_op2i(b, IR_SHL, v, shift) : v;
}

bool trans_ADDSUB_ext(struct a64_trans *t, const struct arg_ADDSUB_ext *a) {
    irv rn = a64_get_sp(t, a->rn, a->sf);
    put_sum(t, a->op, a->S, a->rd, true, rn, extended(t, a->rm, a->option, a->imm, a->sf));
    return true;
}

bool trans_ADC(struct a64_trans *t, const struct arg_ADC *a) {
    struct ir_block *b = t->b;
    irv rn = a64_get_x(t, a->rn, a->sf), rm = a64_get_x(t, a->rm, a->sf);
    irv carry = ir_cond(b, IR_CS, ir_get(b, IR_FLAGS, A64_NZCV));
    irv flags = a->S ? ir_op3(b, a->op ? IR_SBC_FLAGS : IR_ADC_FLAGS, rn, rm, carry) : 0;
    a64_put_x(t, a->rd, ir_op3(b, a->op ? IR_SBC : IR_ADC, rn, rm, carry));
    if (a->S)
        a64_put_nzcv(t, flags);
    return true;
}

bool trans_ADR(struct a64_trans *t, const struct arg_ADR *a) {
    int64_t offset = (int64_t)((uint64_t)(a->immhi << 2 | a->immlo) << 43) >> 43;
    uint64_t value = a->op ? (t->pc & ~UINT64_C(0xfff)) + ((uint64_t)offset << 12) : t->pc + (uint64_t)offset;
    a64_put_x(t, a->rd, ir_pc(t->b, value));
    return true;
}

/* --- logic ------------------------------------------------------------------------------------ */

bool trans_LOGIC_imm(struct a64_trans *t, const struct arg_LOGIC_imm *a) {
    static const enum ir_op ops[4] = {IR_AND, IR_OR, IR_XOR, IR_AND};
    uint64_t mask;
    if (!a64_bit_mask(a->sf, a->N, a->imms, a->immr, &mask))
        return false;
    irv v = ir_op2i(t->b, ops[a->opc], a64_get_x(t, a->rn, a->sf), mask);
    if (a->opc != 3) {
        a64_put_sp(t, a->rd, v);
        return true;
    }
    irv flags = ir_op1(t->b, IR_LOGIC_FLAGS, v);
    a64_put_x(t, a->rd, v);
    a64_put_flags(t, flags);
    return true;
}

bool trans_LOGIC_reg(struct a64_trans *t, const struct arg_LOGIC_reg *a) {
    static const enum ir_op ops[4] = {IR_AND, IR_OR, IR_XOR, IR_AND};
    struct ir_block *b = t->b;
    if (!a->sf && a->imm >= 32)
        return false;
    irv v = shifted(t, a64_get_x(t, a->rm, a->sf), a->shift, a->imm);
    if (a->rn == 31 && a->opc == 1) { /* MOV, MVN */
        v = a->N ? ir_op1(b, IR_NOT, v) : v;
    } else {
        irv rn = a64_get_x(t, a->rn, a->sf);
        if (!a->N)
            v = ir_op2(b, ops[a->opc], rn, v);
        else if (ops[a->opc] == IR_AND)
            v = ir_op2(b, IR_ANDN, rn, v);
        else
            v = ir_op2(b, ops[a->opc], rn, ir_op1(b, IR_NOT, v));
    }
    irv flags = a->opc == 3 ? ir_op1(b, IR_LOGIC_FLAGS, v) : 0;
    a64_put_x(t, a->rd, v);
    if (a->opc == 3)
        a64_put_flags(t, flags);
    return true;
}

bool trans_MOVW(struct a64_trans *t, const struct arg_MOVW *a) {
    uint64_t imm = (uint64_t)a->imm << (16 * a->hw);
    if (a->opc == 3) {
        irv old = a64_get_x(t, a->rd, a->sf);
        irv part = ir_const(t->b, type_of(a->sf), a->imm);
        a64_put_x(t, a->rd, ir_bitfield(t->b, IR_BFI, old, part, 16 * a->hw, 16));
        return true;
    }
    if (a->opc == 0)
        imm = a->sf ? ~imm : (uint32_t)~imm;
    a64_put_x(t, a->rd, ir_const(t->b, IR_I64, imm));
    return true;
}

/* --- bit fields ------------------------------------------------------------------------------- */

/* field(): bits [lo, lo+len) of v, extended, in the form that costs least. */
static irv field(struct a64_trans *t, irv v, unsigned lo, unsigned len, bool sign) {
    struct ir_block *b = t->b;
    unsigned width = ir_type_of(b, v) == IR_I64 ? 64 : 32;
    if (lo + len == width)
        return lo ? ir_op2i(b, sign ? IR_SAR : IR_SHR, v, lo) : v;
    if (lo == 0 && len == 8)
        return ir_op1(b, sign ? IR_SEXT8 : IR_ZEXT8, v);
    if (lo == 0 && len == 16)
        return ir_op1(b, sign ? IR_SEXT16 : IR_ZEXT16, v);
    return ir_bitfield(b, sign ? IR_SBFX : IR_UBFX, v, 0, lo, len);
}

static irv bitfield_move(struct a64_trans *t, const struct arg_BITFIELD *a) {
    struct ir_block *b = t->b;
    unsigned width = a->sf ? 64 : 32;
    bool sign = a->opc == 0;
    if (a->sf && sign && a->immr == 0 && a->imms == 31) /* SXTW */
        return ir_op1(b, IR_SEXT32, a64_get_x(t, a->rn, false));
    irv v = a64_get_x(t, a->rn, a->sf);
    if (a->imms >= a->immr)
        return field(t, v, a->immr, a->imms - a->immr + 1, sign);
    unsigned position = width - a->immr, len = a->imms + 1;
    if (position + len < width)
        v = field(t, v, 0, len, sign);
    return ir_op2i(b, IR_SHL, v, position);
}

bool trans_BITFIELD(struct a64_trans *t, const struct arg_BITFIELD *a) {
    struct ir_block *b = t->b;
    if (!a->sf && (a->immr >= 32 || a->imms >= 32))
        return false;
    if (a->opc != 1) {
        a64_put_x(t, a->rd, bitfield_move(t, a));
        return true;
    }
    irv old = a64_get_x(t, a->rd, a->sf), v = a64_get_x(t, a->rn, a->sf);
    if (a->imms >= a->immr) {
        v = shifted(t, v, 1, a->immr);
        v = ir_bitfield(b, IR_BFI, old, v, 0, a->imms - a->immr + 1);
    } else {
        v = ir_bitfield(b, IR_BFI, old, v, (a->sf ? 64 : 32) - a->immr, a->imms + 1);
    }
    a64_put_x(t, a->rd, v);
    return true;
}

bool trans_EXTR(struct a64_trans *t, const struct arg_EXTR *a) {
    if (!a->sf && a->imms >= 32)
        return false;
    irv rm = a64_get_x(t, a->rm, a->sf);
    if (a->imms == 0)
        a64_put_x(t, a->rd, rm);
    else if (a->rn == a->rm)
        a64_put_x(t, a->rd, ir_op2i(t->b, IR_ROR, rm, a->imms));
    else
        a64_put_x(t, a->rd, ir_bitfield(t->b, IR_EXTR, a64_get_x(t, a->rn, a->sf), rm, a->imms, 0));
    return true;
}

/* --- conditions ------------------------------------------------------------------------------- */

static void conditional_compare(struct a64_trans *t, bool op, unsigned cond, unsigned nzcv, irv a, irv b_) {
    struct ir_block *b = t->b;
    irv flags = ir_op2(b, op ? IR_SUB_FLAGS : IR_ADD_FLAGS, a, b_);
    if (cond < IR_AL)
        flags = ir_flags_select(b, ir_cond(b, cond, ir_get(b, IR_FLAGS, A64_NZCV)), flags, nzcv);
    a64_put_nzcv(t, flags);
}

bool trans_CCMP_reg(struct a64_trans *t, const struct arg_CCMP_reg *a) {
    irv rn = a64_get_x(t, a->rn, a->sf), rm = a64_get_x(t, a->rm, a->sf);
    conditional_compare(t, a->op, a->cond, a->nzcv, rn, rm);
    return true;
}

bool trans_CCMP_imm(struct a64_trans *t, const struct arg_CCMP_imm *a) {
    irv rn = a64_get_x(t, a->rn, a->sf);
    conditional_compare(t, a->op, a->cond, a->nzcv, rn, ir_const(t->b, type_of(a->sf), a->imm));
    return true;
}

bool trans_CSEL(struct a64_trans *t, const struct arg_CSEL *a) {
    struct ir_block *b = t->b;
    irv rn = a64_get_x(t, a->rn, a->sf);
    if (a->cond >= IR_AL) {
        a64_put_x(t, a->rd, rn);
        return true;
    }
    irv flags = ir_get(b, IR_FLAGS, A64_NZCV);
    if (a->rn == 31 && a->rm == 31 && a->op != a->o2) { /* CSET, CSETM */
        irv set = ir_op1(b, IR_ZEXT32, ir_cond(b, a->cond ^ 1, flags));
        if (a->op) {
            set = ir_op1(b, IR_NEG, set);
            set = a->sf ? set : ir_op1(b, IR_TRUNC, set);
        }
        a64_put_x(t, a->rd, set);
        return true;
    }
    irv rm = a64_get_x(t, a->rm, a->sf);
    if (a->op)
        rm = ir_op1(b, a->o2 ? IR_NEG : IR_NOT, rm);
    else if (a->o2)
        rm = ir_op2i(b, IR_ADD, rm, 1);
    a64_put_x(t, a->rd, ir_select(b, ir_cond(b, a->cond, flags), rn, rm));
    return true;
}

/* --- one and two sources ---------------------------------------------------------------------- */

bool trans_DIV(struct a64_trans *t, const struct arg_DIV *a) {
    irv rn = a64_get_x(t, a->rn, a->sf), rm = a64_get_x(t, a->rm, a->sf);
    a64_put_x(t, a->rd, ir_op2(t->b, a->sign ? IR_SDIV : IR_UDIV, rn, rm));
    return true;
}

bool trans_SHIFTV(struct a64_trans *t, const struct arg_SHIFTV *a) {
    static const enum ir_op ops[4] = {IR_SHL, IR_SHR, IR_SAR, IR_ROR};
    irv rn = a64_get_x(t, a->rn, a->sf), rm = a64_get_x(t, a->rm, a->sf);
    a64_put_x(t, a->rd, ir_op2(t->b, ops[a->op], rn, rm));
    return true;
}

bool trans_RBIT(struct a64_trans *t, const struct arg_RBIT *a) {
    a64_put_x(t, a->rd, ir_op1(t->b, IR_RBIT, a64_get_x(t, a->rn, a->sf)));
    return true;
}

bool trans_REV16(struct a64_trans *t, const struct arg_REV16 *a) {
    a64_put_x(t, a->rd, ir_op1(t->b, IR_BSWAP16, a64_get_x(t, a->rn, a->sf)));
    return true;
}

bool trans_REV32(struct a64_trans *t, const struct arg_REV32 *a) {
    irv v = ir_op1(t->b, IR_BSWAP, a64_get_x(t, a->rn, a->sf));
    a64_put_x(t, a->rd, a->sf ? ir_op2i(t->b, IR_ROR, v, 32) : v);
    return true;
}

bool trans_REV64(struct a64_trans *t, const struct arg_REV64 *a) {
    a64_put_x(t, a->rd, ir_op1(t->b, IR_BSWAP, a64_get_x(t, a->rn, true)));
    return true;
}

bool trans_CLZ(struct a64_trans *t, const struct arg_CLZ *a) {
    a64_put_x(t, a->rd, ir_op1(t->b, IR_CLZ, a64_get_x(t, a->rn, a->sf)));
    return true;
}

bool trans_CLS(struct a64_trans *t, const struct arg_CLS *a) {
    struct ir_block *b = t->b;
    irv v = a64_get_x(t, a->rn, a->sf);
    irv changes = ir_op2(b, IR_XOR, v, ir_op2i(b, IR_SAR, v, 1));
    a64_put_x(t, a->rd, ir_op2i(b, IR_SUB, ir_op1(b, IR_CLZ, changes), 1));
    return true;
}

/* --- multiplication --------------------------------------------------------------------------- */

static void put_madd(struct a64_trans *t, unsigned rd, unsigned ra, bool sub, irv product) {
    struct ir_block *b = t->b;
    bool sf = ir_type_of(b, product) == IR_I64;
    if (ra != 31)
        product = ir_op2(b, sub ? IR_SUB : IR_ADD, a64_get_x(t, ra, sf), product);
    else if (sub)
        product = ir_op1(b, IR_NEG, product);
    a64_put_x(t, rd, product);
}

bool trans_MADD(struct a64_trans *t, const struct arg_MADD *a) {
    irv rn = a64_get_x(t, a->rn, a->sf), rm = a64_get_x(t, a->rm, a->sf);
    put_madd(t, a->rd, a->ra, a->o0, ir_op2(t->b, IR_MUL, rn, rm));
    return true;
}

bool trans_MADDL(struct a64_trans *t, const struct arg_MADDL *a) {
    enum ir_op extend = a->U ? IR_ZEXT32 : IR_SEXT32;
    irv rn = ir_op1(t->b, extend, a64_get_x(t, a->rn, false));
    irv rm = ir_op1(t->b, extend, a64_get_x(t, a->rm, false));
    put_madd(t, a->rd, a->ra, a->o0, ir_op2(t->b, IR_MUL, rn, rm));
    return true;
}

bool trans_MULH(struct a64_trans *t, const struct arg_MULH *a) {
    irv rn = a64_get_x(t, a->rn, true), rm = a64_get_x(t, a->rm, true);
    a64_put_x(t, a->rd, ir_op2(t->b, a->U ? IR_MULHU : IR_MULHS, rn, rm));
    return true;
}

/* --- CRC32 ------------------------------------------------------------------------------------ */

/* CRC-32 (0x04c11db7, reflected) of 4 bits. */
static const uint32_t crc32_nibble[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                          0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                          0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

static uint64_t a64_helper_crc32(struct cpu *cpu, uint64_t accumulator, uint64_t data, uint64_t bytes) {
    uint32_t crc = (uint32_t)accumulator;
    for (; bytes; bytes--, data >>= 8) {
        crc ^= (uint8_t)data;
        crc = crc >> 4 ^ crc32_nibble[crc & 15];
        crc = crc >> 4 ^ crc32_nibble[crc & 15];
    }
    return crc;
}
IR_HELPER(a64_helper_crc32, IR_HELPER_PURE);

bool trans_CRC32(struct a64_trans *t, const struct arg_CRC32 *a) {
    struct ir_block *b = t->b;
    if (a->C) {
        struct ir_inst i = {.op = IR_CRC32C,
                            .type = IR_I32,
                            .lane = (uint8_t)a->sz,
                            .a = a64_get_x(t, a->rn, false),
                            .b = a64_get_x(t, a->rm, a->sf)};
        a64_put_x(t, a->rd, ir_add_inst(b, &i));
        return true;
    }
    irv accumulator = ir_op1(b, IR_ZEXT32, a64_get_x(t, a->rn, false));
    irv crc = ir_call(b, IR_I64, &helper_a64_helper_crc32, accumulator, a64_get_x(t, a->rm, true),
                      ir_const(b, IR_I64, 1u << a->sz));
    a64_put_x(t, a->rd, crc);
    return true;
}
