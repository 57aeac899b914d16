/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* paging.c: Sv39, Sv48 and Sv57: permissions, A and D, reserved entries, Svnapot, Svpbmt, invalidation, ASIDs, and code
 * across pages and at several addresses. */
#include "rv64_payload.h"

#define VA 0x1000000000ul /* above what paging_on() maps */

static uint64_t load_fault(uint64_t va) {
    uint64_t count = trap.count;
    (void)*(volatile uint64_t *)va;
    return trap.count == count ? 0 : trap.cause;
}
static uint64_t store_fault(uint64_t va) {
    uint64_t count = trap.count;
    *(volatile uint64_t *)va = 1;
    return trap.count == count ? 0 : trap.cause;
}
/* The page holds a RET. */
static uint64_t fetch_fault(uint64_t va) {
    uint64_t count = trap.count;
    __asm__ volatile("la t0, 1f\n la t1, resume\n sd t0, 0(t1)\n jalr %0\n1:" : : "r"(va) : "t0", "t1", "ra", "memory");
    resume = 0;
    return trap.count == count ? 0 : trap.cause;
}

/* For each set of permissions, in each state of SUM and MXR, what S-mode may do. */
static void permissions(void) {
    uint32_t *page = page_alloc();
    page[0] = 0x8082; /* ret */
    for (unsigned pte = 0; pte < 64; pte++) {
        uint64_t bits =
            PTE_V | (pte & 7) << 1 | (pte & 8 ? PTE_U : 0) | (pte & 16 ? PTE_A : 0) | (pte & 32 ? PTE_D : 0);
        bool r = bits & PTE_R, w = bits & PTE_W, x = bits & PTE_X, u = bits & PTE_U, a = bits & PTE_A, d = bits & PTE_D;
        bool leaf = (r || x) && !(w && !r);
        for (unsigned state = 0; state < 4; state++) {
            csr_clear(sstatus, SUM | MXR);
            csr_set(sstatus, (state & 1 ? SUM : 0) | (state & 2 ? MXR : 0));
            map_page(VA, (uint64_t)page, bits);
            bool data = leaf && a && (!u || state & 1);
            CHECK_EQ(load_fault(VA + 8), data && (r || (x && state & 2)) ? 0 : CAUSE_LOAD_PAGE);
            CHECK_EQ(store_fault(VA + 16), data && w && d ? 0 : CAUSE_STORE_PAGE);
            CHECK_EQ(fetch_fault(VA), leaf && a && x && !u ? 0 : CAUSE_INSN_PAGE);
            uint64_t v, count = trap.count;
            __asm__ volatile("amoor.d %0, zero, (%1)" : "=r"(v) : "r"(VA + 24) : "memory");
            CHECK_EQ(trap.count == count ? 0 : trap.cause, data && w && d ? 0 : CAUSE_STORE_PAGE);
        }
    }
    csr_clear(sstatus, SUM | MXR);
}

static void reserved(void) {
    uint64_t page = (uint64_t)page_alloc();
    volatile uint64_t *e = map_page(VA, page, PTE_RWX);
    CHECK_EQ(load_fault(VA), 0);
    *e |= 1ul << 54;
    sfence();
    CHECK_EQ(load_fault(VA), CAUSE_LOAD_PAGE);
    CHECK_EQ(trap.tval, VA);
    map_page(VA, page, PTE_RWX);
    CHECK_EQ(load_fault(VA), 0);
    CHECK_EQ(load_fault(VA | 1ul << 63), CAUSE_LOAD_PAGE); /* not canonical */
    CHECK_EQ(trap.tval, VA | 1ul << 63);
    CHECK_EQ(load_fault(~0xffful), CAUSE_LOAD_PAGE); /* canonical, not mapped */
}

#define PTE_PBMT(type) ((uint64_t)(type) << 61)
#define PTE_N (1ul << 63)
#define NAPOT_BYTES 0x10000ul

