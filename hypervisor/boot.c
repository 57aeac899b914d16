/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* boot.c: reads the files that a machine starts with and puts them into its memory. */
#include "graft/mmu.h"
#include "hypervisor/boot.h"
#include "hypervisor/fdt.h"
#include "hypervisor/firmware.h"
#include "hypervisor/loader.h"
#include "hypervisor/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static struct fdt_params params(const struct options *o, const struct board *b) {
    struct fdt_params p = {
        .board = b, .ram_size = o->memory, .cpus = o->smp, .gic = o->gic, .cpu = o->cpu, .bootargs = o->append};
    if (getrandom(p.seed, sizeof(p.seed), 0) != sizeof(p.seed))
        memset(p.seed, 0, sizeof(p.seed));
    return p;
}

/* make_dtb(): ours, or the user's; malloc'ed. */
static void *make_dtb(const struct options *o, const struct file *user, const struct fdt_params *p, size_t *size,
                      char err[ERR_BYTES]) {
    char why[FDT_ERR_BYTES];
    void *blob = o->dtb ? fdt_patch(user->data, user->len, p, size, why) : fdt_make(p, size, why);
    if (!blob)
        snprintf(err, ERR_BYTES, "%.100s%s%.120s", o->dtb ? o->dtb : "", o->dtb ? ": " : "", why);
    return blob;
}

/* What firmware of the kind OpenSBI calls fw_dynamic is told of what it starts (OpenSBI's
 * docs/firmware/fw_dynamic.md). */
struct dynamic_info {
    uint64_t magic, version, next_addr, next_mode, options, boot_hart;
};
#define DYNAMIC_MAGIC 0x4942534fu
#define DYNAMIC_VERSION 2
#define DYNAMIC_SUPERVISOR 1
#define TREE_GROWS (64u << 10) /* firmware adds to the tree where it is; the information is behind that */

static struct loader_file source(const struct boot_file *in) {
    return (struct loader_file){.data = in->fd < 0 ? in->file.data : NULL, .fd = in->fd, .len = in->len};
}

/* place(): initial RAM disk and device tree. room: bytes behind the tree that stay free. */
static bool place(struct machine *m, const struct boot_files *f, struct loader_target *t, size_t room,
                  uint64_t *behind_tree, char err[ERR_BYTES]) {
    const struct options *o = m->options;
    struct fdt_params p = params(o, m->board);
    struct loader_place at = {.initrd_size = f->initrd.len};
    char why[LOADER_ERR_BYTES];
    /* The tree's size depends little on what it says: make it once to know the size, and again when that is settled. */
    p.initrd_end = f->initrd.len;
    void *blob = make_dtb(o, &f->dtb, &p, &at.dtb_size, err);
    free(blob);
    if (!blob)
        return false;
    size_t tree_bytes = at.dtb_size;
    at.dtb_size += room;
    if (loader_place(t, &at, why)) {
        snprintf(err, ERR_BYTES, "%s", why);
        return false;
    }
    p.initrd = at.initrd;
    p.initrd_end = at.initrd + at.initrd_size;
    size_t size = 0;
    blob = make_dtb(o, &f->dtb, &p, &size, err);
    if (!blob || size > tree_bytes) {
        if (blob)
            snprintf(err, ERR_BYTES, "the device tree has grown");
        free(blob);
        return false;
    }
    struct loader_file initrd = source(&f->initrd);
    if (!loader_fetch(&initrd, 0, m->ram + (at.initrd - m->board->ram), initrd.len)) {
        snprintf(err, ERR_BYTES, "%.180s: cannot be read, or has become shorter", o->initrd);
        free(blob);
        return false;
    }
    memcpy(m->ram + (at.dtb - m->board->ram), blob, size);
    free(blob);
    m->boot->entry_pc = t->entry;
    m->boot->entry_args[0] = at.dtb;
    *behind_tree = at.dtb + at.dtb_size - room;
    return true;
}

/* Firmware finds the tree at the start of RAM, and the rest in fw_cfg. */
static bool boot_firmware(struct machine *m, const struct boot_files *f, char err[ERR_BYTES]) {
    struct fdt_params p = params(m->options, m->board);
    size_t size = 0;
    void *blob = make_dtb(m->options, &f->dtb, &p, &size, err);
    bool ok = blob && size <= m->ram_size;
    if (ok)
        memcpy(m->ram, blob, size);
    else if (blob)
        snprintf(err, ERR_BYTES, "the device tree does not fit into the guest's memory");
    free(blob);
    return ok && firmware_boot(m, &f->kernel.file, &f->initrd.file, err);
}

