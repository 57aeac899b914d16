/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * layout.c: where things lie in the engine's memory (the arena), which is one
 * piece below 2 GiB so that emitted code reaches all of it with 32-bit offsets.
 */
#include "graft/guest.h"
#include "graft/vm.h"
#include "hypervisor/monitor.h"

#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define HUGE (2 * MIB)
#define SHARED_HEAP_BYTES (4 * MIB)
/* Private heaps and code caches: so much for one vCPU, if that leaves as much for each of the others. Pages that are
 * not touched cost nothing; a system that boots to a login prompt touches some 200 MiB of the cache. */
#define VCPU_HEAP_BYTES (256 * MIB)
#define VCPU_HEAP_BYTES_ALL (512 * MIB)
#define VCPU_REUSE_BYTES (128 * MIB) /* more, where blocks are kept for later runs */
#define CODE_BYTES (384 * MIB)
#define CODE_BYTES_ALL (768 * MIB)
#define PT_SLICE_BYTES (32 * MIB) /* for each vCPU */

static uint64_t take(struct layout *l, uint64_t bytes, uint64_t align) {
    uint64_t at = ALIGN_UP(l->total, align);
    l->total = at + ALIGN_UP(bytes, PAGE_SIZE);
    return at;
}

static uint64_t share(uint64_t most, uint64_t all, unsigned vcpus) {
    return all / vcpus < most ? ALIGN_DOWN(all / vcpus, HUGE) : most;
}

void layout_make(struct layout *l, bool in_vm, bool windows, uint64_t image_size, unsigned vcpus, uint64_t memory,
                 uint64_t reuse) {
    *l = (struct layout){.heap_size = SHARED_HEAP_BYTES,
                         .vcpu_heap_size =
                             share(VCPU_HEAP_BYTES + (reuse ? VCPU_REUSE_BYTES : 0), VCPU_HEAP_BYTES_ALL, vcpus),
                         .code_size = share(CODE_BYTES, CODE_BYTES_ALL, vcpus)};
    if (in_vm) {
        l->image = take(l, image_size, PAGE_SIZE);
        l->image_size = image_size;
        l->system = take(l, VM_SYSTEM_BYTES, PAGE_SIZE);
        l->system_size = VM_SYSTEM_BYTES;
    }
    l->boot = take(l, sizeof(struct abi_boot), PAGE_SIZE);
    l->shared = take(l, sizeof(struct abi_shared), PAGE_SIZE);
    for (unsigned i = 0; i < vcpus; i++) {
        l->cpu[i] = take(l, ABI_CPU_BYTES, PAGE_SIZE);
        if (in_vm) {
            l->stack[i] = take(l, VM_STACK_BYTES, VM_STACK_BYTES);
            l->fault_stack[i] = take(l, VM_STACK_BYTES, VM_STACK_BYTES);
        }
    }
    l->code_pages = take(l, memory >> PAGE_SHIFT, PAGE_SIZE);
    l->heap = take(l, l->heap_size, HUGE);
    for (unsigned i = 0; i < vcpus; i++)
        l->code[i] = take(l, l->code_size, HUGE);
    for (unsigned i = 0; i < vcpus; i++)
        l->vcpu_heap[i] = take(l, l->vcpu_heap_size, HUGE);
    if (windows && !in_vm)
        l->roots = take(l, vcpus * PAGE_SIZE, PAGE_SIZE);
    if (in_vm || windows) {
        l->pt_pool_size = vcpus * PT_SLICE_BYTES;
        l->pt_pool = take(l, l->pt_pool_size, HUGE);
    }
    l->reuse_size = reuse;
    if (reuse)
        l->reuse = take(l, reuse, HUGE);
    l->total = ALIGN_UP(l->total, HUGE);
}

void layout_boot(struct machine *m, uint64_t ram_va) {
    const struct layout *l = &m->layout;
    const struct options *o = m->options;
    uint64_t va = m->arena_va;
    struct abi_boot *b = m->boot;
    *b = (struct abi_boot){.magic = ABI_MAGIC, .version = ABI_VERSION, .size = sizeof(*b), .vcpu_count = m->vcpu_count};
    while (b->guest + 1 < guest_count && strcmp(guest_table[b->guest]->name, m->board->guest))
        b->guest++;
    b->virtio_gpa = m->board->virtio;
    b->virtio_stride = m->board->virtio_stride;
    b->virtio_slots = m->board->virtio_slots;
    b->virtio_irq = m->board->virtio_irq;
    b->mmu = o->mmu;
    b->layout = m->layout_kind;
    b->cpu_model = o->cpu;
    b->gic_version = o->gic;
    b->log_topics = o->log_topics | (o->symbols && o->profile ? ABI_LOG_PERF : 0);
    b->all_hot = o->log_topics & ABI_LOG_HOT ? 1 : 0;
    b->semihosting = o->semihosting;
    b->count = o->count;
    b->dump_first = o->dump_first;
    b->dump_last = o->dump_last;
    b->ram_gpa = m->board->ram;
    b->ram_size = m->ram_size;
    b->ram_va = ram_va;
    if (machine_rom_offset(m)) {
        b->rom_gpa = m->board->flash;
        b->rom_offset = machine_rom_offset(m);
        b->rom_size = m->memory - b->rom_offset;
    }
    b->heap_va = va + l->heap;
    b->heap_size = l->heap_size;
    b->vcpu_heap_size = l->vcpu_heap_size;
    b->code_size = l->code_size;
    b->shared_va = va + l->shared;
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        b->vcpu_va[i] = va + l->cpu[i];
        b->vcpu_heap_va[i] = va + l->vcpu_heap[i];
        b->code_va[i] = va + l->code[i];
        b->code_to_write[i] = m->code_to_write;
    }
    m->shared->code_pages_va = va + l->code_pages;
}
