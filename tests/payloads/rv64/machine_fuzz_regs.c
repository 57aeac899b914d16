/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* machine_fuzz_regs.c: as fuzz_regs.c, for RISC-V in machine mode: random values to every CSR and every device
 * register, and random accesses to devices, for some seconds, and until there were enough. Whatever they do to the
 * guest is its own affair, but the monitor goes on. */
/* options: machine=1 only=graft drive=1 */
#include "rv64_payload.h"
#include "random.h"

#define SECONDS_EACH 2
#define ACCESSES_EACH 1000
#define TIMEBASE 10000000ul
#define UART 0x10000000ul
#define FLASH 0x20000000ul
#define FLASH_BYTES 0x4000000ul
#define CSR_MSTATUS 0x300u

static uint64_t deadline(void) { return csr_read(time) + SECONDS_EACH * TIMEBASE; }
static bool is_enough(uint64_t end, uint64_t tried) { return csr_read(time) >= end && tried >= ACCESSES_EACH; }

static void report(uint64_t accesses, uint64_t traps) {
    print("\n  ");
    print_dec(accesses);
    print(" accesses, ");
    print_dec(trap.count - traps);
    print(" traps\n");
}

/* --- control and status registers ------------------------------------------------------------- */
static uint32_t code[16];
typedef uint64_t code_fn(uint64_t value, uint64_t mstatus);

/* Without those that the payload would not survive: where traps go and what they find there, what C is, memory that is
 * locked for ever. */
static bool is_tried(unsigned csr) {
    return csr != 0x301 && csr != 0x305 && csr != 0x340 && csr != 0x747 && csr != 0x757 && (csr < 0x3a0 || csr > 0x3ef);
}

/* csrrw, csrrs or csrrc a0, csr, a0; csrw mstatus, a1; ret. What it was is written back if it could be read. */
static void try_csr(unsigned csr, unsigned how, uint64_t value) {
    uint64_t status = csr_read(mstatus), before = trap.count;
    code[0] = csr << 20 | 10 << 15 | how << 12 | 10 << 7 | 0x73;
    code[1] = CSR_MSTATUS << 20 | 11 << 15 | 1 << 12 | 0x73;
    code[2] = 0x8067;
    __asm__ volatile("fence.i" : : : "memory");
    uint64_t old = ((code_fn *)code)(value, status);
    csr_write(mie, 0);
    if (trap.count == before && csr != CSR_MSTATUS && how == 1)
        ((code_fn *)code)(old, status);
    csr_write(mie, 0);
}

static void test_csrs(void) {
    uint64_t tried = 0, traps = trap.count, end = deadline();
    for (unsigned csr = 0; !is_enough(end, tried); csr = (csr + 1) % 4096) {
        uint64_t r = next();
        if (!is_tried(csr))
            continue;
        try_csr(csr, 1 + (unsigned)(r % 3), random_value());
        tried++;
    }
    report(tried, traps);
}

/* --- devices ---------------------------------------------------------------------------------- */
enum { LOAD = 2, JUMP = 16, KINDS = 20 };
#define ACCESS(insn) __asm__ volatile(insn : "+r"(v) : "r"(a) : "memory", "t3", "t4", "ra", "ft0")
static void touch(unsigned kind, uint64_t a, uint64_t v) {
    switch (kind) {
    case 0: ACCESS("lb %0, (%1)"); break;
    case 1: ACCESS("lhu %0, (%1)"); break;
    case LOAD: ACCESS("lw %0, (%1)"); break;
    case 3: ACCESS("ld %0, (%1)"); break;
    case 4: ACCESS("fld ft0, (%1)"); break;
    case 5: ACCESS("flw ft0, (%1)"); break;
    case 6: ACCESS("lr.d %0, (%1)"); break;
    case 7: ACCESS("lr.w t3, (%1)\nsc.w %0, t3, (%1)"); break;
    case 8: ACCESS("amoadd.w %0, %0, (%1)"); break;
    case 9: ACCESS("amoswap.d %0, %0, (%1)"); break;
    case 10: ACCESS("sb %0, (%1)"); break;
    case 11: ACCESS("sh %0, (%1)"); break;
    case 12: ACCESS("sd %0, (%1)"); break;
    case 13: ACCESS("fsd ft0, (%1)"); break;
    case 14: ACCESS("fsw ft0, (%1)"); break;
    case 15: ACCESS("mv t3, %1\n.insn i 0xf, 2, x0, t3, 4"); break; /* cbo.zero */
    case JUMP:
        ACCESS("la t3, 1f\nla t4, resume\nsd t3, (t4)\njr %1\n1:");
        resume = 0;
        break;
    default: ACCESS("sw %0, (%1)"); break;
    }
}

static const struct {
    uint32_t base, bytes;
} regions[] = {
    {0x02000000, 0x10000},  {0x02000000, 0x20},   {0x0c000000, 0x1100},    {0x0c002000, 0x200}, {0x0c200000, 0x4000},
    {0x0c000000, 0x600000}, {0x10000000, 0x100},  {0x00101000, 0x1000},    {0x00101000, 0x24},  {0x10001000, 0x8000},
    {0x10001000, 0x200},    {0x10002000, 0x200},  {0x10100000, 0x20},      {0x20000000, 0x100}, {0x20000000, 0x4000000},
    {0x22000000, 0x40000},  {0x30000000, 0x1000}, {0x00200000, 0x7e00000}, {0, 0x1000},
};

static void test_devices(void) {
    uint64_t tried = 0, traps = trap.count, end = deadline();
    while (!is_enough(end, tried)) {
        uint64_t r = next(), value = random_value();
        unsigned i = (unsigned)(r % (sizeof(regions) / sizeof(regions[0])));
        uint64_t a = regions[i].base + (r >> 8) % regions[i].bytes;
        if (r >> 60)
            a &= ~3ul;
        if (a - UART < 4) /* the output is read by people */
            value = a == UART ? ' ' : value;
        if (a - UART < 4 && r >> 50 & 63)
            continue;
        unsigned kind = (unsigned)(r >> 40) % KINDS;
        if (kind == JUMP && a - FLASH < FLASH_BYTES) /* what it says there could be anything */
            kind = LOAD;
        touch(kind, a, value);
        csr_write(mie, 0);
        tried++;
    }
    *(volatile uint8_t *)(UART + 3) = 3; /* no divisor, no loopback: the console is there again */
    *(volatile uint8_t *)(UART + 4) = 0;
    report(tried, traps);
}

TESTS({"csrs", test_csrs}, {"devices", test_devices});
