/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * guest.h: the one struct through which the engine reaches a guest ISA. A
 * folder under guests/ provides one; guests/guests.c lists them, guests/guests.cmake those that have decode
 * tables. */
#ifndef GRAFT_GUEST_H
#define GRAFT_GUEST_H

#include "graft/ir.h"
#include "graft/mmu.h"
#include "graft/state.h"

struct guest_pin {
    uint32_t offset; /* of a 64-bit register, or of a 128-bit vector register, in struct cpu */
};

/* Of a mode: each of its blocks goes back to the dispatcher, which calls executed(). None is linked or looked up by
 * another. */
#define GUEST_MODE_ONCE (1u << 31)
/* The engine's own: accesses are shown to the user's debugger. */
#define GUEST_MODE_SHOWN (1u << 30)

/* A register as a debugger sees it. name, type: as in GDB's target descriptions. */
struct guest_reg {
    const char *name, *type;
    uint8_t bits;    /* at most 128 */
    uint8_t feature; /* index in guest_debug.features */
};
/* A feature of GDB's target descriptions, with the elements that define its types, "" if there are none. */
struct guest_feature {
    const char *name, *types;
};
struct guest_debug {
    const char *architecture; /* GDB's name of it */
    const struct guest_feature *features;
    unsigned feature_count;
    const struct guest_reg *regs; /* by feature */
    unsigned reg_count;
    unsigned general; /* the first so many are those of all programs: GDB's g packet */
    unsigned pc;      /* the number of the program counter */
    /* The vCPU is in the dispatcher. read(): registers that cannot be read are 0. write(): false: it cannot be written.
     * Neither raises anything. */
    void (*read)(struct cpu *cpu, unsigned reg, v128 *value);
    bool (*write)(struct cpu *cpu, unsigned reg, const v128 *value);
};

struct guest_ops {
    const char *name; /* its folder: "a64" */
    size_t cpu_size;  /* struct cpu and the guest's part */
    /* What of it code of a regime reads and writes, in whole pages: from struct cpu's last on to own_bytes, which grow
     * with the regime. Regimes that have the same are a level of privilege (guest_level()). The engine must survive
     * whatever it finds there. 0: it does not go by pages, and the guest runs in the flat layout alone. */
    size_t own_bytes[REGIMES];
    uint32_t pc_offset;   /* of the 64-bit pc */
    uint32_t nzcv_offset; /* of the 32-bit stored flags (ir.h), 0 if the ISA has none */
    uint32_t pc_align;    /* bits of the pc that are 0 in every pc that code can be at */
    /* Entries of a table of pages, as walk() shows them (struct walk.table): at which bit the number of the page
     * begins, and how many bits it has. */
    uint8_t entry_page_shift, entry_page_bits;
    /* Code that other vCPUs wrote becomes current by what the vCPU does that will run it (engine_code_fence()), not by
     * what the writer does (engine_code_written() and broadcasts of that). */
    bool reader_fences;
    bool wide_va;      /* addresses may have more than 48 bits beside tags */
    bool rmw_is_write; /* what reads and writes memory in one raises what a write does, even where it may not read */
    /* Registers that pay most to keep in host registers across blocks, best first. The backend takes as many as it
     * has. */
    const struct guest_pin *gpr_pins, *vec_pins;
    unsigned gpr_pin_count, vec_pin_count;

