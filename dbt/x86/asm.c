/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* asm.c: the x86-64 assembler: prefixes, ModRM, SIB and labels. */
#include "dbt/x86/asm.h"

#define ASM_MAX_INSN 16

/* --- buffer ----------------------------------------------------------------------------------- */
void asm_init(struct asm_buf *a, uint8_t *code, size_t size) {
    a->start = a->p = code;
    a->overflow = a->bound = false;
    a->notes = a->note ? 0 : ASM_NOTES;
    a->limit = code + size - 2 * ASM_MAX_INSN;
}

/* Room for one instruction and its immediates. */
static inline void room(struct asm_buf *a) {
    if (UNLIKELY(a->p >= a->limit)) {
        a->overflow = true;
        a->p = a->start;
    }
}
static inline uint8_t *writable(const struct asm_buf *a, uint8_t *code) { return code + a->to_write; }

/* An instruction is put together in registers and written by stores of eight bytes, of which the next instruction
 * overwrites what is too much: where it goes takes part in nothing but the addresses of these stores, so instructions
 * do not wait for each other, and what may be absent takes no jump that could be mispredicted. */
struct piece {
    uint64_t bits; /* from the first byte on */
    unsigned n;    /* bytes, up to 8 */
};
static inline struct piece piece(uint64_t bits, unsigned n) { return (struct piece){bits, n}; }
/* What is in front of it; rest has less than 8 bytes. */
static inline struct piece before_if(bool there, unsigned byte, struct piece rest) {
    return piece(rest.bits << 8 * there | (byte & 0xffu & -(unsigned)there), rest.n + there);
}
static inline struct piece before(unsigned byte, struct piece rest) { return before_if(true, byte, rest); }
static inline struct piece behind(struct piece x, unsigned byte) {
    return piece(x.bits | (uint64_t)(byte & 0xff) << 8 * x.n, x.n + 1);
}
static inline struct piece none(void) { return piece(0, 0); }
static inline struct piece imm8(unsigned imm) { return piece(imm & 0xff, 1); }
static inline struct piece imm32(uint32_t imm) { return piece(imm, 4); }
/* An immediate of one or four bytes. */
static inline struct piece imm_of(bool byte, int32_t imm) { return piece((uint32_t)imm, byte ? 1 : 4); }

static inline void put(uint8_t *p, struct piece x) { __builtin_memcpy(p, &x.bits, 8); }
/* All of an instruction: room for it has been made. */
static inline void put3(struct asm_buf *a, struct piece x, struct piece y, struct piece z) {
    uint8_t *p = writable(a, a->p);
    put(p, x);
    put(p + x.n, y);
    put(p + x.n + y.n, z);
    a->p += x.n + y.n + z.n;
}
static inline void put2(struct asm_buf *a, struct piece x, struct piece y) {
    uint8_t *p = writable(a, a->p);
    put(p, x);
    put(p + x.n, y);
    a->p += x.n + y.n;
}
static inline void put1(struct asm_buf *a, struct piece x) {
    put(writable(a, a->p), x);
    a->p += x.n;
}
void asm_room(struct asm_buf *a) { room(a); }
void asm_data(struct asm_buf *a, const void *data, unsigned bytes) {
    if (a->p + bytes > a->limit) {
        a->overflow = true;
        a->p = a->start;
    }
    __builtin_memcpy(writable(a, a->p), data, bytes);
    a->p += bytes;
}
void asm_byte(struct asm_buf *a, unsigned byte) { put1(a, imm8(byte)); }
void asm_imm32(struct asm_buf *a, uint32_t imm) { put1(a, imm32(imm)); }

/* --- labels ----------------------------------------------------------------------------------- */
/* A rel32 to the label, at that position. */
static inline uint32_t rel32(struct asm_label *l, uint32_t at) {
    if (asm_bound(l))
        return asm_label_pos(l) - (at + 4);
    uint32_t chain = l->chain;
    l->chain = at + 1;
    return chain;
}

