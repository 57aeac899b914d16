/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * emit_mem.c: guest memory. An access is the strategy's probe, the host access, and
 * a stub out of line that both a failed probe and a fault go to (mmu.h). Until the
 * host access has completed, the registers of its operands hold them.
 *
 * A probe that covers nearby addresses, or a range, is hoisted: later accesses off the same
 * base reuse its index register. As C code may take the mapping away, each stub renews
 * the hoisted index registers before it returns. Accesses that use the range of another's probe
 * test whether it has been found in one page; if not, their stubs look them up one by
 * one, and do the access themselves: with a copy of its instructions, since the
 * index register goes back to saying so. Where nothing lies between two of them but moves there
 * is no test: the stub of the first one goes on with that of the second one, instead of going back.
 */
#include "dbt/x86/backend.h"

#define NEARBY 32768
#define MAX_DISP (1 << 17) /* from its base, of an access that reuses an index register: see mmu_ops.nearby() */
#define OP_VMOVD ASM_OP(1, 1, 0x6e) /* xmm <- gpr; ASM_W: 64 bits */

struct access {
    struct asm_mem m;
    struct stub *stub;
    bool vector;   /* the value is in an XMM register */
    unsigned free; /* a temporary that the probe no longer needs, NO_REG if there was no probe */
};

static int32_t disp_of(const struct ir_inst *in) { return in->op == IR_LD || in->op == IR_ST ? (int32_t)in->imm : 0; }

/* A likely value of v: what it would be if executed now. 0 if unknown. */
static uint64_t likely_value(const struct codegen *cg, irv v, unsigned depth) {
    const struct ir_inst *in = inst_of(cg, v);
    uint64_t x, y;
    switch (in->op) {
    case IR_CONST:
    case IR_PC: return in->imm;
    case IR_GET:
        if (in->type != IR_I64 || in->imm > ABI_CPU_BYTES - 8)
            return 0;
        __builtin_memcpy(&x, (const char *)cg->cpu + in->imm, 8);
        return x;
    case IR_ADD:
    case IR_SUB:
        if (!depth)
            return 0;
        x = likely_value(cg, in->a, depth - 1);
        y = likely_value(cg, in->b, depth - 1);
        return !x ? 0 : in->op == IR_ADD ? x + y : x - y;
    default: return 0;
    }
}

