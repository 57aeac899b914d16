/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * stub.c: code out of line, behind a block's last instruction: where a failed probe, a fault or a result that has to be
 * done again goes. It calls the slow thunk; what that does says a record (slow.c), which is not among the code: there
 * it would take more room in the processor's caches than all the code around. What is particular to exits is in
 * emit_exit.c.
 */
#include "dbt/x86/backend.h"

struct stub *stub_new(struct codegen *cg, enum stub_kind kind) {
    if (cg->stubs == MAX_STUBS) {
        cg->failed = true;
        cg->stubs = 0;
    }
    static const struct stub fresh = {.flags_reg = NO_REG, .rec = {.value = NO_REG, .value2 = NO_REG, .dst = NO_REG}};
    struct stub *s = &cg->stub[cg->stubs++];
    __builtin_memcpy(s, &fresh,
                     sizeof(fresh)); /* some vector moves, where to clear it would be a loop of the processor's */
    s->rec.flags_insn = cg->flags_insn;
    s->rec.kind = (uint8_t)kind;
    s->steady = cg->steady.on;
    return s;
}

void stub_fault(struct codegen *cg, const struct stub *s) {
    struct code_out *out = cg->out;
    if (out->faults == CODE_MAX_FAULTS) {
        cg->failed = true;
        return;
    }
    out->fault[out->faults].at = asm_pos(&cg->a);
    out->fault[out->faults++].stub = (uint32_t)(s - cg->stub);
}

/* Puts the record of the call that was emitted last in front of the others. */
static void put_record(struct codegen *cg, const struct slow_record *rec) {
    struct code_out *out = cg->out;
    const uint32_t bytes = rec->hoists ? sizeof(*rec) : offsetof(struct slow_record, hoist);
    if (out->faults == CODE_MAX_FAULTS || !asm_take_end(&cg->a, bytes)) {
        cg->failed = true;
        return;
    }
    out->record_bytes += bytes;
    out->fault[out->faults++] = (struct code_fault){asm_pos(&cg->a), CODE_RECORD | out->record_bytes};
    uint8_t *to = out->records - out->record_bytes + cg->a.to_write;
    if (rec->hoists) /* some vector moves either way */
        __builtin_memcpy(to, rec, sizeof(*rec));
    else
        __builtin_memcpy(to, rec, offsetof(struct slow_record, hoist));
}

struct mmu_probe stub_probe(const struct codegen *cg, const struct stub *s) {
    unsigned size = MMU_DESC_SIZE(s->rec.desc), regime = MMU_DESC_REGIME(s->rec.desc);
    return (struct mmu_probe){
        .base = s->rec.base,
        .tmp0 = s->tmp0,
        .tmp1 = s->tmp1,
        .disp = s->rec.disp,
        .size = (uint8_t)size,
        .low = s->rec.disp,
        .high = s->rec.disp + (1 << size),
        .write = s->rec.kind != STUB_LD,
        .regime = (uint8_t)regime,
        .current = regime == (cg->b->mode & 3),
        .align = s->align,
        .index = MMU_NO_INDEX,
    };
}

struct mmu_probe stub_group_probe(const struct codegen *cg, const struct stub *s) {
    struct mmu_probe p = stub_probe(cg, s);
    p.low = s->low;
    p.high = s->high;
    p.write = s->write;
    p.slot = s->slot;
    return p;
}

