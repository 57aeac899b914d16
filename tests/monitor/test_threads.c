/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_threads.c: which thread may do what (docs/internals.md, "Threads"), and what is said under the device lock. */
#include "hypervisor/monitor.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct machine machine;

static void lock_as(enum thread_kind kind) {
    thread_is(kind);
    machine_lock(&machine);
    machine_unlock(&machine);
}

START_TEST(lock_is_for_devices_and_vcpus) {
    lock_as(THREAD_DEVICES);
    lock_as(THREAD_VCPU);
    thread_is(THREAD_DISK);
    device_lock(&machine);
    device_unlock(&machine);
}
END_TEST

/* Each of these aborts. */
START_TEST(main_never_takes_the_lock) { lock_as(THREAD_MAIN); }
END_TEST
START_TEST(a_console_never_takes_the_lock) { lock_as(THREAD_CONSOLE); }
END_TEST
START_TEST(a_disk_takes_it_as_one) { lock_as(THREAD_DISK); }
END_TEST
START_TEST(a_vcpu_watches_nothing) {
    thread_is(THREAD_VCPU);
    event_add_fd(&machine, 0, EPOLLIN, NULL, NULL);
}
END_TEST

/* More than the writer can have taken (once, until its write waits) and the room that it then leaves. */
#define LINES 10000

/* A machine's lock is held while nobody reads the log: nothing waits, and nothing is lost that there is room for. */
START_TEST(the_log_does_not_wait_under_the_lock) {
    static char text[1 << 20];
    int ends[2], old = dup(STDERR_FILENO);
    ssize_t n;
    size_t len = 0;
    ck_assert(!pipe(ends) && old >= 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], "x", 1) == 1)
        continue;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    thread_is(THREAD_DEVICES);
    machine_lock(&machine);
    for (unsigned i = 0; i < LINES; i++)
        log_printf("line %u\n", i);
    machine_unlock(&machine);
    while (!strstr(text, "are lost\n") && (n = read(ends[0], text + len, 4096)) > 0)
        len += (size_t)n;
    log_finish();
    dup2(old, STDERR_FILENO);
    ck_assert_ptr_nonnull(strstr(text, "xline 0\nline 1\nline 2\n"));
}
END_TEST

int main(void) {
    Suite *s = suite_create("threads");
    TCase *c = tcase_create("threads");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, lock_is_for_devices_and_vcpus);
    tcase_add_test_raise_signal(c, main_never_takes_the_lock, SIGABRT);
    tcase_add_test_raise_signal(c, a_console_never_takes_the_lock, SIGABRT);
    tcase_add_test_raise_signal(c, a_disk_takes_it_as_one, SIGABRT);
    tcase_add_test_raise_signal(c, a_vcpu_watches_nothing, SIGABRT);
    tcase_add_test(c, the_log_does_not_wait_under_the_lock);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
