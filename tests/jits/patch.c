/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * patch.c: what JIT compilers do to their code and their memory, each by itself: code written through one mapping and
 * run through another, branches patched while another thread runs through them, code unmapped and made again at the
 * same address, faults of compiled code that become exceptions, loops that stop because a page was protected, signals
 * in loops, and threads that membarrier makes see new code. Each line is the same in each run. qemu-user gets it wrong:
 * it does not see what is written to code by another address.
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

typedef long code_fn(long);

#define CODE_BYTES 65536

#if defined(__aarch64__)
#define RET 0xd65f03c0u
#define NOP 0xd503201fu
static uint32_t add_x0(unsigned n) { return 0x91000000u | n << 10; }                      /* add x0, x0, #n */
static uint32_t jump(long words) { return 0x14000000u | ((uint32_t)words & 0x3ffffffu); } /* b */
static uint32_t movz_x0(unsigned n) { return 0xd2800000u | n << 5; }                      /* mov x0, #n */
/* while (x0--) x9 = x9 + n; x0 = x9 */
static size_t put_loop(uint32_t *p, unsigned n) {
    const uint32_t loop[] = {0xd2800009u, 0xb4000080u, 0x91000129u | n << 10, 0xd1000400u, 0x17fffffdu,
                             0xaa0903e0u, RET};
    memcpy(p, loop, sizeof(loop));
    return sizeof(loop);
}
/* while (1) x1 = *(int *)x0; until the load faults, and the handler returns from it */
static size_t put_poll(uint32_t *p) {
    const uint32_t loop[] = {0xb9400001u, 0x17ffffffu};
    memcpy(p, loop, sizeof(loop));
    return sizeof(loop);
}
#define CONTEXT_PC(u) (u)->uc_mcontext.pc
#define CONTEXT_RESULT(u) (u)->uc_mcontext.regs[0]
#define CONTEXT_RETURN(u) (u)->uc_mcontext.regs[30]
#elif defined(__riscv)
#define RET 0x00008067u
#define NOP 0x00000013u
static uint32_t add_x0(unsigned n) { return 0x00050513u | n << 20; }  /* addi a0, a0, n */
static uint32_t movz_x0(unsigned n) { return 0x00000513u | n << 20; } /* li a0, n */
static uint32_t jump(long words) {
    uint32_t o = (uint32_t)(words * 4);
    return 0x6fu | (o >> 20 & 1) << 31 | (o >> 1 & 0x3ff) << 21 | (o >> 11 & 1) << 20 | (o >> 12 & 0xff) << 12;
}
static size_t put_loop(uint32_t *p, unsigned n) {
    const uint32_t loop[] = {0x00000593u, 0x00050863u, 0x00058593u | n << 20, 0xfff50513u, 0xff5ff06fu,
                             0x00058513u, RET};
    memcpy(p, loop, sizeof(loop));
    return sizeof(loop);
}
static size_t put_poll(uint32_t *p) {
    const uint32_t loop[] = {0x00052583u, 0xffdff06fu};
    memcpy(p, loop, sizeof(loop));
    return sizeof(loop);
}
#define CONTEXT_PC(u) (u)->uc_mcontext.__gregs[REG_PC]
#define CONTEXT_RESULT(u) (u)->uc_mcontext.__gregs[REG_A0]
#define CONTEXT_RETURN(u) (u)->uc_mcontext.__gregs[REG_RA]
#endif

static uint8_t *rw, *rx; /* the same memory */

