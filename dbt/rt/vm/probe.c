/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * probe.c: what the operations cost that the engine is built on, on this host
 * ('graft info --probe'), and what kind of host it is. Runs instead of the engine;
 * results go to abi_vcpu.stats by enum vm_probe.
 */
#include "dbt/rt/vm/ring3.h"
#include "graft/vm.h"

#define PTE_TABLE UINT64_C(0x27)              /* present, writable, user, accessed */
#define PTE_LEAF (UINT64_C(0x67) | BIT(63))   /* and dirty; not executable */
#define PTE_ENGINE (UINT64_C(0x63) | BIT(63)) /* the same, but not ring 3's */
#define PTE_HUGE BIT(7)
#define SLOT_FREE 3 /* PML4 slots without anything else in them */
#define SLOT_4K 2
#define SLOT_2M 4
#define SLOT_MANY 6
#define SLOT_UPPER 256
#define SLOT_VA(n) vm_here((uint64_t)(n) << 39)
#define LARGE_PAGES 4
#define TABLES 100
_Static_assert((int)VM_PROBE_COUNT <= (int)ABI_STAT_host_faults, "trap.c counts faults among the results");

/* touch(): reads a word; false if that faulted. cpu->exit_site says where the trap handler shall go on. */
static bool touch(struct cpu *cpu, uint64_t va) {
    bool ok = true;
    __asm__ volatile("leaq 1f(%%rip), %%rcx\n\t"
                     "movq %%rcx, %[site]\n\t"
                     "movzbl (%[va]), %%ecx\n\t"
                     "jmp 2f\n"
                     "1: xorl %k[ok], %k[ok]\n"
                     "2:"
                     : [ok] "+r"(ok), [site] "=m"(cpu->exit_site)
                     : [va] "r"(va)
                     : "rcx", "cc", "memory");
    cpu->exit_site = 0;
    return ok;
}

static void result(struct cpu *cpu, enum vm_probe what, uint64_t since, unsigned count) {
    cpu->abi.stats[what] = (rt_ticks() - since) / count;
}

/* A table at slot -> ... -> level that maps from the start of that slot. Level 1: a leaf table, 2: a page directory. */
static uint64_t *table_for(struct cpu *cpu, unsigned slot, unsigned level) {
    uint64_t pa = 0, *entry = &rt_pml4(cpu)[slot];
    for (unsigned l = 3; l >= level; l--) {
        uint64_t *table = rt_pt_alloc(cpu, &pa);
        if (!table)
            rt_panic(cpu, "probe: no page tables");
        *entry = pa | PTE_TABLE;
        entry = table;
    }
    return entry;
}

static void probe_faults(struct cpu *cpu) {
    uint64_t from = rt_ticks();
    for (unsigned i = 0; i < 200; i++)
        touch(cpu, SLOT_VA(SLOT_FREE) + 4096);
    result(cpu, VM_PROBE_FAULT, from, 200);
}

static void probe_flushes(struct cpu *cpu) {
    uint64_t page[8], from;
    for (unsigned i = 0; i < ARRAY_LEN(page); i++)
        page[i] = SLOT_VA(SLOT_4K);
    from = rt_ticks();
    for (unsigned i = 0; i < 200; i++)
        rt_flush_pages(cpu, page, 1);
    result(cpu, VM_PROBE_FLUSH_PAGE, from, 200);
    from = rt_ticks();
    for (unsigned i = 0; i < 200; i++)
        rt_flush_pages(cpu, page, 8);
    result(cpu, VM_PROBE_FLUSH_8, from, 200);
    from = rt_ticks();
    for (unsigned i = 0; i < 200; i++)
        rt_flush_all(cpu);
    result(cpu, VM_PROBE_FLUSH_ALL, from, 200);
}

