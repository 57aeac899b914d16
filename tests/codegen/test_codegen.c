/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_codegen.c: what the x86-64 backend makes of IR does what the interpreter does; links, look-ups, returns. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/ir_priv.h"
#include "ir_random.h"
#include "native.h"

static struct ir_block block;
static struct fake_cpu start, expected, result;
static uint8_t memory_before[FAKE_MEM_BYTES];

static void print_line(void *ctx, const char *line) { fprintf(ctx, "%s\n", line); }
static unsigned rounds(unsigned normal) {
    const char *scale = getenv("GRAFT_TEST_SCALE");
    return scale ? normal * (unsigned)atoi(scale) : normal;
}

/* Runs the block both ways from the state start. */
static bool same_both_ways(enum native_memory memory, char *why, size_t len) {
    snprintf(why, len, "the way it leaves");
    memcpy(fake_memory, memory_before, sizeof(fake_memory));
    expected = start;
    bool done_expected = fake_interpret(&block, &expected);
    memcpy(native_memory, memory_before, sizeof(fake_memory));
    result = start;
    bool done = native_run(&result, native.out.entry, memory);
    if (!fake_same_state(&expected, &result, why, len) || done != done_expected)
        return false;
    if (memcmp(fake_memory, native_memory, sizeof(fake_memory))) {
        snprintf(why, len, "memory");
        return false;
    }
    return true;
}
/* Takes away what the difference does not need. */
static void shrink(enum native_memory memory) {
    char why[200];
    for (unsigned i = block.count - 2u; i > 0; i--) {
        struct ir_inst kept = block.inst[i];
        bool used = false;
        for (unsigned j = i + 1; j < block.count; j++)
            used |= block.inst[j].a == i || block.inst[j].b == i || block.inst[j].c == i;
        if (used)
            continue;
        block.inst[i] = (struct ir_inst){.op = IR_NOP};
        if (native_compile(&block, 0) || same_both_ways(memory, why, sizeof(why)))
            block.inst[i] = kept;
    }
    native_compile(&block, 0);
}
static void check_block(const char *what, unsigned long long seed, enum native_memory memory) {
    char why[200];
    if (!same_both_ways(memory, why, sizeof(why))) {
        shrink(memory);
        same_both_ways(memory, why, sizeof(why));
        ir_print(&block, print_line, stderr);
        native_dump("/tmp/native.bin");
        ck_abort_msg("%s, seed %llu, memory %d: %s", what, seed, (int)memory, why);
    }
}

static void random_start(uint64_t *seed) {
    ir_random_state(&start, seed);
    uint64_t r = random_next(seed);
    start.c.fp.fpcr = (uint32_t)(r & 3 ? 0 : r >> 8 & 3) << 22 | (r >> 10 & 7 ? 0 : 1u << 25);
    memcpy(memory_before, fake_memory, sizeof(fake_memory));
}

/* Floating-point operands that matter, in the vector registers. */
static void random_floats(uint64_t *seed) {
    static const uint32_t singles[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x00800000, 0x00800001,
                                       0x007fffff, 1,          0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
                                       0x7fa00000, 0xffc12345, 0x4f000000, 0x4effffff, 0x3f000000, 0x4f800000,
                                       0x5f000000, 0xbf000000, 0x40200000, 0xbfc00000, 0x33800000, 0x1a000000};
    static const uint64_t doubles[] = {0,
                                       BIT(63),
                                       0x3ff0000000000000,
                                       0xbff0000000000000,
                                       0x0010000000000000,
                                       0x000fffffffffffff,
                                       1,
                                       0x7fefffffffffffff,
                                       0x7ff0000000000000,
                                       0xfff0000000000000,
                                       0x7ff8000000000000,
                                       0x7ff4000000000000,
                                       0xfff8000000001234,
                                       0x41e0000000000000,
                                       0x41dfffffffffffff,
                                       0x43e0000000000000,
                                       0x43f0000000000000,
                                       0x41f0000000100000,
                                       0x3fe0000000000000,
                                       0x4004000000000000,
                                       0xbff8000000000000,
                                       0x3810000000000000,
                                       0x3800000000000000,
                                       0x41e0000000200000,
                                       0xc1e0000000300000,
                                       0x2000000000000000};
    for (unsigned n = 0; n < 4; n++) {
        uint64_t r = random_next(seed);
        for (unsigned k = 0; k < 4; k++)
            if (r >> k & 1)
                start.v[n].u32[k] = singles[random_next(seed) % ARRAY_LEN(singles)];
        for (unsigned k = 0; k < 2; k++) {
            if (r >> (8 + k) & 1) {
                start.v[n].u64[k] = doubles[random_next(seed) % ARRAY_LEN(doubles)];
            } else if (r >> (10 + k) & 1) { /* ordinary numbers */
                start.v[n].u64[k] = (random_next(seed) & ~(UINT64_C(0x7ff) << 52)) | (1000 + random_next(seed) % 48)
                                                                                         << 52;
            }
        }
    }
}

