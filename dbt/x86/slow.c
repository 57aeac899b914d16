/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * slow.c: what stubs do: the slow path of a memory access, and softfp in place of
 * the host's result. A stub is a call of the slow thunk, which saves all registers;
 * its record says which ones matter.
 */
#include "dbt/x86/backend.h"
#include "graft/rt.h"
#include "graft/softfp.h"

struct slow {
    struct codegen *cg;
    struct cpu *cpu;
    struct frame *f;
    struct slow_record r;
    const uint8_t *at; /* where the call returns to */
};

/* Where a register's content is now: pins are in the guest's state. */
static void *place(const struct slow *s, unsigned reg) {
    if (reg >= NREGS)
        return loop_place(s->cpu, reg);
    if (s->cg->pin_offset[reg] >= 0)
        return (char *)s->cpu + s->cg->pin_offset[reg];
    return reg < 16 ? (void *)&s->f->temp[reg] : (void *)&s->f->temp_xmm[temp_index(reg)];
}
static bool is_vector(unsigned reg) { return reg >= NREGS ? loop_is_vector(reg) : reg >= 16; }
static uint64_t get(const struct slow *s, unsigned reg) { return *(const uint64_t *)place(s, reg); }
static void set(const struct slow *s, unsigned reg, uint64_t value) { *(uint64_t *)place(s, reg) = value; }

static void load(const struct slow *s, struct mmu_slow *access) {
    const struct slow_record *r = &s->r;
    unsigned size = MMU_DESC_SIZE(r->desc);
    uint64_t v = mmu_slow_ld(s->cpu, access);
    if (r->dst != NO_REG && is_vector(r->dst)) {
        *(v128 *)place(s, r->dst) = size == 4 ? s->cpu->vscratch[0] : (v128){.u64 = {v, 0}};
        return;
    }
    if (r->flags & SLOW_SEXT && size < 3) {
        unsigned shift = 64 - (8u << size);
        v = (uint64_t)((int64_t)(v << shift) >> shift);
    }
    set(s, r->dst, r->flags & SLOW_32 ? (uint32_t)v : v);
}
static void store(const struct slow *s, struct mmu_slow *access) {
    const struct slow_record *r = &s->r;
    uint64_t value = (uint64_t)(int64_t)r->imm;
    if (r->value != NO_REG) {
        if (MMU_DESC_SIZE(r->desc) == 4)
            s->cpu->vscratch[0] = *(const v128 *)place(s, r->value);
        value = get(s, r->value);
    }
    mmu_slow_st(s->cpu, access, value);
}
/* A compare and swap with what LDX read decides. */
static void store_exclusive(const struct slow *s, struct mmu_slow *access) {
    uint64_t mask = MASK(8u << MMU_DESC_SIZE(s->r.desc)), expected = s->cpu->excl_val[0];
    uint64_t old = mmu_slow_cas(s->cpu, access, expected, get(s, s->r.value2));
    set(s, s->r.dst, (old & mask) != (expected & mask));
    s->cpu->excl_addr = ~UINT64_C(0);
}
static void atomic(const struct slow *s, struct mmu_slow *access) {
    const struct slow_record *r = &s->r;
    uint64_t old = r->kind == STUB_ATOMIC ? mmu_slow_atomic(s->cpu, access, get(s, r->value))
                                          : mmu_slow_cas(s->cpu, access, get(s, r->value), get(s, r->value2));
    if (r->dst != NO_REG)
        set(s, r->dst, old & MASK(8u << MMU_DESC_SIZE(r->desc)));
}
static void memory(const struct slow *s) {
    const struct slow_record *r = &s->r;
    struct mmu_slow access = {.va = get(s, r->base) + (uint64_t)(int64_t)r->disp,
                              .desc = r->desc,
                              .site = r->site ? (void *)(uintptr_t)(s->at + r->site) : NULL};
    memcpy((char *)s->cpu + s->cg->guest->pc_offset, &r->pc, sizeof(r->pc));
    if (r->flags_insn)
        s->cpu->flags_insn = r->flags_insn;
    switch (r->kind) {
    case STUB_LD: load(s, &access); break;
    case STUB_ST: store(s, &access); break;
    case STUB_STX: store_exclusive(s, &access); break;
    default: atomic(s, &access); break;
    }
    if (r->flags & SLOW_LOOP)
        __atomic_fetch_or((uint32_t *)&s->cpu->abi.pending, ABI_PEND_LOOP, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < MAX_PLACES && s->cg->mmu->place_index; i++) /* outside a loop they mean nothing */
        s->f->index[i] = s->cg->mmu->place_index(s->cpu, s->f->place[i]);
    for (unsigned i = 0; i < r->hoists; i++) { /* the access may have changed what is mapped where */
        if (r->hoist[i].base == NO_REG) {
            set(s, r->hoist[i].index, MMU_NO_ADDEND);
            continue;
        }
        uint64_t base = get(s, r->hoist[i].base);
        set(s, r->hoist[i].index,
            s->cg->mmu->nearby ? s->cg->mmu->nearby(s->cpu, &access, base, r->hoist[i].regime)
                               : (UINT64_C(1) << 62) - base); /* not canonical: faults */
    }
}

static void floating(const struct slow *s) {
    const struct slow_record *r = &s->r;
    const v128 *op[3] = {NULL, NULL, NULL};
    const uint8_t reg[3] = {r->base, r->value, r->value2};
    const uintptr_t at = (uintptr_t)slow_run + r->pc; /* slow_function() */
    fp_fn *fn = (fp_fn *)at;
    v128 result;
    if (!is_vector(r->base)) {
        void (*from)(struct cpu *, v128 *, uint64_t, uint32_t);
        from = (void (*)(struct cpu *, v128 *, uint64_t, uint32_t))at;
        from(s->cpu, &result, get(s, r->base), r->desc);
    } else if (!is_vector(r->dst)) {
        uint64_t (*to)(struct cpu *, const v128 *, uint32_t) = (uint64_t (*)(struct cpu *, const v128 *, uint32_t))at;
        uint64_t v = to(s->cpu, place(s, r->base), r->desc);
        set(s, r->dst, r->flags & SLOW_32 ? (uint32_t)v : v);
        return;
    } else {
        for (unsigned k = 0; k < 3; k++)
            op[k] = reg[k] == NO_REG ? &s->cpu->vscratch[0] : place(s, reg[k]);
        fn(s->cpu, &result, op[0], op[1], op[2], r->desc);
    }
    *(v128 *)place(s, r->dst) = result;
}

void slow_run(struct codegen *cg, struct cpu *cpu, struct frame *f) {
    struct slow s = {.cg = cg, .cpu = cpu, .f = f, .at = f->at};
    const struct slow_record *r = engine_record(cpu, s.at);
    if (UNLIKELY(!r)) /* what has less privilege than the engine may have been led astray */
        rt_panic(cpu, "translated code asked for what it may not have: no record for %llx",
                 (unsigned long long)(uintptr_t)s.at);
    memcpy(&s.r, r, r->hoists ? sizeof(*r) : offsetof(struct slow_record, hoist));
    if (s.r.kind == STUB_FP)
        floating(&s);
    else
        memory(&s);
    f->at = s.at + s.r.back;
}
