/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * gic_dist.c: distributor registers (GICD_*) of both versions and redistributor registers (GICR_*) of GICv3. The SGI
 * frame of a redistributor has the same registers at the same offsets as the distributor's first word, so one pair of
 * functions serves both, given the PE whose private interrupts are meant.
 */
#include "gic.h"

#define GICD_CTLR 0x000
#define GICD_TYPER 0x004
#define GICD_IIDR 0x008
#define GICD_SGIR 0xf00
#define GICD_CPENDSGIR 0xf10
#define GICD_SPENDSGIR 0xf20
#define GICD_IROUTER 0x6000
#define GICR_IIDR 0x004
#define GICR_TYPER 0x008
#define GICR_TYPER_HI 0x00c
#define GICR_WAKER 0x014
#define GICR_SGI_FRAME 0x10000
#define IIDR_ARM 0x43b
#define CTLR_ARE BIT(4)
#define CTLR_DS BIT(6)
#define V3_ID_REGS 0xffd0
#define V2_ID_REGS 0xfd0

/* Peripheral and component identification, PIDR4 first. */
static const uint8_t id_regs_v2[12] = {0x04, 0, 0, 0, 0x90, 0xb4, 0x2b, 0, 0x0d, 0xf0, 0x05, 0xb1};
static const uint8_t id_regs_v3[12] = {0x44, 0, 0, 0, 0x92, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1};

/* --- registers with one bit, two bits or a byte for each interrupt: 0x080 .. 0xcff ------------ */

enum bit_reg {
    REG_GROUP,
    REG_SET_ENABLE,
    REG_CLEAR_ENABLE,
    REG_SET_PENDING,
    REG_CLEAR_PENDING,
    REG_SET_ACTIVE,
    REG_CLEAR_ACTIVE
};

static uint32_t bits_read(const struct gic_bank *b, enum bit_reg reg) {
    switch (reg) {
    case REG_GROUP: return b->group;
    case REG_SET_ENABLE:
    case REG_CLEAR_ENABLE: return b->enabled;
    case REG_SET_PENDING:
    case REG_CLEAR_PENDING: return gic_pending(b);
    default: return b->active;
    }
}

static void bits_write(struct gic_op *op, struct gic_bank *b, unsigned word, enum bit_reg reg, uint32_t value,
                       uint32_t mask) {
    uint32_t sgis =
        word == 0 && op->g->version == 2 ? 0xffff : 0; /* GICv2: always enabled, pending by GICD_SGIR only */
    switch (reg) {
    case REG_GROUP: b->group = (b->group & ~mask) | value; break;
    case REG_SET_ENABLE: b->enabled |= value; break;
    case REG_CLEAR_ENABLE: b->enabled &= ~(value & ~sgis); break;
    case REG_SET_PENDING: b->pending |= value & ~sgis; break;
    case REG_CLEAR_PENDING: b->pending &= ~(value & ~sgis); break;
    case REG_SET_ACTIVE: b->active |= value; break;
    default: b->active &= ~value; break;
    }
}

static uint32_t config_read(const struct gic_bank *b, unsigned first) {
    uint32_t value = 0;
    for (unsigned i = 0; i < 16; i++)
        value |= (b->edge >> (first + i) & 1) << (2 * i + 1);
    return value;
}

static void config_write(struct gic_bank *b, unsigned first, uint32_t value, uint32_t mask) {
    for (unsigned i = 0; i < 16; i++) {
        uint32_t bit = 1u << (first + i);
        if (mask >> (2 * i + 1) & 1)
            b->edge = value >> (2 * i + 1) & 1 ? b->edge | bit : b->edge & ~bit;
    }
}

/* GICD_ITARGETSR: private interrupts read as their own PE; with one PE the registers read as zero. */
static uint8_t target_read(struct gic_op *op, struct a64_cpuif *pe, unsigned id) {
    if (op->g->version == 3 || op->g->cpus == 1)
        return 0;
    return id < 32 ? (uint8_t)(1u << (pe - op->g->pe)) : op->g->target[id];
}

