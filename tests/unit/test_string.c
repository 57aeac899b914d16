/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_string.c: the VM runtime's string functions, under other names, against libc's. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *vm_memcpy(void *dst, const void *src, size_t n);
void *vm_memmove(void *dst, const void *src, size_t n);
void *vm_memset(void *dst, int c, size_t n);
int vm_memcmp(const void *a, const void *b, size_t n);
size_t vm_strlen(const char *s);

#define SIZE 1500
#define ROOM 64
static uint8_t ours[SIZE + 2 * ROOM], theirs[SIZE + 2 * ROOM];

static void fill(void) {
    for (size_t i = 0; i < sizeof(ours); i++)
        ours[i] = theirs[i] = (uint8_t)rand();
}
/* Sizes around each change of method, and some others. */
static size_t next_size(size_t n) { return n < 80 ? n + 1 : n < 500 ? n + 29 : n < 530 ? n + 1 : n + 97; }

START_TEST(copies) {
    for (size_t n = 0; n < SIZE / 2; n = next_size(n)) {
        for (unsigned align = 0; align < 9; align++) {
            fill();
            ck_assert_ptr_eq(vm_memcpy(ours + align, ours + SIZE / 2 + ROOM, n), ours + align);
            memcpy(theirs + align, theirs + SIZE / 2 + ROOM, n);
            ck_assert_mem_eq(ours, theirs, sizeof(ours));
        }
    }
}
END_TEST

START_TEST(moves) {
    for (size_t n = 0; n < SIZE; n = next_size(n)) {
        for (int by = -40; by <= 40; by++) {
            fill();
            ck_assert_ptr_eq(vm_memmove(ours + ROOM + by, ours + ROOM, n), ours + ROOM + by);
            memmove(theirs + ROOM + by, theirs + ROOM, n);
            ck_assert_mem_eq(ours, theirs, sizeof(ours));
        }
    }
}
END_TEST

START_TEST(sets) {
    for (size_t n = 0; n < SIZE; n = next_size(n)) {
        fill();
        ck_assert_ptr_eq(vm_memset(ours + 7, (int)n * 37 - 4000, n), ours + 7);
        memset(theirs + 7, (int)n * 37 - 4000, n);
        ck_assert_mem_eq(ours, theirs, sizeof(ours));
    }
}
END_TEST

START_TEST(compares) {
    for (size_t n = 1; n < 100; n++) {
        fill();
        ck_assert_int_eq(vm_memcmp(ours, theirs, n), 0);
        ours[n - 1] = 0x80;
        theirs[n - 1] = 0x7f;
        ck_assert_int_gt(vm_memcmp(ours, theirs, n), 0);
        ck_assert_int_lt(vm_memcmp(theirs, ours, n), 0);
        ck_assert_int_eq(vm_memcmp(ours, theirs, n - 1), 0);
    }
    ck_assert_uint_eq(vm_strlen(""), 0);
    ck_assert_uint_eq(vm_strlen("abc"), 3);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("string");
    TCase *t = tcase_create("string");
    tcase_add_test(t, copies);
    tcase_add_test(t, moves);
    tcase_add_test(t, sets);
    tcase_add_test(t, compares);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
