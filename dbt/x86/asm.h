/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * asm.h: the x86-64 assembler. Instructions are appended to a buffer; when it is
 * full, `overflow` is set and emission goes on harmlessly from its start, so that
 * callers test for it once, at the end.
 *
 * Registers are numbers 0..15 as x86 encodes them, for both files; vector registers
 * 16..31 select the EVEX encoding of what is a VEX instruction otherwise. `w` is true for
 * 64-bit operands, false for 32-bit ones (which clear the upper half). Positions
 * are byte offsets from the start of the buffer. All addresses are those where the code runs; it may have to be written
 * elsewhere (to_write).
 */
#ifndef GRAFT_X86_ASM_H
#define GRAFT_X86_ASM_H

#include "graft/base.h"

enum asm_reg {
    ASM_RAX,
    ASM_RCX,
    ASM_RDX,
    ASM_RBX,
    ASM_RSP,
    ASM_RBP,
    ASM_RSI,
    ASM_RDI,
    ASM_R8,
    ASM_R9,
    ASM_R10,
    ASM_R11,
    ASM_R12,
    ASM_R13,
    ASM_R14,
    ASM_R15,
    ASM_RIP = 0xfe, /* base of asm_mem_rip() */
    ASM_NOREG = 0xff,
};

/* Condition codes as x86 encodes them. */
enum asm_cc {
    ASM_O,
    ASM_NO,
    ASM_B,
    ASM_AE,
    ASM_E,
    ASM_NE,
    ASM_BE,
    ASM_A,
    ASM_S,
    ASM_NS,
    ASM_P,
    ASM_NP,
    ASM_L,
    ASM_GE,
    ASM_LE,
    ASM_G
};

/* Two-operand arithmetic and shifts: the number is x86's /digit. */
enum asm_alu { ASM_ADD, ASM_OR, ASM_ADC, ASM_SBB, ASM_AND, ASM_SUB, ASM_XOR, ASM_CMP };
enum asm_shift { ASM_ROL, ASM_ROR, ASM_SHL = 4, ASM_SHR = 5, ASM_SAR = 7 };

struct asm_buf {
    uint8_t *start, *p, *limit; /* limit: an instruction may start below it */
    bool overflow;
    bool bound;     /* a pc was put into the code that takes another number of bytes elsewhere */
    unsigned notes; /* of what is in note; ASM_NOTES: there was no room for all of them */
    /* asm_init() leaves these alone: */
    uint16_t *note;     /* ASM_NOTES of them, or NULL: see asm_note() */
    int32_t view_disp;  /* cpu.view_disp: see asm_mem_view() */
    ptrdiff_t to_write; /* cpu.code_to_write: from where a byte of code runs to where it is written */
};

/* What would be different in equal code at another place (calls, jumps and references that lead out of the buffer), or
 * of the same guest code at another pc. Assembling notes the former, asm_mov_pc() and whoever else puts a pc into the
 * code the latter. */
#define ASM_NOTES 512
enum asm_note { ASM_NOTE_REL32, ASM_NOTE_PC /* 8 bytes */ };
static inline void asm_note(struct asm_buf *a, uint32_t pos, enum asm_note kind) {
    if (a->notes < ASM_NOTES && pos < 1u << 15)
        a->note[a->notes++] = (uint16_t)(pos << 1 | kind);
    else
        a->notes = ASM_NOTES;
}

/* A place in the code. Forward jumps to it are chained through their rel32 fields until it is bound. */
struct asm_label {
    uint32_t at;    /* offset + 1 once bound, else 0 */
    uint32_t chain; /* offset + 1 of the last rel32 that waits for it, 0 if none */
};

/* A memory operand [base + (index << scale) + disp], or in the current view. */
struct asm_mem {
    uint8_t base, index; /* ASM_NOREG: absent */
    uint8_t scale;       /* 0 .. 3 */
    bool view;           /* relative to the current view: base is ASM_NOREG */
    int32_t disp;
    const void *target; /* base ASM_RIP: address within 2 GiB of the code */
};

