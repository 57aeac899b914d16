/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gic_v2.c: CPU interface (GICC_*) and software generated interrupts of GICv2 (IHI 0048 chapter 4). */
#include "gic.h"

enum gicc_reg {
    GICC_CTLR = 0x00,
    GICC_PMR = 0x04,
    GICC_BPR = 0x08,
    GICC_IAR = 0x0c,
    GICC_EOIR = 0x10,
    GICC_RPR = 0x14,
    GICC_HPPIR = 0x18,
    GICC_ABPR = 0x1c,
    GICC_AIAR = 0x20,
    GICC_AEOIR = 0x24,
    GICC_AHPPIR = 0x28,
    GICC_APR = 0xd0,
    GICC_NSAPR = 0xe0,
    GICC_IIDR = 0xfc,
    GICC_DIR = 0x1000
};
#define CTLR_ACK_CTL BIT(2)
#define CTLR_FIQ_EN BIT(3)
#define CTLR_CBPR BIT(4)
#define CTLR_EOIMODE BIT(9)
#define GROUP1_PENDING 1022u

/* --- SGIs: pending from each source PE separately --------------------------------------------- */

static void sgi_set(struct a64_cpuif *pe, unsigned id, uint8_t from) {
    pe->sgi_from[id] = from;
    if (from)
        pe->priv.pending |= 1u << id;
    else
        pe->priv.pending &= ~(1u << id);
}

void gic_v2_sgi_pending(struct gic_op *op, unsigned id, uint8_t set, uint8_t clear) {
    sgi_set(op->pe, id, (op->pe->sgi_from[id] | (set & (uint8_t)MASK(op->g->cpus))) & (uint8_t)~clear);
}

void gic_v2_send_sgi(struct gic_op *op, uint32_t value) {
    unsigned self = 1u << op->cpu->index, all = (unsigned)MASK(op->g->cpus), id = value & 15;
    unsigned filter = value >> 24 & 3;
    unsigned targets = filter == 0 ? value >> 16 & all : filter == 1 ? all & ~self : filter == 2 ? self : 0;
    for (unsigned i = 0; i < op->g->cpus; i++) {
        struct a64_cpuif *pe = &op->g->pe[i];
        if (targets >> i & 1)
            sgi_set(pe, id, pe->sgi_from[id] | (uint8_t)self);
    }
}

/* The id as IAR and HPPIR show it: with the number of the source PE if it is an SGI. */
static uint32_t with_source(const struct a64_cpuif *pe, unsigned id) {
    return id < 16 && pe->sgi_from[id] ? id | (uint32_t)__builtin_ctz(pe->sgi_from[id]) << 10 : id;
}

/* --- acknowledge and end ---------------------------------------------------------------------- */

/* What a read of IAR, HPPIR (aliased = false) or their aliases for group 1 shows of an interrupt of that group. */
static uint32_t visible(const struct a64_cpuif *pe, unsigned id, unsigned group, bool aliased) {
    if (id == GIC_SPURIOUS || (aliased && group == 0))
        return GIC_SPURIOUS;
    return group == 1 && !aliased && !pe->ack_all ? GROUP1_PENDING : id;
}

static uint32_t acknowledge(struct gic_op *op, bool aliased) {
    unsigned group, id = gic_signalled(op->g, op->pe, &group);
    if (visible(op->pe, id, group, aliased) != id || id == GIC_SPURIOUS)
        return visible(op->pe, id, group, aliased);
    uint32_t value = with_source(op->pe, id);
    gic_activate(op->g, op->pe, id);
    if (id < 16) /* still pending if another PE sent it, too */
        sgi_set(op->pe, id, op->pe->sgi_from[id] & (op->pe->sgi_from[id] - 1));
    return value;
}

static uint32_t highest_pending(struct gic_op *op, bool aliased) {
    unsigned priority, group, id = gic_best(op->g, op->pe, &priority, &group);
    uint32_t seen = visible(op->pe, id, group, aliased);
    return seen == id && id != GIC_SPURIOUS ? with_source(op->pe, id) : seen;
}

static void end(struct gic_op *op, uint32_t value, bool aliased) {
    unsigned id = value & 0x3ff;
    if (id >= GIC_IDS)
        return;
    unsigned group = gic_bank(op->g, op->pe, id / 32)->group >> (id % 32) & 1;
    if (aliased && group == 0)
        return;
    gic_drop_priority(op->pe, group);
    if (!op->pe->split_eoi)
        gic_deactivate(op->g, op->pe, id);
}

/* --- registers -------------------------------------------------------------------------------- */

static uint32_t ctlr_read(const struct a64_cpuif *pe) {
    return (uint32_t)(pe->enabled[0] | pe->enabled[1] << 1 | (pe->ack_all ? CTLR_ACK_CTL : 0) |
                      (pe->fiq_enabled ? CTLR_FIQ_EN : 0) | (pe->common_bpr ? CTLR_CBPR : 0) |
                      (pe->split_eoi ? CTLR_EOIMODE : 0));
}

static void ctlr_write(struct a64_cpuif *pe, uint32_t value) {
    pe->enabled[0] = value & 1;
    pe->enabled[1] = value >> 1 & 1;
    pe->ack_all = value & CTLR_ACK_CTL;
    pe->fiq_enabled = value & CTLR_FIQ_EN;
    pe->common_bpr = value & CTLR_CBPR;
    pe->split_eoi = value & CTLR_EOIMODE;
}

uint32_t gic_v2_cpu_read(struct gic_op *op, unsigned offset) {
    struct a64_cpuif *pe = op->pe;
    if (offset >= GICC_APR && offset < GICC_NSAPR + 16)
        return pe->apr[offset >= GICC_NSAPR][offset / 4 & 3];
    unsigned running;
    switch (offset) {
    case GICC_CTLR: return ctlr_read(pe);
    case GICC_PMR: return pe->pmr;
    case GICC_BPR: return pe->bpr[0];
    case GICC_ABPR: return pe->bpr[1];
    case GICC_IAR: return acknowledge(op, false);
    case GICC_AIAR: return acknowledge(op, true);
    case GICC_RPR: running = gic_running_priority(op->g, pe); return running == GIC_IDLE ? 0xff : running;
    case GICC_HPPIR: return highest_pending(op, false);
    case GICC_AHPPIR: return highest_pending(op, true);
    case GICC_IIDR: return 2u << 16 | 0x43b;
    }
    return 0;
}

void gic_v2_cpu_write(struct gic_op *op, unsigned offset, uint32_t value) {
    struct a64_cpuif *pe = op->pe;
    if (offset >= GICC_APR && offset < GICC_NSAPR + 16) {
        pe->apr[offset >= GICC_NSAPR][offset / 4 & 3] = value;
        return;
    }
    switch (offset) {
    case GICC_CTLR: ctlr_write(pe, value); break;
    case GICC_PMR: pe->pmr = value & op->g->prio_mask; break;
    case GICC_BPR: gic_set_bpr(op->g, pe, 0, value); break;
    case GICC_ABPR: gic_set_bpr(op->g, pe, 1, value); break;
    case GICC_EOIR: end(op, value, false); break;
    case GICC_AEOIR: end(op, value, true); break;
    case GICC_DIR:
        if (pe->split_eoi) {
            gic_deactivate(op->g, pe, value & 0x3ff);
            gic_changed(op); /* it may be pending again, for another PE */
        }
        break;
    }
}
