/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* regex - a backtracking matcher of regular expressions, compiled to a small program, over lines of text. */

#include "bench.h"

enum { SIZE = 1 << 15, CODE = 256 };
enum op { CHAR, ANY, CLASS, SPLIT, JUMP, SAVE, BEGIN, END, MATCH };

struct insn {
    enum op op;
    uint8_t c, save;
    int16_t x, y;
    uint32_t set[8];
};

static struct insn code[CODE];
static int16_t length, groups;
static const char *pattern;

static int16_t emit(enum op op) {
    if (length == CODE)
        bench_fail("the expression is too long");
    memset(&code[length], 0, sizeof code[0]);
    code[length].op = op;
    return length++;
}
/* Makes room for one instruction at that place; jumps behind it move, too. */
static void insert(int16_t where) {
    emit(JUMP);
    memmove(&code[where + 1], &code[where], (size_t)(length - 1 - where) * sizeof code[0]);
    for (int16_t i = where + 1; i < length; i++) {
        if (code[i].op == SPLIT || code[i].op == JUMP) {
            code[i].x = (int16_t)(code[i].x + (code[i].x >= where));
            code[i].y = (int16_t)(code[i].y + (code[i].y >= where));
        }
    }
}
static void split_at(int16_t where, int16_t x, int16_t y) {
    code[where].op = SPLIT;
    code[where].x = x;
    code[where].y = y;
}

static void parse_class(void) {
    struct insn *in = &code[emit(CLASS)];
    bool negate = *pattern == '^';
    pattern += negate;
    while (*pattern != ']') {
        unsigned from = (uint8_t)*pattern++, to = from;
        if (*pattern == '-') {
            to = (uint8_t)pattern[1];
            pattern += 2;
        }
        for (; from <= to; from++)
            in->set[from / 32] |= 1u << from % 32;
    }
    pattern++;
    for (unsigned i = 0; i < 8 && negate; i++)
        in->set[i] = ~in->set[i];
}

static void parse_alternatives(void);

static void parse_atom(void) {
    char c = *pattern++;
    switch (c) {
    case '.': emit(ANY); break;
    case '^': emit(BEGIN); break;
    case '$': emit(END); break;
    case '[': parse_class(); break;
    case '(': {
        uint8_t group = (uint8_t)(2 * ++groups);
        code[emit(SAVE)].save = group;
        parse_alternatives();
        code[emit(SAVE)].save = (uint8_t)(group + 1);
        pattern++;
        break;
    }
    default: code[emit(CHAR)].c = (uint8_t)c; break;
    }
}
static void parse_repeated(void) {
    int16_t start = length;
    parse_atom();
    char c = *pattern;
    if (c != '*' && c != '+' && c != '?')
        return;
    bool lazy = *++pattern == '?';
    pattern += lazy;
    int16_t in, out;
    if (c == '+') {
        int16_t split = emit(SPLIT);
        in = start;
        out = length;
        split_at(split, lazy ? out : in, lazy ? in : out);
        return;
    }
    insert(start);
    if (c == '*') {
        int16_t back = emit(JUMP);
        code[back].x = start;
    }
    in = (int16_t)(start + 1);
    out = length;
    split_at(start, lazy ? out : in, lazy ? in : out);
}
static void parse_alternatives(void) {
    int16_t start = length;
    while (*pattern && *pattern != '|' && *pattern != ')')
        parse_repeated();
    if (*pattern != '|')
        return;
    pattern++;
    insert(start);
    int16_t skip = emit(JUMP), second = length;
    split_at(start, (int16_t)(start + 1), second);
    parse_alternatives();
    code[skip].x = length;
}

static const char *line_start, *line_end, *saved[20];
static uint64_t steps;

static bool match(int16_t pc, const char *s) {
    for (;;) {
        const struct insn *in = &code[pc];
        steps++;
        switch (in->op) {
        case CHAR:
            if (s == line_end || (uint8_t)*s != in->c)
                return false;
            s++;
            break;
        case ANY:
            if (s == line_end)
                return false;
            s++;
            break;
        case CLASS:
            if (s == line_end || !(in->set[(uint8_t)*s / 32] >> (uint8_t)*s % 32 & 1))
                return false;
            s++;
            break;
        case SPLIT:
            if (match(in->x, s))
                return true;
            pc = in->y;
            continue;
        case JUMP: pc = in->x; continue;
        case SAVE: {
            const char *old = saved[in->save];
            saved[in->save] = s;
            if (match((int16_t)(pc + 1), s))
                return true;
            saved[in->save] = old;
            return false;
        }
        case BEGIN:
            if (s != line_start)
                return false;
            break;
        case END:
            if (s != line_end)
                return false;
            break;
        case MATCH: return true;
        }
        pc++;
    }
}

static void compile(const char *text) {
    pattern = text;
    length = groups = 0;
    parse_alternatives();
    emit(MATCH);
}

static uint64_t search(const char *text, const char *end, uint64_t sum) {
    for (line_start = text; line_start < end; line_start = line_end + 1) {
        line_end = memchr(line_start, '\n', (size_t)(end - line_start));
        line_end = line_end ? line_end : end;
        memset(saved, 0, sizeof saved);
        for (const char *s = line_start; s <= line_end; s++) {
            if (match(0, s)) {
                sum = bench_mix(sum, (uint64_t)(s - text));
                for (int i = 2; i < 2 * groups + 2; i++)
                    sum = bench_mix(sum, saved[i] ? (uint64_t)(saved[i] - s) : 99);
                break;
            }
        }
    }
    return sum;
}

int main(void) {
    static const char *const patterns[] = {
        "(a|e|i)([^aeiou ]+)(o|u)", "^([a-m]*) ([n-z]+) ",   "([a-z]+) .* ([a-f]+?)$",
        "(x|y)?z+(ab|cd|ef)*[g-k]", "[aeiou][aeiou][aeiou]", "(the|and|w.*k) ?q",
    };
    uint8_t *text = bench_alloc(SIZE);
    uint64_t sum = 0;
    bench_text(text, SIZE, 21);
    bench_begin();
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        compile(patterns[i]);
        sum = search((const char *)text, (const char *)text + SIZE, sum);
    }
    bench_end("regex", bench_mix(sum, steps));
    return 0;
}