static inline struct asm_mem asm_mem(unsigned base, int32_t disp) { /* [base + disp] */
    return (struct asm_mem){(uint8_t)base, ASM_NOREG, 0, false, disp, NULL};
}
static inline struct asm_mem asm_mem_index(unsigned base, unsigned index, unsigned scale, int32_t disp) {
    return (struct asm_mem){(uint8_t)base, (uint8_t)index, (uint8_t)scale, false, disp, NULL};
}
static inline struct asm_mem
asm_mem_view(int32_t disp) { /* gs:[disp], or [rbp + view_disp + disp]: one length, opcode and SIB at one place */
    return (struct asm_mem){ASM_NOREG, ASM_NOREG, 0, true, disp, NULL};
}
static inline struct asm_mem asm_mem_view_index(unsigned index, unsigned scale,
                                                int32_t disp) { /* gs:[(index << scale) + disp], likewise */
    return (struct asm_mem){ASM_NOREG, (uint8_t)index, (uint8_t)scale, true, disp, NULL};
}
static inline struct asm_mem asm_mem_rip(const void *target) { /* [rip + ...]: a constant near the code */
    return (struct asm_mem){ASM_RIP, ASM_NOREG, 0, false, 0, target};
}

/* --- buffer and labels ------------------------------------------------------------------------ */
void asm_init(struct asm_buf *a, uint8_t *code, size_t size); /* size: at least 128 */
/* asm_take_end(): so many bytes at the end of the buffer are for something else; false: the code is there. */
static inline bool asm_take_end(struct asm_buf *a, size_t bytes) {
    a->limit -= bytes;
    return a->p < a->limit;
}
static inline uint32_t asm_pos(const struct asm_buf *a) { return (uint32_t)(a->p - a->start); }
/* asm_bind(): the label is here; patches the jumps that wait for it. A label that is all zero is unbound and unused. */
void asm_bind(struct asm_buf *a, struct asm_label *l);
static inline bool asm_bound(const struct asm_label *l) { return l->at != 0; }
static inline uint32_t asm_label_pos(const struct asm_label *l) { return l->at - 1; } /* of a bound label */
static inline bool asm_label_used(const struct asm_label *l) { return l->at != 0 || l->chain != 0; }

/* asm_rip_label(): the disp32 that ends the last instruction, a RIP-relative one, refers to the label instead. */
void asm_rip_label(struct asm_buf *a, struct asm_label *l);

/* --- jumps: always the rel32 forms, except *_short -------------------------------------------- */
void asm_jmp(struct asm_buf *a, struct asm_label *l);
void asm_jcc(struct asm_buf *a, enum asm_cc cc, struct asm_label *l);
/* asm_jcc_short(): a forward jump over at most 127 bytes; returns its position for asm_bind_short(). */
uint32_t asm_jcc_short(struct asm_buf *a, enum asm_cc cc);
uint32_t asm_jmp_short(struct asm_buf *a);
void asm_bind_short(struct asm_buf *a, uint32_t at);
/* To an absolute address; calls and jumps use rel32 when it reaches, else a load of RAX first. */
void asm_call(struct asm_buf *a, const void *target);
void asm_jmp_to(struct asm_buf *a, const void *target);
void asm_jcc_to(struct asm_buf *a, enum asm_cc cc, const void *target); /* target within 2 GiB */
void asm_call_r(struct asm_buf *a, unsigned reg);
bool asm_reaches(const struct asm_buf *a, const void *target); /* by a rel32 of any instruction here */
void asm_jmp_r(struct asm_buf *a, unsigned reg);
void asm_jmp_m(struct asm_buf *a, struct asm_mem m);
void asm_ret(struct asm_buf *a);

