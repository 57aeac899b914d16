/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* symbols.h: the guest's functions by name (--symbols). Needs nothing else of the monitor. */
#ifndef GRAFT_SYMBOLS_H
#define GRAFT_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbol {
    uint64_t address;
    char *name;
};
struct symbols {
    struct symbol *at; /* in ascending order */
    size_t count;
};

/* symbols_parse(): the functions that a file names: an ELF64 file of little endian with a symbol table (System V gABI,
 * chapter 4), or text as nm, System.map and /proc/kallsyms have it. The file's len bytes may be changed; none of them
 * is needed later. NULL, or what is wrong with it. symbols_find(): the function that a guest virtual address is in: the
 * one that begins last at or before it, if the next one begins behind the address, or that is the last and begins less
 * than SYMBOLS_LAST bytes before. NULL: none is known. */
#define SYMBOLS_LAST 4096
const char *symbols_parse(struct symbols *s, uint8_t *data, size_t len);
void symbols_free(struct symbols *s);
const struct symbol *symbols_find(const struct symbols *s, uint64_t va);

#endif
