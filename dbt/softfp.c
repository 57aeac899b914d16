/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* softfp.c: exact floating point in integers: unpacking, rounding, NaNs, arithmetic, and the link to the host's
 * MXCSR. */
#include "dbt/softfp_int.h"

const struct fp_format fp_formats[4] = {
    {0, 0, 0, 0},
    {16, 10, 31, 15},
    {32, 23, 255, 127},
    {64, 52, 2047, 1023},
};

/* --- lanes ------------------------------------------------------------------------------------ */
uint64_t fp_lane(const v128 *v, unsigned lane, unsigned i) {
    switch (lane) {
    case 1: return v->u16[i & 7];
    case 2: return v->u32[i & 3];
    default: return v->u64[i & 1];
    }
}

void fp_set_lane(v128 *v, unsigned lane, unsigned i, uint64_t x) {
    switch (lane) {
    case 1: v->u16[i & 7] = (uint16_t)x; break;
    case 2: v->u32[i & 3] = (uint32_t)x; break;
    default: v->u64[i & 1] = x; break;
    }
}

struct fp_ctx fp_begin(const struct cpu *cpu, unsigned lane) {
    uint32_t fpcr = cpu->fp.fpcr;
    enum ir_round round = fpcr & FP_TIES_AWAY ? IR_RN_AWAY : (enum ir_round)FPCR_RMODE(fpcr);
    return (struct fp_ctx){fpcr, 0, &fp_formats[lane & 3], round};
}

/* --- unpacking and NaNs ----------------------------------------------------------------------- */
struct fp_num fp_unpack(struct fp_ctx *c, uint64_t raw) {
    const struct fp_format *f = c->f;
    int e = (int)(raw >> f->fbits) & f->emax;
    uint64_t frac = raw & MASK(f->fbits);
    struct fp_num n = {FPC_NORMAL, raw >> (f->bits - 1) & 1, 0, 0, raw & MASK(f->bits)};
    bool half = f->bits == 16;
    if (e == 0) {
        if (frac && !half && (c->fpcr & FPCR_FZ)) {
            c->fpsr |= FPSR_IDC;
            frac = 0;
        }
        if (!frac) {
            n.cls = FPC_ZERO;
            n.raw = fp_zero(f, n.sign);
            return n;
        }
        int lz = __builtin_clzll(frac);
        n.frac = frac << lz;
        n.exp = 64 - lz - f->bias - (int)f->fbits;
    } else if (e == f->emax && !(half && (c->fpcr & FPCR_AHP))) {
        n.cls = !frac ? FPC_INF : frac >> (f->fbits - 1) ? FPC_QNAN : FPC_SNAN;
    } else {
        n.frac = (BIT(f->fbits) | frac) << (63 - f->fbits);
        n.exp = e - f->bias;
    }
    return n;
}

uint64_t fp_invalid(struct fp_ctx *c) {
    c->fpsr |= FPSR_IOC;
    return fp_default_nan(c->f);
}

uint64_t fp_process_nan(struct fp_ctx *c, const struct fp_num *n) {
    if (n->cls == FPC_SNAN)
        c->fpsr |= FPSR_IOC;
    return c->fpcr & FPCR_DN ? fp_default_nan(c->f) : n->raw | BIT(c->f->fbits - 1);
}

bool fp_process_nans(struct fp_ctx *c, const struct fp_num *a, const struct fp_num *b, uint64_t *res) {
    const struct fp_num *n = a->cls == FPC_SNAN   ? a
                             : b->cls == FPC_SNAN ? b
                             : a->cls == FPC_QNAN ? a
                             : b->cls == FPC_QNAN ? b
                                                  : NULL;
    if (n)
        *res = fp_process_nan(c, n);
    return n != NULL;
}

static bool process_nans3(struct fp_ctx *c, const struct fp_num *a, const struct fp_num *b, const struct fp_num *d,
                          uint64_t *res) {
    if (a->cls == FPC_SNAN || (!fp_is_nan(b) && !fp_is_nan(d)))
        return fp_process_nans(c, a, a, res);
    if (a->cls == FPC_QNAN && b->cls != FPC_SNAN && d->cls != FPC_SNAN) {
        *res = fp_process_nan(c, a);
        return true;
    }
    return fp_process_nans(c, b, d, res);
}

