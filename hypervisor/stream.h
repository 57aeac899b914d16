/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * stream.h: a place where one client at a time may connect: for --gdb and --control. It is opened before the run,
 * outlives the machine, and is served in the devices' thread, which never waits for it: what the client does not take
 * is kept, and as long as there is much of that, nothing more is read.
 */
#ifndef GRAFT_STREAM_H
#define GRAFT_STREAM_H

#include "hypervisor/monitor.h"

struct stream;
/* In the devices' thread, with the device lock. */
struct stream_ops {
    void (*opened)(void *arg);
    void (*data)(void *arg, const uint8_t *data, size_t len);
    void (*closed)(void *arg); /* by the client, or since it takes nothing; not by stream_close() */
};

/* stream_open(): option: for messages; spec: tcp:HOST:PORT[,remote], unix:PATH, or stdio if that is allowed. HOST "" is
 * 127.0.0.1; without `remote` it has to be a loopback address. With PORT 0 a free one is taken, and the log says which.
 * The socket at PATH is the user's alone (0600); one that nobody listens at any more is replaced. NULL and err if it
 * cannot be had. */
struct stream *stream_open(const char *option, const char *spec, const struct stream_ops *ops, void *arg,
                           char err[ERR_BYTES]);
/* stream_is_right(): is it one of those forms? */
bool stream_is_right(const char *spec, bool stdio);
/* stream_listen_unix(): such a socket at a path, non-blocking, with room for that many who wait; -1 and err. */
int stream_listen_unix(const char *path, int backlog, const char *option, char err[ERR_BYTES]);
/* stream_attach(): to a machine with an event loop; NULL: from it. False: out of memory. */
bool stream_attach(struct stream *s, struct machine *m);
/* stream_write(): to the client, if there is one. */
void stream_write(struct stream *s, const void *data, size_t len);
void stream_hang_up(struct stream *s); /* when all is written, as far as the client takes it at once */
void stream_close(struct stream *s);

#endif
