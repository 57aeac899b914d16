/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * reuse.c: blocks that outlive the run. A block is kept as an entry (code_entry.h), which the monitor puts into a file;
 * a later run finds it by its guest code, compares all of that, and copies it as cache_copy() does.
 *
 * What an entry says of guest code has to be what the translator saw, though others write to memory: the page around
 * the pc is taken before it looks, and the block is kept if its code is the same afterwards.
 */
#include "dbt/engine.h"
#include "dbt/mmu/mmu_int.h"
#include "graft/code_entry.h"

#define GIVE_BYTES (256 * 1024) /* to the monitor at once; the largest entry is smaller */

struct reuse {
    uint64_t engine; /* code_entry.engine */
    int64_t anchor;  /* code_entry.anchor */
    const uint8_t *entries;
    uint64_t bytes;
    const struct code_slot *table;
    uint64_t mask;
    /* The code that is about to be translated, its place in the page, and the page as it was. */
    const uint8_t *code;
    uint32_t place;
    uint8_t look[PAGE_SIZE];
    uint32_t given; /* blocks up to this one have been */
    bool full;      /* the monitor wants no more */
    uint8_t *out;   /* GIVE_BYTES */
};

/* --- what engines have in common -------------------------------------------------------------- */
/* Of what one engine build makes of a block, all that is not in its guest code, its mode or codegen_copy()'s hands. */
static uint64_t engine_hash(const struct cpu *cpu) {
    const struct abi_boot *b = cpu->boot;
    const uint64_t code = codegen_hash(engine_of(cpu)->cg);
    const uint64_t all[] = {code,         b->guest,       b->mmu,        b->layout,
                            b->cpu_model, b->gic_version, b->count,      b->firmware,
                            b->all_hot,   b->semihosting, b->windows_va, engine_of(cpu)->mmu->deltas_at};
    return code ? hash_bytes(0, all, sizeof(all)) : 0;
}

void reuse_init(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    const struct abi_boot *b = cpu->boot;
    if (!reuse_wanted(cpu) || !engine_hash(cpu))
        return;
    struct reuse *r = heap_take(&e->heap, sizeof(*r));
    uint8_t *out = r ? heap_take(&e->heap, GIVE_BYTES) : NULL;
    if (!out)
        return;
    r->engine = engine_hash(cpu);
    r->anchor = (int64_t)((uintptr_t)engine_main - (uintptr_t)e->cache.code);
    r->entries = (const uint8_t *)(uintptr_t)b->reuse_va;
    r->bytes = b->reuse_bytes;
    r->table = (const struct code_slot *)(uintptr_t)b->reuse_table;
    r->mask = b->reuse_mask;
    r->out = out;
    e->reuse = r;
}

/* --- looking at code -------------------------------------------------------------------------- */
void reuse_look(struct engine *e, uint64_t pc, const uint8_t *code) {
    struct reuse *r = e->reuse;
    if (!r)
        return;
    r->place = (uint32_t)(pc & PAGE_MASK);
    r->code = code;
    memcpy(r->look, code - r->place, sizeof(r->look));
}

/* Keeps a block that was made from that code, from watch_before on. */
static void keep(struct engine *e, struct block *b, const uint8_t *code) {
    struct cache *c = &e->cache;
    const uint32_t n = (uint32_t)b->watch_before + b->watch_bytes;
    if (c->guest_max - c->guests < n || b->end - b->start > CODE_ENTRY_CODE_MAX)
        return;
    memcpy(&c->guest[c->guests], code, n);
    c->guests += n;
    b->kept = true;
}

void reuse_keep(struct engine *e, struct block *b) {
    const struct reuse *r = e->reuse;
    if (!r || b->watch_before > r->place || r->place + b->watch_bytes > PAGE_SIZE)
        return;
    const uint8_t *seen = r->look + r->place - b->watch_before;
    if (!memcmp(seen, r->code - b->watch_before, (size_t)b->watch_before + b->watch_bytes))
        keep(e, b, seen);
}

/* --- blocks of earlier runs ------------------------------------------------------------------- */
/* Is that entry for the code at pc? Nothing in it is believed yet. */
static const struct code_entry *entry_for(const struct engine *e, uint64_t offset, uint64_t pc, const uint8_t *code) {
    const struct reuse *r = e->reuse;
    const uint64_t place = pc & PAGE_MASK;
    if (offset > r->bytes || r->bytes - offset < sizeof(struct code_entry))
        return NULL;
    const struct code_entry *x = (const struct code_entry *)(r->entries + offset);
    if (x->engine != r->engine || x->mode != e->mode || (x->pc ^ pc) & PAGE_MASK ||
        (x->pc != pc && (x->bound || !codegen_may_move(pc))) || x->before > place || place + x->watch > PAGE_SIZE ||
        code_entry_bytes(x) > r->bytes - offset ||
        memcmp(code_entry_parts(x).guest, code - x->before, (size_t)x->before + x->watch))
        return NULL;
    return x;
}

