/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* process_probe.c: see process_probe.h. */
#include "dbt/mmu/process_probe.h"
#include "dbt/mmu/mmu_emit.h"

/* The region of the base is compared, not looked up: no load waits for the address. Where it is another one, or the
 * space has no window there, the software TLB is asked out of line. */
void process_probe_emit(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    uint32_t region = region_of(p->hint);
    int32_t delta = window_delta_disp(cpu) + 8 * (int32_t)region_index(cpu, region);
    p->site = asm_pos(a);
    if (p->align && p->size) {
        asm_lea(a, true, p->tmp0, asm_mem(p->base, p->disp));
        asm_test_ri(a, false, p->tmp0, (1 << p->size) - 1);
        asm_jcc(a, ASM_NE, p->slow);
    }
    asm_mov_rr(a, true, p->tmp0, p->base);
    asm_shift_ri(a, ASM_SHR, true, p->tmp0, REGION_SHIFT);
    asm_cmp_ri32(a, false, p->tmp0, (int32_t)region);
    asm_jcc(a, ASM_NE, p->slow);
    asm_mov_rm(a, true, p->tmp0, asm_mem_view(delta));
    asm_test_ri(a, false, p->tmp0, NULL_DELTA);
    asm_jcc(a, ASM_NE, p->slow);
    mmu_emit_count(a, cpu, ABI_STAT_checks_passed);
    p->index = p->tmp0;
    p->covers_nearby = false;
    p->covers_range = true;
    p->faults = true;
}
_Static_assert(NULL_DELTA == MMU_NO_ADDEND, "what the accesses of a group test");
