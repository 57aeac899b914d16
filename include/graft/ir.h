/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ir.h: the intermediate representation, a straight line of typed operations.
 *
 * An instruction defines at most one value; a value is named by its
 * instruction's index (struct ir_inst array, index 0 is unused so that 0 means
 * "no operand"). Guest state is reached by GET and PUT at byte offsets in
 * struct cpu. The list of operations, with operands and meaning, is ir_ops.def.
 *
 * Rules that everybody relies on:
 *  - Guest state in memory and in pinned host registers is exact at every fault
 *    point (properties M and S) and at every exit: a PUT before it in program
 *    order has happened, a PUT after it has not. A translator therefore emits
 *    all accesses of an instruction that may fault before its first PUT.
 *  - In blocks with IR_BLOCK_LAZY_FLAGS, NZCV need not be stored where the guest overwrites it before it reads it,
 *    in this block or after an exit with IR_EXIT_FLAGS_DEAD. At fault points and these exits cpu->flags_insn then
 *    has the guest instruction that computed it, from registers that are still the same: a PUT of it says in aux
 *    which ones (a set of offset / 8 modulo 32; 0: it has to be stored), such an exit in aux which ones the code
 *    there changes. A PUT makes flags_insn 0. Registers here are what is PUT as I32 or I64.
 *    Where registers do change, what NZCV was computed from is stored instead, in cpu->flags_operand, and flags_insn
 *    says how (FLAGS_SAVE).
 *  - The pc in the state is written by exits, and by the backend before an
 *    IR_HELPER_STATE call and on the slow path of memory accesses (the pc of the
 *    last INSN). Helpers may rely on it. A translator PUTs it only before EXIT.
 *  - An I32 value is 32 bits; nothing may be assumed of what is above it.
 *  - A GET after a PUT to the same offset gives the value put.
 *  - Behind a LABEL, of what was before it only the guest's state is known: of values, only CONST, PC and VCONST may be
 *    used there.
 */
#ifndef GRAFT_IR_H
#define GRAFT_IR_H

#include "graft/base.h"

struct cpu;

enum ir_type { IR_NONE, IR_I32, IR_I64, IR_V128, IR_FLAGS };

#define IR_OP(name, result, operands, properties) IR_##name,
enum ir_op {
    IR_NOP,
#include "graft/ir_ops.def"
    IR_OP_COUNT
};
#undef IR_OP

/* Conditions on flags: the Arm encoding of cond. */
enum ir_cond {
    IR_EQ,
    IR_NE,
    IR_CS,
    IR_CC,
    IR_MI,
    IR_PL,
    IR_VS,
    IR_VC,
    IR_HI,
    IR_LS,
    IR_GE,
    IR_LT,
    IR_GT,
    IR_LE,
    IR_AL
};
/* Comparisons of integers. */
enum ir_cmp {
    IR_CMP_EQ,
    IR_CMP_NE,
    IR_CMP_ULT,
    IR_CMP_UGE,
    IR_CMP_ULE,
    IR_CMP_UGT,
    IR_CMP_SLT,
    IR_CMP_SGE,
    IR_CMP_SLE,
    IR_CMP_SGT
};
enum ir_atomic {
    IR_ATOMIC_ADD,
    IR_ATOMIC_CLR /* old & ~b */,
    IR_ATOMIC_XOR,
    IR_ATOMIC_OR,
    IR_ATOMIC_SMAX,
    IR_ATOMIC_SMIN,
    IR_ATOMIC_UMAX,
    IR_ATOMIC_UMIN,
    IR_ATOMIC_SWP
};
enum ir_fence { IR_FENCE_FULL, IR_FENCE_LOAD, IR_FENCE_STORE };
enum ir_jump { IR_JUMP_PLAIN, IR_JUMP_CALL, IR_JUMP_RET };
/* Rounding: the first four are Arm's FPCR.RMode encoding. */
enum ir_round { IR_RN_EVEN, IR_RN_UP, IR_RN_DOWN, IR_RN_ZERO, IR_RN_AWAY /* ties away */, IR_RN_CURRENT, IR_RN_ODD };

