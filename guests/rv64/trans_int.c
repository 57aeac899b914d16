/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_int.c: integer computation and control transfer. */
#include "guests/rv64/rv64.h"

#include "rv64_decode.h"

/* --- the common shapes ------------------------------------------------------------------------ */

static bool op2(struct rv64_trans *t, enum ir_op op, unsigned rd, unsigned rs1, unsigned rs2) {
    rv64_put(t, rd, ir_op2(t->b, op, rv64_get(t, rs1), rv64_get(t, rs2)));
    return true;
}

static bool op2w(struct rv64_trans *t, enum ir_op op, unsigned rd, unsigned rs1, unsigned rs2) {
    rv64_put(t, rd, ir_op2(t->b, op, rv64_get_w(t, rs1), rv64_get_w(t, rs2)));
    return true;
}

static bool op2i(struct rv64_trans *t, enum ir_op op, unsigned rd, unsigned rs1, uint64_t imm) {
    rv64_put(t, rd, ir_op2i(t->b, op, rv64_get(t, rs1), imm));
    return true;
}

static bool op2iw(struct rv64_trans *t, enum ir_op op, unsigned rd, unsigned rs1, uint64_t imm) {
    rv64_put(t, rd, ir_op2i(t->b, op, rv64_get_w(t, rs1), imm & MASK(32)));
    return true;
}

static bool op1(struct rv64_trans *t, enum ir_op op, unsigned rd, unsigned rs1) {
    rv64_put(t, rd, ir_op1(t->b, op, rv64_get(t, rs1)));
    return true;
}

static irv to_64(struct rv64_trans *t, irv bit) { return ir_op1(t->b, IR_ZEXT32, bit); }

static bool set_if(struct rv64_trans *t, enum ir_cmp cc, unsigned rd, irv a, irv b) {
    rv64_put(t, rd, to_64(t, ir_cmp(t->b, cc, a, b)));
    return true;
}

#define ROW_OP2(name, fn, op)                                                                                          \
    bool trans_##name(struct rv64_trans *t, const struct arg_##name *a) { return fn(t, op, a->rd, a->rs1, a->rs2); }
#define ROW_IMM(name, fn, op)                                                                                          \
    bool trans_##name(struct rv64_trans *t, const struct arg_##name *a) {                                              \
        return fn(t, op, a->rd, a->rs1, (uint64_t)rv64_imm_i(t->insn));                                                \
    }
#define ROW_SHIFT(name, fn, op)                                                                                        \
    bool trans_##name(struct rv64_trans *t, const struct arg_##name *a) { return fn(t, op, a->rd, a->rs1, a->sh); }
#define ROW_OP1(name, op)                                                                                              \
    bool trans_##name(struct rv64_trans *t, const struct arg_##name *a) { return op1(t, op, a->rd, a->rs1); }

/* --- RV64I ------------------------------------------------------------------------------------ */
ROW_OP2(ADD, op2, IR_ADD)
ROW_OP2(SUB, op2, IR_SUB)
ROW_OP2(SLL, op2, IR_SHL)
ROW_OP2(SRL, op2, IR_SHR)
ROW_OP2(SRA, op2, IR_SAR)
ROW_OP2(XOR, op2, IR_XOR)
ROW_OP2(OR, op2, IR_OR)
ROW_OP2(AND, op2, IR_AND)
ROW_OP2(ADDW, op2w, IR_ADD)
ROW_OP2(SUBW, op2w, IR_SUB)
ROW_OP2(SLLW, op2w, IR_SHL)
ROW_OP2(SRLW, op2w, IR_SHR)
ROW_OP2(SRAW, op2w, IR_SAR)
ROW_IMM(ADDI, op2i, IR_ADD)
ROW_IMM(XORI, op2i, IR_XOR)
ROW_IMM(ORI, op2i, IR_OR)
ROW_IMM(ANDI, op2i, IR_AND)
ROW_IMM(ADDIW, op2iw, IR_ADD)
ROW_SHIFT(SLLI, op2i, IR_SHL)
ROW_SHIFT(SRLI, op2i, IR_SHR)
ROW_SHIFT(SRAI, op2i, IR_SAR)
ROW_SHIFT(SLLIW, op2iw, IR_SHL)
ROW_SHIFT(SRLIW, op2iw, IR_SHR)
ROW_SHIFT(SRAIW, op2iw, IR_SAR)

bool trans_SLT(struct rv64_trans *t, const struct arg_SLT *a) {
    return set_if(t, IR_CMP_SLT, a->rd, rv64_get(t, a->rs1), rv64_get(t, a->rs2));
}

