/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * paging.c: host paging in a process. The engine's page tables (pages.h) are what should be mapped; the kernel's
 * mappings of the RAM file in the window slots follow them, as a TLB follows page tables: mapped when the engine says
 * that an entry is new, or at the fault of an access that the tables allow; unmapped when the engine flushes. What the
 * kernel maps is known exactly: a chunk of 2 MiB of host addresses for each piece that has pages, so that a flush
 * touches only what is out of date.
 *
 * Each vCPU has slots of its own, so nothing in here is shared between threads but the file.
 */
#define _GNU_SOURCE /* mincore() */
#include "dbt/rt/user/user.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CHUNK_SHIFT 21
#define CHUNK_BYTES BIT(CHUNK_SHIFT)
#define CHUNK_PAGES 512u
#define CHUNK_HASH 4096u
#define FILL_PAGES 64u /* that one fault maps, if the tables have them */

/* x86 page-table entries, as far as the engine writes them. */
enum { E_PRESENT = 1, E_WRITE = 2, E_PAGE_SIZE = 0x80 };
#define E_ADDRESS UINT64_C(0x000ffffffffff000)

/* A page of a chunk: 0 if there is nothing, else (number of the page in the RAM file + 1) << 1 | writable. */
typedef uint32_t mapping;

struct chunk {
    struct chunk *next; /* of its hash */
    uint64_t host;
    uint64_t stamp; /* when something was mapped here last */
    unsigned pages; /* that are mapped */
    mapping page[CHUNK_PAGES];
};

static struct paging {
    struct chunk *hash[CHUNK_HASH];
    uint64_t clock, oldest; /* counts fills; what was filled before is gone */
    uint64_t maps;          /* changes that may have split a mapping since mappings were counted */
} paging[ABI_MAX_VCPUS];

static struct {
    int fd; /* of RAM, -1: no paging */
    uint8_t *ram;
    uint64_t maps_max; /* for each vCPU */
} host = {.fd = -1};

/* --- memory for RAM --------------------------------------------------------------------------- */
/* log2 of what is populated at once: little enough not to take much that the guest never uses */
#define PIECE_SHIFT 18
#define PIECES (UINT64_C(1) << (36 - PIECE_SHIFT)) /* of 64 GiB */
static _Atomic uint8_t populated[PIECES / 8];      /* a byte for each 2 MiB */
_Static_assert(PIECE_SHIFT + 3 == CHUNK_SHIFT, "a byte of that set is what one huge page holds");

/* A file in memory gets huge pages nearly nowhere but on demand, and then only where it has a page already. */
bool rt_user_make_huge(uint64_t at) {
    return !madvise((void *)at, PAGE_SIZE, MADV_POPULATE_WRITE) && !madvise((void *)at, CHUNK_BYTES, MADV_COLLAPSE);
}

void rt_ram_used(struct cpu *cpu, struct gpa page) {
    const struct abi_boot *boot = cpu->boot;
    uint64_t offset = ALIGN_DOWN(page.v - boot->ram_gpa, BIT(PIECE_SHIFT)), n = offset >> PIECE_SHIFT;
    uint64_t left = boot->ram_size - offset, chunk = ALIGN_DOWN(offset, CHUNK_BYTES);
    uint8_t bit = (uint8_t)(1u << n % 8), *set = (uint8_t *)&populated[n / 8];
    if (n >= PIECES || *set & bit)
        return;
    uint8_t before = __atomic_fetch_or(set, bit, __ATOMIC_RELAXED);
    if (before & bit)
        return;
    if (!before && host.fd >= 0 && boot->ram_size - chunk >= CHUNK_BYTES && rt_user_make_huge(boot->ram_va + chunk))
        __atomic_store_n(set, 0xff, __ATOMIC_RELAXED);
    else /* before Linux 5.14 this is not known: page by page */
        madvise((void *)(boot->ram_va + offset), left < BIT(PIECE_SHIFT) ? left : BIT(PIECE_SHIFT),
                MADV_POPULATE_WRITE);
}

/* --- what the kernel lets us map -------------------------------------------------------------- */
#define MAPS_ELSEWHERE 4096 /* libraries, heaps, stacks */

