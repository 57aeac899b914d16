/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * backend.h: what the files of the x86-64 backend share.
 *
 *   codegen.c   the loop over a block's instructions, the tables of emitters
 *   analyse.c   the backward pass: uses, fusion, pins as targets
 *   regalloc.c  where values are: registers, spill slots, homes in struct cpu
 *   flags.c     EFLAGS as a place for FLAGS and comparison results
 *   emit_*.c    one emitter for each IR operation
 *   stub.c      code out of line; slow.c, in C, does what it asks for
 *   loop.c      pins of their own for blocks that are loops
 *   steady.c    accesses of loops that need no probe, by place; span.c, page by page
 *   ring3.c     what translated code asks for that has less privilege than the engine
 *   thunks.c    the code that all blocks share; entering and leaving
 *
 * Register numbers: 0..15 general registers, 16..47 XMM0..31. XMM16 and up are
 * there with AVX-512 only: the operations that have no EVEX encoding use copies
 * of them below (use_x(), def_x()).
 */
#ifndef GRAFT_X86_BACKEND_H
#define GRAFT_X86_BACKEND_H

#include "dbt/x86/asm.h"
#include "graft/codegen.h"

#define NREGS 48
#define XMM(n) (16 + (n))
#define NO_REG 0xff
#define GPR_PINS 9
#define VEC_PINS 20 /* XMM8..27; 8 without AVX-512 */
typedef uint64_t regset;
#define GPR_TEMPS (BIT(ASM_RAX) | BIT(ASM_RCX) | BIT(ASM_RDX) | BIT(ASM_RSI) | BIT(ASM_RDI))
#define XMM_LOW_TEMPS ((regset)0xff << XMM(0))
#define XMM_HIGH_TEMPS ((regset)15 << XMM(28)) /* with AVX-512 */
#define GPR_CLASS ((regset)0xffff)
#define XMM_CLASS ((regset)0xffffffff << XMM(0))
#define XMM_LOW_CLASS ((regset)0xffff << XMM(0))
/* Pinned registers that C functions clobber. */
#define CALLER_SAVED (BIT(ASM_R8) | BIT(ASM_R9) | BIT(ASM_R10) | BIT(ASM_R11) | XMM_CLASS)

static inline struct asm_mem cpu_mem(size_t offset) { return asm_mem(ASM_RBP, (int32_t)offset - CODEGEN_BIAS); }
#define CPU_FIELD(field) cpu_mem(offsetof(struct cpu, field))

/* The frame below RSP while translated code runs. */
#define SLOTS 64
#define MAX_STEADY 12 /* see below */
#define MAX_PLACES 2
struct frame {
    uint64_t gpr[SLOTS]; /* spill slots */
    uint64_t temp[8];    /* the temporaries while slow.c works, by register number */
    const void *at;      /* in: where the call of the slow thunk returns to; out: where to go on */
    uint64_t pad0;
    uint32_t mxcsr;  /* the caller's */
    uint32_t rounds; /* of a loop: see steady.c */
    v128 xmm[SLOTS];
    v128 temp_xmm[12];          /* by temp_index() */
    uint64_t span[MAX_STEADY];  /* the addends of a loop's addresses: see span.c */
    uint64_t place[MAX_PLACES]; /* their places, by number, and index registers: see steady.c */
    uint64_t index[MAX_PLACES];
};
#define FRAME_FIELD(field) asm_mem(ASM_RSP, (int32_t)offsetof(struct frame, field))

struct codegen_features {
    bool avx512; /* F, VL, DQ, BW: EVEX.128 forms of 64-bit lane operations */
};

/* Constants that emitted code reads, at the start of the code area. */
struct consts {
    v128 abs32, abs64, min32, min64, sign32, sign64; /* absolute value masks, smallest normal numbers, sign bits */
    v128 one32hi;                                    /* 0 0 1.0f 1.0f */
    v128 low8, low16, low32;                         /* the low half of each 16-, 32-, 64-bit lane */
    v128 keep8, keep16;                              /* the low byte, the low 16 bits of the register */
    v128 tbl;                                        /* 0x70 bytes: makes PSHUFB indices above 15 select zero */
    v128 max32, max64;                               /* largest signed values */
    v128 shl8[8], shr8[8], sar8[8];
    v128 narrow[4];                   /* PSHUFB: VNARROW by lane */
    v128 rev[5][4];                   /* PSHUFB: VREV by container and lane */
    uint64_t rbit[3], rev16;          /* masks */
    uint32_t fcmp[4];                 /* stored flags of greater, less, equal, unordered operands */
    uint64_t minus1, two32, two63;    /* doubles */
    uint32_t minus1f, two32f, two63f; /* floats */
};

