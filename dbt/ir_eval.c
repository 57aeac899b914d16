/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir_eval.c: the value of integer and flags operations, for the interpreter and for constant folding. */
#include "ir_priv.h"

static uint64_t sign_extend(uint64_t x, unsigned bits) {
    return bits >= 64 ? x : (uint64_t)((int64_t)(x << (64 - bits)) >> (64 - bits));
}

static uint64_t divide(uint64_t a, uint64_t b, unsigned width, bool is_signed) {
    if (b == 0)
        return 0;
    if (!is_signed)
        return a / b;
    int64_t x = (int64_t)sign_extend(a, width), y = (int64_t)sign_extend(b, width);
    return y == -1 ? 0 - (uint64_t)x : (uint64_t)(x / y);
}

static uint64_t reverse_bits(uint64_t x) {
    x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
    x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0fu) | (x & 0x0f0f0f0f0f0f0f0fu) << 4;
    return __builtin_bswap64(x);
}

static uint64_t rotate_right(uint64_t a, unsigned n, unsigned width) { return n == 0 ? a : a >> n | a << (width - n); }

static uint32_t crc32c(uint32_t acc, uint64_t data, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) {
        acc ^= (uint8_t)(data >> 8 * i);
        for (unsigned k = 0; k < 8; k++)
            acc = acc >> 1 ^ (0x82f63b78u & (0u - (acc & 1)));
    }
    return acc;
}

static bool compare(unsigned cc, uint64_t a, uint64_t b, unsigned width) {
    int64_t x = (int64_t)sign_extend(a, width), y = (int64_t)sign_extend(b, width);
    switch (cc) {
    case IR_CMP_EQ: return a == b;
    case IR_CMP_NE: return a != b;
    case IR_CMP_ULT: return a < b;
    case IR_CMP_UGE: return a >= b;
    case IR_CMP_ULE: return a <= b;
    case IR_CMP_UGT: return a > b;
    case IR_CMP_SLT: return x < y;
    case IR_CMP_SGE: return x >= y;
    case IR_CMP_SLE: return x <= y;
    default: return x > y;
    }
}

/* AddWithCarry() of the Arm ARM: the flags of a + b + carry. */
static uint32_t add_flags(uint64_t a, uint64_t b, unsigned carry, unsigned width) {
    uint64_t mask = MASK(width), r = (a + b + carry) & mask;
    uint32_t n = (uint32_t)(r >> (width - 1)) & 1, z = r == 0;
    uint32_t c = carry ? r <= (a & mask) : r < (a & mask);
    uint32_t v = (uint32_t)(((a ^ r) & (b ^ r)) >> (width - 1)) & 1;
    return n << 31 | z << 30 | c << 29 | v << 28;
}

bool ir_eval_cond(unsigned cond, uint32_t nzcv) {
    bool n = nzcv >> 31 & 1, z = nzcv >> 30 & 1, c = nzcv >> 29 & 1, v = nzcv >> 28 & 1, r;
    switch (cond >> 1) {
    case 0: r = z; break;
    case 1: r = c; break;
    case 2: r = n; break;
    case 3: r = v; break;
    case 4: r = c && !z; break;
    case 5: r = n == v; break;
    case 6: r = n == v && !z; break;
    default: return true;
    }
    return r != (cond & 1);
}

static uint64_t eval_flags(const struct ir_inst *i, unsigned width, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t mask = MASK(width);
    switch (i->op) {
    case IR_ADD_FLAGS: return add_flags(a, b, 0, width);
    case IR_SUB_FLAGS: return add_flags(a, ~b & mask, 1, width);
    case IR_ADC_FLAGS: return add_flags(a, b, c & 1, width);
    case IR_SBC_FLAGS: return add_flags(a, ~b & mask, c & 1, width);
    case IR_LOGIC_FLAGS: return (a >> (width - 1) & 1) << 31 | (uint64_t)(a == 0) << 30;
    case IR_FLAGS_FROM:
    case IR_FLAGS_TO: return a & 0xf0000000u;
    case IR_FLAGS_SELECT: return a ? b : (i->imm & 15) << 28;
    default: return ir_eval_cond(i->cc, (uint32_t)a);
    }
}

