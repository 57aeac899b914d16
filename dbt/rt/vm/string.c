/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* string.c: the string functions that C needs. The compiler must not turn their loops into calls of themselves
 * (engine.cmake: -fno-tree-loop-distribute-patterns). */
#include "graft/rt.h"

/* Pieces of any alignment. */
typedef uint64_t piece8 __attribute__((aligned(1), may_alias));
typedef uint32_t piece4 __attribute__((aligned(1), may_alias));
typedef uint64_t piece16 __attribute__((vector_size(16), aligned(1), may_alias));

#define LONG_COPY 512 /* from here on the string instructions are worth their start */

/* Up to 16 bytes: everything is read before anything is written. */
static void copy_short(uint8_t *d, const uint8_t *s, size_t n) {
    if (n >= 8) {
        uint64_t first = *(const piece8 *)s, last = *(const piece8 *)(s + n - 8);
        *(piece8 *)d = first;
        *(piece8 *)(d + n - 8) = last;
    } else if (n >= 4) {
        uint32_t first = *(const piece4 *)s, last = *(const piece4 *)(s + n - 4);
        *(piece4 *)d = first;
        *(piece4 *)(d + n - 4) = last;
    } else if (n) {
        uint8_t first = s[0], middle = s[n / 2], last = s[n - 1];
        d[0] = first;
        d[n / 2] = middle;
        d[n - 1] = last;
    }
}

void *memcpy(void *dst, const void *src, size_t n) {
    uint8_t *d = dst;
    const uint8_t *s = src;
    if (n >= LONG_COPY) {
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        return dst;
    }
    for (; n > 16; n -= 16, d += 16, s += 16)
        *(piece16 *)d = *(const piece16 *)s;
    copy_short(d, s, n);
    return dst;
}

void *memmove(void *dst, const void *src, size_t n) {
    uint8_t *d = dst;
    const uint8_t *s = src;
    if ((uintptr_t)d - (uintptr_t)s >= n)
        return memcpy(dst, src, n);
    /* From the end: a piece is read before the bytes that its source shares with later pieces are written. */
    for (; n > 16; n -= 16)
        *(piece16 *)(d + n - 16) = *(const piece16 *)(s + n - 16);
    copy_short(d, s, n);
    return dst;
}

void *memset(void *dst, int c, size_t n) {
    uint8_t *d = dst;
    const piece16 value = (piece16){} + (uint8_t)c * UINT64_C(0x0101010101010101);
    if (n >= LONG_COPY || n < 16) {
        __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
        return dst;
    }
    *(piece16 *)(d + n - 16) = value;
    for (; n > 16; n -= 16, d += 16)
        *(piece16 *)d = value;
    return dst;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = a, *y = b;
    for (; n >= 8 && *(const piece8 *)x == *(const piece8 *)y; n -= 8, x += 8, y += 8)
        continue;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *s) {
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}
