/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* system.h: what the files of the RISC-V system side share among themselves (exceptions, CSRs, walk, SBI, PLIC ...). */
#ifndef GRAFT_RV64_SYSTEM_H
#define GRAFT_RV64_SYSTEM_H

#include "graft/rt.h"
#include "guests/rv64/rv64.h"

/* mstatus, and of it sstatus */
#define SSTATUS_SIE BIT(1)
#define MSTATUS_MIE BIT(3)
#define SSTATUS_SPIE BIT(5)
#define MSTATUS_MPIE BIT(7)
#define SSTATUS_SPP BIT(8)
#define MSTATUS_MPP_SHIFT 11
#define MSTATUS_MPP (BIT(11) | BIT(12))
#define SSTATUS_FS (BIT(13) | BIT(14))
#define MSTATUS_MPRV BIT(17)
#define SSTATUS_SUM BIT(18)
#define SSTATUS_MXR BIT(19)
#define MSTATUS_TVM BIT(20)
#define MSTATUS_TW BIT(21)
#define MSTATUS_TSR BIT(22)
#define SSTATUS_UXL (UINT64_C(2) << 32)
#define MSTATUS_SXL (UINT64_C(2) << 34)
#define SSTATUS_SD BIT(63)
#define SSTATUS_WRITABLE (SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP | SSTATUS_FS | SSTATUS_SUM | SSTATUS_MXR)

#define MSTATUS_WRITABLE                                                                                               \
    (SSTATUS_WRITABLE | MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MPRV | MSTATUS_TVM | MSTATUS_TW |           \
     MSTATUS_TSR)
/* rv64_mstatus(): MSTATUS_WRITABLE of it; of what S-mode's code may write, its own fields count. */
static inline uint64_t rv64_mstatus(const struct rv64_cpu *c) {
    return (c->mstatus & ~SSTATUS_WRITABLE) | (c->sstatus & SSTATUS_WRITABLE);
}
static inline void rv64_set_mstatus(struct rv64_cpu *c, uint64_t v) {
    c->mstatus = v & MSTATUS_WRITABLE & ~SSTATUS_WRITABLE;
    c->sstatus = v & SSTATUS_WRITABLE;
}
/* rv64_fp_settle(): mstatus.FS is what it is: of U-mode's code there is only a note that it has written to f. */
static inline void rv64_fp_settle(struct rv64_cpu *c) {
    if (c->dirty && c->sstatus & SSTATUS_FS)
        c->sstatus |= SSTATUS_FS;
    c->dirty = 0;
}
#define MSTATUS_MPP_OF(status) ((enum rv64_privilege)((status) >> MSTATUS_MPP_SHIFT & 3))

/* menvcfg, and of it senvcfg: the first four */
#define ENVCFG_FIOM BIT(0)
#define ENVCFG_CBIE (BIT(4) | BIT(5))
#define ENVCFG_CBCFE BIT(6)
#define ENVCFG_CBZE BIT(7)
#define ENVCFG_ADUE BIT(61)
#define ENVCFG_PBMTE BIT(62)
#define ENVCFG_STCE BIT(63)
#define SENVCFG_WRITABLE (ENVCFG_FIOM | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE)
#define MENVCFG_WRITABLE (SENVCFG_WRITABLE | ENVCFG_ADUE | ENVCFG_PBMTE | ENVCFG_STCE)

/* Interrupts, by bit of mip and mie. */
enum {
    IRQ_SOFT = 1,
    IRQ_M_SOFT = 3,
    IRQ_TIMER = 5,
    IRQ_M_TIMER = 7,
    IRQ_EXTERNAL = 9,
    IRQ_M_EXTERNAL = 11,
    IRQ_OVERFLOW = 13
};
#define SIE_WRITABLE (BIT(IRQ_SOFT) | BIT(IRQ_TIMER) | BIT(IRQ_EXTERNAL) | BIT(IRQ_OVERFLOW))
#define MIE_WRITABLE (SIE_WRITABLE | BIT(IRQ_M_SOFT) | BIT(IRQ_M_TIMER) | BIT(IRQ_M_EXTERNAL))
#define MEDELEG_WRITABLE UINT64_C(0xb3ff) /* all but calls of S-mode's superiors */

/* satp */
#define SATP_MODE(satp) ((unsigned)((satp) >> 60))
#define SATP_ASID(satp) ((uint32_t)((satp) >> 44) & 0xffff)
#define SATP_PPN(satp) ((satp) & MASK(44))
enum { SATP_BARE = 0, SATP_SV39 = 8, SATP_SV48 = 9, SATP_SV57 = 10 };