bool trans_SLTU(struct rv64_trans *t, const struct arg_SLTU *a) {
    return set_if(t, IR_CMP_ULT, a->rd, rv64_get(t, a->rs1), rv64_get(t, a->rs2));
}

bool trans_SLTI(struct rv64_trans *t, const struct arg_SLTI *a) {
    return set_if(t, IR_CMP_SLT, a->rd, rv64_get(t, a->rs1), rv64_imm(t, (uint64_t)rv64_imm_i(t->insn)));
}

bool trans_SLTIU(struct rv64_trans *t, const struct arg_SLTIU *a) {
    return set_if(t, IR_CMP_ULT, a->rd, rv64_get(t, a->rs1), rv64_imm(t, (uint64_t)rv64_imm_i(t->insn)));
}

bool trans_LUI(struct rv64_trans *t, const struct arg_LUI *a) {
    rv64_put(t, a->rd, rv64_imm(t, (uint64_t)(int64_t)(int32_t)(a->imm << 12)));
    return true;
}

bool trans_AUIPC(struct rv64_trans *t, const struct arg_AUIPC *a) {
    rv64_put(t, a->rd, ir_pc(t->b, t->pc + (uint64_t)(int64_t)(int32_t)(a->imm << 12)));
    return true;
}

/* --- jumps and branches ----------------------------------------------------------------------- */

/* Registers that calling conventions use for return addresses (2.5.1, return-address stack hints). */
static bool is_link(unsigned r) { return r == 1 || r == 5; }

static void put_link(struct rv64_trans *t, unsigned rd) {
    rv64_put(t, rd, ir_pc(t->b, t->pc + t->len));
    if (is_link(rd))
        ir_ras_push(t->b, t->pc + t->len);
}

bool trans_JAL(struct rv64_trans *t, const struct arg_JAL *a) {
    uint64_t target = t->pc + (uint64_t)rv64_imm_j(t->insn);
    put_link(t, a->rd);
    if (is_link(a->rd))
        rv64_goto(t, target);
    else
        rv64_branch(t, target);
    return true;
}

/* The lowest bit of the sum is ignored: no block is at an odd address, so that is for rv64_pc_fault(). */
bool trans_JALR(struct rv64_trans *t, const struct arg_JALR *a) {
    irv to = ir_op2i(t->b, IR_ADD, rv64_get(t, a->rs1), (uint64_t)rv64_imm_i(t->insn));
    put_link(t, a->rd);
    rv64_retire(t);
    ir_goto_reg(t->b, to, is_link(a->rd) ? IR_JUMP_CALL : is_link(a->rs1) ? IR_JUMP_RET : IR_JUMP_PLAIN);
    t->done = true;
    return true;
}

bool trans_BRANCH(struct rv64_trans *t, const struct arg_BRANCH *a) {
    static const enum ir_cmp conditions[8] = {
        [0] = IR_CMP_EQ, [1] = IR_CMP_NE, [4] = IR_CMP_SLT, [5] = IR_CMP_SGE, [6] = IR_CMP_ULT, [7] = IR_CMP_UGE};
    irv cond = ir_cmp(t->b, conditions[a->cond], rv64_get(t, a->rs1), rv64_get(t, a->rs2));
    rv64_branch_if(t, cond, t->pc + (uint64_t)rv64_imm_b(t->insn));
    return true;
}

/* --- M ---------------------------------------------------------------------------------------- */
ROW_OP2(MUL, op2, IR_MUL)
ROW_OP2(MULH, op2, IR_MULHS)
ROW_OP2(MULHU, op2, IR_MULHU)
ROW_OP2(MULW, op2w, IR_MUL)

bool trans_MULHSU(struct rv64_trans *t, const struct arg_MULHSU *a) {
    struct ir_block *b = t->b;
    irv x = rv64_get(t, a->rs1), y = rv64_get(t, a->rs2);
    irv correction = ir_op2(b, IR_AND, ir_op2i(b, IR_SAR, x, 63), y);
    rv64_put(t, a->rd, ir_op2(b, IR_SUB, ir_op2(b, IR_MULHU, x, y), correction));
    return true;
}

/* The quotient of a division by zero is all ones, its remainder the dividend; the IR's quotient is 0 then, which makes
 * the latter right by itself. */
