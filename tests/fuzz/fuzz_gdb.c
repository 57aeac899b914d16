/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_gdb.c: a client of --gdb that sends anything, to a machine that stops when it is told to, whose vCPUs answer
 * every order.
 */
#include "hypervisor/gdb.h"
#include "graft/guest.h"
#include "hypervisor/gdb_packet.h"
#include "hypervisor/stream.h"
#include "tests/fuzz/held_machine.h"
#include "tests/fuzz/input.h"

#include <stdlib.h>

#define RAM_BYTES 8192u
static uint8_t *ram;
const void *guest_ram(struct machine *m, uint64_t gpa, uint64_t len) {
    return gpa <= RAM_BYTES && len <= RAM_BYTES - gpa ? ram + gpa : NULL;
}
void *guest_ram_write_begin(struct machine *m, uint64_t gpa, uint64_t len) {
    return (void *)(uintptr_t)guest_ram(m, gpa, len);
}
void guest_ram_write_end(struct machine *m, uint64_t gpa, uint64_t len) {}

static const struct guest_feature features[] = {{"core", "<x/>"}};
static const struct guest_reg regs[] = {
    {"a", "int", 64, 0}, {"pc", "code_ptr", 64, 0}, {"f", "int", 32, 0}, {"v", "uint128", 128, 0}};
static const struct guest_debug debug = {.architecture = "none",
                                         .features = features,
                                         .feature_count = 1,
                                         .regs = regs,
                                         .reg_count = 4,
                                         .general = 3,
                                         .pc = 1};
static const struct guest_ops guest = {.name = "none", .debug = &debug};
const struct guest_ops *const guest_table[] = {&guest};
const unsigned guest_count = 1;

/* --- the machine ------------------------------------------------------------------------------ */
void pause_go(struct machine *m, uint32_t run, uint32_t step) {
    if (!is_held || m->shared->debug.breakpoints > ABI_BREAKPOINTS || m->shared->debug.watchpoints > ABI_WATCHPOINTS)
        abort();
    is_held = false;
}
enum abi_held pause_why(struct machine *m, unsigned vcpu, uint64_t *va, uint64_t *number) {
    *va = *number = vcpu;
    return (enum abi_held)(vcpu + 2);
}
bool pause_ask(struct machine *m, unsigned vcpu, enum abi_order order, uint64_t what, uint64_t value[2]) {
    if (!is_held || vcpu >= m->vcpu_count || (order != ABI_ORDER_TRANSLATE && what >= debug.reg_count))
        abort();
    value[0] = what ^ 0x1000;
    return what % 3;
}
void supervise_stop(int signal) {}
char *command_run(struct machine *m, unsigned vcpu, const char *line) { return strdup(line); }

/* --- the client ------------------------------------------------------------------------------- */
static const struct stream_ops *client;
struct stream *stream_open(const char *option, const char *spec, const struct stream_ops *ops, void *arg,
                           char err[ERR_BYTES]) {
    client = ops;
    return (struct stream *)&m;
}
bool stream_attach(struct stream *s, struct machine *m) { return true; }
void stream_close(struct stream *s) {}
/* Each byte that is sent is looked at. */
void stream_write(struct stream *s, const void *data, size_t len) {
    static volatile uint8_t sum;
    for (const uint8_t *p = data; len; len--)
        sum = (uint8_t)(sum + *p++);
}

/* A packet with the right sum around what comes up to a newline, so that packets get through; other bytes as they
 * are. */
static void send(struct input *in) {
    static char text[512], frame[2 * sizeof(text) + 4];
    size_t len = 0;
    if (take(in, 1) & 1) {
        uint8_t byte = (uint8_t)take(in, 1);
        client->data(NULL, &byte, 1);
        return;
    }
    for (uint8_t c; len < sizeof(text) && in->at < in->end && (c = (uint8_t)take(in, 1)) != '\n';)
        text[len++] = (char)c;
    client->data(NULL, (uint8_t *)frame, gdb_frame(frame, text, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct abi_boot boot;
    static struct abi_shared shared;
    char err[ERR_BYTES];
    struct input in = {data, data + size};
    if (!ram && !(ram = malloc(RAM_BYTES)))
        abort();
    m = (struct machine){.boot = &boot, .shared = &shared, .vcpu_count = 1 + (unsigned)take(&in, 1) % ABI_MAX_VCPUS};
    struct options o = {.gdb = "unix:x"};
    is_held = false;
    if (!gdb_open(&o, err) || !gdb_attach(&m))
        abort();
    client->opened(NULL);
    while (in.at < in.end) {
        send(&in);
        if (is_held)
            listener(&m, true, NULL);
        else if (!(take(&in, 1) & 3)) { /* something has stopped */
            is_held = true;
            listener(&m, true, NULL);
        }
    }
    gdb_attach(NULL);
    gdb_ended(0);
    return 0;
}
