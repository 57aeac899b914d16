/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * flows.c: many connections through the user network, by a network stack of a few lines: nothing is sent twice, and
 * every connection talks to the host's echo servers, whose ports are in the disk's first sector with how many flows
 * there are to be. Says `tcp: N answered, M reset` and `udp: N answered`.
 */
#include "net.h"

#define MOST 4096
#define TCP_PORT 10000u
#define UDP_PORT 20000u

static struct {
    uint16_t tcp_port, udp_port, tcp_flows, udp_flows;
} order __attribute__((aligned(512)));
static uint8_t sector[512] __attribute__((aligned(512)));

/* A connection of ours, by its number. */
static struct {
    uint32_t seq, ack;
    uint8_t open, answered, reset;
} tcp[MOST];
static uint8_t udp_answered[MOST];
static unsigned opened, answered, resets, udp_answers;
static volatile bool router_seen;

static void send_tcp(unsigned n, unsigned flags, unsigned bytes) {
    unsigned len = 20 + bytes;
    uint8_t *p = new_ip(6, len);
    put16(p, TCP_PORT + n);
    put16(p + 2, order.tcp_port);
    put32(p + 4, tcp[n].seq);
    put32(p + 8, flags & ACK ? tcp[n].ack : 0);
    p[12] = 5 << 4;
    p[13] = (uint8_t)flags;
    put16(p + 14, 8192);
    memset(p + 20, 'a', bytes);
    put16(p + 16, fold(sum(p, len, sum(p - 8, 8, 6 + len))));
    send_frame(34 + len);
    tcp[n].seq += bytes + !!(flags & SYN);
}

static void send_udp(unsigned n) {
    uint8_t *p = new_ip(17, 12);
    put16(p, UDP_PORT + n);
    put16(p + 2, order.udp_port);
    put16(p + 4, 12);
    memset(p + 8, 'u', 4);
    send_frame(34 + 12);
}

static void receive_tcp(const uint8_t *p, unsigned len) {
    unsigned n = get16(p + 2) - TCP_PORT, flags = p[13], data = len - (p[12] >> 4) * 4u;
    if (n >= order.tcp_flows)
        return;
    if (flags & RST) {
        resets += !tcp[n].reset;
        tcp[n].reset = 1;
        return;
    }
    if (flags & SYN) {
        tcp[n].ack = get32(p + 4) + 1;
        opened += !tcp[n].open;
        tcp[n].open = 1;
        send_tcp(n, ACK, 0);
    } else if (data && get32(p + 4) == tcp[n].ack) {
        tcp[n].ack += data;
        answered += !tcp[n].answered;
        tcp[n].answered = 1;
        send_tcp(n, ACK, 0);
    }
}

static void receive(uint8_t *frame, unsigned len) {
    const uint8_t *ip = frame + 14;
    router_seen |= is_router(frame, len);
    if (len < 34 + 8 || get16(frame + 12) != 0x0800)
        return;
    unsigned n = get16(ip + 22) - UDP_PORT;
    if (ip[9] == 6 && len >= 34 + 20) {
        receive_tcp(ip + 20, get16(ip + 2) - 20);
    } else if (ip[9] == 17 && n < order.udp_flows) {
        udp_answers += !udp_answered[n];
        udp_answered[n] = 1;
    }
}

/* Until the count is reached or nothing has come for some seconds. */
static void wait_for(volatile unsigned *count, unsigned want) {
    uint64_t end = now() + 10 * read_sysreg(cntfrq_el0);
    unsigned last = *count;
    while (*count < want && now() < end) {
        take_frames();
        if (*count != last)
            end = now() + 10 * read_sysreg(cntfrq_el0);
        last = *count;
    }
}

/* --- tests ------------------------------------------------------------------------------------ */
static void test_start(void) {
    struct vdev disk;
    mmu_on();
    CHECK(v_find(&disk, ID_BLOCK));
    v_start(&disk, F_ALL_BLK);
    v_queue(&disk, 0, &rx);
    v_live(&disk);
    CHECK_EQ(blk_do(&disk, &rx, T_IN, 0, sector, 512), 0);
    memcpy(&order, sector, sizeof(order));
    net_start();
}

static void test_router(void) {
    send_solicitation();
    uint64_t end = now() + 10 * read_sysreg(cntfrq_el0);
    while (!router_seen && now() < end)
        take_frames();
    CHECK(router_seen);
}

/* A part of a datagram of the last flow's: 16 bytes from an offset on. */
static void send_fragment(unsigned id, unsigned offset, bool more) {
    uint8_t *p = new_ip(17, 16);
    put16(p - 16, id);
    put16(p - 14, offset / 8 | (more ? 0x2000u : 0));
    put16(p - 10, 0);
    put16(p - 10, fold(sum(p - 20, 20, 0)));
    memset(p, 'f', 16);
    if (offset == 0) {
        put16(p, UDP_PORT + order.udp_flows - 1u);
        put16(p + 2, order.udp_port);
        put16(p + 4, 48);
        put16(p + 6, 0);
    }
    send_frame(34 + 16);
}

/* Those that make no packet are dropped, and nothing else happens; those that do make one. */
static void test_fragments(void) {
    send_fragment(1, 2048, false);
    send_fragment(2, 16, true);
    send_fragment(2, 32, false);
    send_fragment(2, 0, true);
    send_fragment(3, 32, false);
    send_fragment(3, 16, true);
    send_fragment(3, 0, true);
    for (unsigned i = 0; i < 40; i++)
        send_fragment(10 + i, i & 1 ? 65528 : 0, true);
    send_fragment(4, 0, true);
    send_fragment(4, 16, true);
    send_fragment(4, 32, false);
    wait_for(&udp_answers, 1);
    CHECK_EQ(udp_answers, 1);
    CHECK_EQ(udp_answered[order.udp_flows - 1], 1);
    memset(udp_answered, 0, sizeof(udp_answered));
    udp_answers = 0;
}

static void test_udp(void) {
    for (unsigned i = 0; i < order.udp_flows; i++) {
        send_udp(i);
        wait_for(&udp_answers, i + 1);
    }
    print("udp: ");
    print_dec(udp_answers);
    print(" answered\n");
}

static void test_tcp(void) {
    for (unsigned i = 0; i < order.tcp_flows; i++) {
        tcp[i].seq = 1000 * i;
        send_tcp(i, SYN, 0);
        wait_for(&opened, i + 1);
    }
    for (unsigned i = 0; i < order.tcp_flows; i++) {
        if (!tcp[i].reset)
            send_tcp(i, ACK | PSH, 5);
        take_frames();
    }
    for (unsigned before = ~0u; before != answered + resets;) {
        before = answered + resets;
        wait_for(&answered, order.tcp_flows - resets);
    }
    print("tcp: ");
    print_dec(answered);
    print(" answered, ");
    print_dec(resets);
    print(" reset\n");
}

TESTS({"start", test_start}, {"router", test_router}, {"fragments", test_fragments}, {"udp", test_udp},
      {"tcp", test_tcp});