static void target_write(struct gic_op *op, unsigned id, uint8_t value) {
    if (op->g->version == 3 || op->g->cpus == 1 || id < 32)
        return;
    op->g->target[id] = value & (uint8_t)MASK(op->g->cpus);
    gic_retarget(op, id);
}

static uint32_t common_read(struct gic_op *op, struct a64_cpuif *pe, unsigned offset) {
    struct gic *g = op->g;
    uint32_t value = 0;
    if (offset < 0x400) {
        unsigned word = (offset & 0x7f) / 4;
        return word < GIC_WORDS ? bits_read(gic_bank(g, pe, word), (enum bit_reg)(offset / 0x80 - 1)) : 0;
    }
    if (offset < 0xc00) {
        unsigned first = offset & 0x3ff;
        for (unsigned i = 0; i < 4 && first + i < GIC_IDS; i++) {
            uint32_t byte = offset < 0x800 ? *gic_priority(g, pe, first + i) : target_read(op, pe, first + i);
            value |= byte << (8 * i);
        }
        return value;
    }
    unsigned first = (offset - 0xc00) * 4;
    return first < GIC_IDS ? config_read(gic_bank(g, pe, first / 32), first % 32) : 0;
}

static void common_write(struct gic_op *op, struct a64_cpuif *pe, unsigned offset, uint32_t value, uint32_t mask) {
    struct gic *g = op->g;
    if (offset < 0x400) {
        unsigned word = (offset & 0x7f) / 4;
        if (word < GIC_WORDS)
            bits_write(op, gic_bank(g, pe, word), word, (enum bit_reg)(offset / 0x80 - 1), value, mask);
        return;
    }
    if (offset < 0xc00) {
        unsigned first = offset & 0x3ff;
        for (unsigned i = 0; i < 4 && first + i < GIC_IDS; i++) {
            uint8_t byte = (uint8_t)(value >> (8 * i));
            if (!(mask >> (8 * i) & 0xff))
                continue;
            if (offset < 0x800)
                *gic_priority(g, pe, first + i) = byte & g->prio_mask;
            else
                target_write(op, first + i, byte);
        }
        return;
    }
    unsigned first = (offset - 0xc00) * 4;
    if (first >= 16 && first < GIC_IDS) /* SGIs are edge-triggered for ever */
        config_write(gic_bank(g, pe, first / 32), first % 32, value, mask);
}

/* --- distributor ------------------------------------------------------------------------------ */

/* With affinity routing (GICv3) the distributor knows nothing of private interrupts: their registers read as zero. */
static bool private_registers(unsigned offset) {
    if (offset < 0x400)
        return (offset & 0x7f) == 0;
    return offset < 0xc00 ? (offset & 0x3ff) < 32 : offset < 0xc08;
}

static uint32_t sgi_sources(const struct a64_cpuif *pe, unsigned first) {
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++)
        value |= (uint32_t)pe->sgi_from[first + i] << (8 * i);
    return value;
}

static uint32_t dist_id(const struct gic *g, unsigned offset) {
    const uint8_t *ids = g->version == 3 ? id_regs_v3 : id_regs_v2;
    unsigned first = g->version == 3 ? V3_ID_REGS : V2_ID_REGS;
    return offset >= first && offset < first + 48 ? ids[(offset - first) / 4] : 0;
}

uint32_t gic_dist_read(struct gic_op *op, unsigned offset) {
    struct gic *g = op->g;
    bool v3 = g->version == 3;
    if (offset >= 0x80 && offset < 0xd00)
        return v3 && private_registers(offset) ? 0 : common_read(op, op->pe, offset);
    if (v3 && offset >= GICD_IROUTER + 32 * 8 && offset < GICD_IROUTER + GIC_IDS * 8)
        return (uint32_t)(g->route[(offset - GICD_IROUTER) / 8] >> (offset & 4 ? 32 : 0));
    if (!v3 && offset >= GICD_CPENDSGIR && offset < GICD_SPENDSGIR + 16)
        return sgi_sources(op->pe, offset & 0xf);
    switch (offset) {
    case GICD_CTLR: return g->enabled[0] | g->enabled[1] << 1 | (v3 ? CTLR_ARE | CTLR_DS : 0);
    case GICD_TYPER:
        if (v3) /* No1N, A3V, 16 bits of interrupt id */
            return 1u << 25 | 1u << 24 | 0xf << 19 | (GIC_WORDS - 1);
        return (g->cpus - 1) << 5 | (GIC_WORDS - 1);
    case GICD_IIDR: return IIDR_ARM;
    }
    return dist_id(g, offset);
}