/* --- one operation at a time ------------------------------------------------------------------ */
static void add_result(irv v) {
    switch (block.inst[v].type) {
    case IR_I32: v = ir_append(&block, &(struct ir_inst){.op = IR_ZEXT32, .type = IR_I64, .a = v}); /* fall through */
    case IR_I64: ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_X(3)}); break;
    case IR_V128: ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_V(3)}); break;
    default: ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_NZCV}); break;
    }
}
static irv operand(char letter, unsigned own, unsigned n, uint64_t *seed) {
    unsigned type = letter == 'w'   ? IR_I32
                    : letter == 'l' ? IR_I64
                    : letter == 'v' ? IR_V128
                    : letter == 'f' ? IR_FLAGS
                                    : own;
    if (!letter)
        return 0;
    if (type != IR_V128 && type != IR_FLAGS && random_next(seed) % 4 == 0) {
        return ir_append(&block, &(struct ir_inst){.op = IR_CONST,
                                                   .type = (uint8_t)type,
                                                   .imm = random_interesting(seed) & ir_type_mask(type)});
    }
    return ir_append(&block, &(struct ir_inst){.op = IR_GET,
                                               .type = (uint8_t)type,
                                               .imm = type == IR_V128    ? FAKE_V(n)
                                                      : type == IR_FLAGS ? FAKE_NZCV
                                                                         : FAKE_X(n)});
}

/* Blocks of one random operation of that number: of what random blocks make, those that have it. */
static bool one_operation(unsigned op, uint64_t *seed) {
    const struct ir_op_info *info = &ir_op_info[op];
    struct ir_inst i = {.op = (uint8_t)op};
    ir_block_reset(&block, 0x1000, 0);
    ir_append(&block, &(struct ir_inst){.op = IR_INSN, .imm = 0x1000});
    unsigned own = random_next(seed) & 1 ? IR_I64 : IR_I32;
    i.type = info->result == 'i'   ? (uint8_t)own
             : info->result == 'w' ? IR_I32
             : info->result == 'l' ? IR_I64
             : info->result == 'v' ? IR_V128
                                   : IR_FLAGS;
    ir_random_fields(&i, own, seed);
    i.a = operand(info->operands[0], own, 0, seed);
    i.b = info->operands[0] ? operand(info->operands[1], own, 1, seed) : 0;
    i.c = info->operands[0] && info->operands[1] ? operand(info->operands[2], own, 2, seed) : 0;
    if (op == IR_CRC32C && own == IR_I32 && i.lane == 3)
        i.lane = 2;
    if (op == IR_ADC || op == IR_SBC || op == IR_ADC_FLAGS || op == IR_SBC_FLAGS)
        i.c = ir_append(&block, &(struct ir_inst){.op = IR_CMP, .type = IR_I32, .cc = IR_CMP_ULT, .a = i.a, .b = i.b});
    add_result(ir_append(&block, &i));
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1004});
    return true;
}
static void check_operations(unsigned first, unsigned last, unsigned count, bool avx512) {
    for (unsigned pins = 0; pins < NATIVE_PINS_COUNT; pins++) {
        native_setup((enum native_pins)pins, NATIVE_EACH, avx512);
        for (unsigned op = first; op <= last; op++) {
            if (!ir_op_info[op].pure || op == IR_CALLV || op == IR_VCONST)
                continue;
            for (unsigned k = 1; k <= rounds(count); k++) {
                uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15) + op, s = seed;
                one_operation(op, &s);
                block.flags = op >= IR_VFADD && k % 16 == 0 ? IR_BLOCK_SOFTFP : 0;
                ck_assert_msg(native_compile(&block, 0) == 0, "%s", ir_op_info[op].name);
                for (unsigned round = 0; round < 8; round++) {
                    random_start(&s);
                    if (op >= IR_VFADD)
                        random_floats(&s);
                    check_block(ir_op_info[op].name, seed, NATIVE_RW);
                }
            }
        }
    }
}
START_TEST(integer_operations) { check_operations(IR_CONST, IR_COND, 60, true); }
END_TEST
START_TEST(vector_operations) { check_operations(IR_VAND, IR_VAESIMC, 40, true); }
END_TEST
START_TEST(vector_operations_avx2) { check_operations(IR_VAND, IR_VAESIMC, 20, false); }
END_TEST
START_TEST(float_operations) { check_operations(IR_VFADD, IR_OP_COUNT - 1, 200, true); }
END_TEST
START_TEST(float_operations_avx2) { check_operations(IR_VFADD, IR_OP_COUNT - 1, 100, false); }
END_TEST

