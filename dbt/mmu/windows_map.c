/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* windows_map.c: filling windows: what goes with a page that is mapped, and write protection. See windows.h. */
#include "dbt/mmu/windows.h"

#define AROUND_PAGES 16u /* neighbours that one fault fills, where the guest's table is not linear */
#define LINEAR_PAGES 16u /* a run that long is recorded by its 2 MiB chunk */

bool page_writable(struct cpu *cpu, uint64_t pa, bool wrote) {
    uint8_t code = *code_bits_at(engine_of(cpu), pa);
    if (!pa_is_ram(cpu, pa))
        return false;
    return wrote ? !(code >> cpu->index & 1) : !code;
}

static bool chunk_has_code(struct cpu *cpu, uint64_t pa) {
    const _Atomic uint8_t *bits = code_bits_at(engine_of(cpu), pa);
    for (unsigned i = 0; i < TABLE_ENTRIES; i += 8) {
        uint64_t eight;
        memcpy(&eight, (const uint8_t *)bits + i, 8);
        if (eight)
            return true;
    }
    return false;
}

/* Turns a 2 MiB entry into a table of pages, those with code read-only. */
static void split(struct cpu *cpu, uint64_t *pde, uint64_t host) {
    struct windows *ws = windows_of(cpu);
    uint64_t old = *pde, table_pa, base = old & PTE_ADDR & ~(HUGE_SIZE - 1);
    uint64_t pa = base - cpu->boot->ram_pa + cpu->boot->ram_gpa;
    uint64_t *table = rt_pt_alloc(cpu, &table_pa);
    if (!table) {
        pages_set(&ws->pages, pde, 0, host);
        return;
    }
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t offset = (uint64_t)i << PAGE_SHIFT;
        uint64_t w = old & PTE_W && page_writable(cpu, pa + offset, false) ? PTE_W : 0;
        table[i] = (base + offset) | PTE_LEAF | w;
    }
    *pde = table_pa | PTE_TABLE | (old & PTE_BLOCK);
    pages_flush_later(&ws->pages, host, FLUSH_HUGE);
}

struct run run_of(const struct cpu *cpu, uint64_t va, const struct walk *w) {
    unsigned at = index_at(va, PAGE_SHIFT), lo = at, hi = at + 1;
    uint64_t page = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    bool block = w->page_shift >= HUGE_SHIFT;
    if (block) {
        lo = 0;
        hi = TABLE_ENTRIES;
    } else if (w->table && w->index == at) {
        uint64_t e = w->entry, step = BIT(cpu->guest->entry_page_shift);
        if (pages_linear(w->table, at, e - at * step, step) == at)
            lo = 0;
        while (lo > 0 && __atomic_load_n(&w->table[lo - 1], __ATOMIC_RELAXED) == e - (at - lo + 1) * step)
            lo--;
        hi += pages_linear(&w->table[hi], TABLE_ENTRIES - hi, e + step, step);
    }
    uint64_t first = page - ((uint64_t)(at - lo) << PAGE_SHIFT);
    if (!ram_ptr(cpu, GPA(first), (uint64_t)(hi - lo) << PAGE_SHIFT)) /* reaches over the end of RAM */
        return (struct run){at, 1, page, block};
    return (struct run){lo, hi - lo, first, block};
}

static bool run_is_huge(struct cpu *cpu, const struct run *r) {
    return r->count == TABLE_ENTRIES && !(r->pa & (HUGE_SIZE - 1)) && !(ram_host_pa(cpu, r->pa) & (HUGE_SIZE - 1)) &&
           pa_is_ram(cpu, r->pa) && !chunk_has_code(cpu, r->pa);
}

