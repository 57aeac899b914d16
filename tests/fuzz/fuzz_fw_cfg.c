/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_fw_cfg.c: hostile firmware against fw_cfg and its DMA. The input is a program: a byte that picks an action, then
 * its operands. Guest RAM is in a heap block of exactly its size, so that ASan sees a step outside it; what DMA reports
 * is checked.
 */
#include "graft/device.h"
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#define RAM_BYTES 8192u
#define MAX_INPUT 4096

struct machine {
    uint8_t *ram;
};

#include "tests/fuzz/guest_ram.h"

static void access(struct device *d, struct input *in) {
    unsigned bytes = 1u << take(in, 1) % 4;
    uint64_t offset = (take(in, 1) % d->size) & ~(uint64_t)(bytes - 1), value = take(in, 8);
    bool write = take(in, 1) & 1;
    if (offset + bytes > d->size || !d->ops->accepts(d, offset, bytes, write))
        return;
    if (write)
        d->ops->write(d, offset, value, bytes);
    else
        d->ops->read(d, offset, bytes);
}

/* A whole operation. Its control word ends as 0 or as the error bit, if the operation itself was in RAM. */
static void dma(struct machine *m, struct device *d, struct input *in) {
    uint64_t at = RAM_GPA + take(in, 2), address = RAM_GPA + take(in, 2) - 16 * (take(in, 1) & 1);
    uint32_t control = __builtin_bswap32((uint32_t)take(in, 4)),
             len = __builtin_bswap32((uint32_t)take(in, take(in, 1) % 5));
    uint8_t *p = guest_ram_write_begin(m, at, 16);
    if (p) {
        address = __builtin_bswap64(address);
        memcpy(p, &control, 4);
        memcpy(p + 4, &len, 4);
        memcpy(p + 8, &address, 8);
    }
    d->ops->write(d, 16, __builtin_bswap64(at), 8);
    /* What was read may have been written over the control word itself. */
    uint64_t target = __builtin_bswap64(address), bytes = __builtin_bswap32(len);
    if (p && (target > at + 4 || target + bytes <= at)) {
        memcpy(&control, p, 4);
        if (control && control != __builtin_bswap32(1))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > MAX_INPUT)
        return 0;
    struct machine m = {.ram = calloc(1, RAM_BYTES)};
    struct input in = {data, data + size};
    struct device *d = fw_cfg_create(&m, 0x09020000);
    char name[8] = "f0";
    if (!m.ram || !d)
        abort();
    while (in.at < in.end) {
        switch (take(&in, 1) % 4) {
        case 0: access(d, &in); break;
        case 1: {
            size_t len = take(&in, 1);
            name[1] = (char)('0' + take(&in, 1) % 80);
            fw_cfg_add_file(d, name, calloc(1, len + 1), len);
            break;
        }
        default: dma(&m, d, &in);
        }
    }
    d->ops->destroy(d);
    free(m.ram);
    return 0;
}
