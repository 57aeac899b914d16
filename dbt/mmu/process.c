/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * process.c: the strategy for a process, after HSPT (Wang et al., VEE 2015) and Faravelon (2018): guest pages are pages
 * of the process, in windows (windows.h), for the code that runs most, and a software TLB (soft.c) for all other code.
 *
 * To map a page costs some ten thousand times as much as a look-up in the software TLB costs more than a window's
 * probe: a fault, a system call, the first touch, the system call that takes the page away again. A guest's process
 * maps hundreds of pages and looks at most of them a few times. So code decides: what a sample found running (hot.c) is
 * translated again; an access whose page is known then has that page mapped, with what the guest's table maps linearly
 * around it, and gets a window's probe for that region. All else stays as it is. It is all on account: an instruction
 * that spends more than a share of its time on faults goes back to the software TLB for a while, for longer each time,
 * and so does an address space that spends more than that on having its pages taken away (a process that forks). A
 * process has to run for a while before any of its pages is mapped.
 */
#include "dbt/mmu/process_probe.h"
#include "dbt/mmu/windows.h"

#define COLD_PCS 1024 /* instructions with an account, by hash */
#define SPACES 256    /* address spaces with an account, by hash */
/* of code in the lower half, before its pages are worth mapping: most processes end before */
#define SPACE_SAMPLES 3u
#define SHARE 8u            /* what is on account may take one in so many of the ticks since it was opened ... */
#define CREDIT 32u          /* ... and so many fault times more */
#define RUN_PAGES 64u       /* that one fault maps: each costs again when it is touched first */
#define COLD_TICKS_SHIFT 27 /* log2 of the ticks that it stays there the first time: some 50 ms */
#define COLD_DOUBLINGS 8

/* What mapping has cost somebody. */
struct account {
    uint64_t who;
    uint64_t opened, spent, cold_until; /* ticks */
    uint16_t samples;                   /* of a space */
    uint8_t times;                      /* that it went cold */
};

struct process_state {
    struct windows windows;
    struct account insn[COLD_PCS]; /* by guest pc */
    struct account space[SPACES];  /* by root */
    struct rt_page_costs cost;
};

static struct process_state *state_of(const struct cpu *cpu) {
    return CONTAINER_OF(windows_of(cpu), struct process_state, windows);
}

