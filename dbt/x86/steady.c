/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * steady.c: accesses of a loop that need no probe in each of its rounds. An access is steady if its address moves
 * little from one round to the next: registers that do not change or that change by a constant, and an index of 32 bits
 * at most. While such an address is in one place of the strategy's (mmu_ops.place), or leaves it for the first time,
 * and then faults, nothing has to be looked at.
 *
 * The loop is compiled twice: once as it would be anyway, and behind that without these probes. frame.rounds counts how
 * many rounds the first body still runs; then the place of each address is found, and the second one runs until control
 * leaves the loop. It does so by ABI_PEND_LOOP in the round after a slow one of these accesses, as the next may be
 * outside of its place for the second time, and when its block is dropped meanwhile: its way back is no link.
 *
 * Which addresses share a place, and its register, is decided when the loop is compiled; which place that is, each time
 * the second body begins. One copying loop serves the heap and the stack, and one program's after another's.
 */
#include "dbt/x86/backend.h"

/* As far as a steady address may move in a round: with an offset it stays within MMU_PLACE_REACH. */
#define FAR (UINT64_C(1) << 37)
#define MAX_OFFSET (INT64_C(1) << 30)
#define MAX_SCALE 4
#define DEPTH 6
/* Rounds in the other body: first of all, as a loop that ends soon does not make up for the comparisons, and after an
 * address was found not to be in its place. */
#define FIRST_ROUNDS 4
#define MORE_ROUNDS 64
_Static_assert(FAR + MAX_OFFSET < MMU_PLACE_REACH, "that is near");
_Static_assert(FIRST_ROUNDS > 1 && MORE_ROUNDS > 1,
               "a round of the first body is behind the second one: see leave_flags()");

/* --- how far addresses move ------------------------------------------------------------------- */
static uint64_t sum(uint64_t a, uint64_t b) { return a + b < FAR ? a + b : FAR; }
static uint64_t magnitude(uint64_t v) { return (int64_t)v < 0 ? -v : v; }
static unsigned bytes_of(unsigned type) { return type == IR_V128 ? 16 : type == IR_I64 ? 8 : 4; }

/* What a PUT adds to the register that its value was made from; FAR: it is no such PUT. */
static uint64_t change(const struct codegen *cg, const struct ir_inst *put) {
    uint64_t by = 0;
    const struct ir_inst *in = inst_of(cg, put->a);
    while ((in->op == IR_ADD || in->op == IR_SUB) && in->type == IR_I64 && is_const(cg, in->b)) {
        const uint64_t c = const_value(cg, in->b);
        by += in->op == IR_ADD ? c : -c;
        in = inst_of(cg, in->a);
    }
    return in->op == IR_GET && in->type == IR_I64 && in->imm == put->imm ? sum(magnitude(by), 0) : FAR;
}
/* depth 0: what each PUT of it adds. Else it may also be what each round makes of other registers, and moves as they
 * do, but for the first round. */
static uint64_t sum_step(const struct codegen *cg, irv v, unsigned depth);
static uint64_t register_step(const struct codegen *cg, uint64_t offset, unsigned depth) {
    uint64_t step = 0;
    unsigned puts = 0, last = 0;
    for (unsigned i = 1; i < cg->steady.end; i++) {
        const struct ir_inst *in = &cg->b->inst[i];
        if (in->op == IR_PUT && in->imm < offset + 8 && offset < in->imm + bytes_of(inst_of(cg, in->a)->type)) {
            step = sum(step, in->imm == offset ? change(cg, in) : FAR);
            puts++;
            last = i;
        }
    }
    const struct ir_inst *put = &cg->b->inst[last];
    return step == FAR && depth && puts == 1 && put->imm == offset && !is_skipped(cg, last)
               ? sum_step(cg, put->a, depth)
               : step;
}
static uint64_t sum_step(const struct codegen *cg, irv v, unsigned depth) {
    const struct ir_inst *in = inst_of(cg, v);
    if (in->type != IR_I64)
        return FAR;
    if (is_const(cg, v))
        return 0;
    if (in->op == IR_GET && in->imm <= ABI_CPU_BYTES - 8)
        return register_step(cg, in->imm, 0);
    if ((in->op != IR_ADD && in->op != IR_SUB) || depth < 2)
        return FAR;
    return sum(sum_step(cg, in->a, depth - 1), sum_step(cg, in->b, depth - 1));
}

