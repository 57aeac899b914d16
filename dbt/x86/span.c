/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * span.c: steady accesses (steady.c) of strategies that map page by page and have no faults to rely on
 * (mmu_ops.emit_span). A span is as many rounds of a loop as all its accesses stay in the pages that they are in: each
 * address moves by a constant from round to round, or not at all, so it is known when the first of them comes to the
 * end of its page. In front of the body without probes each page is looked up once, and it is
 * counted how many rounds are left.
 *
 * In that body nothing may change what is mapped: so all accesses before the loop's way back are of this kind, as a
 * slow one could serve other vCPUs' requests. What is pending is looked at between spans.
 */
#include "dbt/x86/backend.h"

#define MAX_ROUNDS 1023 /* of a span: as long as what is pending may have to wait */
#define MIN_ROUNDS 4    /* shorter ones are not worth the look-ups: the other body runs into the next page */
#define MISS_ROUNDS                                                                                                    \
    4 /* in the other body after a page was not found: it goes the slow way and fills in what is missing */
#define MAX_STEP 512   /* bytes: with larger ones there are few rounds in a page */
#define MAX_RANGE 2048 /* bytes that the accesses off one address touch in a round */
#define DEPTH 6
#define MAX_SCALE 4
#define RECIPROCAL_BITS 20

/* --- how addresses move ----------------------------------------------------------------------- */
static unsigned bytes_of(unsigned type) { return type == IR_V128 ? 16 : type == IR_I64 ? 8 : 4; }

static bool writes(const struct codegen *cg, const struct ir_inst *in, uint64_t offset) {
    return in->op == IR_PUT && in->imm < offset + 8 && offset < in->imm + bytes_of(inst_of(cg, in->a)->type);
}
/* The first instruction of the loop that writes to that register; its end if none does. */
static unsigned first_write(const struct codegen *cg, uint64_t offset) {
    unsigned i = 1;
    while (i < cg->steady.end && !writes(cg, &cg->b->inst[i], offset))
        i++;
    return i;
}
/* v less the constants that are added to it. */
static irv less_constants(const struct codegen *cg, irv v, int64_t *sum) {
    *sum = 0;
    for (const struct ir_inst *in = inst_of(cg, v); (in->op == IR_ADD || in->op == IR_SUB) && is_const(cg, in->b);
         in = inst_of(cg, v)) {
        const int64_t c = (int64_t)const_value(cg, in->b);
        *sum += in->op == IR_ADD ? c : -c;
        v = in->a;
    }
    return v;
}

/* --- ways through the loop --------------------------------------------------------------------- */
/* What has been added to a register on the way to somewhere, since the round began. */
struct way {
    bool reached;
    int64_t sum;
};
static bool joins(struct way *at, struct way from) {
    const bool same = !at->reached || at->sum == from.sum;
    *at = from;
    return same;
}
static bool ends(const struct codegen *cg, const struct ir_inst *exit) {
    return exit->op == IR_GOTO || (is_const(cg, exit->a) && const_value(cg, exit->a));
}
/* The same for each way to the instruction `to`, or if that is the loop's end, to its start? */
static bool added(const struct codegen *cg, uint64_t offset, unsigned to, int64_t *sum) {
    struct way label[IR_MAX_LABELS] = {{0}}, here = {true, 0}, back = {0}, read = {0};
    const unsigned last = to == cg->steady.end ? to : to - 1;
    irv read_at = 0;
    for (unsigned i = 1; i <= last; i++) {
        const struct ir_inst *in = &cg->b->inst[i];
        for (unsigned k = 0; in->op == IR_LABEL && k < cg->labels; k++) {
            if (cg->label[k].at != i || !label[k].reached)
                continue;
            if (here.reached && here.sum != label[k].sum)
                return false;
            here = label[k];
        }
        if (!here.reached)
            continue;
        if (in->op == IR_GET && in->imm == offset && in->type == IR_I64) {
            read_at = (irv)i;
            read = here;
        } else if (writes(cg, in, offset)) {
            if (in->imm != offset || inst_of(cg, in->a)->type != IR_I64 ||
                less_constants(cg, in->a, &here.sum) != read_at || !read_at)
                return false;
            here.sum += read.sum;
        } else if ((in->op == IR_EXIT_IF || in->op == IR_GOTO) && !(in->flags & IR_EXIT_FAULT)) {
            const unsigned inside = label_of(cg, in);
            if ((inside && !joins(&label[inside - 1], here)) || (ir_goes_back(cg->b, in) && !joins(&back, here)))
                return false;
            here.reached = !ends(cg, in);
        }
    }
    if (to == cg->steady.end)
        here = back;
    *sum = here.sum;
    return here.reached;
}
/* Does the GET v give what the register is when a round begins? */
static bool is_first_value(const struct codegen *cg, irv v) {
    const uint64_t offset = inst_of(cg, v)->imm;
    int64_t sum;
    return v < first_write(cg, offset) || (added(cg, offset, v, &sum) && !sum);
}
static bool is_written(const struct codegen *cg, uint64_t offset, irv from, irv to) {
    for (unsigned i = from; i < to; i++)
        if (writes(cg, &cg->b->inst[i], offset))
            return true;
    return false;
}

