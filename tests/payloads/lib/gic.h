/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gic.h: enough of a GIC driver for payloads, GICv2 and GICv3, set up as Linux does (v3: all interrupts in group 1). */
#ifndef PAYLOAD_GIC_H
#define PAYLOAD_GIC_H

#include "payload.h"

#define GICD_BASE 0x08000000ul
#define GICC_BASE 0x08010000ul
#define GICR_BASE 0x080a0000ul
#define GICR_STRIDE 0x20000ul
#define GICR_SGI 0x10000ul

enum {
    GICD_CTLR = 0,
    GICD_TYPER = 4,
    GICD_IIDR = 8,
    GICD_IGROUPR = 0x80,
    GICD_ISENABLER = 0x100,
    GICD_ICENABLER = 0x180,
    GICD_ISPENDR = 0x200,
    GICD_ICPENDR = 0x280,
    GICD_ISACTIVER = 0x300,
    GICD_ICACTIVER = 0x380,
    GICD_IPRIORITYR = 0x400,
    GICD_ITARGETSR = 0x800,
    GICD_ICFGR = 0xc00,
    GICD_SGIR = 0xf00,
    GICD_CPENDSGIR = 0xf10,
    GICD_SPENDSGIR = 0xf20,
    GICD_IROUTER = 0x6000,
    GICD_PIDR2_V3 = 0xffe8,
    GICD_PIDR2 = 0xfe8,
    GICC_CTLR = 0,
    GICC_PMR = 4,
    GICC_BPR = 8,
    GICC_IAR = 0xc,
    GICC_EOIR = 0x10,
    GICC_RPR = 0x14,
    GICC_HPPIR = 0x18,
    GICC_APR = 0xd0,
    GICC_IIDR = 0xfc,
    GICC_DIR = 0x1000,
    GICR_CTLR = 0,
    GICR_IIDR = 4,
    GICR_TYPER = 8,
    GICR_WAKER = 0x14,
};
#define INTID_NONE 1023u
#define PPI_VTIMER 27u
#define PPI_PTIMER 30u
#define SPI_UART 33u /* GIC interrupt ids */
#define SPI_RTC 34u
#define SPI_VIRTIO 48u

static inline uint32_t gicd(unsigned off) { return mmio_read32(GICD_BASE + off); }
static inline void gicd_set(unsigned off, uint32_t v) { mmio_write32(GICD_BASE + off, v); }
static inline uint32_t gicc(unsigned off) { return mmio_read32(GICC_BASE + off); }
static inline void gicc_set(unsigned off, uint32_t v) { mmio_write32(GICC_BASE + off, v); }

bool gic_is_v3(void);
/* gic_init(): distributor (by the first CPU that calls it) and this CPU's interface; everything disabled, all
 * priorities let through. */
void gic_init(void);
/* Registers of an interrupt, wherever they are (v3: SGIs and PPIs in this CPU's redistributor). */
uint64_t gic_reg(unsigned id, unsigned base, unsigned bits_per_id);
void gic_enable(unsigned id);
void gic_disable(unsigned id);
void gic_set_priority(unsigned id, unsigned priority);
void gic_set_edge(unsigned id, bool edge);
void gic_set_pending(unsigned id, bool pending);
void gic_set_active(unsigned id, bool active);
bool gic_is_pending(unsigned id);
bool gic_is_active(unsigned id);
bool gic_is_enabled(unsigned id);
/* gic_route(): an SPI to one CPU. */
void gic_route(unsigned id, unsigned cpu);
void gic_send_sgi(unsigned id, unsigned cpu);
/* gic_ack(): IAR as it is read; its interrupt id is in bits 9..0. */
uint32_t gic_ack(void);
void gic_eoi(uint32_t iar);
void gic_set_mask(unsigned priority); /* PMR */

#endif
