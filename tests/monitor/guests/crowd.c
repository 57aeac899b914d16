/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* crowd.c: four processors write to the serial port at the same time, each its own letter, and none looks at FR. */
#include "payload.h"

#define BYTES 40000
#define CPUS 4

static volatile unsigned done;

static void write_letters(void *letter) {
    for (unsigned i = 0; i < BYTES; i++)
        mmio_write32(UART_BASE, (uint32_t)(uint64_t)letter);
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

static void test_crowd(void) {
    for (uint64_t n = 1; n < CPUS; n++)
        CHECK_EQ(cpu_start((unsigned)n, write_letters, (void *)('0' + n)), 0);
    write_letters((void *)'0');
    while (done < CPUS)
        ;
}

TESTS({"crowd", test_crowd});