/* --- firmware in RAM, where machine mode starts ----------------------------------------------- */
static bool no_bios(const struct options *o) { return o->bios && !strcmp(o->bios, "none"); }

static bool load_bios(struct machine *m, const struct boot_files *f, struct loader_target *t, char err[ERR_BYTES]) {
    char why[LOADER_ERR_BYTES];
    *t = (struct loader_target){.ram = m->ram, .ram_size = m->ram_size, .board = m->board};
    t->flat = !loader_is_kernel(f->bios.data, f->bios.len);
    struct loader_file bios = {.data = f->bios.data, .len = f->bios.len};
    if (!loader_load(&bios, t, why))
        return true;
    snprintf(err, ERR_BYTES, "%.100s: %.150s", m->options->bios, why);
    return false;
}

/* The kernel is above the firmware, which is told where, if there is one. */
static bool boot_bios(struct machine *m, const struct boot_files *f, struct loader_target *t, char err[ERR_BYTES]) {
    struct loader_target bios;
    struct dynamic_info info = {DYNAMIC_MAGIC, DYNAMIC_VERSION, t->entry, DYNAMIC_SUPERVISOR, 0, 0};
    uint64_t at;
    if (!load_bios(m, f, &bios, err))
        return false;
    if (f->kernel.len && t->low < bios.high && bios.low < t->high) {
        snprintf(err, ERR_BYTES, "the kernel and the firmware are at the same addresses");
        return false;
    }
    if (!f->kernel.len || bios.high > t->high)
        t->high = bios.high;
    t->linux_boot = true; /* the start of RAM is not free */
    t->entry = bios.entry;
    if (!place(m, f, t, TREE_GROWS + sizeof(info), &at, err))
        return false;
    at = ALIGN_DOWN(at + TREE_GROWS, sizeof(uint64_t));
    memcpy(m->ram + (at - m->board->ram), &info, sizeof(info));
    m->boot->entry_args[1] = at;
    return true;
}

/* What is in flash is what starts in the kernel's place. That, if there is one, is left to it in fw_cfg. */
static bool boot_flash(struct machine *m, const struct boot_files *f, struct loader_target *t, char err[ERR_BYTES]) {
    struct boot_files rest = {
        .board = f->board, .bios = f->bios, .dtb = f->dtb, .kernel = {.fd = -1}, .initrd = {.fd = -1}};
    uint64_t behind_tree;
    if (!firmware_boot(m, &f->kernel.file, &f->initrd.file, err))
        return false;
    t->entry = m->board->flash;
    t->low = t->high = m->board->ram;
    t->linux_boot = true;
    return f->bios.len ? boot_bios(m, &rest, t, err) : place(m, &rest, t, 0, &behind_tree, err);
}

/* --- the kernel ------------------------------------------------------------------------------- */
/* What is wrong with it, and what it may have been meant for. */
static bool no_kernel(const char *path, const char *why, enum loader_use use, char err[ERR_BYTES]) {
    static const char *const options[] = {[LOADER_DISK] = "--drive",
                                          [LOADER_DISK_FILE] = "--drive",
                                          [LOADER_INITRD] = "--initrd",
                                          [LOADER_DTB] = "--dtb"};
    size_t len = strlen(path);
    if (use == LOADER_NO_USE)
        snprintf(err, ERR_BYTES, "%.100s%s: %.120s", path, len > 100 ? "..." : "", why);
    else if (len > 60)
        snprintf(err, ERR_BYTES, "%.60s...: %.120s. Did you mean it for %s?", path, why, options[use]);
    else
        snprintf(err, ERR_BYTES, "%s: %.80s. Did you mean %s %s?", path, why, options[use], path);
    return false;
}

/* Flat binaries are recognised by their name, as far as there is nothing else to be recognised. */
static bool is_flat(const struct file *head, const char *path) {
    size_t len = strlen(path);
    return len > 4 && !strcmp(path + len - 4, ".bin") && !loader_kind(head->data, head->len);
}

static bool look_at_kernel(const struct file *head, const char *path, void *arg, char err[ERR_BYTES]) {
    struct boot_files *f = arg;
    char why[LOADER_ERR_BYTES];
    enum loader_use use;
    if (f->flat || !head->len || loader_is_kernel(head->data, head->len))
        return true;
    if ((f->flat = is_flat(head, path)))
        return true;
    loader_refuse(head->data, head->len, &use, why);
    return no_kernel(path, why, use, err);
}

static bool needs_rings(const struct options *o) { return o->mmu_given && mmu_strategies[o->mmu]->needs_ring3; }

