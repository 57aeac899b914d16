/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* system.h: what the files of the AArch64 system side share among themselves (exceptions, system registers, walk, GIC
 * ...). */
#ifndef GRAFT_A64_SYSTEM_H
#define GRAFT_A64_SYSTEM_H

#include "a64.h"
#include "graft/rt.h"

static inline uint64_t a64_bits(uint64_t v, unsigned lo, unsigned len) { return v >> lo & MASK(len); }

/* SCTLR_EL1 */
#define SCTLR_M BIT(0)
#define SCTLR_A BIT(1)
#define SCTLR_SA BIT(3)
#define SCTLR_SA0 BIT(4)
#define SCTLR_UMA BIT(9)
#define SCTLR_DZE BIT(14)
#define SCTLR_UCT BIT(15)
#define SCTLR_NTWI BIT(16)
#define SCTLR_WXN BIT(19)
#define SCTLR_TSCXT BIT(20)
#define SCTLR_SPAN BIT(23)
#define SCTLR_E0E BIT(24)
#define SCTLR_EE BIT(25)
#define SCTLR_UCI BIT(26)

/* PSTATE.DAIF, in the places of the DAIF register and of SPSR_EL1 */
#define DAIF_F BIT(6)
#define DAIF_I BIT(7)
#define DAIF_D BIT(9)
#define DAIF_MASK (15u << 6)

/* ISS of data aborts */
#define ISS_WNR BIT(6)
#define ISS_CM BIT(8)

/* Fault status codes (DFSC, IFSC); OR the level in where there is one. */
enum a64_fsc {
    FSC_ADDRESS_SIZE = 0x00,
    FSC_TRANSLATION = 0x04,
    FSC_ACCESS_FLAG = 0x08,
    FSC_PERMISSION = 0x0c,
    FSC_EXTERNAL = 0x10,
    FSC_EXTERNAL_WALK = 0x14,
    FSC_ALIGNMENT = 0x21
};
/* struct walk.fault must not be 0 for a fault, but FSC_ADDRESS_SIZE at level 0 is: so every code carries this bit. */
#define A64_WALK_FAULT 0x100u
#define A64_WALK_FSC(fault) ((fault) & 63)

/* exceptions.c */
uint32_t a64_pstate(struct a64_cpu *c);                          /* PSTATE in SPSR format */
void a64_set_el(struct a64_cpu *c, unsigned el, unsigned spsel); /* PSTATE.EL and SP; switches the stack pointer bank */
/* a64_branch_addr(): AArch64.BranchAddr: the tag of a branch target is removed where TBI applies. */
uint64_t a64_branch_addr(const struct a64_cpu *c, uint64_t va);
void a64_exit_fault(struct cpu *cpu);                                 /* guest_ops.exit_fault */
__attribute__((noreturn)) void a64_pc_fault(struct cpu *cpu);         /* guest_ops.pc_fault */
_Noreturn void a64_raise(struct cpu *cpu, unsigned ec, uint32_t iss); /* synchronous exception, returning to this pc */
_Noreturn void a64_raise_data_abort(struct cpu *cpu, uint64_t va, uint32_t iss);
_Noreturn void a64_raise_undefined(struct cpu *cpu, uint32_t insn, const char *what);
__attribute__((noreturn)) void a64_mem_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, const struct walk *w,
                                             unsigned flags);
__attribute__((noreturn)) void a64_align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access);
__attribute__((noreturn)) void a64_external_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, struct gpa pa);

/* debug.c */
enum a64_armed {
    A64_ARMED_STEP = 1,  /* MDSCR_EL1.SS */
    A64_ARMED_BREAK = 2, /* MDSCR_EL1.MDE, and a breakpoint is enabled */
    A64_ARMED_WATCH = 4, /* the same of watchpoints */
    A64_ARMED_EL1 = 8    /* MDSCR_EL1.KDE */
};
/* a64_debug_changed(): a register that debug exceptions depend on was written. */
void a64_debug_changed(struct a64_cpu *c);
/* a64_debug_mode(): what debugging adds to the mode. Only if anything is armed. */
uint32_t a64_debug_mode(const struct a64_cpu *c);
/* a64_debug_enabled(): may a debug exception be taken from the current state? (GenerateDebugExceptions; the locks are
 * known to be open where anything is armed.) */
static inline bool a64_debug_enabled(const struct a64_cpu *c) {
    return c->el == 0 || (c->debug.armed & A64_ARMED_EL1 && !(c->daif & DAIF_D));
}
/* a64_step_due(): software step is active and pending. */
static inline bool a64_step_due(const struct a64_cpu *c) {
    return UNLIKELY(c->debug.armed & A64_ARMED_STEP) && !c->debug.ss && a64_debug_enabled(c);
}
void a64_take_step(struct cpu *cpu); /* its exception */
void a64_executed(struct cpu *cpu);  /* guest_ops.executed: an instruction was stepped */
/* a64_watch(): guest_ops.watch. a64_watch_maintenance(): of a DC instruction that counts as a store to a block of that
 * size. */
void a64_watch(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access, unsigned regime);
void a64_watch_maintenance(struct cpu *cpu, uint64_t va, unsigned bytes, unsigned regime);

/* registers.c */
extern const struct guest_debug a64_registers; /* guest_ops.debug */

