/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pmu.c: what perf needs of Linux and the performance monitors: counts of known code in user mode, all counters at
 * once, sampling by instructions and by cycles. Prints a line for each, as tests/linux/check.sh does.
 */
#include "check.h"

#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROUNDS 1000000ul
#define RING_PAGES 64ul

/* Three instructions a round, of which one is a branch; one load. */
static __attribute__((noinline)) void work(unsigned long rounds) {
    static volatile unsigned long cell;
#ifdef __riscv
    __asm__ volatile("1: ld t0, 0(%1)\naddi %0, %0, -1\nbnez %0, 1b" : "+r"(rounds) : "r"(&cell) : "t0", "memory");
#else
    __asm__ volatile("1: ldr x9, [%1]\nsubs %0, %0, #1\nb.ne 1b" : "+r"(rounds) : "r"(&cell) : "x9", "cc", "memory");
#endif
}

#define LOADS (PERF_COUNT_HW_CACHE_L1D | PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_ACCESS << 16)
/* Type and number of what counts in a group beside the cycles; the first counts instructions, the others branches or
 * loads. */
static const struct {
    unsigned type, config;
} grouped[] = {
#ifdef __riscv
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    {PERF_TYPE_HW_CACHE, LOADS},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    {PERF_TYPE_HW_CACHE, LOADS},
#else
    {PERF_TYPE_RAW, 0x08}, {PERF_TYPE_RAW, 0x0c}, {PERF_TYPE_RAW, 0x21},
    {PERF_TYPE_RAW, 0x06}, {PERF_TYPE_RAW, 0x13}, {PERF_TYPE_RAW, 0x0d},
#endif
};
#define GROUPED (sizeof grouped / sizeof *grouped)

static int open_event(unsigned type, unsigned long config, unsigned long period, int group) {
    struct perf_event_attr attr = {.type = type,
                                   .size = sizeof attr,
                                   .config = config,
                                   .sample_period = period,
                                   .sample_type = period ? PERF_SAMPLE_IP : 0,
                                   .disabled = group < 0,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, group, 0);
}

static uint64_t value_of(int fd) {
    uint64_t n = 0;
    return read(fd, &n, sizeof n) == sizeof n ? n : 0;
}

static uint64_t measure(unsigned type, unsigned long config) {
    int fd = open_event(type, config, 0, -1);
    if (fd < 0)
        return 0;
    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
    work(ROUNDS);
    ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
    uint64_t n = value_of(fd);
    close(fd);
    return n;
}

/* Within a thousandth, and not less. */
static void near(const char *what, uint64_t got, uint64_t want) {
    EXPECT(got >= want && got - want <= want / 1000, "%s: %llu, not %llu", what, (unsigned long long)got,
           (unsigned long long)want);
}

static void check_counts(void) {
    near("instructions", measure(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS), 3 * ROUNDS);
    near("branches", measure(PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS), ROUNDS);
    for (unsigned i = 0; i < GROUPED; i++)
        near("an event", measure(grouped[i].type, grouped[i].config), i ? ROUNDS : 3 * ROUNDS);
    EXPECT(measure(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES) > ROUNDS / 10, "no cycles");
    report("pmu-counts");
}

/* All counters in one group count at the same time. */
static void check_group(void) {
    int leader = open_event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, 0, -1), fd[GROUPED];
    for (unsigned i = 0; i < GROUPED; i++)
        EXPECT((fd[i] = open_event(grouped[i].type, grouped[i].config, 0, leader)) >= 0, "event %x does not fit",
               grouped[i].config);
    ioctl(leader, PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP);
    work(ROUNDS);
    ioctl(leader, PERF_EVENT_IOC_DISABLE, PERF_IOC_FLAG_GROUP);
    for (unsigned i = 0; i < GROUPED; i++)
        near("an event of the group", value_of(fd[i]), i ? ROUNDS : 3 * ROUNDS);
    EXPECT(value_of(leader) > 0, "no cycles");
    for (unsigned i = 0; i < GROUPED; i++)
        close(fd[i]);
    close(leader);
    report("pmu-group");
}

/* In work(), or, on RISC-V, in the kernel: of two interrupts at once the one for an overflow comes last. */
static int is_inside(uint64_t ip) {
#ifdef __riscv
    if (ip >> 63)
        return 1;
#endif
    return ip >= (uint64_t)(uintptr_t)work && ip < (uint64_t)(uintptr_t)work + 64;
}

/* Samples in the ring, and how many of them are where the time is spent. */
static void sample(unsigned long config, unsigned long period, unsigned long *all, unsigned long *inside) {
    const long page = sysconf(_SC_PAGESIZE);
    int fd = open_event(PERF_TYPE_HARDWARE, config, period, -1);
    char *ring =
        mmap(NULL, (size_t)((RING_PAGES + 1) * (unsigned long)page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    *all = *inside = 0;
    EXPECT(fd >= 0 && ring != MAP_FAILED, "no sampling");
    if (fd < 0 || ring == MAP_FAILED)
        return;
    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
    work(10 * ROUNDS);
    ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
    struct perf_event_mmap_page *head = (struct perf_event_mmap_page *)ring;
    for (uint64_t at = 0; at < head->data_head;) {
        struct perf_event_header *h =
            (struct perf_event_header *)(ring + page + at % (RING_PAGES * (unsigned long)page));
        uint64_t ip;
        memcpy(&ip, h + 1, sizeof ip);
        if (h->type == PERF_RECORD_SAMPLE) {
            ++*all;
            *inside += is_inside(ip);
        }
        at += h->size;
    }
    munmap(ring, (size_t)((RING_PAGES + 1) * (unsigned long)page));
    close(fd);
}

static void set_limit(const char *name, const char *value) {
    FILE *f = fopen(name, "w");
    EXPECT(f && fputs(value, f) >= 0 && !fclose(f), "cannot write %s", name);
}

static void check_sampling(void) {
    unsigned long all, inside;
    /* The kernel drops samples where it thinks that taking them costs too much time: on a busy host it may. */
    set_limit("/proc/sys/kernel/perf_cpu_time_max_percent", "0");
    sample(PERF_COUNT_HW_INSTRUCTIONS, 100000, &all, &inside);
    EXPECT(all >= 298 && all <= 301, "%lu samples of 30000000 instructions, one in 100000", all);
    EXPECT(inside + 2 >= all, "%lu samples, %lu of them where the time is spent", all, inside);
    sample(PERF_COUNT_HW_CPU_CYCLES, 20000, &all, &inside);
    EXPECT(all >= 1, "no sample of cycles");
    /* How many there are depends on what else the host does; of a few, one or two may be of the loop's surroundings. */
    EXPECT(inside + 2 >= all || inside * 10 >= all * 9, "%lu samples of cycles, %lu of them where the time is spent",
           all, inside);
    report("pmu-sampling");
}

int main(void) {
    check_counts();
    check_group();
    check_sampling();
    puts("CHECK done");
    return 0;
}
