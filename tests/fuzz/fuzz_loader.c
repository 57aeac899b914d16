/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_loader.c: hostile kernel files. The first byte says how the rest is dressed up, so that a mutation reaches the
 * parsers behind a magic number or a checksum: as it is, gzip, a zboot container, an Image or an ELF header in front.
 * Guest RAM is a heap block of exactly its size, so that ASan sees a step outside it.
 */
#include "hypervisor/loader.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define RAM_BYTES (256u << 10)
#define RAM_GPA UINT64_C(0x40000000)
#define MAX_FILE (64u << 10)

enum dress { AS_IS, GZIP, ZBOOT, IMAGE, ELF, GZIP_IMAGE, GZIP_ELF, DRESSES };

static size_t pack(uint8_t *out, const uint8_t *in, size_t len) {
    z_stream z = {0};
    if (deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = MAX_FILE;
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return z.total_out;
}

static size_t image(uint8_t *out, const uint8_t *in, size_t len) {
    memcpy(out, in, len);
    if (len < 64)
        memset(out + len, 0, 64 - len);
    memcpy(out + 56, "ARM\x64", 4);
    return len < 64 ? 64 : len;
}

static size_t elf(uint8_t *out, const uint8_t *in, size_t len) {
    Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                    .e_machine = EM_AARCH64,
                    .e_phoff = sizeof(h),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 2,
                    .e_entry = RAM_GPA};
    memcpy(out, &h, sizeof(h));
    memcpy(out + sizeof(h), in, len);
    return sizeof(h) + len;
}

static size_t zboot(uint8_t *out, const uint8_t *in, size_t len) {
    static const uint8_t head[64] = {'M', 'Z', 0, 0, 'z', 'i', 'm', 'g', 64, 0, 0,   0,   0,   0,
                                     0,   0,   0, 0, 0,   0,   0,   0,   0,  0, 'g', 'z', 'i', 'p'};
    memcpy(out, head, sizeof(head));
    uint32_t packed = (uint32_t)pack(out + sizeof(head), in, len);
    memcpy(out + 12, &packed, 4);
    return sizeof(head) + packed;
}

static size_t dress_up(enum dress how, uint8_t *out, const uint8_t *in, size_t len) {
    static uint8_t inner[2 * MAX_FILE];
    switch (how) {
    case GZIP: return pack(out, in, len);
    case ZBOOT: return zboot(out, inner, image(inner, in, len));
    case IMAGE: return image(out, in, len);
    case ELF: return elf(out, in, len);
    case GZIP_IMAGE: return pack(out, inner, image(inner, in, len));
    case GZIP_ELF: return pack(out, inner, elf(inner, in, len));
    default: memcpy(out, in, len); return len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t scratch[4 * MAX_FILE];
    char err[LOADER_ERR_BYTES];
    if (size < 2 || size > MAX_FILE / 2)
        return 0;
    size_t len = dress_up(data[0] % DRESSES, scratch, data + 1, size - 1);
    uint8_t *file = malloc(len ? len : 1), *ram = malloc(RAM_BYTES);
    if (!file || !ram)
        abort();
    memcpy(file, scratch, len);
    struct loader_target t = {.ram = ram, .ram_gpa = RAM_GPA, .ram_size = RAM_BYTES};
    if (loader_load(file, len, &t, err) == 0) {
        struct loader_place p = {.initrd_size = data[size - 1] * 1024u, .dtb_size = 8192};
        if (t.low < RAM_GPA || t.high > RAM_GPA + RAM_BYTES || t.low > t.high)
            abort();
        if (loader_place(&t, &p, err) == 0 && (p.initrd + p.initrd_size > RAM_GPA + RAM_BYTES || p.dtb < RAM_GPA ||
                                               p.dtb + p.dtb_size > RAM_GPA + RAM_BYTES))
            abort();
    }
    free(ram);
    free(file);
    return 0;
}