/* What is a number below this, or closer to 0 by its sign; 0: perhaps not. */
static uint64_t bound(const struct codegen *cg, const struct ir_inst *in) {
    switch (in->op) {
    case IR_ZEXT8:
    case IR_ZEXT16:
    case IR_SEXT8:
    case IR_SEXT16:
    case IR_ZEXT32:
    case IR_SEXT32: return BIT(32);
    case IR_LD: return in->lane < 3 ? BIT(32) : 0;
    case IR_UBFX: return in->n <= 32 ? BIT(in->n) : 0;
    case IR_AND: return is_const(cg, in->b) && const_value(cg, in->b) <= BIT(32) ? BIT(32) : 0;
    default: return 0;
    }
}
static bool scales(const struct codegen *cg, const struct ir_inst *in) {
    return in->op == IR_SHL && is_const(cg, in->b) && const_value(cg, in->b) <= MAX_SCALE;
}

/* v is the sum of registers, of a constant, and of what is bounded: adds its registers and constants to those of the
 * address. Returns how far it may move in a round, or from the sum of these alone. */
static uint64_t see(const struct codegen *cg, irv v, unsigned scale, unsigned depth, struct steady_address *s) {
    const struct ir_inst *in = inst_of(cg, v);
    if (in->type != IR_I64 || !depth)
        return FAR;
    if (in->op == IR_CONST || in->op == IR_PC) {
        s->constant += in->imm << scale;
        return 0;
    }
    if (in->op == IR_GET && in->imm <= ABI_CPU_BYTES - 8 && s->terms < MAX_TERMS) {
        s->term[s->terms].home = (int32_t)in->imm;
        s->term[s->terms++].scale = (uint8_t)scale;
        return sum(register_step(cg, in->imm, DEPTH) << scale, 0);
    }
    if (bound(cg, in))
        return sum(bound(cg, in) << scale, 0);
    if (scales(cg, in) && !scale)
        return see(cg, in->a, (unsigned)const_value(cg, in->b), depth - 1, s);
    if (in->op != IR_ADD)
        return FAR;
    uint64_t a = see(cg, in->a, scale, depth - 1, s);
    return a == FAR ? FAR : sum(a, see(cg, in->b, scale, depth - 1, s));
}

/* What the address is now, with which the loop is about to begin. */
static uint64_t value_now(const struct codegen *cg, const struct steady_address *s) {
    uint64_t value = s->constant, x;
    for (unsigned i = 0; i < s->terms; i++) {
        __builtin_memcpy(&x, (const char *)cg->cpu + s->term[i].home, 8);
        value += x << s->term[i].scale;
    }
    return value;
}

