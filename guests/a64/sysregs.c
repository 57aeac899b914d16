/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* sysregs.c: MRS and MSR by the table sysregs.def: access rights, traps to EL1, what a register does beyond holding a
 * value. */
#include "graft/softfp.h"
#include "system.h"

#define KEY_WRITE BIT(16) /* with the key, to check(): it is a write */
enum outcome { ACCESS_OK, ACCESS_UNDEFINED, ACCESS_TRAP /* EC 0x18 */, ACCESS_FP_TRAP /* EC 0x07 */ };

struct sysreg {
    uint16_t key;
    uint8_t read_el, write_el; /* least exception level, NEVER */
    uint32_t offset;           /* in struct a64_cpu, 0 if the register is not stored: reads as zero, writes ignored */
    uint64_t mask;
    enum outcome (*check)(const struct a64_cpu *c, uint32_t key);
    uint64_t (*read)(struct a64_cpu *c);
    void (*write)(struct a64_cpu *c, const struct sysreg *r, uint64_t value);
};

#define NEVER 9
#define OSLSR_OSLK BIT(1)
#define MDSCR_TDCC BIT(12)
#define MDSCR_OWN (BIT(0) | MDSCR_TDCC | BIT(13) | BIT(15)) /* SS, TDCC, KDE, MDE */
/* ERR, HDE, TDA, INTdis, TXU, RXO, TXfull, RXfull */
#define MDSCR_LOCKED (BIT(6) | BIT(14) | BIT(21) | UINT64_C(3) << 22 | BIT(26) | BIT(27) | BIT(29) | BIT(30))
#define DBGBCR_MASK 0x00ffe1e7u /* BT, LBN, SSC, HMC, BAS, PMC, E */
#define DBGWCR_MASK 0x1f1fffffu /* MASK, WT, LBN, SSC, HMC, BAS, LSC, PAC, E */
#define CNTKCTL_EL0PCTEN BIT(0)
#define CNTKCTL_EL0VCTEN BIT(1)
#define CNTKCTL_EL0VTEN BIT(8)
#define CNTKCTL_EL0PTEN BIT(9)
#define FPCR_MASK 0x07c00000u /* AHP, DN, FZ, RMode */
#define FPSR_MASK 0x0800009fu /* QC, IDC, IXC .. IOC */
#define FPSR_QC BIT(27)

static enum outcome trap_at_el0(const struct a64_cpu *c, bool allowed) {
    return c->el == 0 && !allowed ? ACCESS_TRAP : ACCESS_OK;
}

/* --- checks ----------------------------------------------------------------------------------- */

static enum outcome check_uct(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.sctlr_el1 & SCTLR_UCT);
}

static enum outcome check_uma(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.sctlr_el1 & SCTLR_UMA);
}

static enum outcome check_uci(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.sctlr_el1 & SCTLR_UCI);
}

static enum outcome check_dze(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.sctlr_el1 & SCTLR_DZE);
}

static enum outcome check_cntfrq(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.cntkctl_el1 & (CNTKCTL_EL0PCTEN | CNTKCTL_EL0VCTEN));
}

static enum outcome check_cntpct(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.cntkctl_el1 & CNTKCTL_EL0PCTEN);
}

static enum outcome check_cntvct(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.cntkctl_el1 & CNTKCTL_EL0VCTEN);
}

static enum outcome check_cntp(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.cntkctl_el1 & CNTKCTL_EL0PTEN);
}

static enum outcome check_cntv(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->sys.cntkctl_el1 & CNTKCTL_EL0VTEN);
}

static enum outcome check_fp(const struct a64_cpu *c, uint32_t key) {
    unsigned fpen = a64_bits(c->sys.cpacr_el1, 20, 2);
    return fpen == 3 || (fpen == 1 && c->el == 1) ? ACCESS_OK : ACCESS_FP_TRAP;
}

static enum outcome check_pan(const struct a64_cpu *c, uint32_t key) {
    return c->has_pan ? ACCESS_OK : ACCESS_UNDEFINED;
}