/* pmu.c */
/* Its registers; the last two have one for each counter. */
enum a64_pmu_reg {
    A64_PMCR,
    A64_PMCNTENSET,
    A64_PMCNTENCLR,
    A64_PMOVSCLR,
    A64_PMOVSSET,
    A64_PMSWINC,
    A64_PMSELR,
    A64_PMCEID0,
    A64_PMCEID1,
    A64_PMCCNTR,
    A64_PMXEVTYPER,
    A64_PMXEVCNTR,
    A64_PMUSERENR,
    A64_PMINTENSET,
    A64_PMINTENCLR,
    A64_PMCCFILTR,
    A64_PMEVCNTR0 = 24, /* multiples of A64_PMU_COUNTERS */
    A64_PMEVTYPER0 = 30
};
uint64_t a64_pmu_read(struct a64_cpu *c, unsigned reg);
void a64_pmu_write(struct a64_cpu *c, unsigned reg, uint64_t value);
void a64_pmu_reset(struct cpu *cpu);
/* a64_pmu_resume(): the registers were written over: what is counted, and cycles, begin to count from now on. */
void a64_pmu_resume(struct a64_cpu *c);
/* a64_pmu_sync(): the counters are right now, and the interrupt line with them; before the exception level changes, if
 * a64_pmu.on. */
void a64_pmu_sync(struct a64_cpu *c);
/* a64_pmu_update(): after a change of the registers or an overflow: what blocks count, and the interrupt line. */
void a64_pmu_update(struct cpu *cpu);
/* a64_pmu_event(): one that C counts, at the current exception level. */
#define A64_PMU_EXC_TAKEN 0x09
#define A64_PMU_EXC_RETURN 0x0a
void a64_pmu_event(struct a64_cpu *c, unsigned event);
/* a64_pmu_at_limit(): was it a64_counts.limit that a block was left for? Then it is further away now. */
bool a64_pmu_at_limit(struct cpu *cpu);
/* a64_pmu_deadline(): sets the interrupt line; the TSC at which to do that again, ~0: never. */
uint64_t a64_pmu_deadline(struct cpu *cpu);
/* a64_pmu_stop(): cycles pass no longer, or do again. */
void a64_pmu_stop(struct cpu *cpu, bool stop);

/* idregs.c */
void a64_idregs_init(struct a64_cpu *c);

/* walk.c */
/* The attributes that only AT reports. */
struct a64_attrs {
    uint8_t mair;         /* the byte of MAIR_EL1 */
    uint8_t shareability; /* SH field */
};
void a64_walk_attrs(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w,
                    struct a64_attrs *attrs);
/* a64_controls_changed(): after a write to SCTLR, TCR or MAIR: recomputes a64_cpu.space. */
void a64_controls_changed(struct a64_cpu *c);

/* state.c: guest_ops.state ... changed */
extern const struct state_field a64_state[], a64_shared_state[];
void a64_collect(struct cpu *cpu);
void a64_changed(struct cpu *cpu);

/* guest.c */
void a64_reset(struct cpu *cpu); /* PE reset: at start and at CPU_ON */
static inline bool a64_interrupt_due(const struct a64_cpu *c) {
    return (c->irq && !(c->daif & DAIF_I)) || (c->fiq && !(c->daif & DAIF_F));
}
/* a64_check_interrupts(): a mask or a line changed outside of service(): translated code leaves if an interrupt, or the
 * exception of a software step, is due. */
static inline void a64_check_interrupts(struct a64_cpu *c) {
    if (UNLIKELY(a64_interrupt_due(c) || a64_step_due(c)))
        __atomic_fetch_or((uint32_t *)&c->c.abi.pending, ABI_PEND_IRQ, __ATOMIC_SEQ_CST);
}

/* timer.c */
enum a64_timer_reg { A64_TIMER_CTL, A64_TIMER_CVAL, A64_TIMER_TVAL };
uint64_t a64_timer_read(struct cpu *cpu, enum a64_timer_reg reg, bool physical);
void a64_timer_write(struct cpu *cpu, enum a64_timer_reg reg, bool physical, uint64_t value);
void a64_timer_expired(struct cpu *cpu); /* a64_timer_update() when the published deadline is spent: it is told again */

/* tlbi.c: the system instructions, rows of sysregs.def */
#define OP_SHARED 0x100u /* the Inner Shareable form, in the argument of a row */
#define OP_AT(regime, access) ((unsigned)(regime) << 4 | (unsigned)(access))
/* Returns 1 if the block that runs may have lost its code and has to be left, else 0. */
typedef uint64_t a64_op(struct cpu *cpu, uint64_t value, uint32_t arg);
a64_op a64_op_tlbi, a64_op_at, a64_op_dc_va, a64_op_dc_zva, a64_op_ic_va, a64_op_ic_all, a64_op_nothing;
/* sysregs.c: EC 0x18 for this MSR, MRS or SYS encoding. */
_Noreturn void a64_raise_sysreg_trap(struct cpu *cpu, uint32_t insn);
/* For a debugger: the registers by their rows. a64_sysreg_set(): false: it cannot be written, or not by itself. */
extern const unsigned a64_sysreg_rows;
uint64_t a64_sysreg_get(struct cpu *cpu, unsigned row);
bool a64_sysreg_set(struct cpu *cpu, unsigned row, uint64_t value);
bool a64_sysregs_sorted(void); /* for the unit test: the rows of sysregs.def are in order */

#endif
