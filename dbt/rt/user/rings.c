/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* rings.c: a process has no rings, so nobody calls any of these: see rt_has_ring3(). */
#include "graft/rt.h"

#include <stdlib.h>

static _Noreturn void no_rings(void) { abort(); }
bool rt_root_make(struct cpu *cpu, struct rt_root *r, unsigned regime) { no_rings(); }
void rt_root_view(struct rt_root *r, const struct view *v, size_t bytes) { no_rings(); }
void rt_root_other(struct rt_root *r, const void *page, const void *none) { no_rings(); }
uint64_t *rt_root_top(struct cpu *cpu, struct rt_root *r, uint64_t va, bool make) { no_rings(); }
struct view *rt_shown_view(const struct cpu *cpu, bool none, size_t page) { no_rings(); }
void rt_enter(struct cpu *cpu, const uint8_t *entry, const uint8_t *code, size_t frame_bytes) { no_rings(); }
_Noreturn void rt_leave(struct cpu *cpu) { no_rings(); }
void *rt_frame(struct cpu *cpu, size_t frame_bytes) { no_rings(); }
