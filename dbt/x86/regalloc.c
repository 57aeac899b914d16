/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * regalloc.c: where values are while a block is compiled, in one forward pass.
 *
 * A value may be in a register (a temporary, or a pin that holds the same), in a
 * spill slot of the frame, and at home in struct cpu, in any combination; a
 * constant is everywhere. Several values may share a register. Pins never leave
 * their register: a value that only aliases one moves away before it changes.
 */
#include "dbt/x86/backend.h"

static const uint8_t gpr_order[] = {ASM_RSI, ASM_RDI, ASM_RDX, ASM_RCX, ASM_RAX};

static bool is_xmm(unsigned reg) { return reg >= 16; }
static regset hoist_regs(const struct codegen *cg) {
    regset m = 0;
    for (unsigned i = 0; i < MAX_HOISTS; i++)
        if (cg->hoist[i].root && cg->hoist[i].index != MMU_NO_INDEX)
            m |= BIT(cg->hoist[i].index);
    return m;
}

uint64_t const_value(const struct codegen *cg, irv v) {
    const struct ir_inst *in = inst_of(cg, v);
    return in->type == IR_I32 ? (uint32_t)in->imm : in->imm;
}
bool const_imm32(const struct codegen *cg, irv v, bool w, int32_t *imm) {
    if (!is_const(cg, v))
        return false;
    uint64_t c = inst_of(cg, v)->imm;
    *imm = (int32_t)c;
    return !w || (int64_t)c == (int32_t)c;
}

/* --- registers and their values --------------------------------------------------------------- */
static void attach(struct codegen *cg, irv v, unsigned reg) {
    cg->v[v].reg = (uint8_t)reg;
    cg->v[v].reg_next = cg->reg_head[reg];
    cg->reg_head[reg] = v;
    cg->busy |= BIT(reg);
}
static void detach(struct codegen *cg, irv v) {
    unsigned reg = cg->v[v].reg;
    if (reg == NO_REG)
        return;
    irv *p = &cg->reg_head[reg];
    while (*p != v)
        p = &cg->v[*p].reg_next;
    *p = cg->v[v].reg_next;
    if (!cg->reg_head[reg])
        cg->busy &= ~BIT(reg);
    cg->v[v].reg = NO_REG;
}

struct asm_mem slot_mem(struct codegen *cg, irv v) {
    unsigned n = (unsigned)cg->v[v].slot;
    size_t at = inst_of(cg, v)->type == IR_V128 ? offsetof(struct frame, xmm) + 16 * n : 8 * n;
    return asm_mem(ASM_RSP, (int32_t)at);
}
void store_slot(struct codegen *cg, irv v, unsigned reg) {
    bool vec = inst_of(cg, v)->type == IR_V128;
    uint64_t *used = vec ? &cg->slots_xmm : &cg->slots_gpr;
    if (cg->v[v].slot < 0) {
        if (~*used == 0) {
            cg->failed = true;
            return;
        }
        unsigned n = (unsigned)__builtin_ctzll(~*used);
        *used |= BIT(n);
        cg->v[v].slot = (int8_t)n;
    }
    if (vec)
        asm_vmov_mr(&cg->a, slot_mem(cg, v), xmm(reg));
    else
        asm_mov_mr(&cg->a, true, slot_mem(cg, v), reg);
}
static void free_slot(struct codegen *cg, irv v) {
    if (cg->v[v].slot >= 0) {
        *(inst_of(cg, v)->type == IR_V128 ? &cg->slots_xmm : &cg->slots_gpr) &= ~BIT(cg->v[v].slot);
        cg->v[v].slot = -1;
    }
}
void kill_value(struct codegen *cg, irv v) {
    detach(cg, v);
    free_slot(cg, v);
    cg->v[v].home = -1;
    cg->v[v].next_use = 0;
}