enum rv64_csr {
    RV64_CSR_FFLAGS = 0x001,
    RV64_CSR_FRM = 0x002,
    RV64_CSR_FCSR = 0x003,
    RV64_CSR_SSTATUS = 0x100,
    RV64_CSR_SIE = 0x104,
    RV64_CSR_STVEC = 0x105,
    RV64_CSR_SCOUNTEREN = 0x106,
    RV64_CSR_SENVCFG = 0x10a,
    RV64_CSR_SSCRATCH = 0x140,
    RV64_CSR_SEPC = 0x141,
    RV64_CSR_SCAUSE = 0x142,
    RV64_CSR_STVAL = 0x143,
    RV64_CSR_SIP = 0x144,
    RV64_CSR_STIMECMP = 0x14d,
    RV64_CSR_SATP = 0x180,
    RV64_CSR_MSTATUS = 0x300,
    RV64_CSR_MISA = 0x301,
    RV64_CSR_MEDELEG = 0x302,
    RV64_CSR_MIDELEG = 0x303,
    RV64_CSR_MIE = 0x304,
    RV64_CSR_MTVEC = 0x305,
    RV64_CSR_MCOUNTEREN = 0x306,
    RV64_CSR_MENVCFG = 0x30a,
    RV64_CSR_MCOUNTINHIBIT = 0x320,
    RV64_CSR_MHPMEVENT3 = 0x323,
    RV64_CSR_MSCRATCH = 0x340,
    RV64_CSR_MEPC = 0x341,
    RV64_CSR_MCAUSE = 0x342,
    RV64_CSR_MTVAL = 0x343,
    RV64_CSR_MIP = 0x344,
    RV64_CSR_PMPCFG0 = 0x3a0,
    RV64_CSR_PMPADDR0 = 0x3b0,
    RV64_CSR_MCYCLE = 0xb00,
    RV64_CSR_MINSTRET = 0xb02,
    RV64_CSR_MHPMCOUNTER3 = 0xb03,
    RV64_CSR_CYCLE = 0xc00,
    RV64_CSR_TIME = 0xc01,
    RV64_CSR_INSTRET = 0xc02,
    RV64_CSR_HPMCOUNTER3 = 0xc03,
    RV64_CSR_SCOUNTOVF = 0xda0,
    RV64_CSR_MVENDORID = 0xf11,
    RV64_CSR_MHARTID = 0xf14,
    RV64_CSR_MCONFIGPTR = 0xf15
};

#define RV64_TIMEBASE 10000000u /* Hz, as QEMU's virt */

/* exceptions.c */
/* rv64_take_trap(): exception or interrupt, at the pc of the state, to the mode that it is delegated to. Does not
 * unwind. */
void rv64_take_trap(struct cpu *cpu, uint64_t cause, uint64_t tval);
_Noreturn void rv64_raise(struct cpu *cpu, uint64_t cause, uint64_t tval);
_Noreturn void rv64_illegal(struct cpu *cpu, uint64_t insn);
__attribute__((noreturn)) void rv64_mem_abort(struct cpu *cpu, uint64_t va, enum mmu_access access,
                                              const struct walk *w, unsigned flags);
__attribute__((noreturn)) void rv64_align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access);
__attribute__((noreturn)) void rv64_external_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, struct gpa pa);
__attribute__((noreturn)) void rv64_pc_fault(struct cpu *cpu);
static inline enum rv64_privilege rv64_privilege(const struct cpu *cpu) { return rv64_regime_privilege(cpu->regime); }
/* rv64_firmware(): does the guest bring firmware of its own, which is what machine mode does then? */
static inline bool rv64_firmware(const struct cpu *cpu) { return cpu->boot->firmware; }
/* rv64_set_privilege(): mstatus or the privilege level may be others by now: the regime follows. */
void rv64_set_privilege(struct cpu *cpu, enum rv64_privilege p);
/* rv64_data_regime(): of loads and stores. */
unsigned rv64_data_regime(const struct cpu *cpu);
void rv64_exit_fault(struct cpu *cpu); /* guest_ops.exit_fault */

/* walk.c */
enum rv64_fault { RV64_FAULT_PAGE = 1, RV64_FAULT_ACCESS }; /* struct walk.fault */
void rv64_walk(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w);
struct mmu_space rv64_space(struct cpu *cpu, bool hi, unsigned regime);
bool rv64_translates(const struct cpu *cpu, uint64_t va); /* guest_ops.translates */
void rv64_table_changed(struct cpu *cpu);                 /* satp was written */

