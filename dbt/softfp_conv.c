/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* softfp_conv.c: softfp's comparisons, conversions, and Arm's estimate and step functions. */
#include "dbt/softfp_int.h"

static enum ir_round desc_round(const struct fp_ctx *c, uint32_t desc) {
    enum ir_round r = (enum ir_round)DESC_ROUND(desc);
    return r == IR_RN_CURRENT ? c->round : r;
}

/* --- comparisons ------------------------------------------------------------------------------ */
static uint64_t cmp_raw(struct fp_ctx *c, uint64_t x, uint64_t y, bool signal, int least) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y);
    if (fp_is_nan(&a) || fp_is_nan(&b)) {
        if (signal || a.cls == FPC_SNAN || b.cls == FPC_SNAN)
            c->fpsr |= FPSR_IOC;
        return 0;
    }
    int order = fp_order(&a, &b);
    return (signal ? order >= least : order == 0) ? ~UINT64_C(0) : 0;
}

static uint64_t cmpeq_raw(struct fp_ctx *c, uint64_t x, uint64_t y) { return cmp_raw(c, x, y, false, 0); }

static uint64_t cmpge_raw(struct fp_ctx *c, uint64_t x, uint64_t y) { return cmp_raw(c, x, y, true, 0); }

static uint64_t cmpgt_raw(struct fp_ctx *c, uint64_t x, uint64_t y) { return cmp_raw(c, x, y, true, 1); }

uint32_t fp_compare(struct cpu *cpu, const v128 *a, const v128 *b, uint32_t desc) {
    unsigned lane = DESC_LANE(desc);
    struct fp_ctx ctx = fp_begin(cpu, lane);
    struct fp_num x = fp_unpack(&ctx, fp_lane(a, lane, 0)), y = fp_unpack(&ctx, fp_lane(b, lane, 0));
    uint32_t nzcv = 3u << 28;
    if (fp_is_nan(&x) || fp_is_nan(&y)) {
        if ((DESC_FLAGS(desc) & IR_FP_SIGNAL) || x.cls == FPC_SNAN || y.cls == FPC_SNAN)
            ctx.fpsr |= FPSR_IOC;
    } else {
        int order = fp_order(&x, &y);
        nzcv = order == 0 ? 6u << 28 : order < 0 ? 8u << 28 : 2u << 28;
    }
    fp_end(cpu, &ctx);
    return nzcv;
}

/* --- rounding to integers --------------------------------------------------------------------- */
static uint64_t rint_raw(struct fp_ctx *c, uint64_t x, enum ir_round round, bool exact) {
    struct fp_num a = fp_unpack(c, x);
    if (fp_is_nan(&a))
        return fp_process_nan(c, &a);
    if (a.cls != FPC_NORMAL || a.exp >= (int)c->f->fbits)
        return a.raw;
    bool inexact;
    uint64_t m = fp_round_to_int(&a, round, &inexact);
    if (inexact && exact)
        c->fpsr |= FPSR_IXC;
    if (!m)
        return fp_zero(c->f, a.sign);
    int lz = __builtin_clzll(m);
    return fp_round_pack(c, a.sign, 63 - lz, m << lz);
}

/* FPToFixed(): bits-wide integer, saturated, as its low 64 bits. */
static uint64_t to_fixed(struct fp_ctx *c, uint64_t x, unsigned fbits, bool is_signed, unsigned bits,
                         enum ir_round round) {
    struct fp_num a = fp_unpack(c, x);
    if (fp_is_nan(&a)) {
        c->fpsr |= FPSR_IOC;
        return 0;
    }
    if (a.cls == FPC_ZERO)
        return 0;
    uint64_t limit = is_signed ? MASK(bits - 1) + a.sign : a.sign ? 0 : MASK(bits);
    uint64_t saturated = (a.sign ? -limit : limit) & MASK(bits);
    a.exp += (int)fbits;
    bool inexact;
    if (a.cls == FPC_INF || a.exp > 63) {
        c->fpsr |= FPSR_IOC;
        return saturated;
    }
    uint64_t m = fp_round_to_int(&a, round, &inexact);
    if (m > limit) {
        c->fpsr |= FPSR_IOC;
        return saturated;
    }
    if (inexact)
        c->fpsr |= FPSR_IXC;
    return (a.sign ? -m : m) & MASK(bits);
}