enum value_flag {
    V_FUSED = 1,   /* its consumer emits it */
    V_ZEXT = 2,    /* an I32 whose register holds zeros above */
    V_EARLY = 4,   /* already defined, together with an earlier FLAGS operation */
    V_DEAD = 8,    /* not used: not emitted */
    V_FUSES = 16,  /* it emits an operand of its own */
    V_SILENT = 32, /* a constant: its users emit what they need */
    V_FOLDED = 64, /* part of the addresses that are in registers of their own: see span.c */
};
struct value {
    uint8_t reg;       /* register number or NO_REG */
    uint8_t flags;     /* enum value_flag */
    uint8_t target;    /* the pin that the result is put to, if it may be computed in place; else NO_REG */
    uint8_t dirty;     /* V128: only so many low bytes of the register are right, the rest is to be zero; 0 = all */
    int8_t slot;       /* spill slot, -1 if none */
    uint8_t uses;      /* uses in all, 255: or more */
    uint16_t next_use; /* instruction that uses it next, 0 if none */
    irv reg_next;      /* next value in the same register */
    int32_t home;      /* offset in struct cpu that holds it, -1 if none */
};

/* EFLAGS: what they mean now. */
enum flags_kind {
    FLAGS_NONE,
    FLAGS_INVERTED /* CF = borrow */,
    FLAGS_DIRECT /* CF = Arm's C */,
    FLAGS_FCMP,
    FLAGS_FCMP_SWAPPED /* of UCOMIS a, b; b, a */
};
#define CC_EQ_ORDERED 16   /* pseudo conditions after UCOMIS: E and NP */
#define CC_NE_UNORDERED 17 /* NE or P */
#define MAX_BOOLS 4
struct eflags {
    irv value;    /* the FLAGS value, 0 if none */
    uint8_t kind; /* of value */
    unsigned bools;
    struct {
        irv v;
        uint8_t cc; /* x86 condition, or CC_* */
    } boolean[MAX_BOOLS];
    uint8_t memo_op; /* the operation and operands that EFLAGS are of: IR_ADD SUB ADC SBC, or IR_AND: logic flags of
                        memo[0] */
    irv memo[3];
};

