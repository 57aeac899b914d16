/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest.c: something to debug, on all guests: goes round until a debugger says that it is enough. */
#include "tests.h"

volatile uint64_t enough, rounds, fifth, looked_at, vector;
volatile uint8_t bytes[16] = "0123456789abcde";

__attribute__((noinline)) uint64_t next(uint64_t n) {
    rounds = n;
    return n + 1;
}

__attribute__((noinline)) void every_fifth(uint64_t n) {
    fifth = n;
    bytes[n % 16] = (uint8_t)n;
}

/* V20 is n, and vector what it was before: the last n, or a debugger's. */
static void use_vector(uint64_t n) {
#ifdef __aarch64__
    uint64_t old;
    __asm__ volatile("umov %0, v20.d[1]\ndup v20.2d, %1" : "=&r"(old) : "r"(n));
    vector = old;
#else
    (void)n;
#endif
}

static void loop(void) {
    uint64_t sum = 0;
    for (uint64_t n = 1; !enough;) {
        use_vector(n);
        if (n % 5 == 0)
            every_fifth(n);
        if (n % 7 == 0)
            sum += looked_at;
        n = next(n);
    }
    CHECK_EQ(sum, 0);
}

TESTS({"loop", loop});
