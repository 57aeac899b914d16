/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_net.c: the network device with libslirp behind it, in one process: a hostile driver that sends packets with
 * right checksums (else slirp would look no further), answers what it gets so that TCP connections come about, resets
 * in the middle, and lets time pass. No packet leaves the process: a connection leads to a socket pair whose other end
 * the fuzzer has, and datagrams go nowhere.
 */
#include "devices/usernet.h"
#include "tests/fuzz/device_world.h"
#include "tests/fuzz/good_driver.h"
#include "tests/monitor/guests/inet.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MOST_FILES 160 /* so that there may be 16 flows of a kind */
#define PEERS 32

/* --- the host --------------------------------------------------------------------------------- */
static int peer[PEERS], peers;
static unsigned connects;

int connect(int fd, const struct sockaddr *addr, socklen_t len) {
    int pair[2];
    if (addr->sa_family != AF_INET && addr->sa_family != AF_INET6)
        return (int)syscall(SYS_connect, fd, addr, len);
    if (peers == PEERS || connects % 7 == 6 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair)) {
        connects++;
        errno = ECONNREFUSED;
        return -1;
    }
    dup2(pair[0], fd);
    close(pair[0]);
    peer[peers++] = pair[1];
    errno = EINPROGRESS;
    return connects++ & 1 ? -1 : 0;
}

ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr, socklen_t addr_len) {
    return (ssize_t)len;
}

static void peer_acts(struct input *in) {
    static const uint8_t data[4096];
    uint64_t what = take(in, 2);
    if (!peers)
        return;
    unsigned i = (unsigned)(what >> 2) % (unsigned)peers;
    if (what & 3) {
        if (send(peer[i], data, what >> 4 & 4095, MSG_NOSIGNAL) < 0)
            return;
    } else {
        close(peer[i]);
        peer[i] = peer[--peers];
    }
}

/* --- the network, which has no process of its own here ---------------------------------------- */
static struct usernet *usernet;
static int channel[2];

static void to_guest(void *arg, const void *frame, size_t len) {
    static uint8_t packet[4 + USERNET_FRAME];
    uint32_t head = (uint32_t)len;
    memcpy(packet, &head, 4);
    memcpy(packet + 4, frame, len);
    if (write(channel[1], packet, 4 + len) < 0 && errno != EAGAIN)
        abort();
}

int network_begin(char err[256]) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, channel) ||
        !(usernet = usernet_create(&(struct usernet_options){0}, to_guest, NULL, err)))
        abort();
    return channel[0];
}

static void network_end(void) {
    usernet_destroy(usernet);
    close(channel[0]);
    close(channel[1]);
}

static void run_network(void) {
    static uint8_t frame[USERNET_FRAME];
    ssize_t len;
    while ((len = read(channel[1], frame, sizeof(frame))) > 0)
        usernet_input(usernet, frame, (size_t)len);
    usernet_settle(usernet);
    struct pollfd p = {.fd = usernet_fd(usernet), .events = POLLIN};
    if (poll(&p, 1, 0) > 0 || (usernet_due(usernet) && usernet_due(usernet) <= event_now_ns()))
        usernet_serve(usernet);
}

/* --- the guest -------------------------------------------------------------------------------- */
static uint8_t last[2048]; /* the last TCP segment that came: from its IP header on */

static void take_frames(struct machine *m) {
    uint16_t used;
    memcpy(&used, m->ram + RX_RING + 0x202, 2);
    for (unsigned n = 0; rx_used != used && n < NUM; n++) {
        unsigned i = m->ram[RX_RING + 0x204 + 8 * (rx_used++ % NUM)] % NUM;
        const uint8_t *ip = m->ram + RX_BUFFER + BUFFER * i + 12 + 14;
        if (ip[9] == 6)
            memcpy(last, ip, 64);
        offer(m, RX_RING, &rx_index, i);
    }
}

static unsigned fill_ipv4(uint8_t *ip, unsigned protocol, unsigned payload, struct input *in) {
    static const uint32_t to[] = {0x0a000202, 0x0a000203, 0x0a00020f, 0x08080808,
                                  0xffffffff, 0x0a0002ff, 0x7f000001, 0};
    unsigned how = (unsigned)take(in, 1);
    ip[0] = 0x45;
    put16(ip + 2, 20 + payload);
    put16(ip + 4, 1);
    put16(ip + 6, how & 0x40 ? (unsigned)take(in, 2) : 0); /* fragments */
    ip[8] = 64;
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, how & 0x80 ? 0 : 0x0a00020f);
    put32(ip + 16, to[how & 7]);
    put16(ip + 10, fold(sum(ip, 20, 0)));
    return 20 + payload;
}

