/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* a64.h: AArch64 guest: CPU state, mode key, translator context. Section names are those of the Arm ARM (DDI 0487). */
#ifndef GRAFT_A64_H
#define GRAFT_A64_H

#include "graft/guest.h"
#include "graft/pmu.h"

/* Access regimes (cpu->regime, memory ops' cc). */
enum a64_regime { A64_EL0, A64_EL1 /* PSTATE.PAN = 0 */, A64_EL1_PAN };

/* Mode key (guest_ops.mode, ir_block.mode). A translation may depend on these and on nothing else of the state. */
#define A64_MODE_REGIME(m) ((m) & 3)       /* enum a64_regime */
#define A64_MODE_EL(m) ((m) >> 2 & 1)      /* 0 or 1 */
#define A64_MODE_FP_TRAP (1u << 3)         /* CPACR_EL1.FPEN traps FP/AdvSIMD at this level */
#define A64_MODE_ALIGN (1u << 4)           /* SCTLR_EL1.A, or the MMU is off: every access is alignment-checked */
#define A64_MODE_SA (1u << 5)              /* SP alignment is checked at this level */
#define A64_MODE_SOFTFP (1u << 6)          /* FPCR.FZ: host arithmetic cannot do it */
#define A64_MODE_SPSEL (1u << 7)           /* PSTATE.SPSel, EL1 only */
#define A64_MODE_IL (1u << 8)              /* PSTATE.IL: every instruction is an Illegal Execution state exception */
#define A64_MODE_D (1u << 9)               /* PSTATE.D decides about debug exceptions: what writes it ends the block */
#define A64_MODE_ZVA (1u << 10)            /* EL0 may use DC ZVA (SCTLR_EL1.DZE): then it is translated inline */
#define A64_MODE_WATCH (1u << 11)          /* accesses are compared with watchpoints */
#define A64_MODE_BREAKS(m) ((m) >> 12 & 7) /* which of a64_debug.set is compared with, 0: none */
#define A64_MODE_BREAKS_SHIFT 12
#define A64_MODE_PMU(m) ((m) >> 16 & 127) /* 1 << enum a64_raw: what the code is to count */
#define A64_MODE_PMU_SHIFT 16
#define A64_MODE_STEP GUEST_MODE_ONCE /* software step, active and not pending: the block is one instruction */

struct a64_sysregs {
    uint64_t tpidr_el0; /* first: the only one here that EL0's code writes by itself */
    uint64_t sctlr_el1, actlr_el1, cpacr_el1, ttbr0_el1, ttbr1_el1, tcr_el1, mair_el1, amair_el1;
    uint64_t afsr0_el1, afsr1_el1, esr_el1, far_el1, par_el1, vbar_el1, contextidr_el1;
    uint64_t elr_el1, spsr_el1, sp_el0, sp_el1; /* the SP not in use; the one in use is x[31] */
    uint64_t tpidrro_el0, tpidr_el1, cntkctl_el1, csselr_el1, mdscr_el1, osdlr_el1, oslsr_el1;
    uint64_t cntv_ctl, cntv_cval, cntp_ctl, cntp_cval;
    uint64_t midr, mpidr, revidr, ctr, dczid, clidr, ccsidr[8];
    uint64_t id_pfr0, id_pfr1, id_dfr0, id_dfr1, id_isar0, id_isar1, id_isar2, id_mmfr0, id_mmfr1, id_mmfr2;
    uint64_t dbgbvr[16], dbgbcr[16], dbgwvr[16], dbgwcr[16];
    uint64_t cntfrq, dbgclaim, mdccint, scxtnum_el0, scxtnum_el1, zero; /* zero stays 0: registers that store nothing */
    uint64_t id_regs32[24]; /* ID_PFR0_EL1 .. MVFR2_EL1 (CRm 1..3, op2 0..7): only cores with AArch32 have them */
};

