/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gic.c: interrupt lines, prioritisation and life cycle of interrupts (IHI 0048 chapter 3, IHI 0069 chapter 4). */
#include "gic.h"

uint32_t gic_pending(const struct gic_bank *b) { return b->pending | (b->level & ~b->edge); }

/* --- prioritisation --------------------------------------------------------------------------- */

static uint32_t group_enabled(const struct gic *g, const struct gic_bank *b) {
    return (g->enabled[0] ? ~b->group : 0) | (g->enabled[1] ? b->group : 0);
}

static uint32_t candidates(struct gic *g, struct a64_cpuif *pe, unsigned word) {
    const struct gic_bank *b = gic_bank(g, pe, word);
    uint32_t set = gic_pending(b) & b->enabled & ~b->active & group_enabled(g, b);
    return word ? set & pe->spi_here[word] : set;
}

unsigned gic_best(struct gic *g, struct a64_cpuif *pe, unsigned *priority, unsigned *group) {
    unsigned best = GIC_SPURIOUS, best_priority = GIC_IDLE;
    for (unsigned word = 0; word < GIC_WORDS; word++) {
        for (uint32_t set = candidates(g, pe, word); set; set &= set - 1) {
            unsigned id = word * 32 + (unsigned)__builtin_ctz(set);
            unsigned p = *gic_priority(g, pe, id);
            if (p < best_priority) {
                best = id;
                best_priority = p;
            }
        }
    }
    *priority = best_priority;
    *group = best == GIC_SPURIOUS ? 0 : gic_bank(g, pe, best / 32)->group >> (best % 32) & 1;
    return best;
}

/* The bits of a priority that decide about preemption: BPR n keeps bits 7 .. n+1; group 1 has its own BPR, one up. */
static unsigned group_mask(const struct a64_cpuif *pe, unsigned group) {
    if (group == 0 || pe->common_bpr)
        return ~0u << (pe->bpr[0] + 1) & 0xff;
    return ~0u << pe->bpr[1] & 0xff;
}

static unsigned first_active(const uint32_t apr[4]) {
    for (unsigned i = 0; i < 4; i++)
        if (apr[i])
            return i * 32 + (unsigned)__builtin_ctz(apr[i]);
    return 128;
}

unsigned gic_running_group(const struct a64_cpuif *pe) {
    unsigned first[2] = {first_active(pe->apr[0]), first_active(pe->apr[1])};
    if (first[0] == 128 && first[1] == 128)
        return 2;
    return first[1] < first[0];
}

unsigned gic_running_priority(const struct gic *g, const struct a64_cpuif *pe) {
    unsigned group = gic_running_group(pe);
    return group == 2 ? GIC_IDLE : first_active(pe->apr[group]) << g->prio_shift;
}

unsigned gic_signalled(struct gic *g, struct a64_cpuif *pe, unsigned *group) {
    unsigned priority, id = gic_best(g, pe, &priority, group);
    if (id == GIC_SPURIOUS || priority >= pe->pmr || !pe->enabled[*group])
        return GIC_SPURIOUS;
    unsigned running = gic_running_priority(g, pe);
    return running == GIC_IDLE || (priority & group_mask(pe, *group)) < running ? id : GIC_SPURIOUS;
}

/* --- life cycle ------------------------------------------------------------------------------- */

void gic_activate(struct gic *g, struct a64_cpuif *pe, unsigned id) {
    struct gic_bank *b = gic_bank(g, pe, id / 32);
    unsigned group = b->group >> (id % 32) & 1;
    unsigned level = (*gic_priority(g, pe, id) & group_mask(pe, group)) >> g->prio_shift;
    pe->apr[group][level / 32] |= 1u << (level % 32);
    b->active |= 1u << (id % 32);
    b->pending &= ~(1u << (id % 32));
}

void gic_drop_priority(struct a64_cpuif *pe, unsigned group) {
    for (unsigned i = 0; i < 4; i++) {
        if (pe->apr[group][i]) {
            pe->apr[group][i] &= pe->apr[group][i] - 1;
            return;
        }
    }
}

void gic_deactivate(struct gic *g, struct a64_cpuif *pe, unsigned id) {
    if (id < GIC_IDS)
        gic_bank(g, pe, id / 32)->active &= ~(1u << (id % 32));
}

