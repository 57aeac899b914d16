/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* soft_probe.c: what emitted code does before an access under the strategy `soft`: see soft.c. */
#include "dbt/mmu/mmu_emit.h"
#include "dbt/mmu/soft.h"

#define VIEW_DISP(field) ((int32_t)(sizeof(struct view) + offsetof(struct soft_view, field)))
#define SLOT_DISP(n, field)                                                                                            \
    (VIEW_DISP(slot) + (int32_t)((n) * sizeof(struct soft_slot) + offsetof(struct soft_slot, field)))
#define OP_JAE 0x83 /* its second byte */
/* The jump of a probe with a slot follows the comparison with the slot's room. */
struct soft_slot *soft_slot_at(const struct cpu *cpu, struct soft_view *s, const uint8_t *site) {
    int32_t disp;
    if (site[1] != OP_JAE)
        return NULL;
    memcpy(&disp, site - sizeof(disp), sizeof(disp));
    return &s->slot[(uint32_t)(disp - cpu->view_disp - SLOT_DISP(0, room)) / sizeof(struct soft_slot)];
}

/* --- emitted code ----------------------------------------------------------------------------- */
enum { OP_SUB = 0x2b, OP_MOV = 0x8b, OP_LEA = 0x8d };
#define FIRST_DISP(field) (VIEW_DISP(first) + (int32_t)offsetof(struct soft_first, field))
#define FIRST_PAGE(access) (FIRST_DISP(page) + 8 * (int32_t)(access))
#define FIRST_INDEX_SHIFT (PAGE_SHIFT - FIRST_SHIFT)
#define FIRST_INDEX_MASK ((int32_t)((FIRST_SETS - 1) << FIRST_SHIFT))
#define INDEX_SHIFT (PAGE_SHIFT - SOFT_ENTRY_SHIFT)
#define INDEX_MASK ((int32_t)((SOFT_SETS - 1) << SOFT_ENTRY_SHIFT))
#define TAG_DISP(access) ((int32_t)(offsetof(struct soft_entry, tag) + 8 * (size_t)(access)))

/* A field of the current view; nobody rewrites these instructions, so they are as short as can be. */
static struct asm_mem view_mem(const struct asm_buf *a, int32_t disp) {
    return a->view_disp ? asm_mem(ASM_RBP, a->view_disp + disp) : asm_mem_view(disp);
}

/* --- the same by asm_line(): they are emitted for each access. t0, t1: temporaries, which are below 8 --- */
/* op t, [base + disp], of 64 bits */
static inline uint8_t *put_rm(uint8_t *p, unsigned op, unsigned t, unsigned base, int32_t disp) {
    unsigned n;
    uint64_t bits = asm_base_form(op, 8, t, base, disp, &n);
    return asm_put(p, bits, n);
}
/* op t, [the current view + index + disp], of 64 bits */
static inline uint8_t *put_first(const struct asm_buf *a, uint8_t *p, unsigned op, unsigned t, unsigned index,
                                 int32_t disp) {
    if (a->view_disp) /* [rbp + index + disp32] */
        return asm_put(p,
                       0x48 | op << 8 | (0x84 | t << 3) << 16 | (index << 3 | 5) << 24 |
                           (uint64_t)(uint32_t)(a->view_disp + disp) << 32,
                       8);
    return asm_put(p, 0x4865 | op << 16 | (0x80 | t << 3 | index) << 24 | (uint64_t)(uint32_t)disp << 32, 8); /* gs: */
}
/* t = base + disp */
static inline uint8_t *put_address(uint8_t *p, unsigned t, unsigned base, int32_t disp) {
    if (disp)
        return put_rm(p, OP_LEA, t, base, disp);
    return asm_put(p, 0x48u | base >> 3 | OP_MOV << 8 | (0xc0 | t << 3 | (base & 7)) << 16, t == base ? 0 : 3);
}
/* index = what is in a first table in front of the entry for the page of t */
static inline uint8_t *put_index(uint8_t *p, unsigned index, unsigned t) {
    p = asm_put(p, 0xf07be3c4u | (uint64_t)(0xc0 | index << 3 | t) << 32 | (uint64_t)FIRST_INDEX_SHIFT << 40, 6);
    return asm_put(p, 0xe081 | index << 8 | (uint64_t)FIRST_INDEX_MASK << 16, 6); /* rorx, and */
}
/* Compares an offset with the last one in its page that a probe may go on from. */
static inline uint8_t *put_in_page(uint8_t *p, unsigned t, const struct mmu_probe *of) {
    return asm_put(p, 0xf88148 | t << 16 | (uint64_t)(PAGE_SIZE - (uint64_t)(of->high - of->low)) << 24, 7);
}

