/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * plic.c: the platform-level interrupt controller (RISC-V PLIC Specification 1.0), as QEMU's virt has it: 95 sources,
 * for each hart a context of M-mode and one of S-mode. A source becomes pending when its line rises, or is still up as
 * it is completed, and stays so until it is claimed, whatever the line does. Harts claim by atomic operations; there is
 * no lock.
 */
#include "guests/rv64/system.h"

#define BASE UINT64_C(0x0c000000)
#define SIZE UINT64_C(0x600000)
#define SOURCES 96 /* 0 is none */
#define WORDS (SOURCES / 32)
#define CONTEXTS (2 * ABI_MAX_VCPUS)
#define PRIORITY_MASK 7u
#define PENDING 0x1000u
#define ENABLE 0x2000u
#define ENABLE_STRIDE 0x80u
#define CONTEXT 0x200000u
#define CONTEXT_STRIDE 0x1000u

struct plic {
    uint32_t priority[SOURCES];
    uint32_t claimed[WORDS];
    uint32_t enable[CONTEXTS][WORDS];
    uint32_t threshold[CONTEXTS];
};

const struct state_field rv64_shared_state[] = {
    STATE_MAX(struct plic, priority, 4, PRIORITY_MASK),
    STATE(struct plic, claimed),
    STATE(struct plic, enable),
    STATE_MAX(struct plic, threshold, 4, PRIORITY_MASK),
    STATE_END,
};