static void map_run(struct cpu *cpu, struct window *win, uint64_t *table, uint64_t va, const struct run *r, bool write,
                    bool wrote) {
    struct windows *ws = windows_of(cpu);
    uint64_t chunk = ALIGN_DOWN(va, HUGE_SIZE), host = window_host(ws, win, chunk);
    bool linear = r->count >= LINEAR_PAGES && !((r->pa - ((uint64_t)r->first << PAGE_SHIFT)) & (HUGE_SIZE - 1));
    bool any = false;
    for (unsigned i = 0; i < r->count; i++) {
        uint64_t offset = (uint64_t)(r->first + i) << PAGE_SHIFT, pa = r->pa + ((uint64_t)i << PAGE_SHIFT);
        bool w = write && page_writable(cpu, pa, wrote && chunk + offset == ALIGN_DOWN(va, PAGE_SIZE));
        any |= w;
        if (table[r->first + i] == (ram_host_pa(cpu, pa) | PTE_LEAF | (w ? PTE_W : 0)))
            continue;
        pages_set(&ws->pages, &table[r->first + i], ram_host_pa(cpu, pa) | PTE_LEAF | (w ? PTE_W : 0), host + offset);
        if (w && !linear)
            rmap_add(&ws->rmap, page_key(cpu, pa), host + offset);
        STAT(cpu, fills_around) += chunk + offset != ALIGN_DOWN(va, PAGE_SIZE);
    }
    if (any && linear)
        rmap_add(&ws->rmap, chunk_key(cpu, r->pa), host);
}

/* Neighbours in the same 64 KiB that are not mapped yet, by a walk each. */
static void map_around(struct cpu *cpu, struct window *win, uint64_t *table, uint64_t va, const struct walk *w) {
    struct windows *ws = windows_of(cpu);
    uint64_t start = ALIGN_DOWN(va, AROUND_PAGES * PAGE_SIZE);
    for (unsigned i = 0; i < AROUND_PAGES; i++) {
        uint64_t at = start + ((uint64_t)i << PAGE_SHIFT);
        uint64_t *pte = &table[index_at(at, PAGE_SHIFT)];
        struct walk n = {.fault = 0};
        if (*pte & PTE_P || (w->table && !w->table[index_at(at, PAGE_SHIFT)]))
            continue;
        cpu->guest->walk(cpu, at, MMU_READ, win->regime, &n);
        uint64_t pa = ALIGN_DOWN(n.pa.v, PAGE_SIZE);
        if (n.fault || n.device || !n.read || n.global != w->global || !pa_is_memory(cpu, pa))
            continue;
        bool write = n.write && page_writable(cpu, pa, false);
        *pte = ram_host_pa(cpu, pa) | PTE_LEAF | (write ? PTE_W : 0);
        if (write)
            rmap_add(&ws->rmap, page_key(cpu, pa), window_host(ws, win, at));
        STAT(cpu, fills_around)++;
    }
}

bool window_mapped(struct cpu *cpu, const struct window *win, uint64_t va, uint64_t pa, bool write) {
    uint64_t *pde = pages_find(cpu, win->pdpt, va), e, want = ram_host_pa(cpu, pa);
    if (!pde)
        return false;
    if (*pde & PTE_PS) {
        e = *pde;
        want &= ~(HUGE_SIZE - 1);
    } else {
        e = rt_pt_at(cpu, *pde & PTE_ADDR)[index_at(va, PAGE_SHIFT)];
    }
    return e & PTE_P && (e & PTE_ADDR) == want && (e & PTE_W || !write);
}

/* The page-directory entry for va, NULL if there is no memory for the tables. */
static uint64_t *window_tables(struct cpu *cpu, struct window *w, uint64_t va) {
    struct windows *ws = windows_of(cpu);
    if (!w->pdpt) {
        uint64_t pa;
        w->pdpt = rt_pt_alloc(cpu, &pa);
        if (!w->pdpt)
            return NULL;
        ws->pages.pml4[window_slot(ws, w)] = pa | PTE_TABLE;
        window_publish(cpu, w);
    }
    uint64_t *pd = pages_below(cpu, &w->pdpt[index_at(va, 30)]);
    return pd ? &pd[index_at(va, 21)] : NULL;
}

/* The part of a run around va that is to be mapped. */
static void run_cut(const struct windows *ws, struct run *r, uint64_t va) {
    unsigned from = index_at(va, PAGE_SHIFT) & ~(ws->run_max - 1), to = from + ws->run_max, end = r->first + r->count;
    if (r->count <= ws->run_max)
        return;
    from = from > r->first ? from : r->first;
    r->pa += (uint64_t)(from - r->first) << PAGE_SHIFT;
    r->first = from;
    r->count = (to < end ? to : end) - from;
}