/* reg = base + disp */
static void emit_address(struct asm_buf *a, unsigned reg, unsigned base, int32_t disp) {
    if (disp)
        asm_lea(a, true, reg, asm_mem(base, disp));
    else if (reg != base)
        asm_mov_rr(a, true, reg, base);
}
static void emit_align(struct asm_buf *a, const struct mmu_probe *p) {
    int32_t low = (1 << p->size) - 1;
    if (!p->align || !low)
        return;
    emit_address(a, p->tmp0, p->base, p->disp);
    asm_test_ri(a, false, p->tmp0, low);
    asm_jcc(a, ASM_NE, p->slow);
}

/* A slot + 1 for the probe, or 0: it is none of hot code, or its pages change too often. */
static unsigned slot_for(struct cpu *cpu, const struct mmu_probe *p) {
    struct soft_state *st = soft_state_of(cpu);
    bool is_long = p->high - p->low > SHORT_BYTES;
    if (!engine_of(cpu)->hot || !p->current || p->high - p->low > LONG_BYTES || soft_wanders(st, p->pc))
        return 0;
    STAT(cpu, slots_given)++;
    unsigned count = is_long ? SLOTS_LONG : SLOTS_SHORT, n = st->next_slot[is_long][p->write]++ % count;
    return 1 + (is_long ? 2 * SLOTS_SHORT : 0) + p->write * count + n;
}

static bool slot_is_long(unsigned n) { return n >= 2 * SLOTS_SHORT; }
static bool slot_writes(unsigned n) { return slot_is_long(n) ? n >= 2 * SLOTS_SHORT + SLOTS_LONG : n >= SLOTS_SHORT; }

static void emit_slot_probe(struct asm_buf *a, struct mmu_probe *p) {
    unsigned n = p->slot - 1;
    emit_address(a, p->tmp1, p->base, p->low);
    asm_alu_rm(a, ASM_SUB, true, p->tmp1, view_mem(a, SLOT_DISP(n, page)));
    asm_alu_rm(a, ASM_CMP, true, p->tmp1, view_mem(a, SLOT_DISP(n, room)));
    p->site = asm_pos(a);
    asm_jcc(a, ASM_AE, p->slow);
    asm_mov_rm(a, true, p->tmp0, view_mem(a, SLOT_DISP(n, addend)));
}
/* tmp0 is the addend for the page of base + low. */
static void emit_slot_fill(struct asm_buf *a, const struct mmu_probe *p) {
    unsigned n = p->slot - 1;
    asm_mov_mr(a, true, view_mem(a, SLOT_DISP(n, addend)), p->tmp0);
    emit_address(a, p->tmp1, p->base, p->low);
    asm_alu_ri(a, ASM_AND, true, p->tmp1, ~(int32_t)PAGE_MASK);
    asm_alu_rm(a, ASM_SUB, true, p->tmp1, view_mem(a, SLOT_DISP(n, page)));
    asm_alu_mr(a, ASM_ADD, true, view_mem(a, SLOT_DISP(n, page)), p->tmp1);
    asm_alu_ri(a, ASM_ADD, true, p->tmp1, (int32_t)PAGE_SIZE);
    asm_alu_ri(a, ASM_CMP, true, p->tmp1, 2 * (int32_t)PAGE_SIZE);
    uint32_t wandered = asm_jcc_short(a, ASM_A);
    asm_alu_mi(a, ASM_ADD, false, view_mem(a, VIEW_DISP(budget)), SLOT_WANDER - 1);
    asm_bind_short(a, wandered);
    asm_mov_mi(a, true, view_mem(a, SLOT_DISP(n, room)),
               (int32_t)PAGE_SIZE + 1 - (slot_is_long(n) ? LONG_BYTES : SHORT_BYTES));
    asm_mov_mi(a, false, view_mem(a, VIEW_DISP(slots_used)), 1);
}

/* Up to the comparison: the offset of base + low in the entry's page. Not in that page, or its last byte is not: it is
 * not looked for where it could be. */
