/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * wild.c: addresses that lead nowhere, or that must not lead where a host's address of the same value would: every kind
 * of pattern in the bits above those of Sv39, Sv48 and Sv57, and the ends of both halves. Each is tried, in U-mode and
 * in S-mode, by the one load and the one store that have just been at an address that is mapped.
 */
#include "rv64_payload.h"

#define USER_CODE 0x1000000000ul
#define LOW 0x123456788000ul /* mapped there in its levels' bits, and at the same place of the upper half */
#define LOW_MARK 0x10a10a10a1ul
#define HIGH_MARK 0x2412412412ul

enum { LOAD, STORE };
/* ld a0, 0(a0); ecall - sd a1, 0(a0); ecall */
static const uint32_t user_code[2][2] = {{0x00053503, 0x00000073}, {0x00b53023, 0x00000073}};
static uint64_t *low, *high;
static unsigned bits;

static void map_marks(unsigned levels) {
    bits = 12 + 9 * levels;
    CHECK(paging_on(levels));
    uint32_t *code = page_alloc();
    low = page_alloc();
    high = page_alloc();
    memcpy(code, user_code, sizeof(user_code));
    map_page(USER_CODE, (uint64_t)code, PTE_RWX | PTE_U);
}

static uint64_t low_va(void) { return LOW & ((1ul << (bits - 1)) - 1); }
static uint64_t high_va(void) { return low_va() | ~0ul << (bits - 1); }

/* What the access raises, 0: nothing; by U-mode, or by S-mode. */
static uint64_t user_access(unsigned what, uint64_t va, uint64_t *value) {
    *value = enter_user((const void *)(USER_CODE + 8 * what), 0, va, *value);
    return trap.cause == CAUSE_ECALL_U ? 0 : trap.cause;
}
static __attribute__((noinline)) uint64_t s_access(unsigned what, uint64_t va, uint64_t *value) {
    uint64_t count = trap.count;
    if (what == LOAD)
        *value = *(volatile uint64_t *)va;
    else
        *(volatile uint64_t *)va = *value;
    return trap.count == count ? 0 : trap.cause;
}
static uint64_t access(bool user, unsigned what, uint64_t va, uint64_t *value) {
    return user ? user_access(what, va, value) : s_access(what, va, value);
}

static void check_faults(bool user, uint64_t va) {
    uint64_t value = 0;
    CHECK_EQ(access(user, LOAD, va, &value), CAUSE_LOAD_PAGE);
    CHECK_EQ(trap.tval, va);
    CHECK_EQ(access(user, STORE, va, &value), CAUSE_STORE_PAGE);
    CHECK_EQ(trap.tval, va);
}
static void check_leads_to(bool user, uint64_t va, uint64_t *page) {
    uint64_t value = 0, was = *page, next = was + 1;
    CHECK_EQ(access(user, LOAD, va, &value), 0);
    CHECK_EQ(value, was);
    CHECK_EQ(access(user, STORE, va, &next), 0);
    CHECK_EQ(*page, was + 1);
    *page = was;
}

/* The upper bits of the two addresses, all alike, and then with others. */
static void check_pattern(bool user, uint64_t pattern) {
    uint64_t above = ~0ul << bits, va = (pattern & above) | low_va();
    if (pattern & 1ul << (bits - 1))
        va |= 1ul << (bits - 1);
    uint64_t *page = va == low_va() ? low : va == high_va() ? high : NULL;
    check_leads_to(user, pattern & 4096 ? low_va() : high_va(), pattern & 4096 ? low : high);
    if (page)
        check_leads_to(user, va, page);
    else
        check_faults(user, va);
}

static const uint8_t edges[] = {0, 0xff, 1, 0x7f, 0x80, 0xfe};
static void patterns_of(unsigned levels) {
    map_marks(levels);
    *low = LOW_MARK;
    *high = HIGH_MARK;
    for (unsigned user = 0; user < 2; user++) {
        map_page(low_va(), (uint64_t)low, PTE_RWX | (user ? PTE_U : 0));
        map_page(high_va(), (uint64_t)high, PTE_RWX | (user ? PTE_U : 0));
        for (unsigned i = 0; i < 256 * ARRAY_LEN(edges); i++) {
            uint64_t edge = edges[i / 256], any = i & 255,
                     rest = i % 3 == 0   ? 0
                            : i % 3 == 1 ? 0xfffffffffffful
                                         : i * 0x1234567800ul;
            check_pattern(user, edge << 56 | any << 48 | (rest & 0xfffffffffffful));
            check_pattern(user, any << 56 | edge << 48 | (rest & 0xfffffffffffful));
        }
        for (unsigned bit = bits - 1; bit < 64; bit++) { /* one bit wrong */
            check_faults(user, low_va() ^ 1ul << bit);
            check_faults(user, high_va() ^ 1ul << bit);
        }
    }
    paging_off();
}
static void patterns(void) {
    for (unsigned levels = 3; levels <= 5; levels++)
        patterns_of(levels);
}

