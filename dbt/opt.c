/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* opt.c: the optimiser: three passes over the block, each linear. */
#include "ir_priv.h"

void ir_optimise(struct ir_block *b) {
    opt_forward(b);
    opt_dead(b);
    opt_compact(b);
}
