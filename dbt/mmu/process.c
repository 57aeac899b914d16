/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * process.c: the strategy for a process, after HSPT (Wang et al., VEE 2015) and Faravelon (2018): guest pages are pages of
 * the process, in windows (windows.h), for the code that runs most, and a software TLB (soft.c) for all other code.
 *
 * To map a page costs some ten thousand times as much as a look-up in the software TLB costs more than a window's probe: a fault,
 * a system call, the first touch, the system call that takes the page away again. A guest's process maps hundreds of pages
 * and looks at most of them a few times. So code decides: what a sample found running (hot.c) is translated again; an access
 * whose page is known then has that page mapped, with what the guest's table maps linearly around it, and gets a window's
 * probe for that region. All else stays as it is. Faults are on account: an instruction that spends more than a share of
 * its time on them goes back to the software TLB for a while, for longer each time.
 */
#include "dbt/mmu/mmu_emit.h"
#include "dbt/mmu/windows.h"

#define COLD_PCS 1024       /* instructions with an account, by hash */
#define FAULT_SHARE 8u      /* faults may take one in so many of the ticks since the account was opened ... */
#define FAULT_CREDIT 32u    /* ... and so many fault times more */
#define MISMATCHES 64u      /* addresses in another region than predicted, before an instruction goes back */
#define COLD_TICKS_SHIFT 27 /* log2 of the ticks that it stays there the first time: some 50 ms */
#define COLD_DOUBLINGS 8

struct account {
    uint64_t pc, opened, spent; /* ticks */
    uint64_t cold_until;
    uint16_t mismatches;
    uint8_t times;
};

struct process_state {
    struct windows windows;
    struct account account[COLD_PCS];
    uint64_t fault_ticks; /* what a fault costs in all, with the mapping */
};

static struct process_state *state_of(const struct cpu *cpu) {
    return CONTAINER_OF(windows_of(cpu), struct process_state, windows);
}

