/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * loop.c: a block that branches to its own start, with pins of its own. Registers of the guest that the loop uses and
 * that have no pin get the host registers of pins that it does not use. They are loaded in front of the loop, where
 * those pins go to their homes, and go home wherever control or an access leaves the loop: all that is outside finds
 * pins and struct cpu as it does in any other block.
 */
#include "dbt/x86/backend.h"

#define NUMBERS 64 /* see loop_place(): general registers by number */

static uint64_t slot_of(uint64_t offset) { return (offset - sizeof(struct cpu)) / 8; }

/* The last such exit, 0 if there is none, or something in the block wants the pins to be where they always are. */
static unsigned end_of_loop(const struct ir_block *b) {
    unsigned end = 0;
    for (unsigned i = 1; i < b->count; i++) {
        if (b->inst[i].op == IR_CALL || b->inst[i].op == IR_CALLV)
            return 0;
        if (ir_goes_back(b, &b->inst[i]))
            end = i;
    }
    return end;
}

/* What the block reads and writes of the state that pins can hold, by offset / 8. */
struct uses {
    uint8_t gain[256]; /* how much it is read and written in the loop, saturating */
    bool written[256], used[256];
};
static void add(uint8_t *gain, unsigned more) {
    *gain = (uint8_t)(*gain + more > UINT8_MAX ? UINT8_MAX : *gain + more);
}
static void see_uses(const struct ir_block *b, unsigned end, struct uses *u) {
    __builtin_memset(u, 0, sizeof(*u));
    for (unsigned i = 1; i < b->count; i++) {
        const struct ir_inst *in = &b->inst[i];
        uint64_t slot = slot_of(in->imm);
        if ((in->op != IR_GET && in->op != IR_PUT) || in->imm < sizeof(struct cpu) || slot >= ARRAY_LEN(u->used) - 1)
            continue;
        bool put = in->op == IR_PUT, wide = (put ? b->inst[in->a].type : in->type) == IR_V128;
        for (unsigned k = 0; k <= wide; k++) {
            u->used[slot + k] = true;
            u->written[slot + k] |= put;
        }
        if (i <= end)
            add(&u->gain[slot], put ? 2 : b->priv.counted && !b->priv.uses[i] ? 0 : 1);
    }
}
static bool is_used(const struct uses *u, uint64_t slot, bool vec) {
    return u->used[slot] || (vec && u->used[slot + 1]);
}

/* The register of a pin that is not used; NO_REG: none is left. Temporaries are not taken: with three of them for all
 * else, loops became slower by as much as others gained. */
static unsigned free_register(const struct codegen *cg, const struct uses *u, bool vec) {
    regset class = vec ? XMM_CLASS : GPR_CLASS;
    for (regset m = cg->pins & class & ~cg->loop.taken; m; m &= m - 1) {
        unsigned reg = (unsigned)__builtin_ctzll(m);
        if (!is_used(u, slot_of((uint64_t)cg->pin_offset[reg]), vec))
            return reg;
    }
    return NO_REG;
}

static void map_pin(struct codegen *cg, int32_t offset, bool vec, unsigned reg) {
    for (unsigned k = 0; k <= vec && offset != NO_HOME; k++)
        cg->pin_map[slot_of((uint64_t)offset) + k] = (uint8_t)reg;
}
static void take_pin(struct codegen *cg, const struct uses *u, int32_t offset, bool vec, unsigned reg) {
    uint64_t slot = slot_of((uint64_t)offset);
    struct loop_pin *p = &cg->loop.pin[cg->loop.pins++];
    *p = (struct loop_pin){.reg = (uint8_t)reg,
                           .number = (uint8_t)(vec ? 2 * NUMBERS + slot : NUMBERS + slot),
                           .written = u->written[slot] || (vec && u->written[slot + 1]),
                           .home = offset,
                           .instead = cg->pin_offset[reg]};
    map_pin(cg, p->instead, vec, NO_REG);
    map_pin(cg, offset, vec, reg);
    cg->pin_offset[reg] = offset;
    cg->loop.taken |= BIT(reg);
}

/* A register for an index or a counter. */
static unsigned take_index(struct codegen *cg, const struct uses *u) {
    unsigned reg = cg->loop.pins < MAX_LOOP_PINS ? free_register(cg, u, false) : NO_REG;
    if (reg == NO_REG)
        return NO_REG;
    cg->loop.pin[cg->loop.pins++] =
        (struct loop_pin){.reg = (uint8_t)reg, .number = NO_REG, .home = NO_HOME, .instead = cg->pin_offset[reg]};
    map_pin(cg, cg->pin_offset[reg], false, NO_REG);
    cg->pin_offset[reg] = NO_HOME;
    cg->loop.taken |= BIT(reg);
    return reg;
}

