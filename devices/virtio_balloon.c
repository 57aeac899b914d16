/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * virtio_balloon.c: memory balloon (Virtio 1.2, section 5.5): the guest gives pages back for as long as it is asked
 * for, and says which it does not use (free page reporting). Either way they go back to the host at once, and are there
 * again when the guest touches them: so there is nothing to do when it takes them out of the balloon. That all of what
 * it offers is given back is no promise: of a request that is too long the end is not.
 */
#include "devices/virtio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F_DEFLATE_ON_OOM BIT(2)
#define F_REPORTING BIT(5)
#define PAGE_BYTES 4096u
#define ASKED_PAGES 1024u /* of a request; Linux asks for 256 */

/* The queue for reports is the next one after those that there are, whatever number the standard gives it. */
enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_REPORTS };
enum { CONFIG_WANTED, CONFIG_ACTUAL }; /* words: pages that are to be in the balloon, and are */

struct balloon {
    struct virtio v;
    uint32_t pages[2]; /* the configuration */
};

static struct balloon *balloon_of(const struct virtio *v) { return CONTAINER_OF(v, struct balloon, v); }

static void show(struct balloon *b) { memcpy(b->v.config, b->pages, sizeof(b->pages)); }

/* The pages, of which neighbours go together. */
static void give_back_pages(struct virtio *v, const struct virtq_request *r) {
    uint32_t page[ASKED_PAGES];
    size_t count = virtq_read(v, r, 0, page, sizeof(page)) / sizeof(page[0]);
    for (size_t first = 0, past; first < count; first = past) {
        uint64_t gpa = (uint64_t)page[first] * PAGE_BYTES, bytes = PAGE_BYTES;
        for (past = first + 1; past < count && page[past] == page[past - 1] + 1; past++)
            bytes += PAGE_BYTES;
        if (guest_ram(v->dev.machine, gpa, bytes))
            guest_ram_give_back(v->dev.machine, gpa, bytes);
    }
}

static void give_back_reported(struct virtio *v, const struct virtq_request *r) {
    for (unsigned i = 0; i < r->in_count; i++)
        guest_ram_give_back(v->dev.machine, r->in[i].gpa, r->in[i].len);
}

static void balloon_notify(struct virtio *v, unsigned queue) {
    struct virtq_request r;
    struct virtq_turn turn = {0};
    while (virtq_next(v, queue, &turn, &r) == 1) {
        if (queue == QUEUE_INFLATE)
            give_back_pages(v, &r);
        else if (queue == QUEUE_REPORTS)
            give_back_reported(v, &r);
        virtq_push(v, &v->queue[queue], r.head, 0);
    }
    virtq_interrupt(v, &v->queue[queue]);
}

static void balloon_config_write(struct virtio *v, uint64_t offset, uint64_t value, unsigned bytes) {
    struct balloon *b = balloon_of(v);
    if (offset == sizeof(b->pages[0]) * CONFIG_ACTUAL && bytes == sizeof(b->pages[0]))
        b->pages[CONFIG_ACTUAL] = (uint32_t)value;
    show(b);
}

static bool balloon_loaded(struct virtio *v) {
    show(balloon_of(v));
    return true;
}

static void balloon_destroy(struct virtio *v) { free(balloon_of(v)); }

void virtio_balloon_ask(struct device *d, uint64_t bytes) {
    struct balloon *b = balloon_of(CONTAINER_OF(d, struct virtio, dev));
    b->pages[CONFIG_WANTED] = (uint32_t)(bytes / PAGE_BYTES);
    show(b);
    virtio_config_changed(&b->v);
}

uint64_t virtio_balloon_bytes(const struct device *d) {
    const struct balloon *b = balloon_of(CONTAINER_OF(d, const struct virtio, dev));
    return (uint64_t)b->pages[CONFIG_ACTUAL] * PAGE_BYTES;
}

struct device *virtio_balloon_create(struct machine *m, uint64_t gpa, unsigned spi, int slot) {
    static const struct state_field state[] = {STATE(struct balloon, pages), STATE_END};
    static const struct virtio_type type = {.name = "balloon",
                                            .device_id = VIRTIO_ID_BALLOON,
                                            .queues = 3,
                                            .features = F_DEFLATE_ON_OOM | F_REPORTING,
                                            .notify = balloon_notify,
                                            .config_write = balloon_config_write,
                                            .state = state,
                                            .loaded = balloon_loaded,
                                            .destroy = balloon_destroy};
    struct balloon *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    virtio_init(&b->v, &type, m, gpa, spi, slot);
    b->v.config_bytes = sizeof(b->pages);
    return &b->v.dev;
}
