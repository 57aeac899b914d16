/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * gdb.h: --gdb: a server of GDB's remote protocol. Each vCPU is a thread, numbered from 1 on; all stop when one does.
 * When a client connects the machine stops, and when it leaves all breakpoints go and the machine goes on.
 */
#ifndef GRAFT_GDB_H
#define GRAFT_GDB_H

#include "hypervisor/monitor.h"

/* gdb_open(): before the run. False and err if it cannot be had. gdb_attach(): to a machine; NULL: from it.
 * gdb_ended(): there is no other machine; status: the run's exit status. All but the first in the devices' thread;
 * nothing if there is no --gdb. */
bool gdb_open(const struct options *o, char err[ERR_BYTES]);
bool gdb_attach(struct machine *m);
void gdb_ended(int status);

/* --- command.c: what people type: "monitor ..." in GDB, human-monitor-command of --control ---- */
/* command_run(): what the command says, malloc'ed, "" if nothing; NULL: out of memory. vcpu: the one that it is
 * about. */
char *command_run(struct machine *m, unsigned vcpu, const char *line);

#endif
