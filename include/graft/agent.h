/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * agent.h: what the monitor and the program that it puts into a guest (agent/) say to each other, over a virtio
 * console. Both trust the other no further than a guest and a host do: the monitor checks all that it is told.
 *
 * Each side sends frames: a struct agent_frame and as many bytes as it says. Numbers are 32 bits, little-endian; texts
 * end with a NUL. What is written by or for the command is sent only as far as the other side has given credit for, so
 * that the connection itself never has to wait for someone who does not read, and signals get through.
 */
#ifndef GRAFT_AGENT_H
#define GRAFT_AGENT_H

#include <stdint.h>

#define AGENT_VERSION 2
#define AGENT_MAX_BYTES (256u << 10) /* of a frame from the monitor: an argument of a command has 128 KiB at most */
#define AGENT_PIECE 4000             /* of a frame from the agent */
#define AGENT_WINDOW (64u << 10)     /* credit of each stream at first */

enum agent_type {
    /* from the agent */
    AGENT_HELLO = 1, /* version */
    AGENT_OUTPUT,    /* stream (1, 2), bytes */
    AGENT_EXIT,      /* status as exit status of a shell: 0 to 255; 128 + n for a signal */
    AGENT_FAILED,    /* exit status, errno, text: what could not be done; the last frame, like AGENT_EXIT */
    /* from both */
    AGENT_CREDIT, /* stream (0, 1, 2), bytes more may be sent */
    /* from the monitor, before AGENT_START; done in their order */
    AGENT_FOLDER,  /* path: is made, and those above it */
    AGENT_MOUNT,   /* flags, type, source, target, data */
    AGENT_FILE,    /* path, content: written if it can be */
    AGENT_LINK,    /* path, what it leads to */
    AGENT_NET,     /* address, netmask, gateway as of inet_addr(): for the first network card; none: the loopback device
                      alone */
    AGENT_ROOT,    /* path: what is mounted there is the root from now on */
    AGENT_CWD,     /* path, for the command */
    AGENT_ENV,     /* NAME=VALUE */
    AGENT_ARG,     /* text */
    AGENT_TIME,    /* seconds, 64 bits, and nanoseconds since 1970 */
    AGENT_ENTROPY, /* bytes: random numbers of its own, for a guest that goes on from where others have, too */
    AGENT_START,   /* terminal: 0 or 1; columns, rows */
    /* and after it */
    AGENT_INPUT,     /* bytes */
    AGENT_INPUT_END, /* nothing */
    AGENT_DEAF,      /* stream: nobody reads it any more */
    AGENT_SIGNAL,    /* number, as Linux has it everywhere but on MIPS and such */
    AGENT_SIZE,      /* columns, rows */
};

struct agent_frame {
    uint32_t type, bytes;
};

#endif