#define A64_BREAKPOINTS 6 /* the most that a model has */
#define A64_WATCHPOINTS 4
#define A64_BREAK_SETS 8
/* Self-hosted debug (debug.c). */
struct a64_debug {
    uint32_t
        armed;    /* A64_ARMED_*: what MDSCR_EL1, the locks and the breakpoint registers allow; 0: nothing to look at */
    uint32_t set; /* the current one of these, 0 if no breakpoint is enabled */
    uint32_t next_set;
    /* All of breakpoints that a translation depends on: where to ask whether one matches. */
    struct a64_break_set {
        uint64_t at[A64_BREAKPOINTS]; /* an address, and in bits 1..0 at which exception levels; 0: unused */
        uint32_t els;                 /* exception levels where there is something to ask */
        uint32_t every;               /* those where to ask at each block (context breakpoints) */
    } sets[A64_BREAK_SETS];
    uint32_t ss;       /* PSTATE.SS */
    uint32_t step_iss; /* ISV and EX of the step exception, if that comes next */
};

/* The performance monitors (pmu.c). */
#define A64_PMU_COUNTERS 6u
enum a64_raw {
    A64_RAW_INSNS = PMU_INSNS,
    A64_RAW_BRANCHES,
    A64_RAW_TAKEN,
    A64_RAW_IMMEDIATE,
    A64_RAW_RETURNS,
    A64_RAW_LOADS,
    A64_RAW_STORES
};
_Static_assert(A64_RAW_STORES < PMU_RAWS, "there is a place for each");
struct a64_pmu {
    uint32_t needs[2]; /* by exception level: A64_MODE_PMU */
    bool on;           /* some counter is enabled */
    struct pmu_seen seen;
    uint64_t value[A64_PMU_COUNTERS], type[A64_PMU_COUNTERS], cycles, cycles_rest, cycle_filter;
    uint64_t pmcr, enabled, overflow, interrupts, user, select; /* as PMCR_EL0, PMCNTENSET_EL0 ... have them */
};

/* By pages: what EL0's translated code may write, what EL1's may write, too, and what is the engine's alone. */
#define A64_OWN_BYTES (sizeof(struct cpu) + PAGE_SIZE)
#define A64_PRIVILEGED_BYTES (A64_OWN_BYTES + PAGE_SIZE)
struct a64_cpu {
    struct cpu c;
    uint64_t x[32]; /* x0 .. x30, [31] = the stack pointer in use */
    uint64_t pc;
    uint32_t nzcv;      /* stored form, see ir.h */
    uint32_t step_insn; /* the instruction that was stepped (debug.c) */
    v128 v[32];
    struct pmu_counts counts;
    char rest_of_page[PAGE_SIZE - 784 - sizeof(struct pmu_counts) - 8];
    struct a64_sysregs sys; /* its first word ends the page */
    uint32_t daif;          /* PSTATE.DAIF in bits 9..6, as the DAIF register */
    /* Interrupt lines into this PE, after the interrupt controller. */
    bool irq, fiq;
    uint32_t el __attribute__((aligned(4096))); /* 0 or 1 */
    uint32_t spsel, pan, il;
    struct engine_power power; /* PSCI CPU_ON, CPU_OFF */
    struct a64_cpuif *cpuif;   /* GIC CPU interface / redistributor state of this PE (gic.c) */
    struct a64_space_key {
        uint64_t controls; /* all that a translation depends on, but TTBR and ASID: bits of mmu_space.root (walk.c) */
        uint64_t table;    /* the bits of TTBR that say where the table is */
    } space[2];            /* of the lower and the upper half */
    struct engine_clock clock; /* CNTPCT_EL0 */
    bool has_pan;              /* FEAT_PAN, from the ID registers */
    struct a64_debug debug;
    struct a64_pmu pmu;
};
extern const struct guest_ops a64_guest;
_Static_assert(offsetof(struct a64_cpu, sys) + 8 == A64_OWN_BYTES &&
                   offsetof(struct a64_cpu, el) == A64_PRIVILEGED_BYTES,
               "as said above");
static inline struct a64_cpu *a64(struct cpu *c) { return (struct a64_cpu *)c; }

#define A64_X(n) (offsetof(struct a64_cpu, x) + 8 * (size_t)(n))
#define A64_V(n) (offsetof(struct a64_cpu, v) + 16 * (size_t)(n))
#define A64_SP A64_X(31)
#define A64_PC offsetof(struct a64_cpu, pc)
#define A64_NZCV offsetof(struct a64_cpu, nzcv)

