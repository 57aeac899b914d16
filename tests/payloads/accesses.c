/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * accesses.c: loads and stores of every width to registers of every device, generated; what they gave is printed, and
 * has to be what QEMU's devices give. Left out are registers that tell the time or send, and values that QEMU keeps in
 * reserved bits.
 */
/* options: drive=1 compare=1 */
#include "access_areas.h"
#include "gic.h"

#define GPIO_BASE 0x09030000ul
#define RTC_BASE 0x09010000ul
#define VIRTIO_BASE 0x0a000000ul
#define VIRTIO_STRIDE 0x200ul
#define HOLE 0x0b000000ul

/* --- accesses --------------------------------------------------------------------------------- */
#define READ(insn)                                                                                                     \
    __asm__ volatile(insn : "+r"(v[0]), "+r"(v[1]) : "r"(a), "r"(v) : "memory", "v0", "v1", "x4", "x5", "x6", "x7")
/* What reads and writes in one gives what was there. Most comparisons are with what was just read; CASH's is with
 * something else. None adds: bits that may not be written stay as they are. */
enum kind {
    LDRB,
    LDRH,
    LDRW,
    LDRX,
    LDPW,
    LDPX,
    LDRQ,
    LD1,
    STRB,
    STRH,
    STRW,
    STRX,
    STPW,
    STPX,
    STRQ,
    ST1,
    LDSETB,
    LDCLRH,
    LDSETW,
    LDUMAXX,
    SWPB,
    SWPW,
    SWPX,
    CASH,
    CASW,
    CASX,
    CASPW,
    CASPX,
    STXRW,
    STXRX,
    STXP,
    KINDS
};
static const struct access_kind kinds[] = {
    {"ldrb", 1, 1, false},  {"ldrh", 2, 2, false},  {"ldrw", 4, 4, false},   {"ldrx", 8, 8, false},
    {"ldpw", 8, 4, false},  {"ldpx", 16, 8, false}, {"ldrq", 16, 16, false}, {"ld1", 16, 2, false},
    {"strb", 1, 1, true},   {"strh", 2, 2, true},   {"strw", 4, 4, true},    {"strx", 8, 8, true},
    {"stpw", 8, 4, true},   {"stpx", 16, 8, true},  {"strq", 16, 16, true},  {"st1", 16, 16, true},
    {"ldsetb", 1, 1, true}, {"ldclrh", 2, 2, true}, {"ldsetw", 4, 4, true},  {"ldumaxx", 8, 8, true},
    {"swpb", 1, 1, true},   {"swpw", 4, 4, true},   {"swpx", 8, 8, true},    {"cash", 2, 2, true},
    {"casw", 4, 4, true},   {"casx", 8, 8, true},   {"caspw", 8, 8, true},   {"caspx", 16, 16, true},
    {"stxrw", 4, 4, true},  {"stxrx", 8, 8, true},  {"stxp", 16, 16, true}};

static const struct access_kind *access_kind(unsigned kind) { return kind < KINDS ? &kinds[kind] : NULL; }

static bool access_make(unsigned kind, uint64_t a, uint64_t v[2]) {
    caught = 0;
    exception_handler = catch_and_skip;
    switch (kind) {
    case LDRB: READ("ldrb %w0, [%2]"); break;
    case LDRH: READ("ldrh %w0, [%2]"); break;
    case LDRW: READ("ldr %w0, [%2]"); break;
    case LDRX: READ("ldr %0, [%2]"); break;
    case LDPW: READ("ldp %w0, %w1, [%2]"); break;
    case LDPX: READ("ldp %0, %1, [%2]"); break;
    case LDRQ: READ("movi v0.16b, #0\nldr q0, [%2]\nmov %0, v0.d[0]\nmov %1, v0.d[1]"); break;
    case LD1: READ("movi v0.16b, #0\nld1 {v0.8h}, [%2]\nmov %0, v0.d[0]\nmov %1, v0.d[1]"); break;
    case STRB: READ("strb %w0, [%2]"); break;
    case STRH: READ("strh %w0, [%2]"); break;
    case STRW: READ("str %w0, [%2]"); break;
    case STRX: READ("str %0, [%2]"); break;
    case STPW: READ("stp %w0, %w1, [%2]"); break;
    case STPX: READ("stp %0, %1, [%2]"); break;
    case STRQ: READ("ldr q0, [%3]\nstr q0, [%2]"); break;
    case ST1: READ("ldr q0, [%3]\nst1 {v0.4s}, [%2]"); break;
    case LDSETB: READ("ldsetb %w0, %w0, [%2]"); break;
    case LDCLRH: READ("ldclrh %w0, %w0, [%2]"); break;
    case LDSETW: READ("ldset %w0, %w0, [%2]"); break;
    case LDUMAXX: READ("ldumax %0, %0, [%2]"); break;
    case SWPB: READ("swpb %w0, %w0, [%2]"); break;
    case SWPW: READ("swp %w0, %w0, [%2]"); break;
    case SWPX: READ("swp %0, %0, [%2]"); break;
    case CASH: READ("mvn w4, %w0\ncash w4, %w0, [%2]\nmov %w0, w4"); break;
    case CASW: READ("ldr w4, [%2]\ncas w4, %w0, [%2]\nmov %w0, w4"); break;
    case CASX: READ("ldr x4, [%2]\ncas x4, %0, [%2]\nmov %0, x4"); break;
    case CASPW: READ("ldp w4, w5, [%2]\nmov w6, %w0\nlsr x7, %0, 32\ncasp w4, w5, w6, w7, [%2]\nadd %0, x4, x5"); break;
    case CASPX: READ("ldp x4, x5, [%2]\nmov x6, %0\nmov x7, %1\ncasp x4, x5, x6, x7, [%2]\nadd %0, x4, x5"); break;
    case STXRW: READ("ldxr w4, [%2]\nstxr w5, %w0, [%2]\nmov %w0, w4\nmov %w1, w5"); break;
    case STXRX: READ("ldxr x4, [%2]\nstxr w5, %0, [%2]\nmov %0, x4\nmov %w1, w5"); break;
    default: READ("ldxp x4, x5, [%2]\nstxp w6, %0, %1, [%2]\nadd %0, x4, x5\nmov %w1, w6"); break;
    }
    exception_handler = NULL;
    if (caught)
        v[0] = caught_frame.far - a; /* that part of it was refused */
    return caught != 0;
}

