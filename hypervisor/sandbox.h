/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* sandbox.h: what this process may still ask of the host's kernel while a guest runs (docs/security.md). */
#ifndef GRAFT_SANDBOX_H
#define GRAFT_SANDBOX_H

#include "hypervisor/monitor.h"

/* In this order:
 * sandbox_note(): first of all: the descriptors that the process was started with are not for the run.
 * sandbox_enter(): when all is open that the run needs, and there are no threads: the process is no more than it has to
 * be, and threads that are started from here on get the filter of their kind. It never fails; what the host lacks is
 * left out. sandbox_report(): in the first of those threads: one line in the log if the host lacks some of it. */
void sandbox_note(void);
void sandbox_enter(const struct options *o);
void sandbox_report(void);
/* sandbox_forget_inherited(): they have been closed: their numbers may be those of others from now on. */
void sandbox_forget_inherited(void);
/* sandbox_enter_network(): the same for the process that has the user network, and its one thread. local: it connects
 * to Unix sockets, too. */
void sandbox_enter_network(bool local);
/* sandbox_enter_vsock(): and for the one that has the guest's connections to sockets (vsock.c). It stays the user who
 * runs Graft, without capabilities: that one can reach those sockets. */
void sandbox_enter_vsock(void);
/* sandbox_enter_watcher(): for the one that ends other processes (helper.c). It stays the user that it is, and can do
 * nothing else. */
void sandbox_enter_watcher(void);
/* sandbox_enter_disk(): for a program that is about to be executed, and serves an image: it may read files, but write
 * to that image alone, if at all, and temporary: to files of its own; no TCP. */
void sandbox_enter_disk(const char *image, bool write, bool temporary);
/* sandbox_thread(): the filter of that kind, for the calling thread and those that it starts; nothing before
 * sandbox_enter(). */
void sandbox_thread(enum thread_kind kind);

#endif
