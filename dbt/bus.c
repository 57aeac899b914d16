/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * bus.c: device registers by guest-physical address. Tried in this order: the
 * guest's own devices (interrupt controller), the virtio-mmio registers that need
 * no exit, shadow and posted registers, and the monitor.
 */
#include "dbt/engine.h"

#define VIRTIO_QUEUE_NOTIFY 0x50
#define VIRTIO_INTERRUPT_STATUS 0x60
#define VIRTIO_INTERRUPT_ACK 0x64

static bool virtio_register(const struct cpu *cpu, struct gpa pa, unsigned size, unsigned *slot, unsigned *reg) {
    const struct abi_boot *b = cpu->boot;
    uint64_t offset = pa.v - b->virtio_gpa;
    if (offset >= b->virtio_slots * (uint64_t)b->virtio_stride || size != 4)
        return false;
    *slot = (unsigned)offset / b->virtio_stride;
    *reg = (unsigned)offset % b->virtio_stride;
    return true;
}

static const struct abi_region *region_at(const struct cpu *cpu, struct gpa pa, unsigned size, unsigned kind) {
    const struct abi_boot *b = cpu->boot;
    for (unsigned i = 0; i < b->region_count && i < ABI_MAX_REGIONS; i++) {
        const struct abi_region *r = &b->regions[i];
        if (r->kind == kind && pa.v >= r->gpa && pa.v - r->gpa < r->size && size <= r->size - (pa.v - r->gpa))
            return r;
    }
    return NULL;
}

static uint64_t truncate(uint64_t value, unsigned size) { return value & MASK(8 * size); }

bool bus_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value) {
    unsigned slot, reg;
    const struct abi_region *r;
    STAT(cpu, device_accesses)++;
    if (cpu->guest->io_read(cpu, pa, size, value))
        return true;
    if (virtio_register(cpu, pa, size, &slot, &reg) && reg == VIRTIO_INTERRUPT_STATUS) {
        *value = cpu->shared->virtio_isr[slot];
        return true;
    }
    r = region_at(cpu, pa, size, ABI_REGION_SHADOW);
    if (r && r->gpa == pa.v && r->index < ABI_MAX_REGIONS) {
        *value = truncate(cpu->shared->shadow[r->index], size);
        return true;
    }
    cpu->abi.arg[0] = pa.v;
    cpu->abi.arg[1] = size;
    engine_call(cpu, ABI_CALL_MMIO_READ);
    *value = truncate(cpu->abi.ret[0], size);
    return cpu->abi.ret[1] == 0;
}

/* Posts a write to the ring; false if the ring is full. */
static bool post(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value) {
    struct abi_shared *s = cpu->shared;
    for (unsigned turn = 0; __atomic_exchange_n((uint32_t *)&s->posted_lock, 1, __ATOMIC_SEQ_CST); turn++)
        rt_yield(cpu, turn);
    uint32_t head = s->posted_head, used = head - s->posted_tail;
    bool room = used < ABI_POSTED_ENTRIES;
    if (room) {
        s->posted[head % ABI_POSTED_ENTRIES] = (struct abi_posted_entry){pa.v, (uint32_t)value, size};
        s->posted_head = head + 1;
        /* The consumer may have emptied the ring meanwhile, and then looks no more without a doorbell. */
        used = head - s->posted_tail;
    }
    __atomic_store_n((uint32_t *)&s->posted_lock, 0, __ATOMIC_SEQ_CST);
    if (room && used == 0)
        rt_doorbell(cpu, ABI_DB_POSTED);
    return room;
}

/* Bits that are left may have come since the guest read the status, when the line was high already: to a controller
 * that waits for edges that is one of its own, or there would never be another. */
static void virtio_acknowledge(struct cpu *cpu, unsigned slot, uint32_t bits) {
    uint32_t old = __atomic_fetch_and((uint32_t *)&cpu->shared->virtio_isr[slot], ~bits, __ATOMIC_SEQ_CST);
    unsigned line = cpu->boot->virtio_irq + slot;
    if (!(old & bits))
        return;
    if (old & ~bits)
        __atomic_fetch_or((uint32_t *)&cpu->shared->spi_rose[line / 32], 1u << line % 32, __ATOMIC_SEQ_CST);
    __atomic_fetch_or((uint32_t *)&cpu->abi.pending, ABI_PEND_IRQ, __ATOMIC_SEQ_CST); /* it fell, or rose */
}

bool bus_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value) {
    unsigned slot, reg;
    value = truncate(value, size);
    STAT(cpu, device_accesses)++;
    if (cpu->guest->io_write(cpu, pa, size, value))
        return true;
    if (virtio_register(cpu, pa, size, &slot, &reg)) {
        if (reg == VIRTIO_INTERRUPT_ACK) {
            virtio_acknowledge(cpu, slot, (uint32_t)value);
            return true;
        }
        if (reg == VIRTIO_QUEUE_NOTIFY && value < 64) {
            __atomic_fetch_or((uint64_t *)&cpu->shared->virtio_notify[slot], BIT(value), __ATOMIC_SEQ_CST);
            rt_doorbell(cpu, ABI_DB_VIRTIO0 + slot);
            return true;
        }
    }
    if (region_at(cpu, pa, size, ABI_REGION_POSTED) && post(cpu, pa, size, value)) {
        STAT(cpu, posted)++;
        return true;
    }
    /* Also a posted write that found the ring full: the monitor drains the ring before it serves an exit. */
    cpu->abi.arg[0] = pa.v;
    cpu->abi.arg[1] = size;
    cpu->abi.arg[2] = value;
    engine_call(cpu, ABI_CALL_MMIO_WRITE);
    bool done = cpu->abi.ret[1] == 0;
    engine_follow_rom(cpu); /* it may have been a command to the flash, and the next load is to see what came of it */
    return done;
}
