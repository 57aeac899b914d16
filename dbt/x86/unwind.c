/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* unwind.c: leaving any number of C frames at once. */
#include "graft/codegen.h"

/* What the ABI has a callee keep goes to the stack, and the stack pointer to *mark: whoever takes it from there pops
 * what the caller expects. MXCSR is the host's in all C code. Naked: the frame is laid out here, not by the
 * compiler. */
__attribute__((naked)) void codegen_catch(void (*fn)(struct cpu *), struct cpu *cpu, void **mark) {
    __asm__("pushq %rbx\n\t"
            "pushq %rbp\n\t"
            "pushq %r12\n\t"
            "pushq %r13\n\t"
            "pushq %r14\n\t"
            "pushq %r15\n\t"
            "pushq %rdx\n\t" /* for its size alone: 16-aligned at the call */
            "movq %rsp, (%rdx)\n\t"
            "movq %rdi, %rax\n\t"
            "movq %rsi, %rdi\n\t"
            "callq *%rax\n\t"
            "movq %rsp, %rdi\n\t"
            "jmp codegen_throw");
}

__attribute__((naked)) _Noreturn void codegen_throw(void *mark) {
    __asm__("leaq 8(%rdi), %rsp\n\t"
            "popq %r15\n\t"
            "popq %r14\n\t"
            "popq %r13\n\t"
            "popq %r12\n\t"
            "popq %rbp\n\t"
            "popq %rbx\n\t"
            "retq");
}