/* --- areas ------------------------------------------------------------------------------------ */
static const struct reg uart_regs[] = {
    {0x04, 0},      {0x08, ~0u},  {0x0c, ~0u},  {0x10, ~0u},   {0x14, ~0u},  {0x18, ~0u},   {0x1c, ~0u},  {0x20, 0xff},
    {0x24, 0xffff}, {0x28, 0x3f}, {0x2c, 0xfe}, {0x30, 0x301}, {0x34, 0x3f}, {0x38, 0x7ff}, {0x3c, ~0u},  {0x40, ~0u},
    {0x44, 0x7ff},  {0x48, 4},    {0x4c, ~0u},  {0xfd8, ~0u},  {0xfdc, ~0u}, {0xfe0, ~0u},  {0xfe4, ~0u}, {0xfe8, ~0u},
    {0xfec, ~0u},   {0xff0, ~0u}, {0xff4, ~0u}, {0xff8, ~0u},  {0xffc, ~0u}};
/* Not unaligned: QEMU would put what is wider than the bytes asked for into those before them. */
static const struct reg uart_ids[] = {{0xfe0, 0}, {0xfe4, 0}, {0xfe8, 0}, {0xfec, 0},
                                      {0xff0, 0}, {0xff4, 0}, {0xff8, 0}, {0xffc, 0}};
static const struct reg rtc_regs[] = {
    {0x04, ~0u},  {0x0c, ~0u},  {0x10, 1},    {0x14, ~0u},  {0x18, ~0u},  {0x1c, 1},    {0x20, ~0u},  {0x24, ~0u},
    {0xfe0, ~0u}, {0xfe4, ~0u}, {0xfe8, ~0u}, {0xfec, ~0u}, {0xff0, ~0u}, {0xff4, ~0u}, {0xff8, ~0u}, {0xffc, ~0u}};
static const struct reg gpio_regs[] = {{0x400, ~0u}, {0x404, ~0u}, {0x408, ~0u}, {0x40c, ~0u}, {0x420, ~0u},
                                       {0xfe0, ~0u}, {0xfe4, ~0u}, {0xfe8, ~0u}, {0xfec, ~0u}, {0xff0, ~0u},
                                       {0xff4, ~0u}, {0xff8, ~0u}, {0xffc, ~0u}};
static const struct reg gicd_regs[] = {{0x000, 1},   {0x004, ~0u}, {0x104, ~0u}, {0x108, ~0u},
                                       {0x184, ~0u}, {0x188, ~0u}, {0x420, ~0u}, {0x424, ~0u},
                                       {0x428, ~0u}, {0x42c, ~0u}, {0xc08, ~0u}, {0xc0c, ~0u}};

static void test_uart(void) { run_area(AREA("uart", UART_BASE, uart_regs), 600, false); }

static void test_rtc(void) { run_area(AREA("rtc", RTC_BASE, rtc_regs), 400, false); }

static void test_empty(void) { run_area(AREA("empty", VIRTIO_BASE + 8 * VIRTIO_STRIDE, empty_regs), 400, false); }

static void test_disk(void) {
    run_area(AREA("disk", slot_with(2, VIRTIO_BASE, VIRTIO_STRIDE, 32), disk_regs), 500, false);
}

static void test_gpio(void) { run_area(AREA("gpio", GPIO_BASE, gpio_regs), 400, false); }

static void test_gicd(void) { run_area(AREA("gicd", GICD_BASE, gicd_regs), 400, false); }

static void test_hole(void) { run_area(AREA("hole", HOLE, hole_regs), 40, false); }

/* As Normal memory the registers may be read at any address. */
static void test_unaligned(void) {
    mmu_on();
    static const uint64_t base[] = {RTC_BASE, UART_BASE};
    for (unsigned i = 0; i < ARRAY_LEN(base); i++)
        mmu_map(mmu_root0(), 0x40000000000 + base[i], base[i], PTE_RW | PTE_UXN | PTE_PXN);
    tlbi_all();
    run_area(AREA("rtc unaligned", 0x40000000000 + RTC_BASE, rtc_regs), 300, true);
    run_area(AREA("uart unaligned", 0x40000000000 + UART_BASE, uart_ids), 100, true);
    mmu_off();
}

TESTS({"uart", test_uart}, {"rtc", test_rtc}, {"empty slot", test_empty}, {"disk", test_disk}, {"gpio", test_gpio},
      {"gicd", test_gicd}, {"hole", test_hole}, {"unaligned", test_unaligned});
