/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * debug.c: what a debugger of the user's asks of a vCPU. The guest sees nothing of it.
 *
 * A vCPU that is held is in the dispatcher, between two instructions, and in a call to the monitor, which answers with
 * an order. Blocks end where there is a breakpoint, so that the dispatcher comes by; it never goes on from there while
 * the breakpoint is there. With watchpoints all accesses are calls, which show what they are about to do. Nothing of
 * this costs anything while nothing is set.
 */
#include "dbt/engine.h"
#include "graft/softfp.h"

/* The monitor writes it while all vCPUs are held. */
static void read_wishes(const struct cpu *cpu, struct abi_debug *to) {
    memcpy(to, &cpu->shared->debug, sizeof(*to));
    if (to->breakpoints > ABI_BREAKPOINTS)
        to->breakpoints = ABI_BREAKPOINTS;
    if (to->watchpoints > ABI_WATCHPOINTS)
        to->watchpoints = ABI_WATCHPOINTS;
}

/* What blocks depend on, but for what is in their mode, is where they end. Nothing of it matters to a step, so nothing
 * is forgotten for it: debuggers take all breakpoints away to step, and put them back. */
static void follow(struct cpu *cpu, bool step) {
    struct debug *d = &engine_of(cpu)->debug;
    read_wishes(cpu, &d->wanted);
    uint32_t watch = d->wanted.watchpoints ? CPU_WATCH_DEBUGGER : 0;
    cpu->watch = (cpu->watch & ~(uint32_t)CPU_WATCH_DEBUGGER) | watch;
    d->any = step || d->wanted.breakpoints || watch;
    if (step)
        return;
    if (d->ends != d->wanted.breakpoints || memcmp(d->end, d->wanted.breakpoint, d->ends * sizeof(d->end[0])) != 0) {
        d->ends = d->wanted.breakpoints;
        memcpy(d->end, d->wanted.breakpoint, d->ends * sizeof(d->end[0]));
        engine_code_flush(cpu);
    }
    __atomic_fetch_or((uint32_t *)&cpu->abi.pending, d->kept, __ATOMIC_SEQ_CST);
    d->kept = 0;
}

uint32_t debug_mode(const struct cpu *cpu) {
    return (engine_of(cpu)->debug.step ? GUEST_MODE_ONCE : 0) |
           (cpu->watch & CPU_WATCH_DEBUGGER ? GUEST_MODE_SHOWN : 0);
}

static bool is_off(const struct engine *e) { return e->power && engine_power_state(e->power) != ENGINE_POWER_ON; }

static bool translate(struct cpu *cpu, uint64_t va, uint64_t *pa) {
    struct walk w;
    memset(&w, 0, sizeof(w));
    /* As the guest's kernel would see it, and whatever it may do there. */
    cpu->guest->walk(cpu, va, MMU_READ, cpu->regime ? cpu->regime : 1, &w);
    *pa = w.pa.v;
    return w.page_shift != 0;
}

/* Orders that have an answer: *ok says whether they could be done. False: it is none of those. */
static bool answer(struct cpu *cpu, uint64_t order, uint64_t what, v128 *value, bool *ok) {
    const struct guest_debug *g = cpu->guest->debug;
    bool reg = g && what < g->reg_count;
    *ok = reg;
    switch (order) {
    case ABI_ORDER_READ_REGISTER:
        memset(value, 0, sizeof(*value));
        if (reg)
            g->read(cpu, (unsigned)what, value);
        return true;
    case ABI_ORDER_WRITE_REGISTER: *ok = reg && g->write(cpu, (unsigned)what, value); return true;
    case ABI_ORDER_TRANSLATE: *ok = translate(cpu, what, &value->u64[0]); return true;
    default: return false;
    }
}

static bool breaks_at(const struct debug *d, uint64_t pc) {
    for (unsigned i = 0; i < d->wanted.breakpoints; i++)
        if (d->wanted.breakpoint[i] == pc)
            return true;
    return false;
}

/* What has come to pass here, whatever else the monitor may want. */
static enum abi_held held_for(const struct cpu *cpu) {
    const struct debug *d = &engine_of(cpu)->debug;
    if (d->hit != ABI_HELD_ASKED)
        return d->hit;
    if (d->step == DEBUG_STEP_DONE)
        return ABI_HELD_STEPPED;
    return d->step == DEBUG_NO_STEP && breaks_at(d, guest_pc(cpu)) ? ABI_HELD_BREAKPOINT : ABI_HELD_ASKED;
}

/* The monitor has written another state over the guest's. */
static void follow_state(struct cpu *cpu) {
    fp_set_rounding(cpu);
    cache_forget_returns(cpu);
    mmu_invalidate(cpu, &(struct mmu_inval){.kind = MMU_INVAL_ALL});
    mmu_sync(cpu);
    cpu->tlbi_pending = 0;
    cpu->guest->changed(cpu);
    mmu_context_changed(cpu);
}

void debug_hold(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    enum abi_held why = held_for(cpu);
    v128 value = {.u64 = {e->debug.hit_va, e->debug.hit_number}};
    bool ok = true;
    e->debug.step = DEBUG_NO_STEP;
    e->debug.hit = ABI_HELD_ASKED;
    for (;;) {
        cpu->abi.arg[0] = why;
        cpu->abi.arg[1] = value.u64[0];
        cpu->abi.arg[2] = value.u64[1];
        cpu->abi.arg[3] = ok;
        fp_collect(cpu);
        cpu->guest->collect(cpu);
        codegen_store_kept(e->cg, cpu);
        engine_call(cpu, ABI_CALL_PAUSED);
        fp_collect(cpu); /* nothing of what the monitor has computed */
        uint64_t order = cpu->abi.ret[1];
        bool changed = cpu->abi.ret[0];
        value = (v128){.u64 = {cpu->abi.arg[4], cpu->abi.arg[5]}};
        bool done = answer(cpu, order, cpu->abi.arg[3], &value, &ok);
        codegen_load_kept(e->cg, cpu); /* either may have written to them */
        if (done) {
            why = ABI_HELD_DONE;
            continue;
        }
        if (changed)
            follow_state(cpu);
        bool step = order == ABI_ORDER_STEP && !is_off(e);
        e->debug.step = step ? DEBUG_STEP_WANTED : DEBUG_NO_STEP;
        follow(cpu, step);
        return;
    }
}

void debug_look(struct cpu *cpu) {
    while (held_for(cpu) != ABI_HELD_ASKED)
        debug_hold(cpu);
}

void debug_keep(struct engine *e, uint32_t bits) { e->debug.kept |= bits & (ABI_PEND_IRQ | ABI_PEND_TIMER); }

unsigned debug_end(const struct engine *e, uint64_t pc, unsigned bytes) {
    for (unsigned i = 0; i < e->debug.ends; i++) {
        uint64_t before = e->debug.end[i] - pc;
        if (before && before < bytes)
            bytes = (unsigned)before;
    }
    return bytes;
}

void debug_watch(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access) {
    struct debug *d = &engine_of(cpu)->debug;
    for (unsigned i = 0; i < d->wanted.watchpoints; i++) {
        const struct abi_watch *w = &d->wanted.watchpoint[i];
        if (!(access == MMU_WRITE ? w->write : w->read) || (w->va - va >= bytes && va - w->va >= w->bytes))
            continue;
        d->hit = access == MMU_WRITE ? ABI_HELD_WRITE : ABI_HELD_READ;
        d->hit_va = w->va - va < bytes ? w->va : va;
        d->hit_number = i;
        engine_unwind(cpu);
    }
}