static enum native_memory random_memory(enum native_probe probe, uint64_t *seed) {
    return (enum native_memory)(probe == NATIVE_RANGE ? NATIVE_RW : random_next(seed) % NATIVE_MEMORY_COUNT);
}

/* Its exits lead to its own start. */
static void make_loop(void) {
    block.flags |= IR_BLOCK_LOOP;
    for (unsigned i = 1; i < block.count; i++)
        if ((block.inst[i].op == IR_EXIT_IF && !(block.inst[i].flags & IR_EXIT_FAULT)) || block.inst[i].op == IR_GOTO)
            block.inst[i].imm = block.pc;
}

/* --- random blocks ---------------------------------------------------------------------------- */
static void check_random(unsigned features, unsigned count, unsigned size, bool optimise) {
    for (unsigned config = 0; config < NATIVE_PINS_COUNT * NATIVE_PROBE_COUNT; config++) {
        enum native_probe probe = (enum native_probe)(config / NATIVE_PINS_COUNT);
        native_setup((enum native_pins)(config % NATIVE_PINS_COUNT), probe, config & 1);
        for (unsigned k = 1; k <= rounds(count); k++) {
            uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15) + features + config, s = seed;
            ir_random_block(&block, &s, 4 + (unsigned)(random_next(&s) % size), features);
            if (optimise)
                ir_optimise(&block);
            block.flags = random_next(&s) % 16 ? 0 : IR_BLOCK_SOFTFP;
            if (k & 1)
                make_loop();
            ck_assert(native_compile(&block, 0) == 0);
            for (unsigned round = 0; round < 4; round++) {
                random_start(&s);
                if (features & IR_RANDOM_FLOAT)
                    random_floats(&s);
                check_block(optimise ? "optimised block" : "block", seed, random_memory(probe, &s));
            }
        }
    }
}
START_TEST(random_integer_blocks) { check_random(IR_RANDOM_EXITS, 800, 60, false); }
END_TEST
START_TEST(random_memory_blocks) { check_random(IR_RANDOM_EXITS | IR_RANDOM_MEMORY | IR_RANDOM_CALLS, 800, 80, false); }
END_TEST
START_TEST(random_vector_blocks) { check_random(IR_RANDOM_VECTOR | IR_RANDOM_MEMORY, 400, 80, false); }
END_TEST
START_TEST(random_blocks) { check_random(IR_RANDOM_ALL, 500, 120, false); }
END_TEST
START_TEST(random_optimised_blocks) { check_random(IR_RANDOM_ALL, 500, 120, true); }
END_TEST

