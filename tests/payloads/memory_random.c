/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * memory_random.c: loads and stores of all kinds, from all levels, at random places, while page tables change in
 * between, against a model: two address spaces with sixteen pages each that lead, in any way, to eight pages of memory,
 * and a block that becomes a table and a block again.
 */
#include "paging.h"

#define SPACES 2
#define PAGES 16 /* of a space; the last eight lie in what may be a block */
#define LOOSE 8
#define FRAMES 8
#define MEMORY 0x44000000ul /* the frames, and the block */
#define BLOCK_VA (TEST_VA + 0x40000000ul)
#define STEPS 3000u

/* --- random numbers --------------------------------------------------------------------------- */
static uint64_t seed;
static uint64_t random64(void) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}
static unsigned below(unsigned n) { return (unsigned)(random64() >> 33) % n; }

/* --- the model -------------------------------------------------------------------------------- */
struct page_state {
    bool valid, read_only, user, accessed;
    unsigned frame;
};
static struct space {
    uint64_t *root, *pmd, table; /* pmd: of the block; table: what is in there while it is none */
    bool is_block;
    struct page_state page[PAGES], block;
} spaces[SPACES];
static unsigned current;
static uint8_t memory[FRAMES][4096];

static const struct page_state *state_of(const struct space *s, unsigned page) {
    return page >= LOOSE && s->is_block ? &s->block : &s->page[page];
}

static uint64_t va_of(unsigned page) {
    return page < LOOSE ? TEST_VA + page * 4096ul : BLOCK_VA + (page - LOOSE) * 4096ul;
}

static uint8_t *frame_of(const struct space *s, unsigned page) {
    return memory[page >= LOOSE && s->is_block ? page - LOOSE : s->page[page].frame];
}

static unsigned fault_of(const struct space *s, unsigned page, bool write, bool as_user, bool pan) {
    const struct page_state *p = state_of(s, page);
    unsigned level = page >= LOOSE && s->is_block ? 2 : 3;
    if (!p->valid)
        return FSC_TRANSLATION(level);
    if (!p->accessed)
        return FSC_ACCESS(level);
    bool ok = (!write || !p->read_only) && (as_user ? p->user : !(pan && p->user));
    return ok ? NO_FAULT : FSC_PERMISSION(level);
}

/* --- the tables ------------------------------------------------------------------------------- */
static uint64_t attributes(const struct page_state *p) {
    return PTE_ATTR_NORMAL | PTE_SH | PTE_NG | PTE_UXN | PTE_PXN | (p->user ? PTE_AP_EL0 : 0) |
           (p->read_only ? PTE_AP_RO : 0) | (p->accessed ? PTE_AF : 0);
}

static uint64_t entry_of(const struct page_state *p) {
    return p->valid ? (MEMORY + p->frame * 4096ul) | PTE_PAGE | attributes(p) : 0;
}

static uint64_t *entry_at(struct space *s, unsigned page) {
    uint64_t *table = (uint64_t *)(s->table & 0xfffffffff000ul);
    return page < LOOSE ? mmu_entry(s->root, va_of(page)) : &table[page - LOOSE];
}

static void invalidate(const struct space *s, uint64_t va) {
    uint64_t asid = (uint64_t)(s - spaces + 1) << 48, arg = va >> 12 & 0xfffffffffful;
    dsb();
    switch (below(6)) {
    case 0: __asm__ volatile("tlbi vae1, %0" : : "r"(arg | asid) : "memory"); break;
    case 1: __asm__ volatile("tlbi vaae1is, %0" : : "r"(arg) : "memory"); break;
    case 2: __asm__ volatile("tlbi aside1is, %0" : : "r"(asid) : "memory"); break;
    case 3: __asm__ volatile("tlbi vmalle1" : : : "memory"); break;
    default: __asm__ volatile("tlbi vae1is, %0" : : "r"(arg | asid) : "memory"); break;
    }
    dsb();
    isb();
}