static void divide(struct rv64_trans *t, bool u, bool rem, unsigned rd, irv x, irv y) {
    struct ir_block *b = t->b;
    enum ir_type type = ir_type_of(b, x);
    irv q = ir_op2(b, u ? IR_UDIV : IR_SDIV, x, y);
    if (rem) {
        rv64_put(t, rd, ir_op2(b, IR_SUB, x, ir_op2(b, IR_MUL, q, y)));
        return;
    }
    irv zero = ir_cmp(b, IR_CMP_EQ, y, ir_const(b, type, 0));
    rv64_put(t, rd, ir_select(b, zero, ir_const(b, type, type == IR_I64 ? ~UINT64_C(0) : MASK(32)), q));
}

bool trans_DIV(struct rv64_trans *t, const struct arg_DIV *a) {
    divide(t, a->u, a->rem, a->rd, rv64_get(t, a->rs1), rv64_get(t, a->rs2));
    return true;
}

bool trans_DIVW(struct rv64_trans *t, const struct arg_DIVW *a) {
    divide(t, a->u, a->rem, a->rd, rv64_get_w(t, a->rs1), rv64_get_w(t, a->rs2));
    return true;
}

/* --- Zba -------------------------------------------------------------------------------------- */

static bool shift_add(struct rv64_trans *t, unsigned rd, irv index, unsigned shift, unsigned rs2) {
    rv64_put(t, rd, ir_op2(t->b, IR_ADD, rv64_get(t, rs2), ir_op2i(t->b, IR_SHL, index, shift)));
    return true;
}

bool trans_SHADD(struct rv64_trans *t, const struct arg_SHADD *a) {
    return shift_add(t, a->rd, rv64_get(t, a->rs1), a->sh, a->rs2);
}

bool trans_SHADD_UW(struct rv64_trans *t, const struct arg_SHADD_UW *a) {
    return shift_add(t, a->rd, to_64(t, rv64_get_w(t, a->rs1)), a->sh, a->rs2);
}

bool trans_ADD_UW(struct rv64_trans *t, const struct arg_ADD_UW *a) {
    rv64_put(t, a->rd, ir_op2(t->b, IR_ADD, to_64(t, rv64_get_w(t, a->rs1)), rv64_get(t, a->rs2)));
    return true;
}

bool trans_SLLI_UW(struct rv64_trans *t, const struct arg_SLLI_UW *a) {
    rv64_put(t, a->rd, ir_op2i(t->b, IR_SHL, to_64(t, rv64_get_w(t, a->rs1)), a->sh));
    return true;
}

/* --- Zbb and Zbkb ----------------------------------------------------------------------------- */
ROW_OP2(ANDN, op2, IR_ANDN)
ROW_OP2(ROR, op2, IR_ROR)
ROW_OP2(RORW, op2w, IR_ROR)
ROW_SHIFT(RORI, op2i, IR_ROR)
ROW_SHIFT(RORIW, op2iw, IR_ROR)
ROW_OP1(CLZ, IR_CLZ)
ROW_OP1(SEXT_B, IR_SEXT8)
ROW_OP1(SEXT_H, IR_SEXT16)
ROW_OP1(REV8, IR_BSWAP)

bool trans_ORN(struct rv64_trans *t, const struct arg_ORN *a) {
    rv64_put(t, a->rd, ir_op2(t->b, IR_OR, rv64_get(t, a->rs1), ir_op1(t->b, IR_NOT, rv64_get(t, a->rs2))));
    return true;
}

bool trans_XNOR(struct rv64_trans *t, const struct arg_XNOR *a) {
    rv64_put(t, a->rd, ir_op1(t->b, IR_NOT, ir_op2(t->b, IR_XOR, rv64_get(t, a->rs1), rv64_get(t, a->rs2))));
    return true;
}

bool trans_ROL(struct rv64_trans *t, const struct arg_ROL *a) {
    rv64_put(t, a->rd, ir_op2(t->b, IR_ROR, rv64_get(t, a->rs1), ir_op1(t->b, IR_NEG, rv64_get(t, a->rs2))));
    return true;
}

bool trans_ROLW(struct rv64_trans *t, const struct arg_ROLW *a) {
    rv64_put(t, a->rd, ir_op2(t->b, IR_ROR, rv64_get_w(t, a->rs1), ir_op1(t->b, IR_NEG, rv64_get_w(t, a->rs2))));
    return true;
}

bool trans_CTZ(struct rv64_trans *t, const struct arg_CTZ *a) {
    rv64_put(t, a->rd, ir_op1(t->b, IR_CLZ, ir_op1(t->b, IR_RBIT, rv64_get(t, a->rs1))));
    return true;
}

bool trans_CLZW(struct rv64_trans *t, const struct arg_CLZW *a) {
    rv64_put(t, a->rd, ir_op1(t->b, IR_CLZ, rv64_get_w(t, a->rs1)));
    return true;
}

