/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* links.c: code that has run for a while goes on by itself: run-at-most counts how often the dispatcher was asked. */
#include "payload.h"

#define ROUNDS 200000ul

SNIPPET(word, "ret");

/* A loop whose rounds go on at code that another block begins at, all but one: only that one goes back to the start. */
SNIPPET(is_a_loop, "mov x14, x0\n"
                   "mov x15, #0\n"
                   "mov x13, #0\n"
                   "b 1f\n"
                   "nop\n"
                   "1: ldr w12, [x1]\n"
                   "add x13, x13, x12\n"
                   "cbnz x14, 2f\n"
                   "add x15, x15, #1000\n"
                   "2: add x15, x15, #1\n"
                   "subs x14, x14, #1\n"
                   "b.ne 1b\n"
                   "mov x0, x15\n"
                   "ret");

static uint64_t run(const uint32_t *code, uint64_t a, uint64_t b) {
    return ((uint64_t (*)(uint64_t, uint64_t))(uintptr_t)code)(a, b);
}

static void test_loop(void) { CHECK_EQ(run(is_a_loop, ROUNDS, (uint64_t)(uintptr_t)word), ROUNDS); }

TESTS({"loop", test_loop});
