/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* loader_unpack.c: what Linux packs its kernels with, with a limit to what may come out. */
#include "hypervisor/buffer.h"
#include "hypervisor/loader.h"

#include <bzlib.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define LZMA_MEMORY (UINT64_C(256) << 20)
#define STEP_MAX (1u << 30)             /* libraries with 32-bit sizes */
#define LZ4_OLD_MAGIC 0x184c2102u       /* what `lz4 -l` writes, Linux' own choice */
#define LZ4_OLD_BLOCK ((size_t)8 << 20) /* of it at most, unpacked */
#define MAGIC_BYTES 6                   /* enough for loader_packing() to know all but lzma */

/* Input, and output that grows up to a limit. */
struct sink {
    const uint8_t *in;
    size_t left;
    uint8_t *data;
    size_t len, room;
    uint64_t max;
    bool full; /* more wanted to come out than may */
};

/* sink_room(): at least one free byte; false at the limit. */
static bool sink_room(struct sink *s) {
    if (s->len < s->room)
        return true;
    uint64_t room = s->room ? (uint64_t)s->room * 2 : 1 << 16;
    if (room > s->max)
        room = s->max;
    s->full = room <= s->room;
    uint8_t *p = s->full ? NULL : buffer_grow(s->data, s->len, room);
    if (!p)
        return false;
    s->data = p;
    s->room = room;
    return true;
}

static bool sink_put(struct sink *s, const uint8_t *from, size_t len) {
    while (len) {
        if (!sink_room(s))
            return false;
        size_t n = s->room - s->len < len ? s->room - s->len : len;
        memcpy(s->data + s->len, from, n);
        s->len += n;
        from += n;
        len -= n;
    }
    return true;
}

static void take(struct sink *s, size_t n) {
    s->in += n;
    s->left -= n;
}

static unsigned step(size_t bytes) { return bytes < STEP_MAX ? (unsigned)bytes : STEP_MAX; }

/* Each of these unpacks one file of its format from the front of the input. */
static bool unpack_gzip(struct sink *s) {
    z_stream z = {0};
    int r = Z_OK;
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return false;
    while (r == Z_OK && sink_room(s)) {
        unsigned in = step(s->left), out = step(s->room - s->len);
        z.next_in = (Bytef *)s->in;
        z.avail_in = in;
        z.next_out = s->data + s->len;
        z.avail_out = out;
        r = inflate(&z, Z_NO_FLUSH);
        take(s, in - z.avail_in);
        s->len += out - z.avail_out;
    }
    inflateEnd(&z);
    return r == Z_STREAM_END;
}

static bool unpack_bzip2(struct sink *s) {
    bz_stream z = {0};
    int r = BZ_OK;
    bool moved = true;
    if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
        return false;
    while (r == BZ_OK && moved && sink_room(s)) {
        unsigned in = step(s->left), out = step(s->room - s->len);
        z.next_in = (char *)s->in;
        z.avail_in = in;
        z.next_out = (char *)s->data + s->len;
        z.avail_out = out;
        r = BZ2_bzDecompress(&z);
        moved = z.avail_in < in || z.avail_out < out; /* else the input has ended too early */
        take(s, in - z.avail_in);
        s->len += out - z.avail_out;
    }
    BZ2_bzDecompressEnd(&z);
    return r == BZ_STREAM_END;
}

static bool unpack_zstd(struct sink *s) {
    ZSTD_DStream *z = ZSTD_createDStream();
    size_t r = 1;
    bool moved = true;
    while (z && r && moved && !ZSTD_isError(r) && sink_room(s)) {
        ZSTD_inBuffer ib = {s->in, s->left, 0};
        ZSTD_outBuffer ob = {s->data + s->len, s->room - s->len, 0};
        r = ZSTD_decompressStream(z, &ob, &ib);
        moved = ib.pos || ob.pos; /* else the input has ended too early */
        take(s, ib.pos);
        s->len += ob.pos;
    }
    ZSTD_freeDStream(z);
    return r == 0;
}

static bool unpack_lzma(struct sink *s, bool alone) {
    lzma_stream z = LZMA_STREAM_INIT;
    lzma_ret r = alone ? lzma_alone_decoder(&z, LZMA_MEMORY) : lzma_stream_decoder(&z, LZMA_MEMORY, 0);
    z.next_in = s->in;
    z.avail_in = s->left;
    while (r == LZMA_OK && sink_room(s)) {
        z.next_out = s->data + s->len;
        z.avail_out = s->room - s->len;
        r = lzma_code(&z, LZMA_FINISH);
        s->len = s->room - z.avail_out;
    }
    take(s, s->left - z.avail_in);
    lzma_end(&z);
    return r == LZMA_STREAM_END;
}

