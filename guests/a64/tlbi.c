/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* tlbi.c: system instructions: TLB and cache maintenance, address translation, and the barrier that completes them. */
#include "system.h"

#define CODE_LINE 64 /* CTR_EL0: bytes in a cache line, of instructions or data */
#define PAR_RES1 BIT(11)
#define PAR_NS BIT(9)

uint64_t a64_op_nothing(struct cpu *cpu, uint64_t value, uint32_t arg) { return 0; }

/* --- TLBI ------------------------------------------------------------------------------------- */

uint64_t a64_op_tlbi(struct cpu *cpu, uint64_t value, uint32_t arg) {
    bool as16 = a64(cpu)->sys.tcr_el1 >> 36 & 1;
    struct engine_request req = {.kind = ENGINE_REQ_INVAL};
    struct mmu_inval *inval = &req.inval;
    inval->kind = (enum mmu_inval_kind)(arg & ~OP_SHARED);
    inval->va = (uint64_t)((int64_t)(value << 20) >> 20) << 12; /* Xt[43:0] = VA[55:12]; the tag follows bit 55 */
    inval->asid = (uint32_t)(value >> 48) & (as16 ? 0xffff : 0xff);
    mmu_invalidate(cpu, inval);
    if (arg & OP_SHARED)
        engine_broadcast(cpu, &req);
    cpu->tlbi_pending |= 1;
    return 0;
}

uint64_t a64_helper_barrier(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) {
    cpu->tlbi_pending = 0;
    mmu_sync(cpu);
    engine_broadcast_wait(cpu);
    return 0;
}

/* --- caches ----------------------------------------------------------------------------------- */

/* Where a maintenance instruction works: at EL1 PAN does not apply to it. Faults are reported with CM and WnR set. */
static struct gpa maintained(struct cpu *cpu, uint64_t va, enum mmu_access access) {
    unsigned regime = a64(cpu)->el == 0 ? A64_EL0 : A64_EL1;
    struct gpa pa;
    struct walk w = {.fault = 0};
    if (mem_translate(cpu, va, access, regime, &pa))
        return pa;
    a64_walk(cpu, va, access, regime, &w);
    a64_raise_data_abort(cpu, va, (uint32_t)(ISS_CM | ISS_WNR) | A64_WALK_FSC(w.fault));
}

/* Data caches are invisible: only the faults remain. */
uint64_t a64_op_dc_va(struct cpu *cpu, uint64_t value, uint32_t access) {
    maintained(cpu, value, (enum mmu_access)access);
    if (UNLIKELY(cpu->watch & CPU_WATCH_GUEST) && access == MMU_WRITE)
        a64_watch_maintenance(cpu, value, CODE_LINE, cpu->regime);
    return 0;
}

/* DC ZVA, when the translator left it to us: an alignment fault on Device memory. With the MMU off RAM is Device
 * memory, too, by the book, but zeroing it works here as it does on QEMU's virt. */
uint64_t a64_op_dc_zva(struct cpu *cpu, uint64_t value, uint32_t arg) {
    struct a64_cpu *c = a64(cpu);
    unsigned regime = c->el == 0 ? A64_EL0 : c->pan ? A64_EL1_PAN : A64_EL1;
    struct walk w;
    a64_walk(cpu, value, MMU_WRITE, regime, &w);
    if (w.fault)
        a64_raise_data_abort(cpu, value, (uint32_t)ISS_WNR | A64_WALK_FSC(w.fault));
    if (w.device)
        a64_raise_data_abort(cpu, value, (uint32_t)ISS_WNR | FSC_ALIGNMENT);
    if (UNLIKELY(cpu->watch & CPU_WATCH_GUEST)) /* before any of it is zero */
        a64_watch(cpu, value & ~UINT64_C(63), 64, MMU_WRITE, regime);
    for (unsigned i = 0; i < 64; i += 8)
        mem_write(cpu, (value & ~UINT64_C(63)) + i, 0, 3, regime, 0);
    return 0;
}

uint64_t a64_op_ic_va(struct cpu *cpu, uint64_t value, uint32_t arg) {
    struct gpa pa = maintained(cpu, value, MMU_READ), page = GPA(ALIGN_DOWN(pa.v, PAGE_SIZE));
    if (!ram_ptr(cpu, page, PAGE_SIZE) || !engine_code_has(cpu, page))
        return 0;
    struct engine_request req = {.kind = ENGINE_REQ_CODE, .pa = page};
    engine_code_written(cpu, GPA(ALIGN_DOWN(pa.v, CODE_LINE)), CODE_LINE);
    engine_broadcast(cpu, &req); /* says in tlbi_pending if a barrier has to wait for anyone */
    return 1;
}

uint64_t a64_op_ic_all(struct cpu *cpu, uint64_t value, uint32_t arg) {
    struct engine_request req = {.kind = ENGINE_REQ_CODE_ALL};
    /* Writes of its own, and of devices, the engine notices by itself; only those of other vCPUs it does not. */
    if (cpu->boot->vcpu_count > 1)
        engine_code_flush(cpu);
    if (arg & OP_SHARED)
        engine_broadcast(cpu, &req);
    return 1;
}

/* --- address translation ---------------------------------------------------------------------- */

uint64_t a64_op_at(struct cpu *cpu, uint64_t value, uint32_t arg) {
    struct a64_cpu *c = a64(cpu);
    struct walk w;
    struct a64_attrs attrs;
    a64_walk_attrs(cpu, value, (enum mmu_access)(arg & 15), arg >> 4, &w, &attrs);
    uint32_t fsc = A64_WALK_FSC(w.fault);
    if (w.fault && fsc >= FSC_EXTERNAL_WALK && fsc <= FSC_EXTERNAL_WALK + 3u)
        a64_raise_data_abort(cpu, value, (uint32_t)(ISS_CM | ISS_WNR) | fsc);
    if (w.fault) {
        c->sys.par_el1 = PAR_RES1 | fsc << 1 | 1;
        return 0;
    }
    /* Device and Non-cacheable memory is Outer Shareable whatever the descriptor says. */
    bool uncached = (attrs.mair & 0xf0) == 0 || attrs.mair == 0x44;
    uint64_t sh = uncached ? 2 : attrs.shareability;
    c->sys.par_el1 = (uint64_t)attrs.mair << 56 | (w.pa.v & ~PAGE_MASK) | PAR_RES1 | PAR_NS | sh << 7;
    return 0;
}
