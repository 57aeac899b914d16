/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest_rv64.c: as guest.c, for RISC-V: S-mode and U-mode in turn, for ever. */
#include "rv64_payload.h"

#define USER_CODE 0x10000000000ul
#define USER_DATA 0x10000001000ul
#define ROUNDS 3000000ul
#define MAGIC 0x20534920454e4f20ul

__asm__(".pushsection .text\n.balign 16\n.option push\n.option norelax\n.option norvc\n"
        "user_loop: ld t0, 16(a0)\naddi t0, t0, 1\nsd t0, 16(a0)\nfadd.d fa0, fa0, fa1\naddi a1, a1, -1\n"
        "bnez a1, user_loop\necall\n"
        "user_end:\n.option pop\n.popsection");
extern const uint8_t user_loop[], user_end[];

static volatile uint64_t kernel_word;

static void forever(void) {
    CHECK(paging_on(4));
    csr_set(sstatus, FS);
    void *code = page_alloc();
    uint64_t *data = page_alloc();
    memcpy(code, user_loop, (size_t)(user_end - user_loop));
    data[0] = MAGIC;
    data[1] = ~MAGIC;
    map_page(USER_CODE, (uint64_t)code, PTE_V | PTE_R | PTE_X | PTE_U | PTE_A);
    map_page(USER_DATA, (uint64_t)data, PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D);
    for (;;) {
        enter_user((const void *)USER_CODE, 0, USER_DATA, ROUNDS);
        for (uint64_t i = 0; i < ROUNDS; i++)
            kernel_word++;
    }
}

TESTS({"forever", forever});