/* --- steps ------------------------------------------------------------------------------------- */
/* How far the sum of registers and constants v moves in a round: as they do, of which none may be made from others. */
static bool sum_step(const struct codegen *cg, irv v, unsigned depth, int64_t *step);

/* What a round adds to that register, if it is the same in all of them (depth: but for the first one, after which the
 * register is what the last round has made of others). */
static bool register_step(const struct codegen *cg, uint64_t offset, unsigned depth, int64_t *step) {
    const unsigned first = first_write(cg, offset);
    const struct ir_inst *last = NULL;
    *step = 0;
    for (unsigned i = first; i < cg->steady.end; i++) {
        const struct ir_inst *in = &cg->b->inst[i];
        if (!writes(cg, in, offset))
            continue;
        if (is_skipped(cg, i)) /* not in each round */
            return added(cg, offset, cg->steady.end, step);
        if (in->imm != offset || inst_of(cg, in->a)->type != IR_I64)
            return false;
        last = in;
    }
    if (!last)
        return true;
    const irv v = less_constants(cg, last->a, step);
    const struct ir_inst *get = inst_of(cg, v);
    if (get->op == IR_GET && get->type == IR_I64 && get->imm == offset && v < first)
        return true;
    *step = 0;
    return depth && sum_step(cg, last->a, depth, step);
}
static bool sum_step(const struct codegen *cg, irv v, unsigned depth, int64_t *step) {
    const struct ir_inst *in = inst_of(cg, v);
    int64_t a, b = 0;
    if (is_const(cg, v))
        return true;
    if (in->op == IR_GET && in->type == IR_I64 && v < first_write(cg, in->imm))
        return register_step(cg, in->imm, 0, step) && *step >= -MAX_STEP && *step <= MAX_STEP;
    if ((in->op != IR_ADD && in->op != IR_SUB) || in->type != IR_I64 || depth < 2)
        return false;
    a = 0;
    if (!sum_step(cg, in->a, depth - 1, &a) || !sum_step(cg, in->b, depth - 1, &b))
        return false;
    *step = in->op == IR_ADD ? a + b : a - b;
    return true;
}

/* The largest number that it can be, in each round another; -1: perhaps a large one. */
static int64_t largest(const struct codegen *cg, const struct ir_inst *in) {
    switch (in->op) {
    case IR_ZEXT8: return 255;
    case IR_LD: return in->lane == 0 && !(in->flags & IR_MEM_SEXT) ? 255 : -1;
    case IR_UBFX: return in->n <= 11 ? (INT64_C(1) << in->n) - 1 : -1;
    case IR_AND:
        return is_const(cg, in->b) && const_value(cg, in->b) < MAX_RANGE ? (int64_t)const_value(cg, in->b) : -1;
    default: return -1;
    }
}

/* v is the sum of registers, a constant, and of what is small: adds these to the address, and how it moves. */
static bool linear(const struct codegen *cg, irv v, unsigned scale, unsigned depth, struct steady_address *s) {
    const struct ir_inst *in = inst_of(cg, v);
    int64_t step;
    if (in->type != IR_I64 || !depth)
        return false;
    if (in->op == IR_CONST || in->op == IR_PC) {
        s->constant += in->imm << scale;
        return true;
    }
    if (in->op == IR_GET) {
        if (in->imm > ABI_CPU_BYTES - 8 || s->terms == MAX_TERMS || !is_first_value(cg, v) ||
            !register_step(cg, in->imm, DEPTH, &step) || step < -MAX_STEP || step > MAX_STEP)
            return false;
        s->term[s->terms].home = (int32_t)in->imm;
        s->term[s->terms++].scale = (uint8_t)scale;
        s->step += step * (1 << scale);
        return true;
    }
    if (largest(cg, in) >= 0) {
        s->more += (int32_t)(largest(cg, in) << scale);
        return true;
    }
    if (in->op == IR_SHL && is_const(cg, in->b) && const_value(cg, in->b) <= MAX_SCALE && !scale)
        return linear(cg, in->a, (unsigned)const_value(cg, in->b), depth - 1, s);
    return in->op == IR_ADD && linear(cg, in->a, scale, depth - 1, s) && linear(cg, in->b, scale, depth - 1, s);
}

