/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* tests.c: printing and the test loop, for payloads of all guests. */
#include "tests.h"

static unsigned failures;
static const char *current = "start";

const char *test_current(void) { return current; }

void print(const char *s) {
    for (; *s; s++)
        print_char(*s);
}

void print_hex(uint64_t v) {
    print("0x");
    for (int shift = 60; shift >= 0; shift -= 4)
        print_char("0123456789abcdef"[v >> shift & 15]);
}

void print_dec(uint64_t v) {
    char buf[21], *p = buf + 20;
    *p = 0;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    print(p);
}

void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want) {
    failures++;
    print("FAIL ");
    print(current);
    print(": ");
    print(file);
    print(":");
    print_dec((uint64_t)line);
    print(": ");
    print(what);
    print(" got ");
    print_hex(got);
    print(" want ");
    print_hex(want);
    print("\n");
}

void run_tests(void) {
    unsigned failed = 0;
    for (unsigned i = 0; i < test_count; i++) {
        current = tests[i].name;
        failures = 0;
        test_begin();
        tests[i].run();
        failed += failures != 0;
        if (!failures) {
            print("PASS ");
            print(current);
            print("\n");
        }
    }
    if (failed) {
        print("FAILED ");
        print_dec(failed);
        print("\n");
    } else {
        print("ALL PASS\n");
    }
}