/* Can v be had again without its register? */
static bool backed(const struct codegen *cg, irv v) {
    unsigned op = inst_of(cg, v)->op;
    return cg->v[v].slot >= 0 || cg->v[v].home >= 0 || op == IR_CONST || op == IR_PC || op == IR_VCONST;
}
static void copy_reg(struct codegen *cg, unsigned dst, unsigned src) {
    if (is_xmm(dst))
        asm_vmov_rr(&cg->a, xmm(dst), xmm(src));
    else
        asm_mov_rr(&cg->a, true, dst, src);
}
static regset temps(const struct codegen *cg) { return GPR_TEMPS | cg->xmm_temps; }
static regset temps_like(const struct codegen *cg, unsigned reg) { return is_xmm(reg) ? cg->xmm_temps : GPR_TEMPS; }

static unsigned pick(regset free) {
    if (free & GPR_CLASS) {
        for (unsigned i = 0; i < ARRAY_LEN(gpr_order); i++)
            if (free >> gpr_order[i] & 1)
                return gpr_order[i];
    }
    return (unsigned)__builtin_ctzll(free);
}

/* Moves what is in reg to `to`, or to memory if that is NO_REG. */
static void move_values(struct codegen *cg, unsigned reg, unsigned to) {
    bool copied = false;
    for (irv v = cg->reg_head[reg], next; v; v = next) {
        next = cg->v[v].reg_next;
        if (backed(cg, v)) {
            detach(cg, v);
        } else if (to != NO_REG) {
            if (!copied) {
                copy_reg(cg, to, reg);
                copied = true;
            }
            detach(cg, v);
            attach(cg, v, to);
        } else {
            store_slot(cg, v, reg);
            detach(cg, v);
        }
    }
}
void evict(struct codegen *cg, unsigned reg) {
    if (!cg->reg_head[reg])
        return;
    regset free = temps_like(cg, reg) & ~cg->locked & ~cg->held & ~cg->busy & ~hoist_regs(cg) & ~BIT(reg);
    move_values(cg, reg, free ? pick(free) : NO_REG);
}

static unsigned first_use(const struct codegen *cg, unsigned reg) {
    unsigned first = IR_MAX_INSTS;
    for (irv v = cg->reg_head[reg]; v; v = cg->v[v].reg_next)
        if (cg->v[v].next_use < first)
            first = cg->v[v].next_use;
    return first;
}
static void drop_hoist_reg(struct codegen *cg, unsigned reg) {
    for (unsigned i = 0; i < MAX_HOISTS; i++)
        if (cg->hoist[i].root && cg->hoist[i].index == reg)
            cg->hoist[i].root = 0;
}
void drop_hoists(struct codegen *cg) {
    for (unsigned i = 0; i < MAX_HOISTS; i++)
        cg->hoist[i].root = 0;
}

void forget_values(struct codegen *cg) {
    for (unsigned reg = 0; reg < NREGS; reg++)
        while (cg->reg_head[reg])
            detach(cg, cg->reg_head[reg]);
    for (unsigned i = 0; i < cg->homes; i++)
        cg->v[cg->home[i]].home = -1;
    cg->homes = 0;
    drop_hoists(cg);
    cg->fl = (struct eflags){.kind = FLAGS_NONE};
}

unsigned scratch(struct codegen *cg, regset class) {
    regset avail = temps(cg) & class & ~cg->locked & ~cg->held, hoists = hoist_regs(cg);
    unsigned reg;
    if (!avail) {
        cg->failed = true;
        return class & GPR_CLASS ? ASM_RCX : XMM(0);
    }
    if (avail & ~cg->busy & ~hoists) {
        reg = pick(avail & ~cg->busy & ~hoists);
    } else if (avail & ~cg->busy) {
        reg = pick(avail & ~cg->busy);
        drop_hoist_reg(cg, reg);
    } else {
        unsigned best = 0;
        reg = NO_REG;
        for (regset m = avail; m; m &= m - 1) {
            unsigned r = (unsigned)__builtin_ctzll(m), n = first_use(cg, r);
            if (reg == NO_REG || n > best) {
                reg = r;
                best = n;
            }
        }
        move_values(cg, reg, NO_REG);
    }
    cg->locked |= BIT(reg);
    return reg;
}
unsigned scratch_x(struct codegen *cg) { return xmm(scratch(cg, XMM_LOW_CLASS)); }

