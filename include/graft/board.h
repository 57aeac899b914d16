/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * board.h: the one struct through which the monitor reaches what is particular to a guest: where its board has what,
 * how its kernels are recognised, its device tree. Each folder under guests/ has one in board/; guests/boards.c lists
 * them.
 */
#ifndef GRAFT_BOARD_H
#define GRAFT_BOARD_H

#include "graft/abi.h"
#include "graft/device.h"

/* --- device trees (hypervisor/fdt.c): written from front to back; the first error sticks ------ */
struct tree;
void tree_begin(struct tree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* a node: its name */
void tree_end(struct tree *t);
void tree_u32(struct tree *t, const char *name, uint32_t v);
void tree_text(struct tree *t, const char *name, const char *v);
void tree_bytes(struct tree *t, const char *name, const void *v, size_t len);
void tree_cells(struct tree *t, const char *name, const uint32_t *v, unsigned count);
#define TREE_CELLS(t, name, ...)                                                                                       \
    tree_cells(t, name, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
/* An address or a size in two cells. */
#define TREE_64(x) (uint32_t)((uint64_t)(x) >> 32), (uint32_t)(x)

struct fdt_params {
    const struct board *board;
    uint64_t ram_size;
    unsigned cpus, gic, cpu;     /* gic, cpu: options --gic and --cpu */
    const char *bootargs;        /* NULL: none */
    uint64_t initrd, initrd_end; /* equal: none */
    uint8_t seed[40];            /* rng-seed and kaslr-seed */
};
/* Nodes that every board has. tree_virtio(): interrupts is called inside each slot's. tree_chosen(): aliases, too.
 * tree_cores(): one cluster of all processors, whose nodes have the phandles from first on, for cpu-map. */
void tree_cores(struct tree *t, const struct fdt_params *p, uint32_t first);
void tree_memory(struct tree *t, const struct fdt_params *p);
void tree_flash(struct tree *t, const struct board *b);
void tree_fw_cfg(struct tree *t, const struct board *b);
void tree_virtio(struct tree *t, const struct board *b, void (*interrupts)(struct tree *t, uint32_t irq));
void tree_chosen(struct tree *t, const struct fdt_params *p, const char *console);

/* --- boards ----------------------------------------------------------------------------------- */
struct board_device {
    const char *what;
    struct device *(*create)(struct machine *m, uint64_t gpa, unsigned irq, struct chardev *serial);
    uint64_t gpa;
    unsigned irq;
};

struct board {
    const char *guest;   /* guest_ops.name */
    const char *name;    /* what the user calls it: "arm64" */
    const char *machine; /* what people call it: "AArch64" */
    const char *target;  /* what QEMU calls it: "aarch64" */
    /* Kernels: the magic number at offset 56 of an Image, e_machine of an ELF file, how far from the start of RAM an
     * Image with a smaller text_offset lies, and a flat binary. */
    uint32_t image_magic;
    uint16_t elf_machine;
    uint32_t kernel_offset, flat_offset;

    const uint8_t *agent, *agent_end; /* agent/, built for such guests; nothing if it could not be */
    /* Linux's NT_PRSTATUS has these, by their numbers in guest_debug.regs. */
    const uint8_t *core_regs;
#define BOARD_NO_REG 0xff /* behind the last */

    bool has_gic;     /* option --gic has more than one value */
    const char *core; /* what --cpu may be beside max: ABI_CPU_CORE */
    bool has_rings;   /* guest_ops.own_bytes is set: there is --layout ring0 */
    bool bios_in_ram; /* --bios is loaded to where RAM starts; a kernel is what it starts then */

    uint64_t ram;
    uint64_t flash, flash_bytes; /* the first bank, and the size of each; 0: it has none, nor does it start there */
    unsigned flash_banks;
    uint64_t fw_cfg; /* 0: it has none */
    uint64_t virtio;
    uint32_t virtio_stride;
    unsigned virtio_slots, virtio_irq; /* at most ABI_VIRTIO_SLOTS; interrupts follow one another */
    const struct board_device *device; /* the others; the last has no create */
    void (*tree)(struct tree *t, const struct fdt_params *p); /* what is in the root node */
};
static inline const char *board_cpu(const struct board *b, uint32_t model) {
    return model == ABI_CPU_MAX ? "max" : b->core;
}
extern const struct board *const boards[]; /* ends with NULL; the first is the default */

#endif
