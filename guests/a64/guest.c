/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest.c: the AArch64 guest as the engine sees it: reset, mode key, service of pending events, register dump. */
#include "graft/softfp.h"
#include "system.h"

#define CPACR_FPEN(cpacr) ((unsigned)((cpacr) >> 20) & 3)

/* Reset state of Cortex-A57/A72: EL1h, everything masked, MMU and caches off. Identification and power state stay. */
void a64_reset(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    struct a64_sysregs *s = &c->sys;
    memset(c->x, 0, sizeof c->x);
    memset(c->v, 0, sizeof c->v);
    c->nzcv = ir_flags_pack(1u << 30); /* as QEMU: Z set */
    cpu->flags_insn = 0;
    c->daif = DAIF_MASK;
    c->el = 1;
    c->spsel = 1;
    c->pan = c->il = 0;
    c->debug.ss = c->debug.step_iss = 0;
    s->sctlr_el1 = 0x00c50838;
    s->cpacr_el1 = s->ttbr0_el1 = s->ttbr1_el1 = s->tcr_el1 = s->mair_el1 = s->vbar_el1 = 0;
    s->cntkctl_el1 = s->mdscr_el1 = s->osdlr_el1 = s->csselr_el1 = 0;
    s->cntv_ctl = s->cntp_ctl = 0;
    s->oslsr_el1 = 0xa; /* OSLM = 0b10: implemented; OSLK = 1 */
    s->cntfrq = A64_CNTFRQ;
    cpu->excl_addr = ~UINT64_C(0);
    cpu->tlbi_pending = 0;
    memset(&cpu->fp, 0, sizeof cpu->fp);
    fp_set_rounding(cpu);
    a64_debug_changed(c);
    a64_pmu_reset(cpu);
    a64_controls_changed(c);
    mmu_context_changed(cpu);
}

static void guest_init(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    a64_idregs_init(c);
    a64_timer_init(cpu);
    a64_gic_init(cpu);
    a64_reset(cpu);
    if (cpu->index == 0) {
        c->pc = cpu->boot->entry_pc;
        memcpy(c->x, cpu->boot->entry_args, sizeof cpu->boot->entry_args);
    }
    engine_power_init(cpu, &c->power);
}

static uint32_t guest_mode(const struct cpu *cpu) {
    const struct a64_cpu *c = (const struct a64_cpu *)cpu;
    uint64_t sctlr = c->sys.sctlr_el1;
    unsigned fpen = CPACR_FPEN(c->sys.cpacr_el1);
    uint32_t mode = 0;
    if (c->el == 0) {
        mode = A64_EL0;
        if (fpen != 3)
            mode |= A64_MODE_FP_TRAP;
        if (sctlr & SCTLR_SA0)
            mode |= A64_MODE_SA;
        if (sctlr & SCTLR_DZE)
            mode |= A64_MODE_ZVA;
    } else {
        mode = (c->pan ? A64_EL1_PAN : A64_EL1) | 1u << 2;
        if (!(fpen & 1))
            mode |= A64_MODE_FP_TRAP;
        if (sctlr & SCTLR_SA)
            mode |= A64_MODE_SA;
        if (c->spsel)
            mode |= A64_MODE_SPSEL;
    }
    if ((sctlr & (SCTLR_A | SCTLR_M)) != SCTLR_M)
        mode |= A64_MODE_ALIGN;
    if (cpu->fp.fpcr & 1u << 24)
        mode |= A64_MODE_SOFTFP;
    if (UNLIKELY(c->il))
        mode |= A64_MODE_IL;
    if (UNLIKELY(c->debug.armed))
        mode |= a64_debug_mode(c);
    if (UNLIKELY(c->pmu.on))
        mode |= c->pmu.needs[c->el] << A64_MODE_PMU_SHIFT;
    return mode;
}

static void power_on(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    a64_reset(cpu);
    c->x[0] = c->power.arg;
    c->pc = c->power.pc;
    engine_power_on(&c->power);
    a64_timer_update(cpu); /* from now on others tell us of changes: look at what came before */
}