/* --- moves ------------------------------------------------------------------------------------ */
void asm_mov_rr(struct asm_buf *a, bool w, unsigned dst, unsigned src);
void asm_mov_ri(struct asm_buf *a, unsigned dst, uint64_t imm); /* shortest form; leaves flags alone */
/* asm_mov_ri32(): mov r32, imm32; returns the position of the immediate. */
uint32_t asm_mov_ri32(struct asm_buf *a, unsigned dst, uint32_t imm);
/* asm_mov_pc(): the same of an address off the guest's pc, which is noted. */
void asm_mov_pc(struct asm_buf *a, unsigned dst, uint64_t pc);
void asm_mov_rm(struct asm_buf *a, bool w, unsigned dst, struct asm_mem m);
void asm_mov_mr(struct asm_buf *a, bool w, struct asm_mem m, unsigned src);
void asm_mov_mi(struct asm_buf *a, bool w, struct asm_mem m, int32_t imm); /* w: sign-extended */
/* asm_load(): log2 bytes 0 .. 3, zero-extended to 64 bits, or sign-extended to 64 (w) or 32 bits. */
void asm_load(struct asm_buf *a, unsigned size, bool sext, bool w, unsigned dst, struct asm_mem m);
void asm_store(struct asm_buf *a, unsigned size, struct asm_mem m, unsigned src);
/* asm_ext_rr(): the low 1 << size bytes of src, size 0 .. 2, extended as for asm_load(). */
void asm_ext_rr(struct asm_buf *a, unsigned size, bool sext, bool w, unsigned dst, unsigned src);
void asm_lea(struct asm_buf *a, bool w, unsigned dst, struct asm_mem m);
void asm_cmov(struct asm_buf *a, enum asm_cc cc, bool w, unsigned dst, unsigned src);
void asm_setcc(struct asm_buf *a, enum asm_cc cc, unsigned dst); /* the low byte only */
void asm_push(struct asm_buf *a, unsigned reg);
void asm_pop(struct asm_buf *a, unsigned reg);
void asm_push_m(struct asm_buf *a, struct asm_mem m);
void asm_pop_m(struct asm_buf *a, struct asm_mem m);

/* --- arithmetic ------------------------------------------------------------------------------- */
void asm_alu_rr(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, unsigned src);
void asm_alu_rm(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, struct asm_mem m);
void asm_alu_mr(struct asm_buf *a, enum asm_alu op, bool w, struct asm_mem m, unsigned src);
void asm_alu_ri(struct asm_buf *a, enum asm_alu op, bool w, unsigned dst, int32_t imm); /* imm8 form when it fits */
void asm_alu_mi(struct asm_buf *a, enum asm_alu op, bool w, struct asm_mem m, int32_t imm);
void asm_inc_m(struct asm_buf *a, struct asm_mem m); /* inc qword [m] */
/* asm_cmp_ri32(): cmp r32/r64, imm32 with a four-byte immediate always; returns the position of the immediate. */
uint32_t asm_cmp_ri32(struct asm_buf *a, bool w, unsigned reg, int32_t imm);
void asm_test_rr(struct asm_buf *a, bool w, unsigned x, unsigned y);
void asm_test_ri(struct asm_buf *a, bool w, unsigned reg, int32_t imm);
void asm_test8_mi(struct asm_buf *a, struct asm_mem m, uint8_t imm); /* test byte [m], imm8 */
void asm_shift_ri(struct asm_buf *a, enum asm_shift op, bool w, unsigned reg, unsigned n);
void asm_shift_cl(struct asm_buf *a, enum asm_shift op, bool w, unsigned reg);
void asm_neg(struct asm_buf *a, bool w, unsigned reg);
void asm_not(struct asm_buf *a, bool w, unsigned reg);
void asm_bswap(struct asm_buf *a, bool w, unsigned reg);
void asm_bt_ri(struct asm_buf *a, bool w, unsigned reg, unsigned bit);
void asm_op0(struct asm_buf *a, uint8_t opcode); /* a one-byte instruction: */
#define asm_op_cmc(a) asm_op0((a), 0xf5)
#define asm_op_rdtsc(a) (asm_op0((a), 0x0f), asm_op0((a), 0x31))
#define asm_op_lahf(a) asm_op0((a), 0x9f)
#define asm_op_sahf(a) asm_op0((a), 0x9e)
void asm_cqo(struct asm_buf *a, bool w); /* sign of RAX (EAX) into RDX (EDX) */

