/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* emit_call.c: calls of C functions from translated code. All temporaries are caller-saved in the C ABI. */
#include "dbt/x86/backend.h"

/* dst[i] = src[i] for general registers, all at once; src NO_REG: not that one. */
static void moves_emit(struct asm_buf *a, unsigned n, const uint8_t *dst, const uint8_t *src) {
    uint8_t d[4], s[4];
    unsigned left = 0;
    for (unsigned i = 0; i < n; i++) {
        if (src[i] != NO_REG && src[i] != dst[i]) {
            d[left] = dst[i];
            s[left++] = src[i];
        }
    }
    while (left) {
        unsigned i, j;
        for (i = 0; i < left; i++) { /* a move whose destination nobody reads any more */
            for (j = 0; j < left && (j == i || s[j] != d[i]); j++) {
            }
            if (j == left)
                break;
        }
        if (i < left) {
            asm_mov_rr(a, true, d[i], s[i]);
        } else { /* a cycle */
            i = 0;
            asm_op_rr(a, ASM_OP(0, 0, 0x87), true, d[0], s[0]);
            for (j = 1; j < left; j++)
                s[j] = s[j] == d[0] ? s[0] : s[j] == s[0] ? d[0] : s[j];
        }
        left--;
        d[i] = d[left];
        s[i] = s[left];
        for (i = 0; i < left;) { /* moves that an exchange has completed */
            if (d[i] == s[i]) {
                left--;
                d[i] = d[left];
                s[i] = s[left];
            } else {
                i++;
            }
        }
    }
}

/* The arguments a, b, c of the current instruction into RSI, RDX, RCX; everything else in temporaries is in memory. */
static void load_args(struct codegen *cg, const struct ir_inst *in) {
    static const uint8_t to[3] = {ASM_RSI, ASM_RDX, ASM_RCX};
    irv arg[3] = {in->a, in->b, in->c};
    uint8_t src[3] = {NO_REG, NO_REG, NO_REG};
    struct asm_mem m[3];
    bool from_mem[3] = {false, false, false};
    for (unsigned k = 0; k < 3; k++) { /* comparison results and flags become registers */
        if (arg[k] && cg->v[arg[k]].reg == NO_REG && cg->v[arg[k]].slot < 0 && cg->v[arg[k]].home < 0 &&
            !is_const(cg, arg[k])) {
            use(cg, arg[k]);
        }
    }
    for (unsigned k = 0; k < 3; k++) {
        if (arg[k]) {
            const struct value *v = &cg->v[arg[k]];
            src[k] = v->reg;
            from_mem[k] = v->reg == NO_REG && (v->slot >= 0 || v->home >= 0);
            if (from_mem[k])
                m[k] = v->slot >= 0 ? slot_mem(cg, arg[k]) : cpu_mem((size_t)v->home);
        }
    }
    uint64_t constant[3] = {0, 0, 0};
    bool is_constant[3], wide[3];
    for (unsigned k = 0; k < 3; k++) {
        is_constant[k] = src[k] == NO_REG && !from_mem[k]; /* absent arguments are 0 */
        constant[k] = is_constant[k] && arg[k] ? const_value(cg, arg[k]) : 0;
        wide[k] = arg[k] && inst_of(cg, arg[k])->type == IR_I64;
    }
    done(cg);
    moves_emit(&cg->a, 3, to, src);
    for (unsigned k = 0; k < 3; k++)
        if (from_mem[k])
            asm_mov_rm(&cg->a, wide[k], to[k], m[k]);
        else if (is_constant[k])
            asm_mov_ri(&cg->a, to[k], constant[k]);
}
/* Where the engine is elsewhere in each run, its functions are found from the code, which can then be moved
 * (codegen_hash()). */
static void load_function(struct codegen *cg, const uint8_t *thunk, const void *fn) {
    if (cg->ring3)
        asm_mov_ri(&cg->a, ASM_RAX, ring3_helper(cg, fn, thunk == cg->callv));
    else if ((uintptr_t)fn != (uint32_t)(uintptr_t)fn && asm_reaches(&cg->a, fn))
        asm_lea(&cg->a, true, ASM_RAX, asm_mem_rip(fn));
    else
        asm_mov_ri(&cg->a, ASM_RAX, (uintptr_t)fn);
}
void call_helper(struct codegen *cg, const uint8_t *thunk, const void *fn) {
    cg->failed |= cg->loop.pins != 0; /* the thunks know the pins of all other blocks */
    load_function(cg, thunk, fn);
    asm_call(&cg->a, thunk);
    cg->scratch_arg[0] = cg->scratch_arg[1] = 0;
}

void emit_CALL(struct codegen *cg, const struct ir_inst *in) {
    const struct ir_helper *h = (const struct ir_helper *)(uintptr_t)in->imm;
    flags_clobber(cg);
    if (h->kind == IR_HELPER_STATE)
        spill_state(cg);
    /* Values that live on go to memory, but those in registers stay there until the arguments are loaded. */
    for (regset m = live_temps(cg); m; m &= m - 1) {
        unsigned r = (unsigned)__builtin_ctzll(m);
        for (irv v = cg->reg_head[r]; v; v = cg->v[v].reg_next) {
            if (cg->v[v].slot < 0 && cg->v[v].home < 0 && inst_of(cg, v)->op != IR_CONST &&
                inst_of(cg, v)->op != IR_PC && inst_of(cg, v)->op != IR_VCONST && !dies_here(cg, v)) {
                store_slot(cg, v, r);
            }
        }
    }
    load_args(cg, in);
    cg->locked = 0;
    spill_temps(cg);
    if (h->kind == IR_HELPER_STATE)
        asm_mov_pc(&cg->a, ASM_RDI, cg->pc);
    call_helper(cg, h->kind == IR_HELPER_STATE ? cg->call_state : cg->call_pure, h->fn);
    if (in->type == IR_NONE)
        return;
    cg->locked |= BIT(ASM_RAX);
    unsigned d = def(cg, ASM_RAX);
    if (d >= 16)
        asm_vex_rr(&cg->a, ASM_OP(1, 1, 0x6e) | ASM_W, xmm(d), 0, ASM_RAX);
    else if (d != ASM_RAX || in->type == IR_I32)
        asm_mov_rr(&cg->a, in->type != IR_I32, d, ASM_RAX);
}

void emit_CALLV(struct codegen *cg, const struct ir_inst *in) {
    const struct ir_helper *h = (const struct ir_helper *)(uintptr_t)in->imm;
    irv arg[3] = {in->a, in->b, in->c};
    flags_clobber(cg);
    home_forget(cg, (int32_t)offsetof(struct cpu, fp), sizeof(cg->cpu->fp)); /* status, QC */
    cg->locked = 0;
    for (unsigned k = 0; k < 3; k++) {
        if (arg[k]) {
            struct asm_mem m = CPU_FIELD(vscratch);
            m.disp += (int32_t)(16 * (k + 1));
            unsigned r = use(cg, arg[k]);
            asm_vmov_mr(&cg->a, m, xmm(r));
            cg->locked = 0;
        }
    }
    done(cg);
    spill_temps(cg);
    asm_mov_ri(&cg->a, ASM_RSI, in->aux);
    call_helper(cg, cg->callv, h->fn);
    unsigned d = def(cg, NO_REG);
    asm_vmov_rm(&cg->a, xmm(d), CPU_FIELD(vscratch));
}
