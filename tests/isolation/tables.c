/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* tables.c: see tables.h. */
#include "tests/isolation/tables.h"

#include "graft/vm.h"

#include <stdio.h>

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_PS BIT(7)
#define PTE_NX BIT(63)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

struct rights {
    bool write, exec;
};
struct checker {
    const struct machine *m;
    const struct vm_tables *t;
    struct tables_seen *seen;
    unsigned failures;
};

static void fail(struct checker *c, const char *what, uint64_t va, uint64_t pa) {
    if (c->failures++ < 10)
        printf("FAIL %s: at %llx, physical %llx\n", what, (unsigned long long)va, (unsigned long long)pa);
}

static bool is_in(uint64_t pa, uint64_t from, uint64_t bytes) { return pa - from < bytes; }

static bool is_root(const struct checker *c, uint64_t pa) {
    for (unsigned i = 0; i < c->m->vcpu_count; i++)
        if (c->t->pml4[i] == pa)
            return true;
    return false;
}

static bool is_code(const struct checker *c, uint64_t pa) {
    const struct layout *l = &c->m->layout;
    for (unsigned i = 0; i < c->m->vcpu_count; i++)
        if (is_in(pa, l->code[i], l->code_size))
            return true;
    return is_in(pa, l->image, l->image_size) && engine_image_rights(pa - l->image).exec;
}

/* Is that page the monitor's, and never written in the VM? */
static bool is_kept(const struct checker *c, uint64_t pa) {
    const struct layout *l = &c->m->layout;
    return (is_in(pa, l->system, l->system_size) && !is_root(c, pa)) || is_in(pa, l->boot, sizeof(struct abi_boot)) ||
           (is_in(pa, l->image, l->image_size) && !engine_image_rights(pa - l->image).write);
}

/* Where what is kept ends. */
static uint64_t kept_end(const struct layout *l) {
    uint64_t end = l->system + l->system_size, boot = l->boot + ALIGN_UP(sizeof(struct abi_boot), PAGE_SIZE);
    end = boot > end ? boot : end;
    return l->image + l->image_size > end ? l->image + l->image_size : end;
}

static void check_leaf(struct checker *c, uint64_t va, uint64_t pa, uint64_t bytes, struct rights r) {
    if (r.write && r.exec)
        fail(c, "memory that is writable and executable", va, pa);
    c->seen->code += r.exec;
    uint64_t slot = (va - c->m->boot->windows_va) >> 39;
    if (slot >= VM_WINDOW_FIRST && slot <= VM_WINDOW_LAST) {
        c->seen->window++;
        c->seen->huge += bytes > PAGE_SIZE;
    }
    if (r.exec && (!is_code(c, pa) || !is_code(c, pa + bytes - PAGE_SIZE)))
        fail(c, "memory that is no code, and executable", va, pa);
    for (uint64_t at = pa; r.write && at < pa + bytes && at < kept_end(&c->m->layout); at += PAGE_SIZE)
        if (is_kept(c, at))
            fail(c, "memory of the monitor's that is writable", va + (at - pa), at);
}

static void walk(struct checker *c, uint64_t table, unsigned level, uint64_t va, struct rights r) {
    const uint64_t *entry = (const uint64_t *)(c->m->arena + table);
    if (table >= c->m->layout.total) {
        fail(c, "a table that is not in the arena", va, table);
        return;
    }
    for (unsigned i = 0; i < 512; i++) {
        uint64_t e = entry[i], pa = e & PTE_ADDRESS, at = va | (uint64_t)i << (12 + 9 * level);
        struct rights below = {r.write && e & PTE_W, r.exec && !(e & PTE_NX)};
        if (!(e & PTE_P))
            continue;
        if (level && !(e & PTE_PS))
            walk(c, pa, level - 1, at, below);
        else
            check_leaf(c, at, level ? ALIGN_DOWN(pa, PAGE_SIZE << (9 * level)) : pa, PAGE_SIZE << (9 * level), below);
    }
}

unsigned tables_check(const struct machine *m, const struct vm_tables *t, uint64_t root, struct tables_seen *seen) {
    struct checker c = {.m = m, .t = t, .seen = seen};
    walk(&c, root, m->boot->mmu == ABI_MMU_DIRECT ? 4 : 3, 0, (struct rights){true, true});
    return c.failures;
}