void take(struct codegen *cg, unsigned reg) {
    drop_hoist_reg(cg, reg);
    evict(cg, reg);
    cg->locked |= BIT(reg);
}

/* --- reading values --------------------------------------------------------------------------- */
static void load_vconst(struct codegen *cg, irv v, unsigned x) {
    const struct ir_inst *in = inst_of(cg, v);
    const v128 *c = &cg->b->vconst[in->aux];
    if (!c->u64[0] && !c->u64[1]) {
        asm_vex_rr(&cg->a, ASM_OP(0, 1, 0x57), x, x, x); /* vxorps */
    } else if (!~c->u64[0] && !~c->u64[1] && x < 16) {
        asm_vex_rr(&cg->a, ASM_OP(1, 1, 0x76), x, x, x); /* vpcmpeqd */
    } else {
        asm_vmov_rm(&cg->a, x, asm_mem_rip(cg->a.p));
        asm_rip_label(&cg->a, &cg->vconst[in->aux]);
    }
}
static void load_home(struct codegen *cg, const struct ir_inst *in, int32_t home, unsigned reg) {
    if (in->type == IR_V128)
        asm_vmov_rm(&cg->a, xmm(reg), cpu_mem((size_t)home));
    else
        asm_mov_rm(&cg->a, in->type == IR_I64, reg, cpu_mem((size_t)home));
}
/* Loads v, which is in no register, into reg. */
static void load_value(struct codegen *cg, irv v, unsigned reg) {
    const struct ir_inst *in = inst_of(cg, v);
    struct value *val = &cg->v[v];
    unsigned cc;
    if (in->op == IR_CONST) {
        asm_mov_ri(&cg->a, reg, const_value(cg, v));
        val->flags |= V_ZEXT;
    } else if (in->op == IR_PC) {
        asm_mov_pc(&cg->a, reg, in->imm);
    } else if (in->op == IR_VCONST) {
        load_vconst(cg, v, xmm(reg));
    } else if (val->slot >= 0) {
        if (in->type == IR_V128)
            asm_vmov_rm(&cg->a, xmm(reg), slot_mem(cg, v));
        else
            asm_mov_rm(&cg->a, true, reg, slot_mem(cg, v));
    } else if (val->home >= 0) {
        load_home(cg, in, val->home, reg);
        val->flags |= V_ZEXT;
    } else if (flags_bool(cg, v, &cc)) {
        setcc_reg(cg, cc, reg);
        val->flags |= V_ZEXT;
    } else {
        cg->failed = true;
    }
}
static void clean(struct codegen *cg, irv v) {
    unsigned x = xmm(cg->v[v].reg);
    if (cg->v[v].dirty == 8)
        asm_vex_rr(&cg->a, ASM_OP(2, 1, 0x7e), x, 0, x); /* vmovq */
    else
        asm_vex_rri(&cg->a, ASM_OP(1, 3, 0x21), x, x, x, 0x0e); /* vinsertps: keeps lane 0 */
    cg->v[v].dirty = 0;
    free_slot(cg, v);
}
static unsigned use_any(struct codegen *cg, irv v) {
    struct value *val = &cg->v[v];
    const struct ir_inst *in = inst_of(cg, v);
    if (val->reg == NO_REG) {
        if (in->type == IR_FLAGS && val->slot < 0 && val->home < 0)
            return flags_stored(cg, v);
        unsigned reg = scratch(cg, class_of_type(in->type));
        load_value(cg, v, reg);
        attach(cg, v, reg);
    }
    cg->locked |= BIT(val->reg);
    return val->reg;
}
static __attribute__((noinline)) unsigned use_absent(struct codegen *cg, irv v) {
    unsigned reg = use_any(cg, v);
    if (cg->v[v].dirty)
        clean(cg, v);
    return reg;
}
unsigned use(struct codegen *cg, irv v) {
    const struct value *val = &cg->v[v];
    if (UNLIKELY(val->reg == NO_REG || val->dirty))
        return use_absent(cg, v);
    cg->locked |= BIT(val->reg);
    return val->reg;
}
unsigned use_low(struct codegen *cg, irv v, unsigned bytes) {
    unsigned reg = use_any(cg, v);
    if (cg->v[v].dirty && cg->v[v].dirty < bytes)
        clean(cg, v);
    return reg;
}
unsigned use_v(struct codegen *cg, irv v) { return xmm(use(cg, v)); }
unsigned low_x(struct codegen *cg, unsigned x) {
    if (x < 16)
        return x;
    unsigned t = scratch_x(cg);
    asm_vmov_rr(&cg->a, t, x);
    return t;
}
unsigned use_x(struct codegen *cg, irv v) { return low_x(cg, use_v(cg, v)); }

