/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* firmware.c: see firmware.h. */
#define _GNU_SOURCE /* memfd_create() */
#include "hypervisor/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The keys of fw_cfg that are no files: QEMU's include/standard-headers/linux/qemu_fw_cfg.h */
enum {
    KEY_UUID = 0x02,
    KEY_NO_GRAPHICS = 0x04,
    KEY_CPUS = 0x05,
    KEY_KERNEL_SIZE = 0x08,
    KEY_INITRD_SIZE = 0x0b,
    KEY_BOOT_MENU = 0x0e,
    KEY_KERNEL = 0x11,
    KEY_INITRD = 0x12,
    KEY_CMDLINE_SIZE = 0x14,
    KEY_CMDLINE = 0x15,
};

bool firmware_is_given(const struct options *o) { return o->bios || o->pflashes; }

/* --- flash: a file of the user's, or one in memory that lives as long as this process --------- */
/* In memory an erased byte is 0, so that what is never written takes no memory. */
#define MEMORY_FLIP 0xff

static int no_file(char err[ERR_BYTES], const char *path, const char *why) {
    snprintf(err, ERR_BYTES, "%.180s: %.60s", path, why);
    return -1;
}

#define FLASH_BANKS 2 /* that a board has at most */

/* starts: what is in it is firmware. In a bank that keeps what firmware writes, an empty file is one that has kept
 * nothing yet. */
static int open_image(const char *path, bool readonly, bool starts, uint64_t bytes, char err[ERR_BYTES]) {
    struct stat st;
    char large[64];
    int fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    const char *why = NULL;
    if (fd < 0)
        return no_file(err, path, strerror(errno));
    if (fstat(fd, &st))
        why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        why = "not a file";
    snprintf(large, sizeof(large), "larger than a flash bank, which has %u MiB", (unsigned)(bytes >> 20));
    if (!why && (uint64_t)st.st_size > bytes)
        why = large;
    if (!why && starts && !st.st_size)
        why = "an empty file, which is no firmware";
    if (!why && disk_claim(fd, path, readonly, err))
        return fd;
    close(fd);
    return why ? no_file(err, path, why) : -1;
}

/* Some hosts forbid files in memory. */
static int temporary_file(void) {
    FILE *f = tmpfile();
    int fd = f ? fcntl(fileno(f), F_DUPFD_CLOEXEC, 0) : -1;
    if (f)
        fclose(f);
    return fd;
}

static int open_memory(uint64_t bytes, char err[ERR_BYTES]) {
    int fd = memfd_create("flash", MFD_CLOEXEC);
    if (fd < 0)
        fd = temporary_file();
    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        return no_file(err, "flash", strerror(errno));
    return fd;
}

/* --bios: the guest may write to its flash, but not to that file. */
static int open_copy(const char *path, uint64_t bytes, char err[ERR_BYTES]) {
    int from = open_image(path, true, true, bytes, err), to = from < 0 ? -1 : open_memory(bytes, err);
    uint8_t block[65536];
    ssize_t n;
    off_t at = 0;
    while (to >= 0 && (n = read(from, block, sizeof(block))) != 0) {
        for (ssize_t i = 0; i < n; i++)
            block[i] ^= MEMORY_FLIP;
        if (n < 0 || pwrite(to, block, (size_t)n, at) != n) {
            close(to);
            to = no_file(err, path, strerror(errno));
        }
        at += n;
    }
    if (from >= 0)
        close(from);
    return to;
}

static struct bank {
    int fd;
    bool image, readonly; /* image: a file of the user's */
} banks[FLASH_BANKS] = {{.fd = -1}, {.fd = -1}};

static bool open_bank(unsigned bank, const struct options *o, const struct board *board, char err[ERR_BYTES]) {
    struct bank *b = &banks[bank];
    bool bios = o->bios && !board->bios_in_ram; /* it is the first */
    unsigned n = bios ? bank - 1 : bank;        /* of the user's images */
    b->image = n < o->pflashes;
    b->readonly = b->image && o->pflash[n].readonly;
    b->fd = b->image        ? open_image(o->pflash[n].path, b->readonly, !bank, board->flash_bytes, err)
            : bios && !bank ? open_copy(o->bios, board->flash_bytes, err)
                            : open_memory(board->flash_bytes, err);
    return b->fd >= 0;
}

