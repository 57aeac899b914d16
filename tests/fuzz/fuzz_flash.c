/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_flash.c: any sequence of accesses to the flash. Its bytes are in a heap block of exactly its size; what is in
 * the file has to be what is in there at the end.
 */
#define _GNU_SOURCE
#include "graft/device.h"
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES DEVICE_ROM_CHUNK
#define BLOCK 0x40000u
#define FILE_BYTES 1000
#define MAX_INPUT 2048

struct machine {
    uint8_t *rom;
};

uint8_t *machine_rom(struct device *d) { return d->machine->rom; }
void machine_rom_map(struct device *d, uint64_t offset) {
    if (offset >= d->size)
        abort();
}
void machine_rom_unmap(struct device *d) {}
void log_printf(const char *fmt, ...) {}
void machine_rom_changed(struct device *d, uint64_t offset, uint64_t len) {
    if (offset > d->size || len > d->size - offset)
        abort();
}

static void act(struct device *d, struct input *in) {
    static const uint8_t commands[16] = {0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xe8, 0xd0, 0xff, 0x01};
    unsigned what = (unsigned)take(in, 1), bytes = 1u << (what >> 1 & 3) % 3;
    uint64_t offset = take(in, 1), value = commands[what >> 4];
    offset = (offset >> 6) * (BLOCK / 2) + ((offset & 63) * 37 & ~(uint64_t)(bytes - 1));
    if (what & 8)
        value = take(in, bytes);
    if (what & 1)
        d->ops->read(d, offset, bytes);
    else
        d->ops->write(d, offset, value, bytes);
}

/* What was read into memory is in the file, too, or behind its end and erased. A chunk that was not read is zero. */
static void check_file(const struct machine *m, int fd, uint8_t flip) {
    static uint8_t file[BYTES], zero[DEVICE_ROM_CHUNK];
    memset(file, flip ^ 0xff, sizeof(file));
    if (pread(fd, file, BYTES, 0) < 0)
        abort();
    for (uint64_t at = 0; at < BYTES; at += DEVICE_ROM_CHUNK) {
        if (!memcmp(m->rom + at, zero, DEVICE_ROM_CHUNK))
            continue;
        for (uint64_t i = 0; flip && i < DEVICE_ROM_CHUNK; i += 8)
            *(uint64_t *)(file + at + i) ^= UINT64_MAX;
        if (memcmp(m->rom + at, file + at, DEVICE_ROM_CHUNK))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static uint8_t *rom;
    if (size < 1 || size > MAX_INPUT)
        return 0;
    if (fd < 0 && ((fd = memfd_create("flash", 0)) < 0 || !(rom = malloc(BYTES))))
        abort();
    uint8_t flip = data[0] & 1 ? 0xff : 0;
    if (ftruncate(fd, 0) || ftruncate(fd, flip ? BYTES : FILE_BYTES))
        abort();
    memset(rom, 0, BYTES);
    struct machine m = {.rom = rom};
    struct input in = {data + 1, data + size};
    struct device *d = cfi_flash_create(&m, 0, BYTES, fd, flip, data[0] & 2);
    if (!d)
        abort();
    while (in.at < in.end)
        act(d, &in);
    d->ops->destroy(d);
    check_file(&m, fd, flip);
    return 0;
}
