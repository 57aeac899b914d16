/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * rt.h: runtime services, everything that differs between the engine in the VM
 * (dbt/rt/vm) and the engine as a library in a process (dbt/rt/user).
 */
#ifndef GRAFT_RT_H
#define GRAFT_RT_H

#include "graft/cpu.h"

/* engine_main(): the life of a vCPU (dbt/engine.c). Called by the runtime on the vCPU's own stack. Does not return in
 * the VM; in-process it returns after rt_call() of a call that "does not return" unwound it. */
void engine_main(const struct abi_boot *boot, unsigned vcpu);

/* rt_call(): a call to the monitor (enum abi_call); arguments and results in cpu->abi. In the VM an OUT to port
 * RT_PORT_CALL, in-process a function pointer. */
void rt_call(struct cpu *cpu, enum abi_call call);
#define RT_PORT_CALL 0x510
/* rt_doorbell(): rings doorbell n (enum abi_doorbell); a write to ABI_VA_DOORBELL + 8 * n in the VM. */
void rt_doorbell(struct cpu *cpu, unsigned n);
/* rt_ticks(): the host's time-stamp counter. */
static inline uint64_t rt_ticks(void) {
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}
/* rt_yield(): one turn of a loop that waits for what another vCPU is about to do; turns are counted from 0. A short
 * pause at first; when that has not helped, the host may run that vCPU's thread instead of this one. Leaves
 * cpu->abi.arg and ret alone. */
void rt_yield(struct cpu *cpu, unsigned turn);
/* rt_has_gs(): can this thread or vCPU set its GS base without a system call, and keep it? If not, translated code
 * reaches its view from RBP (cpu.view_disp). */
bool rt_has_gs(void);
/* rt_set_view(): makes v the GS base of this thread or vCPU; under ABI_LAYOUT_RING0, v's root its page tables. Only if
 * rt_has_gs(). */
void rt_set_view(struct view *v);
/* rt_map_cpu(): maps the first bytes of struct cpu at at, too (both multiples of PAGE_SIZE, private memory of this vCPU
 * until now). False: the host refuses. Only if !rt_has_gs(). */
bool rt_map_cpu(struct cpu *cpu, void *at, size_t bytes);
/* cpu_set_view(): v is the view that translated code of this vCPU finds from now on. */
static inline void cpu_set_view(struct cpu *cpu, struct view *v) {
    if (cpu->view_disp)
        cpu->rbp = (char *)v - cpu->view_disp;
    else
        rt_set_view(v);
}

/* rt_keeps_high_vectors(): does no C code that translated code calls touch the vector registers that only AVX-512
 * has? */
bool rt_keeps_high_vectors(void);

/* Host page tables: the vCPU's own in the VM; in a process, tables that the kernel's mappings are made to follow. The
 * others must not be called unless rt_has_paging(). */
bool rt_has_paging(void);
/* rt_pt_alloc(): a zeroed page-table page of this vCPU; NULL when the pool is empty. *pa: what a PTE holds. */
uint64_t *rt_pt_alloc(struct cpu *cpu, uint64_t *pa);
void rt_pt_free(struct cpu *cpu, uint64_t *page);
uint64_t *rt_pt_at(struct cpu *cpu, uint64_t pa); /* the page-table page at that VM-physical address */
uint64_t *rt_pml4(struct cpu *cpu);               /* this vCPU's root: 512 entries, slot 0 is the engine's */
#define RT_FLUSH_HUGE UINT64_C(2)
/* rt_flush_pages(): INVLPG in the ring 0 stub. Several pages at once cost little more than one. host_va: page
 * addresses, with RT_FLUSH_HUGE if the host may know the 2 MiB page around it. */
void rt_flush_pages(struct cpu *cpu, const uint64_t *host_va, unsigned count);
/* rt_touch(): a write to a page that changes nothing in it. False if it faulted or if this host does not go by what its
 * page tables say then, but has a TLB of its own: then only a flush helps against what it remembers. */
bool rt_touch(struct cpu *cpu, uint64_t host_va);
/* rt_map_pages(): the entries of count pages from host_va on may have gone from not present to present. */
void rt_map_pages(struct cpu *cpu, uint64_t host_va, unsigned count);
void rt_flush_all(struct cpu *cpu); /* CR3 reload in the ring 0 stub */

/* --- ABI_LAYOUT_RING0: translated code in ring 3, the engine and its memory out of its reach --- */
/* rt_has_ring3(): is that the layout? Nothing below is to be called if not. */
static inline bool rt_has_ring3(const struct cpu *cpu) { return cpu->boot && cpu->boot->layout == ABI_LAYOUT_RING0; }
/* A view's page tables: the engine, for ring 0 alone, and what its translated code may reach. Windows are entries of
 * pml4. */
