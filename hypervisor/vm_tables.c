/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vm_tables.c: the descriptor tables and page tables of the VM, in the arena's
 * system part. Everything is in slot 0 of every PML4; the other slots belong to
 * the engine of that vCPU. Flat: all is user-accessible. With the engine in ring 0
 * nothing is; translated code runs in VM_USER_SLOT, the rest of which is the engine's.
 *
 * Nothing is writable and executable at one address: translated code is written at another one than where it runs. And
 * nobody in the VM writes to what this file makes, but to the roots, where windows come and go.
 */
#include "graft/rt.h"
#include "graft/vm.h"
#include "hypervisor/monitor.h"

#include <stdio.h>
#include <string.h>

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_G BIT(8)
#define PTE_NX BIT(63)
#define PTE_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define PTE_LEAF (PTE_P | PTE_A | PTE_D)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)
#define HUGE_SIZE (UINT64_C(1) << 21)

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3], reserved1, ist[7], reserved2;
    uint16_t reserved3, iomap;
    uint8_t ports[RT_PORT_CALL / 8 + 2]; /* I/O permissions: a clear bit allows; the last byte has to be all ones */
} __attribute__((packed));

struct gate {
    uint16_t offset0, selector;
    uint8_t ist, type;
    uint16_t offset1;
    uint32_t offset2, reserved;
};

/* The system part is handed out page by page. */
struct builder {
    struct machine *m;
    uint64_t used;
    bool full;
};

static uint64_t take_page(struct builder *b) {
    if (b->used + PAGE_SIZE > b->m->layout.system_size) {
        b->full = true;
        return b->m->layout.system; /* something harmless: the build fails at its end */
    }
    uint64_t at = b->m->layout.system + b->used;
    b->used += PAGE_SIZE;
    return at;
}

/* The arena's VM-physical address is its offset, so table addresses are offsets, too. */
static uint64_t *table_at(struct builder *b, uint64_t offset) { return (uint64_t *)(b->m->arena + offset); }

static uint64_t *entry_at(struct builder *b, uint64_t root, uint64_t va, unsigned level) {
    uint64_t table = root;
    for (unsigned l = 3; l > level; l--) {
        uint64_t *e = &table_at(b, table)[va >> (12 + 9 * l) & 511];
        if (!*e)
            *e = take_page(b) | PTE_TABLE;
        table = *e & PTE_ADDRESS;
    }
    return &table_at(b, table)[va >> (12 + 9 * level) & 511];
}

static void map(struct builder *b, uint64_t root, uint64_t va, uint64_t pa, uint64_t len, uint64_t bits) {
    while (len && !b->full) {
        bool huge = !((va | pa) & (HUGE_SIZE - 1)) && len >= HUGE_SIZE;
        *entry_at(b, root, va, huge) = pa | bits | (huge ? PTE_PS : 0);
        uint64_t step = huge ? HUGE_SIZE : PAGE_SIZE;
        va += step;
        pa += step;
        len -= step;
    }
}

static bool is_ring0(const struct builder *b) { return b->m->boot->layout == ABI_LAYOUT_RING0; }
static bool is_direct(const struct builder *b) { return b->m->boot->mmu == ABI_MMU_DIRECT; }
/* An entry for the engine's own use. */
static uint64_t engine_leaf(const struct builder *b) { return PTE_LEAF | PTE_G | (is_ring0(b) ? 0 : PTE_U); }

static void map_arena(struct builder *b, uint64_t root, uint64_t offset, uint64_t len, uint64_t bits) {
    map(b, root, ABI_VA_ENGINE + offset, offset, ALIGN_UP(len, PAGE_SIZE), engine_leaf(b) | bits);
}

/* The processor finds descriptors that it has marked already (build_gdt()), so it has nothing to write there either. */
static void map_system(struct builder *b, const struct vm_tables *t) {
    const struct layout *l = &b->m->layout;
    uint64_t root = t->pml4[0], roots_end = t->pml4[b->m->vcpu_count - 1] + PAGE_SIZE;
    map_arena(b, root, l->system, root - l->system, PTE_NX);
    map_arena(b, root, root, roots_end - root, PTE_W | PTE_NX);
    map_arena(b, root, roots_end, l->system + l->system_size - roots_end, PTE_NX);
}

