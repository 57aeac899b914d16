/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * accesses.c: loads and stores of every width to registers of every device, generated; what they gave is printed, and has to be
 * what QEMU's devices give. Left out are registers that tell the time or send, and values that QEMU keeps in reserved bits.
 */
/* options: drive=1 compare=1 */
#include "payload.h"

#define RTC_BASE 0x09010000ul
#define VIRTIO_BASE 0x0a000000ul
#define VIRTIO_STRIDE 0x200ul
#define VIRTIO_ID 8
#define HOLE 0x0b000000ul

/* Registers that may be touched, and which bits written. */
struct reg {
    uint16_t off;
    uint32_t mask;
};
struct area {
    const char *name;
    uint64_t base;
    const struct reg *regs;
    unsigned count;
};
struct result {
    uint8_t kind, fault;
    uint16_t off;
    uint64_t value[2];
};

static uint64_t seed;
static uint64_t random(void) {
    seed = seed * 6364136223846793005ul + 1442695040888963407ul;
    return seed >> 32;
}

/* --- accesses ---------------------------------------------------------------------------------------------- */
#define READ(insn) __asm__ volatile(insn : "+r"(v[0]), "+r"(v[1]) : "r"(a), "r"(v) : "memory", "v0", "v1")
enum kind { LDRB, LDRH, LDRW, LDRX, LDPW, LDPX, LDRQ, LD1, STRB, STRH, STRW, STRX, STPW, STPX, STRQ, ST1, KINDS };
static const char *const kind_names[] = {"ldrb", "ldrh", "ldrw", "ldrx", "ldpw", "ldpx", "ldrq", "ld1",
                                         "strb", "strh", "strw", "strx", "stpw", "stpx", "strq", "st1"};
static const uint8_t kind_bytes[] = {1, 2, 4, 8, 8, 16, 16, 16, 1, 2, 4, 8, 8, 16, 16, 16};

static bool is_write(unsigned kind) { return kind >= STRB; }

/* One access at a; v has what is written, or gets what is read. True: it was an abort. */
static bool access(unsigned kind, uint64_t a, uint64_t v[2]) {
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
    default: READ("ldr q0, [%3]\nst1 {v0.4s}, [%2]"); break;
    }
    exception_handler = NULL;
    return caught != 0;
}

/* --- the transcript: printed behind the accesses, since the UART is among what they touch ---------------------- */
#define RESULTS 700
static struct result results[RESULTS];
static unsigned result_count;

static void print_short(uint64_t v) {
    char text[17], *p = text + 16;
    *p = 0;
    do
        *--p = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    print(p);
}

static void print_results(const char *name) {
    for (const struct result *r = results; r < results + result_count; r++) {
        print(name);
        print(" ");
        print(kind_names[r->kind]);
        print(" ");
        print_short(r->off);
        print(r->fault ? " abort" : "");
        for (unsigned i = 0; i < 2 && !r->fault; i++) {
            print(" ");
            print_short(r->value[i]);
        }
        print("\n");
    }
    result_count = 0;
}

static void note(unsigned kind, unsigned off, bool fault, const uint64_t v[2]) {
    if (result_count == RESULTS)
        return;
    results[result_count++] = (struct result){(uint8_t)kind, fault, (uint16_t)off, {v[0], v[1]}};
}

static const struct reg *reg_at(const struct area *a, unsigned off) {
    for (unsigned i = 0; i < a->count; i++)
        if (a->regs[i].off == (off & ~3u))
            return &a->regs[i];
    return NULL;
}

/* The value of an access at off, its parts cut to what may be written there. False: it touches something it must not. */
static bool make_value(const struct area *a, unsigned off, unsigned bytes, uint64_t v[2]) {
    uint8_t *out = (uint8_t *)v;
    v[0] = v[1] = 0;
    for (unsigned i = 0; i < bytes; i += 4) {
        const struct reg *r = reg_at(a, off + i);
        if (!r)
            return false;
        uint32_t word = (uint32_t)random() & r->mask;
        memcpy(out + i, &word, bytes < 4 ? bytes : 4);
    }
    return true;
}

