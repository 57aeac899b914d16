/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * emit_vec.c: integer vector operations. One instruction where AVX has it, else a
 * short sequence; what AVX-512VL shortens is chosen by feature. A sequence writes its
 * result (def_fresh_x) to a register that none of its operands is in.
 */
#include "dbt/x86/backend.h"

#define OP66(opcode) ASM_OP(1, 1, opcode)
#define OP38(opcode) ASM_OP(1, 2, opcode)
#define OP3A(opcode) ASM_OP(1, 3, opcode)
#define K(field) asm_mem_rip(&cg->k->field)

#define VPAND OP66(0xdb)
#define VPANDN OP66(0xdf)
#define VPOR OP66(0xeb)
#define VPXOR OP66(0xef)
#define VPCMPGTQ OP38(0x37)
#define VPSHUFB OP38(0x00)
#define VPBLENDW OP3A(0x0e)

static void rr(struct codegen *cg, uint32_t op, unsigned d, unsigned x, unsigned y) { asm_vex_rr(&cg->a, op, d, x, y); }
static void rm(struct codegen *cg, uint32_t op, unsigned d, unsigned x, struct asm_mem m) {
    asm_vex_rm(&cg->a, op, d, x, m);
}
static void ones(struct codegen *cg, unsigned d) { rr(cg, OP66(0x76), d, d, d); }
static void zero(struct codegen *cg, unsigned d) { rr(cg, VPXOR, d, d, d); }
/* Shifts by an immediate: opcode 71, 72, 73 for words, doublewords, quadwords; /digit. */
static void shift_imm(struct codegen *cg, unsigned lane, unsigned digit, unsigned d, unsigned x, unsigned n) {
    asm_vex_rri(&cg->a, OP66(0x70 + lane), digit, d, x, n);
}
#define SHL 6
#define SHR 2
#define SAR 4

/* One instruction of one, two operands, which has an EVEX encoding. */
static void one(struct codegen *cg, const struct ir_inst *in, uint32_t op) {
    unsigned x = use_v(cg, in->a);
    done(cg);
    rr(cg, op, def_v(cg, x), 0, x);
}
static void two(struct codegen *cg, const struct ir_inst *in, uint32_t op) {
    struct asm_mem m;
    unsigned x = use_v(cg, in->a);
    if (use_mem(cg, in->b, &m)) {
        done(cg);
        rm(cg, op, def_v(cg, x), x, m);
        return;
    }
    unsigned y = use_v(cg, in->b);
    done(cg);
    rr(cg, op, def_v(cg, x), x, y);
}
/* One that has only the VEX one. */
static void two_x(struct codegen *cg, const struct ir_inst *in, uint32_t op) {
    unsigned x = use_x(cg, in->a), y = use_x(cg, in->b);
    done(cg);
    rr(cg, op, def_x(cg, x), x, y);
}
/* Operands and result of a sequence. */
struct seq {
    unsigned d, x, y, t;
};
static struct seq seq2(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = {.x = use_x(cg, in->a), .y = in->b ? use_x(cg, in->b) : 0, .t = scratch_x(cg)};
    done(cg);
    s.d = def_fresh_x(cg);
    return s;
}

/* The same for sequences of instructions with EVEX encodings alone. */
static struct seq seq2_v(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = {.x = use_v(cg, in->a), .y = in->b ? use_v(cg, in->b) : 0, .t = scratch_x(cg)};
    done(cg);
    s.d = def_fresh_v(cg);
    return s;
}

/* --- logic ------------------------------------------------------------------------------------ */
void emit_VAND(struct codegen *cg, const struct ir_inst *in) { two(cg, in, VPAND); }
/* A single with dirt above it, and a constant that is zero there, as for NaN-boxing: all but the low lane is the
 * constant's. */
