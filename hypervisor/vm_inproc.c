/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* vm_inproc.c: the engine as a library in this process: hosts without KVM, debuggers and sanitizers. */
#include "dbt/rt/user/rt_user.h"
#include "hypervisor/monitor.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#define ARENA_STEP (UINT64_C(32) << 20)
#define ARENA_REACH (UINT64_C(1900) << 20) /* of a 32-bit offset, with room for the engine's own code */

static uint8_t *map_at(uint64_t want, uint64_t size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (want ? MAP_FIXED_NOREPLACE : 0);
    uint8_t *p = mmap((void *)want, size, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (!want || (uint64_t)p == want)
        return p;
    munmap(p, size); /* a kernel that does not know MAP_FIXED_NOREPLACE */
    return NULL;
}

/* Close to the engine's own code, so that emitted code reaches its helpers with 32-bit offsets. */
static uint8_t *map_near(uint64_t size) {
    uint64_t code = ALIGN_DOWN((uint64_t)&engine_main, ARENA_STEP);
    for (uint64_t below = ARENA_STEP + size; below < ARENA_REACH && below < code; below += ARENA_STEP) {
        uint8_t *p = map_at(code - below, size);
        if (p)
            return p;
    }
    return map_at(0, size);
}

/* struct cpu of each vCPU is mapped more than once where the process has no GS base (rt_map_cpu()). */
static bool share_cpus(struct machine *m, uint8_t *arena) {
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        if (mmap(arena + m->layout.cpu[i], ABI_CPU_BYTES, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            return false;
    }
    return true;
}

static uint8_t *inproc_arena_alloc(struct machine *m, uint64_t size) {
    uint8_t *p = map_near(size);
    if (p && !share_cpus(m, p)) {
        munmap(p, size);
        return NULL;
    }
    m->arena_va = (uint64_t)p;
    return p;
}

static void inproc_arena_free(struct machine *m, uint64_t size) { munmap(m->arena, size); }

static void on_call(void *ctx, unsigned vcpu, struct abi_vcpu *abi) {
    struct machine *m = ctx;
    run_call(m, &m->vcpu[vcpu]);
}

static void on_doorbell(void *ctx, unsigned n) { events_doorbell(ctx, n); }

static int inproc_create(struct machine *m, char err[ERR_BYTES]) {
    rt_user_set_monitor(on_call, on_doorbell, m);
    return 0;
}

static void inproc_run(struct machine *m, struct vcpu *v) { rt_user_run(m->boot, v->index); }

static void inproc_destroy(struct machine *m) {}

static uint64_t inproc_tsc_hz(struct machine *m) { return 0; }

const struct vm_ops vm_inproc = {
    .name = "inproc",
    .in_vm = false,
    .arena_alloc = inproc_arena_alloc,
    .arena_free = inproc_arena_free,
    .create = inproc_create,
    .run = inproc_run,
    .destroy = inproc_destroy,
    .tsc_hz = inproc_tsc_hz,
};
