/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_window.c: random histories of a guest that maps, unmaps, forks, switches address spaces and holds code, against
 * a strategy with windows on page tables in this process, or with a software TLB. The host (window_host.h) knows what
 * it may still use of the tables; after each barrier, whatever of that the current views can reach has to agree with
 * the guest's tables. What a software TLB holds has to agree at any time.
 *
 * usage: test_window STRATEGY [SEED [STEPS]]
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/mmu/soft.h"
#include "dbt/mmu/windows.h"
#include "dbt/x86/asm.h"
#include "tests/engine/window_host.h"

#define RAM_GPA UINT64_C(0x40000000)
#define RAM_BYTES (32ull << 20)
#define RAM_HOST_PA UINT64_C(0x7f000000000)
#define DATA_OFFSET (4ull << 20) /* guest tables lie below */
#define PT_PAGES 400
#define PT_PA UINT64_C(0x1230000000)
#define SPACES 6
#define REGIONS 3
#define CHUNKS 3
#define REGIME_KERNEL 1

/* The fake guest's entries. */
enum { E_VALID = 1, E_WRITE = 2, E_GLOBAL = 4, E_KERNEL = 8, E_DEVICE = 16 };
#define E_PA(e) ((e) & ~UINT64_C(0xfff))

struct chunk {
    uint64_t block;  /* a 2 MiB entry, or 0 */
    uint64_t *table; /* in guest RAM */
};
static struct chunk space[SPACES][REGIONS][CHUNKS]; /* the last one is the upper half, shared by all */
static unsigned current_space, regime = REGIME_KERNEL;
/* Each lower half has two ASIDs, as a kernel with separate ASIDs for itself and its process has. */
static uint32_t asid_of[SPACES - 1], next_asid;
static uint64_t root_of[SPACES], next_root;
static unsigned asid_alias;
#define ASID_ALIAS 0x8000u

static struct abi_boot boot;
struct cpu *cpu;
static uint8_t *ram;
static uint64_t pml4[512] __attribute__((aligned(4096)));
static uint64_t pt_pool[PT_PAGES][512] __attribute__((aligned(4096)));
static jmp_buf aborted;
static unsigned long recent_seen, loans_seen, pages_seen, mapped_accesses, probed, first_seen, promoted;
/* What was accessed last: changes of just that are the interesting ones. */
static struct {
    unsigned s, r, c, page;
    uint64_t pa;
} last[16];
static uint64_t rng = 1;
static unsigned long step;

uint64_t rnd(uint64_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % n;
}

_Noreturn void fail(const char *what, uint64_t va) {
    fprintf(stderr, "FAIL at step %lu: %s, va %llx, space %u\n", step, what, (unsigned long long)va, current_space);
    exit(1);
}

/* --- runtime services ------------------------------------------------------------------------- */
void rt_call(struct cpu *c, enum abi_call call) {
    if (call == ABI_CALL_PANIC || call == ABI_CALL_LOG)
        fwrite((char *)(uintptr_t)c->abi.arg[0], 1, c->abi.arg[1], stderr);
    if (call == ABI_CALL_PANIC)
        exit(1);
}
void rt_doorbell(struct cpu *c, unsigned n) {}
void rt_yield(struct cpu *c, unsigned turn) {}
bool rt_has_gs(void) { return true; }
bool rt_map_cpu(struct cpu *cpu, void *at, size_t bytes) { return false; }
void rt_set_view(struct view *v) {}
bool rt_keeps_high_vectors(void) { return false; }
bool rt_sample_start(struct cpu *c) { return false; }

/* --- the engine's tables ---------------------------------------------------------------------- */
uint64_t leaf(uint64_t host) {
    uint64_t e = rt_pml4(cpu)[host >> 39];
    for (int shift = 30; e & LEAF_PRESENT && shift >= 12 && !(e & LEAF_HUGE); shift -= 9)
        e = rt_pt_at(cpu, E_PA(e))[host >> shift & 511];
    return e;
}

uint64_t leaf_ram(uint64_t entry, uint64_t host) {
    uint64_t page = entry & MASK(52) & ~(entry & LEAF_HUGE ? MASK(21) : MASK(12));
    return page - RAM_HOST_PA + (entry & LEAF_HUGE ? host & MASK(21) & ~PAGE_MASK : 0);
}

/* --- the fake guest --------------------------------------------------------------------------- */
static uint64_t region_base(unsigned r, bool hi) {
    static const uint64_t base[REGIONS] = {0, UINT64_C(0xaa) << 39, UINT64_C(0x1ff) << 39};
    return (hi ? UINT64_C(0xffff000000000000) : 0) | base[r];
}
static uint64_t va_of(unsigned s, unsigned r, unsigned c, unsigned page) {
    return region_base(r, s == SPACES - 1) + (510ull << 30) + ((uint64_t)c << 21) + ((uint64_t)page << 12);
}

