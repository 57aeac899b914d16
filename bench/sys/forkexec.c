/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* forkexec - fork and exec of this same static program, which then exits at once. */

#include "sys.h"

int main(int argc, char **argv) {
    enum { COUNT = 400 };
    uint64_t sum = 0;
    if (argc > 1)
        return atoi(argv[1]);
    bench_begin();
    for (int i = 0; i < COUNT; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", i % 100);
        pid_t child = fork();
        if (!child) {
            execl("/proc/self/exe", argv[0], number, NULL);
            _exit(127);
        }
        checked(child, "fork");
        reap(child, i % 100);
        sum = bench_mix(sum, (uint64_t)i);
    }
    bench_end("forkexec", sum);
    return 0;
}
