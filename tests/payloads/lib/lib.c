/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* lib.c: exceptions, PSCI and strings for payloads. */
#include "payload.h"

void print_char(char c) { mmio_write32(UART_BASE, (uint8_t)c); }

/* --- exceptions ------------------------------------------------------------------------------- */

void (*volatile exception_handler)(struct frame *f, unsigned vector);
volatile unsigned caught, caught_vector;
struct frame caught_frame;

void catch_and_skip(struct frame *f, unsigned vector) {
    caught++;
    caught_vector = vector;
    caught_frame = *f;
    unsigned ec = EC(f->esr);
    if ((vector & 3) == 0 && ec != 0x15 && ec != 0x16)
        f->elr += 4;
}

/* --- contexts --------------------------------------------------------------------------------- */
_Static_assert(offsetof(struct context, caller_sp) == 592, "context.S knows this offset");
extern void context_enter(struct context *c), context_leave(void);
static uint8_t context_stack[4096] __attribute__((aligned(16)));

void context_init(struct context *c, uint32_t pstate, uint64_t pc) {
    for (unsigned i = 0; i < 31; i++)
        c->in.x[i] = 0x0101010101010101ul * (i + 0xa0);
    bool user = (pstate & 12) == 0 && (read_sysreg(sctlr_el1) & 1);
    c->in.sp = (uint64_t)(context_stack + sizeof(context_stack)) + (user ? USER_BASE : 0);
    c->in.elr = pc;
    c->in.spsr = pstate;
}

void context_run(struct context *c) {
    c->caller_pstate = PSTATE_EL1H & ~0x3c0u;
    c->caller_pstate |= read_sysreg(daif);
    if (read_sysreg(id_aa64mmfr1_el1) >> 20 & 15) /* FEAT_PAN */
        c->caller_pstate |= read_sysreg(S3_0_C4_C2_3) & PSTATE_PAN;
    c->vector = ~0u;
    context_enter(c);
}

void run_code(struct context *c, uint32_t pstate, const void *pc, uint64_t x0, uint64_t x1, uint64_t x2, uint64_t x3) {
    context_init(c, pstate, (uint64_t)pc);
    c->in.x[0] = x0;
    c->in.x[1] = x1;
    c->in.x[2] = x2;
    c->in.x[3] = x3;
    context_run(c);
}

void context_check_at(const char *file, int line, const struct context *c, uint32_t except) {
    static char name[] = "xNN unchanged";
    for (unsigned i = 0; i < 32; i++) {
        uint64_t got = i < 31 ? c->out.x[i] : c->out.sp, want = i < 31 ? c->in.x[i] : c->in.sp;
        if (got == want || (except >> i & 1))
            continue;
        name[1] = (char)('0' + i / 10);
        name[2] = (char)('0' + i % 10);
        test_fail(file, line, name, got, want);
    }
}

void context_expect_at(const char *file, int line, const struct context *c, unsigned vector, uint64_t esr, uint64_t elr,
                       uint64_t spsr) {
    if (c->vector != vector)
        test_fail(file, line, "vector", c->vector, vector);
    if (c->out.esr != esr)
        test_fail(file, line, "ESR_EL1", c->out.esr, esr);
    if (c->out.elr != elr)
        test_fail(file, line, "ELR_EL1", c->out.elr, elr);
    if ((c->out.spsr ^ spsr) & ~(uint64_t)SPSR_IGNORED)
        test_fail(file, line, "SPSR_EL1", c->out.spsr, spsr);
}

bool on_qemu(void) { return read_sysreg(midr_el1) == 0x000f0510; /* what its `max` reads as */ }

void code_sync(const void *p, size_t bytes) {
    for (uint64_t a = (uint64_t)p & ~15ul; a < (uint64_t)p + bytes; a += 16)
        __asm__ volatile("dc cvau, %0" : : "r"(a) : "memory");
    __asm__ volatile("dsb ish" : : : "memory");
    for (uint64_t a = (uint64_t)p & ~15ul; a < (uint64_t)p + bytes; a += 16)
        __asm__ volatile("ic ivau, %0" : : "r"(a) : "memory");
    __asm__ volatile("dsb ish\nisb" : : : "memory");
}

void exception(struct frame *f, unsigned vector) {
    struct context *c = (struct context *)read_sysreg(tpidr_el1);
    if (c) {
        write_sysreg(tpidr_el1, 0);
        c->out = *f;
        c->out.sp = read_sysreg(sp_el0);
        c->vector = vector;
        f->x[0] = (uint64_t)c;
        f->elr = (uint64_t)context_leave;
        f->spsr = c->caller_pstate;
        return;
    }
    if (exception_handler) {
        exception_handler(f, vector);
        return;
    }
    print("FAIL ");
    print(test_current());
    print(": unexpected exception, vector ");
    print_dec(vector);
    print(" ESR ");
    print_hex(f->esr);
    print(" ELR ");
    print_hex(f->elr);
    print(" FAR ");
    print_hex(f->far);
    print("\nFAILED\n");
    power_off();
}

/* --- the test loop ---------------------------------------------------------------------------- */

void test_begin(void) { exception_handler = NULL; }

void payload_main(uint64_t device_tree) {
    (void)device_tree;
    run_tests();
}

/* --- power, CPUs, time ------------------------------------------------------------------------ */

int64_t psci(uint32_t function, uint64_t a, uint64_t b, uint64_t c) {
    register uint64_t x0 __asm__("x0") = function;
    register uint64_t x1 __asm__("x1") = a;
    register uint64_t x2 __asm__("x2") = b;
    register uint64_t x3 __asm__("x3") = c;
    __asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
    return (int64_t)x0;
}

#define PSCI_CPU_ON 0xc4000003u
#define STACK_BYTES 16384
#define MAX_CPUS 8
static struct secondary {
    uint64_t stack_top;
    void (*function)(void *);
    void *arg;
} secondaries[MAX_CPUS];
static uint8_t secondary_stacks[MAX_CPUS][STACK_BYTES] __attribute__((aligned(16)));
extern void secondary_start(void);

int64_t cpu_start(unsigned n, void (*function)(void *), void *arg) {
    secondaries[n] = (struct secondary){(uint64_t)(secondary_stacks[n] + STACK_BYTES), function, arg};
    dsb();
    return psci(PSCI_CPU_ON, n, (uint64_t)secondary_start, (uint64_t)&secondaries[n]);
}

void delay_us(unsigned us) {
    uint64_t end = read_sysreg(cntvct_el0) + read_sysreg(cntfrq_el0) * us / 1000000;
    while (read_sysreg(cntvct_el0) < end)
        ;
}

void *memcpy(void *d, const void *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)d)[i] = ((const uint8_t *)s)[i];
    return d;
}

void *memset(void *d, int c, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)d)[i] = (uint8_t)c;
    return d;
}
