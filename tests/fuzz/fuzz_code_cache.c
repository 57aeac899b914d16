/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_code_cache.c: files that say they are translated code: a head, what is behind it, and each entry. Checksums are
 * made right again: whoever makes a file can do that, too. Nothing that is found right leads out of what there
 * is. */
#include "hypervisor/code_cache.h"

#include <stdlib.h>
#include <string.h>

static void check(bool right) {
    if (!right)
        abort();
}

static void look_at_entry(const uint8_t *at, uint64_t room) {
    struct code_parts p;
    struct code_entry *x = malloc(room); /* so that what is behind it is nobody's */
    memcpy(x, at, room);
    if (room >= sizeof(*x) && x->bytes <= room && x->bytes >= sizeof(*x))
        x->sum = code_entry_sum(x);
    if (code_entry_parse(x, room, &p)) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < x->links; i++)
            sum += p.code[p.link[i].site] + p.code[p.link[i].site + CODE_LINK_BYTES - 1] + p.code[p.link[i].stub];
        for (unsigned i = 0; i < x->faults; i++)
            sum += p.fault[i].stub & CODE_RECORD ? p.records[x->records - (p.fault[i].stub & ~CODE_RECORD)]
                                                 : p.code[p.fault[i].at] + p.code[p.fault[i].stub];
        for (unsigned i = 0; i < x->moves; i++)
            sum += p.code[(p.move[i] >> 1) + CODE_MOVE_BYTES(p.move[i]) - 1];
        for (unsigned i = 0; i < (unsigned)x->before + x->watch; i++)
            sum += p.guest[i];
        check(sum < UINT64_MAX && p.guest + x->before + x->watch <= (const uint8_t *)x + x->bytes);
    }
    free(x);
}

static void look_at_index(const struct code_cache_head *h, const struct code_cache_index *index,
                          const uint8_t *entries) {
    uint64_t slots = 2;
    while (slots < 2 * (uint64_t)h->count)
        slots *= 2;
    struct code_slot *table = calloc(slots, sizeof(*table));
    code_cache_table(table, slots - 1, h, index, 0);
    uint32_t used = 0;
    for (uint64_t i = 0; i < slots; i++) {
        uint64_t at = (uint64_t)(table[i].at & ~CODE_SLOT_USED) * CODE_ENTRY_ALIGN;
        if (!table[i].at)
            continue;
        used++;
        look_at_entry(entries + at, h->bytes - at);
    }
    check(used == h->count);
    free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct code_cache_head h;
    if (size < sizeof(h))
        return 0;
    look_at_entry(data, size);
    memcpy(&h, data, sizeof(h));
    memcpy(h.magic, "GRAFTCOD", sizeof(h.magic));
    h.version = CODE_CACHE_VERSION;
    h.bytes &= 0xffff; /* so that many heads are right */
    h.count &= 0xff;
    h.sum = hash_bytes(0, &h, offsetof(struct code_cache_head, sum));
    if (!code_cache_head_is_right(&h, h.key, size - sizeof(h) + CODE_CACHE_HEAD_BYTES))
        return 0;
    const size_t index_bytes = h.count * sizeof(struct code_cache_index);
    check(h.bytes + index_bytes <= size - sizeof(h));
    struct code_cache_index *index = malloc(index_bytes + 1);
    memcpy(index, data + sizeof(h) + h.bytes, index_bytes);
    for (uint32_t i = 0; i < h.count; i++)
        index[i].at &= 0xfff;
    h.index_sum = hash_bytes(0, index, index_bytes);
    if (code_cache_index_is_right(&h, index))
        look_at_index(&h, index, data + sizeof(h));
    free(index);
    return 0;
}
