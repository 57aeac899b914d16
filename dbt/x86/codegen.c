/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* codegen.c: compiles a block: analysis, one emitter call for each instruction, stubs, constants. */
#include "dbt/x86/backend.h"

static emit_fn *const emitters[IR_OP_COUNT] = {
#define IR_OP(name, result, operands, properties) [IR_##name] = emit_##name,
#include "graft/ir_ops.def"
#undef IR_OP
};

#define MIN_ROOM 512

/* No instruction is behind us: values are nowhere. */
static void reset_values(struct codegen *cg) {
    cg->pc = cg->b->pc;
    cg->locked = cg->busy = cg->held = cg->unchecked = 0;
    cg->fp_ops = 0;
    cg->slots_gpr = cg->slots_xmm = 0;
    cg->fl = (struct eflags){.kind = FLAGS_NONE};
    cg->flags_insn = 0;
    cg->homes = cg->hoist_next = 0;
    for (unsigned i = 0; i < NREGS; i++)
        cg->reg_head[i] = 0;
    for (unsigned i = 0; i < MAX_HOISTS; i++)
        cg->hoist[i] = (struct hoist){.root = 0};
}
static void reset(struct codegen *cg, const struct ir_block *b, struct code_out *out) {
    cg->b = b;
    cg->out = out;
    cg->failed = cg->own_exit = cg->steady.on = false;
    cg->fp_calls = cg->stubs = 0;
    reset_values(cg);
    labels_begin(cg);
    for (unsigned i = 0; i < b->vconsts; i++)
        cg->vconst[i] = (struct asm_label){0};
    out->links = out->faults = out->moves = 0;
    out->record_bytes = 0;
    out->loop = NULL;
    out->may_loop = false;
}

static void emit_insts(struct codegen *cg) {
    const unsigned count = cg->b->count;
    const struct ir_inst *in = &cg->b->inst[1];
    struct value *val = &cg->v[1];
    for (unsigned i = 1; i < count && !cg->failed; i++, in++, val++) {
        if (in->op == IR_NOP || val->flags & (V_FUSED | V_DEAD | V_EARLY | V_SILENT))
            continue;
        if (in->op == IR_INSN) { /* a fifth of all: no need of what follows */
            cg->pc = in->imm;
            continue;
        }
        cg->at = i;
        if (cg->held && !fp_may_wait(cg, in))
            fp_flush(cg);
        if (LIKELY(!(val->flags & V_FOLDED)))
            emitters[in->op](cg, in);
        else
            span_folded(cg);
        cg->locked = 0;
        if (in->type != IR_NONE && !val->next_use)
            kill_value(cg, (irv)i);
    }
}

/* A loop with steady accesses, twice. */
static void emit_both(struct codegen *cg) {
    steady_count(cg);
    emit_insts(cg);
    steady_prove(cg);
    reset_values(cg);
    cg->steady.on = true;
    analyse_block(cg);
    if (cg->steady.spans)
        span_fold(cg);
    cg->flags_insn = cg->steady.flags_insn;
    cg->flags_insn_known = false;
    emit_insts(cg);
    cg->steady.on = false;
}

static void emit_constants(struct codegen *cg) {
    struct asm_buf *a = &cg->a;
    for (unsigned i = 0; i < cg->b->vconsts; i++) {
        if (!asm_label_used(&cg->vconst[i]))
            continue;
        asm_room(a);
        while ((uintptr_t)a->p & 15)
            asm_byte(a, 0xcc);
        asm_bind(a, &cg->vconst[i]);
        for (unsigned k = 0; k < 4; k++)
            asm_imm32(a, cg->b->vconst[i].u32[k]);
    }
}

static int compile(struct codegen *cg, uint8_t *where, size_t room) {
    const struct ir_block *b = cg->b;
    struct code_out *out = cg->out;
    cg->a.note = out->move;
    asm_init(&cg->a, where, room);
    out->start = where;
    out->records = where + room;
    analyse_block(cg);
    emit_entry(cg);
    if (UNLIKELY(cg->steady.accesses))
        emit_both(cg);
    else
        emit_insts(cg);
    for (unsigned i = 0; i < cg->stubs && !cg->failed; i++)
        if (!stub_emit(cg, &cg->stub[i]))
            emit_exit_stub(cg, &cg->stub[i]);
    if (cg->failed)
        return -1;
    emit_constants(cg);
    if (cg->a.overflow)
        return -1;
    for (unsigned i = 0; i < out->faults && !(out->fault[i].stub & CODE_RECORD); i++) /* records come last */
        out->fault[i].stub = cg->stub[out->fault[i].stub].start;
    out->end = cg->a.p;
    if (UNLIKELY(cg->own_exit))
        out->may_loop = loop_is_possible(cg);
    out->moves = cg->a.notes < ASM_NOTES && !(b->flags & IR_BLOCK_FIXED) ? cg->a.notes : 0;
    out->bound = cg->a.bound || !codegen_may_move(b->pc);
    return 0;
}

int codegen_compile(struct codegen *cg, struct cpu *cpu, const struct ir_block *b, uint8_t *where, size_t room,
                    struct code_out *out) {
    if (room < MIN_ROOM)
        return -1;
    reset(cg, b, out);
    loop_begin(cg);
    int status = compile(cg, where, room);
    bool again = status && cg->loop.on;
    loop_end(cg);
    if (!again)
        return status;
    reset(cg, b, out); /* it has more than there are registers for, or calls C */
    return compile(cg, where, room);
}
