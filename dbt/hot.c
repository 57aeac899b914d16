/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * hot.c: blocks that the vCPU spends its time in. A timer of the runtime looks now and then where translated code is
 * (rt_sample_start()); a block that is found twice, or once and linked to by such a block, is translated again, with
 * engine.hot set, so that a memory strategy may do for it what would not pay everywhere. Counting costs the code
 * nothing.
 *
 * A block that may be compiled as a loop is not linked at first: the dispatcher counts how often it goes back to its
 * own start, or to code that it has further on, and how often elsewhere. If its rounds are many it is translated again,
 * with engine.loop set, and such branches stay inside if they were some (ir_label.c). So do those to its asides, if
 * they are many then, or if one of these turns out to be hot.
 */
#include "dbt/engine.h"

#define HOT_BLOCKS 4096 /* remembered, by hash; the newer of two goes in */
#define HOT_SAMPLES                                                                                                    \
    2u /* of a block, after which it is hot: to translate it again costs as much as running it for a while */

#define HOT_SAMPLES_MAX 0x8000u /* are counted */

/* So many rounds before it has left so often: fewer do not make up for what it takes to enter and to leave a loop. */
#define HOT_ROUNDS 24
#define HOT_LEAVES 3
#define HOT_BRANCHES                                                                                                   \
    4 /* in these rounds: what is known of values ends at a label, whether a branch leads there or not */

struct hot {
    struct hot_block {
        uint64_t pa, pc;
        uint32_t mode;
        uint16_t samples; /* 0, and not loop: unused */
        uint8_t loop;     /* enum hot_loop */
        bool asides;      /* hot_has_asides() */
    } block[HOT_BLOCKS];
};

void hot_init(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    e->hot_blocks = heap_take(&e->heap, sizeof(*e->hot_blocks));
}

static struct hot_block *entry_for(struct hot *h, uint64_t pa, uint64_t pc, uint32_t mode) {
    return &h->block[((pa ^ pc << 7 ^ mode) * UINT64_C(0x9e3779b97f4a7c15) >> 52) % HOT_BLOCKS];
}

/* What is known of the block; NULL: nothing. */
static const struct hot_block *known(const struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode) {
    const struct hot_block *h = e->hot_blocks ? entry_for(e->hot_blocks, pa, pc, mode) : NULL;
    return h && h->pa == pa && h->pc == pc && h->mode == mode ? h : NULL;
}
bool hot_has(const struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode) {
    const struct hot_block *h = known(e, pa, pc, mode);
    return h && h->samples >= HOT_SAMPLES;
}
enum hot_loop hot_has_loop(const struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode) {
    const struct hot_block *h = known(e, pa, pc, mode);
    return h ? (enum hot_loop)h->loop : HOT_LOOP_NOT;
}

bool hot_has_asides(const struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode) {
    const struct hot_block *h = known(e, pa, pc, mode);
    return h && h->asides;
}

/* The block's own entry. */
static struct hot_block *own_entry(struct engine *e, const struct block *b) {
    struct hot_block *h = entry_for(e->hot_blocks, b->pa, b->pc, b->mode);
    if (h->pa != b->pa || h->pc != b->pc || h->mode != b->mode)
        *h = (struct hot_block){.pa = b->pa, .pc = b->pc, .mode = b->mode};
    return h;
}

static bool is_inside(const struct block *b, uint64_t pc) { return pc - b->pc < b->guest_bytes; }

/* Has it gone back to its start? After a branch to code further on that is the other block's doing that begins there;
 * what is called by a register, and returns, is no round. */
static bool has_gone_back(const struct engine *e, const struct block *b) {
    const struct cache *c = &e->cache;
    if (b->branches < b->rounds)
        return true;
    for (uint32_t l = b->incoming; l; l = c->link[l].next)
        if (is_inside(b, c->block[c->link[l].source].pc))
            return true;
    return false;
}

/* Is that further on than b, and goes back to its start? */
static bool is_aside(const struct engine *e, const struct block *b, const struct block *target) {
    if (target->pc < b->pc || is_inside(b, target->pc) || (b->pc ^ target->pc) >> PAGE_SHIFT)
        return false;
    for (uint32_t l = target->first_link; l < target->first_link + target->links; l++)
        if (e->cache.link[l].target_pc == b->pc)
            return true;
    return false;
}

bool hot_left(struct engine *e, struct block *b, const struct block *target) {
    const bool inside = is_inside(b, target->pc), aside = is_aside(e, b, target);
    b->branches += inside && target->pc != b->pc;
    b->asides += aside;
    if (!inside && !aside) {
        if (++b->leaves == HOT_LEAVES)
            b->loops = BLOCK_LOOPS_NOT;
    } else if (++b->rounds == HOT_ROUNDS) {
        b->loops = has_gone_back(e, b) ? BLOCK_LOOPS : BLOCK_LOOPS_NOT;
        if (b->loops == BLOCK_LOOPS) {
            own_entry(e, b)->loop = b->branches >= HOT_BRANCHES ? HOT_LOOP_BRANCHES : HOT_LOOP;
            own_entry(e, b)->asides = b->asides >= HOT_BRANCHES;
        }
    }
    return b->loops == BLOCK_LOOPS_NOT;
}

static bool is_power_of_4(unsigned n) { return !(n & (n - 1)) && (n & 0x5555); }

/* Counts samples of the block. True if it has become hot by them, or may be a loop after all: one that has left early
 * before is asked again, each time after four times as many samples. */
static bool count_samples(struct engine *e, const struct block *b, uint32_t samples) {
    struct hot_block *h = own_entry(e, b);
    const bool was_hot = h->samples >= HOT_SAMPLES;
    h->samples += h->samples < HOT_SAMPLES_MAX ? (uint16_t)samples : 0;
    if (was_hot)
        return b->may_loop && b->loops == BLOCK_LOOPS_NOT && is_power_of_4(h->samples);
    STAT(e->cpu, blocks_hot) += h->samples >= HOT_SAMPLES;
    return h->samples >= HOT_SAMPLES;
}

/* A hot block that is an aside of a loop without asides: that is to have them. */
static void join_loop(struct engine *e, const struct block *b) {
    struct cache *c = &e->cache;
    for (uint32_t l = b->first_link; l < b->first_link + b->links; l++) {
        struct block *next = c->link[l].target ? &c->block[c->link[l].target] : NULL;
        if (!next || !next->valid || !next->loop || own_entry(e, next)->asides || !is_aside(e, next, b))
            continue;
        own_entry(e, next)->asides = true;
        cache_drop_block(e, next);
    }
}

void hot_sample(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    struct cache *c = &e->cache;
    struct block *b = e->hot_blocks ? cache_block_at(e, (const uint8_t *)(uintptr_t)cpu->sample_pc) : NULL;
    if (!b || !b->valid)
        return;
    if (e->ops->sampled)
        e->ops->sampled(cpu, b->pc);
    const bool counts = count_samples(e, b, 1);
    if (hot_has(e, b->pa, b->pc, b->mode))
        join_loop(e, b);
    if (!counts)
        return;
    for (uint32_t l = b->first_link; l < b->first_link + b->links; l++) {
        struct block *next = c->link[l].target ? &c->block[c->link[l].target] : NULL;
        if (next && next != b && next->valid && count_samples(e, next, 1)) /* half way to be hot */
            cache_drop_block(e, next);
    }
    cache_drop_block(e, b);
}
