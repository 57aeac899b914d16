/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* emit_int.c: integer operations. Emitters of flag-clobbering instructions call flags_clobber() before their first
 * use(). */
#include "dbt/x86/backend.h"

static inline unsigned bits_of(const struct ir_inst *in) { return is_wide(in) ? 64 : 32; }

/* Constants are folded by the optimiser; what is left is materialised where it is used. */
void emit_CONST(struct codegen *cg, const struct ir_inst *in) {}
void emit_PC(struct codegen *cg, const struct ir_inst *in) {}
void emit_VCONST(struct codegen *cg, const struct ir_inst *in) {}
void emit_INSN(struct codegen *cg, const struct ir_inst *in) { cg->pc = in->imm; }

/* d = x op y for registers that may overlap in any way. */
static void alu3(struct codegen *cg, enum asm_alu op, bool w, unsigned d, unsigned x, unsigned y) {
    struct asm_buf *a = &cg->a;
    if (d == x) {
        asm_alu_rr(a, op, w, d, y);
    } else if (d != y) {
        asm_mov_rr(a, w, d, x);
        asm_alu_rr(a, op, w, d, y);
    } else if (op != ASM_SUB && op != ASM_SBB) {
        asm_alu_rr(a, op, w, d, x);
    } else {
        unsigned t = scratch(cg, GPR_CLASS);
        asm_mov_rr(a, w, t, y);
        asm_mov_rr(a, w, d, x);
        asm_alu_rr(a, op, w, d, t);
    }
}
static void mov_if(struct codegen *cg, bool w, unsigned d, unsigned s) {
    if (d != s)
        asm_mov_rr(&cg->a, w, d, s);
}

/* The same for a result that no instruction follows: the upper half of a 32-bit one is cleared in any case. */
static void mov_full(struct codegen *cg, bool w, unsigned d, unsigned s) {
    if (d != s || !w)
        asm_mov_rr(&cg->a, w, d, s);
}

/* The result v = a op b of a two-operand instruction; EFLAGS are set. For v = 0 only they are (CMP; ADD into a
 * scratch). */
static void alu(struct codegen *cg, enum asm_alu op, irv v, irv ia, irv ib, bool w, bool release) {
    struct asm_buf *a = &cg->a;
    int32_t imm;
    struct asm_mem m;
    unsigned ra = use(cg, ia), d;
    bool has_imm = const_imm32(cg, ib, w, &imm);
    bool has_mem = !has_imm && release && v && use_mem(cg, ib, &m);
    unsigned rb = has_imm || has_mem ? NO_REG : use(cg, ib);
    if (release)
        done(cg);
    if (!v)
        d = scratch(cg, GPR_CLASS);
    else
        d = def_value(cg, v, ra);
    if (has_imm) {
        mov_if(cg, w, d, ra);
        asm_alu_ri(a, op, w, d, imm);
    } else if (has_mem) {
        mov_if(cg, w, d, ra);
        asm_alu_rm(a, op, w, d, m);
    } else {
        alu3(cg, op, w, d, ra, rb);
    }
}

