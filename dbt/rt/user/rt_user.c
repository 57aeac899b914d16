/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* rt_user.c: runtime services of the engine in a process. There are no host page tables: strategy soft only. */
#define _GNU_SOURCE /* mremap() */
#include "dbt/rt/user/rt_user.h"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define HWCAP2_FSGSBASE_BIT 2ul
#define MXCSR_DEFAULT 0x1f80u

static struct {
    rt_user_monitor *monitor;
    rt_user_doorbell *doorbell;
    void *ctx;
} embedder;

bool rt_user_without_gs;

/* Where a call that does not return ends this thread's rt_user_run(). */
static _Thread_local jmp_buf leave;

void rt_user_set_monitor(rt_user_monitor *monitor, rt_user_doorbell *doorbell, void *ctx) {
    embedder.monitor = monitor;
    embedder.doorbell = doorbell;
    embedder.ctx = ctx;
}

enum abi_call rt_user_run(const struct abi_boot *boot, unsigned vcpu) {
    int call = setjmp(leave);
    if (!call)
        engine_main(boot, vcpu);
    uint32_t mxcsr = MXCSR_DEFAULT;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    return (enum abi_call)call;
}

void rt_call(struct cpu *cpu, enum abi_call call) {
    cpu->abi.call = call;
    embedder.monitor(embedder.ctx, cpu->index, &cpu->abi);
    switch (call) {
    case ABI_CALL_POWEROFF:
    case ABI_CALL_RESET:
    case ABI_CALL_STOPPED:
    case ABI_CALL_PANIC: longjmp(leave, (int)call);
    default: break;
    }
}

void rt_doorbell(struct cpu *cpu, unsigned n) {
    STAT(cpu, doorbells)++;
    if (embedder.doorbell)
        embedder.doorbell(embedder.ctx, n);
}

/* What a process may do is what the kernel says: the instruction may work, and its effect be lost at the next switch. */
bool rt_has_gs(void) { return (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) && !rt_user_without_gs; }

void rt_set_view(struct view *v) { __asm__ volatile("wrgsbase %0" : : "r"(v) : "memory"); }

/* An old size of 0 duplicates a shared mapping. */
bool rt_map_cpu(struct cpu *cpu, void *at, size_t bytes) {
    if (mremap(cpu, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at)
        return false;
    madvise(at, bytes, MADV_POPULATE_WRITE); /* or each page costs a fault */
    return true;
}

bool rt_has_paging(void) { return false; }

/* The engine asks rt_has_paging() first. */
uint64_t *rt_pt_alloc(struct cpu *cpu, uint64_t *pa) { abort(); }
void rt_pt_free(struct cpu *cpu, uint64_t *page) { abort(); }
uint64_t *rt_pt_at(struct cpu *cpu, uint64_t pa) { abort(); }
uint64_t *rt_pml4(struct cpu *cpu) { abort(); }
void rt_flush_pages(struct cpu *cpu, const uint64_t *host_va, unsigned count) { abort(); }
bool rt_touch(struct cpu *cpu, uint64_t host_va) { abort(); }
void rt_flush_all(struct cpu *cpu) { abort(); }
