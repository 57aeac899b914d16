/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * semihost.h: semihosting, by which programs without an operating system use the console of whoever runs them
 * ("Semihosting for AArch32 and AArch64", version 2.0). The engine reads and writes the guest's memory
 * (dbt/semihost.c), the monitor does what is asked for (hypervisor/semihost.c); the instruction that asks is the
 * guest's.
 */
#ifndef GRAFT_SEMIHOST_H
#define GRAFT_SEMIHOST_H

#include <stdbool.h>
#include <stdint.h>

/* Section 6, and the reasons and extensions of 6.8 and 5. */
enum semihost_op {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITEC = 0x03,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_READC = 0x07,
    SYS_ISERROR = 0x08,
    SYS_ISTTY = 0x09,
    SYS_SEEK = 0x0a,
    SYS_FLEN = 0x0c,
    SYS_TMPNAM = 0x0d,
    SYS_REMOVE = 0x0e,
    SYS_RENAME = 0x0f,
    SYS_CLOCK = 0x10,
    SYS_TIME = 0x11,
    SYS_SYSTEM = 0x12,
    SYS_ERRNO = 0x13,
    SYS_GET_CMDLINE = 0x15,
    SYS_HEAPINFO = 0x16,
    SYS_EXIT = 0x18,
    SYS_EXIT_EXTENDED = 0x20,
    SYS_ELAPSED = 0x30,
    SYS_TICKFREQ = 0x31,
};
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

#define SEMIHOST_EXT_EXIT_EXTENDED 1u
#define SEMIHOST_EXT_STDOUT_STDERR 2u

/* ret[1] of ABI_CALL_SEMIHOST: nothing was done, as nobody reads or types: the guest's instruction is to be executed
 * again. */
#define SEMIHOST_AGAIN UINT64_C(0x10000)

struct cpu;
/* engine_semihost(): a call of the current vCPU: operation, what its parameter register holds (pointers and fields of
 * 64 bits), and the stack pointer. True: *result is for the result register. False: execute the instruction again,
 * interrupts may come before, and make calls of their own: those with another stack pointer do not disturb this one. */
bool engine_semihost(struct cpu *cpu, uint32_t op, uint64_t param, uint64_t sp, uint64_t *result);

#endif
