/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * sbi.c: the firmware that a kernel in S-mode calls (RISC-V Supervisor Binary Interface Specification 2.0): BASE, TIME,
 * IPI, RFENCE, HSM, SRST, DBCN, PMU, and the legacy calls. It is a part of the engine, so a call costs no exit.
 */
#include "guests/rv64/system.h"

#define UART UINT64_C(0x10000000) /* the board's console (16550) */
#define UART_LSR 5
#define LSR_READY 1u
#define IMPLEMENTATION 0x47465254u /* none of those that have a number */
#define FEW_PAGES 32               /* a range of more is flushed as a whole */

enum sbi_extension {
    EXT_SET_TIMER = 0, /* legacy: 0 .. 8 */
    EXT_CONSOLE_PUTCHAR,
    EXT_CONSOLE_GETCHAR,
    EXT_CLEAR_IPI,
    EXT_SEND_IPI,
    EXT_REMOTE_FENCE_I,
    EXT_REMOTE_SFENCE,
    EXT_REMOTE_SFENCE_ASID,
    EXT_SHUTDOWN,
    EXT_BASE = 0x10,
    EXT_TIME = 0x54494d45,
    EXT_IPI = 0x735049,
    EXT_RFENCE = 0x52464e43,
    EXT_HSM = 0x48534d,
    EXT_SRST = 0x53525354,
    EXT_DBCN = 0x4442434e,
    EXT_PMU = 0x504d55
};

struct call {
    struct cpu *cpu;
    struct rv64_cpu *c;
    const uint64_t *arg; /* a0 .. a5 */
    uint64_t value;
};

/* --- harts ------------------------------------------------------------------------------------ */

static bool in_mask(uint64_t mask, uint64_t base, unsigned hart) {
    return base == ~UINT64_C(0) || (hart >= base && hart - base < 64 && mask >> (hart - base) & 1);
}

/* A mask that names a hart which is not there is wrong. */
static bool mask_is_right(const struct call *s, uint64_t mask, uint64_t base) {
    unsigned count = s->cpu->boot->vcpu_count;
    if (base == ~UINT64_C(0))
        return true;
    return base < count && !(mask & ~MASK(count - base));
}

static int64_t send_ipis(struct call *s, uint64_t mask, uint64_t base) {
    if (!mask_is_right(s, mask, base))
        return SBI_INVALID_PARAM;
    for (unsigned i = 0; i < s->cpu->boot->vcpu_count; i++)
        if (in_mask(mask, base, i))
            rv64_send_ipi(s->cpu, rv64(engine_cpu(s->cpu, i)));
    return SBI_SUCCESS;
}

/* --- remote fences: others are told, and have done it when the call returns ------------------- */

static void invalidate(struct call *s, bool own, const struct mmu_inval *inval) {
    if (own)
        mmu_invalidate(s->cpu, inval);
    engine_broadcast(s->cpu, &(struct engine_request){.kind = ENGINE_REQ_INVAL, .inval = *inval});
}

static void complete(struct call *s) {
    mmu_sync(s->cpu);
    engine_broadcast_wait(s->cpu);
}

/* [start, start + size) in one address space, or in all of them. Harts that are not in the mask may be told, too. */
static int64_t remote_sfence(struct call *s, uint64_t mask, uint64_t base, uint64_t start, uint64_t size, bool one,
                             uint64_t asid) {
    struct mmu_inval inval = {.kind = one ? MMU_INVAL_ASID : MMU_INVAL_ALL, .asid = (uint32_t)asid & 0xffff};
    if (!mask_is_right(s, mask, base))
        return SBI_INVALID_PARAM;
    bool own = in_mask(mask, base, s->cpu->index);
    uint64_t first = start & ~PAGE_MASK, pages = (ALIGN_UP(start + size, PAGE_SIZE) - first) >> PAGE_SHIFT;
    if ((!start && !size) || size > FEW_PAGES * PAGE_SIZE || pages > FEW_PAGES) {
        /* Global pages do not belong to an address space, but a range may hold some. */
        invalidate(s, own, &inval);
    } else {
        inval.kind = one ? MMU_INVAL_VA_ASID : MMU_INVAL_VA;
        for (inval.va = first; pages > 0; pages--, inval.va += PAGE_SIZE)
            invalidate(s, own, &inval);
    }
    complete(s);
    return SBI_SUCCESS;
}

static int64_t remote_fence_i(struct call *s, uint64_t mask, uint64_t base) {
    if (!mask_is_right(s, mask, base))
        return SBI_INVALID_PARAM;
    if (in_mask(mask, base, s->cpu->index))
        rv64_helper_fence_i(s->cpu, 0, 0, 0);
    engine_broadcast(s->cpu, &(struct engine_request){.kind = ENGINE_REQ_CODE_FENCE});
    engine_broadcast_wait(s->cpu);
    return SBI_SUCCESS;
}

