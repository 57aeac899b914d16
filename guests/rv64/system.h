/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* system.h: what the files of the RISC-V system side share among themselves (exceptions, CSRs, walk, SBI, PLIC ...). */
#ifndef GRAFT_RV64_SYSTEM_H
#define GRAFT_RV64_SYSTEM_H

#include "graft/rt.h"
#include "guests/rv64/rv64.h"

/* sstatus */
#define SSTATUS_SIE BIT(1)
#define SSTATUS_SPIE BIT(5)
#define SSTATUS_SPP BIT(8)
#define SSTATUS_FS (BIT(13) | BIT(14))
#define SSTATUS_SUM BIT(18)
#define SSTATUS_MXR BIT(19)
#define SSTATUS_UXL (UINT64_C(2) << 32)
#define SSTATUS_SD BIT(63)
#define SSTATUS_WRITABLE (SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP | SSTATUS_FS | SSTATUS_SUM | SSTATUS_MXR)

/* Interrupts, by bit of sip and sie. */
enum { IRQ_SOFT = 1, IRQ_TIMER = 5, IRQ_EXTERNAL = 9 };
#define SIE_WRITABLE (BIT(IRQ_SOFT) | BIT(IRQ_TIMER) | BIT(IRQ_EXTERNAL))

/* satp */
#define SATP_MODE(satp) ((unsigned)((satp) >> 60))
#define SATP_ASID(satp) ((uint32_t)((satp) >> 44) & 0xffff)
#define SATP_PPN(satp) ((satp) & MASK(44))
enum { SATP_BARE = 0, SATP_SV39 = 8, SATP_SV48 = 9, SATP_SV57 = 10 };
/* The walk knows Sv57, but harts do not offer it: a kernel would take it, and spread its half over regions of 512 GiB of which
 * windows cannot hold any two with equal low bits at one time (docs/internals.md, window). */
#define SATP_MOST SATP_SV48

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
    RV64_CSR_CYCLE = 0xc00,
    RV64_CSR_TIME = 0xc01,
    RV64_CSR_INSTRET = 0xc02
};

#define RV64_TIMEBASE 10000000u /* Hz, as QEMU's virt */

/* exceptions.c */
/* rv64_take_trap(): exception or interrupt to S-mode; sepc = pc of the state. Does not unwind. */
void rv64_take_trap(struct cpu *cpu, uint64_t cause, uint64_t tval);
_Noreturn void rv64_raise(struct cpu *cpu, uint64_t cause, uint64_t tval);
_Noreturn void rv64_illegal(struct cpu *cpu, uint64_t insn);
__attribute__((noreturn)) void rv64_mem_abort(struct cpu *cpu, uint64_t va, enum mmu_access access,
                                              const struct walk *w, unsigned flags);
__attribute__((noreturn)) void rv64_align_fault(struct cpu *cpu, uint64_t va, enum mmu_access access);
__attribute__((noreturn)) void rv64_external_abort(struct cpu *cpu, uint64_t va, enum mmu_access access, struct gpa pa);
__attribute__((noreturn)) void rv64_pc_fault(struct cpu *cpu);
static inline bool rv64_in_s(const struct cpu *cpu) { return cpu->regime != RV64_U; }
/* rv64_regime_changed(): sstatus.SUM or the privilege level may be others by now. */
void rv64_set_privilege(struct cpu *cpu, bool s);

/* walk.c */
enum rv64_fault { RV64_FAULT_PAGE = 1, RV64_FAULT_ACCESS }; /* struct walk.fault */
void rv64_walk(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w);
struct mmu_space rv64_space(struct cpu *cpu, bool hi, unsigned regime);
void rv64_table_changed(struct cpu *cpu); /* satp was written */

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
bool rv64_plic_pending(struct cpu *cpu); /* samples the lines: is there an interrupt for this hart's S-mode? */
bool rv64_io_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value);
bool rv64_io_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value);

/* sbi.c */
void rv64_sbi_call(struct cpu *cpu);
/* guest.c */
void rv64_reset(struct cpu *cpu);

#endif
