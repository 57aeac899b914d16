/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * emit_exit.c: ways into and out of a block.
 *
 * A direct exit is a jump that the engine links to its target; until then it goes to
 * a stub that calls the thunk exit_link: by the return address the engine knows which. One that leaves the
 * guest page is behind a check that the view still maps the target's page (mmu.h,
 * code_page). Everything else goes through the jump cache of the view: RAX holds the
 * guest pc then.
 */
#include "dbt/x86/backend.h"

static bool same_page(const struct codegen *cg, uint64_t pc) { return (cg->b->pc ^ pc) >> PAGE_SHIFT == 0; }

#define NO_PAGE 0x7fffffff /* the number of no page; not short as an immediate */
#define FAR_PAGE (-10)     /* where that immediate is from the jump behind it */
/* Goes on at a constant pc outside the page, or at miss. Returns the position of the jump that is linked. */
static uint32_t jump_far(struct codegen *cg, uint64_t pc, struct asm_label *miss) {
    struct asm_buf *a = &cg->a;
    int32_t page = (int32_t)(offsetof(struct view, code_page) + code_page_index(pc) * sizeof(uint32_t));
    asm_alu_mi(a, ASM_CMP, false, asm_mem_view(page), NO_PAGE);
    asm_jcc(a, ASM_NE, miss);
    uint32_t site = asm_pos(a);
    asm_jmp(a, miss);
    return site;
}

/* Does the exit only begin the loop's next round? */
static bool goes_again(struct codegen *cg, const struct ir_inst *in) {
    bool own = in->imm == cg->b->pc && !(in->flags & IR_EXIT_FAULT);
    cg->own_exit |= own;
    return own && cg->loop.on;
}
/* How the first body of a loop has left NZCV at an exit that goes back. */
static void note_flags(struct steady *st, uint32_t insn) {
    st->flags_differ |= st->goes_back && insn != st->flags_insn;
    st->flags_insn = st->flags_differ ? 0 : insn;
    st->goes_back = true;
}
/* Before an exit to code that does not need NZCV, but may be interrupted: says how to compute it, if it is not stored.
 * The second body of a loop begins with that known (steady.c), so that it does not say so in each round, but at all its
 * other exits; if it is the same by all ways back. */
static void leave_flags(struct codegen *cg, const struct ir_inst *in) {
    const bool again = goes_again(cg, in), dead = in->flags & IR_EXIT_FLAGS_DEAD;
    if (in->flags & IR_EXIT_FLAGS_LATER) {
        cg->flags_insn = in->aux; /* a PUT follows */
        cg->flags_insn_known = false;
    }
    if (again && !cg->steady.on)
        note_flags(&cg->steady, dead ? cg->flags_insn : 0);
    if ((cg->steady.on && !cg->steady.flags_differ ? !again : dead) && cg->flags_insn && !cg->flags_insn_known) {
        asm_mov_mi(&cg->a, false, CPU_FIELD(flags_insn), (int32_t)cg->flags_insn);
        cg->flags_insn_known = true;
    }
}