static void run_area(const struct area *a, unsigned count, bool unaligned) {
    seed = (uint64_t)a->name[0] << 8 | a->count;
    for (unsigned done = 0, tries = 0; done < count && tries < 100000; tries++) {
        unsigned kind = (unsigned)(random() % KINDS), bytes = kind_bytes[kind];
        unsigned off = a->regs[random() % a->count].off + (unsigned)(random() & 3);
        unsigned align = kind == LDPW || kind == STPW ? 4 : kind == LDPX || kind == STPX ? 8 : kind == LD1 ? 2 : bytes;
        uint64_t v[2] __attribute__((aligned(16)));
        if (!unaligned)
            off &= ~(align - 1);
        if (!make_value(a, off, bytes, v) || (unaligned && (is_write(kind) || !reg_at(a, off + bytes - 1))))
            continue;
        if (!is_write(kind))
            v[0] = v[1] = 0;
        bool fault = access(kind, a->base + off, v);
        note(kind, off, fault, v);
        done++;
    }
    print_results(a->name);
}

/* --- areas ----------------------------------------------------------------------------------------------------- */
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
static const struct reg empty_regs[] = {
    {0, ~0u},    {4, ~0u},    {8, ~0u},    {0xc, ~0u},  {0x10, ~0u}, {0x14, ~0u},  {0x20, ~0u},  {0x24, ~0u},
    {0x30, ~0u}, {0x34, ~0u}, {0x38, ~0u}, {0x44, ~0u}, {0x60, ~0u}, {0x64, ~0u},  {0x70, ~0u},  {0x80, ~0u},
    {0x84, ~0u}, {0x90, ~0u}, {0xa0, ~0u}, {0xa4, ~0u}, {0xfc, ~0u}, {0x100, ~0u}, {0x104, ~0u}, {0x1fc, ~0u}};
/* Of a disk: identification, selectors, what can be written and read back, capacity, and what is behind the configuration. */
static const struct reg disk_regs[] = {{0, ~0u},     {4, ~0u},     {8, ~0u},     {0xc, ~0u},   {0x14, ~0u},
                                       {0x24, ~0u},  {0x44, 0},    {0x48, 0},    {0x60, ~0u},  {0x64, ~0u},
                                       {0x100, 0},   {0x104, 0},   {0x180, ~0u}, {0x184, ~0u}, {0x188, ~0u},
                                       {0x18c, ~0u}, {0x1f8, ~0u}, {0x1fc, ~0u}};
static const struct reg hole_regs[] = {{0, ~0u}, {4, ~0u}, {8, ~0u}, {0xc, ~0u}};
#define AREA(name, base, regs) (&(struct area){name, base, regs, ARRAY_LEN(regs)})

static uint64_t slot_with(uint32_t id) {
    for (unsigned slot = 0; slot < 32; slot++)
        if (mmio_read32(VIRTIO_BASE + VIRTIO_STRIDE * slot + VIRTIO_ID) == id)
            return VIRTIO_BASE + VIRTIO_STRIDE * slot;
    CHECK(false);
    return VIRTIO_BASE;
}

static void test_uart(void) { run_area(AREA("uart", UART_BASE, uart_regs), 600, false); }

static void test_rtc(void) { run_area(AREA("rtc", RTC_BASE, rtc_regs), 400, false); }

static void test_empty(void) { run_area(AREA("empty", VIRTIO_BASE + 8 * VIRTIO_STRIDE, empty_regs), 400, false); }

static void test_disk(void) { run_area(AREA("disk", slot_with(2), disk_regs), 500, false); }

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

TESTS({"uart", test_uart}, {"rtc", test_rtc}, {"empty slot", test_empty}, {"disk", test_disk}, {"hole", test_hole},
      {"unaligned", test_unaligned});
