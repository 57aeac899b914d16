/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vsock.h: what is behind a socket device (Virtio 1.2, section 5.10): the host's ends of its connections, which are
 * Unix sockets. One that the guest makes to port P of the host (CID 2) leads to the socket <path>_P. Who wants to reach
 * port P of the guest connects to <path> itself, writes "CONNECT P\n", and reads "OK N\n" when the guest has accepted;
 * N is the host's port. So does Firecracker.
 *
 * The guest is not trusted: what it sends is limited to the room that it was told of, and it has VSOCK_CONNECTIONS at
 * most. Nothing here waits.
 */
#ifndef GRAFT_VSOCK_H
#define GRAFT_VSOCK_H

#include "graft/base.h"

#define VSOCK_HOST 2         /* its CID */
#define VSOCK_DATA 65536     /* bytes of a packet, behind its header */
#define VSOCK_BUFFER 131072u /* that wait for a reader, of a connection */
#define VSOCK_CONNECTIONS 1000

enum vsock_op {
    VSOCK_REQUEST = 1,
    VSOCK_RESPONSE,
    VSOCK_RST,
    VSOCK_SHUTDOWN,
    VSOCK_RW,
    VSOCK_CREDIT_UPDATE,
    VSOCK_CREDIT_REQUEST,
};
#define VSOCK_STREAM 1 /* struct vsock_header.type */
/* Flags of VSOCK_SHUTDOWN: who sends it receives, or sends, no more. */
#define VSOCK_NO_RECEIVE 1u
#define VSOCK_NO_SEND 2u

/* As the guest has it: little-endian. */
struct vsock_header {
    uint64_t from_cid, to_cid;
    uint32_t from_port, to_port;
    uint32_t len;
    uint16_t type, op;
    uint32_t flags;
    uint32_t room, taken; /* buf_alloc, fwd_cnt: of the sender */
} __attribute__((packed));

/* A packet for the guest. life: of the device, in which the connection is (vsock_reset()); a packet of another life is
 * no one's. */
struct vsock_packet {
    uint32_t life;
    struct vsock_header header;
    uint8_t data[VSOCK_DATA];
} __attribute__((packed));

/* vsock_create(): listener is a socket at path, which is <path>; NULL: no memory or descriptors. send() takes a packet
 * of len bytes; false: not now. vsock_input(): a packet of the guest's, without a life in front. vsock_takes_input():
 * is there room for what may have to be answered? Else none may come. vsock_reset(): the device begins a new life: its
 * connections are gone. vsock_serve(): to be called when something is ready: vsock_fd(), but not while there is
 * vsock_is_held(): a packet that send() did not take; then when send() may; and when vsock_patience() is over, in ms,
 * -1: for ever. */
struct vsock;
struct vsock *vsock_create(int listener, const char *path, uint32_t cid,
                           bool (*send)(void *arg, const void *packet, size_t len), void *arg);
void vsock_destroy(struct vsock *v);
void vsock_input(struct vsock *v, const void *packet, size_t len);
bool vsock_takes_input(const struct vsock *v);
void vsock_reset(struct vsock *v, uint32_t life);
void vsock_serve(struct vsock *v);
int vsock_fd(const struct vsock *v);
bool vsock_is_held(const struct vsock *v);
int vsock_patience(const struct vsock *v);

#endif
