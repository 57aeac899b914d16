/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_ir.c: the IR: builder, optimiser, verifier, text form, interpreter. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/ir_priv.h"
#include "ir_random.h"

static struct ir_block block, other;
static uint8_t memory_before[FAKE_MEM_BYTES], memory_after[FAKE_MEM_BYTES];

static void print_line(void *ctx, const char *line) { fprintf(ctx, "%s\n", line); }

static void check_valid(const struct ir_block *b, const char *what, unsigned long long seed) {
    char err[160];
    if (ir_verify(b, err, sizeof(err))) {
        ir_print(b, print_line, stderr);
        ck_abort_msg("%s, seed %llu: %s", what, seed, err);
    }
}

/* Runs b from the state start; the memory is put back before. */
static bool run(const struct ir_block *b, const struct fake_cpu *start, struct fake_cpu *end) {
    memcpy(fake_memory, memory_before, sizeof(fake_memory));
    *end = *start;
    return fake_interpret(b, end);
}

/* Do two blocks do the same from many states? */
static void check_equivalent(const struct ir_block *x, const struct ir_block *y, uint64_t seed, const char *what) {
    static struct fake_cpu start, after_x, after_y;
    uint64_t s = seed;
    for (unsigned round = 0; round < 4; round++) {
        char why[200] = "the way they leave";
        ir_random_state(&start, &s);
        memcpy(memory_before, fake_memory, sizeof(fake_memory));
        bool done_x = run(x, &start, &after_x);
        memcpy(memory_after, fake_memory, sizeof(fake_memory));
        bool done_y = run(y, &start, &after_y);
        bool same = fake_same_state(&after_x, &after_y, why, sizeof(why)) && done_x == done_y;
        if (same && memcmp(memory_after, fake_memory, sizeof(fake_memory))) {
            snprintf(why, sizeof(why), "memory");
            same = false;
        }
        if (!same) {
            ir_print(x, print_line, stderr);
            fprintf(stderr, "---- becomes\n");
            ir_print(y, print_line, stderr);
            ck_abort_msg("%s, seed %llu, round %u: %s", what, (unsigned long long)seed, round, why);
        }
    }
}

/* Appends every operation of from to b through the folding builder. */
static void rebuild(struct ir_block *b, const struct ir_block *from) {
    static irv map[IR_MAX_INSTS];
    ir_block_reset(b, from->pc, from->mode);
    memcpy(b->vconst, from->vconst, sizeof(b->vconst));
    b->vconsts = from->vconsts;
    b->labels = from->labels;
    for (unsigned v = 1; v < from->count; v++) {
        struct ir_inst i = from->inst[v];
        i.a = map[i.a];
        i.b = map[i.b];
        i.c = map[i.c];
        map[v] = ir_add_inst(b, &i);
    }
}

static unsigned rounds(unsigned normal) {
    const char *scale = getenv("GRAFT_TEST_SCALE");
    return scale ? normal * (unsigned)atoi(scale) : normal;
}

static void check_passes(unsigned features, unsigned count, unsigned size) {
    static struct ir_block optimised;
    for (unsigned k = 1; k <= rounds(count); k++) {
        uint64_t seed = k * UINT64_C(0x9e3779b97f4a7c15) + features, s = seed;
        ir_random_block(&block, &s, 4 + (unsigned)(random_next(&s) % size), features);
        check_valid(&block, "generated", seed);
        rebuild(&other, &block);
        check_valid(&other, "built", seed);
        check_equivalent(&block, &other, seed, "builder");
        optimised = block;
        ir_optimise(&optimised);
        check_valid(&optimised, "optimised", seed);
        check_equivalent(&block, &optimised, seed, "optimiser");
        ir_optimise(&other);
        check_valid(&other, "built and optimised", seed);
        check_equivalent(&block, &other, seed, "builder and optimiser");
    }
}

START_TEST(passes_keep_integer_blocks) { check_passes(IR_RANDOM_EXITS, 6000, 60); }
END_TEST

