/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* entropy - a compressor in the manner of zstd: matches by hash chains, then literals by a canonical Huffman code. */

#include "bench.h"

enum { SIZE = 1 << 18, ROUNDS = 4, HASH = 14, CHAIN = 16, SYMBOLS = 256, MAX_BITS = 15 };

static uint8_t text[SIZE], literals[SIZE], packed[SIZE * 2], again[SIZE];
static uint32_t head[1 << HASH], link_to[SIZE];
static struct sequence {
    uint32_t literals, length, distance;
} sequences[SIZE / 4 + 1];
static size_t sequence_count, literal_count;

static uint32_t hash_at(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v * 2654435761u >> (32 - HASH);
}
static size_t same(const uint8_t *a, const uint8_t *b, const uint8_t *end) {
    const uint8_t *start = b;
    while (b < end && *a == *b) {
        a++;
        b++;
    }
    return (size_t)(b - start);
}

static void find_sequences(void) {
    size_t from = 0, i = 0;
    memset(head, 0, sizeof head);
    sequence_count = literal_count = 0;
    while (i + 4 <= SIZE) {
        uint32_t h = hash_at(text + i), at = head[h];
        size_t best = 3, distance = 0;
        for (unsigned tries = 0; at && tries < CHAIN; tries++, at = link_to[at - 1]) {
            if (text[at - 1 + best] != text[i + best])
                continue;
            size_t n = same(text + at - 1, text + i, text + SIZE);
            if (n > best) {
                best = n;
                distance = i - (at - 1);
            }
        }
        link_to[i] = head[h];
        head[h] = (uint32_t)i + 1;
        if (!distance) {
            i++;
            continue;
        }
        memcpy(literals + literal_count, text + from, i - from);
        literal_count += i - from;
        sequences[sequence_count++] = (struct sequence){(uint32_t)(i - from), (uint32_t)best, (uint32_t)distance};
        for (size_t k = 1; k < best && i + k + 4 <= SIZE; k++) {
            h = hash_at(text + i + k);
            link_to[i + k] = head[h];
            head[h] = (uint32_t)(i + k) + 1;
        }
        i += best;
        from = i;
    }
    memcpy(literals + literal_count, text + from, SIZE - from);
    literal_count += SIZE - from;
    sequences[sequence_count++] = (struct sequence){(uint32_t)(SIZE - from), 0, 0};
}

static uint8_t bits[SYMBOLS];
static uint16_t codes[SYMBOLS];

/* Lengths by repeated joining of the two rarest; counts are halved until no code is too long. */
static void make_lengths(const uint32_t *counts) {
    uint32_t weight[2 * SYMBOLS];
    uint16_t parent[2 * SYMBOLS];
    for (unsigned shift = 0;; shift++) {
        unsigned n = SYMBOLS, longest = 0;
        bool alive[2 * SYMBOLS];
        for (unsigned i = 0; i < SYMBOLS; i++) {
            weight[i] = counts[i] ? (counts[i] >> shift) + 1 : 0;
            alive[i] = counts[i] != 0;
        }
        for (;; n++) {
            unsigned a = 0xffff, b = 0xffff;
            for (unsigned i = 0; i < n; i++) {
                if (!alive[i])
                    continue;
                if (a == 0xffff || weight[i] < weight[a]) {
                    b = a;
                    a = i;
                } else if (b == 0xffff || weight[i] < weight[b]) {
                    b = i;
                }
            }
            if (b == 0xffff)
                break;
            weight[n] = weight[a] + weight[b];
            alive[a] = alive[b] = false;
            alive[n] = true;
            parent[a] = parent[b] = (uint16_t)n;
        }
        for (unsigned i = 0; i < SYMBOLS; i++) {
            bits[i] = 0;
            for (unsigned k = i; counts[i] && k != n - 1; k = parent[k])
                bits[i]++;
            longest = bits[i] > longest ? bits[i] : longest;
        }
        if (longest <= MAX_BITS)
            return;
    }
}
static void make_codes(void) {
    uint16_t code = 0;
    for (unsigned length = 1; length <= MAX_BITS; length++, code = (uint16_t)(code << 1))
        for (unsigned i = 0; i < SYMBOLS; i++)
            if (bits[i] == length)
                codes[i] = code++;
}

static size_t encode(void) {
    uint32_t counts[SYMBOLS] = {0};
    uint64_t buffer = 0;
    unsigned held = 0;
    size_t n = 0;
    for (size_t i = 0; i < literal_count; i++)
        counts[literals[i]]++;
    make_lengths(counts);
    make_codes();
    for (size_t i = 0; i < literal_count; i++) {
        buffer = buffer << bits[literals[i]] | codes[literals[i]];
        for (held += bits[literals[i]]; held >= 8; held -= 8)
            packed[n++] = (uint8_t)(buffer >> (held - 8));
    }
    packed[n++] = (uint8_t)(buffer << (8 - held));
    return n;
}
static void decode(void) {
    static uint16_t table[1 << MAX_BITS];
    uint64_t buffer = 0;
    unsigned held = 0;
    size_t n = 0;
    for (unsigned i = 0; i < SYMBOLS; i++)
        for (unsigned k = 0; bits[i] && k < 1u << (MAX_BITS - bits[i]); k++)
            table[(unsigned)codes[i] << (MAX_BITS - bits[i]) | k] = (uint16_t)(i | (unsigned)bits[i] << 8);
    for (size_t i = 0; i < literal_count; i++) {
        for (; held < MAX_BITS; held += 8)
            buffer = buffer << 8 | packed[n++];
        uint16_t entry = table[buffer >> (held - MAX_BITS) & ((1u << MAX_BITS) - 1)];
        literals[i] = (uint8_t)entry;
        held -= entry >> 8;
    }
}
static void expand(void) {
    size_t n = 0, from = 0;
    for (size_t i = 0; i < sequence_count; i++) {
        memcpy(again + n, literals + from, sequences[i].literals);
        n += sequences[i].literals;
        from += sequences[i].literals;
        for (uint32_t k = 0; k < sequences[i].length; k++, n++)
            again[n] = again[n - sequences[i].distance];
    }
    if (n != SIZE || memcmp(text, again, SIZE))
        bench_fail("what was compressed is not what was there");
}

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        bench_text(text, SIZE, (uint64_t)round + 40);
        find_sequences();
        size_t n = encode();
        memset(literals, 0, sizeof literals);
        decode();
        expand();
        sum = bench_mix(bench_mix(sum, n), sequence_count);
        for (size_t i = 0; i < n; i += 7)
            sum = bench_mix(sum, packed[i]);
    }
    bench_end("entropy", sum);
    return 0;
}
