/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* lz4 - LZ4's block format, compressed by one hash table and expanded with wide copies. */

#include "bench.h"

enum { SIZE = 1 << 20, ROUNDS = 6, HASH = 13, SAFE = 16 };

static uint8_t text[SIZE + SAFE], packed[SIZE + SIZE / 200 + 64], again[SIZE + 32];
static uint32_t table[1 << HASH];

static uint32_t read32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static uint64_t read64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static uint32_t hash(uint32_t v) { return v * 2654435761u >> (32 - HASH); }

static uint8_t *put_length(uint8_t *out, size_t n) {
    for (; n >= 255; n -= 255)
        *out++ = 255;
    *out++ = (uint8_t)n;
    return out;
}
static uint8_t *put_sequence(uint8_t *out, const uint8_t *from, size_t literals, size_t match, size_t distance) {
    uint8_t *token = out++;
    *token = (uint8_t)((literals < 15 ? literals : 15) << 4);
    if (literals >= 15)
        out = put_length(out, literals - 15);
    memcpy(out, from, literals);
    out += literals;
    if (!match)
        return out;
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    match -= 4;
    *token |= (uint8_t)(match < 15 ? match : 15);
    return match >= 15 ? put_length(out, match - 15) : out;
}
static size_t common(const uint8_t *a, const uint8_t *b, const uint8_t *end) {
    const uint8_t *start = b;
    while (b + 8 <= end) {
        uint64_t d = read64(a) ^ read64(b);
        if (d)
            return (size_t)(b - start) + (size_t)__builtin_ctzll(d) / 8;
        a += 8;
        b += 8;
    }
    while (b < end && *a == *b) {
        a++;
        b++;
    }
    return (size_t)(b - start);
}

static size_t compress(void) {
    const uint8_t *p = text, *from = text, *end = text + SIZE, *last = end - 12;
    uint8_t *out = packed;
    memset(table, 0, sizeof table);
    while (p < last) {
        uint32_t v = read32(p), h = hash(v);
        const uint8_t *other = text + table[h];
        table[h] = (uint32_t)(p - text);
        if (other >= p || p - other > 65535 || read32(other) != v) {
            p += 1 + ((p - from) >> 6);
            continue;
        }
        while (p > from && other > text && p[-1] == other[-1]) {
            p--;
            other--;
        }
        size_t n = 4 + common(other + 4, p + 4, end - 5);
        out = put_sequence(out, from, (size_t)(p - from), n, (size_t)(p - other));
        p += n;
        from = p;
    }
    return (size_t)(put_sequence(out, from, (size_t)(end - from), 0, 0) - packed);
}

static size_t get_length(const uint8_t **in, size_t n) {
    uint8_t more;
    if (n < 15)
        return n;
    do {
        more = *(*in)++;
        n += more;
    } while (more == 255);
    return n;
}
static void expand(size_t size) {
    const uint8_t *in = packed, *end = packed + size;
    uint8_t *out = again;
    for (;;) {
        unsigned token = *in++;
        size_t n = get_length(&in, token >> 4);
        if (n <= 16 && in + 16 < end && out + 16 < again + SIZE)
            memcpy(out, in, 16);
        else
            memcpy(out, in, n);
        in += n;
        out += n;
        if (in >= end)
            break;
        size_t distance = in[0] | (size_t)in[1] << 8;
        in += 2;
        n = get_length(&in, token & 15) + 4;
        const uint8_t *from = out - distance;
        uint8_t *stop = out + n;
        if (distance >= 8 && stop + 8 < again + SIZE) {
            do {
                memcpy(out, from, 8);
                out += 8;
                from += 8;
            } while (out < stop);
            out = stop;
        } else {
            while (out < stop)
                *out++ = *from++;
        }
    }
    if (out != again + SIZE || memcmp(again, text, SIZE))
        bench_fail("what was compressed is not what was there");
}

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        bench_text(text, SIZE, (uint64_t)round + 60);
        size_t n = compress();
        for (int k = 0; k < 3; k++)
            expand(n);
        sum = bench_mix(sum, n);
        for (size_t i = 0; i < n; i += 13)
            sum = bench_mix(sum, packed[i]);
    }
    bench_end("lz4", sum);
    return 0;
}
