/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * opt_dead.c: the backward pass. Removes PUTs whose bytes are all PUT again
 * before anything can see them (a fault point, an exit, a GET), and values
 * that nothing uses. Removed instructions become NOPs.
 *
 * NZCV is written by every comparison and hardly ever read from the state. In blocks with IR_BLOCK_LAZY_FLAGS a PUT of
 * it that nothing reads goes even if fault points follow, if it can be computed there (FLAGS_LATER or FLAGS_SAVE takes
 * its place), and one that only conditional exits need becomes an operand of theirs. One that is left, but not needed
 * by the exit that follows, goes behind it.
 */
#include "graft/cpu.h"
#include "ir_priv.h"

#define MAX_FLAG_EXITS 4
#define LOOK_AHEAD 16u

enum fate { FLAGS_LIVE, FLAGS_DEAD, FLAGS_EXITS /* needed by the exits in the list alone */ };

struct dead {
    struct ir_block *b;
    bool lazy;
    enum fate fate; /* of NZCV at this point */
    unsigned exits;
    irv exit[MAX_FLAG_EXITS];
    bool faults;      /* while it is dead there is a fault point */
    uint32_t changed; /* registers that change before one (by offset, see ir.h) */
    uint32_t epoch;   /* of what is covered: a fault point or exit starts the next */
};

static struct ir_cover *cover_slot(struct dead *d, uint64_t granule) {
    return &d->b->priv.cover[granule % ARRAY_LEN(d->b->priv.cover)];
}

static struct ir_cover *cover_at(struct dead *d, uint64_t granule) {
    struct ir_cover *c = cover_slot(d, granule);
    return c->epoch == d->epoch && c->granule == granule ? c : NULL;
}

/* The bytes of a granule that an access to [offset, offset + bytes) touches. */
static inline uint8_t byte_mask(uint64_t granule, uint64_t offset, unsigned bytes) {
    if (LIKELY(bytes >= 8 && !(offset & 7)))
        return 0xff;
    uint64_t first = granule * 8 > offset ? 0 : offset & 7;
    uint64_t end = offset + bytes - granule * 8;
    return (uint8_t)(MASK(end > 8 ? 8 : end) & ~MASK(first));
}

static bool all_covered(struct dead *d, uint64_t offset, unsigned bytes) {
    for (uint64_t g = offset / 8; g <= (offset + bytes - 1) / 8; g++) {
        const struct ir_cover *c = cover_at(d, g);
        uint8_t mask = byte_mask(g, offset, bytes);
        if (!c || (c->mask & mask) != mask)
            return false;
    }
    return true;
}

static void cover_bytes(struct dead *d, uint64_t offset, unsigned bytes) {
    for (uint64_t g = offset / 8; g <= (offset + bytes - 1) / 8; g++) {
        struct ir_cover *c = cover_at(d, g);
        uint8_t before = c ? c->mask : 0;
        *cover_slot(d, g) = (struct ir_cover){
            .granule = (uint16_t)g, .epoch = d->epoch, .mask = (uint8_t)(before | byte_mask(g, offset, bytes))};
    }
}

/* The same of a whole granule, as nearly all PUTs are: true if all of it is covered already. */
static inline bool cover_granule(struct dead *d, uint64_t granule) {
    struct ir_cover *c = cover_slot(d, granule);
    if (c->epoch == d->epoch && c->granule == granule) {
        bool covered = c->mask == 0xff;
        c->mask = 0xff;
        return covered;
    }
    *c = (struct ir_cover){.granule = (uint16_t)granule, .epoch = d->epoch, .mask = 0xff};
    return false;
}

static void uncover_bytes(struct dead *d, uint64_t offset, unsigned bytes) {
    for (uint64_t g = offset / 8; g <= (offset + bytes - 1) / 8; g++) {
        struct ir_cover *c = cover_at(d, g);
        if (c)
            c->mask &= (uint8_t)~byte_mask(g, offset, bytes);
    }
}