/* Maps va and what goes with it. False: no memory for the tables. */
static bool map(struct cpu *cpu, struct window *win, uint64_t va, enum mmu_access access, const struct walk *w) {
    struct windows *ws = windows_of(cpu);
    uint64_t *pde = window_tables(cpu, win, va), host = window_host(ws, win, ALIGN_DOWN(va, HUGE_SIZE));
    struct run r = run_of(cpu, va, w);
    uint64_t block = r.block ? PTE_BLOCK : 0;
    if (ws->cut_huge || !run_is_huge(cpu, &r))
        run_cut(ws, &r, va);
    if (!pde)
        return false;
    if (*pde & PTE_PS && *pde & PTE_P)
        pages_set(&ws->pages, pde, 0, host); /* not what the guest has there now */
    if (!(*pde & PTE_P) && run_is_huge(cpu, &r)) {
        *pde = ram_host_pa(cpu, r.pa) | PTE_LEAF | PTE_PS | block | (w->write ? PTE_W : 0);
        if (w->write)
            rmap_add(&ws->rmap, chunk_key(cpu, r.pa), host);
        STAT(cpu, fills_huge)++;
        rt_map_pages(cpu, host, TABLE_ENTRIES);
        return true;
    }
    uint64_t *table = pages_below(cpu, pde);
    if (!table)
        return false;
    if (block & ~*pde) /* the host may watch its directories: no write without need */
        *pde |= block;
    map_run(cpu, win, table, va, &r, w->write, access == MMU_WRITE);
    if (r.count < AROUND_PAGES && !r.block)
        map_around(cpu, win, table, va, w);
    if (r.count < AROUND_PAGES)
        rt_map_pages(cpu, window_host(ws, win, ALIGN_DOWN(va, AROUND_PAGES * PAGE_SIZE)), AROUND_PAGES);
    else
        rt_map_pages(cpu, host + ((uint64_t)r.first << PAGE_SHIFT), r.count);
    return true;
}

bool window_can_map(struct cpu *cpu, enum mmu_access access, const struct walk *w) {
    /* A page that keeps its code through this write stays read-only. */
    return !w->device && w->read && pa_is_memory(cpu, w->pa.v) &&
           (access != MMU_WRITE || page_writable(cpu, w->pa.v, true));
}

bool window_map(struct cpu *cpu, struct window *win, struct view *v, uint64_t va, enum mmu_access access,
                const struct walk *w) {
    win->has_global |= !win->hi && w->global;
    if (win->hi && !w->global && !win->has_nonglobal) {
        win->has_nonglobal = true; /* from now on each ASID has to ask */
        window_detach(cpu, win);
        window_attach(cpu, v, win);
    }
    win->giant |= w->page_shift > HUGE_SHIFT;
    if (!map(cpu, win, va, access, w))
        return false;
    STAT(cpu, fills)++;
    return true;
}

static void protect_at(struct cpu *cpu, uint64_t host, uint64_t pa) {
    struct windows *ws = windows_of(cpu);
    struct window *w = window_at(ws, host);
    uint64_t *pde = w ? pages_find(cpu, w->pdpt, host) : NULL;
    if (!pde)
        return;
    if (*pde & PTE_PS) {
        if (*pde & PTE_W && (*pde & PTE_ADDR & ~(HUGE_SIZE - 1)) == ALIGN_DOWN(ram_host_pa(cpu, pa), HUGE_SIZE))
            split(cpu, pde, host);
        return;
    }
    uint64_t *pte = &rt_pt_at(cpu, *pde & PTE_ADDR)[index_at(host, PAGE_SHIFT)];
    if (*pte & PTE_P && (*pte & PTE_ADDR) == ram_host_pa(cpu, pa))
        pages_set(&ws->pages, pte, *pte & ~(uint64_t)PTE_W, host);
}

void windows_protect(struct cpu *cpu, struct gpa page) {
    struct windows *ws = windows_of(cpu);
    uint32_t key = page_key(cpu, page.v);
    for (uint32_t *at = rmap_bucket(&ws->rmap, key); *at;) {
        const struct rmap_entry *r = &ws->rmap.entry[*at];
        if (r->key != key) {
            at = &ws->rmap.entry[*at].next;
            continue;
        }
        protect_at(cpu, r->host, page.v);
        rmap_remove(&ws->rmap, at);
    }
    key = chunk_key(cpu, page.v);
    for (uint32_t i = *rmap_bucket(&ws->rmap, key); i; i = ws->rmap.entry[i].next)
        if (ws->rmap.entry[i].key == key)
            protect_at(cpu, ws->rmap.entry[i].host | (page.v & (HUGE_SIZE - 1)), page.v);
    if (ws->pages.flushes || ws->pages.flush_all)
        mmu_of(cpu)->sync_wanted = true;
}
