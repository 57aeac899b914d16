/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virtq_layout.h: a split virtqueue of NUM entries (Virtio 1.2, section 2.7), which its user defines; USED_ALIGN: of
 * the used ring. */
#ifndef PAYLOAD_VIRTQ_LAYOUT_H
#define PAYLOAD_VIRTQ_LAYOUT_H

#include "payload.h"

#ifndef USED_ALIGN
#define USED_ALIGN 4
#endif

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
struct queue {
    struct desc desc[NUM] __attribute__((aligned(16)));
    struct {
        uint16_t flags, idx, ring[NUM], used_event;
    } avail __attribute__((aligned(2)));
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[NUM];
        uint16_t avail_event;
    } used __attribute__((aligned(USED_ALIGN)));
};

#endif