static void flush(const void *at, size_t bytes) { __builtin___clear_cache((char *)at, (char *)at + bytes); }
static code_fn *code_at(size_t at) { return (code_fn *)(uintptr_t)(rx + at); }
static void put(size_t at, const uint32_t *words, size_t count) {
    memcpy(rw + at, words, count * 4);
    flush(rx + at, count * 4);
}
static void need(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void map_twice(void) {
    int fd = memfd_create("code", 0);
    need(fd >= 0 && !ftruncate(fd, CODE_BYTES), "memfd");
    rw = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rx = mmap(NULL, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    need(rw != MAP_FAILED && rx != MAP_FAILED, "mmap");
}

/* New code where there was some, again and again, in the middle of a page and over the edge of two. How often it was
 * not what ran. */
static long test_rewrite(void) {
    long bad = 0;
    for (unsigned i = 0; i < 3000; i++) {
        const uint32_t words[] = {add_x0(i % 2000), RET};
        uint32_t loop[16];
        size_t at = i * 36 % 3600;
        put(at, words, 2);
        for (int k = 0; k < 3; k++)
            bad += code_at(at)(k) != k + (long)(i % 2000);
        put(8192 - 12, loop, put_loop(loop, i % 100 + 1) / 4);
        bad += code_at(8192 - 12)(200 + i % 7) != (i % 100 + 1) * (200L + i % 7);
    }
    return bad;
}

/* A page of code unmapped, another mapped in its place; and made executable and writable by turns. */
static long test_remap(void) {
    long bad = 0, page = sysconf(_SC_PAGESIZE);
    uint32_t *at = NULL;
    for (unsigned i = 0; i < 600; i++) {
        at = mmap(at, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
        need(at != MAP_FAILED, "mmap");
        for (unsigned turn = 0; turn < 2; turn++) {
            unsigned n = i % 50 + 1 + turn * 2;
            flush(at, put_loop(at, n));
            need(!mprotect(at, (size_t)page, PROT_READ | PROT_EXEC), "mprotect");
            bad += ((code_fn *)(uintptr_t)at)(150) != 150L * n;
            need(!mprotect(at, (size_t)page, PROT_READ | PROT_WRITE), "mprotect");
        }
        if (i % 3 == 0)
            need(!munmap(at, (size_t)page), "munmap");
    }
    return bad;
}

static atomic_int stop;
static atomic_long rounds;

/* x0 + 1 + (0 or 100): which of two arms a branch leads to is what is patched. Any other sum is wrong. */
static void *run_patched(void *unused) {
    long bad = 0;
    while (!stop) {
        long v = code_at(16384)(5);
        bad += v != 6 && v != 106;
        rounds++;
    }
    return (void *)bad;
}
static long test_cross(void) {
    const uint32_t words[] = {add_x0(1), NOP, RET, NOP, add_x0(100), RET};
    put(16384, words, 6);
    stop = 0;
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        need(!pthread_create(&t[i], NULL, run_patched, NULL), "pthread_create");
    long bad = 0;
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t w = i & 1 ? NOP : jump(3);
        __atomic_store_n((uint32_t *)(rw + 16388), w, __ATOMIC_RELEASE);
        flush(rx + 16388, 4);
        bad += code_at(16384)(5) != (i & 1 ? 6 : 106); /* this thread has to see it at once */
        if (i % 100 == 0) {
            long before = rounds;
            while (rounds < before + 3)
                sched_yield();
        }
    }
    stop = 1;
    for (int i = 0; i < 3; i++) {
        void *b;
        pthread_join(t[i], &b);
        bad += (long)b;
    }
    return bad;
}

/* One thread makes code and says where; others run it, having only synchronised with the thread by memory. */
static _Atomic unsigned published, taken;
static void *run_published(void *unused) {
    long bad = 0;
    for (unsigned i = 1; i <= 600; i++) {
        while (published < i)
            sched_yield();
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
        bad += code_at(24576 + i % 8 * 128)(0) != i;
        taken++;
    }
    return (void *)bad;
}
static long test_publish(void) {
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        need(!pthread_create(&t[i], NULL, run_published, NULL), "pthread_create");
    for (unsigned i = 1; i <= 600; i++) {
        const uint32_t words[] = {movz_x0(i), RET};
        put(24576 + i % 8 * 128, words, 2);
        published = i;
        while (taken < 2 * i)
            sched_yield();
    }
    long bad = 0;
    for (int i = 0; i < 2; i++) {
        void *b;
        pthread_join(t[i], &b);
        bad += (long)b;
    }
    return bad;
}

/* The page that loops poll: a fault there returns from the loop. */
static volatile int *poll_page;
static _Atomic long faults;
static __thread sigjmp_buf escape;
static __thread volatile int may_escape;
static void on_fault(int sig, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    if (info->si_addr == (void *)poll_page) {
        faults++;
        CONTEXT_PC(u) = CONTEXT_RETURN(u);
        CONTEXT_RESULT(u) = 42;
    } else if (may_escape) {
        siglongjmp(escape, sig);
    } else {
        _exit(99);
    }
}
static void *run_poll(void *unused) { return (void *)code_at(32768)((long)poll_page); }
static long test_polls(void) {
    uint32_t buffer[8];
    put(32768, buffer, put_poll(buffer) / 4);
    poll_page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long sum = 0;
    for (int i = 0; i < 60; i++) {
        pthread_t t[3];
        for (int k = 0; k < 3; k++)
            need(!pthread_create(&t[k], NULL, run_poll, NULL), "pthread_create");
        usleep(i % 3 * 1000);
        need(!mprotect((void *)poll_page, 4096, PROT_NONE), "mprotect");
        for (int k = 0; k < 3; k++) {
            void *v;
            pthread_join(t[k], &v);
            sum += (long)v;
        }
        need(!mprotect((void *)poll_page, 4096, PROT_READ), "mprotect");
    }
    return sum * 1000 + faults;
}

/* Null, and past the end of what is mapped, out of a loop that has run well before. */
struct thing {
    char far[2000];
    long v;
};
static __attribute__((noinline)) long sum_things(struct thing *const *t, int n) {
    long s = 0;
    for (int i = 0; i < n; i++)
        s += t[i]->v;
    return s;
}
static long test_nulls(void) {
    static struct thing a = {.v = 3}, b = {.v = 4};
    struct thing *list[64];
    volatile long sum = 0;
    for (volatile int i = 0; i < 1000; i++) {
        for (int k = 0; k < 64; k++)
            list[k] = k & 1 ? &a : &b;
        if (i % 3 == 1)
            list[i % 64] = i & 1 ? NULL : (struct thing *)(uintptr_t)0xdead000000000000u;
        may_escape = 1;
        if (sigsetjmp(escape, 1))
            sum = sum + 10000;
        else
            sum = sum + sum_things(list, 64);
        may_escape = 0;
    }
    return sum;
}

/* A jump to what is no code. */
static long test_wild(void) {
    static const uint32_t words[] = {0u, 0u};
    volatile long caught = 0;
    put(40960, words, 2);
    for (volatile int i = 0; i < 300; i++) {
        may_escape = 1;
        int sig = sigsetjmp(escape, 1);
        if (sig)
            caught = caught + sig;
        else
            (i % 3 == 0 ? code_at(40960) : i % 3 == 1 ? (code_fn *)(uintptr_t)rw : (code_fn *)(uintptr_t)8)(1);
        may_escape = 0;
    }
    return caught;
}

/* Signals in a loop of made code must not change what it computes. */
static volatile long ticks;
static void on_tick(int sig) { ticks = ticks + sig; }
static long test_ticks(void) {
    uint32_t buffer[16];
    put(49152, buffer, put_loop(buffer, 3) / 4);
    struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    signal(SIGALRM, on_tick);
    setitimer(ITIMER_REAL, &every, NULL);
    long bad = 0;
    for (int i = 0; i < 200; i++)
        bad += code_at(49152)(50000 + i) != 3L * (50000 + i);
    setitimer(ITIMER_REAL, &never, NULL);
    return bad + (ticks == 0);
}

/* Most of an address space reserved, a bit of it used, given back, used again. */
static long test_reserve(void) {
    size_t size = (size_t)64 << 30;
    uint8_t *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    need(p != MAP_FAILED, "reserve");
    long sum = 0;
    for (unsigned i = 0; i < 200; i++) {
        uint8_t *q = p + (size_t)i * 317 * 1048576 % size / 4096 * 4096;
        need(!mprotect(q, 65536, PROT_READ | PROT_WRITE), "commit");
        for (unsigned k = 0; k < 65536; k += 512)
            sum += q[k]++;
        need(!madvise(q, 65536, MADV_DONTNEED), "madvise");
        for (unsigned k = 0; k < 65536; k += 512)
            sum += q[k] += 3;
        need(!mprotect(q, 65536, PROT_NONE), "decommit");
    }
    munmap(p, size);
    return sum;
}

int main(void) {
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGBUS, &fault, NULL);
    sigaction(SIGILL, &fault, NULL);
    map_twice();
    const struct {
        const char *name;
        long (*run)(void);
    } tests[] = {
        {"rewrite", test_rewrite}, {"remap", test_remap}, {"cross", test_cross},
        {"publish", test_publish}, {"polls", test_polls}, {"nulls", test_nulls},
        {"wild", test_wild},       {"ticks", test_ticks}, {"reserve", test_reserve},
    };
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        printf("%s %ld\n", tests[i].name, tests[i].run());
        fflush(stdout);
    }
    return 0;
}