/* Translated code, where it runs, which is in ring 3, and where the engine writes it. */
static void map_code(struct builder *b, const struct vm_tables *t, unsigned i) {
    struct abi_boot *boot = b->m->boot;
    uint64_t offset = b->m->layout.code[i], engine = b->m->arena_va + offset;
    uint64_t run = is_ring0(b) ? VM_USER_CODE(boot->user_va, i) : engine, /* mapped by bits 47 to 12 */
        write = is_ring0(b) ? engine : VM_CODE_WRITE + offset;
    map(b, t->pml4[is_ring0(b) ? i : 0], run, offset, boot->code_size, PTE_LEAF | PTE_U | (is_ring0(b) ? 0 : PTE_G));
    map(b, t->pml4[0], write, offset, boot->code_size, engine_leaf(b) | PTE_W | PTE_NX);
    boot->code_va[i] = run;
    boot->code_to_write[i] = (int64_t)(write - run);
}

static void map_engine(struct builder *b, const struct vm_tables *t) {
    const struct layout *l = &b->m->layout;
    uint64_t root = t->pml4[0];
    map_system(b, t);
    for (uint64_t at = 0; at < l->image_size; at += PAGE_SIZE) {
        struct image_rights r = engine_image_rights(at);
        map_arena(b, root, at, PAGE_SIZE, (r.write ? PTE_W : 0) | (r.exec ? 0 : PTE_NX));
    }
    map_arena(b, root, l->boot, sizeof(struct abi_boot), PTE_NX);
    map_arena(b, root, l->shared, sizeof(struct abi_shared), PTE_W | PTE_NX);
    map_arena(b, root, l->code_pages, b->m->memory >> PAGE_SHIFT, PTE_W | PTE_NX);
    map_arena(b, root, l->heap, l->heap_size, PTE_W | PTE_NX);
    map_arena(b, root, l->pt_pool, l->pt_pool_size, PTE_W | PTE_NX);
    map_arena(b, root, l->reuse, l->reuse_size, PTE_NX);
    for (unsigned i = 0; i < b->m->vcpu_count; i++) {
        map_arena(b, root, l->cpu[i], ABI_CPU_BYTES, PTE_W | PTE_NX);
        map_arena(b, root, l->stack[i] + PAGE_SIZE, VM_STACK_BYTES - PAGE_SIZE, PTE_W | PTE_NX);
        map_arena(b, root, l->fault_stack[i] + PAGE_SIZE, VM_STACK_BYTES - PAGE_SIZE, PTE_W | PTE_NX);
        map_arena(b, root, l->vcpu_heap[i], l->vcpu_heap_size, PTE_W | PTE_NX);
        map_code(b, t, i);
    }
    map(b, root, ABI_VA_DOORBELL, VM_DOORBELL_PA, PAGE_SIZE, engine_leaf(b) | PTE_W | PTE_NX);
    map(b, root, ABI_VA_RAM, VM_RAM_PA, b->m->memory, engine_leaf(b) | PTE_W | PTE_NX);
}

/* A table of a fifth level, if there is one: all of it is where no guest's address leads. */
static uint64_t make_root(struct builder *b, uint64_t pml4) {
    if (!is_direct(b))
        return pml4;
    uint64_t root = take_page(b), *pml5 = table_at(b, root);
    pml5[VM_DIRECT_ENTRY] = pml4 | PTE_TABLE;
    return root;
}

static void build_gdt(struct builder *b, struct vm_tables *t) {
    t->gdt = take_page(b);
    t->tss_limit = sizeof(struct tss) - 1;
    t->gdt_limit = VM_SEL_TSS + 16 * ABI_MAX_VCPUS - 1;
    uint64_t *gdt = table_at(b, t->gdt);
    gdt[VM_SEL_CODE0 >> 3] = UINT64_C(0x00af9b000000ffff);
    gdt[VM_SEL_DATA0 >> 3] = UINT64_C(0x00cf93000000ffff);
    gdt[VM_SEL_CODE3 >> 3] = UINT64_C(0x00affb000000ffff);
    gdt[VM_SEL_DATA3 >> 3] = UINT64_C(0x00cff3000000ffff);
    for (unsigned i = 0; i < b->m->vcpu_count; i++) {
        uint64_t fault_stack = b->m->arena_va + b->m->layout.fault_stack[i];
        t->tss[i] = take_page(b);
        struct tss *tss = (struct tss *)(b->m->arena + t->tss[i]);
        tss->rsp[0] =
            fault_stack + VM_STACK_BYTES / 2; /* flat: the stub behind #BP needs a few words; else all exceptions */
        tss->ist[VM_IST_DOUBLE_FAULT - 1] = fault_stack + VM_STACK_BYTES - VM_STACK_CPU;
        /* Flat: the port by which ring 3 calls the monitor. */
        tss->iomap = offsetof(struct tss, ports);
        memset(tss->ports, 0xff, sizeof(tss->ports));
        if (!is_ring0(b))
            tss->ports[RT_PORT_CALL / 8] &= (uint8_t)~(1u << RT_PORT_CALL % 8);
        uint64_t base = b->m->arena_va + t->tss[i];
        uint64_t *d = &gdt[(VM_SEL_TSS >> 3) + 2 * i];
        d[0] = (sizeof(*tss) - 1) | (base & 0xffffff) << 16 | UINT64_C(0x8b) << 40 | (base >> 24 & 0xff) << 56;
        d[1] = base >> 32;
    }
}