START_TEST(passes_keep_memory_and_calls) {
    check_passes(IR_RANDOM_EXITS | IR_RANDOM_MEMORY | IR_RANDOM_CALLS, 6000, 80);
}
END_TEST

START_TEST(passes_keep_vector_blocks) { check_passes(IR_RANDOM_VECTOR | IR_RANDOM_MEMORY, 3000, 80); }
END_TEST

START_TEST(passes_keep_everything) { check_passes(IR_RANDOM_ALL, 3000, 120); }
END_TEST

START_TEST(passes_keep_long_blocks) { check_passes(IR_RANDOM_ALL, 20, 3800); }
END_TEST

/* --- text ------------------------------------------------------------------------------------- */
struct text {
    char buf[400000];
    size_t len;
};
static void append_line(void *ctx, const char *line) {
    struct text *t = ctx;
    t->len += (size_t)snprintf(t->buf + t->len, sizeof(t->buf) - t->len, "%s\n", line);
}

START_TEST(text_round_trip) {
    static struct text first, second;
    char err[160];
    ir_parse_helpers = ir_random_helpers;
    for (unsigned k = 1; k <= 500; k++) {
        uint64_t s = k * UINT64_C(0x9e3779b97f4a7c15);
        ir_random_block(&block, &s, 100, IR_RANDOM_ALL);
        first.len = second.len = 0;
        ir_print(&block, append_line, &first);
        ck_assert_msg(ir_parse(&other, first.buf, err, sizeof(err)) == 0, "%s", err);
        ir_print(&other, append_line, &second);
        ck_assert_str_eq(first.buf, second.buf);
        ck_assert_uint_eq(block.count, other.count);
        for (unsigned v = 1; v < block.count; v++) {
            block.inst[v].aux = block.inst[v].op == IR_VCONST ? other.inst[v].aux : block.inst[v].aux;
            ck_assert_mem_eq(&block.inst[v], &other.inst[v], sizeof(struct ir_inst));
        }
    }
}
END_TEST

START_TEST(text_errors) {
    static const char *const wrong[] = {
        "  %1 = ADD",
        "  %1:i65 = CONST",
        "  %1:i64 CONST",
        "  FROB",
        "  %1:i64 = NOT %1",
        "  GOTO imm=zz",
        "  GOTO what=1",
        "block pc=q",
        "  %0:i64 = CONST",
        "  %9999:i64 = CONST",
        "  GOTO imm=11111111111111111111111111111111111111111111111111111111",
        "  CALL fn=nobody",
    };
    char err[160];
    for (size_t k = 0; k < ARRAY_LEN(wrong); k++) {
        err[0] = 0;
        ck_assert_msg(ir_parse(&block, wrong[k], err, sizeof(err)) == -1, "%s", wrong[k]);
        ck_assert_msg(memcmp(err, "line 1: ", 8) == 0, "%s gives %s", wrong[k], err);
    }
}
END_TEST

