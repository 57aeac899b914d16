/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* semihost.c: semihosting calls, and what they may not do, on Arm and on RISC-V. Ends with exit status 42, after it has
 * echoed a line if its command line ends with "echo", all that it can read if it ends with "all", or at once with 7 by
 * the older call if it ends with "old". If it ends with "files" or "confined" it may have files. */
#ifdef __riscv
#include "rv64_payload.h"
#else
#include "gic.h"
#endif

enum {
    OPEN = 1,
    CLOSE,
    WRITEC,
    WRITE0,
    WRITE,
    READ,
    READC,
    ISERROR,
    ISTTY,
    SEEK,
    FLEN = 0xc,
    TMPNAM,
    REMOVE,
    RENAME,
    CLOCK = 0x10,
    TIME,
    SYSTEM,
    ERRNO,
    CMDLINE = 0x15,
    HEAPINFO,
    EXIT = 0x18,
    EXIT_EXTENDED = 0x20,
    ELAPSED = 0x30,
    TICKFREQ
};
#define APPLICATION_EXIT 0x20026ul
#define FAILED (~0ul)
#define NOWHERE 0x3ffffffff000ul

#ifdef __riscv
static uint64_t call(unsigned op, uint64_t param) {
    register uint64_t a0 __asm__("a0") = op;
    register uint64_t a1 __asm__("a1") = param;
    __asm__ volatile(".balign 16\n.option push\n.option norvc\nslli x0, x0, 31\nebreak\nsrai x0, x0, 7\n.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

static void delay_us(uint64_t us) {
    uint64_t from = csr_read(time);
    while (csr_read(time) - from < us * 10)
        ;
}

/* Two thirds of a call are an exception, and so is a whole one of compressed instructions, or in user mode. */
static void user_call(void) __attribute__((naked, aligned(16)));
static void user_call(void) { __asm__(".option norvc\nslli x0, x0, 31\nebreak\nsrai x0, x0, 7"); }
static void test_no_call(void) {
    EXPECT(__asm__ volatile(".balign 16\n.option push\n.option norvc\nslli x0, x0, 31\nebreak\nsrai x0, x0, 6\n.option "
                            "pop" : : : "memory"),
           CAUSE_BREAKPOINT, trap.epc);
    EXPECT(__asm__ volatile(".balign 16\n.option push\n.option norvc\nslli x0, x0, 30\nebreak\nsrai x0, x0, 7\n.option "
                            "pop" : : : "memory"),
           CAUSE_BREAKPOINT, trap.epc);
    EXPECT(__asm__ volatile(".balign 16\n.word 0x01f01013\nc.ebreak\n.word 0x40705013" : : : "memory"),
           CAUSE_BREAKPOINT, trap.epc);
    enter_user(user_call, 0, CLOCK, 0);
    CHECK_EQ(trap.cause, CAUSE_BREAKPOINT);
}
#else
static void test_no_call(void) {}
static uint64_t call(unsigned op, uint64_t param) {
    register uint64_t x0 __asm__("x0") = op;
    register uint64_t x1 __asm__("x1") = param;
    __asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
    return x0;
}
#endif
#define CALL(op, ...)                                                                                                  \
    ({                                                                                                                 \
        uint64_t words_[] = {__VA_ARGS__};                                                                             \
        call(op, (uint64_t)words_);                                                                                    \
    })

static uint64_t length(const char *s) {
    uint64_t n = 0;
    while (s[n])
        n++;
    return n;
}
static uint64_t open(const char *name, unsigned mode) { return CALL(OPEN, (uint64_t)name, mode, length(name)); }

static void test_output(void) {
    uint64_t out = open(":tt", 4), err = open(":tt", 8);
    CHECK(out != FAILED && err != FAILED && out != err);
    CHECK(call(ISTTY, (uint64_t)&out) <= 1);
    call(WRITE0, (uint64_t)"by WRITE0\n");
    for (const char *s = "by WRITEC\n"; *s; s++)
        call(WRITEC, (uint64_t)s);
    CHECK_EQ(CALL(WRITE, out, (uint64_t)"by WRITE\n", 9), 0);
    CHECK_EQ(CALL(WRITE, err, (uint64_t)"to the other\n", 13), 0);
    CHECK_EQ(CALL(WRITE, out, (uint64_t)"", 0), 0);
    CHECK_EQ(call(CLOSE, (uint64_t)&err), 0);
    CHECK_EQ(call(CLOSE, (uint64_t)&err), FAILED);
    CHECK(call(ERRNO, 0) != 0);
    CHECK_EQ(CALL(WRITE, err, (uint64_t)"lost\n", 5), 5);
}

/* More than any buffer on the way has. */
static char many[300001];
static void test_much(void) {
    for (unsigned i = 0; i < sizeof(many) - 1; i++)
        many[i] = i % 100 == 99 ? '\n' : (char)('a' + i / 100 % 26);
    call(WRITE0, (uint64_t)many);
    uint64_t out = open(":tt", 4);
    CHECK_EQ(CALL(WRITE, out, (uint64_t)many, sizeof(many) - 1), 0);
}

static void test_features(void) {
    uint8_t got[8] = {0};
    uint64_t f = open(":semihosting-features", 0);
    CHECK(f != FAILED);
    CHECK(call(FLEN, (uint64_t)&f) >= 5);
    CHECK_EQ(CALL(READ, f, (uint64_t)got, 5), 0);
    CHECK_EQ(got[0], 'S');
    CHECK_EQ(got[1], 'H');
    CHECK_EQ(got[2], 'F');
    CHECK_EQ(got[3], 'B');
    CHECK_EQ(got[4] & 3, 3);
    CHECK_EQ(CALL(READ, f, (uint64_t)got, 5), 5);
    CHECK_EQ(CALL(SEEK, f, 4), 0);
    CHECK_EQ(CALL(READ, f, (uint64_t)got, 1), 0);
    CHECK_EQ(got[0] & 3, 3);
    CHECK_EQ(call(CLOSE, (uint64_t)&f), 0);
}

static void test_clocks(void) {
    uint64_t before, after;
    CHECK_EQ(call(ELAPSED, (uint64_t)&before), 0);
    uint64_t clock = call(CLOCK, 0), frequency = call(TICKFREQ, 0);
    delay_us(50000);
    CHECK_EQ(call(ELAPSED, (uint64_t)&after), 0);
    CHECK(frequency != FAILED && after - before >= frequency / 25);
    CHECK(call(CLOCK, 0) - clock >= 4);
    CHECK(call(TIME, 0) > 1700000000);
    CHECK(CALL(ISERROR, FAILED) != 0);
    CHECK_EQ(CALL(ISERROR, 5), 0);
}

static void test_addresses(void) {
    uint64_t out = open(":tt", 4);
    CHECK_EQ(call(OPEN, NOWHERE), FAILED);
    CHECK_EQ(CALL(OPEN, NOWHERE, 4, 3), FAILED);
    CHECK_EQ(CALL(WRITE, out, NOWHERE, 100), 100);
    CHECK_EQ(CALL(WRITE, out, NOWHERE, 1ul << 62), 1ul << 62);
    CHECK_EQ(CALL(HEAPINFO, NOWHERE), FAILED);
    CHECK_EQ(CALL(CMDLINE, NOWHERE, 100), FAILED);
}

static char line[512];
static uint64_t line_length;
static void test_command_line(void) {
    uint64_t words[2] = {(uint64_t)line, sizeof(line)};
    CHECK_EQ(call(CMDLINE, (uint64_t)words), 0);
    line_length = words[1];
    CHECK(line_length && line_length < sizeof(line) && !line[line_length]);
    words[1] = 3;
    CHECK_EQ(call(CMDLINE, (uint64_t)words), FAILED);
}

static bool line_ends(const char *with) {
    uint64_t n = length(with);
    for (uint64_t i = 0; i < n; i++)
        if (line_length < n || line[line_length - n + i] != with[i])
            return false;
    return true;
}

/* A file of the host may be had on QEMU, but not with an empty name. */
static void test_no_files(void) {
    CHECK_EQ(open("", 0), FAILED);
    CHECK_EQ(open(":tt", 12), FAILED);
}

static uint64_t remove(const char *name) { return CALL(REMOVE, (uint64_t)name, length(name)); }
static uint64_t rename(const char *from, const char *to) {
    return CALL(RENAME, (uint64_t)from, length(from), (uint64_t)to, length(to));
}

static void write_file(const char *name, unsigned mode, const char *text, uint64_t n) {
    uint64_t f = open(name, mode);
    CHECK(f != FAILED);
    CHECK_EQ(call(ISTTY, (uint64_t)&f), 0);
    CHECK_EQ(CALL(WRITE, f, (uint64_t)text, n), 0);
    CHECK_EQ(call(CLOSE, (uint64_t)&f), 0);
}

/* There has to be one with these bytes. */
static void check_file(const char *name, const char *text, uint64_t n) {
    static char got[sizeof(many)];
    uint64_t f = open(name, 1), at = n / 3;
    CHECK(f != FAILED);
    CHECK_EQ(call(FLEN, (uint64_t)&f), n);
    CHECK_EQ(CALL(READ, f, (uint64_t)got, n), 0);
    CHECK_EQ(CALL(READ, f, (uint64_t)got, 1), 1);
    CHECK_EQ(CALL(SEEK, f, at), 0);
    CHECK_EQ(CALL(READ, f, (uint64_t)&got[at], sizeof(got)), sizeof(got) - (n - at));
    for (uint64_t i = 0; i < n; i++)
        CHECK_EQ(got[i], text[i]);
    CHECK_EQ(call(CLOSE, (uint64_t)&f), 0);
}

/* Interrupts, whose handler makes calls of the same kind: what they come in between has to go on where it was. */
static volatile unsigned interruptions;
static uint64_t given;
static void interrupted(void) {
    char got[16];
    interruptions++;
    CHECK_EQ(CALL(SEEK, given, 0), 0);
    CHECK_EQ(CALL(READ, given, (uint64_t)got, 13), 0);
    CHECK_EQ(got[12], 'n');
}

#ifdef __riscv
static void alarm_us(uint64_t us) { sbi_call(SBI_TIME, 0, csr_read(time) + us * 10, 0, 0, 0, 0); }
__attribute__((interrupt("supervisor"), aligned(4))) static void on_alarm(void) {
    alarm_us(100);
    interrupted();
}
static uint64_t vector;
static void start_alarms(void) {
    vector = csr_read(stvec);
    csr_write(stvec, on_alarm);
    alarm_us(100);
    csr_set(sie, 1 << 5);
    csr_set(sstatus, SIE);
}
static void stop_alarms(void) {
    csr_clear(sstatus, SIE);
    csr_write(stvec, vector);
}
#else
static void alarm_us(uint64_t us) { write_sysreg(cntv_tval_el0, read_sysreg(cntfrq_el0) * us / 1000000); }
static void on_alarm(struct frame *f, unsigned vector) {
    uint32_t iar = gic_ack();
    (void)f, (void)vector;
    alarm_us(100);
    interrupted();
    gic_eoi(iar);
}
static void start_alarms(void) {
    gic_init();
    gic_enable(PPI_VTIMER);
    exception_handler = on_alarm;
    alarm_us(100);
    write_sysreg(cntv_ctl_el0, 1);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
}
static void stop_alarms(void) { __asm__ volatile("msr daifset, #2" : : : "memory"); }
#endif

/* "made" has the bytes of `many`. */
static void test_interrupted(void) {
    static char got[sizeof(many)];
    uint64_t f = open("made", 1), wrong = 0;
    given = open("given", 0);
    CHECK(f != FAILED && given != FAILED);
    for (unsigned round = 0; f != FAILED && round < 50; round++) {
        memset(got, 0, sizeof(got));
        CHECK_EQ(CALL(SEEK, f, 0), 0);
        const unsigned before = interruptions;
        start_alarms();
        uint64_t left = CALL(READ, f, (uint64_t)got, sizeof(many) - 1);
        for (unsigned turn = 0; interruptions == before && turn < 100000000; turn++)
            ; /* the call may have been faster, or be one instruction, as on QEMU */
        stop_alarms();
        CHECK_EQ(left, 0);
        for (unsigned i = 0; i < sizeof(many) - 1; i++)
            wrong += got[i] != many[i];
    }
    CHECK(interruptions > 0);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(call(CLOSE, (uint64_t)&f), 0);
    CHECK_EQ(call(CLOSE, (uint64_t)&given), 0);
}

/* "given" is there, with 13 bytes, and a folder "below". As on QEMU. */
static void test_files(void) {
    static char name[32];
    if (!line_ends("files"))
        return;
    check_file("given", "what is given", 13);
    write_file("made", 5, many, sizeof(many) - 1);
    check_file("made", many, sizeof(many) - 1);
    test_interrupted();
    write_file("made", 4, "short", 5);
    write_file("made", 3, "SH", 2);
    check_file("made", "SHort", 5);
    CHECK_EQ(rename("made", "below/moved"), 0);
    CHECK_EQ(open("made", 0), FAILED);
    CHECK(call(ERRNO, 0) == 2);
    check_file("below/moved", "SHort", 5);
    CHECK_EQ(rename("nothing", "made"), FAILED);
    CHECK_EQ(remove("below/moved"), 0);
    CHECK_EQ(remove("below/moved"), FAILED);
    CHECK_EQ(open("below", 4), FAILED);
    CHECK_EQ(CALL(TMPNAM, (uint64_t)name, 7, sizeof(name)), 0);
    CHECK(length(name) > 0);
    CHECK_EQ(CALL(TMPNAM, (uint64_t)name, 7, 2), FAILED);
    write_file("kept", 7, "for the host", 12);
}

/* Out of the folder leads "out", a link to the file of the other folder, and "up", one to that folder itself;
 * "/etc/passwd" is there; "in" is a link to "given". There is a "fifo", and all that may be open can be open. */
static void test_confined(void) {
    static const char *const names[] = {"/etc/passwd",
                                        "../other/secret",
                                        "below/../../other/secret",
                                        "out",
                                        "up/secret",
                                        "/",
                                        ".",
                                        "..",
                                        "fifo",
                                        "below",
                                        "nothing/x",
                                        "given/x",
                                        "/proc/self/mem",
                                        "up",
                                        "in/.."};
    uint64_t f[64];
    unsigned n = 0;
    if (!line_ends("confined"))
        return;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        for (unsigned mode = 0; mode < 12; mode++)
            CHECK_EQ(open(names[i], mode), FAILED);
        CHECK_EQ(rename(names[i][0] == 'b' ? ".." : names[i], "../other/taken"), FAILED);
        CHECK_EQ(rename("given", "../other/taken"), FAILED);
        CHECK_EQ(rename("given", "up/taken"), FAILED);
    }
    CHECK_EQ(remove("../other/secret"), FAILED);
    CHECK_EQ(remove("up/secret"), FAILED);
    CHECK_EQ(remove("below"), FAILED);
    CHECK_EQ(remove("below/.."), FAILED);
    CHECK_EQ(remove(""), FAILED);
    CHECK_EQ(CALL(OPEN, (uint64_t)"given\0x", 0, 7), FAILED);
    CHECK_EQ(CALL(OPEN, (uint64_t)many, 0, 2047), FAILED);
    CHECK_EQ(CALL(OPEN, (uint64_t)many, 0, ~0ul), FAILED);
    CHECK_EQ(CALL(REMOVE, (uint64_t)many, ~0ul), FAILED);
    CHECK_EQ(CALL(RENAME, (uint64_t)many, ~0ul, (uint64_t)many, 2), FAILED);
    CHECK_EQ(CALL(RENAME, (uint64_t)many, 2, NOWHERE, 2), FAILED);
    CHECK_EQ(CALL(TMPNAM, NOWHERE, 1, 100), FAILED);
    CHECK_EQ(CALL(SYSTEM, (uint64_t)"true", 4), FAILED);
    check_file("in", "what is given", 13);
    while (n < ARRAY_LEN(f) && (f[n] = open("given", 0)) != FAILED)
        n++;
    CHECK(n > 8 && n < ARRAY_LEN(f));
    CHECK_EQ(CALL(READ, f[0], NOWHERE, 13), 13);
    CHECK_EQ(CALL(SEEK, f[0], ~0ul), FAILED);
    CHECK_EQ(CALL(WRITE, f[0], (uint64_t)"x", 1), 1);
    while (n--)
        CHECK_EQ(call(CLOSE, (uint64_t)&f[n]), 0);
    check_file("given", "what is given", 13);
    if (open("kept", 0) != FAILED) {
        write_file("kept", 5, "short", 5);
        write_file("kept", 9, "er", 2); /* which QEMU puts at the beginning */
        check_file("kept", "shorter", 7);
    } else { /* it may only be read */
        CHECK_EQ(open("new", 4), FAILED);
        CHECK_EQ(open("given", 2), FAILED);
        CHECK_EQ(remove("given"), FAILED);
        CHECK_EQ(rename("given", "new"), FAILED);
    }
}

/* Byte by byte, and then there is nothing, however it is asked for. */
static void echo_all(uint64_t in) {
    char byte[2] = {0};
    for (uint64_t c; (c = call(READC, 0)) != FAILED;) {
        byte[0] = (char)c;
        call(WRITE0, (uint64_t)byte);
    }
    CHECK_EQ(call(READC, 0), FAILED);
    CHECK_EQ(CALL(READ, in, (uint64_t)byte, 1), 1);
    CHECK_EQ(CALL(READ, in, (uint64_t)byte, 0), 0);
    call(WRITE0, (uint64_t)"<end>\n");
}

static void test_end(void) {
    static char typed[100];
    uint64_t in = open(":tt", 0), got = 0;
    if (line_ends("old"))
        CALL(EXIT, APPLICATION_EXIT, 7);
    if (line_ends("files"))
        CALL(EXIT, APPLICATION_EXIT, 5);
    if (line_ends("all"))
        echo_all(in);
    if (line_ends("echo")) {
        typed[got++] = (char)call(READC, 0);
        while (typed[got - 1] != '\n') {
            uint64_t n = sizeof(typed) - 1 - got;
            got += n - CALL(READ, in, (uint64_t)&typed[got], n);
        }
        call(WRITE0, (uint64_t)typed);
    }
    CALL(EXIT_EXTENDED, APPLICATION_EXIT, 42);
}

TESTS({"output", test_output}, {"much", test_much}, {"features", test_features}, {"clocks", test_clocks},
      {"addresses", test_addresses}, {"command line", test_command_line}, {"no files", test_no_files},
      {"files", test_files}, {"confined", test_confined}, {"no call", test_no_call}, {"end", test_end});
