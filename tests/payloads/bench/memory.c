/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* memory.c: accesses that hit and miss the TLB, unprivileged and device accesses, TLB maintenance, address spaces. */
#include "micro.h"

enum { PAGES = 8192, SPACES = 8 };
#define UART_FR (UART_BASE + 0x18)
#define USER_RW (PTE_RW | PTE_AP_EL0 | PTE_PXN | PTE_UXN)

static uint64_t *roots[SPACES];

static uint64_t load(uint64_t a) { return *(volatile uint64_t *)a; }
static void store(uint64_t a, uint64_t v) { *(volatile uint64_t *)a = v; }

static void on(void) {
    mmu_on();
    for (uint64_t i = 0; i < PAGES; i++) {
        store(SCRATCH + i * 4096, i);
        mmu_map(mmu_root0(), MICRO_VA + i * 4096, SCRATCH + i * 4096, USER_RW | PTE_NG);
    }
    for (unsigned s = 0; s < SPACES; s++) {
        roots[s] = mmu_new_root();
        memcpy(roots[s], mmu_root0(), 4096);
    }
    tlbi_all();
    micro_begin();
}

static void hot(void) {
    uint64_t sum = 0;
    micro_begin();
    for (unsigned i = 0; i < 8000000; i++) {
        sum += load(MICRO_VA + 16) + load(MICRO_VA + 80);
        store(MICRO_VA + 8, sum);
        store(MICRO_VA + 80, i);
    }
    micro_end("memory-hot", sum);
}

static void cold(void) {
    uint64_t sum = 0, at = 0;
    micro_begin();
    for (unsigned i = 0; i < 1000000; i++, at = (at * 5 + 1237) & (PAGES - 1))
        sum += load(MICRO_VA + at * 4096 + (at * 64 & 0xfc0));
    micro_end("memory-cold", sum);
}

static void unprivileged(void) {
    uint64_t sum = 0, v;
    micro_begin();
    for (unsigned i = 0; i < 8000000; i++) {
        __asm__ volatile("ldtr %0, [%1]\nsttr %0, [%1, #16]" : "=&r"(v) : "r"(MICRO_VA + 4096) : "memory");
        sum += v;
    }
    micro_end("memory-unprivileged", sum);
}

static void atomics(void) {
    uint64_t sum = 0, v;
    micro_begin();
    for (unsigned i = 0; i < 8000000; i++) {
        __asm__ volatile("1: ldxr %0, [%1]\nadd %0, %0, #1\nstxr w9, %0, [%1]\ncbnz w9, 1b"
                         : "=&r"(v)
                         : "r"(MICRO_VA + 8192 + 16)
                         : "x9", "memory");
        sum += v;
    }
    micro_end("memory-exclusive", sum);
}

static void device(void) {
    uint64_t sum = 0;
    micro_begin();
    for (unsigned i = 0; i < 500000; i++)
        sum += mmio_read32(UART_FR) & 0x20;
    micro_end("device-read", sum);
}

static void flush_page(void) {
    uint64_t sum = 0;
    micro_begin();
    for (unsigned i = 0; i < 100000; i++) {
        tlbi_va(MICRO_VA + (uint64_t)(i % 16) * 4096);
        sum += load(MICRO_VA + (uint64_t)(i % 16) * 4096);
    }
    micro_end("tlb-flush-page", sum);
}

static void flush_all(void) {
    uint64_t sum = 0;
    micro_begin();
    for (unsigned i = 0; i < 5000; i++) {
        tlbi_all();
        for (unsigned p = 0; p < 8; p++)
            sum += load(MICRO_VA + p * 4096);
    }
    micro_end("tlb-flush-all", sum);
}

/* A page moves: the entry is cleared, flushed, written anew, and used. */
static void remap(void) {
    uint64_t sum = 0, *entry = mmu_entry(mmu_root0(), MICRO_VA);
    micro_begin();
    for (uint64_t i = 0; i < 50000; i++) {
        *entry = 0;
        tlbi_va(MICRO_VA);
        *entry = (SCRATCH + i % 64 * 4096) | USER_RW | PTE_NG;
        dsb();
        isb();
        sum += load(MICRO_VA);
    }
    *entry = SCRATCH | USER_RW | PTE_NG;
    tlbi_va(MICRO_VA);
    micro_end("tlb-remap", sum);
}

/* switches(): round all address spaces, each with an ASID of its own, some pages used in each. */
static void switches(const char *name, unsigned pages, unsigned count) {
    uint64_t sum = 0;
    micro_begin();
    for (unsigned i = 0; i < count; i++) {
        uint64_t s = i % SPACES;
        write_sysreg(ttbr0_el1, (uint64_t)roots[s] | (s + 1) << 48);
        isb();
        for (unsigned p = 0; p < pages; p++)
            sum += load(MICRO_VA + 4096 * (16 + p));
    }
    micro_end(name, sum);
    write_sysreg(ttbr0_el1, mmu_root0());
    isb();
}

static void switch_1(void) { switches("asid-switch-1", 1, 200000); }
static void switch_64(void) { switches("asid-switch-64", 64, 30000); }

static void system_registers(void) {
    uint64_t sum = 0;
    micro_begin();
    for (uint64_t i = 0; i < 4000000; i++) {
        write_sysreg(tpidr_el0, i);
        write_sysreg(contextidr_el1, i & 0xff);
        sum += read_sysreg(tpidr_el0) + read_sysreg(contextidr_el1);
        __asm__ volatile("msr daifset, #2\nmrs x9, daif\nmsr daif, x9" : : : "x9", "memory");
    }
    micro_end("system-registers", sum);
}

TESTS({"on", on}, {"hot", hot}, {"cold", cold}, {"unprivileged", unprivileged}, {"atomics", atomics},
      {"device", device}, {"flush-page", flush_page}, {"flush-all", flush_all}, {"remap", remap},
      {"switch-1", switch_1}, {"switch-64", switch_64}, {"system-registers", system_registers});