static void random_state(struct page_state *p) {
    uint64_t r = random64();
    *p = (struct page_state){.valid = (r & 7) != 0,
                             .read_only = (r >> 3 & 3) == 0,
                             .user = r >> 5 & 1,
                             .accessed = (r >> 6 & 15) != 0,
                             .frame = r >> 10 & (FRAMES - 1)};
}

/* Break before make, where the architecture asks for it. */
static void replace(struct space *s, uint64_t *entry, uint64_t value, uint64_t va) {
    if (*entry & PTE_VALID) {
        *entry = 0;
        invalidate(s, va);
    }
    *entry = value;
    dsb();
    isb();
}

static void change_page(struct space *s) {
    unsigned page = below(PAGES);
    struct page_state *p = &s->page[page], old = *p;
    bool hidden = page >= LOOSE && s->is_block;
    random_state(p);
    if (below(2) && old.valid && p->valid) { /* other rights alone */
        p->frame = old.frame;
        *entry_at(s, page) = entry_of(p);
        if (!hidden)
            invalidate(s, va_of(page));
    } else if (hidden) {
        *entry_at(s, page) = entry_of(p);
    } else {
        replace(s, entry_at(s, page), entry_of(p), va_of(page));
    }
}

/* A TLBI by address for a block, or a table, takes it whole (not the table below it, of which nothing is then used any
 * more). */
static void change_block(struct space *s) {
    s->is_block = !s->is_block;
    random_state(&s->block);
    s->block.frame = 0;
    uint64_t block = s->block.valid ? MEMORY | PTE_VALID | attributes(&s->block) : 0;
    *s->pmd = 0;
    dsb();
    __asm__ volatile("tlbi aside1is, %0" : : "r"((uint64_t)(s - spaces + 1) << 48) : "memory");
    dsb();
    *s->pmd = s->is_block ? block : s->table;
    dsb();
    isb();
}

static void use(unsigned space) {
    current = space;
    write_sysreg(ttbr0_el1, (uint64_t)spaces[space].root | (uint64_t)(space + 1) << 48);
    isb();
}