/* Is this instruction needed, which is no pure operation without effects? Updates what is covered. */
static bool is_live(struct dead *d, irv v) {
    const struct ir_inst *i = &d->b->inst[v];
    bool used = d->b->priv.uses[v] != 0;
    if (i->op == IR_PUT) {
        unsigned bytes = ir_type_bytes(d->b->inst[i->a].type);
        if (LIKELY(bytes == 8 && !(i->imm & 7)))
            return !cover_granule(d, i->imm / 8);
        if (all_covered(d, i->imm, bytes))
            return false;
        cover_bytes(d, i->imm, bytes);
        return true;
    }
    if (i->op == IR_GET) {
        if (used)
            uncover_bytes(d, i->imm, ir_type_bytes(i->type));
        return used;
    }
    if (ir_sets_fp_status(i->op)) {
        uncover_bytes(d, offsetof(struct cpu, fp), sizeof(struct fp_env));
        return true;
    }
    if (ir_is_pure(i))
        return used;
    if (ir_op_is[i->op] & (IR_IS_MEMORY | IR_IS_STATE | IR_IS_EXIT))
        d->epoch++;
    return i->op != IR_NOP;
}

/* Also of no value, 0: nobody looks at that, and a jump would often be mispredicted. */
static inline void count_use(struct ir_block *b, irv v) { b->priv.uses[v]++; }
static inline void count_uses(struct ir_block *b, const struct ir_inst *i) {
    count_use(b, i->a);
    count_use(b, i->b);
    count_use(b, i->c);
}
_Static_assert(3 * IR_MAX_INSTS <= UINT16_MAX, "they fit");

/* --- NZCV ------------------------------------------------------------------------------------- */
static void flags_exit(struct dead *d, irv v) {
    const struct ir_inst *i = &d->b->inst[v];
    if (i->flags & IR_EXIT_FLAGS_DEAD) {
        d->faults = true;
        d->changed |= i->aux;
    } else if (i->flags & IR_EXIT_FAULT) {
        d->faults = true;
    } else if (d->fate != FLAGS_LIVE && !i->b) {
        if (d->fate == FLAGS_DEAD) {
            d->fate = FLAGS_EXITS;
            d->exits = 0;
        }
        if (d->exits == MAX_FLAG_EXITS)
            d->fate = FLAGS_LIVE;
        else
            d->exit[d->exits++] = v;
    }
}

/* The encoding of the guest instruction that v belongs to. */
static uint32_t insn_at(const struct ir_block *b, irv v) {
    while (v && b->inst[v].op != IR_INSN)
        v--;
    return b->inst[v].aux;
}

/* The operation that takes the place of the PUT of flags at v, after which they may be asked for: what they are made of
 * is there as it is, or is stored. To store it is no faster than to store the flags, but for two cases: those of an
 * FCMP take long to make, and in a loop flags_insn need not be stored each time. */
static struct ir_inst flags_left(const struct dead *d, irv v) {
    const struct ir_inst *put = &d->b->inst[v], *flags = &d->b->inst[put->a];
    const uint32_t code = ir_flags_code(d->b, flags);
    if (put->aux && !(put->aux & d->changed))
        return (struct ir_inst){.op = IR_FLAGS_LATER, .aux = insn_at(d->b, v)};
    if (code && (flags->op == IR_FCMP_FLAGS || d->b->flags & IR_BLOCK_LOOP))
        return (struct ir_inst){
            .op = IR_FLAGS_SAVE, .aux = code, .a = flags->a, .b = flags->b ? flags->b : flags->a, .imm = put->aux};
    return *put;
}
/* A PUT of flags: true if it can go. */
static bool flags_put_is_dead(struct dead *d, irv v) {
    struct ir_inst *i = &d->b->inst[v];
    const irv flags = i->a;
    bool dead = d->fate != FLAGS_LIVE;
    if (dead && d->faults) {
        *i = flags_left(d, v);
        dead = i->op != IR_PUT;
    }
    for (unsigned k = 0; dead && d->fate == FLAGS_EXITS && k < d->exits; k++) {
        d->b->inst[d->exit[k]].b = flags;
        count_use(d->b, flags);
    }
    dead &= !d->faults;
    d->fate = FLAGS_DEAD;
    d->faults = false;
    d->changed = 0;
    return dead;
}

/* The conditional exit that follows the PUT of flags at v and does not need it, so that it may wait until after that;
 * 0: none. They have to be known there, though: see ir.h. */