/* --- addition and subtraction ----------------------------------------------------------------- */
/* A sum of which one operand is a fused shift. */
static void lea_scaled(struct codegen *cg, const struct ir_inst *in) {
    bool second = cg->v[in->b].flags & V_FUSED;
    const struct ir_inst *shl = inst_of(cg, second ? in->b : in->a);
    unsigned x = second ? use(cg, in->a) : ASM_NOREG, y = use(cg, shl->a), n = (unsigned)inst_of(cg, shl->b)->imm;
    int32_t disp = second ? 0 : (int32_t)inst_of(cg, in->b)->imm;
    done(cg);
    unsigned d = def(cg, second ? x : y);
    asm_lea(&cg->a, is_wide(in), d, asm_mem_index(x, y, n, disp));
}
void emit_ADD(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in);
    int32_t imm;
    if ((cg->v[in->a].flags | cg->v[in->b].flags) & V_FUSED) {
        lea_scaled(cg, in);
        return;
    }
    if (const_imm32(cg, in->b, w, &imm)) {
        unsigned x = use(cg, in->a);
        done(cg);
        unsigned d = def(cg, x);
        if (d == x && !flags_live(cg)) {
            flags_clobber(cg);
            asm_alu_ri(&cg->a, ASM_ADD, w, d, imm);
        } else {
            asm_lea(&cg->a, w, d, asm_mem(x, imm));
        }
        return;
    }
    if (!flags_live(cg)) {
        unsigned x = use(cg, in->a), y;
        struct asm_mem m;
        if (use_mem(cg, in->b, &m)) {
            flags_clobber(cg);
            done(cg);
            unsigned d = def(cg, x);
            mov_if(cg, w, d, x);
            asm_alu_rm(&cg->a, ASM_ADD, w, d, m);
            return;
        }
        y = use(cg, in->b);
        done(cg);
        unsigned d = def(cg, x);
        if (d == x || d == y) {
            flags_clobber(cg);
            asm_alu_rr(&cg->a, ASM_ADD, w, d, d == x ? y : x);
        } else {
            asm_lea(&cg->a, w, d, asm_mem_index(x, y, 0, 0));
        }
        return;
    }
    unsigned x = use(cg, in->a), y = use(cg, in->b);
    done(cg);
    asm_lea(&cg->a, w, def(cg, x), asm_mem_index(x, y, 0, 0));
}
void emit_SUB(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in);
    int32_t imm;
    if (const_imm32(cg, in->b, w, &imm) && imm != INT32_MIN) {
        unsigned x = use(cg, in->a);
        done(cg);
        unsigned d = def(cg, x);
        if (d == x && !flags_live(cg)) {
            flags_clobber(cg);
            asm_alu_ri(&cg->a, ASM_SUB, w, d, imm);
        } else {
            asm_lea(&cg->a, w, d, asm_mem(x, -imm));
        }
        return;
    }
    flags_clobber(cg);
    if (is_const(cg, in->a) && const_value(cg, in->a) == 0) {
        unsigned x = use(cg, in->b);
        done(cg);
        unsigned d = def(cg, x);
        mov_if(cg, w, d, x);
        asm_neg(&cg->a, w, d);
        return;
    }
    alu(cg, ASM_SUB, (irv)cg->at, in->a, in->b, w, true);
}
static void logic(struct codegen *cg, const struct ir_inst *in, enum asm_alu op) {
    flags_clobber(cg);
    alu(cg, op, (irv)cg->at, in->a, in->b, is_wide(in), true);
    flags_memo(cg, IR_AND, (irv)cg->at, 0, 0);
}
void emit_AND(struct codegen *cg, const struct ir_inst *in) { logic(cg, in, ASM_AND); }
void emit_OR(struct codegen *cg, const struct ir_inst *in) { logic(cg, in, ASM_OR); }
void emit_XOR(struct codegen *cg, const struct ir_inst *in) { logic(cg, in, ASM_XOR); }
void emit_ANDN(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    unsigned x = use(cg, in->a), y = use(cg, in->b);
    done(cg);
    asm_vex_rr(&cg->a, ASM_OP(0, 2, 0xf2) | (is_wide(in) ? ASM_W : 0), def(cg, x), y, x);
    flags_memo(cg, IR_AND, (irv)cg->at, 0, 0);
}
void emit_NOT(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use(cg, in->a);
    done(cg);
    unsigned d = def(cg, x);
    mov_if(cg, is_wide(in), d, x);
    asm_not(&cg->a, is_wide(in), d);
}
void emit_NEG(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in), keep = flags_live(cg); /* CNEG: the flags choose between it and its operand */
    if (!keep)
        flags_clobber(cg);
    unsigned x = use(cg, in->a);
    done(cg);
    unsigned d = def(cg, x);
    mov_if(cg, w, d, x);
    if (keep) {
        asm_not(&cg->a, w, d);
        asm_lea(&cg->a, w, d, asm_mem(d, 1));
    } else {
        asm_neg(&cg->a, w, d);
    }
}
static void carry_op(struct codegen *cg, const struct ir_inst *in, enum asm_alu op) {
    flags_carry(cg, in->c, op == ASM_SBB, cg->next_use[cg->at][2] != 0);
    alu(cg, op, (irv)cg->at, in->a, in->b, is_wide(in), true);
}
void emit_ADC(struct codegen *cg, const struct ir_inst *in) { carry_op(cg, in, ASM_ADC); }
void emit_SBC(struct codegen *cg, const struct ir_inst *in) { carry_op(cg, in, ASM_SBB); }

