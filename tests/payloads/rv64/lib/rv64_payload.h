/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * rv64_payload.h: what bare-metal test guests share on RISC-V. They run in S-mode on an SBI firmware: ours, or OpenSBI
 * under qemu-system-riscv64 -M virt, so a wrong expectation shows.
 */
#ifndef RV64_PAYLOAD_H
#define RV64_PAYLOAD_H

#include "tests.h"

#define csr_read(r)                                                                                                    \
    ({                                                                                                                 \
        uint64_t v_;                                                                                                   \
        __asm__ volatile("csrr %0, " #r : "=r"(v_) : : "memory");                                                      \
        v_;                                                                                                            \
    })
#define csr_write(r, v) __asm__ volatile("csrw " #r ", %0" : : "r"((uint64_t)(v)) : "memory")
#define csr_set(r, v) __asm__ volatile("csrs " #r ", %0" : : "r"((uint64_t)(v)) : "memory")
#define csr_clear(r, v) __asm__ volatile("csrc " #r ", %0" : : "r"((uint64_t)(v)) : "memory")
#define STIMECMP 0x14d

#define SIE (1ul << 1)
#define SPIE (1ul << 5)
#define SPP (1ul << 8)
#define FS (3ul << 13)
#define SUM (1ul << 18)
#define MXR (1ul << 19)
#define INTERRUPT (1ul << 63)

enum {
    CAUSE_INSN_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_ECALL_U = 8,
    CAUSE_INSN_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15
};

/* The last trap, and how many there were. One in S-mode skips the instruction, or goes on at resume if that is not 0;
 * an interrupt is disabled in sie. */
struct trap {
    uint64_t cause, tval, epc, status, count;
};
extern volatile struct trap trap;
extern volatile uint64_t resume;
/* EXPECT(): the statement raises that exception, once. */
#define EXPECT(statement, cause_, tval_)                                                                               \
    do {                                                                                                               \
        uint64_t count_ = trap.count;                                                                                  \
        statement;                                                                                                     \
        CHECK_EQ(trap.count, count_ + 1);                                                                              \
        CHECK_EQ(trap.cause, cause_);                                                                                  \
        CHECK_EQ(trap.tval, tval_);                                                                                    \
    } while (0)
/* enter_user(): runs code with less privilege, which ends with its first trap; its a0. lower_mode: the bits of
 * mstatus.MPP for another mode than user mode, in payloads that are in M-mode themselves. */
extern volatile uint64_t lower_mode;
uint64_t enter_user(const void *pc, uint64_t sp, uint64_t a0, uint64_t a1);

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

struct sbi {
    int64_t error;
    uint64_t value;
};
struct sbi sbi_call(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
                    uint64_t a4);
/* on_opensbi(): then this is QEMU, which is not right in everything. */
static inline bool on_opensbi(void) { return sbi_call(0x10, 1, 0, 0, 0, 0, 0).value == 1; }
#define SBI_TIME 0x54494d45
#define SBI_IPI 0x735049
#define SBI_RFENCE 0x52464e43
#define SBI_HSM 0x48534d
#define SBI_SRST 0x53525354
#define SBI_DBCN 0x4442434e

/* Page tables: 4 KiB pages by address; pte: bits of the entry below the address. */
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
#define PTE_RWX (PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D)
/* paging_on(): Sv39, Sv48 or Sv57 (levels 3, 4, 5) with RAM and devices where they are, in large pages. map_page(): one
 * page at va, which lies outside of these; returns the entry. */
bool paging_on(unsigned levels);
void paging_off(void);
volatile uint64_t *map_page(uint64_t va, uint64_t pa, uint64_t pte);
static inline void sfence(void) { __asm__ volatile("sfence.vma" : : : "memory"); }
static inline void sfence_va(uint64_t va) { __asm__ volatile("sfence.vma %0, zero" : : "r"(va) : "memory"); }
void *page_alloc(void); /* zeroed */

/* start_hart(): it runs fn(arg) on a stack of its own, and stops when that returns. */
struct start {
    void (*fn)(void *arg);
    void *arg;
    uint64_t stack;
};
bool start_hart(unsigned hart, struct start *s, void (*fn)(void *arg), void *arg);

#endif