/* Out-of-line code, emitted after the block's last instruction. */
enum stub_kind {
    STUB_LD,
    STUB_ST,
    STUB_ATOMIC,
    STUB_CAS,
    STUB_STX,
    STUB_FP,
    STUB_FP_GROUP,
    STUB_LINK,
    STUB_FAR,    /* link to another page; its check is in the block */
    STUB_FAR_IF, /* the same, and its check is in the stub */
    STUB_RETURN,
    STUB_FAULT, /* to guest_ops.exit_fault() */
    STUB_PENDING
};
#define MAX_HOISTS 3
#define SLOW_SEXT 1 /* the loaded value is sign-extended */
#define SLOW_32 2   /* ... to 32 bits; a result of 32 bits */
#define SLOW_LOOP 4 /* ABI_PEND_LOOP afterwards */
/* What slow.c does for a stub: the engine finds it by where the stub's call of the slow thunk returns to. */
struct slow_record {
    uint64_t pc; /* guest pc to write; STUB_FP: slow_function() of softfp's; exits: target */
    int32_t disp;
    uint32_t desc;       /* MMU_DESC or FP_DESC */
    int32_t site;        /* mmu_probe.site, relative to where the call returns to; 0: none */
    int32_t back;        /* where to go on, likewise */
    int32_t imm;         /* STUB_ST without value register */
    uint32_t flags_insn; /* for cpu->flags_insn, if not 0 */
    uint8_t kind, flags;
    uint8_t base, value, value2, dst; /* registers; STUB_FP: the first three are operands */
    uint8_t hoists, reserved;
    struct {
        uint8_t base, index, regime; /* base NO_REG: the probe covers a range, the index is MMU_NO_ADDEND from now on */
    } hoist[MAX_HOISTS];             /* index registers to renew; absent if there are none */
} __attribute__((packed));
struct stub {
    struct slow_record rec;
    struct asm_label slow;
    uint32_t back;
    uint32_t site;  /* mmu_probe.site, 0: none; link: position of the jump */
    uint32_t start; /* position of what a fault goes to */
    bool vector;    /* XMM temporaries are in use */
    bool retry;     /* a load or store with a probe that the strategy may try otherwise: mmu_ops.emit_retry */
    bool find;      /* an access with a probe that the strategy has mmu_ops.emit_find for */
    bool align;     /* mmu_probe.align */
    bool hot;       /* with find or hoisted: its probe is one of hot code's */
    bool faults;    /* with find or hoisted: the access may fault all the same */
    bool steady;    /* in the body of a loop without probes for steady accesses */
    bool placed;    /* an access without a probe */
    bool sure;      /* one that cannot fault either: it needs no stub */
    bool hoisted;   /* it uses the range of an earlier probe, tmp0 is the index register */
    bool shared;    /* others do that with this one's */
    bool followed;  /* the next stub's access does, and is next: the stub goes on with that one's */
    uint8_t gap;    /* followed by this one: bytes of code between the two accesses */
    bool write;     /* what its probe is for: low, high and write as in struct mmu_probe */
    int32_t low, high;
    uint8_t tmp0, tmp1;   /* of that probe */
    uint16_t slot;        /* mmu_probe.slot */
    uint32_t access;      /* position behind the probe, or the test of the index register */
    uint16_t call, calls; /* softfp calls that come first: of cg->fp_call */
    uint8_t flags_kind;   /* exits: flags to store first: enum flags_kind if they are in EFLAGS, */
    uint8_t flags_reg;    /* ... else a register, or NO_REG */
    bool again;           /* of a loop, to its start */
    bool left;            /* the block has done loop_leave() */
    uint8_t inside;       /* 1 and the number of the label that it leads to, 0: it leaves the block */
    /* STUB_FP */
    uint8_t lane, n; /* of the result */
    uint8_t mask;    /* a general register for the mask of the lanes that failed, if n > 1 */
};
#define MAX_STUBS 700

/* An operation of the host whose result has not been checked yet (emit_fp.c). */
struct fp_op {
    struct slow_record rec;
    uint8_t lane, n;
    bool tiny;    /* it may be the smallest normal number by rounding, not only a NaN */
    bool covered; /* if it is a NaN, the result of a later one is, too */
};
#define MAX_FP_OPS 8
#define MAX_FP_CALLS 1000
#define MAX_HOMES 64

struct hoist {
    irv root;   /* base value with constant additions taken off, 0 if unused */
    irv base;   /* a value with that root, in a register while the entry is used */
    int64_t at; /* offset of the probed address from root */
    uint8_t regime;
    uint8_t index; /* register, or MMU_NO_INDEX */
    uint16_t stub; /* of the probe's access */
    uint32_t site; /* of the probe */
    /* Of a probe that covers a range: offsets from root, and the accesses that are still to come. */
    bool range, write;
    unsigned left;
    int64_t low, high;
};

/* The loads and stores from here on that one probe may serve: they are off one base, with nothing in between that ends
 * it. */
struct group {
    int16_t low, high; /* the bytes that they touch, from the address of this one */
    bool write;        /* one is a store */
    uint8_t more;      /* how many follow */
};
#define GROUP_BYTES 256 /* at most */

/* Where branches inside the block lead. */
struct label {
    uint64_t pc;
    irv at;
    struct asm_label place[2]; /* in a loop's other body, see steady.c */
};

/* A C function that translated code in ring 3 calls by its number, which is where its hash is put. */
#define HELPERS 2048
struct helper {
    const void *fn;
    uint8_t regimes;    /* a bit for each with code that has such a call: others may not */
    uint8_t scratch[2]; /* the first arguments: cpu->vscratch[n - 1], or 0: what they are */
    bool vector;        /* by the thunk callv */
};

