/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virtqueue.c: split virtqueues, the device's side (Virtio 1.2, section 2.7), with indirect descriptors and event
 * indices. */
#include "devices/virtio.h"

#include <string.h>

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define AVAIL_F_NO_INTERRUPT 1

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

/* Ring fields are read while the guest may write them: one access each, never through a plain pointer. */
static bool load16(struct virtio *v, uint64_t gpa, uint16_t *value) {
    const uint16_t *p = guest_ram(v->dev.machine, gpa, 2);
    if (!p || gpa & 1)
        return false;
    *value = __atomic_load_n(p, __ATOMIC_ACQUIRE);
    return true;
}

static bool store16(struct virtio *v, uint64_t gpa, uint16_t value) {
    uint16_t *p = gpa & 1 ? NULL : guest_ram_write_begin(v->dev.machine, gpa, 2);
    if (!p)
        return false;
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);
    guest_ram_write_end(v->dev.machine, gpa, 2);
    return true;
}

static bool load_desc(struct virtio *v, uint64_t table, uint32_t index, struct desc *d) {
    const void *p = guest_ram(v->dev.machine, table + 16ull * index, 16);
    if (!p)
        return false;
    memcpy(d, p, sizeof(*d));
    return true;
}

static bool add_segment(struct virtio *v, struct virtq_request *r, const struct desc *d) {
    if (d->len == 0)
        return true;
    if (!guest_ram(v->dev.machine, d->addr, d->len))
        return false;
    if (d->flags & DESC_F_WRITE) {
        if (r->in_count == VIRTQ_MAX_SEGMENTS)
            return false;
        r->in[r->in_count++] = (struct virtq_segment){d->addr, d->len};
        r->in_bytes += d->len;
        return true;
    }
    if (r->in_count || r->out_count == VIRTQ_MAX_SEGMENTS) /* device-readable parts come first */
        return false;
    r->out[r->out_count++] = (struct virtq_segment){d->addr, d->len};
    r->out_bytes += d->len;
    return true;
}

/* Walks a chain of a table with `count` entries; the limit on steps ends loops. */
static bool walk_chain(struct virtio *v, struct virtq_request *r, uint64_t table, uint32_t count, uint32_t index,
                       bool indirect_ok) {
    for (uint32_t steps = 0; steps < count; steps++) {
        struct desc d;
        if (index >= count || !load_desc(v, table, index, &d))
            return false;
        if (d.flags & DESC_F_INDIRECT) {
            uint32_t n = d.len / 16;
            if (!indirect_ok || d.flags & DESC_F_NEXT || d.len % 16 || n == 0 || n > 2 * VIRTQ_MAX_SEGMENTS)
                return false;
            return walk_chain(v, r, d.addr, n, 0, false);
        }
        if (!add_segment(v, r, &d))
            return false;
        if (!(d.flags & DESC_F_NEXT))
            return true;
        index = d.next;
    }
    return false;
}

int virtq_pop(struct virtio *v, struct virtq *q, struct virtq_request *r) {
    uint16_t available, head;
    if (!q->ready)
        return 0;
    if (!load16(v, q->avail + 2, &available))
        goto broken;
    if (available == q->next_avail) {
        /* Ask for a notification at the next buffer, then look again: it may have come in between. */
        if (!virtio_has(v, VIRTIO_F_EVENT_IDX))
            return 0;
        if (!store16(v, q->used + 4 + 8ull * q->num, q->next_avail) || !load16(v, q->avail + 2, &available))
            goto broken;
        if (available == q->next_avail)
            return 0;
    }
    if ((uint16_t)(available - q->next_avail) > q->num)
        goto broken;
    if (!load16(v, q->avail + 4 + 2ull * (q->next_avail % q->num), &head) || head >= q->num)
        goto broken;
    r->head = head;
    r->life = q->life;
    r->out_count = r->in_count = 0;
    r->out_bytes = r->in_bytes = 0;
    if (!walk_chain(v, r, q->desc, q->num, head, virtio_has(v, VIRTIO_F_INDIRECT_DESC)))
        goto broken;
    q->next_avail++;
    return 1;
broken:
    virtio_broken(v);
    return -1;
}

int virtq_next(struct virtio *v, unsigned queue, struct virtq_turn *t, struct virtq_request *r) {
    if (t->requests == VIRTQ_TURN_REQUESTS || t->bytes >= VIRTQ_TURN_BYTES) {
        machine_ring(&v->dev, queue);
        return 0;
    }
    int got = virtq_pop(v, &v->queue[queue], r);
    if (got == 1) {
        t->requests++;
        t->bytes += r->in_bytes + r->out_bytes;
    }
    return got;
}

void virtq_unpop(struct virtq *q) { q->next_avail--; }

void virtq_push(struct virtio *v, struct virtq *q, uint16_t head, uint32_t written) {
    uint64_t gpa = q->used + 4 + 8ull * (q->next_used % q->num);
    uint32_t element[2] = {head, written};
    void *p = guest_ram_write_begin(v->dev.machine, gpa, 8);
    if (!p) {
        virtio_broken(v);
        return;
    }
    memcpy(p, element, 8);
    guest_ram_write_end(v->dev.machine, gpa, 8);
    if (!store16(v, q->used + 2, ++q->next_used))
        virtio_broken(v);
}

/* Virtio 1.2, 2.7.10: does the driver want to hear of the buffers used since the last interrupt? */
static bool wants_interrupt(struct virtio *v, struct virtq *q) {
    uint16_t event, flags, old = q->signalled_used;
    bool valid = q->signalled_valid;
    if (!virtio_has(v, VIRTIO_F_EVENT_IDX))
        return load16(v, q->avail, &flags) && !(flags & AVAIL_F_NO_INTERRUPT);
    q->signalled_used = q->next_used;
    q->signalled_valid = true;
    if (!load16(v, q->avail + 4 + 2ull * q->num, &event))
        return false;
    return !valid || (uint16_t)(q->next_used - event - 1) < (uint16_t)(q->next_used - old);
}

void virtq_interrupt(struct virtio *v, struct virtq *q) {
    if (q->ready && wants_interrupt(v, q))
        machine_virtio_interrupt(&v->dev, 1);
}

size_t virtq_read(struct virtio *v, const struct virtq_request *r, uint64_t offset, void *buf, size_t len) {
    size_t done = 0;
    for (unsigned i = 0; i < r->out_count && done < len; i++) {
        const struct virtq_segment *s = &r->out[i];
        if (offset >= s->len) {
            offset -= s->len;
            continue;
        }
        size_t n = s->len - offset < len - done ? s->len - offset : len - done;
        const void *p = guest_ram(v->dev.machine, s->gpa + offset, n);
        if (!p)
            break;
        memcpy((char *)buf + done, p, n);
        done += n;
        offset = 0;
    }
    return done;
}

size_t virtq_write(struct virtio *v, const struct virtq_request *r, uint64_t offset, const void *buf, size_t len) {
    size_t done = 0;
    for (unsigned i = 0; i < r->in_count && done < len; i++) {
        const struct virtq_segment *s = &r->in[i];
        if (offset >= s->len) {
            offset -= s->len;
            continue;
        }
        size_t n = s->len - offset < len - done ? s->len - offset : len - done;
        void *p = guest_ram_write_begin(v->dev.machine, s->gpa + offset, n);
        if (!p)
            break;
        memcpy(p, (const char *)buf + done, n);
        guest_ram_write_end(v->dev.machine, s->gpa + offset, n);
        done += n;
        offset = 0;
    }
    return done;
}
