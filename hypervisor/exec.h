/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* exec.h: graft exec: one command in a guest, as if it ran here. */
#ifndef GRAFT_EXEC_H
#define GRAFT_EXEC_H

#include "hypervisor/snapshot.h"

/* What the agent is told before the command starts, as frames (graft/agent.h). */
struct frames {
    uint8_t *data;
    size_t len, room;
    size_t last; /* where the last one begins */
    bool failed; /* no memory */
};
void frames_add(struct frames *f, uint32_t type, const void *data, size_t len);
void frames_begin(struct frames *f, uint32_t type); /* a frame whose parts are put one by one */
void frames_put(struct frames *f, const void *data, size_t len);
void frames_number(struct frames *f, uint32_t n);
void frames_copy(struct frames *f, const struct frames *from); /* all of them behind what there is */
void frames_text(struct frames *f, const char *text);          /* with its NUL */

/* --- exec_plan.c: what is needed for a command ------------------------------------------------ */
struct exec_plan {
    const struct board *guest;
    char *root; /* folder or image */
    bool image;
    char *kernel, *modules; /* modules: folder with modules.dep; NULL: none */
    char *append;
    struct frames setup; /* up to AGENT_START, which the relay adds */
};
/* exec_plan(): from the options, which it completes: what `graft run` would be given. False and err if something is
 * missing or does not fit. */
bool exec_plan(struct exec_plan *p, struct options *o, char err[ERR_BYTES]);
void exec_plan_free(struct exec_plan *p);
/* exec_cache(): a file in Graft's folder in the user's cache, malloc'ed; NULL: there is no such folder. */
char *exec_cache(const char *below);

/* --- exec_snapshot.c: guests that have booted ------------------------------------------------- */
struct exec_kept {
    char key[1024];
    char *path;                /* NULL: none is kept for such runs */
    struct snapshot *snapshot; /* where this run begins; NULL: it boots */
    bool save;                 /* to target, when the agent has said hello */
    struct snapshot_target target;
};
/* exec_kept_open(): looks for one, and makes a file for one if there is none. What does not work just means that the
 * guest is booted. */
void exec_kept_open(struct exec_kept *k, const struct exec_plan *p, struct options *o);
void exec_kept_close(struct exec_kept *k);

/* --- exec_initrd.c: the initial RAM disk ------------------------------------------------------ */
/* exec_initrd(): agent and modules, in the order to load them in. f->data is malloc'ed. */
bool exec_initrd(struct file *f, const struct exec_plan *p, char err[ERR_BYTES]);

/* --- exec.c: between the agent and the command's user here ------------------------------------ */
struct exec;
/* exec_open(): *fd is the guest's end of a connection, which the caller closes. exec_start(): a thread that carries
 * input, output and signals; takes over the terminal if both standard input and output are one. False: there can be
 * none, for errno. */
struct exec *exec_open(const struct exec_plan *p, struct exec_kept *k, int *fd, char err[ERR_BYTES]);
bool exec_start(struct exec *e);
/* exec_end(): when the machine is gone: closes the console that the agent was at, reads and writes what is left.
 * status: how the run ended; what the program is to exit with. */
int exec_end(struct exec *e, struct chardev *console, int status);
enum { EXEC_FAILED = 125 };
/* exec_dry_run(): what would be done, on standard output. */
void exec_dry_run(const struct exec_plan *p, const struct exec_kept *k, const struct options *o);

/* --- root.c ----------------------------------------------------------------------------------- */
/* root_main(): graft root; args: what follows it, NULL at the end. Returns only if it cannot be done. */
int root_main(char **args);

#endif
