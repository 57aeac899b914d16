/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vmcore.h: --dump-on-panic: the machine as an ELF core file, for gdb and crash.
 *
 * It is written when the first line of a kernel's report comes, while the processors still are where the panic found
 * them: a kernel may reset the machine right behind that line.
 */
#ifndef GRAFT_VMCORE_H
#define GRAFT_VMCORE_H

#include "hypervisor/monitor.h"

/* vmcore_open(): before the run: creates or empties the file. False and err if it cannot be written, or is a disk of
 * the guest's. True if there is no --dump-on-panic. vmcore_request(): in the devices' or a vCPU's thread: as soon as
 * all processors stand still the file is written anew, and they go on. vmcore_finish(): when no processor runs any
 * more: writes what was asked for and has not been done yet, without registers. */
bool vmcore_open(const struct options *o, char err[ERR_BYTES]);
void vmcore_request(struct machine *m);
void vmcore_finish(struct machine *m);

#endif
