/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_gic.c: any sequence of accesses to an interrupt controller, version 2 or 3, by one to four processors, and of
 * lines that devices drive. After each the state has to be one that the architecture knows.
 */
#include "tests/fuzz/a64_world.h"

#include "guests/a64/gic.h"

static struct gic *gic(void) { return world.guest_shared; }

/* Where registers are, and a little beside them. */
static uint64_t address(struct input *in) {
    static const uint64_t frame[] = {GIC_DIST_BASE,
                                     GIC_CPU_BASE,
                                     GIC_REDIST_BASE,
                                     GIC_REDIST_BASE + 0x10000,
                                     GIC_REDIST_BASE + GIC_REDIST_SIZE,
                                     GIC_REDIST_BASE + GIC_REDIST_SIZE + 0x10000};
    uint64_t base = frame[take(in, 1) % (sizeof(frame) / sizeof(frame[0]))];
    return base + (take(in, 2) & (base == GIC_DIST_BASE ? 0xffff : 0x1fff));
}

static void access_memory(struct a64_cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1), bytes = 1u << (how & 3);
    uint64_t pa = address(in), value = 0;
    if (how & 4) {
        a64_gic_write(&c->c, GPA(pa), bytes, fuzz_value(in));
    } else {
        value = ~UINT64_C(0);
        must(!a64_gic_read(&c->c, GPA(pa), bytes, &value) || bytes == 8 || !(value >> 8 * bytes));
    }
}

/* ICC_*: CRn 4 and 12 of op0 3, op1 0. */
static void access_register(struct a64_cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    uint32_t key = A64_SYSREG(3, 0, how & 1 ? 4 : 12, how >> 1 & 15, how >> 5 & 7);
    uint64_t value = 0;
    if (take(in, 1) & 1)
        a64_gic_sysreg_write(&c->c, key, fuzz_value(in));
    else
        a64_gic_sysreg_read(&c->c, key, &value);
}

/* Takes what is there, and ends it or not. */
static void acknowledge(struct a64_cpu *c, struct input *in) {
    uint64_t id = GIC_SPURIOUS;
    if (gic()->version == 3) {
        a64_gic_sysreg_read(&c->c, A64_SYSREG(3, 0, 12, 12, 0), &id);
    } else {
        a64_gic_read(&c->c, GPA(GIC_CPU_BASE + 0xc), 4, &id);
        id &= 0x3ff;
    }
    must(id < GIC_IDS || (id >= 1020 && id <= GIC_SPURIOUS));
    if (id >= GIC_IDS)
        return;
    must(gic_bank(gic(), c->cpuif, (unsigned)id / 32)->active >> id % 32 & 1);
    if (!(take(in, 1) & 1))
        return;
    if (gic()->version == 3)
        a64_gic_sysreg_write(&c->c, A64_SYSREG(3, 0, 12, 12, 1), id);
    else
        a64_gic_write(&c->c, GPA(GIC_CPU_BASE + 0x10), 4, id);
}

static void drive_lines(struct a64_cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    if (how & 1) {
        unsigned word = (unsigned)take(in, 1) % (GIC_WORDS - 1);
        uint32_t change = (uint32_t)take(in, 4);
        world.shared.spi_rose[word] |= change & ~world.shared.spi_level[word];
        world.shared.spi_level[word] ^= change;
    } else if (how & 2)
        world.shared.virtio_isr[how >> 3] = how >> 2 & 1;
    else
        a64_gic_set_ppi(&c->c, 16 + (how >> 3) % 16, how >> 2 & 1);
    a64_gic_update(&c->c);
}

static void check(const struct a64_cpu *c) {
    const struct gic *g = gic();
    must(!g->lock && !(c->irq && c->fiq));
    for (unsigned id = 32; id < GIC_IDS; id++)
        must(world.shared.spi_target[id - 32] < ABI_MAX_VCPUS && !(g->priority[id] & ~g->prio_mask));
    for (unsigned i = 0; i < g->cpus; i++) {
        const struct a64_cpuif *pe = &g->pe[i];
        unsigned running = gic_running_priority(g, pe);
        must(running <= GIC_IDLE && pe->bpr[0] <= 7 && pe->bpr[1] <= 8 && !(pe->pmr & ~g->prio_mask));
        for (unsigned id = 0; id < 32; id++)
            must(!(pe->priority[id] & ~g->prio_mask));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > MAX_INPUT)
        return 0;
    struct input in = fuzz_start(data, size);
    while (in.at < in.end) {
        struct a64_cpu *c = fuzz_cpu(&in);
        switch (take(&in, 1) % 4) {
        case 0: access_memory(c, &in); break;
        case 1: access_register(c, &in); break;
        case 2: acknowledge(c, &in); break;
        default: drive_lines(c, &in); break;
        }
        check(c);
    }
    return 0;
}
