/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* utf8 - validates UTF-8, counts its characters, converts it to UTF-16 and back. */

#include "bench.h"

enum { SIZE = 1 << 19, ROUNDS = 5 };

static uint8_t text[SIZE], again[SIZE + 8];
static uint16_t wide[SIZE];

static size_t put(uint8_t *p, uint32_t c) {
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 | c >> 6);
        p[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 | c >> 12);
        p[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        p[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 | c >> 18);
    p[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    p[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}
static size_t make_text(uint64_t seed) {
    size_t n = 0;
    while (n + 4 <= SIZE) {
        uint32_t r = bench_random(&seed), c = r >> 8;
        switch (r & 15) {
        case 0: c = c % 0x100000 + 0x10000; break;
        case 1:
        case 2: c = c % 0x4000 + 0x3000; break;
        case 3:
        case 4:
        case 5: c = c % 0x700 + 0x80; break;
        default: c = c % 95 + 32; break;
        }
        n += put(text + n, c);
    }
    return n;
}

/* The character at p, and its length; 0 if it is not one. */
static unsigned get(const uint8_t *p, const uint8_t *end, uint32_t *c) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = *p;
    unsigned n;
    if (first < 0x80) {
        *c = first;
        return 1;
    }
    if (first < 0xc2 || first > 0xf4)
        return 0;
    n = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if ((size_t)(end - p) < n)
        return 0;
    uint32_t v = first & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 63u);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    *c = v;
    return n;
}
/* How much of it is right: eight plain characters at a time where there are. */
static size_t validate(const uint8_t *p, size_t size, size_t *characters) {
    const uint8_t *start = p, *end = p + size;
    *characters = 0;
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8) {
            memcpy(&eight, p, 8);
            if (!(eight & 0x8080808080808080u)) {
                p += 8;
                *characters += 8;
                continue;
            }
        }
        uint32_t c;
        unsigned n = get(p, end, &c);
        if (!n)
            break;
        p += n;
        ++*characters;
    }
    return (size_t)(p - start);
}
static size_t widen(size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < size;) {
        uint32_t c;
        i += get(text + i, text + size, &c);
        if (c >= 0x10000) {
            wide[n++] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 1023);
        }
        wide[n++] = (uint16_t)c;
    }
    return n;
}
static size_t narrow(size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t c = wide[i];
        if (c >= 0xd800 && c < 0xdc00)
            c = ((c - 0xd800) << 10) + (wide[++i] - 0xdc00u) + 0x10000;
        n += put(again + n, c);
    }
    return n;
}

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = make_text((uint64_t)round + 5), characters;
        if (validate(text, size, &characters) != size)
            bench_fail("what is right was taken for wrong");
        size_t units = widen(size);
        if (narrow(units) != size || memcmp(text, again, size))
            bench_fail("it came back changed");
        sum = bench_mix(bench_mix(sum, units), characters);
        for (int i = 0; i < 16; i++) {
            text[size / 17 * (size_t)(i + 1)] ^= (uint8_t)(0x80 >> i % 3);
            sum = bench_mix(sum, validate(text, size, &characters) + characters);
        }
    }
    bench_end("utf8", sum);
    return 0;
}
