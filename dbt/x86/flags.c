/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * flags.c: EFLAGS as a place where a FLAGS value and comparison results live until
 * an instruction clobbers them. Then FLAGS go to their stored form (ir.h: LAHF and
 * SETO) in a register, and results that are needed later to 0 or 1 by SETcc.
 */
#include "dbt/x86/backend.h"

#define CC_NONE 0xff
static const uint8_t cc_of[5][15] = {
    /* EQ NE CS CC MI PL VS VC HI LS GE LT GT LE AL */
    [FLAGS_INVERTED] = {ASM_E, ASM_NE, ASM_AE, ASM_B, ASM_S, ASM_NS, ASM_O, ASM_NO, ASM_A, ASM_BE, ASM_GE, ASM_L, ASM_G,
                        ASM_LE, CC_NONE},
    [FLAGS_DIRECT] = {ASM_E, ASM_NE, ASM_B, ASM_AE, ASM_S, ASM_NS, ASM_O, ASM_NO, CC_NONE, CC_NONE, ASM_GE, ASM_L,
                      ASM_G, ASM_LE, CC_NONE},
    [FLAGS_FCMP] = {CC_EQ_ORDERED, CC_NE_UNORDERED, CC_NONE, CC_NONE, CC_NONE, CC_NONE, ASM_P, ASM_NP, CC_NONE, CC_NONE,
                    ASM_AE, ASM_B, ASM_A, ASM_BE, CC_NONE},
    [FLAGS_FCMP_SWAPPED] = {CC_EQ_ORDERED, CC_NE_UNORDERED, ASM_BE, ASM_A, ASM_A, ASM_BE, ASM_P, ASM_NP, ASM_B, ASM_AE,
                            CC_NONE, CC_NONE, CC_NONE, CC_NONE, CC_NONE},
};

static bool elsewhere(const struct codegen *cg, irv v) {
    return cg->v[v].reg != NO_REG || cg->v[v].slot >= 0 || cg->v[v].home >= 0;
}
static bool needed(const struct codegen *cg, irv v) { return v && cg->v[v].next_use && !elsewhere(cg, v); }

bool flags_live(struct codegen *cg) {
    if (needed(cg, cg->fl.value))
        return true;
    for (unsigned i = 0; i < cg->fl.bools; i++)
        if (needed(cg, cg->fl.boolean[i].v))
            return true;
    return false;
}

/* Puts the i-th comparison result into a register. */
static void save_bool(struct codegen *cg, unsigned i) {
    irv v = cg->fl.boolean[i].v;
    if (needed(cg, v)) {
        unsigned reg = scratch(cg, GPR_CLASS);
        setcc_reg(cg, cg->fl.boolean[i].cc, reg);
        def_in(cg, v, reg);
        cg->locked &= ~BIT(reg);
    }
}
static void save_bools(struct codegen *cg) {
    for (unsigned i = 0; i < cg->fl.bools; i++)
        save_bool(cg, i);
    cg->fl.bools = 0;
}

