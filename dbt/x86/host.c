/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* host.c: see host.h. */
#include "graft/host.h"

#define OSXSAVE 27 /* leaf 1, ECX: XCR0 can be read */

enum reg { EAX, EBX, ECX, EDX };
static uint32_t cpuid(uint32_t leaf, enum reg reg) {
    uint32_t r[4];
    __asm__ volatile("cpuid" : "=a"(r[EAX]), "=b"(r[EBX]), "=c"(r[ECX]), "=d"(r[EDX]) : "a"(leaf & 0x80000000), "c"(0));
    if (r[EAX] < leaf)
        return 0;
    __asm__ volatile("cpuid" : "=a"(r[EAX]), "=b"(r[EBX]), "=c"(r[ECX]), "=d"(r[EDX]) : "a"(leaf), "c"(0));
    return r[reg];
}

/* The register state that the system saves and restores. */
static uint32_t xcr0(void) {
    uint32_t lo, hi;
    if (!(cpuid(1, ECX) >> OSXSAVE & 1))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

#define HOST_FEATURE(id, name, needed, leaf, reg, bit, state) [HOST_##id] = {name, needed, reg, bit, leaf, state},
static const struct {
    const char *name;
    bool needed;
    uint8_t reg, bit;
    uint32_t leaf, state;
} feature[HOST_FEATURES] = {
#include "graft/host_features.def"
};
#undef HOST_FEATURE

bool host_has(enum host_feature f) {
    uint32_t state = feature[f].state;
    return cpuid(feature[f].leaf, feature[f].reg) >> feature[f].bit & 1 && (!state || (xcr0() & state) == state);
}

const char *host_feature_name(enum host_feature f) { return feature[f].name; }
bool host_feature_needed(enum host_feature f) { return feature[f].needed; }

enum host_feature host_lacks(void) {
    enum host_feature f = 0;
    while (f < HOST_FEATURES && (!feature[f].needed || host_has(f)))
        f++;
    return f;
}
