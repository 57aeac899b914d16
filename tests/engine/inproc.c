/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * inproc.c: runs a flat AArch64 binary on the engine in this process, without the
 * monitor: RAM, a PL011 that prints, a clock, a timer thread; code is written at one address and runs at another.
 * Linked with the x86 backend (engine-run) or with the IR interpreter in its place (engine-interp).
 *
 * usage: engine-run FILE.bin [smp=N] [gic=2|3] [ram=MIB] [log=MASK] [stats=1] [hot=1]
 * hot=1: every block is translated as if it were found to run much.
 * Exit status: 0 the guest powered off, 1 anything else.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "machine.h"

#define LOAD_GPA UINT64_C(0x40080000)
#define UART_GPA UINT64_C(0x09000000)
#define UART_BYTES 0x1000
#define UART_DR 0x00
#define UART_FR 0x18
#define UART_FR_EMPTY 0x90 /* transmit and receive FIFOs empty */
#define RTC_GPA UINT64_C(0x09010000)

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
    boot = (struct abi_boot){.vcpu_count = (uint32_t)option(argc, argv, "smp", 1),
                             .mmu = ABI_MMU_SOFT,
                             .gic_version = (uint32_t)option(argc, argv, "gic", 2),
                             .log_topics = (uint32_t)option(argc, argv, "log", 0),
                             .all_hot = (uint32_t)option(argc, argv, "hot", 0),
                             .ram_size = option(argc, argv, "ram", 256) << 20,
                             .entry_pc = LOAD_GPA};
    if (boot.vcpu_count < 1 || boot.vcpu_count > ABI_MAX_VCPUS)
        exit(1);
    machine_memory(&boot);
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
