/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* image.h: all that the tables say of a block, and its host code, to be compared with another that was made at the same
 * place. */
#ifndef TESTS_ENGINE_IMAGE_H
#define TESTS_ENGINE_IMAGE_H

#include <string.h>

#include "dbt/engine.h"

struct image {
    uint8_t code[1 << 17], records[1 << 17];
    struct block_link link[CODE_MAX_LINKS];
    struct code_fault fault[CODE_MAX_FAULTS];
    struct block block;
};

/* What is left of another block may be anything. */
static inline void image_scribble(struct engine *e) { memset(e->out, 0xa5, sizeof(*e->out)); }

static inline void image_save(struct image *to, const struct cache *c, const struct block *b) {
    to->block = *b;
    memcpy(to->code, c->code + b->start, b->end - b->start);
    memcpy(to->records, c->code + b->records - b->record_bytes, b->record_bytes);
    memcpy(to->link, &c->link[b->first_link], b->links * sizeof(to->link[0]));
    memcpy(to->fault, &c->fault[b->first_fault], b->faults * sizeof(to->fault[0]));
}

/* In what they differ, NULL: in nothing. */
static inline const char *image_difference(const struct image *x, const struct image *y) {
    const struct block *a = &x->block, *b = &y->block;
    if (a->start != b->start || a->end != b->end || a->entry != b->entry || a->nocheck != b->nocheck)
        return "place";
    if (a->pa != b->pa || a->pc != b->pc || a->mode != b->mode || a->guest_bytes != b->guest_bytes ||
        a->watch_before != b->watch_before || a->watch_bytes != b->watch_bytes)
        return "guest code";
    if (a->loop != b->loop || a->may_loop != b->may_loop)
        return "loops";
    if (memcmp(x->code, y->code, a->end - a->start))
        return "host code";
    if (a->records != b->records || a->record_bytes != b->record_bytes ||
        memcmp(x->records, y->records, a->record_bytes))
        return "records";
    if (a->links != b->links || memcmp(x->link, y->link, a->links * sizeof(x->link[0])))
        return "links";
    return a->faults != b->faults || memcmp(x->fault, y->fault, a->faults * sizeof(x->fault[0])) ? "faults" : NULL;
}

/* As if the last block had never been added; the same code comes to the same place then. */
static inline void image_take_back(struct engine *e, struct block *last) {
    struct cache *c = &e->cache;
    cache_drop_block(e, last);
    c->links = last->first_link;
    c->faults = last->first_fault;
    c->moves = last->first_move;
    c->guests = last->first_guest;
    c->code_used = last->start;
    c->records_used = last->records;
    c->blocks--;
}

#endif
