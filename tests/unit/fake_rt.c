/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fake_rt.c: see fake_rt.h. */
#include "fake_rt.h"
#include "dbt/mmu/atomics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint8_t fake_memory[FAKE_MEM_BYTES];
/* NZCV in bits 31..28. */
static uint32_t flags_of(const struct fake_cpu *f) {
    const uint32_t code = f->c.flags_insn;
    return code && code < IR_FLAGS_CODES ? ir_flags_saved(code, f->c.flags_operand[0], f->c.flags_operand[1])
                                         : ir_flags_unpack(f->nzcv);
}
void fake_settle(struct cpu *cpu) {
    struct fake_cpu *f = (struct fake_cpu *)cpu;
    f->nzcv = ir_flags_pack(flags_of(f));
    cpu->flags_insn = 0;
}
const struct guest_ops fake_guest = {.name = "fake",
                                     .cpu_size = sizeof(struct fake_cpu),
                                     .pc_offset = FAKE_PC,
                                     .nzcv_offset = FAKE_NZCV,
                                     .settle = fake_settle};

static jmp_buf *unwind_to;

void fake_cpu_init(struct fake_cpu *cpu) {
    memset(cpu, 0, sizeof(*cpu));
    cpu->c.guest = &fake_guest;
    cpu->c.excl_addr = ~UINT64_C(0);
}

bool fake_interpret(const struct ir_block *b, struct fake_cpu *cpu) {
    jmp_buf here;
    unwind_to = &here;
    if (setjmp(here))
        return false;
    ir_interpret(b, &cpu->c);
    return true;
}

bool fake_run(void (*fn)(void *arg), void *arg) {
    jmp_buf here;
    unwind_to = &here;
    if (setjmp(here))
        return false;
    fn(arg);
    return true;
}

void fake_raise(struct cpu *cpu) { longjmp(*unwind_to, 1); }

/* --- memory ----------------------------------------------------------------------------------- */
static uint8_t *at(struct cpu *cpu, uint64_t va, unsigned bytes, bool align) {
    if (va < FAKE_MEM_BASE || va - FAKE_MEM_BASE > FAKE_MEM_BYTES - bytes || (align && va % bytes))
        fake_raise(cpu);
    return fake_memory + (va - FAKE_MEM_BASE);
}

uint64_t mem_read(struct cpu *cpu, uint64_t va, unsigned size, unsigned regime, unsigned flags) {
    uint64_t value = 0;
    memcpy(&value, at(cpu, va, 1u << size, flags & IR_MEM_ALIGN), (size_t)1 << size);
    return value;
}

void mem_write(struct cpu *cpu, uint64_t va, uint64_t value, unsigned size, unsigned regime, unsigned flags) {
    memcpy(at(cpu, va, 1u << size, flags & IR_MEM_ALIGN), &value, (size_t)1 << size);
}

void mem_read_128(struct cpu *cpu, uint64_t va, v128 *value, unsigned regime, unsigned flags) {
    memcpy(value, at(cpu, va, 16, flags & IR_MEM_ALIGN), 16);
}

void mem_write_128(struct cpu *cpu, uint64_t va, const v128 *value, unsigned regime, unsigned flags) {
    memcpy(at(cpu, va, 16, flags & IR_MEM_ALIGN), value, 16);
}

bool mem_rmw(struct cpu *cpu, uint64_t va, struct mem_rmw *r) {
    return atomic_rmw(at(cpu, va, 1u << r->size, true), r);
}

/* --- comparing -------------------------------------------------------------------------------- */
bool fake_same_state(const struct fake_cpu *a, const struct fake_cpu *b, char *why, size_t len) {
    for (unsigned n = 0; n < 32; n++) {
        if (a->x[n] != b->x[n]) {
            snprintf(why, len, "x%u: %llx and %llx", n, (unsigned long long)a->x[n], (unsigned long long)b->x[n]);
            return false;
        }
        if (memcmp(&a->v[n], &b->v[n], sizeof(v128))) {
            snprintf(why, len, "v%u: %llx:%llx and %llx:%llx", n, (unsigned long long)a->v[n].u64[1],
                     (unsigned long long)a->v[n].u64[0], (unsigned long long)b->v[n].u64[1],
                     (unsigned long long)b->v[n].u64[0]);
            return false;
        }
    }
    const struct {
        const char *name;
        uint64_t a, b;
    } rest[] = {
        {"pc", a->pc, b->pc},
        {"nzcv", flags_of(a), flags_of(b)},
        {"excl_addr", a->c.excl_addr, b->c.excl_addr},
        {"excl_val", a->c.excl_val[0], b->c.excl_val[0]},
        {"fpsr", a->c.fp.fpsr, b->c.fp.fpsr},
        {"qc.lo", a->c.fp.qc.u64[0], b->c.fp.qc.u64[0]},
        {"qc.hi", a->c.fp.qc.u64[1], b->c.fp.qc.u64[1]},
    };
    for (size_t k = 0; k < ARRAY_LEN(rest); k++) {
        if (rest[k].a != rest[k].b) {
            snprintf(why, len, "%s: %llx and %llx", rest[k].name, (unsigned long long)rest[k].a,
                     (unsigned long long)rest[k].b);
            return false;
        }
    }
    return true;
}

/* --- runtime services ------------------------------------------------------------------------- */
void rt_log(struct cpu *cpu, uint32_t topic, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

void rt_panic(struct cpu *cpu, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}
