/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * payload.h: what bare-metal test guests share on AArch64; tests.h is what they share on all guests. The same binary
 * runs under qemu-system-aarch64 -M virt, so a wrong expectation shows.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "tests.h"

#define UART_BASE 0x09000000ul
#define RAM_BASE 0x40000000ul

#define read_sysreg(r)                                                                                                 \
    ({                                                                                                                 \
        uint64_t v_;                                                                                                   \
        __asm__ volatile("mrs %0, " #r : "=r"(v_) : : "memory");                                                       \
        v_;                                                                                                            \
    })
#define write_sysreg(r, v) __asm__ volatile("msr " #r ", %0" : : "r"((uint64_t)(v)) : "memory")
#define isb() __asm__ volatile("isb" : : : "memory")
#define dsb() __asm__ volatile("dsb sy" : : : "memory")

static inline uint32_t mmio_read32(uint64_t a) { return *(volatile uint32_t *)a; }
static inline void mmio_write32(uint64_t a, uint32_t v) { *(volatile uint32_t *)a = v; }

/* --- exceptions ------------------------------------------------------------------------------- */
struct frame {
    uint64_t x[31], sp, elr, spsr, esr, far;
};
enum vector {
    VEC_SYNC_SP0 = 0,
    VEC_SYNC = 4,
    VEC_IRQ = 5,
    VEC_FIQ = 6,
    VEC_SERROR = 7,
    VEC_SYNC_LOWER = 8,
    VEC_IRQ_LOWER = 9
};
/* Called for every exception while not NULL; an exception without a handler fails the payload. The handler edits the
 * frame (elr, registers) and returns. */
extern void (*volatile exception_handler)(struct frame *f, unsigned vector);
/* A ready-made handler: counts, keeps the last frame and skips the instruction (elr += 4; SVC and HVC return as they
 * are). */
extern volatile unsigned caught;
extern struct frame caught_frame;
extern volatile unsigned caught_vector;
void catch_and_skip(struct frame *f, unsigned vector);
#define EC(esr) ((unsigned)((esr) >> 26 & 63))
#define ISS(esr) ((uint32_t)((esr) & 0x1ffffff))

/* --- contexts (lib/context.S): run code at EL0 or EL1 with every register given, up to its first exception  */
struct context {
    /* sp is SP_EL0; elr the pc; spsr the PSTATE to enter with (EL0t or EL1t: the vectors need SP_EL1) */
    struct frame in;
    struct frame out; /* as the exception found it; sp is SP_EL0 */
    unsigned vector;
    uint64_t caller_pstate, caller_sp;
};
#define PSTATE_EL0 0x3c0u  /* EL0t, DAIF masked */
#define PSTATE_EL1T 0x3c4u /* EL1 with SP_EL0 */
#define PSTATE_EL1H 0x3c5u
#define PSTATE_PAN (1u << 22)
#define PSTATE_IL (1u << 20)
#define PSTATE_SS (1u << 21)
/* context_init(): a recognisable value in every register, SP to a stack of its own. context_run(): enters, and
 * returns after the first exception. context_check(): x0-x30 and SP came out as they went in, except those in the
 * mask (bit 31 = SP). */
void context_init(struct context *c, uint32_t pstate, uint64_t pc);
void context_run(struct context *c);
#define VEC_OF(pstate) (((pstate) & 12) == 0 ? VEC_SYNC_LOWER : (pstate) & 1 ? VEC_SYNC : VEC_SYNC_SP0)
#define context_check(c, except) context_check_at(__FILE__, __LINE__, c, except)
void context_check_at(const char *file, int line, const struct context *c, uint32_t except);
/* run_code(): both; x0-x3 given. */
void run_code(struct context *c, uint32_t pstate, const void *pc, uint64_t x0, uint64_t x1, uint64_t x2, uint64_t x3);
/* context_expect(): the exception was this one. PSTATE bits that only QEMU's max has (BTYPE, SSBS, ALLINT, UAO, DIT,
 * TCO) do not count. */
#define SPSR_IGNORED 0x03803c00u
#define context_expect(c, vector, esr, elr, spsr) context_expect_at(__FILE__, __LINE__, c, vector, esr, elr, spsr)
void context_expect_at(const char *file, int line, const struct context *c, unsigned vector, uint64_t esr, uint64_t elr,
                       uint64_t spsr);
/* on_qemu(): for the few places where QEMU departs from the Arm ARM. */
bool on_qemu(void);
/* SNIPPET(): position-independent code in a page of its own section, ending in BRK #0x7777 (CODE_DONE). It may be run
 * through any mapping. */
#define CODE_DONE 0xf2007777u
#define SNIPPET(name, ...)                                                                                             \
    __asm__(".pushsection .text.snippets, \"ax\"\n.balign 16\n" #name ":\n" __VA_ARGS__ "\nbrk #0x7777\n.popsection"); \
    extern const uint32_t name[]
/* code_write(): instruction words at p, clean to the point of unification. */
void code_sync(const void *p, size_t bytes);

/* --- MMU (lib/mmu.c): 4 KiB granule, 48-bit, identity-mapped at start ------------------------- */
#define PTE_VALID 1ul
#define PTE_PAGE 3ul
#define PTE_ATTR_NORMAL (0ul << 2)
#define PTE_ATTR_DEVICE (1ul << 2)
#define PTE_AP_EL0 (1ul << 6)
#define PTE_AP_RO (1ul << 7)
#define PTE_SH (3ul << 8)
#define PTE_AF (1ul << 10)
#define PTE_NG (1ul << 11)
#define PTE_CONT (1ul << 52)
#define PTE_PXN (1ul << 53)
#define PTE_UXN (1ul << 54)
#define PTE_RW (PTE_PAGE | PTE_ATTR_NORMAL | PTE_SH | PTE_AF)
#define TCR_ON                                                                                                         \
    (16ul | 16ul << 16 | 2ul << 30 | 5ul << 32 | 1ul << 36 | 0x3500ul | 0x35000000ul) /* 48 bits, 16-bit ASID */
/* mmu_on(): TTBR0 maps RAM (EL1 read/write/execute, the payload's own code read-only) and devices; TTBR1 starts
 * empty. MAIR 0 = normal, 1 = device. */
void mmu_on(void);
void mmu_off(void);
/* mmu_new_root(): an empty level 0 table. mmu_map(): a 4 KiB page; attrs = PTE_*. mmu_block(): a 2 MiB block.
 * mmu_entry(): the level 3 (or block) entry of va, NULL if there is no table. No TLB maintenance is done here. */
uint64_t *mmu_new_root(void);
void mmu_map(uint64_t *root, uint64_t va, uint64_t pa, uint64_t attrs);
void mmu_block(uint64_t *root, uint64_t va, uint64_t pa, uint64_t attrs);
uint64_t *mmu_entry(uint64_t *root, uint64_t va);
/* mmu_entry_at(): the entry at that level. */
uint64_t *mmu_entry_at(uint64_t *root, uint64_t va, unsigned level);
uint64_t *mmu_root0(void); /* what mmu_on() put into TTBR0 */
uint64_t *mmu_root1(void);
void *page_alloc(void); /* 4 KiB, zeroed */
/* mmu_user_alias(): maps RAM a second time at USER_BASE + pa, for EL0 (read, write, execute). USER(p): p there. */
#define USER_BASE 0x8000000000ul
#define USER(p) ((void *)((uint64_t)(p) + USER_BASE))
void mmu_user_alias(void);
#define SCTLR_OFF 0x30d00800ul
#define SCTLR_ON (SCTLR_OFF | 1 | 1 << 2 | 1 << 12)
/* SLEEP_WHILE(): WFI until an interrupt handler has made the condition false. Checked with IRQs masked, so none is
 * missed. */
#define SLEEP_WHILE(cond)                                                                                              \
    do {                                                                                                               \
        __asm__ volatile("msr daifset, #2" : : : "memory");                                                            \
        while (cond)                                                                                                   \
            __asm__ volatile("wfi\nmsr daifclr, #2\nisb\nmsr daifset, #2" : : : "memory");                             \
        __asm__ volatile("msr daifclr, #2" : : : "memory");                                                            \
    } while (0)
#define tlbi_all()                                                                                                     \
    do {                                                                                                               \
        dsb();                                                                                                         \
        __asm__ volatile("tlbi vmalle1is" : : : "memory");                                                             \
        dsb();                                                                                                         \
        isb();                                                                                                         \
    } while (0)
#define tlbi_va(va)                                                                                                    \
    do {                                                                                                               \
        dsb();                                                                                                         \
        __asm__ volatile("tlbi vaae1is, %0" : : "r"(((uint64_t)(va)) >> 12 & 0xfffffffffffull) : "memory");            \
        dsb();                                                                                                         \
        isb();                                                                                                         \
    } while (0)

/* --- power, CPUs, time ------------------------------------------------------------------------ */
int64_t psci(uint32_t function, uint64_t a, uint64_t b, uint64_t c);
void power_off(void) __attribute__((noreturn));
/* cpu_start(): CPU n runs function(arg) on its own stack and then powers off. Returns PSCI's status. */
int64_t cpu_start(unsigned n, void (*function)(void *), void *arg);
void delay_us(unsigned us);
void *memcpy(void *, const void *, size_t);
void *memset(void *, int, size_t);

#endif
