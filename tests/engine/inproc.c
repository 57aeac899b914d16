/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * inproc.c: runs a flat AArch64 binary on the engine in this process, without the
 * monitor: RAM, a PL011 that prints, a clock, a timer thread; code is written at one address and runs at another. Linked with the x86 backend
 * (engine-run) or with the IR interpreter in its place (engine-interp).
 *
 * usage: engine-run FILE.bin [smp=N] [gic=2|3] [ram=MIB] [log=MASK] [stats=1] [hot=1]
 * hot=1: every block is translated as if it were found to run much.
 * Exit status: 0 the guest powered off, 1 anything else.
 */
#define _GNU_SOURCE /* memfd_create() */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dbt/rt/user/rt_user.h"

#define RAM_GPA UINT64_C(0x40000000)
#define LOAD_GPA UINT64_C(0x40080000)
#define UART_GPA UINT64_C(0x09000000)
#define UART_BYTES 0x1000
#define UART_DR 0x00
#define UART_FR 0x18
#define UART_FR_EMPTY 0x90 /* transmit and receive FIFOs empty */
#define RTC_GPA UINT64_C(0x09010000)
#define HEAP_BYTES (32ull << 20)
#define VCPU_HEAP_BYTES (64ull << 20)
#define CODE_BYTES (32ull << 20)

static struct abi_boot boot;
static _Atomic bool ended;
static int status = 1;

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise) {
    size_t n = strlen(name);
    for (int i = 2; i < argc; i++)
        if (!memcmp(argv[i], name, n < strlen(argv[i]) ? n : strlen(argv[i])) && argv[i][n] == '=')
            return strtoull(argv[i] + n + 1, NULL, 0);
    return otherwise;
}

static void *mapping(void *hint, size_t bytes, int protection, int flags, int fd) {
    /* Shared: struct cpu is mapped twice where there is no GS base. */
    void *p = mmap(hint, bytes, protection, MAP_SHARED | MAP_NORESERVE | flags, fd, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return p;
}

static void *memory(size_t bytes) { return mapping(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1); }

/* Near this program's code, so that calls from translated code reach. */
static void code_memory(unsigned vcpu) {
    void *hint = (void *)(((uintptr_t)&engine_main & ~UINT64_C(0xfffff)) + (64 << 20));
    int fd = memfd_create("code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)boot.code_size)) {
        perror("memfd_create");
        exit(1);
    }
    boot.code_va[vcpu] = (uintptr_t)mapping(hint, boot.code_size, PROT_READ | PROT_EXEC, 0, fd);
    uintptr_t writable = (uintptr_t)mapping(NULL, boot.code_size, PROT_READ | PROT_WRITE, 0, fd);
    boot.code_to_write[vcpu] = (ptrdiff_t)(writable - boot.code_va[vcpu]);
    close(fd);
}

static uint64_t tsc_hz(void) {
    struct timespec a, b, wait = {0, 20 * 1000 * 1000};
    clock_gettime(CLOCK_MONOTONIC, &a);
    uint64_t from = rt_ticks();
    nanosleep(&wait, NULL);
    uint64_t ticks = rt_ticks() - from;
    clock_gettime(CLOCK_MONOTONIC, &b);
    uint64_t ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)(b.tv_nsec - a.tv_nsec);
    return ticks * 1000000000u / ns;
}

static struct abi_vcpu *vcpu_abi(unsigned i) { return (struct abi_vcpu *)(uintptr_t)boot.vcpu_va[i]; }

static void check_timer(struct abi_vcpu *abi) {
    if (rt_ticks() >= abi->timer_deadline)
        abi->pending |= ABI_PEND_TIMER;
}

static void nap(void) {
    struct timespec t = {0, 50 * 1000};
    nanosleep(&t, NULL);
}

static void *timer_thread(void *arg) {
    while (!ended) {
        for (unsigned i = 0; i < boot.vcpu_count; i++)
            check_timer(vcpu_abi(i));
        nap();
    }
    return NULL;
}

static void device(struct abi_vcpu *abi, bool write) {
    uint64_t offset = abi->arg[0] - UART_GPA;
    abi->ret[0] = abi->ret[1] = 0;
    if (abi->arg[0] == RTC_GPA) {
        abi->ret[0] = (uint64_t)time(NULL);
        return;
    }
    abi->ret[1] = offset >= UART_BYTES;
    if (abi->ret[1])
        return;
    if (write && offset == UART_DR) {
        putchar((int)(abi->arg[2] & 0xff));
        fflush(stdout);
    }
    if (!write && offset == UART_FR)
        abi->ret[0] = UART_FR_EMPTY;
}

static void hexdump(const struct abi_vcpu *abi) {
    const uint8_t *p = (const uint8_t *)(uintptr_t)abi->arg[0];
    fprintf(stderr, abi->arg[2] ? "guest code %llx:" : "host code for %llx:", (unsigned long long)abi->arg[3]);
    for (uint64_t i = 0; i < abi->arg[1]; i++)
        fprintf(stderr, " %02x", p[i]);
    fprintf(stderr, "\n");
}

