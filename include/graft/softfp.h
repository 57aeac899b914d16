/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * softfp.h: exact floating point in integer arithmetic (dbt/softfp.c), the
 * definition of the IR's VF* operations: the interpreter calls it always, the
 * backend when the host's result could differ from the guest's (NaNs, tiny results,
 * FZ, saturation).
 *
 * Operations on v128: n lanes of 1 << lane bytes (1 half, 2 single, 3 double),
 * other bytes of *res become 0, or with IR_FP_MERGE *a's. res may alias an operand. They honour
 * cpu->fp.fpcr (RMode, FZ, DN, AHP) and OR status into cpu->fp.fpsr.
 * All have the CALLV signature: fn(cpu, res, a, b, c, desc).
 */
#ifndef GRAFT_SOFTFP_H
#define GRAFT_SOFTFP_H

#include "graft/cpu.h"

/* Bits of cpu->fp.fpcr for guests that are not Arm: the rounding mode (enum ir_round, 0 .. 3), default NaNs, and two of
 * no guest's register. A result that is the smallest normal number only by rounding is not tiny; ties go away from
 * zero, which the host's arithmetic cannot do (IR_BLOCK_SOFTFP). */
#define FP_ROUND(round) ((uint32_t)(round) << 22)
#define FP_DEFAULT_NAN (1u << 25)
#define FP_TINY_AFTER (1u << 0)
#define FP_TIES_AWAY (1u << 1)

/* desc: lane bits 3..0, n bits 7..4, rounding (enum ir_round) bits 11..8, flags (IR_FP_*) bits 15..12, fraction
 * bits 23..16, bit 24: destination/source integer is 64 bits (scalar conversions) */
#define FP_DESC(lane, n, round, flags, fbits, int64)                                                                   \
    ((uint32_t)((lane) | (n) << 4 | (round) << 8 | (flags) << 12 | (fbits) << 16 | (uint32_t)(int64) << 24))
typedef void fp_fn(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc);

fp_fn fp_add, fp_sub, fp_mul, fp_div, fp_sqrt, fp_fma /* a + b*c */, fp_max, fp_min, fp_maxnm, fp_minnm;
fp_fn fp_cmpeq, fp_cmpge, fp_cmpgt;           /* masks */
fp_fn fp_rint;                                /* round to integral, desc rounding, IR_FP_EXACT */
fp_fn fp_to_s, fp_to_u, fp_from_s, fp_from_u; /* lanes of the same size, fraction bits */
fp_fn fp_widen, fp_narrow; /* lane = source lane size; n lanes; flag IR_FP_EXACT: skip a size (half <-> double);
                              IR_RN_ODD honoured */
fp_fn fp_mulx, fp_recpe, fp_recps, fp_rsqrte, fp_rsqrts, fp_recpx; /* Arm's estimate and step functions */
/* Scalars between a vector's lane 0 and an integer; desc bit 24 = 64-bit integer. */
uint64_t fp_scalar_to_s(struct cpu *cpu, const v128 *a, uint32_t desc);
uint64_t fp_scalar_to_u(struct cpu *cpu, const v128 *a, uint32_t desc);
void fp_scalar_from_s(struct cpu *cpu, v128 *res, uint64_t a, uint32_t desc);
void fp_scalar_from_u(struct cpu *cpu, v128 *res, uint64_t a, uint32_t desc);
/* NZCV in bits 31..28. */
uint32_t fp_compare(struct cpu *cpu, const v128 *a, const v128 *b, uint32_t desc);

/* fp_sync(): moves the sticky status of the live host MXCSR into cpu->fp.fpsr (call before reading or writing FPSR from
 * a helper); fp_set_rounding(): loads MXCSR from fpcr and clears the sticky flags (call after FPCR or FPSR is written).
 * fp_collect(): fp_sync() for outside translated code, where the guest's MXCSR is in cpu->fp.mxcsr. What C code has
 * left in the live one is thrown away, so fp_sync() may follow. */
void fp_sync(struct cpu *cpu);
void fp_collect(struct cpu *cpu);
void fp_set_rounding(struct cpu *cpu);

#endif