static bool or_above(struct codegen *cg, const struct ir_inst *in) {
    const struct value *v = &cg->v[in->a];
    const struct ir_inst *c = inst_of(cg, in->b);
    if (v->reg == NO_REG || v->dirty != 4 || c->op != IR_VCONST || cg->b->vconst[c->aux].u32[0])
        return false;
    unsigned x = xmm(use_low(cg, in->a, 4)), y = use_v(cg, in->b);
    done(cg);
    rr(cg, ASM_OP(2, 1, 0x10), def_v(cg, x), y, x); /* vmovss */
    return true;
}
void emit_VOR(struct codegen *cg, const struct ir_inst *in) {
    if (!or_above(cg, in))
        two(cg, in, VPOR);
}
void emit_VXOR(struct codegen *cg, const struct ir_inst *in) { two(cg, in, VPXOR); }
void emit_VANDN(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a), y = use_v(cg, in->b);
    done(cg);
    rr(cg, VPANDN, def_v(cg, x), y, x);
}
void emit_VNOT(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = seq2_v(cg, in);
    ones(cg, s.t);
    rr(cg, VPXOR, s.d, s.x, s.t);
}
void emit_VBSL(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a), y = use_v(cg, in->b), z = use_v(cg, in->c);
    unsigned t = cg->features.avx512 ? 0 : scratch_x(cg);
    done(cg);
    unsigned d = def_fresh_v(cg);
    if (cg->features.avx512) {
        asm_vmov_rr(&cg->a, d, x);
        asm_evex_rri(&cg->a, ASM_OP(1, 3, 0x25), d, y, z, 0xca); /* vpternlogd */
        return;
    }
    rr(cg, VPAND, t, x, y);
    rr(cg, VPANDN, d, x, z);
    rr(cg, VPOR, d, d, t);
}

/* --- arithmetic ------------------------------------------------------------------------------- */
static const uint32_t op_add[4] = {OP66(0xfc), OP66(0xfd), OP66(0xfe), OP66(0xd4)};
static const uint32_t op_sub[4] = {OP66(0xf8), OP66(0xf9), OP66(0xfa), OP66(0xfb)};
static const uint32_t op_eq[4] = {OP66(0x74), OP66(0x75), OP66(0x76), OP38(0x29)};
static const uint32_t op_gt[4] = {OP66(0x64), OP66(0x65), OP66(0x66), VPCMPGTQ};
static const uint32_t op_smax[3] = {OP38(0x3c), OP66(0xee), OP38(0x3d)};
static const uint32_t op_smin[3] = {OP38(0x38), OP66(0xea), OP38(0x39)};
static const uint32_t op_umax[3] = {OP66(0xde), OP38(0x3e), OP38(0x3f)};
static const uint32_t op_umin[3] = {OP66(0xda), OP38(0x3a), OP38(0x3b)};

void emit_VADD(struct codegen *cg, const struct ir_inst *in) { two(cg, in, op_add[in->lane]); }
void emit_VSUB(struct codegen *cg, const struct ir_inst *in) { two(cg, in, op_sub[in->lane]); }
void emit_VMUL(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane) {
        two(cg, in, in->lane == 1 ? OP66(0xd5) : OP38(0x40));
        return;
    }
    struct seq s = seq2_v(cg, in);
    shift_imm(cg, 1, SHR, s.t, s.x, 8); /* odd bytes */
    shift_imm(cg, 1, SHR, s.d, s.y, 8);
    rr(cg, OP66(0xd5), s.t, s.t, s.d);
    shift_imm(cg, 1, SHL, s.t, s.t, 8);
    rr(cg, OP66(0xd5), s.d, s.x, s.y); /* even bytes */
    rm(cg, VPAND, s.d, s.d, K(low8));
    rr(cg, VPOR, s.d, s.d, s.t);
}
void emit_VNEG(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = seq2_v(cg, in);
    zero(cg, s.t);
    rr(cg, op_sub[in->lane], s.d, s.t, s.x);
}
void emit_VABS(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane < 3) {
        one(cg, in, OP38(0x1c + in->lane));
        return;
    }
    struct seq s = seq2(cg, in);
    zero(cg, s.t);
    rr(cg, VPCMPGTQ, s.t, s.t, s.x);
    rr(cg, VPXOR, s.d, s.x, s.t);
    rr(cg, op_sub[3], s.d, s.d, s.t);
}

