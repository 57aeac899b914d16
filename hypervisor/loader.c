/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* loader.c: recognises what kind of guest program a file is, and loads it as QEMU's virt does. */
#include "hypervisor/loader.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OLD_OFFSET 0x80000u /* before Linux 3.17 */
#define INITRD_OFFSET (UINT64_C(128) << 20)
#define DTB_ALIGN (UINT64_C(2) << 20)

/* Linux' Documentation/arch/arm64/booting.rst */
struct image_header {
    uint32_t code0, code1;
    uint64_t text_offset, image_size, flags, reserved[3];
    uint32_t magic, pe_offset;
};
#define IMAGE_BIG_ENDIAN 1u
#define IMAGE_PAGES(flags) ((flags) >> 1 & 3)

/* Linux' drivers/firmware/efi/libstub/zboot-header.S */
struct zboot_header {
    uint32_t mz;
    char zimg[4];
    uint32_t payload_offset, payload_size, reserved[2];
    char compression[32];
};

static int wrong(char err[LOADER_ERR_BYTES], const char *what) {
    snprintf(err, LOADER_ERR_BYTES, "%s", what);
    return -1;
}

/* in_ram(): is [gpa, gpa+len) all RAM? */
static bool in_ram(const struct loader_target *t, uint64_t gpa, uint64_t len) {
    return gpa >= t->board->ram && gpa - t->board->ram <= t->ram_size && len <= t->ram_size - (gpa - t->board->ram);
}

/* --- what is loaded --------------------------------------------------------------------------- */
static bool read_at(int fd, uint64_t at, uint8_t *to, uint64_t len) {
    while (len) {
        ssize_t n = pread(fd, to, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        at += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return true;
}

bool loader_fetch(const struct loader_file *f, uint64_t at, void *to, uint64_t len) {
    if (at > f->len || len > f->len - at)
        return false;
    if (!f->data)
        return read_at(f->fd, at, to, len);
    memcpy(to, f->data + at, len);
    return true;
}

static int cannot_read(char err[LOADER_ERR_BYTES]) { return wrong(err, "cannot be read, or has become shorter"); }

static int put_program(struct loader_target *t, const struct loader_file *f, uint64_t offset, uint64_t size,
                       char err[LOADER_ERR_BYTES]) {
    if (size < f->len)
        size = f->len;
    if (offset > t->ram_size || size > t->ram_size - offset)
        return wrong(err, "does not fit into the guest's memory");
    if (!loader_fetch(f, 0, t->ram + offset, f->len))
        return cannot_read(err);
    t->entry = t->low = t->board->ram + offset;
    t->high = t->low + size;
    t->linux_boot = true;
    return 0;
}

static int load_image(const struct loader_file *f, struct loader_target *t, char err[LOADER_ERR_BYTES]) {
    struct image_header h;
    if (!loader_fetch(f, 0, &h, sizeof(h)))
        return cannot_read(err);
    if (h.image_size == 0) {
        h.text_offset = OLD_OFFSET;
        h.flags = 0;
    }
    if (h.flags & IMAGE_BIG_ENDIAN)
        return wrong(err, "a big-endian kernel: not supported");
    if (IMAGE_PAGES(h.flags) > 1)
        return wrong(err, "a kernel for 16 or 64 KiB pages: only 4 KiB pages are supported");
    if (h.text_offset > t->ram_size)
        return wrong(err, "the Image's text_offset is outside the guest's memory");
    uint64_t offset = h.text_offset < t->board->kernel_offset && h.image_size ? h.text_offset + t->board->kernel_offset
                                                                              : h.text_offset;
    return put_program(t, f, offset, h.image_size, err);
}

/* The board that it is an Image for, NULL if it is none. */
static const struct board *image_board(const uint8_t *file, size_t len) {
    struct image_header h;
    if (len < sizeof(h))
        return NULL;
    memcpy(&h, file, sizeof(h));
    const struct board *const *b = boards;
    while (*b && (*b)->image_magic != h.magic)
        b++;
    return *b;
}

/* --- ELF -------------------------------------------------------------------------------------- */
static int load_segment(const struct loader_file *f, const Elf64_Phdr *p, struct loader_target *t,
                        char err[LOADER_ERR_BYTES]) {
    if (p->p_filesz > p->p_memsz || p->p_offset > f->len || p->p_filesz > f->len - p->p_offset)
        return wrong(err, "ELF: a segment is outside the file");
    if (!in_ram(t, p->p_paddr, p->p_memsz))
        return wrong(err, "ELF: a segment is outside the guest's memory");
    uint8_t *to = t->ram + (p->p_paddr - t->board->ram);
    if (!loader_fetch(f, p->p_offset, to, p->p_filesz))
        return cannot_read(err);
    memset(to + p->p_filesz, 0, p->p_memsz - p->p_filesz);
    if (p->p_paddr < t->low)
        t->low = p->p_paddr;
    if (p->p_paddr + p->p_memsz > t->high)
        t->high = p->p_paddr + p->p_memsz;
    return 0;
}

static int wrong_elf(const Elf64_Ehdr *h, const char *wanted, char err[LOADER_ERR_BYTES]) {
    bool big = h->e_ident[EI_DATA] == ELFDATA2MSB;
    unsigned number = big ? (unsigned)__builtin_bswap16(h->e_machine) : h->e_machine;
    const char *machine = loader_machine(number);
    if (!machine)
        snprintf(err, LOADER_ERR_BYTES, "an ELF file for machine %u, not a kernel for %s", number, wanted);
    else
        snprintf(err, LOADER_ERR_BYTES, "an ELF file for %s%s, not a kernel for %s%s", big ? "big-endian " : "",
                 machine, big ? "little-endian " : "", wanted);
    return -1;
}

static int wrong_program(const struct board *b, char err[LOADER_ERR_BYTES]) {
    snprintf(err, LOADER_ERR_BYTES, "a program for %s Linux (ELF), not a kernel", b->machine);
    return -1;
}

static int load_elf(const struct loader_file *f, struct loader_target *t, char err[LOADER_ERR_BYTES]) {
    Elf64_Ehdr h;
    Elf64_Phdr p;
    if (!loader_fetch(f, 0, &h, sizeof(h)))
        return wrong(err, "ELF: the file is too short");
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != t->board->elf_machine)
        return wrong_elf(&h, t->board->machine, err);
    if (h.e_type == ET_REL)
        return wrong(err, "an object file (ELF), not a kernel");
    if (h.e_phentsize != sizeof(p) || h.e_phoff > f->len || h.e_phnum > (f->len - h.e_phoff) / sizeof(p))
        return wrong(err, "ELF: the program headers are outside the file");
    t->low = UINT64_MAX;
    t->high = 0;
    t->entry = h.e_entry;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        if (!loader_fetch(f, h.e_phoff + i * sizeof(p), &p, sizeof(p)))
            return cannot_read(err);
        if (p.p_type == PT_INTERP)
            return wrong_program(t->board, err);
        if (p.p_type != PT_LOAD || !p.p_memsz)
            continue;
        if (load_segment(f, &p, t, err))
            return -1;
        /* The entry is a virtual address; the guest starts without an MMU. */
        if (h.e_entry >= p.p_vaddr && h.e_entry - p.p_vaddr < p.p_filesz)
            t->entry = h.e_entry - p.p_vaddr + p.p_paddr;
    }
    if (!t->high)
        return wrong(err, "ELF: nothing to load");
    t->linux_boot = false;
    return 0;
}

