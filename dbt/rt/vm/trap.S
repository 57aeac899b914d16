/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * trap.S: exceptions of the host vCPU. The frame holds every register, SSE included: the
 * C handler may use what it likes, and translated code finds its pinned registers as they
 * were. It goes on at another place, where it expects its registers but not its flags.
 *
 * Flat: all but #BP arrive in ring 3 on the stack they interrupted (nothing below RSP is
 * in use: no red zone), and leaving is a plain jump, which costs less than IRETQ.
 * With the engine in ring 0 they arrive there on the fault stack; leaving is IRETQ.
 */
#include "graft/vm.h"

#define RFLAGS_AC 0x40000

    .text
    .globl vm_vectors
    .balign 16
vm_vectors:
    .set n, 0
    .rept VM_VECTORS
    .balign 16
    .if n == VM_VECTOR_BREAKPOINT
    jmp vm_ring0
    .else
    /* Vectors that push an error code by themselves: 8, 10 to 14, 17, 21, 29, 30. */
    .if !((0x60227d00 >> n) & 1)
    pushq $0
    .endif
    pushq $n
    jmp trap_common
    .endif
    .set n, n + 1
    .endr

/* #BP where no one uses it. */
    .globl vm_breakpoint
    .balign 16
vm_breakpoint:
    pushq $0
    pushq $VM_VECTOR_BREAKPOINT
    jmp trap_common

/* Ring 0, by the flags of the interrupted code (paging.c): C: INVLPG of the page in RAX; Z: a CR3 reload; else INVLPG of
 * four pages or, with P, of eight. Few and plain instructions: some hosts interpret them, at a microsecond each. */
vm_ring0:
    jc 1f
    jz 2f
    .irp reg, rcx, rdx, rsi
    invlpg (%\reg)
    .endr
    jnp 1f
    .irp reg, rdi, r8, r9, r10
    invlpg (%\reg)
    .endr
1:  invlpg (%rax)
    iretq
2:  movq %cr3, %rax
    movq %rax, %cr3
    iretq

.macro restore
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups 16 * \i(%rsp), %xmm\i
    .endr
    addq $256, %rsp
    popq %rax
    popq %rcx
    popq %rdx
    popq %rbx
    popq %rbp
    popq %rsi
    popq %rdi
    popq %r8
    popq %r9
    popq %r10
    popq %r11
    popq %r12
    popq %r13
    popq %r14
    popq %r15
.endm
/* struct trap_frame of trap.c from RSP up. */
trap_common:
    pushq %r15
    pushq %r14
    pushq %r13
    pushq %r12
    pushq %r11
    pushq %r10
    pushq %r9
    pushq %r8
    pushq %rdi
    pushq %rsi
    pushq %rbp
    pushq %rbx
    pushq %rdx
    pushq %rcx
    pushq %rax
    subq $256, %rsp /* the vector registers; RSP is a multiple of 16 again */
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups %xmm\i, 16 * \i(%rsp)
    .endr
    cld
    movl %cs, %eax
    testb $3, %al
    jnz 1f
    pushfq /* ring 3 may have set AC, which is no business of ring 0's (SMAP) */
    andl $~RFLAGS_AC, (%rsp)
    popfq
1:  movq %rsp, %rdi
    movq %rsp, %rsi
    orq $(VM_STACK_BYTES - 1), %rsi
    movq 1 - VM_STACK_CPU(%rsi), %rsi
    call trap_handle
    movl %cs, %eax
    testb $3, %al
    jz 2f
    restore
    movq 40(%rsp), %rsp /* past vector, error code, RIP, CS, RFLAGS: the RSP that trap_handle() made */
    ret
2:  restore
    addq $16, %rsp
    iretq

/* bool vm_touch(uint64_t va): writes back a byte; false if that faulted (trap.c). */
    .globl vm_touch, vm_touch_access, vm_touch_failed
vm_touch:
    movl $1, %eax
vm_touch_access:
    lock orb $0, (%rdi)
    ret
vm_touch_failed:
    xorl %eax, %eax
    ret

    .section .note.GNU-stack, "", @progbits