/* 64 KiB in sixteen entries that are alike; another number in the lower bits of theirs is reserved. */
static void napot(void) {
    uint64_t first = (uint64_t)page_alloc();
    for (unsigned i = 1; i < 32; i++)
        page_alloc();
    uint64_t base = (first + NAPOT_BYTES - 1) & ~(NAPOT_BYTES - 1);
    for (unsigned i = 0; i < 16; i++) {
        *(volatile uint64_t *)(base + 4096 * i) = 100 + i;
        map_page(VA + 4096 * i, base + NAPOT_BYTES / 2, PTE_RWX | PTE_N);
    }
    for (unsigned round = 0; round < 100; round++)
        for (unsigned i = 0; i < 16; i++)
            CHECK_EQ((*(volatile uint64_t *)(VA + 4096 * (i * 5 % 16)))++, 100 + i * 5 % 16 + round);
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(*(volatile uint64_t *)(base + 4096 * i), 200 + i);
    for (uint64_t low = 0; low < 16; low++) {
        map_page(VA, base + 4096 * low, PTE_RWX | PTE_N);
        CHECK_EQ(load_fault(VA), low == 8 ? 0 : CAUSE_LOAD_PAGE);
        CHECK_EQ(store_fault(VA + 8), low == 8 ? 0 : CAUSE_STORE_PAGE);
    }
    for (unsigned i = 0; i < 16; i++)
        map_page(VA + 4096 * i, 0, 0);
}

/* Memory types: one is reserved, the others are memory all the same. */
static void memory_types(void) {
    uint64_t page = (uint64_t)page_alloc();
    for (unsigned type = 0; type < 4 - on_opensbi(); type++) { /* QEMU takes the reserved one, too */
        map_page(VA, page, PTE_RWX | PTE_PBMT(type));
        CHECK_EQ(load_fault(VA), type == 3 ? CAUSE_LOAD_PAGE : 0);
        CHECK_EQ(store_fault(VA), type == 3 ? CAUSE_STORE_PAGE : 0);
    }
}

/* New entries, after a fence of each kind. */
static void fences(void) {
    uint64_t *a = page_alloc(), *b = page_alloc();
    volatile uint64_t *p = (volatile uint64_t *)VA;
    a[0] = 1;
    b[0] = 2;
    volatile uint64_t *e = map_page(VA, (uint64_t)a, PTE_RWX);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t *now = i & 1 ? a : b, asid = csr_read(satp) >> 44 & 0xffff;
        CHECK_EQ(p[0], i & 1 ? 2 : 1);
        *e = (uint64_t)now >> 12 << 10 | PTE_RWX;
        switch (i >> 1 & 3) {
        case 0: sfence(); break;
        case 1: sfence_va(VA); break;
        case 2: __asm__ volatile("sfence.vma zero, %0" : : "r"(asid) : "memory"); break;
        default: __asm__ volatile("sfence.vma %0, %1" : : "r"(VA + 8), "r"(asid) : "memory"); break;
        }
        CHECK_EQ(p[0], i & 1 ? 1 : 2);
    }
    *e = 0;
    sfence_va(VA);
    CHECK_EQ(load_fault(VA), CAUSE_LOAD_PAGE);
}

/* Two tables, two ASIDs: no fence between them. */
static void address_spaces(void) {
    uint64_t first = csr_read(satp), *a = page_alloc(), *b = page_alloc();
    a[0] = 1;
    b[0] = 2;
    map_page(VA, (uint64_t)a, PTE_RWX);
    uint64_t *copy = page_alloc();
    memcpy(copy, (void *)((first & 0xfffffffffff) << 12), 4096);
    paging_on((unsigned)(first >> 60) - 5);
    map_page(VA, (uint64_t)b, PTE_RWX);
    uint64_t second = (csr_read(satp) & ~(0xfffful << 44)) | 2ul << 44;
    csr_write(satp, second);
    sfence();
    for (unsigned i = 0; i < 100; i++) {
        csr_write(satp, i & 1 ? first : second);
        CHECK_EQ(*(volatile uint64_t *)VA, i & 1 ? 1 : 2);
    }
    csr_write(satp, second);
}

/* An instruction of which one half is in another page. */
/* --- code at several addresses ---------------------------------------------------------------- */
#define ALIASES 5
#define ALIAS(n) (VA + 0x10000000 + (n) * 0x1005000ul)
#define NOWHERE (VA + 0x8000000)