/* FixedToFP() of a bits-wide integer. */
static uint64_t from_fixed(struct fp_ctx *c, uint64_t x, unsigned fbits, bool is_signed, unsigned bits) {
    x &= MASK(bits);
    bool sign = is_signed && x >> (bits - 1);
    uint64_t m = (sign ? -x : x) & MASK(bits);
    if (!m)
        return fp_zero(c->f, false);
    int lz = __builtin_clzll(m);
    return fp_round_pack(c, sign, 63 - lz - (int)fbits, m << lz);
}

static uint64_t scalar_to(struct cpu *cpu, const v128 *a, uint32_t desc, bool is_signed) {
    struct fp_ctx ctx = fp_begin(cpu, DESC_LANE(desc));
    uint64_t r = to_fixed(&ctx, fp_lane(a, DESC_LANE(desc), 0), DESC_FBITS(desc), is_signed, DESC_INT64(desc) ? 64 : 32,
                          desc_round(&ctx, desc));
    fp_end(cpu, &ctx);
    return r;
}

uint64_t fp_scalar_to_s(struct cpu *cpu, const v128 *a, uint32_t desc) { return scalar_to(cpu, a, desc, true); }

uint64_t fp_scalar_to_u(struct cpu *cpu, const v128 *a, uint32_t desc) { return scalar_to(cpu, a, desc, false); }

static void scalar_from(struct cpu *cpu, v128 *res, uint64_t a, uint32_t desc, bool is_signed) {
    struct fp_ctx ctx = fp_begin(cpu, DESC_LANE(desc));
    uint64_t r = from_fixed(&ctx, a, DESC_FBITS(desc), is_signed, DESC_INT64(desc) ? 64 : 32);
    fp_end(cpu, &ctx);
    *res = (v128){.u64 = {0, 0}};
    fp_set_lane(res, DESC_LANE(desc), 0, r);
}

void fp_scalar_from_s(struct cpu *cpu, v128 *res, uint64_t a, uint32_t desc) { scalar_from(cpu, res, a, desc, true); }

void fp_scalar_from_u(struct cpu *cpu, v128 *res, uint64_t a, uint32_t desc) { scalar_from(cpu, res, a, desc, false); }

/* --- between formats: FPConvert() ------------------------------------------------------------- */
static uint64_t convert(struct fp_ctx *c, uint64_t x, const struct fp_format *to) {
    const struct fp_format *from = c->f;
    struct fp_num a = fp_unpack(c, x);
    uint64_t res;
    bool alternative = to->bits == 16 && (c->fpcr & FPCR_AHP);
    c->f = to;
    if (fp_is_nan(&a)) {
        uint64_t payload = (a.raw & MASK(from->fbits)) << (52 - from->fbits) >> (52 - to->fbits);
        res = alternative         ? fp_zero(to, a.sign)
              : c->fpcr & FPCR_DN ? fp_default_nan(to)
                                  : fp_inf(to, a.sign) | BIT(to->fbits - 1) | payload;
        if (a.cls == FPC_SNAN || alternative)
            c->fpsr |= FPSR_IOC;
    } else if (a.cls == FPC_INF) {
        res = alternative ? fp_sign_bit(to, a.sign) | MASK(15) : fp_inf(to, a.sign);
        c->fpsr |= alternative ? FPSR_IOC : 0;
    } else if (a.cls == FPC_ZERO) {
        res = fp_zero(to, a.sign);
    } else {
        res = fp_round_pack(c, a.sign, a.exp, a.frac);
    }
    c->f = from;
    return res;
}

/* desc flag IR_FP_EXACT selects the step half <-> double, which skips single. */
static void convert_lanes(struct cpu *cpu, v128 *res, const v128 *a, uint32_t desc, unsigned to) {
    unsigned from = DESC_LANE(desc);
    struct fp_ctx ctx = fp_begin(cpu, from);
    if (DESC_ROUND(desc) == IR_RN_ODD)
        ctx.round = IR_RN_ODD;
    v128 r = {.u64 = {0, 0}};
    for (unsigned i = 0; i < DESC_N(desc); i++)
        fp_set_lane(&r, to, i, convert(&ctx, fp_lane(a, from, i), &fp_formats[to & 3]));
    fp_end(cpu, &ctx);
    *res = r;
}

