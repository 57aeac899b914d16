/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* host_tlb.c: a model of a host with a TLB that loses nothing by itself. See window_host.h. */
#include <stdlib.h>

#include "graft/vm.h"
#include "tests/engine/window_host.h"

static uint8_t *ram;

void host_make(struct abi_boot *boot, uint64_t ram_bytes) {
    ram = aligned_alloc(2 << 20, ram_bytes);
    memset(ram, 0, ram_bytes);
    boot->ram_va = (uintptr_t)ram;
    boot->null_slot = VM_NULL_SLOT;
    boot->loan_slot[0] = VM_LOAN_SLOT;
    for (unsigned slot = VM_WINDOW_FIRST; slot <= VM_WINDOW_LAST; slot += 2)
        boot->window_slots[0][slot / 64] |= BIT(slot % 64);
}

bool rt_has_paging(void) { return true; }
void rt_ram_used(struct cpu *c, struct gpa page) {}
struct rt_page_costs rt_page_costs(struct cpu *c) {
    return (struct rt_page_costs){.fault = 1, .map = 1, .touch = 1, .unmap = 1};
}

/* --- the TLB ---------------------------------------------------------------------------------- */
#define TLB_MAX 400000
static struct host_page tlb[TLB_MAX];
static unsigned tlb_count;
/* Each host page's place in tlb, by open addressing. */
#define TLB_HASH (1u << 20)
static uint32_t tlb_hash[TLB_HASH];

static void tlb_add(struct host_page p) {
    uint32_t h = (uint32_t)((p.host >> 12) * 0x9e3779b97f4a7c15u >> 44) & (TLB_HASH - 1);
    for (; tlb_hash[h]; h = (h + 1) & (TLB_HASH - 1)) {
        struct host_page *old = &tlb[tlb_hash[h] - 1];
        if (old->host == p.host && old->ram == p.ram) {
            old->write |= p.write;
            return;
        }
    }
    if (tlb_count == TLB_MAX)
        return;
    tlb[tlb_count] = p;
    tlb_hash[h] = ++tlb_count;
}

static void tlb_clear(void) {
    tlb_count = 0;
    memset(tlb_hash, 0, sizeof(tlb_hash));
}

/* Without the entries whose host address is 0. */
static void tlb_rebuild(void) {
    static struct host_page copy[TLB_MAX];
    unsigned n = tlb_count;
    memcpy(copy, tlb, n * sizeof(copy[0]));
    tlb_clear();
    for (unsigned i = 0; i < n; i++)
        if (copy[i].host)
            tlb_add(copy[i]);
}

void rt_map_pages(struct cpu *c, uint64_t host, unsigned count) {}
void rt_flush_all(struct cpu *c) { tlb_clear(); }

static void flush_page(uint64_t host) {
    /* A host that has a 2 MiB entry drops all of it; one that split it may drop 4 KiB only: the weaker is modelled when
     * the tables hold 4 KiB pages now. */
    uint64_t slot = host >> 39, e = rt_pml4(cpu)[slot];
    bool huge = true;
    if (e & 1 && (e = rt_pt_at(cpu, ALIGN_DOWN(e, PAGE_SIZE))[host >> 30 & 511]) & 1) {
        e = rt_pt_at(cpu, ALIGN_DOWN(e, PAGE_SIZE))[host >> 21 & 511];
        huge = !(e & LEAF_PRESENT) || e & LEAF_HUGE;
    }
    for (unsigned i = 0; i < tlb_count; i++)
        if (tlb[i].host >> 12 == host >> 12 || (huge && tlb[i].host >> 21 == host >> 21))
            tlb[i].host = 0;
}

void rt_flush_pages(struct cpu *c, const uint64_t *host, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        flush_page(host[i]);
    tlb_rebuild();
}

/* A host that shadows the tables: it looks again at a page that it knows as read-only. */
bool rt_touch(struct cpu *c, uint64_t host) {
    uint64_t e = leaf(host);
    if ((e & (LEAF_PRESENT | LEAF_WRITE | LEAF_HUGE)) != (LEAF_PRESENT | LEAF_WRITE))
        fail("a page is touched that is not writable", host);
    for (unsigned i = 0; i < tlb_count; i++)
        if (tlb[i].host >> 12 == host >> 12 && tlb[i].write && tlb[i].ram != leaf_ram(e, host))
            fail("a page is touched that the host knows as writable", host);
    if (rnd(4) == 0)
        return false;
    for (unsigned i = 0; i < tlb_count; i++)
        if (tlb[i].host >> 12 == host >> 12)
            tlb[i].host = 0;
    tlb_rebuild();
    return true;
}

/* --- what the test asks ----------------------------------------------------------------------- */
static void look_at_directory(const uint64_t *pd, uint64_t at) {
    for (unsigned j = 0; j < 512; j++) {
        if (!(pd[j] & LEAF_PRESENT))
            continue;
        const uint64_t *pt = pd[j] & LEAF_HUGE ? NULL : rt_pt_at(cpu, ALIGN_DOWN(pd[j], PAGE_SIZE));
        for (unsigned k = 0; k < 512; k++) {
            uint64_t e = pt ? pt[k] : pd[j], host = at | (uint64_t)j << 21 | (uint64_t)k << 12;
            if (e & LEAF_PRESENT)
                tlb_add((struct host_page){host, leaf_ram(e, host), e & LEAF_WRITE});
        }
    }
}

void host_look(void) {
    const uint64_t *pml4 = rt_pml4(cpu);
    for (uint64_t s = 1; s < 256; s++) {
        const uint64_t *pdpt = pml4[s] & LEAF_PRESENT ? rt_pt_at(cpu, ALIGN_DOWN(pml4[s], PAGE_SIZE)) : NULL;
        for (uint64_t i = 0; pdpt && i < 512; i++)
            if (pdpt[i] & LEAF_PRESENT)
                look_at_directory(rt_pt_at(cpu, ALIGN_DOWN(pdpt[i], PAGE_SIZE)), s << 39 | i << 30);
    }
}

const struct host_page *host_pages(unsigned *count) {
    *count = tlb_count;
    return tlb;
}

bool host_access(uint64_t host, bool write, uint64_t *value) {
    uint64_t e = host >> 39 < 256 ? leaf(host) : 0;
    if (!(e & LEAF_PRESENT) || (write && !(e & LEAF_WRITE)))
        return false;
    uint8_t *at = ram + leaf_ram(e, host) + (host & PAGE_MASK);
    if (write)
        memcpy(at, value, sizeof(*value));
    else
        memcpy(value, at, sizeof(*value));
    return true;
}

void host_check(void) {}
void host_end(void) {}
