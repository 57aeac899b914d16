/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* forkwait - fork, exit, wait; the parent has a megabyte of written memory. */

#include "sys.h"

int main(void) {
    enum { COUNT = 1000, SIZE = 1 << 20 };
    char *memory = bench_alloc(SIZE);
    uint64_t sum = 0;
    memset(memory, 1, SIZE);
    bench_begin();
    for (int i = 0; i < COUNT; i++) {
        memory[i * 1000 % SIZE]++;
        pid_t child = fork();
        if (!child)
            _exit(memory[i * 1000 % SIZE] + i % 50);
        checked(child, "fork");
        reap(child, memory[i * 1000 % SIZE] + i % 50);
        sum = bench_mix(sum, (uint64_t)memory[i * 1000 % SIZE]);
    }
    bench_end("forkwait", sum);
    return 0;
}
