/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * gic.h: state of the Generic Interrupt Controller, version 2 or 3, single
 * security state. One lock guards all of it; each register access of a vCPU is
 * one struct gic_op: lock, sample the lines, do it, publish, unlock, kick others.
 *
 *   gic.c       lines, priorities, acknowledge and end of interrupt: what both versions share
 *   gic_dist.c  distributor and redistributor registers
 *   gic_v2.c    memory-mapped CPU interface and SGIs of GICv2
 *   gic_v3.c    ICC_* system registers
 */
#ifndef GRAFT_A64_GIC_H
#define GRAFT_A64_GIC_H

#include "system.h"

#define GIC_IDS 288 /* 16 SGIs, 16 PPIs, 256 SPIs, as on QEMU's virt */
#define GIC_WORDS (GIC_IDS / 32)
#define GIC_SPURIOUS 1023u
#define GIC_IDLE 0x100u /* running priority while no interrupt is active */

#define GIC_DIST_BASE UINT64_C(0x08000000)
#define GIC_CPU_BASE UINT64_C(0x08010000)
#define GIC_REDIST_BASE UINT64_C(0x080a0000)
#define GIC_REDIST_SIZE UINT64_C(0x20000)

/* 32 interrupts. pending is the latch; the state "pending" is pending | (level & ~edge). */
struct gic_bank {
    uint32_t enabled, pending, level, active, edge, group;
};

/* A PE: its private interrupts and its CPU interface. */
struct a64_cpuif {
    struct gic_bank priv;
    uint8_t priority[32];
    uint8_t sgi_from[16];         /* GICv2: PEs from which an SGI is pending */
    uint32_t spi_here[GIC_WORDS]; /* SPIs that may be signalled to this PE; [0] unused */
    bool asleep;                  /* GICv3 GICR_WAKER.ProcessorSleep */
    bool enabled[2];              /* group 0, group 1 */
    bool common_bpr, split_eoi;   /* CBPR, EOImode */
    bool fiq_enabled, ack_all;    /* GICv2 FIQEn, AckCtl */
    uint8_t pmr, bpr[2];
    uint32_t apr[2][4]; /* active priorities of each group, one bit for each preemption level */
};

struct gic {
    _Atomic uint32_t lock;
    unsigned version, cpus;
    unsigned prio_shift;            /* a preemption level is a priority >> prio_shift */
    uint8_t prio_mask, bpr_min;     /* implemented bits of a priority, least BPR of group 0 */
    bool enabled[2];                /* GICD_CTLR.EnableGrp0, EnableGrp1 */
    struct gic_bank spi[GIC_WORDS]; /* [0] unused: private interrupts are in pe[] */
    uint8_t priority[GIC_IDS];
    uint8_t target[GIC_IDS]; /* GICv2 GICD_ITARGETSR */
    uint64_t route[GIC_IDS]; /* GICv3 GICD_IROUTER */
    struct a64_cpuif pe[ABI_MAX_VCPUS];
};

struct gic_op {
    struct cpu *cpu;
    struct gic *g;
    struct a64_cpuif *pe; /* of cpu */
    uint32_t kick;        /* PEs to wake after unlocking */
};

/* gic.c */
struct gic_op gic_begin(struct cpu *cpu);
void gic_end(struct gic_op *op); /* recomputes this PE's lines, unlocks, kicks */
static inline struct gic_bank *gic_bank(struct gic *g, struct a64_cpuif *pe, unsigned word) {
    return word ? &g->spi[word] : &pe->priv;
}
static inline uint8_t *gic_priority(struct gic *g, struct a64_cpuif *pe, unsigned id) {
    return id < 32 ? &pe->priority[id] : &g->priority[id];
}
uint32_t gic_pending(const struct gic_bank *b);
/* gic_changed(): distributor state changed: other PEs that now have something to signal must look. */
void gic_changed(struct gic_op *op);
/* gic_retarget(): an SPI's target or route changed: recomputes where it may go. */
void gic_retarget(struct gic_op *op, unsigned id);
/* gic_best(): the pending, enabled interrupt of highest priority for pe, whatever its CPU interface masks. */
unsigned gic_best(struct gic *g, struct a64_cpuif *pe, unsigned *priority, unsigned *group);
/* gic_signalled(): that interrupt if the CPU interface signals it to the PE, else GIC_SPURIOUS. */
unsigned gic_signalled(struct gic *g, struct a64_cpuif *pe, unsigned *group);
void gic_activate(struct gic *g, struct a64_cpuif *pe, unsigned id);
void gic_deactivate(struct gic *g, struct a64_cpuif *pe, unsigned id);
/* gic_drop_priority(): ends the running priority. The group it belonged to is gic_running_group(), 2 if none is. */
void gic_drop_priority(struct a64_cpuif *pe, unsigned group);
unsigned gic_running_group(const struct a64_cpuif *pe);
unsigned gic_running_priority(const struct gic *g, const struct a64_cpuif *pe);
void gic_set_bpr(const struct gic *g, struct a64_cpuif *pe, unsigned group, uint64_t value);

/* gic_dist.c: the aligned word at offset in the distributor or in all redistributors; mask: the bytes written */
uint32_t gic_dist_read(struct gic_op *op, unsigned offset);
void gic_dist_write(struct gic_op *op, unsigned offset, uint32_t value, uint32_t mask);
uint32_t gic_redist_read(struct gic_op *op, unsigned offset);
void gic_redist_write(struct gic_op *op, unsigned offset, uint32_t value, uint32_t mask);

/* gic_v2.c */
uint32_t gic_v2_cpu_read(struct gic_op *op, unsigned offset);
void gic_v2_cpu_write(struct gic_op *op, unsigned offset, uint32_t value);
void gic_v2_send_sgi(struct gic_op *op, uint32_t value);
void gic_v2_sgi_pending(struct gic_op *op, unsigned id, uint8_t set, uint8_t clear);

#endif
