/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir_interp.c: executes a block, operation by operation: the meaning of ir_ops.def, to test emitters against. */
#include "graft/codegen.h"
#include "graft/guest.h"
#include "graft/softfp.h"
#include "ir_priv.h"

/* State of one execution. val[v].u64[0] is an integer, or NZCV in bits 31..28 of a FLAGS value. */
struct interp {
    const struct ir_block *b;
    struct cpu *cpu;
    v128 *val;
    uint64_t pc; /* of the current guest instruction */
};

static void set_pc(struct interp *s, uint64_t pc) {
    memcpy((char *)s->cpu + s->cpu->guest->pc_offset, &pc, sizeof(pc));
}

static void do_get(struct interp *s, const struct ir_inst *i, v128 *r) {
    memcpy(r, (const char *)s->cpu + i->imm, ir_type_bytes(i->type));
    if (i->type == IR_FLAGS)
        r->u64[0] = ir_flags_unpack(r->u32[0]);
}

static void do_put(struct interp *s, const struct ir_inst *i, const v128 *a) {
    unsigned type = s->b->inst[i->a].type;
    v128 value = *a;
    if (type == IR_FLAGS) {
        value.u64[0] = ir_flags_pack(a->u32[0]);
        s->cpu->flags_insn = 0;
    }
    memcpy((char *)s->cpu + i->imm, &value, ir_type_bytes(type));
}

/* --- memory ----------------------------------------------------------------------------------- */
static uint64_t address(const struct ir_inst *i, const v128 *a) {
    return a->u64[0] + (uint64_t)(int64_t)(int32_t)i->imm;
}

static void do_load(struct interp *s, const struct ir_inst *i, const v128 *a, v128 *r) {
    uint64_t va = address(i, a);
    if (i->lane == 4) {
        mem_read_128(s->cpu, va, r, i->cc, i->flags);
        return;
    }
    uint64_t v = mem_read(s->cpu, va, i->lane, i->cc, i->flags);
    if ((i->flags & IR_MEM_SEXT) && i->lane < 3) {
        unsigned shift = 64 - (8u << i->lane);
        v = (uint64_t)((int64_t)(v << shift) >> shift);
    }
    r->u64[0] = v & ir_type_mask(i->type);
}

static void do_store(struct interp *s, const struct ir_inst *i, const v128 *a, const v128 *b) {
    uint64_t va = address(i, a);
    if (i->lane == 4)
        mem_write_128(s->cpu, va, b, i->cc, i->flags);
    else
        mem_write(s->cpu, va, b->u64[0] & MASK(8u << i->lane), i->lane, i->cc, i->flags);
}

static uint64_t do_rmw(struct interp *s, const struct ir_inst *i, unsigned kind, const v128 *va, const v128 *old,
                       const v128 *value) {
    struct mem_rmw r = {.kind = kind, .size = i->lane, .regime = i->cc, .old = *old, .value = *value};
    mem_rmw(s->cpu, va->u64[0], &r);
    return r.old.u64[0];
}

static uint64_t do_store_exclusive(struct interp *s, const struct ir_inst *i, const v128 *va, const v128 *value) {
    struct cpu *cpu = s->cpu;
    v128 expected = {.u64 = {cpu->excl_val[0] & MASK(8u << i->lane), 0}};
    bool failed =
        cpu->excl_addr != va->u64[0] || do_rmw(s, i, MEM_RMW_EXCLUSIVE, va, &expected, value) != expected.u64[0];
    cpu->excl_addr = ~UINT64_C(0);
    return failed;
}

static void do_memory(struct interp *s, const struct ir_inst *i, v128 *r) {
    const v128 *a = &s->val[i->a], *b = &s->val[i->b], *c = &s->val[i->c];
    set_pc(s, s->pc); /* in case it faults */
    switch (i->op) {
    case IR_LD: do_load(s, i, a, r); break;
    case IR_ST: do_store(s, i, a, b); break;
    case IR_ATOMIC: r->u64[0] = do_rmw(s, i, i->n, a, b, b); break;
    case IR_CAS: r->u64[0] = do_rmw(s, i, MEM_RMW_CAS, a, b, c); break;
    default: r->u64[0] = do_store_exclusive(s, i, a, b); break;
    }
}

