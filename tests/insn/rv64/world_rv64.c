/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* world_rv64.c: what the system part of the RISC-V guest is to the instruction tests. */
#include "graft/softfp.h"
#include "tests/insn/insn_test.h"

uint64_t rv64_helper_raise(struct cpu *cpu, uint64_t cause, uint64_t tval, uint64_t c) {
    world_raise(cause == RV64_ILLEGAL ? IFAULT_UNDEFINED : IFAULT_OTHER);
}

uint64_t rv64_helper_sret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_mret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_ecall(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_ebreak(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_wfi(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_status(struct cpu *cpu, uint64_t old, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_fp(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_sfence(struct cpu *cpu, uint64_t va, uint64_t asid, uint64_t w) { world_raise(IFAULT_OTHER); }
uint64_t rv64_helper_fence_i(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return 0; }
unsigned rv64_data_regime(const struct cpu *cpu) { return cpu->regime; }
/* Of the blocks' instructions, the one that has an effect. */
uint64_t rv64_helper_cbo(struct cpu *cpu, uint64_t va, uint64_t what, uint64_t insn) {
    va &= ~(uint64_t)(RV64_CBO_BYTES - 1);
    for (unsigned i = 0; (what & 7) == RV64_CBO_ZERO && i < RV64_CBO_BYTES; i += 8)
        mem_write(cpu, va + i, 0, 3, 0, 0);
    mem_read(cpu, va, 0, 0, 0);
    return 0;
}

uint64_t rv64_helper_crossing(struct cpu *cpu, uint64_t pc, uint64_t half, uint64_t c) { world_raise(IFAULT_OTHER); }

/* Of the CSRs, those of floating point alone. */
uint64_t rv64_helper_csr(struct cpu *cpu, uint64_t desc, uint64_t value, uint64_t insn) {
    unsigned csr = desc & 0xfff, op = desc >> 12 & 3;
    uint32_t frm = rv64(cpu)->frm, fflags = rv64_fflags(cpu);
    if (csr < 1 || csr > 3)
        world_raise(IFAULT_UNDEFINED);
    uint64_t old = csr == 1 ? fflags : csr == 2 ? frm : frm << 5 | fflags;
    uint64_t v = op == 1 ? value : op == 2 ? old | value : old & ~value;
    if (desc >> 14 & 1)
        rv64_fcsr_set(cpu, csr == 2 ? fflags : (uint32_t)v, csr == 1 ? frm : (uint32_t)(csr == 2 ? v : v >> 5));
    return old;
}

const void *mem_fetch(struct cpu *cpu, uint64_t va, struct gpa *pa) { world_raise(IFAULT_ABORT); }

__attribute__((noreturn)) static void align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access) {
    world_raise(IFAULT_ALIGN);
}

const struct guest_ops rv64_guest = {
    .name = "rv64",
    .cpu_size = sizeof(struct rv64_cpu),
    .pc_offset = RV64_PC,
    .gpr_pins = rv64_gpr_pins,
    .vec_pins = rv64_vec_pins,
    .gpr_pin_count = RV64_GPR_PINS,
    .vec_pin_count = RV64_VEC_PINS,
    .translate = rv64_translate,
    .align_fault = align_fault,
};
