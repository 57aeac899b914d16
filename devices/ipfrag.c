/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ipfrag.c: reassembly of IPv4 packets (ipfrag.h). */
#include "devices/ipfrag.h"

#include <stdlib.h>
#include <string.h>

#define ETHERNET 14u
#define MORE 0x2000u
#define OFFSET 0x1fffu /* in units of eight bytes */
#define RESERVED 0x8000u

static unsigned get16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }

static void put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned header_bytes(const uint8_t *ip) { return (ip[0] & 15u) * 4; }

static unsigned checksum(const uint8_t *ip) {
    unsigned sum = 0;
    for (unsigned i = 0; i < header_bytes(ip); i += 2)
        sum += get16(ip + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static bool is_ipv4(const uint8_t *frame, size_t len) {
    return len >= ETHERNET + 20 && get16(frame + 12) == 0x0800 && frame[ETHERNET] >> 4 == 4;
}

static bool is_sound(const uint8_t *ip, size_t len) {
    unsigned header = header_bytes(ip), total = get16(ip + 2);
    return header >= 20 && header <= total && total <= len && !checksum(ip);
}

static bool same_packet(const uint8_t *a, const uint8_t *b) {
    return get16(a + 4) == get16(b + 4) && a[9] == b[9] && !memcmp(a + 12, b + 12, 8);
}

/* A place for a new packet, at the front: that of the same packet's earlier fragments, or of what began first. */
static struct ipfrag_packet *begin(struct ipfrag *f, const uint8_t *ip) {
    unsigned i = 0;
    while (i < IPFRAG_PACKETS - 1 && !(f->packet[i].len && same_packet(f->packet[i].frame + ETHERNET, ip)))
        i++;
    struct ipfrag_packet p = f->packet[i];
    memmove(f->packet + 1, f->packet, i * sizeof(p));
    if (!p.frame)
        p.frame = malloc(IPFRAG_FRAME);
    p.len = 0;
    f->packet[0] = p;
    return p.frame ? f->packet : NULL;
}

static struct ipfrag_packet *find(struct ipfrag *f, const uint8_t *ip) {
    for (unsigned i = 0; i < IPFRAG_PACKETS; i++)
        if (f->packet[i].len && same_packet(f->packet[i].frame + ETHERNET, ip))
            return &f->packet[i];
    return NULL;
}

/* The packet that a fragment belongs to, with what comes before it; NULL if there is none. */
static struct ipfrag_packet *packet_of(struct ipfrag *f, const uint8_t *frame, unsigned offset) {
    const uint8_t *ip = frame + ETHERNET;
    if (offset) {
        struct ipfrag_packet *p = find(f, ip);
        return p && p->len == ETHERNET + header_bytes(p->frame + ETHERNET) + offset ? p : NULL;
    }
    struct ipfrag_packet *p = begin(f, ip);
    if (p) {
        p->len = ETHERNET + header_bytes(ip);
        memcpy(p->frame, frame, p->len);
    }
    return p;
}

const uint8_t *ipfrag_take(struct ipfrag *f, const uint8_t *frame, size_t *len) {
    const uint8_t *ip = frame + ETHERNET;
    if (!is_ipv4(frame, *len))
        return frame;
    unsigned word = get16(ip + 6), offset = (word & OFFSET) * 8;
    if (!(word & (MORE | OFFSET | RESERVED)))
        return frame;
    if (word & RESERVED || !is_sound(ip, *len - ETHERNET))
        return NULL;
    unsigned bytes = get16(ip + 2) - header_bytes(ip);
    struct ipfrag_packet *p = packet_of(f, frame, offset);
    if (!p)
        return NULL;
    if (p->len + bytes > IPFRAG_FRAME || (word & MORE && bytes % 8)) {
        p->len = 0;
        return NULL;
    }
    memcpy(p->frame + p->len, ip + header_bytes(ip), bytes);
    p->len += bytes;
    if (word & MORE)
        return NULL;
    uint8_t *whole = p->frame + ETHERNET;
    *len = p->len;
    p->len = 0;
    put16(whole + 2, (unsigned)(*len - ETHERNET));
    put16(whole + 6, 0);
    put16(whole + 10, 0);
    put16(whole + 10, checksum(whole));
    return p->frame;
}

void ipfrag_free(struct ipfrag *f) {
    for (unsigned i = 0; i < IPFRAG_PACKETS; i++)
        free(f->packet[i].frame);
}
