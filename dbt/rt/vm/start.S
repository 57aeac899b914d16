/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* start.S: the table at the start of the engine image (struct vm_image) and the entry of a vCPU. */
#include "graft/vm.h"

    .section .image, "a"
    .quad VM_IMAGE_MAGIC
    .quad vm_abi_version
    .quad vm_entry
    .quad vm_probe_entry
    .set n, 0
    .rept VM_VECTORS
    .quad vm_vectors + 16 * n
    .set n, n + 1
    .endr
    .quad vm_breakpoint
    .quad vm_syscalls

    .text
    .globl vm_entry
/* vm_entry(boot in RDI, vCPU in ESI): RSP is the top of this vCPU's stack, 16-byte aligned. */
vm_entry:
    cld
    xorl %ebp, %ebp
    call engine_main
    ud2 /* it does not return in the VM */

/* vm_probe_entry: the same, for the host probe. */
    .globl vm_probe_entry
vm_probe_entry:
    cld
    xorl %ebp, %ebp
    call vm_probe
    ud2

    .section .note.GNU-stack, "", @progbits
