/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* engine_image.S: the engine's ELF file as data. GRAFT_ENGINE_ELF is its path. */
    .section .rodata
    .globl engine_image, engine_image_end
    .balign 16
engine_image:
    .incbin GRAFT_ENGINE_ELF
engine_image_end:
    .section .note.GNU-stack, "", @progbits