/* --- which accesses are steady ---------------------------------------------------------------- */
/* Its place among those of the loop; MAX_PLACES: there are others enough. */
static unsigned place_of(struct codegen *cg, uint64_t va) {
    struct steady *st = &cg->steady;
    uint64_t number = cg->mmu->place(cg->cpu, va);
    unsigned n = 0;
    if (number == MMU_NO_PLACE)
        return MAX_PLACES;
    while (n < st->places && st->place[n].number != number)
        n++;
    if (n == st->places && n < MAX_PLACES)
        st->place[st->places++] = (struct steady_place){number, NO_REG};
    return n;
}
/* As many places as addresses, if there may be: those that are one now need not be one next time. */
static void split(struct codegen *cg) {
    struct steady *st = &cg->steady;
    if (st->addresses > MAX_PLACES || st->places == st->addresses)
        return;
    for (unsigned i = 0; i < st->addresses; i++) {
        st->place[i] = (struct steady_place){st->place[st->address[i].place].number, NO_REG};
        st->address[i].place = (uint8_t)i;
    }
    st->places = st->addresses;
}
void steady_join(struct codegen *cg) {
    struct steady *st = &cg->steady;
    _Static_assert(MAX_PLACES == 2, "only the second one can be one too many");
    if (st->places < 2 || st->place[1].reg != NO_REG || st->place[1].number != st->place[0].number)
        return;
    for (unsigned i = 0; i < st->addresses; i++)
        st->address[i].place = 0;
    st->places = 1;
}
static unsigned address_of(struct codegen *cg, irv root) {
    struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->addresses; i++)
        if (st->address[i].root == root)
            return i;
    if (st->addresses == MAX_STEADY)
        return MAX_STEADY;
    struct steady_address s = {.root = root};
    if (see(cg, root, 0, DEPTH, &s) >= FAR)
        return MAX_STEADY;
    s.place = (uint8_t)place_of(cg, value_now(cg, &s));
    if (s.place == MAX_PLACES)
        return MAX_STEADY;
    st->address[st->addresses] = s;
    return st->addresses++;
}
static void see_access(struct codegen *cg, unsigned i) {
    struct steady *st = &cg->steady;
    const struct ir_inst *in = &cg->b->inst[i];
    int64_t offset;
    if ((in->op != IR_LD && in->op != IR_ST) || in->flags & IR_MEM_ALIGN || in->cc != (cg->b->mode & 3) ||
        st->accesses == MAX_STEADY_ACCESSES)
        return;
    irv root = address_root(cg, in, &offset);
    if (offset < -MAX_OFFSET || offset > MAX_OFFSET)
        return;
    unsigned n = address_of(cg, root);
    if (n < MAX_STEADY)
        st->access[st->accesses++] = (struct steady_access){.at = (uint16_t)i, .address = (uint8_t)n};
}
void steady_begin(struct codegen *cg, unsigned end) {
    struct steady *st = &cg->steady;
    st->end = end;
    st->places = st->addresses = st->accesses = 0;
    st->flags_insn = 0;
    st->spans = st->goes_back = st->flags_differ = false;
    if (cg->mmu->emit_span && !cg->ring3)
        span_begin(cg);
    if (!cg->mmu->place || cg->mmu->emit_span)
        return;
    for (unsigned i = 1; i < end; i++)
        see_access(cg, i);
    split(cg);
}
const struct steady_address *steady_here(const struct codegen *cg) {
    const struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->accesses && st->on; i++)
        if (st->access[i].at == cg->at)
            return &st->address[st->access[i].address];
    return NULL;
}
void steady_note(struct codegen *cg, uint32_t site) {
    struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->accesses; i++)
        if (st->access[i].at == cg->at)
            st->access[i].site = site;
}
uint32_t steady_site(const struct codegen *cg) {
    const struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->accesses; i++)
        if (st->access[i].at == cg->at)
            return st->access[i].site;
    return 0;
}

/* --- code ------------------------------------------------------------------------------------- */
void steady_rounds(struct codegen *cg, int32_t n) { asm_mov_mi(&cg->a, false, FRAME_FIELD(rounds), n); }

