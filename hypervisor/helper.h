/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* helper.h: programs that serve the machine, each a process of its own behind a socket: started before there is a
 * machine, and before there are threads; they stay when it resets, and end by themselves when their connections do. */
#ifndef GRAFT_HELPER_H
#define GRAFT_HELPER_H

#include "hypervisor/monitor.h"

#include <sys/types.h>

#define HELPER_LISTEN_FD 3

/* helper_find(): the program that the variable of the environment names, else the first of paths (NULL at the end) that
 * there is; NULL. */
const char *helper_find(const char *variable, const char *const *paths);
/* helper_sockets(): a socket that listens, and so many connections to it, which are the first; nobody else can make
 * one. */
bool helper_sockets(int *listener, int *connection, unsigned connections);
/* helper_fork(): as fork(). In the child, the listener is HELPER_LISTEN_FD, standard error is a pipe to *log, and no
 * other descriptor is open but /dev/null; what is typed on the terminal does not reach it. Closes the listener here.
 * helper_note(): a child of fork() is a helper, too, but its end is not waited for. */
pid_t helper_fork(int listener, int *log);
void helper_note(pid_t pid);
/* helpers_are_awaited(): is there one whose end is? */
bool helpers_are_awaited(void);
/* helper_channel(): a pair of sockets of packets, non-blocking, with room for many. helper_be(): in a child of fork()
 * that goes on as this program: it is called that, signals of the terminal are not for it, and no descriptor is open
 * but the channel, input as the standard one (-1: none), and the log. */
bool helper_channel(int ends[2]);
void helper_be(const char *name, int channel, int input);
/* helper_failed(): ends one that did not begin well, and closes its log; why, where it said so itself. */
void helper_failed(pid_t pid, int log, char why[ERR_BYTES]);
/* helpers_watch(): when all are ready and this process is about to give up rights that it needs to end them: one with
 * these rights does it when this one has ended, however it did, and they have not after a moment. Before there are
 * threads. helpers_end(): waits until all have ended, but not for long, and not beyond supervise_leave_at(); their
 * connections are closed. */
void helpers_watch(void);
void helpers_end(void);

#endif
