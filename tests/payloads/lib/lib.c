/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* lib.c: printing, the test loop, exceptions, PSCI and strings for payloads. */
#include "payload.h"

static unsigned failures;
static const char *current = "start";

void print(const char *s) {
    for (; *s; s++)
        mmio_write32(UART_BASE, (uint8_t)*s);
}

void print_hex(uint64_t v) {
    print("0x");
    for (int shift = 60; shift >= 0; shift -= 4)
        mmio_write32(UART_BASE, (uint32_t)"0123456789abcdef"[v >> shift & 15]);
}

void print_dec(uint64_t v) {
    char buf[21], *p = buf + 20;
    *p = 0;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    print(p);
}

void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want) {
    failures++;
    print("FAIL ");
    print(current);
    print(": ");
    print(file);
    print(":");
    print_dec((uint64_t)line);
    print(": ");
    print(what);
    print(" got ");
    print_hex(got);
    print(" want ");
    print_hex(want);
    print("\n");
}

/* --- exceptions ----------------------------------------------------------------------------------- */

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

void exception(struct frame *f, unsigned vector) {
    if (exception_handler) {
        exception_handler(f, vector);
        return;
    }
    print("FAIL ");
    print(current);
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

/* --- the test loop ------------------------------------------------------------------------------------ */

void payload_main(uint64_t device_tree) {
    (void)device_tree;
    unsigned failed = 0;
    for (unsigned i = 0; i < test_count; i++) {
        current = tests[i].name;
        failures = 0;
        tests[i].run();
        exception_handler = NULL;
        failed += failures != 0;
        if (!failures) {
            print("PASS ");
            print(current);
            print("\n");
        }
    }
    if (failed) {
        print("FAILED ");
        print_dec(failed);
        print("\n");
    } else {
        print("ALL PASS\n");
    }
}

/* --- power, CPUs, time ---------------------------------------------------------------------------------- */

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
