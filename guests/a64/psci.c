/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* psci.c: Power State Coordination Interface 1.1 through HVC (DEN 0022), SMC Calling Convention 1.1 (DEN 0028). */
#include "system.h"

#define FN64 0x40000000u /* the SMC64 form of a function */

enum {
    PSCI_VERSION = 0x84000000u,
    PSCI_CPU_SUSPEND = 0x84000001u,
    PSCI_CPU_OFF = 0x84000002u,
    PSCI_CPU_ON = 0x84000003u,
    PSCI_AFFINITY_INFO = 0x84000004u,
    PSCI_MIGRATE_INFO_TYPE = 0x84000006u,
    PSCI_SYSTEM_OFF = 0x84000008u,
    PSCI_SYSTEM_RESET = 0x84000009u,
    PSCI_FEATURES = 0x8400000au,
    SMCCC_VERSION = 0x80000000u,
    SMCCC_ARCH_FEATURES = 0x80000001u,
};

enum {
    PSCI_SUCCESS = 0,
    PSCI_NOT_SUPPORTED = -1,
    PSCI_INVALID_PARAMETERS = -2,
    PSCI_ALREADY_ON = -4,
    PSCI_ON_PENDING = -5,
    PSCI_INVALID_ADDRESS = -9,
};

/* The vCPU of an MPIDR affinity value, NULL if there is none. */
static struct a64_cpu *cpu_of_affinity(struct cpu *cpu, uint64_t affinity) {
    struct cpu *to = affinity < cpu->boot->vcpu_count ? engine_cpu(cpu, (unsigned)affinity) : NULL;
    return to ? a64(to) : NULL;
}

static int64_t psci_cpu_on(struct cpu *cpu, uint64_t target, uint64_t entry, uint64_t context) {
    struct a64_cpu *to = cpu_of_affinity(cpu, target);
    if (!to)
        return PSCI_INVALID_PARAMETERS;
    if (entry & 3)
        return PSCI_INVALID_ADDRESS;
    switch (engine_power_start(cpu, &to->c, &to->power, entry, context)) {
    case ENGINE_POWER_OFF: return PSCI_SUCCESS;
    case ENGINE_POWER_ON: return PSCI_ALREADY_ON;
    default: return PSCI_ON_PENDING;
    }
}

static int64_t psci_affinity_info(struct cpu *cpu, uint64_t target, uint64_t level) {
    if (level > 3)
        return PSCI_INVALID_PARAMETERS;
    if (level > 0)
        return 0; /* a level above the PE is on while any PE of it is */
    struct a64_cpu *to = cpu_of_affinity(cpu, target);
    if (!to)
        return PSCI_INVALID_PARAMETERS;
    enum engine_power_state state = engine_power_state(&to->power);
    return state == ENGINE_POWER_ON ? 0 : state == ENGINE_POWER_OFF ? 1 : 2;
}

static int64_t psci_features(uint32_t function) {
    switch (function) {
    case PSCI_VERSION:
    case PSCI_CPU_SUSPEND:
    case PSCI_CPU_SUSPEND | FN64:
    case PSCI_CPU_OFF:
    case PSCI_CPU_ON:
    case PSCI_CPU_ON | FN64:
    case PSCI_AFFINITY_INFO:
    case PSCI_AFFINITY_INFO | FN64:
    case PSCI_MIGRATE_INFO_TYPE:
    case PSCI_SYSTEM_OFF:
    case PSCI_SYSTEM_RESET:
    case PSCI_FEATURES:
    case SMCCC_VERSION: return 0;
    }
    return PSCI_NOT_SUPPORTED;
}

/* CPU_OFF does not come back: the dispatcher finds the bit and calls service(), which waits for CPU_ON. */
static _Noreturn void psci_cpu_off(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    c->sys.cntv_ctl = c->sys.cntp_ctl = 0;
    a64_timer_update(cpu);
    engine_power_off(cpu, &c->power);
}

void a64_psci_call(struct cpu *cpu) {
    struct a64_cpu *c = a64(cpu);
    uint32_t function = (uint32_t)c->x[0];
    bool smc64 = function & FN64;
    uint64_t mask = smc64 ? ~UINT64_C(0) : MASK(32), arg[3] = {c->x[1] & mask, c->x[2] & mask, c->x[3] & mask};
    int64_t result = PSCI_NOT_SUPPORTED;
    switch (function) {
    case PSCI_VERSION:
    case SMCCC_VERSION: result = 0x10001; break;
    case PSCI_CPU_SUSPEND:
    case PSCI_CPU_SUSPEND | FN64:
        a64_helper_wfi(cpu, 0, 0, 0); /* every state is standby: retention, wakes up by an interrupt */
        result = PSCI_SUCCESS;
        break;
    case PSCI_CPU_OFF: psci_cpu_off(cpu);
    case PSCI_CPU_ON:
    case PSCI_CPU_ON | FN64: result = psci_cpu_on(cpu, arg[0], arg[1], arg[2]); break;
    case PSCI_AFFINITY_INFO:
    case PSCI_AFFINITY_INFO | FN64: result = psci_affinity_info(cpu, arg[0], arg[1]); break;
    case PSCI_MIGRATE_INFO_TYPE:
        result = 2; /* no Trusted OS that would have to migrate */
        break;
    case PSCI_SYSTEM_OFF: engine_end(cpu, ABI_CALL_POWEROFF); break;
    case PSCI_SYSTEM_RESET: engine_end(cpu, ABI_CALL_RESET); break;
    case PSCI_FEATURES: result = psci_features((uint32_t)arg[0]); break;
    case SMCCC_ARCH_FEATURES:
        result = arg[0] == SMCCC_VERSION || arg[0] == SMCCC_ARCH_FEATURES ? 0 : PSCI_NOT_SUPPORTED;
        break;
    }
    c->x[0] = smc64 || result < 0 ? (uint64_t)result : (uint32_t)result;
}

uint64_t a64_helper_hvc(struct cpu *cpu, uint64_t imm, uint64_t b, uint64_t c) {
    if (a64(cpu)->el == 0)
        a64_raise_undefined(cpu, 0xd4000002u | (uint32_t)imm << 5, "HVC");
    a64_psci_call(cpu);
    return 0;
}

/* The pc is past the WFI already; a trap returns to the WFI itself. */
uint64_t a64_helper_wfi(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t unused) {
    struct a64_cpu *c = a64(cpu);
    a64_timer_update(cpu);
    if (c->irq || c->fiq) {
        a64_check_interrupts(c);
        return 0;
    }
    if (c->el == 0 && !(c->sys.sctlr_el1 & SCTLR_NTWI)) {
        a64_take_exception(cpu, 0, A64_ESR(A64_EC_WFX, 1u << 24 | 0xe << 20), c->pc - 4);
        engine_unwind(cpu);
    }
    if (UNLIKELY(c->debug.ss)) /* a step goes on: a WFI may end at any time */
        return 0;
    if (UNLIKELY(c->pmu.on)) {
        a64_pmu_stop(cpu, true);
        a64_timer_update(cpu); /* without a deadline of cycles */
    }
    if (LIKELY(!c->irq && !c->fiq)) /* which that last look at the counters may have raised */
        engine_wait(cpu);
    if (UNLIKELY(c->pmu.on))
        a64_pmu_stop(cpu, false);
    a64_timer_update(cpu);
    a64_check_interrupts(c);
    return 0;
}