static void build_idt(struct builder *b, struct vm_tables *t, const struct vm_image *image) {
    t->idt = take_page(b);
    t->idt_limit = VM_VECTORS * sizeof(struct gate) - 1;
    struct gate *idt = (struct gate *)(b->m->arena + t->idt);
    for (unsigned i = 0; i < VM_VECTORS; i++) {
        bool breakpoint = i == VM_VECTOR_BREAKPOINT, ring0 = is_ring0(b);
        uint64_t handler = b->m->arena_va + (breakpoint && ring0 ? image->breakpoint : image->vector[i]);
        idt[i] = (struct gate){.offset0 = (uint16_t)handler,
                               .offset1 = (uint16_t)(handler >> 16),
                               .offset2 = (uint32_t)(handler >> 32),
                               .type = ring0 ? 0x8e : 0xee /* present, interrupt gate, DPL 0 or 3 */,
                               .selector = ring0 || breakpoint ? VM_SEL_CODE0 : VM_SEL_CODE3,
                               .ist = i == VM_VECTOR_DOUBLE_FAULT ? VM_IST_DOUBLE_FAULT : 0};
    }
}

static void place_cpu_pointers(struct machine *m) {
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        uint64_t stacks[2] = {m->layout.stack[i], m->layout.fault_stack[i]};
        for (unsigned s = 0; s < 2; s++)
            memcpy(m->arena + stacks[s] + VM_STACK_BYTES - VM_STACK_CPU, &m->boot->vcpu_va[i], 8);
    }
}

int vm_tables_build(struct machine *m, struct vm_tables *t, char err[ERR_BYTES]) {
    struct builder b = {.m = m};
    const struct vm_image *image = (const struct vm_image *)m->arena;
    if (image->magic != VM_IMAGE_MAGIC || image->abi_version != ABI_VERSION) {
        snprintf(err, ERR_BYTES, "the engine image does not belong to this monitor");
        return -1;
    }
    *t = (struct vm_tables){.entry = m->arena_va + (m->probe ? image->probe : image->entry),
                            .syscalls = m->arena_va + image->syscalls};
    build_gdt(&b, t);
    build_idt(&b, t, image);
    if (is_direct(&b))
        m->boot->windows_va = VM_DIRECT_VA;
    m->boot->user_va = is_direct(&b) ? VM_DIRECT_VA | (uint64_t)VM_USER_SLOT << 39 : VM_USER_VA;
    /* All roots share what is below slot 0. */
    for (unsigned i = 0; i < m->vcpu_count; i++)
        t->pml4[i] = take_page(&b);
    map_engine(&b, t);
    for (unsigned i = 1; i < m->vcpu_count; i++)
        table_at(&b, t->pml4[i])[0] = table_at(&b, t->pml4[0])[0];
    for (unsigned i = 0; i < m->vcpu_count; i++)
        t->root[i] = make_root(&b, t->pml4[i]);
    if (b.full) {
        snprintf(err, ERR_BYTES, "the guest's memory is too large");
        return -1;
    }
    place_cpu_pointers(m);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        m->boot->pml4_pa[i] = t->pml4[i];
        m->boot->pml4_va[i] = m->arena_va + t->pml4[i];
        m->boot->loan_slot[i] = VM_LOAN_SLOT;
        for (unsigned slot = VM_WINDOW_FIRST; slot <= VM_WINDOW_LAST; slot += 2) /* the odd ones are guards */
            m->boot->window_slots[i][slot / 64] |= BIT(slot % 64);
    }
    m->boot->pt_pool_va = m->arena_va + m->layout.pt_pool;
    m->boot->pt_pool_pa = m->layout.pt_pool;
    m->boot->pt_pool_size = m->layout.pt_pool_size;
    m->boot->null_slot = VM_NULL_SLOT;
    m->boot->ram_pa = VM_RAM_PA;
    return 0;
}
