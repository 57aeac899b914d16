/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* atomics.h: atomic operations on guest RAM from C. */
#ifndef DBT_MMU_ATOMICS_H
#define DBT_MMU_ATOMICS_H

#include "graft/ir.h"
#include "graft/mmu.h"

/* atomic_combine(): what an atomic operation stores; kind: enum ir_atomic, size: log2 of bytes. */
static inline uint64_t atomic_combine(unsigned kind, uint64_t old, uint64_t value, unsigned size) {
    unsigned drop = 64 - (8u << size);
    int64_t so = (int64_t)(old << drop), sv = (int64_t)(value << drop);
    uint64_t uo = old << drop, uv = value << drop;
    switch (kind) {
    case IR_ATOMIC_ADD: return old + value;
    case IR_ATOMIC_CLR: return old & ~value;
    case IR_ATOMIC_XOR: return old ^ value;
    case IR_ATOMIC_OR: return old | value;
    case IR_ATOMIC_SMAX: return so > sv ? old : value;
    case IR_ATOMIC_SMIN: return so < sv ? old : value;
    case IR_ATOMIC_UMAX: return uo > uv ? old : value;
    case IR_ATOMIC_UMIN: return uo < uv ? old : value;
    default: return value;
    }
}

/* atomic_exchange(): compares and exchanges 1 << size bytes; *expected becomes what was there. */
static inline bool atomic_exchange(void *p, uint64_t *expected, uint64_t value, unsigned size) {
    bool done;
#define EXCHANGE(type)                                                                                                 \
    do {                                                                                                               \
        type old = (type) * expected;                                                                                  \
        done = __atomic_compare_exchange_n((type *)p, &old, (type)value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
        *expected = old;                                                                                               \
    } while (0)
    switch (size) {
    case 0: EXCHANGE(uint8_t); break;
    case 1: EXCHANGE(uint16_t); break;
    case 2: EXCHANGE(uint32_t); break;
    default: EXCHANGE(uint64_t); break;
    }
#undef EXCHANGE
    return done;
}

static inline bool atomic_exchange_16(void *p, uint64_t expected[2], const uint64_t value[2]) {
    bool equal;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@cce"(equal), "+m"(*(v128 *)p), "+a"(expected[0]), "+d"(expected[1])
                     : "b"(value[0]), "c"(value[1])
                     : "memory");
    return equal;
}

static inline uint64_t atomic_load_at(const void *p, unsigned size) {
    switch (size) {
    case 0: return __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED);
    case 1: return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
    case 2: return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
    default: return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
    }
}

/* mem_rmw() of RAM at p, which is aligned. */
static inline bool atomic_rmw(void *p, struct mem_rmw *r) {
    uint64_t *old = r->old.u64;
    if (r->size == 4)
        return atomic_exchange_16(p, old, r->value.u64);
    if (r->kind >= MEM_RMW_CAS)
        return atomic_exchange(p, old, r->value.u64[0], r->size);
    *old = atomic_load_at(p, r->size);
    while (!atomic_exchange(p, old, atomic_combine(r->kind, *old, r->value.u64[0], r->size), r->size)) {
    }
    return true;
}

#endif
