/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* mmap - map, touch and unmap areas of several sizes; change their protection in between. */

#include "sys.h"

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    for (int i = 0; i < 3000; i++) {
        size_t pages = 1u + (unsigned)i % 32;
        char *p = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            bench_fail("mmap");
        for (size_t k = 0; k < pages; k++)
            p[k * 4096] = (char)(i + (int)k);
        if (i % 4 == 0)
            checked(mprotect(p, pages * 4096, PROT_READ), "mprotect");
        for (size_t k = 0; k < pages; k++)
            sum = sum * 31 + (uint8_t)p[k * 4096];
        checked(munmap(p, pages * 4096), "munmap");
    }
    bench_end("mmap", sum);
    return 0;
}