/* --- comparison ------------------------------------------------------------------------------- */
void emit_VCMPEQ(struct codegen *cg, const struct ir_inst *in) { two_x(cg, in, op_eq[in->lane]); }
void emit_VCMPGT(struct codegen *cg, const struct ir_inst *in) { two_x(cg, in, op_gt[in->lane]); }
void emit_VCMPGE(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = seq2(cg, in);
    ones(cg, s.t);
    rr(cg, op_gt[in->lane], s.d, s.y, s.x);
    rr(cg, VPXOR, s.d, s.d, s.t);
}
/* d = x > y, unsigned 64-bit lanes; t is clobbered. */
static void above64(struct codegen *cg, unsigned d, unsigned t, unsigned x, unsigned y) {
    rm(cg, VPXOR, t, y, K(sign64));
    rm(cg, VPXOR, d, x, K(sign64));
    rr(cg, VPCMPGTQ, d, d, t);
}
void emit_VCMPHS(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = seq2(cg, in);
    if (in->lane < 3) {
        rr(cg, op_umax[in->lane], s.d, s.x, s.y);
        rr(cg, op_eq[in->lane], s.d, s.d, s.x);
    } else {
        above64(cg, s.d, s.t, s.y, s.x);
        ones(cg, s.t);
        rr(cg, VPXOR, s.d, s.d, s.t);
    }
}
void emit_VCMPHI(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = seq2(cg, in);
    if (in->lane < 3) {
        rr(cg, op_umin[in->lane], s.d, s.x, s.y);
        rr(cg, op_eq[in->lane], s.d, s.d, s.x);
        ones(cg, s.t);
        rr(cg, VPXOR, s.d, s.d, s.t);
    } else {
        above64(cg, s.d, s.t, s.x, s.y);
    }
}

/* Largest or smallest of 64-bit lanes: x where the mask in d is set, else y. */
static void choose(struct codegen *cg, unsigned d, unsigned x, unsigned y) { /* vblendvpd: the sign bit chooses */
    asm_vex_rri(&cg->a, OP3A(0x4b), d, y, x, d << 4);
}
static void min_max(struct codegen *cg, const struct ir_inst *in, const uint32_t op[3], bool is_signed, bool max) {
    if (in->lane < 3) {
        two(cg, in, op[in->lane]);
        return;
    }
    struct seq s = seq2(cg, in);
    if (is_signed)
        rr(cg, VPCMPGTQ, s.d, s.x, s.y);
    else
        above64(cg, s.d, s.t, s.x, s.y);
    choose(cg, s.d, max ? s.x : s.y, max ? s.y : s.x);
}
void emit_VSMAX(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, op_smax, true, true); }
void emit_VSMIN(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, op_smin, true, false); }
void emit_VUMAX(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, op_umax, false, true); }
void emit_VUMIN(struct codegen *cg, const struct ir_inst *in) { min_max(cg, in, op_umin, false, false); }

/* --- saturation ------------------------------------------------------------------------------- */
/* Signed sums of 32- and 64-bit lanes: where the sign says overflow, the largest value or its complement, by x's
 * sign. */
static void saturate(struct codegen *cg, const struct ir_inst *in, bool sub) {
    unsigned lane = in->lane;
    struct seq s = seq2(cg, in);
    unsigned o = scratch_x(cg);
    rr(cg, sub ? op_sub[lane] : op_add[lane], s.d, s.x, s.y);
    rr(cg, VPXOR, o, s.x, s.d); /* overflow: the result's sign differs from x's, and y's sign allows it */
    rr(cg, VPXOR, s.t, s.x, s.y);
    if (sub)
        rr(cg, VPAND, o, o, s.t);
    else
        rr(cg, VPANDN, o, s.t, o);
    if (lane == 2) {
        shift_imm(cg, 2, SAR, s.t, s.x, 31);
        rm(cg, VPXOR, s.t, s.t, K(max32));
        asm_vex_rri(&cg->a, OP3A(0x4a), s.d, s.d, s.t, o << 4); /* vblendvps */
    } else {
        zero(cg, s.t);
        rr(cg, VPCMPGTQ, s.t, s.t, s.x);
        rm(cg, VPXOR, s.t, s.t, K(max64));
        asm_vex_rri(&cg->a, OP3A(0x4b), s.d, s.d, s.t, o << 4); /* vblendvpd */
    }
}
void emit_VSQADD(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane < 2)
        two(cg, in, OP66(0xec + in->lane));
    else
        saturate(cg, in, false);
}
void emit_VSQSUB(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane < 2)
        two(cg, in, OP66(0xe8 + in->lane));
    else
        saturate(cg, in, true);
}
void emit_VUQADD(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane < 2) {
        two(cg, in, OP66(0xdc + in->lane));
        return;
    }
    struct seq s = seq2(cg, in);
    if (in->lane == 2) { /* min(x, ~y) + y */
        ones(cg, s.t);
        rr(cg, VPXOR, s.t, s.t, s.y);
        rr(cg, op_umin[2], s.d, s.x, s.t);
        rr(cg, op_add[2], s.d, s.d, s.y);
    } else { /* the sum, or all ones where x is above it */
        unsigned u = scratch_x(cg);
        rr(cg, op_add[3], s.t, s.x, s.y);
        above64(cg, s.d, u, s.x, s.t);
        rr(cg, VPOR, s.d, s.d, s.t);
    }
}
void emit_VUQSUB(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane < 2) {
        two(cg, in, OP66(0xd8 + in->lane));
        return;
    }
    struct seq s = seq2(cg, in);
    if (in->lane == 2) { /* max(x, y) - y */
        rr(cg, op_umax[2], s.d, s.x, s.y);
        rr(cg, op_sub[2], s.d, s.d, s.y);
    } else {
        above64(cg, s.d, s.t, s.x, s.y);
        rr(cg, op_sub[3], s.t, s.x, s.y);
        rr(cg, VPAND, s.d, s.d, s.t);
    }
}
void emit_VAVGU(struct codegen *cg, const struct ir_inst *in) { two(cg, in, OP66(in->lane ? 0xe3 : 0xe0)); }

