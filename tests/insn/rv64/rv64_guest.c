/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * rv64_guest.c: the reference side of the RISC-V instruction tests: a Linux program without libc. It reads cases from
 * file descriptor 0, executes each with the state that its seed says, and writes a record of what came out to
 * descriptor 1. x4 points to the state to start with, behind which lies the one that comes out.
 */
#include "rv64_insn.h"

static struct {
    struct rv64_state in, out;
} states __attribute__((used));
static uint64_t harness_sp __attribute__((used));
static struct rv64_record records[256];
static struct icase cases[INSN_SLOTS];
static char signal_stack[65536] __attribute__((aligned(16)));
static struct rv64_record *record; /* of the current case */
static uint64_t slot;              /* its address */

/* --- Linux ------------------------------------------------------------------------------------ */

static long syscall6(long n, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 94, SYS_SIGALTSTACK = 132, SYS_SIGACTION = 134, SYS_MMAP = 222 };

#include "tests/insn/guest_linux.h"

/* --- executing a case ------------------------------------------------------------------------- */

/* run_slot(): loads state, executes the code at address, stores what comes out. Offsets are those of struct
 * rv64_state. */
void run_slot(void *state, uint64_t address);
void run_slot_resume(void);
__asm__(".text\n.balign 16\n"
        ".macro each do from to\n .set n, \\from\n .rept \\to - \\from + 1\n \\do %n\n .set n, n + 1\n .endr\n.endm\n"
        ".altmacro\n"
        ".macro load_x n\n ld x\\n, 8*\\n(x4)\n.endm\n.macro load_f n\n fld f\\n, 256+8*\\n(x4)\n.endm\n"
        ".macro store_x n\n sd x\\n, 528+8*\\n(x4)\n.endm\n.macro store_f n\n fsd f\\n, 784+8*\\n(x4)\n.endm\n"
        "run_slot:\n"
        "  addi sp, sp, -224\n"
        "  sd ra, 0(sp)\n  sd s0, 8(sp)\n  sd s1, 16(sp)\n  sd s2, 24(sp)\n  sd s3, 32(sp)\n  sd s4, 40(sp)\n"
        "  sd s5, 48(sp)\n  sd s6, 56(sp)\n  sd s7, 64(sp)\n  sd s8, 72(sp)\n  sd s9, 80(sp)\n  sd s10, 88(sp)\n"
        "  sd s11, 96(sp)\n  sd gp, 104(sp)\n  sd tp, 112(sp)\n"
        "  la t0, harness_sp\n  sd sp, 0(t0)\n"
        "  mv x4, a0\n  mv x3, a1\n"
        "  ld t0, 512(x4)\n  fscsr t0\n"
        "  each load_f 0 31\n  each load_x 1 2\n  each load_x 5 31\n"
        "  jr x3\n"
        ".globl slot_taken\nslot_taken:\n"
        "  sd x5, 568(x4)\n  li x5, 1\n  j 1f\n"
        ".globl slot_fall\nslot_fall:\n"
        "  sd x5, 568(x4)\n  li x5, 0\n"
        "1:\n"
        "  sd x5, 1048(x4)\n  sd x0, 528(x4)\n  each store_x 1 2\n  each store_x 6 31\n"
        "  each store_f 0 31\n"
        "  frcsr x5\n  sd x5, 1040(x4)\n"
        ".globl run_slot_resume\nrun_slot_resume:\n"
        "  fscsr zero\n"
        "  la t0, harness_sp\n  ld sp, 0(t0)\n"
        "  ld ra, 0(sp)\n  ld s0, 8(sp)\n  ld s1, 16(sp)\n  ld s2, 24(sp)\n  ld s3, 32(sp)\n  ld s4, 40(sp)\n"
        "  ld s5, 48(sp)\n  ld s6, 56(sp)\n  ld s7, 64(sp)\n  ld s8, 72(sp)\n  ld s9, 80(sp)\n  ld s10, 88(sp)\n"
        "  ld s11, 96(sp)\n  ld gp, 104(sp)\n  ld tp, 112(sp)\n"
        "  addi sp, sp, 224\n  ret\n");
extern const char slot_taken[], slot_fall[];

/* Linux's signal frame, as far as it is needed. */
struct context {
    uint64_t flags, link, stack[3], mask[16], pad;
    uint64_t pc, x[31]; /* x1 .. x31 */
    uint64_t f[32];
    uint32_t fcsr;
};
_Static_assert(__builtin_offsetof(struct context, pc) == 176, "uc_mcontext");

static void on_signal(int number, void *info, struct context *u) {
    struct rv64_state *out = &states.out;
    record->fault = number == 4    ? IFAULT_UNDEFINED
                    : number == 11 ? IFAULT_ABORT
                    : number == 7  ? IFAULT_ALIGN
                                   : IFAULT_OTHER;
    record->offset = u->pc - slot;
    out->x[0] = out->x[3] = out->x[4] = out->exit = 0;
    for (int i = 1; i < 32; i++)
        if (i != 3 && i != 4)
            out->x[i] = u->x[i - 1];
    for (int i = 0; i < 32; i++)
        out->f[i] = u->f[i];
    out->fcsr = u->fcsr;
    u->pc = (uint64_t)run_slot_resume;
}

static void catch_signals(void) {
    static const int numbers[] = {4, 5, 7, 8, 11};
    uint64_t stack[3] = {(uint64_t)signal_stack, 0, sizeof signal_stack};
    uint64_t action[3] = {(uint64_t)on_signal, 0x4 | 0x08000000 | 0x40000000 /* SIGINFO ONSTACK NODEFER */, 0};
    syscall6(SYS_SIGALTSTACK, (long)stack, 0, 0, 0, 0, 0);
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        syscall6(SYS_SIGACTION, numbers[i], (long)action, 0, 8, 0, 0);
}

/* JAL x0: the program lies within its reach. */
static uint32_t jump(uint64_t from, const char *to) {
    uint32_t d = (uint32_t)((int64_t)to - (int64_t)from);
    return (d >> 20 & 1) << 31 | (d >> 1 & 1023) << 21 | (d >> 11 & 1) << 20 | (d >> 12 & 255) << 12 | 0x6f;
}

static void write_slots(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = INSN_CODE + (uint64_t)i * INSN_SLOT_BYTES;
        uint32_t *p = (uint32_t *)at, n = cases[i].count < INSN_MAX ? cases[i].count : INSN_MAX;
        for (uint32_t k = 0; k < n; k++)
            p[k] = cases[i].insn[k];
        at += RV64_SLOT_FIRST + 4 * n;
        p[n] = jump(at, slot_fall);
        p[n + 1] = jump(at + 4, slot_taken);
    }
    __asm__ volatile("fence.i" : : : "memory");
}

static void run_case(const struct icase *c, struct rv64_record *out) {
    record = out;
    out->fault = IFAULT_NONE;
    out->offset = out->memory = 0;
    rv64_initial_state(c, &states.in);
    states.out.x[3] = states.out.x[4] = 0;
    if (c->flags & INSN_MEMORY)
        insn_fill_window(c);
    run_slot(&states, slot);
    out->s = states.out;
    if (c->flags & INSN_MEMORY)
        out->memory = insn_hash_window();
}

#include "tests/insn/guest_main.h"
