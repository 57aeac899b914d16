/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fdt.c: what device trees are written with, and the nodes that all boards have; and the user's own tree. */
#include "hypervisor/fdt.h"

#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TREE_BYTES 65536
/* The tree is written from front to back; the first error sticks. */
struct tree {
    void *blob;
    int error;
};

static void note(struct tree *t, int error) {
    if (!t->error)
        t->error = error;
}

void tree_begin(struct tree *t, const char *fmt, ...) {
    char name[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    note(t, fdt_begin_node(t->blob, name));
}

void tree_end(struct tree *t) { note(t, fdt_end_node(t->blob)); }

void tree_u32(struct tree *t, const char *name, uint32_t v) { note(t, fdt_property_u32(t->blob, name, v)); }

void tree_text(struct tree *t, const char *name, const char *v) { note(t, fdt_property_string(t->blob, name, v)); }

void tree_bytes(struct tree *t, const char *name, const void *v, size_t len) {
    note(t, fdt_property(t->blob, name, v, (int)len));
}

void tree_cells(struct tree *t, const char *name, const uint32_t *v, unsigned count) {
    fdt32_t cells[64];
    if (count > sizeof(cells) / sizeof(cells[0])) {
        note(t, -FDT_ERR_NOSPACE);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        cells[i] = cpu_to_fdt32(v[i]);
    tree_bytes(t, name, cells, count * sizeof(cells[0]));
}

/* --- nodes that every board has --------------------------------------------------------------- */
void tree_cores(struct tree *t, const struct fdt_params *p, uint32_t first) {
    tree_begin(t, "cluster0");
    for (unsigned i = 0; i < p->cpus; i++) {
        tree_begin(t, "core%u", i);
        tree_u32(t, "cpu", first + i);
        tree_end(t);
    }
    tree_end(t);
}

void tree_memory(struct tree *t, const struct fdt_params *p) {
    tree_begin(t, "memory@%llx", (unsigned long long)p->board->ram);
    TREE_CELLS(t, "reg", TREE_64(p->board->ram), TREE_64(p->ram_size));
    tree_text(t, "device_type", "memory");
    tree_end(t);
}

/* Both banks of it. */
void tree_flash(struct tree *t, const struct board *b) {
    tree_begin(t, "flash@%llx", (unsigned long long)b->flash);
    tree_u32(t, "bank-width", 4);
    TREE_CELLS(t, "reg", TREE_64(b->flash), TREE_64(b->flash_bytes), TREE_64(b->flash + b->flash_bytes),
               TREE_64(b->flash_bytes));
    tree_text(t, "compatible", "cfi-flash");
    tree_end(t);
}

void tree_fw_cfg(struct tree *t, const struct board *b) {
    tree_begin(t, "fw-cfg@%llx", (unsigned long long)b->fw_cfg);
    tree_bytes(t, "dma-coherent", NULL, 0);
    TREE_CELLS(t, "reg", TREE_64(b->fw_cfg), 0, 0x18);
    tree_text(t, "compatible", "qemu,fw-cfg-mmio");
    tree_end(t);
}

void tree_virtio(struct tree *t, const struct board *b, void (*interrupts)(struct tree *t, uint32_t irq)) {
    for (unsigned i = 0; i < b->virtio_slots; i++) {
        uint64_t base = b->virtio + (uint64_t)i * b->virtio_stride;
        tree_begin(t, "virtio_mmio@%llx", (unsigned long long)base);
        interrupts(t, b->virtio_irq + i);
        TREE_CELLS(t, "reg", TREE_64(base), 0, b->virtio_stride);
        tree_text(t, "compatible", "virtio,mmio");
        tree_end(t);
    }
}

void tree_chosen(struct tree *t, const struct fdt_params *p, const char *console) {
    tree_begin(t, "aliases");
    tree_text(t, "serial0", console);
    tree_end(t);
    tree_begin(t, "chosen");
    if (p->initrd_end != p->initrd) {
        TREE_CELLS(t, "linux,initrd-start", TREE_64(p->initrd));
        TREE_CELLS(t, "linux,initrd-end", TREE_64(p->initrd_end));
    }
    if (p->bootargs)
        tree_text(t, "bootargs", p->bootargs);
    tree_text(t, "stdout-path", console);
    tree_bytes(t, "rng-seed", p->seed, 32);
    tree_bytes(t, "kaslr-seed", p->seed + 32, 8);
    tree_end(t);
}

static void *fail(void *blob, int error, const char *what, char err[FDT_ERR_BYTES]) {
    snprintf(err, FDT_ERR_BYTES, "%s: %s", what, error ? fdt_strerror(error) : "out of memory");
    free(blob);
    return NULL;
}

void *fdt_make(const struct fdt_params *p, size_t *size, char err[FDT_ERR_BYTES]) {
    size_t room = TREE_BYTES + (p->bootargs ? strlen(p->bootargs) : 0);
    struct tree t = {.blob = malloc(room)};
    if (!t.blob)
        return fail(NULL, 0, "device tree", err);
    note(&t, fdt_create(t.blob, (int)room));
    note(&t, fdt_finish_reservemap(t.blob));
    tree_begin(&t, "%s", "");
    p->board->tree(&t, p);
    tree_end(&t);
    note(&t, fdt_finish(t.blob));
    if (t.error)
        return fail(t.blob, t.error, "device tree", err);
    *size = fdt_totalsize(t.blob);
    return t.blob;
}

static int patch_chosen(void *blob, const struct fdt_params *p) {
    int node = fdt_path_offset(blob, "/chosen"), r = 0;
    if (node == -FDT_ERR_NOTFOUND)
        node = fdt_add_subnode(blob, 0, "chosen");
    if (node < 0)
        return node;
    if (p->bootargs)
        r = fdt_setprop_string(blob, node, "bootargs", p->bootargs);
    if (!r && p->initrd_end != p->initrd)
        r = fdt_setprop_u64(blob, node, "linux,initrd-start", p->initrd);
    if (!r && p->initrd_end != p->initrd)
        r = fdt_setprop_u64(blob, node, "linux,initrd-end", p->initrd_end);
    return r;
}

void *fdt_patch(const uint8_t *tree, size_t len, const struct fdt_params *p, size_t *size, char err[FDT_ERR_BYTES]) {
    size_t room = len + 4096 + (p->bootargs ? strlen(p->bootargs) : 0);
    void *copy = NULL, *blob = NULL;
    /* The check wants an aligned tree, which a buffer of unknown origin need not be. */
    if (len > INT32_MAX / 2 || !(copy = malloc(len + !len)) || !(blob = malloc(room))) {
        free(copy);
        return fail(blob, 0, "device tree", err);
    }
    memcpy(copy, tree, len);
    int r = len < sizeof(struct fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_full(copy, len);
    if (!r)
        r = fdt_open_into(copy, blob, (int)room);
    if (!r)
        r = patch_chosen(blob, p);
    if (!r)
        r = fdt_pack(blob);
    free(copy);
    if (r)
        return fail(blob, r, "device tree", err);
    *size = fdt_totalsize(blob);
    return blob;
}
