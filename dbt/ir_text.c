/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ir_text.c: the text form of a block, written for logs and read for tests.
 *
 *     block pc=0x1000 mode=0x1 flags=0x0 insns=1 bytes=4
 *       INSN aux=0x91000421 imm=0x1000
 *       %2:i64 = GET imm=0x1208
 *       %3:i64 = CONST imm=0x1
 *       %4:i64 = ADD %2 %3
 *       PUT %4 imm=0x1208
 *       GOTO imm=0x1004
 *
 * One operation a line: its value and type, its name, operands ("_" = none), then fields that are not zero. What a
 * value is called is free when reading, so text can be edited; writing numbers them by index. "#" starts a
 * comment. */
#include "ir_priv.h"

static const char *const type_names[] = {"none", "i32", "i64", "v128", "flags"};
static const char *const cmp_names[] = {"eq", "ne", "ult", "uge", "ule", "ugt", "slt", "sge", "sle", "sgt", NULL};
static const char *const cond_names[] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc",
                                         "hi", "ls", "ge", "lt", "gt", "le", "al", NULL};
static const char *const jump_names[] = {"plain", "call", "ret", NULL};
static const char *const round_names[] = {"even", "up", "down", "zero", "away", "current", "odd", NULL};
static const char *const atomic_names[] = {"add", "clr", "xor", "or", "smax", "smin", "umax", "umin", "swp", NULL};
static const char *const fence_names[] = {"full", "load", "store", NULL};
static const char *const no_names[] = {NULL};

const struct ir_helper *const *ir_parse_helpers;

/* Names for the cc field of an operation. */
static const char *const *cc_names(unsigned op) {
    switch (op) {
    case IR_CMP: return cmp_names;
    case IR_COND: return cond_names;
    case IR_GOTO_REG: return jump_names;
    case IR_VFRINT:
    case IR_VFTOS:
    case IR_VFTOU:
    case IR_FTOS:
    case IR_FTOU: return round_names;
    default: return no_names;
    }
}

static const char *const *n_names(unsigned op) {
    return op == IR_ATOMIC ? atomic_names : op == IR_FENCE ? fence_names : no_names;
}

static unsigned name_count(const char *const *names) {
    unsigned k = 0;
    while (names[k])
        k++;
    return k;
}

/* --- writing ---------------------------------------------------------------------------------- */
#define LINE_BYTES 256
struct line {
    char text[LINE_BYTES];
    int used;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...) {
    __builtin_va_list ap;
    if (l->used >= LINE_BYTES - 1)
        return;
    __builtin_va_start(ap, fmt);
    l->used += rt_vsnprintf(l->text + l->used, (size_t)(LINE_BYTES - l->used), fmt, ap);
    __builtin_va_end(ap);
}

static void add_operands(struct line *l, const struct ir_inst *i) {
    irv v[3] = {i->a, i->b, i->c};
    unsigned last = i->c ? 3 : i->b ? 2 : i->a ? 1 : 0;
    for (unsigned k = 0; k < last; k++)
        if (v[k])
            add(l, " %%%u", v[k]);
        else
            add(l, " _");
}

static void add_named(struct line *l, const char *field, unsigned value, const char *const *names) {
    if (value < name_count(names))
        add(l, " %s=%s", field, names[value]);
    else if (value)
        add(l, " %s=%u", field, value);
}

static void add_imm(struct line *l, const struct ir_inst *i) {
    if (i->op == IR_CALL || i->op == IR_CALLV)
        add(l, " fn=%s", ir_helper_of(i)->name);
    else if (ir_op_info[i->op].memory && (int64_t)i->imm < 0)
        add(l, " imm=-0x%llx", 0 - (unsigned long long)i->imm);
    else if (i->imm || i->op == IR_CONST || i->op == IR_PC)
        add(l, " imm=0x%llx", (unsigned long long)i->imm);
}

static void add_fields(struct line *l, const struct ir_block *b, const struct ir_inst *i) {
    if (i->lane)
        add(l, " lane=%u", i->lane);
    add_named(l, "n", i->n, n_names(i->op));
    add_named(l, "cc", i->cc, cc_names(i->op));
    if (i->flags)
        add(l, " flags=0x%x", i->flags);
    if (i->op == IR_VCONST && i->aux < b->vconsts) {
        const v128 *v = &b->vconst[i->aux];
        add(l, " v=0x%llx:0x%llx", (unsigned long long)v->u64[1], (unsigned long long)v->u64[0]);
    } else if (i->aux) {
        add(l, " aux=0x%x", i->aux);
    }
    add_imm(l, i);
}

