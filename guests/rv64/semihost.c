/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * semihost.c: semihosting calls as RISC-V makes them ("RISC-V Semihosting", version 1.0): EBREAK between SLLI x0, x0,
 * 31 and SRAI x0, x0, 7, none of them compressed, all in one page. See graft/semihost.h.
 */
#include "graft/semihost.h"
#include "guests/rv64/system.h"

#define CALL_BEFORE 0x01f01013u
#define CALL_AFTER 0x40705013u
enum { SP = 2, A0 = 10, A1 = 11 };

static uint32_t insn_at(struct cpu *cpu, uint64_t va) {
    struct gpa pa;
    uint32_t insn;
    memcpy(&insn, mem_fetch(cpu, va, &pa), sizeof(insn));
    return insn;
}

uint64_t rv64_helper_ebreak(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t unused) {
    struct rv64_cpu *c = rv64(cpu);
    uint64_t result;
    if (!cpu->boot->semihosting || insn_at(cpu, c->pc - 4) != CALL_BEFORE || insn_at(cpu, c->pc + 4) != CALL_AFTER)
        rv64_raise(cpu, RV64_BREAKPOINT, c->pc);
    if (!engine_semihost(cpu, (uint32_t)c->x[A0], c->x[A1], c->x[SP], &result))
        engine_unwind(cpu); /* the pc is still the EBREAK's */
    c->x[A0] = result;
    return 0;
}