void asm_bind(struct asm_buf *a, struct asm_label *l) {
    uint32_t here = asm_pos(a), next;
    l->at = here + 1;
    if (a->overflow) { /* the chain may have been overwritten */
        l->chain = 0;
        return;
    }
    for (uint32_t at = l->chain; at; at = next) {
        uint8_t *field = writable(a, a->start + at - 1);
        __builtin_memcpy(&next, field, 4);
        uint32_t rel = here - (at - 1 + 4);
        __builtin_memcpy(field, &rel, 4);
    }
    l->chain = 0;
}

void asm_rip_label(struct asm_buf *a, struct asm_label *l) {
    a->p -= 4;
    put1(a, imm32(rel32(l, asm_pos(a))));
}

void asm_jmp(struct asm_buf *a, struct asm_label *l) {
    room(a);
    put1(a, piece(0xe9 | (uint64_t)rel32(l, asm_pos(a) + 1) << 8, 5));
}
void asm_jcc(struct asm_buf *a, enum asm_cc cc, struct asm_label *l) {
    room(a);
    put1(a, piece(0x800f | cc << 8 | (uint64_t)rel32(l, asm_pos(a) + 2) << 16, 6));
}
uint32_t asm_jcc_short(struct asm_buf *a, enum asm_cc cc) {
    room(a);
    put1(a, piece(0x70 | cc, 2));
    return asm_pos(a);
}
uint32_t asm_jmp_short(struct asm_buf *a) {
    room(a);
    put1(a, piece(0xeb, 2));
    return asm_pos(a);
}
void asm_bind_short(struct asm_buf *a, uint32_t at) {
    if (!a->overflow)
        *writable(a, a->start + at - 1) = (uint8_t)(asm_pos(a) - at);
}

static bool reaches(const struct asm_buf *a, const void *target, unsigned len, int32_t *rel) {
    int64_t d = (int64_t)((uintptr_t)target - ((uintptr_t)a->p + len));
    *rel = (int32_t)d;
    return d == (int32_t)d;
}
bool asm_reaches(const struct asm_buf *a, const void *target) {
    int32_t rel;
    return reaches(a, target, 0, &rel) && reaches(a, target, ASM_MAX_INSN, &rel);
}
void asm_call(struct asm_buf *a, const void *target) {
    int32_t rel;
    room(a);
    if (reaches(a, target, 5, &rel)) {
        asm_note(a, asm_pos(a) + 1, ASM_NOTE_REL32);
        put1(a, piece(0xe8 | (uint64_t)(uint32_t)rel << 8, 5));
    } else {
        asm_mov_ri(a, ASM_RAX, (uintptr_t)target);
        asm_call_r(a, ASM_RAX);
    }
}
void asm_jmp_to(struct asm_buf *a, const void *target) {
    int32_t rel;
    room(a);
    if (reaches(a, target, 5, &rel)) {
        asm_note(a, asm_pos(a) + 1, ASM_NOTE_REL32);
        put1(a, piece(0xe9 | (uint64_t)(uint32_t)rel << 8, 5));
    } else {
        asm_mov_ri(a, ASM_RAX, (uintptr_t)target);
        asm_jmp_r(a, ASM_RAX);
    }
}
void asm_jcc_to(struct asm_buf *a, enum asm_cc cc, const void *target) {
    int32_t rel;
    room(a);
    reaches(a, target, 6, &rel);
    asm_note(a, asm_pos(a) + 2, ASM_NOTE_REL32);
    put1(a, piece(0x800f | cc << 8 | (uint64_t)(uint32_t)rel << 16, 6));
}

/* --- encoding --------------------------------------------------------------------------------- */
static const uint8_t pp_byte[4] = {0, 0x66, 0xf3, 0xf2};

