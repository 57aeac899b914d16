/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* native.h: compiles IR blocks with the x86-64 backend and runs them in this process, on the state of fake_rt.h. */
#ifndef GRAFT_TESTS_NATIVE_H
#define GRAFT_TESTS_NATIVE_H

#include "fake_rt.h"
#include "graft/codegen.h"

/* Which registers the guest wants pinned. */
enum native_pins { NATIVE_PINS_NONE, NATIVE_PINS_SOME, NATIVE_PINS_ALL, NATIVE_PINS_HIGH, NATIVE_PINS_COUNT };
/* What happens when translated code touches the memory: the host page's protection. */
enum native_memory { NATIVE_RW, NATIVE_READ_ONLY, NATIVE_NONE, NATIVE_MEMORY_COUNT };
/* The probe: every access for itself; hoisted for nearby ones with or without mmu_ops.nearby; or for a range, which is
 * in small pages that can or cannot be written to. Nothing behind that faults: the memory has to be NATIVE_RW. */
enum native_probe { NATIVE_EACH, NATIVE_HOIST, NATIVE_HOIST_POISON, NATIVE_RANGE, NATIVE_PROBE_COUNT };

struct native {
    struct codegen *cg;
    uint8_t *code;     /* where it runs, which is not writable */
    uint8_t *writable; /* the same memory */
    size_t code_size, thunks;
    struct code_out out; /* of the last native_compile() */
};

/* The guest memory as translated code sees it, through a mapping that always works. */
extern uint8_t *native_memory;
extern struct native native;

/* native_init(): maps memory and code, installs the handler of host faults. */
void native_init(void);
/* native_setup(): a fresh backend for that configuration. avx512: allow it. */
void native_setup(enum native_pins pins, enum native_probe probe, bool avx512);
/* native_compile(): at the given offset behind the thunks; -1 as codegen_compile(). */
int native_compile(const struct ir_block *b, size_t offset);
int native_compile_in(const struct ir_block *b, size_t offset, size_t room);
/* What engine_lookup() returns next, and how often it was called. */
extern const uint8_t *native_lookup_result;
extern unsigned native_lookups;
/* native_run(): enters; false if a helper raised. The status of MXCSR is in fp.fpsr afterwards. */
bool native_run(struct fake_cpu *cpu, const uint8_t *entry, enum native_memory memory);
/* native_dump(): the last block's code, to a file that objdump can read. */
void native_dump(const char *path);
struct view *native_view(void);

#endif
