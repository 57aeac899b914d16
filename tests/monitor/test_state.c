/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_state.c: tables of state: no field of a processor is forgotten, and what is saved comes back, or is refused. */
#include "graft/guest.h"
#include "guests/rv64/rv64.h"
#include "guests/a64/gic.h"
#include "hypervisor/snapshot.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static int by_offset(const void *a, const void *b) {
    const struct state_field *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* From first to bytes each byte is in a field, but for what aligns the next one. */
#define GAP 16
static bool aligns(size_t at, size_t next) {
    return next - at < GAP || (next % PAGE_SIZE == 0 && next - at < PAGE_SIZE);
}

static void covers(const struct state_field *table, size_t first, size_t bytes) {
    struct state_field sorted[256];
    unsigned n = 0;
    size_t at = first;
    for (const struct state_field *f = table; f->name; f++)
        if (f->offset >= first)
            sorted[n++] = *f;
    qsort(sorted, n, sizeof(*sorted), by_offset);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_msg(sorted[i].offset >= at && aligns(at, sorted[i].offset),
                      "%zu bytes before %s are in no field, or in two", (size_t)sorted[i].offset - at, sorted[i].name);
        at = sorted[i].offset + sorted[i].bytes;
    }
    ck_assert_msg(aligns(at, bytes), "the last %zu bytes are in no field", bytes - at);
}

START_TEST(test_nothing_is_forgotten) {
    covers(a64_guest.state, sizeof(struct cpu), sizeof(struct a64_cpu));
    covers(a64_guest.shared_state, 0, sizeof(struct gic));
}
END_TEST

START_TEST(test_nothing_of_a_hart_is_forgotten) {
    extern const struct guest_ops rv64_guest;
    covers(rv64_guest.state, sizeof(struct cpu), sizeof(struct rv64_cpu));
}
END_TEST

struct thing {
    uint32_t first, second;
    bool flag;
    uint64_t same, derived;
};
static const struct state_field table[] = {STATE(struct thing, first),           STATE_MAX(struct thing, second, 4, 10),
                                           STATE_BOOL(struct thing, flag),       STATE_SAME(struct thing, same),
                                           STATE_DERIVED(struct thing, derived), STATE_END};

static bool load(const struct thing *from, struct thing *to, const char *object, char err[ERR_BYTES]) {
    struct state_out out = {0};
    state_save(&out, "thing", table, from);
    struct state_in in = {out.data, out.data + out.len};
    bool ok = state_load(&in, object, table, to, err);
    ck_assert(!ok || in.at == in.end);
    for (size_t cut = 0; cut < out.len; cut++) {
        struct thing other = *to;
        in = (struct state_in){out.data, out.data + cut};
        ck_assert(!state_load(&in, object, table, &other, err));
    }
    if (!ok) {
        in = (struct state_in){out.data, out.data + out.len};
        state_load(&in, object, table, to, err);
    }
    free(out.data);
    return ok;
}

START_TEST(test_round_trip) {
    char err[ERR_BYTES];
    struct thing a = {.first = 1, .second = 10, .flag = true, .same = 7, .derived = 9}, b = {.same = 7, .derived = 3};
    ck_assert(load(&a, &b, "thing", err));
    ck_assert(b.first == 1 && b.second == 10 && b.flag && b.derived == 3);
}
END_TEST

START_TEST(test_refused) {
    char err[ERR_BYTES];
    struct thing a = {.second = 11, .same = 7}, b = {.same = 7};
    ck_assert(!load(&a, &b, "thing", err));
    ck_assert_str_eq(err, "thing: second: it cannot have such a value");
    a = (struct thing){.same = 8};
    ck_assert(!load(&a, &b, "thing", err));
    ck_assert_ptr_nonnull(strstr(err, "same: it is another here"));
    ck_assert(!load(&a, &b, "other", err));
    ck_assert_str_eq(err, "other: this version of Graft has other state there");
    memset(&a.flag, 2, 1);
    ck_assert(!load(&a, &b, "thing", err));
}
END_TEST

int main(void) {
    Suite *s = suite_create("state");
    TCase *t = tcase_create("state");
    tcase_add_test(t, test_nothing_is_forgotten);
    tcase_add_test(t, test_nothing_of_a_hart_is_forgotten);
    tcase_add_test(t, test_round_trip);
    tcase_add_test(t, test_refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
