/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* start.S: entry of a payload on every CPU, and its exception vectors. */

#define FRAME_BYTES 288
#define SECONDARY_STACK_SHIFT 14

.section .text.start, "ax"
.global _start
_start:
    mov     x19, x0                 /* device tree */
    ldr     x0, =stack_top
    mov     sp, x0
    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
1:  cmp     x0, x1
    b.hs    2f
    str     xzr, [x0], #8
    b       1b
2:  msr     tpidr_el1, xzr          /* no context is running */
    ldr     x0, =vectors
    msr     vbar_el1, x0
    mov     x0, #(3 << 20)          /* FP and AdvSIMD without traps */
    msr     cpacr_el1, x0
    isb
    mov     x0, x19
    bl      payload_main
    b       power_off

/* PSCI CPU_ON enters here with x0 = a struct secondary { stack top, function, argument }. */
.global secondary_start
secondary_start:
    ldr     x1, [x0]
    mov     sp, x1
    msr     tpidr_el1, xzr
    ldr     x1, =vectors
    msr     vbar_el1, x1
    mov     x1, #(3 << 20)
    msr     cpacr_el1, x1
    isb
    ldr     x1, [x0, #8]
    ldr     x0, [x0, #16]
    blr     x1
    ldr     x0, =0x84000002         /* CPU_OFF */
    hvc     #0
1:  wfi
    b       1b

.global power_off
power_off:
    ldr     x0, =0x84000008         /* SYSTEM_OFF */
    hvc     #0
1:  wfi
    b       1b

/* Each vector saves x0-x30, SP, ELR, SPSR, ESR, FAR as struct frame and calls exception(frame, vector number). */
.macro vector number
    .balign 128
    sub     sp, sp, #FRAME_BYTES
    stp     x0, x1, [sp]
    mov     x0, #\number
    b       save_and_call
.endm

.balign 2048
vectors:
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vector \n
.endr

.balign 128
save_and_call:
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    add     x1, sp, #FRAME_BYTES
    stp     x30, x1, [sp, #240]
    mrs     x1, elr_el1
    mrs     x2, spsr_el1
    stp     x1, x2, [sp, #256]
    mrs     x1, esr_el1
    mrs     x2, far_el1
    stp     x1, x2, [sp, #272]
    mov     x1, x0
    mov     x0, sp
    bl      exception
    ldp     x1, x2, [sp, #256]
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
    ldp     x0, x1, [sp]
    add     sp, sp, #FRAME_BYTES
    eret

.section .bss
.balign 16
    .space 65536
stack_top:
