/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * abi.h: the contract between the monitor (an ordinary process) and the engine
 * (freestanding code in the VM, or a library in the monitor's process).
 *
 * Three shared objects:
 *   struct abi_boot    one, filled by the monitor before the first vCPU starts, then constant
 *   struct abi_shared  one, both sides read and write it while the machine runs
 *   struct abi_vcpu    one per vCPU, the first page of that vCPU's struct cpu
 *
 * Every address in here is valid in the *engine's* address space; guest-physical
 * addresses are opaque to the monitor except through its checked guest_ram_ptr().
 */
#ifndef GRAFT_ABI_H
#define GRAFT_ABI_H

#include "graft/base.h"

#define ABI_MAGIC 0x54465247u /* "GRFT" */
#define ABI_VERSION 7
#define ABI_MAX_VCPUS 8
#define ABI_MAX_SPIS 288 /* QEMU virt has 256 + 32 private: interrupt ids 32 .. 32+255 */
#define ABI_VIRTIO_SLOTS 32
#define ABI_CPU_BYTES (256 * 1024) /* struct cpu and its guest part fit in here */

/* Engine address space in the VM, but for ABI_MMU_DIRECT (vm.h); in-process the same fields point into the process. */
#define ABI_VA_DOORBELL UINT64_C(0x0000000020000000) /* one 4 KiB page without memory behind it */
#define ABI_VA_ENGINE UINT64_C(0x0000000040000000)   /* image, heap, code caches: < 2 GiB, so rel32 reaches */
#define ABI_VA_RAM UINT64_C(0x0000001000000000)      /* guest RAM, linear */

enum abi_mmu { ABI_MMU_WINDOW, ABI_MMU_SOFT, ABI_MMU_PROCESS, ABI_MMU_DIRECT, ABI_MMU_COUNT };
/* What runs where in the VM (vm.h). ABI_LAYOUT_FLAT is 0, which is what a process has. */
enum abi_layout {
    ABI_LAYOUT_FLAT, /* all in ring 3 */
    ABI_LAYOUT_RING0 /* the engine in ring 0, translated code in ring 3 */
};
/* What becomes of translated code in later runs (code_entry.h). */
enum abi_reuse {
    ABI_REUSE_OFF,
    ABI_REUSE_NEW, /* the monitor wants blocks that were translated */
    ABI_REUSE_ALL  /* ... and those that were copied from what it has */
};
/* What a guest is shown: all that there is, or less. */
enum abi_cpu_model { ABI_CPU_MAX, ABI_CPU_CORE /* the one that the board names */ };

/* Guest-physical ranges that the engine may treat specially. */
enum abi_region_kind {
    ABI_REGION_POSTED, /* writes go to the posted ring; no exit */
    ABI_REGION_SHADOW, /* reads return abi_shared.shadow[index]; no exit */
};
#define ABI_MAX_REGIONS 16
struct abi_region {
    uint64_t gpa;
    uint32_t size;  /* bytes */
    uint16_t kind;  /* enum abi_region_kind */
    uint16_t index; /* ABI_REGION_SHADOW: index into abi_shared.shadow */
};

struct abi_boot {
    uint32_t magic, version, size;  /* ABI_MAGIC, ABI_VERSION, sizeof(struct abi_boot) */
    uint32_t vcpu_count;            /* 1 .. ABI_MAX_VCPUS */
    uint32_t guest;                 /* index in guest_table (guests/guests.c) */
    uint32_t mmu;                   /* enum abi_mmu */
    uint32_t cpu_model;             /* enum abi_cpu_model */
    uint32_t gic_version;           /* 2 or 3 */
    uint32_t log_topics;            /* ABI_LOG_* */
    uint32_t count;                 /* 1: translated code counts what it does (abi_stats.def says which) */
    uint32_t firmware;              /* 1: the guest brings firmware of its own, for whatever level that runs at */
    uint32_t semihosting;           /* 1: the guest may make semihosting calls */
    uint32_t all_hot;               /* 1: every block is taken for one that runs much; for tests */
    uint32_t layout;                /* enum abi_layout */
    uint64_t dump_first, dump_last; /* ABI_LOG_IN, IR, OUT and EXEC: blocks that have code at these addresses only */
    uint64_t ram_gpa, ram_size;     /* guest RAM: base and size in bytes, page-aligned */
    uint64_t ram_va;                /* where the engine sees that RAM */
    uint64_t rom_gpa, rom_size;     /* flash: what guests read as memory while abi_shared.rom_mapped says so */
    uint64_t rom_offset; /* its bytes, and all that there is of each page of it, lie so far behind RAM's first */
    uint64_t virtio_gpa; /* virtio-mmio slots: the first, how many bytes further the next is, how many there are */
    uint32_t virtio_stride, virtio_slots;
    uint32_t
        virtio_irq; /* of the first slot: a bit of abi_shared.spi_level, which they do not use; the others follow */
    uint64_t heap_va, heap_size;          /* shared heap of the engine, zeroed */
    uint64_t vcpu_va[ABI_MAX_VCPUS];      /* ABI_CPU_BYTES each, zeroed: struct cpu */
    uint64_t vcpu_heap_va[ABI_MAX_VCPUS]; /* private heap of each vCPU (tables, views), zeroed */
    uint64_t vcpu_heap_size;
    uint64_t code_va[ABI_MAX_VCPUS]; /* private code cache of each vCPU, where it runs: executable and readable */
    /* From an address in there to where the same memory is writable: 0 if that is one address, as in the VM. */
    int64_t code_to_write[ABI_MAX_VCPUS];
    uint64_t code_size;
    uint64_t reuse;                   /* enum abi_reuse */
    uint64_t reuse_va, reuse_bytes;   /* entries of earlier runs, read-only; 0 bytes: there are none */
    uint64_t reuse_table, reuse_mask; /* struct code_slot for each, of which at least half are free */
    uint64_t shared_va;               /* struct abi_shared */
    uint64_t tsc_hz;                  /* host TSC frequency */
    uint64_t tsc_base;                /* TSC value at which the guest's counter reads 0 */
    uint64_t entry_pc;                /* where vCPU 0 starts (guest-physical, MMU off) */
    uint64_t entry_args[4];           /* x0 .. x3 at that moment */
    uint32_t region_count;
    struct abi_region regions[ABI_MAX_REGIONS];
    /* Filled by the VM runtime's loader, zero in-process: */
    uint64_t pt_pool_va, pt_pool_pa, pt_pool_size; /* page-table pages, per VM; split between vCPUs by the engine */
    uint64_t pml4_pa[ABI_MAX_VCPUS], pml4_va[ABI_MAX_VCPUS];
    uint64_t ram_pa; /* host-VM-physical address of guest RAM (what PTEs hold) */
    /* Slots of 512 GiB of the engine's address space (address >> 39): */
    uint64_t window_slots[ABI_MAX_VCPUS]
                         [4];          /* a bit for each that this vCPU may use as a window; its neighbours are empty */
    uint64_t windows_va;               /* where slot 0 begins: 0, but for ABI_MMU_DIRECT */
    uint64_t user_va;                  /* ABI_LAYOUT_RING0: what ring 3 reaches of the engine's memory: see vm.h */
    uint32_t null_slot;                /* nothing is ever mapped there */
    uint32_t loan_slot[ABI_MAX_VCPUS]; /* for single pages of this vCPU */
};

/* Bits of abi_vcpu.pending. Any set bit makes translated code leave at its next check. */
enum abi_pending {
    ABI_PEND_IRQ = 1u << 0,    /* an interrupt input may have changed: evaluate the interrupt controller */
    ABI_PEND_TIMER = 1u << 1,  /* timer_deadline has passed: evaluate the timers */
    ABI_PEND_REQ = 1u << 2,    /* another vCPU left a request (TLBI, code invalidation, CPU_ON) */
    ABI_PEND_STOP = 1u << 3,   /* the monitor wants this vCPU to call ABI_CALL_STOPPED */
    ABI_PEND_SAMPLE = 1u << 5, /* the runtime has looked where translated code is: cpu.sample_pc */
    ABI_PEND_ROM = 1u << 6,    /* abi_shared.rom_mapped has lost bits */
    ABI_PEND_DMA = 1u << 4,    /* the monitor wrote to pages that hold translated code: see abi_shared.dma */
    ABI_PEND_PAUSE = 1u << 7,  /* the monitor wants this vCPU to call ABI_CALL_PAUSED */
    ABI_PEND_LOOP = 1u << 8,   /* the engine's own: translated code is to leave its loop (dbt/x86/steady.c) */
};

/* Calls from the engine to the monitor: number in abi_vcpu.call, arguments in arg[], result in ret[]. */
enum abi_call {
    ABI_CALL_MMIO_READ = 1, /* arg0 gpa, arg1 bytes (1,2,4,8) -> ret0 value, ret1 0 ok / 1 nothing there */
    ABI_CALL_MMIO_WRITE,    /* arg0 gpa, arg1 bytes, arg2 value -> ret1 as above */
    ABI_CALL_WAIT,          /* sleep until pending != 0 or timer_deadline passes */
    ABI_CALL_KICK,          /* arg0 vCPU index: wake it if it sleeps in ABI_CALL_WAIT */
    ABI_CALL_POWEROFF,      /* PSCI SYSTEM_OFF; does not return */
    ABI_CALL_RESET,         /* PSCI SYSTEM_RESET; does not return */
    ABI_CALL_STOPPED,       /* this vCPU saw ABI_PEND_STOP; does not return */
    ABI_CALL_LOG,           /* arg0 engine address, arg1 bytes: text for the log; arg2 ABI_LOG_* topic or 0 */
    ABI_CALL_PANIC,         /* arg0, arg1: text; the engine is broken; does not return */
    ABI_CALL_DUMP, /* arg0 address, arg1 bytes, arg2 kind: 0 host code, 1 guest code at arg3; disassemble to the log */
    ABI_CALL_PERFMAP, /* arg0 host code address, arg1 bytes, arg2 guest pc */
    ABI_CALL_YIELD,   /* let other threads run: this vCPU waits for another one */
    /* arg0 operation (graft/semihost.h), arg1 .. arg3 its numbers, bytes in abi_vcpu.text -> ret0 result, ret1 errno,
     * or SEMIHOST_AGAIN */
    ABI_CALL_SEMIHOST,
    /* This vCPU is between two instructions. arg0 enum abi_held; of an access: arg1 its first watched address, arg2 the
     * watchpoint; ABI_HELD_DONE: arg1, arg2 what the order has brought, arg3 1 if it could be done. -> ret1 enum
     * abi_order, arg3 register or address, arg4 and arg5 a value; ret0 1: the monitor has written over the guest's
     * state (guest_ops.state), if the order is to go on */
    ABI_CALL_PAUSED,
    ABI_CALL_REUSE, /* arg0 address, arg1 bytes: entries (code_entry.h) for later runs -> ret0 1: no more of them */
};

/* Why a vCPU is held. */
enum abi_held {
    ABI_HELD_ASKED,      /* ABI_PEND_PAUSE */
    ABI_HELD_STEPPED,    /* ABI_ORDER_STEP is done */
    ABI_HELD_BREAKPOINT, /* at this pc there is one */
    ABI_HELD_READ,       /* the next instruction is about to read or write what is watched */
    ABI_HELD_WRITE,
    ABI_HELD_DONE, /* for the order before */
};
/* What a vCPU that is held is to do. */
enum abi_order {
    ABI_ORDER_RUN,           /* go on, with abi_shared.debug as it is now */
    ABI_ORDER_STEP,          /* one instruction, without an interrupt; a vCPU that is off just goes on */
    ABI_ORDER_READ_REGISTER, /* by its number in guest_debug.regs */
    ABI_ORDER_WRITE_REGISTER,
    ABI_ORDER_TRANSLATE, /* a virtual address of the current address space: arg1 the guest-physical one */
};

#define ABI_BREAKPOINTS 64
#define ABI_WATCHPOINTS 16
/* What a debugger wants to know of, at whatever level and in whatever address space; the guest sees nothing of it. The
 * monitor changes it while all vCPUs are held. */
struct abi_debug {
    uint32_t breakpoints, watchpoints;
    uint64_t breakpoint[ABI_BREAKPOINTS];
    struct abi_watch {
        uint64_t va, bytes; /* bytes: at least 1 */
        uint64_t read, write;
    } watchpoint[ABI_WATCHPOINTS];
};

/* Doorbells: no exit to the vCPU's thread, the monitor's event thread hears them. */
enum abi_doorbell {
    ABI_DB_VIRTIO0 = 0, /* .. +31: virtqueue notification; the queue index is written to virtio_notify[slot] first */
    ABI_DB_TIMER = 32,  /* some vCPU's timer_deadline is earlier than timer_armed */
    ABI_DB_POSTED = 33, /* the posted ring went from empty to not empty */
    ABI_DB_AHEAD = 34,  /* some vCPU's ring of ahead[] went from empty to not empty */
    ABI_DB_COUNT = 35,
};

enum abi_log {
    ABI_LOG_UNIMP = 1u << 0, /* unimplemented instruction or register, with its encoding */
    ABI_LOG_GUEST = 1u << 1, /* guest errors */
    ABI_LOG_IN = 1u << 2,    /* guest code of each block */
    ABI_LOG_IR = 1u << 3,    /* IR after each pass */
    ABI_LOG_OUT = 1u << 4,   /* host code of each block */
    ABI_LOG_INT = 1u << 5,   /* guest exceptions and interrupts */
    ABI_LOG_MMU = 1u << 6,   /* host faults, fills, flushes */
    ABI_LOG_EXEC = 1u << 7,  /* every block entered from the dispatcher (disables chaining) */
    ABI_LOG_PERF = 1u << 8,  /* ABI_CALL_PERFMAP for each block */
    ABI_LOG_CHECK =
        1u << 9, /* no log: host page tables are compared with the guest's after each TLBI (dbt/mmu/check.c) */
    ABI_LOG_HOT = 1u << 10, /* no log: abi_boot.all_hot */
};

/* Counters that `--stats` writes; each vCPU counts its own. Keep the list and the names in abi_stats.def. */
#define ABI_STAT(name, text) ABI_STAT_##name,
enum abi_stat {
#include "graft/abi_stats.def"
    ABI_STAT_COUNT
};
#undef ABI_STAT

/* Memory in the engine's address space. */
#define ABI_AHEAD_ENTRIES 32
#define ABI_AHEAD_BYTES (UINT64_C(2) << 20) /* a huge page */
struct abi_range {
    uint64_t va, bytes;
};

/* First page of struct cpu. */
struct abi_vcpu {
    _Atomic uint32_t pending;        /* enum abi_pending; set by anyone, cleared by the engine of this vCPU */
    _Atomic uint32_t idle;           /* 1 while the vCPU's thread sleeps in ABI_CALL_WAIT (monitor writes) */
    _Atomic uint64_t timer_deadline; /* host TSC value of the next timer event, ~0 if none (engine writes) */
    uint32_t call;                   /* enum abi_call */
    uint32_t reserved;
    uint64_t arg[6];
    uint64_t ret[2];
    uint64_t stats[128]; /* indexed by enum abi_stat */
    char text[2048];     /* scratch for ABI_CALL_LOG */
    /* Memory that the engine is about to use, so that the host gives it before that: hints, some may be lost. The
     * engine writes head, the monitor tail. */
    _Atomic uint32_t ahead_head, ahead_tail;
    struct abi_range ahead[ABI_AHEAD_ENTRIES];
} __attribute__((aligned(4096)));
_Static_assert(sizeof(struct abi_vcpu) == 4096, "one page");
_Static_assert(ABI_STAT_COUNT <= 128, "statistics fit");

#define ABI_ROM_CHUNK (UINT64_C(2) << 20) /* at most 64 of them */
#define ABI_POSTED_ENTRIES 1024
struct abi_posted_entry {
    uint64_t gpa;
    uint32_t value;
    uint32_t size;
};
#define ABI_DMA_ENTRIES 256

struct abi_shared {
    /* Level of each shared peripheral interrupt that a monitor device drives (bit = SPI number, id - 32). */
    _Atomic uint32_t spi_level[(ABI_MAX_SPIS + 31) / 32];
    /* Which of them, and of the interrupts of virtio slots, have risen since the engine took the bit, wherever they are
     * now. */
    _Atomic uint32_t spi_rose[(ABI_MAX_SPIS + 31) / 32];
    /* The engine's hint which vCPU an SPI goes to: the monitor sets ABI_PEND_IRQ there and wakes it. */
    _Atomic uint8_t spi_target[ABI_MAX_SPIS];
    /* InterruptStatus of each virtio-mmio slot; the slot's interrupt (virtio_irq + slot) is high while it is not 0.
     * The monitor ORs bits in; the engine serves guest reads and acknowledges without an exit. */
    _Atomic uint32_t virtio_isr[ABI_VIRTIO_SLOTS];
    /* Queue indices (bit mask) notified since the monitor last looked. */
    _Atomic uint64_t virtio_notify[ABI_VIRTIO_SLOTS];
    /* TSC value at which the monitor looks at all timer_deadlines, 0: not before it is told to (monitor writes). */
    _Atomic uint64_t timer_armed;
    /* Device registers that reads are served from. */
    _Atomic uint32_t shadow[ABI_MAX_REGIONS];
    /* Posted writes: producers (engines) take posted_lock; the monitor consumes from posted_tail. */
    _Atomic uint32_t posted_lock, posted_head, posted_tail;
    struct abi_posted_entry posted[ABI_POSTED_ENTRIES];
    /* Guest-physical pages written by the monitor that hold translated code. The monitor appends under its
     * own lock and sets ABI_PEND_DMA on all vCPUs; each engine keeps its own tail. */
    _Atomic uint32_t dma_head;
    uint64_t dma_page[ABI_DMA_ENTRIES];
    /* A bit for each ABI_ROM_CHUNK of the flash: reads and fetches find memory there, else they are for the device.
     * Writes always are. The monitor sets a bit at any time; when it clears one it counts rom_changes and sets
     * ABI_PEND_ROM on all vCPUs. */
    _Atomic uint64_t rom_mapped;
    _Atomic uint32_t rom_changes;
    struct abi_debug debug;
    /* A bit for each ABI_AHEAD_BYTES of RAM, as far as there are bits, that a vCPU has used: what it was given ahead of
     * that is not given again, as the guest may have given it back. */
    _Atomic uint8_t ram_used[4096];
    /* One byte per page of RAM and flash, at this engine address: bit n set = vCPU n holds translated code of it. */
    uint64_t code_pages_va;
    uint64_t guest_va; /* what the guest's vCPUs share (engine_guest_shared()); the engine writes it before the first
                          one runs */
};

#endif
