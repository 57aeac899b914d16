/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * translate.c: from RISC-V code to IR, block by block. The instructions themselves are in trans_*.c.
 *
 * A block goes on past a conditional branch that is not taken, and follows a direct jump forward inside the page. An
 * instruction of which one half is in the next page is a block of its own, which looks at that half each time.
 */
#include "guests/rv64/rv64.h"

#include "rv64_decode.h"

#define MAX_EXITS 3 /* conditional exits that a block goes on past */
#define MANY_EXITS 12
#define MAX_INSNS 64
#define MAX_COUNT 1000 /* IR instructions after which no other guest instruction is started */
#define MAX_VCONSTS 32 /* the same of vector constants: an instruction uses fewer than the rest of the table */

IR_HELPER(rv64_helper_raise, IR_HELPER_STATE);
IR_HELPER(rv64_helper_crossing, IR_HELPER_STATE);
IR_HELPER(rv64_helper_fp, IR_HELPER_STATE);

/* By how often compiled code uses them: arguments and results, the stack, callee-saved and temporary registers. */
#define X(n) {offsetof(struct rv64_cpu, x) + 8 * (n)}
const struct guest_pin rv64_gpr_pins[RV64_GPR_PINS] = {
    X(15), X(14), X(10), X(2), X(8),  X(11), X(9),  X(13), X(12), X(1),  X(18), X(19), X(16), X(17), X(20), X(21),
    X(6),  X(5),  X(22), X(7), X(28), X(23), X(24), X(29), X(25), X(30), X(26), X(31), X(27), X(4),  X(3)};
#undef X
#define F(n) {offsetof(struct rv64_cpu, f) + 16 * (n)}
const struct guest_pin rv64_vec_pins[RV64_VEC_PINS] = {
    F(15), F(14), F(10), F(11), F(12), F(13), F(8),  F(9),  F(0),  F(1),  F(2),  F(3),  F(4),  F(5),  F(6),  F(7),
    F(16), F(17), F(18), F(19), F(20), F(21), F(22), F(23), F(24), F(25), F(26), F(27), F(28), F(29), F(30), F(31)};
#undef F

/* --- registers -------------------------------------------------------------------------------- */

irv rv64_imm(struct rv64_trans *t, uint64_t v) { return ir_const(t->b, IR_I64, v); }

irv rv64_get(struct rv64_trans *t, unsigned n) { return n ? ir_get(t->b, IR_I64, RV64_X(n)) : rv64_imm(t, 0); }

irv rv64_get_w(struct rv64_trans *t, unsigned n) {
    return n ? ir_get(t->b, IR_I32, RV64_X(n)) : ir_const(t->b, IR_I32, 0);
}

void rv64_put(struct rv64_trans *t, unsigned n, irv v) {
    if (!n)
        return;
    if (ir_type_of(t->b, v) == IR_I32)
        v = ir_op1(t->b, IR_SEXT32, v);
    ir_put(t->b, RV64_X(n), v);
}

/* --- what the performance counters count ------------------------------------------------------ */

static uint32_t events_of(uint32_t insn) {
    switch (insn & 0x7f) {
    case 0x63: /* BRANCH, JALR, JAL */
    case 0x67:
    case 0x6f: return RV64_RAW(INSNS) | RV64_RAW(BRANCHES);
    case 0x03: /* LOAD, LOAD-FP */
    case 0x07: return RV64_RAW(INSNS) | RV64_RAW(LOADS);
    case 0x23: /* STORE, STORE-FP */
    case 0x27: return RV64_RAW(INSNS) | RV64_RAW(STORES);
    case 0x2f: /* AMO: LR, SC, all others */
        return RV64_RAW(INSNS) | (insn >> 27 == 3 ? 0 : RV64_RAW(LOADS)) | (insn >> 27 == 2 ? 0 : RV64_RAW(STORES));
    default: return RV64_RAW(INSNS);
    }
}

void rv64_retire(struct rv64_trans *t) {
    unsigned counted = RV64_MODE_PMU(t->mode);
    if (UNLIKELY(counted) && !t->retired)
        pmu_emit_count(t->b, offsetof(struct rv64_cpu, counts), counted & events_of(t->insn));
    t->retired = true;
}

/* --- leaving the block ------------------------------------------------------------------------ */

void rv64_end(struct rv64_trans *t) {
    rv64_retire(t);
    ir_put(t->b, RV64_PC, ir_pc(t->b, t->pc + t->len));
    ir_exit(t->b);
    t->done = true;
}

void rv64_emit_raise(struct rv64_trans *t, unsigned cause, uint64_t tval) {
    ir_call(t->b, IR_NONE, &helper_rv64_helper_raise, rv64_imm(t, cause), rv64_imm(t, tval), 0);
    ir_exit(t->b);
    t->done = true;
}

void rv64_goto(struct rv64_trans *t, uint64_t target) {
    rv64_retire(t);
    ir_goto(t->b, target);
    t->done = true;
}

/* Behind a loop's end the code is colder: another block, if it is reached. But the loop may have more. */
static void end_of_loop(struct rv64_trans *t, uint64_t target) {
    const uint64_t aside = ir_aside(t->b, t->pc, t->limit - 3);
    if (!aside) {
        rv64_goto(t, target);
        return;
    }
    t->next = aside;
    if (aside != target)
        ir_step_aside(t->b, target);
}

void rv64_branch(struct rv64_trans *t, uint64_t target) {
    rv64_retire(t);
    if (target > t->pc && target + 4 <= t->limit)
        t->next = ir_branch_over(t->b, t->pc + t->len, target) ? t->pc + t->len : target;
    else if (target <= t->pc)
        end_of_loop(t, target);
    else
        rv64_goto(t, target);
}