/* ir_inst.flags of memory operations */
#define IR_MEM_SEXT 1    /* LD: sign-extend to the type */
#define IR_MEM_ALIGN 2   /* alignment fault if the address is not a multiple of the size, whatever SCTLR.A says */
#define IR_MEM_ACQUIRE 4 /* LD, ATOMIC, CAS, STX */
#define IR_MEM_RELEASE 8 /* ST, ATOMIC, CAS, STX */
/* LD, ST: they move elements of 1 << lane bytes: wherever alignment matters, it is that of an element. */
#define IR_MEM_ELEMENTS(lane) (16u | (lane) << 5)
static inline unsigned ir_mem_align(unsigned flags, unsigned size) { return flags & 16 ? flags >> 5 & 3 : size; }
/* ir_inst.flags of EXIT_IF and GOTO */
#define IR_EXIT_FLAGS_DEAD 1 /* the code there overwrites NZCV before anything reads it */
#define IR_EXIT_FAULT 2 /* EXIT_IF alone, imm = the pc of the last INSN: to guest_ops.exit_fault(); a fault point */
#define IR_EXIT_FLAGS_LATER 4 /* NZCV is there what the guest instruction aux computes; not stored */
#define IR_EXIT_INSIDE 8      /* EXIT_IF alone: to the LABEL of that pc, which follows; without one, as any other */
/* ir_inst.flags of floating-point operations */
#define IR_FP_EXACT 1
#define IR_FP_SIGNAL 2
#define IR_FP_MERGE 4 /* VFADD .. VFMA with n = 1: the lanes above are a's, not 0 */

typedef uint16_t irv; /* a value; 0 = none */

struct ir_inst {
    uint8_t op;   /* enum ir_op */
    uint8_t type; /* enum ir_type of the result */
    uint8_t lane; /* see ir_ops.def */
    uint8_t n;
    uint8_t cc; /* condition, comparison, rounding, jump kind or, for memory, the access regime */
    uint8_t flags;
    irv a, b, c;
    uint32_t aux;
    uint64_t imm;
};

enum ir_helper_kind {
    IR_HELPER_PURE,  /* depends on its arguments only, touches no guest state, cannot raise */
    IR_HELPER_STATE, /* may read and write any guest state and may raise a guest exception (unwinds) */
};
/* A C function that translated code calls: uint64_t fn(struct cpu *, uint64_t a, uint64_t b, uint64_t c). */
struct ir_helper {
    const char *name;
    void *fn;
    uint8_t kind;
};
#define IR_HELPER(name_, kind_) static const struct ir_helper helper_##name_ = {#name_, (void *)(uintptr_t)name_, kind_}

#define IR_MAX_INSTS 4000
#define IR_MAX_VCONSTS 64
#define IR_MAX_LABELS 8

/* ir_block.flags */
#define IR_BLOCK_SOFTFP 1 /* FPCR.FZ or another mode that the host's arithmetic cannot do: every FP op calls softfp */
#define IR_BLOCK_FIXED 8  /* at another pc it would not be the same but for what depends on pc by adding to it */
#define IR_BLOCK_CALL_MEMORY 4 /* ir_ld(), ir_st() ... make a CALL: see mem_called_ld() */
#define IR_BLOCK_LOOP 16       /* a branch to its own start is taken often: to be compiled as a loop */
#define IR_BLOCK_TINY_AFTER 32 /* the guest has FP_TINY_AFTER always: the host's status is right where no NaN is */
#define IR_BLOCK_LONG 64       /* it is to go on past as many exits as it can: see ir_block_again() */
#define IR_BLOCK_LAZY_FLAGS 2  /* NZCV, always of type FLAGS, need not be stored while it is dead */

/* What 8 bytes of guest state hold: a value put there or got from there. */
struct ir_known {
    uint32_t key; /* offset / 8 << 16 and the epoch; 0: nothing known */
    irv value;
    uint8_t type;
    uint8_t sub; /* V128: which half; 4-byte types: the byte in the granule */
};

/* Bytes of an 8-byte granule of guest state that later PUTs overwrite unseen. */
struct ir_cover {
    uint16_t granule;
    uint8_t mask;
    uint32_t epoch; /* valid only in the current one */
};

