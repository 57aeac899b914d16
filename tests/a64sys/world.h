/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* world.h: a machine without an engine: vCPUs, RAM, and records of what the system side asked of the engine. */
#ifndef GRAFT_TESTS_A64SYS_WORLD_H
#define GRAFT_TESTS_A64SYS_WORLD_H

#include <setjmp.h>
#include <stdio.h>

#ifdef WORLD_RV64 /* the fuzzers of the RISC-V guest */
#include "guests/rv64/system.h"
typedef struct rv64_cpu world_guest_cpu;
extern const struct guest_ops rv64_guest;
#define WORLD_GUEST rv64_guest
#else
#include "guests/a64/system.h"
typedef struct a64_cpu world_guest_cpu;
#define WORLD_GUEST a64_guest
#endif

#define WORLD_RAM UINT64_C(0x40000000)
#ifndef WORLD_RAM_BYTES
#define WORLD_RAM_BYTES (4u << 20)
#endif
#define WORLD_CPUS 4

extern struct world {
    struct abi_boot boot;
    struct abi_shared shared;
    world_guest_cpu *cpu[WORLD_CPUS];
    uint8_t *ram;
    void *guest_shared;
    jmp_buf unwind;
    unsigned unwinds, doorbells, context_changes, waits, code_writes;
    uint32_t kicked; /* vCPUs that engine_kick() was called for */
    struct mmu_inval inval, broadcast;
    unsigned broadcasts, calls, dropped_modes;
    bool has_code;
    int failures;
} world;

/* world_start(): a fresh machine; vCPU 0 runs at EL1h, or as the guest starts. */
void world_start(unsigned cpus, unsigned gic_version, unsigned model);
/* RAISES(expression): true if it left by engine_unwind(). */
#define RAISES(...) (setjmp(world.unwind) ? true : ((void)(__VA_ARGS__), false))
#define CHECK(cond)                                                                                                    \
    ((cond) ? (void)0 : (void)(world.failures++, fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond)))
#define CHECK_EQ(a, b)                                                                                                 \
    do {                                                                                                               \
        unsigned long long a_ = (a), b_ = (b);                                                                         \
        if (a_ != b_) {                                                                                                \
            world.failures++;                                                                                          \
            fprintf(stderr, "%s:%d: %s is %#llx, not %#llx\n", __FILE__, __LINE__, #a, a_, b_);                        \
        }                                                                                                              \
    } while (0)

static inline struct cpu *world_cpu(unsigned i) { return &world.cpu[i]->c; }
uint64_t world_mrs(unsigned i, uint32_t key);
void world_msr(unsigned i, uint32_t key, uint64_t value);
void world_io_write(unsigned i, uint64_t pa, unsigned size, uint64_t value);
uint64_t world_io_read(unsigned i, uint64_t pa, unsigned size);

void test_walk(void);
void test_exceptions(void);
void test_gic(void);
void test_timer(void);

#endif
