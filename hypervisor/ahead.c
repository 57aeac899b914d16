/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ahead.c: a thread that has the host give memory before the engine uses it, as that says (dbt/ahead.c). A fault that
 * it takes is one that a vCPU does not wait for. What it is told is a hint: a range that is none of the machine's is
 * left out, and where this is not in time the vCPU takes the fault itself.
 */
#define _GNU_SOURCE /* cpu_set_t */
#include "hypervisor/boot.h"

#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#define PIECE ABI_AHEAD_BYTES /* so much at once: the end of the machine waits for it */

/* RAM that is a snapshot's file would be copied by that; and what the guest has used by now it may have given back. */
static bool is_wanted(const struct machine *m, const uint8_t *at) {
    const uint64_t piece = (uint64_t)(at - m->ram) / PIECE;
    if (at < m->ram || at >= m->ram + m->memory)
        return true;
    return !m->mapped_ram &&
           (piece / 8 >= sizeof(m->shared->ram_used) || !(m->shared->ram_used[piece / 8] >> piece % 8 & 1));
}

static void give_piece(struct machine *m, uint8_t *at, uint64_t bytes) {
    if (!m->vm->give || !m->vm->give(m, at, bytes))
        madvise((void *)ALIGN_DOWN((uintptr_t)at, PAGE_SIZE), bytes + ((uintptr_t)at & PAGE_MASK), MADV_POPULATE_WRITE);
    m->ahead.bytes += bytes;
}

static void give(struct machine *m, uint8_t *at, uint64_t bytes) {
    for (uint64_t n; bytes && !atomic_load(&m->ahead.stop); at += n, bytes -= n) {
        n = bytes < PIECE ? bytes : PIECE;
        if (is_wanted(m, at))
            give_piece(m, at, n);
    }
}

/* The first half of the kernel is being read meanwhile (boot.c). */
static void give_kernel(struct machine *m) {
    const struct boot_file *kernel = &m->files->kernel;
    const uint64_t half = kernel->len / 2, at = m->board->kernel_offset + half;
    if (kernel->fd >= 0 && at < m->ram_size && half <= m->ram_size - at)
        give(m, m->ram + at, half);
}

/* What every machine uses, before its engine runs: of others than the first vCPU nobody knows whether they will. */
static void give_first(struct machine *m) {
    const struct layout *l = &m->layout;
    give(m, m->arena, l->heap + PIECE);
    give(m, m->arena + l->code[0], PIECE);
    give(m, m->arena + l->code[0] + l->code_size - PIECE, PIECE);
    give(m, m->arena + l->vcpu_heap[0], PIECE);
    if (l->pt_pool_size)
        give(m, m->arena + l->pt_pool, PIECE);
}

/* Of one vCPU's ring. */
static void serve(struct machine *m, struct abi_vcpu *abi) {
    uint32_t tail = atomic_load(&abi->ahead_tail), head;
    while (tail != (head = atomic_load(&abi->ahead_head)) && !atomic_load(&m->ahead.stop)) {
        if (head - tail > ABI_AHEAD_ENTRIES)
            tail = head - ABI_AHEAD_ENTRIES;
        const volatile struct abi_range *entry = &abi->ahead[tail++ % ABI_AHEAD_ENTRIES];
        const uint64_t va = entry->va, bytes = entry->bytes;
        uint8_t *at = (uint8_t *)machine_engine_ptr(m, va, bytes);
        if (at)
            give(m, at, bytes);
        atomic_store(&abi->ahead_tail, tail); /* the engine rings if it finds that this is its head */
    }
}

static void run(void *arg) {
    struct machine *m = arg;
    struct pollfd bell = {.fd = events_doorbell_fd(m, ABI_DB_AHEAD), .events = POLLIN};
    uint64_t count;
    give_kernel(m);
    give_first(m);
    while (!atomic_load(&m->ahead.stop)) {
        for (unsigned i = 0; i < m->vcpu_count; i++)
            serve(m, m->vcpu[i].abi);
        if (poll(&bell, 1, -1) > 0 && read(bell.fd, &count, sizeof(count)) < 0)
            continue; /* EAGAIN: it was rung no more */
    }
}

/* With one processor the vCPU would wait for the thread instead of the fault. In a process that is better all the same:
 * code has two mappings, and without huge pages each of their pages takes a fault. */
static bool is_worth_it(const struct machine *m) {
    cpu_set_t set;
    return !m->vm->in_vm || sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) > 1;
}

void ahead_start(struct machine *m) {
    if (is_worth_it(m))
        m->ahead.thread = thread_start(THREAD_MEMORY, "memory", run, m);
}

void ahead_stop(struct machine *m) {
    if (!m->ahead.thread)
        return;
    atomic_store(&m->ahead.stop, true);
    events_doorbell(m, ABI_DB_AHEAD);
    thread_join(m->ahead.thread);
    m->ahead.thread = NULL;
}