/* --- which loops ------------------------------------------------------------------------------ */
static struct steady_address *address_of(struct codegen *cg, irv root) {
    struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->addresses; i++)
        if (st->address[i].root == root)
            return &st->address[i];
    if (st->addresses == MAX_STEADY)
        return NULL;
    struct steady_address s = {.root = root, .reg = NO_REG, .low = INT32_MAX, .high = INT32_MIN};
    if (!linear(cg, root, 0, DEPTH, &s) || s.step < -MAX_STEP || s.step > MAX_STEP)
        return NULL;
    st->address[st->addresses] = s;
    return &st->address[st->addresses++];
}
static bool see_access(struct codegen *cg, unsigned i) {
    struct steady *st = &cg->steady;
    const struct ir_inst *in = &cg->b->inst[i];
    int64_t offset;
    if ((in->op != IR_LD && in->op != IR_ST) || in->flags & IR_MEM_ALIGN || in->cc != (cg->b->mode & 3) ||
        st->accesses == MAX_STEADY_ACCESSES)
        return false;
    irv root = address_root(cg, in, &offset);
    struct steady_address *s = offset > -MAX_RANGE && offset < MAX_RANGE ? address_of(cg, root) : NULL;
    if (!s)
        return false;
    const int32_t low = (int32_t)offset, high = low + (1 << in->lane) + s->more;
    s->low = low < s->low ? low : s->low;
    s->high = high > s->high ? high : s->high;
    s->write |= in->op == IR_ST;
    st->access[st->accesses++] = (struct steady_access){.at = (uint16_t)i, .address = (uint8_t)(s - st->address)};
    return s->high - s->low <= MAX_RANGE;
}

/* --- addresses that are a register which moves and a base that does not ------------------------ */
/* Is v used, by others than instructions that may_use says? */
static bool is_used(const struct codegen *cg, irv v, bool (*may_use)(const struct codegen *, irv, irv)) {
    for (unsigned i = v + 1; i < cg->b->count; i++) {
        const struct ir_inst *in = &cg->b->inst[i];
        if ((in->a == v || in->b == v || in->c == v) && !may_use(cg, (irv)i, v))
            return true;
    }
    return false;
}
static bool is_address(const struct codegen *cg, irv user, irv v) {
    const struct ir_inst *in = inst_of(cg, user);
    return user < cg->steady.end && (in->op == IR_LD || in->op == IR_ST) && in->b != v && in->c != v;
}
static bool is_folded_sum(const struct codegen *cg, irv user, irv v) {
    return inst_of(cg, user)->op == IR_ADD && (cg->v[user].flags & V_FOLDED) != 0;
}
static bool is_base(const struct codegen *cg, irv v) {
    const struct ir_inst *in = inst_of(cg, v);
    return is_const(cg, v) || in->op == IR_PC ||
           (in->op == IR_GET && in->type == IR_I64 && first_write(cg, in->imm) == cg->steady.end);
}
static irv shifted(const struct codegen *cg, irv v, unsigned *scale) {
    const struct ir_inst *in = inst_of(cg, v);
    const bool shifts = in->op == IR_SHL && in->type == IR_I64 && is_const(cg, in->b) && const_value(cg, in->b) <= 3;
    *scale = shifts ? (unsigned)const_value(cg, in->b) : 0;
    return shifts ? in->a : v;
}
static bool fold(const struct codegen *cg, struct steady_address *s, irv base, irv other) {
    unsigned scale;
    const irv moving = shifted(cg, other, &scale);
    const struct ir_inst *get = inst_of(cg, moving);
    s->folded =
        is_base(cg, base) && get->op == IR_GET && get->type == IR_I64 && !is_written(cg, get->imm, moving, s->root);
    s->base = base;
    s->moving = moving;
    s->scale = (uint8_t)scale;
    return s->folded;
}
/* Of each address: can it be such a sum, with nobody else to want its value? */
static void see_folds(struct codegen *cg) {
    struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->addresses; i++) {
        struct steady_address *s = &st->address[i];
        const struct ir_inst *sum = inst_of(cg, s->root);
        if (sum->op == IR_ADD && sum->type == IR_I64 && !is_used(cg, s->root, is_address) &&
            !fold(cg, s, sum->a, sum->b))
            fold(cg, s, sum->b, sum->a);
    }
}
void span_fold(struct codegen *cg) {
    const struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->addresses; i++)
        cg->v[st->address[i].root].flags |= st->address[i].folded ? V_FOLDED : 0;
    for (unsigned i = 0; i < st->addresses; i++) {
        const struct ir_inst *sum = inst_of(cg, st->address[i].root);
        const irv index = sum->a == st->address[i].base ? sum->b : sum->a;
        if (st->address[i].folded && index != st->address[i].moving && !is_used(cg, index, is_folded_sum))
            cg->v[index].flags |= V_FOLDED;
    }
}
static irv moving_of(const struct codegen *cg, irv v) {
    unsigned scale;
    const struct steady *st = &cg->steady;
    for (unsigned i = 0; i < st->addresses; i++)
        if (st->address[i].root == v)
            return st->address[i].moving;
    return shifted(cg, v, &scale);
}
void span_folded(struct codegen *cg) {
    const struct ir_inst *get = inst_of(cg, moving_of(cg, (irv)cg->at));
    done(cg);
    emit_GET(cg, get);
}