/* --- flags of sums: the sum itself follows in most cases, and is computed here
 * ------------------------------------- */
static irv find_sum(struct codegen *cg, const struct ir_inst *in, unsigned op) {
    unsigned type = inst_of(cg, in->a)->type;
    for (unsigned j = cg->at + 1; j < cg->b->count; j++) {
        const struct ir_inst *s = &cg->b->inst[j];
        if (s->op == op && s->a == in->a && s->b == in->b && s->c == in->c && s->type == type)
            return cg->v[j].flags & (V_DEAD | V_FUSED) || cg->v[in->b].flags & V_FUSED ? 0 : (irv)j;
        if (s->op != IR_CONST && s->op != IR_PC && s->op != IR_GET && s->op != IR_NOP)
            break;
    }
    return 0;
}
static void sum_flags(struct codegen *cg, const struct ir_inst *in, unsigned op, enum asm_alu alu_op) {
    irv sum = find_sum(cg, in, op), v = (irv)cg->at;
    bool w = inst_of(cg, in->a)->type == IR_I64, sub = alu_op == ASM_SUB || alu_op == ASM_SBB;
    if (in->c) {
        unsigned next = cg->next_use[cg->at][2];
        next = sum && next == sum ? cg->next_use[sum][2] : next; /* the sum is computed right here */
        flags_carry(cg, in->c, alu_op == ASM_SBB, next != 0);
    } else {
        flags_clobber(cg);
    }
    if (sum) { /* both definitions are here: both instructions' operands end here */
        unsigned ra = use(cg, in->a), rb = NO_REG;
        int32_t imm;
        bool has_imm = const_imm32(cg, in->b, w, &imm);
        if (!has_imm)
            rb = use(cg, in->b);
        done(cg);
        done_inst(cg, sum);
        unsigned d = def_value(cg, sum, ra);
        if (has_imm) {
            mov_if(cg, w, d, ra);
            asm_alu_ri(&cg->a, alu_op, w, d, imm);
        } else {
            alu3(cg, alu_op, w, d, ra, rb);
        }
        cg->v[sum].flags |= V_EARLY;
    } else if (alu_op == ASM_SUB) {
        unsigned ra = use(cg, in->a);
        int32_t imm;
        struct asm_mem m;
        if (const_imm32(cg, in->b, w, &imm)) {
            if (imm == 0) {
                asm_alu_ri(&cg->a, ASM_CMP, w, ra,
                           0); /* TEST would give CF = 0 as well, but OF, CF of CMP 0 are 0 too */
            } else {
                asm_alu_ri(&cg->a, ASM_CMP, w, ra, imm);
            }
        } else if (use_mem(cg, in->b, &m)) {
            asm_alu_rm(&cg->a, ASM_CMP, w, ra, m);
        } else {
            asm_alu_rr(&cg->a, ASM_CMP, w, ra, use(cg, in->b));
        }
        done(cg);
    } else {
        alu(cg, alu_op, 0, in->a, in->b, w, true);
    }
    flags_set(cg, v, sub ? FLAGS_INVERTED : FLAGS_DIRECT);
    if (op == IR_SUB)
        flags_memo(cg, IR_SUB, in->a, in->b, 0);
}
void emit_ADD_FLAGS(struct codegen *cg, const struct ir_inst *in) { sum_flags(cg, in, IR_ADD, ASM_ADD); }
void emit_SUB_FLAGS(struct codegen *cg, const struct ir_inst *in) { sum_flags(cg, in, IR_SUB, ASM_SUB); }
void emit_ADC_FLAGS(struct codegen *cg, const struct ir_inst *in) { sum_flags(cg, in, IR_ADC, ASM_ADC); }
void emit_SBC_FLAGS(struct codegen *cg, const struct ir_inst *in) { sum_flags(cg, in, IR_SBC, ASM_SBB); }

