/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gic.c: the interrupt controller driver of the payloads. */
#include "gic.h"

#define write_icc(r, v)                                                                                                \
    do {                                                                                                               \
        write_sysreg(r, v);                                                                                            \
        isb();                                                                                                         \
    } while (0)

bool gic_is_v3(void) { return read_sysreg(id_aa64pfr0_el1) >> 24 & 15; }

static unsigned this_cpu(void) { return read_sysreg(mpidr_el1) & 0xff; }

static uint64_t redistributor(void) { return GICR_BASE + GICR_STRIDE * this_cpu(); }

uint64_t gic_reg(unsigned id, unsigned base, unsigned bits_per_id) {
    uint64_t frame = gic_is_v3() && id < 32 ? redistributor() + GICR_SGI : GICD_BASE;
    return frame + base + id * bits_per_id / 32 * 4;
}

static void set_bit(unsigned id, unsigned base) { mmio_write32(gic_reg(id, base, 1), 1u << (id & 31)); }

static bool get_bit(unsigned id, unsigned base) { return mmio_read32(gic_reg(id, base, 1)) >> (id & 31) & 1; }

void gic_init(void) {
    unsigned lines = 32 * ((gicd(GICD_TYPER) & 31) + 1);
    bool v3 = gic_is_v3();
    if (this_cpu() == 0) {
        gicd_set(GICD_CTLR, 0);
        for (unsigned id = 32; id < lines; id += 32) {
            if (v3)
                gicd_set(GICD_IGROUPR + id / 8, ~0u);
            gicd_set(GICD_ICENABLER + id / 8, ~0u);
            gicd_set(GICD_ICPENDR + id / 8, ~0u);
            gicd_set(GICD_ICACTIVER + id / 8, ~0u);
        }
        for (unsigned id = 32; id < lines; id += 4) {
            gicd_set(GICD_IPRIORITYR + id, 0xa0a0a0a0);
            if (!v3)
                gicd_set(GICD_ITARGETSR + id, 0x01010101);
        }
        gicd_set(GICD_CTLR, v3 ? 0x13 : 1);
    }
    if (v3) {
        uint64_t waker = redistributor() + GICR_WAKER;
        mmio_write32(waker, mmio_read32(waker) & ~2u);
        while (mmio_read32(waker) & 4)
            ;
        mmio_write32(redistributor() + GICR_SGI + GICD_IGROUPR, ~0u);
    }
    mmio_write32(gic_reg(0, GICD_ICENABLER, 1), ~0u);
    mmio_write32(gic_reg(0, GICD_ICPENDR, 1), ~0u);
    mmio_write32(gic_reg(0, GICD_ICACTIVER, 1), ~0u);
    for (unsigned id = 0; id < 32; id += 4)
        mmio_write32(gic_reg(id, GICD_IPRIORITYR, 8), 0xa0a0a0a0);
    if (v3) {
        write_icc(icc_sre_el1, 7);
        write_icc(icc_pmr_el1, 0xf0);
        write_icc(icc_bpr1_el1, 0);
        write_icc(icc_ctlr_el1, 0);
        write_icc(icc_igrpen1_el1, 1);
    } else {
        gicc_set(GICC_PMR, 0xf0);
        gicc_set(GICC_BPR, 0);
        gicc_set(GICC_CTLR, 1);
    }
}

void gic_enable(unsigned id) { set_bit(id, GICD_ISENABLER); }
void gic_disable(unsigned id) { set_bit(id, GICD_ICENABLER); }
bool gic_is_enabled(unsigned id) { return get_bit(id, GICD_ISENABLER); }
bool gic_is_pending(unsigned id) { return get_bit(id, GICD_ISPENDR); }
bool gic_is_active(unsigned id) { return get_bit(id, GICD_ISACTIVER); }
void gic_set_pending(unsigned id, bool pending) { set_bit(id, pending ? GICD_ISPENDR : GICD_ICPENDR); }
void gic_set_active(unsigned id, bool active) { set_bit(id, active ? GICD_ISACTIVER : GICD_ICACTIVER); }

void gic_set_priority(unsigned id, unsigned priority) {
    *(volatile uint8_t *)(gic_reg(id & ~3u, GICD_IPRIORITYR, 8) + (id & 3)) = (uint8_t)priority;
}

void gic_set_edge(unsigned id, bool edge) {
    uint64_t reg = gic_reg(id, GICD_ICFGR, 2);
    uint32_t bit = 2u << 2 * (id & 15);
    mmio_write32(reg, edge ? mmio_read32(reg) | bit : mmio_read32(reg) & ~bit);
}

void gic_route(unsigned id, unsigned cpu) {
    if (gic_is_v3())
        *(volatile uint64_t *)(GICD_BASE + GICD_IROUTER + 8 * id) = cpu;
    else
        *(volatile uint8_t *)(GICD_BASE + GICD_ITARGETSR + id) = (uint8_t)(1u << cpu);
}

void gic_send_sgi(unsigned id, unsigned cpu) {
    dsb();
    if (gic_is_v3())
        write_icc(icc_sgi1r_el1, 1ul << cpu | (uint64_t)id << 24);
    else
        gicd_set(GICD_SGIR, 1u << (16 + cpu) | id);
}

uint32_t gic_ack(void) {
    if (!gic_is_v3())
        return gicc(GICC_IAR);
    uint32_t iar = (uint32_t)read_sysreg(icc_iar1_el1);
    dsb();
    return iar;
}

void gic_eoi(uint32_t iar) {
    if (gic_is_v3())
        write_icc(icc_eoir1_el1, iar);
    else
        gicc_set(GICC_EOIR, iar);
}

void gic_set_mask(unsigned priority) {
    if (gic_is_v3())
        write_icc(icc_pmr_el1, priority);
    else
        gicc_set(GICC_PMR, priority);
}
