/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* pipe - a byte goes to and fro between two processes through two pipes. */

#include "sys.h"

int main(void) {
    enum { COUNT = 10000 };
    int to[2], from[2];
    uint8_t byte = 1;
    uint64_t sum = 0;
    checked(pipe(to), "pipe");
    checked(pipe(from), "pipe");
    pid_t child = fork();
    if (!child) {
        close(to[1]);
        while (read(to[0], &byte, 1) == 1) {
            byte = (uint8_t)(byte * 3 + 1);
            if (write(from[1], &byte, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    checked(child, "fork");
    bench_begin();
    for (int i = 0; i < COUNT; i++) {
        if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
            bench_fail("pipe");
        sum = bench_mix(sum, byte);
    }
    bench_end("pipe", sum);
    close(to[1]);
    reap(child, 0);
    return 0;
}
