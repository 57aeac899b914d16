/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* translate.c: guest code -> IR -> optimised IR -> host code, and what `-d in,ir,out` shows of it. */
#include "dbt/engine.h"

#define BLOCK_MAX_INSNS 128
#define ERR_BYTES 160

/* Checking every pass pays in builds with sanitizers and under -d ir. */
#ifdef __SANITIZE_ADDRESS__
#define VERIFY_ALWAYS true
#else
#define VERIFY_ALWAYS false
#endif

/* Is the block one of those that the user wants to see? */
static bool shown(const struct cpu *cpu, uint64_t pc, uint64_t bytes, uint32_t topic) {
    const struct abi_boot *boot = cpu->boot;
    return boot->log_topics & topic && pc <= boot->dump_last && pc + (bytes ? bytes - 1 : 0) >= boot->dump_first;
}

bool translate_shown(const struct cpu *cpu, const struct block *b, uint32_t topic) {
    return shown(cpu, b->pc, b->guest_bytes, topic);
}

static void print_line(void *ctx, const char *line) { rt_log(ctx, ABI_LOG_IR, "%s\n", line); }

static void show_ir(struct cpu *cpu, const struct ir_block *b, const char *pass) {
    if (!shown(cpu, b->pc, b->guest_bytes, ABI_LOG_IR))
        return;
    rt_log(cpu, ABI_LOG_IR, "IR %s, pc %016llx mode %x\n", pass, (unsigned long long)b->pc, b->mode);
    ir_print(b, print_line, cpu);
}

static void verify(struct cpu *cpu, const struct ir_block *b, const char *pass) {
    char err[ERR_BYTES];
    if (!VERIFY_ALWAYS && !(cpu->boot->log_topics & ABI_LOG_IR))
        return;
    if (ir_verify(b, err, sizeof(err)))
        rt_panic(cpu, "IR of %llx is wrong after %s: %s", (unsigned long long)b->pc, pass, err);
}

static void dump_code(struct cpu *cpu, const struct ir_block *b, uint32_t topic, const void *p, uint64_t bytes,
                      unsigned kind) {
    if (!shown(cpu, b->pc, b->guest_bytes, topic) || !bytes)
        return;
    cpu->abi.arg[0] = (uintptr_t)p;
    cpu->abi.arg[1] = bytes;
    cpu->abi.arg[2] = kind;
    cpu->abi.arg[3] = b->pc;
    rt_call(cpu, ABI_CALL_DUMP);
}

/* The IR of at most max guest instructions, into a block that has been reset. */
static void build(struct cpu *cpu, struct ir_block *b, const void *words, unsigned max) {
    const struct engine *e = engine_of(cpu);
    const uint64_t pc = b->pc;
    b->before = (uint32_t)(pc & PAGE_MASK);
    if (cpu->boot->count) {
        b->insn_counter = offsetof(struct abi_vcpu, stats[ABI_STAT_insns_executed]);
        ir_count(b, offsetof(struct abi_vcpu, stats[ABI_STAT_blocks_executed]));
    }
    unsigned bytes = (unsigned)(PAGE_SIZE - (pc & PAGE_MASK));
    if (UNLIKELY(e->debug.any))
        bytes = debug_end(e, pc, bytes);
    if (UNLIKELY(e->mode & GUEST_MODE_SHOWN))
        b->flags |= IR_BLOCK_CALL_MEMORY;
    if (UNLIKELY(e->loop))
        b->flags |= IR_BLOCK_LOOP;
    cpu->guest->translate(b, cpu, words, bytes, max);
}

/* Host code for at most max guest instructions at pc, placed at where. -1: does not fit there. */
static int compile(struct cpu *cpu, uint64_t pc, const void *words, unsigned max, uint8_t *where, size_t room) {
    struct engine *e = engine_of(cpu);
    struct ir_block *b = e->ir;
    ir_block_reset(b, pc, e->mode);
    if (UNLIKELY(e->loop == HOT_LOOP_BRANCHES || e->asides)) {
        b->flags = IR_BLOCK_LONG;
        build(cpu, b, words, max);
        ir_block_again(b, e->loop == HOT_LOOP_BRANCHES, e->asides);
    }
    build(cpu, b, words, max);
    dump_code(cpu, b, ABI_LOG_IN, words, b->guest_bytes, 1);
    show_ir(cpu, b, "translate");
    verify(cpu, b, "translate");
    for (const struct ir_pass *p = ir_passes; p->run; p++) {
        p->run(b);
        show_ir(cpu, b, p->name);
        verify(cpu, b, p->name);
    }
    if (codegen_compile(e->cg, cpu, b, where, room, e->out))
        return -1;
    dump_code(cpu, b, ABI_LOG_OUT, e->out->start, (uint64_t)(e->out->end - e->out->start), 0);
    return 0;
}

