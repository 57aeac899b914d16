/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fw_cfg.c: QEMU's firmware configuration device (its docs/specs/fw_cfg.rst), the MMIO form: a selector, a register
 * that gives the bytes of what is selected, and DMA. All its numbers are big-endian, those of items excepted.
 */
#include "graft/device.h"

#include <stdlib.h>
#include <string.h>

enum { REG_DATA = 0, REG_SELECT = 8, REG_DMA = 16, REG_DMA_LOW = 20, REGS_END = 24 };
enum { KEY_SIGNATURE = 0x00, KEY_ID = 0x01, KEY_DIRECTORY = 0x19, KEY_FILES = 0x20 };
#define ID_TRADITIONAL 1u
#define ID_DMA 2u
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };
#define MAX_KEYS 0x20 /* below those of the files */
#define MAX_FILES 64
#define NAME_BYTES 56
/* that one DMA operation may read behind an item's end: more is no use, and takes time */
#define ZEROES_MAX (1u << 20)

struct item {
    uint8_t *data;
    size_t len;
};
struct file {
    char name[NAME_BYTES];
    struct item item;
};
struct directory_entry {
    uint32_t size;
    uint16_t key, reserved;
    char name[NAME_BYTES];
};
struct dma {
    uint32_t control, len;
    uint64_t address;
};

struct fw_cfg {
    struct device dev;
    struct item item[MAX_KEYS];
    struct file file[MAX_FILES]; /* sorted by name, as QEMU's */
    unsigned files;
    struct item directory; /* made when it is selected, of all files */
    const struct item *selected;
    uint16_t key; /* of that */
    size_t at;
    uint64_t dma;
};

static const struct item nothing;

static struct fw_cfg *fw_cfg_of(struct device *d) { return CONTAINER_OF(d, struct fw_cfg, dev); }

/* --- items ------------------------------------------------------------------------------------ */
static void make_directory(struct fw_cfg *f) {
    uint32_t count = __builtin_bswap32(f->files);
    memcpy(f->directory.data, &count, sizeof(count));
    for (unsigned i = 0; i < f->files; i++) {
        struct directory_entry e = {.size = __builtin_bswap32((uint32_t)f->file[i].item.len),
                                    .key = __builtin_bswap16((uint16_t)(KEY_FILES + i))};
        memcpy(e.name, f->file[i].name, NAME_BYTES);
        memcpy(f->directory.data + sizeof(count) + i * sizeof(e), &e, sizeof(e));
    }
    f->directory.len = sizeof(count) + f->files * sizeof(struct directory_entry);
}

static void select_item(struct fw_cfg *f, uint16_t key) {
    f->at = 0;
    f->key = key;
    if (key == KEY_DIRECTORY) {
        make_directory(f);
        f->selected = &f->directory;
    } else if (key < MAX_KEYS) {
        f->selected = &f->item[key];
    } else {
        f->selected = key - KEY_FILES < (int)f->files ? &f->file[key - KEY_FILES].item : &nothing;
    }
}

static size_t bytes_left(const struct fw_cfg *f) { return f->selected->len - f->at; }

/* The next len bytes, zeroes behind the end. */
static void read_item(struct fw_cfg *f, uint8_t *to, size_t len) {
    size_t n = bytes_left(f) < len ? bytes_left(f) : len;
    if (n)
        memcpy(to, f->selected->data + f->at, n);
    memset(to + n, 0, len - n);
    f->at += n;
}

bool fw_cfg_add(struct device *d, uint16_t key, void *data, size_t len) {
    struct fw_cfg *f = fw_cfg_of(d);
    if (!data || key >= MAX_KEYS || f->item[key].data) {
        free(data);
        return false;
    }
    f->item[key] = (struct item){data, len};
    return true;
}

bool fw_cfg_add_file(struct device *d, const char *name, void *data, size_t len) {
    struct fw_cfg *f = fw_cfg_of(d);
    unsigned at = 0;
    while (at < f->files && strcmp(f->file[at].name, name) < 0)
        at++;
    bool taken = at < f->files && !strcmp(f->file[at].name, name);
    if (!data || taken || strlen(name) >= NAME_BYTES || f->files == MAX_FILES || len > UINT32_MAX) {
        free(data);
        return false;
    }
    memmove(&f->file[at + 1], &f->file[at], (f->files - at) * sizeof(f->file[0]));
    f->file[at] = (struct file){.item = {data, len}};
    memcpy(f->file[at].name, name, strlen(name));
    f->files++;
    f->selected = &nothing; /* the items have moved */
    f->at = 0;
    return true;
}

/* --- DMA -------------------------------------------------------------------------------------- */
static bool dma_read(struct fw_cfg *f, uint64_t gpa, uint32_t len) {
    uint8_t *to = guest_ram_write_begin(f->dev.machine, gpa, len);
    if (!to || (len > bytes_left(f) && len - bytes_left(f) > ZEROES_MAX))
        return false;
    read_item(f, to, len);
    guest_ram_write_end(f->dev.machine, gpa, len);
    return true;
}

