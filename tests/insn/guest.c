/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * guest.c: the reference side of the instruction tests: a Linux AArch64 program without libc. It reads cases from file
 * descriptor 0, executes each with the state that its seed says, and writes a record of what came out to descriptor 1.
 *
 * No register is reserved: the slot that holds the instruction first loads x27 and x28, and afterwards x28 is kept in
 * TPIDR_EL0 while the others are stored.
 */
#include "insn.h"

static struct istate state, result __attribute__((used));
static uint64_t harness_sp __attribute__((used));
static struct irecord records[256];
static struct icase cases[INSN_SLOTS];
static char signal_stack[65536] __attribute__((aligned(16)));
static struct irecord *record; /* of the current case */
static uint64_t slot;          /* its address */

/* --- Linux ------------------------------------------------------------------------------------ */

static long syscall6(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#define SYS_READ 63
#define SYS_WRITE 64
#define SYS_EXIT 94
#define SYS_SIGALTSTACK 132
#define SYS_SIGACTION 134
#define SYS_MMAP 222

#include "guest_linux.h"

/* --- executing a case ------------------------------------------------------------------------- */

/* run_slot(): loads state, executes the code at address, stores into result. Offsets are those of struct istate. */
void run_slot(const struct istate *in, uint64_t address);
void run_slot_resume(void);
__asm__(
    ".text\n"
    ".balign 16\n"
    "run_slot:\n"
    "  stp x29, x30, [sp, -160]!\n"
    "  stp x19, x20, [sp, 16]\n  stp x21, x22, [sp, 32]\n  stp x23, x24, [sp, 48]\n"
    "  stp x25, x26, [sp, 64]\n  stp x27, x28, [sp, 80]\n"
    "  stp d8, d9, [sp, 96]\n  stp d10, d11, [sp, 112]\n  stp d12, d13, [sp, 128]\n  stp d14, d15, [sp, 144]\n"
    "  adrp x2, harness_sp\n  mov x3, sp\n  str x3, [x2, :lo12:harness_sp]\n"
    "  mov x28, x0\n  mov x27, x1\n"
    "  ldr x2, [x28, 264]\n  msr fpcr, x2\n  ldr x2, [x28, 272]\n  msr fpsr, x2\n"
    "  ldr x2, [x28, 256]\n  msr nzcv, x2\n  ldr x2, [x28, 248]\n  mov sp, x2\n"
    "  add x2, x28, 288\n"
    "  ld1 {v0.2d-v3.2d}, [x2], 64\n  ld1 {v4.2d-v7.2d}, [x2], 64\n"
    "  ld1 {v8.2d-v11.2d}, [x2], 64\n  ld1 {v12.2d-v15.2d}, [x2], 64\n"
    "  ld1 {v16.2d-v19.2d}, [x2], 64\n  ld1 {v20.2d-v23.2d}, [x2], 64\n"
    "  ld1 {v24.2d-v27.2d}, [x2], 64\n  ld1 {v28.2d-v31.2d}, [x2], 64\n"
    "  ldp x0, x1, [x28, 0]\n  ldp x2, x3, [x28, 16]\n  ldp x4, x5, [x28, 32]\n  ldp x6, x7, [x28, 48]\n"
    "  ldp x8, x9, [x28, 64]\n  ldp x10, x11, [x28, 80]\n  ldp x12, x13, [x28, 96]\n  ldp x14, x15, [x28, 112]\n"
    "  ldp x16, x17, [x28, 128]\n  ldp x18, x19, [x28, 144]\n  ldp x20, x21, [x28, 160]\n  ldp x22, x23, [x28, 176]\n"
    "  ldp x24, x25, [x28, 192]\n  ldr x26, [x28, 208]\n  ldp x29, x30, [x28, 232]\n"
    "  br x27\n"
    ".globl slot_taken\n"
    "slot_taken:\n"
    "  msr tpidr_el0, x28\n  adrp x28, result\n  add x28, x28, :lo12:result\n"
    "  stp x0, x1, [x28]\n  mov x0, 1\n  b 1f\n"
    ".globl slot_fall\n"
    "slot_fall:\n"
    "  msr tpidr_el0, x28\n  adrp x28, result\n  add x28, x28, :lo12:result\n"
    "  stp x0, x1, [x28]\n  mov x0, 0\n"
    "1:\n"
    "  str x0, [x28, 280]\n"
    "  stp x2, x3, [x28, 16]\n  stp x4, x5, [x28, 32]\n  stp x6, x7, [x28, 48]\n"
    "  stp x8, x9, [x28, 64]\n  stp x10, x11, [x28, 80]\n  stp x12, x13, [x28, 96]\n  stp x14, x15, [x28, 112]\n"
    "  stp x16, x17, [x28, 128]\n  stp x18, x19, [x28, 144]\n  stp x20, x21, [x28, 160]\n  stp x22, x23, [x28, 176]\n"
    "  stp x24, x25, [x28, 192]\n  stp x26, x27, [x28, 208]\n  stp x29, x30, [x28, 232]\n"
    "  mrs x0, tpidr_el0\n  str x0, [x28, 224]\n"
    "  mov x0, sp\n  str x0, [x28, 248]\n  mrs x0, nzcv\n  str x0, [x28, 256]\n"
    "  mrs x0, fpcr\n  str x0, [x28, 264]\n  mrs x0, fpsr\n  str x0, [x28, 272]\n"
    "  add x2, x28, 288\n"
    "  st1 {v0.2d-v3.2d}, [x2], 64\n  st1 {v4.2d-v7.2d}, [x2], 64\n"
    "  st1 {v8.2d-v11.2d}, [x2], 64\n  st1 {v12.2d-v15.2d}, [x2], 64\n"
    "  st1 {v16.2d-v19.2d}, [x2], 64\n  st1 {v20.2d-v23.2d}, [x2], 64\n"
    "  st1 {v24.2d-v27.2d}, [x2], 64\n  st1 {v28.2d-v31.2d}, [x2], 64\n"
    ".globl run_slot_resume\n"
    "run_slot_resume:\n"
    "  msr fpcr, xzr\n"
    "  adrp x2, harness_sp\n  ldr x3, [x2, :lo12:harness_sp]\n  mov sp, x3\n"
    "  ldp x19, x20, [sp, 16]\n  ldp x21, x22, [sp, 32]\n  ldp x23, x24, [sp, 48]\n"
    "  ldp x25, x26, [sp, 64]\n  ldp x27, x28, [sp, 80]\n"
    "  ldp d8, d9, [sp, 96]\n  ldp d10, d11, [sp, 112]\n  ldp d12, d13, [sp, 128]\n  ldp d14, d15, [sp, 144]\n"
    "  ldp x29, x30, [sp], 160\n"
    "  ret\n"
    ".globl on_signal_return\n"
    "on_signal_return:\n"
    "  mov x8, 139\n  svc 0\n");
extern const char slot_taken[], slot_fall[], on_signal_return[];

/* Linux's signal frame, as far as it is needed. */
struct context {
    uint64_t flags, link, stack[3], mask, unused[15], pad;
    uint64_t fault_address, regs[31], sp, pc, pstate, pad2;
    uint32_t fp_magic, fp_size, fpsr, fpcr;
    uint64_t v[32][2];
};
_Static_assert(__builtin_offsetof(struct context, fault_address) == 176, "uc_mcontext");
_Static_assert(__builtin_offsetof(struct context, fp_magic) == 464, "its reserved part");

static void on_signal(int number, void *info, struct context *u) {
    record->fault = number == 4    ? IFAULT_UNDEFINED
                    : number == 11 ? IFAULT_ABORT
                    : number == 7  ? IFAULT_ALIGN
                                   : IFAULT_OTHER;
    record->offset = u->pc - slot;
    for (int i = 0; i < 31; i++)
        result.x[i] = u->regs[i];
    result.sp = u->sp;
    result.nzcv = u->pstate & 0xf0000000;
    result.exit = 0;
    if (u->fp_magic == 0x46508001) {
        result.fpsr = u->fpsr;
        result.fpcr = u->fpcr;
        for (int i = 0; i < 64; i++)
            result.v[i / 2][i % 2] = u->v[i / 2][i % 2];
    }
    u->pc = (uint64_t)run_slot_resume;
}

static void catch_signals(void) {
    uint64_t stack[3] = {(uint64_t)signal_stack, 0, sizeof signal_stack};
    uint64_t action[4] = {(uint64_t)on_signal,
                          0x4 | 0x08000000 | 0x40000000 | 0x04000000 /* SIGINFO ONSTACK NODEFER RESTORER */,
                          (uint64_t)on_signal_return, 0};
    static const int numbers[] = {4, 5, 7, 8, 11};
    syscall6(SYS_SIGALTSTACK, (long)stack, 0, 0, 0, 0, 0);
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        syscall6(SYS_SIGACTION, numbers[i], (long)action, 0, 8, 0, 0);
}

static uint32_t branch(uint64_t from, const char *to) {
    return 0x14000000 | ((uint32_t)(((int64_t)to - (int64_t)from) >> 2) & 0x3ffffff);
}

static void write_slots(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = INSN_CODE + (uint64_t)i * INSN_SLOT_BYTES;
        uint32_t *p = (uint32_t *)at;
        p[0] = 0xa940739b | (216 / 8) << 15; /* ldp x27, x28, [x28, 216] */
        uint32_t n = cases[i].count < INSN_MAX ? cases[i].count : INSN_MAX;
        for (uint32_t k = 0; k < n; k++)
            p[1 + k] = cases[i].insn[k];
        at += INSN_SLOT_FIRST + 4 * n;
        p[1 + n] = branch(at, slot_fall);
        p[2 + n] = branch(at + 4, slot_taken);
    }
    for (uint64_t at = INSN_CODE; at < INSN_CODE + INSN_CODE_BYTES; at += 64)
        __asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish" : : : "memory");
    for (uint64_t at = INSN_CODE; at < INSN_CODE + INSN_CODE_BYTES; at += 64)
        __asm__ volatile("ic ivau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish\n isb" : : : "memory");
}

static void run_case(const struct icase *c, struct irecord *out) {
    record = out;
    out->fault = IFAULT_NONE;
    out->offset = out->memory = 0;
    insn_initial_state(c, &state);
    if (c->flags & INSN_MEMORY)
        insn_fill_window(c);
    __asm__ volatile("clrex");
    run_slot(&state, slot);
    result.fpcr &= 0xffffffff;
    out->s = result;
    if (c->flags & INSN_MEMORY)
        out->memory = insn_hash_window();
}

#include "guest_main.h"
