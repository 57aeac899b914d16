/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* vm_inproc.c: the engine as a library in this process: hosts without KVM, debuggers and sanitizers. */
#include "dbt/rt/user/rt_user.h"
#include "hypervisor/monitor.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

/* Close to the engine's own code, so that emitted code reaches its helpers with 32-bit offsets. */
static uint8_t *inproc_arena_alloc(struct machine *m, uint64_t size) {
    uint64_t step = UINT64_C(32) << 20, code = ALIGN_DOWN((uint64_t)&engine_main, step);
    for (uint64_t distance = step; distance + size < (UINT64_C(1900) << 20) && distance + size < code;
         distance += step) {
        void *want = (void *)(code - distance - size);
        uint8_t *p = mmap(want, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == want) {
            m->arena_va = (uint64_t)p;
            return p;
        }
        if (p != MAP_FAILED)
            munmap(p, size);
    }
    uint8_t *p =
        mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    m->arena_va = (uint64_t)p;
    return p == MAP_FAILED ? NULL : p;
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
