/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * golden.c: what host code hot blocks become. test_golden.py compares that with what is kept beside it.
 *
 * usage: golden GUEST FILE [hot]
 * FILE has blocks, each a line "block NAME PC FROM" and lines of words (hexadecimal): the guest's code from FROM on.
 * The engine in this process translates each as if it had been found at PC, with the strategy soft and no more of the
 * host than each has (codegen_minimum, no GS base), so the result is the same everywhere. hot: as if it had been found
 * to be hot, and a loop if it can be.
 *
 * Prints for each a line "block NAME G guest instructions, H host instructions, B bytes, A with stubs", H and B from
 * the entry to the first stub, and these instructions. What depends on where things are is left out: fields of the
 * state are [state], of the view [view], what is outside of the block is [constant] or far, and stubs are stub. Exit
 * status 0: all translated; 1: not; 2: wrong usage.
 */
#include <capstone/capstone.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/engine.h"
#include "guests/a64/a64.h"
#include "tests/engine/machine.h"

#define RAM_BYTES (64ull << 20)
#define MAX_WORDS 1024

static struct abi_boot boot;
static FILE *blocks;
static csh disassembler;
static int status = 1;

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "golden: %s: %s\n", what, why);
    exit(1);
}

/* --- one block -------------------------------------------------------------------------------- */
struct piece {
    char name[64];
    uint64_t pc, from;
    uint32_t word[MAX_WORDS];
    unsigned words;
};

/* The next block of the file: false at its end. */
static bool read_piece(struct piece *p) {
    char line[256];
    long at = ftell(blocks);
    bool begun = false;
    p->words = 0;
    for (; fgets(line, sizeof(line), blocks); at = ftell(blocks)) {
        if (*line == '#')
            continue;
        if (!strncmp(line, "block ", 6)) {
            if (begun) {
                fseek(blocks, at, SEEK_SET);
                break;
            }
            if (sscanf(line, "block %63s %" SCNx64 " %" SCNx64, p->name, &p->pc, &p->from) != 3)
                fail(line, "block NAME PC FROM");
            begun = true;
            continue;
        }
        for (char *word = strtok(line, " \n"); word && p->words < MAX_WORDS; word = strtok(NULL, " \n"))
            p->word[p->words++] = (uint32_t)strtoul(word, NULL, 16);
    }
    return begun;
}

/* Where the first stub is, which the check of abi.pending in front leads to. */
static const uint8_t *first_stub(const struct code_out *out, const cs_insn *insn, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (insn[i].id == X86_INS_JNE)
            return (const uint8_t *)(uintptr_t)strtoull(insn[i].op_str, NULL, 0);
    return out->end;
}

/* Capstone 5 has a prefix for what 4 takes for the segment DS. */
static const char *mnemonic(const cs_insn *insn) {
    return strncmp(insn->mnemonic, "notrack ", 8) ? insn->mnemonic : insn->mnemonic + 8;
}

/* The operands, with names for what is not in the main path. */
static void print_operands(const char *text, const uint8_t *start, const uint8_t *main_end, const uint8_t *end,
                           bool jump) {
    const char *memory = strstr(text, "[rbp");
    if (jump && !strncmp(text, "0x", 2)) {
        const uint8_t *to = (const uint8_t *)(uintptr_t)strtoull(text, NULL, 0);
        if (to >= start && to < main_end)
            printf(" +%u", (unsigned)(to - start));
        else
            printf(to >= start && to < end ? " stub" : " far");
        return;
    }
    const char *name = memory ? "[state" : "[constant";
    if (!memory)
        memory = strstr(text, "[rip");
    if (!memory) {
        printf(" %s", text);
        return;
    }
    const char *close = strchr(memory, ']');
    printf(" %.*s%s", (int)(memory - text), text, name);
    const char *index = strchr(memory, '+');
    if (index && index < close && index[2] == 'r')
        printf(" + %.*s", (int)strspn(index + 2, "abcdefghijklmnopqrstuvwxyz0123456789*"), index + 2);
    printf("%s", close);
}