void gic_set_bpr(const struct gic *g, struct a64_cpuif *pe, unsigned group, uint64_t value) {
    unsigned least = g->bpr_min + group;
    unsigned bpr = value & 7;
    pe->bpr[group] = (uint8_t)(bpr < least ? least : bpr);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* virtio-mmio slots are SPI 16 + slot, interrupt ids 48 .. 79. Their line is virtio_isr != 0. */
static uint32_t shared_lines(struct abi_shared *shared, unsigned word) {
    uint32_t lines = __atomic_load_n((uint32_t *)&shared->spi_level[word - 1], __ATOMIC_ACQUIRE);
    if (word == 1 || word == 2) {
        unsigned slot = word == 1 ? 0 : 16, bit = word == 1 ? 16 : 0;
        for (unsigned i = 0; i < 16; i++)
            lines |= (uint32_t)(__atomic_load_n((uint32_t *)&shared->virtio_isr[slot + i], __ATOMIC_ACQUIRE) != 0)
                     << (bit + i);
    }
    return lines;
}

/* Which have risen since the last time; they may have fallen again. Mostly none has: no exchange then. */
static uint32_t take_rises(struct abi_shared *shared, unsigned word) {
    uint32_t *rises = (uint32_t *)&shared->spi_rose[word - 1];
    return LIKELY(!__atomic_load_n(rises, __ATOMIC_RELAXED)) ? 0 : __atomic_exchange_n(rises, 0, __ATOMIC_ACQUIRE);
}

static bool powered(struct cpu *cpu, unsigned index) {
    struct cpu *to = engine_cpu(cpu, index);
    return to && engine_power_state(&a64(to)->power) == ENGINE_POWER_ON;
}

/* Reads what devices drive. An edge is what the device reports as one, as a level can rise and fall unseen. A line that
 * rose may be for another PE than the one that the monitor woke. */
static void sample_lines(struct gic_op *op) {
    struct gic *g = op->g;
    for (unsigned word = 1; word < GIC_WORDS; word++) {
        struct gic_bank *b = &g->spi[word];
        uint32_t edges = take_rises(op->cpu->shared, word), lines = shared_lines(op->cpu->shared, word),
                 rose = edges | (lines & ~b->level);
        b->level = lines;
        b->pending |= edges & b->edge;
        if (LIKELY(!rose))
            continue;
        for (unsigned i = 0; i < g->cpus; i++)
            if (i != op->cpu->index && (candidates(g, &g->pe[i], word) & rose))
                op->kick |= 1u << i;
    }
}

void gic_changed(struct gic_op *op) {
    unsigned group;
    for (unsigned i = 0; i < op->g->cpus; i++)
        if (i != op->cpu->index && gic_signalled(op->g, &op->g->pe[i], &group) != GIC_SPURIOUS)
            op->kick |= 1u << i;
}

void gic_retarget(struct gic_op *op, unsigned id) {
    struct gic *g = op->g;
    uint32_t mask;
    if (g->cpus == 1 && g->version == 2)
        mask = 1; /* GICv2 with one PE: all SPIs go there */
    else if (g->version == 2)
        mask = g->target[id];
    else
        mask = g->route[id] < g->cpus ? 1u << g->route[id] : 0;
    for (unsigned i = 0; i < g->cpus; i++) {
        uint32_t *word = &g->pe[i].spi_here[id / 32];
        *word = (*word & ~(1u << (id % 32))) | (mask >> i & 1) << (id % 32);
    }
    uint8_t first = mask ? (uint8_t)__builtin_ctz(mask) : 0;
    __atomic_store_n((uint8_t *)&op->cpu->shared->spi_target[id - 32], first, __ATOMIC_RELEASE);
}

struct gic_op gic_begin(struct cpu *cpu) {
    struct gic *g = *engine_guest_shared(cpu);
    struct gic_op op = {cpu, g, a64(cpu)->cpuif, 0};
    while (__atomic_exchange_n((uint32_t *)&g->lock, 1, __ATOMIC_ACQUIRE))
        for (unsigned turn = 0; __atomic_load_n((uint32_t *)&g->lock, __ATOMIC_RELAXED); turn++)
            rt_yield(cpu, turn);
    sample_lines(&op);
    return op;
}

void gic_end(struct gic_op *op) {
    struct a64_cpu *c = a64(op->cpu);
    unsigned group, id = gic_signalled(op->g, op->pe, &group);
    bool fiq = id != GIC_SPURIOUS && group == 0 && (op->g->version == 3 || op->pe->fiq_enabled);
    c->fiq = fiq;
    c->irq = id != GIC_SPURIOUS && !fiq;
    __atomic_store_n((uint32_t *)&op->g->lock, 0, __ATOMIC_RELEASE);
    for (uint32_t kick = op->kick; UNLIKELY(kick); kick &= kick - 1) {
        unsigned i = (unsigned)__builtin_ctz(kick);
        if (powered(op->cpu, i))
            engine_kick(op->cpu, engine_cpu(op->cpu, i), ABI_PEND_IRQ);
    }
}

void a64_gic_update(struct cpu *cpu) {
    struct gic_op op = gic_begin(cpu);
    gic_end(&op);
}

void a64_gic_set_ppi(struct cpu *cpu, unsigned ppi, bool level) {
    struct a64_cpuif *pe = a64(cpu)->cpuif;
    uint32_t bit = 1u << ppi;
    if (!(pe->priv.level & bit) == !level) /* only this PE changes its own lines */
        return;
    struct gic_op op = gic_begin(cpu);
    pe->priv.level ^= bit;
    if (level)
        pe->priv.pending |= bit & pe->priv.edge;
    gic_end(&op);
}

/* --- reset ------------------------------------------------------------------------------------ */

static void cpuif_reset(const struct gic *g, struct a64_cpuif *pe) {
    pe->priv.edge = 0xffff;                          /* SGIs */
    pe->priv.enabled = g->version == 2 ? 0xffff : 0; /* GICv2 SGIs are always enabled */
    pe->bpr[0] = g->bpr_min;
    pe->bpr[1] = g->bpr_min + 1;
    pe->asleep = true;
}

void a64_gic_init(struct cpu *cpu) {
    void **shared = engine_guest_shared(cpu);
    if (cpu->index == 0) {
        struct gic *g = engine_alloc_shared(cpu, sizeof *g);
        if (!g)
            rt_panic(cpu, "no room for the interrupt controller");
        g->version = cpu->boot->gic_version;
        g->cpus = cpu->boot->vcpu_count;
        /* GICv2: 8 bits of priority; GICv3: 5, as the cores have that QEMU models. */
        g->prio_shift = g->version == 2 ? 1 : 3;
        g->prio_mask = g->version == 2 ? 0xff : 0xf8;
        g->bpr_min = g->version == 2 ? 0 : 2;
        for (unsigned i = 0; i < g->cpus; i++)
            cpuif_reset(g, &g->pe[i]);
        struct gic_op op = {cpu, g, &g->pe[0], 0};
        for (unsigned id = 32; id < GIC_IDS; id++)
            gic_retarget(&op, id);
        *shared = g;
    }
    a64(cpu)->cpuif = &((struct gic *)*shared)->pe[cpu->index];
}

/* --- the memory map --------------------------------------------------------------------------- */

enum gic_frame { FRAME_NONE, FRAME_DIST, FRAME_CPU, FRAME_REDIST };

/* Whose registers are at pa, and at which offset? */
static enum gic_frame gic_frame(const struct cpu *cpu, struct gpa pa, unsigned *offset) {
    const struct abi_boot *boot = cpu->boot;
    if (pa.v - GIC_DIST_BASE < (boot->gic_version == 2 ? 0x1000u : 0x10000u)) {
        *offset = (unsigned)(pa.v - GIC_DIST_BASE);
        return FRAME_DIST;
    }
    if (boot->gic_version == 2 && pa.v - GIC_CPU_BASE < 0x2000) {
        *offset = (unsigned)(pa.v - GIC_CPU_BASE);
        return FRAME_CPU;
    }
    if (boot->gic_version == 3 && pa.v - GIC_REDIST_BASE < GIC_REDIST_SIZE * boot->vcpu_count) {
        *offset = (unsigned)(pa.v - GIC_REDIST_BASE);
        return FRAME_REDIST;
    }
    return FRAME_NONE;
}

/* One access to the aligned word that holds the bytes. */
static uint32_t read_word(struct gic_op *op, enum gic_frame frame, unsigned offset) {
    if (frame == FRAME_DIST)
        return gic_dist_read(op, offset);
    return frame == FRAME_CPU ? gic_v2_cpu_read(op, offset) : gic_redist_read(op, offset);
}

static void write_word(struct gic_op *op, enum gic_frame frame, unsigned offset, uint32_t value, uint32_t mask) {
    if (frame == FRAME_DIST)
        gic_dist_write(op, offset, value, mask);
    else if (frame == FRAME_REDIST)
        gic_redist_write(op, offset, value, mask);
    else if (mask == ~0u)
        gic_v2_cpu_write(op, offset, value);
}

bool a64_gic_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value) {
    unsigned offset;
    enum gic_frame frame = gic_frame(cpu, pa, &offset);
    if (frame == FRAME_NONE)
        return false;
    *value = 0;
    if (offset & (size - 1))
        return true;
    struct gic_op op = gic_begin(cpu);
    if (size == 8) {
        *value = read_word(&op, frame, offset);
        *value |= (uint64_t)read_word(&op, frame, offset + 4) << 32;
    } else {
        unsigned shift = (offset & 3) * 8;
        *value = read_word(&op, frame, offset & ~3u) >> shift & MASK(8 * size);
    }
    gic_end(&op);
    a64_check_interrupts(a64(cpu));
    return true;
}

bool a64_gic_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value) {
    unsigned offset;
    enum gic_frame frame = gic_frame(cpu, pa, &offset);
    if (frame == FRAME_NONE)
        return false;
    if (offset & (size - 1))
        return true;
    struct gic_op op = gic_begin(cpu);
    if (size == 8) {
        write_word(&op, frame, offset, (uint32_t)value, ~0u);
        write_word(&op, frame, offset + 4, (uint32_t)(value >> 32), ~0u);
    } else {
        unsigned shift = (offset & 3) * 8;
        uint32_t mask = (uint32_t)MASK(8 * size) << shift;
        write_word(&op, frame, offset & ~3u, (uint32_t)value << shift & mask, mask);
    }
    if (frame != FRAME_CPU)
        gic_changed(&op);
    gic_end(&op);
    a64_check_interrupts(a64(cpu));
    return true;
}