/* What the control word asks for; its new value. No item can be written. */
static uint32_t dma_do(struct fw_cfg *f, const struct dma *d) {
    if (d->control & DMA_SELECT)
        select_item(f, (uint16_t)(d->control >> 16));
    if (d->control & DMA_READ)
        return d->len == 0 || dma_read(f, d->address, d->len) ? 0 : DMA_ERROR;
    if (d->control & DMA_WRITE)
        return d->len ? DMA_ERROR : 0;
    if (d->control & DMA_SKIP)
        f->at += bytes_left(f) < d->len ? bytes_left(f) : d->len;
    return 0;
}

static void dma_start(struct fw_cfg *f) {
    struct machine *m = f->dev.machine;
    struct dma d;
    uint64_t gpa = f->dma;
    const void *from = guest_ram(m, gpa, sizeof(d));
    f->dma = 0;
    if (!from)
        return;
    memcpy(&d, from, sizeof(d));
    d.control = __builtin_bswap32(d.control);
    d.len = __builtin_bswap32(d.len);
    d.address = __builtin_bswap64(d.address);
    uint32_t control = __builtin_bswap32(dma_do(f, &d));
    void *to = guest_ram_write_begin(m, gpa, sizeof(control));
    if (!to) /* in flash */
        return;
    memcpy(to, &control, sizeof(control));
    guest_ram_write_end(m, gpa, sizeof(control));
}

/* --- registers -------------------------------------------------------------------------------- */
static bool fw_cfg_accepts(const struct device *d, uint64_t offset, unsigned bytes, bool write) {
    (void)d;
    if (offset < REG_SELECT)
        return offset == REG_DATA;
    if (offset < REG_DMA)
        return write && offset == REG_SELECT && bytes == 2;
    return !write || bytes == 4 || bytes == 8;
}

static uint64_t fw_cfg_read(struct device *d, uint64_t offset, unsigned bytes) {
    static const char dma_signature[8] = "QEMU CFG";
    uint64_t value = 0;
    if (offset < REG_SELECT)
        read_item(fw_cfg_of(d), (uint8_t *)&value, bytes);
    else
        memcpy(&value, dma_signature + (offset - REG_DMA), bytes);
    return value;
}

static void fw_cfg_write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    struct fw_cfg *f = fw_cfg_of(d);
    switch (offset) {
    case REG_SELECT: select_item(f, __builtin_bswap16((uint16_t)value)); break;
    case REG_DMA:
        f->dma = bytes == 8 ? __builtin_bswap64(value) : (uint64_t)__builtin_bswap32((uint32_t)value) << 32;
        if (bytes == 8)
            dma_start(f);
        break;
    case REG_DMA_LOW:
        f->dma |= __builtin_bswap32((uint32_t)value);
        dma_start(f);
        break;
    default: break; /* items are not written this way any more */
    }
}

/* --- snapshots -------------------------------------------------------------------------------- */
static const struct state_field fw_cfg_state[] = {STATE(struct fw_cfg, key), STATE(struct fw_cfg, at),
                                                  STATE(struct fw_cfg, dma), STATE_END};

/* The items are those that this run was given. */
static bool fw_cfg_loaded(struct device *d) {
    struct fw_cfg *f = fw_cfg_of(d);
    size_t at = f->at;
    select_item(f, f->key);
    f->at = at < f->selected->len ? at : f->selected->len;
    return true;
}

/* --- creation --------------------------------------------------------------------------------- */
static void fw_cfg_destroy(struct device *d) {
    struct fw_cfg *f = fw_cfg_of(d);
    for (unsigned i = 0; i < MAX_KEYS; i++)
        free(f->item[i].data);
    for (unsigned i = 0; i < f->files; i++)
        free(f->file[i].item.data);
    free(f->directory.data);
    free(f);
}

static void *copy_of(const void *data, size_t len) {
    void *copy = malloc(len);
    return copy ? memcpy(copy, data, len) : NULL;
}

struct device *fw_cfg_create(struct machine *m, uint64_t gpa) {
    static const struct device_ops ops = {.name = "fw_cfg",
                                          .read = fw_cfg_read,
                                          .write = fw_cfg_write,
                                          .max_bytes = 8,
                                          .accepts = fw_cfg_accepts,
                                          .state = fw_cfg_state,
                                          .loaded = fw_cfg_loaded,
                                          .destroy = fw_cfg_destroy};
    static const uint32_t id = ID_TRADITIONAL | ID_DMA;
    struct fw_cfg *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->dev = (struct device){.ops = &ops, .machine = m, .gpa = gpa, .size = REGS_END, .virtio_slot = -1};
    f->selected = &f->item[KEY_SIGNATURE];
    f->directory.data = malloc(sizeof(uint32_t) + MAX_FILES * sizeof(struct directory_entry));
    if (f->directory.data && fw_cfg_add(&f->dev, KEY_SIGNATURE, copy_of("QEMU", 4), 4) &&
        fw_cfg_add(&f->dev, KEY_ID, copy_of(&id, sizeof(id)), sizeof(id)))
        return &f->dev;
    fw_cfg_destroy(&f->dev);
    return NULL;
}
