/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * translate.c: from AArch64 code to IR, block by block. The instructions themselves are in trans_*.c.
 *
 * A block goes on past a conditional branch that is not taken, and follows a direct branch forward inside the page.
 *
 * No pc here is misaligned: the dispatcher raises that exception before it looks for code.
 */
#include "guests/a64/a64.h"

#include "a64_decode.h"

#define MAX_EXITS 3 /* conditional exits that a block goes on past */
#define MANY_EXITS 12
#define MAX_INSNS 48
#define MAX_COUNT 1000 /* IR instructions after which no other guest instruction is started */
#define MAX_VCONSTS 32 /* the same of vector constants: an instruction uses fewer than the rest of the table */

IR_HELPER(a64_helper_undefined, IR_HELPER_STATE);
IR_HELPER(a64_helper_exception, IR_HELPER_STATE);
IR_HELPER(a64_helper_breakpoint, IR_HELPER_STATE);

/* By how often compiled code uses them: arguments and results, the stack, frame and link registers, then the
 * callee-saved and scratch registers. */
#define X(n) {offsetof(struct a64_cpu, x) + 8 * (n)}
const struct guest_pin a64_gpr_pins[A64_GPR_PINS] = {
    X(0), X(1),  X(31), X(2),  X(19), X(3),  X(20), X(4),  X(21), X(29), X(5),  X(30), X(22), X(6),  X(8),  X(23),
    X(7), X(24), X(9),  X(10), X(25), X(11), X(12), X(26), X(16), X(17), X(13), X(14), X(27), X(15), X(28), X(18)};
#undef X
#define V(n) {offsetof(struct a64_cpu, v) + 16 * (n)}
const struct guest_pin a64_vec_pins[A64_VEC_PINS] = {
    V(0),  V(1),  V(2),  V(3),  V(4),  V(5),  V(6),  V(7),  V(16), V(17), V(18), V(19), V(20), V(21), V(22), V(23),
    V(31), V(30), V(29), V(28), V(24), V(25), V(26), V(27), V(8),  V(9),  V(10), V(11), V(12), V(13), V(14), V(15)};
#undef V

/* --- registers -------------------------------------------------------------------------------- */

static irv get_reg(struct a64_trans *t, unsigned n, bool sf) { return ir_get(t->b, sf ? IR_I64 : IR_I32, A64_X(n)); }

static void put_reg(struct a64_trans *t, unsigned n, irv v) {
    if (ir_type_of(t->b, v) == IR_I32)
        v = ir_op1(t->b, IR_ZEXT32, v);
    ir_put(t->b, A64_X(n), v);
}

irv a64_get_x(struct a64_trans *t, unsigned n, bool sf) {
    return n == 31 ? ir_const(t->b, sf ? IR_I64 : IR_I32, 0) : get_reg(t, n, sf);
}

void a64_put_x(struct a64_trans *t, unsigned n, irv v) {
    if (n != 31)
        put_reg(t, n, v);
}

irv a64_get_sp(struct a64_trans *t, unsigned n, bool sf) { return get_reg(t, n, sf); }

void a64_put_sp(struct a64_trans *t, unsigned n, irv v) {
    if (n == 31)
        t->sp_aligned = false;
    put_reg(t, n, v);
}

void a64_writeback(struct a64_trans *t, unsigned rn, irv value, int64_t step) {
    bool aligned = t->sp_aligned && step % 16 == 0;
    a64_put_sp(t, rn, value);
    if (rn == 31)
        t->sp_aligned = aligned;
}

irv a64_get_v(struct a64_trans *t, unsigned n) { return ir_get(t->b, IR_V128, A64_V(n)); }

void a64_put_nzcv(struct a64_trans *t, irv flags) {
    ir_put(t->b, A64_NZCV, flags);
    t->sets_flags = true;
}

void a64_put_flags(struct a64_trans *t, irv flags) {
    unsigned at = t->b->count;
    a64_put_nzcv(t, flags);
    if (t->b->count > at)
        t->b->inst[at].aux = a64_flags_sources(t->insn);
}

void a64_put_v(struct a64_trans *t, unsigned n, irv v) { ir_put(t->b, A64_V(n), v); }

unsigned a64_mem_flags(struct a64_trans *t) { return t->mode & A64_MODE_ALIGN ? IR_MEM_ALIGN : 0; }

/* --- what the performance monitors count ------------------------------------------------------ */

#define RAW(name) (1u << A64_RAW_##name)

static bool sequence(uint32_t insn, uint32_t mask, uint32_t value) { return (insn & mask) == value; }

