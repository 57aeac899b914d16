/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * jit.c: executes blocks as host code. The memory strategy is the simplest there is: guest addresses are host
 * addresses, the probe only checks alignment, and what is not mapped faults and ends up in the access's stub as it does
 * in the VM. Some of what is mapped is sent there by the probe, too. Every block that can be is compiled as a loop.
 * There is one place, in which everything is; at times an address is said not to be there.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "dbt/x86/asm.h"
#include "graft/codegen.h"
#include "graft/rt.h"
#include "insn_test.h"

#define CODE_BYTES (1 << 20)

static struct codegen *cg;
static uint8_t *code, *code_free;
static struct code_out out;

static struct mmu_ops identity;

/* --- the strategy ----------------------------------------------------------------------------- */

static void emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    p->index = MMU_NO_INDEX;
    p->site = 0;
    p->covers_nearby = !p->align;
    if (p->align && p->size) {
        asm_lea(a, true, p->tmp0, asm_mem(p->base, p->disp));
        asm_test_ri(a, false, p->tmp0, (1 << p->size) - 1);
        asm_jcc(a, ASM_NE, p->slow);
    } else if (!p->align) { /* a sum that grows: the carry comes in no simple rhythm */
        asm_alu_mi(a, ASM_ADD, false, asm_mem_view(sizeof(struct view)), 0x2f1b5a37);
        asm_jcc(a, ASM_B, p->slow);
    }
}

/* One place, of a number from which the index register is made. That leads to another mapping of the scratch area, by
 * turns one of two: where the other one was, there is other memory then. */
