/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* code_entry.c: see code_entry.h. */
#include "graft/code_entry.h"

uint64_t code_entry_sum(const struct code_entry *x) {
    const size_t from = offsetof(struct code_entry, id);
    return hash_bytes(0, (const uint8_t *)x + from, x->bytes - from);
}

struct code_parts code_entry_parts(const struct code_entry *x) {
    struct code_parts p = {.code = (const uint8_t *)(x + 1)};
    p.records = p.code + ALIGN_UP((size_t)x->code, 8);
    p.link = (const struct code_entry_link *)(p.records + ALIGN_UP((size_t)x->records, 8));
    p.fault = (const struct code_fault *)(p.link + x->links);
    p.move = (const uint16_t *)(p.fault + x->faults);
    p.guest = (const uint8_t *)(p.move + x->moves);
    return p;
}

static bool numbers_are_right(const struct code_entry *x, uint64_t room) {
    const uint64_t place = x->pc & PAGE_MASK;
    return room >= sizeof(*x) && x->bytes <= room && x->bytes % CODE_ENTRY_ALIGN == 0 &&
           x->code <= CODE_ENTRY_CODE_MAX && x->records <= CODE_ENTRY_CODE_MAX && x->links <= CODE_MAX_LINKS &&
           x->faults <= CODE_MAX_FAULTS && x->moves && x->moves <= CODE_MAX_MOVES && code_entry_bytes(x) == x->bytes &&
           x->entry < x->code && x->nocheck < x->code && x->bound <= 1 && x->may_loop <= 1 && x->guest &&
           x->guest <= x->watch && x->before <= place && x->before + x->watch <= CODE_ENTRY_GUEST_MAX &&
           place + x->watch <= PAGE_SIZE;
}

static bool links_are_right(const struct code_entry *x, const struct code_parts *p) {
    for (unsigned i = 0; i < x->links; i++) {
        const struct code_entry_link *l = &p->link[i];
        bool far = ((x->pc + (uint64_t)l->target) ^ x->pc) >> PAGE_SHIFT;
        if (l->site < (far ? CODE_LINK_BEFORE : 0) || l->site > x->code || x->code - l->site < CODE_LINK_BYTES ||
            l->stub > x->code || x->code - l->stub < CODE_LINK_CALL)
            return false;
    }
    return true;
}

static bool fault_is_right(const struct code_entry *x, const struct code_fault *f) {
    const uint32_t back = f->stub & ~CODE_RECORD;
    if (f->stub & CODE_RECORD)
        return f->at <= x->code && back >= CODE_RECORD_BYTES && back <= x->records;
    return f->at < x->code && f->stub < x->code;
}
static bool faults_are_right(const struct code_entry *x, const struct code_parts *p) {
    for (unsigned i = 0; i < x->faults; i++)
        if (!fault_is_right(x, &p->fault[i]) || (i && p->fault[i].at < p->fault[i - 1].at))
            return false;
    return true;
}

static bool moves_are_right(const struct code_entry *x, const struct code_parts *p) {
    for (unsigned i = 0; i < x->moves; i++)
        if ((p->move[i] >> 1) + CODE_MOVE_BYTES(p->move[i]) > x->code)
            return false;
    return true;
}

bool code_entry_parse(const struct code_entry *x, uint64_t room, struct code_parts *parts) {
    if (!numbers_are_right(x, room))
        return false;
    *parts = code_entry_parts(x);
    return links_are_right(x, parts) && faults_are_right(x, parts) && moves_are_right(x, parts) &&
           x->sum == code_entry_sum(x);
}
