/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* emit_fp.h: what emit_fp.c and emit_fpconv.c share. */
#ifndef GRAFT_X86_EMIT_FP_H
#define GRAFT_X86_EMIT_FP_H

#include "dbt/x86/backend.h"
#include "graft/softfp.h"

#define FP_VMOVD ASM_OP(1, 1, 0x6e)    /* xmm <- gpr; ASM_W: 64 bits */
#define FP_VMOVD_TO ASM_OP(1, 1, 0x7e) /* gpr <- xmm */

/* fp_supported(): can the host do this operation on lanes of this block? Else softfp does, by fp_soft_*(). */
bool fp_supported(const struct codegen *cg, const struct ir_inst *in);
void fp_soft_vector(struct codegen *cg, const struct ir_inst *in, fp_fn *fn);
void fp_soft_to_int(struct codegen *cg, const struct ir_inst *in, const void *fn);
void fp_soft_from_int(struct codegen *cg, const struct ir_inst *in, const void *fn);
uint32_t fp_ucomis(unsigned lane);
/* fp_operand(): an operand's XMM number: of a scalar the low bytes are right; of two singles the upper half is
 * clear. */
unsigned fp_operand(struct codegen *cg, const struct ir_inst *in, irv v);
/* fp_clean(): a scalar result is zero above if v is the first operand of the host's instruction. */
bool fp_clean(const struct codegen *cg, const struct ir_inst *in, irv v);
/* fp_result(): ends the operands; the result's XMM number, none of theirs. clean: no scalar with other bits above
 * it. */
unsigned fp_result(struct codegen *cg, const struct ir_inst *in, bool clean);
/* The stub that a failed check goes to; fp_end(): it comes back here. t: scratch register (packed; fp_check_result
 * always). */
struct stub *fp_stub(struct codegen *cg, const struct ir_inst *in, const void *fn);
void fp_end(struct codegen *cg, struct stub *s, unsigned dst);
void fp_check_nan(struct codegen *cg, struct stub *s, unsigned d, unsigned t);
/* A NaN, or plus or minus the smallest normal number. */
void fp_check_result(struct codegen *cg, struct stub *s, unsigned d, unsigned t);

#endif
