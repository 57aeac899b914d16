/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gdb_packet.c: see gdb_packet.h. */
#include "hypervisor/gdb_packet.h"

#include <stdio.h>

static int digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void begin(struct gdb_parser *p) {
    p->state = GDB_TEXT;
    p->len = 0;
    p->sum = 0;
    p->too_long = p->escaped = false;
}

static enum gdb_event outside(struct gdb_parser *p, uint8_t byte) {
    if (byte == '$')
        begin(p);
    return byte == 3 ? GDB_INTERRUPT : byte == '-' ? GDB_RESEND : GDB_NOTHING;
}

static void take(struct gdb_parser *p, uint8_t byte) {
    p->sum += byte;
    if (byte == '}' && !p->escaped) {
        p->escaped = true;
        return;
    }
    if (p->len == GDB_PACKET)
        p->too_long = true;
    else
        p->text[p->len++] = (char)(p->escaped ? byte ^ 0x20 : byte);
    p->escaped = false;
}

static enum gdb_event complete(struct gdb_parser *p, uint8_t byte) {
    int low = digit((char)byte);
    p->state = GDB_OUTSIDE;
    p->text[p->len] = 0;
    bool good = low >= 0 && p->given == (uint8_t)(p->sum - low) && !p->too_long;
    return good ? GDB_COMMAND : GDB_BAD;
}

enum gdb_event gdb_parse(struct gdb_parser *p, uint8_t byte) {
    switch (p->state) {
    case GDB_OUTSIDE: return outside(p, byte);
    case GDB_TEXT:
        if (byte == '#')
            p->state = GDB_SUM_1;
        else if (byte == '$') /* the rest of one was lost */
            begin(p);
        else
            take(p, byte);
        return GDB_NOTHING;
    case GDB_SUM_1: {
        int high = digit((char)byte);
        p->given = (uint8_t)((unsigned)high << 4);
        p->too_long |= high < 0;
        p->state = GDB_SUM_2;
        return GDB_NOTHING;
    }
    default: return complete(p, byte);
    }
}

size_t gdb_frame(char *to, const char *text, size_t len) {
    char *at = to;
    uint8_t sum = 0;
    *at++ = '$';
    for (; len; len--, text++) {
        bool escape = *text == '$' || *text == '#' || *text == '}' || *text == '*';
        if (escape)
            *at++ = '}';
        *at++ = escape ? *text ^ 0x20 : *text;
    }
    for (const char *p = to + 1; p < at; p++)
        sum += (uint8_t)*p;
    *at++ = '#';
    at = gdb_put_hex(at, &sum, 1);
    return (size_t)(at - to);
}

bool gdb_hex(const char **at, uint64_t *value) {
    const char *start = *at;
    *value = 0;
    for (int d; (d = digit(**at)) >= 0; (*at)++) {
        if (*value >> 60)
            return false;
        *value = *value << 4 | (unsigned)d;
    }
    return *at > start;
}

bool gdb_unhex(uint8_t *to, const char *digits, size_t len) {
    for (; len; len--, digits += 2) {
        int high = digit(digits[0]), low = high < 0 ? -1 : digit(digits[1]);
        if (low < 0)
            return false;
        *to++ = (uint8_t)(high << 4 | low);
    }
    return true;
}

char *gdb_put_hex(char *to, const void *bytes, size_t len) {
    for (const uint8_t *p = bytes; len; len--, p++) {
        *to++ = "0123456789abcdef"[*p >> 4];
        *to++ = "0123456789abcdef"[*p & 15];
    }
    return to;
}
