/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gdb_packet.h: the framing of GDB's remote protocol ("Overview" and "Packet Acknowledgment" in GDB's manual, appendix
 * E). */
#ifndef GRAFT_GDB_PACKET_H
#define GRAFT_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET 16384 /* bytes between $ and #, either way */

enum gdb_event {
    GDB_NOTHING,
    GDB_COMMAND,   /* a packet: in text */
    GDB_BAD,       /* its checksum is wrong, or it is too long */
    GDB_INTERRUPT, /* Ctrl-C outside of packets */
    GDB_RESEND,    /* a - */
};
struct gdb_parser {
    enum { GDB_OUTSIDE, GDB_TEXT, GDB_SUM_1, GDB_SUM_2 } state;
    size_t len; /* of what has come, GDB_PACKET at most */
    bool too_long, escaped;
    uint8_t sum, given;
    char text[GDB_PACKET + 1]; /* without escapes, with a 0 behind it */
};
/* gdb_parse(): one more byte. */
enum gdb_event gdb_parse(struct gdb_parser *p, uint8_t byte);
/* gdb_frame(): a whole packet around len bytes, which are escaped where they have to be; to holds 2 * len + 4. Returns
 * its length. */
size_t gdb_frame(char *to, const char *text, size_t len);

/* gdb_hex(): a hexadecimal number of up to 64 bits at *at, which then is behind it. False: there is none. gdb_unhex():
 * len bytes from 2 * len digits; false: they are none. gdb_put_hex(): their digits, without a 0 behind them; returns
 * the place behind them. */
bool gdb_hex(const char **at, uint64_t *value);
bool gdb_unhex(uint8_t *to, const char *digits, size_t len);
char *gdb_put_hex(char *to, const void *bytes, size_t len);

#endif
