/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * label.c: branches inside a block. At a label, guest state is where it is between blocks, as far as the loop has no
 * pins of its own, and nothing is known of values.
 */
#include "dbt/x86/backend.h"

void labels_begin(struct codegen *cg) {
    const struct ir_block *b = cg->b;
    cg->labels = 0;
    for (unsigned i = 1; UNLIKELY(b->labels) && i < b->count && cg->labels < IR_MAX_LABELS; i++)
        if (b->inst[i].op == IR_LABEL)
            cg->label[cg->labels++] = (struct label){.pc = b->inst[i].imm, .at = (irv)i};
}
static unsigned label_behind(const struct codegen *cg, unsigned i) {
    const struct ir_inst *in = &cg->b->inst[i];
    if (LIKELY(!cg->labels) || in->op != IR_EXIT_IF || !(in->flags & IR_EXIT_INSIDE))
        return 0;
    for (unsigned k = 0; k < cg->labels; k++)
        if (cg->label[k].pc == in->imm && cg->label[k].at > i)
            return k + 1;
    return 0;
}
unsigned label_of(const struct codegen *cg, const struct ir_inst *in) {
    return label_behind(cg, (unsigned)(in - cg->b->inst));
}
bool is_skipped(const struct codegen *cg, unsigned i) {
    for (unsigned k = 1; cg->labels && k < i; k++) {
        const unsigned label = label_behind(cg, k);
        if ((label && cg->label[label - 1].at > i) || ir_goes_back(cg->b, &cg->b->inst[k]))
            return true;
    }
    return false;
}

void emit_LABEL(struct codegen *cg, const struct ir_inst *in) {
    if (cg->flags_insn && !cg->flags_insn_known)
        asm_mov_mi(&cg->a, false, CPU_FIELD(flags_insn), (int32_t)cg->flags_insn);
    cg->flags_insn = 0;
    cg->flags_insn_known = false;
    forget_values(cg);
    for (unsigned k = 0; k < cg->labels; k++)
        if (cg->label[k].at == cg->at)
            asm_bind(&cg->a, label_place(cg, k + 1, cg->steady.on));
}
