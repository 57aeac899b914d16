/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest.c: something to debug, on all guests: goes round until a debugger says that it is enough. */
#include "tests.h"

volatile uint64_t enough, rounds, fifth, looked_at;
volatile uint8_t bytes[16] = "0123456789abcde";

__attribute__((noinline)) uint64_t next(uint64_t n) {
    rounds = n;
    return n + 1;
}

__attribute__((noinline)) void every_fifth(uint64_t n) {
    fifth = n;
    bytes[n % 16] = (uint8_t)n;
}

static void loop(void) {
    uint64_t sum = 0;
    for (uint64_t n = 1; !enough;) {
        if (n % 5 == 0)
            every_fifth(n);
        if (n % 7 == 0)
            sum += looked_at;
        n = next(n);
    }
    CHECK_EQ(sum, 0);
}

TESTS({"loop", loop});
