/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* hashtable - an open-addressing table with 64-bit keys and a chained one with strings: insert, find, delete. */

#include "bench.h"

enum { BITS = 17, SLOTS = 1 << BITS, KEYS = SLOTS / 2, STRINGS = 1 << 15, ROUNDS = 12 };

static struct {
    uint64_t key, value;
} slots[SLOTS];

static size_t home(uint64_t key) { return key * 0x9e3779b97f4a7c15u >> (64 - BITS); }

static size_t find(uint64_t key) {
    size_t i = home(key);
    while (slots[i].key && slots[i].key != key)
        i = (i + 1) & (SLOTS - 1);
    return i;
}

/* Closes the gap that a deletion leaves, so that no tombstones are needed. */
static void delete(uint64_t key) {
    size_t i = find(key), j = i;
    if (!slots[i].key)
        return;
    for (;;) {
        slots[i].key = 0;
        size_t k;
        do {
            j = (j + 1) & (SLOTS - 1);
            if (!slots[j].key)
                return;
            k = home(slots[j].key);
        } while (i <= j ? (i < k && k <= j) : (i < k || k <= j));
        slots[i] = slots[j];
        i = j;
    }
}

struct node {
    struct node *next;
    uint32_t count;
    char word[12];
};

static struct node *chains[4096], pool[STRINGS];
static size_t used;

static void count_word(const char *word) {
    uint32_t h = 2166136261u;
    for (const char *p = word; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    struct node **at = &chains[(h ^ h >> 15) & 4095];
    for (; *at; at = &(*at)->next)
        if (!strcmp((*at)->word, word)) {
            (*at)->count++;
            return;
        }
    if (used == STRINGS)
        return;
    *at = &pool[used++];
    (*at)->count = 1;
    strcpy((*at)->word, word);
}

static uint64_t numbers(uint64_t sum, uint64_t seed) {
    uint64_t again = seed;
    for (int i = 0; i < KEYS; i++) {
        uint64_t key = bench_random(&seed) | 1u;
        size_t at = find(key);
        slots[at].key = key;
        slots[at].value += (uint64_t)i;
    }
    for (int i = 0; i < KEYS; i++) {
        uint64_t key = bench_random(&again) | 1u;
        sum += slots[find(key)].value + slots[find(key + 1)].value;
        delete (key);
    }
    return bench_mix(0, sum);
}

int main(void) {
    uint64_t sum = 0, seed = 11;
    char word[12];
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        sum = numbers(sum, (uint64_t)round + 1);
        for (int i = 0; i < 200000; i++) {
            uint32_t r = bench_random(&seed), v = (r & 0xff) * (r >> 8 & 0xff);
            int n = 0;
            for (; n < 8 && v; n++, v /= 26)
                word[n] = (char)('a' + v % 26);
            word[n] = 0;
            count_word(word);
        }
    }
    for (size_t i = 0; i < used; i++)
        sum = bench_mix(sum, pool[i].count);
    bench_end("hashtable", sum);
    return 0;
}