/* --- chains of floating point ----------------------------------------------------------------- */
#define CHAIN_VALUES 12
static irv get_x(unsigned n) {
    return ir_append(&block, &(struct ir_inst){.op = IR_GET, .type = IR_I64, .imm = FAKE_X(n)});
}
static void add_to(unsigned n, uint64_t k) {
    irv c = ir_append(&block, &(struct ir_inst){.op = IR_CONST, .type = IR_I64, .imm = k});
    irv sum = ir_append(&block, &(struct ir_inst){.op = IR_ADD, .type = IR_I64, .a = get_x(n), .b = c});
    ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = sum, .imm = FAKE_X(n)});
}
static irv get_v(unsigned n) {
    return ir_append(&block, &(struct ir_inst){.op = IR_GET, .type = IR_V128, .imm = FAKE_V(n)});
}
static irv chain_operation(uint64_t r, unsigned lane, unsigned n, const irv *value) {
    static const uint8_t ops[] = {IR_VFMUL, IR_VFADD, IR_VFMUL, IR_VFSUB,  IR_VFMA,
                                  IR_VFDIV, IR_VFADD, IR_VFMA,  IR_VFSQRT, IR_VFMAX};
    struct ir_inst i = {.op = ops[r % ARRAY_LEN(ops)], .type = IR_V128, .lane = (uint8_t)lane, .n = (uint8_t)n};
    i.a = value[(r >> 8) % CHAIN_VALUES];
    i.b = i.op == IR_VFSQRT ? 0 : value[(r >> 16) % CHAIN_VALUES];
    i.c = i.op == IR_VFMA ? value[(r >> 24) % CHAIN_VALUES] : 0;
    return ir_append(&block, &i);
}
/* Operations whose results are checked late, with accesses that fault and everything else that may come between. */
static void float_chain(uint64_t *seed, unsigned size) {
    irv value[CHAIN_VALUES];
    uint64_t r = random_next(seed);
    unsigned lane = 2 + (unsigned)(r & 1), lanes = r & 6 ? 1 : 16u >> lane;
    ir_block_reset(&block, 0x1000, 0);
    ir_append(&block, &(struct ir_inst){.op = IR_INSN, .imm = 0x1000});
    for (unsigned n = 0; n < CHAIN_VALUES; n++)
        value[n] = get_v(n % 4);
    for (unsigned k = 0; k < size; k++) {
        r = random_next(seed);
        unsigned n = (unsigned)(r >> 32) % CHAIN_VALUES, v = (unsigned)(r >> 40) % 4, kind = (unsigned)(r >> 48) % 32;
        irv x = get_x((unsigned)(r >> 44) % 4);
        uint64_t disp = (r >> 52 & 3) * 8;
        if (kind < 20) {
            value[n] = chain_operation(r, kind ? lane : 5 - lane, kind > 1 ? lanes : 1, value);
        } else if (kind < 22) {
            value[n] = ir_append(
                &block, &(struct ir_inst){.op = IR_LD, .type = IR_V128, .lane = (uint8_t)lane, .a = x, .imm = disp});
        } else if (kind == 22) {
            ir_append(&block,
                      &(struct ir_inst){.op = IR_ST, .lane = (uint8_t)lane, .a = x, .b = value[n], .imm = disp});
        } else if (kind == 23) {
            ir_append(&block, &(struct ir_inst){.op = IR_ST, .lane = 3, .a = x, .b = x, .imm = disp});
        } else if (kind == 24) {
            value[n] = get_v(v);
        } else if (kind == 25) {
            add_to(v, r & 15);
        } else if (kind == 26) {
            value[n] =
                ir_append(&block, &(struct ir_inst){.op = IR_VXOR, .type = IR_V128, .a = value[n], .b = value[v]});
        }
        if (kind < 20 ? r >> 56 & 3 : kind > 26)
            ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = value[n], .imm = FAKE_V(v)});
    }
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1004});
}
START_TEST(float_chains) {
    for (unsigned config = 0; config < NATIVE_PINS_COUNT * NATIVE_PROBE_COUNT * 2; config++) {
        enum native_probe probe = (enum native_probe)(config / NATIVE_PINS_COUNT % NATIVE_PROBE_COUNT);
        native_setup((enum native_pins)(config % NATIVE_PINS_COUNT), probe,
                     config < NATIVE_PINS_COUNT * NATIVE_PROBE_COUNT);
        for (unsigned k = 1; k <= rounds(1500); k++) {
            uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15) + config, s = seed;
            float_chain(&s, 4 + (unsigned)(random_next(&s) % 40));
            if (k & 1)
                ir_optimise(&block);
            if (k & 2)
                make_loop();
            ck_assert(native_compile(&block, 0) == 0);
            for (unsigned round = 0; round < 8; round++) {
                random_start(&s);
                random_floats(&s);
                check_block("chain", seed, random_memory(probe, &s));
            }
        }
    }
}
END_TEST

