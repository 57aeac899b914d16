/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ahead.c: tells the monitor which memory is used next, so that a thread there has the host give it meanwhile
 * (hypervisor/ahead.c). A host that is a virtual machine itself may take 5 ms for 2 MiB that nobody has touched.
 */
#include "dbt/engine.h"

static void say(struct cpu *cpu, uint64_t va, uint64_t bytes) {
    struct abi_vcpu *abi = &cpu->abi;
    const uint32_t n = abi->ahead_head;
    abi->ahead[n % ABI_AHEAD_ENTRIES] = (struct abi_range){va, bytes};
    abi->ahead_head = n + 1;
    if (abi->ahead_tail == n) /* the monitor had read all before: it may sleep */
        rt_doorbell(cpu, ABI_DB_AHEAD);
}

/* Up to the next border of a huge page. */
void ahead_more(struct cpu *cpu, struct ahead *a) {
    uintptr_t next = ALIGN_DOWN(a->told, AHEAD_BYTES) + AHEAD_BYTES;
    if (next > a->end)
        next = a->end;
    say(cpu, a->told, next - a->told);
    a->told = next;
}

void ahead_less(struct cpu *cpu, struct ahead *a) {
    uintptr_t next = ALIGN_DOWN(a->told - 1, AHEAD_BYTES);
    if (next < a->end)
        next = a->end;
    say(cpu, next, a->told - next);
    a->told = next;
}

/* --- RAM -------------------------------------------------------------------------------------- */
static bool is_used(struct cpu *cpu, uint64_t piece) {
    const struct abi_shared *s = cpu->shared;
    return piece / 8 < sizeof(s->ram_used) && s->ram_used[piece / 8] >> piece % 8 & 1;
}

static void say_ram(struct cpu *cpu, uint64_t piece) {
    if (piece < cpu->boot->ram_size / AHEAD_BYTES && !is_used(cpu, piece))
        say(cpu, cpu->boot->ram_va + piece * AHEAD_BYTES, AHEAD_BYTES);
}

/* An operating system gives its memory out from one end to the other, up or down. */
void ahead_ram(struct cpu *cpu, struct gpa page) {
    struct abi_shared *s = cpu->shared;
    const uint64_t piece = (page.v - cpu->boot->ram_gpa) / AHEAD_BYTES;
    const uint8_t bit = (uint8_t)(1u << piece % 8);
    if (is_used(cpu, piece) || piece / 8 >= sizeof(s->ram_used) ||
        __atomic_fetch_or((uint8_t *)&s->ram_used[piece / 8], bit, __ATOMIC_RELAXED) & bit)
        return;
    if (piece && is_used(cpu, piece - 1))
        say_ram(cpu, piece + 1);
    else if (piece && is_used(cpu, piece + 1))
        say_ram(cpu, piece - 1);
}