void fp_widen(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    convert_lanes(cpu, res, a, desc, DESC_FLAGS(desc) & IR_FP_EXACT ? 3 : DESC_LANE(desc) + 1);
}

void fp_narrow(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    convert_lanes(cpu, res, a, desc, DESC_FLAGS(desc) & IR_FP_EXACT ? 1 : DESC_LANE(desc) - 1);
}

/* --- FPMulX(), FPRecpStepFused(), FPRSqrtStepFused() ------------------------------------------ */
static uint64_t mulx_raw(struct fp_ctx *c, uint64_t x, uint64_t y) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y);
    uint64_t res;
    if (fp_process_nans(c, &a, &b, &res))
        return res;
    bool sign = a.sign ^ b.sign, inf = a.cls == FPC_INF || b.cls == FPC_INF;
    if (a.cls == FPC_ZERO || b.cls == FPC_ZERO)
        return inf ? fp_sign_bit(c->f, sign) | (uint64_t)(c->f->bias + 1) << c->f->fbits : fp_zero(c->f, sign);
    if (inf)
        return fp_inf(c->f, sign);
    struct fp_num zero = {FPC_ZERO, sign, 0, 0, 0};
    return fp_fused(c, &zero, &a, &b, 0);
}

/* (constant - x * y) * 2^scale; special: the result of inf * 0. */
static uint64_t step(struct fp_ctx *c, uint64_t x, uint64_t y, const struct fp_num *constant, int scale,
                     uint64_t special) {
    struct fp_num a = fp_unpack(c, x ^ fp_sign_bit(c->f, true)), b = fp_unpack(c, y);
    uint64_t res;
    if (fp_process_nans(c, &a, &b, &res))
        return res;
    if (a.cls == FPC_INF || b.cls == FPC_INF)
        return a.cls == FPC_ZERO || b.cls == FPC_ZERO ? special : fp_inf(c->f, a.sign ^ b.sign);
    return fp_fused(c, constant, &a, &b, scale);
}

static uint64_t recps_raw(struct fp_ctx *c, uint64_t x, uint64_t y) {
    static const struct fp_num two = {FPC_NORMAL, false, 1, BIT(63), 0};
    return step(c, x, y, &two, 0, (uint64_t)(c->f->bias + 1) << c->f->fbits);
}

static uint64_t rsqrts_raw(struct fp_ctx *c, uint64_t x, uint64_t y) {
    static const struct fp_num three = {FPC_NORMAL, false, 1, 3 * BIT(62), 0};
    return step(c, x, y, &three, -1, (uint64_t)c->f->bias << c->f->fbits | BIT(c->f->fbits - 1));
}

/* --- FPRecipEstimate(), FPRSqrtEstimate(), FPRecpX() ------------------------------------------ */
static unsigned recip_estimate(unsigned a) {
    a = a * 2 + 1;
    return ((1u << 19) / a + 1) / 2;
}

static unsigned recip_sqrt_estimate(unsigned a) {
    a = a < 256 ? a * 2 + 1 : ((a >> 1 << 1) + 1) * 2;
    unsigned b = 512;
    while (a * (b + 1) * (b + 1) < 1u << 28)
        b++;
    return (b + 1) / 2;
}

static uint64_t recpe_raw(struct fp_ctx *c, uint64_t x) {
    const struct fp_format *f = c->f;
    struct fp_num a = fp_unpack(c, x);
    if (fp_is_nan(&a))
        return fp_process_nan(c, &a);
    if (a.cls == FPC_INF)
        return fp_zero(f, a.sign);
    if (a.cls == FPC_ZERO) {
        c->fpsr |= FPSR_DZC;
        return fp_inf(f, a.sign);
    }
    if (a.exp < -f->bias - 1) { /* |x| < 2^-(bias + 1): the result overflows */
        bool to_inf = c->round == IR_RN_EVEN || c->round == (a.sign ? IR_RN_DOWN : IR_RN_UP);
        c->fpsr |= FPSR_OFC | FPSR_IXC;
        return to_inf ? fp_inf(f, a.sign) : fp_max_normal(f, a.sign);
    }
    if (f->bits != 16 && (c->fpcr & FPCR_FZ) && a.exp >= f->bias - 1) {
        c->fpsr |= FPSR_UFC;
        return fp_zero(f, a.sign);
    }
    uint64_t estimate = recip_estimate((unsigned)(a.frac >> 55)); /* 1.8 fixed point: 256 .. 511 */
    int e = f->bias - 1 - a.exp;
    uint64_t frac = (estimate & 255) << (f->fbits - 8);
    if (e <= 0) { /* subnormal result: 0 or -1 */
        frac = (frac | BIT(f->fbits)) >> (1 - e);
        e = 0;
    }
    return fp_sign_bit(f, a.sign) | (uint64_t)e << f->fbits | frac;
}