/* --- ways between blocks ---------------------------------------------------------------------- */
static struct code_out out_a, out_b, out_c;
static struct fake_cpu machine;

static void begin(uint64_t pc) {
    ir_block_reset(&block, pc, 0);
    ir_append(&block, &(struct ir_inst){.op = IR_INSN, .imm = pc});
}
static struct code_out finish(size_t offset) {
    ck_assert(native_compile(&block, offset) == 0);
    return native.out;
}
static const struct code_link *link_to(const struct code_out *out, uint64_t pc) {
    for (unsigned i = 0; i < out->links; i++)
        if (out->link[i].target_pc == pc)
            return &out->link[i];
    ck_abort_msg("no link to %llx", (unsigned long long)pc);
    return NULL;
}
/* A block that counts x0 down to itself, adding 3 to x1, then goes on at 0x1010; one there that adds 1 to x2. */
static void loop_blocks(void) {
    begin(0x1000);
    add_to(0, ~UINT64_C(0));
    add_to(1, 3);
    irv zero = ir_append(&block, &(struct ir_inst){.op = IR_CONST, .type = IR_I64});
    irv more =
        ir_append(&block, &(struct ir_inst){.op = IR_CMP, .type = IR_I32, .cc = IR_CMP_NE, .a = get_x(0), .b = zero});
    ir_append(&block, &(struct ir_inst){.op = IR_EXIT_IF, .a = more, .imm = 0x1000});
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1010});
    out_a = finish(0);
    begin(0x1010);
    add_to(2, 1);
    irv pc = ir_append(&block, &(struct ir_inst){.op = IR_CONST, .type = IR_I64, .imm = 0x1014});
    ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = pc, .imm = FAKE_PC});
    ir_append(&block, &(struct ir_inst){.op = IR_EXIT});
    out_b = finish(0x1000);
}
static void enter_with(uint64_t x0, const uint8_t *entry) {
    fake_cpu_init(&machine);
    machine.x[0] = x0;
    ck_assert(native_run(&machine, entry, NATIVE_RW));
}

START_TEST(links) {
    for (unsigned pins = 0; pins < NATIVE_PINS_COUNT; pins++) {
        native_setup((enum native_pins)pins, NATIVE_EACH, true);
        loop_blocks();
        const struct code_link *back = link_to(&out_a, 0x1000), *on = link_to(&out_a, 0x1010);
        enter_with(5, out_a.entry);
        ck_assert(machine.pc == 0x1000 && machine.x[0] == 4 && machine.c.exit_site == (uintptr_t)back->site);
        codegen_link(back, out_a.entry);
        enter_with(1000, out_a.entry);
        ck_assert(machine.pc == 0x1010 && machine.x[1] == 3000 && machine.c.exit_site == (uintptr_t)on->site);
        codegen_link(on, out_b.entry_nocheck);
        enter_with(1000, out_a.entry);
        ck_assert(machine.pc == 0x1014 && machine.x[1] == 3000 && machine.x[2] == 1 && machine.c.exit_site == 0);
        codegen_unlink(on);
        codegen_unlink(back);
        enter_with(2, out_a.entry_nocheck);
        ck_assert(machine.pc == 0x1000 && machine.x[0] == 1 && machine.c.exit_site == (uintptr_t)back->site);
        fake_cpu_init(&machine);
        machine.c.abi.pending = ABI_PEND_TIMER;
        machine.x[0] = 7;
        ck_assert(native_run(&machine, out_a.entry, NATIVE_RW));
        ck_assert(machine.pc == 0x1000 && machine.x[0] == 7 && machine.c.exit_site == 0);
    }
}
END_TEST

