/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* json - parses a document into a tree, changes numbers in it and writes it again. */

#include "bench.h"

enum { RECORDS = 400, ROUNDS = 24, NODES = 1 << 16 };
enum kind { NUL, FALSE_, TRUE_, NUMBER, STRING, ARRAY, OBJECT };

struct node {
    enum kind kind;
    struct node *first, *next;
    const char *key, *text;
    size_t key_length, length;
    double number;
};

static struct node pool[NODES];
static size_t used;
static const char *at;
static char out_buffer[1 << 19];
static size_t out_length;

static void put(const char *text, size_t length) {
    if (out_length + length > sizeof out_buffer)
        bench_fail("the document is too long");
    memcpy(out_buffer + out_length, text, length);
    out_length += length;
}
static void put_string(const char *text, size_t length) {
    put("\"", 1);
    put(text, length);
    put("\"", 1);
}

static void skip_space(void) {
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')
        at++;
}
static void expect(char c) {
    skip_space();
    if (*at++ != c)
        bench_fail("syntax");
}
static const char *parse_string(size_t *length) {
    expect('"');
    const char *start = at;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < ' ')
            bench_fail("control character");
        if (*at == '\\')
            at++;
    }
    *length = (size_t)(at++ - start);
    return start;
}
static double parse_number(void) {
    bool negative = *at == '-';
    double value = 0, scale = 1;
    at += negative;
    if (*at < '0' || *at > '9')
        bench_fail("number");
    while (*at >= '0' && *at <= '9')
        value = value * 10 + (*at++ - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; scale *= 10)
            value = value * 10 + (*at++ - '0');
    return (negative ? -value : value) / scale;
}
static bool word(const char *text) {
    size_t n = strlen(text);
    if (strncmp(at, text, n))
        return false;
    at += n;
    return true;
}

static struct node *parse(void);

static struct node *parse_members(struct node *n, char close) {
    struct node **last = &n->first;
    at++;
    skip_space();
    if (*at == close) {
        at++;
        return n;
    }
    for (;;) {
        const char *key = NULL;
        size_t key_length = 0;
        if (n->kind == OBJECT) {
            key = parse_string(&key_length);
            expect(':');
        }
        struct node *member = parse();
        member->key = key;
        member->key_length = key_length;
        *last = member;
        last = &member->next;
        skip_space();
        if (*at == close) {
            at++;
            return n;
        }
        expect(',');
        skip_space();
    }
}
static struct node *parse(void) {
    if (used == NODES)
        bench_fail("too many nodes");
    struct node *n = &pool[used++];
    memset(n, 0, sizeof *n);
    skip_space();
    switch (*at) {
    case '{': n->kind = OBJECT; return parse_members(n, '}');
    case '[': n->kind = ARRAY; return parse_members(n, ']');
    case '"':
        n->kind = STRING;
        n->text = parse_string(&n->length);
        return n;
    case 't':
    case 'f':
    case 'n':
        n->kind = word("true") ? TRUE_ : word("false") ? FALSE_ : NUL;
        if (n->kind == NUL && !word("null"))
            bench_fail("word");
        return n;
    default:
        n->kind = NUMBER;
        n->number = parse_number();
        return n;
    }
}

static void write_number(double value) {
    char digits[24];
    size_t n = sizeof digits;
    bool negative = value < 0;
    uint64_t v = (uint64_t)((negative ? -value : value) * 1000 + 0.5);
    for (unsigned i = 0; v || i < 4; i++, v /= 10) {
        if (i == 3)
            digits[--n] = '.';
        digits[--n] = (char)('0' + v % 10);
    }
    if (negative)
        digits[--n] = '-';
    put(digits + n, sizeof digits - n);
}
static void write_node(const struct node *n) {
    switch (n->kind) {
    case NUL: put("null", 4); return;
    case FALSE_: put("false", 5); return;
    case TRUE_: put("true", 4); return;
    case NUMBER: write_number(n->number); return;
    case STRING: put_string(n->text, n->length); return;
    case ARRAY:
    case OBJECT: break;
    }
    put(n->kind == ARRAY ? "[" : "{", 1);
    for (const struct node *m = n->first; m; m = m->next) {
        if (n->kind == OBJECT) {
            put_string(m->key, m->key_length);
            put(":", 1);
        }
        write_node(m);
        if (m->next)
            put(",", 1);
    }
    put(n->kind == ARRAY ? "]" : "}", 1);
}

static const struct node *member(const struct node *n, const char *key) {
    size_t length = strlen(key);
    for (const struct node *m = n->first; m; m = m->next)
        if (m->key_length == length && !memcmp(m->key, key, length))
            return m;
    return NULL;
}
static void change(struct node *n) {
    for (struct node *m = n->first; m; m = m->next)
        change(m);
    if (n->kind == NUMBER)
        n->number = n->number * 3 - (double)(int64_t)(n->number * 3 / 1000) * 1000;
}

static char *make_document(void) {
    uint8_t words[4096];
    uint64_t seed = 5;
    size_t size = RECORDS * 400, n = 0;
    char *text = bench_alloc(size);
    bench_text(words, sizeof words, 9);
    for (size_t i = 0; i < sizeof words; i++)
        words[i] = words[i] == '\n' ? ' ' : words[i];
    n += (size_t)snprintf(text + n, size - n, "[");
    for (unsigned i = 0; i < RECORDS; i++) {
        uint32_t r = bench_random(&seed);
        n += (size_t)snprintf(text + n, size - n,
                              "%s\n  {\"id\": %u, \"name\": \"%.*s\", \"active\": %s,\n   \"place\": {\"x\": %d.%03u, "
                              "\"y\": -%u.%03u}, \"parent\": null,\n   \"tags\": [\"%.*s\", \"a \\\"quoted\\\" word\", "
                              "[], {}],\n   \"scores\": [%u, %u, %u, %u.5]}",
                              i ? "," : "", i, (int)(r % 30 + 3), words + r % 3000, r & 1 ? "true" : "false",
                              (int)(r % 977) - 400, r % 1000, r % 811, r / 7 % 1000, (int)(r / 9 % 12 + 1),
                              words + r / 11 % 3500, r % 100, r / 3 % 1000, r / 5 % 10000, r % 17);
    }
    snprintf(text + n, size - n, "\n]\n");
    return text;
}

int main(void) {
    char *text = make_document();
    uint64_t sum = 0;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        at = round & 1 ? out_buffer : text;
        char *copy = NULL;
        if (round & 1) {
            copy = bench_alloc(out_length + 1);
            memcpy(copy, out_buffer, out_length);
            copy[out_length] = 0;
            at = copy;
        }
        used = out_length = 0;
        struct node *root = parse();
        for (const struct node *n = root->first; n; n = n->next)
            sum = bench_mix_double(sum, member(n, "id")->number + member(member(n, "place"), "y")->number);
        change(root);
        write_node(root);
        for (size_t i = 0; i < out_length; i += 61)
            sum = bench_mix(sum, (uint8_t)out_buffer[i]);
        sum = bench_mix(sum, out_length);
        free(copy);
    }
    bench_end("json", sum);
    return 0;
}