static void emit_current(struct asm_buf *a, const struct mmu_probe *p) {
    const unsigned t0 = p->tmp0 & 7, t1 = p->tmp1 & 7;
    uint8_t *at = put_index(put_address(asm_line(a), t1, p->base, p->low), t0, t1);
    at = put_first(a, at, OP_SUB, t1, t0, FIRST_PAGE(p->write));
    asm_line_end(a, put_in_page(at, t1, p));
}
static void emit_other(struct asm_buf *a, const struct mmu_probe *p) {
    const unsigned t0 = p->tmp0 & 7, t1 = p->tmp1 & 7, t2 = p->tmp2 & 7;
    asm_line_end(a, put_index(put_address(asm_line(a), t1, p->base, p->low), t2, t1));
    asm_mov_rm(a, true, t0, mmu_views_mem(p->regime));
    asm_alu_rr(a, ASM_ADD, true, t0, t2);
    asm_line_end(a, put_in_page(put_rm(asm_line(a), OP_SUB, t1, t0, FIRST_PAGE(p->write)), t1, p));
}

void soft_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    emit_align(a, p);
    p->index = p->tmp0;
    p->covers_range = true;
    p->hot = engine_of(cpu)->hot;
    p->slot = (uint16_t)slot_for(cpu->self, p);
    if (p->slot) {
        emit_slot_probe(a, p);
        mmu_emit_count(a, cpu, ABI_STAT_tlb_hits);
        return;
    }
    if (p->current)
        emit_current(a, p);
    else
        emit_other(a, p);
    p->site = asm_pos(a);
    asm_jcc(a, ASM_A, p->slow);
    mmu_emit_count(a, cpu, ABI_STAT_tlb_hits);
    const unsigned t0 = p->tmp0 & 7;
    if (p->current)
        asm_line_end(a, put_first(a, asm_line(a), OP_MOV, t0, t0, FIRST_DISP(addend)));
    else
        asm_line_end(a, put_rm(asm_line(a), OP_MOV, t0, t0, FIRST_DISP(addend)));
}

/* Thunks, by temporaries, what for and, as views are found in two ways, whose. FIND_ALONE: for one access, which
 * may lie across two pages. */
/* the one regime that code of others looks up out of line: unprivileged accesses of a kernel */
#define FIND_REGIME 0u
enum find_for { FIND_OTHERS, FIND_CURRENT, FIND_SLOT, FIND_ALONE, FIND_ALONE_SLOT, FINDS };
static bool find_budgets(enum find_for what) { return what == FIND_SLOT || what == FIND_ALONE_SLOT; }
static bool find_joins(enum find_for what) { return what == FIND_ALONE || what == FIND_ALONE_SLOT; }
static unsigned thunk_index(enum find_for what, bool write, unsigned t0, unsigned t1) {
    return (unsigned)what << 7 | (unsigned)write << 6 | t0 << 3 | t1;
}
#define FINISH_THUNK (FINDS << 7)
_Static_assert(MMU_THUNKS > FINISH_THUNK, "see thunk_index()");

/* A register that is none of these. */
static unsigned other_than(unsigned x, unsigned y, unsigned z) {
    unsigned reg = ASM_RAX; /* RAX, RCX and RDX are temporaries */
    while (reg == x || reg == y || reg == z)
        reg++;
    return reg;
}

/* Where a thunk finds a view: the current one, or by a register. */
struct view_at {
    bool current;
    unsigned reg;
};
static struct asm_mem of_view(const struct asm_buf *a, struct view_at v, int32_t disp) {
    return v.current ? view_mem(a, disp) : asm_mem(v.reg, disp);
}
static struct asm_mem of_first(const struct asm_buf *a, struct view_at v, unsigned index, int32_t disp) {
    if (!v.current)
        return asm_mem_index(v.reg, index, 0, disp);
    return a->view_disp ? asm_mem_index(ASM_RBP, index, 0, a->view_disp + disp) : asm_mem_view_index(index, 0, disp);
}