/* The same with registers that have no pins: x9 counts, x10 adds up, and a store through x11 faults once or never. The
 * block at 0x1010 has what is pinned elsewhere where it belongs. */
static void own_pins(void) {
    begin(0x1000);
    block.flags |= IR_BLOCK_LOOP;
    add_to(9, ~UINT64_C(0));
    ir_append(&block, &(struct ir_inst){.op = IR_ST, .lane = 3, .a = get_x(11), .b = get_x(10)});
    add_to(10, 3);
    irv zero = ir_append(&block, &(struct ir_inst){.op = IR_CONST, .type = IR_I64});
    irv more =
        ir_append(&block, &(struct ir_inst){.op = IR_CMP, .type = IR_I32, .cc = IR_CMP_NE, .a = get_x(9), .b = zero});
    ir_append(&block, &(struct ir_inst){.op = IR_EXIT_IF, .a = more, .imm = 0x1000});
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1010});
    out_a = finish(0);
}
static void enter_loop(uint64_t count) {
    fake_cpu_init(&machine);
    for (unsigned i = 0; i < 8; i++)
        machine.x[i] = 100 + i;
    machine.x[9] = count;
    machine.x[11] = FAKE_MEM_BASE;
}
static bool others_are_kept(void) {
    bool kept = true;
    for (unsigned i = 0; i < 8; i++)
        kept &= machine.x[i] == 100 + i;
    return kept;
}
START_TEST(loops) {
    for (unsigned memory = NATIVE_RW; memory <= NATIVE_NONE; memory++) {
        native_setup(NATIVE_PINS_ALL, NATIVE_EACH, true);
        own_pins();
        ck_assert(out_a.loop && !out_a.may_loop && out_a.loop > out_a.entry);
        const struct code_link *back = link_to(&out_a, 0x1000), *on = link_to(&out_a, 0x1010);
        enter_loop(5);
        ck_assert(native_run(&machine, out_a.entry, (enum native_memory)memory));
        ck_assert(machine.pc == 0x1000 && machine.x[9] == 4 && machine.x[10] == 3 && others_are_kept());
        ck_assert(machine.c.exit_site == (uintptr_t)back->site);
        codegen_link(back, out_a.loop);
        enter_loop(1000);
        ck_assert(native_run(&machine, out_a.entry, (enum native_memory)memory));
        ck_assert(machine.pc == 0x1010 && machine.x[9] == 0 && machine.x[10] == 3000 && others_are_kept());
        ck_assert(machine.c.exit_site == (uintptr_t)on->site);
        enter_loop(7);
        machine.c.abi.pending = ABI_PEND_TIMER;
        ck_assert(native_run(&machine, out_a.entry, (enum native_memory)memory));
        ck_assert(machine.pc == 0x1000 && machine.x[9] == 7 && machine.x[10] == 0 && others_are_kept());
        ck_assert(machine.c.exit_site == 0);
        codegen_unlink(back);
        enter_loop(7);
        ck_assert(native_run(&machine, out_a.entry, (enum native_memory)memory));
        ck_assert(machine.pc == 0x1000 && machine.x[9] == 6 && machine.x[10] == 3 && others_are_kept());
        block.flags = 0;
        ck_assert(native_compile(&block, 0) == 0 && !native.out.loop && native.out.may_loop);
    }
}
END_TEST

/* An exit with IR_EXIT_FAULT says so, and is no link; its condition may be known. */
START_TEST(fault_exits) {
    for (unsigned known = 0; known < 3; known++) {
        native_setup(NATIVE_PINS_SOME, NATIVE_EACH, true);
        begin(0x1000);
        add_to(1, 1);
        irv cond = known ? ir_const(&block, IR_I32, known - 1) : ir_op1(&block, IR_TRUNC, get_x(0));
        ir_append(&block, &(struct ir_inst){.op = IR_EXIT_IF, .a = cond, .imm = 0x1000, .flags = IR_EXIT_FAULT});
        add_to(2, 1);
        ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1010});
        out_a = finish(0);
        ck_assert(out_a.links == 1);
        for (unsigned x0 = 0; x0 < 2; x0++) {
            bool leaves = known ? known == 2 : x0 == 1;
            enter_with(x0, out_a.entry);
            ck_assert(machine.x[1] == 1 && machine.x[2] == !leaves && machine.pc == (leaves ? 0x1000 : 0x1010));
            ck_assert((machine.c.exit_site == CODE_EXIT_FAULT) == leaves);
        }
    }
}
END_TEST

