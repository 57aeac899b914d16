/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* json_split.c: see control.h. */
#include "hypervisor/control.h"

static void take(struct json_split *s, char byte) {
    if (s->len == JSON_BYTES)
        s->too_long = true;
    else
        s->message[s->len++] = byte;
}

static bool end(struct json_split *s) {
    bool any = s->len > 0;
    s->message[s->len] = 0;
    s->depth = 0;
    s->text = s->escaped = false;
    return any;
}

static bool in_text(struct json_split *s, char byte) {
    if (s->escaped)
        s->escaped = false;
    else if (byte == '\\')
        s->escaped = true;
    else if (byte == '"')
        s->text = false;
    return false;
}

bool json_split(struct json_split *s, char byte) {
    bool space = byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
    if (space && !s->len)
        return false;
    if (byte == '\n' && !s->depth)
        return end(s);
    take(s, byte);
    if (s->text)
        return in_text(s, byte);
    switch (byte) {
    case '"': s->text = true; return false;
    case '{':
    case '[': s->depth++; return false;
    case '}':
    case ']':
        if (s->depth)
            s->depth--;
        return !s->depth && end(s);
    default: return false;
    }
}