/* A register of the guest that has a host register while a loop runs (loop.c). */
#define MAX_LOOP_PINS 24
struct loop_pin {
    uint8_t reg;
    uint8_t number;        /* in records, see loop_place() */
    bool written;          /* in the block */
    int32_t home, instead; /* offsets in struct cpu: of it, or NO_HOME, and of what is pinned there elsewhere */
};
#define NO_HOME (-1) /* it holds no guest register, but something of steady.c's */
struct loop {
    bool on; /* the block is one */
    unsigned pins;
    regset taken; /* their registers */
    struct loop_pin pin[MAX_LOOP_PINS];
};

/* Accesses of a loop that need no probe (steady.c, span.c). */
#define MAX_TERMS 3
#define MAX_STEADY_ACCESSES 32
struct steady {
    bool on;                              /* the body without probes is being compiled */
    bool spans;                           /* it runs for a span at a time; there are no places */
    uint8_t rounds;                       /* the register that counts a span's rounds, NO_REG: frame.rounds does */
    unsigned end;                         /* the last exit that goes back */
    uint32_t flags_insn;                  /* as codegen.flags_insn, when a round of that body begins */
    bool goes_back, flags_differ;         /* one has been emitted; by these exits flags_insn is not the same */
    unsigned places, addresses, accesses; /* no accesses: there is one body */
    struct steady_place {
        uint64_t number; /* when the loop was compiled */
        uint8_t reg;     /* its index register, NO_REG: there was none left */
    } place[MAX_PLACES];
    struct steady_address {
        irv root; /* see address_root() */
        uint8_t place, terms;
        uint64_t constant; /* root is the sum of this, of registers, and of what is bounded */
        struct {
            int32_t home;
            uint8_t scale;
        } term[MAX_TERMS];
        /* In spans: what a round adds, what the accesses touch, off the address, ... */
        int64_t step;
        int32_t low, high, more; /* ... which may be off what these make by so much */
        bool write;
        uint8_t reg; /* for its addend, NO_REG: that is in the frame alone */
        /* folded: an access is at [addend + (moving << scale)], as the addend has the base, which never changes. */
        bool folded;
        uint8_t scale;
        irv base, moving;
    } address[MAX_STEADY];
    struct steady_access {
        uint16_t at; /* the instruction */
        uint8_t address;
        uint32_t site; /* of its probe in the other body, 0: none */
    } access[MAX_STEADY_ACCESSES];
    struct asm_label prove, start; /* start: of the body without probes */
    uint32_t other;                /* position of the other one */
};

struct codegen {
    struct cpu *cpu;
    const struct mmu_ops *mmu;
    const struct guest_ops *guest;
    bool alone; /* there is one vCPU: an instruction is atomic without LOCK */
    struct codegen_features features;
    bool count;                /* abi_boot.count */
    int32_t pin_offset[NREGS]; /* where a pinned register lives in struct cpu, -1 if it is none */
    regset pins, xmm_temps;
    regset kept;          /* pins that stay in their registers outside translated code, too */
    uint8_t pin_map[256]; /* (offset - sizeof(struct cpu)) / 8 -> register */
    const struct consts *k;
    const uint8_t *code; /* the code area */
    size_t code_size;
    bool ring3;                 /* rt_has_ring3(): thunks have no pointers, but ask for what is in these tables */
    const uint8_t *ring3_enter; /* thunk: RSI = code */
    struct helper helper[HELPERS];
    uint8_t scratch_arg[2]; /* helper.scratch of the next call */
    void (*enter)(struct cpu *cpu, const uint8_t *entry);
    void (*unwind)(struct cpu *cpu) __attribute__((noreturn));
    const uint8_t *exit_pc;    /* thunk: RAX = pc, RCX = cpu.exit_site */
    const uint8_t *exit_link;  /* thunk, called: the engine knows the pc by the return address, engine_left() */
    const uint8_t *exit;       /* thunk: pc is in the state already */
    const uint8_t *exit_kept;  /* thunk: pc and exit_site are in the state already */
    const uint8_t *lookup;     /* thunk: RAX = pc */
    const uint8_t *jump;       /* thunk, called by the stub of an exit to another page: engine_jump() */
    const uint8_t *call_state; /* thunk: RAX = fn, RDI = pc, RSI RDX RCX arguments */
    const uint8_t *call_pure;  /* thunk: RAX = fn, RSI RDX RCX arguments */
    const uint8_t *callv;      /* thunk: RAX = fn, ESI = aux; operands in vscratch[1..3], result in vscratch[0] */
    const uint8_t *mmu_thunk[MMU_THUNKS]; /* mmu_ops.emit_thunks */
    const uint8_t *slow[2];               /* thunks, called by stubs: engine_record(); [1]: with XMM temporaries */