static void probe_monitor(struct cpu *cpu) {
    cpu->abi.arg[0] = 0;
    uint64_t from = rt_ticks();
    for (unsigned i = 0; i < 100; i++)
        rt_call(cpu, ABI_CALL_KICK);
    result(cpu, VM_PROBE_CALL, from, 100);
    from = rt_ticks();
    for (unsigned i = 0; i < 100; i++)
        rt_doorbell(cpu, ABI_DB_TIMER);
    result(cpu, VM_PROBE_DOORBELL, from, 100);
}

static void probe_mappings(struct cpu *cpu) {
    const uint64_t ram = cpu->boot->ram_pa;
    uint64_t *leaf = table_for(cpu, SLOT_4K, 1), *directory = table_for(cpu, SLOT_2M, 2);
    uint64_t from = rt_ticks();
    for (unsigned i = 0; i < 512; i++)
        ((volatile uint64_t *)leaf)[i] = (ram + i * PAGE_SIZE) | PTE_LEAF;
    result(cpu, VM_PROBE_PTE, from, 512);
    from = rt_ticks();
    for (unsigned i = 0; i < 512; i++)
        touch(cpu, SLOT_VA(SLOT_4K) + i * PAGE_SIZE);
    result(cpu, VM_PROBE_TOUCH_4K, from, 512);
    for (unsigned i = 0; i < LARGE_PAGES; i++)
        directory[i] = (ram + ((uint64_t)(i + 1) << 21)) | PTE_LEAF | PTE_HUGE;
    from = rt_ticks();
    for (unsigned i = 0; i < LARGE_PAGES * 512; i++)
        touch(cpu, SLOT_VA(SLOT_2M) + i * PAGE_SIZE);
    result(cpu, VM_PROBE_TOUCH_2M, from, LARGE_PAGES * 512);
}

/* Flushing everything costs more the more tables were written to since the last time. */
static void probe_many_tables(struct cpu *cpu) {
    uint64_t *directory = table_for(cpu, SLOT_MANY, 2), *leaf[TABLES], pa;
    for (unsigned i = 0; i < TABLES; i++) {
        leaf[i] = rt_pt_alloc(cpu, &pa);
        leaf[i][0] = cpu->boot->ram_pa | PTE_LEAF;
        directory[i] = pa | PTE_TABLE;
        touch(cpu, SLOT_VA(SLOT_MANY) + ((uint64_t)i << 21));
    }
    rt_flush_all(cpu);
    for (unsigned i = 0; i < TABLES; i++) {
        touch(cpu, SLOT_VA(SLOT_MANY) + ((uint64_t)i << 21));
        leaf[i][1] = cpu->boot->ram_pa | PTE_LEAF;
    }
    uint64_t from = rt_ticks();
    rt_flush_all(cpu);
    result(cpu, VM_PROBE_FLUSH_100, from, 1);
}

static void probe_view(struct cpu *cpu) {
    uint64_t from = rt_ticks();
    for (unsigned i = 0; i < 1000; i++)
        rt_set_view(NULL);
    result(cpu, VM_PROBE_VIEW, from, 1000);
}

/* --- in ring 0 -------------------------------------------------------------------------------- */
#define FASTEST_OF 10
#define ENOUGH 3 /* to see that it is slow */
static uint64_t fastest(struct cpu *cpu, void (*fn)(struct cpu *cpu)) {
    uint64_t least = ~UINT64_C(0);
    for (unsigned i = 0; i < FASTEST_OF && (i < ENOUGH || least <= VM_PROBE_LOOPS_MAX); i++) {
        uint64_t from = rt_ticks();
        fn(cpu);
        uint64_t ticks = rt_ticks() - from;
        least = ticks < least ? ticks : least;
    }
    return least;
}

static void loop(struct cpu *cpu) {
    for (volatile unsigned i = 0; i < VM_PROBE_LOOPS; i = i + 1) {
    }
}

