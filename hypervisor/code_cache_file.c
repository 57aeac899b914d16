/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* code_cache_file.c: what a file of the cache says of itself, none of which is believed. */
#include "hypervisor/code_cache.h"

#include <string.h>

#define MAGIC "GRAFTCOD"

bool code_cache_head_is_right(const struct code_cache_head *h, const uint64_t key[2], uint64_t file_bytes) {
    const uint64_t index = (uint64_t)h->count * sizeof(struct code_cache_index);
    return file_bytes > CODE_CACHE_HEAD_BYTES && !memcmp(h->magic, MAGIC, sizeof(h->magic)) &&
           h->version == CODE_CACHE_VERSION && h->sum == hash_bytes(0, h, offsetof(struct code_cache_head, sum)) &&
           h->key[0] == key[0] && h->key[1] == key[1] && h->bytes % CODE_ENTRY_ALIGN == 0 &&
           h->bytes <= file_bytes - CODE_CACHE_HEAD_BYTES && index <= file_bytes - CODE_CACHE_HEAD_BYTES - h->bytes;
}

bool code_cache_index_is_right(const struct code_cache_head *h, const struct code_cache_index *index) {
    if (h->index_sum != hash_bytes(0, index, h->count * sizeof(*index)))
        return false;
    for (uint32_t i = 0; i < h->count; i++) {
        uint64_t at = (uint64_t)index[i].at * CODE_ENTRY_ALIGN;
        if (at > h->bytes || h->bytes - at < sizeof(struct code_entry))
            return false;
    }
    return true;
}

void code_cache_table(struct code_slot *table, uint64_t mask, const struct code_cache_head *h,
                      const struct code_cache_index *index, uint64_t at) {
    for (uint32_t i = 0; i < h->count; i++) {
        uint64_t n = index[i].key & mask;
        while (table[n].at)
            n = (n + 1) & mask;
        table[n] = (struct code_slot){index[i].key, (uint32_t)(at / CODE_ENTRY_ALIGN + index[i].at) | CODE_SLOT_USED};
    }
}
