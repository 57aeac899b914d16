/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* net.h: a network card, and packets of the user network's, for guests that define receive(). Nothing is sent twice. */
#ifndef GUEST_NET_H
#define GUEST_NET_H

#include "inet.h"
#include "virtq.h"

#define FRAME 2048
#define SLOTS 128
#define HOST_IP 0x0a000202u
#define GUEST_IP 0x0a00020fu
#define FIN 1u
#define SYN 2u
#define RST 4u
#define PSH 8u
#define ACK 16u

static struct queue rx __attribute__((aligned(4096))), tx __attribute__((aligned(4096)));
static uint8_t in[SLOTS][FRAME], out[SLOTS][FRAME];
static uint16_t rx_seen, tx_count;
static struct vdev net;

/* receive(): an Ethernet frame has come. */
static void receive(uint8_t *frame, unsigned len);

static void take_frames(void) {
    uint16_t before = rx_seen;
    while (rx_seen != q_used(&rx)) {
        unsigned slot = rx.used.ring[rx_seen % NUM].id, len = rx.used.ring[rx_seen % NUM].len;
        rx_seen++;
        if (len > 12)
            receive(in[slot] + 12, len - 12);
        q_offer(&rx, slot);
    }
    if (rx_seen != before)
        v_set(&net, V_NOTIFY, 0);
}

/* A frame to fill in: the Ethernet header is there. */
static uint8_t *new_frame(unsigned type) {
    static const uint8_t header[12] = {0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56};
    while ((uint16_t)(tx_count - q_used(&tx)) == SLOTS)
        ;
    uint8_t *p = out[tx_count % SLOTS];
    memset(p, 0, 128);
    memcpy(p + 12, header, 12);
    put16(p + 24, type);
    return p + 12;
}

static void send_frame(unsigned len) {
    unsigned slot = tx_count++ % SLOTS;
    q_desc(tx.desc, slot, out[slot], 12 + len, 0);
    q_offer(&tx, slot);
    v_set(&net, V_NOTIFY, 1);
}

static uint8_t *new_ip(unsigned protocol, unsigned payload) {
    uint8_t *ip = new_frame(0x0800) + 14;
    ip[0] = 0x45;
    put16(ip + 2, 20 + payload);
    ip[8] = 64;
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, GUEST_IP);
    put32(ip + 16, HOST_IP);
    put16(ip + 10, fold(sum(ip, 20, 0)));
    return ip + 20;
}

static void send_arp(void) {
    static const uint8_t ask[] = {0,  1, 8, 0,  6, 4, 0, 1, 0x52, 0x54, 0,  0x12, 0x34, 0x56,
                                  10, 0, 2, 15, 0, 0, 0, 0, 0,    0,    10, 0,    2,    2};
    uint8_t *p = new_frame(0x0806);
    memset(p, 0xff, 6);
    memcpy(p + 14, ask, sizeof(ask));
    send_frame(14 + sizeof(ask));
}

static void net_start(void) {
    CHECK(v_find(&net, ID_NET));
    v_start(&net, 0);
    v_queue(&net, 0, &rx);
    v_queue(&net, 1, &tx);
    v_live(&net);
    for (unsigned i = 0; i < SLOTS; i++) {
        q_desc(rx.desc, i, in[i], FRAME, D_WRITE);
        q_offer(&rx, i);
    }
    v_set(&net, V_NOTIFY, 0);
    send_arp();
}

/* --- IPv6: is there a router? ----------------------------------------------------------------- */
static void send_solicitation(void) {
    static const uint8_t solicit[] = {0x60, 0, 0, 0, 0, 8, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0,
                                      0,    0, 0, 0, 0, 0, 0,  1,   0xff, 2,    0, 0, 0, 0, 0, 0,
                                      0,    0, 0, 0, 0, 0, 0,  2,   133,  0,    0, 0, 0, 0, 0, 0};
    uint8_t *p = new_frame(0x86dd);
    p[0] = p[1] = 0x33, p[2] = p[3] = p[4] = 0, p[5] = 2;
    memcpy(p + 14, solicit, sizeof(solicit));
    put16(p + 14 + 42, fold(sum(p + 14 + 8, 40, 58 + 8)));
    send_frame(14 + sizeof(solicit));
}

static bool is_router(const uint8_t *frame, unsigned len) {
    return len >= 14 + 40 + 4 && get16(frame + 12) == 0x86dd && frame[14 + 6] == 58 && frame[14 + 40] == 134;
}

#endif