static unsigned branch_events(uint32_t insn) {
    unsigned all = RAW(INSNS) | RAW(BRANCHES);
    if (sequence(insn, 0x7c000000, 0x14000000)) /* B, BL */
        return all | RAW(IMMEDIATE) | RAW(TAKEN);
    if (sequence(insn, 0xff00001e, 0x5400000e)) /* B.AL */
        return all | RAW(IMMEDIATE) | RAW(TAKEN);
    if (sequence(insn, 0xff000010, 0x54000000) || sequence(insn, 0x7c000000, 0x34000000)) /* B.cond, CBZ, TBZ */
        return all | RAW(IMMEDIATE);                                                      /* and a64_branch_if() */
    if (sequence(insn, 0xfffffc1f, 0xd65f0000))                                           /* RET */
        return all | RAW(RETURNS) | RAW(TAKEN);
    if (sequence(insn, 0xffdffc1f, 0xd61f0000) /* BR, BLR */ || insn == 0xd69f03e0 /* ERET */)
        return all | RAW(TAKEN);
    return RAW(INSNS);
}

/* Of a load, a store, or what is encoded among them. */
static unsigned access_events(uint32_t insn) {
    const unsigned load = RAW(INSNS) | RAW(LOADS), store = RAW(INSNS) | RAW(STORES);
    unsigned size = insn >> 30, opc = insn >> 22 & 3;
    bool vector = insn >> 26 & 1;
    if (sequence(insn, 0x3f000000, 0x08000000)) { /* exclusive, ordered; CAS, CASP */
        bool cas = sequence(insn, 0x00a00000, 0x00a00000) || (sequence(insn, 0x80a00000, 0x00200000));
        return cas ? load | store : insn >> 22 & 1 ? load : store;
    }
    if (sequence(insn, 0x3b000000, 0x18000000)) /* literal */
        return size == 3 && !vector ? RAW(INSNS) : load;
    if (sequence(insn, 0x3a000000, 0x28000000) || sequence(insn, 0xbe000000, 0x0c000000)) /* pairs; LD1 .. ST4 */
        return insn >> 22 & 1 ? load : store;
    if (!vector && sequence(insn, 0x01200c00, 0x00200000)) /* LDADD .. SWP; LDAPR */
        return sequence(insn, 0x0000f000, 0x0000c000) ? load : load | store;
    if (!vector && size == 3 && opc == 2) /* PRFM */
        return RAW(INSNS);
    return vector ? (opc & 1 ? load : store) : opc ? load : store;
}

static unsigned events_of(uint32_t insn) {
    return sequence(insn, 0x0a000000, 0x08000000) ? access_events(insn) : branch_events(insn);
}

static size_t raw_at(unsigned raw) { return offsetof(struct a64_cpu, counts.raw) + 8 * (size_t)raw; }

void a64_retire(struct a64_trans *t) {
    unsigned counted = A64_MODE_PMU(t->mode);
    if (LIKELY(!counted) || t->retired)
        return;
    t->retired = true;
    pmu_emit_count(t->b, offsetof(struct a64_cpu, counts), counted & events_of(t->insn));
}

/* A conditional branch is taken if cond is 1. */
static void retire_branch(struct a64_trans *t, irv cond) {
    a64_retire(t);
    if (A64_MODE_PMU(t->mode) & RAW(TAKEN)) {
        irv taken = ir_get(t->b, IR_I64, raw_at(A64_RAW_TAKEN));
        ir_put(t->b, raw_at(A64_RAW_TAKEN), ir_op2(t->b, IR_ADD, taken, ir_op1(t->b, IR_ZEXT32, cond)));
    }
}

/* --- leaving the block ------------------------------------------------------------------------ */

void a64_end(struct a64_trans *t) {
    a64_retire(t);
    ir_put(t->b, A64_PC, ir_pc(t->b, t->pc + 4));
    ir_exit(t->b);
    t->done = true;
}

void a64_emit_raise(struct a64_trans *t, uint32_t esr, unsigned offset) {
    if (offset)
        a64_retire(t);
    irv esr64 = ir_const(t->b, IR_I64, esr), offset64 = ir_const(t->b, IR_I64, offset);
    ir_call(t->b, IR_NONE, &helper_a64_helper_exception, esr64, offset64, 0);
    ir_exit(t->b);
    t->done = true;
}

static void raise_undefined(struct a64_trans *t) {
    ir_call(t->b, IR_NONE, &helper_a64_helper_undefined, ir_const(t->b, IR_I64, t->insn), 0, 0);
    ir_exit(t->b);
    t->done = true;
}

/* mark_exit(): the exit at `at`, if there was room for it: does the code there need NZCV? Nobody asks in a block that
 * has not set it. */
static void mark_exit(struct a64_trans *t, unsigned at, uint64_t target) {
    uint32_t changed;
    if (t->sets_flags && at && t->b->count > at && a64_flags_dead(t, target, &changed)) {
        t->b->inst[at].flags |= IR_EXIT_FLAGS_DEAD;
        t->b->inst[at].aux = changed;
    }
}

void a64_goto(struct a64_trans *t, uint64_t target) {
    a64_retire(t);
    unsigned at = t->b->count;
    ir_goto(t->b, target);
    mark_exit(t, at, target);
    t->done = true;
}

/* Behind a loop's end the code is colder: another block, if it is reached. But the loop may have more. */
static void end_of_loop(struct a64_trans *t, uint64_t target) {
    const uint64_t aside = ir_aside(t->b, t->pc, t->limit);
    if (!aside) {
        a64_goto(t, target);
        return;
    }
    a64_retire(t);
    t->next = aside;
    if (aside != target)
        mark_exit(t, ir_step_aside(t->b, target), target);
}

