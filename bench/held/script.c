/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* script - a small language with dynamic types, functions and lists, interpreted as a tree. */

#include "bench.h"

#include <ctype.h>

enum { NODES = 4096, NAMES = 128, FRAMES = 4096, ROUNDS = 8 };
enum type { NIL, INTEGER, REAL, PAIR };
enum op { NUMBER, LOCAL, SET, CALL, IF, WHILE, BLOCK, ARITHMETIC, CONS, FIRST, REST };

struct value {
    enum type type;
    union {
        int64_t i;
        double d;
        struct pair *p;
    } u;
};
struct pair {
    struct value first, rest;
};
struct node {
    enum op op;
    char sign;
    int slot;
    struct value constant;
    struct function *callee;
    struct node *kid, *next;
};
struct function {
    char name[16];
    int arguments, locals;
    char local_names[16][16];
    struct node *body;
};

static struct node nodes[NODES];
static struct function functions[NAMES];
static struct pair *pairs;
static size_t node_count, function_count, pair_count, pair_limit;
static struct value stack[FRAMES];
static struct value *frame_end = stack;
static const char *source;

/* --- reading: (op operand ...), names, numbers ------------------------------------------------ */
static void skip_space(void) {
    while (isspace((unsigned char)*source))
        source++;
}
static void read_name(char name[16]) {
    int n = 0;
    skip_space();
    while (*source && !isspace((unsigned char)*source) && *source != '(' && *source != ')' && n < 15)
        name[n++] = *source++;
    name[n] = 0;
}
static struct function *function(const char *name) {
    for (size_t i = 0; i < function_count; i++)
        if (!strcmp(functions[i].name, name))
            return &functions[i];
    strcpy(functions[function_count].name, name);
    return &functions[function_count++];
}
static int local(struct function *f, const char *name) {
    for (int i = 0; i < f->locals; i++)
        if (!strcmp(f->local_names[i], name))
            return i;
    strcpy(f->local_names[f->locals], name);
    return f->locals++;
}
static struct node *new_node(enum op op) {
    if (node_count == NODES)
        bench_fail("the program is too long");
    struct node *n = &nodes[node_count++];
    *n = (struct node){.op = op};
    return n;
}

static struct node *read_node(struct function *f);

static void read_kids(struct function *f, struct node *n) {
    struct node **last = &n->kid;
    for (skip_space(); *source != ')'; skip_space()) {
        *last = read_node(f);
        last = &(*last)->next;
    }
    source++;
}
static struct node *read_list(struct function *f) {
    static const struct {
        const char *name;
        enum op op;
    } forms[] = {{"if", IF},     {"while", WHILE}, {"do", BLOCK}, {"set", SET},
                 {"cons", CONS}, {"first", FIRST}, {"rest", REST}};
    char name[16];
    read_name(name);
    struct node *n = new_node(CALL);
    bool form = false;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (!strcmp(name, forms[i].name)) {
            n->op = forms[i].op;
            form = true;
        }
    }
    if (n->op == SET) {
        read_name(name);
        n->slot = local(f, name);
    } else if (!form && strchr("+-*/%<=", name[0]) && !name[1]) {
        n->op = ARITHMETIC;
        n->sign = name[0];
    } else if (!form) {
        n->callee = function(name);
    }
    read_kids(f, n);
    return n;
}
static struct node *read_node(struct function *f) {
    skip_space();
    if (*source == '(') {
        source++;
        return read_list(f);
    }
    char name[16];
    read_name(name);
    struct node *n = new_node(NUMBER);
    if (isdigit((unsigned char)name[0])) {
        n->constant.type = strchr(name, '.') ? REAL : INTEGER;
        if (n->constant.type == REAL)
            n->constant.u.d = strtod(name, NULL);
        else
            n->constant.u.i = strtoll(name, NULL, 10);
    } else if (strcmp(name, "nil")) {
        n->op = LOCAL;
        n->slot = local(f, name);
    }
    return n;
}
static void read_program(const char *text) {
    for (source = text, skip_space(); *source; skip_space()) {
        char name[16];
        source++;
        read_name(name);
        struct function *f = function(name);
        for (skip_space(), source++, skip_space(); *source != ')'; skip_space(), f->arguments++) {
            read_name(name);
            local(f, name);
        }
        source++;
        f->body = new_node(BLOCK);
        read_kids(f, f->body);
    }
}

/* --- running ---------------------------------------------------------------------------------- */
static double real(struct value v) { return v.type == REAL ? v.u.d : (double)v.u.i; }
static bool is_true(struct value v) { return v.type == INTEGER ? v.u.i != 0 : v.type != NIL; }