/* --- the translator (guests/a64/translate.c) -------------------------------------------------- */
void a64_translate(struct ir_block *b, const struct cpu *cpu, const void *code, unsigned bytes, unsigned max_insns);
#define A64_GPR_PINS 32
#define A64_VEC_PINS 32
extern const struct guest_pin a64_gpr_pins[A64_GPR_PINS], a64_vec_pins[A64_VEC_PINS];

struct a64_trans {
    struct ir_block *b;
    const struct a64_cpu *cpu; /* hints only */
    const uint32_t *words;     /* the code at b->pc */
    uint64_t pc;               /* of the current instruction */
    uint32_t insn;             /* its encoding */
    uint32_t mode;
    bool done;                   /* the instruction ended the block (it emitted GOTO, GOTO_REG or EXIT) */
    uint64_t next;               /* of the next instruction to translate: pc + 4 unless a branch is followed */
    uint64_t limit;              /* end of the code at hand: the end of the page */
    unsigned exits;              /* conditional exits so far */
    uint64_t watch_lo, watch_hi; /* the code looked at so far */
    bool sets_flags;             /* there is a PUT of NZCV */
    bool sp_aligned;             /* SP is known to be a multiple of 16 here */
    bool retired;                /* the current instruction was counted */
};
/* A table row NAME is translated by bool trans_NAME(struct a64_trans *, const struct arg_NAME *); both are declared by
 * the generated a64_decode.h. False: the encoding is unallocated (an undefined-instruction exception is emitted). It
 * must then not have emitted anything. */

/* Register helpers. n = 31 is the zero register in a64_get_x/a64_put_x, SP in the _sp forms. sf: 64-bit (else 32). */
irv a64_get_x(struct a64_trans *t, unsigned n, bool sf);
void a64_put_x(struct a64_trans *t, unsigned n, irv v); /* I32 values are zero-extended */
irv a64_get_sp(struct a64_trans *t, unsigned n, bool sf);
void a64_put_sp(struct a64_trans *t, unsigned n, irv v);
irv a64_get_v(struct a64_trans *t, unsigned n);
void a64_put_v(struct a64_trans *t, unsigned n, irv v); /* all 128 bits */
/* a64_base(): address register of a load or store: SP alignment check (CheckSPAlignment) where n = 31. */
irv a64_base(struct a64_trans *t, unsigned n);
/* a64_mem_flags(): IR_MEM_* that the mode asks of an ordinary access. a64_regime(): regime of an ordinary access. */
unsigned a64_mem_flags(struct a64_trans *t);
static inline unsigned a64_trans_regime(const struct a64_trans *t) { return A64_MODE_REGIME(t->mode); }
/* a64_fp_access(): AArch64.CheckFPAdvSIMDEnabled. If it traps, emits the exception, sets done and returns false; the
 * trans function then returns true at once. Every FP and AdvSIMD instruction calls it first after its UNDEFINED
 * checks. */
bool a64_fp_access(struct a64_trans *t);

/* a64_branch_if(): conditional branch to target; goes on with the fall-through or ends the block. a64_end(): ends the
 * block in the dispatcher, going on at the next instruction. a64_writeback(): rn += step, keeping what is known of
 * SP. */
void a64_branch_if(struct a64_trans *t, irv cond, uint64_t target);
void a64_branch(struct a64_trans *t, uint64_t target);
void a64_goto(struct a64_trans *t, uint64_t target);
/* a64_put_nzcv(): NZCV. a64_put_flags(): that of ADDS, SUBS, ANDS or BICS, after the PUT of its result. */
void a64_put_nzcv(struct a64_trans *t, irv flags);
void a64_put_flags(struct a64_trans *t, irv flags);
void a64_end(struct a64_trans *t);
void a64_writeback(struct a64_trans *t, unsigned rn, irv value, int64_t step);
/* a64_retire(): nothing can keep the current instruction from being done, but for a64_retire() nothing has to be
 * emitted any more but what leaves the block: counts it, if it is to be counted. Those that end the block call this
 * before they do. */