static enum outcome check_scxtnum(const struct a64_cpu *c, uint32_t key) {
    if (a64_bits(c->sys.id_pfr0, 56, 4) < 2)
        return ACCESS_UNDEFINED;
    return trap_at_el0(c, !(c->sys.sctlr_el1 & SCTLR_TSCXT));
}

static enum outcome check_sp_el0(const struct a64_cpu *c, uint32_t key) {
    return c->spsel ? ACCESS_OK : ACCESS_UNDEFINED;
}

static enum outcome check_a72(const struct a64_cpu *c, uint32_t key) {
    return c->c.boot->cpu_model == ABI_CPU_CORE ? ACCESS_OK : ACCESS_UNDEFINED;
}

static enum outcome check_dcc(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, !(c->sys.mdscr_el1 & MDSCR_TDCC));
}

static enum outcome check_breakpoint(const struct a64_cpu *c, uint32_t key) {
    return (key >> 3 & 15) <= a64_bits(c->sys.id_dfr0, 12, 4) ? ACCESS_OK : ACCESS_UNDEFINED;
}

static enum outcome check_watchpoint(const struct a64_cpu *c, uint32_t key) {
    return (key >> 3 & 15) <= a64_bits(c->sys.id_dfr0, 20, 4) ? ACCESS_OK : ACCESS_UNDEFINED;
}

#define PMUSERENR_EN BIT(0)
#define PMUSERENR_SW BIT(1)
#define PMUSERENR_CR BIT(2)
#define PMUSERENR_ER BIT(3)

static enum outcome check_pmu(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->pmu.user & PMUSERENR_EN);
}

static enum outcome check_pmswinc(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->pmu.user & (PMUSERENR_EN | PMUSERENR_SW));
}

static enum outcome check_pmselr(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->pmu.user & (PMUSERENR_EN | PMUSERENR_ER));
}

/* What may be read with another bit than what may be written with. */
static enum outcome check_pmccntr(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->pmu.user & (key & KEY_WRITE ? PMUSERENR_EN : PMUSERENR_EN | PMUSERENR_CR));
}

static enum outcome check_pmevcntr(const struct a64_cpu *c, uint32_t key) {
    return trap_at_el0(c, c->pmu.user & (key & KEY_WRITE ? PMUSERENR_EN : PMUSERENR_EN | PMUSERENR_ER));
}

/* --- registers that are more than storage ----------------------------------------------------- */

static void store(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    *(uint64_t *)((char *)c + r->offset) = value & r->mask;
}

static void write_table(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    store(c, r, value);
    if (c->sys.sctlr_el1 & SCTLR_M)
        mmu_context_changed(&c->c);
}

static void write_control(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    store(c, r, value);
    a64_controls_changed(c);
    mmu_context_changed(&c->c);
}

/* No hardware update of access flag and dirty state; E0PD0 and E0PD1 where the model has them. */
static void write_tcr(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    write_control(c, r, value & (MASK(39) | (c->sys.id_mmfr2 >> 60 ? BIT(55) | BIT(56) : 0)));
}

/* --- debug ------------------------------------------------------------------------------------ */
static void write_oslar(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    c->sys.oslsr_el1 = (c->sys.oslsr_el1 & ~UINT64_C(2)) | (value & 1) << 1;
    a64_debug_changed(c);
}

/* What an external debugger sees and sets there is a register's own bits only while the OS lock is set, for saving and
 * restoring. */
static void write_mdscr(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    uint64_t mask = c->sys.oslsr_el1 & OSLSR_OSLK ? MDSCR_OWN | MDSCR_LOCKED : MDSCR_OWN;
    c->sys.mdscr_el1 = (c->sys.mdscr_el1 & ~mask) | (value & mask);
    a64_debug_changed(c);
}

static void write_debug(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    store(c, r, value);
    a64_debug_changed(c);
}

