/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * image.h: what is behind a disk: a raw image file, a block device of the host, or a process that serves an image
 * (nbd.h). All functions may be called by any number of threads at once. All but image_read_now() may block for as long
 * as the host's disk likes: never call them under a lock that a vCPU may want.
 *
 * A disk has whole sectors, a file any number of bytes. The last sector is there even if the file has only a part of
 * it: what the file lacks is read as zeroes. Writing that sector makes the file so long that all that was written can
 * be read again (up to 511 bytes more, as on QEMU); nothing else changes a file's size.
 *
 * An image that was found to be raw, as nobody said so, stays one that is found to be raw: writing the first bytes of a
 * qcow2 image fails, as the next run would take what else is in there for the names of files.
 */
#ifndef GRAFT_IMAGE_H
#define GRAFT_IMAGE_H

#include "graft/base.h"

#include <sys/uio.h>

#define IMAGE_SECTOR 512u

struct image;

/* image_open(): NULL and one line in err if it cannot be used. image_close(): does not flush. */
struct image *image_open(const char *path, bool readonly, char err[256]);
void image_close(struct image *f);
uint64_t image_sectors(const struct image *f);

/* image_read_now(): as many bytes as can be had without waiting for a disk; 0 if there are none or nobody knows. */
size_t image_read_now(struct image *f, const struct iovec *iov, int n, uint64_t offset);
/* image_read(), image_write(): all bytes, inside the disk; false if that failed. */
bool image_read(struct image *f, void *buf, size_t len, uint64_t offset);
bool image_write(struct image *f, const struct iovec *iov, int n, uint64_t offset);
/* image_flush(): all writes that were finished when it was called are on stable storage. image_is_clean(): there are
 * none to bring there. */
bool image_flush(struct image *f);
bool image_is_clean(struct image *f);
/* image_discard(): advice that nobody needs these bytes. image_zero(): zeroes; unmap: without room on the host's
 * disk. */
void image_discard(struct image *f, uint64_t offset, uint64_t len);
bool image_zero(struct image *f, uint64_t offset, uint64_t len, bool unmap);

#endif