/* --- builder ---------------------------------------------------------------------------------- */
START_TEST(builder_folds) {
    ir_block_reset(&block, 0x1000, 0);
    struct ir_block *b = &block;
    irv x = ir_get(b, IR_I64, FAKE_X(0)), w = ir_get(b, IR_I32, FAKE_X(1));
    ck_assert_uint_eq(ir_op2i(b, IR_ADD, x, 0), x);
    ck_assert_uint_eq(ir_op2(b, IR_ADD, ir_const(b, IR_I64, 0), x), x);
    ck_assert_uint_eq(ir_op2i(b, IR_OR, x, 0), x);
    ck_assert_uint_eq(ir_op2i(b, IR_AND, w, 0xffffffff), w);
    ck_assert_uint_eq(ir_op2i(b, IR_SHL, w, 32), w);
    ck_assert_uint_eq(ir_op2i(b, IR_MUL, x, 1), x);
    irv z = ir_op1(b, IR_ZEXT32, w);
    ck_assert_uint_eq(ir_op1(b, IR_TRUNC, z), w);
    irv field = ir_bitfield(b, IR_UBFX, x, 0, 4, 20);
    ck_assert_uint_eq(ir_op1(b, IR_ZEXT32, ir_op1(b, IR_TRUNC, field)), field);
    irv c = ir_op2(b, IR_MUL, ir_const(b, IR_I64, 6), ir_const(b, IR_I64, 7));
    ck_assert(b->inst[c].op == IR_CONST && b->inst[c].imm == 42);
    ck_assert_uint_eq(ir_const(b, IR_I64, 42), c);
    irv s = ir_op2i(b, IR_MUL, x, 8);
    ck_assert(b->inst[s].op == IR_SHL && b->inst[b->inst[s].b].imm == 3);
    irv flags = ir_get(b, IR_FLAGS, FAKE_NZCV), ne = ir_cond(b, IR_NE, flags);
    irv set = ir_select(b, ne, ir_const(b, IR_I32, 0), ir_const(b, IR_I32, 1));
    ck_assert(b->inst[set].op == IR_COND && b->inst[set].cc == IR_EQ);
    ck_assert_uint_eq(ir_cmp(b, IR_CMP_NE, ne, ir_const(b, IR_I32, 0)), ne);
    irv big = ir_cmp(b, IR_CMP_ULT, ir_const(b, IR_I64, 5), x);
    ck_assert(b->inst[big].cc == IR_CMP_UGT && b->inst[big].a == x);
}
END_TEST

START_TEST(builder_overflows) {
    char err[160];
    ir_block_reset(&block, 0x1000, 0);
    unsigned whole = block.count;
    while (!block.overflow) {
        whole = block.count;
        irv x = ir_get(&block, IR_I64, FAKE_X(0));
        irv v = ir_op2(&block, IR_ADD, x, ir_get(&block, IR_I64, FAKE_X(1)));
        ck_assert_uint_eq(ir_type_of(&block, v), IR_I64);
        ir_put(&block, FAKE_X(0), v);
    }
    for (unsigned k = 0; k < 5000; k++) { /* a translator may go on for the rest of an instruction */
        irv f = ir_op2(&block, IR_SUB_FLAGS, ir_get(&block, IR_I64, 8192), ir_const(&block, IR_I64, k));
        ck_assert_uint_eq(ir_type_of(&block, f), IR_FLAGS);
        ck_assert_uint_eq(ir_type_of(&block, ir_get(&block, IR_V128, 8192)), IR_V128);
    }
    ck_assert_int_eq(ir_verify(&block, err, sizeof(err)), -1);
    block.count = (uint16_t)whole;
    block.overflow = false;
    ir_goto(&block, 0x2000);
    ck_assert(!block.overflow);
    check_valid(&block, "closed", 0);
}
END_TEST

/* --- interpreter: results known from elsewhere ------------------------------------------------ */
static uint64_t eval(unsigned op, unsigned type, uint64_t a, uint64_t b, unsigned lane, unsigned n) {
    struct ir_inst i = {.op = (uint8_t)op, .type = (uint8_t)type, .lane = (uint8_t)lane, .n = (uint8_t)n};
    if (op == IR_TRUNC)
        i.type = IR_I32;
    return ir_eval(&i, type, a, b, 0);
}

START_TEST(values) {
    const uint64_t min64 = UINT64_C(1) << 63, ones = ~UINT64_C(0);
    ck_assert_uint_eq(eval(IR_SDIV, IR_I64, min64, ones, 0, 0), min64);
    ck_assert_uint_eq(eval(IR_SDIV, IR_I32, 0x80000000u, 0xffffffffu, 0, 0), 0x80000000u);
    ck_assert_uint_eq(eval(IR_SDIV, IR_I32, 0xfffffff9u, 2, 0, 0), 0xfffffffdu);
    ck_assert_uint_eq(eval(IR_UDIV, IR_I64, 5, 0, 0, 0), 0);
    ck_assert_uint_eq(eval(IR_MULHU, IR_I64, ones, ones, 0, 0), ones - 1);
    ck_assert_uint_eq(eval(IR_MULHS, IR_I64, ones, ones, 0, 0), 0);
    ck_assert_uint_eq(eval(IR_CLZ, IR_I32, 0, 0, 0, 0), 32);
    ck_assert_uint_eq(eval(IR_CLZ, IR_I64, 1, 0, 0, 0), 63);
    ck_assert_uint_eq(eval(IR_CLZ, IR_I32, 1, 0, 0, 0), 31);
    ck_assert_uint_eq(eval(IR_RBIT, IR_I32, 1, 0, 0, 0), 0x80000000u);
    ck_assert_uint_eq(eval(IR_BSWAP, IR_I32, 0x11223344, 0, 0, 0), 0x44332211);
    ck_assert_uint_eq(eval(IR_BSWAP16, IR_I64, UINT64_C(0x1122334455667788), 0, 0, 0), UINT64_C(0x2211443366558877));
    ck_assert_uint_eq(eval(IR_SAR, IR_I32, 0x80000000u, 35, 0, 0), 0xf0000000u);
    ck_assert_uint_eq(eval(IR_ROR, IR_I32, 0x80000001u, 1, 0, 0), 0xc0000000u);
    ck_assert_uint_eq(eval(IR_SBFX, IR_I32, 0x00000f00, 0, 8, 4), 0xffffffffu);
    ck_assert_uint_eq(eval(IR_UBFX, IR_I64, ones, 0, 60, 4), 15);
    ck_assert_uint_eq(eval(IR_BFI, IR_I64, 0, ones, 4, 8), 0xff0);
    ck_assert_uint_eq(eval(IR_BFI, IR_I64, 1, ones, 0, 64), ones);
    ck_assert_uint_eq(eval(IR_EXTR, IR_I32, 0x11111111, 0x22222222, 0, 8), 0x11222222);
    ck_assert_uint_eq(eval(IR_SUB_FLAGS, IR_I64, 0, 0, 0, 0), 0x60000000);
    ck_assert_uint_eq(eval(IR_SUB_FLAGS, IR_I32, 0x80000000u, 1, 0, 0), 0x30000000);
    ck_assert_uint_eq(eval(IR_ADD_FLAGS, IR_I32, 0x7fffffff, 1, 0, 0), 0x90000000u);
    ck_assert_uint_eq(eval(IR_ADD_FLAGS, IR_I64, ones, 1, 0, 0), 0x60000000);
    ck_assert_uint_eq(eval(IR_LOGIC_FLAGS, IR_I32, 0x80000000u, 0, 0, 0), 0x80000000u);
    /* "123456789" has the check value e3069283 with both inversions. */
    uint32_t crc = (uint32_t)eval(IR_CRC32C, IR_I64, 0xffffffffu, UINT64_C(0x3837363534333231), 3, 0);
    ck_assert_uint_eq(~(uint32_t)eval(IR_CRC32C, IR_I32, crc, '9', 0, 0), 0xe3069283u);
}
END_TEST

static v128 eval_vec(unsigned op, unsigned lane, unsigned n, v128 a, v128 b) {
    struct ir_inst i = {.op = (uint8_t)op, .type = IR_V128, .lane = (uint8_t)lane, .n = (uint8_t)n};
    v128 r = {{0}};
    ir_eval_vec(&i, &r, &a, &b, &b, a.u64[0]);
    return r;
}
#define CK_V(v_, hi, lo)                                                                                               \
    do {                                                                                                               \
        v128 got = v_;                                                                                                 \
        ck_assert_uint_eq(got.u64[1], UINT64_C(hi));                                                                   \
        ck_assert_uint_eq(got.u64[0], UINT64_C(lo));                                                                   \
    } while (0)
#define V(hi, lo) ((v128){.u64 = {UINT64_C(lo), UINT64_C(hi)}})

