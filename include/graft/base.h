/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* base.h: the few words that every part of Graft shares. Freestanding C only. */
#ifndef GRAFT_BASE_H
#define GRAFT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (UINT64_C(1) << (n))
/* MASK(n): the n lowest bits set, 0 <= n <= 64. */
#define MASK(n) ((n) >= 64 ? ~UINT64_C(0) : (BIT(n) - 1))
#define ALIGN_UP(x, a) (((x) + ((a) - 1)) & ~(uint64_t)((a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~(uint64_t)((a) - 1))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define CONTAINER_OF(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

#define PAGE_SHIFT 12
#define PAGE_SIZE UINT64_C(4096)
#define PAGE_MASK (PAGE_SIZE - 1)

/* Guest addresses are types, so that a virtual and a physical one cannot be mixed. */
struct gva {
    uint64_t v;
};
struct gpa {
    uint64_t v;
};
#define GVA(x) ((struct gva){(x)})
#define GPA(x) ((struct gpa){(x)})

/* A 128-bit vector register, little-endian lanes (lane 0 first in memory). */
typedef union v128 {
    uint8_t u8[16];
    uint16_t u16[8];
    uint32_t u32[4];
    uint64_t u64[2];
    int8_t s8[16];
    int16_t s16[8];
    int32_t s32[4];
    int64_t s64[2];
} __attribute__((aligned(16))) v128;

#endif
