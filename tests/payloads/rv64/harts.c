/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* options: smp=2 */
/* harts.c: timers, WFI, and two harts: HSM (start, stop, suspend), IPIs, remote fences, atomic operations on one
 * word. */
#include "rv64_payload.h"

#define VA 0x1000000000ul
#define MS 10000ul /* counts of time */

static void timer(void) {
    uint64_t now = csr_read(time), count = trap.count;
    csr_write(STIMECMP, ~0ul);
    csr_write(sie, 1 << 5);
    CHECK_EQ(csr_read(sip) & 1 << 5, 0);
    csr_write(STIMECMP, now + 5 * MS);
    while (!(csr_read(sip) & 1 << 5))
        CHECK(csr_read(time) < now + 5000 * MS);
    CHECK(csr_read(time) >= now + 5 * MS);
    CHECK_EQ(trap.count, count);
    csr_set(sstatus, SIE);
    CHECK_EQ(trap.cause, INTERRUPT | 5);
    csr_clear(sstatus, SIE);
    csr_write(STIMECMP, ~0ul);
    CHECK_EQ(csr_read(sip) & 1 << 5, 0);
}

static void wait_for_interrupt(void) {
    uint64_t now = csr_read(time);
    sbi_call(SBI_TIME, 0, now + 20 * MS, 0, 0, 0, 0);
    csr_write(sie, 1 << 5);
    while (!(csr_read(sip) & 1 << 5))
        __asm__ volatile("wfi" : : : "memory");
    CHECK(csr_read(time) >= now + 20 * MS);
    sbi_call(SBI_TIME, 0, ~0ul, 0, 0, 0, 0);
}

/* --- the other hart --------------------------------------------------------------------------- */
static volatile uint64_t counter, locked, ready, told, stop;
static struct start start;

static void stopped(unsigned hart) {
    while (sbi_call(SBI_HSM, 2, hart, 0, 0, 0, 0).value != 1) {
    }
}

static unsigned other(void) { return sbi_call(SBI_HSM, 2, 0, 0, 0, 0, 0).value == 0 ? 1 : 0; }

static void count(void *arg) {
    (void)arg;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t old, failed;
        __asm__ volatile("amoadd.d zero, %1, (%0)" : : "r"(&counter), "r"(1ul) : "memory");
        do
            __asm__ volatile("lr.d %0, (%2)\n addi %0, %0, 1\n sc.d %1, %0, (%2)"
                             : "=&r"(old), "=&r"(failed)
                             : "r"(&locked)
                             : "memory");
        while (failed);
    }
}

static void atomic(void) {
    unsigned hart = other();
    counter = locked = 0;
    CHECK_EQ(sbi_call(SBI_HSM, 2, hart, 0, 0, 0, 0).value, 1); /* stopped */
    CHECK(start_hart(hart, &start, count, 0));
    count(0);
    stopped(hart);
    CHECK_EQ(counter, 40000);
    CHECK_EQ(locked, 40000);
}

/* How a hart starts, and what is refused. */
static volatile uint64_t start_satp, start_status;
static void look_around(void *arg) {
    (void)arg;
    start_satp = csr_read(satp);
    start_status = csr_read(sstatus);
    ready = 1;
    while (!stop) {
    }
}

static void hart_state(void) {
    unsigned hart = other();
    ready = stop = 0;
    start_satp = start_status = ~0ul;
    CHECK_EQ(sbi_call(SBI_HSM, 0, 50, 0, 0, 0, 0).error, -3);
    CHECK_EQ(sbi_call(SBI_HSM, 2, 50, 0, 0, 0, 0).error, -3);
    CHECK_EQ(sbi_call(SBI_HSM, 9, 0, 0, 0, 0, 0).error, -2);
    CHECK(start_hart(hart, &start, look_around, 0));
    while (!ready) {
    }
    CHECK_EQ(sbi_call(SBI_HSM, 2, hart, 0, 0, 0, 0).value, 0); /* started */
    CHECK_EQ(sbi_call(SBI_HSM, 0, hart, (uint64_t)look_around, 0, 0, 0).error, -6);
    CHECK_EQ(start_satp, 0);
    CHECK_EQ(start_status & SIE, 0);
    stop = 1;
    stopped(hart);
}

/* A suspension that keeps the hart's state ends by an interrupt that sie has. */
static volatile uint64_t suspend_error;
static void suspend(void *arg) {
    uint64_t end = csr_read(time) + (uint64_t)arg;
    csr_write(sie, 2);
    csr_write(STIMECMP, ~0ul);
    suspend_error = 0;
    ready = 1;
    while (!(csr_read(sip) & 2) && csr_read(time) < end)
        suspend_error |= (uint64_t)sbi_call(SBI_HSM, 3, 0, 0, 0, 0, 0).error;
    told = csr_read(sip) & 2;
    csr_clear(sip, 2);
}

static void suspension(void) {
    unsigned hart = other();
    ready = told = 0;
    CHECK(start_hart(hart, &start, suspend, (void *)(20000 * MS)));
    while (!ready) {
    }
    uint64_t now = csr_read(time), state = 0;
    while (state != 4 && csr_read(time) < now + 5000 * MS) /* suspended */
        state = sbi_call(SBI_HSM, 2, hart, 0, 0, 0, 0).value;
    CHECK_EQ(state, 4);
    CHECK_EQ(sbi_call(SBI_IPI, 0, 1, hart, 0, 0, 0).error, 0);
    stopped(hart);
    CHECK_EQ(told, 2);
    CHECK_EQ(suspend_error, 0);
    CHECK_EQ(sbi_call(SBI_HSM, 3, 1, 0, 0, 0, 0).error, -3); /* reserved */
}

