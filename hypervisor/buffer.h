/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* buffer.h: memory for whole files. */
#ifndef GRAFT_BUFFER_H
#define GRAFT_BUFFER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "graft/base.h"

#define BUFFER_HUGE ((size_t)2 << 20)

/* buffer_grow(): memory of room bytes that begins with the len bytes at old, which is malloc'ed, or NULL; as realloc()
 * otherwise. Much of it is in huge pages where the host has some: a kernel in pages of
 * 4 KiB costs eight thousand faults, which take 0.1 s on a host that is a virtual machine without nested paging. */
static inline void *buffer_grow(void *old, size_t len, size_t room) {
    void *p;
    if (room < BUFFER_HUGE)
        return realloc(old, room);
    room = ALIGN_UP(room, BUFFER_HUGE);
    if (posix_memalign(&p, BUFFER_HUGE, room))
        return NULL;
    madvise(p, room, MADV_HUGEPAGE);
    if (len)
        memcpy(p, old, len);
    free(old);
    return p;
}

#endif