/* A call of a function in another page, and its return. */
static void call_blocks(void) {
    begin(0x1000);
    add_to(1, 1);
    irv next = ir_append(&block, &(struct ir_inst){.op = IR_CONST, .type = IR_I64, .imm = 0x1004});
    ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = next, .imm = FAKE_X(9)});
    ir_append(&block, &(struct ir_inst){.op = IR_RAS_PUSH, .imm = 0x1004});
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x5008});
    out_a = finish(0);
    begin(0x5008);
    add_to(2, 1);
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO_REG, .a = get_x(9), .cc = IR_JUMP_RET});
    out_b = finish(0x1000);
    begin(0x1004);
    add_to(3, 1);
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO_REG, .a = get_x(0), .cc = IR_JUMP_PLAIN});
    out_c = finish(0x2000);
}
START_TEST(calls_and_returns) {
    native_setup(NATIVE_PINS_SOME, NATIVE_EACH, true);
    call_blocks();
    native_lookups = 0;
    enter_with(~UINT64_C(0), out_a.entry);
    const struct code_link *far = link_to(&out_a, 0x5008);
    ck_assert(machine.pc == 0x5008 && machine.x[1] == 1 && native_lookups == 1 &&
              machine.c.exit_site == (uintptr_t)far->site);
    codegen_link_far(far, out_b.entry, 77);
    enter_with(~UINT64_C(0), out_a.entry); /* another page is there, or none */
    ck_assert(machine.pc == 0x5008 && machine.x[2] == 0 && native_lookups == 2);
    native_view()->code_page[code_page_index(0x5008)] = 77;
    enter_with(~UINT64_C(0), out_a.entry);
    const struct code_link *back = link_to(&out_a, 0x1004);
    ck_assert(machine.pc == 0x1004 && machine.x[2] == 1 && machine.c.exit_site == (uintptr_t)back->site);
    codegen_link(back, out_c.entry);
    enter_with(~UINT64_C(0), out_a.entry); /* an address that no entry of the jump cache can have */
    ck_assert(machine.pc == ~UINT64_C(0) && machine.x[3] == 1 && machine.c.exit_site == 0);
    enter_with(0x5008, out_b.entry); /* a return without a call: x9 is 0 */
    ck_assert(machine.pc == 0 && machine.c.exit_site == 0);
    codegen_unlink(far);
    native_lookup_result = out_b.entry;
    enter_with(0x3000, out_a.entry);
    ck_assert(machine.pc == 0x3000 && machine.x[2] == 1 && machine.x[3] == 1 && native_lookups == 6);
}
END_TEST