struct device *firmware_flash(struct machine *m, unsigned bank) {
    const struct bank *b = &banks[bank];
    uint64_t bytes = m->board->flash_bytes;
    return cfi_flash_create(m, m->board->flash + bank * bytes, bytes, b->fd, b->image ? 0 : MEMORY_FLIP, b->readonly);
}

/* --- fw_cfg ----------------------------------------------------------------------------------- */
static void *copy_of(const void *data, size_t len) {
    void *copy = malloc(len + !len);
    return copy && len ? memcpy(copy, data, len) : copy;
}

static bool add_number(struct device *d, uint16_t key, uint64_t value, size_t bytes) {
    return fw_cfg_add(d, key, copy_of(&value, bytes), bytes);
}

static struct file user_files[OPTIONS_MAX_FW_CFG]; /* as they were when the run began */

static bool add_user(struct device *d, const struct options *o, char err[ERR_BYTES]) {
    for (unsigned i = 0; i < o->fw_cfgs; i++) {
        const struct file *f = &user_files[i];
        const void *data = o->fw_cfg[i].file ? (const void *)f->data : o->fw_cfg[i].text;
        size_t len = o->fw_cfg[i].file ? f->len : strlen(o->fw_cfg[i].text);
        if (!fw_cfg_add_file(d, o->fw_cfg[i].name, copy_of(data, len), len)) {
            snprintf(err, ERR_BYTES, "--fw-cfg: cannot have %.80s: a name is 1 to 55 bytes, and there once",
                     o->fw_cfg[i].name);
            return false;
        }
    }
    return true;
}

struct device *firmware_fw_cfg(struct machine *m, char err[ERR_BYTES]) {
    static const uint32_t never = UINT32_MAX;
    struct device *d = fw_cfg_create(m, m->board->fw_cfg);
    if (d && add_number(d, KEY_UUID, 0, 8) && add_number(d, KEY_NO_GRAPHICS, 1, 2) &&
        add_number(d, KEY_CPUS, m->vcpu_count, 2) && add_number(d, KEY_BOOT_MENU, 0, 2) &&
        fw_cfg_add_file(d, "etc/boot-fail-wait", copy_of(&never, 4), 4) &&
        fw_cfg_add_file(d, "bootorder", copy_of("", 0), 0) && add_user(d, m->options, err))
        return m->fw_cfg = d;
    if (d)
        d->ops->destroy(d);
    return NULL;
}

/* --- files ------------------------------------------------------------------------------------ */
bool firmware_open(const struct options *o, const struct board *b, char err[ERR_BYTES]) {
    for (unsigned bank = 0; bank < b->flash_banks; bank++)
        if (!open_bank(bank, o, b, err))
            return false;
    for (unsigned i = 0; i < o->fw_cfgs; i++)
        if (o->fw_cfg[i].file && !file_read(&user_files[i], o->fw_cfg[i].file, o->memory, NULL, NULL, err))
            return false;
    return true;
}

void firmware_close(void) {
    for (unsigned i = 0; i < OPTIONS_MAX_FW_CFG; i++)
        file_free(&user_files[i]);
}

/* --- how it starts ---------------------------------------------------------------------------- */
static bool add_sized(struct device *d, uint16_t size_key, uint16_t key, const void *data, size_t len) {
    return add_number(d, size_key, len, 4) && fw_cfg_add(d, key, copy_of(data, len), len);
}

bool firmware_boot(struct machine *m, const struct file *kernel, const struct file *initrd, char err[ERR_BYTES]) {
    const char *append = m->options->append;
    bool ok = true;
    if (kernel->len)
        ok = add_sized(m->fw_cfg, KEY_KERNEL_SIZE, KEY_KERNEL, kernel->data, kernel->len);
    if (ok && initrd->len)
        ok = add_sized(m->fw_cfg, KEY_INITRD_SIZE, KEY_INITRD, initrd->data, initrd->len);
    if (ok && append)
        ok = add_sized(m->fw_cfg, KEY_CMDLINE_SIZE, KEY_CMDLINE, append, strlen(append) + 1);
    if (!ok)
        snprintf(err, ERR_BYTES, "out of memory");
    m->boot->entry_pc = m->board->flash;
    return ok;
}