static void perf_map(struct cpu *cpu, const struct code_out *out, uint64_t pc) {
    if (!(cpu->boot->log_topics & ABI_LOG_PERF))
        return;
    cpu->abi.arg[0] = (uintptr_t)out->start;
    cpu->abi.arg[1] = (uint64_t)(out->end - out->start);
    cpu->abi.arg[2] = pc;
    rt_call(cpu, ABI_CALL_PERFMAP);
}

struct block *translate_block(struct cpu *cpu, uint64_t pc, uint64_t pa, const void *words) {
    struct engine *e = engine_of(cpu);
    if (!cache_room(e))
        return NULL;
    uint64_t from = rt_ticks();
    reuse_expect(e, pc, words);
    e->hot = cpu->boot->all_hot || hot_has(e, pa, pc, e->mode);
    e->loop = HOT_LOOP_NOT;
    if (!e->debug.any && !(e->mode & (GUEST_MODE_ONCE | GUEST_MODE_SHOWN)))
        e->loop = cpu->boot->all_hot ? HOT_LOOP_BRANCHES : hot_has_loop(e, pa, pc, e->mode);
    e->asides = e->loop && (cpu->boot->all_hot || hot_has_asides(e, pa, pc, e->mode));
    /* First the protection, then the look at the bytes: a write after this is noticed. */
    mmu_protect_code(cpu, GPA(ALIGN_DOWN(pa, PAGE_SIZE)));
    struct block *b = cache_copy(e, pc, pa);
    if (b) {
        perf_map(cpu, e->out, pc);
        STAT(cpu, blocks_copied)++;
        STAT(cpu, ticks_translate) += rt_ticks() - from;
        return b;
    }
    b = reuse_take(e, pc, pa, words);
    if (b) {
        perf_map(cpu, e->out, pc);
        from = rt_ticks() - from;
        STAT(cpu, blocks_reused)++;
        STAT(cpu, ticks_reuse) += from;
        STAT(cpu, ticks_translate) += from;
        return b;
    }
    reuse_look(e, pc, words);
    unsigned max = e->mode & GUEST_MODE_ONCE ? 1 : BLOCK_MAX_INSNS;
    while (
        compile(cpu, pc, words, max, e->cache.code + e->cache.code_used, e->cache.records_used - e->cache.code_used)) {
        if (max == 1)
            return NULL;
        max /= 2;
    }
    b = cache_add(e, e->ir, pa, e->out);
    perf_map(cpu, e->out, pc);
    STAT(cpu, blocks_translated)++;
    STAT(cpu, insns_translated) += e->ir->insns;
    STAT(cpu, ticks_translate) += rt_ticks() - from;
    return b;
}

struct block *translate_step(struct cpu *cpu, uint64_t pc, uint64_t pa, const void *words) {
    struct engine *e = engine_of(cpu);
    struct cache *c = &e->cache;
    e->hot = false;
    e->loop = HOT_LOOP_NOT;
    e->asides = false;
    if (compile(cpu, pc, words, 1, c->code + c->code_limit, cpu->boot->code_size - c->code_limit) ||
        e->out->faults > ARRAY_LEN(c->step_fault))
        rt_panic(cpu, "the instruction at %llx does not fit in a block", (unsigned long long)pc);
    c->step = (struct block){.pa = pa,
                             .pc = pc,
                             .mode = e->mode,
                             .start = (uint32_t)(e->out->start - c->code),
                             .end = (uint32_t)(e->out->end - c->code),
                             .records = (uint32_t)(e->out->records - c->code),
                             .entry = (uint32_t)(e->out->entry - c->code),
                             .nocheck = (uint32_t)(e->out->entry_nocheck - c->code),
                             .faults = (uint16_t)e->out->faults};
    memcpy(c->step_fault, e->out->fault, e->out->faults * sizeof(e->out->fault[0]));
    return &c->step;
}
