/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * control.h: --control: QEMU's machine protocol (QMP), as far as there is something to it here, for programs that run
 * the machine. See docs/interop/qmp-spec and qapi/ in QEMU.
 */
#ifndef GRAFT_CONTROL_H
#define GRAFT_CONTROL_H

#include "hypervisor/monitor.h"

/* control_open(): before the run. False and err if it cannot be had. control_attach(): to a machine; NULL: from it.
 * control_ended(): there is no other machine; state: how the last one ended. All but the first in the devices' thread;
 * nothing if there is no --control. */
bool control_open(const struct options *o, char err[ERR_BYTES]);
bool control_attach(struct machine *m);
void control_ended(enum machine_state state);

/* --- json_split.c: messages of JSON that follow one another, with or without white space in between --- */
#define JSON_BYTES 65536
struct json_split {
    unsigned depth;
    bool text, escaped, too_long;
    size_t len;
    char message[JSON_BYTES + 1];
};
/* json_split(): one more byte. True: there is a message, of len bytes with a 0 behind them; too_long: what came was
 * longer, and is lost. A message is what is between brackets, or a line. */
bool json_split(struct json_split *s, char byte);

#endif
