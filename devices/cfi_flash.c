/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * cfi_flash.c: NOR flash with Intel's command set (CFI 0001), two devices of 16 bits side by side, as QEMU's virt has
 * it. In read mode it is memory (device.h: machine_rom()). Its contents are fetched from the file in chunks, when
 * something is first read there.
 */
#include "graft/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK UINT64_C(0x40000) /* of both devices */
#define DEVICES 2
#define BUFFER 2048u /* of a buffered write */
#define MAX_CHUNKS 64
#define NO_BUFFER UINT64_MAX

enum {
    CMD_READ_ARRAY = 0x00, /* what QEMU has for 'none'; guests write 0xff */
    CMD_PROGRAM_ALT = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_QUERY = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_BUFFER = 0xe8,
};
#define STATUS_READY 0x80u
#define STATUS_ERASE_ERROR 0x20u
#define STATUS_PROGRAM_ERROR 0x10u
#define ID_MAKER 0x89 /* Intel */
#define ID_DEVICE 0x18

struct flash {
    struct device dev;
    int fd;
    uint8_t flip;
    bool readonly, failed; /* failed: the user knows that the file cannot be written */
    bool filled[MAX_CHUNKS];
    uint8_t cmd, status;
    unsigned cycle; /* of the command: writes that it has had, as far as they matter */
    uint32_t left;  /* words of a buffered write */
    uint64_t buffer_at;
    uint8_t buffer[BUFFER];
    uint8_t query[0x52];
};

static struct flash *flash_of(struct device *d) { return CONTAINER_OF(d, struct flash, dev); }

/* --- contents --------------------------------------------------------------------------------- */
static void flip(const struct flash *f, uint8_t *p, uint64_t len) {
    for (uint64_t i = 0; f->flip && i < len; i++)
        p[i] ^= f->flip;
}

/* The chunk that offset is in, erased where the file has nothing. */
static uint8_t *contents(struct flash *f, uint64_t offset) {
    uint64_t chunk = ALIGN_DOWN(offset, DEVICE_ROM_CHUNK), got = 0;
    uint8_t *p = machine_rom(&f->dev) + chunk;
    ssize_t n;
    if (f->filled[chunk / DEVICE_ROM_CHUNK])
        return p + (offset - chunk);
    do {
        n = pread(f->fd, p + got, DEVICE_ROM_CHUNK - got, (off_t)(chunk + got));
        got += n > 0 ? (uint64_t)n : 0;
    } while (got < DEVICE_ROM_CHUNK && (n > 0 || (n < 0 && errno == EINTR)));
    flip(f, p, got);
    memset(p + got, 0xff, DEVICE_ROM_CHUNK - got);
    f->filled[chunk / DEVICE_ROM_CHUNK] = true;
    return p + (offset - chunk);
}

static bool put(int fd, const uint8_t *p, uint64_t len, uint64_t at) {
    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno != EINTR)
            return false;
        n = n < 0 ? 0 : n;
        p += n, at += (uint64_t)n, len -= (uint64_t)n;
    }
    return true;
}

/* What lies between the file's end and offset is erased. */
static bool put_gap(const struct flash *f, uint64_t offset) {
    uint8_t erased[4096];
    off_t end = lseek(f->fd, 0, SEEK_END);
    memset(erased, 0xff, sizeof(erased));
    for (uint64_t at = (uint64_t)end; end >= 0 && at < offset; at += sizeof(erased))
        if (!put(f->fd, erased, offset - at < sizeof(erased) ? offset - at : sizeof(erased), at))
            return false;
    return end >= 0;
}

/* To the file. A sequence of 4 KiB: its copy is what is flipped. */
static bool put_contents(struct flash *f, uint64_t offset, uint64_t len) {
    uint8_t copy[4096];
    if (!f->flip && !put_gap(f, offset))
        return false;
    for (uint64_t done = 0, n; done < len; done += n) {
        n = len - done < sizeof(copy) ? len - done : sizeof(copy);
        memcpy(copy, machine_rom(&f->dev) + offset + done, n);
        flip(f, copy, n);
        if (!put(f->fd, copy, n, offset + done))
            return false;
    }
    return true;
}

static void changed(struct flash *f, uint64_t offset, uint64_t len) {
    machine_rom_changed(&f->dev, offset, len);
    if (put_contents(f, offset, len) || f->failed)
        return;
    f->failed = true;
    log_printf("graft: the flash's file cannot be written: %s\n", strerror(errno));
}

