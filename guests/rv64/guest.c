/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest.c: the RISC-V guest as the engine sees it: reset, mode key, service of pending events, register dump. */
#include "guests/rv64/system.h"

/* As an SBI implementation leaves machine mode: all that can be delegated is, and nothing is forbidden. */
static void reset_delegated(struct rv64_cpu *c) {
    c->medeleg = MEDELEG_WRITABLE;
    c->mideleg = SIE_WRITABLE;
    c->mcounteren = MASK(32);
    c->menvcfg = MENVCFG_WRITABLE & ~(BIT(5) | ENVCFG_ADUE);
    c->scounteren = 7; /* users may read cycle, time, instret */
}

/* In machine mode, or as an SBI implementation hands a hart to a kernel: S-mode, no translation, interrupts off. */
void rv64_reset(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    memset(c->x, 0, sizeof c->x);
    memset(c->f, 0, sizeof c->f);
    rv64_set_mstatus(c, 0);
    c->dirty = 0;
    c->mie = c->stvec = c->scounteren = c->senvcfg = c->sscratch = c->sepc = c->scause = c->stval = 0;
    c->medeleg = c->mideleg = c->mtvec = c->mcounteren = c->menvcfg = c->mscratch = c->mepc = c->mcause = c->mtval = 0;
    memset(c->counted_from, 0, sizeof c->counted_from);
    memset(&c->pmp, 0, sizeof c->pmp);
    if (!rv64_firmware(cpu))
        reset_delegated(c);
    c->satp = 0;
    c->stimecmp = c->mtimecmp = ~UINT64_C(0);
    c->mip = c->mip_set = c->due = 0;
    __atomic_store_n(&c->ipi, 0, __ATOMIC_SEQ_CST);
    c->x[10] = cpu->index;
    cpu->excl_addr = ~UINT64_C(0);
    cpu->tlbi_pending = 0;
    cpu->regime = rv64_firmware(cpu) ? RV64_M : RV64_S;
    rv64_pmu_reset(c);
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
    if (cpu->index == 0 || rv64_firmware(cpu)) { /* all harts start in firmware, which tells them apart */
        c->pc = cpu->boot->entry_pc;
        c->x[11] = cpu->boot->entry_args[0];
        c->x[12] = cpu->boot->entry_args[1];
    }
    if (rv64_firmware(cpu))
        engine_power_on(&c->power);
    else
        engine_power_init(cpu, &c->power);
}

static uint32_t guest_mode(const struct cpu *cpu) {
    const struct rv64_cpu *c = (const struct rv64_cpu *)cpu;
    /* Kernels and firmware have it off, but for the few instructions that save its registers: that is for them to find
     * out. */
    bool fp_off = cpu->regime == RV64_U && !(c->sstatus & SSTATUS_FS);
    uint32_t counted = UNLIKELY(c->pmu.on) ? c->pmu.needs[rv64_privilege(cpu)] << RV64_MODE_PMU_SHIFT : 0;
    return counted | cpu->regime | (fp_off ? RV64_MODE_FP_OFF : 0) | rv64_frm(c) << RV64_MODE_FRM_SHIFT |
           rv64_data_regime(cpu) << RV64_MODE_DATA_SHIFT | (c->unboxed ? RV64_MODE_UNBOXED : 0);
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

static bool io_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value) {
    return rv64_plic_read(cpu, pa, size, value) || rv64_clint_read(cpu, pa, size, value);
}

static bool io_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value) {
    return rv64_plic_write(cpu, pa, size, value) || rv64_clint_write(cpu, pa, size, value);
}

static bool guest_is_hi(uint64_t va) { return va >> 63; }

/* None of these has a cause here: no flags, no watchpoints, no mode of one instruction. */
static void nothing(struct cpu *cpu) {}
static void nothing_watched(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access, unsigned regime) {}

static void guest_dump(struct cpu *cpu) {
    const struct rv64_cpu *c = rv64(cpu);
    rt_log(cpu, 0, "cpu%u pc %016llx regime %u mstatus %llx mie %llx mip %llx\n", cpu->index, (unsigned long long)c->pc,
           cpu->regime, (unsigned long long)rv64_mstatus(c), (unsigned long long)c->mie, (unsigned long long)c->mip);
    for (unsigned i = 0; i < 32; i += 4)
        rt_log(cpu, 0, "x%02u %016llx %016llx %016llx %016llx\n", i, (unsigned long long)c->x[i],
               (unsigned long long)c->x[i + 1], (unsigned long long)c->x[i + 2], (unsigned long long)c->x[i + 3]);
    rt_log(cpu, 0, "satp %llx stvec %llx sepc %llx scause %llx stval %llx\n", (unsigned long long)c->satp,
           (unsigned long long)c->stvec, (unsigned long long)c->sepc, (unsigned long long)c->scause,
           (unsigned long long)c->stval);
    rt_log(cpu, 0, "mtvec %llx mepc %llx mcause %llx mtval %llx medeleg %llx mideleg %llx\n",
           (unsigned long long)c->mtvec, (unsigned long long)c->mepc, (unsigned long long)c->mcause,
           (unsigned long long)c->mtval, (unsigned long long)c->medeleg, (unsigned long long)c->mideleg);
}

const struct guest_ops rv64_guest = {
    .name = "rv64",
    .cpu_size = sizeof(struct rv64_cpu),
    .own_bytes = {RV64_OWN_BYTES, RV64_S_BYTES, RV64_S_BYTES, RV64_M_BYTES},
    .pc_offset = RV64_PC,
    .pc_align = 1,
    .entry_page_shift = 10,
    .entry_page_bits = 44,
    .reader_fences = true,
    .wide_va = true,
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
    .exit_fault = rv64_exit_fault,
    .pc_fault = rv64_pc_fault,
    .settle = nothing,
    .walk = rv64_walk,
    .space = rv64_space,
    .is_hi = guest_is_hi,
    .translates = rv64_translates,
    .mem_abort = rv64_mem_abort,
    .align_fault = rv64_align_fault,
    .watch = nothing_watched,
    .external_abort = rv64_external_abort,
    .io_read = io_read,
    .io_write = io_write,
    .state = rv64_state,
    .shared_state = rv64_shared_state,
    .collect = rv64_collect,
    .changed = rv64_changed,
    .dump = guest_dump,
    .debug = &rv64_registers,
};
_Static_assert(sizeof(struct rv64_cpu) <= ABI_CPU_BYTES, "the state fits in what the monitor gives each vCPU");