/* An entry is some twenty cache lines that nobody has read so far: all are asked for at once. */
#define ENTRY_LINES 16
static void fetch(const struct reuse *r, uint64_t offset) {
    for (unsigned i = 0; i < ENTRY_LINES && offset + 64 * i < r->bytes; i++)
        __builtin_prefetch(r->entries + offset + 64 * i);
}

void reuse_expect(const struct engine *e, uint64_t pc, const uint8_t *code) {
    const struct reuse *r = e->reuse;
    if (r && r->bytes && PAGE_SIZE - (pc & PAGE_MASK) >= CODE_KEY_LONG)
        __builtin_prefetch(&r->table[code_entry_key(r->engine, e->mode, pc, code, true) & r->mask]);
}

static const struct code_entry *find(const struct engine *e, uint64_t pc, const uint8_t *code,
                                     struct code_parts *parts) {
    const struct reuse *r = e->reuse;
    for (int is_long = PAGE_SIZE - (pc & PAGE_MASK) >= CODE_KEY_LONG; is_long >= 0; is_long--) {
        const uint32_t key = code_entry_key(r->engine, e->mode, pc, code, is_long);
        for (uint64_t i = key & r->mask; r->table[i].at; i = (i + 1) & r->mask) {
            const uint64_t offset = (uint64_t)(r->table[i].at & ~CODE_SLOT_USED) * CODE_ENTRY_ALIGN;
            if (r->table[i].key != key)
                continue;
            fetch(r, offset);
            const struct code_entry *x = entry_for(e, offset, pc, code);
            if (x && code_entry_parse(x, r->bytes - offset, parts))
                return x;
        }
    }
    return NULL;
}

/* All that is known of the block that x becomes behind what is in the code cache. */
static void place(struct engine *e, const struct code_entry *x, const struct code_parts *p, uint64_t pc) {
    struct cache *c = &e->cache;
    struct code_out *out = e->out;
    out->start = c->code + c->code_used;
    out->end = out->start + x->code;
    out->records = c->code + c->records_used;
    out->record_bytes = x->records;
    out->entry = out->start + x->entry;
    out->entry_nocheck = out->start + x->nocheck;
    out->links = x->links;
    out->faults = x->faults;
    out->moves = x->moves;
    out->bound = x->bound;
    out->loop = NULL;
    out->may_loop = x->may_loop;
    for (unsigned i = 0; i < x->links; i++) {
        struct code_link *to = &out->link[i];
        to->target_pc = pc + (uint64_t)p->link[i].target;
        to->site = out->start + p->link[i].site;
        to->write = to->site + c->code_to_write;
        to->stub = out->start + p->link[i].stub;
        to->back = to->stub + CODE_LINK_CALL;
    }
    memcpy(out->fault, p->fault, x->faults * sizeof(out->fault[0]));
    memcpy(out->move, p->move, x->moves * sizeof(out->move[0]));
}

struct block *reuse_take(struct engine *e, uint64_t pc, uint64_t pa, const uint8_t *code) {
    const struct reuse *r = e->reuse;
    struct code_parts p;
    const struct code_entry *x = r && r->bytes && cache_may_copy(e) ? find(e, pc, code, &p) : NULL;
    if (!x || (e->ops->same_probes && !e->ops->same_probes(e->cpu, pc, x->guest)))
        return NULL;
    const struct block of = {.pa = pa,
                             .pc = pc,
                             .mode = x->mode,
                             .guest_bytes = x->guest,
                             .watch_before = x->before,
                             .watch_bytes = x->watch};
    const struct code_source from = {.code = p.code,
                                     .ran = e->cache.code + x->start,
                                     .records = p.records + x->records,
                                     .move = p.move,
                                     .moves = x->moves,
                                     .by = pc - x->pc,
                                     .engine_moved = r->anchor - x->anchor};
    place(e, x, &p, pc);
    codegen_copy(e->cg, &from, pc, e->out);
    struct block *b = cache_enter(e, &of, e->out);
    if (cache_keep_moves(e, b, e->out) && e->cpu->boot->reuse == ABI_REUSE_ALL)
        keep(e, b, p.guest);
    return b;
}

