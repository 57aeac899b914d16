/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest.c: runs the operations of ops.h on an A64 machine (qemu-aarch64) and writes result and FPSR records. */
#include <stdio.h>
#include <stdlib.h>

#include "ops.h"

#define FUNCTION(name, lane, text)                                                                                     \
    static uint64_t op_##name##_##lane(uint64_t a, uint64_t b, uint64_t c) {                                           \
        uint64_t r;                                                                                                    \
        __asm__ volatile("fmov d1, %1\n fmov d2, %2\n fmov d3, %3\n" text "\n fmov %0, d0"                             \
                         : "=r"(r)                                                                                     \
                         : "r"(a), "r"(b), "r"(c)                                                                      \
                         : "x0", "v0", "v1", "v2", "v3", "cc");                                                        \
        return r;                                                                                                      \
    }
OPS(FUNCTION)

#define ENTRY(name, lane, text) {op_##name##_##lane, lane},
static const struct {
    uint64_t (*fn)(uint64_t a, uint64_t b, uint64_t c);
    unsigned lane;
} table[] = {OPS(ENTRY)};

int main(int argc, char **argv) {
    uint64_t seed = strtoull(argv[1], NULL, 0);
    long rounds = strtol(argv[2], NULL, 0);
    for (long i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
            uint64_t fpcr = test_fpcr(next_random(&seed)), fpsr = 0;
            uint64_t a = random_operand(&seed, table[k].lane, 0), b = random_operand(&seed, table[k].lane, a);
            uint64_t c = random_operand(&seed, table[k].lane, b);
            struct record r = {0, 0};
            __asm__ volatile("msr fpcr, %0\n msr fpsr, %1" : : "r"(fpcr), "r"(fpsr));
            r.result = table[k].fn(a, b, c);
            __asm__ volatile("mrs %0, fpsr\n msr fpcr, xzr" : "=r"(fpsr));
            r.fpsr = (uint32_t)fpsr;
            fwrite(&r, 12, 1, stdout);
        }
    }
    return 0;
}
