/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * mmu_emit.h: what the memory code that emits host code shares, on top of mmu_int.h:
 * the host's assembler, and operands that translated code finds by RBP. Included by
 * the files that emit a strategy's probes, and by no header.
 */
#ifndef DBT_MMU_EMIT_H
#define DBT_MMU_EMIT_H

#include "dbt/mmu/mmu_int.h"
#include "dbt/x86/asm.h"

/* mmu_views_mem(): cpu->shown[regime] as an operand of translated code. */
static inline struct asm_mem mmu_views_mem(unsigned regime) {
    return asm_mem(ASM_RBP, (int32_t)(offsetof(struct cpu, shown) + 8 * regime) - CODEGEN_BIAS);
}

/* mmu_emit_count(): adds 1 to a counter of abi_stats.def, if translated code counts. Changes the flags.
 * mmu_stat_disp(): the counter's displacement in that instruction, its last four bytes. */
static inline int32_t mmu_stat_disp(enum abi_stat stat) {
    return (int32_t)(offsetof(struct abi_vcpu, stats) + 8 * (size_t)stat) - CODEGEN_BIAS;
}
static inline void mmu_emit_count(struct asm_buf *a, const struct cpu *cpu, enum abi_stat stat) {
    if (UNLIKELY(cpu->boot && cpu->boot->count))
        asm_inc_m(a, asm_mem(ASM_RBP, mmu_stat_disp(stat)));
}

#endif