#define AFTER_FAULT 64 /* where in the page ring 3 goes on */
#define RFLAGS_DF BIT(10)
static const uint8_t leave_code[] = {0xb8, RT_SYS_EXIT, 0, 0, 0, 0x0f, 0x05}; /* mov eax, RT_SYS_EXIT; syscall */

static void enter(struct cpu *cpu) {
    const uint8_t *code = (const uint8_t *)cpu->boot->code_va[0];
    rt_enter(cpu, code, code, PAGE_SIZE);
}

static void set_code(struct cpu *cpu, const uint8_t *code, size_t bytes) {
    uint8_t *write = (uint8_t *)cpu->boot->code_va[0] + cpu->boot->code_to_write[0];
    memcpy(write, code, bytes);
    memcpy(write + bytes, leave_code, sizeof(leave_code));
    memcpy(write + AFTER_FAULT, leave_code, sizeof(leave_code));
}

/* enter_and_fault(): true if ring 3 faulted on the way. */
static bool enter_and_fault(struct cpu *cpu) {
    cpu->exit_site = cpu->boot->code_va[0] + AFTER_FAULT;
    cpu->fault_ticks = 0;
    enter(cpu);
    cpu->exit_site = 0;
    return cpu->fault_ticks != 0;
}

static bool faults(struct cpu *cpu, const uint8_t *code, size_t bytes) {
    set_code(cpu, code, bytes);
    return enter_and_fault(cpu);
}

/* One instruction with an address in it. */
enum { LOAD = 0xa1, STORE = 0xa3 };
static bool access_faults(struct cpu *cpu, uint8_t opcode, uint64_t va) {
    uint8_t code[10] = {0x48, opcode}; /* mov rax, [va] or back */
    memcpy(code + 2, &va, sizeof(va));
    return faults(cpu, code, sizeof(code));
}

static bool clears_flags(struct cpu *cpu) {
    static const uint8_t code[] = {0xfd}; /* std */
    uint64_t flags;
    set_code(cpu, code, sizeof(code));
    enter(cpu);
    __asm__ volatile("pushfq\n\tpopq %0\n\tcld" : "=r"(flags) : : "cc", "memory");
    return !(flags & RFLAGS_DF);
}

static bool port_faults(struct cpu *cpu) {
    static const uint8_t code[] = {0x66, 0xba, RT_PORT_CALL & 255, RT_PORT_CALL >> 8,
                                   0xee}; /* mov dx, port; out dx, al */
    cpu->abi.call = ABI_CALL_KICK;        /* of nobody */
    cpu->abi.arg[0] = 0;
    return faults(cpu, code, sizeof(code));
}

static void flush_page(struct cpu *cpu) {
    const uint64_t page = SLOT_VA(SLOT_4K);
    rt_flush_pages(cpu, &page, 1);
}

/* Is what a page-table entry says from now on what counts behind a flush? */
static bool flushes(struct cpu *cpu, volatile uint64_t *leaf, void (*flush)(struct cpu *cpu)) {
    const volatile uint64_t *at = (const volatile uint64_t *)SLOT_VA(SLOT_4K);
    uint64_t seen[2];
    for (unsigned i = 0; i < 2; i++) {
        *(volatile uint64_t *)(vm_here(ABI_VA_RAM) + i * PAGE_SIZE) = i;
        *leaf = (cpu->boot->ram_pa + i * PAGE_SIZE) | PTE_ENGINE;
        flush(cpu);
        seen[i] = *at;
    }
    *leaf = 0;
    flush(cpu);
    return seen[0] == 0 && seen[1] == 1 && !touch(cpu, (uint64_t)at);
}

