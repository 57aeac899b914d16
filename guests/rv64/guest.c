/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest.c: the RISC-V guest as the engine sees it: reset, mode key, service of pending events, register dump. */
#include "guests/rv64/system.h"

/* As an SBI implementation hands a hart to a kernel: S-mode, no translation, interrupts off. */
void rv64_reset(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    memset(c->x, 0, sizeof c->x);
    memset(c->f, 0, sizeof c->f);
    c->sstatus = c->sie = c->stvec = c->senvcfg = c->sscratch = c->sepc = c->scause = c->stval = 0;
    c->scounteren = 7; /* as firmware leaves it: users may read cycle, time, instret */
    c->satp = 0;
    c->stimecmp = ~UINT64_C(0);
    c->mip = 0;
    __atomic_store_n(&c->ipi, 0, __ATOMIC_SEQ_CST);
    c->x[10] = cpu->index;
    cpu->excl_addr = ~UINT64_C(0);
    cpu->tlbi_pending = 0;
    cpu->regime = RV64_S;
    memset(&cpu->fp, 0, sizeof cpu->fp);
    rv64_fcsr_set(cpu, 0, 0);
    mmu_context_changed(cpu);
}

static void guest_init(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    engine_clock_init(cpu, &c->clock, RV64_TIMEBASE);
    if (!rv64_plic_init(cpu))
        rt_panic(cpu, "the shared heap is too small for the interrupt controller");
    rv64_reset(cpu);
    if (cpu->index == 0) {
        c->pc = cpu->boot->entry_pc;
        c->x[11] = cpu->boot->entry_args[0];
    }
    engine_power_init(cpu, &c->power);
}

static uint32_t guest_mode(const struct cpu *cpu) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    return cpu->regime | (c->sstatus & SSTATUS_FS ? 0 : RV64_MODE_FP_OFF) | c->frm << RV64_MODE_FRM_SHIFT;
}

static void guest_service(struct cpu *cpu, uint32_t pending) {
    struct rv64_cpu *c = rv64(cpu);
    if (UNLIKELY(engine_power_wait(cpu, &c->power))) {
        rv64_reset(cpu);
        c->x[11] = c->power.arg;
        c->pc = c->power.pc;
        engine_power_on(&c->power);
        rv64_interrupts_update(cpu);
        return;
    }
    if (pending & ABI_PEND_TIMER)
        rv64_timer_update(cpu, true);
    if (pending & ABI_PEND_IRQ)
        rv64_interrupts_update(cpu);
    unsigned due = rv64_interrupt_due(cpu);
    if (due)
        rv64_take_trap(cpu, RV64_INTERRUPT | due, 0);
}

static bool guest_is_hi(uint64_t va) { return va >> 63; }

/* None of these has a cause here: no exit is left with IR_EXIT_FAULT, no flags, no watchpoints, no mode of one instruction. */
static void nothing(struct cpu *cpu) {}
static void nothing_watched(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access, unsigned regime) {}

static void guest_dump(struct cpu *cpu) {
    const struct rv64_cpu *c = rv64(cpu);
    rt_log(cpu, 0, "cpu%u pc %016llx regime %u sstatus %llx sie %llx mip %llx\n", cpu->index, (unsigned long long)c->pc,
           cpu->regime, (unsigned long long)c->sstatus, (unsigned long long)c->sie, (unsigned long long)c->mip);
    for (unsigned i = 0; i < 32; i += 4)
        rt_log(cpu, 0, "x%02u %016llx %016llx %016llx %016llx\n", i, (unsigned long long)c->x[i],
               (unsigned long long)c->x[i + 1], (unsigned long long)c->x[i + 2], (unsigned long long)c->x[i + 3]);
    rt_log(cpu, 0, "satp %llx stvec %llx sepc %llx scause %llx stval %llx\n", (unsigned long long)c->satp,
           (unsigned long long)c->stvec, (unsigned long long)c->sepc, (unsigned long long)c->scause,
           (unsigned long long)c->stval);
}

const struct guest_ops rv64_guest = {
    .name = "rv64",
    .cpu_size = sizeof(struct rv64_cpu),
    .pc_offset = RV64_PC,
    .pc_align = 1,
    .rmw_is_write = true,
    .gpr_pins = rv64_gpr_pins,
    .vec_pins = rv64_vec_pins,
    .gpr_pin_count = RV64_GPR_PINS,
    .vec_pin_count = RV64_VEC_PINS,
    .init = guest_init,
    .mode = guest_mode,
    .service = guest_service,
    .translate = rv64_translate,
    .executed = nothing,
    .exit_fault = nothing,
    .pc_fault = rv64_pc_fault,
    .settle = nothing,
    .walk = rv64_walk,
    .space = rv64_space,
    .is_hi = guest_is_hi,
    .mem_abort = rv64_mem_abort,
    .align_fault = rv64_align_fault,
    .watch = nothing_watched,
    .external_abort = rv64_external_abort,
    .io_read = rv64_io_read,
    .io_write = rv64_io_write,
    .dump = guest_dump,
};
_Static_assert(sizeof(struct rv64_cpu) <= ABI_CPU_BYTES, "the state fits in what the monitor gives each vCPU");
