/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* bigint - multi-precision multiplication (schoolbook and Karatsuba), division by words, and powers modulo a prime. */

#include "bench.h"

enum { LIMBS = 512 };
typedef unsigned __int128 wide;

static void multiply(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n) {
    memset(r, 0, 2 * n * sizeof *r);
    for (size_t i = 0; i < n; i++) {
        uint64_t carry = 0;
        for (size_t j = 0; j < n; j++) {
            wide t = (wide)a[i] * b[j] + r[i + j] + carry;
            r[i + j] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
        r[i + n] = carry;
    }
}

static uint64_t add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n) {
    uint64_t carry = 0;
    for (size_t i = 0; i < n; i++) {
        wide t = (wide)a[i] + b[i] + carry;
        r[i] = (uint64_t)t;
        carry = (uint64_t)(t >> 64);
    }
    return carry;
}

static uint64_t subtract(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n) {
    uint64_t borrow = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t t;
        bool first = __builtin_sub_overflow(a[i], b[i], &t), second = __builtin_sub_overflow(t, borrow, &r[i]);
        borrow = first | second;
    }
    return borrow;
}

static void propagate(uint64_t *r, uint64_t carry) {
    for (; carry; r++)
        carry = __builtin_add_overflow(*r, carry, r);
}

static bool less(const uint64_t *a, const uint64_t *b, size_t n) {
    while (n--)
        if (a[n] != b[n])
            return a[n] < b[n];
    return false;
}

/* |a1 - a0| and whether it was negative. */
static bool difference(uint64_t *r, const uint64_t *a, size_t half) {
    bool negative = less(a + half, a, half);
    subtract(r, negative ? a : a + half, negative ? a + half : a, half);
    return negative;
}

static void karatsuba(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n) {
    if (n <= 32) {
        multiply(r, a, b, n);
        return;
    }
    size_t h = n / 2;
    uint64_t da[LIMBS / 2], db[LIMBS / 2], product[LIMBS], middle[LIMBS + 1];
    bool negative = difference(da, a, h) ^ difference(db, b, h);
    karatsuba(r, a, b, h);
    karatsuba(r + n, a + h, b + h, h);
    karatsuba(product, da, db, h);
    middle[n] = add(middle, r, r + n, n);
    if (negative)
        middle[n] += add(middle, middle, product, n);
    else
        middle[n] -= subtract(middle, middle, product, n);
    propagate(r + h + n, middle[n] + add(r + h, r + h, middle, n));
}

static uint64_t power_mod(uint64_t base, uint64_t exponent, uint64_t modulus) {
    uint64_t r = 1;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1)
            r = (uint64_t)((wide)r * base % modulus);
        base = (uint64_t)((wide)base * base % modulus);
    }
    return r;
}

int main(void) {
    static uint64_t a[LIMBS], b[LIMBS], r[2 * LIMBS], s[2 * LIMBS];
    uint64_t seed = 3, sum = 0;
    for (int i = 0; i < LIMBS; i++) {
        a[i] = (uint64_t)bench_random(&seed) << 32 | bench_random(&seed);
        b[i] = (uint64_t)bench_random(&seed) << 32 | bench_random(&seed);
    }
    bench_begin();
    for (int round = 0; round < 1200; round++) {
        karatsuba(r, a, b, LIMBS);
        if (round % 8 == 0) {
            multiply(s, a, b, LIMBS);
            if (memcmp(r, s, sizeof r))
                bench_fail("the two products differ");
        }
        memcpy(a, r + LIMBS / 2, sizeof a);
        a[LIMBS - 1] |= 1;
        uint64_t remainder = 0;
        for (int i = 2 * LIMBS; i-- > 0;) {
            remainder = (remainder << 32 | r[i] >> 32) % 4294967291u;
            remainder = (remainder << 32 | (uint32_t)r[i]) % 4294967291u;
        }
        sum = bench_mix(sum, remainder + power_mod(r[7], r[9], 0xffffffffffffffc5u));
    }
    bench_end("bigint", sum);
    return 0;
}