    /* The block being compiled. */
    struct asm_buf a;
    const struct ir_block *b;
    struct code_out *out;
    bool failed;
    bool own_exit; /* one leads to the block's own start */
    unsigned at;   /* current instruction */
    uint64_t pc;   /* of the last INSN */
    regset locked; /* registers that the current instruction uses */
    regset busy;   /* registers with values in them */
    irv reg_head[NREGS];
    regset held;      /* operands and results of the operations that are not checked yet: not to be written */
    regset unchecked; /* their results */
    unsigned fp_ops;  /* those operations */
    struct fp_op fp_op[MAX_FP_OPS];
    unsigned fp_calls; /* for stubs */
    struct slow_record fp_call[MAX_FP_CALLS];
    uint64_t slots_gpr, slots_xmm; /* in use */
    struct eflags fl;
    uint32_t flags_insn;   /* not 0: NZCV is not stored, but what this guest instruction computes */
    bool flags_insn_known; /* ... and cpu->flags_insn says so */
    unsigned homes;
    irv home[MAX_HOMES];
    struct hoist hoist[MAX_HOISTS];
    unsigned hoist_next;
    unsigned access_at, access_notes; /* the last access: its instruction, and a.notes behind it */
    struct loop loop;                 /* meanwhile pin_offset and pin_map are the block's own */
    struct steady steady;
    struct asm_label vconst[IR_MAX_VCONSTS];
    unsigned labels;
    struct label label[IR_MAX_LABELS];
    unsigned stubs;
    struct stub stub[MAX_STUBS];
    struct value v[IR_MAX_INSTS];
    uint16_t next_use[IR_MAX_INSTS][3]; /* of each operand's value, after this use */
    struct group group[IR_MAX_INSTS];   /* of loads and stores, if probes cover ranges */
};

/* --- analyse.c -------------------------------------------------------------------------------- */
/* analyse_block(): from the last instruction to the first: uses of values, what is fused or dead, targets. Fills cg->v
 * and cg->next_use. */
void analyse_block(struct codegen *cg);
/* address_root(): the address of a memory access without constant additions, and their sum. */
irv address_root(const struct codegen *cg, const struct ir_inst *in, int64_t *offset);

/* --- regalloc.c ------------------------------------------------------------------------------- */
static inline const struct ir_inst *inst_of(const struct codegen *cg, irv v) { return &cg->b->inst[v]; }
static inline bool is_const(const struct codegen *cg, irv v) { return cg->b->inst[v].op == IR_CONST; }
static inline bool is_wide(const struct ir_inst *in) { return in->type == IR_I64; }
uint64_t const_value(const struct codegen *cg, irv v);                   /* of a CONST, cut to its type */
bool const_imm32(const struct codegen *cg, irv v, bool w, int32_t *imm); /* is it a CONST that fits an x86 immediate? */
static inline regset class_of_type(unsigned type) { return type == IR_V128 ? XMM_CLASS : GPR_CLASS; }
static inline unsigned xmm(unsigned reg) { return reg - 16; }
static inline unsigned temp_index(unsigned reg) { return reg < XMM(8) ? reg - XMM(0) : reg - XMM(28) + 8; }

/* use(): the register that holds v, locked for this instruction. V128: all of it exact; use_low(): the low bytes
 * exact. */
unsigned use(struct codegen *cg, irv v);
unsigned use_low(struct codegen *cg, irv v, unsigned bytes);
unsigned use_v(struct codegen *cg, irv v); /* a V128, as an XMM number */
unsigned use_x(struct codegen *cg, irv v); /* the same, below 16: for instructions without an EVEX encoding */
/* low_x(): that XMM register, or a copy below 16. */
unsigned low_x(struct codegen *cg, unsigned x);
/* use_as(): a copy of v in that temporary, which the instruction may destroy. */
void use_as(struct codegen *cg, irv v, unsigned reg);
/* use_mem(): true if v is best read from memory by this instruction, with its operand. */
bool use_mem(struct codegen *cg, irv v, struct asm_mem *m);
/* scratch(): a temporary register for this instruction. take(): that one. */
unsigned scratch(struct codegen *cg, regset class);
void take(struct codegen *cg, unsigned reg);
unsigned scratch_x(struct codegen *cg); /* an XMM number */
/* dies_here(): is the current instruction v's last user? */
bool dies_here(const struct codegen *cg, irv v);
/* done(): this instruction's operands are read; those not used later are dropped. done_inst() for a fused one. */
void done_inst(struct codegen *cg, irv inst);
void done(struct codegen *cg);
/* def(): the register for this instruction's result, preferably hint if that is free. It may be a register of an
 * operand only if the operand's value is dead (a pin as target, or hint). def_fresh(): never a locked register. */