static uint64_t rsqrte_raw(struct fp_ctx *c, uint64_t x) {
    const struct fp_format *f = c->f;
    struct fp_num a = fp_unpack(c, x);
    if (fp_is_nan(&a))
        return fp_process_nan(c, &a);
    if (a.cls == FPC_ZERO) {
        c->fpsr |= FPSR_DZC;
        return fp_inf(f, a.sign);
    }
    if (a.sign)
        return fp_invalid(c);
    if (a.cls == FPC_INF)
        return fp_zero(f, false);
    /* The biased exponent, which may be negative here: even and odd use the two halves of the table. */
    int e = a.exp + f->bias;
    unsigned scaled = (unsigned)(a.frac >> 55) >> (e & 1);
    uint64_t estimate = recip_sqrt_estimate(scaled);
    int twice = 3 * f->bias - 1 - e;
    return (uint64_t)(twice >> 1) << f->fbits | (estimate & 255) << (f->fbits - 8);
}

static uint64_t recpx_raw(struct fp_ctx *c, uint64_t x) {
    const struct fp_format *f = c->f;
    struct fp_num a = fp_unpack(c, x);
    if (fp_is_nan(&a))
        return fp_process_nan(c, &a);
    int e = (int)(x >> f->fbits) & f->emax;
    e = e ? e ^ f->emax : f->emax - 1;
    return fp_sign_bit(f, a.sign) | (uint64_t)e << f->fbits;
}

/* --- the vector forms ------------------------------------------------------------------------- */
#define FP_LANES(name, expression)                                                                                     \
    void name(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {                \
        unsigned lane = DESC_LANE(desc), bits = 8u << lane;                                                            \
        struct fp_ctx ctx = fp_begin(cpu, lane);                                                                       \
        v128 r = {.u64 = {0, 0}};                                                                                      \
        (void)bits;                                                                                                    \
        for (unsigned i = 0; i < DESC_N(desc); i++) {                                                                  \
            fp_set_lane(&r, lane, i, expression);                                                                      \
        }                                                                                                              \
        fp_end(cpu, &ctx);                                                                                             \
        *res = r;                                                                                                      \
    }
#define A fp_lane(a, lane, i)
#define B fp_lane(b, lane, i)
FP_LANES(fp_cmpeq, cmpeq_raw(&ctx, A, B))
FP_LANES(fp_cmpge, cmpge_raw(&ctx, A, B))
FP_LANES(fp_cmpgt, cmpgt_raw(&ctx, A, B))
FP_LANES(fp_mulx, mulx_raw(&ctx, A, B))
FP_LANES(fp_recps, recps_raw(&ctx, A, B))
FP_LANES(fp_rsqrts, rsqrts_raw(&ctx, A, B))
FP_LANES(fp_recpe, recpe_raw(&ctx, A))
FP_LANES(fp_rsqrte, rsqrte_raw(&ctx, A))
FP_LANES(fp_recpx, recpx_raw(&ctx, A))
FP_LANES(fp_rint, rint_raw(&ctx, A, desc_round(&ctx, desc), DESC_FLAGS(desc) & IR_FP_EXACT))
FP_LANES(fp_to_s, to_fixed(&ctx, A, DESC_FBITS(desc), true, bits, desc_round(&ctx, desc)))
FP_LANES(fp_to_u, to_fixed(&ctx, A, DESC_FBITS(desc), false, bits, desc_round(&ctx, desc)))
FP_LANES(fp_from_s, from_fixed(&ctx, A, DESC_FBITS(desc), true, bits))
FP_LANES(fp_from_u, from_fixed(&ctx, A, DESC_FBITS(desc), false, bits))
#undef A
#undef B
