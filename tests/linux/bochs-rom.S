/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * bochs-rom.S: the ROM of the machine that scripts/test-hw --vmx boots, in place of a BIOS. Bochs puts a kernel and an initrd into
 * memory; this enters the kernel by the 64-bit boot protocol (Documentation/x86/boot.rst of Linux).
 *
 * bochs-image assembles it, with KERNEL (where the kernel is entered), IMAGE and IMAGE_END (what Bochs has read), INITRD,
 * INITRD_SIZE and MEMORY; the command line is a file.
 */
#define ROM 0xffff0000
#define CODE64 0x10 /* as the boot protocol has them */
#define DATA 0x18
#define CODE32 0x20
#define AT(label) (ROM + (label) - rom)

    .section .text, "ax"
rom:

/* --- what the kernel is told: struct boot_params ------------------------------------------------------------------ */
params:
    .org 0x1e8
    .byte 2 /* entries in the memory map below */
    .org 0x1fe
    .word 0xaa55
    .org 0x202
    .ascii "HdrS"
    .word 0x20f /* the protocol's version */
    .org 0x210
    .byte 0xff /* some loader */
    .byte 1    /* loaded high */
    .org 0x218
    .long INITRD, INITRD_SIZE
    .org 0x228
    .long AT(command_line)
    .org 0x2d0
    .quad 0, 0xa0000
    .long 1
    .quad 0x100000, MEMORY - 0x100000
    .long 1

/* --- page tables: 512 GiB, each address to itself; marked as used already, as nothing can be written here ---------- */
    .balign 4096
pml4:
    .quad AT(pdpt) + 0x23
    .balign 4096
pdpt:
    .set address, 0
    .rept 512
    .quad address + 0xe3
    .set address, address + (1 << 30)
    .endr

gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff /* CODE64 */
    .quad 0x00cf93000000ffff /* DATA */
    .quad 0x00cf9b000000ffff /* CODE32 */
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long AT(gdt)

command_line:
    .incbin "command-line"
    .byte 0

/* --- code ------------------------------------------------------------------------------------------------------------ */
    .code16
start:
    lgdtl %cs:(gdt_pointer - rom)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $CODE32, $AT(protected)

    .code32
protected:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    /* Bochs gives the machine its memory in blocks, in the order in which they are used. It has read the file into the first of them, one
     * behind the other, so that is how they have to be used first. */
    movl $IMAGE, %eax
1:  testb %al, (%eax)
    addl $0x20000, %eax
    cmpl $IMAGE_END, %eax
    jb 1b
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $AT(pml4), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx /* EFER: LME */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    andl $0x9fffffff, %eax /* caches on */
    movl %eax, %cr0
    ljmpl $CODE64, $AT(long_mode)

    .code64
long_mode:
    movl $AT(params), %esi
    movl $KERNEL, %eax
    jmp *%rax

    .org 0xfff0
    .code16
    cli
    jmp start
    .org 0x10000