START_TEST(vector_values) {
    v128 a = V(0x0f0e0d0c0b0a0908, 0x0706050403020100), b = V(0x1f1e1d1c1b1a1918, 0x1716151413121110);
    CK_V(eval_vec(IR_VZIP1, 0, 0, a, b), 0x1707160615051404, 0x1303120211011000);
    CK_V(eval_vec(IR_VZIP2, 3, 0, a, b), 0x1f1e1d1c1b1a1918, 0x0f0e0d0c0b0a0908);
    CK_V(eval_vec(IR_VUZP1, 1, 0, a, b), 0x1d1c191815141110, 0x0d0c090805040100);
    CK_V(eval_vec(IR_VTRN2, 2, 0, a, b), 0x1f1e1d1c0f0e0d0c, 0x1716151407060504);
    CK_V(eval_vec(IR_VEXT, 0, 3, a, b), 0x1211100f0e0d0c0b, 0x0a09080706050403);
    CK_V(eval_vec(IR_VREV, 0, 3, a, b), 0x08090a0b0c0d0e0f, 0x0001020304050607);
    CK_V(eval_vec(IR_VREV, 1, 2, a, b), 0x0d0c0f0e09080b0a, 0x0504070601000302);
    CK_V(eval_vec(IR_VTBL, 0, 0, a, V(0xff10, 0x0f00010203040506)), 0x0, 0x0f00010203040506);
    CK_V(eval_vec(IR_VSQADD, 0, 0, V(0, 0x7f80), V(0, 0x01ff)), 0, 0x7f80);
    CK_V(eval_vec(IR_VUQSUB, 1, 0, V(0, 0x00010005), V(0, 0x00020003)), 0, 2);
    CK_V(eval_vec(IR_VSARI, 0, 8, V(0, 0x807f), a), 0, 0xff00);
    CK_V(eval_vec(IR_VNARROW, 1, 0, a, b), 0, 0x0e0c0a0806040200);
    CK_V(eval_vec(IR_VSXTL, 0, 0, V(0, 0x80), b), 0, 0xff80);
    CK_V(eval_vec(IR_VMULLS, 0, 0, V(2, 0xffffffff), V(3, 5)), 6, 0xfffffffffffffffb);
    CK_V(eval_vec(IR_VPMULL, 3, 0, V(0, 0x8000000000000001), V(0, 3)), 1, 0x8000000000000003);
    /* FIPS 197, appendix B, round 1: SubBytes and ShiftRows of the start of round, then MixColumns; and back. */
    v128 start =
        (v128){.u8 = {0x19, 0x3d, 0xe3, 0xbe, 0xa0, 0xf4, 0xe2, 0x2b, 0x9a, 0xc6, 0x8d, 0x2a, 0xe9, 0xf8, 0x48, 0x08}};
    v128 sub =
        (v128){.u8 = {0xd4, 0xbf, 0x5d, 0x30, 0xe0, 0xb4, 0x52, 0xae, 0xb8, 0x41, 0x11, 0xf1, 0x1e, 0x27, 0x98, 0xe5}};
    v128 mix =
        (v128){.u8 = {0x04, 0x66, 0x81, 0xe5, 0xe0, 0xcb, 0x19, 0x9a, 0x48, 0xf8, 0xd3, 0x7a, 0x28, 0x06, 0x26, 0x4c}};
    v128 r = eval_vec(IR_VAESE, 0, 0, start, b);
    ck_assert_mem_eq(&r, &sub, 16);
    r = eval_vec(IR_VAESMC, 0, 0, sub, b);
    ck_assert_mem_eq(&r, &mix, 16);
    r = eval_vec(IR_VAESD, 0, 0, sub, b);
    ck_assert_mem_eq(&r, &start, 16);
    r = eval_vec(IR_VAESIMC, 0, 0, mix, b);
    ck_assert_mem_eq(&r, &sub, 16);
}
END_TEST

