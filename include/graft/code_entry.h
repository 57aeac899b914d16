/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * code_entry.h: a translated block on its own, as the cache on disk has it: no pointers, and all that the place and the
 * guest's pc of a copy change can be found. The engine makes entries and copies blocks from them (dbt/reuse.c); the
 * monitor keeps them in files (hypervisor/code_cache.c) and looks at their first fields only.
 *
 * An entry's bytes may be anything: code_entry_parse() says whether they are an entry. Its host code is code all the
 * same, and trusted as a program is.
 */
#ifndef GRAFT_CODE_ENTRY_H
#define GRAFT_CODE_ENTRY_H

#include "graft/codegen.h"
#include "graft/hash.h"

#define CODE_ENTRY_ALIGN 16
#define CODE_ENTRY_CODE_MAX (64 * 1024) /* bytes of host code; blocks with more cannot be moved anyway */
#define CODE_ENTRY_GUEST_MAX PAGE_SIZE  /* bytes of guest code */

/* Behind it, in this order: host code and its records (each to a multiple of 8), links, faults, moves, guest code;
 * zeros up to `bytes`. */
struct code_entry {
    uint64_t sum;                  /* code_entry_sum() of all that is behind it */
    uint64_t id;                   /* a hash of what it is for: equal ones are for the same */
    uint32_t key;                  /* code_entry_key(), by which it is looked up */
    uint32_t bytes;                /* in all: a multiple of CODE_ENTRY_ALIGN */
    uint64_t engine;               /* reuse.c: what an engine has to have in common to use it */
    uint64_t pc;                   /* that the host code is for */
    int64_t anchor;                /* from where the code area was to the engine's own code */
    uint32_t mode;                 /* guest_ops.mode */
    uint32_t start;                /* the host code's place in the code area ... */
    uint32_t code;                 /* ... and its bytes */
    uint32_t entry, nocheck;       /* code_out.entry, entry_nocheck, from the host code's start */
    uint16_t guest, before, watch; /* bytes: of the block; looked at before pc, and from pc on */
    uint16_t links, faults, moves;
    uint32_t records;  /* bytes */
    uint16_t bound;    /* 1: the host code is for this pc alone */
    uint16_t may_loop; /* code_out.may_loop; entries are never compiled as loops */
};
_Static_assert(sizeof(struct code_entry) == 88, "no holes");

struct code_entry_link {
    int64_t target; /* from pc */
    uint32_t site, stub;
};

/* The parts of an entry. */
struct code_parts {
    const uint8_t *code, *records;
    const struct code_entry_link *link;
    const struct code_fault *fault;
    const uint16_t *move; /* as code_out.move */
    const uint8_t *guest; /* from `before` bytes before pc */
};

/* What the monitor looks entries up by when it makes a table of them, and the engine when it wants one: open
 * addressing, `at` times CODE_ENTRY_ALIGN is where the entry is, with bit 31 set in slots that are taken. */
struct code_slot {
    uint32_t key, at;
};
#define CODE_SLOT_USED (1u << 31)

/* code_entry_bytes(): of an entry with these numbers. */
static inline uint64_t code_entry_bytes(const struct code_entry *x) {
    uint64_t n = sizeof(*x) + ALIGN_UP((uint64_t)x->code, 8) + ALIGN_UP((uint64_t)x->records, 8) +
                 x->links * sizeof(struct code_entry_link) + x->faults * sizeof(struct code_fault) +
                 x->moves * sizeof(uint16_t) + x->before + x->watch;
    return ALIGN_UP(n, CODE_ENTRY_ALIGN);
}
/* code_entry_parts(): where they are, if code_entry_bytes() is right. */
struct code_parts code_entry_parts(const struct code_entry *x);
/* code_entry_parse(): is this an entry, in at most room bytes, in which nothing leads out of it? Checksum included. */
bool code_entry_parse(const struct code_entry *x, uint64_t room, struct code_parts *parts);
uint64_t code_entry_sum(const struct code_entry *x);

/* code_entry_key(): of a block that looked at watch bytes of guest code, which begin with those at guest. Short blocks
 * and others are looked up apart, so that most are told from each other by two instructions. */
#define CODE_KEY_LONG 8
static inline uint32_t code_entry_key(uint64_t engine, uint32_t mode, uint64_t pc, const uint8_t *guest, bool is_long) {
    uint64_t first = 0;
    if (is_long)
        __builtin_memcpy(&first, guest, CODE_KEY_LONG);
    else
        __builtin_memcpy(&first, guest, 2);
    const uint64_t prime = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t h = (first ^ engine) * prime;
    h = (h ^ h >> 32 ^ (pc & PAGE_MASK) << 32 ^ mode ^ (uint64_t)is_long << 31) * prime;
    return (uint32_t)(h >> 32);
}

#endif
