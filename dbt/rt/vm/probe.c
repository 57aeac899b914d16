/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * probe.c: what the operations cost that the engine is built on, on this host
 * ('graft info --probe'), and what kind of host it is. Runs instead of the engine;
 * results go to abi_vcpu.stats by enum vm_probe.
 */
#include "graft/rt.h"
#include "graft/vm.h"

#define PTE_TABLE UINT64_C(0x27)            /* present, writable, user, accessed */
#define PTE_LEAF (UINT64_C(0x67) | BIT(63)) /* and dirty; not executable */
#define PTE_HUGE BIT(7)
#define SLOT_FREE 3 /* PML4 slots without anything else in them */
#define SLOT_4K 2
#define SLOT_2M 4
#define SLOT_MANY 6
#define SLOT_UPPER 256
#define SLOT_VA(n) ((uint64_t)(n) << 39)
#define LARGE_PAGES 4
#define TABLES 100

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
    uint64_t from = rt_ticks();
    const uint64_t page[8] = {[0 ... 7] = SLOT_VA(SLOT_4K)};
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

/* --- in ring 0 ------------------------------------------------------------------------------------------------ */
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

static void cross(struct cpu *cpu) {
    const uint8_t *code = (const uint8_t *)cpu->boot->code_va[0];
    rt_enter(cpu, code, code, PAGE_SIZE);
}

static void reload(struct cpu *cpu) { rt_flush_all(cpu); }

static void probe_ring0(struct cpu *cpu) {
    static const uint8_t code[] = {0xb8, RT_SYS_EXIT, 0, 0, 0, 0x0f, 0x05}; /* mov eax, RT_SYS_EXIT; syscall */
    uint64_t *stats = cpu->abi.stats;
    stats[VM_PROBE_RING0] = fastest(cpu, loop);
    if (stats[VM_PROBE_RING0] > VM_PROBE_LOOPS_MAX)
        return;
    memcpy((uint8_t *)cpu->boot->code_va[0] + cpu->boot->code_to_write[0], code, sizeof(code));
    stats[VM_PROBE_CROSSING] = fastest(cpu, cross);
    stats[VM_PROBE_CR3] = fastest(cpu, reload);
    stats[VM_PROBE_SMAP] = !touch(cpu, cpu->boot->code_va[0]);
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
