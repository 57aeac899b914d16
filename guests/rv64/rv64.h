/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* rv64.h: RISC-V guest (RV64GC and more): CPU state, mode key, translator context. Section names are those of the
 * RISC-V Instruction Set Manual, volumes I (unprivileged) and II (privileged), 20240411. */
#ifndef GRAFT_RV64_H
#define GRAFT_RV64_H

#include "graft/guest.h"
#include "graft/pmu.h"

/* Access regimes (cpu->regime, memory ops' cc). */
enum rv64_regime { RV64_U, RV64_S /* mstatus.SUM = 0 */, RV64_S_SUM, RV64_M };
/* Privilege levels as encoded in CSR numbers and mstatus.MPP. */
enum rv64_privilege { RV64_PRIV_U, RV64_PRIV_S, RV64_PRIV_M = 3 };
static inline enum rv64_privilege rv64_regime_privilege(unsigned regime) {
    return regime == RV64_M ? RV64_PRIV_M : regime == RV64_U ? RV64_PRIV_U : RV64_PRIV_S;
}

/* Mode key (guest_ops.mode, ir_block.mode). A translation may depend on these and on nothing else of the state. */
#define RV64_MODE_REGIME(m) ((m) & 3)   /* enum rv64_regime */
#define RV64_MODE_FP_OFF (1u << 2)      /* of U-mode: mstatus.FS = Off: floating point is illegal */
#define RV64_MODE_FRM(m) ((m) >> 3 & 7) /* fcsr.frm */
#define RV64_MODE_FRM_SHIFT 3
#define RV64_MODE_DATA(m) ((m) >> 6 & 3) /* the regime of loads and stores: another one if mstatus.MPRV is set */
#define RV64_MODE_DATA_SHIFT 6
#define RV64_MODE_UNBOXED (1u << 8)      /* singles may not be NaN-boxed: see rv64_check_boxed() */
#define RV64_MODE_PMU(m) ((m) >> 9 & 15) /* 1 << enum rv64_raw: what the code is to count */
#define RV64_MODE_PMU_SHIFT 9
#define RV64_FRM_RMM 4 /* ties away from zero: not the host's */

#define RV64_PMPS 16

/* Upper halves of root tables that are told apart by what is in them: a kernel has the same one in all of its
 * processes. */
#define RV64_HALVES 4

/* The performance counters (pmu.c). */
#define RV64_HPMS 6u
enum rv64_raw { RV64_RAW_INSNS = PMU_INSNS, RV64_RAW_BRANCHES, RV64_RAW_LOADS, RV64_RAW_STORES };
#define RV64_RAW(name) (1u << RV64_RAW_##name)
struct rv64_pmu {
    uint64_t value[RV64_HPMS], event[RV64_HPMS], inhibit; /* mhpmcounter, mhpmevent, mcountinhibit */
    struct pmu_seen seen;
    uint32_t needs[RV64_PRIV_M + 1]; /* by privilege: RV64_MODE_PMU */
    bool on;                         /* some counter counts */
};

/* By pages: what translated code of U-mode may write, what that of S-mode may write, too, and that of M-mode, and what
 * is the engine's alone. */