/* --- accounts ---------------------------------------------------------------------------------------------------- */
static struct account *account_at(const struct cpu *cpu, uint64_t pc) {
    return &state_of(cpu)->account[(pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static bool is_cold(const struct cpu *cpu, uint64_t pc) {
    const struct account *a = account_at(cpu, pc);
    return a->pc == pc && a->cold_until > rt_ticks();
}

static struct account *account_open(struct cpu *cpu, uint64_t pc, uint64_t now) {
    struct account *a = account_at(cpu, pc);
    if (a->pc != pc)
        *a = (struct account){.pc = pc, .opened = now};
    return a;
}

/* The instruction's block is translated again without a window's probe for it. */
static void close_account(struct cpu *cpu, struct account *a, const struct mmu_slow *s, uint64_t now) {
    struct engine *e = engine_of(cpu);
    struct block *b = cache_block_at(e, s->site);
    a->cold_until = now + (UINT64_C(1) << (COLD_TICKS_SHIFT + a->times));
    a->times += a->times < COLD_DOUBLINGS;
    a->opened = a->cold_until;
    a->spent = 0;
    a->mismatches = 0;
    STAT(cpu, process_cold)++;
    if (b && b->valid)
        cache_drop_block(e, b);
}

/* The access faulted: may its instruction have the page mapped? */
static bool may_map(struct cpu *cpu, const struct mmu_slow *s) {
    uint64_t now = rt_ticks(), price = state_of(cpu)->fault_ticks;
    struct account *a = account_open(cpu, guest_pc(cpu), now);
    a->spent += price;
    if (a->spent <= FAULT_CREDIT * price + (now > a->opened ? now - a->opened : 0) / FAULT_SHARE)
        return true;
    close_account(cpu, a, s, now);
    return false;
}

static void process_miss(struct cpu *cpu, struct mmu_slow *s) {
    if (cpu->fault_ticks)
        return;
    if (!window_probe_is(s->site)) {
        mmu_soft_ops.miss(cpu, s);
        return;
    }
    STAT(cpu, region_misses)++;
    struct account *a = account_open(cpu, guest_pc(cpu), rt_ticks());
    if (++a->mismatches >= MISMATCHES)
        close_account(cpu, a, s, rt_ticks());
}

/* --- filling ------------------------------------------------------------------------------------------------------ */
static bool map_page(struct cpu *cpu, uint64_t va, unsigned regime, enum mmu_access access, const struct walk *w) {
    struct windows *ws = windows_of(cpu);
    struct view *v = view_for(cpu, regime);
    bool done = false;
    if (!v || !window_can_map(cpu, access, w))
        return false;
    if (rmap_room(&ws->rmap) < 2 * TABLE_ENTRIES)
        windows_drop_all(cpu);
    for (unsigned tries = 0; tries < 2 && !done; tries++) {
        struct window *win = window_for(cpu, v, va);
        if (!win)
            break;
        done = window_mapped(cpu, win, va, ALIGN_DOWN(w->pa.v, PAGE_SIZE), access == MMU_WRITE) ||
               window_map(cpu, win, v, va, access, w);
        if (!done && !windows_evict(cpu, win))
            break;
    }
    if (ws->pages.flush_all || ws->pages.flushes)
        windows_sync(cpu);
    return done;
}

static void process_fill(struct cpu *cpu, struct mmu_slow *s, enum mmu_access access, const struct walk *w) {
    mmu_soft_ops.fill(cpu, s, access, w);
    if (cpu->fault_ticks && MMU_DESC_REGIME(s->desc) == cpu->regime && may_map(cpu, s))
        map_page(cpu, s->va, cpu->regime, access, w);
}

/* --- the probe ------------------------------------------------------------------------------------------------------- */
/* Is the page that the access will likely go to mapped, or can it be? */
static bool worth_a_window(struct cpu *cpu, const struct mmu_probe *p) {
    uint64_t va = p->hint + (uint64_t)(int64_t)p->disp;
    enum mmu_access access = p->write ? MMU_WRITE : MMU_READ;
    struct walk w;
    if (!engine_of(cpu)->hot || !p->hint || !p->current || p->regime != cpu->regime || is_cold(cpu, p->pc))
        return false;
    return mem_probe(cpu, va, access, p->regime, &w) && map_page(cpu, va, p->regime, access, &w);
}

static void process_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    if (worth_a_window(cpu->self, p)) {
        window_probe_emit(a, cpu, p);
        window_probe_predict(a, cpu, p);
        STAT(cpu->self, probes_window)++;
    } else {
        mmu_soft_ops.emit_probe(a, cpu, p);
    }
}

/* The index registers of both kinds of probes take a window's delta: where nothing is mapped it leads to a fault. */
static uint64_t process_nearby(struct cpu *cpu, const struct mmu_slow *s, uint64_t va, unsigned regime) {
    return view_deltas(cpu, cpu->views[regime])[region_of(va) % REGION_HASH];
}

/* --- both halves ------------------------------------------------------------------------------------------------------ */
static void process_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    windows_invalidate(cpu, inv);
    mmu_soft_ops.invalidate(cpu, inv);
}

static void process_sync(struct cpu *cpu) {
    windows_sync(cpu);
    mmu_soft_ops.sync(cpu);
}

static void process_protect(struct cpu *cpu, struct gpa page) {
    mmu_soft_ops.protect(cpu, page);
    windows_protect(cpu, page);
}

static size_t process_view_bytes(void) {
    return ALIGN_UP(mmu_soft_ops.view_bytes(), 64) + REGION_HASH * sizeof(uint64_t);
}

static void process_view_init(struct cpu *cpu, struct view *v) {
    mmu_soft_ops.view_init(cpu, v);
    windows_view_init(cpu, v);
}

static void process_init(struct cpu *cpu) {
    struct process_state *st = heap_take(&engine_of(cpu)->heap, sizeof(*st));
    if (!st)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    mmu_soft_ops.init(cpu);
    mmu_of(cpu)->deltas_at = (uint32_t)ALIGN_UP(mmu_soft_ops.view_bytes(), 64);
    windows_init(cpu, &st->windows, (cpu->boot->ram_size >> PAGE_SHIFT) / 2 + 8 * TABLE_ENTRIES);
    st->fault_ticks = rt_page_costs(cpu).fault + rt_page_costs(cpu).map;
    hot_init(cpu); /* without it everything stays with the software TLB */
}

const struct mmu_ops mmu_process_ops = {
    .name = "process",
    .about = "pages of the process for hot code, a software TLB for the rest",
    .needs_paging = true,
    .needs_process = true,
    .init = process_init,
    .view_bytes = process_view_bytes,
    .view_init = process_view_init,
    .fill = process_fill,
    .miss = process_miss,
    .invalidate = process_invalidate,
    .sync = process_sync,
    .protect = process_protect,
    .emit_probe = process_emit_probe,
    .nearby = process_nearby,
};