static void fake_walk(struct cpu *c, uint64_t va, enum mmu_access access, unsigned reg, struct walk *w) {
    bool hi = va >> 55 & 1;
    unsigned s = hi ? SPACES - 1 : current_space;
    uint64_t base, untagged = hi ? va | UINT64_C(0xff) << 56 : va << 8 >> 8;
    w->fault = 1;
    for (unsigned r = 0; r < REGIONS; r++) {
        base = region_base(r, hi) + (510ull << 30);
        if (untagged < base || untagged - base >= CHUNKS << 21)
            continue;
        struct chunk *ch = &space[s][r][(untagged - base) >> 21];
        unsigned index = untagged >> 12 & 511;
        uint64_t e = ch->block ? ch->block : ch->table[index];
        if (!(e & E_VALID) || (e & E_KERNEL && reg == 0))
            return;
        w->read = w->exec = true;
        w->write = e & E_WRITE;
        w->device = e & E_DEVICE;
        w->global = e & E_GLOBAL;
        w->pa = GPA(E_PA(e) + (ch->block ? untagged & 0x1fffff : untagged & 0xfff));
        w->page_shift = ch->block ? 21 : 12;
        w->table = ch->block ? NULL : ch->table;
        w->index = (uint16_t)index;
        w->entry = e;
        if (access != MMU_WRITE || w->write)
            w->fault = 0;
        return;
    }
}
static uint32_t fake_mode(const struct cpu *c) { return regime; }
static struct mmu_space fake_space(struct cpu *c, bool hi, unsigned r) {
    return (struct mmu_space){root_of[hi ? SPACES - 1 : current_space],
                              hi ? 0 : asid_of[current_space] | (asid_alias ? ASID_ALIAS : 0)};
}
static bool fake_is_hi(uint64_t va) { return va >> 55 & 1; }
__attribute__((noreturn)) static void fake_abort(struct cpu *c, uint64_t va, enum mmu_access access,
                                                 const struct walk *w, unsigned flags) {
    longjmp(aborted, 1);
}
__attribute__((noreturn)) static void fake_align(struct cpu *c, uint64_t va, enum mmu_access access) {
    longjmp(aborted, 1);
}
__attribute__((noreturn)) static void fake_external(struct cpu *c, uint64_t va, enum mmu_access access, struct gpa pa) {
    longjmp(aborted, 1);
}
static void fake_init(struct cpu *c) {}
static void fake_dump(struct cpu *c) {}
static const struct guest_ops fake_guest = {.name = "fake",
                                            .entry_page_shift = PAGE_SHIFT,
                                            .entry_page_bits = 48 - PAGE_SHIFT,
                                            .cpu_size = sizeof(struct cpu) + 64,
                                            .pc_offset = sizeof(struct cpu),
                                            .init = fake_init,
                                            .mode = fake_mode,
                                            .walk = fake_walk,
                                            .space = fake_space,
                                            .is_hi = fake_is_hi,
                                            .mem_abort = fake_abort,
                                            .align_fault = fake_align,
                                            .external_abort = fake_external,
                                            .dump = fake_dump};
const struct guest_ops *const guest_table[] = {&fake_guest};
const unsigned guest_count = 1;

/* --- checks ----------------------------------------------------------------------------------- */
static bool has_code(uint64_t pa) { return *code_bits_at(engine_of(cpu), pa); }

/* The host may use that page as va in that regime. */
static void check_entry(unsigned reg, uint64_t va, const struct host_page *p) {
    struct walk w = {.fault = 0};
    fake_walk(cpu, va, p->write ? MMU_WRITE : MMU_READ, reg, &w);
    if (w.fault)
        fail(p->write ? "the guest does not allow that write" : "the guest does not map that", va);
    if (w.device || E_PA(w.pa.v) - RAM_GPA != p->ram)
        fail("not that page", va);
    if (p->write && has_code(E_PA(w.pa.v)))
        fail("code is writable", va);
    pages_seen++;
}

/* A page that is lent, and what the host may still know of its place. */
static void check_loan(uint64_t va, uint64_t host, const struct walk *w) {
    uint64_t e = leaf(host), offset = E_PA(w->pa.v) - RAM_GPA;
    unsigned count;
    const struct host_page *p = host_pages(&count);
    if (w->fault || w->device || !(e & LEAF_PRESENT) || leaf_ram(e, host) != offset)
        fail("a loan is not what the guest maps", va);
    if (e & LEAF_WRITE && (!w->write || has_code(E_PA(w->pa.v))))
        fail("a loan is writable", va);
    for (unsigned i = 0; i < count; i++)
        if (p[i].host >> 12 == host >> 12 && (p[i].ram != offset || (p[i].write && !(e & LEAF_WRITE))))
            fail("a loan's place was not flushed", va);
    loans_seen++;
}
static bool is_loan(uint64_t host) { return host >> 39 == boot.loan_slot[0] && host - (uintptr_t)ram >= RAM_BYTES; }