__asm__(".pushsection .text\n.balign 16\n.option push\n.option norelax\n.option norvc\n"
        "near_part: mv t0, ra\n"
        "auipc t1, 1\n"
        "addi t1, t1, 0x128\n"
        "sd t1, 0(a0)\n"
        "jal t2, 1f\n"
        "near_back: sd t2, 8(a0)\n"
        "jal ra, 4096 - 24\n" /* to far_part */
        "near_fault: ld t3, 0(a1)\n"
        "near_change: addi t3, zero, 1\n"
        "sd t3, 16(a0)\n"
        "beqz zero, 2f\n"
        "ebreak\n"
        "1: sd t2, 24(a0)\n"
        "jr t2\n"
        "2: auipc t1, 0\n"
        "jr 12(t1)\n"
        "ebreak\n"
        "jr t0\n"
        "far_part: auipc t1, 0\n"
        "sd t1, 32(a0)\n"
        "sd ra, 40(a0)\n"
        "ret\n"
        "far_end:\n.option pop\n.popsection");
extern const uint8_t near_part[], near_back[], near_fault[], near_change[], far_part[], far_end[];

static uint64_t off(const uint8_t *label) { return (uint64_t)(label - near_part); }

static void run_alias(uint64_t at, uint64_t change) {
    uint64_t r[6] = {0}, count = trap.count;
    ((void (*)(uint64_t *, uint64_t))at)(r, NOWHERE);
    CHECK_EQ(r[0], at + 4 + 4096 + 0x128);
    CHECK_EQ(r[1], at + off(near_back));
    CHECK_EQ(r[2], change);
    CHECK_EQ(r[3], at + off(near_back));
    CHECK_EQ(r[4], at + 4096);
    CHECK_EQ(r[5], at + off(near_fault));
    CHECK_EQ(trap.count, count + 1);
    CHECK_EQ(trap.cause, CAUSE_LOAD_PAGE);
    CHECK_EQ(trap.epc, at + off(near_fault));
    CHECK_EQ(trap.tval, NOWHERE);
}

/* What it computes from its own address, faults in it, links between its pages, and its being changed through one of
 * them. */
static void aliases(void) {
    uint8_t *page[2] = {page_alloc(), page_alloc()};
    memcpy(page[0], near_part, (size_t)(far_part - near_part));
    memcpy(page[1], far_part, (size_t)(far_end - far_part));
    for (unsigned n = 0; n < ALIASES; n++)
        for (unsigned i = 0; i < 2; i++)
            map_page(ALIAS(n) + 4096 * i, (uint64_t)page[i], PTE_RWX);
    for (unsigned round = 1; round < 40; round++) {
        *(volatile uint32_t *)(ALIAS(round % ALIASES) + off(near_change)) = round << 20 | 28 << 7 | 0x13;
        __asm__ volatile("fence.i" : : : "memory");
        for (unsigned n = round % 3; n < ALIASES; n++)
            run_alias(ALIAS(n), round);
    }
}

static void crossing(void) {
    uint8_t *a = page_alloc(), *b = page_alloc();
    page_alloc();
    uint64_t (*fn)(uint64_t) = (uint64_t (*)(uint64_t))(VA + 4094);
    for (unsigned i = 1; i < 40; i++) {
        uint32_t addi = i << 20 | 10 << 15 | 10 << 7 | 0x13; /* addi a0, a0, i */
        uint16_t *half = (uint16_t *)(a + 4094), *rest = (uint16_t *)b;
        *half = (uint16_t)addi;
        rest[0] = (uint16_t)(addi >> 16);
        rest[1] = 0x8082; /* ret */
        map_page(VA, (uint64_t)a, PTE_RWX);
        map_page(VA + 4096, (uint64_t)b, PTE_RWX);
        __asm__ volatile("fence.i" : : : "memory");
        CHECK_EQ(fn(1), 1 + i);
        CHECK_EQ(fn(2), 2 + i);
        if (i % 8 == 0) { /* the other page goes away, and another one comes */
            uint16_t *other = page_alloc();
            map_page(VA + 4096, (uint64_t)b, PTE_V | PTE_R | PTE_A);
            CHECK_EQ(fetch_fault(VA + 4094), CAUSE_INSN_PAGE);
            CHECK_EQ(trap.tval, VA + 4096);
            CHECK_EQ(trap.epc, VA + 4094);
            other[0] = (uint16_t)((100u << 20 | 10 << 15 | 10 << 7 | 0x13) >> 16);
            other[1] = 0x8082;
            map_page(VA + 4096, (uint64_t)other, PTE_RWX);
            CHECK_EQ(fn(1), 101);
        }
    }
}

