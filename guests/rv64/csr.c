/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* csr.c: control and status registers, and the instructions that manage memory (volume II, chapters 2 and 10). */
#include "guests/rv64/csr.h"

#include "graft/softfp.h"

enum { CSRRW = 1, CSRRS, CSRRC };

uint64_t rv64_counter(const struct cpu *cpu, unsigned which) {
    return rt_ticks() - cpu->boot->tsc_base - ((const struct rv64_cpu *)cpu)->counted_from[which];
}

/* A counter that each of the higher levels lets lower ones read. */
static bool counter_allowed(const struct cpu *cpu, unsigned csr) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    enum rv64_privilege p = rv64_privilege(cpu);
    return (p == RV64_PRIV_M || c->mcounteren >> (csr & 31) & 1) &&
           (p != RV64_PRIV_U || c->scounteren >> (csr & 31) & 1);
}

uint64_t rv64_status_read(const struct rv64_cpu *c, uint64_t fields) {
    bool dirty = (c->sstatus & SSTATUS_FS) == SSTATUS_FS;
    return (rv64_mstatus(c) & fields) | SSTATUS_UXL | (dirty ? SSTATUS_SD : 0);
}

uint64_t rv64_envcfg(uint64_t old, uint64_t v) {
    return (v & ENVCFG_CBIE) == BIT(5) ? (v & ~ENVCFG_CBIE) | (old & ENVCFG_CBIE) : v;
}

/* Machine mode may keep S-mode from some registers. */
static bool satp_allowed(const struct cpu *cpu) {
    return rv64_privilege(cpu) == RV64_PRIV_M || !(((const struct rv64_cpu *)cpu)->mstatus & MSTATUS_TVM);
}
static bool stimecmp_allowed(const struct cpu *cpu) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    unsigned time = RV64_CSR_TIME & 31;
    return rv64_privilege(cpu) == RV64_PRIV_M || (c->menvcfg & ENVCFG_STCE && c->mcounteren >> time & 1);
}

/* Is floating point off, so that its registers do not exist? */
static bool fp_off(const struct rv64_cpu *c) { return !(c->sstatus & SSTATUS_FS); }

/* False: there is no such register here. */
static bool csr_read(struct cpu *cpu, unsigned csr, uint64_t *v) {
    struct rv64_cpu *c = rv64(cpu);
    *v = 0;
    switch (csr) {
    case RV64_CSR_FFLAGS: *v = rv64_fflags(cpu); return !fp_off(c);
    case RV64_CSR_FRM: *v = rv64_frm(c); return !fp_off(c);
    case RV64_CSR_FCSR: *v = rv64_frm(c) << 5 | rv64_fflags(cpu); return !fp_off(c);
    case RV64_CSR_SSTATUS: *v = rv64_status_read(c, SSTATUS_WRITABLE); return true;
    case RV64_CSR_SIE: *v = c->mie & c->mideleg; return true;
    case RV64_CSR_STVEC: *v = c->stvec; return true;
    case RV64_CSR_SCOUNTEREN: *v = c->scounteren; return true;
    case RV64_CSR_SENVCFG: *v = c->senvcfg; return true;
    case RV64_CSR_SSCRATCH: *v = c->sscratch; return true;
    case RV64_CSR_SEPC: *v = c->sepc; return true;
    case RV64_CSR_SCAUSE: *v = c->scause; return true;
    case RV64_CSR_STVAL: *v = c->stval; return true;
    case RV64_CSR_SIP:
        rv64_interrupts_update(cpu);
        *v = c->mip & c->mideleg;
        return true;
    case RV64_CSR_STIMECMP: *v = c->stimecmp; return stimecmp_allowed(cpu);
    case RV64_CSR_SATP: *v = c->satp; return satp_allowed(cpu);
    case RV64_CSR_TIME: *v = rv64_time(cpu); return counter_allowed(cpu, csr);
    case RV64_CSR_CYCLE:
    case RV64_CSR_INSTRET: *v = rv64_counter(cpu, csr == RV64_CSR_INSTRET); return counter_allowed(cpu, csr);
    case RV64_CSR_SCOUNTOVF:
        *v = rv64_pmu_overflown(c) & (rv64_privilege(cpu) == RV64_PRIV_M ? MASK(32) : c->mcounteren);
        return true;
    default:
        if (csr - RV64_CSR_HPMCOUNTER3 >= 29)
            return rv64_csr_m_read(cpu, csr, v);
        *v = rv64_pmu_value(c, csr & 31);
        return counter_allowed(cpu, csr);
    }
}

void rv64_status_write(struct cpu *cpu, uint64_t v, uint64_t fields) {
    struct rv64_cpu *c = rv64(cpu);
    uint64_t old = rv64_mstatus(c), changed = (old ^ v) & fields;
    rv64_set_mstatus(c, old ^ changed);
    if (changed & SSTATUS_MXR)
        mmu_context_changed(cpu);
    rv64_set_privilege(cpu, rv64_privilege(cpu));
    rv64_check_interrupts(cpu);
}

/* A mode that is not there: the whole write has no effect (10.1.11). */
static void write_satp(struct cpu *cpu, uint64_t v) {
    struct rv64_cpu *c = rv64(cpu);
    unsigned mode = SATP_MODE(v);
    if (mode != SATP_BARE && (mode < SATP_SV39 || mode > SATP_SV57))
        return;
    c->satp = v;
    rv64_table_changed(cpu);
}