/* --- hoisting --------------------------------------------------------------------------------- */
static bool covers(const struct hoist *h, const struct ir_inst *in, int64_t offset) {
    if (h->range)
        return offset >= h->low && offset + (1 << in->lane) <= h->high && (h->write || in->op == IR_LD);
    return offset - h->at > -NEARBY && offset - h->at < NEARBY && disp_of(in) <= MAX_DISP && disp_of(in) >= -MAX_DISP;
}
static struct hoist *find_hoist(struct codegen *cg, const struct ir_inst *in) {
    int64_t offset;
    irv root = address_root(cg, in, &offset);
    for (unsigned i = 0; i < MAX_HOISTS; i++) {
        struct hoist *h = &cg->hoist[i];
        if (h->root == root && h->regime == in->cc && covers(h, in, offset))
            return cg->mmu->apart && cg->mmu->apart(cg->cpu, cg->pc) ? NULL : h;
    }
    return NULL;
}
static void add_hoist(struct codegen *cg, const struct ir_inst *in, unsigned index, const struct stub *s, bool range) {
    const struct group *g = &cg->group[cg->at];
    unsigned n = cg->hoist_next;
    if (range && !g->more)
        return;
    for (unsigned i = 0; i < MAX_HOISTS; i++)
        n = cg->hoist[i].root ? n : i;
    struct hoist *h = &cg->hoist[n];
    cg->hoist_next = (n + 1) % MAX_HOISTS;
    h->root = address_root(cg, in, &h->at);
    h->base = in->a;
    h->regime = in->cc;
    h->index = (uint8_t)index;
    h->stub = (uint16_t)(s - cg->stub);
    h->site = s->site;
    h->range = range;
    if (range) {
        h->write = g->write;
        h->left = g->more;
        h->low = h->at + g->low;
        h->high = h->at + g->high;
    }
}
/* What the probe's retry has to find in one page. */
static void widen(struct codegen *cg, const struct hoist *h, const struct ir_inst *in) {
    struct stub *s = &cg->stub[h->stub];
    int64_t offset;
    address_root(cg, in, &offset);
    const int32_t from = s->rec.disp + (int32_t)(offset - h->at), to = from + (1 << in->lane);
    s->low = from < s->low ? from : s->low;
    s->high = to > s->high ? to : s->high;
    s->write |= in->op != IR_LD;
}
/* An access that needs no probe. */
static void use_hoist(struct codegen *cg, struct hoist *h, const struct ir_inst *in, struct access *acc) {
    struct stub *s = acc->stub;
    acc->m = asm_mem_index(s->rec.base, h->index == MMU_NO_INDEX ? ASM_NOREG : h->index, 0, s->rec.disp);
    if (h->index != MMU_NO_INDEX)
        cg->locked |= BIT(h->index);
    if (h->range) {
        s->hoisted = true;
        s->faults = cg->stub[h->stub].faults;
        s->hot = cg->stub[h->stub].hot;
        s->site = s->faults ? h->site : 0;
        s->tmp0 = h->index;
        cg->stub[h->stub].shared = true;
        if (!--h->left)
            h->root = 0;
        return;
    }
    if (cg->next_use[cg->at][0])
        h->base = in->a;
    s->site = h->site;
    widen(cg, h, in);
    s->rec.desc |= MMU_DESC_HOISTED;
    cg->stub[h->stub].rec.desc |= MMU_DESC_NEARBY;
}
/* The hoisted bases that the stub renews. One whose base is in no register any more ends here. */
static void note_hoists(struct codegen *cg, struct stub *s) {
    for (unsigned i = 0; i < MAX_HOISTS; i++) {
        struct hoist *h = &cg->hoist[i];
        if (!h->root)
            continue;
        const struct value *base = &cg->v[h->base];
        if (h->range) {
            s->rec.hoist[s->rec.hoists].base = NO_REG;
            s->rec.hoist[s->rec.hoists++].index = h->index;
        } else if (!base->next_use || base->reg == NO_REG) {
            h->root = 0;
        } else if (h->index != MMU_NO_INDEX) {
            s->rec.hoist[s->rec.hoists].base = base->reg;
            s->rec.hoist[s->rec.hoists].regime = h->regime;
            s->rec.hoist[s->rec.hoists++].index = h->index;
        }
    }
}

/* --- the access ------------------------------------------------------------------------------- */
static bool must_align(const struct ir_inst *in) {
    return (in->flags & IR_MEM_ALIGN) != 0 || in->op >= IR_ATOMIC; /* these must not be split */
}

static void set_group(const struct codegen *cg, const struct ir_inst *in, struct stub *s) {
    const struct group *g = &cg->group[cg->at];
    bool alone = s->align || !cg->mmu->emit_find || !g->more;
    s->low = s->rec.disp + (alone ? 0 : g->low);
    s->high = s->rec.disp + (alone ? 1 << in->lane : g->high);
    s->write = s->rec.kind != STUB_LD || (!alone && g->write);
}

/* An access that goes where the guest's address says: it takes no register from anyone. */
static bool bare(struct codegen *cg, struct access *acc) {
    struct stub *s = acc->stub;
    if (s->align || !cg->mmu->no_probe)
        return false;
    struct mmu_probe p = stub_group_probe(cg, s);
    p.pc = cg->pc;
    if (!cg->mmu->no_probe(cg->cpu, &p))
        return false;
    cg->mmu->emit_probe(&cg->a, cg->cpu, &p);
    s->access = asm_pos(&cg->a);
    acc->m = asm_mem(p.base, p.disp);
    return true;
}

