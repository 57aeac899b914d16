/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * snapshot.h: a machine in a file.
 *
 *   head      a page: what it is, where the rest lies, checksums. It is written last: a file without it is no snapshot
 *   state     records (state.c): what the machine is made of, and the state of its devices, interrupt controller and
 *             processors
 *   memory    those MiB of RAM in which something is not 0, one behind the other, from a page of the file on; pages
 *             of zeroes are holes
 *
 * Nothing in there says how the engine runs: code, translations and host addresses are made anew, so a snapshot of one
 * kind of host (KVM, process) or strategy is loaded on any other. Records have the names of their fields: whoever has
 * other fields refuses them. A file may hold anything: it is checked before it is used.
 */
#ifndef GRAFT_SNAPSHOT_H
#define GRAFT_SNAPSHOT_H

#include "graft/state.h"
#include "hypervisor/monitor.h"

/* --- state.c: records ------------------------------------------------------------------------- */
/* A growing piece of memory. */
struct state_out {
    uint8_t *data;
    size_t len, room;
    bool failed; /* no memory */
};
struct state_in {
    const uint8_t *at, *end;
};
/* state_save(): an object's fields as its table has them. state_load(): writes them over; false and err (one line) if
 * the records are of another object or table, or a field must not have such a value. Fields before that have been
 * written. */
void state_save(struct state_out *o, const char *object, const struct state_field *table, const void *from);
bool state_load(struct state_in *i, const char *object, const struct state_field *table, void *to, char err[ERR_BYTES]);

/* --- snapshot_file.c: the file ---------------------------------------------------------------- */
#define SNAPSHOT_VERSION 1
#define SNAPSHOT_CHUNK (1u << 20)

/* In the devices' thread. why: what went wrong, in one line; NULL: nothing. */
typedef void snapshot_done(void *arg, const char *why);
struct snapshot_disk {
    char path[1024];                      /* "": too long */
    uint64_t bytes, seconds, nanoseconds; /* of the file, and when it was changed last */
    uint32_t readonly;
};
/* What the machine is made of. */
struct snapshot_config {
    char graft[32], board[16];
    char key[1024];   /* graft exec: what it was made of */
    uint64_t created; /* seconds since 1970 */
    uint64_t memory;
    uint32_t smp, gic, cpu, legacy, semihosting, net, console, drives, shares, vsock, balloon;
    char tag[OPTIONS_MAX_SHARES][40];
    struct snapshot_disk disk[OPTIONS_MAX_DRIVES];
};
struct snapshot_head {
    char magic[8];
    uint32_t version, head_bytes;
    uint64_t state_at, state_bytes, state_sum;
    uint64_t ram_at, ram_sum;
    uint32_t chunks, chunk_bytes;
    uint64_t head_sum; /* of what is before it */
};
struct snapshot {
    int fd;
    struct snapshot_head head;
    uint8_t *state;
    uint32_t *chunk; /* the numbers of those that are in the file, rising */
    struct snapshot_config config;
    struct state_in rest; /* the records behind those of the config */
    snapshot_done *done;  /* it has been loaded. NULL: nobody is told */
    void *arg;
};
/* snapshot_sum(): a checksum that goes on from seed; bytes is a multiple of 8, but for the last piece. */
uint64_t snapshot_sum(uint64_t seed, const void *data, size_t bytes);
/* snapshot_config_table: of struct snapshot_config. snapshot_parse(): the head is in s, which has s->head.state_bytes
 * at s->state; file_bytes: of the whole file. snapshot_check_head(): before that. False and err, a reason without the
 * file's name. */
extern const struct state_field snapshot_config_table[];
bool snapshot_check_head(const struct snapshot_head *h, uint64_t file_bytes, char err[ERR_BYTES]);
bool snapshot_parse(struct snapshot *s, char err[ERR_BYTES]);
/* snapshot_open(): a file that is there. NULL and err if it is none that can be loaded here. snapshot_close(): its
 * memory may still be mapped. */
struct snapshot *snapshot_open(const char *path, char err[ERR_BYTES]);
struct snapshot *snapshot_open_fd(int fd, char err[ERR_BYTES]); /* takes fd over */
void snapshot_close(struct snapshot *s);
/* snapshot_read(): bytes of the file from at on. False: they are not all there. */
bool snapshot_read(const struct snapshot *s, void *to, uint64_t at, size_t bytes);
/* board_named(): as --guest calls it; NULL: there is none. */
const struct board *board_named(const char *name);
/* snapshot_options(): what a run of it needs: memory, processors, disks ... go to o. False and err if o asks for
 * something else. */
bool snapshot_options(struct snapshot *s, struct options *o, char err[ERR_BYTES]);
/* snapshot_main(), in a file of its own: graft snapshot; args: what follows it, NULL at the end. */
int snapshot_main(char **args);

/* --- snapshot.c: a machine -------------------------------------------------------------------- */
/* A file to be saved to, opened before the run may open nothing any more. */
struct snapshot_target {
    const char *path;
    int fd, pages;   /* pages: what of this process' memory there is (/proc/self/pagemap) */
    const char *key; /* goes to the config; NULL: none */
    bool saved;
    bool quit;           /* the run ends then */
    bool quiet;          /* what went wrong nobody wants to know */
    snapshot_done *done; /* NULL: nobody is told */
    void *arg;
};
/* snapshot_target_open(): a new file, nobody else's until something is in it; one of that name is replaced. It can be
 * saved to again, unless a machine runs from it: whoever has opened a snapshot shares a lock (flock()) on it. False and
 * err if that cannot be. */
bool snapshot_target_open(struct snapshot_target *t, const char *path, char err[ERR_BYTES]);
void snapshot_target_close(struct snapshot_target *t);
/* snapshot_save(): a pause_work; arg: struct snapshot_target. */
pause_work snapshot_save;
/* snapshot_map(): the memory of a new machine is the snapshot's. snapshot_load(): a pause_work, before the first
 * instruction: the rest; arg: struct snapshot. */
bool snapshot_map(struct machine *m, struct snapshot *s, char err[ERR_BYTES]);
pause_work snapshot_load;

#endif