void emit_LOGIC_FLAGS(struct codegen *cg, const struct ir_inst *in) {
    irv x = in->a;
    bool w = inst_of(cg, x)->type == IR_I64;
    if (!flags_memo_is(cg, IR_AND, x, 0, 0) || flags_live(cg)) {
        flags_clobber(cg);
        if (cg->v[x].flags & V_FUSED) {
            const struct ir_inst *and = inst_of(cg, x);
            unsigned r = use(cg, and->a);
            int32_t imm;
            if (!const_imm32(cg, and->b, w, &imm))
                asm_test_rr(&cg->a, w, r, use(cg, and->b));
            else if (imm >= 0 && imm < 128) /* the byte form of TEST has the same flags */
                asm_test_ri(&cg->a, false, r, imm);
            else
                asm_test_ri(&cg->a, w, r, imm);
        } else {
            unsigned r = use(cg, x);
            asm_test_rr(&cg->a, w, r, r);
        }
    }
    flags_set(cg, (irv)cg->at, FLAGS_DIRECT);
    done(cg);
}

/* --- comparison and selection
 * ---------------------------------------------------------------------------------------- */
void emit_CMP(struct codegen *cg, const struct ir_inst *in) {
    static const uint8_t cc_of[] = {
        [IR_CMP_EQ] = ASM_E,  [IR_CMP_NE] = ASM_NE, [IR_CMP_ULT] = ASM_B,  [IR_CMP_UGE] = ASM_AE, [IR_CMP_ULE] = ASM_BE,
        [IR_CMP_UGT] = ASM_A, [IR_CMP_SLT] = ASM_L, [IR_CMP_SGE] = ASM_GE, [IR_CMP_SLE] = ASM_LE, [IR_CMP_SGT] = ASM_G};
    bool w = inst_of(cg, in->a)->type == IR_I64;
    unsigned cc = cc_of[in->cc];
    int32_t imm;
    struct asm_mem m;
    if (in->cc <= IR_CMP_NE && is_const(cg, in->b) && const_value(cg, in->b) == 0) {
        cc = flags_test(cg, in->a);
        if (in->cc == IR_CMP_EQ)
            cc = cc_not(cc);
    } else if (!flags_memo_is(cg, IR_SUB, in->a, in->b, 0)) {
        flags_clobber(cg);
        unsigned ra = use(cg, in->a);
        if (const_imm32(cg, in->b, w, &imm))
            asm_alu_ri(&cg->a, ASM_CMP, w, ra, imm);
        else if (use_mem(cg, in->b, &m))
            asm_alu_rm(&cg->a, ASM_CMP, w, ra, m);
        else
            asm_alu_rr(&cg->a, ASM_CMP, w, ra, use(cg, in->b));
        flags_memo(cg, IR_SUB, in->a, in->b, 0);
    }
    done(cg);
    flags_set_bool(cg, (irv)cg->at, cc);
}

static void select_cc(struct codegen *cg, unsigned cc, bool w, unsigned d, unsigned yes, unsigned no) {
    struct asm_buf *a = &cg->a;
    if (cc == CC_NE_UNORDERED) { /* as EQ_ORDERED with the operands swapped */
        unsigned t = yes;
        yes = no;
        no = t;
        cc = CC_EQ_ORDERED;
    }
    if (cc == CC_EQ_ORDERED) { /* yes, unless NE or P */
        if (d == no) {
            unsigned t = scratch(cg, GPR_CLASS);
            asm_mov_rr(a, w, t, no);
            no = t;
        }
        if (d != yes || !w)
            asm_mov_rr(a, w, d, yes);
        asm_cmov(a, ASM_NE, w, d, no);
        asm_cmov(a, ASM_P, w, d, no);
    } else if (d == yes) {
        asm_cmov(a, cc_not(cc), w, d, no);
    } else {
        if (d != no)
            asm_mov_rr(a, w, d, no);
        asm_cmov(a, cc, w, d, yes);
    }
}
void emit_SELECT(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in);
    unsigned cc = flags_test(cg, in->a);
    if (is_const(cg, in->b) && is_const(cg, in->c) && const_value(cg, in->b) == 1 && const_value(cg, in->c) == 0) {
        done(cg);
        unsigned d = def(cg, NO_REG);
        setcc_reg(cg, cc, d);
        return;
    }
    unsigned yes = use(cg, in->b), no = use(cg, in->c);
    done(cg);
    unsigned d = def(cg, no);
    select_cc(cg, cc, w, d, yes, no);
}