static inline struct piece opcode(uint32_t op, unsigned rex) {
    unsigned pp = op >> 10 & 3, map = op >> 8 & 3;
    struct piece x = piece(op & 0xff, 1);
    x = before_if(map > 1, map == 2 ? 0x38 : 0x3a, x);
    x = before_if(map != 0, 0x0f, x);
    x = before_if(rex != 0, 0x40 | rex, x);
    return before_if(pp != 0, pp_byte[pp], x);
}
static inline struct piece modrm(unsigned reg, unsigned rm) { return piece(0xc0 | (reg & 7) << 3 | (rm & 7), 1); }

/* ModRM, SIB and displacement of [rip + ...]: before is how much of the instruction comes first, imm_bytes what
 * follows. */
static inline struct piece mem_rip(struct asm_buf *a, unsigned reg, struct asm_mem m, unsigned before,
                                   unsigned imm_bytes) {
    if ((const uint8_t *)m.target < a->start || (const uint8_t *)m.target > a->p)
        asm_note(a, asm_pos(a) + before + 1, ASM_NOTE_REL32);
    uint32_t disp = (uint32_t)((uintptr_t)m.target - ((uintptr_t)a->p + before + 5 + imm_bytes));
    return piece(((reg & 7) << 3 | 5) | (uint64_t)disp << 8, 5);
}
/* The same of [index * scale + disp32], or with RBP in front: base 5 means either, by mod. */
static inline struct piece mem_view(const struct asm_buf *a, unsigned reg, struct asm_mem m) {
    bool rbp = m.view && a->view_disp;
    unsigned index = m.index == ASM_NOREG ? 4u : m.index & 7u;
    unsigned first = (rbp ? 0x80 : 0) | (reg & 7) << 3 | 4, sib = (unsigned)m.scale << 6 | index << 3 | 5;
    return piece(first | sib << 8 | (uint64_t)(uint32_t)(rbp ? m.disp + a->view_disp : m.disp) << 16, 6);
}
/* The same of any. evex: no disp8. */
static inline struct piece mem(struct asm_buf *a, unsigned reg, struct asm_mem m, unsigned before, unsigned imm_bytes,
                               bool evex) {
    if (UNLIKELY(m.base >= ASM_RIP))
        return m.base == ASM_RIP ? mem_rip(a, reg, m, before, imm_bytes) : mem_view(a, reg, m);
    unsigned base = m.base & 7u, index = m.index == ASM_NOREG ? 4u : m.index & 7u;
    bool sib = m.index != ASM_NOREG || base == 4;
    unsigned n = asm_disp_bytes(base, m.disp);
    n = n && evex ? 4 : n;
    struct piece x = before_if(sib, (unsigned)m.scale << 6 | index << 3 | base, piece((uint32_t)m.disp, n));
    return before_if(true, asm_mod(n) | (reg & 7) << 3 | (sib ? 4 : base), x);
}

/* Where the view is found from RBP, DS (which changes nothing) stands in for GS, so that the code has one layout. */
static inline struct piece with_segment(const struct asm_buf *a, struct asm_mem m, struct piece x) {
    return before_if(m.view, a->view_disp ? 0x3e : 0x65, x);
}
static inline unsigned mem_rex(struct asm_mem m) {
    return (m.index != ASM_NOREG && m.index & 8 ? 2u : 0) | (m.base < 16 && m.base & 8 ? 1u : 0);
}