void span_begin(struct codegen *cg) {
    struct steady *st = &cg->steady;
    for (unsigned i = 1; i < st->end; i++) {
        if (!(ir_op_is[cg->b->inst[i].op] & (IR_IS_MEMORY | IR_IS_STATE)) || see_access(cg, i))
            continue;
        st->accesses = st->addresses = 0;
        return;
    }
    st->spans = st->accesses != 0;
    see_folds(cg);
}

/* --- code ------------------------------------------------------------------------------------- */
static struct asm_mem addend_mem(unsigned k) {
    return asm_mem(ASM_RSP, (int32_t)(offsetof(struct frame, span) + 8 * k));
}
/* The addend of one that has no register of its own: it stays in a temporary until that is needed. */
static unsigned hoisted(struct codegen *cg, const struct steady_address *s) {
    unsigned n = cg->hoist_next;
    for (unsigned i = 0; i < MAX_HOISTS; i++) {
        if (cg->hoist[i].root == s->root) {
            cg->locked |= BIT(cg->hoist[i].index);
            return cg->hoist[i].index;
        }
        n = cg->hoist[i].root ? n : i;
    }
    const unsigned reg = scratch(cg, GPR_CLASS);
    asm_mov_rm(&cg->a, true, reg, addend_mem((unsigned)(s - cg->steady.address)));
    cg->hoist[n] =
        (struct hoist){.root = s->root, .regime = REGIMES /* no probe's: for spans alone */, .index = (uint8_t)reg};
    cg->hoist_next = (n + 1) % MAX_HOISTS;
    return reg;
}
struct asm_mem span_mem(struct codegen *cg, const struct steady_address *s, unsigned base, int32_t disp) {
    const unsigned addend = s->reg != NO_REG ? s->reg : hoisted(cg, s);
    return asm_mem_index(addend, base, s->folded ? s->scale : 0, disp);
}
void span_leave(struct codegen *cg) {
    if (cg->steady.rounds != NO_REG)
        asm_mov_mr(&cg->a, false, FRAME_FIELD(rounds), cg->steady.rounds);
}
void span_return(struct codegen *cg) {
    if (cg->steady.rounds != NO_REG)
        asm_mov_rm(&cg->a, false, cg->steady.rounds, FRAME_FIELD(rounds));
    for (unsigned k = 0; k < cg->steady.addresses; k++)
        if (cg->steady.address[k].reg != NO_REG)
            asm_mov_rm(&cg->a, true, cg->steady.address[k].reg, addend_mem(k));
}