/* --- calls and floating point ----------------------------------------------------------------- */
static void do_call(struct interp *s, const struct ir_inst *i, v128 *r) {
    const struct ir_helper *h = ir_helper_of(i);
    uint64_t (*fn)(struct cpu *, uint64_t, uint64_t, uint64_t);
    fn = (uint64_t (*)(struct cpu *, uint64_t, uint64_t, uint64_t))(uintptr_t)h->fn;
    if (h->kind == IR_HELPER_STATE)
        set_pc(s, s->pc);
    r->u64[0] = fn(s->cpu, s->val[i->a].u64[0], s->val[i->b].u64[0], s->val[i->c].u64[0]);
}

static void do_callv(struct interp *s, const struct ir_inst *i, v128 *r) {
    fp_fn *fn = (fp_fn *)(uintptr_t)ir_helper_of(i)->fn;
    v128 a = s->val[i->a], b = s->val[i->b], c = s->val[i->c];
    fn(s->cpu, r, &a, &b, &c, i->aux);
}

static fp_fn *fp_function(unsigned op) {
    switch (op) {
    case IR_VFADD: return fp_add;
    case IR_VFSUB: return fp_sub;
    case IR_VFMUL: return fp_mul;
    case IR_VFDIV: return fp_div;
    case IR_VFSQRT: return fp_sqrt;
    case IR_VFMA: return fp_fma;
    case IR_VFMAX: return fp_max;
    case IR_VFMIN: return fp_min;
    case IR_VFMAXNM: return fp_maxnm;
    case IR_VFMINNM: return fp_minnm;
    case IR_VFCMPEQ: return fp_cmpeq;
    case IR_VFCMPGE: return fp_cmpge;
    case IR_VFCMPGT: return fp_cmpgt;
    case IR_VFRINT: return fp_rint;
    case IR_VFTOS: return fp_to_s;
    case IR_VFTOU: return fp_to_u;
    case IR_VSTOF: return fp_from_s;
    case IR_VUTOF: return fp_from_u;
    case IR_VFWIDEN: return fp_widen;
    default: return fp_narrow;
    }
}

/* Operations that name their rounding in cc; the others round as FPCR says. */
static bool has_rounding(unsigned op) {
    return op == IR_VFRINT || op == IR_VFTOS || op == IR_VFTOU || op == IR_FTOS || op == IR_FTOU;
}

static void do_float(struct interp *s, const struct ir_inst *i, v128 *r) {
    v128 a = s->val[i->a], b = s->val[i->b], c = s->val[i->c];
    unsigned lane = i->op == IR_VFWIDEN ? 2 : i->op == IR_VFNARROW ? 3 : i->lane;
    unsigned round = has_rounding(i->op) ? i->cc : IR_RN_CURRENT;
    bool int64 = i->type == IR_I64 || s->b->inst[i->a].type == IR_I64;
    uint32_t desc = FP_DESC(lane, i->n, round, i->flags, i->aux & 255, int64);
    switch (i->op) {
    case IR_FTOS: r->u64[0] = fp_scalar_to_s(s->cpu, &a, desc) & ir_type_mask(i->type); break;
    case IR_FTOU: r->u64[0] = fp_scalar_to_u(s->cpu, &a, desc) & ir_type_mask(i->type); break;
    case IR_STOF: fp_scalar_from_s(s->cpu, r, a.u64[0], desc); break;
    case IR_UTOF: fp_scalar_from_u(s->cpu, r, a.u64[0], desc); break;
    case IR_FCMP_FLAGS: r->u64[0] = fp_compare(s->cpu, &a, &b, desc) & 0xf0000000u; break;
    default: fp_function(i->op)(s->cpu, r, &a, &b, &c, desc); break;
    }
}

static void do_vector(struct interp *s, const struct ir_inst *i, v128 *r) {
    const v128 *a = &s->val[i->a], *b = &s->val[i->b], *c = &s->val[i->c];
    uint64_t x = i->op == IR_VINS ? b->u64[0] : a->u64[0];
    v128 result = {{0}};
    ir_eval_vec(i, &result, a, b, c, x);
    *r = result;
}

static void do_fence(const struct ir_inst *i) {
    if (i->n == IR_FENCE_FULL)
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else if (i->n == IR_FENCE_LOAD)
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    else
        __atomic_thread_fence(__ATOMIC_RELEASE);
}