/* --- shifts
 * ------------------------------------------------------------------------------------------------------------ */
static void shift(struct codegen *cg, const struct ir_inst *in, enum asm_shift op, uint32_t bmi_pp) {
    bool w = is_wide(in);
    if (is_const(cg, in->b)) {
        unsigned n = (unsigned)inst_of(cg, in->b)->imm & (bits_of(in) - 1);
        flags_clobber(cg);
        unsigned x = use(cg, in->a);
        done(cg);
        unsigned d = def(cg, x);
        mov_full(cg, w, d, x);
        if (n)
            asm_shift_ri(&cg->a, op, w, d, n);
    } else {
        unsigned x = use(cg, in->a), y = use(cg, in->b);
        done(cg);
        asm_vex_rr(&cg->a, ASM_OP(bmi_pp, 2, 0xf7) | (w ? ASM_W : 0), def(cg, x), y, x); /* shlx, shrx, sarx */
    }
}
void emit_SHL(struct codegen *cg, const struct ir_inst *in) { shift(cg, in, ASM_SHL, 1); }
void emit_SHR(struct codegen *cg, const struct ir_inst *in) { shift(cg, in, ASM_SHR, 3); }
void emit_SAR(struct codegen *cg, const struct ir_inst *in) { shift(cg, in, ASM_SAR, 2); }

static void rorx(struct codegen *cg, bool w, unsigned d, unsigned x, unsigned n) {
    if (n)
        asm_vex_rri(&cg->a, ASM_OP(3, 3, 0xf0) | (w ? ASM_W : 0), d, 0, x, n);
    else
        mov_full(cg, w, d, x);
}
void emit_ROR(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in);
    if (is_const(cg, in->b)) {
        unsigned x = use(cg, in->a);
        done(cg);
        rorx(cg, w, def(cg, x), x, (unsigned)inst_of(cg, in->b)->imm & (bits_of(in) - 1));
        return;
    }
    flags_clobber(cg);
    use_as(cg, in->b, ASM_RCX);
    unsigned x = use(cg, in->a);
    done(cg);
    unsigned d = def_fresh(cg);
    if (d == ASM_RCX)
        cg->failed = true;
    mov_if(cg, w, d, x);
    asm_shift_cl(&cg->a, ASM_ROR, w, d);
}
void emit_EXTR(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in);
    flags_clobber(cg);
    unsigned hi = use(cg, in->a), lo = use(cg, in->b);
    done(cg);
    if (hi == lo || in->n == 0) {
        rorx(cg, w, def(cg, lo), lo, in->n);
        return;
    }
    unsigned d = def(cg, lo);
    if (d == hi) { /* shld: the same, seen from the other side */
        asm_op_rr(&cg->a, ASM_OP(0, 1, 0xa4), w, lo, d);
        asm_byte(&cg->a, bits_of(in) - in->n);
    } else {
        mov_if(cg, w, d, lo);
        asm_op_rr(&cg->a, ASM_OP(0, 1, 0xac), w, hi, d); /* shrd */
        asm_byte(&cg->a, in->n);
    }
}

/* --- bit fields
 * --------------------------------------------------------------------------------------------------------- */