/* --- what kind it is -------------------------------------------------------------------------- */
int loader_refuse(const uint8_t *head, size_t len, enum loader_use *use, char err[LOADER_ERR_BYTES]) {
    const struct loader_kind *k = loader_kind(head, len);
    *use = k ? k->use : LOADER_NO_USE;
    if (!k)
        return wrong(err,
                     "no kernel that is known (Image, ELF, zboot, or one of these packed). A flat binary needs --flat");
    snprintf(err, LOADER_ERR_BYTES, "%s, not a kernel", k->what);
    return -1;
}

static bool is_elf(const uint8_t *file, size_t len) { return len >= SELFMAG && !memcmp(file, ELFMAG, SELFMAG); }

/* One that is not packed, and starts with head. */
static int load_plain(const struct loader_file *f, const uint8_t *head, size_t len, struct loader_target *t,
                      char err[LOADER_ERR_BYTES]) {
    const struct board *image = image_board(head, len);
    if (image && image != t->board) {
        snprintf(err, LOADER_ERR_BYTES, "a Linux kernel for %s, not for %s", image->machine, t->board->machine);
        return -1;
    }
    if (image)
        return load_image(f, t, err);
    if (is_elf(head, len))
        return load_elf(f, t, err);
    return loader_refuse(head, len, &t->use, err);
}

static int load_unpacked(const char *kind, const uint8_t *in, size_t len, struct loader_target *t,
                         char err[LOADER_ERR_BYTES]) {
    char why[LOADER_ERR_BYTES];
    uint8_t *out;
    size_t out_len;
    if (loader_decompress(kind, in, len, t->ram_size, &out, &out_len, err))
        return -1;
    struct loader_file f = {.data = out, .len = out_len};
    int r = out_len ? load_plain(&f, out, out_len, t, why) : wrong(why, "empty");
    if (t->use != LOADER_INITRD) /* a packed one is good as it is */
        t->use = LOADER_NO_USE;
    if (r)
        snprintf(err, LOADER_ERR_BYTES, "what is packed in it (%s): %.200s", kind, why);
    free(out);
    return r;
}

/* What is packed is [at, at+len) of the file. */
static int load_packed(const char *kind, const struct loader_file *f, uint64_t at, uint64_t len,
                       struct loader_target *t, char err[LOADER_ERR_BYTES]) {
    if (f->data)
        return load_unpacked(kind, f->data + at, len, t, err);
    uint8_t *in = malloc(len + !len);
    int r = !in                             ? wrong(err, "out of memory")
            : !loader_fetch(f, at, in, len) ? cannot_read(err)
                                            : load_unpacked(kind, in, len, t, err);
    free(in);
    return r;
}

