/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* interp-switch - a byte code interpreter around a switch. */

#include "interp.h"

static int64_t run(void) {
    int64_t r[16] = {0};
    const struct insn *pc = program;
    for (;;) {
        const struct insn *i = pc++;
        switch ((enum op)i->op) {
        case OP_HALT: return r[0];
        case OP_LOADI: r[i->d] = i->imm; break;
        case OP_MOV: r[i->d] = r[i->s]; break;
        case OP_ADD: r[i->d] += r[i->s]; break;
        case OP_ADDI: r[i->d] += i->imm; break;
        case OP_SUB: r[i->d] -= r[i->s]; break;
        case OP_MUL: r[i->d] *= r[i->s]; break;
        case OP_SHR: r[i->d] >>= i->imm; break;
        case OP_ANDI: r[i->d] &= i->imm; break;
        case OP_XOR: r[i->d] ^= r[i->s]; break;
        case OP_LOAD: r[i->d] = memory[r[i->s] & (MEMORY - 1)]; break;
        case OP_STORE: memory[r[i->d] & (MEMORY - 1)] = (uint8_t)r[i->s]; break;
        case OP_JMP: pc = program + i->imm; break;
        case OP_JNZ: pc = r[i->d] ? program + i->imm : pc; break;
        case OP_JZ: pc = r[i->d] ? pc : program + i->imm; break;
        case OP_JLT: pc = r[i->d] < r[i->s] ? program + i->imm : pc; break;
        }
    }
}

int main(void) {
    bench_begin();
    uint64_t sum = bench_mix(0, (uint64_t)run());
    for (size_t i = 0; i < MEMORY; i += 7)
        sum = bench_mix(sum, memory[i]);
    bench_end("interp-switch", sum);
    return 0;
}
