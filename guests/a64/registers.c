/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* registers.c: the registers as a debugger of the user's sees them: those of GDB's features for AArch64, and all system
 * registers. */
#include "system.h"

enum feature { CORE, FPU, SYSTEM };
static const struct guest_feature features[] = {
    [CORE] = {"org.gnu.gdb.aarch64.core",
              "<flags id=\"cpsr_flags\" size=\"4\"><field name=\"SP\" start=\"0\" end=\"0\"/>"
              "<field name=\"EL\" start=\"2\" end=\"3\"/><field name=\"F\" start=\"6\" end=\"6\"/>"
              "<field name=\"I\" start=\"7\" end=\"7\"/><field name=\"A\" start=\"8\" end=\"8\"/>"
              "<field name=\"D\" start=\"9\" end=\"9\"/><field name=\"IL\" start=\"20\" end=\"20\"/>"
              "<field name=\"SS\" start=\"21\" end=\"21\"/><field name=\"PAN\" start=\"22\" end=\"22\"/>"
              "<field name=\"V\" start=\"28\" end=\"28\"/><field name=\"C\" start=\"29\" end=\"29\"/>"
              "<field name=\"Z\" start=\"30\" end=\"30\"/><field name=\"N\" start=\"31\" end=\"31\"/></flags>"},
    [FPU] = {"org.gnu.gdb.aarch64.fpu",
             "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/><vector id=\"v2u\" type=\"uint64\" count=\"2\"/>"
             "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v4u\" type=\"uint32\" count=\"4\"/>"
             "<vector id=\"v8u\" type=\"uint16\" count=\"8\"/><vector id=\"v16u\" type=\"uint8\" count=\"16\"/>"
             "<union id=\"vnd\"><field name=\"f\" type=\"v2d\"/><field name=\"u\" type=\"v2u\"/></union>"
             "<union id=\"vns\"><field name=\"f\" type=\"v4f\"/><field name=\"u\" type=\"v4u\"/></union>"
             "<union id=\"vnh\"><field name=\"u\" type=\"v8u\"/></union><union id=\"vnb\"><field name=\"u\" "
             "type=\"v16u\"/></union>"
             "<union id=\"vnq\"><field name=\"u\" type=\"uint128\"/></union><union id=\"aarch64v\"><field name=\"d\" "
             "type=\"vnd\"/>"
             "<field name=\"s\" type=\"vns\"/><field name=\"h\" type=\"vnh\"/><field name=\"b\" type=\"vnb\"/>"
             "<field name=\"q\" type=\"vnq\"/></union>"},
    [SYSTEM] = {"graft.aarch64.system", ""},
};

enum { REG_SP = 31, REG_PC, REG_CPSR, REG_V0, REG_FPSR = REG_V0 + 32, REG_FPCR, REG_SYSTEM };

#define X(n) {"x" #n, "int", 64, CORE}
#define V(n) {"v" #n, "aarch64v", 128, FPU}
static const struct guest_reg regs[] = {
    X(0),
    X(1),
    X(2),
    X(3),
    X(4),
    X(5),
    X(6),
    X(7),
    X(8),
    X(9),
    X(10),
    X(11),
    X(12),
    X(13),
    X(14),
    X(15),
    X(16),
    X(17),
    X(18),
    X(19),
    X(20),
    X(21),
    X(22),
    X(23),
    X(24),
    X(25),
    X(26),
    X(27),
    X(28),
    X(29),
    X(30),
    {"sp", "data_ptr", 64, CORE},
    {"pc", "code_ptr", 64, CORE},
    {"cpsr", "cpsr_flags", 32, CORE},
    V(0),
    V(1),
    V(2),
    V(3),
    V(4),
    V(5),
    V(6),
    V(7),
    V(8),
    V(9),
    V(10),
    V(11),
    V(12),
    V(13),
    V(14),
    V(15),
    V(16),
    V(17),
    V(18),
    V(19),
    V(20),
    V(21),
    V(22),
    V(23),
    V(24),
    V(25),
    V(26),
    V(27),
    V(28),
    V(29),
    V(30),
    V(31),
    {"fpsr", "int", 32, FPU},
    {"fpcr", "int", 32, FPU},
#define SYSREG(name, ...) {#name, "int", 64, SYSTEM},
#include "sysregs.def"
};

/* The rows of FPSR and FPCR have what these two are. */
static unsigned fp_row(uint32_t key) {
    static const uint32_t keys[] = {
#define SYSREG(name, op0, op1, crn, crm, op2, ...) A64_SYSREG(op0, op1, crn, crm, op2),
#include "sysregs.def"
    };
    unsigned row = 0;
    while (keys[row] != key)
        row++;
    return row;
}
static unsigned row_of(unsigned reg) {
    return reg == REG_FPSR   ? fp_row(A64_SYSREG(3, 3, 4, 4, 1))
           : reg == REG_FPCR ? fp_row(A64_SYSREG(3, 3, 4, 4, 0))
                             : reg - REG_SYSTEM;
}

static void read(struct cpu *cpu, unsigned reg, v128 *value) {
    struct a64_cpu *c = a64(cpu);
    if (reg <= REG_SP)
        value->u64[0] = c->x[reg];
    else if (reg == REG_PC)
        value->u64[0] = c->pc;
    else if (reg == REG_CPSR)
        value->u64[0] = a64_pstate(c);
    else if (reg < REG_FPSR)
        *value = c->v[reg - REG_V0];
    else
        value->u64[0] = a64_sysreg_get(cpu, row_of(reg));
}

/* What of PSTATE an exception return could set, at EL0 and EL1. */
static bool write_pstate(struct a64_cpu *c, uint32_t v) {
    unsigned m = v & 31;
    if (m != 0 && m != 4 && m != 5)
        return false;
    c->nzcv = ir_flags_pack(v);
    c->c.flags_insn = 0;
    c->daif = v & DAIF_MASK;
    c->il = v >> 20 & 1;
    if (c->has_pan)
        c->pan = v >> 22 & 1;
    a64_set_el(c, v >> 2 & 1, v & 1);
    mmu_context_changed(&c->c);
    a64_check_interrupts(c);
    return true;
}

static bool write(struct cpu *cpu, unsigned reg, const v128 *value) {
    struct a64_cpu *c = a64(cpu);
    if (reg <= REG_SP)
        c->x[reg] = value->u64[0];
    else if (reg == REG_PC)
        c->pc = value->u64[0];
    else if (reg == REG_CPSR)
        return write_pstate(c, (uint32_t)value->u64[0]);
    else if (reg < REG_FPSR)
        c->v[reg - REG_V0] = *value;
    else
        return a64_sysreg_set(cpu, row_of(reg), value->u64[0]);
    return true;
}

const struct guest_debug a64_registers = {
    .architecture = "aarch64",
    .features = features,
    .feature_count = ARRAY_LEN(features),
    .regs = regs,
    .reg_count = ARRAY_LEN(regs),
    .general = REG_V0,
    .pc = REG_PC,
    .read = read,
    .write = write,
};
