/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* semihost.c: semihosting calls as AArch64 makes them. See graft/semihost.h. */
#include "graft/semihost.h"
#include "guests/a64/system.h"

uint64_t a64_helper_semihost(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t unused) {
    struct a64_cpu *c = a64(cpu);
    uint64_t result;
    if (!cpu->boot->semihosting)
        a64_raise_undefined(cpu, (uint32_t)insn, "HLT");
    if (!engine_semihost(cpu, (uint32_t)c->x[0], c->x[1], c->x[31], &result))
        engine_unwind(cpu); /* the pc is still the HLT's */
    c->x[0] = result;
    return 0;
}
