/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* codegen.c: the first execution of new code, in small and in large blocks, and execution after a small change. */
#include "micro.h"

enum { ROUNDS = 4, AREA = 1 << 20 };

/* fill(): functions of that many bytes each, written and made visible outside the measured time. */
static uint64_t fill(unsigned bytes, unsigned round) {
    uint32_t *at = (uint32_t *)SCRATCH;
    for (unsigned f = 0; f < AREA / bytes; f++, at += bytes / 4) {
        for (unsigned i = 0; i < bytes / 4 - 1; i++)
            at[i] = ADD_X0_1 + ((i + round) % 5 << 10);
        at[bytes / 4 - 1] = RET;
    }
    code_sync((void *)SCRATCH, AREA);
    return AREA / bytes;
}

static void measure(const char *name, unsigned bytes) {
    uint64_t sum = 0, total = 0, started;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t count = fill(bytes, round);
        started = micro_ticks();
        for (uint64_t f = 0; f < count; f++)
            sum = micro_call((void *)(SCRATCH + f * bytes), sum, 0);
        total += micro_ticks() - started;
    }
    micro_begun = micro_ticks() - total;
    micro_end(name, sum);
}

static void small_blocks(void) { measure("codegen-small", 32); }
static void large_blocks(void) { measure("codegen-large", 512); }

static void self_modifying(void) {
    uint32_t *code = (uint32_t *)SCRATCH;
    uint64_t sum = 0;
    micro_begin();
    for (unsigned i = 0; i < 20000; i++) {
        code[0] = ADD_X0_1 + (i % 7 << 10);
        code[1] = RET;
        code_sync(code, 8);
        sum = micro_call(code, sum, 0);
    }
    micro_end("smc", sum);
}

static void on(void) {
    mmu_on();
    micro_begin();
}

TESTS({"on", on}, {"codegen-small", small_blocks}, {"codegen-large", large_blocks}, {"smc", self_modifying});
