/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* vcall - calls through tables of functions, as object-oriented programs make them: an expression tree. */

#include "bench.h"

enum { NODES = 4095, ROUNDS = 1000 };

struct node;
struct class {
    int64_t (*evaluate)(const struct node *, int64_t);
    unsigned (*weight)(const struct node *);
};
struct node {
    const struct class *class;
    const struct node *left, *right;
    int64_t constant;
};

static int64_t eval(const struct node *n, int64_t x) { return n->class->evaluate(n, x); }
static int64_t eval_constant(const struct node *n, int64_t x) { return n->constant + (x & 1); }
static int64_t eval_variable(const struct node *n, int64_t x) { return x ^ n->constant; }
static int64_t eval_add(const struct node *n, int64_t x) { return eval(n->left, x) + eval(n->right, x); }
static int64_t eval_sub(const struct node *n, int64_t x) { return eval(n->left, x) - eval(n->right, x + 1); }
static int64_t eval_mul(const struct node *n, int64_t x) { return eval(n->left, x) * (eval(n->right, x) | 1); }
static int64_t eval_max(const struct node *n, int64_t x) {
    int64_t a = eval(n->left, x), b = eval(n->right, x);
    return a > b ? a : b;
}
static unsigned weight_one(const struct node *n) { return (unsigned)n->constant & 3; }
static unsigned weight_two(const struct node *n) { return 2 + ((unsigned)n->constant & 7); }
static unsigned weight_sum(const struct node *n) { return n->left->class->weight(n->left) + 1; }

static const struct class leaves[] = {{eval_constant, weight_one}, {eval_variable, weight_two}};
static const struct class inner[] = {
    {eval_add, weight_one}, {eval_sub, weight_two}, {eval_mul, weight_sum}, {eval_max, weight_one}};

int main(void) {
    static struct node nodes[NODES];
    uint64_t seed = 17, sum = 0;
    for (int i = 0; i < NODES; i++) {
        uint32_t r = bench_random(&seed);
        bool leaf = 2 * i + 2 >= NODES;
        nodes[i].class = leaf ? &leaves[r >> 9 & 1] : &inner[r >> 9 & 3];
        nodes[i].constant = r & 0xff;
        nodes[i].left = leaf ? NULL : &nodes[2 * i + 1];
        nodes[i].right = leaf ? NULL : &nodes[2 * i + 2];
    }
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        sum = bench_mix(sum, (uint64_t)eval(nodes, round));
        unsigned weight = 0;
        for (int i = 0; i < NODES; i++)
            weight += nodes[(i * 1021) & 4095 ? (i * 1021 & 4095) % NODES : 0].class->weight(&nodes[i % (NODES / 2)]);
        sum += weight;
    }
    bench_end("vcall", sum);
    return 0;
}
