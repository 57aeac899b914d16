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
    if (!fake_same_state(&expected, &result, why, len) || done != done_expected) {
        return false;
    }
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
        for (unsigned j = i + 1; j < block.count; j++) {
            used |= block.inst[j].a == i || block.inst[j].b == i || block.inst[j].c == i;
        }
        if (used) {
            continue;
        }
        block.inst[i] = (struct ir_inst){.op = IR_NOP};
        if (native_compile(&block, 0) || same_both_ways(memory, why, sizeof(why))) {
            block.inst[i] = kept;
        }
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
    static const uint32_t singles[] = {0, 0x80000000, 0x3f800000, 0xbf800000, 0x00800000, 0x00800001, 0x007fffff, 1, 0x7f7fffff,
                                       0x7f800000, 0xff800000, 0x7fc00000, 0x7fa00000, 0xffc12345, 0x4f000000, 0x4effffff, 0x3f000000,
                                       0x4f800000, 0x5f000000, 0xbf000000, 0x40200000, 0xbfc00000, 0x33800000, 0x1a000000};
    static const uint64_t doubles[] = {0, BIT(63), 0x3ff0000000000000, 0xbff0000000000000, 0x0010000000000000, 0x000fffffffffffff, 1,
                                       0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
                                       0x7ff4000000000000, 0xfff8000000001234, 0x41e0000000000000, 0x41dfffffffffffff,
                                       0x43e0000000000000, 0x43f0000000000000, 0x41f0000000100000, 0x3fe0000000000000,
                                       0x4004000000000000, 0xbff8000000000000, 0x3810000000000000, 0x3800000000000000,
                                       0x41e0000000200000, 0xc1e0000000300000, 0x2000000000000000};
    for (unsigned n = 0; n < 4; n++) {
        uint64_t r = random_next(seed);
        for (unsigned k = 0; k < 4; k++) {
            if (r >> k & 1) {
                start.v[n].u32[k] = singles[random_next(seed) % ARRAY_LEN(singles)];
            }
        }
        for (unsigned k = 0; k < 2; k++) {
            if (r >> (8 + k) & 1) {
                start.v[n].u64[k] = doubles[random_next(seed) % ARRAY_LEN(doubles)];
            } else if (r >> (10 + k) & 1) { /* ordinary numbers */
                start.v[n].u64[k] = (random_next(seed) & ~(UINT64_C(0x7ff) << 52)) | (1000 + random_next(seed) % 48) << 52;
            }
        }
    }
}

/* --- one operation at a time ----------------------------------------------------------------------------------- */
static void add_result(irv v) {
    switch (block.inst[v].type) {
    case IR_I32: v = ir_append(&block, &(struct ir_inst){.op = IR_ZEXT32, .type = IR_I64, .a = v}); /* fall through */
    case IR_I64: ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_X(3)}); break;
    case IR_V128: ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_V(3)}); break;
    default: ir_append(&block, &(struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_NZCV}); break;
    }
}
static irv operand(char letter, unsigned own, unsigned n, uint64_t *seed) {
    unsigned type = letter == 'w' ? IR_I32 : letter == 'l' ? IR_I64 : letter == 'v' ? IR_V128 : letter == 'f' ? IR_FLAGS : own;
    if (!letter) {
        return 0;
    }
    if (type != IR_V128 && type != IR_FLAGS && random_next(seed) % 4 == 0) {
        return ir_append(&block, &(struct ir_inst){.op = IR_CONST, .type = (uint8_t)type,
                                                   .imm = random_interesting(seed) & ir_type_mask(type)});
    }
    return ir_append(&block, &(struct ir_inst){.op = IR_GET, .type = (uint8_t)type,
                                               .imm = type == IR_V128 ? FAKE_V(n) : type == IR_FLAGS ? FAKE_NZCV : FAKE_X(n)});
}

