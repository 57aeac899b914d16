/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fuzz_regs.c: random values to every system register encoding and every device register, for ten seconds. Whatever
 * they do to the guest is its own affair, but the monitor goes on. What would take the payload's own memory away is
 * put back at once. */
/* options: only=graft smp=2 gic=3 */
#include "gic.h"
#include "random.h"

#define BRK_DONE 0xd42eeee0u
#define ISB 0xd5033fdfu
#define HIGH 0xffffff8000000000ul /* the code page once more, in TTBR1 */
#define DEVICES 0x08000000ul
#define DEVICES_BYTES 0x08000000ul
#define NORMAL_DEVICES 0x10008000000ul /* the devices with normal attributes: unaligned accesses get there */
#define KEY(op0, op1, crn, crm, op2) ((op0) << 19 | (op1) << 16 | (crn) << 12 | (crm) << 8 | (op2) << 5)
#define K_SCTLR KEY(3, 0, 1, 0, 0)
#define K_TTBR0 KEY(3, 0, 2, 0, 0)
#define K_TTBR1 KEY(3, 0, 2, 0, 1)
#define K_TCR KEY(3, 0, 2, 0, 2)
#define K_MAIR KEY(3, 0, 10, 2, 0)
#define SECONDS_EACH 5

static struct context c;
static uint32_t *code;
static uint64_t accesses, refused;

static void start(void) {
    mmu_on();
    gic_init();
    code = page_alloc();
    mmu_map(mmu_root1(), HIGH, (uint64_t)code, PTE_RW | PTE_AP_RO);
    for (uint64_t a = 0; a < DEVICES_BYTES; a += 0x200000)
        mmu_block(mmu_root0(), NORMAL_DEVICES + a, DEVICES + a, PTE_RW | PTE_UXN | PTE_PXN);
    isb();
}

static uint64_t deadline(void) { return read_sysreg(cntvct_el0) + SECONDS_EACH * read_sysreg(cntfrq_el0); }

static void report(void) {
    print("\n  ");
    print_dec(accesses);
    print(" accesses, ");
    print_dec(refused);
    print(" exceptions\n");
    CHECK(accesses > 1000);
    accesses = refused = 0;
}

/* --- system registers ------------------------------------------------------------------------- */

static uint64_t run(unsigned words, bool high, uint64_t x0) {
    code[words] = BRK_DONE;
    code_sync(code, 4 * words + 4);
    run_code(&c, PSTATE_EL1T, high ? (void *)HIGH : code, x0, random_value(), random_value(), random_value());
    accesses++;
    refused += c.out.esr != 0xf2007777;
    return c.out.esr;
}

/* write_and_restore(): what the code depends on before it can restore it is left alone: the MMU stays on, the half
 * that the code runs from stays mapped. */
static bool write_and_restore(uint32_t key, uint64_t value) {
    bool high = key != K_TTBR1;
    uint64_t keep = key == K_SCTLR  ? 1 | 1 << 25
                    : key == K_TCR  ? 0xfffful << 16 | 7ul << 32 | 1ul << 59
                    : key == K_MAIR ? 0xffff
                                    : 0;
    code[0] = 0xd5200002 | key; /* mrs x2 */
    unsigned n = 1;
    if (keep) {
        uint64_t old = key == K_SCTLR ? read_sysreg(sctlr_el1)
                       : key == K_TCR ? read_sysreg(tcr_el1)
                                      : read_sysreg(mair_el1);
        value = (value & ~keep) | (old & keep);
    }
    code[n++] = 0xd5000000 | key; /* msr x0 */
    code[n++] = ISB;
    code[n++] = 0xd5000002 | key;
    code[n++] = ISB;
    if (run(n, high, value) == 0xf2007777)
        return true;
    code[0] = 0xd5000000 | key; /* not readable: writable? */
    code[1] = ISB;
    return run(2, high, value) == 0xf2007777;
}

static uint32_t known[2048]; /* encodings that can be written */
static unsigned known_count;

static bool sleeps(uint32_t key) {
    return (key >> 19 & 3) == 0 && (key & ~(31u << 5)) == KEY(0u, 3u, 2u, 0u, 0u); /* WFE, WFI */
}

static void test_system_registers(void) {
    uint32_t key = KEY(2, 0, 0, 0, 0);
    for (uint64_t end = deadline(); read_sysreg(cntvct_el0) < end;) {
        /* first all encodings in turn, then mostly those that are there */
        if (key < KEY(4, 0, 0, 0, 0)) {
            if (write_and_restore(key, random_value()) && known_count < ARRAY_LEN(known))
                known[known_count++] = key;
            key += 32;
            continue;
        }
        uint64_t r = next();
        if (r & 7) {
            write_and_restore(known[(r >> 8) % known_count], random_value());
            continue;
        }
        uint32_t k = (uint32_t)r & 0x1fffe0;
        if (r >> 63)
            k |= KEY(3, 0, 0, 0, 0);
        if (k >= KEY(2, 0, 0, 0, 0)) {
            write_and_restore(k, random_value());
        } else if (!sleeps(k)) {
            code[0] = 0xd5000000 | k | (r >> 62 & 1 ? 31 : 0); /* hints, MSR (immediate), IC, DC, AT, TLBI */
            code[1] = ISB;
            run(2, true, random_value());
        }
    }
    report();
}

/* --- devices ---------------------------------------------------------------------------------- */

