/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * called.c: accesses of blocks with IR_BLOCK_CALL_MEMORY. In place of a probe and its stub the block has a call of
 * these. Values of 16 bytes go through vscratch[MEM_VALUE].
 */
#include "graft/guest.h"
#include "graft/ir.h"
#include "graft/mmu.h"
#include "graft/rt.h"

static unsigned size_of(uint64_t desc) { return MMU_DESC_SIZE((uint32_t)desc); }
/* Of an access that code of the current regime can have, of at most 1 << most bytes: what ring 3 hands over is not
 * believed. */
static unsigned regime_of(struct cpu *cpu, uint64_t desc, unsigned most) {
    unsigned regime = MMU_DESC_REGIME((uint32_t)desc);
    if (rt_has_ring3(cpu) && (!guest_may_access(cpu->guest, cpu->regime, regime) || size_of(desc) > most))
        rt_panic(cpu, "translated code asked for an access that it may not have: %x", (uint32_t)desc);
    return regime;
}
static unsigned flags_of(uint64_t desc) { return MMU_DESC_FLAGS((uint32_t)desc); }

uint64_t mem_called_ld(struct cpu *cpu, uint64_t va, uint64_t desc, uint64_t c) {
    unsigned size = size_of(desc);
    if (size == 4) {
        mem_read_128(cpu, va, &cpu->vscratch[MEM_VALUE], regime_of(cpu, desc, 4), flags_of(desc));
        return 0;
    }
    uint64_t v = mem_read(cpu, va, size, regime_of(cpu, desc, 4), flags_of(desc));
    unsigned shift = 64 - (8u << size);
    return flags_of(desc) & IR_MEM_SEXT ? (uint64_t)((int64_t)(v << shift) >> shift) : v;
}

uint64_t mem_called_st(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc) {
    if (size_of(desc) == 4)
        mem_write_128(cpu, va, &cpu->vscratch[MEM_VALUE], regime_of(cpu, desc, 4), flags_of(desc));
    else
        mem_write(cpu, va, value, size_of(desc), regime_of(cpu, desc, 4), flags_of(desc));
    return 0;
}

static struct mem_rmw rmw_of(struct cpu *cpu, unsigned kind, uint64_t old, uint64_t value, uint64_t desc) {
    return (struct mem_rmw){.kind = kind,
                            .size = size_of(desc),
                            .regime = regime_of(cpu, desc, 3),
                            .old = {.u64 = {old, 0}},
                            .value = {.u64 = {value, 0}}};
}

uint64_t mem_called_atomic(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc) {
    struct mem_rmw r = rmw_of(cpu, MMU_DESC_KIND((uint32_t)desc), 0, value, desc);
    mem_rmw(cpu, va, &r);
    return r.old.u64[0];
}

uint64_t mem_called_cas(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc) {
    struct mem_rmw r = rmw_of(cpu, MEM_RMW_CAS, cpu->vscratch[MEM_VALUE].u64[0], value, desc);
    mem_rmw(cpu, va, &r);
    return r.old.u64[0];
}

uint64_t mem_called_stx(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc) {
    struct mem_rmw r = rmw_of(cpu, MEM_RMW_EXCLUSIVE, cpu->excl_val[0], value, desc);
    bool done = cpu->excl_addr == va && mem_rmw(cpu, va, &r);
    cpu->excl_addr = ~UINT64_C(0);
    return !done;
}