struct ir_block {
    uint64_t pc;                        /* guest virtual address of the first instruction */
    uint32_t mode;                      /* guest mode key; bits 1..0 are the current access regime */
    uint32_t flags;                     /* IR_BLOCK_* */
    uint32_t insns;                     /* guest instructions in it */
    uint32_t guest_bytes;               /* bytes of guest code it covers, from pc */
    uint32_t insn_counter;              /* offset in struct cpu of a 64-bit counter of INSNs, 0: not counted */
    uint32_t before;                    /* bytes of code before pc that the translator may look at */
    uint32_t watch_before, watch_bytes; /* code that the translation depends on: so many bytes before pc, and from pc */
    uint16_t count;                     /* instructions used, index 0 included */
    uint16_t vconsts;
    uint16_t labels; /* in label[]: where branches inside the block lead */
    bool overflow;   /* out of room: the translator stops at the last whole instruction */
    struct ir_inst inst[IR_MAX_INSTS];
    v128 vconst[IR_MAX_VCONSTS];
    uint64_t label[IR_MAX_LABELS];
    /* Private to ir.c and the passes. Tables are not cleared for each block: what is in them is checked when it is
     * used. */
    struct {
        uint16_t room;     /* folding may append helper instructions below this index */
        uint16_t ends;     /* an EXIT_IF that always leaves, 0: there is none */
        bool raw;          /* there are instructions of ir_append(): opt_forward() has work to do */
        uint16_t fp_floor; /* FP operations before this index saw another FP status: not merged with later ones */
        uint16_t floor;    /* the last LABEL */
        uint16_t epoch;    /* of what is known now */
        struct ir_known known[128];  /* by offset / 8 */
        uint32_t cover_epoch;        /* the last one */
        struct ir_cover cover[128];  /* by offset / 8 */
        uint16_t consts[64];         /* hash of CONSTs by value: an index, checked when used */
        uint16_t equal[256];         /* hash of operations by what they compute: the same */
        irv map[IR_MAX_INSTS];       /* passes: old value to new */
        uint16_t uses[IR_MAX_INSTS]; /* live uses of a value, right if ... */
        bool counted;                /* ... the passes have been over the block */
    } priv;
};

struct ir_op_info {
    const char *name;
    char result;
    char operands[4];
    bool pure, memory, state, exits;
};
extern const struct ir_op_info ir_op_info[IR_OP_COUNT];
/* The properties of an operation, in a byte, for who asks for those of all. */
#define IR_IS_PURE 1u
#define IR_IS_MEMORY 2u
#define IR_IS_STATE 4u
#define IR_IS_EXIT 8u
#define IR_IS_FREE 16u /* pure, and it sets no floating-point status: may go if nothing uses it */
extern const uint8_t ir_op_is[IR_OP_COUNT];

/* How far from the block's pc an IR_PC may lead: a little more than any instruction does. */
#define IR_PC_NEAR (UINT64_C(1) << 33)

/* --- NZCV in guest state: the x86 order of LAHF and SETO, so that saving flags is cheap ------- */
#define IR_FLAG_V 0x0001u
#define IR_FLAG_C 0x0100u /* Arm's polarity: 1 = no borrow */
#define IR_FLAG_Z 0x4000u
#define IR_FLAG_N 0x8000u
/* How flags are saved: what cpu->flags_insn is then, IR_FLAGS_*. ir_flags_code(): of the operation that makes them; 0:
 * it is none of these. ir_flags_saved(): NZCV in bits 31..28, of that operation on a and b. */
enum ir_flags_kind { IR_SAVED_ADD, IR_SAVED_SUB, IR_SAVED_LOGIC, IR_SAVED_FCMP };
#define IR_FLAGS_WIDE 1 /* of 64 bits */
#define IR_FLAGS_KIND(code) ((code) >> 1 & 7)
#define IR_FLAGS_IMM 0x10 /* the second operand is in bits 23..8 ... */
#define IR_FLAGS_IMM_SHIFT 8
#define IR_FLAGS_IMM_BITS 16
#define IR_FLAGS_SAVED 0x20       /* always set */
#define IR_FLAGS_CODES 0x1000000u /* codes are below this, encodings of instructions that set NZCV are not */
uint32_t ir_flags_code(const struct ir_block *b, const struct ir_inst *flags);
uint32_t ir_flags_saved(uint32_t code, uint64_t a, uint64_t b);
/* ir_flags_pack(): NZCV in bits 31..28 to the stored form; other bits of the stored form are ignored by readers. */
static inline uint32_t ir_flags_pack(uint32_t nzcv) {
    return (nzcv >> 31 ? IR_FLAG_N : 0) | (nzcv >> 30 & 1 ? IR_FLAG_Z : 0) | (nzcv >> 29 & 1 ? IR_FLAG_C : 0) |
           (nzcv >> 28 & 1 ? IR_FLAG_V : 0);
}
static inline uint32_t ir_flags_unpack(uint32_t f) {
    return (f & IR_FLAG_N ? 1u << 31 : 0) | (f & IR_FLAG_Z ? 1u << 30 : 0) | (f & IR_FLAG_C ? 1u << 29 : 0) |
           (f & IR_FLAG_V ? 1u << 28 : 0);
}