/* The last bytes below the hole and the first above it, an access across either border, and the ends of all that there
 * is. */
static void ends(void) {
    for (unsigned levels = 3; levels <= 5; levels++) {
        map_marks(levels);
        uint64_t end = 1ul << (bits - 1), start = -end;
        for (unsigned user = 0; user < 2; user++) {
            uint64_t pte = PTE_RWX | (user ? PTE_U : 0), value = 0;
            map_page(end - 4096, (uint64_t)low, pte);
            map_page(start, (uint64_t)high, pte);
            map_page(-4096ul, (uint64_t)low, pte);
            for (unsigned round = 0; round < 4; round++) {
                check_leads_to(user, end - 8, &low[511]);
                check_leads_to(user, -8ul, &low[511]);
                check_leads_to(user, start, high);
                check_faults(user, end);
                check_faults(user, start - 8);
                CHECK_EQ(access(user, LOAD, start - 8, &value), CAUSE_LOAD_PAGE);
                for (unsigned over = 1; over < 8; over += 3) {
                    CHECK_EQ(access(user, LOAD, end - 8 + over, &value), CAUSE_LOAD_PAGE);
                    CHECK_EQ(access(user, LOAD, start - over, &value), CAUSE_LOAD_PAGE);
                }
            }
        }
        paging_off();
    }
}

/* With Sv57 every value of bits 56..48 is some address: in each of those 2^48 the guest may have something. First it
 * has nothing there, and what was translated then has to find what comes. */
static const uint64_t places[] = {0, 0x1000, 0x400000000, 0x400002000, 0x400003000, 0x400010000, 0x80200000};
static void everywhere(void) {
    static const uint16_t regions[] = {0, 2, 4, 6, 126, 254, 255, 256, 510, 511};
    map_marks(5);
    uint64_t *data = page_alloc(), pass = 0;
    for (unsigned top = 3; top < 512; top += top == 0x53 || top == 0x54 ? 1 : 16) {
        for (unsigned r = 0; r < ARRAY_LEN(regions); r += top == 0x55 ? 1 : 4) {
            uint64_t base = (uint64_t)((int64_t)((uint64_t)top << 55) >> 7) | (uint64_t)regions[r] << 39;
            for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
                bool user = i & 1;
                uint64_t va = base + places[i], *e;
                check_faults(user, va + 16);
                e = (uint64_t *)map_page(va, (uint64_t)data, PTE_RWX | (user ? PTE_U : 0));
                data[2] = pass++;
                check_leads_to(user, va + 16, &data[2]);
                *e = 0;
                sfence_va(va);
                check_faults(user, va + 16);
            }
        }
    }
    paging_off();
}

/* An instruction that has been at usual addresses alone so far, when something comes that lies where few have
 * anything. */
enum { SITE_WORDS = 4, SITES = 4096 / 4 / SITE_WORDS };
static const uint32_t site_code[SITE_WORDS] = {0x00053503, 0x00008067, 0x00b53023,
                                               0x00008067}; /* ld a0, 0(a0); ret; sd a1, 0(a0); ret */
static uint64_t site_load(const uint32_t *site, uint64_t va) { return ((uint64_t (*)(uint64_t))(uintptr_t)site)(va); }
static void site_store(const uint32_t *site, uint64_t va, uint64_t value) {
    ((void (*)(uint64_t, uint64_t))(uintptr_t)(site + 2))(va, value);
}
static void check_site(const uint32_t *site, uint64_t va, uint64_t *word, uint64_t value) {
    *word = value;
    CHECK_EQ(site_load(site, va), value);
    site_store(site, va, ~value);
    CHECK_EQ(*word, ~value);
}
static void surprises(void) {
    static const uint16_t tops[] = {0x55, 0x56, 0xaa, 0x155}, regions[] = {2, 4, 510};
    map_marks(5);
    uint32_t *site = page_alloc();
    uint64_t *data = page_alloc(), *root = (uint64_t *)((csr_read(satp) & 0xfffffffffff) << 12);
    for (unsigned i = 0; i < SITES; i++)
        memcpy(site + i * SITE_WORDS, site_code, sizeof(site_code));
    __asm__ volatile("fence.i" : : : "memory");
    map_page(low_va(), (uint64_t)low, PTE_RWX);
    for (unsigned t = 0; t < ARRAY_LEN(tops); t++) {
        for (unsigned i = 0; i < ARRAY_LEN(regions) * ARRAY_LEN(places); i++, site += SITE_WORDS) {
            uint64_t va =
                (uint64_t)((int64_t)((uint64_t)tops[t] << 55) >> 7) | (uint64_t)regions[i % 3] << 39 | places[i / 3];
            check_site(site, low_va(), low, i);
            map_page(va, (uint64_t)data, PTE_RWX);
            check_site(site, va + 16, &data[2], i * 0x123456789abcul);
            root[tops[t]] = 0;
            sfence();
        }
    }
    paging_off();
}

TESTS({"patterns", patterns}, {"ends", ends}, {"everywhere", everywhere}, {"surprises", surprises});
