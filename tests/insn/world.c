/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * world.c: what the engine and the guest's system part are to the instruction tests: guest memory is this process's own at
 * the same addresses, and an exception ends the case.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* --- memory --------------------------------------------------------------------------------------- */

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

void *mem_host(struct cpu *cpu, uint64_t va, unsigned size, enum mmu_access access, unsigned regime) {
    return aligned_at(va, size, IR_MEM_ALIGN, access == MMU_WRITE);
}

void *mem_host_rmw(struct cpu *cpu, uint64_t va, unsigned size, unsigned regime) {
    return aligned_at(va, size, IR_MEM_ALIGN, true);
}

/* --- exceptions ----------------------------------------------------------------------------------- */

uint64_t a64_helper_undefined(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c) { world_raise(IFAULT_UNDEFINED); }

uint64_t a64_helper_exception(struct cpu *cpu, uint64_t esr, uint64_t pc_offset, uint64_t c) {
    world_raise(IFAULT_OTHER);
}

uint64_t a64_helper_eret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_hvc(struct cpu *cpu, uint64_t imm, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_wfi(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return 0; }

uint64_t a64_helper_check(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_breakpoint(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

bool a64_breaks_at(const struct a64_cpu *c, uint32_t mode, uint64_t pc, bool first) { return false; }

__attribute__((noreturn)) static void align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access) {
    world_raise(IFAULT_ALIGN);
}

/* --- system registers: none of the tested rows reaches these -------------------------------------- */

uint64_t a64_helper_mrs(struct cpu *cpu, uint64_t key, uint64_t insn, uint64_t c) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_msr(struct cpu *cpu, uint64_t key, uint64_t value, uint64_t insn) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_sys(struct cpu *cpu, uint64_t key, uint64_t value, uint64_t insn) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_msr_imm(struct cpu *cpu, uint64_t op, uint64_t imm, uint64_t insn) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_barrier(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return 0; }

size_t a64_sysreg_offset(uint32_t key, unsigned el, bool write) { return 0; }

const struct guest_ops a64_guest = {
    .name = "a64",
    .cpu_size = sizeof(struct a64_cpu),
    .pc_offset = A64_PC,
    .nzcv_offset = A64_NZCV,
    .gpr_pins = a64_gpr_pins,
    .vec_pins = a64_vec_pins,
    .gpr_pin_count = A64_GPR_PINS,
    .vec_pin_count = A64_VEC_PINS,
    .translate = a64_translate,
    .align_fault = align_fault,
};