static uint64_t maps_limit(void) {
    static uint64_t limit; /* read once: later this process may not be allowed to */
    FILE *f = limit ? NULL : fopen("/proc/sys/vm/max_map_count", "re");
    limit = limit ? limit : 65530;
    if (f) {
        unsigned long long n;
        if (fscanf(f, "%llu", &n) == 1)
            limit = n;
        fclose(f);
    }
    return limit > 2 * MAPS_ELSEWHERE ? limit - MAPS_ELSEWHERE : limit / 2;
}

void rt_user_prepare(void) { maps_limit(); }

void rt_user_set_ram(int fd, void *ram, unsigned vcpus) {
    memset((void *)populated, 0, sizeof(populated));
    host.fd = fd;
    host.ram = ram;
    host.maps_max = maps_limit() / 2 / vcpus; /* a call splits one mapping into three at most */
}

void rt_user_limit_maps(uint64_t max) { host.maps_max = max; }

bool rt_has_paging(void) { return host.fd >= 0; }

static void forbid(uint64_t at, uint64_t bytes) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (mmap((void *)at, bytes, PROT_NONE, flags, -1, 0) == MAP_FAILED)
        abort(); /* the guest would go on with a page that it has given away */
}

/* --- chunks ----------------------------------------------------------------------------------- */
static struct chunk **bucket(struct paging *p, uint64_t at) {
    return &p->hash[(at >> CHUNK_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) >> 52];
}

static struct chunk *chunk_find(struct paging *p, uint64_t at) {
    struct chunk *c = *bucket(p, at);
    while (c && c->host != ALIGN_DOWN(at, CHUNK_BYTES))
        c = c->next;
    return c;
}

static void chunk_clear(struct chunk *c) {
    forbid(c->host, CHUNK_BYTES);
    memset(c->page, 0, sizeof(c->page));
    c->pages = 0;
}

/* Mappings that the kernel needs for a chunk: where one page does not continue the one before it. */
static unsigned chunk_maps(const struct chunk *c) {
    unsigned n = 1;
    for (unsigned i = 1; i < CHUNK_PAGES; i++)
        n += c->page[i] != (c->page[i - 1] ? c->page[i - 1] + 2 : 0);
    return n;
}

static void each_chunk(struct paging *p, void (*fn)(struct cpu *cpu, struct chunk *c, uint64_t arg), struct cpu *cpu,
                       uint64_t arg) {
    for (unsigned i = 0; i < CHUNK_HASH; i++) {
        for (struct chunk **at = &p->hash[i], *c; (c = *at);) {
            fn(cpu, c, arg);
            if (c->pages) {
                at = &c->next;
            } else {
                *at = c->next;
                free(c);
            }
        }
    }
}

/* Room for more mappings, if there is none: what was mapped longest ago goes. The tables still have it; an access
 * brings it back. */
static void forget_old(struct cpu *cpu, struct chunk *c, uint64_t stamp) {
    struct paging *p = &paging[cpu->index];
    if (c->stamp <= stamp)
        chunk_clear(c);
    else
        p->maps += chunk_maps(c);
}
static void make_room(struct cpu *cpu) {
    struct paging *p = &paging[cpu->index];
    if (p->maps <= host.maps_max)
        return;
    p->oldest += (p->clock - p->oldest) / 2;
    p->maps = 0;
    each_chunk(p, forget_old, cpu, p->oldest);
}

/* Valid until the next call. */
static struct chunk *chunk_make(struct cpu *cpu, uint64_t at) {
    struct paging *p = &paging[cpu->index];
    make_room(cpu);
    struct chunk *c = chunk_find(p, at), **head = bucket(p, at);
    if (c || !(c = calloc(1, sizeof(*c))))
        return c;
    c->host = ALIGN_DOWN(at, CHUNK_BYTES);
    c->next = *head;
    *head = c;
    return c;
}

/* --- in line with the tables ------------------------------------------------------------------ */
/* The entry that maps the 2 MiB around at, or leads to a table of pages; 0 if there is none. */
static uint64_t directory_entry(struct cpu *cpu, uint64_t at) {
    uint64_t e = rt_pml4(cpu)[at >> 39];
    for (int shift = 30; e & E_PRESENT && shift >= CHUNK_SHIFT; shift -= 9)
        e = rt_pt_at(cpu, e & E_ADDRESS)[at >> shift & 511];
    return e & E_PRESENT ? e : 0;
}

