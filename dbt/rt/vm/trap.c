/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trap.c: what to do about an exception of the host vCPU (trap.S). */
#include "graft/codegen.h"
#include "graft/rt.h"

#define ERROR_WRITE 2 /* of a page fault's error code */

/* Some hosts look at the instruction behind a #GP with an emulator that does not know AVX: that makes it a #UD. */
enum vector { VECTOR_UD = 6, VECTOR_SS = 12, VECTOR_GP = 13, VECTOR_PF = 14 };

extern const uint8_t vm_touch_access[], vm_touch_failed[]; /* trap.S */

struct trap_frame {
    uint8_t xmm[16][16];
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

static _Noreturn void trap_panic(struct cpu *cpu, const struct trap_frame *f) {
    rt_panic(cpu,
             "host exception %llu, error %llx, at %llx (flags %llx)\n"
             "  rax %016llx rbx %016llx rcx %016llx rdx %016llx\n"
             "  rsi %016llx rdi %016llx rbp %016llx rsp %016llx\n"
             "  r8  %016llx r9  %016llx r10 %016llx r11 %016llx\n"
             "  r12 %016llx r13 %016llx r14 %016llx r15 %016llx",
             (unsigned long long)f->vector, (unsigned long long)f->error, (unsigned long long)f->rip,
             (unsigned long long)f->rflags, (unsigned long long)f->rax, (unsigned long long)f->rbx,
             (unsigned long long)f->rcx, (unsigned long long)f->rdx, (unsigned long long)f->rsi,
             (unsigned long long)f->rdi, (unsigned long long)f->rbp, (unsigned long long)f->rsp,
             (unsigned long long)f->r8, (unsigned long long)f->r9, (unsigned long long)f->r10,
             (unsigned long long)f->r11, (unsigned long long)f->r12, (unsigned long long)f->r13,
             (unsigned long long)f->r14, (unsigned long long)f->r15);
}

/* Translated code in ring 3 faulted at an access: can it try again? */
static bool try_again(struct trap_frame *f, struct cpu *cpu) {
    uint64_t host = ~UINT64_C(0);
    if (f->vector == VECTOR_PF)
        __asm__ volatile("movq %%cr2, %0" : "=r"(host));
    return engine_fault_again(cpu, (const uint8_t *)f->rip, host, (f->error & ERROR_WRITE) != 0);
}

/* trap_handle(): called by trap.S. The interrupted code goes on at a stub. Flat: its address goes onto the interrupted
 * stack, where trap.S pops it from as its last act. */
void trap_handle(struct trap_frame *f, struct cpu *cpu) {
    const uint8_t *stub = NULL;
    bool ring3 = (f->cs & 3) != 0, split = rt_has_ring3(cpu);
    bool access = f->vector == VECTOR_PF || f->vector == VECTOR_GP || f->vector == VECTOR_SS || f->vector == VECTOR_UD;
    if (access && f->rip == (uint64_t)vm_touch_access)
        stub = vm_touch_failed;
    else if (access && cpu->engine && ring3)
        stub = engine_fault_stub(cpu, (const uint8_t *)f->rip);
    else if (!cpu->engine)
        stub = (const uint8_t *)cpu->exit_site; /* the host probe says where to go on; else 0 */
    if (!stub)
        trap_panic(cpu, f);
    STAT(cpu, host_faults)++;
    cpu->fault_ticks = rt_ticks();
    if (split) {
        if (!ring3 || !cpu->engine || !try_again(f, cpu))
            f->rip = (uint64_t)stub;
        return;
    }
    /* The word below the interrupted RSP is SS or the padding above it: nothing that is still needed. */
    uint64_t *top = (uint64_t *)f->rsp - 1;
    *top = (uint64_t)stub;
    f->rsp = (uint64_t)top;
}