static struct stub *fault_stub(struct codegen *cg, const struct ir_inst *in) {
    struct stub *s = stub_new(cg, STUB_FAULT);
    s->rec.pc = in->imm;
    return s;
}
static struct stub *exit_if_stub(struct codegen *cg, const struct ir_inst *in) {
    if (in->flags & IR_EXIT_FAULT)
        return fault_stub(cg, in);
    struct stub *s = stub_new(cg, same_page(cg, in->imm) ? STUB_LINK : STUB_FAR_IF);
    s->inside = (uint8_t)label_of(cg, in);
    s->again = goes_again(cg, in);
    s->rec.pc = in->imm;
    s->rec.flags_insn = 0;
    return s;
}
static void exit_if(struct codegen *cg, unsigned cc, const struct ir_inst *in, enum flags_kind kind, unsigned reg) {
    if (cg->steady.on && goes_again(cg, in) && kind == FLAGS_NONE && reg == NO_REG) {
        asm_jcc(&cg->a, (enum asm_cc)cc, &cg->steady.start);
        return;
    }
    const unsigned label = label_of(cg, in);
    if (label && kind == FLAGS_NONE && reg == NO_REG) {
        asm_jcc(&cg->a, (enum asm_cc)cc, label_place(cg, label, cg->steady.on));
        return;
    }
    struct stub *s = exit_if_stub(cg, in);
    s->flags_kind = (uint8_t)kind;
    s->flags_reg = (uint8_t)reg;
    s->site = asm_pos(&cg->a);
    asm_jcc(&cg->a, (enum asm_cc)cc, &s->slow);
}
void emit_GOTO(struct codegen *cg, const struct ir_inst *in) {
    bool near = same_page(cg, in->imm);
    const unsigned label = label_of(cg, in);
    leave_flags(cg, in);
    if (label) {
        asm_jmp(&cg->a, label_place(cg, label, cg->steady.on));
        return;
    }
    if (cg->steady.on && goes_again(cg, in)) {
        asm_jmp(&cg->a, &cg->steady.start);
        return;
    }
    struct stub *s = stub_new(cg, near ? STUB_LINK : STUB_FAR);
    s->rec.pc = in->imm;
    s->rec.flags_insn = 0;
    s->again = goes_again(cg, in);
    s->left = !s->again;
    if (s->left)
        loop_leave(cg);
    if (!near) {
        s->site = jump_far(cg, in->imm, &s->slow);
        return;
    }
    s->site = asm_pos(&cg->a);
    asm_jmp(&cg->a, &s->slow);
}
void emit_EXIT_IF(struct codegen *cg, const struct ir_inst *in) {
    if (is_const(cg, in->a)) {
        if (const_value(cg, in->a)) {
            if (in->b)
                flags_put(cg, in->b, (int32_t)cg->guest->nzcv_offset);
            if (in->flags & IR_EXIT_FAULT)
                asm_jmp(&cg->a, &fault_stub(cg, in)->slow);
            else
                emit_GOTO(cg, in);
        }
        done(cg);
        return;
    }
    unsigned cc = flags_test(cg, in->a);
    enum flags_kind kind = in->b ? flags_in_eflags(cg, in->b) : FLAGS_NONE;
    unsigned reg = in->b && kind == FLAGS_NONE ? use(cg, in->b) : NO_REG;
    done(cg);
    leave_flags(cg, in);
    if (cc == CC_EQ_ORDERED) {
        uint32_t over = asm_jcc_short(&cg->a, ASM_P);
        exit_if(cg, ASM_E, in, kind, reg);
        asm_bind_short(&cg->a, over);
    } else if (cc == CC_NE_UNORDERED) {
        exit_if(cg, ASM_P, in, kind, reg);
        exit_if(cg, ASM_NE, in, kind, reg);
    } else {
        exit_if(cg, cc, in, kind, reg);
    }
}

void emit_GOTO_REG(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    const int32_t ras = (int32_t)offsetof(struct cpu, ras) - CODEGEN_BIAS,
                  cache = (int32_t)offsetof(struct view, jump_cache);
    flags_clobber(cg);
    use_as(cg, in->a, ASM_RAX);
    done(cg);
    loop_leave(cg);
    if (in->cc == IR_JUMP_RET) { /* the newest entry is popped, right or wrong, so that the ring finds its way back */
        asm_load(a, 0, false, false, ASM_RCX, CPU_FIELD(ras_top));
        asm_op_rr8(a, ASM_OP(0, 0, 0x80), ASM_SUB, ASM_RCX); /* the ring is as large as a byte counts */
        asm_byte(a, sizeof(struct ras_entry));
        asm_store(a, 0, CPU_FIELD(ras_top), ASM_RCX);
        asm_alu_rm(a, ASM_CMP, true, ASM_RAX, asm_mem_index(ASM_RBP, ASM_RCX, 0, ras));
        uint32_t wrong = asm_jcc_short(a, ASM_NE);
        emit_count(cg, ABI_STAT_returns_predicted);
        asm_jmp_m(a, asm_mem_index(ASM_RBP, ASM_RCX, 0, ras + (int32_t)offsetof(struct ras_entry, host)));
        asm_bind_short(a, wrong);
    }
    asm_mov_rr(a, false, ASM_RCX, ASM_RAX); /* jump_cache_index() << 2 */
    asm_shift_ri(a, ASM_SHR, false, ASM_RCX, JUMP_CACHE_FOLD);
    asm_alu_rr(a, ASM_XOR, false, ASM_RCX, ASM_RAX);
    asm_alu_ri(a, ASM_AND, false, ASM_RCX, ((1 << JUMP_CACHE_BITS) - 1) << 2);
    asm_alu_rm(a, ASM_CMP, true, ASM_RAX, asm_mem_view_index(ASM_RCX, 2, cache));
    asm_jcc_to(a, ASM_NE, cg->lookup);
    emit_count(cg, ABI_STAT_jump_cache_hits);
    asm_jmp_m(a, asm_mem_view_index(ASM_RCX, 2, cache + (int32_t)offsetof(struct jump_cache_entry, host)));
}
_Static_assert(sizeof(struct jump_cache_entry) == 16 && offsetof(struct jump_cache_entry, pc) == 0,
               "index << 2 is pc bits << 4");
_Static_assert(sizeof(struct ras_entry) * RAS_ENTRIES == 256 && offsetof(struct ras_entry, pc) == 0,
               "ras_top counts in a byte");

