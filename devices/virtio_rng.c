/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virtio_rng.c: entropy device (Virtio 1.2, section 5.4), from the host's getrandom(). */
#include "devices/virtio.h"

#include <stdlib.h>
#include <sys/random.h>

#define CHUNK 256        /* getrandom() of up to 256 bytes neither blocks nor is cut short */
#define MAX_REQUEST 1024 /* a driver that wants more asks again */

static void rng_notify(struct virtio *v, unsigned queue) {
    struct virtq *q = &v->queue[queue];
    struct virtq_request r;
    struct virtq_turn turn = {0};
    while (virtq_next(v, queue, &turn, &r) == 1) {
        uint64_t done = 0, want = r.in_bytes < MAX_REQUEST ? r.in_bytes : MAX_REQUEST;
        while (done < want) {
            uint8_t buf[CHUNK];
            ssize_t n = getrandom(buf, want - done < CHUNK ? want - done : CHUNK, 0);
            if (n <= 0)
                break;
            done += virtq_write(v, &r, done, buf, (size_t)n);
        }
        virtq_push(v, q, r.head, (uint32_t)done);
    }
    virtq_interrupt(v, q);
}

static void rng_destroy(struct virtio *v) { free(v); }

struct device *virtio_rng_create(struct machine *m, uint64_t gpa, unsigned spi, int slot) {
    static const struct virtio_type type = {
        .name = "rng", .device_id = VIRTIO_ID_RNG, .queues = 1, .notify = rng_notify, .destroy = rng_destroy};
    struct virtio *v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    virtio_init(v, &type, m, gpa, spi, slot);
    return &v->dev;
}