#define RV64_OWN_BYTES (sizeof(struct cpu) + PAGE_SIZE)
#define RV64_S_BYTES (RV64_OWN_BYTES + PAGE_SIZE)
#define RV64_M_BYTES (RV64_S_BYTES + PAGE_SIZE)
struct rv64_cpu {
    struct cpu c;
    uint64_t x[32]; /* [0] stays 0, but U-mode's page is believed nothing: see rv64_x() */
    uint64_t pc;
    v128 f[32]; /* the low 64 bits of each; the rest is 0 */
    struct pmu_counts counts;
    uint32_t frm;
    uint32_t dirty; /* not 0: U-mode has written to f: see rv64_fp_settle() */
    /* SSTATUS_WRITABLE of mstatus; the rest is below. */
    uint64_t sstatus __attribute__((aligned(4096)));
    uint64_t sscratch, sepc, scause, stval;
    uint64_t due; /* mip & mie, for code alone */
    uint64_t mscratch __attribute__((aligned(4096))), mepc, mcause, mtval;
    /* The rest of MSTATUS_WRITABLE: see rv64_mstatus(); the other fields are constant or follow from these. */
    uint64_t mstatus __attribute__((aligned(4096)));
    uint64_t mie, stvec, scounteren, senvcfg, satp, stimecmp;
    /* Machine mode. Without firmware of the guest's nothing reaches it: these are as firmware would leave them then. */
    uint64_t medeleg, mideleg, mtvec, mcounteren, menvcfg;
    uint64_t counted_from[2]; /* mcycle, minstret: what the host's counter stood at when they were 0 */
    struct rv64_pmp {
        uint64_t addr[RV64_PMPS];
        uint8_t cfg[RV64_PMPS];
        unsigned used; /* the entries above are off */
    } pmp;
    bool unboxed; /* RV64_MODE_UNBOXED */
    struct rv64_pmu pmu;
    /* Interrupts: mip is written by this vCPU alone; what others do to it is in ipi, msip and mtimecmp, by __atomic
     * builtins. */
    uint64_t mip, mip_set; /* mip_set: STIP and SEIP as machine mode has written them */
    uint64_t mtimecmp;
    uint32_t ipi, msip;
    struct engine_power power; /* HSM */
    uint32_t suspended;        /* it waits in a call of HSM's: for others to read */
    struct engine_clock clock;
    struct rv64_halves {
        uint64_t id[RV64_HALVES]; /* of an upper half of a root table; 0: unused */
        uint64_t entries[RV64_HALVES][256];
        uint64_t current, last; /* that of satp's table; the last number given out */
        unsigned next;          /* to be replaced */
    } halves;
};
_Static_assert(offsetof(struct rv64_cpu, sstatus) == RV64_OWN_BYTES &&
                   offsetof(struct rv64_cpu, mscratch) == RV64_S_BYTES &&
                   offsetof(struct rv64_cpu, mstatus) == RV64_M_BYTES,
               "as said above");
static inline struct rv64_cpu *rv64(struct cpu *c) { return (struct rv64_cpu *)c; }
/* rv64_x(): a register's value for C, which code of whatever level asks. */
static inline uint64_t rv64_x(const struct rv64_cpu *c, unsigned n) { return n ? c->x[n] : 0; }

#define RV64_X(n) (offsetof(struct rv64_cpu, x) + 8 * (size_t)(n))
#define RV64_F(n) (offsetof(struct rv64_cpu, f) + 16 * (size_t)(n))
#define RV64_PC offsetof(struct rv64_cpu, pc)
#define RV64_SSTATUS offsetof(struct rv64_cpu, sstatus)

/* --- the translator (guests/rv64/translate.c) ------------------------------------------------- */
void rv64_translate(struct ir_block *b, const struct cpu *cpu, const void *code, unsigned bytes, unsigned max_insns);
#define RV64_GPR_PINS 31
#define RV64_VEC_PINS 32
extern const struct guest_pin rv64_gpr_pins[RV64_GPR_PINS], rv64_vec_pins[RV64_VEC_PINS];

