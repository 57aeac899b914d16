/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_fdt.c: hostile device trees given with --dtb. Half of the inputs are changes to a tree that is right, so that
 * the code behind libfdt's check is reached, too.
 */
#include "hypervisor/fdt.h"

#include <stdlib.h>
#include <string.h>

static struct fdt_params params = {.ram_size = 1u << 30,
                                   .cpus = 2,
                                   .gic = 3,
                                   .bootargs = "console=ttyAMA0",
                                   .initrd = 0x48000000,
                                   .initrd_end = 0x48100000};

/* The rest of the input as (position, value) pairs written over a good tree. */
static uint8_t *edited_tree(const uint8_t *data, size_t size, size_t *len) {
    char err[FDT_ERR_BYTES];
    uint8_t *tree = fdt_make(&params, len, err);
    if (!tree)
        abort();
    for (; size >= 3; data += 3, size -= 3)
        tree[(data[0] | (size_t)data[1] << 8) % *len] = data[2];
    return tree;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char err[FDT_ERR_BYTES];
    size_t len = size - 1, made;
    params.board = boards[0];
    if (size < 1)
        return 0;
    uint8_t *tree = data[0] & 1 ? edited_tree(data + 1, size - 1, &len) : malloc(len + 1);
    if (!tree)
        abort();
    if (!(data[0] & 1))
        memcpy(tree, data + 1, len);
    free(fdt_patch(tree, len, &params, &made, err));
    free(tree);
    return 0;
}