static irv flags_exit_before(const struct ir_block *b, irv v) {
    const uint32_t sources = b->inst[v].op == IR_PUT ? b->inst[v].aux : (uint32_t)b->inst[v].imm;
    for (unsigned k = v + 1u; sources && k < b->count && k <= v + LOOK_AHEAD; k++) {
        const struct ir_inst *i = &b->inst[k];
        if (i->op == IR_EXIT_IF)
            return i->flags & IR_EXIT_FLAGS_DEAD && !(sources & i->aux) ? (irv)k : 0;
        if (i->op == IR_LABEL || ir_op_is[i->op] & (IR_IS_MEMORY | IR_IS_STATE | IR_IS_EXIT) ||
            (i->op == IR_GET && i->type == IR_FLAGS) ||
            (i->op == IR_PUT && (b->inst[i->a].type == IR_FLAGS || sources >> i->imm / 8 % 32 & 1))) {
            return 0;
        }
    }
    return 0;
}
/* Moves the instruction at v, of no value, to `to`, and those between down by one. */
static void move_behind(struct ir_block *b, irv v, irv to) {
    const struct ir_inst moved = b->inst[v];
    irv *map = b->priv.map;
    for (unsigned k = 0; k < b->count; k++)
        map[k] = (irv)(k - (k > v && k <= to));
    for (unsigned k = v; k < to; k++) {
        b->inst[k] = b->inst[k + 1];
        b->priv.uses[k] = b->priv.uses[k + 1];
    }
    b->inst[to] = moved;
    for (unsigned k = v; k < b->count; k++)
        b->inst[k] = ir_renamed(&b->inst[k], map);
}
static void flags_put_waits(struct ir_block *b, irv v) {
    irv exit = flags_exit_before(b, v);
    if (LIKELY(!exit))
        return;
    b->inst[exit].flags |= IR_EXIT_FLAGS_LATER;
    b->inst[exit].aux = insn_at(b, v);
    move_behind(b, v, exit);
}

/* Follows the fate of NZCV over an instruction: true for a PUT of it that can go. */
static bool flags_step(struct dead *d, irv v) {
    const struct ir_inst *i = &d->b->inst[v];
    const unsigned is = ir_op_is[i->op];
    switch (i->op) {
    case IR_PUT:
        if (d->b->inst[i->a].type == IR_FLAGS)
            return flags_put_is_dead(d, v);
        if (d->faults && d->b->inst[i->a].type != IR_V128)
            d->changed |= 1u << i->imm / 8 % 32;
        break;
    case IR_GET:
        if (i->type == IR_FLAGS && d->b->priv.uses[v])
            d->fate = FLAGS_LIVE;
        break;
    case IR_EXIT_IF: flags_exit(d, v); break;
    case IR_LABEL: /* their operand would be of before it */
        if (d->fate == FLAGS_EXITS)
            d->fate = FLAGS_LIVE;
        break;
    case IR_GOTO:
        d->fate = i->flags & IR_EXIT_FLAGS_DEAD ? FLAGS_DEAD : FLAGS_LIVE;
        d->faults = true;
        d->changed = i->aux;
        break;
    default:
        d->faults |= (is & IR_IS_MEMORY) != 0;
        if (is & IR_IS_EXIT || (is & IR_IS_STATE && !ir_is_pure(i)))
            d->fate = FLAGS_LIVE;
        break;
    }
    return false;
}

void opt_dead(struct ir_block *b) {
    struct dead d = {.b = b, .lazy = (b->flags & IR_BLOCK_LAZY_FLAGS) != 0};
    if (UNLIKELY(b->priv.cover_epoch > UINT32_MAX - 2 * IR_MAX_INSTS)) {
        memset(b->priv.cover, 0, sizeof(b->priv.cover));
        b->priv.cover_epoch = 0;
    }
    d.epoch = b->priv.cover_epoch + 1;
    memset(b->priv.uses, 0, b->count * sizeof(b->priv.uses[0]));
    for (unsigned v = b->count - 1u; v >= 1; v--) {
        struct ir_inst *i = &b->inst[v];
        const unsigned op = i->op, is = ir_op_is[op];
        if (op == IR_INSN)
            continue;
        if (is & IR_IS_FREE ? b->priv.uses[v] : !(d.lazy && flags_step(&d, (irv)v)) && is_live(&d, (irv)v))
            count_uses(b, i);
        else
            *i = (struct ir_inst){.op = IR_NOP};
        if (op == IR_PUT && d.lazy && i->op != IR_NOP && (i->op == IR_FLAGS_SAVE || b->inst[i->a].type == IR_FLAGS))
            flags_put_waits(b, (irv)v);
    }
    b->priv.cover_epoch = d.epoch;
    b->priv.counted = true;
}