/* --- blocks for later runs -------------------------------------------------------------------- */
/* Behind x go the parts of b. */
static void put_parts(const struct engine *e, const struct block *b, const struct code_entry *x) {
    const struct cache *c = &e->cache;
    const struct code_parts p = code_entry_parts(x);
    struct code_entry_link *link = (struct code_entry_link *)(uintptr_t)p.link;
    memcpy((void *)(uintptr_t)p.code, c->code + b->start + c->code_to_write, x->code);
    memcpy((void *)(uintptr_t)p.records, c->code + b->records - x->records + c->code_to_write, x->records);
    for (unsigned i = 0; i < x->links; i++) {
        const struct block_link *l = &c->link[b->first_link + i];
        link[i] = (struct code_entry_link){(int64_t)(l->target_pc - b->pc), l->site - b->start, l->stub - b->start};
    }
    memcpy((void *)(uintptr_t)p.fault, &c->fault[b->first_fault], x->faults * sizeof(struct code_fault));
    memcpy((void *)(uintptr_t)p.move, &c->move[b->first_move], x->moves * sizeof(uint16_t));
    memcpy((void *)(uintptr_t)p.guest, &c->guest[b->first_guest], (size_t)x->before + x->watch);
}

static uint64_t id_of(const struct code_entry *x, const uint8_t *guest) {
    const uint64_t pc = x->bound ? x->pc : x->pc & PAGE_MASK;
    const uint64_t what[] = {x->engine, x->mode, pc, x->before, x->watch};
    return hash_bytes(hash_bytes(0, what, sizeof(what)), guest, (size_t)x->before + x->watch);
}

/* Makes the entry of a block at `at`; its size, 0 if it takes more than room. */
static uint32_t put(const struct engine *e, const struct block *b, uint8_t *at, size_t room) {
    const struct reuse *r = e->reuse;
    const struct cache *c = &e->cache;
    struct code_entry x = {.engine = r->engine,
                           .pc = b->pc,
                           .anchor = r->anchor,
                           .mode = b->mode,
                           .start = b->start,
                           .code = b->end - b->start,
                           .records = b->record_bytes,
                           .entry = b->entry - b->start,
                           .nocheck = b->nocheck - b->start,
                           .guest = b->guest_bytes,
                           .before = b->watch_before,
                           .watch = b->watch_bytes,
                           .links = b->links,
                           .faults = b->faults,
                           .moves = (uint16_t)cache_moves(c, b),
                           .bound = b->bound,
                           .may_loop = b->may_loop};
    const uint8_t *guest = &c->guest[b->first_guest];
    x.bytes = (uint32_t)code_entry_bytes(&x);
    if (x.bytes > room)
        return 0;
    x.id = id_of(&x, guest);
    x.key = code_entry_key(x.engine, x.mode, x.pc, guest + x.before, x.watch >= CODE_KEY_LONG);
    memset(at, 0, x.bytes);
    memcpy(at, &x, sizeof(x));
    put_parts(e, b, (const struct code_entry *)at);
    x.sum = code_entry_sum((const struct code_entry *)at);
    memcpy(at, &x, sizeof(x));
    return x.bytes;
}

static void send(struct cpu *cpu, uint32_t bytes) {
    struct reuse *r = engine_of(cpu)->reuse;
    if (!bytes)
        return;
    cpu->abi.arg[0] = (uintptr_t)r->out;
    cpu->abi.arg[1] = bytes;
    rt_call(cpu, ABI_CALL_REUSE);
    r->full = cpu->abi.ret[0];
}

/* The newest first: of several blocks for the same code the monitor takes that, whose probes have learnt most. */
void reuse_give(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    struct reuse *r = e->reuse;
    uint32_t used = 0;
    if (!r)
        return;
    for (uint32_t i = e->cache.blocks - 1; i > r->given && !r->full; i--) {
        const struct block *b = &e->cache.block[i];
        if (!b->kept)
            continue;
        uint32_t bytes = put(e, b, r->out + used, GIVE_BYTES - used);
        if (!bytes) {
            send(cpu, used);
            used = 0;
            bytes = put(e, b, r->out, GIVE_BYTES);
        }
        used += bytes;
        STAT(cpu, blocks_given)++;
    }
    send(cpu, used);
    r->given = e->cache.blocks - 1;
}

void reuse_flush(struct cpu *cpu) {
    reuse_give(cpu);
    if (engine_of(cpu)->reuse)
        engine_of(cpu)->reuse->given = 0;
}
