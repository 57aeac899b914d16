/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* start.S: entry of payloads in S-mode, or M-mode (MACHINE), traps, and lower modes. */
#ifdef MACHINE
#define stvec mtvec
#define sscratch mscratch
#define sepc mepc
#define sstatus mstatus
#define sret mret
#define PRIVILEGE 0x1800        /* MPP */
#else
#define PRIVILEGE 0x100         /* SPP */
#endif
    .section .text.start, "ax"
    .globl _start
_start:
#ifdef MACHINE
    csrr t0, mhartid
    bnez t0, 1f
#endif
    la sp, boot_stack + 16384
    la t0, trap_entry
    csrw stvec, t0
    csrw sscratch, zero
    li t0, 0x6000
    csrs sstatus, t0
    call payload_main
1:  wfi
    j 1b

    /* A hart that was started: a0 its number, a1 what it is to run: function, argument, stack. */
    .globl hart_start
hart_start:
    la t0, trap_entry
    csrw stvec, t0
    csrw sscratch, zero
    ld sp, 16(a1)
    ld t0, 0(a1)
    ld a0, 8(a1)
    jalr t0
    li a7, 0x48534d             /* hart_stop */
    li a6, 1
    ecall
2:  j 2b

    /* lower_mode: of PRIVILEGE what is to be set; 0: user mode. */
    /* uint64_t enter_user(pc, sp, a0, a1): returns a0 of the user when it traps. sscratch is the supervisor's stack then. */
    .globl enter_user
enter_user:
    addi sp, sp, -128
    sd ra, 0(sp)
    sd s0, 8(sp)
    sd s1, 16(sp)
    sd s2, 24(sp)
    sd s3, 32(sp)
    sd s4, 40(sp)
    sd s5, 48(sp)
    sd s6, 56(sp)
    sd s7, 64(sp)
    sd s8, 72(sp)
    sd s9, 80(sp)
    sd s10, 88(sp)
    sd s11, 96(sp)
    sd gp, 104(sp)
    sd tp, 112(sp)
    csrw sscratch, sp
    csrw sepc, a0
    li t0, PRIVILEGE
    csrc sstatus, t0
    la t0, lower_mode
    ld t0, 0(t0)
    csrs sstatus, t0
    mv sp, a1
    mv a0, a2
    mv a1, a3
    sret

    .balign 4
    .globl trap_entry
trap_entry:
    csrrw sp, sscratch, sp
    beqz sp, 3f
    /* from user mode: what it had in a0 is what enter_user() returns */
    csrw sscratch, zero
    call user_trapped
    ld ra, 0(sp)
    ld s0, 8(sp)
    ld s1, 16(sp)
    ld s2, 24(sp)
    ld s3, 32(sp)
    ld s4, 40(sp)
    ld s5, 48(sp)
    ld s6, 56(sp)
    ld s7, 64(sp)
    ld s8, 72(sp)
    ld s9, 80(sp)
    ld s10, 88(sp)
    ld s11, 96(sp)
    ld gp, 104(sp)
    ld tp, 112(sp)
    addi sp, sp, 128
    ret
3:  csrrw sp, sscratch, sp
    addi sp, sp, -256
    sd x1, 8(sp)
    sd x3, 24(sp)
    sd x4, 32(sp)
    sd x5, 40(sp)
    sd x6, 48(sp)
    sd x7, 56(sp)
    sd x8, 64(sp)
    sd x9, 72(sp)
    sd x10, 80(sp)
    sd x11, 88(sp)
    sd x12, 96(sp)
    sd x13, 104(sp)
    sd x14, 112(sp)
    sd x15, 120(sp)
    sd x16, 128(sp)
    sd x17, 136(sp)
    sd x28, 224(sp)
    sd x29, 232(sp)
    sd x30, 240(sp)
    sd x31, 248(sp)
    call trapped
    ld x1, 8(sp)
    ld x3, 24(sp)
    ld x4, 32(sp)
    ld x5, 40(sp)
    ld x6, 48(sp)
    ld x7, 56(sp)
    ld x8, 64(sp)
    ld x9, 72(sp)
    ld x10, 80(sp)
    ld x11, 88(sp)
    ld x12, 96(sp)
    ld x13, 104(sp)
    ld x14, 112(sp)
    ld x15, 120(sp)
    ld x16, 128(sp)
    ld x17, 136(sp)
    ld x28, 224(sp)
    ld x29, 232(sp)
    ld x30, 240(sp)
    ld x31, 248(sp)
    addi sp, sp, 256
    sret

    .bss
    .balign 16
boot_stack:
    .space 16384