_Static_assert(offsetof(struct slow_record, hoist) == CODE_RECORD_BYTES, "the least");
/* A call of the slow thunk, which does what the record says (slow.c). */
static void emit_slow(struct codegen *cg, struct stub *s) {
    asm_call(&cg->a, cg->slow[s->vector]);
    int32_t here = (int32_t)asm_pos(&cg->a);
    struct slow_record *rec = &s->rec;
    rec->site = s->site ? (int32_t)s->site - here : 0;
    rec->back = cg->loop.on || s->followed ? 0 : (int32_t)s->back - here;
    rec->flags |= s->placed ? SLOW_LOOP : 0;
    loop_record(cg, rec);
    put_record(cg, rec);
}
/* Where a failed probe goes first, if the strategy knows another way; a fault goes to the slow path at once. */
static void emit_retry(struct codegen *cg, const struct stub *s) {
    struct asm_label access = {.at = s->access + 1};
    struct mmu_probe p = stub_group_probe(cg, s);
    p.site = s->site;
    p.loads = s->rec.kind == STUB_LD;
    cg->mmu->emit_retry(&cg->a, cg->mmu_thunk, &p, &access);
}
/* Looks up what p is for; at miss if that is in vain. */
static void find(struct codegen *cg, struct mmu_probe p, struct asm_label *miss) {
    p.slow = miss;
    cg->mmu->emit_find(&cg->a, cg->mmu_thunk, &p);
}
static bool may_cross(const struct stub *s) { return !s->align && MMU_DESC_SIZE(s->rec.desc); }
/* A store across two pages takes more code than a load, which only hot code is worth. */
static bool finishes(const struct stub *s) { return s->rec.kind == STUB_ST && s->hot && may_cross(s); }
static struct mmu_probe alone_probe(const struct codegen *cg, const struct stub *s) {
    struct mmu_probe p = stub_probe(cg, s);
    p.alone = (s->rec.kind == STUB_LD && may_cross(s)) || finishes(s);
    return p;
}
/* The same instructions once more: they do not depend on where they are. */
static void copy_code(struct codegen *cg, uint32_t from, uint32_t bytes) {
    if (cg->a.overflow)
        return;
    asm_room(&cg->a);
    asm_data(&cg->a, cg->a.start + from, bytes);
}
/* Does the access out of line, with the flags as find() left them. */
static void access_here(struct codegen *cg, const struct stub *s) {
    copy_code(cg, s->access, s->back - s->access);
    if (finishes(s))
        cg->mmu->emit_finish(&cg->a, cg->mmu_thunk);
}
/* The same, and the others of its group are to look themselves up. */
static void access_apart(struct codegen *cg, struct stub *s) {
    struct asm_label back = {.at = s->back + 1};
    access_here(cg, s);
    asm_mov_ri32(&cg->a, s->tmp0, MMU_NO_ADDEND);
    asm_jmp(&cg->a, s->followed ? &s[1].slow : &back);
}
static void emit_find(struct codegen *cg, struct stub *s) {
    struct asm_label access = {.at = s->access + 1}, back = {.at = s->back + 1}, apart = {0}, slow = {0};
    if (s->shared) {
        find(cg, stub_group_probe(cg, s), &apart);
        asm_jmp(&cg->a, &access);
        asm_bind(&cg->a, &apart);
    }
    struct mmu_probe alone = alone_probe(cg, s);
    alone.slot = s->slot;
    find(cg, alone, &slow);
    if (s->shared) {
        access_apart(cg, s);
    } else if (finishes(s)) {
        access_here(cg, s);
        asm_jmp(&cg->a, &back);
    } else {
        asm_jmp(&cg->a, &access);
    }
    asm_bind(&cg->a, &slow);
}
/* The range that an earlier probe was for was not in one page, or a slow access came in between. */
static void emit_hoisted(struct codegen *cg, struct stub *s) {
    struct asm_label slow = {0};
    if (s->gap)
        copy_code(cg, s->access - s->gap, s->gap);
    s->tmp1 = ASM_RAX;
    while (s->tmp1 == s->rec.base || s->tmp1 == s->tmp0)
        s->tmp1++; /* RAX, RCX and RDX are temporaries */
    asm_push(&cg->a, s->tmp1);
    find(cg, alone_probe(cg, s), &slow);
    asm_pop(&cg->a, s->tmp1);
    access_apart(cg, s);
    asm_bind(&cg->a, &slow);
    asm_pop(&cg->a, s->tmp1);
}
/* softfp for each operation in turn: the guest state is exact then. The last one goes on at `back`, if that is not
 * 0. */
static void emit_fp_calls(struct codegen *cg, const struct stub *s, uint32_t back) {
    for (unsigned i = 0; i < s->calls; i++) {
        struct slow_record rec = cg->fp_call[s->call + i];
        asm_call(&cg->a, cg->slow[true]);
        bool last = back && i + 1u == s->calls;
        rec.back = last ? (int32_t)(back - asm_pos(&cg->a)) : 0;
        loop_record(cg, &rec);
        put_record(cg, &rec);
    }
}
bool stub_emit(struct codegen *cg, struct stub *s) {
    if (s->sure)
        return true;
    asm_bind(&cg->a, &s->slow);
    if (s->retry)
        emit_retry(cg, s);
    if (s->find)
        emit_find(cg, s);
    if (s->hoisted)
        emit_hoisted(cg, s);
    s->start = asm_pos(&cg->a);
    if (s->rec.kind > STUB_FP_GROUP)
        return false;
    if (s->steady && cg->steady.spans)
        span_leave(cg);
    loop_leave(cg);
    emit_fp_calls(cg, s, s->rec.kind == STUB_FP_GROUP && !cg->loop.on ? s->back : 0);
    if (s->rec.kind <= STUB_FP)
        emit_slow(cg, s);
    if (cg->loop.on) {
        struct asm_label back = {.at = s->back + 1};
        loop_return(cg);
        if (s->steady)
            steady_return(cg);
        if (!s->followed)
            asm_jmp(&cg->a, &back);
    }
    return true;
}
