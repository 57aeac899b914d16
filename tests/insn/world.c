/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * world.c: what the engine is to the instruction tests: guest memory is this process's own at the same addresses, and
 * an exception ends the case. What the guest's system part is, is in a file of each guest.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/mmu/atomics.h"
#include "insn_test.h"

struct world world;

void world_raise(enum ifault kind) {
    world.kind = kind;
    if (world.leave)
        world.leave();
    longjmp(world.fault, 1);
}

_Noreturn void rt_panic(struct cpu *cpu, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    abort();
}

/* --- memory ----------------------------------------------------------------------------------- */

static void *at(uint64_t va, unsigned bytes, bool write) {
    bool scratch = va >= INSN_SCRATCH && va + bytes <= INSN_SCRATCH + INSN_SCRATCH_BYTES;
    bool code = va >= INSN_CODE && va + bytes <= INSN_CODE + INSN_CODE_BYTES;
    if (!scratch && !(code && !write))
        world_raise(IFAULT_ABORT);
    return (void *)va;
}

static void *aligned_at(uint64_t va, unsigned size, unsigned flags, bool write) {
    if ((flags & IR_MEM_ALIGN) && (va & MASK(ir_mem_align(flags, size))))
        world_raise(IFAULT_ALIGN);
    return at(va, 1u << size, write);
}

uint64_t mem_read(struct cpu *cpu, uint64_t va, unsigned size, unsigned regime, unsigned flags) {
    uint64_t v = 0;
    memcpy(&v, aligned_at(va, size, flags, false), 1u << size);
    return v;
}

void mem_write(struct cpu *cpu, uint64_t va, uint64_t value, unsigned size, unsigned regime, unsigned flags) {
    memcpy(aligned_at(va, size, flags, true), &value, 1u << size);
}

void mem_read_128(struct cpu *cpu, uint64_t va, v128 *value, unsigned regime, unsigned flags) {
    memcpy(value, aligned_at(va, 4, flags, false), 16);
}

void mem_write_128(struct cpu *cpu, uint64_t va, const v128 *value, unsigned regime, unsigned flags) {
    memcpy(aligned_at(va, 4, flags, true), value, 16);
}

bool mem_rmw(struct cpu *cpu, uint64_t va, struct mem_rmw *r) {
    return atomic_rmw(aligned_at(va, r->size, IR_MEM_ALIGN, true), r);
}