/* Code that is written over where it runs. */
static void changed_code(void) {
    uint32_t *page = page_alloc();
    map_page(VA, (uint64_t)page, PTE_RWX);
    for (uint32_t i = 0; i < 50; i++) {
        page[0] = i << 20 | 10 << 7 | 0x13; /* li a0, i */
        page[1] = 0x8082;
        __asm__ volatile("fence.i" : : : "memory");
        CHECK_EQ(((uint64_t (*)(void))VA)(), i);
    }
}

static void user_pages(void) {
    static const uint32_t code[] = {0x00053503, 0x00000073}; /* ld a0, 0(a0); ecall */
    uint32_t *page = page_alloc();
    uint64_t *data = page_alloc();
    memcpy(page, code, sizeof(code));
    data[0] = 77;
    map_page(VA, (uint64_t)page, PTE_RWX | PTE_U);
    map_page(VA + 4096, (uint64_t)data, PTE_RWX | PTE_U);
    CHECK_EQ(enter_user((void *)VA, 0, VA + 4096, 0), 77);
    CHECK_EQ(trap.cause, CAUSE_ECALL_U);
    enter_user((void *)VA, 0, (uint64_t)data, 0); /* the supervisor's */
    CHECK_EQ(trap.cause, CAUSE_LOAD_PAGE);
    CHECK_EQ(trap.tval, data);
    CHECK_EQ(trap.epc, VA);
    map_page(VA, (uint64_t)page, PTE_RWX);
    enter_user((void *)VA, 0, VA + 4096, 0);
    CHECK_EQ(trap.cause, CAUSE_INSN_PAGE);
    CHECK_EQ(trap.tval, VA);
}

static void all_of(unsigned levels) {
    static void (*const each[])(void) = {permissions,    reserved, napot,   memory_types, fences,
                                         address_spaces, crossing, aliases, changed_code, user_pages};
    for (unsigned i = 0; i < ARRAY_LEN(each); i++) {
        CHECK(paging_on(levels));
        each[i]();
        paging_off();
    }
}

static void sv39(void) { all_of(3); }
static void sv48(void) { all_of(4); }
static void sv57(void) { all_of(5); }

/* Pages that lie far apart, some of them at addresses that differ in bits 56 to 48 alone, by one load and by one
 * store. */
#define FAR 24
static uint64_t far_va(unsigned n) {
    uint64_t va = (uint64_t)(n * 0x2b % 512) << 48 | (n & 3 ? VA : 0x7000000000ul) + 4096ul * n;
    return va >> 56 & 1 ? va | 0xfful << 57 : va & ~(0xfful << 57);
}
static void far_apart(void) {
    uint64_t *page[FAR];
    CHECK(paging_on(5));
    for (unsigned i = 0; i < FAR; i++) {
        page[i] = page_alloc();
        map_page(far_va(i), (uint64_t)page[i], PTE_RWX);
    }
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < FAR; i++)
            ++*(volatile uint64_t *)far_va(i * (round | 1) % FAR);
        CHECK_EQ(load_fault(far_va(round % FAR) ^ 1ul << 57), CAUSE_LOAD_PAGE); /* not canonical */
        CHECK_EQ(load_fault(far_va(round % FAR) ^ 1ul << 40), CAUSE_LOAD_PAGE);
        page[round % FAR][0] += 2;
    }
    for (unsigned i = 0; i < FAR; i++)
        CHECK_EQ(*(volatile uint64_t *)far_va(i), page[i][0]);
    uint64_t sum = 0;
    for (unsigned i = 0; i < FAR; i++)
        sum += page[i][0];
    CHECK_EQ(sum, 200 * (FAR + 2));
    paging_off();
}

TESTS({"sv39", sv39}, {"sv48", sv48}, {"sv57", sv57}, {"far_apart", far_apart});
