/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* engine.c: the life of a vCPU: start-up, the dispatcher, and the services that guests and translated code call. */
#include "dbt/engine.h"
#include "dbt/mmu/mmu_int.h"

/* --- memory ----------------------------------------------------------------------------------- */
void *heap_take(struct heap *h, size_t bytes) {
    bytes = ALIGN_UP(bytes, 64);
    if (bytes > heap_left(h))
        return NULL;
    void *p = h->base + h->used;
    h->used += bytes;
    return p;
}

void *heap_get(struct heap *h, unsigned shift) {
    void *p = h->free[shift];
    if (p) {
        memcpy(&h->free[shift], p, sizeof(void *));
        return p;
    }
    return heap_take(h, (size_t)1 << shift);
}

void heap_put(struct heap *h, void *p, unsigned shift) {
    memcpy(p, &h->free[shift], sizeof(void *));
    h->free[shift] = p;
}

void *engine_alloc_shared(struct cpu *cpu, size_t bytes) { return heap_take(&engine_of(cpu)->shared->heap, bytes); }
void **engine_guest_shared(struct cpu *cpu) { return &engine_of(cpu)->shared->guest; }

/* --- start-up --------------------------------------------------------------------------------- */
static struct cpu *cpu_at(const struct abi_boot *boot, unsigned index) {
    return (struct cpu *)(uintptr_t)boot->vcpu_va[index];
}

/* vCPU 0 sets up what all share before any other looks at it. */
static void shared_init(struct cpu *cpu, const struct abi_boot *boot) {
    struct engine_shared *s = (struct engine_shared *)(uintptr_t)boot->heap_va;
    s->heap.base = (uint8_t *)s;
    s->heap.size = boot->heap_size;
    s->heap.used = ALIGN_UP(sizeof(*s), 64);
    if (!cpu->shared->code_pages_va) {
        void *bits = heap_take(&s->heap, boot->ram_size >> PAGE_SHIFT);
        if (!bits)
            rt_panic(cpu, "the shared heap (%llu bytes) is too small", (unsigned long long)boot->heap_size);
        cpu->shared->code_pages_va = (uintptr_t)bits;
    }
    /* The others count as quiescent until their own engine_main() has got somewhere. */
    for (unsigned i = 0; i < boot->vcpu_count; i++)
        cpu_at(boot, i)->quiescent = 1;
}

static void engine_init(const struct abi_boot *boot, struct cpu *cpu, unsigned index) {
    struct heap heap = {.base = (uint8_t *)(uintptr_t)boot->vcpu_heap_va[index], .size = boot->vcpu_heap_size};
    struct engine *e = heap_take(&heap, sizeof(*e));
    cpu->index = index;
    cpu->boot = boot;
    cpu->shared = (struct abi_shared *)(uintptr_t)boot->shared_va;
    if (boot->guest >= guest_count)
        rt_panic(cpu, "there is no guest %u", boot->guest);
    cpu->guest = guest_table[boot->guest];
    cpu->self = cpu;
    cpu->view_disp = view_disp(cpu);
    cpu->code_to_write = boot->code_to_write[index];
    cpu->excl_addr = ~UINT64_C(0);
    cpu->abi.timer_deadline = ~UINT64_C(0);
    if (!e)
        rt_panic(cpu, "the heap of vCPU %u is too small", index);
    cpu->engine = e;
    e->heap = heap;
    e->cpu = cpu;
    e->guest = cpu->guest;
    e->shared = (struct engine_shared *)(uintptr_t)boot->heap_va;
    e->ops = mmu_strategies[boot->mmu];
    e->started = cpu->clock = rt_ticks();
    e->mode = ~0u;
    if (e->ops->needs_paging && !rt_has_paging())
        rt_panic(cpu, "strategy %s needs host page tables", e->ops->name);
    if (index == 0)
        shared_init(cpu, boot);
    else
        for (unsigned turn = 0; !e->shared->ready; turn++)
            rt_yield(cpu, turn);
    e->code_bits = (uint8_t *)(uintptr_t)cpu->shared->code_pages_va;
    e->dma_tail = cpu->shared->dma_head;
    e->rom_changes = cpu->shared->rom_changes;
    e->ir = heap_take(&e->heap, sizeof(*e->ir));
    e->out = heap_take(&e->heap, sizeof(*e->out));
    e->cg = heap_take(&e->heap, codegen_size());
    if (!e->ir || !e->out || !e->cg)
        rt_panic(cpu, "the heap of vCPU %u is too small", index);
    cache_init(cpu);
    hot_init(cpu);
    mmu_init(cpu);
    reuse_init(cpu);
    cpu->guest->init(cpu);
    mmu_context_changed(cpu);
    if (index == 0) {
        cpu->shared->guest_va = (uintptr_t)e->shared->guest;
        e->shared->ready = 1;
    }
}