/* What a probe without a prediction would find, in the regime's view. */
static void check_recent(struct view *v) {
    const uint64_t *delta = view_deltas(cpu, v);
    const struct recent_view *recent = (const struct recent_view *)(delta + 512);
    for (unsigned i = 0; i < RECENT_PAGES; i++) {
        const struct recent_page *e = &recent->table[i];
        for (unsigned use = 0; use < RECENT_USES; use++) {
            uint64_t va = e->tag[use] & ~UINT64_C(0xfff);
            bool lent = is_loan(va + e->delta), write = use == RECENT_WRITE || (use == RECENT_STORES && !lent);
            struct walk w = {.fault = 0};
            if (!e->tag[use] || (e->tag[use] & 0xfff) != recent->id)
                continue;
            if (va + e->delta == delta[(va >> 39) % 512] + va)
                continue; /* the host's tables decide */
            fake_walk(cpu, va, write ? MMU_WRITE : MMU_READ, v->regime, &w);
            if (lent) {
                check_loan(va, va + e->delta, &w);
                continue;
            }
            if (w.fault || w.device || va + e->delta != (uintptr_t)ram + w.pa.v - RAM_GPA)
                fail("a recent page is not what the guest maps", va);
            if (write && has_code(w.pa.v))
                fail("code is writable as a recent page", va);
            recent_seen++;
        }
    }
}

static bool has_windows(void) { return engine_of(cpu)->ops->needs_paging; }
static bool has_soft(void) { return mmu_of(cpu)->soft; }

/* The entry of the second table with that tag in one of its ways at that place, NULL if there is none. */
static struct soft_entry *second_at(unsigned place, enum mmu_access access, uint64_t tag) {
    for (unsigned k = 0; k < SOFT_WAYS; k++)
        if (mmu_of(cpu)->soft->way[k].entry[place].tag[access] == tag)
            return &mmu_of(cpu)->soft->way[k].entry[place];
    return NULL;
}
static unsigned second_place(const struct soft_view *s, uint64_t va) {
    return (unsigned)(s->table - mmu_of(cpu)->soft->way[0].entry) + (unsigned)(va >> PAGE_SHIFT) % SOFT_SETS;
}

/* Is that page of a first table somewhere in the second? The view may have got another id since. */
static bool is_in_second(uint64_t page, enum mmu_access access) {
    const unsigned set = (unsigned)(page >> PAGE_SHIFT) % SOFT_SETS;
    for (unsigned i = 0; i < SOFT_PLACES * SOFT_WAYS; i++) {
        const struct soft_way *way = &mmu_of(cpu)->soft->way[i / SOFT_PLACES];
        uint64_t tag = way->entry[i % SOFT_PLACES * SOFT_PLACE_STEP + set].tag[access];
        if (tag >> SOFT_ID_SHIFT && tag << PAGE_SHIFT == page)
            return true;
    }
    return false;
}

/* A page that translated code may access, by an entry of a software TLB. */
static void check_soft_page(unsigned reg, uint64_t page, enum mmu_access access, uint64_t addend) {
    struct walk w = {.fault = 0};
    fake_walk(cpu, page, access, reg, &w);
    if (w.fault || w.device || page + addend != (uintptr_t)ram + w.pa.v - RAM_GPA)
        fail("the software TLB has what the guest does not map", page);
    if (access == MMU_WRITE && has_code(w.pa.v))
        fail("code is writable by the software TLB", page);
    first_seen++;
}

/* All of a view's first table, and what the second one has for it. */
static void check_soft(struct view *v) {
    const struct soft_view *s = soft_of(v);
    for (unsigned set = 0; set < FIRST_SETS; set++) {
        for (unsigned k = MMU_READ; k <= MMU_WRITE; k++) {
            const uint64_t page = s->first[set].page[k];
            if (first_set(page) != set)
                continue;
            check_soft_page(v->regime, page, (enum mmu_access)k, s->first[set].addend);
            if (!is_in_second(page, (enum mmu_access)k))
                fail("only in a first table", page);
        }
    }
    for (unsigned i = 0; i < SOFT_SETS * SOFT_WAYS; i++) {
        const struct soft_entry *e = &s->table[i % SOFT_SETS + i / SOFT_SETS * (sizeof(struct soft_way) / sizeof(*e))];
        for (unsigned k = MMU_READ; k <= MMU_WRITE; k++)
            if (e->tag[k] >> SOFT_ID_SHIFT == s->id >> SOFT_ID_SHIFT)
                check_soft_page(v->regime, e->tag[k] << PAGE_SHIFT, (enum mmu_access)k, e->addend);
    }
}

