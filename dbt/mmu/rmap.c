/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* rmap.c: see rmap.h. */
#include "dbt/mmu/rmap.h"

void rmap_clear(struct rmap *r) {
    memset(r->head, 0, sizeof(r->head));
    r->used = 1;
    r->free = 0;
}

bool rmap_init(struct rmap *r, struct heap *h, uint64_t max) {
    uint64_t most = heap_left(h) / 4 / sizeof(r->entry[0]);
    r->max = (uint32_t)(max < most ? max : most);
    r->entry = r->max < 4 * TABLE_ENTRIES ? NULL : heap_take(h, r->max * sizeof(r->entry[0]));
    rmap_clear(r);
    return r->entry != NULL;
}

void rmap_add(struct rmap *r, uint32_t key, uint64_t host) {
    uint32_t *head = rmap_bucket(r, key), n;
    for (uint32_t i = *head; i; i = r->entry[i].next)
        if (r->entry[i].key == key && r->entry[i].host == host)
            return;
    if (r->free) {
        n = r->free;
        r->free = r->entry[n].next;
    } else {
        n = r->used++;
    }
    r->entry[n] = (struct rmap_entry){key, *head, host};
    *head = n;
}

void rmap_remove(struct rmap *r, uint32_t *at) {
    uint32_t n = *at;
    *at = r->entry[n].next;
    r->entry[n].next = r->free;
    r->free = n;
}
