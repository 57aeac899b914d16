/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* timer_v3.c: timer.c with the other interrupt controller. */
/* options: gic=3 */
#include "timer.c"