static bool passes(struct cpu *cpu, enum vm_check check, uint64_t *leaf) {
    static const uint8_t add[] = {0xc5, 0xfd, 0xfe, 0xc0, 0xc5, 0xf8, 0x77}; /* vpaddd ymm0, ymm0, ymm0; vzeroupper */
    static const uint8_t halt[] = {0xf4}, undefined[] = {0x0f, 0x0b};
    switch (check) {
    case VM_CHECK_CROSS: set_code(cpu, leave_code, 0); return enter(cpu), true; /* or it does not come back */
    case VM_CHECK_FLAGS: return clears_flags(cpu);
    case VM_CHECK_AVX2: return !faults(cpu, add, sizeof(add));
    case VM_CHECK_ENGINE: return access_faults(cpu, LOAD, (uint64_t)cpu);
    case VM_CHECK_CODE: return access_faults(cpu, STORE, cpu->boot->code_va[0] + 2 * AFTER_FAULT);
    case VM_CHECK_CANONICAL: return access_faults(cpu, LOAD, BIT(62));
    case VM_CHECK_PRIVILEGED: return faults(cpu, halt, sizeof(halt));
    case VM_CHECK_PORT: return port_faults(cpu);
    case VM_CHECK_UNDEFINED: return faults(cpu, undefined, sizeof(undefined));
    case VM_CHECK_FLUSH_PAGE: return flushes(cpu, leaf, flush_page);
    case VM_CHECK_FLUSH_ALL: return flushes(cpu, leaf, rt_flush_all);
    case VM_CHECK_COUNT: break;
    }
    return false;
}

/* If a check ends the VM, its bit is still set. */
static void probe_checks(struct cpu *cpu) {
    uint64_t *leaf = table_for(cpu, SLOT_4K, 1), *refused = &cpu->abi.stats[VM_PROBE_REFUSED];
    *refused = BIT(VM_CHECK_COUNT) - 1;
    for (enum vm_check c = 0; c < VM_CHECK_COUNT; c++)
        *refused &= passes(cpu, c, leaf) ? ~BIT(c) : ~UINT64_C(0);
}

static void reload(struct cpu *cpu) { rt_flush_all(cpu); }
static void fault3(struct cpu *cpu) { enter_and_fault(cpu); }

static void probe_ring0(struct cpu *cpu) {
    uint64_t *stats = cpu->abi.stats;
    stats[VM_PROBE_RING0] = fastest(cpu, loop);
    if (stats[VM_PROBE_RING0] > VM_PROBE_LOOPS_MAX)
        return;
    probe_checks(cpu);
    set_code(cpu, leave_code, 0);
    stats[VM_PROBE_CROSSING] = fastest(cpu, enter);
    stats[VM_PROBE_CR3] = fastest(cpu, reload);
    stats[VM_PROBE_SMAP] = !touch(cpu, cpu->boot->code_va[0]);
    access_faults(cpu, LOAD, (uint64_t)cpu);
    stats[VM_PROBE_FAULT3] = fastest(cpu, fault3);
}

void vm_probe(const struct abi_boot *boot, unsigned vcpu);
void vm_probe(const struct abi_boot *boot, unsigned vcpu) {
    struct cpu *cpu = (struct cpu *)boot->vcpu_va[vcpu];
    cpu->boot = boot;
    cpu->index = vcpu;
    if (rt_has_ring3(cpu)) {
        probe_ring0(cpu);
        rt_call(cpu, ABI_CALL_STOPPED);
        return;
    }
    rt_pml4(cpu)[SLOT_UPPER] = rt_pml4(cpu)[0];
    cpu->abi.stats[VM_PROBE_UPPER_HALF] = touch(cpu, UINT64_C(0xffff800000000000) + ABI_VA_ENGINE);
    rt_pml4(cpu)[SLOT_UPPER] = 0;
    if (boot->log_topics == 0) { /* the flavour alone is asked for */
        rt_call(cpu, ABI_CALL_STOPPED);
        return;
    }
    probe_faults(cpu);
    probe_flushes(cpu);
    probe_monitor(cpu);
    probe_mappings(cpu);
    probe_many_tables(cpu);
    probe_view(cpu);
    rt_call(cpu, ABI_CALL_STOPPED);
}
