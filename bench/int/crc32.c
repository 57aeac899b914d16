/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* crc32 - CRC-32 and Adler-32 by tables, one byte and eight bytes at a time. */

#include "bench.h"

enum { SIZE = 1 << 20, ROUNDS = 60 };

static uint32_t tables[8][256];

static void make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        tables[0][i] = c;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++)
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
}

static uint32_t crc_bytes(uint32_t crc, const uint8_t *p, size_t size) {
    crc = ~crc;
    while (size--)
        crc = crc >> 8 ^ tables[0][(crc ^ *p++) & 255];
    return ~crc;
}

static uint32_t crc_words(uint32_t crc, const uint8_t *p, size_t size) {
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        v ^= crc;
        crc = tables[7][v & 255] ^ tables[6][v >> 8 & 255] ^ tables[5][v >> 16 & 255] ^ tables[4][v >> 24 & 255] ^
              tables[3][v >> 32 & 255] ^ tables[2][v >> 40 & 255] ^ tables[1][v >> 48 & 255] ^ tables[0][v >> 56];
    }
    return ~crc;
}

static uint32_t adler(const uint8_t *p, size_t size) {
    uint32_t a = 1, b = 0;
    while (size) {
        size_t n = size < 5552 ? size : 5552;
        size -= n;
        while (n--) {
            a += *p++;
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    return b << 16 | a;
}

int main(void) {
    uint8_t *data = bench_alloc(SIZE);
    uint64_t sum = 0;
    make_tables();
    bench_text(data, SIZE, 3);
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t words = crc_words((uint32_t)round, data, SIZE);
        if (round % 4 == 0) {
            if (crc_bytes((uint32_t)round, data, SIZE) != words)
                bench_fail("the two CRCs differ");
            sum = bench_mix(sum, adler(data, SIZE - (size_t)round));
        }
        sum = bench_mix(sum, words);
    }
    bench_end("crc32", sum);
    return 0;
}
