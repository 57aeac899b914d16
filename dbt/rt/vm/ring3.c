/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ring3.c: what translated code in ring 3 may reach (ABI_LAYOUT_RING0). Each view has a root of its own: the engine in
 * slot 0, which ring 0 alone may touch, the windows of the view, and in VM_USER_SLOT the pages that vm.h lists. The
 * engine itself goes by its own addresses of them, so that ring 0 never touches a user page (SMAP).
 */
#include "dbt/rt/vm/ring3.h"
#include "graft/codegen.h"
#include "graft/mmu.h"
#include "graft/vm.h"

#define PTE_ADDR UINT64_C(0x000ffffffffff000)
#define PTE_W 2
#define TABLE_ENTRIES 512u
#define HALVES 2                             /* tops that each root has: those of 0 and of ~0 */
#define PTE_TABLE UINT64_C(0x27)             /* present, writable, user, accessed */
#define PTE_SHOWN (UINT64_C(0x65) | BIT(63)) /* present, user, accessed, dirty; not executable */

/* What ring3.S knows of a vCPU. */
struct vm_ring3 {
    uint64_t stack; /* where vm_enter() left it */
    struct cpu *cpu;
    uint64_t rsp; /* ring 3's, while ring 0 serves it */
    uint64_t reserved;
};
struct vm_ring3 vm_ring3[ABI_MAX_VCPUS];
_Static_assert(sizeof(struct vm_ring3) == 1 << 5 && ABI_MAX_VCPUS == 8, "see ring3.S");

void vm_enter(struct vm_ring3 *state, const uint8_t *code, const uint8_t *entry, uint64_t rbp, uint64_t rsp,
              uint64_t gs);
_Noreturn void vm_leave(struct vm_ring3 *state);

/* The arena's VM-physical addresses are offsets in it. */
static uint64_t arena_pa(const void *va) { return (uint64_t)va - vm_here(ABI_VA_ENGINE); }
static uint64_t *arena_table(uint64_t entry) { return (uint64_t *)(vm_here(ABI_VA_ENGINE) + (entry & PTE_ADDR)); }

static void show(struct rt_root *r, unsigned page, const void *va, size_t bytes, bool write) {
    for (size_t at = 0; at < bytes; at += PAGE_SIZE)
        r->shown[page++] = arena_pa((const char *)va + at) | PTE_SHOWN | (write ? PTE_W : 0);
}

uint64_t *rt_root_top(struct cpu *cpu, struct rt_root *r, uint64_t va, bool make) {
    unsigned at = va >> 48 & (TABLE_ENTRIES - 1);
    for (unsigned i = 0; i < r->tops; i++)
        if (r->top[i].at == at)
            return r->top[i].table;
    struct rt_root_top *t = &r->top[r->tops];
    if (!make || r->tops == RT_ROOT_TOPS)
        return NULL;
    if (!t->table)
        t->table = rt_pt_alloc(cpu, &t->pa);
    if (!t->table)
        return NULL;
    t->at = at;
    r->pml5[at] = t->pa | PTE_TABLE;
    r->tops++;
    return t->table;
}

/* A fifth level: the guest's addresses lead where they say; what there is for four levels is where none leads. */
static bool make_halves(struct cpu *cpu, struct rt_root *r) {
    uint64_t pml4_pa = r->pa;
    r->pml5 = rt_pt_alloc(cpu, &r->pa);
    if (!r->pml5 || !rt_root_top(cpu, r, 0, true) || !rt_root_top(cpu, r, ~UINT64_C(0), true))
        return false;
    r->pml5[VM_DIRECT_ENTRY] = pml4_pa | PTE_TABLE;
    return true;
}

/* Nothing of the guest's is there any more. */
static void clear_tops(struct rt_root *r) {
    for (unsigned i = 0; i < r->tops; i++) {
        memset(r->top[i].table, 0, PAGE_SIZE);
        if (i >= HALVES)
            r->pml5[r->top[i].at] = 0;
    }
    r->tops = r->tops < HALVES ? r->tops : HALVES;
}

