/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ring3.h: what the VM runtime knows of page-table roots (ABI_LAYOUT_RING0). Ring 0 only. */
#ifndef DBT_RT_VM_RING3_H
#define DBT_RT_VM_RING3_H

#include "graft/rt.h"

/* vm_here(): where one of the ABI_VA_ addresses is: they are where the engine is linked for, and it may run elsewhere
 * (VM_DIRECT_VA). */
extern const uint8_t vm_image_start[];
static inline uint64_t vm_here(uint64_t va) { return va + ((uint64_t)vm_image_start - ABI_VA_ENGINE); }

static inline uint64_t vm_cr3(void) {
    uint64_t pa;
    __asm__ volatile("movq %%cr3, %0" : "=r"(pa));
    return pa;
}
/* vm_set_cr3(): the processor forgets all entries that are not global; those are the engine's own. */
static inline void vm_set_cr3(uint64_t pa) { __asm__ volatile("movq %0, %%cr3" : : "r"(pa) : "memory"); }
/* vm_load_root(): makes r this vCPU's page tables. */
static inline void vm_load_root(struct rt_root *r) {
    if (!r->changed && vm_cr3() == r->pa)
        return;
    r->changed = false;
    vm_set_cr3(r->pa);
}

#endif
