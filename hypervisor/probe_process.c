/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* probe_process.c: what the operations cost that the engine in this process is built on: 'graft info --probe'. */
#include "graft/rt.h"
#include "hypervisor/monitor.h"

#include <asm/prctl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* Rounds are short, and the cheapest one counts: what else the host does meanwhile is not the price. */
#define ROUNDS 25
#define OPERATIONS 16u /* in a round */
#define BULK_PAGES 1024u
#define AREA_BYTES (BULK_PAGES * PAGE_SIZE)
#define HUGE_BYTES (AREA_BYTES / 2) /* one is in the area, wherever that begins */
_Static_assert(HUGE_BYTES == UINT64_C(2) << 20, "a huge page");

/* The rows work on an area of addresses and a file of the same size. Page i of OPERATIONS is every other one of the
 * area, and what is mapped there is anywhere in the file: no mapping continues its neighbour. */
static uint8_t *area;
static int file = -1;
static bool failed; /* an operation of this row was refused */

static uint8_t *place(unsigned i) { return area + 2 * (uint64_t)i * PAGE_SIZE; }
static off_t scattered(unsigned i) { return (off_t)(i * 5 % OPERATIONS * PAGE_SIZE); }
static void expect(bool ok) { failed |= !ok; }
static void expect_map(const void *p) { expect(p != MAP_FAILED); }

static void map_area(int prot, int flags, int fd) {
    expect_map(mmap(area, AREA_BYTES, prot, flags | MAP_FIXED, fd, 0));
}
static void map_page(void *at, off_t offset, int flags) {
    expect_map(mmap(at, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | flags, file, offset));
}

/* --- faults ----------------------------------------------------------------------------------- */
static bool map_on_fault;
static volatile uint64_t resume_at;
static struct sigaction others;

static void on_fault(int signo, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint8_t *at = info->si_addr;
    if (at < area || at >= area + AREA_BYTES)
        sigaction(SIGSEGV, &others, NULL); /* not ours: it faults again */
    else if (map_on_fault)
        map_page((void *)ALIGN_DOWN((uintptr_t)at, PAGE_SIZE), scattered(0), MAP_POPULATE);
    else
        regs[REG_RIP] = (greg_t)resume_at;
}

/* A read; the handler may skip it. */
static void access_page(const uint8_t *at) {
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, %0\n\t"
                     "testb $0, (%1)\n"
                     "1:"
                     : "=m"(resume_at)
                     : "r"(at)
                     : "rax", "cc", "memory");
}

/* --- before a round: what it does not measure ------------------------------------------------- */
static void prepare_nothing(void) {}
static void prepare_reserved(void) { map_area(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1); }