static int64_t rfence(struct call *s, uint64_t function) {
    const uint64_t *a = s->arg;
    switch (function) {
    case 0: return remote_fence_i(s, a[0], a[1]);
    case 1: return remote_sfence(s, a[0], a[1], a[2], a[3], false, 0);
    case 2: return remote_sfence(s, a[0], a[1], a[2], a[3], true, a[4]);
    default: return SBI_NOT_SUPPORTED; /* of guests in the guest: there is no H extension */
    }
}

/* --- HSM: starting and stopping harts --------------------------------------------------------- */

static struct rv64_cpu *hart(const struct call *s, uint64_t id) {
    struct cpu *to = id < s->cpu->boot->vcpu_count ? engine_cpu(s->cpu, (unsigned)id) : NULL;
    return to ? rv64(to) : NULL;
}

static int64_t hart_start(struct call *s) {
    struct rv64_cpu *to = hart(s, s->arg[0]);
    if (!to)
        return SBI_INVALID_PARAM;
    if (s->arg[1] & 1 || !ram_ptr(s->cpu, GPA(s->arg[1]), 2))
        return SBI_INVALID_ADDRESS;
    return engine_power_start(s->cpu, &to->c, &to->power, s->arg[1], s->arg[2]) == ENGINE_POWER_OFF
               ? SBI_SUCCESS
               : SBI_ALREADY_AVAILABLE;
}

static int64_t hart_status(struct call *s) {
    struct rv64_cpu *to = hart(s, s->arg[0]);
    if (!to)
        return SBI_INVALID_PARAM;
    enum { STARTED, STOPPED, START_PENDING, SUSPENDED = 4 };
    uint32_t state = __atomic_load_n(&to->power.state, __ATOMIC_ACQUIRE);
    if (state == ENGINE_POWER_ON)
        s->value = __atomic_load_n(&to->suspended, __ATOMIC_ACQUIRE) ? SUSPENDED : STARTED;
    else
        s->value = state == ENGINE_POWER_OFF ? STOPPED : START_PENDING;
    return SBI_SUCCESS;
}

static _Noreturn void hart_stop(struct call *s) {
    s->c->stimecmp = ~UINT64_C(0);
    rv64_timer_update(s->cpu, false);
    engine_power_off(s->cpu, &s->c->power);
}

/* Of the states there is the default one that keeps what is in the hart. */
static int64_t hart_suspend(struct call *s) {
    enum { RETENTIVE = 0, NON_RETENTIVE = 0x80000000u };
    if (s->arg[0] != RETENTIVE)
        return s->arg[0] == NON_RETENTIVE ? SBI_NOT_SUPPORTED : SBI_INVALID_PARAM;
    __atomic_store_n(&s->c->suspended, 1, __ATOMIC_RELEASE);
    rv64_helper_wfi(s->cpu, 0, 0, 0);
    __atomic_store_n(&s->c->suspended, 0, __ATOMIC_RELEASE);
    return SBI_SUCCESS;
}

static int64_t hsm(struct call *s, uint64_t function) {
    switch (function) {
    case 0: return hart_start(s);
    case 1: hart_stop(s);
    case 2: return hart_status(s);
    case 3: return hart_suspend(s);
    default: return SBI_NOT_SUPPORTED;
    }
}

/* --- console, reset, base --------------------------------------------------------------------- */

static int64_t put_char(struct call *s, uint64_t c) {
    return bus_write(s->cpu, GPA(UART), 1, c & 0xff) ? SBI_SUCCESS : SBI_FAILED;
}

static bool get_char(struct call *s, uint64_t *c) {
    uint64_t status;
    return bus_read(s->cpu, GPA(UART + UART_LSR), 1, &status) && status & LSR_READY &&
           bus_read(s->cpu, GPA(UART), 1, c);
}

static int64_t dbcn(struct call *s, uint64_t function) {
    if (function == 2)
        return put_char(s, s->arg[0]);
    if (function > 1)
        return SBI_NOT_SUPPORTED;
    uint64_t count = s->arg[0] < PAGE_SIZE ? s->arg[0] : PAGE_SIZE, c;
    uint8_t *bytes = ram_ptr(s->cpu, GPA(s->arg[1]), count);
    if (!bytes || s->arg[2])
        return SBI_INVALID_PARAM;
    if (function == 0) {
        for (; s->value < count; s->value++)
            put_char(s, bytes[s->value]);
        return SBI_SUCCESS;
    }
    for (; s->value < count && get_char(s, &c); s->value++) {
        bytes[s->value] = (uint8_t)c;
        engine_code_written(s->cpu, GPA(s->arg[1] + s->value), 1);
    }
    return SBI_SUCCESS;
}

