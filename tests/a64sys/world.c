/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* world.c: see world.h. */
#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "graft/softfp.h"

struct world world;

void world_start(unsigned cpus, unsigned gic_version, unsigned model) {
    for (unsigned i = 0; i < WORLD_CPUS; i++)
        free(world.cpu[i]);
    free(world.ram);
    free(world.guest_shared);
    int failures = world.failures;
    memset(&world, 0, sizeof world);
    world.failures = failures;
    world.ram = aligned_alloc(4096, WORLD_RAM_BYTES);
    memset(world.ram, 0, WORLD_RAM_BYTES);
    world.boot = (struct abi_boot){.vcpu_count = cpus,
                                   .gic_version = gic_version,
                                   .cpu_model = model,
                                   .ram_gpa = WORLD_RAM,
                                   .ram_size = WORLD_RAM_BYTES,
                                   .entry_pc = WORLD_RAM + 0x80000,
                                   .tsc_hz = 2500000000u,
                                   .tsc_base = rt_ticks(),
                                   .entry_args = {1, 2, 3, 4}};
    for (unsigned i = 0; i < cpus; i++) {
        world.cpu[i] = aligned_alloc(4096, ALIGN_UP(sizeof(world_guest_cpu), 4096));
        memset(world.cpu[i], 0, sizeof(world_guest_cpu));
        struct cpu *c = world_cpu(i);
        c->index = i;
        c->boot = &world.boot;
        c->shared = &world.shared;
        c->guest = &WORLD_GUEST;
        WORLD_GUEST.init(c);
    }
}

#ifndef WORLD_RV64
uint64_t world_mrs(unsigned i, uint32_t key) { return a64_helper_mrs(world_cpu(i), key, 0xd5300000, 0); }

void world_msr(unsigned i, uint32_t key, uint64_t value) { a64_helper_msr(world_cpu(i), key, value, 0xd5100000); }

void world_io_write(unsigned i, uint64_t pa, unsigned size, uint64_t value) {
    CHECK(a64_gic_write(world_cpu(i), GPA(pa), size, value));
}

uint64_t world_io_read(unsigned i, uint64_t pa, unsigned size) {
    uint64_t value = 0;
    CHECK(a64_gic_read(world_cpu(i), GPA(pa), size, &value));
    return value;
}

const struct guest_pin a64_gpr_pins[A64_GPR_PINS], a64_vec_pins[A64_VEC_PINS];
void a64_translate(struct ir_block *b, const struct cpu *cpu, const void *code, unsigned bytes, unsigned max_insns) {}
#endif

/* --- what the engine would be ----------------------------------------------------------------- */

void engine_unwind(struct cpu *cpu) {
    world.unwinds++;
    longjmp(world.unwind, 1);
}

void *ram_ptr(const struct cpu *cpu, struct gpa pa, uint64_t len) {
    uint64_t offset = pa.v - WORLD_RAM;
    return offset < WORLD_RAM_BYTES && len <= WORLD_RAM_BYTES - offset ? world.ram + offset : NULL;
}

void mmu_retry(struct cpu *cpu, uint64_t pc) {}

void mmu_context_changed(struct cpu *cpu) {
    world.context_changes++;
    cpu->regime = WORLD_GUEST.mode(cpu) & (REGIMES - 1);
}

void mmu_invalidate(struct cpu *cpu, const struct mmu_inval *inv) { world.inval = *inv; }
void mmu_sync(struct cpu *cpu) {}
bool mem_translate(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct gpa *pa) {
    struct walk w = {.fault = 0};
    WORLD_GUEST.walk(cpu, va, access, regime, &w);
    *pa = w.pa;
    return !w.fault;
}
void mem_write(struct cpu *cpu, uint64_t va, uint64_t value, unsigned size, unsigned regime, unsigned flags) {}
void engine_code_written(struct cpu *cpu, struct gpa pa, uint64_t len) { world.code_writes++; }
void engine_code_flush(struct cpu *cpu) {}
void engine_code_fence(struct cpu *cpu) {}
void engine_mode_changed(struct cpu *cpu) {}
void engine_code_drop_modes(struct cpu *cpu, uint32_t mask, uint32_t value) { world.dropped_modes++; }
bool engine_code_has(const struct cpu *cpu, struct gpa page) { return world.has_code; }
void engine_broadcast(struct cpu *cpu, const struct engine_request *req) {
    world.broadcasts++;
    world.broadcast = req->inval;
}
void engine_broadcast_wait(struct cpu *cpu) {}
struct cpu *engine_cpu(struct cpu *cpu, unsigned index) {
    return index < world.boot.vcpu_count ? world_cpu(index) : NULL;
}
void engine_kick(struct cpu *from, struct cpu *to, uint32_t pending) {
    world.kicked |= 1u << to->index;
    to->abi.pending |= pending;
}
void engine_wait(struct cpu *cpu) { world.waits++; }
void engine_end(struct cpu *cpu, enum abi_call call) { world.calls = call; }
void *engine_alloc_shared(struct cpu *cpu, size_t bytes) { return calloc(1, bytes); }
void **engine_guest_shared(struct cpu *cpu) { return &world.guest_shared; }
void rt_doorbell(struct cpu *cpu, unsigned n) {
    world.doorbells++;
    if (n == ABI_DB_TIMER)
        cpu->shared->timer_armed = cpu->abi.timer_deadline;
}
void rt_call(struct cpu *cpu, enum abi_call call) { world.calls = call; }
void rt_yield(struct cpu *cpu, unsigned turn) { CHECK(!"there is nobody to wait for"); }
void rt_log(struct cpu *cpu, uint32_t topic, const char *fmt, ...) {}
void fp_sync(struct cpu *cpu) {}
void fp_set_rounding(struct cpu *cpu) {}
void rt_panic(struct cpu *cpu, const char *fmt, ...) {
    fprintf(stderr, "panic: %s\n", fmt);
    abort();
}