static void sgi_pending_write(struct gic_op *op, unsigned offset, uint32_t value) {
    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        bool set = offset >= GICD_SPENDSGIR;
        gic_v2_sgi_pending(op, (offset & 0xf) + i, set ? byte : 0, set ? 0 : byte);
    }
}

static void route_write(struct gic_op *op, unsigned offset, uint32_t value, uint32_t mask) {
    unsigned id = (offset - GICD_IROUTER) / 8, shift = offset & 4 ? 32 : 0;
    uint64_t keep = op->g->route[id] & ~((uint64_t)mask << shift);
    op->g->route[id] = (keep | (uint64_t)value << shift) & UINT64_C(0xff00ffffff); /* Aff3..Aff0; no 1-of-N */
    gic_retarget(op, id);
}

void gic_dist_write(struct gic_op *op, unsigned offset, uint32_t value, uint32_t mask) {
    struct gic *g = op->g;
    bool v3 = g->version == 3;
    if (offset >= 0x80 && offset < 0xd00) {
        if (!(v3 && private_registers(offset)))
            common_write(op, op->pe, offset, value, mask);
    } else if (v3 && offset >= GICD_IROUTER + 32 * 8 && offset < GICD_IROUTER + GIC_IDS * 8) {
        route_write(op, offset, value, mask);
    } else if (offset == GICD_CTLR && (mask & 0xff)) {
        g->enabled[0] = value & 1;
        g->enabled[1] = value >> 1 & 1;
    } else if (!v3 && offset == GICD_SGIR) {
        gic_v2_send_sgi(op, value);
    } else if (!v3 && offset >= GICD_CPENDSGIR && offset < GICD_SPENDSGIR + 16) {
        sgi_pending_write(op, offset, value);
    }
}

/* --- redistributors --------------------------------------------------------------------------- */

uint32_t gic_redist_read(struct gic_op *op, unsigned offset) {
    unsigned index = offset / GIC_REDIST_SIZE, reg = offset % GIC_REDIST_SIZE;
    struct a64_cpuif *pe = &op->g->pe[index];
    if (reg >= GICR_SGI_FRAME) {
        reg -= GICR_SGI_FRAME;
        bool here = reg >= 0x80 && reg < 0xd00 && private_registers(reg) && !(reg >= 0x800 && reg < 0xc00);
        return here ? common_read(op, pe, reg) : dist_id(op->g, reg);
    }
    switch (reg) {
    case GICR_IIDR: return IIDR_ARM;
    case GICR_TYPER: /* Processor_Number, Last */ return index << 8 | (index + 1 == op->g->cpus ? 1u << 4 : 0);
    case GICR_TYPER_HI: return index;           /* affinity */
    case GICR_WAKER: return pe->asleep ? 6 : 0; /* ChildrenAsleep follows ProcessorSleep at once */
    }
    return dist_id(op->g, reg);
}

void gic_redist_write(struct gic_op *op, unsigned offset, uint32_t value, uint32_t mask) {
    unsigned reg = offset % GIC_REDIST_SIZE;
    struct a64_cpuif *pe = &op->g->pe[offset / GIC_REDIST_SIZE];
    if (reg >= GICR_SGI_FRAME) {
        reg -= GICR_SGI_FRAME;
        if (reg >= 0x80 && reg < 0xd00 && private_registers(reg) && !(reg >= 0x800 && reg < 0xc00))
            common_write(op, pe, reg, value, mask);
    } else if (reg == GICR_WAKER && (mask & 2)) {
        pe->asleep = value >> 1 & 1;
    }
}
