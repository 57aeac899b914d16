/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* compressed.c: the 32-bit instructions that 16-bit ones stand for (extensions C with D, and Zcb). */
#include "guests/rv64/rv64.h"

/* bits(): a field of the instruction, moved to where it belongs in an immediate. */
static uint32_t bits(uint32_t c, unsigned lo, unsigned len, unsigned to) { return (c >> lo & ((1u << len) - 1)) << to; }

static uint32_t enc_i(uint32_t imm, unsigned rs1, unsigned funct3, unsigned rd, unsigned opcode) {
    return imm << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode;
}
static uint32_t enc_s(uint32_t imm, unsigned rs2, unsigned rs1, unsigned funct3, unsigned opcode) {
    return imm >> 5 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 31) << 7 | opcode;
}
static uint32_t enc_r(unsigned funct7, unsigned rs2, unsigned rs1, unsigned funct3, unsigned rd, unsigned opcode) {
    return funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode;
}
static uint32_t enc_b(uint32_t imm, unsigned rs2, unsigned rs1, unsigned funct3) {
    return bits(imm, 12, 1, 31) | bits(imm, 5, 6, 25) | rs2 << 20 | rs1 << 15 | funct3 << 12 | bits(imm, 1, 4, 8) |
           bits(imm, 11, 1, 7) | 0x63;
}
static uint32_t enc_j(uint32_t imm, unsigned rd) {
    return bits(imm, 20, 1, 31) | bits(imm, 1, 10, 21) | bits(imm, 11, 1, 20) | bits(imm, 12, 8, 12) | rd << 7 | 0x6f;
}

enum {
    LOAD = 0x03,
    LOAD_FP = 0x07,
    OP_IMM = 0x13,
    OP_IMM_W = 0x1b,
    STORE = 0x23,
    STORE_FP = 0x27,
    OP = 0x33,
    LUI = 0x37,
    OP_W = 0x3b,
    JALR = 0x67
};
enum { ZERO = 0, RA = 1, SP = 2 };

/* Signed immediate of CI: imm[5] at 12, imm[4:0] at 6..2. */
static uint32_t imm_ci(uint32_t c) { return (uint32_t)rv64_sext(bits(c, 12, 1, 5) | bits(c, 2, 5, 0), 6) & 0xfff; }
static uint32_t shamt(uint32_t c) { return bits(c, 12, 1, 5) | bits(c, 2, 5, 0); }
static uint32_t uimm_d(uint32_t c) { return bits(c, 10, 3, 3) | bits(c, 5, 2, 6); }
static uint32_t uimm_w(uint32_t c) { return bits(c, 10, 3, 3) | bits(c, 6, 1, 2) | bits(c, 5, 1, 6); }

/* Zcb's loads and stores of bytes and halfwords. */
static uint32_t expand_zcb_memory(uint32_t c, unsigned rs1, unsigned rd) {
    uint32_t byte = bits(c, 6, 1, 0) | bits(c, 5, 1, 1), half = bits(c, 5, 1, 1);
    switch (c >> 10 & 7) {
    case 0: return enc_i(byte, rs1, 4, rd, LOAD);                   /* C.LBU */
    case 1: return enc_i(half, rs1, c >> 6 & 1 ? 1 : 5, rd, LOAD);  /* C.LH, C.LHU */
    case 2: return enc_s(byte, rd, rs1, 0, STORE);                  /* C.SB */
    case 3: return c >> 6 & 1 ? 0 : enc_s(half, rd, rs1, 1, STORE); /* C.SH */
    default: return 0;
    }
}

static uint32_t expand_0(uint32_t c) {
    unsigned rd = 8 + (c >> 2 & 7), rs1 = 8 + (c >> 7 & 7);
    switch (c >> 13) {
    case 0: { /* C.ADDI4SPN */
        uint32_t imm = bits(c, 11, 2, 4) | bits(c, 7, 4, 6) | bits(c, 6, 1, 2) | bits(c, 5, 1, 3);
        return imm ? enc_i(imm, SP, 0, rd, OP_IMM) : 0;
    }
    case 1: return enc_i(uimm_d(c), rs1, 3, rd, LOAD_FP);
    case 2: return enc_i(uimm_w(c), rs1, 2, rd, LOAD);
    case 3: return enc_i(uimm_d(c), rs1, 3, rd, LOAD);
    case 4: return expand_zcb_memory(c, rs1, rd);
    case 5: return enc_s(uimm_d(c), rd, rs1, 3, STORE_FP);
    case 6: return enc_s(uimm_w(c), rd, rs1, 2, STORE);
    default: return enc_s(uimm_d(c), rd, rs1, 3, STORE);
    }
}

/* Zcb's operations on one register, C.MUL among them. */
static uint32_t expand_zcb_unary(unsigned kind, unsigned rd) {
    switch (kind) {
    case 0: return enc_i(255, rd, 7, rd, OP_IMM);   /* C.ZEXT.B */
    case 1: return enc_i(0x604, rd, 1, rd, OP_IMM); /* C.SEXT.B */
    case 2: return enc_r(4, ZERO, rd, 4, rd, OP_W); /* C.ZEXT.H */
    case 3: return enc_i(0x605, rd, 1, rd, OP_IMM); /* C.SEXT.H */
    case 4: return enc_r(4, ZERO, rd, 0, rd, OP_W); /* C.ZEXT.W */
    case 5: return enc_i(0xfff, rd, 4, rd, OP_IMM); /* C.NOT */
    default: return 0;
    }
}

