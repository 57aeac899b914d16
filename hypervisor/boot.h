/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* boot.h: what a machine starts with. */
#ifndef GRAFT_BOOT_H
#define GRAFT_BOOT_H

#include "hypervisor/monitor.h"

/* boot_load(): kernel, initial RAM disk and device tree into guest RAM; entry and arguments into abi_boot. */
bool boot_load(struct machine *m, char err[ERR_BYTES]);
/* boot_dump_dtb(): --dump-dtb: writes the tree that the machine would have. */
bool boot_dump_dtb(const struct options *o, char err[ERR_BYTES]);

#endif