/* Flags whose only use is one condition: that is computed now. */
static bool save_cond(struct codegen *cg) {
    irv f = cg->fl.value, v = (irv)cg->v[f].next_use;
    const struct ir_inst *in = inst_of(cg, v);
    if (in->op != IR_COND || v <= cg->at || cg->next_use[v][0] || in->cc >= IR_AL)
        return false;
    unsigned cc = cc_of[cg->fl.kind][in->cc];
    if (cc > 15)
        return false;
    unsigned reg = scratch(cg, GPR_CLASS);
    setcc_reg(cg, cc, reg);
    def_in(cg, v, reg);
    cg->v[v].flags |= V_EARLY;
    cg->locked &= ~BIT(reg);
    kill_value(cg, f);
    return true;
}
void flags_clobber(struct codegen *cg) {
    save_bools(cg);
    if (needed(cg, cg->fl.value) && !save_cond(cg)) {
        unsigned reg = flags_stored(cg, cg->fl.value);
        cg->locked &= ~BIT(reg);
    }
    cg->fl.value = 0;
    cg->fl.kind = FLAGS_NONE;
    cg->fl.memo_op = IR_NOP;
}
void flags_set(struct codegen *cg, irv v, enum flags_kind kind) {
    cg->fl.value = v;
    cg->fl.kind = (uint8_t)kind;
}
void flags_set_bool(struct codegen *cg, irv v, unsigned cc) {
    if (cg->fl.bools == MAX_BOOLS) {
        save_bool(cg, 0);
        for (unsigned i = 1; i < MAX_BOOLS; i++)
            cg->fl.boolean[i - 1] = cg->fl.boolean[i];
        cg->fl.bools--;
    }
    cg->fl.boolean[cg->fl.bools].v = v;
    cg->fl.boolean[cg->fl.bools++].cc = (uint8_t)cc;
}
bool flags_bool(const struct codegen *cg, irv v, unsigned *cc) {
    for (unsigned i = 0; i < cg->fl.bools; i++) {
        if (cg->fl.boolean[i].v == v) {
            *cc = cg->fl.boolean[i].cc;
            return true;
        }
    }
    return false;
}
void flags_memo(struct codegen *cg, unsigned op, irv a, irv b, irv c) {
    cg->fl.memo_op = (uint8_t)op;
    cg->fl.memo[0] = a;
    cg->fl.memo[1] = b;
    cg->fl.memo[2] = c;
}
bool flags_memo_is(const struct codegen *cg, unsigned op, irv a, irv b, irv c) {
    return cg->fl.memo_op == op && cg->fl.memo[0] == a && cg->fl.memo[1] == b && cg->fl.memo[2] == c;
}

/* Complements CF, and with it what is known of EFLAGS. */
static void toggle(struct codegen *cg) {
    for (unsigned i = 0; i < cg->fl.bools; i++) {
        unsigned cc = cg->fl.boolean[i].cc;
        if (cc == ASM_A || cc == ASM_BE) {
            save_bool(cg, i);
            cg->fl.boolean[i].v = 0;
        } else if (cc == ASM_B || cc == ASM_AE) {
            cg->fl.boolean[i].cc = (uint8_t)cc_not(cc);
        }
    }
    asm_op_cmc(&cg->a);
    cg->fl.kind = cg->fl.kind == FLAGS_INVERTED ? FLAGS_DIRECT : FLAGS_INVERTED;
    cg->fl.memo_op = IR_NOP;
}

/* 0 or 1 into reg; leaves EFLAGS alone. */
void setcc_reg(struct codegen *cg, unsigned cc, unsigned reg) {
    struct asm_buf *a = &cg->a;
    if (cc == CC_EQ_ORDERED || cc == CC_NE_UNORDERED) {
        unsigned t = scratch(cg, GPR_CLASS);
        asm_mov_ri(a, reg, cc == CC_NE_UNORDERED);
        asm_mov_ri(a, t, cc == CC_NE_UNORDERED);
        asm_setcc(a, cc == CC_EQ_ORDERED ? ASM_E : ASM_NE, reg);
        asm_cmov(a, ASM_P, false, reg, t);
        cg->locked &= ~BIT(t);
    } else {
        asm_setcc(a, cc, reg);
        asm_ext_rr(a, 0, false, false, reg, reg);
    }
}

void flags_form(struct codegen *cg, enum flags_kind kind, unsigned reg) {
    struct asm_buf *a = &cg->a;
    if (kind >= FLAGS_FCMP) {
        bool swapped = kind == FLAGS_FCMP_SWAPPED;
        asm_mov_rm(a, false, reg, asm_mem_rip(&cg->k->fcmp[swapped ? 1 : 0]));
        asm_op_rm(a, ASM_OP(0, 1, 0x40 | ASM_B), false, reg, asm_mem_rip(&cg->k->fcmp[swapped ? 0 : 1]), 0);
        asm_op_rm(a, ASM_OP(0, 1, 0x40 | ASM_E), false, reg, asm_mem_rip(&cg->k->fcmp[2]), 0);
        asm_op_rm(a, ASM_OP(0, 1, 0x40 | ASM_P), false, reg, asm_mem_rip(&cg->k->fcmp[3]), 0);
        return;
    }
    if (kind == FLAGS_INVERTED)
        asm_op_cmc(a);
    asm_op_lahf(a);
    asm_setcc(a, ASM_O, ASM_RAX);
}
enum flags_kind flags_in_eflags(const struct codegen *cg, irv v) {
    return cg->fl.value == v && !elsewhere(cg, v) ? (enum flags_kind)cg->fl.kind : FLAGS_NONE;
}

