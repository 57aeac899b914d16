/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* opt_fold.h: between the two halves of folding. */
#ifndef GRAFT_OPT_FOLD_H
#define GRAFT_OPT_FOLD_H

#include "ir_priv.h"

/* opt_fold_vector(): ir_fold() for vector operations (dbt/opt_fold_vec.c). */
irv opt_fold_vector(struct ir_block *b, struct ir_inst *i);

#endif