static bool make_tables(struct cpu *cpu, struct rt_root *r) {
    uint64_t pdpt_pa, pd_pa, shown_pa, *pdpt = rt_pt_alloc(cpu, &pdpt_pa), *pd = rt_pt_alloc(cpu, &pd_pa);
    r->shown = rt_pt_alloc(cpu, &shown_pa);
    r->pml4 = rt_pt_alloc(cpu, &r->pa);
    if (!r->pml4 || !r->shown || !pd || !pdpt)
        return false;
    const uint64_t *own = rt_pml4(cpu);
    r->pml4[0] = own[0];
    if (cpu->boot->mmu == ABI_MMU_DIRECT && !make_halves(cpu, r))
        return false;
    r->pml4[VM_USER_SLOT] = pdpt_pa | PTE_TABLE;
    pdpt[cpu->index] = arena_table(own[VM_USER_SLOT])[cpu->index]; /* code */
    pdpt[VM_USER_SHOWN] = pd_pa | PTE_TABLE;
    pd[0] = shown_pa | PTE_TABLE;
    return true;
}

static char *stack_page(struct cpu *cpu, unsigned regime) {
    return (char *)cpu + VM_USER_STACK(guest_level(cpu->guest, regime));
}

bool rt_root_make(struct cpu *cpu, struct rt_root *r, unsigned regime) {
    const struct guest_ops *g = cpu->guest;
    const size_t hot = sizeof(struct cpu) - PAGE_SIZE;
    if (!r->pml4 && !make_tables(cpu, r))
        return false;
    memset(r->shown, 0, PAGE_SIZE);
    for (unsigned slot = 1; slot < VM_USER_SLOT; slot++)
        r->pml4[slot] = 0;
    clear_tops(r);
    show(r, VM_PAGE_CPU, cpu, PAGE_SIZE, cpu->boot->count != 0);
    show(r, VM_PAGE_CPU + 1, (char *)cpu + PAGE_SIZE, hot - PAGE_SIZE, false);
    show(r, VM_PAGE_CPU + (unsigned)(hot >> PAGE_SHIFT), (char *)cpu + hot, g->own_bytes[regime] - hot, true);
    show(r, VM_PAGE_STACK, stack_page(cpu, regime), PAGE_SIZE, true);
    r->changed = true;
    return true;
}

void rt_root_view(struct rt_root *r, const struct view *v, size_t bytes) {
    show(r, VM_PAGE_VIEW, v->jump_cache, sizeof(*v) - offsetof(struct view, jump_cache) + bytes, true);
}

void rt_root_other(struct rt_root *r, const void *page, const void *none) {
    r->shown[VM_PAGE_DELTAS] = 0;
    if (page)
        show(r, VM_PAGE_DELTAS, page, PAGE_SIZE, false);
    show(r, VM_PAGE_NO_DELTAS, none, PAGE_SIZE, false);
    r->changed = true;
}

struct view *rt_shown_view(const struct cpu *cpu, bool none, size_t page) {
    uint64_t at = VM_USER_PAGES(cpu->boot->user_va) + (none ? VM_PAGE_NO_DELTAS : VM_PAGE_DELTAS) * PAGE_SIZE;
    return (struct view *)(at - page - sizeof(struct view));
}

void *rt_frame(struct cpu *cpu, size_t frame_bytes) { return stack_page(cpu, cpu->regime) + PAGE_SIZE - frame_bytes; }

void rt_enter(struct cpu *cpu, const uint8_t *entry, const uint8_t *code, size_t frame_bytes) {
    struct vm_ring3 *state = &vm_ring3[cpu->index];
    const uint64_t pages = VM_USER_PAGES(cpu->boot->user_va);
    state->cpu = cpu;
    vm_enter(state, code, entry, pages + VM_PAGE_CPU * PAGE_SIZE + (uint64_t)CODEGEN_BIAS,
             pages + (VM_PAGE_STACK + 1) * PAGE_SIZE - frame_bytes,
             pages + VM_PAGE_VIEW * PAGE_SIZE - offsetof(struct view, jump_cache));
}

_Noreturn void rt_leave(struct cpu *cpu) { vm_leave(&vm_ring3[cpu->index]); }