/* --- accounts --------------------------------------------------------------------------------- */
static struct account *insn_at(const struct cpu *cpu, uint64_t pc) {
    return &state_of(cpu)->insn[(pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}
static struct account *space_at(const struct cpu *cpu, uint64_t root) {
    return &state_of(cpu)->space[root * UINT64_C(0x9e3779b97f4a7c15) >> 56];
}
_Static_assert(COLD_PCS == 1 << 10 && SPACES == 1 << 8, "the hashes above");

static bool is_cold(const struct account *a, uint64_t who) { return a->who == who && a->cold_until > rt_ticks(); }

/* Who had the account before loses it. */
static struct account *account_of(struct account *a, uint64_t who, uint64_t now) {
    if (a->who != who)
        *a = (struct account){.who = who, .opened = now};
    return a;
}

/* False: it is overdrawn. */
static bool pay(struct cpu *cpu, struct account *a, uint64_t ticks, uint64_t now) {
    a->spent += ticks;
    return a->spent <= CREDIT * state_of(cpu)->cost.fault + (now > a->opened ? now - a->opened : 0) / SHARE;
}

static void go_cold(struct cpu *cpu, struct account *a, uint64_t now) {
    a->cold_until = now + (UINT64_C(1) << (COLD_TICKS_SHIFT + a->times));
    a->times += a->times < COLD_DOUBLINGS;
    a->opened = a->cold_until;
    a->spent = 0;
    a->samples = 0;
    STAT(cpu, process_cold)++;
}

/* The instruction's block is translated again without a window's probe for it. */
static void insn_go_cold(struct cpu *cpu, struct account *a, const struct mmu_slow *s, uint64_t now) {
    struct engine *e = engine_of(cpu);
    struct block *b = cache_block_at(e, s->site);
    go_cold(cpu, a, now);
    if (b && b->valid)
        cache_drop_block(e, b);
}

/* What the kernel took for pages of the current process, or of the guest's kernel on its behalf. */
static void space_pays(struct cpu *cpu, uint64_t ticks) {
    struct windows *ws = windows_of(cpu);
    uint64_t now = rt_ticks(), root = mmu_of(cpu)->current->lo.root;
    struct account *a = account_of(space_at(cpu, root), root, now);
    if (pay(cpu, a, ticks, now))
        return;
    go_cold(cpu, a, now);
    for (unsigned i = 0; i < ws->count; i++) {
        struct window *w = &ws->win[i];
        if (!w->hi && w->root == root && (w->state == WINDOW_LIVE || w->state == WINDOW_STALE))
            window_drop(cpu, w);
    }
}

/* Are the pages of that half of the current space worth mapping? */
static bool space_is_warm(struct cpu *cpu, const struct view *v, uint64_t va) {
    const struct account *a = space_at(cpu, v->lo.root);
    return cpu->guest->is_hi(va) || (a->who == v->lo.root && a->samples >= SPACE_SAMPLES && !is_cold(a, v->lo.root));
}

static void process_sampled(struct cpu *cpu, uint64_t pc) {
    mmu_soft_ops.sampled(cpu, pc);
    uint64_t root = mmu_of(cpu)->current->lo.root;
    if (cpu->guest->is_hi(pc))
        return;
    struct account *a = account_of(space_at(cpu, root), root, rt_ticks());
    a->samples += a->samples < SPACE_SAMPLES;
}

static void process_miss(struct cpu *cpu, struct mmu_slow *s) {
    if (!cpu->fault_ticks)
        mmu_soft_ops.miss(cpu, s);
}

/* --- filling ---------------------------------------------------------------------------------- */
static bool map_page(struct cpu *cpu, uint64_t va, unsigned regime, enum mmu_access access, const struct walk *w) {
    struct windows *ws = windows_of(cpu);
    struct view *v = view_for(cpu, regime);
    bool done = false;
    if (!v || !space_is_warm(cpu, v, va) || !window_can_map(cpu, access, w))
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

/* The access faulted: its instruction pays for the fault, for the pages that are mapped, and for what they will cost
 * when they are touched and when they go. */
static void map_faulted(struct cpu *cpu, const struct mmu_slow *s, enum mmu_access access, const struct walk *w) {
    const struct rt_page_costs *cost = &state_of(cpu)->cost;
    uint64_t pc = guest_pc(cpu), now = rt_ticks(), pages = STAT(cpu, fills_around);
    struct account *a = account_of(insn_at(cpu, pc), pc, now);
    map_page(cpu, s->va, cpu->regime, access, w);
    pages = STAT(cpu, fills_around) - pages;
    if (!pay(cpu, a, cost->fault + cost->map + cost->unmap + pages * cost->touch / 2, now))
        insn_go_cold(cpu, a, s, now);
}

static void process_fill(struct cpu *cpu, struct mmu_slow *s, enum mmu_access access, const struct walk *w) {
    mmu_soft_ops.fill(cpu, s, access, w);
    if (cpu->fault_ticks && MMU_DESC_REGIME(s->desc) == cpu->regime &&
        !is_cold(insn_at(cpu, guest_pc(cpu)), guest_pc(cpu)))
        map_faulted(cpu, s, access, w);
}

/* --- the probe -------------------------------------------------------------------------------- */
/* Is the page that the access will likely go to mapped, or can it be? */
static bool worth_a_window(struct cpu *cpu, const struct mmu_probe *p) {
    uint64_t va = p->hint + (uint64_t)(int64_t)p->disp;
    enum mmu_access access = p->write ? MMU_WRITE : MMU_READ;
    struct walk w;
    if (!engine_of(cpu)->hot || !p->hint || !p->current || p->regime != cpu->regime ||
        is_cold(insn_at(cpu, p->pc), p->pc))
        return false;
    return mem_probe(cpu, va, access, p->regime, &w) && map_page(cpu, va, p->regime, access, &w);
}

static void process_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    if (worth_a_window(cpu->self, p)) {
        process_probe_emit(a, cpu, p);
        STAT(cpu->self, probes_window)++;
    } else {
        mmu_soft_ops.emit_probe(a, cpu, p);
    }
}

static void process_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk) {
    mmu_soft_ops.emit_thunks(a, cpu, thunk);
}

static void process_emit_find(struct asm_buf *a, const uint8_t *const *thunk, struct mmu_probe *p) {
    mmu_soft_ops.emit_find(a, thunk, p);
}

static void process_emit_finish(struct asm_buf *a, const uint8_t *const *thunk) { mmu_soft_ops.emit_finish(a, thunk); }

/* --- both halves ------------------------------------------------------------------------------ */
static void process_invalidate(struct cpu *cpu, const struct mmu_inval *inv) {
    uint64_t from = rt_ticks();
    windows_invalidate(cpu, inv);
    if (inv->kind == MMU_INVAL_ASID)
        space_pays(cpu, rt_ticks() - from);
    mmu_soft_ops.invalidate(cpu, inv);
}

static void process_sync(struct cpu *cpu) {
    const struct pages *p = &windows_of(cpu)->pages;
    uint64_t from = p->flushes || p->flush_all ? rt_ticks() : 0;
    windows_sync(cpu);
    if (from)
        space_pays(cpu, rt_ticks() - from);
    mmu_soft_ops.sync(cpu);
}

static void process_entered(struct cpu *cpu) { mmu_soft_ops.entered(cpu); }

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
    st->cost = rt_page_costs(cpu);
    st->windows.run_max = RUN_PAGES;
    st->windows.cut_huge = !st->cost.huge;
}

const struct mmu_ops mmu_process_ops = {
    .name = "process",
    .about = "pages of the process for hot code, a software TLB for the rest",
    .needs_paging = true,
    .needs_process = true,
    .wants_hint = true,
    .init = process_init,
    .view_bytes = process_view_bytes,
    .view_init = process_view_init,
    .fill = process_fill,
    .miss = process_miss,
    .invalidate = process_invalidate,
    .sync = process_sync,
    .entered = process_entered,
    .sampled = process_sampled,
    .protect = process_protect,
    .emit_probe = process_emit_probe,
    .emit_find = process_emit_find,
    .emit_finish = process_emit_finish,
    .emit_thunks = process_emit_thunks,
};
