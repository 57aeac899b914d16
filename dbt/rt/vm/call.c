/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* call.c: from the engine in the VM to the monitor. */
#include "dbt/rt/vm/ring3.h"
#include "graft/mmu.h"
#include "graft/vm.h"

/* The image's ABI_VERSION as an absolute symbol, for the table in start.S. */
__asm__(".globl vm_abi_version\n"
        ".set vm_abi_version, "
        "7"
        "\n");
_Static_assert(ABI_VERSION == 7, "change it in the line above, too");

void rt_call(struct cpu *cpu, enum abi_call call) {
    cpu->abi.call = call;
    __asm__ volatile("outb %%al, %w0" : : "d"(RT_PORT_CALL), "a"(0) : "memory");
}

void rt_doorbell(struct cpu *cpu, unsigned n) {
    STAT(cpu, doorbells)++;
    /* 4 bytes: the monitor's ioeventfds match that length. */
    __asm__ volatile("movl %0, (%1)" : : "r"(n), "r"(vm_here(ABI_VA_DOORBELL) + 8 * (uint64_t)n) : "memory");
}

/* An exit costs as much as some hundreds of pauses. */
#define PAUSES 1000
void rt_yield(struct cpu *cpu, unsigned turn) {
    if (turn < PAUSES)
        __builtin_ia32_pause();
    else
        rt_call(cpu, ABI_CALL_YIELD);
}

bool rt_has_gs(void) { return true; }

void rt_ram_used(struct cpu *cpu, struct gpa page) {}

bool rt_sample_start(struct cpu *cpu) { return false; }

struct rt_page_costs rt_page_costs(struct cpu *cpu) { return (struct rt_page_costs){.fault = 0}; }

/* All C code is the engine's, compiled without AVX-512. */
bool rt_keeps_high_vectors(void) { return true; }

bool rt_map_cpu(struct cpu *cpu, void *at, size_t bytes) { return false; }

void rt_set_view(struct view *v) {
    if (v && v->root)
        vm_load_root(v->root);
    else
        __asm__ volatile("wrgsbase %0" : : "r"(v) : "memory");
}