#define ROUNDS ASM_RSI /* of the span that is about to begin */
/* ECX = in how many rounds, this one included, the address, in RAX, stays in its page. */
static void emit_rounds(struct codegen *cg, const struct steady_address *s) {
    struct asm_buf *a = &cg->a;
    const uint32_t by = (uint32_t)(s->step < 0 ? -s->step : s->step);
    asm_lea(a, false, ASM_RCX, asm_mem(ASM_RAX, s->step < 0 ? s->low : s->high - 1));
    if (s->step > 0)
        asm_not(a, false, ASM_RCX);
    asm_alu_ri(a, ASM_AND, false, ASM_RCX, PAGE_MASK);
    if (by & (by - 1)) {
        asm_op_rr(a, ASM_OP(0, 0, 0x69), false, ASM_RCX, ASM_RCX); /* imul ecx, ecx, imm32 */
        asm_imm32(a, (1u << RECIPROCAL_BITS) / by);
        asm_shift_ri(a, ASM_SHR, false, ASM_RCX, RECIPROCAL_BITS);
    } else if (by > 1) {
        asm_shift_ri(a, ASM_SHR, false, ASM_RCX, (unsigned)__builtin_ctz(by));
    }
    asm_alu_ri(a, ASM_ADD, false, ASM_RCX, 1);
}
/* RAX += the base, from where it is in front of a round. */
static void add_base(struct codegen *cg, irv base) {
    const struct ir_inst *in = inst_of(cg, base);
    const unsigned pin = in->op == IR_GET ? pin_at(cg, in->imm) : NO_REG;
    if (in->op == IR_CONST)
        asm_mov_ri(&cg->a, ASM_RCX, const_value(cg, base));
    else if (in->op == IR_PC)
        asm_mov_pc(&cg->a, ASM_RCX, in->imm);
    else if (pin == NO_REG)
        asm_mov_rm(&cg->a, true, ASM_RCX, cpu_mem((size_t)in->imm));
    asm_alu_rr(&cg->a, ASM_ADD, true, ASM_RAX, pin == NO_REG ? ASM_RCX : pin);
}
/* Looks the page of that address up; at miss if it is not found, or not one page. */
static void emit_address(struct codegen *cg, unsigned k, struct asm_label *miss) {
    const struct steady_address *s = &cg->steady.address[k];
    struct asm_buf *a = &cg->a;
    steady_address(cg, s);
    if (s->step) { /* by no branch: which of them is the first to come to the end of its page is hard to predict */
        emit_rounds(cg, s);
        asm_alu_rr(a, ASM_CMP, false, ASM_RCX, ROUNDS);
        asm_cmov(a, ASM_B, false, ROUNDS, ASM_RCX);
    }
    asm_lea(a, true, ASM_RCX, asm_mem(ASM_RAX, s->high - 1));
    if (s->low)
        asm_lea(a, true, ASM_RAX, asm_mem(ASM_RAX, s->low));
    cg->mmu->emit_span(a, cg->mmu_thunk, s->write, ASM_RAX, ASM_RCX, miss);
    if (s->folded)
        add_base(cg, s->base);
    asm_mov_mr(a, true, addend_mem(k), ASM_RAX);
    if (s->reg != NO_REG)
        asm_mov_rr(a, true, s->reg, ASM_RAX);
}
void span_prove(struct codegen *cg) {
    struct steady *st = &cg->steady;
    struct asm_buf *a = &cg->a;
    struct asm_label other = {.at = st->other + 1}, miss = {0}, is_short = {0}, spent = {0};
    asm_bind(a, &st->prove);
    cg->flags_insn = 0; /* it is said already */
    emit_pending(cg);
    asm_mov_ri32(a, ROUNDS, MAX_ROUNDS);
    for (unsigned k = 0; k < st->addresses; k++)
        emit_address(cg, k, &miss);
    asm_alu_ri(a, ASM_CMP, false, ROUNDS, MIN_ROUNDS);
    asm_jcc(a, ASM_B, &is_short);
    if (st->rounds != NO_REG)
        asm_mov_rr(a, false, st->rounds, ROUNDS);
    else
        asm_mov_mr(a, false, FRAME_FIELD(rounds), ROUNDS);
    asm_jmp(a, &st->start);
    asm_bind(a, &miss);
    steady_rounds(cg, MISS_ROUNDS);
    asm_jmp(a, &other);
    asm_bind(a, &is_short);
    asm_alu_ri(a, ASM_ADD, false, ROUNDS, 1); /* and one in the next page */
    asm_mov_mr(a, false, FRAME_FIELD(rounds), ROUNDS);
    asm_jmp(a, &other);
    asm_bind(a, &spent);
    if (st->flags_insn)
        asm_mov_mi(a, false, CPU_FIELD(flags_insn), (int32_t)st->flags_insn);
    asm_jmp(a, &st->prove);
    asm_bind(a, &st->start);
    if (st->rounds != NO_REG)
        asm_alu_ri(a, ASM_SUB, false, st->rounds, 1);
    else
        asm_alu_mi(a, ASM_SUB, false, FRAME_FIELD(rounds), 1);
    asm_jcc(a, ASM_S, &spent);
}
