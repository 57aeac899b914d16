/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* lru - a cache that drops what was used longest ago: a hash table of chains through a doubly linked list. */

#include "bench.h"

enum { CAPACITY = 20000, BUCKETS = 1 << 14, REQUESTS = 2000000 };

struct entry {
    struct entry *newer, *older, *chain;
    uint64_t key;
    uint32_t value, hits;
};

static struct entry pool[CAPACITY], list, *buckets[BUCKETS];
static size_t used;

static struct entry **bucket(uint64_t key) { return &buckets[(key * 0x9e3779b97f4a7c15u) >> 50]; }

static void detach(struct entry *e) {
    e->newer->older = e->older;
    e->older->newer = e->newer;
}
static void attach(struct entry *e) {
    e->older = list.older;
    e->newer = &list;
    list.older->newer = e;
    list.older = e;
}
static void forget(struct entry *e) {
    struct entry **at = bucket(e->key);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    detach(e);
}
static struct entry *fetch(uint64_t key, uint64_t *misses) {
    struct entry **first = bucket(key), *e;
    for (e = *first; e; e = e->chain) {
        if (e->key == key) {
            detach(e);
            attach(e);
            e->hits++;
            return e;
        }
    }
    ++*misses;
    if (used < CAPACITY) {
        e = &pool[used++];
    } else {
        e = list.newer;
        forget(e);
        first = bucket(key);
    }
    e->key = key;
    e->value = (uint32_t)(key * 2654435761u);
    e->hits = 0;
    e->chain = *first;
    *first = e;
    attach(e);
    return e;
}

int main(void) {
    uint64_t seed = 3, sum = 0, misses = 0;
    list.newer = list.older = &list;
    bench_begin();
    for (int i = 0; i < REQUESTS; i++) {
        uint64_t a = bench_random(&seed), b = bench_random(&seed);
        uint64_t key = (a & 0xffff) * (b & 0xffff) >> 15; /* small keys are the more frequent ones */
        sum += fetch(key, &misses)->value;
        if ((a >> 20 & 1023) == 0)
            sum = bench_mix(sum, list.newer->key);
    }
    for (struct entry *e = list.newer; e != &list; e = e->newer)
        sum = bench_mix(sum, e->key + e->hits);
    bench_end("lru", bench_mix(sum, misses));
    return 0;
}