static void ubfx(struct codegen *cg, bool w, unsigned d, unsigned x, unsigned lo, unsigned len) {
    struct asm_buf *a = &cg->a;
    unsigned width = w ? 64 : 32;
    if (lo == 0 && (len == 8 || len == 16 || len == 32)) {
        asm_ext_rr(a, len == 8 ? 0 : len == 16 ? 1 : 2, false, false, d, x);
    } else if (lo + len == width) {
        mov_full(cg, w, d, x);
        if (lo)
            asm_shift_ri(a, ASM_SHR, w, d, lo);
    } else if (len < 32) {
        bool low = lo + len <= 32;
        if (d != x || low)
            asm_mov_rr(a, w && !low, d, x);
        if (lo)
            asm_shift_ri(a, ASM_SHR, w && !low, d, lo);
        asm_alu_ri(a, ASM_AND, false, d, (int32_t)MASK(len));
    } else {
        mov_if(cg, w, d, x);
        asm_shift_ri(a, ASM_SHL, w, d, width - lo - len);
        asm_shift_ri(a, ASM_SHR, w, d, width - len);
    }
}
void emit_UBFX(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    unsigned x = use(cg, in->a);
    done(cg);
    ubfx(cg, is_wide(in), def(cg, x), x, in->lane, in->n);
}
void emit_SBFX(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    bool w = is_wide(in);
    unsigned width = bits_of(in), lo = in->lane, len = in->n;
    flags_clobber(cg);
    unsigned x = use(cg, in->a);
    done(cg);
    unsigned d = def(cg, x);
    if (lo == 0 && (len == 8 || len == 16 || len == 32)) {
        asm_ext_rr(a, len == 8 ? 0 : len == 16 ? 1 : 2, true, w, d, x);
        return;
    }
    mov_full(cg, w, d, x);
    if (lo + len < width)
        asm_shift_ri(a, ASM_SHL, w, d, width - lo - len);
    if (len < width)
        asm_shift_ri(a, ASM_SAR, w, d, width - len);
}
void emit_BFI(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    bool w = is_wide(in);
    unsigned width = bits_of(in), lo = in->lane, len = in->n;
    uint64_t mask = MASK(len) << lo;
    flags_clobber(cg);
    unsigned x = use(cg, in->a), y = use(cg, in->b), t = scratch(cg, GPR_CLASS);
    if (len >= width) {
        done(cg);
        mov_full(cg, w, def(cg, y), y);
        return;
    }
    if (lo + len == width)
        asm_mov_rr(a, w, t, y);
    else
        ubfx(cg, w, t, y, 0, len);
    if (lo)
        asm_shift_ri(a, ASM_SHL, w, t, lo);
    done(cg);
    unsigned d = def(cg, x);
    if (!w || (int64_t)~mask == (int32_t)~mask) {
        mov_if(cg, w, d, x);
        asm_alu_ri(a, ASM_AND, w, d, (int32_t)~mask);
    } else if (d != x) {
        asm_mov_ri(a, d, ~mask);
        asm_alu_rr(a, ASM_AND, true, d, x);
    } else {
        unsigned m = scratch(cg, GPR_CLASS);
        asm_mov_ri(a, m, ~mask);
        asm_alu_rr(a, ASM_AND, true, d, m);
    }
    asm_alu_rr(a, ASM_OR, w, d, t);
}

/* --- extensions
 * ----------------------------------------------------------------------------------------------------------- */
static void extend(struct codegen *cg, const struct ir_inst *in, unsigned size, bool sext) {
    unsigned x = use(cg, in->a);
    done(cg);
    asm_ext_rr(&cg->a, size, sext, is_wide(in), def(cg, x), x);
}
void emit_SEXT8(struct codegen *cg, const struct ir_inst *in) { extend(cg, in, 0, true); }
void emit_SEXT16(struct codegen *cg, const struct ir_inst *in) { extend(cg, in, 1, true); }
void emit_ZEXT8(struct codegen *cg, const struct ir_inst *in) { extend(cg, in, 0, false); }
void emit_ZEXT16(struct codegen *cg, const struct ir_inst *in) { extend(cg, in, 1, false); }
void emit_SEXT32(struct codegen *cg, const struct ir_inst *in) { extend(cg, in, 2, true); }
void emit_ZEXT32(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use(cg, in->a);
    if (cg->v[in->a].flags & V_ZEXT) {
        def_alias(cg, (irv)cg->at, in->a);
        done(cg);
    } else {
        done(cg);
        asm_mov_rr(&cg->a, false, def(cg, x), x);
    }
}
void emit_TRUNC(struct codegen *cg, const struct ir_inst *in) {
    use(cg, in->a);
    def_alias(cg, (irv)cg->at, in->a);
    done(cg);
}

/* --- multiplication, division
 * ------------------------------------------------------------------------------------------- */
/* MULX leaves the flags alone: a carry chain goes on around it. hi: the upper half of the product is the result; that
 * is what a register holds that is named for both halves. */
