/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* branches.c: chains of 32 small blocks that go to each other directly or indirectly, within a page and across
 * pages. */
#include "micro.h"

enum { BLOCKS = 32, LOOPS = 1500000 };

/* chain(): block i is `add x0, x0, #1` and a branch to block i + 1; the last counts x1 down and goes to the first. */
static void chain(unsigned stride, bool indirect) {
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint32_t *at = (uint32_t *)(SCRATCH + (uint64_t)i * stride);
        int64_t to_next = i + 1 < BLOCKS ? (int64_t)stride : -(int64_t)stride * (BLOCKS - 1);
        *at++ = ADD_X0_1;
        if (i + 1 == BLOCKS) {
            *at++ = SUBS_X1_1;
            *at++ = BRANCH_NE(8);
            *at++ = RET;
        }
        if (indirect) {
            uint64_t *literal = (uint64_t *)(((uint64_t)at + 8 + 7) & ~7ul);
            *literal = SCRATCH + (uint64_t)i * stride + (uint64_t)to_next;
            at[0] = LDR_X2_LITERAL((uint8_t *)literal - (uint8_t *)at);
            at[1] = BR_X2;
        } else {
            at[0] = BRANCH(SCRATCH + (uint64_t)i * stride + (uint64_t)to_next - (uint64_t)at);
        }
    }
    code_sync((void *)SCRATCH, BLOCKS * stride);
}

static void measure(const char *name, unsigned stride, bool indirect) {
    chain(stride, indirect);
    micro_begin();
    micro_end(name, micro_call((void *)SCRATCH, 0, LOOPS));
}

static void on(void) {
    mmu_on();
    micro_begin();
}

static void intra_direct(void) { measure("branch-intra-direct", 64, false); }
static void inter_direct(void) { measure("branch-inter-direct", 4096 + 64, false); }
static void intra_indirect(void) { measure("branch-intra-indirect", 64, true); }
static void inter_indirect(void) { measure("branch-inter-indirect", 4096 + 64, true); }

/* One call site, eight targets in a pattern. */
static void polymorphic(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint32_t *at = (uint32_t *)(SCRATCH + i * 256);
        at[0] = ADD_X0_1 + (i << 10);
        at[1] = RET;
    }
    code_sync((void *)SCRATCH, 8 * 256);
    micro_begin();
    for (uint64_t i = 0; i < 4000000; i++)
        sum = micro_call((void *)(SCRATCH + ((i * i >> 3) & 7) * 256), sum, 0);
    micro_end("branch-polymorphic", sum);
}

static __attribute__((noinline, noclone)) uint64_t nest(uint64_t depth, uint64_t sum) {
    uint64_t r = depth ? nest(depth - 1, sum + depth) : sum;
    __asm__ volatile("" : "+r"(r));
    return r + 1;
}

static void returns(void) {
    uint64_t sum = 0;
    micro_begin();
    for (unsigned i = 0; i < 300000; i++)
        sum = nest(20, sum);
    micro_end("call-return", sum);
}

TESTS({"on", on}, {"intra-direct", intra_direct}, {"inter-direct", inter_direct}, {"intra-indirect", intra_indirect},
      {"inter-indirect", inter_indirect}, {"polymorphic", polymorphic}, {"returns", returns});