static void program(struct flash *f, uint64_t offset, uint32_t value, unsigned bytes) {
    if (f->readonly) {
        f->status |= STATUS_PROGRAM_ERROR;
        return;
    }
    memcpy(contents(f, offset), &value, bytes);
    changed(f, offset, bytes);
}

static void erase(struct flash *f, uint64_t offset) {
    if (f->readonly) {
        f->status |= STATUS_ERASE_ERROR;
        return;
    }
    offset = ALIGN_DOWN(offset, BLOCK);
    memset(contents(f, offset), 0xff, BLOCK);
    changed(f, offset, BLOCK);
}

/* --- a buffered write: all of it lies in one piece of the buffer's size ----------------------- */
static void buffer_word(struct flash *f, uint64_t offset, uint32_t value, unsigned bytes) {
    if (f->buffer_at == NO_BUFFER) {
        f->buffer_at = ALIGN_DOWN(offset, BUFFER);
        memcpy(f->buffer, contents(f, f->buffer_at), BUFFER);
    }
    if (f->readonly || ALIGN_DOWN(offset, BUFFER) != f->buffer_at)
        f->status |= STATUS_PROGRAM_ERROR;
    else
        memcpy(f->buffer + (offset - f->buffer_at), &value, bytes);
}

static void buffer_flush(struct flash *f) {
    if (f->buffer_at == NO_BUFFER)
        return;
    memcpy(contents(f, f->buffer_at), f->buffer, BUFFER);
    changed(f, f->buffer_at, BUFFER);
    f->buffer_at = NO_BUFFER;
}

/* --- reading ---------------------------------------------------------------------------------- */
/* What each of the devices says, side by side. */
static uint32_t both(uint32_t one) { return one | one << 16; }

static uint32_t id_at(uint64_t offset) {
    switch (offset / 4 & 0xff) {
    case 0: return both(ID_MAKER);
    case 1: return both(ID_DEVICE);
    default: return 0;
    }
}

static uint32_t query_at(const struct flash *f, uint64_t offset) {
    return offset / 4 < sizeof(f->query) ? both(f->query[offset / 4]) : 0;
}

static uint32_t array_at(struct flash *f, uint64_t offset, unsigned bytes) {
    uint32_t value = 0;
    memcpy(&value, contents(f, offset), bytes);
    machine_rom_map(&f->dev, offset); /* the next one is a load */
    return value;
}

static uint64_t flash_read(struct device *d, uint64_t offset, unsigned bytes) {
    struct flash *f = flash_of(d);
    switch (f->cmd) {
    case CMD_READ_ARRAY: return array_at(f, offset, bytes);
    case CMD_READ_ID: return id_at(offset);
    case CMD_QUERY: return query_at(f, offset);
    default: return bytes > 2 ? both(f->status) : f->status;
    }
}

/* --- commands: what a write means depends on how many came before it -------------------------- */
static void read_array(struct flash *f) {
    f->cycle = 0;
    f->cmd = CMD_READ_ARRAY;
    f->buffer_at = NO_BUFFER;
}

static void first_cycle(struct flash *f, uint8_t cmd) {
    switch (cmd) {
    case CMD_ERASE:
    case CMD_BUFFER: f->status |= STATUS_READY; break;
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT:
    case CMD_LOCK:
    case CMD_QUERY: break;
    case CMD_READ_STATUS:
    case CMD_READ_ID: f->cmd = cmd; return;
    case CMD_CLEAR_STATUS: f->status = 0; /* fall through */
    default: read_array(f); return;
    }
    f->cycle = 1;
    f->cmd = cmd;
}

static void confirmed(struct flash *f) {
    f->cycle = 0;
    f->status |= STATUS_READY;
}

static void second_cycle(struct flash *f, uint64_t offset, uint32_t value, unsigned bytes) {
    uint8_t cmd = (uint8_t)value;
    switch (f->cmd) {
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT:
        program(f, offset, value, bytes);
        confirmed(f);
        break;
    case CMD_BUFFER:
        f->left = value & 0xffff;
        f->cycle = 2;
        break;
    case CMD_QUERY:
        if (cmd == 0xff)
            read_array(f);
        break;
    case CMD_ERASE:
    case CMD_LOCK:
        if (cmd == CMD_CONFIRM && f->cmd == CMD_ERASE)
            erase(f, offset);
        if (cmd == CMD_CONFIRM || (cmd == 0x01 && f->cmd == CMD_LOCK))
            confirmed(f);
        else
            read_array(f);
        break;
    default: read_array(f);
    }
}

