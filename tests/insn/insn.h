/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * insn.h: what both worlds of the instruction tests share: the program that runs under qemu-aarch64 (guest.c) and the
 * one that runs our translation (insn_test.c). The initial state of a case follows from its seed, in either.
 */
#ifndef GRAFT_TESTS_INSN_H
#define GRAFT_TESTS_INSN_H

#include <stdint.h>

/* Where things are, in both worlds; tests/insn/cases.py has the same numbers. */
#define INSN_CODE UINT64_C(0x20000000)
#define INSN_CODE_BYTES 0x40000
#define INSN_SCRATCH UINT64_C(0x20080000)
#define INSN_SCRATCH_BYTES 0x10000
#define INSN_WINDOW (INSN_SCRATCH + 0x7f00) /* the part that is filled, and compared afterwards: of two pages */
#define INSN_WINDOW_BYTES 1024
#define INSN_TAIL_BYTES 128
#define INSN_SLOT_BYTES 128
#define INSN_SLOTS (INSN_CODE_BYTES / INSN_SLOT_BYTES)
/* A slot: a load of x27 and x28, the instructions, then where they fall through to and where they branch to. */
#define INSN_SLOT_FIRST 4
#define INSN_MAX 24

#define INSN_OVERRIDES 3
#define INSN_MEMORY 1  /* icase.flags: the case accesses the window */
#define INSN_ALIGNED 2 /* its access is aligned, so alignment checking must make no difference */
struct icase {
    uint64_t seed;
    uint64_t value[INSN_OVERRIDES];
    uint8_t reg[4]; /* 0 .. 31 (SP), 0xff unused */
    uint16_t row;   /* index in the generator's list, for reports */
    uint16_t flags;
    uint32_t count; /* instructions; the last one is the one tested, unless all are */
    uint32_t insn[INSN_MAX];
    uint32_t unused;
};
_Static_assert(sizeof(struct icase) == 144, "as cases.py packs it");
_Static_assert(INSN_SLOT_FIRST + 4 * INSN_MAX + 8 <= INSN_SLOT_BYTES, "a slot holds it");

struct istate {
    uint64_t x[31], sp;
    uint64_t nzcv, fpcr, fpsr;
    uint64_t exit; /* 0 fell through, 1 branched */
    uint64_t v[32][2];
};

enum ifault { IFAULT_NONE, IFAULT_UNDEFINED, IFAULT_ABORT, IFAULT_ALIGN, IFAULT_OTHER };
struct irecord {
    struct istate s;
    uint64_t fault;  /* enum ifault */
    uint64_t offset; /* of the faulting instruction in the slot */
    uint64_t memory; /* hash of the window */
};

static inline uint64_t insn_random(uint64_t *s) {
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t insn_integer(uint64_t *s) {
    uint64_t r = insn_random(s), k = r >> 8 & 63;
    switch (r & 15) {
    case 0: return 0;
    case 1: return ~UINT64_C(0);
    case 2: return UINT64_C(1) << k;
    case 3: return (UINT64_C(1) << k) - 1;
    case 4: return r >> 58;
    case 5: return -(r >> 58);
    case 6: return UINT64_C(0x8000000000000000) - (r >> 63);
    case 7: return (UINT64_C(0x80000000) - (r >> 63)) | (r >> 20 & 1 ? UINT64_C(0xffffffff00000000) : 0);
    default: return insn_random(s);
    }
}

/* A double that makes arithmetic interesting. */
static inline uint64_t insn_double(uint64_t *s) {
    static const uint64_t special[] = {0,
                                       UINT64_C(0x3ff0000000000000),
                                       UINT64_C(0x7ff0000000000000),
                                       UINT64_C(0x7ff8000000000000),
                                       UINT64_C(0x7ff0000000000001),
                                       UINT64_C(0x7ff8000000012345),
                                       UINT64_C(0x7ff4000000abcdef),
                                       1,
                                       UINT64_C(0x000fffffffffffff),
                                       UINT64_C(0x0010000000000000),
                                       UINT64_C(0x7fefffffffffffff),
                                       UINT64_C(0x3fe0000000000000),
                                       UINT64_C(0x3ff8000000000000),
                                       UINT64_C(0x4004000000000000),
                                       UINT64_C(0x41e0000000000000),
                                       UINT64_C(0x43e0000000000000),
                                       UINT64_C(0x43f0000000000000),
                                       UINT64_C(0x41dfffffffc00000),
                                       UINT64_C(0x41efffffffe00000),
                                       UINT64_C(0x36a0000000000000),
                                       UINT64_C(0x380fffffffffffff),
                                       UINT64_C(0x47efffffefffffff)};
    uint64_t r = insn_random(s), sign = r & UINT64_C(0x8000000000000000);
    switch (r & 7) {
    case 0:
    case 1:
    case 2: return special[(r >> 8) % (sizeof special / sizeof special[0])] ^ sign;
    case 3:
    case 4: /* near 1 */
        return sign | (UINT64_C(1023) + (r >> 8 & 15) - 8) << 52 | (insn_random(s) & UINT64_C(0xfffffffffffff));
    case 5: /* few significant bits, around the integers' limits */
        return sign | (UINT64_C(1023) + (r >> 8 & 127)) << 52 | (insn_random(s) & UINT64_C(0xff00000000000));
    case 6: /* tiny */ return sign | (r >> 8 & 63) << 52 | (insn_random(s) & UINT64_C(0xfffffffffffff));
    default: return insn_random(s);
    }
}

static inline uint32_t insn_float(uint64_t *s) {
    static const uint32_t special[] = {
        0,          0x3f800000, 0x7f800000, 0x7fc00000, 0x7f800001, 0x7fc12345, 0x7fa12345, 1,          0x007fffff,
        0x00800000, 0x7f7fffff, 0x3f000000, 0x3fc00000, 0x40200000, 0x4f000000, 0x4effffff, 0x4f7fffff, 0x5f000000,
        0x5f800000, 0x4b000001, 0x33800000, 0x477fe000, 0x477ff000, 0x38800000, 0x387fffff};
    uint64_t r = insn_random(s);
    uint32_t sign = r >> 32 & 0x80000000;
    switch (r & 7) {
    case 0:
    case 1:
    case 2: return special[(r >> 8) % (sizeof special / sizeof special[0])] ^ sign;
    case 3:
    case 4: return sign | (uint32_t)(127 + (r >> 8 & 15) - 8) << 23 | (uint32_t)(r >> 40 & 0x7fffff);
    case 5: return sign | (uint32_t)(127 + (r >> 8 & 127)) << 23 | (uint32_t)(r >> 40 & 0x7f0000);
    case 6: return sign | (uint32_t)(r >> 8 & 31) << 23 | (uint32_t)(r >> 40 & 0x7fffff);
    default: return (uint32_t)(r >> 16);
    }
}

static inline uint64_t insn_halves(uint64_t *s) {
    static const uint16_t special[] = {0,      0x3c00, 0x7c00, 0x7e00, 0x7c01, 0x7d55, 1,      0x03ff,
                                       0x0400, 0x7bff, 0x3800, 0x3e00, 0x4100, 0x7fff, 0x3555, 0x6666};
    uint64_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t r = insn_random(s);
        uint16_t half = r & 1 ? (uint16_t)(special[r >> 8 & 15] ^ (r >> 16 & 0x8000)) : (uint16_t)(r >> 40);
        value = value << 16 | half;
    }
    return value;
}

