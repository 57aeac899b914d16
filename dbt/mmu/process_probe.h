/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* process_probe.h: what emitted code does before an access of hot code under the strategy `process`. */
#ifndef DBT_MMU_PROCESS_PROBE_H
#define DBT_MMU_PROCESS_PROBE_H

#include "dbt/mmu/windows.h"

/* process_probe_emit(): mmu_ops.emit_probe, for an access that will go to the region of p->hint most of the time. */
void process_probe_emit(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p);

#endif