void emit_RAS_PUSH(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    const int32_t ras = (int32_t)offsetof(struct cpu, ras) - CODEGEN_BIAS;
    unsigned top = scratch(cg, GPR_CLASS), t = scratch(cg, GPR_CLASS);
    struct stub *s = stub_new(cg, STUB_RETURN);
    struct asm_mem pc = asm_mem_index(ASM_RBP, top, 0, ras), host = pc;
    host.disp += (int32_t)offsetof(struct ras_entry, host);
    s->rec.pc = in->imm;
    asm_load(a, 0, false, false, top, CPU_FIELD(ras_top));
    asm_lea(a, true, t, asm_mem_rip(a->p));
    asm_rip_label(a, &s->slow);
    asm_mov_mr(a, true, host, t);
    if ((int64_t)in->imm == (int32_t)in->imm) {
        asm_mov_mi(a, true, pc, (int32_t)in->imm);
    } else {
        asm_mov_pc(a, t, in->imm);
        asm_mov_mr(a, true, pc, t);
    }
    asm_lea(a, false, t, asm_mem(top, sizeof(struct ras_entry)));
    asm_store(a, 0, CPU_FIELD(ras_top), t);
}
void emit_EXIT(struct codegen *cg, const struct ir_inst *in) {
    loop_leave(cg);
    asm_jmp_to(&cg->a, cg->exit);
}

void emit_pending(struct codegen *cg) {
    struct stub *s = stub_new(cg, STUB_PENDING);
    s->rec.pc = cg->b->pc;
    asm_alu_mi(&cg->a, ASM_CMP, false, CPU_FIELD(abi.pending), 0);
    asm_jcc(&cg->a, ASM_NE, &s->slow);
}
void emit_entry(struct codegen *cg) {
    cg->out->entry = cg->out->entry_nocheck = cg->a.p;
    loop_enter(cg);
    steady_enter(cg);
    cg->out->loop = cg->loop.on ? cg->a.p : NULL;
    emit_pending(cg);
    if (!cg->loop.on)
        cg->out->entry_nocheck = cg->a.p;
}

/* --- stubs ------------------------------------------------------------------------------------ */
static void link_stub(struct codegen *cg, const struct stub *s, const uint8_t *thunk) {
    struct asm_buf *a = &cg->a;
    struct code_out *out = cg->out;
    if (out->links == CODE_MAX_LINKS) {
        cg->failed = true;
        return;
    }
    struct code_link *l = &out->link[out->links++];
    l->target_pc = s->rec.pc;
    l->site = a->start + s->site;
    l->write = l->site + a->to_write;
    l->stub = a->p;
    if (s->again)
        loop_leave(cg);
    asm_call(a, thunk);
    l->back = a->p;
}
static void far_stub(struct codegen *cg, struct stub *s) {
    struct asm_label miss = {0};
    s->site = jump_far(cg, s->rec.pc, &miss);
    asm_bind(&cg->a, &miss);
    link_stub(cg, s, cg->jump);
}
/* A jump of its own to be linked. */
static void jump_stub(struct codegen *cg, struct stub *s) {
    struct asm_label next = {0};
    s->site = asm_pos(&cg->a);
    asm_jmp(&cg->a, &next);
    asm_bind(&cg->a, &next);
    link_stub(cg, s, cg->exit_link);
}
/* Stores the flags that only this exit needs, or how to compute them; false if there is nothing to do. */
static bool store_flags(struct codegen *cg, const struct stub *s) {
    unsigned reg = s->flags_reg;
    if (s->flags_kind != FLAGS_NONE) {
        reg = ASM_RAX;
        flags_form(cg, (enum flags_kind)s->flags_kind, reg);
    }
    if (reg != NO_REG) {
        asm_mov_mr(&cg->a, false, cpu_mem(cg->guest->nzcv_offset), reg);
        flags_are_stored(cg);
    } else if (s->rec.flags_insn) {
        asm_mov_mi(&cg->a, false, CPU_FIELD(flags_insn), (int32_t)s->rec.flags_insn);
    }
    return reg != NO_REG || s->rec.flags_insn;
}
void emit_exit_stub(struct codegen *cg, struct stub *s) {
    if (s->inside) {
        store_flags(cg, s);
        asm_jmp(&cg->a, label_place(cg, s->inside, s->steady));
        return;
    }
    bool leaves = cg->loop.on && !s->left && !s->again && s->rec.kind != STUB_RETURN;
    if (leaves)
        loop_leave(cg);
    switch (s->rec.kind) {
    case STUB_PENDING: /* of no link: the engine takes it for one to the block itself */
        store_flags(cg, s);
        asm_call(&cg->a, cg->exit_link);
        break;
    case STUB_LINK:
        if (s->steady && s->again) {
            store_flags(cg, s);
            asm_jmp(&cg->a, &cg->steady.start);
        } else if (store_flags(cg, s) || leaves)
            jump_stub(cg, s);
        else
            link_stub(cg, s, cg->exit_link);
        break;
    case STUB_FAR: link_stub(cg, s, cg->jump); break;
    case STUB_FAR_IF:
        store_flags(cg, s);
        far_stub(cg, s);
        break;
    case STUB_RETURN: /* where a RET that the return stack predicted comes back to */
        if (same_page(cg, s->rec.pc))
            jump_stub(cg, s);
        else
            far_stub(cg, s);
        break;
    default: /* STUB_FAULT */
        store_flags(cg, s);
        asm_mov_pc(&cg->a, ASM_RAX, s->rec.pc);
        asm_mov_ri32(&cg->a, ASM_RCX, CODE_EXIT_FAULT);
        asm_jmp_to(&cg->a, cg->exit_pc);
        break;
    }
}

