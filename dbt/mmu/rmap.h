/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * rmap.h: the reverse map: at which host addresses a RAM page, or a 2 MiB chunk of RAM, is mapped writable. It may be
 * out of date: an entry is checked when it is used.
 */
#ifndef DBT_MMU_RMAP_H
#define DBT_MMU_RMAP_H

#include "dbt/mmu/pages.h"

struct rmap_entry {
    uint32_t key, next;
    uint64_t host;
};
#define RMAP_CHUNK 0x80000000u
#define RMAP_HASH_BITS 14

struct rmap {
    struct rmap_entry *entry; /* [0] is unused: 0 ends a chain */
    uint32_t used, max, free;
    uint32_t head[1 << RMAP_HASH_BITS];
};

static inline uint32_t page_key(const struct cpu *cpu, uint64_t pa) {
    return (uint32_t)(ram_offset(cpu, pa) >> PAGE_SHIFT);
}
static inline uint32_t chunk_key(const struct cpu *cpu, uint64_t pa) {
    return (uint32_t)(ram_offset(cpu, pa) >> HUGE_SHIFT) | RMAP_CHUNK;
}
/* rmap_init(): room for max entries, 0 if there is no memory for a useful number. */
bool rmap_init(struct rmap *r, struct heap *h, uint64_t max);
void rmap_clear(struct rmap *r);
/* rmap_room(): entries that are certainly free. */
static inline uint32_t rmap_room(const struct rmap *r) { return r->max - r->used; }
/* rmap_bucket(): where the chain begins that holds the entries of that key. */
static inline uint32_t *rmap_bucket(struct rmap *r, uint32_t key) {
    return &r->head[key * 0x9e3779b1u >> (32 - RMAP_HASH_BITS)];
}
/* rmap_add(): the caller has made sure of room. */
void rmap_add(struct rmap *r, uint32_t key, uint64_t host);
/* rmap_remove(): the entry that *at names. */
void rmap_remove(struct rmap *r, uint32_t *at);

#endif
