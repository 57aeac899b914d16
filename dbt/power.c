/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* power.c: vCPUs that are off until another one starts them. */
#include "dbt/engine.h"

/* The bit brings the dispatcher to service(), which asks engine_power_wait(). */
static void look_at_power(struct cpu *cpu) {
    __atomic_fetch_or((uint32_t *)&cpu->abi.pending, ABI_PEND_IRQ, __ATOMIC_SEQ_CST);
}

void engine_power_init(struct cpu *cpu, struct engine_power *p) {
    if (cpu->engine) /* a guest's tests have none */
        cpu->engine->power = p;
    if (cpu->index == 0)
        __atomic_store_n(&p->state, ENGINE_POWER_ON, __ATOMIC_RELEASE);
    else
        look_at_power(cpu);
}

enum engine_power_state engine_power_start(struct cpu *cpu, struct cpu *to, struct engine_power *p, uint64_t pc,
                                           uint64_t arg) {
    uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
    if (state != ENGINE_POWER_OFF)
        return (enum engine_power_state)state;
    /* Two vCPUs may start the same third one: only who takes the state from OFF to CLAIMED writes where it starts. */
    if (!__atomic_compare_exchange_n(&p->state, &state, ENGINE_POWER_CLAIMED, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        return ENGINE_POWER_PENDING;
    p->pc = pc;
    p->arg = arg;
    __atomic_store_n(&p->state, ENGINE_POWER_PENDING, __ATOMIC_RELEASE);
    engine_kick(cpu, to, ABI_PEND_IRQ);
    return ENGINE_POWER_OFF;
}

void engine_power_off(struct cpu *cpu, struct engine_power *p) {
    __atomic_store_n(&p->state, ENGINE_POWER_OFF, __ATOMIC_RELEASE);
    look_at_power(cpu);
    engine_unwind(cpu);
}

bool engine_power_wait(struct cpu *cpu, struct engine_power *p) {
    enum engine_power_state state = engine_power_state(p);
    if (LIKELY(state == ENGINE_POWER_ON))
        return false;
    if (state == ENGINE_POWER_PENDING)
        return true;
    engine_wait(cpu); /* and back to the dispatcher for what it was woken for */
    look_at_power(cpu);
    engine_unwind(cpu);
}

void engine_power_on(struct engine_power *p) { __atomic_store_n(&p->state, ENGINE_POWER_ON, __ATOMIC_SEQ_CST); }
