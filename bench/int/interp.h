/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* interp.h - the byte code and its program for the two interpreter benchmarks: a sieve and a Collatz search. */

#ifndef INTERP_H
#define INTERP_H

#include "bench.h"

/* Instructions are three bytes and a 16-bit immediate: op, destination, source. */
enum op {
    OP_HALT,
    OP_LOADI,
    OP_MOV,
    OP_ADD,
    OP_ADDI,
    OP_SUB,
    OP_MUL,
    OP_SHR,
    OP_ANDI,
    OP_XOR,
    OP_LOAD,
    OP_STORE,
    OP_JMP,
    OP_JNZ,
    OP_JZ,
    OP_JLT
};

struct insn {
    uint8_t op, d, s, unused;
    int32_t imm;
};

enum { MEMORY = 1 << 16 };

/* Registers: r0 sum, r1 n, r2 limit, r3 i, r4 step, r5 t, r6 one, r7 outer counter. */
static const struct insn program[] = {
    {OP_LOADI, 0, 0, 0, 0},
    {OP_LOADI, 6, 0, 0, 1},
    {OP_LOADI, 7, 0, 0, 30},
    /* 3: clear the sieve */
    {OP_LOADI, 3, 0, 0, 0},
    {OP_LOADI, 2, 0, 0, 65536},
    {OP_STORE, 3, 6, 0, 0},
    {OP_ADDI, 3, 0, 0, 1},
    {OP_JLT, 3, 2, 0, 5},
    /* 8: strike out multiples */
    {OP_LOADI, 1, 0, 0, 2},
    {OP_LOAD, 5, 1, 0, 0},
    {OP_JZ, 5, 0, 0, 18},
    {OP_MOV, 3, 1, 0, 0},
    {OP_MUL, 3, 1, 0, 0},
    {OP_JLT, 3, 2, 0, 15},
    {OP_JMP, 0, 0, 0, 20},
    {OP_STORE, 3, 8, 0, 0},
    {OP_ADD, 3, 1, 0, 0},
    {OP_JLT, 3, 2, 0, 15},
    {OP_ADDI, 1, 0, 0, 1},
    {OP_JLT, 1, 2, 0, 9},
    /* 20: Collatz lengths below 3000, added to the sum */
    {OP_LOADI, 1, 0, 0, 1},
    {OP_MOV, 3, 1, 0, 0},
    {OP_MOV, 5, 3, 0, 0},
    {OP_SUB, 5, 6, 0, 0},
    {OP_JZ, 5, 0, 0, 34},
    {OP_ADDI, 0, 0, 0, 1},
    {OP_MOV, 5, 3, 0, 0},
    {OP_ANDI, 5, 0, 0, 1},
    {OP_JNZ, 5, 0, 0, 31},
    {OP_SHR, 3, 0, 0, 1},
    {OP_JMP, 0, 0, 0, 22},
    {OP_LOADI, 4, 0, 0, 3},
    {OP_MUL, 3, 4, 0, 0},
    {OP_JMP, 0, 0, 0, 42},
    {OP_ADDI, 1, 0, 0, 1},
    {OP_LOADI, 5, 0, 0, 3000},
    {OP_JLT, 1, 5, 0, 21},
    /* 37: once more, with the sum stirred */
    {OP_LOADI, 5, 0, 0, 40503},
    {OP_XOR, 0, 5, 0, 0},
    {OP_SUB, 7, 6, 0, 0},
    {OP_JNZ, 7, 0, 0, 3},
    {OP_HALT, 0, 0, 0, 0},
    /* 42: the rest of 3n + 1 */
    {OP_ADDI, 3, 0, 0, 1},
    {OP_JMP, 0, 0, 0, 22},
};

static uint8_t memory[MEMORY];

#endif