/* --- accesses --------------------------------------------------------------------------------- */
enum kind { LOAD, STORE, ADD, SWAP, EXCLUSIVE, ZERO };
enum { PAIR = 1, SIGNED = 2, AS_USER = 4, ALIGNED = 8, SIGNED_W = 16 };
/* clang-format off */
#define M_FORMS(X) \
    X(m_ldrb, "ldrb w1, [x0]", LOAD, 1, 0, 0) X(m_ldrsb, "ldrsb x1, [x0]", LOAD, 1, SIGNED, 0) \
    X(m_ldrh, "ldrh w1, [x0], #2", LOAD, 2, 0, 2) X(m_ldrsh, "ldrsh w1, [x0]", LOAD, 2, SIGNED_W, 0) \
    X(m_ldr_w, "ldr w1, [x0, #4]!", LOAD, 4, 0, 4) X(m_ldrsw, "ldrsw x1, [x0]", LOAD, 4, SIGNED, 0) \
    X(m_ldr_x, "ldr x1, [x0]", LOAD, 8, 0, 0) X(m_ldr_index, "ldr x1, [x0, x3, lsl #3]", LOAD, 8, 0, 0) \
    X(m_ldur, "ldur x1, [x0, #-3]", LOAD, 8, 0, -3) X(m_ldp_w, "ldp w1, w2, [x0]", LOAD, 4, PAIR, 0) \
    X(m_ldpsw, "ldpsw x1, x2, [x0], #8", LOAD, 4, PAIR | SIGNED, 8) X(m_ldp_x, "ldp x1, x2, [x0]", LOAD, 8, PAIR, 0) \
    X(m_ldr_q, "ldr q1, [x0]\numov x1, v1.d[0]\numov x2, v1.d[1]", LOAD, 8, PAIR, 0) \
    X(m_ld1, "ld1 {v1.16b}, [x0]\numov x1, v1.d[0]\numov x2, v1.d[1]", LOAD, 8, PAIR, 0) \
    X(m_ldtr, "ldtr x1, [x0]", LOAD, 8, AS_USER, 0) X(m_ldtrb, "ldtrb w1, [x0]", LOAD, 1, AS_USER, 0) \
    X(m_ldar, "ldar x1, [x0]", LOAD, 8, ALIGNED, 0) X(m_strb, "strb w1, [x0]", STORE, 1, 0, 0) \
    X(m_strh, "strh w1, [x0], #2", STORE, 2, 0, 2) X(m_str_w, "str w1, [x0]", STORE, 4, 0, 0) \
    X(m_str_x, "str x1, [x0, #8]!", STORE, 8, 0, 8) X(m_stur, "stur x1, [x0, #-5]", STORE, 8, 0, -5) \
    X(m_stp_w, "stp w1, w2, [x0]", STORE, 4, PAIR, 0) X(m_stp_x, "stp x1, x2, [x0]", STORE, 8, PAIR, 0) \
    X(m_str_q, "fmov d1, x1\nmov v1.d[1], x2\nstr q1, [x0]", STORE, 8, PAIR, 0) \
    X(m_st1, "fmov d1, x1\nmov v1.d[1], x2\nst1 {v1.2d}, [x0]", STORE, 8, PAIR, 0) \
    X(m_sttr, "sttr x1, [x0]", STORE, 8, AS_USER, 0) X(m_stlr, "stlr w1, [x0]", STORE, 4, ALIGNED, 0) \
    X(m_ldadd, ".inst 0xf8210002", ADD, 8, ALIGNED, 0) /* ldadd x1, x2, [x0] */ \
    X(m_ldadd_w, ".inst 0xb8210002", ADD, 4, ALIGNED, 0) X(m_swp, ".inst 0xf8218002", SWAP, 8, ALIGNED, 0) \
    X(m_ldxr, "ldxr x2, [x0]\nadd x3, x2, x1\nstxr w4, x3, [x0]", EXCLUSIVE, 8, ALIGNED, 0) \
    X(m_zva, "dc zva, x0", ZERO, 64, ALIGNED, 0)
/* clang-format on */
#define M_SNIPPET(name, ...) M_SNIPPET_(name, __VA_ARGS__)
#define M_SNIPPET_(name, text, kind, size, flags, step) SNIPPET(name, text);
#define M_ROW(name, text, kind, size, flags, step) {name, kind, size, flags, step},
M_FORMS(M_SNIPPET)
static const struct form {
    const uint32_t *code;
    uint8_t kind, size, flags;
    int8_t step; /* what of the address is not in x0 before or after */
} forms[] = {M_FORMS(M_ROW)};

struct access {
    const struct form *form;
    unsigned page, offset, bytes; /* where in the space it begins, and how much */
    uint32_t pstate;
    uint64_t x1, x2;
};

static uint8_t *byte_at(const struct space *s, const struct access *a, unsigned i) {
    unsigned at = a->offset + i;
    return &frame_of(s, a->page + at / 4096)[at % 4096];
}

static uint64_t element(const struct access *a, const uint8_t *bytes, unsigned n) {
    uint64_t v = 0;
    unsigned size = a->form->size;
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)bytes[n * size + i] << 8 * i;
    if (a->form->flags & (SIGNED | SIGNED_W) && v >> (8 * size - 1) & 1)
        v |= ~0ul << (8 * size - 1) << 1 * (size < 8);
    return a->form->flags & SIGNED_W ? (uint32_t)v : v;
}

static void put(const struct space *s, const struct access *a, unsigned n, uint64_t v) {
    for (unsigned i = 0; i < a->form->size; i++)
        *byte_at(s, a, n * a->form->size + i) = (uint8_t)(v >> 8 * i);
}