#define RT_ROOT_TOPS 8
struct rt_root {
    uint64_t pa;    /* for CR3 */
    uint64_t *pml4; /* entries of windows are the memory strategy's */
    /* With ABI_MMU_DIRECT: where the guest's own addresses lead, for 256 TiB each: see rt_root_top(). */
    uint64_t *pml5;
    struct rt_root_top {
        uint64_t *table, pa;
        unsigned at; /* the address' bits 56..48 */
    } top[RT_ROOT_TOPS];
    unsigned tops;   /* those in use; the tables of others are kept for later */
    uint64_t *shown; /* the leaf table of the engine's pages that ring 3 reaches: see vm.h */
    bool changed;    /* the processor may remember what is not so any more */
};
/* rt_root_make(): the root of a view, with all that code of that regime sees of struct cpu, and no pages of the
 * guest's. Tables are made when r is all zero, else they are used again. False: no memory for them. */
bool rt_root_make(struct cpu *cpu, struct rt_root *r, unsigned regime);
/* rt_root_top(): the 512 entries, of 512 GiB each, that the 256 TiB around the guest's address va have; they are the
 * strategy's. NULL: none; with make only if there is no memory for them, or no room: a root has RT_ROOT_TOPS of
 * these. */
uint64_t *rt_root_top(struct cpu *cpu, struct rt_root *r, uint64_t va, bool make);
/* rt_root_view(): shows it the view v itself, with bytes of the strategy's part. rt_root_other(): shows what accesses
 * of regime 0 need of that regime's view (a page of the strategy's part), NULL if there is none; none: of a view that
 * leads nowhere. */
void rt_root_view(struct rt_root *r, const struct view *v, size_t bytes);
void rt_root_other(struct rt_root *r, const void *page, const void *none);
/* rt_shown_view(): for cpu.shown[0]: that regime's view, or the one that leads nowhere; page: offset in the strategy's
 * part of what rt_root_other() shows. */
struct view *rt_shown_view(const struct cpu *cpu, bool none, size_t page);
/* rt_enter(): goes on in ring 3 at entry with RBP and RSP as translated code has them, RSI = code. Returns when that
 * asks for RT_SYS_EXIT, or rt_leave() is called. rt_frame(): where the engine finds the bytes from that RSP on, for
 * code of the current regime. */
void rt_enter(struct cpu *cpu, const uint8_t *entry, const uint8_t *code, size_t frame_bytes);
_Noreturn void rt_leave(struct cpu *cpu);
void *rt_frame(struct cpu *cpu, size_t frame_bytes);
/* What translated code asks for by SYSCALL: RAX says what, RDI RSI RDX R10 are arguments, RAX is the result; of the
 * other registers those live on that the C ABI has a callee keep. All but the first end in codegen_serve(). */
enum rt_sys { RT_SYS_EXIT, RT_SYS_LOOKUP, RT_SYS_JUMP, RT_SYS_CALL, RT_SYS_CALLV, RT_SYS_SLOW };

/* rt_page_costs(): what a page costs this host in ticks, measured once: a fault that changes nothing; to map one page
 * that is there; its first access then; to take it away. Zeros in the VM, where nobody asks. */
struct rt_page_costs {
    uint64_t fault, map, touch, unmap;
    bool huge; /* RAM is in huge pages: 2 MiB that are mapped together cost no more than a page */
};
struct rt_page_costs rt_page_costs(struct cpu *cpu);
/* rt_ram_used(): that page of RAM is about to be used. In a process the host gives memory to it and to its neighbours
 * at once: a fault for each page costs fifty times as much. */
void rt_ram_used(struct cpu *cpu, struct gpa page);
/* rt_sample_start(): from now on, some hundred times in a second of this vCPU's processor time, sets cpu->sample_pc and
 * ABI_PEND_SAMPLE if translated code runs then. False: this host cannot. */
bool rt_sample_start(struct cpu *cpu);

/* rt_log(): printf subset (%s %d %u %x %llx %lx %p %c, width and 0) to the monitor's log; topic: ABI_LOG_* or 0. */
void rt_log(struct cpu *cpu, uint32_t topic, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* rt_panic(): a broken invariant of the engine: reports guest pc, dumps the block, stops the machine. */
_Noreturn void rt_panic(struct cpu *cpu, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* rt_snprintf(): the formatter behind both (dbt/rt/format.c). */
int rt_snprintf(char *buf, size_t len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int rt_vsnprintf(char *buf, size_t len, const char *fmt, __builtin_va_list ap);

/* Freestanding string functions: dbt/rt/vm/string.c in the VM, libc's in-process. */
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int memcmp(const void *, const void *, size_t);
size_t strlen(const char *);

#endif