static void csr_write(struct cpu *cpu, unsigned csr, uint64_t v) {
    struct rv64_cpu *c = rv64(cpu);
    switch (csr) {
    case RV64_CSR_FFLAGS: rv64_fcsr_set(cpu, (uint32_t)v, rv64_frm(c)); break;
    case RV64_CSR_FRM: rv64_fcsr_set(cpu, rv64_fflags(cpu), (uint32_t)v); break;
    case RV64_CSR_FCSR: rv64_fcsr_set(cpu, (uint32_t)v, (uint32_t)v >> 5); break;
    case RV64_CSR_SSTATUS: rv64_status_write(cpu, v, SSTATUS_WRITABLE); return;
    case RV64_CSR_SIE:
        c->mie = (c->mie & ~c->mideleg) | (v & c->mideleg);
        rv64_check_interrupts(cpu);
        break;
    case RV64_CSR_STVEC: c->stvec = v & ~UINT64_C(2); break;
    case RV64_CSR_SCOUNTEREN: c->scounteren = v & MASK(32); break;
    case RV64_CSR_SENVCFG: c->senvcfg = rv64_envcfg(c->senvcfg, v) & SENVCFG_WRITABLE; break;
    case RV64_CSR_SSCRATCH: c->sscratch = v; break;
    case RV64_CSR_SEPC: c->sepc = v & ~UINT64_C(1); break;
    case RV64_CSR_SCAUSE: c->scause = v; break;
    case RV64_CSR_STVAL: c->stval = v; break;
    case RV64_CSR_SIP:
        if (c->mideleg & BIT(IRQ_SOFT))
            __atomic_store_n(&c->ipi, v >> IRQ_SOFT & 1, __ATOMIC_SEQ_CST);
        rv64_overflow_write(c, v, c->mideleg);
        rv64_interrupts_update(cpu);
        rv64_check_interrupts(cpu);
        break;
    case RV64_CSR_STIMECMP:
        c->stimecmp = v;
        rv64_timer_update(cpu, false);
        rv64_check_interrupts(cpu);
        break;
    case RV64_CSR_SATP: write_satp(cpu, v); break;
    default: rv64_csr_m_write(cpu, csr, v); break;
    }
    if (csr <= RV64_CSR_FCSR)
        c->sstatus |= SSTATUS_FS;
}

bool rv64_csr_get(struct cpu *cpu, unsigned csr, uint64_t *value) {
    rv64_fp_settle(rv64(cpu));
    return csr_read(cpu, csr, value);
}

bool rv64_csr_set(struct cpu *cpu, unsigned csr, uint64_t value) {
    uint64_t old;
    if (csr >> 10 == 3 || !rv64_csr_get(cpu, csr, &old))
        return false;
    csr_write(cpu, csr, value);
    return true;
}

uint64_t rv64_helper_csr(struct cpu *cpu, uint64_t desc, uint64_t value, uint64_t insn) {
    unsigned csr = desc & 0xfff, op = desc >> 12 & 3;
    bool writes = desc >> 14 & 1;
    uint64_t old;
    /* Bits 9..8 of the number: the lowest privilege level; bits 11..10 both set: read-only. */
    if ((csr >> 8 & 3) > rv64_privilege(cpu) || (writes && csr >> 10 == 3) || !csr_read(cpu, csr, &old))
        rv64_illegal(cpu, insn);
    /* SEIP reads as what software has set or the PLIC, and is changed as the former (3.1.9). */
    uint64_t from = csr == RV64_CSR_MIP ? (old & ~BIT(IRQ_EXTERNAL)) | (rv64(cpu)->mip_set & BIT(IRQ_EXTERNAL)) : old;
    if (writes)
        csr_write(cpu, csr, op == CSRRW ? value : op == CSRRS ? from | value : from & ~value);
    return old;
}

/* --- memory management ------------------------------------------------------------------------ */

uint64_t rv64_helper_sfence(struct cpu *cpu, uint64_t va, uint64_t asid, uint64_t desc) {
    static const enum mmu_inval_kind kinds[4] = {MMU_INVAL_ALL, MMU_INVAL_VA, MMU_INVAL_ASID, MMU_INVAL_VA_ASID};
    struct mmu_inval inval = {.kind = kinds[desc & 3], .va = va & ~PAGE_MASK, .asid = (uint32_t)asid & 0xffff};
    if (!satp_allowed(cpu))
        rv64_illegal(cpu, desc | 3);
    mmu_invalidate(cpu, &inval);
    mmu_sync(cpu);
    return 0;
}

/* --- cache blocks: caches do not show, so of the instructions that manage them the permission is all there is --- */

static bool cbo_allowed(const struct cpu *cpu, unsigned what) {
    uint64_t enable = what == RV64_CBO_INVAL ? ENVCFG_CBIE : what == RV64_CBO_ZERO ? ENVCFG_CBZE : ENVCFG_CBCFE;
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    enum rv64_privilege p = rv64_privilege(cpu);
    return (p == RV64_PRIV_M || c->menvcfg & enable) && (p != RV64_PRIV_U || c->senvcfg & enable);
}

uint64_t rv64_helper_cbo(struct cpu *cpu, uint64_t va, uint64_t what, uint64_t insn) {
    unsigned regime = rv64_data_regime(cpu);
    struct walk w;
    if (!cbo_allowed(cpu, what & 7))
        rv64_illegal(cpu, insn);
    va &= ~(uint64_t)(RV64_CBO_BYTES - 1);
    if ((what & 7) == RV64_CBO_ZERO) {
        for (unsigned i = 0; i < RV64_CBO_BYTES; i += 8)
            mem_write(cpu, va + i, 0, 3, regime, 0);
    } else {
        rv64_walk(cpu, va, MMU_READ, regime, &w);
        if (w.fault)
            rv64_mem_abort(cpu, va, MMU_WRITE, &w, 0);
    }
    return 0;
}

uint64_t rv64_helper_fence_i(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) {
    engine_code_fence(cpu);
    return 0;
}
