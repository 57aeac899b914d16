/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ops.h: the operations and operands of the softfp test, the same in the guest program and on the host. */
#ifndef SOFTFP_OPS_H
#define SOFTFP_OPS_H

#include <stdint.h>

/* OP(name, lane, A64 instruction on v0 <- v1, v2, v3): scalar of lane log2 bytes. */
/* clang-format off */
#define OPS_SD(OP, L, R) \
    OP(add, L, "fadd " R "0, " R "1, " R "2") OP(sub, L, "fsub " R "0, " R "1, " R "2") \
    OP(mul, L, "fmul " R "0, " R "1, " R "2") OP(div, L, "fdiv " R "0, " R "1, " R "2") \
    OP(sqrt, L, "fsqrt " R "0, " R "1") OP(fma, L, "fmadd " R "0, " R "2, " R "3, " R "1") \
    OP(max, L, "fmax " R "0, " R "1, " R "2") OP(min, L, "fmin " R "0, " R "1, " R "2") \
    OP(maxnm, L, "fmaxnm " R "0, " R "1, " R "2") OP(minnm, L, "fminnm " R "0, " R "1, " R "2") \
    OP(cmpeq, L, "fcmeq " R "0, " R "1, " R "2") OP(cmpge, L, "fcmge " R "0, " R "1, " R "2") \
    OP(cmpgt, L, "fcmgt " R "0, " R "1, " R "2") OP(mulx, L, "fmulx " R "0, " R "1, " R "2") \
    OP(recpe, L, "frecpe " R "0, " R "1") OP(recps, L, "frecps " R "0, " R "1, " R "2") \
    OP(rsqrte, L, "frsqrte " R "0, " R "1") OP(rsqrts, L, "frsqrts " R "0, " R "1, " R "2") \
    OP(recpx, L, "frecpx " R "0, " R "1") \
    OP(rintn, L, "frintn " R "0, " R "1") OP(rinta, L, "frinta " R "0, " R "1") \
    OP(rintx, L, "frintx " R "0, " R "1") OP(rinti, L, "frinti " R "0, " R "1") \
    OP(rintz, L, "frintz " R "0, " R "1") OP(rintp, L, "frintp " R "0, " R "1") \
    OP(tosz, L, "fcvtzs " R "0, " R "1") OP(touz, L, "fcvtzu " R "0, " R "1") \
    OP(tosa, L, "fcvtas " R "0, " R "1") OP(toum, L, "fcvtmu " R "0, " R "1") \
    OP(tosf, L, "fcvtzs " R "0, " R "1, #7") OP(touf, L, "fcvtzu " R "0, " R "1, #13") \
    OP(froms, L, "scvtf " R "0, " R "1") OP(fromu, L, "ucvtf " R "0, " R "1") \
    OP(fromsf, L, "scvtf " R "0, " R "1, #9") OP(fromuf, L, "ucvtf " R "0, " R "1, #32") \
    OP(xtos, L, "fcvtns x0, " R "1\n fmov d0, x0") OP(wtou, L, "fcvtpu w0, " R "1\n fmov s0, w0") \
    OP(xfroms, L, "fmov x0, d1\n scvtf " R "0, x0") OP(wfromu, L, "fmov w0, s1\n ucvtf " R "0, w0") \
    OP(cmp, L, "fcmp " R "1, " R "2\n mrs x0, nzcv\n fmov d0, x0") \
    OP(cmpe, L, "fcmpe " R "1, " R "2\n mrs x0, nzcv\n fmov d0, x0")
/* clang-format on */
/* clang-format off */
#define OPS(OP) \
    OPS_SD(OP, 2, "s") OPS_SD(OP, 3, "d") \
    OP(widen, 2, "fcvt d0, s1") OP(narrow, 3, "fcvt s0, d1") OP(narrow_odd, 3, "fcvtxn s0, d1") \
    OP(widen, 1, "fcvt s0, h1") OP(narrow, 2, "fcvt h0, s1") OP(widen2, 1, "fcvt d0, h1") OP(narrow2, 3, "fcvt h0, d1")
/* clang-format on */

struct record {
    uint64_t result;
    uint32_t fpsr;
};

static inline uint64_t next_random(uint64_t *s) {
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A number of that size: special, near a limit, near another one, or random. */
static inline uint64_t random_operand(uint64_t *s, unsigned lane, uint64_t other) {
    static const unsigned fraction_bits[4] = {0, 10, 23, 52};
    unsigned bits = 8u << lane, f = fraction_bits[lane];
    uint64_t r = next_random(s), x = next_random(s), emax = (UINT64_C(1) << (bits - 1 - f)) - 1;
    uint64_t sign = r >> 63 << (bits - 1), frac = x & ((UINT64_C(1) << f) - 1), e = (x >> f) & emax;
    switch (r & 15) {
    case 0: e = 0; break;
    case 1: e = emax; break;
    case 2: { /* 0, 1, inf, NaN, limits */
        static const uint8_t fracs[] = {0, 0, 0, 0, 1, 2};
        e = (r >> 8 & 3) == 0 ? 0 : (r >> 8 & 3) == 1 ? emax : (r >> 8 & 3) == 2 ? emax / 2 : emax - 1;
        frac = fracs[(r >> 12) % 6] ? (fracs[(r >> 12) % 6] == 1 ? (UINT64_C(1) << f) - 1 : 1) : 0;
        break;
    }
    case 3:
    case 4: /* around 1: integers, halves */
        e = emax / 2 - 2 + (r >> 8) % (f + 14);
        frac = r & 32 ? frac >> (f / 2) << (f / 2) : frac;
        break;
    case 5: /* close to the other operand */ return (other ^ sign) + (r >> 8 & 7) - 3;
    case 6: e = 1 + (r >> 8 & 31); break;
    case 7: e = emax - 1 - (r >> 8 & 3); break;
    case 8: /* few bits: exact results */
        e = emax / 2 - 16 + (r >> 8 & 31);
        frac = frac >> (f - 4) << (f - 4);
        break;
    case 9: return x >> (r >> 8 & 63);
    default: break;
    }
    return sign | (e & emax) << f | frac;
}

/* FPCR of test i: every rounding mode with FZ, DN and AHP. */
static inline uint32_t test_fpcr(uint64_t r) {
    return (uint32_t)(r & 3) << 22 | (r & 12 ? 0 : (uint32_t)(r >> 4 & 7) << 24);
}

#endif
