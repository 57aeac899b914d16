/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* lz - compress and decompress text with a byte-oriented LZ77 coder that finds matches through a hash table. */

#include "bench.h"

enum { SIZE = 1 << 20, HASH_BITS = 14, MIN_MATCH = 4, WINDOW = 65535, ROUNDS = 40 };

static uint32_t load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static uint8_t *put_length(uint8_t *out, size_t length) {
    for (; length >= 255; length -= 255)
        *out++ = 255;
    *out++ = (uint8_t)length;
    return out;
}

static size_t get_length(const uint8_t **in) {
    size_t length = 0;
    while (**in == 255) {
        length += 255;
        (*in)++;
    }
    return length + *(*in)++;
}

static uint8_t *put_sequence(uint8_t *out, const uint8_t *literals, size_t count, size_t match, size_t distance) {
    out = put_length(out, count);
    memcpy(out, literals, count);
    out += count;
    out = put_length(out, match);
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    return out;
}

static size_t compress(const uint8_t *in, size_t size, uint8_t *out) {
    static uint32_t table[1 << HASH_BITS];
    uint8_t *start = out;
    size_t at = 0, anchor = 0;
    memset(table, 0, sizeof table);
    while (at + MIN_MATCH + 8 < size) {
        uint32_t hash = load32(in + at) * 2654435761u >> (32 - HASH_BITS);
        size_t candidate = table[hash];
        table[hash] = (uint32_t)at;
        if (candidate < at && at - candidate <= WINDOW && load32(in + candidate) == load32(in + at)) {
            size_t length = MIN_MATCH;
            while (at + length < size && in[candidate + length] == in[at + length])
                length++;
            out = put_sequence(out, in + anchor, at - anchor, length, at - candidate);
            at += length;
            anchor = at;
        } else {
            at++;
        }
    }
    out = put_sequence(out, in + anchor, size - anchor, 0, 0);
    return (size_t)(out - start);
}

static size_t decompress(const uint8_t *in, size_t size, uint8_t *out) {
    const uint8_t *end = in + size;
    uint8_t *start = out;
    while (in < end) {
        size_t count = get_length(&in);
        while (count--)
            *out++ = *in++;
        size_t match = get_length(&in);
        size_t distance = in[0] | (size_t)in[1] << 8;
        in += 2;
        for (; match; match--, out++)
            *out = out[-(ptrdiff_t)distance];
    }
    return (size_t)(out - start);
}

int main(void) {
    uint8_t *text = bench_alloc(SIZE), *packed = bench_alloc(2 * SIZE), *back = bench_alloc(SIZE);
    uint64_t sum = 0;
    bench_text(text, SIZE, 1);
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        text[round * 1000] ^= 1;
        size_t size = compress(text, SIZE, packed);
        if (decompress(packed, size, back) != SIZE || memcmp(text, back, SIZE))
            bench_fail("round trip");
        sum = bench_mix(sum, size);
        for (size_t i = 0; i < size; i += 61)
            sum = bench_mix(sum, packed[i]);
    }
    bench_end("lz", sum);
    return 0;
}