bool trans_CTZW(struct rv64_trans *t, const struct arg_CTZW *a) {
    rv64_put(t, a->rd, ir_op1(t->b, IR_CLZ, ir_op1(t->b, IR_RBIT, rv64_get_w(t, a->rs1))));
    return true;
}

/* The number of bits set, by adding ever larger fields. */
static irv count_bits(struct rv64_trans *t, irv v) {
    struct ir_block *b = t->b;
    irv odd = ir_op2i(b, IR_AND, ir_op2i(b, IR_SHR, v, 1), UINT64_C(0x5555555555555555));
    v = ir_op2(b, IR_SUB, v, odd);
    irv pairs = ir_op2i(b, IR_AND, ir_op2i(b, IR_SHR, v, 2), UINT64_C(0x3333333333333333));
    v = ir_op2(b, IR_ADD, ir_op2i(b, IR_AND, v, UINT64_C(0x3333333333333333)), pairs);
    v = ir_op2i(b, IR_AND, ir_op2(b, IR_ADD, v, ir_op2i(b, IR_SHR, v, 4)), UINT64_C(0x0f0f0f0f0f0f0f0f));
    return ir_op2i(b, IR_SHR, ir_op2i(b, IR_MUL, v, UINT64_C(0x0101010101010101)), 56);
}

bool trans_CPOP(struct rv64_trans *t, const struct arg_CPOP *a) {
    rv64_put(t, a->rd, count_bits(t, rv64_get(t, a->rs1)));
    return true;
}

bool trans_CPOPW(struct rv64_trans *t, const struct arg_CPOPW *a) {
    rv64_put(t, a->rd, count_bits(t, to_64(t, rv64_get_w(t, a->rs1))));
    return true;
}

bool trans_MINMAX(struct rv64_trans *t, const struct arg_MINMAX *a) {
    irv x = rv64_get(t, a->rs1), y = rv64_get(t, a->rs2);
    irv less = ir_cmp(t->b, a->u ? IR_CMP_ULT : IR_CMP_SLT, x, y);
    rv64_put(t, a->rd, a->max ? ir_select(t->b, less, y, x) : ir_select(t->b, less, x, y));
    return true;
}

/* Each byte becomes all ones if it is not 0. */
bool trans_ORC_B(struct rv64_trans *t, const struct arg_ORC_B *a) {
    struct ir_block *b = t->b;
    irv v = rv64_get(t, a->rs1), low = rv64_imm(t, UINT64_C(0x7f7f7f7f7f7f7f7f));
    irv top = ir_op2(b, IR_OR, ir_op2(b, IR_ADD, ir_op2(b, IR_AND, v, low), low), v); /* bit 7: the byte is not 0 */
    irv ones = ir_op2i(b, IR_AND, ir_op2i(b, IR_SHR, top, 7), UINT64_C(0x0101010101010101));
    rv64_put(t, a->rd, ir_op2i(b, IR_MUL, ones, 255));
    return true;
}

bool trans_BREV8(struct rv64_trans *t, const struct arg_BREV8 *a) {
    rv64_put(t, a->rd, ir_op1(t->b, IR_BSWAP, ir_op1(t->b, IR_RBIT, rv64_get(t, a->rs1))));
    return true;
}

bool trans_PACK(struct rv64_trans *t, const struct arg_PACK *a) {
    rv64_put(t, a->rd, ir_bitfield(t->b, IR_BFI, rv64_get(t, a->rs1), rv64_get(t, a->rs2), 32, 32));
    return true;
}

bool trans_PACKH(struct rv64_trans *t, const struct arg_PACKH *a) {
    irv low = ir_op1(t->b, IR_ZEXT8, rv64_get(t, a->rs1));
    rv64_put(t, a->rd, ir_bitfield(t->b, IR_BFI, low, rv64_get(t, a->rs2), 8, 8));
    return true;
}

bool trans_PACKW(struct rv64_trans *t, const struct arg_PACKW *a) {
    rv64_put(t, a->rd, ir_bitfield(t->b, IR_BFI, rv64_get_w(t, a->rs1), rv64_get_w(t, a->rs2), 16, 16));
    return true;
}

/* --- Zbs -------------------------------------------------------------------------------------- */

static irv bit_of(struct rv64_trans *t, unsigned rs2) { return ir_op2(t->b, IR_SHL, rv64_imm(t, 1), rv64_get(t, rs2)); }

