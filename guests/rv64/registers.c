/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* registers.c: the registers as a debugger of the user's sees them: those of GDB's features for RISC-V. */
#include "guests/rv64/system.h"

enum feature { CPU, FPU, CSR, VIRTUAL };
static const struct guest_feature features[] = {
    [CPU] = {"org.gnu.gdb.riscv.cpu", ""},
    [FPU] = {"org.gnu.gdb.riscv.fpu", "<union id=\"riscv_double\"><field name=\"float\" type=\"ieee_single\"/>"
                                      "<field name=\"double\" type=\"ieee_double\"/></union>"},
    [CSR] = {"org.gnu.gdb.riscv.csr", ""},
    [VIRTUAL] = {"org.gnu.gdb.riscv.virtual", ""},
};

#define X(name) {#name, "int", 64, CPU}
#define F(name) {#name, "riscv_double", 64, FPU}
#define C(name) {#name, "int", 64, CSR}
static const struct guest_reg regs[] = {
    X(zero),
    {"ra", "code_ptr", 64, CPU},
    {"sp", "data_ptr", 64, CPU},
    {"gp", "data_ptr", 64, CPU},
    X(tp),
    X(t0),
    X(t1),
    X(t2),
    {"fp", "data_ptr", 64, CPU},
    X(s1),
    X(a0),
    X(a1),
    X(a2),
    X(a3),
    X(a4),
    X(a5),
    X(a6),
    X(a7),
    X(s2),
    X(s3),
    X(s4),
    X(s5),
    X(s6),
    X(s7),
    X(s8),
    X(s9),
    X(s10),
    X(s11),
    X(t3),
    X(t4),
    X(t5),
    X(t6),
    {"pc", "code_ptr", 64, CPU},
    F(ft0),
    F(ft1),
    F(ft2),
    F(ft3),
    F(ft4),
    F(ft5),
    F(ft6),
    F(ft7),
    F(fs0),
    F(fs1),
    F(fa0),
    F(fa1),
    F(fa2),
    F(fa3),
    F(fa4),
    F(fa5),
    F(fa6),
    F(fa7),
    F(fs2),
    F(fs3),
    F(fs4),
    F(fs5),
    F(fs6),
    F(fs7),
    F(fs8),
    F(fs9),
    F(fs10),
    F(fs11),
    F(ft8),
    F(ft9),
    F(ft10),
    F(ft11),
    C(fflags),
    C(frm),
    C(fcsr),
    C(sstatus),
    C(sie),
    C(stvec),
    C(scounteren),
    C(senvcfg),
    C(sscratch),
    C(sepc),
    C(scause),
    C(stval),
    C(sip),
    C(stimecmp),
    C(satp),
    C(cycle),
    C(time),
    C(instret),
    C(mstatus),
    C(misa),
    C(medeleg),
    C(mideleg),
    C(mie),
    C(mtvec),
    C(mscratch),
    C(mepc),
    C(mcause),
    C(mtval),
    C(mip),
    C(mhartid),
    {"priv", "int", 64, VIRTUAL},
};
enum { REG_PC = 32, REG_F0, REG_CSR = REG_F0 + 32 };
static const uint16_t csrs[] = {
    RV64_CSR_FFLAGS,     RV64_CSR_FRM,      RV64_CSR_FCSR,     RV64_CSR_SSTATUS, RV64_CSR_SIE,    RV64_CSR_STVEC,
    RV64_CSR_SCOUNTEREN, RV64_CSR_SENVCFG,  RV64_CSR_SSCRATCH, RV64_CSR_SEPC,    RV64_CSR_SCAUSE, RV64_CSR_STVAL,
    RV64_CSR_SIP,        RV64_CSR_STIMECMP, RV64_CSR_SATP,     RV64_CSR_CYCLE,   RV64_CSR_TIME,   RV64_CSR_INSTRET,
    RV64_CSR_MSTATUS,    RV64_CSR_MISA,     RV64_CSR_MEDELEG,  RV64_CSR_MIDELEG, RV64_CSR_MIE,    RV64_CSR_MTVEC,
    RV64_CSR_MSCRATCH,   RV64_CSR_MEPC,     RV64_CSR_MCAUSE,   RV64_CSR_MTVAL,   RV64_CSR_MIP,    RV64_CSR_MHARTID,
};
enum { REG_PRIV = REG_CSR + ARRAY_LEN(csrs) };
_Static_assert(ARRAY_LEN(regs) == REG_PRIV + 1, "names and numbers agree");

static void read(struct cpu *cpu, unsigned reg, v128 *value) {
    struct rv64_cpu *c = rv64(cpu);
    if (reg < REG_PC)
        value->u64[0] = rv64_x(c, reg);
    else if (reg == REG_PC)
        value->u64[0] = c->pc;
    else if (reg < REG_CSR)
        value->u64[0] = c->f[reg - REG_F0].u64[0];
    else if (reg == REG_PRIV)
        value->u64[0] = rv64_privilege(cpu);
    else if (!rv64_csr_get(cpu, csrs[reg - REG_CSR], &value->u64[0]))
        value->u64[0] = 0;
}

static bool write(struct cpu *cpu, unsigned reg, const v128 *value) {
    struct rv64_cpu *c = rv64(cpu);
    if (reg >= REG_CSR)
        return reg != REG_PRIV && rv64_csr_set(cpu, csrs[reg - REG_CSR], value->u64[0]);
    if (reg >= REG_F0)
        c->f[reg - REG_F0] = (v128){.u64 = {value->u64[0], 0}};
    else if (reg == REG_PC)
        c->pc = value->u64[0] & ~UINT64_C(1);
    else if (reg)
        c->x[reg] = value->u64[0];
    return true;
}

const struct guest_debug rv64_registers = {
    .architecture = "riscv:rv64",
    .features = features,
    .feature_count = ARRAY_LEN(features),
    .regs = regs,
    .reg_count = ARRAY_LEN(regs),
    .general = REG_F0,
    .pc = REG_PC,
    .read = read,
    .write = write,
};