/* --- the dispatcher --------------------------------------------------------------------------- */
static void serve_dma(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    struct abi_shared *s = cpu->shared;
    uint32_t head = s->dma_head, tail = e->dma_tail;
    e->dma_tail = head;
    for (uint32_t i = tail; i != head && head - tail < ABI_DMA_ENTRIES; i++)
        engine_code_written(cpu, GPA(ALIGN_DOWN(s->dma_page[i % ABI_DMA_ENTRIES], PAGE_SIZE)), PAGE_SIZE);
    /* The monitor may have written over entries that were not read yet; it fills one before it counts it. */
    if (s->dma_head - tail >= ABI_DMA_ENTRIES)
        engine_code_flush(cpu);
}

void engine_follow_rom(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    uint32_t now = cpu->shared->rom_changes, own = cpu->tlbi_pending;
    if (LIKELY(e->rom_changes == now))
        return;
    e->rom_changes = now;
    mmu_invalidate(cpu, &(struct mmu_inval){.kind = MMU_INVAL_ALL});
    mmu_sync(cpu);
    cpu->tlbi_pending = own; /* what the guest itself began still waits for its barrier */
}

static void serve_pending(struct cpu *cpu) {
    uint32_t bits = __atomic_exchange_n((uint32_t *)&cpu->abi.pending, 0, __ATOMIC_SEQ_CST);
    if (bits & ABI_PEND_STOP)
        engine_end(cpu, ABI_CALL_STOPPED);
    if (bits & ABI_PEND_REQ)
        engine_serve_requests(cpu);
    if (bits & ABI_PEND_SAMPLE)
        hot_sample(cpu);
    if (bits & ABI_PEND_DMA)
        serve_dma(cpu);
    if (bits & ABI_PEND_ROM)
        engine_follow_rom(cpu);
    if (bits & ABI_PEND_PAUSE)
        debug_hold(cpu);
    if (UNLIKELY(engine_of(cpu)->debug.step))
        debug_keep(engine_of(cpu), bits);
    else
        cpu->guest->service(cpu, bits);
}

static struct block *translated(struct cpu *cpu, uint64_t pc, uint64_t pa, const void *words) {
    struct engine *e = engine_of(cpu);
    struct block *b = cache_find(e, pa, pc, e->mode);
    if (LIKELY(b)) {
        STAT(cpu, lookups_hash)++;
        return b;
    }
    b = translate_block(cpu, pc, pa, words);
    if (!b) {
        cache_flush(e);
        STAT(cpu, code_flushes_full)++;
        cpu->exit_site = 0;
        b = translate_block(cpu, pc, pa, words);
        if (!b)
            rt_panic(cpu, "a block at %llx does not fit in the code cache", (unsigned long long)pc);
    }
    return b;
}

static void run(struct cpu *cpu, uint32_t entry) {
    struct engine *e = engine_of(cpu);
    e->in_code = true;
    e->unwound = false;
    codegen_enter(e->cg, cpu, e->cache.code + entry);
    e->in_code = false;
    if (LIKELY(!(e->mode & GUEST_MODE_ONCE)) || e->unwound || cpu->exit_site == CODE_EXIT_FAULT)
        return;
    if (e->debug.step == DEBUG_STEP_WANTED)
        e->debug.step = DEBUG_STEP_DONE;
    if (e->guest_steps)
        cpu->guest->executed(cpu);
}