/* The entry of the second table at t1, whose tag is in t0, is copied to the first one. t0: its addend. */
static void emit_promote(struct asm_buf *a, struct view_at v, unsigned t0, unsigned t1) {
    const unsigned x = other_than(t0, t1, v.reg);
    asm_push(a, x);
    asm_mov_rr(a, false, x, t0);
    asm_alu_ri(a, ASM_AND, false, x, FIRST_SETS - 1);
    asm_shift_ri(a, ASM_SHL, false, x, FIRST_SHIFT);
    for (unsigned k = MMU_READ; k <= MMU_WRITE; k++) {
        asm_mov_rm(a, true, t0, asm_mem(t1, TAG_DISP(k)));
        asm_shift_ri(a, ASM_SHL, true, t0, PAGE_SHIFT);
        asm_mov_mr(a, true, of_first(a, v, x, FIRST_PAGE(k)), t0);
    }
    asm_mov_rm(a, true, t0, asm_mem(t1, (int32_t)offsetof(struct soft_entry, addend)));
    asm_mov_mr(a, true, of_first(a, v, x, FIRST_DISP(addend)), t0);
    _Static_assert(FIRST_CHUNK << FIRST_SHIFT > SOFT_VIEWS, "a chunk of sets takes more than its row in filled");
    asm_shift_ri(a, ASM_SHR, false, x, FIRST_CHUNK_SHIFT + FIRST_SHIFT - SOFT_VIEWS_SHIFT);
    asm_alu_ri(a, ASM_AND, false, x, -(int32_t)SOFT_VIEWS);
    asm_alu_rm(a, ASM_ADD, true, x, of_view(a, v, VIEW_DISP(filled)));
    asm_op_m8(a, ASM_OP(0, 0, 0xc6), 0, asm_mem(x, 0)); /* mov byte */
    asm_byte(a, 1);
    asm_pop(a, x);
}

/* Looks at the first table. Found: on at hit, with the addend in t0. t1 is destroyed. */
static void emit_look_first(struct asm_buf *a, struct view_at v, bool write, unsigned t0, unsigned t1,
                            struct asm_label *hit) {
    asm_line_end(a, put_index(asm_line(a), t1, t0));
    asm_alu_rm(a, ASM_SUB, true, t0, of_first(a, v, t1, FIRST_PAGE(write)));
    asm_alu_ri(a, ASM_CMP, true, t0, PAGE_MASK);
    uint32_t not = asm_jcc_short(a, ASM_A);
    asm_mov_rm(a, true, t0, of_first(a, v, t1, FIRST_DISP(addend)));
    asm_jmp(a, hit);
    asm_bind_short(a, not);
    asm_alu_rm(a, ASM_ADD, true, t0, of_first(a, v, t1, FIRST_PAGE(write)));
}

/* The bytes from the address in t0 to the one in t1 that are in front of `second`, and from there on. */
static void emit_note_ends(struct asm_buf *a, unsigned second, unsigned t0, unsigned t1) {
    asm_push(a, t1);
    asm_alu_rr(a, ASM_SUB, true, t1, second);
    asm_alu_ri(a, ASM_ADD, true, t1, 1);
    asm_mov_mr(a, true, view_mem(a, VIEW_DISP(end_bytes[1])), t1);
    asm_mov_rr(a, true, t1, second);
    asm_alu_rr(a, ASM_SUB, true, t1, t0);
    asm_mov_mr(a, true, view_mem(a, VIEW_DISP(end_bytes[0])), t1);
    asm_pop(a, t1);
}
/* An access that lies across two pages. t0: the address of its first byte, t1: that ^ the address of its last. If both
 * are in the first table, returns as for one page, with CF set and the addend for the view's seam: to that the ends of
 * the pages have been copied, or from there emit_finish_thunk() will copy what has been stored. Else to miss. */
