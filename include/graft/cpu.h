/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* cpu.h: what every virtual CPU has, whatever its ISA. A guest's own state follows it in memory. */
#ifndef GRAFT_CPU_H
#define GRAFT_CPU_H

#include "graft/abi.h"

#define REGIMES 4 /* access regimes: which permissions apply to an access. The guest numbers them. */
#define RAS_ENTRIES 16

struct view;
struct codegen;
struct engine;
struct guest_ops;

/* Floating-point environment, Arm layout; other guests map theirs onto it. */
struct fp_env {
    uint32_t fpcr;  /* RMode 23..22, FZ 24, DN 25, AHP 26 */
    uint32_t fpsr;  /* IOC 0, DZC 1, OFC 2, UFC 3, IXC 4, IDC 7; the host's MXCSR holds more: see fp_sync() */
    uint32_t mxcsr; /* host MXCSR while translated code does not run: all masked, guest rounding, sticky flags */
    uint32_t reserved;
    v128 qc; /* FPSR.QC is set if any bit is: integer saturation ORs its difference in */
};

struct ras_entry {
    uint64_t pc; /* guest return address, ~0 if unused */
    void *host;  /* where its block starts, or the backend's look-up thunk */
};

/* Bits of cpu.watch: guest_ops.watch(), and the user's debugger (dbt/debug.c). */
enum cpu_watch { CPU_WATCH_GUEST = 1, CPU_WATCH_DEBUGGER = 2 };

#define MEM_VALUE 7 /* of vscratch: what accesses that are calls (dbt/mmu/called.c) have no argument for */
/*
 * Three pages, by who may do what to them: where translated code has less privilege than the engine (ABI_LAYOUT_RING0)
 * it reads the first two and writes the third. The guest's part goes on like that: see guest_ops.own_bytes.
 */
struct cpu {
    struct abi_vcpu abi; /* first: shared with the monitor */

    /* Of the engine; translated code reads the first few. */
    struct view *views[REGIMES]; /* the view that each regime uses now */
    /* The same as translated code finds them, for accesses of other regimes than its own; under ABI_LAYOUT_RING0 only
     * that of regime 0 is any good, the others lead nowhere. */
    struct view *shown[REGIMES];
    uint32_t regime; /* current regime; translated code runs with views[regime]: see cpu_set_view() */
    uint32_t index;  /* vCPU number */
    /* Where GS is not to be had, struct cpu is mapped once more beside each view, and RBP points into that mapping. */
    int32_t view_disp;     /* from RBP in translated code to the view; 0: the view is at the GS base */
    uint32_t tlbi_pending; /* invalidations that the next barrier must complete */
    char *rbp;             /* what RBP is in translated code, if view_disp is not 0 */
    struct cpu *self;      /* this structure where the engine knows it */
    uint64_t exit_rsp;     /* stack pointer of the enter thunk, for unwinding */
    struct engine *engine;
    struct codegen *codegen;
    const struct guest_ops *guest;
    const struct abi_boot *boot;
    struct abi_shared *shared;
    _Atomic uint32_t quiescent;  /* 1 while this vCPU cannot be inside translated code (it is in a monitor call) */
    _Atomic uint64_t req_posted; /* broadcast requests: see engine.h */
    _Atomic uint64_t req_done;
    uint32_t watch;        /* enum cpu_watch: who is shown accesses from C */
    int64_t code_to_write; /* abi_boot.code_to_write: added to a code address by what writes there */
    uint64_t sample_pc;    /* where translated code was when ABI_PEND_SAMPLE was set */
    uint64_t fault_ticks;  /* TSC of the host fault whose access is in progress, 0 if there is none */

    /* Of translated code. The engine must survive whatever it finds here. */
    uint64_t excl_addr __attribute__((aligned(4096))); /* exclusive monitor: address, ~0 = open */
    uint64_t excl_val[2];                              /* what LDX read */
    uint64_t exit_site; /* what engine_left() said of the exit that left the block, 0 if none; or CODE_EXIT_FAULT */
    uint64_t clock;     /* TSC up to which the time is accounted for, if abi_boot.count */
    uint32_t ras_top;
    uint32_t flags_insn; /* not 0: NZCV in the state is out of date, it is what this guest instruction has set (ir.h) */
    uint64_t flags_operand[2]; /* ... or what is made of these, for codes below IR_FLAGS_CODES */
    v128 vscratch[8];          /* operands and result of CALLV, and 16-byte slow accesses; see MEM_VALUE */
    struct ras_entry ras[RAS_ENTRIES];
    struct fp_env fp;
};
_Static_assert(sizeof(struct cpu) == 3 * PAGE_SIZE, "as said above");
_Static_assert(sizeof(struct cpu) < ABI_CPU_BYTES / 2, "room for the guest's state");

/* What of it is a guest's state, whatever its ISA: rows of its table. */
#define CPU_STATE(type)                                                                                                \
    STATE(type, c.excl_addr), STATE(type, c.excl_val), STATE(type, c.fp.fpcr), STATE(type, c.fp.fpsr),                 \
        STATE(type, c.fp.qc)

#define STAT(cpu, name) ((cpu)->abi.stats[ABI_STAT_##name])

#endif