/* BAS has a bit for each halfword, twice (A32 and T32 code; A64 code sets all four). */
static void write_bcr(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    uint64_t halves = value & (BIT(5) | BIT(7));
    write_debug(c, r, (value & ~(UINT64_C(15) << 5)) | halves | halves << 1);
}

static uint64_t read_claimset(struct a64_cpu *c) { return 0xff; }

static void write_claimset(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    c->sys.dbgclaim |= value & 0xff;
}

static void write_claimclr(struct a64_cpu *c, const struct sysreg *r, uint64_t value) { c->sys.dbgclaim &= ~value; }

static uint64_t read_spsel(struct a64_cpu *c) { return c->spsel; }

static void write_spsel(struct a64_cpu *c, const struct sysreg *r, uint64_t value) { a64_set_el(c, c->el, value & 1); }

static uint64_t read_currentel(struct a64_cpu *c) { return c->el << 2; }

static uint64_t read_pan(struct a64_cpu *c) { return c->pan << 22; }

static void write_pan(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    c->pan = value >> 22 & 1;
    mmu_context_changed(&c->c);
}

static uint64_t read_isr(struct a64_cpu *c) { return (c->irq ? DAIF_I : 0) | (c->fiq ? DAIF_F : 0); }

static uint64_t read_ccsidr(struct a64_cpu *c) {
    return c->sys.csselr_el1 < ARRAY_LEN(c->sys.ccsidr) ? c->sys.ccsidr[c->sys.csselr_el1] : 0;
}

static uint64_t read_l2ctlr(struct a64_cpu *c) { return (uint64_t)(c->c.boot->vcpu_count - 1) << 24; }

static uint64_t read_dczid(struct a64_cpu *c) {
    return c->sys.dczid | (c->el == 0 && !(c->sys.sctlr_el1 & SCTLR_DZE) ? BIT(4) : 0); /* DZP */
}

static uint64_t read_nzcv(struct a64_cpu *c) { return ir_flags_unpack(c->nzcv); }

static void write_nzcv(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    c->nzcv = ir_flags_pack((uint32_t)value);
}

static uint64_t read_daif(struct a64_cpu *c) { return c->daif & DAIF_MASK; }

/* An interrupt that became due is taken before the next instruction: the dispatcher does it, so we leave for there. */
static void daif_changed(struct a64_cpu *c) {
    if (LIKELY(!a64_interrupt_due(c)))
        return;
    if (UNLIKELY(c->debug.ss))
        a64_executed(&c->c); /* for the dispatcher it is not: we leave in the middle */
    a64_check_interrupts(c);
    c->pc += 4;
    engine_unwind(&c->c);
}

static void write_daif(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    c->daif = value & DAIF_MASK;
    daif_changed(c);
}

static uint64_t read_fpcr(struct a64_cpu *c) { return c->c.fp.fpcr; }

static void write_fpcr(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    fp_sync(&c->c);
    c->c.fp.fpcr = (uint32_t)value & FPCR_MASK;
    fp_set_rounding(&c->c);
}

static uint64_t read_fpsr(struct a64_cpu *c) {
    fp_sync(&c->c);
    const v128 *qc = &c->c.fp.qc;
    return (c->c.fp.fpsr & FPSR_MASK & ~FPSR_QC) | (qc->u64[0] | qc->u64[1] ? FPSR_QC : 0);
}

static void write_fpsr(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {
    fp_sync(&c->c);
    c->c.fp.fpsr = (uint32_t)value & FPSR_MASK & ~FPSR_QC;
    c->c.fp.qc = (v128){.u64 = {value & FPSR_QC ? 1 : 0, 0}};
    fp_set_rounding(&c->c);
}

static uint64_t read_count(struct a64_cpu *c) { return a64_timer_count(&c->c); }

#define TIMER_REG(name, reg, physical)                                                                                 \
    static uint64_t read_##name(struct a64_cpu *c) { return a64_timer_read(&c->c, reg, physical); }                    \
    static void write_##name(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {                              \
        a64_timer_write(&c->c, reg, physical, value);                                                                  \
        a64_check_interrupts(c);                                                                                       \
    }