/* Whatever the host may use now, and a current view can reach, is right. */
static void check_all(void) {
    for (unsigned r = 0; r < REGIMES && has_soft(); r++)
        if (cpu->views[r] != &mmu_of(cpu)->null->view)
            check_soft(cpu->views[r]);
    if (!has_windows())
        return;
    host_look();
    unsigned count;
    const struct host_page *p = host_pages(&count);
    for (unsigned r = 0; r < REGIMES; r++) {
        struct view *v = cpu->views[r];
        const uint64_t *delta = view_deltas(cpu, v);
        if (v == &mmu_of(cpu)->null->view)
            continue;
        if (boot.mmu == ABI_MMU_WINDOW)
            check_recent(v);
        for (unsigned h = 0; h < 512; h++) {
            /* The slot that this delta leads the hash's region to: any region of the guest's that hashes here. */
            for (unsigned g = 0; g < 2 * REGIONS; g++) {
                uint64_t base = region_base(g % REGIONS, g >= REGIONS);
                if ((base >> 39) % 512 != h)
                    continue;
                uint64_t slot = (base + delta[h]) >> 39;
                for (unsigned i = 0; i < count; i++)
                    if (p[i].host >> 39 == slot)
                        check_entry(v->regime, p[i].host - delta[h], &p[i]);
            }
        }
    }
}

/* As an exception return and the dispatcher do: goes on where an access aborted, and flushes what the regime has to
 * see. */
static void enter(unsigned new_regime) {
    regime = new_regime;
    mmu_context_changed(cpu);
    if (rnd(2))
        mmu_retry(cpu, 0);
    if (mmu_of(cpu)->sync_wanted)
        mmu_sync(cpu);
    if (cpu->views[regime] != mmu_of(cpu)->view)
        fail("the current view is hidden", 0);
}

static void barrier(void) {
    mmu_sync(cpu);
    if (rnd(8) == 0)
        check_all();
    else if (has_windows())
        host_look();
    if (has_windows() && rnd(64) == 0)
        host_check();
}

/* --- the guest's life ------------------------------------------------------------------------- */
static uint64_t data_page(void) { return RAM_GPA + DATA_OFFSET + (rnd((RAM_BYTES - DATA_OFFSET) >> 12) << 12); }

static void invalidate(enum mmu_inval_kind kind, uint64_t va, unsigned s) {
    uint32_t asid = s < SPACES - 1 ? asid_of[s] : 0;
    mmu_invalidate(cpu, &(struct mmu_inval){.kind = kind, .va = va, .asid = asid});
    if (kind == MMU_INVAL_ASID || kind == MMU_INVAL_VA_ASID)
        mmu_invalidate(cpu, &(struct mmu_inval){.kind = kind, .va = va, .asid = asid | ASID_ALIAS});
}

/* Some pages are used more than others. */
static unsigned some_page(void) { return (unsigned)(rnd(2) ? rnd(512) : 80 * rnd(3)); }

/* A kernel's pages are global: then views share what a software TLB knows of them. */
static uint64_t kernel_global(unsigned s) { return has_soft() && s == SPACES - 1 ? E_GLOBAL : 0; }

static uint64_t random_flags(unsigned s) {
    return kernel_global(s) | E_VALID | (rnd(3) ? E_WRITE : 0) | (rnd(16) ? 0 : E_GLOBAL) | (rnd(3) ? 0 : E_KERNEL) |
           (rnd(40) ? 0 : E_DEVICE);
}

static void change_page(unsigned s, unsigned r, unsigned c) {
    unsigned page = some_page();
    if (rnd(2)) {
        unsigned i = (unsigned)rnd(ARRAY_LEN(last));
        s = last[i].s, r = last[i].r, c = last[i].c, page = last[i].page;
    }
    struct chunk *ch = &space[s][r][c];
    if (ch->block)
        return;
    uint64_t old = ch->table[page];
    ch->table[page] = rnd(3) ? data_page() | random_flags(s) : 0;
    if (old & E_VALID)
        invalidate(old & E_GLOBAL || s == SPACES - 1 || rnd(2) ? MMU_INVAL_VA : MMU_INVAL_VA_ASID, va_of(s, r, c, page),
                   s);
}