static void probe(struct codegen *cg, const struct ir_inst *in, struct access *acc) {
    struct stub *s = acc->stub;
    s->align = must_align(in);
    if (bare(cg, acc))
        return;
    s->tmp0 = (uint8_t)scratch(cg, GPR_CLASS);
    s->tmp1 = (uint8_t)scratch(cg, GPR_CLASS);
    set_group(cg, in, s);
    struct mmu_probe p = stub_group_probe(cg, s);
    p.pc = cg->pc;
    p.hint = cg->mmu->wants_hint ? likely_value(cg, in->a, 4) : 0;
    p.slow = &s->slow;
    if (!p.current) {
        p.tmp2 = (uint8_t)scratch(cg, GPR_CLASS);
        cg->locked &= ~BIT(p.tmp2);
    }
    cg->mmu->emit_probe(&cg->a, cg->cpu, &p);
    s->site = p.site;
    s->slot = p.slot;
    if (p.covers_range) {
        s->find = cg->mmu->emit_find != NULL;
        s->faults = p.faults;
        s->hot = p.hot;
    } else {
        s->retry = cg->mmu->emit_retry && (!cg->ring3 || cg->mmu->needs_ring3) && !p.align && p.index == p.tmp1 &&
                   (p.current || (cg->mmu->retries_other && !p.regime));
    }
    s->access = asm_pos(&cg->a);
    acc->m = asm_mem_index(p.base, p.index == MMU_NO_INDEX ? ASM_NOREG : p.index, 0, p.disp);
    acc->free = p.index == p.tmp0 ? p.tmp1 : p.tmp0;
    if (p.covers_nearby || (s->find && !s->align))
        add_hoist(cg, in, p.index, s, s->find);
}

/* A steady access in a span. */
static void use_span(struct codegen *cg, const struct steady_address *at, struct access *acc) {
    emit_count(cg, ABI_STAT_checks_none);
    acc->stub->sure = true;
    acc->m = span_mem(cg, at, acc->stub->rec.base, acc->stub->rec.disp);
}

/* A steady access: its address is in the place, or it faults. Where the place has no register of its own, the index is
 * hoisted like one from a probe. */
static void use_place(struct codegen *cg, const struct ir_inst *in, const struct steady_address *at,
                      struct access *acc) {
    const struct steady_place *place = &cg->steady.place[at->place];
    struct stub *s = acc->stub;
    unsigned index = place->reg;
    s->site = steady_site(cg);
    if (index == NO_REG) {
        index = scratch(cg, GPR_CLASS);
        steady_index(cg, at->place, index);
        add_hoist(cg, in, index, s, false);
    }
    emit_count(cg, ABI_STAT_checks_none);
    acc->m = asm_mem_index(s->rec.base, index, 0, s->rec.disp);
}

/* Starts an access. EFLAGS are free, the operands in use. */
static void begin(struct codegen *cg, const struct ir_inst *in, enum stub_kind kind, struct access *acc) {
    struct stub *s = stub_new(cg, kind);
    acc->stub = s;
    acc->vector = false;
    acc->free = NO_REG;
    s->rec.base = (uint8_t)use(cg, in->a);
    s->rec.disp = disp_of(in);
    s->rec.pc = cg->pc;
    s->rec.desc = MMU_DESC(in->lane, in->cc, in->flags) | (in->op == IR_ATOMIC ? (uint32_t)in->n << 16 : 0);
    const struct steady_address *at = steady_here(cg);
    if (at && cg->steady.spans) {
        use_span(cg, at, acc);
        return;
    }
    s->placed = at != NULL;
    struct hoist *h = must_align(in) || (at && cg->steady.place[at->place].reg != NO_REG) ? NULL : find_hoist(cg, in);
    if (h)
        use_hoist(cg, h, in, acc);
    else if (at)
        use_place(cg, in, at, acc);
    else
        probe(cg, in, acc);
    if (!cg->steady.on)
        steady_note(cg, s->site);
}
#define MAX_GAP 40 /* bytes: see asm_data() */
/* Has nothing been emitted since the last access but moves of registers and of the state, which may be done elsewhere,
 * too? */
static bool only_moves(const struct codegen *cg) {
    if (cg->a.notes != cg->access_notes || cg->access_at > cg->at)
        return false;
    for (unsigned i = cg->access_at; i <= cg->at; i++) {
        const struct ir_inst *in = &cg->b->inst[i];
        const bool moves = in->op == IR_NOP || in->op == IR_INSN || in->op == IR_CONST || in->op == IR_GET ||
                           in->op == IR_LD || in->op == IR_ST || in->op == IR_PUT;
        if (!moves || inst_of(cg, in->a)->op == IR_VCONST || inst_of(cg, in->b)->op == IR_VCONST)
            return false;
    }
    return true;
}
/* Is it next after the one that the range was looked up for, or after another one in that? Then it is only come to with
 * an index register that is right: else that one's stub goes on with this one's. */
