/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* held_machine.h: a machine that stands still as soon as it is told to (hypervisor/pause.h), for the fuzzers of those
 * who tell it. */
#ifndef TESTS_FUZZ_HELD_MACHINE_H
#define TESTS_FUZZ_HELD_MACHINE_H

#include "hypervisor/pause.h"

static struct machine m;
static bool is_held;
static void (*listener)(struct machine *m, bool held, void *arg);

void pause_listen(struct machine *m, void (*held)(struct machine *m, bool held, void *arg), void *arg) {
    listener = held;
}
void pause_hold(struct machine *m) { is_held = true; }
void pause_continue(struct machine *m) { is_held = false; }
bool pause_is_held(struct machine *m) { return is_held; }

#endif
