/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * interp_codegen.c: codegen.h without host code: a "block" is a copy of its IR, and
 * entering it interprets that. With it the engine and a guest run without any
 * backend: what goes wrong here is not the backend's fault.
 */
#include <setjmp.h>
#include <stdlib.h>

#include "graft/codegen.h"
#include "graft/rt.h"

struct codegen {
    jmp_buf leave;
};
/* What lies in the code area for a block. */
struct record {
    struct ir_block *ir;
    uint64_t pad;
};
/* Kept for ever, like this: a leak checker does not look into the code area. */
struct copy {
    struct copy *next;
    struct ir_block ir;
};
static struct copy *copies;

bool codegen_spares_high;

size_t codegen_size(void) { return sizeof(struct codegen); }

size_t codegen_init(struct codegen *cg, struct cpu *cpu, const struct mmu_ops *mmu, uint8_t *code, size_t code_size) {
    return 64;
}

int codegen_compile(struct codegen *cg, struct cpu *cpu, const struct ir_block *b, uint8_t *where, size_t room,
                    struct code_out *out) {
    struct record *r = (struct record *)(where + cpu->code_to_write);
    struct copy *copy =
        room < sizeof(*r) ? NULL : malloc(sizeof(*copy)); /* the pages that are not written cost nothing */
    if (!copy)
        return -1;
    r->ir = &copy->ir;
    copy->next = __atomic_load_n(&copies, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&copies, &copy->next, copy, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    memcpy(r->ir, b, offsetof(struct ir_block, inst) + b->count * sizeof(b->inst[0]));
    memcpy(r->ir->vconst, b->vconst, b->vconsts * sizeof(b->vconst[0]));
    *out = (struct code_out){.start = where, .end = where + sizeof(*r), .entry = where, .entry_nocheck = where};
    return 0;
}

void codegen_link(const struct code_link *l, const uint8_t *target) {}
void codegen_link_far(const struct code_link *l, const uint8_t *target, uint32_t page) {}
void codegen_copy(struct codegen *cg, const struct code_source *from, uint64_t pc, const struct code_out *out) {
} /* no block can be copied */
uint64_t codegen_hash(const struct codegen *cg) { return 0; }
void codegen_unlink(const struct code_link *l) {}

void codegen_enter(struct codegen *cg, struct cpu *cpu, const uint8_t *entry) {
    if (!setjmp(cg->leave))
        ir_interpret(((const struct record *)entry)->ir, cpu);
}

void codegen_store_kept(const struct codegen *cg, struct cpu *cpu) {}
void codegen_load_kept(const struct codegen *cg, struct cpu *cpu) {}

_Noreturn void codegen_unwind(struct codegen *cg, struct cpu *cpu) { longjmp(cg->leave, 1); }

void codegen_catch(void (*fn)(struct cpu *), struct cpu *cpu, void **mark) {
    jmp_buf here;
    *mark = here;
    if (!setjmp(here))
        fn(cpu);
}

_Noreturn void codegen_throw(void *mark) { longjmp(mark, 1); }

const uint8_t *codegen_lookup_thunk(struct codegen *cg) { return NULL; }