bool dies_here(const struct codegen *cg, irv v) {
    const struct ir_inst *in = inst_of(cg, (irv)cg->at);
    irv op[3] = {in->a, in->b, in->c};
    if (cg->v[v].next_use != cg->at)
        return false;
    bool last = false;
    for (unsigned k = 0; k < 3; k++)
        if (op[k] == v)
            last = cg->next_use[cg->at][k] == 0;
    return last;
}
void use_as(struct codegen *cg, irv v, unsigned reg) {
    if (cg->v[v].reg == reg && dies_here(cg, v) && cg->reg_head[reg] == v && !cg->v[v].reg_next) {
        drop_hoist_reg(cg, reg);
        cg->locked |= BIT(reg);
        return;
    }
    take(cg, reg);
    if (cg->v[v].reg != NO_REG)
        copy_reg(cg, reg, cg->v[v].reg);
    else
        load_value(cg, v, reg);
}
bool use_mem(struct codegen *cg, irv v, struct asm_mem *m) {
    const struct value *val = &cg->v[v];
    if (val->reg != NO_REG || !dies_here(cg, v) || val->dirty)
        return false;
    if (val->slot >= 0 || val->home < 0) /* the slot would be free for others as soon as the value is dead */
        return false;
    *m = cpu_mem((size_t)val->home);
    return true;
}

static inline void done_one(struct codegen *cg, irv inst, unsigned k, irv v) {
    if (v) {
        cg->v[v].next_use = cg->next_use[inst][k];
        if (!cg->next_use[inst][k])
            kill_value(cg, v);
    }
}
void done_inst(struct codegen *cg, irv inst) {
    const struct ir_inst *in = inst_of(cg, inst);
    done_one(cg, inst, 0, in->a);
    done_one(cg, inst, 1, in->b);
    done_one(cg, inst, 2, in->c);
}
void done(struct codegen *cg) {
    const struct ir_inst *in = inst_of(cg, (irv)cg->at);
    done_inst(cg, (irv)cg->at);
    if (UNLIKELY(cg->v[cg->at].flags & V_FUSES))
        done_inst(cg, cg->v[in->a].flags & V_FUSED ? in->a : in->b);
}

