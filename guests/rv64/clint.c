/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * clint.c: machine mode's software interrupts and timer, as QEMU's virt has them (RISC-V ACLINT Specification 1.0: MSWI
 * at offset 0, MTIMER at 0x4000). mtime is read-only.
 */
#include "guests/rv64/system.h"

#define BASE UINT64_C(0x02000000)
#define SIZE UINT64_C(0xc000)
#define MTIMECMP 0x4000u
#define MTIME 0xbff8u

static struct rv64_cpu *hart(struct cpu *cpu, uint64_t index) {
    struct cpu *to = index < cpu->boot->vcpu_count ? engine_cpu(cpu, (unsigned)index) : NULL;
    return to ? rv64(to) : NULL;
}

/* Words, and above MTIMECMP also what is twice as wide. */
static bool takes(uint64_t offset, unsigned size) {
    return offset < SIZE && (size == 4 || (size == 8 && offset >= MTIMECMP));
}

/* The register at an offset: of 32 bits, or a half or the whole of one of 64 bits. */
enum { NOTHING, MSIP, COMPARE, TIME };
static unsigned find(struct cpu *cpu, uint64_t offset, unsigned size, struct rv64_cpu **to) {
    bool word = size == 4 && !(offset & 3), any = word || (size == 8 && !(offset & 7));
    *to = hart(cpu, offset < MTIMECMP ? offset / 4 : (offset - MTIMECMP) / 8);
    if (offset < MTIMECMP)
        return word && *to ? MSIP : NOTHING;
    if (offset >= MTIME)
        return any && offset < MTIME + 8 ? TIME : NOTHING;
    return any && *to ? COMPARE : NOTHING;
}

bool rv64_clint_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value) {
    uint64_t offset = pa.v - BASE;
    struct rv64_cpu *to;
    if (!takes(offset, size))
        return false;
    unsigned what = find(cpu, offset, size, &to);
    *value = 0;
    if (what == MSIP)
        *value = __atomic_load_n(&to->msip, __ATOMIC_SEQ_CST);
    else if (what != NOTHING)
        *value = what == TIME ? rv64_time(cpu) : __atomic_load_n(&to->mtimecmp, __ATOMIC_SEQ_CST);
    if (size == 4)
        *value = *value >> 8 * (what == MSIP ? 0 : offset & 4) & MASK(32);
    return true;
}

bool rv64_clint_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value) {
    uint64_t offset = pa.v - BASE;
    struct rv64_cpu *to;
    if (!takes(offset, size))
        return false;
    unsigned what = find(cpu, offset, size, &to);
    if (what == MSIP) {
        __atomic_store_n(&to->msip, value & 1, __ATOMIC_SEQ_CST);
    } else if (what == COMPARE) {
        uint64_t old = __atomic_load_n(&to->mtimecmp, __ATOMIC_SEQ_CST);
        if (size == 4)
            value = offset & 4 ? value << 32 | (old & MASK(32)) : (old & ~MASK(32)) | (value & MASK(32));
        __atomic_store_n(&to->mtimecmp, value, __ATOMIC_SEQ_CST);
    }
    if (what == MSIP || what == COMPARE)
        engine_kick(cpu, &to->c, ABI_PEND_IRQ);
    return true;
}