TIMER_REG(cntp_tval, A64_TIMER_TVAL, true)
TIMER_REG(cntp_ctl, A64_TIMER_CTL, true)
TIMER_REG(cntp_cval, A64_TIMER_CVAL, true)
TIMER_REG(cntv_tval, A64_TIMER_TVAL, false)
TIMER_REG(cntv_ctl, A64_TIMER_CTL, false)
TIMER_REG(cntv_cval, A64_TIMER_CVAL, false)

#define PMU_READ(name, reg)                                                                                            \
    static uint64_t read_##name(struct a64_cpu *c) { return a64_pmu_read(c, reg); }
#define PMU_WRITE(name, reg)                                                                                           \
    static void write_##name(struct a64_cpu *c, const struct sysreg *r, uint64_t value) {                              \
        a64_pmu_write(c, reg, value);                                                                                  \
    }
#define PMU_REG(name, reg) PMU_READ(name, reg) PMU_WRITE(name, reg)
PMU_REG(pmcr, A64_PMCR)
PMU_REG(pmcntenset, A64_PMCNTENSET)
PMU_REG(pmcntenclr, A64_PMCNTENCLR)
PMU_REG(pmovsclr, A64_PMOVSCLR)
PMU_REG(pmovsset, A64_PMOVSSET)
PMU_WRITE(pmswinc, A64_PMSWINC)
PMU_REG(pmselr, A64_PMSELR)
PMU_READ(pmceid0, A64_PMCEID0)
PMU_READ(pmceid1, A64_PMCEID1)
PMU_REG(pmccntr, A64_PMCCNTR)
PMU_REG(pmxevtyper, A64_PMXEVTYPER)
PMU_REG(pmxevcntr, A64_PMXEVCNTR)
PMU_REG(pmuserenr, A64_PMUSERENR)
PMU_REG(pmintenset, A64_PMINTENSET)
PMU_REG(pmintenclr, A64_PMINTENCLR)
PMU_REG(pmccfiltr, A64_PMCCFILTR)
#define PMU_COUNTER(n) PMU_REG(pmevcntr##n, A64_PMEVCNTR0 + n) PMU_REG(pmevtyper##n, A64_PMEVTYPER0 + n)
PMU_COUNTER(0)
PMU_COUNTER(1)
PMU_COUNTER(2)
PMU_COUNTER(3)
PMU_COUNTER(4)
PMU_COUNTER(5)

/* --- the tables ------------------------------------------------------------------------------- */

#define none NULL
#define plain NULL
#define ALL ~UINT64_C(0)
#define LOW32 MASK(32)
#define SCTLR_MASK (MASK(30) & ~(SCTLR_EE | SCTLR_E0E)) /* data is little-endian only */
#define RW0 0, 0
#define R0W1 0, 1
#define RO0 0, NEVER
#define WO0 NEVER, 0
#define RW1 1, 1
#define RO1 1, NEVER
#define WO1 NEVER, 1

#define SYSREG(name, op0, op1, crn, crm, op2, access, storage, mask, check, read, write)                               \
    {A64_SYSREG(op0, op1, crn, crm, op2), access, offsetof(struct a64_cpu, sys.storage), mask, check, read, write},
static const struct sysreg sysregs[] = {
#include "sysregs.def"
};
#define SYSREG(name, op0, op1, crn, crm, op2, ...) A64_SYSREG(op0, op1, crn, crm, op2),
static const uint16_t sysreg_keys[] = {
#include "sysregs.def"
};

struct sysop {
    uint8_t least_el;
    uint32_t arg;
    enum outcome (*check)(const struct a64_cpu *c, uint32_t key);
    a64_op *execute;
};
#define SYSOP(name, op1, crn, crm, op2, el, check, execute, arg) {el, arg, check, a64_##execute},
static const struct sysop sysops[] = {
#include "sysregs.def"
};
#define SYSOP(name, op1, crn, crm, op2, ...) A64_SYSREG(1, op1, crn, crm, op2),
static const uint16_t sysop_keys[] = {
#include "sysregs.def"
};