/* --- results ---------------------------------------------------------------------------------- */
static unsigned def_class(struct codegen *cg, irv v, unsigned hint, regset class) {
    struct value *val = &cg->v[v];
    unsigned type = inst_of(cg, v)->type, reg;
    if (val->target != NO_REG && !cg->reg_head[val->target] && !(cg->held >> val->target & 1)) {
        reg = val->target;
    } else if (hint < NREGS && temps(cg) & class & ~cg->busy & ~cg->held & BIT(hint)) {
        reg = hint;
        drop_hoist_reg(cg, reg);
        cg->locked |= BIT(reg);
    } else {
        reg = scratch(cg, class);
    }
    if (type == IR_I32)
        val->flags |= V_ZEXT;
    attach(cg, v, reg);
    return reg;
}
unsigned def_value(struct codegen *cg, irv v, unsigned hint) {
    return def_class(cg, v, hint, class_of_type(inst_of(cg, v)->type));
}
unsigned def(struct codegen *cg, unsigned hint) { return def_value(cg, (irv)cg->at, hint); }
unsigned def_fresh(struct codegen *cg) {
    struct value *val = &cg->v[cg->at];
    if (val->target != NO_REG && cg->locked >> val->target & 1)
        val->target = NO_REG;
    return def(cg, NO_REG);
}
unsigned def_v(struct codegen *cg, unsigned hint) { return xmm(def(cg, XMM(hint))); }
unsigned def_fresh_v(struct codegen *cg) { return xmm(def_fresh(cg)); }
/* Not in a pin that has no VEX encoding: the PUT copies. */
static void target_low(struct codegen *cg) {
    if (cg->v[cg->at].target >= XMM(16))
        cg->v[cg->at].target = NO_REG;
}
unsigned def_x(struct codegen *cg, unsigned hint) {
    target_low(cg);
    return xmm(def_class(cg, (irv)cg->at, XMM(hint), XMM_LOW_CLASS));
}
unsigned def_fresh_x(struct codegen *cg) {
    target_low(cg);
    if (cg->v[cg->at].target != NO_REG && cg->locked >> cg->v[cg->at].target & 1)
        cg->v[cg->at].target = NO_REG;
    return xmm(def_class(cg, (irv)cg->at, NO_REG, XMM_LOW_CLASS));
}
void def_in(struct codegen *cg, irv v, unsigned reg) {
    if (inst_of(cg, v)->type == IR_I32)
        cg->v[v].flags |= V_ZEXT;
    attach(cg, v, reg);
}
void def_alias(struct codegen *cg, irv v, irv src) { attach(cg, v, cg->v[src].reg); }

/* --- homes: values that struct cpu holds too -------------------------------------------------- */
static unsigned type_bytes(unsigned type) { return type == IR_V128 ? 16 : type == IR_I64 ? 8 : 4; }
void home_add(struct codegen *cg, irv v, int32_t offset) {
    if (cg->homes == MAX_HOMES) { /* make room: forget the dead ones */
        unsigned n = 0;
        for (unsigned i = 0; i < cg->homes; i++)
            if (cg->v[cg->home[i]].home >= 0)
                cg->home[n++] = cg->home[i];
        cg->homes = n;
    }
    if (cg->homes < MAX_HOMES) {
        cg->home[cg->homes++] = v;
        cg->v[v].home = offset;
    }
}
void home_forget(struct codegen *cg, int32_t offset, unsigned bytes) {
    unsigned n = 0;
    for (unsigned i = 0; i < cg->homes; i++) {
        irv v = cg->home[i];
        struct value *val = &cg->v[v];
        if (val->home < 0)
            continue;
        if (val->home < offset + (int32_t)bytes && offset < val->home + (int32_t)type_bytes(inst_of(cg, v)->type)) {
            if (val->next_use && val->reg == NO_REG && val->slot < 0) {
                unsigned reg = use_any(cg, v);
                cg->locked &= ~BIT(reg);
            }
            val->home = -1;
            continue;
        }
        cg->home[n++] = v;
    }
    cg->homes = n;
}

/* --- calls ------------------------------------------------------------------------------------ */
regset live_temps(struct codegen *cg) { return cg->busy & temps(cg); }
void spill_temps(struct codegen *cg) {
    for (regset m = live_temps(cg); m; m &= m - 1)
        move_values(cg, (unsigned)__builtin_ctzll(m), NO_REG);
    drop_hoists(cg);
}
void spill_state(struct codegen *cg) {
    for (regset m = cg->busy & cg->pins; m; m &= m - 1) {
        unsigned reg = (unsigned)__builtin_ctzll(m);
        for (irv v = cg->reg_head[reg], next; v; v = next) {
            next = cg->v[v].reg_next;
            if (dies_here(cg, v)) /* an argument of the call */
                continue;
            if (cg->v[v].slot < 0)
                store_slot(cg, v, reg);
            detach(cg, v);
        }
    }
    for (unsigned i = 0; i < cg->homes; i++) {
        struct value *val = &cg->v[cg->home[i]];
        if (dies_here(cg, cg->home[i]))
            continue;
        if (val->home >= 0 && val->next_use && val->reg == NO_REG && val->slot < 0) {
            unsigned reg = use_any(cg, cg->home[i]);
            cg->locked &= ~BIT(reg);
        }
        val->home = -1;
    }
    cg->homes = 0;
}

