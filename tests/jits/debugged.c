/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * debugged.c: a program for gdb and valgrind in the guest.
 */
#include <stdio.h>
#include <stdlib.h>

volatile int watched;

__attribute__((noinline)) int step(int i) {
    if (i % 100 == 0)
        watched += i;
    return i * 31 ^ i >> 3;
}

int main(void) {
    unsigned sum = 0;
    int *block = malloc(1000 * sizeof(int));
    for (int i = 0; i < 1000; i++) {
        block[i] = step(i);
        sum = sum * 7 + (unsigned)block[(i * 13) % (i + 1)];
    }
    free(block);
    printf("sum %u watched %d\n", sum, watched);
    return 0;
}