/* --- shifts
 * -------------------------------------------------------------------------------------------------------- */
void emit_VSHLI(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a);
    done(cg);
    unsigned d = def_v(cg, x);
    shift_imm(cg, in->lane ? in->lane : 1, SHL, d, x, in->n);
    if (in->lane == 0)
        rm(cg, VPAND, d, d, K(shl8[in->n & 7]));
}
void emit_VSHRI(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a);
    done(cg);
    unsigned d = def_v(cg, x);
    if (in->n >= 8u << in->lane) {
        zero(cg, d);
        return;
    }
    shift_imm(cg, in->lane ? in->lane : 1, SHR, d, x, in->n);
    if (in->lane == 0)
        rm(cg, VPAND, d, d, K(shr8[in->n & 7]));
}
void emit_VSARI(struct codegen *cg, const struct ir_inst *in) {
    unsigned width = 8u << in->lane, n = in->n < width ? in->n : width - 1;
    if (in->lane == 0) { /* a logical shift, then the sign extended from where it is now */
        unsigned x = use_v(cg, in->a);
        done(cg);
        unsigned d = def_v(cg, x);
        shift_imm(cg, 1, SHR, d, x, n);
        rm(cg, VPAND, d, d, K(shr8[n]));
        rm(cg, VPXOR, d, d, K(sar8[n]));
        rm(cg, op_sub[0], d, d, K(sar8[n]));
    } else if (in->lane < 3) {
        unsigned x = use_v(cg, in->a);
        done(cg);
        shift_imm(cg, in->lane, SAR, def_v(cg, x), x, n);
    } else if (cg->features.avx512) {
        unsigned x = use_v(cg, in->a);
        done(cg);
        asm_evex_rri(&cg->a, OP66(0x72) | ASM_W, SAR, def_v(cg, x), x, n);
    } else {
        struct seq s = seq2(cg, in);
        zero(cg, s.t);
        rr(cg, VPCMPGTQ, s.t, s.t, s.x);
        shift_imm(cg, 3, SHL, s.t, s.t, 64 - n);
        shift_imm(cg, 3, SHR, s.d, s.x, n);
        rr(cg, VPOR, s.d, s.d, s.t);
    }
}

/* --- permutation
 * ------------------------------------------------------------------------------------------------------ */
void emit_VEXT(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a), y = use_v(cg, in->b);
    done(cg);
    asm_vex_rri(&cg->a, OP3A(0x0f), def_v(cg, x), y, x, in->n); /* vpalignr */
}
void emit_VZIP1(struct codegen *cg, const struct ir_inst *in) {
    two(cg, in, in->lane == 3 ? OP66(0x6c) : OP66(0x60 + in->lane));
}
void emit_VZIP2(struct codegen *cg, const struct ir_inst *in) {
    two(cg, in, in->lane == 3 ? OP66(0x6d) : OP66(0x68 + in->lane));
}