static bool follows(struct codegen *cg, struct stub *s) {
    struct stub *last = s - 1;
    if (s == cg->stub || last->tmp0 != s->tmp0 || !(last->hoisted || last->shared) ||
        asm_pos(&cg->a) - last->back > MAX_GAP || !only_moves(cg))
        return false;
    last->followed = true;
    s->gap = (uint8_t)(asm_pos(&cg->a) - last->back);
    return true;
}
/* The access itself is next, and nothing is emitted in between: the slow path comes back behind it. */
static void now(struct codegen *cg, const struct access *acc) {
    struct stub *s = acc->stub;
    if (s->hoisted) {
        if (!follows(cg, s)) {
            asm_test_ri(&cg->a, false, s->tmp0, MMU_NO_ADDEND);
            asm_jcc(&cg->a, ASM_NE, &s->slow);
        }
        s->access = asm_pos(&cg->a);
    }
    if (s->faults || (!s->find && !s->hoisted && !s->sure))
        stub_fault(cg, s);
}
/* Ends it: after done() and def(); dst is the result's register, or NO_REG. */
static void end(struct codegen *cg, struct access *acc, unsigned dst) {
    acc->stub->rec.dst = (uint8_t)dst;
    acc->stub->vector = ((cg->busy | cg->held) & cg->xmm_temps) || (dst != NO_REG && dst >= 16) || acc->vector;
    if (!acc->stub->sure)
        note_hoists(cg, acc->stub);
    fp_note(cg, acc->stub);
    acc->stub->back = asm_pos(&cg->a);
    cg->access_at = cg->at;
    cg->access_notes = cg->a.notes;
}

static void load_vector(struct codegen *cg, struct access *acc, unsigned size, unsigned x) {
    struct asm_buf *a = &cg->a;
    static const uint32_t op[5] = {0, 0, ASM_OP(1, 1, 0x6e), ASM_OP(2, 1, 0x7e), ASM_OP(2, 1, 0x6f)};
    if (size >= 2) {
        now(cg, acc);
        asm_vex_rm(a, op[size], x, 0, acc->m);
    } else {
        unsigned t = acc->free != NO_REG ? acc->free : scratch(cg, GPR_CLASS);
        now(cg, acc);
        asm_load(a, size, false, false, t, acc->m);
        asm_vex_rr(a, OP_VMOVD, x, 0, t);
    }
}
void emit_LD(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    use(cg, in->a);
    if (in->type == IR_V128) /* the slow path passes by what def() spills */
        cg->locked &= ~BIT(scratch(cg, XMM_CLASS));
    struct access acc;
    begin(cg, in, STUB_LD, &acc);
    unsigned d;
    if (in->type == IR_V128) {
        done(cg);
        d = def(cg, NO_REG);
        load_vector(cg, &acc, in->lane, xmm(d));
    } else {
        bool sext = (in->flags & IR_MEM_SEXT) != 0;
        acc.stub->rec.flags = (sext ? SLOW_SEXT : 0) | (is_wide(in) ? 0 : SLOW_32);
        done(cg);
        d = def(cg, acc.free);
        now(cg, &acc);
        asm_load(&cg->a, in->lane, sext, is_wide(in), d, acc.m);
    }
    end(cg, &acc, d);
}