struct rv64_trans {
    struct ir_block *b;
    uint64_t pc;       /* of the current instruction */
    uint32_t insn;     /* its encoding; that of the 32-bit instruction that it stands for, if it is compressed */
    uint32_t encoding; /* as it is in memory */
    unsigned len;      /* its bytes: 2 or 4 */
    uint32_t mode;
    bool done;         /* the instruction ended the block (it emitted GOTO, GOTO_REG or EXIT) */
    uint64_t next;     /* of the next instruction to translate: pc + len unless a branch is followed */
    uint64_t limit;    /* end of the code at hand: the end of the page */
    unsigned exits;    /* conditional exits so far */
    uint32_t boxed[2]; /* bit n: f[n] is known to hold a NaN-boxed half, or single-precision value here */
    bool assume_boxed; /* singles that the block begins with are taken for boxed; those that it reads are noted */
    uint32_t assumed;  /* ... here */
    irv single[32];    /* f[n] as a single-precision value, where that has been looked at; or 0 */
    bool dirty;        /* f has been marked as written to in this block */
    bool retired;      /* the instruction has been counted */
    bool fp_known;     /* it is known not to be Off at this place */
};
/* A table row NAME is translated by bool trans_NAME(struct rv64_trans *, const struct arg_NAME *); both are declared by
 * the generated rv64_decode.h. False: the encoding is reserved (an illegal-instruction exception is emitted). It must
 * then not have emitted anything. */

irv rv64_imm(struct rv64_trans *t, uint64_t v); /* an I64 constant */
/* Register n; x0 reads as 0 and ignores writes. _w: the low half as I32; an I32 value is sign-extended. */
irv rv64_get(struct rv64_trans *t, unsigned n);
irv rv64_get_w(struct rv64_trans *t, unsigned n);
void rv64_put(struct rv64_trans *t, unsigned n, irv v);
static inline unsigned rv64_trans_regime(const struct rv64_trans *t) { return RV64_MODE_DATA(t->mode); }
static inline enum rv64_privilege rv64_trans_privilege(const struct rv64_trans *t) {
    return rv64_regime_privilege(RV64_MODE_REGIME(t->mode));
}
static inline bool rv64_in_u(const struct rv64_trans *t) { return RV64_MODE_REGIME(t->mode) == RV64_U; }
/* rv64_sext(): the low bits of v, sign-extended. Immediates of the formats I, S, B, U and J (2.3), from the
 * encoding. */
static inline int64_t rv64_sext(uint64_t v, unsigned bits) { return (int64_t)(v << (64 - bits)) >> (64 - bits); }
static inline int64_t rv64_imm_i(uint32_t insn) { return (int32_t)insn >> 20; }
static inline int64_t rv64_imm_s(uint32_t insn) { return rv64_sext(insn >> 25 << 5 | (insn >> 7 & 31), 12); }
static inline int64_t rv64_imm_b(uint32_t insn) {
    return rv64_sext(insn >> 31 << 12 | (insn >> 7 & 1) << 11 | (insn >> 25 & 63) << 5 | (insn >> 8 & 15) << 1, 13);
}
static inline int64_t rv64_imm_j(uint32_t insn) {
    return rv64_sext(insn >> 31 << 20 | (insn >> 12 & 255) << 12 | (insn >> 20 & 1) << 11 | (insn >> 21 & 1023) << 1,
                     21);
}
/* rv64_goto(): ends the block there. rv64_branch(): goes on there, in the same block if it can. rv64_branch_if():
 * conditional branch. rv64_end(): ends the block in the dispatcher, going on at the next instruction. */
void rv64_goto(struct rv64_trans *t, uint64_t target);
void rv64_branch(struct rv64_trans *t, uint64_t target);
void rv64_branch_if(struct rv64_trans *t, irv cond, uint64_t target);
void rv64_end(struct rv64_trans *t);
/* rv64_retire(): the instruction is done, but for leaving the block: it counts, once. */
void rv64_retire(struct rv64_trans *t);
/* rv64_emit_raise(): a synchronous exception of this instruction. Ends the block. */
void rv64_emit_raise(struct rv64_trans *t, unsigned cause, uint64_t tval);

/* rv64_expand(): the 32-bit instruction that a compressed one stands for (C, Zcb); 0 if it is reserved
 * (compressed.c). */
uint32_t rv64_expand(uint16_t insn);

