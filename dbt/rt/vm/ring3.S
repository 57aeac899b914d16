/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ring3.S: the border between the engine in ring 0 and translated code in ring 3.
 *
 * Each vCPU has an entry for SYSCALL of its own, which is how ring 0 finds its stack:
 * nothing in ring 3's registers is believed. The work is codegen_serve()'s;
 * only RT_SYS_EXIT ends here.
 */
#include "graft/vm.h"

/* struct vm_ring3 of ring3.c */
#define STATE_SHIFT 5
#define STATE_STACK 0
#define STATE_CPU 8
#define STATE_RSP 16
#define MXCSR_MASKS 0x1f80 /* no exception is taken; alone: the default */
#define RFLAGS_NONE 2

    .text
    .globl vm_syscalls
    .balign 32
vm_syscalls: /* VM_SYSCALL_BYTES each */
    .set n, 0
    .rept 8
    .balign VM_SYSCALL_BYTES
    leaq vm_ring3 + (n << STATE_SHIFT)(%rip), %r11
    jmp serve
    .set n, n + 1
    .endr

/* Ring 3's: RAX what, RDI RSI RDX R10 arguments, RCX where to go on. R11: this vCPU's state. */
serve:
    movq %rsp, STATE_RSP(%r11)
    movq STATE_STACK(%r11), %rsp
    testq %rax, %rax
    jz leave
    pushq %rcx
    pushq %r11
    subq $16, %rsp
    stmxcsr (%rsp)
    orl $MXCSR_MASKS, (%rsp)
    ldmxcsr (%rsp)
    movq %r10, %r9
    movq %rdx, %r8
    movq %rsi, %rcx
    movq %rdi, %rdx
    movq %rax, %rsi
    movq STATE_CPU(%r11), %rdi
    call codegen_serve
    addq $16, %rsp
    popq %r11
    popq %rcx
    movq STATE_RSP(%r11), %rsp
    jmp return

/* vm_enter(state in RDI, code in RSI, entry in RDX, and ring 3's RBP in RCX, RSP in R8, GS base in R9). */
    .globl vm_enter
vm_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp /* 16-aligned */
    movq %rsp, STATE_STACK(%rdi)
    wrgsbase %r9
    movq %rcx, %rbp
    movq %r8, %rsp
    movq %rdx, %rcx
    xorl %eax, %eax
    xorl %edi, %edi
    jmp 1f
/* RCX: where to go on, RAX: the result. Nothing else of the engine's is left in registers. */
return:
    xorl %esi, %esi
    xorl %edi, %edi
1:  xorl %edx, %edx
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    movl $RFLAGS_NONE, %r11d
    sysretq

/* vm_leave(state in RDI): vm_enter() returns. */
    .globl vm_leave
vm_leave:
    movq STATE_STACK(%rdi), %rsp
leave:
    ldmxcsr mxcsr_default(%rip)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .section .rodata
    .balign 4
mxcsr_default:
    .long MXCSR_MASKS

    .section .note.GNU-stack, "", @progbits