static int64_t srst(struct call *s, uint64_t function) {
    if (function != 0)
        return SBI_NOT_SUPPORTED;
    switch ((uint32_t)s->arg[0]) {
    case 0: engine_end(s->cpu, ABI_CALL_POWEROFF); break;
    case 1:
    case 2: engine_end(s->cpu, ABI_CALL_RESET); break;
    default: return SBI_INVALID_PARAM;
    }
    return SBI_FAILED;
}

static bool has_extension(uint64_t extension) {
    switch (extension) {
    case EXT_BASE:
    case EXT_TIME:
    case EXT_IPI:
    case EXT_RFENCE:
    case EXT_HSM:
    case EXT_SRST:
    case EXT_DBCN:
    case EXT_PMU: return true;
    default: return extension <= EXT_SHUTDOWN;
    }
}

static int64_t base(struct call *s, uint64_t function) {
    switch (function) {
    case 0: s->value = 2u << 24; return SBI_SUCCESS; /* specification 2.0 */
    case 1: s->value = IMPLEMENTATION; return SBI_SUCCESS;
    case 2: s->value = 1; return SBI_SUCCESS;
    case 3: s->value = has_extension(s->arg[0]); return SBI_SUCCESS;
    case 4: /* mvendorid, marchid, mimpid */
    case 5:
    case 6: return SBI_SUCCESS;
    default: return SBI_NOT_SUPPORTED;
    }
}

static int64_t set_timer(struct call *s) {
    s->c->stimecmp = s->arg[0];
    rv64_timer_update(s->cpu, false);
    return SBI_SUCCESS;
}

/* --- legacy calls: a mask is in memory, the result is in a0 alone ----------------------------- */

static uint64_t legacy_mask(struct call *s) {
    return s->arg[0] ? mem_read(s->cpu, s->arg[0], 3, s->cpu->regime, 0) : MASK(s->cpu->boot->vcpu_count);
}

static int64_t legacy(struct call *s, uint64_t extension) {
    uint64_t c;
    switch (extension) {
    case EXT_SET_TIMER: return set_timer(s);
    case EXT_CONSOLE_PUTCHAR: return put_char(s, s->arg[0]);
    case EXT_CONSOLE_GETCHAR: return get_char(s, &c) ? (int64_t)c : -1;
    case EXT_CLEAR_IPI: __atomic_store_n(&s->c->ipi, 0, __ATOMIC_SEQ_CST); return SBI_SUCCESS;
    case EXT_SEND_IPI: return send_ipis(s, legacy_mask(s), 0);
    case EXT_REMOTE_FENCE_I: return remote_fence_i(s, legacy_mask(s), 0);
    case EXT_REMOTE_SFENCE: return remote_sfence(s, legacy_mask(s), 0, s->arg[1], s->arg[2], false, 0);
    case EXT_REMOTE_SFENCE_ASID: return remote_sfence(s, legacy_mask(s), 0, s->arg[1], s->arg[2], true, s->arg[3]);
    default: engine_end(s->cpu, ABI_CALL_POWEROFF); return SBI_FAILED;
    }
}

void rv64_sbi_call(struct cpu *cpu) {
    struct rv64_cpu *c = rv64(cpu);
    uint64_t extension = c->x[17], function = c->x[16];
    struct call s = {.cpu = cpu, .c = c, .arg = &c->x[10]};
    int64_t error = SBI_NOT_SUPPORTED;
    if (extension <= EXT_SHUTDOWN) {
        c->x[10] = (uint64_t)legacy(&s, extension);
        return;
    }
    switch (extension) {
    case EXT_BASE: error = base(&s, function); break;
    case EXT_TIME: error = function ? SBI_NOT_SUPPORTED : set_timer(&s); break;
    case EXT_IPI: error = function ? SBI_NOT_SUPPORTED : send_ipis(&s, s.arg[0], s.arg[1]); break;
    case EXT_RFENCE: error = rfence(&s, function); break;
    case EXT_HSM: error = hsm(&s, function); break;
    case EXT_SRST: error = srst(&s, function); break;
    case EXT_DBCN: error = dbcn(&s, function); break;
    case EXT_PMU: error = rv64_pmu_call(c, function, s.arg, &s.value); break;
    }
    c->x[10] = (uint64_t)error;
    c->x[11] = s.value;
}

/* The state's pc is the next instruction's. */
uint64_t rv64_helper_ecall(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) {
    if (rv64_firmware(cpu)) {
        rv64(cpu)->pc -= 4;
        rv64_raise(cpu, RV64_ECALL_S, 0);
    }
    rv64_sbi_call(cpu);
    rv64_interrupts_update(cpu);
    rv64_check_interrupts(cpu);
    return 0;
}