void rv64_branch_if(struct rv64_trans *t, irv cond, uint64_t target) {
    rv64_retire(t);
    ir_exit_if(t->b, cond, target);
    if (target <= t->pc)
        end_of_loop(t, t->pc + t->len);
    else if (++t->exits >= (t->b->flags & IR_BLOCK_LONG ? MANY_EXITS : MAX_EXITS))
        rv64_goto(t, t->pc + t->len);
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* Of opcodes LOAD-FP, STORE-FP, MADD to NMADD and OP-FP (volume I, 36)? */
static bool is_fp(uint32_t insn) {
    unsigned opcode = insn & 0x7f;
    return opcode == 0x07 || opcode == 0x27 || (opcode & 0x73) == 0x43 || opcode == 0x53;
}

/* Outside of U-mode the mode does not say whether floating point is on: see guest_mode(). */
static void check_fp(struct rv64_trans *t) {
    if (rv64_in_u(t) || t->fp_known || !is_fp(t->insn))
        return;
    ir_call(t->b, IR_NONE, &helper_rv64_helper_fp, rv64_imm(t, t->encoding), 0, 0);
    t->fp_known = true;
}

/* A branch inside the block leads here: what is known may be so for one of two ways. */
static void forget(struct rv64_trans *t) {
    t->fp_known = t->assume_boxed = false;
    t->boxed[0] = t->boxed[1] = 0;
}

static void translate_insn(struct rv64_trans *t) {
    t->insn = t->len == 2 ? rv64_expand((uint16_t)t->encoding) : t->encoding;
    ir_insn(t->b, t->pc, t->encoding);
    if (UNLIKELY(t->b->labels) && ir_is_label(t->b, t->pc))
        forget(t);
    t->retired = false;
    if (RV64_MODE_PMU(t->mode) && t->pc == t->b->pc)
        pmu_emit_limit(t->b, offsetof(struct rv64_cpu, counts), t->pc);
    check_fp(t);
    if (t->assumed && t->pc == t->b->pc && !t->assume_boxed)
        rv64_check_boxed(t, t->assumed);
    if (!t->insn || !rv64_dispatch(t, t->insn))
        rv64_emit_raise(t, RV64_ILLEGAL, t->encoding);
    else if (!t->done)
        rv64_retire(t);
}

static uint32_t half_at(const void *code, uint64_t offset) {
    const uint8_t *p = (const uint8_t *)code + offset;
    return p[0] | (uint32_t)p[1] << 8;
}

/* The instruction at the start of the block ends in the next page. Its fetch raises what that half raises. */
static void translate_crossing(struct rv64_trans *t, const struct cpu *cpu) {
    struct gpa pa;
    /* A translation changes nothing of the state but what it raises: the cast is for the latter. */
    const void *code = mem_fetch((struct cpu *)(uintptr_t)cpu, t->pc + 2, &pa);
    uint32_t half = half_at(code, 0);
    t->encoding |= half << 16;
    t->b->flags |= IR_BLOCK_FIXED; /* what comes next is a matter of the page tables */
    ir_insn_pc(t->b, t->pc, t->encoding);
    ir_call(t->b, IR_NONE, &helper_rv64_helper_crossing, rv64_imm(t, t->pc), rv64_imm(t, half), 0);
    translate_insn(t);
    t->b->insns++;
    if (!t->done)
        rv64_goto(t, t->next);
    t->b->guest_bytes = t->b->watch_bytes = 2;
}

/* The block, up to `most` instructions; false: its only one crosses into the next page. */
static bool translate_block(struct rv64_trans *t, const void *code, unsigned most) {
    struct ir_block *b = t->b;
    uint64_t end = b->pc;
    do {
        t->pc = t->next;
        t->encoding = half_at(code, t->pc - b->pc);
        t->len = (t->encoding & 3) == 3 ? 4 : 2;
        t->next = t->pc + t->len;
        if (t->next > t->limit) {
            if (t->pc == b->pc)
                return false;
            t->retired = true; /* it is not a part of the block */
            rv64_goto(t, t->pc);
            break;
        }
        if (t->len == 4)
            t->encoding |= half_at(code, t->pc - b->pc + 2) << 16;
        translate_insn(t);
        b->insns++;
        if (t->pc + t->len > end)
            end = t->pc + t->len;
        if (!t->done && (b->insns >= most || t->next >= t->limit || b->count > MAX_COUNT || b->vconsts > MAX_VCONSTS))
            rv64_goto(t, t->next);
    } while (!t->done);
    b->guest_bytes = (uint32_t)(end - b->pc);
    b->watch_bytes = b->guest_bytes;
    return true;
}

void rv64_translate(struct ir_block *b, const struct cpu *cpu, const void *code, unsigned bytes, unsigned max_insns) {
    unsigned most = max_insns < MAX_INSNS ? max_insns : MAX_INSNS, start = b->count;
    struct rv64_trans first = {.b = b, .mode = b->mode, .pc = b->pc, .next = b->pc, .limit = b->pc + bytes}, t = first;
    b->flags |= IR_BLOCK_TINY_AFTER;
    if (RV64_MODE_FRM(t.mode) == RV64_FRM_RMM)
        b->flags |= IR_BLOCK_SOFTFP;
    t.assume_boxed = !(t.mode & RV64_MODE_UNBOXED);
    if (!translate_block(&t, code, most)) {
        t.assume_boxed = false;
        translate_crossing(&t, cpu);
    } else if (t.assumed) { /* now it is known what to look at first */
        first.assumed = t.assumed;
        ir_block_rewind(b, start);
        t = first;
        translate_block(&t, code, most);
    }
}