/* --- rounding --------------------------------------------------------------------------------- */
static uint64_t shr_jam(uint64_t x, unsigned n) { return n == 0 ? x : n > 63 ? x != 0 : x >> n | ((x & MASK(n)) != 0); }

static u128 shr_jam128(u128 x, unsigned n) {
    return n == 0 ? x : n > 127 ? x != 0 : x >> n | ((x & (((u128)1 << n) - 1)) != 0);
}

/* Does a magnitude with low bit odd, remainder rem of half-unit half, round up? */
static bool rounds_up(enum ir_round round, bool sign, bool odd, uint64_t rem, uint64_t half) {
    switch (round) {
    case IR_RN_EVEN: return rem > half || (rem == half && odd);
    case IR_RN_AWAY: return rem >= half;
    case IR_RN_UP: return rem && !sign;
    case IR_RN_DOWN: return rem && sign;
    default: return false;
    }
}

static uint64_t overflow(struct fp_ctx *c, bool sign) {
    bool to_inf = c->round == IR_RN_EVEN || c->round == IR_RN_AWAY || c->round == (sign ? IR_RN_DOWN : IR_RN_UP);
    c->fpsr |= FPSR_OFC | FPSR_IXC;
    return to_inf ? fp_inf(c->f, sign) : fp_max_normal(c->f, sign);
}

/* Would a number just below the normal ones be one of them, if it were rounded to as many bits as they have? */
static bool rounds_to_normal(const struct fp_ctx *c, bool sign, uint64_t frac) {
    unsigned drop = 63 - c->f->fbits;
    uint64_t mant = frac >> drop;
    return mant == MASK(c->f->fbits + 1) && rounds_up(c->round, sign, mant & 1, frac & MASK(drop), BIT(drop - 1));
}

uint64_t fp_round_pack(struct fp_ctx *c, bool sign, int exp, uint64_t frac) {
    const struct fp_format *f = c->f;
    bool tiny = exp < 1 - f->bias && !(c->fpcr & FP_TINY_AFTER && exp == -f->bias && rounds_to_normal(c, sign, frac));
    bool half_format = f->bits == 16;
    int emin = 1 - f->bias, biased = 0;
    if (exp >= emin) {
        biased = exp - emin + 1;
    } else if (!half_format && (c->fpcr & FPCR_FZ)) {
        c->fpsr |= FPSR_UFC;
        return fp_zero(f, sign);
    } else {
        frac = shr_jam(frac, (unsigned)(emin - exp));
    }
    unsigned drop = 63 - f->fbits;
    uint64_t mant = frac >> drop, rem = frac & MASK(drop);
    if (tiny && rem)
        c->fpsr |= FPSR_UFC;
    mant += rounds_up(c->round, sign, mant & 1, rem, BIT(drop - 1));
    if (c->round == IR_RN_ODD && rem)
        mant |= 1;
    if (!biased && mant >> f->fbits) {
        biased = 1;
    } else if (mant >> (f->fbits + 1)) {
        biased++;
        mant >>= 1;
    }
    if (half_format && (c->fpcr & FPCR_AHP)) {
        if (biased > f->emax) {
            c->fpsr |= FPSR_IOC;
            return fp_sign_bit(f, sign) | MASK(15);
        }
    } else if (biased >= f->emax) {
        return overflow(c, sign);
    }
    if (rem)
        c->fpsr |= FPSR_IXC;
    return fp_sign_bit(f, sign) | (uint64_t)biased << f->fbits | (mant & MASK(f->fbits));
}

uint64_t fp_round_to_int(const struct fp_num *n, enum ir_round round, bool *inexact) {
    uint64_t whole = 0, rem = 1;
    if (n->exp >= 63) {
        whole = n->frac;
        rem = 0;
    } else if (n->exp >= -1) { /* rem is scaled so that one half is bit 63 */
        whole = n->exp < 0 ? 0 : n->frac >> (63 - n->exp);
        rem = n->frac << (n->exp + 1);
    }
    *inexact = rem != 0;
    return whole + rounds_up(round, n->sign, whole & 1, rem, BIT(63));
}

/* --- add, multiply, fused multiply-add -------------------------------------------------------- */
/* A wide magnitude m * 2^(exp - 126), bit 126 set (or m = 0). */
struct wide {
    bool sign;
    int exp;
    u128 m;
};