static void print_block(const struct piece *p, const struct engine *e) {
    const struct code_out *out = e->out;
    const uint8_t *start = out->entry;
    cs_insn *insn;
    size_t count = cs_disasm(disassembler, start, (size_t)(out->end - start), (uintptr_t)start, 0, &insn), host = 0;
    const uint8_t *main_end = first_stub(out, insn, count);
    while (host < count && (const uint8_t *)(uintptr_t)insn[host].address < main_end)
        host++;
    printf("block %s: %u guest instructions, %zu host instructions, %u bytes, %u with stubs\n", p->name, e->ir->insns,
           host, (unsigned)(main_end - start), (unsigned)(out->end - start));
    for (size_t i = 0; i < host; i++) {
        bool jump = mnemonic(&insn[i])[0] == 'j' || !strcmp(insn[i].mnemonic, "call");
        printf("  %s", mnemonic(&insn[i]));
        print_operands(insn[i].op_str, start, main_end, out->end, jump);
        putchar('\n');
    }
    cs_free(insn, count);
}

/* Programs run at the lowest level, kernels in the upper half at the next one. */
static uint32_t mode_for(const char *guest, uint64_t pc) {
    if (strcmp(guest, "a64"))
        return 0;
    return pc >> 63 ? A64_EL1 | 1u << 2 | A64_MODE_SA | A64_MODE_SPSEL : A64_EL0 | A64_MODE_SA | A64_MODE_ZVA;
}

static void translate(struct cpu *cpu, const char *guest, const struct piece *p) {
    uint8_t *ram = (uint8_t *)(uintptr_t)boot.ram_va;
    uint64_t pa = RAM_GPA + (p->pc & PAGE_MASK);
    memset(ram, 0, 2 * PAGE_SIZE);
    for (unsigned i = 0; i < p->words; i++) {
        uint64_t at = p->from + 4 * (uint64_t)i - (p->pc & ~(uint64_t)PAGE_MASK);
        if (at <= PAGE_SIZE - 4) /* nothing looks beyond the page */
            memcpy(ram + at, &p->word[i], 4);
    }
    cache_flush(engine_of(cpu));
    engine_of(cpu)->mode = mode_for(guest, p->pc);
    if (!translate_block(cpu, p->pc, pa, ram + (p->pc & PAGE_MASK)))
        fail(p->name, "not translated");
    print_block(p, engine_of(cpu));
}

/* --- the engine ------------------------------------------------------------------------------- */
/* The vCPU's first call, since it was to stop before it has begun: the engine is ready. */
static void monitor(void *ctx, unsigned vcpu, struct abi_vcpu *abi) {
    struct cpu *cpu = (struct cpu *)(uintptr_t)boot.vcpu_va[vcpu];
    struct piece p;
    if (abi->call == ABI_CALL_LOG || abi->call == ABI_CALL_PANIC)
        fwrite((const char *)(uintptr_t)abi->arg[0], 1, abi->arg[1], stderr);
    if (abi->call != ABI_CALL_STOPPED)
        return;
    while (read_piece(&p))
        translate(cpu, ctx, &p);
    status = 0;
}

int main(int argc, char **argv) {
    bool hot = argc == 4 && !strcmp(argv[3], "hot");
    if (argc != 3 + hot) {
        fprintf(stderr, "usage: %s GUEST FILE [hot]\n", argv[0]);
        return 2;
    }
    blocks = fopen(argv[2], "r");
    if (!blocks)
        fail(argv[2], "cannot be opened");
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &disassembler))
        fail("capstone", "does not know x86-64");
    codegen_minimum = rt_user_without_gs = true;
    boot = (struct abi_boot){
        .vcpu_count = 1, .mmu = ABI_MMU_SOFT, .gic_version = 2, .ram_size = RAM_BYTES, .entry_pc = RAM_GPA};
    boot.guest = machine_guest(argv[1]);
    boot.all_hot = hot;
    machine_memory(&boot);
    ((struct abi_vcpu *)(uintptr_t)boot.vcpu_va[0])->pending = ABI_PEND_STOP;
    rt_user_set_monitor(monitor, NULL, argv[1]);
    rt_user_run(&boot, 0);
    cs_close(&disassembler);
    return status;
}