unsigned flags_stored(struct codegen *cg, irv v) {
    if (elsewhere(cg, v))
        return use(cg, v);
    if (cg->fl.value != v) {
        cg->failed = true;
        return ASM_RAX;
    }
    unsigned reg = ASM_RAX;
    if (cg->fl.kind >= FLAGS_FCMP) {
        reg = scratch(cg, GPR_CLASS);
    } else {
        take(cg, ASM_RAX);
        if (cg->fl.kind == FLAGS_INVERTED)
            toggle(cg);
    }
    flags_form(cg, (enum flags_kind)cg->fl.kind, reg);
    def_in(cg, v, reg);
    return reg;
}

void flags_put(struct codegen *cg, irv v, int32_t offset) {
    if (cg->v[v].home != offset) {
        home_forget(cg, offset, 4);
        unsigned reg = flags_stored(cg, v);
        asm_mov_mr(&cg->a, false, cpu_mem((size_t)offset), reg);
        if (cg->v[v].home < 0)
            home_add(cg, v, offset);
    }
    flags_are_stored(cg);
    cg->flags_insn = 0;
}
void flags_are_stored(struct codegen *cg) { asm_mov_mi(&cg->a, false, CPU_FIELD(flags_insn), 0); }
void emit_FLAGS_LATER(struct codegen *cg, const struct ir_inst *in) {
    cg->flags_insn = in->aux;
    cg->flags_insn_known = false;
}

static void save_operand(struct codegen *cg, irv v, size_t offset) {
    const bool wide = is_wide(inst_of(cg, v));
    int32_t imm;
    if (inst_of(cg, v)->type == IR_V128)
        asm_vex_rm(&cg->a, ASM_OP(1, 1, 0xd6), xmm(use_low(cg, v, 8)), 0, cpu_mem(offset));
    else if (cg->v[v].reg == NO_REG && const_imm32(cg, v, wide, &imm))
        asm_mov_mi(&cg->a, wide, cpu_mem(offset), imm);
    else
        asm_mov_mr(&cg->a, wide, cpu_mem(offset), use(cg, v));
}
void emit_FLAGS_SAVE(struct codegen *cg, const struct ir_inst *in) {
    save_operand(cg, in->a, offsetof(struct cpu, flags_operand[0]));
    if (IR_FLAGS_KIND(in->aux) != IR_SAVED_LOGIC && !(in->aux & IR_FLAGS_IMM))
        save_operand(cg, in->b, offsetof(struct cpu, flags_operand[1]));
    done(cg);
    cg->flags_insn = in->aux;
    cg->flags_insn_known = false;
}

/* --- conditions ------------------------------------------------------------------------------- */
static void test_bits(struct codegen *cg, irv f, uint32_t bits) {
    struct value *val = &cg->v[f];
    if (val->reg == NO_REG && (val->slot >= 0 || val->home >= 0)) {
        struct asm_mem m = val->slot >= 0 ? slot_mem(cg, f) : cpu_mem((size_t)val->home);
        m.disp += bits > 0xff;
        asm_test8_mi(&cg->a, m, (uint8_t)(bits > 0xff ? bits >> 8 : bits));
    } else {
        asm_test_ri(&cg->a, false, use(cg, f), (int32_t)bits);
    }
}

