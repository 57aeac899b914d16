/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* loader_unpack.c: gzip, zstd and xz, with a limit to what may come out. */
#include "hypervisor/loader.h"

#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define LZMA_MEMORY (UINT64_C(256) << 20)

/* Output that grows up to a limit. */
struct sink {
    uint8_t *data;
    size_t len, room;
    uint64_t max;
};

/* sink_room(): at least one free byte; false at the limit. */
static bool sink_room(struct sink *s) {
    if (s->len < s->room)
        return true;
    uint64_t room = s->room ? (uint64_t)s->room * 2 : 1 << 16;
    if (room > s->max)
        room = s->max;
    if (room <= s->room)
        return false;
    uint8_t *p = realloc(s->data, room);
    if (!p)
        return false;
    s->data = p;
    s->room = room;
    return true;
}

static bool unpack_gzip(struct sink *s, const uint8_t *in, size_t len) {
    z_stream z = {0};
    int r = Z_OK;
    if (len > UINT32_MAX || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return false;
    z.next_in = (Bytef *)in;
    z.avail_in = (uInt)len;
    while (r == Z_OK && sink_room(s)) {
        size_t room = s->room - s->len;
        uInt step = room > 1u << 30 ? 1u << 30 : (uInt)room;
        z.next_out = s->data + s->len;
        z.avail_out = step;
        r = inflate(&z, Z_NO_FLUSH);
        s->len += step - z.avail_out;
    }
    inflateEnd(&z);
    return r == Z_STREAM_END;
}

static bool unpack_zstd(struct sink *s, const uint8_t *in, size_t len) {
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer ib = {in, len, 0};
    size_t r = 1;
    while (z && r && !ZSTD_isError(r) && sink_room(s)) {
        ZSTD_outBuffer ob = {s->data + s->len, s->room - s->len, 0};
        size_t before = ib.pos;
        r = ZSTD_decompressStream(z, &ob, &ib);
        s->len += ob.pos;
        if (r && !ZSTD_isError(r) && ob.pos == 0 && ib.pos == before)
            break; /* the input has ended too early */
    }
    ZSTD_freeDStream(z);
    return r == 0;
}

static bool unpack_xz(struct sink *s, const uint8_t *in, size_t len) {
    lzma_stream z = LZMA_STREAM_INIT;
    lzma_ret r = lzma_stream_decoder(&z, LZMA_MEMORY, 0);
    z.next_in = in;
    z.avail_in = len;
    while (r == LZMA_OK && sink_room(s)) {
        z.next_out = s->data + s->len;
        z.avail_out = s->room - s->len;
        r = lzma_code(&z, LZMA_FINISH);
        s->len = s->room - z.avail_out;
    }
    lzma_end(&z);
    return r == LZMA_STREAM_END;
}

int loader_decompress(const char *kind, const uint8_t *in, size_t len, uint64_t max, uint8_t **out, size_t *out_len,
                      char err[LOADER_ERR_BYTES]) {
    struct sink s = {.max = max};
    bool ok;
    if (!strcmp(kind, "gzip")) {
        ok = unpack_gzip(&s, in, len);
    } else if (!strcmp(kind, "zstd")) {
        ok = unpack_zstd(&s, in, len);
    } else if (!strcmp(kind, "xz") || !strcmp(kind, "xzkern")) {
        ok = unpack_xz(&s, in, len);
    } else {
        snprintf(err, LOADER_ERR_BYTES, "unknown compression '%.31s'", kind);
        return -1;
    }
    if (!ok) {
        snprintf(err, LOADER_ERR_BYTES, "%s data is corrupt, or larger than the guest's memory", kind);
        free(s.data);
        return -1;
    }
    *out = s.data;
    *out_len = s.len;
    return 0;
}
