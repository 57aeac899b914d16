/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * machine_accesses.c: as accesses.c, of RISC-V's devices, in machine mode, which reaches all of them: loads and stores
 * of every width. Left out are registers that tell the time.
 */
/* options: machine=1 compare=1 drive=1 */
#include "access_areas.h"
#include "rv64_payload.h"

#define UART 0x10000000ul
#define RTC 0x101000ul
#define SYSCON 0x100000ul
#define PLIC 0x0c000000ul
#define PLIC_CONTEXTS 0x0c200000ul
#define CLINT 0x02000000ul
#define VIRTIO 0x10001000ul
#define VIRTIO_STRIDE 0x1000ul
#define VIRTIO_SLOTS 8u
#define HOLE 0x09000000ul

/* --- accesses --------------------------------------------------------------------------------- */
enum kind {
    LB,
    LBU,
    LH,
    LHU,
    LW,
    LWU,
    LD,
    FLW,
    FLD,
    LRW,
    SB,
    SH,
    SW,
    SD,
    FSW,
    FSD,
    ORW,
    ORD,
    ANDW,
    SWAPW,
    SWAPD,
    MAXUD,
    SCW,
    SCD,
    KINDS
};
static const struct access_kind kinds[] = {
    {"lb", 1, 1, false},   {"lbu", 1, 1, false},  {"lh", 2, 2, false},  {"lhu", 2, 2, false}, {"lw", 4, 4, false},
    {"lwu", 4, 4, false},  {"ld", 8, 8, false},   {"flw", 4, 4, false}, {"fld", 8, 8, false}, {"lrw", 4, 4, false},
    {"sb", 1, 1, true},    {"sh", 2, 2, true},    {"sw", 4, 4, true},   {"sd", 8, 8, true},   {"fsw", 4, 4, true},
    {"fsd", 8, 8, true},   {"orw", 4, 4, true},   {"ord", 8, 8, true},  {"andw", 4, 4, true}, {"swapw", 4, 4, true},
    {"swapd", 8, 8, true}, {"maxud", 8, 8, true}, {"scw", 4, 4, true},  {"scd", 8, 8, true}};

static const struct access_kind *access_kind(unsigned kind) { return kind < KINDS ? &kinds[kind] : NULL; }

#define MAKE(insn) __asm__ volatile(insn : "+r"(v[0]), "+r"(v[1]) : "r"(a) : "memory", "ft0", "t0")
static bool access_make(unsigned kind, uint64_t a, uint64_t v[2]) {
    uint64_t before = trap.count;
    switch (kind) {
    case LB: MAKE("lb %0, (%2)"); break;
    case LBU: MAKE("lbu %0, (%2)"); break;
    case LH: MAKE("lh %0, (%2)"); break;
    case LHU: MAKE("lhu %0, (%2)"); break;
    case LW: MAKE("lw %0, (%2)"); break;
    case LWU: MAKE("lwu %0, (%2)"); break;
    case LD: MAKE("ld %0, (%2)"); break;
    case FLW: MAKE("fmv.d.x ft0, zero\nflw ft0, (%2)\nfmv.x.d %0, ft0"); break;
    case FLD: MAKE("fmv.d.x ft0, zero\nfld ft0, (%2)\nfmv.x.d %0, ft0"); break;
    case LRW: MAKE("lr.w %0, (%2)"); break;
    case SB: MAKE("sb %0, (%2)"); break;
    case SH: MAKE("sh %0, (%2)"); break;
    case SW: MAKE("sw %0, (%2)"); break;
    case SD: MAKE("sd %0, (%2)"); break;
    case FSW: MAKE("fmv.w.x ft0, %0\nfsw ft0, (%2)"); break;
    case FSD: MAKE("fmv.d.x ft0, %0\nfsd ft0, (%2)"); break;
    case ORW: MAKE("amoor.w %0, %0, (%2)"); break;
    case ORD: MAKE("amoor.d %0, %0, (%2)"); break;
    case ANDW: MAKE("amoand.w %0, %0, (%2)"); break;
    case SWAPW: MAKE("amoswap.w %0, %0, (%2)"); break;
    case SWAPD: MAKE("amoswap.d %0, %0, (%2)"); break;
    case MAXUD: MAKE("amomaxu.d %0, %0, (%2)"); break;
    case SCW: MAKE("lr.w t0, (%2)\nsc.w %1, %0, (%2)\nmv %0, t0"); break;
    default: MAKE("lr.d t0, (%2)\nsc.d %1, %0, (%2)\nmv %0, t0"); break;
    }
    if (trap.count == before)
        return false;
    v[0] = trap.cause << 32 | (trap.tval == a);
    return true;
}

