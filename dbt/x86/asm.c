/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* asm.c: the x86-64 assembler: prefixes, ModRM, SIB and labels. */
#include "dbt/x86/asm.h"

#define ASM_MAX_INSN 16

/* --- buffer -------------------------------------------------------------------------------------------- */
void asm_init(struct asm_buf *a, uint8_t *code, size_t size) {
    a->start = a->p = code;
    a->overflow = false;
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
static inline void put8(struct asm_buf *a, unsigned v) { *writable(a, a->p++) = (uint8_t)v; }
static inline void put32(struct asm_buf *a, uint32_t v) {
    __builtin_memcpy(writable(a, a->p), &v, 4);
    a->p += 4;
}
static inline void put64(struct asm_buf *a, uint64_t v) {
    __builtin_memcpy(writable(a, a->p), &v, 8);
    a->p += 8;
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
void asm_byte(struct asm_buf *a, unsigned byte) { put8(a, byte); }
void asm_imm32(struct asm_buf *a, uint32_t imm) { put32(a, imm); }

/* --- labels -------------------------------------------------------------------------------------------- */
static void put_rel32(struct asm_buf *a, struct asm_label *l) {
    uint32_t at = asm_pos(a);
    if (asm_bound(l)) {
        put32(a, asm_label_pos(l) - (at + 4));
    } else {
        put32(a, l->chain);
        l->chain = at + 1;
    }
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
    put_rel32(a, l);
}

void asm_jmp(struct asm_buf *a, struct asm_label *l) {
    room(a);
    put8(a, 0xe9);
    put_rel32(a, l);
}
void asm_jcc(struct asm_buf *a, enum asm_cc cc, struct asm_label *l) {
    room(a);
    put8(a, 0x0f);
    put8(a, 0x80 | cc);
    put_rel32(a, l);
}
uint32_t asm_jcc_short(struct asm_buf *a, enum asm_cc cc) {
    room(a);
    put8(a, 0x70 | cc);
    put8(a, 0);
    return asm_pos(a);
}
uint32_t asm_jmp_short(struct asm_buf *a) {
    room(a);
    put8(a, 0xeb);
    put8(a, 0);
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
void asm_call(struct asm_buf *a, const void *target) {
    int32_t rel;
    room(a);
    if (reaches(a, target, 5, &rel)) {
        put8(a, 0xe8);
        put32(a, (uint32_t)rel);
    } else {
        asm_mov_ri(a, ASM_RAX, (uintptr_t)target);
        asm_call_r(a, ASM_RAX);
    }
}
void asm_jmp_to(struct asm_buf *a, const void *target) {
    int32_t rel;
    room(a);
    if (reaches(a, target, 5, &rel)) {
        put8(a, 0xe9);
        put32(a, (uint32_t)rel);
    } else {
        asm_mov_ri(a, ASM_RAX, (uintptr_t)target);
        asm_jmp_r(a, ASM_RAX);
    }
}
void asm_jcc_to(struct asm_buf *a, enum asm_cc cc, const void *target) {
    int32_t rel;
    room(a);
    reaches(a, target, 6, &rel);
    put8(a, 0x0f);
    put8(a, 0x80 | cc);
    put32(a, (uint32_t)rel);
}

/* --- encoding ------------------------------------------------------------------------------------------ */
static const uint8_t pp_byte[4] = {0, 0x66, 0xf3, 0xf2};

static inline void put_opcode(struct asm_buf *a, uint32_t op, unsigned rex) {
    unsigned pp = op >> 10 & 3, map = op >> 8 & 3;
    if (pp)
        put8(a, pp_byte[pp]);
    if (rex)
        put8(a, 0x40 | rex);
    if (map) {
        put8(a, 0x0f);
        if (map > 1)
            put8(a, map == 2 ? 0x38 : 0x3a);
    }
    put8(a, op);
}

/* ModRM, SIB and displacement. imm_bytes: what follows, for RIP-relative operands. evex: no disp8. */
static void put_mem(struct asm_buf *a, unsigned reg, struct asm_mem m, unsigned imm_bytes, bool evex) {
    unsigned r = (reg & 7) << 3;
    if (m.base == ASM_RIP) {
        put8(a, r | 5);
        put32(a, (uint32_t)((uintptr_t)m.target - ((uintptr_t)a->p + 4 + imm_bytes)));
        return;
    }
    unsigned index = m.index == ASM_NOREG ? 4u : m.index & 7u;
    if (m.base == ASM_NOREG) { /* [index * scale + disp32], or with RBP in front: base 5 means either, by mod */
        bool rbp = m.view && a->view_disp;
        put8(a, (rbp ? 0x80 : 0) | r | 4);
        put8(a, (unsigned)m.scale << 6 | index << 3 | 5);
        put32(a, (uint32_t)(rbp ? m.disp + a->view_disp : m.disp));
        return;
    }
    unsigned base = m.base & 7, mod = m.disp == 0 && base != 5 ? 0u : m.disp == (int8_t)m.disp && !evex ? 0x40u : 0x80u;
    if (m.index != ASM_NOREG || base == 4) {
        put8(a, mod | r | 4);
        put8(a, (unsigned)m.scale << 6 | index << 3 | base);
    } else {
        put8(a, mod | r | base);
    }
    if (mod == 0x40)
        put8(a, (uint8_t)m.disp);
    else if (mod == 0x80)
        put32(a, (uint32_t)m.disp);
}

/* Where the view is found from RBP, DS (which changes nothing) stands in for GS, so that the code has one layout. */
static void put_segment(struct asm_buf *a, struct asm_mem m) {
    if (m.view)
        put8(a, a->view_disp ? 0x3e : 0x65);
}
static inline unsigned mem_rex(struct asm_mem m) {
    return (m.index != ASM_NOREG && m.index & 8 ? 2u : 0) | (m.base < 16 && m.base & 8 ? 1u : 0);
}

void asm_op_rr(struct asm_buf *a, uint32_t op, bool w, unsigned reg, unsigned rm) {
    room(a);
    put_opcode(a, op, (w ? 8u : 0) | (reg & 8) >> 1 | (rm & 8) >> 3);
    put8(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
void asm_op_rm(struct asm_buf *a, uint32_t op, bool w, unsigned reg, struct asm_mem m, unsigned imm_bytes) {
    room(a);
    put_segment(a, m);
    put_opcode(a, op, (w ? 8u : 0) | (reg & 8) >> 1 | mem_rex(m));
    put_mem(a, reg, m, imm_bytes, false);
}
/* Byte registers: a REX prefix makes 4..7 SPL BPL SIL DIL instead of AH CH DH BH. */
void asm_op_rr8(struct asm_buf *a, uint32_t op, unsigned reg, unsigned rm) {
    unsigned rex = (reg & 8) >> 1 | (rm & 8) >> 3;
    room(a);
    put_opcode(a, op, rex || reg > 3 || rm > 3 ? 0x40 | rex : 0);
    put8(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
void asm_op_m8(struct asm_buf *a, uint32_t op, unsigned reg, struct asm_mem m) {
    unsigned rex = (reg & 8) >> 1 | mem_rex(m);
    room(a);
    put_segment(a, m);
    put_opcode(a, op, rex || reg > 3 ? 0x40 | rex : 0);
    put_mem(a, reg, m, 0, false);
}
void asm_lock(struct asm_buf *a) {
    room(a);
    put8(a, 0xf0);
}

/* --- moves --------------------------------------------------------------------------------------------- */
void asm_mov_rr(struct asm_buf *a, bool w, unsigned dst, unsigned src) {
    asm_op_rr(a, ASM_OP(0, 0, 0x8b), w, dst, src);
}
uint32_t asm_mov_ri32(struct asm_buf *a, unsigned dst, uint32_t imm) {
    room(a);
    if (dst & 8)
        put8(a, 0x41);
    put8(a, 0xb8 | (dst & 7));
    put32(a, imm);
    return asm_pos(a) - 4;
}
void asm_mov_ri(struct asm_buf *a, unsigned dst, uint64_t imm) {
    if (imm == (uint32_t)imm) {
        asm_mov_ri32(a, dst, (uint32_t)imm);
    } else if ((int64_t)imm == (int32_t)imm) {
        asm_op_rr(a, ASM_OP(0, 0, 0xc7), true, 0, dst);
        put32(a, (uint32_t)imm);
    } else {
        room(a);
        put8(a, 0x48 | (dst & 8) >> 3);
        put8(a, 0xb8 | (dst & 7));
        put64(a, imm);
    }
}
void asm_mov_rm(struct asm_buf *a, bool w, unsigned dst, struct asm_mem m) {
    asm_op_rm(a, ASM_OP(0, 0, 0x8b), w, dst, m, 0);
}
void asm_mov_mr(struct asm_buf *a, bool w, struct asm_mem m, unsigned src) {
    asm_op_rm(a, ASM_OP(0, 0, 0x89), w, src, m, 0);
}
void asm_mov_mi(struct asm_buf *a, bool w, struct asm_mem m, int32_t imm) {
    asm_op_rm(a, ASM_OP(0, 0, 0xc7), w, 0, m, 4);
    put32(a, (uint32_t)imm);
}
void asm_load(struct asm_buf *a, unsigned size, bool sext, bool w, unsigned dst, struct asm_mem m) {
    switch (size) {
    case 0: asm_op_rm(a, ASM_OP(0, 1, sext ? 0xbe : 0xb6), sext && w, dst, m, 0); break;
    case 1: asm_op_rm(a, ASM_OP(0, 1, sext ? 0xbf : 0xb7), sext && w, dst, m, 0); break;
    case 2: asm_op_rm(a, ASM_OP(0, 0, sext && w ? 0x63 : 0x8b), sext && w, dst, m, 0); break;
    default: asm_mov_rm(a, true, dst, m); break;
    }
}
void asm_store(struct asm_buf *a, unsigned size, struct asm_mem m, unsigned src) {
    switch (size) {
    case 0: asm_op_m8(a, ASM_OP(0, 0, 0x88), src, m); break;
    case 1: asm_op_rm(a, ASM_OP(1, 0, 0x89), false, src, m, 0); break;
    default: asm_mov_mr(a, size == 3, m, src); break;
    }
}
void asm_ext_rr(struct asm_buf *a, unsigned size, bool sext, bool w, unsigned dst, unsigned src) {
    switch (size) {
    case 0:
        room(a);
        put_opcode(a, ASM_OP(0, 1, sext ? 0xbe : 0xb6),
                   (sext && w ? 0x48u
                    : src > 3 ? 0x40u
                              : 0) |
                       (dst & 8) >> 1 | (src & 8) >> 3);
        put8(a, 0xc0 | (dst & 7) << 3 | (src & 7));
        break;
    case 1: asm_op_rr(a, ASM_OP(0, 1, sext ? 0xbf : 0xb7), sext && w, dst, src); break;
    default: asm_op_rr(a, ASM_OP(0, 0, sext && w ? 0x63 : 0x8b), sext && w, dst, src); break;
    }
}
void asm_lea(struct asm_buf *a, bool w, unsigned dst, struct asm_mem m) {
    asm_op_rm(a, ASM_OP(0, 0, 0x8d), w, dst, m, 0);
}
void asm_cmov(struct asm_buf *a, enum asm_cc cc, bool w, unsigned dst, unsigned src) {
    asm_op_rr(a, ASM_OP(0, 1, 0x40u | cc), w, dst, src);
}
void asm_setcc(struct asm_buf *a, enum asm_cc cc, unsigned dst) { asm_op_rr8(a, ASM_OP(0, 1, 0x90u | cc), 0, dst); }
void asm_push(struct asm_buf *a, unsigned reg) {
    room(a);
    if (reg & 8)
        put8(a, 0x41);
    put8(a, 0x50 | (reg & 7));
}
void asm_pop(struct asm_buf *a, unsigned reg) {
    room(a);
    if (reg & 8)
        put8(a, 0x41);
    put8(a, 0x58 | (reg & 7));
}
void asm_call_r(struct asm_buf *a, unsigned reg) { asm_op_rr(a, ASM_OP(0, 0, 0xff), false, 2, reg); }
void asm_jmp_r(struct asm_buf *a, unsigned reg) { asm_op_rr(a, ASM_OP(0, 0, 0xff), false, 4, reg); }
void asm_jmp_m(struct asm_buf *a, struct asm_mem m) { asm_op_rm(a, ASM_OP(0, 0, 0xff), false, 4, m, 0); }
void asm_ret(struct asm_buf *a) {
    room(a);
    put8(a, 0xc3);
}

/* --- arithmetic ------------------------------------------------------------------------------------------ */
void asm_alu_rr(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, unsigned src) {
    asm_op_rr(a, ASM_OP(0, 0, 3u | op << 3), w, dst, src);
}
void asm_alu_rm(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, struct asm_mem m) {
    asm_op_rm(a, ASM_OP(0, 0, 3u | op << 3), w, dst, m, 0);
}
void asm_alu_mr(struct asm_buf *a, enum asm_alu op, bool w, struct asm_mem m, unsigned src) {
    asm_op_rm(a, ASM_OP(0, 0, 1u | op << 3), w, src, m, 0);
}
void asm_alu_ri(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, int32_t imm) {
    if (imm == (int8_t)imm) {
        asm_op_rr(a, ASM_OP(0, 0, 0x83), w, op, dst);
        put8(a, (uint8_t)imm);
    } else {
        asm_op_rr(a, ASM_OP(0, 0, 0x81), w, op, dst);
        put32(a, (uint32_t)imm);
    }
}
void asm_alu_mi(struct asm_buf *a, enum asm_alu op, bool w, struct asm_mem m, int32_t imm) {
    if (imm == (int8_t)imm) {
        asm_op_rm(a, ASM_OP(0, 0, 0x83), w, op, m, 1);
        put8(a, (uint8_t)imm);
    } else {
        asm_op_rm(a, ASM_OP(0, 0, 0x81), w, op, m, 4);
        put32(a, (uint32_t)imm);
    }
}
void asm_inc_m(struct asm_buf *a, struct asm_mem m) { asm_op_rm(a, ASM_OP(0, 0, 0xff), true, 0, m, 0); }
uint32_t asm_cmp_ri32(struct asm_buf *a, bool w, unsigned reg, int32_t imm) {
    asm_op_rr(a, ASM_OP(0, 0, 0x81), w, ASM_CMP, reg);
    put32(a, (uint32_t)imm);
    return asm_pos(a) - 4;
}
void asm_test_rr(struct asm_buf *a, bool w, unsigned x, unsigned y) { asm_op_rr(a, ASM_OP(0, 0, 0x85), w, x, y); }
void asm_test_ri(struct asm_buf *a, bool w, unsigned reg, int32_t imm) {
    if (imm >= 0 && imm < 128) { /* the byte form sees the same bits */
        asm_op_rr8(a, ASM_OP(0, 0, 0xf6), 0, reg);
        put8(a, (unsigned)imm);
    } else {
        asm_op_rr(a, ASM_OP(0, 0, 0xf7), w, 0, reg);
        put32(a, (uint32_t)imm);
    }
}
void asm_test8_mi(struct asm_buf *a, struct asm_mem m, uint8_t imm) {
    asm_op_rm(a, ASM_OP(0, 0, 0xf6), false, 0, m, 1);
    put8(a, imm);
}
void asm_shift_ri(struct asm_buf *a, enum asm_shift op, bool w, unsigned reg, unsigned n) {
    if (n == 1) {
        asm_op_rr(a, ASM_OP(0, 0, 0xd1), w, op, reg);
    } else {
        asm_op_rr(a, ASM_OP(0, 0, 0xc1), w, op, reg);
        put8(a, n);
    }
}
void asm_shift_cl(struct asm_buf *a, enum asm_shift op, bool w, unsigned reg) {
    asm_op_rr(a, ASM_OP(0, 0, 0xd3), w, op, reg);
}
void asm_neg(struct asm_buf *a, bool w, unsigned reg) { asm_op_rr(a, ASM_OP(0, 0, 0xf7), w, 3, reg); }
void asm_not(struct asm_buf *a, bool w, unsigned reg) { asm_op_rr(a, ASM_OP(0, 0, 0xf7), w, 2, reg); }
void asm_bswap(struct asm_buf *a, bool w, unsigned reg) {
    room(a);
    if (w || reg & 8)
        put8(a, (w ? 0x48u : 0x40u) | (reg & 8) >> 3);
    put8(a, 0x0f);
    put8(a, 0xc8 | (reg & 7));
}
void asm_op0(struct asm_buf *a, uint8_t opcode) {
    room(a);
    put8(a, opcode);
}
void asm_cqo(struct asm_buf *a, bool w) {
    room(a);
    if (w)
        put8(a, 0x48);
    put8(a, 0x99);
}
void asm_bt_ri(struct asm_buf *a, bool w, unsigned reg, unsigned bit) {
    asm_op_rr(a, ASM_OP(0, 1, 0xba), w, 4, reg);
    put8(a, bit);
}

/* --- VEX and EVEX ---------------------------------------------------------------------------------------- */
/* rxb: REX.R, X, B as bits 2..0. */
static void put_vex(struct asm_buf *a, uint32_t op, unsigned v, unsigned rxb) {
    unsigned pp = op >> 10 & 3, map = op >> 8 & 3, w = op & ASM_W ? 0x80u : 0;
    unsigned tail = (~v & 15) << 3 | pp;
    if (map == 1 && !w && !(rxb & 3)) {
        put8(a, 0xc5);
        put8(a, (rxb & 4 ? 0 : 0x80u) | tail);
    } else {
        put8(a, 0xc4);
        put8(a, (~rxb & 7) << 5 | map);
        put8(a, w | tail);
    }
    put8(a, op);
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
/* xb: the bits of REX.X and REX.B in bits 1 and 0 (not inverted). */
static void put_evex(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned xb) {
    put8(a, 0x62);
    put8(a, (reg & 8 ? 0 : 0x80u) | (~xb & 3) << 5 | (reg & 16 ? 0 : 0x10u) | (op >> 8 & 3));
    put8(a, (op & ASM_W ? 0x80u : 0) | (~v & 15) << 3 | 4 | (op >> 10 & 3));
    put8(a, v & 16 ? 0 : 0x08); /* 128 bits, no mask */
    put8(a, op);
}
void asm_evex_rr(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm) {
    room(a);
    put_evex(a, op, reg, v, rm >> 3 & 3);
    put8(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
void asm_evex_rri(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm, unsigned imm) {
    asm_evex_rr(a, op, reg, v, rm);
    put8(a, imm);
}
/* A short displacement would be scaled by the size of the operand: it is never used. */
static void evex_mem(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m, unsigned imm_bytes) {
    put_evex(a, op, reg, v, mem_rex(m));
    put_mem(a, reg, m, imm_bytes, true);
}
void asm_vex_rr(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm) {
    if ((reg | v | rm) & 16) {
        asm_evex_rr(a, op | evex_w(op), reg, v, rm);
        return;
    }
    room(a);
    put_vex(a, op, v, (reg & 8) >> 1 | (rm & 8) >> 3);
    put8(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static void vex_mem(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m, unsigned imm_bytes) {
    room(a);
    put_segment(a, m);
    if ((reg | v) & 16) {
        evex_mem(a, op | evex_w(op), reg, v, m, imm_bytes);
        return;
    }
    put_vex(a, op, v, (reg & 8) >> 1 | mem_rex(m));
    put_mem(a, reg, m, imm_bytes, false);
}
void asm_vex_rm(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m) {
    vex_mem(a, op, reg, v, m, 0);
}
void asm_vex_rri(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm, unsigned imm) {
    asm_vex_rr(a, op, reg, v, rm);
    put8(a, imm);
}
void asm_vex_rmi(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m, unsigned imm) {
    vex_mem(a, op, reg, v, m, 1);
    put8(a, imm);
}
void asm_vmov_rr(struct asm_buf *a, unsigned dst, unsigned src) {
    if (src & 8 && dst < 8) /* the store form needs no third prefix byte */
        asm_vex_rr(a, ASM_OP(0, 1, 0x29), src, 0, dst);
    else
        asm_vex_rr(a, ASM_OP(0, 1, 0x28), dst, 0, src);
}
void asm_vmov_rm(struct asm_buf *a, unsigned dst, struct asm_mem m) { asm_vex_rm(a, ASM_OP(0, 1, 0x10), dst, 0, m); }
void asm_vmov_mr(struct asm_buf *a, struct asm_mem m, unsigned src) { asm_vex_rm(a, ASM_OP(0, 1, 0x11), src, 0, m); }
