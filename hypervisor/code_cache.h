/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * code_cache.h: translated code that outlives a run (--cache DIR). Each run adds a file with what it had to translate,
 * and finds what the files of earlier ones have (docs/internals.md). A file is of one build of Graft, one kind of
 * machine and one kind of host (its key), and is none before its head is written, last of all.
 */
#ifndef GRAFT_CODE_CACHE_H
#define GRAFT_CODE_CACHE_H

#include "graft/code_entry.h"
#include "hypervisor/monitor.h"

#define CODE_CACHE_VERSION 1
#define CODE_CACHE_FILES 8         /* of one key are used; as soon as there are so many, a run makes one of them */
#define CODE_CACHE_HEAD_BYTES 4096 /* where entries begin */

struct code_cache_head {
    char magic[8];
    uint32_t version, count;           /* of entries */
    uint64_t key[2];                   /* what the code is good for */
    uint64_t id, created;              /* id: any number; created: ns since 1970 */
    uint64_t bytes;                    /* of what is between head and index: entries, and perhaps gaps */
    uint64_t merged[CODE_CACHE_FILES]; /* id of files whose entries are in here, too; 0: none */
    uint64_t index_sum;                /* hash_bytes() of the index */
    uint64_t sum;                      /* hash_bytes() of all before it */
};
/* The index, behind the entries. */
struct code_cache_index {
    uint32_t key, at; /* code_entry.key; place behind the head, in units of CODE_ENTRY_ALIGN */
    uint64_t id;      /* code_entry.id */
};

/* code_cache_head_is_right(): of a file with so many bytes, and that key. code_cache_index_is_right(): the index that
 * belongs to it. */
bool code_cache_head_is_right(const struct code_cache_head *h, const uint64_t key[2], uint64_t file_bytes);
bool code_cache_index_is_right(const struct code_cache_head *h, const struct code_cache_index *index);
/* code_cache_table(): enters the entries of a file, which begin at the offset `at` of all, in an open hash table. What
 * is there comes first. */
void code_cache_table(struct code_slot *table, uint64_t mask, const struct code_cache_head *h,
                      const struct code_cache_index *index, uint64_t at);

/* code_cache_open(): before the sandbox. If the folder is not to be trusted, or cannot be used, the log says so, and
 * there is no cache. */
void code_cache_open(const struct options *o, const struct machine_place *place);
/* code_cache_bytes(): how much memory it takes in the arena of that machine. code_cache_load(): fills it, and says so
 * in abi_boot. */
uint64_t code_cache_bytes(const struct machine *m);
void code_cache_load(struct machine *m);
/* code_cache_add(): ABI_CALL_REUSE. code_cache_end(): the machine's vCPUs have ended: what was added becomes a file. */
void code_cache_add(struct machine *m, struct abi_vcpu *abi);
void code_cache_end(struct machine *m);

#endif
