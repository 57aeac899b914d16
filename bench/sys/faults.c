/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* faults - page faults: first touch of anonymous memory, reads of the zero page, and copies after a fork. */

#include "sys.h"

int main(void) {
    enum { PAGES = 4096, ROUNDS = 6 };
    char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t sum = 0;
    if (p == MAP_FAILED)
        bench_fail("mmap");
    checked(madvise(p, PAGES * 4096, MADV_NOHUGEPAGE), "madvise");
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PAGES; i++)
            sum += (uint8_t)p[i * 4096];
        for (int i = 0; i < PAGES; i++)
            p[i * 4096 + 8] = (char)(i + round);
        if (round % 3 == 0) {
            pid_t child = fork();
            if (!child) {
                for (int i = 0; i < PAGES; i++)
                    p[i * 4096]++;
                _exit((uint8_t)p[100 * 4096]);
            }
            checked(child, "fork");
            reap(child, (uint8_t)(p[100 * 4096] + 1));
        }
        for (int i = 0; i < PAGES; i++)
            sum = sum * 31 + (uint8_t)p[i * 4096 + 8];
        checked(madvise(p, PAGES * 4096, MADV_DONTNEED), "madvise");
    }
    bench_end("faults", sum);
    return 0;
}