/* --- building (dbt/ir.c, dbt/opt_forward.c) --------------------------------------------------- */
/* ir_block_reset(): an empty block for the code at pc in that mode. */
void ir_block_reset(struct ir_block *b, uint64_t pc, uint32_t mode);
/* ir_block_again(): the same, of a block that was built with IR_BLOCK_LONG: if it was a loop with branches
 * inside or with asides, those that are wanted have labels now, and it is IR_BLOCK_LONG again. */
void ir_block_again(struct ir_block *b, bool branches, bool asides);
/* ir_block_rewind(): forgets what was added to it since it had that count, and no vector constants. */
void ir_block_rewind(struct ir_block *b, unsigned count);
/* ir_add_inst(), and with it all that follows: appends *inst simplified by what came before it: folded (constants, x+0,
 * copies), a GET is the value that the state is known to hold, of equal operations there is one. Returns the value, 0
 * for none. Sets b->overflow and returns a valid index of the right type when there is no room. */
irv ir_add_inst(struct ir_block *b, const struct ir_inst *inst);
static inline enum ir_type ir_type_of(const struct ir_block *b, irv v) { return (enum ir_type)b->inst[v].type; }

irv ir_const(struct ir_block *b, enum ir_type t, uint64_t imm);
/* ir_pc(): value, I64, which is the block's pc and something: never an ir_const(), or the block has to be
 * IR_BLOCK_FIXED. */
irv ir_pc(struct ir_block *b, uint64_t value);
irv ir_vconst(struct ir_block *b, uint64_t lo, uint64_t hi);
irv ir_get(struct ir_block *b, enum ir_type t, size_t offset);
void ir_put(struct ir_block *b, size_t offset, irv v);
/* Generic: the result type is a's for 'i' operations. */
irv ir_op1(struct ir_block *b, enum ir_op op, irv a);
irv ir_op2(struct ir_block *b, enum ir_op op, irv a, irv c);
irv ir_op3(struct ir_block *b, enum ir_op op, irv a, irv b_, irv c);
/* With an immediate second operand of a's type. */
irv ir_op2i(struct ir_block *b, enum ir_op op, irv a, uint64_t imm);
irv ir_bitfield(struct ir_block *b, enum ir_op op, irv a, irv b_, unsigned lo,
                unsigned len); /* UBFX SBFX BFI (EXTR: lo) */
irv ir_cmp(struct ir_block *b, enum ir_cmp cc, irv a, irv c);
irv ir_cond(struct ir_block *b, enum ir_cond cc, irv flags);
irv ir_select(struct ir_block *b, irv cond, irv yes, irv no);
irv ir_flags_select(struct ir_block *b, irv cond, irv flags, unsigned nzcv);
irv ir_ld(struct ir_block *b, enum ir_type t, unsigned log2_bytes, irv addr, int32_t disp, unsigned regime,
          unsigned flags);
void ir_st(struct ir_block *b, unsigned log2_bytes, irv addr, int32_t disp, irv value, unsigned regime, unsigned flags);
irv ir_atomic(struct ir_block *b, enum ir_atomic kind, unsigned log2_bytes, irv addr, irv value, unsigned regime,
              unsigned flags);