static void flash_write(struct device *d, uint64_t offset, uint64_t value64, unsigned bytes) {
    struct flash *f = flash_of(d);
    uint32_t value = (uint32_t)value64;
    switch (f->cycle) {
    case 0: first_cycle(f, (uint8_t)value); break;
    case 1: second_cycle(f, offset, value, bytes); break;
    case 2:
        buffer_word(f, offset, value, bytes);
        f->status |= STATUS_READY;
        if (f->left-- == 0)
            f->cycle = 3;
        break;
    default:
        if ((uint8_t)value == CMD_CONFIRM && !(f->status & STATUS_PROGRAM_ERROR)) {
            buffer_flush(f);
            confirmed(f);
        } else {
            read_array(f);
        }
    }
    if (f->cmd != CMD_READ_ARRAY)
        machine_rom_unmap(d);
}

/* --- creation --------------------------------------------------------------------------------- */
/* JEDEC JESD68: what a driver finds out by CMD_QUERY, of one device. */
static void fill_query(struct flash *f) {
    uint64_t blocks = f->dev.size / BLOCK, block = BLOCK / DEVICES, bytes = f->dev.size / DEVICES;
    const struct {
        uint8_t at, value;
    } table[] = {
        {0x10, 'Q'},
        {0x11, 'R'},
        {0x12, 'Y'},
        {0x13, 0x01}, /* Intel's extended commands */
        {0x15, 0x31}, /* where the table of those begins */
        {0x1b, 0x45},
        {0x1c, 0x55}, /* volts */
        {0x1f, 0x07},
        {0x20, 0x07},
        {0x21, 0x0a}, /* times, as powers of two: of a word, a buffer, a block */
        {0x23, 0x04},
        {0x24, 0x04},
        {0x25, 0x04}, /* and how much longer they may take */
        {0x27, (uint8_t)__builtin_ctzll(bytes)},
        {0x28, 0x02}, /* of 8 and 16 bits */
        {0x2a, (uint8_t)__builtin_ctz(BUFFER)},
        {0x2c, 0x01}, /* all blocks are alike */
        {0x2d, (uint8_t)(blocks - 1)},
        {0x2e, (uint8_t)((blocks - 1) >> 8)},
        {0x2f, (uint8_t)(block >> 8)},
        {0x30, (uint8_t)(block >> 16)},
        {0x31, 'P'},
        {0x32, 'R'},
        {0x33, 'I'},
        {0x34, '1'},
        {0x35, '0'},
        {0x3f, 0x01},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        f->query[table[i].at] = table[i].value;
}

static const struct state_field flash_state[] = {
    STATE(struct flash, cmd),
    STATE(struct flash, status),
    STATE_MAX(struct flash, cycle, 4, 3),
    STATE(struct flash, left),
    STATE(struct flash, buffer_at),
    STATE(struct flash, buffer),
    STATE_END,
};

/* Contents are the file's; they are memory again when someone reads them. */
static bool flash_loaded(struct device *d) {
    struct flash *f = flash_of(d);
    return f->buffer_at == NO_BUFFER || (f->buffer_at % BUFFER == 0 && f->buffer_at < d->size);
}

static void flash_destroy(struct device *d) { free(flash_of(d)); }

struct device *cfi_flash_create(struct machine *m, uint64_t gpa, uint64_t size, int fd, uint8_t flip, bool readonly) {
    static const struct device_ops ops = {.name = "cfi-flash",
                                          .read = flash_read,
                                          .write = flash_write,
                                          .state = flash_state,
                                          .loaded = flash_loaded,
                                          .destroy = flash_destroy};
    struct flash *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->dev = (struct device){.ops = &ops, .machine = m, .gpa = gpa, .size = size, .virtio_slot = -1};
    f->fd = fd;
    f->flip = flip;
    f->readonly = readonly;
    f->status = STATUS_READY;
    f->buffer_at = NO_BUFFER;
    fill_query(f);
    return &f->dev;
}
