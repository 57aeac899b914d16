/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_crypto.c: AES and SHA-2 in integer registers (Zkne, Zknd, Zknh; Scalar Cryptography Extensions 1.0). */
#include "guests/rv64/rv64.h"

#include "rv64_decode.h"

/* --- AES: the halves of the state in two registers -------------------------------------------- */

static irv vector(struct rv64_trans *t, unsigned lo, unsigned hi) {
    return ir_vop2(t->b, IR_VINS, 3, ir_vop1(t->b, IR_VFROM, 3, rv64_get(t, lo), 0), rv64_get(t, hi), 1);
}

static bool put_low(struct rv64_trans *t, unsigned rd, irv v) {
    rv64_put(t, rd, ir_vop1(t->b, IR_VGET, 3, v, 0));
    return true;
}

static bool aes_round(struct rv64_trans *t, enum ir_op op, enum ir_op mix, unsigned rd, unsigned rs1, unsigned rs2) {
    irv v = ir_vop1(t->b, op, 0, vector(t, rs1, rs2), 0);
    return put_low(t, rd, mix == IR_NOP ? v : ir_vop1(t->b, mix, 0, v, 0));
}

bool trans_AES64E(struct rv64_trans *t, const struct arg_AES64E *a) {
    return aes_round(t, IR_VAESE, a->mix ? IR_VAESMC : IR_NOP, a->rd, a->rs1, a->rs2);
}

bool trans_AES64D(struct rv64_trans *t, const struct arg_AES64D *a) {
    return aes_round(t, IR_VAESD, a->mix ? IR_VAESIMC : IR_NOP, a->rd, a->rs1, a->rs2);
}

bool trans_AES64IM(struct rv64_trans *t, const struct arg_AES64IM *a) {
    return put_low(t, a->rd, ir_vop1(t->b, IR_VAESIMC, 0, ir_vop1(t->b, IR_VFROM, 3, rv64_get(t, a->rs1), 0), 0));
}

/* The upper word rotated, its bytes substituted, and a round constant; in both halves. The last round has neither. */
bool trans_AES64KS1I(struct rv64_trans *t, const struct arg_AES64KS1I *a) {
    static const uint8_t constants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36, 0};
    struct ir_block *b = t->b;
    if (a->rnum >= sizeof constants)
        return false;
    irv word = ir_op1(b, IR_TRUNC, ir_op2i(b, IR_SHR, rv64_get(t, a->rs1), 32));
    if (constants[a->rnum])
        word = ir_op2i(b, IR_ROR, word, 8);
    /* In a state of four equal columns ShiftRows changes nothing. */
    irv v = ir_vop1(b, IR_VAESE, 0, ir_vop1(b, IR_VDUP, 2, ir_op1(b, IR_ZEXT32, word), 0), 0);
    uint64_t both = constants[a->rnum] * UINT64_C(0x100000001);
    return put_low(t, a->rd, ir_vop2(b, IR_VXOR, 0, v, ir_vconst(b, both, 0), 0));
}

bool trans_AES64KS2(struct rv64_trans *t, const struct arg_AES64KS2 *a) {
    struct ir_block *b = t->b;
    irv y = rv64_get(t, a->rs2);
    irv first = ir_op2(b, IR_XOR, ir_op2i(b, IR_SHR, rv64_get(t, a->rs1), 32), y);
    irv second = ir_op2(b, IR_XOR, first, ir_op2i(b, IR_SHR, y, 32));
    rv64_put(t, a->rd, ir_bitfield(b, IR_BFI, first, second, 32, 32));
    return true;
}

/* --- SHA-2 ------------------------------------------------------------------------------------ */

/* Three rotations of a word XORed; of the small sigmas the third is a shift. */
static irv sigma(struct rv64_trans *t, irv v, const uint8_t by[3], bool shift) {
    irv a = ir_op2i(t->b, IR_ROR, v, by[0]), b = ir_op2i(t->b, IR_ROR, v, by[1]);
    irv c = ir_op2i(t->b, shift ? IR_SHR : IR_ROR, v, by[2]);
    return ir_op2(t->b, IR_XOR, ir_op2(t->b, IR_XOR, a, b), c);
}

/* Kinds: sum0, sum1, sig0, sig1. */
bool trans_SHA256(struct rv64_trans *t, const struct arg_SHA256 *a) {
    static const uint8_t by[4][3] = {{2, 13, 22}, {6, 11, 25}, {7, 18, 3}, {17, 19, 10}};
    rv64_put(t, a->rd, sigma(t, rv64_get_w(t, a->rs1), by[a->kind], a->kind & 2));
    return true;
}

bool trans_SHA512(struct rv64_trans *t, const struct arg_SHA512 *a) {
    static const uint8_t by[4][3] = {{28, 34, 39}, {14, 18, 41}, {1, 8, 7}, {19, 61, 6}};
    rv64_put(t, a->rd, sigma(t, rv64_get(t, a->rs1), by[a->kind], a->kind & 2));
    return true;
}
