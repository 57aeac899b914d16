/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_loader.c: hostile kernel files. The first byte says how the rest is dressed up, so that a mutation reaches the
 * parsers behind a magic number or a checksum: as it is, packed in each way, a zboot container, an Image or an ELF
 * header in front. Guest RAM is a heap block of exactly its size, so that ASan sees a step outside it. Each is loaded
 * from memory and from an open file.
 */
#define _GNU_SOURCE /* memfd_create() */
#include "hypervisor/loader.h"

#include <bzlib.h>
#include <elf.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define RAM_BYTES (256u << 10)
#define RAM_GPA UINT64_C(0x40000000)
#define MAX_FILE (64u << 10)

enum dress { AS_IS, FLAT, IMAGE, ELF, PACKED, ZBOOT, PACKED_IMAGE, PACKED_ELF, DRESSES };

static size_t pack_gzip(uint8_t *out, const uint8_t *in, size_t len) {
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

static size_t pack_bzip2(uint8_t *out, const uint8_t *in, size_t len) {
    unsigned n = MAX_FILE;
    return BZ2_bzBuffToBuffCompress((char *)out, &n, (char *)(uintptr_t)in, (unsigned)len, 1, 0, 0) == BZ_OK ? n : 0;
}

static size_t pack_zstd(uint8_t *out, const uint8_t *in, size_t len) {
    size_t n = ZSTD_compress(out, MAX_FILE, in, len, 1);
    return ZSTD_isError(n) ? 0 : n;
}

static size_t pack_xz(uint8_t *out, const uint8_t *in, size_t len) {
    size_t n = 0;
    return lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, in, len, out, &n, MAX_FILE) == LZMA_OK ? n : 0;
}

static size_t pack_lzma(uint8_t *out, const uint8_t *in, size_t len) {
    lzma_stream z = LZMA_STREAM_INIT;
    lzma_options_lzma o;
    if (lzma_lzma_preset(&o, 0) || lzma_alone_encoder(&z, &o) != LZMA_OK)
        abort();
    z.next_in = in;
    z.avail_in = len;
    z.next_out = out;
    z.avail_out = MAX_FILE;
    lzma_ret r = lzma_code(&z, LZMA_FINISH);
    size_t n = r == LZMA_STREAM_END ? z.total_out : 0;
    lzma_end(&z);
    return n;
}

static size_t pack_lz4(uint8_t *out, const uint8_t *in, size_t len) {
    size_t n = LZ4F_compressFrame(out, MAX_FILE, in, len, NULL);
    return LZ4F_isError(n) ? 0 : n;
}

/* As `lz4 -l` does: one block. */
static size_t pack_lz4_old(uint8_t *out, const uint8_t *in, size_t len) {
    static const uint8_t magic[4] = {0x02, 0x21, 0x4c, 0x18};
    uint32_t n = (uint32_t)LZ4_compress_default((const char *)in, (char *)out + 8, (int)len, MAX_FILE - 8);
    memcpy(out, magic, 4);
    memcpy(out + 4, &n, 4);
    return 8 + n;
}

/* As zboot calls them. */
static const struct {
    const char *name;
    size_t (*pack)(uint8_t *out, const uint8_t *in, size_t len);
} packings[] = {{"gzip", pack_gzip}, {"bzip2", pack_bzip2}, {"zstd22", pack_zstd}, {"xzkern", pack_xz},
                {"lzma", pack_lzma}, {"lz4", pack_lz4},     {"lz4", pack_lz4_old}};

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

static size_t zboot(uint8_t *out, const uint8_t *in, size_t len, unsigned packing) {
    static const uint8_t head[64] = {'M', 'Z', 0, 0, 'z', 'i', 'm', 'g', 64};
    memcpy(out, head, sizeof(head));
    strcpy((char *)out + 24, packings[packing].name);
    uint32_t packed = (uint32_t)packings[packing].pack(out + sizeof(head), in, len);
    memcpy(out + 12, &packed, 4);
    return sizeof(head) + packed;
}

static size_t dress_up(enum dress how, unsigned packing, uint8_t *out, const uint8_t *in, size_t len) {
    static uint8_t inner[2 * MAX_FILE];
    switch (how) {
    case PACKED: return packings[packing].pack(out, in, len);
    case ZBOOT: return zboot(out, inner, image(inner, in, len), packing);
    case IMAGE: return image(out, in, len);
    case ELF: return elf(out, in, len);
    case PACKED_IMAGE: return packings[packing].pack(out, inner, image(inner, in, len));
    case PACKED_ELF: return packings[packing].pack(out, inner, elf(inner, in, len));
    default: memcpy(out, in, len); return len;
    }
}

/* All of RAM after loading is what it would be from memory, or it is refused for the same reason. */
static void load_from_file(const uint8_t *file, size_t len, const struct loader_target *t, int loaded,
                           const char *reason) {
    static int fd = -1;
    char err[LOADER_ERR_BYTES];
    uint8_t *ram = calloc(1, RAM_BYTES);
    if (fd < 0)
        fd = memfd_create("kernel", 0);
    if (!ram || fd < 0 || ftruncate(fd, 0) || pwrite(fd, file, len, 0) != (ssize_t)len)
        abort();
    struct loader_target again = {.ram = ram, .ram_size = RAM_BYTES, .board = t->board, .flat = t->flat};
    int r = loader_load(&(struct loader_file){.fd = fd, .len = len}, &again, err);
    if (r != loaded || (r && (strcmp(err, reason) || again.use != t->use)) ||
        (!r && (again.entry != t->entry || again.low != t->low || again.high != t->high)) ||
        memcmp(ram, t->ram, RAM_BYTES))
        abort();
    /* What has become shorter since it was opened is refused, or was not needed. */
    if (!r && len && !ftruncate(fd, (off_t)(len - 1)) &&
        !loader_load(&(struct loader_file){.fd = fd, .len = len}, &again, err) && memcmp(ram, t->ram, RAM_BYTES))
        abort();
    free(ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t scratch[4 * MAX_FILE];
    char err[LOADER_ERR_BYTES] = "";
    if (size < 2 || size > MAX_FILE / 2)
        return 0;
    enum dress how = data[0] % DRESSES;
    size_t len = dress_up(how, data[0] / DRESSES % ARRAY_LEN(packings), scratch, data + 1, size - 1);
    uint8_t *file = malloc(len ? len : 1), *ram = calloc(1, RAM_BYTES);
    if (!file || !ram)
        abort();
    memcpy(file, scratch, len);
    const struct loader_file from = {.data = file, .len = len};
    const struct board *board = loader_board(file, len);
    struct loader_target t = {
        .ram = ram, .ram_size = RAM_BYTES, .board = board ? board : boards[data[0] >> 7], .flat = how == FLAT};
    uint64_t start = t.board->ram, end = start + RAM_BYTES;
    int loaded = loader_load(&from, &t, err);
    if (!loader_is_kernel(file, len) && loader_kind(file, len) && !t.flat && loaded == 0)
        abort();
    load_from_file(file, len, &t, loaded, err);
    if (loaded == 0) {
        struct loader_place p = {.initrd_size = data[size - 1] * 1024u, .dtb_size = 8192};
        if (t.low < start || t.high > end || t.low > t.high)
            abort();
        if (loader_place(&t, &p, err) == 0 &&
            (p.initrd + p.initrd_size > end || p.dtb < start || p.dtb + p.dtb_size > end))
            abort();
    }
    free(ram);
    free(file);
    return 0;
}