void a64_retire(struct a64_trans *t);
/* a64_emit_raise(): the synchronous exception with that ESR, return address pc + offset. Ends the block. */
void a64_emit_raise(struct a64_trans *t, uint32_t esr, unsigned offset);
#define A64_ESR(ec, iss) ((uint32_t)(ec) << 26 | 1u << 25 | (uint32_t)(iss))

/* --- flags that are not stored (guests/a64/flags.c) ------------------------------------------- */
/* a64_flags_settle(): NZCV in the state is right from now on (cpu->flags_insn is done with). */
void a64_flags_settle(struct cpu *cpu);
/* a64_flags_sources(): registers from which the flags of an instruction can be computed after it, 0 if they cannot. */
uint32_t a64_flags_sources(uint32_t insn);
/* a64_flags_dead(): does the code at pc, as far as it is at hand, overwrite NZCV before it reads it? Then *changed:
 * registers that it changes before a place where NZCV may be asked for. */
bool a64_flags_dead(struct a64_trans *t, uint64_t pc, uint32_t *changed);
/* a64_bit_mask(): the immediate of a logical instruction (DecodeBitMasks); false if reserved. */
bool a64_bit_mask(bool sf, unsigned n, unsigned imms, unsigned immr, uint64_t *mask);

/* --- exceptions (guests/a64/exceptions.c) ----------------------------------------------------- */
enum a64_ec {
    A64_EC_UNKNOWN = 0x00,
    A64_EC_WFX = 0x01,
    A64_EC_FP = 0x07,
    A64_EC_IL = 0x0e,
    A64_EC_SVC = 0x15,
    A64_EC_HVC = 0x16,
    A64_EC_SMC = 0x17,
    A64_EC_SYSREG = 0x18,
    A64_EC_IABT_LOWER = 0x20,
    A64_EC_IABT = 0x21,
    A64_EC_PC_ALIGN = 0x22,
    A64_EC_DABT_LOWER = 0x24,
    A64_EC_DABT = 0x25,
    A64_EC_SP_ALIGN = 0x26,
    A64_EC_FP_EXC = 0x2c,
    A64_EC_BREAKPOINT_LOWER = 0x30,
    A64_EC_BREAKPOINT = 0x31,
    A64_EC_STEP_LOWER = 0x32,
    A64_EC_STEP = 0x33,
    A64_EC_WATCHPOINT_LOWER = 0x34,
    A64_EC_WATCHPOINT = 0x35,
    A64_EC_BRK = 0x3c
};
/* a64_take_exception(): AArch64.TakeException to EL1: vector = 0x000 sync, 0x080 IRQ, 0x100 FIQ, 0x180 SError (offset
 * inside the group of four). ELR_EL1 = return_pc. Changes pc and PSTATE; does not unwind. */
void a64_take_exception(struct cpu *cpu, unsigned vector, uint32_t esr, uint64_t return_pc);
/* Helpers for emitted code (uint64_t fn(cpu, a, b, c)); they unwind. The state's pc is the instruction's. */
uint64_t a64_helper_undefined(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c);
/* a64_helper_exception(): synchronous exception with ESR a, preferred return address = pc + b. */
uint64_t a64_helper_exception(struct cpu *cpu, uint64_t esr, uint64_t pc_offset, uint64_t c);
uint64_t a64_helper_eret(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c); /* sets pc and PSTATE, returns */
/* HLT #A64_SEMIHOST_HLT at EL1: a semihosting call, W0 operation, X1 parameter -> X0; undefined where --semihosting is
 * off. */
#define A64_SEMIHOST_HLT 0xf000u
uint64_t a64_helper_semihost(struct cpu *cpu, uint64_t insn, uint64_t b, uint64_t c);
uint64_t a64_helper_hvc(struct cpu *cpu, uint64_t imm, uint64_t b,
                        uint64_t c); /* PSCI (psci.c); pc advanced by the translator after */
uint64_t a64_helper_wfi(struct cpu *cpu, uint64_t a, uint64_t b,
                        uint64_t c); /* PC already moved past WFI by the translator */