unsigned def(struct codegen *cg, unsigned hint);
unsigned def_value(struct codegen *cg, irv v, unsigned hint);
unsigned def_fresh(struct codegen *cg);
unsigned def_v(struct codegen *cg, unsigned hint); /* XMM numbers */
unsigned def_fresh_v(struct codegen *cg);
unsigned def_x(struct codegen *cg, unsigned hint); /* the same, below 16 */
unsigned def_fresh_x(struct codegen *cg);
/* def_in(): the result is in that temporary. */
void def_in(struct codegen *cg, irv v, unsigned reg);
/* def_alias(): the result is what src's register holds. */
void def_alias(struct codegen *cg, irv v, irv src);
/* kill_value(): v is not used any more: its register, its spill slot and its home are forgotten. */
void kill_value(struct codegen *cg, irv v);
/* evict(): the values in reg go to another register if one is free, else to memory. */
void evict(struct codegen *cg, unsigned reg);
/* forget_values(): no value is anywhere any more, but those that every register may have again. */
void forget_values(struct codegen *cg);
/* spill_temps(): no temporary holds a value that is only there (before a call). */
void spill_temps(struct codegen *cg);
/* spill_state(): the values of guest state read so far survive its being changed by a helper. */
void spill_state(struct codegen *cg);
regset live_temps(struct codegen *cg); /* temporaries that hold values needed after this instruction */
/* drop_hoists(): later accesses make probes of their own. */
void drop_hoists(struct codegen *cg);
/* store_slot(): stores v, which is in reg, in a spill slot: its own, or a new one. slot_mem(): that slot as an
 * operand. */
void store_slot(struct codegen *cg, irv v, unsigned reg);
struct asm_mem slot_mem(struct codegen *cg, irv v);
/* home_add(): struct cpu holds v, too, at that offset: v needs no slot. home_forget(): these bytes are about to change;
 * a value that is nowhere else is read first. */
void home_add(struct codegen *cg, irv v, int32_t offset);
void home_forget(struct codegen *cg, int32_t offset, unsigned bytes);
unsigned pin_at(const struct codegen *cg, uint64_t offset); /* the pin whose home covers it, or NO_REG */
/* held_renamed(): what an unchecked operation has in one register (cg->held) is in the other now. */
void held_renamed(struct codegen *cg, unsigned from, unsigned to);
void clear_pin(struct codegen *cg, unsigned pin, irv except); /* values in it, but that one, move away */
void emit_GET(struct codegen *cg, const struct ir_inst *in);
void emit_PUT(struct codegen *cg, const struct ir_inst *in);

/* --- flags.c ---------------------------------------------------------------------------------- */
/* flags_clobber(): what EFLAGS hold and is still needed is saved. Before the instruction's first use(). */
void flags_clobber(struct codegen *cg);
bool flags_live(struct codegen *cg); /* would flags_clobber() emit anything? */
/* flags_set(): the instruction just emitted left the FLAGS value v in EFLAGS, which mean kind. flags_set_bool(): x86
 * condition cc is now the boolean v. Both follow a flags_clobber(). */
void flags_set(struct codegen *cg, irv v, enum flags_kind kind);
void flags_set_bool(struct codegen *cg, irv v, unsigned cc);
/* flags_bool(): is the boolean v a condition of EFLAGS now? Which one? */
bool flags_bool(const struct codegen *cg, irv v, unsigned *cc);
/* flags_memo(): EFLAGS are of that operation on these operands, whether or not a value says so: another one of the same
 * needs not be emitted. flags_memo_is(): are they? */
