/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * codegen.h: the contract between the engine and a host backend (dbt/x86).
 *
 * Host register convention in translated code: RSP the engine's stack (16-byte
 * aligned at calls), RBP = struct cpu + CODEGEN_BIAS, GS base = the current
 * view (or neither: cpu.view_disp), MXCSR the guest's. Pinned guest registers live in the host registers
 * that the backend chose; everything else is in struct cpu at block borders.
 *
 * A code address is where code runs, and may not be writable there: it is written at that address +
 * cpu.code_to_write. */
#ifndef GRAFT_CODEGEN_H
#define GRAFT_CODEGEN_H

#include "graft/guest.h"

/* RBP points CODEGEN_BIAS behind the start of struct cpu: the guest's first 256 bytes are within a disp8. */
#define CODEGEN_BIAS ((int32_t)sizeof(struct cpu) + 128)

/* A direct exit that can be linked to its target block. */
struct code_link {
    uint64_t target_pc;
    uint8_t *site;  /* the jump to patch */
    uint8_t *write; /* the same bytes, where they are written */
    uint8_t *stub;  /* where it goes while not linked: a call of a thunk ... */
    uint8_t *back;  /* ... which would return to here */
};
#define CODE_LINK_CALL 5 /* bytes of that call, with which a stub begins unless the block is a loop */
/* An access that may fault: host pc of the accessing instruction, and its out-of-line stub, as offsets from the block's
 * start. Sorted by pc. Behind these in the same order: where a call of the slow thunk returns to, and with CODE_RECORD
 * where the record is that says what it shall do, in bytes back from code_out.records. */
struct code_fault {
    uint32_t at, stub;
};
#define CODE_RECORD (1u << 31)
#define CODE_RECORD_BYTES 40 /* of a record, at least */
/* What a copy of a block's code at another place, for another pc, has different: see codegen_copy(). */
#define CODE_MAX_MOVES 512
#define CODE_MAX_LINKS 64
#define CODE_MAX_FAULTS 1024
struct code_out {
    uint8_t *start, *end;
    uint8_t *entry;         /* with the check of abi.pending */
    uint8_t *entry_nocheck; /* for forward links */
    uint8_t *loop;          /* for links of the block's own to its start, NULL: these are no others */
    bool may_loop;          /* with IR_BLOCK_LOOP it would be another */
    unsigned links, faults;
    uint8_t *records; /* the end of its records, which are nowhere executed: the end of the room that it was given */
    uint32_t record_bytes;
    unsigned moves; /* 0: it cannot be copied */
    bool bound;     /* ... nor to another pc: only for a later run */
    struct code_link link[CODE_MAX_LINKS];
    struct code_fault fault[CODE_MAX_FAULTS];
    uint16_t move[CODE_MAX_MOVES];
};

struct codegen;
/* codegen_init(): emits the thunks at the start of the code area. Returns bytes of code used. Panics if the processor,
 * as it is seen from there, lacks what the backend needs (host_features.def). */
size_t codegen_size(void);
/* For tests: an init that follows uses nothing of the host beyond that. */
extern bool codegen_minimum;
/* An init that follows may rely on C code that leaves the vector registers alone that only AVX-512 has. */
extern bool codegen_spares_high;
size_t codegen_init(struct codegen *cg, struct cpu *cpu, const struct mmu_ops *mmu, uint8_t *code, size_t code_size);
/* codegen_compile(): host code for b at where (room bytes), and its records at the end of that room. Returns 0, or -1
 * if it does not fit (or has too many exits). */
int codegen_compile(struct codegen *cg, struct cpu *cpu, const struct ir_block *b, uint8_t *where, size_t room,
                    struct code_out *out);
/* codegen_may_move(): may code for that pc be a copy of code for another, or be copied? What is off it by no more than
 * IR_PC_NEAR wraps around nowhere then, and takes as many bytes of code as elsewhere. */
static inline bool codegen_may_move(uint64_t pc) { return pc - 2 * IR_PC_NEAR < 0 - 4 * IR_PC_NEAR; }
/* codegen_copy(): the code of a block that codegen_compile() made: once more at out->start, aligned to 16 as that was,
 * for pc, and not linked. *out says all else: what was the block's, at its new place. */
struct code_source {
    const uint8_t *code;    /* where it can be read */
    const uint8_t *ran;     /* where it ran, if the code area was where it is now */
    const uint8_t *records; /* the end of its records, where they can be read */
    const uint16_t *move;
    unsigned moves;
    uint64_t by;            /* its pc was so much less */
    ptrdiff_t engine_moved; /* the engine's own code is so much further from the code area than it was then */
};
void codegen_copy(struct codegen *cg, const struct code_source *from, uint64_t pc, const struct code_out *out);
/* What of a link's code is patched, from its site on and, if it leads to another page, before that; and of a move. */
#define CODE_LINK_BYTES 6
#define CODE_LINK_BEFORE 14
#define CODE_MOVE_BYTES(move) ((move) & 1 ? 8u : 4u)
/* codegen_hash(): equal in two engines of one build whose codegen_compile() makes equal code at equal places of the
 * code area, but for what codegen_copy() changes. 0: this one's code is good for this engine alone. */
