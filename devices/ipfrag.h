/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ipfrag.h: puts the fragments of IPv4 packets together before libslirp sees them. Its own way to do so is broken where
 * it was built with strict aliasing (Debian 12's package is): a last fragment that comes alone crashes it.
 *
 * Fragments have to come in their order, as they do from the one host there is; others are dropped, as networks
 * may. */
#ifndef GRAFT_IPFRAG_H
#define GRAFT_IPFRAG_H

#include "graft/base.h"

#define IPFRAG_PACKETS 4 /* under way at the same time; of more, the one that began first is dropped */
#define IPFRAG_FRAME 65536

struct ipfrag {
    struct ipfrag_packet {
        size_t len;           /* of the frame so far; 0: free */
        uint8_t *frame;       /* IPFRAG_FRAME bytes, once they were needed */
    } packet[IPFRAG_PACKETS]; /* what began last is first */
};

/* ipfrag_take(): what is to go on for an Ethernet frame of *len bytes: the frame itself if it is no fragment; with the
 * last fragment a frame with the whole packet, which stays until the next call; else NULL. */
const uint8_t *ipfrag_take(struct ipfrag *f, const uint8_t *frame, size_t *len);
void ipfrag_free(struct ipfrag *f);

#endif
