/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* csr.h: what the files of the control and status registers share. */
#ifndef GRAFT_RV64_CSR_H
#define GRAFT_RV64_CSR_H

#include "guests/rv64/system.h"

/* Machine mode's (csr_m.c). rv64_csr_m_read() is false if there is no such register; only those that there are get
 * written. */
bool rv64_csr_m_read(struct cpu *cpu, unsigned csr, uint64_t *v);
void rv64_csr_m_write(struct cpu *cpu, unsigned csr, uint64_t v);

/* mstatus, or what sstatus shows of it: the fields in which may be written. */
uint64_t rv64_status_read(const struct rv64_cpu *c, uint64_t fields);
void rv64_status_write(struct cpu *cpu, uint64_t v, uint64_t fields);
/* rv64_overflow_write(): LCOFIP of mip or sip, if that is among the bits written. */
static inline void rv64_overflow_write(struct rv64_cpu *c, uint64_t v, uint64_t written) {
    c->mip ^= (c->mip ^ v) & written & BIT(IRQ_OVERFLOW);
}
/* rv64_envcfg(): v with CBIE as it was, if it has the reserved value 2. */
uint64_t rv64_envcfg(uint64_t old, uint64_t v);
uint64_t rv64_counter(const struct cpu *cpu, unsigned which); /* 0 cycle, 1 instret: of a clock, both */

#endif