void ir_print(const struct ir_block *b, void (*out)(void *ctx, const char *line), void *ctx) {
    struct line l = {.used = 0};
    add(&l, "block pc=0x%llx mode=0x%x flags=0x%x insns=%u bytes=%u", (unsigned long long)b->pc, b->mode, b->flags,
        b->insns, b->guest_bytes);
    out(ctx, l.text);
    for (unsigned v = 1; v < b->count; v++) {
        const struct ir_inst *i = &b->inst[v];
        l.used = 0;
        add(&l, "  ");
        if (i->type != IR_NONE)
            add(&l, "%%%u:%s = ", v, i->type < ARRAY_LEN(type_names) ? type_names[i->type] : "?");
        add(&l, "%s", i->op < IR_OP_COUNT ? ir_op_info[i->op].name : "?");
        if (i->op < IR_OP_COUNT) {
            add_operands(&l, i);
            add_fields(&l, b, i);
        }
        out(ctx, l.text);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */
#define WORD_BYTES 48
struct parser {
    struct ir_block *b;
    const char *p;
    unsigned line;
    char word[WORD_BYTES]; /* the word last read */
    char *err;
    size_t errlen;
};

static int fail(struct parser *s, const char *what) {
    rt_snprintf(s->err, s->errlen, "line %u: %s: '%s'", s->line, what, s->word);
    return -1;
}

/* Reads a word of this line; false at its end. */
static bool next_word(struct parser *s) {
    size_t len = 0;
    while (*s->p == ' ' || *s->p == '\t' || *s->p == '\r')
        s->p++;
    if (*s->p == '#')
        while (*s->p && *s->p != '\n')
            s->p++;
    while (*s->p > ' ' && len + 1 < WORD_BYTES)
        s->word[len++] = *s->p++;
    s->word[len] = 0;
    return len != 0;
}

static bool equal(const char *x, const char *y) {
    size_t len = strlen(x);
    return len == strlen(y) && memcmp(x, y, len) == 0;
}

/* A number, decimal or 0x, perhaps negative; *end: what follows it. */
static bool parse_number(const char *p, uint64_t *value, const char **end) {
    bool negative = *p == '-';
    unsigned base = 10, digits = 0;
    p += negative;
    if (p[0] == '0' && p[1] == 'x') {
        base = 16;
        p += 2;
    }
    for (*value = 0;; p++, digits++) {
        unsigned d = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                     : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a') + 10
                                              : 99;
        if (d >= base)
            break;
        *value = *value * base + d;
    }
    *value = negative ? 0 - *value : *value;
    *end = p;
    return digits != 0;
}

static bool whole_number(const char *p, uint64_t *value) {
    const char *end;
    return parse_number(p, value, &end) && *end == 0;
}

static bool parse_name(const char *p, const char *const *names, uint64_t *value) {
    for (unsigned k = 0; names[k]; k++) {
        if (equal(p, names[k])) {
            *value = k;
            return true;
        }
    }
    return whole_number(p, value);
}

/* %12 or _ : the value that the text calls 12. */
static bool parse_value(struct parser *s, irv *v) {
    uint64_t n;
    *v = 0;
    if (equal(s->word, "_"))
        return true;
    if (s->word[0] != '%' || !whole_number(s->word + 1, &n) || n >= IR_MAX_INSTS || !s->b->priv.map[n])
        return false;
    *v = s->b->priv.map[n];
    return true;
}

/* The part after "key=" if the word has that key. */
static const char *value_of(const struct parser *s, const char *key) {
    size_t len = strlen(key);
    return strlen(s->word) > len && memcmp(s->word, key, len) == 0 && s->word[len] == '=' ? s->word + len + 1 : NULL;
}

static bool parse_helper(const char *name, struct ir_inst *i) {
    for (const struct ir_helper *const *h = ir_parse_helpers; h && *h; h++) {
        if (equal((*h)->name, name)) {
            i->imm = (uintptr_t)*h;
            return true;
        }
    }
    return false;
}

static bool parse_vconst(struct parser *s, const char *text, struct ir_inst *i) {
    uint64_t hi, lo;
    const char *end;
    if (!parse_number(text, &hi, &end) || *end != ':' || !whole_number(end + 1, &lo))
        return false;
    int slot = ir_vconst_slot(s->b, lo, hi);
    i->aux = (uint32_t)slot;
    return slot >= 0;
}

/* key=value */
static bool parse_field(struct parser *s, struct ir_inst *i) {
    uint64_t x = 0;
    const char *v;
    bool ok;
    if ((v = value_of(s, "lane"))) {
        ok = whole_number(v, &x);
        i->lane = (uint8_t)x;
    } else if ((v = value_of(s, "n"))) {
        ok = parse_name(v, n_names(i->op), &x);
        i->n = (uint8_t)x;
    } else if ((v = value_of(s, "cc"))) {
        ok = parse_name(v, cc_names(i->op), &x);
        i->cc = (uint8_t)x;
    } else if ((v = value_of(s, "flags"))) {
        ok = whole_number(v, &x);
        i->flags = (uint8_t)x;
    } else if ((v = value_of(s, "aux"))) {
        ok = whole_number(v, &x);
        i->aux = (uint32_t)x;
    } else if ((v = value_of(s, "imm"))) {
        ok = whole_number(v, &i->imm);
    } else if ((v = value_of(s, "fn"))) {
        ok = parse_helper(v, i);
    } else if ((v = value_of(s, "v"))) {
        ok = parse_vconst(s, v, i);
    } else {
        ok = false;
    }
    return ok;
}

/* %12:i64 -- then "=" and the operation's name must follow. */
static int parse_result(struct parser *s, struct ir_inst *i, unsigned *name) {
    uint64_t n, type = 0;
    const char *end;
    if (!parse_number(s->word + 1, &n, &end) || n == 0 || n >= IR_MAX_INSTS || *end != ':')
        return fail(s, "a value is written %number:type");
    while (type < ARRAY_LEN(type_names) && !equal(end + 1, type_names[type]))
        type++;
    if (type == IR_NONE || type == ARRAY_LEN(type_names))
        return fail(s, "unknown type");
    i->type = (uint8_t)type;
    *name = (unsigned)n;
    if (!next_word(s) || !equal(s->word, "=") || !next_word(s))
        return fail(s, "expected = and an operation");
    return 0;
}

static int parse_inst(struct parser *s) {
    struct ir_inst i = {0};
    unsigned name = 0, operands = 0, op = 0;
    if (s->word[0] == '%' && parse_result(s, &i, &name))
        return -1;
    while (op < IR_OP_COUNT && !equal(s->word, ir_op_info[op].name))
        op++;
    if (op == IR_OP_COUNT)
        return fail(s, "unknown operation");
    i.op = (uint8_t)op;
    while (next_word(s)) {
        irv v;
        if (s->word[0] == '%' || s->word[0] == '_') {
            if (operands == 3 || !parse_value(s, &v))
                return fail(s, "not a value defined above");
            *(operands == 0 ? &i.a : operands == 1 ? &i.b : &i.c) = v;
            operands++;
        } else if (!parse_field(s, &i)) {
            return fail(s, "bad field");
        }
    }
    irv at = s->b->count;
    s->b->labels |= op == IR_LABEL; /* enough to be looked for */
    ir_append(s->b, &i);
    if (s->b->overflow)
        return fail(s, "too many operations");
    if (i.type != IR_NONE)
        s->b->priv.map[name] = at;
    return 0;
}

static int parse_header(struct parser *s) {
    static const char *const keys[] = {"pc", "mode", "flags", "insns", "bytes"};
    uint64_t x[ARRAY_LEN(keys)] = {0};
    while (next_word(s)) {
        bool ok = false;
        for (unsigned k = 0; k < ARRAY_LEN(keys); k++) {
            const char *v = value_of(s, keys[k]);
            ok = ok || (v && whole_number(v, &x[k]));
        }
        if (!ok)
            return fail(s, "bad field of a block");
    }
    s->b->pc = x[0];
    s->b->mode = (uint32_t)x[1];
    s->b->flags = (uint32_t)x[2];
    s->b->insns = (uint32_t)x[3];
    s->b->guest_bytes = (uint32_t)x[4];
    return 0;
}

int ir_parse(struct ir_block *b, const char *text, char *err, size_t errlen) {
    struct parser s = {.b = b, .p = text, .err = err, .errlen = errlen};
    ir_block_reset(b, 0, 0);
    memset(b->priv.map, 0, sizeof(b->priv.map));
    while (*s.p) {
        s.line++;
        if (next_word(&s) && (equal(s.word, "block") ? parse_header(&s) : parse_inst(&s)))
            return -1;
        if (*s.p && *s.p != '\n')
            return fail(&s, "word too long");
        s.p += *s.p == '\n';
    }
    return 0;
}
