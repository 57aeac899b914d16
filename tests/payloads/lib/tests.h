/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * tests.h: what bare-metal test guests share on all guests. A payload is one C file with a list of tests; it prints
 * `PASS name` or `FAIL name: where, what` for each, then `ALL PASS` or `FAILED n`, and powers off.
 */
#ifndef PAYLOAD_TESTS_H
#define PAYLOAD_TESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* --- tests ------------------------------------------------------------------------------------ */
struct test {
    const char *name;
    void (*run)(void);
};
extern const struct test tests[];
extern const unsigned test_count;
#define TESTS(...)                                                                                                     \
    const struct test tests[] = {__VA_ARGS__};                                                                         \
    const unsigned test_count = ARRAY_LEN(tests)

void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want);
#define CHECK(c)                                                                                                       \
    do {                                                                                                               \
        if (!(c))                                                                                                      \
            test_fail(__FILE__, __LINE__, #c, 0, 1);                                                                   \
    } while (0)
#define CHECK_EQ(got, want)                                                                                            \
    do {                                                                                                               \
        uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);                                                     \
        if (got_ != want_)                                                                                             \
            test_fail(__FILE__, __LINE__, #got " == " #want, got_, want_);                                             \
    } while (0)

/* --- output ----------------------------------------------------------------------------------- */
void print(const char *s);
void print_hex(uint64_t v);
void print_dec(uint64_t v);
const char *test_current(void); /* its name */
/* By each guest's library: a character to the console; what is to be as at the start before each test. */
void print_char(char c);
void test_begin(void);
/* run_tests(): all of them, in their order. */
void run_tests(void);

#endif