static void change_chunk(unsigned s, unsigned r, unsigned c) {
    struct chunk *ch = &space[s][r][c];
    uint64_t flags = (random_flags(s) & ~(uint64_t)E_GLOBAL) | kernel_global(s),
             pa = RAM_GPA + DATA_OFFSET + (rnd(14) << 21);
    switch (rnd(3)) {
    case 0: ch->block = pa | flags; break;
    case 1: /* the same by pages, with a hole or two */
        ch->block = 0;
        for (unsigned i = 0; i < 512; i++)
            ch->table[i] = (pa + ((uint64_t)i << 12)) | flags;
        while (rnd(3))
            ch->table[rnd(512)] &= ~(uint64_t)(rnd(2) ? E_VALID : E_WRITE);
        break;
    default:
        ch->block = 0;
        for (unsigned i = 0; i < 512; i++)
            ch->table[i] = rnd(2) ? 0 : data_page() | random_flags(s);
        break;
    }
    invalidate(MMU_INVAL_ALL, 0, 0);
}

static void fork_space(unsigned s) {
    for (unsigned r = 0; r < REGIONS; r++) {
        for (unsigned c = 0; c < CHUNKS; c++) {
            space[s][r][c].block &= ~(uint64_t)E_WRITE;
            for (unsigned i = 0; i < 512; i++)
                space[s][r][c].table[i] &= ~(uint64_t)E_WRITE;
        }
    }
    invalidate(s == SPACES - 1 ? MMU_INVAL_ALL : MMU_INVAL_ASID, 0, s);
    /* global pages of a lower half */
    if (s != SPACES - 1)
        invalidate(MMU_INVAL_ALL, 0, 0);
}

/* ASIDs that were never used, instead of an invalidation: what is not global must be seen as it is now. */
static void fresh_asids(unsigned s, unsigned r, unsigned c) {
    struct chunk *ch = &space[s][r][c];
    for (unsigned i = 0; i < 512; i++)
        if (ch->table[i] & E_VALID && !(ch->table[i] & E_GLOBAL) && !rnd(4))
            ch->table[i] = rnd(2) ? data_page() | (random_flags(s) & ~(uint64_t)E_GLOBAL) : 0;
    if (ch->block && !(ch->block & E_GLOBAL))
        ch->block &= ~(uint64_t)E_WRITE;
    for (unsigned i = 0; i < SPACES - 1; i++)
        asid_of[i] = ++next_asid;
    for (unsigned i = 0; i < SPACES - 1; i++) /* other tables, too, which say the same */
        if (rnd(2))
            root_of[i] = ++next_root;
    enter(regime);
}

/* A kernel that copies a page on a write, or maps one on demand. */
static void repair(unsigned s, unsigned r, unsigned c, unsigned page) {
    unsigned before = regime;
    struct chunk *ch = &space[s][r][c];
    if (ch->block || s == SPACES - 1)
        return;
    enter(REGIME_KERNEL);
    if (ch->table[page] & E_VALID) {
        uint64_t flags = ch->table[page] & (E_VALID | E_GLOBAL);
        ch->table[page] = 0;
        invalidate(flags & E_GLOBAL || rnd(2) ? MMU_INVAL_VA : MMU_INVAL_VA_ASID, va_of(s, r, c, page), s);
        barrier();
        ch->table[page] = data_page() | flags | E_WRITE;
    } else {
        ch->table[page] = data_page() | E_VALID | E_WRITE;
    }
    enter(before);
    check_all();
}

/* What the guest does, and what its tables say of that. */
struct guest_access {
    uint64_t va;
    unsigned regime;
    bool write;
    struct walk walk;
};

static uint64_t ram_at(const struct walk *w) {
    uint64_t there;
    memcpy(&there, ram + (w->pa.v - RAM_GPA), sizeof(there));
    return there;
}

/* An access at a host address that ought to be the page that the walk found. False: it faulted. */
static bool check_data(uint64_t host, bool write, const struct walk *w) {
    uint64_t value = rng;
    if (!host_access(host, write, &value))
        return false;
    if (w->fault || w->device || (write && has_code(w->pa.v)))
        fail("an access that must not be possible", host);
    if (ram_at(w) != value)
        fail("wrong data in a window", host);
    mapped_accesses++;
    return true;
}

/* An access through a window, as translated code does one behind a probe. False: it faulted. */
static bool through_window(const struct guest_access *a) {
    if (!has_windows())
        return false;
    uint64_t delta = view_deltas(cpu, cpu->views[a->regime])[region_index(cpu, region_of(a->va))];
    if (delta & NULL_DELTA && (boot.mmu != ABI_MMU_WINDOW || a->regime != regime)) /* the probe looks */
        return false;
    return check_data(a->va + delta, a->write, &a->walk);
}

