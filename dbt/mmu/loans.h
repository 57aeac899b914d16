/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * loans.h: pages at places of their own, known only to the rest of a block and to the recent pages (recent.h). They
 * need no flush when the guest unmaps them: nobody knows the place any more. For pages that the guest keeps unmapping,
 * a fixmap.
 */
#ifndef DBT_MMU_LOANS_H
#define DBT_MMU_LOANS_H

#include "dbt/mmu/windows.h"

#define LOANS 128
#define LOAN_SHIFT 19 /* from one page to the next, so that what is near one does not reach another */
#define LOANS_IN_TABLE (HUGE_SIZE >> LOAN_SHIFT)
#define LOAN_REACH 0x10000 /* twice what emitted code takes for near */

struct loans {
    uint64_t slot; /* abi_boot.loan_slot */
    uint64_t *table[LOANS / LOANS_IN_TABLE], *pd;
    uint64_t pte[LOANS];
    unsigned count;
};

/* loans_lend(): lets the emitted code behind the slow access use the page without mapping it in a window: sets s->lent.
 * May ask for a flush. */
void loans_lend(struct cpu *cpu, struct loans *l, struct mmu_slow *s, uint64_t pa, bool write);
/* loans_protect(): no loan lets anyone write to that page any more. */
void loans_protect(struct cpu *cpu, struct loans *l, uint64_t pa);

#endif