static void guest_service(struct cpu *cpu, uint32_t pending) {
    struct a64_cpu *c = a64(cpu);
    if (UNLIKELY(engine_power_wait(cpu, &c->power))) {
        power_on(cpu);
        return;
    }
    if (pending & ABI_PEND_TIMER)
        a64_timer_expired(cpu);
    else if (pending & ABI_PEND_IRQ)
        a64_gic_update(cpu);
    if (a64_step_due(c))
        a64_take_step(cpu);
    else if (c->fiq && !(c->daif & DAIF_F))
        a64_take_exception(cpu, 0x100, 0, c->pc);
    else if (c->irq && !(c->daif & DAIF_I))
        a64_take_exception(cpu, 0x080, 0, c->pc);
}

static bool guest_is_hi(uint64_t va) { return va >> 55 & 1; }

static void guest_dump(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    const struct a64_sysregs *s = &c->sys;
    rt_log(cpu, 0, "cpu%u pc %016llx pstate %08x el%u powered %u irq %d fiq %d\n", cpu->index,
           (unsigned long long)c->pc, a64_pstate(c), c->el, c->power.state, c->irq, c->fiq);
    for (unsigned i = 0; i < 32; i += 4)
        rt_log(cpu, 0, "x%02u %016llx %016llx %016llx %016llx\n", i, (unsigned long long)c->x[i],
               (unsigned long long)c->x[i + 1], (unsigned long long)c->x[i + 2], (unsigned long long)c->x[i + 3]);
    rt_log(cpu, 0, "sctlr %llx tcr %llx ttbr0 %llx ttbr1 %llx vbar %llx\n", (unsigned long long)s->sctlr_el1,
           (unsigned long long)s->tcr_el1, (unsigned long long)s->ttbr0_el1, (unsigned long long)s->ttbr1_el1,
           (unsigned long long)s->vbar_el1);
    rt_log(cpu, 0, "esr %llx far %llx elr %llx spsr %llx\n", (unsigned long long)s->esr_el1,
           (unsigned long long)s->far_el1, (unsigned long long)s->elr_el1, (unsigned long long)s->spsr_el1);
}

const struct guest_ops a64_guest = {
    .name = "a64",
    .cpu_size = sizeof(struct a64_cpu),
    .own_bytes = {A64_OWN_BYTES, A64_PRIVILEGED_BYTES, A64_PRIVILEGED_BYTES, A64_PRIVILEGED_BYTES},
    .pc_offset = A64_PC,
    .nzcv_offset = A64_NZCV,
    .pc_align = 3,
    .entry_page_shift = PAGE_SHIFT,
    .entry_page_bits = 48 - PAGE_SHIFT,
    .gpr_pins = a64_gpr_pins,
    .vec_pins = a64_vec_pins,
    .gpr_pin_count = A64_GPR_PINS,
    .vec_pin_count = A64_VEC_PINS,
    .init = guest_init,
    .mode = guest_mode,
    .service = guest_service,
    .translate = a64_translate,
    .executed = a64_executed,
    .exit_fault = a64_exit_fault,
    .pc_fault = a64_pc_fault,
    .settle = a64_flags_settle,
    .walk = a64_walk,
    .space = a64_space,
    .is_hi = guest_is_hi,
    .mem_abort = a64_mem_abort,
    .align_fault = a64_align_fault,
    .watch = a64_watch,
    .external_abort = a64_external_abort,
    .io_read = a64_gic_read,
    .io_write = a64_gic_write,
    .state = a64_state,
    .shared_state = a64_shared_state,
    .collect = a64_collect,
    .changed = a64_changed,
    .dump = guest_dump,
    .debug = &a64_registers,
};
_Static_assert(sizeof(struct a64_cpu) <= ABI_CPU_BYTES, "the state fits in what the monitor gives each vCPU");
