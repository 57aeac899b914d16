/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vm.h: what the monitor's vm_kvm.c and the VM runtime (dbt/rt/vm) have to agree
 * on: selectors, stacks, and the table by which the engine image names its entry
 * points. Included by assembly too.
 *
 * Two layouts (abi_boot.layout). Flat: everything runs in ring 3, exceptions included
 * (IDT gates with the DPL 3 code segment); ring 0 has one stub, behind #BP. Ring 0: the
 * engine and exceptions in ring 0, translated code in ring 3, which SYSCALLs.
 */
#ifndef GRAFT_VM_H
#define GRAFT_VM_H

#define VM_IMAGE_MAGIC 0x4547524654464152 /* first word of the image */
#define VM_VECTORS 32

/* Selectors. The descriptors of the task state segments follow, 16 bytes each. */
#define VM_SEL_CODE0 0x08
#define VM_SEL_DATA0 0x10
#define VM_SEL_DATA3 0x1b /* SYSRET wants them in this order */
#define VM_SEL_CODE3 0x23
#define VM_SEL_TSS 0x28

/* The lower canonical half in slots of 512 GiB. Slot 0 is the engine's; every other one is a window, those between are
 * guards. */
#define VM_WINDOW_FIRST 2
#define VM_WINDOW_LAST 252
#define VM_LOAN_SLOT 254
#define VM_NULL_SLOT 255

/* Flat: where the engine writes translated code, at this plus its offset in the arena; it runs at ABI_VA_ENGINE plus
 * that. */
#define VM_CODE_WRITE 0x800000000

/* Ring 0: what ring 3 reaches of the engine's memory, in a slot of the upper half, where no delta leads. A vCPU's code
 * cache has a gigabyte there, read and executed; behind these the pages of the current view: */
#define VM_USER_SLOT 510
#define VM_USER_VA 0xffffff0000000000 /* abi_boot.user_va, but for the direct strategy */
#define VM_USER_CODE(user_va, vcpu) ((user_va) + ((uint64_t)(vcpu) << 30))
#define VM_USER_SHOWN 16 /* the number of that gigabyte */
#define VM_USER_PAGES(user_va) ((user_va) + ((uint64_t)VM_USER_SHOWN << 30))
#define VM_PAGE_CPU 0     /* struct cpu and the guest's part of it: up to 8 */
#define VM_PAGE_STACK 9   /* between guards; each level's own */
#define VM_PAGE_DELTAS 11 /* of regime 0 */
#define VM_PAGE_NO_DELTAS 12
#define VM_PAGE_VIEW 16
#define VM_SYSCALL_BYTES 16
/* The direct strategy has tables of five levels. Entries 0 and 511 of a root are the halves of the guest's addresses.
 * All that is Graft's is in the slots below this entry, as it is elsewhere in the lower half: the engine (so the
 * ABI_VA_ addresses are VM_DIRECT_VA further up), the windows, what ring 3 reaches of the engine's memory. No guest
 * can translate an address with these bits 56..48. Nothing is in the entries beside it, nor in those 256 up. */
#define VM_DIRECT_ENTRY 0x55
#define VM_DIRECT_VA ((uint64_t)VM_DIRECT_ENTRY << 48)
/* The stacks of ring 3 are a page for each level of privilege, the last REGIMES pages of a vCPU's ABI_CPU_BYTES. */
#define VM_USER_STACK(level) (ABI_CPU_BYTES - (REGIMES - (level)) * PAGE_SIZE)

/* A stack is a naturally aligned piece of VM_STACK_BYTES: a guard page at the bottom, and in its last 16 bytes the
 * address of the vCPU's struct cpu, which is how a handler finds it from RSP alone. */
#define VM_STACK_BYTES 0x40000
#define VM_STACK_CPU 0x10
/* Interrupt stack of #DF, which comes when the vCPU's stack has overflowed. */
#define VM_IST_DOUBLE_FAULT 1
#define VM_VECTOR_BREAKPOINT 3
#define VM_VECTOR_DOUBLE_FAULT 8

#ifndef __ASSEMBLER__
#include <stdint.h>

/* At the start of the image (ABI_VA_ENGINE); its places are offsets from there. entry(boot, vcpu) runs in the engine's
 * ring on the vCPU's stack. */
