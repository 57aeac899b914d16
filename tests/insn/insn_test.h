/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* insn_test.h: the parts of insn_test: what a case did in our world, and the ways to execute it. */
#ifndef GRAFT_INSN_TEST_H
#define GRAFT_INSN_TEST_H

#include <setjmp.h>

#ifdef INSN_RV64
#include "guests/rv64/rv64.h"
typedef struct rv64_cpu insn_cpu;
#else
#include "guests/a64/a64.h"
typedef struct a64_cpu insn_cpu;
#endif
#include "insn.h"

/* One execution in progress. */
struct world {
    insn_cpu *cpu;
    struct ir_block *block;
    jmp_buf fault; /* where helpers and accesses that raise go on */
    enum ifault kind;
    unsigned long loops;    /* blocks compiled as loops, by the JIT */
    unsigned long branches; /* blocks with branches inside */
    void (*leave)(void);    /* translated code runs: leaves it, before the fault is handled; else NULL */
};
extern struct world world;

/* world_raise(): the guest exception ends the case. */
_Noreturn void world_raise(enum ifault kind);
/* jit_init(), jit_run(): execute the block by host code instead of the interpreter (jit.c). */
void jit_init(bool minimum);
void jit_run(void);

#endif