static void store_vector(struct codegen *cg, struct access *acc, unsigned size, unsigned x) {
    struct asm_buf *a = &cg->a;
    now(cg, acc);
    switch (size) {
    case 0: asm_vex_rmi(a, ASM_OP(1, 3, 0x14), x, 0, acc->m, 0); break;
    case 1: asm_vex_rmi(a, ASM_OP(1, 3, 0x15), x, 0, acc->m, 0); break;
    case 2: asm_vex_rm(a, ASM_OP(1, 1, 0x7e), x, 0, acc->m); break;
    case 3: asm_vex_rm(a, ASM_OP(1, 1, 0xd6), x, 0, acc->m); break;
    default: asm_vex_rm(a, ASM_OP(2, 1, 0x7f), x, 0, acc->m); break;
    }
}
/* xchg: a full barrier, which keeps a later load-acquire behind a store-release. Only another vCPU could tell. */
static void exchange(struct codegen *cg, struct access *acc, unsigned size, unsigned reg) {
    struct asm_buf *a = &cg->a;
    now(cg, acc);
    if (size == 0)
        asm_op_m8(a, ASM_OP(0, 0, 0x86), reg, acc->m);
    else
        asm_op_rm(a, ASM_OP(size == 1, 0, 0x87), size == 3, reg, acc->m, 0);
}
void emit_ST(struct codegen *cg, const struct ir_inst *in) {
    bool vec = inst_of(cg, in->b)->type == IR_V128, release = (in->flags & IR_MEM_RELEASE) != 0 && !vec && !cg->alone;
    int32_t imm;
    flags_clobber(cg);
    bool has_imm =
        !vec && !release && in->lane >= 2 && cg->v[in->b].reg == NO_REG && const_imm32(cg, in->b, in->lane == 3, &imm);
    unsigned value = has_imm ? NO_REG : vec ? use_low(cg, in->b, 1u << in->lane) : use(cg, in->b);
    use(cg, in->a);
    struct access acc;
    begin(cg, in, STUB_ST, &acc);
    acc.stub->rec.value = (uint8_t)value;
    acc.vector = vec;
    if (has_imm) {
        acc.stub->rec.imm = imm;
        now(cg, &acc);
        asm_mov_mi(&cg->a, in->lane == 3, acc.m, imm);
    } else if (vec) {
        store_vector(cg, &acc, in->lane, xmm(value));
    } else if (release) {
        unsigned t = acc.free != NO_REG ? acc.free : scratch(cg, GPR_CLASS);
        asm_mov_rr(&cg->a, true, t, value);
        exchange(cg, &acc, in->lane, t);
    } else {
        now(cg, &acc);
        asm_store(&cg->a, in->lane, acc.m, value);
    }
    done(cg);
    end(cg, &acc, NO_REG);
}