/* A conditional exit to another page, taken or not, and a return to one. */
START_TEST(far_exits) {
    native_setup(NATIVE_PINS_SOME, NATIVE_EACH, true);
    begin(0x1ff8);
    irv c = ir_append(&block, &(struct ir_inst){.op = IR_GET, .type = IR_I32, .imm = FAKE_X(1)});
    ir_append(&block, &(struct ir_inst){.op = IR_EXIT_IF, .a = c, .imm = 0x7000});
    ir_append(&block, &(struct ir_inst){.op = IR_RAS_PUSH, .imm = 0x2000});
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1800});
    out_a = finish(0);
    begin(0x1800);
    irv to = ir_append(&block, &(struct ir_inst){.op = IR_CONST, .type = IR_I64, .imm = 0x2000});
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO_REG, .a = to, .cc = IR_JUMP_RET});
    out_b = finish(0x1000);
    begin(0x2000);
    add_to(3, 1);
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x9000});
    out_c = finish(0x2000);
    codegen_link(link_to(&out_a, 0x1800), out_b.entry);
    codegen_link_far(link_to(&out_a, 0x2000), out_c.entry, 5);
    codegen_link_far(link_to(&out_a, 0x7000), out_c.entry, 6);
    for (unsigned mapped = 0; mapped < 2; mapped++) {
        native_view()->code_page[code_page_index(0x2000)] = mapped ? 5 : 6;
        native_view()->code_page[code_page_index(0x7000)] = mapped ? 6 : 5;
        for (unsigned taken = 0; taken < 2; taken++) {
            const struct code_link *stuck = link_to(&out_a, taken ? 0x7000 : 0x2000);
            fake_cpu_init(&machine);
            machine.x[1] = taken;
            machine.x[3] = 0;
            ck_assert(native_run(&machine, out_a.entry, NATIVE_RW));
            ck_assert(machine.x[3] == mapped);
            ck_assert(machine.c.exit_site == (uintptr_t)(mapped ? link_to(&out_c, 0x9000) : stuck)->site);
        }
    }
}
END_TEST

/* Room that is too small is refused, and nothing behind it written. */
START_TEST(small_rooms) {
    native_setup(NATIVE_PINS_ALL, NATIVE_EACH, true);
    for (unsigned k = 1; k <= rounds(300); k++) {
        uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15), s = seed;
        ir_random_block(&block, &s, 100, IR_RANDOM_ALL);
        size_t room = random_next(&s) % 6000;
        size_t at = native.thunks + 0x1000 + room;
        uint8_t *end = native.writable + at;
        memset(end, 0xa5, 64);
        int fits = native_compile_in(&block, 0x1000, room);
        for (unsigned i = 0; i < 64; i++)
            ck_assert_msg(end[i] == 0xa5, "room %zu, seed %llu", room, (unsigned long long)seed);
        ck_assert(fits || native.out.end <= native.code + at);
    }
    begin(0x1000);
    irv c = ir_append(&block, &(struct ir_inst){.op = IR_GET, .type = IR_I32, .imm = FAKE_X(1)});
    for (unsigned i = 0; i < CODE_MAX_LINKS + 1; i++)
        ir_append(&block, &(struct ir_inst){.op = IR_EXIT_IF, .a = c, .imm = 0x1000 + 4 * i});
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1000});
    ck_assert(native_compile(&block, 0) == -1);
}
END_TEST

/* Blocks as long as there can be: refused if they have too many accesses or exits, else right. */
START_TEST(long_blocks) {
    for (unsigned k = 1; k <= rounds(40); k++) {
        native_setup(NATIVE_PINS_ALL, k & 2 ? NATIVE_HOIST : NATIVE_RANGE, true);
        uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15), s = seed;
        ir_random_block(&block, &s, 3800, k & 1 ? IR_RANDOM_ALL & ~(unsigned)IR_RANDOM_EXITS : IR_RANDOM_VECTOR);
        if (native_compile(&block, 0) == 0) {
            random_start(&s);
            check_block("long block", seed, NATIVE_RW);
        }
    }
}
END_TEST

int main(int argc, char **argv) {
    native_init();
    Suite *s = suite_create("codegen");
#define CASE(name)                                                                                                     \
    {                                                                                                                  \
        TCase *t = tcase_create(#name);                                                                                \
        tcase_set_timeout(t, 600);                                                                                     \
        tcase_add_test(t, name);                                                                                       \
        suite_add_tcase(s, t);                                                                                         \
    }
    CASE(links)
    CASE(loops)
    CASE(fault_exits)
    CASE(calls_and_returns)
    CASE(far_exits)
    CASE(small_rooms)
    CASE(integer_operations)
    CASE(random_integer_blocks)
    CASE(random_memory_blocks)
    CASE(vector_operations)
    CASE(vector_operations_avx2)
    CASE(random_vector_blocks)
    CASE(float_operations)
    CASE(float_operations_avx2)
    CASE(random_blocks)
    CASE(random_optimised_blocks)
    CASE(float_chains)
    CASE(long_blocks)
    SRunner *r = srunner_create(s);
    if (argc > 1)
        srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