/* a64_helper_check(): PSTATE.DAIF was written: sets the pending bit if something is due now. */
uint64_t a64_helper_check(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c);
/* a64_helper_breakpoint(): raises the exception if a breakpoint matches at this pc. */
uint64_t a64_helper_breakpoint(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c);
/* a64_breaks_at(): in that mode, may a breakpoint match the instruction at pc? first: it begins a block. */
bool a64_breaks_at(const struct a64_cpu *c, uint32_t mode, uint64_t pc, bool first);

/* --- system registers (guests/a64/sysregs.c) -------------------------------------------------- */
/* key = op0 << 14 | op1 << 11 | CRn << 7 | CRm << 3 | op2 (16 bits). Checks access rights and traps at the current
 * EL. */
#define A64_SYSREG(op0, op1, crn, crm, op2) ((uint32_t)((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2)))
uint64_t a64_helper_mrs(struct cpu *cpu, uint64_t key, uint64_t insn, uint64_t c);
/* MSR and SYS; the translator ends the block after it (EXIT) unless a64_sysreg_is_plain(). */
uint64_t a64_helper_msr(struct cpu *cpu, uint64_t key, uint64_t value, uint64_t insn);
uint64_t a64_helper_sys(struct cpu *cpu, uint64_t key, uint64_t value, uint64_t insn); /* IC DC AT TLBI: op0 = 1 */
uint64_t a64_helper_msr_imm(struct cpu *cpu, uint64_t op /* op1 << 3 | op2 */, uint64_t imm,
                            uint64_t insn); /* SPSel DAIFSet DAIFClr PAN UAO */
/* Interrupt masking without leaving the block. MRS DAIF at EL1 is a plain I32 GET of daif; MSR DAIFSet at EL1 is an
 * inline OR into it. DAIFClr and MSR DAIF need the helper above, but neither ends the block: if they unmask an
 * interrupt that is due, the helper advances the pc itself and unwinds to the dispatcher, which takes it. */
#define A64_DAIF offsetof(struct a64_cpu, daif)
uint64_t a64_helper_barrier(struct cpu *cpu, uint64_t a, uint64_t b,
                            uint64_t c); /* DSB and ISB when cpu->tlbi_pending */
/* a64_sysreg_offset(): byte offset of a register that a translator may read (write = false) or write with a plain
 * 64-bit GET/PUT at that EL (TPIDR_*, SP_EL0 from EL1 with SPSel=1, ELR_EL1, SPSR_EL1 ...); 0 if there is none. SP_EL0:
 * only if the mode has A64_MODE_SPSEL. */
size_t a64_sysreg_offset(uint32_t key, unsigned el, bool write);

/* --- walking (guests/a64/walk.c), interrupt controller (gic.c), timer (timer.c), PSCI (psci.c) --- */
void a64_walk(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w);
struct mmu_space a64_space(struct cpu *cpu, bool hi, unsigned regime);
void a64_gic_init(struct cpu *cpu);
bool a64_gic_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value);
bool a64_gic_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value);
/* ICC_* system registers of GICv3; false if the key is none of them. */
bool a64_gic_sysreg_read(struct cpu *cpu, uint32_t key, uint64_t *value);
bool a64_gic_sysreg_write(struct cpu *cpu, uint32_t key, uint64_t value);
void a64_gic_set_ppi(struct cpu *cpu, unsigned ppi /* interrupt id 16 .. 31 */, bool level);
void a64_gic_update(struct cpu *cpu); /* samples abi_shared lines, recomputes a64_cpu.irq/fiq */
void a64_timer_init(struct cpu *cpu);
uint64_t a64_timer_count(struct cpu *cpu); /* CNTVCT_EL0 = CNTPCT_EL0, 62.5 MHz as QEMU's virt */
void a64_timer_update(struct cpu *cpu);    /* after CNTx_CTL/CVAL/TVAL writes or ABI_PEND_TIMER: PPIs and deadline */
#define A64_CNTFRQ 62500000u
void a64_psci_call(struct cpu *cpu); /* SMCCC: function in x0, arguments x1.., result in x0 */

#endif