/* Flags that are saved, against the operations that make them, and comparisons of doubles against the host's. */
START_TEST(saved_flags) {
    static const uint8_t op[] = {IR_ADD_FLAGS, IR_SUB_FLAGS, IR_LOGIC_FLAGS};
    static struct ir_block b;
    uint64_t seed = 1;
    for (unsigned k = 0; k < 20000; k++) {
        const unsigned type = k & 1 ? IR_I64 : IR_I32, kind = k / 2 % 3;
        uint64_t x = random_interesting(&seed), y = k % 5 ? random_interesting(&seed) : random_next(&seed) >> 46;
        b.inst[1] = (struct ir_inst){.op = IR_GET, .type = (uint8_t)type};
        b.inst[2] = (struct ir_inst){.op = k % 5 ? IR_GET : IR_CONST, .type = (uint8_t)type, .imm = y};
        const struct ir_inst flags = {.op = op[kind], .type = IR_FLAGS, .a = 1, .b = kind == 2 ? 0 : 2};
        const uint32_t code = ir_flags_code(&b, &flags);
        const bool has_imm = kind != 2 && k % 5 == 0 && y < 65536;
        ck_assert(code && code < IR_FLAGS_CODES && !(code & IR_FLAGS_IMM) == !has_imm);
        ck_assert_uint_eq(ir_flags_saved(code, x, has_imm ? random_next(&seed) : y),
                          (uint32_t)ir_eval(&flags, type, x & ir_type_mask(type), y & ir_type_mask(type), 0));
    }
    for (unsigned k = 0; k < 20000; k++) {
        struct ir_inst flags = {.op = IR_FCMP_FLAGS, .type = IR_FLAGS, .lane = 2 + k % 2, .a = 1, .b = 2};
        uint64_t x = random_interesting(&seed), y = k % 7 ? random_interesting(&seed) : x;
        double d[2];
        float f[2] = {0};
        memcpy(&d[0], &x, 8);
        memcpy(&d[1], &y, 8);
        memcpy(&f[0], &x, 4);
        memcpy(&f[1], &y, 4);
        if (k % 2 == 0) {
            d[0] = f[0];
            d[1] = f[1];
        }
        const uint32_t nzcv = d[0] < d[1] ? 8 : d[0] == d[1] ? 6 : d[0] > d[1] ? 2 : 3;
        ck_assert_uint_eq(ir_flags_saved(ir_flags_code(&b, &flags), x, y) >> 28, nzcv);
    }
    b.flags = IR_BLOCK_SOFTFP;
    ck_assert_uint_eq(ir_flags_code(&b, &(struct ir_inst){.op = IR_FCMP_FLAGS, .lane = 3, .a = 1, .b = 2}), 0);
    ck_assert_uint_eq(ir_flags_code(&b, &(struct ir_inst){.op = IR_FLAGS_FROM, .a = 1}), 0);
}
END_TEST

/* Every condition against its definition in terms of a comparison. */
START_TEST(conditions) {
    static const uint8_t cond[] = {IR_EQ, IR_NE, IR_CC, IR_CS, IR_LS, IR_HI, IR_LT, IR_GE, IR_LE, IR_GT};
    uint64_t seed = 1;
    for (unsigned k = 0; k < 20000; k++) {
        unsigned type = k & 1 ? IR_I64 : IR_I32;
        uint64_t a = random_interesting(&seed) & ir_type_mask(type), b = random_interesting(&seed) & ir_type_mask(type);
        uint32_t nzcv = (uint32_t)eval(IR_SUB_FLAGS, type, a, b, 0, 0);
        for (unsigned cc = 0; cc < ARRAY_LEN(cond); cc++) {
            struct ir_inst cmp = {.op = IR_CMP, .type = IR_I32, .cc = (uint8_t)cc};
            ck_assert_uint_eq(ir_eval(&cmp, type, a, b, 0), ir_eval_cond(cond[cc], nzcv));
        }
        int64_t diff = type == IR_I64 ? (int64_t)(a - b) : (int32_t)(a - b);
        ck_assert(ir_eval_cond(IR_MI, nzcv) == (diff < 0) && ir_eval_cond(IR_PL, nzcv) == (diff >= 0));
        int64_t sink;
        bool overflow = type == IR_I64 ? __builtin_sub_overflow((int64_t)a, (int64_t)b, &sink)
                                       : diff != (int64_t)(int32_t)a - (int32_t)b;
        ck_assert(ir_eval_cond(IR_VS, nzcv) == overflow && ir_eval_cond(IR_VC, nzcv) == !overflow);
    }
}
END_TEST

