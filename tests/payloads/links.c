/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* links.c: code that has run for a while goes on by itself: run-at-most counts how often the dispatcher was asked. */
#include "payload.h"

#define ROUNDS 200000ul

/* All of these look like loops, as each has a branch back to its start, and none is one: it is taken once at most. What
 * they do each time is to branch to code that they have further on, which calls by a register. */
#define LOOKS_LIKE_A_LOOP(name, back)                                                                                  \
    SNIPPET(name, "stp x29, x30, [sp, #-48]!\n"                                                                        \
                  "stp x19, x20, [sp, #16]\n"                                                                          \
                  "str x21, [sp, #32]\n"                                                                               \
                  "mov x19, x0\n"                                                                                      \
                  "mov x20, x1\n"                                                                                      \
                  "mov x21, #0\n"                                                                                      \
                  "mov x0, #0\n"                                                                                       \
                  "0: b 1f\n"                                                                                          \
                  "nop\n"                                                                                              \
                  "1: add x2, x2, #1\n"                                                                                \
                  "cbz x21, 2f\n"                                                                                      \
                  "add x0, x0, #1000\n" back "2: blr x20\n"                                                            \
                  "subs x19, x19, #1\n"                                                                                \
                  "b.ne 1b\n"                                                                                          \
                  "ldr x21, [sp, #32]\n"                                                                               \
                  "ldp x19, x20, [sp, #16]\n"                                                                          \
                  "ldp x29, x30, [sp], #48\n"                                                                          \
                  "ret")
LOOKS_LIKE_A_LOOP(by_zero, "cbz x19, 1b\n");
LOOKS_LIKE_A_LOOP(by_bit, "tbnz x0, #63, 1b\n");
LOOKS_LIKE_A_LOOP(by_flags, "cmp x0, x19\nb.hi 1b\n");
SNIPPET(add_one, "add x0, x0, #1\nret");

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

static void test_no_loops(void) {
    static const uint32_t *const code[] = {by_zero, by_bit, by_flags};
    for (unsigned i = 0; i < sizeof(code) / sizeof(code[0]); i++)
        CHECK_EQ(run(code[i], ROUNDS, (uint64_t)(uintptr_t)add_one), ROUNDS);
}

static void test_loop(void) { CHECK_EQ(run(is_a_loop, ROUNDS, (uint64_t)(uintptr_t)add_one), ROUNDS); }

TESTS({"no-loops", test_no_loops}, {"loop", test_loop});
