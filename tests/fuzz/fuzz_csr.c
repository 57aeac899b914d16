/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_csr.c: any sequence of accesses to RISC-V's control and status registers, traps, returns, SBI calls, walks and
 * accesses to PLIC and CLINT, on up to four harts, in each mode. Each ends in the next instruction or in a trap, and
 * the state is one that the architecture knows.
 */
#define WORLD_RV64
#include "tests/fuzz/a64_world.h"

#include "graft/softfp.h"

/* --- what the translator and the engine would be ---------------------------------------------- */

const struct guest_pin rv64_gpr_pins[RV64_GPR_PINS], rv64_vec_pins[RV64_VEC_PINS];
void rv64_translate(struct ir_block *b, const struct cpu *cpu, const void *code, unsigned bytes, unsigned max_insns) {}
uint32_t rv64_fflags(struct cpu *cpu) { return cpu->fp.fpsr & 31; }
void rv64_fcsr_set(struct cpu *cpu, uint32_t fflags, uint32_t frm) {
    rv64(cpu)->frm = frm & 7;
    cpu->fp.fpsr = fflags & 31;
}
bool bus_read(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t *value) {
    *value = 0;
    return true;
}
bool bus_write(struct cpu *cpu, struct gpa pa, unsigned size, uint64_t value) { return true; }
uint64_t mem_read(struct cpu *cpu, uint64_t va, unsigned size, unsigned regime, unsigned flags) { return va; }
const void *mem_fetch(struct cpu *cpu, uint64_t va, struct gpa *pa) {
    *pa = GPA(WORLD_RAM);
    return world.ram;
}

/* --- actions ---------------------------------------------------------------------------------- */

/* Those that there are, mostly. */
static unsigned csr_of(struct input *in) {
    static const uint16_t groups[] = {0x000, 0x100, 0x140, 0x300, 0x320, 0x340,
                                      0x3a0, 0x3b0, 0xc00, 0xf10, 0xb00, 0x180};
    unsigned how = (unsigned)take(in, 1);
    return how < 32 ? (unsigned)take(in, 2) & 0xfff : groups[how % ARRAY_LEN(groups)] | (take(in, 1) & 15);
}

static void csr(struct cpu *c, struct input *in) {
    unsigned n = csr_of(in), how = (unsigned)take(in, 1);
    uint64_t value = fuzz_value(in);
    (void)RAISES(rv64_helper_csr(c, RV64_CSR_DESC(n, 1 + how % 3, how >> 2 & 1, 0), value, n << 20 | 0x1073));
}

/* What is read twice with nothing in between is the same, but for clocks and what they make pending. */
static void read_twice(struct cpu *c, struct input *in) {
    unsigned n = csr_of(in);
    volatile uint64_t first = 0, second = 0;
    if (RAISES(first = rv64_helper_csr(c, RV64_CSR_DESC(n, 2, 0, 0), 0, n << 20 | 0x2073)))
        return;
    must(!RAISES(second = rv64_helper_csr(c, RV64_CSR_DESC(n, 2, 0, 0), 0, n << 20 | 0x2073)));
    const unsigned group = n >> 5 << 5;
    bool clock = group == 0xc00 || group == 0xb00 || n == RV64_CSR_SCOUNTOVF; /* counters, and their overflows */
    if (group == 0x320)                                                       /* mhpmevent: OF is one, too */
        first |= second & BIT(63);
    must(clock || n == RV64_CSR_MIP || n == RV64_CSR_SIP || first == second);
}

static void trap(struct cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    uint64_t cause = (how >> 1 & 15) | (how & 64 ? RV64_INTERRUPT : 0);
    bool delegated = (how & 64 ? rv64(c)->mideleg : rv64(c)->medeleg) >> (cause & 15) & 1;
    if (how & 1 && (rv64_firmware(c) || delegated)) /* without firmware there are no others */
        rv64_take_trap(c, cause, fuzz_value(in));
    else if (how & 2 && rv64_privilege(c) == RV64_PRIV_M)
        (void)RAISES(rv64_helper_mret(c, 0, 0, 0));
    else if (rv64_privilege(c) != RV64_PRIV_U)
        (void)RAISES(rv64_helper_sret(c, 0x10200073, 0, 0));
}

static void call(struct cpu *c, struct input *in) {
    static const uint32_t extensions[] = {0x10,     0x54494d45, 0x735049,   0x52464e43,
                                          0x48534d, 0x53525354, 0x4442434e, 0x504d55};
    unsigned how = (unsigned)take(in, 1);
    rv64(c)->x[17] = how < 128 ? extensions[how % ARRAY_LEN(extensions)] : how < 200 ? how % 9 : fuzz_value(in);
    rv64(c)->x[16] = take(in, 1) & 7;
    for (unsigned i = 10; i < 16; i++)
        rv64(c)->x[i] = fuzz_value(in);
    if (rv64_privilege(c) == RV64_PRIV_S)
        (void)RAISES(rv64_helper_ecall(c, 0, 0, 0));
}

