/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir.c: building blocks of the intermediate representation. */
#include "graft/mmu.h"
#include "ir_priv.h"

enum { PROP_n = 0, PROP_P = 1, PROP_M = 2, PROP_X = 4, PROP_S = 8 };
#define PROPS(s)                                                                                                       \
    (sizeof(s) == 1 ? 0 : (s)[0] == 'P' ? PROP_P : (s)[0] == 'M' ? PROP_M : (s)[0] == 'X' ? PROP_X : PROP_S)
#define RESULT_n 'n'
#define RESULT_w 'w'
#define RESULT_l 'l'
#define RESULT_i 'i'
#define RESULT_v 'v'
#define RESULT_f 'f'
#define RESULT_t 't'
#define IR_OP(name_, result_, operands_, properties)                                                                   \
    [IR_##name_] = {.name = #name_,                                                                                    \
                    .result = RESULT_##result_,                                                                        \
                    .operands = operands_,                                                                             \
                    .pure = PROPS(properties) == PROP_P,                                                               \
                    .memory = PROPS(properties) == PROP_M,                                                             \
                    .state = PROPS(properties) == PROP_S,                                                              \
                    .exits = PROPS(properties) == PROP_X},
const struct ir_op_info ir_op_info[IR_OP_COUNT] = {
    [IR_NOP] = {.name = "NOP", .result = 'n'},
#include "graft/ir_ops.def"
};
#undef IR_OP
#define IR_OP(name_, result_, operands_, properties)                                                                   \
    [IR_##name_] = PROPS(properties) == PROP_P   ? IR_IS_PURE | (SETS_FP_STATUS(IR_##name_) ? 0 : IR_IS_FREE)          \
                   : PROPS(properties) == PROP_M ? IR_IS_MEMORY                                                        \
                   : PROPS(properties) == PROP_S ? IR_IS_STATE                                                         \
                   : PROPS(properties) == PROP_X ? IR_IS_EXIT                                                          \
                                                 : 0,
const uint8_t ir_op_is[IR_OP_COUNT] = {
#include "graft/ir_ops.def"
};
#undef IR_OP

void ir_block_reset(struct ir_block *b, uint64_t pc, uint32_t mode) {
    b->pc = pc;
    b->mode = mode;
    b->flags = 0;
    b->insns = 0;
    b->guest_bytes = 0;
    b->insn_counter = 0;
    b->before = b->watch_before = b->watch_bytes = 0;
    b->count = 1;
    b->vconsts = b->labels = 0;
    b->overflow = false;
    b->inst[0] = (struct ir_inst){0};
    b->priv.room = IR_LIMIT;
    b->priv.ends = 0;
    b->priv.raw = b->priv.counted = false;
    b->priv.map[0] = 0;
    ir_forward_reset(b);
    for (unsigned t = IR_NONE; t <= IR_FLAGS; t++)
        b->inst[IR_DUMMY_BASE + t] = (struct ir_inst){.op = IR_CONST, .type = (uint8_t)t};
}

void ir_block_rewind(struct ir_block *b, unsigned count) {
    b->count = (uint16_t)count;
    b->vconsts = 0;
    b->insns = 0;
    b->overflow = b->priv.raw = false;
    b->priv.ends = 0;
    ir_forward_reset(b);
}

/* Operations that a translator needs to close a block which has just overflowed. */
static bool closes_block(unsigned op) {
    return op == IR_PUT || op == IR_INSN || op == IR_GOTO || op == IR_GOTO_REG || op == IR_EXIT || op == IR_CONST ||
           op == IR_PC;
}

irv ir_emit_late(struct ir_block *b, const struct ir_inst *i) {
    if (!closes_block(i->op) || b->count >= IR_END_LIMIT) {
        b->overflow = true;
        return i->type == IR_NONE ? 0 : (irv)(IR_DUMMY_BASE + i->type);
    }
    b->inst[b->count++] = *i;
    return i->type == IR_NONE ? 0 : b->count - 1;
}

irv ir_append(struct ir_block *b, const struct ir_inst *i) {
    b->priv.raw = true;
    return ir_emit(b, i);
}

irv ir_add_inst(struct ir_block *b, const struct ir_inst *inst) {
    struct ir_inst i = *inst;
    return ir_forward(b, &i);
}

irv ir_const(struct ir_block *b, enum ir_type t, uint64_t imm) {
    imm &= ir_type_mask(t);
    unsigned h = (unsigned)((imm ^ imm >> 6 ^ imm >> 12 ^ imm >> 32) + t) % ARRAY_LEN(b->priv.consts);
    irv v = b->priv.consts[h];
    if (v && v < b->count) {
        const struct ir_inst *c = &b->inst[v];
        if (c->op == IR_CONST && c->imm == imm && c->type == t)
            return v;
    }
    struct ir_inst i = ir_make(ir_head(IR_CONST, t, 0, 0, 0, 0, 0), 0, 0, 0, imm);
    v = ir_emit(b, &i);
    b->priv.consts[h] = v;
    return v;
}

int ir_vconst_slot(struct ir_block *b, uint64_t lo, uint64_t hi) {
    for (int k = b->vconsts - 1; k >= 0; k--)
        if (b->vconst[k].u64[0] == lo && b->vconst[k].u64[1] == hi)
            return k;
    if (b->vconsts >= IR_MAX_VCONSTS)
        return -1;
    b->vconst[b->vconsts].u64[0] = lo;
    b->vconst[b->vconsts].u64[1] = hi;
    return b->vconsts++;
}

irv ir_pc(struct ir_block *b, uint64_t value) {
    struct ir_inst i = ir_make(ir_head(IR_PC, IR_I64, 0, 0, 0, 0, 0), 0, 0, 0, value);
    return ir_forward(b, &i);
}

irv ir_vconst(struct ir_block *b, uint64_t lo, uint64_t hi) {
    int slot = ir_vconst_slot(b, lo, hi);
    if (slot < 0) {
        b->overflow = true;
        return IR_DUMMY_BASE + IR_V128;
    }
    struct ir_inst i = ir_make(ir_head(IR_VCONST, IR_V128, 0, 0, 0, 0, 0), 0, 0, (uint32_t)slot, 0);
    return ir_forward(b, &i);
}

/* The result type of an operation whose only variable is the type of an operand. */
static uint8_t result_type(const struct ir_block *b, unsigned op, irv a, irv c) {
    switch (ir_op_info[op].result) {
    case 'w': return IR_I32;
    case 'l': return IR_I64;
    case 'v': return IR_V128;
    case 'f': return IR_FLAGS;
    case 'i':
        if (ir_op_info[op].operands[0] == 'i')
            return b->inst[a].type;
        return ir_op_info[op].operands[0] == 'w' ? b->inst[c].type : IR_I64;
    default: return IR_NONE;
    }
}

irv ir_op3(struct ir_block *b, enum ir_op op, irv a, irv b_, irv c) {
    struct ir_inst i = ir_make(ir_head(op, result_type(b, op, a, b_), 0, 0, 0, 0, a), b_, c, 0, 0);
    return ir_forward(b, &i);
}

irv ir_op1(struct ir_block *b, enum ir_op op, irv a) { return ir_op3(b, op, a, 0, 0); }

irv ir_op2(struct ir_block *b, enum ir_op op, irv a, irv c) { return ir_op3(b, op, a, c, 0); }

irv ir_op2i(struct ir_block *b, enum ir_op op, irv a, uint64_t imm) {
    return ir_op3(b, op, a, ir_const(b, ir_type_of(b, a), imm), 0);
}

irv ir_bitfield(struct ir_block *b, enum ir_op op, irv a, irv b_, unsigned lo, unsigned len) {
    bool pair = op == IR_EXTR;
    uint64_t head = ir_head(op, b->inst[a].type, pair ? 0 : lo, pair ? lo : len, 0, 0, a);
    struct ir_inst i = ir_make(head, b_, 0, 0, 0);
    return ir_forward(b, &i);
}

irv ir_cmp(struct ir_block *b, enum ir_cmp cc, irv a, irv c) {
    struct ir_inst i = ir_make(ir_head(IR_CMP, IR_I32, 0, 0, cc, 0, a), c, 0, 0, 0);
    return ir_forward(b, &i);
}

irv ir_cond(struct ir_block *b, enum ir_cond cc, irv flags) {
    struct ir_inst i = ir_make(ir_head(IR_COND, IR_I32, 0, 0, cc, 0, flags), 0, 0, 0, 0);
    return ir_forward(b, &i);
}

irv ir_select(struct ir_block *b, irv cond, irv yes, irv no) { return ir_op3(b, IR_SELECT, cond, yes, no); }

irv ir_flags_select(struct ir_block *b, irv cond, irv flags, unsigned nzcv) {
    struct ir_inst i = ir_make(ir_head(IR_FLAGS_SELECT, IR_FLAGS, 0, 0, 0, 0, cond), flags, 0, 0, nzcv & 15);
    return ir_forward(b, &i);
}

/* --- memory ----------------------------------------------------------------------------------- */
static uint64_t mem_head(enum ir_op op, enum ir_type t, unsigned log2_bytes, irv addr, unsigned regime,
                         unsigned flags) {
    return ir_head(op, t, log2_bytes, 0, regime, flags, addr);
}

/* Accesses as calls, for blocks with IR_BLOCK_CALL_MEMORY. */
IR_HELPER(mem_called_ld, IR_HELPER_STATE);
IR_HELPER(mem_called_st, IR_HELPER_STATE);
IR_HELPER(mem_called_atomic, IR_HELPER_STATE);
IR_HELPER(mem_called_cas, IR_HELPER_STATE);
IR_HELPER(mem_called_stx, IR_HELPER_STATE);
#define VALUE (offsetof(struct cpu, vscratch) + sizeof(v128) * MEM_VALUE)

static bool calls_memory(const struct ir_block *b) { return UNLIKELY(b->flags & IR_BLOCK_CALL_MEMORY); }

static irv called_at(struct ir_block *b, irv addr, int32_t disp) {
    return disp ? ir_op2i(b, IR_ADD, addr, (uint64_t)(int64_t)disp) : addr;
}

static irv called_desc(struct ir_block *b, unsigned size, unsigned regime, unsigned flags, unsigned kind) {
    return ir_const(b, IR_I64, MMU_DESC(size, regime, flags) | kind << 16);
}

static irv called_ld(struct ir_block *b, enum ir_type t, unsigned size, irv addr, irv desc) {
    irv v = ir_call(b, IR_I64, &helper_mem_called_ld, addr, desc, 0);
    if (t == IR_V128)
        return size == 4 ? ir_get(b, IR_V128, VALUE) : ir_vop1(b, IR_VFROM, size, v, 0);
    return t == IR_I32 ? ir_op1(b, IR_TRUNC, v) : v;
}

static void called_st(struct ir_block *b, unsigned size, irv addr, irv value, irv desc) {
    enum ir_type t = ir_type_of(b, value);
    if (size == 4) {
        ir_put(b, VALUE, value);
        value = 0;
    } else if (t == IR_V128) {
        value = ir_vop1(b, IR_VGET, 3, value, 0);
    } else if (t == IR_I32) {
        value = ir_op1(b, IR_ZEXT32, value);
    }
    ir_call(b, IR_NONE, &helper_mem_called_st, addr, value ? value : ir_const(b, IR_I64, 0), desc);
}

irv ir_ld(struct ir_block *b, enum ir_type t, unsigned log2_bytes, irv addr, int32_t disp, unsigned regime,
          unsigned flags) {
    if (calls_memory(b))
        return called_ld(b, t, log2_bytes, called_at(b, addr, disp), called_desc(b, log2_bytes, regime, flags, 0));
    struct ir_inst i = ir_make(mem_head(IR_LD, t, log2_bytes, addr, regime, flags), 0, 0, 0, (uint64_t)(int64_t)disp);
    return ir_emit(b, &i);
}

void ir_st(struct ir_block *b, unsigned log2_bytes, irv addr, int32_t disp, irv value, unsigned regime,
           unsigned flags) {
    if (calls_memory(b)) {
        called_st(b, log2_bytes, called_at(b, addr, disp), value, called_desc(b, log2_bytes, regime, flags, 0));
        return;
    }
    uint64_t head = mem_head(IR_ST, IR_NONE, log2_bytes, addr, regime, flags);
    struct ir_inst i = ir_make(head, value, 0, 0, (uint64_t)(int64_t)disp);
    ir_emit(b, &i);
}

irv ir_atomic(struct ir_block *b, enum ir_atomic kind, unsigned log2_bytes, irv addr, irv value, unsigned regime,
              unsigned flags) {
    if (calls_memory(b))
        return ir_call(b, IR_I64, &helper_mem_called_atomic, addr, value,
                       called_desc(b, log2_bytes, regime, flags, kind));
    struct ir_inst i = ir_make(ir_head(IR_ATOMIC, IR_I64, log2_bytes, kind, regime, flags, addr), value, 0, 0, 0);
    return ir_forward(b, &i);
}

irv ir_cas(struct ir_block *b, unsigned log2_bytes, irv addr, irv expected, irv value, unsigned regime,
           unsigned flags) {
    if (calls_memory(b)) {
        ir_put(b, VALUE, expected);
        return ir_call(b, IR_I64, &helper_mem_called_cas, addr, value, called_desc(b, log2_bytes, regime, flags, 0));
    }
    struct ir_inst i = ir_make(mem_head(IR_CAS, IR_I64, log2_bytes, addr, regime, flags), expected, value, 0, 0);
    return ir_forward(b, &i);
}

irv ir_stx(struct ir_block *b, unsigned log2_bytes, irv addr, irv value, unsigned regime, unsigned flags) {
    if (calls_memory(b)) {
        irv desc = called_desc(b, log2_bytes, regime, flags, 0);
        return ir_op1(b, IR_TRUNC, ir_call(b, IR_I64, &helper_mem_called_stx, addr, value, desc));
    }
    struct ir_inst i = ir_make(mem_head(IR_STX, IR_I32, log2_bytes, addr, regime, flags), value, 0, 0, 0);
    return ir_forward(b, &i);
}

void ir_fence(struct ir_block *b, enum ir_fence kind) {
    struct ir_inst i = ir_make(ir_head(IR_FENCE, IR_NONE, 0, kind, 0, 0, 0), 0, 0, 0, 0);
    ir_forward(b, &i);
}

/* --- calls and vectors ------------------------------------------------------------------------ */
irv ir_call(struct ir_block *b, enum ir_type t, const struct ir_helper *h, irv a, irv b_, irv c) {
    struct ir_inst i = ir_make(ir_head(IR_CALL, t, 0, 0, 0, 0, a), b_, c, 0, (uintptr_t)h);
    return ir_forward(b, &i);
}

irv ir_callv(struct ir_block *b, const struct ir_helper *h, irv a, irv b_, irv c, uint32_t aux) {
    struct ir_inst i = ir_make(ir_head(IR_CALLV, IR_V128, 0, 0, 0, 0, a), b_, c, aux, (uintptr_t)h);
    return ir_forward(b, &i);
}

irv ir_vop3(struct ir_block *b, enum ir_op op, unsigned lane, irv a, irv b_, irv c, unsigned n) {
    struct ir_inst i = ir_make(ir_head(op, result_type(b, op, a, b_), lane, n, 0, 0, a), b_, c, 0, 0);
    return ir_forward(b, &i);
}

irv ir_vop1(struct ir_block *b, enum ir_op op, unsigned lane, irv a, unsigned n) {
    return ir_vop3(b, op, lane, a, 0, 0, n);
}

irv ir_vop2(struct ir_block *b, enum ir_op op, unsigned lane, irv a, irv b_, unsigned n) {
    return ir_vop3(b, op, lane, a, b_, 0, n);
}

/* --- instructions and exits ------------------------------------------------------------------- */
void ir_insn_pc(struct ir_block *b, uint64_t pc, uint32_t encoding) {
    struct ir_inst i = ir_make(ir_head(IR_INSN, IR_NONE, 0, 0, 0, 0, 0), 0, 0, encoding, pc);
    ir_emit(b, &i);
}

void ir_count(struct ir_block *b, size_t offset) {
    ir_put(b, offset, ir_op2i(b, IR_ADD, ir_get(b, IR_I64, offset), 1));
}

void ir_insn(struct ir_block *b, uint64_t pc, uint32_t encoding) {
    if (UNLIKELY(b->labels))
        ir_label(b, pc);
    ir_insn_pc(b, pc, encoding);
    if (UNLIKELY(b->insn_counter))
        ir_count(b, b->insn_counter);
}

void ir_exit_if(struct ir_block *b, irv cond, uint64_t pc) {
    unsigned flags = UNLIKELY(b->labels) && ir_label_is_ahead(b, pc) ? IR_EXIT_INSIDE : 0;
    struct ir_inst i = ir_make(ir_head(IR_EXIT_IF, IR_NONE, 0, 0, 0, flags, cond), 0, 0, 0, pc);
    ir_forward(b, &i);
}

void ir_fault_if(struct ir_block *b, irv cond, uint64_t pc) {
    unsigned at = b->count;
    ir_exit_if(b, cond, pc);
    for (; at < b->count; at++)
        if (b->inst[at].op == IR_EXIT_IF)
            b->inst[at].flags = IR_EXIT_FAULT;
}

void ir_goto(struct ir_block *b, uint64_t pc) {
    struct ir_inst i = ir_make(ir_head(IR_GOTO, IR_NONE, 0, 0, 0, 0, 0), 0, 0, 0, pc);
    ir_forward(b, &i);
}

void ir_goto_reg(struct ir_block *b, irv target, enum ir_jump kind) {
    struct ir_inst i = ir_make(ir_head(IR_GOTO_REG, IR_NONE, 0, 0, kind, 0, target), 0, 0, 0, 0);
    ir_forward(b, &i);
}

void ir_ras_push(struct ir_block *b, uint64_t return_pc) {
    struct ir_inst i = {.op = IR_RAS_PUSH, .imm = return_pc};
    ir_forward(b, &i);
}

void ir_exit(struct ir_block *b) {
    struct ir_inst i = {.op = IR_EXIT};
    ir_forward(b, &i);
}