static void mulx(struct codegen *cg, const struct ir_inst *in, bool hi) {
    use_as(cg, in->a, ASM_RDX);
    unsigned y = use(cg, in->b), t = hi ? NO_REG : scratch(cg, GPR_CLASS);
    done(cg);
    unsigned d = def(cg, y);
    asm_vex_rr(&cg->a, ASM_OP(3, 2, 0xf6) | ASM_W, hi ? d : t, d, y);
}
/* The other half of the same product, if it comes next; 0: it does not. Nothing in between may read the operands, or
 * fault. */
static irv other_half(const struct codegen *cg, const struct ir_inst *in, unsigned op) {
    unsigned i = cg->at + 1;
    while (i < cg->b->count && (inst_of(cg, (irv)i)->op == IR_PUT || inst_of(cg, (irv)i)->op == IR_INSN))
        i++;
    const struct ir_inst *other = inst_of(cg, (irv)i);
    return i < cg->b->count && other->op == op && other->type == IR_I64 && other->a == in->a && other->b == in->b &&
                   cg->v[i].next_use && !is_const(cg, in->b)
               ? (irv)i
               : 0;
}
static bool both_halves(struct codegen *cg, const struct ir_inst *in, bool hi) {
    const irv other = is_wide(in) ? other_half(cg, in, hi ? IR_MUL : IR_MULHU) : 0;
    if (!other)
        return false;
    use_as(cg, in->a, ASM_RDX);
    const unsigned y = use(cg, in->b);
    done(cg);
    done_inst(cg, other);
    const unsigned d = def(cg, NO_REG), o = def_value(cg, other, NO_REG);
    asm_vex_rr(&cg->a, ASM_OP(3, 2, 0xf6) | ASM_W, hi ? d : o, hi ? o : d, y);
    cg->v[other].flags |= V_EARLY;
    return true;
}
void emit_MUL(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in);
    int32_t imm;
    if (both_halves(cg, in, false))
        return;
    if (w && flags_live(cg) && !const_imm32(cg, in->b, w, &imm)) {
        mulx(cg, in, false);
        return;
    }
    flags_clobber(cg);
    unsigned x = use(cg, in->a);
    if (const_imm32(cg, in->b, w, &imm)) {
        done(cg);
        unsigned d = def(cg, x);
        asm_op_rr(&cg->a, ASM_OP(0, 0, 0x69), w, d, x);
        asm_imm32(&cg->a, (uint32_t)imm);
        return;
    }
    unsigned y = use(cg, in->b);
    done(cg);
    unsigned d = def(cg, x);
    if (d == y)
        y = x;
    else
        mov_if(cg, w, d, x);
    asm_op_rr(&cg->a, ASM_OP(0, 1, 0xaf), w, d, y);
}
void emit_MULHU(struct codegen *cg, const struct ir_inst *in) {
    if (!both_halves(cg, in, true))
        mulx(cg, in, true);
}
void emit_MULHS(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    take(cg, ASM_RDX);
    use_as(cg, in->a, ASM_RAX);
    unsigned y = use(cg, in->b);
    asm_op_rr(&cg->a, ASM_OP(0, 0, 0xf7), true, 5, y); /* imul */
    done(cg);
    unsigned d = def(cg, ASM_RDX);
    mov_if(cg, true, d, ASM_RDX);
}
static void divide(struct codegen *cg, const struct ir_inst *in, bool is_signed) {
    struct asm_buf *a = &cg->a;
    bool w = is_wide(in);
    flags_clobber(cg);
    take(cg, ASM_RDX);
    use_as(cg, in->a, ASM_RAX);
    unsigned y = use(cg, in->b);
    if (y == ASM_RAX) { /* a / a, both in RAX for the last time */
        y = scratch(cg, GPR_CLASS);
        asm_mov_rr(a, true, y, ASM_RAX);
    }
    if (is_signed) { /* divisors 0 and -1 by multiplication */
        asm_lea(a, w, ASM_RDX, asm_mem(y, 1));
        asm_alu_ri(a, ASM_CMP, w, ASM_RDX, 1);
        uint32_t general = asm_jcc_short(a, ASM_A);
        asm_op_rr(a, ASM_OP(0, 1, 0xaf), w, ASM_RAX, y);
        uint32_t end = asm_jmp_short(a);
        asm_bind_short(a, general);
        asm_cqo(a, w);
        asm_op_rr(a, ASM_OP(0, 0, 0xf7), w, 7, y);
        asm_bind_short(a, end);
    } else {
        asm_alu_rr(a, ASM_XOR, false, ASM_RDX, ASM_RDX);
        asm_test_rr(a, w, y, y);
        uint32_t general = asm_jcc_short(a, ASM_NE);
        asm_alu_rr(a, ASM_XOR, false, ASM_RAX, ASM_RAX);
        uint32_t end = asm_jmp_short(a);
        asm_bind_short(a, general);
        asm_op_rr(a, ASM_OP(0, 0, 0xf7), w, 6, y);
        asm_bind_short(a, end);
    }
    done(cg);
    unsigned d = def(cg, ASM_RAX);
    mov_if(cg, w, d, ASM_RAX);
}
void emit_UDIV(struct codegen *cg, const struct ir_inst *in) { divide(cg, in, false); }
void emit_SDIV(struct codegen *cg, const struct ir_inst *in) { divide(cg, in, true); }