/* Blocks of one random operation of that number: of what random blocks make, those that have it. */
static bool one_operation(unsigned op, uint64_t *seed) {
    const struct ir_op_info *info = &ir_op_info[op];
    struct ir_inst i = {.op = (uint8_t)op};
    ir_block_reset(&block, 0x1000, 0);
    ir_append(&block, &(struct ir_inst){.op = IR_INSN, .imm = 0x1000});
    unsigned own = random_next(seed) & 1 ? IR_I64 : IR_I32;
    i.type = info->result == 'i' ? (uint8_t)own : info->result == 'w' ? IR_I32 : info->result == 'l' ? IR_I64 :
             info->result == 'v' ? IR_V128 : IR_FLAGS;
    ir_random_fields(&i, own, seed);
    i.a = operand(info->operands[0], own, 0, seed);
    i.b = info->operands[0] ? operand(info->operands[1], own, 1, seed) : 0;
    i.c = info->operands[0] && info->operands[1] ? operand(info->operands[2], own, 2, seed) : 0;
    if (op == IR_CRC32C && own == IR_I32 && i.lane == 3) {
        i.lane = 2;
    }
    if (op == IR_ADC || op == IR_SBC || op == IR_ADC_FLAGS || op == IR_SBC_FLAGS) {
        i.c = ir_append(&block, &(struct ir_inst){.op = IR_CMP, .type = IR_I32, .cc = IR_CMP_ULT, .a = i.a, .b = i.b});
    }
    add_result(ir_append(&block, &i));
    ir_append(&block, &(struct ir_inst){.op = IR_GOTO, .imm = 0x1004});
    return true;
}
static void check_operations(unsigned first, unsigned last, unsigned count, bool avx512) {
    for (unsigned pins = 0; pins < NATIVE_PINS_COUNT; pins++) {
        native_setup((enum native_pins)pins, NATIVE_EACH, avx512);
        for (unsigned op = first; op <= last; op++) {
            if (!ir_op_info[op].pure || op == IR_CALLV || op == IR_VCONST) {
                continue;
            }
            for (unsigned k = 1; k <= rounds(count); k++) {
                uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15) + op, s = seed;
                one_operation(op, &s);
                block.flags = op >= IR_VFADD && k % 16 == 0 ? IR_BLOCK_SOFTFP : 0;
                ck_assert_msg(native_compile(&block, 0) == 0, "%s", ir_op_info[op].name);
                for (unsigned round = 0; round < 8; round++) {
                    random_start(&s);
                    if (op >= IR_VFADD) {
                        random_floats(&s);
                    }
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

/* --- random blocks --------------------------------------------------------------------------------------------- */
static void check_random(unsigned features, unsigned count, unsigned size, bool optimise) {
    for (unsigned config = 0; config < NATIVE_PINS_COUNT * NATIVE_PROBE_COUNT; config++) {
        native_setup((enum native_pins)(config % NATIVE_PINS_COUNT), (enum native_probe)(config / NATIVE_PINS_COUNT), config & 1);
        for (unsigned k = 1; k <= rounds(count); k++) {
            uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15) + features + config, s = seed;
            ir_random_block(&block, &s, 4 + (unsigned)(random_next(&s) % size), features);
            if (optimise) {
                ir_optimise(&block);
            }
            block.flags = random_next(&s) % 16 ? 0 : IR_BLOCK_SOFTFP;
            ck_assert(native_compile(&block, 0) == 0);
            for (unsigned round = 0; round < 4; round++) {
                random_start(&s);
                if (features & IR_RANDOM_FLOAT) {
                    random_floats(&s);
                }
                check_block(optimise ? "optimised block" : "block", seed, (enum native_memory)(random_next(&s) % NATIVE_MEMORY_COUNT));
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

int main(int argc, char **argv) {
    native_init();
    Suite *s = suite_create("codegen");
#define CASE(name)                              \
    {                                           \
        TCase *t = tcase_create(#name);         \
        tcase_set_timeout(t, 600);              \
        tcase_add_test(t, name);                \
        suite_add_tcase(s, t);                  \
    }
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
    SRunner *r = srunner_create(s);
    if (argc > 1) {
        srunner_set_fork_status(r, CK_NOFORK);
    }
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