static void monitor(void *ctx, unsigned vcpu, struct abi_vcpu *abi) {
    switch (abi->call) {
    case ABI_CALL_MMIO_READ:
    case ABI_CALL_MMIO_WRITE: device(abi, abi->call == ABI_CALL_MMIO_WRITE); break;
    case ABI_CALL_WAIT:
        while (!abi->pending && !ended) {
            nap();
            check_timer(abi);
        }
        if (ended)
            abi->pending |= ABI_PEND_STOP;
        break;
    case ABI_CALL_LOG:
    case ABI_CALL_PANIC: fwrite((const char *)(uintptr_t)abi->arg[0], 1, abi->arg[1], stderr); break;
    case ABI_CALL_DUMP: hexdump(abi); break;
    case ABI_CALL_POWEROFF: status = 0; break;
    default: break;
    }
}

static void *vcpu_thread(void *arg) {
    unsigned vcpu = (unsigned)(uintptr_t)arg;
    enum abi_call why = rt_user_run(&boot, vcpu);
    if (why != ABI_CALL_POWEROFF && why != ABI_CALL_STOPPED)
        fprintf(stderr, "vCPU %u ended by call %d\n", vcpu, (int)why);
    ended = true;
    for (unsigned i = 0; i < boot.vcpu_count; i++)
        vcpu_abi(i)->pending |= ABI_PEND_STOP;
    return NULL;
}

static void print_stats(void) {
    static const char *const name[] = {
#define ABI_STAT(n, text) #n,
#include "graft/abi_stats.def"
#undef ABI_STAT
    };
    for (unsigned i = 0; i < ABI_STAT_COUNT; i++) {
        for (unsigned v = 0; v < boot.vcpu_count; v++)
            if (vcpu_abi(v)->stats[i])
                fprintf(stderr, "%u %-24s %llu\n", v, name[i], (unsigned long long)vcpu_abi(v)->stats[i]);
    }
}

static void load(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f ||
        !fread((char *)(uintptr_t)boot.ram_va + (LOAD_GPA - RAM_GPA), 1, boot.ram_size - (LOAD_GPA - RAM_GPA), f)) {
        perror(path);
        exit(1);
    }
    fclose(f);
}

static void machine_make(int argc, char **argv) {
    boot = (struct abi_boot){.magic = ABI_MAGIC,
                             .version = ABI_VERSION,
                             .size = sizeof(boot),
                             .vcpu_count = (uint32_t)option(argc, argv, "smp", 1),
                             .mmu = ABI_MMU_SOFT,
                             .gic_version = (uint32_t)option(argc, argv, "gic", 2),
                             .log_topics = (uint32_t)option(argc, argv, "log", 0),
                             .all_hot = (uint32_t)option(argc, argv, "hot", 0),
                             .dump_last = UINT64_MAX,
                             .ram_gpa = RAM_GPA,
                             .ram_size = option(argc, argv, "ram", 256) << 20,
                             .heap_size = HEAP_BYTES,
                             .vcpu_heap_size = VCPU_HEAP_BYTES,
                             .code_size = CODE_BYTES,
                             .tsc_hz = tsc_hz(),
                             .entry_pc = LOAD_GPA};
    if (boot.vcpu_count < 1 || boot.vcpu_count > ABI_MAX_VCPUS)
        exit(1);
    boot.ram_va = (uintptr_t)memory(boot.ram_size);
    boot.heap_va = (uintptr_t)memory(boot.heap_size);
    boot.shared_va = (uintptr_t)memory(sizeof(struct abi_shared));
    for (unsigned i = 0; i < boot.vcpu_count; i++) {
        boot.vcpu_va[i] = (uintptr_t)memory(ABI_CPU_BYTES);
        boot.vcpu_heap_va[i] = (uintptr_t)memory(boot.vcpu_heap_size);
        code_memory(i);
    }
    boot.tsc_base = rt_ticks();
}

int main(int argc, char **argv) {
    pthread_t thread[ABI_MAX_VCPUS], timer;
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE.bin [smp=N] [gic=2|3] [ram=MIB] [log=MASK] [stats=1] [hot=1]\n", argv[0]);
        return 2;
    }
    machine_make(argc, argv);
    load(argv[1]);
    rt_user_set_monitor(monitor, NULL, NULL);
    pthread_create(&timer, NULL, timer_thread, NULL);
    for (unsigned i = 0; i < boot.vcpu_count; i++)
        pthread_create(&thread[i], NULL, vcpu_thread, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < boot.vcpu_count; i++)
        pthread_join(thread[i], NULL);
    pthread_join(timer, NULL);
    if (option(argc, argv, "stats", 0))
        print_stats();
    return status;
}