/* --- saved flags ------------------------------------------------------------------------------ */
uint32_t ir_flags_code(const struct ir_block *b, const struct ir_inst *flags) {
    unsigned kind;
    bool wide = b->inst[flags->a].type == IR_I64;
    switch (flags->op) {
    case IR_ADD_FLAGS: kind = IR_SAVED_ADD; break;
    case IR_SUB_FLAGS: kind = IR_SAVED_SUB; break;
    case IR_LOGIC_FLAGS: kind = IR_SAVED_LOGIC; break;
    case IR_FCMP_FLAGS:
        if (flags->lane < 2 || b->flags & IR_BLOCK_SOFTFP) /* FPCR has a say in it */
            return 0;
        kind = IR_SAVED_FCMP;
        wide = flags->lane == 3;
        break;
    default: return 0;
    }
    uint32_t code = IR_FLAGS_SAVED | kind << 1 | (wide ? IR_FLAGS_WIDE : 0);
    const struct ir_inst *second = flags->b ? &b->inst[flags->b] : NULL;
    if (second && second->op == IR_CONST && second->imm < BIT(IR_FLAGS_IMM_BITS))
        code |= IR_FLAGS_IMM | (uint32_t)second->imm << IR_FLAGS_IMM_SHIFT;
    return code;
}
static uint32_t saved_fcmp(uint64_t a, uint64_t b, unsigned width) {
    const uint64_t sign = BIT(width - 1), infinity = width == 64 ? UINT64_C(0x7ff) << 52 : UINT64_C(0xff) << 23;
    const bool less = a & sign ? !(b & sign) || a > b : !(b & sign) && a < b;
    if ((a & ~sign) > infinity || (b & ~sign) > infinity)
        return UINT32_C(3) << 28;
    if (a == b || !((a | b) & ~sign))
        return UINT32_C(6) << 28;
    return less ? UINT32_C(8) << 28 : UINT32_C(2) << 28;
}
uint32_t ir_flags_saved(uint32_t code, uint64_t a, uint64_t b) {
    const unsigned width = code & IR_FLAGS_WIDE ? 64 : 32;
    struct ir_inst i = {.op = IR_LOGIC_FLAGS, .type = IR_FLAGS};
    a &= MASK(width);
    b = code & IR_FLAGS_IMM ? code >> IR_FLAGS_IMM_SHIFT & MASK(IR_FLAGS_IMM_BITS) : b & MASK(width);
    switch (IR_FLAGS_KIND(code)) {
    case IR_SAVED_FCMP: return saved_fcmp(a, b, width);
    case IR_SAVED_ADD: i.op = IR_ADD_FLAGS; break;
    case IR_SAVED_SUB: i.op = IR_SUB_FLAGS; break;
    default: break;
    }
    return (uint32_t)eval_flags(&i, width, a, b, 0);
}

static uint64_t eval_bits(const struct ir_inst *i, unsigned width, uint64_t a, uint64_t b) {
    unsigned lo = i->lane, len = i->n;
    switch (i->op) {
    case IR_UBFX: return a >> lo & MASK(len);
    case IR_SBFX: return sign_extend(a >> lo, len);
    case IR_BFI: return (a & ~(MASK(len) << lo)) | (b & MASK(len)) << lo;
    default: /* EXTR */ return i->n == 0 ? b : b >> i->n | a << (width - i->n);
    }
}

static uint64_t eval_unary(const struct ir_inst *i, unsigned width, uint64_t a) {
    switch (i->op) {
    case IR_NOT: return ~a;
    case IR_NEG: return 0 - a;
    case IR_CLZ: return a == 0 ? width : (unsigned)__builtin_clzll(a) - (64 - width);
    case IR_RBIT: return reverse_bits(a) >> (64 - width);
    case IR_BSWAP: return __builtin_bswap64(a) >> (64 - width);
    case IR_BSWAP16: return (a >> 8 & 0x00ff00ff00ff00ffu) | (a & 0x00ff00ff00ff00ffu) << 8;
    case IR_SEXT8: return sign_extend(a, 8);
    case IR_SEXT16: return sign_extend(a, 16);
    case IR_SEXT32: return sign_extend(a, 32);
    case IR_ZEXT8: return (uint8_t)a;
    case IR_ZEXT16: return (uint16_t)a;
    default: /* ZEXT32, TRUNC */ return (uint32_t)a;
    }
}

static uint64_t eval_binary(const struct ir_inst *i, unsigned width, uint64_t a, uint64_t b, uint64_t c) {
    unsigned shift = (unsigned)b & (width - 1);
    switch (i->op) {
    case IR_ADD: return a + b;
    case IR_SUB: return a - b;
    case IR_MUL: return a * b;
    case IR_MULHU: return (uint64_t)((unsigned __int128)a * b >> 64);
    case IR_MULHS: return (uint64_t)((__int128)(int64_t)a * (int64_t)b >> 64);
    case IR_UDIV: return divide(a, b, width, false);
    case IR_SDIV: return divide(a, b, width, true);
    case IR_AND: return a & b;
    case IR_OR: return a | b;
    case IR_XOR: return a ^ b;
    case IR_ANDN: return a & ~b;
    case IR_SHL: return a << shift;
    case IR_SHR: return a >> shift;
    case IR_SAR: return (uint64_t)((int64_t)sign_extend(a, width) >> shift);
    case IR_ROR: return rotate_right(a, shift, width);
    case IR_ADC: return a + b + (c & 1);
    case IR_SBC: return a + ~b + (c & 1);
    case IR_CRC32C: return crc32c((uint32_t)a, b, 1u << i->lane);
    case IR_CMP: return compare(i->cc, a, b, width);
    default: /* SELECT */ return (uint32_t)a ? b : c;
    }
}

uint64_t ir_eval(const struct ir_inst *i, unsigned t, uint64_t a, uint64_t b, uint64_t c) {
    unsigned width = t == IR_I32 ? 32 : 64;
    uint64_t r;
    if (i->op >= IR_ADD_FLAGS && i->op <= IR_COND)
        return eval_flags(i, width, a, b, c);
    else if (i->op >= IR_UBFX && i->op <= IR_EXTR)
        r = eval_bits(i, width, a, b);
    else if (i->op >= IR_NOT && i->op <= IR_TRUNC && !(i->op >= IR_SHL && i->op <= IR_ROR))
        r = eval_unary(i, width, a);
    else
        r = eval_binary(i, width, a, b, c);
    return r & ir_type_mask(i->type);
}
