/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* yield - two processes with memory of their own give the processor to each other. */

#include "sys.h"

int main(void) {
    enum { COUNT = 20000, PAGES = 32 };
    static volatile uint8_t memory[PAGES * 4096];
    pid_t child = fork();
    if (!child) {
        for (unsigned i = 0;; i++) {
            memory[i % PAGES * 4096]++;
            sched_yield();
            if (getppid() == 1)
                _exit(1);
        }
    }
    checked(child, "fork");
    bench_begin();
    uint64_t sum = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        memory[i % PAGES * 4096]++;
        sum = bench_mix(sum, memory[i % PAGES * 4096]);
        checked(sched_yield(), "sched_yield");
    }
    bench_end("yield", sum);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}
