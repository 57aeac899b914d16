/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * cache.c: the code cache and its block table. Host code is allocated upwards, the
 * records of its slow paths from the other end of the code area, and both are freed only all at once (cache_flush(),
 * from the dispatcher), so a block that was invalidated while it ran may run on to its end. Blocks are numbered in the
 * order of their host code: which one an address is in is found from the first of its piece of the code area.
 *
 * Writes to code: a guest page with translated code is mapped read-only, and its
 * byte in code_bits says which vCPUs hold code of it. The first writes to such a
 * page drop all its blocks and make it writable; a page that goes back and forth
 * stays read-only for some more stores, each of which drops just what it overlaps.
 */
#include "dbt/engine.h"
#include "dbt/mmu/mmu_int.h"

#define CACHE_ALIGN 16
#define CACHE_STEP_BYTES (16 * 1024)   /* at the end of the code area: the step block */
#define CACHE_BLOCK_BYTES (128 * 1024) /* room for the largest block */
#define CACHE_FAULTS 8                 /* of a block, records included */
#define CACHE_MOVES 12                 /* likewise; of which there is no room for its own it is not copied */
#define CACHE_GUEST 192                /* bytes of guest code of a block, likewise, if they are kept */
#define CACHE_PIECE_SHIFT 10           /* of the code area: some blocks each */
#define CACHE_LOOK_PIECES 64           /* so often it is seen to that there is memory ahead */
#define CACHE_MAX_DROPS 4
#define CACHE_MAX_STORES 16

