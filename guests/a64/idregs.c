/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * idregs.c: the CPU models, as identification registers.
 *
 * max: what Graft implements and nothing else. MIDR_EL1 has implementer 0 (reserved for software use by the Arm ARM),
 * architecture 0xf (look at the ID registers), part number 'G'. No AArch32, no EL2, no EL3. E0PD, CSV2 and CSV3
 * are there because Linux then does without page-table isolation and branch history mitigations, which cost much and
 * gain nothing in a guest whose speculation is not its own.
 *
 * cortex-a72: that core's registers as QEMU presents them on `virt` without EL2 and EL3, for comparisons. It says more
 * than is there: AArch32 at EL0 and EL1 (a return to it is an illegal exception return), the 64 KiB granule and
 * big-endian data.
 */
#include "system.h"

#define FIELD(shift, value) ((uint64_t)(value) << (shift))

static const struct {
    uint64_t size; /* of the largest physical address, as a power of two */
    unsigned code;
} pa_ranges[] = {{40, 2}, {44, 4}, {48, 5}};

/* ID_AA64MMFR0_EL1.PARange: 40 bits, or more if the RAM reaches further. */
static unsigned pa_range(const struct abi_boot *boot) {
    uint64_t last = boot->ram_gpa + boot->ram_size - 1;
    for (size_t i = 0; i < ARRAY_LEN(pa_ranges); i++)
        if (!(last >> pa_ranges[i].size))
            return pa_ranges[i].code;
    return 5;
}

static void model_max(struct a64_cpu *c) {
    struct a64_sysregs *s = &c->sys;
    s->midr = FIELD(24, 0) | FIELD(16, 0xf) | FIELD(4, 'G');
    /* 64-byte lines, PIPT; IDC = DIC = 0 */
    s->ctr = BIT(31) | FIELD(24, 4) | FIELD(20, 4) | FIELD(16, 4) | FIELD(14, 3) | FIELD(0, 4);
    s->clidr = FIELD(27, 2) | FIELD(24, 2) | FIELD(21, 1) | FIELD(3, 4) | FIELD(0, 3); /* split L1, unified L2 */
    /* EL0, EL1: AArch64 only; FP, AdvSIMD; CSV2_3, CSV3 */
    s->id_pfr0 = FIELD(0, 1) | FIELD(4, 1) | FIELD(56, 3) | FIELD(60, 1);
    /* Armv8 debug, PMUv3; six breakpoints, of which the last two compare with CONTEXTIDR_EL1, four watchpoints */
    s->id_dfr0 = FIELD(0, 6) | FIELD(8, 1) | FIELD(12, 5) | FIELD(20, 3) | FIELD(28, 1);
    /* AES + PMULL, SHA1, SHA2, CRC32, LSE, RDM */
    s->id_isar0 = FIELD(4, 2) | FIELD(8, 1) | FIELD(12, 1) | FIELD(16, 1) | FIELD(20, 2) | FIELD(28, 1);
    /* 16-bit ASIDs; 4 KiB granule only */
    s->id_mmfr0 = FIELD(0, pa_range(c->c.boot)) | FIELD(4, 2) | FIELD(24, 0xf);
    s->id_mmfr1 = FIELD(20, 1); /* PAN */
    s->id_mmfr2 = FIELD(60, 1); /* E0PD */
}

static void model_cortex_a72(struct a64_cpu *c) {
    struct a64_sysregs *s = &c->sys;
    static const uint32_t id32[24] = {
        /* ID_PFR0 PFR1 DFR0 AFR0 MMFR0 MMFR1 MMFR2 MMFR3, without Security and Virtualization */
        0x00000131,
        0x00010001,
        0x03000006,
        0x00000000,
        0x10201105,
        0x40000000,
        0x01260000,
        0x02102211,
        /* ID_ISAR0 .. ISAR5 MMFR4 ISAR6 */
        0x02101110,
        0x13112111,
        0x21232042,
        0x01112131,
        0x00011142,
        0x00011121,
        0x00000000,
        0x00000000,
        /* MVFR0 .. MVFR2 */
        0x10110222,
        0x12111111,
        0x00000043,
    };
    s->midr = 0x410fd083;
    s->ctr = 0x8444c004;
    s->clidr = 0x0a200023;
    s->id_pfr0 = 0x00000022;
    s->id_dfr0 = 0x10305106;
    s->id_isar0 = 0x00011120;
    s->id_mmfr0 = 0x00001124;
    for (size_t i = 0; i < ARRAY_LEN(id32); i++)
        s->id_regs32[i] = id32[i];
}

void a64_idregs_init(struct a64_cpu *c) {
    struct a64_sysregs *s = &c->sys;
    if (c->c.boot->cpu_model == ABI_CPU_CORE)
        model_cortex_a72(c);
    else
        model_max(c);
    if (c->c.boot->gic_version == 3) {
        s->id_pfr0 |= FIELD(24, 1); /* GIC: system registers */
        s->id_regs32[1] |= s->id_regs32[0] ? FIELD(28, 1) : 0;
    }
    /* Aff0: QEMU's virt counts to 16 (GICv3) or 8 (GICv2) before Aff1, and 8 is our most. */
    s->mpidr = BIT(31) | c->c.index;
    s->dczid = 4; /* 2^4 words: 64 bytes */
    /* Cortex-A72: 32 KiB L1 data, 48 KiB L1 instruction, 1 MiB L2. */
    s->ccsidr[0] = 0x700fe01a;
    s->ccsidr[1] = 0x201fe012;
    s->ccsidr[2] = 0x707fe07a;
    c->has_pan = a64_bits(s->id_mmfr1, 20, 4) != 0;
}