/* What has to come out, if nothing faults; and the model's memory is changed. */
static void carry_out(const struct space *s, const struct access *a) {
    const struct form *f = a->form;
    uint8_t bytes[64];
    uint64_t mask = f->size == 4 ? 0xfffffffful : ~0ul, old;
    for (unsigned i = 0; i < a->bytes; i++)
        bytes[i] = *byte_at(s, a, i);
    old = element(a, bytes, 0);
    switch (f->kind) {
    case LOAD:
        CHECK_EQ(c.out.x[1], old);
        if (f->flags & PAIR)
            CHECK_EQ(c.out.x[2], element(a, bytes, 1));
        break;
    case STORE:
        put(s, a, 0, a->x1);
        if (f->flags & PAIR)
            put(s, a, 1, a->x2);
        break;
    case ADD:
    case EXCLUSIVE:
        CHECK_EQ(c.out.x[2], old);
        put(s, a, 0, (old + a->x1) & mask);
        if (f->kind == EXCLUSIVE)
            CHECK_EQ(c.out.x[4], 0);
        break;
    case SWAP:
        CHECK_EQ(c.out.x[2], old);
        put(s, a, 0, a->x1);
        break;
    default:
        for (unsigned i = 0; i < 64; i++)
            *byte_at(s, a, i) = 0;
    }
}

/* Of an access that faulted in its second page any part may have been done in the first. */
static void believe(const struct space *s, const struct access *a) {
    for (unsigned i = 0; i < a->bytes; i++) {
        uint8_t *model = byte_at(s, a, i);
        *model = *(volatile uint8_t *)(MEMORY + (uint64_t)(model - memory[0]));
    }
}

static void check_abort(const struct access *a, uint64_t va, unsigned fsc, uint64_t far, uint64_t pc) {
    const struct form *f = a->form;
    bool user = (a->pstate & 12) == 0, write = f->kind != LOAD;
    uint64_t esr = ESR(user ? 0x24 : 0x25, (write ? 0x40 : 0) | fsc), ignored = f->kind > STORE ? 0x140 : 0;
    CHECK_EQ(c.vector, VEC_OF(a->pstate));
    CHECK_EQ(c.out.esr & ~ignored & ~0x1fffe00ul, esr & ~ignored);
    CHECK_EQ(f->kind == ZERO ? va : c.out.far, f->kind == ZERO ? va : far);
    CHECK(c.out.elr >= pc && c.out.elr < pc + 16);
}

static void random_access(struct access *a) {
    static const uint32_t states[] = {PSTATE_EL0, PSTATE_EL1T, PSTATE_EL1H, PSTATE_EL1T | PSTATE_PAN};
    const struct form *f = &forms[below(ARRAY_LEN(forms))];
    *a = (struct access){.form = f, .pstate = states[below(4)], .x1 = random64(), .x2 = random64()};
    a->bytes = f->size << (f->flags & PAIR);
    if (f->kind == ZERO && a->pstate == PSTATE_EL0) /* SCTLR_EL1.DZE is 0 */
        a->pstate = PSTATE_EL1T;
    unsigned pages = below(4) ? LOOSE : PAGES; /* one that begins in the last page of its kind stays in there */
    a->page = below(pages);
    a->offset = below(4) ? below(4096) : 4096 - below(16) - 1;
    if (f->flags & ALIGNED)
        a->offset &= ~(f->size - 1u);
    if (a->page % LOOSE == LOOSE - 1 && a->offset + a->bytes > 4096)
        a->offset = 4096 - a->bytes;
}