/* What page i of a chunk should be. */
static mapping wanted(struct cpu *cpu, uint64_t directory, unsigned i) {
    uint64_t e = directory, offset = (uint64_t)i << PAGE_SHIFT;
    if (e && !(e & E_PAGE_SIZE)) {
        e = rt_pt_at(cpu, e & E_ADDRESS)[i];
        offset = 0;
    }
    if (!(e & E_PRESENT))
        return 0;
    uint64_t ram = (e & E_ADDRESS) + offset - cpu->boot->ram_pa;
    return (mapping)(((ram >> PAGE_SHIFT) + 1) << 1 | (e & E_WRITE) / E_WRITE);
}

/* Are all of these pages of RAM there already? Then the kernel need not be asked for each of them by a fault. */
static bool resident(uint64_t ram, unsigned pages) {
    unsigned char there[CHUNK_PAGES];
    if (mincore(host.ram + ram, (uint64_t)pages << PAGE_SHIFT, there))
        return false;
    for (unsigned i = 0; i < pages; i++)
        if (!(there[i] & 1))
            return false;
    return true;
}

static bool map_run(struct chunk *c, unsigned first, unsigned count, mapping m) {
    uint64_t at = c->host + ((uint64_t)first << PAGE_SHIFT), ram = (uint64_t)((m >> 1) - 1) << PAGE_SHIFT;
    int flags = MAP_SHARED | MAP_FIXED | (resident(ram, count) ? MAP_POPULATE : 0);
    return mmap((void *)at, (uint64_t)count << PAGE_SHIFT, PROT_READ | (m & 1 ? PROT_WRITE : 0), flags, host.fd,
                (off_t)ram) != MAP_FAILED;
}

/* One change of a run of pages [first, first + count) from have to want (of the first; the others follow on). */
static void change(struct paging *p, struct chunk *c, unsigned first, unsigned count, mapping have, mapping want) {
    uint64_t at = c->host + ((uint64_t)first << PAGE_SHIFT), bytes = (uint64_t)count << PAGE_SHIFT;
    p->maps++;
    if (want && have >> 1 == want >> 1) { /* the same page with other rights */
        if (mprotect((void *)at, bytes, PROT_READ | (want & 1 ? PROT_WRITE : 0)))
            want = 0;
    } else if (want && !map_run(c, first, count, want)) {
        want = 0;
    }
    if (!want && have)
        forbid(at, bytes);
    for (unsigned i = first; i < first + count; i++) {
        c->pages += (want != 0) - (c->page[i] != 0);
        c->page[i] = want ? want + 2 * (i - first) : 0;
    }
}

/* Is what the kernel has for a page out of date? fill: also if it has less than it should. */
static bool differs(mapping have, mapping want, bool fill) {
    if (have == want)
        return false;
    return fill || (have && (have >> 1 != want >> 1 || (have & 1) > (want & 1)));
}

static void update(struct cpu *cpu, struct chunk *c, unsigned first, unsigned last, bool fill) {
    struct paging *p = &paging[cpu->index];
    uint64_t directory = directory_entry(cpu, c->host);
    if (!fill && p->maps > host.maps_max) { /* no room for holes: faults bring back what is left */
        chunk_clear(c);
        return;
    }
    for (unsigned i = first, n; i < last; i += n) {
        mapping have = c->page[i], want = wanted(cpu, directory, i);
        n = 1;
        if (!differs(have, want, fill))
            continue;
        for (; i + n < last; n++) {
            mapping h = c->page[i + n], w = wanted(cpu, directory, i + n);
            bool alike = (have >> 1 == want >> 1) == (h >> 1 == w >> 1) && !have == !h;
            if (w != (want ? want + 2 * n : 0) || !alike || !differs(h, w, fill))
                break;
        }
        change(p, c, i, n, have, want);
    }
}

static void fill(struct cpu *cpu, struct chunk *c, unsigned first, unsigned last) {
    struct paging *p = &paging[cpu->index];
    c->stamp = ++p->clock;
    update(cpu, c, first, last, true);
}

/* --- services of the runtime ------------------------------------------------------------------ */
void rt_map_pages(struct cpu *cpu, uint64_t host_va, unsigned count) {
    struct chunk *c = chunk_make(cpu, host_va);
    unsigned first = (unsigned)(host_va >> PAGE_SHIFT) % CHUNK_PAGES;
    if (c)
        fill(cpu, c, first, first + count < CHUNK_PAGES ? first + count : CHUNK_PAGES);
}