/* --- areas ------------------------------------------------------------------------------------ */
/* Its first register sends: zeros, which the test does not look at. Not in loopback, where time plays a part. */
static const struct reg uart_regs[] = {{0, 0x00010f00}, {4, 0xff00000f}, {8, ~0u}, {0xc, ~0u}, {0xfc, ~0u}};
static const struct reg rtc_regs[] = {{0x08, ~0u}, {0x0c, 0x40000000}, {0x10, ~0u}, {0x14, ~0u},
                                      {0x18, ~0u}, {0x1c, ~0u},        {0x20, ~0u}, {0xffc, ~0u}};
static const struct reg syscon_regs[] = {{0, 0x88888888}, {4, ~0u}, {0xffc, ~0u}};
static const struct reg plic_regs[] = {{0, ~0u},      {4, ~0u},      {8, ~0u},      {0x28, ~0u},   {0x2c, ~0u},
                                       {0x17c, ~0u},  {0x180, ~0u},  {0x1000, ~0u}, {0x1004, ~0u}, {0x1008, ~0u},
                                       {0x100c, ~0u}, {0x2000, ~0u}, {0x2004, ~0u}, {0x2008, ~0u}, {0x200c, ~0u},
                                       {0x2080, ~0u}, {0x2084, ~0u}, {0x2100, ~0u}};
static const struct reg context_regs[] = {{0, ~0u},      {4, ~0u},      {8, ~0u},      {0xc, ~0u},   {0x1000, ~0u},
                                          {0x1004, ~0u}, {0x1008, ~0u}, {0x2000, ~0u}, {0x2004, ~0u}};
static const struct reg clint_regs[] = {{0, ~0u},      {4, ~0u},      {0x10, ~0u},   {0x3ffc, ~0u}, {0x4000, ~0u},
                                        {0x4004, ~0u}, {0x4008, ~0u}, {0x400c, ~0u}, {0x8000, ~0u}, {0x8004, ~0u}};

static void test_uart(void) {
    run_area(AREA("uart", UART, uart_regs), 600, false);
    *(volatile uint8_t *)(UART + 3) = 0; /* no divisor, no interrupt */
    *(volatile uint8_t *)(UART + 1) = 0;
}

static void test_rtc(void) {
    run_area(AREA("rtc", RTC, rtc_regs), 400, false);
    *(volatile uint32_t *)(RTC + 0x10) = 0;
    *(volatile uint32_t *)(RTC + 0x1c) = 1;
}

static void test_syscon(void) { run_area(AREA("syscon", SYSCON, syscon_regs), 200, false); }

/* What was raised before. */
static void claim_all(void) {
    volatile uint32_t *enable = (uint32_t *)(PLIC + 0x2000), *claim = (uint32_t *)(PLIC_CONTEXTS + 4);
    for (unsigned source = 1; source < 32; source++)
        *(volatile uint32_t *)(PLIC + 4 * source) = 1;
    *enable = ~0u;
    for (uint32_t source = *claim; source; source = *claim)
        *claim = source;
    *enable = 0;
}

static void test_plic(void) {
    claim_all();
    run_area(AREA("plic", PLIC, plic_regs), 600, false);
    run_area(AREA("contexts", PLIC_CONTEXTS, context_regs), 300, false);
}

static void test_clint(void) {
    *(volatile uint64_t *)(CLINT + 0x4000) = ~0ul;
    run_area(AREA("clint", CLINT, clint_regs), 400, false);
}

static void test_virtio(void) {
    run_area(AREA("empty", VIRTIO + 4 * VIRTIO_STRIDE, empty_regs), 400, false);
    run_area(AREA("disk", slot_with(2, VIRTIO, VIRTIO_STRIDE, VIRTIO_SLOTS), disk_regs), 500, false);
}

static void test_hole(void) {
    run_area(AREA("hole", HOLE, hole_regs), 40, false);
    run_area(AREA("behind", VIRTIO + 0x200, hole_regs), 40, false);
}

/* Of registers that mind no access, at any address. */
static void test_unaligned(void) {
    run_area(AREA("uart unaligned", UART, uart_regs), 200, true);
    run_area(AREA("rtc unaligned", RTC, rtc_regs), 200, true);
    run_area(AREA("plic unaligned", PLIC, plic_regs), 200, true);
    run_area(AREA("clint unaligned", CLINT, clint_regs), 200, true);
    run_area(AREA("virtio unaligned", VIRTIO + 4 * VIRTIO_STRIDE, empty_regs), 200, true);
}

TESTS({"uart", test_uart}, {"rtc", test_rtc}, {"syscon", test_syscon}, {"plic", test_plic}, {"clint", test_clint},
      {"virtio", test_virtio}, {"hole", test_hole}, {"unaligned", test_unaligned});
