/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * fuzz_decode.c: any words as AArch64 code (fuzz_decode_rv64.c: RISC-V code), through the whole translator: decode, IR,
 * optimiser, host code (which is not run). The IR must verify after each pass. The first four bytes choose the mode and
 * where in its page the code lies.
 */
#include "graft/codegen.h"
#ifdef FUZZ_RV64
#include "guests/rv64/rv64.h"
#define GUEST rv64_guest
#define MODES 0x1fff
#define LAST_REGIME RV64_M
#define PLACES 2 /* bits of the pc that may be set */
extern const struct guest_ops rv64_guest;
#else
#include "guests/a64/a64.h"
#define GUEST a64_guest
#define MODES 0x1ff
#define LAST_REGIME 2
#define PLACES 3
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CODE_BYTES (4u << 20)
#define MAX_WORDS 64
#define PC_BASE UINT64_C(0xffff800008000000)

/* A strategy whose accesses are always plain: what is emitted around them is the same. */
static void plain_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    (void)a, (void)cpu;
    p->index = MMU_NO_INDEX;
    p->covers_nearby = true;
}
static const struct mmu_ops plain_ops = {.name = "plain", .emit_probe = plain_probe};

static struct cpu *cpu;
static struct codegen *cg;
static struct ir_block *block;
static struct code_out *out;
static uint8_t *code;
static size_t code_used;

static void setup(void) {
    cpu = aligned_alloc(4096, ABI_CPU_BYTES);
    cg = aligned_alloc(64, ALIGN_UP(codegen_size(), 64));
    block = malloc(sizeof(*block));
    out = malloc(sizeof(*out));
    code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!cpu || !cg || !block || !out || code == MAP_FAILED)
        abort();
    memset(cpu, 0, ABI_CPU_BYTES);
    memset(cg, 0, codegen_size());
    cpu->guest = &GUEST;
    code_used = codegen_init(cg, cpu, &plain_ops, code, CODE_BYTES);
}

static void must_verify(const char *pass) {
    char err[160];
    if (ir_verify(block, err, sizeof(err))) {
        fprintf(stderr, "after %s: %s\n", pass, err);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t head, words[MAX_WORDS];
    if (size < 8)
        return 0;
    if (!cpu)
        setup();
    memcpy(&head, data, 4);
    unsigned count = (unsigned)((size - 4) / 4 < MAX_WORDS ? (size - 4) / 4 : MAX_WORDS);
    memcpy(words, data + 4, 4 * count);
    uint32_t mode = head & MODES;
    if ((mode & 3) > LAST_REGIME)
        mode &= ~1u;
    uint64_t pc = PC_BASE + (PAGE_SIZE - 4 * count) + (head >> 16 & PLACES);
    ir_block_reset(block, pc, mode);
    if (head & 1u << 23) {
        block->flags = IR_BLOCK_LONG;
        cpu->guest->translate(block, cpu, words, 4 * count, 1 + (head >> 24));
        must_verify("translate");
        ir_block_again(block, true, true);
    }
    cpu->guest->translate(block, cpu, words, 4 * count, 1 + (head >> 24));
    must_verify("translate");
    ir_optimise(block);
    must_verify("optimise");
    codegen_compile(cg, cpu, block, code + code_used, CODE_BYTES - code_used, out);
    return 0;
}
