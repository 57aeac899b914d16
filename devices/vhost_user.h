/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vhost_user.h: a device's queues served by another process (QEMU's docs/interop/vhost-user.rst), the driver's side of
 * them.
 *
 * The other process never sees guest RAM. It works on rings and buffers in a file in memory that it shares with us; a
 * device copies requests there and answers back. So every descriptor of the guest's is checked by virtqueue.c,
 * translated code of pages that are written to is dropped as for any device, and a guest that resets a queue finds
 * nothing written after that. The copy costs little beside the rest of a request.
 *
 * A request has a slot: SLOT bytes for what the other process reads and for what it writes behind that.
 */
#ifndef GRAFT_VHOST_USER_H
#define GRAFT_VHOST_USER_H

#include "graft/base.h"

#define VHOST_QUEUES 2
#define VHOST_SLOTS 32                              /* of a queue: requests under way at the same time */
#define VHOST_SLOT_BYTES ((1u << 20) + (64u << 10)) /* of a request, both directions together */

struct vhost_user;

/* vhost_user_open(): talks to the process at the other end of the socket fd, which is taken over in any case, until its
 * queues run. Blocks, for some seconds at most. NULL and err (one line) if there is no understanding. */
struct vhost_user *vhost_user_open(int fd, char err[256]);
void vhost_user_close(struct vhost_user *u);
/* vhost_user_socket(): closed by the other side: readable, with EPOLLHUP. vhost_user_bell(): an eventfd, readable when
 * there are answers. Both stay ours. */
int vhost_user_socket(const struct vhost_user *u);
int vhost_user_bell(const struct vhost_user *u);
/* vhost_user_take(): a slot of the queue that nobody has, -1: there is none. vhost_user_give(): nobody has it any more,
 * if it was not submitted. vhost_user_memory(): its VHOST_SLOT_BYTES, which the other process can see and change at any
 * time. */
int vhost_user_take(struct vhost_user *u, unsigned queue);
void vhost_user_give(struct vhost_user *u, unsigned queue, unsigned slot);
uint8_t *vhost_user_memory(struct vhost_user *u, unsigned queue, unsigned slot);
/* vhost_user_submit(): a request of pieces one behind the other from the slot's start on: `out` of them are read by the
 * other process, the `in` behind them written. No more than VHOST_PIECES, none of them empty. */
#define VHOST_PIECES 8
void vhost_user_submit(struct vhost_user *u, unsigned queue, unsigned slot, const uint32_t *bytes, unsigned out,
                       unsigned in);
/* vhost_user_answer(): a slot that has been answered, -1: there is none now. *written: bytes from the first `in` piece
 * on, as the other process has it: not checked. The slot stays taken until it is given. */
int vhost_user_answer(struct vhost_user *u, unsigned queue, uint32_t *written);

#endif
