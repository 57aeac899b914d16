/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* start.S: the table at the start of the engine image (struct vm_image) and the entry of a vCPU. */
#include "graft/vm.h"

    .section .image, "a"
    .globl vm_image_start
vm_image_start:
    .quad VM_IMAGE_MAGIC
    .quad vm_abi_version
    .quad vm_entry - vm_image_start
    .quad vm_probe_entry - vm_image_start
    .set n, 0
    .rept VM_VECTORS
    .quad vm_vectors + 16 * n - vm_image_start
    .set n, n + 1
    .endr
    .quad vm_breakpoint - vm_image_start
    .quad vm_syscalls - vm_image_start

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