    /* init(): reset state of vCPU cpu->index from cpu->boot. Not running vCPUs wait in service(). */
    void (*init)(struct cpu *cpu);
    /* mode(): the block key: everything but the pc that a translation depends on. Bits 1..0: current regime; may have
     * GUEST_MODE_ONCE. */
    uint32_t (*mode)(const struct cpu *cpu);
    /* service(): pending was not 0: takes a due interrupt, waits while powered off ... May change the pc. */
    void (*service)(struct cpu *cpu, uint32_t pending);
    /* translate(): fills b from the code at hand (host pointer, bytes up to the end of the guest page). Stops at a
     * block end, at the end of the code, or after max_insns. Sets b->insns, guest_bytes, flags. cpu is for hints, and
     * for fetching the rest of an instruction that ends in the next page: that may raise, if nothing is in b but this
     * instruction. */
    void (*translate)(struct ir_block *b, const struct cpu *cpu, const void *code, unsigned bytes, unsigned max_insns);
    /* executed(): a block of a mode with GUEST_MODE_ONCE was left, and no exception was raised in it. */
    void (*executed)(struct cpu *cpu);
    /* exit_fault(): a block was left by an exit with IR_EXIT_FAULT, for the pc in the state: raises what there is to
     * raise. */
    void (*exit_fault)(struct cpu *cpu);
    /* pc_fault(): the pc has bits of pc_align: raises the exception for that, before the code there is looked at, or
     * unwinds with another pc. */
    void (*pc_fault)(struct cpu *cpu) __attribute__((noreturn));
    /* settle(): cpu->flags_insn is not 0: makes NZCV in the state right, and it 0. */
    void (*settle)(struct cpu *cpu);
    /* walk(): guest page-table walk for an access in a regime. Never raises; fills w (w->fault != 0 if not allowed,
     * permissions included). RAM tables are read through ram_ptr(). It may mark a page as used, or as written to in a
     * walk to write: such a walk is for a write alone. */
    void (*walk)(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w);
    /* space(): the address space that va belongs to, for keying views and windows. hi: of the upper half. */
    struct mmu_space (*space)(struct cpu *cpu, bool hi, unsigned regime);
    bool (*is_hi)(uint64_t va); /* does va belong to the upper half's space (Arm: bit 55)? */
    /* translates(): may any of the 2^48 addresses around va, in whose bits 63..48 are zeros and ones, be translated in
     * the current address space? NULL: none ever is. */
    bool (*translates)(const struct cpu *cpu, uint64_t va);
    /* Raise. pc in the state is exact; these unwind to the dispatcher. */
    void (*mem_abort)(struct cpu *cpu, uint64_t va, enum mmu_access access, const struct walk *w, unsigned flags)
        __attribute__((noreturn));
    void (*align_fault)(struct cpu *cpu, uint64_t va, enum mmu_access access) __attribute__((noreturn));
    void (*external_abort)(struct cpu *cpu, uint64_t va, enum mmu_access access, struct gpa pa)
        __attribute__((noreturn));
    /* watch(): if CPU_WATCH_GUEST: an access that is allowed and about to be done; may unwind. */
    void (*watch)(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access, unsigned regime);
    /* Devices inside the engine (interrupt controller ...). False: not mine. size: bytes 1, 2, 4, 8. */
    bool (*io_read)(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value);
    bool (*io_write)(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value);
    /* The guest's state, in struct cpu and the part behind it, and in what its vCPUs share (engine_guest_shared()).
     * collect(): what is kept elsewhere, as counts are, goes there. changed(): the state was written over: what follows
     * from it is made again. */
    const struct state_field *state, *shared_state;
    void (*collect)(struct cpu *cpu);
    void (*changed)(struct cpu *cpu);
    void (*dump)(struct cpu *cpu); /* registers to the log, for panics and -d */
    const struct guest_debug *debug;
};
/* guest_level(): the level of privilege of code of that regime: its first regime. */
static inline unsigned guest_level(const struct guest_ops *g, unsigned regime) {
    while (regime && g->own_bytes[regime - 1] == g->own_bytes[regime])
        regime--;
    return regime;
}
/* guest_may_access(): can code of regime own have accesses of the other (LDTR)? Of its own, and of less privilege. */
static inline bool guest_may_access(const struct guest_ops *g, unsigned own, unsigned regime) {
    return regime == own || (regime < REGIMES && guest_level(g, regime) < guest_level(g, own));
}
extern const struct guest_ops *const guest_table[]; /* guests/guests.c */
extern const unsigned guest_count;

/* --- services of the engine for guests (dbt/engine.c) ----------------------------------------- */
/* engine_unwind(): leaves a helper for the dispatcher; state in memory is exact, the pc says where to go on. */
_Noreturn void engine_unwind(struct cpu *cpu);
/* engine_mode_changed(): for a helper after which translated code goes on by IR_GOTO_REG, although mode() may be
 * another one by now: it will go to code of that. Neither mode may have GUEST_MODE_ONCE. */
void engine_mode_changed(struct cpu *cpu);
/* engine_code_written(): [pa, pa+len) may hold translated code and was or is being written (this vCPU's blocks). */
void engine_code_written(struct cpu *cpu, struct gpa pa, uint64_t len);
/* engine_code_flush(): forgets every block of this vCPU (IC IALLU). */
void engine_code_flush(struct cpu *cpu);
/* engine_code_fence(): from here on this vCPU runs what others had written before they said so. Only if
 * guest_ops.reader_fences. */
void engine_code_fence(struct cpu *cpu);
/* engine_code_drop_modes(): forgets this vCPU's blocks whose mode has that value under that mask. The block that runs
 * is none of them. */
void engine_code_drop_modes(struct cpu *cpu, uint32_t mask, uint32_t value);
/* engine_code_has(): does any vCPU hold code translated from that page? */
bool engine_code_has(const struct cpu *cpu, struct gpa page);

/* Requests to all other vCPUs (TLBI ..IS, IC ..IS, remote fences). Queued by engine_broadcast();
 * engine_broadcast_wait(), at the guest's barrier, returns when all have honoured them (serving this vCPU's own
 * meanwhile). */
