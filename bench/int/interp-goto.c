/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* interp-goto - the same byte code interpreter with computed goto: one indirect branch for each operation. */

#include "interp.h"

static int64_t run(void) {
    static const void *const labels[] = {&&halt, &&loadi, &&mov,  &&add,   &&addi, &&sub, &&mul, &&shr,
                                         &&andi, &&xor,   &&load, &&store, &&jmp,  &&jnz, &&jz,  &&jlt};
    int64_t r[16] = {0};
    const struct insn *i = program;
#define NEXT                                                                                                           \
    do {                                                                                                               \
        i++;                                                                                                           \
        goto *labels[i->op];                                                                                           \
    } while (0)
#define JUMP_IF(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            NEXT;                                                                                                      \
        i = program + i->imm;                                                                                          \
        goto *labels[i->op];                                                                                           \
    } while (0)
    goto *labels[i->op];
loadi:
    r[i->d] = i->imm;
    NEXT;
mov:
    r[i->d] = r[i->s];
    NEXT;
add:
    r[i->d] += r[i->s];
    NEXT;
addi:
    r[i->d] += i->imm;
    NEXT;
sub:
    r[i->d] -= r[i->s];
    NEXT;
mul:
    r[i->d] *= r[i->s];
    NEXT;
shr:
    r[i->d] >>= i->imm;
    NEXT;
andi:
    r[i->d] &= i->imm;
    NEXT;
    xor : r[i->d] ^= r[i->s];
    NEXT;
load:
    r[i->d] = memory[r[i->s] & (MEMORY - 1)];
    NEXT;
store:
    memory[r[i->d] & (MEMORY - 1)] = (uint8_t)r[i->s];
    NEXT;
jmp:
    JUMP_IF(true);
jnz:
    JUMP_IF(r[i->d]);
jz:
    JUMP_IF(!r[i->d]);
jlt:
    JUMP_IF(r[i->d] < r[i->s]);
halt:
    return r[0];
}

int main(void) {
    bench_begin();
    uint64_t sum = bench_mix(0, (uint64_t)run());
    for (size_t i = 0; i < MEMORY; i += 7)
        sum = bench_mix(sum, memory[i]);
    bench_end("interp-goto", sum);
    return 0;
}