static inline struct piece op_of(uint32_t op, bool w, unsigned reg, unsigned rm) {
    return opcode(op, (w ? 8u : 0) | (reg & 8) >> 1 | (rm & 8) >> 3);
}
static inline struct piece rr(uint32_t op, bool w, unsigned reg, unsigned rm) {
    return behind(op_of(op, w, reg, rm), 0xc0 | (reg & 7) << 3 | (rm & 7));
}
/* Byte registers: a REX prefix makes 4..7 SPL BPL SIL DIL instead of AH CH DH BH. */
static inline struct piece rr8(uint32_t op, unsigned reg, unsigned rm) {
    unsigned rex = (reg & 8) >> 1 | (rm & 8) >> 3;
    return behind(opcode(op, rex || reg > 3 || rm > 3 ? 0x40 | rex : 0), 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static inline void op_rr(struct asm_buf *a, uint32_t op, bool w, unsigned reg, unsigned rm) {
    room(a);
    put1(a, rr(op, w, reg, rm));
}
static inline void op_rr_imm(struct asm_buf *a, uint32_t op, bool w, unsigned reg, unsigned rm, struct piece imm) {
    room(a);
    put2(a, rr(op, w, reg, rm), imm);
}
/* What it takes to put a memory operand together depends on its form. [base + disp], which is by far the most frequent,
 * and [base + (index << scale) + disp], with no prefix but REX, have ways of their own. */
static inline bool has_base(uint32_t op, struct asm_mem m) { return op < ASM_OP(0, 2, 0) && m.base < 16; }
static inline bool is_plain(uint32_t op, struct asm_mem m) {
    return m.index == ASM_NOREG && ((m.base & 7) != 4 || op < ASM_OP(0, 1, 0));
}
static __attribute__((noinline)) void op_indexed(struct asm_buf *a, uint32_t op, unsigned rex, unsigned reg,
                                                 struct asm_mem m) {
    unsigned base = m.base & 7u, n = asm_disp_bytes(base, m.disp);
    bool none = m.index == ASM_NOREG; /* RSP and R12 as a base need a SIB byte */
    unsigned sib = (unsigned)m.scale << 6 | (none ? 4u : m.index & 7u) << 3 | base;
    struct piece x = piece((op & 0xff) | (asm_mod(n) | (reg & 7) << 3 | 4) << 8 | sib << 16, 3);
    x = before_if(op >> 8, 0x0f, x);
    rex |= (none ? 0 : (m.index & 8u) >> 2) | (unsigned)m.base >> 3;
    put2(a, before_if(rex != 0, 0x40 | rex, x), piece((uint32_t)m.disp, n));
}
static __attribute__((noinline)) void op_other(struct asm_buf *a, uint32_t op, unsigned rex, unsigned reg,
                                               struct asm_mem m, unsigned imm_bytes) {
    struct piece x = with_segment(a, m, opcode(op, rex | mem_rex(m)));
    put2(a, x, mem(a, reg, m, x.n, imm_bytes, false));
}
/* imm_bytes: of an immediate that the caller puts behind it. */
static inline void op_rm(struct asm_buf *a, uint32_t op, bool w, unsigned reg, struct asm_mem m, unsigned imm_bytes) {
    unsigned rex = (w ? 8u : 0) | (reg & 8) >> 1;
    room(a);
    unsigned n;
    if (UNLIKELY(!has_base(op, m))) {
        op_other(a, op, rex, reg, m, imm_bytes);
    } else if (is_plain(op, m)) {
        uint64_t bits = asm_base_form(op, rex, reg, m.base, m.disp, &n);
        put1(a, piece(bits, n));
    } else {
        op_indexed(a, op, rex, reg, m);
    }
}
static inline void op_rm_imm(struct asm_buf *a, uint32_t op, bool w, unsigned reg, struct asm_mem m, struct piece imm) {
    op_rm(a, op, w, reg, m, imm.n);
    put1(a, imm);
}
void asm_op_rr(struct asm_buf *a, uint32_t op, bool w, unsigned reg, unsigned rm) { op_rr(a, op, w, reg, rm); }
void asm_op_rm(struct asm_buf *a, uint32_t op, bool w, unsigned reg, struct asm_mem m, unsigned imm_bytes) {
    op_rm(a, op, w, reg, m, imm_bytes);
}
void asm_op_rr8(struct asm_buf *a, uint32_t op, unsigned reg, unsigned rm) {
    room(a);
    put1(a, rr8(op, reg, rm));
}
void asm_op_m8(struct asm_buf *a, uint32_t op, unsigned reg, struct asm_mem m) {
    unsigned rex = (reg & 8) >> 1 | mem_rex(m);
    room(a);
    struct piece x = with_segment(a, m, opcode(op, rex || reg > 3 ? 0x40 | rex : 0));
    put2(a, x, mem(a, reg, m, x.n, 0, false));
}
void asm_lock(struct asm_buf *a) { asm_op0(a, 0xf0); }

/* --- moves ------------------------------------------------------------------------------------ */
void asm_mov_rr(struct asm_buf *a, bool w, unsigned dst, unsigned src) { op_rr(a, ASM_OP(0, 0, 0x8b), w, dst, src); }
uint32_t asm_mov_ri32(struct asm_buf *a, unsigned dst, uint32_t imm) {
    room(a);
    put2(a, before_if(dst & 8, 0x41, piece(0xb8 | (dst & 7), 1)), imm32(imm));
    return asm_pos(a) - 4;
}
void asm_mov_ri(struct asm_buf *a, unsigned dst, uint64_t imm) {
    if (imm == (uint32_t)imm) {
        asm_mov_ri32(a, dst, (uint32_t)imm);
    } else if ((int64_t)imm == (int32_t)imm) {
        op_rr_imm(a, ASM_OP(0, 0, 0xc7), true, 0, dst, imm32((uint32_t)imm));
    } else {
        room(a);
        put2(a, piece(0x48 | (dst & 8) >> 3 | (0xb8 | (dst & 7)) << 8, 2), piece(imm, 8));
    }
}
void asm_mov_pc(struct asm_buf *a, unsigned dst, uint64_t pc) {
    asm_mov_ri(a, dst, pc);
    if (pc + (UINT64_C(1) << 31) < UINT64_C(3) << 31) /* elsewhere it would be longer */
        a->bound = true;
    else
        asm_note(a, asm_pos(a) - 8, ASM_NOTE_PC);
}
void asm_mov_rm(struct asm_buf *a, bool w, unsigned dst, struct asm_mem m) {
    op_rm(a, ASM_OP(0, 0, 0x8b), w, dst, m, 0);
}
void asm_mov_mr(struct asm_buf *a, bool w, struct asm_mem m, unsigned src) {
    op_rm(a, ASM_OP(0, 0, 0x89), w, src, m, 0);
}
void asm_mov_mi(struct asm_buf *a, bool w, struct asm_mem m, int32_t imm) {
    op_rm_imm(a, ASM_OP(0, 0, 0xc7), w, 0, m, imm32((uint32_t)imm));
}
void asm_load(struct asm_buf *a, unsigned size, bool sext, bool w, unsigned dst, struct asm_mem m) {
    static const uint32_t op[2][4] = {{ASM_OP(0, 1, 0xb6), ASM_OP(0, 1, 0xb7), ASM_OP(0, 0, 0x8b), ASM_OP(0, 0, 0x8b)},
                                      {ASM_OP(0, 1, 0xbe), ASM_OP(0, 1, 0xbf), ASM_OP(0, 0, 0x63), ASM_OP(0, 0, 0x8b)}};
    bool same = size == 2 && !w; /* to 32 bits: a move */
    op_rm(a, op[sext && !same][size], size == 3 || (sext && w), dst, m, 0);
}
void asm_store(struct asm_buf *a, unsigned size, struct asm_mem m, unsigned src) {
    switch (size) {
    case 0: asm_op_m8(a, ASM_OP(0, 0, 0x88), src, m); break;
    case 1: asm_op_rm(a, ASM_OP(1, 0, 0x89), false, src, m, 0); break;
    default: asm_mov_mr(a, size == 3, m, src); break;
    }
}
void asm_ext_rr(struct asm_buf *a, unsigned size, bool sext, bool w, unsigned dst, unsigned src) {
    unsigned rex = (sext && w ? 0x48u : src > 3 ? 0x40u : 0) | (dst & 8) >> 1 | (src & 8) >> 3;
    switch (size) {
    case 0:
        room(a);
        put2(a, opcode(ASM_OP(0, 1, sext ? 0xbe : 0xb6), rex), modrm(dst, src));
        break;
    case 1: op_rr(a, ASM_OP(0, 1, sext ? 0xbf : 0xb7), sext && w, dst, src); break;
    default: op_rr(a, ASM_OP(0, 0, sext && w ? 0x63 : 0x8b), sext && w, dst, src); break;
    }
}
void asm_lea(struct asm_buf *a, bool w, unsigned dst, struct asm_mem m) { op_rm(a, ASM_OP(0, 0, 0x8d), w, dst, m, 0); }
void asm_cmov(struct asm_buf *a, enum asm_cc cc, bool w, unsigned dst, unsigned src) {
    op_rr(a, ASM_OP(0, 1, 0x40u | cc), w, dst, src);
}
void asm_setcc(struct asm_buf *a, enum asm_cc cc, unsigned dst) { asm_op_rr8(a, ASM_OP(0, 1, 0x90u | cc), 0, dst); }
static void op_r(struct asm_buf *a, unsigned op, unsigned reg) {
    room(a);
    put1(a, before_if(reg & 8, 0x41, piece(op | (reg & 7), 1)));
}
void asm_push(struct asm_buf *a, unsigned reg) { op_r(a, 0x50, reg); }
void asm_pop(struct asm_buf *a, unsigned reg) { op_r(a, 0x58, reg); }
void asm_push_m(struct asm_buf *a, struct asm_mem m) { asm_op_rm(a, ASM_OP(0, 0, 0xff), false, 6, m, 0); }
void asm_pop_m(struct asm_buf *a, struct asm_mem m) { asm_op_rm(a, ASM_OP(0, 0, 0x8f), false, 0, m, 0); }
void asm_call_r(struct asm_buf *a, unsigned reg) { op_rr(a, ASM_OP(0, 0, 0xff), false, 2, reg); }
void asm_jmp_r(struct asm_buf *a, unsigned reg) { op_rr(a, ASM_OP(0, 0, 0xff), false, 4, reg); }
void asm_jmp_m(struct asm_buf *a, struct asm_mem m) { op_rm(a, ASM_OP(0, 0, 0xff), false, 4, m, 0); }
void asm_ret(struct asm_buf *a) { asm_op0(a, 0xc3); }

/* --- arithmetic ------------------------------------------------------------------------------- */
void asm_alu_rr(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, unsigned src) {
    op_rr(a, ASM_OP(0, 0, 3u | op << 3), w, dst, src);
}
void asm_alu_rm(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, struct asm_mem m) {
    op_rm(a, ASM_OP(0, 0, 3u | op << 3), w, dst, m, 0);
}
void asm_alu_mr(struct asm_buf *a, enum asm_alu op, bool w, struct asm_mem m, unsigned src) {
    op_rm(a, ASM_OP(0, 0, 1u | op << 3), w, src, m, 0);
}
void asm_alu_ri(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, int32_t imm) {
    bool byte = imm == (int8_t)imm;
    op_rr_imm(a, byte ? 0x83 : 0x81, w, op, dst, imm_of(byte, imm));
}
void asm_alu_mi(struct asm_buf *a, enum asm_alu op, bool w, struct asm_mem m, int32_t imm) {
    bool byte = imm == (int8_t)imm;
    op_rm_imm(a, byte ? 0x83 : 0x81, w, op, m, imm_of(byte, imm));
}
void asm_inc_m(struct asm_buf *a, struct asm_mem m) { op_rm(a, ASM_OP(0, 0, 0xff), true, 0, m, 0); }
uint32_t asm_cmp_ri32(struct asm_buf *a, bool w, unsigned reg, int32_t imm) {
    op_rr_imm(a, ASM_OP(0, 0, 0x81), w, ASM_CMP, reg, imm32((uint32_t)imm));
    return asm_pos(a) - 4;
}
void asm_test_rr(struct asm_buf *a, bool w, unsigned x, unsigned y) { op_rr(a, ASM_OP(0, 0, 0x85), w, x, y); }
void asm_test_ri(struct asm_buf *a, bool w, unsigned reg, int32_t imm) {
    if (imm >= 0 && imm < 128) { /* the byte form sees the same bits */
        room(a);
        put2(a, rr8(ASM_OP(0, 0, 0xf6), 0, reg), imm8((unsigned)imm));
    } else {
        op_rr_imm(a, ASM_OP(0, 0, 0xf7), w, 0, reg, imm32((uint32_t)imm));
    }
}
void asm_test8_mi(struct asm_buf *a, struct asm_mem m, uint8_t imm) {
    op_rm_imm(a, ASM_OP(0, 0, 0xf6), false, 0, m, imm8(imm));
}
void asm_shift_ri(struct asm_buf *a, enum asm_shift op, bool w, unsigned reg, unsigned n) {
    op_rr_imm(a, n == 1 ? 0xd1 : 0xc1, w, op, reg, piece(n & 0xff, n != 1));
}
void asm_shift_cl(struct asm_buf *a, enum asm_shift op, bool w, unsigned reg) {
    op_rr(a, ASM_OP(0, 0, 0xd3), w, op, reg);
}
void asm_neg(struct asm_buf *a, bool w, unsigned reg) { op_rr(a, ASM_OP(0, 0, 0xf7), w, 3, reg); }
void asm_not(struct asm_buf *a, bool w, unsigned reg) { op_rr(a, ASM_OP(0, 0, 0xf7), w, 2, reg); }
void asm_bswap(struct asm_buf *a, bool w, unsigned reg) {
    room(a);
    put1(a, before_if(w || reg & 8, (w ? 0x48u : 0x40u) | (reg & 8) >> 3, piece(0xc80f | (reg & 7) << 8, 2)));
}
void asm_op0(struct asm_buf *a, uint8_t op) {
    room(a);
    put1(a, imm8(op));
}
void asm_cqo(struct asm_buf *a, bool w) {
    room(a);
    put1(a, before_if(w, 0x48, imm8(0x99)));
}
void asm_bt_ri(struct asm_buf *a, bool w, unsigned reg, unsigned bit) {
    op_rr_imm(a, ASM_OP(0, 1, 0xba), w, 4, reg, imm8(bit));
}

/* --- VEX and EVEX ----------------------------------------------------------------------------- */
/* rxb: REX.R, X, B as bits 2..0. */
static inline struct piece vex(uint32_t op, unsigned v, unsigned rxb) {
    unsigned pp = op >> 10 & 3, map = op >> 8 & 3, w = op & ASM_W ? 0x80u : 0;
    unsigned tail = (~v & 15) << 3 | pp;
    bool small = map == 1 && !w && !(rxb & 3);
    struct piece x = before((small ? (rxb & 4 ? 0 : 0x80u) : w) | tail, piece(op & 0xff, 1));
    x = before_if(!small, (~rxb & 7) << 5 | map, x);
    return before(small ? 0xc5 : 0xc4, x);
}
/* EVEX has no W that is ignored: the bit that the instruction with this VEX encoding needs. */
static uint32_t evex_w(uint32_t op) {
    static const uint8_t w1_66[] = {0x10, 0x11, 0x14, 0x15, 0x28, 0x29, 0x2e, 0x2f, 0x51, 0x54, 0x55,
                                    0x56, 0x57, 0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x5f, 0x6c, 0x6d,
                                    0x73, 0xc6, 0xd3, 0xd4, 0xd6, 0xe6, 0xf3, 0xf4, 0xfb};
    unsigned pp = op >> 10 & 3, map = op >> 8 & 3, code = op & 0xff;
    if (map == 2)
        return code == 0x28 || code == 0x59 ? ASM_W : 0;
    if (map == 3)
        return code == 0x09 || code == 0x0b ? ASM_W : 0;
    if (pp == 2)
        return code == 0x7e ? ASM_W : 0;
    if (pp == 3) /* conversions between integers and floating point say it themselves */
        return code == 0x2a || code == 0x2c || code == 0x2d ? 0 : ASM_W;
    for (unsigned i = 0; pp == 1 && i < sizeof(w1_66); i++)
        if (w1_66[i] == code)
            return ASM_W;
    return 0;
}
/* xb: the bits of REX.X and REX.B in bits 1 and 0 (not inverted). 128 bits, no mask. */
static inline struct piece evex(uint32_t op, unsigned reg, unsigned v, unsigned xb) {
    unsigned p0 = (reg & 8 ? 0 : 0x80u) | (~xb & 3) << 5 | (reg & 16 ? 0 : 0x10u) | (op >> 8 & 3),
             p1 = (op & ASM_W ? 0x80u : 0) | (~v & 15) << 3 | 4 | (op >> 10 & 3), p2 = v & 16 ? 0 : 0x08;
    return piece(0x62 | p0 << 8 | p1 << 16 | (uint64_t)p2 << 24 | (uint64_t)(op & 0xff) << 32, 5);
}
static inline struct piece any_vex(uint32_t op, unsigned reg, unsigned v, unsigned rm_bits, bool high, unsigned xb) {
    return UNLIKELY(high) ? evex(op | evex_w(op), reg, v, xb) : vex(op, v, (reg & 8) >> 1 | rm_bits);
}
static inline void vex_rr_imm(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm, struct piece imm) {
    room(a);
    struct piece x = any_vex(op, reg, v, (rm & 8) >> 3, (reg | v | rm) & 16, rm >> 3 & 3);
    put2(a, behind(x, 0xc0 | (reg & 7) << 3 | (rm & 7)), imm);
}
/* A short displacement of EVEX would be scaled by the size of the operand: it is never used. */
static inline void vex_rm_imm(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m,
                              struct piece imm) {
    bool high = (reg | v) & 16;
    room(a);
    struct piece x = with_segment(a, m, any_vex(op, reg, v, mem_rex(m), high, mem_rex(m)));
    put3(a, x, mem(a, reg, m, x.n, imm.n, high), imm);
}
void asm_evex_rri(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm, unsigned imm) {
    room(a);
    put3(a, evex(op, reg, v, rm >> 3 & 3), modrm(reg, rm), imm8(imm));
}
void asm_evex_rr(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm) {
    room(a);
    put2(a, evex(op, reg, v, rm >> 3 & 3), modrm(reg, rm));
}
void asm_vex_rr(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm) {
    vex_rr_imm(a, op, reg, v, rm, none());
}
void asm_vex_rm(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m) {
    vex_rm_imm(a, op, reg, v, m, none());
}
void asm_vex_rri(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm, unsigned imm) {
    vex_rr_imm(a, op, reg, v, rm, imm8(imm));
}
void asm_vex_rmi(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m, unsigned imm) {
    vex_rm_imm(a, op, reg, v, m, imm8(imm));
}
void asm_vmov_rr(struct asm_buf *a, unsigned dst, unsigned src) {
    if (src & 8 && dst < 8) /* the store form needs no third prefix byte */
        asm_vex_rr(a, ASM_OP(0, 1, 0x29), src, 0, dst);
    else
        asm_vex_rr(a, ASM_OP(0, 1, 0x28), dst, 0, src);
}
void asm_vmov_rm(struct asm_buf *a, unsigned dst, struct asm_mem m) { asm_vex_rm(a, ASM_OP(0, 1, 0x10), dst, 0, m); }
void asm_vmov_mr(struct asm_buf *a, struct asm_mem m, unsigned src) { asm_vex_rm(a, ASM_OP(0, 1, 0x11), src, 0, m); }