/* The even (odd) lanes of both: packs do it for bytes and words once the other halves are cleared (shifted out). */
static void unzip(struct codegen *cg, const struct ir_inst *in, bool odd) {
    if (in->lane == 3) {
        two(cg, in, OP66(odd ? 0x6d : 0x6c));
        return;
    }
    if (in->lane == 2) {
        unsigned x = use_v(cg, in->a), y = use_v(cg, in->b);
        done(cg);
        asm_vex_rri(&cg->a, ASM_OP(0, 1, 0xc6), def_v(cg, x), x, y, odd ? 0xdd : 0x88); /* vshufps */
        return;
    }
    struct seq s = seq2_v(cg, in);
    if (odd) {
        shift_imm(cg, in->lane + 1u, SHR, s.d, s.x, 8u << in->lane);
        shift_imm(cg, in->lane + 1u, SHR, s.t, s.y, 8u << in->lane);
    } else {
        struct asm_mem mask = in->lane ? K(low16) : K(low8);
        rm(cg, VPAND, s.d, s.x, mask);
        rm(cg, VPAND, s.t, s.y, mask);
    }
    rr(cg, in->lane ? OP38(0x2b) : OP66(0x67), s.d, s.d, s.t);
}
void emit_VUZP1(struct codegen *cg, const struct ir_inst *in) { unzip(cg, in, false); }
void emit_VUZP2(struct codegen *cg, const struct ir_inst *in) { unzip(cg, in, true); }

void emit_VTRN1(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane == 3) {
        two(cg, in, OP66(0x6c));
        return;
    }
    struct seq s = seq2(cg, in);
    shift_imm(cg, in->lane + 1u, SHL, s.t, s.y, 8u << in->lane);
    if (in->lane) {
        asm_vex_rri(&cg->a, VPBLENDW, s.d, s.x, s.t, in->lane == 2 ? 0xcc : 0xaa);
    } else {
        rm(cg, VPAND, s.d, s.x, K(low8));
        rr(cg, VPOR, s.d, s.d, s.t);
    }
}
void emit_VTRN2(struct codegen *cg, const struct ir_inst *in) {
    if (in->lane == 3) {
        two(cg, in, OP66(0x6d));
        return;
    }
    struct seq s = seq2(cg, in);
    shift_imm(cg, in->lane + 1u, SHR, s.t, s.x, 8u << in->lane);
    if (in->lane) {
        asm_vex_rri(&cg->a, VPBLENDW, s.d, s.t, s.y, in->lane == 2 ? 0xcc : 0xaa);
    } else {
        asm_vmov_rm(&cg->a, s.d, K(low8));
        rr(cg, VPANDN, s.d, s.d, s.y);
        rr(cg, VPOR, s.d, s.d, s.t);
    }
}
void emit_VREV(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a), n = in->n < 5 ? in->n : 4, lane = in->lane < n ? in->lane : 0;
    done(cg);
    rm(cg, VPSHUFB, def_v(cg, x), x, K(rev[n][lane]));
}
void emit_VTBL(struct codegen *cg, const struct ir_inst *in) {
    struct seq s = seq2_v(cg, in);
    rm(cg, OP66(0xdc), s.t, s.y, K(tbl)); /* vpaddusb: indices above 15 get their top bit set */
    rr(cg, VPSHUFB, s.d, s.x, s.t);
}

/* --- between vectors and scalars
 * ------------------------------------------------------------------------------------------ */
static const uint32_t op_broadcast[4] = {OP38(0x78), OP38(0x79), OP38(0x58), OP38(0x59)};
#define VMOVD OP66(0x6e)    /* xmm <- gpr; ASM_W: 64 bits */
#define VMOVD_TO OP66(0x7e) /* gpr <- xmm */
#define VMOVQ ASM_OP(2, 1, 0x7e)

