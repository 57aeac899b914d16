/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * state.c: the fields of a table (graft/state.h) as records, and back. An object is its name and how many fields
 * follow; a field is its name, how many bytes, and these. Names are a byte with their length and the letters.
 */
#include "hypervisor/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 255u

static void put(struct state_out *o, const void *data, size_t len) {
    if (o->len + len > o->room && !o->failed) {
        size_t room = 2 * (o->len + len) + 4096;
        uint8_t *p = realloc(o->data, room);
        o->failed = !p;
        o->data = p ? p : o->data;
        o->room = p ? room : o->room;
    }
    if (o->failed)
        return;
    memcpy(o->data + o->len, data, len);
    o->len += len;
}

static void put_name(struct state_out *o, const char *name) {
    size_t n = strlen(name);
    uint8_t len = (uint8_t)(n < NAME_MAX_BYTES ? n : NAME_MAX_BYTES);
    put(o, &len, 1);
    put(o, name, len);
}

static void put_number(struct state_out *o, uint32_t n) { put(o, &n, sizeof(n)); }

static unsigned count_fields(const struct state_field *table) {
    unsigned n = 0;
    for (const struct state_field *f = table; f->name; f++)
        n += f->kind != STATE_KIND_DERIVED;
    return n;
}

void state_save(struct state_out *o, const char *object, const struct state_field *table, const void *from) {
    put_name(o, object);
    put_number(o, count_fields(table));
    for (const struct state_field *f = table; f->name; f++) {
        if (f->kind == STATE_KIND_DERIVED)
            continue;
        put_name(o, f->name);
        put_number(o, f->bytes);
        put(o, (const uint8_t *)from + f->offset, f->bytes);
    }
}

/* --- loading ---------------------------------------------------------------------------------- */
static bool take(struct state_in *i, void *data, size_t len) {
    if ((size_t)(i->end - i->at) < len)
        return false;
    memcpy(data, i->at, len);
    i->at += len;
    return true;
}

static bool take_name(struct state_in *i, const char *wanted) {
    char name[NAME_MAX_BYTES];
    uint8_t len;
    return take(i, &len, 1) && take(i, name, len) && len == strlen(wanted) && !memcmp(name, wanted, len);
}

static bool take_number(struct state_in *i, uint32_t wanted) {
    uint32_t n;
    return take(i, &n, sizeof(n)) && n == wanted;
}

/* Are all numbers of a field such as it may have? */
static bool in_range(const struct state_field *f, const uint8_t *data) {
    for (uint32_t at = 0; f->unit && at + f->unit <= f->bytes; at += f->unit) {
        uint64_t number = 0;
        memcpy(&number, data + at, f->unit);
        if (number > f->max)
            return false;
    }
    return true;
}

static bool wrong(char err[ERR_BYTES], const char *object, const char *field, const char *why) {
    snprintf(err, ERR_BYTES, "%.60s%s%.40s: %s", object, *field ? ": " : "", field, why);
    return false;
}

static bool load_field(struct state_in *i, const char *object, const struct state_field *f, uint8_t *to,
                       char err[ERR_BYTES]) {
    if (!take_name(i, f->name) || !take_number(i, f->bytes) || (size_t)(i->end - i->at) < f->bytes)
        return wrong(err, object, f->name, "this version of Graft has other state there");
    const uint8_t *data = i->at;
    i->at += f->bytes;
    if (f->kind == STATE_KIND_SAME)
        return !memcmp(to + f->offset, data, f->bytes) ||
               wrong(err, object, f->name, "it is another here: another processor model, or features of the host");
    if (!in_range(f, data))
        return wrong(err, object, f->name, "it cannot have such a value");
    memcpy(to + f->offset, data, f->bytes);
    return true;
}

bool state_load(struct state_in *i, const char *object, const struct state_field *table, void *to,
                char err[ERR_BYTES]) {
    if (!take_name(i, object) || !take_number(i, count_fields(table)))
        return wrong(err, object, "", "this version of Graft has other state there");
    for (const struct state_field *f = table; f->name; f++)
        if (f->kind != STATE_KIND_DERIVED && !load_field(i, object, f, to, err))
            return false;
    return true;
}
