/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* vm_inproc.c: the engine as a library in this process: hosts without KVM, debuggers and sanitizers. */
#define _GNU_SOURCE /* memfd_create() */
#include "dbt/rt/user/rt_user.h"
#include "graft/mmu.h"
#include "hypervisor/monitor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif
#define HUGE (UINT64_C(2) << 20)
#define ARENA_STEP (UINT64_C(32) << 20)
#define ARENA_REACH (UINT64_C(1900) << 20) /* of a 32-bit offset, with room for the engine's own code */

static uint8_t *map_at(uint64_t want, uint64_t size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (want ? MAP_FIXED_NOREPLACE : 0);
    uint8_t *p = mmap((void *)want, size, PROT_READ | PROT_WRITE, flags, -1, 0);
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

/* All of a file, to be read and written, where it may have huge pages. */
static uint8_t *map_file(int fd, uint64_t size) {
    uint8_t *room = mmap(NULL, size + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    uint8_t *start = (uint8_t *)ALIGN_UP((uint64_t)room, HUGE);
    if (start > room)
        munmap(room, (size_t)(start - room));
    munmap(start + size, (size_t)(room + HUGE - start));
    if (mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED) {
        munmap(start, size);
        return NULL;
    }
    madvise(start, size, MADV_HUGEPAGE);
    return start;
}

/* struct cpu of each vCPU is mapped more than once where the process has no GS base (rt_map_cpu()). */
static bool share_cpus(struct machine *m, uint8_t *arena) {
    for (unsigned i = 0; i < m->vcpu_count; i++)
        if (mmap(arena + m->layout.cpu[i], ABI_CPU_BYTES, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            return false;
    return true;
}

/* The code caches lie one behind the other. */
static uint64_t code_bytes(const struct machine *m) {
    const struct layout *l = &m->layout;
    return l->code[m->vcpu_count - 1] + l->code_size - l->code[0];
}

/* A file in memory, which nobody will start as a program. Kernels before 6.3 do not know that there is a difference. */
static int code_file(uint64_t bytes) {
    int fd = memfd_create("code", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("code", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, (off_t)bytes)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* At code to run, elsewhere to be written. */
static bool split_code(struct machine *m, uint8_t *code) {
    uint64_t bytes = code_bytes(m);
    int fd = code_file(bytes);
    if (fd < 0)
        return false;
    void *run = mmap(code, bytes, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
    uint8_t *write = run == MAP_FAILED ? NULL : map_file(fd, bytes);
    close(fd);
    if (!write)
        return false;
    m->code_to_write = write - code;
    return true;
}

static bool make_code(struct machine *m, uint8_t *arena, char err[ERR_BYTES]) {
    uint8_t *code = arena + m->layout.code[0];
    bool rwx = m->options->code == CODE_RWX;
    if (rwx ? !mprotect(code, code_bytes(m), PROT_READ | PROT_WRITE | PROT_EXEC) : split_code(m, code))
        return true;
    if (errno == ENOMEM)
        return false;
    if (rwx)
        snprintf(err, ERR_BYTES, "this host lets no memory be writable and executable (%s): leave out --code rwx",
                 strerror(errno));
    else
        snprintf(err, ERR_BYTES, "this host lets no file in memory be executed (%s): try --code rwx", strerror(errno));
    return false;
}

static bool give_huge(uint8_t *at, uint64_t bytes) {
    return !((uintptr_t)at % HUGE) && bytes == HUGE && rt_user_make_huge((uintptr_t)at);
}

/* Code has two mappings, and each page would take a fault in both. */
static bool give_code(struct machine *m, uint8_t *at, uint64_t bytes) {
    uint8_t *write = at + m->code_to_write;
    if (!give_huge(write, bytes))
        madvise(write, bytes, MADV_POPULATE_WRITE);
    madvise(at, bytes, MADV_POPULATE_READ);
    return true;
}

/* RAM of a file gets huge pages, or what the engine does itself (rt_ram_used()). */
static bool inproc_give(struct machine *m, uint8_t *at, uint64_t bytes) {
    const uint8_t *code = m->arena + m->layout.code[0];
    if (m->code_to_write && at >= code && at + bytes <= code + code_bytes(m))
        return give_code(m, at, bytes);
    return m->ram_fd >= 0 && at >= m->ram && at < m->ram + m->memory && (give_huge(at, bytes), true);
}

static uint8_t *inproc_arena_alloc(struct machine *m, uint64_t size, char err[ERR_BYTES]) {
    uint8_t *p = map_near(size);
    if (p)
        madvise(p, size, MADV_HUGEPAGE);
    if (p && (!share_cpus(m, p) || !make_code(m, p, err))) {
        munmap(p, size);
        return NULL;
    }
    m->arena_va = (uint64_t)p;
    return p;
}

static void inproc_arena_free(struct machine *m, uint64_t size) {
    if (m->code_to_write)
        munmap(m->arena + m->layout.code[0] + m->code_to_write, code_bytes(m));
    munmap(m->arena, size);
}

/* --- windows ---------------------------------------------------------------------------------- */
#define SLOTS 256 /* of 512 GiB: what a process may have with four-level page tables */
#define SLOT_SHIFT 39
#define WINDOWS_MIN 4 /* for each vCPU */

/* What a machine with windows has on top. */
struct inproc {
    int ram_fd;
    uint64_t reserved[SLOTS / 64]; /* by us, without access */
    uint64_t windows[ABI_MAX_VCPUS][SLOTS / 64];
    uint32_t null_slot, loan_slot[ABI_MAX_VCPUS];
};

static bool has_slot(const uint64_t *set, unsigned slot) { return set[slot / 64] >> slot % 64 & 1; }
static void add_slot(uint64_t *set, unsigned slot) { set[slot / 64] |= BIT(slot % 64); }

/* Opened once: later, and when the machine resets, that may not be allowed any more (sandbox.c). */
static FILE *maps(void) {
    static FILE *f;
    return f ? f : (f = fopen("/proc/self/maps", "re"));
}

void vm_inproc_open(void) {
    maps();
    rt_user_prepare();
}

/* Slots that something is mapped in, with a neighbour each for what may grow. */
static bool used_slots(uint64_t used[SLOTS / 64]) {
    unsigned long long from, to;
    FILE *f = maps();
    if (!f)
        return false;
    rewind(f);
    while (fscanf(f, "%llx-%llx%*[^\n]", &from, &to) == 2) {
        unsigned first = (unsigned)(from >> SLOT_SHIFT), last = (unsigned)((to - 1) >> SLOT_SHIFT);
        for (unsigned slot = first ? first - 1 : 0; slot <= last + 1 && slot < SLOTS; slot++)
            add_slot(used, slot);
    }
    return true;
}

/* Nobody gets an address in there. */
static bool reserve_slot(struct inproc *p, unsigned slot) {
    if (has_slot(p->reserved, slot))
        return true;
    void *want = (void *)((uint64_t)slot << SLOT_SHIFT), *got;
    got = mmap(want, BIT(SLOT_SHIFT), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
               0);
    if (got != want && got != MAP_FAILED)
        munmap(got, BIT(SLOT_SHIFT));
    if (got == want)
        add_slot(p->reserved, slot);
    return got == want;
}

static void release_slots(struct inproc *p) {
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (has_slot(p->reserved, slot))
            munmap((void *)((uint64_t)slot << SLOT_SHIFT), BIT(SLOT_SHIFT));
}

/* Every other slot, with an empty one on each side, in turn to each vCPU; the first ones are for nothing and for
 * loans. */
static bool inproc_windows_reserve(struct machine *m, char err[ERR_BYTES]) {
    uint64_t used[SLOTS / 64] = {0};
    unsigned count = 0, loans = 0;
    struct inproc *p = calloc(1, sizeof(*p));
    m->vm_data = p;
    if (!p || !used_slots(used)) {
        snprintf(err, ERR_BYTES, "cannot read /proc/self/maps");
        return false;
    }
    p->ram_fd = -1;
    for (unsigned slot = 1; slot + 1 < SLOTS; slot++) {
        if (has_slot(used, slot) || !reserve_slot(p, slot - 1) || !reserve_slot(p, slot) || !reserve_slot(p, slot + 1))
            continue;
        if (!p->null_slot)
            p->null_slot = slot;
        else if (loans < m->vcpu_count)
            p->loan_slot[loans++] = slot;
        else
            add_slot(p->windows[count++ % m->vcpu_count], slot);
        slot++; /* a guard */
    }
    if (count >= WINDOWS_MIN * m->vcpu_count)
        return true;
    release_slots(p);
    *p = (struct inproc){.ram_fd = -1};
    snprintf(err, ERR_BYTES, "this process may not reserve address space (ulimit -v?)");
    return false;
}

/* --- memory ----------------------------------------------------------------------------------- */
static uint8_t *inproc_ram_alloc(struct machine *m) {
    struct inproc *p = m->vm_data;
    uint8_t *ram;
    rt_user_set_ram(-1, NULL, m->vcpu_count);
    if (!mmu_strategies[m->mmu]->needs_paging)
        return machine_alloc_pages(m->memory);
    /* One file, so that its pages can be mapped at any address. */
    p->ram_fd = memfd_create("guest-ram", MFD_CLOEXEC);
    if (p->ram_fd < 0 || ftruncate(p->ram_fd, (off_t)m->memory) || !(ram = map_file(p->ram_fd, m->memory)))
        return NULL;
    rt_user_set_ram(p->ram_fd, ram, m->vcpu_count);
    m->ram_fd = p->ram_fd;
    return ram;
}

/* What the engine has to know of windows: page tables of its own, and where they may lead. */
static void describe_windows(struct machine *m) {
    const struct inproc *p = m->vm_data;
    struct abi_boot *b = m->boot;
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        b->pml4_va[i] = b->pml4_pa[i] = m->arena_va + m->layout.roots + i * PAGE_SIZE;
        memcpy(b->window_slots[i], p->windows[i], sizeof(p->windows[i]));
        b->loan_slot[i] = p->loan_slot[i];
    }
    b->null_slot = p->null_slot;
    b->pt_pool_va = b->pt_pool_pa = m->arena_va + m->layout.pt_pool;
    b->pt_pool_size = m->layout.pt_pool_size;
    b->ram_pa = 0;
}

static void on_call(void *ctx, unsigned vcpu, struct abi_vcpu *abi) {
    struct machine *m = ctx;
    run_call(m, &m->vcpu[vcpu]);
}

static void on_doorbell(void *ctx, unsigned n) { events_doorbell(ctx, n); }

static int inproc_create(struct machine *m, char err[ERR_BYTES]) {
    rt_user_set_monitor(on_call, on_doorbell, m);
    if (mmu_strategies[m->mmu]->needs_paging)
        describe_windows(m);
    return 0;
}

static void inproc_run(struct machine *m, struct vcpu *v) { rt_user_run(m->boot, v->index); }

static void inproc_destroy(struct machine *m) {
    struct inproc *p = m->vm_data;
    if (!p)
        return;
    release_slots(p);
    if (p->ram_fd >= 0)
        close(p->ram_fd);
    free(p);
}

static uint64_t inproc_tsc_hz(struct machine *m) { return 0; }

const struct vm_ops vm_inproc = {
    .name = "inproc",
    .in_vm = false,
    .arena_alloc = inproc_arena_alloc,
    .arena_free = inproc_arena_free,
    .ram_alloc = inproc_ram_alloc,
    .windows_reserve = inproc_windows_reserve,
    .create = inproc_create,
    .run = inproc_run,
    .destroy = inproc_destroy,
    .give = inproc_give,
    .tsc_hz = inproc_tsc_hz,
};
