/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_softfp.c: softfp against an A64 machine (guest.c under qemu-aarch64)
 * and against the host's SSE unit. Arguments: seed, rounds, command that runs
 * the guest program (optional).
 */
#include <immintrin.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graft/ir.h"
#include "graft/softfp.h"
#include "ops.h"

static struct cpu cpu;
static unsigned failures;

struct args {
    v128 r, a, b, c;
    unsigned lane;
};
typedef void op_fn(struct args *x);

#define PLAIN(name, cc, flags, fbits)                                                                                  \
    static void op_##name(struct args *x) {                                                                            \
        FN_##name(&cpu, &x->r, &x->a, &x->b, &x->c, FP_DESC(x->lane, 1, cc, flags, fbits, 0));                         \
    }
#define FN_add fp_add
#define FN_sub fp_sub
#define FN_mul fp_mul
#define FN_div fp_div
#define FN_sqrt fp_sqrt
#define FN_fma fp_fma
#define FN_max fp_max
#define FN_min fp_min
#define FN_maxnm fp_maxnm
#define FN_minnm fp_minnm
#define FN_cmpeq fp_cmpeq
#define FN_cmpge fp_cmpge
#define FN_cmpgt fp_cmpgt
#define FN_mulx fp_mulx
#define FN_recpe fp_recpe
#define FN_recps fp_recps
#define FN_rsqrte fp_rsqrte
#define FN_rsqrts fp_rsqrts
#define FN_recpx fp_recpx
#define FN_rintn fp_rint
#define FN_rinta fp_rint
#define FN_rintx fp_rint
#define FN_rinti fp_rint
#define FN_rintz fp_rint
#define FN_rintp fp_rint
#define FN_tosz fp_to_s
#define FN_touz fp_to_u
#define FN_tosa fp_to_s
#define FN_toum fp_to_u
#define FN_tosf fp_to_s
#define FN_touf fp_to_u
#define FN_froms fp_from_s
#define FN_fromu fp_from_u
#define FN_fromsf fp_from_s
#define FN_fromuf fp_from_u
#define FN_widen fp_widen
#define FN_narrow fp_narrow
#define FN_widen2 fp_widen
#define FN_narrow2 fp_narrow
#define FN_narrow_odd fp_narrow
PLAIN(add, 0, 0, 0)
PLAIN(sub, 0, 0, 0)
PLAIN(mul, 0, 0, 0)
PLAIN(div, 0, 0, 0)
PLAIN(sqrt, 0, 0, 0)
PLAIN(fma, 0, 0, 0)
PLAIN(max, 0, 0, 0)
PLAIN(min, 0, 0, 0)
PLAIN(maxnm, 0, 0, 0)
PLAIN(minnm, 0, 0, 0)
PLAIN(cmpeq, 0, 0, 0)
PLAIN(cmpge, 0, 0, 0)
PLAIN(cmpgt, 0, 0, 0)
PLAIN(mulx, 0, 0, 0)
PLAIN(recpe, 0, 0, 0)
PLAIN(recps, 0, 0, 0)
PLAIN(rsqrte, 0, 0, 0)
PLAIN(rsqrts, 0, 0, 0)
PLAIN(recpx, 0, 0, 0)
PLAIN(rintn, IR_RN_EVEN, 0, 0)
PLAIN(rinta, IR_RN_AWAY, 0, 0)
PLAIN(rintx, IR_RN_CURRENT, IR_FP_EXACT, 0)
PLAIN(rinti, IR_RN_CURRENT, 0, 0)
PLAIN(rintz, IR_RN_ZERO, 0, 0)
PLAIN(rintp, IR_RN_UP, 0, 0)
PLAIN(tosz, IR_RN_ZERO, 0, 0)
PLAIN(touz, IR_RN_ZERO, 0, 0)
PLAIN(tosa, IR_RN_AWAY, 0, 0)
PLAIN(toum, IR_RN_DOWN, 0, 0)
PLAIN(tosf, IR_RN_ZERO, 0, 7)
PLAIN(touf, IR_RN_ZERO, 0, 13)
PLAIN(froms, 0, 0, 0)
PLAIN(fromu, 0, 0, 0)
PLAIN(fromsf, 0, 0, 9)
PLAIN(fromuf, 0, 0, 32)
PLAIN(widen, 0, 0, 0)
PLAIN(narrow, 0, 0, 0)
PLAIN(widen2, 0, IR_FP_EXACT, 0)
PLAIN(narrow2, 0, IR_FP_EXACT, 0)
PLAIN(narrow_odd, IR_RN_ODD, 0, 0)