static struct value arithmetic(char sign, struct value a, struct value b) {
    struct value r = {.type = INTEGER};
    if (a.type == INTEGER && b.type == INTEGER) {
        switch (sign) {
        case '+': r.u.i = (int64_t)((uint64_t)a.u.i + (uint64_t)b.u.i); break;
        case '-': r.u.i = (int64_t)((uint64_t)a.u.i - (uint64_t)b.u.i); break;
        case '*': r.u.i = (int64_t)((uint64_t)a.u.i * (uint64_t)b.u.i); break;
        case '/': r.u.i = b.u.i ? a.u.i / b.u.i : 0; break;
        case '%': r.u.i = b.u.i ? a.u.i % b.u.i : 0; break;
        case '<': r.u.i = a.u.i < b.u.i; break;
        default: r.u.i = a.u.i == b.u.i; break;
        }
        return r;
    }
    double x = real(a), y = real(b);
    if (sign == '<' || sign == '=') {
        r.u.i = sign == '<' ? x < y : x == y;
        return r;
    }
    r.type = REAL;
    r.u.d = sign == '+' ? x + y : sign == '-' ? x - y : sign == '*' ? x * y : x / y;
    return r;
}

static struct value run(const struct node *n, struct value *frame);

static struct value call(const struct node *n, struct value *frame) {
    const struct function *f = n->callee;
    struct value *callee = frame_end;
    if (callee + f->locals > stack + FRAMES || !f->body)
        bench_fail("call");
    int i = 0;
    frame_end += f->locals;
    for (const struct node *k = n->kid; k; k = k->next)
        callee[i++] = run(k, frame);
    for (; i < f->locals; i++)
        callee[i].type = NIL;
    struct value r = run(f->body, callee);
    frame_end = callee;
    return r;
}
static struct value cons(struct value first, struct value rest) {
    if (pair_count == pair_limit)
        bench_fail("memory");
    struct pair *p = &pairs[pair_count++];
    p->first = first;
    p->rest = rest;
    return (struct value){PAIR, {.p = p}};
}
static struct value part(struct value v, bool first) {
    if (v.type != PAIR)
        bench_fail("not a pair");
    return first ? v.u.p->first : v.u.p->rest;
}
static struct value run(const struct node *n, struct value *frame) {
    struct value v = {.type = NIL};
    switch (n->op) {
    case NUMBER: return n->constant;
    case LOCAL: return frame[n->slot];
    case SET: return frame[n->slot] = run(n->kid, frame);
    case CALL: return call(n, frame);
    case IF:
        if (is_true(run(n->kid, frame)))
            return run(n->kid->next, frame);
        return n->kid->next->next ? run(n->kid->next->next, frame) : v;
    case WHILE:
        while (is_true(run(n->kid, frame)))
            for (const struct node *k = n->kid->next; k; k = k->next)
                v = run(k, frame);
        return v;
    case BLOCK:
        for (const struct node *k = n->kid; k; k = k->next)
            v = run(k, frame);
        return v;
    case ARITHMETIC: return arithmetic(n->sign, run(n->kid, frame), run(n->kid->next, frame));
    case CONS: return cons(run(n->kid, frame), run(n->kid->next, frame));
    case FIRST: return part(run(n->kid, frame), true);
    case REST: return part(run(n->kid, frame), false);
    }
    return v;
}

static const char program[] =
    "(fib (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))"
    "(upto (n) (set l nil) (while (< 0 n) (set l (cons (% (* n 7919) 1009) l)) (set n (- n 1))) l)"
    "(less (l x) (set r nil) (while l (do (if (< (first l) x) (set r (cons (first l) r))) (set l (rest l)))) r)"
    "(more (l x) (set r nil) (while l (do (if (< (first l) x) 0 (set r (cons (first l) r))) (set l (rest l)))) r)"
    "(append (a b) (if a (cons (first a) (append (rest a) b)) b))"
    "(sort (l) (if l (append (sort (less (rest l) (first l))) (cons (first l) (sort (more (rest l) (first l))))) nil))"
    "(digest (l) (set h 17) (while l (do (set h (% (+ (* h 31) (first l)) 1000003)) (set l (rest l)))) h)"
    "(root (x) (set r x) (set i 0) (while (< i 20) (set r (/ (+ r (/ x r)) 2.0)) (set i (+ i 1))) r)"
    "(roots (n) (set s 0.0) (while (< 0 n) (set s (+ s (root n))) (set n (- n 1))) s)"
    "(main (n) (+ (fib 18) (digest (sort (upto n)))))"
    "(real (n) (roots n))";

static struct value run_function(const char *name, int64_t argument) {
    struct function *f = function(name);
    struct node number = {.op = NUMBER, .constant = {INTEGER, {.i = argument}}};
    struct node n = {.op = CALL, .callee = f, .kid = &number};
    return call(&n, stack);
}

int main(void) {
    uint64_t sum = 0;
    pair_limit = 1 << 17;
    pairs = bench_alloc(pair_limit * sizeof *pairs);
    read_program(program);
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        pair_count = 0;
        frame_end = stack;
        sum = bench_mix(sum, (uint64_t)run_function("main", 700 + round).u.i);
        sum = bench_mix_double(sum, run_function("real", 900 + round).u.d);
    }
    bench_end("script", sum);
    return 0;
}