void a64_branch(struct a64_trans *t, uint64_t target) {
    if (target > t->pc && target < t->limit && (target & 3) == 0) {
        a64_retire(t);
        irv exit = ir_branch_over(t->b, t->pc + 4, target);
        mark_exit(t, exit, target);
        t->next = exit ? t->pc + 4 : target;
    } else if (target <= t->pc) {
        end_of_loop(t, target);
    } else {
        a64_goto(t, target);
    }
}

void a64_branch_if(struct a64_trans *t, irv cond, uint64_t target) {
    retire_branch(t, cond);
    unsigned at = t->b->count;
    ir_exit_if(t->b, cond, target);
    mark_exit(t, at, target);
    if (target <= t->pc)
        end_of_loop(t, t->pc + 4);
    else if (++t->exits >= (t->b->flags & IR_BLOCK_LONG ? MANY_EXITS : MAX_EXITS))
        a64_goto(t, t->pc + 4);
}

bool a64_fp_access(struct a64_trans *t) {
    if (!(t->mode & A64_MODE_FP_TRAP))
        return true;
    a64_emit_raise(t, A64_ESR(A64_EC_FP, 0x1e00000) /* CV = 1, COND = AL */, 0);
    return false;
}

/* --- SP alignment ----------------------------------------------------------------------------- */

irv a64_base(struct a64_trans *t, unsigned n) {
    irv base = get_reg(t, n, true);
    if (n == 31 && (t->mode & A64_MODE_SA) && !t->sp_aligned) {
        irv low = ir_op2i(t->b, IR_AND, base, 15);
        irv cond = ir_cmp(t->b, IR_CMP_NE, low, ir_const(t->b, IR_I64, 0));
        ir_fault_if(t->b, cond, t->pc);
        t->sp_aligned = true;
    }
    return base;
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* What a debugger of the guest wants before an instruction. */
static void debug_insn(struct a64_trans *t) {
    if (A64_MODE_BREAKS(t->mode) && a64_breaks_at(t->cpu, t->mode, t->pc, t->pc == t->b->pc))
        ir_call(t->b, IR_NONE, &helper_a64_helper_breakpoint, 0, 0, 0);
    if (t->mode & A64_MODE_STEP)
        ir_put(t->b, offsetof(struct a64_cpu, step_insn), ir_const(t->b, IR_I32, t->insn));
}

static void translate_insn(struct a64_trans *t) {
    ir_insn(t->b, t->pc, t->insn);
    if (UNLIKELY(t->b->labels) && ir_is_label(t->b, t->pc))
        t->sp_aligned = false;
    t->retired = false;
    if (A64_MODE_PMU(t->mode) && t->pc == t->b->pc)
        pmu_emit_limit(t->b, offsetof(struct a64_cpu, counts), t->pc);
    debug_insn(t);
    if (t->mode & A64_MODE_IL)
        a64_emit_raise(t, A64_ESR(A64_EC_IL, 0), 0);
    else if (!a64_dispatch(t, t->insn))
        raise_undefined(t);
    else if (!t->done)
        a64_retire(t);
}

void a64_translate(struct ir_block *b, const struct cpu *cpu, const void *code, unsigned bytes, unsigned max_insns) {
    const uint32_t *words = code;
    struct a64_trans t = {.b = b, .cpu = (const struct a64_cpu *)cpu, .mode = b->mode, .pc = b->pc};
    if (t.mode & A64_MODE_SOFTFP)
        b->flags |= IR_BLOCK_SOFTFP;
    if (t.mode & A64_MODE_WATCH)
        b->flags |= IR_BLOCK_CALL_MEMORY;
    if (A64_MODE_BREAKS(t.mode))
        b->flags |= IR_BLOCK_FIXED;
    if (t.mode & A64_MODE_STEP)
        max_insns = 1;
    if (max_insns > 1) /* one instruction alone is a step: all is exact */
        b->flags |= IR_BLOCK_LAZY_FLAGS;
    t.words = words;
    t.watch_lo = t.watch_hi = b->pc;
    uint64_t end = b->pc;
    unsigned most = max_insns < MAX_INSNS ? max_insns : MAX_INSNS;
    t.limit = b->pc + bytes;
    t.next = b->pc;
    do {
        t.pc = t.next;
        t.next = t.pc + 4;
        t.insn = words[(t.pc - b->pc) / 4];
        translate_insn(&t);
        b->insns++;
        if (t.pc + 4 > end)
            end = t.pc + 4;
        if (!t.done && (b->insns >= most || t.next >= t.limit || b->count > MAX_COUNT || b->vconsts > MAX_VCONSTS))
            a64_goto(&t, t.next);
    } while (!t.done);
    b->guest_bytes = (uint32_t)(end - b->pc);
    b->watch_before = (uint32_t)(b->pc - t.watch_lo);
    b->watch_bytes = (uint32_t)((t.watch_hi > end ? t.watch_hi : end) - b->pc);
}