/* --- anything else: opcode words -------------------------------------------------------------- */
/* Opcode, map (0 one byte, 1 0F, 2 0F38, 3 0F3A), mandatory prefix (0 none, 1 66, 2 F3, 3 F2). */
#define ASM_OP(pp, map, opcode) ((uint32_t)((opcode) | (map) << 8 | (pp) << 10))
#define ASM_W 0x1000u /* VEX.W / REX.W is part of the opcode */
/* Legacy encodings. reg is the ModRM.reg operand or /digit; *_8 forms give SIL..DIL a REX prefix. */
void asm_op_rr(struct asm_buf *a, uint32_t op, bool w, unsigned reg, unsigned rm);
void asm_op_rm(struct asm_buf *a, uint32_t op, bool w, unsigned reg, struct asm_mem m, unsigned imm_bytes);
void asm_op_rr8(struct asm_buf *a, uint32_t op, unsigned reg, unsigned rm);
void asm_op_m8(struct asm_buf *a, uint32_t op, unsigned reg, struct asm_mem m);
void asm_lock(struct asm_buf *a);
void asm_byte(struct asm_buf *a, unsigned byte); /* an immediate after the above */
void asm_imm32(struct asm_buf *a, uint32_t imm);
void asm_room(struct asm_buf *a);                                   /* room for 32 bytes put by these two */
void asm_data(struct asm_buf *a, const void *data, unsigned bytes); /* at most 64 */
/* VEX.128 (or LZ, scalar) encodings, three operands; pass v = 0 for two-operand ones. The _i forms end with an imm8.
 * Registers above 15 only if the instruction has an EVEX encoding: compares to a register, blends, VPTEST have none. */
void asm_vex_rr(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm);
void asm_vex_rm(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m);
void asm_vex_rri(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm, unsigned imm);
void asm_vex_rmi(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, struct asm_mem m, unsigned imm);
/* EVEX.128 without masking: AVX-512VL forms. */
void asm_evex_rr(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm);
void asm_evex_rri(struct asm_buf *a, uint32_t op, unsigned reg, unsigned v, unsigned rm, unsigned imm);
/* 128-bit moves: between registers, from and to memory (no alignment needed). */
void asm_vmov_rr(struct asm_buf *a, unsigned dst, unsigned src);
void asm_vmov_rm(struct asm_buf *a, unsigned dst, struct asm_mem m);
void asm_vmov_mr(struct asm_buf *a, struct asm_mem m, unsigned src);

/* --- lines: instructions whose form is known where they are put together ---------------------- */
/* asm_line(): room for ASM_LINE bytes, and where they are written. asm_put() and what is made of it puts an instruction
 * there and returns where the next one goes; what it writes behind that does not count. asm_line_end(): so far it is
 * code. */
#define ASM_LINE 64
static inline uint8_t *asm_line(struct asm_buf *a) {
    if (UNLIKELY(a->limit - a->p < ASM_LINE)) {
        a->overflow = true;
        a->p = a->start;
    }
    return a->p + a->to_write;
}
static inline void asm_line_end(struct asm_buf *a, const uint8_t *p) { a->p = (uint8_t *)(uintptr_t)p - a->to_write; }
static inline uint8_t *asm_put(uint8_t *p, uint64_t bits, unsigned bytes) {
    __builtin_memcpy(p, &bits, 8);
    return p + bytes;
}
/* Of [base + disp]: bytes of the displacement, 0, 1 or 4, and the ModRM.mod that says so. base: its lower three
 * bits. */
static inline unsigned asm_disp_bytes(unsigned base, int32_t disp) {
    unsigned n = 4 - 3 * ((uint32_t)disp + 128 < 256);
    return n & -(unsigned)((disp != 0) | (base == 5));
}
static inline unsigned asm_mod(unsigned disp_bytes) { return (disp_bytes + 1) >> 1 << 6; }
/* op reg, [base + disp], with no prefix but REX, which is without what the base adds: at most 8 bytes. Two bytes of
 * opcode not with RSP and R12. */
static inline uint64_t asm_base_form(uint32_t op, unsigned rex, unsigned reg, unsigned base, int32_t disp,
                                     unsigned *bytes) {
    unsigned rm = base & 7, sib = rm == 4, two = op > 0xff, n = asm_disp_bytes(rm, disp);
    uint64_t x = (uint64_t)(uint32_t)disp << 8 * sib | (0x24 & -sib);
    x = x << 16 | (asm_mod(n) | (reg & 7) << 3 | rm) << 8 | (op & 0xff);
    x = x << 8 * two | (0x0f & -two);
    rex |= base >> 3;
    unsigned has_rex = rex != 0;
    *bytes = n + 2 + sib + two + has_rex;
    return x << 8 * has_rex | ((0x40 | rex) & -has_rex);
}

#endif
