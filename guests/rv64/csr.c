/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* csr.c: control and status registers, and the instructions that manage memory (volume II, chapters 2 and 10). */
#include "graft/softfp.h"
#include "guests/rv64/system.h"

enum { CSRRW = 1, CSRRS, CSRRC };
#define SENVCFG_FIOM BIT(0)

static bool counter_allowed(const struct cpu *cpu, unsigned csr) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    return rv64_in_s(cpu) || c->scounteren >> (csr & 31) & 1;
}

static uint64_t sstatus_of(const struct rv64_cpu *c) {
    bool dirty = (c->sstatus & SSTATUS_FS) == SSTATUS_FS;
    return c->sstatus | SSTATUS_UXL | (dirty ? SSTATUS_SD : 0);
}

/* Is floating point off, so that its registers do not exist? */
static bool fp_off(const struct rv64_cpu *c) { return !(c->sstatus & SSTATUS_FS); }

/* False: there is no such register here. */
static bool csr_read(struct cpu *cpu, unsigned csr, uint64_t *v) {
    struct rv64_cpu *c = rv64(cpu);
    *v = 0;
    switch (csr) {
    case RV64_CSR_FFLAGS: *v = rv64_fflags(cpu); return !fp_off(c);
    case RV64_CSR_FRM: *v = c->frm; return !fp_off(c);
    case RV64_CSR_FCSR: *v = c->frm << 5 | rv64_fflags(cpu); return !fp_off(c);
    case RV64_CSR_SSTATUS: *v = sstatus_of(c); return true;
    case RV64_CSR_SIE: *v = c->sie; return true;
    case RV64_CSR_STVEC: *v = c->stvec; return true;
    case RV64_CSR_SCOUNTEREN: *v = c->scounteren; return true;
    case RV64_CSR_SENVCFG: *v = c->senvcfg; return true;
    case RV64_CSR_SSCRATCH: *v = c->sscratch; return true;
    case RV64_CSR_SEPC: *v = c->sepc; return true;
    case RV64_CSR_SCAUSE: *v = c->scause; return true;
    case RV64_CSR_STVAL: *v = c->stval; return true;
    case RV64_CSR_SIP:
        rv64_interrupts_update(cpu);
        *v = c->mip;
        return true;
    case RV64_CSR_STIMECMP: *v = c->stimecmp; return true;
    case RV64_CSR_SATP: *v = c->satp; return true;
    case RV64_CSR_TIME: *v = rv64_time(cpu); return counter_allowed(cpu, csr);
    case RV64_CSR_CYCLE:
    case RV64_CSR_INSTRET: *v = rt_ticks() - cpu->boot->tsc_base; return counter_allowed(cpu, csr);
    default: return false;
    }
}

static void write_sstatus(struct cpu *cpu, uint64_t v) {
    struct rv64_cpu *c = rv64(cpu);
    uint64_t changed = c->sstatus ^ v;
    c->sstatus = v & SSTATUS_WRITABLE;
    if (changed & SSTATUS_MXR)
        mmu_context_changed(cpu);
    rv64_set_privilege(cpu, true);
    rv64_check_interrupts(cpu);
}

/* A mode that is not there: the whole write has no effect (10.1.11). */
static void write_satp(struct cpu *cpu, uint64_t v) {
    struct rv64_cpu *c = rv64(cpu);
    unsigned mode = SATP_MODE(v);
    if (mode != SATP_BARE && (mode < SATP_SV39 || mode > SATP_MOST))
        return;
    c->satp = v;
    rv64_table_changed(cpu);
}

static void csr_write(struct cpu *cpu, unsigned csr, uint64_t v) {
    struct rv64_cpu *c = rv64(cpu);
    switch (csr) {
    case RV64_CSR_FFLAGS: rv64_fcsr_set(cpu, (uint32_t)v, c->frm); break;
    case RV64_CSR_FRM: rv64_fcsr_set(cpu, rv64_fflags(cpu), (uint32_t)v); break;
    case RV64_CSR_FCSR: rv64_fcsr_set(cpu, (uint32_t)v, (uint32_t)v >> 5); break;
    case RV64_CSR_SSTATUS: write_sstatus(cpu, v); return;
    case RV64_CSR_SIE:
        c->sie = v & SIE_WRITABLE;
        rv64_check_interrupts(cpu);
        break;
    case RV64_CSR_STVEC: c->stvec = v & ~UINT64_C(2); break;
    case RV64_CSR_SCOUNTEREN: c->scounteren = v & 7; break;
    case RV64_CSR_SENVCFG: c->senvcfg = v & SENVCFG_FIOM; break;
    case RV64_CSR_SSCRATCH: c->sscratch = v; break;
    case RV64_CSR_SEPC: c->sepc = v & ~UINT64_C(1); break;
    case RV64_CSR_SCAUSE: c->scause = v; break;
    case RV64_CSR_STVAL: c->stval = v; break;
    case RV64_CSR_SIP:
        if (v & BIT(IRQ_SOFT))
            __atomic_store_n(&c->ipi, 1, __ATOMIC_SEQ_CST);
        else
            __atomic_store_n(&c->ipi, 0, __ATOMIC_SEQ_CST);
        rv64_interrupts_update(cpu);
        rv64_check_interrupts(cpu);
        break;
    case RV64_CSR_STIMECMP:
        c->stimecmp = v;
        rv64_timer_update(cpu, false);
        rv64_check_interrupts(cpu);
        break;
    case RV64_CSR_SATP: write_satp(cpu, v); break;
    default: break;
    }
    if (csr <= RV64_CSR_FCSR)
        c->sstatus |= SSTATUS_FS;
}

uint64_t rv64_helper_csr(struct cpu *cpu, uint64_t desc, uint64_t value, uint64_t insn) {
    unsigned csr = desc & 0xfff, op = desc >> 12 & 3;
    bool writes = desc >> 14 & 1;
    uint64_t old;
    /* Bits 9..8 of the number: the lowest privilege level; bits 11..10 both set: read-only. */
    if ((csr >> 8 & 3) > (rv64_in_s(cpu) ? 1 : 0) || (writes && csr >> 10 == 3) || !csr_read(cpu, csr, &old))
        rv64_illegal(cpu, insn);
    if (writes)
        csr_write(cpu, csr, op == CSRRW ? value : op == CSRRS ? old | value : old & ~value);
    return old;
}

/* --- memory management ----------------------------------------------------------------------------- */

uint64_t rv64_helper_sfence(struct cpu *cpu, uint64_t va, uint64_t asid, uint64_t which) {
    static const enum mmu_inval_kind kinds[4] = {MMU_INVAL_ALL, MMU_INVAL_VA, MMU_INVAL_ASID, MMU_INVAL_VA_ASID};
    struct mmu_inval inval = {.kind = kinds[which & 3], .va = va & ~PAGE_MASK, .asid = (uint32_t)asid & 0xffff};
    mmu_invalidate(cpu, &inval);
    mmu_sync(cpu);
    return 0;
}

uint64_t rv64_helper_fence_i(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) {
    /* Writes of its own, and of devices, the engine notices by itself; only those of other vCPUs it does not. */
    if (cpu->boot->vcpu_count > 1)
        engine_code_flush(cpu);
    return 0;
}
