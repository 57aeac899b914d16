/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* strings - splitting, comparing, searching, converting and formatting text with the C library and by hand. */

#include <ctype.h>

#include "bench.h"

enum { SIZE = 1 << 17, ROUNDS = 30 };

/* Boyer-Moore-Horspool. */
static size_t count_matches(const char *text, size_t size, const char *word) {
    size_t length = strlen(word), skip[256], found = 0;
    for (int i = 0; i < 256; i++)
        skip[i] = length;
    for (size_t i = 0; i + 1 < length; i++)
        skip[(uint8_t)word[i]] = length - 1 - i;
    for (size_t at = 0; at + length <= size; at += skip[(uint8_t)text[at + length - 1]])
        found += !memcmp(text + at, word, length);
    return found;
}

static unsigned distance(const char *a, const char *b) {
    unsigned row[64], n = (unsigned)strlen(b);
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[n];
}

static uint64_t words(char *text, uint64_t sum) {
    char *save = NULL, previous[32] = "", line[96];
    unsigned n = 0;
    for (char *w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save), n++) {
        sum += distance(previous, w) + (unsigned)(strcmp(previous, w) < 0) + strlen(w);
        w[0] = (char)toupper((unsigned char)w[0]);
        if (n % 8 == 0) {
            int length = snprintf(line, sizeof line, "%s:%u:%x:%-8s", w, n, (unsigned)sum, previous);
            sum = bench_mix(sum, (uint64_t)length + strtoul(strchr(line, ':') + 1, NULL, 10));
        }
        snprintf(previous, sizeof previous, "%s", w);
    }
    return sum;
}

int main(void) {
    char *text = bench_alloc(SIZE + 1);
    uint64_t sum = 0;
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        bench_text((uint8_t *)text, SIZE, (uint64_t)round);
        text[SIZE] = 0;
        for (int i = 0; i < 8; i++) {
            char word[8];
            memcpy(word, text + 1000 * (i + 1), 5);
            word[5] = 0;
            sum = bench_mix(sum, count_matches(text, SIZE, word));
        }
        sum = words(text, sum);
    }
    bench_end("strings", sum);
    return 0;
}
