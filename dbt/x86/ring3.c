/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ring3.c: what translated code in ring 3 asks the engine in ring 0 for (rt.h). Whoever runs there may have been led
 * astray: it gets no more than code of its own regime could ask for anyway. Numbers of helpers, and of records
 * (slow.c), are good for the regimes whose code has them. Everything else that it hands over is a guest's value.
 */
#include "dbt/x86/backend.h"
#include "graft/rt.h"
#include "graft/softfp.h"

static unsigned slot_of(const void *fn) {
    return (unsigned)((uintptr_t)fn * UINT64_C(0x9e3779b97f4a7c15) >> 53) % HELPERS;
}

unsigned ring3_helper(struct codegen *cg, const void *fn, bool vector) {
    unsigned n = slot_of(fn);
    for (unsigned i = 0; cg->helper[n].fn != fn; i++, n = (n + 1) % HELPERS) {
        if (i == HELPERS)
            rt_panic(cg->cpu, "more than %u helpers", HELPERS);
        if (!cg->helper[n].fn)
            cg->helper[n] =
                (struct helper){.fn = fn, .vector = vector, .scratch = {cg->scratch_arg[0], cg->scratch_arg[1]}};
        if (cg->helper[n].fn == fn)
            break;
    }
    cg->helper[n].regimes |= (uint8_t)(1u << (cg->b->mode & (REGIMES - 1)));
    return n;
}

static _Noreturn void refuse(struct cpu *cpu, uint64_t what, uint64_t which) {
    rt_panic(cpu, "translated code asked for what it may not have: request %llu, %llx", (unsigned long long)what,
             (unsigned long long)which);
}

static const struct helper *helper_for(const struct codegen *cg, struct cpu *cpu, uint64_t n, bool vector) {
    const struct helper *h = n < HELPERS ? &cg->helper[n] : NULL;
    if (!h || !h->fn || h->vector != vector || !(h->regimes >> cpu->regime & 1))
        refuse(cpu, vector ? RT_SYS_CALLV : RT_SYS_CALL, n);
    return h;
}

static uint64_t call(struct cpu *cpu, const struct helper *h, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t (*fn)(struct cpu *, uint64_t, uint64_t, uint64_t);
    memcpy(&fn, &h->fn, sizeof(fn));
    if (h->scratch[0])
        a = (uintptr_t)&cpu->vscratch[h->scratch[0] - 1];
    if (h->scratch[1])
        b = (uintptr_t)&cpu->vscratch[h->scratch[1] - 1];
    return fn(cpu, a, b, c);
}

static void call_vector(struct cpu *cpu, const struct helper *h, uint32_t aux) {
    fp_fn *fn;
    v128 *v = cpu->vscratch;
    memcpy(&fn, &h->fn, sizeof(fn));
    fn(cpu, &v[0], &v[1], &v[2], &v[3], aux);
}

static uint64_t pc_of(const struct codegen *cg, const struct cpu *cpu) {
    uint64_t pc;
    memcpy(&pc, (const char *)cpu + cg->guest->pc_offset, sizeof(pc));
    return pc;
}

uint64_t codegen_serve(struct cpu *cpu, uint64_t what, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    struct codegen *cg = cpu->codegen;
    switch (what) {
    case RT_SYS_LOOKUP: return (uintptr_t)engine_lookup(cpu, pc_of(cg, cpu));
    case RT_SYS_JUMP: return (uintptr_t)engine_jump(cpu, cpu->exit_site);
    case RT_SYS_CALL: return call(cpu, helper_for(cg, cpu, a, false), b, c, d);
    case RT_SYS_CALLV: call_vector(cpu, helper_for(cg, cpu, a, true), (uint32_t)b); return 0;
    case RT_SYS_SLOW: slow_run(cg, cpu, rt_frame(cpu, sizeof(struct frame))); return 0;
    default: refuse(cpu, what, a);
    }
}