void flags_memo(struct codegen *cg, unsigned op, irv a, irv b, irv c);
bool flags_memo_is(const struct codegen *cg, unsigned op, irv a, irv b, irv c);
/* flags_put(): the PUT of v to the guest's NZCV, in its stored form. */
void flags_put(struct codegen *cg, irv v, int32_t offset);
/* flags_are_stored(): NZCV in the state is right: cpu->flags_insn says so. */
void flags_are_stored(struct codegen *cg);
/* flags_form(): the stored form of EFLAGS, which mean kind, into reg (RAX unless they are of a floating-point
 * comparison).
 */
void flags_form(struct codegen *cg, enum flags_kind kind, unsigned reg);
/* flags_in_eflags(): what EFLAGS mean if v is there and nowhere else, else FLAGS_NONE. */
enum flags_kind flags_in_eflags(const struct codegen *cg, irv v);
/* flags_test(): EFLAGS say whether v != 0; returns the condition. */
unsigned flags_test(struct codegen *cg, irv v);
/* flags_carry(): CF = v, or not v. What else EFLAGS hold is saved first, and v if it is used again. */
void flags_carry(struct codegen *cg, irv v, bool inverted, bool again);
unsigned flags_stored(struct codegen *cg, irv v); /* a register with the stored form */
/* setcc_reg(): reg = 1 if the condition (or CC_*) holds, else 0. Leaves EFLAGS alone. */
void setcc_reg(struct codegen *cg, unsigned cc, unsigned reg);
static inline unsigned cc_not(unsigned cc) { return cc ^ 1; }

/* --- stub.c ----------------------------------------------------------------------------------- */
/* stub_new(): a stub of that kind, which is emitted behind the block; the block jumps to its label `slow`. Valid until
 * the block is compiled, whatever else fails: without room for one it is another's, and the block fails. */
struct stub *stub_new(struct codegen *cg, enum stub_kind kind);
/* stub_fault(): the next instruction may fault, and then goes on at the stub. */
void stub_fault(struct codegen *cg, const struct stub *s);
/* stub_probe(): what a probe for the stub's access alone has to be for. stub_group_probe(): for its group, too. */
struct mmu_probe stub_probe(const struct codegen *cg, const struct stub *s);
struct mmu_probe stub_group_probe(const struct codegen *cg, const struct stub *s);
/* stub_emit(): false if it is the stub of an exit, whose own part emit_exit_stub() emits next. */
bool stub_emit(struct codegen *cg, struct stub *s);

/* --- loop.c ----------------------------------------------------------------------------------- */
/* loop_begin(): if the block is a loop that is to be compiled as one, gives it its pins. loop_end(): takes them back.
 * loop_is_possible(): it is not, but could be. */
void loop_begin(struct codegen *cg);
void loop_end(struct codegen *cg);
bool loop_is_possible(struct codegen *cg);
/* Nothing is emitted by these in other blocks. loop_enter(): in front of the loop. loop_leave(): pins and state are
 * what they are between blocks. loop_return(): the same state again, after a loop_leave(). No flags change, and no
 * registers but these pins' own. */
void loop_enter(struct codegen *cg);
void loop_leave(struct codegen *cg);
void loop_return(struct codegen *cg);
/* loop_record(): a record of the loop that is read after a loop_leave(). loop_place(): what its registers from NREGS on
 * are. */
void loop_record(const struct codegen *cg, struct slow_record *r);
void *loop_place(struct cpu *cpu, unsigned number);
static inline bool loop_is_vector(unsigned number) { return number >= 128; }

/* --- steady.c --------------------------------------------------------------------------------- */
/* steady_begin(): which accesses before `end`, the last exit that goes back, are steady. */
void steady_begin(struct codegen *cg, unsigned end);
/* steady_enter(): in front of the loop. steady_count(): where a round of the body with all probes begins.
 * steady_prove(): behind that body, and in front of the other. steady_return(): a stub goes back to the other one. */
void steady_enter(struct codegen *cg);
void steady_count(struct codegen *cg);
void steady_prove(struct codegen *cg);
void steady_return(struct codegen *cg);
/* steady_here(): the address of the current access if it has no probe, else NULL. steady_note(): the current access's
 * probe, in the other body. steady_site(): that again. */
