/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * helper_crypto_ni.c: SHA1 and SHA256 instructions on hosts with the x86 SHA
 * extensions. Arm and x86 split the same rounds differently: x86 keeps its
 * state words in the reverse order, pairs ABEF and CDGH, and adds SHA1's round
 * constants itself.
 */
#include "guests/a64/trans_simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define SHA_NI __attribute__((target("sha,ssse3,sse4.1")))
#define REVERSE 0x1b

bool simd_host_sha(void) {
    static uint32_t known; /* 0 not asked yet, 1 no, 2 yes: the same for all vCPUs */
    uint32_t k = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!k) {
        uint32_t a = 0, b, c = 0, d;
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        bool leaf7 = a >= 7;
        a = 1, c = 0;
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        bool sse41 = c >> 19 & 1;
        a = 7, c = 0;
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        k = leaf7 && sse41 && (b >> 29 & 1) ? 2 : 1;
        __atomic_store_n(&known, k, __ATOMIC_RELAXED);
    }
    return k == 2;
}

static inline __m128i load(const v128 *v) { return _mm_load_si128((const __m128i *)v); }

static inline void store(v128 *v, __m128i x) { _mm_store_si128((__m128i *)v, x); }

/* Elements i, j of x below elements k, l of y. */
#define SHUFFLE(x, y, i, j, k, l)                                                                                      \
    _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(x), _mm_castsi128_ps(y), _MM_SHUFFLE(l, k, j, i)))

/* Four rounds on abcd, efgh; the results in x86's form. */
SHA_NI static inline void rounds(__m128i abcd, __m128i efgh, __m128i w, __m128i *abef, __m128i *cdgh) {
    __m128i x = SHUFFLE(efgh, abcd, 1, 0, 1, 0), y = SHUFFLE(efgh, abcd, 3, 2, 3, 2);
    __m128i half = _mm_sha256rnds2_epu32(y, x, w);
    *abef = _mm_sha256rnds2_epu32(x, half, _mm_unpackhi_epi64(w, w));
    *cdgh = half;
}

SHA_NI void simd_ni_sha256h(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    __m128i abef, cdgh;
    rounds(load(a), load(b), load(c), &abef, &cdgh);
    store(res, SHUFFLE(abef, cdgh, 3, 2, 3, 2));
}

SHA_NI void simd_ni_sha256h2(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    __m128i abef, cdgh;
    rounds(load(b), load(a), load(c), &abef, &cdgh);
    store(res, SHUFFLE(abef, cdgh, 1, 0, 1, 0));
}

SHA_NI void simd_ni_sha256su0(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    store(res, _mm_sha256msg1_epu32(load(a), load(b)));
}

SHA_NI void simd_ni_sha256su1(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {
    __m128i n = load(b), m = load(c);
    store(res, _mm_sha256msg2_epu32(_mm_add_epi32(load(a), _mm_alignr_epi8(m, n, 4)), m));
}

#define NI_SHA1(name, function, constant)                                                                              \
    SHA_NI void name(struct cpu *cpu, v128 *res, const v128 *a, const v128 *b, const v128 *c, uint32_t desc) {         \
        __m128i w = _mm_sub_epi32(load(c), _mm_set1_epi32((int)(constant)));                                           \
        w = _mm_add_epi32(w, _mm_cvtsi32_si128((int)b->u32[0]));                                                       \
        __m128i abcd = _mm_shuffle_epi32(load(a), REVERSE);                                                            \
        abcd = _mm_sha1rnds4_epu32(abcd, _mm_shuffle_epi32(w, REVERSE), function);                                     \
        store(res, _mm_shuffle_epi32(abcd, REVERSE));                                                                  \
    }
NI_SHA1(simd_ni_sha1c, 0, 0x5a827999)
NI_SHA1(simd_ni_sha1p, 1, 0x6ed9eba1)
NI_SHA1(simd_ni_sha1m, 2, 0x8f1bbcdc)

#else

bool simd_host_sha(void) { return false; }

#endif