/* The same by the view's first table, and where that does not have it by the second, as a thunk does. */
static void through_soft(const struct guest_access *a) {
    struct soft_view *s = soft_of(cpu->views[a->regime]);
    struct soft_first *f = &s->first[first_set(a->va)];
    const enum mmu_access access = a->write ? MMU_WRITE : MMU_READ;
    if (a->va - f->page[access] > PAGE_SIZE - sizeof(uint64_t)) {
        const struct soft_entry *e = second_at(second_place(s, a->va), access, a->va >> PAGE_SHIFT | s->id);
        if (!e)
            return;
        *f = (struct soft_first){.page = {e->tag[MMU_READ] << PAGE_SHIFT, e->tag[MMU_WRITE] << PAGE_SHIFT},
                                 .addend = e->addend};
        s->filled[first_set(a->va) / FIRST_CHUNK * SOFT_VIEWS] = 1;
        promoted++;
    }
    check_soft_page(a->regime, ALIGN_DOWN(a->va, PAGE_SIZE), access, f->addend);
}

static uint8_t code[512];
/* Emits the probe of an access; whether it leads to a window. */
static bool emit_probe(const struct guest_access *a, bool hot, void **site) {
    struct asm_buf buf = {.overflow = false}; /* code runs where it is written */
    struct asm_label slow = {0};
    struct mmu_probe p = {.base = ASM_RBX,
                          .tmp0 = ASM_RSI,
                          .tmp1 = ASM_RDI,
                          .tmp2 = ASM_RDX,
                          .size = 3,
                          .high = 8,
                          .write = a->write,
                          .regime = (uint8_t)a->regime,
                          .current = a->regime == regime,
                          .pc = guest_pc(cpu),
                          .hint = a->va,
                          .slow = &slow};
    asm_init(&buf, code, sizeof(code));
    engine_of(cpu)->hot = hot;
    engine_of(cpu)->ops->emit_probe(&buf, cpu, &p);
    engine_of(cpu)->hot = false;
    *site = code + p.site;
    return p.faults;
}

/* How the access comes to C, if it does: false: it was done without. */
static bool probe(const struct guest_access *a, struct mmu_slow *slow) {
    bool hot = rnd(2);
    if (rnd(2)) {
        if (!emit_probe(a, hot, &slow->site))
            return true; /* a software TLB, or a probe that has no prediction yet */
        if (!through_window(a))
            fail("a probe was emitted for a page that is not mapped", a->va);
        probed++;
        return false;
    }
    if (through_window(a))
        return false;
    cpu->fault_ticks = rt_ticks();
    return true;
}

/* A later access of the block, which goes through what nearby() says. */
static void check_nearby(const struct mmu_slow *s, const struct walk *w) {
    uint64_t host = s->va + engine_of(cpu)->ops->nearby(cpu, s, s->va, MMU_DESC_REGIME(s->desc));
    if (!is_loan(host))
        return;
    check_loan(s->va, host, w);
    if (!check_data(host, false, w))
        fail("a loan cannot be used", s->va);
}

/* Some instructions access memory again and again. Code in the lower half runs often enough to be worth something. */
static void run_to(uint64_t pc) {
    memcpy((char *)cpu + cpu->guest->pc_offset, &pc, sizeof(pc));
    if (engine_of(cpu)->ops->sampled)
        engine_of(cpu)->ops->sampled(cpu, pc);
}

static void access_page(void) {
    bool hi = has_soft() && regime == REGIME_KERNEL ? rnd(64) : !rnd(3), tag = !rnd(10);
    unsigned s = hi ? SPACES - 1 : current_space, r = (unsigned)rnd(REGIONS), c = (unsigned)rnd(CHUNKS);
    const unsigned page = some_page(), slot = (unsigned)rnd(ARRAY_LEN(last));
    struct guest_access a = {.va = (va_of(s, r, c, page) + rnd(512) * 8) ^ (tag ? UINT64_C(0x5a) << 56 : 0),
                             .regime = rnd(6) ? regime : 0, /* or an unprivileged access */
                             .write = rnd(2)};
    const struct walk *w = &a.walk;
    fake_walk(cpu, a.va, a.write ? MMU_WRITE : MMU_READ, a.regime, &a.walk);
    last[slot].s = s, last[slot].r = r, last[slot].c = c, last[slot].page = page;
    last[slot].pa = !w->fault && pa_is_ram(cpu, w->pa.v) ? ALIGN_DOWN(w->pa.v, PAGE_SIZE) : data_page();
    run_to(4 * (rnd(2) ? rnd(8) : rnd(1 << 16)));
    const bool near = rnd(2);
    if (has_soft() && rnd(2))
        through_soft(&a);
    struct mmu_slow slow = {.va = a.va, .desc = MMU_DESC(3, a.regime, 0) | (near ? MMU_DESC_NEARBY : 0)};
    if (!probe(&a, &slow))
        return;
    if (setjmp(aborted)) {
        if (!w->fault && pa_is_ram(cpu, w->pa.v))
            fail("an abort for nothing", a.va);
        if (!rnd(4))
            repair(s, r, c, page);
        return;
    }
    uint64_t value = rng;
    if (a.write)
        mmu_slow_st(cpu, &slow, value);
    else
        value = mmu_slow_ld(cpu, &slow);
    if (w->fault)
        fail("no abort", a.va);
    if (ram_at(w) != value)
        fail("wrong data", a.va);
    if (near && !w->device && engine_of(cpu)->ops->nearby)
        check_nearby(&slow, w);
}