struct vm_image {
    uint64_t magic;
    uint64_t abi_version; /* ABI_VERSION of the image */
    uint64_t entry;
    uint64_t probe;              /* entry of the host probe (dbt/rt/vm/probe.c) */
    uint64_t vector[VM_VECTORS]; /* handlers; flat: all ring 3 but VM_VECTOR_BREAKPOINT */
    uint64_t breakpoint;         /* that one's under ABI_LAYOUT_RING0 */
    uint64_t syscalls;           /* its SYSCALL entries, VM_SYSCALL_BYTES each, by vCPU */
};

/* What the host probe leaves in abi_vcpu.stats: TSC ticks for one operation, unless it says something else. */
enum vm_probe {
    VM_PROBE_UPPER_HALF, /* 1: ring 3 reaches the upper canonical half */
    VM_PROBE_FAULT,      /* #PF to the ring 3 handler and on to the stub */
    VM_PROBE_FLUSH_PAGE, /* #BP, INVLPG, IRETQ */
    VM_PROBE_FLUSH_8,    /* the same with eight pages */
    VM_PROBE_FLUSH_ALL,  /* #BP, CR3 reload, IRETQ */
    VM_PROBE_FLUSH_100,  /* the same after 100 leaf tables were written to */
    VM_PROBE_CALL,       /* exit to the monitor and back */
    VM_PROBE_DOORBELL,
    VM_PROBE_TOUCH_4K, /* first access through a new 4 KiB mapping */
    VM_PROBE_TOUCH_2M, /* first access to each 4 KiB in new 2 MiB mappings */
    VM_PROBE_PTE,      /* writing a page-table entry */
    VM_PROBE_VIEW,     /* WRGSBASE */
    /* In an image with ABI_LAYOUT_RING0; the last ones only if the first is small enough: */
    VM_PROBE_RING0,    /* in ring 0: a loop of VM_PROBE_LOOPS rounds, the fastest of some */
    VM_PROBE_CROSSING, /* from ring 0 to ring 3 and back by SYSCALL, the same */
    VM_PROBE_CR3,      /* CR3 reload there */
    VM_PROBE_SMAP,     /* 1: ring 0 cannot touch ring 3's pages */
    VM_PROBE_REFUSED,  /* a bit for each enum vm_check that has not been passed */
    VM_PROBE_FAULT3,   /* #PF from ring 3 to the handler in ring 0 and back, and the crossing that ends the round */
    VM_PROBE_COUNT
};

/* VM_CHECK(enumerator, what is so): what the engine in ring 0 takes for granted of its host, in the order in which the
 * probe tries it. They do not depend on who made the processor, or on what KVM intercepts, but some KVMs are none of
 * these. */
#define VM_CHECKS(VM_CHECK)                                                                                            \
    VM_CHECK(CROSS, "SYSRETQ and SYSCALL lead to ring 3 and back")                                                     \
    VM_CHECK(FLAGS, "SYSCALL clears the flags that it was told")                                                       \
    VM_CHECK(AVX2, "ring 3 has AVX2")                                                                                  \
    VM_CHECK(ENGINE, "ring 3 cannot read the engine's memory")                                                         \
    VM_CHECK(CODE, "ring 3 cannot write the code that it runs")                                                        \
    VM_CHECK(CANONICAL, "ring 3 faults at an address that is not canonical")                                           \
    VM_CHECK(PRIVILEGED, "ring 3 cannot halt")                                                                         \
    VM_CHECK(PORT, "ring 3 cannot call the monitor")                                                                   \
    VM_CHECK(UNDEFINED, "#UD in ring 3 comes to ring 0")                                                               \
    VM_CHECK(FLUSH_PAGE, "INVLPG drops what was known of a page")                                                      \
    VM_CHECK(FLUSH_ALL, "loading CR3 drops what was known of pages")
enum vm_check {
#define VM_CHECK(name, what) VM_CHECK_##name,
    VM_CHECKS(VM_CHECK)
#undef VM_CHECK
        VM_CHECK_COUNT
};
#define VM_PROBE_LOOPS 200
#define VM_PROBE_LOOPS_MAX                                                                                             \
    (1000 * VM_PROBE_LOOPS) /* ticks; who executes natively needs a few for each round, who interprets ten thousand */
#endif
#endif