static bool change_bit(struct rv64_trans *t, enum ir_op op, unsigned rd, unsigned rs1, unsigned rs2) {
    rv64_put(t, rd, ir_op2(t->b, op, rv64_get(t, rs1), bit_of(t, rs2)));
    return true;
}
ROW_OP2(BCLR, change_bit, IR_ANDN)
ROW_OP2(BINV, change_bit, IR_XOR)
ROW_OP2(BSET, change_bit, IR_OR)

bool trans_BCLRI(struct rv64_trans *t, const struct arg_BCLRI *a) {
    return op2i(t, IR_AND, a->rd, a->rs1, ~BIT(a->sh));
}

bool trans_BINVI(struct rv64_trans *t, const struct arg_BINVI *a) { return op2i(t, IR_XOR, a->rd, a->rs1, BIT(a->sh)); }

bool trans_BSETI(struct rv64_trans *t, const struct arg_BSETI *a) { return op2i(t, IR_OR, a->rd, a->rs1, BIT(a->sh)); }

bool trans_BEXT(struct rv64_trans *t, const struct arg_BEXT *a) {
    irv v = ir_op2(t->b, IR_SHR, rv64_get(t, a->rs1), rv64_get(t, a->rs2));
    rv64_put(t, a->rd, ir_op2i(t->b, IR_AND, v, 1));
    return true;
}

bool trans_BEXTI(struct rv64_trans *t, const struct arg_BEXTI *a) {
    rv64_put(t, a->rd, ir_bitfield(t->b, IR_UBFX, rv64_get(t, a->rs1), 0, a->sh, 1));
    return true;
}

/* --- Zbc, Zbkx, Zicond ------------------------------------------------------------------------ */

static irv carryless(struct rv64_trans *t, unsigned rs1, unsigned rs2, unsigned half) {
    irv x = ir_vop1(t->b, IR_VFROM, 3, rv64_get(t, rs1), 0), y = ir_vop1(t->b, IR_VFROM, 3, rv64_get(t, rs2), 0);
    return ir_vop1(t->b, IR_VGET, 3, ir_vop2(t->b, IR_VPMULL, 3, x, y, 0), half);
}

bool trans_CLMUL(struct rv64_trans *t, const struct arg_CLMUL *a) {
    rv64_put(t, a->rd, carryless(t, a->rs1, a->rs2, 0));
    return true;
}

bool trans_CLMULH(struct rv64_trans *t, const struct arg_CLMULH *a) {
    rv64_put(t, a->rd, carryless(t, a->rs1, a->rs2, 1));
    return true;
}

bool trans_CLMULR(struct rv64_trans *t, const struct arg_CLMULR *a) {
    irv lo = carryless(t, a->rs1, a->rs2, 0), hi = carryless(t, a->rs1, a->rs2, 1);
    rv64_put(t, a->rd, ir_bitfield(t->b, IR_EXTR, hi, lo, 63, 0));
    return true;
}

/* XPERM4, XPERM8: digits of a, chosen by those of index; 0 where there is none. */
static uint64_t permute(uint64_t a, uint64_t index, unsigned bits) {
    uint64_t r = 0;
    for (unsigned i = 0; i < 64; i += bits) {
        uint64_t from = (index >> i & MASK(bits)) * bits;
        r |= from < 64 ? (a >> from & MASK(bits)) << i : 0;
    }
    return r;
}
static uint64_t rv64_helper_xperm4(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return permute(a, b, 4); }
static uint64_t rv64_helper_xperm8(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return permute(a, b, 8); }
IR_HELPER(rv64_helper_xperm4, IR_HELPER_PURE);
IR_HELPER(rv64_helper_xperm8, IR_HELPER_PURE);

bool trans_XPERM4(struct rv64_trans *t, const struct arg_XPERM4 *a) {
    rv64_put(t, a->rd, ir_call(t->b, IR_I64, &helper_rv64_helper_xperm4, rv64_get(t, a->rs1), rv64_get(t, a->rs2), 0));
    return true;
}

bool trans_XPERM8(struct rv64_trans *t, const struct arg_XPERM8 *a) {
    rv64_put(t, a->rd, ir_call(t->b, IR_I64, &helper_rv64_helper_xperm8, rv64_get(t, a->rs1), rv64_get(t, a->rs2), 0));
    return true;
}

bool trans_CZERO(struct rv64_trans *t, const struct arg_CZERO *a) {
    irv cond = ir_cmp(t->b, a->nez ? IR_CMP_NE : IR_CMP_EQ, rv64_get(t, a->rs2), rv64_imm(t, 0));
    rv64_put(t, a->rd, ir_select(t->b, cond, rv64_imm(t, 0), rv64_get(t, a->rs1)));
    return true;
}