static void answer(void *arg) {
    (void)arg;
    ready = 1;
    csr_write(sie, 2);
    while (!(csr_read(sip) & 2))
        __asm__ volatile("wfi" : : : "memory");
    csr_clear(sip, 2);
    told = 1;
}

static void ipi(void) {
    unsigned hart = other();
    for (unsigned i = 0; i < 20; i++) {
        ready = told = 0;
        CHECK(start_hart(hart, &start, answer, 0));
        while (!ready) {
        }
        CHECK_EQ(sbi_call(SBI_IPI, 0, 1, hart, 0, 0, 0).error, 0);
        while (!told) {
        }
        stopped(hart);
    }
    CHECK_EQ(sbi_call(SBI_IPI, 0, 1, 50, 0, 0, 0).error, -3);
}

/* The other hart looks at a page again and again; after a remote fence it sees the new one. */
static volatile uint64_t satp_for_all, seen;
static void look(void *arg) {
    (void)arg;
    csr_write(satp, satp_for_all);
    sfence();
    while (!stop) {
        seen = *(volatile uint64_t *)VA;
        ready = 1;
    }
    csr_write(satp, 0);
    sfence();
}

static void remote_fence(void) {
    unsigned hart = other();
    uint64_t *page[2] = {page_alloc(), page_alloc()};
    page[0][0] = 100;
    page[1][0] = 101;
    CHECK(paging_on(3));
    volatile uint64_t *e = map_page(VA, (uint64_t)page[0], PTE_RWX);
    satp_for_all = csr_read(satp);
    stop = ready = 0;
    CHECK(start_hart(hart, &start, look, 0));
    while (!ready) {
    }
    for (unsigned i = 1; i < 200; i++) {
        *e = (uint64_t)page[i & 1] >> 12 << 10 | PTE_RWX;
        if (i & 2)
            CHECK_EQ(sbi_call(SBI_RFENCE, 1, 1, hart, VA, 4096, 0).error, 0);
        else
            CHECK_EQ(sbi_call(SBI_RFENCE, 1, 1, hart, 0, ~0ul, 0).error, 0);
        for (unsigned round = 0; round < 2; round++) { /* a look that began before it may end after it */
            ready = 0;
            while (!ready) {
            }
        }
        CHECK_EQ(seen, 100 + (i & 1));
    }
    stop = 1;
    stopped(hart);
    paging_off();
}

/* Code that one hart writes and the other runs. On QEMU it may go on running the old one. */
static uint32_t code[2] __attribute__((aligned(4096)));
static void run_code(void *arg) {
    (void)arg;
    while (!stop) {
        seen = ((uint64_t (*)(void))code)();
        ready = 1;
    }
}

static void remote_fence_i(void) {
    unsigned hart = other();
    code[0] = 0 << 20 | 10 << 7 | 0x13; /* li a0, 0 */
    code[1] = 0x8082;
    __asm__ volatile("fence.i" : : : "memory");
    stop = ready = 0;
    CHECK(start_hart(hart, &start, run_code, 0));
    while (!ready) {
    }
    for (uint32_t i = 1; i < 100; i++) {
        *(volatile uint32_t *)&code[0] = i << 20 | 10 << 7 | 0x13;
        __asm__ volatile("fence rw, rw" : : : "memory");
        CHECK_EQ(sbi_call(SBI_RFENCE, 0, 1, hart, 0, 0, 0).error, 0);
        for (unsigned round = 0; round < 2; round++) {
            ready = 0;
            while (!ready) {
            }
        }
        CHECK(seen == i || on_opensbi());
    }
    stop = 1;
    stopped(hart);
}

/* The same without a call: who wrote says so in memory, and the other executes FENCE.I. Each word is written several
 * times, in pages that were written before anyone ran them. */
enum { PAGES = 4, ROUNDS = 100 };
static uint32_t pages[PAGES][1024] __attribute__((aligned(4096)));
static volatile uint64_t written, wrong, done_with;

static void write_pages(uint32_t value) {
    for (uint32_t turn = 2; turn-- > 0;)
        for (uint32_t p = 0; p < PAGES; p++)
            *(volatile uint32_t *)&pages[p][16 * p] = (value + p + turn) << 20 | 10 << 7 | 0x13; /* li a0, ... */
}

static void run_pages(void *arg) {
    (void)arg;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        while (written != round) {
        }
        __asm__ volatile("fence r, rw\n fence.i" : : : "memory");
        for (uint64_t p = 0; p < PAGES; p++) {
            uint64_t (*volatile page)(void) =
                (uint64_t (*)(void))&pages[p][16 * p]; /* lld 14 forgets offsets of calls */
            wrong += page() != round + p;
        }
        __asm__ volatile("fence rw, w" : : : "memory");
        done_with = round;
    }
}

static void local_fence_i(void) {
    unsigned hart = other();
    for (unsigned p = 0; p < PAGES; p++)
        pages[p][16 * p + 1] = 0x8082; /* ret */
    written = wrong = done_with = 0;
    CHECK(start_hart(hart, &start, run_pages, 0));
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        write_pages(round);
        __asm__ volatile("fence rw, w" : : : "memory");
        written = round;
        while (done_with != round) {
        }
    }
    stopped(hart);
    CHECK_EQ(wrong, 0);
}

TESTS({"timer", timer}, {"wait_for_interrupt", wait_for_interrupt}, {"atomic", atomic}, {"hart_state", hart_state},
      {"suspension", suspension}, {"ipi", ipi}, {"remote_fence", remote_fence}, {"remote_fence_i", remote_fence_i},
      {"local_fence_i", local_fence_i});