static struct plic *plic_of(struct cpu *cpu) { return *engine_guest_shared(cpu); }
static uint32_t load(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void store(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }

static unsigned contexts(const struct cpu *cpu) { return 2 * cpu->boot->vcpu_count; }

bool rv64_plic_init(struct cpu *cpu) {
    if (cpu->index == 0)
        *engine_guest_shared(cpu) = engine_alloc_shared(cpu, sizeof(struct plic));
    return plic_of(cpu) != NULL;
}

/* The lines of 32 sources: those of devices, and of virtio slots from the status that their drivers see. */
static uint32_t lines(struct cpu *cpu, unsigned word) {
    const struct abi_boot *boot = cpu->boot;
    uint32_t up = __atomic_load_n((uint32_t *)&cpu->shared->spi_level[word], __ATOMIC_SEQ_CST);
    for (unsigned slot = 0; slot < boot->virtio_slots; slot++) {
        unsigned source = boot->virtio_irq + slot;
        if (source / 32 == word && cpu->shared->virtio_isr[slot])
            up |= 1u << source % 32;
    }
    return up;
}

static uint32_t *latch(struct cpu *cpu, unsigned word) { return (uint32_t *)&cpu->shared->spi_rose[word]; }

static uint32_t pending(struct cpu *cpu, unsigned word) { return load(latch(cpu, word)) & (word ? ~0u : ~1u); }

/* The source of the highest priority that is pending for a context, above its threshold; 0 if there is none. */
static unsigned best(struct cpu *cpu, unsigned context) {
    struct plic *p = plic_of(cpu);
    uint32_t most = load(&p->threshold[context]);
    unsigned found = 0;
    for (unsigned word = 0; word < WORDS; word++) {
        uint32_t left = pending(cpu, word) & ~load(&p->claimed[word]) & load(&p->enable[context][word]);
        for (; left; left &= left - 1) {
            unsigned source = 32 * word + (unsigned)__builtin_ctz(left);
            uint32_t priority = load(&p->priority[source]);
            if (priority > most) {
                most = priority;
                found = source;
            }
        }
    }
    return found;
}

bool rv64_plic_pending(struct cpu *cpu, bool s) { return best(cpu, 2 * cpu->index + s) != 0; }

/* False: another hart has it, or has had it. */
static bool take(struct cpu *cpu, unsigned source) {
    uint32_t bit = 1u << source % 32, *claimed = &plic_of(cpu)->claimed[source / 32];
    if (__atomic_fetch_or(claimed, bit, __ATOMIC_SEQ_CST) & bit)
        return false;
    if (__atomic_fetch_and(latch(cpu, source / 32), ~bit, __ATOMIC_SEQ_CST) & bit)
        return true;
    __atomic_fetch_and(claimed, ~bit, __ATOMIC_SEQ_CST);
    return false;
}

static uint32_t claim(struct cpu *cpu, unsigned context) {
    unsigned source = best(cpu, context);
    while (source && !take(cpu, source))
        source = best(cpu, context);
    return source;
}

/* Something changed for the hart of a context: it looks again. */
static void look_again(struct cpu *cpu, unsigned context) {
    struct cpu *to = engine_cpu(cpu, context / 2);
    if (to)
        engine_kick(cpu, to, ABI_PEND_IRQ);
}

static void look_again_all(struct cpu *cpu) {
    for (unsigned i = 1; i < contexts(cpu); i += 2)
        look_again(cpu, i);
}

/* Ignored unless the source is enabled for the context, as the specification has it. */
static void complete(struct cpu *cpu, unsigned context, uint32_t source) {
    struct plic *p = plic_of(cpu);
    if (source >= SOURCES || !(load(&p->enable[context][source / 32]) >> source % 32 & 1))
        return;
    uint32_t bit = 1u << source % 32;
    __atomic_fetch_and(&p->claimed[source / 32], ~bit, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(latch(cpu, source / 32), lines(cpu, source / 32) & bit, __ATOMIC_SEQ_CST);
    look_again(cpu, context);
}

/* The monitor tells the first hart that has a source enabled of its line. */
static void enable(struct cpu *cpu, unsigned context, unsigned word, uint32_t value) {
    struct plic *p = plic_of(cpu);
    store(&p->enable[context][word], value); /* that of no source, too */
    for (unsigned bit = 0; bit < 32; bit++) {
        for (unsigned c = 0; c < contexts(cpu); c++) {
            if (load(&p->enable[c][word]) >> bit & 1) {
                cpu->shared->spi_target[32 * word + bit] = (uint8_t)(c / 2);
                break;
            }
        }
    }
    look_again(cpu, context);
}

static bool context_at(const struct cpu *cpu, uint64_t offset, unsigned *context, unsigned *reg) {
    *context = (unsigned)((offset - CONTEXT) / CONTEXT_STRIDE);
    *reg = (unsigned)(offset % CONTEXT_STRIDE);
    return *context < contexts(cpu);
}

static bool enable_at(const struct cpu *cpu, uint64_t offset, unsigned *context, unsigned *word) {
    *context = (unsigned)((offset - ENABLE) / ENABLE_STRIDE);
    *word = (unsigned)(offset % ENABLE_STRIDE / 4);
    return *context < contexts(cpu) && *word < WORDS;
}

/* Registers are words, and no other access is taken; what is not there reads as 0. */
bool rv64_plic_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value) {
    uint64_t offset = pa.v - BASE;
    unsigned context, n;
    if (offset >= SIZE || size != 4)
        return false;
    *value = 0;
    if (offset < 4 * SOURCES)
        *value = load(&plic_of(cpu)->priority[offset / 4]);
    else if (offset >= PENDING && offset < PENDING + 4 * WORDS)
        *value = pending(cpu, (unsigned)(offset - PENDING) / 4);
    else if (offset >= ENABLE && offset < CONTEXT && enable_at(cpu, offset, &context, &n))
        *value = load(&plic_of(cpu)->enable[context][n]);
    else if (offset >= CONTEXT && context_at(cpu, offset, &context, &n))
        *value = n == 0 ? load(&plic_of(cpu)->threshold[context]) : n == 4 ? claim(cpu, context) : 0;
    if (offset >= CONTEXT)
        __atomic_fetch_or((uint32_t *)&cpu->abi.pending, ABI_PEND_IRQ, __ATOMIC_SEQ_CST);
    return true;
}

bool rv64_plic_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value) {
    uint64_t offset = pa.v - BASE;
    unsigned context, n;
    if (offset >= SIZE || size != 4)
        return false;
    if (offset < 4 * SOURCES) {
        store(&plic_of(cpu)->priority[offset / 4], offset ? (uint32_t)value & PRIORITY_MASK : 0);
        look_again_all(cpu);
    } else if (offset >= ENABLE && offset < CONTEXT && enable_at(cpu, offset, &context, &n)) {
        enable(cpu, context, n, (uint32_t)value);
    } else if (offset >= CONTEXT && context_at(cpu, offset, &context, &n)) {
        if (n == 0) {
            store(&plic_of(cpu)->threshold[context], (uint32_t)value & PRIORITY_MASK);
            look_again(cpu, context);
        } else if (n == 4) {
            complete(cpu, context, (uint32_t)value);
        }
    }
    return true;
}