void emit_VDUP(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use(cg, in->a);
    done(cg);
    unsigned d = def_v(cg, NO_REG);
    rr(cg, VMOVD | (in->lane == 3 ? ASM_W : 0), d, 0, x);
    rr(cg, op_broadcast[in->lane], d, 0, d);
}
void emit_VDUPLANE(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a);
    done(cg);
    unsigned d = def_v(cg, x);
    if (in->n == 0) {
        rr(cg, op_broadcast[in->lane], d, 0, x);
    } else if (in->lane >= 2) {
        asm_vex_rri(&cg->a, OP66(0x70), d, 0, x, in->lane == 3 ? 0xee : in->n * 0x55u); /* vpshufd */
    } else {
        asm_vex_rri(&cg->a, OP66(0x73), 3, d, x, (unsigned)in->n << in->lane); /* vpsrldq */
        rr(cg, op_broadcast[in->lane], d, 0, d);
    }
}
void emit_VFROM(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use(cg, in->a);
    if (in->lane < 2) {
        unsigned t = scratch(cg, GPR_CLASS);
        asm_ext_rr(&cg->a, in->lane, false, false, t, x);
        x = t;
    }
    done(cg);
    rr(cg, VMOVD | (in->lane == 3 ? ASM_W : 0), def_v(cg, NO_REG), 0, x);
}
void emit_VINS(struct codegen *cg, const struct ir_inst *in) {
    static const uint32_t op[4] = {OP3A(0x20), OP66(0xc4), OP3A(0x22), OP3A(0x22) | ASM_W};
    unsigned x = use_v(cg, in->a), y = use(cg, in->b);
    done(cg);
    asm_vex_rri(&cg->a, op[in->lane], def_v(cg, x), x, y, in->n);
}
void emit_VGET(struct codegen *cg, const struct ir_inst *in) {
    unsigned bytes = 1u << in->lane, x = xmm(use_low(cg, in->a, (in->n + 1u) * bytes));
    done(cg);
    unsigned d = def(cg, NO_REG);
    switch (in->lane) {
    case 0: asm_vex_rri(&cg->a, OP3A(0x14), x, 0, d, in->n); break;
    case 1: asm_vex_rri(&cg->a, OP66(0xc5), d, 0, x, in->n); break;
    default:
        if (in->n == 0)
            rr(cg, VMOVD_TO | (in->lane == 3 ? ASM_W : 0), x, 0, d);
        else
            asm_vex_rri(&cg->a, OP3A(0x16) | (in->lane == 3 ? ASM_W : 0), x, 0, d, in->n);
        break;
    }
}
void emit_VLOW(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = xmm(use_low(cg, in->a, 1u << in->lane));
    done(cg);
    unsigned d = def_v(cg, x);
    switch (in->lane) {
    case 0: rm(cg, VPAND, d, x, K(keep8)); break;
    case 1: rm(cg, VPAND, d, x, K(keep16)); break;
    case 2: asm_vex_rri(&cg->a, OP3A(0x21), d, x, x, 0x0e); break; /* vinsertps */
    case 3: rr(cg, VMOVQ, d, 0, x); break;
    default: asm_vmov_rr(&cg->a, d, x); break;
    }
}

/* --- widening and narrowing
 * ------------------------------------------------------------------------------------------------- */
void emit_VNARROW(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_v(cg, in->a);
    done(cg);
    rm(cg, VPSHUFB, def_v(cg, x), x, K(narrow[in->lane & 3]));
}
static const uint8_t extend_op[3] = {0x20, 0x23, 0x25}; /* vpmovsxbw, wd, dq; + 0x10: zero-extending */
void emit_VSXTL(struct codegen *cg, const struct ir_inst *in) { one(cg, in, OP38(extend_op[in->lane])); }
void emit_VUXTL(struct codegen *cg, const struct ir_inst *in) { one(cg, in, OP38(extend_op[in->lane] + 0x10)); }
void emit_VMULLU(struct codegen *cg, const struct ir_inst *in) { two(cg, in, OP66(0xf4)); }
void emit_VMULLS(struct codegen *cg, const struct ir_inst *in) { two(cg, in, OP38(0x28)); }

/* --- cryptography
 * -------------------------------------------------------------------------------------------------------------- */
void emit_VPMULL(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_x(cg, in->a), y = use_x(cg, in->b);
    done(cg);
    asm_vex_rri(&cg->a, OP3A(0x44), def_x(cg, x), x, y, 0);
}
static void aes(struct codegen *cg, const struct ir_inst *in, uint32_t first, uint32_t second) {
    struct seq s = seq2(cg, in);
    zero(cg, s.t);
    rr(cg, first, s.d, s.x, s.t);
    if (second)
        rr(cg, second, s.d, s.d, s.t);
}
void emit_VAESE(struct codegen *cg, const struct ir_inst *in) { aes(cg, in, OP38(0xdd), 0); } /* aesenclast */
void emit_VAESD(struct codegen *cg, const struct ir_inst *in) { aes(cg, in, OP38(0xdf), 0); } /* aesdeclast */
void emit_VAESMC(struct codegen *cg, const struct ir_inst *in) {
    aes(cg, in, OP38(0xdf), OP38(0xdc));
} /* undone by aesenc */
void emit_VAESIMC(struct codegen *cg, const struct ir_inst *in) {
    unsigned x = use_x(cg, in->a);
    done(cg);
    rr(cg, OP38(0xdb), def_x(cg, x), 0, x);
}
