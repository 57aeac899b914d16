/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* sat - satisfiability by search: unit propagation with two watched literals, activities, jumps back over levels. */

#include "bench.h"

enum { VARIABLES = 120, CLAUSES = 505, INSTANCES = 14, STORE = 1 << 18, LIMIT = 400000 };

/* Literal: 2 * variable + (1 if negated). A clause in the store: its length, then its literals. */
static uint32_t store[STORE], used;
static struct list {
    uint32_t *at, count, room;
} watches[2 * VARIABLES];
static int8_t value[2 * VARIABLES]; /* 1 true, -1 false */
static uint32_t reason[VARIABLES], level_of[VARIABLES], trail[VARIABLES], trail_count, done, level;
static uint32_t level_start[VARIABLES + 1];
static double activity[VARIABLES], step;
static bool seen[VARIABLES], phase[VARIABLES];

static void watch(uint32_t literal, uint32_t clause) {
    struct list *l = &watches[literal];
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 8;
        l->at = realloc(l->at, l->room * sizeof *l->at);
        if (!l->at)
            bench_fail("memory");
    }
    l->at[l->count++] = clause;
}
static uint32_t add_clause(const uint32_t *literals, uint32_t count) {
    uint32_t c = used;
    if (used + count + 1 > STORE)
        bench_fail("too many clauses");
    store[used++] = count;
    memcpy(store + used, literals, count * sizeof *literals);
    used += count;
    watch(literals[0] ^ 1, c);
    watch(literals[1] ^ 1, c);
    return c;
}
static void assign(uint32_t literal, uint32_t why) {
    value[literal] = 1;
    value[literal ^ 1] = -1;
    reason[literal / 2] = why;
    level_of[literal / 2] = level;
    trail[trail_count++] = literal;
}

/* The clause that cannot be true any more, or ~0. */
static uint32_t propagate(void) {
    while (done < trail_count) {
        uint32_t literal = trail[done++];
        struct list *l = &watches[literal];
        uint32_t kept = 0;
        for (uint32_t i = 0; i < l->count; i++) {
            uint32_t clause = l->at[i], n = store[clause], *c = store + clause + 1, k = 2;
            if (c[0] == (literal ^ 1)) {
                c[0] = c[1];
                c[1] = literal ^ 1;
            }
            if (value[c[0]] != 1)
                for (; k < n && value[c[k]] == -1; k++)
                    ;
            else
                k = n;
            if (k < n) {
                c[1] = c[k];
                c[k] = literal ^ 1;
                watch(c[1] ^ 1, clause);
                continue;
            }
            l->at[kept++] = clause;
            if (value[c[0]] == 1)
                continue;
            if (value[c[0]] == -1) {
                for (i++; i < l->count; i++)
                    l->at[kept++] = l->at[i];
                l->count = kept;
                return clause;
            }
            assign(c[0], clause);
        }
        l->count = kept;
    }
    return ~0u;
}

static void undo_to(uint32_t to) {
    while (trail_count > level_start[to + 1]) {
        uint32_t literal = trail[--trail_count];
        value[literal] = value[literal ^ 1] = 0;
        phase[literal / 2] = literal & 1;
    }
    done = trail_count;
    level = to;
}

static void bump(uint32_t variable) {
    activity[variable] += step;
    if (activity[variable] > 1e100) {
        for (int i = 0; i < VARIABLES; i++)
            activity[i] *= 1e-100;
        step *= 1e-100;
    }
}
/* Learns the clause of the first implication point; the level to go back to. */
static uint32_t learn(uint32_t conflict, uint32_t *out, uint32_t *count) {
    uint32_t open = 0, at = trail_count, literal = ~0u, back = 0;
    *count = 1;
    do {
        const uint32_t *c = store + conflict + 1;
        for (uint32_t i = 0; i < store[conflict]; i++) {
            uint32_t v = c[i] / 2;
            if (c[i] == literal || seen[v] || !level_of[v])
                continue;
            seen[v] = true;
            bump(v);
            if (level_of[v] == level)
                open++;
            else
                out[(*count)++] = c[i];
        }
        while (!seen[trail[--at] / 2])
            ;
        literal = trail[at];
        conflict = reason[literal / 2];
        seen[literal / 2] = false;
        open--;
    } while (open);
    out[0] = literal ^ 1;
    for (uint32_t i = 1; i < *count; i++) {
        seen[out[i] / 2] = false;
        if (level_of[out[i] / 2] > back) {
            back = level_of[out[i] / 2];
            uint32_t t = out[1];
            out[1] = out[i];
            out[i] = t;
        }
    }
    return back;
}
static bool decide(void) {
    int best = -1;
    for (int v = 0; v < VARIABLES; v++)
        if (!value[2 * v] && (best < 0 || activity[v] > activity[best]))
            best = v;
    if (best < 0)
        return false;
    level_start[++level] = trail_count;
    assign((uint32_t)best * 2 + phase[best], ~0u);
    return true;
}

static uint64_t solve(uint64_t *seed) {
    uint64_t conflicts = 0;
    uint32_t clause[VARIABLES], count;
    used = trail_count = done = level = 0;
    step = 1;
    memset(value, 0, sizeof value);
    memset(activity, 0, sizeof activity);
    for (int i = 0; i < 2 * VARIABLES; i++)
        watches[i].count = 0;
    for (int i = 0; i < CLAUSES; i++) {
        for (int k = 0; k < 3; k++) {
            clause[k] = bench_random(seed) % (2 * VARIABLES);
            for (int j = 0; j < k; j++)
                if (clause[j] / 2 == clause[k] / 2) {
                    k--;
                    break;
                }
        }
        add_clause(clause, 3);
    }
    while (conflicts < LIMIT) {
        uint32_t conflict = propagate();
        if (conflict == ~0u) {
            if (!decide())
                return 2 * conflicts + 1;
            continue;
        }
        conflicts++;
        if (!level)
            return 2 * conflicts;
        undo_to(learn(conflict, clause, &count));
        assign(clause[0], count > 1 ? add_clause(clause, count) : ~0u);
        step *= 1.05;
    }
    return 0;
}

int main(void) {
    uint64_t seed = 2024, sum = 0;
    bench_begin();
    for (int i = 0; i < INSTANCES; i++)
        sum = bench_mix(sum, solve(&seed));
    bench_end("sat", sum);
    return 0;
}