/* A 64-bit half of a vector: integers of every lane size, or floating point of some size. */
static inline uint64_t insn_vector_half(uint64_t *s, unsigned kind) {
    uint64_t value = 0;
    switch (kind) {
    case 0:
    case 1:
    case 2: return insn_double(s);
    case 3:
    case 4:
    case 5: value = insn_float(s); return value << 32 | insn_float(s);
    case 6: return insn_halves(s);
    case 7: return insn_integer(s);
    case 8:
    case 9: /* lanes of 8, 16 and 32 bits at their limits */
        for (int i = 0; i < 8; i++) {
            uint64_t r = insn_random(s);
            uint8_t byte = r & 1 ? (uint8_t)(r >> 8) : (uint8_t)((r & 2 ? 0x80 : 0) - (r >> 2 & 1));
            value = value << 8 | byte;
        }
        return value;
    default: return insn_random(s);
    }
}

static inline void insn_initial_state(const struct icase *c, struct istate *st) {
    uint64_t s = c->seed;
    for (int i = 0; i < 31; i++)
        st->x[i] = insn_integer(&s);
    st->sp = INSN_WINDOW + (insn_random(&s) & 0xff0);
    st->nzcv = insn_random(&s) & 0xf0000000;
    uint64_t r = insn_random(&s);
    st->fpcr = (r & 3) ? 0 : r & 0xc00000;     /* RMode */
    st->fpcr |= (r >> 32 & 7) ? 0 : 1u << 25;  /* DN */
    st->fpcr |= (r >> 36 & 7) ? 0 : 1u << 24;  /* FZ */
    st->fpcr |= (r >> 40 & 15) ? 0 : 1u << 26; /* AHP */
    st->fpsr = (r >> 44 & 3) ? 0 : r >> 48 & 0x9f;
    st->fpsr |= (r >> 56 & 7) ? 0 : 1u << 27;
    st->exit = 0;
    unsigned common = (unsigned)(insn_random(&s) % 11);
    for (int i = 0; i < 32; i++) {
        unsigned own = (unsigned)(insn_random(&s) % 22);
        for (int half = 0; half < 2; half++)
            st->v[i][half] = insn_vector_half(&s, own < 11 ? own : common);
    }
    for (int i = 0; i < INSN_OVERRIDES; i++)
        if (c->reg[i] < 31)
            st->x[c->reg[i]] = c->value[i];
        else if (c->reg[i] == 31)
            st->sp = c->value[i];
}

static inline void insn_fill_window(const struct icase *c) {
    uint64_t s = ~c->seed, *p = (uint64_t *)INSN_WINDOW;
    for (unsigned i = 0; i < INSN_WINDOW_BYTES / 8; i++)
        p[i] = insn_random(&s);
    /* Accesses that run into the page after the last may or may not write their first part: not compared. */
    p = (uint64_t *)(INSN_SCRATCH + INSN_SCRATCH_BYTES - INSN_TAIL_BYTES);
    for (unsigned i = 0; i < INSN_TAIL_BYTES / 8; i++)
        p[i] = insn_random(&s);
}

static inline uint64_t insn_hash_window(void) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    const uint64_t *p = (const uint64_t *)INSN_WINDOW;
    for (unsigned i = 0; i < INSN_WINDOW_BYTES / 8; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

#endif