static bool unpack_lz4_frame(struct sink *s) {
    LZ4F_dctx *z = NULL;
    size_t r = 1;
    bool moved = true;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&z, LZ4F_VERSION)))
        return false;
    while (r && moved && !LZ4F_isError(r) && sink_room(s)) {
        size_t in = s->left, out = s->room - s->len;
        r = LZ4F_decompress(z, s->data + s->len, &out, s->in, &in, NULL);
        moved = in || out;
        take(s, in);
        s->len += out;
    }
    LZ4F_freeDecompressionContext(z);
    return r == 0;
}

static uint32_t word(const struct sink *s) {
    uint32_t w = 0;
    memcpy(&w, s->in, s->left < 4 ? s->left : 4);
    return w;
}

/* Blocks with their sizes up to the end. Linux puts the unpacked size of all there, which looks like one more size. */
static bool unpack_lz4_old(struct sink *s) {
    char *block = malloc(LZ4_OLD_BLOCK);
    bool ok = block != NULL;
    take(s, 4);
    while (ok && s->left > 4 && word(s) != LZ4_OLD_MAGIC) {
        uint32_t bytes = word(s);
        take(s, 4);
        int n = bytes <= s->left ? LZ4_decompress_safe((const char *)s->in, block, (int)step(bytes), (int)LZ4_OLD_BLOCK)
                                 : -1;
        ok = n >= 0 && sink_put(s, (uint8_t *)block, (size_t)n);
        if (ok)
            take(s, bytes);
    }
    free(block);
    return ok;
}

static bool unpack_lz4(struct sink *s) {
    return s->left >= 4 && word(s) == LZ4_OLD_MAGIC ? unpack_lz4_old(s) : unpack_lz4_frame(s);
}

static bool unpack_xz(struct sink *s) { return unpack_lzma(s, false); }

static bool unpack_alone(struct sink *s) { return unpack_lzma(s, true); }

/* zboot's names are those of the rules in Linux' makefiles. */
static const struct packing {
    const char *kind, *name;
    bool (*unpack)(struct sink *s);
} packings[] = {{"gzip", "gzip", unpack_gzip}, {"zstd", "zstd", unpack_zstd},   {"zstd22", "zstd", unpack_zstd},
                {"xz", "xz", unpack_xz},       {"xzkern", "xz", unpack_xz},     {"lzma", "lzma", unpack_alone},
                {"lz4", "lz4", unpack_lz4},    {"bzip2", "bzip2", unpack_bzip2}};

/* unpack_all(): also what follows it in the same format. */
static bool unpack_all(const struct packing *p, struct sink *s) {
    const char *next;
    do {
        if (!p->unpack(s))
            return false;
        next = s->left >= MAGIC_BYTES ? loader_packing(s->in, s->left) : NULL;
    } while (next && p->unpack != unpack_alone && !strcmp(next, p->name));
    return true;
}

static const struct packing *packing_of(const char *kind) {
    const struct packing *p = packings, *end = packings + ARRAY_LEN(packings);
    while (p < end && strcmp(p->kind, kind))
        p++;
    return p == end ? NULL : p;
}

size_t loader_peek(const char *kind, const uint8_t *in, size_t len, uint64_t max, uint8_t **out) {
    struct sink s = {.in = in, .left = len, .max = max};
    const struct packing *p = packing_of(kind);
    if (p)
        p->unpack(&s); /* fails at the limit, if not before */
    *out = s.data;
    return s.len;
}

int loader_decompress(const char *kind, const uint8_t *in, size_t len, uint64_t max, uint8_t **out, size_t *out_len,
                      char err[LOADER_ERR_BYTES]) {
    struct sink s = {.in = in, .left = len, .max = max};
    const struct packing *p = packing_of(kind);
    if (!p) {
        snprintf(err, LOADER_ERR_BYTES, "packed with '%.31s', which is not supported", kind);
        return -1;
    }
    if (!unpack_all(p, &s)) {
        if (s.full)
            snprintf(err, LOADER_ERR_BYTES, "what is packed in it (%s) is larger than the guest's memory", p->name);
        else
            snprintf(err, LOADER_ERR_BYTES, "the packed data (%s) is cut off or corrupt", p->name);
        free(s.data);
        return -1;
    }
    *out = s.data;
    *out_len = s.len;
    return 0;
}
