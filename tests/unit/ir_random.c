/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ir_random.c: see ir_random.h. */
#include "ir_random.h"

#include <string.h>

#include "dbt/ir_priv.h"
#include "graft/softfp.h"

uint64_t random_next(uint64_t *seed) {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned below(uint64_t *seed, unsigned n) { return (unsigned)((random_next(seed) >> 32) % n); }

uint64_t random_interesting(uint64_t *seed) {
    unsigned bits = below(seed, 65);
    switch (below(seed, 10)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return ~UINT64_C(0);
    case 3: return bits ? BIT(bits - 1) : 0;
    case 4: return MASK(bits);
    case 5: return BIT(31) - below(seed, 3) + 1;
    case 6: return BIT(63) - below(seed, 3) + 1;
    case 7: return below(seed, 256);
    case 8: return (uint32_t)random_next(seed);
    default: return random_next(seed);
    }
}

/* --- helpers that blocks call ----------------------------------------------------------------- */
static uint64_t pure_mix(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return a * 3 + (b ^ c); }

/* Reads and writes guest state; raises when a's low bits say so. */
static uint64_t state_shuffle(struct cpu *cpu, uint64_t a, uint64_t b, uint64_t c) {
    struct fake_cpu *f = (struct fake_cpu *)cpu;
    f->x[1] += f->x[0] ^ a;
    f->v[1].u64[1] += f->v[0].u64[0] + b;
    f->nzcv = ir_flags_pack((uint32_t)c & 0xf0000000u);
    fp_sync(cpu); /* status that translated code has in MXCSR yet */
    f->c.fp.fpsr = (uint32_t)a & 0x9f;
    if ((a & 7) == 7)
        fake_raise(cpu);
    return f->x[2] + f->pc;
}

/* A saturating operation: sets QC. */
static void vector_saturate(struct cpu *cpu, v128 *r, const v128 *a, const v128 *b, const v128 *c, uint32_t aux) {
    v128 x = *a, y = *b;
    for (unsigned k = 0; k < 2; k++) {
        uint64_t sum = x.u64[k] + y.u64[k];
        cpu->fp.qc.u64[k] |= sum < x.u64[k] ? aux : 0;
        r->u64[k] = sum < x.u64[k] ? ~UINT64_C(0) : sum;
    }
}

IR_HELPER(pure_mix, IR_HELPER_PURE);
IR_HELPER(state_shuffle, IR_HELPER_STATE);
IR_HELPER(vector_saturate, IR_HELPER_PURE);
const struct ir_helper *const ir_random_helpers[] = {&helper_pure_mix, &helper_state_shuffle, &helper_vector_saturate,
                                                     NULL};

/* --- building --------------------------------------------------------------------------------- */
#define RANDOM_AHEAD 4
struct gen {
    struct ir_block *b;
    uint64_t *seed;
    unsigned features;
    irv address;                  /* of the last access */
    unsigned floor;               /* the last LABEL: no value of before it is used */
    uint64_t ahead[RANDOM_AHEAD]; /* pcs to which exits inside the block lead, or 0 */
};

static irv add(struct gen *g, struct ir_inst i) { return ir_append(g->b, &i); }

static irv add_const(struct gen *g, unsigned type) {
    if (type == IR_V128) {
        int slot = ir_vconst_slot(g->b, random_interesting(g->seed), random_interesting(g->seed));
        return add(g, (struct ir_inst){.op = IR_VCONST, .type = IR_V128, .aux = slot < 0 ? 0 : (uint32_t)slot});
    }
    return add(g, (struct ir_inst){
                      .op = IR_CONST, .type = (uint8_t)type, .imm = random_interesting(g->seed) & ir_type_mask(type)});
}

static uint64_t random_offset(struct gen *g, unsigned type) {
    if (type == IR_FLAGS)
        return FAKE_NZCV;
    if (type == IR_V128)
        return below(g->seed, 4) ? FAKE_V(below(g->seed, 3)) : offsetof(struct cpu, fp.qc);
    switch (below(g->seed, 16)) {
    case 0: return offsetof(struct cpu, excl_addr);
    case 1: return offsetof(struct cpu, excl_val);
    case 2: return FAKE_V(below(g->seed, 3)) + 8 * below(g->seed, 2);
    default: return FAKE_X(below(g->seed, 5));
    }
}

static irv add_get(struct gen *g, unsigned type) {
    return add(g, (struct ir_inst){.op = IR_GET, .type = (uint8_t)type, .imm = random_offset(g, type)});
}

/* A value of a type: one of the last few, or a new constant or register. */
static irv value(struct gen *g, unsigned type) {
    for (unsigned tries = 0; tries < 12 && g->b->count > 1; tries++) {
        unsigned back = 1 + below(g->seed, g->b->count > 25 ? 24 : g->b->count - 1u);
        irv v = (irv)(g->b->count - back);
        if (v > g->floor && g->b->inst[v].type == type)
            return v;
    }
    if (type == IR_FLAGS) {
        if (below(g->seed, 2))
            return add_get(g, type);
        irv a = value(g, IR_I32);
        return add(g, (struct ir_inst){.op = IR_FLAGS_FROM, .type = IR_FLAGS, .a = a});
    }
    return below(g->seed, 3) ? add_get(g, type) : add_const(g, type);
}

static unsigned int_type(struct gen *g) { return below(g->seed, 2) ? IR_I64 : IR_I32; }

/* An operand by its letter in ir_ops.def; own: type for i and x. */
static irv operand(struct gen *g, char letter, unsigned own) {
    switch (letter) {
    case 'w': return value(g, IR_I32);
    case 'l': return value(g, IR_I64);
    case 'v': return value(g, IR_V128);
    case 'f': return value(g, IR_FLAGS);
    case 0: return 0;
    default: return value(g, own);
    }
}

static void random_bitfield(struct gen *g, struct ir_inst *i) {
    unsigned width = i->type == IR_I32 ? 32 : 64;
    if (i->op == IR_EXTR) {
        i->n = (uint8_t)below(g->seed, width);
        return;
    }
    static const uint8_t lengths[] = {1, 8, 16, 32};
    i->lane = (uint8_t)(below(g->seed, 2) ? 0 : below(g->seed, width));
    i->n = (uint8_t)(below(g->seed, 2) ? lengths[below(g->seed, 4)] : 1 + below(g->seed, width));
    if (i->lane + i->n > width)
        i->n = (uint8_t)(width - i->lane);
}

static void random_vector(struct gen *g, struct ir_inst *i) {
    i->lane = (uint8_t)below(g->seed, 4);
    switch (i->op) {
    case IR_VMUL:
    case IR_VSXTL:
    case IR_VUXTL: i->lane = (uint8_t)below(g->seed, 3); break;
    case IR_VNARROW: i->lane = (uint8_t)(1 + below(g->seed, 3)); break;
    case IR_VAVGU: i->lane = (uint8_t)below(g->seed, 2); break;
    case IR_VREV:
        i->lane = (uint8_t)below(g->seed, 3);
        i->n = (uint8_t)(i->lane + 1 + below(g->seed, 3u - i->lane));
        break;
    case IR_VSHLI: i->n = (uint8_t)below(g->seed, 8u << i->lane); break;
    case IR_VSHRI:
    case IR_VSARI: i->n = (uint8_t)below(g->seed, (8u << i->lane) + 1); break;
    case IR_VEXT: i->n = (uint8_t)below(g->seed, 16); break;
    case IR_VDUPLANE:
    case IR_VINS:
    case IR_VGET: i->n = (uint8_t)below(g->seed, 16u >> i->lane); break;
    default: break;
    }
}

static void random_float(struct gen *g, struct ir_inst *i) {
    i->lane = (uint8_t)(2 + below(g->seed, 2));
    unsigned most = i->op == IR_VFWIDEN || i->op == IR_VFNARROW ? 2 : 16u >> i->lane;
    i->n = (uint8_t)(1 + below(g->seed, most));
    if (i->op == IR_VFWIDEN || i->op == IR_VFNARROW)
        i->lane = i->op == IR_VFWIDEN ? 2 : 3;
    if (i->op <= IR_VFMA && i->n == 1 && below(g->seed, 2))
        i->flags = IR_FP_MERGE;
    bool rounds = i->op >= IR_VFRINT && i->op <= IR_VFTOU;
    if (rounds || i->op == IR_FTOS || i->op == IR_FTOU)
        i->cc = (uint8_t)below(g->seed, IR_RN_CURRENT + 1);
    if (i->op == IR_FTOS || i->op == IR_FTOU || i->op == IR_STOF || i->op == IR_UTOF || i->op == IR_FCMP_FLAGS)
        i->n = 1;
    bool fixed = (i->op >= IR_VFTOS && i->op <= IR_VUTOF) || (i->op >= IR_FTOS && i->op <= IR_UTOF);
    i->aux = fixed && below(g->seed, 4) == 0 ? 1 + below(g->seed, 31) : 0;
}

void ir_random_fields(struct ir_inst *i, unsigned own, uint64_t *seed) {
    struct gen g = {.seed = seed};
    if (i->op >= IR_UBFX && i->op <= IR_EXTR)
        random_bitfield(&g, i);
    else if (i->op == IR_CRC32C)
        i->lane = (uint8_t)below(seed, own == IR_I64 ? 4 : 3);
    else if (i->op == IR_CMP)
        i->cc = (uint8_t)below(seed, IR_CMP_SGT + 1);
    else if (i->op == IR_COND)
        i->cc = (uint8_t)below(seed, IR_AL + 1);
    else if (i->op == IR_FLAGS_SELECT)
        i->imm = below(seed, 16);
    else if (i->op >= IR_VFADD)
        random_float(&g, i);
    else if (i->op >= IR_VAND)
        random_vector(&g, i);
}

/* The same operation as one of the last few again. */
static void add_repeated(struct gen *g) {
    unsigned back = 1 + below(g->seed, g->b->count > 20 ? 19 : g->b->count - 1u);
    struct ir_inst i = g->b->inst[g->b->count - back];
    if (ir_op_info[i.op].pure && g->b->count - back > g->floor) {
        irv v = add(g, i);
        add(g, (struct ir_inst){.op = IR_PUT,
                                .a = i.type == IR_V128 || i.type == IR_I64 ? v : value(g, IR_I64),
                                .imm = i.type == IR_V128 ? FAKE_V(below(g->seed, 3)) : FAKE_X(below(g->seed, 5))});
    }
}

/* Any operation that has no effect but its value. */
static void add_pure(struct gen *g) {
    static const uint8_t int_last = IR_COND, vector_last = IR_VAESIMC;
    unsigned op;
    do {
        unsigned end = g->features & IR_RANDOM_FLOAT    ? IR_OP_COUNT
                       : g->features & IR_RANDOM_VECTOR ? vector_last + 1u
                                                        : int_last + 1u;
        op =
            below(g->seed, 3) ? IR_ADD + below(g->seed, int_last + 1u - IR_ADD) : IR_ADD + below(g->seed, end - IR_ADD);
    } while (!ir_op_info[op].pure || op == IR_CALLV || (op >= IR_VFADD && !(g->features & IR_RANDOM_FLOAT)));
    const struct ir_op_info *info = &ir_op_info[op];
    struct ir_inst i = {.op = (uint8_t)op};
    unsigned own = int_type(g);
    i.type = info->result == 'i'   ? (uint8_t)own
             : info->result == 'w' ? IR_I32
             : info->result == 'l' ? IR_I64
             : info->result == 'v' ? IR_V128
                                   : IR_FLAGS;
    i.a = operand(g, info->operands[0], own);
    if (info->operands[0]) {
        i.b = operand(g, info->operands[1], own);
        i.c = info->operands[1] ? operand(g, info->operands[2], own) : 0;
    }
    if (below(g->seed, 12) == 0 && i.b && g->b->inst[i.a].type == g->b->inst[i.b].type)
        i.b = i.a;
    ir_random_fields(&i, i.b ? g->b->inst[i.b].type : own, g->seed);
    if (op == IR_ADC || op == IR_SBC || op == IR_ADC_FLAGS || op == IR_SBC_FLAGS) {
        irv flags = value(g, IR_FLAGS);
        i.c = below(g->seed, 4) ? add(g, (struct ir_inst){.op = IR_COND, .type = IR_I32, .cc = IR_CS, .a = flags})
                                : add(g, (struct ir_inst){.op = IR_CONST, .type = IR_I32, .imm = below(g->seed, 2)});
    }
    irv v = add(g, i);
    /* Flags and arithmetic of the same operands often come together. */
    if ((op == IR_SUB || op == IR_ADD) && below(g->seed, 2)) {
        if (own == IR_I64 && below(g->seed, 2))
            add(g, (struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_X(below(g->seed, 5))});
        i.op = op == IR_SUB ? IR_SUB_FLAGS : IR_ADD_FLAGS;
        i.type = IR_FLAGS;
        add(g, i);
    }
}

static void add_put(struct gen *g) {
    static const uint8_t types[] = {IR_I64, IR_I64, IR_I64, IR_FLAGS, IR_V128};
    unsigned type = types[below(g->seed, 5)];
    irv v = value(g, type);
    add(g, (struct ir_inst){.op = IR_PUT, .a = v, .imm = random_offset(g, type)});
}

/* An address, mostly inside the memory, often near the last one. */
static irv address(struct gen *g) {
    if (g->address && below(g->seed, 2))
        return g->address;
    irv x = value(g, IR_I64);
    if (below(g->seed, 8) == 0)
        return x;
    irv mask = add(g, (struct ir_inst){.op = IR_CONST, .type = IR_I64, .imm = FAKE_MEM_BYTES - 8});
    irv base = add(g, (struct ir_inst){.op = IR_CONST, .type = IR_I64, .imm = FAKE_MEM_BASE});
    irv low = add(g, (struct ir_inst){.op = IR_AND, .type = IR_I64, .a = x, .b = mask});
    return g->address = add(g, (struct ir_inst){.op = IR_ADD, .type = IR_I64, .a = base, .b = low});
}

static void add_memory(struct gen *g) {
    static const uint8_t types[] = {IR_I64, IR_I64, IR_I32, IR_V128};
    unsigned type = types[below(g->seed, 4)];
    unsigned op = IR_LD + below(g->seed, IR_STX + 1 - IR_LD);
    struct ir_inst i = {.op = (uint8_t)op, .a = address(g), .lane = (uint8_t)below(g->seed, 4)};
    if (op == IR_LD || op == IR_ST) {
        i.lane = (uint8_t)below(g->seed, type == IR_V128 ? 5 : type == IR_I32 ? 3 : 4);
        i.imm = (uint64_t)(int64_t)((int)below(g->seed, 32) - 8);
    }
    switch (op) {
    case IR_LD:
        i.type = (uint8_t)type;
        i.flags = type != IR_V128 && below(g->seed, 2) ? IR_MEM_SEXT : 0;
        break;
    case IR_ST: i.b = value(g, type); break;
    case IR_STX:
        i.type = IR_I32;
        i.b = value(g, IR_I64);
        if (below(g->seed, 2))
            add(g, (struct ir_inst){.op = IR_PUT, .a = i.a, .imm = offsetof(struct cpu, excl_addr)});
        break;
    default:
        i.type = IR_I64;
        i.n = (uint8_t)(op == IR_ATOMIC ? below(g->seed, IR_ATOMIC_SWP + 1) : 0);
        i.b = value(g, IR_I64);
        i.c = op == IR_CAS ? value(g, IR_I64) : 0;
        break;
    }
    add(g, i);
}

static void add_call(struct gen *g) {
    irv a, b, c;
    switch (below(g->seed, 5)) {
    case 0:
        a = value(g, IR_I64);
        b = value(g, IR_I64);
        c = value(g, IR_I64);
        add(g, (struct ir_inst){
                   .op = IR_CALL, .type = IR_I64, .a = a, .b = b, .c = c, .imm = (uintptr_t)&helper_state_shuffle});
        break;
    case 1:
    case 2:
        a = value(g, IR_V128);
        b = value(g, IR_V128);
        add(g, (struct ir_inst){.op = IR_CALLV,
                                .type = IR_V128,
                                .a = a,
                                .b = b,
                                .aux = 1 + below(g->seed, 3),
                                .imm = (uintptr_t)&helper_vector_saturate});
        break;
    default:
        a = value(g, IR_I64);
        b = value(g, IR_I64);
        add(g, (struct ir_inst){.op = IR_CALL, .type = IR_I64, .a = a, .b = b, .imm = (uintptr_t)&helper_pure_mix});
        break;
    }
}

static void add_exit(struct gen *g) {
    irv v = value(g, IR_I64);
    switch (below(g->seed, 3)) {
    case 0: add(g, (struct ir_inst){.op = IR_GOTO, .imm = 0x2000}); break;
    case 1: add(g, (struct ir_inst){.op = IR_GOTO_REG, .a = v, .cc = (uint8_t)below(g->seed, 3)}); break;
    default:
        add(g, (struct ir_inst){.op = IR_PUT, .a = v, .imm = FAKE_PC});
        add(g, (struct ir_inst){.op = IR_EXIT});
        break;
    }
}

/* A guest instruction; some that an exit leads to have a label, and one has it where none leads. */
static void add_insn(struct gen *g, uint64_t pc) {
    bool label = below(g->seed, 40) == 0;
    for (unsigned k = 0; k < RANDOM_AHEAD; k++) {
        label |= g->ahead[k] == pc && below(g->seed, 4);
        g->ahead[k] = g->ahead[k] == pc ? 0 : g->ahead[k];
    }
    if (label && g->features & IR_RANDOM_EXITS) {
        g->floor = g->b->count;
        g->address = 0;
        g->b->labels = 1; /* enough to be looked for */
        add(g, (struct ir_inst){.op = IR_LABEL, .imm = pc});
    }
    add(g, (struct ir_inst){.op = IR_INSN, .imm = pc});
}
static void add_exit_if(struct gen *g, uint64_t pc) {
    irv cond = value(g, IR_I32);
    irv flags = below(g->seed, 2) ? value(g, IR_FLAGS) : 0;
    struct ir_inst i = {.op = IR_EXIT_IF, .a = cond, .b = flags, .imm = pc + 64};
    if (below(g->seed, 4)) {
        i.flags = IR_EXIT_INSIDE;
        i.imm = g->ahead[below(g->seed, RANDOM_AHEAD)] = pc + 4 * (uint64_t)below(g->seed, 5);
    }
    add(g, i);
}

void ir_random_block(struct ir_block *b, uint64_t *seed, unsigned size, unsigned features) {
    struct gen g = {.b = b, .seed = seed, .features = features};
    uint64_t pc = 0x1000;
    ir_block_reset(b, pc, 0);
    if (!(features & IR_RANDOM_MEMORY) && below(seed, 2)) /* flags are compared at faults too */
        b->flags = IR_BLOCK_LAZY_FLAGS;
    while (b->count < size) {
        unsigned kind = below(seed, 32);
        if (kind < 4) {
            add_insn(&g, pc);
            pc += 4;
            b->insns++;
            b->guest_bytes += 4;
        } else if (kind < 11) {
            add_put(&g);
        } else if (kind == 11 && (features & IR_RANDOM_EXITS)) {
            add_exit_if(&g, pc);
        } else if ((kind == 12 || kind == 13) && (features & IR_RANDOM_CALLS)) {
            add_call(&g);
        } else if (kind < 16 && (features & IR_RANDOM_MEMORY)) {
            add_memory(&g);
        } else if (kind == 16 && b->count > 1) {
            add_repeated(&g);
        } else {
            add_pure(&g);
        }
    }
    add_exit(&g);
}

void ir_random_state(struct fake_cpu *cpu, uint64_t *seed) {
    fake_cpu_init(cpu);
    for (unsigned n = 0; n < 32; n++) {
        cpu->x[n] = below(seed, 4) ? random_interesting(seed) : FAKE_MEM_BASE + (below(seed, FAKE_MEM_BYTES) & ~7u);
        cpu->v[n].u64[0] = random_interesting(seed);
        cpu->v[n].u64[1] = random_interesting(seed);
    }
    cpu->nzcv = ir_flags_pack((uint32_t)random_next(seed));
    cpu->c.excl_addr = FAKE_MEM_BASE + 8 * below(seed, 8);
    for (unsigned k = 0; k < FAKE_MEM_BYTES; k += 8) {
        uint64_t x = random_interesting(seed);
        memcpy(fake_memory + k, &x, 8);
    }
    memcpy(&cpu->c.excl_val[0], fake_memory + (cpu->c.excl_addr - FAKE_MEM_BASE), 8);
}