/* Carry is one bit, and best had as CF. */
static void test_carry(struct codegen *cg, irv f) {
    struct value *val = &cg->v[f];
    const unsigned bit = 8;
    _Static_assert(IR_FLAG_C == 1 << 8, "bit");
    if (val->reg == NO_REG && (val->slot >= 0 || val->home >= 0)) {
        struct asm_mem m = val->slot >= 0 ? slot_mem(cg, f) : cpu_mem((size_t)val->home);
        asm_op_rm(&cg->a, ASM_OP(0, 1, 0xba), false, 4, m, 1); /* bt */
        asm_byte(&cg->a, bit);
    } else {
        asm_bt_ri(&cg->a, false, use(cg, f), bit);
    }
}

/* The condition from the stored form. */
static void cond_stored(struct codegen *cg, const struct ir_inst *in) {
    static const uint16_t bit[4] = {IR_FLAG_Z, IR_FLAG_C, IR_FLAG_N, IR_FLAG_V};
    struct asm_buf *a = &cg->a;
    irv v = (irv)cg->at, f = in->a;
    flags_clobber(cg);
    if (in->cc == IR_CS || in->cc == IR_CC) {
        test_carry(cg, f);
        flags_set_bool(cg, v, in->cc == IR_CS ? ASM_B : ASM_AE);
    } else if (in->cc < IR_HI) {
        test_bits(cg, f, bit[in->cc >> 1]);
        flags_set_bool(cg, v, in->cc & 1 ? ASM_E : ASM_NE);
    } else if (in->cc <= IR_LS) {
        unsigned r = use(cg, f), t = scratch(cg, GPR_CLASS);
        asm_mov_rr(a, false, t, r);
        asm_alu_ri(a, ASM_AND, false, t, IR_FLAG_Z | IR_FLAG_C);
        asm_alu_ri(a, ASM_CMP, false, t, IR_FLAG_C);
        flags_set_bool(cg, v, in->cc == IR_HI ? ASM_E : ASM_NE);
    } else { /* back into EFLAGS: OF by an addition that overflows if bit 0 is set, the others by SAHF */
        use_as(cg, f, ASM_RAX);
        asm_op_rr8(a, ASM_OP(0, 0, 0x80), 0, ASM_RAX);
        asm_byte(a, 0x7f);
        asm_op_sahf(a);
        flags_set(cg, f, FLAGS_DIRECT);
        flags_set_bool(cg, v, cc_of[FLAGS_DIRECT][in->cc]);
    }
}
void emit_COND(struct codegen *cg, const struct ir_inst *in) {
    irv v = (irv)cg->at, f = in->a;
    if (in->cc >= IR_AL) {
        asm_mov_ri(&cg->a, def(cg, NO_REG), 1);
    } else if (cg->fl.value == f && cg->fl.kind != FLAGS_NONE) {
        if (cg->fl.kind == FLAGS_DIRECT && (in->cc == IR_HI || in->cc == IR_LS))
            toggle(cg);
        if (cc_of[cg->fl.kind][in->cc] != CC_NONE) {
            flags_set_bool(cg, v, cc_of[cg->fl.kind][in->cc]);
        } else {
            flags_stored(cg, f);
            cond_stored(cg, in);
        }
    } else {
        cond_stored(cg, in);
    }
    done(cg);
}

/* A fused AND or one-bit UBFX: only whether it is zero matters. */
static unsigned test_fused(struct codegen *cg, irv v) {
    struct asm_buf *a = &cg->a;
    const struct ir_inst *in = inst_of(cg, v);
    bool w = is_wide(in);
    unsigned r = use(cg, in->a), cc = ASM_NE;
    int32_t imm;
    if (in->op == IR_UBFX) {
        if (in->lane < 31) {
            asm_test_ri(a, false, r, (int32_t)(1u << in->lane));
        } else {
            asm_bt_ri(a, w, r, in->lane);
            cc = ASM_B;
        }
    } else if (const_imm32(cg, in->b, w, &imm)) {
        asm_test_ri(a, w, r, imm);
    } else {
        asm_test_rr(a, w, r, use(cg, in->b));
    }
    return cc;
}