static uint64_t add_wide(struct fp_ctx *c, struct wide a, struct wide b, int scale) {
    if (!b.m || (a.m && a.exp < b.exp) || !a.m) {
        struct wide t = a;
        a = b.m ? b : a;
        b = b.m ? t : b;
    }
    u128 m = b.m ? shr_jam128(b.m, (unsigned)(a.exp - b.exp)) : 0;
    bool sign = a.sign;
    if (a.sign == b.sign) {
        m += a.m;
    } else if (a.m >= m) {
        m = a.m - m;
    } else {
        m -= a.m;
        sign = b.sign;
    }
    if (!m)
        return fp_zero(c->f, c->round == IR_RN_DOWN);
    uint64_t hi = (uint64_t)(m >> 64), lo = (uint64_t)m;
    int lz = hi ? __builtin_clzll(hi) : 64 + __builtin_clzll(lo);
    m <<= lz;
    return fp_round_pack(c, sign, a.exp + 1 - lz + scale, (uint64_t)(m >> 64) | ((uint64_t)m != 0));
}

static struct wide widen(const struct fp_num *n) {
    return (struct wide){n->sign, n->exp, n->cls == FPC_ZERO ? 0 : (u128)n->frac << 63};
}

static struct wide product(const struct fp_num *a, const struct fp_num *b) {
    struct wide w = {a->sign ^ b->sign, a->exp + b->exp, 0};
    if (a->cls != FPC_ZERO && b->cls != FPC_ZERO) {
        w.m = (u128)a->frac * b->frac;
        if (w.m >> 127) { /* fractions end in zeros: nothing is lost */
            w.m >>= 1;
            w.exp++;
        }
    }
    return w;
}

uint64_t fp_fused(struct fp_ctx *c, const struct fp_num *a, const struct fp_num *b, const struct fp_num *d, int scale) {
    return add_wide(c, widen(a), product(b, d), scale);
}

static uint64_t add_raw(struct fp_ctx *c, uint64_t x, uint64_t y) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y);
    uint64_t res;
    if (fp_process_nans(c, &a, &b, &res))
        return res;
    if (a.cls == FPC_INF || b.cls == FPC_INF) {
        if (a.cls == b.cls && a.sign != b.sign)
            return fp_invalid(c);
        return fp_inf(c->f, a.cls == FPC_INF ? a.sign : b.sign);
    }
    if (a.cls == FPC_ZERO && b.cls == FPC_ZERO && a.sign == b.sign)
        return fp_zero(c->f, a.sign);
    return add_wide(c, widen(&a), widen(&b), 0);
}

/* FPSub() unpacks before it changes a sign: a NaN operand keeps its own. */
static uint64_t sub_raw(struct fp_ctx *c, uint64_t x, uint64_t y) {
    struct fp_num b = fp_unpack(c, y);
    return add_raw(c, x, fp_is_nan(&b) ? y : y ^ fp_sign_bit(c->f, true));
}

static uint64_t mul_raw(struct fp_ctx *c, uint64_t x, uint64_t y) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y);
    uint64_t res;
    if (fp_process_nans(c, &a, &b, &res))
        return res;
    bool sign = a.sign ^ b.sign, inf = a.cls == FPC_INF || b.cls == FPC_INF,
         zero = a.cls == FPC_ZERO || b.cls == FPC_ZERO;
    if (inf)
        return zero ? fp_invalid(c) : fp_inf(c->f, sign);
    if (zero)
        return fp_zero(c->f, sign);
    struct wide w = product(&a, &b);
    return add_wide(c, w, (struct wide){w.sign, w.exp, 0}, 0);
}

static uint64_t fma_raw(struct fp_ctx *c, uint64_t x, uint64_t y, uint64_t z) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y), d = fp_unpack(c, z);
    bool zero = b.cls == FPC_ZERO || d.cls == FPC_ZERO, inf = b.cls == FPC_INF || d.cls == FPC_INF;
    uint64_t res;
    if (a.cls == FPC_QNAN && zero && inf)
        return fp_invalid(c);
    if (process_nans3(c, &a, &b, &d, &res))
        return res;
    bool sign = b.sign ^ d.sign;
    if (inf && (zero || (a.cls == FPC_INF && a.sign != sign)))
        return fp_invalid(c);
    if (inf || a.cls == FPC_INF)
        return fp_inf(c->f, inf ? sign : a.sign);
    if (a.cls == FPC_ZERO && zero && a.sign == sign)
        return fp_zero(c->f, sign);
    return fp_fused(c, &a, &b, &d, 0);
}

