/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * usernet.h: libslirp's user network, as QEMU's -netdev user: 10.0.2.0/24, host 10.0.2.2, DNS 10.0.2.3, DHCP
 * from 10.0.2.15; fec0::/64, host fec0::2, DNS fec0::3, as far as the options let it. It runs in a process of its own
 * (hypervisor/network.c) and knows nothing of a machine.
 *
 * There may be 1000 TCP connections, and as many flows of other kinds (for slirp, all that comes from one UDP port of
 * the guest is one), or fewer if the host gives fewer descriptors. Then the one that was idle for longest goes.
 */
#ifndef GRAFT_USERNET_H
#define GRAFT_USERNET_H

#include "graft/base.h"

#define USERNET_FRAME 65536 /* bytes of a frame at most */
#define USERNET_FORWARDS 16
#define USERNET_SERVICES 4
#define USERNET_PATH 108 /* of a Unix socket, its end included */

/* Connections to, or packets for, a port of the host's are the guest's. Addresses are struct in_addr's s_addr. */
struct usernet_forward {
    bool udp;
    uint32_t host, guest; /* host 0: all of this host's; guest 0: 10.0.2.15 */
    uint16_t host_port, guest_port;
};
/* TCP connections of the guest's to an address in its network are ones to a Unix socket of the host's. */
struct usernet_service {
    uint32_t server;
    uint16_t port;
    char path[USERNET_PATH];
};
struct usernet_options {
    bool no_ipv4, no_ipv6;
    bool restricted; /* the guest reaches nobody but services and those who come by a forward */
    struct usernet_forward forward[USERNET_FORWARDS];
    unsigned forwards;
    struct usernet_service service[USERNET_SERVICES];
    unsigned services;
};

struct usernet;
/* usernet_create(): frame() is given each Ethernet frame for the guest. NULL and err (one line) if there can be
 * none. */
struct usernet *usernet_create(const struct usernet_options *o, void (*frame)(void *arg, const void *buf, size_t len),
                               void *arg, char err[256]);
void usernet_destroy(struct usernet *n);
/* usernet_input(): an Ethernet frame of the guest's. usernet_settle(): after some of them. */
void usernet_input(struct usernet *n, const void *frame, size_t len);
void usernet_settle(struct usernet *n);
/* usernet_fd(): readable when usernet_serve() has something to do; usernet_due(): when it has at the latest
 * (event_now_ns()), 0: never. */
int usernet_fd(const struct usernet *n);
uint64_t usernet_due(const struct usernet *n);
void usernet_serve(struct usernet *n);

#endif