static void one_access(void) {
    struct space *s = &spaces[current];
    struct access a;
    random_access(&a);
    const struct form *f = a.form;
    bool user = (a.pstate & 12) == 0, write = f->kind != LOAD;
    uint64_t va = va_of(a.page) + a.offset, pc = (uint64_t)at(a.pstate, f->code), far = va;
    bool before = f->code == m_ldr_w || f->code == m_str_x || f->step < 0, index = f->code == m_ldr_index;
    uint64_t x3 = index ? random64() >> 4 : 0;
    run_code(&c, a.pstate, (void *)pc, va - (before ? (uint64_t)(int64_t)f->step : 0) - (index ? x3 << 3 : 0), a.x1,
             a.x2, x3);
    unsigned fsc = NO_FAULT, last = a.page + (a.offset + a.bytes - 1) / 4096;
    for (unsigned page = a.page; fsc == NO_FAULT && page <= last; page++) {
        fsc = fault_of(s, page, write, user || f->flags & AS_USER, a.pstate & PSTATE_PAN);
        far = page == a.page ? va : va_of(page);
    }
    if (fsc == NO_FAULT) {
        CHECK_EQ(c.out.esr, ESR_DONE);
        carry_out(s, &a);
        return;
    }
    check_abort(&a, va, fsc, far, pc);
    if (write && far != va)
        believe(s, &a);
}

/* The same code for many pages: it is translated well. */
static __attribute__((noinline)) uint64_t sum_of(const uint64_t *const *list, unsigned n) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += *(volatile const uint64_t *)list[i];
    return sum;
}

static void many_accesses(void) {
    const struct space *s = &spaces[current];
    const uint64_t *list[64];
    uint64_t want = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < 64; i++) {
        unsigned page = below(PAGES), offset = below(512) * 8;
        if (fault_of(s, page, false, false, false) != NO_FAULT)
            continue;
        list[n++] = (const uint64_t *)(va_of(page) + offset);
        want += *(const uint64_t *)(frame_of(s, page) + offset);
    }
    CHECK_EQ(sum_of(list, n), want);
}

static void compare_memory(void) {
    for (unsigned i = 0; i < sizeof(memory) / 8; i++)
        CHECK_EQ(((volatile uint64_t *)MEMORY)[i], ((const uint64_t *)memory)[i]);
}

/* --- the tests -------------------------------------------------------------------------------- */
static void make_spaces(void) {
    start();
    for (unsigned n = 0; n < SPACES; n++) {
        struct space *s = &spaces[n];
        s->root = mmu_new_root();
        for (unsigned i = 0; i < 2; i++) /* the payload, and its alias for EL0 */
            s->root[i] = root[i];
        for (unsigned page = 0; page < PAGES; page++) {
            random_state(&s->page[page]);
            mmu_map(s->root, va_of(page), 0, 0);
            *mmu_entry(s->root, va_of(page)) = entry_of(&s->page[page]);
        }
        s->pmd = mmu_entry_at(s->root, BLOCK_VA, 2);
        s->table = *s->pmd;
    }
    dsb();
    use(0);
    tlbi_all();
}

static void run_seed(uint64_t with) {
    seed = with;
    if (!spaces[0].root)
        make_spaces();
    for (unsigned i = 0; i < sizeof(memory) / 8; i++)
        ((volatile uint64_t *)MEMORY)[i] = ((uint64_t *)memory)[i] = random64();
    for (unsigned i = 0; i < STEPS; i++) {
        switch (below(16)) {
        case 0:
        case 1: change_page(&spaces[below(SPACES)]); break;
        case 2:
            if (!below(4))
                change_block(&spaces[below(SPACES)]);
            break;
        case 3: use(below(SPACES)); break;
        case 4: many_accesses(); break;
        default: one_access();
        }
        if (i % 256 == 255)
            compare_memory();
    }
}

static void test_one(void) { run_seed(0x123456789abcdef1); }
static void test_two(void) { run_seed(0xfedcba9876543211); }
static void test_three(void) { run_seed(0x5deece66d0000b01); }

TESTS({"one", test_one}, {"two", test_two}, {"three", test_three});