enum engine_request_kind {
    ENGINE_REQ_INVAL,
    ENGINE_REQ_CODE,
    ENGINE_REQ_CODE_ALL,
    ENGINE_REQ_CODE_FENCE, /* engine_code_fence() */
    ENGINE_REQ_PROTECT     /* of the engine's: page pa has code of the asker's: writes to it must be seen */
};
struct engine_request {
    enum engine_request_kind kind;
    struct mmu_inval inval;
    struct gpa pa; /* ENGINE_REQ_CODE, ENGINE_REQ_PROTECT: page */
};
void engine_broadcast(struct cpu *cpu, const struct engine_request *req);
void engine_broadcast_wait(struct cpu *cpu);
/* engine_end(): ABI_CALL_POWEROFF, ABI_CALL_RESET or ABI_CALL_STOPPED, which does not return. */
void engine_end(struct cpu *cpu, enum abi_call call);
/* engine_cpu(): the vCPU of that number, NULL if there is none. */
struct cpu *engine_cpu(struct cpu *cpu, unsigned index);
/* engine_kick(): sets pending bits of another vCPU and wakes it if it sleeps. */
void engine_kick(struct cpu *from, struct cpu *to, uint32_t pending);
/* engine_wait(): WFI: sleeps in the monitor until pending != 0 or abi.timer_deadline. */
void engine_wait(struct cpu *cpu);

/* --- a counter of the guest's, computed from the host's TSC, and its deadlines (dbt/clock.c) --- */
struct engine_clock {
    uint64_t mult;              /* count = TSC delta * mult >> 64 */
    uint64_t ticks, ticks_frac; /* the inverse, TSC ticks of a count: integer part, fraction / 2^64 */
};
/* engine_clock_init(): a counter of that frequency, 0 at abi_boot.tsc_base; no deadline. */
void engine_clock_init(struct cpu *cpu, struct engine_clock *k, uint32_t hz);
uint64_t engine_clock_count(const struct cpu *cpu, const struct engine_clock *k);
/* engine_clock_tsc(): the first TSC value at which the counter, which stands at now, has reached count; ~0 if that is
 * so far ahead that nobody waits for it. A function of count alone, so that looking twice at one event gives one
 * deadline. */
uint64_t engine_clock_tsc(const struct cpu *cpu, const struct engine_clock *k, uint64_t now, uint64_t count);
/* engine_deadline(): the TSC value of this vCPU's next timer event, ~0: none. rearm: the monitor has seen the last one
 * pass. */
void engine_deadline(struct cpu *cpu, uint64_t deadline, bool rearm);

/* --- vCPUs that are off (dbt/power.c) --------------------------------------------------------- */
enum engine_power_state { ENGINE_POWER_OFF, ENGINE_POWER_ON, ENGINE_POWER_PENDING, ENGINE_POWER_CLAIMED };
struct engine_power {
    uint32_t state;   /* enum engine_power_state; other vCPUs look at it and set it, by __atomic builtins */
    uint64_t pc, arg; /* where it shall start, and with what */
};
/* engine_power_init(): at start: vCPU 0 is on, the others are off, unless somebody has started them already. */
void engine_power_init(struct cpu *cpu, struct engine_power *p);
/* engine_power_start(): starts another vCPU. ENGINE_POWER_OFF if that was done, else the state that it was in. */
enum engine_power_state engine_power_start(struct cpu *cpu, struct cpu *to, struct engine_power *p, uint64_t pc,
                                           uint64_t arg);
/* engine_power_off(): this vCPU, which does not come back: it unwinds. */
_Noreturn void engine_power_off(struct cpu *cpu, struct engine_power *p);
/* engine_power_wait(): first thing in guest_ops.service(): true if this vCPU is to be reset and to start at p->pc now,
 * and to call engine_power_on() when it is. Unwinds while it is off. */
bool engine_power_wait(struct cpu *cpu, struct engine_power *p);
void engine_power_on(struct engine_power *p);
static inline enum engine_power_state engine_power_state(const struct engine_power *p) {
    return (enum engine_power_state)__atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
}
/* engine_alloc_shared(): from the heap all vCPUs share, zeroed, 64-byte aligned; only during init of vCPU 0 before
 * the others run (they find it through a pointer stored by the guest's init). NULL when full. */
void *engine_alloc_shared(struct cpu *cpu, size_t bytes);
/* engine_guest_shared(): one pointer for the guest's shared state (GIC ...), same on all vCPUs. */
void **engine_guest_shared(struct cpu *cpu);

/* Device registers by guest-physical address (dbt/bus.c): the guest's own, shadow and posted, then the monitor.
 * False: nothing there. size: bytes. */
bool bus_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value);
bool bus_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value);

#endif