static void enter_mode(struct cpu *cpu, uint32_t mode) {
    struct engine *e = engine_of(cpu);
    if (mode != e->mode) {
        e->mode = mode;
        cache_forget_returns(cpu);
    }
    mmu_enter_mode(cpu, mode);
}

/* The guest's, and what the user's debugger adds to it. */
static uint32_t mode_now(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    uint32_t mode = cpu->guest->mode(cpu);
    e->guest_steps = mode & GUEST_MODE_ONCE;
    return LIKELY(!e->debug.any) ? mode : mode | debug_mode(cpu);
}

void engine_mode_changed(struct cpu *cpu) {
    enter_mode(cpu, mode_now(cpu));
    if (UNLIKELY(engine_of(cpu)->mmu->sync_wanted))
        mmu_sync(cpu);
}

/* One round: serves what is pending, finds the next block and runs from there until translated code leaves. */
static void dispatch(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    bool step = e->step;
    if (cpu->flags_insn)
        cpu->guest->settle(cpu);
    e->step = false; /* the fetch below may raise an exception instead */
    if (UNLIKELY(cpu->exit_site == CODE_EXIT_FAULT)) {
        cpu->exit_site = 0;
        cpu->guest->exit_fault(cpu);
    }
    if (UNLIKELY(cpu->abi.pending) && !step) {
        cpu->exit_site = 0;
        serve_pending(cpu);
    }
    if (UNLIKELY(e->debug.any) && !step) {
        cpu->exit_site = 0;
        debug_look(cpu);
    }
    if (UNLIKELY(e->flush_wanted)) {
        cache_flush(e);
        cpu->exit_site = 0;
    }
    STAT(cpu, dispatches)++;
    uint64_t pc = guest_pc(cpu), left = cpu->exit_site;
    if (UNLIKELY(pc & cpu->guest->pc_align))
        cpu->guest->pc_fault(cpu);
    uint32_t mode = mode_now(cpu);
    if (mode != e->mode)
        left = 0;
    enter_mode(cpu, mode);
    cpu->exit_site = 0;
    struct gpa pa;
    const void *words = mem_fetch(cpu, pc, &pa);
    if (UNLIKELY(step)) {
        struct block *one = translate_step(cpu, pc, pa.v, words);
        e->stepping = true;
        if (e->mmu->sync_wanted)
            mmu_sync(cpu);
        run(cpu, one->nocheck);
        return;
    }
    cpu->exit_site = left;
    struct block *b = translated(cpu, pc, pa.v, words);
    left = cpu->exit_site;
    cpu->exit_site = 0;
    if (left)
        cache_link(e, left, b);
    if (UNLIKELY(b->loops == BLOCK_LOOPS)) {
        cache_drop_block(e, b);
        b = translated(cpu, pc, pa.v, words);
    }
    if (UNLIKELY(e->mmu->sync_wanted))
        mmu_sync(cpu);
    if (UNLIKELY(translate_shown(cpu, b, ABI_LOG_EXEC)))
        rt_log(cpu, ABI_LOG_EXEC, "exec %016llx pa %llx mode %x\n", (unsigned long long)pc, (unsigned long long)pa.v,
               mode);
    /* A block that shall run once does run: nothing has to be told apart afterwards. */
    run(cpu, UNLIKELY(mode & GUEST_MODE_ONCE) ? b->nocheck : b->entry);
}

static void rounds(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    for (;;) {
        dispatch(cpu);
        e->stepping = false;
        STAT(cpu, ticks_total) = rt_ticks() - e->started;
    }
}

void engine_main(const struct abi_boot *boot, unsigned vcpu) {
    struct cpu *cpu = cpu_at(boot, vcpu);
    engine_init(boot, cpu, vcpu);
    struct engine *e = engine_of(cpu);
    cpu->quiescent = 0;
    engine_serve_requests(cpu);
    for (;;) {
        codegen_catch(rounds, cpu, &e->unwind); /* comes back from exceptions raised outside translated code */
        e->stepping = false;
    }
}