START_TEST(store_exclusive) {
    static struct fake_cpu cpu;
    ir_block_reset(&block, 0x1000, 0);
    irv failed = ir_stx(&block, 2, ir_get(&block, IR_I64, FAKE_X(0)), ir_const(&block, IR_I64, 77), 0, 0);
    ir_put(&block, FAKE_X(1), ir_op1(&block, IR_ZEXT32, failed));
    ir_goto(&block, 0x1004);
    for (unsigned how = 0; how < 3; how++) {
        fake_cpu_init(&cpu);
        memset(fake_memory, 0x55, sizeof(fake_memory));
        cpu.x[0] = FAKE_MEM_BASE + 16;
        cpu.c.excl_addr = how == 1 ? FAKE_MEM_BASE : FAKE_MEM_BASE + 16;
        cpu.c.excl_val[0] = how == 2 ? 0x55555554 : 0x55555555;
        ck_assert(fake_interpret(&block, &cpu));
        ck_assert_uint_eq(cpu.x[1], how != 0);
        ck_assert_uint_eq(fake_memory[16], how == 0 ? 77 : 0x55);
        ck_assert_uint_eq(fake_memory[20], 0x55);
        ck_assert_uint_eq(cpu.c.excl_addr, ~UINT64_C(0));
    }
}
END_TEST

START_TEST(formats) {
    char s[64];
    ck_assert_int_eq(rt_snprintf(s, sizeof(s), "%d|%5d|%-5d|%05d|%u", -7, 42, 42, -42, 4000000000u), 31);
    ck_assert_str_eq(s, "-7|   42|42   |-0042|4000000000");
    rt_snprintf(s, sizeof(s), "%x %08lx %llx %X %p %zu", 255u, 0xabcul, 1ull << 63, 0xbeefu, (void *)0x1234, (size_t)9);
    ck_assert_str_eq(s, "ff 00000abc 8000000000000000 BEEF 0x1234 9");
    rt_snprintf(s, sizeof(s), "%s|%6s|%-6s|%.2s|%c%%", "ab", "cd", "ef", "ghi", 'j');
    ck_assert_str_eq(s, "ab|    cd|ef    |gh|j%");
    rt_snprintf(s, sizeof(s), "%*d|%.*s|%lld|%.3d", 4, 5, 1, "xyz", (long long)INT64_MIN, 7);
    ck_assert_str_eq(s, "   5|x|-9223372036854775808|007");
    ck_assert_int_eq(rt_snprintf(s, 4, "hello"), 5);
    ck_assert_str_eq(s, "hel");
    ck_assert_int_eq(rt_snprintf(s, 0, "%d", 0), 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("ir");
    TCase *t = tcase_create("ir");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, formats);
    tcase_add_test(t, values);
    tcase_add_test(t, vector_values);
    tcase_add_test(t, saved_flags);
    tcase_add_test(t, conditions);
    tcase_add_test(t, store_exclusive);
    tcase_add_test(t, builder_folds);
    tcase_add_test(t, builder_overflows);
    tcase_add_test(t, text_round_trip);
    tcase_add_test(t, text_errors);
    tcase_add_test(t, passes_keep_integer_blocks);
    tcase_add_test(t, passes_keep_memory_and_calls);
    tcase_add_test(t, passes_keep_vector_blocks);
    tcase_add_test(t, passes_keep_everything);
    tcase_add_test(t, passes_keep_long_blocks);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
