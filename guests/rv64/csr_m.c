/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* csr_m.c: the control and status registers of machine mode (volume II, chapter 3). */
#include "guests/rv64/csr.h"

#define MISA_MXL (UINT64_C(2) << 62)
#define MISA_LETTER(letter) BIT((letter) - 'A')
#define MISA                                                                                                           \
    (MISA_MXL | MISA_LETTER('I') | MISA_LETTER('M') | MISA_LETTER('A') | MISA_LETTER('F') | MISA_LETTER('D') |         \
     MISA_LETTER('C') | MISA_LETTER('S') | MISA_LETTER('U'))

static bool is_pmp(unsigned csr) {
    bool cfg = csr == RV64_CSR_PMPCFG0 || csr == RV64_CSR_PMPCFG0 + 2; /* the odd ones are not there on RV64 */
    return cfg || (csr >= RV64_CSR_PMPADDR0 && csr < RV64_CSR_PMPADDR0 + RV64_PMPS);
}

static bool is_counter(unsigned csr) { return csr - RV64_CSR_MHPMCOUNTER3 < 29; }
static bool is_event(unsigned csr) { return csr - RV64_CSR_MHPMEVENT3 < 29; }

bool rv64_csr_m_read(struct cpu *cpu, unsigned csr, uint64_t *v) {
    struct rv64_cpu *c = rv64(cpu);
    switch (csr) {
    case RV64_CSR_MSTATUS: *v = rv64_status_read(c, MSTATUS_WRITABLE) | MSTATUS_SXL; return true;
    case RV64_CSR_MISA: *v = MISA; return true;
    case RV64_CSR_MEDELEG: *v = c->medeleg; return true;
    case RV64_CSR_MIDELEG: *v = c->mideleg; return true;
    case RV64_CSR_MIE: *v = c->mie; return true;
    case RV64_CSR_MTVEC: *v = c->mtvec; return true;
    case RV64_CSR_MCOUNTEREN: *v = c->mcounteren; return true;
    case RV64_CSR_MENVCFG: *v = c->menvcfg; return true;
    case RV64_CSR_MSCRATCH: *v = c->mscratch; return true;
    case RV64_CSR_MEPC: *v = c->mepc; return true;
    case RV64_CSR_MCAUSE: *v = c->mcause; return true;
    case RV64_CSR_MTVAL: *v = c->mtval; return true;
    case RV64_CSR_MIP:
        rv64_interrupts_update(cpu);
        *v = c->mip;
        return true;
    case RV64_CSR_MCYCLE: *v = rv64_counter(cpu, 0); return true;
    case RV64_CSR_MINSTRET: *v = rv64_counter(cpu, 1); return true;
    case RV64_CSR_MHARTID: *v = cpu->index; return true;
    case RV64_CSR_MCOUNTINHIBIT: *v = c->pmu.inhibit; return true;
    default:
        *v = is_pmp(csr)       ? rv64_pmp_read(c, csr)
             : is_counter(csr) ? rv64_pmu_value(c, csr & 31)
             : is_event(csr)   ? rv64_pmu_event(c, csr & 31)
                               : 0;
        return is_pmp(csr) || is_counter(csr) || is_event(csr) ||
               csr - RV64_CSR_MVENDORID < RV64_CSR_MHARTID - RV64_CSR_MVENDORID || csr == RV64_CSR_MCONFIGPTR;
    }
}

/* What software may set of the interrupts that are pending; STIP is the comparator's once there is one. */
static void write_mip(struct cpu *cpu, uint64_t v) {
    struct rv64_cpu *c = rv64(cpu);
    c->mip_set = v & (BIT(IRQ_EXTERNAL) | (c->menvcfg & ENVCFG_STCE ? 0 : BIT(IRQ_TIMER)));
    __atomic_store_n(&c->ipi, v >> IRQ_SOFT & 1, __ATOMIC_SEQ_CST);
    rv64_overflow_write(c, v, ~UINT64_C(0));
    rv64_interrupts_update(cpu);
}

void rv64_csr_m_write(struct cpu *cpu, unsigned csr, uint64_t v) {
    struct rv64_cpu *c = rv64(cpu);
    switch (csr) {
    case RV64_CSR_MSTATUS: /* there is no level 2 */
        v = MSTATUS_MPP_OF(v) == 2 ? (v & ~MSTATUS_MPP) | (c->mstatus & MSTATUS_MPP) : v;
        rv64_status_write(cpu, v, MSTATUS_WRITABLE);
        return;
    case RV64_CSR_MEDELEG: c->medeleg = v & MEDELEG_WRITABLE; break;
    case RV64_CSR_MIDELEG: c->mideleg = v & SIE_WRITABLE; break;
    case RV64_CSR_MIE: c->mie = v & MIE_WRITABLE; break;
    case RV64_CSR_MTVEC: c->mtvec = v & ~UINT64_C(2); break;
    case RV64_CSR_MCOUNTEREN: c->mcounteren = v & MASK(32); break;
    case RV64_CSR_MENVCFG:
        c->menvcfg = rv64_envcfg(c->menvcfg, v) & MENVCFG_WRITABLE;
        rv64_interrupts_update(cpu);
        break;
    case RV64_CSR_MSCRATCH: c->mscratch = v; break;
    case RV64_CSR_MEPC: c->mepc = v & ~UINT64_C(1); break;
    case RV64_CSR_MCAUSE: c->mcause = v; break;
    case RV64_CSR_MTVAL: c->mtval = v; break;
    case RV64_CSR_MIP: write_mip(cpu, v); break;
    case RV64_CSR_MCYCLE:
    case RV64_CSR_MINSTRET:
        c->counted_from[csr == RV64_CSR_MINSTRET] += rv64_counter(cpu, csr == RV64_CSR_MINSTRET) - v;
        break;
    case RV64_CSR_MCOUNTINHIBIT: rv64_pmu_set_inhibit(c, v); break;
    default:
        if (is_pmp(csr))
            rv64_pmp_write(cpu, csr, v);
        else if (is_counter(csr))
            rv64_pmu_set_value(c, csr & 31, v);
        else if (is_event(csr))
            rv64_pmu_set_event(c, csr & 31, v);
        return;
    }
    rv64_check_interrupts(cpu);
}