static unsigned fill_ipv6(uint8_t *ip, unsigned protocol, unsigned payload, struct input *in) {
    static const uint8_t to[4][16] = {
        {0xfe, 0xc0, [15] = 2}, {0xfe, 0xc0, [15] = 3}, {0xff, 2, [15] = 2}, {0x20, 1, [15] = 1}};
    unsigned how = (unsigned)take(in, 1);
    ip[0] = 0x60;
    put16(ip + 4, payload);
    ip[6] = (uint8_t)protocol;
    ip[7] = 255;
    ip[8] = 0xfe, ip[9] = how & 4 ? 0xc0 : 0x80, ip[23] = 9;
    memcpy(ip + 24, to[how & 3], 16);
    return 40 + payload;
}

/* The TCP or UDP header: ports, and for TCP the answer to the last segment, or almost. */
static unsigned fill_ports(uint8_t *p, struct input *in, bool tcp, unsigned bytes) {
    static const uint16_t ports[] = {53, 67, 69, 80, 547, 1, 113, 6000};
    unsigned how = (unsigned)take(in, 1);
    put16(p, 1000 + (how & 31));
    put16(p + 2, ports[how >> 5]);
    if (!tcp) {
        put16(p + 4, 8 + bytes);
        return 8 + bytes;
    }
    unsigned flags = (unsigned)take(in, 1);
    if (flags & 0x80) { /* on the connection of the last segment */
        put16(p, get16(last + 22));
        put16(p + 2, get16(last + 20));
    }
    put32(p + 4, get32(last + 28));
    put32(p + 8, get32(last + 24) + (last[33] & 3 ? 1 : 0) + (unsigned)(flags >> 6 & 1));
    p[12] = 5 << 4;
    p[13] = flags & 0x3f;
    put16(p + 14, 4096);
    return 20 + bytes;
}

static void packet(struct machine *m, struct device *d, struct input *in) {
    static const uint8_t ether[12] = {0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56};
    static const uint16_t types[] = {0x0806, 0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x86dd, 0x88f8};
    unsigned kind = (unsigned)take(in, 1) % 8, bytes = (unsigned)take(in, 1) % 64, len = bytes;
    uint8_t *frame = next_buffer(m) + 12, *p = frame + 14;
    bool v6 = kind >= 4;
    uint8_t *transport = p + (v6 ? 40 : 20);
    memset(frame, 0, 256);
    memcpy(frame, ether, 12);
    put16(frame + 12, types[kind]);
    if (kind == 0 || kind == 7) {
        put32(p, 0x00010800), put16(p + 4, 0x0604), put16(p + 6, 1 + (bytes & 1));
        memcpy(p + 8, ether + 6, 6);
        put32(p + 14, 0x0a00020f), put32(p + 24, 0x0a000202 + (bytes >> 4));
        len = 28;
    } else {
        unsigned protocol = kind == 1 || kind == 4 ? 17 : kind == 2 || kind == 5 ? 6 : v6 ? 58 : 1;
        unsigned header = protocol == 17 ? 8 : protocol == 6 ? 20 : 0;
        for (unsigned i = 0; i < bytes; i++)
            transport[header + i] = (uint8_t)take(in, 1);
        len = header ? fill_ports(transport, in, protocol == 6, bytes) : bytes;
        unsigned all = v6 ? fill_ipv6(p, protocol, len, in) : fill_ipv4(p, protocol, len, in);
        unsigned at = protocol == 17 ? 6 : protocol == 6 ? 16 : 2;
        if (len >= at + 2) {
            put16(transport + at, 0);
            uint32_t pseudo = v6 ? sum(p + 8, 32, protocol + len) : protocol == 1 ? 0 : sum(p + 12, 8, protocol + len);
            put16(transport + at, fold(sum(transport, len, pseudo)));
        }
        len = all;
    }
    send_buffer(m, d, 12 + 14 + len);
}

static void act(struct machine *m, struct device *d, struct input *in) {
    unsigned action = (unsigned)take(in, 1) % (COMMON_ACTIONS + 8);
    if (common_act(m, d, action, in))
        return;
    switch (action - COMMON_ACTIONS) {
    case 0: peer_acts(in); break;
    case 1: clock_ahead += take(in, 2) << 22; break; /* up to 275 s */
    case 2: bring_up(m, d); break;
    default: packet(m, d, in);
    }
}

/* libslirp 4.7 keeps a buffer of a packet that it could not pass on, one for each instance however many there were, and
 * its slirp_cleanup() forgets it. It allocates with GLib, which nothing of ours does: leaks of ours are still found. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libglib-2.0\nleak:libslirp\n"; }

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    struct rlimit limit = {MOST_FILES, MOST_FILES};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct machine m;
    struct input in = {data, data + size};
    char err[256];
    if (size < 1 || size > MAX_INPUT)
        return 0;
    world_start(&m);
    peers = 0;
    connects = 0;
    clock_ahead = 0;
    memset(last, 0, sizeof(last));
    struct device *d = virtio_net_create(&m, 0x0a000000, 16, 0, err);
    if (!d)
        abort();
    bring_up(&m, d);
    while (in.at < in.end) {
        act(&m, d, &in);
        run_events(&m, d, run_network);
        take_frames(&m);
    }
    d->ops->destroy(d);
    network_end();
    while (peers)
        close(peer[--peers]);
    world_end(&m);
    return 0;
}