/* clang-format off */
#define ACCESSES(X) \
    X(d_ldrb, "ldrb w1, [x0]") X(d_ldrh, "ldrh w1, [x0]") X(d_ldr, "ldr w1, [x0]") X(d_ldrx, "ldr x1, [x0]") \
    X(d_ldp, "ldp x1, x2, [x0]") X(d_ldrq, "ldr q0, [x0]") X(d_ldar, "ldar w1, [x0]") X(d_ldxr, "ldxr x1, [x0]") \
    X(d_strb, "strb w1, [x0]") X(d_strh, "strh w1, [x0]") X(d_str, "str w1, [x0]") X(d_strx, "str x1, [x0]") \
    X(d_stp, "stp x1, x2, [x0]") X(d_strq, "str q0, [x0]") X(d_stlr, "stlr w1, [x0]") X(d_str2, "str w1, [x0]") \
    X(d_stxr, "ldxr x2, [x0]\nstxr w3, x1, [x0]") X(d_ldadd, "ldadd w1, w2, [x0]") X(d_cas, "cas x1, x2, [x0]") \
    X(d_casp, "casp x4, x5, x2, x3, [x0]") X(d_ld1, "ld1 {v0.4s}, [x0]") X(d_st4, "st4 {v0.8b-v3.8b}, [x0]") \
    X(d_zva, "dc zva, x0") X(d_str3, "str w1, [x0]") X(d_exec, "br x0")
/* clang-format on */
#define D_SNIPPET(name, text) SNIPPET(name, text);
#define D_ROW(name, text) name,
ACCESSES(D_SNIPPET)
static const uint32_t *const device_code[] = {ACCESSES(D_ROW)};

static const struct {
    uint32_t base, bytes;
} regions[] = {
    {0x08000000, 0x1000},  {0x08000000, 0x10000},
    {0x08010000, 0x2000},  {0x08020000, 0x1000},
    {0x080a0000, 0x40000}, {0x080b0000, 0x1000},
    {0x09000000, 0x1000},  {0x09000000, 0x80},
    {0x09010000, 0x1000},  {0x09010000, 0x20},
    {0x0a000000, 0x4000},  {0x0a000000, 0x200},
    {0x0a000200, 0x200},   {0x08000000, DEVICES_BYTES - 64},
};

static void test_devices(void) {
    for (uint64_t end = deadline(); read_sysreg(cntvct_el0) < end;) {
        uint64_t r = next();
        unsigned i = r % ARRAY_LEN(regions);
        uint64_t a = regions[i].base + (r >> 8) % regions[i].bytes;
        if (r >> 60)
            a &= ~3ul;
        uint64_t value = random_value();
        const uint32_t *access = device_code[(r >> 40) % ARRAY_LEN(device_code)];
        if (a - 0x09000000 < 4) { /* the output is read by people */
            if (r >> 50 & 63)
                continue;
            value = ' ';
            access = d_str;
            a = 0x09000000;
        }
        if (r >> 58 & 1)
            a += NORMAL_DEVICES - DEVICES;
        run_code(&c, PSTATE_EL1T, access, a, value, random_value(), 3);
        accesses++;
        refused += c.out.esr != 0xf2007777;
    }
    /* everything back, starting with what carries the output */
    for (uint64_t slot = 0; slot < 32; slot++)
        mmio_write32(0x0a000000 + 0x200 * slot + 0x70, 0);
    mmio_write32(UART_BASE + 0x38, 0);
    mmio_write32(UART_BASE + 0x2c, 0x70);
    mmio_write32(UART_BASE + 0x30, 0x301);
    mmio_write32(UART_BASE + 0x44, 0x7ff);
    report();
}

static volatile unsigned irqs;
static void on_irq(struct frame *f, unsigned vector) {
    (void)f;
    (void)vector;
    uint32_t iar = gic_ack();
    irqs += (iar & 1023) == PPI_VTIMER;
    write_sysreg(cntv_ctl_el0, 0);
    isb();
    if ((iar & 1023) < 1020)
        gic_eoi(iar);
}

/* Everything still works. */
static void test_after(void) {
    mmio_write32(GICR_BASE + GICR_WAKER, 0);
    for (unsigned i = 0; i < 64 && read_sysreg(icc_rpr_el1) != 0xff; i++) { /* acknowledged by chance */
        write_sysreg(icc_eoir1_el1, 0);
        write_sysreg(icc_eoir0_el1, 0);
        write_sysreg(icc_ap1r0_el1, 0);
        write_sysreg(icc_ap0r0_el1, 0);
        isb();
    }
    gic_init();
    gic_set_priority(PPI_VTIMER, 0x80);
    gic_enable(PPI_VTIMER);
    exception_handler = on_irq;
    write_sysreg(cntv_tval_el0, 1000);
    write_sysreg(cntv_ctl_el0, 1);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
    delay_us(100000);
    __asm__ volatile("msr daifset, #2" : : : "memory");
    CHECK_EQ(irqs, 1);
    CHECK_EQ(mmio_read32(UART_BASE + 0xfe0), 0x11);
    CHECK_EQ(mmio_read32(0x0a000000), 0x74726976);
    CHECK_EQ(read_sysreg(sctlr_el1), SCTLR_ON);
    CHECK_EQ(read_sysreg(ttbr0_el1), (uint64_t)mmu_root0());
    CHECK_EQ(read_sysreg(tcr_el1), TCR_ON);
}

TESTS({"start", start}, {"system registers", test_system_registers}, {"devices", test_devices}, {"after", test_after});