/* --- divide, square root ---------------------------------------------------------------------- */
/* n / d with n / 2^64 < d and bit 63 of d set; the remainder as a sticky bit. Bit by bit: no 128-bit division here. */
static uint64_t divide(u128 n, uint64_t d) {
    uint64_t q = 0;
    u128 rem = n >> 64;
    for (int i = 63; i >= 0; i--) {
        rem = rem << 1 | ((uint64_t)n >> i & 1);
        q <<= 1;
        if (rem >= d) {
            rem -= d;
            q |= 1;
        }
    }
    return q | (rem != 0);
}

static uint64_t div_raw(struct fp_ctx *c, uint64_t x, uint64_t y) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y);
    uint64_t res;
    if (fp_process_nans(c, &a, &b, &res))
        return res;
    bool sign = a.sign ^ b.sign;
    if (a.cls == b.cls && a.cls != FPC_NORMAL) /* inf / inf, 0 / 0 */
        return fp_invalid(c);
    if (a.cls == FPC_INF || b.cls == FPC_ZERO) {
        c->fpsr |= a.cls == FPC_INF ? 0 : FPSR_DZC;
        return fp_inf(c->f, sign);
    }
    if (a.cls == FPC_ZERO || b.cls == FPC_INF)
        return fp_zero(c->f, sign);
    bool less = a.frac < b.frac;
    return fp_round_pack(c, sign, a.exp - b.exp - less, divide((u128)a.frac << (63 + less), b.frac));
}

static uint64_t sqrt_raw(struct fp_ctx *c, uint64_t x) {
    struct fp_num a = fp_unpack(c, x);
    if (fp_is_nan(&a))
        return fp_process_nan(c, &a);
    if (a.cls == FPC_ZERO)
        return a.raw;
    if (a.sign)
        return fp_invalid(c);
    if (a.cls == FPC_INF)
        return a.raw;
    int odd = a.exp & 1;
    u128 n = (u128)a.frac << (63 + odd);
    uint64_t root = BIT(63);
    for (int i = 62; i >= 0; i--) {
        uint64_t t = root | BIT(i);
        if ((u128)t * t <= n)
            root = t;
    }
    return fp_round_pack(c, false, (a.exp - odd) / 2, root | ((u128)root * root != n));
}

/* --- maximum and minimum ---------------------------------------------------------------------- */
int fp_order(const struct fp_num *a, const struct fp_num *b) {
    int sa = a->cls == FPC_ZERO ? 0 : a->sign ? -1 : 1, sb = b->cls == FPC_ZERO ? 0 : b->sign ? -1 : 1;
    if (sa != sb)
        return sa < sb ? -1 : 1;
    if (sa == 0 || (a->cls == FPC_INF && b->cls == FPC_INF))
        return 0;
    if (a->cls != b->cls)
        return a->cls == FPC_INF ? sa : -sa;
    if (a->exp != b->exp)
        return a->exp > b->exp ? sa : -sa;
    return a->frac == b->frac ? 0 : a->frac > b->frac ? sa : -sa;
}

static uint64_t minmax_raw(struct fp_ctx *c, uint64_t x, uint64_t y, bool max) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y);
    uint64_t res;
    if (fp_process_nans(c, &a, &b, &res))
        return res;
    int order = fp_order(&a, &b);
    const struct fp_num *n = (max ? order > 0 : order < 0) ? &a : &b;
    if (n->cls == FPC_ZERO)
        return fp_zero(c->f, max ? a.sign && b.sign : a.sign || b.sign);
    return n->raw;
}

static uint64_t max_raw(struct fp_ctx *c, uint64_t x, uint64_t y) { return minmax_raw(c, x, y, true); }

static uint64_t min_raw(struct fp_ctx *c, uint64_t x, uint64_t y) { return minmax_raw(c, x, y, false); }

/* FPMaxNum(), FPMinNum(): one quiet NaN counts as the number that never wins. */
static uint64_t minmaxnm_raw(struct fp_ctx *c, uint64_t x, uint64_t y, bool max) {
    struct fp_num a = fp_unpack(c, x), b = fp_unpack(c, y);
    if (a.cls == FPC_QNAN && b.cls != FPC_QNAN)
        x = fp_inf(c->f, max);
    else if (b.cls == FPC_QNAN && a.cls != FPC_QNAN)
        y = fp_inf(c->f, max);
    return minmax_raw(c, x, y, max);
}