static void op_xtos(struct args *x) {
    x->r.u64[0] = fp_scalar_to_s(&cpu, &x->a, FP_DESC(x->lane, 1, IR_RN_EVEN, 0, 0, 1));
}
static void op_wtou(struct args *x) {
    x->r.u64[0] = fp_scalar_to_u(&cpu, &x->a, FP_DESC(x->lane, 1, IR_RN_UP, 0, 0, 0));
}
static void op_xfroms(struct args *x) { fp_scalar_from_s(&cpu, &x->r, x->a.u64[0], FP_DESC(x->lane, 1, 0, 0, 0, 1)); }
static void op_wfromu(struct args *x) { fp_scalar_from_u(&cpu, &x->r, x->a.u64[0], FP_DESC(x->lane, 1, 0, 0, 0, 0)); }
static void op_cmp(struct args *x) { x->r.u64[0] = fp_compare(&cpu, &x->a, &x->b, FP_DESC(x->lane, 1, 0, 0, 0, 0)); }
static void op_cmpe(struct args *x) {
    x->r.u64[0] = fp_compare(&cpu, &x->a, &x->b, FP_DESC(x->lane, 1, 0, IR_FP_SIGNAL, 0, 0));
}

#define ENTRY(name, lane, text) {#name, op_##name, lane},
static const struct {
    const char *name;
    op_fn *fn;
    unsigned lane;
} table[] = {OPS(ENTRY)};

static void fail(const char *what, unsigned lane, uint32_t fpcr, const struct args *x, uint64_t want,
                 uint32_t want_fpsr) {
    if (failures++ < 30) {
        printf("%s lane %u fpcr %08x a %016" PRIx64 " b %016" PRIx64 " c %016" PRIx64 ": got %016" PRIx64
               " fpsr %02x, want %016" PRIx64 " fpsr %02x\n",
               what, lane, fpcr, x->a.u64[0], x->b.u64[0], x->c.u64[0], x->r.u64[0], cpu.fp.fpsr, want, want_fpsr);
    }
}

static void against_guest(uint64_t seed, long rounds, const char *command) {
    char line[512];
    snprintf(line, sizeof(line), "%s %" PRIu64 " %ld", command, seed, rounds);
    FILE *guest = popen(line, "r");
    for (long i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < ARRAY_LEN(table); k++) {
            struct args x = {.lane = table[k].lane};
            struct record want;
            cpu.fp.fpcr = test_fpcr(next_random(&seed));
            cpu.fp.fpsr = 0;
            x.a.u64[0] = random_operand(&seed, x.lane, 0);
            x.b.u64[0] = random_operand(&seed, x.lane, x.a.u64[0]);
            x.c.u64[0] = random_operand(&seed, x.lane, x.b.u64[0]);
            table[k].fn(&x);
            if (!guest || fread(&want, 12, 1, guest) != 1) {
                puts("the guest program ended early");
                failures++;
                return;
            }
            if (want.result != x.r.u64[0] || want.fpsr != cpu.fp.fpsr)
                fail(table[k].name, x.lane, cpu.fp.fpcr, &x, want.result, want.fpsr);
        }
    }
    pclose(guest);
}