static void emit_join(struct asm_buf *a, const struct cpu *cpu, bool write, unsigned t0, unsigned t1,
                      struct asm_label *miss) {
    const struct view_at v = {.current = true, .reg = ASM_NOREG};
    const unsigned second = other_than(t0, t1, ASM_NOREG), host = other_than(t0, t1, second);
    struct asm_label first_found = {0}, both_found = {0}, none = {0};
    asm_push(a, second);
    asm_push(a, host);
    asm_alu_rr(a, ASM_XOR, true, t1, t0);
    asm_mov_rr(a, true, second, t1);
    asm_alu_ri(a, ASM_AND, true, second, -(int32_t)PAGE_SIZE);
    if (write)
        emit_note_ends(a, second, t0, t1);
    emit_look_first(a, v, write, t0, t1, &first_found);
    asm_jmp(a, &none);
    asm_bind(a, &first_found);
    asm_mov_rr(a, true, host, t0);
    asm_mov_rr(a, true, t0, second);
    emit_look_first(a, v, write, t0, t1, &both_found);
    asm_bind(a, &none);
    asm_pop(a, host);
    asm_pop(a, second);
    asm_test_rr(a, true, ASM_RSP, ASM_RSP); /* ZF clear */
    asm_jmp(a, miss);
    asm_bind(a, &both_found);
    mmu_emit_count(a, cpu, ABI_STAT_tlb_finds);
    asm_alu_rr(a, ASM_ADD, true, host, second); /* behind the first page, and at the second one */
    asm_alu_rr(a, ASM_ADD, true, t0, second);
    asm_mov_rm(a, true, t1, view_mem(a, VIEW_DISP(seam)));
    if (write) {
        asm_mov_mr(a, true, view_mem(a, VIEW_DISP(end[0])), host);
        asm_mov_mr(a, true, view_mem(a, VIEW_DISP(end[1])), t0);
    }
    for (int32_t i = 0; !write && i < SEAM_BYTES; i += 8) {
        asm_push_m(a, asm_mem(host, i - SEAM_BYTES));
        asm_pop_m(a, asm_mem(t1, i - SEAM_BYTES));
        asm_push_m(a, asm_mem(t0, i));
        asm_pop_m(a, asm_mem(t1, i));
    }
    asm_mov_rr(a, true, t0, t1);
    asm_alu_rr(a, ASM_SUB, true, t0, second);
    asm_pop(a, host);
    asm_pop(a, second);
    asm_alu_rr(a, ASM_CMP, true, t0, t0);
    asm_byte(a, 0xf9); /* stc */
    asm_ret(a);
}

/* What has been stored at the seam goes to where it belongs. Destroys nothing but the flags. */
static void emit_finish_thunk(struct asm_buf *a) {
    static const uint8_t used[] = {ASM_RCX, ASM_RSI, ASM_RDI};
    for (unsigned i = 0; i < ARRAY_LEN(used); i++)
        asm_push(a, used[i]);
    for (unsigned i = 0; i < 2; i++) {
        asm_mov_rm(a, true, ASM_RCX, view_mem(a, VIEW_DISP(end_bytes[i])));
        asm_mov_rm(a, true, ASM_RDI, view_mem(a, VIEW_DISP(end[i])));
        asm_mov_rm(a, true, ASM_RSI, view_mem(a, VIEW_DISP(seam)));
        if (!i) {
            asm_alu_rr(a, ASM_SUB, true, ASM_RDI, ASM_RCX);
            asm_alu_rr(a, ASM_SUB, true, ASM_RSI, ASM_RCX);
        }
        asm_byte(a, 0xf3); /* rep movsb */
        asm_byte(a, 0xa4);
    }
    for (unsigned i = ARRAY_LEN(used); i-- > 0;)
        asm_pop(a, used[i]);
    asm_ret(a);
}

/* t0: the address of the first byte, t1: that of the last. Returns with ZF set, CF clear and the addend in t0, as
 * emit_join(), or with ZF clear. */
