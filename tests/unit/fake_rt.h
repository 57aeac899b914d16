/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fake_rt.h: a vCPU, a memory and runtime services for tests that link only some of the engine's files. */
#ifndef GRAFT_TESTS_FAKE_RT_H
#define GRAFT_TESTS_FAKE_RT_H

#include "graft/guest.h"
#include "graft/rt.h"

/* Guest state after struct cpu, as a guest ISA would have it. */
struct fake_cpu {
    struct cpu c;
    uint64_t x[32];
    uint64_t pc;
    uint32_t nzcv;
    uint32_t reserved;
    v128 v[32];
};
#define FAKE_X(n) (offsetof(struct fake_cpu, x) + 8 * (size_t)(n))
#define FAKE_V(n) (offsetof(struct fake_cpu, v) + 16 * (size_t)(n))
#define FAKE_PC offsetof(struct fake_cpu, pc)
#define FAKE_NZCV offsetof(struct fake_cpu, nzcv)

/* The memory that mem_*() reach: everything else faults. */
#define FAKE_MEM_BASE UINT64_C(0x100000)
#define FAKE_MEM_BYTES 4096
extern uint8_t fake_memory[FAKE_MEM_BYTES];

extern const struct guest_ops fake_guest;
void fake_settle(struct cpu *cpu); /* its settle() */

/* fake_cpu_init(): all zero, monitor open, fake_guest. */
void fake_cpu_init(struct fake_cpu *cpu);
/* fake_interpret(): ir_interpret(); returns false if the block left by a fault (fake_raise()). */
bool fake_interpret(const struct ir_block *b, struct fake_cpu *cpu);
/* fake_run(): fn(arg); returns false if it left by fake_raise(). */
bool fake_run(void (*fn)(void *arg), void *arg);
/* fake_raise(): for helpers under test: leaves the block as an exception does. */
_Noreturn void fake_raise(struct cpu *cpu);
/* fake_same_state(): compares everything that a guest could see; says in why what differs. */
bool fake_same_state(const struct fake_cpu *a, const struct fake_cpu *b, char *why, size_t len);

#endif