static unsigned page_bucket(uint64_t pa) {
    return (unsigned)((pa >> PAGE_SHIFT) * 0x9e3779b1u >> (32 - CACHE_PAGE_BITS)) & ((1u << CACHE_PAGE_BITS) - 1);
}
static unsigned hash_bucket(const struct cache *c, uint64_t pa, uint64_t pc, uint32_t mode) {
    uint64_t h = (pa ^ pc << 17 ^ (uint64_t)mode << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(h >> 40) & c->hash_mask;
}

static void *take(struct cpu *cpu, size_t bytes) {
    void *p = heap_take(&engine_of(cpu)->heap, bytes);
    if (!p)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    return p;
}

/* What is used from one end to the other: of the heap, tables that are used in no order and what is taken later. */
static void begin_ahead(struct cache *c, size_t code_size, const struct heap *h, const uint8_t *tables) {
    c->ahead = (struct cache_ahead){
        .code = ahead_of(c->code, code_size),
        .records = {(uintptr_t)c->code + code_size, (uintptr_t)c->code},
        .block = ahead_of(c->block, c->block_max * sizeof(*c->block)),
        .link = ahead_of(c->link, c->link_max * sizeof(*c->link)),
        .fault = ahead_of(c->fault, c->fault_max * sizeof(*c->fault)),
        .move = ahead_of(c->move, c->move_max * sizeof(*c->move)),
        .guest = ahead_of(c->guest, c->guest_max),
        .heap = ahead_of(tables, (size_t)(h->base + h->size - tables)),
    };
}

static void look_ahead(struct cpu *cpu, struct cache *c) {
    struct cache_ahead *a = &c->ahead;
    const struct heap *h = &engine_of(cpu)->heap;
    ahead_up(cpu, &a->code, c->code + c->code_used);
    ahead_down(cpu, &a->records, c->code + c->records_used);
    ahead_up(cpu, &a->block, &c->block[c->blocks]);
    ahead_up(cpu, &a->link, &c->link[c->links]);
    ahead_up(cpu, &a->fault, &c->fault[c->faults]);
    ahead_up(cpu, &a->move, &c->move[c->moves]);
    ahead_up(cpu, &a->guest, c->guest + c->guests);
    ahead_up(cpu, &a->heap, h->base + h->used);
}

void cache_init(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    struct cache *c = &e->cache;
    size_t code_size = cpu->boot->code_size, thunks;
    c->code = (uint8_t *)(uintptr_t)cpu->boot->code_va[cpu->index];
    if (code_size < 4 * CACHE_BLOCK_BYTES || code_size > UINT32_MAX)
        rt_panic(cpu, "a code cache of %llu bytes is of no use", (unsigned long long)code_size);
    c->code_to_write = cpu->code_to_write;
    c->code_limit = c->records_used = (uint32_t)code_size - CACHE_STEP_BYTES;
    codegen_spares_high = rt_keeps_high_vectors();
    thunks = codegen_init(e->cg, cpu, e->ops, c->code, code_size);
    c->code_first = c->code_used = (uint32_t)ALIGN_UP(thunks, 64);
    /* Tables for code of typical density, in at most half of the heap. */
    const unsigned faults = CACHE_FAULTS;
    const size_t each = sizeof(struct block) + 3 * sizeof(struct block_link) + faults * sizeof(struct code_fault) +
                        CACHE_MOVES * sizeof(uint16_t) + 2 * sizeof(uint32_t) + (reuse_wanted(cpu) ? CACHE_GUEST : 0);
    size_t n = code_size / 384;
    if (n * each > e->heap.size / 2)
        n = e->heap.size / 2 / each;
    c->block_max = (uint32_t)n;
    c->link_max = (uint32_t)(3 * n);
    c->fault_max = (uint32_t)(faults * n);
    c->move_max = (uint32_t)(CACHE_MOVES * n);
    if (c->link_max < CODE_MAX_LINKS + 1 || c->fault_max < CODE_MAX_FAULTS + 1)
        rt_panic(cpu, "the heap of vCPU %u is too small", cpu->index);
    c->block = take(cpu, n * sizeof(*c->block));
    c->link = take(cpu, 3 * n * sizeof(*c->link));
    c->fault = take(cpu, faults * n * sizeof(*c->fault));
    c->move = take(cpu, CACHE_MOVES * n * sizeof(*c->move));
    if (reuse_wanted(cpu)) {
        c->guest_max = (uint32_t)(CACHE_GUEST * n);
        c->guest = take(cpu, c->guest_max);
    }
    const uint8_t *tables = e->heap.base + e->heap.used;
    c->hash_mask = 1023;
    while (c->hash_mask < n / 2)
        c->hash_mask = c->hash_mask * 2 + 1;
    c->hash = take(cpu, ((size_t)c->hash_mask + 1) * sizeof(*c->hash));
    c->same = take(cpu, ((size_t)c->hash_mask + 1) * sizeof(*c->same));
    c->code_page = take(cpu, CODE_PAGES * sizeof(*c->code_page));
    c->piece = take(cpu, ((code_size >> CACHE_PIECE_SHIFT) + 1) * sizeof(*c->piece));
    c->blocks = c->links = 1;
    begin_ahead(c, code_size, &e->heap, tables);
}

/* --- look-up and entry ------------------------------------------------------------------------ */
struct block *cache_find(struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode) {
    struct cache *c = &e->cache;
    __builtin_prefetch(&c->same[hash_bucket(c, pa, 0, mode)]); /* if it is not found, cache_copy() is next */
    for (uint32_t i = c->hash[hash_bucket(c, pa, pc, mode)]; i; i = c->block[i].hash_next) {
        struct block *b = &c->block[i];
        if (b->pa == pa && b->pc == pc && b->mode == mode)
            return b;
    }
    return NULL;
}

bool cache_room(const struct engine *e) {
    const struct cache *c = &e->cache;
    return c->records_used - c->code_used >= CACHE_BLOCK_BYTES && c->blocks < c->block_max &&
           c->link_max - c->links >= CODE_MAX_LINKS && c->fault_max - c->faults >= CODE_MAX_FAULTS;
}

/* The block is the first in the pieces of the code area that begin between the end of the one before and its own. */
static void note_pieces(struct cpu *cpu, struct cache *c, const struct block *b) {
    for (; (uint64_t)c->pieces << CACHE_PIECE_SHIFT < b->end; c->pieces++) {
        if (c->pieces % CACHE_LOOK_PIECES == 0)
            look_ahead(cpu, c);
        c->piece[c->pieces] = (uint32_t)(b - c->block);
    }
}

struct block *cache_enter(struct engine *e, const struct block *of, const struct code_out *out) {
    struct cache *c = &e->cache;
    uint32_t n = c->blocks++;
    struct block *b = &c->block[n];
    *b = *of;
    b->start = (uint32_t)(out->start - c->code);
    b->end = (uint32_t)(out->end - c->code);
    b->records = (uint32_t)(out->records - c->code);
    b->record_bytes = out->record_bytes;
    b->entry = (uint32_t)(out->entry - c->code);
    b->nocheck = (uint32_t)(out->entry_nocheck - c->code);
    b->loop = out->loop ? (uint32_t)(out->loop - c->code) : 0;
    b->may_loop = out->may_loop;
    b->loops = b->may_loop && e->hot_blocks && !e->debug.any ? BLOCK_MAY_LOOP : BLOCK_LOOPS_NOT;
    b->rounds = b->leaves = 0;
    b->incoming = 0;
    b->first_link = c->links;
    b->first_fault = c->faults;
    b->first_move = c->moves;
    b->first_guest = c->guests;
    b->kept = false;
    b->bound = out->bound;
    b->links = (uint16_t)out->links;
    b->faults = (uint16_t)out->faults;
    b->valid = true;
    for (unsigned i = 0; i < out->links; i++) {
        const struct code_link *l = &out->link[i];
        c->link[c->links++] = (struct block_link){.target_pc = l->target_pc,
                                                  .site = (uint32_t)(l->site - c->code),
                                                  .stub = (uint32_t)(l->stub - c->code),
                                                  .back = (uint32_t)(l->back - c->code),
                                                  .source = n};
    }
    memcpy(&c->fault[c->faults], out->fault, out->faults * sizeof(out->fault[0]));
    c->faults += out->faults;
    c->code_used = (uint32_t)ALIGN_UP(b->end, CACHE_ALIGN);
    c->records_used = b->records - b->record_bytes;
    note_pieces(e->cpu, c, b);
    uint32_t *head = &c->hash[hash_bucket(c, b->pa, b->pc, b->mode)];
    b->hash_next = *head;
    *head = n;
    head = &c->page[page_bucket(b->pa)];
    b->page_next = *head;
    *head = n;
    return b;
}

/* --- copies ----------------------------------------------------------------------------------- */
/* Does code depend on its pc in other ways than codegen_copy() knows? */
static bool is_apart(const struct engine *e, uint32_t mode) {
    return e->hot || e->loop || e->debug.any || mode & (GUEST_MODE_ONCE | GUEST_MODE_SHOWN);
}

bool cache_may_copy(const struct engine *e) {
    return !is_apart(e, e->mode) && !(e->cpu->boot->log_topics & (ABI_LOG_IN | ABI_LOG_IR | ABI_LOG_OUT));
}

bool cache_keep_moves(struct engine *e, struct block *b, const struct code_out *out) {
    struct cache *c = &e->cache;
    if (!out->moves || c->move_max - c->moves < out->moves || is_apart(e, b->mode) || (out->bound && !e->reuse))
        return false;
    memcpy(&c->move[c->moves], out->move, out->moves * sizeof(out->move[0]));
    c->moves += out->moves;
    if (!out->bound)
        c->same[hash_bucket(c, b->pa, 0, b->mode)] = (uint32_t)(b - c->block);
    return true;
}

struct block *cache_add(struct engine *e, const struct ir_block *ir, uint64_t pa, const struct code_out *out) {
    const uint16_t bytes = (uint16_t)(ir->guest_bytes ? ir->guest_bytes : 1);
    const struct block of = {
        .pa = pa,
        .pc = ir->pc,
        .mode = ir->mode,
        .guest_bytes = bytes,
        .watch_before = (uint16_t)ir->watch_before,
        .watch_bytes = ir->watch_bytes ? (uint16_t)ir->watch_bytes : bytes,
    };
    struct block *b = cache_enter(e, &of, out);
    if (cache_keep_moves(e, b, out))
        reuse_keep(e, b);
    return b;
}

unsigned cache_moves(const struct cache *c, const struct block *b) {
    const uint32_t n = (uint32_t)(b - c->block);
    return (n + 1 < c->blocks ? b[1].first_move : c->moves) - b->first_move;
}

/* The block that one for pc may be a copy of, NULL if there is none. */
static const struct block *copied_from(const struct engine *e, uint64_t pc, uint64_t pa) {
    const struct cache *c = &e->cache;
    const struct block *b = &c->block[c->same[hash_bucket(c, pa, 0, e->mode)]];
    if (!b->valid || b->pa != pa || b->mode != e->mode || !cache_may_copy(e) || !codegen_may_move(pc))
        return NULL;
    return !e->ops->same_probes || e->ops->same_probes(e->cpu, pc, b->guest_bytes) ? b : NULL;
}

struct block *cache_copy(struct engine *e, uint64_t pc, uint64_t pa) {
    struct cache *c = &e->cache;
    struct code_out *out = e->out;
    const struct block *b = copied_from(e, pc, pa);
    if (!b)
        return NULL;
    struct block of = *b;
    const struct code_source from = {.code = c->code + b->start + c->code_to_write,
                                     .ran = c->code + b->start,
                                     .records = c->code + b->records + c->code_to_write,
                                     .move = &c->move[b->first_move],
                                     .moves = cache_moves(c, b),
                                     .by = pc - b->pc};
    const int64_t shift = (int64_t)c->code_used - b->start;
    of.pc = pc;
    out->start = c->code + b->start + shift;
    out->end = c->code + b->end + shift;
    out->records = c->code + c->records_used;
    out->record_bytes = b->record_bytes;
    out->entry = c->code + b->entry + shift;
    out->entry_nocheck = c->code + b->nocheck + shift;
    out->loop = NULL; /* of loops there are no copies */
    out->may_loop = b->may_loop;
    out->links = b->links;
    out->faults = b->faults;
    out->moves = 0;
    out->bound = false;
    for (unsigned i = 0; i < b->links; i++) {
        const struct block_link *l = &c->link[b->first_link + i];
        struct code_link *to = &out->link[i];
        to->target_pc = l->target_pc + (pc - b->pc);
        to->site = c->code + l->site + shift;
        to->write = to->site + c->code_to_write;
        to->stub = c->code + l->stub + shift;
        to->back = c->code + l->back + shift;
    }
    memcpy(out->fault, &c->fault[b->first_fault], b->faults * sizeof(out->fault[0]));
    codegen_copy(e->cg, &from, pc, out);
    return cache_enter(e, &of, out);
}

/* The block whose host code holds that offset, valid or not. */
static struct block *block_at(struct cache *c, uint32_t offset) {
    const uint32_t piece = offset >> CACHE_PIECE_SHIFT;
    if (piece >= c->pieces)
        return NULL;
    struct block *b = &c->block[c->piece[piece]], *end = &c->block[c->blocks];
    while (b < end && b->end <= offset)
        b++;
    return b < end && b->start <= offset ? b : NULL;
}

/* --- links ------------------------------------------------------------------------------------ */
static struct code_link code_link_of(const struct cache *c, const struct block_link *l) {
    uint8_t *site = c->code + l->site;
    return (struct code_link){.target_pc = l->target_pc,
                              .site = site,
                              .write = site + c->code_to_write,
                              .stub = c->code + l->stub,
                              .back = c->code + l->back};
}

/* The number of the pair of pages that pc and pa are in; CODE_PAGE_NONE if there are too many. */
static uint32_t code_page_number(struct cache *c, uint64_t pc, uint64_t pa) {
    uint64_t va = ALIGN_DOWN(pc, PAGE_SIZE), page = ALIGN_DOWN(pa, PAGE_SIZE) | CODE_PAGE_USED;
    uint32_t n = (uint32_t)((va ^ page << 7) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % CODE_PAGES;
    for (;; n = (n + 1) % CODE_PAGES) {
        struct code_page *p = &c->code_page[n];
        if (p->va == va && p->pa == page)
            return n;
        if (p->pa || n == CODE_PAGE_NONE)
            continue;
        if (c->code_pages == CODE_PAGES / 4 * 3)
            return CODE_PAGE_NONE;
        c->code_pages++;
        *p = (struct code_page){va, page};
        return n;
    }
}

static void unlink_one(struct cache *c, uint32_t i) {
    struct block_link *l = &c->link[i];
    uint32_t *at = &c->block[l->target].incoming;
    while (*at != i)
        at = &c->link[*at].next;
    *at = l->next;
    struct code_link code = code_link_of(c, l);
    codegen_unlink(&code);
    l->target = l->next = 0;
}

static void link_to(struct engine *e, uint32_t i, struct block *target) {
    struct cache *c = &e->cache;
    struct block_link *l = &c->link[i];
    l->target = (uint32_t)(target - c->block);
    l->next = target->incoming;
    target->incoming = i;
    STAT(e->cpu, links)++;
}

/* A chain of forward links ends inside its page: it needs no check for pending work. What follows the block does, since
 * a predicted return comes that way too. */
static void link_near(struct engine *e, const struct block *b, uint32_t i, struct block *target) {
    struct cache *c = &e->cache;
    bool forward = target->pc > b->pc + b->guest_bytes;
    struct code_link code = code_link_of(c, &c->link[i]);
    if (c->link[i].target || (b->pa ^ target->pa) >> PAGE_SHIFT)
        return;
    bool again = target == b && b->loop;
    codegen_link(&code, c->code + (again ? b->loop : forward ? target->nocheck : target->entry));
    link_to(e, i, target);
}

/* The view in which this happened maps the target's page. The link may lead to what another view has at that
 * address. */
static void link_far(struct engine *e, uint32_t i, struct block *target) {
    struct cache *c = &e->cache;
    struct code_link code = code_link_of(c, &c->link[i]);
    uint32_t number = code_page_number(c, target->pc, target->pa);
    if (number == CODE_PAGE_NONE) {
        engine_code_flush(e->cpu);
        return;
    }
    mmu_code_page_set(e->cpu, target->pc, number);
    if (c->link[i].target == (uint32_t)(target - c->block))
        return;
    if (c->link[i].target)
        unlink_one(c, i);
    codegen_link_far(&code, c->code + target->entry, number);
    link_to(e, i, target);
}

/* What engine_left() says of a link. */
#define LEFT(i) ((uint64_t)(i) << 1)
#define LEFT_LINK(left) ((uint32_t)((left) >> 1))

void cache_link(struct engine *e, uint64_t left, struct block *target) {
    struct cache *c = &e->cache;
    const uint32_t i = LEFT_LINK(left);
    struct block *b = &c->block[c->link[i].source];
    if (!b->valid || b->mode != target->mode || b->mode & GUEST_MODE_ONCE || c->link[i].target_pc != target->pc ||
        e->cpu->boot->log_topics & ABI_LOG_EXEC)
        return;
    if (UNLIKELY(b->loops != BLOCK_LOOPS_NOT) && !hot_left(e, b, target)) {
        if (b->loops == BLOCK_LOOPS && b != target) /* or the dispatcher, which is about to enter it, would see it */
            cache_drop_block(e, b);
        return;
    }
    if ((b->pc ^ target->pc) >> PAGE_SHIFT)
        link_far(e, i, target);
    else
        link_near(e, b, i, target);
}

/* The links of the step block are in no table. */
static uint64_t left_step(const struct engine *e, const uint8_t *back, uint64_t *pc) {
    const struct code_link *l = code_out_link(e->out, back);
    *pc = l ? l->target_pc : e->cache.step.pc;
    return 0;
}

/* Translated code in ring 3 may have been led astray: it gets on at a block of its own regime, or nowhere. */
uint64_t cache_left(struct engine *e, const uint8_t *back, uint64_t *pc) {
    struct cache *c = &e->cache;
    const uint64_t offset = (uintptr_t)back - (uintptr_t)c->code - 1; /* the call's last byte may be the block's */
    const bool step = offset >= c->code_limit && offset < c->step.end;
    const struct block *b = step ? &c->step : offset < c->code_used ? block_at(c, (uint32_t)offset) : NULL;
    if (!b || (b->mode ^ e->mode) & (REGIMES - 1))
        rt_panic(e->cpu, "translated code asked for what it may not have: it left from %llx",
                 (unsigned long long)(uintptr_t)back);
    if (step)
        return left_step(e, back, pc);
    for (uint32_t i = b->first_link; i < b->first_link + b->links; i++) {
        if (c->link[i].back != offset + 1)
            continue;
        *pc = c->link[i].target_pc;
        return LEFT(i);
    }
    *pc = b->pc; /* what is pending comes first */
    return 0;
}

static void unlink_incoming(struct cache *c, struct block *b) {
    while (b->incoming)
        unlink_one(c, b->incoming);
}

/* The code of this block may still be running: it must not go on into its neighbours. */
static void unlink_outgoing(struct cache *c, const struct block *b) {
    for (uint32_t i = b->first_link; i < b->first_link + b->links; i++)
        if (c->link[i].target)
            unlink_one(c, i);
}

/* --- invalidation ----------------------------------------------------------------------------- */
void cache_forget_returns(struct cpu *cpu) {
    const uint8_t *thunk = codegen_lookup_thunk(engine_of(cpu)->cg);
    for (unsigned i = 0; i < RAS_ENTRIES; i++)
        cpu->ras[i] = (struct ras_entry){~UINT64_C(0), (void *)(uintptr_t)thunk};
}

static void block_drop(struct engine *e, uint32_t n) {
    struct cache *c = &e->cache;
    struct block *b = &c->block[n];
    uint32_t *at = &c->hash[hash_bucket(c, b->pa, b->pc, b->mode)];
    while (*at != n)
        at = &c->block[*at].hash_next;
    *at = b->hash_next;
    unlink_incoming(c, b);
    unlink_outgoing(c, b);
    b->valid = false;
    if (b->loop) /* not all of its ways back are links */
        __atomic_fetch_or((uint32_t *)&e->cpu->abi.pending, ABI_PEND_LOOP, __ATOMIC_SEQ_CST);
    mmu_jump_cache_drop(e->cpu, b->pc);
    STAT(e->cpu, blocks_invalidated)++;
}

void cache_drop_block(struct engine *e, struct block *b) {
    struct cache *c = &e->cache;
    uint32_t n = (uint32_t)(b - c->block), *at = &c->page[page_bucket(b->pa)];
    while (*at != n)
        at = &c->block[*at].page_next;
    *at = b->page_next;
    block_drop(e, n);
    cache_forget_returns(e->cpu);
}

/* Was the block made from code in [pa, pa+len)? */
static bool made_from(const struct block *b, uint64_t pa, uint64_t len) {
    return b->pa - b->watch_before < pa + len && pa < b->pa + b->watch_bytes;
}

/* Drops the blocks of pa's page that overlap [pa, pa+len); returns whether the page has other blocks. */
static bool drop_overlapping(struct engine *e, uint64_t pa, uint64_t len) {
    struct cache *c = &e->cache;
    bool dropped = false, left = false;
    for (uint32_t *at = &c->page[page_bucket(pa)]; *at;) {
        uint32_t n = *at;
        struct block *b = &c->block[n];
        if ((b->pa ^ pa) >> PAGE_SHIFT) {
            at = &b->page_next;
        } else if (made_from(b, pa, len)) {
            *at = b->page_next;
            block_drop(e, n);
            dropped = true;
        } else {
            left = true;
            at = &b->page_next;
        }
    }
    if (dropped)
        cache_forget_returns(e->cpu);
    return left;
}

static uint8_t own_bit(const struct engine *e) { return (uint8_t)(1u << e->cpu->index); }

static void code_bit_clear(struct engine *e, uint64_t pa) {
    __atomic_fetch_and((uint8_t *)code_bits_at(e, pa), (uint8_t)~own_bit(e), __ATOMIC_SEQ_CST);
}

void cache_drop(struct engine *e, uint64_t pa, uint64_t len) {
    if ((pa_is_ram(e->cpu, pa) || pa_in_rom(e->cpu, pa)) && *code_bits_at(e, pa) & own_bit(e) &&
        !drop_overlapping(e, pa, len))
        code_bit_clear(e, pa);
}

void cache_flush(struct engine *e) {
    struct cache *c = &e->cache;
    reuse_flush(e->cpu);
    for (uint32_t i = 1; i < c->blocks; i++)
        if (c->block[i].valid)
            code_bit_clear(e, c->block[i].pa);
    memset(c->hash, 0, ((size_t)c->hash_mask + 1) * sizeof(*c->hash));
    memset(c->same, 0, ((size_t)c->hash_mask + 1) * sizeof(*c->same));
    memset(c->page, 0, sizeof(c->page));
    memset(c->code_page, 0, CODE_PAGES * sizeof(*c->code_page));
    c->code_pages = 0;
    c->blocks = c->links = 1;
    c->faults = c->moves = c->guests = c->pieces = 0;
    c->code_used = c->code_first;
    c->records_used = c->code_limit;
    e->flush_wanted = false;
    mmu_jump_cache_clear(e->cpu);
    cache_forget_returns(e->cpu);
    STAT(e->cpu, code_flushes)++;
}

void engine_code_written(struct cpu *cpu, struct gpa pa, uint64_t len) {
    struct engine *e = engine_of(cpu);
    uint64_t end = pa.v + len;
    for (uint64_t at = pa.v; at < end;) {
        uint64_t next = ALIGN_DOWN(at, PAGE_SIZE) + PAGE_SIZE;
        if (next > end)
            next = end;
        cache_drop(e, at, next - at);
        at = next;
    }
}

void engine_code_flush(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    if (e->cache.blocks == 1)
        return;
    /* The host code goes at the next dispatch; nothing may lead to it from now on but the block that runs. */
    e->flush_wanted = true;
    mmu_jump_cache_clear(cpu);
    cache_forget_returns(cpu);
    __atomic_fetch_or((uint32_t *)&cpu->abi.pending, ABI_PEND_REQ, __ATOMIC_SEQ_CST);
}

/* Other vCPUs' writes to a page with code of this one are in the mailbox before they are done: see
 * mmu_protect_code(). */
void engine_code_fence(struct cpu *cpu) {
    if (cpu->req_posted != cpu->req_done)
        engine_serve_requests(cpu);
}

void engine_code_drop_modes(struct cpu *cpu, uint32_t mask, uint32_t value) {
    struct engine *e = engine_of(cpu);
    for (uint32_t i = 1; i < e->cache.blocks; i++)
        if (e->cache.block[i].valid && (e->cache.block[i].mode & mask) == value)
            cache_drop_block(e, &e->cache.block[i]);
}

bool engine_code_has(const struct cpu *cpu, struct gpa page) {
    return pa_is_memory(cpu, page.v) && *code_bits_at(engine_of(cpu), page.v);
}

/* --- writes to code --------------------------------------------------------------------------- */
/* Shall this write drop all code of its page, rather than what it overlaps? */
static bool drops_page(struct cache *c, uint64_t pa) {
    uint32_t page = (uint32_t)(pa >> PAGE_SHIFT);
    unsigned i = (unsigned)(page * 0x9e3779b1u >> 22) % CACHE_ROUNDS;
    if (c->rounds[i].page != page) {
        c->rounds[i].page = page;
        c->rounds[i].drops = c->rounds[i].stores = 0;
    }
    if (c->rounds[i].drops < CACHE_MAX_DROPS) {
        c->rounds[i].drops++;
        return true;
    }
    if (++c->rounds[i].stores < CACHE_MAX_STORES)
        return false;
    c->rounds[i].stores = 0;
    return true;
}

/* Does the write hit the block that is running (any that holds the current pc will do)? */
static bool hits_running(struct cpu *cpu, uint64_t pa, uint64_t len) {
    struct engine *e = engine_of(cpu);
    struct cache *c = &e->cache;
    uint64_t pc;
    struct walk w;
    if (!e->in_code || e->stepping)
        return false;
    memcpy(&pc, (const char *)cpu + cpu->guest->pc_offset, sizeof(pc));
    /* Not mmu_fetch_quiet(): the walk that it remembers could take the place of the one that the caller is using. */
    if (!mem_probe(cpu, pc, MMU_FETCH, cpu->regime, &w) || (w.pa.v ^ pa) >> PAGE_SHIFT)
        return false;
    for (uint32_t i = c->page[page_bucket(pa)]; i; i = c->block[i].page_next) {
        const struct block *b = &c->block[i];
        if (b->pa <= w.pa.v && w.pa.v < b->pa + b->guest_bytes && made_from(b, pa, len))
            return true;
    }
    return false;
}

void code_before_write_slow(struct cpu *cpu, uint64_t pa, uint64_t len) {
    struct engine *e = engine_of(cpu);
    uint8_t bits = *code_bits_at(e, pa);
    for (unsigned i = 0; i < cpu->boot->vcpu_count; i++)
        if (i != cpu->index && bits >> i & 1)
            engine_request_post(cpu, i, &(struct engine_request){.kind = ENGINE_REQ_CODE, .pa = GPA(pa)});
    if (!(bits & own_bit(e)))
        return;
    if (hits_running(cpu, pa, len)) {
        e->step = true;
        mmu_fault_done(cpu, ABI_STAT_host_faults_code);
        engine_unwind(cpu);
    }
    STAT(cpu, write_protect_faults)++;
    if (drops_page(&e->cache, pa))
        cache_drop(e, ALIGN_DOWN(pa, PAGE_SIZE), PAGE_SIZE);
    else
        cache_drop(e, pa, len);
}

/* --- host faults ------------------------------------------------------------------------------ */
static const struct code_fault *fault_in(const struct block *b, const struct code_fault *f, uint32_t offset) {
    uint32_t lo = 0, hi = b->faults, at = offset - b->start;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (f[mid].at < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < b->faults && f[lo].at == at ? &f[lo] : NULL;
}

struct block *cache_block_at(struct engine *e, const uint8_t *host_pc) {
    uint64_t offset = (uintptr_t)host_pc - (uintptr_t)e->cache.code;
    return offset < e->cache.code_limit ? block_at(&e->cache, (uint32_t)offset) : NULL;
}

/* The entry for that address, and the block that it belongs to; NULL if there is none. before: 1 if it may be the
 * block's end. */
static const struct code_fault *fault_at(struct cpu *cpu, const uint8_t *host_pc, unsigned before,
                                         const struct block **of) {
    struct cache *c = &engine_of(cpu)->cache;
    const uint64_t at = (uintptr_t)host_pc - (uintptr_t)c->code, offset = at - before;
    if (offset >= cpu->boot->code_size)
        return NULL;
    bool step = offset >= c->code_limit;
    const struct block *b = !step ? block_at(c, (uint32_t)offset) : offset < c->step.end ? &c->step : NULL;
    *of = b;
    return b ? fault_in(b, step ? c->step_fault : &c->fault[b->first_fault], (uint32_t)at) : NULL;
}

const uint8_t *engine_fault_stub(struct cpu *cpu, const uint8_t *host_pc) {
    const struct block *b;
    const struct code_fault *f = fault_at(cpu, host_pc, 0, &b);
    return f && !(f->stub & CODE_RECORD) ? engine_of(cpu)->cache.code + b->start + f->stub : NULL;
}

bool engine_fault_again(struct cpu *cpu, const uint8_t *host_pc, uint64_t host, bool write) {
    const struct mmu_ops *ops = engine_of(cpu)->ops;
    return ops->fault && ops->fault(cpu, host_pc, host, write);
}

const void *engine_record(struct cpu *cpu, const uint8_t *at) {
    const struct engine *e = engine_of(cpu);
    const struct block *b;
    const struct code_fault *f = fault_at(cpu, at, 1, &b);
    if (!f || !(f->stub & CODE_RECORD) || (b->mode ^ e->mode) & (REGIMES - 1))
        return NULL;
    return e->cache.code + b->records - (f->stub & ~CODE_RECORD) + e->cache.code_to_write;
}