irv ir_cas(struct ir_block *b, unsigned log2_bytes, irv addr, irv expected, irv value, unsigned regime, unsigned flags);
irv ir_stx(struct ir_block *b, unsigned log2_bytes, irv addr, irv value, unsigned regime, unsigned flags);
void ir_fence(struct ir_block *b, enum ir_fence kind);
irv ir_call(struct ir_block *b, enum ir_type t, const struct ir_helper *h, irv a, irv b_, irv c);
irv ir_callv(struct ir_block *b, const struct ir_helper *h, irv a, irv b_, irv c, uint32_t aux);
/* Vector operation with lane (log2 bytes) and immediate n. */
irv ir_vop1(struct ir_block *b, enum ir_op op, unsigned lane, irv a, unsigned n);
irv ir_vop2(struct ir_block *b, enum ir_op op, unsigned lane, irv a, irv b_, unsigned n);
irv ir_vop3(struct ir_block *b, enum ir_op op, unsigned lane, irv a, irv b_, irv c, unsigned n);
/* ir_insn(): a guest instruction starts, with its LABEL if it has one, and is counted. ir_insn_pc(): the same
 * instruction goes on with that pc. */
void ir_insn(struct ir_block *b, uint64_t pc, uint32_t encoding);
void ir_insn_pc(struct ir_block *b, uint64_t pc, uint32_t encoding);
/* ir_count(): adds 1 to the 64-bit counter at that offset in struct cpu. */
void ir_count(struct ir_block *b, size_t offset);
/* ir_is_label(): has the instruction at pc a LABEL? */
bool ir_is_label(const struct ir_block *b, uint64_t pc);
/* ir_exit_if(): IR_EXIT_INSIDE if that is a label ahead. */
void ir_exit_if(struct ir_block *b, irv cond, uint64_t pc);
/* ir_goes_back(): is that an exit to the block's own start, which makes it a loop? */
static inline bool ir_goes_back(const struct ir_block *b, const struct ir_inst *in) {
    return (in->op == IR_EXIT_IF || in->op == IR_GOTO) && in->imm == b->pc && !(in->flags & IR_EXIT_FAULT);
}
/* ir_branch_over(): an unconditional branch forward, from in front of next, over what earlier exits lead to. Returns
 * its exit, 0 if it is no such one: then next may not be reached. */
irv ir_branch_over(struct ir_block *b, uint64_t next, uint64_t target);
/* ir_aside(): behind the branch at pc, which goes back: the first instruction further on that an earlier exit leads to
 * and a block with IR_BLOCK_LONG goes on with, 0 if there is none in front of limit. ir_step_aside(): in front of that,
 * where control leaves the loop for target; returns the exit, 0 if there was no room. */
uint64_t ir_aside(const struct ir_block *b, uint64_t pc, uint64_t limit);
irv ir_step_aside(struct ir_block *b, uint64_t target);
void ir_fault_if(struct ir_block *b, irv cond, uint64_t pc); /* IR_EXIT_FAULT */
void ir_goto(struct ir_block *b, uint64_t pc);
void ir_goto_reg(struct ir_block *b, irv target, enum ir_jump kind);
void ir_ras_push(struct ir_block *b, uint64_t return_pc);
void ir_exit(struct ir_block *b);

/* --- passes ----------------------------------------------------------------------------------- */
/* ir_verify(): types, operand order, one final exit. Returns 0, or -1 with a message in err. */
int ir_verify(const struct ir_block *b, char *err, size_t errlen);
/* ir_optimise(): GET/PUT forwarding, dead stores, dead code, constant folding, common subexpressions. In place. */
void ir_optimise(struct ir_block *b);
/* ir_passes: what ir_optimise() runs, in that order; ends with one that has no run(). */
struct ir_pass {
    const char *name;
    void (*run)(struct ir_block *b);
};
extern const struct ir_pass ir_passes[];
/* ir_print(): the text form (dbt/ir_text.c); out(ctx, line) is called for each line. */
void ir_print(const struct ir_block *b, void (*out)(void *ctx, const char *line), void *ctx);
/* ir_parse(): reads the text form (tests only). Returns 0, or -1 with a message in err. A test that reads "fn=NAME"
 * sets ir_parse_helpers to a list of helpers that ends with NULL. */
extern const struct ir_helper *const *ir_parse_helpers;
int ir_parse(struct ir_block *b, const char *text, char *err, size_t errlen);
/* ir_interpret(): executes the block on cpu, the oracle for every emitter test. Memory goes through
 * mem_read()/mem_write() of mmu.h. Returns after writing the next guest pc to the state. */
void ir_interpret(const struct ir_block *b, struct cpu *cpu);

#endif
