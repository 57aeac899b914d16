/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir_verify.c: is a block well formed? Types, operands, fields, exits: what every pass and backend relies on. */
#include "graft/cpu.h"
#include "ir_priv.h"

struct verify {
    const struct ir_block *b;
    unsigned at, label; /* the last LABEL before it */
    char *err;
    size_t errlen;
};

__attribute__((format(printf, 2, 3))) static int bad(struct verify *s, const char *fmt, ...) {
    char what[96];
    __builtin_va_list ap;
    const struct ir_inst *i = &s->b->inst[s->at];
    __builtin_va_start(ap, fmt);
    rt_vsnprintf(what, sizeof(what), fmt, ap);
    __builtin_va_end(ap);
    rt_snprintf(s->err, s->errlen, "%%%u %s: %s", s->at, i->op < IR_OP_COUNT ? ir_op_info[i->op].name : "?", what);
    return -1;
}

static const char *type_name(unsigned t) {
    static const char *const names[] = {"none", "i32", "i64", "v128", "flags"};
    return t < ARRAY_LEN(names) ? names[t] : "?";
}

static bool is_int(unsigned t) { return t == IR_I32 || t == IR_I64; }

/* --- types ------------------------------------------------------------------------------------ */
static bool type_fits(char letter, unsigned t, unsigned own) {
    switch (letter) {
    case 'w': return t == IR_I32;
    case 'l': return t == IR_I64;
    case 'i': return is_int(t) && t == own;
    case 'x': return is_int(t);
    case 'v': return t == IR_V128;
    case 'f': return t == IR_FLAGS;
    case 't': return t != IR_NONE;
    default: return false;
    }
}

static int check_result(struct verify *s, const struct ir_inst *i, const struct ir_op_info *info) {
    bool ok;
    switch (info->result) {
    case 'n': ok = i->type == IR_NONE; break;
    case 't': /* CALL gives I64 or nothing */
        ok = i->op == IR_CALL ? i->type == IR_NONE || i->type == IR_I64
             : i->op == IR_LD ? is_int(i->type) || i->type == IR_V128
                              : i->type != IR_NONE && i->type <= IR_FLAGS;
        break;
    default: ok = type_fits(info->result, i->type, i->type); break;
    }
    return ok ? 0 : bad(s, "cannot have a result of type %s", type_name(i->type));
}

static int check_operands(struct verify *s, const struct ir_inst *i, const struct ir_op_info *info) {
    irv v[3] = {i->a, i->b, i->c};
    bool optional = i->op == IR_CALL || i->op == IR_CALLV;
    size_t wanted = strlen(info->operands);
    for (size_t k = 0; k < 3; k++) {
        char name = (char)('a' + (char)k);
        if (k >= wanted || ((optional || (k == 1 && i->op == IR_EXIT_IF)) && !v[k])) {
            if (v[k])
                return bad(s, "has an operand %c", name);
            continue;
        }
        if (!v[k])
            return bad(s, "operand %c is missing", name);
        if (v[k] >= s->at)
            return bad(s, "operand %c is %%%u, which is not defined yet", name, v[k]);
        const unsigned op = s->b->inst[v[k]].op;
        if (v[k] < s->label && op != IR_CONST && op != IR_PC && op != IR_VCONST)
            return bad(s, "operand %c is %%%u, of before a label", name, v[k]);
        if (!type_fits(info->operands[k], s->b->inst[v[k]].type, i->type))
            return bad(s, "operand %c has type %s", name, type_name(s->b->inst[v[k]].type));
    }
    if (wanted >= 2 && info->operands[0] == 'x' && info->operands[1] == 'x' &&
        s->b->inst[i->a].type != s->b->inst[i->b].type) {
        return bad(s, "operands of different types");
    }
    return 0;
}

/* --- fields ----------------------------------------------------------------------------------- */
static int check_state_offset(struct verify *s, const struct ir_inst *i) {
    unsigned bytes = ir_type_bytes(i->op == IR_GET ? i->type : s->b->inst[i->a].type);
    bool counter = i->imm - offsetof(struct abi_vcpu, stats) < sizeof(((struct abi_vcpu *)0)->stats);
    if ((i->imm < sizeof(struct abi_vcpu) && !counter) || i->imm + bytes > ABI_CPU_BYTES)
        return bad(s, "offset 0x%llx is outside the guest's state", (unsigned long long)i->imm);
    if (i->imm % bytes)
        return bad(s, "offset 0x%llx is not aligned", (unsigned long long)i->imm);
    return 0;
}

static int check_bitfield(struct verify *s, const struct ir_inst *i) {
    unsigned width = i->type == IR_I32 ? 32 : 64;
    if (i->op == IR_EXTR)
        return i->n < width ? 0 : bad(s, "shift %u", i->n);
    return i->n >= 1 && i->lane + i->n <= width ? 0 : bad(s, "bits %u, length %u", i->lane, i->n);
}

static int check_memory(struct verify *s, const struct ir_inst *i) {
    unsigned value = i->op == IR_LD ? i->type : i->op == IR_ST ? s->b->inst[i->b].type : IR_I64;
    unsigned most = value == IR_V128 ? 4 : value == IR_I32 ? 2 : 3;
    if (i->lane > most)
        return bad(s, "size %u of a value of type %s", i->lane, type_name(value));
    if (i->cc >= REGIMES)
        return bad(s, "regime %u", i->cc);
    if ((i->op == IR_LD || i->op == IR_ST) ? (int64_t)i->imm != (int32_t)i->imm : i->imm != 0)
        return bad(s, "displacement 0x%llx", (unsigned long long)i->imm);
    if (value == IR_FLAGS || ((i->flags & IR_MEM_SEXT) && (i->op != IR_LD || value == IR_V128)))
        return bad(s, "cannot do that with a value of type %s", type_name(value));
    return i->op == IR_ATOMIC && i->n > IR_ATOMIC_SWP ? bad(s, "kind %u", i->n) : 0;
}