/* What only some boards have. */
static bool fits_board(const struct options *o, const struct board *b, char err[ERR_BYTES]) {
    const char *option = !b->flash_bytes && o->pflashes                  ? "--pflash"
                         : !b->flash_bytes && !b->bios_in_ram && o->bios ? "--bios"
                         : !b->fw_cfg && o->fw_cfgs                      ? "--fw-cfg"
                         : !b->has_gic && o->gic_given                   ? "--gic"
                         : o->core && strcmp(o->core, b->core)           ? "--cpu"
                         : !b->has_rings && o->layout == LAYOUT_RING0    ? "--layout ring0"
                         : !b->has_rings && needs_rings(o)               ? "--mmu direct"
                                                                         : NULL;
    const char *model = option && !strcmp(option, "--cpu") ? o->core : NULL;
    if (option)
        snprintf(err, ERR_BYTES, "%s%s%s is not for %s guests", option, model ? " " : "", model ? model : "", b->name);
    return !option;
}

/* Where it is put in RAM. */
static bool read_bios(struct boot_files *f, const struct options *o, char err[ERR_BYTES]) {
    if (!f->board->bios_in_ram || !o->bios || no_bios(o))
        return true;
    if (!file_read(&f->bios, o->bios, o->memory, NULL, NULL, err))
        return false;
    if (!f->bios.len)
        snprintf(err, ERR_BYTES, "%.180s: an empty file, which is no firmware", o->bios);
    return f->bios.len != 0;
}

/* May the rest stay in the file? */
static bool keep_kernel(const struct file *head) { return !loader_unpacks(head->data, head->len); }
static bool keep_initrd(const struct file *head) { return true; }

bool boot_read(struct boot_files *f, const struct options *o, char err[ERR_BYTES]) {
    *f = (struct boot_files){.flat = o->flat, .kernel = {.fd = -1}, .initrd = {.fd = -1}};
    /* What firmware in flash can start is its own affair, and it is given all of it. */
    bool firmware = firmware_is_given(o), look = !firmware || (!o->pflashes && o->board && o->board->bios_in_ram);
    if (o->kernel && !boot_file_read(&f->kernel, o->kernel, o->memory, firmware ? NULL : keep_kernel,
                                     look ? look_at_kernel : NULL, f, err))
        return false;
    f->board = o->board || f->flat ? o->board : loader_board(f->kernel.file.data, f->kernel.file.len);
    if (!f->board)
        f->board = boards[0];
    if (f->board->bios_in_ram && no_bios(o) && !o->kernel && !o->pflashes) {
        snprintf(err, ERR_BYTES, "--bios none needs a kernel, or a flash bank");
        return false;
    }
    return fits_board(o, f->board, err) && read_bios(f, o, err) &&
           (!o->initrd ||
            boot_file_read(&f->initrd, o->initrd, o->memory, firmware ? NULL : keep_initrd, NULL, NULL, err)) &&
           (!o->dtb || file_read(&f->dtb, o->dtb, o->memory, NULL, NULL, err));
}

void boot_free(struct boot_files *f) {
    boot_file_free(&f->kernel);
    boot_file_free(&f->initrd);
    file_free(&f->dtb);
    file_free(&f->bios);
}

bool boot_load(struct machine *m, char err[ERR_BYTES]) {
    const struct boot_files *f = m->files;
    struct loader_target t = {.ram = m->ram, .ram_size = m->ram_size, .board = m->board, .flat = f->flat};
    char why[LOADER_ERR_BYTES];
    uint64_t behind_tree;
    if (f->resume)
        return snapshot_map(m, f->resume, err);
    if (!m->board->bios_in_ram && firmware_is_given(m->options)) {
        m->boot->firmware = true;
        return boot_firmware(m, f, err);
    }
    m->boot->firmware = m->options->bios != NULL;
    if (m->options->pflashes)
        return boot_flash(m, f, &t, err);
    t.above_firmware = f->bios.len;
    struct loader_file kernel = source(&f->kernel);
    if ((f->kernel.len || !f->bios.len) && loader_load(&kernel, &t, why))
        return no_kernel(m->options->kernel, why, t.use, err);
    return f->bios.len ? boot_bios(m, f, &t, err) : place(m, f, &t, 0, &behind_tree, err);
}

bool boot_dump_dtb(const struct options *o, char err[ERR_BYTES]) {
    struct fdt_params p = params(o, o->board ? o->board : boards[0]);
    size_t size = 0;
    void *blob = make_dtb(o, NULL, &p, &size, err);
    bool ok = blob && file_write(o->dump_dtb, blob, size, err);
    free(blob);
    return ok;
}