#define PLACE 0x5eed
#define PLACE_DISP (sizeof(struct view) + 8) /* the index register */
#define PLACE_GUARD (1u << 20)
#define PLACE_TURN 4 /* slow accesses */
static struct {
    uint8_t *at[2];
    unsigned turn, accesses;
    uint64_t *index; /* at PLACE_DISP */
} alias;
static void map_alias(unsigned turn) {
    uint8_t *other = alias.at[!turn];
    if (mremap((void *)INSN_SCRATCH, 0, INSN_SCRATCH_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, alias.at[turn]) !=
            alias.at[turn] ||
        mmap(other, INSN_SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
            other)
        rt_panic(&world.cpu->c, "mappings of a place");
    *alias.index = (uint64_t)((intptr_t)alias.at[turn] - (intptr_t)INSN_SCRATCH);
    alias.turn = turn;
}
static void alias_init(struct view *view) {
    const size_t each = 2 * PLACE_GUARD + INSN_SCRATCH_BYTES;
    uint8_t *area = mmap(NULL, 2 * each, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (unsigned i = 0; i < 2; i++)
        alias.at[i] = area + i * each + PLACE_GUARD;
    alias.index = (uint64_t *)((char *)view + PLACE_DISP);
    map_alias(0);
}
static void alias_slow(void) {
    if (!identity.emit_span && ++alias.accesses % PLACE_TURN == 0)
        map_alias(!alias.turn);
}
static uint64_t place(const struct cpu *cpu, uint64_t va) { return PLACE; }
static uint64_t place_index(const struct cpu *cpu, uint64_t number) { return *alias.index + number - PLACE; }
static void emit_place_number(struct asm_buf *a, unsigned reg) { asm_mov_ri(a, reg, PLACE); }
static void emit_place(struct asm_buf *a, const struct cpu *cpu, unsigned reg, struct asm_label *other) {
    asm_alu_ri(a, ASM_SUB, true, reg, PLACE);
    asm_alu_rm(a, ASM_ADD, true, reg, asm_mem_view(PLACE_DISP));
    if (other) {
        asm_alu_mi(a, ASM_ADD, false, asm_mem_view(sizeof(struct view)), 0x2f1b5a37);
        asm_jcc(a, ASM_B, other);
    }
}

/* For spans each page of the scratch area is mapped once more, and nothing behind it. */
static uint8_t *apart;
static void map_apart(void) {
    apart = mmap(NULL, 2 * INSN_SCRATCH_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    for (uint64_t at = 0; at < INSN_SCRATCH_BYTES; at += PAGE_SIZE)
        if (mremap((void *)(INSN_SCRATCH + at), 0, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, apart + 2 * at) !=
            apart + 2 * at)
            rt_panic(&world.cpu->c, "mremap");
}
static void emit_span(struct asm_buf *a, const uint8_t *const *thunk, bool write, unsigned first, unsigned last,
                      struct asm_label *miss) {
    asm_alu_mi(a, ASM_ADD, false, asm_mem_view(sizeof(struct view)), 0x2f1b5a37);
    asm_jcc(a, ASM_B, miss);
    asm_alu_rr(a, ASM_XOR, true, last, first);
    asm_alu_ri(a, ASM_CMP, true, last, PAGE_MASK);
    asm_jcc(a, ASM_A, miss);
    asm_alu_ri(a, ASM_SUB, true, first, (int32_t)INSN_SCRATCH);
    asm_alu_ri(a, ASM_CMP, true, first, INSN_SCRATCH_BYTES);
    asm_jcc(a, ASM_AE, miss);
    asm_alu_ri(a, ASM_AND, false, first, -(int32_t)PAGE_SIZE);
    asm_alu_ri(a, ASM_ADD, true, first, (int32_t)((intptr_t)apart - (intptr_t)INSN_SCRATCH));
}

static struct mmu_ops identity = {.name = "identity",
                                  .emit_probe = emit_probe,
                                  .place = place,
                                  .place_index = place_index,
                                  .emit_place_number = emit_place_number,
                                  .emit_place = emit_place};

uint64_t mmu_slow_ld(struct cpu *cpu, struct mmu_slow *s) {
    unsigned size = MMU_DESC_SIZE(s->desc), flags = MMU_DESC_FLAGS(s->desc);
    alias_slow();
    if (size < 4)
        return mem_read(cpu, s->va, size, 0, flags);
    mem_read_128(cpu, s->va, &cpu->vscratch[0], 0, flags);
    return 0;
}

void mmu_slow_st(struct cpu *cpu, struct mmu_slow *s, uint64_t value) {
    unsigned size = MMU_DESC_SIZE(s->desc), flags = MMU_DESC_FLAGS(s->desc);
    alias_slow();
    if (size < 4)
        mem_write(cpu, s->va, value, size, 0, flags);
    else
        mem_write_128(cpu, s->va, &cpu->vscratch[0], 0, flags);
}

/* What may be accessed atomically was accessed before the slow path: only a fault is left to find. */
static void slow_atomic(struct cpu *cpu, const struct mmu_slow *s) {
    struct mem_rmw r = {.size = MMU_DESC_SIZE(s->desc), .kind = IR_ATOMIC_OR};
    mem_rmw(cpu, s->va, &r);
    rt_panic(cpu, "slow path of an atomic access to %llx\n", (unsigned long long)s->va);
}

uint64_t mmu_slow_atomic(struct cpu *cpu, struct mmu_slow *s, uint64_t value) {
    slow_atomic(cpu, s);
    return 0;
}

uint64_t mmu_slow_cas(struct cpu *cpu, struct mmu_slow *s, uint64_t expected, uint64_t value) {
    slow_atomic(cpu, s);
    return 0;
}

/* --- what the engine is to the backend -------------------------------------------------------- */

const uint8_t *engine_lookup(struct cpu *cpu, uint64_t pc) { return NULL; }

uint64_t engine_left(struct cpu *cpu, uint64_t back) {
    const struct code_link *l = code_out_link(&out, (const uint8_t *)back);
    uint64_t pc = l ? l->target_pc : world.block->pc;
    memcpy((char *)cpu + cpu->guest->pc_offset, &pc, sizeof(pc));
    return l ? (uintptr_t)l->site : 0;
}

const uint8_t *engine_jump(struct cpu *cpu, uint64_t back) { return NULL; }

const void *engine_record(struct cpu *cpu, const uint8_t *at) {
    const struct code_fault *f = code_out_fault(&out, at);
    return f && f->stub & CODE_RECORD ? out.records - (f->stub & ~CODE_RECORD) : NULL;
}

void rt_set_view(struct view *v) { syscall(SYS_arch_prctl, ARCH_SET_GS, v); }

static void leave(void) {
    world.leave = NULL;
    codegen_unwind(cg, &world.cpu->c);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    const struct code_fault *f = code_out_fault(&out, (const uint8_t *)*rip);
    if (f && !(f->stub & CODE_RECORD)) {
        *rip = (greg_t)(out.start + f->stub);
        return;
    }
    fprintf(stderr, "host fault at %llx, address %p\n", (unsigned long long)*rip, info->si_addr);
    signal(number, SIG_DFL);
}

void jit_init(bool minimum) {
    struct view *view = aligned_alloc(4096, sizeof *view + 4096);
    memset(view, 0, sizeof *view + 4096);
    for (unsigned i = 0; i < ARRAY_LEN(view->jump_cache); i++)
        view->jump_cache[i].pc = ~UINT64_C(0);
    view->jump_victim[0].pc = JUMP_VICTIM_EMPTY(0);
    for (unsigned i = 0; i < REGIMES; i++)
        world.cpu->c.views[i] = view;
    code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    cg = calloc(1, codegen_size());
    codegen_minimum = minimum;
    code_free = code + codegen_init(cg, &world.cpu->c, &identity, code, CODE_BYTES);
    for (unsigned i = 0; i < RAS_ENTRIES; i++)
        world.cpu->c.ras[i] = (struct ras_entry){~UINT64_C(0), (void *)codegen_lookup_thunk(cg)};
    rt_set_view(view);
    map_apart();
    alias_init(view);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* Has the loop been left to be entered anew? */
static bool again(struct cpu *cpu) {
    bool wanted = cpu->abi.pending & ABI_PEND_LOOP;
    uint64_t pc;
    memcpy(&pc, (const char *)cpu + cpu->guest->pc_offset, sizeof pc);
    cpu->abi.pending = 0;
    return wanted && pc == world.block->pc;
}

void jit_run(void) {
    struct cpu *cpu = &world.cpu->c;
    world.block->flags |= IR_BLOCK_LOOP;
    identity.emit_span = world.loops & 1 ? emit_span : NULL; /* by turns */
    if (codegen_compile(cg, cpu, world.block, code_free, (size_t)(code + CODE_BYTES - code_free), &out))
        rt_panic(cpu, "a block of %u instructions does not fit\n", world.block->insns);
    world.loops += out.loop != NULL;
    for (unsigned i = 0; i < out.links && out.loop; i++)
        if (out.link[i].target_pc == world.block->pc)
            codegen_link(&out.link[i], out.loop);
    world.leave = leave;
    cpu->abi.pending = 0;
    codegen_enter(cg, cpu, out.entry_nocheck);
    while (again(cpu))
        codegen_enter(cg, cpu, out.entry);
    world.leave = NULL;
    /* fp_sync() reads the host's own. */
    __asm__ volatile("ldmxcsr %0" : : "m"(cpu->fp.mxcsr));
    if (world.kind)
        longjmp(world.fault, 1);
}