void held_renamed(struct codegen *cg, unsigned from, unsigned to) {
    for (unsigned i = 0; i < cg->fp_ops; i++) {
        struct slow_record *r = &cg->fp_op[i].rec;
        uint8_t *reg[] = {&r->base, &r->value, &r->value2, &r->dst};
        for (unsigned k = 0; k < ARRAY_LEN(reg); k++)
            *reg[k] = *reg[k] == from ? (uint8_t)to : *reg[k];
    }
    if (cg->unchecked >> from & 1)
        cg->unchecked |= BIT(to);
    cg->held = (cg->held & ~BIT(from)) | BIT(to);
    cg->unchecked &= ~BIT(from);
}

/* --- pins, GET and PUT ------------------------------------------------------------------------ */
unsigned pin_at(const struct codegen *cg, uint64_t offset) {
    uint64_t n = offset - sizeof(struct cpu);
    return offset >= sizeof(struct cpu) && n / 8 < ARRAY_LEN(cg->pin_map) ? cg->pin_map[n / 8] : NO_REG;
}
void clear_pin(struct codegen *cg, unsigned pin, irv except) {
    unsigned to = NO_REG;
    for (irv v = cg->reg_head[pin], next; v; v = next) {
        next = cg->v[v].reg_next;
        if (v == except)
            continue;
        if (!backed(cg, v)) {
            if (to == NO_REG) {
                to = scratch(cg, is_xmm(pin) ? XMM_CLASS : GPR_CLASS);
                copy_reg(cg, to, pin);
                if (cg->held >> pin & 1)
                    held_renamed(cg, pin, to);
            }
            detach(cg, v);
            attach(cg, v, to);
        } else {
            detach(cg, v);
        }
    }
}

/* Part of a pinned register. */
static void get_part(struct codegen *cg, const struct ir_inst *in, unsigned pin) {
    unsigned at = (unsigned)in->imm - (unsigned)cg->pin_offset[pin];
    bool w = in->type == IR_I64;
    unsigned reg = def(cg, NO_REG);
    if (!is_xmm(pin)) {
        asm_mov_rr(&cg->a, true, reg, pin);
        asm_shift_ri(&cg->a, ASM_SHR, true, reg, 8 * at);
    } else if (at == 0) {
        asm_vex_rr(&cg->a, ASM_OP(1, 1, 0x7e) | (w ? ASM_W : 0), xmm(pin), 0, reg);
    } else {
        asm_vex_rri(&cg->a, ASM_OP(1, 3, 0x16) | (w ? ASM_W : 0), xmm(pin), 0, reg, w ? at / 8 : at / 4);
    }
}
void emit_GET(struct codegen *cg, const struct ir_inst *in) {
    irv v = (irv)cg->at;
    unsigned pin = pin_at(cg, in->imm);
    if (pin == NO_REG) {
        home_add(cg, v, (int32_t)in->imm);
        if (cg->v[v].home < 0) {
            unsigned reg = def(cg, NO_REG);
            load_home(cg, in, (int32_t)in->imm, reg);
        }
    } else if ((int32_t)in->imm == cg->pin_offset[pin] && is_xmm(pin) == (in->type == IR_V128)) {
        attach(cg, v, pin);
    } else if (in->type != IR_V128 && in->type != IR_FLAGS) {
        flags_clobber(cg);
        get_part(cg, in, pin);
    } else {
        cg->failed = true;
    }
}