void rt_flush_pages(struct cpu *cpu, const uint64_t *host_va, unsigned count) {
    STAT(cpu, flush_host_page) += count;
    make_room(cpu);
    for (unsigned i = 0; i < count; i++) {
        struct chunk *c = chunk_find(&paging[cpu->index], host_va[i]);
        unsigned first = (unsigned)(host_va[i] >> PAGE_SHIFT) % CHUNK_PAGES;
        if (c && host_va[i] & RT_FLUSH_HUGE)
            update(cpu, c, 0, CHUNK_PAGES, false);
        else if (c)
            update(cpu, c, first, first + 1, false);
    }
}

static void update_all(struct cpu *cpu, struct chunk *c, uint64_t arg) { update(cpu, c, 0, CHUNK_PAGES, false); }

void rt_flush_all(struct cpu *cpu) {
    STAT(cpu, flush_host_all)++;
    make_room(cpu);
    each_chunk(&paging[cpu->index], update_all, cpu, 0);
}

/* The kernel has no second look at our tables. */
bool rt_touch(struct cpu *cpu, uint64_t host_va) { return false; }

bool rt_user_fault(struct cpu *cpu, uint64_t at, bool write) {
    const struct abi_boot *boot = cpu->boot;
    uint64_t slot = at >> 39;
    if (host.fd < 0 || slot > 255)
        return false;
    if (!(boot->window_slots[cpu->index][slot / 64] >> slot % 64 & 1) && slot != boot->loan_slot[cpu->index])
        return false;
    unsigned i = (unsigned)(at >> PAGE_SHIFT) % CHUNK_PAGES, first = ALIGN_DOWN(i, FILL_PAGES);
    mapping want = wanted(cpu, directory_entry(cpu, at), i);
    struct chunk *c = want && (want & 1 || !write) ? chunk_make(cpu, at) : NULL;
    if (!c || c->page[i] == want) /* or it would fault again for ever */
        return false;
    fill(cpu, c, first, first + FILL_PAGES);
    return c->page[i] == want;
}

static void forget(struct cpu *cpu, struct chunk *c, uint64_t arg) { chunk_clear(c); }

void rt_user_paging_end(struct cpu *cpu) {
    each_chunk(&paging[cpu->index], forget, cpu, 0);
    paging[cpu->index] = (struct paging){.clock = 0};
}

void rt_user_each_mapping(struct cpu *cpu, void (*fn)(void *arg, uint64_t host, uint64_t ram, bool write), void *arg) {
    for (unsigned i = 0; i < CHUNK_HASH; i++)
        for (const struct chunk *c = paging[cpu->index].hash[i]; c; c = c->next)
            for (unsigned j = 0; j < CHUNK_PAGES; j++)
                if (c->page[j])
                    fn(arg, c->host + ((uint64_t)j << PAGE_SHIFT), (uint64_t)((c->page[j] >> 1) - 1) << PAGE_SHIFT,
                       c->page[j] & 1);
}

/* --- what it costs ---------------------------------------------------------------------------- */
#define COST_ROUNDS 8u

/* Of the least of some rounds: what else the host does meanwhile is not the price. */
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

struct rt_page_costs rt_page_costs(struct cpu *cpu) {
    static struct rt_page_costs cost[ABI_MAX_VCPUS];
    struct rt_page_costs *c = &cost[cpu->index];
    uint64_t at = (uint64_t)cpu->boot->loan_slot[cpu->index] << 39;
    if (c->map || host.fd < 0)
        return *c;
    c->fault = c->map = c->touch = c->unmap = ~UINT64_C(0);
    for (unsigned i = 0; i < COST_ROUNDS; i++) {
        uint64_t t0 = rt_ticks();
        void *p =
            mmap((void *)at, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, host.fd, 0);
        if (p == MAP_FAILED)
            break;
        uint64_t t1 = rt_ticks();
        *(volatile uint8_t *)p;
        uint64_t t2 = rt_ticks();
        forbid(at, PAGE_SIZE);
        uint64_t t3 = rt_ticks();
        bool faulted = rt_user_try(at);
        uint64_t t4 = rt_ticks();
        c->map = least(c->map, t1 - t0);
        c->touch = least(c->touch, t2 - t1);
        c->unmap = least(c->unmap, t3 - t2);
        c->fault = least(c->fault, faulted ? t4 - t3 : c->fault);
    }
    c->huge = rt_user_make_huge((uint64_t)host.ram);
    return *c;
}