/* One operation on the host's unit with the guest's rounding mode: lane 2 and lane 3 forms. */
static uint64_t host_op(unsigned op, unsigned lane, const struct args *x) {
    __m128 a = _mm_castsi128_ps(_mm_set_epi64x(0, x->a.s64[0])), b = _mm_castsi128_ps(_mm_set_epi64x(0, x->b.s64[0])),
           r = a;
    __m128d ad = _mm_castps_pd(a), bd = _mm_castps_pd(b), rd = ad;
    switch (op * 2 + (lane == 3)) {
    case 0: __asm__ volatile("addss %2, %0" : "=x"(r) : "0"(a), "x"(b)); break;
    case 1: __asm__ volatile("addsd %2, %0" : "=x"(rd) : "0"(ad), "x"(bd)); break;
    case 2: __asm__ volatile("subss %2, %0" : "=x"(r) : "0"(a), "x"(b)); break;
    case 3: __asm__ volatile("subsd %2, %0" : "=x"(rd) : "0"(ad), "x"(bd)); break;
    case 4: __asm__ volatile("mulss %2, %0" : "=x"(r) : "0"(a), "x"(b)); break;
    case 5: __asm__ volatile("mulsd %2, %0" : "=x"(rd) : "0"(ad), "x"(bd)); break;
    case 6: __asm__ volatile("divss %2, %0" : "=x"(r) : "0"(a), "x"(b)); break;
    case 7: __asm__ volatile("divsd %2, %0" : "=x"(rd) : "0"(ad), "x"(bd)); break;
    case 8: __asm__ volatile("sqrtss %1, %0" : "=x"(r) : "x"(a)); break;
    default: __asm__ volatile("sqrtsd %1, %0" : "=x"(rd) : "x"(ad)); break;
    }
    return lane == 3 ? (uint64_t)_mm_cvtsi128_si64(_mm_castpd_si128(rd))
                     : (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(r));
}

static bool host_nan(uint64_t x, unsigned lane) {
    return lane == 3 ? (x << 1) > UINT64_C(0xffe0000000000000) : (uint32_t)(x << 1) > 0xff000000u;
}

/* Where no NaN is involved both must agree, underflow apart (x86 detects tininess after rounding). */
static void against_host(uint64_t seed, long rounds) {
    static const char *const names[] = {"add", "sub", "mul", "div", "sqrt"};
    static fp_fn *const fns[] = {fp_add, fp_sub, fp_mul, fp_div, fp_sqrt};
    for (long i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < 10; k++) {
            struct args x = {.lane = 2 + k % 2};
            cpu.fp.fpcr = test_fpcr(next_random(&seed) & 3);
            x.a.u64[0] = random_operand(&seed, x.lane, 0);
            x.b.u64[0] = random_operand(&seed, x.lane, x.a.u64[0]);
            cpu.fp.fpsr = 0;
            fp_set_rounding(&cpu);
            uint64_t want = host_op(k / 2, x.lane, &x);
            fp_sync(&cpu);
            uint32_t want_fpsr = cpu.fp.fpsr;
            cpu.fp.fpsr = 0;
            fns[k / 2](&cpu, &x.r, &x.a, &x.b, &x.c, FP_DESC(x.lane, 1, 0, 0, 0, 0));
            uint64_t got = x.r.u64[0];
            bool nan = host_nan(want, x.lane);
            if (nan ? !host_nan(got, x.lane) : got != want)
                fail(names[k / 2], x.lane, cpu.fp.fpcr, &x, want, want_fpsr);
            else if ((cpu.fp.fpsr & ~8u) != (want_fpsr & ~8u) || (want_fpsr & 8 && !(cpu.fp.fpsr & 8)))
                fail(names[k / 2], x.lane, cpu.fp.fpcr, &x, want, want_fpsr);
        }
    }
    cpu.fp.fpcr = 0;
    fp_set_rounding(&cpu);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    long rounds = argc > 2 ? strtol(argv[2], NULL, 0) : 2000;
    against_host(seed, rounds);
    if (argc > 3)
        against_guest(seed, rounds, argv[3]);
    printf("softfp: %u differences\n", failures);
    return failures != 0;
}
