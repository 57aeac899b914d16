/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * softfp_int.h: what the softfp_*.c files share. Names in comments like
 * FPRound() are those of the Arm ARM's pseudocode, whose results these
 * functions reproduce bit for bit.
 */
#ifndef GRAFT_SOFTFP_INT_H
#define GRAFT_SOFTFP_INT_H

#include "graft/ir.h"
#include "graft/softfp.h"

typedef unsigned __int128 u128;

#define FPCR_RMODE(f) ((f) >> 22 & 3)
#define FPCR_FZ (1u << 24)
#define FPCR_DN (1u << 25)
#define FPCR_AHP (1u << 26)
#define FPSR_IOC (1u << 0)
#define FPSR_DZC (1u << 1)
#define FPSR_OFC (1u << 2)
#define FPSR_UFC (1u << 3)
#define FPSR_IXC (1u << 4)
#define FPSR_IDC (1u << 7)

#define DESC_LANE(d) ((d) & 15)
#define DESC_N(d) ((d) >> 4 & 15)
#define DESC_ROUND(d) ((d) >> 8 & 15)
#define DESC_FLAGS(d) ((d) >> 12 & 15)
#define DESC_FBITS(d) ((d) >> 16 & 255)
#define DESC_INT64(d) ((d) >> 24 & 1)

enum fp_class { FPC_ZERO, FPC_NORMAL, FPC_INF, FPC_QNAN, FPC_SNAN };

/* An unpacked number. FPC_NORMAL (subnormals too): frac * 2^(exp - 63) with bit 63 of frac set. */
struct fp_num {
    enum fp_class cls;
    bool sign;
    int exp;
    uint64_t frac;
    uint64_t raw;
};
struct fp_format {
    unsigned bits, fbits; /* all, fraction */
    int emax;             /* largest biased exponent: infinities and NaNs */
    int bias;
};
/* State of one operation: control in, status out. */
struct fp_ctx {
    uint32_t fpcr, fpsr;
    const struct fp_format *f;
    enum ir_round round;
};

extern const struct fp_format fp_formats[4]; /* by log2 bytes; [0] is unused */

struct fp_ctx fp_begin(const struct cpu *cpu, unsigned lane);
static inline void fp_end(struct cpu *cpu, const struct fp_ctx *c) { cpu->fp.fpsr |= c->fpsr; }

static inline bool fp_is_nan(const struct fp_num *n) { return n->cls >= FPC_QNAN; }
static inline uint64_t fp_sign_bit(const struct fp_format *f, bool sign) { return (uint64_t)sign << (f->bits - 1); }
static inline uint64_t fp_zero(const struct fp_format *f, bool sign) { return fp_sign_bit(f, sign); }
static inline uint64_t fp_inf(const struct fp_format *f, bool sign) {
    return fp_sign_bit(f, sign) | (uint64_t)f->emax << f->fbits;
}
static inline uint64_t fp_max_normal(const struct fp_format *f, bool sign) { return fp_inf(f, sign) - 1; }
static inline uint64_t fp_default_nan(const struct fp_format *f) { return fp_inf(f, false) | BIT(f->fbits - 1); }

uint64_t fp_lane(const v128 *v, unsigned lane, unsigned i);
void fp_set_lane(v128 *v, unsigned lane, unsigned i, uint64_t x);
/* FPUnpack() in the format of c. */
struct fp_num fp_unpack(struct fp_ctx *c, uint64_t raw);
/* FPProcessNaN(), FPProcessNaNs(): the latter returns false if none is a NaN. */
uint64_t fp_process_nan(struct fp_ctx *c, const struct fp_num *n);
bool fp_process_nans(struct fp_ctx *c, const struct fp_num *a, const struct fp_num *b, uint64_t *res);
uint64_t fp_invalid(struct fp_ctx *c);
/* FPRound() of frac * 2^(exp - 63), bit 63 of frac set, lowest bit sticky. */
uint64_t fp_round_pack(struct fp_ctx *c, bool sign, int exp, uint64_t frac);
/* Integer part of a normal number with exp <= 63, rounded. */
uint64_t fp_round_to_int(const struct fp_num *n, enum ir_round round, bool *inexact);
/* sign(a - b), neither a NaN. */
int fp_order(const struct fp_num *a, const struct fp_num *b);
/* a + b * c of unpacked finite numbers scaled by 2^scale; an exact zero gets the sign that the rounding mode asks
 * for. */
uint64_t fp_fused(struct fp_ctx *c, const struct fp_num *a, const struct fp_num *b, const struct fp_num *d, int scale);

#endif
