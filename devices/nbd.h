/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * nbd.h: the client's side of the NBD protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), as
 * far as qemu-nbd needs it: the fixed newstyle handshake by NBD_OPT_EXPORT_NAME, and simple replies.
 *
 * All functions but nbd_open() and nbd_close() may be called by any number of threads at once. Each request has one of
 * the connections for itself, and waits if there is none; what one of them flushes was written by all. They block for
 * as long as the server likes, and fail with errno set. A server that is gone, or answers nonsense, fails all requests
 * from then on, after one line in the log.
 */
#ifndef GRAFT_NBD_H
#define GRAFT_NBD_H

#include "graft/base.h"

#include <sys/uio.h>

#define NBD_CONNECTIONS 8u
#define NBD_MAX_SEGMENTS 256 /* of nbd_write() */

struct nbd;

/* nbd_open(): takes over the connected sockets, with which nothing was exchanged yet; name: for the log. NULL and err
 * (one line) if the server does not answer as one. nbd_close(): takes leave. */
struct nbd *nbd_open(const int fd[NBD_CONNECTIONS], const char *name, char err[256]);
void nbd_close(struct nbd *n);
uint64_t nbd_bytes(const struct nbd *n);

/* At most 32 MiB of data. */
bool nbd_read(struct nbd *n, void *buf, size_t len, uint64_t offset);
bool nbd_write(struct nbd *n, const struct iovec *iov, int count, uint64_t offset);
bool nbd_flush(struct nbd *n);
/* Less than 4 GiB. nbd_zero(): unmap: the server may give up the room. */
bool nbd_trim(struct nbd *n, uint64_t offset, uint64_t len);
bool nbd_zero(struct nbd *n, uint64_t offset, uint64_t len, bool unmap);

#endif
