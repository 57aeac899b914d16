/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* rv64_lib.c: console, traps, page tables and harts for payloads. */
#include "rv64_payload.h"

struct sbi sbi_call(uint64_t extension, uint64_t function, uint64_t a0_, uint64_t a1_, uint64_t a2_, uint64_t a3_,
                    uint64_t a4_) {
    register uint64_t a0 __asm__("a0") = a0_, a1 __asm__("a1") = a1_, a2 __asm__("a2") = a2_, a3 __asm__("a3") = a3_;
    register uint64_t a4 __asm__("a4") = a4_, a6 __asm__("a6") = function, a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
    return (struct sbi){(int64_t)a0, a1};
}

#ifdef MACHINE /* there is no firmware: this is it */
#define CSR(name) m##name
void print_char(char c) { *(volatile uint8_t *)0x10000000 = (uint8_t)c; }
static void power_off(void) { *(volatile uint32_t *)0x100000 = 0x5555; }
#else
#define CSR(name) s##name
void print_char(char c) { sbi_call(SBI_DBCN, 2, (uint8_t)c, 0, 0, 0, 0); }
static void power_off(void) { sbi_call(SBI_SRST, 0, 0, 0, 0, 0, 0); }
#endif

void *memset(void *p, int c, size_t n) {
    for (volatile char *q = p; n--;)
        *q++ = (char)c;
    return p;
}

void *memcpy(void *to, const void *from, size_t n) {
    volatile char *t = to;
    for (const volatile char *f = from; n--;)
        *t++ = *f++;
    return to;
}

/* --- traps ------------------------------------------------------------------------------------ */
volatile struct trap trap;
volatile uint64_t resume;
volatile uint64_t lower_mode;
/* The name of a register is replaced before it becomes text. */
#define read_own(name) csr_read_(name)
#define csr_read_(name) csr_read(name)
#define write_own(name, v) csr_write_(name, v)
#define csr_write_(name, v) csr_write(name, v)
#define clear_own(name, v) csr_clear_(name, v)
#define csr_clear_(name, v) csr_clear(name, v)

static void note_trap(void) {
    trap.cause = read_own(CSR(cause));
    trap.tval = read_own(CSR(tval));
    trap.epc = read_own(CSR(epc));
    trap.status = read_own(CSR(status));
    trap.count++;
}

void trapped(void) {
    note_trap();
    if (trap.cause & INTERRUPT) {
        clear_own(CSR(ie), 1ul << (trap.cause & 63));
        return;
    }
    uint64_t to = resume;
    resume = 0;
    write_own(CSR(epc), to ? to : trap.epc + ((*(const uint16_t *)trap.epc & 3) == 3 ? 4 : 2));
}

uint64_t user_trapped(uint64_t a0) {
    note_trap();
    return a0;
}

void test_begin(void) {
    write_own(CSR(ie), 0);
    clear_own(CSR(status), SIE | SUM | MXR);
    resume = 0;
}

/* --- page tables ------------------------------------------------------------------------------ */
extern char payload_end[];
static uint64_t next_page;
static uint64_t *root;
static unsigned root_levels;

void *page_alloc(void) {
    if (!next_page)
        next_page = (uint64_t)payload_end;
    uint64_t *p = (uint64_t *)next_page;
    next_page += 4096;
    for (unsigned i = 0; i < 512; i++)
        p[i] = 0;
    return p;
}

static volatile uint64_t *entry_at(uint64_t va, unsigned level) {
    uint64_t *table = root;
    for (unsigned l = root_levels - 1; l > level; l--) {
        uint64_t *e = &table[va >> (12 + 9 * l) & 511];
        if (!*e)
            *e = (uint64_t)page_alloc() >> 12 << 10 | PTE_V;
        table = (uint64_t *)(*e >> 10 << 12);
    }
    return &table[va >> (12 + 9 * level) & 511];
}

volatile uint64_t *map_page(uint64_t va, uint64_t pa, uint64_t pte) {
    volatile uint64_t *e = entry_at(va, 0);
    *e = pa >> 12 << 10 | pte;
    sfence_va(va);
    return e;
}

bool paging_on(unsigned levels) {
    root = page_alloc();
    root_levels = levels;
    for (uint64_t gib = 0; gib < 4; gib++)
        *entry_at(gib << 30, 2) = gib << 28 | PTE_RWX | PTE_G;
    uint64_t satp = (uint64_t)(levels + 5) << 60 | 1ul << 44 | (uint64_t)root >> 12;
    csr_write(satp, satp);
    sfence();
    return csr_read(satp) == satp;
}

void paging_off(void) {
    csr_write(satp, 0);
    sfence();
}

/* --- harts ------------------------------------------------------------------------------------ */
extern void hart_start(void);

bool start_hart(unsigned hart, struct start *s, void (*fn)(void *arg), void *arg) {
    *s = (struct start){fn, arg, (uint64_t)page_alloc() + 4096};
    return sbi_call(SBI_HSM, 0, hart, (uint64_t)hart_start, (uint64_t)s, 0, 0).error == 0;
}

void payload_main(void) {
    run_tests();
    power_off();
}
