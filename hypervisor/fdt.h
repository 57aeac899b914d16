/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fdt.h: device trees. Works on buffers alone; a tree from a file may be hostile. */
#ifndef GRAFT_FDT_H
#define GRAFT_FDT_H

#include "graft/board.h"

#define FDT_ERR_BYTES 256

/* fdt_make(): the board's tree. fdt_patch(): a copy of the user's, with bootargs and initrd put in. Both return a
 * malloc'ed blob of *size bytes, or NULL and err. */
void *fdt_make(const struct fdt_params *p, size_t *size, char err[FDT_ERR_BYTES]);
void *fdt_patch(const uint8_t *tree, size_t len, const struct fdt_params *p, size_t *size, char err[FDT_ERR_BYTES]);

#endif