static void do_other(struct interp *s, const struct ir_inst *i, v128 *r) {
    const struct ir_block *b = s->b;
    switch (i->op) {
    case IR_NOP:
    case IR_LABEL:
    case IR_RAS_PUSH: break;
    case IR_INSN: s->pc = i->imm; break;
    case IR_CONST: r->u64[0] = i->imm & ir_type_mask(i->type); break;
    case IR_PC: r->u64[0] = i->imm; break;
    case IR_VCONST: *r = b->vconst[i->aux]; break;
    case IR_GET: do_get(s, i, r); break;
    case IR_PUT: do_put(s, i, &s->val[i->a]); break;
    case IR_FENCE: do_fence(i); break;
    case IR_FLAGS_LATER: s->cpu->flags_insn = i->aux; break;
    case IR_FLAGS_SAVE:
        s->cpu->flags_operand[0] = s->val[i->a].u64[0];
        s->cpu->flags_operand[1] = s->val[i->b].u64[0];
        s->cpu->flags_insn = i->aux;
        break;
    case IR_CALL: do_call(s, i, r); break;
    case IR_CALLV: do_callv(s, i, r); break;
    default: {
        unsigned type = i->op == IR_SELECT ? i->type : b->inst[i->a].type;
        r->u64[0] = ir_eval(i, type, s->val[i->a].u64[0], s->val[i->b].u64[0], s->val[i->c].u64[0]);
        break;
    }
    }
}

/* Where an exit leads inside the block: the LABEL of its pc; 0: there is none. */
static unsigned label_of(const struct ir_block *b, const struct ir_inst *i) {
    for (unsigned v = (unsigned)(i - b->inst) + 1; v < b->count && i->flags & IR_EXIT_INSIDE; v++)
        if (b->inst[v].op == IR_LABEL && b->inst[v].imm == i->imm)
            return v;
    return 0;
}
/* From that exit to `to`: what may be used behind a label is computed all the same. */
static void skip(struct interp *s, const struct ir_inst *exit, unsigned to) {
    for (unsigned v = (unsigned)(exit - s->b->inst); v < to; v++) {
        const unsigned op = s->b->inst[v].op;
        if (op == IR_CONST || op == IR_PC || op == IR_VCONST)
            do_other(s, &s->b->inst[v], &s->val[v]);
    }
}
/* An exit: true if the block is left. *next: the instruction to go on at if it is not. */
static bool do_exit(struct interp *s, const struct ir_inst *i, unsigned *next) {
    switch (i->op) {
    case IR_EXIT_IF:
        if ((uint32_t)s->val[i->a].u64[0] == 0)
            return false;
        if (i->b) {
            struct ir_inst put = {.op = IR_PUT, .a = i->b, .imm = s->cpu->guest->nzcv_offset};
            do_put(s, &put, &s->val[i->b]);
        }
        if (i->flags & IR_EXIT_FLAGS_LATER)
            s->cpu->flags_insn = i->aux;
        if (i->flags & IR_EXIT_FAULT)
            s->cpu->exit_site = CODE_EXIT_FAULT;
        if (label_of(s->b, i)) {
            skip(s, i, *next = label_of(s->b, i));
            return false;
        }
        set_pc(s, i->imm);
        return true;
    case IR_GOTO: set_pc(s, i->imm); return true;
    case IR_GOTO_REG: set_pc(s, s->val[i->a].u64[0]); return true;
    default: return true;
    }
}

void ir_interpret(const struct ir_block *b, struct cpu *cpu) {
    v128 val[b->count]; /* sized by the block: an engine's stack is small */
    struct interp s = {.b = b, .cpu = cpu, .val = val, .pc = b->pc};
    memset(val, 0, sizeof(val));
    for (unsigned v = 1, next; v < b->count; v = next) {
        const struct ir_inst *i = &b->inst[v];
        const struct ir_op_info *info = &ir_op_info[i->op];
        next = v + 1;
        if (info->exits) {
            if (do_exit(&s, i, &next))
                return;
        } else if (info->memory) {
            do_memory(&s, i, &val[v]);
        } else if (i->op >= IR_VFADD) {
            do_float(&s, i, &val[v]);
        } else if (i->op >= IR_VAND) {
            do_vector(&s, i, &val[v]);
        } else {
            do_other(&s, i, &val[v]);
        }
    }
    rt_panic(cpu, "IR block at %llx without an exit", (unsigned long long)b->pc);
}
