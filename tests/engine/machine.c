/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* machine.c: see machine.h. */
#define _GNU_SOURCE /* memfd_create() */
#include "machine.h"

#include "graft/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HEAP_BYTES (32ull << 20)
#define VCPU_HEAP_BYTES (64ull << 20)
#define CODE_BYTES (32ull << 20)

static void *mapping(size_t bytes, int protection, int flags, int fd) {
    /* Shared: struct cpu is mapped twice where there is no GS base. */
    void *p = mmap(NULL, bytes, protection, MAP_SHARED | MAP_NORESERVE | flags, fd, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return p;
}

static uintptr_t memory(size_t bytes) { return (uintptr_t)mapping(bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1); }

/* Near this program's code, so that calls from translated code reach: the first such place that is free. */
static void *near_engine(size_t bytes, int fd) {
    const uintptr_t engine = (uintptr_t)&engine_main & ~UINT64_C(0xfffff);
    const int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    for (unsigned i = 1; i < 16; i++) {
        void *p = mmap((void *)(engine + i * (64ul << 20)), bytes, PROT_READ | PROT_EXEC, flags, fd, 0);
        if (p != MAP_FAILED)
            return p;
    }
    return mapping(bytes, PROT_READ | PROT_EXEC, 0, fd);
}

static void code_memory(struct abi_boot *boot, unsigned vcpu) {
    int fd = memfd_create("code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)boot->code_size)) {
        perror("memfd_create");
        exit(1);
    }
    boot->code_va[vcpu] = (uintptr_t)near_engine(boot->code_size, fd);
    uintptr_t writable = (uintptr_t)mapping(boot->code_size, PROT_READ | PROT_WRITE, 0, fd);
    boot->code_to_write[vcpu] = (ptrdiff_t)(writable - boot->code_va[vcpu]);
    close(fd);
}

uint32_t machine_guest(const char *name) {
    for (uint32_t i = 0; i < guest_count; i++)
        if (!strcmp(guest_table[i]->name, name))
            return i;
    fprintf(stderr, "%s: no such guest\n", name);
    exit(1);
}

uint64_t machine_tsc_hz(void) {
    struct timespec a, b, wait = {0, 20 * 1000 * 1000};
    clock_gettime(CLOCK_MONOTONIC, &a);
    uint64_t from = rt_ticks();
    nanosleep(&wait, NULL);
    uint64_t ticks = rt_ticks() - from;
    clock_gettime(CLOCK_MONOTONIC, &b);
    uint64_t ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)(b.tv_nsec - a.tv_nsec);
    return ticks * 1000000000u / ns;
}

void machine_memory(struct abi_boot *boot) {
    boot->magic = ABI_MAGIC;
    boot->version = ABI_VERSION;
    boot->size = sizeof(*boot);
    boot->dump_last = UINT64_MAX;
    boot->ram_gpa = RAM_GPA;
    boot->heap_size = HEAP_BYTES;
    boot->vcpu_heap_size = VCPU_HEAP_BYTES;
    boot->code_size = CODE_BYTES;
    boot->tsc_hz = machine_tsc_hz();
    boot->ram_va = memory(boot->ram_size);
    boot->heap_va = memory(boot->heap_size);
    boot->shared_va = memory(sizeof(struct abi_shared));
    for (unsigned i = 0; i < boot->vcpu_count; i++) {
        boot->vcpu_va[i] = memory(ABI_CPU_BYTES);
        boot->vcpu_heap_va[i] = memory(boot->vcpu_heap_size);
        code_memory(boot, i);
    }
    boot->tsc_base = rt_ticks();
}