/* Index of key in a sorted list, -1 if it is not there. */
static int find(const uint16_t *keys, size_t count, uint32_t key) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (keys[middle] == key)
            return (int)middle;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static const struct sysreg *find_sysreg(uint32_t key) {
    int i = find(sysreg_keys, ARRAY_LEN(sysreg_keys), key);
    return i < 0 ? NULL : &sysregs[i];
}

/* Registers that are not listed: the reserved ID register space (op0 3, op1 0, CRn 0, CRm 1 .. 7) reads as zero, the
 * AArch32 ID registers in it as the model has them. */
static bool id_space(const struct a64_cpu *c, uint32_t key, uint64_t *value) {
    unsigned crm = key >> 3 & 15;
    if (c->el == 0 || key >> 7 != A64_SYSREG(3, 0, 0, 0, 0) >> 7 || crm < 1 || crm > 7)
        return false;
    *value = crm <= 3 ? c->sys.id_regs32[(crm - 1) * 8 + (key & 7)] : 0;
    return true;
}

/* --- access ----------------------------------------------------------------------------------- */

void a64_raise_sysreg_trap(struct cpu *cpu, uint32_t insn) {
    uint32_t op0 = insn >> 19 & 3, op1 = insn >> 16 & 7, crn = insn >> 12 & 15, crm = insn >> 8 & 15,
             op2 = insn >> 5 & 7;
    uint32_t iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | (insn & 31) << 5 | crm << 1 | (insn >> 21 & 1);
    a64_raise(cpu, A64_EC_SYSREG, iss);
}

static void enforce(struct cpu *cpu, enum outcome outcome, uint32_t insn) {
    if (LIKELY(outcome == ACCESS_OK))
        return;
    if (outcome == ACCESS_TRAP)
        a64_raise_sysreg_trap(cpu, insn);
    if (outcome == ACCESS_FP_TRAP)
        a64_raise(cpu, A64_EC_FP, 1u << 24 | 0xe << 20); /* CV, COND = always */
    a64_raise_undefined(cpu, insn, "system register access");
}

static enum outcome allowed(const struct a64_cpu *c, const struct sysreg *r, bool write) {
    if (c->el < (write ? r->write_el : r->read_el))
        return ACCESS_UNDEFINED;
    return r->check ? r->check(c, r->key | (write ? (uint32_t)KEY_WRITE : 0)) : ACCESS_OK;
}

uint64_t a64_helper_mrs(struct cpu *cpu, uint64_t key, uint64_t insn, uint64_t unused) {
    struct a64_cpu *c = a64(cpu);
    const struct sysreg *r = find_sysreg((uint32_t)key);
    uint64_t value;
    if (!r) {
        bool known = c->el > 0 && a64_gic_sysreg_read(cpu, (uint32_t)key, &value);
        if (!known && !id_space(c, (uint32_t)key, &value))
            enforce(cpu, ACCESS_UNDEFINED, (uint32_t)insn);
        return value;
    }
    enforce(cpu, allowed(c, r, false), (uint32_t)insn);
    return r->read ? r->read(c) : *(uint64_t *)((char *)c + r->offset);
}

uint64_t a64_helper_msr(struct cpu *cpu, uint64_t key, uint64_t value, uint64_t insn) {
    struct a64_cpu *c = a64(cpu);
    const struct sysreg *r = find_sysreg((uint32_t)key);
    if (!r) {
        if (c->el == 0 || !a64_gic_sysreg_write(cpu, (uint32_t)key, value))
            enforce(cpu, ACCESS_UNDEFINED, (uint32_t)insn);
        return 0;
    }
    enforce(cpu, allowed(c, r, true), (uint32_t)insn);
    if (r->write)
        r->write(c, r, value);
    else
        store(c, r, value);
    return 0;
}

