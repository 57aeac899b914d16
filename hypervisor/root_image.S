/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* root_image.S: the script of graft root, as data. */
    .section .rodata
    .globl root_script
root_script: /* root.sh */
    .incbin GRAFT_ROOT_SCRIPT
    .byte 0
    .section .note.GNU-stack, "", @progbits