static void emit_thunk(struct asm_buf *a, const struct cpu *cpu, enum find_for what, bool write, unsigned t0,
                       unsigned t1) {
    const struct view_at v = {.current = what != FIND_OTHERS, .reg = other_than(t0, t1, ASM_NOREG)};
    struct asm_label hit = {0}, found = {0}, miss = {0}, apart = {0};
    if (find_budgets(what)) {
        asm_alu_mi(a, ASM_SUB, false, view_mem(a, VIEW_DISP(budget)), SLOT_WANDER);
        asm_jcc(a, ASM_S, &miss);
    }
    asm_alu_rr(a, ASM_XOR, true, t1, t0);
    asm_alu_ri(a, ASM_CMP, true, t1, PAGE_MASK);
    asm_jcc(a, ASM_A, find_joins(what) ? &apart : &miss); /* to another page */
    if (!v.current) {
        asm_push(a, v.reg);
        asm_mov_rm(a, true, v.reg, mmu_views_mem(FIND_REGIME));
    }
    emit_look_first(a, v, write, t0, t1, &found);
    asm_mov_rr(a, false, t1, t0);
    asm_shift_ri(a, ASM_SHR, false, t1, INDEX_SHIFT);
    asm_alu_ri(a, ASM_AND, false, t1, INDEX_MASK);
    asm_shift_ri(a, ASM_SHR, true, t0, PAGE_SHIFT);
    asm_alu_rm(a, ASM_ADD, true, t1, of_view(a, v, VIEW_DISP(table)));
    asm_alu_rm(a, ASM_OR, true, t0, of_view(a, v, VIEW_DISP(id)));
    for (unsigned k = 0; k < SOFT_WAYS; k++) {
        if (k)
            asm_alu_ri(a, ASM_ADD, true, t1, (int32_t)sizeof(struct soft_way));
        asm_alu_rm(a, ASM_CMP, true, t0, asm_mem(t1, TAG_DISP(write)));
        asm_jcc(a, ASM_E, &hit);
    }
    if (!v.current)
        asm_pop(a, v.reg);
    asm_bind(a, &miss);
    asm_ret(a);
    asm_bind(a, &hit);
    emit_promote(a, v, t0, t1);
    asm_bind(a, &found);
    mmu_emit_count(a, cpu, ABI_STAT_tlb_finds);
    if (!v.current)
        asm_pop(a, v.reg);
    asm_alu_rr(a, ASM_CMP, true, t0, t0);
    asm_ret(a);
    if (find_joins(what)) {
        asm_bind(a, &apart);
        emit_join(a, cpu, write, t0, t1, &miss);
    }
}

void soft_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk) {
    static const uint8_t temps[] = {ASM_RAX, ASM_RCX, ASM_RDX, ASM_RSI, ASM_RDI};
    thunk[FINISH_THUNK] = a->p;
    emit_finish_thunk(a);
    for (unsigned kind = 0; kind < 2 * FINDS; kind++) {
        for (unsigned i = 0; i < ARRAY_LEN(temps); i++) {
            for (unsigned k = 0; k < ARRAY_LEN(temps); k++) {
                if (i == k)
                    continue;
                thunk[thunk_index((enum find_for)(kind / 2), kind & 1, temps[i], temps[k])] = a->p;
                emit_thunk(a, cpu, (enum find_for)(kind / 2), kind & 1, temps[i], temps[k]);
            }
        }
    }
}

static enum find_for find_for(const struct mmu_probe *p) {
    if (!p->current)
        return FIND_OTHERS;
    if (p->alone)
        return p->slot ? FIND_ALONE_SLOT : FIND_ALONE;
    return p->slot ? FIND_SLOT : FIND_CURRENT;
}

void soft_emit_find(struct asm_buf *a, const uint8_t *const *thunk, struct mmu_probe *p) {
    p->index = p->tmp0;
    if (!p->current && p->regime != FIND_REGIME) {
        asm_jmp(a, p->slow);
        return;
    }
    emit_align(a, p);
    uint8_t *at = put_address(asm_line(a), p->tmp1 & 7, p->base, p->high - 1);
    asm_line_end(a, put_address(at, p->tmp0 & 7, p->base, p->low));
    const enum find_for what = find_for(p);
    asm_call(a, thunk[thunk_index(what, p->write, p->tmp0, p->tmp1)]);
    asm_jcc(a, ASM_NE, p->slow);
    if (!p->slot ||
        (!p->write && slot_writes(p->slot - 1u))) /* a load alone does not tell where its group's stores may */
        return;
    const uint32_t joined = find_joins(what) ? asm_jcc_short(a, ASM_B) : 0;
    emit_slot_fill(a, p);
    if (joined) {
        asm_byte(a, 0xf8); /* clc */
        asm_bind_short(a, joined);
    }
}

/* If CF says so. */
void soft_emit_finish(struct asm_buf *a, const uint8_t *const *thunk) {
    const uint32_t in_place = asm_jcc_short(a, ASM_AE);
    asm_call(a, thunk[FINISH_THUNK]);
    asm_bind_short(a, in_place);
}

void soft_emit_span(struct asm_buf *a, const uint8_t *const *thunk, bool write, unsigned first, unsigned last,
                    struct asm_label *miss) {
    asm_call(a, thunk[thunk_index(FIND_CURRENT, write, first, last)]);
    asm_jcc(a, ASM_NE, miss);
}
