/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* loader.h: guest programs into guest RAM. Every file may be hostile, and change while it is read. */
#ifndef GRAFT_LOADER_H
#define GRAFT_LOADER_H

#include "graft/board.h"

#define LOADER_ERR_BYTES 256

/* How much of a file tells what it is. */
#define LOADER_HEAD (128u << 10)
enum loader_use {
    LOADER_NO_USE,
    LOADER_DISK,      /* what a raw disk image starts with */
    LOADER_DISK_FILE, /* a disk in a format of its own: no raw image */
    LOADER_INITRD,
    LOADER_DTB,
};
struct loader_kind {
    const char *what; /* "a qcow2 disk" */
    enum loader_use use;
};
/* loader_kind(): NULL: something else, maybe a kernel. */
const struct loader_kind *loader_kind(const uint8_t *file, size_t len);
/* loader_machine(): "x86-64", from an ELF file's e_machine; NULL if it has no name here. */
const char *loader_machine(unsigned machine);
/* loader_packing(): how a file is packed, a kind for loader_decompress(); NULL if it is not. */
const char *loader_packing(const uint8_t *file, size_t len);

/* What is loaded: bytes in memory, or those of an open file. loader_fetch(): copies [at, at+len) of it; false if it
 * does not have them, or has them no more. */
struct loader_file {
    const uint8_t *data; /* NULL: of fd */
    int fd;
    uint64_t len;
};
bool loader_fetch(const struct loader_file *f, uint64_t at, void *to, uint64_t len);

/* Where to load to, and what became of it (guest-physical addresses). */
struct loader_target {
    /* in */
    uint8_t *ram;
    uint64_t ram_size;
    const struct board *board; /* that it is for */
    bool flat;                 /* the file is a flat binary, whatever it looks like */
    bool above_firmware;       /* that is where a flat binary goes */
    /* out */
    uint64_t entry;
    uint64_t low, high;  /* the range that the program occupies, its zeroed part included */
    bool linux_boot;     /* a Linux Image or a flat binary: entered by the Linux boot protocol */
    enum loader_use use; /* of what was refused */
};

/* loader_is_kernel(): does loader_load() know what starts so? loader_refuse(): -1 and err, and what it may be good
 * for. */
bool loader_is_kernel(const uint8_t *head, size_t len);
int loader_refuse(const uint8_t *head, size_t len, enum loader_use *use, char err[LOADER_ERR_BYTES]);
/* loader_board(): the board that a program is for, NULL if it does not tell. It may be packed. */
const struct board *loader_board(const uint8_t *file, size_t len);
/* loader_load(): 0, or -1 and err (one line). Knows Image and ELF64, plain or packed, and zboot. */
int loader_load(const struct loader_file *f, struct loader_target *t, char err[LOADER_ERR_BYTES]);
/* loader_unpacks(): does loader_load() need all of a file that starts so at once, to unpack what is in it? */
bool loader_unpacks(const uint8_t *head, size_t len);

/* loader_place(): where the initial RAM disk and the device tree go, as on QEMU's virt. */
struct loader_place {
    uint64_t initrd, initrd_size; /* size: in */
    uint64_t dtb, dtb_size;
};
int loader_place(const struct loader_target *t, struct loader_place *p, char err[LOADER_ERR_BYTES]);

/* loader_decompress(): kind is "gzip", "zstd", "xz", "lzma", "lz4" or "bzip2", or what zboot calls it; *out is
 * malloc'ed, of at most max bytes. Files one behind the other, as parallel packers write them, are one; what is behind
 * them is ignored. */
int loader_decompress(const char *kind, const uint8_t *in, size_t len, uint64_t max, uint8_t **out, size_t *out_len,
                      char err[LOADER_ERR_BYTES]);

/* loader_peek(): the first max bytes, or as many as there are, of what is packed; *out is malloc'ed, NULL if there are
 * none. */
size_t loader_peek(const char *kind, const uint8_t *in, size_t len, uint64_t max, uint8_t **out);

#endif
