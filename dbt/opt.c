/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* opt.c: the optimiser: two passes over the block, each linear. */
#include "ir_priv.h"

const struct ir_pass ir_passes[] = {{"forward", opt_forward}, {"dead", opt_dead}, {0}};

void ir_optimise(struct ir_block *b) {
    for (const struct ir_pass *p = ir_passes; p->run; p++)
        p->run(b);
}