/* --- linking ---------------------------------------------------------------------------------- */
static void patch(const struct code_link *l, const uint8_t *target) {
    int rel = l->write[0] == 0x0f ? 2 : 1; /* jcc or jmp */
    int32_t d = (int32_t)(target - (l->site + rel + 4));
    __builtin_memcpy(l->write + rel, &d, 4);
}
void codegen_link(const struct code_link *l, const uint8_t *target) { patch(l, target); }
void codegen_link_far(const struct code_link *l, const uint8_t *target, uint32_t page) {
    __builtin_memcpy(l->write + FAR_PAGE, &page, sizeof(page));
    patch(l, target);
}
void codegen_unlink(const struct code_link *l) { patch(l, l->stub); }

/* The exit was copied as it was, perhaps linked, for a target that is so much further on, in another page if far. */
static void renew(const struct code_link *l, bool far, uint64_t by) {
    codegen_unlink(l);
    if (!far)
        return;
    const uint32_t page = NO_PAGE;
    uint8_t *at = l->write + FAR_PAGE - sizeof(page); /* view.code_page of the target */
    uint32_t place;
    __builtin_memcpy(&place, at, sizeof(place));
    place += (uint32_t)((code_page_index(l->target_pc) - code_page_index(l->target_pc - by)) * sizeof(uint32_t));
    __builtin_memcpy(at, &place, sizeof(place));
    __builtin_memcpy(l->write + FAR_PAGE, &page, sizeof(page));
}
/* What is outside the code area is the engine's. */
static bool leads_out(const struct codegen *cg, const uint8_t *field, uint32_t rel) {
    uint64_t target = (uintptr_t)field + sizeof(rel) + (uint64_t)(int64_t)(int32_t)rel;
    return target - (uintptr_t)cg->code >= cg->code_size;
}
/* The records of that code. */
static void copy_records(struct codegen *cg, const struct code_source *from, const struct code_out *out) {
    uint8_t *end = out->records + cg->a.to_write;
    __builtin_memcpy(end - out->record_bytes, from->records - out->record_bytes, out->record_bytes);
    for (unsigned i = out->faults; i-- > 0 && out->fault[i].stub & CODE_RECORD;) {
        struct slow_record *r = (struct slow_record *)(end - (out->fault[i].stub & ~CODE_RECORD));
        if (r->kind != STUB_FP)
            r->pc += from->by;
    }
}
void codegen_copy(struct codegen *cg, const struct code_source *from, uint64_t pc, const struct code_out *out) {
    uint8_t *to = out->start + cg->a.to_write;
    const uint32_t shift = (uint32_t)(out->start - from->ran);
    __builtin_memcpy(to, from->code, (size_t)(out->end - out->start));
    for (unsigned i = 0; i < from->moves; i++) {
        const uint32_t pos = from->move[i] >> 1;
        uint8_t *at = to + pos;
        uint64_t value;
        uint32_t rel;
        if ((from->move[i] & 1) == ASM_NOTE_PC) {
            __builtin_memcpy(&value, at, sizeof(value));
            value += from->by;
            __builtin_memcpy(at, &value, sizeof(value));
        } else {
            __builtin_memcpy(&rel, at, sizeof(rel));
            if (UNLIKELY(from->engine_moved) && leads_out(cg, from->ran + pos, rel))
                rel += (uint32_t)from->engine_moved;
            rel -= shift;
            __builtin_memcpy(at, &rel, sizeof(rel));
        }
    }
    copy_records(cg, from, out);
    for (unsigned i = 0; i < out->links; i++)
        renew(&out->link[i], (out->link[i].target_pc ^ pc) >> PAGE_SHIFT != 0, from->by);
}
_Static_assert(CODE_MAX_MOVES == ASM_NOTES, "one is the other");
_Static_assert(CODE_LINK_BEFORE == sizeof(uint32_t) - FAR_PAGE, "that is where renew() begins");
_Static_assert(ASM_NOTE_PC == 1, "CODE_MOVE_BYTES()");
