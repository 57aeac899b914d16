/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * payload.h: what bare-metal test guests share. A payload is one C file with a
 * list of tests; it prints `PASS name` or `FAIL name: where, what` for each, then
 * `ALL PASS` or `FAILED n`, and powers off. The same binary runs under
 * qemu-system-aarch64 -M virt, so a wrong expectation shows.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define UART_BASE 0x09000000ul
#define RAM_BASE 0x40000000ul

#define read_sysreg(r) ({ uint64_t v_; __asm__ volatile("mrs %0, " #r : "=r"(v_) : : "memory"); v_; })
#define write_sysreg(r, v) __asm__ volatile("msr " #r ", %0" : : "r"((uint64_t)(v)) : "memory")
#define isb() __asm__ volatile("isb" : : : "memory")
#define dsb() __asm__ volatile("dsb sy" : : : "memory")

static inline uint32_t mmio_read32(uint64_t a) { return *(volatile uint32_t *)a; }
static inline void mmio_write32(uint64_t a, uint32_t v) { *(volatile uint32_t *)a = v; }

/* --- tests ------------------------------------------------------------------------------------------ */
struct test {
    const char *name;
    void (*run)(void);
};
extern const struct test tests[];
extern const unsigned test_count;
#define TESTS(...)                                \
    const struct test tests[] = {__VA_ARGS__};    \
    const unsigned test_count = ARRAY_LEN(tests)

void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want);
#define CHECK(c) do { if (!(c)) test_fail(__FILE__, __LINE__, #c, 0, 1); } while (0)
#define CHECK_EQ(got, want)                                                    \
    do {                                                                       \
        uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);             \
        if (got_ != want_)                                                     \
            test_fail(__FILE__, __LINE__, #got " == " #want, got_, want_);     \
    } while (0)

/* --- output ------------------------------------------------------------------------------------------ */
void print(const char *s);
void print_hex(uint64_t v);
void print_dec(uint64_t v);

/* --- exceptions --------------------------------------------------------------------------------------- */
struct frame {
    uint64_t x[31], sp, elr, spsr, esr, far;
};
enum vector { VEC_SYNC_SP0 = 0, VEC_SYNC = 4, VEC_IRQ = 5, VEC_FIQ = 6, VEC_SERROR = 7, VEC_SYNC_LOWER = 8, VEC_IRQ_LOWER = 9 };
/* Called for every exception while not NULL; an exception without a handler fails the payload. The handler edits the
 * frame (elr, registers) and returns. */
extern void (*volatile exception_handler)(struct frame *f, unsigned vector);
/* A ready-made handler: counts, keeps the last frame and skips the instruction (elr += 4; SVC and HVC return as they are). */
extern volatile unsigned caught;
extern struct frame caught_frame;
extern volatile unsigned caught_vector;
void catch_and_skip(struct frame *f, unsigned vector);
#define EC(esr) ((unsigned)((esr) >> 26 & 63))
#define ISS(esr) ((uint32_t)((esr) & 0x1ffffff))

/* --- MMU (lib/mmu.c): 4 KiB granule, 48-bit, identity-mapped at start ----------------------------------- */
#define PTE_VALID 1ul
#define PTE_PAGE 3ul
#define PTE_ATTR_NORMAL (0ul << 2)
#define PTE_ATTR_DEVICE (1ul << 2)
#define PTE_AP_EL0 (1ul << 6)
#define PTE_AP_RO (1ul << 7)
#define PTE_SH (3ul << 8)
#define PTE_AF (1ul << 10)
#define PTE_NG (1ul << 11)
#define PTE_PXN (1ul << 53)
#define PTE_UXN (1ul << 54)
#define PTE_RW (PTE_PAGE | PTE_ATTR_NORMAL | PTE_SH | PTE_AF)
/* mmu_on(): TTBR0 maps RAM (2 MiB blocks, EL1 read/write/execute) and devices; TTBR1 starts empty. MAIR 0 = normal, 1 = device. */
void mmu_on(void);
void mmu_off(void);
/* mmu_new_root(): an empty level 0 table. mmu_map(): a 4 KiB page; attrs = PTE_*. mmu_block(): a 2 MiB block. mmu_entry():
 * the level 3 (or block) entry of va, NULL if there is no table. No TLB maintenance is done here. */
uint64_t *mmu_new_root(void);
void mmu_map(uint64_t *root, uint64_t va, uint64_t pa, uint64_t attrs);
void mmu_block(uint64_t *root, uint64_t va, uint64_t pa, uint64_t attrs);
uint64_t *mmu_entry(uint64_t *root, uint64_t va);
uint64_t *mmu_root0(void); /* what mmu_on() put into TTBR0 */
uint64_t *mmu_root1(void);
void *page_alloc(void); /* 4 KiB, zeroed */
#define tlbi_all() do { dsb(); __asm__ volatile("tlbi vmalle1is" : : : "memory"); dsb(); isb(); } while (0)
#define tlbi_va(va) do { dsb(); __asm__ volatile("tlbi vaae1is, %0" : : "r"(((uint64_t)(va)) >> 12 & 0xfffffffffffull) : "memory"); dsb(); isb(); } while (0)

/* --- power, CPUs, time ------------------------------------------------------------------------------------ */
int64_t psci(uint32_t function, uint64_t a, uint64_t b, uint64_t c);
void power_off(void) __attribute__((noreturn));
/* cpu_start(): CPU n runs function(arg) on its own stack and then powers off. Returns PSCI's status. */
int64_t cpu_start(unsigned n, void (*function)(void *), void *arg);
void delay_us(unsigned us);
void *memcpy(void *, const void *, size_t);
void *memset(void *, int, size_t);

#endif