uint64_t codegen_hash(const struct codegen *cg);
/* codegen_link(), codegen_unlink(): patch a direct exit. codegen_link_far(): one to another page, with its number
 * there. */
void codegen_link(const struct code_link *l, const uint8_t *target);
void codegen_link_far(const struct code_link *l, const uint8_t *target, uint32_t page);
void codegen_unlink(const struct code_link *l);
/* codegen_enter(): runs translated code from entry until it exits to the dispatcher; the state in memory is exact then.
 * cpu->exit_site is what engine_left() said if a code_link left, CODE_EXIT_FAULT for an exit with IR_EXIT_FAULT, or 0.
 * Sets GS, MXCSR, pinned registers. In the VM, vector registers pinned in XMM16 and up stay there for ever: in memory
 * they are exact only in stubs, and after codegen_store_kept(). */
#define CODE_EXIT_FAULT 1
void codegen_enter(struct codegen *cg, struct cpu *cpu, const uint8_t *entry);
/* codegen_store_kept(), codegen_load_kept(): outside translated code, what codegen_enter() leaves in vector registers
 * goes to the state in memory, for others to read; and comes back from there, after they have written to it. */
void codegen_store_kept(const struct codegen *cg, struct cpu *cpu);
void codegen_load_kept(const struct codegen *cg, struct cpu *cpu);
/* codegen_unwind(): from a helper called by translated code back to codegen_enter()'s return. */
_Noreturn void codegen_unwind(struct codegen *cg, struct cpu *cpu);
/* codegen_catch(): calls fn(cpu) and returns when that does, or when codegen_throw() is called with what *mark was set
 * to before fn was. To the compiler it is a call like any other, so the caller's variables are what they were: setjmp()
 * in its place would leave that to each compiler. */
void codegen_catch(void (*fn)(struct cpu *), struct cpu *cpu, void **mark);
_Noreturn void codegen_throw(void *mark);
/* codegen_lookup_thunk(): what an empty RAS entry points to. */
const uint8_t *codegen_lookup_thunk(struct codegen *cg);

/* codegen_serve(): what translated code in ring 3 asks for (rt.h), with its arguments. Nothing of that is believed. */
uint64_t codegen_serve(struct cpu *cpu, uint64_t what, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/* --- called by emitted code (dbt/engine.c) ---------------------------------------------------- */
/* engine_lookup(): the block for guest pc in the current mode, from the block table only (no translation): its entry,
 * or NULL. Fills the jump cache. Called by the thunk when the inline look-up missed; must not unwind. */
const uint8_t *engine_lookup(struct cpu *cpu, uint64_t pc);
/* engine_jump(): the same for the direct exit, to another page, whose stub's call would return to back; links it, and
 * sets the guest's pc. */
const uint8_t *engine_jump(struct cpu *cpu, uint64_t back);
/* engine_left(): translated code has left by a call that would return to back: sets the guest's pc. Returns what it
 * was, for cpu->exit_site: not 0 nor CODE_EXIT_FAULT if it was an exit that can be linked. */
uint64_t engine_left(struct cpu *cpu, uint64_t back);
/* engine_record(): the record of the call of the slow thunk that returns to at, where it can be read. NULL: there is
 * none in code of the current regime. */
const void *engine_record(struct cpu *cpu, const uint8_t *at);
/* engine_fault_stub(): host pc of a faulting access in translated code -> its stub, NULL if it is none. For trap.c. */
const uint8_t *engine_fault_stub(struct cpu *cpu, const uint8_t *host_pc);
/* engine_fault_again(): such an access faulted at that host address (~0: the processor did not say): is it to be tried
 * again rather than going to its stub? Translated code of the current regime is running; the engine is not. */
bool engine_fault_again(struct cpu *cpu, const uint8_t *host_pc, uint64_t host, bool write);

/* --- what a code_out says about itself -------------------------------------------------------- */
/* code_out_link(): the link whose stub's call returns to back, NULL if there is none. */
static inline const struct code_link *code_out_link(const struct code_out *out, const uint8_t *back) {
    for (unsigned i = 0; i < out->links; i++)
        if (out->link[i].back == back)
            return &out->link[i];
    return NULL;
}
/* code_out_fault(): the entry for that address of the code, NULL if there is none. */
static inline const struct code_fault *code_out_fault(const struct code_out *out, const uint8_t *at) {
    for (unsigned i = 0; i < out->faults; i++)
        if (out->start + out->fault[i].at == at)
            return &out->fault[i];
    return NULL;
}

#endif
