/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * io.c: reads and writes /dev/vda past the page cache, in order and at random, in pieces of 4 and 128 KiB, by one process and by
 * four, and prints MB/s for each: `DISK read seq 4k 1 MB/s`. For scripts/bench-disk; no C library.
 */
#include "agent/sys.h"

#define SECONDS 2
#define BYTES (256ul << 20) /* of the disk */
#define JOBS_MAX 4
#define DIRECT 0200000 /* of arm64 */
enum { SYS_PREAD = 67, SYS_PWRITE = 68, SYS_FSYNC = 82, SYS_GETTIME = 113 };
#define CLOCK_MONOTONIC_ID 1
#define SHARED 1
#define ANONYMOUS 0x20

void agent_main(void);
__asm__(".globl _start\n_start:\n" SYS_START);

struct kind {
    const char *name;
    int write, random;
    uint64_t piece;
};

static void say(const char *s) {
    size_t n = 0;
    while (s[n])
        n++;
    CALL(SYS_WRITE, 1, s, n);
}

static void say_number(uint64_t n) {
    char text[24], *p = text + sizeof(text) - 1;
    *p = 0;
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    say(p);
}

static uint64_t now_us(void) {
    long t[2] = {0};
    CALL(SYS_GETTIME, CLOCK_MONOTONIC_ID, t);
    return (uint64_t)t[0] * 1000000 + (uint64_t)t[1] / 1000;
}

/* Bytes that one process of several has moved when the time is over; each has a part of the disk. */
static uint64_t work(const struct kind *k, int fd, unsigned job, unsigned jobs, char *buf, uint64_t until) {
    uint64_t part = BYTES / jobs, pieces = part / k->piece, seed = 88172645463325252ul + job, done = 0;
    for (uint64_t n = 0; now_us() < until; n++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t at = job * part + (k->random ? seed % pieces : n % pieces) * k->piece;
        long moved = CALL(k->write ? SYS_PWRITE : SYS_PREAD, fd, buf, k->piece, at);
        if (moved != (long)k->piece) {
            say("DISK an error\n");
            CALL(SYS_EXIT_GROUP, 1);
        }
        done += k->piece;
    }
    return done;
}

static void *memory(uint64_t bytes) { return (void *)CALL(SYS_MMAP, 0, bytes, 3, SHARED | ANONYMOUS, -1, 0); }

static void measure(const struct kind *k, unsigned jobs, char *buf) {
    static volatile uint64_t *moved;
    int fd = (int)CALL(SYS_OPENAT, AT_CWD, "/dev/vda", O_BOTH | DIRECT, 0);
    if (!moved)
        moved = memory(4096);
    uint64_t from = now_us(), until = from + SECONDS * 1000000, sum = 0;
    for (unsigned job = 1; job < jobs; job++)
        if (!CALL(SYS_CLONE, SIGNAL_CHILD, 0, 0, 0, 0)) {
            moved[job] = work(k, fd, job, jobs, buf + job * k->piece, until);
            CALL(SYS_EXIT_GROUP, 0);
        }
    moved[0] = work(k, fd, 0, jobs, buf, until);
    for (unsigned job = 1; job < jobs; job++)
        CALL(SYS_WAIT4, -1, 0, 0, 0);
    if (k->write)
        CALL(SYS_FSYNC, fd);
    CALL(SYS_CLOSE, fd);
    for (unsigned job = 0; job < jobs; job++)
        sum += moved[job];
    uint64_t tenths = sum * 10 / (now_us() - from);
    say("DISK ");
    say(k->name);
    say(" ");
    say_number(jobs);
    say(" ");
    say_number(tenths / 10);
    say(".");
    say_number(tenths % 10);
    say("\n");
}

void agent_main(void) {
    static const struct kind kinds[] = {{"read seq 4k", 0, 0, 4096},      {"read rand 4k", 0, 1, 4096},
                                        {"write seq 4k", 1, 0, 4096},     {"write rand 4k", 1, 1, 4096},
                                        {"read seq 128k", 0, 0, 131072},  {"read rand 128k", 0, 1, 131072},
                                        {"write seq 128k", 1, 0, 131072}, {"write rand 128k", 1, 1, 131072}};
    char *buf = memory(JOBS_MAX * 131072);
    for (uint64_t i = 0; i < JOBS_MAX * 131072; i++)
        buf[i] = (char)i;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        measure(&kinds[i], 1, buf);
        measure(&kinds[i], JOBS_MAX, buf);
    }
    CALL(SYS_EXIT_GROUP, 0);
}
