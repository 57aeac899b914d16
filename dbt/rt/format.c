/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* format.c: a small printf for code without a C library: %d %i %u %x %X with l, ll, z; %s %c %p %%, width, 0, -, *,
 * .precision. */
#include <stdarg.h>

#include "graft/rt.h"

struct out {
    char *buf;
    size_t len, used; /* used counts what did not fit as well */
};

struct spec {
    bool left, zero, plus;
    int width, precision; /* precision -1: none */
    unsigned longs;       /* 0 int, 1 long or size_t, 2 long long */
};

static void put_char(struct out *o, char c) {
    if (o->used + 1 < o->len)
        o->buf[o->used] = c;
    o->used++;
}

static void put_fill(struct out *o, char c, int count) {
    for (; count > 0; count--)
        put_char(o, c);
}

/* Text of len bytes after a prefix (sign or 0x), padded. */
static void put_field(struct out *o, const struct spec *s, const char *prefix, const char *text, size_t len) {
    int pad = s->width - (int)len - (int)strlen(prefix);
    if (!s->left && !s->zero)
        put_fill(o, ' ', pad);
    for (; *prefix; prefix++)
        put_char(o, *prefix);
    if (!s->left && s->zero)
        put_fill(o, '0', pad);
    for (size_t k = 0; k < len; k++)
        put_char(o, text[k]);
    if (s->left)
        put_fill(o, ' ', pad);
}

static void put_number(struct out *o, struct spec *s, uint64_t x, unsigned base, bool upper, const char *prefix) {
    char digits[64];
    size_t at = sizeof(digits);
    int least = s->precision < 0 ? 1 : s->precision > 40 ? 40 : s->precision;
    const char *alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    while (x || (int)(sizeof(digits) - at) < least) {
        digits[--at] = alphabet[x % base];
        x /= base;
    }
    if (s->precision >= 0)
        s->zero = false;
    put_field(o, s, prefix, digits + at, sizeof(digits) - at);
}

static void put_string(struct out *o, struct spec *s, const char *text) {
    size_t len = 0;
    if (!text)
        text = "(null)";
    while ((s->precision < 0 || len < (size_t)s->precision) && text[len])
        len++;
    s->zero = false;
    put_field(o, s, "", text, len);
}

/* The flags, width, precision and length after a %; args: a pointer, so that what is taken from it stays taken. */
struct args {
    va_list ap;
};
static const char *parse_spec(const char *p, struct spec *s, struct args *args) {
    *s = (struct spec){.precision = -1};
    for (;; p++)
        if (*p == '-')
            s->left = true;
        else if (*p == '0')
            s->zero = true;
        else if (*p == '+')
            s->plus = true;
        else
            break;
    for (int part = 0; part < 2; part++) {
        int *field = part ? &s->precision : &s->width;
        if (part) {
            if (*p != '.')
                break;
            p++;
            *field = 0;
        }
        if (*p == '*') {
            *field = va_arg(args->ap, int);
            p++;
        }
        for (; *p >= '0' && *p <= '9'; p++)
            *field = *field < 10000 ? *field * 10 + (*p - '0') : *field;
    }
    if (s->width < 0) {
        s->left = true;
        s->width = -s->width;
    }
    for (; *p == 'l' || *p == 'z' || *p == 'h'; p++)
        s->longs += *p == 'l' ? 1 : *p == 'z' ? 2 : 0;
    return p;
}

static void put_signed(struct out *o, struct spec *s, struct args *args) {
    int64_t x = s->longs == 0   ? va_arg(args->ap, int)
                : s->longs == 1 ? va_arg(args->ap, long)
                                : va_arg(args->ap, long long);
    const char *prefix = x < 0 ? "-" : s->plus ? "+" : "";
    put_number(o, s, x < 0 ? 0 - (uint64_t)x : (uint64_t)x, 10, false, prefix);
}

static uint64_t take_unsigned(const struct spec *s, struct args *args) {
    if (s->longs == 0)
        return va_arg(args->ap, unsigned);
    return s->longs == 1 ? va_arg(args->ap, unsigned long) : va_arg(args->ap, unsigned long long);
}

/* One conversion; returns what follows it. */
static const char *convert(struct out *o, const char *p, struct args *args) {
    struct spec s;
    char c;
    p = parse_spec(p, &s, args);
    switch (*p) {
    case 'd':
    case 'i': put_signed(o, &s, args); break;
    case 'u': put_number(o, &s, take_unsigned(&s, args), 10, false, ""); break;
    case 'x':
    case 'X': put_number(o, &s, take_unsigned(&s, args), 16, *p == 'X', ""); break;
    case 'p': put_number(o, &s, (uintptr_t)va_arg(args->ap, void *), 16, false, "0x"); break;
    case 's': put_string(o, &s, va_arg(args->ap, const char *)); break;
    case 'c':
        c = (char)va_arg(args->ap, int);
        s.zero = false;
        put_field(o, &s, "", &c, 1);
        break;
    case '%': put_char(o, '%'); break;
    case 0: return p;
    default:
        put_char(o, '%'); /* not a conversion of ours: show it as it is */
        put_char(o, *p);
        break;
    }
    return p + 1;
}

int rt_vsnprintf(char *buf, size_t len, const char *fmt, va_list ap) {
    struct out o = {buf, len, 0};
    struct args args;
    va_copy(args.ap, ap);
    while (*fmt)
        if (*fmt == '%')
            fmt = convert(&o, fmt + 1, &args);
        else
            put_char(&o, *fmt++);
    va_end(args.ap);
    if (len)
        buf[o.used < len ? o.used : len - 1] = 0;
    return (int)o.used;
}

int rt_snprintf(char *buf, size_t len, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = rt_vsnprintf(buf, len, fmt, ap);
    va_end(ap);
    return n;
}