static void prepare_private(void) {
    map_area(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise(area, AREA_BYTES, MADV_NOHUGEPAGE); /* refused where there are none */
}

/* The file, without memory yet. */
static void prepare_shared(void) {
    expect(!ftruncate(file, 0) && !ftruncate(file, AREA_BYTES));
    map_area(PROT_READ | PROT_WRITE, MAP_SHARED, file);
}

/* The file has its memory, and nothing of it is mapped. */
static void prepare_file(void) {
    prepare_shared();
    for (unsigned i = 0; i < OPERATIONS; i++)
        area[i * PAGE_SIZE] = 1;
    prepare_reserved();
}

static void map_scattered(int flags) {
    for (unsigned i = 0; i < OPERATIONS; i++)
        map_page(place(i), scattered(i), flags);
}
static void prepare_populated(void) {
    prepare_file();
    map_scattered(MAP_POPULATE);
}

static void touch(void) {
    for (unsigned i = 0; i < OPERATIONS; i++)
        *(volatile uint8_t *)place(i) = 1;
}
static void prepare_touched(void) {
    prepare_populated();
    if (!failed)
        touch();
}

/* --- rounds ----------------------------------------------------------------------------------- */
static void round_getpid(void) {
    for (unsigned i = 0; i < OPERATIONS; i++)
        syscall(SYS_getpid);
}
static void round_set_gs(void) {
    unsigned long base = 0;
    expect(!syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
    for (unsigned i = 0; i < OPERATIONS && !failed; i++)
        expect(!syscall(SYS_arch_prctl, ARCH_SET_GS, base));
}
static void round_fault(void) {
    for (unsigned i = 0; i < OPERATIONS; i++)
        access_page(place(i));
}
static void round_fault_and_map(void) {
    map_on_fault = true;
    round_fault();
    map_on_fault = false;
}
static void round_populate(void) { expect(!madvise(area, AREA_BYTES, MADV_POPULATE_WRITE)); }
static void round_map(void) { map_scattered(0); }
static void round_map_populated(void) { map_scattered(MAP_POPULATE); }
static void round_protect(void) {
    for (unsigned i = 0; i < OPERATIONS; i++)
        expect(!mprotect(place(i), PAGE_SIZE, PROT_READ));
}
static void round_dontneed(void) {
    for (unsigned i = 0; i < OPERATIONS; i++)
        expect(!madvise(place(i), PAGE_SIZE, MADV_DONTNEED));
}
static void round_unmap(void) {
    for (unsigned i = 0; i < OPERATIONS; i++)
        expect(!munmap(place(i), PAGE_SIZE));
}

/* --- the table -------------------------------------------------------------------------------- */
static const struct row {
    const char *text;
    void (*prepare)(void), (*round)(void);
    unsigned operations;
} rows[] = {
    {"system call (getpid)", prepare_nothing, round_getpid, OPERATIONS},
    {"arch_prctl(ARCH_SET_GS)", prepare_nothing, round_set_gs, OPERATIONS},
    {"SIGSEGV and back", prepare_reserved, round_fault, OPERATIONS},
    {"first touch of a private page", prepare_private, touch, OPERATIONS},
    {"first touch of a page of a shared mapping", prepare_shared, touch, OPERATIONS},
    {"the same in bulk (MADV_POPULATE_WRITE), private", prepare_private, round_populate, BULK_PAGES},
    {"the same in bulk (MADV_POPULATE_WRITE), shared", prepare_shared, round_populate, BULK_PAGES},
    {"mmap(MAP_FIXED) of one scattered page of a file", prepare_file, round_map, OPERATIONS},
    {"the same with MAP_POPULATE", prepare_file, round_map_populated, OPERATIONS},
    {"first touch after MAP_POPULATE", prepare_populated, touch, OPERATIONS},
    {"mprotect of one page that was used", prepare_touched, round_protect, OPERATIONS},
    {"MADV_DONTNEED of one page that was used", prepare_touched, round_dontneed, OPERATIONS},
    {"munmap of one page that was used", prepare_touched, round_unmap, OPERATIONS},
    {"SIGSEGV, mmap with MAP_POPULATE, touch", prepare_file, round_fault_and_map, OPERATIONS},
};

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void print_row(const struct row *r) {
    double least = 1e9;
    failed = false;
    for (unsigned i = 0; i < ROUNDS && !failed; i++) {
        r->prepare();
        double from = failed ? 0 : now_us();
        if (!failed)
            r->round();
        double us = (now_us() - from) / r->operations;
        least = us < least ? us : least;
    }
    if (failed) {
        printf("%-50s %12s\n", r->text, "refused");
        return;
    }
    printf("%-50s %9.2f us\n", r->text, least);
}

/* Kilobytes in the fields of /proc/self/smaps that count huge pages, for the mapping at that address. */
static unsigned long huge_kilobytes(const uint8_t *at) {
    char line[512], key[64];
    unsigned long from, to, n, sum = 0;
    bool here = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= (uintptr_t)at && (uintptr_t)at < to;
        else if (here && sscanf(line, "%63[^:]: %lu kB", key, &n) == 2)
            sum += !strcmp(key, "AnonHugePages") || !strcmp(key, "ShmemPmdMapped") ? n : 0;
    if (f)
        fclose(f);
    return sum;
}

/* Does memory that asks for huge pages get them? */
static bool gets_huge_pages(void (*prepare)(void)) {
    uint8_t *at = (uint8_t *)ALIGN_UP((uintptr_t)area, HUGE_BYTES);
    failed = false;
    prepare();
    if (failed || madvise(area, AREA_BYTES, MADV_HUGEPAGE))
        return false;
    *(volatile uint8_t *)at = 1;
    return huge_kilobytes(at) > 0;
}

static void print_answer(const char *text, bool yes) { printf("%-50s %12s\n", text, yes ? "yes" : "no"); }

static void print_max_map_count(void) {
    char text[32] = "unknown";
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    if (f && fscanf(f, "%31s", text) != 1)
        snprintf(text, sizeof(text), "unknown");
    if (f)
        fclose(f);
    printf("%-50s %12s\n", "vm.max_map_count", text);
}

void probe_process_print(void) {
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    area = mmap(NULL, AREA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    file = memfd_create("graft-probe", MFD_CLOEXEC);
    printf("\n%-50s %12s\n", "operation in a process", "cost");
    if ((void *)area == MAP_FAILED || file < 0) {
        printf("this process gets no memory to measure with\n");
        return;
    }
    sigaction(SIGSEGV, &act, &others);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        print_row(&rows[i]);
    sigaction(SIGSEGV, &others, NULL);
    print_answer("GS base of its own (FSGSBASE in AT_HWCAP2)", rt_has_gs());
    print_answer("huge pages for private memory on MADV_HUGEPAGE", gets_huge_pages(prepare_private));
    print_answer("huge pages for shared memory on MADV_HUGEPAGE", gets_huge_pages(prepare_shared));
    print_max_map_count();
    munmap(area, AREA_BYTES);
    close(file);
}