static void put_pin(struct codegen *cg, irv v, unsigned pin) {
    struct value *val = &cg->v[v];
    if (val->reg == pin)
        return;
    clear_pin(cg, pin, v);
    if (cg->held >> pin & 1) { /* a check needs what is there */
        unsigned t = scratch(cg, XMM_CLASS);
        copy_reg(cg, t, pin);
        held_renamed(cg, pin, t);
    }
    if (val->reg == NO_REG) {
        load_value(cg, v, pin);
        attach(cg, v, pin);
        if (val->dirty)
            clean(cg, v);
        return;
    }
    unsigned reg = val->reg;
    if (val->dirty == 8) /* the copy cleans */
        asm_vex_rr(&cg->a, ASM_OP(2, 1, 0x7e), xmm(pin), 0, xmm(reg));
    else if (val->dirty)
        asm_vex_rri(&cg->a, ASM_OP(1, 3, 0x21), xmm(pin), xmm(reg), xmm(reg), 0x0e);
    else
        copy_reg(cg, pin, reg);
    if (cg->unchecked >> reg & 1)
        held_renamed(cg, reg, pin);
    if (!(cg->pins >> reg & 1)) { /* later uses read the pin; the temporary is free */
        for (irv x = cg->reg_head[reg], next; x; x = next) {
            next = cg->v[x].reg_next;
            detach(cg, x);
            attach(cg, x, pin);
            if (cg->v[x].dirty) {
                cg->v[x].dirty = 0;
                free_slot(cg, x);
            }
        }
    }
}

/* PUT of a part of a pinned register: through its home. */
static void put_part(struct codegen *cg, const struct ir_inst *in, unsigned pin) {
    struct asm_mem home = cpu_mem((size_t)cg->pin_offset[pin]);
    unsigned reg = use(cg, in->a), at = (unsigned)in->imm - (unsigned)cg->pin_offset[pin];
    clear_pin(cg, pin, 0);
    if (is_xmm(pin) && in->type != IR_V128) {
        unsigned bytes = type_bytes(inst_of(cg, in->a)->type);
        asm_vex_rri(&cg->a, ASM_OP(1, 3, 0x22) | (bytes == 8 ? ASM_W : 0), xmm(pin), xmm(pin), reg, at / bytes);
        return;
    }
    asm_mov_mr(&cg->a, true, home, pin);
    asm_mov_mr(&cg->a, false, cpu_mem(in->imm), reg);
    asm_mov_rm(&cg->a, true, pin, home);
}

static void put_memory(struct codegen *cg, const struct ir_inst *in) {
    irv v = in->a;
    unsigned type = inst_of(cg, v)->type;
    int32_t imm;
    home_forget(cg, (int32_t)in->imm, type_bytes(type));
    if (type == IR_V128) {
        asm_vmov_mr(&cg->a, cpu_mem(in->imm), use_x(cg, v));
    } else if (cg->v[v].reg == NO_REG && const_imm32(cg, v, type == IR_I64, &imm)) {
        asm_mov_mi(&cg->a, type == IR_I64, cpu_mem(in->imm), imm);
        return;
    } else {
        asm_mov_mr(&cg->a, type == IR_I64, cpu_mem(in->imm), use(cg, v));
    }
    if (cg->v[v].home < 0)
        home_add(cg, v, (int32_t)in->imm);
}
void emit_PUT(struct codegen *cg, const struct ir_inst *in) {
    unsigned pin = pin_at(cg, in->imm), type = inst_of(cg, in->a)->type;
    if (type == IR_FLAGS)
        flags_put(cg, in->a, (int32_t)in->imm);
    else if (pin == NO_REG)
        put_memory(cg, in);
    else if ((int32_t)in->imm == cg->pin_offset[pin] && type == (is_xmm(pin) ? IR_V128 : IR_I64))
        put_pin(cg, in->a, pin);
    else if (type != IR_V128)
        put_part(cg, in, pin);
    else
        cg->failed = true;
    done(cg);
}