/* --- atomic operations ------------------------------------------------------------------------ */
static void lock_rm(struct codegen *cg, struct access *acc, unsigned size, unsigned opcode8, unsigned map,
                    unsigned reg) {
    struct asm_buf *a = &cg->a;
    now(cg, acc);
    if (!cg->alone)
        asm_lock(a);
    if (size == 0)
        asm_op_m8(a, ASM_OP(0, map, opcode8), reg, acc->m);
    else
        asm_op_rm(a, ASM_OP(size == 1, map, opcode8 + 1), size == 3, reg, acc->m, 0);
}
/* t = the new value from the old one in RAX and the operand. */
static void atomic_new(struct codegen *cg, const struct ir_inst *in, unsigned t, unsigned value) {
    static const uint8_t cc[] = {
        [IR_ATOMIC_SMAX] = ASM_G, [IR_ATOMIC_SMIN] = ASM_L, [IR_ATOMIC_UMAX] = ASM_A, [IR_ATOMIC_UMIN] = ASM_B};
    struct asm_buf *a = &cg->a;
    switch (in->n) {
    case IR_ATOMIC_CLR: asm_vex_rr(a, ASM_OP(0, 2, 0xf2) | ASM_W, t, value, ASM_RAX); break;
    case IR_ATOMIC_XOR:
    case IR_ATOMIC_OR:
        asm_mov_rr(a, true, t, value);
        asm_alu_rr(a, in->n == IR_ATOMIC_OR ? ASM_OR : ASM_XOR, true, t, ASM_RAX);
        break;
    default:
        asm_mov_rr(a, true, t, value);
        if (in->lane == 0)
            asm_op_rr8(a, ASM_OP(0, 0, 0x38), t, ASM_RAX);
        else
            asm_op_rr(a, ASM_OP(in->lane == 1, 0, 0x39), in->lane == 3, t, ASM_RAX);
        asm_cmov(a, cc[in->n], true, t, ASM_RAX);
        break;
    }
}
static void atomic_finish(struct codegen *cg, struct access *acc, const struct ir_inst *in, unsigned from) {
    done(cg);
    unsigned d = def(cg, from);
    if (in->lane < 2)
        asm_ext_rr(&cg->a, in->lane, false, false, d, from);
    else if (d != from)
        asm_mov_rr(&cg->a, in->lane == 3, d, from);
    else if (in->lane == 2 && from == ASM_RAX)
        asm_mov_rr(&cg->a, false, d, from);
    end(cg, acc, d);
}
void emit_ATOMIC(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    unsigned size = in->lane;
    bool simple = in->n == IR_ATOMIC_ADD || in->n == IR_ATOMIC_SWP;
    bool unused = !cg->v[cg->at].next_use && in->n >= IR_ATOMIC_CLR && in->n <= IR_ATOMIC_OR;
    flags_clobber(cg);
    if (!simple && !unused)
        take(cg, ASM_RAX);
    unsigned value = use(cg, in->b);
    use(cg, in->a);
    struct access acc;
    begin(cg, in, STUB_ATOMIC, &acc);
    acc.stub->rec.value = (uint8_t)value;
    unsigned t = acc.free != NO_REG ? acc.free : scratch(cg, GPR_CLASS);
    if (simple) {
        asm_mov_rr(a, true, t, value);
        if (in->n == IR_ATOMIC_SWP)
            exchange(cg, &acc, size, t);
        else
            lock_rm(cg, &acc, size, 0xc0, 1, t);
        atomic_finish(cg, &acc, in, t);
        return;
    }
    if (unused) {
        asm_mov_rr(a, true, t, value);
        if (in->n == IR_ATOMIC_CLR)
            asm_not(a, true, t);
        lock_rm(cg, &acc, size, in->n == IR_ATOMIC_CLR ? 0x20 : in->n == IR_ATOMIC_XOR ? 0x30 : 0x08, 0, t);
        done(cg);
        end(cg, &acc, NO_REG);
        return;
    }
    struct asm_label again = {0};
    now(cg, &acc);
    asm_load(a, size, false, false, ASM_RAX, acc.m);
    asm_bind(a, &again);
    atomic_new(cg, in, t, value);
    lock_rm(cg, &acc, size, 0xb0, 1, t);
    asm_jcc(a, ASM_NE, &again);
    atomic_finish(cg, &acc, in, ASM_RAX);
}
void emit_CAS(struct codegen *cg, const struct ir_inst *in) {
    flags_clobber(cg);
    use_as(cg, in->b, ASM_RAX);
    unsigned value = use(cg, in->c);
    use(cg, in->a);
    struct access acc;
    begin(cg, in, STUB_CAS, &acc);
    acc.stub->rec.value = ASM_RAX;
    acc.stub->rec.value2 = (uint8_t)value;
    lock_rm(cg, &acc, in->lane, 0xb0, 1, value);
    atomic_finish(cg, &acc, in, ASM_RAX);
}
void emit_STX(struct codegen *cg, const struct ir_inst *in) {
    struct asm_buf *a = &cg->a;
    struct asm_label out = {0};
    flags_clobber(cg);
    home_forget(cg, (int32_t)offsetof(struct cpu, excl_addr), 8);
    cg->locked = 0;
    take(cg, ASM_RAX);
    unsigned value = use(cg, in->b), base = use(cg, in->a);
    drop_hoists(cg); /* the probe below is not always executed */
    unsigned t0 = scratch(cg, GPR_CLASS), t1 = scratch(cg, GPR_CLASS);
    cg->locked &= ~(BIT(t0) | BIT(t1)); /* it will find these two free and spill nothing */
    asm_mov_ri32(a, ASM_RAX, 1);
    asm_alu_rm(a, ASM_CMP, true, base, CPU_FIELD(excl_addr));
    asm_jcc(a, ASM_NE, &out);
    struct access acc;
    begin(cg, in, STUB_STX, &acc);
    drop_hoists(cg);
    acc.stub->rec.value2 = (uint8_t)value;
    asm_mov_rm(a, true, ASM_RAX, CPU_FIELD(excl_val));
    lock_rm(cg, &acc, in->lane, 0xb0, 1, value);
    asm_setcc(a, ASM_NE, ASM_RAX);
    asm_ext_rr(a, 0, false, false, ASM_RAX, ASM_RAX);
    asm_bind(a, &out);
    asm_mov_mi(a, true, CPU_FIELD(excl_addr), -1);
    done(cg);
    def_in(cg, (irv)cg->at, ASM_RAX);
    end(cg, &acc, ASM_RAX);
}
void emit_FENCE(struct codegen *cg, const struct ir_inst *in) {
    if (in->n == IR_FENCE_FULL) { /* the other kinds are x86's usual order */
        flags_clobber(cg);
        asm_lock(&cg->a);
        asm_alu_mi(&cg->a, ASM_OR, false, FRAME_FIELD(rounds), 0);
    }
}
