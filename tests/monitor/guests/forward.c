/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * forward.c: what comes from the host's side. Echoes datagrams that come to port 7; `PORT` in one is a port of the
 * host's to which it then sends one of its own, and says `sent`. A connection is refused, and its port said. Datagrams
 * to port 9 end it.
 */
#include "net.h"

#define ECHO 7u
#define END 9u

static volatile bool router_seen, ended;

static void send_udp(uint32_t to, unsigned from_port, unsigned to_port, const uint8_t *data, unsigned len) {
    uint8_t *p = new_ip(17, 8 + len);
    put32(p - 4, to);
    put16(p - 10, 0);
    put16(p - 10, fold(sum(p - 20, 20, 0)));
    put16(p, from_port);
    put16(p + 2, to_port);
    put16(p + 4, 8 + len);
    memcpy(p + 8, data, len);
    send_frame(34 + 8 + len);
}

static unsigned number(const uint8_t *p, unsigned len) {
    unsigned n = 0;
    while (len-- && *p >= '0' && *p <= '9')
        n = 10 * n + (*p++ - '0');
    return n;
}

static void take_udp(const uint8_t *ip, const uint8_t *udp, unsigned len) {
    unsigned port = number(udp + 8, len);
    ended |= get16(udp + 2) == END;
    if (get16(udp + 2) != ECHO || len > 64)
        return;
    send_udp(get32(ip + 12), ECHO, get16(udp), udp + 8, len);
    if (!port)
        return;
    send_udp(HOST_IP, 1234, port, (const uint8_t *)"hello", 5);
    print("sent\n");
}

static void refuse_tcp(const uint8_t *ip, const uint8_t *tcp) {
    uint8_t *p = new_ip(6, 20);
    put32(p - 4, get32(ip + 12));
    put16(p - 10, 0);
    put16(p - 10, fold(sum(p - 20, 20, 0)));
    put16(p, get16(tcp + 2));
    put16(p + 2, get16(tcp));
    put32(p + 8, get32(tcp + 4) + 1);
    p[12] = 5 << 4;
    p[13] = RST | ACK;
    put16(p + 16, fold(sum(p, 20, sum(p - 8, 8, 6 + 20))));
    send_frame(34 + 20);
    print("refused ");
    print_dec(get16(tcp + 2));
    print("\n");
}

static void receive(uint8_t *frame, unsigned len) {
    const uint8_t *ip = frame + 14, *p = ip + 20;
    if (!router_seen && is_router(frame, len)) {
        router_seen = true;
        print("router\n");
    }
    if (len >= 14 + 28 && get16(frame + 12) == 0x0806 && get16(ip + 6) == 1)
        send_arp(); /* which tells who this is, too */
    if (len < 34 + 8 || get16(frame + 12) != 0x0800)
        return;
    if (ip[9] == 17 && get16(p + 4) >= 8 && len >= 34u + get16(p + 4))
        take_udp(ip, p, get16(p + 4) - 8);
    else if (ip[9] == 6 && len >= 34 + 20 && p[13] == SYN)
        refuse_tcp(ip, p);
}

static void test_forward(void) {
    mmu_on();
    net_start();
    send_solicitation();
    print("ready\n");
    while (!ended)
        take_frames();
}

TESTS({"forward", test_forward});
