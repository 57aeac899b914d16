/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fuzz_control.c: a client of --control that sends anything. */
#include "hypervisor/control.h"
#include "hypervisor/gdb.h"
#include "hypervisor/stream.h"
#include "tests/fuzz/held_machine.h"

#include <stdlib.h>
#include <string.h>

static void (*saved)(void *arg, const char *why);
bool pause_is_wanted(struct machine *m) { return is_held; }
void supervise_stop(int signal) {}
void machine_stop(struct machine *m, enum machine_state state) {}
void pl061_press(struct device *d) {}
struct disk_counts virtio_blk_counts(const struct device *d) { return (struct disk_counts){0}; }
void virtio_balloon_ask(struct device *d, uint64_t bytes) {}
uint64_t virtio_balloon_bytes(const struct device *d) { return 0; }
const char *disks_format(unsigned n) { return "raw"; }
char *command_run(struct machine *m, unsigned vcpu, const char *line) {
    if (vcpu >= m->vcpu_count)
        abort();
    return strdup(line);
}

bool save_began_at(const struct machine *m, const char *name) { return *name == 'f'; }
bool save_is_at(const struct machine *m, const char *name) { return *name == 'f'; }
bool save_ask(struct machine *m, void (*done)(void *arg, const char *why), void *arg, char err[ERR_BYTES]) {
    saved = done;
    return true;
}
bool save_go_back(struct machine *m, void (*done)(void *arg, const char *why), void *arg, char err[ERR_BYTES]) {
    return save_ask(m, done, arg, err);
}

static const struct stream_ops *client;
struct stream *stream_open(const char *option, const char *spec, const struct stream_ops *ops, void *arg,
                           char err[ERR_BYTES]) {
    client = ops;
    return (struct stream *)&m;
}
bool stream_attach(struct stream *s, struct machine *m) { return true; }
void stream_close(struct stream *s) {}
/* What is sent has to be text. */
void stream_write(struct stream *s, const void *data, size_t len) {
    if (memchr(data, 0, len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct board board = {.target = "none"};
    static const char hello[] = "{\"execute\":\"qmp_capabilities\"}";
    char err[ERR_BYTES], path[] = "disk";
    struct options o = {.control = "unix:x", .drives = 1, .drive[0].path = path};
    m = (struct machine){.options = &o, .board = &board, .vcpu_count = 2};
    is_held = false;
    saved = NULL;
    if (!control_open(&o, err) || !control_attach(&m))
        abort();
    client->opened(NULL);
    if (size && data[0] & 1)
        client->data(NULL, (const uint8_t *)hello, sizeof(hello) - 1);
    for (size_t at = 0, n; at < size; at += n) {
        n = size - at < 64 ? size - at : 64;
        client->data(NULL, data + at, n);
        listener(&m, is_held, NULL);
        if (saved && data[0] & 2)
            saved(NULL, data[0] & 4 ? "no room" : NULL);
    }
    control_attach(NULL);
    control_ended(MACHINE_POWEROFF);
    return 0;
}
