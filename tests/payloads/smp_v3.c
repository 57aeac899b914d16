/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* smp_v3.c: smp.c with the other interrupt controller. */
/* options: smp=2 gic=3 */
#include "smp.c"