void steady_enter(struct codegen *cg) {
    if (cg->steady.accesses)
        steady_rounds(cg, FIRST_ROUNDS);
}
void steady_count(struct codegen *cg) {
    struct steady *st = &cg->steady;
    st->prove = st->start = (struct asm_label){0};
    asm_alu_mi(&cg->a, ASM_SUB, false, FRAME_FIELD(rounds), 1);
    asm_jcc(&cg->a, ASM_E, &st->prove);
    st->other = asm_pos(&cg->a);
}
static struct asm_mem place_mem(unsigned n) {
    return asm_mem(ASM_RSP, (int32_t)(offsetof(struct frame, place) + 8 * n));
}
static struct asm_mem index_mem(unsigned n) {
    return asm_mem(ASM_RSP, (int32_t)(offsetof(struct frame, index) + 8 * n));
}
static void steady_place(struct codegen *cg, unsigned n, unsigned reg, struct asm_label *other) {
    asm_mov_rm(&cg->a, true, reg, place_mem(n));
    cg->mmu->emit_place(&cg->a, cg->cpu, reg, other);
}
void steady_index(struct codegen *cg, unsigned n, unsigned reg) { asm_mov_rm(&cg->a, true, reg, index_mem(n)); }
/* slow.c has renewed those that are in the frame. */
static void load_places(struct codegen *cg) {
    const struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->places; i++)
        if (st->place[i].reg != NO_REG)
            steady_place(cg, i, st->place[i].reg, NULL);
}
void steady_return(struct codegen *cg) { cg->steady.spans ? span_return(cg) : load_places(cg); }

/* RAX = a term, or RAX += it. */
static void emit_term(struct codegen *cg, int32_t home, unsigned scale, bool adds) {
    struct asm_buf *a = &cg->a;
    const unsigned pin = pin_at(cg, (uint64_t)home), to = adds ? ASM_RCX : ASM_RAX;
    unsigned from = pin;
    if (pin == NO_REG || scale || !adds) {
        if (pin == NO_REG)
            asm_mov_rm(a, true, to, cpu_mem((size_t)home));
        else
            asm_mov_rr(a, true, to, pin);
        if (scale)
            asm_shift_ri(a, ASM_SHL, true, to, scale);
        from = to;
    }
    if (adds)
        asm_alu_rr(a, ASM_ADD, true, ASM_RAX, from);
}
void steady_address(struct codegen *cg, const struct steady_address *s) {
    const bool starts = s->constant || !s->terms;
    if (starts)
        asm_mov_ri(&cg->a, ASM_RAX, s->constant);
    for (unsigned i = 0; i < s->terms; i++)
        emit_term(cg, s->term[i].home, s->term[i].scale, starts || i);
}
/* All addresses in the n-th place are in one place now: finds which. */
static void find_place(struct codegen *cg, unsigned n, struct asm_label *no) {
    struct asm_buf *a = &cg->a;
    bool first = true;
    for (unsigned i = 0; i < cg->steady.addresses; i++) {
        if (cg->steady.address[i].place != n)
            continue;
        steady_address(cg, &cg->steady.address[i]);
        cg->mmu->emit_place_number(a, ASM_RAX);
        if (first) {
            asm_mov_mr(a, true, place_mem(n), ASM_RAX);
        } else {
            asm_alu_rm(a, ASM_CMP, true, ASM_RAX, place_mem(n));
            asm_jcc(a, ASM_NE, no);
        }
        first = false;
    }
    const bool kept = cg->steady.place[n].reg != NO_REG;
    steady_place(cg, n, kept ? cg->steady.place[n].reg : ASM_RAX, no);
    if (!kept)
        asm_mov_mr(a, true, index_mem(n), ASM_RAX);
}
void steady_prove(struct codegen *cg) {
    struct steady *st = &cg->steady;
    if (st->spans) {
        span_prove(cg);
        return;
    }
    struct asm_buf *a = &cg->a;
    struct asm_label other = {.at = st->other + 1}, no = {0};
    uint32_t last = 0;
    asm_bind(a, &st->prove);
    for (unsigned i = 0; i < st->accesses && !a->overflow; i++) {
        const struct steady_access *at = &st->access[i];
        if (at->site && at->site != last)
            cg->mmu->emit_place_wanted(a, a->start + at->site, &no);
        last = at->site;
    }
    for (unsigned n = 0; n < st->places; n++)
        find_place(cg, n, &no);
    asm_jmp(a, &st->start);
    asm_bind(a, &no);
    steady_rounds(cg, MORE_ROUNDS);
    asm_jmp(a, &other);
    asm_bind(a, &st->start);
    cg->flags_insn = st->flags_insn;
    emit_pending(cg);
}
