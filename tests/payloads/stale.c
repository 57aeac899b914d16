/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* stale.c: what is remembered of pages must not outlive them: writes to code from a page that shares its place in the
 * engine's memory of walks, and mappings whose kind changed while their address space was not current. */
#include "payload.h"

#define VA_DATA 0x10100000000ul /* its low bits are those of the code that writes */
#define VA_TEST 0x18000000000ul
#define BLOCK 0x200000ul
#define BRK_DONE 0xd42eeee0u
#define MOV_W0(n) (0x52800000u | (uint32_t)(n) << 5)
#define RET 0xd65f03c0u

SNIPPET(do_add, "ldxr x2, [x0]\nadd x2, x2, x1\nstxr w3, x2, [x0]\nmov x0, x3\nret");
SNIPPET(do_swap, ".inst 0xf8218000\nret"); /* swp x1, x0, [x0] */
SNIPPET(do_store, "str x1, [x0]\nmov x0, #0\nret");
SNIPPET(do_store_pair, "stp x1, x1, [x0]\nmov x0, #0\nret");

static uint64_t run(const uint32_t *code, uint64_t a, uint64_t b) {
    return ((uint64_t (*)(uint64_t, uint64_t))(uintptr_t)code)(a, b);
}

/* Stores to a page with code, from code at an address with the same bits 19..12. */
static void test_write_beside(void) {
    static const uint32_t *const how[] = {do_add, do_swap, do_store, do_store_pair};
    mmu_on();
    uint32_t *page = page_alloc();
    uint64_t va = VA_DATA | ((uint64_t)do_add & 0xff000);
    mmu_map(mmu_root0(), va, (uint64_t)page, PTE_RW | PTE_PXN | PTE_UXN);
    isb();
    uint32_t before[64];
    const uint32_t *own = (const uint32_t *)((uint64_t)do_add & ~0xffful) + 512;
    for (unsigned i = 0; i < 64; i++)
        before[i] = own[i];
    for (unsigned n = 0; n < 200; n++) {
        page[0] = MOV_W0(n);
        page[1] = RET;
        code_sync(page, 8);
        CHECK_EQ(run(page, 0, 0), n);
        uint64_t *word = (uint64_t *)(page + 512);
        *word = 5; /* from here: drops the code */
        CHECK_EQ(run(page, 0, 0), n);
        unsigned h = n % ARRAY_LEN(how);
        run(how[h], va + 2048, 7);
        CHECK_EQ(*word, how[h] == do_add ? 12 : 7);
    }
    for (unsigned i = 0; i < 64; i++)
        CHECK_EQ(own[i], before[i]);
}

static uint64_t *other_root; /* like root 0, without VA_TEST */

static void use_root(uint64_t *root, uint64_t asid) {
    write_sysreg(ttbr0_el1, (uint64_t)root | asid << 48);
    isb();
}

/* Always the same code, which finds its pages without help, and from the end: filling one could renew the others. */
static __attribute__((noinline)) uint64_t touch(uint64_t va, unsigned pages) {
    uint64_t sum = 0;
    for (unsigned n = 0; n < 200; n++)
        for (unsigned i = pages; i-- > 0;)
            sum += *(volatile uint64_t *)(va + 4096ul * i);
    return sum;
}

static void fill(uint64_t at, uint64_t value) {
    for (unsigned i = 0; i < 512; i++)
        *(volatile uint64_t *)(at + 4096ul * i) = value;
}

/* Pages become a block of the same memory while their space is away; then one TLBI takes the whole block away. */
static void test_pages_to_block(void) {
    mmu_on();
    uint64_t *root = mmu_root0();
    other_root = page_alloc();
    for (unsigned i = 0; i < 512; i++)
        other_root[i] = i == (VA_TEST >> 39 & 511) ? 0 : root[i];
    uint64_t a = 0x44000000, b = 0x44200000;
    fill(a, 1);
    fill(b, 2);
    for (unsigned i = 0; i < 64; i++)
        mmu_map(root, VA_TEST + 4096ul * i, a + 4096ul * i, PTE_RW | PTE_NG);
    use_root(root, 1);
    CHECK_EQ(touch(VA_TEST, 64), 200 * 64);
    use_root(other_root, 2);
    uint64_t *pmd = mmu_entry_at(root, VA_TEST, 2);
    *pmd = 0;
    dsb();
    __asm__ volatile("tlbi aside1is, %0\ndsb ish\nisb" : : "r"(1ul << 48) : "memory");
    mmu_block(root, VA_TEST, a, (PTE_RW | PTE_NG) & ~2ul);
    dsb();
    use_root(root, 1);
    CHECK_EQ(touch(VA_TEST, 64), 200 * 64);
    *pmd = 0;
    dsb();
    __asm__ volatile("tlbi vae1is, %0\ndsb ish\nisb" : : "r"(VA_TEST >> 12 | 1ul << 48) : "memory");
    mmu_block(root, VA_TEST, b, (PTE_RW | PTE_NG) & ~2ul);
    dsb();
    isb();
    CHECK_EQ(touch(VA_TEST, 64), 200 * 128);
    use_root(root, 0);
}

/* The same for pages that become global. */
static void test_becomes_global(void) {
    uint64_t *root = mmu_root0(), va = VA_TEST + 0x40000000ul, a = 0x44000000, b = 0x44200000;
    for (unsigned i = 0; i < 64; i++)
        mmu_map(root, va + 4096ul * i, a + 4096ul * i, PTE_RW | PTE_NG);
    use_root(root, 1);
    CHECK_EQ(touch(va, 64), 200 * 64);
    use_root(other_root, 2);
    for (unsigned i = 0; i < 64; i++)
        *mmu_entry(root, va + 4096ul * i) = 0;
    dsb();
    __asm__ volatile("tlbi aside1is, %0\ndsb ish\nisb" : : "r"(1ul << 48) : "memory");
    for (unsigned i = 0; i < 64; i++)
        mmu_map(root, va + 4096ul * i, a + 4096ul * i, PTE_RW);
    dsb();
    use_root(root, 1);
    CHECK_EQ(touch(va, 64), 200 * 64);
    /* From another space that has the same tables under another ASID, and never touched the pages. */
    for (unsigned i = 0; i < 64; i++) {
        *mmu_entry(root, va + 4096ul * i) = 0;
        dsb();
        __asm__ volatile("tlbi vae1is, %0\ndsb ish\nisb" : : "r"((va + 4096ul * i) >> 12 | 9ul << 48) : "memory");
        mmu_map(root, va + 4096ul * i, b + 4096ul * i, PTE_RW);
    }
    dsb();
    isb();
    CHECK_EQ(touch(va, 64), 200 * 128);
    use_root(root, 0);
}

TESTS({"write_beside", test_write_beside}, {"pages_to_block", test_pages_to_block},
      {"becomes_global", test_becomes_global});