static void walk(struct cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1), regime = how >> 2 & 3;
    struct walk w;
    rv64_walk(c, fuzz_value(in), (enum mmu_access)(how % 3), regime, &w);
    must(w.fault || (w.pa.v < BIT(56) && w.page_shift >= PAGE_SHIFT && w.page_shift <= 39));
}

static void memory(struct cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    uint64_t va = fuzz_value(in), v = fuzz_value(in);
    if (how & 1)
        (void)RAISES(rv64_helper_cbo(c, va, (how >> 1 & 3) | (c->regime << 3), 0x200f));
    else
        (void)RAISES(rv64_helper_sfence(c, va, v, 0x12000073u & ~3u | (how >> 1 & 3)));
}

/* As QEMU's: words, and of the CLINT's timers what is twice as wide. */
static bool is_taken(uint64_t pa, unsigned size) {
    uint64_t offset = pa - 0x02000000;
    if (pa >= 0x0c000000)
        return size == 4;
    return offset < 0xc000 && (size == 4 || (size == 8 && offset >= 0x4000));
}

static void device(struct cpu *c, struct input *in) {
    static const uint32_t places[] = {0x02000000, 0x02004000, 0x0200bff8, 0x0c000000,
                                      0x0c001000, 0x0c002000, 0x0c200000};
    unsigned how = (unsigned)take(in, 1);
    struct gpa pa = GPA(places[how % 7] + (take(in, 2) & 0x3fff));
    uint64_t value = fuzz_value(in);
    unsigned size = 1u << (how >> 4 & 3);
    must((how & 64 ? rv64_guest.io_write(c, pa, size, value) : rv64_guest.io_read(c, pa, size, &value)) ==
         is_taken(pa.v, size));
}

static void interrupts(struct cpu *c, struct input *in) {
    unsigned how = (unsigned)take(in, 1);
    if (how & 1) {
        _Atomic uint32_t *level = &world.shared.spi_level[how >> 5 & 1];
        uint32_t change = (uint32_t)take(in, 4);
        world.shared.spi_rose[how >> 5 & 1] |= change & ~*level;
        *level ^= change;
    }
    rv64_interrupts_update(c);
    if (how & 4) { /* code that counts has run */
        rv64(c)->counts.raw[how >> 3 & 3] += take(in, 4);
        rv64_guest.exit_fault(c);
    }
    if (how & 2)
        (void)RAISES(rv64_helper_wfi(c, 0x10500073, 4, 0));
    else
        (void)RAISES(rv64_guest.service(c, ABI_PEND_IRQ | ABI_PEND_TIMER));
}

static void check(const world_guest_cpu *c) {
    uint32_t mode = rv64_guest.mode(&c->c);
    must(!(c->mstatus & ~(MSTATUS_WRITABLE & ~SSTATUS_WRITABLE)) && MSTATUS_MPP_OF(c->mstatus) != 2);
    must(!(c->sstatus & ~SSTATUS_WRITABLE) && c->due == (c->mip & c->mie));
    must(RV64_MODE_REGIME(mode) == c->c.regime && (RV64_MODE_DATA(mode) == c->c.regime || c->c.regime == RV64_M));
    must(!(c->mideleg & ~SIE_WRITABLE) && !(c->mie & ~MIE_WRITABLE) && !(c->medeleg & ~MEDELEG_WRITABLE));
    must(!(c->pmu.inhibit & ~(MASK(RV64_HPMS) << 3)) &&
         RV64_MODE_PMU(mode) == (c->pmu.on ? c->pmu.needs[rv64_privilege(&c->c)] : 0));
    must(c->x[0] == 0 && c->pmp.used <= RV64_PMPS);
    must(rv64_firmware(&c->c) || c->c.regime != RV64_M); /* no way into the engine's own mode */
}

static void act(struct cpu *c, struct input *in) {
    switch (take(in, 1) % 10) {
    case 0:
    case 1:
    case 2: csr(c, in); break;
    case 3: read_twice(c, in); break;
    case 4: trap(c, in); break;
    case 5: call(c, in); break;
    case 6: walk(c, in); break;
    case 7: memory(c, in); break;
    case 8: device(c, in); break;
    default: interrupts(c, in); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3 || size > MAX_INPUT)
        return 0;
    struct input in = fuzz_start(data, size);
    world.boot.firmware = data[1] & 1;
    for (unsigned i = 0; i < world.boot.vcpu_count; i++) {
        rv64_reset(world_cpu(i));
        rv64(world_cpu(i))->pc = WORLD_RAM;
    }
    for (unsigned i = 0; i < WORLD_RAM_BYTES; i += 8) /* tables, some of them valid, that lead to each other */
        *(uint64_t *)(world.ram + i) =
            (WORLD_RAM + (i * 40503u & 0xf000)) >> 2 | (i / 8 % 3 ? 0x01 : 0xcf) | (i >> 2 & 0x30);
    while (in.at < in.end) {
        world_guest_cpu *c = fuzz_cpu(&in);
        act(&c->c, &in);
        check(c);
    }
    return 0;
}
