/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* loader.h: guest programs into guest RAM. Works on buffers alone; every file may be hostile. */
#ifndef GRAFT_LOADER_H
#define GRAFT_LOADER_H

#include "graft/base.h"

#define LOADER_ERR_BYTES 256

/* Where to load to, and what became of it (guest-physical addresses). */
struct loader_target {
    /* in */
    uint8_t *ram;
    uint64_t ram_gpa, ram_size;
    /* out */
    uint64_t entry;
    uint64_t low, high; /* the range that the program occupies, its zeroed part included */
    bool linux_boot;    /* a Linux Image or a flat binary: entered by the Linux boot protocol */
    const char *format; /* "Image", "gzip Image", "ELF" ... */
};

/* loader_load(): 0, or -1 and err (one line). Knows Image, gzip, zboot (gzip, zstd, xz), ELF64; all else is flat. */
int loader_load(const uint8_t *file, size_t len, struct loader_target *t, char err[LOADER_ERR_BYTES]);

/* loader_place(): where the initial RAM disk and the device tree go, as on QEMU's virt. */
struct loader_place {
    uint64_t initrd, initrd_size; /* size: in */
    uint64_t dtb, dtb_size;
};
int loader_place(const struct loader_target *t, struct loader_place *p, char err[LOADER_ERR_BYTES]);

/* loader_decompress(): kind is "gzip", "zstd" or "xz"; *out is malloc'ed, of at most max bytes. */
int loader_decompress(const char *kind, const uint8_t *in, size_t len, uint64_t max, uint8_t **out, size_t *out_len,
                      char err[LOADER_ERR_BYTES]);

#endif
