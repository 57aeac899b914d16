/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_vsock.c: the socket device with the host's ends of its connections (devices/vsock.c) behind it, in one process:
 * a hostile driver whose packets make, use and end connections out of turn, with wrong lengths and credit; programs of
 * the host that connect, greet, send, read or not, and hang up; resets in the middle, and time. A connection leads to a
 * socket pair whose other end the fuzzer has.
 */
#include "devices/vsock.h"
#include "tests/fuzz/device_world.h"
#include "tests/fuzz/good_driver.h"

#include <sys/resource.h>
#include <sys/socket.h>

#define CID 3
#define MOST_FILES 80 /* so that connections run out */
#define PEERS 40
#define HEADER sizeof(struct vsock_header)

/* --- the host --------------------------------------------------------------------------------- */
static int peer[PEERS], peers, coming; /* coming: connections that the host makes */
static unsigned connects;

static bool make_pair(int pair[2]) {
    return peers < PEERS && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len) {
    static const int why[] = {ECONNREFUSED, EAGAIN, ENOENT, EAGAIN};
    int pair[2];
    if (connects++ % 5 == 4 || !make_pair(pair)) {
        errno = why[connects & 3];
        return -1;
    }
    dup2(pair[0], fd);
    close(pair[0]);
    peer[peers++] = pair[1];
    return 0;
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags) {
    int pair[2];
    if (!coming || !make_pair(pair)) {
        coming = 0;
        errno = EAGAIN;
        return -1;
    }
    coming--;
    peer[peers++] = pair[1];
    return pair[0];
}

static void peer_acts(struct input *in) {
    static const char *const lines[] = {"CONNECT 7\n", "CONNECT 7\nmore", "CONN", "ECT 4294967295\n",
                                        "\n",          "CONNECT x\n"};
    static uint8_t data[70000];
    uint64_t what = take(in, 3);
    if (!peers)
        return;
    unsigned i = (unsigned)(what >> 3) % (unsigned)peers;
    const char *line = lines[(what >> 12) % ARRAY_LEN(lines)];
    switch (what & 7) {
    case 0:
        close(peer[i]);
        peer[i] = peer[--peers];
        return;
    case 1: shutdown(peer[i], what & BIT(12) ? SHUT_WR : SHUT_RD); return;
    case 2:
    case 3: (void)!send(peer[i], line, strlen(line), MSG_NOSIGNAL); return;
    case 4:
    case 5: (void)!recv(peer[i], data, what >> 8, 0); return;
    default: (void)!send(peer[i], data, what >> 8, MSG_NOSIGNAL);
    }
}

/* --- what is another process elsewhere -------------------------------------------------------- */
static struct vsock *vsock;
static int channel[2];

static bool to_guest(void *arg, const void *packet, size_t len) { return write(channel[1], packet, len) >= 0; }

static void run_vsock(void) {
    static uint8_t packet[HEADER + VSOCK_DATA];
    uint32_t life;
    ssize_t len;
    while (vsock_takes_input(vsock) && (len = read(channel[1], packet, sizeof(packet))) > 0)
        if (len == sizeof(life)) {
            memcpy(&life, packet, sizeof(life));
            vsock_reset(vsock, life);
        } else {
            uint8_t *exact = malloc((size_t)len);
            memcpy(exact, packet, (size_t)len);
            vsock_input(vsock, exact, (size_t)len);
            free(exact);
        }
    vsock_serve(vsock);
    if (vsock_patience(vsock) < -1)
        abort();
}

/* --- the guest -------------------------------------------------------------------------------- */
static struct vsock_header last; /* what came last */

static void take_packets(struct machine *m, bool keep) {
    uint16_t used;
    memcpy(&used, m->ram + RX_RING + 0x202, 2);
    for (unsigned n = 0; rx_used != used && n < NUM; n++) {
        unsigned i = m->ram[RX_RING + 0x204 + 8 * (rx_used++ % NUM)] % NUM;
        memcpy(&last, m->ram + RX_BUFFER + BUFFER * i, HEADER);
        if (!keep)
            offer(m, RX_RING, &rx_index, i);
    }
}

static void send_packet(struct machine *m, struct device *d, struct input *in, struct vsock_header h) {
    static const uint32_t rooms[] = {0, 1, 1000, 65536, 262144, UINT32_MAX};
    unsigned what = (unsigned)take(in, 2), times = 1 + (unsigned)take(in, 1) % 70;
    h.op = (uint16_t)(what % 9);
    h.len = h.op == VSOCK_RW ? what >> 4 & 1023 : 0;
    h.flags = what >> 4;
    h.room = rooms[(what >> 6) % ARRAY_LEN(rooms)];
    h.taken = what & BIT(10) ? (uint32_t)take(in, 4) : h.taken;
    unsigned len = (unsigned)HEADER + h.len;
    if (what & BIT(15))
        h.len ^= (uint32_t)take(in, 4);
    for (unsigned i = 0; i < times; i++) {
        memcpy(next_buffer(m), &h, HEADER);
        send_buffer(m, d, len);
        run_vsock();
    }
}

static void fresh_packet(struct machine *m, struct device *d, struct input *in) {
    unsigned what = (unsigned)take(in, 2);
    struct vsock_header h = {.from_cid = what & BIT(15) ? 4 : CID,
                             .to_cid = what & BIT(14) ? what & 3 : VSOCK_HOST,
                             .from_port = what & 63,
                             .to_port = what >> 6 & 3,
                             .type = what & BIT(13) ? 2 : VSOCK_STREAM};
    send_packet(m, d, in, h);
}

/* To what the device sent last. */
static void answer(struct machine *m, struct device *d, struct input *in) {
    struct vsock_header h = {.from_cid = last.to_cid,
                             .to_cid = last.from_cid,
                             .from_port = last.to_port,
                             .to_port = last.from_port,
                             .type = last.type};
    send_packet(m, d, in, h);
}

static void act(struct machine *m, struct device *d, struct input *in) {
    unsigned action = (unsigned)take(in, 1) % (COMMON_ACTIONS + 12);
    if (common_act(m, d, action, in))
        return;
    switch (action - COMMON_ACTIONS) {
    case 0: clock_ahead += take(in, 2) << 20; break; /* up to 69 s */
    case 1: bring_up(m, d); break;
    case 2: coming++; break;
    case 3:
    case 4: answer(m, d, in); break;
    case 5:
    case 6: fresh_packet(m, d, in); break;
    default: peer_acts(in);
    }
}

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
    int listener[2]; /* there is always someone to be accepted, it may be said */
    if (size < 1 || size > MAX_INPUT)
        return 0;
    world_start(&m);
    peers = coming = 0;
    connects = 0;
    clock_ahead = 0;
    last = (struct vsock_header){0};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, channel) || pipe(listener) ||
        write(listener[1], "", 1) != 1 || !(vsock = vsock_create(listener[0], "path", CID, to_guest, NULL)))
        abort();
    struct device *d = virtio_vsock_create(&m, 0x0a000000, 16, 0, CID, channel[0], err);
    if (!d)
        abort();
    bring_up(&m, d);
    while (in.at < in.end) {
        act(&m, d, &in);
        run_events(&m, d, run_vsock);
        take_packets(&m, size & 1 && (in.end - in.at) & 64); /* a guest that offers no buffers for a while */
    }
    d->ops->destroy(d);
    vsock_destroy(vsock);
    close(channel[0]);
    close(channel[1]);
    close(listener[0]);
    close(listener[1]);
    while (peers)
        close(peer[--peers]);
    world_end(&m);
    return 0;
}