unsigned flags_test(struct codegen *cg, irv v) {
    unsigned cc;
    if (flags_bool(cg, v, &cc))
        return cc;
    flags_clobber(cg);
    if (cg->v[v].flags & V_FUSED) {
        cc = test_fused(cg, v);
    } else {
        unsigned r = use(cg, v);
        asm_test_rr(&cg->a, is_wide(inst_of(cg, v)), r, r);
        flags_memo(cg, IR_AND, v, 0, 0);
        cc = ASM_NE;
    }
    return cc;
}

void flags_carry(struct codegen *cg, irv v, bool inverted, bool again) {
    unsigned cc;
    if (flags_bool(cg, v, &cc) && (cc == ASM_B || cc == ASM_AE)) {
        for (unsigned i = 0; i < cg->fl.bools; i++)
            if (cg->fl.boolean[i].v != v || again)
                save_bool(cg, i);
        if (needed(cg, cg->fl.value)) {
            bool direct = cg->fl.kind == FLAGS_DIRECT;
            cg->fl.bools = 0;
            flags_stored(cg, cg->fl.value);
            if (!direct && cg->fl.kind == FLAGS_DIRECT)
                cc = cc_not(cc);
        }
        cg->fl.bools = 0;
        cg->fl.value = 0;
        cg->fl.memo_op = IR_NOP;
        if ((cc == ASM_AE) != inverted)
            asm_op_cmc(&cg->a);
        return;
    }
    flags_clobber(cg);
    asm_bt_ri(&cg->a, false, use(cg, v), 0);
    if (inverted)
        asm_op_cmc(&cg->a);
}

/* --- FLAGS operations ------------------------------------------------------------------------- */
#define STORED_BITS (IR_FLAG_N | IR_FLAG_Z | IR_FLAG_C | IR_FLAG_V)

void emit_FLAGS_FROM(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    unsigned r = use(cg, in->a), m = scratch(cg, GPR_CLASS);
    done(cg);
    unsigned d = def(cg, r);
    asm_mov_ri(&cg->a, m, STORED_BITS);
    asm_mov_rr(&cg->a, false, d, r);
    asm_shift_ri(&cg->a, ASM_SHR, false, d, 28);
    asm_vex_rr(&cg->a, ASM_OP(3, 2, 0xf5), d, d, m); /* pdep */
}
void emit_FLAGS_TO(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    unsigned r = use(cg, in->a), m = scratch(cg, GPR_CLASS);
    done(cg);
    unsigned d = def(cg, r);
    asm_mov_ri(&cg->a, m, STORED_BITS);
    asm_vex_rr(&cg->a, ASM_OP(2, 2, 0xf5), d, r, m); /* pext */
    asm_shift_ri(&cg->a, ASM_SHL, false, d, 28);
}
void emit_FLAGS_SELECT(struct codegen *cg, const struct ir_inst *in) {
    flags_stored(cg, in->b);
    cg->locked = 0;
    unsigned cc = flags_test(cg, in->a); /* may move the other operand */
    unsigned r = use(cg, in->b), m = scratch(cg, GPR_CLASS);
    asm_mov_ri(&cg->a, m, ir_flags_pack((uint32_t)in->imm << 28));
    done(cg);
    unsigned d = def(cg, r);
    if (d != r)
        asm_mov_rr(&cg->a, false, d, r);
    if (cc == CC_EQ_ORDERED) {
        asm_cmov(&cg->a, ASM_NE, false, d, m);
        asm_cmov(&cg->a, ASM_P, false, d, m);
    } else if (cc == CC_NE_UNORDERED) { /* the immediate only if E and NP */
        unsigned t = scratch(cg, GPR_CLASS);
        asm_mov_rr(&cg->a, false, t, d);
        asm_cmov(&cg->a, ASM_E, false, d, m);
        asm_cmov(&cg->a, ASM_P, false, d, t);
    } else {
        asm_cmov(&cg->a, cc_not(cc), false, d, m);
    }
}