/* --- exceptions (guests/rv64/exceptions.c) ---------------------------------------------------- */
enum rv64_cause {
    RV64_INSN_MISALIGNED = 0,
    RV64_INSN_ACCESS = 1,
    RV64_ILLEGAL = 2,
    RV64_BREAKPOINT = 3,
    RV64_LOAD_MISALIGNED = 4,
    RV64_LOAD_ACCESS = 5,
    RV64_STORE_MISALIGNED = 6,
    RV64_STORE_ACCESS = 7,
    RV64_ECALL_U = 8,
    RV64_ECALL_S = 9,
    RV64_ECALL_M = 11,
    RV64_INSN_PAGE = 12,
    RV64_LOAD_PAGE = 13,
    RV64_STORE_PAGE = 15
};
#define RV64_INTERRUPT BIT(63) /* of scause */

/* Helpers for emitted code (uint64_t fn(cpu, a, b, c)). The state's pc is the instruction's. */
uint64_t rv64_helper_raise(struct cpu *cpu, uint64_t cause, uint64_t tval, uint64_t c); /* unwinds */
/* rv64_helper_sret(), _mret(): set pc and privilege. rv64_helper_ecall(): of S-mode: SBI; the pc is the next one. */
uint64_t rv64_helper_sret(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c);
uint64_t rv64_helper_mret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c);
uint64_t rv64_helper_ecall(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c);
/* rv64_helper_ebreak(): EBREAK in a privileged mode that may be a semihosting call: the instructions before and behind
 * it, of 4 bytes each, are in its page. */
uint64_t rv64_helper_ebreak(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c);
uint64_t rv64_helper_wfi(struct cpu *cpu, uint64_t insn, uint64_t len, uint64_t c); /* the pc is the next one */
/* rv64_helper_status(): sstatus was written by S-mode: what follows from that. The pc is the next one. */
uint64_t rv64_helper_status(struct cpu *cpu, uint64_t old, uint64_t b, uint64_t c);
/* rv64_helper_fp(): raises if floating point is off. */
uint64_t rv64_helper_fp(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c);
/* rv64_helper_csr(): a CSR instruction: desc says which one, value is the operand. Returns the old value. */
#define RV64_CSR_DESC(csr, op, write, uimm) ((csr) | (op) << 12 | (uint64_t)(write) << 14)
uint64_t rv64_helper_csr(struct cpu *cpu, uint64_t desc, uint64_t value, uint64_t insn);
/* rv64_helper_sfence(): SFENCE.VMA; desc: 1 rs1 is not x0, 2 rs2 is not x0; bits 31..2: the encoding's. */
uint64_t rv64_helper_sfence(struct cpu *cpu, uint64_t va, uint64_t asid, uint64_t desc);
/* rv64_helper_cbo(): what: enum rv64_cbo. va: anywhere in the block. */
#define RV64_CBO_BYTES 64
enum rv64_cbo { RV64_CBO_INVAL, RV64_CBO_CLEAN, RV64_CBO_FLUSH, RV64_CBO_ZERO = 4 };
uint64_t rv64_helper_cbo(struct cpu *cpu, uint64_t va, uint64_t what, uint64_t insn);
uint64_t rv64_helper_fence_i(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c);
/* rv64_helper_crossing(): the 16 bits in the next page that a block was made from: drops the block at pc if they are
 * others by now, and raises the fault if they are not to be had. */
uint64_t rv64_helper_crossing(struct cpu *cpu, uint64_t pc, uint64_t half, uint64_t c);

/* --- floating point (guests/rv64/trans_fp.c) -------------------------------------------------- */
static inline uint32_t rv64_frm(const struct rv64_cpu *c) { return c->frm & 7; } /* fcsr.frm */
uint32_t rv64_fflags(struct cpu *cpu);                                           /* fcsr.fflags */
void rv64_fcsr_set(struct cpu *cpu, uint32_t fflags, uint32_t frm);
/* rv64_check_boxed(): leaves the block, for guest_ops.exit_fault(), unless those registers hold NaN-boxed singles. */
void rv64_check_boxed(struct rv64_trans *t, uint32_t regs);

#endif
