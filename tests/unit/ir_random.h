/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir_random.h: random valid IR blocks on the state and memory of fake_rt.h, for property tests. */
#ifndef GRAFT_TESTS_IR_RANDOM_H
#define GRAFT_TESTS_IR_RANDOM_H

#include "fake_rt.h"

#define IR_RANDOM_VECTOR 1 /* vector operations */
#define IR_RANDOM_FLOAT 2  /* floating point */
#define IR_RANDOM_MEMORY 4 /* accesses, some of which fault */
#define IR_RANDOM_CALLS 8  /* helpers of all kinds, some of which raise */
#define IR_RANDOM_EXITS 16 /* EXIT_IF in the middle, some to a LABEL */
#define IR_RANDOM_ALL 31

/* random_next(): the generator (xorshift64*); *seed must not be 0. */
uint64_t random_next(uint64_t *seed);
/* random_interesting(): a value that often sits on a border (0, 1, all ones, powers of two ...). */
uint64_t random_interesting(uint64_t *seed);
/* ir_random_fields(): the fields besides operands of i->op (lane, n, cc ...); own: type of its integer operands. */
void ir_random_fields(struct ir_inst *i, unsigned own, uint64_t *seed);
/* ir_random_block(): about size operations, appended without folding, ending with an exit. */
void ir_random_block(struct ir_block *b, uint64_t *seed, unsigned size, unsigned features);
/* ir_random_state(): fills registers, flags, vectors and fake_memory. x registers often point into the memory. */
void ir_random_state(struct fake_cpu *cpu, uint64_t *seed);
/* NULL-terminated, for ir_parse_helpers: helpers that ir_random_block() calls. */
extern const struct ir_helper *const ir_random_helpers[];

#endif