uint64_t a64_helper_sys(struct cpu *cpu, uint64_t key, uint64_t value, uint64_t insn) {
    struct a64_cpu *c = a64(cpu);
    int i = find(sysop_keys, ARRAY_LEN(sysop_keys), (uint32_t)key);
    if (i < 0 || c->el < sysops[i].least_el)
        a64_raise_undefined(cpu, (uint32_t)insn, "system instruction");
    if (sysops[i].check)
        enforce(cpu, sysops[i].check(c, (uint32_t)key), (uint32_t)insn);
    return sysops[i].execute(cpu, value, sysops[i].arg);
}

/* MSR (immediate): op1 << 3 | op2 */
#define IMM_PAN 004
#define IMM_SPSEL 005
#define IMM_DAIFSET 036
#define IMM_DAIFCLR 037

uint64_t a64_helper_msr_imm(struct cpu *cpu, uint64_t op, uint64_t imm, uint64_t insn) {
    struct a64_cpu *c = a64(cpu);
    if (op == IMM_DAIFSET || op == IMM_DAIFCLR) {
        enforce(cpu, check_uma(c, 0), (uint32_t)insn);
        c->daif = op == IMM_DAIFSET ? c->daif | (uint32_t)(imm << 6) : c->daif & ~(uint32_t)(imm << 6);
        daif_changed(c);
        return 0;
    }
    if (c->el == 0 || !(op == IMM_SPSEL || (op == IMM_PAN && c->has_pan)))
        a64_raise_undefined(cpu, (uint32_t)insn, "PSTATE field");
    if (op == IMM_SPSEL) {
        a64_set_el(c, c->el, imm & 1);
    } else {
        c->pan = imm & 1;
        mmu_context_changed(cpu);
    }
    return 0;
}

const unsigned a64_sysreg_rows = ARRAY_LEN(sysregs);

uint64_t a64_sysreg_get(struct cpu *cpu, unsigned row) {
    const struct sysreg *r = &sysregs[row];
    struct a64_cpu *c = a64(cpu);
    return r->read ? r->read(c) : *(uint64_t *)((char *)c + r->offset);
}

/* DAIF is PSTATE's to change: an interrupt that is due then would be taken in the middle of this. */
bool a64_sysreg_set(struct cpu *cpu, unsigned row, uint64_t value) {
    const struct sysreg *r = &sysregs[row];
    struct a64_cpu *c = a64(cpu);
    if (r->write_el == NEVER || r->write == write_daif)
        return false;
    if (r->write)
        r->write(c, r, value);
    else
        store(c, r, value);
    return true;
}

size_t a64_sysreg_offset(uint32_t key, unsigned el, bool write) {
    const struct sysreg *r = find_sysreg(key);
    if (!r || el < (write ? r->write_el : r->read_el))
        return 0;
    if (el == 0 && r->offset >= A64_OWN_BYTES) /* not EL0's to write, so not to read without a helper either */
        return 0;
    /* What is checked or computed for EL0 alone is storage to EL1. */
    bool allowed_at_el1 = r->check == check_sp_el0 || r->check == check_uct || r->check == check_cntfrq;
    if (r->check && !(el == 1 && allowed_at_el1))
        return 0;
    bool stored = write ? !r->write && r->mask == ALL : !r->read || (el == 1 && r->read == read_dczid);
    return stored ? r->offset : 0;
}

/* For the unit test: is the table in the order that find() needs? */
bool a64_sysregs_sorted(void) {
    for (size_t i = 1; i < ARRAY_LEN(sysreg_keys); i++)
        if (sysreg_keys[i - 1] >= sysreg_keys[i])
            return false;
    for (size_t i = 1; i < ARRAY_LEN(sysop_keys); i++)
        if (sysop_keys[i - 1] >= sysop_keys[i])
            return false;
    return true;
}