static bool is_zboot(const uint8_t *file, size_t len) {
    return len >= 8 && file[0] == 'M' && file[1] == 'Z' && !memcmp(file + 4, "zimg", 4);
}

static int load_zboot(const struct loader_file *f, struct loader_target *t, char err[LOADER_ERR_BYTES]) {
    struct zboot_header h;
    if (!loader_fetch(f, 0, &h, sizeof(h)))
        return wrong(err, "zboot: the file is too short");
    h.compression[sizeof(h.compression) - 1] = 0;
    for (char *c = h.compression; *c; c++)
        if (*c < ' ' || *c > '~')
            return wrong(err, "zboot: the name of the compression is not text");
    if (h.payload_offset > f->len || h.payload_size > f->len - h.payload_offset)
        return wrong(err, "zboot: the payload is outside the file");
    return load_packed(h.compression, f, h.payload_offset, h.payload_size, t, err);
}

bool loader_is_kernel(const uint8_t *head, size_t len) {
    return image_board(head, len) || is_elf(head, len) || is_zboot(head, len) || loader_packing(head, len);
}

bool loader_unpacks(const uint8_t *head, size_t len) { return is_zboot(head, len) || loader_packing(head, len); }

static const struct board *elf_board(const uint8_t *file, size_t len) {
    Elf64_Ehdr h;
    if (len < sizeof(h) || !is_elf(file, len))
        return NULL;
    memcpy(&h, file, sizeof(h));
    const struct board *const *b = boards;
    while (*b && (h.e_ident[EI_DATA] != ELFDATA2LSB || (*b)->elf_machine != h.e_machine))
        b++;
    return *b;
}

/* What is at the start of the file tells, or at the start of what is packed in it. */
const struct board *loader_board(const uint8_t *file, size_t len) {
    const char *packing = loader_packing(file, len);
    struct zboot_header h;
    uint8_t *out = NULL;
    size_t out_len = 0;
    if (is_zboot(file, len) && len >= sizeof(h)) {
        memcpy(&h, file, sizeof(h));
        h.compression[sizeof(h.compression) - 1] = 0;
        if (h.payload_offset > len || h.payload_size > len - h.payload_offset)
            return NULL;
        out_len = loader_peek(h.compression, file + h.payload_offset, h.payload_size, LOADER_HEAD, &out);
    } else if (packing) {
        out_len = loader_peek(packing, file, len, LOADER_HEAD, &out);
    }
    const uint8_t *head = out ? out : file;
    if (out)
        len = out_len;
    const struct board *image = image_board(head, len), *found = image ? image : elf_board(head, len);
    free(out);
    return found;
}

static int load_by_head(const struct loader_file *f, const uint8_t *head, size_t len, struct loader_target *t,
                        char err[LOADER_ERR_BYTES]) {
    const char *packing = loader_packing(head, len);
    if (is_zboot(head, len))
        return load_zboot(f, t, err);
    return packing ? load_packed(packing, f, 0, f->len, t, err) : load_plain(f, head, len, t, err);
}

int loader_load(const struct loader_file *f, struct loader_target *t, char err[LOADER_ERR_BYTES]) {
    t->use = LOADER_NO_USE;
    if (f->len == 0)
        return wrong(err, "the file is empty");
    if (t->flat)
        return put_program(t, f, t->above_firmware ? t->board->kernel_offset : t->board->flat_offset, f->len, err);
    if (f->data)
        return load_by_head(f, f->data, f->len, t, err);
    size_t len = f->len < LOADER_HEAD ? f->len : LOADER_HEAD;
    uint8_t *head = malloc(len);
    int r = !head                            ? wrong(err, "out of memory")
            : !loader_fetch(f, 0, head, len) ? cannot_read(err)
                                             : load_by_head(f, head, len, t, err);
    free(head);
    return r;
}

/* --- placement -------------------------------------------------------------------------------- */
int loader_place(const struct loader_target *t, struct loader_place *p, char err[LOADER_ERR_BYTES]) {
    uint64_t half = t->ram_size / 2;
    uint64_t at = t->board->ram + (half < INITRD_OFFSET ? half : INITRD_OFFSET);
    if (at < t->high)
        at = t->high;
    p->initrd = ALIGN_UP(at, PAGE_SIZE);
    if (!in_ram(t, p->initrd, p->initrd_size))
        return wrong(err, "the initial RAM disk does not fit into the guest's memory");
    p->dtb = ALIGN_UP(p->initrd + p->initrd_size, DTB_ALIGN);
    if (!t->linux_boot && t->low - t->board->ram >= p->dtb_size)
        p->dtb = t->board->ram; /* a bare-metal program finds it at the start of RAM, as on virt */
    if (!in_ram(t, p->dtb, p->dtb_size))
        return wrong(err, "the device tree does not fit into the guest's memory");
    return 0;
}
