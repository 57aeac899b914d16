/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_snapshot.c: files that say they are a machine. The input is what is changed in one that is right: a head as it
 * is, and then pairs of a place in the records and a byte. Checksums are made right again: whoever makes a file can do
 * that, too.
 */
#include "hypervisor/snapshot.h"

#include <stdlib.h>
#include <string.h>

#define CHUNKS 3
struct thing {
    uint8_t bytes[8];
    bool flag[2];
    uint32_t small;
    uint64_t same;
};
static const struct state_field table[] = {STATE(struct thing, bytes), STATE_BOOL(struct thing, flag),
                                           STATE_MAX(struct thing, small, 4, 3), STATE_SAME(struct thing, same),
                                           STATE_END};

static void make_state(struct state_out *out) {
    static struct snapshot_config c = {
        .graft = "1", .board = "arm64", .memory = 64 << 20, .smp = 1, .gic = 3, .disk[0].path = "disk"};
    const uint32_t chunk[CHUNKS] = {0, 5, 63};
    const struct state_field chunks[] = {{"chunks", 0, sizeof(chunk), STATE_KIND_SAVED, 0, 0}, STATE_END};
    struct thing thing = {.small = 3, .same = 7};
    state_save(out, "config", snapshot_config_table, &c);
    state_save(out, "memory", chunks, chunk);
    state_save(out, "thing", table, &thing);
}

static void look(struct snapshot *s) {
    char err[ERR_BYTES];
    struct thing thing = {.same = 7};
    struct options o = {.memory = 1 << 20};
    if (!snapshot_parse(s, err))
        return;
    if (s->config.memory % SNAPSHOT_CHUNK || !s->config.smp || s->config.smp > ABI_MAX_VCPUS || s->config.drives > 16)
        abort();
    for (uint32_t i = 0; i < s->head.chunks; i++)
        if (s->chunk[i] >= s->config.memory / SNAPSHOT_CHUNK)
            abort();
    if (state_load(&s->rest, "thing", table, &thing, err) && (thing.small > 3 || *(uint8_t *)thing.flag > 1))
        abort();
    snapshot_options(s, &o, err);
    for (unsigned i = 0; i < o.drives; i++)
        free(o.drive[i].path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct snapshot s = {.fd = -1, .head.chunks = CHUNKS};
    struct snapshot_head head;
    struct state_out out = {0};
    char err[ERR_BYTES];
    if (size >= sizeof(head)) {
        memcpy(&head, data, sizeof(head));
        head.head_sum = snapshot_sum(0, &head, offsetof(struct snapshot_head, head_sum));
        if (snapshot_check_head(&head, 1 << 20, err) && head.state_at + head.state_bytes > 1 << 20)
            abort();
    }
    make_state(&out);
    if (out.failed)
        abort();
    size_t len = out.len;
    for (; size >= 4; data += 4, size -= 4) {
        size_t at = (size_t)(data[0] | data[1] << 8 | data[2] << 16) % out.len;
        out.data[at] = data[3];
        if (data[2] & 0x80)
            len = at; /* cut off */
    }
    s.state = out.data;
    s.head.state_bytes = len;
    s.head.state_sum = snapshot_sum(0, s.state, len);
    look(&s);
    free(s.chunk);
    free(out.data);
    return 0;
}
