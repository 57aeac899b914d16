/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * access_areas.h: generated accesses to registers of devices, and a transcript of what they gave, which is compared
 * with QEMU's. Who includes this has the accesses of its instruction set: access_kinds[] and access_make().
 */
#ifndef PAYLOAD_ACCESS_AREAS_H
#define PAYLOAD_ACCESS_AREAS_H

#include "tests.h"

/* Registers that may be touched, and which bits written. */
struct reg {
    uint16_t off;
    uint32_t mask;
};
struct area {
    const char *name;
    uint64_t base;
    const struct reg *regs;
    unsigned count;
};
#define AREA(name, base, regs) (&(struct area){name, base, regs, ARRAY_LEN(regs)})

/* align: what the instruction needs where memory is a device's. */
struct access_kind {
    const char *name;
    uint8_t bytes, align;
    bool write;
};
static const struct access_kind *access_kind(unsigned kind); /* NULL: there are no more */
/* access_make(): one at a; v has what is written, or gets what is read. True: it was an abort, and v[0] says which. */
static bool access_make(unsigned kind, uint64_t a, uint64_t v[2]);

static uint64_t access_seed;
static uint64_t access_random(void) {
    access_seed = access_seed * 6364136223846793005ul + 1442695040888963407ul;
    return access_seed >> 32;
}

/* --- the transcript: printed behind the accesses, since the UART is among what they touch ----- */
#define RESULTS 700
static struct result {
    uint8_t kind, fault;
    uint16_t off;
    uint64_t value[2];
} results[RESULTS];
static unsigned result_count;

static void print_short(uint64_t v) {
    char text[17], *p = text + 16;
    *p = 0;
    do
        *--p = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    print(p);
}

static void print_results(const char *name) {
    for (const struct result *r = results; r < results + result_count; r++) {
        print(name);
        print(" ");
        print(access_kind(r->kind)->name);
        print(" ");
        print_short(r->off);
        print(r->fault ? " abort" : "");
        for (unsigned i = 0; i < (r->fault ? 1 : 2); i++) {
            print(" ");
            print_short(r->value[i]);
        }
        print("\n");
    }
    result_count = 0;
}

static void note(unsigned kind, unsigned off, bool fault, const uint64_t v[2]) {
    if (result_count == RESULTS)
        return;
    results[result_count++] = (struct result){(uint8_t)kind, fault, (uint16_t)off, {v[0], v[1]}};
}

/* --- what is accessed ------------------------------------------------------------------------- */
static const struct reg *reg_at(const struct area *a, unsigned off) {
    for (unsigned i = 0; i < a->count; i++)
        if (a->regs[i].off == (off & ~3u))
            return &a->regs[i];
    return NULL;
}

/* The value of an access at off, its parts cut to what may be written there. False: it touches something it must
 * not. */
static bool make_value(const struct area *a, unsigned off, unsigned bytes, uint64_t v[2]) {
    uint8_t *out = (uint8_t *)v;
    v[0] = v[1] = 0;
    for (unsigned i = 0; i < bytes; i += 4) {
        const struct reg *r = reg_at(a, off + i);
        if (!r)
            return false;
        uint32_t word = (uint32_t)access_random() & r->mask;
        __builtin_memcpy(out + i, &word, bytes < 4 ? bytes : 4);
    }
    return true;
}

static void run_area(const struct area *a, unsigned count, bool unaligned) {
    unsigned kinds = 0;
    while (access_kind(kinds))
        kinds++;
    access_seed = (uint64_t)a->name[0] << 8 | a->count;
    for (unsigned done = 0, tries = 0; done < count && tries < 100000; tries++) {
        unsigned kind = (unsigned)(access_random() % kinds);
        const struct access_kind *k = access_kind(kind);
        unsigned off = a->regs[access_random() % a->count].off + (unsigned)(access_random() & 3);
        uint64_t v[2] __attribute__((aligned(16)));
        if (!unaligned)
            off &= ~(k->align - 1u);
        if (!make_value(a, off, k->bytes, v) || !reg_at(a, off + k->bytes - 1u) || (unaligned && k->write))
            continue;
        if (!k->write)
            v[0] = v[1] = 0;
        bool fault = access_make(kind, a->base + off, v);
        note(kind, off, fault, v);
        done++;
    }
    print_results(a->name);
}

/* --- what both machines have ------------------------------------------------------------------ */
/* A virtio slot without a device. */
static const struct reg empty_regs[] = {
    {0, ~0u},    {4, ~0u},    {8, ~0u},    {0xc, ~0u},  {0x10, ~0u}, {0x14, ~0u},  {0x20, ~0u},  {0x24, ~0u},
    {0x30, ~0u}, {0x34, ~0u}, {0x38, ~0u}, {0x44, ~0u}, {0x60, ~0u}, {0x64, ~0u},  {0x70, ~0u},  {0x80, ~0u},
    {0x84, ~0u}, {0x90, ~0u}, {0xa0, ~0u}, {0xa4, ~0u}, {0xfc, ~0u}, {0x100, ~0u}, {0x104, ~0u}, {0x1fc, ~0u}};
/* Of a disk: identification, selectors, what can be written and read back, capacity, and what is behind the
 * configuration. */
static const struct reg disk_regs[] = {{0, ~0u},     {4, ~0u},     {8, ~0u},     {0xc, ~0u},   {0x14, ~0u},
                                       {0x24, ~0u},  {0x44, 0},    {0x48, 0},    {0x60, ~0u},  {0x64, ~0u},
                                       {0x100, 0},   {0x104, 0},   {0x180, ~0u}, {0x184, ~0u}, {0x188, ~0u},
                                       {0x18c, ~0u}, {0x1f8, ~0u}, {0x1fc, ~0u}};
static const struct reg hole_regs[] = {{0, ~0u}, {4, ~0u}, {8, ~0u}, {0xc, ~0u}};

/* The registers of a virtio device with that id. */
static uint64_t slot_with(uint32_t id, uint64_t base, uint64_t stride, unsigned slots) {
    for (unsigned slot = 0; slot < slots; slot++)
        if (*(volatile uint32_t *)(base + stride * slot + 8) == id)
            return base + stride * slot;
    CHECK(false);
    return base;
}

#endif