/* pmp.c: physical memory protection, with a grain of a page */
uint64_t rv64_pmp_read(const struct rv64_cpu *c, unsigned csr); /* pmpcfg or pmpaddr */
void rv64_pmp_write(struct cpu *cpu, unsigned csr, uint64_t value);
/* rv64_pmp_check(): takes from w, which says where an access of that regime goes, what is not allowed there; the
 * mapping becomes a small one if that is not the same for all of it, and its neighbours. */
void rv64_pmp_check(const struct rv64_cpu *c, unsigned regime, struct walk *w);
/* rv64_pmp_allows_table(): may a walk read the page there, or write to it? */
bool rv64_pmp_allows_table(const struct rv64_cpu *c, uint64_t pa, bool write);

/* interrupts.c: what is pending, the timer */
void rv64_interrupts_update(struct cpu *cpu); /* samples all lines and the timer into mip */
void rv64_timer_update(struct cpu *cpu, bool expired);
uint64_t rv64_time(struct cpu *cpu);
/* rv64_interrupt_due(): the number of the interrupt to take now, 0 if there is none. */
unsigned rv64_interrupt_due(const struct cpu *cpu);
/* rv64_check_interrupts(): translated code leaves if one is due. */
void rv64_check_interrupts(struct cpu *cpu);
void rv64_send_ipi(struct cpu *cpu, struct rv64_cpu *to);

/* plic.c */
bool rv64_plic_init(struct cpu *cpu);
/* rv64_plic_pending(): samples the lines: is there an interrupt for this hart's S-mode, or M-mode? */
bool rv64_plic_pending(struct cpu *cpu, bool s);
bool rv64_plic_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value);
bool rv64_plic_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value);

/* clint.c: machine mode's timer and software interrupts */
bool rv64_clint_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value);
bool rv64_clint_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value);

/* state.c, plic.c: guest_ops.state ... changed */
extern const struct state_field rv64_state[], rv64_shared_state[];
void rv64_collect(struct cpu *cpu);
void rv64_changed(struct cpu *cpu);

/* pmu.c: the performance counters. n: of a counter, 3 .. 31. */
void rv64_pmu_reset(struct rv64_cpu *c);
/* rv64_pmu_sync(): the counters are right now; before the privilege changes, if rv64_pmu.on. */
void rv64_pmu_sync(struct rv64_cpu *c);
/* rv64_pmu_resume(): the registers were written over: what is counted, and cycles, begin to count from now on. */
void rv64_pmu_resume(struct rv64_cpu *c);
/* rv64_pmu_at_limit(): was it pmu_counts.limit that a block was left for? Then it is further away now. */
bool rv64_pmu_at_limit(struct rv64_cpu *c);
uint64_t rv64_pmu_deadline(struct rv64_cpu *c);    /* the TSC when a counter of cycles overflows */
void rv64_pmu_stop(struct rv64_cpu *c, bool stop); /* around a wait for an interrupt, if rv64_pmu.on */
uint64_t rv64_pmu_value(struct rv64_cpu *c, unsigned n);
uint64_t rv64_pmu_event(struct rv64_cpu *c, unsigned n);
uint64_t rv64_pmu_overflown(struct rv64_cpu *c); /* scountovf */
void rv64_pmu_set_value(struct rv64_cpu *c, unsigned n, uint64_t value);
void rv64_pmu_set_event(struct rv64_cpu *c, unsigned n, uint64_t event);
void rv64_pmu_set_inhibit(struct rv64_cpu *c, uint64_t inhibit);
/* rv64_pmu_call(): a function of the SBI's extension PMU. Returns the error (enum sbi_error). */
int64_t rv64_pmu_call(struct rv64_cpu *c, uint64_t function, const uint64_t *arg, uint64_t *value);

/* sbi.c */
enum sbi_error {
    SBI_SUCCESS = 0,
    SBI_FAILED = -1,
    SBI_NOT_SUPPORTED = -2,
    SBI_INVALID_PARAM = -3,
    SBI_INVALID_ADDRESS = -5,
    SBI_ALREADY_AVAILABLE = -6,
    SBI_ALREADY_STARTED = -7,
    SBI_ALREADY_STOPPED = -8
};
void rv64_sbi_call(struct cpu *cpu);
/* registers.c */
extern const struct guest_debug rv64_registers; /* guest_ops.debug */
/* csr.c: for a debugger: false: there is no such register, or it cannot be written by itself. */
bool rv64_csr_get(struct cpu *cpu, unsigned csr, uint64_t *value);
bool rv64_csr_set(struct cpu *cpu, unsigned csr, uint64_t value);
/* guest.c */
void rv64_reset(struct cpu *cpu);

#endif