static uint32_t expand_arithmetic(uint32_t c) {
    static const uint8_t op[4][2] = {{0x20, 0}, {0, 4}, {0, 6}, {0, 7}}; /* SUB XOR OR AND: funct7, funct3 */
    unsigned rd = 8 + (c >> 7 & 7), rs2 = 8 + (c >> 2 & 7), kind = c >> 5 & 3;
    switch (c >> 10 & 3) {
    case 0: return enc_i(shamt(c), rd, 5, rd, OP_IMM);
    case 1: return enc_i(0x400 | shamt(c), rd, 5, rd, OP_IMM);
    case 2: return enc_i(imm_ci(c), rd, 7, rd, OP_IMM);
    default:
        if (!(c >> 12 & 1))
            return enc_r(op[kind][0], rs2, rd, op[kind][1], rd, OP);
        if (kind < 2) /* C.SUBW, C.ADDW */
            return enc_r(kind ? 0 : 0x20, rs2, rd, 0, rd, OP_W);
        return kind == 2 ? enc_r(1, rs2, rd, 0, rd, OP) : expand_zcb_unary(c >> 2 & 7, rd);
    }
}

static uint32_t expand_1(uint32_t c) {
    unsigned rd = c >> 7 & 31;
    switch (c >> 13) {
    case 0: return enc_i(imm_ci(c), rd, 0, rd, OP_IMM);
    case 1: return rd ? enc_i(imm_ci(c), rd, 0, rd, OP_IMM_W) : 0;
    case 2: return enc_i(imm_ci(c), ZERO, 0, rd, OP_IMM);
    case 3: {
        uint32_t imm = bits(c, 12, 1, 9) | bits(c, 6, 1, 4) | bits(c, 5, 1, 6) | bits(c, 3, 2, 7) | bits(c, 2, 1, 5);
        if (!shamt(c)) /* zero immediates are reserved (and Zcmop's, which is not here) */
            return 0;
        if (rd == SP)
            return enc_i((uint32_t)rv64_sext(imm, 10) & 0xfff, SP, 0, SP, OP_IMM);
        return (uint32_t)rv64_sext(shamt(c), 6) << 12 | rd << 7 | LUI;
    }
    case 4: return expand_arithmetic(c);
    case 5: {
        uint32_t imm = bits(c, 12, 1, 11) | bits(c, 11, 1, 4) | bits(c, 9, 2, 8) | bits(c, 8, 1, 10) |
                       bits(c, 7, 1, 6) | bits(c, 6, 1, 7) | bits(c, 3, 3, 1) | bits(c, 2, 1, 5);
        return enc_j((uint32_t)rv64_sext(imm, 12), ZERO);
    }
    default: {
        uint32_t imm = bits(c, 12, 1, 8) | bits(c, 10, 2, 3) | bits(c, 5, 2, 6) | bits(c, 3, 2, 1) | bits(c, 2, 1, 5);
        return enc_b((uint32_t)rv64_sext(imm, 9), ZERO, 8 + (c >> 7 & 7), c >> 13 & 1);
    }
    }
}

/* C.JR, C.MV, C.EBREAK, C.JALR, C.ADD */
static uint32_t expand_jump_or_move(uint32_t c) {
    unsigned rd = c >> 7 & 31, rs2 = c >> 2 & 31, link = c >> 12 & 1;
    if (rs2)
        return enc_r(0, rs2, link ? rd : ZERO, 0, rd, OP);
    if (rd)
        return enc_i(0, rd, 0, link ? RA : ZERO, JALR);
    return link ? 0x00100073 : 0;
}

static uint32_t expand_2(uint32_t c) {
    unsigned rd = c >> 7 & 31, rs2 = c >> 2 & 31;
    uint32_t load_d = bits(c, 12, 1, 5) | bits(c, 5, 2, 3) | bits(c, 2, 3, 6),
             load_w = bits(c, 12, 1, 5) | bits(c, 4, 3, 2) | bits(c, 2, 2, 6),
             store_d = bits(c, 10, 3, 3) | bits(c, 7, 3, 6), store_w = bits(c, 9, 4, 2) | bits(c, 7, 2, 6);
    switch (c >> 13) {
    case 0: return enc_i(shamt(c), rd, 1, rd, OP_IMM);
    case 1: return enc_i(load_d, SP, 3, rd, LOAD_FP);
    case 2: return rd ? enc_i(load_w, SP, 2, rd, LOAD) : 0;
    case 3: return rd ? enc_i(load_d, SP, 3, rd, LOAD) : 0;
    case 4: return expand_jump_or_move(c);
    case 5: return enc_s(store_d, rs2, SP, 3, STORE_FP);
    case 6: return enc_s(store_w, rs2, SP, 2, STORE);
    default: return enc_s(store_d, rs2, SP, 3, STORE);
    }
}

uint32_t rv64_expand(uint16_t insn) {
    switch (insn & 3) {
    case 0: return expand_0(insn);
    case 1: return expand_1(insn);
    default: return expand_2(insn);
    }
}
