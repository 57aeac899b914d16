/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* boot.h: what a machine starts with. */
#ifndef GRAFT_BOOT_H
#define GRAFT_BOOT_H

#include "hypervisor/monitor.h"

/* The files that were opened when the run began: a guest that resets starts from them again, as they are then. */
struct boot_files {
    struct snapshot *resume;      /* NULL: from the beginning */
    struct snapshot *origin;      /* what the user wants the run to begin with, and may go back to; NULL: nothing */
    struct snapshot_target *save; /* where it can be saved to; NULL: nowhere */
    struct boot_file kernel, initrd;
    struct file dtb, bios;
    bool flat;                 /* the kernel is a flat binary */
    const struct board *board; /* that the kernel is for, or that the user wants */
};
/* boot_read(): before there is a machine, so that a signal ends a wait for a file. */
bool boot_read(struct boot_files *f, const struct options *o, char err[ERR_BYTES]);
void boot_free(struct boot_files *f);
/* boot_load(): kernel, initial RAM disk and device tree into guest RAM; entry and arguments into abi_boot. */
bool boot_load(struct machine *m, char err[ERR_BYTES]);
/* boot_dump_dtb(): --dump-dtb: writes the tree that the machine would have. */
bool boot_dump_dtb(const struct options *o, char err[ERR_BYTES]);

#endif