static uint64_t maxnm_raw(struct fp_ctx *c, uint64_t x, uint64_t y) { return minmaxnm_raw(c, x, y, true); }

static uint64_t minnm_raw(struct fp_ctx *c, uint64_t x, uint64_t y) { return minmaxnm_raw(c, x, y, false); }

/* --- the vector forms ------------------------------------------------------------------------- */
/* What is in the lanes above. */
static v128 above(const v128 *a, uint32_t desc) { return DESC_FLAGS(desc) & IR_FP_MERGE ? *a : (v128){.u64 = {0, 0}}; }

#define FP_BINARY(name, fn)                                                                                            \
    void name(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {                \
        unsigned lane = DESC_LANE(desc);                                                                               \
        struct fp_ctx ctx = fp_begin(cpu, lane);                                                                       \
        v128 r = above(a, desc);                                                                                       \
        for (unsigned i = 0; i < DESC_N(desc); i++) {                                                                  \
            fp_set_lane(&r, lane, i, fn(&ctx, fp_lane(a, lane, i), fp_lane(b, lane, i)));                              \
        }                                                                                                              \
        fp_end(cpu, &ctx);                                                                                             \
        *res = r;                                                                                                      \
    }
FP_BINARY(fp_add, add_raw)
FP_BINARY(fp_sub, sub_raw)
FP_BINARY(fp_mul, mul_raw)
FP_BINARY(fp_div, div_raw)
FP_BINARY(fp_max, max_raw)
FP_BINARY(fp_min, min_raw)
FP_BINARY(fp_maxnm, maxnm_raw)
FP_BINARY(fp_minnm, minnm_raw)

void fp_sqrt(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = DESC_LANE(desc);
    struct fp_ctx ctx = fp_begin(cpu, lane);
    v128 r = above(a, desc);
    for (unsigned i = 0; i < DESC_N(desc); i++)
        fp_set_lane(&r, lane, i, sqrt_raw(&ctx, fp_lane(a, lane, i)));
    fp_end(cpu, &ctx);
    *res = r;
}

void fp_fma(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    unsigned lane = DESC_LANE(desc);
    struct fp_ctx ctx = fp_begin(cpu, lane);
    v128 r = above(a, desc);
    for (unsigned i = 0; i < DESC_N(desc); i++)
        fp_set_lane(&r, lane, i, fma_raw(&ctx, fp_lane(a, lane, i), fp_lane(b, lane, i), fp_lane(c, lane, i)));
    fp_end(cpu, &ctx);
    *res = r;
}

/* --- the host's status and control register --------------------------------------------------- */
/* MXCSR: IE 0, DE 1, ZE 2, OE 3, UE 4, PE 5. DE is not mapped: Arm's IDC means "flushed", which the host never does
 * here. */
#define MXCSR_STICKY 0x3fu
#define MXCSR_MASKED 0x1f80u

static uint32_t status_of(uint32_t m) {
    return (m & 1 ? FPSR_IOC : 0) | (m & 4 ? FPSR_DZC : 0) | (m & 8 ? FPSR_OFC : 0) | (m & 16 ? FPSR_UFC : 0) |
           (m & 32 ? FPSR_IXC : 0);
}

static uint32_t take_status(void) {
    uint32_t m, rest;
    __asm__ volatile("stmxcsr %0" : "=m"(m));
    rest = m & ~MXCSR_STICKY;
    __asm__ volatile("ldmxcsr %0" : : "m"(rest));
    return m;
}

void fp_sync(struct cpu *cpu) { cpu->fp.fpsr |= status_of(take_status()); }

void fp_collect(struct cpu *cpu) {
    take_status();
    cpu->fp.fpsr |= status_of(cpu->fp.mxcsr);
    cpu->fp.mxcsr &= ~MXCSR_STICKY;
}

void fp_set_rounding(struct cpu *cpu) {
    static const uint8_t host_rc[4] = {0, 2, 1, 3}; /* Arm: nearest, +inf, -inf, zero; x86: nearest, -inf, +inf, zero */
    uint32_t m = MXCSR_MASKED | (uint32_t)host_rc[FPCR_RMODE(cpu->fp.fpcr)] << 13;
    cpu->fp.mxcsr = m;
    __asm__ volatile("ldmxcsr %0" : : "m"(m));
}