static void access_some(void) {
    for (unsigned i = 0; i < 20; i++)
        access_page();
}

static void one_step(void) {
    unsigned s = rnd(3) ? current_space : rnd(3) ? (unsigned)rnd(SPACES - 1) : SPACES - 1;
    unsigned r = (unsigned)rnd(REGIONS), c = (unsigned)rnd(CHUNKS);
    uint64_t pa;
    switch (rnd(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        for (uint64_t n = rnd(12); n; n--)
            change_page(s, r, c);
        barrier();
        break;
    case 4:
        change_chunk(s, r, c);
        barrier();
        break;
    case 5:
        if (!rnd(4))
            fork_space(s);
        barrier();
        break;
    case 6:
    case 7:
        current_space = (unsigned)rnd(SPACES - 1);
        asid_alias = (unsigned)rnd(2);
        enter(regime);
        break;
    case 8: enter((unsigned)rnd(2)); break;
    case 9:
    case 10:
        pa = rnd(2) ? data_page() : last[rnd(ARRAY_LEN(last))].pa;
        pa = pa ? pa : data_page();
        mmu_protect_code(cpu, GPA(pa));
        if (mmu_of(cpu)->sync_wanted)
            mmu_sync(cpu);
        break;
    case 11: /* its blocks are gone */
        pa = data_page();
        *code_bits_at(engine_of(cpu), pa) = 0;
        if (next_asid < ASID_ALIAS - SPACES && !rnd(4))
            fresh_asids(s, r, c);
        break;
    default: access_some(); break;
    }
    if (!rnd(16))
        check_all();
}

/* --- a history that is not random ------------------------------------------------------------- */
/* What is mapped in long runs goes page by page, every other one: hosts that count mappings have many more then. */
static void comb(void) {
    const unsigned s = SPACES - 1;
    enter(REGIME_KERNEL);
    for (unsigned n = 0; n < REGIONS * CHUNKS; n++) {
        struct chunk *ch = &space[s][n / CHUNKS][n % CHUNKS];
        uint64_t pa = RAM_GPA + DATA_OFFSET + ((uint64_t)n << 21) + PAGE_SIZE; /* no huge page */
        ch->block = 0;
        for (unsigned i = 0; i < 512; i++)
            ch->table[i] = (pa + ((uint64_t)i << 12)) | E_VALID | E_WRITE | E_GLOBAL;
    }
    invalidate(MMU_INVAL_ALL, 0, 0);
    barrier();
    for (unsigned n = 0; n < REGIONS * CHUNKS; n++) {
        for (unsigned i = 0; i < 512; i += 32) {
            struct mmu_slow slow = {.va = va_of(s, n / CHUNKS, n % CHUNKS, i), .desc = MMU_DESC(3, regime, 0)};
            run_to(slow.va);
            cpu->fault_ticks = rt_ticks();
            mmu_slow_ld(cpu, &slow);
        }
    }
    host_check();
    for (unsigned n = 0; n < REGIONS * CHUNKS; n++) {
        for (unsigned i = 0; i < 512; i += 2) {
            space[s][n / CHUNKS][n % CHUNKS].table[i] = 0;
            invalidate(MMU_INVAL_VA, va_of(s, n / CHUNKS, n % CHUNKS, i), s);
            if (i % 16 == 0)
                mmu_sync(cpu);
        }
    }
    barrier();
    check_all();
    host_check();
}

/* Few windows, fewer than the current space has regions: some get none, until they have been accessed often. */
#define WINDOWS_FEW 4
static bool few;
static unsigned long refused;
static void take_windows(void) {
    unsigned kept = 0;
    for (unsigned slot = 0; slot < 256; slot++)
        if (boot.window_slots[0][slot / 64] >> slot % 64 & 1 && ++kept > WINDOWS_FEW)
            boot.window_slots[0][slot / 64] &= ~BIT(slot % 64);
}

/* What engine_main() does, as far as memory needs it. */
static void machine_make(enum abi_mmu mmu) {
    boot = (struct abi_boot){.vcpu_count = 1,
                             .mmu = mmu,
                             .ram_gpa = RAM_GPA,
                             .ram_size = RAM_BYTES,
                             .ram_pa = RAM_HOST_PA,
                             .pt_pool_va = (uintptr_t)pt_pool,
                             .pt_pool_pa = PT_PA,
                             .pt_pool_size = sizeof(pt_pool),
                             .pml4_va = {(uintptr_t)pml4},
                             .code_size = 1 << 20};
    host_make(&boot, RAM_BYTES);
    if (few)
        take_windows();
    ram = (uint8_t *)boot.ram_va;
    cpu = aligned_alloc(4096, ABI_CPU_BYTES);
    memset(cpu, 0, ABI_CPU_BYTES);
    static struct engine engine;
    static struct abi_shared shared;
    static struct engine_shared engine_shared;
    boot.vcpu_va[0] = (uintptr_t)cpu;
    cpu->self = cpu;
    cpu->boot = &boot;
    cpu->shared = &shared;
    cpu->guest = &fake_guest;
    cpu->engine = &engine;
    engine.cpu = cpu;
    engine.guest = cpu->guest;
    engine.ops = mmu_strategies[mmu];
    engine.shared = &engine_shared;
    engine.heap.size = 32 << 20;
    engine.heap.base = calloc(1, engine.heap.size);
    engine.code_bits = calloc(1, RAM_BYTES >> 12);
    boot.code_va[0] = (uintptr_t)aligned_alloc(4096, boot.code_size);
    engine.cg = calloc(1, codegen_size());
    cache_init(cpu);
    mmu_init(cpu);
    for (unsigned i = 0; i < SPACES - 1; i++)
        asid_of[i] = ++next_asid;
    for (unsigned i = 0; i < SPACES; i++)
        root_of[i] = ++next_root;
    mmu_context_changed(cpu);
}

static enum abi_mmu strategy_named(const char *name) {
    for (enum abi_mmu mmu = 0; name && mmu < ABI_MMU_COUNT; mmu++)
        if (!strcmp(mmu_strategies[mmu]->name, name) && !mmu_strategies[mmu]->needs_ring3)
            return mmu;
    fprintf(stderr, "usage: test_window STRATEGY [SEED [STEPS]], with a strategy for ring 3\n");
    exit(2);
}

static void check_coverage(void) {
    if (has_soft() && (!first_seen || !promoted))
        fail("nothing was ever looked up in the software TLB", 0);
    if (!has_windows())
        return;
    if (!pages_seen || !mapped_accesses)
        fail("no page was ever mapped", 0);
    if (few && !refused)
        fail("no region was ever without a window", 0);
    if (boot.mmu == ABI_MMU_WINDOW && (!recent_seen || !loans_seen))
        fail("no recent page, or none that is lent, was ever looked at", 0);
    if (boot.mmu != ABI_MMU_WINDOW && !probed)
        fail("no code was ever hot", 0);
}

int main(int argc, char **argv) {
    enum abi_mmu mmu = strategy_named(argv[1]);
    uint64_t steps = argc > 3 ? strtoull(argv[3], NULL, 0) : 20000;
    rng = argc > 2 ? strtoull(argv[2], NULL, 0) * 2 + 1 : 12345;
    few = rng / 2 % 3 == 0;
    machine_make(mmu);
    uint8_t *table = ram;
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned r = 0; r < REGIONS; r++)
            for (unsigned c = 0; c < CHUNKS; c++, table += 4096)
                space[s][r][c].table = (uint64_t *)table;
    }
    for (unsigned i = 0; i < 2 * SPACES * REGIONS * CHUNKS; i++)
        change_chunk(i % SPACES, i / SPACES % REGIONS, i / SPACES / REGIONS % CHUNKS);
    if (has_windows())
        comb();
    for (step = 0; step < steps; step++) {
        one_step();
        for (unsigned i = 0; i < REGION_HASH && has_windows(); i++)
            refused += windows_of(cpu)->refused[i] != 0;
    }
    check_coverage();
    if (has_windows())
        host_end();
    printf("ok: %lu steps, %llu fills, %llu huge; %lu pages checked, %lu accesses through windows, %lu of hot code; "
           "%lu entries of a "
           "software TLB, %lu promoted\n",
           step, (unsigned long long)STAT(cpu, fills), (unsigned long long)STAT(cpu, fills_huge), pages_seen,
           mapped_accesses, probed, first_seen, promoted);
    return 0;
}