_Noreturn void engine_unwind(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    cpu->exit_site = 0;
    e->unwound = true;
    if (UNLIKELY(e->debug.step == DEBUG_STEP_WANTED) && !e->step) /* an exception is what it has come to */
        e->debug.step = DEBUG_STEP_DONE;
    mmu_fault_done(cpu, ABI_STAT_host_faults_abort);
    if (e->in_code)
        codegen_unwind(e->cg, cpu);
    codegen_throw(e->unwind);
}

/* --- called by translated code ---------------------------------------------------------------- */
/* The block at pc, NULL if it is not translated or the fetch would abort. */
static struct block *known_block(struct cpu *cpu, uint64_t pc) {
    struct engine *e = engine_of(cpu);
    struct gpa pa;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_EXEC || e->mode & GUEST_MODE_ONCE || pc & cpu->guest->pc_align) ||
        !mmu_fetch_quiet(cpu, pc, &pa))
        return NULL;
    return cache_find(e, pa.v, pc, e->mode);
}

const uint8_t *engine_lookup(struct cpu *cpu, uint64_t pc) {
    STAT(cpu, jump_cache_misses)++;
    struct block *b = known_block(cpu, pc);
    if (!b)
        return NULL;
    const uint8_t *host = engine_of(cpu)->cache.code + b->entry;
    mmu_jump_cache_set(cpu, pc, host);
    return host;
}

uint64_t engine_left(struct cpu *cpu, uint64_t back) {
    uint64_t pc, left = cache_left(engine_of(cpu), (const uint8_t *)(uintptr_t)back, &pc);
    memcpy((char *)cpu + cpu->guest->pc_offset, &pc, sizeof(pc));
    return left;
}

const uint8_t *engine_jump(struct cpu *cpu, uint64_t back) {
    STAT(cpu, far_misses)++;
    uint64_t left = engine_left(cpu, back);
    struct block *b = known_block(cpu, guest_pc(cpu));
    if (!b)
        return NULL;
    if (left)
        cache_link(engine_of(cpu), left, b);
    return engine_of(cpu)->cache.code + b->entry;
}

/* --- monitor calls and other vCPUs ------------------------------------------------------------ */
void engine_call(struct cpu *cpu, enum abi_call call) {
    uint64_t from = rt_ticks();
    cpu->quiescent = 1;
    rt_call(cpu, call);
    cpu->quiescent = 0;
    if (cpu->req_posted != cpu->req_done) {
        const uint64_t ret[2] = {cpu->abi.ret[0], cpu->abi.ret[1]};
        engine_serve_requests(cpu); /* which may call the monitor, too */
        cpu->abi.ret[0] = ret[0];
        cpu->abi.ret[1] = ret[1];
    }
    if (call == ABI_CALL_WAIT) {
        STAT(cpu, exits_wait)++;
        STAT(cpu, ticks_wait) += rt_ticks() - from;
    } else {
        if (call == ABI_CALL_MMIO_READ || call == ABI_CALL_MMIO_WRITE)
            STAT(cpu, exits_mmio)++;
        else
            STAT(cpu, exits_other)++;
        STAT(cpu, ticks_monitor) += rt_ticks() - from;
    }
}

void engine_end(struct cpu *cpu, enum abi_call call) {
    reuse_give(cpu);
    engine_call(cpu, call);
}

struct cpu *engine_cpu(struct cpu *cpu, unsigned index) {
    return index < cpu->boot->vcpu_count ? cpu_at(cpu->boot, index) : NULL;
}

void engine_kick(struct cpu *from, struct cpu *to, uint32_t pending) {
    __atomic_fetch_or((uint32_t *)&to->abi.pending, pending, __ATOMIC_SEQ_CST);
    if (to != from && to->abi.idle) {
        from->abi.arg[0] = to->index;
        engine_call(from, ABI_CALL_KICK);
    }
}

void engine_wait(struct cpu *cpu) {
    if (!cpu->abi.pending && !engine_of(cpu)->debug.step)
        engine_call(cpu, ABI_CALL_WAIT);
}
