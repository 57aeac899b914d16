/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* world_a64.c: what the system part of the AArch64 guest is to the instruction tests. */
#include "insn_test.h"

/* --- exceptions ------------------------------------------------------------------------------- */

uint64_t a64_helper_undefined(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c) { world_raise(IFAULT_UNDEFINED); }

uint64_t a64_helper_exception(struct cpu *cpu, uint64_t esr, uint64_t pc_offset, uint64_t c) {
    world_raise(IFAULT_OTHER);
}

uint64_t a64_helper_eret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_semihost(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c) { world_raise(IFAULT_UNDEFINED); }
uint64_t a64_helper_hvc(struct cpu *cpu, uint64_t imm, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_wfi(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return 0; }

uint64_t a64_helper_check(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

uint64_t a64_helper_breakpoint(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }

bool a64_breaks_at(const struct a64_cpu *c, uint32_t mode, uint64_t pc, bool first) { return false; }

__attribute__((noreturn)) static void align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access) {
    world_raise(IFAULT_ALIGN);
}

/* --- system registers: none of the tested rows reaches these ---------------------------------- */

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