const struct steady_address *steady_here(const struct codegen *cg);
void steady_note(struct codegen *cg, uint32_t site);
uint32_t steady_site(const struct codegen *cg);
/* steady_join(): the places have got their registers: two are one if there were not enough. steady_index(): loads
 * what is the n-th one's index register, of one that has got none, into reg. */
void steady_join(struct codegen *cg);
void steady_index(struct codegen *cg, unsigned n, unsigned reg);
/* For span.c: steady_rounds(): so many rounds of the first body follow. steady_address(): the address as it is when a
 * round begins, into RAX; RCX is destroyed. */
void steady_rounds(struct codegen *cg, int32_t n);
void steady_address(struct codegen *cg, const struct steady_address *s);

/* --- span.c ----------------------------------------------------------------------------------- */
/* span_begin(), span_prove(): as steady_begin() and steady_prove(); the latter begins the other body, too.
 * span_mem(): where an access off that address goes, whose value is in `base`. span_leave(): a stub of the other body
 * does something slow in between. span_return(): it goes back. */
void span_begin(struct codegen *cg);
void span_prove(struct codegen *cg);
struct asm_mem span_mem(struct codegen *cg, const struct steady_address *s, unsigned base, int32_t disp);
void span_leave(struct codegen *cg);
void span_return(struct codegen *cg);
/* span_fold(): what is not emitted in the other body gets V_FOLDED. span_folded(): emits nothing for the current
 * instruction, which has it, but that its result is where the register is that moves. */
void span_fold(struct codegen *cg);
void span_folded(struct codegen *cg);

/* --- label.c ---------------------------------------------------------------------------------- */
/* labels_begin(): notes the block's labels. label_of(): 1 and the number of the one that this exit leads to, 0: it
 * leaves the block. label_place(): where it is, in that body of a loop. */
void labels_begin(struct codegen *cg);
unsigned label_of(const struct codegen *cg, const struct ir_inst *in);
static inline struct asm_label *label_place(struct codegen *cg, unsigned label, bool steady) {
    return &cg->label[label - 1].place[steady];
}
/* is_skipped(): may a branch inside the block, or one back to its start, skip the instruction i? */
bool is_skipped(const struct codegen *cg, unsigned i);

/* --- emit_exit.c, emit_fp.c, thunks.c, slow.c ------------------------------------------------- */
/* emit_entry(): the block's entries, with and without the check of abi.pending. emit_pending(): that check. */
void emit_entry(struct codegen *cg);
void emit_pending(struct codegen *cg);
/* emit_exit_stub(): stores the flags that only this exit needs, and leaves for the exit's target. */
void emit_exit_stub(struct codegen *cg, struct stub *s);
/* fp_may_wait(): may unchecked results stay so while this instruction is emitted? fp_flush(): checks them now. */
bool fp_may_wait(const struct codegen *cg, const struct ir_inst *in);
void fp_flush(struct codegen *cg);
/* fp_note(): the stub does them first. */
void fp_note(struct codegen *cg, struct stub *s);
/* thunks_emit(): the code that all blocks share, at the start of the code area. */
void thunks_emit(struct codegen *cg);
/* emit_count(): adds 1 to a counter of abi_stats.def, if code is to count. Changes the flags, no register. */
static inline void emit_count(struct codegen *cg, enum abi_stat stat) {
    if (UNLIKELY(cg->count))
        asm_inc_m(&cg->a, cpu_mem(offsetof(struct abi_vcpu, stats) + 8 * (size_t)stat));
}
/* slow_run(): does what the record in f says; the pins are at home, the temporaries in f. */
void slow_run(struct codegen *cg, struct cpu *cpu, struct frame *f);
/* slow_function(): a softfp function as a record has it, the same wherever the engine is. */
static inline uint64_t slow_function(const void *fn) { return (uintptr_t)fn - (uintptr_t)slow_run; }
/* ring3_helper(): the number of fn for a call in the block that is being compiled. */
unsigned ring3_helper(struct codegen *cg, const void *fn, bool vector);
/* call_helper(): fn by one of the thunks call_state, call_pure, callv; its arguments are in place, no temporary holds a
 * value. */
void call_helper(struct codegen *cg, const uint8_t *thunk, const void *fn);

typedef void emit_fn(struct codegen *cg, const struct ir_inst *in);
#define IR_OP(name, result, operands, properties) emit_fn emit_##name;
#include "graft/ir_ops.def"
#undef IR_OP

#endif