/* Which lanes an operation on vectors allows, as a bit set. */
static unsigned vector_lanes(unsigned op) {
    switch (op) {
    case IR_VMUL:
    case IR_VSXTL:
    case IR_VUXTL: return 0x7;
    case IR_VNARROW: return 0xe;
    case IR_VAVGU: return 0x3;
    case IR_VAND ... IR_VBSL:
    case IR_VEXT:
    case IR_VTBL:
    case IR_VMULLU ... IR_VAESIMC: return 0x1f; /* not used */
    default: return 0xf;
    }
}

static int check_vector(struct verify *s, const struct ir_inst *i) {
    unsigned bits = 8u << i->lane, n = i->n;
    bool ok = true;
    if (i->lane > 4 || !(vector_lanes(i->op) >> i->lane & 1))
        return bad(s, "lane %u", i->lane);
    switch (i->op) {
    case IR_VSHLI: ok = n < bits; break;
    case IR_VSHRI:
    case IR_VSARI: ok = n <= bits; break;
    case IR_VEXT: ok = n < 16; break;
    case IR_VREV: ok = n > i->lane && n <= 4; break;
    case IR_VDUPLANE:
    case IR_VINS:
    case IR_VGET: ok = n < 16u >> i->lane; break;
    default: break;
    }
    return ok ? 0 : bad(s, "n %u with lane %u", n, i->lane);
}

static int check_float(struct verify *s, const struct ir_inst *i) {
    bool vector = ir_op_info[i->op].result == 'v' && i->op != IR_STOF && i->op != IR_UTOF;
    if (i->op != IR_VFWIDEN && i->op != IR_VFNARROW && i->lane != 2 && i->lane != 3)
        return bad(s, "lane %u", i->lane);
    unsigned most = i->op == IR_VFWIDEN || i->op == IR_VFNARROW ? 2 : 16u >> i->lane;
    if (vector && (i->n < 1 || i->n > most))
        return bad(s, "%u lanes", i->n);
    if (i->flags & IR_FP_MERGE && (i->op > IR_VFMA || i->n != 1))
        return bad(s, "flags 0x%x", i->flags);
    if (i->cc > IR_RN_ODD)
        return bad(s, "rounding %u", i->cc);
    return i->aux > 64 ? bad(s, "%u fraction bits", i->aux) : 0;
}

static int check_call(struct verify *s, const struct ir_inst *i) {
    const struct ir_helper *h = ir_helper_of(i);
    if (!h || !h->fn)
        return bad(s, "calls nothing");
    return h->kind > IR_HELPER_STATE ? bad(s, "helper of kind %u", h->kind) : 0;
}

static int check_fields(struct verify *s, const struct ir_inst *i) {
    if (ir_op_info[i->op].memory)
        return check_memory(s, i);
    if (i->op >= IR_VFADD)
        return check_float(s, i);
    if (i->op >= IR_VAND)
        return check_vector(s, i);
    switch (i->op) {
    case IR_CONST: return i->imm & ~ir_type_mask(i->type) ? bad(s, "constant wider than its type") : 0;
    case IR_VCONST: return i->aux < s->b->vconsts ? 0 : bad(s, "constant %u of %u", i->aux, s->b->vconsts);
    case IR_GET:
    case IR_PUT: return check_state_offset(s, i);
    case IR_UBFX ... IR_EXTR: return check_bitfield(s, i);
    case IR_CRC32C: return i->lane <= (s->b->inst[i->b].type == IR_I64 ? 3 : 2) ? 0 : bad(s, "size %u", i->lane);
    case IR_CMP: return i->cc <= IR_CMP_SGT ? 0 : bad(s, "comparison %u", i->cc);
    case IR_COND: return i->cc <= IR_AL ? 0 : bad(s, "condition %u", i->cc);
    case IR_FLAGS_SELECT: return i->imm < 16 ? 0 : bad(s, "flags 0x%llx", (unsigned long long)i->imm);
    case IR_FENCE: return i->n <= IR_FENCE_STORE ? 0 : bad(s, "kind %u", i->n);
    case IR_GOTO_REG: return i->cc <= IR_JUMP_RET ? 0 : bad(s, "jump %u", i->cc);
    case IR_CALL:
    case IR_CALLV: return check_call(s, i);
    default: return 0;
    }
}

/* --- the block -------------------------------------------------------------------------------- */
static bool ends_block(unsigned op) { return op == IR_GOTO || op == IR_GOTO_REG || op == IR_EXIT; }

int ir_verify(const struct ir_block *b, char *err, size_t errlen) {
    struct verify s = {.b = b, .err = err, .errlen = errlen};
    if (b->overflow || b->count > IR_END_LIMIT || b->vconsts > IR_MAX_VCONSTS) {
        rt_snprintf(err, errlen, "the block has overflowed");
        return -1;
    }
    for (s.at = 1; s.at < b->count; s.at++) {
        const struct ir_inst *i = &b->inst[s.at];
        if (i->op >= IR_OP_COUNT)
            return bad(&s, "operation %u", i->op);
        const struct ir_op_info *info = &ir_op_info[i->op];
        if (check_result(&s, i, info) || check_operands(&s, i, info) || check_fields(&s, i))
            return -1;
        if (i->op == IR_LABEL)
            s.label = s.at;
        if (ends_block(i->op) != (s.at == b->count - 1u))
            return bad(&s, ends_block(i->op) ? "instructions follow it" : "the block does not end with an exit");
    }
    if (b->count < 2) {
        rt_snprintf(err, errlen, "the block is empty");
        return -1;
    }
    return 0;
}