/* --- bits and bytes
 * -------------------------------------------------------------------------------------------------------- */
void emit_CLZ(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    unsigned x = use(cg, in->a);
    done(cg);
    asm_op_rr(&cg->a, ASM_OP(2, 1, 0xbd), is_wide(in), def(cg, x), x); /* lzcnt */
}
void emit_BSWAP(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use(cg, in->a);
    done(cg);
    unsigned d = def(cg, x);
    mov_if(cg, is_wide(in), d, x);
    asm_bswap(&cg->a, is_wide(in), d);
}
/* d = (d & mask) << n | (d >> n) & mask; t is clobbered. */
static void swap_groups(struct codegen *cg, bool w, unsigned d, unsigned t, const uint64_t *mask, unsigned n) {
    struct asm_buf *a = &cg->a;
    asm_mov_rr(a, w, t, d);
    asm_shift_ri(a, ASM_SHR, w, t, n);
    asm_alu_rm(a, ASM_AND, w, d, asm_mem_rip(mask));
    asm_alu_rm(a, ASM_AND, w, t, asm_mem_rip(mask));
    asm_shift_ri(a, ASM_SHL, w, d, n);
    asm_alu_rr(a, ASM_OR, w, d, t);
}
void emit_BSWAP16(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    unsigned x = use(cg, in->a), t = scratch(cg, GPR_CLASS);
    done(cg);
    unsigned d = def(cg, x);
    mov_if(cg, is_wide(in), d, x);
    if (is_wide(in)) {
        swap_groups(cg, true, d, t, &cg->k->rev16, 8);
    } else {
        asm_bswap(&cg->a, false, d);
        asm_shift_ri(&cg->a, ASM_ROL, false, d, 16);
    }
}
void emit_RBIT(struct codegen *cg, const struct ir_inst *in) {
    bool w = is_wide(in);
    flags_clobber(cg);
    unsigned x = use(cg, in->a), t = scratch(cg, GPR_CLASS);
    done(cg);
    unsigned d = def(cg, x);
    mov_if(cg, w, d, x);
    asm_bswap(&cg->a, w, d);
    for (unsigned i = 0; i < 3; i++)
        swap_groups(cg, w, d, t, &cg->k->rbit[i], 4u >> i);
}
void emit_CRC32C(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    unsigned x = use(cg, in->a), y = use(cg, in->b);
    done(cg);
    unsigned d = def_fresh(cg);
    asm_mov_rr(a, false, d, x);
    switch (in->lane) { /* the prefixes are F2, and 66 for 16-bit data */
    case 0: asm_op_rr8(a, ASM_OP(3, 2, 0xf0), d, y); break;
    case 1:
        asm_byte(a, 0x66);
        asm_op_rr(a, ASM_OP(3, 2, 0xf1), false, d, y);
        break;
    case 2: asm_op_rr(a, ASM_OP(3, 2, 0xf1), false, d, y); break;
    default: asm_op_rr(a, ASM_OP(3, 2, 0xf1), true, d, y); break;
    }
}