/* The register without a pin that is used most; 0: none is used. */
static uint32_t best(const struct codegen *cg, const struct uses *u, const struct guest_pin *pins, unsigned n,
                     bool vec) {
    uint32_t offset = 0;
    unsigned most = 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t slot = slot_of(pins[i].offset);
        if (pins[i].offset < sizeof(struct cpu) || slot + vec >= (vec ? UINT8_MAX - 2 * NUMBERS : NUMBERS))
            continue;
        unsigned gain = u->gain[slot] + (vec ? u->gain[slot + 1] : 0u);
        if (gain > most && cg->pin_map[slot] == NO_REG) {
            most = gain;
            offset = pins[i].offset;
        }
    }
    return offset;
}
static void choose(struct codegen *cg, const struct uses *u, bool vec) {
    const struct guest_ops *g = cg->guest;
    const struct guest_pin *pins = vec ? g->vec_pins : g->gpr_pins;
    const unsigned n = vec ? g->vec_pin_count : g->gpr_pin_count;
    while (cg->loop.pins < MAX_LOOP_PINS) {
        uint32_t offset = best(cg, u, pins, n, vec);
        unsigned reg = offset ? free_register(cg, u, vec) : NO_REG;
        if (reg == NO_REG)
            return;
        take_pin(cg, u, (int32_t)offset, vec, reg);
    }
}

/* The rounds come first: counting them in memory takes longer than a short loop, reading an addend there does not. */
static void take_span(struct codegen *cg, const struct uses *u) {
    struct steady *st = &cg->steady;
    st->rounds = (uint8_t)take_index(cg, u);
    for (unsigned i = 0; i < st->addresses; i++)
        st->address[i].reg = (uint8_t)take_index(cg, u);
}

static void begin(struct codegen *cg) {
    struct uses u;
    const unsigned end = end_of_loop(cg->b);
    if (!end)
        return;
    see_uses(cg->b, end, &u);
    choose(cg, &u, false);
    choose(cg, &u, true);
    steady_begin(cg, end);
    for (unsigned i = 0; i < cg->steady.places; i++)
        cg->steady.place[i].reg = (uint8_t)take_index(cg, &u);
    steady_join(cg);
    if (cg->steady.spans)
        take_span(cg, &u);
    cg->loop.on = cg->loop.pins || cg->steady.accesses;
}
void loop_begin(struct codegen *cg) {
    cg->loop.on = false;
    cg->loop.pins = 0;
    cg->loop.taken = 0;
    cg->steady.accesses = cg->steady.places = 0;
    if (cg->b->flags & IR_BLOCK_LOOP)
        begin(cg);
}
bool loop_is_possible(struct codegen *cg) {
    if (cg->b->flags & IR_BLOCK_LOOP)
        return false;
    begin(cg);
    bool any = cg->loop.on;
    loop_end(cg);
    return any;
}
void loop_end(struct codegen *cg) {
    for (unsigned i = cg->loop.pins; i-- > 0;) {
        const struct loop_pin *p = &cg->loop.pin[i];
        bool vec = p->reg >= 16;
        map_pin(cg, p->home, vec, NO_REG);
        cg->pin_offset[p->reg] = p->instead;
        map_pin(cg, p->instead, vec, p->reg);
    }
    cg->loop.on = false;
    cg->loop.pins = 0;
    cg->steady.accesses = 0;
}

/* --- code ------------------------------------------------------------------------------------- */
static void move(struct codegen *cg, unsigned reg, int32_t home, bool load) {
    struct asm_mem m = cpu_mem((size_t)home);
    if (reg >= 16)
        load ? asm_vmov_rm(&cg->a, xmm(reg), m) : asm_vmov_mr(&cg->a, m, xmm(reg));
    else
        load ? asm_mov_rm(&cg->a, true, reg, m) : asm_mov_mr(&cg->a, true, m, reg);
}
void loop_enter(struct codegen *cg) {
    for (unsigned i = 0; i < cg->loop.pins; i++)
        move(cg, cg->loop.pin[i].reg, cg->loop.pin[i].instead, false);
    loop_return(cg);
}
void loop_leave(struct codegen *cg) {
    for (unsigned i = 0; i < cg->loop.pins; i++)
        if (cg->loop.pin[i].written)
            move(cg, cg->loop.pin[i].reg, cg->loop.pin[i].home, false);
    for (unsigned i = 0; i < cg->loop.pins; i++)
        move(cg, cg->loop.pin[i].reg, cg->loop.pin[i].instead, true);
}
void loop_return(struct codegen *cg) {
    for (unsigned i = 0; i < cg->loop.pins; i++)
        if (cg->loop.pin[i].home != NO_HOME)
            move(cg, cg->loop.pin[i].reg, cg->loop.pin[i].home, true);
}

/* --- records ---------------------------------------------------------------------------------- */
static uint8_t number(const struct codegen *cg, uint8_t reg) {
    for (unsigned i = 0; i < cg->loop.pins; i++)
        if (cg->loop.pin[i].reg == reg)
            return cg->loop.pin[i].number;
    return reg;
}
void loop_record(const struct codegen *cg, struct slow_record *r) {
    uint8_t *reg[] = {&r->base, &r->value, &r->value2, &r->dst};
    if (LIKELY(!cg->loop.pins))
        return;
    for (unsigned i = 0; i < ARRAY_LEN(reg); i++)
        *reg[i] = number(cg, *reg[i]);
    for (unsigned i = 0; i < r->hoists; i++)
        r->hoist[i].base = number(cg, r->hoist[i].base);
}
void *loop_place(struct cpu *cpu, unsigned number) {
    return (char *)cpu + sizeof(struct cpu) +
           8 * (size_t)(number % (2 * NUMBERS) - (number < 2 * NUMBERS ? NUMBERS : 0));
}
_Static_assert(NREGS <= NUMBERS && NO_REG == UINT8_MAX, "registers of the host have smaller numbers");
