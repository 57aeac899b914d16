/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gic_v3.c: the CPU interface of GICv3 as ICC_*_EL1 system registers (IHI 0069 chapter 12), single security state. */
#include "gic.h"

#define ICC(crn, crm, op2) A64_SYSREG(3, 0, crn, crm, op2)
enum icc_reg {
    ICC_PMR = ICC(4, 6, 0),
    ICC_IAR0 = ICC(12, 8, 0),
    ICC_EOIR0 = ICC(12, 8, 1),
    ICC_HPPIR0 = ICC(12, 8, 2),
    ICC_BPR0 = ICC(12, 8, 3),
    ICC_AP0R0 = ICC(12, 8, 4),
    ICC_AP1R0 = ICC(12, 9, 0),
    ICC_DIR = ICC(12, 11, 1),
    ICC_RPR = ICC(12, 11, 3),
    ICC_SGI1R = ICC(12, 11, 5),
    ICC_ASGI1R = ICC(12, 11, 6),
    ICC_SGI0R = ICC(12, 11, 7),
    ICC_IAR1 = ICC(12, 12, 0),
    ICC_EOIR1 = ICC(12, 12, 1),
    ICC_HPPIR1 = ICC(12, 12, 2),
    ICC_BPR1 = ICC(12, 12, 3),
    ICC_CTLR = ICC(12, 12, 4),
    ICC_SRE = ICC(12, 12, 5),
    ICC_IGRPEN0 = ICC(12, 12, 6),
    ICC_IGRPEN1 = ICC(12, 12, 7),
};
#define CTLR_CBPR 1u
#define CTLR_EOIMODE 2u
#define CTLR_FIXED (1u << 15 | 1u << 11 | 4u << 8) /* A3V, 24 bits of interrupt id, 5 bits of priority */

static uint64_t acknowledge(struct gic_op *op, unsigned group) {
    unsigned of, id = gic_signalled(op->g, op->pe, &of);
    if (id == GIC_SPURIOUS || of != group)
        return GIC_SPURIOUS;
    gic_activate(op->g, op->pe, id);
    return id;
}

static void end(struct gic_op *op, uint64_t id, unsigned group) {
    if (id >= GIC_IDS || gic_running_group(op->pe) != group)
        return;
    gic_drop_priority(op->pe, group);
    if (!op->pe->split_eoi)
        gic_deactivate(op->g, op->pe, (unsigned)id);
}

static uint64_t highest_pending(struct gic_op *op, unsigned group) {
    unsigned priority, of, id = gic_best(op->g, op->pe, &priority, &of);
    return id != GIC_SPURIOUS && of == group ? id : GIC_SPURIOUS;
}

/* ICC_SGI<n>R: to a list of PEs of one cluster, or to all others (IRM). A PE takes it only in the group it gave that
 * SGI. */
static void send_sgi(struct gic_op *op, uint64_t value, unsigned group) {
    unsigned id = a64_bits(value, 24, 4), others = value >> 40 & 1;
    uint64_t cluster = a64_bits(value, 16, 8) | a64_bits(value, 32, 8) | a64_bits(value, 48, 8);
    if (!others && (cluster || a64_bits(value, 44, 4)))
        return;
    for (unsigned i = 0; i < op->g->cpus; i++) {
        struct a64_cpuif *pe = &op->g->pe[i];
        bool meant = others ? i != op->cpu->index : value >> i & 1;
        if (!meant || (pe->priv.group >> id & 1) != group)
            continue;
        pe->priv.pending |= 1u << id;
        if (i != op->cpu->index)
            op->kick |= 1u << i;
    }
}

static uint64_t icc_read(struct gic_op *op, uint32_t key, bool *known) {
    struct a64_cpuif *pe = op->pe;
    unsigned running;
    switch (key) {
    case ICC_PMR: return pe->pmr;
    case ICC_IAR0: return acknowledge(op, 0);
    case ICC_IAR1: return acknowledge(op, 1);
    case ICC_HPPIR0: return highest_pending(op, 0);
    case ICC_HPPIR1: return highest_pending(op, 1);
    case ICC_BPR0: return pe->bpr[0];
    case ICC_BPR1: return pe->common_bpr ? (pe->bpr[0] == 7 ? 7 : pe->bpr[0] + 1) : pe->bpr[1];
    case ICC_AP0R0:
    case ICC_AP1R0: return pe->apr[key == ICC_AP1R0][0];
    case ICC_RPR: running = gic_running_priority(op->g, pe); return running == GIC_IDLE ? 0xff : running;
    case ICC_CTLR: return CTLR_FIXED | (pe->common_bpr ? CTLR_CBPR : 0) | (pe->split_eoi ? CTLR_EOIMODE : 0);
    case ICC_SRE: return 7; /* system registers only */
    case ICC_IGRPEN0:
    case ICC_IGRPEN1: return pe->enabled[key == ICC_IGRPEN1];
    }
    *known = false;
    return 0;
}

static bool icc_write(struct gic_op *op, uint32_t key, uint64_t value) {
    struct a64_cpuif *pe = op->pe;
    switch (key) {
    case ICC_PMR: pe->pmr = value & op->g->prio_mask; return true;
    case ICC_EOIR0:
    case ICC_EOIR1: end(op, value & 0xffffff, key == ICC_EOIR1); return true;
    case ICC_DIR:
        if (pe->split_eoi && (value & 0xffffff) < GIC_IDS) {
            gic_deactivate(op->g, pe, value & 0xffffff);
            gic_changed(op); /* it may be pending again, for another PE */
        }
        return true;
    case ICC_BPR0: gic_set_bpr(op->g, pe, 0, value); return true;
    case ICC_BPR1:
        if (!pe->common_bpr)
            gic_set_bpr(op->g, pe, 1, value);
        return true;
    case ICC_AP0R0:
    case ICC_AP1R0: pe->apr[key == ICC_AP1R0][0] = (uint32_t)value; return true;
    case ICC_CTLR:
        pe->common_bpr = value & CTLR_CBPR;
        pe->split_eoi = value & CTLR_EOIMODE;
        return true;
    case ICC_SRE: return true;
    case ICC_IGRPEN0:
    case ICC_IGRPEN1: pe->enabled[key == ICC_IGRPEN1] = value & 1; return true;
    case ICC_SGI1R: send_sgi(op, value, 1); return true;
    case ICC_SGI0R:
    case ICC_ASGI1R: /* with one security state, the other state's group 1 is group 0 */
        send_sgi(op, value, 0);
        return true;
    }
    return false;
}

/* The registers are there only with GICv3. With 32 preemption levels ICC_AP<n>R1..3 are not, either. */
static bool icc_present(const struct cpu *cpu, uint32_t key) {
    unsigned crn = key >> 7 & 15, crm = key >> 3 & 15;
    return cpu->boot->gic_version == 3 && key >> 11 == (3u << 14) >> 11 && (key == ICC_PMR || (crn == 12 && crm >= 8));
}

bool a64_gic_sysreg_read(struct cpu *cpu, uint32_t key, uint64_t *value) {
    if (!icc_present(cpu, key))
        return false;
    struct gic_op op = gic_begin(cpu);
    bool known = true;
    *value = icc_read(&op, key, &known);
    gic_end(&op);
    a64_check_interrupts(a64(cpu));
    return known;
}

bool a64_gic_sysreg_write(struct cpu *cpu, uint32_t key, uint64_t value) {
    if (!icc_present(cpu, key))
        return false;
    struct gic_op op = gic_begin(cpu);
    bool known = icc_write(&op, key, value);
    gic_end(&op);
    a64_check_interrupts(a64(cpu));
    return known;
}
