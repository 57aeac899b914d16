/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* agents.S: agent/, built for each guest (board.agent). GRAFT_AGENT_AARCH64 is the path of that for AArch64; nothing if it could not be
 * built. */
    .section .rodata
    .globl agent_aarch64, agent_aarch64_end
    .balign 16
agent_aarch64:
#ifdef GRAFT_AGENT_AARCH64
    .incbin GRAFT_AGENT_AARCH64
#endif
agent_aarch64_end:
    .globl agent_riscv64, agent_riscv64_end
agent_riscv64:
#ifdef GRAFT_AGENT_RISCV64
    .incbin GRAFT_AGENT_RISCV64
#endif
agent_riscv64_end:
    .section .note.GNU-stack, "", @progbits
