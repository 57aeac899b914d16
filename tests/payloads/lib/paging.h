/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* paging.h: pages under test, accesses of every kind and the faults they must raise. */
#ifndef PAYLOAD_PAGING_H
#define PAYLOAD_PAGING_H

#include "payload.h"

#define IL (1ul << 25)
#define ESR(ec, iss) ((uint64_t)(ec) << 26 | IL | (iss))
#define ESR_DONE ESR(0x3c, 0x7777)
#define BRK_DONE 0xd42eeee0u
#define FSC_SIZE(level) (0x00u + (level))
#define FSC_TRANSLATION(level) (0x04u + (level))
#define FSC_ACCESS(level) (0x08u + (level))
#define FSC_PERMISSION(level) (0x0cu + (level))
#define FSC_EXTERNAL 0x10u
#define FSC_EXTERNAL_WALK(level) (0x14u + (level))
#define NO_FAULT ~0u
#define SCTLR_WXN (1ul << 19)
#define TEST_VA 0x10000000000ul
#define GIB 0x40000000ul
#define UNBACKED_PA 0x0f000000ul

static struct context c;
static uint8_t *page, *page2; /* physical pages under test */
static uint64_t *root;

static const void *at(uint32_t pstate, const void *code) { return (pstate & 12) == 0 ? USER(code) : code; }

static __attribute__((unused)) void set_pte(uint64_t *entry, uint64_t value, uint64_t va) {
    *entry = value;
    tlbi_va(va);
}

static __attribute__((unused)) void set_tcr(uint64_t v) {
    write_sysreg(tcr_el1, v);
    isb();
    tlbi_all();
}

static __attribute__((unused)) void start(void) {
    mmu_on();
    mmu_user_alias();
    root = mmu_root0();
    page = page_alloc();
    page2 = page_alloc();
    for (unsigned i = 0; i < 1024; i++) {
        ((uint32_t *)page)[i] = BRK_DONE;
        ((uint32_t *)page2)[i] = BRK_DONE;
    }
    code_sync(page, 4096);
    code_sync(page2, 4096);
    mmu_map(root, TEST_VA, (uint64_t)page, PTE_RW);
}

enum op { READ, WRITE, EXEC, LDTR, STTR, OPS };
SNIPPET(op_read, "ldr x1, [x0]");
SNIPPET(op_write, "str x1, [x0]");
SNIPPET(op_ldtr, "ldtr x1, [x0]");
SNIPPET(op_sttr, "sttr x1, [x0]");
static const uint32_t *const op_code[] = {op_read, op_write, NULL, op_ldtr, op_sttr};

/* try(): does op at va; the fault status code must be fsc. */
static __attribute__((unused)) void try_at(int line, uint32_t pstate, enum op op, uint64_t va, unsigned fsc) {
    bool user = (pstate & 12) == 0;
    const void *pc = op == EXEC ? (const void *)va : at(pstate, op_code[op]);
    run_code(&c, pstate, pc, va, 0x00000000d42eeee0 | (uint64_t)BRK_DONE << 32, 2, 3);
    if (fsc == NO_FAULT) {
        context_expect_at(__FILE__, line, &c, VEC_OF(pstate), ESR_DONE, (uint64_t)pc + (op == EXEC ? 0 : 4), pstate);
        context_check_at(__FILE__, line, &c, op == READ || op == LDTR ? 2 : 0);
    } else {
        unsigned ec = (op == EXEC ? 0x21 : 0x25) - user;
        unsigned wnr = op == WRITE || op == STTR ? 0x40 : 0;
        context_expect_at(__FILE__, line, &c, VEC_OF(pstate), ESR(ec, wnr | fsc), (uint64_t)pc, pstate);
        if (c.out.far != va)
            test_fail(__FILE__, line, "FAR_EL1", c.out.far, va);
        context_check_at(__FILE__, line, &c, 0);
    }
}
#define try(pstate, op, va, fsc) try_at(__LINE__, pstate, op, va, fsc)

/* check_fault(): every access from every level ends in that fault. */
static __attribute__((unused)) void check_fault(int line, uint64_t va, unsigned fsc) {
    static const uint32_t states[] = {PSTATE_EL0, PSTATE_EL1T, PSTATE_EL1H, PSTATE_EL1T | PSTATE_PAN};
    for (unsigned s = 0; s < ARRAY_LEN(states); s++)
        for (enum op op = READ; op < OPS; op++)
            try_at(line, states[s], op, va, fsc);
}

#endif
