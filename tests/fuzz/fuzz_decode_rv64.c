/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fuzz_decode_rv64.c: any words as RISC-V code. */
#define FUZZ_RV64
#include "fuzz_decode.c"
